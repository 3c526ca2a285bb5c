
/*
 * The envelope that workers send each other through Redis.  It is JSON, and it
 * is not trusted: lengths, types and ranges are checked, unknown keys are
 * ignored, another version is refused.
 *
 *   {"v":1,"w":"9f3c...","t":"events","epoch":"...","events":[
 *      [seq,id,user_id,"username","role","type","text",at_ms],...]}
 *      and "detail" behind at_ms in what is no message: a node that does not
 *      know it drops such an item, and finds the event in PostgreSQL
 *   {"v":1,"w":"...","t":"reactions","reactions":[
 *      [user_id,"username",stamp_id],...]}
 *   {"v":1,"w":"...","t":"viewers","count":12}
 *   {"v":1,"w":"...","t":"present","users":[
 *      [user_id,"username","role",since_ms,seen_ms],...]}
 *   {"v":1,"w":"...","t":"spent","node":12,"n":3,"spent":[
 *      ["schema",user_id,kind,us,text,cid],...]}
 *   {"v":1,"w":"...","t":"beat","n":77}
 *
 * "w" is the sender's random worker id.
 */


#ifndef _FCC_BUS_H_INCLUDED_
#define _FCC_BUS_H_INCLUDED_


#include <fcc.h>
#include <fcc_proto.h>


#define FCC_BUS_WORKER_LEN   16         /* hex digits */
#define FCC_BUS_EPOCH_MAX    36
#define FCC_BUS_ITEMS_MAX    512        /* events or reactions of an envelope */
#define FCC_BUS_SIZE_MAX     (1024 * 1024)
#define FCC_BUS_COST_MAX     3600000000LL   /* us */
#define FCC_BUS_NAME_MAX     640        /* bytes: 150 characters */
#define FCC_BUS_RIGHTS_MAX   1024       /* bytes */


typedef enum {
    FCC_BUS_EVENTS = 1,
    FCC_BUS_REACTIONS,
    FCC_BUS_VIEWERS,
    FCC_BUS_PRESENT,
    FCC_BUS_SPENT,
    FCC_BUS_BEAT
} fcc_bus_e;


typedef struct {
    fcc_bus_e    type;
    fcc_str_t    worker;
    fcc_str_t    epoch;         /* EVENTS */
    int64_t      n;             /* VIEWERS: count, BEAT: the nonce, SPENT:
                                 * which of its envelopes */
    int64_t      node;          /* SPENT */
    size_t       items;         /* EVENTS, REACTIONS, PRESENT, SPENT */
    void        *root;
    void        *array;
} fcc_bus_t;


typedef struct {
    int64_t      user_id;
    int64_t      stamp_id;
    fcc_str_t    username;
} fcc_bus_reaction_t;


/* who is in a room */

typedef struct {
    int64_t      user_id;
    fcc_str_t    username;      /* up to FCC_BUS_NAME_MAX bytes */
    fcc_str_t    role;          /* likewise */
    int64_t      since;         /* ms ago, when it came */
    int64_t      seen;          /* ms ago; 0: it is there */
} fcc_bus_present_t;


/* what a user has sent on another node */

typedef struct {
    fcc_str_t    schema;        /* 1 to 63 bytes */
    int64_t      user_id;
    int64_t      kind;          /* 0: a message, 1: a reaction, 2: what it said
                                 * is to be forgotten */
    int64_t      cost;          /* us, up to FCC_BUS_COST_MAX */
    int64_t      text;          /* hashes of a message, see fcc_rate.h */
    int64_t      cid;
} fcc_bus_spent_t;


/*
 * What the site says when somebody's rights have changed; not an envelope:
 *
 *   {"tenant":"localhost","user":7}
 *   {"tenant":"localhost","session":"2b1i8lnrq4y..."}
 */

typedef struct {
    fcc_str_t    tenant;        /* 1 to 63 bytes, no NUL */
    int64_t      user;          /* 0: none, but */
    fcc_str_t    session;       /* a valid key */
    void        *root;
} fcc_bus_rights_t;


/* FCC_OK and fcc_bus_rights_free() is due, or FCC_ERROR and it is not */
int fcc_bus_rights_read(fcc_bus_rights_t *r, const unsigned char *data,
    size_t len);

void fcc_bus_rights_free(fcc_bus_rights_t *r);

void fcc_bus_rights(fcc_buf_t *b, const fcc_str_t *tenant, int64_t user);


/* 1 for an envelope that this worker wrote; nothing else of it is looked at */
int fcc_bus_own(const unsigned char *data, size_t len,
    const fcc_str_t *worker);

/* FCC_OK and fcc_bus_free() is due, or FCC_ERROR and it is not */
int fcc_bus_read(fcc_bus_t *bus, const unsigned char *data, size_t len);

void fcc_bus_free(fcc_bus_t *bus);

/* the i-th item; FCC_ERROR when it is not one.  Strings live until free.
 * seq and at >= 1, ids >= 0, and all text is valid UTF-8 without NUL. */
int fcc_bus_event(fcc_bus_t *bus, size_t i, fcc_event_t *e);
int fcc_bus_reaction(fcc_bus_t *bus, size_t i, fcc_bus_reaction_t *r);
int fcc_bus_present(fcc_bus_t *bus, size_t i, fcc_bus_present_t *p);
int fcc_bus_spent(fcc_bus_t *bus, size_t i, fcc_bus_spent_t *s);

/*
 * Writing: begin, an item each, end.  Overflow is b->full.
 * An event takes at most FCC_PROTO_EXPANSION times its texts' bytes and
 * FCC_PROTO_OVERHEAD.
 */
void fcc_bus_events_begin(fcc_buf_t *b, const fcc_str_t *worker,
    const fcc_str_t *epoch);
void fcc_bus_event_put(fcc_buf_t *b, const fcc_event_t *e, int first);
void fcc_bus_reactions_begin(fcc_buf_t *b, const fcc_str_t *worker);
void fcc_bus_reaction_put(fcc_buf_t *b, const fcc_bus_reaction_t *r,
    int first);
void fcc_bus_present_begin(fcc_buf_t *b, const fcc_str_t *worker);
void fcc_bus_present_put(fcc_buf_t *b, const fcc_bus_present_t *p, int first);
void fcc_bus_spent_begin(fcc_buf_t *b, const fcc_str_t *worker, int64_t node,
    int64_t n);
void fcc_bus_spent_put(fcc_buf_t *b, const fcc_bus_spent_t *s, int first);
void fcc_bus_end(fcc_buf_t *b);
void fcc_bus_viewers(fcc_buf_t *b, const fcc_str_t *worker, int64_t count);
void fcc_bus_beat(fcc_buf_t *b, const fcc_str_t *worker, int64_t nonce);


#endif /* _FCC_BUS_H_INCLUDED_ */
