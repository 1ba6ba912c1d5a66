/*
 * The cursor: the only way to read untrusted bytes. Its error sticks: the first read that fails
 * leaves `bad` set, every later one gives an empty value, and one look at the end decides.
 */
#ifndef THURN_BASE_CUR_H
#define THURN_BASE_CUR_H

struct cur {
    struct str s; /* the whole input */
    size_t at;    /* next byte; never beyond s.n */
    bool bad;     /* a read failed */
};

static inline struct cur cur_of(struct str s)
{
    return (struct cur){.s = s};
}
static inline size_t cur_left(const struct cur *c)
{
    return c->bad ? 0 : c->s.n - c->at;
}
static inline bool cur_end(const struct cur *c)
{
    return cur_left(c) == 0;
}
/* E_INVALID if a read failed, else OK. */
MUST_CHECK struct err cur_err(const struct cur *c);
/* Marks it bad; returns false, for `return cur_fail(c);`. */
bool cur_fail(struct cur *c);

/* The next byte without taking it; -1 at the end. Never sets `bad`. */
static inline int cur_peek(const struct cur *c)
{
    return cur_left(c) ? c->s.p[c->at] : -1;
}
/* The byte `ahead` of the next one; -1 beyond the end. Never sets `bad`. */
static inline int cur_peek_at(const struct cur *c, size_t ahead)
{
    return cur_left(c) > ahead ? c->s.p[c->at + ahead] : -1;
}
static inline uint8_t cur_byte(struct cur *c)
{
    if (cur_left(c))
        return c->s.p[c->at++];
    c->bad = true;
    return 0;
}
static inline struct str cur_take(struct cur *c, size_t n)
{
    if (n > cur_left(c)) {
        c->bad = true;
        return (struct str){NULL, 0};
    }
    struct str s = {n ? c->s.p + c->at : NULL, n};
    c->at += n;
    return s;
}
struct str cur_rest(struct cur *c);
void cur_skip(struct cur *c, size_t n);
/* Takes `b` if it is next. Never sets `bad`. */
bool cur_accept(struct cur *c, uint8_t b);
/* Takes `s` if it stands next (the second form ignores ASCII case). Never sets `bad`. */
bool cur_accept_str(struct cur *c, struct str s);
bool cur_accept_istr(struct cur *c, struct str s);
/* Takes `b`, or fails. */
bool cur_expect(struct cur *c, uint8_t b);
/* Takes bytes as long as the set contains them; may be empty. */
struct str cur_take_while(struct cur *c, bool (*in_set)(uint8_t));
/* Takes what stands before the next `b` and `b` itself; fails if there is none. */
struct str cur_until(struct cur *c, uint8_t b);
/* Takes at least one decimal digit; fails if there is none or the value exceeds `max`. */
uint64_t cur_decimal(struct cur *c, uint64_t max);

/* Fixed-width little-endian integers and LEB128 varints, for our own formats. */
uint16_t cur_u16le(struct cur *c);
uint32_t cur_u32le(struct cur *c);
uint64_t cur_u64le(struct cur *c);
uint64_t cur_varint_long(struct cur *c);
static inline uint64_t cur_varint(struct cur *c)
{
    return cur_left(c) && c->s.p[c->at] < 0x80 ? c->s.p[c->at++] : cur_varint_long(c);
}

#endif
