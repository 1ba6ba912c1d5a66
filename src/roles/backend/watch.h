/*
 * Which idle sessions look at which account. A change of an account that nobody looks at costs a
 * look into a table, and nothing at all while nobody is idle.
 */
#ifndef THURN_BACKEND_WATCH_H
#define THURN_BACKEND_WATCH_H

#include "base/base.h"

struct watches;

/* Embedded in the session; zero and not registered at first. */
struct session_watch {
    struct list link;
    account_id account; /* 0: not registered */
    void (*poke)(struct session_watch *w);
};

struct watches *watches_new(void);
void watches_free(struct watches *w);
/* From now on poke is called for each change of the account, on the thread that calls
 * watches_changed, until watch_remove has returned. */
void watch_add(struct watches *w, account_id account, struct session_watch *sw);
/* Harmless if it is not registered. */
void watch_remove(struct watches *w, struct session_watch *sw);
void watches_changed(struct watches *w, account_id account);

#endif
