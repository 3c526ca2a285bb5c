
/*
 * Pages of the log, backwards: an answer for one client alone.
 *
 * The question holds a reference of the sender and finds out by it whether the
 * session is still there.  One at a time for a session; a page has no more
 * bytes than fit beside what else a client may have waiting, so long messages
 * make it shorter, never the client closed.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_HISTORY_SIZE  (NGX_HTTP_FCCHAT_MEMBER_OUT_MAX / 2)


typedef struct {
    ngx_http_fcchat_sender_t  *sender;
    int64_t                    before;
    ngx_uint_t                 limit;
    ngx_uint_t                 deletes;     /* the room's, when it was asked */
} ngx_http_fcchat_page_t;


static ngx_int_t ngx_http_fcchat_history_ask(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_page_t *page);
static void ngx_http_fcchat_history_read(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_history_send(ngx_http_fcchat_session_t *s,
    int64_t before, ngx_http_fcchat_store_answer_t *answer);


ngx_msec_t
ngx_http_fcchat_history_wait(ngx_http_fcchat_session_t *s)
{
    uint64_t  key;

    if (s->conf->history_rate == NULL
        || (s->author.id && ngx_strcmp(s->author.role.data, "member") != 0))
    {
        return 0;
    }

    key = s->author.id ? ngx_http_fcchat_user_key(s->room->hub,
                                                  &s->room->schema,
                                                  s->author.id)
                       : s->from;

    return ngx_http_fcchat_rate_take(s->worker->conf->rates, key,
                                     NGX_HTTP_FCCHAT_RATE_HISTORY,
                                     s->conf->history_rate);
}


ngx_int_t
ngx_http_fcchat_history(ngx_http_fcchat_session_t *s, int64_t before,
    ngx_uint_t limit)
{
    ngx_http_fcchat_page_t  *page;

    if (s->reading) {
        return NGX_BUSY;
    }

    page = ngx_alloc(sizeof(ngx_http_fcchat_page_t),
                     s->member.connection->log);
    if (page == NULL) {
        return NGX_ERROR;
    }

    page->sender = s->sender;
    page->before = before ? before : s->room->have + 1;
    page->limit = limit;

    if (ngx_http_fcchat_history_ask(s, page) != NGX_OK) {
        ngx_free(page);
        return NGX_ERROR;
    }

    s->sender->refs++;
    s->reading = 1;
    ngx_http_fcchat_stat_inc(PAGES);

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_history_ask(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_page_t *page)
{
    page->deletes = s->room->deletes;

    return ngx_http_fcchat_store_before(s->room->hub->store, &s->room->schema,
                                        s->room->id, page->before, page->limit,
                                        ngx_http_fcchat_history_read, page)
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_fcchat_history_read(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_http_fcchat_page_t     *page;
    ngx_http_fcchat_outcome_t   o;
    ngx_http_fcchat_session_t  *s;

    page = data;
    s = page->sender->session;

    if (s && s->room->deletes != page->deletes
        && ngx_http_fcchat_history_ask(s, page) == NGX_OK)
    {
        /* the answer may have what was deleted meanwhile */

        return;
    }

    if (s) {
        s->reading = 0;

        if (s->state == NGX_HTTP_FCCHAT_OPEN
            && (answer->rc != NGX_HTTP_FCCHAT_STORE_OK
                || s->room->deletes != page->deletes
                || ngx_http_fcchat_history_send(s, page->before, answer)
                   != NGX_OK))
        {
            ngx_memzero(&o, sizeof(ngx_http_fcchat_outcome_t));

            o.code = "unavailable";
            o.text = "The messages could not be read, try again.";
            o.retry_after = NGX_HTTP_FCCHAT_RETRY_AFTER;

            s->pending++;
            page->sender->done(s, &o);
        }
    }

    ngx_http_fcchat_sender_put(page->sender);
    ngx_free(page);
}


static ngx_int_t
ngx_http_fcchat_history_send(ngx_http_fcchat_session_t *s, int64_t before,
    ngx_http_fcchat_store_answer_t *answer)
{
    size_t      size, n;
    u_char     *p, *json;
    fcc_buf_t   b;
    ngx_uint_t  i, first;

    size = FCC_PROTO_OVERHEAD;
    first = answer->n;

    for (i = 0; i < answer->n; i++) {
        ngx_http_fcchat_room_author(s->room, &answer->events[i]);
    }

    /* the newest that fit */

    while (first > 0) {
        n = ngx_http_fcchat_history_event(s->room, &answer->events[first - 1],
                                          &json);
        if (n == 0) {
            return NGX_ERROR;
        }

        if (size + n + 1 > NGX_HTTP_FCCHAT_HISTORY_SIZE) {
            break;
        }

        size += n + 1;
        first--;
    }

    p = ngx_alloc(size, s->member.connection->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fcc_buf_init(&b, p, size);
    fcc_proto_v1_history_begin(&b, before);

    for (i = first; i < answer->n; i++) {
        n = ngx_http_fcchat_history_event(s->room, &answer->events[i], &json);

        if (i != first) {
            fcc_buf_lit(&b, ",");
        }

        fcc_buf_put(&b, json, n);
    }

    fcc_proto_v1_history_end(&b);

    ngx_http_fcchat_session_reply(s, FCC_WS_TEXT, b.start, b.pos - b.start);

    ngx_free(p);

    return NGX_OK;
}


size_t
ngx_http_fcchat_history_event(ngx_http_fcchat_room_t *room, fcc_event_t *e,
    u_char **json)
{
    size_t     size;
    u_char    *p;
    fcc_buf_t  b;

    p = ngx_http_fcchat_room_scratch(room, e, &size);
    if (p == NULL) {
        return 0;
    }

    fcc_buf_init(&b, p, size);
    ngx_http_fcchat_room_encode(&b, e, NGX_HTTP_FCCHAT_V1);

    *json = p;

    return b.full ? 0 : b.pos - b.start;
}
