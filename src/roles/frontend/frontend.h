/*
 * The frontend: holds the clients' connections, turns their bytes into typed requests to the
 * backend, and its typed answers into bytes. It has no file and opens no connection.
 *
 * frontend.c  the role: listeners, certificates, the backend's control channel, accepting, stopping
 * client.c    what every client has, whatever it speaks: connection, session channel, deadlines
 * sleep.c     clients that wait for the backend: for news, or for it to be there again
 * body.c      a message while it is received
 * smtp_*.c    SMTP, message submission and LMTP
 * imap_*.c    IMAP
 *
 * A client is a small state machine: `step` points to the function that takes the next piece of
 * input; client.c calls it as long as it gets on.
 */
#ifndef THURN_FRONTEND_H
#define THURN_FRONTEND_H

#include "roles/frontend/body.h"
#include "roles/role.h"

struct client;
struct client_ops;

/* ------------------------------------------------------------------------------------ frontend.c
 */

struct frontend {
    struct role *role;
    struct tls_server *tls;
    struct chan *backend;  /* control channel; NULL while there is no backend that serves */
    struct chan *starting; /* that of one which does not serve yet */
    uint64_t backends;     /* that have served */
    struct waiting *waiting;
    struct list entrances;
    struct list clients;
    size_t n_clients;
    struct ip_nets cleartext; /* from where passwords may come without TLS */
    struct buf out;           /* scratch for what is being printed */
    struct body_budget bodies;
    bool stopping;
    uint64_t stop_by; /* clock_mono_us: no client is waited for any longer */
    struct timer *stop_timer;
};

/* Whether a client may try passwords: under TLS, or from where the operator permits it. */
bool frontend_may_login(const struct frontend *fe, struct ip peer, bool tls);
/* Takes a connection over from a listener: says no if there are too many. */
void frontend_take(struct frontend *fe, Thurn__ListenerKind kind, int fd, struct ip peer);
/* A client is gone. */
void frontend_client_gone(struct frontend *fe);
static inline const Thurn__Settings *frontend_settings(const struct frontend *fe)
{
    return fe->role->settings;
}

/* --------------------------------------------------------------------------------------- sleep.c
 */

struct waiting *waiting_new(struct frontend *fe);
void waiting_free(struct waiting *w);
/* The backend is there (again): what has waited goes on, some at a time. */
void waiting_backend_up(struct frontend *fe);
/* A channel has closed under a request: unless it is still there after so long, it is dying, and
 * nobody is to be taken for the cause who would be asked now. */
void waiting_backend_dies(struct frontend *fe, uint64_t ms);
/* It is gone, and has forgotten who sleeps. */
void waiting_backend_down(struct frontend *fe);
/* SessionPoke: those clients' `woken` is called, some at a time. */
void waiting_poked(struct frontend *fe, const Thurn__SessionPoke *m);
/* From now on the client sleeps: its record is with the backend, and its `woken` is called when
 * there is something to be told. */
void client_sleep(struct client *c);
/* From now on its request is repeated when the next backend is there; `alone`: and no other client
 * that waits so is being tried. */
void client_wait_away(struct client *c, bool alone);
/* Whether the client may be tried now, alone among those that may not be asked together; it then
 * is, until waiting_tried. */
bool waiting_may_try(struct client *c);
/* If it is the one that is being tried: another may be. */
void waiting_tried(const struct client *c);
/* It waits for nothing (any more). */
void client_wait_no_more(struct client *c);
/* Tells the backend that the client has gone, and its session with it. */
void client_gone(const struct client *c);

/* -------------------------------------------------------------------------------------- client.c
 */

enum client_goodbye {
    GOODBYE_TIMEOUT,  /* the client was silent for too long */
    GOODBYE_SHUTDOWN, /* this frontend ends */
    GOODBYE_BAD,      /* too many bad commands */
    GOODBYE_LOST,     /* nobody can say where its next command begins */
    GOODBYE_BACKEND,  /* the session's state was in a backend that is gone */
    GOODBYE_CROWD,    /* too many connections */
    GOODBYES,
};

/* Looks at the input; true if it got on and may be called again, false if it waits. */
typedef bool client_step(struct client *c);

struct client_ops {
    const char *protocol; /* "lmtp", for the log */
    Thurn__SessionKind kind;
    const struct chan_rule *rules; /* what the backend may say, by enum client_asks */
    size_t n_rules;
    const struct str *goodbyes;   /* whole lines, one per enum client_goodbye */
    struct client *(*make)(void); /* zeroed, with what is the protocol's own initialized */
    void (*greet)(struct client *c);
    /* A frame that the rules allow. It stays the caller's. */
    void (*answer)(struct client *c, const struct frame *f);
    /* An answer did not come in time, or the session's channel broke and nobody can go on; it is
     * closed already. */
    void (*lost)(struct client *c);
    /* The backend died with the request, and there is another: asks it again, so that nothing is
     * done twice and no part of the answer is said twice. NULL: `lost` is called instead. */
    void (*repeat)(struct client *c);
    /* Too many backends have died with the request: the client is told that it failed for now, and
     * lives on if it can. What was to be changed may have been changed. With `repeat`. */
    void (*give_up)(struct client *c);
    /* The session's sealed record, with which it goes on at another channel or backend; empty if it
     * cannot. NULL: it never can. */
    struct str (*record)(const struct client *c);
    /* Of a client that sleeps: there may be something to be told. */
    void (*woken)(struct client *c);
    /* Until when the client's next input must have come, as by clock_mono_us; 0: any time. */
    uint64_t (*patience)(const struct client *c);
    /* Frees what `make` and the session have allocated, and the client itself. */
    void (*release)(struct client *c);
};
extern const struct client_ops lmtp_client_ops, smtp_client_ops, submission_client_ops,
    imap_client_ops;

/* What the session's channel is waiting for: the states of its rules. */
enum client_asks {
    ASKS_NOTHING = 1,
    ASKS_RECIPIENT = 2,
    ASKS_DELIVER = 4,
    ASKS_STATUS = 8,   /* IMAP: only ImapDone; SMTP: SmtpLoginAnswer */
    ASKS_UPDATES = 16, /* updates, then ImapDone */
    ASKS_LIST = 32,
    ASKS_SEARCH = 64,
    ASKS_FETCH = 128,
};

enum { CLIENT_TRACE = 16, CLIENT_TRICKLE = 64 };

/* What a client waits for, besides its own input and the answer to its request. */
enum client_waits {
    WAITS_NOT,
    WAITS_AWAY,    /* with a request for a backend */
    WAITS_ALONE,   /* the same, and is asked when no other such is */
    WAITS_WATCH,   /* asleep; the backend does not know yet */
    WAITS_POKE,    /* asleep */
    WAITS_TO_WAKE, /* poked */
    WAITS,
};

/* The first member of each protocol's own structure. */
struct client {
    struct list link;
    struct list waiting; /* in the list of those that wait for the same */
    enum client_waits waits;
    struct frontend *fe;
    const struct client_ops *ops;
    struct conn *conn;
    struct chan *chan; /* of the session; opened when first needed */
    struct timer *timer;
    client_step *step; /* NULL: the TLS handshake comes before the greeting */
    session_id session;
    struct ip peer;
    bool tls;
    uint64_t since;         /* clock_mono_us of the connection's begin */
    uint64_t patient_until; /* clock_mono_us, while its own deadline runs; 0: none */
    uint64_t away_until;    /* the same, while its request waits for a backend; 0: it does not */
    uint64_t asked_of;  /* which backend (frontend.backends) has, or had, the channel; 0: none */
    uint64_t died_with; /* the last one that died with a request of its */
    unsigned deaths;    /* of backends with the request in flight, since it last got on */
    uint32_t serial;    /* of the last request */
    const char *asks;   /* the last request, by name */
    struct str user;    /* who has tried to log in, in his words; malloc'd, for the log */
    unsigned bad_commands;
    size_t trickle;                  /* bytes of a message since the last progress */
    uint8_t trace[CLIENT_TRACE + 1]; /* of the transaction, printable; n_trace 0: none */
    size_t n_trace;
    bool asked;     /* a request is with the backend: its deadline runs, not the client's */
    bool held;      /* the channel is held until the client has taken more */
    bool progress;  /* the client's deadline begins anew */
    bool ending;    /* nothing more is read; what is written is still sent */
    bool finished;  /* the connection has been told so */
    bool announced; /* a backend knows of the session */
    bool giving_up; /* its request: what it is told waits for the timer */
    bool suspect;   /* a request has been given up: further ones are asked once only */
    bool woken;     /* it asks because it was poked, not because its client wants something */
};

/* Takes over the descriptor. */
MUST_CHECK struct err client_new(struct frontend *fe, const struct client_ops *ops, int fd,
                                 struct ip peer, bool tls_now);
/* The frontend is stopping: says goodbye now, or when the request in flight is answered. */
void client_stop(struct client *c);
/* Asks the backend; one answer is awaited, after frames that the state permits. Opens the session's
 * channel if there is none. Without a backend it is asked when there is one, by `repeat`; E_CLOSED
 * if the protocol has no such. */
MUST_CHECK struct err client_ask(struct client *c, enum client_asks asks, uint16_t type,
                                 const ProtobufCMessage *m, struct str raw, int fd);
/* A part of the answer has reached the client and will not be asked for again: the request gets on.
 */
void client_told(struct client *c);
/* The request has got its last answer. */
void client_answered(struct client *c);
/* The backend is there again: asks it. */
void client_repeat(struct client *c);
/* Calls `woken`. */
void client_wake(struct client *c);
/* Closes the session's channel; another is opened when it is needed. */
void client_drop_channel(struct client *c);
/* Says goodbye and ends, once what is written has been sent. */
void client_goodbye(struct client *c, enum client_goodbye why);
/* Ends without a further word. */
void client_end(struct client *c);
/* Somebody tries to log in. */
void client_keep_user(struct client *c, struct str user);
/* Counts a bad command; says goodbye if there are too many. */
void client_bad(struct client *c);
/* A deadline some milliseconds after a moment; 0, none, if they are 0. */
static inline uint64_t client_deadline(uint64_t since, uint64_t ms)
{
    return ms ? since + ms * 1000 : 0;
}

/* The client did something complete: its deadline is looked at anew. */
static inline void client_progress(struct client *c)
{
    c->progress = true;
    c->trickle = 0;
}
/* Bytes of a message have come. A single one is no progress: who sends a byte a minute would stay
 * for weeks. */
static inline void client_progress_bytes(struct client *c, size_t n)
{
    c->trickle += n;
    if (c->trickle >= CLIENT_TRICKLE)
        client_progress(c);
}
/* The step of a client that waits for the backend. */
bool client_step_wait(struct client *c);
/* Empty scratch to print into; client_flush sends what is in it. */
struct buf *client_out(struct client *c);
void client_flush(struct client *c);
/* A new trace id for what follows; client_trace_end takes it off the log's lines. */
void client_trace_begin(struct client *c);
void client_trace_end(struct client *c);
static inline struct str client_trace(const struct client *c)
{
    return str_of(c->trace, c->n_trace);
}
/* "192.0.2.1" into the buffer, which is cleared first. */
struct str client_peer(const struct client *c, struct buf *b);

#endif
