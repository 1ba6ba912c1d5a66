/*
 * Which sleeping sessions wait for a change of which account. A change of an account that nobody
 * waits for costs a look into a table, and nothing at all while nobody sleeps; with watchers,
 * however many, it costs whoever commits a few instructions: they are woken later, on the loop's
 * thread.
 *
 * Each that is woken asks for what is new, so one change is as much work as there are sessions of
 * the account. If they are many, the next changes are told together, after a pause in which all
 * other accounts have most of a processor.
 */
#ifndef THURN_BACKEND_WATCH_H
#define THURN_BACKEND_WATCH_H

#include "base/base.h"

struct watches;

/* Embedded in what waits; begin with watch_init. */
struct watch_entry {
    struct list link;
    account_id account; /* 0: not registered */
};
static inline void watch_init(struct watch_entry *e)
{
    list_init(&e->link);
    e->account.v = 0;
}

enum {
    WATCH_MANY = 16,      /* from so many on that are woken at once there is a pause after it, */
    WATCH_PAUSE_US = 400, /* this long for each of them */
};

/* `wake(arg)` is called, from any thread, when watches_woken is due. */
struct watches *watches_new(void (*wake)(void *arg), void *arg);
/* Nobody may be registered. */
void watches_free(struct watches *w);
/* Registers; the first change from now on wakes it. Any thread. */
void watch_add(struct watches *w, account_id account, struct watch_entry *e);
/* Wakes it as a change would, if it is still registered for that account; in a pause, at its end.
 * Any thread. */
void watch_wake(struct watches *w, account_id account, struct watch_entry *e);
/* Harmless if it is not registered. On the loop's thread. */
void watch_remove(struct watches *w, struct watch_entry *e);
/* The account has changed. Any thread. */
void watches_changed(struct watches *w, account_id account);
/* Ends the pauses that are over by `now` (microseconds of clock_mono_us), and wakes whom the
 * changes in them concern; returns when the next one ends, 0: there is none. To be called before
 * watches_woken, and at that time. */
uint64_t watches_pauses(struct watches *w, uint64_t now);
/* How many are registered, or have been woken and not been told yet. */
size_t watches_count(const struct watches *w);
/* On the loop's thread: calls `woken` for each that has been woken, once, and not registered any
 * more. It may be freed there. */
void watches_woken(struct watches *w, void (*woken)(struct watch_entry *e, void *arg), void *arg);

#endif
