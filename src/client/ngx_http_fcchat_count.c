
/*
 * How many sockets a user and an address have open, over the workers of a node.
 *
 * A table of sets in shared memory, made once: a place counts what one worker
 * holds for one key, and a key's places are all in its set.  What a worker
 * held that was killed is found when it would refuse somebody, or takes the
 * place of another: its pid is nobody's then.  A full set counts no more, and
 * lets in.  The slab's own mutex is the only lock, held for a look at one set.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_COUNT_SET  32       /* places */


typedef struct {
    uint64_t                    key;
    ngx_pid_t                   pid;
    uint32_t                    n;          /* 0: free */
} ngx_http_fcchat_count_t;


/* a change of this layout changes the zone's name: a zone survives reloads */

typedef struct {
    ngx_uint_t                  nsets;
    ngx_http_fcchat_count_t     sets[1][NGX_HTTP_FCCHAT_COUNT_SET];
} ngx_http_fcchat_counts_t;


static ngx_uint_t ngx_http_fcchat_count_sum(ngx_http_fcchat_count_t *set,
    uint64_t key);
static void ngx_http_fcchat_count_clean(ngx_http_fcchat_count_t *set);
static ngx_http_fcchat_count_t *ngx_http_fcchat_count_place(
    ngx_http_fcchat_count_t *set, uint64_t key);


ngx_int_t
ngx_http_fcchat_count_init(ngx_shm_zone_t *zone, void *data)
{
    size_t                     size;
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_counts_t  *counts;

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

    counts = ngx_slab_calloc(shpool, size);
    if (counts == NULL) {
        return NGX_ERROR;
    }

    counts->nsets = (size - offsetof(ngx_http_fcchat_counts_t, sets))
                    / sizeof(counts->sets[0]);

    shpool->data = counts;
    zone->data = counts;

    return NGX_OK;
}


void
ngx_http_fcchat_count_begin(ngx_shm_zone_t *zone)
{
    ngx_uint_t                 i, k;
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_counts_t  *counts;

    counts = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    for (i = 0; i < counts->nsets; i++) {
        for (k = 0; k < NGX_HTTP_FCCHAT_COUNT_SET; k++) {
            if (counts->sets[i][k].pid == ngx_pid) {
                counts->sets[i][k].n = 0;
            }
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_int_t
ngx_http_fcchat_count_add(ngx_shm_zone_t *zone, uint64_t key, ngx_uint_t max)
{
    ngx_int_t                  rc;
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_count_t   *set, *place;
    ngx_http_fcchat_counts_t  *counts;

    counts = zone->data;
    set = counts->sets[key % counts->nsets];
    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    rc = NGX_DECLINED;

    ngx_shmtx_lock(&shpool->mutex);

    place = ngx_http_fcchat_count_place(set, key);

    if (place == NULL || ngx_http_fcchat_count_sum(set, key) >= max) {
        ngx_http_fcchat_count_clean(set);
        place = ngx_http_fcchat_count_place(set, key);
    }

    if (place && ngx_http_fcchat_count_sum(set, key) >= max) {
        rc = NGX_BUSY;

    } else if (place) {
        place->key = key;
        place->pid = ngx_pid;
        place->n++;
        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


void
ngx_http_fcchat_count_sub(ngx_shm_zone_t *zone, uint64_t key)
{
    ngx_slab_pool_t           *shpool;
    ngx_http_fcchat_count_t   *place;
    ngx_http_fcchat_counts_t  *counts;

    counts = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    place = ngx_http_fcchat_count_place(counts->sets[key % counts->nsets],
                                        key);

    if (place && place->n) {
        place->n--;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


static ngx_uint_t
ngx_http_fcchat_count_sum(ngx_http_fcchat_count_t *set, uint64_t key)
{
    ngx_uint_t  i, sum;

    sum = 0;

    for (i = 0; i < NGX_HTTP_FCCHAT_COUNT_SET; i++) {
        if (set[i].key == key) {
            sum += set[i].n;
        }
    }

    return sum;
}


/* workers have one user, so that whoever can't be signalled is none of them */

static void
ngx_http_fcchat_count_clean(ngx_http_fcchat_count_t *set)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_FCCHAT_COUNT_SET; i++) {
        if (set[i].n && set[i].pid != ngx_pid && kill(set[i].pid, 0) == -1) {
            set[i].n = 0;
        }
    }
}


/* where this worker counts the key, or a free place, or NULL */

static ngx_http_fcchat_count_t *
ngx_http_fcchat_count_place(ngx_http_fcchat_count_t *set, uint64_t key)
{
    ngx_uint_t                i;
    ngx_http_fcchat_count_t  *place;

    place = NULL;

    for (i = 0; i < NGX_HTTP_FCCHAT_COUNT_SET; i++) {

        if (set[i].n == 0) {
            place = &set[i];

        } else if (set[i].key == key && set[i].pid == ngx_pid) {
            return &set[i];
        }
    }

    return place;
}


uint64_t
ngx_http_fcchat_addr_key(ngx_connection_t *c)
{
    size_t                len;
    u_char               *p;
#if (NGX_HAVE_INET6)
    struct in6_addr      *addr;
#endif

    p = c->addr_text.data;
    len = c->addr_text.len;

#if (NGX_HAVE_INET6)

    if (c->sockaddr->sa_family == AF_INET6) {
        addr = &((struct sockaddr_in6 *) c->sockaddr)->sin6_addr;

        if (IN6_IS_ADDR_V4MAPPED(addr)) {
            p = addr->s6_addr + 12;
            len = 4;

        } else {
            p = addr->s6_addr;
            len = 8;
        }
    }

#endif

    return fcc_rate_hash(fcc_rate_hash(FCC_RATE_HASH_INIT, "addr", 5), p, len);
}


void
ngx_http_fcchat_uncount(ngx_shm_zone_t *zone,
    ngx_http_fcchat_counted_t *counted)
{
    if (counted->user) {
        ngx_http_fcchat_count_sub(zone, counted->user);
        counted->user = 0;
    }

    if (counted->addr) {
        ngx_http_fcchat_count_sub(zone, counted->addr);
        counted->addr = 0;
    }
}
