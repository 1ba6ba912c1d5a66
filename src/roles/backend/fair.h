/*
 * Fairness between accounts. What an account uses of the backend - processor time of workers, bytes
 * that scanners read - is added up and paid off with time. Who else has caused the work pays the
 * same: the address that mail comes from, or the user who sends it, so that many recipients are not
 * many budgets. Who is within the budget has work done in the order in which it comes, before all
 * other. What belongs to the others is heavy, as is work that is known to be long: of that, each
 * has one piece done in turn. So nobody waits behind somebody else's heap of work, and nothing is
 * ever refused.
 */
#ifndef THURN_BACKEND_FAIR_H
#define THURN_BACKEND_FAIR_H

#include "net/net.h"
#include "store/store.h"

enum {
    FAIR_SHARE = 8,        /* an eighth of a processor, without end, is within everybody's budget */
    FAIR_BURST_US = 25000, /* and so much at once */
    FAIR_DEBT_US = 250000, /* more is forgotten: after FAIR_SHARE times that, all is paid */
};

/* Who pays: account ids, and what fair_address gives. 0: nobody, which costs nothing. */
struct fair_payers {
    uint64_t account; /* for which the work is done */
    uint64_t cause;   /* who wanted it, if that is somebody else */
};
/* The name of an address as a payer, of no account; networks of IPv6 (/64) have one. */
uint64_t fair_address(struct ip ip);

/* What they have used lately. Of a fixed size: if thousands use much at a time, those with the
 * smallest debt are forgotten. Any thread. `now` in microseconds of clock_mono_us. */
struct fair_budget;
struct fair_budget *fair_budget_new(void);
void fair_budget_free(struct fair_budget *b);
/* Both pay all of it. */
void fair_charge(struct fair_budget *b, struct fair_payers who, uint64_t us, uint64_t now);
/* Which of them is over the budget, `cause` if both are; 0: none. */
uint64_t fair_over(struct fair_budget *b, struct fair_payers who, uint64_t now);

/* What waits. The caller has a lock, and the items: a list's link in each. `payer`: in whose turn.
 */
struct fair_queue {
    struct list light;
    struct list turns;  /* payers with heavy work, the next one first */
    struct map waiting; /* the same by id */
};
void fair_queue_init(struct fair_queue *q);
void fair_queue_free(struct fair_queue *q); /* an empty one */
void fair_queue_add(struct fair_queue *q, struct list *item, uint64_t payer, bool heavy);
/* In front of its kind; of heavy ones, in front of the payer's. */
void fair_queue_put_back(struct fair_queue *q, struct list *item, uint64_t payer, bool heavy);
/* The next of each kind, taken out; NULL: there is none. */
struct list *fair_queue_light(struct fair_queue *q);
struct list *fair_queue_heavy(struct fair_queue *q);
/* Takes out one that need not be the next. */
void fair_queue_remove(struct fair_queue *q, struct list *item, uint64_t payer);
bool fair_queue_has_light(const struct fair_queue *q);
bool fair_queue_has_heavy(const struct fair_queue *q);

#endif
