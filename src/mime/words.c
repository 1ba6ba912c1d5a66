/* Encoded words in header fields, RFC 2047, and as they occur. */
#include "mime/mime_int.h"

struct words {
    struct buf *out;
    struct buf pending; /* decoded bytes of the words read last, all in `charset` */
    struct str charset;
    bool after_word; /* nothing but white space since a word */
};

static void words_flush(struct words *w)
{
    size_t from = w->out->n;
    (void)mime_charset_convert(w->charset, buf_str(&w->pending), w->out);
    for (size_t i = from; i < w->out->n; i++) { /* a word cannot bring line ends into a header */
        uint8_t *c = w->out->p + w->out->off + i;
        *c = *c < ' ' || *c == 127 ? ' ' : *c;
    }
    buf_clear(&w->pending);
}

static bool is_blank(struct str s)
{
    return str_trim(s).n == 0;
}

static void put_plain(struct words *w, struct str s)
{
    if (s.n == 0 || (w->after_word && is_blank(s)))
        return;
    words_flush(w);
    w->after_word = false;
    (void)mime_charset_convert((struct str){0}, s, w->out);
}

/* RFC 2047 section 4.2. */
static void put_q(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        int byte = text.p[i] == '=' ? mime_hex_byte(text, i + 1) : -1;
        if (byte >= 0) {
            buf_byte(out, (uint8_t)byte);
            i += 2;
        } else {
            buf_byte(out, text.p[i] == '_' ? ' ' : text.p[i]);
        }
    }
}

struct word {
    struct str charset, text;
    bool base64;
};

/* Takes "=?charset?B?text?=" or leaves the cursor bad. RFC 2231 adds "*language" to the charset. */
static bool take_word(struct cur *in, struct word *out)
{
    cur_skip(in, 2);
    struct str charset = cur_until(in, '?');
    uint8_t encoding = byte_lower(cur_byte(in));
    (void)cur_expect(in, '?');
    out->text = cur_until(in, '?');
    (void)cur_expect(in, '=');
    out->charset = str_sub(charset, 0, str_find_byte(charset, '*', 0));
    out->base64 = encoding == 'b';
    bool blank = str_find_byte(charset, ' ', 0) < charset.n;
    return !in->bad && charset.n > 0 && !blank && (encoding == 'b' || encoding == 'q');
}

/* Words in the same charset are joined before they are converted: characters are split between
 * words although RFC 2047 section 5 forbids it. */
static void put_word(struct words *w, const struct word *word)
{
    if (w->pending.n && !str_ieq(word->charset, w->charset))
        words_flush(w);
    w->charset = word->charset;
    if (word->base64)
        (void)mime_base64(&w->pending, word->text);
    else
        put_q(&w->pending, word->text);
    w->after_word = true;
}

static void decode_words(struct words *w, struct str s)
{
    size_t plain = 0, at = 0;
    for (;;) {
        at = str_find(s, STR("=?"), at);
        if (at == s.n)
            break;
        struct cur in = {.s = s, .at = at};
        struct word word;
        if (!take_word(&in, &word)) {
            at += 2;
            continue;
        }
        put_plain(w, str_sub(s, plain, at));
        put_word(w, &word);
        plain = at = in.at;
    }
    struct str rest = str_skip(s, plain);
    words_flush(w);
    w->after_word = false;
    put_plain(w, rest);
}

bool mime_needs_decoding(struct str s)
{
    return str_find(s, STR("=?"), 0) < s.n || !mime_is_utf8(s);
}

struct str mime_decode_words(struct str s, struct arena *a)
{
    if (!mime_needs_decoding(s))
        return s;
    struct buf out CLEANUP(buf_free) = {0};
    struct words w = {.out = &out};
    decode_words(&w, s);
    buf_free(&w.pending);
    if (out.n == 0)
        return STR("");
    return str_eq(buf_str(&out), s) ? s : str_dup(a, buf_str(&out));
}

struct str mime_decode_text(struct mime_job *j, struct str s)
{
    if (s.n == 0)
        return s;
    struct str decoded = mime_decode_words(s, j->arena);
    if (decoded.p == NULL)
        j->full = true;
    return decoded;
}

struct str mime_decoded(struct mime_job *j, struct str s)
{
    struct str decoded = mime_decode_text(j, s);
    return str_eq(decoded, s) ? (struct str){0} : decoded;
}
