
/*
 * Redis, as far as hiredis needs it: publish and subscribe, and GET of a
 * session.
 */


#include "conn.h"

#include <fcc_bus.h>

#include <sys/socket.h>


#define REDIS_CONNS     16
#define REDIS_CHANNELS  8
#define REDIS_ARGS      80
#define REDIS_NAME      320


typedef struct {
    int           fd;               /* -1: free */
    unsigned      lost:1;
    conn_bytes_t  in;
    conn_bytes_t  out;
    unsigned      nchannels;
    char          channels[REDIS_CHANNELS][REDIS_NAME];
} redis_conn_t;


typedef struct {
    u_char       *data;
    size_t        len;
} redis_arg_t;


conn_server_t        conn_redis;

static int           redis_listen = -1;
static redis_conn_t  redis_conns[REDIS_CONNS];
static conn_bytes_t  redis_last;    /* that was published to a room */


/* ---- commands ---- */

static void
redis_bulk(conn_bytes_t *b, const void *data, size_t len)
{
    conn_putf(b, "$%zu\r\n", len);
    conn_put(b, data, len);
    conn_put(b, "\r\n", 2);
}


static unsigned
redis_deliver(const char *channel, size_t channel_len, const void *data,
    size_t len)
{
    unsigned       i, k, n;
    redis_conn_t  *r;

    n = 0;

    for (i = 0; i < REDIS_CONNS; i++) {
        r = &redis_conns[i];

        for (k = 0; k < r->nchannels; k++) {
            if (strlen(r->channels[k]) != channel_len
                || memcmp(r->channels[k], channel, channel_len) != 0)
            {
                continue;
            }

            conn_putf(&r->out, "*3\r\n$7\r\nmessage\r\n");
            redis_bulk(&r->out, channel, channel_len);
            redis_bulk(&r->out, data, len);
            n++;
        }
    }

    return n;
}


static void
redis_subscribe(redis_conn_t *r, redis_arg_t *args, unsigned n)
{
    unsigned  i;

    for (i = 1; i < n; i++) {

        if (r->nchannels < REDIS_CHANNELS && args[i].len < REDIS_NAME) {
            memcpy(r->channels[r->nchannels], args[i].data, args[i].len);
            r->channels[r->nchannels++][args[i].len] = '\0';
        }

        conn_putf(&r->out, "*3\r\n$9\r\nsubscribe\r\n");
        redis_bulk(&r->out, args[i].data, args[i].len);
        conn_putf(&r->out, ":%u\r\n", r->nchannels);
    }
}


static void
redis_unsubscribe(redis_conn_t *r, redis_arg_t *args, unsigned n)
{
    unsigned  i, k;

    for (i = 1; i < n; i++) {

        for (k = 0; k < r->nchannels; k++) {
            if (strlen(r->channels[k]) == args[i].len
                && memcmp(r->channels[k], args[i].data, args[i].len) == 0)
            {
                r->nchannels--;
                memmove(r->channels[k], r->channels[r->nchannels],
                        REDIS_NAME);
                break;
            }
        }

        conn_putf(&r->out, "*3\r\n$11\r\nunsubscribe\r\n");
        redis_bulk(&r->out, args[i].data, args[i].len);
        conn_putf(&r->out, ":%u\r\n", r->nchannels);
    }
}


static void
redis_publish(redis_conn_t *r, redis_arg_t *args)
{
    unsigned  n;

    /* not a beat: what could come once more */

    if (args[2].len && args[2].data[0] == '{') {
        redis_last.len = 0;
        conn_put(&redis_last, args[2].data, args[2].len);
    }

    n = redis_deliver((char *) args[1].data, args[1].len, args[2].data,
                      args[2].len);

    conn_putf(&r->out, ":%u\r\n", n);
}


static void
redis_get(redis_conn_t *r)
{
    size_t       len;
    const char  *value;

    switch (conn_redis.mode) {

    case CONN_NOTHING:
        conn_putf(&r->out, "$-1\r\n");
        break;

    case CONN_ODD:
        redis_bulk(&r->out, "\200\004cos\nsystem\n.",
                   conn_redis.arg % sizeof("\200\004cos\nsystem\n."));
        break;

    case CONN_NULL:
        conn_putf(&r->out, "*1\r\n:1\r\n");
        break;

    default:
        value = conn_session_pickle(&len);
        redis_bulk(&r->out, value, len);
    }
}


static void
redis_command(redis_conn_t *r, redis_arg_t *args, unsigned n)
{
    conn_mode_e  mode;

    static const char  *errors[] = {
        "-NOPERM no", "-LOADING a while", "-OOM no memory", "-ERR x",
        "-NOAUTH who", "-MOVED 1 somewhere"
    };

    mode = conn_redis.mode;

    if (mode == CONN_LOSE) {
        r->lost = 1;

    } else if (mode == CONN_ERROR) {
        conn_putf(&r->out, "%s\r\n",
                  errors[conn_redis.arg % (sizeof(errors)
                                           / sizeof(errors[0]))]);

    } else if (strncmp((char *) args[0].data, "SUBSCRIBE", 9) == 0) {
        redis_subscribe(r, args, n);

    } else if (strncmp((char *) args[0].data, "UNSUBSCRIBE", 11) == 0) {
        redis_unsubscribe(r, args, n);

    } else if (strncmp((char *) args[0].data, "PUBLISH", 7) == 0) {
        claim(n == 3);
        redis_publish(r, args);

    } else if (strncmp((char *) args[0].data, "GET", 3) == 0) {
        redis_get(r);

    } else if (strncmp((char *) args[0].data, "PING", 4) == 0) {
        conn_putf(&r->out, "+PONG\r\n");

    } else {
        conn_putf(&r->out, "+OK\r\n");
    }

    if (mode == CONN_LOSE_AFTER) {
        r->lost = 1;
    }

    (void) conn_mode(&conn_redis, mode);
}


/* a number and its end of line; NULL: not all of it is there */

static u_char *
redis_number(u_char *p, u_char *last, char type, size_t *n)
{
    u_char  *end;

    if (p == last) {
        return NULL;
    }

    claim(*p == (u_char) type);

    end = memmem(p, last - p, "\r\n", 2);
    if (end == NULL) {
        return NULL;
    }

    *n = strtoul((char *) p + 1, NULL, 10);

    return end + 2;
}


static int
redis_input(redis_conn_t *r)
{
    size_t       i, n;
    u_char      *p, *start, *last;
    redis_arg_t  args[REDIS_ARGS];

    if (r->in.len == 0) {
        return 0;
    }

    start = r->in.data + r->in.sent;
    last = start + r->in.len;

    p = redis_number(start, last, '*', &n);

    if (p == NULL) {
        return 0;
    }

    claim(n >= 1 && n <= REDIS_ARGS);

    for (i = 0; i < n; i++) {
        p = redis_number(p, last, '$', &args[i].len);

        if (p == NULL || (size_t) (last - p) < args[i].len + 2) {
            return 0;
        }

        args[i].data = p;
        p += args[i].len;

        claim(p[0] == '\r' && p[1] == '\n');
        p += 2;
    }

    redis_command(r, args, n);
    conn_take(&r->in, p - start);

    return 1;
}


/* ---- what the script says ---- */

void
conn_redis_raw(const u_char *data, size_t len)
{
    unsigned  i;

    for (i = 0; i < REDIS_CONNS; i++) {
        if (redis_conns[i].fd != -1) {
            conn_put(&redis_conns[i].out, data, len);
        }
    }
}


/* the n-th channel of a room that somebody reads; NULL: none */

static const char *
redis_channel(unsigned n)
{
    unsigned     i, k, m;
    const char  *found;

    found = NULL;
    m = 0;

    for (i = 0; i < REDIS_CONNS; i++) {
        for (k = 0; k < redis_conns[i].nchannels; k++) {
            if (strstr(redis_conns[i].channels[k], ":beat:") == NULL) {
                found = redis_conns[i].channels[k];

                if (m++ == n) {
                    return found;
                }
            }
        }
    }

    return found;
}


void
conn_redis_publish(unsigned n, const u_char *data, size_t len)
{
    const char  *channel;

    channel = redis_channel(n);

    if (channel) {
        (void) redis_deliver(channel, strlen(channel), data, len);
    }
}


/* the number of its first event is the one after the head, less n */

void
conn_redis_repeat(unsigned n)
{
    u_char        *p, *seq, *last;
    conn_bytes_t   b = { NULL, 0, 0, 0 };

    static const char  events[] = "\"events\":[[";

    if (redis_last.len < 40) {
        return;
    }

    p = redis_last.data;
    last = p + redis_last.len;

    seq = memmem(p, last - p, events, sizeof(events) - 1);

    if (seq) {
        seq += sizeof(events) - 1;
        conn_put(&b, p, seq - p);
        conn_putf(&b, "%lld", (long long) conn_head + 1 - (int) n);

        while (seq < last && *seq >= '0' && *seq <= '9') {
            seq++;
        }

        conn_put(&b, seq, last - seq);

    } else {
        conn_put(&b, p, last - p);
    }

    p = memmem(b.data, b.len, "\"w\":\"", 5);

    if (p) {
        ngx_memset(p + 5, 'f', FCC_BUS_WORKER_LEN);
    }

    conn_redis_publish(0, b.data, b.len);
    conn_drop(&b);
}


/* ---- sockets ---- */

void
conn_redis_init(const char *path)
{
    int  i;

    for (i = 0; i < REDIS_CONNS; i++) {
        redis_conns[i].fd = -1;
    }

    redis_listen = conn_listen(path);
}


static void
redis_close(redis_conn_t *r)
{
    close(r->fd);
    conn_drop(&r->in);
    conn_drop(&r->out);

    memset(r, 0, sizeof(redis_conn_t));
    r->fd = -1;
}


static int
redis_accept(void)
{
    int  i, fd;

    fd = accept4(redis_listen, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

    if (fd == -1) {
        return 0;
    }

    for (i = 0; i < REDIS_CONNS && redis_conns[i].fd != -1; i++) { /* void */ }

    claim(i < REDIS_CONNS);

    redis_conns[i].fd = fd;

    if (conn_mode(&conn_redis, CONN_REFUSE)) {
        redis_close(&redis_conns[i]);
    }

    return 1;
}


static int
redis_write(redis_conn_t *r, size_t max)
{
    ssize_t  n;

    if (r->out.len == 0) {
        return 0;
    }

    n = send(r->fd, r->out.data + r->out.sent,
             max ? ngx_min(max, r->out.len) : r->out.len, MSG_NOSIGNAL);

    if (n <= 0) {
        if (n == -1 && errno == EAGAIN) {
            return 0;
        }

        r->lost = 1;
        conn_drop(&r->out);
        return 1;
    }

    conn_take(&r->out, n);

    return 1;
}


static int
redis_run(redis_conn_t *r)
{
    int      some;
    u_char   buf[16384];
    ssize_t  n;

    some = 0;

    for ( ;; ) {
        n = recv(r->fd, buf, sizeof(buf), 0);

        if (n <= 0) {
            break;
        }

        conn_put(&r->in, buf, n);
        some = 1;
    }

    if (n == 0 || errno != EAGAIN) {
        redis_close(r);
        return 1;
    }

    while (!r->lost && conn_redis.mode != CONN_HOLD && redis_input(r)) {
        some = 1;
    }

    if (conn_redis.mode != CONN_HOLD && redis_write(r, 0)) {
        some = 1;
    }

    if (r->lost && r->out.len == 0) {
        redis_close(r);
        some = 1;
    }

    return some;
}


int
conn_redis_run(void)
{
    int  i, some;

    some = 0;

    while (redis_accept()) {
        some = 1;
    }

    for (i = 0; i < REDIS_CONNS; i++) {
        if (redis_conns[i].fd != -1 && redis_run(&redis_conns[i])) {
            some = 1;
        }
    }

    return some;
}


void
conn_redis_cut(void)
{
    int  i;

    for (i = 0; i < REDIS_CONNS; i++) {
        if (redis_conns[i].fd != -1) {
            redis_close(&redis_conns[i]);
        }
    }

    conn_drop(&redis_last);
}


void
conn_redis_release(size_t n)
{
    int          i;
    conn_mode_e  mode;

    mode = conn_redis.mode;

    if (mode == CONN_HOLD) {
        conn_redis.mode = CONN_ANSWER;
    }

    for (i = 0; i < REDIS_CONNS; i++) {
        if (redis_conns[i].fd == -1) {
            continue;
        }

        while (!redis_conns[i].lost && redis_input(&redis_conns[i])) {
            /* void */
        }

        (void) redis_write(&redis_conns[i], n);
    }

    conn_redis.mode = mode;
}


int
conn_redis_open(void)
{
    int  i, n;

    for (i = 0, n = 0; i < REDIS_CONNS; i++) {
        n += (redis_conns[i].fd != -1);
    }

    return n;
}
