
/*
 * Inside of the Redis unit.
 *
 * States of a connection:
 *
 *     DOWN --> CONNECTING --> LOGIN --> JOINING (subscriber only) --> READY
 *      ^           |            |          |                            |
 *      +-----------+------------+----------+----------------------------+
 *
 * The two live and die together: fail() only notes why and posts, since it may
 * be called from inside of hiredis; run() then frees both.  hiredis frees a
 * context by itself as well, inside of any event of its socket: the cleanup
 * hook is the one place that learns of it, and sets conn->ac to NULL.
 */


#ifndef _NGX_HTTP_FCCHAT_REDIS_INT_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_REDIS_INT_H_INCLUDED_


#include <ngx_http_fcchat_redis.h>
#include <ngx_http_fcchat_net.h>
#include <ngx_http_fcchat_stat.h>
#include <hiredis/hiredis.h>
#include <hiredis/async.h>


#define NGX_HTTP_FCCHAT_REDIS_TIMEOUT  2000     /* ms: connecting; login */
#define NGX_HTTP_FCCHAT_REDIS_BEAT     500      /* ms between beats */
#define NGX_HTTP_FCCHAT_REDIS_SILENCE  1500     /* ms until a beat is lost */
#define NGX_HTTP_FCCHAT_REDIS_LINGER   5000     /* ms */
#define NGX_HTTP_FCCHAT_REDIS_STABLE   1000     /* ms up that end a backoff */
#define NGX_HTTP_FCCHAT_REDIS_IN_MAX   (16 * 1024 * 1024)
#define NGX_HTTP_FCCHAT_REDIS_TEXT     256
#define NGX_HTTP_FCCHAT_REDIS_BATCH    64       /* channels of a command */


typedef struct ngx_http_fcchat_redis_conn_s  ngx_http_fcchat_redis_conn_t;


typedef enum {
    NGX_HTTP_FCCHAT_REDIS_DOWN = 0,
    NGX_HTTP_FCCHAT_REDIS_CONNECTING,
    NGX_HTTP_FCCHAT_REDIS_LOGIN,
    NGX_HTTP_FCCHAT_REDIS_JOINING,
    NGX_HTTP_FCCHAT_REDIS_READY
} ngx_http_fcchat_redis_state_e;


struct ngx_http_fcchat_redis_conn_s {
    ngx_http_fcchat_redis_t          *redis;
    ngx_http_fcchat_redis_state_e     state;

    redisAsyncContext                *ac;
    ngx_connection_t                 *c;
    redisReplyObjectFunctions        *fn;       /* hiredis's own */
    ngx_event_t                       timer;    /* of connecting and login */

    unsigned                          closing:1;    /* by us */
    unsigned                          writing:1;    /* hiredis does */
    unsigned                          odd:1;        /* refused an answer */
};


/* a channel that is wanted, or was until a moment ago */

typedef struct {
    ngx_str_node_t                    sn;
    ngx_queue_t                       queue;    /* all */
    ngx_queue_t                       turn;     /* lingering, or to tell */
    ngx_msec_t                        until;
    unsigned                          wanted:1;
    unsigned                          asked:1;
    unsigned                          confirmed:1;
    unsigned                          queued:1; /* in a queue by turn */
} ngx_http_fcchat_redis_channel_t;


struct ngx_http_fcchat_redis_s {
    ngx_http_fcchat_redis_conf_t     *conf;
    ngx_http_fcchat_redis_handlers_t  handlers;
    ngx_log_t                        *log;
    ngx_str_t                         beat;

    ngx_http_fcchat_redis_conn_t      cmd;
    ngx_http_fcchat_redis_conn_t      sub;

    ngx_rbtree_t                      tree;
    ngx_rbtree_node_t                 sentinel;
    ngx_queue_t                       channels;
    ngx_queue_t                       lingering;
    ngx_queue_t                       tell;     /* back before the linger */

    ngx_event_t                       tick;     /* beat */
    ngx_event_t                       retry;
    ngx_event_t                       post;

    ngx_uint_t                        nonce;    /* of the last beat */
    ngx_msec_t                        sent;     /* when it went */
    uint64_t                          sent_us;  /* likewise, for the figures */
    ngx_uint_t                        attempt;
    ngx_msec_t                        since;    /* up since */

    size_t                            reason_len;
    u_char                            reason[NGX_HTTP_FCCHAT_REDIS_TEXT];

    unsigned                          expected:1;   /* a beat is under way */
    unsigned                          up:1;
    unsigned                          told:1;
    unsigned                          failed:1;
    unsigned                          away:1;       /* was logged */
    unsigned                          complained:1; /* since it was up */
    unsigned                          stop:1;
};


/* ngx_http_fcchat_redis.c */

void ngx_http_fcchat_redis_fail(ngx_http_fcchat_redis_t *redis,
    const char *reason);
void ngx_http_fcchat_redis_post(ngx_http_fcchat_redis_t *redis);

/* login succeeded */
void ngx_http_fcchat_redis_login(ngx_http_fcchat_redis_conn_t *conn);

/* our own channel: confirmed, or a beat came back */
void ngx_http_fcchat_redis_joined(ngx_http_fcchat_redis_t *redis);
void ngx_http_fcchat_redis_beat(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *payload);


/* ngx_http_fcchat_redis_channel.c */

/* after a loss: nothing is confirmed, what lingered is forgotten */
void ngx_http_fcchat_redis_channels_reset(ngx_http_fcchat_redis_t *redis);
void ngx_http_fcchat_redis_channels_free(ngx_http_fcchat_redis_t *redis);

/* asks for all that are wanted */
void ngx_http_fcchat_redis_channels_ask(ngx_http_fcchat_redis_t *redis);
void ngx_http_fcchat_redis_channels_tell(ngx_http_fcchat_redis_t *redis);
void ngx_http_fcchat_redis_channels_expire(ngx_http_fcchat_redis_t *redis);

/* SUBSCRIBE went out for it on this connection; and it was confirmed */
ngx_uint_t ngx_http_fcchat_redis_channel_asked(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name);
ngx_uint_t ngx_http_fcchat_redis_channel_confirmed(
    ngx_http_fcchat_redis_t *redis, ngx_str_t *name);

/* hiredis's callback for whatever comes on the subscribed connection */
void ngx_http_fcchat_redis_channel_reply(redisAsyncContext *ac, void *data,
    void *privdata);


/* ngx_http_fcchat_redis_adapter.c */

/* connects and sends the login; failures come through fail() */
void ngx_http_fcchat_redis_open(ngx_http_fcchat_redis_conn_t *conn);

/* never from inside of a callback of hiredis */
void ngx_http_fcchat_redis_close(ngx_http_fcchat_redis_conn_t *conn);

/* NGX_DECLINED: the connection can't take it */
ngx_int_t ngx_http_fcchat_redis_command(ngx_http_fcchat_redis_conn_t *conn,
    redisCallbackFn *fn, ngx_uint_t n, ngx_str_t *args);


#endif /* _NGX_HTTP_FCCHAT_REDIS_INT_H_INCLUDED_ */
