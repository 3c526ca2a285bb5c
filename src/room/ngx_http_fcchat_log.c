
/* The ring of framed bytes that all readers of an encoding share. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_fcchat_log.h>


#define NGX_HTTP_FCCHAT_LOG_ENTRIES  16
#define NGX_HTTP_FCCHAT_LOG_START    ((uint64_t) 1 << 40)


static ngx_int_t ngx_http_fcchat_log_grow(ngx_http_fcchat_log_t *log,
    size_t size, ngx_log_t *l);
static ngx_int_t ngx_http_fcchat_log_index(ngx_http_fcchat_log_t *log,
    ngx_log_t *l);
static uint64_t ngx_http_fcchat_log_begin(ngx_http_fcchat_log_t *log,
    uint64_t pos);
static void ngx_http_fcchat_log_evict(ngx_http_fcchat_log_t *log,
    uint64_t until);
static uint64_t ngx_http_fcchat_log_entry(ngx_http_fcchat_log_t *log,
    int64_t seq);
static void ngx_http_fcchat_log_copy(ngx_http_fcchat_log_t *log, uint64_t pos,
    u_char *p, size_t len);


void
ngx_http_fcchat_log_init(ngx_http_fcchat_log_t *log)
{
    ngx_memzero(log, sizeof(ngx_http_fcchat_log_t));

    log->base = NGX_HTTP_FCCHAT_LOG_START;
    log->head = NGX_HTTP_FCCHAT_LOG_START;
    log->first = NGX_HTTP_FCCHAT_LOG_START;
    log->next = NGX_HTTP_FCCHAT_LOG_START;
    log->floor = NGX_HTTP_FCCHAT_LOG_START;
}


void
ngx_http_fcchat_log_clear(ngx_http_fcchat_log_t *log)
{
    if (log->buf) {
        ngx_free(log->buf);
    }

    if (log->entries) {
        ngx_free(log->entries);
    }

    log->buf = NULL;
    log->size = 0;
    log->base = log->head;
    log->entries = NULL;
    log->nalloc = 0;
    log->first = log->next;
    log->floor = log->next;
}


ngx_uint_t
ngx_http_fcchat_log_fits(ngx_http_fcchat_log_t *log, size_t len)
{
    return log->head - log->base + len <= log->size
           && log->next - log->first < log->nalloc;
}


ngx_int_t
ngx_http_fcchat_log_reserve(ngx_http_fcchat_log_t *log, size_t len,
    uint64_t keep, size_t max, ngx_log_t *l)
{
    size_t    size;
    uint64_t  until;

    keep = ngx_http_fcchat_log_begin(log, keep);

    size = log->size ? log->size : NGX_HTTP_FCCHAT_LOG_MIN;

    while (size < len || log->head - keep > size - len) {
        if (size >= max) {
            return NGX_DECLINED;
        }

        size *= 2;
    }

    if (size > log->size && ngx_http_fcchat_log_grow(log, size, l) != NGX_OK) {
        return NGX_ERROR;
    }

    if (log->head - log->base + len > log->size) {
        until = log->head + len - log->size;
        until = ngx_max(until, log->base + log->size / 4);

        until = ngx_http_fcchat_log_boundary(log, until);

        ngx_http_fcchat_log_evict(log, ngx_min(until, keep));
    }

    return ngx_http_fcchat_log_index(log, l);
}


/*
 * The beginning of the frame that pos is in: base is always one, for frames
 * are put before it.
 */

static uint64_t
ngx_http_fcchat_log_begin(ngx_http_fcchat_log_t *log, uint64_t pos)
{
    uint64_t  i;

    if (pos == log->head) {
        return pos;
    }

    i = ngx_http_fcchat_log_number(log, pos + 1);

    return (i == log->first)
           ? log->base : log->entries[(i - 1) & (log->nalloc - 1)].pos;
}


static ngx_int_t
ngx_http_fcchat_log_grow(ngx_http_fcchat_log_t *log, size_t size, ngx_log_t *l)
{
    u_char    *buf, *p;
    size_t     len, at, n;
    uint64_t   pos;

    buf = ngx_alloc(size, l);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    for (pos = log->base; pos < log->head; pos += n) {
        p = ngx_http_fcchat_log_piece(log, pos, &len);

        at = pos & (size - 1);
        n = ngx_min(len, size - at);

        ngx_memcpy(buf + at, p, n);
    }

    if (log->buf) {
        ngx_free(log->buf);
    }

    log->buf = buf;
    log->size = size;

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_log_index(ngx_http_fcchat_log_t *log, ngx_log_t *l)
{
    size_t                        n;
    uint64_t                      i;
    ngx_http_fcchat_log_entry_t  *entries;

    if (log->next - log->first < log->nalloc) {
        return NGX_OK;
    }

    n = log->nalloc ? log->nalloc * 2 : NGX_HTTP_FCCHAT_LOG_ENTRIES;

    entries = ngx_alloc(n * sizeof(ngx_http_fcchat_log_entry_t), l);
    if (entries == NULL) {
        return NGX_ERROR;
    }

    for (i = log->first; i < log->next; i++) {
        entries[i & (n - 1)] = log->entries[i & (log->nalloc - 1)];
    }

    if (log->entries) {
        ngx_free(log->entries);
    }

    log->entries = entries;
    log->nalloc = n;

    return NGX_OK;
}


static void
ngx_http_fcchat_log_evict(ngx_http_fcchat_log_t *log, uint64_t until)
{
    log->base = until;

    while (log->first < log->next
           && log->entries[log->first & (log->nalloc - 1)].pos < log->base)
    {
        log->first++;
    }
}


void
ngx_http_fcchat_log_append(ngx_http_fcchat_log_t *log, int64_t seq,
    ngx_uint_t at, u_char *header, size_t hlen, u_char *payload, size_t plen)
{
    uint64_t                      i;
    ngx_http_fcchat_log_entry_t  *e;

    for (i = log->next; at && i > log->first; i--) {
        e = &log->entries[(i - 1) & (log->nalloc - 1)];

        if (e->at && e->at <= at) {
            break;
        }

        e->at = ngx_min(e->at, at);
    }

    e = &log->entries[log->next++ & (log->nalloc - 1)];
    e->pos = log->head;
    e->seq = seq;
    e->at = at;

    ngx_http_fcchat_log_copy(log, log->head, header, hlen);
    ngx_http_fcchat_log_copy(log, log->head + hlen, payload, plen);

    log->head += hlen + plen;
}


void
ngx_http_fcchat_log_prepend(ngx_http_fcchat_log_t *log, int64_t seq,
    ngx_uint_t at, u_char *header, size_t hlen, u_char *payload, size_t plen)
{
    uint64_t                      i;
    ngx_http_fcchat_log_entry_t  *e;

    for (i = log->first; i < log->next; i++) {
        e = &log->entries[i & (log->nalloc - 1)];

        if (e->at) {
            at = ngx_min(at, e->at);
            break;
        }
    }

    log->base -= hlen + plen;

    ngx_http_fcchat_log_copy(log, log->base, header, hlen);
    ngx_http_fcchat_log_copy(log, log->base + hlen, payload, plen);

    if (log->floor == log->first) {
        log->floor--;
    }

    e = &log->entries[--log->first & (log->nalloc - 1)];
    e->pos = log->base;
    e->seq = seq;
    e->at = at;
}


uint64_t
ngx_http_fcchat_log_old(ngx_http_fcchat_log_t *log, ngx_uint_t at)
{
    uint64_t                      i, until;
    ngx_http_fcchat_log_entry_t  *e;

    until = log->base;

    for (i = log->first; i < log->next; i++) {
        e = &log->entries[i & (log->nalloc - 1)];

        if (e->at >= at) {
            break;
        }

        if (e->at) {
            until = (i + 1 == log->next)
                    ? log->head : log->entries[(i + 1) & (log->nalloc - 1)].pos;
        }
    }

    return until;
}


void
ngx_http_fcchat_log_forget(ngx_http_fcchat_log_t *log, uint64_t until,
    uint64_t keep)
{
    keep = ngx_http_fcchat_log_begin(log, keep);

    ngx_http_fcchat_log_evict(log, ngx_min(until, keep));
}


static void
ngx_http_fcchat_log_copy(ngx_http_fcchat_log_t *log, uint64_t pos, u_char *p,
    size_t len)
{
    size_t  at, n;

    at = pos & (log->size - 1);
    n = ngx_min(len, log->size - at);

    ngx_memcpy(log->buf + at, p, n);
    ngx_memcpy(log->buf, p + n, len - n);
}


int64_t
ngx_http_fcchat_log_low(ngx_http_fcchat_log_t *log, int64_t have)
{
    uint64_t                      i;
    ngx_http_fcchat_log_entry_t  *e;

    i = ngx_max(log->first, log->floor);

    if (i == log->next) {
        return have + 1;
    }

    e = &log->entries[i & (log->nalloc - 1)];

    return e->at ? e->seq : e->seq + 1;
}


uint64_t
ngx_http_fcchat_log_find(ngx_http_fcchat_log_t *log, int64_t seq)
{
    uint64_t  i;

    i = ngx_http_fcchat_log_entry(log, seq);

    if (i == log->next) {
        return log->head;
    }

    return log->entries[i & (log->nalloc - 1)].pos;
}


ngx_int_t
ngx_http_fcchat_log_event(ngx_http_fcchat_log_t *log, int64_t seq,
    uint64_t *pos, uint64_t *end)
{
    uint64_t                      i;
    ngx_http_fcchat_log_entry_t  *e;

    i = ngx_http_fcchat_log_entry(log, seq);

    if (i == log->next) {
        return NGX_DECLINED;
    }

    e = &log->entries[i & (log->nalloc - 1)];

    if (e->seq != seq || e->at == 0) {
        return NGX_DECLINED;
    }

    *pos = e->pos;
    *end = (i + 1 == log->next) ? log->head
                                : log->entries[(i + 1) & (log->nalloc - 1)].pos;

    return NGX_OK;
}


void
ngx_http_fcchat_log_replace(ngx_http_fcchat_log_t *log, uint64_t pos,
    u_char *p, size_t len)
{
    ngx_http_fcchat_log_copy(log, pos, p, len);
}


/* the number of the first entry of this epoch from seq on; next when there is
 * none */

static uint64_t
ngx_http_fcchat_log_entry(ngx_http_fcchat_log_t *log, int64_t seq)
{
    uint64_t  low, high, mid;

    low = ngx_max(log->first, log->floor);
    high = log->next;

    while (low < high) {
        mid = low + (high - low) / 2;

        if (log->entries[mid & (log->nalloc - 1)].seq < seq) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    return low;
}


void
ngx_http_fcchat_log_epoch(ngx_http_fcchat_log_t *log)
{
    log->floor = log->next;
}


u_char *
ngx_http_fcchat_log_piece(ngx_http_fcchat_log_t *log, uint64_t pos,
    size_t *len)
{
    size_t  at;

    at = pos & (log->size - 1);
    *len = ngx_min(log->head - pos, log->size - at);

    return log->buf + at;
}


uint64_t
ngx_http_fcchat_log_boundary(ngx_http_fcchat_log_t *log, uint64_t pos)
{
    uint64_t  i;

    i = ngx_http_fcchat_log_number(log, pos);

    if (i == log->next) {
        return log->head;
    }

    return log->entries[i & (log->nalloc - 1)].pos;
}


/* the number of the first entry at or after pos; next when there is none */

uint64_t
ngx_http_fcchat_log_number(ngx_http_fcchat_log_t *log, uint64_t pos)
{
    uint64_t  low, high, mid;

    low = log->first;
    high = log->next;

    while (low < high) {
        mid = low + (high - low) / 2;

        if (log->entries[mid & (log->nalloc - 1)].pos < pos) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    return low;
}
