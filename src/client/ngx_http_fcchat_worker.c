
/* What a worker keeps for its sessions, and the posted work on them. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>
#include <ngx_http_fcchat_rights.h>


static void ngx_http_fcchat_worker_close(ngx_event_t *ev);
static void ngx_http_fcchat_worker_flush(ngx_event_t *ev);
static void ngx_http_fcchat_worker_goodbye(ngx_http_fcchat_worker_t *worker);
static const char *ngx_http_fcchat_worker_reason(ngx_uint_t code);


ngx_http_fcchat_worker_t *
ngx_http_fcchat_worker_create(ngx_http_fcchat_main_conf_t *conf,
    ngx_log_t *log)
{
    ngx_uint_t                      i;
    ngx_http_fcchat_worker_t       *worker;
    ngx_http_fcchat_hub_conf_t     *hcf;
    ngx_http_fcchat_cache_conf_t  **ccf;

    worker = ngx_calloc(sizeof(ngx_http_fcchat_worker_t), log);
    if (worker == NULL) {
        return NULL;
    }

    worker->conf = conf;
    worker->log = log;
    worker->deflate.log = log;

    ngx_http_fcchat_wheel_init(worker);

    ngx_queue_init(&worker->todo);
    ngx_queue_init(&worker->replies);

    worker->close.handler = ngx_http_fcchat_worker_close;
    worker->close.data = worker;
    worker->close.log = log;

    worker->flush.handler = ngx_http_fcchat_worker_flush;
    worker->flush.data = worker;
    worker->flush.log = log;

    ngx_rbtree_init(&worker->flights, &worker->flights_sentinel,
                    ngx_str_rbtree_insert_value);

    worker->recv = ngx_alloc(NGX_HTTP_FCCHAT_RECV_SIZE, log);
    worker->hubs = ngx_calloc(conf->hubs.nelts
                              * sizeof(ngx_http_fcchat_hub_t *) + 1, log);

    worker->tenants = ngx_http_fcchat_tenants_create(log);

    worker->rights = ngx_http_fcchat_rights_create(worker);

    if (worker->recv == NULL || worker->hubs == NULL
        || worker->tenants == NULL || worker->rights == NULL)
    {
        ngx_http_fcchat_worker_destroy(worker);
        return NULL;
    }

    worker->caches = ngx_calloc(conf->caches.nelts
                                * sizeof(ngx_http_fcchat_redis_cache_t *) + 1,
                                log);
    if (worker->caches == NULL) {
        ngx_http_fcchat_worker_destroy(worker);
        return NULL;
    }

    ccf = conf->caches.elts;

    for (i = 0; i < conf->caches.nelts; i++) {

        worker->caches[i] = ngx_http_fcchat_redis_cache_create(&ccf[i]->redis,
                                                               ccf[i]->db,
                                                               log);
        if (worker->caches[i] == NULL) {
            ngx_http_fcchat_worker_destroy(worker);
            return NULL;
        }

        worker->ncaches++;
    }

    hcf = conf->hubs.elts;

    for (i = 0; i < conf->hubs.nelts; i++) {

        worker->hubs[i] = ngx_http_fcchat_hub_create(&hcf[i],
                                                     &worker->deflate, log);
        if (worker->hubs[i] == NULL) {
            ngx_http_fcchat_worker_destroy(worker);
            return NULL;
        }

        worker->hubs[i]->recheck = ngx_http_fcchat_rights_recheck;
        worker->hubs[i]->client = worker;
        worker->hubs[i]->zone = conf->rates;
        worker->hubs[i]->judge = ngx_http_fcchat_session_judge;
        worker->hubs[i]->ring = conf->ring;
        worker->hubs[i]->who = ngx_http_fcchat_session_who;

        worker->nhubs++;
    }

    return worker;
}


void
ngx_http_fcchat_worker_destroy(ngx_http_fcchat_worker_t *worker)
{
    ngx_uint_t  i;

    ngx_http_fcchat_worker_goodbye(worker);

    if (worker->tenants) {
        ngx_http_fcchat_tenants_destroy(worker->tenants);
    }

    ngx_http_fcchat_auth_destroy(worker);

    if (worker->rights) {
        ngx_http_fcchat_rights_destroy(worker->rights);
    }

    for (i = 0; i < worker->ncaches; i++) {
        ngx_http_fcchat_redis_cache_destroy(worker->caches[i]);
    }

    for (i = 0; i < worker->nhubs; i++) {
        ngx_http_fcchat_hub_destroy(worker->hubs[i]);
    }

    ngx_http_fcchat_deflate_free(&worker->deflate);

    if (worker->close.posted) {
        ngx_delete_posted_event(&worker->close);
    }

    if (worker->flush.posted) {
        ngx_delete_posted_event(&worker->flush);
    }

    if (worker->tick.timer_set) {
        ngx_del_timer(&worker->tick);
    }

    if (worker->caches) {
        ngx_free(worker->caches);
    }

    if (worker->hubs) {
        ngx_free(worker->hubs);
    }

    if (worker->recv) {
        ngx_free(worker->recv);
    }

    ngx_free(worker);
}


/* a worker that exits at once: whoever is left is told what can be told */

static void
ngx_http_fcchat_worker_goodbye(ngx_http_fcchat_worker_t *worker)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_http_fcchat_session_t  *s;

    for (i = 0; i < NGX_HTTP_FCCHAT_WHEEL_SLOTS; i++) {

        while (!ngx_queue_empty(&worker->wheel[i])) {
            q = ngx_queue_head(&worker->wheel[i]);
            s = ngx_queue_data(q, ngx_http_fcchat_session_t, wheel);

            if (s->state == NGX_HTTP_FCCHAT_OPEN && !s->member.dead) {
                ngx_http_fcchat_session_close(s, FCC_WS_RESTART, "restart");
            }

            ngx_http_fcchat_session_finish(s, s->code ? s->code
                                                      : FCC_WS_ABNORMAL);
        }
    }
}


static void
ngx_http_fcchat_worker_close(ngx_event_t *ev)
{
    ngx_uint_t                  code;
    ngx_queue_t                *q;
    const char                 *reason;
    ngx_http_fcchat_worker_t   *worker;
    ngx_http_fcchat_session_t  *s;

    worker = ev->data;

    while (!ngx_queue_empty(&worker->todo)) {
        q = ngx_queue_head(&worker->todo);
        s = ngx_queue_data(q, ngx_http_fcchat_session_t, todo);

        ngx_queue_remove(q);
        s->in_todo = 0;

        code = s->todo_code;

        if (code == 0 || s->member.dead) {
            ngx_http_fcchat_session_finish(s, s->code ? s->code
                                                      : FCC_WS_ABNORMAL);
            continue;
        }

        reason = ngx_http_fcchat_worker_reason(code);

        if (code == NGX_HTTP_FCCHAT_CLOSE_SESSION
            || code == NGX_HTTP_FCCHAT_CLOSE_FORBIDDEN)
        {
            ngx_http_fcchat_audit(s, code == NGX_HTTP_FCCHAT_CLOSE_SESSION
                                     ? NGX_HTTP_FCCHAT_AUDIT_SESSION
                                     : NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN,
                                  reason);
        }

        ngx_http_fcchat_session_close(s, code, reason);
    }
}


static const char *
ngx_http_fcchat_worker_reason(ngx_uint_t code)
{
    switch (code) {

    case FCC_WS_RESTART:
        return "restart";

    case NGX_HTTP_FCCHAT_CLOSE_LAGGED:
        return "lagged";

    case NGX_HTTP_FCCHAT_CLOSE_GAP:
        return "gap";

    case NGX_HTTP_FCCHAT_CLOSE_ROOM_GONE:
        return "room gone";

    case NGX_HTTP_FCCHAT_CLOSE_SESSION:
        return "session ended";

    case NGX_HTTP_FCCHAT_CLOSE_FORBIDDEN:
        return "not allowed";

    default:
        return "";
    }
}


static void
ngx_http_fcchat_worker_flush(ngx_event_t *ev)
{
    ngx_queue_t                *q;
    ngx_http_fcchat_worker_t   *worker;
    ngx_http_fcchat_session_t  *s;

    worker = ev->data;

    while (!ngx_queue_empty(&worker->replies)) {
        q = ngx_queue_head(&worker->replies);
        s = ngx_queue_data(q, ngx_http_fcchat_session_t, reply);

        ngx_http_fcchat_worker_flush_session(s);
    }
}


void
ngx_http_fcchat_worker_flush_session(ngx_http_fcchat_session_t *s)
{
    if (!s->in_reply) {
        return;
    }

    ngx_queue_remove(&s->reply);
    s->in_reply = 0;

    (void) ngx_http_fcchat_member_flush(&s->member);

    /* in state leaving, the end may be what was waited for */

    if (s->state == NGX_HTTP_FCCHAT_LEAVING
        && ngx_http_fcchat_member_idle(&s->member)
        && !s->in_todo)
    {
        ngx_http_fcchat_session_finish(s, s->code);
    }
}
