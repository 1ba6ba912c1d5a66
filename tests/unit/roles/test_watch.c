/* Who waits for changes of an account is told of each, and of many at a time if there are many. */
#include "roles/backend/watch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { MANY = 100 };
static const uint64_t later = UINT64_MAX;
static const account_id account = {65}, other = {1}; /* of one shard */

struct one {
    struct watch_entry entry;
    unsigned woken;
};

static void on_wake(void *arg)
{
    ++*(unsigned *)arg;
}

static void on_woken(struct watch_entry *e, void *arg)
{
    (void)arg;
    container_of(e, struct one, entry)->woken++;
}

static void register_all(struct watches *w, struct one *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        watch_init(&all[i].entry);
        watch_add(w, account, &all[i].entry);
    }
}

static void assert_woken(struct watches *w, const struct one *all, size_t n, unsigned times)
{
    watches_woken(w, on_woken, NULL);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(all[i].woken, times);
}

static void few_are_told_of_each_change_at_once(void **state)
{
    unsigned wakes = 0;
    struct watches *w = watches_new(on_wake, &wakes);
    struct one all[WATCH_MANY - 1] = {0};
    for (unsigned round = 1; round <= 5; round++) {
        register_all(w, all, ARRAY_LEN(all));
        watches_changed(w, account);
        assert_int_equal(wakes, round);
        assert_woken(w, all, ARRAY_LEN(all), round);
        assert_int_equal(watches_pauses(w, clock_mono_us()), 0);
    }
    watches_free(w);
}

static void many_are_told_at_once_and_then_of_all_changes_together(void **state)
{
    unsigned wakes = 0;
    struct watches *w = watches_new(on_wake, &wakes);
    struct one all[MANY] = {0}, stranger = {0};
    uint64_t begin = clock_mono_us();
    register_all(w, all, MANY);
    watches_changed(w, account);
    assert_woken(w, all, MANY, 1);
    register_all(w, all, MANY);
    watch_init(&stranger.entry);
    watch_add(w, other, &stranger.entry);
    for (unsigned i = 0; i < 1000; i++)
        watches_changed(w, account);
    watch_wake(w, account, &all[7].entry); /* it has missed one */
    watches_changed(w, other);             /* who is not concerned waits for nothing */
    assert_woken(w, all, MANY, 1);
    assert_int_equal(stranger.woken, 1);
    uint64_t end = watches_pauses(w, begin);
    assert_true(end >= begin + MANY * (uint64_t)WATCH_PAUSE_US);
    assert_int_equal(watches_pauses(w, end - 1), end);
    assert_woken(w, all, MANY, 1);
    assert_true(watches_pauses(w, end) > end); /* the next one */
    assert_woken(w, all, MANY, 2);
    assert_int_equal(watches_count(w), 0);
    watches_free(w);
}

static void a_pause_without_a_change_wakes_nobody(void **state)
{
    unsigned wakes = 0;
    struct watches *w = watches_new(on_wake, &wakes);
    struct one all[MANY] = {0};
    register_all(w, all, MANY);
    watches_changed(w, account);
    assert_woken(w, all, MANY, 1);
    register_all(w, all, MANY);
    assert_int_equal(watches_pauses(w, later), 0);
    assert_woken(w, all, MANY, 1);
    watches_changed(w, account); /* at once again */
    assert_woken(w, all, MANY, 2);
    watches_free(w);
}

static void who_leaves_in_a_pause_is_forgotten(void **state)
{
    unsigned wakes = 0;
    struct watches *w = watches_new(on_wake, &wakes);
    struct one all[MANY] = {0};
    register_all(w, all, MANY);
    watches_changed(w, account);
    for (size_t i = 0; i < MANY / 2; i++)
        watch_remove(w, &all[i].entry); /* woken, not told yet */
    assert_woken(w, all, MANY / 2, 0);
    register_all(w, all, MANY);
    watches_changed(w, account);
    for (size_t i = 0; i < MANY; i++)
        watch_remove(w, &all[i].entry);
    assert_int_equal(watches_pauses(w, later), 0);
    assert_woken(w, all, MANY / 2, 0);
    assert_int_equal(watches_count(w), 0);
    watches_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_are_told_of_each_change_at_once),
        cmocka_unit_test(many_are_told_at_once_and_then_of_all_changes_together),
        cmocka_unit_test(a_pause_without_a_change_wakes_nobody),
        cmocka_unit_test(who_leaves_in_a_pause_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
