
/*
 * The registry: finding, opening and closing rooms.
 *
 *     (none) --get()--> asked --found--> open --no refs, linger--> (none)
 *                         |
 *                         +---not found, or PostgreSQL away--> (none)
 *
 * A room exists from the first question on, so that all who ask meanwhile wait
 * for the same answer.  An open room is looked up again when somebody wants to
 * join and the last look is old; those who are in go on meanwhile, and are
 * told 4404 if it is gone.  Where nobody knows, it is taken to be there still.
 *
 * Refs are members, items under way and waiters' promises; a room without refs
 * lives on for a while, since the next viewer is mostly a reconnecting one.
 * The answers to look-up and catch-up are forgotten when the room is
 * destroyed, so nothing arrives late here.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


#define NGX_HTTP_FCCHAT_ROOM_GONE  4404


static ngx_http_fcchat_room_t *ngx_http_fcchat_room_create(
    ngx_http_fcchat_hub_t *hub, ngx_str_t *key, size_t schema, uint32_t hash);
static ngx_int_t ngx_http_fcchat_room_lookup(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_room_found(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_room_ruled(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_room_answered(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_rc_e rc);
static void ngx_http_fcchat_room_close(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_room_wake(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_rc_e rc);
static size_t ngx_http_fcchat_room_channel(ngx_http_fcchat_hub_t *hub,
    u_char *p, ngx_str_t *schema, int64_t id);
static void ngx_http_fcchat_room_hole(ngx_event_t *ev);
static void ngx_http_fcchat_room_gathered(ngx_event_t *ev);
static void ngx_http_fcchat_room_walk(ngx_http_fcchat_room_t *room);


ngx_int_t
ngx_http_fcchat_room_get(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    ngx_str_t *name, ngx_http_fcchat_waiter_t *w,
    ngx_http_fcchat_room_t **result)
{
    u_char                  *p;
    uint32_t                 hash;
    ngx_str_t                key;
    ngx_http_fcchat_room_t  *room;
    u_char                   buf[NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX + 1 + 255];

    if (schema->len > NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX || name->len > 255) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(buf, schema->data, schema->len);
    *p++ = '\0';
    p = ngx_cpymem(p, name->data, name->len);

    key.data = buf;
    key.len = p - buf;

    hash = ngx_crc32_long(key.data, key.len);

    room = (ngx_http_fcchat_room_t *)
               ngx_str_rbtree_lookup(&hub->rooms, &key, hash);

    if (room && room->open && room->lookup == NULL
        && ngx_current_msec - room->checked < NGX_HTTP_FCCHAT_ROOM_CHECK)
    {
        room->refs++;
        *result = room;
        return NGX_OK;
    }

    if (room == NULL) {
        room = ngx_http_fcchat_room_create(hub, &key, schema->len, hash);
        if (room == NULL) {
            return NGX_ERROR;
        }
    }

    if (room->lookup == NULL && ngx_http_fcchat_room_lookup(room) != NGX_OK) {

        if (room->open) {
            room->refs++;
            *result = room;
            return NGX_OK;
        }

        if (room->refs == 0) {
            ngx_http_fcchat_room_destroy(room);
        }

        return NGX_DECLINED;
    }

    w->room = room;
    ngx_queue_insert_tail(&room->waiters, &w->queue);

    return NGX_AGAIN;
}


void
ngx_http_fcchat_room_forget(ngx_http_fcchat_waiter_t *w)
{
    if (w->room == NULL) {
        return;
    }

    /* the look-up goes on: its answer is of use to the next one */

    ngx_queue_remove(&w->queue);
    w->room = NULL;
}


void
ngx_http_fcchat_room_put(ngx_http_fcchat_room_t *room)
{
    if (--room->refs) {
        return;
    }

    room->idle = ngx_current_msec;

    if (!room->open && room->lookup == NULL) {
        ngx_http_fcchat_room_destroy(room);
    }
}


static ngx_http_fcchat_room_t *
ngx_http_fcchat_room_create(ngx_http_fcchat_hub_t *hub, ngx_str_t *key,
    size_t schema, uint32_t hash)
{
    ngx_uint_t               i;
    ngx_http_fcchat_room_t  *room;

    room = ngx_calloc(sizeof(ngx_http_fcchat_room_t) + key->len, hub->log);
    if (room == NULL) {
        return NULL;
    }

    room->hub = hub;

    room->node.node.key = hash;
    room->node.str.len = key->len;
    room->node.str.data = (u_char *) room + sizeof(ngx_http_fcchat_room_t);
    ngx_memcpy(room->node.str.data, key->data, key->len);

    room->schema.data = room->node.str.data;
    room->schema.len = schema;
    room->name.data = room->node.str.data + schema + 1;
    room->name.len = key->len - schema - 1;

    ngx_queue_init(&room->waiters);
    ngx_queue_init(&room->held);
    ngx_queue_init(&room->resumers);

    room->hold.handler = ngx_http_fcchat_room_hole;
    room->hold.data = room;
    room->hold.log = hub->log;
    room->hold.cancelable = 1;

    room->gather.handler = ngx_http_fcchat_room_gathered;
    room->gather.data = room;
    room->gather.log = hub->log;
    room->gather.cancelable = 1;

    room->idle = ngx_current_msec;

    for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES; i++) {
        ngx_http_fcchat_log_init(&room->audiences[i].log);

        room->audiences[i].l = hub->log;
        room->audiences[i].left = ngx_current_msec
                                  - NGX_HTTP_FCCHAT_ROOM_LINGER;
    }

    ngx_rbtree_insert(&hub->rooms, &room->node.node);

    return room;
}


ngx_http_fcchat_room_t *
ngx_http_fcchat_room_tenant(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema)
{
    u_char     *p;
    ngx_str_t   key;
    u_char      buf[NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX + 1];

    /* a name that no client can ask for */

    p = ngx_cpymem(buf, schema->data, schema->len);
    *p++ = '\0';

    key.data = buf;
    key.len = p - buf;

    return ngx_http_fcchat_room_create(hub, &key, schema->len,
                                       ngx_crc32_long(key.data, key.len));
}


static ngx_int_t
ngx_http_fcchat_room_lookup(ngx_http_fcchat_room_t *room)
{
    room->lookup = ngx_http_fcchat_store_room(room->hub->store, &room->schema,
                                              &room->name,
                                              ngx_http_fcchat_room_found,
                                              room);

    return room->lookup ? NGX_OK : NGX_ERROR;
}


void
ngx_http_fcchat_room_recheck(ngx_http_fcchat_room_t *room)
{
    if (room->lookup == NULL
        && room->refs
        && room->id
        && ngx_current_msec - room->checked >= NGX_HTTP_FCCHAT_ROOM_CHECK)
    {
        (void) ngx_http_fcchat_room_lookup(room);
    }
}


static void
ngx_http_fcchat_room_found(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_http_fcchat_store_rc_e   rc;
    ngx_http_fcchat_room_t      *room;

    room = data;
    room->lookup = NULL;

    rc = answer->rc;

    if (rc == NGX_HTTP_FCCHAT_STORE_OK) {

        if (room->open && room->id != answer->room.id) {

            /* another room of the same name: nobody stays in the old one */

            ngx_http_fcchat_room_close(room);
            rc = NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;

        } else if (!room->open && answer->room.moderated) {

            /* its rules come first */

            room->id = answer->room.id;
            room->stream_id = answer->room.stream_id;
            room->lookup = ngx_http_fcchat_ruled_ask(room, room->id,
                                                  ngx_http_fcchat_room_ruled);
            if (room->lookup) {
                return;
            }

            rc = NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;

        } else if (!room->open
                   && ngx_http_fcchat_room_open(room, &answer->room) != NGX_OK)
        {
            rc = NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;

        } else {
            room->checked = ngx_current_msec;
            room->stream_id = answer->room.stream_id;

            if (answer->room.moderated && !room->moderated
                && room->state == NULL)
            {
                /* sql/003 was applied meanwhile */

                ngx_http_fcchat_ruled_anew(room);
            }
        }

    } else if (rc == NGX_HTTP_FCCHAT_STORE_NONE && room->open) {
        ngx_http_fcchat_room_close(room);
    }

    ngx_http_fcchat_room_answered(room, rc);
}


/* the second half of the look-up of a room that is not open yet */

static void
ngx_http_fcchat_room_ruled(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_http_fcchat_room_t        *room;
    ngx_http_fcchat_store_rc_e     rc;
    ngx_http_fcchat_store_room_t   found;

    room = data;
    room->lookup = NULL;

    rc = answer->rc;

    if (rc == NGX_HTTP_FCCHAT_STORE_OK) {
        ngx_memzero(&found, sizeof(ngx_http_fcchat_store_room_t));
        found.id = room->id;

        if (ngx_http_fcchat_ruled_first(room, answer, &found) != NGX_OK
            || ngx_http_fcchat_room_open(room, &found) != NGX_OK)
        {
            ngx_http_fcchat_ruled_leave(room);
            rc = NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;

        } else {
            room->checked = ngx_current_msec;
        }

    } else if (rc == NGX_HTTP_FCCHAT_STORE_NONE) {
        rc = NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;
    }

    ngx_http_fcchat_room_answered(room, rc);
}


static void
ngx_http_fcchat_room_answered(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_rc_e rc)
{
    if (rc == NGX_HTTP_FCCHAT_STORE_UNAVAILABLE && room->open) {
        rc = NGX_HTTP_FCCHAT_STORE_OK;
    }

    ngx_http_fcchat_room_wake(room, rc);

    if (!room->open && room->refs == 0 && room->lookup == NULL) {
        ngx_http_fcchat_room_destroy(room);
    }
}


ngx_int_t
ngx_http_fcchat_room_open(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_room_t *found)
{
    u_char                   *p;
    size_t                    len;
    ngx_http_fcchat_hub_t    *hub;
    ngx_http_fcchat_redis_t  *redis;

    hub = room->hub;

    len = hub->conf->prefix.len + sizeof(":room:") - 1 + room->schema.len + 1
          + NGX_INT64_LEN;

    p = ngx_alloc(len, hub->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    room->id = found->id;
    room->epoch_len = ngx_min(found->epoch.len,
                              NGX_HTTP_FCCHAT_STORE_EPOCH_MAX);
    ngx_memcpy(room->epoch, found->epoch.data, room->epoch_len);
    room->have = found->head;
    room->asked = found->head;

    room->channel.str.data = p;
    room->channel.str.len = ngx_http_fcchat_room_channel(hub, p, &room->schema,
                                                         room->id);
    room->channel.node.key = ngx_crc32_long(room->channel.str.data,
                                            room->channel.str.len);

    redis = ngx_http_fcchat_hub_link(hub, &room->channel.str);

    if (redis
        && ngx_http_fcchat_redis_subscribe(redis, &room->channel.str)
           != NGX_OK)
    {
        ngx_free(p);
        ngx_str_null(&room->channel.str);
        return NGX_ERROR;
    }

    ngx_rbtree_insert(&hub->channels, &room->channel.node);
    ngx_queue_insert_tail(&hub->all, &room->queue);
    hub->nrooms++;

    if (room->id) {
        ngx_http_fcchat_stat_gauge(OPEN_ROOMS, 1);
    }

    room->open = 1;

    /*
     * What was committed between the look-up and now is found by asking again
     * after the subscription is confirmed, or at once when it was already.
     */

    room->stale = 1;

    if (redis == NULL
        || ngx_http_fcchat_redis_subscribed(redis, &room->channel.str))
    {
        ngx_http_fcchat_hub_poll_soon(hub);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, hub->log, 0,
                   "fcchat room \"%V\" of \"%V\" open at %L",
                   &room->name, &room->schema, room->have);

    return NGX_OK;
}


/* not to be found any more: out of the tables, members are told */

static void
ngx_http_fcchat_room_close(ngx_http_fcchat_room_t *room)
{
    ngx_uint_t                 i;
    ngx_http_fcchat_hub_t     *hub;
    ngx_http_fcchat_redis_t   *redis;
    ngx_http_fcchat_member_t  *m;

    hub = room->hub;

    if (room->catchup) {
        ngx_http_fcchat_store_forget(room->catchup);
        room->catchup = NULL;
    }

    if (room->backfill) {
        ngx_http_fcchat_store_forget(room->backfill);
        room->backfill = NULL;
    }

    if (room->renew) {
        ngx_http_fcchat_store_forget(room->renew);
        room->renew = NULL;
    }

    ngx_http_fcchat_room_unhold(room);
    ngx_http_fcchat_ruled_leave(room);

    while (!ngx_queue_empty(&room->resumers)) {
        m = ngx_queue_data(ngx_queue_head(&room->resumers),
                           ngx_http_fcchat_member_t, waiting);

        ngx_http_fcchat_member_leave(m);
        m->owner->broken(m, NGX_HTTP_FCCHAT_ROOM_GONE);
    }

    for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES; i++) {
        ngx_http_fcchat_audience_close(&room->audiences[i],
                                       NGX_HTTP_FCCHAT_ROOM_GONE);
        ngx_http_fcchat_audience_free(&room->audiences[i]);
    }

    redis = ngx_http_fcchat_hub_link(hub, &room->channel.str);

    if (redis) {
        ngx_http_fcchat_redis_unsubscribe(redis, &room->channel.str);
    }

    ngx_rbtree_delete(&hub->channels, &room->channel.node);
    ngx_queue_remove(&room->queue);
    hub->nrooms--;

    if (room->id) {
        ngx_http_fcchat_stat_gauge(OPEN_ROOMS, -1);
    }

    room->open = 0;

    /* items under way may hold it; it can be opened again */

    if (room->in_outbox) {
        ngx_queue_remove(&room->outbox);
        room->in_outbox = 0;
    }

    if (room->in_counting) {
        ngx_queue_remove(&room->counting);
        room->in_counting = 0;
    }

    if (room->in_dirty) {
        ngx_queue_remove(&room->dirty);
        room->in_dirty = 0;
    }

    if (room->gather.timer_set) {
        ngx_del_timer(&room->gather);
    }

    ngx_http_fcchat_presence_free(room);

    room->ncounts = 0;
    room->npeers = 0;
    room->events.n = 0;
    room->reactions.n = 0;
    room->published = 0;

    /* its log may be another one then */

    room->logs++;
    room->nothing = 0;
    room->applied = 0;

    if (room->shown) {
        ngx_memzero(room->shown, NGX_HTTP_FCCHAT_SHOWN_MAX
                                 * sizeof(ngx_http_fcchat_shown_t));
    }

    ngx_free(room->channel.str.data);
    ngx_str_null(&room->channel.str);
}


void
ngx_http_fcchat_room_destroy(ngx_http_fcchat_room_t *room)
{
    if (room->lookup) {
        ngx_http_fcchat_store_forget(room->lookup);
        room->lookup = NULL;
    }

    ngx_http_fcchat_room_wake(room, NGX_HTTP_FCCHAT_STORE_UNAVAILABLE);

    if (room->open) {
        ngx_http_fcchat_room_close(room);
    }

    ngx_http_fcchat_ruled_leave(room);

    ngx_rbtree_delete(&room->hub->rooms, &room->node.node);

    if (room->events.buf) {
        ngx_free(room->events.buf);
    }

    if (room->reactions.buf) {
        ngx_free(room->reactions.buf);
    }

    if (room->counts) {
        ngx_free(room->counts);
    }

    if (room->peers) {
        ngx_free(room->peers);
    }

    if (room->shown) {
        ngx_free(room->shown);
    }

    ngx_free(room);
}


static void
ngx_http_fcchat_room_wake(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_rc_e rc)
{
    ngx_queue_t               *q;
    ngx_http_fcchat_waiter_t  *w;

    /* a waiter that is woken may forget others, or the room may be left */

    room->refs++;

    while (!ngx_queue_empty(&room->waiters)) {
        q = ngx_queue_head(&room->waiters);
        w = ngx_queue_data(q, ngx_http_fcchat_waiter_t, queue);

        ngx_queue_remove(q);
        w->room = NULL;

        if (rc == NGX_HTTP_FCCHAT_STORE_OK) {
            room->refs++;
            w->ready(w, room, rc);

        } else {
            w->ready(w, NULL, rc);
        }
    }

    if (--room->refs == 0) {
        room->idle = ngx_current_msec;
    }
}


static size_t
ngx_http_fcchat_room_channel(ngx_http_fcchat_hub_t *hub, u_char *p,
    ngx_str_t *schema, int64_t id)
{
    /* that of all rooms of a schema is no room's */

    if (id == 0) {
        return ngx_sprintf(p, "%V:all:%V", &hub->conf->prefix, schema) - p;
    }

    return ngx_sprintf(p, "%V:room:%V:%L", &hub->conf->prefix, schema, id) - p;
}


ngx_http_fcchat_room_t *
ngx_http_fcchat_room_by_channel(ngx_http_fcchat_hub_t *hub, ngx_str_t *channel)
{
    uint32_t         hash;
    ngx_str_node_t  *node;

    hash = ngx_crc32_long(channel->data, channel->len);

    node = ngx_str_rbtree_lookup(&hub->channels, channel, hash);

    if (node == NULL) {
        return NULL;
    }

    return (ngx_http_fcchat_room_t *)
               ((u_char *) node - offsetof(ngx_http_fcchat_room_t, channel));
}


ngx_http_fcchat_room_t *
ngx_http_fcchat_room_by_id(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    int64_t id)
{
    ngx_str_t  channel;
    u_char     buf[NGX_HTTP_FCCHAT_PREFIX_MAX + sizeof(":room::")
                   + NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX + NGX_INT64_LEN];

    if (schema->len > NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX
        || hub->conf->prefix.len > NGX_HTTP_FCCHAT_PREFIX_MAX)
    {
        return NULL;
    }

    channel.data = buf;
    channel.len = ngx_http_fcchat_room_channel(hub, buf, schema, id);

    return ngx_http_fcchat_room_by_channel(hub, &channel);
}


ngx_int_t
ngx_http_fcchat_room_join(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m, ngx_uint_t log)
{
    ngx_http_fcchat_audience_t  *a;

    a = &room->audiences[log];

    return ngx_http_fcchat_member_join(m, a, a->log.head);
}


ngx_uint_t
ngx_http_fcchat_room_members(ngx_http_fcchat_room_t *room)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES; i++) {
        n += room->audiences[i].n;
    }

    return n;
}


ngx_uint_t
ngx_http_fcchat_room_readers(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_encoding_e encoding)
{
    return room->audiences[encoding].n
           + room->audiences[encoding + NGX_HTTP_FCCHAT_DEFLATED].n;
}


void
ngx_http_fcchat_room_dirty(ngx_http_fcchat_room_t *room)
{
    ngx_msec_int_t  wait;

    if (!room->in_dirty && room->hub->conf->coalesce) {

        if (room->gather.timer_set) {
            return;
        }

        wait = room->walked + room->hub->conf->coalesce - ngx_current_msec;

        if (wait > 0) {
            ngx_add_timer(&room->gather, (ngx_msec_t) wait);
            return;
        }
    }

    ngx_http_fcchat_room_walk(room);
}


static void
ngx_http_fcchat_room_gathered(ngx_event_t *ev)
{
    ngx_http_fcchat_room_walk(ev->data);
}


static void
ngx_http_fcchat_room_walk(ngx_http_fcchat_room_t *room)
{
    if (!room->in_dirty) {
        room->in_dirty = 1;
        ngx_queue_insert_tail(&room->hub->dirty, &room->dirty);
    }

    ngx_post_event(&room->hub->fanout, &ngx_posted_events);
}


static void
ngx_http_fcchat_room_hole(ngx_event_t *ev)
{
    ngx_http_fcchat_room_catchup(ev->data);
}
