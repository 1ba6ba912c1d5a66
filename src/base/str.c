#include "base/base.h"

struct str str_c(const char *s)
{
    return s ? str_of(s, strlen(s)) : (struct str){NULL, 0};
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_ieq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (byte_lower(a.p[i]) != byte_lower(b.p[i]))
            return false;
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int d = n ? memcmp(a.p, b.p, n) : 0;
    return d ? d : (a.n > b.n) - (a.n < b.n);
}

bool str_eq_secret(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    uint8_t diff = 0;
    for (size_t i = 0; i < a.n; i++)
        diff = (uint8_t)(diff | (a.p[i] ^ b.p[i]));
    return diff == 0;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_sub(s, 0, prefix.n), prefix);
}

bool str_istarts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_ieq(str_sub(s, 0, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

size_t str_find_byte(struct str s, uint8_t c, size_t from)
{
    if (from >= s.n)
        return s.n;
    const uint8_t *hit = memchr(s.p + from, c, s.n - from);
    return hit ? (size_t)(hit - s.p) : s.n;
}

size_t str_find(struct str s, struct str what, size_t from)
{
    if (from > s.n || what.n > s.n - from)
        return s.n;
    if (what.n == 0)
        return from;
    const uint8_t *hit = memmem(s.p + from, s.n - from, what.p, what.n);
    return hit ? (size_t)(hit - s.p) : s.n;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* -- eight bytes at a time -- */

#define EIGHT_TIMES(c) (UINT64_C(0x0101010101010101) * (c))

static uint64_t load_eight(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The highest bit of each byte of the result: whether that of `v` is 0. */
static uint64_t zero_bytes(uint64_t v)
{
    uint64_t low = EIGHT_TIMES(0x7F);
    return ~(((v & low) + low) | v | low);
}

size_t str_find_pair(struct str s, uint8_t a, uint8_t b, size_t from)
{
    size_t i = from;
    for (; s.n >= 9 && i <= s.n - 9; i += 8) {
        uint64_t first = load_eight(s.p + i) ^ EIGHT_TIMES(a),
                 second = load_eight(s.p + i + 1) ^ EIGHT_TIMES(b);
        if (zero_bytes(first | second))
            break;
    }
    for (; i + 1 < s.n; i++)
        if (s.p[i] == a && s.p[i + 1] == b)
            return i;
    return s.n;
}

bool str_pairs_only(struct str s, uint8_t a, uint8_t b)
{
    if (s.n == 0)
        return true;
    if (s.p[0] == b || s.p[s.n - 1] == a)
        return false;
    size_t i = 0;
    uint64_t alone = 0;
    for (; s.n >= 9 && i <= s.n - 9; i += 8)
        alone |= zero_bytes(load_eight(s.p + i) ^ EIGHT_TIMES(a)) ^
                 zero_bytes(load_eight(s.p + i + 1) ^ EIGHT_TIMES(b));
    for (; i + 1 < s.n; i++)
        alone |= (s.p[i] == a) != (s.p[i + 1] == b);
    return alone == 0;
}

struct str str_trim(struct str s)
{
    size_t from = 0, to = s.n;
    while (from < to && is_space(s.p[from]))
        from++;
    while (to > from && is_space(s.p[to - 1]))
        to--;
    return str_sub(s, from, to);
}

struct str str_dup(struct arena *a, struct str s)
{
    if (s.n == 0)
        return (struct str){NULL, 0};
    uint8_t *p = arena_alloc(a, s.n);
    if (!p)
        return (struct str){NULL, 0};
    memcpy(p, s.p, s.n);
    return str_of(p, s.n);
}

char *str_dup_c(struct arena *a, struct str s)
{
    if (str_find_byte(s, 0, 0) < s.n)
        return NULL;
    char *p = arena_alloc(a, s.n + 1);
    if (p && s.n)
        memcpy(p, s.p, s.n);
    return p;
}

struct err str_to_u64(struct str s, uint64_t *out)
{
    struct cur c = cur_of(s);
    uint64_t v = cur_decimal(&c, UINT64_MAX);
    TRY(cur_err(&c));
    if (!cur_end(&c))
        return err_make(E_INVALID, "not a number");
    *out = v;
    return OK;
}

/* Length of the UTF-8 sequence that this byte begins and the range of its second byte. */
static unsigned utf8_sequence(uint8_t c, uint8_t *lo, uint8_t *hi)
{
    *lo = 0x80, *hi = 0xBF;
    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c <= 0xDF)
        return 2;
    if (c >= 0xE0 && c <= 0xEF) {
        *lo = c == 0xE0 ? 0xA0 : 0x80;
        *hi = c == 0xED ? 0x9F : 0xBF;
        return 3;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        *lo = c == 0xF0 ? 0x90 : 0x80;
        *hi = c == 0xF4 ? 0x8F : 0xBF;
        return 4;
    }
    return 0;
}

bool str_is_utf8(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        uint8_t lo, hi;
        unsigned len = utf8_sequence(s.p[i], &lo, &hi);
        if (len == 0 || len > s.n - i)
            return false;
        for (unsigned k = 1; k < len; k++) {
            uint8_t c = s.p[i + k];
            if (c < (k == 1 ? lo : 0x80) || c > (k == 1 ? hi : 0xBF))
                return false;
        }
        i += len;
    }
    return true;
}
