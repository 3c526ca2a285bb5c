
/*
 * What can be read over the HTTP API: the question and the answer.
 *
 * A page of history is keyed by seq: as deep as one likes, it costs a look into
 * the index and the page itself.  A page has no more bytes than
 * NGX_HTTP_FCCHAT_API_PAGE, so long messages make it shorter, and "prev" and
 * "next" go on where it ends.
 */


#include <ngx_http_fcchat_api.h>


#define NGX_HTTP_FCCHAT_API_TOTAL   96          /* bytes of one in JSON */


static void ngx_http_fcchat_api_answered(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_api_page(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_api_page_bounds(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer, ngx_uint_t *first,
    ngx_uint_t *last, size_t *size);
static void ngx_http_fcchat_api_page_cursors(ngx_http_fcchat_api_t *api,
    fcc_buf_t *b, ngx_http_fcchat_store_answer_t *answer, ngx_uint_t first,
    ngx_uint_t last);
static void ngx_http_fcchat_api_cursor(ngx_http_fcchat_api_t *api,
    fcc_buf_t *b, const char *key, int64_t seq);
static ngx_int_t ngx_http_fcchat_api_event(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_api_state(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_api_viewers(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_totals_ask(ngx_http_fcchat_api_t *api);
static void ngx_http_fcchat_api_totals_answered(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_api_totals(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_total_t *totals, ngx_uint_t n);


ngx_int_t
ngx_http_fcchat_api_read(ngx_http_fcchat_api_t *api)
{
    int64_t                   before;
    ngx_http_fcchat_room_t   *room;
    ngx_http_fcchat_store_t  *store;

    room = api->ctx.room;
    store = room->hub->store;

    switch (api->path.resource) {

    case FCC_API_HISTORY:

        if (api->after >= 0) {
            api->ask = ngx_http_fcchat_store_events(store, &room->schema,
                           room->id, api->after, api->limit,
                           ngx_http_fcchat_api_answered, api);
            break;
        }

        before = (api->before >= 0) ? api->before : FCC_API_NUMBER_MAX;

        api->ask = ngx_http_fcchat_store_before(store, &room->schema,
                       room->id, before, api->limit,
                       ngx_http_fcchat_api_answered, api);
        break;

    case FCC_API_EVENT:
        api->ask = ngx_http_fcchat_store_events(store, &room->schema,
                       room->id, api->path.number - 1, 1,
                       ngx_http_fcchat_api_answered, api);
        break;

    case FCC_API_MESSAGE:
        api->ask = ngx_http_fcchat_store_message(store, &room->schema,
                       room->id, api->path.number,
                       ngx_http_fcchat_api_answered, api);
        break;

    case FCC_API_VIEWERS:
        return ngx_http_fcchat_api_viewers(api);

    case FCC_API_REACTIONS:
        return ngx_http_fcchat_api_totals_ask(api);

    case FCC_API_BANS:
    case FCC_API_AUDIT:
        return ngx_http_fcchat_api_list(api);

    default:
        api->ask = ngx_http_fcchat_store_heads(store, &room->schema,
                       &room->id, 1, ngx_http_fcchat_api_answered, api);
        break;
    }

    return api->ask ? ngx_http_fcchat_entry_wait(&api->ctx)
                    : ngx_http_fcchat_api_unavailable(api);
}


static void
ngx_http_fcchat_api_answered(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_int_t               rc;
    ngx_http_fcchat_api_t  *api;

    api = data;
    api->ask = NULL;

    if (answer->rc != NGX_HTTP_FCCHAT_STORE_OK
        && answer->rc != NGX_HTTP_FCCHAT_STORE_NONE)
    {
        rc = ngx_http_fcchat_api_unavailable(api);

    } else {

        switch (api->path.resource) {

        case FCC_API_HISTORY:
            rc = ngx_http_fcchat_api_page(api, answer);
            break;

        case FCC_API_EVENT:
        case FCC_API_MESSAGE:
            rc = ngx_http_fcchat_api_event(api, answer);
            break;

        default:
            rc = ngx_http_fcchat_api_state(api, answer);
            break;
        }
    }

    ngx_http_fcchat_entry_finish(&api->ctx, rc);
}


ngx_int_t
ngx_http_fcchat_api_begin(ngx_http_fcchat_api_t *api, fcc_buf_t *b,
    size_t size)
{
    u_char  *p;

    p = ngx_pnalloc(api->ctx.request->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fcc_buf_init(b, p, size);

    fcc_buf_lit(b, "{\"room\":");
    fcc_json_string(b, api->ctx.room->name.data, api->ctx.room->name.len);

    return NGX_OK;
}


/* without a head (a standby whose primary had no viewer yet) it is empty */

static ngx_int_t
ngx_http_fcchat_api_page(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer)
{
    size_t      size, n;
    u_char     *json;
    fcc_buf_t   b;
    ngx_uint_t  i, first, last;

    if (ngx_http_fcchat_api_page_bounds(api, answer, &first, &last, &size)
        != NGX_OK
        || ngx_http_fcchat_api_begin(api, &b, size) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_fcchat_stat_inc(PAGES);

    fcc_buf_lit(&b, ",\"epoch\":");
    fcc_json_string(&b, answer->room.epoch.data, answer->room.epoch.len);
    fcc_buf_lit(&b, ",\"head\":");
    fcc_json_int(&b, answer->room.head);
    fcc_buf_lit(&b, ",\"messages\":[");

    for (i = first; i < last; i++) {
        n = ngx_http_fcchat_history_event(api->ctx.room, &answer->events[i],
                                          &json);
        if (n == 0) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (i != first) {
            fcc_buf_lit(&b, ",");
        }

        fcc_buf_put(&b, json, n);
    }

    fcc_buf_lit(&b, "]");

    ngx_http_fcchat_api_page_cursors(api, &b, answer, first, last);

    fcc_buf_lit(&b, "}");

    return ngx_http_fcchat_api_send(api, &b);
}


/* those that fit: the newest of them, or for "after" the oldest */

static ngx_int_t
ngx_http_fcchat_api_page_bounds(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer, ngx_uint_t *first,
    ngx_uint_t *last, size_t *size)
{
    size_t      n;
    u_char     *json;
    ngx_uint_t  i, k;

    *first = 0;
    *last = answer->n;
    *size = FCC_PROTO_OVERHEAD + 2 * NGX_HTTP_FCCHAT_API_CURSOR
            + FCC_PROTO_EXPANSION * FCC_ROOM_NAME_MAX;

    for (k = 0; k < answer->n; k++) {
        i = (api->after >= 0) ? k : answer->n - 1 - k;

        ngx_http_fcchat_room_author(api->ctx.room, &answer->events[i]);

        n = ngx_http_fcchat_history_event(api->ctx.room, &answer->events[i],
                                          &json);
        if (n == 0) {
            return NGX_ERROR;
        }

        if (k && *size + n + 1 > NGX_HTTP_FCCHAT_API_PAGE) {
            break;
        }

        *size += n + 1;
    }

    if (api->after >= 0) {
        *last = k;

    } else {
        *first = answer->n - k;
    }

    return NGX_OK;
}


static void
ngx_http_fcchat_api_page_cursors(ngx_http_fcchat_api_t *api, fcc_buf_t *b,
    ngx_http_fcchat_store_answer_t *answer, ngx_uint_t first,
    ngx_uint_t last)
{
    int64_t  prev, next;

    prev = 0;
    next = -1;

    if (first < last) {
        prev = answer->events[first].seq;
        next = answer->events[last - 1].seq;

    } else if (api->after >= 0) {
        prev = ngx_min(api->after, answer->room.head) + 1;
    }

    /* with nothing before it */

    if (prev <= 1
        || (api->after < 0 && first == 0
            && (int64_t) answer->n < api->limit))
    {
        prev = 0;
    }

    fcc_buf_lit(b, ",\"prev\":");
    ngx_http_fcchat_api_cursor(api, b, prev ? "before" : NULL, prev);

    fcc_buf_lit(b, ",\"next\":");
    ngx_http_fcchat_api_cursor(api, b,
                               (next >= 0 && next < answer->room.head)
                               ? "after" : NULL, next);
}


/* a reference relative to the request's URL; key NULL: there is none */

static void
ngx_http_fcchat_api_cursor(ngx_http_fcchat_api_t *api, fcc_buf_t *b,
    const char *key, int64_t seq)
{
    u_char  *p;
    u_char   text[NGX_HTTP_FCCHAT_API_CURSOR];

    if (key == NULL) {
        fcc_buf_lit(b, "null");
        return;
    }

    p = ngx_snprintf(text, sizeof(text), "?%s=%L&limit=%L", key, seq,
                     api->limit);

    fcc_json_string(b, text, p - text);
}


static ngx_int_t
ngx_http_fcchat_api_event(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer)
{
    size_t      n;
    u_char     *json, *p;
    fcc_buf_t   b;

    if (answer->n == 0
        || (api->path.resource == FCC_API_EVENT
            && answer->events[0].seq != api->path.number))
    {
        return ngx_http_fcchat_api_refuse(api, NGX_HTTP_NOT_FOUND,
                                          "not_found",
                                          "There is no such message.", -1);
    }

    ngx_http_fcchat_room_author(api->ctx.room, &answer->events[0]);

    n = ngx_http_fcchat_history_event(api->ctx.room, &answer->events[0],
                                      &json);
    if (n == 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_pnalloc(api->ctx.request->pool, n);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fcc_buf_init(&b, p, n);
    fcc_buf_put(&b, json, n);

    return ngx_http_fcchat_api_send(api, &b);
}


static ngx_int_t
ngx_http_fcchat_api_state(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer)
{
    size_t                    pins;
    int64_t                   head;
    fcc_buf_t                 b, p;
    ngx_str_t                 epoch;
    ngx_http_fcchat_rules_t  *rules;

    rules = api->ctx.room->rules;
    pins = rules ? ngx_http_fcchat_rules_pins_size(rules) : 0;

    if (ngx_http_fcchat_api_begin(api, &b,
                                  FCC_PROTO_OVERHEAD + pins
                                  + FCC_PROTO_EXPANSION * FCC_ROOM_NAME_MAX)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    head = 0;
    ngx_str_set(&epoch, "");

    if (answer->n) {
        head = answer->heads[0].head;
        epoch = answer->heads[0].epoch;
    }

    fcc_buf_lit(&b, ",\"active\":true,\"epoch\":");
    fcc_json_string(&b, epoch.data, epoch.len);
    fcc_buf_lit(&b, ",\"head\":");
    fcc_json_int(&b, head);
    fcc_buf_lit(&b, ",\"modes\":{\"slow\":");
    fcc_json_int(&b, ngx_http_fcchat_room_slow(api->ctx.room));
    fcc_buf_lit(&b, "},\"pins\":[");

    if (pins) {

        /* which begin a text of their own */

        fcc_buf_init(&p, b.pos, b.end - b.pos);
        ngx_http_fcchat_rules_pins(rules, &p, ngx_http_fcchat_rules_now());

        b.pos = p.pos;
        b.full |= p.full;
    }

    fcc_buf_lit(&b, "],\"viewers\":");
    fcc_json_int(&b, ngx_http_fcchat_room_viewers(api->ctx.room));
    fcc_buf_lit(&b, "}");

    return ngx_http_fcchat_api_send(api, &b);
}


static ngx_int_t
ngx_http_fcchat_api_viewers(ngx_http_fcchat_api_t *api)
{
    fcc_buf_t  b;

    if (ngx_http_fcchat_api_begin(api, &b,
                                  FCC_PROTO_OVERHEAD
                                  + FCC_PROTO_EXPANSION * FCC_ROOM_NAME_MAX)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fcc_buf_lit(&b, ",\"viewers\":");
    fcc_json_int(&b, ngx_http_fcchat_room_viewers(api->ctx.room));
    fcc_buf_lit(&b, "}");

    return ngx_http_fcchat_api_send(api, &b);
}


/*
 * Totals may take PostgreSQL a second, on a connection that handshakes need:
 * there is one such question of a worker at a time, and it goes on when its
 * client is gone.
 */

static ngx_int_t
ngx_http_fcchat_api_totals_ask(ngx_http_fcchat_api_t *api)
{
    ngx_http_fcchat_room_t    *room;
    ngx_http_fcchat_worker_t  *worker;

    room = api->ctx.room;
    worker = api->ctx.worker;

    if (room->stream_id == 0) {
        return ngx_http_fcchat_api_totals(api, NULL, 0);
    }

    if (worker->totalling
        || ngx_http_fcchat_store_totals(room->hub->store, &room->schema,
               room->stream_id, api->from, api->to,
               NGX_HTTP_FCCHAT_API_TOTALS + 1,
               ngx_http_fcchat_api_totals_answered, worker)
           == NULL)
    {
        return ngx_http_fcchat_api_unavailable(api);
    }

    worker->totalling = 1;
    worker->totals = api;

    return ngx_http_fcchat_entry_wait(&api->ctx);
}


void
ngx_http_fcchat_api_totals_forget(ngx_http_fcchat_api_t *api)
{
    if (api->ctx.worker->totals == api) {
        api->ctx.worker->totals = NULL;
    }
}


static void
ngx_http_fcchat_api_totals_answered(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_int_t                  rc;
    ngx_http_fcchat_api_t     *api;
    ngx_http_fcchat_worker_t  *worker;

    worker = data;
    api = worker->totals;

    worker->totalling = 0;
    worker->totals = NULL;

    if (api == NULL) {
        return;
    }

    rc = (answer->rc == NGX_HTTP_FCCHAT_STORE_OK)
         ? ngx_http_fcchat_api_totals(api, answer->totals, answer->n)
         : ngx_http_fcchat_api_unavailable(api);

    ngx_http_fcchat_entry_finish(&api->ctx, rc);
}


static ngx_int_t
ngx_http_fcchat_api_totals(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_total_t *totals, ngx_uint_t n)
{
    int64_t     next;
    u_char     *p;
    fcc_buf_t   b;
    ngx_uint_t  i;
    u_char      text[NGX_HTTP_FCCHAT_API_CURSOR];

    next = 0;

    if (n > NGX_HTTP_FCCHAT_API_TOTALS) {

        /* the last minute may not be whole */

        next = totals[n - 1].minute;

        while (n && totals[n - 1].minute == next) {
            n--;
        }
    }

    if (ngx_http_fcchat_api_begin(api, &b,
                                  FCC_PROTO_OVERHEAD
                                  + FCC_PROTO_EXPANSION * FCC_ROOM_NAME_MAX
                                  + n * NGX_HTTP_FCCHAT_API_TOTAL)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fcc_buf_lit(&b, ",\"from\":\"");
    fcc_proto_time(&b, api->from);
    fcc_buf_lit(&b, "\",\"to\":\"");
    fcc_proto_time(&b, next ? next : api->to);
    fcc_buf_lit(&b, "\",\"minutes\":[");

    for (i = 0; i < n; i++) {

        if (i == 0 || totals[i].minute != totals[i - 1].minute) {

            if (i) {
                fcc_buf_lit(&b, "}},");
            }

            fcc_buf_lit(&b, "{\"at\":\"");
            fcc_proto_time(&b, totals[i].minute);
            fcc_buf_lit(&b, "\",\"counts\":{\"");

        } else {
            fcc_buf_lit(&b, ",\"");
        }

        fcc_json_int(&b, totals[i].stamp_id);
        fcc_buf_lit(&b, "\":");
        fcc_json_int(&b, totals[i].count);
    }

    if (n) {
        fcc_buf_lit(&b, "}}");
    }

    fcc_buf_lit(&b, "],\"next\":");

    if (next) {
        p = ngx_snprintf(text, sizeof(text), "?from=%L&to=%L", next, api->to);
        fcc_json_string(&b, text, p - text);

    } else {
        fcc_buf_lit(&b, "null");
    }

    fcc_buf_lit(&b, "}");

    return ngx_http_fcchat_api_send(api, &b);
}
