
/*
 * The buckets of a node's users in shared memory.
 *
 * They are a table of sets that is made once: nothing is allocated or freed
 * later.  A user's place is one of the few of a set, and a full set gives up
 * the place that was unused for longest; such a user has had time to fill its
 * buckets, or the zone is too small.  The slab's own mutex is the only lock,
 * which the master releases when a worker dies holding it, and it is held for
 * one look at one set.  A bucket is one number, so that whoever dies there
 * leaves none half done, and a text half noted is like no other.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_fcchat_rate.h>


#define NGX_HTTP_FCCHAT_RATE_SET    8   /* places */
#define NGX_HTTP_FCCHAT_RATE_PEERS  256 /* workers of other nodes */


typedef struct {
    uint64_t                      key;          /* 0: free */
    ngx_msec_t                    used;
    int64_t                       full[NGX_HTTP_FCCHAT_RATE_KINDS];
    fcc_said_t                    said[FCC_RATE_SAID];
} ngx_http_fcchat_bucket_t;


typedef struct {
    uint64_t                      worker;       /* 0: free */
    int64_t                       n;
    ngx_msec_t                    used;
} ngx_http_fcchat_rate_peer_t;


/* a change of this layout changes the zone's name: a zone survives reloads */

typedef struct {
    int64_t                       node;
    ngx_http_fcchat_rate_peer_t   peers[NGX_HTTP_FCCHAT_RATE_PEERS];
    ngx_uint_t                    nsets;
    ngx_http_fcchat_bucket_t      sets[1][NGX_HTTP_FCCHAT_RATE_SET];
} ngx_http_fcchat_buckets_t;


static ngx_http_fcchat_bucket_t *ngx_http_fcchat_rate_find(
    ngx_http_fcchat_buckets_t *buckets, uint64_t key);


ngx_int_t
ngx_http_fcchat_rate_init(ngx_shm_zone_t *zone, void *data)
{
    size_t                      size;
    ngx_slab_pool_t            *shpool;
    ngx_http_fcchat_buckets_t  *buckets;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    size = shpool->pfree * ngx_pagesize;

    buckets = ngx_slab_calloc(shpool, size);
    if (buckets == NULL) {
        return NGX_ERROR;
    }

    buckets->node = (int64_t) (((uint64_t) ngx_random() << 21)
                               ^ (uint64_t) ngx_random() ^ ngx_pid)
                    + 1;

    buckets->nsets = (size - offsetof(ngx_http_fcchat_buckets_t, sets))
                     / sizeof(buckets->sets[0]);

    shpool->data = buckets;
    zone->data = buckets;

    return NGX_OK;
}


ngx_msec_t
ngx_http_fcchat_rate_take(ngx_shm_zone_t *zone, uint64_t key,
    ngx_http_fcchat_rate_e kind, fcc_rate_t *rate)
{
    int64_t                    wait;
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_bucket_t  *b;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    b = ngx_http_fcchat_rate_find(zone->data, key);

    b->used = ngx_current_msec;
    wait = fcc_rate_take(&b->full[kind], rate, ngx_current_msec);

    ngx_shmtx_unlock(&shpool->mutex);

    return wait;
}


void
ngx_http_fcchat_rate_give(ngx_shm_zone_t *zone, uint64_t key,
    ngx_http_fcchat_rate_e kind, fcc_rate_t *rate)
{
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_bucket_t  *b;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    b = ngx_http_fcchat_rate_find(zone->data, key);

    fcc_rate_give(&b->full[kind], rate);

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_int_t
ngx_http_fcchat_rate_say(ngx_shm_zone_t *zone, uint64_t key, uint64_t text,
    uint64_t cid, fcc_rate_t *rate, ngx_msec_t *wait)
{
    ngx_int_t                  rc;
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_bucket_t  *b;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    b = ngx_http_fcchat_rate_find(zone->data, key);

    b->used = ngx_current_msec;

    if (fcc_rate_said(b->said, text, cid, ngx_current_msec)) {
        rc = NGX_DECLINED;

    } else {
        *wait = fcc_rate_take(&b->full[NGX_HTTP_FCCHAT_RATE_MESSAGE], rate,
                              ngx_current_msec);
        rc = *wait ? NGX_BUSY : NGX_OK;
    }

    if (rc == NGX_OK) {
        fcc_rate_say(b->said, text, cid, ngx_current_msec);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


void
ngx_http_fcchat_rate_spend(ngx_shm_zone_t *zone, uint64_t key,
    ngx_http_fcchat_rate_e kind, int64_t cost, uint64_t text, uint64_t cid)
{
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_bucket_t  *b;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    b = ngx_http_fcchat_rate_find(zone->data, key);

    b->used = ngx_current_msec;
    fcc_rate_spend(&b->full[kind], cost, ngx_current_msec);

    if (text) {
        fcc_rate_say(b->said, text, cid, ngx_current_msec);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


int64_t
ngx_http_fcchat_rate_node(ngx_shm_zone_t *zone)
{
    ngx_http_fcchat_buckets_t  *buckets;

    buckets = zone->data;

    return buckets->node;
}


/* the one that was not heard of for longest makes room for another */

ngx_uint_t
ngx_http_fcchat_rate_first(ngx_shm_zone_t *zone, uint64_t worker, int64_t n)
{
    ngx_uint_t                    i, first;
    ngx_slab_pool_t              *shpool;
    ngx_http_fcchat_buckets_t    *buckets;
    ngx_http_fcchat_rate_peer_t  *p, *peer;

    buckets = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    peer = buckets->peers;

    for (i = 0; i < NGX_HTTP_FCCHAT_RATE_PEERS; i++) {
        p = &buckets->peers[i];

        if (p->worker == worker) {
            peer = p;
            break;
        }

        if (peer->worker
            && (p->worker == 0 || (ngx_msec_int_t) (p->used - peer->used) < 0))
        {
            peer = p;
        }
    }

    if (peer->worker != worker) {
        peer->worker = worker;
        peer->n = 0;
    }

    first = n > peer->n;

    if (first) {
        peer->n = n;
    }

    peer->used = ngx_current_msec;

    ngx_shmtx_unlock(&shpool->mutex);

    return first;
}


ngx_int_t
ngx_http_fcchat_rate_next(ngx_shm_zone_t *zone, uint64_t key, uint64_t cid,
    ngx_msec_t interval, ngx_msec_t *wait)
{
    int64_t                   *last, ago;
    ngx_int_t                  rc;
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_bucket_t  *b;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    b = ngx_http_fcchat_rate_find(zone->data, key);

    b->used = ngx_current_msec;

    last = &b->full[NGX_HTTP_FCCHAT_RATE_MESSAGE];

    /* another worker's clock may be ahead by a turn */

    ago = ngx_max((int64_t) ngx_current_msec - *last, 0);

    if (*last == 0 || ago >= (int64_t) interval) {
        *last = ngx_current_msec;
        b->said[0].cid = cid;
        rc = NGX_OK;

    } else if (cid && b->said[0].cid == cid) {
        rc = NGX_DONE;

    } else {
        *wait = interval - ago;
        rc = NGX_BUSY;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


void
ngx_http_fcchat_rate_last(ngx_shm_zone_t *zone, uint64_t key, ngx_msec_t ago)
{
    int64_t                   *last;
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_bucket_t  *b;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    b = ngx_http_fcchat_rate_find(zone->data, key);

    b->used = ngx_current_msec;

    last = &b->full[NGX_HTTP_FCCHAT_RATE_MESSAGE];
    *last = ngx_max(*last, (int64_t) ngx_current_msec - (int64_t) ago);

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_fcchat_rate_none(ngx_shm_zone_t *zone, uint64_t key)
{
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_bucket_t  *b;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    b = ngx_http_fcchat_rate_find(zone->data, key);

    b->used = ngx_current_msec;
    b->full[NGX_HTTP_FCCHAT_RATE_MESSAGE] = 0;

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_fcchat_rate_unsay(ngx_shm_zone_t *zone, uint64_t key)
{
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_bucket_t  *b;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    b = ngx_http_fcchat_rate_find(zone->data, key);

    b->used = ngx_current_msec;
    ngx_memzero(b->said, sizeof(b->said));

    ngx_shmtx_unlock(&shpool->mutex);
}


/* the user's place, which may be a new one; the lock is held */

static ngx_http_fcchat_bucket_t *
ngx_http_fcchat_rate_find(ngx_http_fcchat_buckets_t *buckets, uint64_t key)
{
    ngx_uint_t                 i;
    ngx_http_fcchat_bucket_t  *b, *old, *set;

    /* 0 is a free place */

    key = key ? key : 1;

    set = buckets->sets[key % buckets->nsets];
    old = set;

    for (i = 0; i < NGX_HTTP_FCCHAT_RATE_SET; i++) {
        b = &set[i];

        if (b->key == key) {
            return b;
        }

        if (old->key
            && (b->key == 0 || (ngx_msec_int_t) (b->used - old->used) < 0))
        {
            old = b;
        }
    }

    ngx_memzero(old, sizeof(ngx_http_fcchat_bucket_t));
    old->key = key;

    return old;
}
