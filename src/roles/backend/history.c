#include "roles/backend/history.h"

enum {
    ACCOUNTS_AT_ONCE = 256,
    OFTEN_MS = 1000, /* while there is more */
    SELDOM_MS = 60000,
    PARTS = 60, /* a short history is looked at so often while it lasts */
};

struct history {
    struct job job;
    struct sched *sched;
    struct store *store;
    struct timer *timer;
    uint32_t interval_ms;
    atomic_bool running, more;
    struct history_due at; /* the job's */
};

/* Opens the account; then its queue sees that it wants maintenance. */
struct visit {
    struct writer writer;
    struct sched *sched;
    account_id account;
};

static void visit(struct writer *w, struct account *a, struct err opened)
{
    struct visit *v = container_of(w, struct visit, writer);
    (void)a;
    if (opened.code && opened.code != E_NOTFOUND)
        log_error("store.account-unreadable", LF_U64("account", v->account.v), LF_ERR(opened));
    sched_write_done(v->sched, w);
    free(v);
}

static void look(struct job *j)
{
    struct history *h = container_of(j, struct history, job);
    account_id due[ACCOUNTS_AT_ONCE];
    size_t n = 0;
    struct err e = store_history_due(h->store, &h->at, due, ARRAY_LEN(due), &n);
    if (e.code)
        log_error("store.history", LF_ERR(e));
    for (size_t i = 0; i < n; i++) {
        struct visit *v = mem_alloc(sizeof *v);
        *v = (struct visit){.writer.write = visit, .sched = h->sched, .account = due[i]};
        sched_write(h->sched, due[i], &v->writer);
    }
    atomic_store(&h->more, n == ARRAY_LEN(due));
    atomic_store(&h->running, false);
}

static void tick(void *arg)
{
    struct history *h = arg;
    if (!atomic_exchange(&h->running, true))
        sched_run(h->sched, &h->job);
    timer_set(h->timer, atomic_load(&h->more) ? OFTEN_MS : h->interval_ms);
}

void history_set(struct history *h, uint32_t seconds)
{
    store_set_history(h->store, seconds);
    uint64_t ms = (uint64_t)seconds * 1000 / PARTS;
    h->interval_ms = (uint32_t)MIN(MAX(ms, (uint64_t)OFTEN_MS), (uint64_t)SELDOM_MS);
    if (h->timer)
        timer_set(h->timer, h->interval_ms);
}

struct history *history_new(struct loop *loop, struct sched *s, struct store *store,
                            uint32_t seconds)
{
    struct history *h = mem_alloc(sizeof *h);
    h->job.run = look;
    h->sched = s;
    h->store = store;
    h->timer = timer_new(loop, tick, h);
    history_set(h, seconds);
    return h;
}

void history_stop(struct history *h)
{
    timer_free(h->timer);
    h->timer = NULL;
}

void history_free(struct history *h)
{
    free(h);
}
