#include "store/engine_private.h"

struct verify {
    struct engine *e;
    store_finding found;
    void (*progress)(uint64_t, uint64_t, void *);
    void *arg;
    uint64_t done, total;
};

static void report(struct verify *v, const struct segment *s, uint64_t offset, const char *what)
{
    struct buf text CLEANUP(buf_free) = {0};
    buf_printf(&text, "log segment %08" PRIu64 ", byte %" PRIu64 ": %s", s->number, offset, what);
    v->found((account_id){0}, buf_str(&text), v->arg);
}

/* The walk ends there; each body behind it is looked at by its own place. */
static const char unreadable[] = "the disk cannot read it";

static struct err count_group(struct group *g, const struct log_position *end, void *arg)
{
    struct verify *v = arg;
    v->done += g->header.length;
    if (v->progress)
        v->progress(v->done, v->total, v->arg);
    return OK;
}

static struct err verify_groups(struct verify *v, const struct segment *s)
{
    struct walk w = {.check_bodies = true, .each = count_group, .arg = v};
    struct log_position at = {s->number, SEGMENT_HEADER, s->header.sequence};
    struct err err = segment_walk(v->e, s, &at, &w);
    if (err.code != E_CORRUPT && err.code != E_IO)
        return err;
    report(v, s, at.offset, err.code == E_IO ? unreadable : err.why);
    return OK;
}

static struct err verify_big_body(struct verify *v, const struct segment *s)
{
    char path[PATH_LEN];
    segment_path(v->e, s->number, path);
    int fd = v->e->disk->open(v->e->disk, path, O_RDONLY, 0);
    if (fd < 0)
        return err_sys("opening a log segment");
    uint8_t bytes[RECORD_HEADER] = {0};
    struct record_header h;
    struct err err = disk_read(v->e->disk, fd, bytes, sizeof bytes, SEGMENT_HEADER);
    v->e->disk->close(v->e->disk, fd);
    if (!err.code)
        err = record_header_get(str_of(bytes, sizeof bytes), &h);
    if (!err.code) {
        Thurn__BodyPlace place = THURN__BODY_PLACE__INIT;
        place.segment = s->number;
        place.offset = SEGMENT_HEADER;
        place.length = h.plain;
        place.hash = body_short_hash(h.hash);
        err = engine_body_verify(v->e, &place);
    }
    if (err.code != E_CORRUPT && err.code != E_INVALID && err.code != E_IO)
        return err;
    report(v, s, SEGMENT_HEADER, err.code == E_IO ? unreadable : err.why);
    return OK;
}

static struct err verify_segment(struct verify *v, const struct segment *s)
{
    uint64_t before = v->done;
    bool lost;
    TRY(segment_lost(v->e, s, &lost));
    if (lost)
        report(v, s, 0, "damaged header of a segment that holds groups or a body");
    else if (s->in_log)
        TRY(verify_groups(v, s));
    else if (s->state == SEGMENT_VALID && s->header.kind == SEGMENT_BIG_BODY)
        TRY(verify_big_body(v, s));
    v->done = before + s->size;
    if (v->progress)
        v->progress(v->done, v->total, v->arg);
    return OK;
}

/* Every segment in which somebody owns something is there. */
static struct err verify_present(struct verify *v, const struct segments *all)
{
    uint64_t number = 0;
    for (size_t at = 0;;) {
        struct err err = index_next_segment(v->e->index, number + 1, &number);
        if (err.code) /* where the index cannot be read is a finding of its own */
            return OK;
        while (at < all->n && all->v[at].number < number)
            at++;
        const struct segment missing = {.number = number};
        if (at == all->n || all->v[at].number != number)
            report(v, &missing, 0, "the segment is missing");
    }
}

struct err engine_log_verify(struct engine *e, store_finding found,
                             void (*progress)(uint64_t, uint64_t, void *), void *arg)
{
    struct verify v = {.e = e, .found = found, .progress = progress, .arg = arg};
    struct segments all CLEANUP(segments_free) = {0};
    TRY(segments_find(e, &all));
    for (size_t i = 0; i < all.n; i++)
        v.total += all.v[i].size;
    for (size_t i = 0; i < all.n; i++)
        TRY(verify_segment(&v, &all.v[i]));
    return verify_present(&v, &all);
}
