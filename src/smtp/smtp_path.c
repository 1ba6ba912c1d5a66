#include "smtp/smtp_path.h"

#include "smtp/smtp_wire.h"

/* atext of RFC 5322 section 3.2.3, with UTF-8 of RFC 6531 section 3.3 */
static bool path_is_atext(uint8_t c)
{
    const struct str others = STR("!#$%&'*+-/=?^_`{|}~");
    return byte_is_alpha(c) || byte_is_digit(c) || c > 127 ||
           str_find_byte(others, c, 0) < others.n;
}

/* Dots may stand anywhere: addresses like "a..b@" and "a.@" are in real use, and the server that
 * relays them to us has taken them already. */
static bool path_is_dot_atext(uint8_t c)
{
    return c == '.' || path_is_atext(c);
}

/* The underscore is not of the standard, but of the world. A U-label is taken here to be told from
 * what is malformed. */
static bool path_is_domain_byte(uint8_t c)
{
    return byte_is_alpha(c) || byte_is_digit(c) || c == '-' || c == '.' || c == '_' || c > 127;
}

/* dcontent of RFC 5321 section 4.1.3 */
static bool path_is_literal_byte(uint8_t c)
{
    return c >= 33 && c <= 126 && c != '[' && c != '\\' && c != ']';
}

/* Labels are not empty and have no hyphen at either end. */
static bool path_labels_ok(struct str domain)
{
    struct cur c = cur_of(domain);
    uint8_t before = '.';
    while (!cur_end(&c)) {
        uint8_t b = cur_byte(&c);
        if ((b == '.' || b == '-') && before == '.')
            return false;
        if (b == '.' && before == '-')
            return false;
        before = b;
    }
    return before != '.' && before != '-';
}

/* A name or an address literal, as it stands. */
static struct str path_take_domain(struct cur *c)
{
    size_t from = c->at;
    if (cur_accept(c, '[')) {
        if (cur_take_while(c, path_is_literal_byte).n == 0)
            cur_fail(c);
        cur_expect(c, ']');
        return str_sub(c->s, from, c->at);
    }
    struct str name = cur_take_while(c, path_is_domain_byte);
    if (!path_labels_ok(name))
        cur_fail(c);
    return name;
}

/* "@one,@two:" before the address: to be accepted and ignored. */
static void path_skip_route(struct cur *c)
{
    if (cur_peek(c) != '@')
        return;
    do {
        cur_expect(c, '@');
        (void)path_take_domain(c);
    } while (cur_accept(c, ','));
    cur_expect(c, ':');
}

/* The content of a quoted string without quotes and backslashes, into the buffer. */
static void path_take_quoted(struct cur *c, struct buf *out)
{
    cur_expect(c, '"');
    while (!c->bad && !cur_accept(c, '"')) {
        uint8_t b = cur_byte(c);
        if (b == '\\')
            b = cur_byte(c);
        if (b < 32 || b == 127)
            cur_fail(c);
        buf_byte(out, b);
    }
}

static bool path_is_ascii(struct str s)
{
    struct cur c = cur_of(s);
    bool ascii = true;
    while (!cur_end(&c))
        ascii = cur_byte(&c) < 128 && ascii;
    return ascii;
}

static struct str path_dup_lower(struct arena *a, struct str s)
{
    uint8_t *p = s.n ? arena_alloc(a, s.n) : NULL;
    if (!p)
        return (struct str){0};
    struct cur c = cur_of(s);
    for (size_t i = 0; i < s.n; i++)
        p[i] = byte_lower(cur_byte(&c));
    return str_of(p, s.n);
}

enum smtp_path_result smtp_path_take(struct cur *c, struct arena *a, struct smtp_path *out)
{
    struct buf local CLEANUP(buf_free) = {0};
    struct str domain = {0};
    cur_expect(c, '<');
    bool empty = cur_accept(c, '>');
    if (!empty) {
        path_skip_route(c);
        if (cur_peek(c) == '"')
            path_take_quoted(c, &local);
        else
            buf_put(&local, cur_take_while(c, path_is_dot_atext));
        if (cur_accept(c, '@'))
            domain = path_take_domain(c);
        else if (!local.n)
            cur_fail(c);
        cur_expect(c, '>');
    }
    if (c->bad)
        return SMTP_PATH_MALFORMED;
    if (!path_is_ascii(domain))
        return SMTP_PATH_U_LABEL;
    if (local.n > SMTP_LOCAL_MAX || domain.n > SMTP_DOMAIN_MAX)
        return SMTP_PATH_TOO_LONG;
    struct smtp_path path = {str_dup(a, buf_str(&local)), path_dup_lower(a, domain)};
    if (path.local.n != local.n || path.domain.n != domain.n)
        return SMTP_PATH_NO_ROOM;
    *out = path;
    return SMTP_PATH_OK;
}
