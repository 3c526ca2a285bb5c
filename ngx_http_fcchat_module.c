
/*
 * The fcchat module: directives, a worker's start and stop.
 *
 * Loaded but unused, it adds variables and nothing else: the shared zone, the
 * connections and the timers come with the first location that serves a chat.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_fcchat_client.h>
#include <ngx_http_fcchat_query.h>


static char *ngx_http_fcchat_prefix(ngx_conf_t *cf, void *post, void *data);
static char *ngx_http_fcchat_key_prefix(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_fcchat_lag_bounds(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_fcchat_coalesce_bounds(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_fcchat_token(ngx_conf_t *cf, void *post, void *data);
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
    ngx_http_fcchat_check_time
};


static ngx_conf_post_t  ngx_http_fcchat_token_post = {
    ngx_http_fcchat_token
};


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

    /* serves the HTTP API here; needs what "fcchat" needs */
    { ngx_string("fcchat_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_fcchat_set_service,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      (void *) NGX_HTTP_FCCHAT_API },

    /* tells what is counted, as JSON, Prometheus's text or a page; to this
     * machine alone, or to "any" */
    { ngx_string("fcchat_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_service,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      (void *) NGX_HTTP_FCCHAT_STATUS },

    /* size of the shared memory of the session cache, in bytes; besides it a
     * quarter is for what users have sent, another for their sockets, and a
     * sixteenth for who is there */
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

    /* how old messages and reactions may become, or "off" */
    { ngx_string("fcchat_retention"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_http_fcchat_set_retention,
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

    /* files with the secret that seals what goes over Redis, and with those
     * of before, one line each */
    { ngx_string("fcchat_redis_secret_file"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_1MORE,
      ngx_http_fcchat_set_redis_secret,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

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
      offsetof(ngx_http_fcchat_loc_conf_t, secrets),
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

    /* how often a user may ask the API, and an address without one */
    { ngx_string("fcchat_api_rate"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE12,
      ngx_http_fcchat_set_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, api_rate),
      &ngx_http_fcchat_api_rate_default },

    /* files with secrets of the site's own back end, one line each */
    { ngx_string("fcchat_api_secret_file"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_1MORE,
      ngx_http_fcchat_set_api_secret,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, api_secrets),
      NULL },

    /* Django's CSRF_COOKIE_NAME */
    { ngx_string("fcchat_csrf_cookie"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, csrf_cookie),
      &ngx_http_fcchat_token_post },

    /* and read what was: a page of history, or a resume */
    { ngx_string("fcchat_history_rate"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE12,
      ngx_http_fcchat_set_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, history_rate),
      &ngx_http_fcchat_often_default },

    /* how often an address may have a cookie looked up that is no session */
    { ngx_string("fcchat_auth_rate"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE12,
      ngx_http_fcchat_set_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, auth_rate),
      &ngx_http_fcchat_often_default },

    /* open sockets of a user and of an address: "user=10", "ip=100" */
    { ngx_string("fcchat_connections"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE12,
      ngx_http_fcchat_set_connections,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* tell who came and went: off | on, "limit=100" viewers, "grace=10s" */
    { ngx_string("fcchat_presence"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_TAKE123,
      ngx_http_fcchat_set_presence,
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

    /* permessage-deflate, for clients that offer it */
    { ngx_string("fcchat_deflate"),
      NGX_HTTP_FCCHAT_ANY|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_fcchat_loc_conf_t, deflate),
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
      &ngx_http_fcchat_time_post },

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
    ngx_http_fcchat_conf_zones,                  /* postconfiguration */

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
