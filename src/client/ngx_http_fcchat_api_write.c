
/*
 * What changes a room over the HTTP API.
 */


#include <ngx_http_fcchat_api.h>


static ngx_int_t ngx_http_fcchat_api_moderate(ngx_http_fcchat_api_t *api);
static ngx_int_t ngx_http_fcchat_api_sender(ngx_http_fcchat_api_t *api);
static void ngx_http_fcchat_api_done(void *session,
    ngx_http_fcchat_outcome_t *o);
static ngx_int_t ngx_http_fcchat_api_outcome(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_outcome_t *o);
static ngx_uint_t ngx_http_fcchat_api_status(const char *code);


ngx_int_t
ngx_http_fcchat_api_write(ngx_http_fcchat_api_t *api)
{
    ngx_int_t  rc;

    if (ngx_http_fcchat_api_sender(api) != NGX_OK) {
        return ngx_http_fcchat_api_unavailable(api);
    }

    if (api->path.resource == FCC_API_MODERATION) {
        return ngx_http_fcchat_api_moderate(api);
    }

    rc = ngx_http_fcchat_publish(api->ctx.room, &api->cmd.cid, &api->cmd.text,
                                 api->sender);

    return (rc == NGX_OK) ? ngx_http_fcchat_entry_wait(&api->ctx)
                          : ngx_http_fcchat_api_unavailable(api);
}


static ngx_int_t
ngx_http_fcchat_api_moderate(ngx_http_fcchat_api_t *api)
{
    ngx_int_t                  rc;
    ngx_http_fcchat_ctx_t     *ctx;
    ngx_http_fcchat_author_t   author;

    ctx = &api->ctx;

    rc = ngx_http_fcchat_api_moderator(api, &author);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_fcchat_moderate(ctx->room, &author, &api->cmd.mod,
                                  &api->cmd.cid, api->sender);

    if (rc == NGX_DECLINED) {
        return ctx->decline(ctx, NGX_HTTP_BAD_REQUEST,
                            "The time of \"until\" is over.");
    }

    return (rc == NGX_OK) ? ngx_http_fcchat_entry_wait(ctx)
                          : ngx_http_fcchat_api_unavailable(api);
}


ngx_int_t
ngx_http_fcchat_api_moderator(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_author_t *author)
{
    ngx_http_fcchat_ctx_t  *ctx;

    ctx = &api->ctx;

    author->id = ctx->user.id;
    author->username.len = ctx->user.len;
    author->username.data = ctx->user.username;

    ngx_http_fcchat_room_role(ctx->room, author->id, ctx->user.staff,
                              &author->role);

    if (ctx->server) {
        return NGX_DECLINED;
    }

    if (author->id == 0) {
        return ctx->decline(ctx, NGX_HTTP_UNAUTHORIZED, "no valid session");
    }

    if (ngx_strcmp(author->role.data, "member") == 0) {
        return ctx->decline(ctx, NGX_HTTP_FORBIDDEN, "You may not do that.");
    }

    return NGX_DECLINED;
}


/* what the request is known by to those who decide after it may be gone */

static ngx_int_t
ngx_http_fcchat_api_sender(ngx_http_fcchat_api_t *api)
{
    api->sender = ngx_alloc(sizeof(ngx_http_fcchat_sender_t),
                            api->ctx.request->connection->log);
    if (api->sender == NULL) {
        return NGX_ERROR;
    }

    api->sender->refs = 1;
    api->sender->session = api;
    api->sender->done = ngx_http_fcchat_api_done;

    return NGX_OK;
}


static void
ngx_http_fcchat_api_done(void *session, ngx_http_fcchat_outcome_t *o)
{
    ngx_http_fcchat_api_t *api = session;

    ngx_http_fcchat_entry_finish(&api->ctx,
                                 ngx_http_fcchat_api_outcome(api, o));
}


static ngx_int_t
ngx_http_fcchat_api_outcome(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_outcome_t *o)
{
    u_char     *p;
    fcc_buf_t   b;
    fcc_str_t   cid;

    if (o->code) {
        return ngx_http_fcchat_api_refuse(api,
                                          ngx_http_fcchat_api_status(o->code),
                                          o->code, o->text, o->retry_after);
    }

    cid.len = o->cid.len;
    cid.data = o->cid.data;

    p = ngx_pnalloc(api->ctx.request->pool,
                    FCC_PROTO_OVERHEAD + FCC_PROTO_EXPANSION * cid.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fcc_buf_init(&b, p, FCC_PROTO_OVERHEAD + FCC_PROTO_EXPANSION * cid.len);
    fcc_proto_v1_ack(&b, &cid, o->seq, o->id);

    return ngx_http_fcchat_api_send(api, &b);
}


/* of the codes that a change of a room can end with */

static ngx_uint_t
ngx_http_fcchat_api_status(const char *code)
{
    ngx_uint_t  i;

    static const struct {
        const char  *code;
        ngx_uint_t   status;
    } statuses[] = {
        { "bad_request", NGX_HTTP_BAD_REQUEST },
        { "forbidden", NGX_HTTP_FORBIDDEN },
        { "not_allowed", NGX_HTTP_FORBIDDEN },
        { "not_found", NGX_HTTP_NOT_FOUND },
        { "room_gone", NGX_HTTP_NOT_FOUND },
        { "rejected", NGX_HTTP_CONFLICT },
        { "too_many", NGX_HTTP_CONFLICT },
        { NULL, NGX_HTTP_SERVICE_UNAVAILABLE }
    };

    for (i = 0; statuses[i].code; i++) {
        if (ngx_strcmp(statuses[i].code, code) == 0) {
            break;
        }
    }

    return statuses[i].status;
}
