
/*
 * fcchat_retention: deletes what is old, a few rows at a time.
 *
 *     wait --> list the tenants --> a step in a schema --> ... --> wait
 *                                     ^    | "more", after a pause
 *                                     +----+
 *
 * Which worker of the cluster does it, and where a run has come to, is settled
 * in each schema by fcchat_retain() of sql/004: here it is merely asked, round
 * by round, and its steps are paced.  A step is a transaction of its own, in
 * the lane of the look-ups; its size follows the time it takes, as others wait
 * behind it, and the pause is some times as long.
 *
 * Schemas are those that the configuration names, those that had a room looked
 * up, and those of the tenants' tables.
 */


#include <ngx_http_fcchat_store_int.h>


#define NGX_HTTP_FCCHAT_RETAIN_SCHEMAS  10000
#define NGX_HTTP_FCCHAT_RETAIN_PAGE     500     /* of them in a question */

#define NGX_HTTP_FCCHAT_RETAIN_FIRST    100     /* rows of a step */
#define NGX_HTTP_FCCHAT_RETAIN_LEAST    10
#define NGX_HTTP_FCCHAT_RETAIN_MOST     1000
#define NGX_HTTP_FCCHAT_RETAIN_SHORT    20      /* ms: more of them */
#define NGX_HTTP_FCCHAT_RETAIN_LONG     50      /* ms: fewer */

#define NGX_HTTP_FCCHAT_RETAIN_PAUSE    50      /* ms at least */
#define NGX_HTTP_FCCHAT_RETAIN_TIMES    4       /* what a step took */
#define NGX_HTTP_FCCHAT_RETAIN_NEXT     10      /* ms between schemas */
#define NGX_HTTP_FCCHAT_RETAIN_ROUND    60000   /* ms between rounds, and */
#define NGX_HTTP_FCCHAT_RETAIN_EACH     50      /* for each schema */
#define NGX_HTTP_FCCHAT_RETAIN_SOON     1000
#define NGX_HTTP_FCCHAT_RETAIN_REST     3600    /* s between two runs */


typedef struct {
    ngx_str_node_t                  node;
    ngx_queue_t                     queue;
} ngx_http_fcchat_retain_schema_t;


struct ngx_http_fcchat_store_retain_s {
    ngx_http_fcchat_store_t        *store;
    ngx_http_fcchat_store_ask_t    *ask;

    ngx_rbtree_t                    names;
    ngx_rbtree_node_t               sentinel;
    ngx_queue_t                     schemas;
    ngx_uint_t                      n;
    ngx_uint_t                      full;       /* one had no place */

    ngx_queue_t                    *at;         /* the schema of this round */
    ngx_uint_t                      list;       /* of conf->tenants */
    u_char                          after[NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX];
    size_t                          after_len;

    ngx_uint_t                      most;
    ngx_msec_t                      sent;
    ngx_msec_t                      least;      /* of what schemas may wait */
    ngx_event_t                     timer;
    u_char                          worker[2 * sizeof(uint64_t) + 1];
};


static void ngx_http_fcchat_retain_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_fcchat_retain_ask(
    ngx_http_fcchat_store_retain_t *retain);
static void ngx_http_fcchat_retain_next(ngx_http_fcchat_store_retain_t *retain,
    ngx_msec_t wait);
static ngx_int_t ngx_http_fcchat_retain_list(
    ngx_http_fcchat_store_retain_t *retain);
static ngx_int_t ngx_http_fcchat_retain_list_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_retain_listed(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_retain_step(
    ngx_http_fcchat_store_retain_t *retain);
static ngx_int_t ngx_http_fcchat_retain_step_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_retain_done(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_retain_count(
    ngx_http_fcchat_store_retained_t *retained);
static ngx_uint_t ngx_http_fcchat_retain_size(
    ngx_http_fcchat_store_retain_t *retain, ngx_msec_t took);


ngx_int_t
ngx_http_fcchat_store_retain_init(ngx_http_fcchat_store_t *store)
{
    ngx_str_t                       *schema;
    ngx_uint_t                       i;
    ngx_http_fcchat_store_retain_t  *retain;

    if (store->conf->retention == 0) {
        return NGX_OK;
    }

    retain = ngx_calloc(sizeof(ngx_http_fcchat_store_retain_t), store->log);
    if (retain == NULL) {
        return NGX_ERROR;
    }

    retain->store = store;
    retain->most = NGX_HTTP_FCCHAT_RETAIN_FIRST;
    retain->least = NGX_HTTP_FCCHAT_RETAIN_ROUND;

    (void) ngx_sprintf(retain->worker, "%016xL%Z", store->seed);

    ngx_rbtree_init(&retain->names, &retain->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&retain->schemas);
    retain->at = ngx_queue_sentinel(&retain->schemas);

    retain->timer.handler = ngx_http_fcchat_retain_handler;
    retain->timer.data = retain;
    retain->timer.log = store->log;
    retain->timer.cancelable = 1;

    store->retain = retain;

    if (store->conf->schemas) {
        schema = store->conf->schemas->elts;

        for (i = 0; i < store->conf->schemas->nelts; i++) {
            ngx_http_fcchat_store_retain_add(store, &schema[i]);
        }
    }

    ngx_add_timer(&retain->timer, NGX_HTTP_FCCHAT_RETAIN_SOON
                  + (ngx_msec_t) ngx_random() % NGX_HTTP_FCCHAT_RETAIN_SOON);

    return NGX_OK;
}


void
ngx_http_fcchat_store_retain_close(ngx_http_fcchat_store_t *store)
{
    ngx_queue_t                      *q;
    ngx_http_fcchat_store_retain_t   *retain;
    ngx_http_fcchat_retain_schema_t  *schema;

    retain = store->retain;

    if (retain == NULL) {
        return;
    }

    if (retain->ask) {
        ngx_http_fcchat_store_forget(retain->ask);
    }

    if (retain->timer.timer_set) {
        ngx_del_timer(&retain->timer);
    }

    while (!ngx_queue_empty(&retain->schemas)) {
        q = ngx_queue_head(&retain->schemas);
        schema = ngx_queue_data(q, ngx_http_fcchat_retain_schema_t, queue);

        ngx_queue_remove(q);
        ngx_free(schema);
    }

    ngx_free(retain);
    store->retain = NULL;
}


void
ngx_http_fcchat_store_retain_add(ngx_http_fcchat_store_t *store,
    ngx_str_t *name)
{
    uint32_t                          hash;
    u_char                            ident[NGX_HTTP_FCCHAT_STORE_IDENT_LEN];
    ngx_http_fcchat_store_retain_t   *retain;
    ngx_http_fcchat_retain_schema_t  *schema;

    retain = store->retain;

    if (retain == NULL) {
        return;
    }

    hash = ngx_crc32_short(name->data, name->len);

    if (ngx_str_rbtree_lookup(&retain->names, name, hash)
        || ngx_http_fcchat_store_ident(ident, name) == NULL)
    {
        return;
    }

    if (retain->n == NGX_HTTP_FCCHAT_RETAIN_SCHEMAS) {

        if (!retain->full) {
            ngx_log_error(NGX_LOG_ERR, store->log, 0,
                          "fcchat_retention is for %ui schemas, \"%V\" and "
                          "others beyond them keep all", retain->n, name);
        }

        retain->full = 1;
        return;
    }

    /* without memory: the next time that it is seen */

    schema = ngx_alloc(sizeof(ngx_http_fcchat_retain_schema_t) + name->len,
                       store->log);
    if (schema == NULL) {
        return;
    }

    schema->node.node.key = hash;
    schema->node.str.len = name->len;
    schema->node.str.data = (u_char *) (schema + 1);
    ngx_memcpy(schema->node.str.data, name->data, name->len);

    ngx_rbtree_insert(&retain->names, &schema->node.node);
    ngx_queue_insert_tail(&retain->schemas, &schema->queue);
    retain->n++;
}


static void
ngx_http_fcchat_retain_handler(ngx_event_t *ev)
{
    ngx_http_fcchat_store_retain_t  *retain;

    retain = ev->data;

    if (ngx_exiting || retain->store->closing) {
        return;
    }

    if (ngx_http_fcchat_retain_ask(retain) != NGX_OK) {

        /* the server is away, or there is no memory */

        ngx_add_timer(ev, NGX_HTTP_FCCHAT_RETAIN_ROUND / 12);
    }
}


static ngx_int_t
ngx_http_fcchat_retain_ask(ngx_http_fcchat_store_retain_t *retain)
{
    ngx_array_t  *tenants;

    tenants = retain->store->conf->tenants;

    if (tenants && retain->list < tenants->nelts) {
        return ngx_http_fcchat_retain_list(retain);
    }

    if (retain->at == ngx_queue_sentinel(&retain->schemas)) {
        retain->at = ngx_queue_head(&retain->schemas);
    }

    if (retain->at == ngx_queue_sentinel(&retain->schemas)) {
        ngx_http_fcchat_retain_next(retain, NGX_HTTP_FCCHAT_RETAIN_ROUND);
        return NGX_OK;
    }

    return ngx_http_fcchat_retain_step(retain);
}


/* goes on to the next schema, or to the next round; wait: ms that this one may
 * be left alone */

static void
ngx_http_fcchat_retain_next(ngx_http_fcchat_store_retain_t *retain,
    ngx_msec_t wait)
{
    retain->least = ngx_min(retain->least, wait);

    if (retain->at != ngx_queue_sentinel(&retain->schemas)) {
        retain->at = ngx_queue_next(retain->at);
    }

    if (retain->at != ngx_queue_sentinel(&retain->schemas)) {
        ngx_add_timer(&retain->timer, NGX_HTTP_FCCHAT_RETAIN_NEXT);
        return;
    }

    wait = ngx_max(retain->least, NGX_HTTP_FCCHAT_RETAIN_SOON)
           + retain->n * NGX_HTTP_FCCHAT_RETAIN_EACH;

    retain->list = 0;
    retain->least = NGX_HTTP_FCCHAT_RETAIN_ROUND;

    ngx_add_timer(&retain->timer,
                  wait + (ngx_msec_t) ngx_random() % (wait / 8));
}


static ngx_int_t
ngx_http_fcchat_retain_list(ngx_http_fcchat_store_retain_t *retain)
{
    u_char                       *after;
    const char                  **sql, *params[2];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    static ngx_str_t  public = ngx_string("public");

    ask = ngx_http_fcchat_store_ask(retain->store, &public, &job);
    if (ask == NULL) {
        return NGX_ERROR;
    }

    ask->file = NULL;

    sql = retain->store->conf->tenants->elts;

    after = ngx_pnalloc(job->pool, retain->after_len + 1);

    params[0] = (const char *) after;
    params[1] = ngx_http_fcchat_store_number(job->pool,
                                             NGX_HTTP_FCCHAT_RETAIN_PAGE);

    if (after == NULL
        || params[1] == NULL
        || ngx_http_fcchat_pg_query(job, sql[retain->list], 2, params)
           != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NGX_ERROR;
    }

    ngx_cpystrn(after, retain->after, retain->after_len + 1);

    retain->ask = ngx_http_fcchat_store_ask_send(ask, job,
                                              ngx_http_fcchat_retain_list_read,
                                              ngx_http_fcchat_retain_listed,
                                              retain);

    return retain->ask ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_fcchat_retain_list_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_int_t                        i, n;
    ngx_str_t                        name;
    ngx_http_fcchat_store_ask_t     *ask;
    ngx_http_fcchat_store_retain_t  *retain;

    n = ngx_http_fcchat_store_rows(job, 1, 1);

    if (n < 0) {
        return NGX_ERROR;
    }

    answer->n = n;

    ask = job->data;
    retain = ask->store->retain;

    if (retain == NULL) {
        return NGX_OK;
    }

    for (i = 0; i < n; i++) {
        ngx_http_fcchat_store_text(job->results[1], i, 0, &name);
        ngx_http_fcchat_store_retain_add(ask->store, &name);
    }

    retain->after_len = 0;

    if (n == NGX_HTTP_FCCHAT_RETAIN_PAGE) {
        retain->after_len = ngx_min(name.len, sizeof(retain->after));
        ngx_memcpy(retain->after, name.data, retain->after_len);
    }

    return NGX_OK;
}


static void
ngx_http_fcchat_retain_listed(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_http_fcchat_store_retain_t  *retain;

    retain = data;
    retain->ask = NULL;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK) {
        ngx_http_fcchat_stat_inc(RETAIN_ERRORS);
        retain->after_len = 0;
    }

    if (retain->after_len == 0 || retain->full) {
        retain->after_len = 0;
        retain->list++;
    }

    ngx_add_timer(&retain->timer, NGX_HTTP_FCCHAT_RETAIN_NEXT);
}


static ngx_int_t
ngx_http_fcchat_retain_step(ngx_http_fcchat_store_retain_t *retain)
{
    time_t                            rest;
    const char                       *sql, *params[4];
    ngx_http_fcchat_pg_job_t         *job;
    ngx_http_fcchat_store_ask_t      *ask;
    ngx_http_fcchat_retain_schema_t  *schema;

    schema = ngx_queue_data(retain->at, ngx_http_fcchat_retain_schema_t,
                            queue);

    ask = ngx_http_fcchat_store_ask(retain->store, &schema->node.str, &job);
    if (ask == NULL) {
        return NGX_ERROR;
    }

    ask->file = NGX_HTTP_FCCHAT_STORE_FILE_4;

    rest = ngx_max(1, ngx_min(retain->store->conf->retention / 60,
                              NGX_HTTP_FCCHAT_RETAIN_REST));

    sql = ngx_http_fcchat_store_sql(job->pool,
                  "SELECT * FROM %s.fcchat_retain($1::text, $2::bigint, "
                  "$3::bigint, $4::bigint)",
                  &schema->node.str);

    params[0] = (const char *) retain->worker;
    params[1] = ngx_http_fcchat_store_number(job->pool,
                                             retain->store->conf->retention);
    params[2] = ngx_http_fcchat_store_number(job->pool, rest);
    params[3] = ngx_http_fcchat_store_number(job->pool, retain->most);

    if (sql == NULL
        || params[1] == NULL
        || params[2] == NULL
        || params[3] == NULL
        || ngx_http_fcchat_pg_query(job, sql, 4, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NGX_ERROR;
    }

    retain->sent = ngx_current_msec;

    retain->ask = ngx_http_fcchat_store_ask_send(ask, job,
                                              ngx_http_fcchat_retain_step_read,
                                              ngx_http_fcchat_retain_done,
                                              retain);

    return retain->ask ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_fcchat_retain_step_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult                          *res;
    ngx_str_t                          state;
    ngx_http_fcchat_store_retained_t  *r;

    if (ngx_http_fcchat_store_rows(job, 1, 8) != 1) {
        return NGX_ERROR;
    }

    res = job->results[1];

    r = ngx_pcalloc(job->pool, sizeof(ngx_http_fcchat_store_retained_t));

    if (r == NULL
        || ngx_http_fcchat_store_int(res, 0, 1, &r->messages) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 2, &r->events) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 3, &r->reactions) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 4, &r->bans) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 5, &r->kept) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 6, &r->wait) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 7, &r->finished) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_fcchat_store_text(res, 0, 0, &state);

    r->more = (state.len == 4 && ngx_strncmp(state.data, "more", 4) == 0);
    r->done = (state.len == 4 && ngx_strncmp(state.data, "done", 4) == 0);

    answer->retained = r;

    return NGX_OK;
}


static void
ngx_http_fcchat_retain_done(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_msec_t                         took;
    ngx_http_fcchat_store_retain_t    *retain;
    ngx_http_fcchat_store_retained_t  *r;

    retain = data;
    retain->ask = NULL;

    took = ngx_current_msec - retain->sent;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK) {

        if (answer->rc != NGX_HTTP_FCCHAT_STORE_NO_SCHEMA) {
            ngx_http_fcchat_stat_inc(RETAIN_ERRORS);
        }

        retain->most = NGX_HTTP_FCCHAT_RETAIN_LEAST;

        ngx_http_fcchat_retain_next(retain, NGX_HTTP_FCCHAT_RETAIN_ROUND);
        return;
    }

    r = answer->retained;

    ngx_http_fcchat_retain_count(r);

    if (!r->more) {
        ngx_http_fcchat_retain_next(retain, ngx_max(r->wait, 0));
        return;
    }

    retain->most = ngx_http_fcchat_retain_size(retain, took);

    ngx_add_timer(&retain->timer,
                  ngx_max(NGX_HTTP_FCCHAT_RETAIN_TIMES * took,
                          NGX_HTTP_FCCHAT_RETAIN_PAUSE));
}


static void
ngx_http_fcchat_retain_count(ngx_http_fcchat_store_retained_t *r)
{
    int64_t  *last;

    ngx_http_fcchat_stat_add(RETAINED, r->messages);
    ngx_http_fcchat_stat_add(RETAINED + 1, r->events);
    ngx_http_fcchat_stat_add(RETAINED + 2, r->reactions);
    ngx_http_fcchat_stat_add(RETAINED + 3, r->bans);
    ngx_http_fcchat_stat_add(RETAIN_KEPT, r->kept);

    if (r->done) {
        ngx_http_fcchat_stat_inc(RETAIN_RUNS);
    }

    last = &ngx_http_fcchat_stat->gauges[NGX_HTTP_FCCHAT_STAT_RETAIN_LAST];

    *last = ngx_max(*last, r->finished);
}


static ngx_uint_t
ngx_http_fcchat_retain_size(ngx_http_fcchat_store_retain_t *retain,
    ngx_msec_t took)
{
    if (took < NGX_HTTP_FCCHAT_RETAIN_SHORT) {
        return ngx_min(2 * retain->most, NGX_HTTP_FCCHAT_RETAIN_MOST);
    }

    if (took > NGX_HTTP_FCCHAT_RETAIN_LONG) {
        return ngx_max(retain->most / 2, NGX_HTTP_FCCHAT_RETAIN_LEAST);
    }

    return retain->most;
}
