#include "store/engine_private.h"

struct view {
    struct engine *e;
    bool pins;                          /* segments: it may read bodies */
    uint64_t epoch;                     /* of its opening */
    uint64_t moment;                    /* the newest group that it shows for certain */
    const rocksdb_snapshot_t *snapshot; /* NULL: always the newest */
    rocksdb_readoptions_t *own;         /* of the snapshot */
    const rocksdb_readoptions_t *read;
    rocksdb_iterator_t *idle; /* kept for the next scan; NULL while one uses it */
};

static const char *text(const void *p)
{
    return (const char *)p;
}

static struct view *open_view(struct engine *e, bool pins, bool newest)
{
    struct view *v = mem_alloc(sizeof *v);
    index_quiet();
    v->e = e;
    v->pins = pins;
    /* Before the snapshot is taken: who is not counted yet sees places that are not retired. */
    v->epoch = atomic_load(&e->epoch);
    if (pins)
        atomic_fetch_add(&e->readers[v->epoch % 2], 1);
    v->moment = e->hot ? hot_moment(e->hot) : 0; /* also before */
    v->read = e->index->read;
    if (newest)
        return v;
    v->snapshot = rocksdb_create_snapshot(e->index->db);
    v->read = v->own = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(v->own, v->snapshot);
    return v;
}

struct view *view_open(struct engine *e)
{
    return open_view(e, true, false);
}

struct view *view_open_keys(struct engine *e)
{
    return open_view(e, false, false);
}

struct view *view_open_newest(struct engine *e)
{
    return open_view(e, true, true);
}

void view_close(struct view *v)
{
    if (!v)
        return;
    if (v->idle)
        rocksdb_iter_destroy(v->idle);
    if (v->snapshot) {
        rocksdb_readoptions_destroy(v->own);
        rocksdb_release_snapshot(v->e->index->db, v->snapshot);
    }
    if (v->pins)
        atomic_fetch_sub(&v->e->readers[v->epoch % 2], 1);
    free(v);
}

static struct err unreadable(char *error)
{
    log_error("store.index.read-failed", LF_C("why", error));
    rocksdb_free(error);
    return err_make(E_IO, "the index cannot be read");
}

struct err view_get(struct view *v, struct str key, struct arena *a, struct str *out)
{
    char *error = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(v->e->index->db, v->read, text(key.p), key.n, &error);
    if (error)
        return unreadable(error);
    if (!slice)
        return err_make(E_NOTFOUND, "no such key");
    size_t n;
    const char *value = rocksdb_pinnableslice_value(slice, &n);
    struct str copy = str_dup(a, str_of(value, n));
    rocksdb_pinnableslice_destroy(slice);
    if (n && !copy.p)
        return err_make(E_LIMIT, "no room for a value of the index");
    *out = copy;
    return OK;
}

struct err view_get_often(struct view *v, struct str key, struct arena *a, struct str *out)
{
    struct hot *h = v->e->hot;
    if (h && hot_find(h, v->moment, key, a, out))
        return out->p ? OK : err_make(E_LIMIT, "no room for a value of the index");
    TRY(view_get(v, key, a, out));
    if (h)
        hot_keep(h, v->moment, key, *out);
    return OK;
}

/* A scan may run inside another's `each`, so it takes the iterator for itself. */
static rocksdb_iterator_t *iterator_take(struct view *v)
{
    rocksdb_iterator_t *it = v->idle ? v->idle : rocksdb_create_iterator(v->e->index->db, v->read);
    v->idle = NULL;
    return it;
}

static struct err iterator_give_back(struct view *v, rocksdb_iterator_t *it)
{
    char *error = NULL;
    rocksdb_iter_get_error(it, &error);
    if (v->idle)
        rocksdb_iter_destroy(it);
    else
        v->idle = it;
    return error ? unreadable(error) : OK;
}

static struct str iterator_key(const rocksdb_iterator_t *it)
{
    size_t n;
    const char *p = rocksdb_iter_key(it, &n);
    return str_of(p, n);
}

static struct str iterator_value(const rocksdb_iterator_t *it)
{
    size_t n;
    const char *p = rocksdb_iter_value(it, &n);
    return str_of(p, n);
}

struct err view_scan(struct view *v, struct str from, struct str to,
                     bool (*each)(struct str key, struct str value, void *arg), void *arg)
{
    rocksdb_iterator_t *it = iterator_take(v);
    for (rocksdb_iter_seek(it, text(from.p), from.n); rocksdb_iter_valid(it);
         rocksdb_iter_next(it)) {
        struct str key = iterator_key(it);
        if (str_cmp(key, to) >= 0 || !each(key, iterator_value(it), arg))
            break;
    }
    return iterator_give_back(v, it);
}

struct err view_scan_down(struct view *v, struct str from, struct str to,
                          bool (*each)(struct str key, struct str value, void *arg), void *arg)
{
    rocksdb_iterator_t *it = iterator_take(v);
    rocksdb_iter_seek_for_prev(it, text(to.p), to.n);
    if (rocksdb_iter_valid(it) && str_eq(iterator_key(it), to))
        rocksdb_iter_prev(it);
    for (; rocksdb_iter_valid(it); rocksdb_iter_prev(it)) {
        struct str key = iterator_key(it);
        if (str_cmp(key, from) < 0 || !each(key, iterator_value(it), arg))
            break;
    }
    return iterator_give_back(v, it);
}

/* ------------------------------------------------------------------------------------- walks */

enum { WALK_STEPS = 8 }; /* so many keys further on, seeking is cheaper */

struct key_walk {
    rocksdb_iterator_t *it;
};

struct key_walk *view_walk(struct view *v)
{
    struct key_walk *w = mem_alloc(sizeof *w);
    w->it = rocksdb_create_iterator(v->e->index->db, v->read);
    return w;
}

void key_walk_free(struct key_walk *w)
{
    if (!w)
        return;
    rocksdb_iter_destroy(w->it);
    free(w);
}

static struct err key_walk_end(struct key_walk *w)
{
    char *error = NULL;
    rocksdb_iter_get_error(w->it, &error);
    return error ? unreadable(error) : err_make(E_NOTFOUND, "no such key");
}

struct err key_walk_get(struct key_walk *w, struct str key, struct str *out)
{
    int cmp = rocksdb_iter_valid(w->it) ? str_cmp(iterator_key(w->it), key) : 1;
    for (unsigned step = 0; cmp < 0 && step < WALK_STEPS; step++) {
        rocksdb_iter_next(w->it);
        if (!rocksdb_iter_valid(w->it))
            return key_walk_end(w);
        cmp = str_cmp(iterator_key(w->it), key);
        if (cmp > 0)
            return err_make(E_NOTFOUND, "no such key");
    }
    if (cmp) {
        rocksdb_iter_seek(w->it, text(key.p), key.n);
        if (!rocksdb_iter_valid(w->it) || !str_eq(iterator_key(w->it), key))
            return key_walk_end(w);
    }
    *out = iterator_value(w->it);
    return OK;
}
