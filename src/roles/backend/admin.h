/* The command line's requests: domains, accounts, aliases, passwords, quotas. Everything on the loop's thread. */
#ifndef THURN_BACKEND_ADMIN_H
#define THURN_BACKEND_ADMIN_H

#include "roles/backend/session.h"

/* Serves connections of the command line on a listening socket, which it takes over. */
void admin_listen(struct backend *b, int fd);
/* Takes no more connections and ends those that wait for nothing. */
void admin_stop(struct backend *b);
/* Goes on with accounts that are to be erased once the last session on them has gone. */
void admin_removals_check(struct backend *b);

#endif
