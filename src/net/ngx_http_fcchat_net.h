
/*
 * A socket that a foreign library owns, in nginx's event loop.
 *
 * The library opens and closes the descriptor; nginx only watches it, level
 * triggered, because libpq and hiredis read once per call.  detach() forgets it
 * without touching the descriptor.
 */


#ifndef _NGX_HTTP_FCCHAT_NET_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_NET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/*
 * A connection for fd with both handlers and data; neither event is armed.
 * NULL (logged) when no connection is free: the caller keeps the descriptor.
 */
ngx_connection_t *ngx_http_fcchat_net_attach(ngx_socket_t fd,
    ngx_event_handler_pt handler, void *data, ngx_log_t *log);

/* arms or disarms an event, level triggered; idempotent */
ngx_int_t ngx_http_fcchat_net_want(ngx_event_t *ev, ngx_uint_t want);

/*
 * Forgets the socket: timers, posted events, the connection.  gone: the library
 * has closed the descriptor already, so that epoll has forgotten it too.
 */
void ngx_http_fcchat_net_detach(ngx_connection_t *c, ngx_uint_t gone);

/* milliseconds of backoff before attempt n (0, 1, ...): jittered, 50 to 1000 */
ngx_msec_t ngx_http_fcchat_net_backoff(ngx_uint_t attempt);

/* one line, of at most size bytes, out of a server's text; its length */
size_t ngx_http_fcchat_net_line(u_char *dst, size_t size, const char *text);


/* lines of one class in the log; all zero: none was written yet */

typedef struct {
    time_t                  sec;        /* of the last one */
    ngx_uint_t              missed;     /* since then */
    u_char                  text[sizeof(" (and  more of these)")
                                 + NGX_INT_T_LEN];
} ngx_http_fcchat_seldom_t;

/*
 * At most one line in so many seconds, however much there is to tell.  NULL:
 * not now, it is counted.  Else what the line is to end with, which tells how
 * many were not written since the last one; it lives as long as s.
 */
const char *ngx_http_fcchat_net_seldom(ngx_http_fcchat_seldom_t *s,
    time_t seconds);


#endif /* _NGX_HTTP_FCCHAT_NET_H_INCLUDED_ */
