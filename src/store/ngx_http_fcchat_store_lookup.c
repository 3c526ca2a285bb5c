
/*
 * Look-ups of one row or a few: session, user, room, stamps.
 *
 * A question lives in the pool of its job.  It ends when its handler has been
 * called; forgotten, it still runs, and its answer is dropped.
 *
 * What other tenants ask goes over the same connections, so a question gives up
 * on a lock soon and is asked again, until it has waited long enough.  As long
 * as one of a schema is without an answer, the next ones of it wait for a lock
 * hardly at all.
 */


#include <ngx_http_fcchat_store_int.h>


#define NGX_HTTP_FCCHAT_STORE_AGAIN   100   /* ms, between two attempts */
#define NGX_HTTP_FCCHAT_STORE_LONG    2500  /* ms, of attempts */


static ngx_int_t ngx_http_fcchat_store_ask_once(
    ngx_http_fcchat_store_ask_t *ask);
static void ngx_http_fcchat_store_ask_done(ngx_http_fcchat_pg_job_t *job);
static ngx_http_fcchat_store_rc_e ngx_http_fcchat_store_ask_read(
    ngx_http_fcchat_store_ask_t *ask, ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_store_ask_later(
    ngx_http_fcchat_store_ask_t *ask);
static void ngx_http_fcchat_store_ask_again(ngx_event_t *ev);
static void ngx_http_fcchat_store_ask_end(ngx_http_fcchat_store_ask_t *ask);
static ngx_int_t ngx_http_fcchat_store_session_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_store_user_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static const char *ngx_http_fcchat_store_room_sql(
    ngx_http_fcchat_store_ask_t *ask);
static ngx_int_t ngx_http_fcchat_store_room_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_store_room_foreign(
    ngx_http_fcchat_store_ask_t *ask);
static ngx_int_t ngx_http_fcchat_store_stamps_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_ask(ngx_http_fcchat_store_t *store, ngx_str_t *schema,
    ngx_http_fcchat_pg_job_t **jobp)
{
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    job = ngx_http_fcchat_pg_job(store->log);
    if (job == NULL) {
        return NULL;
    }

    ask = ngx_pcalloc(job->pool, sizeof(ngx_http_fcchat_store_ask_t));
    if (ask == NULL) {
        goto failed;
    }

    ask->schema.data = ngx_pstrdup(job->pool, schema);
    if (ask->schema.data == NULL) {
        goto failed;
    }

    ask->schema.len = schema->len;
    ask->store = store;
    ask->file = NGX_HTTP_FCCHAT_STORE_FILE;
    ask->job = job;
    ask->asking = &store->asking[ngx_crc32_short(schema->data, schema->len)
                                 % NGX_HTTP_FCCHAT_STORE_ASKING];

    if (ngx_http_fcchat_store_path(job, schema) != NGX_OK) {
        goto failed;
    }

    job->handler = ngx_http_fcchat_store_ask_done;
    job->data = ask;

    *jobp = job;

    return ask;

failed:

    ngx_http_fcchat_pg_discard(job);

    return NULL;
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_ask_send(ngx_http_fcchat_store_ask_t *ask,
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_read_pt read,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    ask->read = read;
    ask->handler = handler;
    ask->data = data;
    ask->deadline = ngx_current_msec + NGX_HTTP_FCCHAT_STORE_LONG;

    if (ask->store->closing
        || ngx_http_fcchat_store_ask_once(ask) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ask;
}


static ngx_int_t
ngx_http_fcchat_store_ask_once(ngx_http_fcchat_store_ask_t *ask)
{
    ngx_int_t  rc;

    if (*ask->asking) {
        ngx_http_fcchat_store_hurry(ask->job, NGX_HTTP_FCCHAT_STORE_LOCK_NEXT);
    }

    rc = ngx_http_fcchat_pg_send(ask->store->pg, NGX_HTTP_FCCHAT_PG_READ,
                                 ask->job);
    if (rc == NGX_OK) {
        (*ask->asking)++;
    }

    return rc;
}


static void
ngx_http_fcchat_store_ask_done(ngx_http_fcchat_pg_job_t *job)
{
    ngx_http_fcchat_store_ask_t    *ask;
    ngx_http_fcchat_store_answer_t  answer;

    ask = job->data;

    (*ask->asking)--;

    if (ngx_http_fcchat_store_ask_later(ask) == NGX_OK) {
        return;
    }

    ngx_memzero(&answer, sizeof(ngx_http_fcchat_store_answer_t));

    answer.rc = ngx_http_fcchat_store_ask_read(ask, &answer);

    if (ask->handler) {
        ask->handler(ask->data, &answer);
    }
}


static ngx_http_fcchat_store_rc_e
ngx_http_fcchat_store_ask_read(ngx_http_fcchat_store_ask_t *ask,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_int_t                  rc;
    ngx_http_fcchat_store_t   *store;
    ngx_http_fcchat_pg_job_t  *job;

    store = ask->store;
    job = ask->job;

    if (ask->own
        && ngx_http_fcchat_store_query_failed(store, &ask->schema, ask->query,
                                              job)
           == NGX_OK)
    {
        return NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;
    }

    switch (ngx_http_fcchat_store_fate(store, job, &ask->schema, ask->file)) {

    case NGX_HTTP_FCCHAT_STORE_DONE:

        if (ask->own
            && ngx_http_fcchat_store_query_columns(store, &ask->schema,
                                                   ask->query, job->results[1])
               != NGX_OK)
        {
            return NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;
        }

        rc = ask->read(job, answer);

        if (rc == NGX_ERROR) {
            ngx_http_fcchat_store_malformed(store, "a look-up");
            return NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;
        }

        /* OK, unless the answer itself says another thing */

        return (rc == NGX_DECLINED) ? NGX_HTTP_FCCHAT_STORE_NONE : answer->rc;

    case NGX_HTTP_FCCHAT_STORE_MISSING:
        return NGX_HTTP_FCCHAT_STORE_SCHEMA;

    case NGX_HTTP_FCCHAT_STORE_NOWHERE:
        return NGX_HTTP_FCCHAT_STORE_NO_SCHEMA;

    case NGX_HTTP_FCCHAT_STORE_ROW:

        /* no row can match a value that is not even valid */

        return NGX_HTTP_FCCHAT_STORE_NONE;

    default:
        return NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;
    }
}


/* NGX_OK: it was a lock, and the question goes again */

static ngx_int_t
ngx_http_fcchat_store_ask_later(ngx_http_fcchat_store_ask_t *ask)
{
    ngx_http_fcchat_store_t   *store;
    ngx_http_fcchat_pg_job_t  *job;

    store = ask->store;
    job = ask->job;

    if (job->status != NGX_HTTP_FCCHAT_PG_FAILED
        || ngx_strcmp(job->sqlstate, "55P03") != 0
        || (ngx_msec_int_t) (ask->deadline - ngx_current_msec) <= 0
        || ask->handler == NULL
        || store->closing)
    {
        return NGX_DECLINED;
    }

    job->again = 1;

    (*ask->asking)++;
    ngx_queue_insert_tail(&store->locked, &ask->queue);

    if (!store->again.timer_set) {
        ngx_add_timer(&store->again, NGX_HTTP_FCCHAT_STORE_AGAIN);
    }

    return NGX_OK;
}


static void
ngx_http_fcchat_store_ask_again(ngx_event_t *ev)
{
    ngx_queue_t                  *q, locked;
    ngx_http_fcchat_store_t      *store;
    ngx_http_fcchat_store_ask_t  *ask;

    store = ev->data;

    /* a handler may ask something else */

    ngx_queue_init(&locked);
    ngx_queue_add(&locked, &store->locked);
    ngx_queue_init(&store->locked);

    while (!ngx_queue_empty(&locked)) {
        q = ngx_queue_head(&locked);
        ask = ngx_queue_data(q, ngx_http_fcchat_store_ask_t, queue);

        ngx_queue_remove(q);

        ngx_http_fcchat_store_hurry(ask->job, NGX_HTTP_FCCHAT_STORE_LOCK_NEXT);

        (*ask->asking)--;

        if (ask->handler == NULL
            || ngx_http_fcchat_store_ask_once(ask) != NGX_OK)
        {
            ngx_http_fcchat_store_ask_end(ask);
        }
    }
}


/* of a question that is not with the pool */

static void
ngx_http_fcchat_store_ask_end(ngx_http_fcchat_store_ask_t *ask)
{
    ngx_http_fcchat_store_answer_t  answer;

    ngx_memzero(&answer, sizeof(ngx_http_fcchat_store_answer_t));

    answer.rc = NGX_HTTP_FCCHAT_STORE_UNAVAILABLE;

    if (ask->handler) {
        ask->handler(ask->data, &answer);
    }

    ngx_http_fcchat_pg_discard(ask->job);
}


void
ngx_http_fcchat_store_ask_init(ngx_http_fcchat_store_t *store)
{
    ngx_queue_init(&store->locked);

    store->again.handler = ngx_http_fcchat_store_ask_again;
    store->again.data = store;
    store->again.log = store->log;
    store->again.cancelable = 1;
}


void
ngx_http_fcchat_store_ask_close(ngx_http_fcchat_store_t *store)
{
    ngx_queue_t  *q;

    if (store->again.timer_set) {
        ngx_del_timer(&store->again);
    }

    while (!ngx_queue_empty(&store->locked)) {
        q = ngx_queue_head(&store->locked);
        ngx_queue_remove(q);

        ngx_http_fcchat_store_ask_end(ngx_queue_data(q,
                                        ngx_http_fcchat_store_ask_t, queue));
    }
}


void
ngx_http_fcchat_store_forget(ngx_http_fcchat_store_ask_t *ask)
{
    ask->handler = NULL;
}


const char *
ngx_http_fcchat_store_param(ngx_pool_t *pool, ngx_str_t *value)
{
    u_char  *p;

    if (ngx_strlchr(value->data, value->data + value->len, '\0') != NULL) {
        return NULL;
    }

    p = ngx_pnalloc(pool, value->len + 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_cpystrn(p, value->data, value->len + 1);

    return (const char *) p;
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_session(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_str_t *key, ngx_http_fcchat_store_ask_pt handler,
    void *data)
{
    const char                   *param;
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    param = ngx_http_fcchat_store_param(job->pool, key);

    if (param == NULL
        || ngx_http_fcchat_store_ask_query(ask, NGX_HTTP_FCCHAT_STORE_Q_SESSION,
                                           NGX_HTTP_FCCHAT_STORE_SESSION_SQL,
                  1, &param)
           != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_session_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_session_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_int_t  n;

    n = ngx_http_fcchat_store_rows(job, 1, 1);

    if (n < 1) {
        return n ? NGX_ERROR : NGX_DECLINED;
    }

    ngx_http_fcchat_store_text(job->results[1], 0, 0, &answer->data);

    return NGX_OK;
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_user(ngx_http_fcchat_store_t *store, ngx_str_t *schema,
    int64_t id, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    const char                   *param;
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    param = ngx_http_fcchat_store_number(job->pool, id);

    if (param == NULL
        || ngx_http_fcchat_store_ask_query(ask, NGX_HTTP_FCCHAT_STORE_Q_USER,
                                           NGX_HTTP_FCCHAT_STORE_USER_SQL,
                  1, &param)
           != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_user_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_user_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult                      *res;
    ngx_int_t                      n;
    ngx_http_fcchat_store_user_t  *u;

    n = ngx_http_fcchat_store_rows(job, 1, 5);

    if (n < 1) {
        return n ? NGX_ERROR : NGX_DECLINED;
    }

    res = job->results[1];
    u = &answer->user;

    if (ngx_http_fcchat_store_int(res, 0, 0, &u->id) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_fcchat_store_text(res, 0, 1, &u->username);
    ngx_http_fcchat_store_text(res, 0, 2, &u->password);

    u->active = ngx_http_fcchat_store_flag(res, 0, 3);
    u->staff = ngx_http_fcchat_store_flag(res, 0, 4);

    return NGX_OK;
}


/*
 * fcchat_room() makes the head of the log where it is missing, so that the
 * epoch is the same from the first viewer on.  It is called by its full name:
 * with search_path alone, a schema that is gone would give the rooms of public.
 *
 * Our functions have the search_path that was theirs when sql/ was applied.  In
 * a schema that was renamed since, or restored under another name, they would
 * read and write another tenant's tables: the second answer is NULL there, else
 * whether there is moderation.
 */

static const char  ngx_http_fcchat_store_room_ours[] =
    "SELECT CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_proc p "
    "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace, "
    "pg_catalog.unnest(p.proconfig) AS c "
    "WHERE p.oid = pg_catalog.to_regprocedure($2) "
    "AND pg_catalog.starts_with(c, 'search_path=') "
    "AND NOT pg_catalog.starts_with(c || ',', "
    "'search_path=' || pg_catalog.quote_ident(n.nspname) || ',')) "
    "THEN pg_catalog.to_regclass($1) IS NOT NULL END";


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_room(ngx_http_fcchat_store_t *store, ngx_str_t *schema,
    ngx_str_t *name, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    ngx_int_t                     rc;
    const char                   *sql, *param, *ours[2];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    sql = ngx_http_fcchat_store_room_sql(ask);
    param = ngx_http_fcchat_store_param(job->pool, name);

    rc = NGX_ERROR;

    if (sql && param) {

        /* what is the site's may name its tables without their schema */

        rc = ask->own ? ngx_http_fcchat_pg_query(job, sql, 1, &param)
                      : ngx_http_fcchat_pg_prepared(job, sql, 1, &param);
    }

    ours[0] = ngx_http_fcchat_store_sql(job->pool, "%s.fcchat_ban", schema);
    ours[1] = ngx_http_fcchat_store_sql(job->pool, "%s.fcchat_append(bigint[], "
                                        "bigint[], text[], text[], boolean)",
                                        schema);

    if (rc != NGX_OK
        || ours[0] == NULL
        || ours[1] == NULL
        || ngx_http_fcchat_pg_prepared(job, ngx_http_fcchat_store_room_ours,
                                       2, ours)
           != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_room_read,
                                          handler, data);
}


/* fcchat_open() makes the head of a room that a query of the site has found */

static const char *
ngx_http_fcchat_store_room_sql(ngx_http_fcchat_store_ask_t *ask)
{
    u_char      *p;
    u_char       ident[NGX_HTTP_FCCHAT_STORE_IDENT_LEN];
    const char  *own;

    static const char  format[] =
        "SELECT h." NGX_HTTP_FCCHAT_STORE_EPOCH ", h.last_seq, q.* "
        "FROM (\n%s\n) AS q (id), LATERAL %s.fcchat_open(q.id::bigint) AS h "
        "LIMIT 1";

    own = ngx_http_fcchat_store_query(ask->store, NGX_HTTP_FCCHAT_STORE_Q_ROOM);

    if (own == NULL) {
        return ngx_http_fcchat_store_sql(ask->job->pool,
                                         "SELECT epoch, last_seq, id, "
                                         "stream_id FROM %s.fcchat_room($1)",
                                         &ask->schema);
    }

    ask->own = 1;
    ask->query = NGX_HTTP_FCCHAT_STORE_Q_ROOM;
    ask->file = NGX_HTTP_FCCHAT_STORE_FILE_4;

    if (ngx_http_fcchat_store_ident(ident, &ask->schema) == NULL) {
        return NULL;
    }

    p = ngx_pnalloc(ask->job->pool,
                    sizeof(format) + ngx_strlen(own) + sizeof(ident));
    if (p == NULL) {
        return NULL;
    }

    ngx_sprintf(p, format, own, ident)[0] = '\0';

    return (const char *) p;
}


static ngx_int_t
ngx_http_fcchat_store_room_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult                      *res;
    ngx_int_t                      n;
    ngx_http_fcchat_store_ask_t   *ask;
    ngx_http_fcchat_store_room_t  *room;

    ask = job->data;

    if (ngx_http_fcchat_store_rows(job, 2, 1) == 1
        && PQgetisnull(job->results[2], 0, 0))
    {
        ngx_http_fcchat_store_room_foreign(ask);
        answer->rc = NGX_HTTP_FCCHAT_STORE_SCHEMA;
        return NGX_OK;
    }

    n = ngx_http_fcchat_store_rows(job, 1, 4);

    if (n < 1) {
        return n ? NGX_ERROR : NGX_DECLINED;
    }

    ngx_http_fcchat_store_retain_add(ask->store, &ask->schema);

    res = job->results[1];
    room = &answer->room;

    if (ngx_http_fcchat_store_int(res, 0, 1, &room->head) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 2, &room->id) != NGX_OK
        || ngx_http_fcchat_store_int_null(res, 0, 3, &room->stream_id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_fcchat_store_text(res, 0, 0, &room->epoch);

    room->moderated = ngx_http_fcchat_store_rows(job, 2, 1) == 1
                      && ngx_http_fcchat_store_flag(job->results[2], 0, 0);

    return room->epoch.len <= NGX_HTTP_FCCHAT_STORE_EPOCH_MAX ? NGX_OK
                                                              : NGX_ERROR;
}


static void
ngx_http_fcchat_store_room_foreign(ngx_http_fcchat_store_ask_t *ask)
{
    uint32_t                  hash;
    const char               *end;
    ngx_http_fcchat_store_t  *store;

    store = ask->store;
    hash = ngx_crc32_short(ask->schema.data, ask->schema.len);

    end = ngx_http_fcchat_store_seldom(store->schemas,
                                       NGX_HTTP_FCCHAT_STORE_WARNINGS, hash,
                                       60);
    if (end) {
        ngx_log_error(NGX_LOG_ERR, store->log, 0,
                      "fcchat: the functions in schema \"%V\" are those of "
                      "another one: it was renamed or restored since, apply "
                      "all of sql/ to it again%s", &ask->schema, end);
    }
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_stamps(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    if (ngx_http_fcchat_store_ask_query(ask, NGX_HTTP_FCCHAT_STORE_Q_STAMPS,
                  "SELECT id, name, image FROM chat_chatstamp "
                  "ORDER BY id LIMIT "
                  ngx_value(NGX_HTTP_FCCHAT_STORE_STAMPS),
                  0, NULL)
        != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_stamps_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_stamps_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult     *res;
    ngx_int_t     i, n;
    ngx_str_t     name, image;
    fcc_stamp_t  *stamp;

    n = ngx_http_fcchat_store_rows(job, 1, 3);

    if (n < 0) {
        return NGX_ERROR;
    }

    res = job->results[1];

    stamp = ngx_pcalloc(job->pool, (n + 1) * sizeof(fcc_stamp_t));
    if (stamp == NULL) {
        return NGX_ERROR;
    }

    answer->stamps = stamp;
    answer->n = n;

    for (i = 0; i < n; i++, stamp++) {
        if (ngx_http_fcchat_store_int(res, i, 0, &stamp->id) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_fcchat_store_text(res, i, 1, &name);
        ngx_http_fcchat_store_text(res, i, 2, &image);

        stamp->name.len = name.len;
        stamp->name.data = name.data;
        stamp->image.len = image.len;
        stamp->image.data = image.data;
    }

    return NGX_OK;
}
