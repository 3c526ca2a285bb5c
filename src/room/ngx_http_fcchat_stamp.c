
/*
 * The stamps of each tenant, read as a whole and kept.
 *
 * A table is read when its schema is first asked for, and again when a stamp
 * is missing, once a second at most, so that a stream of unknown ids costs
 * nothing.  One that is in use is read anew every few seconds, or what the site
 * takes away or draws anew would stay as it was; nobody waits for that.
 * Who waits is called when the answer comes; the tables die with the hub, and
 * their questions are forgotten then.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_room.h>


#define NGX_HTTP_FCCHAT_STAMPS_FRESH  1000      /* ms */
#define NGX_HTTP_FCCHAT_STAMPS_OLD    5000      /* ms */


typedef struct {
    ngx_queue_t                   queue;
    void                        (*ready)(void *data, ngx_uint_t ok);
    void                         *data;
} ngx_http_fcchat_stamp_waiter_t;


typedef struct {
    ngx_queue_t                   queue;
    ngx_http_fcchat_hub_t        *hub;
    ngx_str_t                     schema;
    ngx_pool_t                   *pool;         /* of the stamps */
    fcc_stamp_t                  *stamps;
    ngx_uint_t                    n;
    ngx_uint_t                    loaded;
    ngx_msec_t                    read;
    ngx_msec_t                    asked;        /* the last time */
    ngx_http_fcchat_store_ask_t  *ask;
    ngx_queue_t                   waiters;
    ngx_uint_t                    nwaiters;
} ngx_http_fcchat_stamps_t;


static ngx_http_fcchat_stamps_t *ngx_http_fcchat_stamps_get(
    ngx_http_fcchat_hub_t *hub, ngx_str_t *schema, ngx_uint_t create);
static ngx_int_t ngx_http_fcchat_stamps_ask(ngx_http_fcchat_stamps_t *table);
static void ngx_http_fcchat_stamps_read(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_stamps_keep(ngx_http_fcchat_stamps_t *table,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_stamp_image(ngx_pool_t *pool,
    ngx_str_t *media, fcc_str_t *src, fcc_str_t *dst);
static void ngx_http_fcchat_stamps_wake(ngx_http_fcchat_stamps_t *table,
    ngx_uint_t ok);


fcc_stamp_t *
ngx_http_fcchat_stamp_find(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    int64_t id, ngx_uint_t *fresh)
{
    ngx_uint_t                 i;
    ngx_http_fcchat_stamps_t  *table;

    *fresh = 0;

    table = ngx_http_fcchat_stamps_get(hub, schema, 0);
    if (table == NULL) {
        return NULL;
    }

    if (table->loaded
        && ngx_current_msec - table->asked >= NGX_HTTP_FCCHAT_STAMPS_OLD)
    {
        /* when it can't be asked, what there is stands */

        (void) ngx_http_fcchat_stamps_ask(table);
    }

    for (i = 0; i < table->n; i++) {
        if (table->stamps[i].id == id) {
            return &table->stamps[i];
        }
    }

    *fresh = table->loaded && ngx_current_msec - table->read
                              < NGX_HTTP_FCCHAT_STAMPS_FRESH;

    return NULL;
}


ngx_int_t
ngx_http_fcchat_stamp_wait(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    void (*ready)(void *data, ngx_uint_t ok), void *data)
{
    ngx_http_fcchat_stamps_t        *table;
    ngx_http_fcchat_stamp_waiter_t  *w;

    table = ngx_http_fcchat_stamps_get(hub, schema, 1);
    if (table == NULL) {
        return NGX_ERROR;
    }

    if (table->nwaiters >= NGX_HTTP_FCCHAT_STAMP_WAIT_MAX) {
        return NGX_BUSY;
    }

    w = ngx_alloc(sizeof(ngx_http_fcchat_stamp_waiter_t), hub->log);
    if (w == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_fcchat_stamps_ask(table) != NGX_OK) {
        ngx_free(w);
        return NGX_DECLINED;
    }

    w->ready = ready;
    w->data = data;

    ngx_queue_insert_tail(&table->waiters, &w->queue);
    table->nwaiters++;

    return NGX_AGAIN;
}


static ngx_http_fcchat_stamps_t *
ngx_http_fcchat_stamps_get(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    ngx_uint_t create)
{
    ngx_queue_t               *q;
    ngx_http_fcchat_stamps_t  *table;

    for (q = ngx_queue_head(&hub->stamps);
         q != ngx_queue_sentinel(&hub->stamps);
         q = ngx_queue_next(q))
    {
        table = ngx_queue_data(q, ngx_http_fcchat_stamps_t, queue);

        if (table->schema.len == schema->len
            && ngx_memcmp(table->schema.data, schema->data, schema->len) == 0)
        {
            return table;
        }
    }

    if (!create) {
        return NULL;
    }

    table = ngx_calloc(sizeof(ngx_http_fcchat_stamps_t) + schema->len,
                       hub->log);
    if (table == NULL) {
        return NULL;
    }

    table->hub = hub;
    table->schema.len = schema->len;
    table->schema.data = (u_char *) table + sizeof(ngx_http_fcchat_stamps_t);
    ngx_memcpy(table->schema.data, schema->data, schema->len);

    ngx_queue_init(&table->waiters);
    ngx_queue_insert_tail(&hub->stamps, &table->queue);

    return table;
}


static ngx_int_t
ngx_http_fcchat_stamps_ask(ngx_http_fcchat_stamps_t *table)
{
    if (table->ask == NULL) {
        table->asked = ngx_current_msec;
        table->ask = ngx_http_fcchat_store_stamps(table->hub->store,
                                                  &table->schema,
                                                  ngx_http_fcchat_stamps_read,
                                                  table);
    }

    return table->ask ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_fcchat_stamps_read(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_uint_t                 ok;
    ngx_http_fcchat_stamps_t  *table;

    table = data;
    table->ask = NULL;

    ok = answer->rc == NGX_HTTP_FCCHAT_STORE_OK
         && ngx_http_fcchat_stamps_keep(table, answer) == NGX_OK;

    if (ok) {
        table->loaded = 1;
        table->read = ngx_current_msec;
    }

    ngx_http_fcchat_stamps_wake(table, ok);
}


static ngx_int_t
ngx_http_fcchat_stamps_keep(ngx_http_fcchat_stamps_t *table,
    ngx_http_fcchat_store_answer_t *answer)
{
    u_char       *p;
    ngx_uint_t    i, n;
    ngx_pool_t   *pool;
    fcc_stamp_t  *stamps, *src, *dst;

    pool = ngx_create_pool(1024, table->hub->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    n = ngx_min(answer->n, NGX_HTTP_FCCHAT_STORE_STAMPS);

    stamps = ngx_palloc(pool, n * sizeof(fcc_stamp_t) + 1);
    if (stamps == NULL) {
        goto failed;
    }

    for (i = 0; i < n; i++) {
        src = &answer->stamps[i];
        dst = &stamps[i];

        p = ngx_pnalloc(pool, src->name.len + 1);
        if (p == NULL) {
            goto failed;
        }

        ngx_memcpy(p, src->name.data, src->name.len);

        dst->id = src->id;
        dst->name.len = src->name.len;
        dst->name.data = p;

        if (ngx_http_fcchat_stamp_image(pool, &table->hub->conf->media,
                                        &src->image, &dst->image)
            != NGX_OK)
        {
            goto failed;
        }
    }

    if (table->pool) {
        ngx_destroy_pool(table->pool);
    }

    table->pool = pool;
    table->stamps = stamps;
    table->n = n;

    return NGX_OK;

failed:

    ngx_destroy_pool(pool);

    return NGX_ERROR;
}


/* a FileField holds a path below MEDIA_ROOT; a page needs an URL */

static ngx_int_t
ngx_http_fcchat_stamp_image(ngx_pool_t *pool, ngx_str_t *media,
    fcc_str_t *src, fcc_str_t *dst)
{
    u_char     *p;
    ngx_str_t   prefix;

    prefix = *media;

    if (src->len == 0
        || src->data[0] == '/'
        || (src->len > 7 && ngx_strncmp(src->data, "http://", 7) == 0)
        || (src->len > 8 && ngx_strncmp(src->data, "https://", 8) == 0))
    {
        prefix.len = 0;
    }

    p = ngx_pnalloc(pool, prefix.len + src->len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    dst->data = p;
    dst->len = prefix.len + src->len;

    p = ngx_cpymem(p, prefix.data, prefix.len);
    ngx_memcpy(p, src->data, src->len);

    return NGX_OK;
}


static void
ngx_http_fcchat_stamps_wake(ngx_http_fcchat_stamps_t *table, ngx_uint_t ok)
{
    ngx_queue_t                      waiters, *q;
    ngx_http_fcchat_stamp_waiter_t  *w;

    /* who is called may wait anew */

    ngx_queue_init(&waiters);

    if (!ngx_queue_empty(&table->waiters)) {
        ngx_queue_add(&waiters, &table->waiters);
        ngx_queue_init(&table->waiters);
        table->nwaiters = 0;
    }

    while (!ngx_queue_empty(&waiters)) {
        q = ngx_queue_head(&waiters);
        w = ngx_queue_data(q, ngx_http_fcchat_stamp_waiter_t, queue);

        ngx_queue_remove(q);

        w->ready(w->data, ok);

        ngx_free(w);
    }
}


void
ngx_http_fcchat_stamps_destroy(ngx_http_fcchat_hub_t *hub)
{
    ngx_queue_t               *q;
    ngx_http_fcchat_stamps_t  *table;

    while (!ngx_queue_empty(&hub->stamps)) {
        q = ngx_queue_head(&hub->stamps);
        table = ngx_queue_data(q, ngx_http_fcchat_stamps_t, queue);

        ngx_queue_remove(q);

        if (table->ask && hub->store) {
            ngx_http_fcchat_store_forget(table->ask);
        }

        ngx_http_fcchat_stamps_wake(table, 0);

        if (table->pool) {
            ngx_destroy_pool(table->pool);
        }

        ngx_free(table);
    }
}
