
/*
 * The configuration: its values before any directive, how a level inherits
 * them, what a location that serves needs, and the shared zones.
 */


#include <ngx_http_fcchat_client.h>
#include <ngx_http_fcchat_query.h>


#define NGX_HTTP_FCCHAT_ZONE   "fcchat_sessions_2"
#define NGX_HTTP_FCCHAT_RATES  "fcchat_rates_6"
#define NGX_HTTP_FCCHAT_COUNTS "fcchat_connections_1"
#define NGX_HTTP_FCCHAT_RING   "fcchat_presence_1"


static char *ngx_http_fcchat_merge_service(ngx_conf_t *cf,
    ngx_http_fcchat_loc_conf_t *prev, ngx_http_fcchat_loc_conf_t *conf);
static void ngx_http_fcchat_conf_warn(ngx_conf_t *cf,
    ngx_http_fcchat_loc_conf_t *conf, ngx_str_t *name);


/* 5r/s burst=10, 10r/s burst=20 twice, 5r/s burst=100; the interval is in us */

fcc_rate_t  ngx_http_fcchat_rate_default = { 200000, 10 };
fcc_rate_t  ngx_http_fcchat_reaction_rate_default = { 100000, 20 };
fcc_rate_t  ngx_http_fcchat_api_rate_default = { 100000, 20 };
fcc_rate_t  ngx_http_fcchat_often_default = { 200000, 100 };


void *
ngx_http_fcchat_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_fcchat_main_conf_t  *cmcf;

    cmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_fcchat_main_conf_t));
    if (cmcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     cmcf->used = 0;
     *     cmcf->zone = NULL;
     *     cmcf->rates = NULL;
     *     cmcf->counts = NULL;
     *     cmcf->status = 0;
     *     cmcf->stat = NULL;
     *     cmcf->worker = NULL;
     */

    cmcf->zone_size = NGX_CONF_UNSET_SIZE;

    if (ngx_array_init(&cmcf->hubs, cf->pool, 1,
                       sizeof(ngx_http_fcchat_hub_conf_t))
        != NGX_OK
        || ngx_array_init(&cmcf->caches, cf->pool, 1,
                          sizeof(ngx_http_fcchat_cache_conf_t *))
           != NGX_OK
        || ngx_array_init(&cmcf->chats, cf->pool, 4,
                          sizeof(ngx_http_fcchat_loc_conf_t *))
           != NGX_OK)
    {
        return NULL;
    }

    return cmcf;
}


void *
ngx_http_fcchat_create_loc_conf(ngx_conf_t *cf)
{
    ngx_uint_t                   n;
    ngx_http_fcchat_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_fcchat_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->service = 0;
     *     conf->status_any = 0;
     *     conf->hub = 0;
     *     conf->prefix = { 0, NULL };
     *     conf->media = { 0, NULL };
     *     conf->cache = 0;
     *     conf->key_prefix = { 0, NULL };
     *     conf->cookie = { 0, NULL };
     *     conf->csrf_cookie = { 0, NULL };
     *     conf->salt = "";
     *     conf->tenants = NULL;
     *     conf->origins = NULL;
     */

    conf->pg = NGX_CONF_UNSET_PTR;

    for (n = 0; n < NGX_HTTP_FCCHAT_STORE_QUERIES; n++) {
        conf->queries.sql[n] = NGX_CONF_UNSET_PTR;
    }

    conf->redis = NGX_CONF_UNSET_PTR;
    conf->seal = NGX_CONF_UNSET_PTR;
    conf->tenant = NGX_CONF_UNSET_PTR;
    conf->domain = NGX_CONF_UNSET;
    conf->tables = NGX_CONF_UNSET_PTR;
    conf->tenant_cache = NGX_CONF_UNSET_MSEC;
    conf->retention = NGX_CONF_UNSET;
    conf->room = NGX_CONF_UNSET_PTR;
    conf->secrets = NGX_CONF_UNSET_PTR;
    conf->engine = NGX_CONF_UNSET_UINT;
    conf->store = NGX_CONF_UNSET_PTR;
    conf->key_version = NGX_CONF_UNSET_UINT;
    conf->backends = NGX_CONF_UNSET_PTR;
    conf->session_age = NGX_CONF_UNSET;
    conf->session_cache = NGX_CONF_UNSET_MSEC;
    conf->origin_set = NGX_CONF_UNSET;
    conf->origin_any = NGX_CONF_UNSET;
    conf->origin_same = NGX_CONF_UNSET;
    conf->guests = NGX_CONF_UNSET_UINT;
    conf->refuse = NGX_CONF_UNSET_UINT;
    conf->history = NGX_CONF_UNSET_UINT;
    conf->length = NGX_CONF_UNSET_UINT;
    conf->html_escape = NGX_CONF_UNSET;
    conf->deflate = NGX_CONF_UNSET;
    conf->user_max = NGX_CONF_UNSET_UINT;
    conf->addr_max = NGX_CONF_UNSET_UINT;
    conf->presence = NGX_CONF_UNSET;
    conf->rate = NGX_CONF_UNSET_PTR;
    conf->reaction_rate = NGX_CONF_UNSET_PTR;
    conf->api_rate = NGX_CONF_UNSET_PTR;
    conf->api_secrets = NGX_CONF_UNSET_PTR;
    conf->history_rate = NGX_CONF_UNSET_PTR;
    conf->auth_rate = NGX_CONF_UNSET_PTR;
    conf->handshake = NGX_CONF_UNSET_MSEC;
    conf->ping = NGX_CONF_UNSET_MSEC;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->detach = NGX_CONF_UNSET;
    conf->lag = NGX_CONF_UNSET_SIZE;
    conf->coalesce = NGX_CONF_UNSET_MSEC;
    conf->log = NGX_CONF_UNSET_PTR;

    return conf;
}


char *
ngx_http_fcchat_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_fcchat_loc_conf_t *prev = parent;
    ngx_http_fcchat_loc_conf_t *conf = child;

    ngx_conf_merge_ptr_value(conf->pg, prev->pg, NULL);
    ngx_http_fcchat_merge_queries(&conf->queries, &prev->queries);
    ngx_conf_merge_ptr_value(conf->redis, prev->redis, NULL);
    ngx_conf_merge_ptr_value(conf->seal, prev->seal, NULL);
    ngx_conf_merge_str_value(conf->prefix, prev->prefix, "fcchat");
    ngx_conf_merge_str_value(conf->media, prev->media, "/media/");
    ngx_conf_merge_ptr_value(conf->tenant, prev->tenant, NULL);
    ngx_conf_merge_value(conf->domain, prev->domain, 0);

    if (conf->tables == NGX_CONF_UNSET_PTR) {
        conf->tenants = prev->tenants;
    }

    ngx_conf_merge_ptr_value(conf->tables, prev->tables, NULL);
    ngx_conf_merge_msec_value(conf->tenant_cache, prev->tenant_cache, 60000);
    ngx_conf_merge_sec_value(conf->retention, prev->retention, 0);
    ngx_conf_merge_ptr_value(conf->room, prev->room, NULL);
    ngx_conf_merge_ptr_value(conf->secrets, prev->secrets, NULL);
    ngx_conf_merge_uint_value(conf->engine, prev->engine,
                              NGX_HTTP_FCCHAT_ENGINE_DB);
    ngx_conf_merge_ptr_value(conf->store, prev->store, NULL);
    ngx_conf_merge_str_value(conf->key_prefix, prev->key_prefix, "");
    ngx_conf_merge_uint_value(conf->key_version, prev->key_version, 1);
    ngx_conf_merge_str_value(conf->cookie, prev->cookie, "sessionid");
    ngx_conf_merge_sec_value(conf->session_age, prev->session_age, 1209600);
    ngx_conf_merge_msec_value(conf->session_cache, prev->session_cache, 30000);
    ngx_conf_merge_ptr_value(conf->backends, prev->backends, NULL);
    ngx_conf_merge_uint_value(conf->guests, prev->guests, 0);
    ngx_conf_merge_uint_value(conf->refuse, prev->refuse, 0);
    ngx_conf_merge_uint_value(conf->history, prev->history, 0);
    ngx_conf_merge_uint_value(conf->length, prev->length, 500);
    ngx_conf_merge_value(conf->html_escape, prev->html_escape, 1);
    ngx_conf_merge_value(conf->deflate, prev->deflate, 0);
    ngx_conf_merge_uint_value(conf->user_max, prev->user_max,
                              NGX_HTTP_FCCHAT_USER_MAX);
    ngx_conf_merge_uint_value(conf->addr_max, prev->addr_max,
                              NGX_HTTP_FCCHAT_ADDR_MAX);
    if (conf->presence == NGX_CONF_UNSET) {
        conf->presence = prev->presence;
        conf->presence_limit = prev->presence_limit;
        conf->presence_grace = prev->presence_grace;
    }

    if (conf->presence == NGX_CONF_UNSET) {
        conf->presence = 0;
    }

    ngx_conf_merge_ptr_value(conf->rate, prev->rate,
                             &ngx_http_fcchat_rate_default);
    ngx_conf_merge_ptr_value(conf->reaction_rate, prev->reaction_rate,
                             &ngx_http_fcchat_reaction_rate_default);
    ngx_conf_merge_ptr_value(conf->api_rate, prev->api_rate,
                             &ngx_http_fcchat_api_rate_default);
    ngx_conf_merge_ptr_value(conf->api_secrets, prev->api_secrets, NULL);
    ngx_conf_merge_str_value(conf->csrf_cookie, prev->csrf_cookie,
                             "csrftoken");
    ngx_conf_merge_ptr_value(conf->history_rate, prev->history_rate,
                             &ngx_http_fcchat_often_default);
    ngx_conf_merge_ptr_value(conf->auth_rate, prev->auth_rate,
                             &ngx_http_fcchat_often_default);
    ngx_conf_merge_msec_value(conf->handshake, prev->handshake, 10000);
    ngx_conf_merge_msec_value(conf->ping, prev->ping, 25000);
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 60000);
    ngx_conf_merge_value(conf->detach, prev->detach, 1);
    ngx_conf_merge_size_value(conf->lag, prev->lag, 256 * 1024);
    ngx_conf_merge_msec_value(conf->coalesce, prev->coalesce, 0);
    ngx_conf_merge_ptr_value(conf->log, prev->log, NULL);

    if (conf->origin_set == NGX_CONF_UNSET) {
        conf->origin_set = prev->origin_set;
        conf->origin_any = prev->origin_any;
        conf->origin_same = prev->origin_same;
        conf->origins = prev->origins;
    }

    if (conf->origin_set == NGX_CONF_UNSET) {
        conf->origin_any = 0;
        conf->origin_same = 1;
    }

    return ngx_http_fcchat_merge_service(cf, prev, conf);
}


static char *
ngx_http_fcchat_merge_service(ngx_conf_t *cf,
    ngx_http_fcchat_loc_conf_t *prev, ngx_http_fcchat_loc_conf_t *conf)
{
    char                         *name;
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_fcchat_main_conf_t  *cmcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && clcf->handler == NULL && prev->service) {

        /* inside "if" and limit_except: still the same location */

        conf->service = prev->service;
        conf->status_any = prev->status_any;
        clcf->handler = ngx_http_fcchat_handler;
    }

    if (conf->service == 0) {
        return NGX_CONF_OK;
    }

    if (conf->timeout <= conf->ping) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fcchat_timeout\" must be longer than "
                           "\"fcchat_ping\" in location \"%V\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (conf->service != NGX_HTTP_FCCHAT_CHAT
        && conf->service != NGX_HTTP_FCCHAT_API)
    {
        return NGX_CONF_OK;
    }

    name = (conf->service == NGX_HTTP_FCCHAT_API) ? "fcchat_api" : "fcchat";

    if (conf->pg == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" in location \"%V\" needs "
                           "\"fcchat_postgres\"", name, &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (conf->secrets == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" in location \"%V\" needs "
                           "\"fcchat_secret_key_file\"", name, &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (conf->domain && conf->tables == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fcchat_tenant domain\" in location \"%V\" needs "
                           "\"fcchat_tenant_tables\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (conf->engine == NGX_HTTP_FCCHAT_ENGINE_CACHE) {

        if (conf->store == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"fcchat_session_engine cache\" in location "
                               "\"%V\" needs \"fcchat_session_redis\"",
                               &clcf->name);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_fcchat_conf_cache(cf, conf) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_fcchat_conf_salt(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_http_fcchat_conf_warn(cf, conf, &clcf->name);

    if (conf->presence) {
        cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fcchat_module);
        cmcf->presence++;
    }

    return ngx_http_fcchat_conf_hub(cf, conf);
}


/* what may be meant so, but seldom is */

static void
ngx_http_fcchat_conf_warn(ngx_conf_t *cf, ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *name)
{
    if (conf->origin_any) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "with \"fcchat_origin any\" in location \"%V\" a "
                           "page of any site can chat as its visitor", name);
    }

    if (conf->rate == NULL && conf->history_rate == NULL
        && conf->auth_rate == NULL
        && conf->user_max == 0 && conf->addr_max == 0)
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "nothing limits a client in location \"%V\"", name);
    }

    if (conf->pg->remote && !conf->pg->verified) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"fcchat_postgres\" of location \"%V\" leaves this "
                           "machine without \"sslmode=verify-full\": sessions "
                           "and messages can be read and changed on the way",
                           name);
    }

    if (conf->pg->password) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the password in \"fcchat_postgres\" is shown by "
                           "\"nginx -T\": put it into a file and name that "
                           "with \"passfile=\"");
    }
}


ngx_int_t
ngx_http_fcchat_conf_zones(ngx_conf_t *cf)
{
    ngx_str_t                     name;
    ngx_http_fcchat_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_fcchat_module);

    if (cmcf->status) {
        cmcf->stat = ngx_http_fcchat_stat_zone(cf, &ngx_http_fcchat_module);

        if (cmcf->stat == NULL) {
            return NGX_ERROR;
        }
    }

    if (cmcf->hubs.nelts == 0) {
        return NGX_OK;
    }

    if (cmcf->zone_size == NGX_CONF_UNSET_SIZE) {
        cmcf->zone_size = 16 * 1024 * 1024;
    }

    ngx_str_set(&name, NGX_HTTP_FCCHAT_ZONE);

    cmcf->zone = ngx_shared_memory_add(cf, &name, cmcf->zone_size,
                                       &ngx_http_fcchat_module);
    if (cmcf->zone == NULL) {
        return NGX_ERROR;
    }

    cmcf->zone->init = ngx_http_fcchat_cache_init;

    ngx_str_set(&name, NGX_HTTP_FCCHAT_RATES);

    cmcf->rates = ngx_shared_memory_add(cf, &name,
                                        ngx_max(cmcf->zone_size / 4,
                                                8 * ngx_pagesize),
                                        &ngx_http_fcchat_module);
    if (cmcf->rates == NULL) {
        return NGX_ERROR;
    }

    cmcf->rates->init = ngx_http_fcchat_rate_init;

    ngx_str_set(&name, NGX_HTTP_FCCHAT_COUNTS);

    cmcf->counts = ngx_shared_memory_add(cf, &name,
                                         ngx_max(cmcf->zone_size / 4,
                                                 8 * ngx_pagesize),
                                         &ngx_http_fcchat_module);
    if (cmcf->counts == NULL) {
        return NGX_ERROR;
    }

    cmcf->counts->init = ngx_http_fcchat_count_init;

    if (cmcf->presence == 0) {
        return NGX_OK;
    }

    ngx_str_set(&name, NGX_HTTP_FCCHAT_RING);

    cmcf->ring = ngx_shared_memory_add(cf, &name,
                                       ngx_max(cmcf->zone_size / 16,
                                               16 * ngx_pagesize),
                                       &ngx_http_fcchat_module);
    if (cmcf->ring == NULL) {
        return NGX_ERROR;
    }

    cmcf->ring->init = ngx_http_fcchat_ring_init;

    return NGX_OK;
}
