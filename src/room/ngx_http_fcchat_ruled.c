
/*
 * How a room comes to its rules, and what they mean for those in it.
 *
 *     look-up --> state, as of a head --> open; then event by event
 *
 * A room whose schema has sql/003 is opened at the head that its state is of,
 * so each later event changes what was read.  Where that can't be told any more
 * (another epoch, tables changed by hand, no memory) the state is read anew,
 * and events up to its number change nothing.
 *
 * What holds in all rooms of a schema is kept by a room with id 0 and no name,
 * which each of the others holds a ref of.  It has a log and no readers.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


static void ngx_http_fcchat_ruled_behind(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_ruled_reload(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_ruled_reloaded(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_ruled_read(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_answer_t *answer,
    ngx_http_fcchat_store_room_t *head);
static ngx_int_t ngx_http_fcchat_ruled_enter(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_ruled_deleted(ngx_http_fcchat_room_t *room,
    fcc_mod_t *mod, fcc_event_t *e);
static ngx_http_fcchat_shown_t *ngx_http_fcchat_ruled_place(
    ngx_http_fcchat_room_t *room, int64_t seq);
static void ngx_http_fcchat_ruled_hide(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_shown_t *shown);
static void ngx_http_fcchat_ruled_judge(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_ruled_judge_room(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_ruled_judge_member(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m);
static uint64_t ngx_http_fcchat_slow_key(ngx_http_fcchat_room_t *room,
    int64_t user_id);


ngx_http_fcchat_store_ask_t *
ngx_http_fcchat_ruled_ask(ngx_http_fcchat_room_t *room, int64_t id,
    ngx_http_fcchat_store_ask_pt handler)
{
    int64_t     rooms[2];
    ngx_uint_t  n;

    rooms[0] = id;
    rooms[1] = 0;

    n = (id == 0 || room->tenant
         || ngx_http_fcchat_room_by_id(room->hub, &room->schema, 0))
        ? 1 : 2;

    return ngx_http_fcchat_store_state(room->hub->store, &room->schema, rooms,
                                       n, handler, room);
}


/*
 * The first state of a room that is about to be opened.  found: what was asked
 * for by id; its head is set.
 */

ngx_int_t
ngx_http_fcchat_ruled_first(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_answer_t *answer,
    ngx_http_fcchat_store_room_t *found)
{
    if (ngx_http_fcchat_ruled_enter(room, answer) != NGX_OK) {
        return NGX_ERROR;
    }

    room->id = found->id;

    return ngx_http_fcchat_ruled_read(room, answer, found);
}


/* the room of all rooms: the one there is, or made from the answer */

static ngx_int_t
ngx_http_fcchat_ruled_enter(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_http_fcchat_room_t        *tenant;
    ngx_http_fcchat_store_room_t   found;

    if (room->tenant) {
        return NGX_OK;
    }

    tenant = ngx_http_fcchat_room_by_id(room->hub, &room->schema, 0);

    if (tenant == NULL) {
        ngx_memzero(&found, sizeof(ngx_http_fcchat_store_room_t));

        tenant = ngx_http_fcchat_room_tenant(room->hub, &room->schema);

        if (tenant == NULL) {
            return NGX_ERROR;
        }

        if (ngx_http_fcchat_ruled_read(tenant, answer, &found) != NGX_OK
            || ngx_http_fcchat_room_open(tenant, &found) != NGX_OK)
        {
            ngx_http_fcchat_room_destroy(tenant);
            return NGX_ERROR;
        }
    }

    tenant->refs++;
    room->tenant = tenant;

    return NGX_OK;
}


/* NGX_DECLINED: the answer is not about this room */

static ngx_int_t
ngx_http_fcchat_ruled_read(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_answer_t *answer, ngx_http_fcchat_store_room_t *head)
{
    ngx_uint_t                      i;
    ngx_http_fcchat_rules_t        *rules;
    ngx_http_fcchat_store_state_t  *s;

    rules = NULL;
    head->epoch.data = NULL;

    for (i = 0; i < answer->n; i++) {
        s = &answer->state[i];

        if (s->room_id != room->id) {
            continue;
        }

        if (s->what == NGX_HTTP_FCCHAT_STORE_HEAD) {
            head->epoch = s->text;
            head->head = s->seq;
            room->owner = s->id;

            if (s->until == 0) {
                continue;
            }
        }

        if (rules == NULL) {
            rules = ngx_http_fcchat_rules_create(room->hub->log);
            if (rules == NULL) {
                return NGX_ERROR;
            }
        }

        if (ngx_http_fcchat_rules_add(rules, s) != NGX_OK) {
            ngx_http_fcchat_rules_free(rules);
            return NGX_ERROR;
        }
    }

    if (head->epoch.data == NULL) {

        if (rules) {
            ngx_http_fcchat_rules_free(rules);
        }

        return NGX_DECLINED;
    }

    if (room->rules) {
        ngx_http_fcchat_rules_free(room->rules);
    }

    room->rules = rules;
    room->ruled = head->head;
    room->moderated = 1;

    return NGX_OK;
}


void
ngx_http_fcchat_ruled_anew(ngx_http_fcchat_room_t *room)
{
    if (room->state) {
        ngx_http_fcchat_store_forget(room->state);
        room->state = NULL;
    }

    ngx_http_fcchat_ruled_behind(room);
}


/*
 * By an event that can't be applied.  Of many at once the first one asks, and
 * the answer is compared with the number of the last.
 */

static void
ngx_http_fcchat_ruled_behind(ngx_http_fcchat_room_t *room)
{
    room->unruled = 1;

    if (room->state == NULL) {
        ngx_http_fcchat_ruled_reload(room);
    }
}


void
ngx_http_fcchat_ruled_tick(ngx_http_fcchat_room_t *room)
{
    if (room->unruled && room->state == NULL) {
        ngx_http_fcchat_ruled_reload(room);
    }
}


static void
ngx_http_fcchat_ruled_reload(ngx_http_fcchat_room_t *room)
{
    if (!room->open) {
        return;
    }

    /* when it can't be asked, the next tick tries again */

    room->state = ngx_http_fcchat_ruled_ask(room, room->id,
                                            ngx_http_fcchat_ruled_reloaded);
}


static void
ngx_http_fcchat_ruled_reloaded(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    int64_t                        applied, ruled;
    ngx_http_fcchat_room_t        *room;
    ngx_http_fcchat_store_room_t   head;

    room = data;
    room->state = NULL;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK) {
        return;
    }

    if (room->id && ngx_http_fcchat_ruled_enter(room, answer) != NGX_OK) {
        return;
    }

    applied = room->applied;
    ruled = room->ruled;

    if (ngx_http_fcchat_ruled_read(room, answer, &head) != NGX_OK) {
        return;
    }

    /*
     * An event came before the answer, and after what it is of.  A PostgreSQL
     * that has lost its end, or runs behind, would answer the same each time:
     * it is asked at once only while it gets on, and else by the next tick.
     */

    if (ngx_http_fcchat_room_same_epoch(room, &head.epoch)
        && applied > head.head)
    {
        if (head.head > ruled) {
            ngx_http_fcchat_ruled_reload(room);
        }

        return;
    }

    room->unruled = 0;

    ngx_http_fcchat_ruled_judge(room);
}


void
ngx_http_fcchat_ruled_leave(ngx_http_fcchat_room_t *room)
{
    if (room->state) {
        ngx_http_fcchat_store_forget(room->state);
        room->state = NULL;
    }

    if (room->rules) {
        ngx_http_fcchat_rules_free(room->rules);
        room->rules = NULL;
    }

    if (room->tenant) {
        ngx_http_fcchat_room_put(room->tenant);
        room->tenant = NULL;
    }

    room->moderated = 0;
    room->unruled = 0;
    room->owner = 0;
}


void
ngx_http_fcchat_ruled_event(ngx_http_fcchat_room_t *room, fcc_event_t *e)
{
    void       *root;
    fcc_mod_t   mod;

    if (!room->moderated) {
        return;
    }

    if (fcc_mod_read(&mod, &e->type, &e->detail, &root) != FCC_OK) {
        room->applied = e->seq;
        ngx_http_fcchat_ruled_behind(room);
        return;
    }

    if (mod.action == FCC_MOD_DELETE) {
        ngx_http_fcchat_ruled_deleted(room, &mod, e);
    }

    if (e->seq > room->ruled) {
        room->applied = e->seq;

        if (mod.action == FCC_MOD_STATE) {
            ngx_http_fcchat_ruled_behind(room);

        } else {

            if (room->rules == NULL) {
                room->rules = ngx_http_fcchat_rules_create(room->hub->log);
            }

            if (room->rules == NULL
                || ngx_http_fcchat_rules_apply(room->rules, &mod, e) != NGX_OK)
            {
                ngx_http_fcchat_ruled_behind(room);
            }
        }

        if (mod.action == FCC_MOD_BAN) {
            ngx_http_fcchat_ruled_judge(room);
        }
    }

    fcc_mod_free(root);
}


/*
 * The text goes from the logs: whoever comes back, or is still to be sent it,
 * gets what PostgreSQL would give by now.
 */

static void
ngx_http_fcchat_ruled_deleted(ngx_http_fcchat_room_t *room, fcc_mod_t *mod,
    fcc_event_t *e)
{
    size_t                       len;
    fcc_buf_t                    b;
    ngx_uint_t                   i;
    fcc_event_t                  gone;
    ngx_http_fcchat_audience_t  *a;
    u_char                       buf[FCC_PROTO_OVERHEAD];
    u_char                       brief[FCC_PROTO_OVERHEAD];

    static fcc_str_t  deleted = fcc_string("deleted");

    room->deletes++;

    if (mod->seq == 0) {
        return;
    }

    ngx_memzero(&gone, sizeof(fcc_event_t));

    gone.seq = mod->seq;
    gone.id = mod->id;
    gone.at = mod->at;
    gone.type = deleted;

    fcc_buf_init(&b, buf, sizeof(buf));
    fcc_proto_v1_message(&b, &gone);

    len = ngx_sprintf(brief, "{\"type\":\"message\",\"seq\":%L,"
                      "\"message_type\":\"deleted\"}", mod->seq)
          - brief;

    for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES; i++) {
        a = &room->audiences[i];

        if (i % NGX_HTTP_FCCHAT_DEFLATED != NGX_HTTP_FCCHAT_V1) {
            (void) ngx_http_fcchat_audience_blank(a, mod->seq, NULL, 0);
            continue;
        }

        /* a compressed one may be shorter; nobody is to have the text in any
         * case */

        if (ngx_http_fcchat_audience_blank(a, mod->seq, b.start,
                                           b.pos - b.start)
            == NGX_DECLINED
            && ngx_http_fcchat_audience_blank(a, mod->seq, brief, len)
               == NGX_DECLINED)
        {
            ngx_http_fcchat_audience_gap(a);
        }
    }

    for (i = 0; room->shown && i < NGX_HTTP_FCCHAT_SHOWN_MAX; i++) {
        if (room->shown[i].seq && room->shown[i].id == mod->id) {
            ngx_http_fcchat_ruled_hide(room, &room->shown[i]);
        }
    }

    /* what is being read may have it still */

    room->tainted = 1;
}


void
ngx_http_fcchat_ruled_shows(ngx_http_fcchat_room_t *room, fcc_event_t *e)
{
    void                     *root;
    fcc_mod_t                 mod;
    ngx_http_fcchat_shown_t  *shown;

    if (e->detail.len == 0 || e->text.len == 0) {
        return;
    }

    if (fcc_mod_read(&mod, &e->type, &e->detail, &root) != FCC_OK) {

        /* its frame has no target, hence no text */

        return;
    }

    fcc_mod_free(root);

    /* PostgreSQL gives a text with whatever was done to a message */

    if (mod.action != FCC_MOD_PIN) {
        return;
    }

    shown = ngx_http_fcchat_ruled_place(room, e->seq);

    if (shown == NULL) {
        e->text.len = 0;
        return;
    }

    if (shown->seq && shown->seq != e->seq) {
        ngx_http_fcchat_ruled_hide(room, shown);
    }

    shown->seq = e->seq;
    shown->message = mod.seq;
    shown->id = mod.id;
}


/*
 * Its own place, a free one, or that of the oldest; NULL where it is the oldest
 * itself, as may be what is read from PostgreSQL, or without memory.
 */

static ngx_http_fcchat_shown_t *
ngx_http_fcchat_ruled_place(ngx_http_fcchat_room_t *room, int64_t seq)
{
    ngx_uint_t                i;
    ngx_http_fcchat_shown_t  *oldest;

    if (room->shown == NULL) {
        room->shown = ngx_calloc(NGX_HTTP_FCCHAT_SHOWN_MAX
                                 * sizeof(ngx_http_fcchat_shown_t),
                                 room->hub->log);
        if (room->shown == NULL) {
            return NULL;
        }
    }

    oldest = &room->shown[0];

    for (i = 0; i < NGX_HTTP_FCCHAT_SHOWN_MAX; i++) {

        if (room->shown[i].seq == seq) {
            return &room->shown[i];
        }

        if (room->shown[i].seq < oldest->seq) {
            oldest = &room->shown[i];
        }
    }

    return (oldest->seq < seq) ? oldest : NULL;
}


/* in the place of a pin, the same without what its message said */

static void
ngx_http_fcchat_ruled_hide(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_shown_t *shown)
{
    size_t                       len, short_len;
    u_char                       buf[FCC_PROTO_OVERHEAD];
    u_char                       brief[FCC_PROTO_OVERHEAD];
    ngx_uint_t                   i;
    ngx_http_fcchat_audience_t  *a;

    len = ngx_sprintf(buf, "{\"type\":\"moderation\",\"seq\":%L,"
                      "\"action\":\"pin\",\"by\":null,\"target\":{"
                      "\"seq\":%L,\"id\":%L,\"user\":null,"
                      "\"text\":\"\"}}",
                      shown->seq, shown->message, shown->id)
          - buf;

    short_len = ngx_sprintf(brief, "{\"type\":\"moderation\",\"seq\":%L,"
                            "\"action\":\"pin\",\"target\":{\"id\":%L}}",
                            shown->seq, shown->id)
                - brief;

    for (i = NGX_HTTP_FCCHAT_V1;
         i < NGX_HTTP_FCCHAT_AUDIENCES;
         i += NGX_HTTP_FCCHAT_DEFLATED)
    {
        a = &room->audiences[i];

        /* a compressed one may be shorter, as above */

        if (ngx_http_fcchat_audience_blank(a, shown->seq, buf, len)
            == NGX_DECLINED
            && ngx_http_fcchat_audience_blank(a, shown->seq, brief, short_len)
               == NGX_DECLINED)
        {
            ngx_http_fcchat_audience_gap(a);
        }
    }

    shown->seq = 0;
}


/* who may not be here any more is told so */

static void
ngx_http_fcchat_ruled_judge(ngx_http_fcchat_room_t *room)
{
    ngx_queue_t             *q;
    ngx_http_fcchat_room_t  *other;

    if (room->id) {
        ngx_http_fcchat_ruled_judge_room(room);
        return;
    }

    for (q = ngx_queue_head(&room->hub->all);
         q != ngx_queue_sentinel(&room->hub->all);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_http_fcchat_room_t, queue);

        if (other->tenant == room) {
            ngx_http_fcchat_ruled_judge_room(other);
        }
    }
}


static void
ngx_http_fcchat_ruled_judge_room(ngx_http_fcchat_room_t *room)
{
    ngx_uint_t                   i, n;
    ngx_queue_t                 *q, *next;
    ngx_http_fcchat_audience_t  *a;

    for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES; i++) {
        a = &room->audiences[i];

        /* the last one moves to the place of one that leaves */

        for (n = a->n; n-- > 0; /* void */ ) {
            ngx_http_fcchat_ruled_judge_member(room, a->slots[n].member);
        }
    }

    for (q = ngx_queue_head(&room->resumers);
         q != ngx_queue_sentinel(&room->resumers);
         q = next)
    {
        next = ngx_queue_next(q);

        ngx_http_fcchat_ruled_judge_member(room,
                      ngx_queue_data(q, ngx_http_fcchat_member_t, waiting));
    }
}


static void
ngx_http_fcchat_ruled_judge_member(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m)
{
    ngx_uint_t  code;

    code = room->hub->judge ? room->hub->judge(m) : 0;

    if (code) {
        ngx_http_fcchat_member_leave(m);

        if (!m->dead) {
            m->owner->broken(m, code);
        }
    }
}


void
ngx_http_fcchat_room_role(ngx_http_fcchat_room_t *room, int64_t user_id,
    ngx_uint_t staff, ngx_str_t *role)
{
    if (user_id == 0) {
        ngx_str_set(role, "guest");

    } else if (user_id == room->owner) {
        ngx_str_set(role, "owner");

    } else if (staff
               || (room->rules
                   && ngx_http_fcchat_rules_moderator(room->rules, user_id))
               || (room->tenant && room->tenant->rules
                   && ngx_http_fcchat_rules_moderator(room->tenant->rules,
                                                      user_id)))
    {
        ngx_str_set(role, "moderator");

    } else {
        ngx_str_set(role, "member");
    }
}


void
ngx_http_fcchat_room_author(ngx_http_fcchat_room_t *room, fcc_event_t *e)
{
    ngx_str_t  role;

    if (e->user_id == 0) {
        return;
    }

    ngx_http_fcchat_room_role(room, e->user_id,
                              e->role.len == sizeof("moderator") - 1, &role);

    e->role.len = role.len;
    e->role.data = role.data;
}


ngx_uint_t
ngx_http_fcchat_room_banned(ngx_http_fcchat_room_t *room, int64_t user_id,
    ngx_uint_t staff, ngx_str_t *addr)
{
    int64_t                        now;
    ngx_str_t                      role;
    ngx_uint_t                     i;
    ngx_http_fcchat_rules_t       *rules[2];
    ngx_http_fcchat_rules_addr_t   a;

    rules[0] = room->rules;
    rules[1] = room->tenant ? room->tenant->rules : NULL;

    if (rules[0] == NULL && rules[1] == NULL) {
        return 0;
    }

    now = ngx_http_fcchat_rules_now();
    a.family = AF_UNSPEC;

    ngx_http_fcchat_room_role(room, user_id, staff, &role);

    for (i = 0; i < 2; i++) {

        if (rules[i] == NULL) {
            continue;
        }

        if (user_id && ngx_http_fcchat_rules_banned(rules[i], user_id, now)) {
            return 1;
        }

        /* who moderates is not to be hit by way of an address */

        if (!ngx_http_fcchat_rules_addresses(rules[i])
            || role.data[0] == 'o'
            || ngx_strcmp(role.data, "moderator") == 0)
        {
            continue;
        }

        if (a.family == AF_UNSPEC) {
            ngx_http_fcchat_rules_addr(&a, addr);
        }

        if (ngx_http_fcchat_rules_address(rules[i], &a, now)) {
            return 1;
        }
    }

    return 0;
}


int64_t
ngx_http_fcchat_room_timeout(ngx_http_fcchat_room_t *room, int64_t user_id)
{
    int64_t  now, until;

    now = ngx_http_fcchat_rules_now();
    until = 0;

    if (room->rules) {
        until = ngx_http_fcchat_rules_timeout(room->rules, user_id, now);
    }

    if (room->tenant && room->tenant->rules) {
        until = ngx_max(until,
                        ngx_http_fcchat_rules_timeout(room->tenant->rules,
                                                      user_id, now));
    }

    return until ? until - now : 0;
}


int64_t
ngx_http_fcchat_room_slow(ngx_http_fcchat_room_t *room)
{
    return room->rules ? ngx_http_fcchat_rules_slow(room->rules) : 0;
}


ngx_int_t
ngx_http_fcchat_slow_take(ngx_http_fcchat_room_t *room, int64_t user_id,
    uint64_t cid, ngx_msec_t *wait)
{
    int64_t  slow;

    slow = ngx_http_fcchat_room_slow(room);

    if (slow == 0 || room->hub->zone == NULL) {
        return NGX_OK;
    }

    return ngx_http_fcchat_rate_next(room->hub->zone,
                                     ngx_http_fcchat_slow_key(room, user_id),
                                     cid, slow * 1000, wait);
}


void
ngx_http_fcchat_slow_back(ngx_http_fcchat_room_t *room, int64_t user_id)
{
    if (ngx_http_fcchat_room_slow(room) && room->hub->zone) {
        ngx_http_fcchat_rate_none(room->hub->zone,
                                  ngx_http_fcchat_slow_key(room, user_id));
    }
}


/* somebody has said something, by way of whatever node */

void
ngx_http_fcchat_slow_said(ngx_http_fcchat_room_t *room, fcc_event_t *e)
{
    int64_t  slow, ago;

    slow = ngx_http_fcchat_room_slow(room);

    if (slow == 0 || e->user_id == 0 || room->hub->zone == NULL) {
        return;
    }

    /* the database's clock may be ahead */

    ago = ngx_max(ngx_http_fcchat_rules_now() - e->at, 0);

    if (ago < slow * 1000) {
        ngx_http_fcchat_rate_last(room->hub->zone,
                                  ngx_http_fcchat_slow_key(room, e->user_id),
                                  ago);
    }
}


/* the same in all workers and after a reload */

static uint64_t
ngx_http_fcchat_slow_key(ngx_http_fcchat_room_t *room, int64_t user_id)
{
    uint64_t  key;

    key = fcc_rate_hash(FCC_RATE_HASH_INIT, "slow", sizeof("slow"));
    key = fcc_rate_hash(key, room->hub->conf->store.pg->conninfo.data,
                        room->hub->conf->store.pg->conninfo.len);
    key = fcc_rate_hash(key, "", 1);
    key = fcc_rate_hash(key, room->channel.str.data, room->channel.str.len);

    return fcc_rate_hash(key, &user_id, sizeof(user_id));
}
