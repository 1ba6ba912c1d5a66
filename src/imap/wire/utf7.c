/* Modified UTF-7 (RFC 3501 section 5.1.3). What decodes is what encoding gives: each name has one
 * form only, so that two names that differ on the wire never mean the same mailbox. */
#include "imap/wire/wire.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_direct(uint32_t c)
{
    return c >= ' ' && c <= '~';
}

/* ------------------------------------------------------------------------------------- encoding */

/* Collects bits and gives them out six at a time. */
struct shifted {
    struct buf *out;
    uint32_t bits;
    unsigned n;
};

static void shifted_unit(struct shifted *s, uint32_t utf16)
{
    s->bits = s->bits << 16 | utf16; /* at most 4 + 16 of them count */
    for (s->n += 16; s->n >= 6; s->n -= 6)
        buf_byte(s->out, (uint8_t)alphabet[s->bits >> (s->n - 6) & 63]);
}

static void shifted_end(struct shifted *s)
{
    if (s->n)
        buf_byte(s->out, (uint8_t)alphabet[s->bits << (6 - s->n) & 63]);
    buf_byte(s->out, '-');
}

/* The next character; U+FFFD for a byte that begins none. */
static uint32_t utf8_next(struct cur *c)
{
    uint8_t first = cur_byte(c);
    unsigned more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
    struct str rest = str_sub(c->s, c->at, c->at + more);
    struct str whole = str_sub(c->s, c->at - 1, c->at + more);
    if (whole.n != more + 1 || !str_is_utf8(whole))
        return 0xFFFD;
    uint32_t v = more ? first & (0x3FU >> more) : first;
    for (size_t i = 0; i < rest.n; i++)
        v = v << 6 | (rest.p[i] & 0x3F);
    cur_skip(c, more);
    return v;
}

static void encode_run(struct cur *c, uint32_t first, struct buf *out)
{
    struct shifted s = {.out = out};
    buf_byte(out, '&');
    for (uint32_t v = first;; v = utf8_next(c)) {
        if (v >= 0x10000) {
            shifted_unit(&s, 0xD800 + ((v - 0x10000) >> 10));
            v = 0xDC00 + ((v - 0x10000) & 0x3FF);
        }
        shifted_unit(&s, v);
        int next = cur_peek(c);
        if (next < 0 || is_direct((uint32_t)next))
            break;
    }
    shifted_end(&s);
}

void imap_utf7_encode(struct str utf8, struct buf *out)
{
    for (struct cur c = cur_of(utf8); !cur_end(&c);) {
        uint32_t v = utf8_next(&c);
        if (v == '&')
            buf_put(out, STR("&-"));
        else if (is_direct(v))
            buf_byte(out, (uint8_t)v);
        else
            encode_run(&c, v, out);
    }
}

/* ------------------------------------------------------------------------------------- decoding */

static void utf8_put(struct buf *out, uint32_t v)
{
    if (v < 0x80) {
        buf_byte(out, (uint8_t)v);
    } else if (v < 0x800) {
        buf_byte(out, (uint8_t)(0xC0 | v >> 6));
        buf_byte(out, (uint8_t)(0x80 | (v & 0x3F)));
    } else if (v < 0x10000) {
        buf_byte(out, (uint8_t)(0xE0 | v >> 12));
        buf_byte(out, (uint8_t)(0x80 | (v >> 6 & 0x3F)));
        buf_byte(out, (uint8_t)(0x80 | (v & 0x3F)));
    } else {
        buf_byte(out, (uint8_t)(0xF0 | v >> 18));
        buf_byte(out, (uint8_t)(0x80 | (v >> 12 & 0x3F)));
        buf_byte(out, (uint8_t)(0x80 | (v >> 6 & 0x3F)));
        buf_byte(out, (uint8_t)(0x80 | (v & 0x3F)));
    }
}

/* The next 16 bits of a shifted run; false at its "-" or where it is malformed. */
static bool unit_next(struct cur *c, struct shifted *s, uint32_t *out)
{
    while (s->n < 16) {
        int b = cur_peek(c);
        const char *at = b > 0 ? strchr(alphabet, b) : NULL;
        if (!at)
            return false;
        cur_skip(c, 1);
        s->bits = s->bits << 6 | (uint32_t)(at - alphabet);
        s->n += 6;
    }
    s->n -= 16;
    *out = s->bits >> s->n & 0xFFFF;
    return true;
}

/* From behind the "&" up to and with the "-". What is left over in it, and runs that should not
 * be there, show when the result is encoded again. */
static void decode_run(struct cur *c, struct buf *out)
{
    struct shifted s = {0};
    for (uint32_t unit; unit_next(c, &s, &unit);) {
        if (unit >= 0xD800 && unit <= 0xDBFF) {
            uint32_t low = 0;
            if (!unit_next(c, &s, &low) || low < 0xDC00 || low > 0xDFFF)
                (void)cur_fail(c);
            unit = 0x10000 + ((unit - 0xD800) << 10) + ((low - 0xDC00) & 0x3FF);
        } else if (unit >= 0xDC00 && unit <= 0xDFFF) {
            (void)cur_fail(c);
        }
        utf8_put(out, unit);
    }
    (void)cur_expect(c, '-');
}

static struct err decode(struct str in, struct buf *out)
{
    struct cur c = cur_of(in);
    bool shifted = false;
    while (!cur_end(&c)) {
        uint8_t b = cur_byte(&c);
        if (!is_direct(b)) {
            (void)cur_fail(&c);
        } else if (b != '&') {
            buf_byte(out, b);
        } else if (cur_accept(&c, '-')) {
            buf_byte(out, '&');
        } else {
            shifted = true;
            decode_run(&c, out);
        }
    }
    TRY(cur_err(&c));
    TRY(buf_err(out));
    if (!shifted)
        return OK;
    CLEANUP(buf_free) struct buf again = {.max = in.n};
    imap_utf7_encode(buf_str(out), &again);
    bool same = !again.bad && str_eq(buf_str(&again), in);
    return same ? OK : err_make(E_INVALID, "modified UTF-7 that is not in its only form");
}

struct err imap_utf7_decode(struct str in, struct buf *out)
{
    CLEANUP(buf_free) struct buf text = {.max = out->max};
    TRY(decode(in, &text));
    size_t before = out->n;
    buf_put(out, buf_str(&text));
    if (out->bad)
        buf_cut(out, before);
    return buf_err(out);
}
