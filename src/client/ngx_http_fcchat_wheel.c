
/*
 * One timer for all sessions of a worker: a wheel of 256 slots, four a second.
 *
 * A session stands in the slot of the tick it is due at; one that is due more
 * than a turn later stays when its slot comes by.  The timer runs only while
 * there are sessions, or handshakes that wait for PostgreSQL, and is not
 * cancelable: a worker that exits stays until the last one has said goodbye.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


static void ngx_http_fcchat_wheel_handler(ngx_event_t *ev);
static ngx_uint_t ngx_http_fcchat_wheel_now(ngx_http_fcchat_worker_t *worker);


void
ngx_http_fcchat_wheel_init(ngx_http_fcchat_worker_t *worker)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_FCCHAT_WHEEL_SLOTS; i++) {
        ngx_queue_init(&worker->wheel[i]);
    }

    worker->started = ngx_current_msec;

    worker->tick.handler = ngx_http_fcchat_wheel_handler;
    worker->tick.data = worker;
    worker->tick.log = worker->log;
}


static ngx_uint_t
ngx_http_fcchat_wheel_now(ngx_http_fcchat_worker_t *worker)
{
    return (ngx_current_msec - worker->started) / NGX_HTTP_FCCHAT_WHEEL_TICK;
}


void
ngx_http_fcchat_wheel_set(ngx_http_fcchat_session_t *s, ngx_msec_t at)
{
    ngx_uint_t                 tick;
    ngx_http_fcchat_worker_t  *worker;

    worker = s->worker;

    /* rounded up: never early, and never into a slot that is being visited */

    tick = (at - worker->started) / NGX_HTTP_FCCHAT_WHEEL_TICK + 1;

    if ((ngx_int_t) (tick - worker->turned) <= 0) {
        tick = worker->turned + 1;
    }

    s->due = tick;

    if (s->wheel.next) {
        ngx_queue_remove(&s->wheel);
    }

    ngx_queue_insert_tail(&worker->wheel[tick
                                         & (NGX_HTTP_FCCHAT_WHEEL_SLOTS - 1)],
                          &s->wheel);

    if (!worker->tick.timer_set) {
        ngx_add_timer(&worker->tick, NGX_HTTP_FCCHAT_WHEEL_TICK);
    }
}


void
ngx_http_fcchat_wheel_sooner(ngx_http_fcchat_session_t *s, ngx_msec_t at)
{
    uint32_t  tick;

    /* what is overdue may be from before the worker's first tick */

    if ((ngx_msec_int_t) (at - ngx_current_msec) < 0) {
        at = ngx_current_msec;
    }

    tick = (at - s->worker->started) / NGX_HTTP_FCCHAT_WHEEL_TICK + 1;

    if (s->wheel.next == NULL || (int32_t) (tick - s->due) < 0) {
        ngx_http_fcchat_wheel_set(s, at);
    }
}


static void
ngx_http_fcchat_wheel_handler(ngx_event_t *ev)
{
    ngx_uint_t                  now;
    ngx_queue_t                *slot, *q, due;
    ngx_http_fcchat_worker_t   *worker;
    ngx_http_fcchat_session_t  *s;

    worker = ev->data;
    now = ngx_http_fcchat_wheel_now(worker);

    /* a worker that slept for more than a turn visits each slot once */

    if (now - worker->turned > NGX_HTTP_FCCHAT_WHEEL_SLOTS) {
        worker->turned = now - NGX_HTTP_FCCHAT_WHEEL_SLOTS;
    }

    while (worker->turned != now) {
        worker->turned++;

        slot = &worker->wheel[worker->turned
                              & (NGX_HTTP_FCCHAT_WHEEL_SLOTS - 1)];

        if (ngx_queue_empty(slot)) {
            continue;
        }

        /* whoever is visited may be freed, and others with it */

        ngx_queue_init(&due);
        ngx_queue_add(&due, slot);
        ngx_queue_init(slot);

        while (!ngx_queue_empty(&due)) {
            q = ngx_queue_head(&due);
            s = ngx_queue_data(q, ngx_http_fcchat_session_t, wheel);

            ngx_queue_remove(q);

            if ((int32_t) (s->due - (uint32_t) worker->turned) > 0) {
                ngx_queue_insert_tail(slot, q);
                continue;
            }

            s->wheel.next = NULL;

            ngx_http_fcchat_session_tick(s);
        }
    }

    if ((worker->sessions || worker->waiting) && !ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_FCCHAT_WHEEL_TICK);
    }
}


void
ngx_http_fcchat_wheel_hold(ngx_http_fcchat_worker_t *worker)
{
    worker->waiting++;

    if (!worker->tick.timer_set) {
        ngx_add_timer(&worker->tick, NGX_HTTP_FCCHAT_WHEEL_TICK);
    }
}


void
ngx_http_fcchat_wheel_release(ngx_http_fcchat_worker_t *worker)
{
    worker->waiting--;

    ngx_http_fcchat_wheel_rest(worker);
}


void
ngx_http_fcchat_wheel_rest(ngx_http_fcchat_worker_t *worker)
{
    if (worker->sessions == 0
        && worker->waiting == 0
        && worker->tick.timer_set)
    {
        ngx_del_timer(&worker->tick);
    }
}
