#include "roles/backend/fair.h"

/* -- what was used -- */

enum { SETS = 1024, WAYS = 4 };
#define IS_ADDRESS (UINT64_C(1) << 63) /* no account has such an id */

/* Paid off at `paid`; free if that has passed. */
struct debt {
    uint64_t payer, paid;
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

uint64_t fair_address(struct ip ip)
{
    struct str network = str_of(ip.b, MIN(ip.n, (uint8_t)8));
    return IS_ADDRESS | map_hash(network);
}

/* The payer's debt; without any, the place for it: that of the smallest. With the lock. */
static struct debt *debt_of(struct fair_budget *b, uint64_t payer)
{
    struct debt *set = b->sets[payer % SETS], *smallest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].payer == payer)
            return &set[i];
        if (set[i].paid < smallest->paid)
            smallest = &set[i];
    }
    return smallest;
}

/* With the lock. */
static void charge(struct fair_budget *b, uint64_t payer, uint64_t us, uint64_t now)
{
    if (!payer)
        return;
    struct debt *d = debt_of(b, payer);
    uint64_t since = d->payer == payer ? MAX(d->paid, now) : now;
    *d = (struct debt){payer,
                       MIN(since + us * FAIR_SHARE, now + (uint64_t)FAIR_DEBT_US * FAIR_SHARE)};
}

void fair_charge(struct fair_budget *b, struct fair_payers who, uint64_t us, uint64_t now)
{
    if (!us || (!who.account && !who.cause))
        return;
    (void)pthread_mutex_lock(&b->lock);
    charge(b, who.account, us, now);
    if (who.cause != who.account)
        charge(b, who.cause, us, now);
    (void)pthread_mutex_unlock(&b->lock);
}

/* With the lock. */
static bool is_over(struct fair_budget *b, uint64_t payer, uint64_t now)
{
    const struct debt *d = payer ? debt_of(b, payer) : NULL;
    return d && d->payer == payer && d->paid > now + (uint64_t)FAIR_BURST_US * FAIR_SHARE;
}

uint64_t fair_over(struct fair_budget *b, struct fair_payers who, uint64_t now)
{
    (void)pthread_mutex_lock(&b->lock);
    uint64_t over = is_over(b, who.cause, now)     ? who.cause
                    : is_over(b, who.account, now) ? who.account
                                                   : 0;
    (void)pthread_mutex_unlock(&b->lock);
    return over;
}

/* -- what waits -- */

struct flow {
    struct list link;
    uint64_t payer;
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
    (void)map_remove(&q->waiting, map_key_u64(&f->payer));
    free(f);
}

static struct flow *flow_of(struct fair_queue *q, uint64_t payer)
{
    struct flow *f = map_get(&q->waiting, map_key_u64(&payer));
    if (f)
        return f;
    f = mem_alloc(sizeof *f);
    f->payer = payer;
    list_init(&f->items);
    list_append(&q->turns, &f->link);
    (void)map_set(&q->waiting, map_key_u64(&payer), f);
    return f;
}

void fair_queue_add(struct fair_queue *q, struct list *item, uint64_t payer, bool heavy)
{
    list_append(heavy ? &flow_of(q, payer)->items : &q->light, item);
}

void fair_queue_put_back(struct fair_queue *q, struct list *item, uint64_t payer, bool heavy)
{
    list_prepend(heavy ? &flow_of(q, payer)->items : &q->light, item);
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

void fair_queue_remove(struct fair_queue *q, struct list *item, uint64_t payer)
{
    list_remove(item);
    struct flow *f = map_get(&q->waiting, map_key_u64(&payer));
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
