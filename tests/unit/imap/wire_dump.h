/* Requests and parser results as text, so that tests can state what they expect in one line. */
#ifndef THURN_TESTS_UNIT_IMAP_WIRE_DUMP_H
#define THURN_TESTS_UNIT_IMAP_WIRE_DUMP_H

#include "imap/wire/wire.h"

/* "{mailbox=INBOX examine=1}": the fields that are set, sets as "2:4,7", UID sets as "uid 2:4". */
void dump_message(struct buf *out, const ProtobufCMessage *m);
/* What a client's bytes lead to, one result a line, fed in pieces of `piece` bytes. */
void dump_stream(struct buf *out, enum imap_state state, const struct imap_limits *limits,
                 struct str input, size_t piece);

#endif
