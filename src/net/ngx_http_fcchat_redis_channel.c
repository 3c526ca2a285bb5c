
/*
 * The channels that are wanted, and what the server says about them.
 *
 * UNSUBSCRIBE goes out only for a confirmed channel, so that at most one
 * confirmation is ever under way for a name and can't be taken for a later one.
 */


#include <ngx_http_fcchat_redis_int.h>


static ngx_http_fcchat_redis_channel_t *ngx_http_fcchat_redis_channel_find(
    ngx_http_fcchat_redis_t *redis, ngx_str_t *name);
static ngx_http_fcchat_redis_channel_t *ngx_http_fcchat_redis_channel_add(
    ngx_http_fcchat_redis_t *redis, ngx_str_t *name);
static void ngx_http_fcchat_redis_channel_free(ngx_http_fcchat_redis_t *redis,
    ngx_http_fcchat_redis_channel_t *channel);
static void ngx_http_fcchat_redis_channel_leave(
    ngx_http_fcchat_redis_channel_t *channel);
static void ngx_http_fcchat_redis_channel_confirm(
    ngx_http_fcchat_redis_t *redis, ngx_str_t *name);
static void ngx_http_fcchat_redis_channel_message(
    ngx_http_fcchat_redis_t *redis, ngx_str_t *name, ngx_str_t *payload);
static ngx_uint_t ngx_http_fcchat_redis_is_beat(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name);


ngx_int_t
ngx_http_fcchat_redis_subscribe(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name)
{
    ngx_str_t                         args[2];
    ngx_http_fcchat_redis_channel_t  *channel;

    channel = ngx_http_fcchat_redis_channel_find(redis, name);

    if (channel == NULL) {
        channel = ngx_http_fcchat_redis_channel_add(redis, name);

        if (channel == NULL) {
            return NGX_ERROR;
        }
    }

    if (channel->wanted) {
        return NGX_OK;
    }

    channel->wanted = 1;
    ngx_http_fcchat_redis_channel_leave(channel);

    if (channel->confirmed) {
        ngx_queue_insert_tail(&redis->tell, &channel->turn);
        channel->queued = 1;
        ngx_http_fcchat_redis_post(redis);
        return NGX_OK;
    }

    if (channel->asked || redis->failed
        || redis->sub.state != NGX_HTTP_FCCHAT_REDIS_READY)
    {
        return NGX_OK;
    }

    channel->asked = 1;

    ngx_str_set(&args[0], "SUBSCRIBE");
    args[1] = channel->sn.str;

    if (ngx_http_fcchat_redis_command(&redis->sub,
                                      ngx_http_fcchat_redis_channel_reply,
                                      2, args)
        != NGX_OK)
    {
        ngx_http_fcchat_redis_fail(redis, "can't subscribe");
    }

    return NGX_OK;
}


void
ngx_http_fcchat_redis_unsubscribe(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name)
{
    ngx_http_fcchat_redis_channel_t  *channel;

    channel = ngx_http_fcchat_redis_channel_find(redis, name);

    if (channel == NULL || !channel->wanted) {
        return;
    }

    channel->wanted = 0;
    ngx_http_fcchat_redis_channel_leave(channel);

    if (!channel->asked) {
        ngx_http_fcchat_redis_channel_free(redis, channel);
        return;
    }

    channel->until = ngx_current_msec + NGX_HTTP_FCCHAT_REDIS_LINGER;
    channel->queued = 1;
    ngx_queue_insert_tail(&redis->lingering, &channel->turn);
}


ngx_uint_t
ngx_http_fcchat_redis_subscribed(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name)
{
    ngx_http_fcchat_redis_channel_t  *channel;

    channel = ngx_http_fcchat_redis_channel_find(redis, name);

    return channel && channel->wanted && channel->confirmed && !redis->failed;
}


void
ngx_http_fcchat_redis_channels_reset(ngx_http_fcchat_redis_t *redis)
{
    ngx_queue_t                      *q, *next;
    ngx_http_fcchat_redis_channel_t  *channel;

    for (q = ngx_queue_head(&redis->channels);
         q != ngx_queue_sentinel(&redis->channels);
         q = next)
    {
        next = ngx_queue_next(q);
        channel = ngx_queue_data(q, ngx_http_fcchat_redis_channel_t, queue);

        ngx_http_fcchat_redis_channel_leave(channel);

        channel->asked = 0;
        channel->confirmed = 0;

        if (!channel->wanted) {
            ngx_http_fcchat_redis_channel_free(redis, channel);
        }
    }
}


void
ngx_http_fcchat_redis_channels_free(ngx_http_fcchat_redis_t *redis)
{
    ngx_queue_t                      *q;
    ngx_http_fcchat_redis_channel_t  *channel;

    while (!ngx_queue_empty(&redis->channels)) {
        q = ngx_queue_head(&redis->channels);
        channel = ngx_queue_data(q, ngx_http_fcchat_redis_channel_t, queue);

        ngx_http_fcchat_redis_channel_free(redis, channel);
    }
}


void
ngx_http_fcchat_redis_channels_ask(ngx_http_fcchat_redis_t *redis)
{
    ngx_uint_t                        n;
    ngx_queue_t                      *q;
    ngx_str_t                         args[NGX_HTTP_FCCHAT_REDIS_BATCH + 1];
    ngx_http_fcchat_redis_channel_t  *channel;

    ngx_str_set(&args[0], "SUBSCRIBE");
    n = 1;

    for (q = ngx_queue_head(&redis->channels); n > 0; q = ngx_queue_next(q)) {

        if (q != ngx_queue_sentinel(&redis->channels)) {
            channel = ngx_queue_data(q, ngx_http_fcchat_redis_channel_t, queue);

            channel->asked = 1;
            args[n++] = channel->sn.str;

            if (n <= NGX_HTTP_FCCHAT_REDIS_BATCH) {
                continue;
            }
        }

        if (n == 1) {
            return;
        }

        if (ngx_http_fcchat_redis_command(&redis->sub,
                                          ngx_http_fcchat_redis_channel_reply,
                                          n, args)
            != NGX_OK)
        {
            ngx_http_fcchat_redis_fail(redis, "can't subscribe");
            return;
        }

        n = (q == ngx_queue_sentinel(&redis->channels)) ? 0 : 1;
    }
}


void
ngx_http_fcchat_redis_channels_tell(ngx_http_fcchat_redis_t *redis)
{
    ngx_str_t                         name;
    ngx_queue_t                      *q;
    ngx_http_fcchat_redis_channel_t  *channel;

    while (!ngx_queue_empty(&redis->tell)) {
        q = ngx_queue_head(&redis->tell);
        channel = ngx_queue_data(q, ngx_http_fcchat_redis_channel_t, turn);

        ngx_http_fcchat_redis_channel_leave(channel);

        name = channel->sn.str;
        redis->handlers.subscribed(redis->handlers.data, &name);
    }
}


void
ngx_http_fcchat_redis_channels_expire(ngx_http_fcchat_redis_t *redis)
{
    ngx_str_t                         args[2];
    ngx_queue_t                      *q;
    ngx_http_fcchat_redis_channel_t  *channel;

    ngx_str_set(&args[0], "UNSUBSCRIBE");

    while (!ngx_queue_empty(&redis->lingering)) {
        q = ngx_queue_head(&redis->lingering);
        channel = ngx_queue_data(q, ngx_http_fcchat_redis_channel_t, turn);

        if ((ngx_msec_int_t) (channel->until - ngx_current_msec) > 0
            || !channel->confirmed)
        {
            return;
        }

        args[1] = channel->sn.str;

        if (ngx_http_fcchat_redis_command(&redis->sub, NULL, 2, args)
            != NGX_OK)
        {
            ngx_http_fcchat_redis_fail(redis, "can't unsubscribe");
            return;
        }

        ngx_http_fcchat_redis_channel_free(redis, channel);
    }
}


ngx_uint_t
ngx_http_fcchat_redis_channel_asked(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name)
{
    ngx_http_fcchat_redis_channel_t  *channel;

    if (ngx_http_fcchat_redis_is_beat(redis, name)) {
        return 1;
    }

    channel = ngx_http_fcchat_redis_channel_find(redis, name);

    return channel && channel->asked;
}


ngx_uint_t
ngx_http_fcchat_redis_channel_confirmed(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name)
{
    ngx_http_fcchat_redis_channel_t  *channel;

    if (ngx_http_fcchat_redis_is_beat(redis, name)) {
        return 1;
    }

    channel = ngx_http_fcchat_redis_channel_find(redis, name);

    return channel && channel->confirmed;
}


void
ngx_http_fcchat_redis_channel_reply(redisAsyncContext *ac, void *data,
    void *privdata)
{
    redisReply                    *reply = data;
    ngx_http_fcchat_redis_conn_t  *conn = privdata;

    ngx_str_t                 kind, name, payload;
    ngx_http_fcchat_redis_t  *redis;

    /* NULL when the connection ends; the shape was checked by the adapter, but
     * hiredis may also call back for the reply to something else */

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY
        || reply->elements < 3
        || reply->element[0]->type != REDIS_REPLY_STRING
        || reply->element[1]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    redis = conn->redis;

    if (redis->failed) {
        return;
    }

    kind.data = (u_char *) reply->element[0]->str;
    kind.len = reply->element[0]->len;
    name.data = (u_char *) reply->element[1]->str;
    name.len = reply->element[1]->len;

    if (kind.len == 9 && ngx_strncmp(kind.data, "subscribe", 9) == 0) {
        ngx_http_fcchat_redis_channel_confirm(redis, &name);
        return;
    }

    if (kind.len == 7 && ngx_strncmp(kind.data, "message", 7) == 0
        && reply->element[2]->type == REDIS_REPLY_STRING)
    {
        payload.data = (u_char *) reply->element[2]->str;
        payload.len = reply->element[2]->len;

        ngx_http_fcchat_redis_channel_message(redis, &name, &payload);
    }
}


static void
ngx_http_fcchat_redis_channel_confirm(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name)
{
    ngx_http_fcchat_redis_channel_t  *channel;

    if (ngx_http_fcchat_redis_is_beat(redis, name)) {
        ngx_http_fcchat_redis_joined(redis);
        return;
    }

    channel = ngx_http_fcchat_redis_channel_find(redis, name);

    if (channel == NULL || !channel->asked || channel->confirmed) {
        return;
    }

    channel->confirmed = 1;

    if (channel->wanted) {
        redis->handlers.subscribed(redis->handlers.data, name);
    }
}


static void
ngx_http_fcchat_redis_channel_message(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name, ngx_str_t *payload)
{
    ngx_http_fcchat_redis_channel_t  *channel;

    if (ngx_http_fcchat_redis_is_beat(redis, name)) {
        ngx_http_fcchat_redis_beat(redis, payload);
        return;
    }

    channel = ngx_http_fcchat_redis_channel_find(redis, name);

    if (channel && channel->wanted) {
        ngx_http_fcchat_stat_inc(BUS_RECEIVED);
        redis->handlers.message(redis->handlers.data, name, payload);
    }
}


static ngx_uint_t
ngx_http_fcchat_redis_is_beat(ngx_http_fcchat_redis_t *redis, ngx_str_t *name)
{
    return name->len == redis->beat.len
           && ngx_memcmp(name->data, redis->beat.data, name->len) == 0;
}


static ngx_http_fcchat_redis_channel_t *
ngx_http_fcchat_redis_channel_find(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name)
{
    uint32_t  hash;

    hash = ngx_crc32_long(name->data, name->len);

    /* sn is the first member */

    return (ngx_http_fcchat_redis_channel_t *)
               ngx_str_rbtree_lookup(&redis->tree, name, hash);
}


static ngx_http_fcchat_redis_channel_t *
ngx_http_fcchat_redis_channel_add(ngx_http_fcchat_redis_t *redis,
    ngx_str_t *name)
{
    size_t                            size;
    ngx_http_fcchat_redis_channel_t  *channel;

    size = sizeof(ngx_http_fcchat_redis_channel_t);

    channel = ngx_calloc(size + name->len, redis->log);
    if (channel == NULL) {
        return NULL;
    }

    channel->sn.str.len = name->len;
    channel->sn.str.data = (u_char *) channel + size;
    ngx_memcpy(channel->sn.str.data, name->data, name->len);
    channel->sn.node.key = ngx_crc32_long(name->data, name->len);

    ngx_rbtree_insert(&redis->tree, &channel->sn.node);
    ngx_queue_insert_tail(&redis->channels, &channel->queue);

    return channel;
}


static void
ngx_http_fcchat_redis_channel_free(ngx_http_fcchat_redis_t *redis,
    ngx_http_fcchat_redis_channel_t *channel)
{
    ngx_http_fcchat_redis_channel_leave(channel);

    ngx_rbtree_delete(&redis->tree, &channel->sn.node);
    ngx_queue_remove(&channel->queue);

    ngx_free(channel);
}


static void
ngx_http_fcchat_redis_channel_leave(ngx_http_fcchat_redis_channel_t *channel)
{
    if (channel->queued) {
        ngx_queue_remove(&channel->turn);
        channel->queued = 0;
    }
}
