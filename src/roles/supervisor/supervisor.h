/*
 * The supervisor: binds ports, starts the roles, hands them their sockets, restarts what dies,
 * reloads. It reads no byte from the network; from the control socket it takes a few fixed
 * frames of whoever may speak for the operator.
 */
#ifndef THURN_SUPERVISOR_H
#define THURN_SUPERVISOR_H

#include "rpc/rpc.h"

/* `thurn run`: serves until SIGTERM or SIGINT; returns the exit status. With `note` a line is
 * printed when everything is ready. */
int supervisor_run(const char *config_path, bool note);

#endif
