
/*
 * What the fuzzing targets share.  A target takes its input apart with the
 * reader below, calls one unit of the module, and holds what comes out against
 * what the unit's header promises: a claim that does not hold ends the program,
 * as a sanitizer's finding does.
 */


#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define claim(cond)                                                           \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n",                     \
                    __FILE__, __LINE__, #cond);                               \
            abort();                                                          \
        }                                                                     \
    } while (0)


typedef struct {
    const uint8_t  *pos;
    const uint8_t  *last;
} fuzz_t;


/* 0 when there is nothing left */

static inline unsigned
fuzz_byte(fuzz_t *f)
{
    return f->pos < f->last ? *f->pos++ : 0;
}


static inline uint64_t
fuzz_number(fuzz_t *f, unsigned bytes)
{
    uint64_t  n;

    for (n = 0; bytes; bytes--) {
        n = n << 8 | fuzz_byte(f);
    }

    return n;
}


/* a copy of its own size, so that a byte read beyond it is found; at most max
 * bytes, as many as a number of two bytes says */

static inline unsigned char *
fuzz_string(fuzz_t *f, size_t max, size_t *len)
{
    size_t          n;
    unsigned char  *p;

    n = (size_t) fuzz_number(f, 2) % (max + 1);

    if (n > (size_t) (f->last - f->pos)) {
        n = f->last - f->pos;
    }

    p = malloc(n ? n : 1);

    if (p == NULL) {
        abort();
    }

    memcpy(p, f->pos, n);

    f->pos += n;
    *len = n;

    return p;
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


#endif /* _FUZZ_H_INCLUDED_ */
