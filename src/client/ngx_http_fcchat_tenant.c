
/*
 * Whose a host is: a cache of the worker over django-tenants' tables.
 *
 *     asked --a row--> known --its time is over, and somebody asks--> asked
 *       \--no row--> unknown --likewise-----------------------------> asked
 *
 * An entry is on the list of its state, each of which is bounded: strangers
 * choose the hosts, and a flood of unknown ones must not push out what is
 * known.  An entry that is asked for again keeps its answer, which stands when
 * PostgreSQL is away: a domain can't have moved meanwhile.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>
#include <fcc_utf8.h>


#define NGX_HTTP_FCCHAT_TENANT_HOST  253        /* bytes of a name, RFC 1035 */


typedef enum {
    NGX_HTTP_FCCHAT_TENANT_ASKED = 0,
    NGX_HTTP_FCCHAT_TENANT_KNOWN,
    NGX_HTTP_FCCHAT_TENANT_UNKNOWN,
    NGX_HTTP_FCCHAT_TENANT_STATES
} ngx_http_fcchat_tenant_state_e;


struct ngx_http_fcchat_tenants_s {
    ngx_rbtree_t                     tree;
    ngx_rbtree_node_t                sentinel;
    ngx_log_t                       *log;
    ngx_http_fcchat_seldom_t         unfit;     /* names of schemas */

    /* the longest there first */
    ngx_queue_t                      list[NGX_HTTP_FCCHAT_TENANT_STATES];
    ngx_uint_t                       n[NGX_HTTP_FCCHAT_TENANT_STATES];
};


typedef struct {
    ngx_str_node_t                   node;      /* hub, SQL and host */
    ngx_queue_t                      queue;
    ngx_http_fcchat_tenant_state_e   state;
    ngx_http_fcchat_tenants_t       *tenants;
    ngx_http_fcchat_store_ask_t     *ask;
    ngx_queue_t                      waiters;
    ngx_msec_t                       at;        /* of the last answer */
    ngx_str_t                        schema;    /* len 0: none */
    u_char                           name[NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX];
    u_char                           key[1];
} ngx_http_fcchat_domain_t;


typedef struct {
    ngx_http_fcchat_hub_t           *hub;
    const char                      *sql;
    u_char                           host[NGX_HTTP_FCCHAT_TENANT_HOST];
} ngx_http_fcchat_domain_key_t;


static ngx_uint_t ngx_http_fcchat_tenant_host(ngx_str_t *host);
static ngx_http_fcchat_domain_t *ngx_http_fcchat_tenant_find(
    ngx_http_fcchat_tenants_t *tenants, ngx_str_t *key);
static ngx_int_t ngx_http_fcchat_tenant_ask(ngx_http_fcchat_domain_t *d,
    ngx_http_fcchat_hub_t *hub, ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *host);
static ngx_http_fcchat_tenant_e ngx_http_fcchat_tenant_stale(
    ngx_http_fcchat_domain_t *d, ngx_str_t *schema);
static void ngx_http_fcchat_tenant_answer(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_http_fcchat_tenant_e ngx_http_fcchat_tenant_learn(
    ngx_http_fcchat_domain_t *d, ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_tenant_tell(ngx_queue_t *waiters,
    ngx_http_fcchat_tenant_e rc, ngx_str_t *schema);
static void ngx_http_fcchat_tenant_move(ngx_http_fcchat_domain_t *d,
    ngx_http_fcchat_tenant_state_e state);
static void ngx_http_fcchat_tenant_free(ngx_http_fcchat_domain_t *d);


ngx_uint_t
ngx_http_fcchat_tenant_valid(ngx_str_t *schema)
{
    ngx_uint_t  i;

    /* it is quoted all the same */

    if (schema->len == 0
        || schema->len > NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX
        || fcc_utf8_length(schema->data, schema->len) < 0)
    {
        return 0;
    }

    /* it is told in the log, and may be the client's choice */

    for (i = 0; i < schema->len; i++) {
        if (schema->data[i] < 0x20 || schema->data[i] == 0x7f) {
            return 0;
        }
    }

    return schema->len < 3 || ngx_strncmp(schema->data, "pg_", 3) != 0;
}


ngx_http_fcchat_tenant_e
ngx_http_fcchat_tenant(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_hub_t *hub, ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *host, ngx_http_fcchat_tenant_waiter_t *w, ngx_str_t *schema)
{
    ngx_str_t                      name;
    ngx_msec_t                     ttl;
    ngx_http_fcchat_domain_t      *d;
    ngx_http_fcchat_domain_key_t   key;

    if (!ngx_http_fcchat_tenant_host(host)) {
        return NGX_HTTP_FCCHAT_TENANT_NONE;
    }

    key.hub = hub;
    key.sql = conf->tables;
    ngx_memcpy(key.host, host->data, host->len);

    name.data = (u_char *) &key;
    name.len = offsetof(ngx_http_fcchat_domain_key_t, host) + host->len;

    d = ngx_http_fcchat_tenant_find(worker->tenants, &name);
    if (d == NULL) {
        return NGX_HTTP_FCCHAT_TENANT_UNAVAILABLE;
    }

    ttl = d->schema.len ? conf->tenant_cache
                        : ngx_min(conf->tenant_cache,
                                  NGX_HTTP_FCCHAT_NEGATIVE_TIME);

    if (d->state != NGX_HTTP_FCCHAT_TENANT_ASKED
        && ngx_current_msec - d->at < ttl)
    {
        *schema = d->schema;

        return d->schema.len ? NGX_HTTP_FCCHAT_TENANT_OK
                             : NGX_HTTP_FCCHAT_TENANT_NONE;
    }

    if (d->ask == NULL
        && ngx_http_fcchat_tenant_ask(d, hub, conf, host) != NGX_OK)
    {
        return ngx_http_fcchat_tenant_stale(d, schema);
    }

    ngx_queue_insert_tail(&d->waiters, &w->queue);
    w->waits = 1;

    return NGX_HTTP_FCCHAT_TENANT_MISS;
}


/* what Django takes as a host, without the brackets of IPv6, which
 * django-tenants can't look up either */

static ngx_uint_t
ngx_http_fcchat_tenant_host(ngx_str_t *host)
{
    u_char  c;
    size_t  i;

    if (host->len == 0 || host->len > NGX_HTTP_FCCHAT_TENANT_HOST) {
        return 0;
    }

    for (i = 0; i < host->len; i++) {
        c = host->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.'
              || c == '-'))
        {
            return 0;
        }
    }

    return 1;
}


/* the entry, or a new one on the list "asked" that nobody has asked for yet */

static ngx_http_fcchat_domain_t *
ngx_http_fcchat_tenant_find(ngx_http_fcchat_tenants_t *tenants, ngx_str_t *key)
{
    uint32_t                   hash;
    ngx_http_fcchat_domain_t  *d;

    hash = ngx_crc32_short(key->data, key->len);

    d = (ngx_http_fcchat_domain_t *)
            ngx_str_rbtree_lookup(&tenants->tree, key, hash);

    if (d) {
        return d;
    }

    if (tenants->n[NGX_HTTP_FCCHAT_TENANT_ASKED]
        >= NGX_HTTP_FCCHAT_TENANTS_MAX)
    {
        return NULL;
    }

    d = ngx_calloc(sizeof(ngx_http_fcchat_domain_t) + key->len, tenants->log);
    if (d == NULL) {
        return NULL;
    }

    ngx_memcpy(d->key, key->data, key->len);

    d->node.str.len = key->len;
    d->node.str.data = d->key;
    d->node.node.key = hash;
    d->tenants = tenants;
    d->schema.data = d->name;

    ngx_queue_init(&d->waiters);

    ngx_rbtree_insert(&tenants->tree, &d->node.node);

    d->state = NGX_HTTP_FCCHAT_TENANT_ASKED;
    ngx_queue_insert_tail(&tenants->list[d->state], &d->queue);
    tenants->n[d->state]++;

    return d;
}


static ngx_int_t
ngx_http_fcchat_tenant_ask(ngx_http_fcchat_domain_t *d,
    ngx_http_fcchat_hub_t *hub, ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *host)
{
    if (d->state != NGX_HTTP_FCCHAT_TENANT_ASKED
        && d->tenants->n[NGX_HTTP_FCCHAT_TENANT_ASKED]
           >= NGX_HTTP_FCCHAT_TENANTS_MAX)
    {
        return NGX_ERROR;
    }

    d->ask = ngx_http_fcchat_store_tenant(hub->store, conf->tables, host,
                                          ngx_http_fcchat_tenant_answer, d);
    if (d->ask == NULL) {
        return NGX_ERROR;
    }

    ngx_http_fcchat_tenant_move(d, NGX_HTTP_FCCHAT_TENANT_ASKED);

    return NGX_OK;
}


/* nothing can be asked now: what was known stands, nothing else is kept */

static ngx_http_fcchat_tenant_e
ngx_http_fcchat_tenant_stale(ngx_http_fcchat_domain_t *d, ngx_str_t *schema)
{
    if (d->schema.len == 0) {
        ngx_http_fcchat_tenant_free(d);
        return NGX_HTTP_FCCHAT_TENANT_UNAVAILABLE;
    }

    *schema = d->schema;

    return NGX_HTTP_FCCHAT_TENANT_OK;
}


void
ngx_http_fcchat_tenant_forget(ngx_http_fcchat_tenant_waiter_t *w)
{
    if (w->waits) {
        ngx_queue_remove(&w->queue);
        w->waits = 0;
    }
}


static void
ngx_http_fcchat_tenant_answer(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_str_t                  schema;
    ngx_queue_t                waiters;
    ngx_http_fcchat_tenant_e   rc;
    ngx_http_fcchat_domain_t  *d;
    u_char                     name[NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX];

    d = data;
    d->ask = NULL;

    rc = ngx_http_fcchat_tenant_learn(d, answer);

    schema.len = d->schema.len;
    schema.data = name;
    ngx_memcpy(name, d->name, d->schema.len);

    /* the entry may be gone before the last of them has been told */

    ngx_queue_init(&waiters);

    if (!ngx_queue_empty(&d->waiters)) {
        ngx_queue_add(&waiters, &d->waiters);
        ngx_queue_init(&d->waiters);
    }

    if (rc == NGX_HTTP_FCCHAT_TENANT_UNAVAILABLE) {
        ngx_http_fcchat_tenant_free(d);

    } else {
        ngx_http_fcchat_tenant_move(d, d->schema.len
                                       ? NGX_HTTP_FCCHAT_TENANT_KNOWN
                                       : NGX_HTTP_FCCHAT_TENANT_UNKNOWN);
    }

    ngx_http_fcchat_tenant_tell(&waiters, rc, &schema);
}


static ngx_http_fcchat_tenant_e
ngx_http_fcchat_tenant_learn(ngx_http_fcchat_domain_t *d,
    ngx_http_fcchat_store_answer_t *answer)
{
    const char  *end;

    if (answer->rc == NGX_HTTP_FCCHAT_STORE_OK
        && ngx_http_fcchat_tenant_valid(&answer->data))
    {
        d->schema.len = answer->data.len;
        ngx_memcpy(d->name, answer->data.data, answer->data.len);
        d->at = ngx_current_msec;

        return NGX_HTTP_FCCHAT_TENANT_OK;
    }

    if (answer->rc == NGX_HTTP_FCCHAT_STORE_OK
        || answer->rc == NGX_HTTP_FCCHAT_STORE_NONE)
    {
        end = (answer->rc == NGX_HTTP_FCCHAT_STORE_OK)
              ? ngx_http_fcchat_net_seldom(&d->tenants->unfit, 1) : NULL;

        if (end) {
            ngx_log_error(NGX_LOG_ERR, d->tenants->log, 0,
                          "fcchat: the tenant of a domain has a schema_name "
                          "of %uz bytes that can't be a schema's%s",
                          answer->data.len, end);
        }

        d->schema.len = 0;
        d->at = ngx_current_msec;

        return NGX_HTTP_FCCHAT_TENANT_NONE;
    }

    return d->schema.len ? NGX_HTTP_FCCHAT_TENANT_OK
                         : NGX_HTTP_FCCHAT_TENANT_UNAVAILABLE;
}


static void
ngx_http_fcchat_tenant_tell(ngx_queue_t *waiters, ngx_http_fcchat_tenant_e rc,
    ngx_str_t *schema)
{
    ngx_queue_t                      *q;
    ngx_http_fcchat_tenant_waiter_t  *w;

    while (!ngx_queue_empty(waiters)) {
        q = ngx_queue_head(waiters);
        w = ngx_queue_data(q, ngx_http_fcchat_tenant_waiter_t, queue);

        ngx_queue_remove(q);
        w->waits = 0;

        w->ready(w, rc, rc == NGX_HTTP_FCCHAT_TENANT_OK ? schema : NULL);
    }
}


/* to the end of another list, or of its own; too many: the first one goes */

static void
ngx_http_fcchat_tenant_move(ngx_http_fcchat_domain_t *d,
    ngx_http_fcchat_tenant_state_e state)
{
    ngx_queue_t                *q;
    ngx_http_fcchat_tenants_t  *tenants;

    tenants = d->tenants;

    ngx_queue_remove(&d->queue);
    tenants->n[d->state]--;

    if (state != NGX_HTTP_FCCHAT_TENANT_ASKED
        && tenants->n[state] >= NGX_HTTP_FCCHAT_TENANTS_MAX)
    {
        q = ngx_queue_head(&tenants->list[state]);
        ngx_http_fcchat_tenant_free(ngx_queue_data(q, ngx_http_fcchat_domain_t,
                                                   queue));
    }

    d->state = state;
    ngx_queue_insert_tail(&tenants->list[state], &d->queue);
    tenants->n[state]++;
}


static void
ngx_http_fcchat_tenant_free(ngx_http_fcchat_domain_t *d)
{
    ngx_queue_remove(&d->queue);
    d->tenants->n[d->state]--;

    ngx_rbtree_delete(&d->tenants->tree, &d->node.node);

    ngx_free(d);
}


ngx_http_fcchat_tenants_t *
ngx_http_fcchat_tenants_create(ngx_log_t *log)
{
    ngx_uint_t                  i;
    ngx_http_fcchat_tenants_t  *tenants;

    tenants = ngx_calloc(sizeof(ngx_http_fcchat_tenants_t), log);
    if (tenants == NULL) {
        return NULL;
    }

    tenants->log = log;

    ngx_rbtree_init(&tenants->tree, &tenants->sentinel,
                    ngx_str_rbtree_insert_value);

    for (i = 0; i < NGX_HTTP_FCCHAT_TENANT_STATES; i++) {
        ngx_queue_init(&tenants->list[i]);
    }

    return tenants;
}


void
ngx_http_fcchat_tenants_destroy(ngx_http_fcchat_tenants_t *tenants)
{
    ngx_uint_t                 i;
    ngx_queue_t               *q;
    ngx_http_fcchat_domain_t  *d;

    for (i = 0; i < NGX_HTTP_FCCHAT_TENANT_STATES; i++) {

        while (!ngx_queue_empty(&tenants->list[i])) {
            q = ngx_queue_head(&tenants->list[i]);
            d = ngx_queue_data(q, ngx_http_fcchat_domain_t, queue);

            if (d->ask) {
                ngx_http_fcchat_store_forget(d->ask);
            }

            ngx_http_fcchat_tenant_tell(&d->waiters,
                                        NGX_HTTP_FCCHAT_TENANT_UNAVAILABLE,
                                        NULL);
            ngx_http_fcchat_tenant_free(d);
        }
    }

    ngx_free(tenants);
}
