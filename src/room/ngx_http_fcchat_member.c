
/*
 * One reader: what is sent to it next, and from where.
 *
 * Two sources feed a connection: its own bytes and the log.  They may change
 * over only where a frame ends.  Own bytes are whole frames, so their end is
 * one; in the log the index tells.  A TLS write that returned "again" must be
 * offered again with the same bytes before anything else (SSL_write(3));
 * "retry" holds how many, "retry_out" from where.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_member.h>


#define NGX_HTTP_FCCHAT_MEMBER_OUT_MIN  256
#define NGX_HTTP_FCCHAT_MEMBER_RECORD   16384   /* bytes of a TLS record */


#if (NGX_SSL)
#define ngx_http_fcchat_member_tls(c)  ((c)->ssl != NULL)
#else
#define ngx_http_fcchat_member_tls(c)  0
#endif


static ngx_int_t ngx_http_fcchat_member_flush_out(ngx_http_fcchat_member_t *m);
static ngx_int_t ngx_http_fcchat_member_flush_log(ngx_http_fcchat_member_t *m,
    uint64_t until);
static ssize_t ngx_http_fcchat_member_send(ngx_http_fcchat_member_t *m,
    u_char *p, size_t len, ngx_uint_t own);
static ngx_int_t ngx_http_fcchat_member_block(ngx_http_fcchat_member_t *m);
static ngx_int_t ngx_http_fcchat_member_fail(ngx_http_fcchat_member_t *m);
static ngx_int_t ngx_http_fcchat_member_room(ngx_http_fcchat_member_t *m,
    size_t len);
static size_t ngx_http_fcchat_member_keep_rest(ngx_http_fcchat_member_t *m,
    ngx_http_fcchat_slot_t *slot);


ngx_int_t
ngx_http_fcchat_member_join(ngx_http_fcchat_member_t *m,
    ngx_http_fcchat_audience_t *a, uint64_t pos)
{
    ngx_uint_t               n;
    ngx_http_fcchat_slot_t  *slots, *slot;

    if (a->n == a->nalloc) {
        n = a->nalloc ? a->nalloc * 2 : 4;

        slots = ngx_alloc(n * sizeof(ngx_http_fcchat_slot_t),
                          m->connection->log);
        if (slots == NULL) {
            return NGX_ERROR;
        }

        if (a->slots) {
            ngx_memcpy(slots, a->slots, a->n * sizeof(ngx_http_fcchat_slot_t));
            ngx_free(a->slots);
        }

        a->slots = slots;
        a->nalloc = n;
    }

    slot = &a->slots[a->n];

    ngx_memzero(slot, sizeof(ngx_http_fcchat_slot_t));

    slot->fd = m->connection->fd;
    slot->pos = pos;
    slot->member = m;
    slot->blocked = m->blocked;
    slot->slow = 1;

    m->audience = a;
    m->index = (uint32_t) a->n++;
    m->joined = slot->pos;
    m->frames -= ngx_http_fcchat_log_number(&a->log, pos);
    m->slack = a->log.head - pos;
    m->blocked = 0;

    a->lag = ngx_max(a->lag, m->lag);

    return NGX_OK;
}


void
ngx_http_fcchat_member_wait(ngx_http_fcchat_member_t *m,
    ngx_http_fcchat_audience_t *a, ngx_queue_t *queue)
{
    ngx_queue_insert_tail(queue, &m->waiting);

    m->wants = a;
    a->waiting++;
}


void
ngx_http_fcchat_member_unwait(ngx_http_fcchat_member_t *m)
{
    if (m->wants) {
        ngx_queue_remove(&m->waiting);

        m->wants->waiting--;
        m->wants = NULL;
    }
}


void
ngx_http_fcchat_member_leave(ngx_http_fcchat_member_t *m)
{
    ngx_uint_t                   last;
    ngx_http_fcchat_slot_t      *slot;
    ngx_http_fcchat_audience_t  *a;

    a = m->audience;

    ngx_http_fcchat_member_unwait(m);

    if (a == NULL) {
        return;
    }

    slot = &a->slots[m->index];

    if (!m->dead) {
        (void) ngx_http_fcchat_member_keep_rest(m, slot);
    }

    m->blocked = slot->blocked;
    m->sent += slot->pos - m->joined;
    m->frames += ngx_http_fcchat_log_number(&a->log, slot->pos);
    m->audience = NULL;

    last = --a->n;

    if (m->index != last) {

        /* the last one moves to a place that a walk may have passed */

        *slot = a->slots[last];
        slot->member->index = m->index;

        if (m->index < a->walk) {
            a->again = 1;
        }
    }

    if (a->n == 0) {
        a->left = ngx_current_msec;
    }
}


void
ngx_http_fcchat_member_spare(ngx_http_fcchat_member_t *m, uint64_t pos,
    uint64_t end)
{
    size_t                   rest;
    uint64_t                 begun;
    ngx_http_fcchat_slot_t  *slot;

    slot = &m->audience->slots[m->index];

    begun = slot->pos;

    if (m->retry && !m->retry_out) {
        begun += m->retry;
    }

    if (m->dead || slot->pos >= end || begun <= pos) {
        return;
    }

    rest = ngx_http_fcchat_member_keep_rest(m, slot);

    /* they count as own bytes when they are sent */

    slot->pos += rest;
    slot->partial = 0;
    slot->slow = 1;
    m->joined += rest;
}


/* how many bytes of the log it has taken */

static size_t
ngx_http_fcchat_member_keep_rest(ngx_http_fcchat_member_t *m,
    ngx_http_fcchat_slot_t *slot)
{
    u_char                 *p, *own;
    size_t                  len, n, rest, had;
    uint64_t                end;
    ngx_http_fcchat_log_t  *log;

    log = &m->audience->log;
    end = slot->pos;

    if (slot->partial) {
        end = ngx_http_fcchat_log_boundary(log, slot->pos);
    }

    if (m->retry && !m->retry_out) {
        end = ngx_max(end, ngx_http_fcchat_log_boundary(log,
                                                        slot->pos + m->retry));
    }

    rest = end - slot->pos;

    if (rest == 0) {
        return 0;
    }

    /* own bytes can't be half sent here: they would have gone first */

    had = m->out_len - m->out_pos;

    if (ngx_http_fcchat_member_room(m, rest) != NGX_OK) {
        (void) ngx_http_fcchat_member_fail(m);
        return 0;
    }

    own = m->out + m->out_pos;
    ngx_memmove(own + rest, own, had);

    for (n = 0; n < rest; n += len) {
        p = ngx_http_fcchat_log_piece(log, slot->pos + n, &len);
        len = ngx_min(len, rest - n);
        ngx_memcpy(own + n, p, len);
    }

    m->out_len += rest;
    m->retry_out = 1;

    return rest;
}


static ngx_int_t
ngx_http_fcchat_member_room(ngx_http_fcchat_member_t *m, size_t len)
{
    size_t   had, size;
    u_char  *out;

    had = m->out_len - m->out_pos;

    if (had + len > NGX_HTTP_FCCHAT_MEMBER_OUT_MAX
                    + (size_t) NGX_HTTP_FCCHAT_LOG_MIN)
    {
        return NGX_ERROR;
    }

    if (m->out_size - m->out_len >= len) {
        return NGX_OK;
    }

    size = NGX_HTTP_FCCHAT_MEMBER_OUT_MIN;

    while (size < had + len) {
        size *= 2;
    }

    out = ngx_alloc(size, m->connection->log);
    if (out == NULL) {
        return NGX_ERROR;
    }

    if (m->out) {
        ngx_memcpy(out, m->out + m->out_pos, had);
        ngx_free(m->out);
    }

    m->out = out;
    m->out_pos = 0;
    m->out_len = had;
    m->out_size = size;

    return NGX_OK;
}


ngx_int_t
ngx_http_fcchat_member_put(ngx_http_fcchat_member_t *m, u_char *header,
    size_t hlen, u_char *payload, size_t plen)
{
    u_char  *p;

    if (m->dead || m->out_len - m->out_pos + hlen + plen
                   > NGX_HTTP_FCCHAT_MEMBER_OUT_MAX)
    {
        return NGX_ERROR;
    }

    if (ngx_http_fcchat_member_room(m, hlen + plen) != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(m->out + m->out_len, header, hlen);

    if (plen) {
        ngx_memcpy(p, payload, plen);
    }

    m->out_len += hlen + plen;

    if (m->audience) {
        m->audience->slots[m->index].slow = 1;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_fcchat_member_flush(ngx_http_fcchat_member_t *m)
{
    uint64_t                 until;
    ngx_int_t                rc;
    ngx_http_fcchat_log_t   *log;
    ngx_http_fcchat_slot_t  *slot;

    if (m->dead) {
        return NGX_ERROR;
    }

    if (m->audience == NULL) {
        return m->blocked ? NGX_AGAIN : ngx_http_fcchat_member_flush_out(m);
    }

    log = &m->audience->log;
    slot = &m->audience->slots[m->index];

    if (slot->blocked) {
        return NGX_AGAIN;
    }

    if (m->out && !m->retry_out && (slot->partial || m->retry)) {

        until = slot->pos + m->retry;
        until = ngx_http_fcchat_log_boundary(log, until);

        rc = ngx_http_fcchat_member_flush_log(m, until);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_fcchat_member_flush_out(m);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_fcchat_member_flush_log(m, log->head);

    if (rc == NGX_OK) {
        slot->slow = ngx_http_fcchat_member_tls(m->connection);
        m->slack = 0;
    }

    return rc;
}


static ngx_int_t
ngx_http_fcchat_member_flush_out(ngx_http_fcchat_member_t *m)
{
    ssize_t  n;

    while (m->out_pos < m->out_len) {
        n = ngx_http_fcchat_member_send(m, m->out + m->out_pos,
                                        m->out_len - m->out_pos, 1);

        if (n == NGX_AGAIN) {
            return ngx_http_fcchat_member_block(m);
        }

        if (n == NGX_ERROR) {
            return ngx_http_fcchat_member_fail(m);
        }

        m->out_pos += n;
    }

    if (m->out) {
        ngx_free(m->out);
        m->out = NULL;
        m->out_pos = 0;
        m->out_len = 0;
        m->out_size = 0;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_member_flush_log(ngx_http_fcchat_member_t *m, uint64_t until)
{
    u_char                  *p;
    size_t                   len;
    ssize_t                  n;
    ngx_http_fcchat_slot_t  *slot;

    slot = &m->audience->slots[m->index];

    while (slot->pos < until) {
        p = ngx_http_fcchat_log_piece(&m->audience->log, slot->pos, &len);
        len = ngx_min(len, until - slot->pos);

        n = ngx_http_fcchat_member_send(m, p, len, 0);

        if (n == NGX_AGAIN) {
            slot->partial = 1;
            return ngx_http_fcchat_member_block(m);
        }

        if (n == NGX_ERROR) {
            return ngx_http_fcchat_member_fail(m);
        }

        slot->pos += n;
    }

    slot->partial = 0;

    return NGX_OK;
}


static ssize_t
ngx_http_fcchat_member_send(ngx_http_fcchat_member_t *m, u_char *p, size_t len,
    ngx_uint_t own)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = m->connection;

    if (m->retry && m->retry > len) {
        ngx_log_error(NGX_LOG_ALERT, c->log, 0,
                      "fcchat offered %uz bytes again instead of %uD",
                      len, m->retry);
        return NGX_ERROR;
    }

    c->write->ready = 1;

    n = c->send(c, p, len);

    if (n > 0) {
        m->retry = 0;
        m->retry_out = 0;
        m->sent += own ? n : 0;
        ngx_http_fcchat_stat_add(BYTES_OUT, n);
        return n;
    }

    if (n == NGX_AGAIN || n == 0) {
        m->retry = ngx_http_fcchat_member_tls(c)
                   ? ngx_min(len, NGX_HTTP_FCCHAT_MEMBER_RECORD) : 0;
        m->retry_out = own;
        return NGX_AGAIN;
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_fcchat_member_block(ngx_http_fcchat_member_t *m)
{
    if (ngx_handle_write_event(m->connection->write, 0) != NGX_OK) {
        return ngx_http_fcchat_member_fail(m);
    }

    if (m->audience) {
        m->audience->slots[m->index].blocked = 1;

    } else {
        m->blocked = 1;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_fcchat_member_fail(ngx_http_fcchat_member_t *m)
{
    if (!m->dead) {
        m->dead = 1;
        m->owner->broken(m, 0);
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_http_fcchat_member_writable(ngx_http_fcchat_member_t *m)
{
    if (m->audience) {
        m->audience->slots[m->index].blocked = 0;

    } else {
        m->blocked = 0;
    }

    return ngx_http_fcchat_member_flush(m);
}


ngx_uint_t
ngx_http_fcchat_member_idle(ngx_http_fcchat_member_t *m)
{
    if (m->out_pos < m->out_len) {
        return 0;
    }

    return m->audience == NULL
           || m->audience->slots[m->index].pos == m->audience->log.head;
}


ngx_uint_t
ngx_http_fcchat_member_lagged(ngx_http_fcchat_member_t *m)
{
    return m->audience->log.head - m->audience->slots[m->index].pos
           > m->lag + m->slack;
}


ngx_uint_t
ngx_http_fcchat_member_blocked(ngx_http_fcchat_member_t *m)
{
    return m->audience ? m->audience->slots[m->index].blocked : m->blocked;
}


void
ngx_http_fcchat_member_free(ngx_http_fcchat_member_t *m)
{
    if (m->out) {
        ngx_free(m->out);
        m->out = NULL;
    }
}
