
/*
 * A socket that a foreign library owns, in nginx's event loop.
 */


#include <ngx_http_fcchat_net.h>


#define NGX_HTTP_FCCHAT_NET_BACKOFF_MIN  50
#define NGX_HTTP_FCCHAT_NET_BACKOFF_MAX  800


static void ngx_http_fcchat_net_forget(ngx_event_t *ev, ngx_uint_t gone);


ngx_connection_t *
ngx_http_fcchat_net_attach(ngx_socket_t fd, ngx_event_handler_pt handler,
    void *data, ngx_log_t *log)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(fd, log);
    if (c == NULL) {
        return NULL;
    }

    c->data = data;
    c->shared = 1;

    c->read->handler = handler;
    c->read->log = log;
    c->write->handler = handler;
    c->write->log = log;

    return c;
}


ngx_int_t
ngx_http_fcchat_net_want(ngx_event_t *ev, ngx_uint_t want)
{
    ngx_int_t  event;

    if (want == (ngx_uint_t) ev->active) {
        return NGX_OK;
    }

    event = ev->write ? NGX_WRITE_EVENT : NGX_READ_EVENT;

    /*
     * not ngx_handle_*_event(): they add NGX_CLEAR_EVENT, and under epoll the
     * trigger mode is a property of the descriptor, not of a direction
     */

    if (want) {
        return ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    }

    return ngx_del_event(ev, event, NGX_LEVEL_EVENT);
}


void
ngx_http_fcchat_net_detach(ngx_connection_t *c, ngx_uint_t gone)
{
    ngx_http_fcchat_net_forget(c->read, gone);
    ngx_http_fcchat_net_forget(c->write, gone);

    /* the descriptor is an index in ngx_free_connection() */

    ngx_free_connection(c);

    /* tells a stale event of the same epoll batch that there is nobody here */

    c->fd = (ngx_socket_t) -1;
}


static void
ngx_http_fcchat_net_forget(ngx_event_t *ev, ngx_uint_t gone)
{
    ngx_int_t  event;

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }

    if (ev->active) {
        event = ev->write ? NGX_WRITE_EVENT : NGX_READ_EVENT;

        /* with NGX_CLOSE_EVENT only nginx's own record is put right: the
         * number may belong to somebody else's descriptor by now */

        (void) ngx_del_event(ev, event, gone ? NGX_CLOSE_EVENT : 0);
    }

    ev->closed = 1;
}


ngx_msec_t
ngx_http_fcchat_net_backoff(ngx_uint_t attempt)
{
    ngx_msec_t  base;

    base = NGX_HTTP_FCCHAT_NET_BACKOFF_MIN;

    while (attempt-- > 0 && base < NGX_HTTP_FCCHAT_NET_BACKOFF_MAX) {
        base *= 2;
    }

    return base + (ngx_msec_t) ngx_random() % (base / 4 + 1);
}


size_t
ngx_http_fcchat_net_line(u_char *dst, size_t size, const char *text)
{
    u_char      *p, *last;
    const char  *s;

    p = dst;
    last = dst + size;

    for (s = text; *s && p < last; s++) {
        *p++ = ((u_char) *s < 0x20 || *s == 0x7f) ? ' ' : (u_char) *s;
    }

    while (p > dst && p[-1] == ' ') {
        p--;
    }

    return p - dst;
}


const char *
ngx_http_fcchat_net_seldom(ngx_http_fcchat_seldom_t *s, time_t seconds)
{
    time_t  now;

    now = ngx_time();

    /* a clock that jumped back silences nothing */

    if (s->sec && now >= s->sec && now - s->sec < seconds) {
        s->missed++;
        return NULL;
    }

    s->text[0] = '\0';

    if (s->missed) {
        (void) ngx_sprintf(s->text, " (and %ui more of these)%Z", s->missed);
    }

    s->sec = now;
    s->missed = 0;

    return (const char *) s->text;
}
