/*
 * Who is logged in: each session of a client, from its log-in until the frontend says that the
 * client has gone, whether it has a channel, sleeps or rests. Counted for each account and each
 * address (IPv6: /64). From any thread; the memory is that of those who are counted.
 */
#ifndef THURN_BACKEND_CONNECTIONS_H
#define THURN_BACKEND_CONNECTIONS_H

#include "net/net.h"

struct connections;
struct connections *connections_new(void);
void connections_free(struct connections *c);

/* A session, and the index of the frontend that has its client. */
struct connection_id {
    session_id session;
    uint32_t frontend;
};
/* 0: no limit. */
struct connection_limits {
    uint32_t account, address;
};
/* E_LIMIT, and not counted. One that is counted already stays so, for another account if it has
 * logged in again. */
MUST_CHECK struct err connections_add(struct connections *c, const struct connection_limits *limits,
                                      struct connection_id id, account_id account, struct ip peer);
/* The same without limits: of one that was there before this backend. */
void connections_add_always(struct connections *c, struct connection_id id, account_id account,
                            struct ip peer);
/* It is not logged in, but may be later. */
void connections_remove(struct connections *c, struct connection_id id);
/* Its client has left. That is remembered for a while, so that a log-in, or a look at what it sleeps
 * with, which was under way then does not count it once more. */
void connections_gone(struct connections *c, struct connection_id id);
/* All of a frontend. */
void connections_forget(struct connections *c, uint32_t frontend);
uint32_t connections_of(struct connections *c, account_id account);

#endif
