#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

static struct cur cur_text(const char *s)
{
    return cur_of(str_c(s));
}

/* --------------------------------------------------------------------------------- slices */

static void slices_are_clamped_not_overrun(void **state)
{
    struct str s = STR("hello");
    assert_true(str_eq(str_sub(s, 1, 3), STR("el")));
    assert_true(str_eq(str_sub(s, 3, 100), STR("lo")));
    assert_int_equal(str_sub(s, 4, 2).n, 0);
    assert_int_equal(str_sub(s, 100, 200).n, 0);
    assert_int_equal(str_skip(s, SIZE_MAX).n, 0);
    assert_true(str_eq(str_skip(s, 4), STR("o")));
    assert_int_equal(str_c(NULL).n, 0);
}

static void slices_compare_by_bytes(void **state)
{
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_true(str_eq((struct str){0}, STR("")));
    assert_true(str_ieq(STR("INBOX"), STR("inbox")));
    assert_false(str_ieq(STR("\xC3\x84"), STR("\xC3\xA4"))); /* ASCII only */
    assert_false(str_ieq(STR("@"), STR("`")));
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR("ab"), STR("ab")), 0);
    assert_true(str_eq_secret(STR("secret"), STR("secret")));
    assert_false(str_eq_secret(STR("secret"), STR("secreT")));
    assert_false(str_eq_secret(STR("secret"), STR("secre")));
    assert_true(str_starts(STR("abc"), STR("")) && str_starts(STR("abc"), STR("abc")));
    assert_false(str_starts(STR("abc"), STR("abcd")));
    assert_true(str_istarts(STR("ABC"), STR("ab")) && str_ends(STR("abc"), STR("bc")));
}

static void finding_stays_inside(void **state)
{
    struct str s = STR("abcabc");
    assert_int_equal(str_find(s, STR("ca"), 0), 2);
    assert_int_equal(str_find(s, STR("abc"), 1), 3);
    assert_int_equal(str_find(s, STR("abcd"), 3), s.n);
    assert_int_equal(str_find(s, STR("a"), 7), s.n);
    assert_int_equal(str_find(s, STR(""), 6), 6);
    assert_int_equal(str_find_byte(s, 'c', 3), 5);
    assert_int_equal(str_find_byte(s, 'x', 0), s.n);
    assert_int_equal(str_find_byte((struct str){0}, 'x', 0), 0);
    assert_true(str_eq(str_trim(STR(" \t x y\r\n")), STR("x y")));
    assert_int_equal(str_trim(STR(" \r\n")).n, 0);
}

/* Of few letters, so that everything stands beside everything. */
static struct str some_text(uint64_t n, uint8_t room[40])
{
    size_t length = n % 41;
    for (size_t i = 0; i < length; i++) {
        n = n * 6364136223846793005u + 1442695040888963407u;
        room[i] = (uint8_t) "\r\n.x"[n >> 62];
    }
    return str_of(room, length);
}

static void pairs_are_found_wherever_they_stand(void **state)
{
    uint8_t room[40];
    for (uint64_t n = 0; n < 200000; n++) {
        struct str s = some_text(n, room);
        size_t from = n / 41 % 41, want = s.n;
        for (size_t i = s.n; i-- > from + 1;)
            want = s.p[i - 1] == '\n' && s.p[i] == '.' ? i - 1 : want;
        assert_int_equal(str_find_pair(s, '\n', '.', from), want);
    }
}

static void a_letter_without_its_partner_is_noticed_wherever_it_stands(void **state)
{
    uint8_t room[40];
    for (uint64_t n = 0; n < 200000; n++) {
        struct str s = some_text(n, room);
        bool good = true;
        for (size_t i = 0; i < s.n; i++) {
            good = good && (s.p[i] != '\r' || (i + 1 < s.n && s.p[i + 1] == '\n'));
            good = good && (s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
        }
        assert_int_equal(str_pairs_only(s, '\r', '\n'), good);
    }
    assert_true(str_pairs_only(STR("a line\r\nanother\r\n\r\n\r\n\r\n\r\n"), '\r', '\n'));
    assert_false(str_pairs_only(STR("a line\r\nanother\r\n\r\n\r\n\n\r\r\n"), '\r', '\n'));
}

static void only_whole_numbers_are_numbers(void **state)
{
    uint64_t v = 7;
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &v).code, E_OK);
    assert_true(v == UINT64_MAX);
    static const struct str bad[] = {
        STR_INIT("18446744073709551616"),
        STR_INIT(""),
        STR_INIT("-1"),
        STR_INIT("+1"),
        STR_INIT("1 "),
        STR_INIT(" 1"),
        STR_INIT("0x1"),
        STR_INIT("1\0"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(str_to_u64(bad[i], &v).code, E_INVALID);
    assert_true(v == UINT64_MAX); /* untouched */
}

static void utf8_is_recognized_strictly(void **state)
{
    static const struct str good[] = {
        STR_INIT(""),
        STR_INIT("plain\0text"),
        STR_INIT("\xC2\x80\xDF\xBF"),
        STR_INIT("\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF"),
        STR_INIT("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"),
    };
    static const struct str bad[] = {
        STR_INIT("\x80"),
        STR_INIT("\xC0\x80"), /* overlong */
        STR_INIT("\xC1\xBF"),
        STR_INIT("\xE0\x9F\xBF"),
        STR_INIT("\xF0\x8F\xBF\xBF"),
        STR_INIT("\xED\xA0\x80"), /* surrogate */
        STR_INIT("\xF4\x90\x80\x80"),
        STR_INIT("\xF5\x80\x80\x80"),
        STR_INIT("\xC3"),
        STR_INIT("\xE2\x82"), /* cut off */
        STR_INIT("\xF0\x9F\x98"),
        STR_INIT("\xC3(\xA4"),
        STR_INIT("\xE2\x82("),
        STR_INIT("\xFF"),
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(str_is_utf8(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(str_is_utf8(bad[i]));
}

/* --------------------------------------------------------------------------------- cursor */

static void a_cursors_first_error_sticks(void **state)
{
    struct cur c = cur_text("ab1");
    assert_int_equal(cur_byte(&c), 'a');
    assert_int_equal(cur_take(&c, 3).n, 0); /* only two are left */
    assert_true(c.bad);
    assert_int_equal(cur_byte(&c), 0);
    assert_int_equal(cur_take(&c, 1).n, 0);
    assert_int_equal(cur_rest(&c).n, 0);
    assert_int_equal(cur_peek(&c), -1);
    assert_false(cur_accept(&c, 'b'));
    assert_false(cur_accept_str(&c, STR("b")));
    assert_int_equal(cur_until(&c, '1').n, 0);
    assert_int_equal(cur_decimal(&c, 9), 0);
    assert_int_equal(cur_u64le(&c), 0);
    assert_true(cur_end(&c));
    assert_int_equal(cur_err(&c).code, E_INVALID);
}

static void looking_ahead_is_no_error(void **state)
{
    struct cur c = cur_text("ab");
    assert_int_equal(cur_peek_at(&c, 1), 'b');
    assert_int_equal(cur_peek_at(&c, 2), -1);
    assert_int_equal(cur_peek_at(&c, SIZE_MAX), -1);
    assert_false(cur_accept(&c, 'b'));
    assert_false(cur_accept_str(&c, STR("abc")));
    assert_true(cur_accept_istr(&c, STR("AB")));
    assert_int_equal(cur_peek(&c), -1);
    assert_false(cur_accept(&c, 0xFF)); /* the end is no byte */
    assert_int_equal(cur_err(&c).code, E_OK);
}

static bool is_digit(uint8_t c)
{
    return byte_is_digit(c);
}

static void a_cursor_reads_tokens(void **state)
{
    struct cur c = cur_text("key=12 rest");
    assert_true(str_eq(cur_until(&c, '='), STR("key")));
    assert_true(str_eq(cur_take_while(&c, is_digit), STR("12")));
    assert_true(cur_expect(&c, ' '));
    assert_true(str_eq(cur_rest(&c), STR("rest")));
    assert_true(cur_end(&c) && !c.bad);
    assert_int_equal(cur_take_while(&c, is_digit).n, 0);
    assert_false(c.bad);
    assert_false(cur_expect(&c, ' '));
    assert_true(c.bad);
    c = cur_text("none");
    assert_int_equal(cur_until(&c, '=').n, 0);
    assert_true(c.bad);
}

static void decimals_respect_their_limit(void **state)
{
    struct cur c = cur_text("4294967295,");
    assert_int_equal(cur_decimal(&c, UINT32_MAX), UINT32_MAX);
    assert_true(cur_accept(&c, ','));
    static const char *const bad[] = {"4294967296", "", "x", "99999999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        c = cur_text(bad[i]);
        assert_int_equal(cur_decimal(&c, UINT32_MAX), 0);
        assert_true(c.bad);
    }
}

static void integers_come_back_as_they_were_written(void **state)
{
    static const uint64_t values[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX >> 1, UINT64_MAX};
    struct buf b CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        buf_varint(&b, values[i]);
        buf_u16le(&b, (uint16_t)values[i]);
        buf_u32le(&b, (uint32_t)values[i]);
        buf_u64le(&b, values[i]);
        buf_decimal(&b, values[i]);
        buf_byte(&b, ';');
    }
    struct cur c = cur_of(buf_str(&b));
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_true(cur_varint(&c) == values[i]);
        assert_int_equal(cur_u16le(&c), (uint16_t)values[i]);
        assert_int_equal(cur_u32le(&c), (uint32_t)values[i]);
        assert_true(cur_u64le(&c) == values[i]);
        assert_true(cur_decimal(&c, UINT64_MAX) == values[i]);
        assert_true(cur_expect(&c, ';'));
    }
    assert_true(cur_end(&c) && !c.bad);
}

static void varints_beyond_64_bits_are_refused(void **state)
{
    static const struct str bad[] = {
        STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
        STR_INIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
        STR_INIT("\x80"),
        STR_INIT(""),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cur c = cur_of(bad[i]);
        assert_true(cur_varint(&c) == 0);
        assert_true(c.bad);
    }
}

/* -------------------------------------------------------------------------------- buffers */

static void a_buffer_never_exceeds_its_limit(void **state)
{
    struct buf b CLEANUP(buf_free) = {.max = 5};
    buf_put(&b, STR("1234"));
    buf_put(&b, STR("56")); /* not even in part */
    assert_int_equal(buf_err(&b).code, E_LIMIT);
    buf_byte(&b, '5'); /* the error sticks */
    assert_true(str_eq(buf_str(&b), STR("1234")));
    buf_clear(&b);
    buf_printf(&b, "%d", 12345);
    assert_int_equal(buf_err(&b).code, E_OK);
    assert_true(str_eq(buf_str(&b), STR("12345")));
    buf_printf(&b, "%s", "");
    assert_int_equal(buf_err(&b).code, E_OK);
    assert_null(buf_room(&b, SIZE_MAX));
    assert_int_equal(buf_err(&b).code, E_LIMIT);
}

static void long_formatted_text_is_whole(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    buf_printf(&b, "%1000d|", 7);
    assert_int_equal(b.n, 1001);
    assert_true(str_ends(buf_str(&b), STR("7|")));
}

/* A buffer used as a queue gives the bytes back in order, and moves what it must. */
static void a_buffer_is_a_queue(void **state)
{
    struct buf b CLEANUP(buf_free) = {.max = 3000};
    uint32_t in = 0, out = 0;
    for (size_t round = 0; round < 2000; round++) {
        size_t put = random_u64() % 60, take = random_u64() % 60;
        for (size_t i = 0; i < put && b.n + 4 <= 3000; i++)
            buf_u32le(&b, in++);
        for (size_t i = 0; i < take && b.n; i++) {
            struct cur c = cur_of(buf_str(&b));
            assert_int_equal(cur_u32le(&c), out++);
            buf_consume(&b, 4);
        }
        assert_int_equal(b.n, (in - out) * 4);
        assert_int_equal(buf_err(&b).code, E_OK);
        assert_true(b.cap <= 8192);
    }
}

static void a_buffer_gives_its_memory_back(void **state)
{
    struct buf b CLEANUP(buf_free) = {.max = 100000};
    uint8_t *room = buf_room(&b, 50000);
    assert_non_null(room);
    memset(room, 'x', 50000);
    buf_added(&b, 50000);
    buf_cut(&b, 10);
    assert_true(str_eq(buf_str(&b), STR("xxxxxxxxxx")));
    buf_reset(&b, 4096);
    assert_null(b.p);
    assert_int_equal(b.max, 100000);
    buf_put(&b, STR("x"));
    buf_reset(&b, 4096);
    assert_non_null(b.p);
    assert_int_equal(b.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_clamped_not_overrun),
        cmocka_unit_test(slices_compare_by_bytes),
        cmocka_unit_test(finding_stays_inside),
        cmocka_unit_test(pairs_are_found_wherever_they_stand),
        cmocka_unit_test(a_letter_without_its_partner_is_noticed_wherever_it_stands),
        cmocka_unit_test(only_whole_numbers_are_numbers),
        cmocka_unit_test(utf8_is_recognized_strictly),
        cmocka_unit_test(a_cursors_first_error_sticks),
        cmocka_unit_test(looking_ahead_is_no_error),
        cmocka_unit_test(a_cursor_reads_tokens),
        cmocka_unit_test(decimals_respect_their_limit),
        cmocka_unit_test(integers_come_back_as_they_were_written),
        cmocka_unit_test(varints_beyond_64_bits_are_refused),
        cmocka_unit_test(a_buffer_never_exceeds_its_limit),
        cmocka_unit_test(long_formatted_text_is_whole),
        cmocka_unit_test(a_buffer_is_a_queue),
        cmocka_unit_test(a_buffer_gives_its_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
