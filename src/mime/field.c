#include "mime/mime_int.h"

static bool is_wsp(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Printable ASCII except the colon, RFC 5322 section 2.2. */
static bool is_name_byte(uint8_t c)
{
    return c > ' ' && c < 127 && c != ':';
}

/* Behind the line end of the line that `at` is in; the end of the slice if it has none. */
static size_t line_end(struct str s, size_t at)
{
    size_t lf = str_find_byte(s, '\n', at);
    return lf < s.n ? lf + 1 : s.n;
}

bool mime_field_next(struct cur *header, struct mime_field *out)
{
    int c = cur_peek(header);
    if (c < 0 || c == '\n' || (c == '\r' && cur_peek_at(header, 1) == '\n'))
        return false;
    size_t end = line_end(header->s, header->at);
    while (end < header->s.n && is_wsp(header->s.p[end]))
        end = line_end(header->s, end);
    struct str whole = cur_take(header, end - header->at);

    struct cur in = cur_of(whole);
    struct str name = cur_take_while(&in, is_name_byte);
    (void)cur_take_while(&in, is_wsp);
    if (name.n == 0 || !cur_accept(&in, ':'))
        *out = (struct mime_field){.value = whole, .whole = whole};
    else
        *out = (struct mime_field){.name = name, .value = cur_rest(&in), .whole = whole};
    return true;
}

bool mime_is_ascii(struct str s)
{
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t eight;
        memcpy(&eight, s.p + i, 8);
        if (eight & 0x8080808080808080U)
            return false;
    }
    for (; i < s.n; i++) {
        if (s.p[i] & 0x80)
            return false;
    }
    return true;
}

bool mime_is_utf8(struct str s)
{
    return mime_is_ascii(s) || str_is_utf8(s);
}

static bool needs_unfolding(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' || s.p[i] == '\r' || s.p[i] == 0)
            return true;
    }
    return false;
}

struct str mime_unfold_in(struct arena *a, struct str value)
{
    struct str s = str_trim(value);
    if (!needs_unfolding(s))
        return s.n ? s : STR("");
    uint8_t *p = arena_alloc(a, s.n);
    if (!p)
        return (struct str){0};
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c == '\n' || (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n'))
            continue;
        p[n++] = c == '\r' || c == 0 ? ' ' : c;
    }
    s = str_trim(str_of(p, n));
    return s.n ? s : STR("");
}

struct str mime_unfold(struct mime_job *j, struct str value)
{
    struct str s = mime_unfold_in(j->arena, value);
    j->full = j->full || !s.p;
    return s;
}
