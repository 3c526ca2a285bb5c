
/*
 * The HTTP API: a content handler, beside the WebSocket.
 *
 *     path, method, secret or CSRF token, query    nothing is asked for these
 *       --> body                 read by pieces, where there is one
 *         --> entry()            whose host, who; known() takes from the rate
 *           --> entry_room()     which room; inside() is
 *             --> read() or write()    one question, its answer is the end
 *
 * The request's count.  A GET that waits has it raised once, by entry_wait();
 * a POST has it raised by ngx_http_read_client_request_body(), and entry_wait()
 * is told so by ctx->pending.  Either way one ngx_http_finalize_request() of
 * ours gives it back: from the handler of an answer by entry_finish(), which
 * runs what nginx has posted as well, and from the body's handlers, which nginx
 * itself calls, without that.
 *
 * What may come first:
 *
 *   the client goes      the request's cleanup forgets the question; a message
 *                        that is on its way is stored and delivered all the
 *                        same
 *   the worker leaves    it waits for the answer, as for a handshake
 *   it leaves at once    the questions end as "unavailable"
 *
 * A subrequest may read (auth_request, SSI); its client's going is noticed by
 * the main request.
 */


#include <ngx_http_fcchat_api.h>


static ngx_http_fcchat_api_t *ngx_http_fcchat_api_create(
    ngx_http_request_t *r);
static void ngx_http_fcchat_api_cleanup(void *data);
static ngx_int_t ngx_http_fcchat_api_method(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_caller(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_secret(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_strange(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_csrf(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_headers_t *h);
static ngx_uint_t ngx_http_fcchat_api_origin(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_headers_t *h);
static ngx_int_t ngx_http_fcchat_api_known(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_api_inside(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_api_decline(ngx_http_fcchat_ctx_t *ctx,
    ngx_uint_t status, const char *text);


ngx_int_t
ngx_http_fcchat_api(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_http_fcchat_api_t  *api;

    api = ngx_http_fcchat_api_create(r);
    if (api == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->connection->log->action = "serving chat API";

    fcc_api_path(r->uri.data, r->uri.len, &api->path);

    if (api->ctx.conf->room == NULL) {
        api->ctx.name.data = api->path.room.data;
        api->ctx.name.len = api->path.room.len;
    }

    rc = ngx_http_fcchat_api_method(api);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (api->ctx.worker == NULL) {
        return ngx_http_fcchat_api_unavailable(api);
    }

    rc = ngx_http_fcchat_api_caller(api);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (!ngx_http_fcchat_api_safe(r)) {
        return ngx_http_fcchat_api_body(api);
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_fcchat_api_query(api);

    return (rc == NGX_DECLINED) ? ngx_http_fcchat_api_enter(api) : rc;
}


static ngx_http_fcchat_api_t *
ngx_http_fcchat_api_create(ngx_http_request_t *r)
{
    ngx_http_cleanup_t     *cln;
    ngx_http_fcchat_api_t  *api;

    api = ngx_pcalloc(r->pool, sizeof(ngx_http_fcchat_api_t));
    if (api == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_fcchat_api_cleanup;
    cln->data = api;

    ngx_http_fcchat_entry_init(&api->ctx, r);

    api->ctx.api = 1;
    api->ctx.known = ngx_http_fcchat_api_known;
    api->ctx.inside = ngx_http_fcchat_api_inside;
    api->ctx.decline = ngx_http_fcchat_api_decline;

    ngx_http_set_ctx(r, &api->ctx, ngx_http_fcchat_module);

    return api;
}


static void
ngx_http_fcchat_api_cleanup(void *data)
{
    ngx_http_fcchat_api_t *api = data;

    ngx_http_fcchat_api_release(api);
}


void
ngx_http_fcchat_api_release(ngx_http_fcchat_api_t *api)
{
    ngx_http_fcchat_worker_t  *worker;

    worker = api->ctx.worker;

    if (api->ask) {
        ngx_http_fcchat_store_forget(api->ask);
        api->ask = NULL;
    }

    if (api->sender) {
        api->sender->session = NULL;
        ngx_http_fcchat_sender_put(api->sender);
        api->sender = NULL;
    }

    if (api->counted) {
        api->counted = 0;
        worker->asking--;
        ngx_http_fcchat_api_totals_forget(api);
    }

    fcc_cmd_free(&api->cmd);

    ngx_http_fcchat_entry_leave(&api->ctx);
}


/* NGX_DECLINED: it is one of the resource's; else the request is answered */

static ngx_int_t
ngx_http_fcchat_api_method(ngx_http_fcchat_api_t *api)
{
    ngx_uint_t           post;
    ngx_http_request_t  *r;

    r = api->ctx.request;
    post = (api->path.resource == FCC_API_PUBLISH
            || api->path.resource == FCC_API_MODERATION);

    if (post ? (r->method == NGX_HTTP_POST && r == r->main)
             : ngx_http_fcchat_api_safe(r))
    {
        return NGX_DECLINED;
    }

    if (ngx_http_fcchat_headers_add(r, "Allow", post ? "POST" : "GET, HEAD")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_fcchat_api_refuse(api, NGX_HTTP_NOT_ALLOWED,
                                      "method_not_allowed",
                                      "This method is not for this resource.",
                                      -1);
}


/*
 * The site's own back end by its secret, else a session, which a change must
 * prove not to be forged.  Returns as above.
 */

static ngx_int_t
ngx_http_fcchat_api_caller(ngx_http_fcchat_api_t *api)
{
    ngx_int_t                   rc;
    ngx_http_request_t         *r;
    ngx_http_fcchat_headers_t   h;

    r = api->ctx.request;

    rc = ngx_http_fcchat_api_secret(api);

    if (rc != NGX_DECLINED || api->ctx.server) {
        return rc;
    }

    if (api->path.resource == FCC_API_PUBLISH) {
        return ngx_http_fcchat_api_strange(api);
    }

    ngx_http_fcchat_headers(r, &api->ctx.conf->cookie, &h);

    api->ctx.cookie = h.cookie;

    if (ngx_http_fcchat_api_safe(r)) {
        return NGX_DECLINED;
    }

    return ngx_http_fcchat_api_csrf(api, &h);
}


/*
 * Above the rate the right one is refused as well, or the answer would still
 * tell it from the others.  Returns as above.
 */

static ngx_int_t
ngx_http_fcchat_api_secret(ngx_http_fcchat_api_t *api)
{
    fcc_rate_t            *rate;
    ngx_msec_t             wait;
    ngx_shm_zone_t        *rates;
    ngx_table_elt_t       *h;
    fcc_django_secrets_t  *secrets;

    h = api->ctx.request->headers_in.authorization;
    secrets = api->ctx.conf->api_secrets;

    if (h == NULL || secrets == NULL
        || !fcc_csrf_is_bearer(h->value.data, h->value.len))
    {
        return NGX_DECLINED;
    }

    rate = api->ctx.conf->auth_rate;
    rates = api->ctx.worker->conf->rates;

    wait = rate ? ngx_http_fcchat_rate_take(rates, api->ctx.auth.from,
                                            NGX_HTTP_FCCHAT_RATE_STRANGER,
                                            rate)
                : 0;

    if (wait) {
        ngx_http_fcchat_audit_request(api->ctx.request,
                                      NGX_HTTP_FCCHAT_AUDIT_TOO_MANY,
                                      "too many wrong secrets");

        return ngx_http_fcchat_api_refuse(api, NGX_HTTP_TOO_MANY_REQUESTS,
                                          "rate_limited",
                                          "Too many wrong secrets, wait a "
                                          "little.", wait);
    }

    if (!fcc_csrf_bearer(h->value.data, h->value.len, secrets->key,
                         secrets->n))
    {
        ngx_http_fcchat_audit_request(api->ctx.request,
                                      NGX_HTTP_FCCHAT_AUDIT_SESSION,
                                      "wrong secret");
        return NGX_DECLINED;
    }

    if (rate) {
        ngx_http_fcchat_rate_give(rates, api->ctx.auth.from,
                                  NGX_HTTP_FCCHAT_RATE_STRANGER, rate);
    }

    api->ctx.server = 1;

    return NGX_DECLINED;
}


/* who would publish and has no secret, or a wrong one */

static ngx_int_t
ngx_http_fcchat_api_strange(ngx_http_fcchat_api_t *api)
{
    if (ngx_http_fcchat_headers_add(api->ctx.request, "WWW-Authenticate",
                                    "Bearer")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_fcchat_api_refuse(api, NGX_HTTP_UNAUTHORIZED, "bad_secret",
                                      "The site's secret is needed.", -1);
}


/*
 * django.middleware.csrf, process_view(): the Origin, or without one over TLS
 * the Referer; then the cookie and the token of the header.  Returns as above.
 */

static ngx_int_t
ngx_http_fcchat_api_csrf(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_headers_t *h)
{
    fcc_str_t            cookie, token;
    ngx_str_t            value;
    ngx_http_request_t  *r;

    r = api->ctx.request;

    if (h->cookie.len == 0) {
        return ngx_http_fcchat_api_decline(&api->ctx, NGX_HTTP_UNAUTHORIZED,
                                           "no session");
    }

    if (!ngx_http_fcchat_api_origin(api, h)) {
        ngx_http_fcchat_audit_request(r, NGX_HTTP_FCCHAT_AUDIT_ORIGIN,
                                      "origin of a write not allowed");

        return ngx_http_fcchat_api_refuse(api, NGX_HTTP_FORBIDDEN,
                                          "csrf_failed",
                                          "The origin is not a trusted one.",
                                          -1);
    }

    ngx_http_fcchat_headers_cookie(r, &api->ctx.conf->csrf_cookie, &value);

    cookie.len = value.len;
    cookie.data = value.data;

    ngx_http_fcchat_headers_get(r, "x-csrftoken", &value);

    token.len = value.len;
    token.data = value.data;

    if (fcc_csrf_equal(&cookie, &token)) {
        return NGX_DECLINED;
    }

    ngx_http_fcchat_audit_request(r, NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN,
                                  "bad CSRF token");

    return ngx_http_fcchat_api_refuse(api, NGX_HTTP_FORBIDDEN, "csrf_failed",
                                      cookie.len ? "The CSRF token is missing "
                                                   "or incorrect."
                                                 : "There is no CSRF cookie.",
                                      -1);
}


/* 1: it may ask for changes */

static ngx_uint_t
ngx_http_fcchat_api_origin(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_headers_t *h)
{
    int                  rc;
    fcc_origin_t         origin;
    ngx_table_elt_t     *referer;
    ngx_http_request_t  *r;

    r = api->ctx.request;

    if (api->ctx.conf->origin_any) {
        return 1;
    }

    if (h->origins) {
        rc = (h->origins == 1) ? fcc_http_origin_parse(h->origin.data,
                                                       h->origin.len, &origin)
                               : FCC_ERROR;

    } else if (ngx_http_fcchat_tls(r)) {
        referer = r->headers_in.referer;

        rc = referer ? fcc_csrf_referer(referer->value.data,
                                        referer->value.len, &origin)
                     : FCC_ERROR;

        if (rc == FCC_OK
            && (origin.scheme.len != 5
                || ngx_strncasecmp(origin.scheme.data, (u_char *) "https", 5)
                   != 0))
        {
            return 0;
        }

    } else {
        return 1;
    }

    return rc == FCC_OK
           && (ngx_http_fcchat_origin_same(r, &origin)
               || ngx_http_fcchat_origin_listed(api->ctx.conf, &origin));
}


ngx_int_t
ngx_http_fcchat_api_enter(ngx_http_fcchat_api_t *api)
{
    ngx_http_fcchat_worker_t  *worker;

    worker = api->ctx.worker;

    if (worker->asking >= NGX_HTTP_FCCHAT_API_MAX) {
        return ngx_http_fcchat_api_refuse(api, NGX_HTTP_SERVICE_UNAVAILABLE,
                                          "unavailable",
                                          "The server is busy, try again.",
                                          NGX_HTTP_FCCHAT_RETRY_AFTER);
    }

    worker->asking++;
    api->counted = 1;

    return ngx_http_fcchat_entry(&api->ctx);
}


static ngx_int_t
ngx_http_fcchat_api_known(ngx_http_fcchat_ctx_t *ctx)
{
    uint64_t                key;
    ngx_msec_t              wait;
    ngx_http_fcchat_api_t  *api;

    api = (ngx_http_fcchat_api_t *) ctx;

    if (ctx->conf->api_rate == NULL || ctx->server) {
        return ngx_http_fcchat_entry_room(ctx);
    }

    if (ctx->user.id) {
        key = ngx_http_fcchat_user_key(ctx->hub, &ctx->schema, ctx->user.id);

    } else {
        key = ctx->auth.from;
    }

    wait = ngx_http_fcchat_rate_take(ctx->worker->conf->rates, key,
                                     NGX_HTTP_FCCHAT_RATE_API,
                                     ctx->conf->api_rate);
    if (wait) {
        ngx_http_fcchat_audit_request(ctx->request,
                                      NGX_HTTP_FCCHAT_AUDIT_TOO_MANY,
                                      "too many requests");

        return ngx_http_fcchat_api_refuse(api, NGX_HTTP_TOO_MANY_REQUESTS,
                                          "rate_limited",
                                          "Too fast, wait a little.", wait);
    }

    return ngx_http_fcchat_entry_room(ctx);
}


static ngx_int_t
ngx_http_fcchat_api_inside(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_fcchat_api_t  *api;

    api = (ngx_http_fcchat_api_t *) ctx;

    if (!ctx->server
        && ngx_http_fcchat_room_banned(ctx->room, ctx->user.id,
                                       ctx->user.staff,
                                       &ctx->request->connection->addr_text))
    {
        ngx_http_fcchat_audit_request(ctx->request,
                                      NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN,
                                      "banned");

        return ngx_http_fcchat_api_refuse(api, NGX_HTTP_FORBIDDEN, "banned",
                                          "You may not be here.", -1);
    }

    return ngx_http_fcchat_api_safe(ctx->request)
           ? ngx_http_fcchat_api_read(api) : ngx_http_fcchat_api_write(api);
}


static ngx_int_t
ngx_http_fcchat_api_decline(ngx_http_fcchat_ctx_t *ctx, ngx_uint_t status,
    const char *text)
{
    const char               *code, *reason;
    ngx_msec_int_t            retry_after;
    ngx_http_fcchat_audit_e   kind;

    reason = text;
    retry_after = -1;

    switch (status) {

    case NGX_HTTP_BAD_REQUEST:
        code = "bad_request";
        reason = "malformed";
        kind = NGX_HTTP_FCCHAT_AUDIT_HANDSHAKE;
        break;

    case NGX_HTTP_UNAUTHORIZED:
        code = "login_required";
        kind = NGX_HTTP_FCCHAT_AUDIT_SESSION;
        break;

    case NGX_HTTP_FORBIDDEN:
        code = "forbidden";
        reason = "no moderator";
        kind = NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN;
        break;

    case NGX_HTTP_NOT_FOUND:
        code = "not_found";
        kind = NGX_HTTP_FCCHAT_AUDIT_ROOM;
        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        code = "rate_limited";
        kind = NGX_HTTP_FCCHAT_AUDIT_TOO_MANY;
        retry_after = NGX_HTTP_FCCHAT_API_STRANGER;
        break;

    default:
        code = "unavailable";
        kind = NGX_HTTP_FCCHAT_AUDIT_UNAVAILABLE;
        retry_after = NGX_HTTP_FCCHAT_RETRY_AFTER;
        break;
    }

    ngx_http_fcchat_audit_request(ctx->request, kind, reason);

    return ngx_http_fcchat_api_refuse((ngx_http_fcchat_api_t *) ctx, status,
                                      code, text, retry_after);
}
