
/*
 * The fcchat module: directives, configuration, a worker's start and stop.
 *
 * Loaded but unused, it adds variables and nothing else: the shared zone, the
 * connections and the timers come with the first location that serves a chat.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>


#define NGX_HTTP_FCCHAT_ZONE   "fcchat_sessions_1"
#define NGX_HTTP_FCCHAT_RATES  "fcchat_rates_2"
#define NGX_HTTP_FCCHAT_COUNTS "fcchat_connections_1"


static char *ngx_http_fcchat_prefix(ngx_conf_t *cf, void *post, void *data);
static char *ngx_http_fcchat_key_prefix(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_fcchat_lag_bounds(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_fcchat_some_time(ngx_conf_t *cf, void *post, void *data);
static char *ngx_http_fcchat_coalesce_bounds(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_fcchat_token(ngx_conf_t *cf, void *post, void *data);
static void *ngx_http_fcchat_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_fcchat_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_fcchat_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_fcchat_merge_service(ngx_conf_t *cf,
    ngx_http_fcchat_loc_conf_t *prev, ngx_http_fcchat_loc_conf_t *conf);
static ngx_int_t ngx_http_fcchat_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_fcchat_init_process(ngx_cycle_t *cycle);
static void ngx_http_fcchat_exit_process(ngx_cycle_t *cycle);


static ngx_conf_enum_t  ngx_http_fcchat_engines[] = {
    { ngx_string("db"), NGX_HTTP_FCCHAT_ENGINE_DB },
    { ngx_string("cached_db"), NGX_HTTP_FCCHAT_ENGINE_CACHED_DB },
    { ngx_string("cache"), NGX_HTTP_FCCHAT_ENGINE_CACHE },
    { ngx_string("signed_cookies"), NGX_HTTP_FCCHAT_ENGINE_SIGNED_COOKIES },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_fcchat_guests[] = {
    { ngx_string("off"), 0 },
    { ngx_string("read"), 1 },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_fcchat_refuses[] = {
    { ngx_string("http"), 0 },
    { ngx_string("close"), 1 },
    { ngx_null_string, 0 }
};


/* 16384 characters are 64k of UTF-8, what a room's log sends on */

static ngx_conf_num_bounds_t  ngx_http_fcchat_length_bounds = {
    ngx_conf_check_num_bounds, 1, 16384
};


static ngx_conf_num_bounds_t  ngx_http_fcchat_history_bounds = {
    ngx_conf_check_num_bounds, 0, 1000
};


static ngx_conf_post_t  ngx_http_fcchat_prefix_post = {
    ngx_http_fcchat_prefix
};


static ngx_conf_post_t  ngx_http_fcchat_key_prefix_post = {
    ngx_http_fcchat_key_prefix
};


static ngx_conf_post_t  ngx_http_fcchat_lag_post = {
    ngx_http_fcchat_lag_bounds
};


static ngx_conf_post_t  ngx_http_fcchat_coalesce_post = {
    ngx_http_fcchat_coalesce_bounds
};


static ngx_conf_post_t  ngx_http_fcchat_time_post = {
    ngx_http_fcchat_some_time
};


static ngx_conf_post_t  ngx_http_fcchat_token_post = {
    ngx_http_fcchat_token
};


/* 5r/s burst=10, and 10r/s burst=20; the interval is in us */

static fcc_rate_t  ngx_http_fcchat_rate_default = { 200000, 10 };
static fcc_rate_t  ngx_http_fcchat_reaction_rate_default = { 100000, 20 };


#define NGX_HTTP_FCCHAT_ANY                                                   \
    NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF


static ngx_command_t  ngx_http_fcchat_commands[] = {

    /* serves the chat here; needs fcchat_postgres and
     * fcchat_secret_key_file */
    { ngx_string("fcchat"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_fcchat_set_service,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      (void *) NGX_HTTP_FCCHAT_CHAT },

    /* echoes each message: to check proxies and clients */
    { ngx_string("fcchat_echo"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_fcchat_set_service,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      (void *) NGX_HTTP_FCCHAT_ECHO },

    /* tells what is counted, as JSON, Prometheus's text or a page */
    { ngx_string("fcchat_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_fcchat_set_service,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      (void *) NGX_HTTP_FCCHAT_STATUS },

    /* size of the shared memory of the session cache, in bytes; that of what
     * users have sent is a quarter of it besides */
    { ngx_string("fcchat_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    /* libpq's conninfo or URI, connections a worker, timeout */
    { ngx_string("fcchat_postgres"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE123,
      ngx_http_fcchat_set_postgres,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* the site's own statement for one that looks something up */
    { ngx_string("fcchat_query"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE2,
      ngx_http_fcchat_set_query,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* one or more URLs, or "off" */
    { ngx_string("fcchat_redis"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_1MORE,
      ngx_http_fcchat_set_redis,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* what the names of all channels begin with */
    { ngx_string("fcchat_redis_prefix"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, prefix),
      &ngx_http_fcchat_prefix_post },

    /* the schema, which may hold variables; "domain": look the Host up */
    { ngx_string("fcchat_tenant"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_tenant,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, tenant),
      NULL },

    /* django-tenants' tables of domains and of tenants */
    { ngx_string("fcchat_tenant_tables"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE2,
      ngx_http_fcchat_set_tables,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* how long the answer to a look-up of a Host is trusted */
    { ngx_string("fcchat_tenant_cache"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, tenant_cache),
      NULL },

    /* the name of the room; may hold variables */
    { ngx_string("fcchat_room"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, room),
      NULL },

    /* files with Django's SECRET_KEY and its fallbacks, one line each */
    { ngx_string("fcchat_secret_key_file"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_1MORE,
      ngx_http_fcchat_set_secret,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* Django's SESSION_ENGINE */
    { ngx_string("fcchat_session_engine"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, engine),
      &ngx_http_fcchat_engines },

    /* Redis with the sessions of "cache": a URL, and which database */
    { ngx_string("fcchat_session_redis"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE12,
      ngx_http_fcchat_set_session_redis,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* KEY_PREFIX of Django's cache */
    { ngx_string("fcchat_session_key_prefix"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, key_prefix),
      &ngx_http_fcchat_key_prefix_post },

    /* VERSION of Django's cache */
    { ngx_string("fcchat_session_key_version"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, key_version),
      NULL },

    /* Django's SESSION_COOKIE_NAME */
    { ngx_string("fcchat_session_cookie"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, cookie),
      &ngx_http_fcchat_token_post },

    /* Django's SESSION_COOKIE_AGE, for signed_cookies */
    { ngx_string("fcchat_session_age"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, session_age),
      NULL },

    /* how long a checked session is trusted */
    { ngx_string("fcchat_session_cache"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, session_cache),
      NULL },

    /* Django's AUTHENTICATION_BACKENDS, or "any" */
    { ngx_string("fcchat_auth_backends"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_1MORE,
      ngx_http_fcchat_set_backends,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* off | read: may somebody without a session watch */
    { ngx_string("fcchat_guests"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, guests),
      &ngx_http_fcchat_guests },

    /* same | any | scheme://host[:port] ... | .domain ... */
    { ngx_string("fcchat_origin"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_1MORE,
      ngx_http_fcchat_set_origin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* http: a status before the upgrade; close: a close code after it */
    { ngx_string("fcchat_refuse"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, refuse),
      &ngx_http_fcchat_refuses },

    /* messages sent to an old client that joins */
    { ngx_string("fcchat_history"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, history),
      &ngx_http_fcchat_history_bounds },

    /* of one message, in code points */
    { ngx_string("fcchat_message_length"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, length),
      &ngx_http_fcchat_length_bounds },

    /* how often a user may send a message: "5r/s", "burst=10"; or "off" */
    { ngx_string("fcchat_rate"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE12,
      ngx_http_fcchat_set_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, rate),
      &ngx_http_fcchat_rate_default },

    /* and a reaction */
    { ngx_string("fcchat_reaction_rate"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE12,
      ngx_http_fcchat_set_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, reaction_rate),
      &ngx_http_fcchat_reaction_rate_default },

    /* open sockets of a user and of an address: "user=10", "ip=100" */
    { ngx_string("fcchat_connections"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE12,
      ngx_http_fcchat_set_connections,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* on the wire of the old protocol */
    { ngx_string("fcchat_html_escape"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, html_escape),
      NULL },

    /* from a handshake's headers to its end, PostgreSQL's answers included */
    { ngx_string("fcchat_handshake_timeout"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, handshake),
      &ngx_http_fcchat_time_post },

    /* how long a client may be silent before it is pinged */
    { ngx_string("fcchat_ping"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, ping),
      NULL },

    /* and before it is closed */
    { ngx_string("fcchat_timeout"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, timeout),
      NULL },

    /* free the HTTP request once upgraded */
    { ngx_string("fcchat_detach"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, detach),
      NULL },

    /* how far a reader may be behind, in bytes */
    { ngx_string("fcchat_lag"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, lag),
      &ngx_http_fcchat_lag_post },

    /* how long frames may be held back, so that several go at once */
    { ngx_string("fcchat_coalesce"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, coalesce),
      &ngx_http_fcchat_coalesce_post },

    /* Django's MEDIA_URL, before stamp images that are no URL */
    { ngx_string("fcchat_media_url"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, media),
      NULL },

    /* a file for a line of JSON at the end of each session, or "off" */
    { ngx_string("fcchat_log"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_log,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_fcchat_module_ctx = {
    ngx_http_fcchat_variables,             /* preconfiguration */
    ngx_http_fcchat_init,                  /* postconfiguration */

    ngx_http_fcchat_create_main_conf,      /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_fcchat_create_loc_conf,       /* create location configuration */
    ngx_http_fcchat_merge_loc_conf         /* merge location configuration */
};


ngx_module_t  ngx_http_fcchat_module = {
    NGX_MODULE_V1,
    &ngx_http_fcchat_module_ctx,           /* module context */
    ngx_http_fcchat_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_fcchat_init_process,          /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_fcchat_exit_process,          /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* a channel name is split at blanks by those who read it */

static char *
ngx_http_fcchat_prefix(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t *prefix = data;

    ngx_uint_t  i;

    if (prefix->len == 0 || prefix->len > NGX_HTTP_FCCHAT_PREFIX_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "prefix must have 1 to %d characters",
                           NGX_HTTP_FCCHAT_PREFIX_MAX);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < prefix->len; i++) {
        if (prefix->data[i] <= 0x20 || prefix->data[i] >= 0x7f) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "prefix \"%V\" must be printable ASCII without "
                               "blanks", prefix);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_key_prefix(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t *prefix = data;

    if (prefix->len > NGX_HTTP_FCCHAT_KEY_PREFIX_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "prefix must have at most %d characters",
                           NGX_HTTP_FCCHAT_KEY_PREFIX_MAX);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_lag_bounds(ngx_conf_t *cf, void *post, void *data)
{
    size_t *lag = data;

    if (*lag < 16 * 1024 || *lag > 64 * 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "size must be from 16k to 64m");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_coalesce_bounds(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *coalesce = data;

    if (*coalesce > NGX_HTTP_FCCHAT_COALESCE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "time must be at most 1s");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_fcchat_some_time(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *time = data;

    return *time ? NGX_CONF_OK : "must have a time above zero";
}


static char *
ngx_http_fcchat_token(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t *name = data;

    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        if (name->data[i] <= 0x20 || name->data[i] >= 0x7f
            || ngx_strchr("()<>@,;:\\\"/[]?={}", name->data[i]))
        {
            break;
        }
    }

    if (name->len == 0 || i < name->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is no name of a cookie", name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
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
           != NGX_OK)
    {
        return NULL;
    }

    return cmcf;
}


static void *
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
     *     conf->hub = 0;
     *     conf->prefix = { 0, NULL };
     *     conf->media = { 0, NULL };
     *     conf->cache = 0;
     *     conf->key_prefix = { 0, NULL };
     *     conf->cookie = { 0, NULL };
     *     conf->salt = "";
     *     conf->origins = NULL;
     */

    conf->pg = NGX_CONF_UNSET_PTR;

    for (n = 0; n < NGX_HTTP_FCCHAT_STORE_QUERIES; n++) {
        conf->queries.sql[n] = NGX_CONF_UNSET_PTR;
    }

    conf->redis = NGX_CONF_UNSET_PTR;
    conf->tenant = NGX_CONF_UNSET_PTR;
    conf->domain = NGX_CONF_UNSET;
    conf->tables = NGX_CONF_UNSET_PTR;
    conf->tenant_cache = NGX_CONF_UNSET_MSEC;
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
    conf->user_max = NGX_CONF_UNSET_UINT;
    conf->addr_max = NGX_CONF_UNSET_UINT;
    conf->rate = NGX_CONF_UNSET_PTR;
    conf->reaction_rate = NGX_CONF_UNSET_PTR;
    conf->handshake = NGX_CONF_UNSET_MSEC;
    conf->ping = NGX_CONF_UNSET_MSEC;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->detach = NGX_CONF_UNSET;
    conf->lag = NGX_CONF_UNSET_SIZE;
    conf->coalesce = NGX_CONF_UNSET_MSEC;
    conf->log = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_fcchat_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_fcchat_loc_conf_t *prev = parent;
    ngx_http_fcchat_loc_conf_t *conf = child;

    ngx_conf_merge_ptr_value(conf->pg, prev->pg, NULL);
    ngx_http_fcchat_merge_queries(&conf->queries, &prev->queries);
    ngx_conf_merge_ptr_value(conf->redis, prev->redis, NULL);
    ngx_conf_merge_str_value(conf->prefix, prev->prefix, "fcchat");
    ngx_conf_merge_str_value(conf->media, prev->media, "/media/");
    ngx_conf_merge_ptr_value(conf->tenant, prev->tenant, NULL);
    ngx_conf_merge_value(conf->domain, prev->domain, 0);
    ngx_conf_merge_ptr_value(conf->tables, prev->tables, NULL);
    ngx_conf_merge_msec_value(conf->tenant_cache, prev->tenant_cache, 60000);
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
    ngx_conf_merge_uint_value(conf->user_max, prev->user_max,
                              NGX_HTTP_FCCHAT_USER_MAX);
    ngx_conf_merge_uint_value(conf->addr_max, prev->addr_max,
                              NGX_HTTP_FCCHAT_ADDR_MAX);
    ngx_conf_merge_ptr_value(conf->rate, prev->rate,
                             &ngx_http_fcchat_rate_default);
    ngx_conf_merge_ptr_value(conf->reaction_rate, prev->reaction_rate,
                             &ngx_http_fcchat_reaction_rate_default);
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
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && clcf->handler == NULL && prev->service) {

        /* inside "if" and limit_except: still the same location */

        conf->service = prev->service;
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

    if (conf->service != NGX_HTTP_FCCHAT_CHAT) {
        return NGX_CONF_OK;
    }

    if (conf->pg == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fcchat\" in location \"%V\" needs "
                           "\"fcchat_postgres\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (conf->secrets == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fcchat\" in location \"%V\" needs "
                           "\"fcchat_secret_key_file\"", &clcf->name);
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

    ngx_http_fcchat_conf_salt(conf);

    return ngx_http_fcchat_conf_hub(cf, conf);
}


static ngx_int_t
ngx_http_fcchat_init(ngx_conf_t *cf)
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

    return NGX_OK;
}


static ngx_int_t
ngx_http_fcchat_init_process(ngx_cycle_t *cycle)
{
    ngx_http_fcchat_main_conf_t  *cmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_fcchat_module);

    if (cmcf == NULL || cmcf->used == 0) {
        return NGX_OK;
    }

    if (cmcf->stat) {
        ngx_http_fcchat_stat_attach(cmcf->stat, cycle->log);
    }

    if (cmcf->counts) {
        ngx_http_fcchat_count_begin(cmcf->counts);
    }

    cmcf->worker = ngx_http_fcchat_worker_create(cmcf, cycle->log);

    if (cmcf->worker == NULL) {

        /* the worker serves the rest of the site; the chat answers 503 */

        ngx_log_error(NGX_LOG_CRIT, cycle->log, 0,
                      "fcchat could not start in this worker");
    }

    return NGX_OK;
}


static void
ngx_http_fcchat_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_fcchat_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_fcchat_module);

    if (cmcf && cmcf->worker) {
        ngx_http_fcchat_worker_destroy(cmcf->worker);
        cmcf->worker = NULL;
    }

    ngx_http_fcchat_stat_detach();
}
