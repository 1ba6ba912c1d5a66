/*
 * Sleeping sessions. A session that waits for news only is not here but with its frontend, which
 * keeps its record; what there is of it here is an entry of some hundred bytes that names it. When
 * its account changes the frontend is told so, once, and brings the session back.
 */
#ifndef THURN_BACKEND_SLEEP_H
#define THURN_BACKEND_SLEEP_H

#include "roles/backend/backend.h"

struct sleepers; /* of one frontend */

/* Pokes go out on `chan`. */
struct sleepers *sleepers_new(struct backend *b, uint32_t frontend, struct chan *chan);
/* Forgets all of them. Its memory stays until the looks that are going on have ended. */
void sleepers_free(struct sleepers *s);
/* SessionWatch, which is taken over; its records are looked at on a worker. False if it breaks the
 * rules: more sessions than the frontend may have. */
MUST_CHECK bool sleepers_watch(struct sleepers *s, struct frame *f);
void sleepers_unwatch(struct sleepers *s, const Thurn__SessionUnwatch *m);
/* Tells the frontends who has been woken. On the loop's thread. */
void sleepers_poke(struct backend *b);

#endif
