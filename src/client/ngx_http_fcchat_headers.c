
/*
 * Headers, read from the list of all of them: nginx keeps no pointers to most
 * of these, and what it keeps of cookies changed with 1.23.0.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_SUBPROTOCOL  "fcchat.v1"


static void ngx_http_fcchat_header(ngx_table_elt_t *e,
    ngx_http_fcchat_headers_t *h);
static ngx_uint_t ngx_http_fcchat_header_is(ngx_table_elt_t *e,
    const char *name, size_t len);
static void ngx_http_fcchat_host(ngx_http_request_t *r, ngx_str_t *host);


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

    ngx_http_fcchat_headers_cookie(r, cookie, &h->cookie);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        e = part->elts;

        for (i = 0; i < part->nelts; i++) {
            ngx_http_fcchat_header(&e[i], h);
        }
    }
}


static void
ngx_http_fcchat_header(ngx_table_elt_t *e, ngx_http_fcchat_headers_t *h)
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
    }
}


static ngx_uint_t
ngx_http_fcchat_header_is(ngx_table_elt_t *e, const char *name, size_t len)
{
    return e->key.len == len
           && ngx_strncasecmp(e->key.data, (u_char *) name, len) == 0;
}


void
ngx_http_fcchat_headers_cookie(ngx_http_request_t *r, ngx_str_t *cookie,
    ngx_str_t *value)
{
    fcc_str_t         name, found;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *e;

    ngx_str_null(value);

    name.len = cookie->len;
    name.data = cookie->data;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        e = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (ngx_http_fcchat_header_eq(&e[i], "cookie")
                && fcc_http_cookie(e[i].value.data, e[i].value.len, &name,
                                   &found)
                   == FCC_OK)
            {
                value->len = found.len;
                value->data = found.data;
            }
        }
    }
}


void
ngx_http_fcchat_headers_get(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *e;

    ngx_str_null(value);

    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        e = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_fcchat_header_is(&e[i], name, len)) {
                *value = e[i].value;
            }
        }
    }
}


ngx_int_t
ngx_http_fcchat_headers_add(ngx_http_request_t *r, const char *name,
    const char *value)
{
    return ngx_http_fcchat_headers_push(r, name, value) ? NGX_OK : NGX_ERROR;
}


ngx_table_elt_t *
ngx_http_fcchat_headers_push(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value.len = ngx_strlen(value);
    h->value.data = (u_char *) value;

    return h;
}


ngx_int_t
ngx_http_fcchat_origin_check(ngx_http_request_t *r,
    ngx_http_fcchat_loc_conf_t *conf, ngx_http_fcchat_headers_t *h)
{
    fcc_origin_t  origin;

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

    if (conf->origin_same && ngx_http_fcchat_origin_same(r, &origin)) {
        return NGX_OK;
    }

    return ngx_http_fcchat_origin_listed(conf, &origin) ? NGX_OK
                                                        : NGX_HTTP_FORBIDDEN;
}


ngx_uint_t
ngx_http_fcchat_tls(ngx_http_request_t *r)
{
#if (NGX_HTTP_SSL)
    return r->connection->ssl != NULL;
#else
    return 0;
#endif
}


ngx_uint_t
ngx_http_fcchat_origin_same(ngx_http_request_t *r, fcc_origin_t *origin)
{
    ngx_str_t  host;

    ngx_http_fcchat_host(r, &host);

    return fcc_http_origin_same(origin, host.data, host.len,
                                ngx_http_fcchat_tls(r));
}


/*
 * HTTP/3 has it in ":authority" alone, and HTTP/1.0 may have it in the request
 * line alone, where most versions of nginx do not count the port to the host.
 * Empty: nowhere.
 */

static void
ngx_http_fcchat_host(ngx_http_request_t *r, ngx_str_t *host)
{
    u_char  *p, *end;

    if (r->headers_in.host) {
        *host = r->headers_in.host->value;
        return;
    }

    ngx_str_null(host);

    if (r->host_end == NULL) {
        return;
    }

    p = r->host_end;

    if (r->http_version < NGX_HTTP_VERSION_20) {
        end = r->request_line.data + r->request_line.len;

        while (p < end && *p != '/' && *p != '?' && *p != ' ') {
            p++;
        }
    }

    host->data = r->host_start;
    host->len = p - r->host_start;
}


ngx_uint_t
ngx_http_fcchat_origin_listed(ngx_http_fcchat_loc_conf_t *conf,
    fcc_origin_t *origin)
{
    fcc_str_t                  below;
    ngx_uint_t                 i;
    ngx_http_fcchat_origin_t  *o;

    if (conf->origins == NULL) {
        return 0;
    }

    o = conf->origins->elts;

    for (i = 0; i < conf->origins->nelts; i++) {

        if (o[i].below.len == 0) {
            if (fcc_http_origin_equal(&o[i].origin, origin)) {
                return 1;
            }

            continue;
        }

        below.len = o[i].below.len;
        below.data = o[i].below.data;

        if (fcc_http_origin_below(origin, &below)) {
            return 1;
        }
    }

    return 0;
}
