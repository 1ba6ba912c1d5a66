/* The message that comes with a request: raw bytes of its frame, or sealed memory. */
#ifndef THURN_BACKEND_MESSAGE_H
#define THURN_BACKEND_MESSAGE_H

#include "rpc/rpc.h"

struct message {
    struct str bytes;
    struct str map;
    bool too_large; /* above the limit: `bytes` is empty */
};

/* Takes the bytes that the frame brings, which must be exactly `size`; E_INVALID or E_DENIED if
 * they are not. They are valid until message_free, and not beyond the frame. */
MUST_CHECK struct err message_take(const struct frame *f, uint64_t size, uint64_t limit,
                                   struct message *out);
void message_free(struct message *m);

#endif
