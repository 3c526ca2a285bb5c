
/*
 * The handshake's headers, read from the list of all of them: nginx keeps no
 * pointers to most of these, and what it keeps of cookies changed with 1.23.0.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_SUBPROTOCOL  "fcchat.v1"


static void ngx_http_fcchat_header(ngx_table_elt_t *e, ngx_str_t *cookie,
    ngx_http_fcchat_headers_t *h);
static ngx_uint_t ngx_http_fcchat_header_is(ngx_table_elt_t *e,
    const char *name, size_t len);
static void ngx_http_fcchat_header_cookie(ngx_table_elt_t *e,
    ngx_str_t *cookie, ngx_http_fcchat_headers_t *h);


#define ngx_http_fcchat_header_eq(e, name)                                    \
    ngx_http_fcchat_header_is(e, name, sizeof(name) - 1)


void
ngx_http_fcchat_headers(ngx_http_request_t *r, ngx_str_t *cookie,
    ngx_http_fcchat_headers_t *h)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *e;

    ngx_memzero(h, sizeof(ngx_http_fcchat_headers_t));

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        e = part->elts;

        for (i = 0; i < part->nelts; i++) {
            ngx_http_fcchat_header(&e[i], cookie, h);
        }
    }
}


static void
ngx_http_fcchat_header(ngx_table_elt_t *e, ngx_str_t *cookie,
    ngx_http_fcchat_headers_t *h)
{
    int  rc;

    if (ngx_http_fcchat_header_eq(e, "upgrade")) {
        h->upgrade |= fcc_http_list_has(e->value.data, e->value.len,
                                        "websocket");

    } else if (ngx_http_fcchat_header_eq(e, "connection")) {
        h->connection |= fcc_http_list_has(e->value.data, e->value.len,
                                           "upgrade");

    } else if (ngx_http_fcchat_header_eq(e, "sec-websocket-key")) {
        h->key = e->value;
        h->keys++;

    } else if (ngx_http_fcchat_header_eq(e, "sec-websocket-version")) {
        h->version = e->value;
        h->versions++;

    } else if (ngx_http_fcchat_header_eq(e, "sec-websocket-protocol")) {
        rc = fcc_http_subprotocol(e->value.data, e->value.len,
                                  NGX_HTTP_FCCHAT_SUBPROTOCOL);
        h->offers = 1;
        h->v1 |= rc == 1;
        h->bad |= rc == FCC_ERROR;

    } else if (ngx_http_fcchat_header_eq(e, "sec-websocket-extensions")) {
        rc = fcc_deflate_offer(e->value.data, e->value.len, &h->deflate);
        h->extensions |= rc == FCC_ERROR;

    } else if (ngx_http_fcchat_header_eq(e, "origin")) {
        h->origin = e->value;
        h->origins++;

    } else if (ngx_http_fcchat_header_eq(e, "cookie")) {
        ngx_http_fcchat_header_cookie(e, cookie, h);
    }
}


static ngx_uint_t
ngx_http_fcchat_header_is(ngx_table_elt_t *e, const char *name, size_t len)
{
    return e->key.len == len
           && ngx_strncasecmp(e->key.data, (u_char *) name, len) == 0;
}


static void
ngx_http_fcchat_header_cookie(ngx_table_elt_t *e, ngx_str_t *cookie,
    ngx_http_fcchat_headers_t *h)
{
    fcc_str_t  name, value;

    name.len = cookie->len;
    name.data = cookie->data;

    if (fcc_http_cookie(e->value.data, e->value.len, &name, &value)
        == FCC_OK)
    {
        h->cookie.len = value.len;
        h->cookie.data = value.data;
    }
}


ngx_int_t
ngx_http_fcchat_origin_check(ngx_http_request_t *r,
    ngx_http_fcchat_loc_conf_t *conf, ngx_http_fcchat_headers_t *h)
{
    int                        tls;
    fcc_str_t                  below;
    ngx_uint_t                 i;
    fcc_origin_t               origin;
    ngx_http_fcchat_origin_t  *o;

    if (h->origins > 1) {
        return NGX_HTTP_BAD_REQUEST;
    }

    if (conf->origin_any) {
        return NGX_OK;
    }

    if (h->origins == 0
        || fcc_http_origin_parse(h->origin.data, h->origin.len, &origin)
           != FCC_OK)
    {
        return NGX_HTTP_FORBIDDEN;
    }

    if (conf->origin_same && r->headers_in.host) {

#if (NGX_HTTP_SSL)
        tls = r->connection->ssl != NULL;
#else
        tls = 0;
#endif

        if (fcc_http_origin_same(&origin, r->headers_in.host->value.data,
                                 r->headers_in.host->value.len, tls))
        {
            return NGX_OK;
        }
    }

    if (conf->origins == NULL) {
        return NGX_HTTP_FORBIDDEN;
    }

    o = conf->origins->elts;

    for (i = 0; i < conf->origins->nelts; i++) {

        if (o[i].below.len == 0) {
            if (fcc_http_origin_equal(&o[i].origin, &origin)) {
                return NGX_OK;
            }

            continue;
        }

        below.len = o[i].below.len;
        below.data = o[i].below.data;

        if (fcc_http_origin_below(&origin, &below)) {
            return NGX_OK;
        }
    }

    return NGX_HTTP_FORBIDDEN;
}
