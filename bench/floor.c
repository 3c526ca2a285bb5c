
/*
 * The floor: the least that a process can do to bring a WebSocket message to
 * many sockets.  A frame is built once and given to the kernel for each
 * socket; there are no rooms, users or storage, and no protocol but the frames.
 *
 *     floor PORT               each message by itself: one send() per delivery
 *     floor PORT batch         all messages of one turn of the loop in one
 *                              send()
 *     floor PORT CONNINFO SQL  each by itself, when SQL has stored it: $1
 *     floor PORT ping SECONDS  a ping to each socket so often
 *
 * What the kernel does not take is kept for the socket and sent when there is
 * room again.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>
#include <openssl/evp.h>


#define IN_SIZE   65536
#define OUT_SIZE  (1024 * 1024)
#define MAX_FDS   65536
#define TICK      200                       /* ms from one look to the next */
#define GUID      "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


typedef struct {
    uint8_t   *kept;
    size_t     len;
    int64_t    due;                         /* its next ping, ms */
    int        open;
    uint32_t   slot;                        /* in members */
} peer_t;


static int listen_on(int port);
static PGconn *database(const char *conninfo, const char *sql);
static int commit(const uint8_t *p, size_t len);
static void take(int listener);
static void leave(int fd);
static void input(int fd);
static size_t handshake(int fd, uint8_t *p, size_t len);
static size_t frame(int fd, uint8_t *p, size_t len);
static void message(const uint8_t *p, size_t len);
static void fan_out(void);
static int64_t now(void);
static void ping(void);
static void keep(int fd, const uint8_t *p, size_t len);
static void flush(int fd);


static int       ep, batch;
static int64_t   every;                     /* ms between pings, 0: none */
static PGconn   *db;                        /* NULL: nothing is stored */
static peer_t    peer[MAX_FDS];
static int       members[MAX_FDS];
static uint32_t  nmembers;
static uint8_t   in[IN_SIZE], out[OUT_SIZE];
static size_t    nout;


int
main(int argc, char **argv)
{
    int                 i, n, fd, listener;
    struct rlimit       rl;
    struct epoll_event  ee, ev[1024];

    if (argc < 2) {
        fputs("usage: floor PORT [batch | CONNINFO SQL | ping SECONDS]\n",
              stderr);
        return 2;
    }

    batch = (argc > 2 && strcmp(argv[2], "batch") == 0);

    if (argc > 3 && strcmp(argv[2], "ping") == 0) {
        every = 1000 * atoi(argv[3]);

    } else if (argc > 3) {
        db = database(argv[2], argv[3]);

        if (db == NULL) {
            return 1;
        }
    }

    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);

    ep = epoll_create1(0);
    listener = listen_on(atoi(argv[1]));

    if (ep == -1 || listener == -1) {
        perror("floor");
        return 1;
    }

    ee.events = EPOLLIN;
    ee.data.fd = listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ee);

    for ( ;; ) {
        n = epoll_wait(ep, ev, 1024, every ? TICK : -1);

        for (i = 0; i < n; i++) {
            fd = ev[i].data.fd;

            if (fd == listener) {
                take(listener);
                continue;
            }

            if (ev[i].events & EPOLLOUT) {
                flush(fd);
            }

            if (ev[i].events & (EPOLLIN|EPOLLHUP|EPOLLERR)) {
                input(fd);
            }
        }

        if (nout) {
            fan_out();
        }

        if (every) {
            ping();
        }
    }
}


static PGconn *
database(const char *conninfo, const char *sql)
{
    PGconn    *c;
    PGresult  *prepared;

    c = PQconnectdb(conninfo);
    prepared = PQprepare(c, "floor", sql, 1, NULL);

    if (PQresultStatus(prepared) != PGRES_COMMAND_OK) {
        fprintf(stderr, "floor: %s", PQerrorMessage(c));
        PQfinish(c);
        c = NULL;
    }

    PQclear(prepared);

    return c;
}


static int
commit(const uint8_t *p, size_t len)
{
    int          n, stored;
    PGresult    *res;
    const char  *value;

    value = (const char *) p;
    n = (int) len;

    res = PQexecPrepared(db, "floor", 1, &value, &n, (int[]) { 1 }, 0);
    stored = (PQresultStatus(res) == PGRES_COMMAND_OK);

    PQclear(res);

    return stored;
}


static int
listen_on(int port)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    on = 1;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((uint16_t) port);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(fd, 4096) == -1)
    {
        return -1;
    }

    return fd;
}


static void
take(int listener)
{
    int                 fd, on;
    struct epoll_event  ee;

    on = 1;

    for ( ;; ) {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

        if (fd == -1 || fd >= MAX_FDS) {
            return;
        }

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        memset(&peer[fd], 0, sizeof(peer_t));

        ee.events = EPOLLIN|EPOLLOUT|EPOLLET;
        ee.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ee);
    }
}


static void
leave(int fd)
{
    peer_t  *p;

    p = &peer[fd];

    if (p->open) {
        members[p->slot] = members[--nmembers];
        peer[members[p->slot]].slot = p->slot;
    }

    free(p->kept);
    memset(p, 0, sizeof(peer_t));
    close(fd);
}


/* the load's requests and frames come whole, as it sends them */

static void
input(int fd)
{
    int       more;
    size_t    n;
    uint8_t  *p;
    ssize_t   len;

    do {
        len = recv(fd, in, IN_SIZE, 0);

        if (len == -1 && errno == EAGAIN) {
            return;
        }

        if (len <= 0) {
            leave(fd);
            return;
        }

        more = (len == IN_SIZE);

        for (p = in; len > 0; p += n, len -= (ssize_t) n) {
            n = peer[fd].open ? frame(fd, p, (size_t) len)
                              : handshake(fd, p, (size_t) len);
            if (n == 0) {
                leave(fd);
                return;
            }
        }
    } while (more);
}


static size_t
handshake(int fd, uint8_t *p, size_t len)
{
    int       n;
    char      text[256], accept[64];
    uint8_t  *key, *end, hash[EVP_MAX_MD_SIZE];

    key = memmem(p, len, "Sec-WebSocket-Key: ", 19);
    end = memmem(p, len, "\r\n\r\n", 4);

    if (key == NULL || end == NULL || end - key < 43) {
        return 0;
    }

    n = snprintf(text, sizeof(text), "%.24s" GUID, (char *) key + 19);

    EVP_Digest(text, (size_t) n, hash, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *) accept, hash, 20);

    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                 accept);

    if (send(fd, text, (size_t) n, MSG_NOSIGNAL) != n) {
        return 0;
    }

    peer[fd].open = 1;
    peer[fd].due = now() + every;
    peer[fd].slot = nmembers;
    members[nmembers++] = fd;

    return (size_t) (end + 4 - p);
}


static size_t
frame(int fd, uint8_t *p, size_t len)
{
    size_t    i, n, head;
    uint8_t  *mask;

    (void) fd;

    if (len < 6) {
        return 0;
    }

    n = p[1] & 127;
    head = 6;

    if (n == 126) {
        n = (size_t) p[2] << 8 | p[3];
        head = 8;
    }

    if (n == 127 || len < head + n) {
        return 0;
    }

    mask = p + head - 4;

    for (i = 0; i < n; i++) {
        p[head + i] ^= mask[i & 3];
    }

    if ((p[0] & 15) == 1) {
        message(p + head, n);
    }

    return head + n;
}


static void
message(const uint8_t *p, size_t len)
{
    if (db && !commit(p, len)) {
        return;
    }

    if (nout + len + 4 > OUT_SIZE) {
        fan_out();
    }

    out[nout++] = 0x81;

    if (len < 126) {
        out[nout++] = (uint8_t) len;

    } else {
        out[nout++] = 126;
        out[nout++] = (uint8_t) (len >> 8);
        out[nout++] = (uint8_t) len;
    }

    memcpy(out + nout, p, len);
    nout += len;

    if (!batch) {
        fan_out();
    }
}


static void
fan_out(void)
{
    int       fd;
    ssize_t   n;
    uint32_t  i;

    for (i = 0; i < nmembers; i++) {
        fd = members[i];

        if (peer[fd].len) {
            keep(fd, out, nout);
            continue;
        }

        n = send(fd, out, nout, MSG_NOSIGNAL);

        if (n != (ssize_t) nout) {

            if (n == -1 && errno != EAGAIN) {
                continue;
            }

            n = (n == -1) ? 0 : n;
            keep(fd, out + n, nout - (size_t) n);
        }
    }

    nout = 0;
}


static int64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
ping(void)
{
    int64_t         t;
    uint32_t        i;
    static int64_t  looked;

    t = now();

    if (t - looked < TICK) {
        return;
    }

    looked = t;

    for (i = 0; i < nmembers; i++) {

        if (peer[members[i]].due <= t) {
            peer[members[i]].due = t + every;
            (void) send(members[i], "\x89", 2, MSG_NOSIGNAL);
        }
    }
}


static void
keep(int fd, const uint8_t *p, size_t len)
{
    void    *data;
    peer_t  *to;

    to = &peer[fd];

    data = realloc(to->kept, to->len + len);
    if (data == NULL) {
        return;
    }

    to->kept = data;
    memcpy(to->kept + to->len, p, len);
    to->len += len;
}


static void
flush(int fd)
{
    peer_t   *p;
    ssize_t   n;

    p = &peer[fd];

    if (p->len == 0) {
        return;
    }

    n = send(fd, p->kept, p->len, MSG_NOSIGNAL);

    if (n <= 0) {
        return;
    }

    p->len -= (size_t) n;
    memmove(p->kept, p->kept + n, p->len);
}
