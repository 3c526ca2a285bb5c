
/*
 * A worker of nginx inside of one process: what the parts of the target "conn"
 * share.
 *
 *     ../conn.c    the script, and what must hold when it has been played
 *     nginx.c      nginx's core, and its clock
 *     socket.c     connections of clients
 *     client.c     what clients are sent is what they may be sent
 *     request.c    what they ask of the HTTP API
 *     pg.c         PostgreSQL's end of libpq's sockets
 *     rows.c       what it answers
 *     session.c    sessions of Django's
 *     redis.c      Redis's end of hiredis's
 *     alloc.c      memory that runs out
 *
 * Sockets of clients are made up, with nginx's own functions for them replaced;
 * those of libpq and hiredis are real ones, to Unix sockets that this process
 * listens on itself.  Time stands still until the script moves it.
 */


#ifndef _CONN_H_INCLUDED_
#define _CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>

#include "../fuzz.h"


#define CONN_CLIENTS  4
#define CONN_ROOM     "stream_1"
#define CONN_USER     "1"
#define CONN_COOKIE   2048      /* bytes of a session's cookie */
#define CONN_SECRET   "the back end's own secret"


typedef struct {
    u_char              *data;
    size_t               len;
    size_t               size;
    size_t               sent;      /* taken off the front */
} conn_bytes_t;


typedef struct {
    ngx_connection_t    *c;         /* NULL: closed, or never opened */
    conn_bytes_t         in;        /* to nginx */
    conn_bytes_t         out;       /* from nginx, until it has been judged */
    conn_bytes_t         said;      /* all that has come out, if strict */
    size_t               piece;     /* bytes of one recv(); 0: all */
    size_t               window;    /* bytes that it takes yet */
    unsigned             eof:1;
    unsigned             reset:1;

    /* client.c */
    unsigned             upgraded:1;
    unsigned             deflate:1;
    unsigned             closed:1;  /* nginx's Close has come */
    unsigned             refused:1;
    unsigned             api:1;     /* it only asks the HTTP API */
    unsigned             json:1;    /* what is to come is */
    size_t               body;      /* of a response, to come */
} conn_client_t;


/* what a server does with the next questions */

typedef enum {
    CONN_ANSWER = 0,
    CONN_NOTHING,           /* no rows; nil */
    CONN_ERROR,             /* refuses; arg says how */
    CONN_LOSE,              /* ends before it has answered */
    CONN_LOSE_AFTER,        /* and after it has done what was asked */
    CONN_NULL,              /* a column without a value */
    CONN_ODD,               /* a column with what it can't hold */
    CONN_FEWER,             /* columns than were asked for */
    CONN_MORE,
    CONN_HOLD,              /* says nothing until it is told to */
    CONN_REFUSE,            /* new connections as well */
    CONN_MODES
} conn_mode_e;


typedef struct {
    conn_mode_e          mode;
    unsigned             arg;
    unsigned             left;      /* questions until it answers again */
} conn_server_t;


extern conn_client_t     conn_clients[CONN_CLIENTS];
extern conn_server_t     conn_pg, conn_redis;
extern ngx_cycle_t      *conn_cycle;
extern int64_t           conn_head;
extern ngx_uint_t        conn_epoch;
extern char              conn_dir[];

/* FC_CONN_LOG=info or debug: what nginx logs and clients are sent is shown */
extern int               conn_said;


/* ---- ../conn.c ---- */

/*
 * Plays a script.  Of nginx's allocations in it the one numbered first and
 * those after it fail, times of them; 0: what the script itself says.  Returns
 * how many there were.
 */
extern int  conn_strict;    /* what the script expects must be */

uint64_t conn_play(const uint8_t *data, size_t size, uint64_t first,
    uint64_t times);


/* ---- bytes ---- */

void conn_put(conn_bytes_t *b, const void *data, size_t len);
void conn_putf(conn_bytes_t *b, const char *fmt, ...);
void conn_take(conn_bytes_t *b, size_t len);
void conn_drop(conn_bytes_t *b);

/* in network byte order */
void conn_put_int(conn_bytes_t *b, uint32_t n, int bytes);


/* ---- nginx.c ---- */

/* once: reads the configuration */
void conn_init(void);

/* a worker's life; memory that is shared is as at first */
void conn_begin(void);
void conn_end(void);

/* events, posted events and timers until nothing is left to do now */
void conn_settle(void);

/* moves the clock on, timer by timer */
void conn_advance(ngx_msec_t ms);

/* SIGQUIT, and what worker_shutdown_timeout does */
void conn_leave(void);
void conn_leave_now(void);


/* ---- socket.c ---- */

/* once: after nginx has made its events */
void conn_socket_init(void);

void conn_open(conn_client_t *cl);
void conn_write(conn_client_t *cl, const void *data, size_t len);
void conn_readable(conn_client_t *cl);
void conn_writable(conn_client_t *cl);


/* ---- client.c ---- */

/* what has come out so far is whole and what it should be */
void conn_judge(conn_client_t *cl);
void conn_forget(conn_client_t *cl);


/* ---- request.c ---- */

/*
 * A cookie in key, or NULL: of k 0 alice, 1 nobody, 2 another session of hers,
 * 3 a key that is none, 4 one that was tampered with.  "cookie": the engine is
 * signed_cookies.
 */
const char *conn_cookie(char *key, unsigned k, int cookie);

/*
 * Requests of the HTTP API, on a connection that is there or a new one.  k is
 * as above, and 5 the site's back end, 6 one with another secret, 7 alice with
 * another CSRF token, 8 with another Origin.
 */
void conn_get(conn_client_t *cl, unsigned k, const u_char *target, size_t len);

/*
 * room: 0 "publish" of the room, 1 "moderation"; 2 and 3 the same by chunks;
 * 4 and 5 the same where the rate is near.
 */
void conn_post(conn_client_t *cl, unsigned k, unsigned room,
    const u_char *body, size_t len);


/* ---- the servers ---- */

void conn_pg_init(const char *path);
void conn_redis_init(const char *path);

/* 1: something was read or written */
int conn_pg_run(void);
int conn_redis_run(void);

/* ends all connections */
void conn_pg_cut(void);
void conn_redis_cut(void);
int conn_pg_open(void);
int conn_redis_open(void);

/* what was held is answered; at most n bytes of it, 0: all */
void conn_pg_release(size_t n);
void conn_redis_release(size_t n);

/* on the n-th channel that somebody reads, as from another worker */
void conn_redis_publish(unsigned n, const u_char *data, size_t len);

/* the last one that was published, as if by another worker, with new numbers */
void conn_redis_repeat(unsigned n);

/* bytes of the server's own, on each connection */
void conn_redis_raw(const u_char *data, size_t len);

const char *conn_epoch_text(void);
int conn_mode(conn_server_t *server, conn_mode_e mode);
int conn_listen(const char *path);

int __real_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __real_listen(int fd, int backlog);


/* ---- rows.c ---- */

/* where the list of columns begins that the statement gives; NULL: it gives no
 * rows */
const char *conn_rows_list(const char *sql);
unsigned conn_rows_columns(const char *list);

/* the next one's expression; *pos is NULL after the last */
const char *conn_rows_column(const char **pos, size_t *len);

/* how many rows, and the number of the first one */
unsigned conn_rows(const char *sql, char **params, unsigned nparams,
    int64_t *seq);

/* a value of a row; NULL for SQL's */
void conn_rows_put(conn_bytes_t *body, const char *value);
void conn_rows_value(conn_bytes_t *body, const char *expr, size_t len,
    unsigned row, int64_t seq);


/* ---- session.c ---- */

const char *conn_session_data(int cookie);
const char *conn_session_pickle(size_t *len);
const char *conn_password(void);


/* ---- alloc.c ---- */

/* of nginx's allocations from now on the n-th and those after it fail, times
 * of them; 0: none does */
void conn_alloc_fail(uint64_t n, uint64_t times);

/* how many there have been since, and how many of them failed */
uint64_t conn_alloc_count(void);
uint64_t conn_alloc_failed(void);

/* what the servers and this program allocate is not counted */
void conn_alloc_ours(int ours);


#endif /* _CONN_H_INCLUDED_ */
