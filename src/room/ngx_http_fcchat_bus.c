
/*
 * The bus: envelopes out at the end of each turn, envelopes in.
 *
 * What a room has to publish gathers in its outbox while the worker handles
 * the events of one turn, and leaves as one PUBLISH; a batch of commits is one
 * message on the bus.  A PUBLISH that can't be sent is dropped: the others
 * find the events in PostgreSQL, reactions are for the eye only.
 *
 * What comes in is not trusted: it is parsed by fcc_bus_read(), events pass
 * the room's rule of numbers, and names and images of stamps are our own.  But
 * an event with the next number is shown before PostgreSQL is asked: with
 * fcchat_redis_secret_file an envelope has a seal, and one without is dropped,
 * as if Redis had.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


#define NGX_HTTP_FCCHAT_OUTBOX_MIN  4096
#define NGX_HTTP_FCCHAT_OUTBOX_MAX  (256 * 1024)
#define NGX_HTTP_FCCHAT_OUTBOX_END  (16 + FCC_SEAL_SIZE)    /* brackets */


static void ngx_http_fcchat_bus_message(void *data, ngx_str_t *channel,
    ngx_str_t *payload);
static void ngx_http_fcchat_bus_complain(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *payload, const char *what);
static void ngx_http_fcchat_bus_changes(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *payload);
static void ngx_http_fcchat_bus_events(ngx_http_fcchat_room_t *room,
    fcc_bus_t *bus);
static void ngx_http_fcchat_bus_reactions(ngx_http_fcchat_room_t *room,
    fcc_bus_t *bus);
static void ngx_http_fcchat_bus_subscribed(void *data, ngx_str_t *channel);
static void ngx_http_fcchat_bus_changed(void *data, ngx_uint_t up);
static ngx_int_t ngx_http_fcchat_bus_reserve(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_outbox_t *box, size_t size, fcc_buf_t *b);
static void ngx_http_fcchat_bus_flush(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_outbox_t *box);


void
ngx_http_fcchat_bus_handlers(ngx_http_fcchat_link_t *link,
    ngx_http_fcchat_redis_handlers_t *handlers)
{
    handlers->data = link;
    handlers->message = ngx_http_fcchat_bus_message;
    handlers->subscribed = ngx_http_fcchat_bus_subscribed;
    handlers->changed = ngx_http_fcchat_bus_changed;
}


static void
ngx_http_fcchat_bus_message(void *data, ngx_str_t *channel, ngx_str_t *payload)
{
    fcc_bus_t                bus;
    fcc_str_t                ch;
    ngx_uint_t               spent, sealed;
    ngx_http_fcchat_hub_t   *hub;
    ngx_http_fcchat_link_t  *link;
    ngx_http_fcchat_room_t  *room;

    link = data;
    hub = link->hub;

    if (channel->len == hub->rights.len
        && ngx_memcmp(channel->data, hub->rights.data, channel->len) == 0)
    {
        ngx_http_fcchat_bus_changes(hub, payload);
        return;
    }

    room = ngx_http_fcchat_room_by_channel(hub, channel);

    spent = channel->len == hub->rates.len
            && ngx_memcmp(channel->data, hub->rates.data, channel->len) == 0;

    /* Redis sends us our own as well */

    if ((room == NULL && !spent)
        || fcc_bus_own(payload->data, payload->len, &hub->worker))
    {
        return;
    }

    ch.len = channel->len;
    ch.data = channel->data;

    sealed = hub->conf->seal == NULL
             || fcc_seal_valid(hub->conf->seal, &ch, payload->data,
                               payload->len);

    if (!sealed
        || fcc_bus_read(&bus, payload->data, payload->len) != FCC_OK)
    {
        ngx_http_fcchat_bus_complain(hub, payload,
                                     sealed ? "are no envelope"
                                            : "have no seal of ours");
        return;
    }

    if ((bus.worker.len == hub->worker.len
         && ngx_memcmp(bus.worker.data, hub->worker.data, bus.worker.len) == 0)
        || spent != (bus.type == FCC_BUS_SPENT))
    {
        fcc_bus_free(&bus);
        return;
    }

    switch (bus.type) {

    case FCC_BUS_EVENTS:
        ngx_http_fcchat_bus_events(room, &bus);
        break;

    case FCC_BUS_REACTIONS:
        ngx_http_fcchat_bus_reactions(room, &bus);
        break;

    case FCC_BUS_VIEWERS:
        ngx_http_fcchat_viewers_peer(room, bus.worker.data, bus.n, 0);
        break;

    case FCC_BUS_PRESENT:
        ngx_http_fcchat_presence_bus(room, &bus, 0, 1);
        break;

    case FCC_BUS_SPENT:
        ngx_http_fcchat_spent_bus(hub, &bus);
        break;

    case FCC_BUS_BEAT:
        break;
    }

    fcc_bus_free(&bus);
}


static void
ngx_http_fcchat_bus_complain(ngx_http_fcchat_hub_t *hub, ngx_str_t *payload,
    const char *what)
{
    const char  *end;

    end = ngx_http_fcchat_net_seldom(&hub->malformed, 1);

    if (end) {
        ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                      "fcchat bus brought %uz bytes that %s%s",
                      payload->len, what, end);
    }
}


/* whoever can reach Redis can say so; a look costs little and harms nobody */

static void
ngx_http_fcchat_bus_changes(ngx_http_fcchat_hub_t *hub, ngx_str_t *payload)
{
    ngx_str_t         schema, session;
    fcc_bus_rights_t  r;

    if (fcc_bus_rights_read(&r, payload->data, payload->len) != FCC_OK) {
        ngx_http_fcchat_bus_complain(hub, payload, "are no announcement");
        return;
    }

    schema.len = r.tenant.len;
    schema.data = r.tenant.data;
    session.len = r.session.len;
    session.data = r.session.data;

    hub->recheck(hub->client, hub, &schema, r.user, &session);

    fcc_bus_rights_free(&r);
}


void
ngx_http_fcchat_bus_rights(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    int64_t user)
{
    fcc_buf_t   b;
    fcc_str_t   tenant;
    ngx_str_t   payload;
    ngx_uint_t  i;
    u_char      buf[FCC_PROTO_OVERHEAD
                    + FCC_PROTO_EXPANSION * NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX];

    ngx_str_null(&payload);

    hub->recheck(hub->client, hub, schema, user, &payload);

    tenant.len = schema->len;
    tenant.data = schema->data;

    fcc_buf_init(&b, buf, sizeof(buf));
    fcc_bus_rights(&b, &tenant, user);

    payload.data = b.start;
    payload.len = b.pos - b.start;

    /* all listen on all servers: the first that takes it */

    for (i = 0; i < hub->nlinks; i++) {
        if (ngx_http_fcchat_redis_publish(hub->links[i].redis, &hub->rights,
                                          &payload)
            == NGX_OK)
        {
            return;
        }
    }
}


static void
ngx_http_fcchat_bus_events(ngx_http_fcchat_room_t *room, fcc_bus_t *bus)
{
    size_t       i;
    ngx_str_t    epoch;
    fcc_event_t  e;

    epoch.len = bus->epoch.len;
    epoch.data = bus->epoch.data;

    for (i = 0; i < bus->items; i++) {
        if (fcc_bus_event(bus, i, &e) == FCC_OK) {
            ngx_http_fcchat_room_event(room, &e, &epoch);
        }
    }
}


static void
ngx_http_fcchat_bus_reactions(ngx_http_fcchat_room_t *room, fcc_bus_t *bus)
{
    size_t              i;
    fcc_bus_reaction_t  r;

    for (i = 0; i < bus->items; i++) {
        if (fcc_bus_reaction(bus, i, &r) == FCC_OK) {
            ngx_http_fcchat_react_bus(room, &r);
        }
    }
}


static void
ngx_http_fcchat_bus_subscribed(void *data, ngx_str_t *channel)
{
    ngx_http_fcchat_link_t  *link;
    ngx_http_fcchat_room_t  *room;

    link = data;

    room = ngx_http_fcchat_room_by_channel(link->hub, channel);

    if (room) {
        room->stale = 1;
        ngx_http_fcchat_hub_poll_soon(link->hub);
    }
}


static void
ngx_http_fcchat_bus_changed(void *data, ngx_uint_t up)
{
    ngx_http_fcchat_hub_t   *hub;
    ngx_http_fcchat_link_t  *link;

    link = data;
    hub = link->hub;

    if (!up && hub->tick.timer_set) {

        /* the next whole tick may be a second away: poll from now on */

        ngx_del_timer(&hub->tick);
        ngx_add_timer(&hub->tick, NGX_HTTP_FCCHAT_TICK_ALONE);
    }
}


void
ngx_http_fcchat_bus_event(ngx_http_fcchat_room_t *room, fcc_event_t *e,
    ngx_str_t *epoch)
{
    size_t                     size;
    fcc_buf_t                  b;
    fcc_str_t                  ep;
    ngx_http_fcchat_outbox_t  *box;

    if (room->hub->nlinks == 0) {
        return;
    }

    box = &room->events;

    if (box->n >= FCC_BUS_ITEMS_MAX) {
        ngx_http_fcchat_bus_flush(room, box);
    }

    size = fcc_event_size(e);

    if (ngx_http_fcchat_bus_reserve(room, box, size, &b) != NGX_OK) {
        return;
    }

    if (box->n == 0) {
        ep.len = epoch->len;
        ep.data = epoch->data;
        fcc_bus_events_begin(&b, &room->hub->worker, &ep);
    }

    fcc_bus_event_put(&b, e, box->n == 0);

    if (!b.full) {
        box->len = b.pos - box->buf;
        box->n++;
    }
}


void
ngx_http_fcchat_bus_reaction(ngx_http_fcchat_room_t *room,
    fcc_bus_reaction_t *r)
{
    size_t                     size;
    fcc_buf_t                  b;
    ngx_http_fcchat_outbox_t  *box;

    if (room->hub->nlinks == 0) {
        return;
    }

    box = &room->reactions;

    if (box->n >= FCC_BUS_ITEMS_MAX) {
        ngx_http_fcchat_bus_flush(room, box);
    }

    size = FCC_PROTO_EXPANSION * r->username.len + FCC_PROTO_OVERHEAD;

    if (ngx_http_fcchat_bus_reserve(room, box, size, &b) != NGX_OK) {
        return;
    }

    if (box->n == 0) {
        fcc_bus_reactions_begin(&b, &room->hub->worker);
    }

    fcc_bus_reaction_put(&b, r, box->n == 0);

    if (!b.full) {
        box->len = b.pos - box->buf;
        box->n++;
    }
}


/* room for size more bytes and the end, at the end of what is there */

static ngx_int_t
ngx_http_fcchat_bus_reserve(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_outbox_t *box, size_t size, fcc_buf_t *b)
{
    size_t                  need;
    u_char                 *p;
    ngx_http_fcchat_hub_t  *hub;

    hub = room->hub;

    if (box->n && box->len + size > NGX_HTTP_FCCHAT_OUTBOX_MAX) {
        ngx_http_fcchat_bus_flush(room, box);
    }

    if (box->n == 0) {
        box->len = 0;
    }

    need = ngx_max(box->len + size + NGX_HTTP_FCCHAT_OUTBOX_END,
                   NGX_HTTP_FCCHAT_OUTBOX_MIN);

    if (box->size < need) {
        need = ngx_max(need, box->size * 2);

        p = ngx_alloc(need, hub->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (box->buf) {
            ngx_memcpy(p, box->buf, box->len);
            ngx_free(box->buf);
        }

        box->buf = p;
        box->size = need;
    }

    fcc_buf_init(b, box->buf, box->size - NGX_HTTP_FCCHAT_OUTBOX_END);
    b->pos += box->len;

    if (!room->in_outbox) {
        room->in_outbox = 1;
        ngx_queue_insert_tail(&hub->outbox, &room->outbox);
    }

    ngx_post_event(&hub->publish, &ngx_posted_events);

    return NGX_OK;
}


void
ngx_http_fcchat_bus_publish(ngx_event_t *ev)
{
    ngx_queue_t             *q;
    ngx_http_fcchat_hub_t   *hub;
    ngx_http_fcchat_room_t  *room;

    hub = ev->data;

    while (!ngx_queue_empty(&hub->outbox)) {
        q = ngx_queue_head(&hub->outbox);
        room = ngx_queue_data(q, ngx_http_fcchat_room_t, outbox);

        ngx_queue_remove(q);
        room->in_outbox = 0;

        ngx_http_fcchat_bus_flush(room, &room->events);
        ngx_http_fcchat_bus_flush(room, &room->reactions);
    }
}


static void
ngx_http_fcchat_bus_flush(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_outbox_t *box)
{
    fcc_buf_t  b;

    if (box->n == 0) {
        return;
    }

    fcc_buf_init(&b, box->buf, box->size);
    b.pos += box->len;
    fcc_bus_end(&b);

    box->n = 0;
    box->len = 0;

    ngx_http_fcchat_bus_send(room->hub, &room->channel.str, &b);

    /* a busy moment is no reason to keep much in a quiet room */

    if (box->size > NGX_HTTP_FCCHAT_OUTBOX_MIN * 4) {
        ngx_free(box->buf);
        box->buf = NULL;
        box->size = 0;
    }
}


void
ngx_http_fcchat_bus_viewers(ngx_http_fcchat_room_t *room, int64_t count)
{
    fcc_buf_t  b;
    u_char     buf[FCC_PROTO_OVERHEAD];

    fcc_buf_init(&b, buf, sizeof(buf));
    fcc_bus_viewers(&b, &room->hub->worker, count);

    ngx_http_fcchat_bus_send(room->hub, &room->channel.str, &b);
}


/* what can't be sent, or sealed, the others find in PostgreSQL */

void
ngx_http_fcchat_bus_send(ngx_http_fcchat_hub_t *hub, ngx_str_t *channel,
    fcc_buf_t *b)
{
    fcc_str_t                 ch;
    ngx_str_t                 payload;
    ngx_http_fcchat_redis_t  *redis;

    redis = ngx_http_fcchat_hub_link(hub, channel);

    if (redis == NULL) {
        return;
    }

    ch.len = channel->len;
    ch.data = channel->data;

    if (hub->conf->seal
        && fcc_seal_put(hub->conf->seal, &ch, b) != FCC_OK)
    {
        return;
    }

    payload.data = b->start;
    payload.len = b->pos - b->start;

    (void) ngx_http_fcchat_redis_publish(redis, channel, &payload);
}
