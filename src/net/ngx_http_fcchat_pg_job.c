
/*
 * Jobs: made, waiting for a connection, and handed back when they are done.
 */


#include <ngx_http_fcchat_pg_int.h>


#define NGX_HTTP_FCCHAT_PG_EXPIRE_STEP  10      /* ms */


static void ngx_http_fcchat_pg_expire(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane);


ngx_http_fcchat_pg_job_t *
ngx_http_fcchat_pg_job(ngx_log_t *log)
{
    ngx_pool_t                *pool;
    ngx_http_fcchat_pg_job_t  *job;

    pool = ngx_create_pool(1024, log);
    if (pool == NULL) {
        return NULL;
    }

    job = ngx_pcalloc(pool, sizeof(ngx_http_fcchat_pg_job_t));
    if (job == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    job->pool = pool;

    return job;
}


ngx_int_t
ngx_http_fcchat_pg_query(ngx_http_fcchat_pg_job_t *job, const char *sql,
    ngx_uint_t nparams, const char **params)
{
    ngx_uint_t                   i;
    ngx_http_fcchat_pg_query_t  *q;

    if (job->nqueries == NGX_HTTP_FCCHAT_PG_QUERIES
        || nparams > NGX_HTTP_FCCHAT_PG_PARAMS)
    {
        return NGX_ERROR;
    }

    q = &job->queries[job->nqueries++];

    q->sql = sql;
    q->nparams = nparams;

    for (i = 0; i < nparams; i++) {
        q->params[i] = params[i];
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_fcchat_pg_prepared(ngx_http_fcchat_pg_job_t *job, const char *sql,
    ngx_uint_t nparams, const char **params)
{
    if (ngx_http_fcchat_pg_query(job, sql, nparams, params) != NGX_OK) {
        return NGX_ERROR;
    }

    job->queries[job->nqueries - 1].prepared = 1;

    return NGX_OK;
}


void
ngx_http_fcchat_pg_discard(ngx_http_fcchat_pg_job_t *job)
{
    ngx_destroy_pool(job->pool);
}


ngx_int_t
ngx_http_fcchat_pg_send(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane, ngx_http_fcchat_pg_job_t *job)
{
    ngx_msec_t  wait;

    if (pg->stop || (job->wait == 0 && ngx_http_fcchat_pg_away(pg, lane))) {
        return NGX_DECLINED;
    }

    if (pg->njobs >= NGX_HTTP_FCCHAT_PG_MAX_JOBS) {
        return NGX_BUSY;
    }

    wait = job->wait ? job->wait : pg->conf->timeout;

    job->lane = lane;
    job->deadline = ngx_current_msec + wait;
    job->again = 0;
    job->read = 0;
    job->failed = 0;
    job->sqlstate[0] = '\0';

    pg->njobs++;
    ngx_http_fcchat_stat_gauge(PG_QUEUE, 1);
    ngx_queue_insert_tail(&pg->waiting[lane], &job->queue);

    /* all jobs of this turn of the event loop go together */

    ngx_http_fcchat_pg_post(pg);

    return NGX_OK;
}


ngx_http_fcchat_pg_conn_t *
ngx_http_fcchat_pg_choose(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane)
{
    ngx_uint_t                  i, first, last;
    ngx_http_fcchat_pg_conn_t  *conn, *best;

    first = 0;
    last = 1;

    if (lane == NGX_HTTP_FCCHAT_PG_READ) {
        for (i = 1; i < pg->nconns; i++) {
            if (pg->conns[i].state == NGX_HTTP_FCCHAT_PG_UP) {
                first = 1;
                last = pg->nconns;
                break;
            }
        }
    }

    best = NULL;

    for (i = first; i < last; i++) {
        conn = &pg->conns[i];

        if (conn->state != NGX_HTTP_FCCHAT_PG_UP
            || conn->nsent >= NGX_HTTP_FCCHAT_PG_IN_FLIGHT
            || (conn->c && conn->c->write->active))
        {
            continue;
        }

        if (best == NULL || conn->nsent < best->nsent) {
            best = conn;
        }
    }

    return best;
}


void
ngx_http_fcchat_pg_dispatch(ngx_http_fcchat_pg_t *pg)
{
    ngx_int_t                   rc;
    ngx_uint_t                  lane;
    ngx_queue_t                *q, *waiting;
    ngx_http_fcchat_pg_job_t   *job;
    ngx_http_fcchat_pg_conn_t  *conn;

    for (lane = 0; lane < NGX_HTTP_FCCHAT_PG_LANES; lane++) {
        waiting = &pg->waiting[lane];

        while (!ngx_queue_empty(waiting)) {
            conn = ngx_http_fcchat_pg_choose(pg, lane);
            if (conn == NULL) {
                break;
            }

            q = ngx_queue_head(waiting);
            job = ngx_queue_data(q, ngx_http_fcchat_pg_job_t, queue);
            ngx_queue_remove(q);

            rc = ngx_http_fcchat_pg_pipe_send(conn, job);

            if (rc == NGX_OK) {
                continue;
            }

            if (rc == NGX_DECLINED) {
                ngx_queue_insert_head(waiting, q);

            } else {
                ngx_http_fcchat_pg_done(pg, job,
                                        NGX_HTTP_FCCHAT_PG_UNAVAILABLE);
            }

            ngx_http_fcchat_pg_close(conn, NULL);
        }
    }
}


void
ngx_http_fcchat_pg_refuse(ngx_http_fcchat_pg_t *pg)
{
    ngx_uint_t  lane;

    for (lane = 0; lane < NGX_HTTP_FCCHAT_PG_LANES; lane++) {
        ngx_http_fcchat_pg_expire(pg, lane);
    }
}


void
ngx_http_fcchat_pg_expire_handler(ngx_event_t *ev)
{
    /* posted as well, because done jobs are delivered from there */

    ngx_http_fcchat_pg_post(ev->data);
}


static void
ngx_http_fcchat_pg_expire(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane)
{
    ngx_uint_t                 away;
    ngx_msec_t                 now;
    ngx_queue_t               *q, *next, *waiting;
    ngx_msec_int_t             left, least;
    ngx_http_fcchat_pg_job_t  *job;

    now = ngx_current_msec;
    away = ngx_http_fcchat_pg_away(pg, lane);
    least = NGX_MAX_INT_T_VALUE;
    waiting = &pg->waiting[lane];

    for (q = ngx_queue_head(waiting);
         q != ngx_queue_sentinel(waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_queue_data(q, ngx_http_fcchat_pg_job_t, queue);

        left = (ngx_msec_int_t) (job->deadline - now);

        if (left <= 0 || pg->stop || (away && job->wait == 0)) {
            ngx_queue_remove(q);
            ngx_http_fcchat_pg_done(pg, job, NGX_HTTP_FCCHAT_PG_UNAVAILABLE);
            continue;
        }

        least = ngx_min(least, left);
    }

    if (pg->expire[lane].timer_set) {
        ngx_del_timer(&pg->expire[lane]);
    }

    if (!ngx_queue_empty(waiting)) {
        ngx_add_timer(&pg->expire[lane],
                      ngx_max(least, NGX_HTTP_FCCHAT_PG_EXPIRE_STEP));
    }
}


void
ngx_http_fcchat_pg_done(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_pg_status_e status)
{
    job->status = status;

    ngx_http_fcchat_stat->counters[NGX_HTTP_FCCHAT_STAT_PG_JOBS + status]++;

    ngx_queue_insert_tail(&pg->done, &job->queue);

    ngx_http_fcchat_pg_post(pg);
}


void
ngx_http_fcchat_pg_deliver(ngx_http_fcchat_pg_t *pg)
{
    ngx_uint_t                 i;
    ngx_queue_t               *q;
    ngx_http_fcchat_pg_job_t  *job;

    while (!ngx_queue_empty(&pg->done)) {
        q = ngx_queue_head(&pg->done);
        ngx_queue_remove(q);

        job = ngx_queue_data(q, ngx_http_fcchat_pg_job_t, queue);

        pg->njobs--;
        ngx_http_fcchat_stat_gauge(PG_QUEUE, -1);

        job->handler(job);

        for (i = 0; i < NGX_HTTP_FCCHAT_PG_QUERIES; i++) {
            PQclear(job->results[i]);
            job->results[i] = NULL;
        }

        if (!job->again) {
            ngx_destroy_pool(job->pool);
        }
    }
}
