
/*
 * The directives fcchat_query and fcchat_retention, and what a hub is told of a
 * location: the site's own statements, and its schema where the configuration
 * names it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_query.h>


#define NGX_HTTP_FCCHAT_RETENTION_MIN  60       /* s */


/* a statement of the level itself, though it has no text */
static const char  ngx_http_fcchat_query_default[] = "";


static void ngx_http_fcchat_query_unknown(ngx_conf_t *cf, ngx_str_t *name);
static ngx_int_t ngx_http_fcchat_conf_tenants(ngx_conf_t *cf,
    ngx_http_fcchat_hub_conf_t *hub, ngx_http_fcchat_loc_conf_t *conf);


char *
ngx_http_fcchat_set_query(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    u_char     *p;
    ngx_int_t   n;
    ngx_str_t  *value;
    u_char      text[128];

    value = cf->args->elts;

    n = ngx_http_fcchat_store_query_find(&value[1]);

    if (n == NGX_ERROR) {
        ngx_http_fcchat_query_unknown(cf, &value[1]);
        return NGX_CONF_ERROR;
    }

    if (lcf->queries.sql[n] != NGX_CONF_UNSET_PTR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "query \"%V\" is duplicate", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (ngx_strcmp(value[2].data, "default") == 0) {
        lcf->queries.sql[n] = ngx_http_fcchat_query_default;
        return NGX_CONF_OK;
    }

    p = ngx_http_fcchat_store_query_wrong(n, &value[2], text,
                                          text + sizeof(text));
    if (p) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "query \"%V\" %*s",
                           &value[1], (size_t) (p - text), text);
        return NGX_CONF_ERROR;
    }

    /* a value of the configuration ends with a NUL */

    lcf->queries.sql[n] = (const char *) value[2].data;

    return NGX_CONF_OK;
}


static void
ngx_http_fcchat_query_unknown(ngx_conf_t *cf, ngx_str_t *name)
{
    u_char      *p, *last;
    ngx_uint_t   n;
    u_char       list[128];

    p = list;
    last = list + sizeof(list);

    for (n = 0; n < NGX_HTTP_FCCHAT_STORE_QUERIES; n++) {
        p = ngx_slprintf(p, last, "%s\"%V\"", n ? " or " : "",
                         ngx_http_fcchat_store_query_name(n));
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown query \"%V\", it must be %*s", name,
                       (size_t) (p - list), list);
}


void
ngx_http_fcchat_merge_queries(ngx_http_fcchat_store_queries_t *conf,
    ngx_http_fcchat_store_queries_t *prev)
{
    ngx_uint_t  n;

    for (n = 0; n < NGX_HTTP_FCCHAT_STORE_QUERIES; n++) {
        ngx_conf_merge_ptr_value(conf->sql[n], prev->sql[n],
                                 ngx_http_fcchat_query_default);
    }
}


ngx_uint_t
ngx_http_fcchat_same_queries(ngx_http_fcchat_store_queries_t *a,
    ngx_http_fcchat_store_queries_t *b)
{
    ngx_uint_t  n;

    for (n = 0; n < NGX_HTTP_FCCHAT_STORE_QUERIES; n++) {
        if (ngx_strcmp(a->sql[n], b->sql[n]) != 0) {
            return 0;
        }
    }

    return 1;
}


char *
ngx_http_fcchat_set_retention(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    if (lcf->retention != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        lcf->retention = 0;
        return NGX_CONF_OK;
    }

    lcf->retention = ngx_parse_time(&value[1], 1);

    if (lcf->retention == (time_t) NGX_ERROR
        || lcf->retention < NGX_HTTP_FCCHAT_RETENTION_MIN)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\", it must be \"off\" or as "
                           "\"30d\", at least \"1m\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_fcchat_conf_schema(ngx_conf_t *cf, ngx_http_fcchat_hub_conf_t *hub,
    ngx_http_fcchat_loc_conf_t *conf)
{
    ngx_str_t   *schema, *known;
    ngx_uint_t   i;

    static ngx_str_t  public = ngx_string("public");

    if (conf->domain) {
        return ngx_http_fcchat_conf_tenants(cf, hub, conf);
    }

    if (conf->tenant && conf->tenant->lengths) {
        return NGX_OK;
    }

    schema = conf->tenant ? &conf->tenant->value : &public;

    if (hub->store.schemas == NULL) {
        hub->store.schemas = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));

        if (hub->store.schemas == NULL) {
            return NGX_ERROR;
        }
    }

    known = hub->store.schemas->elts;

    for (i = 0; i < hub->store.schemas->nelts; i++) {
        if (known[i].len == schema->len
            && ngx_memcmp(known[i].data, schema->data, schema->len) == 0)
        {
            return NGX_OK;
        }
    }

    known = ngx_array_push(hub->store.schemas);
    if (known == NULL) {
        return NGX_ERROR;
    }

    *known = *schema;

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_conf_tenants(ngx_conf_t *cf, ngx_http_fcchat_hub_conf_t *hub,
    ngx_http_fcchat_loc_conf_t *conf)
{
    ngx_uint_t    i;
    const char  **sql;

    if (hub->store.tenants == NULL) {
        hub->store.tenants = ngx_array_create(cf->pool, 1,
                                              sizeof(const char *));
        if (hub->store.tenants == NULL) {
            return NGX_ERROR;
        }
    }

    sql = hub->store.tenants->elts;

    for (i = 0; i < hub->store.tenants->nelts; i++) {
        if (ngx_strcmp(sql[i], conf->tenants) == 0) {
            return NGX_OK;
        }
    }

    sql = ngx_array_push(hub->store.tenants);
    if (sql == NULL) {
        return NGX_ERROR;
    }

    *sql = conf->tenants;

    return NGX_OK;
}
