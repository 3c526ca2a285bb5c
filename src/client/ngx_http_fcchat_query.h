
/*
 * The site's own statements, how long its messages are kept, and what a hub is
 * told of its schemas.
 */


#ifndef _NGX_HTTP_FCCHAT_QUERY_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_QUERY_H_INCLUDED_


#include <ngx_http_fcchat_client.h>


char *ngx_http_fcchat_set_query(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

char *ngx_http_fcchat_set_retention(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* each name of fcchat_query is inherited by itself */
void ngx_http_fcchat_merge_queries(ngx_http_fcchat_store_queries_t *conf,
    ngx_http_fcchat_store_queries_t *prev);
ngx_uint_t ngx_http_fcchat_same_queries(ngx_http_fcchat_store_queries_t *a,
    ngx_http_fcchat_store_queries_t *b);

/* tells the hub the location's schema, or the tenants' table, unless each
 * request has its own */
ngx_int_t ngx_http_fcchat_conf_schema(ngx_conf_t *cf,
    ngx_http_fcchat_hub_conf_t *hub, ngx_http_fcchat_loc_conf_t *conf);


#endif /* _NGX_HTTP_FCCHAT_QUERY_H_INCLUDED_ */
