
/*
 * The way in, the same for a handshake and a request of the API:
 *
 *     cookie's and names' form   nothing is asked for these
 *       --> whose host is it     tenant(): the worker's cache, or one question;
 *           |                    only for "fcchat_tenant domain"
 *           --> who is it        auth(): the cache, or one question at a time
 *             --> ctx->known()
 *               --> which room   room_get(): open here, or one question
 *                 --> ctx->inside()
 *
 * Where a step waits, the request's count is raised once and the content
 * handler returns NGX_DONE; every later step ends in finish() or waits again.
 * The client may go at any time: then the request's cleanup stops the waiting
 * and gives the room's ref back.  One timer bounds all steps up to inside().
 * It is not that of the write event, which a subrequest shares with the main
 * request.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


static ngx_int_t ngx_http_fcchat_names(ngx_http_fcchat_ctx_t *ctx);
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
static void ngx_http_fcchat_room_ready(ngx_http_fcchat_waiter_t *w,
    ngx_http_fcchat_room_t *room, ngx_http_fcchat_store_rc_e rc);
static ngx_int_t ngx_http_fcchat_entered(ngx_http_fcchat_ctx_t *ctx);
static void ngx_http_fcchat_late(ngx_event_t *ev);


void
ngx_http_fcchat_entry_init(ngx_http_fcchat_ctx_t *ctx, ngx_http_request_t *r)
{
    ngx_http_fcchat_main_conf_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_fcchat_module);

    ctx->request = r;
    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_fcchat_module);
    ctx->worker = cmcf->worker;

    ctx->tenant.ready = ngx_http_fcchat_tenant_ready;
    ctx->auth.ready = ngx_http_fcchat_auth_ready;
    ctx->waiter.ready = ngx_http_fcchat_room_ready;

    ctx->auth.from = ngx_http_fcchat_addr_key(r->connection);

    ctx->late.handler = ngx_http_fcchat_late;
    ctx->late.data = ctx;
    ctx->late.log = r->connection->log;
}


void
ngx_http_fcchat_entry_leave(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_fcchat_entry_stop(ctx);

    ngx_http_fcchat_tenant_forget(&ctx->tenant);
    ngx_http_fcchat_auth_forget(&ctx->auth);
    ngx_http_fcchat_room_forget(&ctx->waiter);

    if (ctx->holding) {
        ngx_http_fcchat_wheel_release(ctx->worker);
        ctx->holding = 0;
    }

    if (ctx->room) {
        ngx_http_fcchat_room_put(ctx->room);
        ctx->room = NULL;
    }
}


ngx_int_t
ngx_http_fcchat_entry(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->hub = ctx->worker->hubs[ctx->conf->hub];

    rc = ngx_http_fcchat_names(ctx);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ctx->conf->domain ? ngx_http_fcchat_place(ctx)
                             : ngx_http_fcchat_identify(ctx);
}


/*
 * NGX_DECLINED: they are good; else the request is answered, and this is what
 * the handler returns.
 */

static ngx_int_t
ngx_http_fcchat_names(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->name.data == NULL
        && ngx_http_fcchat_entry_name(ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!fcc_http_room_valid(ctx->name.data, ctx->name.len)) {
        return ctx->decline(ctx, NGX_HTTP_BAD_REQUEST,
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
        return ctx->decline(ctx, NGX_HTTP_NOT_FOUND,
                            "no such room");
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_fcchat_entry_name(ngx_http_fcchat_ctx_t *ctx)
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
        return ngx_http_fcchat_entry_wait(ctx);
    }

    return ngx_http_fcchat_placed(ctx, rc, &schema);
}


static ngx_int_t
ngx_http_fcchat_placed(ngx_http_fcchat_ctx_t *ctx,
    ngx_http_fcchat_tenant_e rc, ngx_str_t *schema)
{
    if (rc == NGX_HTTP_FCCHAT_TENANT_NONE) {
        return ctx->decline(ctx, NGX_HTTP_NOT_FOUND,
                            "no such room");
    }

    if (rc != NGX_HTTP_FCCHAT_TENANT_OK) {
        return ctx->decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
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

    ngx_http_fcchat_entry_finish(ctx, ngx_http_fcchat_placed(ctx, rc, schema));
}


static ngx_int_t
ngx_http_fcchat_identify(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_fcchat_auth_e  rc;

    if (ctx->server) {
        return ctx->known(ctx);
    }

    if (ctx->cookie.len == 0) {
        return ngx_http_fcchat_stranger(ctx, "no session");
    }

    rc = ngx_http_fcchat_auth(ctx->worker, ctx->hub, ctx->conf, &ctx->schema,
                              &ctx->cookie, &ctx->auth, &ctx->user);

    if (rc == NGX_HTTP_FCCHAT_AUTH_MISS) {
        return ngx_http_fcchat_entry_wait(ctx);
    }

    return ngx_http_fcchat_identified(ctx, rc);
}


/* a cookie that can't be checked now is no stranger's: that is 503 */

static ngx_int_t
ngx_http_fcchat_stranger(ngx_http_fcchat_ctx_t *ctx, const char *text)
{
    if (!ctx->conf->guests) {
        return ctx->decline(ctx, NGX_HTTP_UNAUTHORIZED, text);
    }

    ctx->user.id = 0;
    ctx->user.asked = ngx_current_msec;
    ctx->user.staff = 0;
    ctx->user.len = 0;

    return ctx->known(ctx);
}


static ngx_int_t
ngx_http_fcchat_identified(ngx_http_fcchat_ctx_t *ctx,
    ngx_http_fcchat_auth_e rc)
{
    if (rc == NGX_HTTP_FCCHAT_AUTH_OK) {
        return ctx->known(ctx);
    }

    if (rc == NGX_HTTP_FCCHAT_AUTH_NONE) {
        return ngx_http_fcchat_stranger(ctx, "no valid session");
    }

    if (rc == NGX_HTTP_FCCHAT_AUTH_TOO_MANY) {
        return ctx->decline(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                            "too many bad sessions");
    }

    if (rc == NGX_HTTP_FCCHAT_AUTH_NO_TENANT) {
        return ctx->decline(ctx, NGX_HTTP_NOT_FOUND,
                            "no such room");
    }

    return ctx->decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
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

    ngx_http_fcchat_entry_finish(ctx, ngx_http_fcchat_identified(ctx, rc));
}


ngx_int_t
ngx_http_fcchat_entry_room(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_int_t                rc;
    ngx_http_fcchat_room_t  *room;

    rc = ngx_http_fcchat_room_get(ctx->hub, &ctx->schema, &ctx->name,
                                  &ctx->waiter, &room);

    if (rc == NGX_OK) {
        ctx->room = room;
        return ngx_http_fcchat_entered(ctx);
    }

    if (rc == NGX_AGAIN) {
        return ngx_http_fcchat_entry_wait(ctx);
    }

    return ctx->decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
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
        n = ngx_http_fcchat_entered(ctx);

    } else if (rc == NGX_HTTP_FCCHAT_STORE_NONE
               || rc == NGX_HTTP_FCCHAT_STORE_NO_SCHEMA)
    {
        n = ctx->decline(ctx, NGX_HTTP_NOT_FOUND, "no such room");

    } else {
        n = ctx->decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                         "the chat is not available");
    }

    ngx_http_fcchat_entry_finish(ctx, n);
}


static ngx_int_t
ngx_http_fcchat_entered(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_fcchat_entry_stop(ctx);

    return ctx->inside(ctx);
}


void
ngx_http_fcchat_entry_stop(ngx_http_fcchat_ctx_t *ctx)
{
    if (ctx->late.timer_set) {
        ngx_del_timer(&ctx->late);
    }
}


/* all steps together have taken too long */

static void
ngx_http_fcchat_late(ngx_event_t *ev)
{
    ngx_http_fcchat_ctx_t  *ctx;

    ctx = ev->data;

    ngx_http_fcchat_entry_leave(ctx);
    ngx_http_fcchat_entry_finish(ctx,
                                 ctx->decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                              "the chat is not available"));
}


ngx_int_t
ngx_http_fcchat_entry_wait(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (!ctx->holding) {
        ctx->holding = 1;
        ngx_http_fcchat_wheel_hold(ctx->worker);
        r->read_event_handler = ngx_http_test_reading;
        r->write_event_handler = ngx_http_request_empty_handler;

        ngx_add_timer(&ctx->late, ctx->conf->handshake);
    }

    if (!ctx->pending) {
        ctx->pending = 1;
        r->main->count++;
    }

    return NGX_DONE;
}


void
ngx_http_fcchat_entry_finish(ngx_http_fcchat_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (rc == NGX_DONE) {
        return;
    }

    ngx_http_fcchat_entry_stop(ctx);

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}
