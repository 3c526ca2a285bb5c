
/*
 * Items of one size in shared memory, numbered from 1: the n-th stands in place
 * n modulo their number.
 *
 * The slab's own mutex is the only lock, which the master releases when a
 * worker dies holding it; an item has no number while it is written, so that
 * half of one is none.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_fcchat_ring.h>


/* a change of this layout changes the zone's name: a zone survives reloads */

typedef struct {
    uint64_t                      head;         /* the last one's number */
    ngx_uint_t                    nitems;
    ngx_http_fcchat_ring_item_t   items[1];
} ngx_http_fcchat_ring_t;


ngx_int_t
ngx_http_fcchat_ring_init(ngx_shm_zone_t *zone, void *data)
{
    size_t                   size;
    ngx_slab_pool_t         *shpool;
    ngx_http_fcchat_ring_t  *ring;

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

    ring = ngx_slab_calloc(shpool, size);
    if (ring == NULL) {
        return NGX_ERROR;
    }

    ring->nitems = (size - offsetof(ngx_http_fcchat_ring_t, items))
                   / sizeof(ngx_http_fcchat_ring_item_t);

    shpool->data = ring;
    zone->data = ring;

    return NGX_OK;
}


void
ngx_http_fcchat_ring_put(ngx_shm_zone_t *zone,
    ngx_http_fcchat_ring_item_t *item)
{
    uint64_t                      seq;
    ngx_slab_pool_t              *shpool;
    ngx_http_fcchat_ring_t       *ring;
    ngx_http_fcchat_ring_item_t  *place;

    ring = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    seq = ring->head + 1;
    place = &ring->items[seq % ring->nitems];

    place->seq = 0;
    ring->head = seq;

    item->seq = 0;
    item->at = ngx_current_msec;

    ngx_memcpy(place, item,
               offsetof(ngx_http_fcchat_ring_item_t, data) + item->len);

    place->seq = seq;

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_int_t
ngx_http_fcchat_ring_get(ngx_shm_zone_t *zone, uint64_t *pos, uint64_t key,
    ngx_http_fcchat_ring_item_t *item)
{
    ngx_int_t                     rc;
    ngx_slab_pool_t              *shpool;
    ngx_http_fcchat_ring_t       *ring;
    ngx_http_fcchat_ring_item_t  *place;

    ring = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    rc = NGX_DECLINED;

    ngx_shmtx_lock(&shpool->mutex);

    if (*pos == 0) {
        *pos = 1;
    }

    if (*pos + ring->nitems <= ring->head) {
        *pos = ring->head + 1 - ring->nitems;
    }

    while (*pos <= ring->head) {
        place = &ring->items[*pos % ring->nitems];

        if (place->seq == (*pos)++ && (key == 0 || place->key == key)) {
            ngx_memcpy(item, place, offsetof(ngx_http_fcchat_ring_item_t, data)
                                    + place->len);
            rc = NGX_OK;
            break;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}
