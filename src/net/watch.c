#include "net/loop.h"

struct watch {
    ev_io ev;
    struct loop *loop;
    void (*fn)(int fd, void *arg);
    void *arg;
};

static void on_io(struct ev_loop *ev, ev_io *w, int events)
{
    struct watch *watch = w->data;
    watch->fn(w->fd, watch->arg);
}

struct watch *watch_new(struct loop *l, int fd, void (*fn)(int fd, void *arg), void *arg)
{
    struct watch *w = mem_alloc(sizeof *w);
    w->loop = l;
    w->fn = fn;
    w->arg = arg;
    ev_io_init(&w->ev, on_io, fd, EV_READ);
    w->ev.data = w;
    ev_io_start(l->ev, &w->ev);
    return w;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    ev_io_stop(w->loop->ev, &w->ev);
    free(w);
}
