
/*
 * Memory that runs out when a test says so; for LD_PRELOAD.
 *
 * The file that FC_ENOMEM names is mapped into all processes of nginx.  In the
 * one whose pid is written there allocations are counted from the moment on,
 * and "times" of them fail, beginning with the one numbered "first" (0: none).
 */


#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>


typedef struct {
    volatile int64_t  pid;
    volatile int64_t  first;
    volatile int64_t  times;
    volatile int64_t  count;
    volatile int64_t  failed;
} fcc_enomem_t;


extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static fcc_enomem_t  *fcc_enomem;


__attribute__((constructor)) static void
fcc_enomem_init(void)
{
    int          fd;
    void        *p;
    const char  *file;

    file = getenv("FC_ENOMEM");
    if (file == NULL) {
        return;
    }

    fd = open(file, O_RDWR);
    if (fd == -1) {
        return;
    }

    p = mmap(NULL, sizeof(fcc_enomem_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd,
             0);

    close(fd);

    if (p != MAP_FAILED) {
        fcc_enomem = p;
    }
}


static int
fcc_enomem_now(void)
{
    int64_t        n;
    fcc_enomem_t  *e;

    e = fcc_enomem;

    if (e == NULL || e->pid == 0 || e->pid != getpid()) {
        return 0;
    }

    n = ++e->count;

    if (e->first == 0 || n < e->first || n >= e->first + e->times) {
        return 0;
    }

    e->failed++;
    errno = ENOMEM;

    return 1;
}


void *
malloc(size_t size)
{
    return fcc_enomem_now() ? NULL : __libc_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    return fcc_enomem_now() ? NULL : __libc_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    return fcc_enomem_now() ? NULL : __libc_realloc(p, size);
}


void *
memalign(size_t alignment, size_t size)
{
    return fcc_enomem_now() ? NULL : __libc_memalign(alignment, size);
}


void *
aligned_alloc(size_t alignment, size_t size)
{
    return fcc_enomem_now() ? NULL : __libc_memalign(alignment, size);
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    if (fcc_enomem_now()) {
        return ENOMEM;
    }

    *p = __libc_memalign(alignment, size);

    return *p ? 0 : ENOMEM;
}
