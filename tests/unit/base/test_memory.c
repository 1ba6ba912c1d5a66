#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

static void an_arena_gives_zeroed_aligned_memory_within_its_budget(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 100000);
    size_t total = 0;
    for (size_t n = 0; n < 300; n++) {
        uint8_t *p = arena_alloc(&a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xAA, n);
        total += n;
    }
    assert_true(a.used >= total && a.used <= a.budget);
}

static void an_arena_stops_at_its_budget(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1000);
    assert_null(arena_alloc(&a, 1001));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3)); /* the product overflows */
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 900));
    assert_null(arena_alloc(&a, 101));
    assert_non_null(arena_alloc(&a, 80));
    for (size_t n = 0; arena_alloc(&a, 1); n++)
        assert_true(n <= 1000);
    arena_free(&a);
    assert_non_null(arena_alloc(&a, 1000)); /* usable again, to the last byte */
    assert_null(arena_alloc(&a, 0));
}

static void a_cleared_arena_gives_zeroed_memory_again(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 200 * 1000);
    for (unsigned round = 0; round < 4; round++) {
        for (size_t n = 1; n < (round == 2 ? 100000 : 3000); n *= 3) {
            uint8_t *p = arena_alloc(&a, n);
            assert_non_null(p);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xAA, n);
        }
        arena_clear(&a);
        assert_int_equal(a.used, 0);
    }
    assert_non_null(arena_alloc(&a, 200 * 1000)); /* the whole budget */
}

static void copies_in_an_arena_are_independent(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 100);
    uint8_t text[] = "hello";
    struct str copy = str_dup(&a, str_of(text, 5));
    char *c = str_dup_c(&a, str_of(text, 5));
    text[0] = 'j';
    assert_true(str_eq(copy, STR("hello")));
    assert_string_equal(c, "hello");
    assert_null(str_dup_c(&a, STR("nul\0inside")));
    assert_string_equal(str_dup_c(&a, STR("")), "");
    assert_int_equal(str_dup(&a, STR("0123456789012345678901234567890123456789012345678901234567890"
                                     "123456789012345678901234567890123456789"))
                         .n,
                     0);
}

/* ------------------------------------------------------------------------------------ map */

enum { REFERENCE = 500 };
struct reference {
    void *values[REFERENCE];
    size_t seen;
};

static struct str key_of(size_t i, char text[32])
{
    int n = snprintf(text, 32, "%s%zu", i % 3 ? "key-that-is-longer-" : "k", i);
    return i == 0 ? (struct str){0} : str_of(text, (size_t)n);
}

static void compare_one(struct str key, void *value, void *arg)
{
    struct reference *r = arg;
    bool found = false;
    char text[32];
    for (size_t i = 0; i < REFERENCE; i++)
        found |= r->values[i] == value && str_eq(key, key_of(i, text));
    assert_true(found);
    r->seen++;
}

static void compare(const struct map *m, struct reference *r)
{
    size_t n = 0;
    char text[32];
    for (size_t i = 0; i < REFERENCE; i++) {
        assert_ptr_equal(map_get(m, key_of(i, text)), r->values[i]);
        n += r->values[i] != NULL;
    }
    assert_int_equal(m->n, n);
    r->seen = 0;
    map_each(m, compare_one, r);
    assert_int_equal(r->seen, n);
}

/* Random changes on a map and on a plain array must give the same. */
static void a_map_remembers_what_an_array_would(void **state)
{
    struct map m CLEANUP(map_free) = {0};
    struct reference r = {0};
    static uint8_t values[REFERENCE];
    for (size_t round = 0; round < 20000; round++) {
        char text[32];
        /* Phases of growing and of shrinking. */
        bool set = random_u64() % 10 < (round / 4000 % 2 ? 2 : 8);
        size_t i = random_u64() % REFERENCE;
        void *value = set ? &values[random_u64() % REFERENCE] : NULL;
        void *before = set ? map_set(&m, key_of(i, text), value) : map_remove(&m, key_of(i, text));
        assert_ptr_equal(before, r.values[i]);
        r.values[i] = value;
        if (round % 1000 == 0)
            compare(&m, &r);
    }
    compare(&m, &r);
}

static void numbers_can_be_keys(void **state)
{
    struct map m CLEANUP(map_free) = {0};
    static int values[1000];
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t id = i << 32;
        assert_null(map_set(&m, map_key_u64(&id), &values[i]));
    }
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t id = i << 32;
        assert_ptr_equal(map_get(&m, map_key_u64(&id)), &values[i]);
    }
}

/* ----------------------------------------------------------------------------------- list */

struct item {
    int number;
    struct list link;
};

static void list_members_may_be_removed_while_walking(void **state)
{
    struct list head;
    struct item items[4];
    list_init(&head);
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_append(&head, &items[i].link);
    }
    int sum = 0;
    list_each (link, &head) {
        struct item *item = container_of(link, struct item, link);
        sum = sum * 10 + item->number;
        list_remove(link);
        list_remove(link); /* harmless */
    }
    assert_int_equal(sum, 123);
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    list_append(&head, &items[1].link);
    list_prepend(&head, &items[0].link);
    assert_ptr_equal(list_pop(&head), &items[0].link);
    assert_ptr_equal(list_pop(&head), &items[1].link);
}

static void clocks_and_random_numbers_move(void **state)
{
    uint64_t before = clock_mono_us();
    assert_true(clock_mono_us() >= before);
    assert_true(clock_wall_s() > 1700000000);
    assert_true(random_u64() != random_u64());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arena_gives_zeroed_aligned_memory_within_its_budget),
        cmocka_unit_test(an_arena_stops_at_its_budget),
        cmocka_unit_test(a_cleared_arena_gives_zeroed_memory_again),
        cmocka_unit_test(copies_in_an_arena_are_independent),
        cmocka_unit_test(a_map_remembers_what_an_array_would),
        cmocka_unit_test(numbers_can_be_keys),
        cmocka_unit_test(list_members_may_be_removed_while_walking),
        cmocka_unit_test(clocks_and_random_numbers_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
