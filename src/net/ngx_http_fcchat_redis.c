
/*
 * The pair of connections: kept up, proven by beats, and the way to publish.
 */


#include <ngx_http_fcchat_redis_int.h>
#include <hiredis/sds.h>


static void ngx_http_fcchat_redis_init_event(ngx_http_fcchat_redis_t *redis,
    ngx_event_t *ev, ngx_event_handler_pt handler);
static void ngx_http_fcchat_redis_connect(ngx_http_fcchat_redis_t *redis);
static void ngx_http_fcchat_redis_drop(ngx_http_fcchat_redis_t *redis);
static void ngx_http_fcchat_redis_run(ngx_event_t *ev);
static void ngx_http_fcchat_redis_lost(ngx_http_fcchat_redis_t *redis);
static void ngx_http_fcchat_redis_retry(ngx_event_t *ev);
static void ngx_http_fcchat_redis_start(ngx_http_fcchat_redis_t *redis);
static void ngx_http_fcchat_redis_tick(ngx_event_t *ev);
static void ngx_http_fcchat_redis_send_beat(ngx_http_fcchat_redis_t *redis);
static void ngx_http_fcchat_redis_published(redisAsyncContext *ac, void *data,
    void *privdata);


ngx_http_fcchat_redis_t *
ngx_http_fcchat_redis_create(ngx_http_fcchat_redis_conf_t *conf,
    ngx_str_t *beat, ngx_http_fcchat_redis_handlers_t *handlers, ngx_log_t *log)
{
    ngx_http_fcchat_redis_t  *redis;

    redis = ngx_calloc(sizeof(ngx_http_fcchat_redis_t) + beat->len, log);
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = conf;
    redis->handlers = *handlers;
    redis->log = log;

    redis->beat.len = beat->len;
    redis->beat.data = (u_char *) redis + sizeof(ngx_http_fcchat_redis_t);
    ngx_memcpy(redis->beat.data, beat->data, beat->len);

    redis->cmd.redis = redis;
    redis->sub.redis = redis;

    ngx_rbtree_init(&redis->tree, &redis->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&redis->channels);
    ngx_queue_init(&redis->lingering);
    ngx_queue_init(&redis->tell);

    ngx_http_fcchat_redis_init_event(redis, &redis->tick,
                                     ngx_http_fcchat_redis_tick);
    ngx_http_fcchat_redis_init_event(redis, &redis->retry,
                                     ngx_http_fcchat_redis_retry);
    ngx_http_fcchat_redis_init_event(redis, &redis->post,
                                     ngx_http_fcchat_redis_run);

    ngx_http_fcchat_stat_gauge(REDIS_LINKS, 1);

    ngx_http_fcchat_redis_connect(redis);

    return redis;
}


void
ngx_http_fcchat_redis_destroy(ngx_http_fcchat_redis_t *redis)
{
    redis->stop = 1;

    ngx_http_fcchat_redis_drop(redis);
    ngx_http_fcchat_redis_channels_free(redis);

    if (redis->retry.timer_set) {
        ngx_del_timer(&redis->retry);
    }

    if (redis->post.posted) {
        ngx_delete_posted_event(&redis->post);
    }

    ngx_free(redis);
}


ngx_uint_t
ngx_http_fcchat_redis_up(ngx_http_fcchat_redis_t *redis)
{
    return redis->up && !redis->failed;
}


ngx_int_t
ngx_http_fcchat_redis_publish(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *channel, ngx_str_t *payload)
{
    size_t     size;
    ngx_int_t  rc;
    ngx_str_t  args[3];

    if (redis->cmd.state != NGX_HTTP_FCCHAT_REDIS_READY
        || redis->cmd.ac == NULL || redis->failed)
    {
        ngx_http_fcchat_stat_inc(UNPUBLISHED);
        return NGX_DECLINED;
    }

    size = sdslen(redis->cmd.ac->c.obuf) + channel->len + payload->len;

    if (size > NGX_HTTP_FCCHAT_REDIS_OUT_MAX) {
        ngx_http_fcchat_stat_inc(UNPUBLISHED);
        return NGX_DECLINED;
    }

    ngx_str_set(&args[0], "PUBLISH");
    args[1] = *channel;
    args[2] = *payload;

    rc = ngx_http_fcchat_redis_command(&redis->cmd,
                                       ngx_http_fcchat_redis_published,
                                       3, args);
    if (rc == NGX_OK) {
        ngx_http_fcchat_stat_inc(PUBLISHED);

    } else {
        ngx_http_fcchat_stat_inc(UNPUBLISHED);
    }

    return rc;
}


static void
ngx_http_fcchat_redis_published(redisAsyncContext *ac, void *data,
    void *privdata)
{
    redisReply                    *reply = data;
    ngx_http_fcchat_redis_conn_t  *conn = privdata;

    size_t  len;
    u_char  text[NGX_HTTP_FCCHAT_REDIS_TEXT];

    /* NULL when the connection ends */

    if (reply == NULL
        || reply->type != REDIS_REPLY_ERROR
        || conn->redis->complained)
    {
        return;
    }

    /* a lasting refusal (an ACL) would else fill the log, with each message or
     * with each try to connect */

    conn->redis->complained = 1;

    len = ngx_http_fcchat_net_line(text, sizeof(text), reply->str);

    ngx_log_error(NGX_LOG_ERR, conn->redis->log, 0,
                  "fcchat redis %V refuses to publish: %*s",
                  &conn->redis->conf->url, len, text);
}


static void
ngx_http_fcchat_redis_init_event(ngx_http_fcchat_redis_t *redis,
    ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = redis;
    ev->log = redis->log;
    ev->cancelable = 1;
}


static void
ngx_http_fcchat_redis_connect(ngx_http_fcchat_redis_t *redis)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, redis->log, 0,
                   "fcchat redis connecting, attempt %ui", redis->attempt);

    redis->failed = 0;

    ngx_http_fcchat_redis_open(&redis->sub);
    ngx_http_fcchat_redis_open(&redis->cmd);
}


static void
ngx_http_fcchat_redis_drop(ngx_http_fcchat_redis_t *redis)
{
    ngx_http_fcchat_redis_close(&redis->cmd);
    ngx_http_fcchat_redis_close(&redis->sub);

    redis->expected = 0;

    if (redis->tick.timer_set) {
        ngx_del_timer(&redis->tick);
    }

    ngx_http_fcchat_redis_channels_reset(redis);
}


void
ngx_http_fcchat_redis_fail(ngx_http_fcchat_redis_t *redis, const char *reason)
{
    if (redis->failed) {
        return;
    }

    redis->failed = 1;
    redis->reason_len = ngx_http_fcchat_net_line(redis->reason,
                                                 sizeof(redis->reason), reason);

    ngx_http_fcchat_redis_post(redis);
}


void
ngx_http_fcchat_redis_post(ngx_http_fcchat_redis_t *redis)
{
    ngx_post_event(&redis->post, &ngx_posted_events);
}


static void
ngx_http_fcchat_redis_run(ngx_event_t *ev)
{
    ngx_http_fcchat_redis_t  *redis;

    redis = ev->data;

    if (redis->stop) {
        redis->up = 0;
        ngx_http_fcchat_redis_drop(redis);

        if (redis->retry.timer_set) {
            ngx_del_timer(&redis->retry);
        }

    } else if (redis->failed && !redis->retry.timer_set) {
        ngx_http_fcchat_redis_lost(redis);
    }

    if (redis->up != redis->told) {
        redis->told = redis->up;

        if (redis->up) {
            ngx_http_fcchat_stat_inc(REDIS_CONNECTS);
            ngx_http_fcchat_stat_gauge(REDIS_UP, 1);

        } else {
            ngx_http_fcchat_stat_inc(REDIS_LOSSES);
            ngx_http_fcchat_stat_gauge(REDIS_UP, -1);
        }

        redis->handlers.changed(redis->handlers.data, redis->up);
    }

    ngx_http_fcchat_redis_channels_tell(redis);
}


static void
ngx_http_fcchat_redis_lost(ngx_http_fcchat_redis_t *redis)
{
    if (redis->up || !redis->away) {
        ngx_log_error(NGX_LOG_ERR, redis->log, 0, "fcchat redis %V %s: %*s",
                      &redis->conf->url,
                      redis->up ? "is lost" : "can't be reached",
                      redis->reason_len, redis->reason);
    }

    if (redis->up
        && ngx_current_msec - redis->since >= NGX_HTTP_FCCHAT_REDIS_STABLE)
    {
        redis->attempt = 0;
    }

    redis->up = 0;
    redis->away = 1;

    ngx_http_fcchat_redis_drop(redis);

    ngx_add_timer(&redis->retry,
                  ngx_http_fcchat_net_backoff(redis->attempt++));
}


static void
ngx_http_fcchat_redis_retry(ngx_event_t *ev)
{
    ngx_http_fcchat_redis_connect(ev->data);
}


void
ngx_http_fcchat_redis_login(ngx_http_fcchat_redis_conn_t *conn)
{
    ngx_str_t                 args[2];
    ngx_http_fcchat_redis_t  *redis;

    redis = conn->redis;

    if (conn == &redis->cmd) {
        conn->state = NGX_HTTP_FCCHAT_REDIS_READY;
        ngx_del_timer(&conn->timer);
        ngx_http_fcchat_redis_start(redis);
        return;
    }

    /* an error in reply to SUBSCRIBE ends the connection, hence not before the
     * login; and this channel is never given up, since hiredis leaves the
     * subscribed mode with the last one */

    conn->state = NGX_HTTP_FCCHAT_REDIS_JOINING;

    ngx_str_set(&args[0], "SUBSCRIBE");
    args[1] = redis->beat;

    if (ngx_http_fcchat_redis_command(conn, ngx_http_fcchat_redis_channel_reply,
                                      2, args)
        != NGX_OK)
    {
        ngx_http_fcchat_redis_fail(redis, "can't subscribe");
    }
}


void
ngx_http_fcchat_redis_joined(ngx_http_fcchat_redis_t *redis)
{
    if (redis->sub.state != NGX_HTTP_FCCHAT_REDIS_JOINING) {
        return;
    }

    redis->sub.state = NGX_HTTP_FCCHAT_REDIS_READY;
    ngx_del_timer(&redis->sub.timer);

    ngx_http_fcchat_redis_channels_ask(redis);
    ngx_http_fcchat_redis_start(redis);
}


static void
ngx_http_fcchat_redis_start(ngx_http_fcchat_redis_t *redis)
{
    if (redis->cmd.state == NGX_HTTP_FCCHAT_REDIS_READY
        && redis->sub.state == NGX_HTTP_FCCHAT_REDIS_READY)
    {
        ngx_http_fcchat_redis_send_beat(redis);
        ngx_add_timer(&redis->tick, NGX_HTTP_FCCHAT_REDIS_BEAT);
    }
}


static void
ngx_http_fcchat_redis_send_beat(ngx_http_fcchat_redis_t *redis)
{
    u_char     nonce[NGX_INT_T_LEN];
    ngx_str_t  args[3];

    redis->nonce++;
    redis->sent = ngx_current_msec;
    redis->sent_us = ngx_http_fcchat_stat_now();
    redis->expected = 1;

    ngx_str_set(&args[0], "PUBLISH");
    args[1] = redis->beat;
    args[2].data = nonce;
    args[2].len = ngx_sprintf(nonce, "%ui", redis->nonce) - nonce;

    if (ngx_http_fcchat_redis_command(&redis->cmd,
                                      ngx_http_fcchat_redis_published, 3, args)
        != NGX_OK)
    {
        ngx_http_fcchat_redis_fail(redis, "can't publish");
    }
}


void
ngx_http_fcchat_redis_beat(ngx_http_fcchat_redis_t *redis, ngx_str_t *payload)
{
    uint64_t    lag;
    ngx_int_t   nonce;
    ngx_uint_t  level;

    nonce = ngx_atoi(payload->data, payload->len);

    if (!redis->expected || nonce != (ngx_int_t) redis->nonce) {
        return;
    }

    redis->expected = 0;

    lag = ngx_http_fcchat_stat_now() - redis->sent_us;

    ngx_http_fcchat_stat_time(NGX_HTTP_FCCHAT_STAT_REDIS_TRIP, lag);
    ngx_http_fcchat_stat->gauges[NGX_HTTP_FCCHAT_STAT_REDIS_LAG] = lag;

    if (redis->up || redis->failed) {
        return;
    }

    redis->up = 1;
    redis->since = ngx_current_msec;

    level = redis->away ? NGX_LOG_NOTICE : NGX_LOG_INFO;

    ngx_log_error(level, redis->log, 0,
                  "fcchat redis %V is up", &redis->conf->url);

    redis->away = 0;
    redis->complained = 0;

    ngx_http_fcchat_redis_post(redis);
}


static void
ngx_http_fcchat_redis_tick(ngx_event_t *ev)
{
    ngx_msec_t                silence;
    ngx_http_fcchat_redis_t  *redis;

    redis = ev->data;

    if (redis->expected) {
        silence = ngx_current_msec - redis->sent;

        if (silence >= NGX_HTTP_FCCHAT_REDIS_SILENCE) {
            ngx_http_fcchat_redis_fail(redis, "no beat came back in time");
            return;
        }

    } else {
        ngx_http_fcchat_redis_send_beat(redis);
    }

    ngx_http_fcchat_redis_channels_expire(redis);

    ngx_add_timer(ev, NGX_HTTP_FCCHAT_REDIS_BEAT);
}
