
/*
 * The log of a room in one encoding: framed bytes in a ring, addressed by a
 * position that only grows, and an index of where each frame begins.
 *
 * A reader is a position.  It may be anywhere from base to head; what lies
 * before base is gone.  The ring grows while somebody still needs what would
 * be overwritten, up to a bound, and never moves a position.
 */


#ifndef _NGX_HTTP_FCCHAT_LOG_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_LOG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_FCCHAT_LOG_MIN   4096      /* bytes of a new ring */


typedef struct {
    uint64_t                 pos;       /* where the frame begins */
    int64_t                  seq;       /* of an event, or of the last one
                                         * before a frame that is none */
    ngx_uint_t               at;        /* s: of the event, or of an older one
                                         * behind it; 0: this frame is none */
} ngx_http_fcchat_log_entry_t;


typedef struct {
    u_char                  *buf;
    size_t                   size;      /* a power of two, or 0 */
    uint64_t                 base;
    uint64_t                 head;

    ngx_http_fcchat_log_entry_t  *entries;
    size_t                   nalloc;    /* a power of two, or 0 */
    uint64_t                 first;     /* numbers of entries, only growing */
    uint64_t                 next;
    uint64_t                 floor;     /* entries before: another epoch */
} ngx_http_fcchat_log_t;


/* an empty log; positions begin high, so that frames can be put before */
void ngx_http_fcchat_log_init(ngx_http_fcchat_log_t *log);

/* forgets all frames and frees the memory; head keeps its place */
void ngx_http_fcchat_log_clear(ngx_http_fcchat_log_t *log);

/*
 * Makes room for a frame of len bytes.  keep is the lowest position that a
 * reader still needs (head when there is none): what lies before it may go,
 * and goes a quarter of the ring at a time, so that a caller that must search
 * for keep does so seldom.  NGX_OK; NGX_DECLINED when the ring would grow
 * above max (a power of two), nothing is changed then; NGX_ERROR without
 * memory.
 */
ngx_int_t ngx_http_fcchat_log_reserve(ngx_http_fcchat_log_t *log, size_t len,
    uint64_t keep, size_t max, ngx_log_t *l);

/* 1 when a frame of len bytes fits without a reserve() */
ngx_uint_t ngx_http_fcchat_log_fits(ngx_http_fcchat_log_t *log, size_t len);

/* appends one frame that fits, given as header and payload; at: the event's
 * time, in seconds, or 0: it is none */
void ngx_http_fcchat_log_append(ngx_http_fcchat_log_t *log, int64_t seq,
    ngx_uint_t at, u_char *header, size_t hlen, u_char *payload, size_t plen);

/* puts one that fits before all others: the event with the next lower number */
void ngx_http_fcchat_log_prepend(ngx_http_fcchat_log_t *log, int64_t seq,
    ngx_uint_t at, u_char *header, size_t hlen, u_char *payload, size_t plen);

/* where the last event from before that time ends, or base */
uint64_t ngx_http_fcchat_log_old(ngx_http_fcchat_log_t *log, ngx_uint_t at);

/* forgets what lies before until, which is a beginning of a frame or the head,
 * but for what a reader at keep still needs */
void ngx_http_fcchat_log_forget(ngx_http_fcchat_log_t *log, uint64_t until,
    uint64_t keep);

/*
 * All events from this number to have are in the log; have + 1 when none is.
 * have is the last event there is.
 */
int64_t ngx_http_fcchat_log_low(ngx_http_fcchat_log_t *log, int64_t have);

/* where the first event from seq on begins; head when there is none */
uint64_t ngx_http_fcchat_log_find(ngx_http_fcchat_log_t *log, int64_t seq);

/* where the frame of the event begins and ends: NGX_OK, or NGX_DECLINED: it is
 * not there */
ngx_int_t ngx_http_fcchat_log_event(ngx_http_fcchat_log_t *log, int64_t seq,
    uint64_t *pos, uint64_t *end);

/* writes over bytes that are there; none of them is to be under way */
void ngx_http_fcchat_log_replace(ngx_http_fcchat_log_t *log, uint64_t pos,
    u_char *p, size_t len);

/* what is in the log is of another epoch: it is sent, but not found any more */
void ngx_http_fcchat_log_epoch(ngx_http_fcchat_log_t *log);

/* the bytes from pos that lie in one piece: their start, and how many */
u_char *ngx_http_fcchat_log_piece(ngx_http_fcchat_log_t *log, uint64_t pos,
    size_t *len);

/* how many frames of all time lie before pos, but for a constant of the log */
uint64_t ngx_http_fcchat_log_number(ngx_http_fcchat_log_t *log, uint64_t pos);

/* the first beginning of a frame at or after pos; head when there is none */
uint64_t ngx_http_fcchat_log_boundary(ngx_http_fcchat_log_t *log,
    uint64_t pos);


#endif /* _NGX_HTTP_FCCHAT_LOG_H_INCLUDED_ */
