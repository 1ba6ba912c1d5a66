#include "store/engine_private.h"

#include <dirent.h>

static const struct str suffix = STR_INIT(".seg");

void segment_path(const struct engine *e, uint64_t number, char out[PATH_LEN])
{
    int n = snprintf(out, PATH_LEN, "%s/%08" PRIu64 ".seg", e->log_dir, number);
    check(n > 0 && n < PATH_LEN); /* the engine has refused longer directories */
}

struct err segment_create(struct engine *e, uint64_t *out_number, int *out_fd)
{
    char path[PATH_LEN];
    uint64_t number = atomic_fetch_add(&e->next_segment, 1);
    segment_path(e, number, path);
    int fd = e->disk->open(e->disk, path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return err_sys("creating a log segment");
    struct err err = disk_sync_dir(e->disk, e->log_dir);
    if (err.code) {
        e->disk->close(e->disk, fd);
        e->disk->unlink(e->disk, path);
        return err;
    }
    atomic_fetch_add(&e->segments, 1);
    *out_number = number;
    *out_fd = fd;
    return OK;
}

struct err segment_remove(struct engine *e, uint64_t number)
{
    char path[PATH_LEN];
    segment_path(e, number, path);
    if (e->disk->unlink(e->disk, path) < 0 && errno != ENOENT)
        return err_sys("removing a log segment");
    atomic_fetch_sub(&e->segments, 1);
    return disk_sync_dir(e->disk, e->log_dir);
}

void segments_free(struct segments *s)
{
    free(s->v);
    *s = (struct segments){0};
}

static void segments_add(struct segments *s, uint64_t number)
{
    if ((s->n & (s->n - 1)) == 0) { /* full: the array holds powers of two */
        struct segment *v = mem_alloc((s->n ? 2 * s->n : 1) * sizeof *v);
        if (s->n)
            memcpy(v, s->v, s->n * sizeof *v);
        free(s->v);
        s->v = v;
    }
    s->v[s->n++] = (struct segment){
        .number = number, .state = SEGMENT_UNUSED, .end = UINT64_MAX, .last_sequence = UINT64_MAX};
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = ((const struct segment *)a)->number, y = ((const struct segment *)b)->number;
    return x < y ? -1 : x > y;
}

static struct err list_names(struct engine *e, struct segments *out)
{
    DIR *d = opendir(e->log_dir);
    if (!d)
        return err_sys("listing the log");
    for (struct dirent *entry; (entry = readdir(d));) {
        struct str name = str_c(entry->d_name);
        uint64_t number;
        if (str_ends(name, suffix) &&
            str_to_u64(str_sub(name, 0, name.n - suffix.n), &number).code == E_OK && number > 0)
            segments_add(out, number);
    }
    closedir(d);
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, compare_numbers);
    return OK;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    while (n && !*p)
        p++, n--;
    return n == 0;
}

static struct err read_header(struct engine *e, struct segment *s)
{
    char path[PATH_LEN];
    segment_path(e, s->number, path);
    int fd = e->disk->open(e->disk, path, O_RDONLY, 0);
    if (fd < 0)
        return err_sys("opening a log segment");
    uint8_t bytes[SEGMENT_HEADER] = {0};
    struct err err = e->disk->file_size(e->disk, fd, &s->size) < 0
                         ? err_sys("looking at a log segment")
                         : disk_read(e->disk, fd, bytes, (size_t)MIN(s->size, sizeof bytes), 0);
    e->disk->close(e->disk, fd);
    if (err.code == E_IO) { /* a bad place of the disk: as good as damaged */
        log_error("store.segment.unreadable", LF_U64("segment", s->number), LF_ERR(err));
        s->state = SEGMENT_DAMAGED;
        return OK;
    }
    TRY(err);
    if (s->size >= sizeof bytes &&
        segment_header_get(str_of(bytes, sizeof bytes), &s->header).code == E_OK)
        s->state = s->header.number == s->number && memcmp(s->header.uuid, e->uuid, UUID_LEN) == 0
                       ? SEGMENT_VALID
                       : SEGMENT_DAMAGED;
    else
        s->state = all_zero(bytes, sizeof bytes) ? SEGMENT_UNUSED : SEGMENT_DAMAGED;
    return OK;
}

static struct segment *find(struct segments *s, uint64_t number)
{
    struct segment key = {.number = number};
    return s->n ? bsearch(&key, s->v, s->n, sizeof key, compare_numbers) : NULL;
}

/* Backwards from the last: each names the one before and where it ends, down to the first one or to
 * where one is missing or damaged. Whether that matters depends on the index. */
static void follow_chain(struct segments *all)
{
    struct segment *s = NULL;
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].state == SEGMENT_VALID && all->v[i].header.kind == SEGMENT_GROUPS)
            s = &all->v[i];
    all->whole = !s;
    uint64_t end = UINT64_MAX, sequence = UINT64_MAX;
    while (s) {
        s->in_log = true;
        s->end = end;
        s->last_sequence = sequence;
        uint64_t before = s->header.before;
        end = s->header.before_end;
        sequence = s->header.sequence;
        all->whole = before == 0;
        struct segment *next = before && before < s->number ? find(all, before) : NULL;
        bool good = next && next->state == SEGMENT_VALID && next->header.kind == SEGMENT_GROUPS &&
                    end <= next->size && end >= SEGMENT_HEADER;
        s = good ? next : NULL;
    }
}

struct err segments_find(struct engine *e, struct segments *out)
{
    struct segments all CLEANUP(segments_free) = {0};
    TRY(list_names(e, &all));
    for (size_t i = 0; i < all.n; i++)
        TRY(read_header(e, &all.v[i]));
    follow_chain(&all);
    *out = all;
    all = (struct segments){0};
    return OK;
}
