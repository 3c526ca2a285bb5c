
/*
 * Answers of the HTTP API: JSON with the headers that go with it.
 *
 * The ETag is a hash of the text itself, which has the log's epoch and head and
 * each message as it is now: a deletion changes it as a new message does.
 * nginx's own filter compares it with If-None-Match and makes the 304.
 */


#include <ngx_http_fcchat_api.h>


static ngx_int_t ngx_http_fcchat_api_answer(ngx_http_fcchat_api_t *api,
    ngx_uint_t status, fcc_buf_t *b);
static ngx_int_t ngx_http_fcchat_api_headers(ngx_http_request_t *r,
    ngx_uint_t status);
static ngx_int_t ngx_http_fcchat_api_etag(ngx_http_request_t *r,
    fcc_buf_t *b);
static void ngx_http_fcchat_api_count(ngx_uint_t status);


ngx_int_t
ngx_http_fcchat_api_send(ngx_http_fcchat_api_t *api, fcc_buf_t *b)
{
    ngx_http_request_t  *r;

    r = api->ctx.request;

    if (b->full) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "fcchat API answer did not fit %uz bytes",
                      (size_t) (b->end - b->start));
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_fcchat_api_safe(r)
        && ngx_http_fcchat_api_etag(r, b) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_fcchat_api_answer(api, NGX_HTTP_OK, b);
}


ngx_int_t
ngx_http_fcchat_api_refuse(ngx_http_fcchat_api_t *api, ngx_uint_t status,
    const char *code, const char *text, ngx_msec_int_t retry_after)
{
    u_char              *p;
    fcc_buf_t            b;
    ngx_http_request_t  *r;

    r = api->ctx.request;

    /* what is under way must not answer a second time, were it after a 500
     * for want of memory here */

    ngx_http_fcchat_api_release(api);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "fcchat API answered with %ui, %s: %s", status, code, text);

    p = ngx_pnalloc(r->pool, FCC_PROTO_OVERHEAD);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fcc_buf_init(&b, p, FCC_PROTO_OVERHEAD);

    fcc_buf_lit(&b, "{\"error\":{\"code\":");
    fcc_json_string(&b, (u_char *) code, ngx_strlen(code));
    fcc_buf_lit(&b, ",\"message\":");
    fcc_json_string(&b, (u_char *) text, ngx_strlen(text));

    if (retry_after >= 0) {
        fcc_buf_lit(&b, ",\"retry_after_ms\":");
        fcc_json_int(&b, retry_after);

        p = ngx_pnalloc(r->pool, NGX_INT_T_LEN + 1);
        if (p == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        (void) ngx_sprintf(p, "%i%Z", (ngx_int_t) (retry_after + 999) / 1000);

        if (ngx_http_fcchat_headers_add(r, "Retry-After", (char *) p)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    fcc_buf_lit(&b, "}}");

    return ngx_http_fcchat_api_answer(api, status, &b);
}


ngx_int_t
ngx_http_fcchat_api_unavailable(ngx_http_fcchat_api_t *api)
{
    return ngx_http_fcchat_api_refuse(api, NGX_HTTP_SERVICE_UNAVAILABLE,
                                      "unavailable",
                                      "The chat is not available, try again.",
                                      NGX_HTTP_FCCHAT_RETRY_AFTER);
}


static ngx_int_t
ngx_http_fcchat_api_answer(ngx_http_fcchat_api_t *api, ngx_uint_t status,
    fcc_buf_t *b)
{
    ngx_int_t                 rc;
    ngx_str_t                 type;
    ngx_http_request_t       *r;
    ngx_http_complex_value_t  cv;

    r = api->ctx.request;

    /* nothing is asked for while a slow client reads */

    ngx_http_fcchat_api_release(api);

    if (ngx_http_fcchat_api_headers(r, status) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&type, "application/json");

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    cv.value.len = b->pos - b->start;
    cv.value.data = b->start;

    rc = ngx_http_send_response(r, status, &type, &cv);

    /* the filter may have made it a 304 */

    ngx_http_fcchat_api_count(r->headers_out.status);

    return rc;
}


static ngx_int_t
ngx_http_fcchat_api_headers(ngx_http_request_t *r, ngx_uint_t status)
{
    if (ngx_http_fcchat_headers_add(r, "X-Content-Type-Options", "nosniff")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (status != NGX_HTTP_OK || !ngx_http_fcchat_api_safe(r)) {
        return ngx_http_fcchat_headers_add(r, "Cache-Control", "no-store");
    }

    if (ngx_http_fcchat_headers_add(r, "Cache-Control", "private, no-cache")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_fcchat_headers_add(r, "Vary", "Cookie");
}


static ngx_int_t
ngx_http_fcchat_api_etag(ngx_http_request_t *r, fcc_buf_t *b)
{
    u_char           *p, *etag;
    ngx_sha1_t        sha1;
    ngx_table_elt_t  *h;
    u_char            digest[NGX_HTTP_FCCHAT_DIGEST];

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, b->start, b->pos - b->start);
    ngx_sha1_final(digest, &sha1);

    etag = ngx_pnalloc(r->pool, 2 * NGX_HTTP_FCCHAT_DIGEST + sizeof("\"\""));
    if (etag == NULL) {
        return NGX_ERROR;
    }

    p = etag;
    *p++ = '"';
    p = ngx_hex_dump(p, digest, NGX_HTTP_FCCHAT_DIGEST);
    *p++ = '"';
    *p = '\0';

    h = ngx_http_fcchat_headers_push(r, "ETag", (char *) etag);
    if (h == NULL) {
        return NGX_ERROR;
    }

    r->headers_out.etag = h;

    /* RFC 9110 13.1.3: without a Last-Modified it says nothing */

    r->headers_in.if_modified_since = NULL;

    return NGX_OK;
}


static void
ngx_http_fcchat_api_count(ngx_uint_t status)
{
    u_char  text[NGX_INT_T_LEN + 1];

    (void) ngx_sprintf(text, "%ui%Z", status);

    ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_API, (char *) text, 1);
}
