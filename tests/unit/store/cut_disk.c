#include "base/base.h"
#include "cut_disk.h"

#include <dirent.h>

enum { SECTOR = 512, FILES = 4096, BREAK_DOWN_CALLS = 12 };

/* A change to a file that has not been synced. */
struct change {
    struct change *next;
    bool truncate;
    uint64_t at, n; /* truncate: the new size is `at` */
    uint8_t *bytes;
};

struct file {
    uint8_t *durable;
    uint64_t size;
    struct change *first, **last; /* since the last sync */
    struct change *limbo; /* of failed syncs: nobody will write them, but they may be there */
};

/* A name in the log's directory: what it is on the disk, and what it is now. */
struct name {
    char name[64];
    struct file *durable, *now;
};

struct cut_disk {
    struct store_disk ops;
    struct cut_options o;
    struct random random;
    pthread_mutex_t lock;
    uint64_t calls;
    struct name names[FILES];
    size_t n_names;
    struct file *by_fd[FILES];
};

uint64_t random_next(struct random *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

static struct cut_disk *self(const struct store_disk *d)
{
    return container_of(d, struct cut_disk, ops);
}

static void resize(struct file *f, uint64_t size)
{
    uint8_t *bytes = mem_alloc((size_t)size + 1);
    if (f->size)
        memcpy(bytes, f->durable, (size_t)MIN(size, f->size));
    free(f->durable);
    f->durable = bytes;
    f->size = size;
}

static void apply_write(struct file *f, uint64_t at, const uint8_t *bytes, uint64_t n)
{
    if (at + n > f->size)
        resize(f, at + n);
    memcpy(f->durable + at, bytes, (size_t)n);
}

static void apply_change(struct file *f, const struct change *c)
{
    if (c->truncate)
        resize(f, c->at);
    else
        apply_write(f, c->at, c->bytes, c->n);
}

static void change_free(struct change *c)
{
    free(c->bytes);
    free(c);
}

static void add_change(struct file *f, bool truncate, uint64_t at, const uint8_t *bytes, uint64_t n)
{
    struct change *c = mem_alloc(sizeof *c);
    *c = (struct change){.truncate = truncate, .at = at, .n = n, .bytes = mem_alloc((size_t)n + 1)};
    if (n)
        memcpy(c->bytes, bytes, (size_t)n);
    *f->last = c;
    f->last = &c->next;
}

static struct change *take_changes(struct file *f)
{
    struct change *c = f->first;
    f->first = NULL;
    f->last = &f->first;
    return c;
}

/* A file that was cut and synced is cut for good. */
static void cut_limbo(struct file *f, uint64_t size)
{
    for (struct change *c = f->limbo; c; c = c->next)
        if (!c->truncate)
            c->n = c->at < size ? MIN(c->n, size - c->at) : 0;
}

/* Of each change some sectors survive; the order is of no account where they do not overlap, and
 * where they do, each order is drawn. */
static void apply_some(struct cut_disk *d, struct file *f, struct change *c, unsigned percent)
{
    for (; c; c = c->next) {
        if (c->truncate) {
            if (random_chance(&d->random, percent))
                apply_change(f, c);
            continue;
        }
        for (uint64_t from = 0; from < c->n;) {
            uint64_t n = MIN(SECTOR - (c->at + from) % SECTOR, c->n - from);
            if (random_chance(&d->random, percent))
                apply_write(f, c->at + from, c->bytes + from, n);
            from += n;
        }
    }
}

static void write_out(const char *path, const struct file *f)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(fd >= 0);
    for (uint64_t at = 0; at < f->size;) {
        ssize_t n = write(fd, f->durable + at, (size_t)(f->size - at));
        check(n > 0);
        at += (uint64_t)n;
    }
    close(fd);
}

static void survive(struct cut_disk *d, struct name *name)
{
    static const unsigned shares[] = {0, 10, 50, 90, 100};
    char path[512];
    check(snprintf(path, sizeof path, "%s/%s", d->o.log_dir, name->name) < (int)sizeof path);
    struct file *f = random_chance(&d->random, 50) ? name->durable : name->now;
    unlink(path);
    if (!f)
        return;
    struct file image = {.size = 0};
    resize(&image, f->size);
    if (f->size)
        memcpy(image.durable, f->durable, (size_t)f->size);
    apply_some(d, &image, f->limbo, shares[random_below(&d->random, ARRAY_LEN(shares))]);
    apply_some(d, &image, f->first, shares[random_below(&d->random, ARRAY_LEN(shares))]);
    write_out(path, &image);
    free(image.durable);
}

static void cut_locked(struct cut_disk *d) __attribute__((noreturn));
static void cut_locked(struct cut_disk *d)
{
    for (size_t i = 0; i < d->n_names; i++)
        survive(d, &d->names[i]);
    _exit(0);
}

void cut_disk_cut(struct cut_disk *d)
{
    pthread_mutex_lock(&d->lock);
    cut_locked(d);
}

/* Before every changing call, under the lock: false if it shall fail with errno. */
static bool step(struct cut_disk *d)
{
    d->calls++;
    bool breaking = d->o.break_down && d->calls + BREAK_DOWN_CALLS > d->o.calls;
    if (d->calls >= d->o.calls)
        cut_locked(d);
    if (!breaking && random_below(&d->random, 1000) >= d->o.fault_permille)
        return true;
    errno = random_chance(&d->random, 50) ? EIO : ENOSPC;
    return false;
}

static struct name *name_of(struct cut_disk *d, const char *path)
{
    size_t n = strlen(d->o.log_dir);
    if (strncmp(path, d->o.log_dir, n) != 0 || path[n] != '/')
        return NULL;
    for (size_t i = 0; i < d->n_names; i++)
        if (strcmp(d->names[i].name, path + n + 1) == 0)
            return &d->names[i];
    check(d->n_names < FILES);
    struct name *name = &d->names[d->n_names++];
    snprintf(name->name, sizeof name->name, "%s", path + n + 1);
    return name;
}

static struct file *file_new(void)
{
    struct file *f = mem_alloc(sizeof *f);
    f->last = &f->first;
    return f;
}

static int cut_open(const struct store_disk *ops, const char *path, int flags, mode_t mode)
{
    struct cut_disk *d = self(ops);
    pthread_mutex_lock(&d->lock);
    int fd = -1;
    struct name *name = name_of(d, path);
    if (!(flags & O_CREAT) || !name || step(d))
        fd = store_disk_real.open(NULL, path, flags, mode);
    if (fd >= 0 && name) {
        if (!name->now)
            name->now = file_new();
        check(fd < FILES);
        d->by_fd[fd] = name->now;
    }
    pthread_mutex_unlock(&d->lock);
    return fd;
}

static int cut_close(const struct store_disk *ops, int fd)
{
    struct cut_disk *d = self(ops);
    pthread_mutex_lock(&d->lock);
    d->by_fd[fd] = NULL;
    int result = close(fd);
    pthread_mutex_unlock(&d->lock);
    return result;
}

static ssize_t cut_pread(const struct store_disk *ops, int fd, void *p, size_t n, uint64_t at)
{
    return store_disk_real.pread(NULL, fd, p, n, at);
}

/* Writes the first `limit` bytes of the vector. */
static ssize_t write_some(struct file *f, int fd, const struct iovec *v, int n, uint64_t at,
                          uint64_t limit)
{
    uint64_t total = 0;
    for (int i = 0; i < n && total < limit; i++) {
        size_t part = (size_t)MIN(v[i].iov_len, limit - total);
        check(pwrite(fd, v[i].iov_base, part, (off_t)(at + total)) == (ssize_t)part);
        if (f)
            add_change(f, false, at + total, v[i].iov_base, part);
        total += part;
    }
    return (ssize_t)total;
}

static ssize_t cut_pwritev(const struct store_disk *ops, int fd, const struct iovec *v, int n,
                           uint64_t at)
{
    struct cut_disk *d = self(ops);
    pthread_mutex_lock(&d->lock);
    struct file *f = d->by_fd[fd];
    uint64_t all = 0;
    for (int i = 0; i < n; i++)
        all += v[i].iov_len;
    /* The cut may come in the middle of it: then it is an unsynced part of it. */
    if (f && d->calls + 1 >= d->o.calls)
        write_some(f, fd, v, n, at, random_below(&d->random, all + 1));
    ssize_t result = -1;
    if (!f || step(d)) {
        bool part = f && d->o.fault_permille && random_chance(&d->random, 2);
        result = write_some(f, fd, v, n, at, part ? random_below(&d->random, all) + 1 : all);
    } else {
        int error = errno;
        write_some(f, fd, v, n, at, random_below(&d->random, all + 1));
        errno = error;
    }
    pthread_mutex_unlock(&d->lock);
    return result;
}

static int cut_fdatasync(const struct store_disk *ops, int fd)
{
    struct cut_disk *d = self(ops);
    pthread_mutex_lock(&d->lock);
    struct file *f = d->by_fd[fd];
    int result = 0;
    if (f && step(d)) {
        for (struct change *c = take_changes(f), *next; c; c = next) {
            next = c->next;
            apply_change(f, c);
            if (c->truncate)
                cut_limbo(f, c->at);
            change_free(c);
        }
    } else if (f) {
        int error = errno;
        *f->last = f->limbo;
        f->limbo = take_changes(f);
        errno = error;
        result = -1;
    }
    pthread_mutex_unlock(&d->lock);
    return result;
}

static int cut_ftruncate(const struct store_disk *ops, int fd, uint64_t size)
{
    struct cut_disk *d = self(ops);
    pthread_mutex_lock(&d->lock);
    struct file *f = d->by_fd[fd];
    int result = -1;
    if (!f || step(d)) {
        result = ftruncate(fd, (off_t)size);
        if (f && result == 0)
            add_change(f, true, size, NULL, 0);
    }
    pthread_mutex_unlock(&d->lock);
    return result;
}

static int cut_file_size(const struct store_disk *ops, int fd, uint64_t *out)
{
    return store_disk_real.file_size(NULL, fd, out);
}

static int cut_rename(const struct store_disk *ops, const char *from, const char *to)
{
    return rename(from, to);
}

static int cut_unlink(const struct store_disk *ops, const char *path)
{
    struct cut_disk *d = self(ops);
    pthread_mutex_lock(&d->lock);
    int result = -1;
    struct name *name = name_of(d, path);
    if (!name || step(d)) {
        result = unlink(path);
        if (name && result == 0)
            name->now = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    return result;
}

static int cut_mkdir(const struct store_disk *ops, const char *path, mode_t mode)
{
    return mkdir(path, mode);
}

static int cut_sync_dir(const struct store_disk *ops, const char *path)
{
    struct cut_disk *d = self(ops);
    pthread_mutex_lock(&d->lock);
    int result = 0;
    if (strcmp(path, d->o.log_dir) == 0) {
        if (step(d))
            for (size_t i = 0; i < d->n_names; i++)
                d->names[i].durable = d->names[i].now;
        else
            result = -1;
    }
    pthread_mutex_unlock(&d->lock);
    return result;
}

static int cut_space(const struct store_disk *ops, const char *path, uint64_t *out_free,
                     uint64_t *out_total)
{
    *out_free = *out_total = (uint64_t)1 << 40;
    return 0;
}

static void load(struct cut_disk *d, struct name *name, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && fstat(fd, &st) == 0);
    struct file *f = name->durable = name->now = file_new();
    resize(f, (uint64_t)st.st_size);
    check(pread(fd, f->durable, (size_t)f->size, 0) == st.st_size);
    close(fd);
}

struct cut_disk *cut_disk_new(const struct cut_options *o)
{
    struct cut_disk *d = mem_alloc(sizeof *d);
    d->ops = (struct store_disk){
        .open = cut_open,
        .close = cut_close,
        .pread = cut_pread,
        .pwritev = cut_pwritev,
        .fdatasync = cut_fdatasync,
        .ftruncate = cut_ftruncate,
        .file_size = cut_file_size,
        .rename = cut_rename,
        .unlink = cut_unlink,
        .mkdir = cut_mkdir,
        .sync_dir = cut_sync_dir,
        .space = cut_space,
    };
    d->o = *o;
    d->random.state = o->seed;
    check(pthread_mutex_init(&d->lock, NULL) == 0);
    DIR *dir = opendir(o->log_dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[512];
        if (entry->d_name[0] == '.')
            continue;
        check(snprintf(path, sizeof path, "%s/%s", o->log_dir, entry->d_name) < (int)sizeof path);
        load(d, name_of(d, path), path);
    }
    if (dir)
        closedir(dir);
    return d;
}

const struct store_disk *cut_disk_ops(struct cut_disk *d)
{
    return &d->ops;
}
