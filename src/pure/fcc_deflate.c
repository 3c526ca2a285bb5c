
/* permessage-deflate: one message at a time, by zlib. */


#include <fcc_deflate.h>

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>


#define FCC_DEFLATE_LEVEL      6
#define FCC_DEFLATE_MEM_LEVEL  5        /* a small state is soon reset */
#define FCC_DEFLATE_MAX        (UINT_MAX / 4)


struct fcc_deflate_s {
    z_stream  zs;
    unsigned  bits;     /* 0: not initialized */
};


struct fcc_inflate_s {
    z_stream  zs;
};


static const unsigned char  fcc_deflate_tail[4] = { 0x00, 0x00, 0xff, 0xff };


static int fcc_deflate_init(fcc_deflate_t *d, unsigned bits);
static int fcc_inflate_feed(z_stream *zs, const unsigned char *p, size_t len,
    int *ended);


fcc_deflate_t *
fcc_deflate_create(void)
{
    return calloc(1, sizeof(fcc_deflate_t));
}


void
fcc_deflate_destroy(fcc_deflate_t *d)
{
    if (d->bits) {
        (void) deflateEnd(&d->zs);
    }

    free(d);
}


int
fcc_deflate(fcc_deflate_t *d, unsigned bits, const unsigned char *p,
    size_t len, unsigned char *out, size_t *n)
{
    size_t  size;

    if (len == 0 || len > FCC_DEFLATE_MAX) {
        return FCC_AGAIN;
    }

    if (fcc_deflate_init(d, bits) != FCC_OK) {
        return FCC_ERROR;
    }

    d->zs.next_in = (Bytef *) p;
    d->zs.avail_in = (uInt) len;
    d->zs.next_out = out;
    d->zs.avail_out = (uInt) (len + FCC_DEFLATE_TAIL);

    if (deflate(&d->zs, Z_SYNC_FLUSH) != Z_OK || d->zs.avail_out == 0) {
        return FCC_AGAIN;
    }

    /* with room left the flush is whole, and ends in those four bytes */

    size = len + FCC_DEFLATE_TAIL - d->zs.avail_out
           - sizeof(fcc_deflate_tail);

    if (size >= len) {
        return FCC_AGAIN;
    }

    *n = size;

    return FCC_OK;
}


static int
fcc_deflate_init(fcc_deflate_t *d, unsigned bits)
{
    if (d->bits == bits) {
        (void) deflateReset(&d->zs);
        return FCC_OK;
    }

    if (d->bits) {
        (void) deflateEnd(&d->zs);
        d->bits = 0;
    }

    memset(&d->zs, 0, sizeof(z_stream));

    if (deflateInit2(&d->zs, FCC_DEFLATE_LEVEL, Z_DEFLATED, -(int) bits,
                     FCC_DEFLATE_MEM_LEVEL, Z_DEFAULT_STRATEGY)
        != Z_OK)
    {
        return FCC_ERROR;
    }

    d->bits = bits;

    return FCC_OK;
}


fcc_inflate_t *
fcc_inflate_create(void)
{
    fcc_inflate_t  *d;

    d = calloc(1, sizeof(fcc_inflate_t));

    if (d && inflateInit2(&d->zs, -FCC_DEFLATE_BITS_MAX) != Z_OK) {
        free(d);
        return NULL;
    }

    return d;
}


void
fcc_inflate_destroy(fcc_inflate_t *d)
{
    (void) inflateEnd(&d->zs);

    free(d);
}


int
fcc_inflate(fcc_inflate_t *d, const unsigned char *p, size_t len,
    unsigned char *out, size_t max, size_t *n)
{
    int        rc, ended;
    size_t     size;
    z_stream  *zs;

    zs = &d->zs;

    if (len > FCC_DEFLATE_MAX || max > FCC_DEFLATE_MAX) {
        return FCC_INFLATE_LARGE;
    }

    (void) inflateReset(zs);

    zs->next_out = out;
    zs->avail_out = (uInt) (max + 1);

    rc = fcc_inflate_feed(zs, p, len, &ended);

    if (rc != FCC_OK) {
        return rc;
    }

    size = max + 1 - zs->avail_out;

    if (size > max) {
        return FCC_INFLATE_LARGE;
    }

    rc = fcc_inflate_feed(zs, fcc_deflate_tail, sizeof(fcc_deflate_tail),
                          &ended);

    if (rc != FCC_OK) {
        return rc;
    }

    /*
     * What was put behind it ends an empty block, and is no part of the text.
     * zlib.h: 128 is the end of a block, below 64 are bits of the next one.
     */

    if (max + 1 - zs->avail_out != size
        || (!ended && (zs->data_type & ~64) != 128))
    {
        return FCC_INFLATE_BAD;
    }

    *n = size;

    return FCC_OK;
}


/* ended: by a block with BFINAL set, right at the end of the input */

static int
fcc_inflate_feed(z_stream *zs, const unsigned char *p, size_t len, int *ended)
{
    int  rc;

    *ended = 0;

    zs->next_in = (Bytef *) p;
    zs->avail_in = (uInt) len;

    while (zs->avail_in) {

        rc = inflate(zs, Z_SYNC_FLUSH);

        *ended = rc == Z_STREAM_END;

        switch (rc) {

        case Z_STREAM_END:

            /* what follows is another stream */

            (void) inflateReset(zs);
            break;

        case Z_OK:
        case Z_BUF_ERROR:

            if (zs->avail_in && zs->avail_out == 0) {
                return FCC_INFLATE_LARGE;
            }

            break;

        case Z_MEM_ERROR:
            return FCC_ERROR;

        default:
            return FCC_INFLATE_BAD;
        }
    }

    return FCC_OK;
}
