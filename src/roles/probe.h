/*
 * Proof of the sandbox: in builds with -Dprobe=true a role attempts, on the supervisor's command,
 * what it must not be able to do, and says what came of it. In other builds the command is
 * refused.
 */
#ifndef THURN_PROBE_H
#define THURN_PROBE_H

#include "roles/role.h"

#ifdef THURN_PROBE
/* Ends the process on the spot, if "die-at NAME" has been attempted: a test's kill -9 at exactly
 * this moment. Any thread. */
void probe_point(const char *name);
#else
static inline void probe_point(const char *name)
{
    (void)name;
}
#endif

/* Makes one attempt and answers RPC_PROBE_RESULT. */
void role_probe(struct role *r, const Thurn__Probe *p);

#ifdef THURN_PROBE
/* Answers the command with what came of it. */
void probe_tell(struct role *r, bool succeeded, struct str detail);
/* Sends an empty frame and answers "sent"; whether the owner takes it, is seen there. NULL: there
 * is no such channel. */
void probe_send_on(struct role *r, struct chan *c, uint16_t type);

/* probe_send of the roles. */
void frontend_probe_send(struct role *r, struct str channel, uint16_t type);
void backend_probe_send(struct role *r, struct str channel, uint16_t type);
void scanner_probe_send(struct role *r, struct str channel, uint16_t type);
#endif

#endif
