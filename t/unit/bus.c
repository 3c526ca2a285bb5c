
/*
 * fcc_bus: what one worker writes another one reads, and what nobody should
 * have sent is refused.
 */


#include "tap.h"

#include <fcc_bus.h>


#define BUS_W  "0123456789abcdef"

#define BUS_SPENT  "{\"v\":1,\"w\":\"" BUS_W "\",\"t\":\"spent\","

#define BUS_COUNT(a)  (sizeof(a) / sizeof(a[0]))


static const fcc_str_t  bus_worker = fcc_string(BUS_W);
static const fcc_str_t  bus_epoch = fcc_string("5f0c-EPOCH_1");

static unsigned char  bus_out[200000];


static int
bus_read(fcc_bus_t *bus, const char *text, size_t len)
{
    int             rc;
    unsigned char  *p;

    /* jansson copies what it keeps, so the text may go at once */

    p = tap_copy(text, len);
    rc = fcc_bus_read(bus, p, len);
    free(p);

    return rc;
}


static fcc_str_t
bus_str(const char *s)
{
    fcc_str_t  str;

    str.data = (unsigned char *) s;
    str.len = strlen(s);

    return str;
}


static fcc_event_t
bus_event(void)
{
    fcc_event_t  e;

    memset(&e, 0, sizeof(e));

    e.seq = 42;
    e.id = 90123;
    e.user_id = 7;
    e.at = 1790000000123LL;
    e.username = bus_str("al\"ice");
    e.role = bus_str("member");
    e.type = bus_str("message");
    e.text = bus_str("<b>\xe3\x81\x93 & \\ \n");

    return e;
}


static void
bus_test_events(void)
{
    fcc_bus_t    bus;
    fcc_buf_t    b;
    fcc_event_t  e, got;

    e = bus_event();

    fcc_buf_init(&b, bus_out, sizeof(bus_out));
    fcc_bus_events_begin(&b, &bus_worker, &bus_epoch);
    fcc_bus_event_put(&b, &e, 1);
    e.seq = INT64_MAX;
    e.id = 0;
    e.user_id = 0;
    e.at = 1;
    e.username = bus_str("");
    fcc_bus_event_put(&b, &e, 0);
    fcc_bus_end(&b);

    is_int(b.full, 0, "it fits");
    is_str(b.start, b.pos - b.start,
           "{\"v\":1,\"w\":\"" BUS_W "\",\"t\":\"events\","
           "\"epoch\":\"5f0c-EPOCH_1\",\"events\":["
           "[42,90123,7,\"al\\u0022ice\",\"member\",\"message\","
           "\"\\u003cb\\u003e\xe3\x81\x93 \\u0026 \\u005c \\u000a\","
           "1790000000123],"
           "[9223372036854775807,0,0,\"\",\"member\",\"message\","
           "\"\\u003cb\\u003e\xe3\x81\x93 \\u0026 \\u005c \\u000a\",1]]}",
           "events as written");

    got.username = bus_worker;
    is_int(fcc_bus_own(b.start, b.pos - b.start, &got.username), 1,
           "known as our own");
    is_int(fcc_bus_own(b.start, 12 + got.username.len, &got.username), 0,
           "not when it is cut");
    got.username = bus_str("0000000000000000");
    is_int(fcc_bus_own(b.start, b.pos - b.start, &got.username), 0,
           "not somebody else's");
    is_int(fcc_bus_own((unsigned char *) "{}", 2, &got.username), 0,
           "nor what is none");

    is_int(bus_read(&bus, (char *) b.start, b.pos - b.start), FCC_OK,
           "events are read");
    is_int(bus.type, FCC_BUS_EVENTS, "type");
    is_int(bus.items, 2, "items");
    is_str(bus.worker.data, bus.worker.len, BUS_W, "worker");
    is_str(bus.epoch.data, bus.epoch.len, "5f0c-EPOCH_1", "epoch");

    e = bus_event();
    memset(&got, 0, sizeof(got));
    is_int(fcc_bus_event(&bus, 0, &got), FCC_OK, "first event");
    is_int(got.seq, e.seq, "seq");
    is_int(got.id, e.id, "id");
    is_int(got.user_id, e.user_id, "user_id");
    is_int(got.at, e.at, "at");
    is_mem(got.username.data, got.username.len, e.username.data,
           e.username.len, "username");
    is_mem(got.role.data, got.role.len, e.role.data, e.role.len, "role");
    is_mem(got.type.data, got.type.len, e.type.data, e.type.len, "type");
    is_mem(got.text.data, got.text.len, e.text.data, e.text.len, "text");

    is_int(fcc_bus_event(&bus, 1, &got), FCC_OK, "second event");
    is_int(got.seq, INT64_MAX, "the greatest seq");
    is_int(got.username.len, 0, "no name");

    is_int(fcc_bus_event(&bus, 2, &got), FCC_ERROR, "there is no third");
    is_int(fcc_bus_event(&bus, (size_t) -1, &got), FCC_ERROR, "nor a last");
    is_int(fcc_bus_reaction(&bus, 0, &(fcc_bus_reaction_t) { 0 }), FCC_ERROR,
           "an event is no reaction");

    fcc_bus_free(&bus);
}


static void
bus_test_reactions(void)
{
    fcc_bus_t           bus;
    fcc_buf_t           b;
    fcc_event_t         e;
    fcc_bus_reaction_t  r, got;

    r.user_id = 0;
    r.stamp_id = 0;
    r.username = bus_str("bob");

    fcc_buf_init(&b, bus_out, sizeof(bus_out));
    fcc_bus_reactions_begin(&b, &bus_worker);
    fcc_bus_reaction_put(&b, &r, 1);
    r.user_id = 7;
    r.stamp_id = 4;
    fcc_bus_reaction_put(&b, &r, 0);
    fcc_bus_end(&b);

    is_str(b.start, b.pos - b.start,
           "{\"v\":1,\"w\":\"" BUS_W "\",\"t\":\"reactions\",\"reactions\":["
           "[0,\"bob\",0],[7,\"bob\",4]]}", "reactions as written");

    is_int(bus_read(&bus, (char *) b.start, b.pos - b.start), FCC_OK,
           "reactions are read");
    is_int(bus.type, FCC_BUS_REACTIONS, "type");
    is_int(bus.items, 2, "items");
    is_int(fcc_bus_reaction(&bus, 0, &got), FCC_OK, "first reaction");
    is_int(got.user_id + got.stamp_id, 0, "the least numbers");
    is_int(fcc_bus_reaction(&bus, 1, &got), FCC_OK, "second reaction");
    is_int(got.user_id, 7, "user_id");
    is_int(got.stamp_id, 4, "stamp_id");
    is_str(got.username.data, got.username.len, "bob", "username");
    is_int(fcc_bus_reaction(&bus, 2, &got), FCC_ERROR, "there is no third");
    is_int(fcc_bus_event(&bus, 0, &e), FCC_ERROR, "a reaction is no event");

    fcc_bus_free(&bus);
}


static void
bus_test_numbers(void)
{
    fcc_bus_t  bus;
    fcc_buf_t  b;

    fcc_buf_init(&b, bus_out, sizeof(bus_out));
    fcc_bus_viewers(&b, &bus_worker, 12);
    is_str(b.start, b.pos - b.start,
           "{\"v\":1,\"w\":\"" BUS_W "\",\"t\":\"viewers\",\"count\":12}",
           "viewers as written");
    is_int(bus_read(&bus, (char *) b.start, b.pos - b.start), FCC_OK,
           "viewers are read");
    is_int(bus.type, FCC_BUS_VIEWERS, "type");
    is_int(bus.n, 12, "count");
    is_int(bus.items, 0, "no items");
    fcc_bus_free(&bus);

    fcc_buf_init(&b, bus_out, sizeof(bus_out));
    fcc_bus_beat(&b, &bus_worker, INT64_MAX);
    is_str(b.start, b.pos - b.start,
           "{\"v\":1,\"w\":\"" BUS_W "\",\"t\":\"beat\","
           "\"n\":9223372036854775807}", "a beat as written");
    is_int(bus_read(&bus, (char *) b.start, b.pos - b.start), FCC_OK,
           "a beat is read");
    is_int(bus.type, FCC_BUS_BEAT, "type");
    is_int(bus.n, INT64_MAX, "nonce");
    fcc_bus_free(&bus);
}


#define BUS_HEAD    "{\"v\":1,\"w\":\"" BUS_W "\","
#define BUS_EVENTS  BUS_HEAD "\"t\":\"events\",\"epoch\":\"e\",\"events\":"
#define BUS_REACT   BUS_HEAD "\"t\":\"reactions\",\"reactions\":"


static void
bus_test_envelopes(void)
{
    size_t     i;
    fcc_bus_t  bus;

    static const char  *good[] = {
        BUS_EVENTS "[]}",
        BUS_REACT "[]}",
        BUS_HEAD "\"t\":\"viewers\",\"count\":0}",
        BUS_HEAD "\"t\":\"viewers\",\"count\":9007199254740992}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"09azAZ-_\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":"
        "\"012345678901234567890123456789012345\",\"events\":[]}",
        BUS_HEAD "\"t\":\"beat\",\"n\":-1}",
        " { \"later\" : [ {} ], \"n\" : 1, \"t\" : \"beat\", \"w\" : \""
        BUS_W "\", \"v\" : 1 } ",
        BUS_HEAD "\"t\":\"beat\",\"n\":1,\"x\":\"a\\u0000b\"}"
    };

    static const char  *bad[] = {
        "", " ", "x", "null", "1", "\"v\"", "[]", "{}", "{",
        "[1,\"" BUS_W "\"]",
        BUS_HEAD "\"t\":\"beat\",\"n\":1",
        BUS_HEAD "\"t\":\"beat\",\"n\":1}x",
        BUS_HEAD "\"t\":\"beat\",\"n\":1}{}",
        BUS_HEAD "\"t\":\"beat\"}",
        BUS_HEAD "\"t\":\"beat\",\"n\":\"1\"}",
        BUS_HEAD "\"t\":\"beat\",\"n\":1.0}",
        BUS_HEAD "\"t\":\"beat\",\"n\":9223372036854775808}",
        BUS_HEAD "\"t\":\"beat\",\"n\":1,\"n\":1}",
        BUS_HEAD "\"t\":\"BEAT\",\"n\":1}",
        BUS_HEAD "\"t\":\"beat\\u0000\",\"n\":1}",
        BUS_HEAD "\"t\":\"other\",\"n\":1}",
        BUS_HEAD "\"t\":1,\"n\":1}",
        BUS_HEAD "\"n\":1}",
        BUS_HEAD "\"t\":\"viewers\",\"count\":-1}",
        BUS_HEAD "\"t\":\"viewers\",\"count\":9223372036854775807}",
        BUS_HEAD "\"t\":\"viewers\",\"n\":1}",
        "{\"v\":2,\"w\":\"" BUS_W "\",\"t\":\"beat\",\"n\":1}",
        "{\"v\":\"1\",\"w\":\"" BUS_W "\",\"t\":\"beat\",\"n\":1}",
        "{\"w\":\"" BUS_W "\",\"t\":\"beat\",\"n\":1}",
        "{\"v\":1,\"t\":\"beat\",\"n\":1}",
        "{\"v\":1,\"w\":\"\",\"t\":\"beat\",\"n\":1}",
        "{\"v\":1,\"w\":\"0123456789abcde\",\"t\":\"beat\",\"n\":1}",
        "{\"v\":1,\"w\":\"0123456789abcdef0\",\"t\":\"beat\",\"n\":1}",
        "{\"v\":1,\"w\":\"0123456789abcdeg\",\"t\":\"beat\",\"n\":1}",
        "{\"v\":1,\"w\":\"0123456789ABCDEF\",\"t\":\"beat\",\"n\":1}",
        "{\"v\":1,\"w\":123,\"t\":\"beat\",\"n\":1}",
        BUS_EVENTS "{}}", BUS_EVENTS "null}", BUS_EVENTS "\"x\"}",
        BUS_EVENTS "[[[[]]]]}",
        BUS_EVENTS "[\"\\ud800\"]}",
        BUS_EVENTS "[\"\xff\"]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"e\"}",
        BUS_HEAD "\"t\":\"events\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":1,\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"a:1\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"a/\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"a@\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"a[\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"a`\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"a{\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":\"a\\u0000\",\"events\":[]}",
        BUS_HEAD "\"t\":\"events\",\"epoch\":"
        "\"0123456789012345678901234567890123456\",\"events\":[]}"
    };

    for (i = 0; i < BUS_COUNT(good); i++) {
        if (is_int(bus_read(&bus, good[i], strlen(good[i])), FCC_OK,
                   good[i]))
        {
            fcc_bus_free(&bus);
        }
    }

    for (i = 0; i < BUS_COUNT(bad); i++) {
        is_int(bus_read(&bus, bad[i], strlen(bad[i])), FCC_ERROR, bad[i]);
        ok(bus.root == NULL && bus.items == 0, "nothing is left");
    }
}


static void
bus_test_items(void)
{
    size_t              i;
    fcc_bus_t           bus;
    fcc_event_t         e;
    fcc_bus_reaction_t  r;

    static const char  good_event[] =
        BUS_EVENTS "[[1,0,0,\"\",\"\",\"\",\"\",1]]}";

    static const char  *events[] = {
        "1", "null", "{}", "\"12345678\"", "[]",
        "[1,0,0,\"\",\"\",\"\",\"\"]",
        "[1,0,0,\"\",\"\",\"\",\"\",1,1]",
        "[0,0,0,\"\",\"\",\"\",\"\",1]",
        "[-1,0,0,\"\",\"\",\"\",\"\",1]",
        "[1,-1,0,\"\",\"\",\"\",\"\",1]",
        "[1,0,-1,\"\",\"\",\"\",\"\",1]",
        "[1,0,0,\"\",\"\",\"\",\"\",0]",
        "[1.0,0,0,\"\",\"\",\"\",\"\",1]",
        "[\"1\",0,0,\"\",\"\",\"\",\"\",1]",
        "[1,null,0,\"\",\"\",\"\",\"\",1]",
        "[1,0,true,\"\",\"\",\"\",\"\",1]",
        "[1,0,0,null,\"\",\"\",\"\",1]",
        "[1,0,0,\"\",1,\"\",\"\",1]",
        "[1,0,0,\"\",\"\",[],\"\",1]",
        "[1,0,0,\"\",\"\",\"\",{},1]",
        "[1,0,0,\"\",\"\",\"\",\"a\\u0000\",1]",
        "[1,0,0,\"\\u0000\",\"\",\"\",\"\",1]"
    };

    static const char  *reactions[] = {
        "1", "[]", "[1,\"a\"]", "[1,\"a\",1,1]", "[-1,\"a\",1]",
        "[1,\"a\",-1]", "[1,1,1]", "[1,\"a\",\"1\"]", "[1.5,\"a\",1]",
        "[1,\"\\u0000\",1]"
    };

    static char  text[4096];

    is_int(bus_read(&bus, good_event, sizeof(good_event) - 1), FCC_OK,
           "the least event");
    is_int(fcc_bus_event(&bus, 0, &e), FCC_OK, "is one");
    fcc_bus_free(&bus);

    for (i = 0; i < BUS_COUNT(events); i++) {
        sprintf(text, BUS_EVENTS "[%s]}", events[i]);

        if (is_int(bus_read(&bus, text, strlen(text)), FCC_OK, events[i])) {
            is_int(fcc_bus_event(&bus, 0, &e), FCC_ERROR, "is no event");
            fcc_bus_free(&bus);
        }
    }

    for (i = 0; i < BUS_COUNT(reactions); i++) {
        sprintf(text, BUS_REACT "[%s]}", reactions[i]);

        if (is_int(bus_read(&bus, text, strlen(text)), FCC_OK,
                   reactions[i]))
        {
            is_int(fcc_bus_reaction(&bus, 0, &r), FCC_ERROR,
                   "is no reaction");
            fcc_bus_free(&bus);
        }
    }
}


static void
bus_test_bounds(void)
{
    char       *text;
    size_t      i, len;
    fcc_bus_t   bus;

    text = malloc(FCC_BUS_SIZE_MAX + 2);

    len = sprintf(text, BUS_REACT "[1");

    for (i = 1; i < FCC_BUS_ITEMS_MAX; i++) {
        len += sprintf(text + len, ",1");
    }

    len += sprintf(text + len, "]}");
    is_int(bus_read(&bus, text, len), FCC_OK, "512 items");
    fcc_bus_free(&bus);

    len += sprintf(text + len - 2, ",1]}") - 2;
    is_int(bus_read(&bus, text, len), FCC_ERROR, "513 items");

    memset(text, ' ', FCC_BUS_SIZE_MAX + 1);
    len = sprintf(text, BUS_HEAD "\"t\":\"beat\",\"n\":1}");
    text[len] = ' ';
    is_int(bus_read(&bus, text, FCC_BUS_SIZE_MAX), FCC_OK,
           "the greatest size");
    fcc_bus_free(&bus);
    is_int(bus_read(&bus, text, FCC_BUS_SIZE_MAX + 1), FCC_ERROR,
           "one more byte");

    memset(text, '[', 100000);
    is_int(bus_read(&bus, text, 100000), FCC_ERROR, "a depth of 10^5");

    memset(text, '"', 100000);
    is_int(bus_read(&bus, text, 100000), FCC_ERROR, "quotes only");

    memset(text, '\\', 100000);
    text[0] = '"';
    is_int(bus_read(&bus, text, 100000), FCC_ERROR, "backslashes only");

    free(text);
}


/* overflow at each size, and the bound that the header promises */

static void
bus_test_overflow(void)
{
    size_t         size, need, texts, i;
    unsigned       wrong;
    fcc_buf_t      b;
    fcc_event_t    e;
    unsigned char  worst[256], *p;

    e = bus_event();
    need = 0;
    wrong = 0;

    for (size = 0; size < 400; size++) {
        p = malloc(size ? size : 1);

        fcc_buf_init(&b, p, size);
        fcc_bus_events_begin(&b, &bus_worker, &bus_epoch);
        fcc_bus_event_put(&b, &e, 1);
        fcc_bus_end(&b);

        if (!b.full && need == 0) {
            need = size;
        }

        wrong += b.full != (need == 0);
        wrong += !b.full && (size_t) (b.pos - b.start) != need;

        free(p);
    }

    ok(need > 100 && wrong == 0, "overflow is told");

    memset(worst, 0x01, sizeof(worst));

    e.seq = e.id = e.user_id = INT64_MAX;
    e.at = INT64_MAX;
    texts = 0;

    for (i = 0; i < 4; i++) {
        (&e.username)[i].data = worst;
        (&e.username)[i].len = sizeof(worst);
        texts += sizeof(worst);
    }

    size = FCC_PROTO_EXPANSION * texts + FCC_PROTO_OVERHEAD;
    p = malloc(size);
    fcc_buf_init(&b, p, size);
    fcc_bus_event_put(&b, &e, 0);
    is_int(b.full, 0, "an event keeps to its bound");
    free(p);
}


static void
bus_test_rights(void)
{
    size_t            i;
    fcc_buf_t         b;
    fcc_str_t         tenant;
    unsigned char    *p;
    fcc_bus_rights_t  r;

    static const char  *const bad[] = {
        "", "{", "[]", "7", "{}", "{\"user\":7}", "{\"tenant\":\"a\"}",
        "{\"tenant\":\"\",\"user\":7}", "{\"tenant\":7,\"user\":7}",
        "{\"tenant\":\"a\\u0000\",\"user\":7}",
        "{\"tenant\":\"a\",\"user\":0}", "{\"tenant\":\"a\",\"user\":-7}",
        "{\"tenant\":\"a\",\"user\":7.0}", "{\"tenant\":\"a\",\"user\":\"7\"}",
        "{\"tenant\":\"a\",\"session\":\"short\"}",
        "{\"tenant\":\"a\",\"session\":\"ABCDEFGHIJ\"}",
        "{\"tenant\":\"a\",\"session\":7}",
        "{\"tenant\":\"0123456789012345678901234567890123456789"
        "012345678901234567890123\",\"user\":7}"
    };

    tenant = bus_str("a\"b");
    fcc_buf_init(&b, bus_out, sizeof(bus_out));
    fcc_bus_rights(&b, &tenant, 7);

    is_int(fcc_bus_rights_read(&r, b.start, b.pos - b.start), FCC_OK,
           "what is written is read");
    is_str(r.tenant.data, r.tenant.len, "a\"b", "its tenant");
    is_int(r.user, 7, "its user");
    fcc_bus_rights_free(&r);

    p = tap_copy("{\"x\":[1],\"tenant\":\"t\",\"session\":\"abcdefgh\"}", 43);
    is_int(fcc_bus_rights_read(&r, p, 43), FCC_OK, "a session");
    free(p);
    is_int(r.user, 0, "no user");
    is_str(r.session.data, r.session.len, "abcdefgh", "its key");
    fcc_bus_rights_free(&r);

    for (i = 0; i < BUS_COUNT(bad); i++) {
        p = tap_copy(bad[i], strlen(bad[i]));
        is_int(fcc_bus_rights_read(&r, p, strlen(bad[i])), FCC_ERROR, bad[i]);
        free(p);
    }

    p = malloc(FCC_BUS_RIGHTS_MAX + 1);
    memset(p, ' ', FCC_BUS_RIGHTS_MAX + 1);
    memcpy(p, "{\"tenant\":\"a\",\"user\":7}", 23);
    is_int(fcc_bus_rights_read(&r, p, FCC_BUS_RIGHTS_MAX + 1), FCC_ERROR,
           "a long one");
    is_int(fcc_bus_rights_read(&r, p, FCC_BUS_RIGHTS_MAX), FCC_OK,
           "not too long");
    fcc_bus_rights_free(&r);
    free(p);
}


static void
bus_test_spent(void)
{
    size_t            i;
    fcc_buf_t         b;
    fcc_bus_t         bus;
    fcc_bus_spent_t   s;

    static const char  *const bad[] = {
        "[]", "7", "[\"a\",1,0,1,0]", "[\"a\",1,0,1,0,0,0]",
        "[\"\",1,0,1,0,0]", "[7,1,0,1,0,0]", "[\"a\",0,0,1,0,0]",
        "[\"a\",1,3,1,0,0]", "[\"a\",1,-1,1,0,0]", "[\"a\",1,0,-1,0,0]",
        "[\"a\",1,0,3600000001000,0,0]", "[\"a\",1,0,1,\"0\",0]",
        "[\"a\",1,0,1,0,null]"
    };

    static const char  *const heads[] = {
        "\"n\":1", "\"node\":1", "\"node\":0,\"n\":1",
        "\"node\":1,\"n\":0", "\"node\":9007199254740993,\"n\":1"
    };

    s.schema = bus_str("local");
    s.user_id = 7;
    s.kind = 1;
    s.cost = 200000;
    s.text = INT64_MIN;
    s.cid = INT64_MAX;

    fcc_buf_init(&b, bus_out, sizeof(bus_out));
    fcc_bus_spent_begin(&b, &bus_worker, 12, 3);
    fcc_bus_spent_put(&b, &s, 1);
    fcc_bus_spent_put(&b, &s, 0);
    fcc_bus_end(&b);

    memset(&s, 0, sizeof(s));

    is_int(fcc_bus_read(&bus, b.start, b.pos - b.start), FCC_OK, "spent");
    is_int(bus.type, FCC_BUS_SPENT, "type");
    is_int(bus.node, 12, "node");
    is_int(bus.n, 3, "which");
    is_int(bus.items, 2, "items");
    is_int(fcc_bus_spent(&bus, 1, &s), FCC_OK, "an item");
    is_str(s.schema.data, s.schema.len, "local", "its schema");
    is_int(s.user_id, 7, "its user");
    is_int(s.kind, 1, "its kind");
    is_int(s.cost, 200000, "its cost");
    is_int(s.text, INT64_MIN, "its text");
    is_int(s.cid, INT64_MAX, "its cid");
    is_int(fcc_bus_spent(&bus, 2, &s), FCC_ERROR, "no third one");
    fcc_bus_free(&bus);

    for (i = 0; i < BUS_COUNT(bad); i++) {
        b.pos = b.start + sprintf((char *) b.start, BUS_SPENT
                                  "\"node\":1,\"n\":1,\"spent\":[%s]}", bad[i]);
        is_int(fcc_bus_read(&bus, b.start, b.pos - b.start), FCC_OK, bad[i]);
        is_int(fcc_bus_spent(&bus, 0, &s), FCC_ERROR, "is none");
        fcc_bus_free(&bus);
    }

    for (i = 0; i < BUS_COUNT(heads); i++) {
        b.pos = b.start + sprintf((char *) b.start,
                                  BUS_SPENT "%s,\"spent\":[]}", heads[i]);
        is_int(fcc_bus_read(&bus, b.start, b.pos - b.start), FCC_ERROR,
               heads[i]);
    }
}


static void
bus_test_present(void)
{
    size_t             i;
    fcc_buf_t          b;
    fcc_bus_t          bus;
    fcc_bus_present_t  p;

    static const char  *const bad[] = {
        "7", "[]", "[1,\"a\",\"b\",0]", "[1,\"a\",\"b\",0,0,0]",
        "[0,\"a\",\"b\",0,0]", "[1,7,\"b\",0,0]", "[1,\"a\",7,0,0]",
        "[1,\"a\",\"b\",-1,0]", "[1,\"a\",\"b\",0,-1]",
        "[1,\"a\",\"b\",0,9007199254740993]", "[1,\"\\u0000\",\"b\",0,0]"
    };

    p.user_id = 7;
    p.username = bus_str("al<ce");
    p.role = bus_str("member");
    p.since = 5000;
    p.seen = 12;

    fcc_buf_init(&b, bus_out, sizeof(bus_out));
    fcc_bus_present_begin(&b, &bus_worker);
    fcc_bus_present_put(&b, &p, 1);
    fcc_bus_present_put(&b, &p, 0);
    fcc_bus_end(&b);

    memset(&p, 0, sizeof(p));

    is_int(fcc_bus_read(&bus, b.start, b.pos - b.start), FCC_OK, "present");
    is_int(bus.type, FCC_BUS_PRESENT, "type");
    is_int(bus.items, 2, "items");
    is_int(fcc_bus_present(&bus, 1, &p), FCC_OK, "an item");
    is_int(p.user_id, 7, "its user");
    is_str(p.username.data, p.username.len, "al<ce", "its name");
    is_str(p.role.data, p.role.len, "member", "its role");
    is_int(p.since, 5000, "since");
    is_int(p.seen, 12, "seen");
    is_int(fcc_bus_present(&bus, 2, &p), FCC_ERROR, "no third one");
    fcc_bus_free(&bus);

    for (i = 0; i < BUS_COUNT(bad); i++) {
        b.pos = b.start + sprintf((char *) b.start, "{\"v\":1,\"w\":\"" BUS_W
                                  "\",\"t\":\"present\",\"users\":[%s]}",
                                  bad[i]);
        is_int(fcc_bus_read(&bus, b.start, b.pos - b.start), FCC_OK, bad[i]);
        is_int(fcc_bus_present(&bus, 0, &p), FCC_ERROR, "is none");
        fcc_bus_free(&bus);
    }
}


int
main(void)
{
    bus_test_events();
    bus_test_reactions();
    bus_test_numbers();
    bus_test_envelopes();
    bus_test_items();
    bus_test_bounds();
    bus_test_overflow();
    bus_test_rights();
    bus_test_spent();
    bus_test_present();

    return tap_done();
}
