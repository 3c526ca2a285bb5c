
/*
 * Security events: whoever is refused, limited or closed for what it did, in
 * the error log at "warn".  A line says who, from where, to which room and why,
 * never what was sent, nor a cookie.  What a client has chosen is written as a
 * JSON string.
 *
 * Whoever makes many of them must not fill the disk: a worker writes one line a
 * second of each kind, and counts the others.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_AUDIT_MAX  128      /* bytes of a name that are told */


static void ngx_http_fcchat_audit_put(fcc_buf_t *b, const char *name,
    ngx_str_t *value);
static void ngx_http_fcchat_audit_log(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_audit_e kind, ngx_log_t *log, fcc_buf_t *b,
    const char *reason);


void
ngx_http_fcchat_audit_request(ngx_http_request_t *r,
    ngx_http_fcchat_audit_e kind, const char *reason)
{
    fcc_buf_t                     b;
    ngx_str_t                     user;
    ngx_http_fcchat_ctx_t        *ctx;
    ngx_http_fcchat_main_conf_t  *cmcf;
    u_char                        buf[NGX_MAX_ERROR_STR];

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_fcchat_module);

    fcc_buf_init(&b, buf, sizeof(buf));

    ctx = ngx_http_get_module_ctx(r, ngx_http_fcchat_module);

    if (ctx) {
        user.len = ctx->user.len;
        user.data = ctx->user.username;

        ngx_http_fcchat_audit_put(&b, "user", &user);
        ngx_http_fcchat_audit_put(&b, "room", &ctx->name);
        ngx_http_fcchat_audit_put(&b, "origin", &ctx->origin);
    }

    ngx_http_fcchat_audit_put(&b, "address", &r->connection->addr_text);

    ngx_http_fcchat_audit_log(cmcf->worker, kind, r->connection->log, &b,
                              reason);
}


void
ngx_http_fcchat_audit(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_audit_e kind, const char *reason)
{
    fcc_buf_t  b;
    ngx_str_t  origin;
    u_char     buf[NGX_MAX_ERROR_STR];

    origin.len = s->origin_len;
    origin.data = s->addr.data + s->addr.len + s->key_len;

    fcc_buf_init(&b, buf, sizeof(buf));

    ngx_http_fcchat_audit_put(&b, "user", &s->author.username);

    if (s->room) {
        ngx_http_fcchat_audit_put(&b, "room", &s->room->name);
    }

    ngx_http_fcchat_audit_put(&b, "origin", &origin);
    ngx_http_fcchat_audit_put(&b, "address", &s->addr);

    ngx_http_fcchat_audit_log(s->worker, kind, s->member.connection->log, &b,
                              reason);
}


static void
ngx_http_fcchat_audit_put(fcc_buf_t *b, const char *name, ngx_str_t *value)
{
    if (value->len == 0) {
        return;
    }

    fcc_buf_lit(b, ", ");
    fcc_buf_put(b, name, ngx_strlen(name));
    fcc_buf_lit(b, ": ");
    fcc_json_string(b, value->data,
                    ngx_min(value->len, NGX_HTTP_FCCHAT_AUDIT_MAX));
}


/* in a worker without a chat nobody counts, and it refuses all with 503 */

static void
ngx_http_fcchat_audit_log(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_audit_e kind, ngx_log_t *log, fcc_buf_t *b,
    const char *reason)
{
    const char  *end;

    end = worker ? ngx_http_fcchat_net_seldom(&worker->audits[kind], 1) : NULL;

    if (end) {
        ngx_log_error(NGX_LOG_WARN, log, 0, "fcchat security: %s%*s%s",
                      reason, (size_t) (b->pos - b->start), b->start, end);
    }
}
