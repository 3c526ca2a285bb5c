
/*
 * The load generator's figures: latencies, the servers' CPU and memory as the
 * kernel counts them, and the report.
 */


#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"


static uint64_t proc_cpu_one(long pid);
static uint64_t proc_cpu(long pid);
static long proc_rss(long pid);


uint64_t
nsec(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * LOAD_SEC + (uint64_t) ts.tv_nsec;
}


/* 32 buckets for each power of two: no value is off by more than 3 % */

void
hist_add(hist_t *h, uint64_t v)
{
    unsigned  e;

    h->count++;

    if (v > h->max) {
        h->max = v;
    }

    if (v < 32) {
        h->bucket[v]++;
        return;
    }

    e = 63 - (unsigned) __builtin_clzll(v);

    h->bucket[(e - 4) * 32 + ((v >> (e - 5)) & 31)]++;
}


/* in milliseconds */

double
hist_quantile(hist_t *h, double q)
{
    size_t    i;
    uint64_t  rank, seen, v;

    if (h->count == 0) {
        return 0;
    }

    rank = (uint64_t) (q * (double) h->count);

    if (rank >= h->count) {
        return (double) h->max / 1e6;
    }

    seen = 0;

    for (i = 0; i < sizeof(h->bucket) / sizeof(h->bucket[0]); i++) {
        seen += h->bucket[i];

        if (seen > rank) {
            break;
        }
    }

    v = (i < 32) ? i : ((32 + (i & 31)) << (i / 32 - 1)) + (1ULL << (i / 32
                                                                    - 1)) / 2;

    return (double) v / 1e6;
}


/* the threads of one process; what an ended thread used is not seen */

static uint64_t
proc_cpu_one(long pid)
{
    DIR            *dir;
    FILE           *f;
    char            path[320];
    uint64_t        sum, ns;
    struct dirent  *de;

    snprintf(path, sizeof(path), "/proc/%ld/task", pid);

    dir = opendir(path);
    if (dir == NULL) {
        return 0;
    }

    sum = 0;

    while ((de = readdir(dir)) != NULL) {

        if (de->d_name[0] == '.') {
            continue;
        }

        snprintf(path, sizeof(path), "/proc/%ld/task/%s/schedstat", pid,
                 de->d_name);

        f = fopen(path, "r");
        if (f == NULL) {
            continue;
        }

        if (fscanf(f, "%lu", &ns) == 1) {
            sum += ns;
        }

        fclose(f);
    }

    closedir(dir);

    return sum;
}


/* PostgreSQL's backends are children of the one that is named */

static uint64_t
proc_cpu(long pid)
{
    FILE      *f;
    char       path[64];
    long       child;
    uint64_t   sum;

    sum = proc_cpu_one(pid);

    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", pid, pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return sum;
    }

    while (fscanf(f, "%ld", &child) == 1) {
        sum += proc_cpu_one(child);
    }

    fclose(f);

    return sum;
}


static long
proc_rss(long pid)
{
    FILE  *f;
    char   line[256];
    long   kb;

    kb = 0;

    snprintf(line, sizeof(line), "/proc/%ld/smaps_rollup", pid);

    f = fopen(line, "r");
    if (f == NULL) {
        return 0;
    }

    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "Rss: %ld", &kb) == 1) {
            break;
        }
    }

    fclose(f);

    return kb;
}


void
procs_mark(void)
{
    int  i;

    for (i = 0; i < load.nprocs; i++) {
        load.procs[i].cpu = proc_cpu(load.procs[i].pid);
    }
}


void
procs_add(size_t offset)
{
    int        i;
    uint64_t  *p;

    for (i = 0; i < load.nprocs; i++) {
        p = (uint64_t *) ((char *) &load.procs[i] + offset);
        *p += proc_cpu(load.procs[i].pid) - load.procs[i].cpu;
    }
}


void
procs_rss(size_t offset)
{
    int  i;

    for (i = 0; i < load.nprocs; i++) {
        *(long *) ((char *) &load.procs[i] + offset)
            = proc_rss(load.procs[i].pid);
    }
}


void
report(FILE *out, double connect, double ran, double live)
{
    int      i;
    char    *p;
    proc_t  *proc;

    for (p = load.error; *p; p++) {
        if (*p == '"' || *p == '\\' || *p < ' ') {
            *p = '\'';
        }
    }

    fprintf(out, "{\"sockets\":%u,\"open\":%u,\"failed\":%u,\"closed\":%u,"
            "\"connect_s\":%.4f,\"run_s\":%.4f,\"live_s\":%.4f,\"live\":%u,",
            load.n, load.open, load.failed, load.closed, connect, ran, live,
            load.live);

    fprintf(out, "\"messages\":%lu,\"deliveries\":%lu,\"delivered\":%lu,"
            "\"expected\":%lu,\"gaps\":%lu,\"backwards\":%lu,"
            "\"strangers\":%lu,\"others\":%lu,\"bytes\":%lu,"
            "\"wire\":%lu,\"stuck\":%d,"
            "\"error\":\"%s\",",
            load.run_finished, load.run_delivered, load.delivered,
            load.expected, load.gaps, load.backwards, load.strangers,
            load.others, load.bytes, load.wire, load.stuck, load.error);

    fprintf(out, "\"ms\":{\"count\":%lu,\"p50\":%.4f,\"p90\":%.4f,"
            "\"p99\":%.4f,\"p999\":%.4f,\"max\":%.4f},\"slices\":[",
            load.latency.count, hist_quantile(&load.latency, 0.5),
            hist_quantile(&load.latency, 0.9),
            hist_quantile(&load.latency, 0.99),
            hist_quantile(&load.latency, 0.999),
            hist_quantile(&load.latency, 1));

    for (i = 0; i < LOAD_SLICES; i++) {
        fprintf(out, "%s{\"p50\":%.4f,\"p99\":%.4f}", i ? "," : "",
                hist_quantile(&load.slice[i], 0.5),
                hist_quantile(&load.slice[i], 0.99));
    }

    fprintf(out, "],\"procs\":{");

    for (i = 0; i < load.nprocs; i++) {
        proc = &load.procs[i];

        fprintf(out, "%s\"%s\":{\"connect_ns\":%lu,\"run_ns\":%lu,"
                "\"rss_before\":%ld,\"rss_after\":%ld,\"rss_end\":%ld}",
                i ? "," : "", proc->name, proc->cpu_connect, proc->cpu_run,
                proc->rss_before, proc->rss_after, proc->rss_end);
    }

    fprintf(out, "}}\n");
}
