#include "base/base.h"

enum { BUF_FIRST = 256 };

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->off = b->n = 0;
    b->bad = false;
}

void buf_reset(struct buf *b, size_t keep)
{
    if (b->cap > keep)
        buf_free(b);
    else
        buf_clear(b);
    b->bad = false;
}

void buf_consume(struct buf *b, size_t n)
{
    check(n <= b->n);
    b->off += n;
    b->n -= n;
    if (b->n == 0)
        b->off = 0;
}

uint8_t *buf_room(struct buf *b, size_t n)
{
    size_t max = b->max ? b->max : BUF_MAX_DEFAULT;
    check(b->p != NULL || (b->n == 0 && b->off == 0));
    if (b->bad || b->n > max || n > max - b->n) {
        b->bad = true;
        return NULL;
    }
    if (b->cap - b->off - b->n >= n && b->p)
        return b->p + b->off + b->n;
    if (b->off && b->cap - b->n >= n && b->off >= b->n) { /* moving costs no more than was used */
        memmove(b->p, b->p + b->off, b->n);
        b->off = 0;
        return b->p + b->n;
    }
    size_t want = MAX(b->n + n, MAX(b->n * 2, (size_t)BUF_FIRST));
    uint8_t *p = malloc(want);
    if (!p) {
        b->bad = true;
        return NULL;
    }
    if (b->n)
        memcpy(p, b->p + b->off, b->n);
    free(b->p);
    b->p = p;
    b->off = 0;
    b->cap = want;
    return p + b->n;
}

void buf_added(struct buf *b, size_t n)
{
    check(n <= b->cap - b->off - b->n);
    b->n += n;
}

void buf_cut(struct buf *b, size_t n)
{
    check(n <= b->n);
    b->n = n;
}

struct err buf_err(const struct buf *b)
{
    return b->bad ? err_make(E_LIMIT, "buffer full") : OK;
}

void buf_put_slow(struct buf *b, struct str s)
{
    uint8_t *p = s.n ? buf_room(b, s.n) : NULL;
    if (!p)
        return;
    memcpy(p, s.p, s.n);
    b->n += s.n;
}

static void buf_le(struct buf *b, uint64_t v, size_t n)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    buf_put(b, str_of(bytes, n));
}

void buf_u16le(struct buf *b, uint16_t v)
{
    buf_le(b, v, 2);
}

void buf_u32le(struct buf *b, uint32_t v)
{
    buf_le(b, v, 4);
}

void buf_u64le(struct buf *b, uint64_t v)
{
    buf_le(b, v, 8);
}

void buf_varint(struct buf *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    buf_put(b, str_of(bytes, n));
}

void buf_decimal(struct buf *b, uint64_t v)
{
    uint8_t bytes[20];
    size_t at = sizeof bytes;
    do {
        bytes[--at] = (uint8_t)('0' + v % 10);
    } while (v /= 10);
    buf_put(b, str_of(bytes + at, sizeof bytes - at));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256], *large = NULL;
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    check(n >= 0);
    if ((size_t)n >= sizeof small)
        check(vasprintf(&large, fmt, again) == n);
    va_end(again);
    buf_put(b, str_of(large ? large : small, (size_t)n));
    free(large);
}
