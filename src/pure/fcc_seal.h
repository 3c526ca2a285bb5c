
/*
 * The seal of an envelope on the bus: who has the site's secret wrote it, and
 * for this channel.  With it Redis needs no trust.
 *
 *   {"v":1,"w":"9f3c...","m":"64 hex digits","t":...}
 *
 * "m" is HMAC-SHA256 of SHA-256 of the channel, a NUL, and the envelope without
 * the key "m"; a worker that knows no secret ignores it.
 */


#ifndef _FCC_SEAL_H_INCLUDED_
#define _FCC_SEAL_H_INCLUDED_


#include <fcc.h>


#define FCC_SEAL_KEYS   8               /* the one that seals, older ones */
#define FCC_SEAL_KEY    32              /* bytes */
#define FCC_SEAL_SIZE   (sizeof("\"m\":\"\",") - 1 + 64)


typedef struct {
    size_t          n;
    unsigned char   key[FCC_SEAL_KEYS][FCC_SEAL_KEY];
} fcc_seal_t;


/* adds the key that a secret stands for; FCC_ERROR: OpenSSL failed, or there
 * are FCC_SEAL_KEYS already */
int fcc_seal_add(fcc_seal_t *seal, const unsigned char *secret, size_t len);

/*
 * Seals the envelope that is all of b, with the first key; it becomes
 * FCC_SEAL_SIZE bytes longer.  FCC_ERROR: it is no envelope, there is no room
 * for the seal, or OpenSSL failed.
 */
int fcc_seal_put(const fcc_seal_t *seal, const fcc_str_t *channel,
    fcc_buf_t *b);

/* 1 when the envelope has the seal of one of the keys for the channel; in
 * constant time */
int fcc_seal_valid(const fcc_seal_t *seal, const fcc_str_t *channel,
    const unsigned char *data, size_t len);


#endif /* _FCC_SEAL_H_INCLUDED_ */
