
/*
 * The load generator: what its three files share.
 */


#ifndef _LOAD_H_INCLUDED_
#define _LOAD_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <openssl/ssl.h>


#define LOAD_PIDS    8
#define LOAD_SLICES  6
#define LOAD_RING    1024                   /* messages in flight, at most */
#define LOAD_STAMP   33                     /* ~room sender number nsec */
#define LOAD_PATH    512

#define LOAD_SEC     1000000000ULL


typedef enum {
    LOAD_OLD = 0,                           /* what the pages speak */
    LOAD_V1,
    LOAD_RAW                                /* what is sent is what comes */
} load_proto_t;


typedef struct {
    uint64_t            count;
    uint64_t            max;
    uint64_t            bucket[64 * 32];
} hist_t;


typedef struct {
    const char         *name;
    long                pid;
    uint64_t            cpu;                /* nanoseconds, at the last mark */
    uint64_t            cpu_connect;
    uint64_t            cpu_run;
    long                rss_before;         /* KB */
    long                rss_after;
    long                rss_end;
} proc_t;


typedef struct {
    uint8_t            *data;
    size_t              len;
    size_t              size;
} bytes_t;


typedef struct {
    int                 fd;
    uint8_t             state;
    uint8_t             stalled;
    uint8_t             queued;             /* in load.dirty */
    uint8_t             welcome;
    uint32_t            room;
    uint32_t            index;
    uint32_t            got;                /* messages since the connect */
    uint64_t            seq;
    uint32_t           *next;               /* of each sender of the room */
    bytes_t             in;                 /* what is not a whole frame yet */
    bytes_t             out;
    SSL                *ssl;
} conn_t;


enum {
    CONN_NONE = 0,
    CONN_CONNECT,
    CONN_TLS,
    CONN_REPLY,
    CONN_OPEN,
    CONN_CLOSED
};


typedef struct {
    conn_t             *conn;
    uint32_t            room;
    uint32_t            index;
    uint32_t            sent;
    uint32_t            done;
    uint32_t            left[LOAD_RING];
} sender_t;


typedef struct {
    uint32_t            members;            /* that read */
    char                epoch[64];
} room_t;


typedef struct {
    /* what was asked for */

    char                host[128];
    char                path[LOAD_PATH];
    char                origin[160];
    int                 port;
    int                 tls;
    load_proto_t        proto;
    uint32_t            n;
    uint32_t            rooms;
    uint32_t            senders;            /* of each room */
    uint32_t            stalled;
    uint32_t            flight;
    int                 echo;               /* done when its sender has it */
    int                 deflate;            /* permessage-deflate is offered */
    double              rate;
    double              seconds;
    double              idle;
    uint32_t            warm;
    uint32_t            missed;
    uint32_t            at_once;
    uint32_t            text;
    uint32_t            source;
    const char         *cookie_name;
    char              **cookies;
    uint32_t            ncookies;

    /* what is */

    int                 ep;
    int                 sending;            /* a done message begets another */
    conn_t             *conns;
    sender_t           *sender;
    room_t             *room;
    conn_t            **dirty;
    uint32_t            ndirty;
    uint32_t            open;
    uint32_t            opening;
    uint32_t            failed;
    uint32_t            closed;
    uint32_t            live;               /* in the second half of resume */
    uint32_t            wanted;             /* messages, to be live */
    uint64_t            now;
    uint64_t            from;               /* the measured time */
    uint64_t            to;

    /* what was counted */

    uint64_t            delivered;          /* all the time */
    uint64_t            expected;
    uint64_t            finished;
    uint64_t            run_delivered;      /* in the measured time */
    uint64_t            run_finished;
    uint64_t            gaps;
    uint64_t            backwards;
    uint64_t            strangers;
    uint64_t            others;
    uint64_t            bytes;
    uint64_t            wire;               /* those of messages' frames */
    int                 stuck;
    char                error[256];

    hist_t              latency;
    hist_t              slice[LOAD_SLICES];
    proc_t              procs[LOAD_PIDS];
    int                 nprocs;
} load_t;


extern load_t  load;


/* load_ws.c */

int conn_start(conn_t *c);
void conn_event(conn_t *c, uint32_t events);
void conn_drop(conn_t *c);
void conn_send(sender_t *s, uint64_t stamp);
void conn_flush(void);

/* load.c */

void load_opened(void);
void load_lost(conn_t *c, const char *why);
void load_message(conn_t *c, const uint8_t *p, size_t len);

/* load_stat.c */

uint64_t nsec(void);
void hist_add(hist_t *h, uint64_t v);
double hist_quantile(hist_t *h, double q);
void procs_mark(void);
void procs_add(size_t offset);
void procs_rss(size_t offset);
void report(FILE *out, double connect, double ran, double live);


#endif /* _LOAD_H_INCLUDED_ */
