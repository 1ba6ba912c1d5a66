#include "roles/backend/watch.h"

enum { SHARDS = 64 };

/* Who waits for one account. */
struct watched {
    struct list entries;
};

struct watch_shard {
    pthread_mutex_t lock;
    struct map accounts;
    struct list woken; /* registered still, until the loop's thread takes them */
};

struct watches {
    void (*wake)(void *arg);
    void *arg;
    atomic_size_t n;
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
        list_init(&w->shards[i].woken);
    }
    return w;
}

void watches_free(struct watches *w)
{
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
        list_init(&of->entries);
        (void)map_set(&s->accounts, map_key_u64(&account.v), of);
    }
    list_append(&of->entries, &e->link);
    e->account = account;
    (void)pthread_mutex_unlock(&s->lock);
}

/* With the shard's lock: nobody waits for the account any more. */
static void watched_end(struct watch_shard *s, account_id account, struct watched *of)
{
    check(list_empty(&of->entries));
    (void)map_remove(&s->accounts, map_key_u64(&account.v));
    free(of);
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
    if (e->account.v) { /* else the loop's thread has taken it meanwhile */
        list_remove(&e->link);
        list_append(&s->woken, &e->link);
        if (of && list_empty(&of->entries))
            watched_end(s, account, of);
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
        watched_end(s, account, of);
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
    if (of) {
        list_splice(&s->woken, &of->entries);
        watched_end(s, account, of);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (of)
        shard_is_awake(w, account);
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
