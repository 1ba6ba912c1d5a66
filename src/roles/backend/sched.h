/*
 * Who works when. A fixed set of worker threads takes jobs from a queue; half as many again do what
 * is heavy (fair.h), at a lower priority; password hashes have threads of their own (login.h). And
 * each account has a run queue of writers, of which one runs at a time and the others wait without
 * a thread. Accounts that were written lately stay open. Any thread may call everything here.
 */
#ifndef THURN_BACKEND_SCHED_H
#define THURN_BACKEND_SCHED_H

#include "roles/backend/fair.h"

struct sched;
struct account_queue;

/* Embedded in what is to be done; runs once per submission, on a worker. */
struct job {
    struct list link;
    void (*run)(struct job *j);
    account_id account; /* whose work it is, and who pays for it; {0}: nobody */
    uint64_t cause;     /* who pays too (fair.h); 0: nobody */
    bool heavy;         /* it is known to take long */
};

/* Something that changes an account, as its only writer from `write` until sched_write_done. */
struct writer {
    struct job job;
    struct account_queue *queue;
    /* On a worker. `opened` is E_NOTFOUND and the like, and `a` NULL, if the account could not be
     * opened; the handle is the queue's. */
    void (*write)(struct writer *w, struct account *a, struct err opened);
    bool no_handle; /* wants the queue to have the account closed: `a` is NULL */
};

struct sched *sched_new(unsigned workers, struct store *store, struct fair_budget *budget);
/* Waits until everything that was submitted is done, then ends the workers. */
void sched_free(struct sched *s);

void sched_run(struct sched *s, struct job *j);
/* Puts it at the end of the account's run queue. */
void sched_write(struct sched *s, account_id id, struct writer *w);
/* The same; if nobody else waits it runs here and now. For workers. */
void sched_write_here(struct sched *s, account_id id, struct writer *w);
/* The writer has ended, with its transaction; the memory may be gone when this returns. The next
 * one is started, or else maintenance if the account wants it. */
void sched_write_done(struct sched *s, struct writer *w);

/* Whether something light has been done for another account in the last moment, so that who has
 * much to say does well to say it in small pieces. */
bool sched_others_hurry(struct sched *s, account_id account);

#endif
