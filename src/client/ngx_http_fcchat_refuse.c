
/* Handshakes that are not for us: the status, a short text, and the
 * headers. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


static ngx_uint_t ngx_http_fcchat_refuse_page(ngx_http_request_t *r,
    ngx_uint_t status);


ngx_int_t
ngx_http_fcchat_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *text)
{
    ngx_int_t                  rc;
    ngx_str_t                  type;
    ngx_http_complex_value_t   cv;

    ngx_http_fcchat_refused(r, status, text);

    rc = NGX_OK;

    switch (status) {

    case NGX_HTTP_NOT_ALLOWED:
        rc = ngx_http_fcchat_headers_add(r, "Allow", "GET");
        break;

    case 426:
        rc = ngx_http_fcchat_headers_add(r, "Sec-WebSocket-Version", "13");

        if (rc == NGX_OK) {
            rc = ngx_http_fcchat_headers_add(r, "Upgrade", "websocket");
        }

        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        rc = ngx_http_fcchat_headers_add(r, "Retry-After", "5");
        break;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        rc = ngx_http_fcchat_headers_add(r, "Retry-After", "1");
        break;
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_fcchat_refuse_page(r, status)) {
        return status;
    }

    ngx_str_set(&type, "text/plain");

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    cv.value.len = ngx_strlen(text) + 1;
    cv.value.data = ngx_pnalloc(r->pool, cv.value.len);

    if (cv.value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (void) ngx_sprintf(cv.value.data, "%s\n", text);

    return ngx_http_send_response(r, status, &type, &cv);
}


/*
 * A 403 has more than one reason: who refuses with it counts and logs it.
 */

void
ngx_http_fcchat_refused(ngx_http_request_t *r, ngx_uint_t status,
    const char *text)
{
    const char               *reason;
    ngx_http_fcchat_audit_e   kind;

    kind = NGX_HTTP_FCCHAT_AUDIT_HANDSHAKE;

    switch (status) {

    case NGX_HTTP_FORBIDDEN:
        return;

    case NGX_HTTP_NOT_ALLOWED:
        reason = "method";
        break;

    case NGX_HTTP_BAD_REQUEST:
        reason = "malformed";
        break;

    case 426:
        reason = "version";
        break;

    case NGX_HTTP_UNAUTHORIZED:
        reason = "no_session";
        kind = NGX_HTTP_FCCHAT_AUDIT_SESSION;
        break;

    case NGX_HTTP_NOT_FOUND:
        reason = "no_room";
        kind = NGX_HTTP_FCCHAT_AUDIT_ROOM;
        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        reason = "too_many";
        kind = NGX_HTTP_FCCHAT_AUDIT_TOO_MANY;
        break;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        reason = "unavailable";
        kind = NGX_HTTP_FCCHAT_AUDIT_UNAVAILABLE;
        break;

    default:
        reason = "other";
        break;
    }

    ngx_http_fcchat_audit_request(r, kind, text);

    ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_REFUSED, reason, 1);
}


/* 1 when the site has a page of its own for the status */

static ngx_uint_t
ngx_http_fcchat_refuse_page(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->error_pages == NULL) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if (page[i].status == (ngx_int_t) status) {
            return 1;
        }
    }

    return 0;
}
