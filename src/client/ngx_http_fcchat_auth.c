
/*
 * Who owns a cookie: the shared cache, then PostgreSQL.
 *
 *     cookie --> session row --> signature, zlib, JSON --> user row --> hash
 *                (not with signed_cookies)
 *            --> Redis's value --> zlib, pickle ----------/
 *                (with cache)
 *
 * A flight is one such chain for one cookie; all that ask meanwhile wait for
 * it. It holds a copy of what it needs and outlives whoever waits: its outcome
 * goes into the cache in any case.  Nothing is asked of the database for a
 * cookie that can't be a session's.  An outcome that is no answer (PostgreSQL
 * away) is not cached.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


typedef struct {
    ngx_str_node_t                node;         /* by digest */
    ngx_http_fcchat_worker_t     *worker;
    ngx_http_fcchat_hub_t        *hub;
    ngx_http_fcchat_loc_conf_t   *conf;
    ngx_str_t                     schema;
    ngx_http_fcchat_store_ask_t  *ask;
    ngx_http_fcchat_redis_get_t  *get;
    ngx_queue_t                   waiters;
    ngx_msec_t                    asked;
    uint64_t                      from;         /* a token was taken */
    fcc_django_session_t          session;
    u_char                        digest[NGX_HTTP_FCCHAT_DIGEST];
} ngx_http_fcchat_flight_t;


static void ngx_http_fcchat_auth_count(ngx_http_fcchat_auth_e cached);
static ngx_http_fcchat_auth_e ngx_http_fcchat_auth_failed(
    ngx_http_fcchat_store_rc_e rc);
static ngx_http_fcchat_flight_t *ngx_http_fcchat_auth_flight(
    ngx_http_fcchat_worker_t *worker, ngx_http_fcchat_hub_t *hub,
    ngx_http_fcchat_loc_conf_t *conf, ngx_str_t *schema, u_char *digest);
static ngx_int_t ngx_http_fcchat_auth_start(ngx_http_fcchat_flight_t *f,
    ngx_str_t *cookie);
static ngx_int_t ngx_http_fcchat_auth_read(ngx_http_fcchat_flight_t *f,
    fcc_django_engine_e engine, ngx_str_t *data);
static void ngx_http_fcchat_auth_session(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_auth_user(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static void ngx_http_fcchat_auth_done(ngx_http_fcchat_flight_t *f,
    ngx_http_fcchat_auth_e rc, ngx_http_fcchat_user_t *user);
static void ngx_http_fcchat_auth_known(ngx_http_fcchat_flight_t *f);
static void ngx_http_fcchat_auth_free(ngx_http_fcchat_flight_t *f);
static ngx_int_t ngx_http_fcchat_auth_get(ngx_http_fcchat_flight_t *f,
    ngx_str_t *cookie);
static void ngx_http_fcchat_auth_got(void *data,
    ngx_http_fcchat_redis_answer_t *answer);
static ngx_int_t ngx_http_fcchat_auth_owner(ngx_http_fcchat_flight_t *f);


ngx_http_fcchat_auth_e
ngx_http_fcchat_auth(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_hub_t *hub, ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *schema, ngx_str_t *cookie, ngx_http_fcchat_auth_waiter_t *w,
    ngx_http_fcchat_user_t *user)
{
    uint32_t                   hash;
    ngx_int_t                  rc;
    ngx_str_t                  key;
    ngx_shm_zone_t            *zone;
    ngx_http_fcchat_auth_e     cached;
    ngx_http_fcchat_flight_t  *f;
    u_char                     digest[NGX_HTTP_FCCHAT_DIGEST];

    if (conf->engine != NGX_HTTP_FCCHAT_ENGINE_SIGNED_COOKIES
        && !fcc_django_session_key_valid(cookie->data, cookie->len))
    {
        return NGX_HTTP_FCCHAT_AUTH_NONE;
    }

    ngx_http_fcchat_auth_digest(conf, schema, cookie, digest);

    zone = worker->conf->zone;

    cached = ngx_http_fcchat_cache_get(zone, digest, user);

    ngx_http_fcchat_auth_count(cached);

    if (cached != NGX_HTTP_FCCHAT_AUTH_MISS) {
        return cached;
    }

    key.len = NGX_HTTP_FCCHAT_DIGEST;
    key.data = digest;
    hash = ngx_crc32_short(digest, NGX_HTTP_FCCHAT_DIGEST);

    f = (ngx_http_fcchat_flight_t *)
            ngx_str_rbtree_lookup(&worker->flights, &key, hash);

    if (f == NULL) {

        /* one is taken before it is asked, or many at once would be asked */

        if (conf->auth_rate
            && ngx_http_fcchat_rate_take(worker->conf->rates, w->from,
                                         NGX_HTTP_FCCHAT_RATE_STRANGER,
                                         conf->auth_rate))
        {
            return NGX_HTTP_FCCHAT_AUTH_TOO_MANY;
        }

        f = ngx_http_fcchat_auth_flight(worker, hub, conf, schema, digest);
        if (f == NULL) {
            return NGX_HTTP_FCCHAT_AUTH_UNAVAILABLE;
        }

        f->from = w->from;

        rc = ngx_http_fcchat_auth_start(f, cookie);

        if (rc != NGX_OK) {
            ngx_http_fcchat_auth_known(f);
            ngx_http_fcchat_auth_free(f);

            return (rc == NGX_DECLINED) ? NGX_HTTP_FCCHAT_AUTH_NONE
                                        : NGX_HTTP_FCCHAT_AUTH_UNAVAILABLE;
        }
    }

    ngx_queue_insert_tail(&f->waiters, &w->queue);
    w->waits = 1;

    return NGX_HTTP_FCCHAT_AUTH_MISS;
}


static void
ngx_http_fcchat_auth_count(ngx_http_fcchat_auth_e cached)
{
    switch (cached) {

    case NGX_HTTP_FCCHAT_AUTH_OK:
        ngx_http_fcchat_stat_inc(CACHE_HIT);
        break;

    case NGX_HTTP_FCCHAT_AUTH_NONE:
        ngx_http_fcchat_stat_inc(CACHE_NONE);
        break;

    default:
        ngx_http_fcchat_stat_inc(CACHE_MISS);
        break;
    }
}


void
ngx_http_fcchat_auth_forget(ngx_http_fcchat_auth_waiter_t *w)
{
    if (w->waits) {
        ngx_queue_remove(&w->queue);
        w->waits = 0;
    }
}


void
ngx_http_fcchat_auth_digest(ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *schema, ngx_str_t *cookie, u_char *digest)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, conf->salt, NGX_HTTP_FCCHAT_DIGEST);
    ngx_sha1_update(&sha1, schema->data, schema->len);
    ngx_sha1_update(&sha1, "", 1);
    ngx_sha1_update(&sha1, cookie->data, cookie->len);
    ngx_sha1_final(digest, &sha1);
}


static ngx_http_fcchat_flight_t *
ngx_http_fcchat_auth_flight(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_hub_t *hub, ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *schema, u_char *digest)
{
    ngx_http_fcchat_flight_t  *f;

    f = ngx_calloc(sizeof(ngx_http_fcchat_flight_t) + schema->len,
                   worker->log);
    if (f == NULL) {
        return NULL;
    }

    f->worker = worker;
    f->hub = hub;
    f->conf = conf;
    f->asked = ngx_current_msec;

    f->schema.len = schema->len;
    f->schema.data = (u_char *) f + sizeof(ngx_http_fcchat_flight_t);
    ngx_memcpy(f->schema.data, schema->data, schema->len);

    ngx_memcpy(f->digest, digest, NGX_HTTP_FCCHAT_DIGEST);

    f->node.str.len = NGX_HTTP_FCCHAT_DIGEST;
    f->node.str.data = f->digest;
    f->node.node.key = ngx_crc32_short(f->digest, NGX_HTTP_FCCHAT_DIGEST);

    ngx_queue_init(&f->waiters);
    ngx_rbtree_insert(&worker->flights, &f->node.node);

    return f;
}


/* NGX_OK: a question is on its way; NGX_DECLINED: no session; NGX_ERROR */

static ngx_int_t
ngx_http_fcchat_auth_start(ngx_http_fcchat_flight_t *f, ngx_str_t *cookie)
{
    if (f->conf->engine == NGX_HTTP_FCCHAT_ENGINE_SIGNED_COOKIES) {
        return ngx_http_fcchat_auth_read(f, FCC_DJANGO_COOKIE, cookie);
    }

    if (f->conf->engine == NGX_HTTP_FCCHAT_ENGINE_CACHE) {
        return ngx_http_fcchat_auth_get(f, cookie);
    }

    f->ask = ngx_http_fcchat_store_session(f->hub->store, &f->schema, cookie,
                                           ngx_http_fcchat_auth_session, f);

    return f->ask ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_fcchat_auth_read(ngx_http_fcchat_flight_t *f,
    fcc_django_engine_e engine, ngx_str_t *data)
{
    if (fcc_django_session_read(f->conf->secrets, engine, data->data,
                                data->len, ngx_time(), f->conf->session_age,
                                &f->session)
        != FCC_OK)
    {
        return NGX_DECLINED;
    }

    return ngx_http_fcchat_auth_owner(f);
}


static ngx_int_t
ngx_http_fcchat_auth_get(ngx_http_fcchat_flight_t *f, ngx_str_t *cookie)
{
    f->get = ngx_http_fcchat_auth_cached(f->worker, f->conf, cookie,
                                         ngx_http_fcchat_auth_got, f);

    return f->get ? NGX_OK : NGX_ERROR;
}


/* django.core.cache: KEY_PREFIX:VERSION:key, of sessions.backends.cache */

ngx_http_fcchat_redis_get_t *
ngx_http_fcchat_auth_cached(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_loc_conf_t *conf, ngx_str_t *key,
    ngx_http_fcchat_redis_get_pt handler, void *data)
{
    ngx_str_t  name;
    u_char     buf[NGX_HTTP_FCCHAT_KEY_PREFIX_MAX + NGX_INT_T_LEN
                   + sizeof("::django.contrib.sessions.cache")
                   + FCC_DJANGO_KEY_MAX];

    name.data = buf;
    name.len = ngx_sprintf(buf, "%V:%ui:django.contrib.sessions.cache%V",
                           &conf->key_prefix, conf->key_version, key)
               - buf;

    return ngx_http_fcchat_redis_get(worker->caches[conf->cache], &name,
                                     handler, data);
}


static void
ngx_http_fcchat_auth_got(void *data, ngx_http_fcchat_redis_answer_t *answer)
{
    ngx_int_t                  rc;
    ngx_http_fcchat_flight_t  *f;

    f = data;
    f->get = NULL;

    rc = answer->rc;

    if (rc == NGX_OK) {
        rc = (fcc_django_session_unpickle(answer->value.data,
                                          answer->value.len, &f->session)
              == FCC_OK)
             ? ngx_http_fcchat_auth_owner(f) : NGX_DECLINED;
    }

    if (rc == NGX_OK) {
        return;
    }

    ngx_http_fcchat_auth_done(f, rc == NGX_DECLINED
                                 ? NGX_HTTP_FCCHAT_AUTH_NONE
                                 : NGX_HTTP_FCCHAT_AUTH_UNAVAILABLE, NULL);
}


/* asks for the user that the session names */

static ngx_int_t
ngx_http_fcchat_auth_owner(ngx_http_fcchat_flight_t *f)
{
    if (!f->session.has_user
        || !ngx_http_fcchat_auth_backend(f->conf, &f->session))
    {
        return NGX_DECLINED;
    }

    f->ask = ngx_http_fcchat_store_user(f->hub->store, &f->schema,
                                        f->session.user_id,
                                        ngx_http_fcchat_auth_user, f);

    return f->ask ? NGX_OK : NGX_ERROR;
}


ngx_uint_t
ngx_http_fcchat_auth_backend(ngx_http_fcchat_loc_conf_t *conf,
    fcc_django_session_t *session)
{
    ngx_str_t   *backend;
    ngx_uint_t   i;

    if (conf->backends == NULL) {
        return 1;
    }

    backend = conf->backends->elts;

    for (i = 0; i < conf->backends->nelts; i++) {
        if (backend[i].len == session->backend_len
            && ngx_memcmp(backend[i].data, session->backend, backend[i].len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_fcchat_auth_session(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_int_t                  rc;
    ngx_http_fcchat_flight_t  *f;

    f = data;
    f->ask = NULL;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK) {
        ngx_http_fcchat_auth_done(f, ngx_http_fcchat_auth_failed(answer->rc),
                                  NULL);
        return;
    }

    rc = ngx_http_fcchat_auth_read(f, FCC_DJANGO_DB, &answer->data);

    if (rc == NGX_OK) {
        return;
    }

    ngx_http_fcchat_auth_done(f, rc == NGX_DECLINED
                                 ? NGX_HTTP_FCCHAT_AUTH_NONE
                                 : NGX_HTTP_FCCHAT_AUTH_UNAVAILABLE, NULL);
}


static void
ngx_http_fcchat_auth_user(void *data, ngx_http_fcchat_store_answer_t *answer)
{
    ngx_http_fcchat_user_t         user;
    ngx_http_fcchat_flight_t      *f;
    ngx_http_fcchat_store_user_t  *found;

    f = data;
    f->ask = NULL;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK) {
        ngx_http_fcchat_auth_done(f, ngx_http_fcchat_auth_failed(answer->rc),
                                  NULL);
        return;
    }

    found = &answer->user;

    if (!found->active
        || !fcc_django_auth_hash_valid(f->conf->secrets, found->password.data,
                                       found->password.len, f->session.hash,
                                       f->session.hash_len))
    {
        ngx_http_fcchat_auth_done(f, NGX_HTTP_FCCHAT_AUTH_NONE, NULL);
        return;
    }

    user.id = found->id;
    user.asked = f->asked;
    user.staff = found->staff;
    user.len = ngx_min(found->username.len, NGX_HTTP_FCCHAT_USERNAME_MAX);
    ngx_memcpy(user.username, found->username.data, user.len);

    ngx_http_fcchat_auth_done(f, NGX_HTTP_FCCHAT_AUTH_OK, &user);
}


static ngx_http_fcchat_auth_e
ngx_http_fcchat_auth_failed(ngx_http_fcchat_store_rc_e rc)
{
    switch (rc) {

    case NGX_HTTP_FCCHAT_STORE_NONE:
        return NGX_HTTP_FCCHAT_AUTH_NONE;

    case NGX_HTTP_FCCHAT_STORE_NO_SCHEMA:
        return NGX_HTTP_FCCHAT_AUTH_NO_TENANT;

    default:
        return NGX_HTTP_FCCHAT_AUTH_UNAVAILABLE;
    }
}


static void
ngx_http_fcchat_auth_done(ngx_http_fcchat_flight_t *f,
    ngx_http_fcchat_auth_e rc, ngx_http_fcchat_user_t *user)
{
    ngx_queue_t                    *q;
    ngx_shm_zone_t                 *zone;
    ngx_http_fcchat_auth_waiter_t  *w;

    zone = f->worker->conf->zone;

    if (rc == NGX_HTTP_FCCHAT_AUTH_OK) {
        ngx_http_fcchat_cache_put(zone, f->digest, user, f->asked,
                                  f->conf->session_cache);

    } else if (rc == NGX_HTTP_FCCHAT_AUTH_NONE) {
        ngx_http_fcchat_cache_put(zone, f->digest, NULL, f->asked,
                                  ngx_min(f->conf->session_cache,
                                          NGX_HTTP_FCCHAT_NEGATIVE_TIME));
    }

    if (rc != NGX_HTTP_FCCHAT_AUTH_NONE) {
        ngx_http_fcchat_auth_known(f);
    }

    /* whoever asks from now on finds the cache, or starts anew */

    ngx_rbtree_delete(&f->worker->flights, &f->node.node);
    f->node.str.data = NULL;

    while (!ngx_queue_empty(&f->waiters)) {
        q = ngx_queue_head(&f->waiters);
        w = ngx_queue_data(q, ngx_http_fcchat_auth_waiter_t, queue);

        ngx_queue_remove(q);
        w->waits = 0;

        w->ready(w, rc, user);
    }

    ngx_http_fcchat_auth_free(f);
}


/* nothing was asked in vain: the address has its token back */

static void
ngx_http_fcchat_auth_known(ngx_http_fcchat_flight_t *f)
{
    if (f->conf->auth_rate) {
        ngx_http_fcchat_rate_give(f->worker->conf->rates, f->from,
                                  NGX_HTTP_FCCHAT_RATE_STRANGER,
                                  f->conf->auth_rate);
    }
}


static void
ngx_http_fcchat_auth_free(ngx_http_fcchat_flight_t *f)
{
    if (f->node.str.data) {
        ngx_rbtree_delete(&f->worker->flights, &f->node.node);
    }

    ngx_free(f);
}


void
ngx_http_fcchat_auth_destroy(ngx_http_fcchat_worker_t *worker)
{
    ngx_rbtree_node_t         *node;
    ngx_http_fcchat_flight_t  *f;

    while (worker->flights.root != worker->flights.sentinel) {
        node = ngx_rbtree_min(worker->flights.root, worker->flights.sentinel);
        f = (ngx_http_fcchat_flight_t *) node;

        if (f->ask) {
            ngx_http_fcchat_store_forget(f->ask);
            f->ask = NULL;
        }

        if (f->get) {
            ngx_http_fcchat_redis_get_forget(f->get);
            f->get = NULL;
        }

        ngx_http_fcchat_auth_done(f, NGX_HTTP_FCCHAT_AUTH_UNAVAILABLE, NULL);
    }
}
