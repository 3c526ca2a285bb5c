
/*
 * The Test Anything Protocol for the unit tests: each test counts its checks
 * and ends with "return tap_done();".
 */


#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static unsigned  tap_count;
static unsigned  tap_failed;


#define ok(cond, name)           tap_ok((cond) != 0, name, __FILE__, __LINE__)
#define is_int(got, want, name)                                               \
    tap_int((long long) (got), (long long) (want), name, __FILE__, __LINE__)
#define is_mem(got, len, want, wlen, name)                                    \
    tap_mem(got, len, want, wlen, name, __FILE__, __LINE__)
#define is_str(got, len, want, name)                                          \
    tap_mem(got, len, want, strlen(want), name, __FILE__, __LINE__)


static inline int
tap_ok(int cond, const char *name, const char *file, int line)
{
    const char  *p;

    tap_count++;

    /* a '#' would begin a directive */

    printf("%sok %u - ", cond ? "" : "not ", tap_count);

    for (p = name; *p; p++) {
        putchar(*p == '#' || *p == '\n' ? '.' : *p);
    }

    putchar('\n');
    fflush(stdout);

    if (!cond) {
        tap_failed++;
        printf("# failed at %s:%d\n", file, line);
    }

    return cond;
}


static inline int
tap_int(long long got, long long want, const char *name, const char *file,
    int line)
{
    if (!tap_ok(got == want, name, file, line)) {
        printf("# got %lld, want %lld\n", got, want);
    }

    return got == want;
}


static inline void
tap_dump(const char *what, const void *data, size_t len)
{
    size_t                i;
    const unsigned char  *p;

    p = data;
    printf("# %s %zu: ", what, len);

    for (i = 0; i < len && i < 1024; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7f) {
            putchar(p[i]);

        } else {
            printf("\\x%02x", p[i]);
        }
    }

    putchar('\n');
}


static inline int
tap_mem(const void *got, size_t len, const void *want, size_t wlen,
    const char *name, const char *file, int line)
{
    int  same;

    same = len == wlen && (len == 0 || memcmp(got, want, len) == 0);

    if (!tap_ok(same, name, file, line)) {
        tap_dump(" got", got, len);
        tap_dump("want", want, wlen);
    }

    return same;
}


static inline int
tap_done(void)
{
    printf("1..%u\n", tap_count);

    return tap_failed ? 1 : 0;
}


/* the same numbers in each run, so that a failure can be seen again */

static inline uint32_t
tap_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;

    return *seed;
}


/* bytes of their own, so that a read past them is noticed */

static inline unsigned char *
tap_copy(const void *data, size_t len)
{
    unsigned char  *p;

    p = malloc(len ? len : 1);

    if (p == NULL) {
        printf("Bail out! no memory\n");
        exit(2);
    }

    if (len) {
        memcpy(p, data, len);
    }

    return p;
}


#endif /* _TAP_H_INCLUDED_ */
