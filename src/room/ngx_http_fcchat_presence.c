
/*
 * Who is in a room: "join" once when a user comes, whatever the number of its
 * sockets, workers and nodes, and "leave" once when it has been away for a
 * while.
 *
 * Nobody decides for the others.  Each worker says every two seconds who has
 * sockets at it, and when it last saw the others; each keeps a table of what
 * all say and tells its own readers what changes in it.  So a worker that is
 * killed says nothing more, and its users have left when the time of grace is
 * over, unless they were seen elsewhere; and a lost word delays nothing.
 *
 *     unknown --comes--> here or seen --not seen for the grace--> unknown
 *                            ^               |
 *                            \--comes back---/   nothing is told
 *
 * A worker that has just opened a room does not know yet who was there: who
 * comes is told of after it has listened for a moment, and whoever was there
 * before came unnoticed.  What the node's workers said last stands
 * in a ring in shared memory, for one that starts in the place of another, and
 * for all while there is no Redis.
 *
 * Rooms with more viewers than the limit have no table: nothing is told, and
 * when they have become small again whoever is there came unnoticed.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_ring.h>
#include <ngx_http_fcchat_room.h>


#define NGX_HTTP_FCCHAT_PRESENT_MAX     512     /* users of a table */
#define NGX_HTTP_FCCHAT_PRESENT_SOON    100     /* ms to gather who comes */
#define NGX_HTTP_FCCHAT_PRESENT_REPEAT  1500    /* ms, and up to a tick */
#define NGX_HTTP_FCCHAT_PRESENT_LISTEN  2500    /* ms before the first word */
#define NGX_HTTP_FCCHAT_PRESENT_NEW     10000   /* ms: came unnoticed after */


typedef struct {
    int64_t                        id;
    ngx_msec_t                     since;
    ngx_msec_t                     seen;
    unsigned                       here:1;      /* has a socket of ours */
    unsigned                       told:1;      /* readers know of it */
    unsigned                       far:1;       /* seen by way of Redis */
    fcc_str_t                      username;    /* both in one block */
    fcc_str_t                      role;
} ngx_http_fcchat_present_t;


struct ngx_http_fcchat_presence_s {
    ngx_uint_t                     limit;
    ngx_msec_t                     grace;
    ngx_msec_t                     began;       /* to listen */
    ngx_msec_t                     published;
    ngx_uint_t                     silent;      /* the room is too large */
    ngx_uint_t                     changed;
    ngx_uint_t                     n;
    ngx_http_fcchat_present_t     *users;       /* room for a power of two */
};


static ngx_http_fcchat_presence_t *ngx_http_fcchat_presence_create(
    ngx_http_fcchat_room_t *room, ngx_msec_t grace);
static ngx_http_fcchat_present_t *ngx_http_fcchat_presence_find(
    ngx_http_fcchat_presence_t *p, int64_t id);
static ngx_http_fcchat_present_t *ngx_http_fcchat_presence_add(
    ngx_http_fcchat_room_t *room, int64_t id, fcc_str_t *username,
    fcc_str_t *role);
static ngx_http_fcchat_present_t *ngx_http_fcchat_presence_author(
    ngx_http_fcchat_room_t *room, ngx_http_fcchat_author_t *author);
static void ngx_http_fcchat_presence_clear(ngx_http_fcchat_presence_t *p);
static ngx_uint_t ngx_http_fcchat_presence_silent(
    ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_presence_scan(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_presence_here(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m);
static void ngx_http_fcchat_presence_tell(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_presence_say(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_present_t *u, const char *type, const char *text);
static void ngx_http_fcchat_presence_publish(ngx_http_fcchat_room_t *room);
static void ngx_http_fcchat_presence_send(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_ring_item_t *item, fcc_buf_t *b);
static void ngx_http_fcchat_presence_item(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_ring_item_t *item);


void
ngx_http_fcchat_presence_join(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author, ngx_uint_t limit, ngx_msec_t grace)
{
    ngx_http_fcchat_present_t   *u;
    ngx_http_fcchat_presence_t  *p;

    p = room->presence;

    if (p == NULL) {
        p = ngx_http_fcchat_presence_create(room, grace);
        if (p == NULL) {
            return;
        }
    }

    p->limit = limit;
    p->grace = grace;

    if (p->silent) {
        return;
    }

    u = ngx_http_fcchat_presence_author(room, author);

    if (u == NULL || u->here) {
        return;
    }

    u->here = 1;
    u->seen = ngx_current_msec;
    p->changed = 1;

    if (!room->hub->present.timer_set) {
        ngx_add_timer(&room->hub->present, NGX_HTTP_FCCHAT_PRESENT_SOON);
    }
}


void
ngx_http_fcchat_presence_handler(ngx_event_t *ev)
{
    ngx_queue_t             *q;
    ngx_http_fcchat_hub_t   *hub;
    ngx_http_fcchat_room_t  *room;

    hub = ev->data;

    for (q = ngx_queue_head(&hub->all);
         q != ngx_queue_sentinel(&hub->all);
         q = ngx_queue_next(q))
    {
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, queue);

        if (room->presence && room->presence->changed) {
            ngx_http_fcchat_presence_tick(room);
        }
    }
}


void
ngx_http_fcchat_presence_tick(ngx_http_fcchat_room_t *room)
{
    ngx_http_fcchat_presence_t  *p;

    p = room->presence;

    if (p == NULL) {
        return;
    }

    if (ngx_http_fcchat_room_members(room) == 0
        && ngx_queue_empty(&room->resumers))
    {
        /* nobody to tell; what is said last stands elsewhere: all have left */

        ngx_http_fcchat_presence_scan(room);
        ngx_http_fcchat_presence_publish(room);
        ngx_http_fcchat_presence_free(room);
        return;
    }

    if (ngx_http_fcchat_presence_silent(room)) {
        return;
    }

    ngx_http_fcchat_presence_scan(room);

    /* the scan may have found too many */

    if (p->silent) {
        return;
    }

    if (p->changed
        || ngx_current_msec - p->published >= NGX_HTTP_FCCHAT_PRESENT_REPEAT)
    {
        ngx_http_fcchat_presence_publish(room);
    }

    ngx_http_fcchat_presence_tell(room);
}


void
ngx_http_fcchat_presence_free(ngx_http_fcchat_room_t *room)
{
    if (room->presence) {
        ngx_http_fcchat_presence_clear(room->presence);
        ngx_free(room->presence);
        room->presence = NULL;
    }
}


static ngx_http_fcchat_presence_t *
ngx_http_fcchat_presence_create(ngx_http_fcchat_room_t *room,
    ngx_msec_t grace)
{
    uint64_t                      pos, key;
    ngx_http_fcchat_hub_t        *hub;
    ngx_http_fcchat_presence_t   *p;
    ngx_http_fcchat_ring_item_t   item;

    hub = room->hub;

    p = ngx_calloc(sizeof(ngx_http_fcchat_presence_t), hub->log);
    if (p == NULL) {
        return NULL;
    }

    p->began = ngx_current_msec;

    /* what a worker said last may be older than a short time of grace */

    p->grace = ngx_max(grace, NGX_HTTP_FCCHAT_PRESENT_NEW);

    room->presence = p;

    if (hub->ring) {
        pos = 0;
        key = ngx_http_fcchat_user_key(hub, &room->schema, room->id);

        while (ngx_http_fcchat_ring_get(hub->ring, &pos, key, &item)
               == NGX_OK)
        {
            ngx_http_fcchat_presence_item(room, &item);
        }
    }

    return p;
}


static ngx_http_fcchat_present_t *
ngx_http_fcchat_presence_find(ngx_http_fcchat_presence_t *p, int64_t id)
{
    ngx_uint_t  i;

    for (i = 0; i < p->n; i++) {
        if (p->users[i].id == id) {
            return &p->users[i];
        }
    }

    return NULL;
}


/* NULL: without memory, or there are too many, and the table is gone */

static ngx_http_fcchat_present_t *
ngx_http_fcchat_presence_add(ngx_http_fcchat_room_t *room, int64_t id,
    fcc_str_t *username, fcc_str_t *role)
{
    u_char                      *text;
    ngx_uint_t                   n;
    ngx_log_t                   *log;
    ngx_http_fcchat_present_t   *u, *users;
    ngx_http_fcchat_presence_t  *p;

    p = room->presence;
    log = room->hub->log;

    if (p->n == NGX_HTTP_FCCHAT_PRESENT_MAX) {
        ngx_http_fcchat_presence_clear(p);
        p->silent = 1;
        return NULL;
    }

    if ((p->n & (p->n - 1)) == 0) {
        n = p->n ? p->n * 2 : 1;

        users = ngx_alloc(n * sizeof(ngx_http_fcchat_present_t), log);
        if (users == NULL) {
            return NULL;
        }

        if (p->users) {
            ngx_memcpy(users, p->users,
                       p->n * sizeof(ngx_http_fcchat_present_t));
            ngx_free(p->users);
        }

        p->users = users;
    }

    text = ngx_alloc(username->len + role->len + 1, log);
    if (text == NULL) {
        return NULL;
    }

    u = &p->users[p->n++];

    ngx_memzero(u, sizeof(ngx_http_fcchat_present_t));

    u->id = id;
    u->since = ngx_current_msec;
    u->seen = ngx_current_msec;

    u->username.len = username->len;
    u->username.data = text;
    u->role.len = role->len;
    u->role.data = ngx_cpymem(text, username->data, username->len);

    ngx_memcpy(u->role.data, role->data, role->len);

    return u;
}


static ngx_http_fcchat_present_t *
ngx_http_fcchat_presence_author(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author)
{
    fcc_str_t                   username, role;
    ngx_http_fcchat_present_t  *u;

    u = ngx_http_fcchat_presence_find(room->presence, author->id);

    if (u) {
        return u;
    }

    username.len = author->username.len;
    username.data = author->username.data;
    role.len = author->role.len;
    role.data = author->role.data;

    return ngx_http_fcchat_presence_add(room, author->id, &username, &role);
}


static void
ngx_http_fcchat_presence_clear(ngx_http_fcchat_presence_t *p)
{
    ngx_uint_t  i;

    for (i = 0; i < p->n; i++) {
        ngx_free(p->users[i].username.data);
    }

    if (p->users) {
        ngx_free(p->users);
    }

    p->users = NULL;
    p->n = 0;
}


/* 1: nothing is told; a room that has become small has a table again */

static ngx_uint_t
ngx_http_fcchat_presence_silent(ngx_http_fcchat_room_t *room)
{
    int64_t                      viewers;
    ngx_http_fcchat_presence_t  *p;

    p = room->presence;
    viewers = ngx_http_fcchat_room_viewers(room);

    if (viewers > (int64_t) p->limit) {
        ngx_http_fcchat_presence_clear(p);
        p->silent = 1;
        return 1;
    }

    if (p->silent) {

        /* a room at the limit would begin again and again */

        if (viewers > (int64_t) (p->limit - p->limit / 8)) {
            return 1;
        }

        p->silent = 0;
        p->began = ngx_current_msec;

        ngx_http_fcchat_presence_scan(room);
    }

    return p->silent;
}


/* who has a socket here: whoever was not told of by join() is no news */

static void
ngx_http_fcchat_presence_scan(ngx_http_fcchat_room_t *room)
{
    ngx_uint_t                   i, k;
    ngx_queue_t                 *q;
    ngx_http_fcchat_audience_t  *a;
    ngx_http_fcchat_presence_t  *p;

    p = room->presence;

    for (i = 0; i < p->n; i++) {
        p->users[i].here = 0;
    }

    for (i = 0; i < NGX_HTTP_FCCHAT_AUDIENCES && !p->silent; i++) {
        a = &room->audiences[i];

        for (k = 0; k < a->n && !p->silent; k++) {
            ngx_http_fcchat_presence_here(room, a->slots[k].member);
        }
    }

    for (q = ngx_queue_head(&room->resumers);
         q != ngx_queue_sentinel(&room->resumers) && !p->silent;
         q = ngx_queue_next(q))
    {
        ngx_http_fcchat_presence_here(room,
                       ngx_queue_data(q, ngx_http_fcchat_member_t, waiting));
    }
}


static void
ngx_http_fcchat_presence_here(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m)
{
    ngx_http_fcchat_author_t   *author;
    ngx_http_fcchat_present_t  *u;

    author = room->hub->who(m);

    if (author == NULL) {
        return;
    }

    u = ngx_http_fcchat_presence_find(room->presence, author->id);

    if (u == NULL) {
        u = ngx_http_fcchat_presence_author(room, author);

        if (u == NULL) {
            return;
        }

        u->told = 1;
        u->since -= NGX_HTTP_FCCHAT_PRESENT_NEW;
    }

    u->here = 1;
    u->far = 0;
    u->seen = ngx_current_msec;
}


/* what has changed in the table, to our readers */

static void
ngx_http_fcchat_presence_tell(ngx_http_fcchat_room_t *room)
{
    ngx_uint_t                   i, listening, away;
    ngx_msec_t                   now;
    ngx_http_fcchat_present_t   *u;
    ngx_http_fcchat_presence_t  *p;

    p = room->presence;
    now = ngx_current_msec;

    listening = now - p->began < NGX_HTTP_FCCHAT_PRESENT_LISTEN;
    away = room->hub->nlinks && !ngx_http_fcchat_hub_hinted(room->hub);

    for (i = 0; i < p->n; /* void */ ) {
        u = &p->users[i];

        if (!u->told && !listening) {
            u->told = 1;

            if ((ngx_msec_int_t) (u->since - p->began) >= 0
                && now - u->since < NGX_HTTP_FCCHAT_PRESENT_NEW)
            {
                ngx_http_fcchat_presence_say(room, u, "join",
                                             "joined the chat");
            }
        }

        /* who was seen on another node can't be while Redis is away */

        if (u->here
            || (u->far && away)
            || now - u->seen < p->grace + NGX_HTTP_FCCHAT_PEER_FRESH)
        {
            i++;
            continue;
        }

        if (u->told) {
            ngx_http_fcchat_presence_say(room, u, "leave", "left the chat");
        }

        ngx_free(u->username.data);
        *u = p->users[--p->n];
    }
}


static void
ngx_http_fcchat_presence_say(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_present_t *u, const char *type, const char *text)
{
    size_t       size;
    u_char      *buf;
    fcc_buf_t    b;
    ngx_uint_t   i;
    fcc_event_t  e;

    size = FCC_PROTO_EXPANSION * (u->username.len + u->role.len)
           + FCC_PROTO_OVERHEAD;

    buf = ngx_http_fcchat_hub_scratch(room->hub, size);
    if (buf == NULL) {
        return;
    }

    ngx_memzero(&e, sizeof(fcc_event_t));

    e.username = u->username;
    e.type.data = (u_char *) type;
    e.type.len = ngx_strlen(type);
    e.text.data = (u_char *) text;
    e.text.len = ngx_strlen(text);

    for (i = 0; i < NGX_HTTP_FCCHAT_ENCODINGS; i++) {

        if (ngx_http_fcchat_room_readers(room, i) == 0) {
            continue;
        }

        fcc_buf_init(&b, buf, size);

        if (i == NGX_HTTP_FCCHAT_V1) {
            fcc_proto_v1_presence(&b, type, u->id, &u->username, &u->role);

        } else {
            fcc_proto_old_message(&b, &e, i == NGX_HTTP_FCCHAT_OLD_HTML);
        }

        ngx_http_fcchat_room_ephemeral(room, i, &b);
    }
}


/* in as many envelopes as it takes: each stands alone */

static void
ngx_http_fcchat_presence_publish(ngx_http_fcchat_room_t *room)
{
    size_t                        len;
    fcc_buf_t                     b;
    ngx_uint_t                    i, n;
    fcc_bus_present_t             present;
    ngx_http_fcchat_present_t    *u;
    ngx_http_fcchat_presence_t   *p;
    ngx_http_fcchat_ring_item_t   item;

    p = room->presence;

    p->changed = 0;
    p->published = ngx_current_msec;

    for (i = 0, n = 0; i < p->n; /* void */ ) {
        u = &p->users[i];

        present.user_id = u->id;
        present.username = u->username;
        present.role = u->role;
        present.since = ngx_current_msec - u->since;
        present.seen = u->here ? 0 : ngx_current_msec - u->seen;

        if (n == 0) {

            /* "]}" is to fit as well */

            fcc_buf_init(&b, item.data, NGX_HTTP_FCCHAT_RING_SIZE - 2);
            fcc_bus_present_begin(&b, &room->hub->worker);
        }

        len = b.pos - b.start;

        fcc_bus_present_put(&b, &present, n == 0);

        if (!b.full) {
            n++;
            i++;
            continue;
        }

        /* one that fits nowhere is known here alone */

        if (n == 0) {
            i++;
            continue;
        }

        b.pos = b.start + len;
        ngx_http_fcchat_presence_send(room, &item, &b);
        n = 0;
    }

    if (n) {
        ngx_http_fcchat_presence_send(room, &item, &b);
    }
}


static void
ngx_http_fcchat_presence_send(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_ring_item_t *item, fcc_buf_t *b)
{
    fcc_buf_t               out;
    ngx_http_fcchat_hub_t  *hub;
    u_char                  buf[NGX_HTTP_FCCHAT_RING_SIZE + FCC_SEAL_SIZE];

    hub = room->hub;

    b->full = 0;
    b->end += 2;
    fcc_bus_end(b);

    item->len = b->pos - b->start;

    if (hub->ring && room->schema.len <= NGX_HTTP_FCCHAT_RING_SCHEMA) {
        item->key = ngx_http_fcchat_user_key(hub, &room->schema, room->id);
        item->room_id = room->id;
        item->schema_len = room->schema.len;
        ngx_memcpy(item->schema, room->schema.data, room->schema.len);

        ngx_http_fcchat_ring_put(hub->ring, item);
    }

    fcc_buf_init(&out, buf, sizeof(buf));
    fcc_buf_put(&out, b->start, item->len);

    ngx_http_fcchat_bus_send(hub, &room->channel.str, &out);
}


void
ngx_http_fcchat_presence_poll(ngx_http_fcchat_hub_t *hub)
{
    ngx_str_t                     schema;
    ngx_http_fcchat_room_t       *room;
    ngx_http_fcchat_ring_item_t   item;

    if (hub->ring == NULL || ngx_http_fcchat_hub_hinted(hub)) {
        return;
    }

    while (ngx_http_fcchat_ring_get(hub->ring, &hub->ring_pos, 0, &item)
           == NGX_OK)
    {
        schema.len = item.schema_len;
        schema.data = item.schema;

        if (item.key != ngx_http_fcchat_user_key(hub, &schema, item.room_id)) {
            continue;
        }

        room = ngx_http_fcchat_room_by_id(hub, &schema, item.room_id);

        if (room && !fcc_bus_own(item.data, item.len, &hub->worker)) {
            ngx_http_fcchat_presence_item(room, &item);
        }
    }
}


static void
ngx_http_fcchat_presence_item(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_ring_item_t *item)
{
    fcc_bus_t   bus;
    ngx_msec_t  late;

    late = ngx_current_msec - item->at;

    /* another worker's clock may be ahead by a turn */

    if ((ngx_msec_int_t) late < 0) {
        late = 0;
    }

    if (room->presence == NULL
        || late >= room->presence->grace
        || fcc_bus_read(&bus, item->data, item->len) != FCC_OK)
    {
        return;
    }

    if (bus.type == FCC_BUS_PRESENT) {
        ngx_http_fcchat_presence_bus(room, &bus, late, 0);
    }

    fcc_bus_free(&bus);
}


/*
 * Who has a socket there is seen.  What was seen by others counts where nobody
 * here has heard of it, or two workers would keep a user alive by telling each
 * other.
 */

void
ngx_http_fcchat_presence_bus(ngx_http_fcchat_room_t *room, fcc_bus_t *bus,
    ngx_msec_t late, ngx_uint_t far)
{
    size_t                       i;
    ngx_msec_t                   seen, since;
    fcc_bus_present_t            present;
    ngx_http_fcchat_present_t   *u;
    ngx_http_fcchat_presence_t  *p;

    p = room->presence;

    for (i = 0; p && !p->silent && i < bus->items; i++) {

        if (fcc_bus_present(bus, i, &present) != FCC_OK
            || present.seen + late >= p->grace)
        {
            continue;
        }

        seen = ngx_current_msec - present.seen - late;
        since = ngx_current_msec - present.since - late;

        u = ngx_http_fcchat_presence_find(p, present.user_id);

        if (u == NULL) {
            u = ngx_http_fcchat_presence_add(room, present.user_id,
                                             &present.username, &present.role);
            if (u == NULL) {
                continue;
            }

            u->seen = seen;
            u->since = since;
            u->far = far;

        } else if (present.seen == 0
                   && (ngx_msec_int_t) (seen - u->seen) > 0)
        {
            u->seen = seen;
            u->far = far && !u->here;
        }

        if ((ngx_msec_int_t) (since - u->since) < 0) {
            u->since = since;
        }
    }

    if (p && !p->silent) {
        ngx_http_fcchat_presence_tell(room);
    }
}
