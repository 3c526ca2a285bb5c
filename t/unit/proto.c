
/*
 * fcc_proto_parse(): what clients may say, and what they get told for the rest.
 */


#include "tap.h"

#include <fcc_proto.h>


#define PROTO_COUNT(a)  (sizeof(a) / sizeof(a[0]))
#define PROTO_MAX       10      /* code points of a message, in these tests */

#define TEN             "\xe3\x81\x93\xe3\x82\x93\xe3\x81\xab\xe3\x81\xa1"     \
                        "\xe3\x81\xaf\xf0\x9f\x98\x80" "four"


static int
proto_parse(fcc_proto_e proto, const char *text, size_t len, fcc_cmd_t *cmd,
    fcc_proto_error_t *err)
{
    int             rc;
    unsigned char  *p;

    memset(cmd, 0xa5, sizeof(*cmd));
    memset(err, 0, sizeof(*err));

    p = tap_copy(text, len);
    rc = fcc_proto_parse(proto, p, len, PROTO_MAX, cmd, err);
    free(p);

    return rc;
}


static void
proto_refused(fcc_proto_e proto, const char *text, size_t len,
    const char *code, const char *cid, const char *name)
{
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;

    if (is_int(proto_parse(proto, text, len, &cmd, &err), FCC_ERROR, name)) {
        is_str(err.code, strlen(err.code), code, name);
        ok(err.text != NULL && err.text[0] != '\0', "and in English");
        is_str(cmd.cid.data, cmd.cid.len, cid, "about");
    }

    fcc_cmd_free(&cmd);
    ok(cmd.root == NULL && cmd.cid.len == 0, "freed");
}


static void
proto_test_messages(void)
{
    size_t             i;
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;

    static const struct {
        fcc_proto_e  proto;
        const char  *json;
        const char  *text;
        const char  *cid;
    } cases[] = {
        { FCC_PROTO_OLD, "{\"message\":\"hi\"}", "hi", "" },
        { FCC_PROTO_OLD, " { \"message\" : \"hi\" } \r\n", "hi", "" },
        { FCC_PROTO_OLD, "{\"message\":\"" TEN "\"}", TEN, "" },
        { FCC_PROTO_OLD, "{\"message\":\"\\u3053\\ud83d\\ude00\"}",
          "\xe3\x81\x93\xf0\x9f\x98\x80", "" },
        { FCC_PROTO_OLD, "{\"type\":\"message\",\"message\":\"hi\"}", "hi",
          "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"cid\":\"c1\"}", "hi", "c1" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"text\":1,\"x\":1.5}", "hi",
          "" },
        { FCC_PROTO_OLD, "{\"message\":\" hi \"}", " hi ", "" },
        { FCC_PROTO_OLD, "{\"message\":\"<b>&\\\"'\\\\\"}", "<b>&\"'\\", "" },
        { FCC_PROTO_OLD, "{\"message\":\"\\ufffe\"}", "\xef\xbf\xbe", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"x\":[[[[[[[]]]]]]]}", "hi",
          "" },
        { FCC_PROTO_OLD, "{\"message\":\"[[[[[[[[[\"}", "[[[[[[[[[", "" },
        { FCC_PROTO_OLD, "{\"message\":\"\\\"[[[{{{\"}", "\"[[[{{{", "" },
        { FCC_PROTO_OLD, "{\"message\":\"x\",\"y\":\"\\\\\"}", "x", "" },
        { FCC_PROTO_OLD, "{\"message\":\"x\",\"y\":\"a\\u0000b\"}", "x", "" },
        { FCC_PROTO_OLD, "{\"message\":\"x\",\"y\":-0,\"z\":1e300}", "x",
          "" },
        { FCC_PROTO_OLD, "{\"message\":\"\xe2\x80\x8bx\"}",
          "\xe2\x80\x8bx", "" },
        { FCC_PROTO_V1, "{\"type\":\"message\",\"text\":\"hi\"}", "hi", "" },
        { FCC_PROTO_PUBLISH, "{\"text\":\"hi\",\"cid\":\"c\"}", "hi", "c" },
        { FCC_PROTO_PUBLISH, "{\"text\":\"hi\",\"type\":\"message\"}", "hi",
          "" },
        { FCC_PROTO_V1,
          "{\"type\":\"message\",\"text\":\"hi\",\"cid\":\"c1\"}",
          "hi", "c1" },
        { FCC_PROTO_V1, "{\"cid\":\"\xe3\x81\x93\",\"text\":\"hi\","
          "\"type\":\"message\",\"message\":7}", "hi", "\xe3\x81\x93" }
    };

    for (i = 0; i < PROTO_COUNT(cases); i++) {
        if (is_int(proto_parse(cases[i].proto, cases[i].json,
                               strlen(cases[i].json), &cmd, &err),
                   FCC_OK, cases[i].json))
        {
            is_int(cmd.type, FCC_CMD_MESSAGE, "a message");
            is_str(cmd.text.data, cmd.text.len, cases[i].text, "its text");
            is_str(cmd.cid.data, cmd.cid.len, cases[i].cid, "its cid");
        }

        fcc_cmd_free(&cmd);
    }
}


static void
proto_test_reactions(void)
{
    size_t             i;
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;

    static const struct {
        const char  *stamp;
        int64_t      id;
    } cases[] = {
        { "1", 1 }, { "42", 42 }, { "9007199254740992", 9007199254740992LL },
        { "9007199254740993", 0 }, { "0", 0 }, { "-0", 0 }, { "-1", 0 },
        { "1.0", 0 }, { "1e0", 0 }, { "\"0\"", 0 }, { "null", 0 },
        { "\"\"", 0 }, { "\"-1\"", 0 }, { "\"1x\"", 0 }, { "\" 1\"", 0 },
        { "\"1234567890123456\"", 0 },
        { "true", 0 }, { "[1]", 0 }, { "9223372036854775807", 0 },
        { "-9223372036854775808", 0 }
    };
    char  json[200];

    for (i = 0; i < PROTO_COUNT(cases); i++) {
        sprintf(json, "{\"type\":\"reaction\",\"stamp_id\":%s,\"stamp_name\":"
                "\":smile:\",\"stamp_image_url\":\"/x.svg\"}",
                cases[i].stamp);

        if (cases[i].id == 0) {
            proto_refused(FCC_PROTO_OLD, json, strlen(json), "bad_request",
                          "", json);
            proto_refused(FCC_PROTO_V1, json, strlen(json), "bad_request",
                          "", json);
            continue;
        }

        is_int(proto_parse(FCC_PROTO_OLD, json, strlen(json), &cmd, &err),
               FCC_OK, json);
        is_int(cmd.type, FCC_CMD_REACTION, "a reaction");
        is_int(cmd.stamp_id, cases[i].id, "of the stamp");
        is_int(cmd.text.len, 0, "without text");
        fcc_cmd_free(&cmd);

        is_int(proto_parse(FCC_PROTO_V1, json, strlen(json), &cmd, &err),
               FCC_OK, "v1, too");
        is_int(cmd.stamp_id, cases[i].id, "of the same stamp");
        fcc_cmd_free(&cmd);
    }

    /* an old page may have it from an attribute */

    strcpy(json, "{\"type\":\"reaction\",\"stamp_id\":\"12\"}");

    is_int(proto_parse(FCC_PROTO_OLD, json, strlen(json), &cmd, &err),
           FCC_OK, "a string of digits");
    is_int(cmd.stamp_id, 12, "its number");
    fcc_cmd_free(&cmd);

    proto_refused(FCC_PROTO_V1, json, strlen(json), "bad_request", "", json);
}


static void
proto_test_history(void)
{
    size_t             i;
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;

    static const struct {
        const char  *json;
        int64_t      before;
        int64_t      limit;         /* 0: refused */
    } cases[] = {
        { "{\"type\":\"history\"}", 0, 50 },
        { "{\"type\":\"history\",\"before\":7}", 7, 50 },
        { "{\"type\":\"history\",\"before\":7,\"limit\":100}", 7, 100 },
        { "{\"type\":\"history\",\"limit\":1}", 0, 1 },
        { "{\"type\":\"history\",\"limit\":0}", 0, 0 },
        { "{\"type\":\"history\",\"limit\":101}", 0, 0 },
        { "{\"type\":\"history\",\"before\":0}", 0, 0 },
        { "{\"type\":\"history\",\"before\":\"7\"}", 0, 0 },
        { "{\"type\":\"history\",\"before\":null}", 0, 0 }
    };

    for (i = 0; i < PROTO_COUNT(cases); i++) {

        proto_refused(FCC_PROTO_OLD, cases[i].json, strlen(cases[i].json),
                      "unknown_type", "", cases[i].json);

        if (cases[i].limit == 0) {
            proto_refused(FCC_PROTO_V1, cases[i].json, strlen(cases[i].json),
                          "bad_request", "", cases[i].json);
            continue;
        }

        is_int(proto_parse(FCC_PROTO_V1, cases[i].json, strlen(cases[i].json),
                           &cmd, &err), FCC_OK, cases[i].json);
        is_int(cmd.type, FCC_CMD_HISTORY, "a page of history");
        is_int(cmd.before, cases[i].before, "before");
        is_int(cmd.limit, cases[i].limit, "limit");
        fcc_cmd_free(&cmd);
    }
}


static void
proto_test_refused(void)
{
    size_t  i;

    static const struct {
        fcc_proto_e  proto;
        const char  *json;
        const char  *code;
        const char  *cid;
    } cases[] = {
        { FCC_PROTO_OLD, "", "bad_json", "" },
        { FCC_PROTO_OLD, " ", "bad_json", "" },
        { FCC_PROTO_OLD, "hello", "bad_json", "" },
        { FCC_PROTO_OLD, "{", "bad_json", "" },
        { FCC_PROTO_OLD, "null", "bad_json", "" },
        { FCC_PROTO_OLD, "true", "bad_json", "" },
        { FCC_PROTO_OLD, "1", "bad_json", "" },
        { FCC_PROTO_OLD, "\"message\"", "bad_json", "" },
        { FCC_PROTO_OLD, "[]", "bad_json", "" },
        { FCC_PROTO_OLD, "[{\"message\":\"hi\"}]", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\"}x", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\"}{}", "bad_json", "" },
        { FCC_PROTO_OLD, "\xef\xbb\xbf{\"message\":\"hi\"}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",}", "bad_json", "" },
        { FCC_PROTO_OLD, "{'message':'hi'}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"a\nb\"}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"a\",\"message\":\"b\"}", "bad_json",
          "" },
        { FCC_PROTO_OLD, "{\"message\":\"a\",\"x\":{\"y\":1,\"y\":1}}",
          "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"\\ud800\"}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"\\udc00\\ud800\"}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"\\ud800x\"}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"\xed\xa0\x80\"}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"\xff\"}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"x\":1e400}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"x\":NaN}", "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"x\":01}", "bad_json", "" },
        { FCC_PROTO_OLD,
          "{\"message\":\"hi\",\"x\":123456789012345678901234567890}",
          "bad_json", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"x\":[[[[[[[[]]]]]]]]}",
          "bad_json", "" },

        { FCC_PROTO_OLD, "{}", "bad_request", "" },
        { FCC_PROTO_OLD, "{\"Message\":\"hi\"}", "bad_request", "" },
        { FCC_PROTO_OLD, "{\"text\":\"hi\"}", "bad_request", "" },
        { FCC_PROTO_OLD, "{\"message\":null}", "bad_request", "" },
        { FCC_PROTO_OLD, "{\"message\":1}", "bad_request", "" },
        { FCC_PROTO_OLD, "{\"message\":[\"hi\"]}", "bad_request", "" },
        { FCC_PROTO_OLD, "{\"message\":{},\"cid\":\"c\"}", "bad_request",
          "c" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"type\":1}", "bad_request",
          "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"cid\":1}", "bad_request",
          "" },
        { FCC_PROTO_OLD, "{\"type\":\"reaction\"}", "bad_request", "" },
        { FCC_PROTO_V1, "{\"text\":\"hi\"}", "bad_request", "" },
        { FCC_PROTO_V1, "{\"text\":\"hi\",\"type\":null}", "bad_request",
          "" },
        { FCC_PROTO_V1, "{\"type\":\"message\",\"message\":\"hi\"}",
          "bad_request", "" },
        { FCC_PROTO_V1, "{\"type\":\"message\",\"text\":\"x\",\"cid\":\"\"}",
          "bad_request", "" },
        { FCC_PROTO_V1,
          "{\"type\":\"message\",\"text\":\"x\",\"cid\":null}",
          "bad_request", "" },
        { FCC_PROTO_V1,
          "{\"type\":\"message\",\"text\":\"x\",\"cid\":\"a\\u0000\"}",
          "bad_request", "" },
        { FCC_PROTO_V1,
          "{\"type\":\"message\",\"text\":\"x\",\"cid\":\"a\\n\"}",
          "bad_request", "" },
        { FCC_PROTO_V1,
          "{\"type\":\"message\",\"text\":\"x\",\"cid\":\"a\\u007f\"}",
          "bad_request", "" },
        { FCC_PROTO_V1,
          "{\"type\":\"message\",\"text\":\"x\",\"cid\":\"\\u0085\"}",
          "bad_request", "" },

        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"type\":\"x\"}",
          "unknown_type", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"type\":\"Message\"}",
          "unknown_type", "" },
        { FCC_PROTO_OLD, "{\"message\":\"hi\",\"type\":\"message\\u0000\"}",
          "unknown_type", "" },
        { FCC_PROTO_PUBLISH, "{\"message\":\"hi\"}", "bad_request", "" },
        { FCC_PROTO_PUBLISH, "{\"type\":\"reaction\",\"stamp_id\":1}",
          "unknown_type", "" },
        { FCC_PROTO_PUBLISH, "{\"type\":\"history\"}", "unknown_type", "" },
        { FCC_PROTO_V1, "{\"type\":\"\",\"cid\":\"c\"}", "unknown_type",
          "c" },

        { FCC_PROTO_OLD, "{\"message\":\"\"}", "empty", "" },
        { FCC_PROTO_OLD, "{\"message\":\" \\t\\r\\n\"}", "empty", "" },
        { FCC_PROTO_OLD,
          "{\"message\":\"\\u3000\\u00a0\\u200b\\u200c\\u200d\\ufeff\"}",
          "empty", "" },
        { FCC_PROTO_V1,
          "{\"type\":\"message\",\"text\":\"  \",\"cid\":\"c\"}",
          "empty", "c" },

        { FCC_PROTO_OLD, "{\"message\":\"" TEN "x\"}", "too_long", "" },
        { FCC_PROTO_V1,
          "{\"type\":\"message\",\"text\":\"" TEN "x\",\"cid\":\"c\"}",
          "too_long", "c" },

        { FCC_PROTO_OLD, "{\"message\":\"a\\u0000b\"}", "bad_text", "" },
        { FCC_PROTO_OLD, "{\"message\":\"\\u0000\",\"cid\":\"c\"}",
          "bad_text", "c" },
        { FCC_PROTO_OLD, "{\"mess\\u0000age\":\"x\"}", "bad_text", "" }
    };

    for (i = 0; i < PROTO_COUNT(cases); i++) {
        proto_refused(cases[i].proto, cases[i].json, strlen(cases[i].json),
                      cases[i].code, cases[i].cid, cases[i].json);
    }

    proto_refused(FCC_PROTO_OLD, "{\"message\":\"a\0b\"}", 17, "bad_json",
                  "", "a NUL byte in a string");
    proto_refused(FCC_PROTO_OLD, "{\"message\":\"a\"}\0", 16, "bad_json", "",
                  "a NUL byte behind it");
}


/* each code point by itself, as text and as cid, against the two lists */

static void
proto_test_characters(void)
{
    int                rc, blank, control;
    size_t             n;
    unsigned           wrong;
    uint32_t           v;
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;
    char               json[100];

    wrong = 0;

    for (v = 1; v < 0x10000; v++) {
        if (v >= 0xd800 && v <= 0xdfff) {
            continue;
        }

        blank = (v >= 9 && v <= 13) || v == 0x20 || v == 0x85 || v == 0xa0
                || v == 0x1680 || (v >= 0x2000 && v <= 0x200a) || v == 0x2028
                || v == 0x2029 || v == 0x202f || v == 0x205f || v == 0x3000
                || (v >= 0x200b && v <= 0x200d) || v == 0xfeff;
        control = v < 0x20 || (v >= 0x7f && v < 0xa0);

        n = sprintf(json, "{\"message\":\"\\u%04x\"}", v);
        rc = proto_parse(FCC_PROTO_OLD, json, n, &cmd, &err);
        wrong += rc != (blank ? FCC_ERROR : FCC_OK);
        wrong += blank && strcmp(err.code, "empty") != 0;
        fcc_cmd_free(&cmd);

        n = sprintf(json, "{\"message\":\"x\",\"cid\":\"\\u%04x\"}", v);
        rc = proto_parse(FCC_PROTO_OLD, json, n, &cmd, &err);
        wrong += rc != (control ? FCC_ERROR : FCC_OK);
        fcc_cmd_free(&cmd);
    }

    is_int(wrong, 0, "each character");
}


static void
proto_test_bounds(void)
{
    char               *json;
    size_t              i, n;
    fcc_cmd_t           cmd;
    fcc_proto_error_t   err;

    json = malloc(20000000);

    n = sprintf(json, "{\"message\":\"x\",\"cid\":\"");

    for (i = 0; i < FCC_PROTO_CID_MAX; i++) {
        n += sprintf(json + n, "\xf0\x9f\x98\x80");
    }

    n += sprintf(json + n, "\"}");
    is_int(proto_parse(FCC_PROTO_OLD, json, n, &cmd, &err), FCC_OK,
           "a cid of 64 characters");
    is_int(cmd.cid.len, 256, "kept");
    fcc_cmd_free(&cmd);

    n += sprintf(json + n - 2, "x\"}") - 2;
    proto_refused(FCC_PROTO_OLD, json, n, "bad_request", "",
                  "a cid of 65 characters");

    memset(json, '[', 100000);
    proto_refused(FCC_PROTO_OLD, json, 100000, "bad_json", "",
                  "a depth of 10^5");

    for (i = 0; i < 500000; i += 5) {
        memcpy(json + i, "{\"a\":", 5);
    }

    proto_refused(FCC_PROTO_OLD, json, 500000, "bad_json", "",
                  "10^5 objects in each other");

    memset(json, ']', 1000);
    proto_refused(FCC_PROTO_OLD, json, 1000, "bad_json", "",
                  "closed, never opened");

    n = sprintf(json, "{\"message\":\"many\"");

    for (i = 0; i < 1000000; i++) {
        n += sprintf(json + n, ",\"%zu\":0", i);
    }

    n += sprintf(json + n, "}");
    is_int(proto_parse(FCC_PROTO_OLD, json, n, &cmd, &err), FCC_OK,
           "10^6 keys");
    is_str(cmd.text.data, cmd.text.len, "many", "are ignored");
    fcc_cmd_free(&cmd);

    free(json);
}


/* a change over HTTP names what it does by "action", and is nothing else */

static void
proto_test_actions(void)
{
    size_t             i;
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;

    static const struct {
        const char    *json;
        fcc_mod_e      action;
    } cases[] = {
        { "{\"action\":\"delete\",\"id\":1}", FCC_MOD_DELETE },
        { "{\"action\":\"pin\",\"seq\":1}", FCC_MOD_PIN },
        { "{\"action\":\"unpin\",\"id\":1}", FCC_MOD_UNPIN },
        { "{\"action\":\"ban\",\"user_id\":1}", FCC_MOD_BAN },
        { "{\"action\":\"timeout\",\"user_id\":1,\"seconds\":1}",
          FCC_MOD_TIMEOUT },
        { "{\"action\":\"unban\",\"user_id\":1}", FCC_MOD_UNBAN },
        { "{\"action\":\"slow\",\"seconds\":1}", FCC_MOD_SLOW },
        { "{\"type\":\"ban\",\"action\":\"slow\",\"seconds\":0}",
          FCC_MOD_SLOW },
    };

    static const struct {
        const char    *json;
        const char    *code;
    } refused[] = {
        { "{}", "bad_request" },
        { "{\"action\":null}", "bad_request" },
        { "{\"action\":7}", "bad_request" },
        { "{\"type\":\"slow\",\"seconds\":1}", "bad_request" },
        { "{\"text\":\"hi\"}", "bad_request" },
        { "{\"action\":\"\"}", "unknown_type" },
        { "{\"action\":\"message\",\"text\":\"hi\"}", "unknown_type" },
        { "{\"action\":\"Ban\",\"user_id\":1}", "unknown_type" },
        { "{\"action\":\"ban\"}", "bad_request" },
    };

    for (i = 0; i < PROTO_COUNT(cases); i++) {
        is_int(proto_parse(FCC_PROTO_MODERATE, cases[i].json,
                           strlen(cases[i].json), &cmd, &err), FCC_OK,
               cases[i].json);
        is_int(cmd.type, FCC_CMD_MODERATE, "a change");
        is_int(cmd.mod.action, cases[i].action, "the one that is asked for");
        fcc_cmd_free(&cmd);
    }

    for (i = 0; i < PROTO_COUNT(refused); i++) {
        proto_refused(FCC_PROTO_MODERATE, refused[i].json,
                      strlen(refused[i].json), refused[i].code, "",
                      refused[i].json);
    }
}


int
main(void)
{
    proto_test_messages();
    proto_test_reactions();
    proto_test_history();
    proto_test_refused();
    proto_test_characters();
    proto_test_bounds();
    proto_test_actions();

    return tap_done();
}
