#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

static void base64_round_trips(void **state)
{
    uint8_t bytes[64];
    for (size_t n = 0; n <= sizeof bytes; n++) {
        struct buf text CLEANUP(buf_free) = {0}, back CLEANUP(buf_free) = {0};
        random_bytes(bytes, n);
        base64_encode(&text, str_of(bytes, n));
        assert_int_equal(text.n, (n + 2) / 3 * 4);
        assert_int_equal(base64_decode(&back, buf_str(&text)).code, E_OK);
        assert_true(str_eq(buf_str(&back), str_of(bytes, n)));
    }
}

static void base64_matches_rfc_4648(void **state)
{
    static const struct {
        struct str plain, text;
    } cases[] = {
        {STR_INIT(""), STR_INIT("")},
        {STR_INIT("f"), STR_INIT("Zg==")},
        {STR_INIT("fo"), STR_INIT("Zm8=")},
        {STR_INIT("foo"), STR_INIT("Zm9v")},
        {STR_INIT("foob"), STR_INIT("Zm9vYg==")},
        {STR_INIT("\0alice\0secret"), STR_INIT("AGFsaWNlAHNlY3JldA==")},
        {STR_INIT("\xfb\xff\xfe"), STR_INIT("+//+")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b CLEANUP(buf_free) = {0};
        base64_encode(&b, cases[i].plain);
        assert_true(str_eq(buf_str(&b), cases[i].text));
    }
}

static void base64_that_is_not_strict_is_refused(void **state)
{
    static const struct str bad[] = {
        STR_INIT("Z"),        STR_INIT("Zg"),       STR_INIT("Zg="),        STR_INIT("Zg==="),
        STR_INIT("===="),     STR_INIT("Z==="),     STR_INIT("=g=="),       STR_INIT("Zg=g"),
        STR_INIT("Zg==Zg=="), STR_INIT("Zh=="), /* bits beyond the end */
        STR_INIT("Zm9="),     STR_INIT("Zm 9v==="), STR_INIT("Zm9v\r\n"),   STR_INIT("Zm9-"),
        STR_INIT("Zm9_"),     STR_INIT("Zm\0v"),    STR_INIT("\xC3\xA4Zg"),
    };
    struct buf b CLEANUP(buf_free) = {0};
    buf_put(&b, STR("before"));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(base64_decode(&b, bad[i]).code, E_INVALID);
        assert_true(str_eq(buf_str(&b), STR("before")));
    }
}

static void base64_stops_at_the_buffers_limit(void **state)
{
    struct buf b CLEANUP(buf_free) = {.max = 2};
    assert_int_equal(base64_decode(&b, STR("Zm9v")).code, E_LIMIT);
}

static void hex_and_sha256_are_right(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    uint8_t hash[SHA256_LEN];
    sha256(STR("abc"), hash);
    hex_encode(&b, str_of(hash, sizeof hash));
    assert_true(str_eq(buf_str(&b), STR("ba7816bf8f01cfea414140de5dae2223"
                                        "b00361a396177a9cb410ff61f20015ad")));
    buf_clear(&b);
    sha256((struct str){0}, hash);
    hex_encode(&b, str_of(hash, 4));
    assert_true(str_eq(buf_str(&b), STR("e3b0c442")));
}

static void a_hash_of_pieces_is_that_of_the_whole(void **state)
{
    uint8_t text[300], whole[SHA256_LEN], pieces[SHA256_LEN];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)i;
    sha256(str_of(text, sizeof text), whole);
    struct sha256_run run = {0};
    for (size_t piece = 1; piece <= sizeof text; piece += 37) {
        for (struct str rest = str_of(text, sizeof text); rest.n; rest = str_skip(rest, piece))
            sha256_add(&run, str_sub(rest, 0, piece));
        sha256_end(&run, pieces);
        assert_memory_equal(whole, pieces, sizeof whole);
    }
    sha256((struct str){0}, whole);
    sha256_end(&run, pieces);
    assert_memory_equal(whole, pieces, sizeof whole);
    sha256_add(&run, STR("given up"));
    sha256_free(&run);
}

static void hmac_matches_rfc_4231(void **state)
{
    uint8_t key[20], mac[SHA256_LEN];
    struct buf b CLEANUP(buf_free) = {0};
    memset(key, 0x0B, sizeof key);
    hmac_sha256(str_of(key, sizeof key), STR("Hi There"), mac);
    hex_encode(&b, str_of(mac, sizeof mac));
    assert_true(str_eq(buf_str(&b), STR("b0344c61d8db38535ca8afceaf0bf12b"
                                        "881dc200c9833da726e9376c2e32cff7")));
    buf_clear(&b);
    hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), mac);
    hex_encode(&b, str_of(mac, sizeof mac));
    assert_true(str_eq(buf_str(&b), STR("5bdcc146bf60754e6a042426089575c7"
                                        "5a003f089d2739839dec58b964ec3843")));
}

/* Short ones come out of a store, long ones do not. */
static void random_bytes_do_not_come_again(void **state)
{
    enum { N = 200 };
    uint8_t ids[N][16], other[100];
    for (size_t i = 0; i < N; i++)
        random_bytes(ids[i], i % 9 + 8);
    random_bytes(other, sizeof other);
    for (size_t i = 0; i < N; i++) {
        assert_true(str_find(str_of(other, sizeof other), str_of(ids[i], 8), 0) == sizeof other);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(ids[i], ids[k], 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_round_trips),
        cmocka_unit_test(base64_matches_rfc_4648),
        cmocka_unit_test(base64_that_is_not_strict_is_refused),
        cmocka_unit_test(base64_stops_at_the_buffers_limit),
        cmocka_unit_test(hex_and_sha256_are_right),
        cmocka_unit_test(a_hash_of_pieces_is_that_of_the_whole),
        cmocka_unit_test(hmac_matches_rfc_4231),
        cmocka_unit_test(random_bytes_do_not_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
