/* Commands of SMTP and submission: whatever a line parses to stands by its limits, and is UTF-8. */
#include "smtp/smtp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_address(const struct smtp_command *c)
{
    check(c->local.n <= SMTP_LOCAL_MAX && c->address_domain.n <= SMTP_DOMAIN_MAX);
    check(c->verb == SMTP_MAIL || c->verb == SMTP_RCPT || !c->local.n);
    check(str_is_utf8(c->local));
    check(c->verb != SMTP_MAIL || c->smtputf8 || !c->address_utf8);
    bool utf8 = false;
    for (size_t i = 0; i < c->local.n; i++) {
        check(c->local.p[i] >= 32 && c->local.p[i] != 127);
        utf8 = utf8 || c->local.p[i] > 127;
    }
    check(utf8 == c->address_utf8);
    for (size_t i = 0; i < c->address_domain.n; i++)
        check(c->address_domain.p[i] < 127 &&
              c->address_domain.p[i] == byte_lower(c->address_domain.p[i]));
}

static void fuzz_line(struct str line, enum smtp_dialect dialect)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4 * KB);
    struct smtp_command c;
    struct smtp_reply bad;
    if (smtp_parse(line, dialect, &a, &c, &bad)) {
        check(c.verb < SMTP_VERBS && c.verb != SMTP_LHLO);
        check(c.verb != SMTP_AUTH || (c.mechanism.n && dialect == SMTP_SUBMISSION));
        check(c.verb == SMTP_BDAT || !c.last);
        fuzz_address(&c);
    } else {
        check(bad.code >= 400 && bad.code < 600 && bad.enhanced && bad.text);
        /* What could be a chunk of unknown size ends the connection, nothing else does. */
        check(bad.code != 421 || str_istarts(line, STR("BDAT")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf in CLEANUP(buf_free) = {0};
    struct smtp_lines lines = {0};
    struct str line;
    bool too_long;
    buf_put(&in, str_of(data, size));
    while (smtp_line_next(&lines, &in, &line, &too_long)) {
        fuzz_line(line, SMTP_MX);
        fuzz_line(line, SMTP_SUBMISSION);
    }
    return 0;
}
