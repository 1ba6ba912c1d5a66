/*
 * A disk below the engine that knows what has been synced. At a moment drawn beforehand the power
 * fails: of what was not synced any part may have reached the platter, in 512-byte sectors and in
 * any order; names that were not synced may be there or not. It also fails calls on its own.
 *
 * Everything is also done to the real files, so that the engine reads what it wrote; what survives
 * is kept in memory and written out by the cut.
 */
#ifndef THURN_TESTS_CUT_DISK_H
#define THURN_TESTS_CUT_DISK_H

#include "store/disk.h"

struct random {
    uint64_t state;
};
uint64_t random_next(struct random *r);
/* 0 <= result < n; 0 for n = 0. */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
    return n ? random_next(r) % n : 0;
}
static inline bool random_chance(struct random *r, unsigned percent)
{
    return random_below(r, 100) < percent;
}

struct cut_disk;
struct cut_options {
    const char *log_dir; /* its files are taken as durable */
    uint64_t seed;
    uint64_t calls;          /* changing calls until the power fails */
    unsigned fault_permille; /* changing calls that fail */
    bool break_down;         /* at the end everything fails for a while before the power goes */
};
struct cut_disk *cut_disk_new(const struct cut_options *o);
const struct store_disk *cut_disk_ops(struct cut_disk *d);
/* The power fails now: replaces the files of the log by what survived, and ends the process with
 * status 0. */
void cut_disk_cut(struct cut_disk *d) __attribute__((noreturn));

#endif
