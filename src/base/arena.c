#include "base/base.h"

enum {
    ARENA_BLOCK = 1024, /* the first one: what malloc has at hand without a search */
    ARENA_ALIGN = 16,
    ARENA_KEPT = 64 * 1024 /* larger blocks mostly come from the kernel, which has zeroed them */
};

struct arena_block {
    struct arena_block *older;
    size_t size, used;
    bool zeroed; /* what has not been handed out is zero already */
    _Alignas(ARENA_ALIGN) uint8_t bytes[];
};

void arena_init(struct arena *a, size_t budget)
{
    *a = (struct arena){.budget = budget};
}

static void arena_blocks_free(struct arena_block *b)
{
    for (struct arena_block *older; b; b = older) {
        older = b->older;
        free(b);
    }
}

void arena_free(struct arena *a)
{
    arena_blocks_free(a->blocks);
    a->blocks = NULL;
    a->used = 0;
}

void arena_clear(struct arena *a)
{
    struct arena_block *b = a->blocks;
#ifdef THURN_ARENA_MALLOC
    bool keep = false;
#else
    bool keep = b && b->size <= ARENA_KEPT; /* the newest, and mostly the largest */
#endif
    if (!keep) {
        arena_free(a);
        return;
    }
    arena_blocks_free(b->older);
    b->older = NULL;
    b->zeroed = false;
    b->used = a->used = 0;
}

static struct arena_block *arena_block_add(struct arena *a, size_t size)
{
    size_t all = sizeof(struct arena_block) + size;
    bool zeroed = all > ARENA_KEPT;
    struct arena_block *b = zeroed ? calloc(1, all) : malloc(all);
    if (!b)
        return NULL;
    *b = (struct arena_block){.older = a->blocks, .size = size, .zeroed = zeroed};
    a->blocks = b;
    return b;
}

/* Blocks grow with what has been used, so that a large arena is made of few of them. */
static size_t arena_block_size(const struct arena *a, size_t n)
{
#ifdef THURN_ARENA_MALLOC
    (void)a;
    return n;
#else
    size_t usual = MIN(MAX((size_t)ARENA_BLOCK, 2 * a->used), (size_t)1 << 20);
    return MAX(n, usual - sizeof(struct arena_block));
#endif
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t want = MAX(n, (size_t)1);
    if (want > a->budget - a->used) /* used <= budget always */
        return NULL;
#ifndef THURN_ARENA_MALLOC
    want = (want + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    want = MIN(want, a->budget - a->used) < want ? n : want;
#endif
    struct arena_block *b = a->blocks;
    size_t start = b ? (b->used + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1) : 0;
    if (!b || start > b->size || b->size - start < want) {
        b = arena_block_add(a, arena_block_size(a, want));
        if (!b)
            return NULL;
        start = 0;
    }
    b->used = start + want;
    a->used += want;
    return b->zeroed ? b->bytes + start : memset(b->bytes + start, 0, want);
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        return NULL;
    return arena_alloc(a, n);
}

void *mem_alloc(size_t n)
{
    void *p = calloc(1, MAX(n, (size_t)1));
    check(p != NULL);
    return p;
}
