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

struct hot {
    atomic_uint_fast64_t begun, shown;
    pthread_mutex_t locks[LOCKS];
    struct row *rows[PLACES]; /* with the lock of the place */
};

struct hot *hot_new(uint64_t shown)
{
    struct hot *h = mem_alloc(sizeof *h);
    atomic_init(&h->begun, shown);
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
        free(h->rows[i]);
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_destroy(&h->locks[i]);
    free(h);
}

uint64_t hot_moment(const struct hot *h)
{
    return atomic_load(&h->shown);
}

static size_t place_lock(struct hot *h, struct str key)
{
    size_t place = (size_t)(map_hash(key) % PLACES);
    (void)pthread_mutex_lock(&h->locks[place % LOCKS]);
    return place;
}

static void place_unlock(struct hot *h, size_t place)
{
    (void)pthread_mutex_unlock(&h->locks[place % LOCKS]);
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

static void row_remove(struct hot *h, size_t place)
{
    free(h->rows[place]);
    h->rows[place] = NULL;
}

static void row_set(struct hot *h, size_t place, uint64_t since, struct str key, struct str value)
{
    struct row *r = h->rows[place];
    size_t n = key.n + value.n;
    if (!value.n || n > ROW_MAX) {
        row_remove(h, place);
        return;
    }
    if (!r || r->cap < n) {
        size_t cap = n + n / 4;
        free(r);
        r = h->rows[place] = mem_alloc(sizeof *r + cap);
        r->cap = cap;
    }
    r->since = since;
    r->key_n = key.n;
    r->n = value.n;
    str_copy_to(r->bytes, key);
    str_copy_to(r->bytes + key.n, value);
}

static bool place_holds(const struct hot *h, size_t place, struct str key)
{
    return h->rows[place] && str_eq(row_key(h->rows[place]), key);
}

/* -- readers -- */

bool hot_find(struct hot *h, uint64_t moment, struct str key, struct arena *a, struct str *out)
{
    size_t place = place_lock(h, key);
    bool found = place_holds(h, place, key) && h->rows[place]->since <= moment;
    if (found)
        *out = str_dup(a, row_value(h->rows[place]));
    place_unlock(h, place);
    return found;
}

void hot_keep(struct hot *h, uint64_t moment, struct str key, struct str value)
{
    if (!value.n || key.n + value.n > ROW_MAX)
        return;
    size_t place = place_lock(h, key);
    /* A group that is begun after this finds the row here. */
    if (atomic_load(&h->begun) == moment)
        row_set(h, place, moment, key, value);
    place_unlock(h, place);
}

/* -- the committer -- */

static void change_range(struct hot *h, struct str from, struct str to)
{
    for (size_t place = 0; place < PLACES; place++) {
        (void)pthread_mutex_lock(&h->locks[place % LOCKS]);
        const struct row *r = h->rows[place];
        if (r && str_cmp(row_key(r), from) >= 0 && str_cmp(row_key(r), to) < 0)
            row_remove(h, place);
        place_unlock(h, place);
    }
}

void hot_begin(struct hot *h, uint64_t group)
{
    atomic_store(&h->begun, group);
}

void hot_change(struct hot *h, uint64_t group, struct str ops)
{
    struct cur c = cur_of(ops);
    struct op op;
    while (batch_next(&c, &op)) {
        if (op.kind == OP_RANGE) {
            change_range(h, op.key, op.value);
            continue;
        }
        size_t place = place_lock(h, op.key);
        if (place_holds(h, place, op.key)) {
            if (op.kind == OP_PUT)
                row_set(h, place, group, op.key, op.value);
            else
                row_remove(h, place);
        }
        place_unlock(h, place);
    }
}

void hot_shown(struct hot *h, uint64_t group)
{
    atomic_store(&h->shown, group);
}
