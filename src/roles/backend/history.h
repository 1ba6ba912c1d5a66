/*
 * Brings history to its end: from time to time asks the store which accounts have some that is
 * older than it is kept, and has them maintained, as writers in their run queues. Accounts that
 * nobody uses are found too, and those that have nothing due cost nothing.
 */
#ifndef THURN_BACKEND_HISTORY_H
#define THURN_BACKEND_HISTORY_H

#include "net/net.h"
#include "roles/backend/sched.h"

struct history;
/* On the loop's thread, as all of this. `seconds`: how long history is kept. */
struct history *history_new(struct loop *loop, struct sched *s, struct store *store,
                            uint32_t seconds);
void history_set(struct history *h, uint32_t seconds);
/* Begins nothing new. */
void history_stop(struct history *h);
/* After sched_free. */
void history_free(struct history *h);

#endif
