/* Lines and commands of LMTP: any cut of the input gives the same lines, and whatever a line parses
 * to stands by its limits. */
#include "smtp/smtp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_line(struct str line, struct buf *seen)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4 * KB);
    struct smtp_command c;
    struct smtp_reply bad;
    if (smtp_parse(line, SMTP_LMTP, &a, &c, &bad)) {
        check(c.verb < SMTP_VERBS);
        check(c.local.n <= SMTP_LOCAL_MAX && c.address_domain.n <= SMTP_DOMAIN_MAX);
        check(c.verb == SMTP_MAIL || c.verb == SMTP_RCPT || !c.local.n);
        for (size_t i = 0; i < c.local.n; i++)
            check(c.local.p[i] >= 32 && c.local.p[i] < 127);
        for (size_t i = 0; i < c.address_domain.n; i++)
            check(c.address_domain.p[i] == byte_lower(c.address_domain.p[i]));
    } else {
        check(bad.code >= 400 && bad.code < 600 && bad.enhanced && bad.text);
    }
    buf_put(seen, line);
    buf_byte(seen, '\n');
}

static void fuzz_feed(struct str input, size_t step, struct buf *seen)
{
    struct buf in CLEANUP(buf_free) = {0};
    struct smtp_lines lines = {0};
    for (size_t at = 0; at < input.n; at += step) {
        buf_put(&in, str_sub(input, at, at + step));
        struct str line;
        bool too_long;
        while (smtp_line_next(&lines, &in, &line, &too_long)) {
            if (too_long)
                buf_byte(seen, '!');
            fuzz_line(line, seen);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct buf whole CLEANUP(buf_free) = {0}, pieces CLEANUP(buf_free) = {0};
    struct str input = str_of(data + 1, size - 1);
    fuzz_feed(input, MAX(input.n, (size_t)1), &whole);
    fuzz_feed(input, (size_t)data[0] + 1, &pieces);
    check(str_eq(buf_str(&whole), buf_str(&pieces)));
    return 0;
}
