
/*
 * Reactions: told to old readers one by one, to those of fcchat.v1 as counts
 * per stamp, and stored for analysis.  They are for the eye: at most once, in
 * no order against messages.
 *
 * A reaction whose stamp is not known yet waits for the table, holding a ref
 * of its room (and a reference of its sender, when it came from a client
 * here).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


typedef struct {
    ngx_http_fcchat_room_t    *room;
    ngx_http_fcchat_sender_t  *sender;      /* NULL: from the bus */
    int64_t                    user_id;
    int64_t                    stamp_id;
    fcc_str_t                  username;
    ngx_str_t                  cid;
} ngx_http_fcchat_reaction_t;


static ngx_int_t ngx_http_fcchat_react_now(ngx_http_fcchat_room_t *room,
    int64_t user_id, fcc_str_t *username, fcc_stamp_t *stamp);
static ngx_int_t ngx_http_fcchat_react_wait(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_sender_t *sender, int64_t user_id, fcc_str_t *username,
    fcc_str_t *cid, int64_t stamp_id);
static void ngx_http_fcchat_react_ready(void *data, ngx_uint_t ok);
static void ngx_http_fcchat_count(ngx_http_fcchat_room_t *room, int64_t id);


ngx_int_t
ngx_http_fcchat_react(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author, int64_t stamp_id, fcc_str_t *cid,
    ngx_http_fcchat_sender_t *sender)
{
    fcc_str_t     username;
    ngx_uint_t    fresh;
    fcc_stamp_t  *stamp;

    username.len = author->username.len;
    username.data = author->username.data;

    stamp = ngx_http_fcchat_stamp_find(room->hub, &room->schema, stamp_id,
                                       &fresh);
    if (stamp) {
        return ngx_http_fcchat_react_now(room, author->id, &username, stamp);
    }

    if (fresh) {
        return NGX_DECLINED;
    }

    return ngx_http_fcchat_react_wait(room, sender, author->id, &username,
                                      cid, stamp_id);
}


void
ngx_http_fcchat_react_bus(ngx_http_fcchat_room_t *room, fcc_bus_reaction_t *r)
{
    fcc_str_t     cid;
    ngx_uint_t    fresh;
    fcc_stamp_t  *stamp;

    stamp = ngx_http_fcchat_stamp_find(room->hub, &room->schema, r->stamp_id,
                                       &fresh);
    if (stamp) {
        ngx_http_fcchat_room_reaction(room, &r->username, stamp);
        return;
    }

    if (!fresh) {
        cid.len = 0;
        cid.data = NULL;

        (void) ngx_http_fcchat_react_wait(room, NULL, r->user_id, &r->username,
                                          &cid, r->stamp_id);
    }
}


static ngx_int_t
ngx_http_fcchat_react_now(ngx_http_fcchat_room_t *room, int64_t user_id,
    fcc_str_t *username, fcc_stamp_t *stamp)
{
    ngx_int_t           rc;
    fcc_bus_reaction_t  r;

    if (room->stream_id == 0) {
        return NGX_ABORT;
    }

    rc = ngx_http_fcchat_store_reaction(room->hub->store, &room->schema,
                                        room->stream_id, user_id, stamp->id);
    if (rc != NGX_OK) {
        return rc;
    }

    r.user_id = user_id;
    r.stamp_id = stamp->id;
    r.username = *username;

    ngx_http_fcchat_stat_inc(REACTIONS);

    ngx_http_fcchat_bus_reaction(room, &r);
    ngx_http_fcchat_room_reaction(room, username, stamp);

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_react_wait(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_sender_t *sender, int64_t user_id, fcc_str_t *username,
    fcc_str_t *cid, int64_t stamp_id)
{
    u_char                      *p;
    ngx_int_t                    rc;
    ngx_http_fcchat_reaction_t  *r;

    r = ngx_alloc(sizeof(ngx_http_fcchat_reaction_t) + username->len
                  + cid->len, room->hub->log);
    if (r == NULL) {
        return NGX_ERROR;
    }

    r->room = room;
    r->sender = sender;
    r->user_id = user_id;
    r->stamp_id = stamp_id;

    p = (u_char *) r + sizeof(ngx_http_fcchat_reaction_t);

    r->username.len = username->len;
    r->username.data = p;
    p = ngx_cpymem(p, username->data, username->len);

    r->cid.len = cid->len;
    r->cid.data = p;

    if (cid->len) {
        ngx_memcpy(p, cid->data, cid->len);
    }

    rc = ngx_http_fcchat_stamp_wait(room->hub, &room->schema,
                                    ngx_http_fcchat_react_ready, r);
    if (rc != NGX_AGAIN) {
        ngx_free(r);
        return rc == NGX_DECLINED ? NGX_BUSY : rc;
    }

    room->refs++;

    if (sender) {
        sender->refs++;
    }

    return NGX_AGAIN;
}


static void
ngx_http_fcchat_react_ready(void *data, ngx_uint_t ok)
{
    ngx_int_t                    rc;
    ngx_uint_t                   fresh;
    fcc_stamp_t                 *stamp;
    ngx_http_fcchat_outcome_t    o;
    ngx_http_fcchat_reaction_t  *r;

    r = data;

    stamp = ok ? ngx_http_fcchat_stamp_find(r->room->hub, &r->room->schema,
                                            r->stamp_id, &fresh)
               : NULL;

    if (r->sender == NULL) {

        if (stamp && r->room->open) {
            ngx_http_fcchat_room_reaction(r->room, &r->username, stamp);
        }

        goto done;
    }

    if (stamp && r->room->open) {
        rc = ngx_http_fcchat_react_now(r->room, r->user_id, &r->username,
                                       stamp);
    } else {
        rc = ok ? NGX_DECLINED : NGX_BUSY;
    }

    if (r->sender->session) {
        ngx_memzero(&o, sizeof(ngx_http_fcchat_outcome_t));
        ngx_http_fcchat_react_outcome(rc, &o);
        o.cid = r->cid;
        r->sender->done(r->sender->session, &o);
    }

    ngx_http_fcchat_sender_put(r->sender);

done:

    ngx_http_fcchat_room_put(r->room);
    ngx_free(r);
}


void
ngx_http_fcchat_react_outcome(ngx_int_t rc, ngx_http_fcchat_outcome_t *o)
{
    o->retry_after = -1;

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        o->code = "unknown_stamp";
        o->text = "There is no such stamp.";
        break;

    case NGX_ABORT:
        o->code = "not_allowed";
        o->text = "This room has no stream to react to.";
        break;

    default:
        o->code = "unavailable";
        o->text = "The reaction could not be stored, try again.";
        o->retry_after = NGX_HTTP_FCCHAT_RETRY_AFTER;
        break;
    }
}


void
ngx_http_fcchat_room_reaction(ngx_http_fcchat_room_t *room,
    fcc_str_t *username, fcc_stamp_t *stamp)
{
    size_t      size;
    u_char     *p;
    fcc_buf_t   b;
    ngx_uint_t  i;

    for (i = NGX_HTTP_FCCHAT_OLD_HTML; i <= NGX_HTTP_FCCHAT_OLD_RAW; i++) {

        if (ngx_http_fcchat_room_readers(room, i) == 0) {
            continue;
        }

        size = FCC_PROTO_EXPANSION * (username->len + stamp->name.len
                                      + stamp->image.len)
               + FCC_PROTO_OVERHEAD;

        p = ngx_http_fcchat_hub_scratch(room->hub, size);
        if (p == NULL) {
            return;
        }

        fcc_buf_init(&b, p, size);
        fcc_proto_old_reaction(&b, username, stamp,
                               i == NGX_HTTP_FCCHAT_OLD_HTML);

        ngx_http_fcchat_room_ephemeral(room, i, &b);
    }

    if (ngx_http_fcchat_room_readers(room, NGX_HTTP_FCCHAT_V1)) {
        ngx_http_fcchat_count(room, stamp->id);
    }
}


static void
ngx_http_fcchat_count(ngx_http_fcchat_room_t *room, int64_t id)
{
    ngx_uint_t              i;
    ngx_http_fcchat_hub_t  *hub;

    hub = room->hub;

    if (room->counts == NULL) {
        room->counts = ngx_alloc(NGX_HTTP_FCCHAT_COUNTS_MAX
                                 * sizeof(fcc_count_t), hub->log);
        if (room->counts == NULL) {
            return;
        }
    }

    for (i = 0; i < room->ncounts; i++) {
        if (room->counts[i].stamp_id == id) {
            break;
        }
    }

    if (i == NGX_HTTP_FCCHAT_COUNTS_MAX) {
        return;
    }

    if (i == room->ncounts) {
        room->counts[i].stamp_id = id;
        room->counts[i].count = 0;
        room->ncounts++;
    }

    room->counts[i].count++;

    if (!room->in_counting) {
        room->in_counting = 1;
        ngx_queue_insert_tail(&hub->counting, &room->counting);
    }

    if (!hub->react.timer_set) {
        ngx_add_timer(&hub->react, NGX_HTTP_FCCHAT_REACT_TICK);
    }
}


void
ngx_http_fcchat_counts_handler(ngx_event_t *ev)
{
    size_t                   size;
    u_char                  *p;
    fcc_buf_t                b;
    ngx_queue_t             *q;
    ngx_http_fcchat_hub_t   *hub;
    ngx_http_fcchat_room_t  *room;

    hub = ev->data;

    while (!ngx_queue_empty(&hub->counting)) {
        q = ngx_queue_head(&hub->counting);
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, counting);

        ngx_queue_remove(q);
        room->in_counting = 0;

        size = NGX_HTTP_FCCHAT_COUNTS_MAX * (2 * NGX_INT64_LEN + 4)
               + FCC_PROTO_OVERHEAD;

        p = ngx_http_fcchat_hub_scratch(hub, size);

        if (p) {
            fcc_buf_init(&b, p, size);
            fcc_proto_v1_reactions(&b, room->counts, room->ncounts);
            ngx_http_fcchat_room_ephemeral(room, NGX_HTTP_FCCHAT_V1, &b);
        }

        room->ncounts = 0;
    }
}
