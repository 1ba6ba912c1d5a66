#include "mime/mime_int.h"

/* The date's words and numbers, one after the other; comments are left out. */
struct date {
    struct lex lex;
    struct lex_token t; /* the next one */
};

static void date_next(struct date *d)
{
    do
        lex_next(&d->lex, &d->t);
    while (d->t.kind == LEX_COMMENT ||
           (d->t.kind == LEX_SPECIAL && (d->t.special == ',' || d->t.special == '-')));
}

static bool take_number(struct date *d, size_t max_digits, int64_t *out)
{
    uint64_t v;
    if (d->t.kind != LEX_ATOM || d->t.text.n > max_digits || str_to_u64(d->t.text, &v).code)
        return false;
    *out = (int64_t)v;
    date_next(d);
    return true;
}

/* The index of the name that the word begins with (three letters), or -1. */
static int name_index(struct str word, struct str names)
{
    for (size_t i = 0; word.n >= 3 && i + 3 <= names.n; i += 3) {
        if (str_ieq(str_sub(word, 0, 3), str_sub(names, i, i + 3)))
            return (int)(i / 3);
    }
    return -1;
}

static bool take_month(struct date *d, int64_t *out)
{
    int i = name_index(d->t.text, STR("janfebmaraprmayjunjulaugsepoctnovdec"));
    if (d->t.kind != LEX_ATOM || i < 0)
        return false;
    *out = i + 1;
    date_next(d);
    return true;
}

static bool take_year(struct date *d, int64_t *out)
{
    size_t digits = d->t.text.n;
    if (!take_number(d, 4, out))
        return false;
    if (digits <= 2) /* RFC 5322 section 4.3 */
        *out += *out < 50 ? 2000 : 1900;
    else if (digits == 3)
        *out += 1900;
    return *out >= 1900;
}

static bool is_char(const struct date *d, uint8_t c)
{
    return d->t.kind == LEX_SPECIAL && d->t.special == c;
}

/* hh:mm or hh:mm:ss, in seconds. */
static bool take_time(struct date *d, int64_t *out)
{
    int64_t h, m, s = 0;
    if (!take_number(d, 2, &h) || !is_char(d, ':'))
        return false;
    date_next(d);
    if (!take_number(d, 2, &m))
        return false;
    if (is_char(d, ':')) {
        date_next(d);
        struct str digits = str_sub(d->t.text, 0, str_find_byte(d->t.text, '.', 0));
        d->t.text = digits; /* fractions occur, and are left out */
        if (!take_number(d, 2, &s))
            return false;
    }
    *out = h * 3600 + m * 60 + s;
    return h < 24 && m < 60 && s <= 60;
}

static int32_t zone_of_digits(struct str s)
{
    uint64_t v;
    if (s.n != 4 || str_to_u64(s, &v).code || v / 100 > 14 || v % 100 > 59)
        return 0;
    return (int32_t)(v / 100 * 60 + v % 100);
}

/* Minutes east of UTC; what is not known counts as UTC (RFC 5322 section 4.3). */
static int32_t zone_minutes(struct str s)
{
    static const struct {
        struct str name;
        int32_t hours;
    } names[] = {
        {STR_INIT("EST"), -5}, {STR_INIT("EDT"), -4}, {STR_INIT("CST"), -6}, {STR_INIT("CDT"), -5},
        {STR_INIT("MST"), -7}, {STR_INIT("MDT"), -6}, {STR_INIT("PST"), -8}, {STR_INIT("PDT"), -7},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(s, names[i].name))
            return names[i].hours * 60;
    }
    if (str_istarts(s, STR("GMT")) || str_istarts(s, STR("UTC")))
        s = str_skip(s, 3);
    if (str_starts(s, STR("+")))
        return zone_of_digits(str_skip(s, 1));
    return str_starts(s, STR("-")) ? -zone_of_digits(str_skip(s, 1)) : 0;
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* The zone's word: the separator '-' of dates must not be taken from it. */
static int32_t take_zone(struct date *d)
{
    return d->t.kind == LEX_ATOM ? zone_minutes(d->t.text) : 0;
}

/* "7 Oct 1994 16:15:05", "7-Oct-94 16:15", and asctime's "Oct 7 16:15:05 1994". */
static bool take_date_time(struct date *d, int64_t *days, int64_t *seconds)
{
    int64_t year, month, day;
    if (take_month(d, &month)) {
        if (!take_number(d, 2, &day) || !take_time(d, seconds) || !take_year(d, &year))
            return false;
    } else {
        if (!take_number(d, 2, &day) || !take_month(d, &month) || !take_year(d, &year))
            return false;
        d->lex.specials = ",:"; /* a '-' behind the year is the zone's */
        if (!take_time(d, seconds))
            return false;
    }
    *days = days_of(year, month, day);
    return day >= 1 && day <= 31;
}

bool mime_date(struct str value, int64_t *seconds, int32_t *zone)
{
    struct date d = {.lex = {.in = cur_of(value), .specials = ",:-"}};
    date_next(&d);
    if (d.t.kind == LEX_ATOM && name_index(d.t.text, STR("montuewedthufrisatsun")) >= 0)
        date_next(&d);
    int64_t days, time_of_day;
    if (!take_date_time(&d, &days, &time_of_day))
        return false;
    *zone = take_zone(&d);
    *seconds = days * 86400 + time_of_day - (int64_t)*zone * 60;
    return true;
}
