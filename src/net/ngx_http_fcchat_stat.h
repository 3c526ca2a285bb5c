
/*
 * What is counted, and where.
 *
 * Each worker counts in a slot of its own in shared memory, which it alone
 * writes: no lock and no atomic operation, a plain addition to an aligned word.
 * A worker without a slot (nobody asks for the figures, or none is free) counts
 * in memory that nobody reads, so that counting never asks whether it is of
 * use.
 *
 * Counters and histograms of a worker that is gone are added to the totals,
 * once; its gauges and its rooms go with it.
 */


#ifndef _NGX_HTTP_FCCHAT_STAT_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_STAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <time.h>


/* a meaning that changes without the number of counters changes this one */
#define NGX_HTTP_FCCHAT_STAT_VERSION  2

#define NGX_HTTP_FCCHAT_STAT_SLOTS    256       /* workers, leaving ones too */
#define NGX_HTTP_FCCHAT_STAT_ROOMS    20        /* the largest that are told */
#define NGX_HTTP_FCCHAT_STAT_TENANT   64        /* bytes of its name */
#define NGX_HTTP_FCCHAT_STAT_NAME     256       /* bytes of a room's name */

/* a histogram: 64 us, twice that, ... 16.8 s, more; and the sum in us */
#define NGX_HTTP_FCCHAT_STAT_SHIFT    6
#define NGX_HTTP_FCCHAT_STAT_BUCKETS  20
#define NGX_HTTP_FCCHAT_STAT_HIST     (NGX_HTTP_FCCHAT_STAT_BUCKETS + 1)


/* counters; those of a family with labels follow each other in their order */

typedef enum {
    NGX_HTTP_FCCHAT_STAT_OPENED = 0,
    NGX_HTTP_FCCHAT_STAT_CLOSED = NGX_HTTP_FCCHAT_STAT_OPENED + 3,
    NGX_HTTP_FCCHAT_STAT_SLOW = NGX_HTTP_FCCHAT_STAT_CLOSED + 24,
    NGX_HTTP_FCCHAT_STAT_REFUSED,
    NGX_HTTP_FCCHAT_STAT_RECEIVED = NGX_HTTP_FCCHAT_STAT_REFUSED + 10,
    NGX_HTTP_FCCHAT_STAT_MESSAGES,
    NGX_HTTP_FCCHAT_STAT_REPEATS,
    NGX_HTTP_FCCHAT_STAT_ERRORS,
    NGX_HTTP_FCCHAT_STAT_DELIVERIES = NGX_HTTP_FCCHAT_STAT_ERRORS + 21,
    NGX_HTTP_FCCHAT_STAT_NOTICES,
    NGX_HTTP_FCCHAT_STAT_SENDS,
    NGX_HTTP_FCCHAT_STAT_BYTES_IN,
    NGX_HTTP_FCCHAT_STAT_BYTES_OUT,
    NGX_HTTP_FCCHAT_STAT_DEFLATED,
    NGX_HTTP_FCCHAT_STAT_DEFLATE_PLAIN,
    NGX_HTTP_FCCHAT_STAT_DEFLATE_PACKED,
    NGX_HTTP_FCCHAT_STAT_REACTIONS,
    NGX_HTTP_FCCHAT_STAT_RESUMES,
    NGX_HTTP_FCCHAT_STAT_RESETS,
    NGX_HTTP_FCCHAT_STAT_CATCHUPS = NGX_HTTP_FCCHAT_STAT_RESETS + 7,
    NGX_HTTP_FCCHAT_STAT_BACKFILLS,
    NGX_HTTP_FCCHAT_STAT_PAGES,
    NGX_HTTP_FCCHAT_STAT_CACHE_HIT,
    NGX_HTTP_FCCHAT_STAT_CACHE_NONE,
    NGX_HTTP_FCCHAT_STAT_CACHE_MISS,
    NGX_HTTP_FCCHAT_STAT_PG_JOBS,
    NGX_HTTP_FCCHAT_STAT_PG_CONNECTS = NGX_HTTP_FCCHAT_STAT_PG_JOBS + 4,
    NGX_HTTP_FCCHAT_STAT_PG_LOSSES,
    NGX_HTTP_FCCHAT_STAT_REDIS_CONNECTS,
    NGX_HTTP_FCCHAT_STAT_REDIS_LOSSES,
    NGX_HTTP_FCCHAT_STAT_PUBLISHED,
    NGX_HTTP_FCCHAT_STAT_UNPUBLISHED,
    NGX_HTTP_FCCHAT_STAT_BUS_RECEIVED,
    NGX_HTTP_FCCHAT_STAT_RETAINED,
    NGX_HTTP_FCCHAT_STAT_RETAIN_KEPT = NGX_HTTP_FCCHAT_STAT_RETAINED + 4,
    NGX_HTTP_FCCHAT_STAT_RETAIN_RUNS,
    NGX_HTTP_FCCHAT_STAT_RETAIN_ERRORS,
    NGX_HTTP_FCCHAT_STAT_API,

    /* histograms */
    NGX_HTTP_FCCHAT_STAT_COMMIT = NGX_HTTP_FCCHAT_STAT_API + 14,
    NGX_HTTP_FCCHAT_STAT_FANOUT = NGX_HTTP_FCCHAT_STAT_COMMIT
                                  + NGX_HTTP_FCCHAT_STAT_HIST,
    NGX_HTTP_FCCHAT_STAT_PG_TRIP = NGX_HTTP_FCCHAT_STAT_FANOUT
                                   + NGX_HTTP_FCCHAT_STAT_HIST,
    NGX_HTTP_FCCHAT_STAT_REDIS_TRIP = NGX_HTTP_FCCHAT_STAT_PG_TRIP
                                      + NGX_HTTP_FCCHAT_STAT_HIST,

    NGX_HTTP_FCCHAT_STAT_COUNTERS = NGX_HTTP_FCCHAT_STAT_REDIS_TRIP
                                    + NGX_HTTP_FCCHAT_STAT_HIST
} ngx_http_fcchat_stat_counter_e;


typedef enum {
    NGX_HTTP_FCCHAT_STAT_CONNECTIONS = 0,
    NGX_HTTP_FCCHAT_STAT_OPEN_ROOMS,
    NGX_HTTP_FCCHAT_STAT_UNSTORED,          /* messages */
    NGX_HTTP_FCCHAT_STAT_PG_UP,             /* connections */
    NGX_HTTP_FCCHAT_STAT_PG_QUEUE,          /* jobs, waiting and sent */
    NGX_HTTP_FCCHAT_STAT_REDIS_LINKS,       /* servers that are wanted */
    NGX_HTTP_FCCHAT_STAT_REDIS_UP,          /* and those that are there */
    NGX_HTTP_FCCHAT_STAT_REDIS_LAG,         /* us, of the last beat */
    NGX_HTTP_FCCHAT_STAT_RETAIN_LAST,       /* s, when a run ended */
    NGX_HTTP_FCCHAT_STAT_GAUGES
} ngx_http_fcchat_stat_gauge_e;


typedef struct {
    uint64_t    counters[NGX_HTTP_FCCHAT_STAT_COUNTERS];
    int64_t     gauges[NGX_HTTP_FCCHAT_STAT_GAUGES];
} ngx_http_fcchat_stat_t;


typedef struct {
    uint64_t    readers;
    uint16_t    tenant_len;
    uint16_t    name_len;
    u_char      tenant[NGX_HTTP_FCCHAT_STAT_TENANT];
    u_char      name[NGX_HTTP_FCCHAT_STAT_NAME];
} ngx_http_fcchat_stat_room_t;


/* a worker, as it is told */

typedef struct {
    ngx_pid_t   pid;
    ngx_uint_t  number;                     /* of its slot */
    ngx_uint_t  leaving;
    time_t      started;
    uint64_t    deliveries;
    int64_t     gauges[NGX_HTTP_FCCHAT_STAT_GAUGES];
} ngx_http_fcchat_stat_worker_t;


/* all workers at one moment; gauges are sums, but for the longest lag and the
 * last run of fcchat_retention */

typedef struct {
    ngx_http_fcchat_stat_t          all;
    ngx_uint_t                      nworkers;
    ngx_uint_t                      nrooms;
    ngx_http_fcchat_stat_worker_t   workers[NGX_HTTP_FCCHAT_STAT_SLOTS];
    ngx_http_fcchat_stat_room_t     rooms[8 * NGX_HTTP_FCCHAT_STAT_ROOMS];
} ngx_http_fcchat_stat_all_t;


typedef enum {
    NGX_HTTP_FCCHAT_STAT_COUNTER = 0,
    NGX_HTTP_FCCHAT_STAT_GAUGE,
    NGX_HTTP_FCCHAT_STAT_HISTOGRAM
} ngx_http_fcchat_stat_type_e;


/* what a figure is called, in all formats */

typedef struct {
    const char                     *name;       /* without "fcchat_" */
    const char                     *help;
    ngx_http_fcchat_stat_type_e     type;
    ngx_uint_t                      first;      /* counter or gauge */
    const char                     *label;      /* NULL: it has none */
    const char                    **values;     /* of the label, then NULL */
} ngx_http_fcchat_stat_family_t;


/* ends with a name that is NULL */
extern const ngx_http_fcchat_stat_family_t  ngx_http_fcchat_stat_families[];

/* where this process counts; never NULL */
extern ngx_http_fcchat_stat_t  *ngx_http_fcchat_stat;


#define ngx_http_fcchat_stat_add(i, k)                                        \
    ngx_http_fcchat_stat->counters[NGX_HTTP_FCCHAT_STAT_##i] += (k)

#define ngx_http_fcchat_stat_inc(i)  ngx_http_fcchat_stat_add(i, 1)

#define ngx_http_fcchat_stat_gauge(i, k)                                      \
    ngx_http_fcchat_stat->gauges[NGX_HTTP_FCCHAT_STAT_##i] += (k)


/* monotonic, in us; the event loop's clock would be too coarse */

static ngx_inline uint64_t
ngx_http_fcchat_stat_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* us into the histogram that begins at the counter */

static ngx_inline void
ngx_http_fcchat_stat_time(ngx_uint_t first, uint64_t us)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = us ? (us - 1) >> NGX_HTTP_FCCHAT_STAT_SHIFT : 0;
    i = n ? 64 - __builtin_clzll(n) : 0;
    i = ngx_min(i, NGX_HTTP_FCCHAT_STAT_BUCKETS - 1);

    ngx_http_fcchat_stat->counters[first + i]++;
    ngx_http_fcchat_stat->counters[first + NGX_HTTP_FCCHAT_STAT_BUCKETS] += us;
}


/*
 * One of the family that begins at the counter, by its label; the last one
 * stands for all that are not in the list.
 */
void ngx_http_fcchat_stat_label(ngx_uint_t first, const char *value,
    uint64_t n);


/* the shared memory for all workers of the configuration; NULL: no memory */
ngx_shm_zone_t *ngx_http_fcchat_stat_zone(ngx_conf_t *cf, void *tag);

/* takes a slot for this process, or goes on without (which is logged) */
void ngx_http_fcchat_stat_attach(ngx_shm_zone_t *zone, ngx_log_t *log);

/* at the process's end: what it counted goes to the totals */
void ngx_http_fcchat_stat_detach(void);

/*
 * The largest rooms of this process: begin, each room once, end.  owner is
 * whose rooms they are: those of others stay.  The end makes them known.
 */
void ngx_http_fcchat_stat_rooms_begin(void *owner);
void ngx_http_fcchat_stat_room(void *owner, ngx_str_t *tenant,
    ngx_str_t *name, ngx_uint_t readers);
void ngx_http_fcchat_stat_rooms_end(ngx_uint_t leaving);

/* the largest rooms first, at most STAT_ROOMS of them */
void ngx_http_fcchat_stat_read(ngx_shm_zone_t *zone,
    ngx_http_fcchat_stat_all_t *all);


#endif /* _NGX_HTTP_FCCHAT_STAT_H_INCLUDED_ */
