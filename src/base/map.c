#include "base/base.h"

/* Open addressing with linear probing; a removal shifts the followers back. */
struct map_slot {
    uint8_t *key; /* malloc; NULL marks a free slot */
    size_t key_n;
    uint64_t hash;
    void *value;
};

static uint64_t map_seed[2];
static pthread_once_t map_seed_once = PTHREAD_ONCE_INIT;

static void map_seed_make(void)
{
    random_bytes(map_seed, sizeof map_seed);
}

static inline uint64_t rotl(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
    v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein 2012), the variant meant for hash tables. */
uint64_t map_hash(struct str key)
{
    (void)pthread_once(&map_seed_once, map_seed_make);
    uint64_t v[4] = {map_seed[0] ^ 0x736f6d6570736575, map_seed[1] ^ 0x646f72616e646f6d,
                     map_seed[0] ^ 0x6c7967656e657261, map_seed[1] ^ 0x7465646279746573};
    struct cur c = cur_of(key);
    uint64_t word;
    while (cur_left(&c) >= 8) {
        word = cur_u64le(&c);
        v[3] ^= word, sip_round(v), v[0] ^= word;
    }
    word = (uint64_t)key.n << 56;
    for (unsigned shift = 0; !cur_end(&c); shift += 8)
        word |= (uint64_t)cur_byte(&c) << shift;
    v[3] ^= word, sip_round(v), v[0] ^= word;
    v[2] ^= 0xff;
    sip_round(v), sip_round(v), sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The slot that holds the key, or the free one where it belongs. */
static struct map_slot *map_place(struct map_slot *slots, size_t cap, struct str key, uint64_t hash)
{
    for (size_t i = (size_t)hash & (cap - 1);; i = (i + 1) & (cap - 1)) {
        struct map_slot *s = &slots[i];
        if (!s->key || (s->hash == hash && str_eq(str_of(s->key, s->key_n), key)))
            return s;
    }
}

static void map_grow(struct map *m)
{
    size_t cap = m->cap ? m->cap * 2 : 16;
    struct map_slot *slots = mem_alloc(cap * sizeof *slots);
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key)
            *map_place(slots, cap, str_of(m->slots[i].key, m->slots[i].key_n), m->slots[i].hash) =
                m->slots[i];
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
}

void map_free(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    *m = (struct map){0};
}

void *map_set(struct map *m, struct str key, void *value)
{
    check(value != NULL);
    if (m->n * 4 >= m->cap * 3)
        map_grow(m);
    uint64_t hash = map_hash(key);
    struct map_slot *s = map_place(m->slots, m->cap, key, hash);
    void *before = s->key ? s->value : NULL;
    if (!s->key) {
        s->key = mem_alloc(key.n);
        if (key.n)
            memcpy(s->key, key.p, key.n);
        s->key_n = key.n;
        s->hash = hash;
        m->n++;
    }
    s->value = value;
    return before;
}

void *map_get(const struct map *m, struct str key)
{
    if (m->n == 0)
        return NULL;
    struct map_slot *s = map_place(m->slots, m->cap, key, map_hash(key));
    return s->key ? s->value : NULL;
}

void *map_remove(struct map *m, struct str key)
{
    if (m->n == 0)
        return NULL;
    struct map_slot *s = map_place(m->slots, m->cap, key, map_hash(key));
    if (!s->key)
        return NULL;
    void *value = s->value;
    free(s->key);
    size_t hole = (size_t)(s - m->slots);
    for (size_t i = (hole + 1) & (m->cap - 1); m->slots[i].key; i = (i + 1) & (m->cap - 1)) {
        size_t home = (size_t)m->slots[i].hash & (m->cap - 1);
        /* It may move into the hole unless its home lies between the two. */
        if (((i - home) & (m->cap - 1)) >= ((i - hole) & (m->cap - 1))) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){0};
    m->n--;
    return value;
}

void map_each(const struct map *m, void (*each)(struct str, void *, void *), void *arg)
{
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key)
            each(str_of(m->slots[i].key, m->slots[i].key_n), m->slots[i].value, arg);
}
