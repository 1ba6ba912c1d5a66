/*
 * LMTP (RFC 2033), the wire half: bytes to requests. Used by the frontend.
 *
 * Both parsers are pure: bytes in, a command or a piece of message data out; no session, no I/O.
 */
#ifndef THURN_LMTP_WIRE_H
#define THURN_LMTP_WIRE_H

#include "base/base.h"
#include "rpc/rpc.h"

/* Longest command line with CR LF (RFC 5321 section 4.5.3.1.4, with room for parameters). */
enum { SMTP_LINE_MAX = 4096 };

enum lmtp_verb {
    LMTP_LHLO, LMTP_MAIL, LMTP_RCPT, LMTP_DATA, LMTP_RSET, LMTP_NOOP, LMTP_VRFY, LMTP_HELP,
    LMTP_QUIT, LMTP_HELO_NOT_HERE, /* HELO and EHLO: RFC 2033 section 4.1 */
    LMTP_UNKNOWN,
};
struct lmtp_command {
    enum lmtp_verb verb;
    struct str domain;     /* LHLO: as given */
    struct str local;      /* MAIL, RCPT: unquoted local part; of MAIL empty for <> */
    struct str address_domain; /* lower case; an address literal with its brackets */
    uint64_t size;         /* MAIL: SIZE=, 0 if absent */
    bool body_8bit;        /* MAIL: BODY=8BITMIME */
};
/* What a line that is no good is answered with. */
struct smtp_reply {
    unsigned code;        /* 500, 501, 503, 504, 555 */
    const char *enhanced; /* "5.5.4" (RFC 3463) */
    const char *text;
};
/* A whole line without its line end. Slices are in the arena or in the line. True: `out` is
 * filled; false: `bad` is. */
MUST_CHECK bool lmtp_parse(struct str line, struct arena *a, struct lmtp_command *out,
                           struct smtp_reply *bad);

/* Finds the next line in what was received: true and the line without its end, consumed; false
 * if there is none yet. Commands end with CR LF; a bare LF is taken too, as clients by hand send
 * it (not so in data). `too_long` is set, and the line dropped up to its end, when it has more
 * than SMTP_LINE_MAX bytes. */
struct smtp_lines {
    bool dropping;
};
MUST_CHECK bool smtp_line_next(struct smtp_lines *l, struct buf *in, struct str *out,
                               bool *too_long);

/* Message data: removes the dot that transparency added (RFC 5321 section 4.5.2) and finds the end,
 * which is CR LF . CR LF and nothing else; the first line may be the dot. */
struct smtp_data {
    uint8_t state; /* begin with {0} */
};
/* Looks at `in`, calls put for each run of message bytes in order. Returns how many bytes it has
 * used up; sets `ended` when the end was among them. All state is carried over: any cut of the
 * input gives the same message. */
MUST_CHECK size_t smtp_data_feed(struct smtp_data *d, struct str in,
                                 void (*put)(void *arg, struct str bytes), void *arg, bool *ended);

#endif
