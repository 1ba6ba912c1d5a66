/* One connection of the command line, and the two kinds of requests: changes and lists. */
#ifndef THURN_BACKEND_ADMIN_REQUEST_H
#define THURN_BACKEND_ADMIN_REQUEST_H

#include "roles/backend/admin.h"

struct admin {
    struct list link;
    struct backend *b;
    struct chan *chan;
    bool closed, parked; /* the loop's thread */
    struct frame *f;     /* the request that runs; NULL: none */
    struct job job;
    /* What the last slice left: the loop's thread reads it when the slice has ended. The answer is
     * still to come with the last two, when the account's mail is erased, or its sessions ended. */
    enum admin_next { ADMIN_DONE, ADMIN_MORE, ADMIN_ERASE, ADMIN_DROP } next;
    size_t listed;      /* domains */
    struct buf after;   /* the last address listed */
    account_id account; /* to be erased, or to be logged out */
    struct writer writer;
    struct list removal; /* among the accounts to be erased */
};

void admin_send(struct admin *a, const Thurn__AdminAnswer *m);
/* The last frame of an answer: rows, if any, and how it ended. */
void admin_finish(struct admin *a, struct err e, Thurn__AdminRow **rows, size_t n);

/* -- on a worker -- */

/* Whether the answer is rows. */
bool admin_is_list(const struct frame *f);
/* Sends one page, which may be the last frame of the answer. */
void admin_list(struct admin *a);
/* Makes a change; sets `next`. */
MUST_CHECK struct err admin_change(struct admin *a);

#endif
