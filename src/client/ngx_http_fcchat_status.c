
/*
 * The content handler of fcchat_status: which format, and the answer.
 *
 * "?format=" decides; else Accept: a browser's has text/html, Prometheus's
 * names the version of its text; anybody else gets JSON.
 */


#include <ngx_http_fcchat_status.h>


typedef enum {
    NGX_HTTP_FCCHAT_STATUS_UNKNOWN = 0,
    NGX_HTTP_FCCHAT_STATUS_JSON,
    NGX_HTTP_FCCHAT_STATUS_PROMETHEUS,
    NGX_HTTP_FCCHAT_STATUS_HTML
} ngx_http_fcchat_status_format_e;


static ngx_uint_t ngx_http_fcchat_status_near(struct sockaddr *sa);
static ngx_http_fcchat_status_format_e ngx_http_fcchat_status_format(
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_fcchat_status_accepts(ngx_http_request_t *r,
    char *type);
static ngx_int_t ngx_http_fcchat_status_body(ngx_http_request_t *r,
    ngx_http_fcchat_status_format_e format, ngx_str_t *body);


static ngx_str_t  ngx_http_fcchat_status_types[] = {
    ngx_null_string,
    ngx_string("application/json"),
    ngx_string("text/plain; version=0.0.4; charset=utf-8"),
    ngx_string("text/html; charset=utf-8")
};


ngx_int_t
ngx_http_fcchat_status(ngx_http_request_t *r)
{
    ngx_int_t                         rc;
    ngx_http_complex_value_t          cv;
    ngx_http_fcchat_loc_conf_t       *conf;
    ngx_http_fcchat_status_format_e   format;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_fcchat_headers_add(r, "Allow", "GET, HEAD") == NGX_OK
               ? NGX_HTTP_NOT_ALLOWED : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fcchat_module);

    if (!conf->status_any
        && !ngx_http_fcchat_status_near(r->connection->sockaddr))
    {
        return NGX_HTTP_FORBIDDEN;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    format = ngx_http_fcchat_status_format(r);

    if (format == NGX_HTTP_FCCHAT_STATUS_UNKNOWN) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    if (ngx_http_fcchat_status_body(r, format, &cv.value) != NGX_OK
        || ngx_http_fcchat_headers_add(r, "Cache-Control", "no-store")
           != NGX_OK
        || ngx_http_fcchat_headers_add(r, "Vary", "Accept") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_send_response(r, NGX_HTTP_OK,
                                  &ngx_http_fcchat_status_types[format], &cv);
}


/* 1 for an address of this machine; realip has had its say */

static ngx_uint_t
ngx_http_fcchat_status_near(struct sockaddr *sa)
{
    u_char  *p;

    switch (sa->sa_family) {

    case AF_UNIX:
        return 1;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        p = ((struct sockaddr_in6 *) sa)->sin6_addr.s6_addr;

        return IN6_IS_ADDR_LOOPBACK((struct in6_addr *) p)
               || (IN6_IS_ADDR_V4MAPPED((struct in6_addr *) p)
                   && p[12] == 127);
#endif

    default: /* AF_INET */
        p = (u_char *) &((struct sockaddr_in *) sa)->sin_addr.s_addr;

        return p[0] == 127;
    }
}


static ngx_http_fcchat_status_format_e
ngx_http_fcchat_status_format(ngx_http_request_t *r)
{
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) "format", 6, &value) == NGX_OK) {

        if (value.len == 4 && ngx_strncmp(value.data, "json", 4) == 0) {
            return NGX_HTTP_FCCHAT_STATUS_JSON;
        }

        if (value.len == 4 && ngx_strncmp(value.data, "html", 4) == 0) {
            return NGX_HTTP_FCCHAT_STATUS_HTML;
        }

        if (value.len == 10 && ngx_strncmp(value.data, "prometheus", 10) == 0) {
            return NGX_HTTP_FCCHAT_STATUS_PROMETHEUS;
        }

        return NGX_HTTP_FCCHAT_STATUS_UNKNOWN;
    }

    if (ngx_http_fcchat_status_accepts(r, "text/html")) {
        return NGX_HTTP_FCCHAT_STATUS_HTML;
    }

    if (ngx_http_fcchat_status_accepts(r, "application/openmetrics-text")
        || ngx_http_fcchat_status_accepts(r, "version=0.0.4"))
    {
        return NGX_HTTP_FCCHAT_STATUS_PROMETHEUS;
    }

    return NGX_HTTP_FCCHAT_STATUS_JSON;
}


static ngx_uint_t
ngx_http_fcchat_status_accepts(ngx_http_request_t *r, char *type)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *e;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        e = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (e[i].key.len == sizeof("Accept") - 1
                && ngx_strncasecmp(e[i].key.data, (u_char *) "Accept", 6) == 0
                && ngx_strlcasestrn(e[i].value.data,
                                    e[i].value.data + e[i].value.len,
                                    (u_char *) type, ngx_strlen(type) - 1))
            {
                return 1;
            }
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_fcchat_status_body(ngx_http_request_t *r,
    ngx_http_fcchat_status_format_e format, ngx_str_t *body)
{
    size_t                        size;
    u_char                       *p;
    fcc_buf_t                     b;
    ngx_slab_pool_t              *shpool;
    ngx_http_fcchat_status_t      st;
    ngx_http_fcchat_main_conf_t  *cmcf;

    if (format == NGX_HTTP_FCCHAT_STATUS_HTML) {
        *body = ngx_http_fcchat_status_page;
        return NGX_OK;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_fcchat_module);

    ngx_memzero(&st, sizeof(ngx_http_fcchat_status_t));

    st.all = ngx_palloc(r->pool, sizeof(ngx_http_fcchat_stat_all_t));
    if (st.all == NULL) {
        return NGX_ERROR;
    }

    ngx_http_fcchat_stat_read(cmcf->stat, st.all);

    if (cmcf->zone) {
        shpool = (ngx_slab_pool_t *) cmcf->zone->shm.addr;

        st.zone_size = cmcf->zone->shm.size;
        st.zone_free = shpool->pfree * ngx_pagesize;
    }

    size = ngx_http_fcchat_status_size(&st);

    p = ngx_palloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fcc_buf_init(&b, p, size);

    if (format == NGX_HTTP_FCCHAT_STATUS_JSON) {
        ngx_http_fcchat_status_json(&b, &st);

    } else {
        ngx_http_fcchat_status_prometheus(&b, &st);
    }

    if (b.full) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "fcchat status did not fit %uz bytes", size);
        return NGX_ERROR;
    }

    body->data = b.start;
    body->len = b.pos - b.start;

    return NGX_OK;
}
