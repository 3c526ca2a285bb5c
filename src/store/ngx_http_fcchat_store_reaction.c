
/*
 * Reactions on their way to streaming_streamreaction, in batches by schema.
 *
 * Nobody waits for them, so they are given at most once: what the server
 * refused or may have stored is dropped.  What was never sent waits for the
 * server, and what it could not store now, since its table is locked, is tried
 * again for some seconds, without making others wait for that lock.  They go by
 * the lane of the look-ups, so that messages do not wait behind them, and
 * without a flush to disk of their own.
 *
 * A group is what one schema has.  group->rows gathers; with a tick they become
 * group->sent, which stays until its job says that it was sent.
 */


#include <ngx_http_fcchat_store_int.h>


#define NGX_HTTP_FCCHAT_STORE_REACT_ROWS   64       /* room at first */

/* ticks, of a worker that exits or for a table that is locked */
#define NGX_HTTP_FCCHAT_STORE_REACT_TRIES  25


typedef struct {
    int64_t                        stream_id;
    int64_t                        user_id;
    int64_t                        stamp_id;
    int64_t                        at;          /* ms */
} ngx_http_fcchat_store_reaction_t;


typedef struct {
    ngx_http_fcchat_store_reaction_t
                                  *elts;
    ngx_uint_t                     n;
    ngx_uint_t                     max;
} ngx_http_fcchat_store_reactions_t;


typedef struct {
    ngx_queue_t                    queue;
    ngx_http_fcchat_store_t       *store;
    ngx_http_fcchat_pg_job_t      *job;
    ngx_http_fcchat_store_reactions_t
                                   rows;
    ngx_http_fcchat_store_reactions_t
                                   sent;
    ngx_uint_t                     tries;
    unsigned                       locked:1;    /* sent could not be stored */
    ngx_str_t                      schema;
    u_char                         name[NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX];
} ngx_http_fcchat_store_group_t;


static ngx_http_fcchat_store_group_t *ngx_http_fcchat_store_group(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema);
static void ngx_http_fcchat_store_group_free(
    ngx_http_fcchat_store_group_t *group);
static ngx_int_t ngx_http_fcchat_store_group_add(
    ngx_http_fcchat_store_group_t *group,
    ngx_http_fcchat_store_reaction_t *row);
static void ngx_http_fcchat_store_group_drop(
    ngx_http_fcchat_store_group_t *group);
static void ngx_http_fcchat_store_tick(ngx_event_t *ev);
static void ngx_http_fcchat_store_group_send(
    ngx_http_fcchat_store_group_t *group);
static ngx_http_fcchat_pg_job_t *ngx_http_fcchat_store_group_job(
    ngx_http_fcchat_store_group_t *group);
static const char *ngx_http_fcchat_store_group_array(ngx_pool_t *pool,
    ngx_http_fcchat_store_reactions_t *rows, size_t offset);
static void ngx_http_fcchat_store_group_done(ngx_http_fcchat_pg_job_t *job);


/*
 * The joins leave out what is gone, for one such row would fail all the others
 * when the foreign keys are checked; by the keys, as a plain join may become a
 * scan of all users.
 */

static const char  ngx_http_fcchat_store_reaction_sql[] =
    "INSERT INTO streaming_streamreaction "
    "(stream_id, user_id, stamp_id, created_at) "
    "SELECT s.id, u.id, t.id, to_timestamp(r.at / 1000.0) "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) "
    "AS r (stream, usr, stamp, at) "
    "JOIN LATERAL (SELECT id FROM streaming_stream x "
    "WHERE x.id = r.stream LIMIT 1) s ON true "
    "JOIN LATERAL (SELECT id FROM accounts_user x "
    "WHERE x.id = r.usr AND x.is_active LIMIT 1) u ON true "
    "JOIN chat_chatstamp t ON t.id = r.stamp";


void
ngx_http_fcchat_store_reaction_init(ngx_http_fcchat_store_t *store)
{
    ngx_queue_init(&store->groups);

    store->tick.handler = ngx_http_fcchat_store_tick;
    store->tick.data = store;
    store->tick.log = store->log;
}


ngx_int_t
ngx_http_fcchat_store_reaction(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t stream_id, int64_t user_id, int64_t stamp_id)
{
    ngx_time_t                        *tp;
    ngx_http_fcchat_store_group_t     *group;
    ngx_http_fcchat_store_reaction_t   row;

    if (store->closing
        || store->nreactions >= NGX_HTTP_FCCHAT_STORE_REACTIONS)
    {
        return NGX_BUSY;
    }

    group = ngx_http_fcchat_store_group(store, schema);
    if (group == NULL) {
        return NGX_ERROR;
    }

    tp = ngx_timeofday();

    row.stream_id = stream_id;
    row.user_id = user_id;
    row.stamp_id = stamp_id;
    row.at = (int64_t) tp->sec * 1000 + tp->msec;

    if (ngx_http_fcchat_store_group_add(group, &row) != NGX_OK) {
        return NGX_ERROR;
    }

    store->nreactions++;

    if (!store->tick.timer_set) {
        ngx_add_timer(&store->tick, NGX_HTTP_FCCHAT_STORE_REACT_TICK);
    }

    return NGX_OK;
}


static ngx_http_fcchat_store_group_t *
ngx_http_fcchat_store_group(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema)
{
    u_char                          ident[NGX_HTTP_FCCHAT_STORE_IDENT_LEN];
    ngx_queue_t                    *q;
    ngx_http_fcchat_store_group_t  *group;

    for (q = ngx_queue_head(&store->groups);
         q != ngx_queue_sentinel(&store->groups);
         q = ngx_queue_next(q))
    {
        group = ngx_queue_data(q, ngx_http_fcchat_store_group_t, queue);

        if (group->schema.len == schema->len
            && ngx_memcmp(group->name, schema->data, schema->len) == 0)
        {
            return group;
        }
    }

    if (ngx_http_fcchat_store_ident(ident, schema) == NULL) {
        return NULL;
    }

    group = ngx_calloc(sizeof(ngx_http_fcchat_store_group_t), store->log);
    if (group == NULL) {
        return NULL;
    }

    group->store = store;

    ngx_memcpy(group->name, schema->data, schema->len);

    group->schema.data = group->name;
    group->schema.len = schema->len;

    ngx_queue_insert_tail(&store->groups, &group->queue);

    return group;
}


static void
ngx_http_fcchat_store_group_free(ngx_http_fcchat_store_group_t *group)
{
    group->store->nreactions -= group->rows.n + group->sent.n;

    ngx_queue_remove(&group->queue);

    ngx_free(group->rows.elts);
    ngx_free(group->sent.elts);
    ngx_free(group);
}


static ngx_int_t
ngx_http_fcchat_store_group_add(ngx_http_fcchat_store_group_t *group,
    ngx_http_fcchat_store_reaction_t *row)
{
    ngx_uint_t                          max;
    ngx_http_fcchat_store_reaction_t   *elts;
    ngx_http_fcchat_store_reactions_t  *rows;

    rows = &group->rows;

    if (rows->n == rows->max) {
        max = rows->max ? 2 * rows->max : NGX_HTTP_FCCHAT_STORE_REACT_ROWS;

        elts = ngx_alloc(max * sizeof(ngx_http_fcchat_store_reaction_t),
                         group->store->log);
        if (elts == NULL) {
            return NGX_ERROR;
        }

        if (rows->n) {
            ngx_memcpy(elts, rows->elts,
                       rows->n * sizeof(ngx_http_fcchat_store_reaction_t));
        }

        ngx_free(rows->elts);

        rows->elts = elts;
        rows->max = max;
    }

    rows->elts[rows->n++] = *row;

    return NGX_OK;
}


static void
ngx_http_fcchat_store_group_drop(ngx_http_fcchat_store_group_t *group)
{
    group->store->nreactions -= group->sent.n;

    ngx_free(group->sent.elts);
    ngx_memzero(&group->sent, sizeof(ngx_http_fcchat_store_reactions_t));

    group->tries = 0;
    group->locked = 0;
}


static void
ngx_http_fcchat_store_tick(ngx_event_t *ev)
{
    ngx_http_fcchat_store_t *store = ev->data;

    ngx_queue_t                    *q, *next;
    ngx_http_fcchat_store_group_t  *group;

    for (q = ngx_queue_head(&store->groups);
         q != ngx_queue_sentinel(&store->groups);
         q = next)
    {
        next = ngx_queue_next(q);
        group = ngx_queue_data(q, ngx_http_fcchat_store_group_t, queue);

        if (group->job) {
            continue;
        }

        if (group->rows.n == 0 && group->sent.n == 0) {
            ngx_http_fcchat_store_group_free(group);
            continue;
        }

        ngx_http_fcchat_store_group_send(group);
    }

    /* a worker that exits waits for this timer, and for the jobs */

    if (!ngx_queue_empty(&store->groups)) {
        ngx_add_timer(&store->tick, NGX_HTTP_FCCHAT_STORE_REACT_TICK);
    }
}


static void
ngx_http_fcchat_store_group_send(ngx_http_fcchat_store_group_t *group)
{
    ngx_http_fcchat_pg_job_t  *job;

    if (group->sent.n == 0) {
        group->sent = group->rows;
        ngx_memzero(&group->rows, sizeof(ngx_http_fcchat_store_reactions_t));
    }

    if ((ngx_exiting || group->locked)
        && ++group->tries > NGX_HTTP_FCCHAT_STORE_REACT_TRIES)
    {
        ngx_http_fcchat_store_group_drop(group);
        return;
    }

    job = ngx_http_fcchat_store_group_job(group);
    if (job == NULL) {
        return;
    }

    if (group->locked) {
        ngx_http_fcchat_store_hurry(job, NGX_HTTP_FCCHAT_STORE_LOCK_NEXT);
    }

    job->handler = ngx_http_fcchat_store_group_done;
    job->data = group;

    if (ngx_http_fcchat_pg_send(group->store->pg, NGX_HTTP_FCCHAT_PG_READ, job)
        != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return;
    }

    group->job = job;
}


static ngx_http_fcchat_pg_job_t *
ngx_http_fcchat_store_group_job(ngx_http_fcchat_store_group_t *group)
{
    const char                *sql, *params[4];
    ngx_http_fcchat_pg_job_t  *job;

    job = ngx_http_fcchat_pg_job(group->store->log);
    if (job == NULL) {
        return NULL;
    }

    sql = ngx_http_fcchat_store_query(group->store,
                                      NGX_HTTP_FCCHAT_STORE_Q_REACTION);
    if (sql == NULL) {
        sql = ngx_http_fcchat_store_reaction_sql;
    }

    params[0] = ngx_http_fcchat_store_group_array(job->pool, &group->sent,
                       offsetof(ngx_http_fcchat_store_reaction_t, stream_id));
    params[1] = ngx_http_fcchat_store_group_array(job->pool, &group->sent,
                       offsetof(ngx_http_fcchat_store_reaction_t, user_id));
    params[2] = ngx_http_fcchat_store_group_array(job->pool, &group->sent,
                       offsetof(ngx_http_fcchat_store_reaction_t, stamp_id));
    params[3] = ngx_http_fcchat_store_group_array(job->pool, &group->sent,
                       offsetof(ngx_http_fcchat_store_reaction_t, at));

    if (params[0] == NULL
        || params[1] == NULL
        || params[2] == NULL
        || params[3] == NULL
        || ngx_http_fcchat_store_path(job, &group->schema) != NGX_OK
        || ngx_http_fcchat_pg_query(job,
                         "SELECT set_config('synchronous_commit', 'off', true)",
                         0, NULL)
           != NGX_OK
        || ngx_http_fcchat_pg_query(job, sql, 4, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return job;
}


static const char *
ngx_http_fcchat_store_group_array(ngx_pool_t *pool,
    ngx_http_fcchat_store_reactions_t *rows, size_t offset)
{
    u_char      *p, *array, *elt;
    ngx_uint_t   i;

    array = ngx_pnalloc(pool, rows->n * (NGX_INT64_LEN + 1) + sizeof("{}"));
    if (array == NULL) {
        return NULL;
    }

    p = array;
    *p++ = '{';

    for (i = 0; i < rows->n; i++) {
        elt = (u_char *) &rows->elts[i] + offset;
        p = ngx_sprintf(p, i ? ",%L" : "%L", *(int64_t *) elt);
    }

    *p++ = '}';
    *p = '\0';

    return (const char *) array;
}


static void
ngx_http_fcchat_store_group_done(ngx_http_fcchat_pg_job_t *job)
{
    ngx_http_fcchat_store_t        *store;
    ngx_http_fcchat_store_fate_e    fate;
    ngx_http_fcchat_store_group_t  *group;

    group = job->data;
    group->job = NULL;

    store = group->store;
    fate = NGX_HTTP_FCCHAT_STORE_ROW;

    if (ngx_http_fcchat_store_query(store, NGX_HTTP_FCCHAT_STORE_Q_REACTION)
        == NULL
        || ngx_http_fcchat_store_query_failed(store, &group->schema,
                                              NGX_HTTP_FCCHAT_STORE_Q_REACTION,
                                              job)
           != NGX_OK)
    {
        fate = ngx_http_fcchat_store_fate(store, job, &group->schema,
                                          NGX_HTTP_FCCHAT_STORE_FILE);
    }

    if (job->status == NGX_HTTP_FCCHAT_PG_UNAVAILABLE) {
        return;
    }

    if (job->status == NGX_HTTP_FCCHAT_PG_FAILED
        && fate == NGX_HTTP_FCCHAT_STORE_LATER)
    {
        group->locked = 1;
        return;
    }

    ngx_http_fcchat_store_group_drop(group);
}


void
ngx_http_fcchat_store_reaction_close(ngx_http_fcchat_store_t *store)
{
    ngx_queue_t                    *q;
    ngx_http_fcchat_store_group_t  *group;

    if (store->tick.timer_set) {
        ngx_del_timer(&store->tick);
    }

    while (!ngx_queue_empty(&store->groups)) {
        q = ngx_queue_head(&store->groups);
        group = ngx_queue_data(q, ngx_http_fcchat_store_group_t, queue);

        ngx_http_fcchat_store_group_free(group);
    }
}
