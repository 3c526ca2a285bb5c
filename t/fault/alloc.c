
/*
 * Memory runs out in scripts of the fuzzing target "conn": each allocation of
 * nginx in them fails in turn, alone and with the forty after it.
 * usage: alloc STEP OFFSET FILE...
 *
 * Of all indices of a file those are visited that are OFFSET modulo STEP; with
 * a STEP of 0 the files are only played.  What must hold at the end of a script
 * holds here as well; a leak is looked for every few visits.
 */


#include "../fuzz/conn/conn.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>


#define ALLOC_IN_A_ROW  40
#define ALLOC_LEAKS     256     /* visits between two looks for leaks */


static uint64_t  alloc_at, alloc_times;


/* what a sanitizer ends the process with is told which visit it was */

static void
alloc_died(void)
{
    fprintf(stderr, "allocation %llu, %llu times\n",
            (unsigned long long) alloc_at, (unsigned long long) alloc_times);
}


static uint8_t *
alloc_read(const char *name, size_t *size)
{
    FILE     *file;
    uint8_t  *data;

    file = fopen(name, "rb");
    claim(file != NULL);

    data = malloc(65536);
    claim(data != NULL);

    *size = fread(data, 1, 65536, file);
    fclose(file);

    return data;
}


int
main(int argc, char **argv)
{
    int        i;
    size_t     size;
    uint8_t   *data;
    uint64_t   n, k, step, offset, visited;

    claim(argc > 3);

    step = strtoull(argv[1], NULL, 10);
    offset = strtoull(argv[2], NULL, 10);
    __sanitizer_set_death_callback(alloc_died);

    visited = 0;

    for (i = 3; i < argc; i++) {
        data = alloc_read(argv[i], &size);

        /* what is made once for all is made by the first one */

        conn_strict = 1;
        (void) conn_play(data, size, 0, 0);
        conn_strict = 0;

        n = conn_play(data, size, 0, 0);
        visited = 0;

        for (k = offset; step && k < 2 * n; k += step) {
            alloc_at = 1 + k / 2;
            alloc_times = k % 2 ? ALLOC_IN_A_ROW : 1;

            (void) conn_play(data, size, alloc_at, alloc_times);

            if (++visited % ALLOC_LEAKS == 0
                && __lsan_do_recoverable_leak_check())
            {
                alloc_died();
                return 1;
            }
        }

        if (__lsan_do_recoverable_leak_check()) {
            alloc_died();
            return 1;
        }

        printf("%s %llu %llu\n", argv[i], (unsigned long long) n,
               (unsigned long long) visited);
        fflush(stdout);
        free(data);
    }

    return 0;
}
