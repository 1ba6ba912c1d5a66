#include "roles/backend/watch.h"

enum { SHARDS = 64 };

/* The sessions of one account. */
struct watched {
    struct list sessions;
};

struct watch_shard {
    pthread_mutex_t lock;
    struct map accounts;
};

struct watches {
    atomic_size_t n;
    struct watch_shard shards[SHARDS];
};

static struct watch_shard *shard_of(struct watches *w, account_id id)
{
    return &w->shards[id.v % SHARDS];
}

struct watches *watches_new(void)
{
    struct watches *w = mem_alloc(sizeof *w);
    for (size_t i = 0; i < SHARDS; i++)
        (void)pthread_mutex_init(&w->shards[i].lock, NULL);
    return w;
}

void watches_free(struct watches *w)
{
    for (size_t i = 0; i < SHARDS; i++) {
        check(w->shards[i].accounts.n == 0);
        map_free(&w->shards[i].accounts);
        (void)pthread_mutex_destroy(&w->shards[i].lock);
    }
    free(w);
}

void watch_add(struct watches *w, account_id account, struct session_watch *sw)
{
    check(sw->account.v == 0 && account.v != 0);
    struct watch_shard *s = shard_of(w, account);
    (void)pthread_mutex_lock(&s->lock);
    struct watched *of = map_get(&s->accounts, map_key_u64(&account.v));
    if (!of) {
        of = mem_alloc(sizeof *of);
        list_init(&of->sessions);
        (void)map_set(&s->accounts, map_key_u64(&account.v), of);
    }
    list_append(&of->sessions, &sw->link);
    sw->account = account;
    (void)pthread_mutex_unlock(&s->lock);
    (void)atomic_fetch_add(&w->n, 1);
}

void watch_remove(struct watches *w, struct session_watch *sw)
{
    if (sw->account.v == 0)
        return;
    struct watch_shard *s = shard_of(w, sw->account);
    (void)pthread_mutex_lock(&s->lock);
    struct watched *of = map_get(&s->accounts, map_key_u64(&sw->account.v));
    check(of != NULL);
    list_remove(&sw->link);
    if (list_empty(&of->sessions)) {
        (void)map_remove(&s->accounts, map_key_u64(&sw->account.v));
        free(of);
    }
    sw->account.v = 0;
    (void)pthread_mutex_unlock(&s->lock);
    (void)atomic_fetch_sub(&w->n, 1);
}

void watches_changed(struct watches *w, account_id account)
{
    if (atomic_load(&w->n) == 0)
        return;
    struct watch_shard *s = shard_of(w, account);
    (void)pthread_mutex_lock(&s->lock);
    struct watched *of = map_get(&s->accounts, map_key_u64(&account.v));
    if (of)
        list_each (l, &of->sessions) {
            struct session_watch *sw = container_of(l, struct session_watch, link);
            sw->poke(sw);
        }
    (void)pthread_mutex_unlock(&s->lock);
}
