/* The text of a message: what SEARCH looks at, the preview, and whether there are attachments. */
#include "mime/mime_int.h"

enum { PREVIEW_MAX = 256, PREVIEW_INPUT = 16 * 1024 };

static struct str param(Thurn__Param *const *params, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(mime_str(params[i]->name), name))
            return mime_str(params[i]->value);
    }
    return (struct str){0};
}

static bool is(ProtobufCBinaryData b, struct str s)
{
    return str_eq(mime_str(b), s);
}

static bool is_leaf(const Thurn__Part *p)
{
    return !p->multipart && !p->message;
}

/* ----------------------------------------------------------------------------- text for search */

enum encoding { IDENTITY, BASE64, QUOTED_PRINTABLE, OPAQUE };

static enum encoding encoding_of(const Thurn__Part *p)
{
    static const struct {
        struct str name;
        enum encoding encoding;
    } names[] = {
        {STR_INIT("7bit"), IDENTITY},
        {STR_INIT("8bit"), IDENTITY},
        {STR_INIT("binary"), IDENTITY},
        {STR_INIT("base64"), BASE64},
        {STR_INIT("7-bit"), IDENTITY},
        {STR_INIT("8-bit"), IDENTITY},
        {STR_INIT("quoted-printable"), QUOTED_PRINTABLE},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (is(p->encoding, names[i].name))
            return names[i].encoding;
    }
    return OPAQUE; /* RFC 2045 section 6.4: not known, so not text */
}

/* Text parts, and messages that are not taken apart: delivery reports (RFC 3464) and the like. */
static bool has_text(const Thurn__Part *p)
{
    return is_leaf(p) && p->end_offset > p->body_offset &&
           (is(p->type, STR("text")) || is(p->type, STR("message")));
}

static bool bytes_are_text(struct str charset, struct str bytes)
{
    switch (mime_charset_class(charset)) {
    case CHARSET_UTF8: return mime_is_utf8(bytes);
    case CHARSET_ASCII: return mime_is_ascii(bytes);
    case CHARSET_OTHER: break;
    }
    return false;
}

/* The most of an encoded body that can matter for so much text: no encoding is longer than that. */
static struct str clamp(struct str body, size_t room)
{
    size_t most;
    if (__builtin_mul_overflow(room, (size_t)4, &most) || most > body.n)
        return body;
    return str_sub(body, 0, most);
}

static void part_text(struct mime_job *j, Thurn__Part *p, struct buf *decoded, struct buf *text)
{
    struct str body = str_sub(j->msg, p->body_offset, p->end_offset);
    struct str charset = param(p->params, p->n_params, STR("charset"));
    enum encoding encoding = encoding_of(p);
    if (encoding == OPAQUE)
        return;
    if (encoding == IDENTITY && bytes_are_text(charset, body)) {
        p->text_is_body = true;
        return;
    }
    struct str bytes = clamp(body, text->max - text->n + 1);
    buf_clear(decoded);
    bool good = true;
    if (encoding == BASE64)
        good = mime_base64(decoded, bytes);
    else if (encoding == QUOTED_PRINTABLE)
        good = mime_quoted_printable(decoded, bytes);
    if (encoding != IDENTITY)
        bytes = buf_str(decoded);
    size_t from = text->n;
    if (!mime_charset_convert(charset, bytes, text))
        j->broken |= THURN__EMAIL__BROKEN__UNKNOWN_CHARSET;
    if (!good)
        j->broken |= THURN__EMAIL__BROKEN__BAD_ENCODING;
    p->text_offset = (uint32_t)from;
    p->text_length = (uint32_t)(text->n - from);
}

/* Of an embedded message, whose own part is `inner`: the values of its header that cannot be
 * compared as they stand. */
static void header_text(struct mime_job *j, Thurn__Part *p, const Thurn__Part *inner,
                        struct buf *text)
{
    struct arena a CLEANUP(arena_free);
    struct cur in = {.s = str_sub(j->msg, 0, inner->body_offset), .at = inner->header_offset};
    struct mime_field f;
    arena_init(&a, 8 * (size_t)j->limits->header_bytes);
    p->text_offset = (uint32_t)text->n;
    while (!text->bad && mime_field_next(&in, &f)) {
        if (!mime_needs_decoding(f.value))
            continue;
        mime_put_utf8(text, mime_decode_words(mime_unfold_in(&a, f.value), &a));
        buf_byte(text, '\n');
        arena_clear(&a);
    }
    p->text_length = (uint32_t)text->n - p->text_offset;
}

/* -------------------------------------------------------------------------------------- preview */

/* Adds a byte of readable text; white space is brought together. */
static void preview_byte(struct buf *out, uint8_t c)
{
    bool space = c <= ' ' || c == 127;
    if (!space)
        buf_byte(out, c);
    else if (out->n && out->p[out->off + out->n - 1] != ' ')
        buf_byte(out, ' ');
}

/* The character an entity stands for at the cursor ("amp;"); takes it. 0: none. */
static uint32_t take_entity(struct cur *in)
{
    static const struct {
        struct str name;
        uint32_t c;
    } names[] = {{STR_INIT("amp;"), '&'},  {STR_INIT("lt;"), '<'},     {STR_INIT("gt;"), '>'},
                 {STR_INIT("quot;"), '"'}, {STR_INIT("nbsp;"), ' '},   {STR_INIT("apos;"), '\''},
                 {STR_INIT("zwnj;"), ' '}, {STR_INIT("shy;"), 0x00AD}, {STR_INIT("copy;"), 0xA9}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (cur_accept_str(in, names[i].name))
            return names[i].c;
    }
    struct cur number = *in;
    if (!cur_accept(&number, '#'))
        return 0;
    uint32_t c = (uint32_t)cur_decimal(&number, 0x10FFFF);
    (void)cur_expect(&number, ';');
    if (number.bad || c < ' ' || (c >= 0xD800 && c < 0xE000))
        return 0;
    *in = number;
    return c;
}

/* Skips a tag or comment behind its '<'; what <style> and <script> hold goes with it. */
static void skip_tag(struct cur *in)
{
    struct str rest = str_skip(in->s, in->at), end = STR(">");
    if (str_starts(rest, STR("!--")))
        end = STR("-->");
    else if (str_istarts(rest, STR("style")))
        end = STR("</style>");
    else if (str_istarts(rest, STR("script")))
        end = STR("</script>");
    else if (str_istarts(rest, STR("title")))
        end = STR("</title>");
    size_t at = 0;
    while (at < rest.n && !str_istarts(str_skip(rest, at), end))
        at++;
    cur_skip(in, MIN(at + end.n, rest.n));
}

static void preview_html(struct buf *out, struct str html)
{
    struct cur in = cur_of(html);
    while (!cur_end(&in) && out->n < PREVIEW_MAX + 4) {
        uint8_t c = cur_byte(&in);
        uint32_t entity = c == '&' ? take_entity(&in) : 0;
        if (c == '<') {
            skip_tag(&in);
            preview_byte(out, ' ');
        } else if (entity > ' ') {
            mime_put_char(out, entity);
        } else {
            preview_byte(out, entity ? ' ' : c);
        }
    }
}

static void preview_plain(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n && out->n < PREVIEW_MAX + 4; i++)
        preview_byte(out, s.p[i]);
}

/* The first so many bytes, without a character cut in two. */
static struct str cut_utf8(struct str s, size_t most)
{
    if (s.n <= most)
        return s;
    while (most > 0 && (s.p[most] & 0xC0) == 0x80)
        most--;
    return str_sub(s, 0, most);
}

static struct str text_of(const struct mime_job *j, const Thurn__Part *p, const struct buf *text)
{
    if (p->text_is_body)
        return str_sub(j->msg, p->body_offset, p->end_offset);
    return str_sub(buf_str(text), p->text_offset, (size_t)p->text_offset + p->text_length);
}

static bool is_attached(const Thurn__Part *p)
{
    return is(p->disposition, STR("attachment"));
}

/* The first plain text that is not attached, else the first HTML. */
static void preview(struct mime_job *j, const struct buf *text, Thurn__Email *email)
{
    struct buf out CLEANUP(buf_free) = {0};
    for (struct mime_node *n = j->first; n && out.n == 0; n = n->next) {
        if (has_text(&n->part) && is(n->part.subtype, STR("plain")) && !is_attached(&n->part))
            preview_plain(&out, text_of(j, &n->part, text));
    }
    for (struct mime_node *n = j->first; n && out.n == 0; n = n->next) {
        if (has_text(&n->part) && is(n->part.subtype, STR("html")) && !is_attached(&n->part))
            preview_html(&out, cut_utf8(text_of(j, &n->part, text), PREVIEW_INPUT));
    }
    buf_cut(&out, str_trim(cut_utf8(buf_str(&out), PREVIEW_MAX)).n);
    email->preview = mime_pb(mime_job_keep(j, &out));
}

/* --------------------------------------------------------------------------------- attachments */

static bool has_filename(const Thurn__Part *p)
{
    return param(p->disposition_params, p->n_disposition_params, STR("filename")).n ||
           param(p->params, p->n_params, STR("name")).n;
}

static bool is_signature(const Thurn__Part *p)
{
    return is(p->subtype, STR("pgp-signature")) || is(p->subtype, STR("pkcs7-signature")) ||
           is(p->subtype, STR("x-pkcs7-signature"));
}

/* Whether a reader would call it an attachment: not the text, not what the text shows inline. */
static bool is_attachment(const struct mime_node *n)
{
    const Thurn__Part *p = &n->part;
    if (p->multipart || is_signature(p))
        return false;
    if (is_attached(p))
        return true;
    if (is(p->type, STR("text")))
        return has_filename(p) && !is(p->disposition, STR("inline"));
    bool related = n->parent && is(n->parent->part.subtype, STR("related"));
    bool shown = is(p->disposition, STR("inline")) && is(p->type, STR("image"));
    return !shown && !(related && p->content_id.len > 0);
}

void mime_texts(struct mime_job *j, struct buf *text, Thurn__Email *email)
{
    struct buf decoded CLEANUP(buf_free) = {0};
    for (struct mime_node *n = j->first; n; n = n->next) {
        if (has_text(&n->part))
            part_text(j, &n->part, &decoded, text);
        if (n->part.message && n->next)
            header_text(j, &n->part, &n->next->part, text);
        email->has_attachment = email->has_attachment || is_attachment(n);
    }
    if (text->bad)
        j->broken |= THURN__EMAIL__BROKEN__LIMIT_REACHED;
    preview(j, text, email);
}
