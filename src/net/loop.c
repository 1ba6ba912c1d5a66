#include "net/loop.h"

struct signal_watch {
    ev_signal ev;
    struct signal_watch *next;
    void (*fn)(int signo, void *arg);
    void *arg;
};

static _Thread_local const struct loop *loop_current;

bool loop_is_current(const struct loop *l)
{
    return loop_current == l;
}

void loop_at_turn_end(struct loop *l, struct chore *c)
{
    if (list_empty(&c->link))
        list_append(&l->chores, &c->link);
}

void loop_with_time(struct loop *l, struct chore *c)
{
    if (list_empty(&c->link))
        list_append(&l->slow, &c->link);
}

static void loop_do_slow(struct loop *l)
{
    struct list *link = list_pop(&l->slow);
    if (!link)
        return;
    struct chore *c = container_of(link, struct chore, link);
    c->fn(c);
}

/* Chores that come up meanwhile wait for the next turn, so that I/O is not starved. */
static void loop_do_chores(struct loop *l)
{
    while (!list_empty(&l->chores))
        list_append(&l->pass, list_pop(&l->chores));
    for (struct list *link; (link = list_pop(&l->pass));) {
        struct chore *c = container_of(link, struct chore, link);
        c->fn(c);
    }
}

static void on_turn_end(struct ev_loop *ev, ev_prepare *w, int events)
{
    struct loop *l = w->data;
    loop_do_slow(l);
    loop_do_chores(l);
    if (list_empty(&l->chores) && list_empty(&l->slow))
        ev_idle_stop(ev, &l->more);
    else
        ev_idle_start(ev, &l->more);
}

static void on_idle(struct ev_loop *ev, ev_idle *w, int events)
{
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&l->lock);
    if (l->n_posted == l->cap_posted) {
        l->cap_posted = MAX(l->cap_posted * 2, (size_t)16);
        l->posted = reallocarray(l->posted, l->cap_posted, sizeof *l->posted);
        check(l->posted != NULL);
    }
    l->posted[l->n_posted] = (struct posted){fn, arg};
    bool first = l->n_posted++ == 0;
    (void)pthread_mutex_unlock(&l->lock);
    if (first)
        ev_async_send(l->ev, &l->wake);
}

void loop_kick(struct loop *l, struct chore *c)
{
    (void)pthread_mutex_lock(&l->lock);
    if (list_empty(&c->link))
        list_append(&l->kicked, &c->link);
    (void)pthread_mutex_unlock(&l->lock);
    ev_async_send(l->ev, &l->wake);
}

void loop_unkick(struct loop *l, struct chore *c)
{
    (void)pthread_mutex_lock(&l->lock);
    list_remove(&c->link);
    (void)pthread_mutex_unlock(&l->lock);
}

static struct chore *loop_next_kicked(struct loop *l)
{
    (void)pthread_mutex_lock(&l->lock);
    struct list *link = list_pop(&l->kicked);
    (void)pthread_mutex_unlock(&l->lock);
    return link ? container_of(link, struct chore, link) : NULL;
}

static void on_wake(struct ev_loop *ev, ev_async *w, int events)
{
    struct loop *l = w->data;
    for (struct chore *c; (c = loop_next_kicked(l));)
        c->fn(c);
    (void)pthread_mutex_lock(&l->lock);
    struct posted *posted = l->posted;
    size_t n = l->n_posted;
    l->posted = NULL;
    l->n_posted = l->cap_posted = 0;
    (void)pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < n; i++)
        posted[i].fn(posted[i].arg);
    free(posted);
}

struct err loop_new(struct loop **out)
{
    /* A peer that has gone is an error of the write, not a reason to die. */
    (void)signal(SIGPIPE, SIG_IGN);
    struct ev_loop *ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!ev)
        return err_make(E_IO, "no event loop");
    struct loop *l = mem_alloc(sizeof *l);
    l->ev = ev;
    l->scratch = mem_alloc(LOOP_SCRATCH);
    list_init(&l->chores);
    list_init(&l->pass);
    list_init(&l->slow);
    list_init(&l->kicked);
    check(pthread_mutex_init(&l->lock, NULL) == 0);
    ev_async_init(&l->wake, on_wake);
    l->wake.data = l;
    ev_async_start(ev, &l->wake);
    ev_prepare_init(&l->turn, on_turn_end);
    l->turn.data = l;
    ev_prepare_start(ev, &l->turn);
    ev_idle_init(&l->more, on_idle);
    *out = l;
    return OK;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    for (struct signal_watch *s = l->signals, *next; s; s = next) {
        next = s->next;
        ev_signal_stop(l->ev, &s->ev);
        free(s);
    }
    ev_idle_stop(l->ev, &l->more);
    ev_prepare_stop(l->ev, &l->turn);
    ev_async_stop(l->ev, &l->wake);
    ev_loop_destroy(l->ev);
    (void)pthread_mutex_destroy(&l->lock);
    free(l->posted);
    free(l->scratch);
    zip_free(l->zip);
    free(l);
}

void loop_run(struct loop *l)
{
    const struct loop *outer = loop_current;
    loop_current = l;
    if (!l->stop)
        ev_run(l->ev, 0);
    l->stop = false;
    loop_do_chores(l); /* what was said last still goes out */
    loop_current = outer;
}

void loop_stop(struct loop *l)
{
    l->stop = true;
    ev_break(l->ev, EVBREAK_ALL);
}

static void on_signal(struct ev_loop *ev, ev_signal *w, int events)
{
    struct signal_watch *s = w->data;
    s->fn(w->signum, s->arg);
}

void loop_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg)
{
    struct signal_watch *s = mem_alloc(sizeof *s);
    s->fn = fn;
    s->arg = arg;
    s->next = l->signals;
    l->signals = s;
    ev_signal_init(&s->ev, on_signal, signo);
    s->ev.data = s;
    ev_signal_start(l->ev, &s->ev);
}

ev_tstamp loop_now(struct loop *l)
{
    ev_now_update(l->ev);
    return ev_now(l->ev);
}
