#include "store/engine_private.h"

#define REMEDY                                                                                     \
    "restore the directory from a backup, or take what is left over with \"thurn store salvage\""

/* One segment being read. */
struct reader {
    struct engine *e;
    const struct segment *segment;
    int fd;
    uint64_t limit; /* no group may reach beyond */
    struct group_home home;
    struct buf bytes;
};

static bool end_known(const struct segment *s)
{
    return s->end != UINT64_MAX;
}

/* Reads n bytes at `at` into r->bytes. */
static struct err fetch(struct reader *r, uint64_t at, uint64_t n)
{
    buf_clear(&r->bytes);
    uint8_t *p = n <= SIZE_MAX ? buf_room(&r->bytes, (size_t)n) : NULL;
    if (!p)
        return err_make(E_LIMIT, "a group of the log is too large");
    TRY(disk_read(r->e->disk, r->fd, p, (size_t)n, at));
    buf_added(&r->bytes, (size_t)n);
    return OK;
}

/* The group at `at`, pointing into r->bytes. E_INVALID: none that counts. */
static struct err load_group(struct reader *r, uint64_t at, bool check_bodies, struct group *out)
{
    struct group_header h;
    if (at > r->limit || r->limit - at < GROUP_HEADER)
        return err_make(E_INVALID, "end of the segment");
    TRY(fetch(r, at, GROUP_HEADER));
    TRY(group_header_get(buf_str(&r->bytes), &h));
    if (h.length > r->limit - at)
        return err_make(E_INVALID, "group cut off");
    TRY(fetch(r, at, h.length));
    return group_open(buf_str(&r->bytes), &r->home, at, check_bodies, out);
}

/* Whether a group later than `sequence` stands at `at` or behind. */
static struct err later_group(struct reader *r, uint64_t at, uint64_t sequence, bool *out)
{
    enum { WINDOW = 1 << 20 };
    *out = false;
    for (uint64_t from = at; from < r->limit; from += WINDOW - GROUP_HEADER) {
        TRY(fetch(r, from, MIN((uint64_t)WINDOW, r->limit - from)));
        struct buf window CLEANUP(buf_free) = r->bytes;
        r->bytes = (struct buf){0};
        struct str s = buf_str(&window);
        for (size_t i = 0; i + GROUP_HEADER <= s.n; i += 8) {
            struct group_header h;
            struct group g;
            if (s.p[i] != 'T' || group_header_get(str_skip(s, i), &h).code ||
                h.sequence <= sequence)
                continue;
            struct err err = load_group(r, from + i, false, &g);
            if (err.code == E_OK)
                *out = true;
            if (err.code != E_INVALID)
                return err;
        }
    }
    return OK;
}

static struct err walk_end(struct reader *r, const struct log_position *at)
{
    const struct segment *s = r->segment;
    bool lost = at->offset != s->end || at->sequence != s->last_sequence;
    /* Groups are synced one after the other, so nothing follows one that was not finished. */
    if (!end_known(s))
        TRY(later_group(r, at->offset, at->sequence + 1, &lost));
    return lost ? err_make(E_CORRUPT, "a group of the log is damaged") : OK;
}

static struct err walk(struct reader *r, struct log_position *at, const struct walk *w)
{
    struct group g;
    while (at->offset != r->segment->end) {
        struct err err = load_group(r, at->offset, w->check_bodies, &g);
        if (err.code == E_INVALID || (!err.code && g.header.sequence != at->sequence + 1))
            break;
        TRY(err);
        struct log_position end = {at->segment, at->offset + g.header.length, g.header.sequence};
        if (w->each)
            TRY(w->each(&g, &end, w->arg));
        *at = end;
    }
    return walk_end(r, at);
}

static struct err reader_open(struct reader *r, struct engine *e, const struct segment *s)
{
    char path[PATH_LEN];
    segment_path(e, s->number, path);
    *r = (struct reader){.e = e, .segment = s, .home.segment = s->number};
    memcpy(r->home.uuid, e->uuid, UUID_LEN);
    r->limit = end_known(s) ? s->end : s->size;
    r->fd = e->disk->open(e->disk, path, O_RDONLY, 0);
    return r->fd < 0 ? err_sys("opening a log segment") : OK;
}

static void reader_close(struct reader *r)
{
    r->e->disk->close(r->e->disk, r->fd);
    buf_free(&r->bytes);
}

struct err segment_walk(struct engine *e, const struct segment *s, struct log_position *at,
                        const struct walk *w)
{
    struct reader r;
    TRY(reader_open(&r, e, s));
    struct err err = walk(&r, at, w);
    reader_close(&r);
    return err;
}

struct err segment_lost(struct engine *e, const struct segment *s, bool *out)
{
    struct reader r;
    *out = false;
    if (s->state == SEGMENT_VALID)
        return OK;
    TRY(reader_open(&r, e, s));
    struct err err = later_group(&r, SEGMENT_HEADER, 0, out);
    reader_close(&r);
    if (err.code == E_IO) { /* it cannot be told: there may be one */
        *out = true;
        return OK;
    }
    if (!err.code && !*out)
        err = index_segment_owned(e->index, s->number, out);
    return err;
}

static struct err apply_group(struct group *g, const struct log_position *end, void *arg)
{
    struct engine *e = arg;
    struct record r;
    while (group_next(g, &r))
        if (r.header.kind == RECORD_BATCH)
            TRY(index_add(e->index, r.payload));
    struct applied applied = {end->segment, end->offset, end->sequence};
    atomic_fetch_add(&e->replayed_groups, 1);
    if (e->opening)
        e->opening(e->opening_arg);
    TRY(index_commit(e->index, &applied));
    index_bound_replay(e->index, g->header.length, e->flush_after);
    return OK;
}

/* Where in the chain the replay begins; n: nowhere. */
static size_t starting_point(const struct segments *all, const struct applied *applied)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct segment *s = &all->v[i];
        if (s->in_log && (applied->segment == 0 || s->number == applied->segment))
            return i;
    }
    return all->n;
}

static struct err replay_segment(struct engine *e, const struct segment *s, struct log_position *at,
                                 struct buf *explain)
{
    /* The others were synced before the one after them was begun. */
    struct walk w = {.check_bodies = !end_known(s), .each = apply_group, .arg = e};
    struct err err = segment_walk(e, s, at, &w);
    if (err.code)
        buf_printf(explain,
                   "segment %08" PRIu64 " of the log is %s at byte %" PRIu64 " (group %" PRIu64
                   "): %s; %s",
                   s->number, err.code == E_IO ? "unreadable" : "damaged", at->offset,
                   at->sequence + 1, err.code == E_IO ? strerror(err.sys) : err.why,
                   err.code == E_IO ? "look after the disk, and leave the store as it is"
                                    : "restore the directory from a backup");
    return err;
}

static struct err replay_from(struct engine *e, const struct segments *all, size_t from,
                              struct log_position *at, struct buf *explain)
{
    for (size_t i = from; i < all->n; i++) {
        const struct segment *s = &all->v[i];
        if (!s->in_log)
            continue;
        if (s->number != at->segment)
            *at = (struct log_position){s->number, SEGMENT_HEADER, at->sequence};
        if (at->sequence < s->header.sequence || at->offset > s->end || at->offset > s->size) {
            buf_printf(explain,
                       "the index is ahead of the log, which has lost its end in segment "
                       "%08" PRIu64 "; " REMEDY,
                       s->number);
            return err_make(E_CORRUPT, "the index is ahead of the log");
        }
        TRY(replay_segment(e, s, at, explain));
    }
    return OK;
}

static struct err open_to_change(struct engine *e, uint64_t number, int *out)
{
    char path[PATH_LEN];
    segment_path(e, number, path);
    *out = e->disk->open(e->disk, path, O_RDWR, 0);
    return *out < 0 ? err_sys("opening a log segment") : OK;
}

/* If the process before was killed, what is read of the last segment may not be on the disk yet.
 * It must be before the index, which writes when it likes, holds it. */
static struct err sync_last(struct engine *e, const struct segments *all)
{
    for (size_t i = all->n; i-- > 0;) {
        int fd;
        if (!all->v[i].in_log)
            continue;
        TRY(open_to_change(e, all->v[i].number, &fd));
        struct err err = disk_sync(e->disk, fd);
        e->disk->close(e->disk, fd);
        return err;
    }
    return OK;
}

/* Gives back the zeros, and what did not count, behind the last group. */
static struct err cut_end(struct engine *e, const struct log_position *at)
{
    int fd;
    if (at->segment == 0)
        return OK;
    TRY(open_to_change(e, at->segment, &fd));
    struct err err =
        e->disk->ftruncate(e->disk, fd, at->offset) < 0 ? err_sys("cutting the log") : OK;
    e->disk->close(e->disk, fd);
    return err;
}

/* A header that was not finished belongs to a segment that holds nothing. One that is needed no
 * more for the index, but may hold bodies, does not keep the others from being served. */
static struct err check_lost(struct engine *e, const struct segments *all, uint64_t applied,
                             struct buf *explain)
{
    for (size_t i = 0; i < all->n; i++) {
        bool lost;
        uint64_t number = all->v[i].number;
        TRY(segment_lost(e, &all->v[i], &lost));
        if (lost && number >= applied) {
            buf_printf(explain,
                       "the header of segment %08" PRIu64 " of the log is damaged; " REMEDY,
                       number);
            return err_make(E_CORRUPT, "the header of a segment is damaged");
        }
        if (lost)
            log_error("store.segment.damaged", LF_U64("segment", number),
                      LF_C("why", "its header is damaged"));
    }
    return OK;
}

/* Segments that never held anything that counts, bodies that no commit came to name, and what was
 * left of segments that had been rewritten. */
static struct err keep_or_remove(struct engine *e, const struct segments *all)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct segment *s = &all->v[i];
        bool owned = s->in_log,
             big = s->state == SEGMENT_VALID && s->header.kind == SEGMENT_BIG_BODY;
        if (!owned && index_segment_owned(e->index, s->number, &owned).code)
            owned = true; /* cannot be told */
        const struct known_segment known = {.number = s->number,
                                            .big = big,
                                            .looked_at = big,
                                            .size = s->size,
                                            .live = big ? s->size : 0,
                                            .bodies = UINT64_MAX,
                                            .damaged = s->state != SEGMENT_VALID,
                                            .retired_at = UINT64_MAX};
        if (owned)
            segment_table_add(e, &known);
        else
            TRY(segment_remove(e, s->number));
    }
    return OK;
}

/* Bodies of a missing segment are lost; the others are served. */
static void tell_missing(struct engine *e)
{
    uint64_t number = 0;
    for (;;) {
        struct err err = index_next_segment(e->index, number + 1, &number);
        if (err.code && err.code != E_NOTFOUND)
            log_error("store.index.read-failed", LF_ERR(err));
        if (err.code)
            return;
        if (!segment_takes_owners(e, number))
            log_error("store.segment.damaged", LF_U64("segment", number),
                      LF_C("why", "it is missing"));
    }
}

/* What the index does not hold must be in the log. */
static struct err check_reach(const struct segments *all, const struct applied *applied,
                              size_t from, struct buf *explain)
{
    if (from == all->n && applied->segment) {
        buf_printf(explain,
                   "segment %08" PRIu64
                   " of the log, from which on the index does not hold what is "
                   "in the log, or a later one is missing or damaged; " REMEDY,
                   applied->segment);
        return err_make(E_CORRUPT, "a segment of the log is missing or damaged");
    }
    if (!applied->segment && !all->whole) {
        const struct segment *s = &all->v[from];
        buf_printf(explain,
                   "the index is missing and cannot be made anew: segment %08" PRIu64
                   " of the log goes on from %08" PRIu64
                   ", which has been rewritten, is missing or damaged; " REMEDY,
                   s->number, s->header.before);
        return err_make(E_CORRUPT, "the index is missing");
    }
    return OK;
}

static struct err replay(struct engine *e, const struct segments *all, struct buf *explain)
{
    struct applied applied = {0};
    struct err err = index_applied(e->index, &applied);
    if (err.code && err.code != E_NOTFOUND)
        return err;
    size_t from = starting_point(all, &applied);
    TRY(check_reach(all, &applied, from, explain));
    struct log_position at = {applied.segment, applied.offset, applied.sequence};
    if (!e->read_only)
        TRY(sync_last(e, all));
    TRY(replay_from(e, all, from, &at, explain));
    uint64_t last = MAX(at.segment, all->n ? all->v[all->n - 1].number : 0);
    atomic_store(&e->next_segment, last + 1);
    e->writer = (struct log_writer){
        .fd = -1, .segment = at.segment, .end = at.offset, .sequence = at.sequence};
    if (e->read_only)
        return OK; /* what is lost is a finding of the check */
    TRY(check_lost(e, all, applied.segment, explain));
    TRY(cut_end(e, &at));
    TRY(keep_or_remove(e, all));
    tell_missing(e);
    return OK;
}

struct err log_replay(struct engine *e, struct buf *explain)
{
    struct segments all CLEANUP(segments_free) = {0};
    TRY(segments_find(e, &all));
    atomic_store(&e->segments, all.n);
    return replay(e, &all, explain);
}
