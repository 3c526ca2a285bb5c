
/*
 * A reader of a room: one connection, one position, and the few bytes that are
 * for it alone.
 *
 * The session embeds a member.  Hot and cold are apart: the audience of an
 * encoding is a packed array of slots (descriptor, flags, position) that a
 * fan-out walks; a member is touched only when something happens to it.
 *
 * What is for one reader alone (ack, error, pong, Close) goes between frames
 * of the log: into the member's own buffer, which is sent when the reader's
 * position is where a frame begins.  A half-sent frame is finished first,
 * always.
 */


#ifndef _NGX_HTTP_FCCHAT_MEMBER_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_MEMBER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_log.h>
#include <ngx_http_fcchat_stat.h>


/* bytes a reader may have waiting for it alone; above it is closed */
#define NGX_HTTP_FCCHAT_MEMBER_OUT_MAX  (256 * 1024)

/* a ring never grows above this many times the largest fcchat_lag */
#define NGX_HTTP_FCCHAT_AUDIENCE_GROWTH  16
#define NGX_HTTP_FCCHAT_AUDIENCE_LAG     (64 * 1024)    /* at least */


typedef struct ngx_http_fcchat_member_s    ngx_http_fcchat_member_t;
typedef struct ngx_http_fcchat_audience_s  ngx_http_fcchat_audience_t;


typedef struct {
    ngx_socket_t                 fd;
    unsigned                     blocked:1;     /* waits for a write event */
    unsigned                     partial:1;     /* stopped inside a piece */
    unsigned                     slow:1;        /* not a plain send(): TLS, or
                                                 * own bytes are waiting */
    uint64_t                     pos;
    ngx_http_fcchat_member_t    *member;
} ngx_http_fcchat_slot_t;


/* the readers of one encoding of one room, and its log */

struct ngx_http_fcchat_audience_s {
    ngx_http_fcchat_log_t        log;
    ngx_http_fcchat_slot_t      *slots;
    ngx_uint_t                   n;
    ngx_uint_t                   nalloc;
    ngx_uint_t                   walk;      /* the next slot of this walk */
    ngx_uint_t                   again;     /* one more walk is due */
    ngx_uint_t                   waiting;   /* members that want to join */
    size_t                       lag;       /* the largest of any reader */
    ngx_msec_t                   left;      /* when the last reader left */
    uint64_t                     since;     /* us: the oldest frame that this
                                             * walk sends, or 0 */
    uint64_t                     later;     /* and that the next one does */
    ngx_log_t                   *l;
};


/* what its owner is told, the same for all of its members */

typedef struct {
    /*
     * The member can't go on: it is to be closed, at a time of its owner's
     * choosing, not inside this call.  code is a close code (the member has
     * left its log by then), or 0 when the connection is broken and nothing
     * more can be sent.
     */
    void                       (*broken)(ngx_http_fcchat_member_t *m,
                                     ngx_uint_t code);

    /* it waited for what it missed, and can't have it */
    void                       (*lost)(ngx_http_fcchat_member_t *m,
                                     const char *reason);
} ngx_http_fcchat_owner_t;


struct ngx_http_fcchat_member_s {
    ngx_connection_t            *connection;
    ngx_http_fcchat_audience_t  *audience;      /* NULL: has no log */
    size_t                       lag;           /* bytes it may be behind */
    size_t                       slack;         /* and those it missed, until
                                                 * it has them */
    const ngx_http_fcchat_owner_t
                                *owner;
    u_char                      *out;           /* own bytes, or NULL */
    uint32_t                     out_pos;
    uint32_t                     out_len;
    uint32_t                     out_size;
    uint32_t                     retry;         /* TLS: bytes of a write that
                                                 * must be offered again */
    uint32_t                     index;         /* of its slot */
    unsigned                     retry_out:1;   /* and they are own bytes */
    unsigned                     blocked:1;     /* without a slot */
    unsigned                     dead:1;        /* broken(…, 0) was called */
    unsigned                     lenient:1;     /* waits for as much of it as
                                                 * there is */

    uint64_t                     sent;          /* bytes; those of the log are
                                                 * added when it leaves */
    uint64_t                     joined;        /* its first position */
    uint64_t                     frames;        /* of the log that it was sent;
                                                 * valid when it has left */

    /* while it waits for what it missed: see room_resume() */

    ngx_queue_t                  waiting;
    int64_t                      since;
    ngx_uint_t                   polled;        /* the room's, when it began */
    ngx_http_fcchat_audience_t  *wants;         /* NULL: does not wait */
};


/*
 * Joins the log at a position that is a beginning of a frame, or the head: the
 * member is sent what is there and what comes.  NGX_ERROR without memory.
 */
ngx_int_t ngx_http_fcchat_member_join(ngx_http_fcchat_member_t *m,
    ngx_http_fcchat_audience_t *a, uint64_t pos);

/* waits to join the audience, in the caller's queue; and no longer */
void ngx_http_fcchat_member_wait(ngx_http_fcchat_member_t *m,
    ngx_http_fcchat_audience_t *a, ngx_queue_t *queue);
void ngx_http_fcchat_member_unwait(ngx_http_fcchat_member_t *m);

/*
 * Leaves the log.  Where a frame of it is half sent, the rest is taken over
 * into the member's own bytes, so that a Close frame may follow.  Safe inside
 * a walk.
 */
void ngx_http_fcchat_member_leave(ngx_http_fcchat_member_t *m);

/*
 * The frame of the log from pos to end is about to change: where some of it was
 * sent already, the rest is taken over into the member's own bytes.
 */
void ngx_http_fcchat_member_spare(ngx_http_fcchat_member_t *m, uint64_t pos,
    uint64_t end);

/*
 * Puts one or more whole frames among the own bytes; they are sent by the next
 * flush.  NGX_ERROR when that is too much or without memory: the caller
 * closes.
 */
ngx_int_t ngx_http_fcchat_member_put(ngx_http_fcchat_member_t *m,
    u_char *header, size_t hlen, u_char *payload, size_t plen);

/*
 * Sends what there is.  NGX_OK: all is sent; NGX_AGAIN: the write event is
 * armed; NGX_ERROR: the connection is broken (broken() was called).
 */
ngx_int_t ngx_http_fcchat_member_flush(ngx_http_fcchat_member_t *m);

/* the write event has come */
ngx_int_t ngx_http_fcchat_member_writable(ngx_http_fcchat_member_t *m);

/* 1 when nothing waits to be sent */
ngx_uint_t ngx_http_fcchat_member_idle(ngx_http_fcchat_member_t *m);

/* 1 when it is further behind than it may be */
ngx_uint_t ngx_http_fcchat_member_lagged(ngx_http_fcchat_member_t *m);

/* 1 when the peer does not take what is sent to it */
ngx_uint_t ngx_http_fcchat_member_blocked(ngx_http_fcchat_member_t *m);

/* frees what it holds; it has left before */
void ngx_http_fcchat_member_free(ngx_http_fcchat_member_t *m);


/*
 * Appends a frame for all readers of the log; they get it by the next walks.
 * opcode is as fcc_ws_header() takes it.  seq and at are the event's number and
 * time (s), or, when it is none, that of the last event and 0.  A reader that
 * is too far behind is told 4008.  NGX_OK, or NGX_ERROR when it could not be
 * kept (no memory): the readers were told 4010.
 */
ngx_int_t ngx_http_fcchat_audience_append(ngx_http_fcchat_audience_t *a,
    int64_t seq, ngx_uint_t at, ngx_uint_t opcode, u_char *payload,
    size_t len);

/*
 * Puts an event before all that the log has, for readers that come back.
 * NGX_OK; NGX_DECLINED when the log is as large as it may be; NGX_ERROR.
 */
ngx_int_t ngx_http_fcchat_audience_prepend(ngx_http_fcchat_audience_t *a,
    int64_t seq, ngx_uint_t at, ngx_uint_t opcode, u_char *payload, size_t len);

/*
 * Forgets the events from before that time (s), and those before them, unless
 * somebody is to be sent them yet or waits for what comes before.
 */
void ngx_http_fcchat_audience_expire(ngx_http_fcchat_audience_t *a,
    ngx_uint_t at);

/*
 * Puts a frame of the same length in the place of an event's, for whoever has
 * not been sent it yet: with this payload and blanks behind it, or, when len is
 * 0, nothing that a client would see.  NGX_OK; NGX_DECLINED: it is too short
 * for that.
 */
ngx_int_t ngx_http_fcchat_audience_blank(ngx_http_fcchat_audience_t *a,
    int64_t seq, u_char *payload, size_t len);

/*
 * Sends to as many readers as *budget allows and lowers it.  NGX_OK when all
 * have what there is, NGX_AGAIN when the walk is to go on.
 */
ngx_int_t ngx_http_fcchat_audience_walk(ngx_http_fcchat_audience_t *a,
    ngx_int_t *budget);

/* tells all readers 4010: what they should have got is lost to this log */
void ngx_http_fcchat_audience_gap(ngx_http_fcchat_audience_t *a);

/* tells all readers this close code; they have left when it returns */
void ngx_http_fcchat_audience_close(ngx_http_fcchat_audience_t *a,
    ngx_uint_t code);

/* frees the log and the array; it has no readers */
void ngx_http_fcchat_audience_free(ngx_http_fcchat_audience_t *a);


#endif /* _NGX_HTTP_FCCHAT_MEMBER_H_INCLUDED_ */
