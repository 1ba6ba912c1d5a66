/* Strings, flags, dates and sets as they stand in answers. No printf: listings pass here. */
#include "imap/wire/wire.h"

enum quoting { QUOTE_PLAIN = 0, QUOTE_ESCAPED = 1, QUOTE_NEVER = 2 }; /* bits */

/* The worst that one of the bytes asks for. */
static unsigned quoting_of(struct str s)
{
    static const uint8_t asks[256] = {
        [0] = QUOTE_NEVER,     ['\r'] = QUOTE_NEVER,   ['\n'] = QUOTE_NEVER,
        ['"'] = QUOTE_ESCAPED, ['\\'] = QUOTE_ESCAPED, [0x80 ... 0xFF] = QUOTE_NEVER,
    };
    unsigned all = QUOTE_PLAIN;
    for (size_t i = 0; i < s.n; i++)
        all |= asks[s.p[i]];
    return all;
}

static void print_escaped(struct buf *out, struct str s)
{
    buf_byte(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '"' && s.p[i] != '\\')
            continue;
        buf_put(out, str_sub(s, from, i));
        buf_byte(out, '\\');
        from = i;
    }
    buf_put(out, str_skip(s, from));
    buf_byte(out, '"');
}

static void print_literal(struct buf *out, struct str s)
{
    buf_byte(out, '{');
    buf_decimal(out, s.n);
    buf_put(out, STR("}\r\n"));
    buf_put(out, s);
}

void wire_print_string(struct buf *out, struct str s)
{
    unsigned quoting = quoting_of(s);
    if (quoting & QUOTE_NEVER) {
        print_literal(out, s);
    } else if (quoting) {
        print_escaped(out, s);
    } else {
        buf_byte(out, '"');
        buf_put(out, s);
        buf_byte(out, '"');
    }
}

void wire_print_nstring(struct buf *out, struct str s)
{
    if (s.n)
        wire_print_string(out, s);
    else
        buf_put(out, STR("NIL"));
}

void wire_print_astring(struct buf *out, struct str s)
{
    bool bare = s.n > 0 && !str_ieq(s, STR("NIL"));
    for (size_t i = 0; bare && i < s.n; i++)
        bare = wire_is_astring_char(s.p[i]);
    if (bare)
        buf_put(out, s);
    else
        wire_print_string(out, s);
}

static uint8_t *put_digits(uint8_t *p, uint32_t v, unsigned n)
{
    for (unsigned i = n; i > 0; i--, v /= 10)
        p[i - 1] = (uint8_t)('0' + v % 10);
    return p + n;
}

/* What every row of a listing has is put into a short run of bytes first, then added at once: one
 * call of the buffer instead of one for each piece. */
static uint8_t *put(uint8_t *p, struct str s)
{
    memcpy(p, s.p, s.n);
    return p + s.n;
}

static uint8_t *put_decimal(uint8_t *p, uint32_t v)
{
    unsigned n = 1;
    for (uint64_t limit = 10; limit <= v; limit *= 10)
        n++;
    return put_digits(p, v, n);
}

void wire_print_row_head(struct buf *out, uint32_t seq)
{
    uint8_t text[32];
    uint8_t *p = put(text, STR("* "));
    p = put_decimal(p, seq);
    p = put(p, STR(" FETCH ("));
    buf_put(out, str_of(text, (size_t)(p - text)));
}

static void print_keywords(struct buf *out, uint64_t keywords, const struct imap_view_names *names,
                           bool first)
{
    for (size_t i = 0; keywords && i < names->n; i++, keywords >>= 1) {
        if (!(keywords & 1))
            continue;
        if (!first)
            buf_byte(out, ' ');
        buf_put(out, names->names[i]);
        first = false;
    }
}

void wire_print_flags(struct buf *out, uint32_t system, uint64_t keywords,
                      const struct imap_view_names *names)
{
    uint8_t text[64], *p = text; /* all system flags and ")" need 51 bytes */
    for (size_t i = 0; i < ARRAY_LEN(wire_system_flags); i++)
        if (system & wire_system_flags[i].bit)
            p = put(p, wire_system_flags[i].name);
    bool none = p == text;
    text[0] = '('; /* in place of the first flag's space */
    p += none;
    if (keywords) {
        buf_put(out, str_of(text, (size_t)(p - text)));
        print_keywords(out, keywords, names, none);
        p = text;
    }
    *p++ = ')';
    buf_put(out, str_of(text, (size_t)(p - text)));
}

struct date {
    uint32_t year;
    unsigned month; /* 0 to 11 */
    uint32_t day;
};

/* The Gregorian date of a day counted from 1970-01-01, at most 9999-12-31 and at least 0000-03-01;
 * years are counted from March, so that the day that leap years add is their last. */
static struct date date_of(int64_t days)
{
    uint64_t of_era = (uint64_t)(days + 719468);
    uint64_t cycle = of_era / 146097, day = of_era % 146097;
    uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    uint64_t of_year = day - (365 * year + year / 4 - year / 100);
    uint64_t from_march = (5 * of_year + 2) / 153;
    return (struct date){
        .year = (uint32_t)(cycle * 400 + year + (from_march >= 10)),
        .month = (unsigned)((from_march + 2) % 12),
        .day = (uint32_t)(of_year - (153 * from_march + 2) / 5 + 1),
    };
}

void wire_print_date_time(struct buf *out, int64_t seconds)
{
    static const char months[] = "-Jan--Feb--Mar--Apr--May--Jun--Jul--Aug--Sep--Oct--Nov--Dec-";
    static const int64_t first = -62162035200, last = 253402300799; /* 0000-03-01, 9999-12-31 */
    seconds = MAX(first, MIN(last, seconds));
    int64_t days = (seconds - (seconds < 0 ? 86399 : 0)) / 86400;
    uint32_t of_day = (uint32_t)(seconds - days * 86400);
    struct date d = date_of(days);
    uint8_t text[28], *p = text;
    *p++ = '"';
    p = put_digits(p, d.day, 2);
    if (d.day < 10)
        p[-2] = ' ';
    memcpy(p, months + (size_t)d.month * 5, 5);
    p = put_digits(p + 5, d.year, 4);
    *p++ = ' ';
    p = put_digits(p, of_day / 3600, 2);
    *p++ = ':';
    p = put_digits(p, of_day / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, of_day % 60, 2);
    memcpy(p, " +0000\"", 7);
    check(p + 7 == text + sizeof text);
    buf_put(out, str_of(text, sizeof text));
}

void wire_print_ranges(struct buf *out, Thurn__NumRange *const *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_byte(out, ',');
        buf_decimal(out, ranges[i]->first);
        if (ranges[i]->last == ranges[i]->first)
            continue;
        buf_byte(out, ':');
        buf_decimal(out, ranges[i]->last);
    }
}
