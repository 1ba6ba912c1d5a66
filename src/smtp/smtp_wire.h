/*
 * SMTP (RFC 5321), message submission (RFC 6409) and LMTP (RFC 2033), the wire half: bytes to
 * requests. Used by the frontend.
 *
 * All parsers here are pure: bytes in, a line, a command or a piece of message data out; no
 * session, no I/O. Any cut of the input gives the same result.
 */
#ifndef THURN_SMTP_WIRE_H
#define THURN_SMTP_WIRE_H

#include "base/base.h"
#include "rpc/rpc.h"

/* Longest command line with CR LF (RFC 5321 section 4.5.3.1.4, with room for parameters). */
enum { SMTP_LINE_MAX = 4096 };
/* Longest local part and domain that are taken. RFC 5321 section 4.5.3.1 promises 64 and 255; the
 * senders that mailing lists make up are longer than 64. */
enum { SMTP_LOCAL_MAX = 255, SMTP_DOMAIN_MAX = 255 };

/* Which of the family is spoken; each command and parameter belongs to some of them. */
enum smtp_dialect { SMTP_LMTP = 1, SMTP_MX = 2, SMTP_SUBMISSION = 4 };

enum smtp_verb {
    SMTP_LHLO,
    SMTP_HELO,
    SMTP_EHLO,
    SMTP_STARTTLS,
    SMTP_AUTH,
    SMTP_MAIL,
    SMTP_RCPT,
    SMTP_DATA,
    SMTP_BDAT,
    SMTP_RSET,
    SMTP_NOOP,
    SMTP_VRFY,
    SMTP_HELP,
    SMTP_QUIT,
    SMTP_VERBS,
};
enum smtp_body { SMTP_7BIT, SMTP_8BITMIME, SMTP_BINARYMIME };
struct smtp_command {
    enum smtp_verb verb;
    struct str domain;         /* LHLO, HELO, EHLO: as given, printable ASCII */
    struct str local;          /* MAIL, RCPT: unquoted local part; of MAIL empty for <> */
    struct str address_domain; /* lower case; an address literal with its brackets; empty for MAIL
                                * FROM:<> and for RCPT TO:<Postmaster> (RFC 5321 section 4.1.1.3) */
    bool address_utf8;         /* the local part is not ASCII */
    uint64_t size;             /* MAIL: SIZE= (RFC 1870), 0 if absent. BDAT: bytes that follow */
    enum smtp_body body;       /* MAIL: BODY= (RFC 6152, RFC 3030) */
    bool smtputf8;             /* MAIL: SMTPUTF8 (RFC 6531) */
    bool last;                 /* BDAT: LAST */
    struct str mechanism;      /* AUTH */
    struct str initial;        /* AUTH: base64, empty for "=" (RFC 4954 section 4) */
    bool has_initial;
};
/* What a line that is no good is answered with. */
struct smtp_reply {
    unsigned code; /* 500, 501, 553, 555; 452 when the arena is used up; 421: nobody knows how
                    * many bytes of data follow, and the connection must end */
    const char *enhanced; /* "5.5.4" (RFC 3463) */
    const char *text;
};
/* A whole line without its line end. The parts of addresses are in the arena, the other slices in
 * the line. True: `out` is filled; false: `bad` is. Source routes are dropped (RFC 5321 section
 * 3.6.1). Bytes above 127 are taken where the dialect has SMTPUTF8, well-formed, in a local part
 * only: a domain is to be given with A-labels; whether the transaction permits them at RCPT is the
 * caller's to decide. The delivery notifications that RFC 3461 lets a client ask for (RET, ENVID,
 * NOTIFY, ORCPT) and AUTH= are checked and not kept. */
MUST_CHECK bool smtp_parse(struct str line, enum smtp_dialect dialect, struct arena *a,
                           struct smtp_command *out, struct smtp_reply *bad);

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

/* Line ends of a message on their way: finds a CR without LF and a LF without CR, and makes CR LF
 * of them if asked to. (Servers that see the end of a message in one of them are why a message that
 * holds one may hide a second message: it should not be handed on as it is.) */
struct smtp_newlines {
    bool normalize; /* set at the beginning */
    bool bare;      /* there was one */
    bool cr;        /* the last byte was a CR; not passed on yet when normalizing */
};
/* Calls put for each run of bytes in order. */
void smtp_newlines_feed(struct smtp_newlines *n, struct str in,
                        void (*put)(void *arg, struct str bytes), void *arg);
/* The message has ended: passes on a CR that stood last. */
void smtp_newlines_end(struct smtp_newlines *n, void (*put)(void *arg, struct str bytes),
                       void *arg);

/* A chunk of BDAT (RFC 3030): counts its bytes, whatever they are. */
struct smtp_chunk {
    uint64_t left; /* begin with the chunk's size */
};
/* Takes what belongs to the chunk from the front of `in`; it stays readable until more is added. */
MUST_CHECK struct str smtp_chunk_next(struct smtp_chunk *c, struct buf *in);

#endif
