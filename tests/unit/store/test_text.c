/* The text of an email as it is kept: what comes back is what was put in, long ones take less. */
#include "model_house.h"
#include "store/model.h"

static struct str sample(uint8_t *to, size_t n, bool random)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t) "the quick brown fox jumps over the lazy dog "[i % 44];
    if (random)
        random_bytes(to, n);
    return str_of(to, n);
}

static void comes_back(struct str text, struct buf *packed)
{
    struct arena a;
    struct str got;
    arena_init(&a, 1 << 20);
    buf_clear(packed);
    text_pack(packed, ALICE, text);
    assert_ok(text_unpack(buf_str(packed), ALICE, &a, &got));
    assert_true(str_eq(got, text));
    assert_err(text_unpack(buf_str(packed), BOB, &a, &got), E_CORRUPT);
    arena_free(&a);
}

static void every_text_comes_back(void **state)
{
    (void)state;
    static uint8_t bytes[100000];
    struct buf packed CLEANUP(buf_free) = {0};
    static const size_t sizes[] = {0, 1, 4000, 8192, 8193, 20000, sizeof bytes};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        comes_back(sample(bytes, sizes[i], false), &packed);
        assert_true(sizes[i] <= 8192 || packed.n < sizes[i] / 10);
        comes_back(sample(bytes, sizes[i], true), &packed);
        assert_true(packed.n <= sizes[i] + 8);
    }
}

/* Whatever is read: an error, or some text within the memory for it. */
static void a_damaged_text_is_an_error(void **state)
{
    (void)state;
    static uint8_t bytes[20000];
    struct buf packed CLEANUP(buf_free) = {0};
    text_pack(&packed, ALICE, sample(bytes, sizeof bytes, false));
    for (size_t n = 0; n < packed.n; n++) {
        struct arena a;
        struct str got;
        arena_init(&a, 1 << 20);
        assert_int_not_equal(text_unpack(str_sub(buf_str(&packed), 0, n), ALICE, &a, &got).code,
                             E_OK);
        packed.p[packed.off + n] ^= 0x21;
        (void)!text_unpack(buf_str(&packed), ALICE, &a, &got).code;
        packed.p[packed.off + n] ^= 0x21;
        arena_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_comes_back),
        cmocka_unit_test(a_damaged_text_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
