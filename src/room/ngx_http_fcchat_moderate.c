
/*
 * A moderator's way through the room: to PostgreSQL, which says whether it may
 * be, and when it is committed, into the log, onto the bus, and its fate to
 * whoever asked, as a message's.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


typedef struct {
    ngx_http_fcchat_room_t    *room;        /* in whose log it goes */
    ngx_http_fcchat_sender_t  *sender;
    fcc_mod_e                  action;
    ngx_http_fcchat_author_t   author;      /* its strings are behind this, */
    ngx_str_t                  cid;         /* as is this one */
} ngx_http_fcchat_act_t;


static void ngx_http_fcchat_moderated(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_moderated_event(ngx_http_fcchat_act_t *act,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_moderated_outcome(ngx_http_fcchat_act_t *act,
    ngx_http_fcchat_store_answer_t *answer, ngx_http_fcchat_outcome_t *o);


ngx_int_t
ngx_http_fcchat_moderate(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author, fcc_mod_t *mod, fcc_str_t *cid,
    ngx_http_fcchat_sender_t *sender)
{
    u_char                 *p;
    int64_t                 left;
    fcc_mod_t               m;
    ngx_http_fcchat_act_t  *act;

    m = *mod;

    if (m.until && m.seconds < 0) {
        left = m.until - ngx_http_fcchat_rules_now();

        if (left <= 0) {
            return NGX_DECLINED;
        }

        m.seconds = (left + 999) / 1000;
    }

    act = ngx_alloc(sizeof(ngx_http_fcchat_act_t) + author->username.len
                    + author->role.len + cid->len, room->hub->log);
    if (act == NULL) {
        return NGX_ERROR;
    }

    /* without the room of all rooms there is no sql/003 either, and the answer
     * tells so */

    act->room = (m.tenant && room->tenant) ? room->tenant : room;
    act->sender = sender;
    act->action = m.action;
    act->author = *author;

    p = (u_char *) act + sizeof(ngx_http_fcchat_act_t);

    act->author.username.data = p;
    p = ngx_cpymem(p, author->username.data, author->username.len);

    act->author.role.data = p;
    p = ngx_cpymem(p, author->role.data, author->role.len);

    act->cid.data = p;
    act->cid.len = cid->len;

    if (cid->len) {
        ngx_memcpy(p, cid->data, cid->len);
    }

    if (ngx_http_fcchat_store_moderate(room->hub->store, &room->schema,
                                       m.tenant ? 0 : room->id, author->id,
                                       &m, &act->cid,
                                       ngx_http_fcchat_moderated, act)
        == NULL)
    {
        ngx_free(act);
        return NGX_BUSY;
    }

    act->room->refs++;
    sender->refs++;

    return NGX_OK;
}


static void
ngx_http_fcchat_moderated(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_http_fcchat_act_t     *act;
    ngx_http_fcchat_outcome_t  o;

    act = data;

    /* the sender first: its ack stands before the event */

    if (act->sender->session) {
        ngx_http_fcchat_moderated_outcome(act, answer, &o);
        act->sender->done(act->sender->session, &o);
    }

    ngx_http_fcchat_sender_put(act->sender);

    if (answer->rc == NGX_HTTP_FCCHAT_STORE_OK
        && !answer->again
        && act->room->open)
    {
        ngx_http_fcchat_moderated_event(act, answer);
    }

    ngx_http_fcchat_room_put(act->room);
    ngx_free(act);
}


static void
ngx_http_fcchat_moderated_event(ngx_http_fcchat_act_t *act,
    ngx_http_fcchat_store_answer_t *answer)
{
    fcc_event_t  *e;

    e = &answer->events[0];

    e->user_id = act->author.id;
    e->username.len = act->author.username.len;
    e->username.data = act->author.username.data;
    e->role.len = act->author.role.len;
    e->role.data = act->author.role.data;
    e->type.data = (u_char *) fcc_mod_name(act->action);
    e->type.len = ngx_strlen(e->type.data);

    ngx_http_fcchat_bus_event(act->room, e, &answer->room.epoch);
    ngx_http_fcchat_room_event(act->room, e, &answer->room.epoch);
}


static void
ngx_http_fcchat_moderated_outcome(ngx_http_fcchat_act_t *act,
    ngx_http_fcchat_store_answer_t *answer, ngx_http_fcchat_outcome_t *o)
{
    ngx_memzero(o, sizeof(ngx_http_fcchat_outcome_t));

    o->retry_after = -1;
    o->cid = act->cid;

    switch (answer->rc) {

    case NGX_HTTP_FCCHAT_STORE_OK:
        o->seq = answer->events[0].seq;
        o->id = answer->events[0].id;
        break;

    case NGX_HTTP_FCCHAT_STORE_FORBIDDEN:
        o->code = "forbidden";
        o->text = "You may not do that.";
        break;

    case NGX_HTTP_FCCHAT_STORE_NONE:
        o->code = "not_found";
        o->text = "There is no such message or user, or nothing to undo.";
        break;

    case NGX_HTTP_FCCHAT_STORE_REJECTED:
        o->code = "bad_request";
        o->text = "This can't be done.";
        break;

    case NGX_HTTP_FCCHAT_STORE_FULL:
        o->code = "too_many";
        o->text = "There are as many as there may be.";
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
        o->text = "This could not be done now, try again.";
        o->retry_after = NGX_HTTP_FCCHAT_RETRY_AFTER;
        break;
    }
}
