
/*
 * PostgreSQL through nonblocking libpq in pipeline mode: a pool of a worker.
 *
 * The unit of work is a job: one or more statements and one Sync, hence one
 * implicit transaction.  A job is done when its Sync result has come, not
 * before: a deferred constraint fails after the last statement's result.
 *
 * A job belongs to its creator until it is sent; then to the pool, which calls
 * the handler exactly once, never from inside send(), and destroys the job when
 * the handler returns, unless that keeps it by job->again.  An owner that dies
 * meanwhile sets job->data to NULL (and its handler tests that), it does not
 * free the job.
 */


#ifndef _NGX_HTTP_FCCHAT_PG_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_PG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <libpq-fe.h>


#define NGX_HTTP_FCCHAT_PG_QUERIES   4
#define NGX_HTTP_FCCHAT_PG_PARAMS    12
#define NGX_HTTP_FCCHAT_PG_MAX_JOBS  4096   /* waiting and sent, of a pool */


typedef struct ngx_http_fcchat_pg_s      ngx_http_fcchat_pg_t;
typedef struct ngx_http_fcchat_pg_job_s  ngx_http_fcchat_pg_job_t;
typedef struct ngx_http_fcchat_pg_statement_s  ngx_http_fcchat_pg_statement_t;

typedef void (*ngx_http_fcchat_pg_handler_pt)(ngx_http_fcchat_pg_job_t *job);


typedef enum {
    /* the Sync has come and nothing failed: committed */
    NGX_HTTP_FCCHAT_PG_OK = 0,

    /* the server refused: job->sqlstate and job->message; rolled back */
    NGX_HTTP_FCCHAT_PG_FAILED,

    /* sent, but the connection was lost before the Sync: perhaps committed */
    NGX_HTTP_FCCHAT_PG_UNKNOWN,

    /* never sent: no connection until the job's deadline */
    NGX_HTTP_FCCHAT_PG_UNAVAILABLE
} ngx_http_fcchat_pg_status_e;


typedef enum {
    NGX_HTTP_FCCHAT_PG_WRITE = 0,   /* the first connection, in order */
    NGX_HTTP_FCCHAT_PG_READ         /* the others (the first if it is alone) */
} ngx_http_fcchat_pg_lane_e;


/* one fcchat_postgres; made while the configuration is read */

typedef struct {
    ngx_str_t                       conninfo;       /* as written */
    ngx_uint_t                      connections;    /* per worker, >= 1 */
    ngx_msec_t                      timeout;        /* of connecting and of a
                                                     * job from sent to Sync */
    const char                    **keywords;       /* NULL-terminated, for */
    const char                   ***values;         /* PQconnectStartParams():
                                                     * of each host that an
                                                     * attempt may begin with */
    ngx_uint_t                      nhosts;         /* these, >= 1 */

    /* of the conninfo, for warnings */
    unsigned                        remote:1;       /* not this machine */
    unsigned                        verified:1;     /* sslmode=verify-... */
    unsigned                        password:1;     /* it has one in it */
} ngx_http_fcchat_pg_conf_t;


typedef struct {
    const char                     *sql;            /* lives until the Sync */
    ngx_uint_t                      nparams;
    const char                     *params[NGX_HTTP_FCCHAT_PG_PARAMS];

    /* the pool's */
    ngx_http_fcchat_pg_statement_t *statement;  /* NULL: sent as text */
    unsigned                        prepared:1; /* may be a statement */
    unsigned                        parsing:1;  /* the Parse's answer is due */
    unsigned                        parsed:1;   /* and had, but for its end */
} ngx_http_fcchat_pg_query_t;


struct ngx_http_fcchat_pg_job_s {
    ngx_pool_t                     *pool;       /* the job's own memory */
    ngx_http_fcchat_pg_handler_pt   handler;
    void                           *data;       /* the owner's */

    /* what to do: filled with ngx_http_fcchat_pg_query() */
    ngx_uint_t                      nqueries;
    ngx_http_fcchat_pg_query_t      queries[NGX_HTTP_FCCHAT_PG_QUERIES];

    /* how long it may wait for a connection, ms; 0: fail at once when the
     * server is known to be away (never during the first attempts at start) */
    ngx_msec_t                      wait;

    /* what came of it, valid in the handler */
    ngx_http_fcchat_pg_status_e     status;
    PGresult                       *results[NGX_HTTP_FCCHAT_PG_QUERIES];
    char                            sqlstate[6];
    ngx_str_t                       message;    /* one line, from the server */

    /* set by the handler that keeps the job, to send it once more or to discard
     * it; its results are gone when the handler returns */
    ngx_uint_t                      again;

    /* the pool's */
    ngx_queue_t                     queue;
    ngx_msec_t                      deadline;
    uint64_t                        sent;       /* us, for the figures */
    ngx_uint_t                      read;       /* results read so far */
    ngx_http_fcchat_pg_lane_e       lane;
    unsigned                        failed:1;   /* message is set */
    unsigned                        plain:1;    /* prepares nothing */
};


/*
 * Checks a conninfo string or URI while the configuration is read: parses it,
 * resolves host names (only here may anything block), adds what a worker needs:
 * gssencmode=disable, client_encoding, application_name, keepalives,
 * tcp_user_timeout, connect_timeout, options with timezone=UTC and
 * statement_timeout/lock_timeout/idle_in_transaction_session_timeout bound to
 * conf->timeout unless the user gave his own.  conf->conninfo, connections and
 * timeout are set.  NGX_CONF_OK or a text for nginx -t in cf->pool.
 */
char *ngx_http_fcchat_pg_conf(ngx_conf_t *cf, ngx_http_fcchat_pg_conf_t *conf);

/*
 * The pool of this worker; connects at once, reconnects with backoff for ever.
 * changed, if not NULL, is called with (data, up) whenever the first connection
 * comes or goes.  One log line per change of state.  Returns NULL without
 * memory.  Lives until ngx_http_fcchat_pg_destroy().
 */
ngx_http_fcchat_pg_t *ngx_http_fcchat_pg_create(
    ngx_http_fcchat_pg_conf_t *conf, void (*changed)(void *data, ngx_uint_t up),
    void *data, ngx_log_t *log);

/* closes all, at the worker's exit; jobs end as UNKNOWN or UNAVAILABLE */
void ngx_http_fcchat_pg_destroy(ngx_http_fcchat_pg_t *pg);

/* 1 when the lane has a connection that is ready */
ngx_uint_t ngx_http_fcchat_pg_up(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane);

/* a job with a pool of its own, or NULL */
ngx_http_fcchat_pg_job_t *ngx_http_fcchat_pg_job(ngx_log_t *log);

/*
 * Adds a statement; values are C strings in text format or NULL for SQL NULL,
 * not copied: they live in job->pool or longer.  NGX_ERROR when the job is
 * full.
 */
ngx_int_t ngx_http_fcchat_pg_query(ngx_http_fcchat_pg_job_t *job,
    const char *sql, ngx_uint_t nparams, const char **params);

/*
 * The same; the connection keeps the statement prepared for the next time.  For
 * a text that comes again and again and names its tables with their schema:
 * the types of its columns must not hang on the search_path.
 */
ngx_int_t ngx_http_fcchat_pg_prepared(ngx_http_fcchat_pg_job_t *job,
    const char *sql, ngx_uint_t nparams, const char **params);

/* for a job that will not be sent */
void ngx_http_fcchat_pg_discard(ngx_http_fcchat_pg_job_t *job);

/*
 * Takes the job.  NGX_OK: the handler will be called.  NGX_DECLINED: the server
 * is away and the job does not wait; NGX_BUSY: too many jobs; NGX_ERROR: no
 * memory.  In these cases the job is still the caller's.
 */
ngx_int_t ngx_http_fcchat_pg_send(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane, ngx_http_fcchat_pg_job_t *job);

/* jobs waiting and sent */
ngx_uint_t ngx_http_fcchat_pg_jobs(ngx_http_fcchat_pg_t *pg);

/* 1 when worker_shutdown_timeout is over: no job is taken any more */
ngx_uint_t ngx_http_fcchat_pg_stopped(ngx_http_fcchat_pg_t *pg);


#endif /* _NGX_HTTP_FCCHAT_PG_H_INCLUDED_ */
