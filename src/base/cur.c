#include "base/base.h"

struct err cur_err(const struct cur *c)
{
    return c->bad ? err_make(E_INVALID, "malformed input") : OK;
}

bool cur_fail(struct cur *c)
{
    c->bad = true;
    return false;
}

struct str cur_rest(struct cur *c)
{
    return cur_take(c, cur_left(c));
}

void cur_skip(struct cur *c, size_t n)
{
    (void)cur_take(c, n);
}

bool cur_accept(struct cur *c, uint8_t b)
{
    if (cur_peek(c) != b)
        return false;
    c->at++;
    return true;
}

bool cur_accept_str(struct cur *c, struct str s)
{
    if (c->bad || !str_starts(str_skip(c->s, c->at), s))
        return false;
    c->at += s.n;
    return true;
}

bool cur_accept_istr(struct cur *c, struct str s)
{
    if (c->bad || !str_istarts(str_skip(c->s, c->at), s))
        return false;
    c->at += s.n;
    return true;
}

bool cur_expect(struct cur *c, uint8_t b)
{
    return cur_accept(c, b) || cur_fail(c);
}

struct str cur_take_while(struct cur *c, bool (*in_set)(uint8_t))
{
    size_t n = 0;
    while (n < cur_left(c) && in_set(c->s.p[c->at + n]))
        n++;
    return cur_take(c, n);
}

struct str cur_until(struct cur *c, uint8_t b)
{
    size_t end = c->bad ? c->s.n : str_find_byte(c->s, b, c->at);
    if (end == c->s.n) {
        c->bad = true;
        return (struct str){NULL, 0};
    }
    struct str s = cur_take(c, end - c->at);
    c->at++;
    return s;
}

uint64_t cur_decimal(struct cur *c, uint64_t max)
{
    uint64_t v = 0;
    bool any = false;
    for (int d; (d = cur_peek(c)) >= '0' && d <= '9'; c->at++) {
        any = true;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(d - '0'), &v))
            c->bad = true;
    }
    if (!any || v > max)
        c->bad = true;
    return c->bad ? 0 : v;
}

static uint64_t cur_le(struct cur *c, size_t n)
{
    struct str s = cur_take(c, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v |= (uint64_t)s.p[i] << (8 * i);
    return v;
}

uint16_t cur_u16le(struct cur *c)
{
    return (uint16_t)cur_le(c, 2);
}

uint32_t cur_u32le(struct cur *c)
{
    return (uint32_t)cur_le(c, 4);
}

uint64_t cur_u64le(struct cur *c)
{
    return cur_le(c, 8);
}

uint64_t cur_varint_long(struct cur *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = cur_byte(c);
        if (shift == 63 && b > 1)
            c->bad = true;
        v |= (uint64_t)(b & 0x7F) << shift;
        if (!(b & 0x80))
            return c->bad ? 0 : v;
    }
    c->bad = true;
    return 0;
}
