
/*
 * The JSON on the wire, both ways: the old protocol of the seed's pages and
 * fcchat.v1.  What a client sends is parsed by jansson; what we send is written
 * straight into a buffer, because a frame is written once for thousands of
 * readers and its form is fixed.
 *
 * All text that goes out is escaped so that it is JSON and harmless inside an
 * HTML script too: control characters, '"', '\\', '<', '>', '&', U+2028 and
 * U+2029 become \u00XX forms; other characters stay UTF-8.  In the names of
 * users the marks that turn the direction of text become U+FFFD.
 */


#ifndef _FCC_PROTO_H_INCLUDED_
#define _FCC_PROTO_H_INCLUDED_


#include <fcc.h>
#include <fcc_mod.h>


#define FCC_PROTO_CID_MAX     64        /* code points of a client's id */
#define FCC_PROTO_HISTORY     50        /* messages, when no limit is given */
#define FCC_PROTO_HISTORY_MAX 100
#define FCC_PROTO_DEPTH_MAX   8         /* of nested arrays and objects */
#define FCC_PROTO_TIME_LEN    (sizeof("2026-11-23T10:00:00.123Z") - 1)


typedef enum {
    FCC_PROTO_OLD = 0,
    FCC_PROTO_V1,
    FCC_PROTO_PUBLISH,          /* the HTTP API's */
    FCC_PROTO_MODERATE          /* likewise */
} fcc_proto_e;


typedef enum {
    FCC_CMD_MESSAGE = 1,
    FCC_CMD_REACTION,
    FCC_CMD_HISTORY,
    FCC_CMD_MODERATE
} fcc_cmd_e;


typedef struct {
    fcc_cmd_e    type;
    fcc_str_t    text;          /* MESSAGE: valid UTF-8, not NUL-terminated */
    fcc_str_t    cid;           /* len 0 when the client gave none */
    int64_t      stamp_id;      /* REACTION */
    int64_t      before;        /* HISTORY: below this seq; 0: the last ones */
    int64_t      limit;         /* HISTORY: 1 to FCC_PROTO_HISTORY_MAX */
    fcc_mod_t    mod;           /* MODERATE */
    void        *root;          /* owns the strings */
} fcc_cmd_t;


/* what is wrong with a command, told to its sender alone */

typedef struct {
    const char  *code;          /* stable, for programs: "too_long" */
    const char  *text;          /* English, for people */
} fcc_proto_error_t;


/*
 * Reads one text message of a client.  max: code points of a chat message.
 *
 * FCC_OK: *cmd is set, and fcc_cmd_free() is due.
 * FCC_ERROR: *err is set; cmd->cid may be set too (so that the error can name
 * the message it is about), and fcc_cmd_free() is due as well.
 *
 * Codes: "bad_json" (not JSON, not an object, deeper than FCC_PROTO_DEPTH_MAX,
 * a key twice, a lone surrogate), "bad_request" (a key is missing or has the
 * wrong type, cid is empty, longer than FCC_PROTO_CID_MAX or has a control
 * character), "unknown_type", "empty" (blank: only white space or nothing, by
 * Unicode's White_Space and U+200B..U+200D, U+FEFF), "too_long", "bad_text" (a
 * "\u0000" in the text or in any key; the byte itself is bad_json).
 *
 * Old: {"message": "..."} or {"type": "reaction", "stamp_id": 1, ...}; an old
 * client that sends "cid" gets it kept.  A "type" other than "reaction" or
 * "message" is unknown_type.  v1: {"type": "message", "text": "...",
 * "cid": "..."}, {"type": "reaction", "stamp_id": 1}, {"type": "history",
 * "before": 42, "limit": 50} (both may be left out), and what moderators ask
 * for, whose type is the action: see fcc_proto_moderation().  Publish: as a
 * message of v1, the type may be left out.  Moderate: as v1 has it, but for an
 * "action" in place of the type.  Keys nobody knows are ignored.  stamp_id is
 * an integer from 1 to 2^53.
 */
int fcc_proto_parse(fcc_proto_e proto, const unsigned char *data, size_t len,
    size_t max, fcc_cmd_t *cmd, fcc_proto_error_t *err);

void fcc_cmd_free(fcc_cmd_t *cmd);


/* a persisted event of a room */

typedef struct {
    int64_t      seq;
    int64_t      id;            /* of the row in chat_chatmessage; 0: null */
    int64_t      user_id;       /* 0: no user, told as null */
    int64_t      at;            /* milliseconds of the Unix epoch, UTC */
    fcc_str_t    username;
    fcc_str_t    role;          /* "member", "moderator", "owner" */
    fcc_str_t    type;          /* message_type of the row: "message", ... */
    fcc_str_t    text;          /* as PostgreSQL has it */

    /* len > 0: no message but what moderators did, the type is the action, and
     * this is JSON for fcc_mod_read(); the user is whoever did it */
    fcc_str_t    detail;
} fcc_event_t;


typedef struct {
    int64_t      id;
    fcc_str_t    name;          /* ":smile:" */
    fcc_str_t    image;         /* URL */
} fcc_stamp_t;


/*
 * The writers put one JSON text (no frame) and report overflow by b->full.
 * A text of n bytes never takes more than FCC_PROTO_EXPANSION * n.
 */

#define FCC_PROTO_EXPANSION  12
#define FCC_PROTO_OVERHEAD   512

/* bytes that any of the writers needs for the event at most */

static inline size_t
fcc_event_size(const fcc_event_t *e)
{
    return FCC_PROTO_EXPANSION * (e->text.len + e->username.len + e->role.len
                                  + e->type.len + e->detail.len)
           + FCC_PROTO_OVERHEAD;
}


/* {"username": ..., "message": ..., "message_type": ..., "timestamp": null}
 * html: both texts HTML-escaped as django.utils.html.escape does */
void fcc_proto_old_message(fcc_buf_t *b, const fcc_event_t *e, int html);

/* {"type":"reaction","username":...,"stamp_id":...,"stamp_name":...,
 *  "stamp_image_url":...}
 * html: the names escaped as above; in the URL quotes and angle brackets are
 * percent-encoded, so that it is harmless in HTML and still the same URL */
void fcc_proto_old_reaction(fcc_buf_t *b, const fcc_str_t *username,
    const fcc_stamp_t *stamp, int html);

/* {"username":"","message":text,"message_type":"system","timestamp":null,
 *  "code":code} and "cid", "retry_after_ms" where given (len > 0, >= 0) */
void fcc_proto_old_error(fcc_buf_t *b, const fcc_proto_error_t *err,
    const fcc_str_t *cid, int64_t retry_after);

/* {"type":"message","seq":...,"id":...,"user":{"id","username","role"}|null,
 *  "text":...,"at":"2026-11-23T10:00:00.123Z"}; "message_type" is added when it
 *  is not "message" */
void fcc_proto_v1_message(fcc_buf_t *b, const fcc_event_t *e);

/*
 * What a moderator asks for: root is a JSON object of a caller inside
 * src/pure/, and mod->action is set.  FCC_OK, or FCC_ERROR and *err is
 * "bad_request".
 *
 *   delete, pin, unpin   "id" or "seq" of a message; for a pin "seconds" or
 *                        "until" (ms)
 *   ban, timeout, unban  "user_id", "username" or (not for a timeout)
 *                        "address"; "seconds"; "scope": "room" or "tenant"
 *   slow                 "seconds"
 *
 * and a "reason" with each.
 */
int fcc_proto_moderation(const void *root, fcc_mod_t *mod,
    fcc_proto_error_t *err);

/* the same from a text; fcc_mod_free(*root) is due in any case */
int fcc_proto_moderation_read(fcc_mod_t *mod, const fcc_str_t *action,
    const unsigned char *data, size_t len, void **root,
    fcc_proto_error_t *err);

/* {"type":"moderation","seq":...,"action":...,"by":{...}|null,"target":{...},
 *  "until":...,"reason":...,"at":...}, as far as the action has them; for slow
 *  "modes":{"slow":...} */
void fcc_proto_v1_moderation(fcc_buf_t *b, const fcc_event_t *e);

/* a ban (seq 0) or a row of the audit with its id, for moderators: the same
 * without the type and the text of a pin, and with "address" in the target */
void fcc_proto_entry(fcc_buf_t *b, const fcc_event_t *e);

/* the message type "moderation" of the old protocol, with a sentence in
 * Japanese; nothing where the page has no use for it */
void fcc_proto_old_moderation(fcc_buf_t *b, const fcc_event_t *e, int html);

/* a message as it is in "pins": with its end, ms or (0) null */
void fcc_proto_v1_pin(fcc_buf_t *b, const fcc_event_t *e, int64_t until);

/* 2026-11-23T10:00:00.123Z, without quotes */
void fcc_proto_time(fcc_buf_t *b, int64_t at);

/* {"type":"ack","cid":...,"seq":...,"id":...}; cid left out when len is 0 */
void fcc_proto_v1_ack(fcc_buf_t *b, const fcc_str_t *cid, int64_t seq,
    int64_t id);

/* {"type":"error","code":...,"message":...} and "cid", "retry_after_ms" */
void fcc_proto_v1_error(fcc_buf_t *b, const fcc_proto_error_t *err,
    const fcc_str_t *cid, int64_t retry_after);

/* {"type":"history","before":...,"messages":[ and ]}; between them messages and
 * commas */
void fcc_proto_v1_history_begin(fcc_buf_t *b, int64_t before);
void fcc_proto_v1_history_end(fcc_buf_t *b);

/* {"type":"join","user":{"id","username","role"}}, or "leave" */
void fcc_proto_v1_presence(fcc_buf_t *b, const char *type, int64_t id,
    const fcc_str_t *username, const fcc_str_t *role);

/* {"type":"viewers","count":...} */
void fcc_proto_v1_viewers(fcc_buf_t *b, int64_t count);

/* {"type":"reset","reason":...,"epoch":...,"head":...} */
void fcc_proto_v1_reset(fcc_buf_t *b, const char *reason,
    const fcc_str_t *epoch, int64_t head);

typedef struct {
    int64_t      stamp_id;
    int64_t      count;
} fcc_count_t;

/* {"type":"reactions","counts":{"1":12,"4":3}} */
void fcc_proto_v1_reactions(fcc_buf_t *b, const fcc_count_t *counts, size_t n);

typedef struct {
    fcc_str_t    room;
    fcc_str_t    epoch;
    int64_t      head;
    int64_t      user_id;       /* 0: guest, "you":{"id":null,...} */
    fcc_str_t    username;
    fcc_str_t    role;
    int64_t      slow;          /* seconds */
    fcc_str_t    pins;          /* JSON: what is between the brackets */
    int64_t      viewers;
    int64_t      server_time;   /* milliseconds */
} fcc_welcome_t;

/* the welcome of design 3 */
void fcc_proto_v1_welcome(fcc_buf_t *b, const fcc_welcome_t *w);

/* a JSON string with its quotes, escaped as said above */
void fcc_json_string(fcc_buf_t *b, const unsigned char *p, size_t len);

/* a decimal number */
void fcc_json_int(fcc_buf_t *b, int64_t n);


#endif /* _FCC_PROTO_H_INCLUDED_ */
