
/*
 * One request of the HTTP API.
 */


#ifndef _NGX_HTTP_FCCHAT_API_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_API_H_INCLUDED_


#include <ngx_http_fcchat_client.h>
#include <fcc_api.h>
#include <fcc_csrf.h>


#define NGX_HTTP_FCCHAT_API_MAX        256      /* under way in a worker */
#define NGX_HTTP_FCCHAT_API_PAGE       (1024 * 1024)    /* bytes of messages */
#define NGX_HTTP_FCCHAT_API_RANGE      86400000LL       /* ms of reactions */
#define NGX_HTTP_FCCHAT_API_CURSOR     128      /* bytes of "?before=..." */
#define NGX_HTTP_FCCHAT_API_TOTALS     10000    /* minutes times stamps */
#define NGX_HTTP_FCCHAT_API_STRANGER   5000     /* ms until the next cookie */


typedef struct ngx_http_fcchat_api_s  ngx_http_fcchat_api_t;

struct ngx_http_fcchat_api_s {
    ngx_http_fcchat_ctx_t           ctx;        /* must be first */
    fcc_api_path_t                  path;

    /* of the query: seqs (0: not given), times in ms */
    int64_t                         before;
    int64_t                         after;
    int64_t                         limit;
    int64_t                         from;
    int64_t                         to;

    fcc_cmd_t                       cmd;        /* what the body says */
    u_char                         *body;
    size_t                          size;
    size_t                          len;

    ngx_http_fcchat_store_ask_t    *ask;
    ngx_http_fcchat_sender_t       *sender;
    unsigned                        counted:1;  /* in worker->asking */
    unsigned                        tenant:1;   /* of the query: "scope" */
};


/* 1 for a method that changes nothing */
#define ngx_http_fcchat_api_safe(r)                                           \
    ((r)->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))


/*
 * Reads the body, up to what one message can have, then goes on with
 * ngx_http_fcchat_api_enter().  Returns what a content handler does.
 */
ngx_int_t ngx_http_fcchat_api_body(ngx_http_fcchat_api_t *api);

/* all that the request says is read: returns what a content handler does */
ngx_int_t ngx_http_fcchat_api_enter(ngx_http_fcchat_api_t *api);

/* what the query says; NGX_OK, or it is refused as below */
ngx_int_t ngx_http_fcchat_api_query(ngx_http_fcchat_api_t *api);

/*
 * ctx->inside() of a read and of a change: asks, and answers later or at once.
 * They return what a content handler does.
 */
ngx_int_t ngx_http_fcchat_api_read(ngx_http_fcchat_api_t *api);
ngx_int_t ngx_http_fcchat_api_write(ngx_http_fcchat_api_t *api);

/* likewise of the bans, and of what moderators did */
ngx_int_t ngx_http_fcchat_api_list(ngx_http_fcchat_api_t *api);

/*
 * Who it is and with which role: NGX_DECLINED for a moderator of the room and
 * for the site's own back end, which is nobody; else the request is answered.
 */
ngx_int_t ngx_http_fcchat_api_moderator(ngx_http_fcchat_api_t *api,
    ngx_http_fcchat_author_t *author);

/* for ctx->worker->totals: nobody waits for it any more */
void ngx_http_fcchat_api_totals_forget(ngx_http_fcchat_api_t *api);


/*
 * Answers.  Each returns what a content handler does, for
 * ngx_http_fcchat_entry_finish() where it runs outside of that.
 */

/* memory in the request's pool for a text, which begins with the room's name */
ngx_int_t ngx_http_fcchat_api_begin(ngx_http_fcchat_api_t *api, fcc_buf_t *b,
    size_t size);

/* b: a JSON text in the request's pool */
ngx_int_t ngx_http_fcchat_api_send(ngx_http_fcchat_api_t *api,
    fcc_buf_t *b);

/* {"error":{"code":...,"message":...}}; retry_after in ms, or -1 */
ngx_int_t ngx_http_fcchat_api_refuse(ngx_http_fcchat_api_t *api,
    ngx_uint_t status, const char *code, const char *text,
    ngx_msec_int_t retry_after);

/* PostgreSQL can't be asked now */
ngx_int_t ngx_http_fcchat_api_unavailable(ngx_http_fcchat_api_t *api);

/* lets go of what the request waited for; idempotent */
void ngx_http_fcchat_api_release(ngx_http_fcchat_api_t *api);


#endif /* _NGX_HTTP_FCCHAT_API_H_INCLUDED_ */
