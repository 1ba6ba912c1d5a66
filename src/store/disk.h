/*
 * The system calls of the log. Tests put a layer of their own below, which loses, tears and
 * reorders what was not synced.
 *
 * Every call works as its namesake: -1 and errno on failure. A layer embeds this structure as its
 * first member and finds itself through the first argument.
 */
#ifndef THURN_STORE_DISK_H
#define THURN_STORE_DISK_H

#include "base/base.h"
#include <sys/uio.h>

struct store_disk {
    int (*open)(const struct store_disk *d, const char *path, int flags, mode_t mode);
    int (*close)(const struct store_disk *d, int fd);
    ssize_t (*pread)(const struct store_disk *d, int fd, void *p, size_t n, uint64_t at);
    ssize_t (*pwritev)(const struct store_disk *d, int fd, const struct iovec *v, int n,
                       uint64_t at);
    int (*fdatasync)(const struct store_disk *d, int fd);
    int (*ftruncate)(const struct store_disk *d, int fd, uint64_t size);
    int (*file_size)(const struct store_disk *d, int fd, uint64_t *out);
    int (*rename)(const struct store_disk *d, const char *from, const char *to);
    int (*unlink)(const struct store_disk *d, const char *path);
    int (*mkdir)(const struct store_disk *d, const char *path, mode_t mode);
    /* Makes the names in a directory durable. */
    int (*sync_dir)(const struct store_disk *d, const char *path);
    /* Bytes free for this process, and the size of the file system. */
    int (*space)(const struct store_disk *d, const char *path, uint64_t *out_free,
                 uint64_t *out_total);
};
extern const struct store_disk store_disk_real;

/* Loops around short transfers. disk_read: E_CORRUPT if the file ends before. disk_write changes
 * the vector. */
MUST_CHECK struct err disk_read(const struct store_disk *d, int fd, void *p, size_t n, uint64_t at);
MUST_CHECK struct err disk_write(const struct store_disk *d, int fd, struct iovec *v, size_t n,
                                 uint64_t at);
/* Left out in the build that proves that the power-cut test notices it. */
MUST_CHECK struct err disk_sync(const struct store_disk *d, int fd);
MUST_CHECK struct err disk_sync_dir(const struct store_disk *d, const char *path);

#endif
