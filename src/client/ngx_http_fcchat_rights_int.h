
/* What the two files about the rights of open sockets share. */


#ifndef _NGX_HTTP_FCCHAT_RIGHTS_INT_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_RIGHTS_INT_H_INCLUDED_


#include <ngx_http_fcchat_rights.h>


#define NGX_HTTP_FCCHAT_CHECK_MAX      512      /* sockets of one question */
#define NGX_HTTP_FCCHAT_CHECK_SLOTS    64       /* questions of an interval */
#define NGX_HTTP_FCCHAT_CHECK_RETRY    1000     /* ms, and up to as much more,
                                                 * when there was no answer */
#define NGX_HTTP_FCCHAT_CHECK_AGAIN    1000     /* ms after an announcement */
#define NGX_HTTP_FCCHAT_CHECK_EARLY    500      /* ms before the time is over */
#define NGX_HTTP_FCCHAT_CHANGES_MAX    256      /* announcements that wait */
#define NGX_HTTP_FCCHAT_CHANGES_TIME   200      /* ms between looks for them */


/* somebody whose rights have changed */

typedef struct {
    ngx_http_fcchat_hub_t          *hub;
    int64_t                         who;        /* a user; < 0: a session */
    size_t                          len;
    u_char                          schema[NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX];
} ngx_http_fcchat_change_t;


struct ngx_http_fcchat_rights_s {
    ngx_http_fcchat_worker_t       *worker;
    ngx_queue_t                     checks;     /* gathering, or asked */
    ngx_event_t                     ask;        /* those that gather go */
    ngx_event_t                     look;       /* for the changes */
    ngx_msec_t                      looked;
    ngx_http_fcchat_change_t       *changes;    /* NULL: there was none yet */
    ngx_uint_t                      nchanges;
    ngx_http_fcchat_seldom_t        many;
};


/* has the wheel come back to check it then */
void ngx_http_fcchat_rights_at(ngx_http_fcchat_session_t *s, ngx_msec_t at);

/* the next of the times at which its key is asked for */
ngx_msec_t ngx_http_fcchat_rights_next(ngx_http_fcchat_session_t *s);

/* the session is asked for with others, at the end of this turn; NGX_ERROR
 * without memory */
ngx_int_t ngx_http_fcchat_check(ngx_http_fcchat_session_t *s);

/* the posted event of rights->ask */
void ngx_http_fcchat_check_handler(ngx_event_t *ev);

void ngx_http_fcchat_checks_destroy(ngx_http_fcchat_rights_t *rights);


#endif /* _NGX_HTTP_FCCHAT_RIGHTS_INT_H_INCLUDED_ */
