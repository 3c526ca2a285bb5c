
/*
 * Where a session begins in its room's log: where it says it was, a few
 * messages back for an old page, or at the head.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


static ngx_uint_t ngx_http_fcchat_join_log(ngx_http_fcchat_session_t *s);
static const char *ngx_http_fcchat_join_since(ngx_http_fcchat_room_t *room,
    ngx_str_t *since, int64_t *seq);


ngx_int_t
ngx_http_fcchat_session_join(ngx_http_fcchat_session_t *s, ngx_str_t *since)
{
    int64_t                  seq;
    const char              *reason;
    ngx_uint_t               log;
    ngx_http_fcchat_room_t  *room;

    room = s->room;
    log = ngx_http_fcchat_join_log(s);

    if (s->v1) {
        ngx_http_fcchat_welcome(s);

        if (since->len == 0) {
            return ngx_http_fcchat_room_join(room, &s->member, log);
        }

        reason = ngx_http_fcchat_join_since(room, since, &seq);

        if (reason == NULL && seq < room->have
            && ngx_http_fcchat_history_wait(s))
        {
            ngx_http_fcchat_audit(s, NGX_HTTP_FCCHAT_AUDIT_RATE,
                                  "resumes too often");
            reason = "too_often";
        }

        if (reason) {
            ngx_http_fcchat_reset(s, reason);
            return ngx_http_fcchat_room_join(room, &s->member, log);
        }

        return ngx_http_fcchat_room_resume(room, &s->member, log, seq);
    }

    if (s->conf->history == 0 || room->have == 0
        || ngx_http_fcchat_history_wait(s))
    {
        return ngx_http_fcchat_room_join(room, &s->member, log);
    }

    seq = room->have - (int64_t) s->conf->history;
    s->member.lenient = 1;

    return ngx_http_fcchat_room_resume(room, &s->member, log,
                                       ngx_max(seq, 0));
}


static ngx_uint_t
ngx_http_fcchat_join_log(ngx_http_fcchat_session_t *s)
{
    ngx_uint_t  log;

    if (s->v1) {
        log = NGX_HTTP_FCCHAT_V1;

    } else {
        log = s->conf->html_escape ? NGX_HTTP_FCCHAT_OLD_HTML
                                   : NGX_HTTP_FCCHAT_OLD_RAW;
    }

    /* one log is for all: who wants a smaller window reads the other one */

    return s->deflate < FCC_DEFLATE_BITS ? log
                                         : log + NGX_HTTP_FCCHAT_DEFLATED;
}


/* "EPOCH:SEQ": NULL and *seq, or the reason of a reset */

static const char *
ngx_http_fcchat_join_since(ngx_http_fcchat_room_t *room, ngx_str_t *since,
    int64_t *seq)
{
    off_t    n;
    u_char  *p, *last;

    last = since->data + since->len;
    p = ngx_strlchr(since->data, last, ':');

    if (p == NULL) {
        return "malformed";
    }

    n = ngx_atoof(p + 1, last - p - 1);

    if (n == NGX_ERROR) {
        return "malformed";
    }

    if ((size_t) (p - since->data) != room->epoch_len
        || ngx_memcmp(since->data, room->epoch, room->epoch_len) != 0)
    {
        return "epoch";
    }

    *seq = n;

    return NULL;
}


ngx_http_fcchat_author_t *
ngx_http_fcchat_session_who(ngx_http_fcchat_member_t *m)
{
    ngx_http_fcchat_session_t  *s;

    s = (ngx_http_fcchat_session_t *) m;

    return s->conf->presence && s->author.id ? &s->author : NULL;
}


/* an old page has no word for it, and goes on from the head */

void
ngx_http_fcchat_session_lost(ngx_http_fcchat_member_t *m, const char *reason)
{
    ngx_http_fcchat_session_t  *s;

    s = (ngx_http_fcchat_session_t *) m;

    if (s->v1) {
        ngx_http_fcchat_reset(s, reason);
    }

    if (ngx_http_fcchat_room_join(s->room, m, ngx_http_fcchat_join_log(s))
        != NGX_OK)
    {
        m->owner->broken(m, NGX_HTTP_FCCHAT_CLOSE_OVERLOADED);
    }
}
