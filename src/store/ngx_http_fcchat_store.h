
/*
 * The only SQL of the module: look-ups, the write batch, catch-up.
 *
 * A store is one fcchat_postgres in one worker.  Nothing here knows a socket of
 * a client or a room; whoever asks gives a handler.  A question may outlive who
 * asked: then the asker calls forget(), and the handler is not called any more.
 *
 * Every question names its schema.  Look-ups run with
 * set_config('search_path', '"schema", public', true) in the job's own
 * transaction, so that a connection carries nothing from one tenant to another
 * and a pooler in transaction mode does no harm.
 */


#ifndef _NGX_HTTP_FCCHAT_STORE_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_STORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http_fcchat_pg.h>
#include <fcc_proto.h>


#define NGX_HTTP_FCCHAT_STORE_SCHEMA_MAX  63
#define NGX_HTTP_FCCHAT_STORE_EPOCH_MAX   36

/* bounds of the write queue of a worker and how long a message may wait */
#define NGX_HTTP_FCCHAT_STORE_QUEUE_MAX   (1024 * 1024)     /* bytes */
#define NGX_HTTP_FCCHAT_STORE_BATCH_MAX   1000              /* rows */
#define NGX_HTTP_FCCHAT_STORE_WAIT        5000              /* ms */

#define NGX_HTTP_FCCHAT_STORE_REACTIONS   10000     /* waiting to be stored */
#define NGX_HTTP_FCCHAT_STORE_REACT_TICK  200       /* ms between batches */

#define NGX_HTTP_FCCHAT_STORE_STAMPS      1024      /* of a tenant, by id */


typedef struct ngx_http_fcchat_store_s       ngx_http_fcchat_store_t;
typedef struct ngx_http_fcchat_store_ask_s   ngx_http_fcchat_store_ask_t;
typedef struct ngx_http_fcchat_store_item_s  ngx_http_fcchat_store_item_t;


/* the outcome of a look-up or of an item */

typedef enum {
    NGX_HTTP_FCCHAT_STORE_OK = 0,

    /* no such row (session unknown or expired, no user, no room) */
    NGX_HTTP_FCCHAT_STORE_NONE,

    /* the server is away, busy, read-only, out of connections, ... */
    NGX_HTTP_FCCHAT_STORE_UNAVAILABLE,

    /* the schema lacks our tables: logged once per schema and minute, with
     * the file to apply */
    NGX_HTTP_FCCHAT_STORE_SCHEMA,

    /* a look-up only: there is no such schema */
    NGX_HTTP_FCCHAT_STORE_NO_SCHEMA,

    /* items: this row was refused by the database (a constraint, a check of
     * the site's own); its neighbours were committed.  moderation: what is
     * asked for makes no sense */
    NGX_HTTP_FCCHAT_STORE_REJECTED,

    /* items and moderation: the room is gone or not active any more */
    NGX_HTTP_FCCHAT_STORE_ROOM_GONE,

    /* likewise the user */
    NGX_HTTP_FCCHAT_STORE_USER_GONE,

    /* moderation and its lists: the user may not, or not with this one */
    NGX_HTTP_FCCHAT_STORE_FORBIDDEN,

    /* moderation only: there are as many bans or pins as there may be */
    NGX_HTTP_FCCHAT_STORE_FULL
} ngx_http_fcchat_store_rc_e;


/* the statements that fcchat_query replaces */

typedef enum {
    NGX_HTTP_FCCHAT_STORE_Q_SESSION = 0,
    NGX_HTTP_FCCHAT_STORE_Q_USER,
    NGX_HTTP_FCCHAT_STORE_Q_ROOM,
    NGX_HTTP_FCCHAT_STORE_Q_STAMPS,
    NGX_HTTP_FCCHAT_STORE_Q_OWNER,
    NGX_HTTP_FCCHAT_STORE_Q_REACTION,
    NGX_HTTP_FCCHAT_STORE_QUERIES
} ngx_http_fcchat_store_query_e;


typedef struct {
    const char                     *sql[NGX_HTTP_FCCHAT_STORE_QUERIES];
                                                    /* "": ours */
} ngx_http_fcchat_store_queries_t;


/* what a store is made from; outlives it */

typedef struct {
    ngx_http_fcchat_pg_conf_t      *pg;
    ngx_http_fcchat_store_queries_t
                                   *queries;
    ngx_array_t                    *schemas;        /* ngx_str_t: those that
                                                     * the configuration names,
                                                     * or NULL */
    ngx_array_t                    *tenants;        /* const char *: SQL of
                                                     * store_tenants_sql(), or
                                                     * NULL */
    time_t                          retention;      /* s; 0: off */
} ngx_http_fcchat_store_conf_t;


typedef struct {
    int64_t                         id;
    ngx_str_t                       username;
    ngx_str_t                       password;   /* encoded, for the hash */
    unsigned                        active:1;
    unsigned                        staff:1;
} ngx_http_fcchat_store_user_t;


/* whose rights are asked for; and what was found */

typedef struct {
    ngx_str_t                       key;        /* of the session; empty: it is
                                                 * not in the database */
    int64_t                         user_id;
    uint32_t                        mark;       /* of the last answer, or 0 */
} ngx_http_fcchat_store_claim_t;


typedef struct {
    unsigned                        session:1;  /* there is one, alive */
    unsigned                        user:1;     /* there is one */
    unsigned                        active:1;
    unsigned                        staff:1;
    unsigned                        same:1;     /* as when the mark was given:
                                                 * no data, no password */
    uint32_t                        mark;
    ngx_str_t                       data;       /* session_data */
    ngx_str_t                       password;
} ngx_http_fcchat_store_right_t;


typedef struct {
    int64_t                         id;
    int64_t                         stream_id;  /* 0: NULL */
    ngx_str_t                       epoch;
    int64_t                         head;
    unsigned                        moderated:1;    /* by name only: the schema
                                                     * has what that needs */
} ngx_http_fcchat_store_room_t;


typedef struct {
    int64_t                         room_id;
    ngx_str_t                       epoch;
    int64_t                         head;
} ngx_http_fcchat_store_head_t;


/* reactions with a stamp in one minute */

typedef struct {
    int64_t                         minute;     /* its begin, ms, UTC */
    int64_t                         stamp_id;
    int64_t                         count;
} ngx_http_fcchat_store_total_t;


/* a message of the site's own back end */

typedef struct {
    int64_t                         seq;
    int64_t                         id;
    int64_t                         at;         /* ms, UTC */
    ngx_str_t                       epoch;
    unsigned                        again:1;    /* the cid was there */
    unsigned                        gone:1;     /* the room is, and no more
                                                 * is set */
} ngx_http_fcchat_store_published_t;


/* how many another worker has in a room, and for how long that is known */

typedef struct {
    int64_t                         room_id;
    ngx_str_t                       worker;
    int64_t                         count;
    int64_t                         age;        /* ms */
} ngx_http_fcchat_store_viewers_t;


/* one thing that a worker keeps of a room */

typedef enum {
    NGX_HTTP_FCCHAT_STORE_HEAD = 0,     /* id: the owner, text: the epoch, seq:
                                         * the head, until: slow mode (s) */
    NGX_HTTP_FCCHAT_STORE_MODERATOR,    /* user_id */
    NGX_HTTP_FCCHAT_STORE_BAN,          /* user_id, or 0 and an address (CIDR)
                                         * as text */
    NGX_HTTP_FCCHAT_STORE_TIMEOUT,      /* user_id */
    NGX_HTTP_FCCHAT_STORE_PIN           /* the message */
} ngx_http_fcchat_store_state_e;


typedef struct {
    int64_t                         room_id;    /* 0: of all rooms */
    ngx_http_fcchat_store_state_e   what;
    int64_t                         id;
    int64_t                         user_id;
    int64_t                         seq;
    int64_t                         at;
    int64_t                         until;      /* ms; 0: no end */
    ngx_str_t                       username;
    ngx_str_t                       role;
    ngx_str_t                       text;
} ngx_http_fcchat_store_state_t;


/* what a step of deleting has come to, in rows */

typedef struct {
    int64_t                         messages;
    int64_t                         events;
    int64_t                         reactions;
    int64_t                         bans;
    int64_t                         kept;       /* others refer to them */
    int64_t                         wait;       /* ms until the next one */
    int64_t                         finished;   /* the last run: s, or 0 */
    unsigned                        more:1;     /* of this run */
    unsigned                        done:1;     /* the run has ended */
} ngx_http_fcchat_store_retained_t;


/*
 * The answer to a look-up.  What it points to lives during the handler only.
 * kind says which member is valid, and only when rc is OK.
 */

typedef struct {
    ngx_http_fcchat_store_rc_e      rc;
    ngx_str_t                       data;       /* session: session_data;
                                                 * tenant: the schema's name */
    ngx_http_fcchat_store_user_t    user;
    ngx_http_fcchat_store_room_t    room;       /* room, events: as of then */
    ngx_uint_t                      n;          /* of what follows */
    fcc_stamp_t                    *stamps;
    fcc_event_t                    *events;     /* ascending seq */
    ngx_http_fcchat_store_head_t   *heads;
    ngx_http_fcchat_store_viewers_t
                                   *viewers;
    ngx_http_fcchat_store_state_t  *state;
    unsigned                        again:1;    /* moderation: the cid was
                                                 * there */
    ngx_http_fcchat_store_right_t  *rights;     /* as they were asked for */
    ngx_http_fcchat_store_total_t  *totals;     /* by minute, then stamp */
    ngx_http_fcchat_store_published_t
                                    published;
    ngx_http_fcchat_store_retained_t
                                   *retained;
} ngx_http_fcchat_store_answer_t;


typedef void (*ngx_http_fcchat_store_ask_pt)(void *data,
    ngx_http_fcchat_store_answer_t *answer);


/*
 * A message on its way to the log.  Made by item(), filled by the caller, taken
 * by write(); done() is called exactly once after the fate is known, never from
 * inside write(); the item is freed after done() returns.  room and client are
 * the caller's; a client that goes sets item->client to NULL.
 */

struct ngx_http_fcchat_store_item_s {
    ngx_queue_t                     queue;          /* the store's */
    void                           *room;
    void                           *client;
    void                          (*done)(ngx_http_fcchat_store_item_t *item);

    ngx_str_t                       schema;         /* lives as long as room */
    int64_t                         room_id;
    int64_t                         user_id;
    int64_t                         have;           /* the writer's: what the */
    ngx_uint_t                      logs;           /* room had, of which log */
    ngx_str_t                       cid;            /* in the item; "" then one
                                                     * is made, so that our own
                                                     * retries are safe */
    ngx_str_t                       text;           /* in the item */
    ngx_str_t                       username;       /* in the item; for the */
    ngx_str_t                       role;           /* events it becomes */

    /* the outcome, valid in done() */
    ngx_http_fcchat_store_rc_e      rc;
    unsigned                        again:1;        /* the cid was there: seq
                                                     * and id are the first
                                                     * one's, not a new event */
    int64_t                         seq;
    int64_t                         id;
    int64_t                         at;             /* ms, UTC */
    u_char                          epoch[NGX_HTTP_FCCHAT_STORE_EPOCH_MAX];
    size_t                          epoch_len;

    /* the store's */
    size_t                          size;
    ngx_msec_t                      deadline;
    uint64_t                        taken;      /* us, for the figures */
    ngx_uint_t                      made_cid;
};


/* drained is called when the last written item of a
 * batch has had its done(), so that the caller can publish what gathered */

ngx_http_fcchat_store_t *ngx_http_fcchat_store_create(
    ngx_http_fcchat_store_conf_t *conf, void (*drained)(void *data),
    void *data, ngx_log_t *log);
void ngx_http_fcchat_store_destroy(ngx_http_fcchat_store_t *store);

/* 1 when PostgreSQL can be asked now */
ngx_uint_t ngx_http_fcchat_store_up(ngx_http_fcchat_store_t *store);

/* messages and reactions not yet stored: an exiting worker waits for 0 */
ngx_uint_t ngx_http_fcchat_store_pending(ngx_http_fcchat_store_t *store);


/*
 * Look-ups.  Each returns the question, or NULL when it can't be asked (away,
 * too many, no memory): the handler is not called then.  Otherwise the handler
 * is called exactly once, never from inside, unless forget() came first.
 * Strings are copied.
 */

/*
 * fcchat_query, while the configuration is read: which one has this name, or
 * NGX_ERROR; the name of each; and what is wrong with the text of one, written
 * to p: its end, or NULL when nothing is.
 */
ngx_int_t ngx_http_fcchat_store_query_find(ngx_str_t *name);
ngx_str_t *ngx_http_fcchat_store_query_name(ngx_http_fcchat_store_query_e n);
u_char *ngx_http_fcchat_store_query_wrong(ngx_http_fcchat_store_query_e n,
    ngx_str_t *sql, u_char *p, u_char *last);


/* django_session by key, alive by the database's clock: answer->data */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_session(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, ngx_str_t *key,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/*
 * The statement for tenant() below, in the pool, from the names of
 * django-tenants' tables: NAME (in public) or SCHEMA.NAME, of letters, digits
 * and underscores.  NULL when they are no such names, or without memory.
 */
const char *ngx_http_fcchat_store_tenant_sql(ngx_pool_t *pool,
    ngx_str_t *domains, ngx_str_t *tenants);

/*
 * Likewise the statement that lists the names of all tenants' schemas: those
 * after $1, $2 of them at most.
 */
const char *ngx_http_fcchat_store_tenants_sql(ngx_pool_t *pool,
    ngx_str_t *tenants);

/*
 * The tenant that has host as a domain: answer->data is its schema's name as
 * the table has it, not checked.  sql outlives the store.
 */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_tenant(
    ngx_http_fcchat_store_t *store, const char *sql, ngx_str_t *host,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/* accounts_user by id: answer->user, active or not */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_user(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t id,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/*
 * django_session and accounts_user for many at once: answer->rights has one for
 * each claim, in their order.  Keys are of letters and digits only; where no
 * claim has one django_session is not read.
 */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_rights(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema,
    ngx_http_fcchat_store_claim_t *claims, ngx_uint_t n,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/* chat_chatroom by name and is_active, with the head of its log (0 and the
 * epoch it will have when nothing was written yet; epoch "" on a standby where
 * the head is not made yet), and whether there is sql/003: answer->room */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_room(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, ngx_str_t *name,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/* all of chat_chatstamp: answer->stamps */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_stamps(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/* the events after seq, ascending, at most limit, with the users' present names
 * and the room's epoch and head: answer->events, answer->room.  NONE: the room
 * has no head.  What was deleted keeps its number, with type "deleted" and no
 * text; where the user is gone user_id is 0 and username "".  role is only
 * "moderator" for is_staff or "member" */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_events(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t room_id,
    int64_t after, ngx_uint_t limit, ngx_http_fcchat_store_ask_pt handler,
    void *data);

/* the same of the events before seq, the last of them, ascending all the
 * same */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_before(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t room_id,
    int64_t before, ngx_uint_t limit, ngx_http_fcchat_store_ask_pt handler,
    void *data);

/* the message with this id in the room: as above with one event, or none */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_message(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t room_id,
    int64_t id, ngx_http_fcchat_store_ask_pt handler, void *data);

/*
 * How often which stamp was used in each minute from "from" on, before "to"
 * (ms, UTC), at most limit rows of the first minutes: answer->totals.  It is
 * given up after a second, so that it holds up no other look-up for longer.
 */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_totals(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t stream_id,
    int64_t from, int64_t to, ngx_uint_t limit,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/*
 * Writes a message of type "system" without a user: answer->published.  cid may
 * be empty; the same one again is the same message.  UNAVAILABLE means unknown;
 * NONE: the database refuses the row.
 */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_publish(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t room_id,
    ngx_str_t *cid, ngx_str_t *text, ngx_http_fcchat_store_ask_pt handler,
    void *data);

/* epoch and head of each of these rooms that has one, in any order:
 * answer->heads */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_heads(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t *rooms,
    ngx_uint_t n, ngx_http_fcchat_store_ask_pt handler, void *data);

/*
 * The log went back.  Gives the room another epoch, if it still has this one,
 * so that nobody takes the new numbers for the old ones: answer->heads has the
 * room's present epoch and head.
 */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_epoch(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t room_id,
    ngx_str_t *epoch, ngx_http_fcchat_store_ask_pt handler, void *data);

/*
 * Tells what this worker has in each of these rooms, none of them twice, and
 * asks what the others have that were heard of within 5 s: answer->viewers.
 * A read-only server is told nothing; a standby knows of nobody.
 */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_viewers(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, ngx_str_t *worker,
    int64_t *rooms, int64_t *counts, ngx_uint_t n,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/*
 * What a moderator asks for, by sql/003: in the room, or (room_id 0) in all of
 * the schema.  actor: the user, or 0: the site itself, which may do all.  OK:
 * answer->events[0] is the event, of answer->room.epoch, but for the user's
 * name and role; with answer->again only seq, id and at are set, and it is an
 * event from before.  Else NONE (no such message or user, or nothing to undo),
 * FORBIDDEN, REJECTED, FULL, ROOM_GONE, USER_GONE; SCHEMA: there is no sql/003.
 * UNAVAILABLE means unknown, as for an item.
 */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_moderate(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t room_id,
    int64_t actor, fcc_mod_t *mod, ngx_str_t *cid,
    ngx_http_fcchat_store_ask_pt handler, void *data);

/* all that is kept of these rooms, as of one moment: answer->state, a HEAD for
 * each of them, with epoch "" where nothing was written yet */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_state(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t *rooms,
    ngx_uint_t n, ngx_http_fcchat_store_ask_pt handler, void *data);

/*
 * The bans and timeouts of the room that have not ended, or what its moderators
 * did, or (room_id 0) those of all rooms: the last ones with an id below before
 * one, descending, at most limit.  actor as above.  OK: answer->events, with
 * the row's id; a ban has the seq 0.  FORBIDDEN: the actor may not see them.
 */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_bans(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t room_id,
    int64_t actor, int64_t before, ngx_uint_t limit,
    ngx_http_fcchat_store_ask_pt handler, void *data);
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_store_audit(
    ngx_http_fcchat_store_t *store, ngx_str_t *schema, int64_t room_id,
    int64_t actor, int64_t before, ngx_uint_t limit,
    ngx_http_fcchat_store_ask_pt handler, void *data);

void ngx_http_fcchat_store_forget(ngx_http_fcchat_store_ask_t *ask);


/*
 * An item with copies of the strings, or NULL.  The other members are the
 * caller's to set before write().
 */
ngx_http_fcchat_store_item_t *ngx_http_fcchat_store_item(ngx_str_t *cid,
    ngx_str_t *text, ngx_str_t *username, ngx_str_t *role);

/* for an item that was not taken */
void ngx_http_fcchat_store_item_free(ngx_http_fcchat_store_item_t *item);

/*
 * Takes the item into the next batch.  While one batch of the worker is in
 * flight the next gathers; at rest an item goes with the next turn of the event
 * loop.  NGX_BUSY when the queue is full (NGX_HTTP_FCCHAT_STORE_QUEUE_MAX),
 * NGX_ERROR without memory, for a NUL in the text or the cid, or a schema that
 * can't be one: the item is still the caller's.
 *
 * Each schema has a batch of its own in flight, so that tables which are locked
 * or missing in one do not hold up the others.  Items of one room are done in
 * the order of write(), and in the order of their numbers.
 *
 * UNAVAILABLE means unknown: the item may be in the log all the same, and the
 * same cid gives its number then (again: 1).  It comes at the latest
 * NGX_HTTP_FCCHAT_STORE_WAIT and the pool's timeout after write().
 */
ngx_int_t ngx_http_fcchat_store_write(ngx_http_fcchat_store_t *store,
    ngx_http_fcchat_store_item_t *item);

/*
 * A reaction for streaming_streamreaction, in batches, not acknowledged: may
 * lose what a crash of the worker finds in the queue (at most
 * NGX_HTTP_FCCHAT_STORE_REACT_TICK plus one round trip), and what PostgreSQL
 * could not store for 25 of these ticks.  NGX_BUSY when the queue is full.
 */
ngx_int_t ngx_http_fcchat_store_reaction(ngx_http_fcchat_store_t *store,
    ngx_str_t *schema, int64_t stream_id, int64_t user_id, int64_t stamp_id);


#endif /* _NGX_HTTP_FCCHAT_STORE_H_INCLUDED_ */
