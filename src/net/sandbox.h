/* The two halves of the sandbox. */
#ifndef THURN_NET_SANDBOX_H
#define THURN_NET_SANDBOX_H

#include "net/net.h"

/* Landlock, for the calling thread and those it starts later. `out_abi` as in sandbox_enter. */
MUST_CHECK struct err landlock_enter(const struct sandbox *s, unsigned *out_abi);

/* Calls on paths and files, for who may open something; ended by -1. */
extern const int sandbox_syscalls_paths[];
/* What a sanitizer's run-time calls of its own accord; only -1 in other builds. */
extern const int sandbox_syscalls_sanitizer[];

#endif
