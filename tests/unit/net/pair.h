/* A loop, and waiting on it for a condition with a deadline. */
#ifndef THURN_TEST_NET_PAIR_H
#define THURN_TEST_NET_PAIR_H

#include "net/net.h"
#include "rpc/rpc.h"

#include <setjmp.h>
#include <cmocka.h>

struct waiting {
    struct loop *loop;
    bool (*until)(void *arg);
    void *arg;
    struct timer *poll, *deadline;
    bool late;
};

static void waiting_look(void *arg)
{
    struct waiting *w = arg;
    if (w->until(w->arg))
        loop_stop(w->loop);
    else
        timer_set(w->poll, 1);
}

static void waiting_late(void *arg)
{
    struct waiting *w = arg;
    w->late = true;
    loop_stop(w->loop);
}

/* Runs the loop until the condition holds; fails after 20 seconds. */
static inline void run_until(struct loop *l, bool (*until)(void *arg), void *arg)
{
    struct waiting w = {.loop = l, .until = until, .arg = arg};
    w.poll = timer_new(l, waiting_look, &w);
    w.deadline = timer_new(l, waiting_late, &w);
    timer_set(w.poll, 1);
    timer_set(w.deadline, 20000);
    loop_run(l);
    timer_free(w.poll);
    timer_free(w.deadline);
    assert_false(w.late);
}

#endif
