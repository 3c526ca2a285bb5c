
/*
 * A bus of the workers of one node, in shared memory: the last envelopes of
 * all, for those who start or who have no Redis.
 */


#ifndef _NGX_HTTP_FCCHAT_RING_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_RING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_FCCHAT_RING_SIZE    2048   /* bytes of an envelope */
#define NGX_HTTP_FCCHAT_RING_SCHEMA  63


typedef struct {
    uint64_t        seq;                    /* 0: is being written */
    uint64_t        key;                    /* of the room, over all hubs */
    ngx_msec_t      at;
    int64_t         room_id;
    size_t          schema_len;
    size_t          len;
    u_char          schema[NGX_HTTP_FCCHAT_RING_SCHEMA];
    u_char          data[NGX_HTTP_FCCHAT_RING_SIZE];
} ngx_http_fcchat_ring_item_t;


/* zone->init: the ring takes all of the zone */
ngx_int_t ngx_http_fcchat_ring_init(ngx_shm_zone_t *zone, void *data);

/* puts an item in the place of the oldest; its seq and at are set here */
void ngx_http_fcchat_ring_put(ngx_shm_zone_t *zone,
    ngx_http_fcchat_ring_item_t *item);

/*
 * Copies the oldest item that is not before *pos (0: of all), and with key not
 * 0 has this key; *pos is behind it then.  NGX_OK, or NGX_DECLINED: there is
 * none, and *pos is behind all.
 */
ngx_int_t ngx_http_fcchat_ring_get(ngx_shm_zone_t *zone, uint64_t *pos,
    uint64_t key, ngx_http_fcchat_ring_item_t *item);


#endif /* _NGX_HTTP_FCCHAT_RING_H_INCLUDED_ */
