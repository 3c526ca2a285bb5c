
/* Is the session of an open socket still one, and may its user still chat. */


#ifndef _NGX_HTTP_FCCHAT_RIGHTS_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_RIGHTS_H_INCLUDED_


#include <ngx_http_fcchat_client.h>


/* bytes: a session's key; or a time and a hash, of a signed cookie */
#define NGX_HTTP_FCCHAT_RIGHTS_KEY_MAX  (sizeof(int64_t) + FCC_DJANGO_HASH_MAX)

/* NULL without memory */
ngx_http_fcchat_rights_t *ngx_http_fcchat_rights_create(
    ngx_http_fcchat_worker_t *worker);

/* at exit, when no session is left */
void ngx_http_fcchat_rights_destroy(ngx_http_fcchat_rights_t *rights);

/* what has to be kept to ask again whose session it is; returns its length,
 * at most RIGHTS_KEY_MAX, or 0 when there is nothing to ask for */
size_t ngx_http_fcchat_rights_key(ngx_http_fcchat_ctx_t *ctx, u_char *key);

/* the socket is open, by an answer to what was asked then: it will be
 * checked */
void ngx_http_fcchat_rights_begin(ngx_http_fcchat_session_t *s,
    ngx_msec_t asked);

/* from the wheel: asks, if it is time, and has the wheel come back for it */
void ngx_http_fcchat_rights_due(ngx_http_fcchat_session_t *s);

/* the session is about to be freed while it is asked for */
void ngx_http_fcchat_rights_forget(ngx_http_fcchat_session_t *s);

/* the hub's recheck(): of a user, or with user 0 of a session, now */
void ngx_http_fcchat_rights_recheck(void *data, ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema, int64_t user, ngx_str_t *session);


#endif /* _NGX_HTTP_FCCHAT_RIGHTS_H_INCLUDED_ */
