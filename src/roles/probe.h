/*
 * Proof of the sandbox: in builds with -Dprobe=true a role attempts, on the supervisor's command,
 * what it must not be able to do, and says what came of it. In other builds the command is
 * refused.
 */
#ifndef THURN_PROBE_H
#define THURN_PROBE_H

#include "roles/role.h"

/* Makes one attempt and answers RPC_PROBE_RESULT. */
void role_probe(struct role *r, const Thurn__Probe *p);

#endif
