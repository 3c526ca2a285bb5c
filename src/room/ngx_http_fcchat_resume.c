
/*
 * Coming back: a reader that says what it had is given what it missed, from the
 * same log that all read, and then simply is one of them.
 *
 * Where the log does not reach back so far, it is filled downwards: PostgreSQL
 * is asked for the events before its lowest, some hundreds at a time, and they
 * are put before the others.  One question is under way for a room, however
 * many wait; they are of different ages, and each joins as soon as the log
 * reaches its place.
 *
 *     wait --the log reaches since + 1-------------> joined there
 *       |
 *       +--older than RESUME_MAX, deleted since,
 *          another epoch, ahead of PostgreSQL-----> lost()
 *
 * What is too old is deleted from PostgreSQL, but for messages that are pinned.
 * So the log ends where a number is missing, and who wants more is lost; a page
 * that joins is given what there is.  The log forgets what is as old before
 * somebody joins it, as only PostgreSQL knows what there still is.
 *
 * A member that waits may go at any time: leave() takes it out of the queue.  A
 * reader may be ahead of this worker (it was told by another): then it waits
 * for the log to reach it, and is lost only when PostgreSQL, asked since then,
 * says that its head is below it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


static ngx_int_t ngx_http_fcchat_resume_try(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m);
static void ngx_http_fcchat_resume_lost(ngx_http_fcchat_member_t *m,
    const char *reason);
static void ngx_http_fcchat_resume_ask(ngx_http_fcchat_room_t *room,
    int64_t before);
static void ngx_http_fcchat_resume_read(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_resume_gone(ngx_http_fcchat_room_t *room,
    int64_t low);
static ngx_int_t ngx_http_fcchat_resume_put(ngx_http_fcchat_room_t *room,
    fcc_event_t *e);


ngx_int_t
ngx_http_fcchat_room_resume(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m, ngx_uint_t log, int64_t since)
{
    time_t     retention;
    ngx_int_t  rc;

    retention = room->hub->conf->store.retention;

    if (retention) {
        ngx_http_fcchat_audience_expire(&room->audiences[log],
                                        ngx_time() - retention);
    }

    m->since = since;
    m->polled = room->polled;

    ngx_http_fcchat_member_wait(m, &room->audiences[log], &room->resumers);

    rc = ngx_http_fcchat_resume_try(room, m);

    if (rc == NGX_AGAIN) {
        ngx_http_fcchat_room_resuming(room);
        return NGX_OK;
    }

    return rc;
}


/* NGX_OK: joined or lost; NGX_AGAIN: waits on; NGX_ERROR: no memory */

static ngx_int_t
ngx_http_fcchat_resume_try(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m)
{
    uint64_t                     pos;
    ngx_http_fcchat_audience_t  *a;

    if (m->since > room->have) {
        return NGX_AGAIN;
    }

    if (room->have - m->since > NGX_HTTP_FCCHAT_RESUME_MAX) {
        ngx_http_fcchat_resume_lost(m, "too_old");
        return NGX_OK;
    }

    a = m->wants;

    if (!ngx_http_fcchat_room_reads(room, a - room->audiences)) {

        /* nobody kept this log up: what it has may not be all */

        ngx_http_fcchat_log_clear(&a->log);
        a->left = ngx_current_msec;
    }

    if (ngx_http_fcchat_log_low(&a->log, room->have) > m->since + 1) {

        if (a->log.floor > a->log.first) {

            /* frames of another epoch are in the way of what is older */

            ngx_http_fcchat_resume_lost(m, "epoch");
            return NGX_OK;
        }

        return NGX_AGAIN;
    }

    pos = ngx_http_fcchat_log_find(&a->log, m->since + 1);

    ngx_http_fcchat_member_unwait(m);

    if (ngx_http_fcchat_member_join(m, a, pos) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_fcchat_stat_inc(RESUMES);

    ngx_http_fcchat_room_dirty(room);

    return NGX_OK;
}


static void
ngx_http_fcchat_resume_lost(ngx_http_fcchat_member_t *m, const char *reason)
{
    ngx_http_fcchat_member_unwait(m);

    m->owner->lost(m, reason);
}


void
ngx_http_fcchat_room_resuming(ngx_http_fcchat_room_t *room)
{
    int64_t                    before, low;
    ngx_int_t                  rc;
    ngx_queue_t               *q, *next;
    ngx_http_fcchat_member_t  *m;

    before = 0;

    for (q = ngx_queue_head(&room->resumers);
         q != ngx_queue_sentinel(&room->resumers);
         q = next)
    {
        next = ngx_queue_next(q);
        m = ngx_queue_data(q, ngx_http_fcchat_member_t, waiting);

        rc = ngx_http_fcchat_resume_try(room, m);

        if (rc == NGX_ERROR) {
            m->owner->broken(m, NGX_HTTP_FCCHAT_OVERLOADED);
            continue;
        }

        if (rc == NGX_OK) {
            continue;
        }

        if (m->since > room->have) {
            room->stale = 1;
            ngx_http_fcchat_hub_poll_soon(room->hub);
            continue;
        }

        low = ngx_http_fcchat_log_low(&m->wants->log, room->have);
        before = ngx_max(before, low);
    }

    if (before) {
        ngx_http_fcchat_resume_ask(room, before);
    }
}


static void
ngx_http_fcchat_resume_ask(ngx_http_fcchat_room_t *room, int64_t before)
{
    if (room->backfill) {
        return;
    }

    room->before = before;
    room->tainted = 0;

    /* when it can't be asked, the next tick tries again */

    room->backfill = ngx_http_fcchat_store_before(room->hub->store,
                                                  &room->schema, room->id,
                                                  before,
                                                  NGX_HTTP_FCCHAT_CATCHUP_LIMIT,
                                                  ngx_http_fcchat_resume_read,
                                                  room);
    if (room->backfill) {
        ngx_http_fcchat_stat_inc(BACKFILLS);
    }
}


static void
ngx_http_fcchat_resume_read(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    int64_t                  low;
    ngx_uint_t               i;
    ngx_http_fcchat_room_t  *room;

    room = data;
    room->backfill = NULL;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK) {
        return;
    }

    if (!ngx_http_fcchat_room_same_epoch(room, &answer->room.epoch)) {
        ngx_http_fcchat_room_head(room, &answer->room.epoch,
                                  answer->room.head);
        return;
    }

    if (room->tainted) {

        /* asked again at each of many deletes, it would run as often */

        ngx_http_fcchat_room_resuming(room);
        return;
    }

    low = room->before;

    for (i = answer->n; i-- > 0; low--) {

        if (answer->events[i].seq != low - 1) {
            break;
        }

        ngx_http_fcchat_room_author(room, &answer->events[i]);

        if (ngx_http_fcchat_resume_put(room, &answer->events[i]) != NGX_OK) {
            ngx_http_fcchat_room_resumed(room, "too_old");
            return;
        }
    }

    if (answer->n == 0 || low > answer->events[0].seq) {
        ngx_http_fcchat_resume_gone(room, low);
    }

    ngx_http_fcchat_room_resuming(room);
}


/* there is nothing below low any more */

static void
ngx_http_fcchat_resume_gone(ngx_http_fcchat_room_t *room, int64_t low)
{
    ngx_queue_t               *q, *next;
    ngx_http_fcchat_member_t  *m;

    for (q = ngx_queue_head(&room->resumers);
         q != ngx_queue_sentinel(&room->resumers);
         q = next)
    {
        next = ngx_queue_next(q);
        m = ngx_queue_data(q, ngx_http_fcchat_member_t, waiting);

        if (m->since + 1 >= low) {
            continue;
        }

        if (m->lenient) {
            m->since = low - 1;

        } else {
            ngx_http_fcchat_resume_lost(m, "gone");
        }
    }
}


/* before the lowest event of each log that somebody waits for */

static ngx_int_t
ngx_http_fcchat_resume_put(ngx_http_fcchat_room_t *room, fcc_event_t *e)
{
    size_t                       size, len;
    u_char                      *p;
    int64_t                      low;
    fcc_buf_t                    b;
    ngx_uint_t                   i, opcode;
    ngx_http_fcchat_audience_t  *a;

    ngx_http_fcchat_ruled_shows(room, e);

    for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES; i++) {
        a = &room->audiences[i];

        low = ngx_http_fcchat_log_low(&a->log, room->have);

        if (a->waiting == 0
            || a->log.floor > a->log.first
            || low > room->before
            || e->seq >= low)
        {
            continue;
        }

        p = ngx_http_fcchat_room_scratch(room, e, &size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        fcc_buf_init(&b, p, size);
        ngx_http_fcchat_room_encode(&b, e, i % NGX_HTTP_FCCHAT_ENCODINGS);

        if (b.full) {
            return NGX_ERROR;
        }

        len = b.pos - b.start;
        opcode = ngx_http_fcchat_room_pack(room, i, &p, &len);

        if (ngx_http_fcchat_audience_prepend(a, e->seq,
                                             ngx_http_fcchat_room_at(e),
                                             opcode, p, len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_fcchat_room_ahead(ngx_http_fcchat_room_t *room)
{
    ngx_queue_t               *q, *next;
    ngx_http_fcchat_member_t  *m;

    for (q = ngx_queue_head(&room->resumers);
         q != ngx_queue_sentinel(&room->resumers);
         q = next)
    {
        next = ngx_queue_next(q);
        m = ngx_queue_data(q, ngx_http_fcchat_member_t, waiting);

        if (m->since > room->have && m->polled != room->polled) {
            ngx_http_fcchat_resume_lost(m, "ahead");
        }
    }
}


void
ngx_http_fcchat_room_resumed(ngx_http_fcchat_room_t *room, const char *reason)
{
    ngx_queue_t               *q;
    ngx_http_fcchat_member_t  *m;

    while (!ngx_queue_empty(&room->resumers)) {
        q = ngx_queue_head(&room->resumers);
        m = ngx_queue_data(q, ngx_http_fcchat_member_t, waiting);

        ngx_http_fcchat_resume_lost(m, reason);
    }
}
