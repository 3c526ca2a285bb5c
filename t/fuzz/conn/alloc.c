
/*
 * Memory that runs out, under AddressSanitizer: these functions stand before
 * its own, for libraries too.
 *
 * What hiredis asks for never fails: Debian 12's would end the process.
 */


#define _GNU_SOURCE

#include "conn.h"

#include <dlfcn.h>
#include <link.h>


void *__interceptor_malloc(size_t size);
void *__interceptor_calloc(size_t n, size_t size);
void *__interceptor_realloc(void *p, size_t size);
void *__interceptor_memalign(size_t alignment, size_t size);
int __interceptor_posix_memalign(void **p, size_t alignment, size_t size);


static uint64_t   alloc_first, alloc_times, alloc_count, alloc_failed;
static int        alloc_ours = 1;
static uintptr_t  alloc_from, alloc_to;


static int
alloc_look(struct dl_phdr_info *info, size_t size, void *data)
{
    int        i;
    uintptr_t  from;

    if (strstr(info->dlpi_name, "hiredis") == NULL) {
        return 0;
    }

    for (i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD
            && info->dlpi_phdr[i].p_flags & PF_X)
        {
            from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            alloc_from = from;
            alloc_to = from + info->dlpi_phdr[i].p_memsz;
        }
    }

    return 1;
}


void
conn_alloc_fail(uint64_t n, uint64_t times)
{
    if (alloc_to == 0) {
        claim(dl_iterate_phdr(alloc_look, NULL) == 1 && alloc_to != 0);
    }

    alloc_first = n;
    alloc_times = times;
    alloc_count = 0;
    alloc_failed = 0;
}


uint64_t
conn_alloc_count(void)
{
    return alloc_count;
}


uint64_t
conn_alloc_failed(void)
{
    return alloc_failed;
}


void
conn_alloc_ours(int ours)
{
    alloc_ours = ours;
}


static int
alloc_now(void *caller)
{
    if (alloc_ours
        || ((uintptr_t) caller >= alloc_from && (uintptr_t) caller < alloc_to))
    {
        return 0;
    }

    alloc_count++;

    if (alloc_first == 0
        || alloc_count < alloc_first
        || alloc_count >= alloc_first + alloc_times)
    {
        return 0;
    }

    alloc_failed++;
    errno = ENOMEM;

    return 1;
}


void *
malloc(size_t size)
{
    if (alloc_now(__builtin_return_address(0))) {
        return NULL;
    }

    return __interceptor_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    if (alloc_now(__builtin_return_address(0))) {
        return NULL;
    }

    return __interceptor_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    if (alloc_now(__builtin_return_address(0))) {
        return NULL;
    }

    return __interceptor_realloc(p, size);
}


void *
memalign(size_t alignment, size_t size)
{
    if (alloc_now(__builtin_return_address(0))) {
        return NULL;
    }

    return __interceptor_memalign(alignment, size);
}


void *
aligned_alloc(size_t alignment, size_t size)
{
    if (alloc_now(__builtin_return_address(0))) {
        return NULL;
    }

    return __interceptor_memalign(alignment, size);
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    if (alloc_now(__builtin_return_address(0))) {
        return ENOMEM;
    }

    return __interceptor_posix_memalign(p, alignment, size);
}
