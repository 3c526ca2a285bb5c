
/*
 * What the files of the store share: the store itself, reading a PGresult,
 * quoting, and what a failure means.
 */


#ifndef _NGX_HTTP_FCCHAT_STORE_INT_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_STORE_INT_H_INCLUDED_


#include <ngx_http_fcchat_store.h>
#include <ngx_http_fcchat_net.h>
#include <ngx_http_fcchat_stat.h>


/* "schema" with each '"' doubled, and its NUL */
#define NGX_HTTP_FCCHAT_STORE_IDENT_LEN                                       \
    (2 * NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX + sizeof("\"\""))

/* "schema"."table" and its NUL; neither has a '"' in it */
#define NGX_HTTP_FCCHAT_STORE_TABLE_LEN                                       \
    (2 * NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX + sizeof("\"\".\"\""))

#define NGX_HTTP_FCCHAT_STORE_WARNINGS  64
#define NGX_HTTP_FCCHAT_STORE_CLASSES   8
#define NGX_HTTP_FCCHAT_STORE_ASKING    64

/* what other tenants want waits behind a lock: ms that a job may wait for one,
 * in text; the second when it has been found held a moment ago */
#define NGX_HTTP_FCCHAT_STORE_LOCK      "250"
#define NGX_HTTP_FCCHAT_STORE_LOCK_NEXT "5"

/* what a function of sql/ is called in an error of the server */
#define NGX_HTTP_FCCHAT_STORE_OURS      ".fcchat_"

/* the first column that we put before those of fcchat_query room */
#define NGX_HTTP_FCCHAT_STORE_EPOCH     "epoch"


typedef struct {
    uint32_t                       hash;
    ngx_http_fcchat_seldom_t       seldom;
} ngx_http_fcchat_store_warning_t;


typedef struct ngx_http_fcchat_store_retain_s  ngx_http_fcchat_store_retain_t;


struct ngx_http_fcchat_store_s {
    ngx_http_fcchat_store_conf_t  *conf;
    ngx_http_fcchat_pg_t          *pg;
    ngx_log_t                     *log;

    void                         (*drained)(void *data);
    void                          *data;

    /* the lanes with something to write, by schema */
    ngx_rbtree_t                   lanes;
    ngx_rbtree_node_t              sentinel;

    /* items taken and not done yet */
    ngx_uint_t                     nitems;
    size_t                         size;

    /* of the cids made here: no two stores draw the same seed */
    uint64_t                       seed;
    uint64_t                       serial;

    /* reactions by schema */
    ngx_queue_t                    groups;
    ngx_uint_t                     nreactions;
    ngx_event_t                    tick;

    /* look-ups that have no answer yet, by a hash of the schema; and those of
     * them that go again, since a lock was in their way */
    ngx_uint_t                     asking[NGX_HTTP_FCCHAT_STORE_ASKING];
    ngx_queue_t                    locked;
    ngx_event_t                    again;

    ngx_http_fcchat_store_retain_t
                                  *retain;      /* NULL: off */

    /* when what was last logged */
    ngx_http_fcchat_store_warning_t
                                   schemas[NGX_HTTP_FCCHAT_STORE_WARNINGS];
    ngx_http_fcchat_store_warning_t
                                   classes[NGX_HTTP_FCCHAT_STORE_CLASSES];
    ngx_http_fcchat_seldom_t       nowhere;

    unsigned                       closing:1;
    unsigned                       tried:1;     /* fcchat_query was */
};


/* what to do about a job that did not commit */

typedef enum {
    NGX_HTTP_FCCHAT_STORE_DONE = 0,     /* it did */
    NGX_HTTP_FCCHAT_STORE_LATER,        /* the server: try again */
    NGX_HTTP_FCCHAT_STORE_ROW,          /* one of the rows: find it */
    NGX_HTTP_FCCHAT_STORE_MISSING,      /* something that sql/ makes */
    NGX_HTTP_FCCHAT_STORE_NOWHERE       /* the schema */
} ngx_http_fcchat_store_fate_e;


/* the file that most jobs need, and another */
#define NGX_HTTP_FCCHAT_STORE_FILE    "sql/001_fcchat.sql"
#define NGX_HTTP_FCCHAT_STORE_FILE_4  "sql/004_fcchat_retention.sql"

/* tells the log as well, with bounds; schema: of the job; file: what is to be
 * applied where something is missing, or NULL: the tables of
 * fcchat_tenant_tables are */
ngx_http_fcchat_store_fate_e ngx_http_fcchat_store_fate(
    ngx_http_fcchat_store_t *store, ngx_http_fcchat_pg_job_t *job,
    ngx_str_t *schema, const char *file);

/* 1: the job's schema does not exist, by the answer to store_path() */
ngx_uint_t ngx_http_fcchat_store_nowhere(ngx_http_fcchat_pg_job_t *job);

/* NULL: the same was logged less than so many seconds ago; else what the line
 * ends with */
const char *ngx_http_fcchat_store_seldom(
    ngx_http_fcchat_store_warning_t *warnings, ngx_uint_t n, uint32_t hash,
    time_t seconds);

/* tells the log of an answer that is not what the query can give */
void ngx_http_fcchat_store_malformed(ngx_http_fcchat_store_t *store,
    const char *what);


/* schema as an identifier with its quotes, NUL-terminated, or NULL when it
 * can't be the name of one; ident has NGX_HTTP_FCCHAT_STORE_IDENT_LEN bytes */
char *ngx_http_fcchat_store_ident(u_char *ident, ngx_str_t *schema);

/* format with up to three %s for the identifier of schema; NULL as above or
 * without memory */
const char *ngx_http_fcchat_store_sql(ngx_pool_t *pool, const char *format,
    ngx_str_t *schema);

/* the job's first statement: the schema with public behind it, and UTC; and
 * whether there is such a schema, which a path does not mind; and how long the
 * job may wait for a lock, _STORE_LOCK unless ngx_http_fcchat_store_hurry() */
ngx_int_t ngx_http_fcchat_store_path(ngx_http_fcchat_pg_job_t *job,
    ngx_str_t *schema);
void ngx_http_fcchat_store_hurry(ngx_http_fcchat_pg_job_t *job,
    const char *ms);

/* a text for a parameter; NULL for one with a NUL, or without memory */
const char *ngx_http_fcchat_store_param(ngx_pool_t *pool, ngx_str_t *value);

/* a decimal number for a parameter, or NULL */
const char *ngx_http_fcchat_store_number(ngx_pool_t *pool, int64_t n);

/* n of them as a bigint[], or NULL */
const char *ngx_http_fcchat_store_array(ngx_pool_t *pool, int64_t *elts,
    ngx_uint_t n);


/* the rows of the job's n-th result when it has so many columns, else -1 */
ngx_int_t ngx_http_fcchat_store_rows(ngx_http_fcchat_pg_job_t *job,
    ngx_uint_t n, ngx_uint_t columns);

/* NGX_ERROR: NULL, not a number, or beyond int64_t */
ngx_int_t ngx_http_fcchat_store_int(PGresult *res, ngx_uint_t row,
    ngx_uint_t column, int64_t *value);

/* as above, but NULL gives 0 */
ngx_int_t ngx_http_fcchat_store_int_null(PGresult *res, ngx_uint_t row,
    ngx_uint_t column, int64_t *value);

/* the bytes live as long as res; NULL gives "" */
void ngx_http_fcchat_store_text(PGresult *res, ngx_uint_t row,
    ngx_uint_t column, ngx_str_t *value);

void ngx_http_fcchat_store_fcc_text(PGresult *res, ngx_uint_t row,
    ngx_uint_t column, fcc_str_t *value);

/* 1 for true */
ngx_uint_t ngx_http_fcchat_store_flag(PGresult *res, ngx_uint_t row,
    ngx_uint_t column);


/* ours for a session and for a user */

#define NGX_HTTP_FCCHAT_STORE_SESSION_SQL                                     \
    "SELECT session_data FROM django_session "                                \
    "WHERE session_key = $1 AND expire_date > now()"

#define NGX_HTTP_FCCHAT_STORE_USER_SQL                                        \
    "SELECT id, username, password, is_active, is_staff "                     \
    "FROM accounts_user WHERE id = $1::bigint"


/* columns 2 to 10 of a row into an event: seq, id, the user's id, at in ms, the
 * user's name and is_staff, type, text, detail */
ngx_int_t ngx_http_fcchat_store_event_read(PGresult *res, ngx_uint_t row,
    fcc_event_t *e);


/* look-ups: a job with its question, and what reads the answer */

typedef ngx_int_t (*ngx_http_fcchat_store_read_pt)(
    ngx_http_fcchat_pg_job_t *job, ngx_http_fcchat_store_answer_t *answer);

struct ngx_http_fcchat_store_ask_s {
    ngx_http_fcchat_store_t       *store;
    ngx_http_fcchat_store_ask_pt   handler;     /* NULL: forgotten */
    void                          *data;
    ngx_http_fcchat_store_read_pt  read;
    ngx_str_t                      schema;
    const char                    *file;        /* of sql/ that it needs */
    ngx_http_fcchat_store_query_e  query;       /* if own: of fcchat_query */

    ngx_uint_t                    *asking;      /* its schema's, in the store */
    ngx_http_fcchat_pg_job_t      *job;
    ngx_queue_t                    queue;       /* in store->locked */
    ngx_msec_t                     deadline;    /* of going again */
    unsigned                       own:1;       /* the site's statement */
};

ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_ask(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema,
    ngx_http_fcchat_pg_job_t **job);

/* asks; on failure the job is discarded, and NULL is returned */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_ask_send(
    ngx_http_fcchat_store_ask_t *ask, ngx_http_fcchat_pg_job_t *job,
    ngx_http_fcchat_store_read_pt read, ngx_http_fcchat_store_ask_pt handler,
    void *data);


/*
 * fcchat_query.  The site's statement or NULL; the one to ask with, sql unless
 * the site has its own; tries all of them in the schemas that are known, once,
 * for the log's sake; and two that tell the log, with bounds: whether an answer
 * has the columns that it must have (NGX_OK, NGX_ERROR), and whether it is its
 * text that made the job fail (NGX_OK, NGX_DECLINED).
 */

const char *ngx_http_fcchat_store_query(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_store_query_e n);
ngx_int_t ngx_http_fcchat_store_ask_query(ngx_http_fcchat_store_ask_t *ask,
    ngx_http_fcchat_store_query_e n, const char *sql, ngx_uint_t nparams,
    const char **params);
void ngx_http_fcchat_store_queries_try(ngx_http_fcchat_store_t *store);
ngx_int_t ngx_http_fcchat_store_query_columns(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_query_e n, PGresult *res);
ngx_int_t ngx_http_fcchat_store_query_failed(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, ngx_http_fcchat_store_query_e n,
    ngx_http_fcchat_pg_job_t *job);


/*
 * The batch as a job, and its answer into the items.  Not patient: the rooms
 * that somebody else holds are left out, and their items get UNAVAILABLE.
 */

ngx_http_fcchat_pg_job_t *ngx_http_fcchat_store_append(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, ngx_queue_t *items,
    ngx_uint_t patient);
ngx_int_t ngx_http_fcchat_store_append_read(ngx_http_fcchat_pg_job_t *job,
    ngx_queue_t *items, ngx_uint_t n);


/*
 * What a lane has put apart.  user_id 0: all of the room; asked for, anybody of
 * it.  Takes what is not there yet, NGX_DECLINED: there are too many; takes out
 * the first whose time is over, 0: there is none; gives how many ms are left to
 * the next one, max at most.
 */

#define NGX_HTTP_FCCHAT_STORE_APART_MAX  32

typedef struct {
    int64_t                            room_id;
    int64_t                            user_id;
    ngx_msec_t                         until;
} ngx_http_fcchat_store_apart_elt_t;

typedef struct {
    ngx_uint_t                         n;
    ngx_http_fcchat_store_apart_elt_t  elts[NGX_HTTP_FCCHAT_STORE_APART_MAX];
} ngx_http_fcchat_store_apart_t;

ngx_uint_t ngx_http_fcchat_store_apart(ngx_http_fcchat_store_apart_t *apart,
    int64_t room_id, int64_t user_id);
ngx_int_t ngx_http_fcchat_store_apart_put(ngx_http_fcchat_store_apart_t *apart,
    int64_t room_id, int64_t user_id, ngx_msec_t pause);
ngx_uint_t ngx_http_fcchat_store_apart_over(
    ngx_http_fcchat_store_apart_t *apart);
ngx_msec_int_t ngx_http_fcchat_store_apart_left(
    ngx_http_fcchat_store_apart_t *apart, ngx_msec_int_t max);


void ngx_http_fcchat_store_write_init(ngx_http_fcchat_store_t *store);

/* the server came back: no need to wait */
void ngx_http_fcchat_store_write_up(ngx_http_fcchat_store_t *store);

/* ends all that is left, after the pool's end */
void ngx_http_fcchat_store_write_close(ngx_http_fcchat_store_t *store);

void ngx_http_fcchat_store_ask_init(ngx_http_fcchat_store_t *store);
void ngx_http_fcchat_store_ask_close(ngx_http_fcchat_store_t *store);

/* fcchat_retention: NGX_ERROR without memory; and a schema that was seen, which
 * is one of the tenants to do it for */
ngx_int_t ngx_http_fcchat_store_retain_init(ngx_http_fcchat_store_t *store);
void ngx_http_fcchat_store_retain_close(ngx_http_fcchat_store_t *store);
void ngx_http_fcchat_store_retain_add(ngx_http_fcchat_store_t *store,
    ngx_str_t *name);

void ngx_http_fcchat_store_reaction_init(ngx_http_fcchat_store_t *store);
void ngx_http_fcchat_store_reaction_close(ngx_http_fcchat_store_t *store);


#endif /* _NGX_HTTP_FCCHAT_STORE_INT_H_INCLUDED_ */
