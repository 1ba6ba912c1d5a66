#include "store/salvage.h"

#include <dirent.h>

void salvage_say(const struct salvage_report *r, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    check(n >= 0);
    r->damaged(str_of(text, MIN((size_t)n, sizeof text - 1)), r->arg);
}

/* ---------------------------------------------------------------------------- which store it is */

/* The uuid as most segments have it. */
static bool uuid_of_segments(struct engine *e, const struct segments *all)
{
    bool found = false;
    size_t best = 0;
    for (size_t i = 0; i < all->n; i++) {
        size_t same = 0;
        for (size_t k = 0; k < all->n; k++)
            same += all->v[k].header.number &&
                    memcmp(all->v[k].header.uuid, all->v[i].header.uuid, UUID_LEN) == 0;
        if (!all->v[i].header.number || same <= best)
            continue;
        best = same;
        found = true;
        memcpy(e->uuid, all->v[i].header.uuid, UUID_LEN);
    }
    return found;
}

/* From the segments, as the file that says it may be damaged too. */
static struct err identify(struct salvage_source *s, struct segments *all, struct buf *explain)
{
    struct engine *e = s->e;
    TRY(home_lock_to_look(e, explain));
    struct err err = segments_find(e, all);
    if (err.code) {
        salvage_say(s->report, "the folder of the log cannot be read: %s", err.why);
        *all = (struct segments){0};
    }
    struct buf why CLEANUP(buf_free) = {0};
    if (home_read_format(e, &why).code)
        salvage_say(s->report, "the file \"format\" is missing or damaged");
    bool log = uuid_of_segments(e, all);
    bool index = access(e->index_dir, R_OK | X_OK) == 0;
    if (!log && !index) {
        buf_printf(explain, "%s holds neither a log nor an index", e->dir);
        return err_make(E_NOTFOUND, "no store");
    }
    segments_free(all);
    return log ? segments_find(e, all) : OK; /* again, as what belongs to it is known now */
}

/* --------------------------------------------------------------------------------- the index */

static struct err open_copy(struct salvage_source *s, struct buf *why)
{
    return index_open(s->e->index_dir, 0, &s->e->index, why);
}

/* Begins with an empty one, which the log will fill. */
static struct err open_empty(struct salvage_source *s, struct buf *explain)
{
    index_close(s->e->index);
    s->e->index = NULL;
    home_empty_copy(s->e);
    s->rebuilt = true;
    return open_copy(s, explain);
}

static struct err open_index(struct salvage_source *s, const struct segments *all,
                             struct buf *explain)
{
    struct buf why CLEANUP(buf_free) = {0};
    struct applied applied;
    struct err err = home_copy_index(s->e, &why);
    bool some = s->e->index_copied && (err.code == E_IO || err.code == E_CORRUPT);
    if (err.code && !some) {
        buf_put(explain, buf_str(&why));
        return err;
    }
    if (err.code) /* what can be read of it may do */
        salvage_say(s->report, "%.*s", STR_FMT(buf_str(&why)));
    buf_clear(&why);
    err = open_copy(s, &why);
    if (err.code) {
        salvage_say(s->report, "the index cannot be opened: %.*s", STR_FMT(buf_str(&why)));
        return open_empty(s, explain);
    }
    if (index_applied(s->e->index, &applied).code) {
        salvage_say(s->report, "the index is missing, empty or damaged");
        return open_empty(s, explain);
    }
    if (!index_readable(s->e->index, &why)) {
        salvage_say(s->report, "the index is damaged: %.*s", STR_FMT(buf_str(&why)));
        s->index_damaged = true;
        if (all->whole && all->n) /* then the log knows everything */
            return open_empty(s, explain);
    }
    return OK;
}

/* ---------------------------------------------------------------------------------- together */

static struct err bring_up(struct salvage_source *s, const struct segments *all)
{
    struct applied applied = {0};
    struct err err = s->rebuilt ? OK : index_applied(s->e->index, &applied);
    if (err.code && err.code != E_NOTFOUND)
        applied = (struct applied){0};
    if (s->rebuilt && !all->whole)
        salvage_say(s->report, "the beginning of the log is not there; what it said is lost");
    /* With all of the log or with a good index nothing is owned that is not known. */
    bool collect = s->rebuilt || s->index_damaged;
    TRY(salvage_log_read(s, all, &applied, collect));
    if (s->rebuilt && all->whole && !s->log_damaged)
        s->index_damaged = false;
    return OK;
}

struct err salvage_open(struct salvage_source *s, struct str dir,
                        const struct salvage_report *report, struct buf *explain)
{
    struct segments all CLEANUP(segments_free) = {0};
    *s = (struct salvage_source){.report = report};
    struct engine_options o = {.dir = dir, .read_only = true};
    TRY(engine_new(&o, &s->e, explain));
    s->store.engine = s->e;
    s->store.images = images_new();
    check(pthread_mutex_init(&s->store.lock, NULL) == 0);
    struct err err = identify(s, &all, explain);
    if (!err.code)
        err = open_index(s, &all, explain);
    if (!err.code)
        err = bring_up(s, &all);
    if (err.code) {
        if (!explain->n)
            buf_printf(explain, "%.*s: %s", STR_FMT(dir), err.why);
        salvage_close(s);
    }
    return err;
}

void salvage_close(struct salvage_source *s)
{
    engine_close(s->e);
    images_free(s->store.images);
    pthread_mutex_destroy(&s->store.lock);
    free(s->bodies);
    *s = (struct salvage_source){0};
}
