
/*
 * WebSocket frames: the server's parser.
 *
 * The parser is in one of four states:
 *
 *   HEADER    collecting the 6 to 14 bytes before a payload; each byte is
 *             judged when it arrives, so that an error does not depend on how
 *             the input was cut
 *   DATA      inside the payload of a text or binary frame
 *   CONTROL   inside the payload of a ping, pong or close
 *   DEAD      after CLOSE or ERROR; swallows its input
 *
 * Control frames may come between the fragments of a message, so what belongs
 * to the message (message, size, fragments, begun, deflated, utf8) outlives a
 * frame, and what belongs to the frame (opcode, fin, left, mask, phase) does
 * not.  A Close is the only control frame that uses utf8: no message goes on
 * after it.
 */


#include <fcc_ws.h>


#define FCC_WS_FIN           0x80
#define FCC_WS_RSV           0x70
#define FCC_WS_MASKED        0x80

/* what a step says beside FCC_OK (an event) and FCC_AGAIN (input used up) */
#define FCC_WS_NEXT          1


typedef enum {
    FCC_WS_ST_HEADER = 0,
    FCC_WS_ST_DATA,
    FCC_WS_ST_CONTROL,
    FCC_WS_ST_DEAD
} fcc_ws_state_e;


static int fcc_ws_read_header(fcc_ws_t *ws, unsigned char **pos,
    unsigned char *last, fcc_ws_event_t *ev);
static int fcc_ws_check_first(fcc_ws_t *ws, fcc_ws_event_t *ev);
static int fcc_ws_check_reserved(fcc_ws_t *ws, fcc_ws_event_t *ev);
static int fcc_ws_check_second(fcc_ws_t *ws, fcc_ws_event_t *ev);
static int fcc_ws_check_length(fcc_ws_t *ws, fcc_ws_event_t *ev);
static int fcc_ws_announce(fcc_ws_t *ws, uint64_t len, fcc_ws_event_t *ev);
static size_t fcc_ws_length_size(const fcc_ws_t *ws);
static int fcc_ws_begin_payload(fcc_ws_t *ws);
static int fcc_ws_read_data(fcc_ws_t *ws, unsigned char **pos,
    unsigned char *last, fcc_ws_event_t *ev);
static int fcc_ws_read_control(fcc_ws_t *ws, unsigned char **pos,
    unsigned char *last, fcc_ws_event_t *ev);
static int fcc_ws_check_close(fcc_ws_t *ws, size_t had, fcc_ws_event_t *ev);
static unsigned fcc_ws_close_code(const fcc_ws_t *ws);
static void fcc_ws_unmask(fcc_ws_t *ws, unsigned char *p, size_t len);
static void fcc_ws_set_event(fcc_ws_event_t *ev, fcc_ws_event_e type);
static int fcc_ws_error(fcc_ws_t *ws, fcc_ws_event_t *ev, unsigned code,
    const char *reason);


void
fcc_ws_init(fcc_ws_t *ws, uint64_t max)
{
    memset(ws, 0, sizeof(fcc_ws_t));

    ws->max = max;
    ws->state = FCC_WS_ST_HEADER;

    fcc_utf8_init(&ws->utf8);
}


int
fcc_ws_parse(fcc_ws_t *ws, unsigned char **pos, unsigned char *last,
    fcc_ws_event_t *ev)
{
    int  rc;

    do {
        switch (ws->state) {

        case FCC_WS_ST_HEADER:
            rc = fcc_ws_read_header(ws, pos, last, ev);
            break;

        case FCC_WS_ST_DATA:
            rc = fcc_ws_read_data(ws, pos, last, ev);
            break;

        case FCC_WS_ST_CONTROL:
            rc = fcc_ws_read_control(ws, pos, last, ev);
            break;

        default: /* FCC_WS_ST_DEAD */
            *pos = last;
            rc = FCC_AGAIN;
            break;
        }

    } while (rc == FCC_WS_NEXT);

    return rc;
}


int
fcc_ws_partial(const fcc_ws_t *ws)
{
    return ws->state != FCC_WS_ST_DEAD && !fcc_ws_fresh(ws);
}


int
fcc_ws_fresh(const fcc_ws_t *ws)
{
    return ws->state == FCC_WS_ST_HEADER && ws->head == 0 && ws->message == 0;
}


static int
fcc_ws_read_header(fcc_ws_t *ws, unsigned char **pos, unsigned char *last,
    fcc_ws_event_t *ev)
{
    int     rc;
    size_t  ext;

    while (*pos < last) {
        ws->header[ws->head++] = *(*pos)++;

        if (ws->head == 1) {
            rc = fcc_ws_check_first(ws, ev);

        } else if (ws->head == 2) {
            rc = fcc_ws_check_second(ws, ev);

        } else {
            ext = fcc_ws_length_size(ws);

            if (ws->head <= 2 + ext) {
                rc = fcc_ws_check_length(ws, ev);

            } else if (ws->head == 2 + ext + 4) {
                memcpy(ws->mask, ws->header + 2 + ext, 4);
                return fcc_ws_begin_payload(ws);

            } else {
                rc = FCC_WS_NEXT;
            }
        }

        if (rc == FCC_OK) {
            return FCC_OK;
        }
    }

    return FCC_AGAIN;
}


/* the checks return FCC_OK with an error in *ev, or FCC_WS_NEXT */

static int
fcc_ws_check_first(fcc_ws_t *ws, fcc_ws_event_t *ev)
{
    ws->fin = (ws->header[0] & FCC_WS_FIN) != 0;
    ws->opcode = ws->header[0] & 0x0f;

    if (fcc_ws_check_reserved(ws, ev) == FCC_OK) {
        return FCC_OK;
    }

    switch (ws->opcode) {

    case FCC_WS_CONTINUATION:
        if (ws->message == 0) {
            return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                                "continuation of nothing");
        }

        break;

    case FCC_WS_TEXT:
    case FCC_WS_BINARY:
        if (ws->message != 0) {
            return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                                "new message inside a message");
        }

        break;

    case FCC_WS_CLOSE:
    case FCC_WS_PING:
    case FCC_WS_PONG:
        if (!ws->fin) {
            return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                                "fragmented control frame");
        }

        return FCC_WS_NEXT;

    default:
        return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR, "unknown opcode");
    }

    if (++ws->fragments > FCC_WS_MAX_FRAGMENTS) {
        return fcc_ws_error(ws, ev, FCC_WS_POLICY, "too many fragments");
    }

    return FCC_WS_NEXT;
}


/* RFC 7692 6: RSV1 is a message's, so only its first frame may have it */

static int
fcc_ws_check_reserved(fcc_ws_t *ws, fcc_ws_event_t *ev)
{
    unsigned  rsv;

    rsv = ws->header[0] & FCC_WS_RSV;

    if (rsv == 0
        || (rsv == FCC_WS_RSV1 && ws->deflate
            && (ws->opcode == FCC_WS_TEXT || ws->opcode == FCC_WS_BINARY)))
    {
        return FCC_WS_NEXT;
    }

    return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR, "reserved bit is set");
}


static int
fcc_ws_check_second(fcc_ws_t *ws, fcc_ws_event_t *ev)
{
    unsigned  len;

    len = ws->header[1] & 0x7f;

    if (!(ws->header[1] & FCC_WS_MASKED)) {
        return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                            "frame is not masked");
    }

    if ((ws->opcode & 0x8) && len > FCC_WS_CONTROL_MAX) {
        return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                            "control frame is too long");
    }

    if (ws->opcode == FCC_WS_CLOSE && len == 1) {
        return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                            "close frame of one byte");
    }

    if (len >= 126) {
        return FCC_WS_NEXT;
    }

    return fcc_ws_announce(ws, len, ev);
}


static int
fcc_ws_check_length(fcc_ws_t *ws, fcc_ws_event_t *ev)
{
    size_t    i, ext;
    uint64_t  len;

    ext = fcc_ws_length_size(ws);

    if (ext == 8 && ws->head == 3 && (ws->header[2] & 0x80)) {
        return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                            "frame length has its top bit set");
    }

    if (ws->head < 2 + ext) {
        return FCC_WS_NEXT;
    }

    len = 0;

    for (i = 0; i < ext; i++) {
        len = (len << 8) | ws->header[2 + i];
    }

    if (len < (ext == 2 ? 126 : 65536)) {
        return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                            "frame length is not minimal");
    }

    return fcc_ws_announce(ws, len, ev);
}


static int
fcc_ws_announce(fcc_ws_t *ws, uint64_t len, fcc_ws_event_t *ev)
{
    ws->left = len;

    if (ws->opcode & 0x8) {
        return FCC_WS_NEXT;
    }

    if (len > ws->max - ws->size) {
        return fcc_ws_error(ws, ev, FCC_WS_TOO_BIG, "message is too big");
    }

    ws->size += len;

    return FCC_WS_NEXT;
}


static size_t
fcc_ws_length_size(const fcc_ws_t *ws)
{
    switch (ws->header[1] & 0x7f) {

    case 126:
        return 2;

    case 127:
        return 8;

    default:
        return 0;
    }
}


static int
fcc_ws_begin_payload(fcc_ws_t *ws)
{
    ws->head = 0;
    ws->phase = 0;

    if (ws->opcode & 0x8) {
        ws->ctl_len = 0;
        ws->state = FCC_WS_ST_CONTROL;

        if (ws->opcode == FCC_WS_CLOSE) {
            fcc_utf8_init(&ws->utf8);
        }

        return FCC_WS_NEXT;
    }

    if (ws->opcode != FCC_WS_CONTINUATION) {
        ws->message = ws->opcode;
        ws->deflated = (ws->header[0] & FCC_WS_RSV1) != 0;
        ws->begun = 0;
        fcc_utf8_init(&ws->utf8);
    }

    /* an empty fragment that ends nothing is worth no event */

    if (ws->left || ws->fin) {
        ws->state = FCC_WS_ST_DATA;
    }

    return FCC_WS_NEXT;
}


static int
fcc_ws_read_data(fcc_ws_t *ws, unsigned char **pos, unsigned char *last,
    fcc_ws_event_t *ev)
{
    size_t          n;
    unsigned char  *p;

    p = *pos;
    n = last - p;

    if (n == 0 && ws->left) {
        return FCC_AGAIN;
    }

    if (n > ws->left) {
        n = (size_t) ws->left;
    }

    fcc_ws_unmask(ws, p, n);

    *pos += n;
    ws->left -= n;

    if (ws->message == FCC_WS_TEXT && !ws->deflated) {
        if (fcc_utf8_feed(&ws->utf8, p, n) != FCC_OK
            || (ws->left == 0 && ws->fin && !fcc_utf8_complete(&ws->utf8)))
        {
            return fcc_ws_error(ws, ev, FCC_WS_INVALID_DATA,
                                "text is not UTF-8");
        }
    }

    fcc_ws_set_event(ev, FCC_WS_EV_DATA);

    ev->opcode = ws->message;
    ev->first = !ws->begun;
    ev->deflated = ws->deflated;
    ev->payload.data = p;
    ev->payload.len = n;

    ws->begun = 1;

    if (ws->left == 0) {
        ws->state = FCC_WS_ST_HEADER;

        if (ws->fin) {
            ev->last = 1;
            ws->message = 0;
            ws->size = 0;
            ws->fragments = 0;
        }
    }

    return FCC_OK;
}


static int
fcc_ws_read_control(fcc_ws_t *ws, unsigned char **pos, unsigned char *last,
    fcc_ws_event_t *ev)
{
    size_t  n, had;

    n = last - *pos;

    if (n > ws->left) {
        n = (size_t) ws->left;
    }

    had = ws->ctl_len;

    if (n) {
        memcpy(ws->ctl + had, *pos, n);
        fcc_ws_unmask(ws, ws->ctl + had, n);

        *pos += n;
        ws->left -= n;
        ws->ctl_len += n;
    }

    if (ws->opcode == FCC_WS_CLOSE
        && fcc_ws_check_close(ws, had, ev) == FCC_OK)
    {
        return FCC_OK;
    }

    if (ws->left) {
        return FCC_AGAIN;
    }

    ws->state = FCC_WS_ST_HEADER;

    switch (ws->opcode) {

    case FCC_WS_PING:
        fcc_ws_set_event(ev, FCC_WS_EV_PING);
        break;

    case FCC_WS_PONG:
        fcc_ws_set_event(ev, FCC_WS_EV_PONG);
        break;

    default: /* FCC_WS_CLOSE */
        ws->state = FCC_WS_ST_DEAD;
        fcc_ws_set_event(ev, FCC_WS_EV_CLOSE);

        if (ws->ctl_len == 0) {
            ev->code = FCC_WS_NO_STATUS;
            ev->payload.data = ws->ctl;
            return FCC_OK;
        }

        ev->code = fcc_ws_close_code(ws);
        ev->payload.data = ws->ctl + 2;
        ev->payload.len = ws->ctl_len - 2;

        return FCC_OK;
    }

    ev->payload.data = ws->ctl;
    ev->payload.len = ws->ctl_len;

    return FCC_OK;
}


static int
fcc_ws_check_close(fcc_ws_t *ws, size_t had, fcc_ws_event_t *ev)
{
    if (ws->ctl_len < 2) {
        return FCC_WS_NEXT;
    }

    if (had < 2) {
        had = 2;

        if (!fcc_ws_close_code_valid(fcc_ws_close_code(ws))) {
            return fcc_ws_error(ws, ev, FCC_WS_PROTOCOL_ERROR,
                                "close code is not allowed");
        }
    }

    if (fcc_utf8_feed(&ws->utf8, ws->ctl + had, ws->ctl_len - had) != FCC_OK
        || (ws->left == 0 && !fcc_utf8_complete(&ws->utf8)))
    {
        return fcc_ws_error(ws, ev, FCC_WS_INVALID_DATA,
                            "close reason is not UTF-8");
    }

    return FCC_WS_NEXT;
}


static unsigned
fcc_ws_close_code(const fcc_ws_t *ws)
{
    return ((unsigned) ws->ctl[0] << 8) | ws->ctl[1];
}


static void
fcc_ws_unmask(fcc_ws_t *ws, unsigned char *p, size_t len)
{
    size_t         i;
    uint64_t       key, word;
    unsigned char  mask[sizeof(uint64_t)];

    for (i = 0; i < sizeof(uint64_t); i++) {
        mask[i] = ws->mask[(ws->phase + i) & 3];
    }

    ws->phase = (unsigned char) ((ws->phase + len) & 3);

    memcpy(&key, mask, sizeof(uint64_t));

    while (len >= sizeof(uint64_t)) {
        memcpy(&word, p, sizeof(uint64_t));
        word ^= key;
        memcpy(p, &word, sizeof(uint64_t));

        p += sizeof(uint64_t);
        len -= sizeof(uint64_t);
    }

    for (i = 0; i < len; i++) {
        p[i] ^= mask[i];
    }
}


static void
fcc_ws_set_event(fcc_ws_event_t *ev, fcc_ws_event_e type)
{
    memset(ev, 0, sizeof(fcc_ws_event_t));
    ev->type = type;
}


static int
fcc_ws_error(fcc_ws_t *ws, fcc_ws_event_t *ev, unsigned code,
    const char *reason)
{
    ws->state = FCC_WS_ST_DEAD;

    fcc_ws_set_event(ev, FCC_WS_EV_ERROR);
    ev->code = code;
    ev->reason = reason;

    return FCC_OK;
}


int
fcc_ws_close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003)
           || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}
