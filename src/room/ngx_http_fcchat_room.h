
/*
 * Rooms of a worker.  A hub is one PostgreSQL with one set of Redis servers;
 * a room is a log in it, kept while somebody reads or writes it and a while
 * longer.
 *
 * How a room learns what was committed, fastest first: from this worker's own
 * batch, from the bus, from PostgreSQL.  Only the number decides: have + 1 is
 * appended, what is not above have is dropped, what is further ahead waits a
 * moment and then PostgreSQL is asked.
 */


#ifndef _NGX_HTTP_FCCHAT_ROOM_H_INCLUDED_
#define _NGX_HTTP_FCCHAT_ROOM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http_fcchat_net.h>
#include <ngx_http_fcchat_pg.h>
#include <ngx_http_fcchat_redis.h>
#include <ngx_http_fcchat_store.h>
#include <ngx_http_fcchat_member.h>
#include <ngx_http_fcchat_rate.h>
#include <ngx_http_fcchat_deflate.h>
#include <ngx_http_fcchat_rules.h>
#include <fcc_bus.h>
#include <fcc_proto.h>
#include <fcc_seal.h>


#define NGX_HTTP_FCCHAT_OVERLOADED     4013     /* close code: no memory */
#define NGX_HTTP_FCCHAT_HOLD_MAX       64       /* events ahead of a hole */
#define NGX_HTTP_FCCHAT_HOLD_TIME      20       /* ms */
#define NGX_HTTP_FCCHAT_CATCHUP_LIMIT  500      /* events of one question */
#define NGX_HTTP_FCCHAT_RESUME_MAX     5000     /* events sent again */
#define NGX_HTTP_FCCHAT_ROOM_LINGER    30000    /* ms without anybody */
#define NGX_HTTP_FCCHAT_PREFIX_MAX     64       /* bytes of the bus prefix */
#define NGX_HTTP_FCCHAT_ROOM_CHECK     5000     /* ms a room is believed */
#define NGX_HTTP_FCCHAT_TICK           1000     /* ms: heads, viewers, linger */
#define NGX_HTTP_FCCHAT_TICK_ALONE     150      /* ms, while the bus is away */
#define NGX_HTTP_FCCHAT_REACT_TICK     200      /* ms between counts */
#define NGX_HTTP_FCCHAT_COUNTS_MAX     64       /* stamps in one count */
#define NGX_HTTP_FCCHAT_PEERS_MAX      256      /* workers seen in a room */
#define NGX_HTTP_FCCHAT_PEER_FRESH     4000     /* ms a count is believed */
#define NGX_HTTP_FCCHAT_SHOWN_MAX      32       /* pins in the logs with text */
#define NGX_HTTP_FCCHAT_STAMP_WAIT_MAX 1024     /* reactions that wait */
#define NGX_HTTP_FCCHAT_TEXT_MAX       65536    /* bytes of a text sent on */
#define NGX_HTTP_FCCHAT_WALK_BUDGET    32       /* sends between two turns */
#define NGX_HTTP_FCCHAT_RETRY_AFTER    1000     /* ms, told with an error */


typedef struct ngx_http_fcchat_hub_s   ngx_http_fcchat_hub_t;
typedef struct ngx_http_fcchat_room_s  ngx_http_fcchat_room_t;
typedef struct ngx_http_fcchat_presence_s  ngx_http_fcchat_presence_t;


/*
 * The encodings of a log; a reader is of one of them for life.  Each has two
 * logs: the second, NGX_HTTP_FCCHAT_DEFLATED further, is for those who have
 * agreed on permessage-deflate.
 */

typedef enum {
    NGX_HTTP_FCCHAT_OLD_HTML = 0,       /* old protocol, HTML-escaped */
    NGX_HTTP_FCCHAT_OLD_RAW,
    NGX_HTTP_FCCHAT_V1,
    NGX_HTTP_FCCHAT_ENCODINGS
} ngx_http_fcchat_encoding_e;

#define NGX_HTTP_FCCHAT_DEFLATED   NGX_HTTP_FCCHAT_ENCODINGS
#define NGX_HTTP_FCCHAT_AUDIENCES  (2 * NGX_HTTP_FCCHAT_ENCODINGS)


/* what makes two locations share a hub; from the configuration */

typedef struct {
    ngx_http_fcchat_store_conf_t    store;
    ngx_array_t                    *redis;  /* ngx_http_fcchat_redis_conf_t, or
                                             * NULL */
    ngx_str_t                       prefix;
    fcc_seal_t                     *seal;   /* of envelopes; NULL: none */
    ngx_str_t                       media;  /* before relative stamp images */
    ngx_msec_t                      coalesce;   /* between two walks */
} ngx_http_fcchat_hub_conf_t;


/* a link to one Redis server */

typedef struct {
    ngx_http_fcchat_hub_t          *hub;
    ngx_http_fcchat_redis_t        *redis;
} ngx_http_fcchat_link_t;


/* bytes to publish in the next envelope */

typedef struct {
    u_char                         *buf;
    size_t                          size;
    size_t                          len;
    ngx_uint_t                      n;
} ngx_http_fcchat_outbox_t;


typedef struct {
    int64_t                         id;
    ngx_str_t                       username;
    ngx_str_t                       role;
} ngx_http_fcchat_author_t;


struct ngx_http_fcchat_hub_s {
    ngx_http_fcchat_hub_conf_t     *conf;
    ngx_http_fcchat_store_t        *store;
    ngx_http_fcchat_deflate_t      *deflate;    /* the worker's */
    ngx_http_fcchat_link_t         *links;
    ngx_uint_t                      nlinks;
    ngx_log_t                      *log;
    fcc_str_t                       worker;     /* our id on the bus */
    u_char                          id[FCC_BUS_WORKER_LEN];

    ngx_rbtree_t                    rooms;      /* by schema and name */
    ngx_rbtree_node_t               rooms_sentinel;
    ngx_rbtree_t                    channels;   /* by channel */
    ngx_rbtree_node_t               channels_sentinel;
    ngx_queue_t                     all;        /* open rooms */
    ngx_uint_t                      nrooms;

    ngx_queue_t                     dirty;      /* have something to send */
    ngx_queue_t                     walking;    /* and have sent some of it */
    ngx_event_t                     fanout;
    ngx_event_t                     walk;
    ngx_queue_t                     outbox;     /* have something to publish */
    ngx_event_t                     publish;
    ngx_queue_t                     counting;   /* have counts of reactions */
    ngx_event_t                     react;
    ngx_event_t                     tick;
    ngx_event_t                     poll;       /* some rooms are stale */
    ngx_queue_t                     polls;      /* questions about heads */
    ngx_queue_t                     tallies;    /* and about viewers */
    ngx_msec_t                      ticked;     /* the last whole tick */

    ngx_queue_t                     stamps;     /* tables, one a schema */

    ngx_shm_zone_t                 *zone;       /* of fcchat_rate, or NULL */
    ngx_str_t                       rates;      /* channel: what was sent */
    ngx_http_fcchat_outbox_t        spent;      /* and is to be told there */
    int64_t                         nspent;     /* envelopes */
    ngx_event_t                     spend;

    ngx_str_t                       rights;     /* channel: whose to check */

    /* somebody said that what this user may, or with user 0 what this session
     * is, has changed: they are to be asked for, soon; not from inside */
    void                          (*recheck)(void *client,
                                        ngx_http_fcchat_hub_t *hub,
                                        ngx_str_t *schema, int64_t user,
                                        ngx_str_t *session);
    void                           *client;

    ngx_shm_zone_t                 *ring;       /* NULL: nobody wants it */
    uint64_t                        ring_pos;   /* what was read of it */
    ngx_event_t                     present;    /* somebody came */

    /* whose socket it is; NULL: nobody's that is told of */
    ngx_http_fcchat_author_t     *(*who)(ngx_http_fcchat_member_t *m);

    u_char                         *scratch;    /* one encoded event */
    size_t                          scratch_size;
    ngx_http_fcchat_seldom_t        malformed;  /* what the bus brought */

    /* the sessions' owner's: the close code for a member that may not be in its
     * room any more, or 0 */
    ngx_uint_t                    (*judge)(ngx_http_fcchat_member_t *m);
};


typedef struct {
    u_char                          id[FCC_BUS_WORKER_LEN];
    int64_t                         count;
    ngx_msec_t                      seen;
} ngx_http_fcchat_peer_t;


/* an event that came before its turn; one block of memory */

typedef struct {
    ngx_queue_t                     queue;      /* ascending seq */
    fcc_event_t                     event;
} ngx_http_fcchat_held_t;


typedef struct {
    int64_t                         seq;        /* of the pin, 0: none */
    int64_t                         message;    /* its number */
    int64_t                         id;         /* and its row */
} ngx_http_fcchat_shown_t;


struct ngx_http_fcchat_room_s {
    ngx_str_node_t                  node;       /* "schema\0name" */
    ngx_str_node_t                  channel;
    ngx_http_fcchat_hub_t          *hub;
    ngx_str_t                       schema;
    ngx_str_t                       name;
    ngx_queue_t                     queue;      /* hub->all */

    unsigned                        open:1;     /* found in the database */
    unsigned                        in_dirty:1;
    unsigned                        in_outbox:1;
    unsigned                        in_counting:1;
    unsigned                        stale:1;    /* its head is to be asked */
    unsigned                        moderated:1;    /* its state was read */
    unsigned                        unruled:1;  /* and is to be read anew */
    unsigned                        tainted:1;  /* the backfill may have what
                                                 * was deleted since */

    ngx_uint_t                      refs;       /* members, items, waiters */
    ngx_msec_t                      idle;       /* since when refs is 0 */
    ngx_http_fcchat_store_ask_t    *lookup;
    ngx_queue_t                     waiters;    /* for the look-up */
    ngx_msec_t                      checked;    /* when it was last found */
    ngx_http_fcchat_store_ask_t    *catchup;

    int64_t                         id;
    int64_t                         stream_id;
    size_t                          epoch_len;
    u_char                          epoch[NGX_HTTP_FCCHAT_STORE_EPOCH_MAX];
    int64_t                         have;       /* the last seq in the logs */
    ngx_uint_t                      nothing;    /* answers without events */

    ngx_http_fcchat_audience_t      audiences[NGX_HTTP_FCCHAT_AUDIENCES];
    ngx_queue_t                     dirty;
    ngx_msec_t                      walked;     /* when the last walk began */
    ngx_event_t                     gather;     /* the next one may begin */
    ngx_queue_t                     outbox;
    ngx_queue_t                     counting;

    ngx_queue_t                     resumers;   /* members that wait */
    ngx_http_fcchat_store_ask_t    *backfill;
    ngx_http_fcchat_store_ask_t    *renew;      /* of the epoch */
    int64_t                         before;     /* of the backfill */
    int64_t                         asked;      /* have when heads were asked */
    ngx_uint_t                      polled;     /* heads were, so often */
    ngx_uint_t                      logs;       /* another one so often */

    ngx_queue_t                     held;
    ngx_uint_t                      nheld;
    ngx_uint_t                      unknown;    /* answers without them */
    ngx_event_t                     hold;       /* the hole has lasted */

    ngx_http_fcchat_outbox_t        events;
    ngx_http_fcchat_outbox_t        reactions;

    fcc_count_t                    *counts;
    ngx_uint_t                      ncounts;

    ngx_http_fcchat_peer_t         *peers;
    ngx_uint_t                      npeers;
    int64_t                         viewers;    /* told last */
    int64_t                         published;  /* our own count, told last */
    ngx_msec_t                      published_at;
    int64_t                         tally;      /* told to PostgreSQL last */
    ngx_msec_t                      tallied_at;
    ngx_http_fcchat_presence_t     *presence;   /* NULL: nobody wants it */

    ngx_http_fcchat_rules_t        *rules;      /* NULL: there are none */
    ngx_http_fcchat_room_t         *tenant;     /* of all rooms, with a ref */
    ngx_http_fcchat_store_ask_t    *state;      /* the rules, anew */
    int64_t                         owner;      /* user, or 0 */
    int64_t                         ruled;      /* events up to it are in */
    int64_t                         applied;    /* the last of those above */
    ngx_uint_t                      deletes;    /* so often */

    /* the last pins in the logs, whose frames show a text */

    ngx_http_fcchat_shown_t        *shown;      /* SHOWN_MAX; NULL: none yet */
};


/* somebody who waits for a room; embedded by whoever asks */

typedef struct ngx_http_fcchat_waiter_s  ngx_http_fcchat_waiter_t;

struct ngx_http_fcchat_waiter_s {
    ngx_queue_t                     queue;
    ngx_http_fcchat_room_t         *room;       /* NULL: does not wait */

    /* the room, which has one more ref then, or NULL and why not; the waiter
     * may be gone when this returns */
    void                          (*ready)(ngx_http_fcchat_waiter_t *w,
                                        ngx_http_fcchat_room_t *room,
                                        ngx_http_fcchat_store_rc_e rc);
};


/* how a message or a reaction ended, for its sender */

typedef struct {
    const char                     *code;       /* NULL: stored */
    const char                     *text;
    ngx_msec_int_t                  retry_after;    /* ms, or -1 */
    int64_t                         seq;
    int64_t                         id;
    ngx_str_t                       cid;
} ngx_http_fcchat_outcome_t;

/*
 * Somebody who said something and may be gone when its fate is known.
 * Counted: the session holds one reference, each thing under way another.
 */

typedef struct {
    ngx_uint_t                      refs;
    void                           *session;    /* NULL: gone */
    void                          (*done)(void *session,
                                        ngx_http_fcchat_outcome_t *outcome);
} ngx_http_fcchat_sender_t;


/* ---- hub ---- */

/* the runtime of a hub in this worker, which outlives neither; NULL without
 * memory */
ngx_http_fcchat_hub_t *ngx_http_fcchat_hub_create(
    ngx_http_fcchat_hub_conf_t *conf, ngx_http_fcchat_deflate_t *deflate,
    ngx_log_t *log);

/* at the worker's exit, when no session is left */
void ngx_http_fcchat_hub_destroy(ngx_http_fcchat_hub_t *hub);

/* the link that carries a channel, or NULL when there is no Redis at all */
ngx_http_fcchat_redis_t *ngx_http_fcchat_hub_link(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *channel);

/* 1 when all Redis servers are up and so hints can be relied on to come */
ngx_uint_t ngx_http_fcchat_hub_hinted(ngx_http_fcchat_hub_t *hub);

/* the scratch buffer with at least size bytes, or NULL */
u_char *ngx_http_fcchat_hub_scratch(ngx_http_fcchat_hub_t *hub, size_t size);

/* soon: ask PostgreSQL for the heads of the rooms that are stale */
void ngx_http_fcchat_hub_poll_soon(ngx_http_fcchat_hub_t *hub);


/* ---- rooms ---- */

/*
 * The room by name.  NGX_OK: *room has one more ref.  NGX_AGAIN: w->ready will
 * be called, not from inside.  NGX_DECLINED: PostgreSQL can't be asked now;
 * NGX_ERROR: no memory.  One look-up at a time for a room, however many wait;
 * a name that does not exist leaves nothing behind.  A room that is open is had
 * while PostgreSQL is away as well.
 */
ngx_int_t ngx_http_fcchat_room_get(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema, ngx_str_t *name, ngx_http_fcchat_waiter_t *w,
    ngx_http_fcchat_room_t **room);

/* stops waiting; idempotent */
void ngx_http_fcchat_room_forget(ngx_http_fcchat_waiter_t *w);

/* gives a ref back */
void ngx_http_fcchat_room_put(ngx_http_fcchat_room_t *room);

/* frees a room that has no refs */
void ngx_http_fcchat_room_destroy(ngx_http_fcchat_room_t *room);

/* opens a room at the head that was found; NGX_ERROR without memory */
ngx_int_t ngx_http_fcchat_room_open(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_room_t *found);

/* one for what holds in all rooms of a schema, to be opened; or NULL */
ngx_http_fcchat_room_t *ngx_http_fcchat_room_tenant(
    ngx_http_fcchat_hub_t *hub, ngx_str_t *schema);

/* the open room with this id or this channel, or NULL */
ngx_http_fcchat_room_t *ngx_http_fcchat_room_by_id(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema, int64_t id);
ngx_http_fcchat_room_t *ngx_http_fcchat_room_by_channel(
    ngx_http_fcchat_hub_t *hub, ngx_str_t *channel);

/* a member of the log joins at the head; NGX_ERROR without memory */
ngx_int_t ngx_http_fcchat_room_join(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m, ngx_uint_t log);

/*
 * A member joins behind the event "since": at once when the log reaches back so
 * far, else when PostgreSQL has been asked for what lies between, once for all
 * that wait.  lost() is called, now or later, when that can't be: the member
 * has not joined then.  NGX_ERROR without memory.
 */
ngx_int_t ngx_http_fcchat_room_resume(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_member_t *m, ngx_uint_t log, int64_t since);

/* something has changed that those who wait may wait for */
void ngx_http_fcchat_room_resuming(ngx_http_fcchat_room_t *room);

/* PostgreSQL, asked for it, says that have is the head: who was ahead of it by
 * then is lost */
void ngx_http_fcchat_room_ahead(ngx_http_fcchat_room_t *room);

/* all that wait are lost */
void ngx_http_fcchat_room_resumed(ngx_http_fcchat_room_t *room,
    const char *reason);

/* readers of this worker, and those of one encoding */
ngx_uint_t ngx_http_fcchat_room_members(ngx_http_fcchat_room_t *room);
ngx_uint_t ngx_http_fcchat_room_readers(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_encoding_e encoding);

/* asks whether it is still open, if that was not asked for a while: members of
 * a room that is not are closed with 4404 */
void ngx_http_fcchat_room_recheck(ngx_http_fcchat_room_t *room);

/* and of all that are known */
int64_t ngx_http_fcchat_room_viewers(ngx_http_fcchat_room_t *room);


/* ---- the log ---- */

/*
 * What came, from wherever: appends, drops or holds it.  The event's strings
 * are the caller's.  epoch is checked against the room's.
 */
void ngx_http_fcchat_room_event(ngx_http_fcchat_room_t *room, fcc_event_t *e,
    ngx_str_t *epoch);

/*
 * What this worker committed just now: onto the bus and into the log.  have and
 * logs are the room's, as they were when it was sent to be stored.
 */
void ngx_http_fcchat_room_stored(ngx_http_fcchat_room_t *room, fcc_event_t *e,
    ngx_str_t *epoch, int64_t have, ngx_uint_t logs);

/* asks PostgreSQL for what came after have, single-flight */
void ngx_http_fcchat_room_catchup(ngx_http_fcchat_room_t *room);

/* the head that PostgreSQL told */
void ngx_http_fcchat_room_head(ngx_http_fcchat_room_t *room, ngx_str_t *epoch,
    int64_t head);

/*
 * The log in PostgreSQL went back: it told head, or gave out that number, when
 * the room had come to have before.
 */
void ngx_http_fcchat_room_back(ngx_http_fcchat_room_t *room, int64_t have,
    int64_t head);

/* forgets the held events */
void ngx_http_fcchat_room_unhold(ngx_http_fcchat_room_t *room);

/* 1 when it is the room's own */
ngx_uint_t ngx_http_fcchat_room_same_epoch(ngx_http_fcchat_room_t *room,
    ngx_str_t *epoch);

/* a frame for all readers of one encoding that is not persisted */
void ngx_http_fcchat_room_ephemeral(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_encoding_e encoding, fcc_buf_t *b);

/* 1 when somebody reads this log, or did a moment ago */
ngx_uint_t ngx_http_fcchat_room_reads(ngx_http_fcchat_room_t *room,
    ngx_uint_t log);

/* the opcode of a frame for this log; *data and *len are the compressed message
 * where the log's are and it becomes shorter, until the next call */
ngx_uint_t ngx_http_fcchat_room_pack(ngx_http_fcchat_room_t *room,
    ngx_uint_t log, u_char **data, size_t *len);

/* when the event was, for its place in a log: in seconds, and not 0 */
ngx_uint_t ngx_http_fcchat_room_at(fcc_event_t *e);

/* the event's JSON in one encoding; nothing where it has no word for it */
void ngx_http_fcchat_room_encode(fcc_buf_t *b, fcc_event_t *e,
    ngx_uint_t encoding);

/* memory for that, or NULL; a text that is not from us may be cut for it */
u_char *ngx_http_fcchat_room_scratch(ngx_http_fcchat_room_t *room,
    fcc_event_t *e, size_t *size);

/* has the fan-out visit the room in this turn */
void ngx_http_fcchat_room_dirty(ngx_http_fcchat_room_t *room);


/* ---- saying something ---- */

/*
 * Sends a message on its way; sender->done tells its fate, not from inside.
 * NGX_OK, NGX_BUSY (queue full) or NGX_ERROR (no memory): done is not called
 * then.  Strings are copied.  One that is not stored gives back what slow mode
 * and the rate took for it, also when the sender is gone.
 */
ngx_int_t ngx_http_fcchat_say(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author, fcc_str_t *cid, fcc_str_t *text,
    ngx_http_fcchat_sender_t *sender);

/*
 * A message of the site's own back end, of type "system" and nobody's;
 * otherwise as say().  NGX_BUSY: PostgreSQL can't be asked now.  It is not
 * queued and not sent again: an outcome "unavailable" means unknown.
 */
ngx_int_t ngx_http_fcchat_publish(ngx_http_fcchat_room_t *room,
    fcc_str_t *cid, fcc_str_t *text, ngx_http_fcchat_sender_t *sender);

/*
 * A reaction.  NGX_OK: delivered and queued to be stored.  NGX_AGAIN: the
 * stamps are being read, sender->done will tell.  NGX_DECLINED: there is no
 * such stamp. NGX_ABORT: the room has no stream.  NGX_BUSY, NGX_ERROR as
 * above.
 */
ngx_int_t ngx_http_fcchat_react(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author, int64_t stamp_id, fcc_str_t *cid,
    ngx_http_fcchat_sender_t *sender);

/* gives a reference of a sender back */
void ngx_http_fcchat_sender_put(ngx_http_fcchat_sender_t *sender);

/* one that came over the bus */
void ngx_http_fcchat_react_bus(ngx_http_fcchat_room_t *room,
    fcc_bus_reaction_t *r);

/* the code and text for what react() returned */
void ngx_http_fcchat_react_outcome(ngx_int_t rc, ngx_http_fcchat_outcome_t *o);

/* shows it to the readers of this worker */
void ngx_http_fcchat_room_reaction(ngx_http_fcchat_room_t *room,
    fcc_str_t *username, fcc_stamp_t *stamp);


/* ---- moderation ---- */

/*
 * Does what a moderator asks for, in the room or (mod->tenant) in all of its
 * schema; sender->done tells its fate, not from inside.  NGX_OK; NGX_DECLINED:
 * mod->until is over; NGX_BUSY, NGX_ERROR: it can't be asked, done is not
 * called then.  author->id 0: the site itself, which may do all.  Strings are
 * copied.  With mod->tenant the outcome's seq is of the log of all rooms.
 */
ngx_int_t ngx_http_fcchat_moderate(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author, fcc_mod_t *mod, fcc_str_t *cid,
    ngx_http_fcchat_sender_t *sender);

/* "guest", "member", "moderator" or "owner", as this worker knows it; static */
void ngx_http_fcchat_room_role(ngx_http_fcchat_room_t *room, int64_t user_id,
    ngx_uint_t staff, ngx_str_t *role);

/* the role in an event from PostgreSQL, which knows only is_staff there */
void ngx_http_fcchat_room_author(ngx_http_fcchat_room_t *room, fcc_event_t *e);

/* 1: the user (0: a guest) or its address is banned */
ngx_uint_t ngx_http_fcchat_room_banned(ngx_http_fcchat_room_t *room,
    int64_t user_id, ngx_uint_t staff, ngx_str_t *addr);

/* ms for which the user may not write; 0: it may */
int64_t ngx_http_fcchat_room_timeout(ngx_http_fcchat_room_t *room,
    int64_t user_id);

/* seconds between two messages of a member; 0: no slow mode */
int64_t ngx_http_fcchat_room_slow(ngx_http_fcchat_room_t *room);

/* one more message in slow mode, by the hash of its cid.  NGX_OK: it may be
 * sent; NGX_DONE: as well, as it is the last one again; NGX_BUSY: *wait is the
 * time (ms) until it may.  back(): what was NGX_OK was not stored after all */
ngx_int_t ngx_http_fcchat_slow_take(ngx_http_fcchat_room_t *room,
    int64_t user_id, uint64_t cid, ngx_msec_t *wait);
void ngx_http_fcchat_slow_back(ngx_http_fcchat_room_t *room, int64_t user_id);
void ngx_http_fcchat_slow_said(ngx_http_fcchat_room_t *room, fcc_event_t *e);

/* asks for the rules of a room that is not open yet, or NULL; and takes the
 * answer: found->id is set, its head is set here.  NGX_ERROR without memory */
ngx_http_fcchat_store_ask_t *ngx_http_fcchat_ruled_ask(
    ngx_http_fcchat_room_t *room, int64_t id,
    ngx_http_fcchat_store_ask_pt handler);
ngx_int_t ngx_http_fcchat_ruled_first(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_store_answer_t *answer,
    ngx_http_fcchat_store_room_t *found);

/* an event of the log that is no message */
void ngx_http_fcchat_ruled_event(ngx_http_fcchat_room_t *room,
    fcc_event_t *e);

/*
 * A pin is about to be put into the logs: the text that its frame shows goes
 * when the message is deleted, or with NGX_HTTP_FCCHAT_SHOWN_MAX newer pins.
 * Without memory it shows none, for it could not be found again.
 */
void ngx_http_fcchat_ruled_shows(ngx_http_fcchat_room_t *room,
    fcc_event_t *e);

/* the rules are to be read anew; each tick: if that could not be asked */
void ngx_http_fcchat_ruled_anew(ngx_http_fcchat_room_t *room);
void ngx_http_fcchat_ruled_tick(ngx_http_fcchat_room_t *room);

/* a room that is closed has none */
void ngx_http_fcchat_ruled_leave(ngx_http_fcchat_room_t *room);


/* ---- stamps ---- */

/* the cached stamp, or NULL; *fresh: the table was read a moment ago, so that
 * asking again is of no use */
fcc_stamp_t *ngx_http_fcchat_stamp_find(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema, int64_t id, ngx_uint_t *fresh);

/*
 * Calls ready(data) when the table of the schema was read again, or could not
 * be (ok == 0).  NGX_AGAIN, or NGX_BUSY / NGX_ERROR / NGX_DECLINED: it is not
 * called then.
 */
ngx_int_t ngx_http_fcchat_stamp_wait(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema, void (*ready)(void *data, ngx_uint_t ok), void *data);

void ngx_http_fcchat_stamps_destroy(ngx_http_fcchat_hub_t *hub);


/* ---- bus ---- */

/* the handlers of a link */
void ngx_http_fcchat_bus_handlers(ngx_http_fcchat_link_t *link,
    ngx_http_fcchat_redis_handlers_t *handlers);

/* into the envelope that leaves at the end of this turn */
void ngx_http_fcchat_bus_event(ngx_http_fcchat_room_t *room, fcc_event_t *e,
    ngx_str_t *epoch);
void ngx_http_fcchat_bus_reaction(ngx_http_fcchat_room_t *room,
    fcc_bus_reaction_t *r);

/* our count of readers, now */
void ngx_http_fcchat_bus_viewers(ngx_http_fcchat_room_t *room,
    int64_t count);

/*
 * The user's rights have changed: every worker and node looks at once whether
 * its sockets are still allowed, and asks anew at the next handshake.  Closes
 * nobody by itself.
 */
void ngx_http_fcchat_bus_rights(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema, int64_t user);

/* an envelope, sealed, on the server that has the channel; b has room for the
 * seal.  Dropped when it can't be sent */
void ngx_http_fcchat_bus_send(ngx_http_fcchat_hub_t *hub, ngx_str_t *channel,
    fcc_buf_t *b);

/* the posted event of hub->publish */
void ngx_http_fcchat_bus_publish(ngx_event_t *ev);


/* ---- what users send, over all nodes ---- */

/* the user, by what is the same in all workers and after a reload */
uint64_t ngx_http_fcchat_user_key(ngx_http_fcchat_hub_t *hub,
    ngx_str_t *schema, int64_t id);

/*
 * A token of the rate was taken here: soon the other nodes take one as well.
 * text and cid: hashes of a message, else 0.  With rate NULL, what the user has
 * said last is forgotten instead.
 */
void ngx_http_fcchat_spent(ngx_http_fcchat_hub_t *hub, ngx_str_t *schema,
    int64_t user, ngx_http_fcchat_rate_e kind, fcc_rate_t *rate, uint64_t text,
    uint64_t cid);

/* what was taken on another node; one worker of this one does it */
void ngx_http_fcchat_spent_bus(ngx_http_fcchat_hub_t *hub, fcc_bus_t *bus);

/* the timer of hub->spend */
void ngx_http_fcchat_spent_handler(ngx_event_t *ev);


/* ---- viewers and counts ---- */

/* the count of another worker, as of so many ms ago */
void ngx_http_fcchat_viewers_peer(ngx_http_fcchat_room_t *room, u_char *id,
    int64_t count, ngx_msec_t age);

/* a reader left because the worker exits: tells the others when it was the last
 * of the room here */
void ngx_http_fcchat_viewers_left(ngx_http_fcchat_room_t *room);

/* each tick: publishes our count when it is due, tells readers a changed
 * one */
void ngx_http_fcchat_viewers_tick(ngx_http_fcchat_room_t *room);

/* tells readers the count when it is not what they were told */
void ngx_http_fcchat_viewers_tell(ngx_http_fcchat_room_t *room);

/* each tick: exchanges counts by way of PostgreSQL while the bus is away */
void ngx_http_fcchat_tally(ngx_http_fcchat_hub_t *hub);

void ngx_http_fcchat_tallies_destroy(ngx_http_fcchat_hub_t *hub);

/* the timer of hub->react: tells v1 readers the counts since the last time */
void ngx_http_fcchat_counts_handler(ngx_event_t *ev);


/* ---- who came and went ---- */

/* a socket has joined: limit is of viewers, grace in ms.  Without memory
 * nothing is told */
void ngx_http_fcchat_presence_join(ngx_http_fcchat_room_t *room,
    ngx_http_fcchat_author_t *author, ngx_uint_t limit, ngx_msec_t grace);

/* each tick */
void ngx_http_fcchat_presence_tick(ngx_http_fcchat_room_t *room);

/* what other workers of the node told, while the bus is away */
void ngx_http_fcchat_presence_poll(ngx_http_fcchat_hub_t *hub);

/* what came over the bus, or late ms ago by the ring */
void ngx_http_fcchat_presence_bus(ngx_http_fcchat_room_t *room,
    fcc_bus_t *bus, ngx_msec_t late, ngx_uint_t far);

/* the timer of hub->present */
void ngx_http_fcchat_presence_handler(ngx_event_t *ev);

void ngx_http_fcchat_presence_free(ngx_http_fcchat_room_t *room);


#endif /* _NGX_HTTP_FCCHAT_ROOM_H_INCLUDED_ */
