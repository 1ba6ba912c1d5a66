#include "store/engine_private.h"
#include "store/format_features.h"

#include <dirent.h>
#include <sys/file.h>

/*
 * The directory of a store:
 *
 *   format   what it is, as text; written last when a store is begun
 *   lock     held with flock while a process has the store open
 *   log/     the truth
 *   index/   made from it
 */
static const char format_text[] = "thurn store\nformat 1\nuuid ";

static void path_in(const struct engine *e, const char *name, char out[PATH_LEN])
{
    int n = snprintf(out, PATH_LEN, "%s/%s", e->dir, name);
    check(n > 0 && n < PATH_LEN);
}

static struct err refuse(const struct engine *e, struct buf *explain, enum errc code,
                         const char *what)
{
    buf_printf(explain, "%s %s", e->dir, what);
    return err_make(code, "the directory cannot be used as a store");
}

static struct err check_owner(const struct engine *e, struct buf *explain)
{
    struct stat st;
    if (stat(e->dir, &st) < 0) {
        int error = errno;
        buf_printf(explain,
                   "%s: %s; create the directory, or correct the path in the "
                   "configuration",
                   e->dir, strerror(error));
        return (struct err){E_IO, error, "no directory for the store"};
    }
    if (!S_ISDIR(st.st_mode))
        return refuse(e, explain, E_UNSUPPORTED, "is not a directory; choose another path");
    if (!e->read_only && st.st_uid != geteuid()) {
        buf_printf(explain,
                   "%s belongs to user id %u, but this process runs as %u; change the owner of "
                   "the directory or the user",
                   e->dir, (unsigned)st.st_uid, (unsigned)geteuid());
        return err_make(E_DENIED, "the store belongs to another user");
    }
    return OK;
}

/* What a beginning that was interrupted leaves. */
static bool name_of_ours(struct str name)
{
    return str_eq(name, STR("lock")) || str_eq(name, STR("log")) || str_eq(name, STR("index")) ||
           str_eq(name, STR("format.new")) || str_eq(name, STR("lost+found"));
}

/* Whether there is nothing in it but names that `accept` knows. */
static struct err only(const char *path, bool (*accept)(struct str), bool *out)
{
    DIR *d = opendir(path);
    if (!d && errno == ENOENT) {
        *out = true;
        return OK;
    }
    if (!d)
        return err_sys("listing the store's directory");
    *out = true;
    for (struct dirent *entry; (entry = readdir(d));) {
        struct str name = str_c(entry->d_name);
        if (!str_eq(name, STR(".")) && !str_eq(name, STR("..")) && !(accept && accept(name)))
            *out = false;
    }
    closedir(d);
    return OK;
}

static struct err check_empty(const struct engine *e, struct buf *explain)
{
    bool root = false, log = false, index = false;
    TRY(only(e->dir, name_of_ours, &root));
    TRY(only(e->log_dir, NULL, &log));
    TRY(only(e->index_dir, NULL, &index));
    if (!root || !log || !index)
        return refuse(e, explain, E_UNSUPPORTED,
                      "holds something else than a store of Thurn; nothing was changed; choose an "
                      "empty directory");
    if (e->read_only)
        return refuse(e, explain, E_NOTFOUND, "holds no store; start the service once to make one");
    return OK;
}

static struct err take_lock(struct engine *e, struct buf *explain)
{
    char path[PATH_LEN];
    path_in(e, "lock", path);
    int fd = open(path, (e->read_only ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC, 0600);
    if (fd < 0) {
        struct err err = err_sys("opening the store's lock file");
        buf_printf(explain, "%s: %s", path, strerror(err.sys));
        return err;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return refuse(e, explain, E_EXISTS, "is in use by another process; stop that one first");
    }
    e->lock_fd = fd;
    return OK;
}

static struct err make_dir(const struct engine *e, const char *path)
{
    if (e->disk->mkdir(e->disk, path, 0700) < 0 && errno != EEXIST)
        return err_sys("creating a directory of the store");
    return OK;
}

static struct err write_file(const struct engine *e, const char *path, struct str bytes)
{
    int fd = e->disk->open(e->disk, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return err_sys("creating the store's format file");
    struct iovec v = {.iov_base = (void *)(uintptr_t)bytes.p, .iov_len = bytes.n};
    struct err err = disk_write(e->disk, fd, &v, 1, 0);
    if (!err.code)
        err = disk_sync(e->disk, fd);
    e->disk->close(e->disk, fd);
    return err;
}

static struct err home_begin(struct engine *e, const char *format_path)
{
    char new_path[PATH_LEN];
    path_in(e, "format.new", new_path);
    TRY(make_dir(e, e->log_dir));
    TRY(make_dir(e, e->index_dir));
    random_bytes(e->uuid, sizeof e->uuid);
    struct buf text CLEANUP(buf_free) = {0};
    buf_put(&text, str_c(format_text));
    hex_encode(&text, str_of(e->uuid, sizeof e->uuid));
    buf_put(&text, STR("\nfeatures\n"));
    features_put(&text);
    TRY(write_file(e, new_path, buf_str(&text)));
    if (e->disk->rename(e->disk, new_path, format_path) < 0)
        return err_sys("naming the store's format file");
    return disk_sync_dir(e->disk, e->dir);
}

static bool read_hex(struct cur *c, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < 2 * n; i++) {
        uint8_t b = cur_byte(c);
        uint8_t digit = byte_is_digit(b)         ? (uint8_t)(b - '0')
                        : (b >= 'a' && b <= 'f') ? (uint8_t)(b - 'a' + 10)
                                                 : 255;
        if (digit == 255)
            return cur_fail(c);
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] << 4 | digit : digit);
    }
    return !c->bad;
}

static struct err parse_format(struct engine *e, struct str text, struct buf *explain)
{
    struct cur c = cur_of(text);
    uint8_t uuid[UUID_LEN];
    if (!cur_accept_str(&c, STR("thurn store\n")))
        return refuse(e, explain, E_UNSUPPORTED,
                      "is not a store of Thurn; nothing was changed; choose another directory");
    if (!cur_accept_str(&c, STR("format 1\n")) || !cur_accept_str(&c, STR("uuid ")) ||
        !read_hex(&c, uuid, sizeof uuid) || !cur_accept_str(&c, STR("\nfeatures\n")) ||
        !features_known(&c))
        return refuse(e, explain, E_UNSUPPORTED,
                      "is a store of a format or with features that this release does not know; "
                      "nothing was changed; use the release that wrote it");
    memcpy(e->uuid, uuid, sizeof e->uuid);
    return OK;
}

/* E_NOTFOUND: there is no format file. */
static struct err read_format(struct engine *e, const char *path, struct buf *explain)
{
    enum { FORMAT_MAX = 4096 };
    uint8_t text[FORMAT_MAX];
    uint64_t size;
    int fd = e->disk->open(e->disk, path, O_RDONLY, 0);
    if (fd < 0)
        return errno == ENOENT ? err_make(E_NOTFOUND, "no format file")
                               : err_sys("opening the store's format file");
    struct err err = OK;
    if (e->disk->file_size(e->disk, fd, &size) < 0)
        err = err_sys("looking at the store's format file");
    size_t n = (size_t)MIN(size, sizeof text);
    if (!err.code)
        err = disk_read(e->disk, fd, text, n, 0);
    e->disk->close(e->disk, fd);
    TRY(err);
    return parse_format(e, str_of(text, n), explain);
}

struct err home_open(struct engine *e, struct buf *explain)
{
    char path[PATH_LEN];
    path_in(e, "format", path);
    TRY(check_owner(e, explain));
    struct err err = read_format(e, path, explain);
    if (err.code && err.code != E_NOTFOUND)
        return err;
    if (err.code)
        TRY(check_empty(e, explain));
    TRY(take_lock(e, explain));
    err = read_format(e, path, explain); /* another process may have begun it meanwhile */
    if (err.code == E_NOTFOUND)
        err = home_begin(e, path);
    return err;
}

struct err home_lock_to_look(struct engine *e, struct buf *explain)
{
    char path[PATH_LEN];
    path_in(e, "lock", path);
    return access(path, F_OK) == 0 ? take_lock(e, explain) : OK;
}

struct err home_read_format(struct engine *e, struct buf *explain)
{
    char path[PATH_LEN];
    path_in(e, "format", path);
    return read_format(e, path, explain);
}
