
/*
 * The log of a room against a model: a list of all frames that were ever
 * appended.  The input says what is done: frames are put at the end and before
 * the beginning, readers come, read on, resume by number, stall and leave,
 * another epoch begins.  Each reader must read what the model says, byte by
 * byte, however the ring has grown and turned meanwhile.
 */


#include "fuzz.h"

#include <ngx_http_fcchat_log.h>


#define FRAMES   4096
#define READERS  4
#define MAX      (64 * 1024)


typedef struct {
    uint64_t    pos;
    size_t      len;
    int64_t     seq;
    unsigned    at;             /* 0: no event */
    unsigned    old;            /* of a former epoch */
} frame_t;


typedef struct {
    uint64_t    pos;
    unsigned    on;
} reader_t;


static frame_t   frames[2 * FRAMES];
static size_t    first, last;
static reader_t  readers[READERS];
static ngx_log_t log_to;


/* what the module takes from nginx's core */

void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}


/* each byte of a frame follows from where it begins */

static u_char
fuzz_at(frame_t *fr, size_t i)
{
    return (u_char) (fr->pos * 31 + fr->len * 7 + i);
}


static uint64_t
fuzz_keep(ngx_http_fcchat_log_t *log)
{
    size_t    i;
    uint64_t  keep;

    keep = log->head;

    for (i = 0; i < READERS; i++) {
        if (readers[i].on && readers[i].pos < keep) {
            keep = readers[i].pos;
        }
    }

    return keep;
}


static void
fuzz_append(ngx_http_fcchat_log_t *log, size_t len, int64_t *have,
    unsigned at)
{
    size_t     i;
    u_char     frame[4096];
    frame_t   *fr;
    uint64_t   head;
    ngx_int_t  rc;

    if (last == 2 * FRAMES) {
        return;
    }

    head = log->head;

    if (!ngx_http_fcchat_log_fits(log, len)) {
        rc = ngx_http_fcchat_log_reserve(log, len, fuzz_keep(log), MAX,
                                         &log_to);
        claim(rc == NGX_OK || rc == NGX_DECLINED);

        if (rc == NGX_DECLINED) {
            return;
        }
    }

    claim(log->head == head && log->size <= MAX);

    fr = &frames[last++];
    fr->pos = head;
    fr->len = len;
    fr->at = at;
    fr->old = 0;
    fr->seq = at ? ++*have : *have;

    for (i = 0; i < len; i++) {
        frame[i] = fuzz_at(fr, i);
    }

    ngx_http_fcchat_log_append(log, fr->seq, at, frame, len / 3,
                               frame + len / 3, len - len / 3);

    claim(log->head == head + len);
}


static void
fuzz_prepend(ngx_http_fcchat_log_t *log, size_t len, int64_t have, unsigned at)
{
    size_t    i;
    int64_t   low;
    u_char    frame[4096];
    frame_t  *fr;

    low = ngx_http_fcchat_log_low(log, have);

    if (first == 0 || low <= 1 || !ngx_http_fcchat_log_fits(log, len)) {
        return;
    }

    /* what is before the beginning is forgotten by the model, too */

    while (first < last && frames[first].pos < log->base) {
        first++;
    }

    if (first == 0 || (first < last && frames[first].pos != log->base)) {
        return;
    }

    /* it goes before everything: what is there must begin with an event */

    if (first < last && (!frames[first].at || frames[first].old
                         || frames[first].seq != low))
    {
        return;
    }

    fr = &frames[--first];
    fr->pos = log->base - len;
    fr->len = len;
    fr->at = at;
    fr->old = 0;
    fr->seq = low - 1;

    for (i = 0; i < len; i++) {
        frame[i] = fuzz_at(fr, i);
    }

    ngx_http_fcchat_log_prepend(log, fr->seq, at, frame, len / 2,
                                frame + len / 2, len - len / 2);

    claim(log->base == fr->pos);
    claim(ngx_http_fcchat_log_low(log, have) == low - 1);
}


/* the frame that holds the position */

static frame_t *
fuzz_frame(uint64_t pos)
{
    size_t  i;

    for (i = first; i < last; i++) {
        if (frames[i].pos <= pos && pos < frames[i].pos + frames[i].len) {
            return &frames[i];
        }
    }

    return NULL;
}


static void
fuzz_read(ngx_http_fcchat_log_t *log, reader_t *r, size_t want)
{
    size_t    i, len;
    u_char   *p;
    frame_t  *fr;

    while (r->on && want && r->pos < log->head) {
        claim(r->pos >= log->base);

        p = ngx_http_fcchat_log_piece(log, r->pos, &len);
        claim(len > 0 && r->pos + len <= log->head);

        len = len < want ? len : want;

        for (i = 0; i < len; i++) {
            fr = fuzz_frame(r->pos + i);
            claim(fr != NULL);
            claim(p[i] == fuzz_at(fr, r->pos + i - fr->pos));
        }

        r->pos += len;
        want -= len;
    }
}


/* behind an event: where it must begin by the model */

static void
fuzz_resume(ngx_http_fcchat_log_t *log, reader_t *r, int64_t have, int64_t seq)
{
    size_t    i;
    int64_t   low;
    uint64_t  pos;

    low = ngx_http_fcchat_log_low(log, have);
    claim(low >= 1 && low <= have + 1);

    if (seq < low || seq > have + 1) {
        return;
    }

    pos = ngx_http_fcchat_log_find(log, seq);
    claim(pos >= log->base && pos <= log->head);

    if (seq <= have) {
        for (i = first; i < last; i++) {
            if (frames[i].at && !frames[i].old && frames[i].seq == seq) {
                break;
            }
        }

        claim(i < last && frames[i].pos == pos);
    }

    claim(ngx_http_fcchat_log_boundary(log, pos) == pos);

    r->on = 1;
    r->pos = pos;
}


/* all up to the last one that is old, or to the frame that a reader is in */

static void
fuzz_forget(ngx_http_fcchat_log_t *log, unsigned at)
{
    size_t    i;
    uint64_t  until, keep, old;

    keep = fuzz_keep(log);
    old = ngx_http_fcchat_log_old(log, at);
    until = log->base;

    for (i = first; i < last; i++) {
        if (frames[i].pos >= log->base && frames[i].at && frames[i].at < at) {
            until = frames[i].pos + frames[i].len;
        }
    }

    claim(old == until);

    for (i = first; i < last; i++) {
        if (frames[i].pos <= keep && keep < frames[i].pos + frames[i].len
            && frames[i].pos < until)
        {
            until = frames[i].pos;
        }
    }

    ngx_http_fcchat_log_forget(log, old, keep);

    claim(log->base == until);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                 i;
    fuzz_t                 f;
    int64_t                have;
    unsigned               what;
    reader_t              *r;
    ngx_http_fcchat_log_t  log;

    f.pos = data;
    f.last = data + size;

    memset(readers, 0, sizeof(readers));
    first = last = FRAMES;

    ngx_http_fcchat_log_init(&log);
    have = fuzz_byte(&f);

    while (f.pos < f.last) {
        what = fuzz_byte(&f);
        r = &readers[what >> 6];

        switch (what & 7) {

        case 0:
        case 1:
            fuzz_append(&log, 1 + fuzz_number(&f, 2) % 4096, &have,
                        1 + (what >> 3));
            break;

        case 2:
            fuzz_append(&log, 1 + fuzz_byte(&f), &have, 0);
            break;

        case 3:
            fuzz_prepend(&log, 1 + fuzz_number(&f, 2) % 4096, have,
                         1 + (what >> 3));
            break;

        case 4:
            fuzz_read(&log, r, fuzz_number(&f, 2));
            break;

        case 5:
            fuzz_resume(&log, r, have, have + 1 - (int64_t) fuzz_byte(&f) % 64);
            break;

        case 6:
            r->on = !r->on;
            r->pos = log.head;
            break;

        default:
            if (what & 8) {
                ngx_http_fcchat_log_epoch(&log);

                for (i = first; i < last; i++) {
                    frames[i].old = 1;
                }

                have = fuzz_byte(&f);

            } else if (what & 16) {
                memset(readers, 0, sizeof(readers));
                ngx_http_fcchat_log_clear(&log);
                first = last;

            } else {
                fuzz_forget(&log, fuzz_byte(&f) % 34);
            }
        }
    }

    for (i = 0; i < READERS; i++) {
        fuzz_read(&log, &readers[i], SIZE_MAX);
    }

    ngx_http_fcchat_log_clear(&log);

    return 0;
}
