
/*
 * The handshake: a content handler, so that access, limits, realip and
 * auth_request have had their say.
 *
 *     headers, Origin            nothing is asked for these
 *       --> entry()              whose host, who; known() counts the socket
 *         --> entry_room()       which room; inside() is
 *           --> 101, sent and flushed
 *             --> the session takes over, from a posted event
 *
 * The client may go at any time: then the request's cleanup stops the waiting,
 * gives the room's ref back and deletes the posted event.
 *
 * The takeover must not happen inside the handler: nginx still touches the
 * request after it returns.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


static ngx_int_t ngx_http_fcchat_check(ngx_http_request_t *r,
    ngx_http_fcchat_headers_t *h);
static ngx_http_fcchat_ctx_t *ngx_http_fcchat_ctx(ngx_http_request_t *r,
    ngx_http_fcchat_headers_t *h);
static void ngx_http_fcchat_since(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_known(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_inside(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_count(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_count_one(ngx_http_fcchat_ctx_t *ctx,
    uint64_t key, ngx_uint_t max, uint64_t *counted);
static ngx_int_t ngx_http_fcchat_decline(ngx_http_fcchat_ctx_t *ctx,
    ngx_uint_t status, const char *text);


ngx_int_t
ngx_http_fcchat_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_fcchat_ctx_t       *ctx;
    ngx_http_fcchat_headers_t    h;
    ngx_http_fcchat_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_fcchat_module);

    if (conf->service == NGX_HTTP_FCCHAT_STATUS) {
        return ngx_http_fcchat_status(r);
    }

    if (conf->service == NGX_HTTP_FCCHAT_API) {
        return ngx_http_fcchat_api(r);
    }

    ngx_http_fcchat_headers(r, &conf->cookie, &h);

    rc = ngx_http_fcchat_check(r, &h);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = ngx_http_fcchat_ctx(r, &h);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->worker == NULL) {
        return ngx_http_fcchat_refuse(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                      "the chat is not available");
    }

    r->connection->log->action = "opening chat session";

    if (conf->service == NGX_HTTP_FCCHAT_ECHO) {
        return ngx_http_fcchat_upgrade(ctx);
    }

    rc = ngx_http_fcchat_origin_check(r, conf, &h);

    if (rc == NGX_HTTP_FORBIDDEN) {
        ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_REFUSED, "origin", 1);

        (void) ngx_http_fcchat_entry_name(ctx);
        ngx_http_fcchat_audit_request(r, NGX_HTTP_FCCHAT_AUDIT_ORIGIN,
                                      "origin not allowed");

        return ngx_http_fcchat_decline(ctx, rc, "origin not allowed");
    }

    if (rc != NGX_OK) {
        return ngx_http_fcchat_refuse(r, rc, "more than one Origin");
    }

    return ngx_http_fcchat_entry(ctx);
}


/*
 * RFC 6455 4.2.1: what can be wrong without looking at who it is.
 * NGX_DECLINED: nothing; else the request is answered, and this is what the
 * handler returns.
 */

static ngx_int_t
ngx_http_fcchat_check(ngx_http_request_t *r, ngx_http_fcchat_headers_t *h)
{
    if (r != r->main) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method != NGX_HTTP_GET) {
        return ngx_http_fcchat_refuse(r, NGX_HTTP_NOT_ALLOWED,
                                      "a WebSocket handshake is a GET");
    }

    if (r->http_version != NGX_HTTP_VERSION_11) {
        return ngx_http_fcchat_refuse(r, NGX_HTTP_BAD_REQUEST,
                                      "a WebSocket handshake is HTTP/1.1");
    }

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        return ngx_http_fcchat_refuse(r, NGX_HTTP_BAD_REQUEST,
                                      "a WebSocket handshake has no body");
    }

    if (!h->upgrade || !h->connection) {
        return ngx_http_fcchat_refuse(r, NGX_HTTP_BAD_REQUEST,
                                      "this is a WebSocket endpoint");
    }

    if (h->versions != 1
        || h->version.len != 2
        || ngx_memcmp(h->version.data, "13", 2) != 0)
    {
        return ngx_http_fcchat_refuse(r, 426,
                                      "the WebSocket version must be 13");
    }

    if (h->keys != 1 || !fcc_ws_key_valid(h->key.data, h->key.len)) {
        return ngx_http_fcchat_refuse(r, NGX_HTTP_BAD_REQUEST,
                                      "bad Sec-WebSocket-Key");
    }

    if (h->bad) {
        return ngx_http_fcchat_refuse(r, NGX_HTTP_BAD_REQUEST,
                                      "bad Sec-WebSocket-Protocol");
    }

    if (h->extensions) {
        return ngx_http_fcchat_refuse(r, NGX_HTTP_BAD_REQUEST,
                                      "bad Sec-WebSocket-Extensions");
    }

    return NGX_DECLINED;
}


static ngx_http_fcchat_ctx_t *
ngx_http_fcchat_ctx(ngx_http_request_t *r, ngx_http_fcchat_headers_t *h)
{
    ngx_http_cleanup_t     *cln;
    ngx_http_fcchat_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_fcchat_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_fcchat_ctx_cleanup;
    cln->data = ctx;

    ngx_http_fcchat_entry_init(ctx, r);

    ctx->v1 = h->v1;
    ctx->key = h->key;

    if (ctx->conf->deflate) {
        ctx->deflate = h->deflate;
    }

    ctx->cookie = h->cookie;
    ctx->origin = h->origin;

    ngx_http_fcchat_since(ctx);

    ctx->known = ngx_http_fcchat_known;
    ctx->inside = ngx_http_fcchat_inside;
    ctx->decline = ngx_http_fcchat_decline;

    ngx_http_set_ctx(r, ctx, ngx_http_fcchat_module);

    return ctx;
}


/* what does not fit is no position of ours, and is told so later */

static void
ngx_http_fcchat_since(ngx_http_fcchat_ctx_t *ctx)
{
    u_char     *dst, *src;
    ngx_str_t   value;

    if (!ctx->v1
        || ngx_http_arg(ctx->request, (u_char *) "since", 5, &value) != NGX_OK)
    {
        return;
    }

    if (value.len == 0 || value.len > NGX_HTTP_FCCHAT_SINCE_MAX) {
        ctx->since[0] = '-';
        ctx->since_len = 1;
        return;
    }

    dst = ctx->since;
    src = value.data;

    ngx_unescape_uri(&dst, &src, value.len, 0);

    ctx->since_len = dst - ctx->since;
}


void
ngx_http_fcchat_ctx_cleanup(void *data)
{
    ngx_http_fcchat_ctx_t *ctx = data;

    ngx_http_fcchat_entry_leave(ctx);

    if (ctx->takeover.posted) {
        ngx_delete_posted_event(&ctx->takeover);
    }

    if (ctx->worker) {
        ngx_http_fcchat_uncount(ctx->worker->conf->counts, &ctx->counted);
    }
}


static ngx_int_t
ngx_http_fcchat_known(ngx_http_fcchat_ctx_t *ctx)
{
    if (ngx_http_fcchat_count(ctx) != NGX_OK) {
        return ngx_http_fcchat_decline(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                                       "too many connections");
    }

    return ngx_http_fcchat_entry_room(ctx);
}


static ngx_int_t
ngx_http_fcchat_inside(ngx_http_fcchat_ctx_t *ctx)
{
    if (ngx_http_fcchat_room_banned(ctx->room, ctx->user.id, ctx->user.staff,
                                    &ctx->request->connection->addr_text))
    {
        ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_REFUSED, "banned", 1);

        ngx_http_fcchat_audit_request(ctx->request,
                                      NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN,
                                      "banned");

        return ngx_http_fcchat_decline(ctx, NGX_HTTP_FORBIDDEN, "banned");
    }

    return ngx_http_fcchat_upgrade(ctx);
}


/* the socket that is to be, until its session ends or the handshake fails */

static ngx_int_t
ngx_http_fcchat_count(ngx_http_fcchat_ctx_t *ctx)
{
    uint64_t  key;

    if (ctx->conf->addr_max) {
        key = ctx->auth.from;

        if (ngx_http_fcchat_count_one(ctx, key, ctx->conf->addr_max,
                                      &ctx->counted.addr)
            != NGX_OK)
        {
            return NGX_BUSY;
        }
    }

    if (ctx->conf->user_max && ctx->user.id) {
        key = ngx_http_fcchat_user_key(ctx->hub, &ctx->schema, ctx->user.id);

        if (ngx_http_fcchat_count_one(ctx, key, ctx->conf->user_max,
                                      &ctx->counted.user)
            != NGX_OK)
        {
            ngx_http_fcchat_uncount(ctx->worker->conf->counts, &ctx->counted);
            return NGX_BUSY;
        }
    }

    return NGX_OK;
}


/* whom a zone that is too small has no place for, is let in */

static ngx_int_t
ngx_http_fcchat_count_one(ngx_http_fcchat_ctx_t *ctx, uint64_t key,
    ngx_uint_t max, uint64_t *counted)
{
    ngx_int_t    rc;
    const char  *end;

    rc = ngx_http_fcchat_count_add(ctx->worker->conf->counts, key, max);

    if (rc == NGX_BUSY) {
        return NGX_BUSY;
    }

    if (rc == NGX_OK) {
        *counted = key;
        return NGX_OK;
    }

    end = ngx_http_fcchat_net_seldom(&ctx->worker->uncounted, 60);

    if (end) {
        ngx_log_error(NGX_LOG_WARN, ctx->worker->log, 0,
                      "fcchat_zone is too small: a socket is let in without "
                      "being counted%s", end);
    }

    return NGX_OK;
}


/*
 * Refuses as fcchat_refuse says: with a status, or, since a browser's script
 * sees none, after the upgrade with the close code that says the same.
 */

static ngx_int_t
ngx_http_fcchat_decline(ngx_http_fcchat_ctx_t *ctx, ngx_uint_t status,
    const char *text)
{
    if (!ctx->conf->refuse) {
        return ngx_http_fcchat_refuse(ctx->request, status, text);
    }

    ngx_http_fcchat_refused(ctx->request, status, text);

    switch (status) {

    case NGX_HTTP_BAD_REQUEST:
        ctx->code = NGX_HTTP_FCCHAT_CLOSE_BAD_REQUEST;
        break;

    case NGX_HTTP_UNAUTHORIZED:
        ctx->code = NGX_HTTP_FCCHAT_CLOSE_SESSION;
        break;

    case NGX_HTTP_FORBIDDEN:
        ctx->code = NGX_HTTP_FCCHAT_CLOSE_FORBIDDEN;
        break;

    case NGX_HTTP_NOT_FOUND:
        ctx->code = NGX_HTTP_FCCHAT_CLOSE_ROOM_GONE;
        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        ctx->code = NGX_HTTP_FCCHAT_CLOSE_TOO_MANY;
        break;

    default:
        ctx->code = NGX_HTTP_FCCHAT_CLOSE_OVERLOADED;
        break;
    }

    ctx->reason = text;

    return ngx_http_fcchat_upgrade(ctx);
}
