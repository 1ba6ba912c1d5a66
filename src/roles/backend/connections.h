/*
 * How many are logged in: for each account, and from each address (IPv6: /64). Whoever sleeps
 * counts too. From any thread; the memory is that of those who are counted.
 */
#ifndef THURN_BACKEND_CONNECTIONS_H
#define THURN_BACKEND_CONNECTIONS_H

#include "net/net.h"

struct connections;
struct connections *connections_new(void);
void connections_free(struct connections *c);

/* 0: no limit. Connections from this machine itself have none by address: a webmail's, a proxy's.
 */
struct connection_limits {
    uint32_t account, address;
};
/* E_LIMIT, and not counted. */
MUST_CHECK struct err connections_add(struct connections *c, const struct connection_limits *limits,
                                      account_id account, struct ip peer);
/* The same without limits: of sessions that were there before, and sleep or go on. */
void connections_add_always(struct connections *c, account_id account, struct ip peer);
void connections_remove(struct connections *c, account_id account, struct ip peer);
uint32_t connections_of(struct connections *c, account_id account);

#endif
