/*
 * Who the roles are: each has a user of its own. Where the system users do not exist, a number of
 * its own; without root everybody is the caller.
 */
#ifndef THURN_IDENTITY_H
#define THURN_IDENTITY_H

#include "rpc/rpc.h"

/* The user and group of a role: those of "thurn-frontend" and so on if that user exists, else
 * 64100 and up; the caller's without root. */
void identity_of(Thurn__RoleKind role, uid_t *uid, gid_t *gid);
/* Becomes it, for good, in a child; no supplementary groups. */
MUST_CHECK struct err identity_become(Thurn__RoleKind role);
/* Becomes nobody; without root only gives up what can be given up. */
MUST_CHECK struct err identity_drop_to_nobody(void);
/* Keeps of root's capabilities those to bind low ports, set ids and end children, for good. */
MUST_CHECK struct err identity_keep_few_capabilities(void);

#endif
