
/*
 * fcc_seal: what was sealed is valid with its key on its channel, and nothing
 * else is, whichever byte of it was changed.
 */


#include "tap.h"

#include <fcc_bus.h>
#include <fcc_seal.h>

#include <openssl/crypto.h>


static const char  body[] =
    "{\"v\":1,\"w\":\"0123456789abcdef\",\"t\":\"viewers\",\"count\":12}";

static fcc_str_t   channel = fcc_string("fcchat:localhost:stream_1");


/* of OpenSSL's allocations this one fails, and those after it; 0: none */

static unsigned    memory_fails;
static unsigned    memory_count;


static int
memory_out(void)
{
    return memory_fails && ++memory_count >= memory_fails;
}


static void *
memory_alloc(size_t size, const char *file, int line)
{
    return memory_out() ? NULL : malloc(size);
}


static void *
memory_realloc(void *p, size_t size, const char *file, int line)
{
    return memory_out() ? NULL : realloc(p, size);
}


static void
memory_free(void *p, const char *file, int line)
{
    free(p);
}


static int
valid(const fcc_seal_t *seal, const fcc_str_t *ch, const unsigned char *data,
    size_t len)
{
    int             rc;
    unsigned char  *p;

    p = tap_copy((const char *) data, len);
    rc = fcc_seal_valid(seal, ch, p, len);
    free(p);

    return rc;
}


static void
sealed(void)
{
    size_t         i, len;
    int            any;
    fcc_buf_t      b;
    fcc_bus_t      bus;
    fcc_str_t      other;
    fcc_seal_t     seal, both, wrong;
    unsigned char  buf[256], copy[256];

    memset(&seal, 0, sizeof(seal));
    memset(&both, 0, sizeof(both));
    memset(&wrong, 0, sizeof(wrong));

    is_int(fcc_seal_add(&seal, (unsigned char *) "the secret", 10), FCC_OK,
           "a secret");
    is_int(fcc_seal_add(&wrong, (unsigned char *) "another", 7), FCC_OK,
           "another one");
    is_int(fcc_seal_add(&both, (unsigned char *) "another", 7), FCC_OK,
           "and both, one");
    is_int(fcc_seal_add(&both, (unsigned char *) "the secret", 10), FCC_OK,
           "and the other");

    fcc_buf_init(&b, buf, sizeof(buf));
    fcc_buf_put(&b, body, sizeof(body) - 1);

    is_int(fcc_seal_put(&seal, &channel, &b), FCC_OK, "sealed");

    len = b.pos - b.start;

    is_int(len, sizeof(body) - 1 + FCC_SEAL_SIZE, "its length");
    is_int(fcc_bus_read(&bus, buf, len), FCC_OK, "still an envelope");
    is_int(bus.n, 12, "with all in it");
    fcc_bus_free(&bus);

    ok(valid(&seal, &channel, buf, len), "valid");
    ok(valid(&both, &channel, buf, len), "by an older key");
    ok(!valid(&wrong, &channel, buf, len), "not by another key");

    memset(&wrong, 0, sizeof(wrong));
    ok(!valid(&wrong, &channel, buf, len), "nor by none");

    other.data = channel.data;
    other.len = channel.len - 1;
    ok(!valid(&seal, &other, buf, len), "not on another channel");

    ok(!valid(&seal, &channel, (unsigned char *) body, sizeof(body) - 1),
       "not without a seal");

    for (any = 0, i = 0; i < len; i++) {
        memcpy(copy, buf, len);
        copy[i] ^= 1;
        any += valid(&seal, &channel, copy, len);
        any += valid(&seal, &channel, buf, i);
    }

    is_int(any, 0, "not with a byte changed or cut");

    memcpy(copy, buf, len);
    copy[len] = ' ';
    ok(!valid(&seal, &channel, copy, len + 1), "nor with one more");
}


static void
refused(void)
{
    size_t         i;
    fcc_buf_t      b;
    fcc_seal_t     seal;
    unsigned char  buf[256];

    memset(&seal, 0, sizeof(seal));

    for (i = 0; i < FCC_SEAL_KEYS; i++) {
        (void) fcc_seal_add(&seal, (unsigned char *) "x", 1);
    }

    is_int(seal.n, FCC_SEAL_KEYS, "as many keys as there can be");
    is_int(fcc_seal_add(&seal, (unsigned char *) "x", 1), FCC_ERROR,
           "and no more");

    fcc_buf_init(&b, buf, sizeof(body) - 1 + FCC_SEAL_SIZE - 1);
    fcc_buf_put(&b, body, sizeof(body) - 1);
    is_int(fcc_seal_put(&seal, &channel, &b), FCC_ERROR, "no room for it");
    is_mem(buf, b.pos - b.start, body, sizeof(body) - 1, "nothing was changed");

    b.end++;
    is_int(fcc_seal_put(&seal, &channel, &b), FCC_OK, "just enough");

    fcc_buf_init(&b, buf, sizeof(buf));
    fcc_buf_lit(&b, "{\"tenant\":\"localhost\",\"user\":7}");
    is_int(fcc_seal_put(&seal, &channel, &b), FCC_ERROR, "no envelope");

    fcc_buf_init(&b, buf, 10);
    fcc_buf_lit(&b, "far too long for it");
    is_int(fcc_seal_put(&seal, &channel, &b), FCC_ERROR, "nor one cut short");
}


static void
no_memory(void)
{
    int            refused, accepted, done;
    unsigned       n;
    fcc_buf_t      b;
    fcc_seal_t     seal, none;
    unsigned char  buf[256];

    memset(&seal, 0, sizeof(seal));
    (void) fcc_seal_add(&seal, (unsigned char *) "the secret", 10);

    refused = 0;
    accepted = 0;
    done = 0;

    for (n = 1; n < 100 && !done; n++) {
        memset(&none, 0, sizeof(none));
        fcc_buf_init(&b, buf, sizeof(buf));
        fcc_buf_put(&b, body, sizeof(body) - 1);

        memory_count = 0;
        memory_fails = n;

        done = fcc_seal_put(&seal, &channel, &b) == FCC_OK;

        memory_fails = 0;

        if (!done) {
            refused++;
            accepted += memcmp(buf, body, sizeof(body) - 1) != 0;
        }

        memory_count = 0;
        memory_fails = n;

        (void) fcc_seal_add(&none, (unsigned char *) "the secret", 10);

        memory_fails = 0;

        accepted += none.n && memcmp(none.key[0], seal.key[0], FCC_SEAL_KEY);
    }

    ok(done && refused, "without memory nothing is sealed");
    is_int(accepted, 0, "and nothing is half sealed, or a key by half");

    memory_fails = 1;
    ok(!fcc_seal_valid(&seal, &channel, buf, b.pos - b.start),
       "nor is anything valid");
    memory_fails = 0;
    ok(fcc_seal_valid(&seal, &channel, buf, b.pos - b.start),
       "which it is with memory");
}


int
main(void)
{
    (void) CRYPTO_set_mem_functions(memory_alloc, memory_realloc, memory_free);

    sealed();
    refused();
    no_memory();

    return tap_done();
}
