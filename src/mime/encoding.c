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

/* Sixes of bits that are no whole group yet. */
struct base64 {
    uint32_t bits;
    unsigned n;
};

/* Adds the whole bytes of an unfinished group; a single six is no byte. */
static bool base64_end_group(struct base64 *g, uint8_t *p, size_t *at)
{
    bool good = g->n != 1;
    if (g->n >= 2)
        p[(*at)++] = (uint8_t)(g->bits >> (6 * g->n - 8));
    if (g->n == 3)
        p[(*at)++] = (uint8_t)(g->bits >> 2);
    *g = (struct base64){0};
    return good;
}

/* Decodes to `p`, which has room; returns whether the text was well-formed so far. */
static bool base64_put(struct base64 *g, struct str in, uint8_t *p, size_t *at)
{
    bool good = true;
    uint32_t bits = g->bits;
    unsigned n = g->n;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t v = base64_values[in.p[i]];
        if (v == B64_SPACE)
            continue;
        if (v == B64_PAD) { /* ends a group; more may follow, where encoded pieces were joined */
            struct base64 group = {bits, n};
            good = base64_end_group(&group, p, at) && good;
            n = 0;
            bits = 0;
        } else if (v == B64_BAD) {
            good = false;
        } else {
            bits = bits << 6 | v;
            if (++n == 4) {
                p[(*at)++] = (uint8_t)(bits >> 16);
                p[(*at)++] = (uint8_t)(bits >> 8);
                p[(*at)++] = (uint8_t)bits;
                n = 0;
                bits = 0;
            }
        }
    }
    *g = (struct base64){bits, n};
    return good;
}

bool mime_base64(struct buf *out, struct str in)
{
    uint8_t *p = buf_room(out, in.n / 4 * 3 + 4);
    if (!p)
        return false;
    struct base64 group = {0};
    size_t at = 0;
    bool good = base64_put(&group, in, p, &at);
    good = base64_end_group(&group, p, &at) && good;
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

/* ---------------------------------------------------------------------------- in pieces */

enum { QP_LINE = 4096 }; /* longer lines are decoded in parts */

void mime_decoder_begin(struct mime_decoder *d, enum mime_coding coding)
{
    buf_reset(&d->held, 0);
    *d = (struct mime_decoder){.coding = coding};
}

void mime_decoder_free(struct mime_decoder *d)
{
    mime_decoder_begin(d, MIME_IDENTITY);
}

static void put_base64(struct mime_decoder *d, struct str in, struct buf *out)
{
    uint8_t *p = buf_room(out, in.n / 4 * 3 + 4);
    struct base64 group = {d->bits, d->n};
    size_t at = 0;
    if (!p)
        return;
    (void)base64_put(&group, in, p, &at);
    buf_added(out, at);
    d->bits = group.bits;
    d->n = group.n;
}

/* How much of a line that goes on can be decoded by itself: neither an escape nor white space that
 * may be the line's last is cut. */
static size_t qp_whole(struct str s)
{
    size_t n = s.n, before;
    do {
        before = n;
        while (n && (s.p[n - 1] == ' ' || s.p[n - 1] == '\t' || s.p[n - 1] == '\r'))
            n--;
        if (n >= 1 && s.p[n - 1] == '=')
            n--;
        else if (n >= 2 && s.p[n - 2] == '=')
            n -= 2;
    } while (n != before);
    return n ? n : s.n; /* white space without end is none */
}

/* Lines are decoded one by one: nothing of one concerns the next. */
static void put_quoted_printable(struct mime_decoder *d, struct str in, struct buf *out)
{
    while (in.n) {
        size_t end = str_find_byte(in, '\n', 0);
        size_t n = MIN(MIN(end + 1, in.n), QP_LINE - MIN(d->held.n, (size_t)QP_LINE - 1));
        bool ended = end < n;
        buf_put(&d->held, str_sub(in, 0, n));
        in = str_skip(in, n);
        if (d->held.bad) {
            out->bad = true;
            return;
        }
        if (!ended && d->held.n < QP_LINE)
            continue;
        struct str line = buf_str(&d->held);
        n = ended ? line.n : qp_whole(line);
        (void)mime_quoted_printable(out, str_sub(line, 0, n));
        buf_consume(&d->held, n);
    }
}

void mime_decoder_put(struct mime_decoder *d, struct str in, struct buf *out)
{
    switch (d->coding) {
    case MIME_IDENTITY: buf_put(out, in); break;
    case MIME_BASE64: put_base64(d, in, out); break;
    case MIME_QUOTED_PRINTABLE: put_quoted_printable(d, in, out); break;
    }
}

void mime_decoder_end(struct mime_decoder *d, struct buf *out)
{
    if (d->coding == MIME_BASE64) {
        uint8_t *p = buf_room(out, 2);
        struct base64 group = {d->bits, d->n};
        size_t at = 0;
        if (p) {
            (void)base64_end_group(&group, p, &at);
            buf_added(out, at);
        }
    } else if (d->held.n) {
        (void)mime_quoted_printable(out, buf_str(&d->held));
    }
    mime_decoder_begin(d, d->coding);
}
