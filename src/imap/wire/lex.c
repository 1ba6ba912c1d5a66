/* Atoms, strings, numbers: the words that commands are made of (RFC 3501 section 9). */
#include "imap/wire/wire.h"

bool wire_is_atom_char(uint8_t c)
{
    switch (c) {
    case '(':
    case ')':
    case '{':
    case '%':
    case '*':
    case '"':
    case '\\':
    case ']': return false;
    default: return c > ' ' && c < 0x7f;
    }
}

bool wire_is_astring_char(uint8_t c)
{
    return c == ']' || wire_is_atom_char(c);
}

static bool is_list_char(uint8_t c)
{
    return c == '%' || c == '*' || wire_is_astring_char(c);
}

bool wire_fail(struct wire_parse *w, const char *error)
{
    if (!w->error)
        w->error = error;
    return cur_fail(&w->c);
}

void *wire_new_array(struct wire_parse *w, size_t n, size_t size)
{
    void *p = arena_calloc(w->a, n, size);
    if (!p)
        (void)wire_fail(w, "The command is too large");
    return p;
}

void *wire_new_message(struct wire_parse *w, const ProtobufCMessageDescriptor *type)
{
    void *m = wire_new_array(w, 1, type->sizeof_message);
    if (m)
        protobuf_c_message_init(type, m);
    return m;
}

bool wire_expect(struct wire_parse *w, uint8_t b, const char *error)
{
    return cur_accept(&w->c, b) || wire_fail(w, error);
}

bool wire_space(struct wire_parse *w)
{
    return wire_expect(w, ' ', cur_end(&w->c) ? "Arguments are missing" : "A space is missing");
}

static struct str word(struct wire_parse *w, bool (*in_set)(uint8_t), const char *error)
{
    struct str s = cur_take_while(&w->c, in_set);
    if (s.n == 0)
        (void)wire_fail(w, error);
    return s;
}

struct str wire_atom(struct wire_parse *w)
{
    return word(w, wire_is_atom_char, "An atom is missing");
}

/* The content of a quoted string without its backslashes. */
static struct str unescape(struct wire_parse *w, struct str s)
{
    uint8_t *p = WIRE_NEW_ARRAY(w, uint8_t, s.n);
    if (!p)
        return (struct str){NULL, 0};
    size_t n = 0;
    for (struct cur c = cur_of(s); !cur_end(&c);) {
        (void)cur_accept(&c, '\\');
        p[n++] = cur_byte(&c);
    }
    return str_of(p, n);
}

/* Bytes above 127 are taken: clients send passwords and search words so, whatever the grammar. */
static struct str quoted(struct wire_parse *w)
{
    size_t from = w->c.at;
    bool escaped = false;
    for (;;) {
        int c = cur_peek(&w->c);
        if (c < 0 || c == '\r' || c == '\n' || c == 0) {
            (void)wire_fail(w, "A quoted string is not ended");
            return (struct str){NULL, 0};
        }
        cur_skip(&w->c, 1);
        if (c == '"')
            break;
        if (c != '\\')
            continue;
        escaped = true;
        if (!cur_accept(&w->c, '"') && !cur_accept(&w->c, '\\'))
            (void)wire_fail(w, "In a quoted string only \" and \\ may follow a \\");
    }
    struct str s = wire_bad(w) ? (struct str){NULL, 0} : str_sub(w->c.s, from, w->c.at - 1);
    return escaped ? unescape(w, s) : s;
}

/* The collector has put the bytes in place behind the announcement. */
static struct str literal(struct wire_parse *w)
{
    uint64_t n = cur_decimal(&w->c, SIZE_MAX);
    (void)cur_accept(&w->c, '+');
    bool announced = cur_expect(&w->c, '}');
    (void)cur_accept(&w->c, '\r');
    announced = announced && cur_expect(&w->c, '\n');
    struct str s = cur_take(&w->c, (size_t)n);
    if (!announced || wire_bad(w))
        (void)wire_fail(w, "A literal is malformed");
    else if (str_find_byte(s, 0, 0) < s.n)
        (void)wire_fail(w, "A literal that is no message may not hold NUL");
    return wire_bad(w) ? (struct str){NULL, 0} : s;
}

static bool accept_string(struct wire_parse *w, struct str *out)
{
    if (cur_accept(&w->c, '"'))
        *out = quoted(w);
    else if (cur_accept(&w->c, '{'))
        *out = literal(w);
    else
        return false;
    return true;
}

struct str wire_string(struct wire_parse *w)
{
    struct str s = {NULL, 0};
    if (!accept_string(w, &s))
        (void)wire_fail(w, "A string is missing");
    return s;
}

struct str wire_astring(struct wire_parse *w)
{
    struct str s;
    return accept_string(w, &s) ? s : word(w, wire_is_astring_char, "A string is missing");
}

struct str wire_list_pattern(struct wire_parse *w)
{
    struct str s;
    return accept_string(w, &s) ? s : word(w, is_list_char, "A mailbox pattern is missing");
}

uint32_t wire_number(struct wire_parse *w)
{
    uint64_t v = cur_decimal(&w->c, UINT32_MAX);
    if (wire_bad(w))
        (void)wire_fail(w, "A number is missing or too large");
    return (uint32_t)v;
}

uint32_t wire_nz_number(struct wire_parse *w)
{
    uint32_t v = wire_number(w);
    if (v == 0)
        (void)wire_fail(w, "A number may not be 0 here");
    return v;
}
