
/*
 * Counts of readers by way of PostgreSQL, for as long as the bus can't be
 * relied on: one question for a worker and schema in about a second, which
 * tells what this worker has and brings what the others have.
 *
 * A room that has lost its last reader here is told of once more.  A schema
 * that lacks the table is left alone for a minute: chat does not need it.
 *
 * Late answers: rooms that were closed since are looked up again by their id.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


#define NGX_HTTP_FCCHAT_TALLY_MAX    4096       /* rooms of one question */
#define NGX_HTTP_FCCHAT_TALLY_EVERY  800        /* ms, and up to a tick */
#define NGX_HTTP_FCCHAT_TALLY_AGAIN  60000      /* ms, without the table */


typedef struct {
    ngx_queue_t                   queue;
    ngx_http_fcchat_hub_t        *hub;
    ngx_http_fcchat_store_ask_t  *ask;          /* NULL: the table is missing */
    ngx_msec_t                    since;
    ngx_str_t                     schema;
} ngx_http_fcchat_tally_t;


static void ngx_http_fcchat_tally_expire(ngx_http_fcchat_hub_t *hub);
static ngx_uint_t ngx_http_fcchat_tally_due(ngx_http_fcchat_room_t *room);
static ngx_http_fcchat_tally_t *ngx_http_fcchat_tally_find(
    ngx_http_fcchat_hub_t *hub, ngx_str_t *schema);
static ngx_int_t ngx_http_fcchat_tally_ask(ngx_http_fcchat_hub_t *hub,
    ngx_http_fcchat_room_t *first);
static ngx_uint_t ngx_http_fcchat_tally_collect(ngx_http_fcchat_hub_t *hub,
    ngx_http_fcchat_room_t *first, int64_t *ids, int64_t *counts);
static void ngx_http_fcchat_tally_done(void *data,
    ngx_http_fcchat_store_answer_t *answer);


void
ngx_http_fcchat_tally(ngx_http_fcchat_hub_t *hub)
{
    ngx_queue_t             *q;
    ngx_http_fcchat_room_t  *room;

    ngx_http_fcchat_tally_expire(hub);

    if (ngx_http_fcchat_hub_hinted(hub)) {
        return;
    }

    for (q = ngx_queue_head(&hub->all);
         q != ngx_queue_sentinel(&hub->all);
         q = ngx_queue_next(q))
    {
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, queue);

        if (!ngx_http_fcchat_tally_due(room)
            || ngx_http_fcchat_tally_find(hub, &room->schema))
        {
            continue;
        }

        if (ngx_http_fcchat_tally_ask(hub, room) != NGX_OK) {
            return;
        }
    }
}


static void
ngx_http_fcchat_tally_expire(ngx_http_fcchat_hub_t *hub)
{
    ngx_queue_t              *q, *next;
    ngx_http_fcchat_tally_t  *tally;

    for (q = ngx_queue_head(&hub->tallies);
         q != ngx_queue_sentinel(&hub->tallies);
         q = next)
    {
        next = ngx_queue_next(q);
        tally = ngx_queue_data(q, ngx_http_fcchat_tally_t, queue);

        if (tally->ask == NULL
            && ngx_current_msec - tally->since >= NGX_HTTP_FCCHAT_TALLY_AGAIN)
        {
            ngx_queue_remove(q);
            ngx_free(tally);
        }
    }
}


static ngx_uint_t
ngx_http_fcchat_tally_due(ngx_http_fcchat_room_t *room)
{
    return (ngx_http_fcchat_room_members(room) || room->tally)
           && ngx_current_msec - room->tallied_at
              >= NGX_HTTP_FCCHAT_TALLY_EVERY;
}


static ngx_http_fcchat_tally_t *
ngx_http_fcchat_tally_find(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema)
{
    ngx_queue_t              *q;
    ngx_http_fcchat_tally_t  *tally;

    for (q = ngx_queue_head(&hub->tallies);
         q != ngx_queue_sentinel(&hub->tallies);
         q = ngx_queue_next(q))
    {
        tally = ngx_queue_data(q, ngx_http_fcchat_tally_t, queue);

        if (tally->schema.len == schema->len
            && ngx_memcmp(tally->schema.data, schema->data, schema->len) == 0)
        {
            return tally;
        }
    }

    return NULL;
}


/* for the rooms of one schema that are due */

static ngx_int_t
ngx_http_fcchat_tally_ask(ngx_http_fcchat_hub_t *hub,
    ngx_http_fcchat_room_t *first)
{
    int64_t                  *ids, *counts;
    ngx_str_t                 worker;
    ngx_uint_t                n;
    ngx_http_fcchat_tally_t  *tally;

    n = ngx_min(hub->nrooms, NGX_HTTP_FCCHAT_TALLY_MAX);

    tally = ngx_alloc(sizeof(ngx_http_fcchat_tally_t) + first->schema.len,
                      hub->log);
    ids = ngx_alloc(2 * n * sizeof(int64_t), hub->log);

    if (tally == NULL || ids == NULL) {
        goto failed;
    }

    counts = ids + n;

    tally->hub = hub;
    tally->schema.len = first->schema.len;
    tally->schema.data = (u_char *) tally + sizeof(ngx_http_fcchat_tally_t);
    ngx_memcpy(tally->schema.data, first->schema.data, first->schema.len);

    n = ngx_http_fcchat_tally_collect(hub, first, ids, counts);

    worker.data = hub->id;
    worker.len = FCC_BUS_WORKER_LEN;

    tally->ask = ngx_http_fcchat_store_viewers(hub->store, &tally->schema,
                                               &worker, ids, counts, n,
                                               ngx_http_fcchat_tally_done,
                                               tally);
    if (tally->ask == NULL) {
        goto failed;
    }

    ngx_free(ids);
    ngx_queue_insert_tail(&hub->tallies, &tally->queue);

    return NGX_OK;

failed:

    if (tally) {
        ngx_free(tally);
    }

    if (ids) {
        ngx_free(ids);
    }

    return NGX_ERROR;
}


static ngx_uint_t
ngx_http_fcchat_tally_collect(ngx_http_fcchat_hub_t *hub,
    ngx_http_fcchat_room_t *first, int64_t *ids, int64_t *counts)
{
    ngx_uint_t               n;
    ngx_queue_t             *q;
    ngx_http_fcchat_room_t  *room;

    n = 0;

    for (q = &first->queue;
         q != ngx_queue_sentinel(&hub->all) && n < NGX_HTTP_FCCHAT_TALLY_MAX;
         q = ngx_queue_next(q))
    {
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, queue);

        if (ngx_http_fcchat_tally_due(room)
            && room->schema.len == first->schema.len
            && ngx_memcmp(room->schema.data, first->schema.data,
                          first->schema.len)
               == 0)
        {
            room->tally = ngx_http_fcchat_room_members(room);
            room->tallied_at = ngx_current_msec;

            ids[n] = room->id;
            counts[n++] = room->tally;
        }
    }

    return n;
}


static void
ngx_http_fcchat_tally_done(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_uint_t                        i;
    ngx_queue_t                      *q;
    ngx_http_fcchat_hub_t            *hub;
    ngx_http_fcchat_room_t           *room;
    ngx_http_fcchat_tally_t          *tally;
    ngx_http_fcchat_store_viewers_t  *v;

    tally = data;
    hub = tally->hub;

    if (answer->rc == NGX_HTTP_FCCHAT_STORE_SCHEMA) {
        tally->ask = NULL;
        tally->since = ngx_current_msec;
        return;
    }

    for (i = 0; i < answer->n; i++) {
        v = &answer->viewers[i];

        if (v->worker.len != FCC_BUS_WORKER_LEN) {
            continue;
        }

        room = ngx_http_fcchat_room_by_id(hub, &tally->schema, v->room_id);

        if (room) {
            ngx_http_fcchat_viewers_peer(room, v->worker.data, v->count,
                                         (ngx_msec_t) v->age);
        }
    }

    ngx_queue_remove(&tally->queue);
    ngx_free(tally);

    /* the next tick is too late for what has gone through two questions */

    for (q = ngx_queue_head(&hub->all);
         q != ngx_queue_sentinel(&hub->all);
         q = ngx_queue_next(q))
    {
        ngx_http_fcchat_viewers_tell(ngx_queue_data(q, ngx_http_fcchat_room_t,
                                                    queue));
    }
}


void
ngx_http_fcchat_tallies_destroy(ngx_http_fcchat_hub_t *hub)
{
    ngx_queue_t              *q;
    ngx_http_fcchat_tally_t  *tally;

    while (!ngx_queue_empty(&hub->tallies)) {
        q = ngx_queue_head(&hub->tallies);
        tally = ngx_queue_data(q, ngx_http_fcchat_tally_t, queue);

        if (tally->ask) {
            ngx_http_fcchat_store_forget(tally->ask);
        }

        ngx_queue_remove(q);
        ngx_free(tally);
    }
}
