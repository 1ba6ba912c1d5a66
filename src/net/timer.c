#include "net/loop.h"

struct timer {
    ev_timer ev;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
};

static void on_timer(struct ev_loop *ev, ev_timer *w, int events)
{
    struct timer *t = w->data;
    t->fn(t->arg);
}

struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct timer *t = mem_alloc(sizeof *t);
    t->loop = l;
    t->fn = fn;
    t->arg = arg;
    ev_timer_init(&t->ev, on_timer, 0., 0.);
    t->ev.data = t;
    return t;
}

void timer_set(struct timer *t, uint64_t ms)
{
    ev_timer_stop(t->loop->ev, &t->ev);
    if (ms == 0)
        return;
    ev_now_update(t->loop->ev); /* the turn may have been long */
    ev_timer_set(&t->ev, (double)ms / 1e3, 0.);
    ev_timer_start(t->loop->ev, &t->ev);
}

void timer_free(struct timer *t)
{
    if (!t)
        return;
    ev_timer_stop(t->loop->ev, &t->ev);
    free(t);
}
