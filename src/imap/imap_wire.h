/*
 * IMAP4rev1 (RFC 3501), the wire half: bytes to typed requests, typed answers to bytes. Used by
 * the frontend. Pure: no session, no I/O.
 *
 * Commands stand in one table (IMAP_COMMANDS in src/imap/wire/wire.h); the capability list is made
 * from it.
 *
 * How a connection uses it: imap_parse on what was received until it gives MORE, answering each
 * result on the way. The command's arena holds the command and its request, so that it lives until
 * the tagged answer is sent. FETCH is answered through a printer that is made from the command.
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

/* clang-format off */
enum imap_verb {
    IMAP_CAPABILITY, IMAP_NOOP, IMAP_LOGOUT, IMAP_STARTTLS, IMAP_AUTHENTICATE, IMAP_LOGIN,
    IMAP_SELECT, IMAP_EXAMINE, IMAP_CREATE, IMAP_DELETE, IMAP_RENAME, IMAP_SUBSCRIBE,
    IMAP_UNSUBSCRIBE, IMAP_LIST, IMAP_LSUB, IMAP_STATUS, IMAP_APPEND, IMAP_CHECK, IMAP_CLOSE,
    IMAP_EXPUNGE, IMAP_SEARCH, IMAP_FETCH, IMAP_STORE, IMAP_COPY, IMAP_IDLE, IMAP_UNSELECT,
    IMAP_NAMESPACE, IMAP_ID, IMAP_ENABLE, IMAP_MOVE, IMAP_XLIST,
    IMAP_COMPRESS, IMAP_GETQUOTA, IMAP_GETQUOTAROOT, IMAP_SETQUOTA,
    IMAP_VERBS,
};
/* clang-format on */

struct imap_limits {
    size_t line;      /* bytes of a command without its literals; 64 KB is usual */
    size_t literal;   /* of a literal that is not a message */
    size_t command;   /* line and literals together */
    uint64_t message; /* of an APPEND literal */
};

/* How LIST and LSUB answers are printed, as bits. */
enum imap_list_options {
    IMAP_LIST_LSUB = 1,       /* "* LSUB" */
    IMAP_LIST_XLIST = 2,      /* "* XLIST", with Gmail's names of special uses */
    IMAP_LIST_EXTENDED = 4,   /* RFC 5258: \NonExistent is known to the client */
    IMAP_LIST_SUBSCRIBED = 8, /* \Subscribed is shown */
};

/* What a client says about itself (RFC 2971). */
struct imap_id_field {
    struct str name, value;
};

/* A parsed command. */
struct imap_command {
    struct str tag;
    enum imap_verb verb;
    bool uid; /* UID FETCH and the like */
    /* The request for the backend, of the message type that belongs to the verb, in the arena;
     * NULL for what the frontend does alone (CAPABILITY, STARTTLS, LOGOUT, AUTHENTICATE), and if
     * bad_charset. It fits into its frame. */
    ProtobufCMessage *request;
    uint16_t frame; /* its RPC_ number; 0 without a request */
    /* FETCH: how to print what the backend answers; in the arena. */
    struct imap_fetch_print *print;
    /* AUTHENTICATE: the mechanism, and the initial response if `has_initial` (RFC 4959; "=" is
     * given as empty), still in base64. COMPRESS: the mechanism. */
    struct str mechanism, initial;
    bool has_initial;
    bool bad_charset;      /* SEARCH in a charset that is not known: NO [BADCHARSET (...)] */
    unsigned list_options; /* LIST, LSUB, XLIST: for imap_print_mailboxes */
    const struct imap_id_field *id; /* ID */
    size_t n_id;
};

enum imap_parse {
    IMAP_PARSE_MORE,     /* no whole command yet; all of `in` is taken */
    IMAP_PARSE_LITERAL,  /* send "+ OK" and call again: a literal that the client announced follows
                          */
    IMAP_PARSE_MESSAGE,  /* APPEND: all before a message is parsed; the literal follows. Unless
                            `non_sync`, send "+ OK" for it (or refuse it with a tagged NO, upon
                            which nothing follows and imap_parse_tail is not called) */
    IMAP_PARSE_COMMAND,  /* a command, all of it consumed */
    IMAP_PARSE_BAD,      /* a command that is wrong, consumed up to its end: answer and go on */
    IMAP_PARSE_TOO_LONG, /* line or literal beyond the limits, consumed: answer and go on unless
                            `fatal` */
};

/* Collects one command after the other from a stream. Holds the bytes of the command that is being
 * received only; an idle parser has no memory. The fields are private. */
struct imap_parser {
    struct imap_limits limits;
    struct buf line;       /* the command so far, literals in place; its tag while dropping */
    size_t literals;       /* bytes in `line` that are literals, with those still to come */
    size_t segment;        /* where in `line` the part behind the last literal begins */
    uint64_t literal_left; /* bytes of the current literal still to come */
    /* A command that is refused but not yet at its end. */
    bool dropping;
    enum imap_parse drop_as; /* BAD or TOO_LONG */
    const char *drop_error;
    const char *drop_no;
    uint64_t drop_literal; /* bytes of a non-synchronizing literal still to drop */
    uint64_t drop_left;    /* how much more is dropped before it is fatal */
    uint8_t drop_seen;     /* of "{n+}" and the line end */
    uint64_t drop_number;  /* n */
};
void imap_parser_init(struct imap_parser *p, const struct imap_limits *limits);
void imap_parser_free(struct imap_parser *p);

struct imap_parsed {
    enum imap_parse what;
    struct imap_command command; /* COMMAND, MESSAGE; BAD, TOO_LONG: tag ("*" if there is none) */
    uint64_t literal;            /* LITERAL, MESSAGE: its length */
    bool non_sync;               /* MESSAGE: "{n+}" (RFC 7888): the client does not wait */
    bool fatal;                  /* TOO_LONG: the stream cannot be followed further: BYE */
    const char *error;           /* BAD, TOO_LONG: text behind the tagged BAD or NO */
    const char *no;              /* TOO_LONG: the code of a NO, without which it is BAD */
    struct str line;             /* imap_parse_line */
};
/* Takes bytes from `in` until something is known. `a` is the command's arena: slices of the result
 * live in it; nothing is kept in it from one call to the next. `state` (one bit) decides which
 * commands are known to the parser (a command in the wrong state is BAD). After IMAP_PARSE_MESSAGE
 * the caller takes the literal's bytes from the stream itself, then calls imap_parse_tail until it
 * gives something other than MORE. */
void imap_parse(struct imap_parser *p, struct buf *in, enum imap_state state, struct arena *a,
                struct imap_parsed *out);
/* What follows an APPEND message: MORE, the line end (COMMAND), another message (MESSAGE, RFC 3502;
 * it is added to the request of `cmd`, whose arena `a` is), BAD, or TOO_LONG.
 * `out->command` is not filled. */
void imap_parse_tail(struct imap_parser *p, struct buf *in, struct arena *a,
                     struct imap_command *cmd, struct imap_parsed *out);
/* A line that answers a continuation request (DONE of IDLE, base64 of AUTHENTICATE): MORE;
 * COMMAND with `out->line` without its line end, in the arena; or TOO_LONG. */
void imap_parse_line(struct imap_parser *p, struct buf *in, struct arena *a,
                     struct imap_parsed *out);
/* The end of IDLE (RFC 2177): MORE; COMMAND for DONE; BAD for any other line (RFC 2177 ends IDLE
 * then too: answer the IDLE with BAD); TOO_LONG. Nothing in `out->command` is filled. */
void imap_parse_done(struct imap_parser *p, struct buf *in, struct imap_parsed *out);

/* Names of the charsets that SEARCH takes, for BADCHARSET; there are more. */
extern const struct str imap_charsets;

/* The message of SASL PLAIN (RFC 4616) in base64, as a request in the arena. E_INVALID if it is
 * malformed, E_DENIED if it asks for another authorization identity than the user's own. */
MUST_CHECK struct err imap_parse_plain(struct str base64, struct arena *a, Thurn__ImapLogin **out);

/* What decides which capabilities are shown. */
struct imap_situation {
    enum imap_state state;
    bool starttls; /* TLS is to be had */
    bool login;    /* passwords may be tried */
    bool compress; /* the connection can be compressed, and is not yet */
};
/* "CAPABILITY IMAP4rev1 ...", for "* CAPABILITY" as well as "OK [CAPABILITY ...]": no brackets, no
 * line end. */
void imap_print_capability(struct buf *out, const struct imap_situation *s);

/* The keywords of the selected mailbox as last told: bit positions of rows mean these. Begin with
 * {0}. */
struct imap_view_names {
    struct str *names; /* malloc'd, with the text behind them */
    size_t n;
    bool read_only; /* set by the caller: PERMANENTFLAGS are not told again */
};
/* Copies the first 64. */
void imap_names_set(struct imap_view_names *v, const ProtobufCBinaryData *names, size_t n);
void imap_names_free(struct imap_view_names *v);

/* Untagged answers. They append CR LF lines to `out`. `uid_command`: rows show the UID. */
/* Updates set `names` when they bring new ones. */
void imap_print_updates(struct buf *out, const Thurn__ImapUpdates *u, struct imap_view_names *names,
                        bool uid_command);
/* `options`: bits of enum imap_list_options, from the command; `status_items` from its request. */
void imap_print_mailboxes(struct buf *out, const Thurn__ImapMailboxes *m, unsigned options,
                          uint32_t status_items);
/* `mailbox` in UTF-8, `items` as in the request. */
void imap_print_status(struct buf *out, struct str mailbox, uint32_t items,
                       const Thurn__ImapStatusRow *row);
/* "* QUOTA "" (...)" (RFC 9208), and "* QUOTAROOT"; NULL: there is no limit. */
void imap_print_quota(struct buf *out, const Thurn__ImapQuotaUse *q);
void imap_print_quota_root(struct buf *out, struct str mailbox, const Thurn__ImapQuotaUse *q);
/* FLAGS, EXISTS, RECENT and the OK codes; not the tagged answer. */
void imap_print_selected(struct buf *out, const Thurn__ImapSelected *s);
/* SEARCH results come in several frames and are one line. Begin with {0}. */
struct imap_numbers {
    bool begun, ended;
    uint32_t first, last; /* ESEARCH: the range that the next number may extend; 0: none */
    bool ranges;          /* ESEARCH: one has been printed */
    uint32_t told;        /* the last number */
    uint32_t skip;        /* those up to here come again */
};
/* A frame, in the form that the command asked for (RFC 4731: "* ESEARCH"). One that says that it is
 * the last ends the line. */
void imap_print_numbers(struct imap_numbers *state, struct buf *out, const struct imap_command *cmd,
                        const Thurn__ImapNumbers *n);
/* The search is made again from its beginning: what has been told comes again, and is left out. */
void imap_numbers_again(struct imap_numbers *state);
/* Ends the line if it has been begun. */
void imap_end_numbers(struct imap_numbers *state, struct buf *out);
/* "* ENABLED CONDSTORE": bits of Extension. */
void imap_print_enabled(struct buf *out, uint32_t extensions);
/* "[APPENDUID 1 5] ", "[COPYUID 1 1:2 5:6] ", "[READ-ONLY] ", "[TRYCREATE] ", one of RFC 5530's
 * codes for a failure, or nothing. */
void imap_print_done_code(struct buf *out, enum imap_verb verb, const Thurn__ImapDone *d);

/* FETCH answers arrive as rows with raw bytes that may be continued; this turns them into the
 * answer's text piece by piece, without holding a body. In a row the fixed items stand first, then
 * the sections, each in the order asked. An item that the row does not bring is left out; FLAGS and
 * UID are shown when the row brings them, asked for or not. */
struct imap_fetch_printer;
/* `print` and `names` must outlive it. */
struct imap_fetch_printer *imap_fetch_printer_new(struct imap_fetch_print *print,
                                                  const struct imap_view_names *names);
void imap_fetch_printer_free(struct imap_fetch_printer *f); /* NULL is fine */
/* A frame of rows, or of further bytes (rows NULL). E_INVALID if the backend's answer does not fit
 * together: the client's stream may then stand inside a literal. HEADER.FIELDS are picked here (of
 * headers the first 1 MB are looked at). */
MUST_CHECK struct err imap_fetch_print_rows(struct imap_fetch_printer *f, struct buf *out,
                                            const Thurn__ImapRows *rows, struct str raw);
/* The FETCH is asked again, with the fields `after` and `open` of its request set to these, because
 * an answer broke off: the row of which a part has been printed comes once more, and goes on where
 * it was. If another comes, or it is not the same, imap_fetch_print_rows gives E_INVALID. */
void imap_fetch_printer_again(struct imap_fetch_printer *f, uint32_t *out_after,
                              uint32_t *out_open);
/* Whether all rows so far are complete: only then may other answers be printed. */
bool imap_fetch_printer_complete(const struct imap_fetch_printer *f);

/* Modified UTF-7 (RFC 3501 section 5.1.3). E_INVALID for what is not; UTF-8 output is validated.
 * On failure nothing is added. */
MUST_CHECK struct err imap_utf7_decode(struct str in, struct buf *out);
/* `utf8` must be well-formed; a byte that is not is encoded as U+FFFD. */
void imap_utf7_encode(struct str utf8, struct buf *out);

#endif
