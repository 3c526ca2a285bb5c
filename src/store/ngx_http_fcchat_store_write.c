
/*
 * The write queue: items become batches by themselves.
 *
 * A lane is what one schema has to write.  It is made by the first item and
 * freed when nothing is left, so that a schema whose tables are locked or
 * missing does not hold up the others.  A lane is
 *
 *   posted    items wait, and go with this turn of the event loop;
 *   sent      a job is in flight with lane->sent, and lane->items gathers;
 *   resting   the server could not: the same items go again after a pause, or
 *             at once when the connection is back.
 *
 * lane->items and lane->sent own their items; what came back from a failed job
 * takes its former place, so lane->items is in the order of write(), and what
 * one user says in a room is stored in that order.
 *
 * When a row is at fault the batch is halved until the row stands alone; it is
 * refused, and its neighbours are committed.  Meanwhile lane->suspect counts
 * the items at the front among which it must be.
 *
 * Whether the server is at fault, or a row, can't be told by the error: a row
 * may wait for one that the site has locked, and a trigger may raise any code.
 * So the batch is halved then as well; but the row that stands alone keeps its
 * time.  What its user says in that room is put apart for a moment, and the
 * others go on, one by one until one of them is committed: as long as none is,
 * it is the server, and the lane rests in between.
 *
 * A transaction of the site may hold the head of a room for long, or rows that
 * those of the batch refer to.  Then the lane turns wary: its batches hardly
 * wait for a lock, and leave out the rooms whose heads are held, which are put
 * apart.  It is so until nothing is apart any more.
 *
 * An item that got no answer until its deadline ends as UNAVAILABLE.  Where the
 * connection was lost between commit and answer it may be in the log all the
 * same: no acknowledgement means unknown, and whoever sends the same cid again
 * gets the number it has.  An item in flight waits for the end of its job,
 * which the pool's timeout bounds, so it may take that much longer.
 */


#include <ngx_http_fcchat_store_int.h>
#include <sys/random.h>


#define NGX_HTTP_FCCHAT_STORE_CID_LEN    (1 + 2 * 16)   /* '~' and hex digits */

#define NGX_HTTP_FCCHAT_STORE_PAUSE      50             /* ms, the first */
#define NGX_HTTP_FCCHAT_STORE_PAUSE_MAX  250


typedef struct {
    ngx_str_node_t                 sn;
    ngx_http_fcchat_store_t       *store;
    ngx_queue_t                    items;
    ngx_queue_t                    sent;
    ngx_uint_t                     nsent;
    ngx_uint_t                     suspect;
    ngx_http_fcchat_pg_job_t      *job;
    ngx_event_t                    event;
    ngx_msec_t                     pause;
    ngx_http_fcchat_store_apart_t  apart;
    unsigned                       resting:1;
    unsigned                       wary:1;
    unsigned                       vain:1;      /* no commit since one was put
                                                 * apart */
    u_char                         schema[NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX];
} ngx_http_fcchat_store_lane_t;


static void ngx_http_fcchat_store_make_cid(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_store_item_t *item);
static ngx_http_fcchat_store_lane_t *ngx_http_fcchat_store_lane(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema);
static void ngx_http_fcchat_store_lane_free(
    ngx_http_fcchat_store_lane_t *lane);
static void ngx_http_fcchat_store_lane_event(ngx_event_t *ev);
static void ngx_http_fcchat_store_lane_run(
    ngx_http_fcchat_store_lane_t *lane);
static ngx_uint_t ngx_http_fcchat_store_lane_expire(
    ngx_http_fcchat_store_lane_t *lane);
static void ngx_http_fcchat_store_lane_send(
    ngx_http_fcchat_store_lane_t *lane);
static void ngx_http_fcchat_store_lane_take(
    ngx_http_fcchat_store_lane_t *lane);
static ngx_uint_t ngx_http_fcchat_store_lane_back(
    ngx_http_fcchat_store_lane_t *lane, ngx_uint_t busy);
static void ngx_http_fcchat_store_lane_rest(
    ngx_http_fcchat_store_lane_t *lane);
static void ngx_http_fcchat_store_lane_done(ngx_http_fcchat_pg_job_t *job);
static void ngx_http_fcchat_store_lane_failed(
    ngx_http_fcchat_store_lane_t *lane, ngx_http_fcchat_pg_job_t *job);
static void ngx_http_fcchat_store_lane_alone(
    ngx_http_fcchat_store_lane_t *lane, ngx_uint_t locked);
static void ngx_http_fcchat_store_lane_committed(
    ngx_http_fcchat_store_lane_t *lane, ngx_http_fcchat_pg_job_t *job);
static ngx_uint_t ngx_http_fcchat_store_lane_busy(
    ngx_http_fcchat_store_lane_t *lane);
static void ngx_http_fcchat_store_lane_finish(
    ngx_http_fcchat_store_lane_t *lane, ngx_http_fcchat_store_rc_e rc);
static void ngx_http_fcchat_store_item_done(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_store_item_t *item);


ngx_http_fcchat_store_item_t *
ngx_http_fcchat_store_item(ngx_str_t *cid, ngx_str_t *text,
    ngx_str_t *username, ngx_str_t *role)
{
    u_char                        *p;
    size_t                         size, cid_len;
    ngx_http_fcchat_store_item_t  *item;

    cid_len = cid->len ? cid->len : NGX_HTTP_FCCHAT_STORE_CID_LEN;

    size = sizeof(ngx_http_fcchat_store_item_t) + cid_len + text->len
           + username->len + role->len;

    item = ngx_alloc(size, ngx_cycle->log);
    if (item == NULL) {
        return NULL;
    }

    ngx_memzero(item, sizeof(ngx_http_fcchat_store_item_t));

    p = (u_char *) item + sizeof(ngx_http_fcchat_store_item_t);

    item->cid.data = p;
    item->cid.len = cid->len;

    if (cid->len) {
        ngx_memcpy(p, cid->data, cid->len);
    }

    p += cid_len;

    item->text.data = p;
    item->text.len = text->len;
    p = ngx_cpymem(p, text->data, text->len);

    item->username.data = p;
    item->username.len = username->len;
    p = ngx_cpymem(p, username->data, username->len);

    item->role.data = p;
    item->role.len = role->len;
    ngx_memcpy(p, role->data, role->len);

    item->size = size;

    return item;
}


void
ngx_http_fcchat_store_item_free(ngx_http_fcchat_store_item_t *item)
{
    ngx_free(item);
}


void
ngx_http_fcchat_store_write_init(ngx_http_fcchat_store_t *store)
{
    ngx_rbtree_init(&store->lanes, &store->sentinel,
                    ngx_str_rbtree_insert_value);

    if (getrandom(&store->seed, sizeof(uint64_t), GRND_NONBLOCK)
        != sizeof(uint64_t))
    {
        store->seed = ((uint64_t) ngx_random() << 33)
                      ^ ((uint64_t) ngx_pid << 16) ^ (uint64_t) ngx_random();
    }
}


ngx_int_t
ngx_http_fcchat_store_write(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_store_item_t *item)
{
    ngx_http_fcchat_store_lane_t  *lane;

    if (store->closing
        || store->size + item->size > NGX_HTTP_FCCHAT_STORE_QUEUE_MAX)
    {
        return NGX_BUSY;
    }

    /* a C string would end there */

    if (memchr(item->text.data, '\0', item->text.len) != NULL
        || memchr(item->cid.data, '\0', item->cid.len) != NULL)
    {
        return NGX_ERROR;
    }

    lane = ngx_http_fcchat_store_lane(store, &item->schema);
    if (lane == NULL) {
        return NGX_ERROR;
    }

    if (item->cid.len == 0) {
        ngx_http_fcchat_store_make_cid(store, item);
    }

    item->deadline = ngx_current_msec + NGX_HTTP_FCCHAT_STORE_WAIT;
    item->taken = ngx_http_fcchat_stat_now();

    ngx_queue_insert_tail(&lane->items, &item->queue);

    store->nitems++;
    ngx_http_fcchat_stat_gauge(UNSTORED, 1);
    store->size += item->size;

    if (lane->job == NULL && !lane->resting && !lane->event.posted) {
        ngx_post_event(&lane->event, &ngx_posted_events);
    }

    return NGX_OK;
}


static void
ngx_http_fcchat_store_make_cid(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_store_item_t *item)
{
    ngx_sprintf(item->cid.data, "~%016xL%016xL", store->seed, store->serial++);

    item->cid.len = NGX_HTTP_FCCHAT_STORE_CID_LEN;
    item->made_cid = 1;
}


static ngx_http_fcchat_store_lane_t *
ngx_http_fcchat_store_lane(ngx_http_fcchat_store_t *store, ngx_str_t *schema)
{
    u_char                         ident[NGX_HTTP_FCCHAT_STORE_IDENT_LEN];
    uint32_t                       hash;
    ngx_http_fcchat_store_lane_t  *lane;

    hash = ngx_crc32_short(schema->data, schema->len);

    lane = (ngx_http_fcchat_store_lane_t *)
               ngx_str_rbtree_lookup(&store->lanes, schema, hash);
    if (lane) {
        return lane;
    }

    if (ngx_http_fcchat_store_ident(ident, schema) == NULL) {
        return NULL;
    }

    lane = ngx_calloc(sizeof(ngx_http_fcchat_store_lane_t), store->log);
    if (lane == NULL) {
        return NULL;
    }

    lane->store = store;

    ngx_queue_init(&lane->items);
    ngx_queue_init(&lane->sent);

    ngx_memcpy(lane->schema, schema->data, schema->len);

    lane->sn.str.data = lane->schema;
    lane->sn.str.len = schema->len;
    lane->sn.node.key = hash;

    lane->event.handler = ngx_http_fcchat_store_lane_event;
    lane->event.data = lane;
    lane->event.log = store->log;

    ngx_rbtree_insert(&store->lanes, &lane->sn.node);

    return lane;
}


static void
ngx_http_fcchat_store_lane_free(ngx_http_fcchat_store_lane_t *lane)
{
    if (lane->event.timer_set) {
        ngx_del_timer(&lane->event);
    }

    if (lane->event.posted) {
        ngx_delete_posted_event(&lane->event);
    }

    ngx_rbtree_delete(&lane->store->lanes, &lane->sn.node);

    ngx_free(lane);
}


static void
ngx_http_fcchat_store_lane_event(ngx_event_t *ev)
{
    ngx_http_fcchat_store_lane_t *lane = ev->data;

    if (ev->timedout) {
        ev->timedout = 0;
        lane->resting = 0;
    }

    ngx_http_fcchat_store_lane_run(lane);
}


/* does what can be done now; the lane may be gone afterwards */

static void
ngx_http_fcchat_store_lane_run(ngx_http_fcchat_store_lane_t *lane)
{
    ngx_msec_int_t                 left;
    ngx_http_fcchat_store_t       *store;
    ngx_http_fcchat_store_item_t  *item;

    store = lane->store;

    if (ngx_http_fcchat_store_lane_expire(lane) && store->drained) {
        store->drained(store->data);
    }

    if (lane->job == NULL
        && !lane->resting
        && !ngx_queue_empty(&lane->items))
    {
        ngx_http_fcchat_store_lane_send(lane);
    }

    if (lane->job == NULL && ngx_queue_empty(&lane->items)) {
        ngx_http_fcchat_store_lane_free(lane);
        return;
    }

    if (lane->resting) {
        return;
    }

    if (ngx_queue_empty(&lane->items)) {
        if (lane->event.timer_set) {
            ngx_del_timer(&lane->event);
        }

        return;
    }

    item = ngx_queue_data(ngx_queue_head(&lane->items),
                          ngx_http_fcchat_store_item_t, queue);

    left = (ngx_msec_int_t) (item->deadline - ngx_current_msec);

    if (lane->job == NULL) {

        /* all that is left is apart */

        left = ngx_http_fcchat_store_apart_left(&lane->apart, left);

        if (lane->event.timer_set) {
            ngx_del_timer(&lane->event);
        }
    }

    ngx_add_timer(&lane->event, ngx_max(left, 0) + 1);
}


static ngx_uint_t
ngx_http_fcchat_store_lane_expire(ngx_http_fcchat_store_lane_t *lane)
{
    ngx_uint_t                     n, stopped;
    ngx_queue_t                   *q;
    ngx_http_fcchat_store_item_t  *item;

    n = 0;

    /* a worker that may not stay any longer does not wait for a deadline */

    stopped = ngx_http_fcchat_pg_stopped(lane->store->pg);

    while (!ngx_queue_empty(&lane->items)) {
        q = ngx_queue_head(&lane->items);
        item = ngx_queue_data(q, ngx_http_fcchat_store_item_t, queue);

        if (!stopped
            && (ngx_msec_int_t) (item->deadline - ngx_current_msec) > 0)
        {
            break;
        }

        ngx_queue_remove(q);

        if (lane->suspect) {
            lane->suspect--;
        }

        item->rc = NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;
        ngx_http_fcchat_store_item_done(lane->store, item);
        n++;
    }

    return n;
}


static void
ngx_http_fcchat_store_lane_send(ngx_http_fcchat_store_lane_t *lane)
{
    ngx_http_fcchat_pg_job_t  *job;

    ngx_http_fcchat_store_lane_take(lane);

    if (lane->nsent == 0) {
        return;
    }

    job = ngx_http_fcchat_store_append(lane->store, &lane->sn.str,
                                       &lane->sent, !lane->wary);
    if (job) {
        job->handler = ngx_http_fcchat_store_lane_done;
        job->data = lane;

        if (ngx_http_fcchat_pg_send(lane->store->pg, NGX_HTTP_FCCHAT_PG_WRITE,
                                    job)
            == NGX_OK)
        {
            lane->job = job;
            return;
        }

        ngx_http_fcchat_pg_discard(job);
    }

    (void) ngx_http_fcchat_store_lane_back(lane, 0);
    ngx_http_fcchat_store_lane_rest(lane);
}


static void
ngx_http_fcchat_store_lane_take(ngx_http_fcchat_store_lane_t *lane)
{
    ngx_uint_t                     n, max;
    ngx_queue_t                   *q, *next;
    ngx_http_fcchat_store_item_t  *item;

    /* whose time apart is over goes alone, one at a time: its item is among the
     * oldest, and the others lose nothing by it */

    if (lane->suspect == 0
        && ngx_http_fcchat_store_apart_over(&lane->apart))
    {
        lane->suspect = 1;
    }

again:

    max = lane->suspect ? (lane->suspect + 1) / 2
                        : NGX_HTTP_FCCHAT_STORE_BATCH_MAX;
    n = 0;

    for (q = ngx_queue_head(&lane->items);
         q != ngx_queue_sentinel(&lane->items) && n < max;
         q = next)
    {
        next = ngx_queue_next(q);
        item = ngx_queue_data(q, ngx_http_fcchat_store_item_t, queue);

        if (ngx_http_fcchat_store_apart(&lane->apart, item->room_id,
                                        item->user_id))
        {
            continue;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&lane->sent, q);
        n++;
    }

    if (n == 0 && ngx_http_fcchat_store_apart_over(&lane->apart)) {
        lane->suspect = 1;
        goto again;
    }

    lane->nsent = n;
}


/* busy: only what the answer calls so; gives the number of items */

static ngx_uint_t
ngx_http_fcchat_store_lane_back(ngx_http_fcchat_store_lane_t *lane,
    ngx_uint_t busy)
{
    ngx_uint_t                     n;
    ngx_queue_t                   *q, *next, *place;
    ngx_http_fcchat_store_item_t  *item, *other;

    n = 0;
    place = ngx_queue_head(&lane->items);

    for (q = ngx_queue_head(&lane->sent);
         q != ngx_queue_sentinel(&lane->sent);
         q = next)
    {
        next = ngx_queue_next(q);
        item = ngx_queue_data(q, ngx_http_fcchat_store_item_t, queue);

        if (busy && item->rc != NGX_HTTP_FCCHAT_STORE_UNAVAILABLE) {
            continue;
        }

        /* what was apart meanwhile may have been there before */

        while (place != ngx_queue_sentinel(&lane->items)) {
            other = ngx_queue_data(place, ngx_http_fcchat_store_item_t, queue);

            if ((ngx_msec_int_t) (other->deadline - item->deadline) >= 0) {
                break;
            }

            place = ngx_queue_next(place);
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(place, q);
        n++;
    }

    return n;
}


static void
ngx_http_fcchat_store_lane_rest(ngx_http_fcchat_store_lane_t *lane)
{
    lane->pause = lane->pause ? ngx_min(2 * lane->pause,
                                        NGX_HTTP_FCCHAT_STORE_PAUSE_MAX)
                              : NGX_HTTP_FCCHAT_STORE_PAUSE;
    lane->resting = 1;

    /* a timer that is set is not moved by less than 300 ms */

    if (lane->event.timer_set) {
        ngx_del_timer(&lane->event);
    }

    ngx_add_timer(&lane->event, lane->pause);
}


static void
ngx_http_fcchat_store_lane_done(ngx_http_fcchat_pg_job_t *job)
{
    ngx_http_fcchat_store_t       *store;
    ngx_http_fcchat_store_lane_t  *lane;

    lane = job->data;
    store = lane->store;

    lane->job = NULL;

    switch (ngx_http_fcchat_store_fate(store, job, &lane->sn.str,
                                       NGX_HTTP_FCCHAT_STORE_FILE))
    {

    case NGX_HTTP_FCCHAT_STORE_DONE:
        ngx_http_fcchat_store_lane_committed(lane, job);
        break;

    case NGX_HTTP_FCCHAT_STORE_NOWHERE:
        lane->suspect = 0;
        ngx_http_fcchat_store_lane_finish(lane, NGX_HTTP_FCCHAT_STORE_SCHEMA);
        break;

    case NGX_HTTP_FCCHAT_STORE_MISSING:
        if (lane->nsent == 1) {

            /* the next one alone, too: the schema may be what lacks it */

            lane->suspect = 1;
            ngx_http_fcchat_store_lane_finish(lane,
                                              NGX_HTTP_FCCHAT_STORE_SCHEMA);
            break;
        }

        ngx_http_fcchat_store_lane_failed(lane, job);
        break;

    case NGX_HTTP_FCCHAT_STORE_ROW:
        if (lane->nsent == 1) {
            lane->suspect = 0;
            ngx_http_fcchat_store_lane_finish(lane,
                                              NGX_HTTP_FCCHAT_STORE_REJECTED);
            break;
        }

        ngx_http_fcchat_store_lane_failed(lane, job);
        break;

    default:
        if (job->status == NGX_HTTP_FCCHAT_PG_FAILED) {
            ngx_http_fcchat_store_lane_failed(lane, job);
            break;
        }

        (void) ngx_http_fcchat_store_lane_back(lane, 0);
        ngx_http_fcchat_store_lane_rest(lane);
        break;
    }

    if (store->drained) {
        store->drained(store->data);
    }

    if (!store->closing) {
        ngx_http_fcchat_store_lane_run(lane);
    }
}


static void
ngx_http_fcchat_store_lane_failed(ngx_http_fcchat_store_lane_t *lane,
    ngx_http_fcchat_pg_job_t *job)
{
    ngx_uint_t  locked;

    locked = (ngx_strcmp(job->sqlstate, "55P03") == 0);

    if (locked && !lane->wary) {
        lane->wary = 1;

    } else if (lane->nsent > 1) {
        lane->suspect = lane->nsent;

    } else {
        ngx_http_fcchat_store_lane_alone(lane, locked);
    }

    (void) ngx_http_fcchat_store_lane_back(lane, 0);
}


/* locked: the second one in a room makes it the row of the room */

static void
ngx_http_fcchat_store_lane_alone(ngx_http_fcchat_store_lane_t *lane,
    ngx_uint_t locked)
{
    int64_t                        user_id;
    ngx_int_t                      rc;
    ngx_http_fcchat_store_item_t  *item;

    item = ngx_queue_data(ngx_queue_head(&lane->sent),
                          ngx_http_fcchat_store_item_t, queue);

    user_id = item->user_id;

    if (locked && ngx_http_fcchat_store_apart(&lane->apart, item->room_id, 0)) {
        user_id = 0;
    }

    rc = ngx_http_fcchat_store_apart_put(&lane->apart, item->room_id, user_id,
                                         NGX_HTTP_FCCHAT_STORE_PAUSE_MAX);

    lane->suspect = 1;

    if (lane->vain || rc != NGX_OK) {
        ngx_http_fcchat_store_lane_rest(lane);
    }

    lane->vain = 1;
}


static void
ngx_http_fcchat_store_lane_committed(ngx_http_fcchat_store_lane_t *lane,
    ngx_http_fcchat_pg_job_t *job)
{
    ngx_uint_t  busy;

    if (ngx_http_fcchat_store_append_read(job, &lane->sent, lane->nsent)
        != NGX_OK)
    {
        /* committed, but not told how: the cids will give the numbers */

        ngx_http_fcchat_store_malformed(lane->store, "a batch");

        (void) ngx_http_fcchat_store_lane_back(lane, 0);
        ngx_http_fcchat_store_lane_rest(lane);
        return;
    }

    lane->pause = 0;
    lane->vain = 0;

    busy = lane->wary ? ngx_http_fcchat_store_lane_busy(lane) : 0;

    lane->nsent -= busy;
    lane->suspect -= ngx_min(lane->suspect, lane->nsent);

    if (busy == 0 && lane->suspect == 0 && lane->apart.n == 0) {
        lane->wary = 0;
    }

    ngx_http_fcchat_store_lane_finish(lane, NGX_HTTP_FCCHAT_STORE_OK);
}


/* takes the items of rooms that were held out of what was sent */

static ngx_uint_t
ngx_http_fcchat_store_lane_busy(ngx_http_fcchat_store_lane_t *lane)
{
    ngx_int_t                      rc;
    ngx_queue_t                   *q;
    ngx_http_fcchat_store_item_t  *item;

    rc = NGX_OK;

    for (q = ngx_queue_head(&lane->sent);
         q != ngx_queue_sentinel(&lane->sent) && rc == NGX_OK;
         q = ngx_queue_next(q))
    {
        item = ngx_queue_data(q, ngx_http_fcchat_store_item_t, queue);

        if (item->rc == NGX_HTTP_FCCHAT_STORE_UNAVAILABLE) {
            rc = ngx_http_fcchat_store_apart_put(&lane->apart, item->room_id, 0,
                                                NGX_HTTP_FCCHAT_STORE_PAUSE);
        }
    }

    if (rc != NGX_OK) {
        ngx_http_fcchat_store_lane_rest(lane);
    }

    return ngx_http_fcchat_store_lane_back(lane, 1);
}


/* rc: of all that was sent; with OK each item has its own already */

static void
ngx_http_fcchat_store_lane_finish(ngx_http_fcchat_store_lane_t *lane,
    ngx_http_fcchat_store_rc_e rc)
{
    ngx_queue_t                   *q;
    ngx_http_fcchat_store_item_t  *item;

    while (!ngx_queue_empty(&lane->sent)) {
        q = ngx_queue_head(&lane->sent);
        item = ngx_queue_data(q, ngx_http_fcchat_store_item_t, queue);

        ngx_queue_remove(q);

        if (rc != NGX_HTTP_FCCHAT_STORE_OK) {
            item->rc = rc;
        }

        ngx_http_fcchat_store_item_done(lane->store, item);
    }
}


static void
ngx_http_fcchat_store_item_done(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_store_item_t *item)
{
    if (item->rc == NGX_HTTP_FCCHAT_STORE_OK) {
        ngx_http_fcchat_stat_time(NGX_HTTP_FCCHAT_STAT_COMMIT,
                                  ngx_http_fcchat_stat_now() - item->taken);
        if (item->again) {
            ngx_http_fcchat_stat_inc(REPEATS);

        } else {
            ngx_http_fcchat_stat_inc(MESSAGES);
        }
    }

    store->nitems--;
    store->size -= item->size;
    ngx_http_fcchat_stat_gauge(UNSTORED, -1);

    item->done(item);

    ngx_http_fcchat_store_item_free(item);
}


void
ngx_http_fcchat_store_write_up(ngx_http_fcchat_store_t *store)
{
    ngx_rbtree_node_t             *node;
    ngx_http_fcchat_store_lane_t  *lane;

    if (store->lanes.root == store->lanes.sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(store->lanes.root, store->lanes.sentinel);
         node;
         node = ngx_rbtree_next(&store->lanes, node))
    {
        lane = (ngx_http_fcchat_store_lane_t *) node;

        if (!lane->resting) {
            continue;
        }

        ngx_del_timer(&lane->event);

        lane->resting = 0;
        lane->pause = 0;

        ngx_post_event(&lane->event, &ngx_posted_events);
    }
}


void
ngx_http_fcchat_store_write_close(ngx_http_fcchat_store_t *store)
{
    ngx_http_fcchat_store_lane_t  *lane;

    while (store->lanes.root != store->lanes.sentinel) {
        lane = (ngx_http_fcchat_store_lane_t *) store->lanes.root;
        lane->apart.n = 0;

        do {
            ngx_http_fcchat_store_lane_take(lane);
            ngx_http_fcchat_store_lane_finish(lane,
                                         NGX_HTTP_FCCHAT_STORE_UNAVAILABLE);
        } while (!ngx_queue_empty(&lane->items));

        ngx_http_fcchat_store_lane_free(lane);
    }

    if (store->drained) {
        store->drained(store->data);
    }
}
