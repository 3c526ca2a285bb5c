
/*
 * nginx's core as a worker: main() reads the configuration and comes as far as
 * its cycle, which returns here.
 */


#include "conn.h"
#include "../sign.h"

#include <sanitizer/lsan_interface.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>


#define NGINX_TURNS  400        /* of the event loop, until it must be quiet */
#define NGINX_START  1763900000 /* a second of the wall clock */


int nginx_main(int argc, char **argv);

static int nginx_turn(void);


ngx_cycle_t                *conn_cycle;
int                         conn_said;
char                        conn_dir[] = "/tmp/fcchat-fuzz-XXXXXX";

static ngx_uint_t           nginx_free;
static uint64_t             nginx_now;      /* ms since the start */


/*
 * One location for each way to be somebody, and one where every limit is near.
 */

static const char  nginx_conf[] =
    "daemon off; master_process off; pid %1$s/pid; user root;\n"
    "error_log stderr alert;\n"
    "events { worker_connections 64; use epoll; }\n"
    "http {\n"
    "access_log off; server_tokens off;\n"
    "keepalive_timeout 5s; lingering_close off; reset_timedout_connection on;\n"
    "fcchat_zone 64k;\n"
    "fcchat_postgres \"host=%1$s dbname=site user=u\" connections=2"
    " timeout=2s;\n"
    "fcchat_redis unix:%1$s/redis;\n"
    "fcchat_session_redis unix:%1$s/redis db=3;\n"
    "fcchat_tenant localhost; fcchat_secret_key_file %1$s/secret;\n"
    "fcchat_tenant_tables domains tenants;\n"
    "server { listen 127.0.0.1:80; server_name localhost;\n"
    "location /ws/ { fcchat; }\n"
    "location /old/ { fcchat; fcchat_history 5; }\n"
    "location /cache/ { fcchat; fcchat_session_engine cache; }\n"
    "location /cached/ { fcchat; fcchat_session_engine cached_db; }\n"
    "location /signed/ { fcchat; fcchat_session_engine signed_cookies;"
    " fcchat_session_age 1000w; }\n"
    "location /guest/ { fcchat; fcchat_guests read; fcchat_refuse close; }\n"
    "location /tenant/ { fcchat; fcchat_tenant domain; }\n"
    "location /near/ { fcchat; fcchat_session_cache 0; fcchat_ping 1s;"
    " fcchat_timeout 3s; fcchat_lag 16k; fcchat_detach off;"
    " fcchat_connections user=2 ip=2; fcchat_rate 1r/s burst=2;"
    " fcchat_reaction_rate 1r/s burst=2; fcchat_message_length 40;"
    " fcchat_history 3; fcchat_origin any; fcchat_html_escape off;"
    " fcchat_log %1$s/log; }\n"
    "location /free/ { fcchat; fcchat_deflate on; fcchat_rate off;"
    " fcchat_reaction_rate off; fcchat_connections user=off ip=off;"
    " fcchat_message_length 16384; }\n"
    "location /echo { fcchat_echo; fcchat_deflate on; }\n"
    "location /api/ { fcchat_api; fcchat_api_secret_file %1$s/api; }\n"
    "location /api-near/ { fcchat_api; fcchat_guests read; fcchat_api_rate"
    " 1r/s burst=2; fcchat_message_length 40; fcchat_origin any;"
    " fcchat_api_secret_file %1$s/next %1$s/api; }\n"
    "location /status { fcchat_status; }\n"
    "%2$s"
    "} }\n";


/* ---- what the linker puts before libc's ---- */

int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    ts->tv_sec = NGINX_START + nginx_now / 1000;
    ts->tv_nsec = nginx_now % 1000 * 1000000;

    return 0;
}


int
__wrap_gettimeofday(struct timeval *tv, void *tz)
{
    tv->tv_sec = NGINX_START + nginx_now / 1000;
    tv->tv_usec = nginx_now % 1000 * 1000;

    return 0;
}


int
__wrap_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
    return 0;
}


int
__wrap_listen(int fd, int backlog)
{
    return 0;
}


int
__wrap_setsockopt(int fd, int level, int name, const void *value,
    socklen_t len)
{
    return 0;
}


int
__wrap_shutdown(int fd, int how)
{
    return 0;
}


/* the cycle has been made; the loop is ours */

void
__wrap_ngx_single_process_cycle(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_listening_t  *ls;

    conn_cycle = cycle;

    for (i = 0; cycle->modules[i]; i++) {
        if (cycle->modules[i]->init_process
            && cycle->modules[i] != &ngx_http_fcchat_module)
        {
            claim(cycle->modules[i]->init_process(cycle) == NGX_OK);
        }
    }

    ls = cycle->listening.elts;

    claim(cycle->listening.nelts == 1);
    claim(ngx_del_event(ls->connection->read, NGX_READ_EVENT, 0) == NGX_OK);

    conn_socket_init();

    nginx_free = cycle->free_connection_n;
}


/* ---- the loop ---- */

static int
nginx_turn(void)
{
    ngx_uint_t  some;

    some = 0;

    conn_alloc_ours(0);

    if (!ngx_queue_empty(&ngx_posted_next_events)) {
        ngx_event_move_posted_next(conn_cycle);
        some = 1;
    }

    (void) ngx_process_events(conn_cycle, 0, NGX_UPDATE_TIME);

    ngx_event_process_posted(conn_cycle, &ngx_posted_accept_events);
    ngx_event_expire_timers();

    if (!ngx_queue_empty(&ngx_posted_events)) {
        ngx_event_process_posted(conn_cycle, &ngx_posted_events);
        some = 1;
    }

    conn_alloc_ours(1);

    if (conn_pg_run()) {
        some = 1;
    }

    if (conn_redis_run()) {
        some = 1;
    }

    return some || !ngx_queue_empty(&ngx_posted_next_events);
}


void
conn_settle(void)
{
    ngx_uint_t  i, quiet;

    quiet = 0;

    /* libpq and hiredis may have read what the servers wrote a turn ago */

    for (i = 0; i < NGINX_TURNS && quiet < 2; i++) {
        quiet = nginx_turn() ? 0 : quiet + 1;
    }

    claim(i < NGINX_TURNS);
}


void
conn_advance(ngx_msec_t ms)
{
    ngx_msec_t  step, timer;

    while (ms) {
        timer = ngx_event_find_timer();
        step = (timer == NGX_TIMER_INFINITE) ? ms : ngx_min(timer, ms);
        step = step ? step : 1;

        nginx_now += step;
        ms -= step;

        ngx_time_update();
        conn_settle();
    }
}


void
conn_leave(void)
{
    if (ngx_exiting) {
        return;
    }

    ngx_exiting = 1;

    conn_alloc_ours(0);
    ngx_close_idle_connections(conn_cycle);
    conn_alloc_ours(1);

    conn_settle();
}


/* as ngx_shutdown_timer_handler() does it */

void
conn_leave_now(void)
{
    ngx_uint_t         i;
    ngx_connection_t  *c;

    ngx_exiting = 1;

    conn_alloc_ours(0);

    c = conn_cycle->connections;

    for (i = 0; i < conn_cycle->connection_n; i++) {

        if (c[i].fd == (ngx_socket_t) -1
            || c[i].read == NULL
            || c[i].read->accept
            || c[i].read->channel
            || c[i].read->resolver)
        {
            continue;
        }

        c[i].close = 1;
        c[i].error = 1;

        c[i].read->handler(c[i].read);
    }

    conn_alloc_ours(1);

    conn_settle();
}


/* ---- the beginning and the end ---- */

static void
nginx_zones(void)
{
    u_char           *addr;
    ngx_uint_t        i;
    ngx_shm_zone_t   *zone;
    ngx_list_part_t  *part;
    ngx_slab_pool_t  *sp;

    part = &conn_cycle->shared_memory.part;
    zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            part = part->next;

            if (part == NULL) {
                break;
            }

            zone = part->elts;
            i = 0;
        }

        addr = zone[i].shm.addr;
        sp = (ngx_slab_pool_t *) addr;

        ngx_memzero(addr, zone[i].shm.size);

        sp->end = addr + zone[i].shm.size;
        sp->min_shift = 3;
        sp->addr = addr;

        claim(ngx_shmtx_create(&sp->mutex, &sp->lock, NULL) == NGX_OK);
        ngx_slab_init(sp);

        zone[i].shm.exists = 0;
        claim(zone[i].init(&zone[i], NULL) == NGX_OK);
    }
}


/* "an error log without an alert", but for memory that a script takes away */

static void
nginx_log(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    if (conn_said) {
        fprintf(stderr, "%.*s", (int) len, buf);
    }

    if (level > NGX_LOG_ALERT || memmem(buf, len, "(12: ", 5)) {
        return;
    }

    fprintf(stderr, "%.*s", (int) len, buf);
    claim(level > NGX_LOG_ALERT);
}


static void
nginx_leave(void)
{
    char  command[sizeof(conn_dir) + 16];

    if (getpid() == ngx_pid) {
        snprintf(command, sizeof(command), "rm -rf %s", conn_dir);
        (void) !system(command);
    }
}


static void
nginx_secret(const char *name, const char *secret)
{
    FILE  *file;
    char   path[sizeof(conn_dir) + 32];

    snprintf(path, sizeof(path), "%s/%s", conn_dir, name);

    file = fopen(path, "w");
    claim(file != NULL);

    fprintf(file, "%s\n", secret);
    fclose(file);
    chmod(path, 0600);
}


void
conn_init(void)
{
    FILE             *file;
    char             *p, path[sizeof(conn_dir) + 32];
    const char       *more;
    ngx_log_t        *log;
    ngx_listening_t  *ls;

    static char  *argv[] = { "nginx", "-p", conn_dir, "-c", "conf", "-e",
                             "stderr", NULL };

    claim(mkdtemp(conn_dir) != NULL);

    more = getenv("FC_CONN_CONF");

    snprintf(path, sizeof(path), "%s/conf", conn_dir);
    file = fopen(path, "w");
    claim(file != NULL);
    fprintf(file, nginx_conf, conn_dir, more ? more : "");
    fclose(file);

    nginx_secret("secret", FUZZ_SECRET);
    nginx_secret("api", CONN_SECRET);
    nginx_secret("next", "the next one of the back end");

    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", conn_dir);
    conn_pg_init(path);

    snprintf(path, sizeof(path), "%s/redis", conn_dir);
    conn_redis_init(path);

    /* main() ends with the cycle, which comes back at once; what it has taken
     * is never given back */

    __lsan_disable();
    claim(nginx_main(7, argv) == 0);
    __lsan_enable();

    claim(conn_cycle != NULL);

    log = conn_cycle->log;
    log->writer = nginx_log;

    p = getenv("FC_CONN_LOG");

    if (p) {
        conn_said = 1;
        log->log_level = strcmp(p, "debug") ? NGX_LOG_INFO : NGX_LOG_DEBUG_ALL;
    }

    ls = conn_cycle->listening.elts;
    ls->log = *log;

    atexit(nginx_leave);
}


void
conn_begin(void)
{
    nginx_now = 0;
    ngx_exiting = 0;

    srandom(1);
    ngx_time_update();

    conn_alloc_fail(0, 0);
    nginx_zones();

    conn_alloc_ours(0);
    claim(ngx_http_fcchat_module.init_process(conn_cycle) == NGX_OK);
    conn_alloc_ours(1);
}


static void
nginx_quiet(ngx_uint_t i, const char *what)
{
    if (ngx_http_fcchat_stat->gauges[i] != 0) {
        fprintf(stderr, "%s: %lld are left\n", what,
                (long long) ngx_http_fcchat_stat->gauges[i]);
        claim(ngx_http_fcchat_stat->gauges[i] == 0);
    }
}


void
conn_end(void)
{
    ngx_uint_t                    i;
    ngx_http_fcchat_main_conf_t  *cmcf;

    conn_alloc_fail(0, 0);

    conn_pg.mode = CONN_ANSWER;
    conn_redis.mode = CONN_ANSWER;
    conn_pg_release(0);
    conn_redis_release(0);

    for (i = 0; i < CONN_CLIENTS; i++) {
        conn_clients[i].eof = 1;
        conn_clients[i].window = SIZE_MAX;
        conn_readable(&conn_clients[i]);
        conn_writable(&conn_clients[i]);
    }

    conn_settle();

    /* what a handshake or a write may wait for */

    conn_advance(6000);

    for (i = 0; i < CONN_CLIENTS; i++) {
        claim(conn_clients[i].c == NULL);
    }

    cmcf = ngx_http_cycle_get_module_main_conf(conn_cycle,
                                               ngx_http_fcchat_module);

    if (cmcf->worker) {
        claim(cmcf->worker->sessions == 0);
        claim(cmcf->worker->waiting == 0);
    }

    nginx_quiet(NGX_HTTP_FCCHAT_STAT_CONNECTIONS, "connections");
    nginx_quiet(NGX_HTTP_FCCHAT_STAT_UNSTORED, "messages");

    /* a worker that was not run for longer than a room without anybody stays;
     * one that leaves ends with its rooms */

    if (!ngx_exiting) {
        nginx_now += NGX_HTTP_FCCHAT_ROOM_LINGER;
        ngx_time_update();
        conn_settle();
        conn_advance(3000);

        nginx_quiet(NGX_HTTP_FCCHAT_STAT_OPEN_ROOMS, "rooms");
        nginx_quiet(NGX_HTTP_FCCHAT_STAT_PG_QUEUE, "questions");
    }

    conn_alloc_ours(0);
    ngx_http_fcchat_module.exit_process(conn_cycle);
    conn_alloc_ours(1);

    (void) conn_pg_run();
    (void) conn_redis_run();

    claim(conn_pg_open() == 0);
    claim(conn_redis_open() == 0);

    /* nobody is left who could come back */

    claim(conn_cycle->free_connection_n == nginx_free);
    claim(ngx_queue_empty(&ngx_posted_events));
    claim(ngx_queue_empty(&ngx_posted_next_events));
    claim(ngx_event_find_timer() == NGX_TIMER_INFINITE);

    conn_redis_cut();

    for (i = 0; i < CONN_CLIENTS; i++) {
        conn_forget(&conn_clients[i]);
    }
}
