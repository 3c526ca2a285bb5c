/*
 * A full disk for PostgreSQL, by LD_PRELOAD: while the file of FC_FULL exists,
 * no file in the directory that the file names grows any more.  What is written
 * in place still is, as on a real disk.
 */


#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>


static int
full(int fd, off_t end)
{
    int          n;
    char         link[64], path[4096], part[256];
    FILE        *fp;
    struct stat  st;
    const char  *control = getenv("FC_FULL");

    if (control == NULL) {
        return 0;
    }

    fp = fopen(control, "r");
    if (fp == NULL) {
        return 0;
    }

    n = fread(part, 1, sizeof(part) - 1, fp);
    part[n] = '\0';
    fclose(fp);

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);

    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0) {
        return 0;
    }

    path[n] = '\0';

    return strstr(path, part) && fstat(fd, &st) == 0 && end > st.st_size;
}


#define REAL(name)  static __typeof__(name) *real;                            \
                    if (real == NULL) { real = dlsym(RTLD_NEXT, #name); }

#define REFUSE(fd, end)  if (full(fd, end)) { errno = ENOSPC; return -1; }


ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    REAL(pwrite)
    REFUSE(fd, offset + (off_t) n)
    return real(fd, buf, n, offset);
}


ssize_t
pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
    REAL(pwrite64)
    REFUSE(fd, offset + (off_t) n)
    return real(fd, buf, n, offset);
}


ssize_t
pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    REAL(pwritev)
    REFUSE(fd, offset + 1)
    return real(fd, iov, n, offset);
}


ssize_t
pwritev64(int fd, const struct iovec *iov, int n, off64_t offset)
{
    REAL(pwritev64)
    REFUSE(fd, offset + 1)
    return real(fd, iov, n, offset);
}


int
posix_fallocate(int fd, off_t offset, off_t len)
{
    REAL(posix_fallocate)
    return full(fd, offset + len) ? ENOSPC : real(fd, offset, len);
}
