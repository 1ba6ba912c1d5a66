/*
 * Sessions: what a client's connection is to the backend. Each has a channel of its own and runs
 * one request at a time; while it does, the channel keeps at most one further frame for it.
 *
 * A session lives as long as its channel or a request needs it. The request belongs to whoever runs
 * it - the loop's thread, then a worker, perhaps the committer - until session_end.
 */
#ifndef THURN_BACKEND_SESSION_H
#define THURN_BACKEND_SESSION_H

#include "roles/backend/backend.h"

struct session;

struct session_kind {
    const char *name;
    const struct chan_rule *rules;
    size_t n_rules;
    struct session *(*make)(void); /* zeroed memory with a struct session first */
    void (*begin)(struct session *s);
    /* It goes on from a sealed record; after `begin`. NULL: none ever does. */
    void (*wake)(struct session *s, struct str sealed);
    /* A request to be run; the frame is the callee's. On the loop's thread. Ended by
     * session_end. */
    void (*request)(struct session *s, struct frame *f);
    /* Tells the client that it has been logged out; the channel ends then. NULL: without a word. */
    void (*bye)(struct session *s);
    /* The channel has room again for a parked request. Loop's thread. NULL: none is ever parked. */
    void (*resume)(struct session *s);
    /* Nothing runs any more; the channel is there still. Loop's thread. */
    void (*end)(struct session *s);
};
extern const struct session_kind session_lmtp, session_smtp, session_submission, session_imap;

struct session {
    struct list link; /* of all sessions */
    struct backend *b;
    const struct session_kind *kind;
    session_id id;
    uint32_t frontend; /* index of the one that has it */
    struct ip peer;
    bool tls;
    bool may_authenticate;
    struct chan *chan;
    /* The account that the session has open, or {0}; whether it may get one. Loop's thread. */
    account_id account;
    atomic_bool logging_in;      /* a password is being looked at, and the account opened */
    struct session_login *login; /* the attempt that is under way; NULL: none */
    struct principal principal;  /* who has logged in: set by session_authenticate */
    atomic_uint refs;            /* the channel's, and one for what is going on */
    pthread_mutex_t lock;        /* of what follows */
    bool busy;                   /* a request is running */
    bool gone;                   /* the channel has ended: finish */
    bool parked;                 /* the running request waits for room in the channel */
    struct frame *next;          /* came while busy; the channel is held */
};

/* Opens the session that a frontend asks for; `fd` is taken over. */
void session_open(struct backend *b, uint32_t frontend, const Thurn__SessionOpen *m, int fd);
/* Ends it as if its channel had closed: for a broken rule, or because its account goes. Loop's
 * thread; a running request is still ended by session_end. */
void session_drop(struct session *s, const char *why);
/* Ends all sessions of the account: it was locked, logged out everywhere, or has a new password.
 * The change is durable already, so that a session that is being logged in at this moment is ended
 * as well, and none can begin or wake (directory_may_go_on) that was authenticated before. Loop's
 * thread. */
void session_drop_account(struct backend *b, account_id account, const char *why);

/* -- log-in -- */

/* Calls run(s) when the password may be looked at (login.h), on a thread that may compute a hash;
 * `run` calls session_authenticate and, on the loop's thread in the end, session_logged_in. Nothing
 * more is read until then. Name and password must stay until `run` is over. Loop's thread. */
void session_log_in(struct session *s, struct str user, struct str password,
                    void (*run)(struct session *s));
/* Who it is: see login_check. In `run`. */
MUST_CHECK struct err session_authenticate(struct session *s, struct principal *out);
/* It is over. `logged_in`: the session has the account of its principal open from now on, unless
 * that was taken back meanwhile; then it is dropped. Loop's thread. */
void session_logged_in(struct session *s, bool logged_in);

/* One that goes on counts as a connection, whatever the limits are. */
void session_count(struct session *s, account_id account);

/* Ends all that run nothing now, and each of the others when it has ended its request. */
void session_stop_all(struct backend *b);
/* The running request is over. Any thread; the session may be gone when this returns. */
void session_end(struct session *s);
/* Whether the channel has ended: the request need not go on. */
bool session_is_gone(struct session *s);
/* Leaves the request until the channel has drained, upon which `resume` is called; false if it
 * has already, or is gone. */
bool session_park(struct session *s);

#endif
