
/*
 * A connection for GET: the other half of the Redis unit, for values that
 * Django keeps there.  It has one of the unit's connections and its failures,
 * but no channels and no beat: each question has a time of its own, and the
 * first that is not answered ends the connection.
 *
 * Answers come in the order of the questions, so that whoever asked first is
 * always the one to be told.
 */


#include <ngx_http_fcchat_redis_int.h>


#define NGX_HTTP_FCCHAT_REDIS_GETS  1024    /* questions under way */


struct ngx_http_fcchat_redis_get_s {
    ngx_http_fcchat_redis_get_pt    handler;    /* NULL: forgotten */
    void                           *data;
    ngx_queue_t                     queue;
    ngx_msec_t                      deadline;
};


struct ngx_http_fcchat_redis_cache_s {
    ngx_http_fcchat_redis_t         redis;      /* must be first */
    ngx_uint_t                      db;
    ngx_queue_t                     gets;       /* the first one first */
    ngx_uint_t                      n;
};


static void ngx_http_fcchat_redis_cache_connect(ngx_event_t *ev);
static void ngx_http_fcchat_redis_cache_selected(redisAsyncContext *ac,
    void *data, void *privdata);
static void ngx_http_fcchat_redis_cache_run(ngx_event_t *ev);
static void ngx_http_fcchat_redis_cache_drop(
    ngx_http_fcchat_redis_cache_t *cache);
static void ngx_http_fcchat_redis_cache_timeout(ngx_event_t *ev);
static void ngx_http_fcchat_redis_get_reply(redisAsyncContext *ac, void *data,
    void *privdata);
static void ngx_http_fcchat_redis_get_read(ngx_http_fcchat_redis_cache_t *cache,
    redisReply *reply, ngx_http_fcchat_redis_answer_t *answer);
static void ngx_http_fcchat_redis_cache_event(
    ngx_http_fcchat_redis_cache_t *cache, ngx_event_t *ev,
    ngx_event_handler_pt handler);


ngx_http_fcchat_redis_cache_t *
ngx_http_fcchat_redis_cache_create(ngx_http_fcchat_redis_conf_t *conf,
    ngx_uint_t db, ngx_log_t *log)
{
    ngx_http_fcchat_redis_cache_t  *cache;

    cache = ngx_calloc(sizeof(ngx_http_fcchat_redis_cache_t), log);
    if (cache == NULL) {
        return NULL;
    }

    cache->db = db;
    cache->redis.conf = conf;
    cache->redis.log = log;
    cache->redis.cmd.redis = &cache->redis;

    ngx_queue_init(&cache->gets);

    ngx_http_fcchat_redis_cache_event(cache, &cache->redis.tick,
                                      ngx_http_fcchat_redis_cache_timeout);
    ngx_http_fcchat_redis_cache_event(cache, &cache->redis.retry,
                                      ngx_http_fcchat_redis_cache_connect);
    ngx_http_fcchat_redis_cache_event(cache, &cache->redis.post,
                                      ngx_http_fcchat_redis_cache_run);

    ngx_http_fcchat_redis_cache_connect(&cache->redis.retry);

    return cache;
}


static void
ngx_http_fcchat_redis_cache_event(ngx_http_fcchat_redis_cache_t *cache,
    ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = cache;
    ev->log = cache->redis.log;
    ev->cancelable = 1;
}


void
ngx_http_fcchat_redis_cache_destroy(ngx_http_fcchat_redis_cache_t *cache)
{
    cache->redis.stop = 1;

    ngx_http_fcchat_redis_cache_drop(cache);

    if (cache->redis.retry.timer_set) {
        ngx_del_timer(&cache->redis.retry);
    }

    if (cache->redis.post.posted) {
        ngx_delete_posted_event(&cache->redis.post);
    }

    ngx_free(cache);
}


/* SELECT goes right behind the login, and questions behind that: hiredis keeps
 * them until it is connected */

static void
ngx_http_fcchat_redis_cache_connect(ngx_event_t *ev)
{
    u_char                          db[NGX_INT_T_LEN];
    ngx_str_t                       args[2];
    ngx_http_fcchat_redis_cache_t  *cache;

    cache = ev->data;
    cache->redis.failed = 0;

    ngx_http_fcchat_redis_open(&cache->redis.cmd);

    if (cache->redis.failed) {
        return;
    }

    ngx_str_set(&args[0], "SELECT");
    args[1].data = db;
    args[1].len = ngx_sprintf(db, "%ui", cache->db) - db;

    if (ngx_http_fcchat_redis_command(&cache->redis.cmd,
                                      ngx_http_fcchat_redis_cache_selected, 2,
                                      args)
        != NGX_OK)
    {
        ngx_http_fcchat_redis_fail(&cache->redis, "can't select a database");
    }
}


static void
ngx_http_fcchat_redis_cache_selected(redisAsyncContext *ac, void *data,
    void *privdata)
{
    redisReply                    *reply = data;
    ngx_http_fcchat_redis_conn_t  *conn = privdata;

    ngx_http_fcchat_redis_t  *redis;

    redis = conn->redis;

    if (reply == NULL || redis->failed) {
        return;
    }

    if (reply->type != REDIS_REPLY_STATUS) {
        ngx_http_fcchat_redis_fail(redis, reply->type == REDIS_REPLY_ERROR
                                          ? reply->str : "unexpected answer");
        return;
    }

    if (redis->away) {
        ngx_log_error(NGX_LOG_NOTICE, redis->log, 0,
                      "fcchat session redis %V is up", &redis->conf->url);
    }

    redis->up = 1;
    redis->away = 0;
    redis->complained = 0;
    redis->attempt = 0;
}


/* posted: never from inside of hiredis */

static void
ngx_http_fcchat_redis_cache_run(ngx_event_t *ev)
{
    ngx_http_fcchat_redis_t        *redis;
    ngx_http_fcchat_redis_cache_t  *cache;

    cache = ev->data;
    redis = &cache->redis;

    if (redis->stop) {
        ngx_http_fcchat_redis_cache_drop(cache);

        if (redis->retry.timer_set) {
            ngx_del_timer(&redis->retry);
        }

        return;
    }

    if (!redis->failed || redis->retry.timer_set) {
        return;
    }

    if (!redis->away) {
        ngx_log_error(NGX_LOG_ERR, redis->log, 0,
                      "fcchat session redis %V %s: %*s", &redis->conf->url,
                      redis->up ? "is lost" : "can't be reached",
                      redis->reason_len, redis->reason);
    }

    redis->up = 0;
    redis->away = 1;

    ngx_http_fcchat_redis_cache_drop(cache);

    ngx_add_timer(&redis->retry,
                  ngx_http_fcchat_net_backoff(redis->attempt++));
}


/* hiredis calls back with NULL for whoever waits */

static void
ngx_http_fcchat_redis_cache_drop(ngx_http_fcchat_redis_cache_t *cache)
{
    ngx_http_fcchat_redis_close(&cache->redis.cmd);

    if (cache->redis.tick.timer_set) {
        ngx_del_timer(&cache->redis.tick);
    }
}


static void
ngx_http_fcchat_redis_cache_timeout(ngx_event_t *ev)
{
    ngx_msec_int_t                  left;
    ngx_http_fcchat_redis_get_t    *get;
    ngx_http_fcchat_redis_cache_t  *cache;

    cache = ev->data;

    if (ngx_queue_empty(&cache->gets)) {
        return;
    }

    get = ngx_queue_data(ngx_queue_head(&cache->gets),
                         ngx_http_fcchat_redis_get_t, queue);

    left = (ngx_msec_int_t) (get->deadline - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, (ngx_msec_t) left);
        return;
    }

    ngx_http_fcchat_redis_fail(&cache->redis, "no answer in time");
}


ngx_http_fcchat_redis_get_t *
ngx_http_fcchat_redis_get(ngx_http_fcchat_redis_cache_t *cache, ngx_str_t *key,
    ngx_http_fcchat_redis_get_pt handler, void *data)
{
    ngx_str_t                     args[2];
    ngx_http_fcchat_redis_get_t  *get;

    if (cache->redis.stop || cache->redis.failed
        || cache->n == NGX_HTTP_FCCHAT_REDIS_GETS)
    {
        return NULL;
    }

    get = ngx_alloc(sizeof(ngx_http_fcchat_redis_get_t), cache->redis.log);
    if (get == NULL) {
        return NULL;
    }

    ngx_str_set(&args[0], "GET");
    args[1] = *key;

    if (ngx_http_fcchat_redis_command(&cache->redis.cmd,
                                      ngx_http_fcchat_redis_get_reply, 2, args)
        != NGX_OK)
    {
        ngx_free(get);
        return NULL;
    }

    get->handler = handler;
    get->data = data;
    get->deadline = ngx_current_msec + NGX_HTTP_FCCHAT_REDIS_TIMEOUT;

    ngx_queue_insert_tail(&cache->gets, &get->queue);
    cache->n++;

    if (!cache->redis.tick.timer_set) {
        ngx_add_timer(&cache->redis.tick, NGX_HTTP_FCCHAT_REDIS_TIMEOUT);
    }

    return get;
}


void
ngx_http_fcchat_redis_get_forget(ngx_http_fcchat_redis_get_t *get)
{
    get->handler = NULL;
}


static void
ngx_http_fcchat_redis_get_reply(redisAsyncContext *ac, void *data,
    void *privdata)
{
    redisReply                    *reply = data;
    ngx_http_fcchat_redis_conn_t  *conn = privdata;

    ngx_queue_t                     *q;
    ngx_http_fcchat_redis_get_t     *get;
    ngx_http_fcchat_redis_cache_t   *cache;
    ngx_http_fcchat_redis_answer_t   answer;

    cache = (ngx_http_fcchat_redis_cache_t *) conn->redis;

    q = ngx_queue_head(&cache->gets);
    get = ngx_queue_data(q, ngx_http_fcchat_redis_get_t, queue);

    ngx_queue_remove(q);
    cache->n--;

    ngx_http_fcchat_redis_get_read(cache, reply, &answer);

    if (get->handler) {
        get->handler(get->data, &answer);
    }

    ngx_free(get);
}


static void
ngx_http_fcchat_redis_get_read(ngx_http_fcchat_redis_cache_t *cache,
    redisReply *reply, ngx_http_fcchat_redis_answer_t *answer)
{
    size_t  len;
    u_char  text[NGX_HTTP_FCCHAT_REDIS_TEXT];

    ngx_memzero(answer, sizeof(ngx_http_fcchat_redis_answer_t));

    answer->rc = NGX_ERROR;

    if (reply == NULL) {
        return;
    }

    switch (reply->type) {

    case REDIS_REPLY_STRING:
        answer->rc = NGX_OK;
        answer->value.len = reply->len;
        answer->value.data = (u_char *) reply->str;
        return;

    case REDIS_REPLY_NIL:
        answer->rc = NGX_DECLINED;
        return;

    case REDIS_REPLY_ERROR:
        break;

    default:
        return;
    }

    /* a lasting refusal would else fill the log */

    if (cache->redis.complained) {
        return;
    }

    cache->redis.complained = 1;

    len = ngx_http_fcchat_net_line(text, sizeof(text), reply->str);

    ngx_log_error(NGX_LOG_ERR, cache->redis.log, 0,
                  "fcchat session redis %V refuses GET: %*s",
                  &cache->redis.conf->url, len, text);
}
