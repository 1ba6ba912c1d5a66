#include "engine_rig.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static int setup(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    rig_init(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig_end(*state);
    free(*state);
    return 0;
}

static void assert_ok(struct err err)
{
    if (err.code)
        print_error("%s: %s\n", errc_name(err.code), err.why);
    assert_int_equal(err.code, E_OK);
}

static void assert_value(struct rig *r, struct str key, const char *value)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    struct str got = get_now(r->e, key, &a);
    if (!value) {
        assert_null(got.p);
        return;
    }
    assert_true(got.p && str_eq(got, str_c(value)));
}

static void what_was_committed_is_there_after_reopening(void **state)
{
    struct rig *r = *state;
    assert_ok(rig_open(r));
    assert_ok(commit_put(r->e, STR("k1"), STR("one")));
    assert_ok(commit_put(r->e, STR("k2"), STR("")));
    struct body *b = body_new(STR("From: x\r\n\r\nhello\r\n"));
    assert_ok(commit_body(r->e, STR("b1"), b));
    body_unref(b);
    assert_value(r, STR("k1"), "one");
    for (int i = 0; i < 3; i++) {
        rig_close(r);
        assert_ok(rig_open(r));
        assert_value(r, STR("k1"), "one");
        assert_value(r, STR("k2"), "");
        assert_true(body_is(r->e, STR("b1"), STR("From: x\r\n\r\nhello\r\n")));
        assert_ok(commit_put(r->e, STR("k3"), STR("x")));
    }
}

static void an_index_that_was_removed_is_made_again_from_the_log(void **state)
{
    struct rig *r = *state;
    char index[300];
    assert_ok(rig_open(r));
    struct body *b = body_new(STR("bytes"));
    assert_ok(commit_body(r->e, STR("b"), b));
    assert_ok(commit_put(r->e, STR("k"), STR("v")));
    rig_close(r);
    assert_ok(rig_open(r));
    assert_ok(commit_body(r->e, STR("c"), b));
    body_unref(b);
    rig_close(r);
    snprintf(index, sizeof index, "%s/index", r->store);
    remove_tree(index);
    assert_ok(rig_open(r));
    struct store_stats st;
    engine_stats(r->e, &st);
    assert_int_equal(st.replayed_groups, 3);
    assert_value(r, STR("k"), "v");
    assert_true(body_is(r->e, STR("b"), STR("bytes")));
    assert_true(body_is(r->e, STR("c"), STR("bytes")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_committed_is_there_after_reopening, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_index_that_was_removed_is_made_again_from_the_log, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
