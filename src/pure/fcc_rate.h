
/*
 * A token bucket: how often somebody may do something.
 *
 * All that is kept of a bucket is the time when it will be full again; each
 * token that is taken moves it on by the time that one token needs.  0 is a
 * full bucket.  Times are of any one clock; one that jumps back makes nobody
 * wait longer than for an empty bucket.
 */


#ifndef _FCC_RATE_H_INCLUDED_
#define _FCC_RATE_H_INCLUDED_


#include <fcc.h>


#define FCC_RATE_MAX        1000000     /* a second or a minute; tokens */

#define FCC_RATE_COST_MAX   3600000000LL    /* us: more is not believed */

#define FCC_RATE_SAID       4           /* texts that are remembered */
#define FCC_RATE_AGAIN      30000       /* ms, for so long */

#define FCC_RATE_HASH_INIT  14695981039346656037ULL


typedef struct {
    int64_t      interval;      /* us for a token, >= 1 */
    int64_t      burst;         /* tokens that the bucket holds, >= 1 */
} fcc_rate_t;


/* a text that was said, by hashes; all zero: none was */

typedef struct {
    uint64_t     text;          /* and where: the hash of both */
    uint64_t     cid;           /* 0: it had none */
    int64_t      at;            /* ms */
} fcc_said_t;


/*
 * "5r/s" or "30r/m", as limit_req has it: sets the interval.  FCC_ERROR when
 * it is none, or not from 1 to FCC_RATE_MAX.
 */
int fcc_rate_parse(fcc_rate_t *rate, const unsigned char *data, size_t len);

/*
 * Takes a token at the time now (ms).  0: taken.  Else nothing was, and it is
 * the time (ms) from now until there will be one.
 */
int64_t fcc_rate_take(int64_t *full, const fcc_rate_t *rate, int64_t now);

/* gives a token back that was taken */
void fcc_rate_give(int64_t *full, const fcc_rate_t *rate);

/*
 * Takes what was taken elsewhere, in the time (us) that its tokens need, even
 * where that many are not there: at most FCC_RATE_COST_MAX are missing then.
 */
void fcc_rate_spend(int64_t *full, int64_t cost, int64_t now);

/*
 * 1 when one of said[FCC_RATE_SAID] was the same text less than FCC_RATE_AGAIN
 * ago; not for the same cid, which is the same message once more.
 */
int fcc_rate_said(const fcc_said_t *said, uint64_t text, uint64_t cid,
    int64_t now);

/* remembers the text in the place of the oldest */
void fcc_rate_say(fcc_said_t *said, uint64_t text, uint64_t cid, int64_t now);

/* FNV-1a of 64 bits, to be continued from FCC_RATE_HASH_INIT */
uint64_t fcc_rate_hash(uint64_t hash, const void *data, size_t len);


#endif /* _FCC_RATE_H_INCLUDED_ */
