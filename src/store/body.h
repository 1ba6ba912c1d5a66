/* Bytes of a message on their way into the log. Private to the engine. */
#ifndef THURN_STORE_BODY_H
#define THURN_STORE_BODY_H

#include "store/engine.h"

/* Bodies above this size are written to a segment of their own before their commit joins a
 * group, so that small commits do not wait for them. */
enum { BODY_BIG = 1 << 20 };

struct body {
    atomic_uint refs;
    struct str bytes; /* the caller's */
    uint8_t hash[SHA256_LEN];
    /* Where it was written. A small body's place belongs to who is committing; a big one's is
     * set under the lock, before its commit enters the queue. segment 0: nowhere yet. */
    pthread_mutex_t lock;
    uint64_t engine_id; /* of the open engine that wrote it */
    uint64_t segment, offset;
};
struct body *body_ref(struct body *b);
static inline bool body_is_big(const struct body *b)
{
    return b->bytes.n > BODY_BIG;
}
/* The part of the hash that stands in a place. */
uint64_t body_short_hash(const uint8_t hash[SHA256_LEN]);

#endif
