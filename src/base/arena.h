/*
 * Arenas: memory that is freed whole. Each has a budget, so that one client or message can use
 * up its own share only. Built with -Darena_malloc=true every allocation is a malloc of its
 * own, so that AddressSanitizer sees an overflow inside an arena.
 */
#ifndef THURN_BASE_ARENA_H
#define THURN_BASE_ARENA_H

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* bytes handed out */
    size_t budget;              /* the most that may be handed out */
};

/* Starts an empty arena; allocates nothing yet. `budget` in bytes. */
void arena_init(struct arena *a, size_t budget);
/* Frees everything; the arena is empty and usable again, with the same budget. */
void arena_free(struct arena *a);
/* Everything that was handed out is forgotten; memory is kept for the next time if it is little. */
void arena_clear(struct arena *a);
/* Bytes aligned for any type, zeroed; NULL if the budget or the memory is used up.
 * Valid until arena_free. */
MUST_CHECK void *arena_alloc(struct arena *a, size_t n);
/* The same for `count` elements; an overflowing product gives NULL. */
MUST_CHECK void *arena_calloc(struct arena *a, size_t count, size_t size);
#define arena_new(a, type)      ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_calloc((a), (n), sizeof(type)))

/* malloc and calloc for memory of our own making, whose size no client chooses: running out
 * of it aborts. */
void *mem_alloc(size_t n); /* zeroed; free with free() */

#endif
