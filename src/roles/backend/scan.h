/*
 * The pool of scanners: hands messages out to be parsed and takes the records back. A scanner
 * that breaks a rule, fails, or takes too long is reported to the supervisor, which ends and
 * replaces it; the message that it was working on gets a flat record, those behind it go to another
 * scanner. Accounts are treated fairly (fair.h): large messages, and those of accounts that have
 * much scanned, never have the last scanner, and none is sent behind them. Everything here belongs
 * to the loop's thread, except scan_result_free.
 */
#ifndef THURN_BACKEND_SCAN_H
#define THURN_BACKEND_SCAN_H

#include "roles/backend/sched.h"
#include "rpc/rpc.h"

struct scan_pool;

/* What came back. Slices are valid until scan_result_free. */
struct scan_result {
    bool refused; /* neither parsed nor flat: we are stopping, or out of descriptors */
    struct str record, text;
    struct frame *answer;
    struct str text_map;
    struct buf flat;
};
/* On any thread. */
void scan_result_free(struct scan_result *r);

/* Embedded in what is to be scanned. */
struct scan_job {
    struct list link;
    struct list age;    /* of all that wait, in the order in which they began to */
    account_id account; /* whose message it is; {0}: nobody's */
    uint64_t cause;     /* who pays for it too (fair.h); 0: nobody */
    bool heavy;
    uint64_t turn;      /* in whose turn it waits */
    struct str message; /* must stay until done */
    int fd;             /* the sealed memory that holds it, or -1; stays the caller's */
    uint64_t offset;    /* of it in that memory, */
    uint64_t total;     /* which holds so many bytes; 0: nothing else */
    struct str trace;   /* for the log */
    uint64_t since;     /* when it began to wait, or came to the head of its scanner's queue */
    void (*done)(struct scan_job *j);
    struct scan_result result;
    /* A large record is checked on a worker. */
    struct scan_pool *pool;
    struct job check;
    struct err checked;
    uint32_t scanner; /* that made it */
    uint64_t generation;
};

struct scan_pool_options {
    struct loop *loop;
    struct sched *sched;
    struct fair_budget *budget;
    uint32_t timeout_ms;
    /* Tells the supervisor to end a scanner. */
    void (*retire)(uint32_t index, uint64_t generation, struct str reason, void *arg);
    void *arg;
};
struct scan_pool *scan_pool_new(const struct scan_pool_options *o);
void scan_pool_free(struct scan_pool *p);
void scan_pool_set_timeout(struct scan_pool *p, uint32_t ms);
/* A scanner's channel. One of the same index is sent nothing more and is let go when it has
 * answered. */
void scan_pool_add(struct scan_pool *p, uint32_t index, uint64_t generation, int fd);
/* done(j) is called later, on the loop's thread (or at once, if we are stopping). */
void scan_submit(struct scan_pool *p, struct scan_job *j);
/* From now on no message gets a flat record because scanners are gone: its job is refused. */
void scan_pool_stop(struct scan_pool *p);
#ifdef THURN_PROBE
/* A scanner's channel, or NULL. */
struct chan *scan_pool_channel(const struct scan_pool *p);
#endif

#endif
