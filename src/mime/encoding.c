#include "mime/mime_int.h"

enum { B64_BAD = 0xFF, B64_SPACE = 0xFE, B64_PAD = 0xFD };

/* clang-format off */
#define BAD B64_BAD
#define SPC B64_SPACE
#define PAD B64_PAD
static const uint8_t base64_values[256] = {
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, SPC, SPC, BAD, BAD, SPC, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    SPC, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,  62, BAD, BAD, BAD,  63,
     52,  53,  54,  55,  56,  57,  58,  59,  60,  61, BAD, BAD, BAD, PAD, BAD, BAD,
    BAD,   0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,  14,
     15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25, BAD, BAD, BAD, BAD, BAD,
    BAD,  26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,
     41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
};
/* clang-format on */

/* Adds the whole bytes of an unfinished group of `n` values; a single value is no byte. */
static bool base64_end_group(uint32_t bits, unsigned n, uint8_t *p, size_t *at)
{
    if (n >= 2)
        p[(*at)++] = (uint8_t)(bits >> (6 * n - 8));
    if (n == 3)
        p[(*at)++] = (uint8_t)(bits >> 2);
    return n != 1;
}

bool mime_base64(struct buf *out, struct str in)
{
    uint8_t *p = buf_room(out, in.n / 4 * 3 + 4);
    if (!p)
        return false;
    bool good = true;
    uint32_t bits = 0;
    unsigned n = 0;
    size_t at = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t v = base64_values[in.p[i]];
        if (v == B64_SPACE)
            continue;
        if (v == B64_PAD) { /* ends a group; more may follow, where encoded pieces were joined */
            good = base64_end_group(bits, n, p, &at) && good;
            n = 0;
            bits = 0;
        } else if (v == B64_BAD) {
            good = false;
        } else {
            bits = bits << 6 | v;
            if (++n == 4) {
                p[at++] = (uint8_t)(bits >> 16);
                p[at++] = (uint8_t)(bits >> 8);
                p[at++] = (uint8_t)bits;
                n = 0;
                bits = 0;
            }
        }
    }
    good = base64_end_group(bits, n, p, &at) && good;
    buf_added(out, at);
    return good;
}

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    int lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int mime_hex_byte(struct str s, size_t at)
{
    if (s.n < 2 || at > s.n - 2)
        return -1;
    int high = hex_value(s.p[at]), low = hex_value(s.p[at + 1]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Where the white space behind `at` ends at a line end or the end of the text; else `at`. */
static size_t skip_to_line_end(struct str in, size_t at)
{
    size_t i = at;
    while (i < in.n && (in.p[i] == ' ' || in.p[i] == '\t'))
        i++;
    if (i == in.n || in.p[i] == '\n')
        return i;
    return in.p[i] == '\r' && i + 1 < in.n && in.p[i + 1] == '\n' ? i : at;
}

/* What an '=' at `at` stands for is put to `p`; returns the index behind it. */
static size_t qp_escape(struct str in, size_t at, uint8_t *p, size_t *n, bool *good)
{
    int byte = mime_hex_byte(in, at + 1);
    if (byte >= 0) {
        p[(*n)++] = (uint8_t)byte;
        return at + 3;
    }
    size_t end = skip_to_line_end(in, at + 1);
    if (end < in.n && in.p[end] == '\r')
        end++;
    if (end == in.n || in.p[end] == '\n') /* a soft line break */
        return MIN(end + 1, in.n);
    *good = false;
    p[(*n)++] = '=';
    return at + 1;
}

bool mime_quoted_printable(struct buf *out, struct str in)
{
    uint8_t *p = buf_room(out, in.n);
    if (!p)
        return in.n == 0;
    bool good = true;
    size_t n = 0;
    for (size_t i = 0; i < in.n;) {
        uint8_t c = in.p[i];
        if (c == '=') {
            i = qp_escape(in, i, p, &n, &good);
        } else if (c == ' ' || c == '\t') { /* at the end of a line it is not the text's */
            size_t end = skip_to_line_end(in, i);
            for (; end == i && i < in.n && (in.p[i] == ' ' || in.p[i] == '\t'); end = i)
                p[n++] = in.p[i++];
            i = end;
        } else {
            p[n++] = c;
            i++;
        }
    }
    buf_added(out, n);
    return good;
}
