/*
 * The FETCH printer with a client's items and a backend's rows. Input: one byte the length of the
 * items, the items; then frames: one byte the length of the packed rows (0: none), one that of the
 * raw bytes, both in units of four, then these. Where the printer is content, the answer's
 * parentheses and literals match.
 */
#include "base/base.h"

#include "imap/imap_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct imap_fetch_print *parse_items(struct str items, struct arena *a)
{
    static const struct imap_limits limits = {
        .line = 4096, .literal = 256, .command = 4096, .message = 10};
    struct imap_parser parser;
    struct imap_parsed r;
    struct buf in = {0};
    imap_parser_init(&parser, &limits);
    buf_put(&in, STR("a UID FETCH 1 "));
    buf_put(&in, items);
    buf_put(&in, STR("\r\n"));
    imap_parse(&parser, &in, IMAP_SELECTED, a, &r);
    buf_free(&in);
    imap_parser_free(&parser);
    return r.what == IMAP_PARSE_COMMAND ? r.command.print : NULL;
}

/* Skips one quoted string or literal behind its first byte. */
static void skip_string(struct cur *c, uint8_t first)
{
    if (first == '{') {
        uint64_t n = cur_decimal(c, UINT32_MAX);
        check(cur_accept_str(c, STR("}\r\n")));
        cur_skip(c, (size_t)n);
        return;
    }
    for (uint8_t b = cur_byte(c); b != '"'; b = cur_byte(c)) {
        check(!c->bad && b != '\r' && b != '\n' && b != 0 && b < 0x80);
        if (b == '\\')
            (void)cur_byte(c);
    }
}

static void check_answers(struct str text)
{
    size_t depth = 0;
    for (struct cur c = cur_of(text); !cur_end(&c);) {
        uint8_t b = cur_byte(&c);
        if (b == '"' || b == '{')
            skip_string(&c, b);
        else if (b == '(')
            depth++;
        else if (b == ')')
            check(depth-- > 0);
        else if (b == '\r')
            check(depth == 0 && cur_accept(&c, '\n'));
        check(!c.bad);
    }
    check(depth == 0);
}

static bool feed_frame(struct imap_fetch_printer *f, struct buf *out, struct cur *input)
{
    struct arena a;
    arena_init(&a, 1024 * 1024);
    size_t typed = (size_t)cur_byte(input) * 4, raw = (size_t)cur_byte(input) * 4;
    struct str packed = cur_take(input, MIN(typed, cur_left(input)));
    const Thurn__ImapRows *rows =
        typed ? (const void *)pb_unpack(&a, &thurn__imap_rows__descriptor, packed) : NULL;
    struct str bytes = cur_take(input, MIN(raw, cur_left(input)));
    struct err e = imap_fetch_print_rows(f, out, rows, bytes);
    arena_free(&a);
    return e.code == E_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur input = cur_of(str_of(data, size));
    struct arena a;
    arena_init(&a, 1024 * 1024);
    size_t n = cur_byte(&input);
    struct imap_fetch_print *print = parse_items(cur_take(&input, MIN(n, cur_left(&input))), &a);
    if (print) {
        struct imap_view_names names = {0};
        ProtobufCBinaryData keywords[] = {pb_bytes(STR("Work")), pb_bytes(STR("$Junk"))};
        imap_names_set(&names, keywords, ARRAY_LEN(keywords));
        struct imap_fetch_printer *f = imap_fetch_printer_new(print, &names);
        struct buf out = {0};
        bool content = true;
        while (content && !cur_end(&input))
            content = feed_frame(f, &out, &input);
        if (content && imap_fetch_printer_complete(f))
            check_answers(buf_str(&out));
        buf_free(&out);
        imap_fetch_printer_free(f);
        imap_names_free(&names);
    }
    arena_free(&a);
    return 0;
}
