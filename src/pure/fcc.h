
/*
 * What every pure unit shares: the result codes and a counted string.
 *
 * Nothing under src/pure/ knows nginx, does I/O, reads a clock or keeps a
 * global.  Memory comes from the caller unless a function says otherwise.
 */


#ifndef _FCC_H_INCLUDED_
#define _FCC_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <string.h>


#define FCC_OK      0
#define FCC_ERROR  -1
#define FCC_AGAIN  -2


/* bytes that somebody else owns; not NUL-terminated */

typedef struct {
    size_t          len;
    unsigned char  *data;
} fcc_str_t;


#define fcc_string(s)     { sizeof(s) - 1, (unsigned char *) s }


/*
 * A writer into memory of the caller.  When something does not fit, nothing
 * more is written, and "full" is set once for all.
 */

typedef struct {
    unsigned char  *start;
    unsigned char  *pos;
    unsigned char  *end;
    unsigned        full:1;
} fcc_buf_t;


static inline void
fcc_buf_init(fcc_buf_t *b, void *start, size_t size)
{
    b->start = start;
    b->pos = start;
    b->end = b->start + size;
    b->full = 0;
}


static inline void
fcc_buf_put(fcc_buf_t *b, const void *data, size_t len)
{
    if (b->full || (size_t) (b->end - b->pos) < len) {
        b->full = 1;
        return;
    }

    if (len) {
        memcpy(b->pos, data, len);
        b->pos += len;
    }
}


#define fcc_buf_lit(b, s)   fcc_buf_put(b, s, sizeof(s) - 1)


#endif /* _FCC_H_INCLUDED_ */
