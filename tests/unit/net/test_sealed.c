#include "base/base.h"

#include "net/net.h"

#include <setjmp.h>
#include <cmocka.h>

#include <sys/mman.h>

static void bytes_come_back_as_they_were_put(void **state)
{
    struct buf all CLEANUP(buf_free) = {0};
    struct sealed s CLEANUP(sealed_free);
    assert_int_equal(sealed_new(&s, 1 << 20).code, E_OK);
    for (size_t i = 1; i < 1000; i++) { /* lines, and now and then a large block */
        size_t from = all.n;
        buf_printf(&all, "%*zu\n", i % 300 == 0 ? 100000 : (int)(i % 70), i);
        assert_int_equal(sealed_put(&s, str_skip(buf_str(&all), from)).code, E_OK);
    }
    assert_int_equal(s.n, all.n);
    assert_int_equal(sealed_finish(&s).code, E_OK);
    struct str map;
    assert_int_equal(sealed_map(s.fd, all.n, &map).code, E_OK);
    assert_true(str_eq(map, buf_str(&all)));
    sealed_unmap(map);
}

static void a_part_is_mapped_wherever_it_lies(void **state)
{
    struct sealed s CLEANUP(sealed_free);
    struct buf all CLEANUP(buf_free) = {0};
    for (size_t i = 0; all.n < 20000; i++)
        buf_printf(&all, "%zu ", i);
    assert_int_equal(sealed_new(&s, 1 << 20).code, E_OK);
    assert_int_equal(sealed_put(&s, buf_str(&all)).code, E_OK);
    assert_int_equal(sealed_finish(&s).code, E_OK);
    static const size_t offsets[] = {0, 1, 4095, 4096, 4097, 9000};
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        struct str part;
        assert_int_equal(sealed_map_part(s.fd, all.n, offsets[i], 5000, &part).code, E_OK);
        assert_true(str_eq(part, str_sub(buf_str(&all), offsets[i], offsets[i] + 5000)));
        sealed_unmap(part);
    }
    struct str part;
    assert_int_equal(sealed_map_part(s.fd, all.n, all.n, 0, &part).code, E_OK);
    assert_int_equal(part.n, 0);
    assert_int_equal(sealed_map_part(s.fd, all.n, all.n, 1, &part).code, E_INVALID);
    assert_int_equal(sealed_map_part(s.fd, all.n, all.n + 1, 0, &part).code, E_INVALID);
    assert_int_equal(sealed_map_part(s.fd, all.n, 1, SIZE_MAX, &part).code, E_INVALID);
    assert_int_equal(sealed_map_part(s.fd, all.n - 1, 0, 1, &part).code, E_DENIED);
}

static void nothing_can_be_changed_once_sealed(void **state)
{
    struct sealed s CLEANUP(sealed_free);
    assert_int_equal(sealed_new(&s, 100).code, E_OK);
    assert_int_equal(sealed_put(&s, STR("message")).code, E_OK);
    assert_int_equal(sealed_finish(&s).code, E_OK);
    assert_int_equal(pwrite(s.fd, "M", 1, 0), -1);
    assert_int_equal(ftruncate(s.fd, 0), -1);
    assert_int_equal(ftruncate(s.fd, 1000), -1);
    assert_ptr_equal(mmap(NULL, 7, PROT_WRITE, MAP_SHARED, s.fd, 0), MAP_FAILED);
}

static void more_than_the_limit_is_refused(void **state)
{
    struct sealed s CLEANUP(sealed_free);
    assert_int_equal(sealed_new(&s, 5).code, E_OK);
    assert_int_equal(sealed_put(&s, STR("1234")).code, E_OK);
    assert_int_equal(sealed_put(&s, STR("56")).code, E_LIMIT);
    assert_int_equal(sealed_put(&s, STR("5")).code, E_OK);
    assert_int_equal(sealed_put(&s, STR("6")).code, E_LIMIT);
}

static void memory_that_is_not_sealed_or_of_another_size_is_refused(void **state)
{
    struct sealed s CLEANUP(sealed_free);
    struct str map;
    assert_int_equal(sealed_new(&s, 100).code, E_OK);
    assert_int_equal(sealed_put(&s, STR("message")).code, E_OK);
    assert_int_equal(sealed_map(s.fd, 0, &map).code, E_DENIED);
    assert_int_equal(fcntl(s.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    assert_int_equal(sealed_map(s.fd, 0, &map).code, E_DENIED);
    struct sealed t CLEANUP(sealed_free);
    assert_int_equal(sealed_new(&t, 100).code, E_OK);
    assert_int_equal(sealed_put(&t, STR("message")).code, E_OK);
    assert_int_equal(sealed_finish(&t).code, E_OK);
    assert_int_equal(sealed_map(t.fd, 6, &map).code, E_DENIED);
    assert_int_equal(sealed_map(t.fd, 8, &map).code, E_DENIED);
    assert_int_equal(sealed_map(t.fd, 7, &map).code, E_OK);
    sealed_unmap(map);
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(sealed_map(p[0], 0, &map).code, E_DENIED);
    (void)close(p[0]);
    (void)close(p[1]);
}

static void an_empty_message_can_be_passed(void **state)
{
    struct sealed s CLEANUP(sealed_free);
    struct str map;
    assert_int_equal(sealed_new(&s, 100).code, E_OK);
    assert_int_equal(sealed_finish(&s).code, E_OK);
    assert_int_equal(sealed_map(s.fd, 0, &map).code, E_OK);
    assert_int_equal(map.n, 0);
    sealed_unmap(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_back_as_they_were_put),
        cmocka_unit_test(a_part_is_mapped_wherever_it_lies),
        cmocka_unit_test(nothing_can_be_changed_once_sealed),
        cmocka_unit_test(more_than_the_limit_is_refused),
        cmocka_unit_test(memory_that_is_not_sealed_or_of_another_size_is_refused),
        cmocka_unit_test(an_empty_message_can_be_passed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
