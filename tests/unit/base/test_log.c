#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

/* What was written to standard error since the redirection began. */
static int saved = -1;
static FILE *captured;

static void capture_begin(void)
{
    captured = tmpfile();
    assert_non_null(captured);
    saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(fileno(captured), STDERR_FILENO) >= 0);
}

static void capture_end(struct buf *out)
{
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void)close(saved);
    struct stat st;
    assert_int_equal(fstat(fileno(captured), &st), 0);
    size_t n = (size_t)st.st_size;
    uint8_t *room = buf_room(out, n + 1);
    assert_non_null(room);
    assert_int_equal(pread(fileno(captured), room, n, 0), st.st_size);
    buf_added(out, n);
    (void)fclose(captured);
}

static size_t count(struct str s, struct str what)
{
    size_t n = 0;
    for (size_t at = 0; (at = str_find(s, what, at)) < s.n; at += what.n)
        n++;
    return n;
}

static bool has(struct str s, struct str what)
{
    return count(s, what) > 0;
}

static void a_line_names_time_level_role_event_and_fields(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    log_open("frontend", 2, LOG_INFO);
    log_context((session_id){0xABC}, STR("t-1"));
    capture_begin();
    log_warn("test.happened", LF_C("plain", "word"), LF_U64("n", 42),
             LF_ERR(((struct err){E_IO, ENOENT, "open failed"})));
    capture_end(&b);
    log_context((session_id){0}, (struct str){0});
    struct str line = buf_str(&b);
    assert_true(byte_is_digit(line.p[0]));
    assert_true(str_ends(line, STR(" warn role=frontend.2 event=test.happened "
                                   "session=0000000000000abc trace=t-1 plain=word n=42 error=io "
                                   "why=\"open failed\" errno=ENOENT\n")));
}

static void no_client_can_forge_a_line_or_a_field(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    log_open("frontend", 0, LOG_INFO);
    capture_begin();
    log_info("login", LF_STR("user", STR("x\n2026 info role=backend event=forged")),
             LF_STR("a", STR("b\" admin=yes c=\"")), LF_STR("d", STR("e f=g")),
             LF_STR("nul", STR("1\0\x1b[2J\xff\\")), LF_STR("empty", STR("")));
    capture_end(&b);
    struct str line = buf_str(&b);
    assert_int_equal(count(line, STR("\n")), 1);
    assert_true(has(line, STR("user=\"x\\x0a2026 info role=backend event=forged\"")));
    assert_true(has(line, STR("a=\"b\\\" admin=yes c=\\\"\"")));
    assert_true(has(line, STR("d=\"e f=g\"")));
    assert_true(has(line, STR("nul=\"1\\x00\\x1b[2J\\xff\\\\\"")));
    assert_true(has(line, STR("empty=\"\"")));
}

static void long_values_are_cut_and_the_line_still_ends(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    static uint8_t plain[20000], odd[20000];
    memset(plain, 'a', sizeof plain);
    capture_begin();
    log_info("one", LF_STR("v", str_of(plain, sizeof plain)));
    struct str o = str_of(odd, sizeof odd);
    log_info("two", LF_STR("a", o), LF_STR("b", o), LF_STR("c", o), LF_STR("d", o), LF_STR("e", o),
             LF_STR("f", o), LF_STR("g", o), LF_STR("h", o), LF_STR("i", o));
    log_info("three");
    capture_end(&b);
    struct str lines = buf_str(&b);
    assert_int_equal(count(lines, STR("\n")), 3);
    assert_true(has(lines, STR("a...\"\n")));
    assert_true(str_ends(lines, STR("event=three\n")));
}

static void the_level_decides_what_is_written(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    capture_begin();
    log_set_level(LOG_WARN);
    log_info("not.this");
    log_error("but.this");
    log_set_level(LOG_DEBUG);
    log_debug("and.this");
    capture_end(&b);
    assert_false(has(buf_str(&b), STR("not.this")));
    assert_true(has(buf_str(&b), STR("but.this")) && has(buf_str(&b), STR("and.this")));
    enum log_level level = LOG_WARN;
    assert_int_equal(log_level_parse(STR("error"), &level).code, E_OK);
    assert_int_equal(level, LOG_ERROR);
    assert_int_equal(log_level_parse(STR("loud"), &level).code, E_INVALID);
}

static void errors_have_names(void **state)
{
    assert_string_equal(errc_name(E_NOTFOUND), "not-found");
    assert_string_equal(errc_name((enum errc)99), "unknown");
    errno = ENOSPC;
    assert_int_equal(err_sys("write").code, E_FULL);
    errno = EIO;
    assert_int_equal(err_sys("write").code, E_IO);
}

int main(void)
{
    (void)unsetenv("JOURNAL_STREAM");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_names_time_level_role_event_and_fields),
        cmocka_unit_test(no_client_can_forge_a_line_or_a_field),
        cmocka_unit_test(long_values_are_cut_and_the_line_still_ends),
        cmocka_unit_test(the_level_decides_what_is_written),
        cmocka_unit_test(errors_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
