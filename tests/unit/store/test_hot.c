/* What is kept of the index in memory never shows a view anything but the index of its moment. */
#include "engine_rig.h"
#include "store/hot.h"
#include "store/model.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static struct str find(struct hot *h, uint64_t moment, struct str key, struct arena *a)
{
    struct str value = {0};
    return hot_find(h, moment, key, a, &value) ? value : (struct str){0};
}

static void group(struct hot *h, uint64_t n, struct batch *b)
{
    hot_change(h, n, buf_str(&b->ops));
    hot_shown(h, n);
    batch_free(b);
    *b = (struct batch){0};
}

static void a_value_that_was_read_is_found_until_it_changes(void **state)
{
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct hot *h = hot_new(7);
    struct batch b = {0};
    assert_int_equal(hot_moment(h), 7);
    hot_keep(h, 7, STR("k"), STR("one"));
    assert_true(str_eq(find(h, 7, STR("k"), &a), STR("one")));
    assert_true(str_eq(find(h, 9, STR("k"), &a), STR("one")));
    assert_null(find(h, 6, STR("k"), &a).p);
    batch_put(&b, STR("k"), STR("two"));
    group(h, 8, &b);
    assert_null(find(h, 7, STR("k"), &a).p);
    assert_true(str_eq(find(h, 8, STR("k"), &a), STR("two")));
    batch_delete(&b, STR("k"));
    group(h, 9, &b);
    assert_null(find(h, 9, STR("k"), &a).p);
    hot_keep(h, 9, STR("k"), STR("three"));
    batch_delete_range(&b, STR("j"), STR("k"));
    group(h, 10, &b);
    assert_true(str_eq(find(h, 10, STR("k"), &a), STR("three")));
    batch_delete_range(&b, STR("k"), STR("k0"));
    group(h, 11, &b);
    assert_null(find(h, 11, STR("k"), &a).p);
    hot_free(h);
    arena_free(&a);
}

static void what_was_read_before_a_change_is_not_kept_after_it(void **state)
{
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct hot *h = hot_new(7);
    struct batch b = {0};
    batch_put(&b, STR("k"), STR("new"));
    hot_change(h, 8, buf_str(&b.ops)); /* not shown yet: a view of 7 may see it or not */
    hot_keep(h, 7, STR("k"), STR("old"));
    assert_null(find(h, 7, STR("k"), &a).p);
    hot_shown(h, 8);
    hot_keep(h, 7, STR("k"), STR("old"));
    assert_null(find(h, 8, STR("k"), &a).p);
    hot_keep(h, 8, STR("k"), STR("new"));
    assert_true(str_eq(find(h, 8, STR("k"), &a), STR("new")));
    batch_free(&b);
    hot_free(h);
    arena_free(&a);
}

static void an_old_view_keeps_what_others_have_not_changed_meanwhile(void **state)
{
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct hot *h = hot_new(7);
    struct batch b = {0};
    unsigned kept = 0;
    batch_put(&b, STR("other"), STR("x"));
    group(h, 8, &b);
    for (uint32_t i = 0; i < 20; i++) { /* one of them may share its place with the other */
        struct key k = {.n = 0};
        key_u32(&k, i);
        hot_keep(h, 7, key_str(&k), STR("old"));
        kept += str_eq(find(h, 8, key_str(&k), &a), STR("old"));
    }
    assert_true(kept >= 18);
    batch_delete_range(&b, STR("a"), STR("b"));
    group(h, 9, &b);
    hot_keep(h, 8, STR("aa"), STR("was in the range"));
    assert_null(find(h, 9, STR("aa"), &a).p);
    hot_free(h);
    arena_free(&a);
}

static void empty_and_large_values_are_left_to_the_index(void **state)
{
    struct arena a;
    static const uint8_t large[4096];
    arena_init(&a, ARENA_OWN);
    struct hot *h = hot_new(1);
    struct batch b = {0};
    hot_keep(h, 1, STR("empty"), STR(""));
    hot_keep(h, 1, STR("large"), str_of(large, sizeof large));
    assert_null(find(h, 1, STR("empty"), &a).p);
    assert_null(find(h, 1, STR("large"), &a).p);
    hot_keep(h, 1, STR("k"), STR("small"));
    batch_put(&b, STR("k"), str_of(large, sizeof large));
    group(h, 2, &b);
    assert_null(find(h, 2, STR("k"), &a).p);
    hot_free(h);
    arena_free(&a);
}

static void more_keys_than_places_replace_one_another(void **state)
{
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct hot *h = hot_new(1);
    unsigned kept = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        struct key k = {.n = 0};
        key_u32(&k, i);
        hot_keep(h, 1, key_str(&k), key_str(&k));
    }
    for (uint32_t i = 0; i < 20000; i++) {
        struct key k = {.n = 0};
        key_u32(&k, i);
        struct str value = find(h, 1, key_str(&k), &a);
        assert_true(!value.p || str_eq(value, key_str(&k)));
        kept += value.p != NULL;
    }
    assert_true(kept > 4000 && kept < 10000);
    hot_free(h);
    arena_free(&a);
}

/* -- with the engine: readers compare both ways to the same value while others commit -- */

enum { KEYS = 12, WRITERS = 3, READERS = 3, ROUNDS = 400 };

struct shared {
    struct rig rig;
    atomic_uint writing, seen;
    atomic_bool wrong;
};

static void key_of(struct key *k, uint32_t n)
{
    k->n = 0;
    key_byte(k, 'h');
    key_u32(k, n);
}

/* A put, a removal, or the removal of a few neighbours. */
static void change(struct batch *b, uint64_t dice)
{
    struct key k, to;
    uint32_t n = (uint32_t)(dice >> 8) % KEYS;
    key_of(&k, n);
    key_of(&to, n + 3);
    if (dice % 16 == 0)
        batch_delete_range(b, key_str(&k), key_str(&to));
    else if (dice % 16 == 1)
        batch_delete(b, key_str(&k));
    else
        batch_put(b, key_str(&k), str_of(&dice, sizeof dice));
}

static void *writer(void *arg)
{
    struct shared *s = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t dice[2];
        struct batch b = {0};
        random_bytes(dice, sizeof dice);
        change(&b, dice[0]);
        change(&b, dice[1]);
        if (batch_commit(s->rig.e, &b).code)
            atomic_store(&s->wrong, true);
    }
    atomic_fetch_sub(&s->writing, 1);
    return NULL;
}

static void compare_all(struct shared *s, struct view *v)
{
    struct arena a;
    arena_init(&a, ARENA_OWN);
    for (uint32_t n = 0; n < KEYS; n++) {
        struct key k;
        struct str often = {0}, index = {0};
        key_of(&k, n);
        struct err e = view_get_often(v, key_str(&k), &a, &often);
        struct err f = view_get(v, key_str(&k), &a, &index);
        if (e.code != f.code || !str_eq(often, index))
            atomic_store(&s->wrong, true);
        atomic_fetch_add(&s->seen, e.code == E_OK);
    }
    arena_free(&a);
}

static void *reader(void *arg)
{
    struct shared *s = arg;
    while (atomic_load(&s->writing)) {
        struct view *v = view_open_keys(s->rig.e);
        compare_all(s, v);
        compare_all(s, v); /* others have committed meanwhile */
        view_close(v);
    }
    return NULL;
}

static void readers_see_the_same_both_ways_while_others_commit(void **state)
{
    struct shared s = {.writing = WRITERS};
    pthread_t threads[WRITERS + READERS];
    rig_init(&s.rig);
    assert_int_equal(rig_open(&s.rig).code, E_OK);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < WRITERS ? writer : reader, &s), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_false(s.wrong);
    assert_true(s.seen > 0);
    rig_end(&s.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_that_was_read_is_found_until_it_changes),
        cmocka_unit_test(what_was_read_before_a_change_is_not_kept_after_it),
        cmocka_unit_test(an_old_view_keeps_what_others_have_not_changed_meanwhile),
        cmocka_unit_test(empty_and_large_values_are_left_to_the_index),
        cmocka_unit_test(more_keys_than_places_replace_one_another),
        cmocka_unit_test(readers_see_the_same_both_ways_while_others_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
