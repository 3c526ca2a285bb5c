
/*
 * A clock that is a day ahead, to be preloaded: what is believed is seen from
 * whose clock it was.
 */


#define _GNU_SOURCE

#include <dlfcn.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>


#define AHEAD  86400


int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    int         rc;
    static int  (*next)(struct timeval *tv, void *tz);

    if (next == NULL) {
        next = (int (*)(struct timeval *, void *))
                   dlsym(RTLD_NEXT, "gettimeofday");
    }

    rc = next(tv, tz);
    tv->tv_sec += AHEAD;

    return rc;
}


time_t
time(time_t *t)
{
    struct timeval  tv;

    (void) gettimeofday(&tv, NULL);

    if (t) {
        *t = tv.tv_sec;
    }

    return tv.tv_sec;
}
