
/*
 * The load generator's WebSockets: connect, TLS, handshake, frames.
 *
 * Sockets are watched edge-triggered from the first moment on, for reading and
 * writing, and each event is one recv() unless it filled the buffer.  A reader
 * that is to stall is not watched any more once it is open.
 */


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <zlib.h>

#include "load.h"


#define IN_SIZE  (256 * 1024)


static int bytes_add(bytes_t *b, const void *data, size_t len);
static int conn_socket(conn_t *c);
static void conn_request(conn_t *c);
static void conn_write(conn_t *c);
static void conn_read(conn_t *c);
static ssize_t conn_recv(conn_t *c, uint8_t *p, size_t size);
static int conn_input(conn_t *c, uint8_t *p, size_t len);
static ssize_t conn_reply(conn_t *c, uint8_t *p, size_t len);
static ssize_t conn_frame(conn_t *c, uint8_t *p, size_t len);
static uint8_t *conn_inflate(uint8_t *p, size_t *len);
static void conn_put(conn_t *c, uint8_t opcode, const uint8_t *p, size_t len);
static void conn_tls(conn_t *c);


/* what people write, so that it can be compressed as that can */

static const char  prose[] =
    "have you seen that goal from the second half, what a shot from so "
    "far out and the keeper never moved; greetings from Osaka to all of"
    " you, it is past midnight here and I should be asleep since I have"
    " to work tomorrow morning but this is far too good to miss. does "
    "anybody know the name of the song in the break? it was on the "
    "radio last week and I have looked for it ever since. thank you for"
    " the stream, the picture is clear and the sound too, better than "
    "it was on Friday when half of us were thrown out twice in a "
    "quarter of an hour. will there be another one on Sunday, and can "
    "we vote for what is played first? my brother says hello, he has a "
    "cold and can not speak, which makes the evening a quiet one for "
    "the rest of the family now. ";

/* with room for the end of a compressed message */

static uint8_t   in[IN_SIZE + 4];
static SSL_CTX  *ctx;


static int
bytes_add(bytes_t *b, const void *data, size_t len)
{
    void    *p;
    size_t   size;

    if (b->len + len > b->size) {
        size = (b->len + len) * 2;

        p = realloc(b->data, size);
        if (p == NULL) {
            return -1;
        }

        b->data = p;
        b->size = size;
    }

    memcpy(b->data + b->len, data, len);
    b->len += len;

    return 0;
}


static int
conn_socket(conn_t *c)
{
    int                 on, size;
    struct sockaddr_in  sin;

    on = 1;
    size = 4096;

    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0);
    if (c->fd == -1) {
        return -1;
    }

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    if (c->stalled) {
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;

    /* ports of an address of our own: none is taken by an earlier run */

    if (load.source) {
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
                   sizeof(on));
        sin.sin_addr.s_addr = htonl(load.source);

        if (bind(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
            return -1;
        }
    }

    sin.sin_port = htons((uint16_t) load.port);
    inet_pton(AF_INET, load.host, &sin.sin_addr);

    if (connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        && errno != EINPROGRESS)
    {
        return -1;
    }

    return 0;
}


int
conn_start(conn_t *c)
{
    struct epoll_event  ee;

    c->in.len = 0;
    c->out.len = 0;
    c->got = 0;
    c->welcome = 0;
    c->state = CONN_CONNECT;

    if (conn_socket(c) == -1) {
        load_lost(c, strerror(errno));
        return -1;
    }

    ee.events = EPOLLIN|EPOLLOUT|EPOLLET;
    ee.data.ptr = c;

    epoll_ctl(load.ep, EPOLL_CTL_ADD, c->fd, &ee);

    return 0;
}


/* by a reset, which leaves no port behind in TIME_WAIT */

void
conn_drop(conn_t *c)
{
    struct linger  l;

    if (c->fd == -1) {
        return;
    }

    if (c->ssl) {
        SSL_free(c->ssl);
        c->ssl = NULL;
    }

    l.l_onoff = 1;
    l.l_linger = 0;

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    close(c->fd);

    c->fd = -1;
    c->state = CONN_CLOSED;
}


void
conn_event(conn_t *c, uint32_t events)
{
    int        err;
    socklen_t  len;

    if (c->fd == -1) {
        return;
    }

    if (c->state == CONN_CONNECT) {

        if (!(events & (EPOLLOUT|EPOLLERR|EPOLLHUP))) {
            return;
        }

        err = 0;
        len = sizeof(err);
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);

        if (err) {
            load_lost(c, strerror(err));
            return;
        }

        c->state = load.tls ? CONN_TLS : CONN_REPLY;

        if (!load.tls) {
            conn_request(c);
            return;
        }
    }

    if (c->state == CONN_TLS) {
        conn_tls(c);
        return;
    }

    if (c->out.len && (events & EPOLLOUT)) {
        conn_write(c);
    }

    if (c->fd != -1 && (events & (EPOLLIN|EPOLLHUP|EPOLLERR))) {
        conn_read(c);
    }
}


static void
conn_tls(conn_t *c)
{
    int  rc;

    if (ctx == NULL) {
        ctx = SSL_CTX_new(TLS_client_method());
    }

    if (c->ssl == NULL) {
        c->ssl = SSL_new(ctx);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE
                             |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                             |SSL_MODE_RELEASE_BUFFERS);
    }

    rc = SSL_connect(c->ssl);

    if (rc == 1) {
        c->state = CONN_REPLY;
        conn_request(c);
        return;
    }

    rc = SSL_get_error(c->ssl, rc);

    if (rc != SSL_ERROR_WANT_READ && rc != SSL_ERROR_WANT_WRITE) {
        load_lost(c, "TLS handshake");
    }
}


static void
conn_request(conn_t *c)
{
    int    n;
    char   text[2048], path[LOAD_PATH + 128];
    char  *cookie;

    n = snprintf(path, sizeof(path), load.path, c->room + 1);

    if (load.wanted) {
        snprintf(path + n, sizeof(path) - (size_t) n, "?since=%s:%lu",
                 load.room[c->room].epoch, c->seq);
    }

    cookie = load.ncookies ? load.cookies[c->index % load.ncookies] : NULL;

    n = snprintf(text, sizeof(text),
                 "GET %s HTTP/1.1\r\n"
                 "Host: %s\r\n"
                 "Upgrade: websocket\r\n"
                 "Connection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Version: 13\r\n"
                 "Origin: %s\r\n"
                 "%s%s%s%s%s%s%s\r\n",
                 path, load.origin + (load.tls ? 8 : 7), load.origin,
                 cookie ? "Cookie: " : "", cookie ? load.cookie_name : "",
                 cookie ? "=" : "", cookie ? cookie : "",
                 cookie ? "\r\n" : "",
                 load.proto == LOAD_V1
                 ? "Sec-WebSocket-Protocol: fcchat.v1\r\n" : "",
                 load.deflate
                 ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");

    bytes_add(&c->out, text, (size_t) n);
    conn_write(c);
}


static void
conn_write(conn_t *c)
{
    int      err;
    ssize_t  n;

    while (c->out.len) {

        if (c->ssl) {
            n = SSL_write(c->ssl, c->out.data, (int) c->out.len);

            if (n <= 0) {
                err = SSL_get_error(c->ssl, (int) n);

                if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE)
                {
                    return;
                }
            }

        } else {
            n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);

            if (n == -1 && errno == EAGAIN) {
                return;
            }
        }

        if (n <= 0) {
            load_lost(c, "send failed");
            return;
        }

        c->out.len -= (size_t) n;
        memmove(c->out.data, c->out.data + n, c->out.len);
    }
}


static ssize_t
conn_recv(conn_t *c, uint8_t *p, size_t size)
{
    int  n, err;

    if (c->ssl == NULL) {
        return recv(c->fd, p, size, 0);
    }

    n = SSL_read(c->ssl, p, (int) size);

    if (n > 0) {
        return n;
    }

    err = SSL_get_error(c->ssl, n);

    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }

    return 0;
}


static void
conn_read(conn_t *c)
{
    size_t   have;
    ssize_t  n;

    do {
        have = c->in.len;

        if (have) {
            memcpy(in, c->in.data, have);
        }

        n = conn_recv(c, in + have, IN_SIZE - have);

        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }

        if (n <= 0) {
            load_lost(c, n == 0 ? "closed without a word" : strerror(errno));
            return;
        }

        load.now = nsec();
        load.bytes += (uint64_t) n;

        if (conn_input(c, in, have + (size_t) n) == -1) {
            return;
        }

        /* a record of TLS may be waiting in the library */

    } while (c->ssl || (size_t) n == IN_SIZE - have);
}


static int
conn_input(conn_t *c, uint8_t *p, size_t len)
{
    ssize_t  n;

    for ( ;; ) {
        n = (c->state == CONN_REPLY) ? conn_reply(c, p, len)
                                     : conn_frame(c, p, len);
        if (n == -1) {
            return -1;
        }

        if (n == 0) {
            break;
        }

        p += n;
        len -= (size_t) n;
    }

    if (len > IN_SIZE / 2) {
        load_lost(c, "frame too long");
        return -1;
    }

    c->in.len = 0;

    if (len) {
        bytes_add(&c->in, p, len);

    } else if (c->in.data) {
        free(c->in.data);
        memset(&c->in, 0, sizeof(bytes_t));
    }

    return 0;
}


static ssize_t
conn_reply(conn_t *c, uint8_t *p, size_t len)
{
    char      why[64];
    uint8_t  *end;

    end = memmem(p, len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }

    if (len < 12 || memcmp(p + 9, "101", 3) != 0) {
        snprintf(why, sizeof(why), "%.*s",
                 (int) ((uint8_t *) memchr(p, '\r', len) - p), (char *) p);
        load_lost(c, why);
        return -1;
    }

    c->state = CONN_OPEN;

    if (c->stalled) {
        epoll_ctl(load.ep, EPOLL_CTL_DEL, c->fd, NULL);
    }

    if (c->out.data) {
        free(c->out.data);
        memset(&c->out, 0, sizeof(bytes_t));
    }

    load_opened();

    return end + 4 - p;
}


static ssize_t
conn_frame(conn_t *c, uint8_t *p, size_t len)
{
    char      why[160];
    size_t    head, n, plain;
    uint8_t  *text;

    if (len < 2) {
        return 0;
    }

    n = p[1];
    head = 2;

    if (n == 126) {

        if (len < 4) {
            return 0;
        }

        n = (size_t) p[2] << 8 | p[3];
        head = 4;

    } else if (n > 126) {
        load_lost(c, "frame of an unexpected length");
        return -1;
    }

    if (len < head + n) {
        return 0;
    }

    switch (p[0] & 15) {

    case 1:
        load.wire += head + n;
        text = p + head;
        plain = n;

        if (p[0] & 0x40) {
            text = conn_inflate(text, &plain);

            if (text == NULL) {
                load_lost(c, "what is no compressed message");
                return -1;
            }
        }

        load_message(c, text, plain);
        break;

    case 8:
        snprintf(why, sizeof(why), "close %d %.*s",
                 n >= 2 ? p[head] << 8 | p[head + 1] : 0,
                 n > 2 ? (int) (n - 2) : 0, (char *) p + head + 2);
        load_lost(c, why);
        return -1;

    case 9:
        conn_put(c, 10, p + head, n);
        conn_write(c);

        if (c->fd == -1) {
            return -1;
        }

        break;
    }

    return (ssize_t) (head + n);
}


/* up to the next call; the bytes behind the message are put back */

static uint8_t *
conn_inflate(uint8_t *p, size_t *len)
{
    int              rc;
    uint8_t          behind[4];
    static z_stream  zs;
    static uint8_t   text[65536];

    if (zs.state == NULL && inflateInit2(&zs, -15) != Z_OK) {
        return NULL;
    }

    inflateReset(&zs);

    memcpy(behind, p + *len, 4);
    memcpy(p + *len, "\x00\x00\xff\xff", 4);

    zs.next_in = p;
    zs.avail_in = (uInt) (*len + 4);
    zs.next_out = text;
    zs.avail_out = sizeof(text);

    rc = inflate(&zs, Z_SYNC_FLUSH);

    memcpy(p + *len, behind, 4);
    *len = sizeof(text) - zs.avail_out;

    return rc == Z_OK && zs.avail_in == 0 ? text : NULL;
}


static void
conn_put(conn_t *c, uint8_t opcode, const uint8_t *p, size_t len)
{
    size_t               i, head;
    uint8_t              buf[4096];
    static const uint8_t  mask[4] = { 0x3a, 0x9c, 0x51, 0xe7 };

    buf[0] = 0x80 | opcode;
    head = 2;

    if (len < 126) {
        buf[1] = (uint8_t) (0x80 | len);

    } else {
        buf[1] = 0x80 | 126;
        buf[2] = (uint8_t) (len >> 8);
        buf[3] = (uint8_t) len;
        head = 4;
    }

    memcpy(buf + head, mask, 4);
    head += 4;

    for (i = 0; i < len; i++) {
        buf[head + i] = p[i] ^ mask[i & 3];
    }

    bytes_add(&c->out, buf, head + len);
}


/* what a sender says in one turn leaves in one send() */

void
conn_send(sender_t *s, uint64_t stamp)
{
    int       n;
    char      text[1024], json[2048];
    conn_t   *c;
    uint32_t  at;

    c = s->conn;

    if (c->state != CONN_OPEN) {
        return;
    }

    n = snprintf(text, sizeof(text), "~%04x%04x%08x%016lx", s->room, s->index,
                 s->sent, stamp);

    at = s->sent * 61;

    while (n < (int) load.text) {
        text[n++] = prose[at++ % (sizeof(prose) - 1)];
    }

    switch (load.proto) {

    case LOAD_V1:
        n = snprintf(json, sizeof(json), "{\"type\":\"message\",\"text\":"
                     "\"%.*s\",\"cid\":\"%.32s\"}", n, text, text + 1);
        break;

    case LOAD_RAW:
        n = snprintf(json, sizeof(json), "{\"username\": \"viewer0\", "
                     "\"message\": \"%.*s\", \"message_type\": \"message\", "
                     "\"timestamp\": null}", n, text);
        break;

    default:
        n = snprintf(json, sizeof(json), "{\"message\": \"%.*s\"}", n, text);
    }

    s->left[s->sent % LOAD_RING] = load.echo ? 1 : load.room[s->room].members;
    s->sent++;

    load.expected += load.room[s->room].members;

    conn_put(c, 1, (uint8_t *) json, (size_t) n);

    if (!c->queued) {
        c->queued = 1;
        load.dirty[load.ndirty++] = c;
    }
}


void
conn_flush(void)
{
    conn_t    *c;
    uint32_t   i;

    for (i = 0; i < load.ndirty; i++) {
        c = load.dirty[i];
        c->queued = 0;

        if (c->fd != -1) {
            conn_write(c);
        }
    }

    load.ndirty = 0;
}
