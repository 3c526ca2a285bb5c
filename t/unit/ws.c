
/*
 * fcc_ws: each input is fed whole, byte by byte, cut in two at every place and
 * cut at random, always in memory of its own; the trace of events must be the
 * same, and the one expected.
 *
 * A trace is written as T[...] or B[...] for a text or binary message (bytes
 * joined over pieces, closed when the last came), ping(...), pong(...),
 * close(code,reason), error(code) and a final "..." when the parser waits for
 * more.
 */


#include "tap.h"

#include <fcc_ws.h>


#define WS_TRACE_MAX  (4 * 70000)


typedef struct {
    size_t         len;
    unsigned       events;
    unsigned       bad;
    int            open;
    size_t         message;     /* where the open message begins */
    char           text[WS_TRACE_MAX];
} ws_trace_t;


typedef struct {
    size_t         len;
    unsigned char  data[200000];
} ws_input_t;


static ws_trace_t  ws_whole, ws_other;
static ws_input_t  ws_in;


static void
ws_bytes(const void *data, size_t len)
{
    memcpy(ws_in.data + ws_in.len, data, len);
    ws_in.len += len;
}


/* a client's frame; size: 0 for the shortest length, else 2 or 8 bytes */

static void
ws_frame_size(unsigned first, const void *data, size_t len, size_t size)
{
    size_t                i;
    unsigned char         head[14], *p;
    const unsigned char  *src;
    static const unsigned char  mask[4] = { 0x9a, 0x01, 0xff, 0x5c };

    if (size == 0) {
        size = (len < 126) ? 1 : (len < 65536) ? 2 : 8;
    }

    p = head;
    *p++ = first;
    *p++ = 0x80 | (size == 1 ? len : size == 2 ? 126 : 127);

    if (size > 1) {
        for (i = size; i > 0; i--) {
            *p++ = (uint64_t) len >> (8 * (i - 1));
        }
    }

    memcpy(p, mask, 4);
    ws_bytes(head, p + 4 - head);

    src = data;

    for (i = 0; i < len; i++) {
        ws_in.data[ws_in.len++] = src[i] ^ mask[i % 4];
    }
}


static void
ws_frame(unsigned first, const void *data, size_t len)
{
    ws_frame_size(first, data, len, 0);
}


#define ws_text(first, s)   ws_frame(first, s, sizeof(s) - 1)


static void
ws_put(ws_trace_t *t, const void *data, size_t len)
{
    memcpy(t->text + t->len, data, len);
    t->len += len;
    t->text[t->len] = '\0';
}


static void
ws_put_str(ws_trace_t *t, const char *s)
{
    ws_put(t, s, strlen(s));
}


static void
ws_put_event(ws_trace_t *t, const fcc_ws_event_t *ev)
{
    char  code[32];

    t->events++;

    switch (ev->type) {

    case FCC_WS_EV_DATA:
        t->bad += ev->first == t->open;
        t->bad += ev->opcode != FCC_WS_TEXT && ev->opcode != FCC_WS_BINARY;

        /* pings may stand between; what is compared is the joined message */

        if (ev->first) {
            t->message = t->len;
            ws_put_str(t, ev->opcode == FCC_WS_TEXT ? "T[" : "B[");
        }

        t->open = !ev->last;
        ws_put(t, ev->payload.data, ev->payload.len);

        if (ev->last) {
            ws_put_str(t, "]");
        }

        return;

    case FCC_WS_EV_PING:
    case FCC_WS_EV_PONG:
        ws_put_str(t, ev->type == FCC_WS_EV_PING ? "ping(" : "pong(");
        ws_put(t, ev->payload.data, ev->payload.len);
        ws_put_str(t, ")");
        return;

    case FCC_WS_EV_CLOSE:
        sprintf(code, "close(%u,", ev->code);
        ws_put_str(t, code);
        ws_put(t, ev->payload.data, ev->payload.len);
        ws_put_str(t, ")");
        return;

    case FCC_WS_EV_ERROR:

        /* how much of a bad message was handed out depends on the cuts */

        if (t->open) {
            t->len = t->message;
        }

        t->bad += ev->reason == NULL || ev->reason[0] == '\0'
                  || strlen(ev->reason) > FCC_WS_CONTROL_MAX - 2;
        sprintf(code, "error(%u)", ev->code);
        ws_put_str(t, code);
        return;
    }

    t->bad++;
}


static void
ws_feed(fcc_ws_t *ws, ws_trace_t *t, size_t from, size_t len)
{
    unsigned        calls;
    unsigned char  *piece, *pos, *last;
    fcc_ws_event_t  ev;

    piece = tap_copy(ws_in.data + from, len);
    pos = piece;
    last = piece + len;

    for (calls = 0; calls < 100000; calls++) {
        memset(&ev, 0xa5, sizeof(ev));

        if (fcc_ws_parse(ws, &pos, last, &ev) != FCC_OK) {
            break;
        }

        t->bad += pos > last;
        ws_put_event(t, &ev);
    }

    t->bad += pos != last || calls == 100000;

    free(piece);
}


static void
ws_begin(fcc_ws_t *ws, ws_trace_t *t, uint64_t max)
{
    fcc_ws_init(ws, max);
    t->len = 0;
    t->text[0] = '\0';
    t->events = 0;
    t->bad = 0;
    t->open = 0;
}


static void
ws_end(fcc_ws_t *ws, ws_trace_t *t)
{
    if (fcc_ws_partial(ws)) {
        ws_put_str(t, "...");
    }
}


static int
ws_same(void)
{
    return ws_other.bad == 0 && ws_other.len == ws_whole.len
           && memcmp(ws_other.text, ws_whole.text, ws_whole.len) == 0;
}


/* the number of ways to cut the input that give another trace */

static unsigned
ws_cuts(uint64_t max)
{
    size_t    at, n;
    unsigned  round, differ;
    uint32_t  seed;
    fcc_ws_t  ws;

    differ = 0;
    seed = 6455;

    for (at = 0; at < ws_in.len && ws_in.len < 400; at++) {
        ws_begin(&ws, &ws_other, max);
        ws_feed(&ws, &ws_other, 0, at);
        ws_feed(&ws, &ws_other, at, ws_in.len - at);
        ws_end(&ws, &ws_other);
        differ += !ws_same();
    }

    ws_begin(&ws, &ws_other, max);

    for (at = 0; at < ws_in.len; at++) {
        ws_feed(&ws, &ws_other, at, 1);

        /* in memory of its own: what the old one knew is not there */

        if (fcc_ws_fresh(&ws)) {
            memset(&ws, 0xa5, sizeof(fcc_ws_t));
            fcc_ws_init(&ws, max);
        }
    }

    ws_end(&ws, &ws_other);
    differ += !ws_same();

    for (round = 0; round < 40; round++) {
        ws_begin(&ws, &ws_other, max);

        for (at = 0; at < ws_in.len; at += n) {
            n = 1 + tap_random(&seed) % (round % 2 ? 7 : ws_in.len - at);
            n = (n > ws_in.len - at) ? ws_in.len - at : n;
            ws_feed(&ws, &ws_other, at, n);
        }

        ws_end(&ws, &ws_other);
        differ += !ws_same();
    }

    return differ;
}


/* checks what was collected in ws_in, and empties it */

static void
ws_expect(const char *want, const char *name)
{
    uint64_t  max;
    fcc_ws_t  ws;

    max = 66000;

    ws_begin(&ws, &ws_whole, max);
    ws_feed(&ws, &ws_whole, 0, ws_in.len);
    ws_end(&ws, &ws_whole);

    if (want != NULL) {
        is_str(ws_whole.text, ws_whole.len, want, name);
    }

    is_int(ws_whole.bad + ws_cuts(max), 0, name);

    ws_in.len = 0;
}


static void
ws_test_good(void)
{
    ws_text(0x81, "hello");
    ws_expect("T[hello]", "text");
    is_int(ws_whole.events, 1, "a whole frame is one event");

    ws_text(0x82, "\xff\xfe");
    ws_expect("B[\xff\xfe]", "binary is not validated");

    ws_text(0x81, "");
    ws_expect("T[]", "empty text");
    is_int(ws_whole.events, 1, "which is one event, too");

    ws_text(0x81, "one");
    ws_text(0x82, "");
    ws_text(0x81, "\xe3\x81\x93");
    ws_expect("T[one]B[]T[\xe3\x81\x93]", "several messages");
    is_int(ws_whole.events, 3, "in one read");

    ws_text(0x01, "fr");
    ws_text(0x00, "ag");
    ws_text(0x80, "ment");
    ws_expect("T[fragment]", "fragments");

    ws_text(0x01, "fr");
    ws_text(0x89, "are you");
    ws_text(0x8a, "");
    ws_text(0x80, "ag");
    ws_expect("T[frping(are you)pong()ag]", "control between fragments");

    ws_text(0x01, "");
    ws_text(0x00, "");
    ws_text(0x80, "");
    ws_expect("T[]", "empty fragments");

    ws_text(0x01, "");
    ws_text(0x00, "a");
    ws_text(0x00, "");
    ws_text(0x80, "");
    ws_expect("T[a]", "empty fragments around one");

    ws_text(0x01, "\xe3");
    ws_text(0x89, "\xff");
    ws_text(0x00, "\x81");
    ws_text(0x80, "\x93");
    ws_expect("T[\xe3ping(\xff)\x81\x93]", "a character over fragments");

    ws_text(0x89, "");
    ws_text(0x8a, "unasked");
    ws_expect("ping()pong(unasked)", "ping and pong");

    ws_text(0x88, "");
    ws_expect("close(1005,)", "close without a code");

    ws_text(0x88, "\x03\xe8");
    ws_expect("close(1000,)", "close with a code");

    ws_text(0x88, "\x0f\xa1 bye \xe3\x81\x93");
    ws_expect("close(4001, bye \xe3\x81\x93)", "close with a reason");

    ws_text(0x88, "\x03\xe8");
    ws_text(0x81, "late");
    ws_bytes("\xff\xff\xff", 3);
    ws_expect("close(1000,)", "data after close is swallowed");

    ws_text(0x01, "un");
    ws_text(0x88, "\x03\xe9");
    ws_expect("T[unclose(1001,)", "close inside a message");
}


static void
ws_test_lengths(void)
{
    size_t                i;
    static unsigned char  data[65537];
    static const size_t   sizes[] = { 1, 7, 8, 9, 124, 125, 126, 127, 128, 4095,
                                      65535, 65536, 65537 };
    char                  name[64];

    for (i = 0; i < sizeof(data); i++) {
        data[i] = 'a' + i % 26;
    }

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        sprintf(name, "a message of %zu bytes", sizes[i]);

        ws_frame(0x81, data, sizes[i]);
        ws_expect(NULL, name);

        ok(ws_whole.len == sizes[i] + 3
           && memcmp(ws_whole.text + 2, data, sizes[i]) == 0, name);
    }

    ws_frame(0x89, data, 125);
    ws_expect(NULL, "a ping of 125 bytes");
    is_int(ws_whole.len, 125 + sizeof("ping()") - 1, "with all of them");
    ok(memcmp(ws_whole.text + 5, data, 125) == 0, "unchanged");

    /* 66000 is the limit in these tests */

    ws_frame(0x82, ws_in.data + 100000, 66000);
    ws_expect(NULL, "a message of the limit");
    is_int(ws_whole.len, 66003, "is told");

    ws_bytes("\x82\xff\0\0\0\0\0\x01\x01\xd1", 10);
    ws_expect("error(1009)", "one more, before its mask arrives");

    ws_bytes("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
    ws_expect("error(1009)", "2^63 - 1");

    ws_frame(0x02, data, 65536);
    ws_frame(0x00, data, 464);
    ws_frame(0x80, data, 0);
    ws_expect(NULL, "fragments up to the limit");
    is_int(ws_whole.len, 66003, "are told");

    ws_frame(0x02, data, 65536);
    ws_frame(0x00, data, 464);
    ws_bytes("\x80\x81", 2);
    ws_expect("error(1009)", "fragments, one byte more");

    ws_frame(0x02, data, 65536);
    ws_bytes("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
    ws_expect("error(1009)", "a sum that would wrap");

    for (i = 0; i < 3; i++) {
        ws_frame(0x02, data, 40000);
        ws_frame(0x80, data, 20000);
    }

    ws_expect(NULL, "the limit is for one message");
    is_int(ws_whole.len, 3 * 60003, "the next begins at 0");
}


static void
ws_test_zero_limit(void)
{
    fcc_ws_t        ws;
    unsigned char  *pos;
    fcc_ws_event_t  ev;
    unsigned char   empty[] = { 0x81, 0x80, 1, 2, 3, 4 };
    unsigned char   one[] = { 0x81, 0x81, 1, 2, 3, 4, 5 };

    fcc_ws_init(&ws, 0);
    pos = empty;
    is_int(fcc_ws_parse(&ws, &pos, empty + 6, &ev), FCC_OK, "limit 0");
    is_int(ev.type, FCC_WS_EV_DATA, "lets an empty message through");
    is_int(ev.first + ev.last, 2, "first and last");
    is_int(fcc_ws_parse(&ws, &pos, empty + 6, &ev), FCC_AGAIN, "no more");
    is_int(fcc_ws_partial(&ws), 0, "at a boundary");

    pos = one;
    is_int(fcc_ws_parse(&ws, &pos, one + 7, &ev), FCC_OK, "but of one byte");
    is_int(ev.type, FCC_WS_EV_ERROR, "is an error");
    is_int(ev.code, 1009, "it is too big");
    is_int(pos - one, 2, "told when the length is known");
    is_int(fcc_ws_partial(&ws), 0, "nothing is awaited after it");
    is_int(fcc_ws_fresh(&ws), 0, "and nothing can begin");
}


static void
ws_test_pieces(void)
{
    fcc_ws_t        ws;
    unsigned char  *pos;
    fcc_ws_event_t  ev;
    unsigned char   in[] = { 0x81, 0x85, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o' };

    fcc_ws_init(&ws, 100);

    pos = in;
    is_int(fcc_ws_parse(&ws, &pos, in + 6, &ev), FCC_AGAIN,
           "a header alone tells nothing");
    is_int(fcc_ws_partial(&ws), 1, "and is a part");

    is_int(fcc_ws_parse(&ws, &pos, in + 8, &ev), FCC_OK, "first piece");
    ok(ev.type == FCC_WS_EV_DATA && ev.first && !ev.last, "is the first");
    ok(ev.payload.data == in + 6 && ev.payload.len == 2, "in the input");
    is_int(fcc_ws_parse(&ws, &pos, in + 8, &ev), FCC_AGAIN, "used up");

    is_int(fcc_ws_parse(&ws, &pos, in + 10, &ev), FCC_OK, "second piece");
    ok(!ev.first && !ev.last && ev.payload.len == 2, "is neither");

    is_int(fcc_ws_parse(&ws, &pos, in + 11, &ev), FCC_OK, "third piece");
    ok(!ev.first && ev.last && ev.payload.len == 1, "is the last");
    is_int(fcc_ws_partial(&ws), 0, "nothing is open");
}


static void
ws_test_partial(void)
{
    size_t          i;
    fcc_ws_t        ws;
    unsigned char  *pos;
    fcc_ws_event_t  ev;

    /* a ping in two bytes, inside a message of two fragments */

    unsigned char      in[] = { 0x01, 0x81, 0, 0, 0, 0, 'a',
                                 0x89, 0x82, 0, 0, 0, 0, 'p', 'q',
                                 0x80, 0x81, 0, 0, 0, 0, 'b',
                                 0x89, 0x82, 0, 0, 0, 0, 'p', 'q' };
    static const char  want[] = "111111" "1" "11111111" "1111110" "11111110";

    fcc_ws_init(&ws, 100);
    is_int(fcc_ws_partial(&ws), 0, "nothing is open at first");

    pos = in;

    for (i = 0; i < sizeof(in); i++) {
        while (fcc_ws_parse(&ws, &pos, in + i + 1, &ev) == FCC_OK) {
            /* void */
        }

        is_int(fcc_ws_partial(&ws), want[i] - '0', "partial");
        is_int(fcc_ws_fresh(&ws), '1' - want[i], "or fresh");
    }
}


static void
ws_test_bad_heads(void)
{
    unsigned  op, rsv;
    char      head[2], name[64];

    for (op = 0; op < 16; op++) {
        if (op <= 2 || (op >= 8 && op <= 10)) {
            continue;
        }

        head[0] = 0x80 | op;
        sprintf(name, "opcode %x", op);
        ws_bytes(head, 1);
        ws_expect("error(1002)", name);

        head[0] = op;
        ws_bytes(head, 1);
        ws_expect("error(1002)", name);
    }

    for (rsv = 0x10; rsv <= 0x70; rsv += 0x10) {
        for (op = 0; op < 16; op++) {
            head[0] = 0x80 | rsv | op;
            sprintf(name, "reserved bits %x with opcode %x", rsv, op);
            ws_bytes(head, 1);
            ws_expect("error(1002)", name);
        }
    }

    for (op = 8; op <= 10; op++) {
        head[0] = op;
        ws_bytes(head, 1);
        ws_expect("error(1002)", "fragmented control frame");

        head[0] = 0x80 | op;
        head[1] = (char) 0xfe;
        ws_bytes(head, 2);
        ws_expect("error(1002)", "control frame of 126 and more");

        head[1] = (char) 0xff;
        ws_bytes(head, 2);
        ws_expect("error(1002)", "control frame of 64-bit length");
    }

    ws_bytes("\x81\x05hello", 7);
    ws_expect("error(1002)", "no mask");

    ws_text(0x81, "fine");
    ws_bytes("\x89\x00", 2);
    ws_expect("T[fine]error(1002)", "no mask, a ping after a message");

    ws_bytes("\x80", 1);
    ws_expect("error(1002)", "continuation of nothing");

    ws_text(0x81, "whole");
    ws_bytes("\x00", 1);
    ws_expect("T[whole]error(1002)", "continuation of a message that ended");

    ws_text(0x01, "begun");
    ws_bytes("\x81", 1);
    ws_expect("error(1002)", "text inside a message");

    ws_text(0x01, "");
    ws_bytes("\x02", 1);
    ws_expect("error(1002)", "binary inside an empty one");

    ws_frame_size(0x81, "hello", 5, 2);
    ws_expect("error(1002)", "5 in 16 bits");

    ws_frame_size(0x81, ws_in.data + 100000, 125, 2);
    ws_expect("error(1002)", "125 in 16 bits");

    ws_frame_size(0x81, "hello", 5, 8);
    ws_expect("error(1002)", "5 in 64 bits");

    ws_bytes("\x81\xff\0\0\0\0\0\0\xff\xff", 10);
    ws_expect("error(1002)", "65535 in 64 bits");

    ws_bytes("\x81\xff\x80", 3);
    ws_expect("error(1002)", "the top bit, at its byte");

    ws_bytes("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10);
    ws_expect("error(1002)", "2^64 - 1");
}


static void
ws_test_fragments(void)
{
    unsigned  i;

    ws_text(0x01, "");

    for (i = 2; i < FCC_WS_MAX_FRAGMENTS; i++) {
        ws_text(0x00, "x");
        ws_text(0x89, "");
    }

    ws_text(0x80, "");
    ws_expect(NULL, "as many fragments as may be");
    ok(ws_whole.text[ws_whole.len - 1] == ']', "make a message");

    ws_text(0x01, "");

    for (i = 1; i < FCC_WS_MAX_FRAGMENTS; i++) {
        ws_text(0x00, "");
    }

    ws_bytes("\x80", 1);
    ws_expect("error(1008)", "one more, even if all are empty");

    for (i = 0; i < 3 * FCC_WS_MAX_FRAGMENTS; i++) {
        ws_text(0x81, "");
    }

    ws_expect(NULL, "whole messages are not counted together");
    is_int(ws_whole.events, 3 * FCC_WS_MAX_FRAGMENTS, "each is told");
}


static void
ws_test_utf8(void)
{
    ws_text(0x81, "a\xff");
    ws_expect("error(1007)", "text with ff");

    ws_text(0x81, "\xed\xa0\x80");
    ws_expect("error(1007)", "text with a surrogate");

    ws_text(0x81, "\xc0\x80");
    ws_expect("error(1007)", "overlong NUL");

    ws_text(0x81, "\xf4\x90\x80\x80");
    ws_expect("error(1007)", "above U+10FFFF");

    ws_text(0x81, "ab\xe3\x81");
    ws_expect("error(1007)", "text that ends inside a character");

    ws_text(0x01, "ab\xe3\x81");
    ws_text(0x00, "");
    ws_text(0x80, "");
    ws_expect("error(1007)", "the same when an empty fragment ends it");

    ws_text(0x81, "a");
    ws_text(0x01, "\xe3");
    ws_text(0x00, "\x28");
    ws_expect("T[a]error(1007)", "bad continuation in the next fragment");

    ws_bytes("\x81\xfe\x10\x00\0\0\0\0ab\xff", 11);
    ws_expect("error(1007)", "inside the frame, long before its end");

    ws_text(0x81, "\xe3\x81");
    ws_text(0x88, "\x03\xe8");
    ws_expect("error(1007)", "a bad message before a close");

    ws_text(0x01, "\xe3");
    ws_text(0x88, "\x03\xe8ok");
    ws_expect("T[\xe3" "close(1000,ok)", "close after half a character");

    ws_text(0x81, "a\0b");
    ws_expect(NULL, "a NUL is UTF-8");
    is_mem(ws_whole.text, ws_whole.len, "T[a\0b]", 6, "and kept");
}


static void
ws_test_close_codes(void)
{
    char      name[64], want[64], data[2];
    size_t    i;
    unsigned  code, valid, differ;

    static const unsigned  bad[] = { 0, 1, 999, 1004, 1005, 1006, 1015, 1016,
                                     1100, 2000, 2999, 5000, 65535 };
    static const unsigned  good[] = { 1000, 1001, 1002, 1003, 1007, 1008, 1009,
                                      1010, 1011, 1012, 1013, 1014, 3000, 3999,
                                      4000, 4999 };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        data[0] = (char) (bad[i] >> 8);
        data[1] = (char) bad[i];
        sprintf(name, "close code %u", bad[i]);
        ws_frame(0x88, data, 2);
        ws_expect("error(1002)", name);
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        data[0] = (char) (good[i] >> 8);
        data[1] = (char) good[i];
        sprintf(name, "close code %u", good[i]);
        sprintf(want, "close(%u,)", good[i]);
        ws_frame(0x88, data, 2);
        ws_expect(want, name);
    }

    differ = 0;

    for (code = 0; code < 70000; code++) {
        valid = code / 1000 == 3 || code / 1000 == 4;

        for (i = 0; i < 12; i++) {
            valid |= code == good[i];
        }

        differ += fcc_ws_close_code_valid(code) != (int) valid;
    }

    is_int(differ, 0, "all codes");

    ws_bytes("\x88\x81", 2);
    ws_expect("error(1002)", "close of one byte");

    ws_text(0x88, "\x03\xe8 a\xff");
    ws_expect("error(1007)", "a reason that is not UTF-8");

    ws_text(0x88, "\x03\xe8\xe3\x81");
    ws_expect("error(1007)", "a reason that ends inside a character");

    ws_text(0x88, "\x03\xec\xff");
    ws_expect("error(1002)", "the code is judged before the reason");
}


/* any bytes at all: nothing but the cuts' agreement is asked */

static void
ws_test_random(void)
{
    size_t    i, len;
    uint32_t  seed;
    unsigned  round, differ;
    fcc_ws_t  ws;
    char      text[40];

    seed = 1;
    differ = 0;

    for (round = 0; round < 1500; round++) {
        ws_in.len = 0;

        for (i = 0; i < 1 + tap_random(&seed) % 6; i++) {
            len = tap_random(&seed) % sizeof(text);
            memset(text, "a\xe3\x81\xff"[tap_random(&seed) % 16 ? 0 : 2], len);
            ws_frame("\x81\x01\x00\x80\x89\x8a\x82\x88"
                     [tap_random(&seed) % (i ? 8 : 2)] & 0xff,
                     text, len);
        }

        /* and now something broken */

        if (round % 3 == 0) {
            i = tap_random(&seed) % ws_in.len;
            ws_in.data[i] ^= 1 << (tap_random(&seed) % 8);
        }

        ws_in.len -= tap_random(&seed) % 3;

        ws_begin(&ws, &ws_whole, 60);
        ws_feed(&ws, &ws_whole, 0, ws_in.len);
        ws_end(&ws, &ws_whole);

        differ += ws_whole.bad + ws_cuts(60);
    }

    ws_in.len = 0;

    is_int(differ, 0, "random frames, whole and broken");
}


int
main(void)
{
    ws_test_good();
    ws_test_pieces();
    ws_test_partial();
    ws_test_lengths();
    ws_test_zero_limit();
    ws_test_bad_heads();
    ws_test_fragments();
    ws_test_utf8();
    ws_test_close_codes();
    ws_test_random();

    ok(sizeof(fcc_ws_t) <= 208, "the parser is small");

    return tap_done();
}
