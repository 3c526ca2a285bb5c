
/*
 * The pool: connections come, go and come again; handlers are called.
 *
 * libpq owns the socket and may close it or replace it inside of any call, even
 * by one with the same number.  While connecting, the socket is therefore taken
 * out of the event loop before each PQconnectPoll() and put in again after; on
 * a connection that is up pg_check() follows each call.
 */


#include <ngx_http_fcchat_pg_int.h>
#include <openssl/err.h>


static void ngx_http_fcchat_pg_connect(ngx_http_fcchat_pg_conn_t *conn);
static void ngx_http_fcchat_pg_wait(ngx_http_fcchat_pg_conn_t *conn,
    PostgresPollingStatusType poll);
static void ngx_http_fcchat_pg_poll(ngx_http_fcchat_pg_conn_t *conn);
static void ngx_http_fcchat_pg_ready(ngx_http_fcchat_pg_conn_t *conn);
static void ngx_http_fcchat_pg_handler(ngx_event_t *ev);
static void ngx_http_fcchat_pg_retry_handler(ngx_event_t *ev);
static void ngx_http_fcchat_pg_run(ngx_event_t *ev);
static void ngx_http_fcchat_pg_tell(ngx_http_fcchat_pg_t *pg);
static void ngx_http_fcchat_pg_log(ngx_http_fcchat_pg_conn_t *conn,
    const char *reason);
static void ngx_http_fcchat_pg_drop(ngx_http_fcchat_pg_conn_t *conn);


ngx_http_fcchat_pg_t *
ngx_http_fcchat_pg_create(ngx_http_fcchat_pg_conf_t *conf,
    void (*changed)(void *data, ngx_uint_t up), void *data, ngx_log_t *log)
{
    size_t                      size;
    ngx_uint_t                  i;
    ngx_http_fcchat_pg_t       *pg;
    ngx_http_fcchat_pg_conn_t  *conn;

    size = sizeof(ngx_http_fcchat_pg_t)
           + (conf->connections - 1) * sizeof(ngx_http_fcchat_pg_conn_t);

    pg = ngx_calloc(size, log);
    if (pg == NULL) {
        return NULL;
    }

    pg->conf = conf;
    pg->changed = changed;
    pg->data = data;
    pg->log = log;
    pg->nconns = conf->connections;

    ngx_queue_init(&pg->done);

    pg->post.handler = ngx_http_fcchat_pg_run;
    pg->post.data = pg;
    pg->post.log = log;

    for (i = 0; i < NGX_HTTP_FCCHAT_PG_LANES; i++) {
        ngx_queue_init(&pg->waiting[i]);

        pg->expire[i].handler = ngx_http_fcchat_pg_expire_handler;
        pg->expire[i].data = pg;
        pg->expire[i].log = log;

        /* an exiting worker stays as long as a write can still be saved */

        pg->expire[i].cancelable = (i != NGX_HTTP_FCCHAT_PG_WRITE);
    }

    for (i = 0; i < pg->nconns; i++) {
        conn = &pg->conns[i];

        conn->pg = pg;
        conn->number = i;
        ngx_queue_init(&conn->sent);
        ngx_http_fcchat_pg_prepare_init(conn);

        conn->retry.handler = ngx_http_fcchat_pg_retry_handler;
        conn->retry.data = conn;
        conn->retry.log = log;
        conn->retry.cancelable = 1;

        conn->limit.handler = ngx_http_fcchat_pg_pipe_limit;
        conn->limit.data = conn;
        conn->limit.log = log;
        conn->limit.cancelable = 1;

        ngx_http_fcchat_pg_connect(conn);
    }

    return pg;
}


void
ngx_http_fcchat_pg_destroy(ngx_http_fcchat_pg_t *pg)
{
    ngx_uint_t  i;

    pg->stop = 1;
    pg->changed = NULL;

    for (i = 0; i < pg->nconns; i++) {
        ngx_http_fcchat_pg_drop(&pg->conns[i]);
    }

    ngx_http_fcchat_pg_refuse(pg);
    ngx_http_fcchat_pg_deliver(pg);

    for (i = 0; i < NGX_HTTP_FCCHAT_PG_LANES; i++) {
        if (pg->expire[i].timer_set) {
            ngx_del_timer(&pg->expire[i]);
        }
    }

    if (pg->post.posted) {
        ngx_delete_posted_event(&pg->post);
    }

    ngx_free(pg);
}


ngx_uint_t
ngx_http_fcchat_pg_up(ngx_http_fcchat_pg_t *pg, ngx_http_fcchat_pg_lane_e lane)
{
    ngx_uint_t  i, n;

    n = (lane == NGX_HTTP_FCCHAT_PG_WRITE) ? 1 : pg->nconns;

    for (i = 0; i < n; i++) {
        if (pg->conns[i].state == NGX_HTTP_FCCHAT_PG_UP) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_fcchat_pg_away(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane)
{
    ngx_uint_t  i, n;

    n = (lane == NGX_HTTP_FCCHAT_PG_WRITE) ? 1 : pg->nconns;

    for (i = 0; i < n; i++) {
        if (!pg->conns[i].away) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_http_fcchat_pg_jobs(ngx_http_fcchat_pg_t *pg)
{
    return pg->njobs;
}


ngx_uint_t
ngx_http_fcchat_pg_stopped(ngx_http_fcchat_pg_t *pg)
{
    return pg->stop;
}


static void
ngx_http_fcchat_pg_connect(ngx_http_fcchat_pg_conn_t *conn)
{
    ngx_http_fcchat_pg_conf_t  *conf;

    conf = conn->pg->conf;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, conn->pg->log, 0,
                   "fcchat postgres connection %ui connecting", conn->number);

    conn->state = NGX_HTTP_FCCHAT_PG_CONNECTING;
    conn->fatal_len = 0;

    conn->pgc = PQconnectStartParams(conf->keywords,
                                     conf->values[conn->first], 0);

    ERR_clear_error();

    if (conn->pgc == NULL) {
        ngx_http_fcchat_pg_close(conn, "no memory");
        return;
    }

    if (PQstatus(conn->pgc) == CONNECTION_BAD) {
        ngx_http_fcchat_pg_close(conn, NULL);
        return;
    }

    PQsetNoticeReceiver(conn->pgc, ngx_http_fcchat_pg_pipe_notice, conn);

    ngx_add_timer(&conn->retry, conf->timeout);

    ngx_http_fcchat_pg_wait(conn, PGRES_POLLING_WRITING);
}


static void
ngx_http_fcchat_pg_wait(ngx_http_fcchat_pg_conn_t *conn,
    PostgresPollingStatusType poll)
{
    ngx_event_t  *ev;

    if (PQsocket(conn->pgc) == -1) {
        ngx_http_fcchat_pg_close(conn, NULL);
        return;
    }

    conn->c = ngx_http_fcchat_net_attach(PQsocket(conn->pgc),
                                         ngx_http_fcchat_pg_handler, conn,
                                         conn->pg->log);
    if (conn->c == NULL) {
        ngx_http_fcchat_pg_close(conn, "no free connection in the worker");
        return;
    }

    ev = (poll == PGRES_POLLING_WRITING) ? conn->c->write : conn->c->read;

    if (ngx_http_fcchat_net_want(ev, 1) != NGX_OK) {
        ngx_http_fcchat_pg_close(conn, "no event for the socket");
    }
}


static void
ngx_http_fcchat_pg_poll(ngx_http_fcchat_pg_conn_t *conn)
{
    PostgresPollingStatusType  poll;

    ngx_http_fcchat_net_detach(conn->c, 0);
    conn->c = NULL;

    poll = PQconnectPoll(conn->pgc);

    ERR_clear_error();

    switch (poll) {

    case PGRES_POLLING_READING:
    case PGRES_POLLING_WRITING:
        ngx_http_fcchat_pg_wait(conn, poll);
        return;

    case PGRES_POLLING_OK:
        ngx_http_fcchat_pg_ready(conn);
        return;

    default:
        ngx_http_fcchat_pg_close(conn, NULL);
    }
}


static void
ngx_http_fcchat_pg_ready(ngx_http_fcchat_pg_conn_t *conn)
{
    ngx_uint_t  level;

    if (PQsetnonblocking(conn->pgc, 1) != 0
        || PQenterPipelineMode(conn->pgc) != 1)
    {
        ngx_http_fcchat_pg_close(conn, NULL);
        return;
    }

    ngx_http_fcchat_pg_wait(conn, PGRES_POLLING_READING);

    if (conn->c == NULL) {
        return;
    }

    ngx_del_timer(&conn->retry);

    level = conn->logged ? NGX_LOG_NOTICE : NGX_LOG_INFO;

    ngx_log_error(level, conn->pg->log, 0,
                  "fcchat postgres connection %ui is up", conn->number);

    conn->state = NGX_HTTP_FCCHAT_PG_UP;
    ngx_http_fcchat_stat_inc(PG_CONNECTS);
    ngx_http_fcchat_stat_gauge(PG_UP, 1);

    conn->since = ngx_current_msec;
    conn->away = 0;
    conn->logged = 0;

    ngx_http_fcchat_pg_post(conn->pg);
}


static void
ngx_http_fcchat_pg_handler(ngx_event_t *ev)
{
    ngx_connection_t           *c;
    ngx_http_fcchat_pg_conn_t  *conn;

    c = ev->data;
    conn = c->data;

    if (c->close) {

        /* worker_shutdown_timeout walks over all connections just now, so
         * that none may be closed here */

        conn->pg->stop = 1;
        ngx_http_fcchat_pg_post(conn->pg);
        return;
    }

    if (conn->state == NGX_HTTP_FCCHAT_PG_CONNECTING) {
        ngx_http_fcchat_pg_poll(conn);
        return;
    }

    if (ev->write) {
        ngx_http_fcchat_pg_pipe_flush(conn);

    } else {
        ngx_http_fcchat_pg_pipe_read(conn);
    }

    /* room in the pipeline or in the socket for what waits */

    if (!ngx_queue_empty(&conn->pg->waiting[NGX_HTTP_FCCHAT_PG_WRITE])
        || !ngx_queue_empty(&conn->pg->waiting[NGX_HTTP_FCCHAT_PG_READ]))
    {
        ngx_http_fcchat_pg_post(conn->pg);
    }
}


static void
ngx_http_fcchat_pg_retry_handler(ngx_event_t *ev)
{
    ngx_http_fcchat_pg_conn_t  *conn;

    conn = ev->data;

    if (conn->state == NGX_HTTP_FCCHAT_PG_DOWN) {
        ngx_http_fcchat_pg_connect(conn);
        return;
    }

    /* libpq goes on to the next host when one refuses, and waits for ever for
     * one that is silent: the next attempt begins behind it */

    conn->first = (conn->first + 1) % conn->pg->conf->nhosts;

    ngx_http_fcchat_pg_close(conn, "connecting timed out");
}


void
ngx_http_fcchat_pg_close(ngx_http_fcchat_pg_conn_t *conn, const char *reason)
{
    ngx_msec_t             delay;
    ngx_http_fcchat_pg_t  *pg;

    pg = conn->pg;

    ngx_http_fcchat_pg_log(conn, reason);

    if (conn->state == NGX_HTTP_FCCHAT_PG_CONNECTING) {
        conn->away = 1;

    } else if (ngx_current_msec - conn->since >= NGX_HTTP_FCCHAT_PG_STABLE) {
        conn->attempt = 0;
    }

    if (conn->state == NGX_HTTP_FCCHAT_PG_UP) {
        ngx_http_fcchat_stat_inc(PG_LOSSES);
    }

    ngx_http_fcchat_pg_drop(conn);

    if (!pg->stop) {
        delay = ngx_http_fcchat_net_backoff(conn->attempt++);
        ngx_add_timer(&conn->retry, delay);
    }

    ngx_http_fcchat_pg_post(pg);
}


static void
ngx_http_fcchat_pg_drop(ngx_http_fcchat_pg_conn_t *conn)
{
    if (conn->retry.timer_set) {
        ngx_del_timer(&conn->retry);
    }

    if (conn->limit.timer_set) {
        ngx_del_timer(&conn->limit);
    }

    if (conn->c) {
        ngx_http_fcchat_net_detach(conn->c,
                                   PQsocket(conn->pgc) != conn->c->fd);
        conn->c = NULL;
    }

    if (conn->pgc) {
        PQfinish(conn->pgc);
        conn->pgc = NULL;

        ERR_clear_error();
    }

    if (conn->state == NGX_HTTP_FCCHAT_PG_UP) {
        ngx_http_fcchat_stat_gauge(PG_UP, -1);
    }

    conn->state = NGX_HTTP_FCCHAT_PG_DOWN;

    ngx_http_fcchat_pg_pipe_lost(conn);
    ngx_http_fcchat_pg_prepare_free(conn);
}


void
ngx_http_fcchat_pg_check(ngx_http_fcchat_pg_conn_t *conn)
{
    ERR_clear_error();

    if (conn->c && PQsocket(conn->pgc) != conn->c->fd) {
        ngx_http_fcchat_net_detach(conn->c, 1);
        conn->c = NULL;
    }
}


static void
ngx_http_fcchat_pg_log(ngx_http_fcchat_pg_conn_t *conn, const char *reason)
{
    size_t  len;
    u_char  text[NGX_HTTP_FCCHAT_PG_TEXT];

    if (conn->state == NGX_HTTP_FCCHAT_PG_CONNECTING && conn->away) {
        return;
    }

    conn->logged = 1;

    if (reason == NULL && conn->fatal_len == 0) {
        reason = PQerrorMessage(conn->pgc);
    }

    if (reason) {
        len = ngx_http_fcchat_net_line(text, sizeof(text), reason);

    } else {
        len = conn->fatal_len;
        ngx_memcpy(text, conn->fatal, len);
    }

    ngx_log_error(NGX_LOG_ERR, conn->pg->log, 0,
                  "fcchat postgres connection %ui %s: %*s", conn->number,
                  (conn->state == NGX_HTTP_FCCHAT_PG_UP) ? "is lost"
                                                         : "can't be made",
                  len, text);
}


void
ngx_http_fcchat_pg_post(ngx_http_fcchat_pg_t *pg)
{
    ngx_post_event(&pg->post, &ngx_posted_events);
}


static void
ngx_http_fcchat_pg_run(ngx_event_t *ev)
{
    ngx_uint_t             i;
    ngx_http_fcchat_pg_t  *pg;

    pg = ev->data;

    if (pg->stop) {
        for (i = 0; i < pg->nconns; i++) {
            ngx_http_fcchat_pg_drop(&pg->conns[i]);
        }
    }

    ngx_http_fcchat_pg_dispatch(pg);
    ngx_http_fcchat_pg_refuse(pg);
    ngx_http_fcchat_pg_tell(pg);
    ngx_http_fcchat_pg_deliver(pg);
}


static void
ngx_http_fcchat_pg_tell(ngx_http_fcchat_pg_t *pg)
{
    ngx_uint_t  up;

    up = ngx_http_fcchat_pg_up(pg, NGX_HTTP_FCCHAT_PG_WRITE);

    if (up == pg->told) {
        return;
    }

    pg->told = up;

    if (pg->changed) {
        pg->changed(pg->data, up);
    }
}
