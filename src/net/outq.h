/* The bytes that wait to be sent on a channel, with their descriptors in place. Not locked. */
#ifndef THURN_NET_OUTQ_H
#define THURN_NET_OUTQ_H

#include "net/net.h"

struct outq {
    struct list chunks;
    size_t n;     /* bytes waiting */
    bool blocked; /* the socket took no more when asked last */
};

void outq_init(struct outq *q);
/* Forgets everything, closes the descriptors. */
void outq_clear(struct outq *q);
/* Room for `n` bytes at the end, which the caller fills. `fd` (or -1) goes with the first of
 * them; the queue owns it. */
uint8_t *outq_add(struct outq *q, size_t n, int fd);
/* Sends the queue, then the front of `tail`, of which it takes what was sent. Blocks never.
 * OK: all is sent, or the socket is full (`blocked`). E_CLOSED: the other side is gone. */
MUST_CHECK struct err outq_send(struct outq *q, int socket, struct str *tail);

#endif
