
/*
 * Compressed messages of a worker, in and out.
 *
 * A message is compressed or inflated in one call and used up before the next
 * one, so that one state each way is enough for all sockets, and none has any
 * memory for it.  What is in flight is gathered as it came, compressed.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_fcchat_deflate.h>
#include <ngx_http_fcchat_stat.h>


static ngx_int_t ngx_http_fcchat_deflate_room(ngx_http_fcchat_deflate_t *d,
    u_char **buf, size_t *size, size_t need);


void
ngx_http_fcchat_deflate_free(ngx_http_fcchat_deflate_t *d)
{
    if (d->out) {
        fcc_deflate_destroy(d->out);
        d->out = NULL;
    }

    if (d->in) {
        fcc_inflate_destroy(d->in);
        d->in = NULL;
    }

    if (d->packed) {
        ngx_free(d->packed);
        d->packed = NULL;
        d->packed_size = 0;
    }

    if (d->plain) {
        ngx_free(d->plain);
        d->plain = NULL;
        d->plain_size = 0;
    }
}


ngx_uint_t
ngx_http_fcchat_deflate(ngx_http_fcchat_deflate_t *d, ngx_uint_t bits,
    ngx_uint_t opcode, u_char **data, size_t *len)
{
    size_t  n;

    if (*len < NGX_HTTP_FCCHAT_DEFLATE_MIN) {
        return opcode;
    }

    if (d->out == NULL) {
        d->out = fcc_deflate_create();
    }

    if (d->out == NULL
        || ngx_http_fcchat_deflate_room(d, &d->packed, &d->packed_size,
                                        *len + FCC_DEFLATE_TAIL)
           != NGX_OK)
    {
        return opcode;
    }

    if (fcc_deflate(d->out, ngx_min(bits, FCC_DEFLATE_BITS), *data, *len,
                    d->packed, &n)
        != FCC_OK)
    {
        return opcode;
    }

    ngx_http_fcchat_stat_inc(DEFLATED);
    ngx_http_fcchat_stat_add(DEFLATE_PLAIN, *len);
    ngx_http_fcchat_stat_add(DEFLATE_PACKED, n);

    *data = d->packed;
    *len = n;

    return opcode|FCC_WS_RSV1;
}


ngx_uint_t
ngx_http_fcchat_inflate(ngx_http_fcchat_deflate_t *d, u_char **data,
    size_t *len, size_t max)
{
    int     rc;
    size_t  n;

    if (d->in == NULL) {
        d->in = fcc_inflate_create();
    }

    if (d->in == NULL
        || ngx_http_fcchat_deflate_room(d, &d->plain, &d->plain_size, max + 1)
           != NGX_OK)
    {
        return FCC_WS_INTERNAL;
    }

    rc = fcc_inflate(d->in, *data, *len, d->plain, max, &n);

    switch (rc) {

    case FCC_OK:
        *data = d->plain;
        *len = n;
        d->inflated += n;
        return 0;

    case FCC_INFLATE_BAD:
        return FCC_WS_INVALID_DATA;

    case FCC_INFLATE_LARGE:
        return FCC_WS_TOO_BIG;

    default:
        return FCC_WS_INTERNAL;
    }
}


static ngx_int_t
ngx_http_fcchat_deflate_room(ngx_http_fcchat_deflate_t *d, u_char **buf,
    size_t *size, size_t need)
{
    u_char  *p;

    if (*size >= need) {
        return NGX_OK;
    }

    need = ngx_align(need, ngx_pagesize);

    p = ngx_alloc(need, d->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (*buf) {
        ngx_free(*buf);
    }

    *buf = p;
    *size = need;

    return NGX_OK;
}
