/*
 * mime: what is in a message (RFC 5322, 2045-2047, 2231, 6532), as a record of offsets.
 *
 * Pure functions on bytes: no I/O, no state. Real mail is broken in every way there is; nothing is
 * ever rejected or altered for it, only noted in the record's `broken` bits. Time is linear in the
 * size of the message, memory is bounded by the limits and by the arena's budget.
 *
 * Where mail is broken, this is what the record says:
 * - A line in a header that is no field is skipped. A header without any field is no header: its
 *   lines are body.
 * - A header may end without an empty line: at a delimiter, at the end, or at the limit.
 * - A delimiter line begins with the boundary, whatever follows; of several boundaries that fit,
 *   the longest is meant. One of an outer multipart ends the inner ones.
 * - A multipart without any part gets one, text/plain, that is its whole body.
 * - A multipart or message beyond the limits, and a message/rfc822 in base64 or quoted-printable,
 *   is a part without children: `multipart` and `message` are not set, the type stays.
 * - Of repeated fields the first counts, except that address lists are joined.
 * - An address that is one word has it as its mailbox; words alone are a name. Either may be
 *   empty. Sender and Reply-To are not filled in from From (RFC 3501 section 7.4.2 asks for that
 *   when the ENVELOPE is written).
 *
 * Envelope texts hold no CR, LF or NUL; other bytes are as they came.
 *
 * Text for search: of text parts, of messages that are not taken apart (delivery reports), and of
 * the headers of those that are, as far as they need decoding. Of HTML it is the decoded source
 * with its tags; the preview leaves them out.
 */
#ifndef THURN_MIME_H
#define THURN_MIME_H

#include "base/base.h"
#include "store.pb-c.h"

enum { MIME_PARSER_VERSION = 1 };

struct mime_limits {
    uint32_t depth;        /* of nested parts; deeper ones are not taken apart */
    uint32_t parts;        /* in total; what follows the last one stays in its parent */
    uint32_t fields;       /* header fields of one header */
    uint32_t header_bytes; /* of one header; the rest counts as body */
    uint32_t field_text;   /* bytes of decoded values of header fields */
    uint32_t addresses;    /* in one envelope */
    uint32_t text;         /* bytes of decoded text for search */
};
extern const struct mime_limits mime_limits_default;

struct mime_result {
    Thurn__Email *email; /* in the arena; its slices point into the arena or the message */
    struct str text;     /* decoded text of the parts that have a text range; UTF-8 */
};
/* Parses a message of at most 4 GB - 1. Fails with E_LIMIT only, when the arena is used up. */
MUST_CHECK struct err mime_parse(struct str message, const struct mime_limits *limits,
                                 struct arena *a, struct mime_result *out);

/* One field of a header, as it stands. */
struct mime_field {
    struct str
        name; /* without the colon and white space before it; empty: a line that is no field */
    struct str value; /* behind the colon, folded, with its last line end */
    struct str whole; /* all of it, with its last line end */
};
/* Takes the next field from a cursor on a header; false at the end or at the empty line, which is
 * left. Bare LF and CR LF both end lines; a line begun by SP or HT continues the one before. */
bool mime_field_next(struct cur *header, struct mime_field *out);

/* Content-Transfer-Encodings (RFC 2045 section 6). */
enum mime_coding { MIME_IDENTITY, MIME_BASE64, MIME_QUOTED_PRINTABLE };

/* Decodes a body that comes in pieces; where they are cut changes nothing. What is malformed is
 * skipped (base64) or kept as it stands (quoted-printable). Holds a line at most. The fields are
 * private; zeroed it decodes nothing. */
struct mime_decoder {
    enum mime_coding coding;
    uint32_t bits;   /* base64: of a group that is not complete */
    unsigned n;      /* sixes of them */
    struct buf held; /* quoted-printable: the line so far */
};
/* Begins a body; what was held of another one is forgotten. */
void mime_decoder_begin(struct mime_decoder *d, enum mime_coding coding);
/* Adds what can be decoded by now to `out`. */
void mime_decoder_put(struct mime_decoder *d, struct str in, struct buf *out);
/* The body is over: adds the rest. */
void mime_decoder_end(struct mime_decoder *d, struct buf *out);
void mime_decoder_free(struct mime_decoder *d);

/* Loads what charsets are made of, which is done before a sandbox closes. E_UNSUPPORTED if it is
 * not there. */
MUST_CHECK struct err mime_charsets_load(void);
/* Whether text in this charset can be turned into UTF-8. */
bool mime_charset_is_known(struct str charset);
/* Adds text in a known charset as UTF-8; what stands for nothing in it becomes U+FFFD. */
void mime_text_to_utf8(struct str charset, struct str text, struct buf *out);

/* Turns RFC 2047 encoded words into UTF-8, leaves the rest; bytes that are not UTF-8 are read as
 * Windows-1252. The result is in the arena (or `s` itself if nothing changes); {NULL,0} without
 * room. */
struct str mime_decode_words(struct str s, struct arena *a);

#endif
