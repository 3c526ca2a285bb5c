
/*
 * Sessions.  The first byte says what is done to the input before it is read,
 * so that what is behind the signature is reached: base64, zlib, JSON, pickles.
 * With none of it, the input is what a stranger sent.
 */


#include "sign.h"

#include <fcc_django.h>
#include <zlib.h>


#define FUZZ_SIGNED   1
#define FUZZ_COOKIE   2         /* signed_cookies's salt and rules */
#define FUZZ_DOT      4         /* "this is compressed" */
#define FUZZ_DEFLATE  8         /* and it is */
#define FUZZ_BOMB     16        /* of much more than was sent */
#define FUZZ_PICKLE   32

#define FUZZ_BOMB_SIZE  (3 * FCC_DJANGO_INFLATE_MAX)


/* the input, or again and again the input, by zlib; its length before that is
 * *plain */

static unsigned char *
fuzz_deflate(fuzz_t *f, unsigned how, size_t *len, size_t *plain)
{
    uLongf          n;
    size_t          i, size;
    unsigned char  *p, *out;

    size = f->last - f->pos;
    *plain = (how & FUZZ_BOMB && size) ? FUZZ_BOMB_SIZE : size;

    p = malloc(*plain + 1);
    n = compressBound(*plain);
    out = malloc(n);
    claim(p != NULL && out != NULL);

    for (i = 0; i < *plain; i++) {
        p[i] = f->pos[i % size];
    }

    claim(compress2(out, &n, p, *plain, 1) == Z_OK);
    free(p);

    *len = n;

    return out;
}


/* the payload as base64url, with a '.' before it when it is compressed, a
 * timestamp and the signature */

static unsigned char *
fuzz_session(fuzz_t *f, unsigned how, size_t *len)
{
    unsigned char  *out;

    out = malloc((f->last - f->pos) * 2 + 256);
    claim(out != NULL);

    *len = fuzz_sign_session(out, f, how);

    return out;
}


static void
fuzz_result(fcc_django_session_t *s)
{
    claim(s->backend_len <= FCC_DJANGO_BACKEND_MAX);
    claim(s->hash_len <= FCC_DJANGO_HASH_MAX);
    claim(!s->has_user || s->user_id >= 0);
}


static unsigned char *
fuzz_copy(fuzz_t *f, size_t *len)
{
    unsigned char  *p;

    *len = f->last - f->pos;

    p = malloc(*len ? *len : 1);
    claim(p != NULL);
    memcpy(p, f->pos, *len);

    return p;
}


/* who can write to Redis is trusted with what it says, not with our memory */

static void
fuzz_pickle(const unsigned char *p, size_t len, size_t plain)
{
    fcc_django_session_t  s;

    if (fcc_django_session_unpickle(p, len, &s) == FCC_OK) {
        claim(plain <= FCC_DJANGO_INFLATE_MAX);
        fuzz_result(&s);
    }
}


static void
fuzz_read(const unsigned char *p, size_t len, unsigned how, size_t plain)
{
    fcc_django_engine_e    engine;
    fcc_django_session_t   s;
    fcc_django_secrets_t   secrets;

    memset(&secrets, 0, sizeof(secrets));
    secrets.n = 1;
    secrets.key[0].data = (unsigned char *) FUZZ_SECRET;
    secrets.key[0].len = sizeof(FUZZ_SECRET) - 1;

    engine = how & FUZZ_COOKIE ? FCC_DJANGO_COOKIE : FCC_DJANGO_DB;

    (void) fcc_django_session_key_valid(p, len);
    (void) fcc_django_auth_hash_valid(&secrets, p, len / 2, p + len / 2,
                                      len - len / 2);

    if (fcc_django_session_read(&secrets, engine, p, len, 1790000000,
                                1000000000, &s) == FCC_OK)
    {
        /* nobody but this program knows the secret */

        claim(how & FUZZ_SIGNED);
        claim(plain <= FCC_DJANGO_INFLATE_MAX);
        fuzz_result(&s);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t          f;
    size_t          len, plain;
    unsigned        how;
    unsigned char  *p, *q;

    if (size > 200000) {
        return 0;
    }

    f.pos = data;
    f.last = data + size;

    how = fuzz_byte(&f);
    plain = 0;

    if (how & FUZZ_DEFLATE) {
        p = fuzz_deflate(&f, how, &len, &plain);
        how |= FUZZ_DOT;

    } else {
        p = fuzz_copy(&f, &len);
    }

    if (how & FUZZ_PICKLE) {
        fuzz_pickle(p, len, plain);

    } else if (how & FUZZ_SIGNED) {
        f.pos = p;
        f.last = p + len;

        q = fuzz_session(&f, how, &len);
        fuzz_read(q, len, how, plain);
        free(q);

    } else {
        fuzz_read(p, len, how, plain);
    }

    free(p);

    return 0;
}
