
/*
 * The writers of fcc_proto: byte for byte, through jansson and back, and within
 * the bound that they promise.
 */


#include "tap.h"

#include <fcc_proto.h>

#include <jansson.h>


#define PROTO_COUNT(a)  (sizeof(a) / sizeof(a[0]))


static unsigned char  proto_out[100000];


static fcc_str_t
proto_str(const char *s)
{
    fcc_str_t  str;

    str.data = (unsigned char *) s;
    str.len = strlen(s);

    return str;
}


static fcc_event_t
proto_event(void)
{
    fcc_event_t  e;

    memset(&e, 0, sizeof(e));

    e.seq = 42;
    e.id = 90123;
    e.user_id = 7;
    e.at = 1795428000123LL;
    e.username = proto_str("al<i>ce");
    e.role = proto_str("member");
    e.type = proto_str("message");
    e.text = proto_str("\xe3\x81\x93 & \"'");

    return e;
}


/* what was written since the last time, which must be JSON, too */

static void
proto_wrote(fcc_buf_t *b, const char *want, const char *name)
{
    json_t  *json;

    is_int(b->full, 0, name);
    is_str(b->start, b->pos - b->start, want, name);

    json = json_loadb((char *) b->start, b->pos - b->start,
                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    ok(json != NULL, "is JSON");
    json_decref(json);

    fcc_buf_init(b, proto_out, sizeof(proto_out));
}


static void
proto_test_old_writers(void)
{
    fcc_buf_t          b;
    fcc_str_t          cid, name;
    fcc_event_t        e;
    fcc_stamp_t        stamp;
    fcc_proto_error_t  err = { "too_long", "The message is \"too\" long." };

    fcc_buf_init(&b, proto_out, sizeof(proto_out));
    e = proto_event();

    fcc_proto_old_message(&b, &e, 0);
    proto_wrote(&b, "{\"username\":\"al\\u003ci\\u003ece\",\"message\":\""
                "\xe3\x81\x93 \\u0026 \\u0022'\",\"message_type\":\"message\""
                ",\"timestamp\":null}", "old message");

    fcc_proto_old_message(&b, &e, 1);
    proto_wrote(&b, "{\"username\":\"al\\u0026lt;i\\u0026gt;ce\",\"message\":"
                "\"\xe3\x81\x93 \\u0026amp; \\u0026quot;\\u0026#x27;\","
                "\"message_type\":\"message\",\"timestamp\":null}",
                "old message, HTML");

    e.type = proto_str("system");
    e.username = proto_str("");
    e.text = proto_str("");
    fcc_proto_old_message(&b, &e, 1);
    proto_wrote(&b, "{\"username\":\"\",\"message\":\"\",\"message_type\":"
                "\"system\",\"timestamp\":null}", "old message, nothing");

    name = proto_str("b&b");
    stamp.id = 3;
    stamp.name = proto_str(":<3:");
    stamp.image = proto_str("/m?a=1&b='\"<>");

    fcc_proto_old_reaction(&b, &name, &stamp, 0);
    proto_wrote(&b, "{\"type\":\"reaction\",\"username\":\"b\\u0026b\","
                "\"stamp_id\":3,\"stamp_name\":\":\\u003c3:\","
                "\"stamp_image_url\":\"/m?a=1\\u0026b='\\u0022\\u003c"
                "\\u003e\"}", "old reaction");

    fcc_proto_old_reaction(&b, &name, &stamp, 1);
    proto_wrote(&b, "{\"type\":\"reaction\",\"username\":\"b\\u0026amp;b\","
                "\"stamp_id\":3,\"stamp_name\":\":\\u0026lt;3:\","
                "\"stamp_image_url\":\"/m?a=1\\u0026b=%27%22%3C%3E\"}",
                "old reaction, HTML");

    cid = proto_str("c1");
    fcc_proto_old_error(&b, &err, &cid, 800);
    proto_wrote(&b, "{\"username\":\"\",\"message\":\"The message is "
                "\\u0022too\\u0022 long.\",\"message_type\":\"system\","
                "\"timestamp\":null,\"code\":\"too_long\",\"cid\":\"c1\","
                "\"retry_after_ms\":800}", "old error");

    cid.len = 0;
    fcc_proto_old_error(&b, &err, &cid, -1);
    proto_wrote(&b, "{\"username\":\"\",\"message\":\"The message is "
                "\\u0022too\\u0022 long.\",\"message_type\":\"system\","
                "\"timestamp\":null,\"code\":\"too_long\"}",
                "old error, no more");

    fcc_proto_old_error(&b, &err, NULL, 0);
    proto_wrote(&b, "{\"username\":\"\",\"message\":\"The message is "
                "\\u0022too\\u0022 long.\",\"message_type\":\"system\","
                "\"timestamp\":null,\"code\":\"too_long\","
                "\"retry_after_ms\":0}", "old error, now");
}


static void
proto_test_v1_writers(void)
{
    fcc_buf_t          b;
    fcc_str_t          cid, epoch, who, role;
    fcc_event_t        e;
    fcc_welcome_t      w;
    fcc_proto_error_t  err = { "rate_limited", "Slow down." };
    fcc_count_t        counts[] = { { 1, 12 }, { 4, 3 } };

    memset(&w, 0, sizeof(w));

    fcc_buf_init(&b, proto_out, sizeof(proto_out));
    e = proto_event();

    fcc_proto_v1_message(&b, &e);
    proto_wrote(&b, "{\"type\":\"message\",\"seq\":42,\"id\":90123,\"user\":"
                "{\"id\":7,\"username\":\"al\\u003ci\\u003ece\",\"role\":"
                "\"member\"},\"text\":\"\xe3\x81\x93 \\u0026 \\u0022'\","
                "\"at\":\"2026-11-23T10:00:00.123Z\"}", "message");

    e.type = proto_str("system");
    e.user_id = 0;
    e.id = 0;
    fcc_proto_v1_message(&b, &e);
    proto_wrote(&b, "{\"type\":\"message\",\"seq\":42,\"id\":null,\"user\":"
                "null,\"text\":\"\xe3\x81\x93 \\u0026 \\u0022'\","
                "\"message_type\":\"system\","
                "\"at\":\"2026-11-23T10:00:00.123Z\"}", "system message");

    cid = proto_str("c\"1");
    fcc_proto_v1_ack(&b, &cid, 42, 90123);
    proto_wrote(&b, "{\"type\":\"ack\",\"cid\":\"c\\u00221\",\"seq\":42,"
                "\"id\":90123}", "ack");

    fcc_proto_v1_error(&b, &err, &cid, 800);
    proto_wrote(&b, "{\"type\":\"error\",\"code\":\"rate_limited\","
                "\"message\":\"Slow down.\",\"cid\":\"c\\u00221\","
                "\"retry_after_ms\":800}", "error");

    cid.len = 0;
    fcc_proto_v1_ack(&b, &cid, 42, 0);
    proto_wrote(&b, "{\"type\":\"ack\",\"seq\":42,\"id\":null}",
                "ack, no cid");

    fcc_proto_v1_error(&b, &err, &cid, -1);
    proto_wrote(&b, "{\"type\":\"error\",\"code\":\"rate_limited\","
                "\"message\":\"Slow down.\"}", "error, no more");

    who = proto_str("al\"<");
    role = proto_str("member");
    fcc_proto_v1_presence(&b, "join", 7, &who, &role);
    proto_wrote(&b, "{\"type\":\"join\",\"user\":{\"id\":7,\"username\":"
                "\"al\\u0022\\u003c\",\"role\":\"member\"}}", "join");

    who = proto_str("ad\xe2\x80\xaemin");
    fcc_proto_v1_presence(&b, "leave", 7, &who, &role);
    proto_wrote(&b, "{\"type\":\"leave\",\"user\":{\"id\":7,\"username\":"
                "\"ad\\ufffdmin\",\"role\":\"member\"}}",
                "leave, of a name that would turn the direction of text");

    fcc_proto_v1_viewers(&b, 1204);
    proto_wrote(&b, "{\"type\":\"viewers\",\"count\":1204}", "viewers");

    epoch = proto_str("e1");
    fcc_proto_v1_reset(&b, "too_old", &epoch, 41);
    proto_wrote(&b, "{\"type\":\"reset\",\"reason\":\"too_old\",\"epoch\":"
                "\"e1\",\"head\":41}", "reset");

    fcc_proto_v1_reactions(&b, counts, 2);
    proto_wrote(&b, "{\"type\":\"reactions\",\"counts\":{\"1\":12,\"4\":3}}",
                "reactions");

    fcc_proto_v1_reactions(&b, counts, 0);
    proto_wrote(&b, "{\"type\":\"reactions\",\"counts\":{}}",
                "no reactions");

    w.room = proto_str("stream_1");
    w.epoch = epoch;
    w.head = 41;
    w.user_id = 7;
    w.username = proto_str("alice");
    w.role = proto_str("owner");
    w.viewers = 1204;
    w.server_time = 1790000000000LL;
    fcc_proto_v1_welcome(&b, &w);
    proto_wrote(&b, "{\"type\":\"welcome\",\"room\":\"stream_1\",\"epoch\":"
                "\"e1\",\"head\":41,\"you\":{\"id\":7,\"username\":\"alice\","
                "\"role\":\"owner\"},\"modes\":{\"slow\":0},\"pins\":[],"
                "\"viewers\":1204,\"server_time\":1790000000000}", "welcome");

    w.user_id = 0;
    w.username = proto_str("");
    w.role = proto_str("guest");
    fcc_proto_v1_welcome(&b, &w);
    proto_wrote(&b, "{\"type\":\"welcome\",\"room\":\"stream_1\",\"epoch\":"
                "\"e1\",\"head\":41,\"you\":{\"id\":null,\"username\":\"\","
                "\"role\":\"guest\"},\"modes\":{\"slow\":0},\"pins\":[],"
                "\"viewers\":1204,\"server_time\":1790000000000}",
                "welcome of a guest");
}


static void
proto_test_times(void)
{
    char         *at;
    size_t        i;
    fcc_buf_t     b;
    fcc_event_t   e;

    static const struct {
        int64_t      ms;
        const char  *text;
    } cases[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { 1, "1970-01-01T00:00:00.001Z" },
        { 82800000, "1970-01-01T23:00:00.000Z" },
        { 82859999, "1970-01-01T23:00:59.999Z" },
        { 82860000, "1970-01-01T23:01:00.000Z" },
        { 86399999, "1970-01-01T23:59:59.999Z" },
        { 86400000, "1970-01-02T00:00:00.000Z" },
        { 951782399999LL, "2000-02-28T23:59:59.999Z" },
        { 951782400000LL, "2000-02-29T00:00:00.000Z" },
        { 951868800000LL, "2000-03-01T00:00:00.000Z" },
        { 978220800000LL, "2000-12-31T00:00:00.000Z" },
        { 1709164800000LL, "2024-02-29T00:00:00.000Z" },
        { 1735689599999LL, "2024-12-31T23:59:59.999Z" },
        { 1735689600000LL, "2025-01-01T00:00:00.000Z" },
        { 1740787200000LL, "2025-03-01T00:00:00.000Z" },
        { 4107542400000LL, "2100-03-01T00:00:00.000Z" },
        { 4107456000000LL, "2100-02-28T00:00:00.000Z" },
        { 253402300799999LL, "9999-12-31T23:59:59.999Z" },
        { 253402300800000LL, "9999-12-31T23:59:59.999Z" },
        { INT64_MAX, "9999-12-31T23:59:59.999Z" },
        { -1, "1970-01-01T00:00:00.000Z" },
        { INT64_MIN, "1970-01-01T00:00:00.000Z" }
    };

    e = proto_event();

    for (i = 0; i < PROTO_COUNT(cases); i++) {
        fcc_buf_init(&b, proto_out, sizeof(proto_out));
        e.at = cases[i].ms;
        fcc_proto_v1_message(&b, &e);
        *b.pos = '\0';

        at = strstr((char *) b.start, "\"at\":\"");
        is_str(at + 6, FCC_PROTO_TIME_LEN, cases[i].text, "time");
        is_str(at + 6 + FCC_PROTO_TIME_LEN, strlen(at + 30), "\"}", "end");
    }
}


/* each day of 430 years, counted by hand */

static void
proto_test_days(void)
{
    int          year, month, day, leap, last;
    char         want[32];
    int64_t      ms;
    unsigned     wrong;
    fcc_buf_t    b;
    fcc_event_t  e;

    static const int  days[] = { 31, 28, 31, 30, 31, 30,
                                 31, 31, 30, 31, 30, 31 };

    e = proto_event();
    ms = 0;
    wrong = 0;

    for (year = 1970; year < 2400; year++) {
        leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

        for (month = 0; month < 12; month++) {
            last = days[month] + (month == 1 && leap);

            for (day = 1; day <= last; day++) {
                e.at = ms;
                ms += 86400000;

                fcc_buf_init(&b, proto_out, sizeof(proto_out));
                fcc_proto_v1_message(&b, &e);

                snprintf(want, sizeof(want), "%04d-%02d-%02dT", year,
                         month + 1, day);
                wrong += memcmp(b.pos - 2 - FCC_PROTO_TIME_LEN, want, 11) != 0;
            }
        }
    }

    is_int(wrong, 0, "each day");
}


static void
proto_test_numbers(void)
{
    size_t     i;
    fcc_buf_t  b;
    char       want[32];

    static const int64_t  cases[] = {
        0, 1, -1, 9, 10, 99, 100, 2147483648LL, INT64_MAX, INT64_MIN
    };

    for (i = 0; i < PROTO_COUNT(cases); i++) {
        fcc_buf_init(&b, proto_out, sizeof(proto_out));
        fcc_json_int(&b, cases[i]);
        sprintf(want, "%lld", (long long) cases[i]);
        is_str(b.start, b.pos - b.start, want, "a number");
    }
}


static int
proto_is_escaped(uint32_t v)
{
    return v < 0x20 || (v >= 0x7f && v < 0xa0) || v == '"' || v == '\\'
           || v == '<' || v == '>' || v == '&' || v == 0x2028 || v == 0x2029;
}


/* each character between two others: escaped or not, and read back */

static void
proto_test_strings(void)
{
    size_t       n;
    json_t      *json;
    unsigned     wrong;
    uint32_t     v;
    fcc_buf_t    b;
    char         text[8], want[16];

    wrong = 0;

    for (v = 0; v <= 0x10ffff; v++) {
        if (v >= 0xd800 && v <= 0xdfff) {
            continue;
        }

        n = 0;
        text[n++] = 'a';

        if (v < 0x80) {
            text[n++] = v;

        } else if (v < 0x800) {
            text[n++] = 0xc0 | (v >> 6);

        } else if (v < 0x10000) {
            text[n++] = 0xe0 | (v >> 12);
            text[n++] = 0x80 | ((v >> 6) & 0x3f);

        } else {
            text[n++] = 0xf0 | (v >> 18);
            text[n++] = 0x80 | ((v >> 12) & 0x3f);
            text[n++] = 0x80 | ((v >> 6) & 0x3f);
        }

        if (v >= 0x80) {
            text[n++] = 0x80 | (v & 0x3f);
        }

        text[n++] = 'z';

        fcc_buf_init(&b, proto_out, sizeof(proto_out));
        fcc_json_string(&b, (unsigned char *) text, n);

        if (proto_is_escaped(v)) {
            sprintf(want, "\"a\\u%04xz\"", v);
            wrong += strlen(want) != (size_t) (b.pos - b.start)
                     || memcmp(b.start, want, b.pos - b.start) != 0;

        } else {
            wrong += (size_t) (b.pos - b.start) != n + 2
                     || memcmp(b.start + 1, text, n) != 0;
        }

        if (v % 64 && !proto_is_escaped(v)) {
            continue;
        }

        json = json_loadb((char *) b.start, b.pos - b.start,
                          JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        wrong += json_string_length(json) != n
                 || memcmp(json_string_value(json), text, n) != 0;
        json_decref(json);
    }

    is_int(wrong, 0, "each character as a string");
}


/* bytes that no JSON may hold, whatever the database gave us */

static void
proto_test_broken_text(void)
{
    size_t          i, n;
    json_t         *json;
    uint32_t        seed;
    unsigned        bad;
    fcc_buf_t       b;
    unsigned char   text[64], *p;

    static const struct {
        const char  *text;
        const char  *want;
    } cases[] = {
        { "a\xff" "b", "\"a\\ufffdb\"" },
        { "\xe3\x81", "\"\\ufffd\\ufffd\"" },
        { "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
        { "\xc0\x80", "\"\\ufffd\\ufffd\"" },
        { "\xe3\x81\x93\x93", "\"\xe3\x81\x93\\ufffd\"" }
    };

    for (i = 0; i < PROTO_COUNT(cases); i++) {
        fcc_buf_init(&b, proto_out, sizeof(proto_out));
        p = tap_copy(cases[i].text, strlen(cases[i].text));
        fcc_json_string(&b, p, strlen(cases[i].text));
        is_str(b.start, b.pos - b.start, cases[i].want, "broken text");
        free(p);
    }

    fcc_buf_init(&b, proto_out, sizeof(proto_out));
    fcc_json_string(&b, NULL, 0);
    is_str(b.start, b.pos - b.start, "\"\"", "no text");

    seed = 8259;
    bad = 0;

    for (i = 0; i < 20000; i++) {
        for (n = 0; n < sizeof(text); n++) {
            text[n] = tap_random(&seed) >> 8;
        }

        fcc_buf_init(&b, proto_out, sizeof(proto_out));
        fcc_json_string(&b, text, sizeof(text));
        json = json_loadb((char *) b.start, b.pos - b.start,
                          JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        bad += json == NULL;
        json_decref(json);
    }

    is_int(bad, 0, "random bytes become JSON");
}


/* the bound of FCC_PROTO_EXPANSION and FCC_PROTO_OVERHEAD, in exact memory */

typedef struct {
    fcc_str_t          text;
    fcc_event_t        event;
    fcc_stamp_t        stamp;
    fcc_welcome_t      welcome;
    fcc_proto_error_t  err;
} proto_all_t;


/* text: its bytes, and a NUL behind them for those that want a C string */

static void
proto_fill(proto_all_t *all, unsigned char *text, size_t len)
{
    fcc_str_t  s;

    memset(all, 0, sizeof(*all));

    s.data = text;
    s.len = len;

    all->text = s;

    all->event.seq = all->event.id = all->event.user_id = INT64_MIN;
    all->event.at = INT64_MAX;
    all->event.username = all->event.role = s;
    all->event.type = all->event.text = s;

    all->stamp.id = INT64_MIN;
    all->stamp.name = all->stamp.image = s;

    all->welcome.room = all->welcome.epoch = s;
    all->welcome.username = all->welcome.role = s;
    all->welcome.head = all->welcome.user_id = INT64_MIN;
    all->welcome.viewers = all->welcome.server_time = INT64_MIN;

    all->err.code = all->err.text = (char *) text;
}


/* the number of writers that need more than size */

static unsigned
proto_overflows(const proto_all_t *all, size_t size)
{
    unsigned        i, full;
    fcc_buf_t       b[7];
    unsigned char  *p[7];

    for (i = 0; i < PROTO_COUNT(b); i++) {
        p[i] = malloc(size);
        fcc_buf_init(&b[i], p[i], size);
    }

    fcc_proto_old_message(&b[0], &all->event, 1);
    fcc_proto_old_message(&b[1], &all->event, 0);
    fcc_proto_v1_message(&b[2], &all->event);
    fcc_proto_old_reaction(&b[3], &all->text, &all->stamp, 1);
    fcc_proto_old_error(&b[4], &all->err, &all->text, INT64_MAX);
    fcc_proto_v1_error(&b[5], &all->err, &all->text, INT64_MAX);
    fcc_proto_v1_welcome(&b[6], &all->welcome);

    full = 0;

    for (i = 0; i < PROTO_COUNT(b); i++) {
        full += b[i].full;
        free(p[i]);
    }

    return full;
}


static void
proto_test_expansion(void)
{
    unsigned       c, full;
    proto_all_t    all;
    unsigned char  text[257];

    full = 0;

    for (c = 1; c < 256; c++) {
        memset(text, c, 256);
        text[256] = '\0';

        proto_fill(&all, text, 256);
        full += proto_overflows(&all, FCC_PROTO_EXPANSION * 4 * 256
                                      + FCC_PROTO_OVERHEAD);
    }

    is_int(full, 0, "256 times each byte keeps to the bound");

    text[0] = '\0';
    proto_fill(&all, text, 0);
    is_int(proto_overflows(&all, FCC_PROTO_OVERHEAD), 0,
           "and so do the fixed parts");
    is_int(proto_overflows(&all, 60), 7, "which are not nothing");
}


static void
proto_test_overflow(void)
{
    size_t          size, need;
    unsigned        wrong;
    fcc_buf_t       b;
    fcc_event_t     e;
    unsigned char  *p;

    e = proto_event();
    need = 0;
    wrong = 0;

    for (size = 0; size < 400; size++) {
        p = malloc(size ? size : 1);
        fcc_buf_init(&b, p, size);
        fcc_proto_v1_message(&b, &e);

        if (!b.full && need == 0) {
            need = size;
        }

        wrong += b.full != (need == 0);
        wrong += !b.full && (size_t) (b.pos - b.start) != need;
        free(p);
    }

    ok(need > 100 && wrong == 0, "overflow is told, and nothing overrun");
}


int
main(void)
{
    proto_test_old_writers();
    proto_test_v1_writers();
    proto_test_times();
    proto_test_days();
    proto_test_numbers();
    proto_test_strings();
    proto_test_broken_text();
    proto_test_expansion();
    proto_test_overflow();

    return tap_done();
}
