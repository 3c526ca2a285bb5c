
/*
 * permessage-deflate, RFC 7692, the server's side: what is agreed on in the
 * handshake, and messages in and out.
 *
 * Nothing is kept from one message to the next ("no context takeover", both
 * ways): one state does for all connections, and what was compressed once may
 * be sent to many.
 */


#ifndef _FCC_DEFLATE_H_INCLUDED_
#define _FCC_DEFLATE_H_INCLUDED_


#include <fcc.h>


#define FCC_DEFLATE_BITS_MIN    9       /* zlib has no raw deflate with 8 */
#define FCC_DEFLATE_BITS        12      /* the window we use, 4 KB */
#define FCC_DEFLATE_BITS_MAX    15

/* bytes that fcc_deflate() needs behind those of the message */
#define FCC_DEFLATE_TAIL        5

#define FCC_DEFLATE_ANSWER_MAX  128     /* bytes of the answer's header */


/* the extension of one handshake; all 0 before its first header */

typedef struct {
    unsigned        accepted:1;
    unsigned        asked:1;    /* the client bounds our window */
    unsigned char   bits;       /* of it: at most what the client said */
} fcc_deflate_offer_t;


/*
 * One header Sec-WebSocket-Extensions.  The first offer of permessage-deflate
 * that can be accepted is, over all headers in their order; one with a
 * parameter that is unknown, there twice, without the value it must have or
 * with one that it can't have is none (7.1), nor is one for a window of 256
 * bytes.  FCC_ERROR when it is not a list of extensions (RFC 6455 9.1).
 */
int fcc_deflate_offer(const unsigned char *p, size_t len,
    fcc_deflate_offer_t *offer);

/* what is answered to an accepted offer; up to FCC_DEFLATE_ANSWER_MAX bytes */
void fcc_deflate_answer(fcc_buf_t *b, const fcc_deflate_offer_t *offer);


typedef struct fcc_deflate_s  fcc_deflate_t;
typedef struct fcc_inflate_s  fcc_inflate_t;


/* zlib's state, about 40 KB from malloc(); NULL without memory */
fcc_deflate_t *fcc_deflate_create(void);
void fcc_deflate_destroy(fcc_deflate_t *d);

/*
 * Compresses a message for a window of 2^bits bytes, FCC_DEFLATE_BITS_MIN to
 * _MAX, without the last four bytes of what zlib flushes (7.2.1).  out has
 * len + FCC_DEFLATE_TAIL bytes.  FCC_OK and *n, less than len; FCC_AGAIN when
 * it gets no shorter; FCC_ERROR without memory.  More than 1 GB is FCC_AGAIN.
 */
int fcc_deflate(fcc_deflate_t *d, unsigned bits, const unsigned char *p,
    size_t len, unsigned char *out, size_t *n);

/* likewise, about 40 KB once it was used */
fcc_inflate_t *fcc_inflate_create(void);
void fcc_inflate_destroy(fcc_inflate_t *d);

#define FCC_INFLATE_BAD     -3          /* no whole compressed message */
#define FCC_INFLATE_LARGE   -4          /* more than max bytes of it */

/*
 * Inflates a compressed message, as it was over all of its frames (7.2.2).  out
 * has max + 1 bytes, so that no more than that is ever made of it.  FCC_OK and
 * *n; FCC_INFLATE_BAD; FCC_INFLATE_LARGE; FCC_ERROR without memory.  A block
 * with BFINAL set ends nothing (7.2.3.4): what follows it is inflated as well,
 * and knows nothing of what came before.
 */
int fcc_inflate(fcc_inflate_t *d, const unsigned char *p, size_t len,
    unsigned char *out, size_t max, size_t *n);


#endif /* _FCC_DEFLATE_H_INCLUDED_ */
