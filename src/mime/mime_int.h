/* What the files of this folder share. Nobody else includes it. */
#ifndef THURN_MIME_INT_H
#define THURN_MIME_INT_H

#include "mime/mime.h"

static inline ProtobufCBinaryData mime_pb(struct str s)
{
    return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)(uintptr_t)s.p};
}
static inline struct str mime_str(ProtobufCBinaryData b)
{
    return str_of(b.data, b.len);
}

/* ----------------------------------------------------------------------------- a parse's state */

/* A part while the message is being walked. */
struct mime_node {
    Thurn__Part part;
    struct mime_node *next;   /* in order of appearance */
    struct mime_node *parent; /* NULL for the first */
    uint32_t index;
    uint64_t body_lines; /* line ends before the body */
    bool header_cut;     /* its header ends without an empty line */
    bool has_child;
    struct str boundary; /* as it stands in Content-Type; empty: none */
};

struct mime_field_node {
    Thurn__HeaderField field;
    struct mime_field_node *next;
};

/* One message being parsed. Running out of the arena sets `full`; the parse then goes on with
 * less and is thrown away at its end. */
struct mime_job {
    struct str msg;
    const struct mime_limits *limits;
    struct arena *arena;
    bool full;
    uint32_t broken;
    struct mime_node *first, *last;
    uint32_t n_parts;
    struct mime_field_node *fields, *last_field;
    uint32_t n_fields;
    uint32_t field_text;       /* bytes of the fields' decoded values */
    Thurn__Envelope *envelope; /* the message's own */
};

/* From the arena; NULL sets `full`. */
void *mime_job_alloc(struct mime_job *j, size_t n);
#define mime_job_array(j, type, n) ((type *)mime_job_alloc((j), (n) * sizeof(type)))
/* A copy of the buffer's content in the arena; empty and `full` without room. */
struct str mime_job_keep(struct mime_job *j, const struct buf *b);

/* The slice in lower case. */
struct str mime_lower(struct mime_job *j, struct str s);

/* structure.c: walks the message and makes the list of parts. */
void mime_walk(struct mime_job *j);
/* text.c: gives text parts their text (what is not the body's own bytes is added to `text`), and
 * fills in the preview and has_attachment. */
void mime_texts(struct mime_job *j, struct buf *text, Thurn__Email *email);

/* -------------------------------------------------------------------------------------- header */

struct mime_header {
    struct mime_job *job;
    Thurn__Part *part;
    struct str *boundary;
    Thurn__Envelope *envelope; /* NULL: the header of a part that is no message */
    uint32_t seen;             /* rows of the table that have occurred */
    uint32_t addresses_left;
};
/* Takes from the field what the record keeps of it. */
void mime_header_take(struct mime_header *h, const struct mime_field *f);

/* Whether all bytes are below 128. */
bool mime_is_ascii(struct str s);
/* str_is_utf8, faster for ASCII. */
bool mime_is_utf8(struct str s);
/* Without line ends; NUL and lone CR become spaces; trimmed. */
struct str mime_unfold(struct mime_job *j, struct str value);
struct str mime_unfold_in(struct arena *a, struct str value); /* p NULL: no room */
/* Whether it holds what may be an encoded word (RFC 2047), or is not UTF-8. */
bool mime_needs_decoding(struct str s);
/* Encoded words decoded, controls in them made spaces; `s` itself if nothing changes. */
struct str mime_decode_text(struct mime_job *j, struct str s);
/* The same, but empty if nothing changes. */
struct str mime_decoded(struct mime_job *j, struct str s);

/* -------------------------------------------------------------------- tokens of a field's body */

enum lex_kind { LEX_END, LEX_ATOM, LEX_QUOTED, LEX_LITERAL, LEX_COMMENT, LEX_SPECIAL };

struct lex {
    struct cur in;
    const char *specials;
    /* A search for the closing character has failed: from here on the opening one is text. */
    bool no_quote, no_comment, no_literal;
};
struct lex_token {
    enum lex_kind kind;
    uint8_t special; /* for LEX_SPECIAL */
    bool spaced;     /* white space stood before it */
    struct str text; /* quoted strings and comments without their delimiters, escapes left in */
};
/* Tokens of RFC 5322 section 3.2. Line ends and control characters count as white space. */
void lex_next(struct lex *l, struct lex_token *out);
/* Adds the content of a quoted string or comment: escapes resolved, line ends removed. */
void lex_unquote(struct buf *out, struct str text);

/* Adds the addresses of a field's value to a list. `left` is how many more may be taken; it is
 * lowered. */
struct addr_list {
    size_t *n;
    Thurn__Address ***items;
};
void mime_addresses(struct mime_job *j, struct str value, uint32_t *left, struct addr_list to);

/* RFC 5322 section 3.3 and 4.3, and what is seen in its place. False if it cannot be understood. */
bool mime_date(struct str value, int64_t *seconds, int32_t *zone_minutes);

/* Takes parameters, `;name=value` each, to the end of the cursor (RFC 2045, 2231). `boundary` (may
 * be NULL) gets the value of that parameter byte for byte. */
struct param_list {
    size_t *n;
    Thurn__Param ***items;
    struct str *boundary;
};
void mime_params(struct mime_job *j, struct cur *in, struct param_list to);

/* ------------------------------------------------------------------------- encodings, charsets */

/* RFC 2045 section 6.8; bytes outside the alphabet are skipped. False if there were any besides
 * white space, or if bits were left over. */
bool mime_base64(struct buf *out, struct str in);
/* RFC 2045 section 6.7; what is no escape is kept as it stands. False if there was any. */
bool mime_quoted_printable(struct buf *out, struct str in);
/* The byte that two hexadecimal digits at `at` stand for; -1 if they are not there. */
int mime_hex_byte(struct str s, size_t at);

enum charset_class {
    CHARSET_UTF8,  /* UTF-8, and what is nearly always UTF-8 if it is valid as such: Latin ones */
    CHARSET_ASCII, /* others in which bytes below 128 mean ASCII */
    CHARSET_OTHER,
};
enum charset_class mime_charset_class(struct str charset);
/* Adds the text as UTF-8, as much as the buffer takes. False for a charset that is not known: the
 * bytes are then read as UTF-8 if they are valid, else as Windows-1252. */
bool mime_charset_convert(struct str charset, struct str in, struct buf *out);
/* Adds `utf8` up to the buffer's limit, not ending inside a character. */
void mime_put_utf8(struct buf *out, struct str utf8);
void mime_put_char(struct buf *out, uint32_t code_point);

#endif
