
/*
 * A hub in a worker: its links and rooms, the tick, and the fan-out's turn.
 *
 * The tick asks PostgreSQL for the heads of all open rooms: once a second
 * while the bus is well, every 150 ms while it is not.  So a lost hint,
 * of which nothing else would tell, costs a second at most.  A room that was
 * subscribed a moment ago is "stale" and asked for at once: only from the
 * confirmation on can nothing be missed.
 *
 * The fan-out has two queues: rooms that have something new, which is sent in
 * the turn that brought it, and rooms whose walk goes on, a slice a turn.  So a
 * small room does not stand behind a large one.  Each has a slice of a turn.
 *
 * Late arrivals: an answer about heads may name rooms that were closed since;
 * they are looked up again by their id.  Timers are cancelable: rooms alone
 * never keep an exiting worker.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


#define NGX_HTTP_FCCHAT_POLL_MAX  4096      /* rooms of one question */


typedef struct {
    ngx_queue_t                   queue;
    ngx_http_fcchat_hub_t        *hub;
    ngx_str_t                     schema;
    ngx_http_fcchat_store_ask_t  *ask;
} ngx_http_fcchat_poll_t;


static ngx_int_t ngx_http_fcchat_hub_links(ngx_http_fcchat_hub_t *hub);
static ngx_int_t ngx_http_fcchat_hub_channel(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *channel, const char *name);
static void ngx_http_fcchat_hub_empty(ngx_http_fcchat_hub_t *hub);
static void ngx_http_fcchat_hub_fanout(ngx_event_t *ev);
static void ngx_http_fcchat_hub_walk(ngx_event_t *ev);
static void ngx_http_fcchat_hub_slice(ngx_http_fcchat_hub_t *hub,
    ngx_queue_t *queue);
static void ngx_http_fcchat_hub_tick(ngx_event_t *ev);
static void ngx_http_fcchat_hub_poll(ngx_event_t *ev);
static ngx_uint_t ngx_http_fcchat_hub_polling(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema);
static ngx_int_t ngx_http_fcchat_hub_ask(ngx_http_fcchat_hub_t *hub,
    ngx_http_fcchat_room_t *first, ngx_queue_t **rest);
static void ngx_http_fcchat_hub_heads(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_uint_t ngx_http_fcchat_hub_hash(u_char *p, size_t len,
    ngx_uint_t n);


ngx_http_fcchat_hub_t *
ngx_http_fcchat_hub_create(ngx_http_fcchat_hub_conf_t *conf,
    ngx_http_fcchat_deflate_t *deflate, ngx_log_t *log)
{
    uint32_t                r[2];
    ngx_http_fcchat_hub_t  *hub;

    hub = ngx_calloc(sizeof(ngx_http_fcchat_hub_t), log);
    if (hub == NULL) {
        return NULL;
    }

    hub->conf = conf;
    hub->deflate = deflate;
    hub->log = log;

    r[0] = (uint32_t) ngx_random() ^ ((uint32_t) ngx_pid << 12);
    r[1] = (uint32_t) ngx_random() ^ (uint32_t) ngx_current_msec;

    (void) ngx_sprintf(hub->id, "%08xD%08xD", r[0], r[1]);

    hub->worker.data = hub->id;
    hub->worker.len = FCC_BUS_WORKER_LEN;

    ngx_rbtree_init(&hub->rooms, &hub->rooms_sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&hub->channels, &hub->channels_sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_queue_init(&hub->all);
    ngx_queue_init(&hub->dirty);
    ngx_queue_init(&hub->walking);
    ngx_queue_init(&hub->outbox);
    ngx_queue_init(&hub->counting);
    ngx_queue_init(&hub->polls);
    ngx_queue_init(&hub->tallies);
    ngx_queue_init(&hub->stamps);

    hub->fanout.handler = ngx_http_fcchat_hub_fanout;
    hub->walk.handler = ngx_http_fcchat_hub_walk;
    hub->publish.handler = ngx_http_fcchat_bus_publish;
    hub->react.handler = ngx_http_fcchat_counts_handler;
    hub->react.cancelable = 1;
    hub->tick.handler = ngx_http_fcchat_hub_tick;
    hub->tick.cancelable = 1;
    hub->spend.handler = ngx_http_fcchat_spent_handler;
    hub->spend.cancelable = 1;
    hub->present.handler = ngx_http_fcchat_presence_handler;
    hub->present.cancelable = 1;
    hub->poll.handler = ngx_http_fcchat_hub_poll;

    hub->fanout.data = hub;
    hub->walk.data = hub;
    hub->publish.data = hub;
    hub->react.data = hub;
    hub->tick.data = hub;
    hub->spend.data = hub;
    hub->present.data = hub;
    hub->poll.data = hub;

    hub->fanout.log = log;
    hub->walk.log = log;
    hub->publish.log = log;
    hub->react.log = log;
    hub->tick.log = log;
    hub->spend.log = log;
    hub->present.log = log;
    hub->poll.log = log;

    hub->store = ngx_http_fcchat_store_create(&conf->store, NULL, NULL, log);

    if (hub->store == NULL || ngx_http_fcchat_hub_links(hub) != NGX_OK) {
        ngx_http_fcchat_hub_destroy(hub);
        return NULL;
    }

    ngx_add_timer(&hub->tick, NGX_HTTP_FCCHAT_TICK_ALONE);

    return hub;
}


static ngx_int_t
ngx_http_fcchat_hub_links(ngx_http_fcchat_hub_t *hub)
{
    u_char                            *p;
    ngx_str_t                          beat;
    ngx_uint_t                         i;
    ngx_http_fcchat_link_t            *link;
    ngx_http_fcchat_redis_conf_t      *rcf;
    ngx_http_fcchat_redis_handlers_t   handlers;

    if (hub->conf->redis == NULL) {
        return NGX_OK;
    }

    rcf = hub->conf->redis->elts;

    hub->links = ngx_calloc(hub->conf->redis->nelts
                            * sizeof(ngx_http_fcchat_link_t), hub->log);
    if (hub->links == NULL) {
        return NGX_ERROR;
    }

    beat.len = hub->conf->prefix.len + sizeof(":beat:") - 1
               + FCC_BUS_WORKER_LEN;

    beat.data = ngx_alloc(beat.len, hub->log);
    if (beat.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(beat.data, "%V:beat:", &hub->conf->prefix);
    ngx_memcpy(p, hub->id, FCC_BUS_WORKER_LEN);

    if (ngx_http_fcchat_hub_channel(hub, &hub->rights, "rights") != NGX_OK
        || ngx_http_fcchat_hub_channel(hub, &hub->rates, "rates") != NGX_OK)
    {
        ngx_free(beat.data);
        return NGX_ERROR;
    }

    for (i = 0; i < hub->conf->redis->nelts; i++) {
        link = &hub->links[i];

        link->hub = hub;

        ngx_http_fcchat_bus_handlers(link, &handlers);

        link->redis = ngx_http_fcchat_redis_create(&rcf[i], &beat, &handlers,
                                                   hub->log);
        if (link->redis == NULL) {
            ngx_free(beat.data);
            return NGX_ERROR;
        }

        hub->nlinks++;

        if (ngx_http_fcchat_redis_subscribe(link->redis, &hub->rights)
            != NGX_OK)
        {
            ngx_free(beat.data);
            return NGX_ERROR;
        }
    }

    ngx_free(beat.data);

    return ngx_http_fcchat_redis_subscribe(
                                ngx_http_fcchat_hub_link(hub, &hub->rates),
                                &hub->rates);
}


static ngx_int_t
ngx_http_fcchat_hub_channel(ngx_http_fcchat_hub_t *hub, ngx_str_t *channel,
    const char *name)
{
    channel->data = ngx_alloc(hub->conf->prefix.len + 1 + ngx_strlen(name),
                              hub->log);
    if (channel->data == NULL) {
        return NGX_ERROR;
    }

    channel->len = ngx_sprintf(channel->data, "%V:%s", &hub->conf->prefix,
                               name)
                   - channel->data;

    return NGX_OK;
}


void
ngx_http_fcchat_hub_destroy(ngx_http_fcchat_hub_t *hub)
{
    ngx_uint_t               i;
    ngx_queue_t             *q;
    ngx_http_fcchat_poll_t  *poll;

    while (!ngx_queue_empty(&hub->polls)) {
        q = ngx_queue_head(&hub->polls);
        poll = ngx_queue_data(q, ngx_http_fcchat_poll_t, queue);

        ngx_http_fcchat_store_forget(poll->ask);
        ngx_queue_remove(q);
        ngx_free(poll);
    }

    ngx_http_fcchat_tallies_destroy(hub);

    /* what is not stored by now ends here, and lets go of its rooms */

    if (hub->store) {
        ngx_http_fcchat_store_destroy(hub->store);
        hub->store = NULL;
    }

    ngx_http_fcchat_stamps_destroy(hub);

    if (!ngx_queue_empty(&hub->outbox)) {
        ngx_http_fcchat_bus_publish(&hub->publish);
    }

    ngx_http_fcchat_hub_empty(hub);

    for (i = 0; i < hub->nlinks; i++) {
        ngx_http_fcchat_redis_destroy(hub->links[i].redis);
    }

    if (hub->tick.timer_set) {
        ngx_del_timer(&hub->tick);
    }

    if (hub->react.timer_set) {
        ngx_del_timer(&hub->react);
    }

    if (hub->spend.timer_set) {
        ngx_del_timer(&hub->spend);
    }

    if (hub->present.timer_set) {
        ngx_del_timer(&hub->present);
    }

    if (hub->fanout.posted) {
        ngx_delete_posted_event(&hub->fanout);
    }

    if (hub->walk.posted) {
        ngx_delete_posted_event(&hub->walk);
    }

    if (hub->publish.posted) {
        ngx_delete_posted_event(&hub->publish);
    }

    if (hub->poll.posted) {
        ngx_delete_posted_event(&hub->poll);
    }

    if (hub->links) {
        ngx_free(hub->links);
    }

    if (hub->rights.data) {
        ngx_free(hub->rights.data);
    }

    if (hub->rates.data) {
        ngx_free(hub->rates.data);
    }

    if (hub->spent.buf) {
        ngx_free(hub->spent.buf);
    }

    if (hub->scratch) {
        ngx_free(hub->scratch);
    }

    ngx_free(hub);
}


/* those that hold for all rooms of a schema are held by the others */

static void
ngx_http_fcchat_hub_empty(ngx_http_fcchat_hub_t *hub)
{
    ngx_uint_t               last;
    ngx_queue_t             *q, *next;
    ngx_http_fcchat_room_t  *room;

    for (last = 0; last < 2; last++) {

        for (q = ngx_queue_head(&hub->all);
             q != ngx_queue_sentinel(&hub->all);
             q = next)
        {
            next = ngx_queue_next(q);
            room = ngx_queue_data(q, ngx_http_fcchat_room_t, queue);

            if (last || room->id) {
                ngx_http_fcchat_room_destroy(room);
            }
        }
    }
}


ngx_http_fcchat_redis_t *
ngx_http_fcchat_hub_link(ngx_http_fcchat_hub_t *hub, ngx_str_t *channel)
{
    ngx_uint_t  i;

    if (hub->nlinks == 0) {
        return NULL;
    }

    i = ngx_http_fcchat_hub_hash(channel->data, channel->len, hub->nlinks);

    return hub->links[i].redis;
}


/*
 * Jump consistent hash (Lamping and Veach): another server in the list moves
 * only its share of the rooms.
 */

static ngx_uint_t
ngx_http_fcchat_hub_hash(u_char *p, size_t len, ngx_uint_t n)
{
    int64_t   b, j;
    uint64_t  key;

    key = ngx_crc32_long(p, len);
    b = -1;
    j = 0;

    while (j < (int64_t) n) {
        b = j;
        key = key * 2862933555777941757ULL + 1;
        j = (int64_t) ((double) (b + 1)
                       * ((double) (1LL << 31)
                          / (double) ((key >> 33) + 1)));
    }

    return (ngx_uint_t) b;
}


ngx_uint_t
ngx_http_fcchat_hub_hinted(ngx_http_fcchat_hub_t *hub)
{
    ngx_uint_t  i;

    for (i = 0; i < hub->nlinks; i++) {
        if (!ngx_http_fcchat_redis_up(hub->links[i].redis)) {
            return 0;
        }
    }

    return hub->nlinks != 0;
}


u_char *
ngx_http_fcchat_hub_scratch(ngx_http_fcchat_hub_t *hub, size_t size)
{
    if (hub->scratch_size >= size) {
        return hub->scratch;
    }

    if (hub->scratch) {
        ngx_free(hub->scratch);
    }

    hub->scratch = ngx_alloc(size, hub->log);
    hub->scratch_size = hub->scratch ? size : 0;

    return hub->scratch;
}


static void
ngx_http_fcchat_hub_fanout(ngx_event_t *ev)
{
    ngx_http_fcchat_hub_t  *hub;

    hub = ev->data;

    ngx_http_fcchat_hub_slice(hub, &hub->dirty);

    if (!ngx_queue_empty(&hub->dirty)) {
        ngx_post_event(&hub->fanout, &ngx_posted_next_events);
    }
}


static void
ngx_http_fcchat_hub_walk(ngx_event_t *ev)
{
    ngx_http_fcchat_hub_t  *hub;

    hub = ev->data;

    ngx_http_fcchat_hub_slice(hub, &hub->walking);
}


/* what is left of a room's walk waits behind the others' */

static void
ngx_http_fcchat_hub_slice(ngx_http_fcchat_hub_t *hub, ngx_queue_t *queue)
{
    ngx_int_t                budget;
    ngx_uint_t               i, again;
    ngx_queue_t             *q;
    ngx_http_fcchat_room_t  *room;

    budget = NGX_HTTP_FCCHAT_WALK_BUDGET;

    while (budget > 0 && !ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, dirty);

        ngx_queue_remove(q);
        room->in_dirty = 0;
        room->walked = ngx_current_msec;

        again = 0;

        for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES; i++) {
            if (ngx_http_fcchat_audience_walk(&room->audiences[i], &budget)
                == NGX_AGAIN)
            {
                again = 1;
            }
        }

        if (again && !room->in_dirty) {
            room->in_dirty = 1;
            ngx_queue_insert_tail(&hub->walking, &room->dirty);
        }
    }

    if (!ngx_queue_empty(&hub->walking)) {
        ngx_post_event(&hub->walk, &ngx_posted_next_events);
    }
}


static void
ngx_http_fcchat_hub_tick(ngx_event_t *ev)
{
    ngx_uint_t               whole;
    ngx_msec_t               next;
    ngx_queue_t             *q, *n;
    ngx_http_fcchat_hub_t   *hub;
    ngx_http_fcchat_room_t  *room;

    hub = ev->data;

    /* ticks are a little shorter than they are called */

    whole = ngx_current_msec - hub->ticked >= NGX_HTTP_FCCHAT_TICK * 3 / 4;

    ngx_http_fcchat_presence_poll(hub);

    if (whole) {
        hub->ticked = ngx_current_msec;
        ngx_http_fcchat_stat_rooms_begin(hub);
    }

    for (q = ngx_queue_head(&hub->all);
         q != ngx_queue_sentinel(&hub->all);
         q = n)
    {
        n = ngx_queue_next(q);
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, queue);

        room->stale = 1;

        if (!whole) {
            continue;
        }

        if (room->refs == 0
            && room->lookup == NULL
            && ngx_current_msec - room->idle > NGX_HTTP_FCCHAT_ROOM_LINGER)
        {
            ngx_http_fcchat_room_destroy(room);
            continue;
        }

        ngx_http_fcchat_ruled_tick(room);

        if (room->id == 0) {
            continue;
        }

        ngx_http_fcchat_room_recheck(room);
        ngx_http_fcchat_viewers_tick(room);
        ngx_http_fcchat_presence_tick(room);
        ngx_http_fcchat_room_resuming(room);

        ngx_http_fcchat_stat_room(hub, &room->schema, &room->name,
                                  ngx_http_fcchat_room_members(room));
    }

    if (whole) {
        ngx_http_fcchat_stat_rooms_end(ngx_exiting);
    }

    ngx_http_fcchat_hub_poll_soon(hub);
    ngx_http_fcchat_tally(hub);

    if (ngx_exiting && hub->nrooms == 0) {
        return;
    }

    /*
     * jittered, or all workers would ask in the same moment; and below what is
     * promised, by the time that the question takes
     */

    next = ngx_http_fcchat_hub_hinted(hub) ? NGX_HTTP_FCCHAT_TICK
                                           : NGX_HTTP_FCCHAT_TICK_ALONE;

    next = next - next / 6 + (ngx_msec_t) ngx_random() % (next / 8);

    ngx_add_timer(ev, next);
}


void
ngx_http_fcchat_hub_poll_soon(ngx_http_fcchat_hub_t *hub)
{
    if (!ngx_queue_empty(&hub->all)) {
        ngx_post_event(&hub->poll, &ngx_posted_events);
    }
}


static void
ngx_http_fcchat_hub_poll(ngx_event_t *ev)
{
    ngx_queue_t             *q, *rest;
    ngx_http_fcchat_hub_t   *hub;
    ngx_http_fcchat_room_t  *room;

    hub = ev->data;
    rest = NULL;

    for (q = ngx_queue_head(&hub->all);
         q != ngx_queue_sentinel(&hub->all);
         q = ngx_queue_next(q))
    {
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, queue);

        if (!room->stale || ngx_http_fcchat_hub_polling(hub, &room->schema)) {
            continue;
        }

        if (ngx_http_fcchat_hub_ask(hub, room, &rest) != NGX_OK) {
            return;
        }
    }

    /*
     * whom a question had no place for comes first the next time: all are stale
     * again by then if PostgreSQL takes longer than a tick
     */

    if (rest) {
        ngx_queue_remove(&hub->all);
        ngx_queue_insert_tail(rest, &hub->all);
    }
}


/* a schema is asked once at a time, so that one that hangs holds up no other */

static ngx_uint_t
ngx_http_fcchat_hub_polling(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema)
{
    ngx_queue_t             *q;
    ngx_http_fcchat_poll_t  *poll;

    for (q = ngx_queue_head(&hub->polls);
         q != ngx_queue_sentinel(&hub->polls);
         q = ngx_queue_next(q))
    {
        poll = ngx_queue_data(q, ngx_http_fcchat_poll_t, queue);

        if (poll->schema.len == schema->len
            && ngx_memcmp(poll->schema.data, schema->data, schema->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* asks for the stale rooms of one schema; rest: where a full question ends */

static ngx_int_t
ngx_http_fcchat_hub_ask(ngx_http_fcchat_hub_t *hub,
    ngx_http_fcchat_room_t *first, ngx_queue_t **rest)
{
    int64_t                 *ids;
    ngx_uint_t               n;
    ngx_queue_t             *q;
    ngx_http_fcchat_poll_t  *poll;
    ngx_http_fcchat_room_t  *room;

    poll = ngx_alloc(sizeof(ngx_http_fcchat_poll_t) + first->schema.len,
                     hub->log);
    ids = ngx_alloc(ngx_min(hub->nrooms, NGX_HTTP_FCCHAT_POLL_MAX)
                    * sizeof(int64_t), hub->log);

    if (poll == NULL || ids == NULL) {
        goto failed;
    }

    poll->hub = hub;
    poll->schema.len = first->schema.len;
    poll->schema.data = (u_char *) poll + sizeof(ngx_http_fcchat_poll_t);
    ngx_memcpy(poll->schema.data, first->schema.data, first->schema.len);

    n = 0;

    for (q = &first->queue;
         q != ngx_queue_sentinel(&hub->all) && n < NGX_HTTP_FCCHAT_POLL_MAX;
         q = ngx_queue_next(q))
    {
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, queue);

        if (room->stale
            && room->schema.len == poll->schema.len
            && ngx_memcmp(room->schema.data, poll->schema.data,
                          poll->schema.len)
               == 0)
        {
            room->stale = 0;
            room->asked = room->have;
            room->polled++;
            ids[n++] = room->id;
        }
    }

    poll->ask = ngx_http_fcchat_store_heads(hub->store, &poll->schema, ids, n,
                                            ngx_http_fcchat_hub_heads, poll);
    if (poll->ask == NULL) {
        goto failed;
    }

    if (q != ngx_queue_sentinel(&hub->all)) {
        *rest = q;
    }

    ngx_free(ids);
    ngx_queue_insert_tail(&hub->polls, &poll->queue);

    return NGX_OK;

failed:

    if (poll) {
        ngx_free(poll);
    }

    if (ids) {
        ngx_free(ids);
    }

    return NGX_ERROR;
}


static void
ngx_http_fcchat_hub_heads(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_uint_t                     i;
    ngx_http_fcchat_hub_t         *hub;
    ngx_http_fcchat_room_t        *room;
    ngx_http_fcchat_poll_t        *poll;
    ngx_http_fcchat_store_head_t  *head;

    poll = data;
    hub = poll->hub;

    ngx_queue_remove(&poll->queue);

    if (answer->rc == NGX_HTTP_FCCHAT_STORE_OK) {

        for (i = 0; i < answer->n; i++) {
            head = &answer->heads[i];

            room = ngx_http_fcchat_room_by_id(hub, &poll->schema,
                                              head->room_id);
            if (room == NULL) {
                continue;
            }

            if (ngx_http_fcchat_room_same_epoch(room, &head->epoch)) {

                if (head->head < room->asked) {
                    ngx_http_fcchat_room_back(room, room->asked, head->head);
                    continue;
                }

                if (head->head <= room->have) {
                    ngx_http_fcchat_room_ahead(room);
                }
            }

            ngx_http_fcchat_room_head(room, &head->epoch, head->head);
        }

        ngx_http_fcchat_hub_poll_soon(hub);
    }

    ngx_free(poll);
}
