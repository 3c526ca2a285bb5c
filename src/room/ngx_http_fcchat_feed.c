
/*
 * What a room's log is fed with: one order, from three sources.
 *
 * Events reach a worker from its own commits, from the bus and from
 * PostgreSQL, in any order and more than once.  The number alone decides what
 * becomes of one:
 *
 *     seq <= have        known already, dropped
 *     seq == have + 1    appended, and after it what was held and fits now
 *     seq >  have + 1    held, at most HOLD_MAX of them and HOLD_TIME long
 *
 * Then, or when PostgreSQL tells a higher head, one question at a time asks
 * for what came after have, until have is the head.  An answer may be late: it
 * is fed through the same rule, so it can repeat but never skip.  A number
 * that is missing in an answer exists no more (rows are numbered and committed
 * in one order), so the log goes on behind it.
 *
 * Another epoch means that the log went back (a restored dump): readers of
 * fcchat.v1 are told "reset", and the log goes on from PostgreSQL's head.  A
 * head below what the room had is the same, noticed here: the epoch is renewed.
 * So is a new number that is given to what was said here when the room had come
 * further: where many write, the head may pass that place before it is asked.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


static void ngx_http_fcchat_room_append(ngx_http_fcchat_room_t *room,
    fcc_event_t *e);
static void ngx_http_fcchat_room_put_frame(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_encoding_e encoding, int64_t seq, ngx_uint_t at,
    fcc_buf_t *b);
static void ngx_http_fcchat_room_gap(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_encoding_e encoding);
static void ngx_http_fcchat_room_held(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_room_hold(ngx_http_fcchat_room_t *room,
    fcc_event_t *e);
static u_char *ngx_http_fcchat_room_keep(u_char *p, fcc_str_t *s);
static void ngx_http_fcchat_room_caught(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_room_reset(ngx_http_fcchat_room_t *room,
    ngx_str_t *epoch, int64_t head, const char *reason);
static void ngx_http_fcchat_room_renewed(void *data,
    ngx_http_fcchat_store_answer_t *answer);


void
ngx_http_fcchat_room_event(ngx_http_fcchat_room_t *room, fcc_event_t *e,
    ngx_str_t *epoch)
{
    if (!room->open) {
        return;
    }

    if (!ngx_http_fcchat_room_same_epoch(room, epoch)) {

        /* only PostgreSQL says which epoch is the right one */

        room->stale = 1;
        ngx_http_fcchat_hub_poll_soon(room->hub);
        return;
    }

    if (e->seq <= room->have) {
        return;
    }

    if (e->seq > room->have + 1) {
        ngx_http_fcchat_room_hold(room, e);
        return;
    }

    ngx_http_fcchat_room_append(room, e);

    if (room->nheld) {
        ngx_http_fcchat_room_held(room);
    }
}


static void
ngx_http_fcchat_room_append(ngx_http_fcchat_room_t *room, fcc_event_t *e)
{
    size_t      size;
    u_char     *p;
    fcc_buf_t   b;
    ngx_uint_t  i;

    room->have = e->seq;

    if (e->detail.len) {
        ngx_http_fcchat_ruled_event(room, e);
        ngx_http_fcchat_ruled_shows(room, e);

    } else if (room->rules) {
        ngx_http_fcchat_slow_said(room, e);
    }

    p = ngx_http_fcchat_room_scratch(room, e, &size);

    for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES; i++) {
        if (room->audiences[i].log.size
            && !ngx_http_fcchat_room_reads(room, i))
        {
            ngx_http_fcchat_log_clear(&room->audiences[i].log);
        }
    }

    for (i = 0; i < NGX_HTTP_FCCHAT_ENCODINGS; i++) {

        if (!ngx_http_fcchat_room_reads(room, i)
            && !ngx_http_fcchat_room_reads(room, i + NGX_HTTP_FCCHAT_DEFLATED))
        {
            continue;
        }

        if (p == NULL) {
            ngx_http_fcchat_room_gap(room, i);
            continue;
        }

        fcc_buf_init(&b, p, size);
        ngx_http_fcchat_room_encode(&b, e, i);

        if (b.full) {
            ngx_log_error(NGX_LOG_ALERT, room->hub->log, 0,
                          "fcchat event %L of room \"%V\" did not fit "
                          "%uz bytes", e->seq, &room->name, size);
            ngx_http_fcchat_room_gap(room, i);
            continue;
        }

        if (b.pos != b.start) {
            ngx_http_fcchat_room_put_frame(room, i, e->seq,
                                           ngx_http_fcchat_room_at(e), &b);
        }
    }

    ngx_http_fcchat_room_dirty(room);
}


/* one frame into both logs of an encoding; compressed once, for all */

static void
ngx_http_fcchat_room_put_frame(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_encoding_e encoding, int64_t seq, ngx_uint_t at,
    fcc_buf_t *b)
{
    size_t                       len;
    u_char                      *p;
    ngx_uint_t                   log, opcode;
    ngx_http_fcchat_audience_t  *a;

    for (log = encoding;
         log < NGX_HTTP_FCCHAT_AUDIENCES;
         log += NGX_HTTP_FCCHAT_DEFLATED)
    {
        a = &room->audiences[log];

        /* what is no event is for those who are there */

        if (at ? !ngx_http_fcchat_room_reads(room, log) : a->n == 0) {
            continue;
        }

        p = b->start;
        len = b->pos - b->start;
        opcode = ngx_http_fcchat_room_pack(room, log, &p, &len);

        (void) ngx_http_fcchat_audience_append(a, seq, at, opcode, p, len);
    }
}


ngx_uint_t
ngx_http_fcchat_room_at(fcc_event_t *e)
{
    return (ngx_uint_t) ngx_min(ngx_max(e->at / 1000, 1),
                                NGX_MAX_UINT32_VALUE);
}


ngx_uint_t
ngx_http_fcchat_room_pack(ngx_http_fcchat_room_t *room, ngx_uint_t log,
    u_char **data, size_t *len)
{
    if (log < NGX_HTTP_FCCHAT_DEFLATED) {
        return FCC_WS_TEXT;
    }

    return ngx_http_fcchat_deflate(room->hub->deflate, FCC_DEFLATE_BITS,
                                   FCC_WS_TEXT, data, len);
}


static void
ngx_http_fcchat_room_gap(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_encoding_e encoding)
{
    ngx_http_fcchat_audience_gap(&room->audiences[encoding]);
    ngx_http_fcchat_audience_gap(&room->audiences[encoding
                                                  + NGX_HTTP_FCCHAT_DEFLATED]);
}


u_char *
ngx_http_fcchat_room_scratch(ngx_http_fcchat_room_t *room, fcc_event_t *e,
    size_t *size)
{
    if (e->text.len > NGX_HTTP_FCCHAT_TEXT_MAX) {

        /* not from us: cut where a character begins */

        e->text.len = NGX_HTTP_FCCHAT_TEXT_MAX;

        while (e->text.len && (e->text.data[e->text.len] & 0xc0) == 0x80) {
            e->text.len--;
        }
    }

    *size = fcc_event_size(e);

    return ngx_http_fcchat_hub_scratch(room->hub, *size);
}


void
ngx_http_fcchat_room_encode(fcc_buf_t *b, fcc_event_t *e, ngx_uint_t encoding)
{
    ngx_uint_t  html;

    html = (encoding == NGX_HTTP_FCCHAT_OLD_HTML);

    if (e->detail.len) {

        if (encoding == NGX_HTTP_FCCHAT_V1) {
            fcc_proto_v1_moderation(b, e);

        } else {
            fcc_proto_old_moderation(b, e, html);
        }

        return;
    }

    if (encoding == NGX_HTTP_FCCHAT_V1) {
        fcc_proto_v1_message(b, e);
        return;
    }

    /* the old protocol has no word for a message that is no more */

    if (e->type.len == sizeof("deleted") - 1
        && ngx_memcmp(e->type.data, "deleted", e->type.len) == 0)
    {
        return;
    }

    fcc_proto_old_message(b, e, html);
}


ngx_uint_t
ngx_http_fcchat_room_reads(ngx_http_fcchat_room_t *room, ngx_uint_t log)
{
    ngx_http_fcchat_audience_t  *a;

    a = &room->audiences[log];

    return a->n != 0
           || ngx_current_msec - a->left < NGX_HTTP_FCCHAT_ROOM_LINGER;
}


void
ngx_http_fcchat_room_ephemeral(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_encoding_e encoding, fcc_buf_t *b)
{
    if (b->full) {
        ngx_log_error(NGX_LOG_ALERT, room->hub->log, 0,
                      "fcchat frame for room \"%V\" did not fit %uz bytes",
                      &room->name, (size_t) (b->end - b->start));
        return;
    }

    if (ngx_http_fcchat_room_readers(room, encoding) == 0) {
        return;
    }

    ngx_http_fcchat_room_put_frame(room, encoding, room->have, 0, b);

    ngx_http_fcchat_room_dirty(room);
}


/* appends what was held and is next now */

static void
ngx_http_fcchat_room_held(ngx_http_fcchat_room_t *room)
{
    ngx_queue_t             *q;
    ngx_http_fcchat_held_t  *held;

    while (!ngx_queue_empty(&room->held)) {
        q = ngx_queue_head(&room->held);
        held = ngx_queue_data(q, ngx_http_fcchat_held_t, queue);

        if (held->event.seq > room->have + 1) {
            return;
        }

        ngx_queue_remove(q);
        room->nheld--;

        if (held->event.seq == room->have + 1) {
            ngx_http_fcchat_room_append(room, &held->event);
        }

        ngx_free(held);
    }

    if (room->hold.timer_set) {
        ngx_del_timer(&room->hold);
    }
}


static void
ngx_http_fcchat_room_hold(ngx_http_fcchat_room_t *room, fcc_event_t *e)
{
    u_char                  *p;
    ngx_queue_t             *q;
    ngx_http_fcchat_held_t  *held, *other;

    if (!room->hold.timer_set && room->catchup == NULL) {
        ngx_add_timer(&room->hold, NGX_HTTP_FCCHAT_HOLD_TIME);
    }

    if (room->nheld >= NGX_HTTP_FCCHAT_HOLD_MAX) {
        return;
    }

    for (q = ngx_queue_last(&room->held);
         q != ngx_queue_sentinel(&room->held);
         q = ngx_queue_prev(q))
    {
        other = ngx_queue_data(q, ngx_http_fcchat_held_t, queue);

        if (other->event.seq == e->seq) {
            return;
        }

        if (other->event.seq < e->seq) {
            break;
        }
    }

    held = ngx_alloc(sizeof(ngx_http_fcchat_held_t) + e->username.len
                     + e->role.len + e->type.len + e->text.len
                     + e->detail.len,
                     room->hub->log);
    if (held == NULL) {
        return;
    }

    held->event = *e;

    p = (u_char *) held + sizeof(ngx_http_fcchat_held_t);
    p = ngx_http_fcchat_room_keep(p, &held->event.username);
    p = ngx_http_fcchat_room_keep(p, &held->event.role);
    p = ngx_http_fcchat_room_keep(p, &held->event.type);
    p = ngx_http_fcchat_room_keep(p, &held->event.text);
    (void) ngx_http_fcchat_room_keep(p, &held->event.detail);

    ngx_queue_insert_after(q, &held->queue);
    room->nheld++;
}


static u_char *
ngx_http_fcchat_room_keep(u_char *p, fcc_str_t *s)
{
    u_char  *start;

    start = p;

    if (s->len) {
        p = ngx_cpymem(p, s->data, s->len);
    }

    s->data = start;

    return p;
}


void
ngx_http_fcchat_room_unhold(ngx_http_fcchat_room_t *room)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&room->held)) {
        q = ngx_queue_head(&room->held);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_http_fcchat_held_t, queue));
    }

    room->nheld = 0;
    room->unknown = 0;

    if (room->hold.timer_set) {
        ngx_del_timer(&room->hold);
    }
}


void
ngx_http_fcchat_room_catchup(ngx_http_fcchat_room_t *room)
{
    if (!room->open || room->catchup) {
        return;
    }

    if (room->hold.timer_set) {
        ngx_del_timer(&room->hold);
    }

    /* when it can't be asked, the next tick finds the head above have */

    room->catchup = ngx_http_fcchat_store_events(room->hub->store,
                                                 &room->schema, room->id,
                                                 room->have,
                                                 NGX_HTTP_FCCHAT_CATCHUP_LIMIT,
                                                 ngx_http_fcchat_room_caught,
                                                 room);
    if (room->catchup) {
        ngx_http_fcchat_stat_inc(CATCHUPS);
    }
}


static void
ngx_http_fcchat_room_caught(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_uint_t               i;
    fcc_event_t             *e;
    ngx_http_fcchat_room_t  *room;

    room = data;
    room->catchup = NULL;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK) {
        return;
    }

    for (i = 0; i < answer->n; i++) {
        e = &answer->events[i];

        if (e->seq > room->have + 1
            && ngx_http_fcchat_room_same_epoch(room, &answer->room.epoch))
        {
            ngx_log_error(NGX_LOG_WARN, room->hub->log, 0,
                          "fcchat log of room \"%V\" lacks %L to %L",
                          &room->name, room->have + 1, e->seq - 1);
            room->have = e->seq - 1;
        }

        ngx_http_fcchat_room_author(room, e);
        ngx_http_fcchat_room_event(room, e, &answer->room.epoch);
    }

    if (answer->n == 0 && answer->room.head > room->have) {

        /* a commit between events and head; the second time it is none */

        if (room->nothing++) {
            ngx_http_fcchat_room_reset(room, &answer->room.epoch,
                                       answer->room.head, "gone");
            return;
        }

    } else {
        room->nothing = 0;
    }

    ngx_http_fcchat_room_head(room, &answer->room.epoch, answer->room.head);

    if (room->nheld == 0 || room->catchup || room->hold.timer_set) {
        return;
    }

    if (answer->n == 0) {

        /* asked again, PostgreSQL still knows nothing of these: the tick will
         * tell if it does later */

        if (room->unknown++) {
            ngx_http_fcchat_room_unhold(room);
            return;
        }

    } else {
        room->unknown = 0;
    }

    ngx_add_timer(&room->hold, NGX_HTTP_FCCHAT_HOLD_TIME);
}


void
ngx_http_fcchat_room_head(ngx_http_fcchat_room_t *room, ngx_str_t *epoch,
    int64_t head)
{
    if (!room->open) {
        return;
    }

    if (!ngx_http_fcchat_room_same_epoch(room, epoch)) {
        ngx_http_fcchat_room_reset(room, epoch, head, "epoch");
        return;
    }

    if (head > room->have) {
        ngx_http_fcchat_room_catchup(room);
        return;
    }

    ngx_http_fcchat_room_resuming(room);
}


void
ngx_http_fcchat_room_back(ngx_http_fcchat_room_t *room, int64_t have,
    int64_t head)
{
    ngx_str_t  epoch;

    if (!room->open || room->renew) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, room->hub->log, 0,
                  "fcchat log of room \"%V\" went back from %L to %L "
                  "in PostgreSQL, its epoch is renewed",
                  &room->name, have, head);

    epoch.len = room->epoch_len;
    epoch.data = room->epoch;

    /* when it can't be asked, the next tick notices again */

    room->renew = ngx_http_fcchat_store_epoch(room->hub->store, &room->schema,
                                              room->id, &epoch,
                                              ngx_http_fcchat_room_renewed,
                                              room);
}


static void
ngx_http_fcchat_room_renewed(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_http_fcchat_room_t  *room;

    room = data;
    room->renew = NULL;

    if (answer->rc == NGX_HTTP_FCCHAT_STORE_OK && answer->n == 1) {
        ngx_http_fcchat_room_head(room, &answer->heads[0].epoch,
                                  answer->heads[0].head);
    }
}


ngx_uint_t
ngx_http_fcchat_room_same_epoch(ngx_http_fcchat_room_t *room,
    ngx_str_t *epoch)
{
    return epoch->len == room->epoch_len
           && ngx_memcmp(epoch->data, room->epoch, epoch->len) == 0;
}


static void
ngx_http_fcchat_room_reset(ngx_http_fcchat_room_t *room, ngx_str_t *epoch,
    int64_t head, const char *reason)
{
    u_char      buf[FCC_PROTO_OVERHEAD];
    fcc_buf_t   b;
    fcc_str_t   s;
    ngx_uint_t  i;

    /* that of all rooms has none until something is in it */

    if (room->epoch_len) {
        ngx_log_error(NGX_LOG_WARN, room->hub->log, 0,
                      "fcchat log of room \"%V\" is another one (%s): "
                      "%L was its head here, %L is in PostgreSQL",
                      &room->name, reason, room->have, head);
    }

    if (room->catchup) {
        ngx_http_fcchat_store_forget(room->catchup);
        room->catchup = NULL;
    }

    if (room->backfill) {
        ngx_http_fcchat_store_forget(room->backfill);
        room->backfill = NULL;
    }

    ngx_http_fcchat_room_unhold(room);

    room->epoch_len = ngx_min(epoch->len, NGX_HTTP_FCCHAT_STORE_EPOCH_MAX);
    ngx_memcpy(room->epoch, epoch->data, room->epoch_len);
    room->have = head;
    room->asked = head;
    room->logs++;
    room->nothing = 0;

    if (room->shown) {
        ngx_memzero(room->shown, NGX_HTTP_FCCHAT_SHOWN_MAX
                                 * sizeof(ngx_http_fcchat_shown_t));
    }

    if (room->moderated) {
        room->ruled = head;
        room->applied = 0;
        ngx_http_fcchat_ruled_anew(room);
    }

    /* old pages have no word for it: closed, they come back to what there is */

    for (i = NGX_HTTP_FCCHAT_OLD_HTML; i <= NGX_HTTP_FCCHAT_OLD_RAW; i++) {
        ngx_http_fcchat_room_gap(room, i);
    }

    for (i = NGX_HTTP_FCCHAT_V1;
         i < NGX_HTTP_FCCHAT_AUDIENCES;
         i += NGX_HTTP_FCCHAT_DEFLATED)
    {
        ngx_http_fcchat_log_epoch(&room->audiences[i].log);
    }

    s.len = room->epoch_len;
    s.data = room->epoch;

    fcc_buf_init(&b, buf, sizeof(buf));
    fcc_proto_v1_reset(&b, reason, &s, head);

    ngx_http_fcchat_stat_label(NGX_HTTP_FCCHAT_STAT_RESETS, reason,
                               ngx_http_fcchat_room_readers(room,
                                                    NGX_HTTP_FCCHAT_V1));

    ngx_http_fcchat_room_ephemeral(room, NGX_HTTP_FCCHAT_V1, &b);

    ngx_http_fcchat_room_resumed(room, reason);
}
