/*
 * The frontend: holds the clients' connections, turns their bytes into typed requests to the
 * backend, and its typed answers into bytes. It has no file and opens no connection.
 *
 * frontend.c  the role: listeners, certificates, the backend's control channel, accepting, stopping
 * client.c    what every client has, whatever it speaks: connection, session channel, deadlines
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
    struct chan *backend; /* control channel; NULL while there is no backend */
    struct list entrances;
    struct list clients;
    size_t n_clients;
    struct ip_net *cleartext; /* from where passwords may come without TLS */
    size_t n_cleartext;
    struct buf out; /* scratch for what is being printed */
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
    /* The session's channel broke, or an answer did not come in time; it is closed already. */
    void (*lost)(struct client *c);
    /* Milliseconds for the client's next input; 0: any time. */
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
    ASKS_IDLE = 256, /* updates without an end */
};

enum { CLIENT_TRACE = 16, CLIENT_TRICKLE = 64 };

/* The first member of each protocol's own structure. */
struct client {
    struct list link;
    struct frontend *fe;
    const struct client_ops *ops;
    struct conn *conn;
    struct chan *chan; /* of the session; opened when first needed */
    struct timer *timer;
    client_step *step; /* NULL: the TLS handshake comes before the greeting */
    session_id session;
    struct ip peer;
    bool tls;
    uint64_t since;  /* clock_mono_us of the connection's begin */
    uint32_t serial; /* of the last request */
    unsigned bad_commands;
    size_t trickle;                  /* bytes of a message since the last progress */
    uint8_t trace[CLIENT_TRACE + 1]; /* of the transaction, printable; n_trace 0: none */
    size_t n_trace;
    bool asked;    /* a request is with the backend: its deadline runs, not the client's */
    bool held;     /* the channel is held until the client has taken more */
    bool progress; /* the client's deadline begins anew */
    bool ending;   /* nothing more is read; what is written is still sent */
    bool finished; /* the connection has been told so */
};

/* Takes over the descriptor. */
MUST_CHECK struct err client_new(struct frontend *fe, const struct client_ops *ops, int fd,
                                 struct ip peer, bool tls_now);
/* The frontend is stopping: says goodbye now, or when the request in flight is answered. */
void client_stop(struct client *c);
/* Asks the backend; one answer is awaited, after frames that the state permits. Opens the session's
 * channel if there is none. E_CLOSED if there is no backend. */
MUST_CHECK struct err client_ask(struct client *c, enum client_asks asks, uint16_t type,
                                 const ProtobufCMessage *m, struct str raw, int fd);
/* The request has got its last answer. */
void client_answered(struct client *c);
/* Closes the session's channel; another is opened when it is needed. */
void client_drop_channel(struct client *c);
/* Says goodbye and ends, once what is written has been sent. */
void client_goodbye(struct client *c, enum client_goodbye why);
/* Ends without a further word. */
void client_end(struct client *c);
/* Counts a bad command; says goodbye if there are too many. */
void client_bad(struct client *c);
/* The client did something complete: its deadline begins anew. */
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
