#include "store/engine_private.h"

/*
 * What is known of the segments while the store is open: in memory only, so that no crash can
 * spoil it. How much of one is alive is counted from the reverse keys when it is first looked at,
 * and again when much of it has been dropped since.
 */

static struct known_segment *find(struct segment_table *t, uint64_t number)
{
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->v[mid].number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < t->n && t->v[lo].number == number ? &t->v[lo] : NULL;
}

void segment_table_add(struct engine *e, const struct known_segment *s)
{
    struct segment_table *t = &e->known;
    pthread_mutex_lock(&t->lock);
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->v = reallocarray(t->v, t->cap, sizeof *t->v);
        check(t->v != NULL);
    }
    size_t at = t->n;
    for (; at && t->v[at - 1].number > s->number; at--) /* big bodies are not written in order */
        t->v[at] = t->v[at - 1];
    t->v[at] = *s;
    t->n++;
    pthread_mutex_unlock(&t->lock);
}

void segment_table_remove(struct engine *e, uint64_t number)
{
    struct segment_table *t = &e->known;
    pthread_mutex_lock(&t->lock);
    struct known_segment *s = find(t, number);
    if (s) {
        size_t at = (size_t)(s - t->v);
        memmove(s, s + 1, (t->n - at - 1) * sizeof *s);
        t->n--;
    }
    pthread_mutex_unlock(&t->lock);
}

void segment_table_dropped(struct engine *e, uint64_t number, uint64_t bytes)
{
    struct segment_table *t = &e->known;
    pthread_mutex_lock(&t->lock);
    struct known_segment *s = find(t, number);
    if (s && __builtin_add_overflow(s->dropped, bytes, &s->dropped))
        s->dropped = UINT64_MAX;
    pthread_mutex_unlock(&t->lock);
}

void segment_table_change(struct engine *e, const struct known_segment *s)
{
    struct segment_table *t = &e->known;
    pthread_mutex_lock(&t->lock);
    struct known_segment *known = find(t, s->number);
    uint64_t dropped = known ? known->dropped : 0;
    if (known) {
        *known = *s;
        known->dropped = dropped;
    }
    pthread_mutex_unlock(&t->lock);
}

void segment_table_retire(struct engine *e, uint64_t number)
{
    struct segment_table *t = &e->known;
    pthread_mutex_lock(&t->lock);
    struct known_segment *known = find(t, number);
    if (known)
        known->retired = true;
    pthread_mutex_unlock(&t->lock);
}

bool segment_takes_owners(struct engine *e, uint64_t number)
{
    struct segment_table *t = &e->known;
    pthread_mutex_lock(&t->lock);
    const struct known_segment *s = find(t, number);
    bool takes = s && !s->retired;
    pthread_mutex_unlock(&t->lock);
    return takes;
}

bool segment_table_pick(struct engine *e,
                        bool (*better)(const struct known_segment *s,
                                       const struct known_segment *than, void *arg),
                        void *arg, struct known_segment *out)
{
    struct segment_table *t = &e->known;
    const struct known_segment *best = NULL;
    uint64_t current = atomic_load(&e->current_segment);
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i].number != current && !t->v[i].retired && !t->v[i].damaged &&
            better(&t->v[i], best, arg))
            best = &t->v[i];
    if (best)
        *out = *best;
    pthread_mutex_unlock(&t->lock);
    return best;
}

void segment_table_free(struct engine *e)
{
    free(e->known.v);
    pthread_mutex_destroy(&e->known.lock);
}
