/* The header fields that a delivery puts in front of a message. Private to the service half. */
#ifndef THURN_LMTP_HEAD_H
#define THURN_LMTP_HEAD_H

#include "smtp/lmtp_service.h"

/* Return-Path, Delivered-To (RFC 9228) and Received (RFC 5321 section 4.4) for one account. If the
 * recipient was another address than the account's - an alias, a sub-address - there are two
 * Delivered-To, the account's first, as if each step had put its own in front. Made from typed
 * fields: whatever they hold, the result is these fields, in printable ASCII; with SMTPUTF8 local
 * parts in UTF-8. */
void lmtp_head(const struct lmtp_message *m, const struct lmtp_target *to, struct buf *out);

#endif
