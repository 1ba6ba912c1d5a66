#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "roles/supervisor/config.h"

static void parse(const char *text, struct arena *a, Thurn__Configuration *out)
{
    FILE *in = fmemopen((char *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(in);
    config_parse(in, "thurn.conf", a, out);
    (void)fclose(in);
}

static void expect_error(const char *text, const char *said)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Configuration c;
    parse(text, &a, &c);
    struct str error = pb_str(c.error);
    if (!error.n || str_find(error, str_c(said), 0) == error.n)
        fail_msg("\"%s\" gave \"%.*s\", not \"%s\"", text, STR_FMT(error), said);
}

static void an_empty_file_means_the_defaults(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Configuration c;
    parse("# nothing\n", &a, &c);
    assert_int_equal(c.error.len, 0);
    assert_int_equal(c.settings->message_size_limit, 50 << 20);
    assert_int_equal(c.settings->imap_idle_timeout, 31 * 60 * 1000);
    assert_int_equal(c.settings->argon2_memory_kib, 19 * 1024);
    assert_int_equal(c.settings->hang_timeout, 30 * 1000);
    assert_false(c.settings->sandbox_relaxed);
    assert_int_equal(c.frontends, 0); /* for config_fit */
    assert_true(c.settings->hostname.len > 0);
}

static void the_machine_decides_what_the_file_leaves_open(void **state)
{
    static const struct {
        const char *text;
        unsigned processors, frontends, scanners, workers;
    } cases[] = {
        {"", 1, 1, 2, 8},
        {"", 2, 1, 2, 8},
        {"", 8, 4, 4, 16},
        {"", 256, 8, 8, 64},
        {"frontends = 3\nscanners = 1\nworkers = 5\n", 256, 3, 1, 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a CLEANUP(arena_free);
        arena_init(&a, 1 << 20);
        Thurn__Configuration c;
        parse(cases[i].text, &a, &c);
        config_fit(&c, cases[i].processors);
        assert_int_equal(c.frontends, cases[i].frontends);
        assert_int_equal(c.settings->scanners, cases[i].scanners);
        assert_int_equal(c.settings->workers, cases[i].workers);
    }
}

static void values_with_units_are_understood(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Configuration c;
    parse("message_size_limit = \"2 MB\"\nscan_timeout = 500ms\nhang_timeout = \"0 s\"\nlog_level "
          "= debug\n"
          "sandbox = relaxed\nlisten { imap = {\"127.0.0.1:143\", \"[::1]:143\"} lmtp = "
          "{\"127.0.0.1:24\"} }\ncleartext_login_from = {\"10.0.0.0/8\"}\n"
          "shared_addresses = {\"10.0.0.7\", \"::1\"}\n"
          "certificate { names = {\"a.test\", \"b.test\"} chain = \"c\" key = \"k\" }\n",
          &a, &c);
    assert_int_equal(c.error.len, 0);
    assert_int_equal(c.settings->message_size_limit, 2 << 20);
    assert_int_equal(c.settings->scan_timeout, 500);
    assert_int_equal(c.settings->hang_timeout, 0);
    assert_int_equal(c.settings->log_level, LOG_DEBUG);
    assert_true(c.settings->sandbox_relaxed);
    assert_int_equal(c.n_listen, 3);
    assert_int_equal(c.settings->n_cleartext_login_from, 1);
    assert_int_equal(c.settings->n_shared_addresses, 2);
    assert_int_equal(c.n_certificates, 1);
    assert_int_equal(c.certificates[0]->n_names, 2);
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
    expect_error("\n\nworkers = many\n", "thurn.conf:3: workers: \"many\" is not a number");
    expect_error("workers = 257\n", "thurn.conf:1: workers: \"257\" is out of range");
    expect_error("hang_timeout = \"25 h\"\n",
                 "thurn.conf:1: hang_timeout: \"25 h\" is out of range");
    expect_error("flying = yes\n", "thurn.conf:1: no such option 'flying'");
    expect_error("scan_timeout = \"3 fortnights\"\n", "fortnights");
    expect_error("listen { imap = {\"somewhere\"} }\n", "somewhere");
    expect_error("cleartext_login_from = {\"1.2.3\"}\n", "1.2.3");
    expect_error("shared_addresses = {\"webmail.test\"}\n", "webmail.test");
    expect_error("certificate { chain = \"c\" }\n", "needs both");
    expect_error("message_size_limit = \"99999999999999999999 GB\"\n", "is not a size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_means_the_defaults),
        cmocka_unit_test(the_machine_decides_what_the_file_leaves_open),
        cmocka_unit_test(values_with_units_are_understood),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
