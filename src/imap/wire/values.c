/* Sequence sets, flags, dates and mailbox names: the values that commands carry. */
#include "imap/wire/wire.h"

/* ----------------------------------------------------------------------------------------- sets */

static uint32_t set_number(struct wire_parse *w)
{
    return cur_accept(&w->c, '*') ? UINT32_MAX : wire_nz_number(w);
}

static size_t set_size(const struct wire_parse *w)
{
    size_t n = 1;
    int c;
    for (size_t i = 0;
         (c = cur_peek_at(&w->c, i)) == ',' || c == ':' || c == '*' || (c >= '0' && c <= '9'); i++)
        n += c == ',';
    return n;
}

/* Long lists of neighbours are usual ("4,5,6,7"); one range says the same. */
static bool set_extend(Thurn__NumRange *last, uint32_t first, uint32_t end)
{
    bool follows = last && last->first <= last->last && last->last < UINT32_MAX - 1 &&
                   first == last->last + 1 && first <= end && end < UINT32_MAX;
    if (follows)
        last->last = end;
    return follows;
}

Thurn__ImapSet *wire_set(struct wire_parse *w, bool uid)
{
    Thurn__ImapSet *set = WIRE_NEW(w, ImapSet, imap_set);
    size_t room = set_size(w);
    Thurn__NumRange *ranges = WIRE_NEW_ARRAY(w, Thurn__NumRange, room);
    Thurn__NumRange **list = WIRE_NEW_ARRAY(w, Thurn__NumRange *, room);
    if (!set || !ranges || !list)
        return NULL;
    size_t n = 0;
    do {
        uint32_t first = set_number(w);
        uint32_t last = cur_accept(&w->c, ':') ? set_number(w) : first;
        if (wire_bad(w))
            return NULL;
        if (set_extend(n ? &ranges[n - 1] : NULL, first, last))
            continue;
        check(n < room);
        thurn__num_range__init(&ranges[n]);
        ranges[n].first = first;
        ranges[n].last = last;
        list[n] = &ranges[n];
        n++;
    } while (cur_accept(&w->c, ','));
    set->ranges = list;
    set->n_ranges = n;
    set->uid = uid;
    return set;
}

/* ---------------------------------------------------------------------------------------- flags */

const struct wire_named_bit wire_system_flags[6] = {
    {STR_INIT(" \\Answered"), THURN__SYSTEM_FLAG__FLAG_ANSWERED},
    {STR_INIT(" \\Flagged"), THURN__SYSTEM_FLAG__FLAG_FLAGGED},
    {STR_INIT(" \\Deleted"), THURN__SYSTEM_FLAG__FLAG_DELETED},
    {STR_INIT(" \\Seen"), THURN__SYSTEM_FLAG__FLAG_SEEN},
    {STR_INIT(" \\Draft"), THURN__SYSTEM_FLAG__FLAG_DRAFT},
    {STR_INIT(" \\Recent"), THURN__SYSTEM_FLAG__FLAG_RECENT},
};
const struct wire_named_bit wire_special_uses[7] = {
    {STR_INIT(" \\All"), 1},     {STR_INIT(" \\Archive"), 2}, {STR_INIT(" \\Drafts"), 4},
    {STR_INIT(" \\Flagged"), 8}, {STR_INIT(" \\Junk"), 16},   {STR_INIT(" \\Sent"), 32},
    {STR_INIT(" \\Trash"), 64},
};

static uint32_t bit_named(const struct wire_named_bit *bits, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq(name, str_skip(bits[i].name, STR(" \\").n)))
            return bits[i].bit;
    return 0;
}

uint32_t wire_special_use(struct str attribute)
{
    uint32_t bit = bit_named(wire_special_uses, ARRAY_LEN(wire_special_uses), attribute);
    return bit ? bit : WIRE_OTHER_USE;
}

static size_t flags_size(const struct wire_parse *w)
{
    size_t n = 1;
    int c;
    for (size_t i = 0; (c = cur_peek_at(&w->c, i)) > 0 && c != ')'; i++)
        n += c == ' ';
    return n;
}

static void flag(struct wire_parse *w, Thurn__ImapFlags *flags)
{
    if (cur_accept(&w->c, '\\')) {
        uint32_t bit = bit_named(wire_system_flags, ARRAY_LEN(wire_system_flags), wire_atom(w));
        /* A client cannot set \Recent (section 2.3.2). */
        if (!bit || bit == THURN__SYSTEM_FLAG__FLAG_RECENT)
            (void)wire_fail(w, "There is no such system flag, or it cannot be set");
        flags->system |= bit;
        return;
    }
    struct str keyword = wire_atom(w);
    if (keyword.n > WIRE_KEYWORD_MAX)
        (void)wire_fail(w, "A keyword is too long");
    flags->keywords[flags->n_keywords++] = pb_bytes(keyword);
}

Thurn__ImapFlags *wire_flags(struct wire_parse *w, bool bare)
{
    Thurn__ImapFlags *flags = WIRE_NEW(w, ImapFlags, imap_flags);
    if (!flags)
        return NULL;
    flags->keywords = WIRE_NEW_ARRAY(w, ProtobufCBinaryData, flags_size(w));
    if (!flags->keywords)
        return NULL;
    bool list = cur_accept(&w->c, '(');
    if (!list && !bare)
        (void)wire_fail(w, "A list of flags is missing");
    if (list && cur_accept(&w->c, ')'))
        return flags;
    do
        flag(w, flags);
    while (!wire_bad(w) && cur_accept(&w->c, ' '));
    if (list)
        (void)wire_expect(w, ')', "A list of flags is not ended");
    return wire_bad(w) ? NULL : flags;
}

/* ---------------------------------------------------------------------------------------- dates */

static uint32_t digits(struct wire_parse *w, size_t n)
{
    struct str s = cur_take(&w->c, n);
    uint64_t v = 0;
    if (str_to_u64(s, &v).code != E_OK)
        (void)wire_fail(w, "A date is malformed");
    return (uint32_t)v;
}

static unsigned month(struct wire_parse *w)
{
    struct str name = cur_take(&w->c, 3);
    struct str names = STR("JanFebMarAprMayJunJulAugSepOctNovDec");
    for (unsigned m = 0; m < 12 && name.n == 3; m++)
        if (str_ieq(name, str_sub(names, m * 3, m * 3 + 3)))
            return m + 1;
    (void)wire_fail(w, "A date has no such month");
    return 1;
}

/* Days since 1970-01-01 in the Gregorian calendar; years are counted from March, so that the day
 * that leap years add is their last. */
static int32_t days_of(uint32_t year, unsigned m, uint32_t day)
{
    int32_t y = (int32_t)year - (m <= 2);
    int32_t from_march = ((int32_t)m + 9) % 12;
    int32_t cycle = (y >= 0 ? y : y - 399) / 400;
    int32_t of_cycle = y - cycle * 400;
    int32_t of_year = (153 * from_march + 2) / 5 + (int32_t)day - 1;
    return cycle * 146097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719468;
}

static int32_t date_text(struct wire_parse *w)
{
    static const uint8_t longest[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    (void)cur_accept(&w->c, ' ');
    int second = cur_peek_at(&w->c, 1);
    uint32_t day = digits(w, second >= '0' && second <= '9' ? 2 : 1);
    (void)wire_expect(w, '-', "A date is malformed");
    unsigned m = month(w);
    (void)wire_expect(w, '-', "A date is malformed");
    uint32_t year = digits(w, 4);
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day == 0 || day > longest[m - 1] || (m == 2 && day == 29 && !leap))
        (void)wire_fail(w, "A date has no such day");
    return wire_bad(w) ? 0 : days_of(year, m, day);
}

int32_t wire_date(struct wire_parse *w)
{
    bool is_quoted = cur_accept(&w->c, '"');
    int32_t days = date_text(w);
    if (is_quoted)
        (void)wire_expect(w, '"', "A date is malformed");
    return days;
}

static int32_t zone(struct wire_parse *w)
{
    bool west = cur_accept(&w->c, '-');
    if (!west)
        (void)wire_expect(w, '+', "A date has no zone");
    uint32_t hours = digits(w, 2), minutes = digits(w, 2);
    if (hours > 23 || minutes > 59)
        (void)wire_fail(w, "A date has no such zone");
    int32_t seconds = (int32_t)(hours * 3600 + minutes * 60);
    return west ? -seconds : seconds;
}

int64_t wire_date_time(struct wire_parse *w)
{
    (void)wire_expect(w, '"', "A date is missing");
    int64_t days = date_text(w);
    (void)wire_expect(w, ' ', "A date is malformed");
    uint32_t hour = digits(w, 2);
    (void)wire_expect(w, ':', "A date is malformed");
    uint32_t minute = digits(w, 2);
    (void)wire_expect(w, ':', "A date is malformed");
    uint32_t second = digits(w, 2);
    (void)wire_expect(w, ' ', "A date is malformed");
    int32_t east = zone(w);
    (void)wire_expect(w, '"', "A date is malformed");
    if (hour > 23 || minute > 59 || second > 60)
        (void)wire_fail(w, "A date has no such time");
    return wire_bad(w) ? 0 : days * 86400 + hour * 3600 + minute * 60 + second - east;
}

/* -------------------------------------------------------------------------------- mailbox names */

static bool has_control_character(struct str utf8)
{
    for (size_t i = 0; i < utf8.n; i++) {
        bool c1 = utf8.p[i] == 0xC2 && i + 1 < utf8.n && utf8.p[i + 1] < 0xA0;
        if (utf8.p[i] < ' ' || utf8.p[i] == 0x7f || c1)
            return true;
    }
    return false;
}

struct str wire_mailbox_canonical(struct str utf8)
{
    return str_ieq(utf8, STR("INBOX")) ? STR("INBOX") : utf8;
}

struct str wire_mailbox_decode(struct wire_parse *w, struct str raw)
{
    struct str name = {NULL, 0};
    if (wire_bad(w) || raw.n == 0)
        return name;
    CLEANUP(buf_free) struct buf decoded = {.max = WIRE_NAME_MAX};
    struct err e = imap_utf7_decode(raw, &decoded);
    if (e.code == E_LIMIT)
        (void)wire_fail(w, "A mailbox name is too long");
    else if (e.code != E_OK)
        (void)wire_fail(w, "A mailbox name is not in modified UTF-7");
    else if (has_control_character(buf_str(&decoded)))
        (void)wire_fail(w, "A mailbox name has a control character");
    else if ((name = str_dup(w->a, buf_str(&decoded))).n == 0)
        (void)wire_fail(w, "The command is too large");
    return wire_mailbox_canonical(name);
}

struct str wire_mailbox(struct wire_parse *w)
{
    struct str raw = wire_astring(w);
    if (!wire_bad(w) && raw.n == 0)
        (void)wire_fail(w, "A mailbox name is empty");
    return wire_mailbox_decode(w, raw);
}
