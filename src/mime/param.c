/*
 * Parameters of Content-Type and Content-Disposition: RFC 2045 section 5.1; continued and encoded
 * ones of RFC 2231; and what is seen in their place (no quotes, RFC 2047 words, open quotes).
 */
#include "mime/mime_int.h"

enum { SEGMENTS_MAX = 128, INDEX_MAX = 999 };

/* One `name=value` as it stands. "name*1*" is segment 1 of "name", encoded. */
struct segment {
    struct str base;
    int index; /* -1: not numbered */
    bool encoded, quoted, done;
    struct str raw; /* quoted: without the quotes, escapes left in */
};

static bool is_separator(uint8_t c)
{
    return c <= ' ' || c == ';' || c == 127;
}

static bool is_name(uint8_t c)
{
    return !is_separator(c) && c != '=';
}

static bool is_value(uint8_t c)
{
    return c != ';';
}

static bool is_blank(uint8_t c)
{
    return c <= ' ';
}

/* "name", "name*", "name*0", "name*0*". */
static void split_name(struct str name, struct segment *s)
{
    s->index = -1;
    if (str_ends(name, STR("*"))) {
        s->encoded = true;
        name = str_sub(name, 0, name.n - 1);
    }
    size_t star = str_find_byte(name, '*', 0);
    struct cur number = cur_of(str_skip(name, star + 1));
    uint64_t index = cur_decimal(&number, INDEX_MAX);
    if (star < name.n && cur_end(&number) && !number.bad) {
        s->index = (int)index;
        name = str_sub(name, 0, star);
    }
    s->base = name;
}

/* Where the quoted string ends whose content begins at the cursor; without an end, false. */
static bool take_quoted(struct cur *in, struct str *out)
{
    for (size_t i = in->at; i < in->s.n; i++) {
        if (in->s.p[i] == '\\') {
            i++;
        } else if (in->s.p[i] == '"') {
            *out = cur_take(in, i - in->at);
            cur_skip(in, 1);
            return true;
        }
    }
    return false;
}

/* An unquoted value goes to the semicolon; a comment behind white space is not its part. */
static struct str take_bare(struct cur *in)
{
    struct str v = cur_take_while(in, is_value);
    size_t comment = str_find(v, STR(" ("), 0);
    return str_trim(str_sub(v, 0, comment));
}

/* False at the end of the field. `open` is set once a quote without its end has been met. */
static bool take_segment(struct cur *in, bool *open, struct segment *out)
{
    *out = (struct segment){0};
    (void)cur_take_while(in, is_separator);
    if (cur_end(in))
        return false;
    size_t start = in->at;
    split_name(cur_take_while(in, is_name), out);
    (void)cur_take_while(in, is_blank);
    if (!cur_accept(in, '=')) {
        out->base = (struct str){0};
        if (in->at == start)
            cur_skip(in, 1);
        return true;
    }
    (void)cur_take_while(in, is_blank);
    if (cur_accept(in, '"')) {
        out->quoted = !*open && take_quoted(in, &out->raw);
        *open = !out->quoted;
    }
    if (!out->quoted)
        out->raw = take_bare(in);
    return true;
}

static void put_percent(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        int byte = s.p[i] == '%' ? mime_hex_byte(s, i + 1) : -1;
        buf_byte(out, byte >= 0 ? (uint8_t)byte : s.p[i]);
        i += byte >= 0 ? 2 : 0;
    }
}

static void put_plain(struct buf *out, const struct segment *s)
{
    if (s->quoted) {
        lex_unquote(out, s->raw);
        return;
    }
    for (size_t i = 0; i < s->raw.n; i++) {
        uint8_t c = s->raw.p[i];
        if (c != '\r' && c != '\n')
            buf_byte(out, c ? c : ' ');
    }
}

/* Takes "charset'language'" from the front of an encoded value, RFC 2231 section 4. */
static struct str take_charset(struct str *value)
{
    struct cur in = cur_of(*value);
    struct str charset = cur_until(&in, '\'');
    (void)cur_until(&in, '\'');
    if (in.bad)
        return (struct str){0};
    *value = cur_rest(&in);
    return charset;
}

static struct segment *find_segment(struct segment *s, size_t n, struct str base, int index)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i].index == index && !s[i].done && str_ieq(s[i].base, base))
            return &s[i];
    }
    return NULL;
}

/* Controls would break the lines of those who print the value. */
static void buf_blank_controls(struct buf *b)
{
    for (size_t i = 0; i < b->n; i++) {
        uint8_t *c = b->p + b->off + i;
        *c = *c < ' ' || *c == 127 ? ' ' : *c;
    }
}

/* Segments 0, 1, ... or a single encoded one, as UTF-8. */
static struct str join_encoded(struct mime_job *j, struct segment *s, size_t n,
                               struct segment *first)
{
    struct buf bytes CLEANUP(buf_free) = {0};
    struct str charset = {0};
    bool encoded = false;
    int index = first->index;
    for (struct segment *p = first; p; p = find_segment(s, n, first->base, ++index)) {
        struct str value = p->raw;
        if (p == first && p->encoded)
            charset = take_charset(&value);
        if (p->encoded)
            put_percent(&bytes, value);
        else
            put_plain(&bytes, p);
        encoded = encoded || p->encoded;
        p->done = true;
        if (index < 0)
            break;
    }
    struct buf utf8 CLEANUP(buf_free) = {0};
    if (!encoded)
        return mime_decode_text(j, mime_job_keep(j, &bytes));
    if (!mime_charset_convert(charset, buf_str(&bytes), &utf8))
        j->broken |= THURN__EMAIL__BROKEN__UNKNOWN_CHARSET;
    buf_blank_controls(&utf8);
    return mime_job_keep(j, &utf8);
}

static struct str plain_value(struct mime_job *j, struct segment *s, bool verbatim)
{
    struct buf bytes CLEANUP(buf_free) = {0};
    put_plain(&bytes, s);
    struct str kept = mime_job_keep(j, &bytes);
    return verbatim ? kept : mime_decode_text(j, kept);
}

/* Marks all segments of the name as done. */
static void drop_name(struct segment *s, size_t n, struct str base)
{
    for (size_t i = 0; i < n; i++)
        s[i].done = s[i].done || str_ieq(s[i].base, base);
}

/* What the name of `s[at]` stands for, of all the ways in which it is given: encoded before plain,
 * the first of each. */
static struct str name_value(struct mime_job *j, struct segment *s, size_t n, size_t at)
{
    struct str base = s[at].base;
    struct segment *first = find_segment(s, n, base, 0);
    for (size_t i = at; i < n && !first; i++) {
        if (s[i].index < 0 && s[i].encoded && str_ieq(s[i].base, base))
            first = &s[i];
    }
    struct str value = first ? join_encoded(j, s, n, first)
                             : plain_value(j, &s[at], str_ieq(base, STR("boundary")));
    drop_name(s, n, base);
    return value;
}

void mime_params(struct mime_job *j, struct cur *in, struct param_list to)
{
    struct segment s[SEGMENTS_MAX];
    size_t n = 0;
    bool open = false;
    while (n < SEGMENTS_MAX && take_segment(in, &open, &s[n]))
        n += s[n].base.n > 0;
    if (!cur_end(in))
        j->broken |= THURN__EMAIL__BROKEN__LIMIT_REACHED;
    Thurn__Param **items = n ? mime_job_array(j, Thurn__Param *, n) : NULL;
    for (size_t i = 0; i < n && items; i++) {
        if (s[i].done)
            continue;
        Thurn__Param *p = mime_job_alloc(j, sizeof *p);
        if (!p)
            return;
        *p = (Thurn__Param)THURN__PARAM__INIT;
        p->name = mime_pb(mime_lower(j, s[i].base));
        struct str value = name_value(j, s, n, i);
        p->value = mime_pb(value);
        if (to.boundary && str_ieq(s[i].base, STR("boundary")))
            *to.boundary = value;
        items[(*to.n)++] = p;
    }
    *to.items = items;
}
