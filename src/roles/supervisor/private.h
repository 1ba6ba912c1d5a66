/* What the parts of the supervisor share. */
#ifndef THURN_SUPERVISOR_PRIVATE_H
#define THURN_SUPERVISOR_PRIVATE_H

#include "roles/role.h"
#include "roles/supervisor/config.h"

struct supervisor;

/* A running process of a role. */
struct process {
    struct slot *slot;
    struct list link; /* in supervisor.processes */
    pid_t pid;
    uint64_t generation;
    uint64_t ready_us; /* when it began to serve; 0: it has not */
    struct chan *chan; /* control channel; NULL once it is broken */
    bool ready;
    bool ending;            /* it was told to stop, or is being killed */
    bool asked;             /* for a sign of life, which has not come */
    uint64_t silent;        /* turns of liveness.c since then, or since it is starting */
    int peer_fd;            /* a scanner's channel end for the backend, until both are ready; -1 */
    struct timer *deadline; /* ends it the hard way */
};

/* A place that one process of a role fills at a time. */
struct slot {
    struct supervisor *sup;
    Thurn__RoleKind kind;
    uint32_t index;
    struct process *process; /* in charge; NULL: none. Replaced scanners live on beside it */
    Thurn__RoleState state;  /* for who asks */
    uint64_t since_us;       /* when that began */
    uint64_t generation;     /* of the last one started */
    uint32_t restarts;
    uint32_t failures;   /* deaths for which no time of life has made up */
    bool wanted_restart; /* asked for by the operator: no back-off */
    struct timer *timer; /* until the next start */
};

/* A listening socket, bound once; the frontend in charge gets a duplicate at each start. */
struct socket_bound {
    Thurn__ListenerKind kind;
    char address[96];
    int fd;
    uint32_t frontend; /* which one it is for */
};

struct supervisor {
    const char *config_path;
    struct loop *loop;
    struct arena arena; /* holds the configuration */
    Thurn__Configuration *config;
    struct slot *slots;
    size_t n_slots;
    struct list processes;
    struct socket_bound *sockets;
    size_t n_sockets;
    int admin_fd; /* the backend's control socket */
    struct listener *control;
    char control_path[112], admin_path[112];
    struct control_client *probe_asker; /* waits for a probe's result */
    pid_t probe_pid;                    /* of the process asked */
    struct timer *liveness;             /* until roles are asked for a sign of life again */
    int notify_fd;                      /* where the service manager listens; -1: nobody does */
    bool stopping, backend_stopping, note, announced;
    int exit_code;
};

/* -- notify.c: the service manager's start protocol, sd_notify(3) -- */

/* Finds it in the environment; without one nothing is ever sent. */
void notify_open(struct supervisor *s);
/* "READY=1", "RELOADING=1" or "STOPPING=1". */
void notify_state(const struct supervisor *s, struct str state);

/* -- supervisor.c -- */

/* Puts a new configuration in force, with the arena that holds it; returns what to tell the
 * operator: a literal. */
struct str supervisor_take_configuration(struct supervisor *s, struct arena *fresh,
                                         Thurn__Configuration *config);

/* -- process.c: one role's process -- */

/* Executes the binary anew as the role; its control channel's end in `out_fd`. */
MUST_CHECK struct err process_spawn(Thurn__RoleKind role, uint32_t index, pid_t *out_pid,
                                    int *out_fd);

/* -- sockets.c -- */

/* Binds all listening sockets of the configuration; `explain` says which failed and why. */
MUST_CHECK struct err sockets_bind(struct supervisor *s, struct buf *explain);
/* A Unix socket in run_dir that only root and the caller's own user can connect to. */
MUST_CHECK struct err sockets_control(const char *path, int *out_fd, struct buf *explain);
/* Makes data_dir (for the backend's user) and run_dir, or explains what is wrong with them. */
MUST_CHECK struct err sockets_directories(struct supervisor *s, struct buf *explain);

/* -- slot.c: the life of a role -- */

void slots_make(struct supervisor *s);
struct slot *slot_find(struct supervisor *s, Thurn__RoleKind kind, uint32_t index);
void slot_start(struct slot *slot);
/* "frontend" and so on, for the log. */
const char *slot_name(const struct slot *s);
/* Asks the process to finish; kills it when it takes longer than `ms`. */
void process_stop(struct process *p, uint32_t ms);
/* Ends it the hard way; it is replaced when its end is noticed. */
void process_kill(struct process *p);
/* Children have ended: gives up, or starts them anew. */
void slots_reap(struct supervisor *s);
/* Everything down, frontends first; the loop ends with the last process. */
void supervisor_stop(struct supervisor *s, int exit_code);

/* -- liveness.c: roles that hang -- */

/* Begins to look after the roles as the configuration in force wants it. */
void liveness_set(struct supervisor *s);
/* The process has given a sign of life. */
void liveness_heard(struct process *p);

/* -- handover.c: what a role is given at its start and on reload -- */

void handover_start(struct slot *slot);
void handover_reload(struct supervisor *s);
/* Connects two roles with a new channel and tells both. */
void handover_connect(struct slot *a, struct slot *b);
/* The backend learns of a scanner that is ready (if both are there). */
void handover_announce_scanner(struct slot *scanner);

/* -- control.c: the control socket -- */

void control_accept(int fd, struct ip peer, void *arg);
/* The result of a probe, or none because the role died. */
void control_probe_result(struct supervisor *s, const Thurn__ProbeResult *result);

#endif
