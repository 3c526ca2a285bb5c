
/*
 * A message of the site's own back end: nobody's, of type "system".
 *
 * The question holds a ref of the room and a reference of its sender, so that
 * both may be left meanwhile: what was committed is delivered all the same.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


typedef struct {
    ngx_http_fcchat_room_t    *room;
    ngx_http_fcchat_sender_t  *sender;
    int64_t                    have;
    ngx_uint_t                 logs;
    ngx_str_t                  cid;         /* behind this, with the text */
    ngx_str_t                  text;
} ngx_http_fcchat_notice_t;


static void ngx_http_fcchat_published(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_publish_outcome(
    ngx_http_fcchat_store_answer_t *answer, ngx_http_fcchat_outcome_t *o);


ngx_int_t
ngx_http_fcchat_publish(ngx_http_fcchat_room_t *room, fcc_str_t *cid,
    fcc_str_t *text, ngx_http_fcchat_sender_t *sender)
{
    u_char                    *p;
    ngx_http_fcchat_notice_t  *notice;

    notice = ngx_alloc(sizeof(ngx_http_fcchat_notice_t) + cid->len + text->len,
                       room->hub->log);
    if (notice == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) notice + sizeof(ngx_http_fcchat_notice_t);

    notice->room = room;
    notice->sender = sender;
    notice->have = room->have;
    notice->logs = room->logs;

    notice->cid.len = cid->len;
    notice->cid.data = p;

    if (cid->len) {
        p = ngx_cpymem(p, cid->data, cid->len);
    }

    notice->text.len = text->len;
    notice->text.data = p;
    ngx_memcpy(p, text->data, text->len);

    if (ngx_http_fcchat_store_publish(room->hub->store, &room->schema,
                                      room->id, &notice->cid, &notice->text,
                                      ngx_http_fcchat_published, notice)
        == NULL)
    {
        ngx_free(notice);
        return NGX_BUSY;
    }

    room->refs++;
    sender->refs++;

    return NGX_OK;
}


static void
ngx_http_fcchat_published(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    fcc_event_t                         e;
    ngx_http_fcchat_room_t             *room;
    ngx_http_fcchat_notice_t           *notice;
    ngx_http_fcchat_outcome_t           o;
    ngx_http_fcchat_store_published_t  *p;

    static fcc_str_t                    type = fcc_string("system");
    static fcc_str_t                    role = fcc_string("member");

    notice = data;
    room = notice->room;
    p = &answer->published;

    if (answer->rc == NGX_HTTP_FCCHAT_STORE_OK
        && !p->gone && !p->again && room->open)
    {
        ngx_memzero(&e, sizeof(fcc_event_t));

        e.seq = p->seq;
        e.id = p->id;
        e.at = p->at;
        e.type = type;
        e.role = role;
        e.text.len = notice->text.len;
        e.text.data = notice->text.data;

        ngx_http_fcchat_room_stored(room, &e, &p->epoch, notice->have,
                                    notice->logs);
    }

    if (notice->sender->session) {
        ngx_http_fcchat_publish_outcome(answer, &o);
        o.cid = notice->cid;

        notice->sender->done(notice->sender->session, &o);
    }

    if (p->gone) {
        room->checked = ngx_current_msec - NGX_HTTP_FCCHAT_ROOM_CHECK;
    }

    ngx_http_fcchat_sender_put(notice->sender);
    ngx_http_fcchat_room_put(room);

    ngx_free(notice);
}


static void
ngx_http_fcchat_publish_outcome(ngx_http_fcchat_store_answer_t *answer,
    ngx_http_fcchat_outcome_t *o)
{
    ngx_memzero(o, sizeof(ngx_http_fcchat_outcome_t));

    o->retry_after = -1;

    switch (answer->rc) {

    case NGX_HTTP_FCCHAT_STORE_OK:

        if (answer->published.gone) {
            o->code = "room_gone";
            o->text = "This room is closed.";
        }

        o->seq = answer->published.seq;
        o->id = answer->published.id;
        break;

    case NGX_HTTP_FCCHAT_STORE_NONE:
        o->code = "rejected";
        o->text = "The message can't be stored.";
        break;

    default:
        o->code = "unavailable";
        o->text = "The message could not be stored, try again.";
        o->retry_after = NGX_HTTP_FCCHAT_RETRY_AFTER;
        break;
    }
}
