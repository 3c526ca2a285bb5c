
/*
 * When an open socket is asked for again: is its session still one, and may its
 * user still chat.
 *
 * Every key has its place in the interval, by a hash, so that all sockets of a
 * session are due together and are one key of one question; few keys share one
 * place, and many are spread over as many as it takes.  The wheel that pings
 * brings a session here.  An interval is shorter than fcchat_session_cache by
 * what a tick and an answer take.
 *
 * Whoever changes somebody's rights may say so on the bus.  Such a word is not
 * believed, it only has the sockets looked for, and those found are asked for
 * at once: what comes gathers for a moment, and is bounded.  They are asked
 * for once more a second later, since Django tells of a logout before it has
 * deleted the session.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_rights_int.h>


static ngx_uint_t ngx_http_fcchat_rights_doubted(ngx_http_fcchat_session_t *s,
    ngx_msec_t asked);
static ngx_msec_t ngx_http_fcchat_rights_interval(
    ngx_http_fcchat_loc_conf_t *conf);
static uint32_t ngx_http_fcchat_rights_hash(ngx_http_fcchat_session_t *s);
static int64_t ngx_http_fcchat_rights_who(ngx_str_t *key);
static void ngx_http_fcchat_rights_doubt(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_hub_t *hub, ngx_str_t *schema, ngx_str_t *session);
static void ngx_http_fcchat_rights_look(ngx_event_t *ev);
static int ngx_libc_cdecl ngx_http_fcchat_rights_compare(const void *one,
    const void *two);
static ngx_uint_t ngx_http_fcchat_rights_changed(
    ngx_http_fcchat_rights_t *rights, ngx_http_fcchat_session_t *s,
    int64_t who);


ngx_http_fcchat_rights_t *
ngx_http_fcchat_rights_create(ngx_http_fcchat_worker_t *worker)
{
    ngx_http_fcchat_rights_t  *rights;

    rights = ngx_calloc(sizeof(ngx_http_fcchat_rights_t), worker->log);
    if (rights == NULL) {
        return NULL;
    }

    rights->worker = worker;
    rights->looked = ngx_current_msec - NGX_HTTP_FCCHAT_CHANGES_TIME;

    ngx_queue_init(&rights->checks);

    rights->ask.handler = ngx_http_fcchat_check_handler;
    rights->ask.data = rights;
    rights->ask.log = worker->log;

    rights->look.handler = ngx_http_fcchat_rights_look;
    rights->look.data = rights;
    rights->look.log = worker->log;
    rights->look.cancelable = 1;

    return rights;
}


void
ngx_http_fcchat_rights_destroy(ngx_http_fcchat_rights_t *rights)
{
    ngx_http_fcchat_checks_destroy(rights);

    if (rights->ask.posted) {
        ngx_delete_posted_event(&rights->ask);
    }

    if (rights->look.timer_set) {
        ngx_del_timer(&rights->look);
    }

    if (rights->changes) {
        ngx_free(rights->changes);
    }

    rights->worker->rights = NULL;

    ngx_free(rights);
}


size_t
ngx_http_fcchat_rights_key(ngx_http_fcchat_ctx_t *ctx, u_char *key)
{
    int64_t                      expires;
    ngx_http_fcchat_loc_conf_t  *conf;
    fcc_django_session_t         session;

    conf = ctx->conf;

    if (ctx->room == NULL || ctx->user.id == 0) {
        return 0;
    }

    if (conf->engine != NGX_HTTP_FCCHAT_ENGINE_SIGNED_COOKIES) {
        ngx_memcpy(key, ctx->cookie.data, ctx->cookie.len);
        return ctx->cookie.len;
    }

    /* one that is not good any more since it was read has ended */

    if (fcc_django_session_read(conf->secrets, FCC_DJANGO_COOKIE,
                                ctx->cookie.data, ctx->cookie.len, ngx_time(),
                                conf->session_age, &session)
        != FCC_OK
        || session.hash_len != FCC_DJANGO_HASH_MAX)
    {
        ngx_memzero(key, NGX_HTTP_FCCHAT_RIGHTS_KEY_MAX);
        return NGX_HTTP_FCCHAT_RIGHTS_KEY_MAX;
    }

    expires = session.signed_at + conf->session_age;

    ngx_memcpy(key, &expires, sizeof(int64_t));
    ngx_memcpy(key + sizeof(int64_t), session.hash, FCC_DJANGO_HASH_MAX);

    return NGX_HTTP_FCCHAT_RIGHTS_KEY_MAX;
}


void
ngx_http_fcchat_rights_begin(ngx_http_fcchat_session_t *s, ngx_msec_t asked)
{
    ngx_msec_t  at, first;

    if (s->key_len == 0) {
        return;
    }

    at = ngx_http_fcchat_rights_next(s);

    /* the answer may be from the cache, and almost as old as it may be */

    first = asked + ngx_http_fcchat_rights_interval(s->conf);

    if ((ngx_msec_int_t) (at - first) > 0) {
        at = first;
    }

    if (ngx_http_fcchat_rights_doubted(s, asked)) {
        s->again = 1;
        at = ngx_current_msec;
    }

    ngx_http_fcchat_rights_at(s, at);
}


/* somebody has told of it while the handshake waited for something else */

static ngx_uint_t
ngx_http_fcchat_rights_doubted(ngx_http_fcchat_session_t *s, ngx_msec_t asked)
{
    ngx_str_t        key;
    ngx_shm_zone_t  *zone;
    u_char           digest[NGX_HTTP_FCCHAT_DIGEST];

    zone = s->worker->conf->zone;

    /* what is kept of a signed cookie is nothing that anybody tells of */

    if (s->conf->engine == NGX_HTTP_FCCHAT_ENGINE_SIGNED_COOKIES) {
        return ngx_http_fcchat_cache_doubted(zone, s->author.id, NULL, asked);
    }

    key.data = s->addr.data + s->addr.len;
    key.len = s->key_len;

    ngx_http_fcchat_auth_digest(s->conf, &s->room->schema, &key, digest);

    return ngx_http_fcchat_cache_doubted(zone, s->author.id, digest, asked);
}


void
ngx_http_fcchat_rights_at(ngx_http_fcchat_session_t *s, ngx_msec_t at)
{
    s->check = (uint32_t) at;
    ngx_http_fcchat_wheel_sooner(s, at);
}


void
ngx_http_fcchat_rights_due(ngx_http_fcchat_session_t *s)
{
    int32_t  left;

    if (s->key_len == 0
        || s->checking
        || s->state != NGX_HTTP_FCCHAT_OPEN)
    {
        return;
    }

    left = s->check - (uint32_t) ngx_current_msec;

    if (left > 0) {
        ngx_http_fcchat_wheel_sooner(s, ngx_current_msec + left);
        return;
    }

    if (ngx_http_fcchat_check(s) != NGX_OK) {
        ngx_http_fcchat_rights_at(s, ngx_current_msec
                                     + NGX_HTTP_FCCHAT_CHECK_RETRY);
    }
}


static ngx_msec_t
ngx_http_fcchat_rights_interval(ngx_http_fcchat_loc_conf_t *conf)
{
    ngx_msec_t  early;

    early = ngx_max(conf->session_cache / 8, NGX_HTTP_FCCHAT_CHECK_EARLY);

    return conf->session_cache > 2 * early ? conf->session_cache - early
                                           : early;
}


ngx_msec_t
ngx_http_fcchat_rights_next(ngx_http_fcchat_session_t *s)
{
    ngx_uint_t                 slots;
    ngx_msec_t                 at, now, interval;
    ngx_http_fcchat_worker_t  *worker;

    worker = s->worker;
    interval = ngx_http_fcchat_rights_interval(s->conf);

    for (slots = 1;
         slots < NGX_HTTP_FCCHAT_CHECK_SLOTS
         && slots * NGX_HTTP_FCCHAT_CHECK_MAX < worker->sessions;
         slots *= 2)
    {
        /* void */
    }

    now = ngx_current_msec - worker->started;

    at = now - now % interval
         + (ngx_http_fcchat_rights_hash(s) % slots) * (interval / slots);

    if (at <= now) {
        at += interval;
    }

    return worker->started + at;
}


static uint32_t
ngx_http_fcchat_rights_hash(ngx_http_fcchat_session_t *s)
{
    return ngx_crc32_short(s->addr.data + s->addr.len, s->key_len);
}


/* as a user's number that no user has */

static int64_t
ngx_http_fcchat_rights_who(ngx_str_t *key)
{
    return -1 - (int64_t) ngx_crc32_short(key->data, key->len);
}


void
ngx_http_fcchat_rights_recheck(void *data, ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema, int64_t user, ngx_str_t *session)
{
    int64_t                    who;
    ngx_uint_t                 i;
    ngx_msec_t                 since;
    const char                *end;
    ngx_http_fcchat_change_t  *change;
    ngx_http_fcchat_rights_t  *rights;
    ngx_http_fcchat_worker_t  *worker;

    worker = data;
    rights = worker->rights;

    if (rights == NULL || schema->len > NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX) {
        return;
    }

    who = user ? user : ngx_http_fcchat_rights_who(session);

    if (rights->changes == NULL) {
        rights->changes = ngx_alloc(NGX_HTTP_FCCHAT_CHANGES_MAX
                                    * sizeof(ngx_http_fcchat_change_t),
                                    worker->log);
        if (rights->changes == NULL) {
            return;
        }
    }

    if (rights->nchanges == NGX_HTTP_FCCHAT_CHANGES_MAX) {

        end = ngx_http_fcchat_net_seldom(&rights->many, 1);

        if (end) {
            ngx_log_error(NGX_LOG_WARN, worker->log, 0,
                          "fcchat hears of too many changed rights at a "
                          "time, some are found later%s", end);
        }

        return;
    }

    if (user) {
        ngx_http_fcchat_cache_doubt(worker->conf->zone, user, NULL);

    } else {
        ngx_http_fcchat_rights_doubt(worker, hub, schema, session);
    }

    for (i = 0; i < rights->nchanges; i++) {
        change = &rights->changes[i];

        if (change->who == who
            && change->hub == hub
            && change->len == schema->len
            && ngx_memcmp(change->schema, schema->data, schema->len) == 0)
        {
            return;
        }
    }

    change = &rights->changes[rights->nchanges++];

    change->hub = hub;
    change->who = who;
    change->len = schema->len;
    ngx_memcpy(change->schema, schema->data, schema->len);

    if (!rights->look.timer_set) {
        since = ngx_current_msec - rights->looked;

        ngx_add_timer(&rights->look, since < NGX_HTTP_FCCHAT_CHANGES_TIME
                                     ? NGX_HTTP_FCCHAT_CHANGES_TIME - since
                                     : 1);
    }
}


/* the cache knows a session by what each location makes of its key */

static void
ngx_http_fcchat_rights_doubt(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_hub_t *hub, ngx_str_t *schema, ngx_str_t *session)
{
    ngx_uint_t                    i;
    ngx_http_fcchat_loc_conf_t  **chats;
    u_char                        digest[NGX_HTTP_FCCHAT_DIGEST];

    chats = worker->conf->chats.elts;

    for (i = 0; i < worker->conf->chats.nelts; i++) {

        if (worker->hubs[chats[i]->hub] != hub) {
            continue;
        }

        ngx_http_fcchat_auth_digest(chats[i], schema, session, digest);
        ngx_http_fcchat_cache_doubt(worker->conf->zone, 0, digest);
    }
}


/* one walk over all sessions, however many have changed */

static void
ngx_http_fcchat_rights_look(ngx_event_t *ev)
{
    ngx_str_t                   key;
    ngx_uint_t                  i;
    ngx_queue_t                *q, *slot;
    ngx_http_fcchat_rights_t   *rights;
    ngx_http_fcchat_worker_t   *worker;
    ngx_http_fcchat_session_t  *s;

    rights = ev->data;
    worker = rights->worker;

    ngx_qsort(rights->changes, rights->nchanges,
              sizeof(ngx_http_fcchat_change_t),
              ngx_http_fcchat_rights_compare);

    for (i = 0; i < NGX_HTTP_FCCHAT_WHEEL_SLOTS; i++) {

        slot = &worker->wheel[i];

        for (q = ngx_queue_head(slot);
             q != ngx_queue_sentinel(slot);
             q = ngx_queue_next(q))
        {
            s = ngx_queue_data(q, ngx_http_fcchat_session_t, wheel);

            if (s->key_len == 0 || s->state != NGX_HTTP_FCCHAT_OPEN) {
                continue;
            }

            key.data = s->addr.data + s->addr.len;
            key.len = s->key_len;

            if (!ngx_http_fcchat_rights_changed(rights, s, s->author.id)
                && (rights->changes[0].who > 0
                    || !ngx_http_fcchat_rights_changed(rights, s,
                                           ngx_http_fcchat_rights_who(&key))))
            {
                continue;
            }

            s->again = 1;

            if (!s->checking) {
                (void) ngx_http_fcchat_check(s);
            }
        }
    }

    rights->nchanges = 0;
    rights->looked = ngx_current_msec;
}


static int ngx_libc_cdecl
ngx_http_fcchat_rights_compare(const void *one, const void *two)
{
    const ngx_http_fcchat_change_t  *a, *b;

    a = one;
    b = two;

    return (a->who > b->who) - (a->who < b->who);
}


static ngx_uint_t
ngx_http_fcchat_rights_changed(ngx_http_fcchat_rights_t *rights,
    ngx_http_fcchat_session_t *s, int64_t who)
{
    ngx_str_t                 *schema;
    ngx_uint_t                 low, high, middle;
    ngx_http_fcchat_change_t  *change;

    /* the first that is not below who */

    low = 0;
    high = rights->nchanges;

    while (low < high) {
        middle = (low + high) / 2;

        if (rights->changes[middle].who < who) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    schema = &s->room->schema;

    for ( /* void */ ; low < rights->nchanges; low++) {
        change = &rights->changes[low];

        if (change->who != who) {
            return 0;
        }

        if (change->hub == s->room->hub
            && change->len == schema->len
            && ngx_memcmp(change->schema, schema->data, schema->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
