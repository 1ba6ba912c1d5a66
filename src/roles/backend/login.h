/*
 * Log-ins. A password is looked at by threads of their own, few enough for the memory that hashes
 * may use, and below the others in priority: a storm of log-ins does not stop the mail. Who may
 * try, and when, is decided before (login_limits.h). Whoever waits for a turn costs a timer,
 * whoever waits for a thread a place in the queue of its address; the threads take from the
 * addresses in turn, so that a storm from one does not keep another waiting.
 */
#ifndef THURN_BACKEND_LOGIN_H
#define THURN_BACKEND_LOGIN_H

#include "directory/directory.h"
#include "roles/backend/connections.h"
#include "roles/backend/login_limits.h"
#include "roles/backend/sched.h"

struct logins;

struct login_settings {
    struct login_policy policy;
    uint32_t cache_ms; /* 0: each password is looked at anew */
    struct connection_limits connections;
    struct ip_nets shared; /* from where many users come; this machine's own are so always */
};

/* `threads`: at least 1. The directory must outlive it. */
struct logins *logins_new(struct loop *loop, struct directory *d, unsigned threads);
/* Nobody may be waiting. */
void logins_free(struct logins *l);
/* Takes over the list of networks. */
void logins_set(struct logins *l, const struct login_settings *s);
/* From now on nobody waits for a turn: everything that is waiting is refused. Loop's thread. */
void logins_stop(struct logins *l);
struct connections *logins_connections(struct logins *l);
/* Whether many users come from this address, so that it is nobody's. */
bool logins_is_shared(struct logins *l, struct ip peer);

/* One attempt. The owner fills in the first members, and keeps it until `run` has been called and
 * has called login_check. */
struct login {
    struct ip peer;
    struct connection_id id;
    struct str user, password;
    const char *protocol; /* for the log */
    bool tls;
    void (*run)(struct login *login); /* once, on a thread that may compute a hash */

    struct job job;
    struct list link;
    struct logins *logins;
    struct login_keys keys;
    bool shared;         /* its address: limits are those of the account only */
    struct timer *timer; /* the loop's */
    uint64_t since;
    struct err verdict; /* it is refused without a look */
};
/* Loop's thread. */
void login_submit(struct logins *l, struct login *login);
/* In `run`: whether the password is right. OK: it is counted as a connection until
 * connections_remove. E_DENIED: wrong, unknown, locked, or refused for too many failures: the
 * client is not told which, the log is. E_LIMIT: too many connections or attempts at once; others:
 * it could not be found out. */
MUST_CHECK struct err login_check(struct login *login, struct principal *out);

/* Runs a job that computes a hash, for the command line, with a place in the queue like an address.
 */
void logins_run(struct logins *l, struct job *j);

#endif
