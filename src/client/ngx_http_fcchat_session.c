
/*
 * A session: the connection after the 101, from its opening to its end.
 *
 * Ownership.  The session owns the connection (detached: nginx's request is
 * freed; not detached: the request is finalized at the end).  It holds a ref
 * of its room and a reference of its sender; what it has said and is not
 * decided yet holds its own, and finds sender->session NULL when the session
 * is gone.
 *
 * What may come at a bad time:
 *   - a fan-out finds the connection broken: member->broken() only notes it
 *     and posts worker->close, since the fan-out walks over this session;
 *   - the write event after our Close: the session may end in it;
 *   - c->close, from nginx: alone it means that the worker is leaving, with
 *     c->error that it leaves now (worker_shutdown_timeout);
 *   - the wheel after all that: the session is out of it when it is freed.
 *
 * Nothing is sent after a Close: the member leaves the room's log first.
 * While input is being fed the session is never freed: what ends it then is
 * posted.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>
#include <ngx_http_fcchat_rights.h>


static ngx_http_fcchat_session_t *ngx_http_fcchat_session_create(
    ngx_http_fcchat_ctx_t *ctx);
static void ngx_http_fcchat_session_start(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_ctx_t *ctx, u_char *early, size_t len);
static void ngx_http_fcchat_session_read(ngx_event_t *rev);
static void ngx_http_fcchat_session_recv(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_session_write(ngx_event_t *wev);
static void ngx_http_fcchat_session_broken(ngx_http_fcchat_member_t *m,
    ngx_uint_t code);
static void ngx_http_fcchat_session_sent(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_session_count(ngx_uint_t code);
static void ngx_http_fcchat_session_closed(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_session_end(ngx_http_fcchat_session_t *s);


static const ngx_http_fcchat_owner_t  ngx_http_fcchat_session_owner = {
    ngx_http_fcchat_session_broken,
    ngx_http_fcchat_session_lost
};


void
ngx_http_fcchat_session_open(ngx_http_fcchat_ctx_t *ctx)
{
    size_t                      len;
    u_char                     *early;
    ngx_buf_t                  *b;
    ngx_connection_t           *c;
    ngx_http_request_t         *r;
    ngx_http_fcchat_ctx_t       copy;
    ngx_http_fcchat_session_t  *s;

    r = ctx->request;
    c = r->connection;
    early = NULL;

    s = ngx_http_fcchat_session_create(ctx);

    b = r->header_in;
    len = b->last - b->pos;

    if (s && len) {

        /* frames of the handshake's own packet, in a buffer of the request */

        early = ngx_alloc(len, c->log);

        if (early) {
            ngx_memcpy(early, b->pos, len);
            b->pos = b->last;
        }
    }

    if (s == NULL || (len && early == NULL)) {

        if (s) {
            ngx_free(s);
        }

        ngx_http_finalize_request(r, NGX_HTTP_CLOSE);
        ngx_http_run_posted_requests(c);
        return;
    }

    /* the request's memory is about to go, or stays: what start() needs is
     * copied; the room's ref is the session's now */

    ctx->room = NULL;
    ctx->counted.user = 0;
    ctx->counted.addr = 0;
    copy = *ctx;
    copy.room = s->room;

    ngx_http_fcchat_upgraded(s, ctx);

    ngx_http_fcchat_session_start(s, &copy, early, len);

    if (early) {
        ngx_free(early);
    }
}


static ngx_http_fcchat_session_t *
ngx_http_fcchat_session_create(ngx_http_fcchat_ctx_t *ctx)
{
    size_t                      origin;
    u_char                     *p;
    ngx_str_t                   key;
    ngx_connection_t           *c;
    ngx_http_fcchat_session_t  *s;
    u_char                      buf[NGX_HTTP_FCCHAT_RIGHTS_KEY_MAX];

    c = ctx->request->connection;
    origin = ngx_min(ctx->origin.len, NGX_HTTP_FCCHAT_ORIGIN_KEPT);

    key.data = buf;
    key.len = ngx_http_fcchat_rights_key(ctx, buf);

    s = ngx_calloc(sizeof(ngx_http_fcchat_session_t) + ctx->user.len
                   + c->addr_text.len + key.len + origin, c->log);
    if (s == NULL) {
        return NULL;
    }

    s->member.connection = c;
    s->member.lag = ctx->conf->lag;
    s->member.owner = &ngx_http_fcchat_session_owner;

    s->conf = ctx->conf;
    s->worker = ctx->worker;
    s->counted = ctx->counted;
    s->from = ctx->auth.from;
    s->room = ctx->room;
    s->v1 = ctx->v1;
    s->deflate = ctx->deflate.bits;
    s->echo = ctx->conf->service == NGX_HTTP_FCCHAT_ECHO;

    p = (u_char *) s + sizeof(ngx_http_fcchat_session_t);

    s->author.id = ctx->user.id;
    s->author.username.data = p;
    s->author.username.len = ctx->user.len;
    p = ngx_cpymem(p, ctx->user.username, ctx->user.len);

    ngx_http_fcchat_session_role(s, ctx->user.staff);

    /* realip takes its address back when the request is freed */

    s->addr.data = p;
    s->addr.len = c->addr_text.len;
    p = ngx_cpymem(p, c->addr_text.data, c->addr_text.len);

    s->key_len = key.len;
    p = ngx_cpymem(p, key.data, key.len);

    s->origin_len = origin;

    if (origin) {
        ngx_memcpy(p, ctx->origin.data, origin);
    }

    s->opened = ngx_current_msec;
    s->last = ngx_current_msec;
    s->before = c->sent;

    return s;
}


void
ngx_http_fcchat_session_role(ngx_http_fcchat_session_t *s, ngx_uint_t staff)
{
    s->staff = staff;

    if (s->room) {
        ngx_http_fcchat_room_role(s->room, s->author.id, staff,
                                  &s->author.role);
        return;
    }

    ngx_str_set(&s->author.role, "guest");
}


static void
ngx_http_fcchat_session_start(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_ctx_t *ctx, u_char *early, size_t len)
{
    ngx_str_t          since;
    ngx_connection_t  *c;

    c = s->member.connection;

    c->log->action = "chatting with client";
    c->read->handler = ngx_http_fcchat_session_read;
    c->write->handler = ngx_http_fcchat_session_write;
    c->idle = 1;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {

        /* what is offered again may have moved: rings grow */

        SSL_set_mode(c->ssl->connection, SSL_MODE_ENABLE_PARTIAL_WRITE
                                         |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

        /* 16 KB that only a chain is gathered in, and the 101 was the last */

        ngx_ssl_free_buffer(c);
    }
#endif

    s->worker->sessions++;

    ngx_http_fcchat_stat_gauge(CONNECTIONS, 1);
    ngx_http_fcchat_stat_inc(OPENED + (s->echo ? 2 : s->v1));

    ngx_http_fcchat_wheel_set(s, s->last + ngx_min(s->conf->ping,
                                                   s->conf->timeout));

    if (ctx->code) {
        ngx_http_fcchat_session_close(s, ctx->code, ctx->reason);
        return;
    }

    if (s->room && !s->room->open) {

        /* closed while the 101 was on its way */

        ngx_http_fcchat_session_close(s, NGX_HTTP_FCCHAT_CLOSE_ROOM_GONE,
                                      "room gone");
        return;
    }

    if (s->room && ngx_http_fcchat_session_judge(&s->member)) {

        /* likewise */

        ngx_http_fcchat_audit(s, NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN, "banned");
        ngx_http_fcchat_session_close(s, NGX_HTTP_FCCHAT_CLOSE_FORBIDDEN,
                                      "banned");
        return;
    }

    ngx_http_fcchat_rights_begin(s, ctx->user.asked);

    since.len = ctx->since_len;
    since.data = ctx->since;

    if (s->room && ngx_http_fcchat_session_join(s, &since) != NGX_OK) {
        ngx_http_fcchat_session_close(s, NGX_HTTP_FCCHAT_CLOSE_OVERLOADED,
                                      "out of memory");
        return;
    }

    if (s->room && ngx_http_fcchat_session_who(&s->member)) {
        ngx_http_fcchat_presence_join(s->room, &s->author,
                                      s->conf->presence_limit,
                                      s->conf->presence_grace);
    }

    if (ngx_exiting) {
        ngx_http_fcchat_session_drain(s);
        return;
    }

    if (len) {
        s->received += len;
        ngx_http_fcchat_stat_add(BYTES_IN, len);
        ngx_http_fcchat_session_feed(s, early, early + len);
    }

    /* what came meanwhile made no event for this handler */

    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ngx_http_fcchat_session_read(ngx_event_t *rev)
{
    ngx_connection_t           *c;
    ngx_http_fcchat_session_t  *s;

    c = rev->data;
    s = c->data;

    if (c->close) {

        if (c->error) {
            ngx_http_fcchat_session_close(s, FCC_WS_RESTART, "restart");
            ngx_http_fcchat_session_finish(s, FCC_WS_RESTART);
            return;
        }

        c->close = 0;
        c->idle = 0;

        ngx_http_fcchat_session_drain(s);
        return;
    }

    if (s->in_todo || s->paused) {
        return;
    }

    if (s->draining && s->state == NGX_HTTP_FCCHAT_OPEN) {
        return;
    }

    ngx_http_fcchat_session_recv(s);
}


static void
ngx_http_fcchat_session_recv(ngx_http_fcchat_session_t *s)
{
    size_t             size;
    u_char            *buf;
    ssize_t            n;
    uint64_t           inflated;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = s->member.connection;
    buf = s->worker->recv;
    size = s->deflate ? NGX_HTTP_FCCHAT_RECV_DEFLATE
                      : NGX_HTTP_FCCHAT_RECV_SIZE;
    inflated = s->worker->deflate.inflated + NGX_HTTP_FCCHAT_INFLATE_TURN;

    for (i = 0;
         i < NGX_HTTP_FCCHAT_RECV_BUDGET
         && s->worker->deflate.inflated < inflated;
         i++)
    {
        n = c->recv(c, buf, size);

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
                ngx_http_fcchat_session_finish(s, FCC_WS_ABNORMAL);
            }

            return;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_http_fcchat_session_finish(s, s->code ? s->code
                                                      : FCC_WS_ABNORMAL);
            return;
        }

        s->received += n;
        ngx_http_fcchat_stat_add(BYTES_IN, n);
        s->last = ngx_current_msec;
        s->pinged = 0;

        ngx_http_fcchat_session_feed(s, buf, buf + n);

        /* leaving: the peer may close at once, and is owed our Close */

        if (s->in_todo || s->paused || s->state == NGX_HTTP_FCCHAT_LEAVING) {
            return;
        }
    }

    /* a busy client gives way to the others */

    ngx_post_event(c->read, &ngx_posted_next_events);
}


static void
ngx_http_fcchat_session_write(ngx_event_t *wev)
{
    ngx_connection_t           *c;
    ngx_http_fcchat_session_t  *s;

    c = wev->data;
    s = c->data;

    if (s->in_todo) {

        /* the only event there is: what is sent next is to find it so */

        s->member.blocked = 0;
        return;
    }

    (void) ngx_http_fcchat_member_writable(&s->member);

    ngx_http_fcchat_session_pong(s);
    ngx_http_fcchat_session_sent(s);
}


/* after a flush: when that was the last of it, s may be gone */

static void
ngx_http_fcchat_session_sent(ngx_http_fcchat_session_t *s)
{
    if (s->state == NGX_HTTP_FCCHAT_OPEN
        || s->in_todo
        || !ngx_http_fcchat_member_idle(&s->member))
    {
        return;
    }

    if (s->state == NGX_HTTP_FCCHAT_LEAVING) {
        ngx_http_fcchat_session_finish(s, s->code);
        return;
    }

    ngx_http_fcchat_session_closed(s);
}


/*
 * Our Close is out.  After an error the peer may still be sending: reading on
 * until it has seen the Close keeps a reset from overtaking it.
 */

static void
ngx_http_fcchat_session_closed(ngx_http_fcchat_session_t *s)
{
    ngx_connection_t  *c;

    c = s->member.connection;

    if (!s->failed || s->in_todo || !ngx_http_fcchat_member_idle(&s->member)) {
        return;
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {

        /* the alert "close_notify" is the end of what we write; once */

        if (c->ssl->no_send_shutdown
            || SSL_shutdown(c->ssl->connection) < 0)
        {
            ERR_clear_error();
            return;
        }

        c->ssl->no_send_shutdown = 1;
    }
#endif

    (void) ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN);
}


void
ngx_http_fcchat_session_reply(ngx_http_fcchat_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len)
{
    size_t  n;
    u_char  header[FCC_WS_HEADER_MAX];

    if (s->in_todo) {
        return;
    }

    if (s->deflate && (opcode == FCC_WS_TEXT || opcode == FCC_WS_BINARY)) {
        opcode = ngx_http_fcchat_deflate(&s->worker->deflate, s->deflate,
                                         opcode, &data, &len);
    }

    n = fcc_ws_header(header, opcode, len);

    if (ngx_http_fcchat_member_put(&s->member, header, n, data, len)
        != NGX_OK)
    {
        ngx_http_fcchat_member_leave(&s->member);
        ngx_http_fcchat_session_broken(&s->member, 0);
        return;
    }

    if (!s->in_reply) {
        s->in_reply = 1;
        ngx_queue_insert_tail(&s->worker->replies, &s->reply);
    }

    ngx_post_event(&s->worker->flush, &ngx_posted_events);
}


void
ngx_http_fcchat_session_close(ngx_http_fcchat_session_t *s, ngx_uint_t code,
    const char *reason)
{
    size_t  n;
    u_char  frame[FCC_WS_HEADER_MAX + FCC_WS_CONTROL_MAX];

    if (s->state != NGX_HTTP_FCCHAT_OPEN) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, s->member.connection->log, 0,
                   "fcchat session close %ui \"%s\"", code, reason);

    /* what was held back came before the Close */

    if (ngx_http_fcchat_member_flush(&s->member) == NGX_ERROR) {
        return;
    }

    ngx_http_fcchat_member_leave(&s->member);

    s->state = NGX_HTTP_FCCHAT_CLOSING;
    s->code = code;
    s->deadline = ngx_current_msec
                  + (s->draining ? NGX_HTTP_FCCHAT_LEAVE_TIME
                     : s->failed ? NGX_HTTP_FCCHAT_LINGER_TIME
                                 : NGX_HTTP_FCCHAT_CLOSE_TIME);

    ngx_http_fcchat_wheel_set(s, s->deadline);

    n = fcc_ws_close(frame, code, reason);

    if (ngx_http_fcchat_member_put(&s->member, frame, n, NULL, 0) != NGX_OK) {
        ngx_http_fcchat_session_broken(&s->member, 0);
        return;
    }

    (void) ngx_http_fcchat_member_flush(&s->member);

    ngx_http_fcchat_session_closed(s);

    /* the answer may be there already, unread */

    s->paused = 0;
    ngx_post_event(s->member.connection->read, &ngx_posted_events);
}


static void
ngx_http_fcchat_session_broken(ngx_http_fcchat_member_t *m, ngx_uint_t code)
{
    ngx_http_fcchat_session_t  *s;

    s = (ngx_http_fcchat_session_t *) m;

    if (s->in_todo) {

        if (code == 0) {
            s->todo_code = 0;
        }

        return;
    }

    s->in_todo = 1;
    s->todo_code = code;

    ngx_queue_insert_tail(&s->worker->todo, &s->todo);

    /* told to leave, a worker waits for events before it looks at posted
     * ones */

    ngx_post_event(&s->worker->close, ngx_exiting ? &ngx_posted_next_events
                                                  : &ngx_posted_events);
}


void
ngx_http_fcchat_session_drain(ngx_http_fcchat_session_t *s)
{
    ngx_msec_t  window;

    if (s->state != NGX_HTTP_FCCHAT_OPEN || s->draining) {
        return;
    }

    s->draining = 1;

    /* spread, or all clients would be back in the same moment */

    window = ngx_min(s->worker->sessions * 2, NGX_HTTP_FCCHAT_DRAIN_TIME);

    s->deadline = ngx_current_msec;

    if (window > NGX_HTTP_FCCHAT_WHEEL_TICK) {
        s->deadline += (ngx_msec_t) ngx_random() % window;
        ngx_http_fcchat_wheel_set(s, s->deadline);
    }

    ngx_http_fcchat_session_drained(s);
}


void
ngx_http_fcchat_session_drained(ngx_http_fcchat_session_t *s)
{
    if (s->draining
        && !s->in_todo
        && s->pending == 0
        && s->state == NGX_HTTP_FCCHAT_OPEN
        && (ngx_msec_int_t) (s->deadline - ngx_current_msec) <= 0)
    {
        /* what was held back came before the Close */

        (void) ngx_http_fcchat_member_flush(&s->member);

        ngx_http_fcchat_member_leave(&s->member);

        if (s->room) {
            ngx_http_fcchat_viewers_left(s->room);
        }

        ngx_http_fcchat_session_broken(&s->member, FCC_WS_RESTART);
    }
}


void
ngx_http_fcchat_session_tick(ngx_http_fcchat_session_t *s)
{
    ngx_msec_t  idle, next, partial;

    if (s->in_todo) {

        /* the wheel is where a worker finds its sessions when it exits */

        ngx_http_fcchat_wheel_set(s, ngx_current_msec);
        return;
    }

    if (s->state != NGX_HTTP_FCCHAT_OPEN) {

        if ((ngx_msec_int_t) (s->deadline - ngx_current_msec) <= 0) {
            ngx_http_fcchat_session_finish(s, s->code);
            return;
        }

        ngx_http_fcchat_wheel_set(s, s->deadline);
        return;
    }

    if (s->draining) {
        ngx_http_fcchat_wheel_set(s, ngx_max(s->deadline, ngx_current_msec));
        ngx_http_fcchat_session_drained(s);
        return;
    }

    partial = ngx_min(s->conf->timeout, NGX_HTTP_FCCHAT_PARTIAL_TIME);

    /* what is not read because too much is under way is not silence, and not
     * left unfinished */

    if (s->paused) {
        s->last = ngx_current_msec;

        if (s->partial) {
            s->input->began = ngx_current_msec;
        }
    }

    if (s->partial && ngx_current_msec - s->input->began >= partial)
    {
        ngx_http_fcchat_session_close(s, FCC_WS_POLICY, "unfinished message");
        return;
    }

    idle = ngx_current_msec - s->last;

    if (idle >= s->conf->timeout) {
        ngx_http_fcchat_session_close(s, NGX_HTTP_FCCHAT_CLOSE_NO_PONG,
                                      "no pong");
        return;
    }

    next = s->last + s->conf->timeout;

    if (idle >= s->conf->ping && !s->pinged) {
        s->pinged = 1;
        ngx_http_fcchat_session_reply(s, FCC_WS_PING, NULL, 0);

        /* it waits for nothing else, and many of them are due at once */

        ngx_http_fcchat_worker_flush_session(s);
    }

    /* the pong of a ping is not waited for: by the next one it has come */

    next = ngx_min(next, (s->pinged ? ngx_current_msec : s->last)
                         + s->conf->ping);

    if (s->partial) {
        next = ngx_min(next, s->input->began + partial);
    }

    ngx_http_fcchat_wheel_set(s, next);

    ngx_http_fcchat_rights_due(s);
}


void
ngx_http_fcchat_session_finish(ngx_http_fcchat_session_t *s, ngx_uint_t code)
{
    s->code = code;

    s->member.dead = 1;
    ngx_http_fcchat_member_leave(&s->member);

    ngx_http_fcchat_session_log(s);

    if (s->wheel.next) {
        ngx_queue_remove(&s->wheel);
    }

    if (s->in_todo) {
        ngx_queue_remove(&s->todo);
    }

    if (s->in_reply) {
        ngx_queue_remove(&s->reply);
    }

    if (s->checking) {
        ngx_http_fcchat_rights_forget(s);
    }

    if (s->sender) {
        s->sender->session = NULL;
        ngx_http_fcchat_sender_put(s->sender);
    }

    if (s->room) {
        ngx_http_fcchat_room_put(s->room);
    }

    ngx_http_fcchat_member_free(&s->member);

    if (s->input) {

        if (s->input->data) {
            ngx_free(s->input->data);
        }

        ngx_free(s->input);
    }

    ngx_http_fcchat_uncount(s->worker->conf->counts, &s->counted);

    s->worker->sessions--;

    ngx_http_fcchat_stat_gauge(CONNECTIONS, -1);
    ngx_http_fcchat_session_count(code);

    ngx_http_fcchat_wheel_rest(s->worker);

    ngx_http_fcchat_session_end(s);
}


static void
ngx_http_fcchat_session_count(ngx_uint_t code)
{
    u_char  text[NGX_INT_T_LEN + 1];

    (void) ngx_sprintf(text, "%ui%Z", code);

    ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_CLOSED,
                               (const char *) text, 1);
}


static void
ngx_http_fcchat_session_end(ngx_http_fcchat_session_t *s)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_fcchat_ctx_t  *ctx;

    c = s->member.connection;
    r = s->request;

    c->sent = s->before + s->member.sent;

#if (NGX_HTTP_SSL)
    if (c->ssl && s->member.retry) {

        /* no alert can go before the rest of a record */

        c->ssl->no_send_shutdown = 1;
    }
#endif

    if (r) {
        ctx = ngx_http_get_module_ctx(r, ngx_http_fcchat_module);

        ctx->session = NULL;
        ctx->messages = s->messages;
        ctx->frames = s->member.frames;
        ctx->closed = s->code;

        ngx_free(s);

        c->data = r;
        c->idle = 0;
        c->read->handler = ctx->read;
        c->write->handler = ctx->write;

        ngx_http_finalize_request(r, NGX_ERROR);
        ngx_http_run_posted_requests(c);
        return;
    }

    ngx_free(s);

    ngx_http_close_connection(c);
}
