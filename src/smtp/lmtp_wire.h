/*
 * LMTP (RFC 2033), the wire half: bytes to requests. Used by the frontend.
 *
 * All parsers here are pure: bytes in, a line, a command or a piece of message data out; no
 * session, no I/O. Any cut of the input gives the same result.
 */
#ifndef THURN_LMTP_WIRE_H
#define THURN_LMTP_WIRE_H

#include "base/base.h"
#include "rpc/rpc.h"

/* Longest command line with CR LF (RFC 5321 section 4.5.3.1.4, with room for parameters). */
enum { SMTP_LINE_MAX = 4096 };
/* Longest local part and domain that are taken. RFC 5321 section 4.5.3.1 promises 64 and 255; the
 * senders that mailing lists make up are longer than 64. */
enum { SMTP_LOCAL_MAX = 255, SMTP_DOMAIN_MAX = 255 };

enum lmtp_verb {
    LMTP_LHLO,
    LMTP_MAIL,
    LMTP_RCPT,
    LMTP_DATA,
    LMTP_RSET,
    LMTP_NOOP,
    LMTP_VRFY,
    LMTP_HELP,
    LMTP_QUIT,
    LMTP_VERBS,
};
struct lmtp_command {
    enum lmtp_verb verb;
    struct str domain;         /* LHLO: as given, printable ASCII */
    struct str local;          /* MAIL, RCPT: unquoted local part; of MAIL empty for <> */
    struct str address_domain; /* lower case; an address literal with its brackets; empty for MAIL
                                * FROM:<> and for RCPT TO:<Postmaster> (RFC 5321 section 4.1.1.3) */
    uint64_t size;             /* MAIL: SIZE= (RFC 1870), 0 if absent */
    bool body_8bit;            /* MAIL: BODY=8BITMIME (RFC 6152) */
};
/* What a line that is no good is answered with. */
struct smtp_reply {
    unsigned code;        /* 500, 501, 553, 555; 452 when the arena is used up */
    const char *enhanced; /* "5.5.4" (RFC 3463) */
    const char *text;
};
/* A whole line without its line end. The parts of addresses are in the arena, `domain` is in the
 * line. True: `out` is filled; false: `bad` is. Source routes are dropped (RFC 5321 section
 * 3.6.1); bytes above 127 are refused, as SMTPUTF8 is not offered. */
MUST_CHECK bool lmtp_parse(struct str line, struct arena *a, struct lmtp_command *out,
                           struct smtp_reply *bad);

/* Finds the next line in what was received: true and the line without its end, consumed (it stays
 * readable until more is added to `in`); false if there is none yet. Commands end with CR LF; a
 * bare LF is taken too, as clients by hand send it (not so in data). A line of more than
 * SMTP_LINE_MAX bytes is dropped; at its end the answer is true with `too_long` and an empty line,
 * so that it can be refused once. */
struct smtp_lines {
    bool dropping; /* begin with {0} */
};
MUST_CHECK bool smtp_line_next(struct smtp_lines *l, struct buf *in, struct str *out,
                               bool *too_long);

/* Message data: removes the dot that transparency added (RFC 5321 section 4.5.2) and finds the end,
 * which is CR LF . CR LF and nothing else; the first line may be the dot. Bare CR and bare LF
 * are bytes of the message like any other. */
struct smtp_data {
    uint8_t state; /* begin with {0} */
};
/* Looks at `in`, calls put for each run of message bytes in order. Returns how many bytes it has
 * used up: all, unless the end was among them, which sets `ended`. After that begin anew. */
MUST_CHECK size_t smtp_data_feed(struct smtp_data *d, struct str in,
                                 void (*put)(void *arg, struct str bytes), void *arg, bool *ended);

#endif
