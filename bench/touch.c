
/*
 * What a page of memory costs that was left alone for a while: nothing to speak
 * of where the memory is the machine's own, ten microseconds and more in a
 * virtual machine whose host takes back what is not used.  The pages stay
 * mapped and there is no fault to count in here; all that can be seen is time.
 *
 *     touch SECONDS            prints the ns that a page takes after so long
 *     touch walk               walks through 300 MB until it is ended: with
 *                              several, the host sees no memory idle
 */


#define _GNU_SOURCE

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define PAGES  4096
#define PAGE   4096
#define LINE   64
#define WALK   (300 * 1024 * 1024)


static int walk(void);
static double touch(volatile char *p);
static double now(void);


int
main(int argc, char **argv)
{
    char  *p;

    if (argc != 2) {
        fputs("usage: touch SECONDS | walk\n", stderr);
        return 2;
    }

    if (strcmp(argv[1], "walk") == 0) {
        return walk();
    }

    p = malloc((size_t) PAGES * PAGE);
    if (p == NULL) {
        return 1;
    }

    (void) touch(p);
    sleep((unsigned) atoi(argv[1]));
    printf("%.0f\n", touch(p));

    free(p);

    return 0;
}


static int
walk(void)
{
    size_t          i;
    volatile char  *p;

    p = malloc(WALK);
    if (p == NULL) {
        return 1;
    }

    for ( ;; ) {
        for (i = 0; i < WALK; i += LINE) {
            p[i]++;
        }
    }
}


/* in an order and at places that no prefetching foresees */

static double
touch(volatile char *p)
{
    uint32_t  i;
    double    start;

    start = now();

    for (i = 0; i < PAGES; i++) {
        p[(size_t) (i * 2477 % PAGES) * PAGE + (i * LINE) % PAGE]++;
    }

    return (now() - start) / PAGES;
}


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}
