
/*
 * The 101 and what follows it, until the session takes over.
 *
 * The response goes through nginx's filters, so that the access log and
 * add_header know it.  Where the socket does not take it at once (a pipelined
 * request before it left the socket full), the rest is sent from the write
 * event.  Then the takeover is posted: the request is not touched by nginx any
 * more when it runs.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


static ngx_int_t ngx_http_fcchat_upgrade_headers(ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_upgrade_extension(
    ngx_http_fcchat_ctx_t *ctx);
static ngx_int_t ngx_http_fcchat_upgrade_header(ngx_http_request_t *r,
    ngx_str_t *key, ngx_str_t *value);
static ngx_int_t ngx_http_fcchat_upgrade_flushed(ngx_http_fcchat_ctx_t *ctx);
static void ngx_http_fcchat_upgrade_drain(ngx_http_request_t *r);
static void ngx_http_fcchat_takeover(ngx_event_t *ev);
static void ngx_http_fcchat_detach(ngx_http_request_t *r);
static void ngx_http_fcchat_free_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);
static void ngx_http_fcchat_keep(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_ctx_t *ctx);


ngx_int_t
ngx_http_fcchat_upgrade(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_fcchat_upgrade_headers(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->keepalive = 0;
    r->lingering_close = 0;
    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_fcchat_upgrade_drain;

    ngx_http_fcchat_entry_stop(ctx);

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return NGX_ERROR;
    }

    if (ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (ngx_tcp_nodelay(r->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_fcchat_upgrade_flushed(ctx) != NGX_DONE) {
        return NGX_ERROR;
    }

    /* from inside the content handler this is the first time to wait */

    if (!ctx->pending) {
        ctx->pending = 1;
        r->main->count++;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_fcchat_upgrade_headers(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_str_t            key, value;
    ngx_http_request_t  *r;

    r = ctx->request;

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);

    ngx_str_set(&key, "Upgrade");
    ngx_str_set(&value, "websocket");

    if (ngx_http_fcchat_upgrade_header(r, &key, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    value.len = FCC_WS_ACCEPT_LEN;
    value.data = ngx_pnalloc(r->pool, FCC_WS_ACCEPT_LEN);

    if (value.data == NULL
        || fcc_ws_accept(ctx->key.data, ctx->key.len, value.data) != FCC_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&key, "Sec-WebSocket-Accept");

    if (ngx_http_fcchat_upgrade_header(r, &key, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->deflate.accepted
        && ngx_http_fcchat_upgrade_extension(ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!ctx->v1) {
        return NGX_OK;
    }

    ngx_str_set(&key, "Sec-WebSocket-Protocol");
    ngx_str_set(&value, "fcchat.v1");

    return ngx_http_fcchat_upgrade_header(r, &key, &value);
}


static ngx_int_t
ngx_http_fcchat_upgrade_extension(ngx_http_fcchat_ctx_t *ctx)
{
    u_char     *p;
    fcc_buf_t   b;
    ngx_str_t   key, value;

    p = ngx_pnalloc(ctx->request->pool, FCC_DEFLATE_ANSWER_MAX);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fcc_buf_init(&b, p, FCC_DEFLATE_ANSWER_MAX);
    fcc_deflate_answer(&b, &ctx->deflate);

    ngx_str_set(&key, "Sec-WebSocket-Extensions");

    value.len = b.pos - b.start;
    value.data = p;

    return ngx_http_fcchat_upgrade_header(ctx->request, &key, &value);
}


static ngx_int_t
ngx_http_fcchat_upgrade_header(ngx_http_request_t *r, ngx_str_t *key,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key = *key;
    h->value = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_upgrade_flushed(ngx_http_fcchat_ctx_t *ctx)
{
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;
    c = r->connection;

    if (r->out || r->postponed || c->buffered) {

        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        /* delayed: limit_rate has its own timer there */

        if (!c->write->delayed) {
            ngx_add_timer(c->write, clcf->send_timeout);
        }

        if (ngx_handle_write_event(c->write, clcf->send_lowat) != NGX_OK) {
            return NGX_ERROR;
        }

        return NGX_DONE;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    ctx->takeover.handler = ngx_http_fcchat_takeover;
    ctx->takeover.data = ctx;
    ctx->takeover.log = c->log;

    ngx_post_event(&ctx->takeover, &ngx_posted_events);

    return NGX_DONE;
}


static void
ngx_http_fcchat_upgrade_drain(ngx_http_request_t *r)
{
    ngx_connection_t       *c;
    ngx_http_fcchat_ctx_t  *ctx;

    c = r->connection;
    ctx = ngx_http_get_module_ctx(r, ngx_http_fcchat_module);

    if (c->write->timedout) {
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_CLOSE);
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_HTTP_CLOSE);
        return;
    }

    if (ngx_http_fcchat_upgrade_flushed(ctx) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_HTTP_CLOSE);
    }
}


static void
ngx_http_fcchat_takeover(ngx_event_t *ev)
{
    ngx_http_fcchat_session_open(ev->data);
}


void
ngx_http_fcchat_upgraded(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;
    r->connection->data = s;

    if (s->conf->detach) {
        ngx_http_fcchat_detach(r);
        return;
    }

    ngx_http_fcchat_keep(s, ctx);
}


/*
 * The request goes, the connection stays.  ngx_http_free_request() writes the
 * access log, runs the cleanups and frees the request's pool; it leaves the
 * connection and its pool alone but marks it destroyed.
 */

static void
ngx_http_fcchat_detach(ngx_http_request_t *r)
{
    ngx_connection_t       *c;
    ngx_http_connection_t  *hc;

    c = r->connection;
    hc = r->http_connection;

    ngx_http_free_request(r, 0);

    c->destroyed = 0;

    ngx_http_fcchat_free_buffers(c, hc);
}


static void
ngx_http_fcchat_free_buffers(ngx_connection_t *c, ngx_http_connection_t *hc)
{
    ngx_chain_t  *cl;

    for (cl = hc->free; cl; cl = cl->next) {
        (void) ngx_pfree(c->pool, cl->buf->start);
    }

    for (cl = hc->busy; cl; cl = cl->next) {
        (void) ngx_pfree(c->pool, cl->buf->start);
    }

    hc->free = NULL;
    hc->busy = NULL;
    hc->nbusy = 0;

    if (c->buffer) {
        (void) ngx_pfree(c->pool, c->buffer->start);
        c->buffer = NULL;
    }
}


/*
 * The request stays.  A subrequest of a mirror may be under way, and would take
 * what the connection has now for its request: it ends here, by the cleanups,
 * as it does when the request is freed.
 */

static void
ngx_http_fcchat_keep(ngx_http_fcchat_session_t *s, ngx_http_fcchat_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    cln = r->cleanup;
    r->cleanup = NULL;

    for ( /* void */ ; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    ctx->session = s;
    ctx->read = c->read->handler;
    ctx->write = c->write->handler;
    s->request = r;
}
