/* The control channels of the frontends, on which they open sessions. */
#ifndef THURN_BACKEND_FRONTEND_H
#define THURN_BACKEND_FRONTEND_H

#include "roles/backend/backend.h"
#include "roles/backend/sleep.h"

/* Takes over a frontend's channel; it replaces an older one of the same index. */
void frontend_add(struct backend *b, uint32_t index, uint64_t generation, int fd);
/* Lets go of all of them: no new sessions. */
void frontends_free(struct backend *b);
/* Calls it for the sleeping sessions of each. */
void frontends_each(struct backend *b, void (*each)(struct sleepers *s));
#ifdef THURN_PROBE
/* A frontend's channel, or NULL. */
struct chan *frontends_channel(const struct backend *b);
#endif

#endif
