
/*
 * A load generator for WebSocket servers: many sockets, few of which send.
 *
 * Each message holds its room, its sender, its number and the time it was sent
 * or, in an open loop, the time it was due: so a receiver knows what it has
 * missed, what came twice or in another order, and how long it took, a server
 * that holds up the sender included.
 *
 * Phases: connect all; warm up with a few messages; then one of a closed loop
 * (a done message begets another), an open loop (so many a second, whatever
 * comes back), idleness, or being away and coming back.  The report is a line
 * of JSON on standard output.
 */


#define _GNU_SOURCE

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "load.h"


#define EVENTS      4096
#define WARM_TIME   20.0                    /* seconds, at most */
#define DRAIN_TIME  5.0


typedef int (*done_t)(void);


static void usage(void);
static void options(int argc, char **argv);
static void url(const char *s);
static void cookies(const char *file);
static void process(char *s);
static void prepare(void);
static void loop(done_t done, double seconds);
static uint64_t due(uint64_t now);
static void message_done(sender_t *s);
static int all_open(void);
static int all_done(void);
static int all_live(void);
static double connect_all(void);
static void warm_up(void);
static double closed_loop(void);
static double open_loop(void);
static double be_idle(void);
static double come_back(void);


load_t  load;

static uint32_t  starting;                  /* the next socket to connect */
static uint32_t  skip;                      /* sockets that stay */
static uint64_t  next_due;
static uint64_t  interval;
static uint32_t  turn;
static int       announce;
static long      hup;


static const struct option  longs[] = {
    { "sockets",  1, NULL, 'n' }, { "rooms",    1, NULL, 'r' },
    { "senders",  1, NULL, 's' }, { "flight",   1, NULL, 'f' },
    { "echo",     0, NULL, 'e' }, { "rate",     1, NULL, 'R' },
    { "seconds",  1, NULL, 't' }, { "idle",     1, NULL, 'i' },
    { "warm",     1, NULL, 'w' }, { "missed",   1, NULL, 'm' },
    { "stalled",  1, NULL, 'x' }, { "at-once",  1, NULL, 'a' },
    { "text",     1, NULL, 'l' }, { "proto",    1, NULL, 'p' },
    { "cookies",  1, NULL, 'c' }, { "cookie",   1, NULL, 'k' },
    { "pid",      1, NULL, 'P' }, { "source",   1, NULL, 'S' },
    { "origin",   1, NULL, 'o' }, { "announce", 0, NULL, 'A' },
    { "hup",      1, NULL, 'H' }, { "deflate",  0, NULL, 'd' },
    { NULL,       0, NULL, 0   }
};


int
main(int argc, char **argv)
{
    double         connect, ran, live;
    struct rlimit  rl;

    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);

    options(argc, argv);
    prepare();

    procs_rss(offsetof(proc_t, rss_before));

    connect = connect_all();
    ran = 0;
    live = 0;

    if (load.failed == 0) {
        warm_up();
        procs_rss(offsetof(proc_t, rss_after));

        if (announce) {
            puts("running");
            fflush(stdout);
        }

        if (load.stuck) {
            ran = 0;

        } else if (load.missed) {
            live = come_back();

        } else if (load.idle > 0) {
            ran = be_idle();

        } else if (load.rate > 0) {
            ran = open_loop();

        } else if (load.seconds > 0) {
            ran = closed_loop();
        }
    }

    procs_rss(offsetof(proc_t, rss_end));
    report(stdout, connect, ran, live);

    return load.failed || load.stuck;
}


static void
usage(void)
{
    fputs("usage: load [option...] ws[s]://ADDRESS:PORT/PATH\n"
          "  --sockets=N --rooms=N   (1, 1) %d in PATH is the room\n"
          "  --senders=N             (1) of each room\n"
          "  --proto=old|v1|raw      (old)\n"
          "  --flight=N              (1) messages of a sender at once, or\n"
          "  --rate=R                messages a second, of all senders\n"
          "  --echo                  a message is done when its sender has it\n"
          "  --seconds=T             of the closed or open loop\n"
          "  --idle=T                in place of it\n"
          "  --missed=N              messages to be away for, in place of it\n"
          "  --warm=N                messages of each sender before\n"
          "  --stalled=N             sockets that do not read\n"
          "  --text=N                length of a message's text (40)\n"
          "  --deflate               offer permessage-deflate\n"
          "  --at-once=N             handshakes under way (100)\n"
          "  --cookies=FILE --cookie=NAME  a session of each line (sessionid)\n"
          "  --origin=O --source=ADDRESS\n"
          "  --hup=PID               whom to tell to reload meanwhile\n"
          "  --announce              say \"running\" when all is ready\n"
          "  --pid=NAME:PID          count its CPU and memory\n", stderr);
    exit(2);
}


static void
options(int argc, char **argv)
{
    int             ch;
    struct in_addr  addr;

    load.n = 1;
    load.rooms = 1;
    load.senders = 1;
    load.flight = 1;
    load.text = 40;
    load.at_once = 100;
    load.cookie_name = "sessionid";

    while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1) {

        switch (ch) {

        case 'n': load.n = (uint32_t) atoi(optarg); break;
        case 'r': load.rooms = (uint32_t) atoi(optarg); break;
        case 's': load.senders = (uint32_t) atoi(optarg); break;
        case 'f': load.flight = (uint32_t) atoi(optarg); break;
        case 'e': load.echo = 1; break;
        case 'd': load.deflate = 1; break;
        case 'R': load.rate = atof(optarg); break;
        case 't': load.seconds = atof(optarg); break;
        case 'i': load.idle = atof(optarg); break;
        case 'w': load.warm = (uint32_t) atoi(optarg); break;
        case 'm': load.missed = (uint32_t) atoi(optarg); break;
        case 'x': load.stalled = (uint32_t) atoi(optarg); break;
        case 'a': load.at_once = (uint32_t) atoi(optarg); break;
        case 'l': load.text = (uint32_t) atoi(optarg); break;
        case 'k': load.cookie_name = optarg; break;
        case 'c': cookies(optarg); break;
        case 'P': process(optarg); break;
        case 'A': announce = 1; break;
        case 'H': hup = atol(optarg); break;

        case 'o':
            snprintf(load.origin, sizeof(load.origin), "%s", optarg);
            break;

        case 'p':
            load.proto = (strcmp(optarg, "v1") == 0) ? LOAD_V1
                         : (strcmp(optarg, "raw") == 0) ? LOAD_RAW : LOAD_OLD;
            break;

        case 'S':
            if (inet_pton(AF_INET, optarg, &addr) != 1) {
                usage();
            }

            load.source = ntohl(addr.s_addr);
            break;

        default:
            usage();
        }
    }

    if (optind != argc - 1 || load.n < load.rooms * load.senders
        || load.flight > LOAD_RING || load.text > 900)
    {
        usage();
    }

    url(argv[optind]);
}


static void
url(const char *s)
{
    load.tls = (strncmp(s, "wss://", 6) == 0);

    if (sscanf(s + (load.tls ? 6 : 5), "%127[^:/]:%d%511s", load.host,
               &load.port, load.path) != 3)
    {
        usage();
    }

    if (load.origin[0] == '\0') {
        snprintf(load.origin, sizeof(load.origin), "%s://%s:%d",
                 load.tls ? "https" : "http", load.host, load.port);
    }
}


static void
cookies(const char *file)
{
    FILE      *f;
    char       line[1024];
    uint32_t   size;

    f = fopen(file, "r");
    if (f == NULL) {
        perror(file);
        exit(2);
    }

    size = 0;

    while (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';

        if (load.ncookies == size) {
            size = size ? size * 2 : 1024;
            load.cookies = realloc(load.cookies, size * sizeof(char *));
        }

        load.cookies[load.ncookies++] = strdup(line);
    }

    fclose(f);
}


static void
process(char *s)
{
    char  *colon;

    colon = strchr(s, ':');

    if (colon == NULL || load.nprocs == LOAD_PIDS) {
        usage();
    }

    *colon = '\0';

    load.procs[load.nprocs].name = s;
    load.procs[load.nprocs].pid = atol(colon + 1);
    load.nprocs++;
}


static void
prepare(void)
{
    conn_t    *c;
    uint32_t   i, *next;
    sender_t  *s;

    load.ep = epoll_create1(0);
    load.conns = calloc(load.n, sizeof(conn_t));
    load.room = calloc(load.rooms, sizeof(room_t));
    load.sender = calloc((size_t) load.rooms * load.senders, sizeof(sender_t));
    load.dirty = calloc(load.n, sizeof(conn_t *));
    next = calloc((size_t) load.n * load.senders, sizeof(uint32_t));

    if (load.ep == -1 || !load.conns || !load.room || !load.sender
        || !load.dirty || !next)
    {
        fputs("load: no memory\n", stderr);
        exit(2);
    }

    for (i = 0; i < load.n; i++) {
        c = &load.conns[i];

        c->fd = -1;
        c->index = i;
        c->room = i % load.rooms;
        c->next = next + (size_t) i * load.senders;
        c->stalled = (i >= load.n - load.stalled);

        if (!c->stalled) {
            load.room[c->room].members++;
        }

        if (i / load.rooms < load.senders) {
            s = &load.sender[c->room * load.senders + i / load.rooms];
            s->conn = c;
            s->room = c->room;
            s->index = i / load.rooms;
        }
    }
}


static void
loop(done_t done, double seconds)
{
    int                 i, n;
    uint64_t            now, end, wake;
    struct timespec     ts;
    struct epoll_event  ev[EVENTS];

    end = nsec() + (uint64_t) (seconds * 1e9);

    for ( ;; ) {
        now = nsec();
        wake = load.rate > 0 && next_due ? due(now) : end;

        while (starting < load.n && load.opening < load.at_once) {
            load.opening++;
            conn_start(&load.conns[starting++]);
        }

        conn_flush();

        if (done && done()) {
            return;
        }

        if (now >= end) {
            return;
        }

        if (wake > end) {
            wake = end;
        }

        ts.tv_sec = wake > now ? (time_t) ((wake - now) / LOAD_SEC) : 0;
        ts.tv_nsec = wake > now ? (long) ((wake - now) % LOAD_SEC) : 0;

        n = epoll_pwait2(load.ep, ev, EVENTS, &ts, NULL);

        for (i = 0; i < n; i++) {
            conn_event(ev[i].data.ptr, ev[i].events);
        }
    }
}


/* sends what is due, and returns when the next one is */

static uint64_t
due(uint64_t now)
{
    sender_t  *s;

    while (next_due <= now && next_due < load.to) {
        s = &load.sender[turn++ % (load.rooms * load.senders)];
        conn_send(s, next_due);
        next_due += interval;
    }

    return next_due < load.to ? next_due : UINT64_MAX;
}


void
load_opened(void)
{
    load.open++;
    load.opening--;
}


void
load_lost(conn_t *c, const char *why)
{
    if (load.error[0] == '\0') {
        snprintf(load.error, sizeof(load.error), "%s", why);
    }

    if (c->state == CONN_OPEN) {
        load.closed++;
        load.open--;

        if (!c->stalled) {
            load.room[c->room].members--;
        }

    } else {
        load.failed++;
        load.opening--;
    }

    conn_drop(c);
}


void
load_message(conn_t *c, const uint8_t *p, size_t len)
{
    char            stamp[LOAD_STAMP];
    uint32_t        room, index, n, *next;
    uint64_t        at, ns;
    sender_t       *s;
    const uint8_t  *mark;

    mark = memchr(p, '~', len);

    if (load.proto == LOAD_V1 && !c->welcome
        && len > 20 && memcmp(p, "{\"type\":\"welcome\"", 17) == 0)
    {
        mark = memmem(p, len, "\"epoch\":\"", 9);

        if (mark) {
            sscanf((char *) mark + 9, "%63[^\"]", load.room[c->room].epoch);
        }

        mark = memmem(p, len, "\"head\":", 7);

        if (mark && !load.wanted) {
            c->seq = strtoull((char *) mark + 7, NULL, 10);
        }

        c->welcome = 1;
        return;
    }

    if (mark == NULL || mark + LOAD_STAMP > p + len) {

        /* neither an ack nor a count of viewers is news; an error is */

        load.others++;

        if (memmem(p, len, "\"code\":", 7) && load.error[0] == '\0') {
            snprintf(load.error, sizeof(load.error), "%.*s", (int) len, p);
        }

        return;
    }

    memcpy(stamp, mark + 1, LOAD_STAMP - 1);
    stamp[LOAD_STAMP - 1] = '\0';

    at = strtoull(stamp + 16, NULL, 16);
    stamp[16] = '\0';
    n = (uint32_t) strtoul(stamp + 8, NULL, 16);
    stamp[8] = '\0';
    index = (uint32_t) strtoul(stamp + 4, NULL, 16);
    stamp[4] = '\0';
    room = (uint32_t) strtoul(stamp, NULL, 16);

    if (room != c->room || index >= load.senders) {
        load.strangers++;
        return;
    }

    if (load.proto == LOAD_V1 && len > 25
        && memcmp(p, "{\"type\":\"message\",\"seq\":", 24) == 0)
    {
        c->seq = strtoull((char *) p + 24, NULL, 10);
    }

    next = &c->next[index];

    if (n == *next) {
        (*next)++;

    } else if (n > *next) {
        load.gaps += n - *next;
        *next = n + 1;

    } else {
        load.backwards++;
    }

    load.delivered++;
    c->got++;

    if (load.wanted && c->got == load.wanted && c->index >= skip) {
        load.live++;
    }

    if (load.now >= load.from && load.now < load.to) {
        load.run_delivered++;
    }

    if (at >= load.from && at < load.to) {
        ns = load.now > at ? load.now - at : 0;
        hist_add(&load.latency, ns);
        hist_add(&load.slice[(at - load.from) * LOAD_SLICES
                             / (load.to - load.from)], ns);
    }

    s = &load.sender[room * load.senders + index];

    if (load.echo) {
        if (s->conn == c) {
            message_done(s);
        }

    } else if (s->left[n % LOAD_RING] && --s->left[n % LOAD_RING] == 0) {
        message_done(s);
    }
}


static void
message_done(sender_t *s)
{
    s->done++;
    load.finished++;

    if (load.now >= load.from && load.now < load.to) {
        load.run_finished++;
    }

    if (load.sending) {
        conn_send(s, nsec());
    }
}


static int
all_open(void)
{
    return load.open + load.failed + load.closed >= load.n;
}


/* nothing is under way */

static int
all_done(void)
{
    return load.delivered + load.gaps >= load.expected;
}


static int
all_live(void)
{
    return load.live + load.failed + load.closed >= load.n - skip;
}


static double
connect_all(void)
{
    uint64_t  start;

    start = nsec();

    procs_mark();
    loop(all_open, 120);
    procs_add(offsetof(proc_t, cpu_connect));

    if (load.open < load.n && !load.failed) {
        load.failed = load.n - load.open;
        snprintf(load.error, sizeof(load.error), "handshakes take too long");
    }

    return (double) (nsec() - start) / 1e9;
}


static void
warm_up(void)
{
    uint32_t  i, k;

    loop(NULL, 0.3);

    for (k = 0; k < load.warm; k++) {

        for (i = 0; i < load.rooms * load.senders; i++) {
            conn_send(&load.sender[i], nsec());
        }

        loop(all_done, WARM_TIME);

        if (!all_done()) {
            load.stuck = 1;
            return;
        }
    }
}


static double
closed_loop(void)
{
    uint32_t  i, k;
    uint64_t  before;

    load.sending = 1;

    for (k = 0; k < load.flight; k++) {
        for (i = 0; i < load.rooms * load.senders; i++) {
            conn_send(&load.sender[i], nsec());
        }
    }

    /* the first round is not counted: what is in flight spreads out by it */

    loop(NULL, load.seconds / 8);

    procs_mark();
    load.from = nsec();
    load.to = load.from + (uint64_t) (load.seconds * 1e9);
    before = load.finished;
    loop(NULL, load.seconds);
    procs_add(offsetof(proc_t, cpu_run));

    if (load.finished == before) {
        load.stuck = 1;
    }

    load.sending = 0;
    loop(all_done, DRAIN_TIME);

    return (double) (load.to - load.from) / 1e9;
}


static double
open_loop(void)
{
    interval = (uint64_t) (1e9 / load.rate);

    procs_mark();
    load.from = nsec();
    load.to = load.from + (uint64_t) (load.seconds * 1e9);
    next_due = load.from;
    loop(NULL, load.seconds);
    procs_add(offsetof(proc_t, cpu_run));

    next_due = 0;
    loop(all_done, DRAIN_TIME);

    return (double) (load.to - load.from) / 1e9;
}


static double
be_idle(void)
{
    uint64_t  start;

    start = nsec();

    procs_mark();
    loop(NULL, load.idle);
    procs_add(offsetof(proc_t, cpu_run));

    return (double) (nsec() - start) / 1e9;
}


/*
 * The senders stay, all others go, miss so many messages, and come back.  With
 * --hup they come back to a process that has not seen those messages.
 */

static double
come_back(void)
{
    uint32_t  i, k;
    uint64_t  start;

    skip = load.rooms * load.senders;

    for (i = skip; i < load.n; i++) {
        conn_drop(&load.conns[i]);
        load.open--;
        load.room[load.conns[i].room].members--;
    }

    loop(NULL, 1);

    for (k = 0; k < load.missed; k++) {
        for (i = 0; i < skip; i++) {
            conn_send(&load.sender[i], nsec());
        }
    }

    loop(all_done, WARM_TIME);

    if (hup) {
        for (i = 0; i < skip; i++) {
            conn_drop(&load.conns[i]);
            load.open--;
        }

        kill((pid_t) hup, SIGHUP);
        loop(NULL, 1.5);
    }

    load.wanted = load.missed * load.senders;
    load.expected += (uint64_t) (load.n - skip) * load.wanted;
    starting = skip;

    procs_mark();
    start = nsec();
    loop(all_live, 60);
    procs_add(offsetof(proc_t, cpu_run));

    return (double) (nsec() - start) / 1e9;
}
