
/*
 * The handshake: a content handler, so that access, limits, realip and
 * auth_request have had their say.
 *
 *     headers, Origin, cookie's and names' form    nothing is asked for these
 *       --> whose host is it tenant(): the worker's cache, or one question;
 *           |                only for "fcchat_tenant domain"
 *           --> who is it        auth(): the cache, or one question at a time
 *             --> which room     room_get(): open here, or one question
 *               --> 101, sent and flushed
 *                 --> the session takes over, from a posted event
 *
 * Where a step waits, the request's count is raised once and the handler
 * returns NGX_DONE; every later step ends in finish(), upgrade() or nothing.
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
static ngx_int_t ngx_http_fcchat_names(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_room_name(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_place(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_placed(ngx_http_fcchat_ctx_t *ctx,
    ngx_http_fcchat_tenant_e rc, ngx_str_t *schema);
static void ngx_http_fcchat_tenant_ready(ngx_http_fcchat_tenant_waiter_t *w,
    ngx_http_fcchat_tenant_e rc, ngx_str_t *schema);
static ngx_int_t ngx_http_fcchat_identify(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_stranger(ngx_http_fcchat_ctx_t *ctx,
    const char *text);
static ngx_int_t ngx_http_fcchat_identified(ngx_http_fcchat_ctx_t *ctx,
    ngx_http_fcchat_auth_e rc);
static void ngx_http_fcchat_auth_ready(ngx_http_fcchat_auth_waiter_t *w,
    ngx_http_fcchat_auth_e rc, ngx_http_fcchat_user_t *user);
static ngx_int_t ngx_http_fcchat_count(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_enter(ngx_http_fcchat_ctx_t *ctx);
static void ngx_http_fcchat_room_ready(ngx_http_fcchat_waiter_t *w,
    ngx_http_fcchat_room_t *room, ngx_http_fcchat_store_rc_e rc);
static ngx_int_t ngx_http_fcchat_decline(ngx_http_fcchat_ctx_t *ctx,
    ngx_uint_t status, const char *text);
static ngx_int_t ngx_http_fcchat_wait(ngx_http_fcchat_ctx_t *ctx);
static void ngx_http_fcchat_finish(ngx_http_fcchat_ctx_t *ctx, ngx_int_t rc);


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

    ctx->hub = ctx->worker->hubs[conf->hub];

    rc = ngx_http_fcchat_origin_check(r, conf, &h);

    if (rc == NGX_HTTP_FORBIDDEN) {
        ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_REFUSED, "origin", 1);

        return ngx_http_fcchat_decline(ctx, rc, "origin not allowed");
    }

    if (rc != NGX_OK) {
        return ngx_http_fcchat_refuse(r, rc, "more than one Origin");
    }

    rc = ngx_http_fcchat_names(ctx);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return conf->domain ? ngx_http_fcchat_place(ctx)
                        : ngx_http_fcchat_identify(ctx);
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

    return NGX_DECLINED;
}


static ngx_http_fcchat_ctx_t *
ngx_http_fcchat_ctx(ngx_http_request_t *r, ngx_http_fcchat_headers_t *h)
{
    ngx_http_cleanup_t           *cln;
    ngx_http_fcchat_ctx_t        *ctx;
    ngx_http_fcchat_main_conf_t  *cmcf;

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

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_fcchat_module);

    ctx->request = r;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_fcchat_module);
    ctx->worker = cmcf->worker;
    ctx->v1 = h->v1;
    ctx->key = h->key;
    ctx->cookie = h->cookie;

    ngx_http_fcchat_since(ctx);

    ctx->tenant.ready = ngx_http_fcchat_tenant_ready;
    ctx->auth.ready = ngx_http_fcchat_auth_ready;
    ctx->waiter.ready = ngx_http_fcchat_room_ready;

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

    ngx_http_fcchat_tenant_forget(&ctx->tenant);
    ngx_http_fcchat_auth_forget(&ctx->auth);
    ngx_http_fcchat_room_forget(&ctx->waiter);

    if (ctx->holding) {
        ngx_http_fcchat_wheel_release(ctx->worker);
    }

    if (ctx->takeover.posted) {
        ngx_delete_posted_event(&ctx->takeover);
    }

    if (ctx->room) {
        ngx_http_fcchat_room_put(ctx->room);
        ctx->room = NULL;
    }

    ngx_http_fcchat_uncount(&ctx->counted);
}


/* returns as the check above */

static ngx_int_t
ngx_http_fcchat_names(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_fcchat_room_name(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!fcc_http_room_valid(ctx->name.data, ctx->name.len)) {
        return ngx_http_fcchat_decline(ctx, NGX_HTTP_BAD_REQUEST,
                                       "bad room name");
    }

    if (ctx->conf->domain) {
        return NGX_DECLINED;
    }

    if (ctx->conf->tenant == NULL) {
        ngx_str_set(&ctx->schema, "public");
        return NGX_DECLINED;
    }

    if (ngx_http_complex_value(r, ctx->conf->tenant, &ctx->schema)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ngx_http_fcchat_tenant_valid(&ctx->schema)) {
        return ngx_http_fcchat_decline(ctx, NGX_HTTP_NOT_FOUND,
                                       "no such room");
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_fcchat_room_name(ngx_http_fcchat_ctx_t *ctx)
{
    u_char              *p, *end;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->conf->room) {
        return ngx_http_complex_value(r, ctx->conf->room, &ctx->name);
    }

    end = r->uri.data + r->uri.len;

    if (end > r->uri.data && end[-1] == '/') {
        end--;
    }

    for (p = end; p > r->uri.data && p[-1] != '/'; p--) { /* void */ }

    ctx->name.data = p;
    ctx->name.len = end - p;

    return NGX_OK;
}


/*
 * django_tenants.middleware.main: the host without its port (nginx has taken
 * it off, as well as a last dot, and has made the rest lower case) and without
 * one leading "www.".
 */

static ngx_int_t
ngx_http_fcchat_place(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_str_t                 host, schema;
    ngx_http_fcchat_tenant_e  rc;

    host = ctx->request->headers_in.server;

    if (host.len >= 4 && ngx_strncmp(host.data, "www.", 4) == 0) {
        host.data += 4;
        host.len -= 4;
    }

    rc = ngx_http_fcchat_tenant(ctx->worker, ctx->hub, ctx->conf, &host,
                                &ctx->tenant, &schema);

    if (rc == NGX_HTTP_FCCHAT_TENANT_MISS) {
        return ngx_http_fcchat_wait(ctx);
    }

    return ngx_http_fcchat_placed(ctx, rc, &schema);
}


static ngx_int_t
ngx_http_fcchat_placed(ngx_http_fcchat_ctx_t *ctx,
    ngx_http_fcchat_tenant_e rc, ngx_str_t *schema)
{
    if (rc == NGX_HTTP_FCCHAT_TENANT_NONE) {
        return ngx_http_fcchat_decline(ctx, NGX_HTTP_NOT_FOUND,
                                       "no such room");
    }

    if (rc != NGX_HTTP_FCCHAT_TENANT_OK) {
        return ngx_http_fcchat_decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "the chat is not available");
    }

    ctx->schema.data = ngx_pstrdup(ctx->request->pool, schema);
    if (ctx->schema.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->schema.len = schema->len;

    return ngx_http_fcchat_identify(ctx);
}


static void
ngx_http_fcchat_tenant_ready(ngx_http_fcchat_tenant_waiter_t *w,
    ngx_http_fcchat_tenant_e rc, ngx_str_t *schema)
{
    ngx_http_fcchat_ctx_t  *ctx;

    ctx = (ngx_http_fcchat_ctx_t *)
              ((u_char *) w - offsetof(ngx_http_fcchat_ctx_t, tenant));

    ngx_http_fcchat_finish(ctx, ngx_http_fcchat_placed(ctx, rc, schema));
}


static ngx_int_t
ngx_http_fcchat_identify(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_fcchat_auth_e  rc;

    if (ctx->cookie.len == 0) {
        return ngx_http_fcchat_stranger(ctx, "no session");
    }

    rc = ngx_http_fcchat_auth(ctx->worker, ctx->hub, ctx->conf, &ctx->schema,
                              &ctx->cookie, &ctx->auth, &ctx->user);

    if (rc == NGX_HTTP_FCCHAT_AUTH_MISS) {
        return ngx_http_fcchat_wait(ctx);
    }

    return ngx_http_fcchat_identified(ctx, rc);
}


/* a cookie that can't be checked now is no stranger's: that is 503 */

static ngx_int_t
ngx_http_fcchat_stranger(ngx_http_fcchat_ctx_t *ctx, const char *text)
{
    if (!ctx->conf->guests) {
        return ngx_http_fcchat_decline(ctx, NGX_HTTP_UNAUTHORIZED, text);
    }

    ctx->user.id = 0;
    ctx->user.staff = 0;
    ctx->user.len = 0;

    return ngx_http_fcchat_enter(ctx);
}


static ngx_int_t
ngx_http_fcchat_identified(ngx_http_fcchat_ctx_t *ctx,
    ngx_http_fcchat_auth_e rc)
{
    if (rc == NGX_HTTP_FCCHAT_AUTH_OK) {
        return ngx_http_fcchat_enter(ctx);
    }

    if (rc == NGX_HTTP_FCCHAT_AUTH_NONE) {
        return ngx_http_fcchat_stranger(ctx, "no valid session");
    }

    if (rc == NGX_HTTP_FCCHAT_AUTH_NO_TENANT) {
        return ngx_http_fcchat_decline(ctx, NGX_HTTP_NOT_FOUND,
                                       "no such room");
    }

    return ngx_http_fcchat_decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "the chat is not available");
}


static void
ngx_http_fcchat_auth_ready(ngx_http_fcchat_auth_waiter_t *w,
    ngx_http_fcchat_auth_e rc, ngx_http_fcchat_user_t *user)
{
    ngx_http_fcchat_ctx_t  *ctx;

    ctx = (ngx_http_fcchat_ctx_t *)
              ((u_char *) w - offsetof(ngx_http_fcchat_ctx_t, auth));

    if (user) {
        ctx->user = *user;
    }

    ngx_http_fcchat_finish(ctx, ngx_http_fcchat_identified(ctx, rc));
}


/* the socket that is to be, until its session ends or the handshake fails */

static ngx_int_t
ngx_http_fcchat_count(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_str_t                  *addr;
    ngx_http_fcchat_counted_t  *counted;

    addr = &ctx->request->connection->addr_text;

    counted = &ctx->counted;
    counted->zone = ctx->worker->conf->counts;

    if (ctx->conf->addr_max) {
        counted->addr = fcc_rate_hash(FCC_RATE_HASH_INIT, addr->data,
                                      addr->len);

        if (ngx_http_fcchat_count_add(counted->zone, counted->addr,
                                      ctx->conf->addr_max))
        {
            return NGX_BUSY;
        }

        counted->by_addr = 1;
    }

    if (ctx->conf->user_max && ctx->user.id) {
        counted->user = ngx_http_fcchat_user_key(ctx->hub, &ctx->schema,
                                                 ctx->user.id);

        if (ngx_http_fcchat_count_add(counted->zone, counted->user,
                                      ctx->conf->user_max))
        {
            ngx_http_fcchat_uncount(counted);
            return NGX_BUSY;
        }

        counted->by_user = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_enter(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_int_t                rc;
    ngx_http_fcchat_room_t  *room;

    if (ngx_http_fcchat_count(ctx) != NGX_OK) {
        return ngx_http_fcchat_decline(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                                       "too many connections");
    }

    rc = ngx_http_fcchat_room_get(ctx->hub, &ctx->schema, &ctx->name,
                                  &ctx->waiter, &room);

    if (rc == NGX_OK) {
        ctx->room = room;
        return ngx_http_fcchat_upgrade(ctx);
    }

    if (rc == NGX_AGAIN) {
        return ngx_http_fcchat_wait(ctx);
    }

    return ngx_http_fcchat_decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "the chat is not available");
}


static void
ngx_http_fcchat_room_ready(ngx_http_fcchat_waiter_t *w,
    ngx_http_fcchat_room_t *room, ngx_http_fcchat_store_rc_e rc)
{
    ngx_int_t               n;
    ngx_http_fcchat_ctx_t  *ctx;

    ctx = (ngx_http_fcchat_ctx_t *)
              ((u_char *) w - offsetof(ngx_http_fcchat_ctx_t, waiter));

    if (room) {
        ctx->room = room;
        n = ngx_http_fcchat_upgrade(ctx);

    } else if (rc == NGX_HTTP_FCCHAT_STORE_NONE
               || rc == NGX_HTTP_FCCHAT_STORE_NO_SCHEMA)
    {
        n = ngx_http_fcchat_decline(ctx, NGX_HTTP_NOT_FOUND, "no such room");

    } else {
        n = ngx_http_fcchat_decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                    "the chat is not available");
    }

    ngx_http_fcchat_finish(ctx, n);
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

    ngx_http_fcchat_refused(status);

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


/* the request waits for an answer of ours, and for its client to go */

static ngx_int_t
ngx_http_fcchat_wait(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (!ctx->pending) {
        ctx->pending = 1;
        ctx->holding = 1;
        ngx_http_fcchat_wheel_hold(ctx->worker);
        r->main->count++;
        r->read_event_handler = ngx_http_test_reading;
        r->write_event_handler = ngx_http_request_empty_handler;
    }

    return NGX_DONE;
}


/* the outcome of a step that ran outside the content handler */

static void
ngx_http_fcchat_finish(ngx_http_fcchat_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (rc == NGX_DONE) {
        return;
    }

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}
