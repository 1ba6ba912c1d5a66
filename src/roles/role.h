/*
 * roles: the processes that Thurn is made of. This header is what they have in common: the life of
 * a role from its first frame to its last.
 *
 * The supervisor executes the binary anew for each role, with the role's user id already set, and
 * its end of the control channel as descriptor 3. Then, in this order: RoleStart; listeners,
 * certificates, peers; RoleGo, upon which the role enters its sandbox, begins to serve, and says
 * RoleReady. A peer that restarts is announced again at any time.
 */
#ifndef THURN_ROLE_H
#define THURN_ROLE_H

#include "net/net.h"
#include "rpc/rpc.h"

struct role;

/* What a role does at each step; everything but prepare and go may be NULL. Called on the
 * loop's thread. */
struct role_ops {
    const char *name; /* "frontend", for the log */
    Thurn__RoleKind kind;
    /* Before the sandbox: open files, load libraries, start no thread. Nothing untrusted is read
     * yet. On failure `explain` is what the operator is told. */
    struct err (*prepare)(struct role *r, struct buf *explain);
    /* The socket belongs to the role. */
    void (*listener)(struct role *r, const Thurn__Listener *l, int fd);
    void (*certificate)(struct role *r, const Thurn__Certificate *c);
    /* A channel's end; belongs to the role. */
    void (*peer)(struct role *r, const Thurn__Peer *p, int fd);
    /* In the sandbox now: begin to serve (threads may be started from here on). */
    struct err (*go)(struct role *r, struct buf *explain);
    /* r->settings are the new ones. */
    void (*reload)(struct role *r);
    /* Finish what is in flight, then call role_exit(r, 0); after a few seconds the supervisor
     * kills. */
    void (*stop)(struct role *r);
    /* System calls beyond sandbox_syscalls_common, ended by -1; NULL: none. */
    const int *syscalls;
    /* The directory that it may read and write: settings.data_dir, or none. */
    bool uses_data_dir;
    /* Builds with -Dprobe=true: sends an empty frame of any type on one of its channels, and sees
     * to it that probe_tell is called. */
    void (*probe_send)(struct role *r, struct str channel, uint16_t type);
};

struct role {
    const struct role_ops *ops;
    struct loop *loop;
    uint32_t index, count;     /* 0, 1, ... among so many roles of its kind */
    Thurn__Settings *settings; /* replaced by reload; look it up anew, keep no pointer into it */
    void *self;                /* the role's own state */
    struct chan *supervisor;
    struct arena settings_arena;
    uint64_t alive_us; /* when role_getting_on last said so */
    bool going;
    int exit_code;
};

/* Runs a role for its whole life; returns the exit status. */
int role_run(const struct role_ops *ops);
/* Says something to the supervisor. */
void role_tell(struct role *r, uint16_t type, const ProtobufCMessage *m);
/* To be called now and then by a step that takes long before the role is ready: without a sign of
 * life the supervisor takes it for one that hangs. On the loop's thread. */
void role_getting_on(struct role *r);
/* Ends the loop, and with it the process, with this status. */
void role_exit(struct role *r, int code);

/* The roles. */
extern const struct role_ops role_frontend, role_backend, role_scanner;

#endif
