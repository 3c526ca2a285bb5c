
/*
 * What changes a room over the HTTP API.
 */


#include <ngx_http_fcchat_api.h>


static ngx_int_t ngx_http_fcchat_api_sender(ngx_http_fcchat_api_t *api);
static void ngx_http_fcchat_api_done(void *session,
    ngx_http_fcchat_outcome_t *o);
static ngx_int_t ngx_http_fcchat_api_outcome(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_outcome_t *o);


ngx_int_t
ngx_http_fcchat_api_write(ngx_http_fcchat_api_t *api)
{
    ngx_int_t  rc;

    if (ngx_http_fcchat_api_sender(api) != NGX_OK) {
        return ngx_http_fcchat_api_unavailable(api);
    }

    rc = ngx_http_fcchat_publish(api->ctx.room, &api->cmd.cid, &api->cmd.text,
                                 api->sender);

    return (rc == NGX_OK) ? ngx_http_fcchat_entry_wait(&api->ctx)
                          : ngx_http_fcchat_api_unavailable(api);
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
    u_char      *p;
    fcc_buf_t    b;
    fcc_str_t    cid;
    ngx_uint_t   status;

    if (o->code) {

        if (ngx_strcmp(o->code, "room_gone") == 0) {
            status = NGX_HTTP_NOT_FOUND;

        } else if (ngx_strcmp(o->code, "rejected") == 0) {
            status = NGX_HTTP_CONFLICT;

        } else {
            status = NGX_HTTP_SERVICE_UNAVAILABLE;
        }

        return ngx_http_fcchat_api_refuse(api, status, o->code, o->text,
                                          o->retry_after);
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
