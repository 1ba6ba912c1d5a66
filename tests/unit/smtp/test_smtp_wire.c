#include "smtp/smtp_wire.h"

#include <setjmp.h>
#include <cmocka.h>

static void answer_is(const char *line, enum smtp_dialect dialect, unsigned code)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 16 * KB);
    struct smtp_command c;
    struct smtp_reply bad = {0};
    bool ok = smtp_parse(str_c(line), dialect, &a, &c, &bad);
    if (ok ? code != 0 : bad.code != code)
        fail_msg("%s: %u, want %u", line, ok ? 0 : bad.code, code);
}

static void each_dialect_has_its_own_commands(void **state)
{
    answer_is("EHLO x", SMTP_MX, 0);
    answer_is("HELO x", SMTP_SUBMISSION, 0);
    answer_is("LHLO x", SMTP_MX, 500);
    answer_is("EHLO x", SMTP_LMTP, 500);
    answer_is("BDAT 1", SMTP_LMTP, 500);
    answer_is("STARTTLS", SMTP_LMTP, 500);
    answer_is("AUTH PLAIN", SMTP_SUBMISSION, 0);
    answer_is("AUTH PLAIN", SMTP_MX, 500);
    answer_is("MAIL FROM:<a@b> AUTH=<>", SMTP_SUBMISSION, 0);
    answer_is("MAIL FROM:<a@b> AUTH=<>", SMTP_MX, 555);
}

static void utf8_is_taken_where_the_standard_has_it(void **state)
{
    answer_is("MAIL FROM:<gr\xc3\xbc\xc3\x9f@b> SMTPUTF8", SMTP_MX, 0);
    answer_is("MAIL FROM:<\"gr\xc3\xbc\xc3\x9f\"@b> SMTPUTF8", SMTP_MX, 0);
    answer_is("MAIL FROM:<gr\xc3\xbc\xc3\x9f@b>", SMTP_MX, 553);
    answer_is("MAIL FROM:<a@b\xc3\xbc.test> SMTPUTF8", SMTP_MX, 553);
    answer_is("MAIL FROM:<gr\xc3@b> SMTPUTF8", SMTP_MX, 500);
    answer_is("EHLO b\xc3\xbc", SMTP_MX, 501);
}

static void a_chunk_of_unknown_size_ends_the_connection(void **state)
{
    answer_is("BDAT 18446744073709551615 last", SMTP_MX, 0);
    answer_is("BDAT 18446744073709551616", SMTP_MX, 421);
    answer_is("BDAT", SMTP_MX, 421);
    answer_is("BDAT 5 \x01", SMTP_MX, 421);
    answer_is("BDAT LAST 5", SMTP_MX, 421);
}

static void put(void *arg, struct str bytes)
{
    buf_put(arg, bytes);
}

static void newlines_are(struct str in, bool normalize, struct str want, bool bare)
{
    for (size_t step = 1; step <= in.n; step++) {
        struct smtp_newlines n = {.normalize = normalize};
        struct buf out CLEANUP(buf_free) = {0};
        for (size_t at = 0; at < in.n; at += step)
            smtp_newlines_feed(&n, str_sub(in, at, at + step), put, &out);
        smtp_newlines_end(&n, put, &out);
        assert_true(str_eq(buf_str(&out), want));
        assert_int_equal(n.bare, bare);
    }
}

static void a_bare_cr_or_lf_is_found_however_the_input_is_cut(void **state)
{
    newlines_are(STR("a\r\nb\r\n\r\n"), true, STR("a\r\nb\r\n\r\n"), false);
    newlines_are(STR("a\nb"), true, STR("a\r\nb"), true);
    newlines_are(STR("a\rb"), true, STR("a\r\nb"), true);
    newlines_are(STR("\r\r\n\n\r"), true, STR("\r\n\r\n\r\n\r\n"), true);
    newlines_are(STR("x\n.\r\ny\r.\n"), true, STR("x\r\n.\r\ny\r\n.\r\n"), true);
    newlines_are(STR("a\r\nb\r\n"), false, STR("a\r\nb\r\n"), false);
    newlines_are(STR("\r\r\n\n\r"), false, STR("\r\r\n\n\r"), true);
    newlines_are(STR("many\r\nlines\r\nthat\r\n\r\n\r\nare good\r\nand one\n"), true,
                 STR("many\r\nlines\r\nthat\r\n\r\n\r\nare good\r\nand one\r\n"), true);
    newlines_are(STR("\nmany\r\nlines\r\nthat\r\n\r\n\r\nare good\r\n"), false,
                 STR("\nmany\r\nlines\r\nthat\r\n\r\n\r\nare good\r\n"), true);
}

static void a_chunk_ends_where_it_said(void **state)
{
    struct str all = STR("\r\n.\r\nQUIT\r\nNOOP\r\n");
    struct smtp_chunk chunk = {11};
    struct buf in CLEANUP(buf_free) = {0}, got CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < all.n; i++) {
        buf_byte(&in, all.p[i]);
        buf_put(&got, smtp_chunk_next(&chunk, &in));
    }
    assert_true(str_eq(buf_str(&got), str_sub(all, 0, 11)));
    assert_true(str_eq(buf_str(&in), STR("NOOP\r\n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_dialect_has_its_own_commands),
        cmocka_unit_test(utf8_is_taken_where_the_standard_has_it),
        cmocka_unit_test(a_chunk_of_unknown_size_ends_the_connection),
        cmocka_unit_test(a_bare_cr_or_lf_is_found_however_the_input_is_cut),
        cmocka_unit_test(a_chunk_ends_where_it_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
