
/*
 * The figures as JSON and as Prometheus's text (exposition format 0.0.4).
 *
 * Both are made from the same list of families.  In JSON a family has its name
 * without "_total", and is a number, an object by label, or a histogram; gauges
 * are told for all workers, and for each.  Prometheus gets them for each worker
 * and adds up what it likes.
 */


#include <ngx_http_fcchat_status.h>


#define NGX_HTTP_FCCHAT_STATUS_SIZE    (64 * 1024)
#define NGX_HTTP_FCCHAT_STATUS_WORKER  2048
#define NGX_HTTP_FCCHAT_STATUS_LINE    512
#define NGX_HTTP_FCCHAT_STATUS_SECOND  1000000      /* us */


static void ngx_http_fcchat_json_worker(fcc_buf_t *b,
    ngx_http_fcchat_stat_worker_t *worker);
static void ngx_http_fcchat_json_family(fcc_buf_t *b,
    const ngx_http_fcchat_stat_family_t *f, ngx_http_fcchat_stat_t *all);
static void ngx_http_fcchat_json_rooms(fcc_buf_t *b,
    ngx_http_fcchat_stat_all_t *all);
static void ngx_http_fcchat_prom_type(fcc_buf_t *b, const char *name,
    const char *help, const char *type);
static void ngx_http_fcchat_prom_family(fcc_buf_t *b,
    const ngx_http_fcchat_stat_family_t *f, ngx_http_fcchat_stat_all_t *all);
static void ngx_http_fcchat_prom_histogram(fcc_buf_t *b, const char *name,
    uint64_t *n);
static void ngx_http_fcchat_prom_rooms(fcc_buf_t *b,
    ngx_http_fcchat_stat_all_t *all);
static void ngx_http_fcchat_prom_escape(fcc_buf_t *b, u_char *p, size_t len);
static void ngx_http_fcchat_status_put(fcc_buf_t *b, const char *fmt, ...);


/* us as seconds */

#define NGX_HTTP_FCCHAT_SECONDS      "%uL.%06uL"
#define ngx_http_fcchat_seconds(us)                                           \
    (uint64_t) (us) / NGX_HTTP_FCCHAT_STATUS_SECOND,                          \
    (uint64_t) (us) % NGX_HTTP_FCCHAT_STATUS_SECOND

#define ngx_http_fcchat_bucket(i)                                             \
    ((uint64_t) 1 << (NGX_HTTP_FCCHAT_STAT_SHIFT + (i)))


size_t
ngx_http_fcchat_status_size(ngx_http_fcchat_status_t *st)
{
    return NGX_HTTP_FCCHAT_STATUS_SIZE
           + st->all->nworkers * NGX_HTTP_FCCHAT_STATUS_WORKER
           + st->all->nrooms
             * (NGX_HTTP_FCCHAT_STATUS_LINE
                + FCC_PROTO_EXPANSION * (NGX_HTTP_FCCHAT_STAT_TENANT
                                         + NGX_HTTP_FCCHAT_STAT_NAME));
}


void
ngx_http_fcchat_status_json(fcc_buf_t *b, ngx_http_fcchat_status_t *st)
{
    ngx_uint_t                            i;
    ngx_time_t                           *tp;
    ngx_http_fcchat_stat_all_t           *all;
    const ngx_http_fcchat_stat_family_t  *f;

    all = st->all;
    tp = ngx_timeofday();

    ngx_http_fcchat_status_put(b, "{\"time\":%L,\"redis_lag_seconds\":"
                               NGX_HTTP_FCCHAT_SECONDS ",\"workers\":[",
                               (int64_t) tp->sec * 1000 + tp->msec,
                               ngx_http_fcchat_seconds(
                           all->all.gauges[NGX_HTTP_FCCHAT_STAT_REDIS_LAG]));

    for (i = 0; i < all->nworkers; i++) {
        ngx_http_fcchat_status_put(b, i ? "," : "");
        ngx_http_fcchat_json_worker(b, &all->workers[i]);
    }

    ngx_http_fcchat_json_rooms(b, all);

    if (st->zone_size) {
        ngx_http_fcchat_status_put(b, ",\"zone_bytes\":"
                                   "{\"size\":%uz,\"free\":%uz}",
                                   st->zone_size, st->zone_free);
    }

    fcc_buf_lit(b, ",\"bucket_seconds\":[");

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_BUCKETS - 1; i++) {
        ngx_http_fcchat_status_put(b, "%s" NGX_HTTP_FCCHAT_SECONDS,
                          i ? "," : "",
                          ngx_http_fcchat_seconds(ngx_http_fcchat_bucket(i)));
    }

    fcc_buf_lit(b, "]");

    for (f = ngx_http_fcchat_stat_families; f->name; f++) {
        ngx_http_fcchat_json_family(b, f, &all->all);
    }

    fcc_buf_lit(b, "}\n");
}


static void
ngx_http_fcchat_json_worker(fcc_buf_t *b,
    ngx_http_fcchat_stat_worker_t *worker)
{
    const ngx_http_fcchat_stat_family_t  *f;

    ngx_http_fcchat_status_put(b, "{\"worker\":%ui,\"pid\":%P,"
                               "\"leaving\":%s,\"started\":%T,"
                               "\"message_deliveries\":%uL",
                               worker->number, worker->pid,
                               worker->leaving ? "true" : "false",
                               worker->started, worker->deliveries);

    for (f = ngx_http_fcchat_stat_families; f->name; f++) {
        if (f->type == NGX_HTTP_FCCHAT_STAT_GAUGE) {
            ngx_http_fcchat_status_put(b, ",\"%s\":%L", f->name,
                                       worker->gauges[f->first]);
        }
    }

    fcc_buf_lit(b, "}");
}


static void
ngx_http_fcchat_json_rooms(fcc_buf_t *b, ngx_http_fcchat_stat_all_t *all)
{
    ngx_uint_t                    i;
    ngx_http_fcchat_stat_room_t  *room;

    fcc_buf_lit(b, "],\"rooms\":[");

    for (i = 0; i < all->nrooms; i++) {
        room = &all->rooms[i];

        ngx_http_fcchat_status_put(b, "%s{\"tenant\":", i ? "," : "");
        fcc_json_string(b, room->tenant, room->tenant_len);
        fcc_buf_lit(b, ",\"room\":");
        fcc_json_string(b, room->name, room->name_len);
        ngx_http_fcchat_status_put(b, ",\"readers\":%uL}", room->readers);
    }

    fcc_buf_lit(b, "]");
}


static void
ngx_http_fcchat_json_family(fcc_buf_t *b,
    const ngx_http_fcchat_stat_family_t *f, ngx_http_fcchat_stat_t *all)
{
    size_t       len;
    uint64_t    *n;
    ngx_uint_t   i;

    len = ngx_strlen(f->name);

    if (f->type == NGX_HTTP_FCCHAT_STAT_COUNTER) {
        len -= sizeof("_total") - 1;
    }

    ngx_http_fcchat_status_put(b, ",\"%*s\":", len, f->name);

    if (f->type == NGX_HTTP_FCCHAT_STAT_GAUGE) {
        ngx_http_fcchat_status_put(b, "%L", all->gauges[f->first]);
        return;
    }

    n = &all->counters[f->first];

    if (f->type == NGX_HTTP_FCCHAT_STAT_HISTOGRAM) {
        ngx_http_fcchat_status_put(b, "{\"sum\":" NGX_HTTP_FCCHAT_SECONDS
                                   ",\"buckets\":[",
                                   ngx_http_fcchat_seconds(
                                       n[NGX_HTTP_FCCHAT_STAT_BUCKETS]));

        for (i = 0; i < NGX_HTTP_FCCHAT_STAT_BUCKETS; i++) {
            ngx_http_fcchat_status_put(b, "%s%uL", i ? "," : "", n[i]);
        }

        fcc_buf_lit(b, "]}");
        return;
    }

    if (f->label == NULL) {
        ngx_http_fcchat_status_put(b, "%uL", *n);
        return;
    }

    for (i = 0; f->values[i]; i++) {
        ngx_http_fcchat_status_put(b, "%s\"%s\":%uL", i ? "," : "{",
                                   f->values[i], n[i]);
    }

    fcc_buf_lit(b, "}");
}


void
ngx_http_fcchat_status_prometheus(fcc_buf_t *b, ngx_http_fcchat_status_t *st)
{
    ngx_uint_t                            i;
    ngx_http_fcchat_stat_all_t           *all;
    ngx_http_fcchat_stat_worker_t        *worker;
    const ngx_http_fcchat_stat_family_t  *f;

    all = st->all;

    for (f = ngx_http_fcchat_stat_families; f->name; f++) {
        ngx_http_fcchat_prom_family(b, f, all);
    }

    ngx_http_fcchat_prom_type(b, "redis_lag_seconds",
                              "How long the last beat through Redis took.",
                              "gauge");

    for (i = 0; i < all->nworkers; i++) {
        worker = &all->workers[i];

        ngx_http_fcchat_status_put(b, "fcchat_redis_lag_seconds"
                                   "{worker=\"%ui\"} " NGX_HTTP_FCCHAT_SECONDS
                                   "\n", worker->number,
                                   ngx_http_fcchat_seconds(
                             worker->gauges[NGX_HTTP_FCCHAT_STAT_REDIS_LAG]));
    }

    ngx_http_fcchat_prom_type(b, "worker_leaving",
                              "1 for a worker that finishes after a reload.",
                              "gauge");

    for (i = 0; i < all->nworkers; i++) {
        worker = &all->workers[i];

        ngx_http_fcchat_status_put(b, "fcchat_worker_leaving{worker=\"%ui\"} "
                                   "%ui\n", worker->number, worker->leaving);
    }

    ngx_http_fcchat_prom_rooms(b, all);

    if (st->zone_size) {
        ngx_http_fcchat_prom_type(b, "zone_size_bytes",
                                  "Shared memory of the session cache.",
                                  "gauge");
        ngx_http_fcchat_status_put(b, "fcchat_zone_size_bytes %uz\n",
                                   st->zone_size);

        ngx_http_fcchat_prom_type(b, "zone_free_bytes",
                                  "What of it is in no use.", "gauge");
        ngx_http_fcchat_status_put(b, "fcchat_zone_free_bytes %uz\n",
                                   st->zone_free);
    }
}


static void
ngx_http_fcchat_prom_type(fcc_buf_t *b, const char *name, const char *help,
    const char *type)
{
    ngx_http_fcchat_status_put(b, "# HELP fcchat_%s %s\n"
                               "# TYPE fcchat_%s %s\n",
                               name, help, name, type);
}


static void
ngx_http_fcchat_prom_family(fcc_buf_t *b,
    const ngx_http_fcchat_stat_family_t *f, ngx_http_fcchat_stat_all_t *all)
{
    uint64_t           *n;
    ngx_uint_t          i;
    static const char  *types[] = { "counter", "gauge", "histogram" };

    ngx_http_fcchat_prom_type(b, f->name, f->help, types[f->type]);

    if (f->type == NGX_HTTP_FCCHAT_STAT_GAUGE) {

        for (i = 0; i < all->nworkers; i++) {
            ngx_http_fcchat_status_put(b, "fcchat_%s{worker=\"%ui\"} %L\n",
                                       f->name, all->workers[i].number,
                                       all->workers[i].gauges[f->first]);
        }

        return;
    }

    n = &all->all.counters[f->first];

    if (f->type == NGX_HTTP_FCCHAT_STAT_HISTOGRAM) {
        ngx_http_fcchat_prom_histogram(b, f->name, n);
        return;
    }

    if (f->label == NULL) {
        ngx_http_fcchat_status_put(b, "fcchat_%s %uL\n", f->name, *n);
        return;
    }

    for (i = 0; f->values[i]; i++) {
        ngx_http_fcchat_status_put(b, "fcchat_%s{%s=\"%s\"} %uL\n", f->name,
                                   f->label, f->values[i], n[i]);
    }
}


static void
ngx_http_fcchat_prom_histogram(fcc_buf_t *b, const char *name, uint64_t *n)
{
    uint64_t    count;
    ngx_uint_t  i;

    count = 0;

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_BUCKETS - 1; i++) {
        count += n[i];

        ngx_http_fcchat_status_put(b, "fcchat_%s_bucket{le=\""
                                   NGX_HTTP_FCCHAT_SECONDS "\"} %uL\n", name,
                           ngx_http_fcchat_seconds(ngx_http_fcchat_bucket(i)),
                                   count);
    }

    count += n[i];

    ngx_http_fcchat_status_put(b, "fcchat_%s_bucket{le=\"+Inf\"} %uL\n"
                               "fcchat_%s_sum " NGX_HTTP_FCCHAT_SECONDS "\n"
                               "fcchat_%s_count %uL\n", name, count, name,
                               ngx_http_fcchat_seconds(
                                   n[NGX_HTTP_FCCHAT_STAT_BUCKETS]),
                               name, count);
}


static void
ngx_http_fcchat_prom_rooms(fcc_buf_t *b, ngx_http_fcchat_stat_all_t *all)
{
    ngx_uint_t                    i;
    ngx_http_fcchat_stat_room_t  *room;

    ngx_http_fcchat_prom_type(b, "room_readers",
                              "Readers of the largest rooms of this node.",
                              "gauge");

    for (i = 0; i < all->nrooms; i++) {
        room = &all->rooms[i];

        fcc_buf_lit(b, "fcchat_room_readers{tenant=\"");
        ngx_http_fcchat_prom_escape(b, room->tenant, room->tenant_len);
        fcc_buf_lit(b, "\",room=\"");
        ngx_http_fcchat_prom_escape(b, room->name, room->name_len);
        ngx_http_fcchat_status_put(b, "\"} %uL\n", room->readers);
    }
}


static void
ngx_http_fcchat_prom_escape(fcc_buf_t *b, u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {

        switch (p[i]) {

        case '\\':
            fcc_buf_lit(b, "\\\\");
            break;

        case '"':
            fcc_buf_lit(b, "\\\"");
            break;

        case '\n':
            fcc_buf_lit(b, "\\n");
            break;

        default:
            fcc_buf_put(b, &p[i], 1);
            break;
        }
    }
}


/* ngx_sprintf()'s formats; at most STATUS_LINE bytes */

static void
ngx_http_fcchat_status_put(fcc_buf_t *b, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;
    u_char    line[NGX_HTTP_FCCHAT_STATUS_LINE];

    va_start(args, fmt);
    p = ngx_vslprintf(line, line + sizeof(line), fmt, args);
    va_end(args);

    fcc_buf_put(b, line, p - line);
}
