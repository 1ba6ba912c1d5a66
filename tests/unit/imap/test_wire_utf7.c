#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "imap/imap_wire.h"

static void assert_decodes(const char *utf7, const char *utf8)
{
    struct buf out = {0};
    assert_int_equal(imap_utf7_decode(str_c(utf7), &out).code, E_OK);
    assert_true(str_eq(buf_str(&out), str_c(utf8)));
    buf_clear(&out);
    imap_utf7_encode(str_c(utf8), &out);
    assert_true(str_eq(buf_str(&out), str_c(utf7)));
    buf_free(&out);
}

static void names_in_any_script_travel_both_ways(void **state)
{
    assert_decodes("", "");
    assert_decodes("INBOX", "INBOX");
    assert_decodes("Tom &- Jerry", "Tom & Jerry");
    assert_decodes("&--", "&-");
    /* RFC 3501 section 5.1.3 */
    assert_decodes("~peter/mail/&U,BTFw-/&ZeVnLIqe-",
                   "~peter/mail/\xE5\x8F\xB0\xE5\x8C\x97/\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E");
    assert_decodes("Entw&APw-rfe", "Entw\xC3\xBCrfe");
    assert_decodes("&AOk-", "\xC3\xA9");
    assert_decodes("&AOkA6Q-", "\xC3\xA9\xC3\xA9");
    assert_decodes("&AOkA6QDp-x", "\xC3\xA9\xC3\xA9\xC3\xA9x");
    assert_decodes("&Jjo-!", "\xE2\x98\xBA!");
    assert_decodes("&2D3eAA-", "\xF0\x9F\x98\x80");
    assert_decodes("&AOnYPd4AAOk-", "\xC3\xA9\xF0\x9F\x98\x80\xC3\xA9");
    assert_decodes("&AAk-", "\t");
}

static void names_that_are_not_modified_utf_7_are_refused(void **state)
{
    static const char *const wrong[] = {
        "&",                  /* no end */
        "&AOk",               /* no end */
        "&AOk x",             /* a character of no alphabet */
        "&AO-",               /* half a character */
        "&A-",                /* less than that */
        "&AOl-",              /* bits left over that are not 0 */
        "&AOkA-",             /* too many bits left over */
        "&AEE-",              /* a letter that stands for itself */
        "&ACY-",              /* & has a form of its own */
        "&AOk-&AOk-",         /* two runs where one does */
        "&2D0-",              /* half a surrogate pair */
        "&3gA-",              /* the other half */
        "&2D0AQQ-",           /* a surrogate and a letter */
        "&AOk=-",             /* padding */
        "&AOk/-",             /* base64's own alphabet */
        "\xC3\xA9",           /* UTF-8 */
        "a\tb",               /* a control character */
        "&Jjo!",              /* RFC 3501: missing shift back */
        "&U,BTFw-&ZeVnLIqe-", /* RFC 3501: superfluous shift */
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct buf out = {0};
        buf_put(&out, STR("before"));
        assert_int_equal(imap_utf7_decode(str_c(wrong[i]), &out).code, E_INVALID);
        assert_true(str_eq(buf_str(&out), STR("before")));
        buf_free(&out);
    }
}

static void bytes_that_are_no_utf_8_are_shown_as_replacement_characters(void **state)
{
    struct buf out = {0};
    imap_utf7_encode(STR("a\xFF\xC3z"), &out);
    assert_true(str_eq(buf_str(&out), STR("a&,,3,,Q-z")));
    buf_free(&out);
}

static void a_name_beyond_the_limit_of_the_buffer_is_refused(void **state)
{
    struct buf out = {.max = 4};
    assert_int_equal(imap_utf7_decode(STR("abcde"), &out).code, E_LIMIT);
    assert_int_equal(out.n, 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_in_any_script_travel_both_ways),
        cmocka_unit_test(names_that_are_not_modified_utf_7_are_refused),
        cmocka_unit_test(bytes_that_are_no_utf_8_are_shown_as_replacement_characters),
        cmocka_unit_test(a_name_beyond_the_limit_of_the_buffer_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
