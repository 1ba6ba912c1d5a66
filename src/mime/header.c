/* What the record keeps of a header: one row per field, and how it is taken in. */
#include "mime/mime_int.h"

enum { LANGUAGES_MAX = 32 };

static void put_type(struct mime_header *h, struct str value);
static void put_encoding(struct mime_header *h, struct str value);
static void put_disposition(struct mime_header *h, struct str value);
static void put_language(struct mime_header *h, struct str value);
static void put_date(struct mime_header *h, struct str value);
static void put_subject(struct mime_header *h, struct str value);

/* A row names the function, or the place of an unfolded text, or the address list. */
struct row {
    struct str name;
    void (*put)(struct mime_header *h, struct str value);
    bool of_part; /* `text` is in the part, else in the envelope */
    size_t text, n_list, list;
};

#define PART_TEXT(name, field)                                                                     \
    {                                                                                              \
        STR_INIT(name), .of_part = true, .text = offsetof(Thurn__Part, field)                      \
    }
#define ENVELOPE_TEXT(name, field)                                                                 \
    {                                                                                              \
        STR_INIT(name), .text = offsetof(Thurn__Envelope, field)                                   \
    }
#define ENVELOPE_LIST(name, field)                                                                 \
    {                                                                                              \
        STR_INIT(name), .n_list = offsetof(Thurn__Envelope, n_##field),                            \
                        .list = offsetof(Thurn__Envelope, field)                                   \
    }

/* clang-format off */
static const struct row rows[] = {
    {STR_INIT("Content-Type"), .put = put_type, .of_part = true},
    {STR_INIT("Content-Transfer-Encoding"), .put = put_encoding, .of_part = true},
    {STR_INIT("Content-Disposition"), .put = put_disposition, .of_part = true},
    {STR_INIT("Content-Language"), .put = put_language, .of_part = true},
    PART_TEXT("Content-ID", content_id),
    PART_TEXT("Content-Description", description),
    PART_TEXT("Content-Location", location),
    PART_TEXT("Content-MD5", md5),
    {STR_INIT("Date"), .put = put_date},
    {STR_INIT("Subject"), .put = put_subject},
    ENVELOPE_LIST("From", from),
    ENVELOPE_LIST("Sender", sender),
    ENVELOPE_LIST("Reply-To", reply_to),
    ENVELOPE_LIST("To", to),
    ENVELOPE_LIST("Cc", cc),
    ENVELOPE_LIST("Bcc", bcc),
    ENVELOPE_TEXT("In-Reply-To", in_reply_to),
    ENVELOPE_TEXT("Message-ID", message_id),
    ENVELOPE_TEXT("References", references),
};
/* clang-format on */
_Static_assert(ARRAY_LEN(rows) <= 32, "mime_header.seen has a bit per row");

/* The next token if it is a word, in lower case; else empty. */
static struct str take_word(struct mime_job *j, struct lex *l)
{
    struct lex_token t;
    do
        lex_next(l, &t);
    while (t.kind == LEX_COMMENT);
    if (t.kind != LEX_ATOM && t.kind != LEX_QUOTED)
        return (struct str){0};
    return mime_lower(j, t.text);
}

/* Skips to the semicolon before the parameters. */
static void skip_to_params(struct cur *in)
{
    while (!cur_end(in) && cur_peek(in) != ';')
        cur_skip(in, 1);
}

/* RFC 2045 section 5. What has no slash is taken for no Content-Type (section 5.2), except
 * "text" and "multipart", whose subtypes have defaults. */
static void put_type(struct mime_header *h, struct str value)
{
    struct lex l = {.in = cur_of(value), .specials = ";/"};
    struct str type = take_word(h->job, &l);
    struct str subtype = {0};
    struct cur after = l.in;
    struct lex_token t;
    lex_next(&l, &t);
    if (t.kind == LEX_SPECIAL && t.special == '/') {
        subtype = take_word(h->job, &l);
        after = l.in;
    }
    if (subtype.n == 0 && str_eq(type, STR("text")))
        subtype = STR("plain");
    if (subtype.n == 0 && str_eq(type, STR("multipart")))
        subtype = STR("mixed");
    if (type.n == 0 || subtype.n == 0)
        return;
    h->part->type = mime_pb(type);
    h->part->subtype = mime_pb(subtype);
    skip_to_params(&after);
    mime_params(h->job, &after,
                (struct param_list){&h->part->n_params, &h->part->params, h->boundary});
    while (h->boundary->n && h->boundary->p[h->boundary->n - 1] == ' ')
        h->boundary->n--; /* RFC 2046 section 5.1.1: does not end with white space */
}

static void put_encoding(struct mime_header *h, struct str value)
{
    struct lex l = {.in = cur_of(value), .specials = ";"};
    struct str word = take_word(h->job, &l);
    if (word.n)
        h->part->encoding = mime_pb(word);
}

static void put_disposition(struct mime_header *h, struct str value)
{
    struct lex l = {.in = cur_of(value), .specials = ";"};
    struct str word = take_word(h->job, &l);
    if (word.n == 0)
        return;
    h->part->disposition = mime_pb(word);
    skip_to_params(&l.in);
    mime_params(
        h->job, &l.in,
        (struct param_list){&h->part->n_disposition_params, &h->part->disposition_params, NULL});
}

/* RFC 3282: tags with commas between. */
static void put_language(struct mime_header *h, struct str value)
{
    struct lex l = {.in = cur_of(value), .specials = ",;"};
    ProtobufCBinaryData *tags = mime_job_alloc(h->job, LANGUAGES_MAX * sizeof *tags);
    struct lex_token t;
    size_t n = 0;
    for (lex_next(&l, &t); tags && t.kind != LEX_END && n < LANGUAGES_MAX; lex_next(&l, &t)) {
        if (t.kind == LEX_ATOM)
            tags[n++] = mime_pb(t.text);
    }
    h->part->n_language = n;
    h->part->language = tags;
}

static void put_date(struct mime_header *h, struct str value)
{
    h->envelope->date = mime_pb(mime_unfold(h->job, value));
    int64_t seconds;
    int32_t zone;
    if (mime_date(value, &seconds, &zone)) {
        h->envelope->date_time = seconds;
        h->envelope->date_zone = zone;
    }
}

static void put_subject(struct mime_header *h, struct str value)
{
    struct str subject = mime_unfold(h->job, value);
    h->envelope->subject = mime_pb(subject);
    h->envelope->subject_text = mime_pb(mime_decoded(h->job, subject));
}

static void put_text(struct mime_header *h, const struct row *r, struct str value)
{
    uint8_t *base = r->of_part ? (uint8_t *)h->part : (uint8_t *)h->envelope;
    ProtobufCBinaryData b = mime_pb(mime_unfold(h->job, value));
    memcpy(base + r->text, &b, sizeof b);
}

static void put_list(struct mime_header *h, const struct row *r, struct str value)
{
    uint8_t *base = (uint8_t *)h->envelope;
    struct addr_list to = {(size_t *)(void *)(base + r->n_list),
                           (Thurn__Address ***)(void *)(base + r->list)};
    mime_addresses(h->job, value, &h->addresses_left, to);
}

static void take(struct mime_header *h, size_t i, struct str value)
{
    const struct row *r = &rows[i];
    if (!r->of_part && !h->envelope)
        return;
    bool again = h->seen & (1U << i);
    h->seen |= 1U << i;
    if (r->list) /* of two To fields both are meant */
        put_list(h, r, value);
    else if (!again && r->put)
        r->put(h, value);
    else if (!again)
        put_text(h, r, value);
}

void mime_header_take(struct mime_header *h, const struct mime_field *f)
{
    if (!mime_is_utf8(f->whole))
        h->job->broken |= THURN__EMAIL__BROKEN__HEADER_8BIT;
    if (f->name.n == 0)
        h->job->broken |= THURN__EMAIL__BROKEN__BAD_HEADER_LINE;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (str_ieq(f->name, rows[i].name)) {
            take(h, i, f->value);
            return;
        }
    }
}
