
/*
 * Directives that need more than nginx's stock setters, and the sharing of
 * hubs: two locations with the same PostgreSQL, statements, Redis and prefix
 * have one.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>
#include <ngx_http_fcchat_query.h>


#define NGX_HTTP_FCCHAT_CONNECTIONS_MAX  64
#define NGX_HTTP_FCCHAT_DB_MAX           65535      /* databases of Redis */


static char *ngx_http_fcchat_explain(char *rv, char *text);
static ngx_uint_t ngx_http_fcchat_same_redis(ngx_array_t *a, ngx_array_t *b);
static ngx_uint_t ngx_http_fcchat_same_seal(fcc_seal_t *a, fcc_seal_t *b);
static ngx_uint_t ngx_http_fcchat_same_str(ngx_str_t *a, ngx_str_t *b);


char *
ngx_http_fcchat_set_msec_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_fcchat_explain(ngx_conf_set_msec_slot(cf, cmd, conf),
                                   "must have a time as \"30s\"");
}


char *
ngx_http_fcchat_set_sec_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_fcchat_explain(ngx_conf_set_sec_slot(cf, cmd, conf),
                                   "must have a time as \"30s\"");
}


char *
ngx_http_fcchat_set_size_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_fcchat_explain(ngx_conf_set_size_slot(cf, cmd, conf),
                                   "must have a size as \"256k\"");
}


char *
ngx_http_fcchat_set_num_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_fcchat_explain(ngx_conf_set_num_slot(cf, cmd, conf),
                                   "must have a number");
}


char *
ngx_http_fcchat_check_time(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *time = data;

    return *time ? NGX_CONF_OK : "must have a time above zero";
}


/* instead of the bare "invalid value" or "invalid number" */

static char *
ngx_http_fcchat_explain(char *rv, char *text)
{
    if (rv == NGX_CONF_OK || rv == NGX_CONF_ERROR
        || ngx_strncmp(rv, "invalid ", 8) != 0)
    {
        return rv;
    }

    return text;
}


char *
ngx_http_fcchat_set_enum_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    u_char           *p, *last;
    ngx_str_t        *value;
    ngx_uint_t        i, *np;
    ngx_conf_enum_t  *e;
    u_char            list[NGX_MAX_CONF_ERRSTR / 2];

    np = (ngx_uint_t *) ((char *) conf + cmd->offset);

    if (*np != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    e = cmd->post;

    p = list;
    last = list + sizeof(list);

    for (i = 0; e[i].name.len != 0; i++) {

        if (ngx_strcmp(e[i].name.data, value[1].data) == 0) {
            *np = e[i].value;
            return NGX_CONF_OK;
        }

        p = ngx_slprintf(p, last, "%s\"%V\"", i ? " or " : "", &e[i].name);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\" directive, "
                       "it must be %*s", &value[1], &cmd->name,
                       (size_t) (p - list), list);

    return NGX_CONF_ERROR;
}


char *
ngx_http_fcchat_set_service(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    ngx_str_t                    *value;
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_fcchat_main_conf_t  *cmcf;

    if (lcf->service) {
        return "is duplicate";
    }

    lcf->service = (uintptr_t) cmd->post;

    if (cf->args->nelts == 2) {
        value = cf->args->elts;

        if (ngx_strcmp(value[1].data, "any") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", there is \"any\"",
                               &value[1]);
            return NGX_CONF_ERROR;
        }

        lcf->status_any = 1;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fcchat_module);
    cmcf->used++;

    if (lcf->service == NGX_HTTP_FCCHAT_STATUS) {
        cmcf->status++;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_fcchat_handler;

    return NGX_CONF_OK;
}


char *
ngx_http_fcchat_set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_main_conf_t *cmcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (cmcf->zone_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\", "
                           "it must be a size as \"16m\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (size < (ssize_t) (16 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone size \"%V\" is too small, "
                           "it must be at least %uzk", &value[1],
                           16 * ngx_pagesize / 1024);
        return NGX_CONF_ERROR;
    }

    cmcf->zone_size = size;

    return NGX_CONF_OK;
}


char *
ngx_http_fcchat_set_postgres(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    char                       *rv;
    ngx_int_t                   n;
    ngx_str_t                  *value, s;
    ngx_uint_t                  i;
    ngx_http_fcchat_pg_conf_t  *pg;

    if (lcf->pg != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    pg = ngx_pcalloc(cf->pool, sizeof(ngx_http_fcchat_pg_conf_t));
    if (pg == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    pg->conninfo = value[1];
    pg->connections = 2;
    pg->timeout = 5000;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "connections=", 12) == 0) {

            n = ngx_atoi(value[i].data + 12, value[i].len - 12);

            if (n == NGX_ERROR || n < 1
                || n > NGX_HTTP_FCCHAT_CONNECTIONS_MAX)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\", the number must "
                                   "be from 1 to %d", &value[i],
                                   NGX_HTTP_FCCHAT_CONNECTIONS_MAX);
                return NGX_CONF_ERROR;
            }

            pg->connections = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "timeout=", 8) == 0) {

            s.len = value[i].len - 8;
            s.data = value[i].data + 8;

            n = ngx_parse_time(&s, 0);

            if (n == NGX_ERROR || n == 0) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\", it must be "
                                   "a time as \"timeout=5s\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            pg->timeout = n;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it must be "
                           "\"connections=N\" or \"timeout=T\"", &value[i]);
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_fcchat_pg_conf(cf, pg);

    if (rv != NGX_CONF_OK) {

        if (rv != NGX_CONF_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid connection string: %s", rv);
        }

        return NGX_CONF_ERROR;
    }

    lcf->pg = pg;

    return NGX_CONF_OK;
}


char *
ngx_http_fcchat_set_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    char                          *rv;
    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_http_fcchat_redis_conf_t  *redis;

    if (lcf->redis != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        lcf->redis = NULL;
        return NGX_CONF_OK;
    }

    lcf->redis = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                  sizeof(ngx_http_fcchat_redis_conf_t));
    if (lcf->redis == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        redis = ngx_array_push(lcf->redis);
        if (redis == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(redis, sizeof(ngx_http_fcchat_redis_conf_t));

        rv = ngx_http_fcchat_redis_conf(cf, &value[i], redis);

        if (rv == NGX_CONF_OK) {
            continue;
        }

        if (rv != NGX_CONF_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid Redis URL in argument %ui: %s", i, rv);
        }

        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_fcchat_set_tenant(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    if (lcf->domain != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "domain") == 0) {
        lcf->domain = 1;
        lcf->tenant = NULL;
        return NGX_CONF_OK;
    }

    lcf->domain = 0;

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


char *
ngx_http_fcchat_set_tables(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    if (lcf->tables != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lcf->tables = ngx_http_fcchat_store_tenant_sql(cf->pool, &value[1],
                                                   &value[2]);
    lcf->tenants = ngx_http_fcchat_store_tenants_sql(cf->pool, &value[2]);

    if (lcf->tables == NULL || lcf->tenants == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid names of tables \"%V\" and \"%V\", each "
                           "must be \"name\" or \"schema.name\" of letters, "
                           "digits and \"_\"", &value[1], &value[2]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* redis://...[/N] or unix:/path, and "db=N" */

char *
ngx_http_fcchat_set_session_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    char       *rv;
    u_char     *p;
    ngx_int_t   db;
    ngx_str_t  *value, url;

    if (lcf->store != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    lcf->store = ngx_pcalloc(cf->pool, sizeof(ngx_http_fcchat_cache_conf_t));
    if (lcf->store == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    url = value[1];
    db = 0;

    if (cf->args->nelts == 3) {
        db = (ngx_strncmp(value[2].data, "db=", 3) == 0)
             ? ngx_atoi(value[2].data + 3, value[2].len - 3) : NGX_ERROR;

    } else if (url.len > 8 && ngx_strncmp(url.data, "redis://", 8) == 0) {

        /* as Django has it in LOCATION */

        p = ngx_strlchr(url.data + 8, url.data + url.len, '/');

        if (p && p + 1 < url.data + url.len) {
            db = ngx_atoi(p + 1, url.data + url.len - p - 1);
            url.len = p - url.data;
        }
    }

    if (db == NGX_ERROR || db > NGX_HTTP_FCCHAT_DB_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of a database, \"/1\" behind the "
                           "URL or \"db=1\" is right, up to %d",
                           NGX_HTTP_FCCHAT_DB_MAX);
        return NGX_CONF_ERROR;
    }

    lcf->store->db = db;

    rv = ngx_http_fcchat_redis_conf(cf, &url, &lcf->store->redis);

    if (rv != NGX_CONF_OK && rv != NGX_CONF_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid Redis URL in argument 1: %s", rv);
        return NGX_CONF_ERROR;
    }

    return rv;
}


char *
ngx_http_fcchat_set_backends(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    ngx_str_t   *value, *backend;
    ngx_uint_t   i;

    if (lcf->backends != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "any") == 0) {
        lcf->backends = NULL;
        return NGX_CONF_OK;
    }

    lcf->backends = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                     sizeof(ngx_str_t));
    if (lcf->backends == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        backend = ngx_array_push(lcf->backends);
        if (backend == NULL) {
            return NGX_CONF_ERROR;
        }

        *backend = value[i];
    }

    return NGX_CONF_OK;
}


char *
ngx_http_fcchat_set_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_fcchat_origin_t  *o;

    if (lcf->origin_set != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    lcf->origin_set = 1;
    lcf->origin_any = 0;
    lcf->origin_same = 0;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "any") == 0) {
            lcf->origin_any = 1;
            continue;
        }

        if (ngx_strcmp(value[i].data, "same") == 0) {
            lcf->origin_same = 1;
            continue;
        }

        if (lcf->origins == NULL) {
            lcf->origins = ngx_array_create(cf->pool, 4,
                                            sizeof(ngx_http_fcchat_origin_t));
            if (lcf->origins == NULL) {
                return NGX_CONF_ERROR;
            }
        }

        o = ngx_array_push(lcf->origins);
        if (o == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(o, sizeof(ngx_http_fcchat_origin_t));

        if (value[i].len > 1 && value[i].data[0] == '.'
            && ngx_strchr(value[i].data, '/') == NULL
            && ngx_strchr(value[i].data, ':') == NULL
            && value[i].data[value[i].len - 1] != '.')
        {
            o->below = value[i];
            continue;
        }

        if (fcc_http_origin_parse(value[i].data, value[i].len, &o->origin)
            != FCC_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid origin \"%V\", it must be \"same\", "
                               "\"any\", \"scheme://host[:port]\" or "
                               "\".domain\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (lcf->origin_any && cf->args->nelts > 2) {
        return "can't have \"any\" beside other values";
    }

    return NGX_CONF_OK;
}


char *
ngx_http_fcchat_set_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_fcchat_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    if (lcf->log != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        lcf->log = NULL;
        return NGX_CONF_OK;
    }

    lcf->log = ngx_conf_open_file(cf->cycle, &value[1]);

    return lcf->log ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_fcchat_conf_hub(ngx_conf_t *cf, ngx_http_fcchat_loc_conf_t *conf)
{
    ngx_uint_t                    i;
    ngx_http_fcchat_pg_conf_t    *pg;
    ngx_http_fcchat_hub_conf_t   *hub;
    ngx_http_fcchat_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fcchat_module);

    hub = cmcf->hubs.elts;

    for (i = 0; i < cmcf->hubs.nelts; i++) {

        pg = hub[i].store.pg;

        if (ngx_http_fcchat_same_str(&pg->conninfo, &conf->pg->conninfo)
            && pg->connections == conf->pg->connections
            && pg->timeout == conf->pg->timeout
            && hub[i].store.retention == conf->retention
            && ngx_http_fcchat_same_queries(hub[i].store.queries,
                                            &conf->queries)
            && ngx_http_fcchat_same_redis(hub[i].redis, conf->redis)
            && ngx_http_fcchat_same_str(&hub[i].prefix, &conf->prefix)
            && ngx_http_fcchat_same_seal(hub[i].seal, conf->seal)
            && ngx_http_fcchat_same_str(&hub[i].media, &conf->media)
            && hub[i].coalesce == conf->coalesce)
        {
            conf->hub = i;

            return (ngx_http_fcchat_conf_schema(cf, &hub[i], conf) == NGX_OK)
                   ? NGX_CONF_OK : NGX_CONF_ERROR;
        }
    }

    hub = ngx_array_push(&cmcf->hubs);
    if (hub == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(hub, sizeof(ngx_http_fcchat_hub_conf_t));

    hub->store.pg = conf->pg;
    hub->store.queries = &conf->queries;
    hub->store.retention = conf->retention;
    hub->redis = conf->redis;
    hub->prefix = conf->prefix;
    hub->seal = conf->seal;
    hub->media = conf->media;
    hub->coalesce = conf->coalesce;

    conf->hub = i;

    return (ngx_http_fcchat_conf_schema(cf, hub, conf) == NGX_OK)
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_fcchat_conf_cache(ngx_conf_t *cf, ngx_http_fcchat_loc_conf_t *conf)
{
    ngx_uint_t                      i;
    ngx_http_fcchat_cache_conf_t  **cache;
    ngx_http_fcchat_main_conf_t    *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fcchat_module);

    cache = cmcf->caches.elts;

    for (i = 0; i < cmcf->caches.nelts; i++) {

        if (cache[i] == conf->store) {
            conf->cache = i;
            return NGX_CONF_OK;
        }
    }

    cache = ngx_array_push(&cmcf->caches);
    if (cache == NULL) {
        return NGX_CONF_ERROR;
    }

    *cache = conf->store;
    conf->cache = i;

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_fcchat_same_redis(ngx_array_t *a, ngx_array_t *b)
{
    ngx_uint_t                     i;
    ngx_http_fcchat_redis_conf_t  *x, *y;

    if (a == b) {
        return 1;
    }

    if (a == NULL || b == NULL || a->nelts != b->nelts) {
        return 0;
    }

    x = a->elts;
    y = b->elts;

    for (i = 0; i < a->nelts; i++) {
        if (!ngx_http_fcchat_same_str(&x[i].url, &y[i].url)
            || !ngx_http_fcchat_same_str(&x[i].user, &y[i].user)
            || !ngx_http_fcchat_same_str(&x[i].password, &y[i].password))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_fcchat_same_seal(fcc_seal_t *a, fcc_seal_t *b)
{
    if (a == b) {
        return 1;
    }

    return a && b && a->n == b->n
           && ngx_memcmp(a->key, b->key, a->n * FCC_SEAL_KEY) == 0;
}


static ngx_uint_t
ngx_http_fcchat_same_str(ngx_str_t *a, ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0);
}


char *
ngx_http_fcchat_conf_salt(ngx_conf_t *cf, ngx_http_fcchat_loc_conf_t *conf)
{
    size_t                         i;
    ngx_str_t                     *backend;
    ngx_uint_t                     n;
    ngx_sha1_t                     sha1;
    ngx_http_fcchat_loc_conf_t   **chat;
    ngx_http_fcchat_main_conf_t   *cmcf;

    /* all that decides whether a cookie is good: then a zone can be shared */

    ngx_sha1_init(&sha1);

    ngx_sha1_update(&sha1, conf->pg->conninfo.data, conf->pg->conninfo.len);

    for (n = 0; n < NGX_HTTP_FCCHAT_STORE_QUERIES; n++) {
        ngx_sha1_update(&sha1, conf->queries.sql[n],
                        ngx_strlen(conf->queries.sql[n]) + 1);
    }

    ngx_sha1_update(&sha1, &conf->engine, sizeof(conf->engine));
    ngx_sha1_update(&sha1, &conf->session_age, sizeof(conf->session_age));

    if (conf->engine == NGX_HTTP_FCCHAT_ENGINE_CACHE) {
        ngx_sha1_update(&sha1, conf->store->redis.url.data,
                        conf->store->redis.url.len);
        ngx_sha1_update(&sha1, &conf->store->db, sizeof(conf->store->db));
        ngx_sha1_update(&sha1, conf->key_prefix.data, conf->key_prefix.len);
        ngx_sha1_update(&sha1, &conf->key_version, sizeof(conf->key_version));
    }

    for (i = 0; i < conf->secrets->n; i++) {
        ngx_sha1_update(&sha1, conf->secrets->key[i].data,
                        conf->secrets->key[i].len);
        ngx_sha1_update(&sha1, "", 1);
    }

    if (conf->backends) {
        backend = conf->backends->elts;

        for (n = 0; n < conf->backends->nelts; n++) {
            ngx_sha1_update(&sha1, backend[n].data, backend[n].len);
            ngx_sha1_update(&sha1, "", 1);
        }
    }

    ngx_sha1_final(conf->salt, &sha1);

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fcchat_module);

    chat = ngx_array_push(&cmcf->chats);
    if (chat == NULL) {
        return NGX_CONF_ERROR;
    }

    *chat = conf;

    return NGX_CONF_OK;
}
