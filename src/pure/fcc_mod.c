
/*
 * Moderation in JSON, both ways.  A command of a client is checked here as far
 * as that can be done without the database; an event is one that the database
 * wrote, but it came by way of the bus.
 */


#include <fcc_proto.h>
#include <fcc_json.h>
#include <fcc_utf8.h>


#define FCC_MOD_NUMBER_MAX  (1LL << 53)     /* exact in a double, too */
#define FCC_MOD_DEPTH_MAX   4


static const char  fcc_mod_names[][sizeof("timeout")] = {
    "", "delete", "pin", "unpin", "ban", "timeout", "unban", "slow", "state"
};


static int fcc_mod_number(const json_t *root, const char *key, int64_t min,
    int64_t max, int64_t *n);
static int fcc_mod_string(const json_t *root, const char *key, size_t max,
    fcc_str_t *s);
static int fcc_mod_keys(const json_t *root, fcc_mod_t *mod,
    fcc_proto_error_t *err);
static int fcc_mod_scope(const json_t *root, fcc_mod_t *mod,
    fcc_proto_error_t *err);
static int fcc_mod_check(const fcc_mod_t *mod, fcc_proto_error_t *err);
static int fcc_mod_bad(fcc_proto_error_t *err, const char *text);
static void fcc_mod_put_user(fcc_buf_t *b, int64_t id,
    const fcc_str_t *username, const fcc_str_t *role);
static void fcc_mod_put(fcc_buf_t *b, const fcc_event_t *e, int all);
static void fcc_mod_put_target(fcc_buf_t *b, const fcc_event_t *e,
    const fcc_mod_t *mod, int all);
static void fcc_mod_put_notice(fcc_buf_t *b, const fcc_mod_t *mod, int html);
static void fcc_mod_put_number(fcc_buf_t *b, int64_t n);


fcc_mod_e
fcc_mod_action(const fcc_str_t *name)
{
    int  i;

    for (i = FCC_MOD_DELETE; i < FCC_MOD_STATE; i++) {
        if (name->len == strlen(fcc_mod_names[i])
            && memcmp(name->data, fcc_mod_names[i], name->len) == 0)
        {
            return i;
        }
    }

    return FCC_MOD_NONE;
}


const char *
fcc_mod_name(fcc_mod_e action)
{
    return fcc_mod_names[action];
}


int
fcc_mod_read(fcc_mod_t *mod, const fcc_str_t *type, const fcc_str_t *detail,
    void **root)
{
    json_t             *json;
    fcc_mod_e           action;
    json_error_t        je;
    fcc_proto_error_t   err;
    static fcc_str_t    state = fcc_string("state");

    action = fcc_mod_action(type);

    if (action == FCC_MOD_NONE) {

        if (type->len != state.len
            || memcmp(type->data, state.data, state.len) != 0)
        {
            return FCC_ERROR;
        }

        action = FCC_MOD_STATE;
    }

    json = fcc_json_load(detail->data, detail->len, FCC_MOD_DEPTH_MAX, 0, &je);

    if (json == NULL) {
        return FCC_ERROR;
    }

    memset(mod, 0, sizeof(fcc_mod_t));
    mod->action = action;

    if (!json_is_object(json) || fcc_mod_keys(json, mod, &err) != FCC_OK) {
        json_decref(json);
        return FCC_ERROR;
    }

    *root = json;

    return FCC_OK;
}


void
fcc_mod_free(void *root)
{
    json_decref(root);
}


int
fcc_proto_moderation(const void *root, fcc_mod_t *mod, fcc_proto_error_t *err)
{
    if (fcc_mod_keys(root, mod, err) != FCC_OK
        || fcc_mod_scope(root, mod, err) != FCC_OK)
    {
        return FCC_ERROR;
    }

    return fcc_mod_check(mod, err);
}


int
fcc_proto_moderation_read(fcc_mod_t *mod, const fcc_str_t *action,
    const unsigned char *data, size_t len, void **root, fcc_proto_error_t *err)
{
    json_t        *json;
    json_error_t   je;

    memset(mod, 0, sizeof(fcc_mod_t));

    *root = NULL;
    mod->action = fcc_mod_action(action);

    if (mod->action == FCC_MOD_NONE) {
        err->code = "unknown_type";
        err->text = "This action is not known.";
        return FCC_ERROR;
    }

    json = fcc_json_load(data, len, FCC_PROTO_DEPTH_MAX, 0, &je);

    if (json == NULL || !json_is_object(json)) {
        json_decref(json);

        err->code = "bad_json";
        err->text = "A JSON object is expected.";
        return FCC_ERROR;
    }

    *root = json;

    return fcc_proto_moderation(json, mod, err);
}


/* a key that is not there leaves the value as it is */

static int
fcc_mod_number(const json_t *root, const char *key, int64_t min, int64_t max,
    int64_t *n)
{
    json_t  *value;

    value = json_object_get(root, key);

    if (value == NULL || json_is_null(value)) {
        return FCC_OK;
    }

    return fcc_json_get_int(value, min, max, n);
}


/* max: code points */

static int
fcc_mod_string(const json_t *root, const char *key, size_t max, fcc_str_t *s)
{
    json_t  *value;

    value = json_object_get(root, key);

    if (value == NULL || json_is_null(value)) {
        return FCC_OK;
    }

    if (fcc_json_get_string(value, s) != FCC_OK
        || fcc_utf8_length(s->data, s->len) > (ptrdiff_t) max
        || memchr(s->data, '\0', s->len) != NULL)
    {
        return FCC_ERROR;
    }

    return FCC_OK;
}


static int
fcc_mod_keys(const json_t *root, fcc_mod_t *mod, fcc_proto_error_t *err)
{
    mod->seconds = -1;

    if (fcc_mod_number(root, "id", 1, FCC_MOD_NUMBER_MAX, &mod->id) != FCC_OK
        || fcc_mod_number(root, "seq", 1, FCC_MOD_NUMBER_MAX, &mod->seq)
           != FCC_OK
        || fcc_mod_number(root, "user_id", 1, FCC_MOD_NUMBER_MAX,
                          &mod->user_id)
           != FCC_OK)
    {
        return fcc_mod_bad(err, "An \"id\", \"seq\" or \"user_id\" is a "
                                "number above 0.");
    }

    if (fcc_mod_number(root, "seconds", 0, FCC_MOD_SECONDS_MAX, &mod->seconds)
        != FCC_OK
        || fcc_mod_number(root, "until", 1, FCC_MOD_NUMBER_MAX, &mod->until)
           != FCC_OK
        || fcc_mod_number(root, "at", 1, FCC_MOD_NUMBER_MAX, &mod->at)
           != FCC_OK)
    {
        return fcc_mod_bad(err, "A time is a number.");
    }

    if (fcc_mod_string(root, "username", 255, &mod->username) != FCC_OK
        || fcc_mod_string(root, "role", 16, &mod->role) != FCC_OK
        || fcc_mod_string(root, "address", FCC_MOD_ADDRESS_MAX, &mod->address)
           != FCC_OK)
    {
        return fcc_mod_bad(err, "A \"username\" or \"address\" is a string.");
    }

    if (fcc_mod_string(root, "reason", FCC_MOD_REASON_MAX, &mod->reason)
        != FCC_OK)
    {
        return fcc_mod_bad(err, "The \"reason\" is a string of at most 500 "
                                "characters.");
    }

    return FCC_OK;
}


static int
fcc_mod_scope(const json_t *root, fcc_mod_t *mod, fcc_proto_error_t *err)
{
    fcc_str_t  scope;

    scope.len = 0;
    scope.data = NULL;

    if (fcc_mod_string(root, "scope", 16, &scope) == FCC_OK) {

        if (scope.len == 0 || (scope.len == 4
                               && memcmp(scope.data, "room", 4) == 0))
        {
            return FCC_OK;
        }

        if (scope.len == 6 && memcmp(scope.data, "tenant", 6) == 0) {
            mod->tenant = 1;
            return FCC_OK;
        }
    }

    return fcc_mod_bad(err, "The \"scope\" is \"room\" or \"tenant\".");
}


/* what the action needs */

static int
fcc_mod_check(const fcc_mod_t *mod, fcc_proto_error_t *err)
{
    unsigned  who;

    /* to the database this is no end at all */

    if (mod->seconds == 0
        && (mod->action == FCC_MOD_PIN || mod->action == FCC_MOD_BAN))
    {
        return fcc_mod_bad(err, "A pin or a ban lasts for a second at least.");
    }

    switch (mod->action) {

    case FCC_MOD_DELETE:
    case FCC_MOD_PIN:
    case FCC_MOD_UNPIN:

        if ((mod->id == 0) == (mod->seq == 0)) {
            return fcc_mod_bad(err, "A message is named by its \"id\" or its "
                                    "\"seq\".");
        }

        if (mod->tenant) {
            return fcc_mod_bad(err, "A message is in one room.");
        }

        return FCC_OK;

    case FCC_MOD_SLOW:

        if (mod->seconds < 0 || mod->seconds > FCC_MOD_SLOW_MAX
            || mod->tenant)
        {
            return fcc_mod_bad(err, "Slow mode needs \"seconds\" from 0 to "
                                    "86400, for one room.");
        }

        return FCC_OK;

    default:
        break;
    }

    who = (mod->user_id != 0) + (mod->username.len != 0)
          + (mod->address.len != 0);

    if (who != 1) {
        return fcc_mod_bad(err, "Somebody is named by \"user_id\", "
                                "\"username\" or \"address\".");
    }

    if (mod->action == FCC_MOD_TIMEOUT
        && (mod->seconds < 1 || mod->address.len))
    {
        return fcc_mod_bad(err, "A timeout is a user's and needs "
                                "\"seconds\".");
    }

    return FCC_OK;
}


static int
fcc_mod_bad(fcc_proto_error_t *err, const char *text)
{
    err->code = "bad_request";
    err->text = text;

    return FCC_ERROR;
}


void
fcc_proto_v1_moderation(fcc_buf_t *b, const fcc_event_t *e)
{
    fcc_buf_lit(b, "{\"type\":\"moderation\",\"seq\":");
    fcc_json_int(b, e->seq);

    fcc_mod_put(b, e, 0);
}


void
fcc_proto_entry(fcc_buf_t *b, const fcc_event_t *e)
{
    fcc_buf_lit(b, "{\"id\":");
    fcc_json_int(b, e->id);

    if (e->seq) {
        fcc_buf_lit(b, ",\"seq\":");
        fcc_json_int(b, e->seq);
    }

    fcc_mod_put(b, e, 1);
}


/* what is behind the number; all: also what only moderators are told */

static void
fcc_mod_put(fcc_buf_t *b, const fcc_event_t *e, int all)
{
    void       *root;
    fcc_mod_t   mod;

    /* what can't be read is told by its number all the same */

    if (fcc_mod_read(&mod, &e->type, &e->detail, &root) != FCC_OK) {
        memset(&mod, 0, sizeof(fcc_mod_t));
        mod.seconds = -1;
        root = NULL;
    }

    fcc_buf_lit(b, ",\"action\":");
    fcc_json_string(b, e->type.data, e->type.len);
    fcc_buf_lit(b, ",\"by\":");
    fcc_mod_put_user(b, e->user_id, &e->username, &e->role);

    fcc_mod_put_target(b, e, &mod, all);

    if (mod.reason.len) {
        fcc_buf_lit(b, ",\"reason\":");
        fcc_json_string(b, mod.reason.data, mod.reason.len);
    }

    fcc_buf_lit(b, ",\"at\":\"");
    fcc_proto_time(b, e->at);
    fcc_buf_lit(b, "\"}");

    fcc_mod_free(root);
}


static void
fcc_mod_put_target(fcc_buf_t *b, const fcc_event_t *e, const fcc_mod_t *mod,
    int all)
{
    switch (mod->action) {

    case FCC_MOD_DELETE:
    case FCC_MOD_PIN:
    case FCC_MOD_UNPIN:
        fcc_buf_lit(b, ",\"target\":{\"seq\":");
        fcc_mod_put_number(b, mod->seq);
        fcc_buf_lit(b, ",\"id\":");
        fcc_mod_put_number(b, mod->id);
        fcc_buf_lit(b, ",\"user\":");
        fcc_mod_put_user(b, mod->user_id, &mod->username, NULL);

        if (mod->action == FCC_MOD_PIN && !all) {
            fcc_buf_lit(b, ",\"text\":");
            fcc_json_string(b, e->text.data, e->text.len);
        }

        fcc_buf_lit(b, "}");
        break;

    case FCC_MOD_BAN:
    case FCC_MOD_TIMEOUT:
    case FCC_MOD_UNBAN:

        /* an address is nobody's business but the moderator's */

        fcc_buf_lit(b, ",\"target\":{\"user\":");
        fcc_mod_put_user(b, mod->user_id, &mod->username, NULL);

        if (all && mod->address.len) {
            fcc_buf_lit(b, ",\"address\":");
            fcc_json_string(b, mod->address.data, mod->address.len);
        }

        fcc_buf_lit(b, "}");
        break;

    case FCC_MOD_SLOW:
        fcc_buf_lit(b, ",\"modes\":{\"slow\":");
        fcc_json_int(b, mod->seconds);
        fcc_buf_lit(b, "}");
        return;

    default:
        return;
    }

    if (mod->action == FCC_MOD_PIN
        || mod->action == FCC_MOD_BAN
        || mod->action == FCC_MOD_TIMEOUT)
    {
        fcc_buf_lit(b, ",\"until\":");
        fcc_mod_put_number(b, mod->until);
    }
}


static void
fcc_mod_put_user(fcc_buf_t *b, int64_t id, const fcc_str_t *username,
    const fcc_str_t *role)
{
    if (id == 0) {
        fcc_buf_lit(b, "null");
        return;
    }

    fcc_buf_lit(b, "{\"id\":");
    fcc_json_int(b, id);
    fcc_buf_lit(b, ",\"username\":");
    fcc_json_text(b, username->data, username->len, FCC_JSON_NAME);

    if (role) {
        fcc_buf_lit(b, ",\"role\":");
        fcc_json_string(b, role->data, role->len);
    }

    fcc_buf_lit(b, "}");
}


static void
fcc_mod_put_number(fcc_buf_t *b, int64_t n)
{
    if (n == 0) {
        fcc_buf_lit(b, "null");
        return;
    }

    fcc_json_int(b, n);
}


void
fcc_proto_old_moderation(fcc_buf_t *b, const fcc_event_t *e, int html)
{
    void             *root;
    fcc_mod_t         mod;
    fcc_json_text_e   mode;

    if (fcc_mod_read(&mod, &e->type, &e->detail, &root) != FCC_OK) {
        return;
    }

    /* an address is nobody's business, and tables are none of a page's */

    if (mod.action != FCC_MOD_STATE && mod.address.len == 0) {
        mode = html ? FCC_JSON_HTML : FCC_JSON_PLAIN;

        fcc_buf_lit(b, "{\"username\":");
        fcc_json_text(b, e->username.data, e->username.len,
                      mode | FCC_JSON_NAME);
        fcc_buf_lit(b, ",\"message\":");
        fcc_mod_put_notice(b, &mod, html);
        fcc_buf_lit(b, ",\"message_type\":\"moderation\",\"timestamp\":null}");
    }

    fcc_mod_free(root);
}


/* a sentence in the language of the pages that read it */

static void
fcc_mod_put_notice(fcc_buf_t *b, const fcc_mod_t *mod, int html)
{
    fcc_json_text_e  mode;

    mode = html ? FCC_JSON_HTML : FCC_JSON_PLAIN;

    if (mod->action >= FCC_MOD_BAN && mod->action <= FCC_MOD_UNBAN) {
        fcc_json_text(b, mod->username.data, mod->username.len,
                      mode | FCC_JSON_NAME);

        /* the sentence goes on inside the quotes */

        if (!b->full) {
            b->pos--;
        }

    } else {
        fcc_buf_lit(b, "\"");
    }

    switch (mod->action) {

    case FCC_MOD_DELETE:
        fcc_buf_lit(b, "メッセージが削除されました。");
        break;

    case FCC_MOD_PIN:
        fcc_buf_lit(b, "メッセージがピン留めされました。");
        break;

    case FCC_MOD_UNPIN:
        fcc_buf_lit(b, "ピン留めが解除されました。");
        break;

    case FCC_MOD_BAN:
        fcc_buf_lit(b, " さんはこのチャットに参加できなくなりました。");
        break;

    case FCC_MOD_TIMEOUT:
        fcc_buf_lit(b, " さんは ");
        fcc_json_int(b, mod->seconds);
        fcc_buf_lit(b, " 秒間発言できません。");
        break;

    case FCC_MOD_UNBAN:
        fcc_buf_lit(b, " さんの制限が解除されました。");
        break;

    default:
        if (mod->seconds > 0) {
            fcc_buf_lit(b, "低速モード: 発言は ");
            fcc_json_int(b, mod->seconds);
            fcc_buf_lit(b, " 秒に 1 回までです。");

        } else {
            fcc_buf_lit(b, "低速モードが解除されました。");
        }

        break;
    }

    fcc_buf_lit(b, "\"");
}


void
fcc_proto_v1_pin(fcc_buf_t *b, const fcc_event_t *e, int64_t until)
{
    fcc_proto_v1_message(b, e);

    if (b->full) {
        return;
    }

    b->pos--;

    fcc_buf_lit(b, ",\"until\":");
    fcc_mod_put_number(b, until);
    fcc_buf_lit(b, "}");
}
