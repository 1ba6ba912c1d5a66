/*
 * Slices: a run of bytes that somebody else owns. Never NUL-terminated, may hold NUL.
 */
#ifndef THURN_BASE_STR_H
#define THURN_BASE_STR_H

struct str {
    const uint8_t *p;
    size_t n;
};

/* A slice of a string literal, without its NUL. */
#define STR(lit) ((struct str){(const uint8_t *)("" lit), sizeof(lit) - 1})
/* The same as an initializer of static data. */
#define STR_INIT(lit)                                                                              \
    {                                                                                              \
        (const uint8_t *)(lit), sizeof(lit) - 1                                                    \
    }
/* For "%.*s" in a log or an error text; cut at 1 KB. */
#define STR_FMT(s) (int)MIN((s).n, 1024), (const char *)(s).p

static inline struct str str_of(const void *p, size_t n)
{
    return (struct str){(const uint8_t *)p, n};
}
/* The bytes of a C string, which must outlive the slice; NULL is empty. */
struct str str_c(const char *s);
/* From byte `from` (inclusive) to `to` (exclusive), both clamped to the slice. */
static inline struct str str_sub(struct str s, size_t from, size_t to)
{
    to = MIN(to, s.n);
    from = MIN(from, to);
    return from == to ? (struct str){NULL, 0} : (struct str){s.p + from, to - from};
}
static inline struct str str_skip(struct str s, size_t n)
{
    return str_sub(s, n, s.n);
}

bool str_eq(struct str a, struct str b);
/* ASCII case-insensitive, whatever the locale. */
bool str_ieq(struct str a, struct str b);
/* <0, 0, >0 in byte order, shorter first. */
int str_cmp(struct str a, struct str b);
/* Same in constant time for equal lengths: for secrets. */
bool str_eq_secret(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* Index of the first `c` at or after `from`; s.n if there is none. */
size_t str_find_byte(struct str s, uint8_t c, size_t from);
/* Index of the first `what` at or after `from`; s.n if there is none. */
size_t str_find(struct str s, struct str what, size_t from);
/* Index of the first `a` at or after `from` that a `b` follows; s.n if there is none. Takes as long
 * however many of one there are without the other. */
size_t str_find_pair(struct str s, uint8_t a, uint8_t b, size_t from);
/* Whether each `b` stands behind an `a` and each `a` before a `b`. */
bool str_pairs_only(struct str s, uint8_t a, uint8_t b);
/* Without leading and trailing SP, HT, CR and LF. */
struct str str_trim(struct str s);
/* Copies the bytes to where there is room for them; an empty slice has no pointer to copy from. */
static inline void str_copy_to(void *to, struct str s)
{
    if (s.n)
        memcpy(to, s.p, s.n);
}
/* A copy in the arena; {NULL, 0} if there is no room for a non-empty one. */
MUST_CHECK struct str str_dup(struct arena *a, struct str s);
/* A NUL-terminated copy, for system calls and libraries; NULL without room or if `s` holds NUL. */
MUST_CHECK char *str_dup_c(struct arena *a, struct str s);
/* The whole slice as a decimal number without sign; anything else is E_INVALID. */
MUST_CHECK struct err str_to_u64(struct str s, uint64_t *out);
/* Whether it is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool str_is_utf8(struct str s);

static inline uint8_t byte_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}
static inline uint8_t byte_upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c & 0xDF) : c;
}
static inline bool byte_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}
static inline bool byte_is_alpha(uint8_t c)
{
    return byte_lower(c) >= 'a' && byte_lower(c) <= 'z';
}

#endif
