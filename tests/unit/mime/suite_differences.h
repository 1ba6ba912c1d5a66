/* The differences from the suite that stay: file, part, what, and why ours is right. Included by
 * test_suite.c. */
/* clang-format off */
#define EMPTY_PART \
    "a delimiter begins a part even if nothing stands in it (RFC 2046 5.1.1)"
#define IMPLIED_PART \
    "a multipart has at least one part (RFC 3501 body-type-mpart): its body stands as one"
#define BEHIND_LINE \
    "the header begins behind the delimiter line, not in it (RFC 2046 5.1.1)"
#define LONGEST \
    "of two boundaries that fit, the longer one is meant; the outer delimiter ends the inner " \
    "multipart (RFC 2046 5.1.2)"
#define OUTER_ENDS \
    "a delimiter of the outer multipart ends what is inside (RFC 2046 5.1.2)"
#define FULL_BOUNDARY \
    "the second delimiter has the full outer boundary, so it ends the inner ones; the shorter " \
    "ones that follow are text (RFC 2046 5.1.2)"
#define FIRST_TYPE \
    "of two Content-Type fields the first counts, the multipart"
#define ONE_LINE_END \
    "only one line end belongs to the delimiter (RFC 2046 5.1.1)"
#define OTHER_PART \
    "the part is another one: the multipart before it was taken apart"
#define NO_HEADER \
    "a message need not have a header: it is a message with a body (RFC 2046 5.2.1)"
#define BEFORE_CLOSE \
    "the part ends before the closing delimiter (RFC 2046 5.1.1)"
#define COMMENT \
    "a comment between words is not part of the name (RFC 5322 3.4, 3.2.2)"
#define LOCAL_PART \
    "one word without a domain is a local part; a display name stands before <...> (RFC 5322 " \
    "3.4)"
#define ENCODED \
    "offsets count in the message as it is, so an encoded message is not taken apart (RFC " \
    "2046 5.2.1 forbids its encoding)"
{"malformed/000.eml", -1, "parts", EMPTY_PART, false},
{"malformed/002.eml", -1, "parts", IMPLIED_PART, false},
{"malformed/002.eml", 0, "multipart", IMPLIED_PART, false},
{"malformed/004.eml", 1, "header_offset", BEHIND_LINE, false},
{"malformed/004.eml", 2, "header_offset", BEHIND_LINE, false},
{"malformed/008.eml", 1, "end_offset", LONGEST, false},
{"malformed/008.eml", 3, "header_offset", BEHIND_LINE, false},
{"malformed/008.eml", 3, "parent", LONGEST, false},
{"malformed/012.eml", -1, "parts", OUTER_ENDS, false},
{"malformed/012.eml", 1, "end_offset", OUTER_ENDS, false},
{"malformed/012.eml", 4, "end_offset", OUTER_ENDS, false},
{"malformed/012.eml", 5, "end_offset", OUTER_ENDS, false},
{"malformed/012.eml", 5, "text", OUTER_ENDS, false},
{"malformed/016.eml", -1, "parts", FULL_BOUNDARY, false},
{"malformed/016.eml", 1, "end_offset", FULL_BOUNDARY, false},
{"malformed/016.eml", 2, "end_offset", FULL_BOUNDARY, false},
{"malformed/016.eml", 4, "header_offset", BEHIND_LINE, false},
{"malformed/016.eml", 4, "end_offset", FULL_BOUNDARY, false},
{"malformed/016.eml", 4, "parent", FULL_BOUNDARY, false},
{"malformed/016.eml", 4, "text", FULL_BOUNDARY, false},
{"malformed/020.eml", -1, "parts", FIRST_TYPE, false},
{"malformed/020.eml", 1, "end_offset", ONE_LINE_END, false},
{"malformed/020.eml", 1, "type", FIRST_TYPE, false},
{"malformed/020.eml", 1, "multipart", FIRST_TYPE, false},
{"malformed/020.eml", 2, "*", OTHER_PART, false},
{"malformed/022.eml", -1, "parts", NO_HEADER, false},
{"malformed/022.eml", 2, "end_offset", BEFORE_CLOSE, false},
{"malformed/022.eml", 2, "message", NO_HEADER, false},
{"rfc/002.eml", 3, "to", COMMENT, false},
{"rfc/004.eml", 0, "from", LOCAL_PART, false},
{"rfc/004.eml", 0, "to", LOCAL_PART, false},
{"rfc/004.eml", 4, "from", LOCAL_PART, false},
{"rfc/004.eml", 6, "from", LOCAL_PART, false},
{"rfc/008.eml", -1, "parts", ENCODED, false},
{"rfc/008.eml", 2, "message", ENCODED, false},
/* clang-format on */
