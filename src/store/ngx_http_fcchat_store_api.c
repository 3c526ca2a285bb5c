
/*
 * What only the HTTP API asks for: totals of reactions, and messages of the
 * site's own back end.
 */


#include <ngx_http_fcchat_store_int.h>


#define NGX_HTTP_FCCHAT_STORE_API_FILE     "sql/005_fcchat_api.sql"
#define NGX_HTTP_FCCHAT_STORE_TOTALS_TIME  "1000"       /* ms */


static ngx_int_t ngx_http_fcchat_store_totals_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_store_publish_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);


/*
 * created_at may have a zone or not, and is UTC in the second case: so is the
 * session, and the index on (stream_id, created_at) serves for both.
 */

static const char  ngx_http_fcchat_store_totals_sql[] =
    "SELECT floor(extract(epoch FROM m) * 1000)::bigint, stamp_id, n "
    "FROM (SELECT date_trunc('minute', created_at) AS m, stamp_id, "
    "count(*) AS n FROM %s.streaming_streamreaction "
    "WHERE stream_id = $1::bigint "
    "AND created_at >= to_timestamp($2::bigint / 1000.0) "
    "AND created_at < to_timestamp($3::bigint / 1000.0) "
    "GROUP BY 1, 2 ORDER BY 1, 2 LIMIT $4::bigint) t ORDER BY 1, 2";


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_totals(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t stream_id, int64_t from, int64_t to,
    ngx_uint_t limit, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    const char                   *sql, *params[4];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    sql = ngx_http_fcchat_store_sql(job->pool,
                                    ngx_http_fcchat_store_totals_sql, schema);

    params[0] = ngx_http_fcchat_store_number(job->pool, stream_id);
    params[1] = ngx_http_fcchat_store_number(job->pool, from);
    params[2] = ngx_http_fcchat_store_number(job->pool, to);
    params[3] = ngx_http_fcchat_store_number(job->pool, limit);

    if (sql == NULL
        || params[0] == NULL
        || params[1] == NULL
        || params[2] == NULL
        || params[3] == NULL
        || ngx_http_fcchat_pg_query(job,
                         "SELECT set_config('statement_timeout', '"
                         NGX_HTTP_FCCHAT_STORE_TOTALS_TIME "', true)", 0, NULL)
           != NGX_OK
        || ngx_http_fcchat_pg_query(job, sql, 4, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_totals_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_totals_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult                       *res;
    ngx_int_t                       i, n;
    ngx_http_fcchat_store_total_t  *total;

    n = ngx_http_fcchat_store_rows(job, 2, 3);

    if (n < 0) {
        return NGX_ERROR;
    }

    res = job->results[2];

    total = ngx_pcalloc(job->pool,
                        (n + 1) * sizeof(ngx_http_fcchat_store_total_t));
    if (total == NULL) {
        return NGX_ERROR;
    }

    answer->totals = total;
    answer->n = n;

    for (i = 0; i < n; i++, total++) {
        if (ngx_http_fcchat_store_int(res, i, 0, &total->minute) != NGX_OK
            || ngx_http_fcchat_store_int(res, i, 1, &total->stamp_id)
               != NGX_OK
            || ngx_http_fcchat_store_int(res, i, 2, &total->count) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_publish(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t room_id, ngx_str_t *cid, ngx_str_t *text,
    ngx_http_fcchat_store_ask_pt handler, void *data)
{
    const char                   *sql, *params[3];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    ask->file = NGX_HTTP_FCCHAT_STORE_API_FILE;

    sql = ngx_http_fcchat_store_sql(job->pool,
                  "SELECT status, seq, id, at, epoch "
                  "FROM %s.fcchat_publish($1::bigint, $2::text, $3::text)",
                  schema);

    params[0] = ngx_http_fcchat_store_number(job->pool, room_id);
    params[1] = NULL;
    params[2] = ngx_http_fcchat_store_param(job->pool, text);

    if (cid->len) {
        params[1] = ngx_http_fcchat_store_param(job->pool, cid);
    }

    if (sql == NULL
        || params[0] == NULL
        || params[2] == NULL
        || (cid->len && params[1] == NULL)
        || ngx_http_fcchat_pg_query(job, sql, 3, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_publish_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_publish_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult                           *res;
    ngx_str_t                           status;
    ngx_http_fcchat_store_published_t  *p;

    if (ngx_http_fcchat_store_rows(job, 1, 5) != 1) {
        return NGX_ERROR;
    }

    res = job->results[1];
    p = &answer->published;

    ngx_http_fcchat_store_text(res, 0, 0, &status);

    if (ngx_strcmp(status.data, "room") == 0) {
        p->gone = 1;
        return NGX_OK;
    }

    p->again = (ngx_strcmp(status.data, "again") == 0);

    ngx_http_fcchat_store_text(res, 0, 4, &p->epoch);

    if (ngx_http_fcchat_store_int(res, 0, 1, &p->seq) != NGX_OK
        || ngx_http_fcchat_store_int_null(res, 0, 2, &p->id) != NGX_OK
        || ngx_http_fcchat_store_int(res, 0, 3, &p->at) != NGX_OK
        || p->seq < 1
        || p->epoch.len == 0
        || p->epoch.len > NGX_HTTP_FCCHAT_STORE_EPOCH_MAX)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
