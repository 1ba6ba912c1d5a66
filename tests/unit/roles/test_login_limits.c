/* How fast passwords may be tried, and how many may be logged in, on a clock of the test's own. */
#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "roles/backend/connections.h"
#include "roles/backend/login_cache.h"
#include "roles/backend/login_limits.h"

enum { FREE = 5, MOST_MS = 15000, SECOND = 1000000 };
static const struct login_policy policy = {.free_failures = FREE, .delay_max_ms = MOST_MS};

struct world {
    struct login_limits *l;
    uint64_t now;
};

static int setup(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    w->l = login_limits_new();
    w->now = UINT64_C(1000) * SECOND;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    login_limits_free(w->l);
    free(w);
    return 0;
}

static struct ip v4(uint32_t n)
{
    return (struct ip){.n = 4, .b = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

static struct login_keys keys(struct world *w, struct ip peer, const char *user)
{
    return login_limits_keys(w->l, peer, false, str_c(user));
}

static uint64_t wait(struct world *w, struct ip peer, const char *user)
{
    struct login_keys k = keys(w, peer, user);
    return login_limits_wait(w->l, &policy, &k, w->now);
}

static void fail_times(struct world *w, struct ip peer, const char *user, unsigned n)
{
    struct login_keys k = keys(w, peer, user);
    while (n--)
        login_limits_failed(w->l, &policy, &k, w->now);
}

static void pass(struct world *w, struct ip peer, const char *user)
{
    struct login_keys k = keys(w, peer, user);
    login_limits_passed(w->l, &k, w->now);
}

static void a_few_mistakes_cost_nothing_then_each_doubles_the_delay(void **state)
{
    struct world *w = *state;
    fail_times(w, v4(1), "alice@a.test", FREE - 1);
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 0);
    static const uint64_t delays[] = {1000, 2000, 4000, 8000, 15000, 15000};
    for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
        fail_times(w, v4(1), "Alice@A.test", i == 0);
        fail_times(w, v4(2 + (uint32_t)i), "alice@a.test", FREE + (unsigned)i);
        assert_int_equal(wait(w, v4(2 + (uint32_t)i), "alice@a.test"), delays[i]);
    }
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 1000); /* however it is written */
    w->now += UINT64_C(7200) * SECOND;
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 0);
}

static void attempts_behind_one_another_take_turns_and_too_many_are_refused(void **state)
{
    struct world *w = *state;
    fail_times(w, v4(1), "alice@a.test", FREE + 2);
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 4000);
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 8000);
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 12000);
    assert_true(wait(w, v4(1), "alice@a.test") == LOGIN_REFUSED);
    assert_true(wait(w, v4(1), "alice@a.test") == LOGIN_REFUSED);
}

static void a_stranger_does_not_slow_the_user_down(void **state)
{
    struct world *w = *state;
    fail_times(w, v4(66), "alice@a.test", 60);
    assert_true(wait(w, v4(66), "alice@a.test") != 0);
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 0);
}

static void an_attack_from_everywhere_delays_strangers_but_not_a_known_good_address(void **state)
{
    struct world *w = *state;
    pass(w, v4(1), "alice@a.test");
    for (uint32_t i = 0; i < 5000; i++)
        fail_times(w, v4(1000 + i), "alice@a.test", 1);
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 0);
    uint64_t delayed = wait(w, v4(2), "alice@a.test");
    assert_true(delayed > 0 && delayed <= MOST_MS);
    assert_true(wait(w, v4(2), "alice@a.test") == delayed); /* delayed, but never refused */
    assert_int_equal(wait(w, v4(2), "bob@a.test"), 0);
}

static void an_address_that_tries_many_names_is_slowed_down(void **state)
{
    struct world *w = *state;
    char name[32];
    for (unsigned i = 0; i < 4 * FREE; i++) {
        assert_int_equal(wait(w, v4(66), "somebody"), 0);
        (void)snprintf(name, sizeof name, "user%u@a.test", i);
        fail_times(w, v4(66), name, 1);
    }
    assert_true(wait(w, v4(66), "alice@a.test") != 0);
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 0);
}

static void the_right_password_forgives_the_name_but_not_the_address(void **state)
{
    struct world *w = *state;
    fail_times(w, v4(1), "alice@a.test", FREE);
    pass(w, v4(1), "alice@a.test");
    assert_int_equal(wait(w, v4(1), "alice@a.test"), 0);
    fail_times(w, v4(1), "bob@a.test", 3 * FREE);
    pass(w, v4(1), "alice@a.test"); /* an attacker with an account of his own */
    assert_true(wait(w, v4(1), "carol@a.test") != 0);
}

static void an_ipv6_network_counts_as_one(void **state)
{
    struct world *w = *state;
    struct ip ip = {.n = 16, .b = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1}};
    for (unsigned i = 0; i < 4 * FREE; i++) {
        ip.b[15] = (uint8_t)i;
        fail_times(w, ip, "alice@a.test", 1);
    }
    ip.b[12] = 99;
    assert_true(wait(w, ip, "alice@a.test") != 0);
    ip.b[7] = 2;
    assert_int_equal(wait(w, ip, "bob@a.test"), 0);
}

static void an_address_that_many_users_share_is_limited_by_name_only(void **state)
{
    struct world *w = *state;
    const struct ip webmail = {.n = 4, .b = {127, 0, 0, 1}};
    char name[32];
    for (unsigned i = 0; i < 40 * FREE; i++) {
        (void)snprintf(name, sizeof name, "user%u@a.test", i);
        struct login_keys k = login_limits_keys(w->l, webmail, true, str_c(name));
        login_limits_failed(w->l, &policy, &k, w->now);
    }
    struct login_keys bob = login_limits_keys(w->l, webmail, true, STR("bob@a.test"));
    assert_int_equal(login_limits_wait(w->l, &policy, &bob, w->now), 0);
    for (unsigned i = 0; i < FREE; i++)
        login_limits_failed(w->l, &policy, &bob, w->now);
    assert_int_equal(login_limits_wait(w->l, &policy, &bob, w->now), 1000);
}

static void new_addresses_do_not_wash_out_the_counts_of_others(void **state)
{
    struct world *w = *state;
    fail_times(w, v4(66), "alice@a.test", FREE + 4);
    char name[32];
    for (uint32_t i = 0; i < 300000; i++) {
        (void)snprintf(name, sizeof name, "u%u", i);
        fail_times(w, v4(100000 + i), name, 1);
    }
    assert_true(wait(w, v4(66), "alice@a.test") != 0);
}

static void who_goes_on_failing_is_slowed_down_even_if_the_tables_are_full(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < 40000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "u%u", i);
        fail_times(w, v4(1000 + i), name, 4);
    }
    fail_times(w, v4(1), "alice@a.test", 40 * FREE);
    assert_true(wait(w, v4(1), "alice@a.test") > 0);
}

static void nothing_is_limited_if_that_is_wanted(void **state)
{
    struct world *w = *state;
    static const struct login_policy none = {.free_failures = 1};
    struct login_keys k = keys(w, v4(1), "alice@a.test");
    for (unsigned i = 0; i < 100; i++)
        login_limits_failed(w->l, &none, &k, w->now);
    assert_int_equal(login_limits_wait(w->l, &none, &k, w->now), 0);
}

static void a_password_is_known_for_a_while_with_its_name_only(void **state)
{
    (void)state;
    struct login_cache *c = login_cache_new();
    const struct principal alice = {{7}, 3};
    struct principal got;
    struct login_tag tag = login_cache_tag(c, STR("alice"), STR("secret"));
    assert_false(login_cache_find(c, &tag, 60000, SECOND, &got));
    login_cache_put(c, &tag, &alice, SECOND);
    assert_true(login_cache_find(c, &tag, 60000, 60 * SECOND, &got));
    assert_int_equal(got.account.v, 7);
    assert_int_equal(got.credential_generation, 3);
    assert_false(login_cache_find(c, &tag, 60000, 61 * SECOND, &got));
    assert_false(login_cache_find(c, &tag, 0, SECOND, &got));
    tag = login_cache_tag(c, STR("alices"), STR("ecret"));
    assert_false(login_cache_find(c, &tag, 60000, SECOND, &got));
    tag = login_cache_tag(c, STR("alice"), STR("Secret"));
    assert_false(login_cache_find(c, &tag, 60000, SECOND, &got));
    login_cache_free(c);
}

static struct connection_id session(uint64_t n)
{
    return (struct connection_id){{n}, (uint32_t)(n % 2)};
}

static void connections_are_counted_by_account_and_by_address(void **state)
{
    (void)state;
    static const struct connection_limits limits = {.account = 2, .address = 3};
    static const account_id alice = {2}, bob = {3};
    struct connections *c = connections_new();
    assert_int_equal(connections_add(c, &limits, session(1), alice, v4(1)).code, E_OK);
    assert_int_equal(connections_add(c, &limits, session(2), alice, v4(2)).code, E_OK);
    assert_int_equal(connections_add(c, &limits, session(2), alice, v4(2)).code, E_OK);
    assert_int_equal(connections_of(c, alice), 2);
    assert_int_equal(connections_add(c, &limits, session(3), alice, v4(3)).code, E_LIMIT);
    assert_int_equal(connections_add(c, &limits, session(4), bob, v4(1)).code, E_OK);
    assert_int_equal(connections_add(c, &limits, session(5), bob, v4(1)).code, E_OK);
    connections_remove(c, session(5));
    assert_int_equal(connections_add(c, &limits, session(6), bob, v4(1)).code, E_OK);
    connections_remove(c, session(2));
    assert_int_equal(connections_add(c, &limits, session(7), alice, v4(1)).code,
                     E_LIMIT); /* three from there */
    connections_add_always(c, session(8), alice, v4(1));
    connections_add_always(c, session(9), alice, v4(1));
    assert_int_equal(connections_of(c, alice), 3);
    connections_forget(c, 1);
    assert_int_equal(connections_of(c, alice), 1); /* session 8 */
    connections_free(c);
}

static void
a_session_that_slept_through_a_restart_counts_for_its_address_once_it_wakes(void **state)
{
    (void)state;
    static const struct connection_limits limits = {.address = 1};
    static const account_id alice = {2}, bob = {3};
    struct connections *c = connections_new();
    connections_add_always(c, session(1), alice, (struct ip){0});
    connections_add_always(c, session(1), alice, v4(1));
    assert_int_equal(connections_of(c, alice), 1);
    assert_int_equal(connections_add(c, &limits, session(2), bob, v4(1)).code, E_LIMIT);
    connections_remove(c, session(1));
    assert_int_equal(connections_add(c, &limits, session(2), bob, v4(1)).code, E_OK);
    connections_free(c);
}

static void a_session_that_logs_in_again_counts_for_its_last_account(void **state)
{
    (void)state;
    static const struct connection_limits limits = {.account = 1};
    static const account_id alice = {2}, bob = {3};
    struct connections *c = connections_new();
    assert_int_equal(connections_add(c, &limits, session(1), alice, v4(1)).code, E_OK);
    assert_int_equal(connections_add(c, &limits, session(1), bob, v4(1)).code, E_OK);
    assert_int_equal(connections_of(c, alice), 0);
    assert_int_equal(connections_of(c, bob), 1);
    assert_int_equal(connections_add(c, &limits, session(2), alice, v4(2)).code, E_OK);
    assert_int_equal(connections_add(c, &limits, session(1), alice, v4(1)).code, E_LIMIT);
    assert_int_equal(connections_of(c, alice), 1);
    assert_int_equal(connections_of(c, bob), 1);
    connections_remove(c, session(1));
    assert_int_equal(connections_of(c, bob), 0);
    connections_free(c);
}

static void a_client_that_left_while_it_logged_in_is_not_counted(void **state)
{
    (void)state;
    static const struct connection_limits limits = {.account = 2};
    static const account_id alice = {2};
    struct connections *c = connections_new();
    connections_gone(c, session(1));
    assert_int_equal(connections_add(c, &limits, session(1), alice, v4(1)).code, E_OK);
    assert_int_equal(connections_of(c, alice), 0);
    for (uint64_t i = 0; i < 100000; i++)
        connections_gone(c, session(i));
    connections_gone(c, session(1)); /* twice is harmless */
    assert_int_equal(connections_of(c, alice), 0);
    connections_free(c);
}

/* Several looks at what it slept with may have been under way. */
static void a_sleeper_that_left_is_not_counted_by_late_looks_at_it(void **state)
{
    (void)state;
    static const account_id alice = {2};
    struct connections *c = connections_new();
    connections_add_always(c, session(1), alice, v4(1));
    connections_gone(c, session(1));
    connections_add_always(c, session(1), alice, v4(1));
    connections_add_always(c, session(1), alice, v4(1));
    assert_int_equal(connections_of(c, alice), 0);
    connections_free(c);
}

static void who_was_not_let_in_after_all_may_log_in_again(void **state)
{
    (void)state;
    static const struct connection_limits limits = {.account = 2};
    static const account_id alice = {2};
    struct connections *c = connections_new();
    assert_int_equal(connections_add(c, &limits, session(1), alice, v4(1)).code, E_OK);
    connections_remove(c, session(1));
    assert_int_equal(connections_of(c, alice), 0);
    assert_int_equal(connections_add(c, &limits, session(1), alice, v4(1)).code, E_OK);
    assert_int_equal(connections_of(c, alice), 1);
    connections_free(c);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_few_mistakes_cost_nothing_then_each_doubles_the_delay),
        CASE(attempts_behind_one_another_take_turns_and_too_many_are_refused),
        CASE(a_stranger_does_not_slow_the_user_down),
        CASE(an_attack_from_everywhere_delays_strangers_but_not_a_known_good_address),
        CASE(an_address_that_tries_many_names_is_slowed_down),
        CASE(the_right_password_forgives_the_name_but_not_the_address),
        CASE(an_ipv6_network_counts_as_one),
        CASE(an_address_that_many_users_share_is_limited_by_name_only),
        CASE(new_addresses_do_not_wash_out_the_counts_of_others),
        CASE(who_goes_on_failing_is_slowed_down_even_if_the_tables_are_full),
        CASE(nothing_is_limited_if_that_is_wanted),
        cmocka_unit_test(a_password_is_known_for_a_while_with_its_name_only),
        cmocka_unit_test(connections_are_counted_by_account_and_by_address),
        cmocka_unit_test(
            a_session_that_slept_through_a_restart_counts_for_its_address_once_it_wakes),
        CASE(a_session_that_logs_in_again_counts_for_its_last_account),
        cmocka_unit_test(a_client_that_left_while_it_logged_in_is_not_counted),
        cmocka_unit_test(a_sleeper_that_left_is_not_counted_by_late_looks_at_it),
        cmocka_unit_test(who_was_not_let_in_after_all_may_log_in_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
