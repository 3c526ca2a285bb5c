
/*
 * The body of a request of the HTTP API, into memory and no file.
 *
 * It is read unbuffered: nginx gives what has come and takes its buffer back,
 * so that no more than one message is kept, and client_body_timeout bounds the
 * wait.  All of this runs inside handlers that nginx calls for the request,
 * which do what is left to do after it: here a request is finalized, and
 * nothing else.
 */


#include <ngx_http_fcchat_api.h>


static ngx_int_t ngx_http_fcchat_api_body_check(ngx_http_fcchat_api_t *api);
static ngx_uint_t ngx_http_fcchat_api_body_json(ngx_http_request_t *r);
static void ngx_http_fcchat_api_body_begin(ngx_http_request_t *r);
static void ngx_http_fcchat_api_body_more(ngx_http_request_t *r);
static ngx_int_t ngx_http_fcchat_api_body_take(ngx_http_fcchat_api_t *api);
static void ngx_http_fcchat_api_body_end(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_body_large(ngx_http_fcchat_api_t *api);


ngx_int_t
ngx_http_fcchat_api_body(ngx_http_fcchat_api_t *api)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = api->ctx.request;

    rc = ngx_http_fcchat_api_body_check(api);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    /* a temporary file is of no use: what is too large is not read */

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_fcchat_api_body_begin);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


/* NGX_DECLINED: nothing is wrong so far; else the request is answered */

static ngx_int_t
ngx_http_fcchat_api_body_check(ngx_http_fcchat_api_t *api)
{
    off_t                length;
    ngx_http_request_t  *r;

    r = api->ctx.request;
    length = r->headers_in.content_length_n;

    if (!ngx_http_fcchat_api_body_json(r)) {
        return ngx_http_fcchat_api_refuse(api,
                                          NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                          "unsupported_type",
                                          "The body must be "
                                          "application/json.", -1);
    }

    api->size = api->ctx.conf->length * FCC_PROTO_EXPANSION
                + NGX_HTTP_FCCHAT_FRAME_OVERHEAD;

    if (length > (off_t) api->size) {
        return ngx_http_fcchat_api_body_large(api);
    }

    if (length >= 0) {
        api->size = length;
    }

    api->body = ngx_palloc(r->pool, api->size + 1);
    if (api->body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_fcchat_api_body_json(ngx_http_request_t *r)
{
    size_t     n;
    ngx_str_t  type;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    n = sizeof("application/json") - 1;
    type = r->headers_in.content_type->value;

    if (type.len < n
        || ngx_strncasecmp(type.data, (u_char *) "application/json", n) != 0)
    {
        return 0;
    }

    return type.len == n || type.data[n] == ';' || type.data[n] == ' ';
}


/* r->main->count was raised for this by nginx */

static void
ngx_http_fcchat_api_body_begin(ngx_http_request_t *r)
{
    ngx_http_fcchat_api_t  *api;

    api = ngx_http_get_module_ctx(r, ngx_http_fcchat_module);

    api->ctx.pending = 1;

    r->read_event_handler = ngx_http_fcchat_api_body_more;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_fcchat_api_body_more(r);
}


static void
ngx_http_fcchat_api_body_more(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_http_fcchat_api_t  *api;

    api = ngx_http_get_module_ctx(r, ngx_http_fcchat_module);

    for ( ;; ) {
        rc = ngx_http_fcchat_api_body_take(api);

        if (rc != NGX_DECLINED) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (!r->reading_body) {
            break;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (r->reading_body && r->request_body->bufs == NULL) {
            return;
        }
    }

    ngx_http_fcchat_api_body_end(api);
}


/* NGX_DECLINED: it is taken; else the request is answered */

static ngx_int_t
ngx_http_fcchat_api_body_take(ngx_http_fcchat_api_t *api)
{
    size_t               n;
    ngx_buf_t           *b;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = api->ctx.request;

    if (r->request_body == NULL) {
        return NGX_DECLINED;
    }

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (b->in_file) {

            /* another module had it read before us */

            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "fcchat API can't have a body in a file");
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        n = b->last - b->pos;

        if (n > api->size - api->len) {
            return ngx_http_fcchat_api_body_large(api);
        }

        /* the last one may be empty */

        if (n) {
            ngx_memcpy(api->body + api->len, b->pos, n);
            api->len += n;
        }

        if (r->request_body_no_buffering) {
            b->pos = b->last;
        }
    }

    if (r->request_body_no_buffering) {
        r->request_body->bufs = NULL;
    }

    return NGX_DECLINED;
}


static void
ngx_http_fcchat_api_body_end(ngx_http_fcchat_api_t *api)
{
    ngx_int_t            rc;
    fcc_proto_e          proto;
    fcc_proto_error_t    err;
    ngx_http_request_t  *r;

    r = api->ctx.request;

    r->read_event_handler = ngx_http_block_reading;

    proto = (api->path.resource == FCC_API_PUBLISH) ? FCC_PROTO_PUBLISH
                                                    : FCC_PROTO_MODERATE;

    if (fcc_proto_parse(proto, api->body, api->len, api->ctx.conf->length,
                        &api->cmd, &err)
        == FCC_OK)
    {
        rc = ngx_http_fcchat_api_enter(api);

    } else {
        rc = ngx_http_fcchat_api_refuse(api, NGX_HTTP_BAD_REQUEST, err.code,
                                        err.text, -1);
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_int_t
ngx_http_fcchat_api_body_large(ngx_http_fcchat_api_t *api)
{
    return ngx_http_fcchat_api_refuse(api, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                      "too_large", "The body is too large.",
                                      -1);
}
