/*
 * The backend role: mailboxes, deliveries, accounts, password checks. It owns the data directory,
 * takes typed requests from frontends and the command line, and parses nothing of mail.
 *
 * Threads. The loop's thread has all channels: it reads frames, checks them against the tables,
 * and starts requests; everything that belongs to a channel's life happens there. Workers (sched.h)
 * run the requests and send the answers. The store's committer thread ends deliveries and wakes
 * sleeping sessions.
 */
#ifndef THURN_BACKEND_H
#define THURN_BACKEND_H

#include "directory/directory.h"
#include "roles/backend/history.h"
#include "roles/backend/login.h"
#include "roles/backend/scan.h"
#include "roles/backend/sched.h"
#include "roles/backend/seal.h"
#include "roles/backend/watch.h"
#include "roles/role.h"
#include "store/store.h"

/* What the parts need of the settings; the loop's thread only. */
struct backend_limits {
    uint64_t message_size;
    uint32_t recipients; /* of one LMTP transaction */
    uint32_t sessions;   /* of each frontend, on average */
};

struct backend {
    struct loop *loop;
    /* Asks the supervisor to end a scanner or a frontend; tells that everything is closed. */
    void (*retire)(struct backend *b, const Thurn__ScannerRetire *m);
    void (*stopped)(struct backend *b);
    /* Now and then while backend_open works; NULL: nobody wants to know. */
    void (*getting_on)(struct backend *b);
    uid_t supervisor_uid; /* may connect to the control socket, as may root and our own */

    struct store *store;
    struct directory *directory;
    struct fair_budget *budget;
    struct sched *sched;
    struct logins *logins;
    struct history *history;
    struct scan_pool *scan;
    struct watches *watches;
    struct timer *pauses; /* of the watches: the next one is over */
    struct seal_key seal;
    size_t looks; /* at records of sleeping sessions: they open accounts for a moment */
    struct backend_limits limits;
    char hostname[256];
    struct list frontends; /* control channels */
    struct list sessions;
    size_t n_frontends, n_sessions;
    uint64_t drops;       /* times that the sessions of some account were ended */
    struct list admins;   /* connections of the command line */
    struct list removals; /* accounts that wait to be erased */
    size_t listings;      /* lists of accounts that are being made: they open each for a moment */
    struct listener *admin_listener;
    bool stopping, closing;
};

/* A process serves one backend; its parts can be had without a role, for tests. `explain` as with
 * store_open. The caller has filled in the first members, down to supervisor_uid. */
MUST_CHECK struct err backend_open(struct backend *b, const Thurn__Settings *s,
                                   struct buf *explain);
/* Takes over the settings that may change while we run. */
void backend_settings(struct backend *b, const Thurn__Settings *s);
/* A neighbour's channel, which is taken over. */
void backend_peer(struct backend *b, Thurn__RoleKind kind, uint32_t index, uint64_t generation,
                  int fd);
/* Finishes what is in flight, closes the store, then calls b->stopped. */
void backend_stop(struct backend *b);

/* Called on the loop's thread whenever something has come to its end: while we are stopping, the
 * last one closes the store and ends the role. */
void backend_check_stopped(struct backend *b);

#endif
