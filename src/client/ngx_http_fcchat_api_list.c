
/*
 * What only moderators read over the HTTP API: who is banned, and the audit.
 *
 * Who may is decided twice, as for what they do: by what the worker knows of
 * the room, and with the rows themselves by the database.
 */


#include <ngx_http_fcchat_api.h>


static void ngx_http_fcchat_api_list_answered(void *data,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_int_t ngx_http_fcchat_api_list_page(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer);
static ngx_uint_t ngx_http_fcchat_api_list_fit(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer, size_t *size);


ngx_int_t
ngx_http_fcchat_api_list(ngx_http_fcchat_api_t *api)
{
    int64_t                    room_id, before;
    ngx_int_t                  rc;
    ngx_uint_t                 limit;
    ngx_http_fcchat_room_t    *room;
    ngx_http_fcchat_store_t   *store;
    ngx_http_fcchat_author_t   author;

    rc = ngx_http_fcchat_api_moderator(api, &author);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    room = api->ctx.room;
    store = room->hub->store;

    room_id = api->tenant ? 0 : room->id;
    before = (api->before >= 0) ? api->before : FCC_API_NUMBER_MAX;

    /* with the one that tells that there are more */

    limit = api->limit + 1;

    if (api->path.resource == FCC_API_BANS) {
        api->ask = ngx_http_fcchat_store_bans(store, &room->schema, room_id,
                       author.id, before, limit,
                       ngx_http_fcchat_api_list_answered, api);

    } else {
        api->ask = ngx_http_fcchat_store_audit(store, &room->schema, room_id,
                       author.id, before, limit,
                       ngx_http_fcchat_api_list_answered, api);
    }

    return api->ask ? ngx_http_fcchat_entry_wait(&api->ctx)
                    : ngx_http_fcchat_api_unavailable(api);
}


static void
ngx_http_fcchat_api_list_answered(void *data,
    ngx_http_fcchat_store_answer_t *answer)
{
    ngx_int_t               rc;
    ngx_http_fcchat_api_t  *api;

    api = data;
    api->ask = NULL;

    switch (answer->rc) {

    case NGX_HTTP_FCCHAT_STORE_OK:
        rc = ngx_http_fcchat_api_list_page(api, answer);
        break;

    case NGX_HTTP_FCCHAT_STORE_FORBIDDEN:
        rc = api->ctx.decline(&api->ctx, NGX_HTTP_FORBIDDEN,
                              "You may not see that.");
        break;

    default:
        rc = ngx_http_fcchat_api_unavailable(api);
        break;
    }

    ngx_http_fcchat_entry_finish(&api->ctx, rc);
}


static ngx_int_t
ngx_http_fcchat_api_list_page(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer)
{
    u_char      *p;
    size_t       size;
    fcc_buf_t    b;
    ngx_uint_t   i, n;
    u_char       text[NGX_HTTP_FCCHAT_API_CURSOR];

    n = ngx_http_fcchat_api_list_fit(api, answer, &size);

    if (ngx_http_fcchat_api_begin(api, &b, size) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fcc_buf_lit(&b, ",\"scope\":");

    if (api->tenant) {
        fcc_buf_lit(&b, "\"tenant\"");

    } else {
        fcc_buf_lit(&b, "\"room\"");
    }

    if (api->path.resource == FCC_API_BANS) {
        fcc_buf_lit(&b, ",\"bans\":[");

    } else {
        fcc_buf_lit(&b, ",\"audit\":[");
    }

    for (i = 0; i < n; i++) {

        if (i) {
            fcc_buf_lit(&b, ",");
        }

        fcc_proto_entry(&b, &answer->events[i]);
    }

    fcc_buf_lit(&b, "],\"next\":");

    if (n < answer->n) {
        p = ngx_snprintf(text, sizeof(text), "?before=%L&limit=%L%s",
                         answer->events[n - 1].id, api->limit,
                         api->tenant ? "&scope=tenant" : "");
        fcc_json_string(&b, text, p - text);

    } else {
        fcc_buf_lit(&b, "null");
    }

    fcc_buf_lit(&b, "}");

    return ngx_http_fcchat_api_send(api, &b);
}


/* how many of them are the page, one at least, and its bytes at most */

static ngx_uint_t
ngx_http_fcchat_api_list_fit(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_store_answer_t *answer, size_t *size)
{
    size_t      one;
    ngx_uint_t  i, n;

    n = ngx_min(answer->n, (ngx_uint_t) api->limit);

    *size = FCC_PROTO_OVERHEAD
            + FCC_PROTO_EXPANSION * (NGX_HTTP_FCCHAT_API_CURSOR
                                     + FCC_ROOM_NAME_MAX);

    for (i = 0; i < n; i++) {
        ngx_http_fcchat_room_author(api->ctx.room, &answer->events[i]);

        one = fcc_event_size(&answer->events[i]) + 1;

        if (i && *size + one > NGX_HTTP_FCCHAT_API_PAGE) {
            break;
        }

        *size += one;
    }

    return i;
}
