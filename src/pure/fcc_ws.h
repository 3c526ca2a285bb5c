
/*
 * WebSocket frames, RFC 6455 section 5, the server's side.
 *
 * The parser is fed whatever a read brought and hands out one event a call;
 * payload is unmasked in place and handed out as pointers into the input, so
 * nothing is copied except the payload of a control frame (125 bytes at most,
 * kept in the parser because it may be cut by a read).
 */


#ifndef _FCC_WS_H_INCLUDED_
#define _FCC_WS_H_INCLUDED_


#include <fcc.h>
#include <fcc_utf8.h>


#define FCC_WS_CONTINUATION    0x0
#define FCC_WS_TEXT            0x1
#define FCC_WS_BINARY          0x2
#define FCC_WS_CLOSE           0x8
#define FCC_WS_PING            0x9
#define FCC_WS_PONG            0xa

#define FCC_WS_RSV1            0x40     /* or'ed to an opcode: the message is
                                         * compressed (RFC 7692 6) */

#define FCC_WS_HEADER_MAX      10       /* of a server's frame: never masked */
#define FCC_WS_CONTROL_MAX     125
#define FCC_WS_KEY_LEN         24
#define FCC_WS_ACCEPT_LEN      28
#define FCC_WS_MAX_FRAGMENTS   64

#define FCC_WS_NORMAL          1000
#define FCC_WS_GOING_AWAY      1001
#define FCC_WS_PROTOCOL_ERROR  1002
#define FCC_WS_UNSUPPORTED     1003
#define FCC_WS_NO_STATUS       1005     /* never on the wire */
#define FCC_WS_ABNORMAL        1006     /* never on the wire */
#define FCC_WS_INVALID_DATA    1007
#define FCC_WS_POLICY          1008
#define FCC_WS_TOO_BIG         1009
#define FCC_WS_INTERNAL        1011
#define FCC_WS_RESTART         1012


typedef enum {
    FCC_WS_EV_DATA = 1,     /* a piece of a text or binary message */
    FCC_WS_EV_PING,
    FCC_WS_EV_PONG,
    FCC_WS_EV_CLOSE,        /* code: 1005 when the frame had none */
    FCC_WS_EV_ERROR         /* code: what to close with; feed no more */
} fcc_ws_event_e;


typedef struct {
    fcc_ws_event_e   type;
    unsigned         opcode;    /* DATA: FCC_WS_TEXT or FCC_WS_BINARY */
    unsigned         first:1;   /* DATA: the message begins with this piece */
    unsigned         last:1;    /* DATA: and ends with it */
    unsigned         deflated:1;    /* DATA: the message is compressed, and
                                     * not looked into */
    unsigned         code;      /* CLOSE, ERROR */
    fcc_str_t        payload;   /* DATA, PING, PONG: the bytes; CLOSE: the
                                 * reason.  Of DATA in the input, of the others
                                 * in the parser until the next call.  A piece
                                 * may be empty. */
    const char      *reason;    /* ERROR: a short ASCII text */
} fcc_ws_event_t;


typedef struct {
    uint64_t         max;       /* bytes of a message over all fragments */
    uint64_t         size;      /* of the message so far, announced */
    uint64_t         left;      /* payload bytes of this frame to come */
    fcc_utf8_t       utf8;
    unsigned char    mask[4];
    unsigned char    phase;     /* rotation of the mask */
    unsigned char    state;
    unsigned char    opcode;    /* of the frame */
    unsigned char    message;   /* opcode of the message being read, or 0 */
    unsigned char    head;      /* bytes of the header had */
    unsigned char    ctl_len;
    unsigned         fragments;
    unsigned         fin:1;
    unsigned         begun:1;   /* a piece of the message was handed out */
    unsigned         deflate:1;     /* RSV1 is agreed on; the caller's */
    unsigned         deflated:1;    /* the message being read has it */
    unsigned char    header[14];
    unsigned char    ctl[FCC_WS_CONTROL_MAX];
} fcc_ws_t;


/*
 * max: bytes a message may have, over all its fragments and as it is sent; more
 * is 1009.  Who has agreed on permessage-deflate sets ws->deflate after it.
 */
void fcc_ws_init(fcc_ws_t *ws, uint64_t max);

/*
 * Reads on from *pos, never past last, and advances *pos over what it used.
 *
 * FCC_OK: one event is in *ev, call again even when *pos == last.
 * FCC_AGAIN: all is used, and nothing more is to be told.
 *
 * What is wrong with a frame is an event FCC_WS_EV_ERROR, told as early as it
 * can be known: 1002 for masks, RSV bits (RSV1 is none where a message begins,
 * once it is agreed on), opcodes, lengths that are not minimal or have the top
 * bit, control frames that are fragmented or too long, a continuation of
 * nothing, new data inside a message, more than FCC_WS_MAX_FRAGMENTS fragments
 * (1008), bad close codes; 1007 for text or a reason that is not UTF-8, inside
 * the frame; 1009 for the announced length, before any of it is read.  After
 * CLOSE or ERROR it only returns FCC_AGAIN and uses all its input.
 */
int fcc_ws_parse(fcc_ws_t *ws, unsigned char **pos, unsigned char *last,
    fcc_ws_event_t *ev);

/* 1 when the input so far ends inside a frame or a fragmented message */
int fcc_ws_partial(const fcc_ws_t *ws);

/* 1 when one that was just initialized would do as well from here on: neither
 * inside of something nor after CLOSE or ERROR */
int fcc_ws_fresh(const fcc_ws_t *ws);

/* writes the header of an unfragmented frame; returns its 2, 4 or 10 bytes.
 * The opcode may have FCC_WS_RSV1 with it. */
size_t fcc_ws_header(unsigned char *p, unsigned opcode, uint64_t len);

/* bytes that fcc_ws_header() writes for a payload of len */
size_t fcc_ws_header_size(uint64_t len);

/* writes a whole Close frame (at most 127 bytes); the reason is cut at the end
 * of a character so that it fits; returns the frame's length */
size_t fcc_ws_close(unsigned char *p, unsigned code, const char *reason);

/* 1 when a peer may send this code in a Close frame (RFC 6455 7.4 and IANA) */
int fcc_ws_close_code_valid(unsigned code);

/* 1 for 24 characters of base64 that stand for 16 bytes (RFC 6455 4.2.1) */
int fcc_ws_key_valid(const unsigned char *key, size_t len);

/* Sec-WebSocket-Accept (RFC 6455 4.2.2); FCC_ERROR when OpenSSL fails */
int fcc_ws_accept(const unsigned char *key, size_t len,
    unsigned char out[FCC_WS_ACCEPT_LEN]);


#endif /* _FCC_WS_H_INCLUDED_ */
