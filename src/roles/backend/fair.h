/*
 * Fairness between accounts. What an account uses of the backend - processor time of workers, bytes
 * that scanners read - is added up and paid off with time. An account within its budget has its
 * work done in the order in which it comes, before all other. What belongs to the others is heavy,
 * as is work that is known to be long: of that, the accounts have one piece done each in turn. So
 * nobody waits behind somebody else's heap of work, and nothing is ever refused.
 */
#ifndef THURN_BACKEND_FAIR_H
#define THURN_BACKEND_FAIR_H

#include "store/store.h"

enum {
    FAIR_SHARE = 8,        /* an eighth of a processor, without end, is within everybody's budget */
    FAIR_BURST_US = 25000, /* and so much at once */
    FAIR_DEBT_US = 250000, /* more is forgotten: after FAIR_SHARE times that, all is paid */
};

/* What accounts have used lately. Of a fixed size: if thousands use much at a time, those with the
 * smallest debt are forgotten. Any thread. `now` in microseconds of clock_mono_us. */
struct fair_budget;
struct fair_budget *fair_budget_new(void);
void fair_budget_free(struct fair_budget *b);
/* Nobody's work, account {0}, costs nothing. */
void fair_charge(struct fair_budget *b, account_id account, uint64_t us, uint64_t now);
bool fair_is_heavy(struct fair_budget *b, account_id account, uint64_t now);

/* What waits. The caller has a lock, and the items: a list's link in each. */
struct fair_queue {
    struct list light;
    struct list turns;  /* accounts with heavy work, the next one first */
    struct map waiting; /* the same by id */
};
void fair_queue_init(struct fair_queue *q);
void fair_queue_free(struct fair_queue *q); /* an empty one */
void fair_queue_add(struct fair_queue *q, struct list *item, account_id account, bool heavy);
/* In front of its kind; of heavy ones, in front of the account's. */
void fair_queue_put_back(struct fair_queue *q, struct list *item, account_id account, bool heavy);
/* The next of each kind, taken out; NULL: there is none. */
struct list *fair_queue_light(struct fair_queue *q);
struct list *fair_queue_heavy(struct fair_queue *q);
/* Takes out one that need not be the next. */
void fair_queue_remove(struct fair_queue *q, struct list *item, account_id account);
bool fair_queue_has_light(const struct fair_queue *q);
bool fair_queue_has_heavy(const struct fair_queue *q);

#endif
