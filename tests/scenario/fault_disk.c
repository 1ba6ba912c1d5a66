/*
 * A disk that fails, for tests of the running program: a library to be loaded before all others
 * (LD_PRELOAD), which takes the place of the system calls on files and lets some fail. The program
 * knows nothing of it. What is to fail stands in a file that the test shares with every process
 * (THURN_FAULTS; fault_disk.py writes it): it is mapped before main, and so before the sandbox.
 */
#undef _FILE_OFFSET_BITS /* names with and without 64 are defined here */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RULES = 16, PATH = 96 };
enum call { NO_CALL, SYNC, READ, WRITE, CUT, CREATE, LINK };

/* As struct.pack("<iiqqqq96s") writes it. */
struct rule {
    int32_t call; /* NO_CALL: the rule is not in use; written last */
    /* errno; 0: it waits until the rule is taken back, and works; below: the process dies */
    int32_t error;
    _Atomic int64_t times; /* it fails so often still; below zero: always */
    _Atomic int64_t hits;  /* it has failed so often */
    int64_t from, to;      /* of reads: only those that touch these bytes */
    char path[PATH];       /* the file's name contains this */
};
static struct rule *rules;

__attribute__((constructor)) static void map_rules(void)
{
    const char *name = getenv("THURN_FAULTS");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, RULES * sizeof *rules, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rules = p == MAP_FAILED ? NULL : p;
    (void)close(fd);
}

static int matches(const struct rule *r, enum call call, int64_t from, int64_t to)
{
    return *(const volatile int32_t *)&r->call == (int32_t)call && r->times != 0 &&
           (call != READ || (from < r->to && to > r->from));
}

/* Takes one of the times that are left. */
static int is_due(struct rule *r)
{
    int64_t left = atomic_load(&r->times);
    while (left > 0 && !atomic_compare_exchange_weak(&r->times, &left, left - 1))
        ;
    return left != 0;
}

static void stand_still(const struct rule *r)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    while (atomic_load(&r->times) != 0)
        (void)nanosleep(&moment, NULL);
}

/* Whether the call fails; errno says how. */
static int fails(enum call call, const char *path, int64_t from, int64_t to)
{
    for (int i = 0; rules && i < RULES; i++) {
        struct rule *r = &rules[i];
        if (!matches(r, call, from, to) || !strstr(path, r->path) || !is_due(r))
            continue;
        (void)atomic_fetch_add(&r->hits, 1);
        if (!r->error) {
            stand_still(r);
            continue;
        }
        if (r->error < 0)
            __builtin_trap();
        errno = r->error;
        return 1;
    }
    return 0;
}

static int any(enum call call)
{
    for (int i = 0; rules && i < RULES; i++)
        if (matches(&rules[i], call, INT64_MIN / 2, INT64_MAX / 2))
            return 1;
    return 0;
}

/* The same for a descriptor, the name of which is only asked for if it may matter. */
static int fd_fails(enum call call, int fd, int64_t from, size_t n)
{
    char link[64] = "/proc/self/fd/", path[4096];
    if (!any(call))
        return 0;
    char *end = link + strlen(link), digits[16];
    int k = 0;
    do
        digits[k++] = (char)('0' + fd % 10);
    while ((fd /= 10) > 0);
    while (k > 0)
        *end++ = digits[--k];
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return 0;
    path[len] = 0;
    return fails(call, path, from, from + (int64_t)n);
}

static size_t bytes_of(const struct iovec *v, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += v[i].iov_len;
    return sum;
}

int fdatasync(int fd)
{
    return fd_fails(SYNC, fd, 0, 0) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fd_fails(SYNC, fd, 0, 0) ? -1 : (int)syscall(SYS_fsync, fd);
}

ssize_t pread64(int fd, void *p, size_t n, off64_t at)
{
    return fd_fails(READ, fd, at, n) ? -1 : syscall(SYS_pread64, fd, p, n, at);
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    return pread64(fd, p, n, at);
}

ssize_t write(int fd, const void *p, size_t n)
{
    return fd_fails(WRITE, fd, 0, n) ? -1 : syscall(SYS_write, fd, p, n);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    return fd_fails(WRITE, fd, at, n) ? -1 : syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return pwrite64(fd, p, n, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at)
{
    return fd_fails(WRITE, fd, at, bytes_of(v, n)) ? -1 : syscall(SYS_pwritev, fd, v, n, at, 0);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    return pwritev64(fd, v, n, at);
}

int ftruncate64(int fd, off64_t size)
{
    return fd_fails(CUT, fd, 0, 0) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

static int open_any(const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && fails(CREATE, path, 0, 0))
        return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? __builtin_va_arg(args, mode_t) : 0;
    __builtin_va_end(args);
    return open_any(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? __builtin_va_arg(args, mode_t) : 0;
    __builtin_va_end(args);
    return open_any(path, flags, mode);
}

int link(const char *from, const char *to)
{
    return fails(LINK, to, 0, 0) ? -1 : (int)syscall(SYS_link, from, to);
}
