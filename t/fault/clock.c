
/*
 * A clock that is wrong, to be preloaded: a day ahead, so that it is seen whose
 * clock something was from; or by as many seconds as the file FC_CLOCK says,
 * eight bytes that may change while it runs.  What only counts, as timers do,
 * is right.
 */


#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>


#define AHEAD  86400


static int64_t
ahead(void)
{
    int                      fd;
    void                    *p;
    static int64_t           day = AHEAD;
    static volatile int64_t  *seconds;

    if (seconds == NULL) {
        seconds = &day;

        fd = getenv("FC_CLOCK") ? open(getenv("FC_CLOCK"), O_RDONLY) : -1;

        if (fd != -1) {
            p = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);

            if (p != MAP_FAILED) {
                seconds = p;
            }
        }
    }

    return *seconds;
}


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
    tv->tv_sec += ahead();

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
