/*
 * Private to the wire half: the command table, the parser's vocabulary, and what is shared between
 * parsing a FETCH and printing its answer.
 */
#ifndef THURN_IMAP_WIRE_WIRE_H
#define THURN_IMAP_WIRE_WIRE_H

#include "base/base.h"
#include "imap/imap_wire.h"

/* ---------------------------------------------------------------------------- the command table */

enum wire_states {
    WIRE_STATES_ANY = IMAP_ANY,
    WIRE_STATES_BEFORE = IMAP_NOT_AUTHENTICATED,
    WIRE_STATES_AFTER = IMAP_AUTHENTICATED | IMAP_SELECTED,
    WIRE_STATES_OPEN = IMAP_SELECTED,
};
enum wire_flags {
    WIRE_NO = 0,
    WIRE_UID = 1, /* has a UID form */
};
/* When a capability is shown. Those for logging in are shown before it only. COMPRESS is had after
 * login: nothing that comes before is worth it, no password is compressed together with anything,
 * and strangers cannot feed the inflater. */
enum wire_when {
    SHOW_NEVER,
    SHOW_ALWAYS,
    SHOW_BEFORE_LOGIN,
    SHOW_STARTTLS, /* TLS is to be had */
    SHOW_LOGIN,    /* passwords may be tried */
    SHOW_NO_LOGIN, /* they may not */
    SHOW_COMPRESS, /* after login, if it has not been begun */
};

/* clang-format off */
/* Verb (and name), states (enum wire_states), UID form or NO, parse function, request frame or
 * NONE, the capability that announces the command, when that is shown, and where the command is
 * described (a section of RFC 3501, or another RFC). */
#define IMAP_COMMANDS(X)                                                                           \
  X(CAPABILITY,   ANY,    NO,  none,         NONE,      "IMAP4rev1",          ALWAYS,   "6.1.1")   \
  X(NOOP,         ANY,    NO,  noop,         NOOP,      "",                   NEVER,    "6.1.2")   \
  X(LOGOUT,       ANY,    NO,  none,         NONE,      "",                   NEVER,    "6.1.3")   \
  X(STARTTLS,     BEFORE, NO,  none,         NONE,      "STARTTLS",           STARTTLS, "6.2.1")   \
  X(AUTHENTICATE, BEFORE, NO,  authenticate, NONE,      "AUTH=PLAIN",         LOGIN,    "6.2.2")   \
  X(LOGIN,        BEFORE, NO,  login,        LOGIN,     "LOGINDISABLED",      NO_LOGIN, "6.2.3")   \
  X(SELECT,       AFTER,  NO,  select,       SELECT,    "",                   NEVER,    "6.3.1")   \
  X(EXAMINE,      AFTER,  NO,  select,       SELECT,    "",                   NEVER,    "6.3.2")   \
  X(CREATE,       AFTER,  NO,  create,       CREATE,    "CREATE-SPECIAL-USE", ALWAYS,   "RFC6154") \
  X(DELETE,       AFTER,  NO,  delete,       DELETE,    "",                   NEVER,    "6.3.4")   \
  X(RENAME,       AFTER,  NO,  rename,       RENAME,    "",                   NEVER,    "6.3.5")   \
  X(SUBSCRIBE,    AFTER,  NO,  subscribe,    SUBSCRIBE, "",                   NEVER,    "6.3.6")   \
  X(UNSUBSCRIBE,  AFTER,  NO,  subscribe,    SUBSCRIBE, "",                   NEVER,    "6.3.7")   \
  X(LIST,         AFTER,  NO,  list,         LIST,      "LIST-EXTENDED",      ALWAYS,   "RFC5258") \
  X(LSUB,         AFTER,  NO,  lsub,         LIST,      "",                   NEVER,    "6.3.9")   \
  X(STATUS,       AFTER,  NO,  status,       STATUS,    "",                   NEVER,    "6.3.10")  \
  X(APPEND,       AFTER,  NO,  append,       APPEND,    "",                   NEVER,    "6.3.11")  \
  X(CHECK,        OPEN,   NO,  noop,         NOOP,      "",                   NEVER,    "6.4.1")   \
  X(CLOSE,        OPEN,   NO,  close,        CLOSE,     "",                   NEVER,    "6.4.2")   \
  X(EXPUNGE,      OPEN,   UID, expunge,      EXPUNGE,   "UIDPLUS",            ALWAYS,   "RFC4315") \
  X(SEARCH,       OPEN,   UID, search,       SEARCH,    "",                   NEVER,    "6.4.4")   \
  X(FETCH,        OPEN,   UID, fetch,        FETCH,     "",                   NEVER,    "6.4.5")   \
  X(STORE,        OPEN,   UID, store,        STORE,     "",                   NEVER,    "6.4.6")   \
  X(COPY,         OPEN,   UID, copy,         COPY,      "",                   NEVER,    "6.4.7")   \
  X(IDLE,         AFTER,  NO,  noop,         NOOP,      "IDLE",               ALWAYS,   "RFC2177") \
  X(UNSELECT,     OPEN,   NO,  close,        CLOSE,     "UNSELECT",           ALWAYS,   "RFC3691") \
  X(NAMESPACE,    AFTER,  NO,  none,         NONE,      "NAMESPACE",          ALWAYS,   "RFC2342") \
  X(ID,           ANY,    NO,  id,           NONE,      "ID",                 ALWAYS,   "RFC2971") \
  X(ENABLE,       AFTER,  NO,  enable,       ENABLE,    "ENABLE",             ALWAYS,   "RFC5161") \
  X(MOVE,         OPEN,   UID, copy,         COPY,      "MOVE",               ALWAYS,   "RFC6851") \
  X(XLIST,        AFTER,  NO,  xlist,        LIST,      "XLIST",              ALWAYS,   "Gmail")   \
  X(COMPRESS,     AFTER,  NO,  compress,     NONE,      "COMPRESS=DEFLATE",   COMPRESS, "RFC4978") \
  X(GETQUOTA,     AFTER,  NO,  quota,        QUOTA,     "QUOTA",              ALWAYS,   "RFC9208") \
  X(GETQUOTAROOT, AFTER,  NO,  quota,        QUOTA,     "",                   NEVER,    "RFC9208") \
  X(SETQUOTA,     AFTER,  NO,  setquota,     NONE,      "",                   NEVER,    "RFC9208")

/* What works without a command of its own: capability, when it is shown, RFC, and where it is. */
#define IMAP_EXTENSIONS(X)                                   \
    X("LITERAL+", ALWAYS,       "RFC 7888", "collect.c")      \
    X("QUOTA=RES-STORAGE", ALWAYS, "RFC 9208", "print.c")     \
    X("QUOTA=RES-MESSAGE", ALWAYS, "RFC 9208", "print.c")     \
    X("MULTIAPPEND", ALWAYS,    "RFC 3502", "collect.c")      \
    X("BINARY",   ALWAYS,       "RFC 3516", "parse_fetch.c")  \
    X("SASL-IR",  BEFORE_LOGIN, "RFC 4959", "parse_simple.c") \
    X("CHILDREN", ALWAYS,       "RFC 3348", "print.c")        \
    X("SPECIAL-USE", ALWAYS,    "RFC 6154", "parse_list.c")   \
    X("LIST-STATUS", ALWAYS,    "RFC 5819", "parse_list.c")   \
    X("ESEARCH",  ALWAYS,       "RFC 4731", "parse_search.c") \
    X("CONDSTORE", ALWAYS,      "RFC 7162", "parse_modifiers.c") \
    X("QRESYNC",  ALWAYS,       "RFC 7162", "parse_modifiers.c")
/* clang-format on */

enum {
    WIRE_TAG_MAX = 255,
    WIRE_NAME_MAX = 1000,   /* bytes of a mailbox name in UTF-8 */
    WIRE_KEYWORD_MAX = 255, /* bytes of a keyword */
    WIRE_SECTIONS_MAX = 64, /* FetchRow.nil has a bit for each */
    WIRE_ID_FIELDS = 30,    /* RFC 2971 section 3.3, with the lengths of name and value */
    WIRE_ID_NAME = 30,
    WIRE_ID_VALUE = 1024,
    WIRE_SEARCH_NODES = 2000,
    WIRE_SEARCH_DEPTH = 60, /* the backend compiles programs 64 deep */
};

/* A command being parsed: a cursor on its arguments. The error sticks, as the cursor's does. */
struct wire_parse {
    struct cur c;
    struct arena *a;
    struct imap_command *cmd;
    const char *error;     /* the first one, for the client; NULL: none */
    struct str charset;    /* SEARCH: of its texts; empty: UTF-8 */
    bool message_follows;  /* APPEND: its literal has been announced, */
    uint64_t message_size; /* of so many bytes */
};

struct wire_command {
    struct str name;
    enum imap_verb verb;
    unsigned states;
    unsigned flags;
    void (*parse)(struct wire_parse *w); /* from behind the name; must reach the end */
    uint16_t frame;                      /* 0: none */
    const char *capability;
    enum wire_when when;
};
extern const struct wire_command wire_commands[IMAP_VERBS];

#define WIRE_PARSE_FUNCTION(VERB, states, flags, parse, frame, capability, when, rfc)              \
    void wire_parse_##parse(struct wire_parse *w);
IMAP_COMMANDS(WIRE_PARSE_FUNCTION)
#undef WIRE_PARSE_FUNCTION

/* The tag that the line begins with; empty if it has none that can be used. */
struct str wire_tag_of(struct str line);
/* Tag and command name, up to the arguments. False: w->error says why; the tag is set if there is
 * one. The row is found, and allowed in this state. */
bool wire_parse_head(struct wire_parse *w, enum imap_state state, const struct wire_command **out);

/* ----------------------------------------------------------------------------------- vocabulary */

/* Marks the command as wrong; the first reason is kept. Returns false. */
bool wire_fail(struct wire_parse *w, const char *error);
static inline bool wire_bad(const struct wire_parse *w)
{
    return w->c.bad;
}
/* Exactly one SP. */
bool wire_space(struct wire_parse *w);
/* Takes `b`, or fails with the text. */
bool wire_expect(struct wire_parse *w, uint8_t b, const char *error);
struct str wire_atom(struct wire_parse *w);
/* Quoted or literal. */
struct str wire_string(struct wire_parse *w);
struct str wire_astring(struct wire_parse *w);
/* list-mailbox: may hold wildcards without being quoted. */
struct str wire_list_pattern(struct wire_parse *w);
/* An astring that names a mailbox, in UTF-8. Empty is wrong. */
struct str wire_mailbox(struct wire_parse *w);
/* INBOX, however it is written, in capitals; any other name as it is. */
struct str wire_mailbox_canonical(struct str utf8);
/* Decodes a name or pattern and checks it; empty stays empty. */
struct str wire_mailbox_decode(struct wire_parse *w, struct str raw);
uint32_t wire_number(struct wire_parse *w);
uint32_t wire_nz_number(struct wire_parse *w);
/* mod-sequence-valzer, RFC 7162. */
uint64_t wire_modseq(struct wire_parse *w);
/* The status items from behind "(" to ")", as bits of ImapStatus. */
uint32_t wire_status_items(struct wire_parse *w);
/* What may stand in parentheses behind the arguments of SELECT and FETCH, and inside those of
 * STORE (RFC 4466, RFC 7162): nothing is taken if there is nothing. */
void wire_select_parameters(struct wire_parse *w, Thurn__ImapSelect *m);
void wire_fetch_modifiers(struct wire_parse *w, Thurn__ImapFetch *m);
void wire_store_modifiers(struct wire_parse *w, Thurn__ImapStore *m);
/* The options of SEARCH RETURN (RFC 4731), with the space behind them. */
uint32_t wire_search_returns(struct wire_parse *w);
/* What stands before the literal of a message of APPEND; it is added to the request. */
void wire_append_message(struct wire_parse *w, Thurn__ImapAppend *m);
/* sequence-set; NULL if it is wrong. */
Thurn__ImapSet *wire_set(struct wire_parse *w, bool uid);
/* flag-list; with `bare` also flags without parentheses. NULL if it is wrong. */
Thurn__ImapFlags *wire_flags(struct wire_parse *w, bool bare);
/* The bit of "Sent" and the like, RFC 6154; WIRE_OTHER_USE if it is none of them. */
enum { WIRE_OTHER_USE = 1 << 30 };
uint32_t wire_special_use(struct str attribute);
/* "1-Feb-1994", perhaps quoted, in days since 1970. */
int32_t wire_date(struct wire_parse *w);
/* date-time in seconds since 1970. */
int64_t wire_date_time(struct wire_parse *w);

/* A new message of this type in the arena; NULL (and failed) without room. */
void *wire_new_message(struct wire_parse *w, const ProtobufCMessageDescriptor *type);
#define WIRE_NEW(w, Type, name)                                                                    \
    ((Thurn__##Type *)wire_new_message((w), &thurn__##name##__descriptor))
/* The same array allocation; NULL (and failed) without room. */
void *wire_new_array(struct wire_parse *w, size_t n, size_t size);
#define WIRE_NEW_ARRAY(w, type, n) ((type *)wire_new_array((w), (n), sizeof(type)))

/* Names with their bits, as they are printed: " \Seen". */
struct wire_named_bit {
    struct str name;
    uint32_t bit;
};
extern const struct wire_named_bit wire_system_flags[6], wire_special_uses[7];

bool wire_is_atom_char(uint8_t c);
bool wire_is_astring_char(uint8_t c);

/* --------------------------------------------------------------------- FETCH, asked and printed */

enum wire_item {
    ITEM_FLAGS,
    ITEM_UID,
    ITEM_INTERNALDATE,
    ITEM_SIZE,
    ITEM_ENVELOPE,
    ITEM_BODY,
    ITEM_BODYSTRUCTURE,
    ITEM_MODSEQ,
    ITEMS,
};

enum wire_section_kind {
    SECTION_BYTES,
    SECTION_BINARY,   /* decoded; the section before it has been measured */
    SECTION_MEASURED, /* not shown: how long the next one will be */
    SECTION_SIZE,     /* measured, and shown as a number */
};

struct wire_section {
    struct str label; /* "BODY[1.HEADER.FIELDS (DATE)]<0>", "RFC822.TEXT" */
    /* HEADER.FIELDS and HEADER.FIELDS.NOT only. */
    struct str *names;
    uint32_t n_names;
    uint32_t offset, length; /* of the partial, if there is one */
    bool pick, pick_not, partial;
    enum wire_section_kind kind;
};

struct imap_fetch_print {
    struct wire_section *sections;
    uint8_t n_sections;
    uint8_t n_items;
    uint8_t items[ITEMS]; /* enum wire_item, in the order asked, each once */
};

/* The fields of the header that the section asks for, and the empty line, at the end of `out`. */
void wire_pick_fields(const struct wire_section *s, struct str header, struct buf *out);

/* ------------------------------------------------------------------------------------- printing */

/* Quoted, or a literal if it has to be. */
void wire_print_string(struct buf *out, struct str s);
/* NIL if it is empty. */
void wire_print_nstring(struct buf *out, struct str s);
/* Bare if that is possible. */
void wire_print_astring(struct buf *out, struct str s);
/* "* 12 FETCH (" */
void wire_print_row_head(struct buf *out, uint32_t seq);
/* "(\Seen Work)" */
void wire_print_flags(struct buf *out, uint32_t system, uint64_t keywords,
                      const struct imap_view_names *names);
/* "\"17-Jul-1996 02:44:25 +0000\"" */
void wire_print_date_time(struct buf *out, int64_t seconds);
/* "4:6,9" */
void wire_print_ranges(struct buf *out, Thurn__NumRange *const *ranges, size_t n);
/* A packed Email as ENVELOPE, BODY or BODYSTRUCTURE, without the item's name. A record that cannot
 * be read is shown as one text part of `size` bytes. */
void wire_print_record(struct buf *out, enum wire_item item, const Thurn__Email *email,
                       uint64_t size);

#endif
