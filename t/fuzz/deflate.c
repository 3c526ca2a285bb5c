
/*
 * permessage-deflate: offers, what a stranger calls compressed, and what we
 * compress ourselves.
 *
 * An input's first byte chooses.  Of what is inflated, one more byte of room
 * than there was must give the same, or as much and not more; what was
 * compressed is inflated to the same.
 */


#include "fuzz.h"

#include <fcc_deflate.h>


#define INFLATE_MAX  65536


/* what is answered is an answer, whatever was offered */

static void
fuzz_offer(fuzz_t *f)
{
    int                   rc;
    size_t                len;
    fcc_buf_t             b;
    unsigned char        *p, text[FCC_DEFLATE_ANSWER_MAX];
    fcc_deflate_offer_t   offer, again;

    memset(&offer, 0, sizeof(fcc_deflate_offer_t));

    /* up to three headers */

    for (rc = FCC_OK; rc == FCC_OK && f->pos < f->last; /* void */ ) {
        p = fuzz_string(f, 512, &len);
        again = offer;
        rc = fcc_deflate_offer(p, len, &offer);
        free(p);

        claim(rc == FCC_OK || rc == FCC_ERROR);
        claim(!again.accepted || memcmp(&again, &offer, sizeof(again)) == 0);
    }

    if (!offer.accepted) {
        return;
    }

    claim(offer.bits >= FCC_DEFLATE_BITS_MIN
          && offer.bits <= FCC_DEFLATE_BITS_MAX);

    fcc_buf_init(&b, text, sizeof(text));
    fcc_deflate_answer(&b, &offer);
    claim(!b.full);

    /* our own words would be accepted, and mean the same */

    memset(&again, 0, sizeof(fcc_deflate_offer_t));
    claim(fcc_deflate_offer(b.start, b.pos - b.start, &again) == FCC_OK);
    claim(again.accepted && again.bits == offer.bits
          && again.asked == offer.asked);
}


static void
fuzz_inflate(fuzz_t *f)
{
    int             rc, more;
    size_t          len, max, n, m;
    fcc_inflate_t  *d;
    unsigned char  *p, *out, *larger;

    max = (size_t) fuzz_number(f, 2);
    p = fuzz_string(f, 16384, &len);

    d = fcc_inflate_create();
    out = malloc(max + 1);
    larger = malloc(INFLATE_MAX + 1);
    claim(d != NULL && out != NULL && larger != NULL);

    rc = fcc_inflate(d, p, len, out, max, &n);
    claim(rc == FCC_OK || rc == FCC_INFLATE_BAD || rc == FCC_INFLATE_LARGE);

    /* the state is as good as a new one, and the bound decides nothing else */

    more = fcc_inflate(d, p, len, larger, INFLATE_MAX, &m);

    if (rc == FCC_OK) {
        claim(n <= max && more == FCC_OK && m == n);
        claim(memcmp(out, larger, n) == 0);

    } else if (rc == FCC_INFLATE_LARGE) {
        claim(more != FCC_OK || m > max);

    } else {
        claim(more == FCC_INFLATE_BAD);
    }

    free(larger);
    free(out);
    free(p);
    fcc_inflate_destroy(d);
}


static void
fuzz_round(fuzz_t *f)
{
    int             rc;
    size_t          i, len, total, n, m;
    unsigned        bits, times;
    fcc_deflate_t  *out;
    fcc_inflate_t  *in;
    unsigned char  *p, *text, *packed, *again;

    bits = FCC_DEFLATE_BITS_MIN
           + fuzz_byte(f) % (FCC_DEFLATE_BITS_MAX - FCC_DEFLATE_BITS_MIN + 1);
    times = 1 + fuzz_byte(f) % 4;
    p = fuzz_string(f, 4096, &len);
    total = len * times;

    out = fcc_deflate_create();
    in = fcc_inflate_create();
    text = malloc(total + 1);
    packed = malloc(total + FCC_DEFLATE_TAIL);
    again = malloc(total + 1);
    claim(out && in && text && packed && again);

    for (i = 0; i < times; i++) {
        memcpy(text + i * len, p, len);
    }

    rc = fcc_deflate(out, bits, text, total, packed, &n);
    claim(rc == FCC_OK || rc == FCC_AGAIN);

    if (rc == FCC_OK) {
        claim(n < total);
        claim(fcc_inflate(in, packed, n, again, total, &m) == FCC_OK);
        claim(m == total && memcmp(again, text, total) == 0);
        claim(fcc_inflate(in, packed, n, again, total - 1, &m)
              == FCC_INFLATE_LARGE);
    }

    free(again);
    free(packed);
    free(text);
    free(p);
    fcc_inflate_destroy(in);
    fcc_deflate_destroy(out);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t  f;

    f.pos = data;
    f.last = data + size;

    switch (fuzz_byte(&f) % 3) {

    case 0:
        fuzz_offer(&f);
        break;

    case 1:
        fuzz_inflate(&f);
        break;

    default:
        fuzz_round(&f);
        break;
    }

    return 0;
}
