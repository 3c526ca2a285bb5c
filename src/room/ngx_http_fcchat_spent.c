
/*
 * What users send, over all nodes: each tells the others what was taken from
 * its buckets, and takes what they tell from its own.
 *
 * It gathers for a moment and goes as one envelope, so that a limit is exact
 * within a node and within that time over several.  Each worker of the other
 * nodes hears of it; the numbers of a worker's envelopes, kept in the zone, let
 * one of a node do it.  A worker of the same node has seen it in the zone.
 *
 * What is not sent, since Redis is away, is not kept: limits are of a node
 * then.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


#define NGX_HTTP_FCCHAT_SPENT_TIME   100        /* ms */
#define NGX_HTTP_FCCHAT_SPENT_SIZE   32768      /* bytes of an envelope */
#define NGX_HTTP_FCCHAT_SPENT_ITEM                                            \
    (FCC_PROTO_EXPANSION * NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX                   \
     + FCC_PROTO_OVERHEAD)
#define NGX_HTTP_FCCHAT_SPENT_END    (16 + FCC_SEAL_SIZE)
#define NGX_HTTP_FCCHAT_SPENT_UNSAY  2


static void ngx_http_fcchat_spent_flush(ngx_http_fcchat_hub_t *hub);


uint64_t
ngx_http_fcchat_user_key(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    int64_t id)
{
    uint64_t                     key;
    ngx_http_fcchat_hub_conf_t  *conf;

    conf = hub->conf;

    key = fcc_rate_hash(FCC_RATE_HASH_INIT, conf->store.pg->conninfo.data,
                        conf->store.pg->conninfo.len);
    key = fcc_rate_hash(key, "", 1);
    key = fcc_rate_hash(key, conf->prefix.data, conf->prefix.len);
    key = fcc_rate_hash(key, "", 1);
    key = fcc_rate_hash(key, schema->data, schema->len);
    key = fcc_rate_hash(key, "", 1);

    return fcc_rate_hash(key, &id, sizeof(id));
}


void
ngx_http_fcchat_spent(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    int64_t user, ngx_http_fcchat_rate_e kind, fcc_rate_t *rate, uint64_t text,
    uint64_t cid)
{
    fcc_buf_t                  b;
    fcc_bus_spent_t            s;
    ngx_http_fcchat_outbox_t  *box;

    box = &hub->spent;

    if (hub->nlinks == 0 || hub->zone == NULL
        || schema->len > NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX)
    {
        return;
    }

    if (box->buf == NULL) {
        box->buf = ngx_alloc(NGX_HTTP_FCCHAT_SPENT_SIZE, hub->log);
        if (box->buf == NULL) {
            return;
        }
    }

    if (box->n == FCC_BUS_ITEMS_MAX
        || box->len + NGX_HTTP_FCCHAT_SPENT_ITEM + NGX_HTTP_FCCHAT_SPENT_END
           > NGX_HTTP_FCCHAT_SPENT_SIZE)
    {
        ngx_http_fcchat_spent_flush(hub);
    }

    s.schema.len = schema->len;
    s.schema.data = schema->data;
    s.user_id = user;
    s.kind = rate ? (int64_t) kind : NGX_HTTP_FCCHAT_SPENT_UNSAY;
    s.cost = rate ? rate->interval : 0;
    s.text = (int64_t) text;
    s.cid = (int64_t) cid;

    fcc_buf_init(&b, box->buf, NGX_HTTP_FCCHAT_SPENT_SIZE
                               - NGX_HTTP_FCCHAT_SPENT_END);
    b.pos += box->len;

    if (box->n == 0) {
        fcc_bus_spent_begin(&b, &hub->worker,
                            ngx_http_fcchat_rate_node(hub->zone),
                            ++hub->nspent);
    }

    fcc_bus_spent_put(&b, &s, box->n == 0);

    if (b.full) {
        return;
    }

    box->len = b.pos - box->buf;
    box->n++;

    if (!hub->spend.timer_set) {
        ngx_add_timer(&hub->spend, NGX_HTTP_FCCHAT_SPENT_TIME);
    }
}


void
ngx_http_fcchat_spent_handler(ngx_event_t *ev)
{
    ngx_http_fcchat_spent_flush(ev->data);
}


static void
ngx_http_fcchat_spent_flush(ngx_http_fcchat_hub_t *hub)
{
    fcc_buf_t                  b;
    ngx_http_fcchat_outbox_t  *box;

    box = &hub->spent;

    if (box->n == 0) {
        return;
    }

    fcc_buf_init(&b, box->buf, NGX_HTTP_FCCHAT_SPENT_SIZE);
    b.pos += box->len;
    fcc_bus_end(&b);

    box->n = 0;
    box->len = 0;

    ngx_http_fcchat_bus_send(hub, &hub->rates, &b);
}


void
ngx_http_fcchat_spent_bus(ngx_http_fcchat_hub_t *hub, fcc_bus_t *bus)
{
    size_t           i;
    uint64_t         key;
    ngx_str_t        schema;
    fcc_bus_spent_t  s;

    if (hub->zone == NULL
        || bus->node == ngx_http_fcchat_rate_node(hub->zone)
        || !ngx_http_fcchat_rate_first(hub->zone,
                                       fcc_rate_hash(FCC_RATE_HASH_INIT,
                                                     bus->worker.data,
                                                     bus->worker.len),
                                       bus->n))
    {
        return;
    }

    for (i = 0; i < bus->items; i++) {

        if (fcc_bus_spent(bus, i, &s) != FCC_OK) {
            continue;
        }

        schema.len = s.schema.len;
        schema.data = s.schema.data;

        key = ngx_http_fcchat_user_key(hub, &schema, s.user_id);

        if (s.kind == NGX_HTTP_FCCHAT_SPENT_UNSAY) {
            ngx_http_fcchat_rate_unsay(hub->zone, key);

        } else {
            ngx_http_fcchat_rate_spend(hub->zone, key, s.kind, s.cost, s.text,
                                       s.cid);
        }
    }
}
