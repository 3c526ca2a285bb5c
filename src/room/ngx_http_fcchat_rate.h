
/*
 * How often a user may write: token buckets in shared memory, for all sockets
 * and workers of the node.
 */


#ifndef _NGX_HTTP_FCCHAT_RATE_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_RATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <fcc_rate.h>


typedef enum {
    NGX_HTTP_FCCHAT_RATE_MESSAGE = 0,
    NGX_HTTP_FCCHAT_RATE_REACTION,
    NGX_HTTP_FCCHAT_RATE_KINDS
} ngx_http_fcchat_rate_e;


/* zone->init: the buckets take all of the zone */
ngx_int_t ngx_http_fcchat_rate_init(ngx_shm_zone_t *zone, void *data);

/*
 * One more of a kind by the user with this key.  0: it may.  Else it may not,
 * which costs nothing, and it is the time (ms) until it may.  Whoever is not
 * known has full buckets; the one unused for longest makes room for another.
 */
ngx_msec_t ngx_http_fcchat_rate_take(ngx_shm_zone_t *zone, uint64_t key,
    ngx_http_fcchat_rate_e kind, fcc_rate_t *rate);


#endif /* _NGX_HTTP_FCCHAT_RATE_H_INCLUDED_ */
