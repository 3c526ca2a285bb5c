
/*
 * The free pages of each shared zone of a running nginx, seen from outside.
 * usage: zone PID
 *
 * Prints "SIZE FREE" for each, in bytes and pages.  A zone is an anonymous
 * shared mapping that begins with nginx's slab pool; the pool's own address in
 * it tells one from another mapping.
 */


#define _FILE_OFFSET_BITS  64

#include <ngx_config.h>
#include <ngx_core.h>

#include <fcntl.h>
#include <stdio.h>


int
main(int argc, char **argv)
{
    int              fd;
    char             name[64], line[512];
    FILE            *maps;
    unsigned long    from, to;
    ngx_slab_pool_t  pool;

    if (argc != 2) {
        return 2;
    }

    snprintf(name, sizeof(name), "/proc/%s/mem", argv[1]);
    fd = open(name, O_RDONLY);

    snprintf(name, sizeof(name), "/proc/%s/maps", argv[1]);
    maps = fopen(name, "r");

    if (fd == -1 || maps == NULL) {
        perror(name);
        return 1;
    }

    while (fgets(line, sizeof(line), maps)) {

        if (strstr(line, "/dev/zero (deleted)") == NULL
            || sscanf(line, "%lx-%lx rw-s", &from, &to) != 2
            || to - from < sizeof(ngx_slab_pool_t)
            || pread(fd, &pool, sizeof(pool), (off_t) from) != sizeof(pool)
            || (unsigned long) pool.addr != from)
        {
            continue;
        }

        printf("%lu %lu\n", to - from, (unsigned long) pool.pfree);
    }

    return 0;
}
