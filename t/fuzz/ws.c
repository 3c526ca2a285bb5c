
/*
 * The frame parser: each input is fed at once, and again in pieces that the
 * input chooses.  Both must tell the same: the same messages, the same control
 * frames, the same end.  Of a message that ends in an error, more or less may
 * have been told before it.
 */


#include "fuzz.h"

#include <fcc_ws.h>


#define TRACE_MAX  (1024 * 1024)
#define FRAME_MAX  4096


/* DATA pieces of a message are joined: only where they are cut may differ */

typedef struct {
    unsigned char  *data;
    size_t          len;
    size_t          begun;      /* where the message begins that is told */
    unsigned        open:1;
} trace_t;


static void
trace_put(trace_t *t, const void *data, size_t len)
{
    claim(t->len + len <= TRACE_MAX);

    if (len) {
        memcpy(t->data + t->len, data, len);
        t->len += len;
    }
}


static void
trace_event(trace_t *t, fcc_ws_event_t *ev, uint64_t *size)
{
    unsigned char  head[4];

    if (ev->type == FCC_WS_EV_DATA) {

        if (ev->first) {
            *size = 0;
            t->begun = t->len;
            t->open = 1;
        }

        *size += ev->payload.len;
        claim(*size <= FRAME_MAX);
        claim(ev->opcode == FCC_WS_TEXT || ev->opcode == FCC_WS_BINARY);
    }

    if (ev->type == FCC_WS_EV_ERROR && t->open) {
        t->len = t->begun;
    }

    if (ev->type != FCC_WS_EV_DATA || ev->first) {
        head[0] = ev->type;
        head[1] = ev->type == FCC_WS_EV_DATA
                  ? ev->opcode | ev->deflated << 4 : 0;
        head[2] = ev->code >> 8;
        head[3] = ev->code;

        if (ev->type == FCC_WS_EV_DATA || ev->type == FCC_WS_EV_PING
            || ev->type == FCC_WS_EV_PONG)
        {
            head[2] = head[3] = 0;
        }

        trace_put(t, head, 4);
    }

    if (ev->type != FCC_WS_EV_ERROR) {
        trace_put(t, ev->payload.data, ev->payload.len);
    }

    if (ev->type == FCC_WS_EV_DATA && ev->last) {
        trace_put(t, "\377", 1);
        t->open = 0;
    }
}


static void
trace(trace_t *t, const uint8_t *data, size_t size, uint32_t seed,
    unsigned deflate)
{
    size_t           n;
    uint64_t         message;
    fcc_ws_t         ws;
    fcc_ws_event_t   ev;
    unsigned char   *copy, *pos, *last;

    message = 0;
    fcc_ws_init(&ws, FRAME_MAX);
    ws.deflate = deflate;

    while (size) {
        n = size;

        if (seed) {
            seed = seed * 1103515245 + 12345;
            n = 1 + (seed >> 16) % 9;
            n = n < size ? n : size;
        }

        copy = malloc(n);
        claim(copy != NULL);
        memcpy(copy, data, n);

        pos = copy;
        last = copy + n;

        while (fcc_ws_parse(&ws, &pos, last, &ev) == FCC_OK) {
            claim(pos <= last);
            trace_event(t, &ev, &message);
        }

        claim(pos == last);
        free(copy);

        data += n;
        size -= n;
    }

    trace_put(t, fcc_ws_partial(&ws) ? "p" : "w", 1);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    trace_t   whole, pieces;
    uint32_t  seed;

    if (size < 4 || size > TRACE_MAX / 8) {
        return 0;
    }

    memcpy(&seed, data, 4);

    whole.data = malloc(TRACE_MAX);
    pieces.data = malloc(TRACE_MAX);
    claim(whole.data != NULL && pieces.data != NULL);

    whole.len = 0;
    whole.open = 0;
    pieces.len = 0;
    pieces.open = 0;

    trace(&whole, data + 4, size - 4, 0, data[0] & 1);
    trace(&pieces, data + 4, size - 4, seed | 1, data[0] & 1);

    claim(whole.len == pieces.len);
    claim(memcmp(whole.data, pieces.data, whole.len) == 0);

    free(whole.data);
    free(pieces.data);

    return 0;
}
