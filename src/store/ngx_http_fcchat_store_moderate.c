
/*
 * What moderators do, and what a worker keeps of it for a room.
 *
 * A question like any other: one that finds the head of the room held is asked
 * again for a while.  The answer to a lost connection is unknown, as that of a
 * message; the same cid tells.
 */


#include <ngx_http_fcchat_store_int.h>


#define NGX_HTTP_FCCHAT_STORE_MODERATION  "sql/003_fcchat_moderation.sql"


static ngx_int_t ngx_http_fcchat_store_moderate_owner(
    ngx_http_fcchat_store_t *store, ngx_http_fcchat_pg_job_t *job);
static ngx_int_t ngx_http_fcchat_store_moderate_params(ngx_pool_t *pool,
    const char **params, int64_t room_id, int64_t actor, fcc_mod_t *mod,
    ngx_str_t *cid);
static ngx_int_t ngx_http_fcchat_store_moderate_number(ngx_pool_t *pool,
    int64_t n, int64_t none, const char **param);
static ngx_int_t ngx_http_fcchat_store_moderate_text(ngx_pool_t *pool,
    u_char *data, size_t len, const char **param);
static ngx_int_t ngx_http_fcchat_store_moderate_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_store_moderate_rc(ngx_str_t *status,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_list(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, const char *format,
    int64_t room_id, int64_t actor, int64_t before, ngx_uint_t limit,
    ngx_http_fcchat_store_ask_pt handler, void *data);
static ngx_int_t ngx_http_fcchat_store_list_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_store_state_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_store_state_what(PGresult *res,
    ngx_uint_t row, ngx_http_fcchat_store_state_t *s);


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_moderate(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t room_id, int64_t actor, fcc_mod_t *mod,
    ngx_str_t *cid, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    const char                   *sql, *params[11];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    ask->file = NGX_HTTP_FCCHAT_STORE_MODERATION;

    sql = ngx_http_fcchat_store_sql(job->pool,
                  "SELECT status, seq, id, at, epoch, detail, content "
                  "FROM %s.fcchat_moderate($1::bigint, $2::bigint, $3::text, "
                  "$4::bigint, $5::bigint, $6::bigint, $7::text, $8::text, "
                  "$9::bigint, $10::text, $11::text)",
                  schema);

    if (sql == NULL
        || ngx_http_fcchat_store_moderate_params(job->pool, params, room_id,
                                                 actor, mod, cid)
           != NGX_OK
        || ngx_http_fcchat_store_moderate_owner(store, job) != NGX_OK
        || ngx_http_fcchat_pg_query(job, sql, 11, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_moderate_read,
                                          handler, data);
}


/* fcchat_query owner: fcchat_owner() runs it in the place of its own */

static ngx_int_t
ngx_http_fcchat_store_moderate_owner(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_pg_job_t *job)
{
    const char  *own;

    own = ngx_http_fcchat_store_query(store, NGX_HTTP_FCCHAT_STORE_Q_OWNER);

    if (own == NULL) {
        return NGX_OK;
    }

    return ngx_http_fcchat_pg_query(job,
                                "SELECT set_config('fcchat.owner', $1, true)",
                                1, &own);
}


static ngx_int_t
ngx_http_fcchat_store_moderate_params(ngx_pool_t *pool, const char **params,
    int64_t room_id, int64_t actor, fcc_mod_t *mod, ngx_str_t *cid)
{
    params[0] = ngx_http_fcchat_store_number(pool, room_id);
    params[2] = fcc_mod_name(mod->action);

    if (params[0] == NULL
        || ngx_http_fcchat_store_moderate_number(pool, actor, 0, &params[1])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_number(pool, mod->id, 0, &params[3])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_number(pool, mod->seq, 0, &params[4])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_number(pool, mod->user_id, 0,
                                                 &params[5])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_text(pool, mod->username.data,
                                               mod->username.len, &params[6])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_text(pool, mod->address.data,
                                               mod->address.len, &params[7])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_number(pool, mod->seconds, -1,
                                                 &params[8])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_text(pool, mod->reason.data,
                                               mod->reason.len, &params[9])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_text(pool, cid->data, cid->len,
                                               &params[10])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* none is NULL */

static ngx_int_t
ngx_http_fcchat_store_moderate_number(ngx_pool_t *pool, int64_t n,
    int64_t none, const char **param)
{
    *param = NULL;

    if (n == none) {
        return NGX_OK;
    }

    *param = ngx_http_fcchat_store_number(pool, n);

    return *param ? NGX_OK : NGX_ERROR;
}


/* so is an empty text */

static ngx_int_t
ngx_http_fcchat_store_moderate_text(ngx_pool_t *pool, u_char *data, size_t len,
    const char **param)
{
    ngx_str_t  text;

    *param = NULL;

    if (len == 0) {
        return NGX_OK;
    }

    text.len = len;
    text.data = data;

    *param = ngx_http_fcchat_store_param(pool, &text);

    return *param ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_fcchat_store_moderate_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult     *res;
    ngx_int_t     rc;
    ngx_str_t     status;
    fcc_event_t  *e;

    if (ngx_http_fcchat_store_rows(job, job->nqueries - 1, 7) != 1) {
        return NGX_ERROR;
    }

    res = job->results[job->nqueries - 1];

    ngx_http_fcchat_store_text(res, 0, 0, &status);

    rc = ngx_http_fcchat_store_moderate_rc(&status, answer);

    if (rc != NGX_OK || answer->rc != NGX_HTTP_FCCHAT_STORE_OK) {
        return rc;
    }

    e = ngx_pcalloc(job->pool, sizeof(fcc_event_t));
    if (e == NULL) {
        return NGX_ERROR;
    }

    ngx_http_fcchat_store_text(res, 0, 4, &answer->room.epoch);
    ngx_http_fcchat_store_fcc_text(res, 0, 5, &e->detail);
    ngx_http_fcchat_store_fcc_text(res, 0, 6, &e->text);

    answer->events = e;
    answer->n = 1;

    if (ngx_http_fcchat_store_int(res, 0, 1, &e->seq) != NGX_OK
        || ngx_http_fcchat_store_int_null(res, 0, 2, &e->id) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 3, &e->at) != NGX_OK
        || answer->room.epoch.len > NGX_HTTP_FCCHAT_STORE_EPOCH_MAX
        || (e->detail.len == 0 && !answer->again))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_store_moderate_rc(ngx_str_t *status,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_uint_t  i;

    static struct {
        const char                  *status;
        ngx_http_fcchat_store_rc_e   rc;
    } outcomes[] = {
        { "ok", NGX_HTTP_FCCHAT_STORE_OK },
        { "again", NGX_HTTP_FCCHAT_STORE_OK },
        { "room", NGX_HTTP_FCCHAT_STORE_ROOM_GONE },
        { "user", NGX_HTTP_FCCHAT_STORE_USER_GONE },
        { "forbidden", NGX_HTTP_FCCHAT_STORE_FORBIDDEN },
        { "not_found", NGX_HTTP_FCCHAT_STORE_NONE },
        { "bad", NGX_HTTP_FCCHAT_STORE_REJECTED },
        { "full", NGX_HTTP_FCCHAT_STORE_FULL },
        { NULL, NGX_HTTP_FCCHAT_STORE_OK }
    };

    for (i = 0; outcomes[i].status; i++) {
        if (ngx_strcmp(status->data, outcomes[i].status) == 0) {
            answer->rc = outcomes[i].rc;
            answer->again = (i == 1);
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_state(ngx_http_fcchat_store_t *store,
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

    ask->file = NGX_HTTP_FCCHAT_STORE_MODERATION;

    sql = ngx_http_fcchat_store_sql(job->pool,
                  "SELECT place, what, id, usr, name, role, body, seq, at, "
                  "until FROM %s.fcchat_state($1::bigint[])", schema);

    param = ngx_http_fcchat_store_array(job->pool, rooms, n);

    if (sql == NULL
        || param == NULL
        || ngx_http_fcchat_store_moderate_owner(store, job) != NGX_OK
        || ngx_http_fcchat_pg_prepared(job, sql, 1, &param) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_state_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_state_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult                       *res;
    ngx_int_t                       i, n;
    ngx_http_fcchat_store_state_t  *s;

    n = ngx_http_fcchat_store_rows(job, job->nqueries - 1, 10);

    if (n < 1) {
        return NGX_ERROR;
    }

    res = job->results[job->nqueries - 1];

    s = ngx_pcalloc(job->pool, n * sizeof(ngx_http_fcchat_store_state_t));
    if (s == NULL) {
        return NGX_ERROR;
    }

    answer->state = s;
    answer->n = n;

    for (i = 0; i < n; i++, s++) {

        if (ngx_http_fcchat_store_state_what(res, i, s) != NGX_OK
            || ngx_http_fcchat_store_int(res, i, 0, &s->room_id) != NGX_OK
            || ngx_http_fcchat_store_int_null(res, i, 2, &s->id) != NGX_OK
            || ngx_http_fcchat_store_int_null(res, i, 3, &s->user_id)
               != NGX_OK
            || ngx_http_fcchat_store_int_null(res, i, 7, &s->seq) != NGX_OK
            || ngx_http_fcchat_store_int_null(res, i, 8, &s->at) != NGX_OK
            || ngx_http_fcchat_store_int_null(res, i, 9, &s->until) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_http_fcchat_store_text(res, i, 4, &s->username);
        ngx_http_fcchat_store_text(res, i, 5, &s->role);
        ngx_http_fcchat_store_text(res, i, 6, &s->text);

        if (s->what == NGX_HTTP_FCCHAT_STORE_HEAD
            && s->text.len > NGX_HTTP_FCCHAT_STORE_EPOCH_MAX)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_store_state_what(PGresult *res, ngx_uint_t row,
    ngx_http_fcchat_store_state_t *s)
{
    ngx_str_t    what;
    ngx_uint_t   i;

    static const char  *kinds[] = {
        "head", "moderator", "ban", "timeout", "pin", NULL
    };

    ngx_http_fcchat_store_text(res, row, 1, &what);

    for (i = 0; kinds[i]; i++) {
        if (ngx_strcmp(what.data, kinds[i]) == 0) {
            s->what = i;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


/*
 * The first column says whether the actor may see it, by the same rank as what
 * fcchat_moderate() asks of it; the other ones are those of an event.  Rows of
 * somebody's own hand have no bound but this one.
 */

#define NGX_HTTP_FCCHAT_STORE_LIST(rows)                                      \
    "SELECT a.may, NULL, e.seq, e.id, u.id, "                                 \
    "floor(extract(epoch FROM e.at) * 1000)::bigint, "                        \
    "u.username, coalesce(u.is_staff, false), e.kind, NULL, "                 \
    "CASE WHEN length(e.detail::text) < 8192 THEN e.detail::text "            \
    "ELSE '{}' END "                                                          \
    "FROM (SELECT $2::bigint IS NULL "                                        \
    "OR coalesce(%s.fcchat_rank($1::bigint, $2::bigint), 0) "                 \
    ">= CASE WHEN $1::bigint = 0 THEN 4 ELSE 2 END AS may) a "                \
    "LEFT JOIN LATERAL (" rows " LIMIT $4::bigint) e ON a.may "               \
    "LEFT JOIN LATERAL (SELECT id, username, is_staff FROM accounts_user n "  \
    "WHERE n.id = e.by_user LIMIT 1) u ON true "                              \
    "ORDER BY e.id DESC"


static const char  ngx_http_fcchat_store_bans_sql[] =
    NGX_HTTP_FCCHAT_STORE_LIST(
        "SELECT 0 AS seq, b.id, b.by_user, b.made_at AS at, b.kind, "
        "jsonb_strip_nulls(jsonb_build_object('user_id', b.user_id, "
        "'username', (SELECT username FROM accounts_user n "
        "WHERE n.id = b.user_id), 'address', b.address::text, "
        "'until', floor(extract(epoch FROM b.expires) * 1000)::bigint, "
        "'reason', left(b.reason, 500))) AS detail "
        "FROM %s.fcchat_ban b WHERE b.room_id = $1::bigint "
        "AND b.id < $3::bigint "
        "AND (b.expires > now() OR b.expires IS NULL) ORDER BY b.id DESC");

static const char  ngx_http_fcchat_store_audit_sql[] =
    NGX_HTTP_FCCHAT_STORE_LIST(
        "SELECT d.seq, d.id, d.user_id AS by_user, d.at, d.action AS kind, "
        "coalesce(d.detail, '{}') AS detail "
        "FROM %s.fcchat_audit d WHERE d.room_id = $1::bigint "
        "AND d.id < $3::bigint ORDER BY d.id DESC");


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_bans(ngx_http_fcchat_store_t *store, ngx_str_t *schema,
    int64_t room_id, int64_t actor, int64_t before, ngx_uint_t limit,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    return ngx_http_fcchat_store_list(store, schema,
                                      ngx_http_fcchat_store_bans_sql, room_id,
                                      actor, before, limit, handler, data);
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_audit(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t room_id, int64_t actor, int64_t before,
    ngx_uint_t limit, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    return ngx_http_fcchat_store_list(store, schema,
                                      ngx_http_fcchat_store_audit_sql,
                                      room_id, actor, before, limit, handler,
                                      data);
}


static ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_list(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, const char *format, int64_t room_id, int64_t actor,
    int64_t before, ngx_uint_t limit, ngx_http_fcchat_store_ask_pt handler,
    void *data)
{
    const char                   *sql, *params[4];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    ask->file = NGX_HTTP_FCCHAT_STORE_MODERATION;

    sql = ngx_http_fcchat_store_sql(job->pool, format, schema);

    params[0] = ngx_http_fcchat_store_number(job->pool, room_id);
    params[2] = ngx_http_fcchat_store_number(job->pool, before);
    params[3] = ngx_http_fcchat_store_number(job->pool, limit);

    if (sql == NULL
        || params[0] == NULL
        || params[2] == NULL
        || params[3] == NULL
        || ngx_http_fcchat_store_moderate_number(job->pool, actor, 0,
                                                 &params[1])
           != NGX_OK
        || ngx_http_fcchat_store_moderate_owner(store, job) != NGX_OK
        || ngx_http_fcchat_pg_query(job, sql, 4, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_list_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_list_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult     *res;
    ngx_int_t     i, n;
    fcc_event_t  *e;

    n = ngx_http_fcchat_store_rows(job, job->nqueries - 1, 11);

    if (n < 1) {
        return NGX_ERROR;
    }

    res = job->results[job->nqueries - 1];

    if (!ngx_http_fcchat_store_flag(res, 0, 0)) {
        answer->rc = NGX_HTTP_FCCHAT_STORE_FORBIDDEN;
        return NGX_OK;
    }

    if (PQgetisnull(res, 0, 3)) {
        return NGX_OK;
    }

    e = ngx_pcalloc(job->pool, n * sizeof(fcc_event_t));
    if (e == NULL) {
        return NGX_ERROR;
    }

    answer->events = e;
    answer->n = n;

    for (i = 0; i < n; i++) {
        if (ngx_http_fcchat_store_event_read(res, i, &e[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
