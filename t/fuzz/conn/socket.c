
/*
 * Sockets of clients: made up, with numbers that no descriptor has, and with
 * nginx's functions for them replaced.
 */


#include "conn.h"


#define SOCKET_FD  1000000      /* the first one */


static u_char *socket_addr(u_char *buf);


conn_client_t               conn_clients[CONN_CLIENTS];

static ngx_event_actions_t  socket_actions;


int __real_close(int fd);

int
__wrap_close(int fd)
{
    conn_client_t  *cl;

    if (fd < SOCKET_FD) {
        return __real_close(fd);
    }

    cl = &conn_clients[fd - SOCKET_FD];

    claim(cl->c != NULL);
    cl->c = NULL;

    return 0;
}


/* ---- its events ---- */

static ngx_int_t
socket_add_event(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    ngx_connection_t *c = ev->data;

    if (c->fd < SOCKET_FD) {
        return socket_actions.add(ev, event, flags);
    }

    ev->active = 1;

    return NGX_OK;
}


static ngx_int_t
socket_del_event(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    ngx_connection_t *c = ev->data;

    if (c->fd < SOCKET_FD) {
        return socket_actions.del(ev, event, flags);
    }

    ev->active = 0;

    return NGX_OK;
}


static ngx_int_t
socket_add_conn(ngx_connection_t *c)
{
    if (c->fd < SOCKET_FD) {
        return socket_actions.add_conn(c);
    }

    c->read->active = 1;
    c->write->active = 1;

    return NGX_OK;
}


static ngx_int_t
socket_del_conn(ngx_connection_t *c, ngx_uint_t flags)
{
    if (c->fd < SOCKET_FD) {
        return socket_actions.del_conn(c, flags);
    }

    c->read->active = 0;
    c->write->active = 0;

    return NGX_OK;
}


/* ---- bytes ---- */

static conn_client_t *
socket_client(ngx_connection_t *c)
{
    conn_client_t  *cl;

    claim(c->fd >= SOCKET_FD && c->fd < SOCKET_FD + CONN_CLIENTS);

    cl = &conn_clients[c->fd - SOCKET_FD];
    claim(cl->c == c);

    return cl;
}


static ssize_t
socket_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t          n;
    ngx_event_t    *rev;
    conn_client_t  *cl;

    rev = c->read;
    cl = socket_client(c);

    if (cl->reset) {
        rev->ready = 0;
        rev->error = 1;
        ngx_set_socket_errno(NGX_ECONNRESET);
        return NGX_ERROR;
    }

    n = ngx_min(size, cl->in.len);

    if (cl->piece) {
        n = ngx_min(n, cl->piece);
    }

    if (n == 0) {
        rev->ready = 0;

        if (cl->eof) {
            rev->eof = 1;
            return 0;
        }

        return NGX_AGAIN;
    }

    ngx_memcpy(buf, cl->in.data + cl->in.sent, n);
    conn_take(&cl->in, n);

    if (cl->in.len == 0 && !cl->eof) {
        rev->ready = 0;
    }

    return n;
}


static ssize_t
socket_recv_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    return socket_recv(c, in->buf->last, in->buf->end - in->buf->last);
}


static ssize_t
socket_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t          n;
    ngx_event_t    *wev;
    conn_client_t  *cl;

    wev = c->write;
    cl = socket_client(c);

    if (cl->reset) {
        wev->error = 1;
        ngx_set_socket_errno(NGX_EPIPE);
        return NGX_ERROR;
    }

    n = ngx_min(size, cl->window);

    if (n < size) {
        wev->ready = 0;
    }

    if (n == 0) {
        return NGX_AGAIN;
    }

    conn_alloc_ours(1);
    conn_put(&cl->out, buf, n);

    if (conn_strict) {
        conn_put(&cl->said, buf, n);
    }

    conn_judge(cl);
    conn_alloc_ours(0);

    cl->window -= n;
    c->sent += n;

    return n;
}


static ngx_chain_t *
socket_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    ssize_t       n;
    ngx_chain_t  *cl;

    for (cl = in; cl; cl = in) {

        if (ngx_buf_special(cl->buf)) {
            in = cl->next;
            continue;
        }

        claim(ngx_buf_in_memory(cl->buf));

        n = socket_send(c, cl->buf->pos, cl->buf->last - cl->buf->pos);

        if (n == NGX_ERROR) {
            c->error = 1;
            return NGX_CHAIN_ERROR;
        }

        if (n == NGX_AGAIN) {
            return in;
        }

        in = ngx_chain_update_sent(in, n);

        if (!c->write->ready) {
            return in;
        }
    }

    return in;
}


/* as ngx_event_accept() does it */

void
conn_open(conn_client_t *cl)
{
    ngx_log_t         *log;
    ngx_listening_t   *ls;
    ngx_connection_t  *c;

    if (cl->c) {
        return;
    }

    conn_forget(cl);

    ls = conn_cycle->listening.elts;

    conn_alloc_ours(0);

    c = ngx_get_connection(SOCKET_FD + (cl - conn_clients), conn_cycle->log);

    if (c == NULL) {
        conn_alloc_ours(1);
        return;
    }

    cl->c = c;
    c->type = SOCK_STREAM;
    c->pool = ngx_create_pool(ls->pool_size, conn_cycle->log);

    if (c->pool == NULL) {
        goto failed;
    }

    c->sockaddr = ngx_palloc(c->pool, ls->socklen);
    log = ngx_palloc(c->pool, sizeof(ngx_log_t));

    if (c->sockaddr == NULL || log == NULL) {
        goto failed;
    }

    ngx_memcpy(c->sockaddr, ls->sockaddr, ls->socklen);
    *log = ls->log;

    c->recv = socket_recv;
    c->send = socket_send;
    c->recv_chain = socket_recv_chain;
    c->send_chain = socket_send_chain;
    c->log = log;
    c->pool->log = log;
    c->socklen = ls->socklen;
    c->listening = ls;
    c->local_sockaddr = ls->sockaddr;
    c->local_socklen = ls->socklen;
    c->write->ready = 1;
    c->read->log = log;
    c->write->log = log;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

    if (ls->addr_ntop) {
        c->addr_text.data = ngx_pnalloc(c->pool, ls->addr_text_max_len);

        if (c->addr_text.data == NULL) {
            goto failed;
        }

        c->addr_text.len = socket_addr(c->addr_text.data) - c->addr_text.data;
    }

    log->data = NULL;
    log->handler = NULL;

    ls->handler(c);

    conn_alloc_ours(1);

    return;

failed:

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

    c->log = conn_cycle->log;
    ngx_close_connection(c);

    conn_alloc_ours(1);
}


static u_char *
socket_addr(u_char *buf)
{
    return ngx_cpymem(buf, "127.0.0.1", sizeof("127.0.0.1") - 1);
}


void
conn_write(conn_client_t *cl, const void *data, size_t len)
{
    if (cl->c == NULL || cl->eof || cl->reset) {
        return;
    }

    conn_put(&cl->in, data, len);
    conn_readable(cl);
}


/* edge triggered, as epoll tells it to whoever asked */

void
conn_readable(conn_client_t *cl)
{
    ngx_event_t  *rev;

    if (cl->c == NULL || !cl->c->read->active) {
        return;
    }

    rev = cl->c->read;
    rev->ready = 1;
    rev->available = -1;

    if (cl->eof) {
        rev->pending_eof = 1;
    }

    conn_alloc_ours(0);
    rev->handler(rev);
    conn_alloc_ours(1);
}


void
conn_writable(conn_client_t *cl)
{
    ngx_event_t  *wev;

    if (cl->c == NULL || !cl->c->write->active || cl->window == 0) {
        return;
    }

    wev = cl->c->write;
    wev->ready = 1;

    conn_alloc_ours(0);
    wev->handler(wev);
    conn_alloc_ours(1);
}


void
conn_socket_init(void)
{
    socket_actions = ngx_event_actions;

    ngx_event_actions.add = socket_add_event;
    ngx_event_actions.del = socket_del_event;
    ngx_event_actions.enable = socket_add_event;
    ngx_event_actions.disable = socket_del_event;
    ngx_event_actions.add_conn = socket_add_conn;
    ngx_event_actions.del_conn = socket_del_conn;
}
