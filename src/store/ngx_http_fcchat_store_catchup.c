
/*
 * What a room's log holds: the events after a number, and the heads of many
 * rooms at once.
 */


#include <ngx_http_fcchat_store_int.h>


static ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_range(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, const char *format,
    int64_t room_id, int64_t seq, ngx_uint_t limit,
    ngx_http_fcchat_store_ask_pt handler, void *data);
static ngx_int_t ngx_http_fcchat_store_events_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_store_heads_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);


/*
 * One statement, so that head and events are of one moment.  An event whose row
 * is deleted, by a mark or for good, keeps its number: it comes as "deleted"
 * without text, else readers would wait for it for ever.  The column "detail"
 * is sql/003's: asked for in this way it may be missing.
 *
 * Rows are looked up one by one, each by its key: a plain join with hundreds of
 * events may become a scan of all messages.
 */

#define NGX_HTTP_FCCHAT_STORE_EVENTS(range)                                   \
    "SELECT h.epoch, h.last_seq, e.seq, e.message_id, u.id, "                 \
    "floor(extract(epoch FROM e.at) * 1000)::bigint, "                        \
    "u.username, coalesce(u.is_staff, false), "                               \
    "CASE WHEN e.kind <> 'message' THEN e.kind "                              \
    "WHEN m.id IS NULL OR m.is_deleted THEN 'deleted' "                       \
    "ELSE m.message_type END, "                                               \
    "CASE WHEN m.is_deleted THEN '' ELSE m.content END, "                     \
    "CASE WHEN e.kind <> 'message' "                                          \
    "THEN coalesce((to_jsonb(e) -> 'detail')::text, '{}') END "               \
    "FROM %s.fcchat_head h LEFT JOIN LATERAL ("                               \
    "SELECT * FROM %s.fcchat_event l WHERE l.room_id = h.room_id "            \
    "AND " range " LIMIT $3::bigint) e ON true "                              \
    "LEFT JOIN LATERAL (SELECT id, message_type, is_deleted, content "        \
    "FROM %s.chat_chatmessage n "                                             \
    "WHERE n.id = e.message_id LIMIT 1) m ON true "                           \
    "LEFT JOIN LATERAL (SELECT id, username, is_staff FROM accounts_user a "  \
    "WHERE a.id = e.user_id LIMIT 1) u ON true "                              \
    "WHERE h.room_id = $1::bigint ORDER BY e.seq"


static const char  ngx_http_fcchat_store_events_sql[] =
    NGX_HTTP_FCCHAT_STORE_EVENTS("l.seq > $2::bigint ORDER BY l.seq");

static const char  ngx_http_fcchat_store_before_sql[] =
    NGX_HTTP_FCCHAT_STORE_EVENTS("l.seq < $2::bigint ORDER BY l.seq DESC");

/* by the index of sql/003; the order is that of no other one */

static const char  ngx_http_fcchat_store_message_sql[] =
    NGX_HTTP_FCCHAT_STORE_EVENTS("l.message_id = $2::bigint "
                                 "AND l.kind = 'message' "
                                 "ORDER BY l.message_id");


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_events(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t room_id, int64_t after, ngx_uint_t limit,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    return ngx_http_fcchat_store_range(store, schema,
                                       ngx_http_fcchat_store_events_sql,
                                       room_id, after, limit, handler, data);
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_before(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t room_id, int64_t before, ngx_uint_t limit,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    return ngx_http_fcchat_store_range(store, schema,
                                       ngx_http_fcchat_store_before_sql,
                                       room_id, before, limit, handler, data);
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_message(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t room_id, int64_t id,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    return ngx_http_fcchat_store_range(store, schema,
                                       ngx_http_fcchat_store_message_sql,
                                       room_id, id, 1, handler, data);
}


static ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_range(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, const char *format, int64_t room_id, int64_t seq,
    ngx_uint_t limit, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    const char                   *sql, *params[3];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    sql = ngx_http_fcchat_store_sql(job->pool, format, schema);

    params[0] = ngx_http_fcchat_store_number(job->pool, room_id);
    params[1] = ngx_http_fcchat_store_number(job->pool, seq);
    params[2] = ngx_http_fcchat_store_number(job->pool, limit);

    if (sql == NULL
        || params[0] == NULL
        || params[1] == NULL
        || params[2] == NULL
        || ngx_http_fcchat_pg_query(job, sql, 3, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_events_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_events_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    int64_t       last;
    PGresult     *res;
    ngx_int_t     i, n;
    fcc_event_t  *e;

    n = ngx_http_fcchat_store_rows(job, 1, 11);

    if (n < 1) {
        return n ? NGX_ERROR : NGX_DECLINED;
    }

    res = job->results[1];

    ngx_http_fcchat_store_text(res, 0, 0, &answer->room.epoch);

    if (answer->room.epoch.len > NGX_HTTP_FCCHAT_STORE_EPOCH_MAX
        || ngx_http_fcchat_store_int(res, 0, 1, &answer->room.head) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (PQgetisnull(res, 0, 2)) {
        return NGX_OK;
    }

    e = ngx_pcalloc(job->pool, n * sizeof(fcc_event_t));
    if (e == NULL) {
        return NGX_ERROR;
    }

    answer->events = e;
    answer->n = n;
    last = 0;

    for (i = 0; i < n; i++, e++) {
        if (ngx_http_fcchat_store_event_read(res, i, e) != NGX_OK
            || e->seq <= last)
        {
            return NGX_ERROR;
        }

        last = e->seq;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_fcchat_store_event_read(PGresult *res, ngx_uint_t row,
    fcc_event_t *e)
{
    static fcc_str_t  member = fcc_string("member");
    static fcc_str_t  moderator = fcc_string("moderator");

    if (ngx_http_fcchat_store_int(res, row, 2, &e->seq) != NGX_OK
        || ngx_http_fcchat_store_int_null(res, row, 3, &e->id) != NGX_OK
        || ngx_http_fcchat_store_int_null(res, row, 4, &e->user_id) != NGX_OK
        || ngx_http_fcchat_store_int(res, row, 5, &e->at) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_fcchat_store_fcc_text(res, row, 6, &e->username);
    ngx_http_fcchat_store_fcc_text(res, row, 8, &e->type);
    ngx_http_fcchat_store_fcc_text(res, row, 9, &e->text);
    ngx_http_fcchat_store_fcc_text(res, row, 10, &e->detail);

    e->role = ngx_http_fcchat_store_flag(res, row, 7) ? moderator : member;

    return NGX_OK;
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_heads(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t *rooms, ngx_uint_t n,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    const char                   *sql, *param;
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    sql = ngx_http_fcchat_store_sql(job->pool,
                                    "SELECT room_id, epoch, last_seq "
                                    "FROM %s.fcchat_head "
                                    "WHERE room_id = ANY ($1::bigint[])",
                                    schema);

    param = ngx_http_fcchat_store_array(job->pool, rooms, n);

    if (sql == NULL
        || param == NULL
        || ngx_http_fcchat_pg_query(job, sql, 1, &param) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_heads_read,
                                          handler, data);
}


/* several workers notice: one changes the epoch, the others are told it */

static const char  ngx_http_fcchat_store_epoch_sql[] =
    "WITH n AS (UPDATE %s.fcchat_head SET epoch = gen_random_uuid() "
    "WHERE room_id = $1::bigint AND epoch = $2::uuid "
    "RETURNING room_id, epoch, last_seq) "
    "SELECT * FROM n UNION ALL "
    "SELECT room_id, epoch, last_seq FROM %s.fcchat_head "
    "WHERE room_id = $1::bigint AND NOT EXISTS (SELECT 1 FROM n)";


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_epoch(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t room_id, ngx_str_t *epoch,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    u_char                       *p;
    const char                   *sql, *params[2];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    sql = ngx_http_fcchat_store_sql(job->pool,
                                    ngx_http_fcchat_store_epoch_sql, schema);

    p = ngx_pnalloc(job->pool, epoch->len + 1);

    params[0] = ngx_http_fcchat_store_number(job->pool, room_id);
    params[1] = (const char *) p;

    if (sql == NULL || p == NULL || params[0] == NULL) {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    (void) ngx_sprintf(p, "%V%Z", epoch);

    if (ngx_http_fcchat_pg_query(job, sql, 2, params) != NGX_OK) {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_heads_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_heads_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult                      *res;
    ngx_int_t                      i, n;
    ngx_http_fcchat_store_head_t  *head;

    n = ngx_http_fcchat_store_rows(job, 1, 3);

    if (n < 0) {
        return NGX_ERROR;
    }

    res = job->results[1];

    head = ngx_pcalloc(job->pool,
                       (n + 1) * sizeof(ngx_http_fcchat_store_head_t));
    if (head == NULL) {
        return NGX_ERROR;
    }

    answer->heads = head;
    answer->n = n;

    for (i = 0; i < n; i++, head++) {
        ngx_http_fcchat_store_text(res, i, 1, &head->epoch);

        if (ngx_http_fcchat_store_int(res, i, 0, &head->room_id) != NGX_OK
            || ngx_http_fcchat_store_int(res, i, 2, &head->head) != NGX_OK
            || head->epoch.len > NGX_HTTP_FCCHAT_STORE_EPOCH_MAX)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
