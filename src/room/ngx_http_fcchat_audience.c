
/*
 * The readers of one encoding: appending for all of them, and the walk.
 *
 * A walk visits the slots in order and gives each everything from its position
 * to the head in one send().  It may stop after any slot and go on later;
 * frames appended meanwhile reach the slots still ahead at once, and those
 * behind by one more walk ("again").  A slot that could not take all is
 * skipped until its write event comes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_member.h>
#include <fcc_ws.h>


#define NGX_HTTP_FCCHAT_LAGGED  4008
#define NGX_HTTP_FCCHAT_GAP     4010


static ngx_int_t ngx_http_fcchat_audience_reserve(
    ngx_http_fcchat_audience_t *a, size_t len);
static size_t ngx_http_fcchat_audience_max(ngx_http_fcchat_audience_t *a,
    size_t len);
static void ngx_http_fcchat_audience_void(ngx_http_fcchat_audience_t *a,
    uint64_t pos, uint64_t end);
static uint64_t ngx_http_fcchat_audience_keep(ngx_http_fcchat_audience_t *a,
    ngx_uint_t all);
static void ngx_http_fcchat_audience_drop(ngx_http_fcchat_member_t *m,
    ngx_uint_t code);
static size_t ngx_http_fcchat_audience_send(ngx_http_fcchat_audience_t *a,
    ngx_http_fcchat_slot_t *slot);


static u_char  ngx_http_fcchat_blanks[] = "                                ";


ngx_int_t
ngx_http_fcchat_audience_append(ngx_http_fcchat_audience_t *a, int64_t seq,
    ngx_uint_t at, ngx_uint_t opcode, u_char *payload, size_t len)
{
    u_char  header[FCC_WS_HEADER_MAX];
    size_t  hlen;

    hlen = fcc_ws_header(header, opcode, len);

    if (!ngx_http_fcchat_log_fits(&a->log, hlen + len)
        && ngx_http_fcchat_audience_reserve(a, hlen + len) != NGX_OK)
    {
        ngx_http_fcchat_audience_gap(a);

        return NGX_ERROR;
    }

    ngx_http_fcchat_log_append(&a->log, seq, at, header, hlen, payload, len);

    if (at) {
        ngx_http_fcchat_stat_add(DELIVERIES, a->n);

    } else {
        ngx_http_fcchat_stat_add(NOTICES, a->n);
    }

    if (a->walk) {
        a->again = 1;

        if (a->later == 0) {
            a->later = ngx_http_fcchat_stat_now();
        }

    } else if (a->since == 0 && a->n) {
        a->since = ngx_http_fcchat_stat_now();
    }

    return NGX_OK;
}


void
ngx_http_fcchat_audience_gap(ngx_http_fcchat_audience_t *a)
{
    /* what can't be kept is not skipped: nobody goes on without it */

    ngx_http_fcchat_audience_close(a, NGX_HTTP_FCCHAT_GAP);

    ngx_http_fcchat_log_clear(&a->log);
}


void
ngx_http_fcchat_audience_close(ngx_http_fcchat_audience_t *a, ngx_uint_t code)
{
    while (a->n) {
        ngx_http_fcchat_audience_drop(a->slots[a->n - 1].member, code);
    }
}


ngx_int_t
ngx_http_fcchat_audience_prepend(ngx_http_fcchat_audience_t *a, int64_t seq,
    ngx_uint_t at, ngx_uint_t opcode, u_char *payload, size_t len)
{
    u_char     header[FCC_WS_HEADER_MAX];
    size_t     hlen;
    ngx_int_t  rc;

    hlen = len ? fcc_ws_header(header, opcode, len) : 0;

    /* what is there stays: it is what comes after this */

    rc = ngx_http_fcchat_log_reserve(&a->log, hlen + len, a->log.base,
                                     ngx_http_fcchat_audience_max(a, len),
                                     a->l);
    if (rc == NGX_OK) {
        ngx_http_fcchat_log_prepend(&a->log, seq, at, header, hlen, payload,
                                    len);
    }

    return rc;
}


void
ngx_http_fcchat_audience_expire(ngx_http_fcchat_audience_t *a, ngx_uint_t at)
{
    uint64_t  until;

    if (a->waiting) {
        return;
    }

    until = ngx_http_fcchat_log_old(&a->log, at);

    if (until > a->log.base) {
        ngx_http_fcchat_log_forget(&a->log, until,
                                   ngx_http_fcchat_audience_keep(a, 0));
    }
}


ngx_int_t
ngx_http_fcchat_audience_blank(ngx_http_fcchat_audience_t *a, int64_t seq,
    u_char *payload, size_t len)
{
    u_char      header[FCC_WS_HEADER_MAX];
    size_t      hlen, plen, n;
    uint64_t    pos, end;
    ngx_uint_t  i;

    if (ngx_http_fcchat_log_event(&a->log, seq, &pos, &end) != NGX_OK) {
        return NGX_OK;
    }

    /* the only header of a frame that is as long */

    plen = 0;

    for (hlen = 2; hlen <= FCC_WS_HEADER_MAX && hlen <= end - pos; hlen++) {
        plen = end - pos - hlen;

        if (fcc_ws_header(header, FCC_WS_TEXT, plen) == hlen) {
            break;
        }
    }

    if (len && (hlen > end - pos || len > plen)) {
        return NGX_DECLINED;
    }

    for (i = a->n; i-- > 0; /* void */ ) {
        ngx_http_fcchat_member_spare(a->slots[i].member, pos, end);
    }

    if (len == 0) {
        ngx_http_fcchat_audience_void(a, pos, end);
        return NGX_OK;
    }

    ngx_http_fcchat_log_replace(&a->log, pos, header, hlen);
    ngx_http_fcchat_log_replace(&a->log, pos + hlen, payload, len);

    for (pos += hlen + len; pos < end; pos += n) {
        n = ngx_min(end - pos, sizeof(ngx_http_fcchat_blanks) - 1);
        ngx_http_fcchat_log_replace(&a->log, pos, ngx_http_fcchat_blanks, n);
    }

    return NGX_OK;
}


/* RFC 6455 5.5.3: a Pong that answers nothing is a heartbeat, and ignored */

static void
ngx_http_fcchat_audience_void(ngx_http_fcchat_audience_t *a, uint64_t pos,
    uint64_t end)
{
    size_t  n;
    u_char  frame[2 + FCC_WS_CONTROL_MAX];

    ngx_memzero(frame, sizeof(frame));

    while (pos < end) {
        n = ngx_min(end - pos, sizeof(frame));

        if (end - pos - n == 1) {

            /* one byte is no frame */

            n--;
        }

        (void) fcc_ws_header(frame, FCC_WS_PONG, n - 2);

        ngx_http_fcchat_log_replace(&a->log, pos, frame, n);
        pos += n;
    }
}


static size_t
ngx_http_fcchat_audience_max(ngx_http_fcchat_audience_t *a, size_t len)
{
    size_t  max, want;

    want = ngx_max(a->lag, NGX_HTTP_FCCHAT_AUDIENCE_LAG) + len;
    max = NGX_HTTP_FCCHAT_LOG_MIN;

    while (max < want * NGX_HTTP_FCCHAT_AUDIENCE_GROWTH) {
        max *= 2;
    }

    return max;
}


static ngx_int_t
ngx_http_fcchat_audience_reserve(ngx_http_fcchat_audience_t *a, size_t len)
{
    size_t     max;
    uint64_t   keep;
    ngx_int_t  rc;

    keep = ngx_http_fcchat_audience_keep(a, 0);

    max = ngx_http_fcchat_audience_max(a, len);

    rc = ngx_http_fcchat_log_reserve(&a->log, len, keep, max, a->l);

    if (rc == NGX_DECLINED) {

        /*
         * More came in one turn of the loop than readers who may not even be
         * slow can be behind; memory has the last word.
         */

        keep = ngx_http_fcchat_audience_keep(a, 1);
        rc = ngx_http_fcchat_log_reserve(&a->log, len, keep, max, a->l);
    }

    return rc;
}


/* the lowest position somebody needs; who is too far behind is dropped */

static uint64_t
ngx_http_fcchat_audience_keep(ngx_http_fcchat_audience_t *a, ngx_uint_t all)
{
    uint64_t                 keep;
    ngx_uint_t               i;
    ngx_http_fcchat_slot_t  *slot;

    /* what was put before for those who wait is not to go again */

    keep = (a->waiting && !all) ? a->log.base : a->log.head;

    for (i = a->n; i-- > 0; /* void */ ) {
        slot = &a->slots[i];

        if (all ? a->log.head - slot->pos > slot->member->lag
                : slot->blocked
                  && ngx_http_fcchat_member_lagged(slot->member))
        {
            ngx_http_fcchat_audience_drop(slot->member, NGX_HTTP_FCCHAT_LAGGED);
            continue;
        }

        keep = ngx_min(keep, slot->pos);
    }

    return keep;
}


static void
ngx_http_fcchat_audience_drop(ngx_http_fcchat_member_t *m, ngx_uint_t code)
{
    if (code == NGX_HTTP_FCCHAT_LAGGED) {
        ngx_http_fcchat_stat_inc(SLOW);
    }

    ngx_http_fcchat_member_leave(m);

    if (!m->dead) {
        m->owner->broken(m, code);
    }
}


ngx_int_t
ngx_http_fcchat_audience_walk(ngx_http_fcchat_audience_t *a, ngx_int_t *budget)
{
    uint64_t                 bytes;
    ngx_int_t                had;
    ngx_http_fcchat_slot_t  *slot;

    bytes = 0;
    had = *budget;

    while (a->walk < a->n && *budget > 0) {

        slot = &a->slots[a->walk++];

        if (slot->pos == a->log.head) {
            continue;
        }

        if (slot->blocked) {
            if (ngx_http_fcchat_member_lagged(slot->member)) {
                ngx_http_fcchat_audience_drop(slot->member,
                                              NGX_HTTP_FCCHAT_LAGGED);
            }

            continue;
        }

        (*budget)--;

        if (slot->slow) {
            (void) ngx_http_fcchat_member_flush(slot->member);
            continue;
        }

        bytes += ngx_http_fcchat_audience_send(a, slot);
    }

    ngx_http_fcchat_stat_add(SENDS, had - *budget);
    ngx_http_fcchat_stat_add(BYTES_OUT, bytes);

    if (a->walk < a->n) {
        return NGX_AGAIN;
    }

    a->walk = 0;

    if (a->since) {
        ngx_http_fcchat_stat_time(NGX_HTTP_FCCHAT_STAT_FANOUT,
                                  ngx_http_fcchat_stat_now() - a->since);
    }

    a->since = a->later;
    a->later = 0;

    if (a->again) {
        a->again = 0;
        return NGX_AGAIN;
    }

    return NGX_OK;
}


/* the bytes that went before the member took over */

static size_t
ngx_http_fcchat_audience_send(ngx_http_fcchat_audience_t *a,
    ngx_http_fcchat_slot_t *slot)
{
    size_t         len, sent;
    ssize_t        n;
    struct iovec   iov[2];
    struct msghdr  msg;

    sent = 0;

    while (slot->pos < a->log.head) {
        iov[0].iov_base = ngx_http_fcchat_log_piece(&a->log, slot->pos, &len);
        iov[0].iov_len = len;

        if (slot->pos + len == a->log.head) {
            n = send(slot->fd, iov[0].iov_base, len, MSG_NOSIGNAL);

        } else {

            /* around the end of the ring, still in one call */

            iov[1].iov_base = ngx_http_fcchat_log_piece(&a->log,
                                                        slot->pos + len,
                                                        &iov[1].iov_len);
            len += iov[1].iov_len;

            ngx_memzero(&msg, sizeof(struct msghdr));

            msg.msg_iov = iov;
            msg.msg_iovlen = 2;

            n = sendmsg(slot->fd, &msg, MSG_NOSIGNAL);
        }

        if (n > 0) {
            slot->pos += n;
            sent += n;
        }

        if (n != (ssize_t) len) {

            /* the member knows what to do about errors and full buffers */

            slot->partial = 1;
            slot->slow = 1;

            (void) ngx_http_fcchat_member_flush(slot->member);
            break;
        }
    }

    return sent;
}


void
ngx_http_fcchat_audience_free(ngx_http_fcchat_audience_t *a)
{
    ngx_http_fcchat_log_clear(&a->log);

    if (a->slots) {
        ngx_free(a->slots);
    }

    a->slots = NULL;
    a->nalloc = 0;
    a->n = 0;
}
