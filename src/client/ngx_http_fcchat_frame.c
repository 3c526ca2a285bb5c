
/*
 * What a client's frames do to its session.
 *
 * A message that came in one read is handled where it lies.  One in pieces is
 * gathered in memory that exists only while it is unfinished, and so does the
 * parser: most sockets are idle, between two frames, where a new parser is as
 * good as the old one.  One that is compressed is inflated when it is whole.
 * The pong that is owed to who does not read is kept beside the parser.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_IN_MIN  512


static size_t ngx_http_fcchat_frame_max(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_frame_run(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in, u_char *p, u_char *last);
static ngx_int_t ngx_http_fcchat_frame_keep(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in);
static void ngx_http_fcchat_frame_data(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in, fcc_ws_event_t *ev);
static ngx_int_t ngx_http_fcchat_frame_gather(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in, fcc_ws_event_t *ev);
static void ngx_http_fcchat_frame_message(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev, u_char *data, size_t len);
static ngx_int_t ngx_http_fcchat_frame_inflate(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev, u_char **data, size_t *len);
static void ngx_http_fcchat_frame_second(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_frame_control(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in, fcc_ws_event_t *ev);
static void ngx_http_fcchat_frame_close(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev);
static void ngx_http_fcchat_frame_error(ngx_http_fcchat_session_t *s,
    ngx_uint_t code, const char *reason);


void
ngx_http_fcchat_session_feed(ngx_http_fcchat_session_t *s, u_char *p,
    u_char *last)
{
    ngx_http_fcchat_input_t  *in, fresh;

    if (s->state == NGX_HTTP_FCCHAT_LEAVING) {

        /* after the peer's Close there is nothing to be read */

        return;
    }

    in = s->input;

    if (in == NULL) {
        in = &fresh;

        fcc_ws_init(&in->ws, ngx_http_fcchat_frame_max(s));
        in->ws.deflate = s->deflate != 0;
        in->data = NULL;
        in->len = 0;
        in->size = 0;
    }

    ngx_http_fcchat_frame_run(s, in, p, last);

    if (ngx_http_fcchat_frame_keep(s, in) == NGX_OK || s->in_todo) {
        return;
    }

    if (s->state == NGX_HTTP_FCCHAT_OPEN) {
        ngx_http_fcchat_frame_error(s, FCC_WS_INTERNAL, "out of memory");
        return;
    }

    /* where the peer's Close would begin is lost */

    ngx_http_fcchat_member_leave(&s->member);
    s->member.owner->broken(&s->member, 0);
}


/* bytes of a message: a character may come as two escapes of six bytes */

static size_t
ngx_http_fcchat_frame_max(ngx_http_fcchat_session_t *s)
{
    return 12 * s->conf->length + NGX_HTTP_FCCHAT_FRAME_OVERHEAD;
}


static void
ngx_http_fcchat_frame_run(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in, u_char *p, u_char *last)
{
    fcc_ws_event_t  ev;

    while (fcc_ws_parse(&in->ws, &p, last, &ev) == FCC_OK) {

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
            ngx_http_fcchat_frame_data(s, in, &ev);
            break;

        case FCC_WS_EV_ERROR:
            ngx_http_fcchat_frame_error(s, ev.code, ev.reason);
            break;

        default:
            ngx_http_fcchat_frame_control(s, in, &ev);
            break;
        }
    }

    if (!fcc_ws_partial(&in->ws)) {
        s->partial = 0;
        return;
    }

    if (!s->partial && s->state == NGX_HTTP_FCCHAT_OPEN) {
        s->partial = 1;
        in->began = ngx_current_msec;

        if (s->conf->ping > NGX_HTTP_FCCHAT_PARTIAL_TIME) {
            ngx_http_fcchat_wheel_sooner(s, in->began
                                            + NGX_HTTP_FCCHAT_PARTIAL_TIME);
        }
    }
}


/* in may be on the stack; NGX_ERROR without memory */

static ngx_int_t
ngx_http_fcchat_frame_keep(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in)
{
    if (s->state == NGX_HTTP_FCCHAT_LEAVING
        || (fcc_ws_fresh(&in->ws) && !s->owes))
    {
        s->partial = 0;
        s->owes = 0;

        if (in->data) {
            ngx_free(in->data);
        }

        if (in == s->input) {
            ngx_free(in);
            s->input = NULL;
        }

        return NGX_OK;
    }

    if (in == s->input) {
        return NGX_OK;
    }

    s->input = ngx_alloc(sizeof(ngx_http_fcchat_input_t),
                         s->member.connection->log);
    if (s->input == NULL) {
        s->partial = 0;
        s->owes = 0;

        if (in->data) {
            ngx_free(in->data);
        }

        return fcc_ws_fresh(&in->ws) ? NGX_OK : NGX_ERROR;
    }

    *s->input = *in;

    return NGX_OK;
}


static void
ngx_http_fcchat_frame_data(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in, fcc_ws_event_t *ev)
{
    u_char  *data;
    size_t   len;

    if (ev->opcode == FCC_WS_BINARY && !s->echo) {
        ngx_http_fcchat_frame_error(s, FCC_WS_UNSUPPORTED, "text only");
        return;
    }

    if (ev->first && ev->last) {
        s->partial = 0;
        ngx_http_fcchat_frame_message(s, ev, ev->payload.data,
                                      ev->payload.len);
        return;
    }

    if (ngx_http_fcchat_frame_gather(s, in, ev) != NGX_OK) {
        ngx_http_fcchat_frame_error(s, FCC_WS_INTERNAL, "out of memory");
        return;
    }

    if (!ev->last) {
        return;
    }

    s->partial = 0;

    data = in->data;
    len = in->len;

    in->data = NULL;
    in->len = 0;
    in->size = 0;

    ngx_http_fcchat_frame_message(s, ev, data, len);

    if (data) {
        ngx_free(data);
    }
}


static ngx_int_t
ngx_http_fcchat_frame_gather(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in, fcc_ws_event_t *ev)
{
    size_t   size, need;
    u_char  *p;

    need = in->len + ev->payload.len;

    if (need > in->size) {

        size = in->size ? in->size : NGX_HTTP_FCCHAT_IN_MIN;

        while (size < need) {
            size *= 2;
        }

        p = ngx_alloc(size, s->member.connection->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (in->data) {
            ngx_memcpy(p, in->data, in->len);
            ngx_free(in->data);
        }

        in->data = p;
        in->size = size;
    }

    if (ev->payload.len) {
        ngx_memcpy(in->data + in->len, ev->payload.data, ev->payload.len);
        in->len += ev->payload.len;
    }

    return NGX_OK;
}


static void
ngx_http_fcchat_frame_message(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev, u_char *data, size_t len)
{
    if (ev->deflated
        && ngx_http_fcchat_frame_inflate(s, ev, &data, &len) != NGX_OK)
    {
        return;
    }

    s->messages++;
    ngx_http_fcchat_stat_inc(RECEIVED);

    if (s->echo) {
        ngx_http_fcchat_session_reply(s, ev->opcode, data, len);
        return;
    }

    ngx_http_fcchat_command(s, data, len);
}


/* to the bytes of a message that is not compressed, and no further */

static ngx_int_t
ngx_http_fcchat_frame_inflate(ngx_http_fcchat_session_t *s,
    fcc_ws_event_t *ev, u_char **data, size_t *len)
{
    size_t       max;
    ngx_uint_t   code;
    const char  *reason;

    max = ngx_http_fcchat_frame_max(s);

    code = ngx_http_fcchat_inflate(&s->worker->deflate, data, len, max);

    /* 30 bytes can be made 7,000 of, which are parsed as any other */

    ngx_http_fcchat_frame_second(s);

    s->inflated += *len;

    if (code == 0 && s->inflated > NGX_HTTP_FCCHAT_INFLATE_MAX * max) {
        code = FCC_WS_POLICY;
    }

    switch (code) {

    case 0:

        if (ev->opcode == FCC_WS_BINARY
            || fcc_utf8_length(*data, *len) >= 0)
        {
            return NGX_OK;
        }

        code = FCC_WS_INVALID_DATA;
        reason = "text is not UTF-8";
        break;

    case FCC_WS_INVALID_DATA:
        reason = "compressed data is broken";
        break;

    case FCC_WS_TOO_BIG:
        reason = "message is too big";
        break;

    case FCC_WS_POLICY:
        reason = "too much is compressed";
        break;

    default:
        reason = "out of memory";
        break;
    }

    ngx_http_fcchat_frame_error(s, code, reason);

    return NGX_ERROR;
}


/* what is counted by the second begins anew with it */

static void
ngx_http_fcchat_frame_second(ngx_http_fcchat_session_t *s)
{
    if ((uint32_t) ngx_current_msec - s->second >= 1000) {
        s->second = (uint32_t) ngx_current_msec;
        s->controls = 0;
        s->inflated = 0;
    }
}


static void
ngx_http_fcchat_frame_control(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_input_t *in, fcc_ws_event_t *ev)
{
    ngx_http_fcchat_frame_second(s);

    if (++s->controls > NGX_HTTP_FCCHAT_CONTROL_MAX) {
        ngx_http_fcchat_frame_error(s, FCC_WS_POLICY,
                                    "too many control frames");
        return;
    }

    if (ev->type != FCC_WS_EV_PING) {
        return;
    }

    if (!ngx_http_fcchat_member_blocked(&s->member)) {
        s->owes = 0;
        ngx_http_fcchat_session_reply(s, FCC_WS_PONG, ev->payload.data,
                                      ev->payload.len);
        return;
    }

    /* RFC 6455 5.5.3: of several pings the last one may be answered alone */

    s->owes = 1;
    in->pong_len = (u_char) ev->payload.len;

    if (ev->payload.len) {
        ngx_memcpy(in->pong, ev->payload.data, ev->payload.len);
    }
}


void
ngx_http_fcchat_session_pong(ngx_http_fcchat_session_t *s)
{
    if (!s->owes
        || s->in_todo
        || s->state != NGX_HTTP_FCCHAT_OPEN
        || ngx_http_fcchat_member_blocked(&s->member))
    {
        return;
    }

    s->owes = 0;

    ngx_http_fcchat_session_reply(s, FCC_WS_PONG, s->input->pong,
                                  s->input->pong_len);

    (void) ngx_http_fcchat_frame_keep(s, s->input);
}


static void
ngx_http_fcchat_frame_close(ngx_http_fcchat_session_t *s, fcc_ws_event_t *ev)
{
    u_char  code[2];

    if (s->state == NGX_HTTP_FCCHAT_CLOSING) {

        /* the answer to ours: nothing is left to say */

        ngx_http_fcchat_member_leave(&s->member);
        s->member.owner->broken(&s->member, 0);
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
    ngx_http_fcchat_audit(s, NGX_HTTP_FCCHAT_AUDIT_PROTOCOL, reason);

    s->failed = 1;

    ngx_http_fcchat_session_close(s, code, reason);
}
