
/*
 * One viewer: its handshake, its identity, its session; and what a worker
 * keeps for all of them.
 */


#ifndef _NGX_HTTP_FCCHAT_CLIENT_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_CLIENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_sha1.h>
#include <ngx_http_fcchat_audit.h>
#include <ngx_http_fcchat_rate.h>
#include <ngx_http_fcchat_ring.h>
#include <ngx_http_fcchat_room.h>
#include <fcc_django.h>
#include <fcc_http.h>
#include <fcc_proto.h>
#include <fcc_ws.h>


#define NGX_HTTP_FCCHAT_DIGEST          20      /* bytes of SHA-1 */
#define NGX_HTTP_FCCHAT_SINCE_MAX       64      /* bytes of "EPOCH:SEQ" */
#define NGX_HTTP_FCCHAT_KEY_PREFIX_MAX  128     /* bytes */
#define NGX_HTTP_FCCHAT_USERNAME_MAX    640     /* bytes: 150 characters */
#define NGX_HTTP_FCCHAT_ORIGIN_KEPT     128     /* bytes, for the log */

#define NGX_HTTP_FCCHAT_RECV_SIZE       16384   /* bytes of one read */
#define NGX_HTTP_FCCHAT_RECV_BUDGET     8       /* reads of one socket a turn */
#define NGX_HTTP_FCCHAT_RECV_DEFLATE    2048    /* bytes of one that may be of
                                                 * compressed messages */
#define NGX_HTTP_FCCHAT_INFLATE_TURN    65536   /* bytes inflated for a socket
                                                 * before others have a turn */
#define NGX_HTTP_FCCHAT_INFLATE_MAX     256     /* of its largest messages, all
                                                 * in a second */
#define NGX_HTTP_FCCHAT_PENDING_MAX     64      /* messages of one socket under
                                                 * way before it is not read */
#define NGX_HTTP_FCCHAT_CONTROL_MAX     10      /* control frames a second */
#define NGX_HTTP_FCCHAT_FRAME_OVERHEAD  1024    /* bytes of JSON around it */
#define NGX_HTTP_FCCHAT_PARTIAL_TIME    30000   /* ms to finish a message */
#define NGX_HTTP_FCCHAT_CLOSE_TIME      5000    /* ms to answer a Close */
#define NGX_HTTP_FCCHAT_LINGER_TIME     2000    /* ms to read after an error */
#define NGX_HTTP_FCCHAT_LEAVE_TIME      1000    /* ms, when the worker leaves */
#define NGX_HTTP_FCCHAT_DRAIN_TIME      5000    /* ms at most, to leave in */
#define NGX_HTTP_FCCHAT_NEGATIVE_TIME   3000    /* ms an unknown key is known */
#define NGX_HTTP_FCCHAT_COALESCE_MAX    1000    /* ms frames are held back */
#define NGX_HTTP_FCCHAT_TENANTS_MAX     1024    /* hosts of a worker: known,
                                                 * unknown, asked for */

#define NGX_HTTP_FCCHAT_USER_MAX        10      /* sockets, by default */
#define NGX_HTTP_FCCHAT_ADDR_MAX        100

#define NGX_HTTP_FCCHAT_PRESENCE_LIMIT  100     /* viewers, by default */
#define NGX_HTTP_FCCHAT_PRESENCE_GRACE  10000   /* ms */

#define NGX_HTTP_FCCHAT_PRESENCE_LIMIT_MAX  400
#define NGX_HTTP_FCCHAT_PRESENCE_GRACE_MAX  300000

#define NGX_HTTP_FCCHAT_WHEEL_SLOTS     256     /* a power of two */
#define NGX_HTTP_FCCHAT_WHEEL_TICK      250     /* ms */

/* close codes of our own: 4000-4399 "reconnect", 4400-4499 "do not" */

#define NGX_HTTP_FCCHAT_CLOSE_LAGGED      4008
#define NGX_HTTP_FCCHAT_CLOSE_GAP         4010
#define NGX_HTTP_FCCHAT_CLOSE_NO_PONG     4012
#define NGX_HTTP_FCCHAT_CLOSE_OVERLOADED  4013
#define NGX_HTTP_FCCHAT_CLOSE_BAD_REQUEST 4400
#define NGX_HTTP_FCCHAT_CLOSE_SESSION     4401
#define NGX_HTTP_FCCHAT_CLOSE_FORBIDDEN   4403
#define NGX_HTTP_FCCHAT_CLOSE_ROOM_GONE   4404
#define NGX_HTTP_FCCHAT_CLOSE_TOO_MANY    4409


typedef struct ngx_http_fcchat_worker_s   ngx_http_fcchat_worker_t;
typedef struct ngx_http_fcchat_session_s  ngx_http_fcchat_session_t;
typedef struct ngx_http_fcchat_ctx_s      ngx_http_fcchat_ctx_t;
typedef struct ngx_http_fcchat_tenants_s  ngx_http_fcchat_tenants_t;
typedef struct ngx_http_fcchat_rights_s   ngx_http_fcchat_rights_t;


/* ---- configuration ---- */

typedef enum {
    NGX_HTTP_FCCHAT_CHAT = 1,
    NGX_HTTP_FCCHAT_ECHO,
    NGX_HTTP_FCCHAT_STATUS,
    NGX_HTTP_FCCHAT_API
} ngx_http_fcchat_service_e;


typedef enum {
    NGX_HTTP_FCCHAT_ENGINE_DB = 0,
    NGX_HTTP_FCCHAT_ENGINE_CACHED_DB,
    NGX_HTTP_FCCHAT_ENGINE_CACHE,
    NGX_HTTP_FCCHAT_ENGINE_SIGNED_COOKIES
} ngx_http_fcchat_engine_e;


/* fcchat_session_redis */

typedef struct {
    ngx_http_fcchat_redis_conf_t    redis;
    ngx_uint_t                      db;
} ngx_http_fcchat_cache_conf_t;


/* one value of fcchat_origin */

typedef struct {
    ngx_str_t                       below;      /* ".example.com", or empty */
    fcc_origin_t                    origin;
} ngx_http_fcchat_origin_t;


typedef struct {
    ngx_uint_t                      service;    /* not inherited */
    ngx_uint_t                      status_any; /* likewise: told to anybody */
    ngx_uint_t                      hub;        /* of a chat location: which */

    ngx_http_fcchat_pg_conf_t      *pg;
    ngx_http_fcchat_store_queries_t
                                    queries;
    ngx_array_t                    *redis;      /* or NULL */
    ngx_str_t                       prefix;
    fcc_seal_t                     *seal;       /* or NULL */
    ngx_str_t                       media;

    ngx_http_complex_value_t       *tenant;     /* or NULL: public, or */
    ngx_flag_t                      domain;     /* the Host's */
    const char                     *tables;     /* SQL, or NULL */
    const char                     *tenants;    /* likewise, set with it */
    time_t                          retention;  /* 0: off */
    ngx_msec_t                      tenant_cache;
    ngx_http_complex_value_t       *room;       /* or NULL: last segment */

    fcc_django_secrets_t           *secrets;
    ngx_uint_t                      engine;
    ngx_http_fcchat_cache_conf_t   *store;      /* for "cache", or NULL */
    ngx_uint_t                      cache;      /* then: which */
    ngx_str_t                       key_prefix;
    ngx_uint_t                      key_version;
    ngx_str_t                       cookie;
    ngx_array_t                    *backends;   /* ngx_str_t, or NULL: any */
    time_t                          session_age;
    ngx_msec_t                      session_cache;
    u_char                          salt[NGX_HTTP_FCCHAT_DIGEST];

    ngx_array_t                    *origins;    /* NULL: see the two below */
    ngx_flag_t                      origin_any;
    ngx_flag_t                      origin_same;

    ngx_uint_t                      guests;     /* 1: read, 0: off */
    ngx_uint_t                      refuse;     /* 1: close, 0: http */
    ngx_uint_t                      history;    /* events, old protocol */
    ngx_uint_t                      length;     /* code points */
    ngx_flag_t                      html_escape;
    ngx_flag_t                      deflate;
    fcc_rate_t                     *rate;       /* of messages; NULL: off */
    fcc_rate_t                     *reaction_rate;
    fcc_rate_t                     *api_rate;
    fcc_django_secrets_t           *api_secrets;    /* or NULL */
    ngx_str_t                       csrf_cookie;
    fcc_rate_t                     *history_rate;
    fcc_rate_t                     *auth_rate;  /* of an address */
    ngx_uint_t                      user_max;   /* sockets; 0: off */
    ngx_uint_t                      addr_max;
    ngx_flag_t                      presence;
    ngx_uint_t                      presence_limit; /* viewers */
    ngx_msec_t                      presence_grace;
    ngx_msec_t                      handshake;  /* ms, from its headers on */
    ngx_msec_t                      ping;
    ngx_msec_t                      timeout;
    ngx_flag_t                      detach;
    size_t                          lag;
    ngx_msec_t                      coalesce;
    ngx_open_file_t                *log;        /* NULL: off */

    /* UNSET: nothing was said here, all of a directive is inherited */
    ngx_flag_t                      origin_set;
} ngx_http_fcchat_loc_conf_t;


typedef struct {
    ngx_array_t                     hubs;   /* ngx_http_fcchat_hub_conf_t */
    ngx_array_t                     caches; /* ngx_http_fcchat_cache_conf_t * */
    ngx_array_t                     chats;  /* ngx_http_fcchat_loc_conf_t * */
    ngx_uint_t                      used;   /* locations that serve anything */
    size_t                          zone_size;
    ngx_shm_zone_t                 *zone;
    ngx_shm_zone_t                 *rates;
    ngx_shm_zone_t                 *counts;
    ngx_uint_t                      presence;   /* locations that tell it */
    ngx_shm_zone_t                 *ring;       /* NULL: none does */
    ngx_uint_t                      status; /* locations that tell */
    ngx_shm_zone_t                 *stat;   /* NULL: none does */
    ngx_http_fcchat_worker_t       *worker; /* of this process, or NULL */
} ngx_http_fcchat_main_conf_t;


extern ngx_module_t  ngx_http_fcchat_module;

/* of fcchat_rate and fcchat_reaction_rate */
extern fcc_rate_t  ngx_http_fcchat_rate_default;
extern fcc_rate_t  ngx_http_fcchat_reaction_rate_default;
extern fcc_rate_t  ngx_http_fcchat_api_rate_default;
extern fcc_rate_t  ngx_http_fcchat_often_default;


/* the values of a level, not set, and how one inherits those of its parent */

void *ngx_http_fcchat_create_main_conf(ngx_conf_t *cf);
void *ngx_http_fcchat_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_fcchat_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);

/* after all of the configuration is read: the zones that its locations need */
ngx_int_t ngx_http_fcchat_conf_zones(ngx_conf_t *cf);


/* nginx's own setters, which also say what would be right */

char *ngx_http_fcchat_set_msec_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_sec_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_size_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_num_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_enum_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* for the first of them: a time that is not 0 */
char *ngx_http_fcchat_check_time(ngx_conf_t *cf, void *post, void *data);

/* the setters of the directives that take more than nginx's own can */

char *ngx_http_fcchat_set_service(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_postgres(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_redis_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_tenant(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_tables(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_api_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_session_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_backends(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_origin(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_presence(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_rate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_fcchat_set_log(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* the hub that a chat location uses, one of the main configuration's */
char *ngx_http_fcchat_conf_hub(ngx_conf_t *cf,
    ngx_http_fcchat_loc_conf_t *conf);

/* the connection for sessions that it uses, likewise */
char *ngx_http_fcchat_conf_cache(ngx_conf_t *cf,
    ngx_http_fcchat_loc_conf_t *conf);

/* what the session cache's digests of a location begin with; and the location
 * is one of the main configuration's chats */
char *ngx_http_fcchat_conf_salt(ngx_conf_t *cf,
    ngx_http_fcchat_loc_conf_t *conf);


/* ---- whose a host is ---- */

typedef enum {
    NGX_HTTP_FCCHAT_TENANT_OK = 0,
    NGX_HTTP_FCCHAT_TENANT_NONE,
    NGX_HTTP_FCCHAT_TENANT_UNAVAILABLE,
    NGX_HTTP_FCCHAT_TENANT_MISS         /* wait for it */
} ngx_http_fcchat_tenant_e;


/* embedded by whoever asks; schema is NULL unless rc is OK, and lives during
 * ready() only */

typedef struct ngx_http_fcchat_tenant_waiter_s
    ngx_http_fcchat_tenant_waiter_t;

struct ngx_http_fcchat_tenant_waiter_s {
    ngx_queue_t                     queue;
    ngx_uint_t                      waits;
    void                          (*ready)(ngx_http_fcchat_tenant_waiter_t *w,
                                        ngx_http_fcchat_tenant_e rc,
                                        ngx_str_t *schema);
};


/* what PostgreSQL and django-tenants allow as a schema, and a log can show */
ngx_uint_t ngx_http_fcchat_tenant_valid(ngx_str_t *schema);

/*
 * The schema of a host, by the tables of the location.  host is in lower case
 * and without a port.  TENANT_OK: *schema is set, and lives until the next
 * call; TENANT_NONE; TENANT_UNAVAILABLE; TENANT_MISS: w->ready will be called,
 * not from inside.  One question at a time for a host.
 */
ngx_http_fcchat_tenant_e ngx_http_fcchat_tenant(
    ngx_http_fcchat_worker_t *worker, ngx_http_fcchat_hub_t *hub,
    ngx_http_fcchat_loc_conf_t *conf, ngx_str_t *host,
    ngx_http_fcchat_tenant_waiter_t *w, ngx_str_t *schema);

/* stops waiting; idempotent */
void ngx_http_fcchat_tenant_forget(ngx_http_fcchat_tenant_waiter_t *w);

/* NULL without memory */
ngx_http_fcchat_tenants_t *ngx_http_fcchat_tenants_create(ngx_log_t *log);

/* at the worker's exit, before its hubs'; whoever waits gets UNAVAILABLE */
void ngx_http_fcchat_tenants_destroy(ngx_http_fcchat_tenants_t *tenants);


/* ---- who somebody is ---- */

typedef struct {
    int64_t                         id;         /* 0: a guest */
    ngx_msec_t                      asked;      /* when, whose it is */
    unsigned                        staff:1;
    size_t                          len;
    u_char                          username[NGX_HTTP_FCCHAT_USERNAME_MAX];
} ngx_http_fcchat_user_t;


typedef enum {
    NGX_HTTP_FCCHAT_AUTH_OK = 0,
    NGX_HTTP_FCCHAT_AUTH_NONE,          /* no valid session */
    NGX_HTTP_FCCHAT_AUTH_UNAVAILABLE,
    NGX_HTTP_FCCHAT_AUTH_NO_TENANT,
    NGX_HTTP_FCCHAT_AUTH_TOO_MANY,      /* cookies that were no session */
    NGX_HTTP_FCCHAT_AUTH_MISS           /* the cache only: ask */
} ngx_http_fcchat_auth_e;


/* the shared zone's session cache: locked for one look-up or one change */

ngx_int_t ngx_http_fcchat_cache_init(ngx_shm_zone_t *zone, void *data);

ngx_http_fcchat_auth_e ngx_http_fcchat_cache_get(ngx_shm_zone_t *zone,
    u_char *digest, ngx_http_fcchat_user_t *user);

/* user NULL: no valid session.  ttl in ms from asked, when its question was
 * asked.  A full zone evicts its oldest. */
void ngx_http_fcchat_cache_put(ngx_shm_zone_t *zone, u_char *digest,
    ngx_http_fcchat_user_t *user, ngx_msec_t asked, ngx_msec_t ttl);

/* what was asked for until now is not believed any more: of one session, or
 * with digest NULL of one user in all tenants; of a few others, too */
void ngx_http_fcchat_cache_doubt(ngx_shm_zone_t *zone, int64_t id,
    u_char *digest);

/* 1 when what was asked for then of the user, or session, is not believed */
ngx_uint_t ngx_http_fcchat_cache_doubted(ngx_shm_zone_t *zone, int64_t id,
    u_char *digest, ngx_msec_t asked);


/* who a client is by its address, of which one of IPv6 has the lower half for
 * itself */
uint64_t ngx_http_fcchat_addr_key(ngx_connection_t *c);


/* what a socket is counted by */

typedef struct {
    uint64_t                        user;       /* 0: is not */
    uint64_t                        addr;
} ngx_http_fcchat_counted_t;


/* zone->init: the counts take all of the zone */
ngx_int_t ngx_http_fcchat_count_init(ngx_shm_zone_t *zone, void *data);

/* at a worker's start: a former one may have had its pid */
void ngx_http_fcchat_count_begin(ngx_shm_zone_t *zone);

/*
 * NGX_OK: a sub() is due.  NGX_BUSY: there are max of the key.  NGX_DECLINED:
 * the zone has no place for one more, who is not counted.
 */
ngx_int_t ngx_http_fcchat_count_add(ngx_shm_zone_t *zone, uint64_t key,
    ngx_uint_t max);

void ngx_http_fcchat_count_sub(ngx_shm_zone_t *zone, uint64_t key);

/* gives back what is counted; idempotent */
void ngx_http_fcchat_uncount(ngx_shm_zone_t *zone,
    ngx_http_fcchat_counted_t *counted);


/* embedded by whoever asks */

typedef struct ngx_http_fcchat_auth_waiter_s  ngx_http_fcchat_auth_waiter_t;

struct ngx_http_fcchat_auth_waiter_s {
    ngx_queue_t                     queue;
    uint64_t                        from;       /* whom it is on to ask */
    ngx_uint_t                      waits;
    void                          (*ready)(ngx_http_fcchat_auth_waiter_t *w,
                                        ngx_http_fcchat_auth_e rc,
                                        ngx_http_fcchat_user_t *user);
};


/*
 * Who owns the cookie, by the rules of the location.  AUTH_OK: *user is set;
 * AUTH_NONE; AUTH_UNAVAILABLE; AUTH_NO_TENANT; AUTH_TOO_MANY: whoever w->from
 * stands for has had too many cookies that were none; AUTH_MISS: w->ready will
 * be called, not from inside.  One question at a time for a cookie, however
 * many ask.
 */
ngx_http_fcchat_auth_e ngx_http_fcchat_auth(ngx_http_fcchat_worker_t *worker,
    ngx_http_fcchat_hub_t *hub, ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *schema, ngx_str_t *cookie, ngx_http_fcchat_auth_waiter_t *w,
    ngx_http_fcchat_user_t *user);

/* stops waiting; idempotent */
void ngx_http_fcchat_auth_forget(ngx_http_fcchat_auth_waiter_t *w);

/* what a session is known by in the session cache */
void ngx_http_fcchat_auth_digest(ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *schema, ngx_str_t *cookie, u_char *digest);

/* asks fcchat_session_redis for the session of a key, as redis_get() does */
ngx_http_fcchat_redis_get_t *ngx_http_fcchat_auth_cached(
    ngx_http_fcchat_worker_t *worker, ngx_http_fcchat_loc_conf_t *conf,
    ngx_str_t *key, ngx_http_fcchat_redis_get_pt handler, void *data);

/* 1 when fcchat_auth_backends allows it */
ngx_uint_t ngx_http_fcchat_auth_backend(ngx_http_fcchat_loc_conf_t *conf,
    fcc_django_session_t *session);

/* forgets all questions, at the worker's exit */
void ngx_http_fcchat_auth_destroy(ngx_http_fcchat_worker_t *worker);


/* ---- the worker ---- */

struct ngx_http_fcchat_worker_s {
    ngx_http_fcchat_main_conf_t    *conf;
    ngx_http_fcchat_hub_t         **hubs;       /* as conf->hubs */
    ngx_uint_t                      nhubs;
    ngx_log_t                      *log;

    ngx_uint_t                      sessions;
    ngx_uint_t                      waiting;    /* handshakes */
    u_char                         *recv;       /* RECV_SIZE, shared */
    ngx_http_fcchat_deflate_t       deflate;

    ngx_queue_t                     wheel[NGX_HTTP_FCCHAT_WHEEL_SLOTS];
    ngx_uint_t                      turned;     /* ticks done */
    ngx_msec_t                      started;
    ngx_event_t                     tick;

    ngx_queue_t                     todo;       /* sessions to close */
    ngx_event_t                     close;
    ngx_queue_t                     replies;    /* sessions to flush */
    ngx_event_t                     flush;

    ngx_http_fcchat_rights_t       *rights;

    ngx_rbtree_t                    flights;    /* questions about cookies */
    ngx_rbtree_node_t               flights_sentinel;

    ngx_uint_t                      asking;     /* requests of the API */
    void                           *totals;     /* who waits for totals of
                                                 * reactions, or NULL */
    ngx_uint_t                      totalling;  /* 1: they are asked for */

    ngx_http_fcchat_tenants_t      *tenants;
    ngx_http_fcchat_redis_cache_t **caches;     /* as conf->caches */
    ngx_uint_t                      ncaches;

    ngx_http_fcchat_seldom_t        audits[NGX_HTTP_FCCHAT_AUDITS];
    ngx_http_fcchat_seldom_t        uncounted;
};


/* NULL without memory */
ngx_http_fcchat_worker_t *ngx_http_fcchat_worker_create(
    ngx_http_fcchat_main_conf_t *conf, ngx_log_t *log);

/* at exit: says goodbye to whoever is left and frees all */
void ngx_http_fcchat_worker_destroy(ngx_http_fcchat_worker_t *worker);

/*
 * Sends what session_reply() has given the session, if anything, without
 * waiting for the end of the turn.  A session that only waited for that to be
 * sent is freed by it.
 */
void ngx_http_fcchat_worker_flush_session(ngx_http_fcchat_session_t *s);


/* ---- the way in ---- */

/*
 * What a handshake or a request of the API has become.  Each of the three
 * handlers returns what a content handler does.  A name that is set before
 * entry() is taken, as is the cookie.
 */

struct ngx_http_fcchat_ctx_s {
    ngx_http_request_t             *request;
    ngx_int_t                     (*known)(ngx_http_fcchat_ctx_t *ctx);
    ngx_int_t                     (*inside)(ngx_http_fcchat_ctx_t *ctx);
    ngx_int_t                     (*decline)(ngx_http_fcchat_ctx_t *ctx,
                                        ngx_uint_t status, const char *text);
    ngx_http_fcchat_loc_conf_t     *conf;
    ngx_http_fcchat_worker_t       *worker;
    ngx_http_fcchat_hub_t          *hub;
    ngx_str_t                       schema;
    ngx_str_t                       name;
    ngx_str_t                       cookie;
    ngx_str_t                       origin;
    ngx_str_t                       key;
    fcc_deflate_offer_t             deflate;
    unsigned                        v1:1;
    unsigned                        api:1;
    unsigned                        server:1;   /* the site's back end: no
                                                 * session is looked for */
    unsigned                        pending:1;      /* r->main->count is held */
    unsigned                        holding:1;      /* the wheel's timer */
    ngx_uint_t                      code;           /* close with, after 101 */
    const char                     *reason;
    size_t                          since_len;  /* 0: it asks for nothing */
    u_char                          since[NGX_HTTP_FCCHAT_SINCE_MAX];
    ngx_http_fcchat_user_t          user;
    ngx_http_fcchat_counted_t       counted;
    ngx_http_fcchat_room_t         *room;           /* a ref is held */
    ngx_http_fcchat_tenant_waiter_t tenant;
    ngx_http_fcchat_auth_waiter_t   auth;
    ngx_http_fcchat_waiter_t        waiter;
    ngx_event_t                     late;           /* up to inside() */
    ngx_event_t                     takeover;
    ngx_http_fcchat_session_t      *session;        /* detach off, after it */
    ngx_event_handler_pt            read;           /* the request's own */
    ngx_event_handler_pt            write;          /* handlers, then */

    /* for variables, once the session is gone */
    uint64_t                        messages;
    uint64_t                        frames;
    ngx_uint_t                      closed;
};


/* request, conf, worker (NULL: there is none) and what the steps wait with */
void ngx_http_fcchat_entry_init(ngx_http_fcchat_ctx_t *ctx,
    ngx_http_request_t *r);

/* from the names on to ctx->known(), with ctx->user, or ctx->decline() */
ngx_int_t ngx_http_fcchat_entry(ngx_http_fcchat_ctx_t *ctx);

/* and on to ctx->inside(), with a ref of ctx->room, or ctx->decline() */
ngx_int_t ngx_http_fcchat_entry_room(ngx_http_fcchat_ctx_t *ctx);

/* ctx->name, as the location says */
ngx_int_t ngx_http_fcchat_entry_name(ngx_http_fcchat_ctx_t *ctx);

/* the request waits for an answer of ours, and for its client to go: NGX_DONE,
 * with r->main->count raised once.  Before inside() it is declined with 503
 * after fcchat_handshake_timeout. */
ngx_int_t ngx_http_fcchat_entry_wait(ngx_http_fcchat_ctx_t *ctx);

/* no step is waited for any more; idempotent */
void ngx_http_fcchat_entry_stop(ngx_http_fcchat_ctx_t *ctx);

/* the outcome of a step that ran outside the content handler; NGX_DONE: it
 * waits for another one.  ctx may be gone then */
void ngx_http_fcchat_entry_finish(ngx_http_fcchat_ctx_t *ctx, ngx_int_t rc);

/* stops whatever waits and gives the room's ref back; idempotent */
void ngx_http_fcchat_entry_leave(ngx_http_fcchat_ctx_t *ctx);


/* ---- the handshake ---- */

/* the content handler of all locations that serve something */
ngx_int_t ngx_http_fcchat_handler(ngx_http_request_t *r);

/* that of "fcchat_status" */
ngx_int_t ngx_http_fcchat_status(ngx_http_request_t *r);

/* that of "fcchat_api" */
ngx_int_t ngx_http_fcchat_api(ngx_http_request_t *r);

/* what a handshake asks for, read from its headers */

typedef struct {
    ngx_str_t                       key;
    ngx_str_t                       version;
    ngx_str_t                       origin;
    ngx_str_t                       cookie;     /* len 0: none */
    ngx_uint_t                      keys;
    ngx_uint_t                      versions;
    ngx_uint_t                      origins;
    fcc_deflate_offer_t             deflate;
    unsigned                        upgrade:1;
    unsigned                        connection:1;
    unsigned                        v1:1;       /* fcchat.v1 is offered */
    unsigned                        offers:1;   /* some subprotocol is */
    unsigned                        bad:1;      /* a list that is none */
    unsigned                        extensions:1;   /* and another one */
} ngx_http_fcchat_headers_t;

void ngx_http_fcchat_headers(ngx_http_request_t *r, ngx_str_t *cookie,
    ngx_http_fcchat_headers_t *h);

/* the value of a cookie as Django reads it, or data NULL */
void ngx_http_fcchat_headers_cookie(ngx_http_request_t *r, ngx_str_t *cookie,
    ngx_str_t *value);

/* the last header of that name, or data NULL */
void ngx_http_fcchat_headers_get(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* a header of the answer, or NULL; both strings live as long as the request */
ngx_table_elt_t *ngx_http_fcchat_headers_push(ngx_http_request_t *r,
    const char *name, const char *value);

/* the same: NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_fcchat_headers_add(ngx_http_request_t *r,
    const char *name, const char *value);

/* NGX_OK, or the status to refuse with */
ngx_int_t ngx_http_fcchat_origin_check(ngx_http_request_t *r,
    ngx_http_fcchat_loc_conf_t *conf, ngx_http_fcchat_headers_t *h);

/* 1 when the request came over TLS */
ngx_uint_t ngx_http_fcchat_tls(ngx_http_request_t *r);

/* 1 when it is the request's own scheme, host and port */
ngx_uint_t ngx_http_fcchat_origin_same(ngx_http_request_t *r,
    fcc_origin_t *origin);

/* 1 when fcchat_origin lists it */
ngx_uint_t ngx_http_fcchat_origin_listed(ngx_http_fcchat_loc_conf_t *conf,
    fcc_origin_t *origin);

/*
 * Answers with a status, a short body and the headers that go with it, or as
 * the location's error_page says.  Returns what a content handler returns.
 */
ngx_int_t ngx_http_fcchat_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *text);

/* counts and logs a handshake that is refused with this status, or with the
 * close code that says the same; but for 403 */
void ngx_http_fcchat_refused(ngx_http_request_t *r, ngx_uint_t status,
    const char *text);

/*
 * Sends the 101, then opens the session from a posted event.  Returns what a
 * content handler returns: NGX_DONE, with r->main->count raised once for the
 * handshake, or an error.
 */
ngx_int_t ngx_http_fcchat_upgrade(ngx_http_fcchat_ctx_t *ctx);

/* the session has the connection: the request is freed, ctx too, or kept */
void ngx_http_fcchat_upgraded(ngx_http_fcchat_session_t *s,
    ngx_http_fcchat_ctx_t *ctx);

/* undoes whatever the handshake waits for; from the request's cleanup */
void ngx_http_fcchat_ctx_cleanup(void *data);

/* adds the $fcchat_* variables */
ngx_int_t ngx_http_fcchat_variables(ngx_conf_t *cf);


/* ---- the session ---- */

/*
 *     open --close()--> closing --peer's Close, EOF or time--> finished
 *       |                   ^
 *       +--peer's Close--> leaving --all sent, or time--> finished
 *       |
 *       +--EOF, error-----------------------------------> finished
 *
 * "finished" is not a state: the session is freed then.
 */

typedef enum {
    NGX_HTTP_FCCHAT_OPEN = 0,
    NGX_HTTP_FCCHAT_CLOSING,        /* our Close is on its way */
    NGX_HTTP_FCCHAT_LEAVING         /* the answer to the peer's Close is */
} ngx_http_fcchat_state_e;


/* what has come of something unfinished, and a pong that can't be sent yet */

typedef struct {
    fcc_ws_t                        ws;
    u_char                         *data;       /* a message in pieces */
    uint32_t                        len;
    uint32_t                        size;
    ngx_msec_t                      began;      /* session->partial: when */
    u_char                          pong_len;   /* session->owes: of it */
    u_char                          pong[FCC_WS_CONTROL_MAX];
} ngx_http_fcchat_input_t;


struct ngx_http_fcchat_session_s {
    ngx_http_fcchat_member_t        member;     /* must be first */
    ngx_http_fcchat_loc_conf_t     *conf;
    ngx_http_fcchat_worker_t       *worker;
    ngx_http_fcchat_room_t         *room;       /* NULL: echo, or refused */
    ngx_http_fcchat_sender_t       *sender;     /* NULL until it says a thing */
    ngx_http_request_t             *request;    /* NULL: detached */

    ngx_queue_t                     wheel;
    ngx_queue_t                     todo;
    ngx_queue_t                     reply;

    ngx_http_fcchat_state_e         state;
    unsigned                        in_todo:1;
    unsigned                        in_reply:1;
    unsigned                        v1:1;
    unsigned                        echo:1;
    unsigned                        pinged:1;
    unsigned                        paused:1;   /* not read: too much pending */
    unsigned                        draining:1; /* the worker is leaving */
    unsigned                        partial:1;
    unsigned                        owes:1;     /* a pong: input has it */
    unsigned                        reading:1;  /* a page of history */
    unsigned                        failed:1;   /* it broke the protocol */
    unsigned                        deflate:4;  /* bits of our window; 0: it
                                                 * is not agreed on */
    unsigned                        checking:1; /* its rights are asked for */
    unsigned                        again:1;    /* and soon once more */
    unsigned                        staff:1;    /* the user is */
    uint16_t                        todo_code;
    uint16_t                        code;       /* closed with, for the log */
    uint16_t                        pending;    /* messages under way */
    uint16_t                        controls;   /* frames in this second */
    uint32_t                        inflated;   /* and bytes */
    uint32_t                        due;        /* the wheel's tick */
    uint32_t                        check;      /* of its rights: when; ms */
    uint32_t                        mark;       /* of what gave them; 0: none */
    uint32_t                        second;     /* when it began; ms */
    uint16_t                        key_len;    /* behind addr: what to ask
                                                 * for; 0: nothing */
    uint16_t                        origin_len; /* behind that, perhaps cut */

    ngx_msec_t                      last;       /* something was read */
    ngx_msec_t                      deadline;   /* closing, or drain */
    ngx_msec_t                      opened;

    ngx_http_fcchat_input_t        *input;      /* NULL: between frames */

    ngx_http_fcchat_counted_t       counted;
    ngx_http_fcchat_author_t        author;     /* in the same block */
    ngx_str_t                       addr;       /* likewise */
    uint64_t                        from;       /* its address */
    uint64_t                        received;   /* bytes */
    uint64_t                        messages;
    off_t                           before;     /* c->sent at the upgrade */
};


/*
 * Opens the session on the request's connection.  detach: the request is freed
 * here.  Called from the event loop, not from inside the request's handlers.
 */
void ngx_http_fcchat_session_open(ngx_http_fcchat_ctx_t *ctx);

/*
 * Joins the room's log; since is "EPOCH:SEQ" or empty.  NGX_ERROR without
 * memory.
 */
ngx_int_t ngx_http_fcchat_session_join(ngx_http_fcchat_session_t *s,
    ngx_str_t *since);

/* the role of its user, when is_staff is this */
void ngx_http_fcchat_session_role(ngx_http_fcchat_session_t *s,
    ngx_uint_t staff);

/* the hub's who() */
ngx_http_fcchat_author_t *ngx_http_fcchat_session_who(
    ngx_http_fcchat_member_t *m);

/* the member's lost() */
void ngx_http_fcchat_session_lost(ngx_http_fcchat_member_t *m,
    const char *reason);

/* the judge of a hub: 4403 for the session of somebody who is banned, or 0 */
ngx_uint_t ngx_http_fcchat_session_judge(ngx_http_fcchat_member_t *m);

/* our Close: a code and a short ASCII reason */
void ngx_http_fcchat_session_close(ngx_http_fcchat_session_t *s,
    ngx_uint_t code, const char *reason);

/* the session ends here and now; s is gone */
void ngx_http_fcchat_session_finish(ngx_http_fcchat_session_t *s,
    ngx_uint_t code);

/* one frame for this client, sent at the end of the turn; a message is
 * compressed where that is agreed on */
void ngx_http_fcchat_session_reply(ngx_http_fcchat_session_t *s,
    ngx_uint_t opcode, u_char *data, size_t len);

/* goes on reading, when it had stopped for too much under way */
void ngx_http_fcchat_session_resume(ngx_http_fcchat_session_t *s);

/* the worker is leaving: no more input; at = how long to wait, ms */
void ngx_http_fcchat_session_drain(ngx_http_fcchat_session_t *s);

/* if it drains, and nothing is under way, and its time has come: closes; not if
 * it is about to be closed, as its room may be gone then */
void ngx_http_fcchat_session_drained(ngx_http_fcchat_session_t *s);

/* what has come: bytes of frames, unmasked in place */
void ngx_http_fcchat_session_feed(ngx_http_fcchat_session_t *s, u_char *p,
    u_char *last);

/* the pong that is owed, if its reader reads again */
void ngx_http_fcchat_session_pong(ngx_http_fcchat_session_t *s);

/* the time of the wheel has come */
void ngx_http_fcchat_session_tick(ngx_http_fcchat_session_t *s);

/* the line of fcchat_log */
void ngx_http_fcchat_session_log(ngx_http_fcchat_session_t *s);

/* ---- the wheel ---- */

/* has session_tick() called at or soon after the time; replaces a former
 * one */
void ngx_http_fcchat_wheel_set(ngx_http_fcchat_session_t *s, ngx_msec_t at);

/* the same, where that is earlier than a former one */
void ngx_http_fcchat_wheel_sooner(ngx_http_fcchat_session_t *s,
    ngx_msec_t at);

void ngx_http_fcchat_wheel_init(ngx_http_fcchat_worker_t *worker);

/*
 * A handshake waits for an answer, and has it or is gone: the timer runs
 * meanwhile, as nothing else would keep a worker that exits.
 */
void ngx_http_fcchat_wheel_hold(ngx_http_fcchat_worker_t *worker);
void ngx_http_fcchat_wheel_release(ngx_http_fcchat_worker_t *worker);

/* stops the timer when neither a session nor a handshake is left */
void ngx_http_fcchat_wheel_rest(ngx_http_fcchat_worker_t *worker);


/* ---- commands ---- */

/* a whole text message of the client */
void ngx_http_fcchat_command(ngx_http_fcchat_session_t *s, u_char *data,
    size_t len);

/* "reset": what was missed can't be sent */
void ngx_http_fcchat_reset(ngx_http_fcchat_session_t *s, const char *reason);

/*
 * A page of the room's log: {"type":"history"}.  before: seq, or 0.  NGX_OK:
 * the answer comes; NGX_BUSY: one is under way already; NGX_ERROR: it can't be
 * asked.
 */
ngx_int_t ngx_http_fcchat_history(ngx_http_fcchat_session_t *s, int64_t before,
    ngx_uint_t limit);

/* an event's JSON as fcchat.v1 has it, in the hub's scratch buffer; 0 without
 * memory */
size_t ngx_http_fcchat_history_event(ngx_http_fcchat_room_t *room,
    fcc_event_t *e, u_char **json);

/* 0, or the time (ms) until the client may read what was, page or resume */
ngx_msec_t ngx_http_fcchat_history_wait(ngx_http_fcchat_session_t *s);

/* the first frame of fcchat.v1 */
void ngx_http_fcchat_welcome(ngx_http_fcchat_session_t *s);


#endif /* _NGX_HTTP_FCCHAT_CLIENT_H_INCLUDED_ */
