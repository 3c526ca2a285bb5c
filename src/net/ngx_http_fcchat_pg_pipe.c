
/*
 * The pipeline of a connection: jobs go in, results come out in order.
 *
 * libpq gives results no names.  The first job in conn->sent is the one whose
 * results come; a NULL ends those of one statement, PGRES_PIPELINE_SYNC those
 * of the job.  An error after the last statement is the commit's (a deferred
 * constraint), so that nothing is known before the Sync.
 *
 * Short of memory libpq loses results, and what follows would be taken for the
 * answer to another job, of another user.  So each statement must have had its
 * result when the Sync comes, and an error of libpq's own, which has no
 * SQLSTATE, ends the connection: what was sent is UNKNOWN.
 */


#include <ngx_http_fcchat_pg_int.h>
#include <openssl/ssl.h>


#define NGX_HTTP_FCCHAT_PG_ROUNDS  16   /* of reading in one event */


static ngx_int_t ngx_http_fcchat_pg_pipe_results(
    ngx_http_fcchat_pg_conn_t *conn);
static ngx_int_t ngx_http_fcchat_pg_pipe_result(ngx_http_fcchat_pg_conn_t *conn,
    PGresult *res);
static ngx_int_t ngx_http_fcchat_pg_pipe_error(ngx_http_fcchat_pg_job_t *job,
    PGresult *res);
static ngx_int_t ngx_http_fcchat_pg_pipe_synced(ngx_http_fcchat_pg_conn_t *conn,
    ngx_http_fcchat_pg_job_t *job);
static ngx_http_fcchat_pg_job_t *ngx_http_fcchat_pg_pipe_first(
    ngx_http_fcchat_pg_conn_t *conn);
static ngx_uint_t ngx_http_fcchat_pg_pipe_pending(
    ngx_http_fcchat_pg_conn_t *conn);


ngx_int_t
ngx_http_fcchat_pg_pipe_send(ngx_http_fcchat_pg_conn_t *conn,
    ngx_http_fcchat_pg_job_t *job)
{
    int         rc;
    ngx_uint_t  i;

    for (i = 0; i < job->nqueries; i++) {
        rc = ngx_http_fcchat_pg_prepare_send(conn, job, &job->queries[i]);

        ngx_http_fcchat_pg_check(conn);

        if (rc != 1) {

            /* without its Sync what went before can't be committed */

            return (conn->c == NULL || PQstatus(conn->pgc) == CONNECTION_BAD)
                   ? NGX_DECLINED : NGX_ERROR;
        }
    }

    /* from here on it may be committed, whatever is returned */

    ngx_queue_insert_tail(&conn->sent, &job->queue);
    conn->nsent++;

    job->sent = ngx_http_fcchat_stat_now();

    if (job->lane == NGX_HTTP_FCCHAT_PG_WRITE) {
        conn->nwrites++;
        conn->limit.cancelable = 0;
    }

    job->deadline = ngx_current_msec + conn->pg->conf->timeout;

    if (!conn->limit.timer_set) {
        ngx_add_timer(&conn->limit, conn->pg->conf->timeout);
    }

    rc = PQpipelineSync(conn->pgc);

    ngx_http_fcchat_pg_check(conn);

    if (rc != 1) {
        ngx_http_fcchat_pg_close(conn, NULL);
        return NGX_OK;
    }

    ngx_http_fcchat_pg_pipe_flush(conn);

    return NGX_OK;
}


void
ngx_http_fcchat_pg_pipe_flush(ngx_http_fcchat_pg_conn_t *conn)
{
    int  rc;

    rc = PQflush(conn->pgc);

    ngx_http_fcchat_pg_check(conn);

    if (rc < 0 || conn->c == NULL) {

        /* what the server said before it went may still be unread */

        (void) ngx_http_fcchat_pg_pipe_results(conn);
        ngx_http_fcchat_pg_close(conn, NULL);
        return;
    }

    if (ngx_http_fcchat_net_want(conn->c->write, rc == 1) != NGX_OK) {
        ngx_http_fcchat_pg_close(conn, "no event for the socket");
    }
}


void
ngx_http_fcchat_pg_pipe_read(ngx_http_fcchat_pg_conn_t *conn)
{
    int         ok;
    ngx_int_t   rc;
    ngx_uint_t  n;

    for (n = 0; n < NGX_HTTP_FCCHAT_PG_ROUNDS; n++) {
        ok = PQconsumeInput(conn->pgc);

        ngx_http_fcchat_pg_check(conn);

        rc = ngx_http_fcchat_pg_pipe_results(conn);

        if (rc == NGX_ERROR) {
            ngx_http_fcchat_pg_close(conn, "unexpected answer");
            return;
        }

        if (ok != 1 || rc == NGX_ABORT || conn->c == NULL
            || PQstatus(conn->pgc) == CONNECTION_BAD)
        {
            ngx_http_fcchat_pg_close(conn, NULL);
            return;
        }

        if (!ngx_http_fcchat_pg_pipe_pending(conn)) {
            break;
        }
    }

    if (n == NGX_HTTP_FCCHAT_PG_ROUNDS) {

        /* the rest is inside OpenSSL: no event will tell of it */

        ngx_post_event(conn->c->read, &ngx_posted_next_events);
    }

    ngx_http_fcchat_pg_pipe_flush(conn);
}


static ngx_uint_t
ngx_http_fcchat_pg_pipe_pending(ngx_http_fcchat_pg_conn_t *conn)
{
    SSL  *ssl;

    ssl = PQsslStruct(conn->pgc, "OpenSSL");

    return ssl != NULL && SSL_pending(ssl) > 0;
}


/*
 * Takes what can be had without blocking; NGX_ERROR: out of step; NGX_ABORT:
 * libpq has failed.
 *
 * PQgetResult() blocks in the state BUSY alone, which is what PQisBusy() says;
 * except where libpq has found the connection lost, and then it has closed the
 * socket as well and finds that at once.  A write that failed, also one of TLS,
 * is no loss yet: libpq goes on reading the server's last words, and so do we,
 * until the end of the stream or the timeout of the oldest job.  Before 14.3
 * PQisBusy() did not say so after such a write.
 */

static ngx_int_t
ngx_http_fcchat_pg_pipe_results(ngx_http_fcchat_pg_conn_t *conn)
{
    int         busy;
    PGresult   *res;
    ngx_int_t   rc;
    ngx_uint_t  nulls;

    /* two in a row without a result between them: there is nothing more */

    for (nulls = 0; nulls < 2; /* void */ ) {
        busy = PQisBusy(conn->pgc);

        ngx_http_fcchat_pg_check(conn);

        if (busy) {
            return NGX_AGAIN;
        }

        res = PQgetResult(conn->pgc);

        ngx_http_fcchat_pg_check(conn);

        if (res) {
            nulls = 0;

        } else {
            nulls++;
        }

        rc = ngx_http_fcchat_pg_pipe_result(conn, res);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_pg_pipe_result(ngx_http_fcchat_pg_conn_t *conn, PGresult *res)
{
    ExecStatusType               status;
    ngx_http_fcchat_pg_job_t    *job;
    ngx_http_fcchat_pg_query_t  *q;

    job = ngx_http_fcchat_pg_pipe_first(conn);
    q = (job && job->read < job->nqueries) ? &job->queries[job->read] : NULL;

    if (res == NULL) {
        if (q && q->parsed) {
            q->parsed = 0;

        } else if (q && job->results[job->read]) {
            job->read++;
        }

        return NGX_OK;
    }

    status = PQresultStatus(res);

    if (job == NULL) {

        /* a last word before the server goes; anything else is nobody's */

        if (status == PGRES_FATAL_ERROR) {
            ngx_http_fcchat_pg_pipe_notice(conn, res);
        }

        PQclear(res);
        return (status == PGRES_FATAL_ERROR) ? NGX_OK : NGX_ERROR;
    }

    switch (status) {

    case PGRES_PIPELINE_SYNC:
        PQclear(res);
        return (q == NULL) ? ngx_http_fcchat_pg_pipe_synced(conn, job)
                           : NGX_ERROR;

    case PGRES_FATAL_ERROR:
        ngx_http_fcchat_pg_pipe_notice(conn, res);

        if (ngx_http_fcchat_pg_pipe_error(job, res) != NGX_OK) {
            PQclear(res);
            return NGX_ABORT;
        }

        break;

    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_PIPELINE_ABORTED:
        break;

    default:
        PQclear(res);
        return NGX_ERROR;
    }

    if (q && q->parsing) {
        ngx_http_fcchat_pg_prepare_parsed(q, status);
        q->parsing = 0;
        q->parsed = 1;
        PQclear(res);

    } else if (q && job->results[job->read] == NULL) {
        job->results[job->read] = res;

    } else {
        PQclear(res);

        /* of the commit, or nobody's */

        return (status == PGRES_FATAL_ERROR) ? NGX_OK : NGX_ERROR;
    }

    return NGX_OK;
}


/* NGX_ERROR: it is libpq's own */

static ngx_int_t
ngx_http_fcchat_pg_pipe_error(ngx_http_fcchat_pg_job_t *job, PGresult *res)
{
    u_char       text[NGX_HTTP_FCCHAT_PG_TEXT];
    const char  *message, *sqlstate;

    sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    if (sqlstate == NULL) {
        return NGX_ERROR;
    }

    if (job->failed) {
        return NGX_OK;
    }

    job->failed = 1;

    (void) ngx_cpystrn((u_char *) job->sqlstate, (u_char *) sqlstate,
                       sizeof(job->sqlstate));

    message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (message == NULL) {
        message = PQresultErrorMessage(res);
    }

    job->message.len = ngx_http_fcchat_net_line(text, sizeof(text), message);
    job->message.data = ngx_pnalloc(job->pool, job->message.len);

    if (job->message.data == NULL) {
        job->message.len = 0;
        return NGX_OK;
    }

    ngx_memcpy(job->message.data, text, job->message.len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_pg_pipe_synced(ngx_http_fcchat_pg_conn_t *conn,
    ngx_http_fcchat_pg_job_t *job)
{
    PGTransactionStatusType      tx;
    ngx_http_fcchat_pg_status_e  status;

    /* a BEGIN inside of a job: what follows would look committed and not be;
     * known only while nothing else is under way, and the loss of the
     * connection ends this job as UNKNOWN */

    tx = PQtransactionStatus(conn->pgc);

    if (tx == PQTRANS_INTRANS || tx == PQTRANS_INERROR) {
        return NGX_ERROR;
    }

    ngx_http_fcchat_stat_time(NGX_HTTP_FCCHAT_STAT_PG_TRIP,
                              ngx_http_fcchat_stat_now() - job->sent);

    ngx_queue_remove(&job->queue);
    conn->nsent--;

    if (job->lane == NGX_HTTP_FCCHAT_PG_WRITE) {
        conn->nwrites--;

        /* the timer stays in the tree: it would be set again soon */

        conn->limit.cancelable = (conn->nwrites == 0);
    }

    status = job->failed ? NGX_HTTP_FCCHAT_PG_FAILED : NGX_HTTP_FCCHAT_PG_OK;

    if (status == NGX_HTTP_FCCHAT_PG_FAILED
        && ngx_http_fcchat_pg_prepare_again(job))
    {
        job->deadline = ngx_current_msec + conn->pg->conf->timeout;
        ngx_queue_insert_head(&conn->pg->waiting[job->lane], &job->queue);
        ngx_http_fcchat_pg_post(conn->pg);

        return NGX_OK;
    }

    ngx_http_fcchat_pg_done(conn->pg, job, status);

    return NGX_OK;
}


void
ngx_http_fcchat_pg_pipe_limit(ngx_event_t *ev)
{
    ngx_msec_int_t              left;
    ngx_http_fcchat_pg_job_t   *job;
    ngx_http_fcchat_pg_conn_t  *conn;

    conn = ev->data;

    job = ngx_http_fcchat_pg_pipe_first(conn);
    if (job == NULL) {
        return;
    }

    left = (ngx_msec_int_t) (job->deadline - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, left);
        return;
    }

    /* PQcancel() would block.  A server that hangs is away, too */

    conn->away = 1;

    ngx_http_fcchat_pg_close(conn, "no answer in time");
}


void
ngx_http_fcchat_pg_pipe_lost(ngx_http_fcchat_pg_conn_t *conn)
{
    ngx_http_fcchat_pg_job_t  *job;

    for ( ;; ) {
        job = ngx_http_fcchat_pg_pipe_first(conn);
        if (job == NULL) {
            break;
        }

        ngx_queue_remove(&job->queue);
        ngx_http_fcchat_pg_done(conn->pg, job, NGX_HTTP_FCCHAT_PG_UNKNOWN);
    }

    conn->nsent = 0;
    conn->nwrites = 0;
    conn->limit.cancelable = 1;
}


static ngx_http_fcchat_pg_job_t *
ngx_http_fcchat_pg_pipe_first(ngx_http_fcchat_pg_conn_t *conn)
{
    if (ngx_queue_empty(&conn->sent)) {
        return NULL;
    }

    return ngx_queue_data(ngx_queue_head(&conn->sent),
                          ngx_http_fcchat_pg_job_t, queue);
}


/* also for results; what ends the connection is kept for the log */

void
ngx_http_fcchat_pg_pipe_notice(void *data, const PGresult *res)
{
    ngx_http_fcchat_pg_conn_t *conn = data;

    size_t       len;
    u_char       text[NGX_HTTP_FCCHAT_PG_TEXT];
    const char  *severity, *message, *end;

    severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    if (severity == NULL || message == NULL) {
        return;
    }

    if (ngx_strcmp(severity, "FATAL") == 0
        || ngx_strcmp(severity, "PANIC") == 0)
    {
        conn->fatal_len = ngx_http_fcchat_net_line(conn->fatal,
                                                  sizeof(conn->fatal), message);
        return;
    }

    if (ngx_strcmp(severity, "ERROR") == 0) {
        return;
    }

    end = ngx_http_fcchat_net_seldom(&conn->pg->notices, 1);

    if (end) {
        len = ngx_http_fcchat_net_line(text, sizeof(text), message);

        ngx_log_error(NGX_LOG_INFO, conn->pg->log, 0,
                      "fcchat postgres: %*s%s", len, text, end);
    }
}
