#include "mime/mime_int.h"

#include <unicode/ucnv.h>

enum { CHARSET_NAME_MAX = 40, CHUNK = 1024 /* characters converted at a time */ };

enum charset_decoder { DECODE_UTF8, DECODE_WINDOWS_1252, DECODE_ICU };

struct charset {
    const char *name; /* squeezed: lower case, letters and digits only */
    enum charset_class class;
    enum charset_decoder decoder;
    const char *icu; /* what ICU is asked for; NULL: the name itself */
};

/* Names whose mail means more than the name says, and those of which more is known than ICU tells.
 * Latin ones are what the WHATWG encoding standard makes of them. */
/* clang-format off */
static const struct charset charsets[] = {
    {"utf8",          CHARSET_UTF8,  DECODE_UTF8,         NULL},
    {"usascii",       CHARSET_UTF8,  DECODE_WINDOWS_1252, NULL},
    {"ascii",         CHARSET_UTF8,  DECODE_WINDOWS_1252, NULL},
    {"ansix341968",   CHARSET_UTF8,  DECODE_WINDOWS_1252, NULL},
    {"iso88591",      CHARSET_UTF8,  DECODE_WINDOWS_1252, NULL},
    {"latin1",        CHARSET_UTF8,  DECODE_WINDOWS_1252, NULL},
    {"windows1252",   CHARSET_UTF8,  DECODE_WINDOWS_1252, NULL},
    {"cp1252",        CHARSET_UTF8,  DECODE_WINDOWS_1252, NULL},
    {"iso885915",     CHARSET_UTF8,  DECODE_ICU, NULL},
    {"iso88592",      CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso88593",      CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso88594",      CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso88595",      CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso88596",      CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso88597",      CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso88598",      CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso88598i",     CHARSET_ASCII, DECODE_ICU, "iso-8859-8"},
    {"iso88599",      CHARSET_ASCII, DECODE_ICU, "windows-1254"},
    {"iso885910",     CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso885911",     CHARSET_ASCII, DECODE_ICU, "windows-874"},
    {"tis620",        CHARSET_ASCII, DECODE_ICU, "windows-874"},
    {"iso885913",     CHARSET_ASCII, DECODE_ICU, NULL},
    {"iso885914",     CHARSET_ASCII, DECODE_ICU, NULL},
    {"windows1250",   CHARSET_ASCII, DECODE_ICU, NULL},
    {"windows1251",   CHARSET_ASCII, DECODE_ICU, NULL},
    {"windows1253",   CHARSET_ASCII, DECODE_ICU, NULL},
    {"windows1254",   CHARSET_ASCII, DECODE_ICU, NULL},
    {"windows1255",   CHARSET_ASCII, DECODE_ICU, NULL},
    {"windows1256",   CHARSET_ASCII, DECODE_ICU, NULL},
    {"windows1257",   CHARSET_ASCII, DECODE_ICU, NULL},
    {"windows1258",   CHARSET_ASCII, DECODE_ICU, NULL},
    {"koi8r",         CHARSET_ASCII, DECODE_ICU, NULL},
    {"koi8u",         CHARSET_ASCII, DECODE_ICU, NULL},
    {"gb2312",        CHARSET_ASCII, DECODE_ICU, "gb18030"},
    {"gbk",           CHARSET_ASCII, DECODE_ICU, "gb18030"},
    {"cp936",         CHARSET_ASCII, DECODE_ICU, "gb18030"},
    {"gb18030",       CHARSET_ASCII, DECODE_ICU, NULL},
    {"big5",          CHARSET_ASCII, DECODE_ICU, "windows-950"},
    {"euckr",         CHARSET_ASCII, DECODE_ICU, "windows-949"},
    {"ksc56011987",   CHARSET_ASCII, DECODE_ICU, "windows-949"},
    {"eucjp",         CHARSET_ASCII, DECODE_ICU, NULL},
    {"shiftjis",      CHARSET_ASCII, DECODE_ICU, "windows-31j"},
    {"iso2022jp",     CHARSET_OTHER, DECODE_ICU, "iso-2022-jp-2"},
    {"utf7",          CHARSET_OTHER, DECODE_ICU, NULL},
};
/* clang-format on */

static bool squeeze(struct str name, char out[CHARSET_NAME_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = byte_lower(name.p[i]);
        if (!byte_is_alpha(c) && !byte_is_digit(c))
            continue;
        if (n + 1 == CHARSET_NAME_MAX)
            return false;
        out[n++] = (char)c;
    }
    out[n] = 0;
    return n > 0;
}

static const struct charset *charset_find(struct str name)
{
    char squeezed[CHARSET_NAME_MAX];
    if (!squeeze(name, squeezed))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(charsets); i++) {
        if (str_eq(str_c(squeezed), str_c(charsets[i].name)))
            return &charsets[i];
    }
    return NULL;
}

/* No name is the default, US-ASCII (RFC 2046 section 4.1.2). */
enum charset_class mime_charset_class(struct str name)
{
    const struct charset *c = charset_find(name);
    if (c)
        return c->class;
    return name.n ? CHARSET_OTHER : CHARSET_UTF8;
}

/* Writes a character of at most four bytes; returns how many. */
static size_t encode_utf8(uint32_t c, uint8_t *p)
{
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        p[i] = (uint8_t)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    p[0] = (uint8_t)(lead[n] | c);
    return n;
}

void mime_put_char(struct buf *out, uint32_t c)
{
    uint8_t b[4];
    buf_put(out, str_of(b, encode_utf8(c, b)));
}

void mime_put_utf8(struct buf *out, struct str utf8)
{
    size_t room = (out->max ? out->max : SIZE_MAX) - out->n;
    if (utf8.n > room) {
        size_t n = room;
        while (n > 0 && (utf8.p[n] & 0xC0) == 0x80)
            n--;
        buf_put(out, str_sub(utf8, 0, n));
        out->bad = true;
        return;
    }
    buf_put(out, utf8);
}

/* What Windows-1252 has where Latin-1 has the controls 0x80 to 0x9F. */
static const uint16_t windows_1252[32] = {
    0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};

static void put_windows_1252(struct buf *out, struct str in)
{
    uint8_t utf8[CHUNK * 3];
    for (size_t i = 0; i < in.n && !out->bad;) {
        size_t at = 0;
        for (size_t end = MIN(in.n, i + CHUNK); i < end; i++) {
            uint8_t c = in.p[i];
            at += encode_utf8(c >= 0x80 && c < 0xA0 ? windows_1252[c - 0x80] : c, utf8 + at);
        }
        mime_put_utf8(out, str_of(utf8, at));
    }
}

/* Letters, digits and the few marks of charset names: ICU takes options behind commas and opens
 * files by name. */
static bool is_plain_name(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (!byte_is_alpha(c) && !byte_is_digit(c) && c != '-' && c != '_' && c != ':' && c != '.')
            return false;
    }
    return name.n > 0 && name.n < CHARSET_NAME_MAX && name.p[0] != '.';
}

static UConverter *icu_open(struct str name, const char *wanted)
{
    char own[CHARSET_NAME_MAX];
    if (!wanted) {
        if (!is_plain_name(name))
            return NULL;
        memcpy(own, name.p, name.n);
        own[name.n] = 0;
        wanted = own;
    }
    UErrorCode status = U_ZERO_ERROR;
    UConverter *c = ucnv_open(wanted, &status);
    return U_FAILURE(status) ? NULL : c;
}

/* Adds UTF-16 as UTF-8. A first half of a pair at the end is held in `high` for the next call. */
static void put_utf16(struct buf *out, const UChar *u, size_t n, uint32_t *high)
{
    uint8_t utf8[CHUNK * 3];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = u[i];
        if (c >= 0xD800 && c < 0xDC00) {
            *high = c;
            continue;
        }
        if (c >= 0xDC00 && c < 0xE000)
            c = *high ? 0x10000 + ((*high - 0xD800) << 10) + (c - 0xDC00) : 0xFFFD;
        *high = 0;
        at += encode_utf8(c, utf8 + at);
    }
    mime_put_utf8(out, str_of(utf8, at));
}

static void put_icu(UConverter *cnv, struct buf *out, struct str in)
{
    const char *from = (const char *)in.p, *end = from + in.n;
    UChar chunk[CHUNK] = {0};
    UErrorCode status = U_BUFFER_OVERFLOW_ERROR;
    uint32_t high = 0;
    while (status == U_BUFFER_OVERFLOW_ERROR && !out->bad) {
        UChar *to = chunk;
        status = U_ZERO_ERROR;
        ucnv_toUnicode(cnv, &to, chunk + CHUNK, &from, end, NULL, true, &status);
        put_utf16(out, chunk, (size_t)(to - chunk), &high);
    }
}

bool mime_charset_convert(struct str name, struct str in, struct buf *out)
{
    const struct charset *c = charset_find(name);
    enum charset_class class = mime_charset_class(name);
    if (in.n == 0)
        return true;
    if ((class == CHARSET_ASCII && mime_is_ascii(in)) ||
        (class == CHARSET_UTF8 && mime_is_utf8(in))) {
        mime_put_utf8(out, in);
        return true;
    }
    UConverter *cnv = NULL;
    if (!c || c->decoder == DECODE_ICU)
        cnv = icu_open(name, c ? c->icu : NULL);
    else if (c->decoder == DECODE_UTF8)
        cnv = icu_open(STR("utf-8"), NULL);
    if (cnv) {
        put_icu(cnv, out, in);
        ucnv_close(cnv);
        return true;
    }
    if (mime_is_utf8(in))
        mime_put_utf8(out, in);
    else
        put_windows_1252(out, in);
    return c != NULL || name.n == 0;
}

bool mime_charset_is_known(struct str name)
{
    const struct charset *c = charset_find(name);
    if (c)
        return true;
    UConverter *cnv = icu_open(name, NULL);
    if (cnv)
        ucnv_close(cnv);
    return cnv != NULL;
}

void mime_text_to_utf8(struct str charset, struct str text, struct buf *out)
{
    (void)mime_charset_convert(charset, text, out);
}

/* Converters load their tables when they are first used. */
struct err mime_charsets_load(void)
{
    static const struct {
        const char *name;
        struct str text;
    } samples[] = {
        {"iso-8859-15", STR_INIT("\xA4")},  {"iso-8859-2", STR_INIT("\xB1")},
        {"windows-1251", STR_INIT("\xC1")}, {"koi8-r", STR_INIT("\xC1")},
        {"gb18030", STR_INIT("\xC4\xE3")},  {"big5", STR_INIT("\xA7\x41")},
        {"euc-kr", STR_INIT("\xBE\xC8")},   {"shift_jis", STR_INIT("\x82\xA0")},
        {"euc-jp", STR_INIT("\xA4\xA2")},   {"iso-2022-jp", STR_INIT("\x1B$B$\"\x1B(B")},
        {"utf-8", STR_INIT("\xFF")},        {"utf-16", STR_INIT("\xFE\xFF\0A")},
    };
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct buf out CLEANUP(buf_free) = {0};
        if (!mime_charset_is_known(str_c(samples[i].name)))
            return err_make(E_UNSUPPORTED, "the character set tables cannot be loaded");
        mime_text_to_utf8(str_c(samples[i].name), samples[i].text, &out);
    }
    return OK;
}
