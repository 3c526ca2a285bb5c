
/*
 * hiredis in nginx's event loop: its hooks, its sockets, and a guard.
 *
 * hiredis asserts on answers that nobody asked for, and Debian's build has the
 * asserts: one wrong byte from the server would end the worker.  The guard
 * stands before the functions that make reply objects, and refuses those that
 * would not survive; hiredis takes it for a lack of memory and disconnects.
 *
 * A connection that fails is cleaned up before its callbacks by hiredis 1.x,
 * and after them by 0.14.
 */


#include <ngx_http_fcchat_redis_int.h>


#define NGX_HTTP_FCCHAT_REDIS_ELEMENTS  16


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_http_fcchat_redis_count_t;
#else
typedef int     ngx_http_fcchat_redis_count_t;
#endif


static ngx_int_t ngx_http_fcchat_redis_attach(
    ngx_http_fcchat_redis_conn_t *conn);
static void ngx_http_fcchat_redis_send_login(
    ngx_http_fcchat_redis_conn_t *conn);
static void ngx_http_fcchat_redis_logged_in(redisAsyncContext *ac, void *data,
    void *privdata);
static void ngx_http_fcchat_redis_connected(const redisAsyncContext *ac,
    int status);
static void ngx_http_fcchat_redis_handler(ngx_event_t *ev);
static void ngx_http_fcchat_redis_timeout(ngx_event_t *ev);
static void ngx_http_fcchat_redis_add_read(void *data);
static void ngx_http_fcchat_redis_del_read(void *data);
static void ngx_http_fcchat_redis_add_write(void *data);
static void ngx_http_fcchat_redis_del_write(void *data);
static void ngx_http_fcchat_redis_cleanup(void *data);
static void *ngx_http_fcchat_redis_guard_string(const redisReadTask *task,
    char *str, size_t len);
static void *ngx_http_fcchat_redis_guard_array(const redisReadTask *task,
    ngx_http_fcchat_redis_count_t elements);
static void *ngx_http_fcchat_redis_guard_integer(const redisReadTask *task,
    long long value);
static void *ngx_http_fcchat_redis_guard_nil(const redisReadTask *task);
#if (HIREDIS_MAJOR >= 1)
static void *ngx_http_fcchat_redis_guard_double(const redisReadTask *task,
    double value, char *str, size_t len);
static void *ngx_http_fcchat_redis_guard_bool(const redisReadTask *task,
    int value);
#endif
static void ngx_http_fcchat_redis_guard_free(void *reply);
static ngx_uint_t ngx_http_fcchat_redis_guard(const redisReadTask *task,
    int type, size_t elements);
static ngx_uint_t ngx_http_fcchat_redis_guard_child(const redisReadTask *task,
    int type);
static ngx_uint_t ngx_http_fcchat_redis_guard_name(const redisReadTask *task,
    char *str, size_t len);


static redisReplyObjectFunctions  ngx_http_fcchat_redis_guards = {
    .createString = ngx_http_fcchat_redis_guard_string,
    .createArray = ngx_http_fcchat_redis_guard_array,
    .createInteger = ngx_http_fcchat_redis_guard_integer,
    .createNil = ngx_http_fcchat_redis_guard_nil,
#if (HIREDIS_MAJOR >= 1)
    .createDouble = ngx_http_fcchat_redis_guard_double,
    .createBool = ngx_http_fcchat_redis_guard_bool,
#endif
    .freeObject = ngx_http_fcchat_redis_guard_free
};


void
ngx_http_fcchat_redis_open(ngx_http_fcchat_redis_conn_t *conn)
{
    redisAsyncContext             *ac;
    ngx_http_fcchat_redis_conf_t  *conf;

    conf = conn->redis->conf;

    conn->closing = 0;
    conn->odd = 0;

    ac = conf->path ? redisAsyncConnectUnix(conf->path)
                    : redisAsyncConnect(conf->host, (int) conf->port);

    if (ac == NULL) {
        ngx_http_fcchat_redis_fail(conn->redis, "no memory");
        return;
    }

    if (ac->err) {
        ngx_http_fcchat_redis_fail(conn->redis, ac->errstr);
        redisAsyncFree(ac);
        return;
    }

    conn->ac = ac;

    if (ngx_http_fcchat_redis_attach(conn) != NGX_OK) {
        conn->ac = NULL;
        redisAsyncFree(ac);
        ngx_http_fcchat_redis_fail(conn->redis,
                                   "no free connection in the worker");
        return;
    }

    conn->state = NGX_HTTP_FCCHAT_REDIS_CONNECTING;
    conn->timer.handler = ngx_http_fcchat_redis_timeout;
    conn->timer.data = conn;
    conn->timer.log = conn->redis->log;
    conn->timer.cancelable = 1;

    ngx_add_timer(&conn->timer, NGX_HTTP_FCCHAT_REDIS_TIMEOUT);

    /* the first write event is what tells hiredis that it is connected */

    (void) redisAsyncSetConnectCallback(ac, ngx_http_fcchat_redis_connected);

    ngx_http_fcchat_redis_send_login(conn);
}


static ngx_int_t
ngx_http_fcchat_redis_attach(ngx_http_fcchat_redis_conn_t *conn)
{
    redisAsyncContext  *ac;

    ac = conn->ac;

    conn->c = ngx_http_fcchat_net_attach(ac->c.fd,
                                         ngx_http_fcchat_redis_handler, conn,
                                         conn->redis->log);
    if (conn->c == NULL) {
        return NGX_ERROR;
    }

    ac->data = conn;

    ac->ev.data = conn;
    ac->ev.addRead = ngx_http_fcchat_redis_add_read;
    ac->ev.delRead = ngx_http_fcchat_redis_del_read;
    ac->ev.addWrite = ngx_http_fcchat_redis_add_write;
    ac->ev.delWrite = ngx_http_fcchat_redis_del_write;
    ac->ev.cleanup = ngx_http_fcchat_redis_cleanup;

    conn->fn = ac->c.reader->fn;
    ac->c.reader->fn = &ngx_http_fcchat_redis_guards;
    ac->c.reader->privdata = conn;

    return NGX_OK;
}


static void
ngx_http_fcchat_redis_send_login(ngx_http_fcchat_redis_conn_t *conn)
{
    ngx_str_t                      args[3];
    ngx_uint_t                     n;
    ngx_http_fcchat_redis_conf_t  *conf;

    conf = conn->redis->conf;

    n = 1;

    if (conf->password.len) {
        ngx_str_set(&args[0], "AUTH");

        if (conf->user.len) {
            args[n++] = conf->user;
        }

        args[n++] = conf->password;

    } else {

        /* says whether a password is wanted, or the server still loading */

        ngx_str_set(&args[0], "PING");
    }

    if (ngx_http_fcchat_redis_command(conn, ngx_http_fcchat_redis_logged_in, n,
                                      args)
        != NGX_OK)
    {
        ngx_http_fcchat_redis_fail(conn->redis, "can't log in");
    }
}


static void
ngx_http_fcchat_redis_logged_in(redisAsyncContext *ac, void *data,
    void *privdata)
{
    redisReply                    *reply = data;
    ngx_http_fcchat_redis_conn_t  *conn = privdata;

    if (reply == NULL || conn->redis->failed) {
        return;
    }

    if (reply->type != REDIS_REPLY_STATUS) {
        ngx_http_fcchat_redis_fail(conn->redis,
                                   reply->type == REDIS_REPLY_ERROR
                                   ? reply->str : "unexpected answer");
        return;
    }

    if (conn->state == NGX_HTTP_FCCHAT_REDIS_LOGIN) {
        ngx_http_fcchat_redis_login(conn);
    }
}


static void
ngx_http_fcchat_redis_connected(const redisAsyncContext *ac, int status)
{
    ngx_http_fcchat_redis_conn_t  *conn;

    conn = ac->data;

    /* a failure comes through the cleanup hook; hiredis 0.14 must not be asked
     * to free or to disconnect from here.  Where events are posted, the time
     * for it may have been over in this same turn */

    if (status != REDIS_OK || conn->redis->failed) {
        return;
    }

    conn->state = NGX_HTTP_FCCHAT_REDIS_LOGIN;

    ngx_del_timer(&conn->timer);
    ngx_add_timer(&conn->timer, NGX_HTTP_FCCHAT_REDIS_TIMEOUT);
}


void
ngx_http_fcchat_redis_close(ngx_http_fcchat_redis_conn_t *conn)
{
    conn->closing = 1;

    /* calls back with NULL whatever waits, then the cleanup hook */

    if (conn->ac) {
        redisAsyncFree(conn->ac);
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    conn->state = NGX_HTTP_FCCHAT_REDIS_DOWN;
}


ngx_int_t
ngx_http_fcchat_redis_command(ngx_http_fcchat_redis_conn_t *conn,
    redisCallbackFn *fn, ngx_uint_t n, ngx_str_t *args)
{
    int          rc;
    size_t       len[NGX_HTTP_FCCHAT_REDIS_BATCH + 1];
    ngx_uint_t   i;
    const char  *arg[NGX_HTTP_FCCHAT_REDIS_BATCH + 1];

    if (conn->ac == NULL) {
        return NGX_DECLINED;
    }

    for (i = 0; i < n; i++) {
        arg[i] = (const char *) args[i].data;
        len[i] = args[i].len;
    }

    rc = redisAsyncCommandArgv(conn->ac, fn, conn, (int) n, arg, len);

    return (rc == REDIS_OK) ? NGX_OK : NGX_DECLINED;
}


static void
ngx_http_fcchat_redis_handler(ngx_event_t *ev)
{
    ngx_connection_t              *c;
    ngx_http_fcchat_redis_conn_t  *conn;

    c = ev->data;
    conn = c->data;

    if (c->close) {

        /* worker_shutdown_timeout walks over all connections just now */

        conn->redis->stop = 1;
        ngx_http_fcchat_redis_post(conn->redis);
        return;
    }

    if (ev->write) {
        conn->writing = 1;
        redisAsyncHandleWrite(conn->ac);
        conn->writing = 0;

    } else {
        redisAsyncHandleRead(conn->ac);
    }

    /* c may be gone, conn stays */

    if (conn->ac && conn->ac->c.reader->len > NGX_HTTP_FCCHAT_REDIS_IN_MAX) {
        ngx_http_fcchat_redis_fail(conn->redis, "too long an answer");
    }
}


static void
ngx_http_fcchat_redis_timeout(ngx_event_t *ev)
{
    ngx_http_fcchat_redis_conn_t  *conn;

    conn = ev->data;

    ngx_http_fcchat_redis_fail(conn->redis,
                               conn->state == NGX_HTTP_FCCHAT_REDIS_CONNECTING
                               ? "connecting timed out" : "login timed out");
}


static void
ngx_http_fcchat_redis_add_read(void *data)
{
    ngx_http_fcchat_redis_conn_t *conn = data;

    if (ngx_http_fcchat_net_want(conn->c->read, 1) != NGX_OK) {
        ngx_http_fcchat_redis_fail(conn->redis, "no event for the socket");
    }
}


static void
ngx_http_fcchat_redis_del_read(void *data)
{
    ngx_http_fcchat_redis_conn_t *conn = data;

    (void) ngx_http_fcchat_net_want(conn->c->read, 0);
}


static void
ngx_http_fcchat_redis_add_write(void *data)
{
    ngx_http_fcchat_redis_conn_t *conn = data;

    /* a command goes within this turn; the kernel is asked to tell when there
     * is room only where there was none, or where it connects still */

    if (conn->state != NGX_HTTP_FCCHAT_REDIS_CONNECTING && !conn->writing) {
        ngx_post_event(conn->c->write, &ngx_posted_events);
        return;
    }

    if (ngx_http_fcchat_net_want(conn->c->write, 1) != NGX_OK) {
        ngx_http_fcchat_redis_fail(conn->redis, "no event for the socket");
    }
}


static void
ngx_http_fcchat_redis_del_write(void *data)
{
    ngx_http_fcchat_redis_conn_t *conn = data;

    (void) ngx_http_fcchat_net_want(conn->c->write, 0);
}


static void
ngx_http_fcchat_redis_cleanup(void *data)
{
    ngx_http_fcchat_redis_conn_t *conn = data;

    const char  *reason;

    reason = conn->odd ? "unexpected answer" : conn->ac->c.errstr;

    if (!conn->closing) {
        ngx_http_fcchat_redis_fail(conn->redis, reason);
    }

    /* the descriptor is still open: hiredis closes it after this */

    ngx_http_fcchat_net_detach(conn->c, 0);

    conn->c = NULL;
    conn->ac = NULL;
}


static void *
ngx_http_fcchat_redis_guard_string(const redisReadTask *task, char *str,
    size_t len)
{
    ngx_http_fcchat_redis_conn_t *conn = task->privdata;

    if (!ngx_http_fcchat_redis_guard(task, task->type, 0)) {
        return NULL;
    }

    if (task->parent && task->idx == 1
        && !ngx_http_fcchat_redis_guard_name(task, str, len))
    {
        conn->odd = 1;
        return NULL;
    }

    return conn->fn->createString(task, str, len);
}


static void *
ngx_http_fcchat_redis_guard_array(const redisReadTask *task,
    ngx_http_fcchat_redis_count_t elements)
{
    ngx_http_fcchat_redis_conn_t *conn = task->privdata;

    if (!ngx_http_fcchat_redis_guard(task, task->type, elements)) {
        return NULL;
    }

    return conn->fn->createArray(task, elements);
}


static void *
ngx_http_fcchat_redis_guard_integer(const redisReadTask *task, long long value)
{
    ngx_http_fcchat_redis_conn_t *conn = task->privdata;

    if (!ngx_http_fcchat_redis_guard(task, REDIS_REPLY_INTEGER, 0)) {
        return NULL;
    }

    return conn->fn->createInteger(task, value);
}


static void *
ngx_http_fcchat_redis_guard_nil(const redisReadTask *task)
{
    ngx_http_fcchat_redis_conn_t *conn = task->privdata;

    if (!ngx_http_fcchat_redis_guard(task, REDIS_REPLY_NIL, 0)) {
        return NULL;
    }

    return conn->fn->createNil(task);
}


#if (HIREDIS_MAJOR >= 1)

/* of RESP3, which nobody asked for */

static void *
ngx_http_fcchat_redis_guard_double(const redisReadTask *task, double value,
    char *str, size_t len)
{
    ngx_http_fcchat_redis_conn_t *conn = task->privdata;

    conn->odd = 1;

    return NULL;
}


static void *
ngx_http_fcchat_redis_guard_bool(const redisReadTask *task, int value)
{
    ngx_http_fcchat_redis_conn_t *conn = task->privdata;

    conn->odd = 1;

    return NULL;
}

#endif


static void
ngx_http_fcchat_redis_guard_free(void *reply)
{
    freeReplyObject(reply);
}


static ngx_uint_t
ngx_http_fcchat_redis_guard(const redisReadTask *task, int type,
    size_t elements)
{
    ngx_uint_t                     ok;
    ngx_http_fcchat_redis_conn_t  *conn;

    conn = task->privdata;

    if (type > REDIS_REPLY_ERROR || conn->redis->failed) {

        /* of RESP3, or on a connection that is about to be closed */

        ok = 0;

    } else if (task->parent == NULL) {

        /* an error always has a place; else somebody must have asked */

        ok = (type == REDIS_REPLY_ERROR
              || (conn->ac->replies.head && type != REDIS_REPLY_ARRAY)
              || (conn->ac->replies.head == NULL
                  && type == REDIS_REPLY_ARRAY
                  && (conn->ac->c.flags & REDIS_SUBSCRIBED)
                  && elements >= 3
                  && elements <= NGX_HTTP_FCCHAT_REDIS_ELEMENTS));

    } else {
        ok = ngx_http_fcchat_redis_guard_child(task, type);
    }

    if (!ok) {
        conn->odd = 1;
    }

    return ok;
}


static ngx_uint_t
ngx_http_fcchat_redis_guard_child(const redisReadTask *task, int type)
{
    redisReply  *parent;

    if (task->idx < 2) {
        return type == REDIS_REPLY_STRING;
    }

    if (task->idx > 2) {
        return type != REDIS_REPLY_ARRAY;
    }

    /* the payload of a message, or a number of subscriptions */

    parent = task->parent->obj;

    return (parent->element[0]->str[0] == 'm')
           ? type == REDIS_REPLY_STRING
           : type == REDIS_REPLY_INTEGER;
}


/*
 * hiredis 1.x has to know the channel that is confirmed, and forgets one that
 * is left.  No pattern is ever asked for.
 */

static ngx_uint_t
ngx_http_fcchat_redis_guard_name(const redisReadTask *task, char *str,
    size_t len)
{
    u_char                        *kind;
    ngx_str_t                      name;
    redisReply                    *parent;
    ngx_http_fcchat_redis_conn_t  *conn;

    conn = task->privdata;
    parent = task->parent->obj;
    kind = (u_char *) parent->element[0]->str;

    name.len = len;
    name.data = (u_char *) str;

    if (ngx_strcasecmp(kind, (u_char *) "subscribe") == 0) {
        return ngx_http_fcchat_redis_channel_asked(conn->redis, &name);
    }

    if (ngx_strcasecmp(kind, (u_char *) "unsubscribe") == 0) {
        return !ngx_http_fcchat_redis_channel_confirmed(conn->redis, &name);
    }

    return kind[0] != 'p' && kind[0] != 'P';
}
