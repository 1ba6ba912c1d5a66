/* The control channels of the frontends, on which they open sessions. */
#ifndef THURN_BACKEND_FRONTEND_H
#define THURN_BACKEND_FRONTEND_H

#include "roles/backend/backend.h"

/* Takes over a frontend's channel; it replaces an older one of the same index. */
void frontend_add(struct backend *b, uint32_t index, uint64_t generation, int fd);
/* Lets go of all of them: no new sessions. */
void frontends_free(struct backend *b);
#ifdef THURN_PROBE
/* A frontend's channel, or NULL. */
struct chan *frontends_channel(const struct backend *b);
#endif

#endif
