#include "store/salvage.h"

/* Reads a log that is damaged: what is whole counts, whatever stands before it. */

enum { READ_AT_ONCE = 1 << 20 };

struct log_reader {
    struct salvage_source *s;
    const struct segment *segment;
    struct group_home home;
    struct applied applied;
    bool collect, unreadable;
    struct buf bytes; /* the whole segment; zeros where the disk gives nothing */
};

static void damaged(struct log_reader *r, uint64_t at, const char *what)
{
    r->s->log_damaged = true;
    salvage_say(r->s->report, "log segment %08" PRIu64 ", byte %" PRIu64 ": %s", r->segment->number,
                at, what);
}

static struct err load(struct log_reader *r)
{
    struct engine *e = r->s->e;
    char path[PATH_LEN];
    segment_path(e, r->segment->number, path);
    buf_clear(&r->bytes);
    r->bytes.max = SIZE_MAX;
    uint64_t size = MIN(r->segment->size, r->segment->end);
    uint8_t *p = buf_room(&r->bytes, (size_t)size);
    if (!p)
        return err_make(E_LIMIT, "no memory for a segment of the log");
    int fd = e->disk->open(e->disk, path, O_RDONLY, 0);
    if (fd < 0) {
        damaged(r, 0, "the file cannot be opened");
        return OK;
    }
    for (uint64_t at = 0; at < size; at += READ_AT_ONCE) {
        size_t n = (size_t)MIN(size - at, (uint64_t)READ_AT_ONCE);
        if (disk_read(e->disk, fd, p + at, n, at).code) {
            memset(p + at, 0, n);
            damaged(r, at, "the disk cannot read it");
        }
    }
    e->disk->close(e->disk, fd);
    buf_added(&r->bytes, (size_t)size);
    return OK;
}

static struct err take(struct log_reader *r, const struct record *rec, bool newer)
{
    if (rec->header.kind == RECORD_BODY) {
        if (r->collect)
            salvage_body_seen(r->s, r->segment->number, rec);
        return OK;
    }
    if (r->collect)
        salvage_batch_seen(r->s, rec->payload);
    if (newer && index_add(r->s->e->index, rec->payload).code)
        damaged(r, rec->offset, "a batch that makes no sense");
    return OK;
}

static struct err take_group(struct log_reader *r, struct group *g)
{
    struct record rec;
    bool newer = g->header.sequence > r->applied.sequence;
    while (group_next(g, &rec))
        TRY(take(r, &rec, newer));
    if (!newer)
        return OK;
    r->applied = (struct applied){r->segment->number, g->offset, g->header.sequence};
    return index_commit(r->s->e->index, &r->applied);
}

/* Records of a group that as a whole does not count: each that is whole by itself. Its sequence
 * number may be what is damaged, so its place says whether the index holds it. */
static struct err take_records(struct log_reader *r, uint64_t at, uint64_t end)
{
    uint64_t segment = r->segment->number;
    bool newer =
        segment > r->applied.segment || (segment == r->applied.segment && at >= r->applied.offset);
    for (uint64_t i = at + GROUP_HEADER; end - i >= RECORD_HEADER && i < end;) {
        struct record rec = {.offset = i};
        struct str bytes = str_sub(buf_str(&r->bytes), (size_t)i, (size_t)end);
        uint8_t hash[SHA256_LEN];
        if (record_header_get(bytes, &rec.header).code ||
            rec.header.stored > bytes.n - RECORD_HEADER) {
            i += 8;
            continue;
        }
        rec.payload = str_sub(bytes, RECORD_HEADER, RECORD_HEADER + (size_t)rec.header.stored);
        sha256(rec.payload, hash);
        if (memcmp(hash, rec.header.hash, sizeof hash) == 0)
            TRY(take(r, &rec, newer));
        else if (r->collect && rec.header.kind == RECORD_BATCH)
            salvage_batch_damaged(r->s, rec.header.account, rec.payload);
        i += record_size(rec.header.stored);
    }
    if (!newer)
        return OK;
    r->applied = (struct applied){segment, end, r->applied.sequence};
    return index_commit(r->s->e->index, &r->applied);
}

/* Where something that is not zero stands, from a byte on; the end if nowhere. */
static uint64_t behind_zeros(const struct log_reader *r, uint64_t at)
{
    struct str s = buf_str(&r->bytes);
    while (at < s.n && s.p[at] == 0)
        at++;
    return at & ~(uint64_t)7;
}

/* The next byte at which a group might begin. */
static uint64_t next_magic(const struct log_reader *r, uint64_t at)
{
    struct str s = buf_str(&r->bytes);
    struct group_header h;
    for (at += 8; at + GROUP_HEADER <= s.n; at += 8)
        if (s.p[at] == 'T' && !group_header_get(str_skip(s, (size_t)at), &h).code)
            return at;
    return s.n;
}

static struct err read_groups(struct log_reader *r)
{
    struct str s = buf_str(&r->bytes);
    bool told = false;
    for (uint64_t at = SEGMENT_HEADER; at + GROUP_HEADER <= s.n;) {
        struct str rest = str_skip(s, (size_t)at);
        struct group g;
        struct group_header h;
        if (!group_open(rest, &r->home, at, false, &g).code) {
            TRY(take_group(r, &g));
            at += g.header.length;
            told = false;
            continue;
        }
        if (behind_zeros(r, at) >= s.n)
            return OK;
        if (!told)
            damaged(r, at, "a group of changes is damaged");
        told = true;
        if (!group_header_get(rest, &h).code && h.length <= rest.n) {
            TRY(take_records(r, at, at + h.length));
            at += h.length;
        } else {
            at = next_magic(r, at);
        }
    }
    return OK;
}

static struct err read_big(struct log_reader *r)
{
    struct str s = buf_str(&r->bytes);
    struct record rec = {.offset = SEGMENT_HEADER};
    if (s.n < SEGMENT_HEADER + RECORD_HEADER ||
        record_header_get(str_skip(s, SEGMENT_HEADER), &rec.header).code ||
        rec.header.kind != RECORD_BODY)
        damaged(r, SEGMENT_HEADER, "a large message is damaged");
    else if (r->collect)
        salvage_body_seen(r->s, r->segment->number, &rec);
    return OK;
}

struct err salvage_log_read(struct salvage_source *s, const struct segments *all,
                            const struct applied *applied, bool collect)
{
    struct log_reader r = {.s = s, .applied = *applied, .collect = collect};
    memcpy(r.home.uuid, s->e->uuid, UUID_LEN);
    struct err err = OK;
    for (size_t i = 0; i < all->n && !err.code; i++) {
        r.segment = &all->v[i];
        r.home.segment = r.segment->number;
        bool big = r.segment->state == SEGMENT_VALID && r.segment->header.kind == SEGMENT_BIG_BODY;
        if (!collect && (big || r.segment->number < applied->segment))
            continue;
        if (r.segment->state == SEGMENT_DAMAGED)
            damaged(&r, 0, "its header is damaged");
        err = load(&r);
        if (!err.code)
            err = big ? read_big(&r) : read_groups(&r);
        if (s->report->progress)
            s->report->progress(i + 1, 2 * all->n, s->report->arg);
    }
    buf_free(&r.bytes);
    salvage_bodies_settle(s);
    return err;
}
