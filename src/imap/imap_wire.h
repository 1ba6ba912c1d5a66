/*
 * IMAP4rev1 (RFC 3501), the wire half: bytes to typed requests, typed answers to bytes. Used by
 * the frontend. Pure: no session, no I/O.
 *
 * Commands stand in one table (IMAP_COMMANDS); the capability list is made from it.
 */
#ifndef THURN_IMAP_WIRE_H
#define THURN_IMAP_WIRE_H

#include "base/base.h"
#include "rpc/rpc.h"

/* States of a connection, as bits: RFC 3501 section 3. */
enum imap_state {
    IMAP_NOT_AUTHENTICATED = 1,
    IMAP_AUTHENTICATED = 2,
    IMAP_SELECTED = 4,
    IMAP_ANY = 7,
};

enum imap_verb {
    IMAP_CAPABILITY, IMAP_NOOP, IMAP_LOGOUT, IMAP_STARTTLS, IMAP_AUTHENTICATE, IMAP_LOGIN,
    IMAP_SELECT, IMAP_EXAMINE, IMAP_CREATE, IMAP_DELETE, IMAP_RENAME, IMAP_SUBSCRIBE,
    IMAP_UNSUBSCRIBE, IMAP_LIST, IMAP_LSUB, IMAP_STATUS, IMAP_APPEND, IMAP_CHECK, IMAP_CLOSE,
    IMAP_EXPUNGE, IMAP_SEARCH, IMAP_FETCH, IMAP_STORE, IMAP_COPY, IMAP_IDLE,
    IMAP_VERBS,
};

struct imap_limits {
    size_t line;        /* bytes of a command without its literals; 64 KB is usual */
    size_t literal;     /* of a literal that is not a message */
    size_t command;     /* line and literals together */
    uint64_t message;   /* of an APPEND literal */
};

/* A parsed command. */
struct imap_command {
    struct str tag;
    enum imap_verb verb;
    bool uid; /* UID FETCH and the like */
    /* The request for the backend, of the message type that belongs to the verb, in the arena;
     * NULL for what the frontend does alone (CAPABILITY, STARTTLS, LOGOUT, AUTHENTICATE). */
    ProtobufCMessage *request;
    uint16_t frame; /* its RPC_ number */
    /* FETCH: how to print what the backend answers. */
    struct imap_fetch_print *print;
    /* AUTHENTICATE: the mechanism, and the initial response if `has_initial` (RFC 4959; "=" is
     * given as empty). */
    struct str mechanism, initial;
    bool has_initial;
    /* APPEND: the message follows as a literal of `size` bytes. */
    uint64_t append_size;
    /* SEARCH with a charset other than US-ASCII and UTF-8 is NO [BADCHARSET ...]. */
    bool bad_charset;
};

enum imap_parse {
    IMAP_PARSE_MORE,     /* no whole command yet */
    IMAP_PARSE_LITERAL,  /* send "+ OK" (unless non_sync) and feed on: a literal of n bytes follows */
    IMAP_PARSE_MESSAGE,  /* APPEND: all before the message is parsed; the literal follows */
    IMAP_PARSE_COMMAND,  /* a command, all of it consumed */
    IMAP_PARSE_BAD,      /* a command that is wrong, consumed up to its end: answer and go on */
    IMAP_PARSE_TOO_LONG, /* line or literal beyond the limits: answer; see `fatal` */
};

/* Collects one command after the other from a stream. Holds the bytes of the command that is being
 * received only; an idle parser has no memory. */
struct imap_parser {
    struct imap_limits limits;
    struct buf line;          /* the command so far, literals in place */
    uint64_t literal_left;    /* bytes of the current literal still to come */
    uint64_t skip;            /* bytes of a refused non-synchronizing literal still to drop */
    bool skip_line;           /* dropping an over-long line up to its end */
    size_t scanned;           /* how far `line` has been looked at */
    bool in_message_tail;     /* behind an APPEND message: only the CR LF may follow */
};
void imap_parser_init(struct imap_parser *p, const struct imap_limits *limits);
void imap_parser_free(struct imap_parser *p);

struct imap_parsed {
    enum imap_parse what;
    struct imap_command command; /* COMMAND, MESSAGE; for BAD: tag ("*" if there is none) */
    uint64_t literal;            /* LITERAL, MESSAGE: its length */
    bool non_sync;               /* LITERAL, MESSAGE: "{n+}" (RFC 7888): the client does not wait */
    bool fatal;                  /* TOO_LONG: the stream cannot be followed further */
    const char *error;           /* BAD, TOO_LONG: text behind the tagged BAD or NO */
    bool too_large;              /* TOO_LONG of a message literal: NO [TOOBIG]-like, not BAD */
};
/* Takes bytes from `in` until something is known. `a` is the command's arena: slices of the result
 * live in it. `state` decides which commands are known to the parser (a command in the wrong
 * state is BAD). After IMAP_PARSE_MESSAGE the caller takes the literal's bytes from the stream
 * itself, then calls imap_parse_tail until it gives something other than MORE. */
void imap_parse(struct imap_parser *p, struct buf *in, enum imap_state state, struct arena *a,
                struct imap_parsed *out);
/* What follows an APPEND message: the line end (COMMAND; `out->command` is not filled), or BAD. */
void imap_parse_tail(struct imap_parser *p, struct buf *in, struct imap_parsed *out);

/* What is announced: depends on the state, on TLS, and on whether passwords may be tried. */
void imap_print_capability(struct buf *out, enum imap_state state, bool starttls, bool login);

/* The keywords of the selected mailbox as last told: bit positions of rows mean these. */
struct imap_view_names {
    struct arena arena;
    struct str *names;
    size_t n;
};
void imap_names_set(struct imap_view_names *v, const ProtobufCBinaryData *names, size_t n);
void imap_names_free(struct imap_view_names *v);

/* Untagged answers. They append CR LF lines to `out`. `uid_command`: rows show the UID. */
void imap_print_updates(struct buf *out, const Thurn__ImapUpdates *u,
                        struct imap_view_names *names, bool uid_command);
void imap_print_mailboxes(struct buf *out, const Thurn__ImapMailboxes *m, bool lsub);
void imap_print_status(struct buf *out, struct str mailbox, uint32_t items,
                       const Thurn__ImapStatusRow *row);
void imap_print_selected(struct buf *out, const Thurn__ImapSelected *s);
/* SEARCH results come in several frames and are one line: begun with the first, ended by `last`. */
void imap_print_numbers(struct buf *out, const Thurn__ImapNumbers *n, bool first, bool last);
/* "[APPENDUID 1 5] ", "[COPYUID 1 1:2 5:6] ", "[READ-ONLY] ", "[TRYCREATE] " or nothing. */
void imap_print_done_code(struct buf *out, enum imap_verb verb, const Thurn__ImapDone *d);

/* FETCH answers arrive as rows with raw bytes that may be continued; this turns them into the
 * answer's text piece by piece, without holding a body. */
struct imap_fetch_printer;
struct imap_fetch_printer *imap_fetch_printer_new(struct imap_fetch_print *print,
                                                  const struct imap_view_names *names);
void imap_fetch_printer_free(struct imap_fetch_printer *f); /* NULL is fine */
/* A frame of rows, or of further bytes (rows NULL). E_INVALID if the backend's answer does not fit
 * together. HEADER.FIELDS are picked here (headers up to 1 MB are held for it). */
MUST_CHECK struct err imap_fetch_print_rows(struct imap_fetch_printer *f, struct buf *out,
                                            const Thurn__ImapRows *rows, struct str raw);
/* Whether all rows so far are complete. */
bool imap_fetch_printer_complete(const struct imap_fetch_printer *f);

/* Modified UTF-7 (RFC 3501 section 5.1.3). E_INVALID for what is not; UTF-8 output is validated. */
MUST_CHECK struct err imap_utf7_decode(struct str in, struct buf *out);
void imap_utf7_encode(struct str utf8, struct buf *out);

#endif
