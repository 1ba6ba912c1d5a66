/*
 * A hash table from byte strings or 64-bit numbers to pointers. Keys are copied; the hash is
 * keyed with random bytes, so that nobody can choose keys that collide. Not thread-safe.
 */
#ifndef THURN_BASE_MAP_H
#define THURN_BASE_MAP_H

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t n;    /* entries */
    size_t cap;  /* slots, a power of two */
};

/* The hash that maps use. */
uint64_t map_hash(struct str key);

void map_free(struct map *m);
/* Sets key to value (not NULL); returns the value it had before, or NULL. */
void *map_set(struct map *m, struct str key, void *value);
void *map_get(const struct map *m, struct str key);
/* Takes the key out; returns its value or NULL. */
void *map_remove(struct map *m, struct str key);
/* Calls `each` for every entry in no order; it may not change the map. */
void map_each(const struct map *m, void (*each)(struct str key, void *value, void *arg), void *arg);

static inline struct str map_key_u64(const uint64_t *v)
{
    return str_of(v, sizeof *v);
}

#endif
