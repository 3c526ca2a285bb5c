
/*
 * Security events in the error log.
 */


#ifndef _NGX_HTTP_FCCHAT_AUDIT_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_AUDIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* what the log is bounded by: one line a second of each in a worker */

typedef enum {
    NGX_HTTP_FCCHAT_AUDIT_HANDSHAKE = 0,    /* no handshake, or a bad one */
    NGX_HTTP_FCCHAT_AUDIT_ORIGIN,
    NGX_HTTP_FCCHAT_AUDIT_SESSION,          /* none, or not a valid one */
    NGX_HTTP_FCCHAT_AUDIT_FORBIDDEN,        /* a right is missing or was lost */
    NGX_HTTP_FCCHAT_AUDIT_ROOM,             /* that there is not */
    NGX_HTTP_FCCHAT_AUDIT_TOO_MANY,         /* sockets, questions */
    NGX_HTTP_FCCHAT_AUDIT_RATE,             /* messages, reactions, resumes */
    NGX_HTTP_FCCHAT_AUDIT_PROTOCOL,         /* frames that are wrong */
    NGX_HTTP_FCCHAT_AUDIT_UNAVAILABLE,
    NGX_HTTP_FCCHAT_AUDITS
} ngx_http_fcchat_audit_e;

struct ngx_http_fcchat_session_s;

/* logs one: of a handshake, and of a session; reason: short, ASCII, ours */
void ngx_http_fcchat_audit_request(ngx_http_request_t *r,
    ngx_http_fcchat_audit_e kind, const char *reason);
void ngx_http_fcchat_audit(struct ngx_http_fcchat_session_s *s,
    ngx_http_fcchat_audit_e kind, const char *reason);


#endif /* _NGX_HTTP_FCCHAT_AUDIT_H_INCLUDED_ */
