/*
 * Clients that wait. One that sleeps has no channel: the backend has its record, and pokes when
 * there is news. One that is away has a request for a backend that is gone. When the next one comes
 * there may be thousands of both: each turn of the loop takes some. Of the requests with which two
 * backends have died one may be what they died of: they are tried one at a time, so that it
 * is found, and no other is taken for it.
 */
#include "base/base.h"

#include "roles/frontend/frontend.h"

enum {
    WATCHES_AT_ONCE = 128, /* in one frame of at most 256 KB */
    UNWATCHES_AT_ONCE = 2048,
    CLIENTS_AT_ONCE = 4, /* that go on in one turn: others are not to wait for them */
    TRIES_MS = 400,      /* for which one frontend has the backend for what is tried alone */
};

struct waiting {
    struct frontend *fe;
    struct list lists[WAITS];
    struct map asleep;          /* those that wait for a poke, by session */
    const struct client *tried; /* of WAITS_ALONE, the one that is being asked; or NULL */
    struct timer *tries;        /* until this frontend may try one */
    uint64_t dying_until;       /* clock_mono_us: none is tried, the backend seems to be dying */
    uint64_t *unwatch, *gone;
    size_t n_unwatch, n_gone;
    bool due; /* the next turn is under way */
};

static void waiting_turn(void *arg);

static void waiting_soon(struct waiting *w)
{
    if (!w->due)
        loop_post(w->fe->role->loop, waiting_turn, w);
    w->due = true;
}

static void on_tries(void *arg)
{
    waiting_soon(arg);
}

struct waiting *waiting_new(struct frontend *fe)
{
    struct waiting *w = mem_alloc(sizeof *w);
    w->fe = fe;
    w->tries = timer_new(fe->role->loop, on_tries, w);
    for (size_t i = 0; i < WAITS; i++)
        list_init(&w->lists[i]);
    w->unwatch = mem_alloc(UNWATCHES_AT_ONCE * sizeof *w->unwatch);
    w->gone = mem_alloc(UNWATCHES_AT_ONCE * sizeof *w->gone);
    return w;
}

void waiting_free(struct waiting *w)
{
    map_free(&w->asleep);
    timer_free(w->tries);
    free(w->unwatch);
    free(w->gone);
    free(w);
}

static struct client *waiting_first(const struct waiting *w, enum client_waits what)
{
    const struct list *l = &w->lists[what];
    return list_empty(l) ? NULL : container_of(l->next, struct client, waiting);
}

static void client_wait(struct client *c, enum client_waits what)
{
    list_remove(&c->waiting);
    list_append(&c->fe->waiting->lists[what], &c->waiting);
    c->waits = what;
}

/* -------------------------------------------------------------------------- talking to the backend
 */

static void waiting_tell(struct waiting *w, uint16_t type, const ProtobufCMessage *m)
{
    if (!w->fe->backend)
        return;
    struct err e = chan_send(w->fe->backend, type, 0, m, (struct str){0}, -1);
    if (e.code != E_OK && e.code != E_CLOSED) /* closed: the next one is told everything */
        log_error("frontend.cannot-watch", LF_ERR(e));
}

static void waiting_unwatch(struct waiting *w)
{
    Thurn__SessionUnwatch m = THURN__SESSION_UNWATCH__INIT;
    m.sessions = w->unwatch;
    m.n_sessions = w->n_unwatch;
    m.gone = w->gone;
    m.n_gone = w->n_gone;
    if (m.n_sessions || m.n_gone)
        waiting_tell(w, RPC_SESSION_UNWATCH, &m.base);
    w->n_unwatch = w->n_gone = 0;
}

static void waiting_watch(struct waiting *w)
{
    Thurn__SessionWatchItem items[WATCHES_AT_ONCE], *pointers[WATCHES_AT_ONCE];
    Thurn__SessionWatch m = THURN__SESSION_WATCH__INIT;
    m.items = pointers;
    struct client *c;
    while (m.n_items < WATCHES_AT_ONCE && (c = waiting_first(w, WAITS_WATCH))) {
        Thurn__SessionWatchItem *item = &items[m.n_items];
        thurn__session_watch_item__init(item);
        item->session = c->session.v;
        item->resume = pb_bytes(c->ops->record(c));
        pointers[m.n_items++] = item;
        (void)map_set(&w->asleep, map_key_u64(&c->session.v), c);
        client_wait(c, WAITS_POKE);
    }
    if (m.n_items)
        waiting_tell(w, RPC_SESSION_WATCH, &m.base);
}

/* ------------------------------------------------------------------------------------- each turn
 */

/* The first of those whose request was with another backend than this one. */
static struct client *waiting_away(const struct waiting *w, enum client_waits how)
{
    struct client *c = how == WAITS_ALONE && w->tried ? NULL : waiting_first(w, how);
    return c && c->asked_of != w->fe->backends ? c : NULL;
}

/* In how many milliseconds this frontend may try one alone; 0: now. Others have such too, of which
 * it does not know: each has its time by the clock, which is the machine's, and begins in the first
 * half of it, so that a backend that dies of it does so before the next one's time. */
static uint64_t waiting_may_try_in(const struct waiting *w)
{
    uint64_t n = MAX(w->fe->role->count, 1U), now = clock_mono_us() / 1000;
    if (w->dying_until / 1000 > now)
        return w->dying_until / 1000 - now;
    uint64_t since = (now + (n - w->fe->role->index % n) * TRIES_MS) % (n * TRIES_MS);
    return n == 1 || since < TRIES_MS / 2 ? 0 : n * TRIES_MS - since;
}

static void waiting_try(struct waiting *w)
{
    struct client *c = waiting_away(w, WAITS_ALONE);
    uint64_t left = c ? waiting_may_try_in(w) : 0;
    timer_set(w->tries, left);
    if (!c || left)
        return;
    client_wait_no_more(c);
    w->tried = c;
    client_repeat(c);
}

static void waiting_turn(void *arg)
{
    struct waiting *w = arg;
    struct client *c;
    w->due = false;
    if (!w->fe->backend)
        return;
    waiting_unwatch(w);
    for (size_t i = 0; i < CLIENTS_AT_ONCE && (c = waiting_first(w, WAITS_TO_WAKE)); i++) {
        client_wait_no_more(c);
        client_wake(c);
    }
    for (size_t i = 0; i < CLIENTS_AT_ONCE && (c = waiting_away(w, WAITS_AWAY)); i++) {
        client_wait_no_more(c);
        client_repeat(c);
    }
    waiting_try(w);
    if (w->fe->backend)
        waiting_watch(w);
    if (waiting_away(w, WAITS_AWAY) || !list_empty(&w->lists[WAITS_WATCH]) ||
        !list_empty(&w->lists[WAITS_TO_WAKE]))
        waiting_soon(w);
}

void waiting_backend_dies(struct frontend *fe, uint64_t ms)
{
    fe->waiting->dying_until = clock_mono_us() + ms * 1000;
}

void waiting_backend_up(struct frontend *fe)
{
    fe->waiting->dying_until = 0;
    waiting_soon(fe->waiting);
}

void waiting_backend_down(struct frontend *fe)
{
    struct waiting *w = fe->waiting;
    for (struct client *c; (c = waiting_first(w, WAITS_POKE));)
        client_wait(c, WAITS_WATCH);
    map_free(&w->asleep);
    w->n_unwatch = w->n_gone = 0;
}

void waiting_poked(struct frontend *fe, const Thurn__SessionPoke *m)
{
    struct waiting *w = fe->waiting;
    for (size_t i = 0; i < m->n_sessions; i++) {
        struct client *c = map_remove(&w->asleep, map_key_u64(&m->sessions[i]));
        if (c) /* else it has woken by itself meanwhile */
            client_wait(c, WAITS_TO_WAKE);
    }
    waiting_turn(w);
}

/* ------------------------------------------------------------------------------------- one client
 */

void client_sleep(struct client *c)
{
    client_wait(c, WAITS_WATCH);
    waiting_soon(c->fe->waiting);
}

void client_wait_away(struct client *c, bool alone)
{
    waiting_tried(c);
    client_wait(c, alone ? WAITS_ALONE : WAITS_AWAY);
    if (!c->fe->backend || c->asked_of == c->fe->backends)
        return;
    list_remove(&c->waiting); /* it does not wait behind those whom this backend has dropped */
    list_prepend(&c->fe->waiting->lists[c->waits], &c->waiting);
    waiting_soon(c->fe->waiting);
}

bool waiting_may_try(struct client *c)
{
    struct waiting *w = c->fe->waiting;
    if (!w->tried && !waiting_first(w, WAITS_ALONE) && !waiting_may_try_in(w))
        w->tried = c;
    return w->tried == c;
}

void waiting_tried(const struct client *c)
{
    struct waiting *w = c->fe->waiting;
    if (w->tried != c)
        return;
    w->tried = NULL;
    waiting_soon(w);
}

void client_wait_no_more(struct client *c)
{
    struct waiting *w = c->fe->waiting;
    waiting_tried(c);
    if (c->waits == WAITS_POKE) {
        (void)map_remove(&w->asleep, map_key_u64(&c->session.v));
        w->unwatch[w->n_unwatch++] = c->session.v;
        if (w->n_unwatch == UNWATCHES_AT_ONCE)
            waiting_unwatch(w);
        waiting_soon(w);
    }
    list_remove(&c->waiting);
    c->waits = WAITS_NOT;
}

void client_gone(const struct client *c)
{
    struct waiting *w = c->fe->waiting;
    w->gone[w->n_gone++] = c->session.v;
    if (w->n_gone == UNWATCHES_AT_ONCE)
        waiting_unwatch(w);
    waiting_soon(w);
}
