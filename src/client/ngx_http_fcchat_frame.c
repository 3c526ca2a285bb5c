
/*
 * What a client's frames do to its session.
 *
 * A message that came in one read is handled where it lies; one in pieces is
 * gathered in memory that exists only while it is unfinished.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_IN_MIN  512


static void ngx_http_fcchat_frame_data(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev);
static ngx_int_t ngx_http_fcchat_frame_gather(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev);
static void ngx_http_fcchat_frame_message(ngx_http_fcchat_session_t *s,
    ngx_uint_t opcode, u_char *data, size_t len);
static void ngx_http_fcchat_frame_control(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev);
static void ngx_http_fcchat_frame_close(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev);
static void ngx_http_fcchat_frame_error(ngx_http_fcchat_session_t *s,
    ngx_uint_t code, const char *reason);


void
ngx_http_fcchat_session_feed(ngx_http_fcchat_session_t *s, u_char *p,
    u_char *last)
{
    fcc_ws_event_t  ev;

    while (fcc_ws_parse(&s->ws, &p, last, &ev) == FCC_OK) {

        if (s->in_todo || s->state == NGX_HTTP_FCCHAT_LEAVING) {
            return;
        }

        if (ev.type == FCC_WS_EV_CLOSE) {
            ngx_http_fcchat_frame_close(s, &ev);
            return;
        }

        /* after our Close all else is read and forgotten */

        if (s->state != NGX_HTTP_FCCHAT_OPEN) {
            continue;
        }

        switch (ev.type) {

        case FCC_WS_EV_DATA:
            ngx_http_fcchat_frame_data(s, &ev);
            break;

        case FCC_WS_EV_ERROR:
            ngx_http_fcchat_frame_error(s, ev.code, ev.reason);
            break;

        default:
            ngx_http_fcchat_frame_control(s, &ev);
            break;
        }
    }

    if (!fcc_ws_partial(&s->ws)) {
        s->partial = 0;
        return;
    }

    if (!s->partial && s->state == NGX_HTTP_FCCHAT_OPEN) {
        s->partial = 1;
        s->partial_at = ngx_current_msec;

        if (s->conf->ping > NGX_HTTP_FCCHAT_PARTIAL_TIME) {
            ngx_http_fcchat_wheel_set(s, s->partial_at
                                         + NGX_HTTP_FCCHAT_PARTIAL_TIME);
        }
    }
}


static void
ngx_http_fcchat_frame_data(ngx_http_fcchat_session_t *s, fcc_ws_event_t *ev)
{
    u_char  *data;
    size_t   len;

    if (ev->opcode == FCC_WS_BINARY && !s->echo) {
        ngx_http_fcchat_frame_error(s, FCC_WS_UNSUPPORTED, "text only");
        return;
    }

    if (ev->first && ev->last) {
        s->partial = 0;
        ngx_http_fcchat_frame_message(s, ev->opcode, ev->payload.data,
                                      ev->payload.len);
        return;
    }

    if (ngx_http_fcchat_frame_gather(s, ev) != NGX_OK) {
        ngx_http_fcchat_frame_error(s, FCC_WS_INTERNAL, "out of memory");
        return;
    }

    if (!ev->last) {
        return;
    }

    s->partial = 0;

    data = s->in;
    len = s->in_len;

    s->in = NULL;
    s->in_len = 0;
    s->in_size = 0;

    ngx_http_fcchat_frame_message(s, ev->opcode, data, len);

    if (data) {
        ngx_free(data);
    }
}


static ngx_int_t
ngx_http_fcchat_frame_gather(ngx_http_fcchat_session_t *s, fcc_ws_event_t *ev)
{
    size_t   size, need;
    u_char  *p;

    need = s->in_len + ev->payload.len;

    if (need > s->in_size) {

        size = s->in_size ? s->in_size : NGX_HTTP_FCCHAT_IN_MIN;

        while (size < need) {
            size *= 2;
        }

        p = ngx_alloc(size, s->member.connection->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (s->in) {
            ngx_memcpy(p, s->in, s->in_len);
            ngx_free(s->in);
        }

        s->in = p;
        s->in_size = size;
    }

    if (ev->payload.len) {
        ngx_memcpy(s->in + s->in_len, ev->payload.data, ev->payload.len);
        s->in_len += ev->payload.len;
    }

    return NGX_OK;
}


static void
ngx_http_fcchat_frame_message(ngx_http_fcchat_session_t *s, ngx_uint_t opcode,
    u_char *data, size_t len)
{
    s->messages++;

    if (s->echo) {
        ngx_http_fcchat_session_reply(s, opcode, data, len);
        return;
    }

    ngx_http_fcchat_command(s, data, len);
}


static void
ngx_http_fcchat_frame_control(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev)
{
    if (ngx_current_msec - s->control_at >= 1000) {
        s->control_at = ngx_current_msec;
        s->controls = 0;
    }

    if (++s->controls > NGX_HTTP_FCCHAT_CONTROL_MAX) {
        ngx_http_fcchat_frame_error(s, FCC_WS_POLICY,
                                    "too many control frames");
        return;
    }

    /* who does not read gets no more to read */

    if (ev->type == FCC_WS_EV_PING
        && !ngx_http_fcchat_member_blocked(&s->member))
    {
        ngx_http_fcchat_session_reply(s, FCC_WS_PONG, ev->payload.data,
                                      ev->payload.len);
    }
}


static void
ngx_http_fcchat_frame_close(ngx_http_fcchat_session_t *s, fcc_ws_event_t *ev)
{
    u_char  code[2];

    if (s->state == NGX_HTTP_FCCHAT_CLOSING) {

        /* the answer to ours: nothing is left to say */

        ngx_http_fcchat_member_leave(&s->member);
        s->member.broken(&s->member, 0);
        return;
    }

    ngx_http_fcchat_member_leave(&s->member);

    s->state = NGX_HTTP_FCCHAT_LEAVING;
    s->code = ev->code;
    s->deadline = ngx_current_msec + NGX_HTTP_FCCHAT_CLOSE_TIME;

    ngx_http_fcchat_wheel_set(s, s->deadline);

    code[0] = (u_char) (ev->code >> 8);
    code[1] = (u_char) ev->code;

    ngx_http_fcchat_session_reply(s, FCC_WS_CLOSE, code,
                                  ev->code == FCC_WS_NO_STATUS ? 0 : 2);
}


static void
ngx_http_fcchat_frame_error(ngx_http_fcchat_session_t *s, ngx_uint_t code,
    const char *reason)
{
    ngx_log_error(NGX_LOG_INFO, s->member.connection->log, 0,
                  "fcchat client broke the protocol: %ui %s", code, reason);

    s->failed = 1;

    ngx_http_fcchat_session_close(s, code, reason);
}
