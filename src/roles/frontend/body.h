/* A message while it is received: small ones in memory, larger ones in sealed memory, so that each
 * can be handed to the backend without a further copy of ours. */
#ifndef THURN_FRONTEND_BODY_H
#define THURN_FRONTEND_BODY_H

#include "net/net.h"

enum { BODY_INLINE = 64 * 1024 }; /* what a frame takes */

/* What all messages that one process receives may hold together. */
struct body_budget {
    uint64_t held, most;
};

struct body {
    struct body_budget *budget; /* NULL for one that stays empty */
    struct buf small;
    struct sealed large; /* fd -1: not in use */
    uint64_t size, limit;
    uint64_t charged; /* to the budget */
    bool too_large;   /* beyond the limit: nothing is kept */
    bool finished;
    bool failed; /* no memory, or none left of the budget: nothing is kept */
};

/* An empty one, of at most `limit` bytes. The budget is charged until body_free. */
void body_init(struct body *b, uint64_t limit, struct body_budget *budget);
/* Adds bytes; what goes wrong is in too_large and failed. */
void body_put(struct body *b, struct str bytes);
/* Makes it ready to be handed over, again and again: bytes in `raw`, or a descriptor (else -1) that
 * stays the body's. Both are valid until body_free. */
MUST_CHECK struct err body_finish(struct body *b, struct str *raw, int *fd);
/* Frees the message; an empty one with the same limit is left. */
void body_free(struct body *b);

#endif
