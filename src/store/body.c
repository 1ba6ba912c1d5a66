#include "store/body.h"

struct body *body_new(struct str bytes)
{
    struct body *b = mem_alloc(sizeof *b);
    atomic_init(&b->refs, 1);
    b->bytes = bytes;
    sha256(bytes, b->hash);
    check(pthread_mutex_init(&b->lock, NULL) == 0);
    return b;
}

struct body *body_ref(struct body *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void body_unref(struct body *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

uint64_t body_short_hash(const uint8_t hash[SHA256_LEN])
{
    struct cur c = cur_of(str_of(hash, SHA256_LEN));
    return cur_u64le(&c);
}
