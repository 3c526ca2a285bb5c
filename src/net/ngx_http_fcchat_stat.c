
/*
 * Slots of workers in shared memory, and the totals of those that are gone.
 *
 *     free (pid 0) --attach--> used --detach, or found dead--> folded --> free
 *
 * A slot is taken and folded under the slab's mutex, which the master releases
 * when a worker dies holding it.  So a fold may be cut off anywhere, and must
 * neither be lost nor done twice: the new totals are made beside the old ones,
 * the slot is marked with the number of this fold, and one store of that number
 * makes both valid.  A mark above the number is of a fold that never was.
 *
 * A worker that was killed is found dead by whoever reads, or by its successor,
 * which has the same place in the master's table of processes.
 */


#include <ngx_http_fcchat_stat.h>


#define NGX_HTTP_FCCHAT_STAT_SIZE  (4 * 1024 * 1024)


typedef struct {
    ngx_http_fcchat_stat_t        stat;         /* its worker writes it */

    ngx_pid_t                     pid;
    ngx_int_t                     process;      /* in the master's table */
    time_t                        started;
    uint64_t                      fold;         /* 0: none was begun */
    ngx_uint_t                    leaving;
    ngx_uint_t                    nrooms;
    ngx_http_fcchat_stat_room_t   rooms[NGX_HTTP_FCCHAT_STAT_ROOMS];
} ngx_http_fcchat_stat_slot_t;


typedef struct {
    uint64_t                      folds;        /* totals[folds & 1] count */
    uint64_t                      totals[2][NGX_HTTP_FCCHAT_STAT_COUNTERS];
    ngx_http_fcchat_stat_slot_t  *slots[NGX_HTTP_FCCHAT_STAT_SLOTS];
} ngx_http_fcchat_stat_shared_t;


/* what is told at the end of a round */

typedef struct {
    void                         *owner;
    ngx_http_fcchat_stat_room_t   room;
} ngx_http_fcchat_stat_top_t;


static ngx_int_t ngx_http_fcchat_stat_init(ngx_shm_zone_t *zone, void *data);
static ngx_http_fcchat_stat_slot_t *ngx_http_fcchat_stat_slot(
    ngx_http_fcchat_stat_shared_t *sh, ngx_slab_pool_t *shpool);
static void ngx_http_fcchat_stat_reap(ngx_http_fcchat_stat_shared_t *sh);
static ngx_uint_t ngx_http_fcchat_stat_dead(ngx_http_fcchat_stat_slot_t *slot);
static void ngx_http_fcchat_stat_fold(ngx_http_fcchat_stat_shared_t *sh,
    ngx_http_fcchat_stat_slot_t *slot);
static void ngx_http_fcchat_stat_read_slot(ngx_http_fcchat_stat_all_t *all,
    ngx_http_fcchat_stat_slot_t *slot, ngx_uint_t number);
static void ngx_http_fcchat_stat_read_room(ngx_http_fcchat_stat_all_t *all,
    ngx_http_fcchat_stat_room_t *room);
static int ngx_libc_cdecl ngx_http_fcchat_stat_compare(const void *one,
    const void *two);


static ngx_http_fcchat_stat_t        ngx_http_fcchat_stat_nowhere;
static ngx_shm_zone_t               *ngx_http_fcchat_stat_shm;
static ngx_http_fcchat_stat_slot_t  *ngx_http_fcchat_stat_own;

static ngx_http_fcchat_stat_top_t
                     ngx_http_fcchat_stat_top[NGX_HTTP_FCCHAT_STAT_ROOMS];
static ngx_uint_t    ngx_http_fcchat_stat_ntop;


ngx_http_fcchat_stat_t  *ngx_http_fcchat_stat = &ngx_http_fcchat_stat_nowhere;


ngx_shm_zone_t *
ngx_http_fcchat_stat_zone(ngx_conf_t *cf, void *tag)
{
    u_char          *p;
    ngx_str_t        name;
    ngx_shm_zone_t  *zone;

    /* a zone survives reloads, also of a module with another layout */

    p = ngx_pnalloc(cf->pool, sizeof("fcchat_stat_") + 2 * NGX_INT_T_LEN);
    if (p == NULL) {
        return NULL;
    }

    name.data = p;
    name.len = ngx_sprintf(p, "fcchat_stat_%d_%uz",
                           NGX_HTTP_FCCHAT_STAT_VERSION,
                           sizeof(ngx_http_fcchat_stat_slot_t))
               - p;

    zone = ngx_shared_memory_add(cf, &name, NGX_HTTP_FCCHAT_STAT_SIZE, tag);

    if (zone) {
        zone->init = ngx_http_fcchat_stat_init;
    }

    return zone;
}


static ngx_int_t
ngx_http_fcchat_stat_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t                *shpool;
    ngx_http_fcchat_stat_shared_t  *sh;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    sh = ngx_slab_calloc(shpool, sizeof(ngx_http_fcchat_stat_shared_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    shpool->data = sh;
    zone->data = sh;

    return NGX_OK;
}


void
ngx_http_fcchat_stat_attach(ngx_shm_zone_t *zone, ngx_log_t *log)
{
    ngx_uint_t                      i;
    ngx_slab_pool_t                *shpool;
    ngx_http_fcchat_stat_slot_t    *slot;
    ngx_http_fcchat_stat_shared_t  *sh;

    sh = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    /* who had this place before, or this pid, is no more */

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_SLOTS; i++) {
        slot = sh->slots[i];

        if (slot && slot->pid
            && (slot->process == ngx_process_slot || slot->pid == ngx_pid))
        {
            slot->process = -1;
        }
    }

    ngx_http_fcchat_stat_reap(sh);

    slot = ngx_http_fcchat_stat_slot(sh, shpool);

    if (slot) {
        ngx_memzero(slot, sizeof(ngx_http_fcchat_stat_slot_t));

        slot->process = ngx_process_slot;
        slot->started = ngx_time();
        slot->pid = ngx_pid;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (slot == NULL) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "fcchat_status does not count this worker: "
                      "there are more than %d", NGX_HTTP_FCCHAT_STAT_SLOTS);
        return;
    }

    ngx_http_fcchat_stat_shm = zone;
    ngx_http_fcchat_stat_own = slot;
    ngx_http_fcchat_stat = &slot->stat;
}


static ngx_http_fcchat_stat_slot_t *
ngx_http_fcchat_stat_slot(ngx_http_fcchat_stat_shared_t *sh,
    ngx_slab_pool_t *shpool)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_SLOTS; i++) {

        if (sh->slots[i] == NULL) {
            sh->slots[i] = ngx_slab_calloc_locked(shpool,
                                          sizeof(ngx_http_fcchat_stat_slot_t));
            return sh->slots[i];
        }

        if (sh->slots[i]->pid == 0) {
            return sh->slots[i];
        }
    }

    return NULL;
}


void
ngx_http_fcchat_stat_detach(void)
{
    ngx_slab_pool_t  *shpool;

    if (ngx_http_fcchat_stat_own == NULL) {
        return;
    }

    shpool = (ngx_slab_pool_t *) ngx_http_fcchat_stat_shm->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    ngx_http_fcchat_stat_own->process = -1;
    ngx_http_fcchat_stat_reap(ngx_http_fcchat_stat_shm->data);

    ngx_shmtx_unlock(&shpool->mutex);

    ngx_http_fcchat_stat = &ngx_http_fcchat_stat_nowhere;
    ngx_http_fcchat_stat_own = NULL;
}


/* folds what is of the dead; under the mutex */

static void
ngx_http_fcchat_stat_reap(ngx_http_fcchat_stat_shared_t *sh)
{
    ngx_uint_t                    i;
    ngx_http_fcchat_stat_slot_t  *slot;

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_SLOTS; i++) {
        slot = sh->slots[i];

        if (slot == NULL || slot->pid == 0 || slot->fold == 0) {
            continue;
        }

        /* somebody died in the middle of it */

        if (slot->fold <= sh->folds) {
            slot->pid = 0;

        } else {
            slot->fold = 0;
        }
    }

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_SLOTS; i++) {
        slot = sh->slots[i];

        if (slot && slot->pid && ngx_http_fcchat_stat_dead(slot)) {
            ngx_http_fcchat_stat_fold(sh, slot);
        }
    }
}


static ngx_uint_t
ngx_http_fcchat_stat_dead(ngx_http_fcchat_stat_slot_t *slot)
{
    if (slot->process == -1) {
        return 1;
    }

    /* a process of another user is there as well */

    return kill(slot->pid, 0) == -1 && ngx_errno == NGX_ESRCH;
}


static void
ngx_http_fcchat_stat_fold(ngx_http_fcchat_stat_shared_t *sh,
    ngx_http_fcchat_stat_slot_t *slot)
{
    uint64_t    *from, *to;
    ngx_uint_t   i;

    from = sh->totals[sh->folds & 1];
    to = sh->totals[(sh->folds + 1) & 1];

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_COUNTERS; i++) {
        to[i] = from[i] + slot->stat.counters[i];
    }

    slot->fold = sh->folds + 1;

    ngx_memory_barrier();

    sh->folds++;

    ngx_memory_barrier();

    slot->pid = 0;
}


void
ngx_http_fcchat_stat_rooms_begin(void *owner)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_http_fcchat_stat_ntop; /* void */ ) {

        if (ngx_http_fcchat_stat_top[i].owner == owner) {
            ngx_http_fcchat_stat_top[i] =
                         ngx_http_fcchat_stat_top[--ngx_http_fcchat_stat_ntop];
            continue;
        }

        i++;
    }
}


void
ngx_http_fcchat_stat_room(void *owner, ngx_str_t *tenant, ngx_str_t *name,
    ngx_uint_t readers)
{
    ngx_uint_t                    i;
    ngx_http_fcchat_stat_room_t  *room;
    ngx_http_fcchat_stat_top_t   *top, *least;

    if (ngx_http_fcchat_stat_own == NULL || readers == 0
        || tenant->len > NGX_HTTP_FCCHAT_STAT_TENANT
        || name->len > NGX_HTTP_FCCHAT_STAT_NAME)
    {
        return;
    }

    top = ngx_http_fcchat_stat_top;

    if (ngx_http_fcchat_stat_ntop < NGX_HTTP_FCCHAT_STAT_ROOMS) {
        least = &top[ngx_http_fcchat_stat_ntop++];

    } else {
        least = top;

        for (i = 1; i < NGX_HTTP_FCCHAT_STAT_ROOMS; i++) {
            if (top[i].room.readers < least->room.readers) {
                least = &top[i];
            }
        }

        if (least->room.readers >= readers) {
            return;
        }
    }

    least->owner = owner;

    room = &least->room;

    room->readers = readers;
    room->tenant_len = tenant->len;
    room->name_len = name->len;
    ngx_memcpy(room->tenant, tenant->data, tenant->len);
    ngx_memcpy(room->name, name->data, name->len);
}


void
ngx_http_fcchat_stat_rooms_end(ngx_uint_t leaving)
{
    ngx_uint_t                    i;
    ngx_slab_pool_t              *shpool;
    ngx_http_fcchat_stat_slot_t  *slot;

    slot = ngx_http_fcchat_stat_own;

    if (slot == NULL) {
        return;
    }

    shpool = (ngx_slab_pool_t *) ngx_http_fcchat_stat_shm->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    for (i = 0; i < ngx_http_fcchat_stat_ntop; i++) {
        slot->rooms[i] = ngx_http_fcchat_stat_top[i].room;
    }

    slot->nrooms = i;
    slot->leaving = leaving;

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_fcchat_stat_read(ngx_shm_zone_t *zone,
    ngx_http_fcchat_stat_all_t *all)
{
    ngx_uint_t                      i;
    ngx_slab_pool_t                *shpool;
    ngx_http_fcchat_stat_shared_t  *sh;

    sh = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_memzero(&all->all, sizeof(ngx_http_fcchat_stat_t));
    all->nworkers = 0;
    all->nrooms = 0;

    ngx_shmtx_lock(&shpool->mutex);

    ngx_http_fcchat_stat_reap(sh);

    ngx_memcpy(all->all.counters, sh->totals[sh->folds & 1],
               sizeof(all->all.counters));

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_SLOTS; i++) {
        if (sh->slots[i] && sh->slots[i]->pid) {
            ngx_http_fcchat_stat_read_slot(all, sh->slots[i], i);
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    ngx_qsort(all->rooms, all->nrooms, sizeof(ngx_http_fcchat_stat_room_t),
              ngx_http_fcchat_stat_compare);

    all->nrooms = ngx_min(all->nrooms, NGX_HTTP_FCCHAT_STAT_ROOMS);
}


static void
ngx_http_fcchat_stat_read_slot(ngx_http_fcchat_stat_all_t *all,
    ngx_http_fcchat_stat_slot_t *slot, ngx_uint_t number)
{
    int64_t                         n, *sum;
    ngx_uint_t                      i;
    ngx_http_fcchat_stat_worker_t  *worker;

    worker = &all->workers[all->nworkers++];

    worker->pid = slot->pid;
    worker->number = number;
    worker->leaving = slot->leaving;
    worker->started = slot->started;

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_COUNTERS; i++) {
        all->all.counters[i] += slot->stat.counters[i];
    }

    worker->deliveries = slot->stat.counters[NGX_HTTP_FCCHAT_STAT_DELIVERIES];

    for (i = 0; i < NGX_HTTP_FCCHAT_STAT_GAUGES; i++) {
        n = slot->stat.gauges[i];
        sum = &all->all.gauges[i];

        worker->gauges[i] = n;
        *sum = (i >= NGX_HTTP_FCCHAT_STAT_REDIS_LAG) ? ngx_max(*sum, n)
                                                     : *sum + n;
    }

    for (i = 0; i < slot->nrooms; i++) {
        ngx_http_fcchat_stat_read_room(all, &slot->rooms[i]);
    }
}


static void
ngx_http_fcchat_stat_read_room(ngx_http_fcchat_stat_all_t *all,
    ngx_http_fcchat_stat_room_t *room)
{
    ngx_uint_t                    i;
    ngx_http_fcchat_stat_room_t  *r;

    for (i = 0; i < all->nrooms; i++) {
        r = &all->rooms[i];

        if (r->name_len == room->name_len
            && r->tenant_len == room->tenant_len
            && ngx_memcmp(r->name, room->name, room->name_len) == 0
            && ngx_memcmp(r->tenant, room->tenant, room->tenant_len) == 0)
        {
            r->readers += room->readers;
            return;
        }
    }

    if (i < sizeof(all->rooms) / sizeof(all->rooms[0])) {
        all->rooms[i] = *room;
        all->nrooms++;
    }
}


static int ngx_libc_cdecl
ngx_http_fcchat_stat_compare(const void *one, const void *two)
{
    const ngx_http_fcchat_stat_room_t  *first = one, *second = two;

    if (first->readers != second->readers) {
        return first->readers < second->readers ? 1 : -1;
    }

    return ngx_memn2cmp((u_char *) first->name, (u_char *) second->name,
                        first->name_len, second->name_len);
}
