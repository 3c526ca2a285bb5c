
/*
 * Counts of readers by way of PostgreSQL, for the time without a bus.
 *
 * They go by the lane of the look-ups, so that messages do not wait behind
 * them, and without a flush to disk of their own.
 */


#include <ngx_http_fcchat_store_int.h>


static ngx_int_t ngx_http_fcchat_store_viewers_read(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_store_viewers(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_str_t *worker, int64_t *rooms, int64_t *counts,
    ngx_uint_t n, ngx_http_fcchat_store_ask_pt handler, void *data)
{
    u_char                       *me;
    const char                   *sql, *params[3];
    ngx_http_fcchat_pg_job_t     *job;
    ngx_http_fcchat_store_ask_t  *ask;

    ask = ngx_http_fcchat_store_ask(store, schema, &job);
    if (ask == NULL) {
        return NULL;
    }

    ask->file = "sql/002_fcchat_viewers.sql";

    sql = ngx_http_fcchat_store_sql(job->pool,
                  "SELECT * FROM %s.fcchat_viewers($1::text, $2::bigint[], "
                  "$3::bigint[])",
                  schema);

    me = ngx_pnalloc(job->pool, worker->len + 1);

    params[0] = (const char *) me;
    params[1] = ngx_http_fcchat_store_array(job->pool, rooms, n);
    params[2] = ngx_http_fcchat_store_array(job->pool, counts, n);

    if (sql == NULL
        || me == NULL
        || params[1] == NULL
        || params[2] == NULL
        || ngx_http_fcchat_pg_query(job,
                         "SELECT set_config('synchronous_commit', 'off', true)",
                         0, NULL)
           != NGX_OK
        || ngx_http_fcchat_pg_prepared(job, sql, 3, params) != NGX_OK)
    {
        ngx_http_fcchat_pg_discard(job);
        return NULL;
    }

    ngx_cpystrn(me, worker->data, worker->len + 1);

    return ngx_http_fcchat_store_ask_send(ask, job,
                                          ngx_http_fcchat_store_viewers_read,
                                          handler, data);
}


static ngx_int_t
ngx_http_fcchat_store_viewers_read(ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_answer_t *answer)
{
    PGresult                         *res;
    ngx_int_t                         i, n;
    ngx_http_fcchat_store_viewers_t  *v;

    n = ngx_http_fcchat_store_rows(job, 2, 4);

    if (n < 0) {
        return NGX_ERROR;
    }

    res = job->results[2];

    v = ngx_pcalloc(job->pool,
                    (n + 1) * sizeof(ngx_http_fcchat_store_viewers_t));
    if (v == NULL) {
        return NGX_ERROR;
    }

    answer->viewers = v;
    answer->n = n;

    for (i = 0; i < n; i++, v++) {
        ngx_http_fcchat_store_text(res, i, 1, &v->worker);

        if (ngx_http_fcchat_store_int(res, i, 0, &v->room_id) != NGX_OK
            || ngx_http_fcchat_store_int(res, i, 2, &v->count) != NGX_OK
            || ngx_http_fcchat_store_int(res, i, 3, &v->age) != NGX_OK
            || v->count < 0
            || v->age < 0)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
