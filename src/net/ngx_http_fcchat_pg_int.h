
/*
 * Inside of the PostgreSQL pool: shared by its connections and its pipeline.
 *
 * States of a connection:
 *
 *     DOWN ------> CONNECTING ------> UP
 *      ^  (timer)      |              |
 *      +---------------+--------------+   close(), then the timer again
 *
 * A job is in exactly one queue: pg->waiting[lane], conn->sent or pg->done.
 * Handlers run from pg->post alone, where no libpq call is on the stack, so
 * nothing that they do can pull a connection away from under its reader.
 */


#ifndef _NGX_HTTP_FCCHAT_PG_INT_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_PG_INT_H_INCLUDED_


#include <ngx_http_fcchat_pg.h>
#include <ngx_http_fcchat_net.h>
#include <ngx_http_fcchat_stat.h>


#define NGX_HTTP_FCCHAT_PG_LANES      2
#define NGX_HTTP_FCCHAT_PG_IN_FLIGHT  64        /* jobs of a connection */
#define NGX_HTTP_FCCHAT_PG_STABLE     1000      /* ms up that end a backoff */
#define NGX_HTTP_FCCHAT_PG_TEXT       512       /* of a server, in a line */


typedef struct ngx_http_fcchat_pg_conn_s  ngx_http_fcchat_pg_conn_t;


typedef enum {
    NGX_HTTP_FCCHAT_PG_DOWN = 0,
    NGX_HTTP_FCCHAT_PG_CONNECTING,
    NGX_HTTP_FCCHAT_PG_UP
} ngx_http_fcchat_pg_state_e;


typedef enum {
    NGX_HTTP_FCCHAT_PG_NEW = 0,
    NGX_HTTP_FCCHAT_PG_PARSING,
    NGX_HTTP_FCCHAT_PG_READY
} ngx_http_fcchat_pg_statement_e;


struct ngx_http_fcchat_pg_statement_s {
    ngx_str_node_t                    sn;       /* its text */
    ngx_http_fcchat_pg_statement_e    state;
    ngx_uint_t                        tries;    /* that failed */
    char                              name[48];
};


struct ngx_http_fcchat_pg_conn_s {
    ngx_http_fcchat_pg_t        *pg;
    ngx_uint_t                   number;
    ngx_http_fcchat_pg_state_e   state;

    PGconn                      *pgc;
    ngx_connection_t            *c;         /* NULL: libpq closed the socket */

    ngx_queue_t                  sent;      /* jobs whose Sync is not here */
    ngx_uint_t                   nsent;
    ngx_uint_t                   nwrites;   /* of these in the WRITE lane */

    ngx_event_t                  retry;     /* backoff, or time to connect */
    ngx_event_t                  limit;     /* of the oldest job sent */

    ngx_rbtree_t                 statements;
    ngx_rbtree_node_t            sentinel;
    ngx_uint_t                   nstatements;

    ngx_uint_t                   attempt;
    ngx_uint_t                   first;     /* host of the next attempt */
    ngx_msec_t                   since;     /* up since */
    u_char                       fatal[NGX_HTTP_FCCHAT_PG_TEXT];
    size_t                       fatal_len; /* what the server said last */

    unsigned                     away:1;    /* the last attempt failed */
    unsigned                     logged:1;  /* the loss is in the log */
};


struct ngx_http_fcchat_pg_s {
    ngx_http_fcchat_pg_conf_t   *conf;
    void                       (*changed)(void *data, ngx_uint_t up);
    void                        *data;
    ngx_log_t                   *log;

    ngx_queue_t                  waiting[NGX_HTTP_FCCHAT_PG_LANES];
    ngx_event_t                  expire[NGX_HTTP_FCCHAT_PG_LANES];
    ngx_queue_t                  done;
    ngx_uint_t                   njobs;     /* in any of the queues */

    ngx_event_t                  post;
    ngx_http_fcchat_seldom_t     notices;   /* of triggers and the like */

    unsigned                     told:1;    /* what changed() said last */
    unsigned                     stop:1;    /* no connections any more */

    ngx_uint_t                   nconns;
    ngx_http_fcchat_pg_conn_t    conns[1];
};


/* ngx_http_fcchat_pg.c */

/* frees the connection; its jobs are done; tries again later */
void ngx_http_fcchat_pg_close(ngx_http_fcchat_pg_conn_t *conn,
    const char *reason);

/* after a libpq call: drops conn->c when libpq has closed its socket */
void ngx_http_fcchat_pg_check(ngx_http_fcchat_pg_conn_t *conn);

void ngx_http_fcchat_pg_done(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_pg_status_e status);
void ngx_http_fcchat_pg_post(ngx_http_fcchat_pg_t *pg);

/* 1 when the last attempt of all connections that serve the lane failed */
ngx_uint_t ngx_http_fcchat_pg_away(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane);


/* ngx_http_fcchat_pg_job.c */

/* the least loaded connection that can take a job, or NULL */
ngx_http_fcchat_pg_conn_t *ngx_http_fcchat_pg_choose(ngx_http_fcchat_pg_t *pg,
    ngx_http_fcchat_pg_lane_e lane);

/* sends what waits, as far as the connections take it; arms pg->expire */
void ngx_http_fcchat_pg_dispatch(ngx_http_fcchat_pg_t *pg);

/* the waiting jobs that can't wait longer are done; all of them if pg->stop */
void ngx_http_fcchat_pg_refuse(ngx_http_fcchat_pg_t *pg);
void ngx_http_fcchat_pg_expire_handler(ngx_event_t *ev);

/* calls the handlers */
void ngx_http_fcchat_pg_deliver(ngx_http_fcchat_pg_t *pg);


/* ngx_http_fcchat_pg_prepare.c */

/* sends a statement, prepared where it may be; what libpq returned */
int ngx_http_fcchat_pg_prepare_send(ngx_http_fcchat_pg_conn_t *conn,
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_pg_query_t *q);

/* the answer to the query's Parse */
void ngx_http_fcchat_pg_prepare_parsed(ngx_http_fcchat_pg_query_t *q,
    ExecStatusType status);

/* 1 when the job failed for its prepared statements alone: it is as it was
 * before it was sent, and will not use any */
ngx_uint_t ngx_http_fcchat_pg_prepare_again(ngx_http_fcchat_pg_job_t *job);

void ngx_http_fcchat_pg_prepare_init(ngx_http_fcchat_pg_conn_t *conn);

/* the connection is gone, and its statements with it */
void ngx_http_fcchat_pg_prepare_free(ngx_http_fcchat_pg_conn_t *conn);


/* ngx_http_fcchat_pg_pipe.c */

/* NGX_OK; NGX_DECLINED: not sent, the connection is lost; NGX_ERROR: not sent
 * because of the job.  Without NGX_OK the connection has to be closed */
ngx_int_t ngx_http_fcchat_pg_pipe_send(ngx_http_fcchat_pg_conn_t *conn,
    ngx_http_fcchat_pg_job_t *job);
void ngx_http_fcchat_pg_pipe_read(ngx_http_fcchat_pg_conn_t *conn);
void ngx_http_fcchat_pg_pipe_flush(ngx_http_fcchat_pg_conn_t *conn);
void ngx_http_fcchat_pg_pipe_limit(ngx_event_t *ev);

/* ends the jobs that were sent, as UNKNOWN */
void ngx_http_fcchat_pg_pipe_lost(ngx_http_fcchat_pg_conn_t *conn);
void ngx_http_fcchat_pg_pipe_notice(void *data, const PGresult *res);


#endif /* _NGX_HTTP_FCCHAT_PG_INT_H_INCLUDED_ */
