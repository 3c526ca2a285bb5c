
/*
 * Redis through hiredis: two connections of a worker to one server, one that is
 * subscribed and one that publishes.
 *
 * The caller says which channels it wants; this unit keeps the set, subscribes
 * again after each reconnect, and says when a subscription is confirmed, since
 * only then can nothing be missed any more.  A beat, published on the command
 * connection to a channel of this worker's own and required back on the other
 * one, proves both of them and the server between (a PING while subscribed
 * never calls back in hiredis 0.14).
 */


#ifndef _NGX_HTTP_FCCHAT_REDIS_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


#define NGX_HTTP_FCCHAT_REDIS_OUT_MAX   (4 * 1024 * 1024)  /* bytes unsent */


typedef struct ngx_http_fcchat_redis_s  ngx_http_fcchat_redis_t;


/* one URL of fcchat_redis; made while the configuration is read */

typedef struct {
    ngx_str_t                url;       /* without the password, for the log */
    char                    *host;      /* numeric address, or NULL */
    ngx_uint_t               port;
    char                    *path;      /* of a Unix socket, or NULL */
    ngx_str_t                user;
    ngx_str_t                password;
} ngx_http_fcchat_redis_conf_t;


typedef struct {
    void                    *data;

    /* a message on a channel we asked for; valid during the call only */
    void                   (*message)(void *data, ngx_str_t *channel,
                                 ngx_str_t *payload);

    /* the server confirmed this channel (again after each reconnect) */
    void                   (*subscribed)(void *data, ngx_str_t *channel);

    /* both connections are up and a beat has come back, or that ended */
    void                   (*changed)(void *data, ngx_uint_t up);
} ngx_http_fcchat_redis_handlers_t;


/*
 * redis://[user:password@]host[:port], redis://[::1]:port, unix:/path, and
 * unix:user:password@/path is not a form: percent-decoded user and password;
 * host names are resolved here, while the configuration is read.  NGX_CONF_OK
 * or a text for nginx -t.
 */
char *ngx_http_fcchat_redis_conf(ngx_conf_t *cf, ngx_str_t *url,
    ngx_http_fcchat_redis_conf_t *conf);

/*
 * Both connections, kept up for ever with backoff (at most 2 s).  beat is the
 * name of a channel nobody else uses.  One log line per change of state.  The
 * handlers are never called from inside a function of this unit that the caller
 * is in.  NULL without memory.
 */
ngx_http_fcchat_redis_t *ngx_http_fcchat_redis_create(
    ngx_http_fcchat_redis_conf_t *conf, ngx_str_t *beat,
    ngx_http_fcchat_redis_handlers_t *handlers, ngx_log_t *log);

void ngx_http_fcchat_redis_destroy(ngx_http_fcchat_redis_t *redis);

ngx_uint_t ngx_http_fcchat_redis_up(ngx_http_fcchat_redis_t *redis);

/*
 * Idempotent; the name is copied.  unsubscribe waits a while (a linger of
 * seconds) before it tells the server, in case the room comes back.
 * NGX_ERROR without memory.
 */
ngx_int_t ngx_http_fcchat_redis_subscribe(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *channel);
void ngx_http_fcchat_redis_unsubscribe(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *channel);

/* 1 when the server has confirmed the channel on the present connection */
ngx_uint_t ngx_http_fcchat_redis_subscribed(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *channel);

/*
 * PUBLISH, not waited for.  NGX_DECLINED when it can't be sent now (away, or
 * more than NGX_HTTP_FCCHAT_REDIS_OUT_MAX unsent): it is a hint, the readers
 * find the message in PostgreSQL.
 */
ngx_int_t ngx_http_fcchat_redis_publish(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *channel, ngx_str_t *payload);


/* ---- a connection for GET ---- */

typedef struct ngx_http_fcchat_redis_cache_s  ngx_http_fcchat_redis_cache_t;
typedef struct ngx_http_fcchat_redis_get_s    ngx_http_fcchat_redis_get_t;


typedef struct {
    ngx_int_t                rc;        /* NGX_OK, NGX_DECLINED: no such key,
                                         * NGX_ERROR: not known */
    ngx_str_t                value;     /* during the call only */
} ngx_http_fcchat_redis_answer_t;


typedef void (*ngx_http_fcchat_redis_get_pt)(void *data,
    ngx_http_fcchat_redis_answer_t *answer);


/*
 * One connection to a database of a server, kept up for ever with backoff; one
 * log line per change of state.  conf outlives it.  NULL without memory.
 */
ngx_http_fcchat_redis_cache_t *ngx_http_fcchat_redis_cache_create(
    ngx_http_fcchat_redis_conf_t *conf, ngx_uint_t db, ngx_log_t *log);

/* whoever still waits is told NGX_ERROR */
void ngx_http_fcchat_redis_cache_destroy(ngx_http_fcchat_redis_cache_t *cache);

/*
 * GET.  The handler is called once, not from inside, after 2 seconds at most;
 * unless forget() came first.  NULL when it can't be asked now: away, too many
 * questions, no memory.
 */
ngx_http_fcchat_redis_get_t *ngx_http_fcchat_redis_get(
    ngx_http_fcchat_redis_cache_t *cache, ngx_str_t *key,
    ngx_http_fcchat_redis_get_pt handler, void *data);

void ngx_http_fcchat_redis_get_forget(ngx_http_fcchat_redis_get_t *get);


#endif /* _NGX_HTTP_FCCHAT_REDIS_H_INCLUDED_ */
