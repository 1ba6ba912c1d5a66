/*
 * The messages of an APPEND on their way to the store: taken from the request, given to the
 * scanners a few at a time, so that other mail has its turn, and kept until all are known.
 * Everything here belongs to the loop's thread, except append_free.
 */
#ifndef THURN_BACKEND_APPEND_H
#define THURN_BACKEND_APPEND_H

#include "imap/imap_service.h"
#include "roles/backend/message.h"
#include "roles/backend/scan.h"

struct append;
/* One message. */
struct append_item {
    struct append *append;
    struct scan_job scan;
};

/* The fields are private but for what follows `done`. */
struct append {
    struct scan_pool *pool;
    account_id account;
    struct message bytes;
    struct append_item *items;
    struct imap_scanned_message *scanned;
    size_t n, next, scanning; /* all, handed out, not yet back */
    uint64_t kept;            /* bytes of records and texts */
    bool handing_out;         /* jobs that come back at once are not to be answered yet */
    Thurn__Status status;     /* DONE, or why nothing can be added */
    /* Called when nothing is with the scanners any more. */
    void (*done)(struct append *a);
};

/* Takes the request's messages and begins; `done` is called later, or at once. E_INVALID or
 * E_DENIED for a request whose bytes are not what it says: it is not called. The frame must stay
 * until append_free. */
MUST_CHECK struct err append_start(struct append *a, struct scan_pool *pool, account_id account,
                                   const struct frame *f, uint64_t message_limit);
/* What the service gets; valid until append_free. */
struct imap_scanned append_result(const struct append *a);
/* Frees what it holds, as often as one likes. */
void append_free(struct append *a);

#endif
