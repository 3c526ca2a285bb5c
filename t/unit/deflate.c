
/*
 * permessage-deflate: what is accepted and answered, the vectors of RFC 7692
 * 7.2.3, bounds, and messages there and back.
 */


#include "tap.h"

#include <fcc_deflate.h>

#include <limits.h>
#include <zlib.h>


#define DEFLATE_MAX  200000


static unsigned char  deflate_plain[DEFLATE_MAX + 1];
static unsigned char  deflate_packed[DEFLATE_MAX + FCC_DEFLATE_TAIL];


/* the answer to one or two headers, "none" without one, "bad" */

static const char *
answer(const char *first, const char *second)
{
    int                   rc;
    fcc_buf_t             b;
    unsigned char        *p;
    fcc_deflate_offer_t   offer;
    static char           text[FCC_DEFLATE_ANSWER_MAX + 1];

    memset(&offer, 0, sizeof(fcc_deflate_offer_t));

    p = tap_copy(first, strlen(first));
    rc = fcc_deflate_offer(p, strlen(first), &offer);
    free(p);

    if (rc == FCC_OK && second) {
        p = tap_copy(second, strlen(second));
        rc = fcc_deflate_offer(p, strlen(second), &offer);
        free(p);
    }

    if (rc != FCC_OK) {
        return "bad";
    }

    if (!offer.accepted) {
        return "none";
    }

    fcc_buf_init(&b, text, FCC_DEFLATE_ANSWER_MAX);
    fcc_deflate_answer(&b, &offer);

    if (b.full) {
        return "full";
    }

    *b.pos = '\0';

    return text;
}


#define answers(offer, want)                                                  \
    is_str(answer(offer, NULL), strlen(answer(offer, NULL)), want, offer)

#define PLAIN  "permessage-deflate; server_no_context_takeover"               \
               "; client_no_context_takeover"
#define BITS(n)  PLAIN "; server_max_window_bits=" n


static void
test_offers(void)
{
    answers("permessage-deflate", PLAIN);
    answers("permessage-deflate; client_max_window_bits", PLAIN);
    answers("permessage-deflate; client_max_window_bits=8", PLAIN);
    answers("permessage-deflate; client_max_window_bits=15", PLAIN);
    answers("permessage-deflate; client_max_window_bits=\"10\"", PLAIN);
    answers("permessage-deflate;client_no_context_takeover"
            ";server_no_context_takeover", PLAIN);
    answers("permessage-deflate; server_max_window_bits=9", BITS("9"));
    answers("permessage-deflate; server_max_window_bits=15", BITS("15"));
    answers("permessage-deflate; server_max_window_bits=\"1\\2\"",
            BITS("12"));
    answers(" permessage-deflate ;\tserver_max_window_bits = 10 ", BITS("10"));

    answers("", "none");
    answers(" , ,", "none");
    answers("x-webkit-deflate-frame", "none");
    answers("foo; bar=\"permessage-deflate\"", "none");
    answers("Permessage-deflate", "none");
    answers("permessage-deflate2", "none");
    answers("permessage-bzip2; x=1, permessage-deflate", PLAIN);

    /* RFC 7692 7: an offer that is not of this form is declined */

    answers("permessage-deflate; foo", "none");
    answers("permessage-deflate; server_max_window_bits", "none");
    answers("permessage-deflate; server_max_window_bits=8", "none");
    answers("permessage-deflate; server_max_window_bits=7", "none");
    answers("permessage-deflate; server_max_window_bits=16", "none");
    answers("permessage-deflate; server_max_window_bits=20", "none");
    answers("permessage-deflate; server_max_window_bits=09", "none");
    answers("permessage-deflate; server_max_window_bits=010", "none");
    answers("permessage-deflate; server_max_window_bits=1", "none");
    answers("permessage-deflate; server_max_window_bits=1x", "none");
    answers("permessage-deflate; server_max_window_bits=4294967306", "none");
    answers("permessage-deflate; client_max_window_bits=7", "none");
    answers("permessage-deflate; client_max_window_bits=16", "none");
    answers("permessage-deflate; client_max_window_bits=x", "none");
    answers("permessage-deflate; server_no_context_takeover=1", "none");
    answers("permessage-deflate; client_no_context_takeover=true", "none");
    answers("permessage-deflate; server_no_context_takeover"
            "; server_no_context_takeover", "none");
    answers("permessage-deflate; client_no_context_takeover"
            "; client_no_context_takeover", "none");
    answers("permessage-deflate; client_max_window_bits"
            "; client_max_window_bits=10", "none");
    answers("permessage-deflate; server_max_window_bits=10"
            "; server_max_window_bits=10", "none");
    answers("permessage-deflate; Server_No_Context_Takeover", "none");

    /* the first that will do */

    answers("permessage-deflate; foo, permessage-deflate"
            "; server_max_window_bits=10, permessage-deflate", BITS("10"));
    answers("permessage-deflate; server_max_window_bits=8, permessage-deflate",
            PLAIN);

    /* not a list of extensions at all */

    answers("permessage-deflate;", "bad");
    answers("permessage-deflate; =1", "bad");
    answers("permessage-deflate; foo=", "bad");
    answers("permessage-deflate; foo=\"", "bad");
    answers("permessage-deflate; foo=\"\"", "bad");
    answers("permessage-deflate; foo=\"a b\"", "bad");
    answers("permessage-deflate; foo=\"a\\", "bad");
    answers("permessage-deflate; foo=\"a\"b", "bad");
    answers("permessage-deflate; foo=\"a,b\"", "bad");
    answers("permessage-deflate foo", "bad");
    answers("permessage-deflate, a;;b", "bad");
    answers("\"permessage-deflate\"", "bad");
    answers("permessage-deflate; server_max_window_bits==10", "bad");
    answers("permessage-deflate\x80", "bad");
}


static void
test_headers(void)
{
    const char  *s;

    s = answer("foo, permessage-deflate; x", "permessage-deflate");
    is_str(s, strlen(s), PLAIN, "the first acceptable of two headers");

    s = answer("permessage-deflate; server_max_window_bits=11",
               "permessage-deflate");
    is_str(s, strlen(s), BITS("11"), "of two that are, the first");

    s = answer("permessage-deflate", "a b");
    is_str(s, strlen(s), "bad", "the second one is read as well");
}


static int
inflates(fcc_inflate_t *d, const void *data, size_t len, size_t max, size_t *n)
{
    int             rc;
    unsigned char  *p, *out;

    p = tap_copy(data, len);
    out = malloc(max + 1);

    rc = fcc_inflate(d, p, len, out, max, n);

    if (rc == FCC_OK) {
        memcpy(deflate_plain, out, *n);
    }

    free(out);
    free(p);

    return rc;
}


#define vector(bytes, want, name)                                             \
    do {                                                                      \
        n = 0;                                                                \
        is_int(inflates(d, bytes, sizeof(bytes) - 1, 1000, &n), FCC_OK,       \
               name);                                                         \
        is_str(deflate_plain, n, want, name ": the text");                    \
    } while (0)


/* RFC 7692 7.2.3 */

static void
test_rfc(fcc_inflate_t *d)
{
    size_t  n;

    vector("\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello", "7.2.3.1: one block");

    /* of 7.2.3.2 the first message; the second refers to it, which nobody may
     * who has agreed on no context takeover */

    is_int(inflates(d, "\xf2\x00\x11\x00\x00", 5, 1000, &n), FCC_INFLATE_BAD,
           "7.2.3.2: a reference to the message before");

    vector("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello",
           "7.2.3.3: a block that is not compressed");
    vector("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello",
           "7.2.3.4: a block with BFINAL");
    vector("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello",
           "7.2.3.5: two blocks");
    vector("\x00", "", "7.2.3.6: an empty message");
}


static void
test_broken(fcc_inflate_t *d)
{
    size_t         i, n;
    unsigned char  hello[] = "\xf2\x48\xcd\xc9\xc9\x07\x00";

    is_int(inflates(d, "", 0, 1000, &n), FCC_INFLATE_BAD, "nothing at all");
    is_int(inflates(d, "\xff\xff\xff", 3, 1000, &n), FCC_INFLATE_BAD,
           "a block of no type");
    is_int(inflates(d, "\x00\x05\x00\x05\x00Hello\x00", 11, 1000, &n),
           FCC_INFLATE_BAD, "lengths that differ");
    is_int(inflates(d, "\x00\x09\x00\xf6\xffHello", 10, 1000, &n),
           FCC_INFLATE_BAD, "what is appended is taken for the text");
    is_int(inflates(d, "\x00\x09\x00\xf6\xffHello", 10, 5, &n),
           FCC_INFLATE_LARGE, "which is more than fits");
    is_int(inflates(d, "\x00\x05", 2, 1000, &n), FCC_INFLATE_BAD,
           "what is appended is taken for a length");
    is_int(inflates(d, "\xf3\x48\xcd\xc9\xc9\x07\x00", 7, 1000, &n),
           FCC_INFLATE_BAD, "BFINAL and nothing behind it");
    is_int(inflates(d, "\xf3\x48\xcd\xc9\xc9\x07\x00\xff", 8, 1000, &n),
           FCC_INFLATE_BAD, "BFINAL and rubbish behind it");
    is_int(inflates(d, "\x01", 1, 1000, &n), FCC_OK,
           "BFINAL in the block that is appended");
    is_int(n, 0, "which is empty");

    for (i = 1; i < sizeof(hello) - 2; i++) {
        is_int(inflates(d, hello, i, 1000, &n), FCC_INFLATE_BAD, "cut off");
    }

    vector("\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello", "after all that");
}


/* as many bytes as are allowed, and one more */

static void
test_bounds(fcc_deflate_t *out, fcc_inflate_t *in)
{
    size_t  n, m;

    memset(deflate_plain, 'A', 100000);

    is_int(fcc_deflate(out, 15, deflate_plain, 100000, deflate_packed, &n),
           FCC_OK, "100000 letters");
    ok(n < 300, "are a few bytes");

    is_int(inflates(in, deflate_packed, n, 100000, &m), FCC_OK, "they fit");
    is_int(m, 100000, "all of them");
    is_int(inflates(in, deflate_packed, n, 99999, &m), FCC_INFLATE_LARGE,
           "one more than fits");
    is_int(inflates(in, deflate_packed, n, 0, &m), FCC_INFLATE_LARGE,
           "nothing fits");
    is_int(inflates(in, "\x00", 1, 0, &m), FCC_OK, "but nothing");

    is_int(inflates(in, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11, 5,
                    &m), FCC_OK, "5 bytes of 5");
    is_int(inflates(in, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11, 4,
                    &m), FCC_INFLATE_LARGE, "5 bytes of 4");
}


static void
test_round(fcc_deflate_t *out, fcc_inflate_t *in)
{
    int             rc;
    size_t          i, len, n, m;
    uint32_t        seed;
    unsigned        bits, good, shorter;
    unsigned char  *text, *packed;

    seed = 7692;
    good = 0;
    shorter = 0;

    for (i = 0; i < 400; i++) {
        bits = 9 + i % 7;
        len = tap_random(&seed) % (i < 350 ? 2000 : 100000);

        text = malloc(len + 1);
        packed = malloc(len + FCC_DEFLATE_TAIL);

        for (n = 0; n < len; n++) {

            /* of few letters, or of all bytes */

            text[n] = (i & 1) ? 'a' + tap_random(&seed) % 4
                              : tap_random(&seed);
        }

        rc = fcc_deflate(out, bits, text, len, packed, &n);

        if (rc == FCC_AGAIN) {
            good++;

        } else if (rc == FCC_OK && n < len
                   && inflates(in, packed, n, len, &m) == FCC_OK
                   && m == len && memcmp(deflate_plain, text, len) == 0)
        {
            good++;
            shorter++;
        }

        free(packed);
        free(text);
    }

    is_int(good, 400, "there and back");
    ok(shorter > 180, "what can be compressed was");

    is_int(fcc_deflate(out, 12, (unsigned char *) "", 0, deflate_packed, &n),
           FCC_AGAIN, "nothing gets no shorter");

    /* what zlib can't count is not looked at */

    is_int(fcc_deflate(out, 12, deflate_plain, (size_t) UINT_MAX / 2,
                       deflate_packed, &n), FCC_AGAIN, "2 GB");
    is_int(fcc_inflate(in, deflate_packed, (size_t) UINT_MAX / 2,
                       deflate_plain, 10, &n), FCC_INFLATE_LARGE, "2 GB of it");
    is_int(fcc_inflate(in, deflate_packed, 10, deflate_plain,
                       (size_t) UINT_MAX / 2, &n), FCC_INFLATE_LARGE,
           "room for 2 GB");
}


/* the promise to a client that has no more memory than it says */

static void
test_window(fcc_deflate_t *out)
{
    int        rc;
    size_t     i, n;
    z_stream   zs;
    uint32_t   seed;
    unsigned   bits;

    seed = 1951;

    for (i = 0; i < 20000; i++) {
        deflate_plain[i] = (i < 700) ? tap_random(&seed)
                                     : deflate_plain[i - 700];
    }

    for (bits = 9; bits <= 15; bits++) {
        is_int(fcc_deflate(out, bits, deflate_plain, 20000, deflate_packed,
                           &n), bits < 10 ? FCC_AGAIN : FCC_OK,
               "a period of 700 bytes");

        if (bits < 10) {
            continue;
        }

        memset(&zs, 0, sizeof(z_stream));
        (void) inflateInit2(&zs, -(int) bits);

        memcpy(deflate_packed + n, "\x00\x00\xff\xff", 4);

        zs.next_in = deflate_packed;
        zs.avail_in = n + 4;
        rc = Z_OK;

        /* a byte at a time, so that nothing but the window is looked back
         * into */

        while (rc == Z_OK && zs.total_out < 20000) {
            unsigned char  c;

            zs.next_out = &c;
            zs.avail_out = 1;
            rc = inflate(&zs, Z_SYNC_FLUSH);

            if (zs.avail_out == 0
                && c != deflate_plain[zs.total_out - 1])
            {
                rc = Z_DATA_ERROR;
            }
        }

        ok(rc == Z_OK && zs.total_out == 20000, "is read with that window");

        (void) inflateEnd(&zs);
    }
}


/* what gets a little shorter, and just as long, and longer */

static void
test_edge(fcc_deflate_t *out, fcc_inflate_t *in)
{
    int             rc;
    size_t          i, len, n, m;
    uint32_t        seed;
    unsigned        good, shorter;
    unsigned char  *text, *packed;

    seed = 12;
    good = 0;
    shorter = 0;

    for (i = 0; i < 3000; i++) {
        len = 1 + i % 60;

        text = malloc(len);
        packed = malloc(len + FCC_DEFLATE_TAIL);

        for (n = 0; n < len; n++) {
            text[n] = 'a' + tap_random(&seed) % (1 + i / 100);
        }

        rc = fcc_deflate(out, FCC_DEFLATE_BITS, text, len, packed, &n);

        if (rc == FCC_OK) {
            shorter++;
        }

        good += rc == FCC_AGAIN
                || (rc == FCC_OK && n < len
                    && inflates(in, packed, n, len, &m) == FCC_OK
                    && m == len && memcmp(deflate_plain, text, len) == 0);

        free(packed);
        free(text);
    }

    is_int(good, 3000, "shorter, or not at all");
    ok(shorter > 500 && shorter < 2500, "both there are");
}


/* a window that zlib has not is refused, and the next one is as good as any */

static void
test_refused(fcc_inflate_t *in)
{
    int             want;
    size_t          n, m;
    unsigned        i;
    fcc_deflate_t  *d;
    unsigned        bits[] = { 16, 7, 12, 31, 0, 9, 16 };

    d = fcc_deflate_create();
    ok(d != NULL, "one that is not used");
    fcc_deflate_destroy(d);

    d = fcc_deflate_create();

    for (i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        memset(deflate_plain, 'B', 1000);

        want = (bits[i] == 0) ? FCC_AGAIN
               : (bits[i] > 15 || bits[i] < 9) ? FCC_ERROR : FCC_OK;

        is_int(fcc_deflate(d, bits[i], deflate_plain, 1000, deflate_packed,
                           &n), want, "a window of 0 to 31 bits");

        if (want == FCC_OK) {
            is_int(inflates(in, deflate_packed, n, 1000, &m), FCC_OK,
                   "one that there is");
            is_int(m, 1000, "makes all of it shorter");
        }
    }

    fcc_deflate_destroy(d);
}


int
main(void)
{
    fcc_deflate_t  *out;
    fcc_inflate_t  *in;

    out = fcc_deflate_create();
    in = fcc_inflate_create();

    ok(out && in, "there is memory");

    test_offers();
    test_headers();
    test_rfc(in);
    test_broken(in);
    test_bounds(out, in);
    test_round(out, in);
    test_window(out);
    test_edge(out, in);
    test_refused(in);

    fcc_deflate_destroy(out);
    fcc_inflate_destroy(in);

    return tap_done();
}
