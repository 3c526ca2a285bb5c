
/*
 * The session cache in shared memory: which cookie is which user, or nobody.
 *
 * Entries are found by a digest of the cookie with the location's salt and the
 * tenant, so the zone holds no session key and one site's entry means nothing
 * to another.  The slab's own mutex is the only lock: the master releases it
 * when a worker dies holding it.  Everything under it is short: a look-up
 * copies, a change unlinks at most a few entries, nothing is logged.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_CACHE_EVICT  16     /* entries for a new one */
#define NGX_HTTP_FCCHAT_CACHE_DOUBTS 512    /* a power of two: one page */


typedef struct {
    ngx_rbtree_node_t            node;          /* key: first bytes of digest */
    ngx_queue_t                  queue;
    ngx_msec_t                   asked;         /* for what it says */
    ngx_msec_t                   expires;
    int64_t                      id;
    uint16_t                     len;
    u_char                       known;
    u_char                       staff;
    u_char                       digest[NGX_HTTP_FCCHAT_DIGEST];
    u_char                       username[1];
} ngx_http_fcchat_cached_t;


/* a change of this layout changes the zone's name: a zone survives reloads */

typedef struct {
    ngx_rbtree_t                 tree;
    ngx_rbtree_node_t            sentinel;
    ngx_queue_t                  queue;         /* the newest first */

    /* by a hash of whom or what: what was asked for before that time is not
     * believed any more */

    ngx_msec_t                  *doubts;
} ngx_http_fcchat_cache_t;


static void ngx_http_fcchat_cache_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static ngx_http_fcchat_cached_t *ngx_http_fcchat_cache_find(
    ngx_http_fcchat_cache_t *cache, u_char *digest);
static ngx_uint_t ngx_http_fcchat_cache_fresh(ngx_http_fcchat_cache_t *cache,
    ngx_http_fcchat_cached_t *e);
static ngx_msec_t *ngx_http_fcchat_cache_doubts(ngx_http_fcchat_cache_t *cache,
    uint64_t key);
static void ngx_http_fcchat_cache_remove(ngx_http_fcchat_cache_t *cache,
    ngx_slab_pool_t *shpool, ngx_http_fcchat_cached_t *e);
static ngx_http_fcchat_cached_t *ngx_http_fcchat_cache_alloc(
    ngx_http_fcchat_cache_t *cache, ngx_slab_pool_t *shpool, size_t size);


ngx_int_t
ngx_http_fcchat_cache_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t          *shpool;
    ngx_http_fcchat_cache_t  *cache;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    cache = ngx_slab_alloc(shpool, sizeof(ngx_http_fcchat_cache_t));
    if (cache == NULL) {
        return NGX_ERROR;
    }

    cache->doubts = ngx_slab_calloc(shpool, NGX_HTTP_FCCHAT_CACHE_DOUBTS
                                            * sizeof(ngx_msec_t));
    if (cache->doubts == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_init(&cache->tree, &cache->sentinel,
                    ngx_http_fcchat_cache_insert);
    ngx_queue_init(&cache->queue);

    /* a full zone is nothing to be alarmed about: entries are evicted */

    shpool->log_nomem = 0;

    shpool->data = cache;
    zone->data = cache;

    return NGX_OK;
}


static void
ngx_http_fcchat_cache_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t         **p;
    ngx_http_fcchat_cached_t   *e, *other;

    for ( ;; ) {

        if (node->key < temp->key) {
            p = &temp->left;

        } else if (node->key > temp->key) {
            p = &temp->right;

        } else {
            e = (ngx_http_fcchat_cached_t *) node;
            other = (ngx_http_fcchat_cached_t *) temp;

            p = (ngx_memcmp(e->digest, other->digest, NGX_HTTP_FCCHAT_DIGEST)
                 < 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static ngx_http_fcchat_cached_t *
ngx_http_fcchat_cache_find(ngx_http_fcchat_cache_t *cache, u_char *digest)
{
    ngx_int_t                  rc;
    uint32_t                   key;
    ngx_rbtree_node_t         *node, *sentinel;
    ngx_http_fcchat_cached_t  *e;

    ngx_memcpy(&key, digest, sizeof(uint32_t));

    node = cache->tree.root;
    sentinel = cache->tree.sentinel;

    while (node != sentinel) {

        if (key != node->key) {
            node = (key < node->key) ? node->left : node->right;
            continue;
        }

        e = (ngx_http_fcchat_cached_t *) node;

        rc = ngx_memcmp(digest, e->digest, NGX_HTTP_FCCHAT_DIGEST);

        if (rc == 0) {
            return e;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


ngx_http_fcchat_auth_e
ngx_http_fcchat_cache_get(ngx_shm_zone_t *zone, u_char *digest,
    ngx_http_fcchat_user_t *user)
{
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_auth_e     rc;
    ngx_http_fcchat_cache_t   *cache;
    ngx_http_fcchat_cached_t  *e;

    cache = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    rc = NGX_HTTP_FCCHAT_AUTH_MISS;

    ngx_shmtx_lock(&shpool->mutex);

    e = ngx_http_fcchat_cache_find(cache, digest);

    if (e && ngx_http_fcchat_cache_fresh(cache, e)) {

        if (e->known) {
            user->id = e->id;
            user->asked = e->asked;
            user->staff = e->staff;
            user->len = e->len;
            ngx_memcpy(user->username, e->username, e->len);
            rc = NGX_HTTP_FCCHAT_AUTH_OK;

        } else {
            rc = NGX_HTTP_FCCHAT_AUTH_NONE;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


ngx_uint_t
ngx_http_fcchat_cache_doubted(ngx_shm_zone_t *zone, int64_t id, u_char *digest,
    ngx_msec_t asked)
{
    uint32_t                  key;
    ngx_msec_t                user, session;
    ngx_slab_pool_t          *shpool;
    ngx_http_fcchat_cache_t  *cache;

    cache = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    user = *ngx_http_fcchat_cache_doubts(cache, id);
    session = user;

    if (digest) {
        ngx_memcpy(&key, digest, sizeof(uint32_t));
        session = *ngx_http_fcchat_cache_doubts(cache, key);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return (ngx_msec_int_t) (asked - user) <= 0
           || (ngx_msec_int_t) (asked - session) <= 0;
}


static ngx_uint_t
ngx_http_fcchat_cache_fresh(ngx_http_fcchat_cache_t *cache,
    ngx_http_fcchat_cached_t *e)
{
    ngx_msec_t  user, digest;

    user = *ngx_http_fcchat_cache_doubts(cache, e->id);
    digest = *ngx_http_fcchat_cache_doubts(cache, e->node.key);

    return (ngx_msec_int_t) (e->expires - ngx_current_msec) > 0
           && (ngx_msec_int_t) (e->asked - user) > 0
           && (ngx_msec_int_t) (e->asked - digest) > 0;
}


static ngx_msec_t *
ngx_http_fcchat_cache_doubts(ngx_http_fcchat_cache_t *cache, uint64_t key)
{
    return &cache->doubts[key & (NGX_HTTP_FCCHAT_CACHE_DOUBTS - 1)];
}


void
ngx_http_fcchat_cache_doubt(ngx_shm_zone_t *zone, int64_t id, u_char *digest)
{
    uint32_t                  key;
    ngx_slab_pool_t          *shpool;
    ngx_http_fcchat_cache_t  *cache;

    cache = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    if (digest) {
        ngx_memcpy(&key, digest, sizeof(uint32_t));
        *ngx_http_fcchat_cache_doubts(cache, key) = ngx_current_msec;

    } else {
        *ngx_http_fcchat_cache_doubts(cache, id) = ngx_current_msec;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_fcchat_cache_put(ngx_shm_zone_t *zone, u_char *digest,
    ngx_http_fcchat_user_t *user, ngx_msec_t asked, ngx_msec_t ttl)
{
    size_t                     len;
    uint32_t                   key;
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_cache_t   *cache;
    ngx_http_fcchat_cached_t  *e;

    if (ttl == 0) {
        return;
    }

    cache = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    len = user ? user->len : 0;

    ngx_shmtx_lock(&shpool->mutex);

    e = ngx_http_fcchat_cache_find(cache, digest);

    if (e) {
        ngx_http_fcchat_cache_remove(cache, shpool, e);
    }

    e = ngx_http_fcchat_cache_alloc(cache, shpool,
                                    offsetof(ngx_http_fcchat_cached_t, username)
                                    + len + 1);
    if (e) {
        ngx_memcpy(&key, digest, sizeof(uint32_t));

        e->node.key = key;
        e->asked = asked;
        e->expires = asked + ttl;
        e->known = user != NULL;
        e->id = user ? user->id : 0;
        e->staff = user ? user->staff : 0;
        e->len = len;
        ngx_memcpy(e->digest, digest, NGX_HTTP_FCCHAT_DIGEST);

        if (len) {
            ngx_memcpy(e->username, user->username, len);
        }

        /* another worker may have another build of this module loaded */

        cache->tree.insert = ngx_http_fcchat_cache_insert;

        ngx_rbtree_insert(&cache->tree, &e->node);
        ngx_queue_insert_head(&cache->queue, &e->queue);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


static void
ngx_http_fcchat_cache_remove(ngx_http_fcchat_cache_t *cache,
    ngx_slab_pool_t *shpool, ngx_http_fcchat_cached_t *e)
{
    ngx_queue_remove(&e->queue);
    ngx_rbtree_delete(&cache->tree, &e->node);
    ngx_slab_free_locked(shpool, e);
}


static ngx_http_fcchat_cached_t *
ngx_http_fcchat_cache_alloc(ngx_http_fcchat_cache_t *cache,
    ngx_slab_pool_t *shpool, size_t size)
{
    ngx_uint_t                 i;
    ngx_queue_t               *q;
    ngx_http_fcchat_cached_t  *e, *old;

    for (i = 0; i < NGX_HTTP_FCCHAT_CACHE_EVICT; i++) {

        /* what has expired goes first, a little with each new one */

        if (!ngx_queue_empty(&cache->queue)) {
            q = ngx_queue_last(&cache->queue);
            old = ngx_queue_data(q, ngx_http_fcchat_cached_t, queue);

            if (i > 1
                || (ngx_msec_int_t) (old->expires - ngx_current_msec) <= 0)
            {
                ngx_http_fcchat_cache_remove(cache, shpool, old);
            }
        }

        e = ngx_slab_alloc_locked(shpool, size);
        if (e) {
            return e;
        }
    }

    return NULL;
}
