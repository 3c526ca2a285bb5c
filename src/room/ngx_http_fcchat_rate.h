
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
    NGX_HTTP_FCCHAT_RATE_API,
    NGX_HTTP_FCCHAT_RATE_HISTORY,       /* pages of it, and resumes */
    NGX_HTTP_FCCHAT_RATE_STRANGER,      /* cookies that are no session */
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

/*
 * One more message, by the hashes of its text and place and of its cid (0: it
 * has none).  NGX_OK: it may be sent.  NGX_DECLINED: the same was said a moment
 * ago.  NGX_BUSY: too many, *wait is the time (ms) until it may.  Only NGX_OK
 * takes a token.
 */
ngx_int_t ngx_http_fcchat_rate_say(ngx_shm_zone_t *zone, uint64_t key,
    uint64_t text, uint64_t cid, fcc_rate_t *rate, ngx_msec_t *wait);

/*
 * What a user has sent on another node: cost in us of a kind, and the hashes of
 * a text or 0.
 */
void ngx_http_fcchat_rate_spend(ngx_shm_zone_t *zone, uint64_t key,
    ngx_http_fcchat_rate_e kind, int64_t cost, uint64_t text, uint64_t cid);

/* a number of this node, the same in all workers and after a reload */
int64_t ngx_http_fcchat_rate_node(ngx_shm_zone_t *zone);

/* 1 when no worker of this node was told of the n-th envelope of a worker of
 * another one, whose are numbered from 1 */
ngx_uint_t ngx_http_fcchat_rate_first(ngx_shm_zone_t *zone, uint64_t worker,
    int64_t n);

/*
 * One more message by the user of this key, in which there is nothing but when
 * the last one came, if that is so long (ms) ago.  NGX_OK: it may be sent, and
 * is the last one now.  NGX_DONE: it is the last one itself, by the hash of its
 * cid.  NGX_BUSY: *wait is the time (ms) until it may.
 */
ngx_int_t ngx_http_fcchat_rate_next(ngx_shm_zone_t *zone, uint64_t key,
    uint64_t cid, ngx_msec_t interval, ngx_msec_t *wait);

/* the last one came so long ago, if no later one is known */
void ngx_http_fcchat_rate_last(ngx_shm_zone_t *zone, uint64_t key,
    ngx_msec_t ago);

/* the last one was none */
void ngx_http_fcchat_rate_none(ngx_shm_zone_t *zone, uint64_t key);

/* what was taken was not needed */
void ngx_http_fcchat_rate_give(ngx_shm_zone_t *zone, uint64_t key,
    ngx_http_fcchat_rate_e kind, fcc_rate_t *rate);

/* a message was not stored after all: the user may say the same again */
void ngx_http_fcchat_rate_unsay(ngx_shm_zone_t *zone, uint64_t key);


#endif /* _NGX_HTTP_FCCHAT_RATE_H_INCLUDED_ */
