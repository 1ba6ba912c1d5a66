#include "roles/backend/sleep.h"

#include "imap/imap_service.h"
#include "roles/backend/admin.h"
#include "roles/backend/frontend.h"

enum {
    POKES_AT_ONCE = 4096,      /* in one frame of at most 64 KB */
    LOOKS_AT_ONCE = 32,        /* of a frontend; while they go on it is not listened to */
    RECORD_BUDGET = 16 * 1024, /* of one record, unpacked */
};

struct sleepers {
    struct backend *b;
    uint32_t frontend;
    struct chan *chan; /* NULL: the frontend is gone */
    struct map by_session;
    unsigned looks; /* that are going on */
    uint64_t *poked;
    size_t n_poked;
};

struct sleeper {
    struct watch_entry watch;
    struct sleepers *of;
    uint64_t session;
    bool looking; /* a worker has it: it is freed when that has ended */
    bool over;    /* the frontend does not ask for it any more */
};

/* ----------------------------------------------------------------------------------- one of them
 */

static void sleeper_end(struct sleeper *s)
{
    (void)map_remove(&s->of->by_session, map_key_u64(&s->session));
    s->over = true;
    if (s->looking)
        return; /* the worker may be registering it: look_ended does the rest */
    watch_remove(s->of->b->watches, &s->watch);
    free(s);
}

static struct sleeper *sleeper_new(struct sleepers *of, uint64_t session)
{
    struct sleeper *before = map_get(&of->by_session, map_key_u64(&session));
    if (before)
        sleeper_end(before);
    struct sleeper *s = mem_alloc(sizeof *s);
    watch_init(&s->watch);
    s->of = of;
    s->session = session;
    s->looking = true;
    (void)map_set(&of->by_session, map_key_u64(&session), s);
    return s;
}

/* ------------------------------------------------------------------------------------ poking */

static void sleepers_flush(struct sleepers *s)
{
    Thurn__SessionPoke m = THURN__SESSION_POKE__INIT;
    m.sessions = s->poked;
    m.n_sessions = s->n_poked;
    s->n_poked = 0;
    if (!m.n_sessions || !s->chan)
        return;
    struct err e = chan_send(s->chan, RPC_SESSION_POKE, 0, &m.base, (struct str){NULL, 0}, -1);
    if (e.code != E_OK &&
        e.code != E_CLOSED) /* closed: the frontend has lost its watches with it */
        log_error("session.poke", LF_ERR(e));
}

static void sleeper_woken(struct watch_entry *e, void *arg)
{
    (void)arg;
    struct sleeper *s = container_of(e, struct sleeper, watch);
    struct sleepers *of = s->of;
    if (!s->over) {
        of->poked[of->n_poked++] = s->session;
        sleeper_end(s);
    }
    if (of->n_poked == POKES_AT_ONCE)
        sleepers_flush(of);
}

void sleepers_poke(struct backend *b)
{
    uint64_t now = clock_mono_us(), next = watches_pauses(b->watches, now);
    if (next)
        timer_set(b->pauses, 1 + (next - now) / 1000);
    watches_woken(b->watches, sleeper_woken, NULL);
    frontends_each(b, sleepers_flush);
}

/* ------------------------------------------------------------------------------- looking at
 * records
 */

/* The records of one frame, on a worker. */
struct look {
    struct job job;
    struct sleepers *of;
    struct frame *f;
    struct sleeper **sleepers; /* one for each of its items */
};

static struct err look_open(const struct look *l, const Thurn__SessionWatchItem *item,
                            struct arena *a, Thurn__ImapResume **out)
{
    const struct backend *b = l->of->b;
    Thurn__ImapResume *r;
    TRY(seal_open(&b->seal, pb_str(item->resume), a, &r));
    TRY(seal_check(r, (session_id){item->session}, l->of->frontend, clock_wall_s()));
    const struct principal who = {{r->account}, r->credential_generation};
    TRY(directory_may_go_on(b->directory, &who));
    *out = r;
    return OK;
}

/* Registers it, then looks whether something has happened before; one step, as far as changes are
 * concerned. */
static struct err look_register(const struct look *l, const Thurn__ImapResume *r, struct sleeper *s)
{
    struct watches *w = l->of->b->watches;
    account_id id = {r->account};
    struct account *a;
    TRY(account_open(l->of->b->store, id, &a));
    watch_add(w, id, &s->watch);
    if (r->mailbox && account_modseq(a).v > imap_resume_knows(r).v)
        watch_wake(w, id, &s->watch);
    account_close(a);
    /* Known already, unless it was with the backend before this one; its address is told when it
     * wakes. */
    const struct connection_id connection = {{s->session}, l->of->frontend};
    connections_add_always(logins_connections(l->of->b->logins), connection, id, (struct ip){0});
    return OK;
}

/* What cannot go on is woken, so that it finds out. */
static void look_at(const struct look *l, size_t i)
{
    const Thurn__SessionWatch *m = (const Thurn__SessionWatch *)l->f->message;
    struct sleeper *s = l->sleepers[i];
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    Thurn__ImapResume *r;
    struct err e = look_open(l, m->items[i], &a, &r);
    if (e.code == E_OK)
        e = look_register(l, r, s);
    if (e.code == E_OK)
        return;
    log_info("session.cannot-sleep", LF_U64("session", s->session), LF_ERR(e));
    watch_add(l->of->b->watches, ACCOUNT_SYSTEM, &s->watch);
    watch_wake(l->of->b->watches, ACCOUNT_SYSTEM, &s->watch);
}

static void sleepers_unref(struct sleepers *s)
{
    if (s->looks || s->chan)
        return;
    map_free(&s->by_session);
    free(s->poked);
    free(s);
}

static void look_ended(void *arg)
{
    struct look *l = arg;
    struct backend *b = l->of->b;
    const Thurn__SessionWatch *m = (const Thurn__SessionWatch *)l->f->message;
    for (size_t i = 0; i < m->n_items; i++) {
        struct sleeper *s = l->sleepers[i];
        s->looking = false;
        if (!s->over)
            continue;
        watch_remove(b->watches, &s->watch);
        free(s);
    }
    if (l->of->looks-- == LOOKS_AT_ONCE && l->of->chan)
        chan_hold(l->of->chan, false);
    b->looks--;
    sleepers_unref(l->of);
    frame_free(l->f);
    free(l->sleepers);
    free(l);
    admin_removals_check(b);
    backend_check_stopped(b);
}

static void look_run(struct job *j)
{
    struct look *l = container_of(j, struct look, job);
    const Thurn__SessionWatch *m = (const Thurn__SessionWatch *)l->f->message;
    for (size_t i = 0; i < m->n_items; i++)
        look_at(l, i);
    loop_post(l->of->b->loop, look_ended, l);
}

bool sleepers_watch(struct sleepers *s, struct frame *f)
{
    const Thurn__SessionWatch *m = (const Thurn__SessionWatch *)f->message;
    size_t max = (size_t)s->b->limits.sessions * MAX(s->b->n_frontends, (size_t)1);
    if (s->by_session.n + m->n_items > max) {
        frame_free(f);
        return false;
    }
    struct look *l = mem_alloc(sizeof *l);
    *l = (struct look){.job.run = look_run, .of = s, .f = f};
    l->sleepers = mem_alloc(m->n_items * sizeof(void *));
    for (size_t i = 0; i < m->n_items; i++)
        l->sleepers[i] = sleeper_new(s, m->items[i]->session);
    if (++s->looks == LOOKS_AT_ONCE)
        chan_hold(s->chan, true);
    s->b->looks++;
    sched_run(s->b->sched, &l->job);
    return true;
}

void sleepers_unwatch(struct sleepers *s, const Thurn__SessionUnwatch *m)
{
    for (size_t i = 0; i < m->n_sessions; i++) {
        struct sleeper *one = map_get(&s->by_session, map_key_u64(&m->sessions[i]));
        if (one)
            sleeper_end(one);
    }
}

/* -------------------------------------------------------------------------------- all of them */

struct sleepers *sleepers_new(struct backend *b, uint32_t frontend, struct chan *chan)
{
    struct sleepers *s = mem_alloc(sizeof *s);
    *s = (struct sleepers){.b = b, .frontend = frontend, .chan = chan};
    s->poked = mem_alloc(POKES_AT_ONCE * sizeof *s->poked);
    return s;
}

struct all {
    struct sleeper **list;
    size_t n;
};

static void all_add(struct str key, void *value, void *arg)
{
    (void)key;
    struct all *all = arg;
    all->list[all->n++] = value;
}

void sleepers_free(struct sleepers *s)
{
    struct all all = {.list = mem_alloc(s->by_session.n * sizeof(void *))};
    map_each(&s->by_session, all_add, &all);
    for (size_t i = 0; i < all.n; i++)
        sleeper_end(all.list[i]);
    free(all.list);
    s->chan = NULL;
    sleepers_unref(s);
}
