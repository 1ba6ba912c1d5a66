/* The header fields that a delivery puts in front of a message. Private to the service half. */
#ifndef THURN_LMTP_HEAD_H
#define THURN_LMTP_HEAD_H

#include "smtp/lmtp_service.h"

/* Return-Path, Delivered-To and Received (RFC 5321 section 4.4) for one recipient. Made from typed
 * fields: whatever they hold, the result is these three fields, in printable ASCII; with SMTPUTF8
 * local parts in UTF-8. */
void lmtp_head(const struct lmtp_message *m, const Thurn__Mailaddr *recipient, struct buf *out);

#endif
