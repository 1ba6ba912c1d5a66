#include "roles/backend/watch.h"

enum { SHARDS = 64 };

/* Who waits for one account. */
struct watched {
    account_id account;
    struct list entries;
    struct list pause; /* in the shard's list, with what follows */
    uint64_t until;    /* nobody is woken; 0: no pause */
    bool changed;      /* in the pause */
};

struct watch_shard {
    pthread_mutex_t lock;
    struct map accounts;
    struct list pauses;
    struct list woken; /* registered still, until the loop's thread takes them */
};

struct watches {
    void (*wake)(void *arg);
    void *arg;
    atomic_size_t n, n_pauses;
    _Atomic uint64_t awake; /* bits of the shards where somebody has been woken */
    struct watch_shard shards[SHARDS];
};

static struct watch_shard *shard_of(struct watches *w, account_id id)
{
    return &w->shards[id.v % SHARDS];
}

struct watches *watches_new(void (*wake)(void *arg), void *arg)
{
    struct watches *w = mem_alloc(sizeof *w);
    w->wake = wake;
    w->arg = arg;
    for (size_t i = 0; i < SHARDS; i++) {
        (void)pthread_mutex_init(&w->shards[i].lock, NULL);
        list_init(&w->shards[i].pauses);
        list_init(&w->shards[i].woken);
    }
    return w;
}

void watches_free(struct watches *w)
{
    (void)watches_pauses(w, UINT64_MAX);
    for (size_t i = 0; i < SHARDS; i++) {
        check(w->shards[i].accounts.n == 0 && list_empty(&w->shards[i].woken));
        map_free(&w->shards[i].accounts);
        (void)pthread_mutex_destroy(&w->shards[i].lock);
    }
    free(w);
}

void watch_add(struct watches *w, account_id account, struct watch_entry *e)
{
    check(e->account.v == 0 && account.v != 0);
    struct watch_shard *s = shard_of(w, account);
    (void)atomic_fetch_add(&w->n, 1);
    (void)pthread_mutex_lock(&s->lock);
    struct watched *of = map_get(&s->accounts, map_key_u64(&account.v));
    if (!of) {
        of = mem_alloc(sizeof *of);
        of->account = account;
        list_init(&of->entries);
        (void)map_set(&s->accounts, map_key_u64(&account.v), of);
    }
    list_append(&of->entries, &e->link);
    e->account = account;
    (void)pthread_mutex_unlock(&s->lock);
}

/* With the shard's lock: nobody waits for the account any more. What has a pause stays until that
 * is over. */
static void watched_end(struct watch_shard *s, struct watched *of)
{
    check(list_empty(&of->entries));
    if (of->until)
        return;
    (void)map_remove(&s->accounts, map_key_u64(&of->account.v));
    free(of);
}

/* With the shard's lock. */
static void watched_wake(struct watches *w, struct watch_shard *s, struct watched *of, uint64_t now)
{
    size_t n = 0;
    list_each (l, &of->entries)
        n++;
    list_splice(&s->woken, &of->entries);
    if (n >= WATCH_MANY) {
        of->until = now + n * WATCH_PAUSE_US;
        of->changed = false;
        list_append(&s->pauses, &of->pause);
        (void)atomic_fetch_add(&w->n_pauses, 1);
    }
    watched_end(s, of);
}

static struct watched *watched_of(struct watch_shard *s, account_id account)
{
    return map_get(&s->accounts, map_key_u64(&account.v));
}

static void shard_is_awake(struct watches *w, account_id account)
{
    uint64_t bit = UINT64_C(1) << (account.v % SHARDS);
    if (atomic_fetch_or(&w->awake, bit) == 0)
        w->wake(w->arg);
}

void watch_wake(struct watches *w, account_id account, struct watch_entry *e)
{
    struct watch_shard *s = shard_of(w, account);
    (void)pthread_mutex_lock(&s->lock);
    struct watched *of = watched_of(s, account);
    if (of && of->until) {
        of->changed = true;
    } else if (e->account.v) { /* else the loop's thread has taken it meanwhile */
        list_remove(&e->link);
        list_append(&s->woken, &e->link);
        if (of && list_empty(&of->entries))
            watched_end(s, of);
    }
    (void)pthread_mutex_unlock(&s->lock);
    shard_is_awake(w, account);
}

void watch_remove(struct watches *w, struct watch_entry *e)
{
    account_id account = e->account;
    if (account.v == 0) {
        list_remove(&e->link); /* woken, and not looked at yet */
        return;
    }
    struct watch_shard *s = shard_of(w, account);
    (void)pthread_mutex_lock(&s->lock);
    struct watched *of = watched_of(s, account);
    list_remove(&e->link);
    e->account.v = 0;
    if (of && list_empty(&of->entries))
        watched_end(s, of);
    (void)pthread_mutex_unlock(&s->lock);
    (void)atomic_fetch_sub(&w->n, 1);
}

void watches_changed(struct watches *w, account_id account)
{
    if (atomic_load(&w->n) == 0)
        return;
    struct watch_shard *s = shard_of(w, account);
    (void)pthread_mutex_lock(&s->lock);
    struct watched *of = watched_of(s, account);
    bool now = of && !of->until;
    if (now)
        watched_wake(w, s, of, clock_mono_us());
    else if (of)
        of->changed = true;
    (void)pthread_mutex_unlock(&s->lock);
    if (now)
        shard_is_awake(w, account);
}

/* With the shard's lock. */
static void pause_end(struct watches *w, struct watch_shard *s, struct watched *of, uint64_t now)
{
    list_remove(&of->pause);
    (void)atomic_fetch_sub(&w->n_pauses, 1);
    of->until = 0;
    if (list_empty(&of->entries)) {
        watched_end(s, of);
    } else if (of->changed) {
        (void)atomic_fetch_or(&w->awake, UINT64_C(1) << (of->account.v % SHARDS));
        watched_wake(w, s, of, now);
    }
}

static uint64_t shard_pauses(struct watches *w, struct watch_shard *s, uint64_t now)
{
    uint64_t next = 0;
    struct list all;
    list_init(&all);
    (void)pthread_mutex_lock(&s->lock);
    list_splice(&all, &s->pauses);
    for (struct list *l; (l = list_pop(&all));) {
        struct watched *of = container_of(l, struct watched, pause);
        list_append(&s->pauses, l);
        if (of->until <= now)
            pause_end(w, s, of, now);
    }
    list_each (l, &s->pauses) {
        uint64_t until = container_of(l, struct watched, pause)->until;
        next = next ? MIN(next, until) : until;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return next;
}

uint64_t watches_pauses(struct watches *w, uint64_t now)
{
    uint64_t next = 0;
    for (size_t i = 0; i < SHARDS && atomic_load(&w->n_pauses); i++) {
        uint64_t until = shard_pauses(w, &w->shards[i], now);
        next = !next || (until && until < next) ? until : next;
    }
    return next;
}

size_t watches_count(const struct watches *w)
{
    return atomic_load(&w->n);
}

static void shard_woken(struct watches *w, struct watch_shard *s,
                        void (*woken)(struct watch_entry *e, void *arg), void *arg)
{
    struct list all;
    list_init(&all);
    (void)pthread_mutex_lock(&s->lock);
    list_splice(&all, &s->woken);
    list_each (l, &all)
        container_of(l, struct watch_entry, link)->account.v = 0;
    (void)pthread_mutex_unlock(&s->lock);
    for (struct list *l; (l = list_pop(&all));) {
        (void)atomic_fetch_sub(&w->n, 1);
        woken(container_of(l, struct watch_entry, link), arg);
    }
}

void watches_woken(struct watches *w, void (*woken)(struct watch_entry *e, void *arg), void *arg)
{
    uint64_t awake = atomic_exchange(&w->awake, 0);
    for (size_t i = 0; i < SHARDS; i++)
        if (awake >> i & 1)
            shard_woken(w, &w->shards[i], woken, arg);
}
