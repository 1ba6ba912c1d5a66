#include "store/hot.h"
#include "store/batch.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    PLACES = 8192,
    LOCKS = 64,
    ROW_MAX = 2048 /* bytes of key and value together: at most 16 MB */
};

/* Key and value stand behind one another. */
struct row {
    uint64_t since; /* no group after it has changed the value */
    size_t key_n, n, cap;
    uint8_t bytes[];
};

/* With its lock. */
struct place {
    struct row *row;
    uint64_t changed; /* the last group that changed a key of this place, here or not */
};

struct hot {
    atomic_uint_fast64_t shown;
    pthread_mutex_t locks[LOCKS];
    struct place places[PLACES];
};

struct hot *hot_new(uint64_t shown)
{
    struct hot *h = mem_alloc(sizeof *h);
    atomic_init(&h->shown, shown);
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_init(&h->locks[i], NULL);
    return h;
}

void hot_free(struct hot *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < PLACES; i++)
        free(h->places[i].row);
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_destroy(&h->locks[i]);
    free(h);
}

uint64_t hot_moment(const struct hot *h)
{
    return atomic_load(&h->shown);
}

static size_t lock_of(const struct hot *h, const struct place *p)
{
    return (size_t)(p - h->places) % LOCKS;
}

static struct place *place_lock(struct hot *h, struct str key)
{
    struct place *p = &h->places[map_hash(key) % PLACES];
    (void)pthread_mutex_lock(&h->locks[lock_of(h, p)]);
    return p;
}

static void place_unlock(struct hot *h, const struct place *p)
{
    (void)pthread_mutex_unlock(&h->locks[lock_of(h, p)]);
}

/* -- rows, with the lock of their place -- */

static struct str row_key(const struct row *r)
{
    return str_of(r->bytes, r->key_n);
}

static struct str row_value(const struct row *r)
{
    return str_of(r->bytes + r->key_n, r->n);
}

static void row_remove(struct place *p)
{
    free(p->row);
    p->row = NULL;
}

static void row_set(struct place *p, uint64_t since, struct str key, struct str value)
{
    struct row *r = p->row;
    size_t n = key.n + value.n;
    if (!value.n || n > ROW_MAX) {
        row_remove(p);
        return;
    }
    if (!r || r->cap < n) {
        size_t cap = n + n / 4;
        free(r);
        r = p->row = mem_alloc(sizeof *r + cap);
        r->cap = cap;
    }
    r->since = since;
    r->key_n = key.n;
    r->n = value.n;
    str_copy_to(r->bytes, key);
    str_copy_to(r->bytes + key.n, value);
}

static bool place_holds(const struct place *p, struct str key)
{
    return p->row && str_eq(row_key(p->row), key);
}

/* -- readers -- */

bool hot_find(struct hot *h, uint64_t moment, struct str key, struct arena *a, struct str *out)
{
    struct place *p = place_lock(h, key);
    bool found = place_holds(p, key) && p->row->since <= moment;
    if (found)
        *out = str_dup(a, row_value(p->row));
    place_unlock(h, p);
    return found;
}

void hot_keep(struct hot *h, uint64_t moment, struct str key, struct str value)
{
    if (!value.n || key.n + value.n > ROW_MAX)
        return;
    struct place *p = place_lock(h, key);
    /* A group that changes it after this finds the row here. */
    if (p->changed <= moment)
        row_set(p, moment, key, value);
    place_unlock(h, p);
}

/* -- the committer -- */

static void change_range(struct hot *h, uint64_t group, struct str from, struct str to)
{
    for (struct place *p = h->places; p < h->places + PLACES; p++) {
        (void)pthread_mutex_lock(&h->locks[lock_of(h, p)]);
        if (p->row && str_cmp(row_key(p->row), from) >= 0 && str_cmp(row_key(p->row), to) < 0)
            row_remove(p);
        p->changed = group;
        place_unlock(h, p);
    }
}

void hot_change(struct hot *h, uint64_t group, struct str ops)
{
    struct cur c = cur_of(ops);
    struct op op;
    while (batch_next(&c, &op)) {
        if (op.kind == OP_RANGE) {
            change_range(h, group, op.key, op.value);
            continue;
        }
        struct place *p = place_lock(h, op.key);
        p->changed = group;
        if (place_holds(p, op.key)) {
            if (op.kind == OP_PUT)
                row_set(p, group, op.key, op.value);
            else
                row_remove(p);
        }
        place_unlock(h, p);
    }
}

void hot_shown(struct hot *h, uint64_t group)
{
    atomic_store(&h->shown, group);
}
