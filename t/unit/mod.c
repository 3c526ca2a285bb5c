
/*
 * fcc_mod: what a moderator may ask for, and what an event tells of it.
 */


#include "tap.h"

#include <fcc_proto.h>


#define MOD_COUNT(a)  (sizeof(a) / sizeof(a[0]))


static unsigned char  mod_out[4096];


static fcc_str_t
mod_str(const char *s)
{
    fcc_str_t  str;

    str.data = (unsigned char *) s;
    str.len = strlen(s);

    return str;
}


static int
mod_ask(fcc_cmd_t *cmd, const char *text, fcc_proto_error_t *err)
{
    int             rc;
    unsigned char  *p;

    memset(err, 0, sizeof(*err));

    p = tap_copy(text, strlen(text));
    rc = fcc_proto_parse(FCC_PROTO_V1, p, strlen(text), 500, cmd, err);
    free(p);

    return rc;
}


static void
mod_test_commands(void)
{
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;

    is_int(mod_ask(&cmd, "{\"type\":\"delete\",\"id\":7,\"reason\":\"spam\","
                         "\"cid\":\"c1\"}", &err), FCC_OK, "delete");
    is_int(cmd.type, FCC_CMD_MODERATE, "is moderation");
    is_int(cmd.mod.action, FCC_MOD_DELETE, "of that kind");
    is_int(cmd.mod.id, 7, "the message");
    is_int(cmd.mod.seq, 0, "by its id");
    is_int(cmd.mod.seconds, -1, "no time");
    is_str(cmd.mod.reason.data, cmd.mod.reason.len, "spam", "the reason");
    is_str(cmd.cid.data, cmd.cid.len, "c1", "the cid");
    fcc_cmd_free(&cmd);

    is_int(mod_ask(&cmd, "{\"type\":\"pin\",\"seq\":42,\"until\":17}", &err),
           FCC_OK, "pin");
    is_int(cmd.mod.action, FCC_MOD_PIN, "of that kind");
    is_int(cmd.mod.seq, 42, "by its number");
    is_int(cmd.mod.until, 17, "until");
    fcc_cmd_free(&cmd);

    is_int(mod_ask(&cmd, "{\"type\":\"ban\",\"username\":\"bob\","
                         "\"seconds\":60,\"scope\":\"tenant\","
                         "\"reason\":null}", &err), FCC_OK, "ban");
    is_int(cmd.mod.action, FCC_MOD_BAN, "of that kind");
    is_str(cmd.mod.username.data, cmd.mod.username.len, "bob", "whom");
    is_int(cmd.mod.seconds, 60, "for how long");
    is_int(cmd.mod.tenant, 1, "everywhere");
    fcc_cmd_free(&cmd);

    is_int(mod_ask(&cmd, "{\"type\":\"unban\",\"user_id\":7,"
                         "\"scope\":\"room\"}", &err), FCC_OK, "unban");
    is_int(cmd.mod.action, FCC_MOD_UNBAN, "of that kind");
    is_int(cmd.mod.tenant, 0, "in the room");
    is_str((unsigned char *) fcc_mod_name(cmd.mod.action),
           strlen(fcc_mod_name(cmd.mod.action)), "unban", "and its name");
    fcc_cmd_free(&cmd);

    is_int(mod_ask(&cmd, "{\"type\":\"unpin\",\"id\":7}", &err), FCC_OK,
           "unpin");
    is_int(cmd.mod.action, FCC_MOD_UNPIN, "of that kind");
    fcc_cmd_free(&cmd);

    is_int(mod_ask(&cmd, "{\"type\":\"slow\",\"seconds\":0}", &err), FCC_OK,
           "slow");
    is_int(cmd.mod.seconds, 0, "no more");
    fcc_cmd_free(&cmd);
}


static void
mod_test_refused(void)
{
    size_t             i;
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;

    static const char  *bad[] = {
        "{\"type\":\"delete\"}",
        "{\"type\":\"delete\",\"id\":0}",
        "{\"type\":\"delete\",\"id\":1,\"seq\":1}",
        "{\"type\":\"delete\",\"id\":\"1\"}",
        "{\"type\":\"delete\",\"id\":1.5}",
        "{\"type\":\"delete\",\"id\":1,\"scope\":\"tenant\"}",
        "{\"type\":\"delete\",\"id\":1,\"reason\":1}",
        "{\"type\":\"delete\",\"id\":1,\"reason\":\"\\u0000\"}",
        "{\"type\":\"pin\",\"id\":1,\"seconds\":-1}",
        "{\"type\":\"pin\",\"id\":1,\"seconds\":3153600001}",
        "{\"type\":\"pin\",\"id\":1,\"seconds\":0}",
        "{\"type\":\"pin\",\"id\":1,\"until\":0}",
        "{\"type\":\"ban\"}",
        "{\"type\":\"ban\",\"username\":\"\"}",
        "{\"type\":\"ban\",\"username\":1}",
        "{\"type\":\"ban\",\"address\":1}",
        "{\"type\":\"ban\",\"user_id\":1,\"role\":1}",
        "{\"type\":\"ban\",\"user_id\":1,\"seconds\":0}",
        "{\"type\":\"delete\",\"seq\":\"1\"}",
        "{\"type\":\"pin\",\"id\":1,\"at\":\"1\"}",
        "{\"type\":\"unpin\"}",
        "{\"type\":\"ban\",\"username\":\"a\",\"user_id\":1}",
        "{\"type\":\"ban\",\"user_id\":1,\"address\":\"1.2.3.4\"}",
        "{\"type\":\"ban\",\"user_id\":1,\"scope\":\"world\"}",
        "{\"type\":\"ban\",\"user_id\":1,\"scope\":1}",
        "{\"type\":\"timeout\",\"user_id\":1}",
        "{\"type\":\"timeout\",\"user_id\":1,\"seconds\":0}",
        "{\"type\":\"timeout\",\"address\":\"1.2.3.4\",\"seconds\":1}",
        "{\"type\":\"unban\"}",
        "{\"type\":\"slow\"}",
        "{\"type\":\"slow\",\"seconds\":-1}",
        "{\"type\":\"slow\",\"seconds\":86401}",
        "{\"type\":\"slow\",\"seconds\":1,\"scope\":\"tenant\"}"
    };

    for (i = 0; i < MOD_COUNT(bad); i++) {
        is_int(mod_ask(&cmd, bad[i], &err), FCC_ERROR, bad[i]);
        is_str(err.code, strlen(err.code), "bad_request", "bad request");
        ok(err.text[0] != '\0', "and why");
        fcc_cmd_free(&cmd);
    }

    is_int(mod_ask(&cmd, "{\"type\":\"state\"}", &err), FCC_ERROR, "state");
    is_str(err.code, strlen(err.code), "unknown_type", "can't be asked for");
    fcc_cmd_free(&cmd);

    is_int(fcc_proto_parse(FCC_PROTO_OLD,
                           (unsigned char *) "{\"type\":\"delete\",\"id\":1}",
                           24, 500, &cmd, &err), FCC_ERROR, "an old page");
    is_str(err.code, strlen(err.code), "unknown_type", "knows none of it");
    fcc_cmd_free(&cmd);
}


static void
mod_test_read(void)
{
    void               *root;
    fcc_mod_t           mod;
    fcc_str_t           action;
    fcc_proto_error_t   err;

    action = mod_str("ban");

    is_int(fcc_proto_moderation_read(&mod, &action,
                                     (unsigned char *) "{\"user_id\":3}", 13,
                                     &root, &err), FCC_OK, "a body");
    is_int(mod.user_id, 3, "whom");
    fcc_mod_free(root);

    is_int(fcc_proto_moderation_read(&mod, &action, (unsigned char *) "[3]", 3,
                                     &root, &err), FCC_ERROR, "no object");
    is_str(err.code, strlen(err.code), "bad_json", "is no JSON for us");
    fcc_mod_free(root);

    action = mod_str("state");

    is_int(fcc_proto_moderation_read(&mod, &action, (unsigned char *) "{}", 2,
                                     &root, &err), FCC_ERROR, "no action");
    fcc_mod_free(root);
}


static void
mod_wrote(const char *type, const char *detail, const char *v1,
    const char *old)
{
    fcc_buf_t    b;
    fcc_event_t  e;

    memset(&e, 0, sizeof(e));

    e.seq = 50;
    e.at = 1795428000123LL;
    e.user_id = 3;
    e.username = mod_str("m<d");
    e.role = mod_str("owner");
    e.text = mod_str("hi");
    e.type = mod_str(type);
    e.detail = mod_str(detail);

    fcc_buf_init(&b, mod_out, fcc_event_size(&e));
    fcc_proto_v1_moderation(&b, &e);
    ok(!b.full, "fits");
    is_str(b.start, b.pos - b.start, v1, type);

    fcc_buf_init(&b, mod_out, fcc_event_size(&e));
    fcc_proto_old_moderation(&b, &e, 1);
    ok(!b.full, "fits");
    is_str(b.start, b.pos - b.start, old, "for an old page");
}


#define MOD_V1(action, rest)                                                  \
    "{\"type\":\"moderation\",\"seq\":50,\"action\":\"" action "\",\"by\":"    \
    "{\"id\":3,\"username\":\"m\\u003cd\",\"role\":\"owner\"}" rest            \
    ",\"at\":\"2026-11-23T10:00:00.123Z\"}"

#define MOD_OLD(text)                                                         \
    "{\"username\":\"m\\u0026lt;d\",\"message\":\"" text "\","                 \
    "\"message_type\":\"moderation\",\"timestamp\":null}"


static void
mod_test_events(void)
{
    void       *root;
    fcc_mod_t   mod;
    fcc_str_t   type, detail;

    mod_wrote("delete", "{\"id\":9,\"seq\":42,\"user_id\":7,"
              "\"username\":\"al\",\"reason\":\"spam\"}",
              MOD_V1("delete", ",\"target\":{\"seq\":42,\"id\":9,\"user\":"
                     "{\"id\":7,\"username\":\"al\"}},\"reason\":\"spam\""),
              MOD_OLD("メッセージが削除されました。"));
    mod_wrote("pin", "{\"id\":9,\"until\":1790000000000}",
              MOD_V1("pin", ",\"target\":{\"seq\":null,\"id\":9,\"user\":null,"
                     "\"text\":\"hi\"},\"until\":1790000000000"),
              MOD_OLD("メッセージがピン留めされました。"));
    mod_wrote("unpin", "{\"id\":9,\"seq\":42}",
              MOD_V1("unpin", ",\"target\":{\"seq\":42,\"id\":9,"
                     "\"user\":null}"),
              MOD_OLD("ピン留めが解除されました。"));
    mod_wrote("ban", "{\"user_id\":7,\"username\":\"<al>\"}",
              MOD_V1("ban", ",\"target\":{\"user\":{\"id\":7,\"username\":"
                     "\"\\u003cal\\u003e\"}},\"until\":null"),
              MOD_OLD("\\u0026lt;al\\u0026gt; "
                      "さんはこのチャットに参加できなくなりました。"));
    mod_wrote("timeout", "{\"user_id\":7,\"username\":\"al\",\"seconds\":60,"
              "\"until\":9}",
              MOD_V1("timeout", ",\"target\":{\"user\":{\"id\":7,\"username\":"
                     "\"al\"}},\"until\":9"),
              MOD_OLD("al さんは 60 秒間発言できません。"));
    mod_wrote("unban", "{\"user_id\":7,\"username\":\"al\"}",
              MOD_V1("unban", ",\"target\":{\"user\":{\"id\":7,\"username\":"
                     "\"al\"}}"),
              MOD_OLD("al さんの制限が解除されました。"));
    mod_wrote("ban", "{\"address\":\"10.0.0.0/8\"}",
              MOD_V1("ban", ",\"target\":{\"user\":null},\"until\":null"), "");
    mod_wrote("slow", "{\"seconds\":10}",
              MOD_V1("slow", ",\"modes\":{\"slow\":10}"),
              MOD_OLD("低速モード: 発言は 10 秒に 1 回までです。"));
    mod_wrote("slow", "{\"seconds\":0}",
              MOD_V1("slow", ",\"modes\":{\"slow\":0}"),
              MOD_OLD("低速モードが解除されました。"));
    mod_wrote("state", "{}", MOD_V1("state", ""), "");
    mod_wrote("ban", "[", MOD_V1("ban", ""), "");
    mod_wrote("else", "{}", MOD_V1("else", ""), "");

    type = mod_str("ban");
    detail = mod_str("{\"user_id\":-1}");
    is_int(fcc_mod_read(&mod, &type, &detail, &root), FCC_ERROR,
           "not what the database writes");

    type = mod_str("state");
    detail = mod_str("{}");
    is_int(fcc_mod_read(&mod, &type, &detail, &root), FCC_OK, "state");
    is_int(mod.action, FCC_MOD_STATE, "is an event");
    fcc_mod_free(root);
}


static void
mod_test_pin(void)
{
    fcc_buf_t    b;
    fcc_event_t  e;

    memset(&e, 0, sizeof(e));

    e.seq = 1;
    e.type = mod_str("message");
    e.text = mod_str("hi");

    fcc_buf_init(&b, mod_out, sizeof(mod_out));
    fcc_proto_v1_pin(&b, &e, 0);
    fcc_proto_v1_pin(&b, &e, 5);
    is_str(b.start, b.pos - b.start,
           "{\"type\":\"message\",\"seq\":1,\"id\":null,\"user\":null,"
           "\"text\":\"hi\",\"at\":\"1970-01-01T00:00:00.000Z\","
           "\"until\":null}"
           "{\"type\":\"message\",\"seq\":1,\"id\":null,\"user\":null,"
           "\"text\":\"hi\",\"at\":\"1970-01-01T00:00:00.000Z\",\"until\":5}",
           "pins");

    fcc_buf_init(&b, mod_out, 20);
    fcc_proto_v1_pin(&b, &e, 5);
    ok(b.full, "no room for one");
}


static void
mod_test_entry(void)
{
    fcc_buf_t    b;
    fcc_event_t  e;

    memset(&e, 0, sizeof(e));

    e.id = 5;
    e.user_id = 3;
    e.username = mod_str("mod");
    e.role = mod_str("owner");
    e.type = mod_str("ban");
    e.detail = mod_str("{\"address\":\"10.0.0.0/8\",\"until\":9}");

    fcc_buf_init(&b, mod_out, fcc_event_size(&e));
    fcc_proto_entry(&b, &e);
    ok(!b.full, "fits");
    is_str(b.start, b.pos - b.start,
           "{\"id\":5,\"action\":\"ban\",\"by\":{\"id\":3,"
           "\"username\":\"mod\",\"role\":\"owner\"},"
           "\"target\":{\"user\":null,\"address\":\"10.0.0.0/8\"},"
           "\"until\":9,\"at\":\"1970-01-01T00:00:00.000Z\"}",
           "a ban with its address");

    e.seq = 7;
    e.user_id = 0;
    e.type = mod_str("pin");
    e.text = mod_str("not told");
    e.detail = mod_str("{\"id\":9,\"seq\":4}");

    fcc_buf_init(&b, mod_out, fcc_event_size(&e));
    fcc_proto_entry(&b, &e);
    ok(!b.full, "fits");
    is_str(b.start, b.pos - b.start,
           "{\"id\":5,\"seq\":7,\"action\":\"pin\",\"by\":null,"
           "\"target\":{\"seq\":4,\"id\":9,\"user\":null},"
           "\"until\":null,\"at\":\"1970-01-01T00:00:00.000Z\"}",
           "a row of the audit");
}


int
main(void)
{
    mod_test_commands();
    mod_test_refused();
    mod_test_read();
    mod_test_events();
    mod_test_pin();
    mod_test_entry();

    return tap_done();
}
