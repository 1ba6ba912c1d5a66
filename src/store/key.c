#include "store/engine.h"

static void key_put(struct key *k, const void *p, size_t n)
{
    check(n <= sizeof k->b - k->n); /* whoever takes keys from outside limits their length */
    memcpy(k->b + k->n, p, n);
    k->n += n;
}

void key_byte(struct key *k, uint8_t c)
{
    key_put(k, &c, 1);
}

void key_u32(struct key *k, uint32_t v)
{
    uint8_t b[5];
    for (unsigned i = 0; i < sizeof b; i++)
        b[i] = (uint8_t)(0x80 | ((v >> (7 * (4 - i))) & 0x7F));
    key_put(k, b, sizeof b);
}

void key_u64(struct key *k, uint64_t v)
{
    uint8_t b[10];
    for (unsigned i = 0; i < sizeof b; i++)
        b[i] = (uint8_t)(0x80 | ((v >> (7 * (9 - i))) & 0x7F));
    key_put(k, b, sizeof b);
}

void key_bytes(struct key *k, struct str s)
{
    if (s.n)
        key_put(k, s.p, s.n);
}

/* The first byte holds the bits above a multiple of seven: more than `top` would overflow. */
static uint64_t key_read(struct cur *c, size_t n, uint8_t top)
{
    struct cur digits = cur_of(cur_take(c, n));
    uint64_t v = 0;
    for (size_t i = 0; i < n && !c->bad; i++) {
        uint8_t b = cur_byte(&digits);
        if (!(b & 0x80) || (i == 0 && (b & 0x7F) > top))
            cur_fail(c);
        v = v << 7 | (b & 0x7F);
    }
    return c->bad ? 0 : v;
}

uint32_t key_read_u32(struct cur *c)
{
    return (uint32_t)key_read(c, 5, 0x0F);
}

uint64_t key_read_u64(struct cur *c)
{
    return key_read(c, 10, 0x01);
}
