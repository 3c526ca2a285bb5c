
/*
 * The status location: what all workers count, in three formats.
 */


#ifndef _NGX_HTTP_FCCHAT_STATUS_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_STATUS_H_INCLUDED_


#include <ngx_http_fcchat_client.h>


/* what is told beside the counters; zone_size 0: there is no session cache */

typedef struct {
    ngx_http_fcchat_stat_all_t     *all;
    size_t                          zone_size;  /* bytes */
    size_t                          zone_free;
} ngx_http_fcchat_status_t;


/* bytes that are enough for either of the two below */
size_t ngx_http_fcchat_status_size(ngx_http_fcchat_status_t *st);

/* b->full when the memory was too little */
void ngx_http_fcchat_status_json(fcc_buf_t *b, ngx_http_fcchat_status_t *st);
void ngx_http_fcchat_status_prometheus(fcc_buf_t *b,
    ngx_http_fcchat_status_t *st);

/* the page asks for the JSON by itself */
extern ngx_str_t  ngx_http_fcchat_status_page;


#endif /* _NGX_HTTP_FCCHAT_STATUS_H_INCLUDED_ */
