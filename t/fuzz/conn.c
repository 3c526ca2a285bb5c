
/*
 * A whole connection inside of nginx.  The input is a script, for each letter
 * something that happens: what clients send and how it is cut, what PostgreSQL
 * and Redis answer and when, time, memory that runs out, a worker that leaves.
 *
 * A digit below is one character from '0' on, an argument in capitals is the
 * rest of the line.
 *
 *     # LINE      a comment
 *     o i l k     client i opens, with the handshake of location l as user k
 *     O i TARGET  as alice, by the new protocol, for a target of its own
 *     c i         client i connects and says nothing
 *     r i LINE    client i sends it and CR LF
 *     x i LINE    without CR LF
 *     X i n ...   n bytes, whatever they are
 *     t i TEXT    a text frame, masked
 *     f i b TEXT  another frame: b is its opcode, and 16 without FIN, 32 RSV1
 *     h i k TARGET   client i asks the HTTP API as user k, or as the back end
 *     H i k r BODY   and for a change of room r
 *     d i n       what client i sends is read n bytes at a time; 0: all
 *     w i n       client i takes 64 * n bytes more, and then no more; z: all
 *     e i, R i    client i sends its FIN, or a reset
 *     p m a n     PostgreSQL is in mode m for n questions (0: for good)
 *     P n         it answers what it held, 8 * n bytes of it (0: all)
 *     l           it ends all connections
 *     q m a n, Q n, L   Redis likewise
 *     b n TEXT    on the channel of room n
 *     B n         what was published last, from another worker
 *     y TEXT      Redis says so
 *     a n         time passes
 *     i n         others insert n messages
 *     E           another epoch
 *     m n m       the (64 * n + m)-th allocation from now on fails
 *     M n m       and forty in a row
 *     g, G        the worker is told to leave; to leave now
 *     = i TEXT    what client i has been sent since it connected has it; looked
 *                 at only where a script is played as it was written
 */


#include "conn/conn.h"


#define CONN_STEPS     200      /* of a script */
#define CONN_SIZE      4096     /* bytes of it */
#define CONN_HEAD_MAX  2000     /* no row is put in above it */


int  conn_strict;


typedef void (*conn_step_pt)(fuzz_t *f);


static void conn_script_open(fuzz_t *f);
static void conn_script_target(fuzz_t *f);
static void conn_script_connect(fuzz_t *f);
static void conn_script_line(fuzz_t *f);
static void conn_script_text(fuzz_t *f);
static void conn_script_bytes(fuzz_t *f);
static void conn_script_frame(fuzz_t *f);
static void conn_script_odd_frame(fuzz_t *f);
static void conn_script_get(fuzz_t *f);
static void conn_script_post(fuzz_t *f);
static void conn_script_piece(fuzz_t *f);
static void conn_script_window(fuzz_t *f);
static void conn_script_fin(fuzz_t *f);
static void conn_script_reset(fuzz_t *f);
static void conn_script_pg(fuzz_t *f);
static void conn_script_pg_release(fuzz_t *f);
static void conn_script_pg_cut(fuzz_t *f);
static void conn_script_redis(fuzz_t *f);
static void conn_script_redis_release(fuzz_t *f);
static void conn_script_redis_cut(fuzz_t *f);
static void conn_script_bus(fuzz_t *f);
static void conn_script_repeat(fuzz_t *f);
static void conn_script_redis_says(fuzz_t *f);
static void conn_script_time(fuzz_t *f);
static void conn_script_insert(fuzz_t *f);
static void conn_script_epoch(fuzz_t *f);
static void conn_script_memory(fuzz_t *f);
static void conn_script_no_memory(fuzz_t *f);
static void conn_script_leave(fuzz_t *f);
static void conn_script_leave_now(fuzz_t *f);
static void conn_script_expect(fuzz_t *f);


static const struct {
    char          letter;
    conn_step_pt  step;
} conn_steps[] = {
    { 'o', conn_script_open },
    { 'O', conn_script_target },
    { 'c', conn_script_connect },
    { 'r', conn_script_line },
    { 'x', conn_script_text },
    { 'X', conn_script_bytes },
    { 't', conn_script_frame },
    { 'f', conn_script_odd_frame },
    { 'h', conn_script_get },
    { 'H', conn_script_post },
    { 'd', conn_script_piece },
    { 'w', conn_script_window },
    { 'e', conn_script_fin },
    { 'R', conn_script_reset },
    { 'p', conn_script_pg },
    { 'P', conn_script_pg_release },
    { 'l', conn_script_pg_cut },
    { 'q', conn_script_redis },
    { 'Q', conn_script_redis_release },
    { 'L', conn_script_redis_cut },
    { 'b', conn_script_bus },
    { 'B', conn_script_repeat },
    { 'y', conn_script_redis_says },
    { 'a', conn_script_time },
    { 'i', conn_script_insert },
    { 'E', conn_script_epoch },
    { 'm', conn_script_memory },
    { 'M', conn_script_no_memory },
    { 'g', conn_script_leave },
    { 'G', conn_script_leave_now },
    { '=', conn_script_expect },
    { 0, NULL }
};


/* of 'o': where, and by which protocol */

static const struct {
    const char  *path;
    int          v1;
    int          cookie;        /* signed_cookies's */
} conn_locations[] = {
    { "/ws/" CONN_ROOM "/", 1, 0 },
    { "/ws/" CONN_ROOM "/", 0, 0 },
    { "/old/" CONN_ROOM "/", 0, 0 },
    { "/cache/" CONN_ROOM "/", 1, 0 },
    { "/cached/" CONN_ROOM "/", 1, 0 },
    { "/signed/" CONN_ROOM "/", 1, 1 },
    { "/guest/" CONN_ROOM "/", 1, 0 },
    { "/tenant/" CONN_ROOM "/", 1, 0 },
    { "/near/" CONN_ROOM "/", 1, 0 },
    { "/near/" CONN_ROOM "/", 0, 0 },
    { "/free/" CONN_ROOM "/", 1, 0 },
    { "/echo", 0, 0 },
    { "/ws/stream_2/", 1, 0 },
    { "/status", 0, 0 }
};


static unsigned
conn_digit(fuzz_t *f)
{
    return (fuzz_byte(f) - '0') & 63;
}


static conn_client_t *
conn_client(fuzz_t *f)
{
    return &conn_clients[conn_digit(f) % CONN_CLIENTS];
}


/* the rest of the line; what is behind it is next */

static const u_char *
conn_rest(fuzz_t *f, size_t *len)
{
    const u_char  *p, *end;

    p = f->pos;
    end = memchr(p, '\n', f->last - p);
    end = end ? end : f->last;

    *len = end - p;
    f->pos = (end < f->last) ? end + 1 : end;

    return p;
}


/* ---- handshakes ---- */

static void
conn_handshake(conn_client_t *cl, const char *target, size_t len, int v1,
    const char *cookie)
{
    conn_bytes_t  b = { NULL, 0, 0, 0 };

    conn_put(&b, "GET ", 4);
    conn_put(&b, target, len);
    conn_putf(&b, " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
              "Connection: Upgrade\r\nOrigin: http://localhost\r\n"
              "Sec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
              "Sec-WebSocket-Extensions: permessage-deflate\r\n");

    if (v1) {
        conn_putf(&b, "Sec-WebSocket-Protocol: fcchat.v1\r\n");
    }

    if (cookie) {
        conn_putf(&b, "Cookie: sessionid=%s\r\n", cookie);
    }

    conn_putf(&b, "\r\n");

    conn_write(cl, b.data, b.len);
    conn_drop(&b);
}


static void
conn_script_open(fuzz_t *f)
{
    char            key[CONN_COOKIE];
    unsigned        l, k;
    conn_client_t  *cl;

    cl = conn_client(f);
    l = conn_digit(f) % (sizeof(conn_locations) / sizeof(conn_locations[0]));
    k = conn_digit(f) % 5;

    conn_open(cl);
    conn_handshake(cl, conn_locations[l].path, strlen(conn_locations[l].path),
                   conn_locations[l].v1,
                   conn_cookie(key, k, conn_locations[l].cookie));
}


static void
conn_script_target(fuzz_t *f)
{
    size_t          len;
    const u_char   *p;
    conn_client_t  *cl;

    cl = conn_client(f);
    p = conn_rest(f, &len);

    conn_open(cl);
    conn_handshake(cl, (char *) p, len, 1, "abcdefghijklmnopqrstuvwxyz012345");
}


static void
conn_script_connect(fuzz_t *f)
{
    conn_open(conn_client(f));
}


/* ---- what clients send ---- */

static void
conn_script_line(fuzz_t *f)
{
    size_t          len;
    const u_char   *p;
    conn_client_t  *cl;

    cl = conn_client(f);
    cl->api = 0;
    p = conn_rest(f, &len);

    conn_write(cl, p, len);
    conn_write(cl, "\r\n", 2);
}


static void
conn_script_text(fuzz_t *f)
{
    size_t          len;
    const u_char   *p;
    conn_client_t  *cl;

    cl = conn_client(f);
    cl->api = 0;
    p = conn_rest(f, &len);

    conn_write(cl, p, len);
}


static void
conn_script_bytes(fuzz_t *f)
{
    size_t          n;
    conn_client_t  *cl;

    cl = conn_client(f);
    cl->api = 0;
    n = conn_digit(f);
    n = ngx_min(n, (size_t) (f->last - f->pos));

    conn_write(cl, f->pos, n);
    f->pos += n;
}


static void
conn_frame(conn_client_t *cl, u_char first, const u_char *p, size_t len)
{
    u_char         c;
    size_t         i;
    conn_bytes_t   b = { NULL, 0, 0, 0 };

    static const u_char  mask[] = { 0x12, 0x34, 0x56, 0x78 };

    conn_put(&b, &first, 1);

    if (len < 126) {
        c = 0x80 | len;
        conn_put(&b, &c, 1);

    } else {
        conn_put(&b, "\376", 1);
        c = len >> 8;
        conn_put(&b, &c, 1);
        c = len;
        conn_put(&b, &c, 1);
    }

    conn_put(&b, mask, 4);

    for (i = 0; i < len; i++) {
        c = p[i] ^ mask[i % 4];
        conn_put(&b, &c, 1);
    }

    conn_write(cl, b.data, b.len);
    conn_drop(&b);
}


static void
conn_script_frame(fuzz_t *f)
{
    size_t          len;
    const u_char   *p;
    conn_client_t  *cl;

    cl = conn_client(f);
    p = conn_rest(f, &len);

    conn_frame(cl, 0x81, p, len);
}


static void
conn_script_odd_frame(fuzz_t *f)
{
    u_char          first;
    size_t          len;
    unsigned        b;
    const u_char   *p;
    conn_client_t  *cl;

    cl = conn_client(f);
    b = conn_digit(f);
    first = (b & 15) | (b & 16 ? 0 : 0x80) | (b & 32 ? 0x40 : 0);
    p = conn_rest(f, &len);

    conn_frame(cl, first, p, len);
}


/* ---- requests to the HTTP API: conn/request.c ---- */

static void
conn_script_get(fuzz_t *f)
{
    size_t          len;
    unsigned        k;
    const u_char   *p;
    conn_client_t  *cl;

    cl = conn_client(f);
    k = conn_digit(f);
    p = conn_rest(f, &len);

    conn_get(cl, k, p, len);
}


static void
conn_script_post(fuzz_t *f)
{
    size_t          len;
    unsigned        k, room;
    const u_char   *p;
    conn_client_t  *cl;

    cl = conn_client(f);
    k = conn_digit(f);
    room = conn_digit(f);
    p = conn_rest(f, &len);

    conn_post(cl, k, room, p, len);
}


static void
conn_script_piece(fuzz_t *f)
{
    conn_client_t  *cl;

    cl = conn_client(f);
    cl->piece = conn_digit(f);
}


static void
conn_script_window(fuzz_t *f)
{
    unsigned        c;
    conn_client_t  *cl;

    cl = conn_client(f);
    c = fuzz_byte(f);

    cl->window = (c == 'z') ? SIZE_MAX : 64 * ((c - '0') & 63);

    conn_writable(cl);
}


static void
conn_script_fin(fuzz_t *f)
{
    conn_client_t  *cl;

    cl = conn_client(f);
    cl->eof = 1;
    conn_readable(cl);
}


static void
conn_script_reset(fuzz_t *f)
{
    conn_client_t  *cl;

    cl = conn_client(f);
    cl->reset = 1;
    conn_readable(cl);
}


/* ---- servers ---- */

static void
conn_script_mode(fuzz_t *f, conn_server_t *server)
{
    server->mode = conn_digit(f) % CONN_MODES;
    server->arg = fuzz_byte(f);
    server->left = conn_digit(f);
}


static void
conn_script_pg(fuzz_t *f)
{
    conn_script_mode(f, &conn_pg);
}


static void
conn_script_pg_release(fuzz_t *f)
{
    conn_pg_release(8 * conn_digit(f));
}


static void
conn_script_pg_cut(fuzz_t *f)
{
    conn_pg_cut();
}


static void
conn_script_redis(fuzz_t *f)
{
    conn_script_mode(f, &conn_redis);
}


static void
conn_script_redis_release(fuzz_t *f)
{
    conn_redis_release(8 * conn_digit(f));
}


static void
conn_script_redis_cut(fuzz_t *f)
{
    conn_redis_cut();
}


static void
conn_script_bus(fuzz_t *f)
{
    size_t         len;
    unsigned       n;
    const u_char  *p;

    n = conn_digit(f) % 4;
    p = conn_rest(f, &len);

    conn_redis_publish(n, p, len);
}


static void
conn_script_repeat(fuzz_t *f)
{
    conn_redis_repeat(conn_digit(f));
}


static void
conn_script_redis_says(fuzz_t *f)
{
    size_t         len;
    const u_char  *p;

    p = conn_rest(f, &len);

    conn_redis_raw(p, len);
    conn_redis_raw((u_char *) "\r\n", 2);
}


/* ---- the rest of the world ---- */

static void
conn_script_time(fuzz_t *f)
{
    static const ngx_msec_t  ms[] = {
        1, 10, 50, 100, 250, 500, 1000, 2000, 5000, 10000, 30000
    };

    conn_advance(ms[conn_digit(f) % (sizeof(ms) / sizeof(ms[0]))]);
}


/* what is behind is read a few rows a turn, of which there is an end */

static void
conn_script_insert(fuzz_t *f)
{
    int64_t  n;

    n = conn_digit(f);

    if (conn_head < CONN_HEAD_MAX) {
        conn_head += n;
    }
}


static void
conn_script_epoch(fuzz_t *f)
{
    conn_epoch++;
    conn_head = 3;
}


static void
conn_script_memory(fuzz_t *f)
{
    unsigned  n;

    n = 64 * conn_digit(f);
    n += conn_digit(f);

    conn_alloc_fail(n, 1);
}


static void
conn_script_no_memory(fuzz_t *f)
{
    unsigned  n;

    n = 64 * conn_digit(f);
    n += conn_digit(f);

    conn_alloc_fail(n, 40);
}


static void
conn_script_leave(fuzz_t *f)
{
    conn_leave();
}


static void
conn_script_leave_now(fuzz_t *f)
{
    conn_leave_now();
}


static void
conn_script_expect(fuzz_t *f)
{
    size_t          len;
    const u_char   *p;
    conn_client_t  *cl;

    cl = conn_client(f);
    p = conn_rest(f, &len);

    if (conn_strict && memmem(cl->said.data, cl->said.len, p, len) == NULL) {
        fprintf(stderr, "not said to client %d: %.*s\n",
                (int) (cl - conn_clients), (int) len, p);
        claim(!conn_strict);
    }
}


uint64_t
conn_play(const uint8_t *data, size_t size, uint64_t first, uint64_t times)
{
    fuzz_t    f;
    size_t    len;
    uint64_t  n;
    unsigned  i, c, steps;

    f.pos = data;
    f.last = data + size;

    if (conn_cycle == NULL) {
        conn_init();
    }

    ngx_memzero(&conn_pg, sizeof(conn_server_t));
    ngx_memzero(&conn_redis, sizeof(conn_server_t));

    conn_head = 41;
    conn_epoch = 1;

    for (i = 0; i < CONN_CLIENTS; i++) {
        conn_forget(&conn_clients[i]);
    }

    conn_begin();
    conn_settle();
    conn_advance(1);

    conn_alloc_fail(first, times);

    for (steps = 0; f.pos < f.last && steps < CONN_STEPS; /* void */ ) {
        c = fuzz_byte(&f);

        if (c == '#') {
            (void) conn_rest(&f, &len);
            continue;
        }

        for (i = 0; conn_steps[i].letter; i++) {
            if (conn_steps[i].letter == (char) c) {
                conn_steps[i].step(&f);
                conn_settle();
                steps++;
                break;
            }
        }
    }

    n = conn_alloc_count();

    conn_end();

    return n;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > CONN_SIZE) {
        return 0;
    }

    (void) conn_play(data, size, 0, 0);

    return 0;
}
