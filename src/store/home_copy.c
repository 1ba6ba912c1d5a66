#include "store/engine_private.h"

#include <dirent.h>

static const struct str table_suffix = STR_INIT(".sst");

enum { PIECE = 4096, PIECES = 16 }; /* what a disk reads at least, and what is copied at a time */

/* Copies some of the n bytes at `at`; or none, if the disk cannot read them. */
static struct err copy_piece(int in, int out, off_t at, size_t n, size_t *out_done)
{
    uint8_t bytes[PIECE * PIECES];
    ssize_t got = pread(in, bytes, n, at);
    if (got < 0 && errno != EIO)
        return err_sys("reading the index");
    *out_done = got < 0 ? 0 : (size_t)got;
    return *out_done && pwrite(out, bytes, *out_done, at) != got ? err_sys("copying the index")
                                                                 : OK;
}

/* All that can be read stands in the copy where it stood, the rest is zero: a table is of use
 * without some of its blocks, but not without its end. E_CORRUPT: there is such a rest. */
static struct err copy_bytes(int in, int out)
{
    struct stat st;
    struct err result = OK;
    if (fstat(in, &st) < 0 || ftruncate(out, st.st_size) < 0)
        return err_sys("copying the index");
    size_t n = PIECE * PIECES, done;
    for (off_t at = 0; at < st.st_size; at += (off_t)done) {
        TRY(copy_piece(in, out, at, n, &done));
        bool none = done == 0;
        if (none && n == PIECE) {
            result = err_make(E_CORRUPT, "a part of it cannot be read");
            done = PIECE;
        }
        n = none ? PIECE : PIECE * PIECES;
    }
    return result;
}

static struct err copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct err err = out < 0 ? err_sys("copying the index") : copy_bytes(in, out);
    if (out >= 0)
        close(out);
    if (in >= 0)
        close(in);
    return err;
}

/* Tables never change and can be shared; the other files are appended to. */
static struct err copy_entry(const char *from_dir, const char *to_dir, const char *name)
{
    char from[PATH_LEN], to[PATH_LEN];
    int n = snprintf(from, sizeof from, "%s/%s", from_dir, name);
    int m = snprintf(to, sizeof to, "%s/%s", to_dir, name);
    if (n >= PATH_LEN || m >= PATH_LEN)
        return err_make(E_INVALID, "path too long");
    if (str_ends(str_c(name), table_suffix) && link(from, to) == 0)
        return OK;
    return copy_file(from, to);
}

static bool wanted(struct str name)
{
    return !str_eq(name, STR("LOCK")) && !str_starts(name, STR("LOG")) &&
           !str_starts(name, STR("."));
}

/* All that can be; the first failure is returned. */
static struct err copy_all(const char *from, const char *to)
{
    DIR *d = opendir(from);
    if (!d)
        return errno == ENOENT ? OK : err_sys("listing the index"); /* made anew from the log */
    struct err err = OK;
    for (struct dirent *entry; (entry = readdir(d));) {
        struct err one = wanted(str_c(entry->d_name)) ? copy_entry(from, to, entry->d_name) : OK;
        err = err.code ? err : one;
    }
    closedir(d);
    return err;
}

/* Beside the store, so that links work; else where temporary files are. */
static bool make_copy_dir(const struct engine *e, char out[PATH_LEN])
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(out, PATH_LEN, "%s.check-XXXXXX", e->dir);
    if (n < PATH_LEN && mkdtemp(out))
        return true;
    n = snprintf(out, PATH_LEN, "%s/thurn-check-XXXXXX", tmp ? tmp : "/tmp");
    return n < PATH_LEN && mkdtemp(out);
}

struct err home_copy_index(struct engine *e, struct buf *explain)
{
    char copy[PATH_LEN];
    if (!make_copy_dir(e, copy)) {
        struct err err = err_sys("making a directory for a copy of the index");
        buf_printf(explain, "no directory for a copy of the index can be made beside %s: %s",
                   e->dir, strerror(err.sys));
        return err;
    }
    char original[PATH_LEN];
    memcpy(original, e->index_dir, sizeof original);
    memcpy(e->index_dir, copy, sizeof copy);
    e->index_copied = true;
    struct err err = copy_all(original, copy);
    if (err.code)
        buf_printf(explain, "the index in %s cannot be copied: %s", original,
                   err.sys ? strerror(err.sys) : err.why);
    return err;
}

void home_empty_copy(struct engine *e)
{
    check(e->index_copied); /* never the store's own */
    DIR *d = opendir(e->index_dir);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char path[PATH_LEN];
        int n = snprintf(path, sizeof path, "%s/%s", e->index_dir, entry->d_name);
        if (n < PATH_LEN)
            unlink(path);
    }
    if (d)
        closedir(d);
}

void home_remove_copy(struct engine *e)
{
    if (!e->index_copied)
        return;
    home_empty_copy(e);
    rmdir(e->index_dir);
}
