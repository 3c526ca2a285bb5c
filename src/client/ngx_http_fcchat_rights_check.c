
/*
 * One question about many open sockets, and what its answer means for each.
 *
 *     gathers --end of the turn--> asked --rows--> judged by key --> applied
 *                                    |
 *                                    \--"cache": Redis is asked for each key
 *                                       whose user is one, then judged
 *
 * A check holds sessions, which may end meanwhile and are taken out then.
 * Without an answer nobody is closed, and all are asked for again soon.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_rights_int.h>


typedef struct ngx_http_fcchat_check_s  ngx_http_fcchat_check_t;


typedef enum {
    NGX_HTTP_FCCHAT_CHECK_GOOD = 0,
    NGX_HTTP_FCCHAT_CHECK_UNKNOWN,
    NGX_HTTP_FCCHAT_CHECK_ENDED,
    NGX_HTTP_FCCHAT_CHECK_FORBIDDEN
} ngx_http_fcchat_verdict_e;


typedef struct {
    ngx_http_fcchat_check_t        *check;
    ngx_http_fcchat_redis_get_t    *get;
    ngx_str_t                       key;        /* a copy: sockets may go */
    int64_t                         user_id;
    uint32_t                        mark;
    ngx_uint_t                      staff;
    ngx_str_t                       password;   /* for what Redis answers */
    ngx_http_fcchat_verdict_e       verdict;
} ngx_http_fcchat_check_key_t;


struct ngx_http_fcchat_check_s {
    ngx_queue_t                     queue;
    ngx_pool_t                     *pool;       /* its own memory */
    ngx_http_fcchat_rights_t       *rights;
    ngx_http_fcchat_loc_conf_t     *conf;
    ngx_http_fcchat_hub_t          *hub;
    ngx_str_t                       schema;
    ngx_http_fcchat_store_ask_t    *ask;
    ngx_uint_t                      asked;
    ngx_uint_t                      gets;       /* under way */

    ngx_uint_t                      nkeys;
    ngx_http_fcchat_check_key_t    *keys;

    ngx_uint_t                      n;
    ngx_http_fcchat_session_t      *sessions[NGX_HTTP_FCCHAT_CHECK_MAX];
    uint16_t                        index[NGX_HTTP_FCCHAT_CHECK_MAX];
};


static ngx_http_fcchat_check_t *ngx_http_fcchat_check_create(
    ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_check_ask(ngx_http_fcchat_check_t *check);
static ngx_int_t ngx_http_fcchat_check_keys(ngx_http_fcchat_check_t *check);
static ngx_int_t ngx_http_fcchat_check_key(ngx_http_fcchat_check_t *check,
    ngx_http_fcchat_session_t *s);
static int ngx_libc_cdecl ngx_http_fcchat_check_compare(const void *one,
    const void *two);
static void ngx_http_fcchat_check_answer(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_http_fcchat_verdict_e ngx_http_fcchat_check_judge(
    ngx_http_fcchat_check_key_t *k, ngx_http_fcchat_store_right_t *r);
static ngx_http_fcchat_verdict_e ngx_http_fcchat_check_get(
    ngx_http_fcchat_check_key_t *k, ngx_http_fcchat_store_right_t *r);
static void ngx_http_fcchat_check_got(void *data,
    ngx_http_fcchat_redis_answer_t *answer);
static ngx_http_fcchat_verdict_e ngx_http_fcchat_check_value(
    ngx_http_fcchat_check_key_t *k, ngx_str_t *value);
static ngx_http_fcchat_verdict_e ngx_http_fcchat_check_session(
    ngx_http_fcchat_check_key_t *k, fcc_django_session_t *session,
    ngx_str_t *password);
static void ngx_http_fcchat_check_done(ngx_http_fcchat_check_t *check);
static void ngx_http_fcchat_check_apply(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_check_key_t *k);
static void ngx_http_fcchat_check_failed(ngx_http_fcchat_check_t *check);
static void ngx_http_fcchat_check_retry(ngx_http_fcchat_session_t *s);
static void ngx_http_fcchat_check_free(ngx_http_fcchat_check_t *check);


ngx_int_t
ngx_http_fcchat_check(ngx_http_fcchat_session_t *s)
{
    ngx_str_t                 *schema;
    ngx_queue_t               *q;
    ngx_http_fcchat_check_t   *check;
    ngx_http_fcchat_rights_t  *rights;

    rights = s->worker->rights;
    schema = &s->room->schema;

    for (q = ngx_queue_last(&rights->checks);
         q != ngx_queue_sentinel(&rights->checks);
         q = ngx_queue_prev(q))
    {
        check = ngx_queue_data(q, ngx_http_fcchat_check_t, queue);

        if (!check->asked
            && check->n < NGX_HTTP_FCCHAT_CHECK_MAX
            && check->conf == s->conf
            && check->schema.len == schema->len
            && ngx_memcmp(check->schema.data, schema->data, schema->len) == 0)
        {
            goto found;
        }
    }

    check = ngx_http_fcchat_check_create(s);
    if (check == NULL) {
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&rights->checks, &check->queue);
    ngx_post_event(&rights->ask, &ngx_posted_events);

found:

    check->sessions[check->n++] = s;
    s->checking = 1;

    return NGX_OK;
}


static ngx_http_fcchat_check_t *
ngx_http_fcchat_check_create(ngx_http_fcchat_session_t *s)
{
    ngx_pool_t               *pool;
    ngx_http_fcchat_check_t  *check;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, s->worker->log);
    if (pool == NULL) {
        return NULL;
    }

    check = ngx_pcalloc(pool, sizeof(ngx_http_fcchat_check_t));
    if (check == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    check->schema.data = ngx_pstrdup(pool, &s->room->schema);
    if (check->schema.data == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    check->schema.len = s->room->schema.len;
    check->pool = pool;
    check->rights = s->worker->rights;
    check->conf = s->conf;
    check->hub = s->room->hub;

    return check;
}


void
ngx_http_fcchat_check_handler(ngx_event_t *ev)
{
    ngx_queue_t               *q, *next;
    ngx_http_fcchat_check_t   *check;
    ngx_http_fcchat_rights_t  *rights;

    rights = ev->data;

    for (q = ngx_queue_head(&rights->checks);
         q != ngx_queue_sentinel(&rights->checks);
         q = next)
    {
        next = ngx_queue_next(q);
        check = ngx_queue_data(q, ngx_http_fcchat_check_t, queue);

        if (!check->asked) {
            ngx_http_fcchat_check_ask(check);
        }
    }
}


static void
ngx_http_fcchat_check_ask(ngx_http_fcchat_check_t *check)
{
    ngx_uint_t                      i;
    ngx_http_fcchat_check_key_t    *k;
    ngx_http_fcchat_store_claim_t  *claims;

    check->asked = 1;

    if (!ngx_http_fcchat_store_up(check->hub->store)
        || ngx_http_fcchat_check_keys(check) != NGX_OK)
    {
        ngx_http_fcchat_check_failed(check);
        return;
    }

    claims = ngx_pcalloc(check->pool, (check->nkeys + 1)
                                      * sizeof(ngx_http_fcchat_store_claim_t));
    if (claims == NULL) {
        ngx_http_fcchat_check_failed(check);
        return;
    }

    for (i = 0; i < check->nkeys; i++) {
        k = &check->keys[i];

        claims[i].user_id = k->user_id;

        switch (check->conf->engine) {

        case NGX_HTTP_FCCHAT_ENGINE_CACHE:

            /* what Redis has may be another one: the password is needed */

            break;

        case NGX_HTTP_FCCHAT_ENGINE_SIGNED_COOKIES:
            claims[i].mark = k->mark;
            break;

        default:
            claims[i].mark = k->mark;
            claims[i].key = k->key;
            break;
        }
    }

    check->ask = ngx_http_fcchat_store_rights(check->hub->store,
                                              &check->schema, claims,
                                              check->nkeys,
                                              ngx_http_fcchat_check_answer,
                                              check);
    if (check->ask == NULL) {
        ngx_http_fcchat_check_failed(check);
    }
}


/* those who are still there, by key; many sockets of a session are one */

static ngx_int_t
ngx_http_fcchat_check_keys(ngx_http_fcchat_check_t *check)
{
    ngx_uint_t                  i, n;
    ngx_http_fcchat_session_t  *s;

    for (i = 0, n = 0; i < check->n; i++) {
        if (check->sessions[i]) {
            check->sessions[n++] = check->sessions[i];
        }
    }

    check->n = n;

    if (n == 0) {
        return NGX_DECLINED;
    }

    ngx_qsort(check->sessions, n, sizeof(ngx_http_fcchat_session_t *),
              ngx_http_fcchat_check_compare);

    check->keys = ngx_pcalloc(check->pool,
                              n * sizeof(ngx_http_fcchat_check_key_t));
    if (check->keys == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        s = check->sessions[i];

        if ((i == 0
             || ngx_http_fcchat_check_compare(&check->sessions[i - 1],
                                              &check->sessions[i])
                != 0)
            && ngx_http_fcchat_check_key(check, s) != NGX_OK)
        {
            return NGX_ERROR;
        }

        check->index[i] = check->nkeys - 1;

        /* one that was never asked for needs all of the answer */

        if (s->mark != check->keys[check->nkeys - 1].mark) {
            check->keys[check->nkeys - 1].mark = 0;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_check_key(ngx_http_fcchat_check_t *check,
    ngx_http_fcchat_session_t *s)
{
    ngx_http_fcchat_check_key_t  *k;

    k = &check->keys[check->nkeys];

    k->key.len = s->key_len;
    k->key.data = ngx_pnalloc(check->pool, s->key_len);
    if (k->key.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(k->key.data, s->addr.data + s->addr.len, s->key_len);

    k->check = check;
    k->user_id = s->author.id;
    k->mark = s->mark;

    check->nkeys++;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_fcchat_check_compare(const void *one, const void *two)
{
    int                         rc;
    ngx_http_fcchat_session_t  *a, *b;

    a = *(ngx_http_fcchat_session_t * const *) one;
    b = *(ngx_http_fcchat_session_t * const *) two;

    if (a->key_len != b->key_len) {
        return (a->key_len < b->key_len) ? -1 : 1;
    }

    rc = ngx_memcmp(a->addr.data + a->addr.len, b->addr.data + b->addr.len,
                    a->key_len);

    if (rc) {
        return rc;
    }

    return (a->author.id > b->author.id) - (a->author.id < b->author.id);
}


static void
ngx_http_fcchat_check_answer(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_uint_t                i;
    ngx_http_fcchat_check_t  *check;

    check = data;
    check->ask = NULL;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK || answer->n != check->nkeys) {
        ngx_http_fcchat_check_failed(check);
        return;
    }

    for (i = 0; i < check->nkeys; i++) {
        check->keys[i].verdict =
                             ngx_http_fcchat_check_judge(&check->keys[i],
                                                         &answer->rights[i]);
    }

    if (check->gets == 0) {
        ngx_http_fcchat_check_done(check);
    }
}


static ngx_http_fcchat_verdict_e
ngx_http_fcchat_check_judge(ngx_http_fcchat_check_key_t *k,
    ngx_http_fcchat_store_right_t *r)
{
    int64_t                      expires;
    ngx_http_fcchat_loc_conf_t  *conf;
    fcc_django_session_t         session;

    conf = k->check->conf;

    if (!r->user) {
        return NGX_HTTP_FCCHAT_CHECK_ENDED;
    }

    if (!r->active) {
        return NGX_HTTP_FCCHAT_CHECK_FORBIDDEN;
    }

    k->staff = r->staff;

    if (conf->engine == NGX_HTTP_FCCHAT_ENGINE_CACHE) {
        return ngx_http_fcchat_check_get(k, r);
    }

    k->mark = r->mark;

    if (conf->engine == NGX_HTTP_FCCHAT_ENGINE_SIGNED_COOKIES) {

        ngx_memcpy(&expires, k->key.data, sizeof(int64_t));

        if (ngx_time() > expires) {
            return NGX_HTTP_FCCHAT_CHECK_ENDED;
        }

        if (r->same
            || fcc_django_auth_hash_valid(conf->secrets, r->password.data,
                                          r->password.len,
                                          k->key.data + sizeof(int64_t),
                                          FCC_DJANGO_HASH_MAX))
        {
            return NGX_HTTP_FCCHAT_CHECK_GOOD;
        }

        return NGX_HTTP_FCCHAT_CHECK_ENDED;
    }

    if (!r->session) {
        return NGX_HTTP_FCCHAT_CHECK_ENDED;
    }

    if (r->same) {
        return NGX_HTTP_FCCHAT_CHECK_GOOD;
    }

    if (fcc_django_session_read(conf->secrets, FCC_DJANGO_DB, r->data.data,
                                r->data.len, ngx_time(), conf->session_age,
                                &session)
        != FCC_OK)
    {
        return NGX_HTTP_FCCHAT_CHECK_ENDED;
    }

    return ngx_http_fcchat_check_session(k, &session, &r->password);
}


static ngx_http_fcchat_verdict_e
ngx_http_fcchat_check_get(ngx_http_fcchat_check_key_t *k,
    ngx_http_fcchat_store_right_t *r)
{
    ngx_http_fcchat_check_t  *check;

    check = k->check;

    k->password.len = r->password.len;
    k->password.data = ngx_pstrdup(check->pool, &r->password);
    if (k->password.data == NULL) {
        return NGX_HTTP_FCCHAT_CHECK_UNKNOWN;
    }

    k->get = ngx_http_fcchat_auth_cached(check->rights->worker, check->conf,
                                         &k->key, ngx_http_fcchat_check_got,
                                         k);
    if (k->get) {
        check->gets++;
    }

    return NGX_HTTP_FCCHAT_CHECK_UNKNOWN;
}


static void
ngx_http_fcchat_check_got(void *data, ngx_http_fcchat_redis_answer_t *answer)
{
    ngx_http_fcchat_check_t      *check;
    ngx_http_fcchat_check_key_t  *k;

    k = data;
    k->get = NULL;
    check = k->check;

    if (answer->rc == NGX_OK) {
        k->verdict = ngx_http_fcchat_check_value(k, &answer->value);

    } else if (answer->rc == NGX_DECLINED) {
        k->verdict = NGX_HTTP_FCCHAT_CHECK_ENDED;
    }

    if (--check->gets == 0) {
        ngx_http_fcchat_check_done(check);
    }
}


static ngx_http_fcchat_verdict_e
ngx_http_fcchat_check_value(ngx_http_fcchat_check_key_t *k, ngx_str_t *value)
{
    uint32_t              mark;
    uint64_t              hash;
    fcc_django_session_t  session;

    hash = fcc_rate_hash(FCC_RATE_HASH_INIT, value->data, value->len);
    hash = fcc_rate_hash(hash, k->password.data, k->password.len);

    mark = (uint32_t) hash | 1;

    if (mark == k->mark) {
        return NGX_HTTP_FCCHAT_CHECK_GOOD;
    }

    k->mark = mark;

    if (fcc_django_session_unpickle(value->data, value->len, &session)
        != FCC_OK)
    {
        return NGX_HTTP_FCCHAT_CHECK_ENDED;
    }

    return ngx_http_fcchat_check_session(k, &session, &k->password);
}


static ngx_http_fcchat_verdict_e
ngx_http_fcchat_check_session(ngx_http_fcchat_check_key_t *k,
    fcc_django_session_t *session, ngx_str_t *password)
{
    ngx_http_fcchat_loc_conf_t  *conf;

    conf = k->check->conf;

    if (session->has_user
        && session->user_id == k->user_id
        && ngx_http_fcchat_auth_backend(conf, session)
        && fcc_django_auth_hash_valid(conf->secrets, password->data,
                                      password->len, session->hash,
                                      session->hash_len))
    {
        return NGX_HTTP_FCCHAT_CHECK_GOOD;
    }

    return NGX_HTTP_FCCHAT_CHECK_ENDED;
}


static void
ngx_http_fcchat_check_done(ngx_http_fcchat_check_t *check)
{
    ngx_uint_t  i;

    for (i = 0; i < check->n; i++) {
        if (check->sessions[i]) {
            ngx_http_fcchat_check_apply(check->sessions[i],
                                        &check->keys[check->index[i]]);
        }
    }

    ngx_http_fcchat_check_free(check);
}


static void
ngx_http_fcchat_check_apply(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_check_key_t *k)
{
    ngx_uint_t  code;

    s->checking = 0;

    switch (k->verdict) {

    case NGX_HTTP_FCCHAT_CHECK_UNKNOWN:
        ngx_http_fcchat_check_retry(s);
        return;

    case NGX_HTTP_FCCHAT_CHECK_GOOD:
        s->mark = k->mark;
        ngx_http_fcchat_session_role(s, k->staff);

        ngx_http_fcchat_rights_at(s, s->again
                             ? ngx_current_msec + NGX_HTTP_FCCHAT_CHECK_AGAIN
                             : ngx_http_fcchat_rights_next(s));
        s->again = 0;
        return;

    case NGX_HTTP_FCCHAT_CHECK_FORBIDDEN:
        code = NGX_HTTP_FCCHAT_CLOSE_FORBIDDEN;
        break;

    default:
        code = NGX_HTTP_FCCHAT_CLOSE_SESSION;
        break;
    }

    if (s->state != NGX_HTTP_FCCHAT_OPEN || s->draining) {
        return;
    }

    ngx_http_fcchat_cache_doubt(s->worker->conf->zone, s->author.id, NULL);

    ngx_http_fcchat_member_leave(&s->member);
    s->member.owner->broken(&s->member, code);
}


/* nobody is closed for it */

static void
ngx_http_fcchat_check_failed(ngx_http_fcchat_check_t *check)
{
    ngx_uint_t                  i;
    ngx_http_fcchat_session_t  *s;

    for (i = 0; i < check->n; i++) {
        s = check->sessions[i];

        if (s) {
            s->checking = 0;
            ngx_http_fcchat_check_retry(s);
        }
    }

    ngx_http_fcchat_check_free(check);
}


static void
ngx_http_fcchat_check_retry(ngx_http_fcchat_session_t *s)
{
    ngx_http_fcchat_rights_at(s, ngx_current_msec + NGX_HTTP_FCCHAT_CHECK_RETRY
                                 + (ngx_msec_t) ngx_random()
                                   % NGX_HTTP_FCCHAT_CHECK_RETRY);
}


void
ngx_http_fcchat_rights_forget(ngx_http_fcchat_session_t *s)
{
    ngx_uint_t                 i;
    ngx_queue_t               *q;
    ngx_http_fcchat_check_t   *check;
    ngx_http_fcchat_rights_t  *rights;

    rights = s->worker->rights;

    for (q = ngx_queue_head(&rights->checks);
         q != ngx_queue_sentinel(&rights->checks);
         q = ngx_queue_next(q))
    {
        check = ngx_queue_data(q, ngx_http_fcchat_check_t, queue);

        for (i = 0; i < check->n; i++) {
            if (check->sessions[i] == s) {
                check->sessions[i] = NULL;
                return;
            }
        }
    }
}


void
ngx_http_fcchat_checks_destroy(ngx_http_fcchat_rights_t *rights)
{
    ngx_uint_t                i;
    ngx_queue_t              *q;
    ngx_http_fcchat_check_t  *check;

    while (!ngx_queue_empty(&rights->checks)) {
        q = ngx_queue_head(&rights->checks);
        check = ngx_queue_data(q, ngx_http_fcchat_check_t, queue);

        if (check->ask) {
            ngx_http_fcchat_store_forget(check->ask);
        }

        for (i = 0; i < check->nkeys; i++) {
            if (check->keys[i].get) {
                ngx_http_fcchat_redis_get_forget(check->keys[i].get);
            }
        }

        ngx_http_fcchat_check_free(check);
    }
}


static void
ngx_http_fcchat_check_free(ngx_http_fcchat_check_t *check)
{
    ngx_queue_remove(&check->queue);
    ngx_destroy_pool(check->pool);
}
