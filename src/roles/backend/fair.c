#include "roles/backend/fair.h"

/* -- what was used -- */

enum { SETS = 1024, WAYS = 4 };

/* Paid off at `paid`; free if that has passed. */
struct debt {
    account_id account;
    uint64_t paid;
};

struct fair_budget {
    pthread_mutex_t lock;
    struct debt sets[SETS][WAYS];
};

struct fair_budget *fair_budget_new(void)
{
    struct fair_budget *b = mem_alloc(sizeof *b);
    (void)pthread_mutex_init(&b->lock, NULL);
    return b;
}

void fair_budget_free(struct fair_budget *b)
{
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}

/* The account's debt; without any, the place for it: that of the smallest. With the lock. */
static struct debt *debt_of(struct fair_budget *b, account_id account)
{
    struct debt *set = b->sets[account.v % SETS], *smallest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].account.v == account.v)
            return &set[i];
        if (set[i].paid < smallest->paid)
            smallest = &set[i];
    }
    return smallest;
}

void fair_charge(struct fair_budget *b, account_id account, uint64_t us, uint64_t now)
{
    if (!account.v || !us)
        return;
    (void)pthread_mutex_lock(&b->lock);
    struct debt *d = debt_of(b, account);
    uint64_t since = d->account.v == account.v ? MAX(d->paid, now) : now;
    *d = (struct debt){account,
                       MIN(since + us * FAIR_SHARE, now + (uint64_t)FAIR_DEBT_US * FAIR_SHARE)};
    (void)pthread_mutex_unlock(&b->lock);
}

bool fair_is_heavy(struct fair_budget *b, account_id account, uint64_t now)
{
    if (!account.v)
        return false;
    (void)pthread_mutex_lock(&b->lock);
    const struct debt *d = debt_of(b, account);
    bool heavy = d->account.v == account.v && d->paid > now + (uint64_t)FAIR_BURST_US * FAIR_SHARE;
    (void)pthread_mutex_unlock(&b->lock);
    return heavy;
}

/* -- what waits -- */

struct flow {
    struct list link;
    account_id account;
    struct list items;
};

void fair_queue_init(struct fair_queue *q)
{
    *q = (struct fair_queue){0};
    list_init(&q->light);
    list_init(&q->turns);
}

void fair_queue_free(struct fair_queue *q)
{
    check(!fair_queue_has_light(q) && !fair_queue_has_heavy(q));
    map_free(&q->waiting);
}

static void flow_end(struct fair_queue *q, struct flow *f)
{
    list_remove(&f->link);
    (void)map_remove(&q->waiting, map_key_u64(&f->account.v));
    free(f);
}

static struct flow *flow_of(struct fair_queue *q, account_id account)
{
    struct flow *f = map_get(&q->waiting, map_key_u64(&account.v));
    if (f)
        return f;
    f = mem_alloc(sizeof *f);
    f->account = account;
    list_init(&f->items);
    list_append(&q->turns, &f->link);
    (void)map_set(&q->waiting, map_key_u64(&account.v), f);
    return f;
}

void fair_queue_add(struct fair_queue *q, struct list *item, account_id account, bool heavy)
{
    list_append(heavy ? &flow_of(q, account)->items : &q->light, item);
}

void fair_queue_put_back(struct fair_queue *q, struct list *item, account_id account, bool heavy)
{
    list_prepend(heavy ? &flow_of(q, account)->items : &q->light, item);
}

struct list *fair_queue_light(struct fair_queue *q)
{
    return list_pop(&q->light);
}

struct list *fair_queue_heavy(struct fair_queue *q)
{
    if (list_empty(&q->turns))
        return NULL;
    struct flow *f = container_of(q->turns.next, struct flow, link);
    struct list *item = list_pop(&f->items);
    list_remove(&f->link);
    list_append(&q->turns, &f->link);
    if (list_empty(&f->items))
        flow_end(q, f);
    return item;
}

void fair_queue_remove(struct fair_queue *q, struct list *item, account_id account)
{
    list_remove(item);
    struct flow *f = map_get(&q->waiting, map_key_u64(&account.v));
    if (f && list_empty(&f->items))
        flow_end(q, f);
}

bool fair_queue_has_light(const struct fair_queue *q)
{
    return !list_empty(&q->light);
}

bool fair_queue_has_heavy(const struct fair_queue *q)
{
    return !list_empty(&q->turns);
}
