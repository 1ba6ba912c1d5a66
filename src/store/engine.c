#include "store/engine_private.h"

enum { DEFAULT_SEGMENT = 64 << 20, FLUSH_AFTER = 128 << 20 };
enum { SPARE_PATH = 64 /* for names inside the directory */ };

static void engine_free(struct engine *e)
{
    index_close(e->index);
    hot_free(e->hot);
    home_remove_copy(e);
    segment_slots_close(e);
    if (e->writer.fd >= 0)
        e->disk->close(e->disk, e->writer.fd);
    if (e->lock_fd >= 0)
        close(e->lock_fd);
    group_builder_free(e->builder);
    segment_table_free(e);
    pthread_mutex_destroy(&e->rewriter_lock);
    pthread_cond_destroy(&e->rewriter_wake);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->wake);
    free(e);
}

struct err engine_new(const struct engine_options *o, struct engine **out, struct buf *explain)
{
    if (o->dir.n == 0 || o->dir.n > PATH_LEN - SPARE_PATH) {
        buf_put(explain, STR("the path of the store's directory is empty or too long"));
        return err_make(E_INVALID, "bad path of the store");
    }
    struct engine *e = mem_alloc(sizeof *e);
    e->disk = o->disk ? o->disk : &store_disk_real;
    e->id = random_u64();
    e->read_only = o->read_only;
    e->segment_size = o->segment_size ? o->segment_size : DEFAULT_SEGMENT;
    e->flush_after = o->flush_after ? o->flush_after : FLUSH_AFTER;
    e->rewrite_rate = o->rewrite_rate;
    e->opening = o->opening;
    e->opening_arg = o->opening_arg;
    e->lock_fd = e->writer.fd = -1;
    e->builder = group_builder_new();
    check(pthread_mutex_init(&e->lock, NULL) == 0 && pthread_cond_init(&e->wake, NULL) == 0);
    check(pthread_mutex_init(&e->known.lock, NULL) == 0 &&
          pthread_mutex_init(&e->rewriter_lock, NULL) == 0 &&
          pthread_cond_init(&e->rewriter_wake, NULL) == 0);
    list_init(&e->waiting);
    list_init(&e->background);
    segment_slots_init(e);
    check(snprintf(e->dir, PATH_LEN, "%.*s", (int)o->dir.n, (const char *)o->dir.p) > 0);
    check(snprintf(e->log_dir, PATH_LEN, "%.*s/log", (int)o->dir.n, (const char *)o->dir.p) > 0);
    check(snprintf(e->index_dir, PATH_LEN, "%.*s/index", (int)o->dir.n, (const char *)o->dir.p) >
          0);
    *out = e;
    return OK;
}

static struct err engine_start(struct engine *e, uint64_t cache_size, struct buf *explain)
{
    TRY(home_open(e, explain));
    if (e->read_only)
        TRY(home_copy_index(e, explain));
    struct buf why CLEANUP(buf_free) = {0};
    struct err err = index_open(e->index_dir, cache_size, &e->index, &why);
    if (err.code) {
        buf_printf(explain, "the index in %s cannot be opened (%.*s); %s", e->index_dir,
                   STR_FMT(buf_str(&why)),
                   err.code == E_IO ? "look after the disk, and leave the store as it is"
                                    : "move the folder away to have it made anew from the log");
        return err;
    }
    TRY(log_replay(e, explain));
    if (!e->read_only) {
        e->hot = hot_new(e->writer.sequence);
        committer_start(e);
    }
    return OK;
}

struct err engine_open(const struct engine_options *o, struct engine **out, struct buf *explain)
{
    struct engine *e;
    TRY(engine_new(o, &e, explain));
    size_t before = explain->n;
    struct err err = engine_start(e, o->cache_size, explain);
    if (!err.code && o->rewrite_rate && !o->read_only)
        rewriter_start(e);
    if (err.code) {
        if (explain->n == before)
            buf_printf(explain, "%s: %s%s%s", e->dir, err.why, err.sys ? ": " : "",
                       err.sys ? strerror(err.sys) : "");
        engine_free(e);
        return err;
    }
    *out = e;
    return OK;
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    rewriter_stop(e);
    committer_stop(e);
    engine_free(e);
}

void engine_stats(struct engine *e, struct store_stats *out)
{
    *out = (struct store_stats){
        .groups = atomic_load(&e->groups),
        .records = atomic_load(&e->records),
        .synced_bytes = atomic_load(&e->synced_bytes),
        .replayed_groups = atomic_load(&e->replayed_groups),
        .segments = atomic_load(&e->segments),
        .freed_bytes = atomic_load(&e->freed_bytes),
    };
}
