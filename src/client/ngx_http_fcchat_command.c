
/*
 * Commands: what a client asks for, and what it is told of it.
 *
 * What is wrong with one message is told to its sender alone; the socket
 * lives. A message that was taken is "pending" until its fate is known; with
 * too many of them the socket is not read, which is all the flow control a
 * client needs.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


static void ngx_http_fcchat_command_message(ngx_http_fcchat_session_t *s,
    fcc_cmd_t *cmd);
static void ngx_http_fcchat_command_reaction(ngx_http_fcchat_session_t *s,
    fcc_cmd_t *cmd);
static void ngx_http_fcchat_command_history(ngx_http_fcchat_session_t *s,
    fcc_cmd_t *cmd);
static void ngx_http_fcchat_command_moderate(ngx_http_fcchat_session_t *s,
    fcc_cmd_t *cmd);
static ngx_uint_t ngx_http_fcchat_command_silenced(
    ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd);
static ngx_int_t ngx_http_fcchat_command_slow(ngx_http_fcchat_session_t *s,
    fcc_cmd_t *cmd);
static ngx_uint_t ngx_http_fcchat_command_exempt(
    ngx_http_fcchat_session_t *s, fcc_rate_t *rate);
static ngx_uint_t ngx_http_fcchat_command_said(ngx_http_fcchat_session_t *s,
    fcc_cmd_t *cmd);
static void ngx_http_fcchat_command_unsay(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_command_limited(ngx_http_fcchat_session_t *s,
    fcc_cmd_t *cmd, ngx_msec_t wait);
static uint64_t ngx_http_fcchat_command_cid(fcc_cmd_t *cmd);
static uint64_t ngx_http_fcchat_command_key(ngx_http_fcchat_session_t *s);
static ngx_int_t ngx_http_fcchat_command_sender(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_command_pending(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_command_done(void *session,
    ngx_http_fcchat_outcome_t *o);
static void ngx_http_fcchat_command_error(ngx_http_fcchat_session_t *s,
    fcc_proto_error_t *err, fcc_str_t *cid, int64_t retry_after);
static void ngx_http_fcchat_command_busy(ngx_http_fcchat_session_t *s,
    fcc_str_t *cid);


void
ngx_http_fcchat_command(ngx_http_fcchat_session_t *s, u_char *data, size_t len)
{
    fcc_cmd_t          cmd;
    fcc_proto_error_t  err;

    if (s->room == NULL) {
        return;
    }

    if (fcc_proto_parse(s->v1 ? FCC_PROTO_V1 : FCC_PROTO_OLD, data, len,
                        s->conf->length, &cmd, &err)
        != FCC_OK)
    {
        ngx_http_fcchat_command_error(s, &err, &cmd.cid, -1);
        fcc_cmd_free(&cmd);
        return;
    }

    if (s->author.id == 0 && cmd.type != FCC_CMD_HISTORY) {
        err.code = "login_required";
        err.text = "Log in to take part.";

        ngx_http_fcchat_audit(s, NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN,
                              "a guest may only watch");

        ngx_http_fcchat_command_error(s, &err, &cmd.cid, -1);
        fcc_cmd_free(&cmd);
        return;
    }

    if (ngx_http_fcchat_command_sender(s) != NGX_OK) {
        ngx_http_fcchat_command_busy(s, &cmd.cid);
        fcc_cmd_free(&cmd);
        return;
    }

    /* roles come and go while a socket is open */

    ngx_http_fcchat_session_role(s, s->staff);

    switch (cmd.type) {

    case FCC_CMD_MESSAGE:
        ngx_http_fcchat_command_message(s, &cmd);
        break;

    case FCC_CMD_REACTION:
        ngx_http_fcchat_command_reaction(s, &cmd);
        break;

    case FCC_CMD_HISTORY:
        ngx_http_fcchat_command_history(s, &cmd);
        break;

    case FCC_CMD_MODERATE:
        ngx_http_fcchat_command_moderate(s, &cmd);
        break;
    }

    fcc_cmd_free(&cmd);
}


static void
ngx_http_fcchat_command_message(ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd)
{
    ngx_int_t  slow;

    if (ngx_http_fcchat_command_silenced(s, cmd)) {
        return;
    }

    slow = ngx_http_fcchat_command_slow(s, cmd);

    if (slow == NGX_BUSY) {
        return;
    }

    if (ngx_http_fcchat_command_exempt(s, s->conf->rate)
        || !ngx_http_fcchat_command_said(s, cmd))
    {
        if (ngx_http_fcchat_say(s->room, &s->author, &cmd->cid, &cmd->text,
                                s->sender)
            == NGX_OK)
        {
            ngx_http_fcchat_command_pending(s);
            return;
        }

        ngx_http_fcchat_command_unsay(s);
        ngx_http_fcchat_command_busy(s, &cmd->cid);
    }

    /* what was sent again took nothing */

    if (slow == NGX_OK) {
        ngx_http_fcchat_slow_back(s->room, s->author.id);
    }
}


static void
ngx_http_fcchat_command_reaction(ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd)
{
    ngx_int_t                  rc;
    ngx_msec_t                 wait;
    fcc_proto_error_t          err;
    ngx_http_fcchat_outcome_t  o;

    if (ngx_http_fcchat_command_silenced(s, cmd)) {
        return;
    }

    if (!ngx_http_fcchat_command_exempt(s, s->conf->reaction_rate)) {

        wait = ngx_http_fcchat_rate_take(s->worker->conf->rates,
                                         ngx_http_fcchat_command_key(s),
                                         NGX_HTTP_FCCHAT_RATE_REACTION,
                                         s->conf->reaction_rate);
        if (wait) {
            ngx_http_fcchat_command_limited(s, cmd, wait);
            return;
        }

        ngx_http_fcchat_spent(s->room->hub, &s->room->schema, s->author.id,
                              NGX_HTTP_FCCHAT_RATE_REACTION,
                              s->conf->reaction_rate, 0, 0);
    }

    rc = ngx_http_fcchat_react(s->room, &s->author, cmd->stamp_id, &cmd->cid,
                               s->sender);

    if (rc == NGX_OK) {
        return;
    }

    if (rc == NGX_AGAIN) {
        ngx_http_fcchat_command_pending(s);
        return;
    }

    ngx_http_fcchat_react_outcome(rc, &o);

    err.code = o.code;
    err.text = o.text;

    ngx_http_fcchat_command_error(s, &err, &cmd->cid, o.retry_after);
}


static void
ngx_http_fcchat_command_history(ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd)
{
    ngx_int_t          rc;
    ngx_msec_t         wait;
    fcc_proto_error_t  err;

    wait = ngx_http_fcchat_history_wait(s);

    if (wait) {
        ngx_http_fcchat_command_limited(s, cmd, wait);
        return;
    }

    rc = ngx_http_fcchat_history(s, cmd->before, cmd->limit);

    if (rc == NGX_BUSY) {
        err.code = "rate_limited";
        err.text = "One page at a time.";

        ngx_http_fcchat_command_error(s, &err, &cmd->cid,
                                      NGX_HTTP_FCCHAT_RETRY_AFTER);

    } else if (rc == NGX_ERROR) {
        ngx_http_fcchat_command_busy(s, &cmd->cid);
    }
}


static void
ngx_http_fcchat_command_moderate(ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd)
{
    ngx_int_t          rc;
    fcc_proto_error_t  err;

    /* PostgreSQL has the last word, but need not be asked about most */

    if (ngx_strcmp(s->author.role.data, "member") == 0) {
        err.code = "forbidden";
        err.text = "You may not do that.";

        ngx_http_fcchat_audit(s, NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN,
                              "no moderator");
        ngx_http_fcchat_command_error(s, &err, &cmd->cid, -1);
        return;
    }

    rc = ngx_http_fcchat_moderate(s->room, &s->author, &cmd->mod, &cmd->cid,
                                  s->sender);

    if (rc == NGX_OK) {
        ngx_http_fcchat_command_pending(s);
        return;
    }

    if (rc == NGX_DECLINED) {
        err.code = "bad_request";
        err.text = "The time of \"until\" is over.";

        ngx_http_fcchat_command_error(s, &err, &cmd->cid, -1);
        return;
    }

    ngx_http_fcchat_command_busy(s, &cmd->cid);
}


/* 1: the user may not write here, and was told */

static ngx_uint_t
ngx_http_fcchat_command_silenced(ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd)
{
    int64_t            wait;
    fcc_proto_error_t  err;

    if (ngx_http_fcchat_session_judge(&s->member)) {
        err.code = "banned";
        err.text = "You may not be here.";

        ngx_http_fcchat_command_error(s, &err, &cmd->cid, -1);
        return 1;
    }

    wait = ngx_http_fcchat_room_timeout(s->room, s->author.id);

    if (wait) {
        err.code = "timed_out";
        err.text = "You may not write here for a while.";

        ngx_http_fcchat_command_error(s, &err, &cmd->cid, wait);
        return 1;
    }

    return 0;
}


/* NGX_BUSY: too soon in slow mode, and the client was told; NGX_DONE: the last
 * one is sent again */

static ngx_int_t
ngx_http_fcchat_command_slow(ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd)
{
    ngx_int_t          rc;
    ngx_msec_t         wait;
    fcc_proto_error_t  err;

    if (ngx_strcmp(s->author.role.data, "member") != 0) {
        return NGX_OK;
    }

    rc = ngx_http_fcchat_slow_take(s->room, s->author.id,
                                   ngx_http_fcchat_command_cid(cmd), &wait);

    if (rc == NGX_BUSY) {
        err.code = "slow_mode";
        err.text = "This room is in slow mode, wait a little.";

        ngx_http_fcchat_command_error(s, &err, &cmd->cid, wait);
    }

    return rc;
}


ngx_uint_t
ngx_http_fcchat_session_judge(ngx_http_fcchat_member_t *m)
{
    ngx_http_fcchat_session_t  *s;

    s = (ngx_http_fcchat_session_t *) m;

    return ngx_http_fcchat_room_banned(s->room, s->author.id, s->staff,
                                       &s->addr)
           ? NGX_HTTP_FCCHAT_CLOSE_FORBIDDEN : 0;
}


/* 1: nobody limits it; moderators are free */

static ngx_uint_t
ngx_http_fcchat_command_exempt(ngx_http_fcchat_session_t *s, fcc_rate_t *rate)
{
    return rate == NULL || ngx_strcmp(s->author.role.data, "member") != 0;
}


/* 1: one too many, or the same text again, and the client was told */

static ngx_uint_t
ngx_http_fcchat_command_said(ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd)
{
    uint64_t           text, cid;
    ngx_int_t          rc;
    ngx_msec_t         wait;
    fcc_proto_error_t  err;

    text = fcc_rate_hash(FCC_RATE_HASH_INIT, s->room->name.data,
                         s->room->name.len);
    text = fcc_rate_hash(text, "", 1);
    text = fcc_rate_hash(text, cmd->text.data, cmd->text.len);

    cid = ngx_http_fcchat_command_cid(cmd);

    rc = ngx_http_fcchat_rate_say(s->worker->conf->rates,
                                  ngx_http_fcchat_command_key(s), text, cid,
                                  s->conf->rate, &wait);

    if (rc == NGX_BUSY) {
        ngx_http_fcchat_command_limited(s, cmd, wait);
        return 1;
    }

    if (rc == NGX_DECLINED) {
        err.code = "duplicate";
        err.text = "You have said that just now.";

        ngx_http_fcchat_audit(s, NGX_HTTP_FCCHAT_AUDIT_RATE, "said again");

        ngx_http_fcchat_command_error(s, &err, &cmd->cid, -1);
        return 1;
    }

    ngx_http_fcchat_spent(s->room->hub, &s->room->schema, s->author.id,
                          NGX_HTTP_FCCHAT_RATE_MESSAGE, s->conf->rate, text,
                          cid);

    return 0;
}


static void
ngx_http_fcchat_command_unsay(ngx_http_fcchat_session_t *s)
{
    if (!ngx_http_fcchat_command_exempt(s, s->conf->rate)) {
        ngx_http_fcchat_rate_unsay(s->worker->conf->rates,
                                   ngx_http_fcchat_command_key(s));

        ngx_http_fcchat_spent(s->room->hub, &s->room->schema, s->author.id,
                              NGX_HTTP_FCCHAT_RATE_MESSAGE, NULL, 0, 0);
    }
}


static void
ngx_http_fcchat_command_limited(ngx_http_fcchat_session_t *s, fcc_cmd_t *cmd,
    ngx_msec_t wait)
{
    fcc_proto_error_t  err;

    err.code = "rate_limited";
    err.text = "Too fast, wait a little.";

    ngx_http_fcchat_audit(s, NGX_HTTP_FCCHAT_AUDIT_RATE, "too fast");

    ngx_http_fcchat_command_error(s, &err, &cmd->cid, wait);
}


/* its hash; 0: there is none */

static uint64_t
ngx_http_fcchat_command_cid(fcc_cmd_t *cmd)
{
    return cmd->cid.len ? fcc_rate_hash(FCC_RATE_HASH_INIT, cmd->cid.data,
                                        cmd->cid.len)
                        : 0;
}


static uint64_t
ngx_http_fcchat_command_key(ngx_http_fcchat_session_t *s)
{
    return ngx_http_fcchat_user_key(s->room->hub, &s->room->schema,
                                    s->author.id);
}


/* what the session is known by to those who decide after it may be gone */

static ngx_int_t
ngx_http_fcchat_command_sender(ngx_http_fcchat_session_t *s)
{
    if (s->sender) {
        return NGX_OK;
    }

    s->sender = ngx_alloc(sizeof(ngx_http_fcchat_sender_t),
                          s->member.connection->log);
    if (s->sender == NULL) {
        return NGX_ERROR;
    }

    s->sender->refs = 1;
    s->sender->session = s;
    s->sender->done = ngx_http_fcchat_command_done;

    return NGX_OK;
}


static void
ngx_http_fcchat_command_pending(ngx_http_fcchat_session_t *s)
{
    s->pending++;

    if (s->pending >= NGX_HTTP_FCCHAT_PENDING_MAX) {
        s->paused = 1;
    }
}


void
ngx_http_fcchat_session_resume(ngx_http_fcchat_session_t *s)
{
    if (s->paused && s->pending < NGX_HTTP_FCCHAT_PENDING_MAX / 2) {
        s->paused = 0;
        ngx_post_event(s->member.connection->read, &ngx_posted_events);
    }
}


static void
ngx_http_fcchat_command_done(void *session, ngx_http_fcchat_outcome_t *o)
{
    u_char                      buf[FCC_PROTO_OVERHEAD
                                    + FCC_PROTO_EXPANSION * 4
                                      * FCC_PROTO_CID_MAX];
    fcc_buf_t                   b;
    fcc_str_t                   cid;
    fcc_proto_error_t           err;
    ngx_http_fcchat_session_t  *s;

    s = session;
    s->pending--;

    cid.len = o->cid.len;
    cid.data = o->cid.data;

    if (s->state == NGX_HTTP_FCCHAT_OPEN) {

        if (o->code) {

            err.code = o->code;
            err.text = o->text;

            ngx_http_fcchat_command_error(s, &err, &cid, o->retry_after);

        } else if (o->seq && (s->v1 || cid.len)) {

            fcc_buf_init(&b, buf, sizeof(buf));
            fcc_proto_v1_ack(&b, &cid, o->seq, o->id);

            ngx_http_fcchat_session_reply(s, FCC_WS_TEXT, b.start,
                                          b.pos - b.start);
        }
    }

    ngx_http_fcchat_session_resume(s);
    ngx_http_fcchat_session_drained(s);
}


static void
ngx_http_fcchat_command_busy(ngx_http_fcchat_session_t *s, fcc_str_t *cid)
{
    fcc_proto_error_t  err;

    err.code = "unavailable";
    err.text = "The server is busy, try again.";

    ngx_http_fcchat_command_error(s, &err, cid, NGX_HTTP_FCCHAT_RETRY_AFTER);
}


static void
ngx_http_fcchat_command_error(ngx_http_fcchat_session_t *s,
    fcc_proto_error_t *err, fcc_str_t *cid, int64_t retry_after)
{
    u_char     buf[2 * FCC_PROTO_OVERHEAD
                   + FCC_PROTO_EXPANSION * 4 * FCC_PROTO_CID_MAX];
    fcc_buf_t  b;

    ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_ERRORS, err->code, 1);

    fcc_buf_init(&b, buf, sizeof(buf));

    if (s->v1) {
        fcc_proto_v1_error(&b, err, cid, retry_after);

    } else {
        fcc_proto_old_error(&b, err, cid, retry_after);
    }

    ngx_http_fcchat_session_reply(s, FCC_WS_TEXT, b.start, b.pos - b.start);
}


void
ngx_http_fcchat_reset(ngx_http_fcchat_session_t *s, const char *reason)
{
    u_char     buf[FCC_PROTO_OVERHEAD];
    fcc_buf_t  b;
    fcc_str_t  epoch;

    ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_RESETS, reason, 1);

    epoch.len = s->room->epoch_len;
    epoch.data = s->room->epoch;

    fcc_buf_init(&b, buf, sizeof(buf));
    fcc_proto_v1_reset(&b, reason, &epoch, s->room->have);

    ngx_http_fcchat_session_reply(s, FCC_WS_TEXT, b.start, b.pos - b.start);
}


void
ngx_http_fcchat_welcome(ngx_http_fcchat_session_t *s)
{
    u_char                  *p;
    size_t                   size;
    fcc_buf_t                b, pins;
    fcc_welcome_t            w;
    ngx_http_fcchat_room_t  *room;
    u_char                   buf[FCC_PROTO_OVERHEAD
                                 + FCC_PROTO_EXPANSION
                                   * (NGX_HTTP_FCCHAT_USERNAME_MAX
                                      + FCC_ROOM_NAME_MAX + 64)];

    room = s->room;

    p = buf;
    size = room->rules ? ngx_http_fcchat_rules_pins_size(room->rules) : 0;

    if (size) {

        /* the pins, and behind them all of it */

        p = ngx_alloc(2 * size + sizeof(buf), s->member.connection->log);

        if (p == NULL) {
            p = buf;
            size = 0;
        }
    }

    fcc_buf_init(&pins, p, size);

    if (size) {
        ngx_http_fcchat_rules_pins(room->rules, &pins,
                                   ngx_http_fcchat_rules_now());
    }

    w.slow = ngx_http_fcchat_room_slow(room);
    w.pins.len = pins.pos - pins.start;
    w.pins.data = pins.start;

    w.room.len = room->name.len;
    w.room.data = room->name.data;
    w.epoch.len = room->epoch_len;
    w.epoch.data = room->epoch;
    w.head = room->have;
    w.user_id = s->author.id;
    w.username.len = s->author.username.len;
    w.username.data = s->author.username.data;
    w.role.len = s->author.role.len;
    w.role.data = s->author.role.data;

    /* whom it welcomes is about to join */

    w.viewers = ngx_http_fcchat_room_viewers(room) + 1;
    w.server_time = ngx_http_fcchat_rules_now();

    fcc_buf_init(&b, p + size, size + sizeof(buf));
    fcc_proto_v1_welcome(&b, &w);

    ngx_http_fcchat_session_reply(s, FCC_WS_TEXT, b.start, b.pos - b.start);

    if (p != buf) {
        ngx_free(p);
    }
}
