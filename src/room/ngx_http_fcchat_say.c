
/*
 * A message's way through the room: to the store, and when it is committed,
 * into the log, onto the bus, and its fate to its sender.
 *
 * An item holds a ref of its room and a reference of its sender from write()
 * to done(), so that both may be left meanwhile: a sender whose session is
 * gone is told nothing, the message is stored and delivered all the same.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


static void ngx_http_fcchat_said(ngx_http_fcchat_store_item_t *item);
static void ngx_http_fcchat_unsay(ngx_http_fcchat_store_item_t *item);
static void ngx_http_fcchat_say_outcome(ngx_http_fcchat_store_item_t *item,
    ngx_http_fcchat_outcome_t *o);


ngx_int_t
ngx_http_fcchat_say(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author, fcc_str_t *cid, fcc_str_t *text,
    ngx_http_fcchat_sender_t *sender)
{
    ngx_str_t                      c, t;
    ngx_http_fcchat_store_item_t  *item;

    c.len = cid->len;
    c.data = cid->data;
    t.len = text->len;
    t.data = text->data;

    item = ngx_http_fcchat_store_item(&c, &t, &author->username, &author->role);
    if (item == NULL) {
        return NGX_ERROR;
    }

    item->room = room;
    item->client = sender;
    item->done = ngx_http_fcchat_said;
    item->schema = room->schema;
    item->room_id = room->id;
    item->have = room->have;
    item->logs = room->logs;
    item->user_id = author->id;

    if (ngx_http_fcchat_store_write(room->hub->store, item) != NGX_OK) {
        ngx_http_fcchat_store_item_free(item);
        return NGX_BUSY;
    }

    room->refs++;
    sender->refs++;

    return NGX_OK;
}


static void
ngx_http_fcchat_said(ngx_http_fcchat_store_item_t *item)
{
    ngx_str_t                  epoch;
    fcc_event_t                e;
    ngx_http_fcchat_room_t    *room;
    ngx_http_fcchat_sender_t  *sender;
    ngx_http_fcchat_outcome_t  o;

    room = item->room;
    sender = item->client;

    if (item->rc != NGX_HTTP_FCCHAT_STORE_OK) {
        ngx_http_fcchat_unsay(item);
    }

    /* the sender first: its ack stands before the echo */

    if (sender->session) {
        ngx_http_fcchat_say_outcome(item, &o);
        sender->done(sender->session, &o);
    }

    ngx_http_fcchat_sender_put(sender);

    if (item->rc == NGX_HTTP_FCCHAT_STORE_ROOM_GONE) {

        /* the others in it are to know soon */

        room->checked = ngx_current_msec - NGX_HTTP_FCCHAT_ROOM_CHECK;
    }

    if (item->rc == NGX_HTTP_FCCHAT_STORE_OK && !item->again && room->open) {

        e.seq = item->seq;
        e.id = item->id;
        e.user_id = item->user_id;
        e.at = item->at;
        e.username.len = item->username.len;
        e.username.data = item->username.data;
        e.role.len = item->role.len;
        e.role.data = item->role.data;
        e.type.len = sizeof("message") - 1;
        e.type.data = (u_char *) "message";
        e.text.len = item->text.len;
        e.text.data = item->text.data;
        ngx_memzero(&e.detail, sizeof(fcc_str_t));

        epoch.len = item->epoch_len;
        epoch.data = item->epoch;

        ngx_http_fcchat_room_stored(room, &e, &epoch, item->have, item->logs);
    }

    ngx_http_fcchat_room_put(room);
}


/* what was not stored does not count, whoever is left to be told */

static void
ngx_http_fcchat_unsay(ngx_http_fcchat_store_item_t *item)
{
    ngx_http_fcchat_hub_t   *hub;
    ngx_http_fcchat_room_t  *room;

    room = item->room;
    hub = room->hub;

    ngx_http_fcchat_slow_back(room, item->user_id);

    if (hub->zone == NULL) {
        return;
    }

    ngx_http_fcchat_rate_unsay(hub->zone,
                               ngx_http_fcchat_user_key(hub, &room->schema,
                                                        item->user_id));

    ngx_http_fcchat_spent(hub, &room->schema, item->user_id,
                          NGX_HTTP_FCCHAT_RATE_MESSAGE, NULL, 0, 0);
}


/*
 * A new number is above all that were there when it was asked for, or the log
 * went back and others write it again already.
 */

void
ngx_http_fcchat_room_stored(ngx_http_fcchat_room_t *room, fcc_event_t *e,
    ngx_str_t *epoch, int64_t have, ngx_uint_t logs)
{
    if (e->seq <= have
        && logs == room->logs
        && ngx_http_fcchat_room_same_epoch(room, epoch))
    {
        ngx_http_fcchat_room_back(room, have, e->seq);
    }

    ngx_http_fcchat_bus_event(room, e, epoch);
    ngx_http_fcchat_room_event(room, e, epoch);
}


static void
ngx_http_fcchat_say_outcome(ngx_http_fcchat_store_item_t *item,
    ngx_http_fcchat_outcome_t *o)
{
    ngx_memzero(o, sizeof(ngx_http_fcchat_outcome_t));

    o->retry_after = -1;
    o->seq = item->seq;
    o->id = item->id;

    if (!item->made_cid) {
        o->cid = item->cid;
    }

    switch (item->rc) {

    case NGX_HTTP_FCCHAT_STORE_OK:
        break;

    case NGX_HTTP_FCCHAT_STORE_REJECTED:
        o->code = "rejected";
        o->text = "The message can't be stored.";
        break;

    case NGX_HTTP_FCCHAT_STORE_ROOM_GONE:
        o->code = "room_gone";
        o->text = "This room is closed.";
        break;

    case NGX_HTTP_FCCHAT_STORE_USER_GONE:
        o->code = "not_allowed";
        o->text = "You may not write here.";
        break;

    default:
        o->code = "unavailable";
        o->text = "The message could not be stored, try again.";
        o->retry_after = NGX_HTTP_FCCHAT_RETRY_AFTER;
        break;
    }
}


void
ngx_http_fcchat_sender_put(ngx_http_fcchat_sender_t *sender)
{
    if (--sender->refs == 0) {
        ngx_free(sender);
    }
}
