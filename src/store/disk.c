#include "store/disk.h"

#include <sys/statvfs.h>

static int real_open(const struct store_disk *d, const char *path, int flags, mode_t mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

static int real_close(const struct store_disk *d, int fd)
{
    return close(fd);
}

static ssize_t real_pread(const struct store_disk *d, int fd, void *p, size_t n, uint64_t at)
{
    return pread(fd, p, n, (off_t)at);
}

static ssize_t real_pwritev(const struct store_disk *d, int fd, const struct iovec *v, int n,
                            uint64_t at)
{
    return pwritev(fd, v, n, (off_t)at);
}

static int real_fdatasync(const struct store_disk *d, int fd)
{
    return fdatasync(fd);
}

static int real_ftruncate(const struct store_disk *d, int fd, uint64_t size)
{
    return ftruncate(fd, (off_t)size);
}

static int real_file_size(const struct store_disk *d, int fd, uint64_t *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    *out = (uint64_t)st.st_size;
    return 0;
}

static int real_rename(const struct store_disk *d, const char *from, const char *to)
{
    return rename(from, to);
}

static int real_unlink(const struct store_disk *d, const char *path)
{
    return unlink(path);
}

static int real_mkdir(const struct store_disk *d, const char *path, mode_t mode)
{
    return mkdir(path, mode);
}

static int real_sync_dir(const struct store_disk *d, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = fsync(fd), error = errno;
    close(fd);
    errno = error;
    return result;
}

static int real_space(const struct store_disk *d, const char *path, uint64_t *out_free,
                      uint64_t *out_total)
{
    struct statvfs st;
    if (statvfs(path, &st) < 0)
        return -1;
    *out_free = (uint64_t)st.f_bavail * st.f_frsize;
    *out_total = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

const struct store_disk store_disk_real = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pwritev = real_pwritev,
    .fdatasync = real_fdatasync,
    .ftruncate = real_ftruncate,
    .file_size = real_file_size,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .sync_dir = real_sync_dir,
    .space = real_space,
};

struct err disk_read(const struct store_disk *d, int fd, void *p, size_t n, uint64_t at)
{
    uint8_t *to = p;
    while (n) {
        ssize_t got = d->pread(d, fd, to, n, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys("reading the log");
        if (got == 0)
            return err_make(E_CORRUPT, "the log file ends before the bytes meant");
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return OK;
}

struct err disk_write(const struct store_disk *d, int fd, struct iovec *v, size_t n, uint64_t at)
{
    while (n) {
        if (v->iov_len == 0) {
            v++;
            n--;
            continue;
        }
        ssize_t wrote = d->pwritev(d, fd, v, (int)MIN(n, (size_t)IOV_MAX), at);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return err_sys("writing to the log");
        at += (uint64_t)wrote;
        for (size_t left = (size_t)wrote; left;) {
            size_t part = MIN(left, v->iov_len);
            v->iov_base = (uint8_t *)v->iov_base + part;
            v->iov_len -= part;
            left -= part;
            if (v->iov_len == 0 && left) {
                v++;
                n--;
            }
        }
    }
    return OK;
}

struct err disk_sync(const struct store_disk *d, int fd)
{
#ifndef THURN_SKIP_FDATASYNC
    if (d->fdatasync(d, fd) < 0)
        return err_sys("syncing the log");
#endif
    return OK;
}

struct err disk_sync_dir(const struct store_disk *d, const char *path)
{
    if (d->sync_dir(d, path) < 0)
        return err_sys("syncing a directory of the store");
    return OK;
}
