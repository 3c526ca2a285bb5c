
/*
 * What a client says: one JSON text becomes one command, or one error that its
 * sender can be told.
 */


#include <fcc_proto.h>
#include <fcc_json.h>
#include <fcc_utf8.h>


#define FCC_PROTO_STAMP_ID_MAX  (1LL << 53)     /* exact in a double, too */
#define FCC_PROTO_STAMP_DIGITS  15      /* of an id that is a string */


static int fcc_proto_type(fcc_proto_e proto, const json_t *root,
    fcc_cmd_t *cmd, fcc_proto_error_t *err);
static int fcc_proto_action(const json_t *root, fcc_cmd_t *cmd,
    fcc_proto_error_t *err);
static int fcc_proto_stamp(fcc_proto_e proto, const json_t *root,
    fcc_cmd_t *cmd, fcc_proto_error_t *err);
static int fcc_proto_history(const json_t *root, fcc_cmd_t *cmd,
    fcc_proto_error_t *err);
static int fcc_proto_cid(const json_t *root, fcc_cmd_t *cmd,
    fcc_proto_error_t *err);
static int fcc_proto_text(fcc_proto_e proto, const json_t *root, size_t max,
    fcc_cmd_t *cmd, fcc_proto_error_t *err);
static int fcc_proto_is_blank(const fcc_str_t *s);
static int fcc_proto_is_blank_char(uint32_t cp);
static int fcc_proto_has_control(const fcc_str_t *s);
static int fcc_proto_equal(const fcc_str_t *s, const char *text);
static int fcc_proto_error(fcc_proto_error_t *err, const char *code,
    const char *text);


int
fcc_proto_parse(fcc_proto_e proto, const unsigned char *data, size_t len,
    size_t max, fcc_cmd_t *cmd, fcc_proto_error_t *err)
{
    json_t        *root;
    json_error_t   je;

    memset(cmd, 0, sizeof(fcc_cmd_t));

    root = fcc_json_load(data, len, FCC_PROTO_DEPTH_MAX, 0, &je);

    if (root == NULL) {
        if (json_error_code(&je) == json_error_null_byte_in_key) {
            return fcc_proto_error(err, "bad_text",
                                   "The message contains a NUL.");
        }

        return fcc_proto_error(err, "bad_json", "This is not valid JSON.");
    }

    cmd->root = root;

    if (!json_is_object(root)) {
        return fcc_proto_error(err, "bad_json", "A JSON object is expected.");
    }

    if (fcc_proto_cid(root, cmd, err) != FCC_OK
        || fcc_proto_type(proto, root, cmd, err) != FCC_OK)
    {
        return FCC_ERROR;
    }

    if (cmd->type == FCC_CMD_MESSAGE) {
        return fcc_proto_text(proto, root, max, cmd, err);
    }

    if (cmd->type == FCC_CMD_HISTORY) {
        return fcc_proto_history(root, cmd, err);
    }

    if (cmd->type == FCC_CMD_MODERATE) {
        return fcc_proto_moderation(root, &cmd->mod, err);
    }

    return fcc_proto_stamp(proto, root, cmd, err);
}


void
fcc_cmd_free(fcc_cmd_t *cmd)
{
    json_decref(cmd->root);

    memset(cmd, 0, sizeof(fcc_cmd_t));
}


static int
fcc_proto_type(fcc_proto_e proto, const json_t *root, fcc_cmd_t *cmd,
    fcc_proto_error_t *err)
{
    json_t     *value;
    fcc_str_t   type;

    if (proto == FCC_PROTO_MODERATE) {
        return fcc_proto_action(root, cmd, err);
    }

    value = json_object_get(root, "type");

    if (value == NULL && proto != FCC_PROTO_V1) {
        cmd->type = FCC_CMD_MESSAGE;
        return FCC_OK;
    }

    if (fcc_json_get_string(value, &type) != FCC_OK) {
        return fcc_proto_error(err, "bad_request",
                               "The \"type\" must be a string.");
    }

    if (fcc_proto_equal(&type, "message")) {
        cmd->type = FCC_CMD_MESSAGE;
        return FCC_OK;
    }

    if (fcc_proto_equal(&type, "reaction") && proto != FCC_PROTO_PUBLISH) {
        cmd->type = FCC_CMD_REACTION;
        return FCC_OK;
    }

    if (fcc_proto_equal(&type, "history") && proto == FCC_PROTO_V1) {
        cmd->type = FCC_CMD_HISTORY;
        return FCC_OK;
    }

    if (proto == FCC_PROTO_V1) {
        cmd->mod.action = fcc_mod_action(&type);
    }

    if (cmd->mod.action != FCC_MOD_NONE) {
        cmd->type = FCC_CMD_MODERATE;
        return FCC_OK;
    }

    return fcc_proto_error(err, "unknown_type", "This type is not known.");
}


static int
fcc_proto_action(const json_t *root, fcc_cmd_t *cmd, fcc_proto_error_t *err)
{
    fcc_str_t  action;

    if (fcc_json_get_string(json_object_get(root, "action"), &action)
        != FCC_OK)
    {
        return fcc_proto_error(err, "bad_request",
                               "The \"action\" must be a string.");
    }

    cmd->type = FCC_CMD_MODERATE;
    cmd->mod.action = fcc_mod_action(&action);

    if (cmd->mod.action == FCC_MOD_NONE) {
        return fcc_proto_error(err, "unknown_type",
                               "This action is not known.");
    }

    return FCC_OK;
}


/* a page may take the id from an attribute, and Django took such a string */

static int
fcc_proto_stamp(fcc_proto_e proto, const json_t *root, fcc_cmd_t *cmd,
    fcc_proto_error_t *err)
{
    size_t      i;
    json_t     *value;
    fcc_str_t   s;

    value = json_object_get(root, "stamp_id");

    if (fcc_json_get_int(value, 1, FCC_PROTO_STAMP_ID_MAX, &cmd->stamp_id)
        == FCC_OK)
    {
        return FCC_OK;
    }

    cmd->stamp_id = 0;

    if (proto == FCC_PROTO_OLD
        && fcc_json_get_string(value, &s) == FCC_OK
        && s.len <= FCC_PROTO_STAMP_DIGITS)
    {
        for (i = 0; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
            cmd->stamp_id = cmd->stamp_id * 10 + (s.data[i] - '0');
        }

        if (i == s.len && cmd->stamp_id > 0) {
            return FCC_OK;
        }
    }

    return fcc_proto_error(err, "bad_request",
                           "A reaction needs a \"stamp_id\".");
}


static int
fcc_proto_history(const json_t *root, fcc_cmd_t *cmd, fcc_proto_error_t *err)
{
    json_t  *before, *limit;

    before = json_object_get(root, "before");
    limit = json_object_get(root, "limit");

    cmd->before = 0;
    cmd->limit = FCC_PROTO_HISTORY;

    if (before && fcc_json_get_int(before, 1, FCC_PROTO_STAMP_ID_MAX,
                                   &cmd->before)
                  != FCC_OK)
    {
        return fcc_proto_error(err, "bad_request",
                               "The \"before\" must be a number.");
    }

    if (limit && fcc_json_get_int(limit, 1, FCC_PROTO_HISTORY_MAX, &cmd->limit)
                 != FCC_OK)
    {
        return fcc_proto_error(err, "bad_request",
                               "The \"limit\" must be from 1 to 100.");
    }

    return FCC_OK;
}


static int
fcc_proto_cid(const json_t *root, fcc_cmd_t *cmd, fcc_proto_error_t *err)
{
    json_t     *value;
    fcc_str_t   cid;

    value = json_object_get(root, "cid");

    if (value == NULL) {
        return FCC_OK;
    }

    if (fcc_json_get_string(value, &cid) != FCC_OK
        || cid.len == 0
        || fcc_utf8_length(cid.data, cid.len) > FCC_PROTO_CID_MAX
        || fcc_proto_has_control(&cid))
    {
        return fcc_proto_error(err, "bad_request",
                               "The \"cid\" must be a string of 1 to 64 "
                               "characters.");
    }

    cmd->cid = cid;

    return FCC_OK;
}


static int
fcc_proto_text(fcc_proto_e proto, const json_t *root, size_t max,
    fcc_cmd_t *cmd, fcc_proto_error_t *err)
{
    ptrdiff_t    length;
    const char  *key;

    key = (proto == FCC_PROTO_OLD) ? "message" : "text";

    if (fcc_json_get_string(json_object_get(root, key), &cmd->text)
        != FCC_OK)
    {
        return fcc_proto_error(err, "bad_request",
                               (proto == FCC_PROTO_OLD)
                               ? "The \"message\" must be a string."
                               : "The \"text\" must be a string.");
    }

    length = fcc_utf8_length(cmd->text.data, cmd->text.len);

    if (length < 0 || memchr(cmd->text.data, '\0', cmd->text.len) != NULL) {
        return fcc_proto_error(err, "bad_text",
                               "The message contains a NUL.");
    }

    if (fcc_proto_is_blank(&cmd->text)) {
        return fcc_proto_error(err, "empty", "The message is empty.");
    }

    if ((size_t) length > max) {
        return fcc_proto_error(err, "too_long", "The message is too long.");
    }

    return FCC_OK;
}


static int
fcc_proto_is_blank(const fcc_str_t *s)
{
    size_t    i, n;
    uint32_t  cp;

    for (i = 0; i < s->len; i += n) {
        n = fcc_utf8_char(s->data + i, s->len - i, &cp);

        if (n == 0 || !fcc_proto_is_blank_char(cp)) {
            return 0;
        }
    }

    return 1;
}


static int
fcc_proto_is_blank_char(uint32_t cp)
{
    switch (cp) {

    case 0x0020:
    case 0x0085:
    case 0x00a0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202f:
    case 0x205f:
    case 0x3000:
    case 0xfeff:
        return 1;

    default:
        return (cp >= 0x0009 && cp <= 0x000d)
               || (cp >= 0x2000 && cp <= 0x200d);
    }
}


static int
fcc_proto_has_control(const fcc_str_t *s)
{
    size_t    i, n;
    uint32_t  cp;

    for (i = 0; i < s->len; i += n) {
        n = fcc_utf8_char(s->data + i, s->len - i, &cp);

        if (n == 0 || cp < 0x20 || (cp >= 0x7f && cp <= 0x9f)) {
            return 1;
        }
    }

    return 0;
}


static int
fcc_proto_equal(const fcc_str_t *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}


static int
fcc_proto_error(fcc_proto_error_t *err, const char *code, const char *text)
{
    err->code = code;
    err->text = text;

    return FCC_ERROR;
}
