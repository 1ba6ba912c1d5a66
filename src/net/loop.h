/* The inside of a loop, for the things that live on it. */
#ifndef THURN_NET_LOOP_H
#define THURN_NET_LOOP_H

#include "net/net.h"
#include "net/ev_wrap.h"
#include "net/zip.h"

/* Something to be done once: part of the thing that it is done for. */
struct chore {
    struct list link;
    void (*fn)(struct chore *c);
};
static inline void chore_init(struct chore *c, void (*fn)(struct chore *c))
{
    list_init(&c->link);
    c->fn = fn;
}

struct posted {
    void (*fn)(void *arg);
    void *arg;
};

enum { LOOP_SCRATCH = 64 * 1024 };

struct loop {
    struct ev_loop *ev;
    ev_async wake;
    ev_prepare turn;
    ev_idle more;       /* active: the next turn has something to do, whatever comes */
    struct list chores; /* to be done when the turn ends */
    struct list pass;   /* of those, the ones being done now */
    struct list slow;   /* of these one is done in each turn */
    bool stop;
    uint8_t *scratch; /* LOOP_SCRATCH bytes into which everybody reads, never across callbacks */
    struct signal_watch *signals;
    struct zip *zip; /* for connections that are compressed; NULL: there was none yet */

    pthread_mutex_t lock; /* of all below */
    struct posted *posted;
    size_t n_posted, cap_posted;
    struct list kicked;
};

/* Whether the caller runs inside loop_run of this loop. */
bool loop_is_current(const struct loop *l);
/* Does it when the loop's turn ends; on the loop's thread. A chore waits at most once. */
void loop_at_turn_end(struct loop *l, struct chore *c);
/* Does it at the end of this turn or of one to come: for what takes long. What waits so is done in
 * order, one in each turn: what comes in meanwhile has to wait for no more than that. */
void loop_with_time(struct loop *l, struct chore *c);
static inline void loop_forget(struct chore *c)
{
    list_remove(&c->link);
}
/* Does it on the loop's thread, soon; from any thread. Needs no memory, and can be forgotten. */
void loop_kick(struct loop *l, struct chore *c);
void loop_unkick(struct loop *l, struct chore *c);
/* The loop's idea of now, seconds of the monotonic clock, brought up to date. */
ev_tstamp loop_now(struct loop *l);

#endif
