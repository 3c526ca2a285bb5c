
/*
 * What is told of a session: the line of fcchat_log at its end, and variables
 * for log_format.
 *
 * A detached session outlives its request, whose access log line is written at
 * the upgrade; the line here has what that one can't know.  It is JSON, one
 * line a session, in a file that nginx reopens with its others.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_VAR_ROOM      0
#define NGX_HTTP_FCCHAT_VAR_USER      1
#define NGX_HTTP_FCCHAT_VAR_PROTOCOL  2
#define NGX_HTTP_FCCHAT_VAR_MESSAGES  3
#define NGX_HTTP_FCCHAT_VAR_OUT       4
#define NGX_HTTP_FCCHAT_VAR_CLOSE     5


static ngx_int_t ngx_http_fcchat_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_fcchat_vars[] = {

    { ngx_string("fcchat_room"), NULL, ngx_http_fcchat_variable,
      NGX_HTTP_FCCHAT_VAR_ROOM, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fcchat_user"), NULL, ngx_http_fcchat_variable,
      NGX_HTTP_FCCHAT_VAR_USER, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fcchat_protocol"), NULL, ngx_http_fcchat_variable,
      NGX_HTTP_FCCHAT_VAR_PROTOCOL, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fcchat_messages"), NULL, ngx_http_fcchat_variable,
      NGX_HTTP_FCCHAT_VAR_MESSAGES, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fcchat_messages_in"), NULL, ngx_http_fcchat_variable,
      NGX_HTTP_FCCHAT_VAR_MESSAGES, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fcchat_messages_out"), NULL, ngx_http_fcchat_variable,
      NGX_HTTP_FCCHAT_VAR_OUT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("fcchat_close_code"), NULL, ngx_http_fcchat_variable,
      NGX_HTTP_FCCHAT_VAR_CLOSE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_fcchat_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *v, *var;

    for (v = ngx_http_fcchat_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char                 *p;
    uint64_t                n;
    ngx_http_fcchat_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_fcchat_module);

    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->len = 0;
    v->data = (u_char *) "";

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_HTTP_FCCHAT_VAR_ROOM:
        v->len = ctx->name.len;
        v->data = ctx->name.data;
        return NGX_OK;

    case NGX_HTTP_FCCHAT_VAR_USER:
        v->len = ctx->user.len;
        v->data = ctx->user.username;
        return NGX_OK;

    case NGX_HTTP_FCCHAT_VAR_PROTOCOL:
        if (ctx->api) {
            v->len = sizeof("api") - 1;
            v->data = (u_char *) "api";
            return NGX_OK;
        }

        v->len = ctx->v1 ? sizeof("fcchat.v1") - 1 : sizeof("old") - 1;
        v->data = (u_char *) (ctx->v1 ? "fcchat.v1" : "old");
        return NGX_OK;

    case NGX_HTTP_FCCHAT_VAR_MESSAGES:
        n = ctx->session ? ctx->session->messages : ctx->messages;
        break;

    case NGX_HTTP_FCCHAT_VAR_OUT:

        /* known when it has left its room */

        n = ctx->frames;
        break;

    default:
        n = ctx->session ? ctx->session->code : ctx->closed;

        if (n == 0) {
            v->not_found = 1;
            return NGX_OK;
        }

        break;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%uL", n) - p;
    v->data = p;

    return NGX_OK;
}


void
ngx_http_fcchat_session_log(ngx_http_fcchat_session_t *s)
{
    fcc_buf_t                b;
    ngx_msec_t               duration;
    ngx_open_file_t         *file;
    ngx_http_fcchat_room_t  *room;
    u_char                   buf[FCC_PROTO_OVERHEAD * 2
                                 + FCC_PROTO_EXPANSION
                                   * (NGX_HTTP_FCCHAT_USERNAME_MAX
                                      + NGX_SOCKADDR_STRLEN
                                      + NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX
                                      + FCC_ROOM_NAME_MAX)];

    file = s->conf->log;

    if (file == NULL || file->fd == NGX_INVALID_FILE) {
        return;
    }

    room = s->room;
    duration = ngx_current_msec - s->opened;

    fcc_buf_init(&b, buf, sizeof(buf));

    fcc_buf_lit(&b, "{\"time\":");
    fcc_json_string(&b, ngx_cached_http_log_iso8601.data,
                    ngx_cached_http_log_iso8601.len);
    fcc_buf_lit(&b, ",\"addr\":");
    fcc_json_string(&b, s->addr.data, s->addr.len);

    if (room) {
        fcc_buf_lit(&b, ",\"tenant\":");
        fcc_json_string(&b, room->schema.data, room->schema.len);
        fcc_buf_lit(&b, ",\"room\":");
        fcc_json_string(&b, room->name.data, room->name.len);
        fcc_buf_lit(&b, ",\"user\":");
        fcc_json_string(&b, s->author.username.data, s->author.username.len);
    }

    fcc_buf_lit(&b, ",\"protocol\":");

    if (s->echo) {
        fcc_buf_lit(&b, "\"echo\"");

    } else if (s->v1) {
        fcc_buf_lit(&b, "\"fcchat.v1\"");

    } else {
        fcc_buf_lit(&b, "\"old\"");
    }

    fcc_buf_lit(&b, ",\"messages\":");
    fcc_json_int(&b, s->messages);
    fcc_buf_lit(&b, ",\"bytes_in\":");
    fcc_json_int(&b, s->received);
    fcc_buf_lit(&b, ",\"bytes_out\":");
    fcc_json_int(&b, s->member.sent);
    fcc_buf_lit(&b, ",\"duration_ms\":");
    fcc_json_int(&b, duration);
    fcc_buf_lit(&b, ",\"code\":");
    fcc_json_int(&b, s->code);
    fcc_buf_lit(&b, "}\n");

    if (b.full) {
        return;
    }

    /* as the access log does: to a file, which takes it or does not */

    (void) ngx_write_fd(file->fd, b.start, b.pos - b.start);
}
