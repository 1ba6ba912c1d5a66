/* Fairness between accounts, in numbers: simulated accounts have work done by a simulated worker.
 */
#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "roles/backend/fair.h"

enum { GREEDY = 1, MODEST = 2, OTHER = 3 };

static struct fair_payers account_pays(uint64_t account)
{
    return (struct fair_payers){.account = account};
}

struct work {
    struct list link;
    uint64_t account;
    uint64_t us, since;
};

struct worker {
    struct fair_budget *budget;
    struct fair_queue queue;
    uint64_t now;
    uint64_t waited[8], done[8]; /* by account: microseconds at most, pieces */
};

static void begin(struct worker *w)
{
    *w = (struct worker){.budget = fair_budget_new(), .now = 1000000};
    fair_queue_init(&w->queue);
}

static void end(struct worker *w)
{
    fair_queue_free(&w->queue);
    fair_budget_free(w->budget);
}

static void submit(struct worker *w, uint64_t account, uint64_t us, bool heavy)
{
    struct work *k = mem_alloc(sizeof *k);
    *k = (struct work){.account = account, .us = us, .since = w->now};
    fair_queue_add(&w->queue, &k->link, k->account,
                   heavy || fair_over(w->budget, account_pays(k->account), w->now));
}

/* Does one piece; returns whose, 0: there was none. */
static uint64_t work(struct worker *w)
{
    struct list *l = fair_queue_light(&w->queue);
    if (!l)
        l = fair_queue_heavy(&w->queue);
    if (!l)
        return 0;
    struct work *k = container_of(l, struct work, link);
    uint64_t who = k->account;
    w->waited[who] = MAX(w->waited[who], w->now - k->since);
    w->done[who]++;
    w->now += k->us;
    fair_charge(w->budget, account_pays(k->account), k->us, w->now);
    free(k);
    return who;
}

static void modest_work_waits_for_one_piece_of_a_greedy_accounts_heap(void **state)
{
    struct worker w;
    begin(&w);
    for (size_t i = 0; i < 100; i++)
        submit(&w, GREEDY, 1000, false); /* all at once: nothing is known about it yet */
    while (work(&w))
        ;
    for (size_t i = 0; i < 100; i++)
        submit(&w, GREEDY, 1000, false);
    for (size_t i = 0; i < 50; i++) {
        submit(&w, MODEST, 100, false);
        assert_int_equal(work(&w), MODEST);
        assert_int_equal(work(&w), GREEDY);
        submit(&w, GREEDY, 1000, false);
    }
    assert_int_equal(w.waited[MODEST], 0);
    while (work(&w))
        ;
    end(&w);
}

/* One that always has twenty pieces of 5 ms waiting, and one that has a short one each 20 ms. */
static void who_works_all_the_time_delays_others_for_a_burst_and_then_for_a_piece(void **state)
{
    enum { PIECE = 5000, HEAP = 20, PAUSE = 20000, ROUNDS = 500 };
    struct worker w;
    size_t waiting = 0;
    begin(&w);
    uint64_t next = w.now;
    for (size_t round = 0; round < ROUNDS;) {
        while (waiting < HEAP) {
            submit(&w, GREEDY, PIECE, false);
            waiting++;
        }
        if (w.now >= next) {
            submit(&w, MODEST, 100, false);
            next = w.now + PAUSE;
            round++;
        }
        if (round == 20)
            w.waited[MODEST] = 0;
        waiting -= work(&w) == GREEDY;
        assert_true(w.waited[MODEST] <= (round < 20 ? (HEAP + 1) * PIECE : PIECE));
    }
    assert_true(w.done[GREEDY] > ROUNDS * (PAUSE / PIECE) * 9 / 10);
    while (work(&w))
        ;
    end(&w);
}

static void heavy_work_is_done_one_account_after_the_other(void **state)
{
    struct worker w;
    begin(&w);
    for (size_t i = 0; i < 90; i++)
        submit(&w, GREEDY, 1000, true);
    for (size_t i = 0; i < 10; i++)
        submit(&w, OTHER, 1000, true);
    for (size_t i = 0; i < 20; i++)
        (void)work(&w);
    assert_int_equal(w.done[GREEDY], 10);
    assert_int_equal(w.done[OTHER], 10);
    while (work(&w))
        ;
    end(&w);
}

static void who_keeps_within_the_share_is_never_heavy(void **state)
{
    struct fair_budget *b = fair_budget_new();
    uint64_t now = 1;
    for (size_t i = 0; i < 10000; i++) {
        fair_charge(b, account_pays(MODEST), 1000, now);
        assert_false(fair_over(b, account_pays(MODEST), now));
        now += (uint64_t)1000 * FAIR_SHARE;
    }
    fair_charge(b, account_pays(MODEST), FAIR_BURST_US - 1000, now);
    assert_false(fair_over(b, account_pays(MODEST), now));
    fair_charge(b, account_pays(MODEST), 2000, now);
    assert_true(fair_over(b, account_pays(MODEST), now));
    fair_budget_free(b);
}

static void a_debt_is_bounded_and_passes(void **state)
{
    struct fair_budget *b = fair_budget_new();
    for (size_t i = 0; i < 1000; i++)
        fair_charge(b, account_pays(GREEDY), 3600000000, 1);
    assert_true(fair_over(b, account_pays(GREEDY), 1));
    uint64_t later = 1 + (uint64_t)(FAIR_DEBT_US - FAIR_BURST_US) * FAIR_SHARE;
    assert_true(fair_over(b, account_pays(GREEDY), later - 1));
    assert_false(fair_over(b, account_pays(GREEDY), later));
    fair_budget_free(b);
}

static void greedy_accounts_are_known_among_thousands_of_modest_ones(void **state)
{
    struct fair_budget *b = fair_budget_new();
    for (uint64_t i = 0; i < 10000; i++) {
        fair_charge(b, account_pays(5000), 5000, i);
        fair_charge(b, account_pays(1000000 + i), 100, i);
    }
    assert_true(fair_over(b, account_pays(5000), 10000));
    for (uint64_t i = 0; i < 10000; i++)
        assert_false(fair_over(b, account_pays(1000000 + i), 10000));
    fair_budget_free(b);
}

static void nobodys_work_is_never_heavy(void **state)
{
    struct fair_budget *b = fair_budget_new();
    fair_charge(b, account_pays(0), 3600000000, 1);
    assert_false(fair_over(b, account_pays(0), 1));
    fair_budget_free(b);
}

static struct ip address(const uint8_t *bytes, uint8_t n)
{
    struct ip ip = {.n = n};
    memcpy(ip.b, bytes, n);
    return ip;
}

static void many_accounts_are_not_many_budgets_of_one_sender(void **state)
{
    struct fair_budget *b = fair_budget_new();
    uint64_t sender = fair_address(address((const uint8_t[]){192, 0, 2, 1}, 4));
    for (uint64_t account = 1; account <= 100; account++)
        fair_charge(b, (struct fair_payers){account, sender}, 1000, 1);
    assert_int_equal(fair_over(b, account_pays(1), 1), 0);
    assert_true(fair_over(b, (struct fair_payers){1, sender}, 1) == sender);
    assert_true(fair_over(b, (struct fair_payers){500, sender}, 1) == sender);
    assert_int_equal(fair_over(b, (struct fair_payers){500, 1000}, 1), 0);
    fair_charge(b, (struct fair_payers){7, 7}, FAIR_BURST_US - 1000, 1); /* pays once */
    assert_int_equal(fair_over(b, (struct fair_payers){7, 7}, 1), 0);
    fair_budget_free(b);
}

static void an_ipv6_network_is_one_sender_and_no_address_is_an_account(void **state)
{
    const uint8_t one[16] = {0x20, 1, 0xd, 0xb8, [15] = 1},
                  beside[16] = {0x20, 1, 0xd, 0xb8, [15] = 2},
                  other[16] = {0x20, 1, 0xd, 0xb8, [7] = 1, [15] = 1};
    assert_true(fair_address(address(one, 16)) == fair_address(address(beside, 16)));
    assert_true(fair_address(address(one, 16)) != fair_address(address(other, 16)));
    assert_true(fair_address(address(one, 4)) != fair_address(address(other + 8, 4)));
    assert_true(fair_address(address(one, 4)) > INT64_MAX);
}

static void what_is_put_back_or_taken_out_leaves_the_others_in_order(void **state)
{
    struct fair_queue q;
    struct list items[6];
    fair_queue_init(&q);
    for (size_t i = 0; i < 6; i++)
        fair_queue_add(&q, &items[i], GREEDY, i >= 3);
    fair_queue_remove(&q, &items[1], GREEDY);
    fair_queue_remove(&q, &items[4], GREEDY);
    assert_ptr_equal(fair_queue_light(&q), &items[0]);
    fair_queue_put_back(&q, &items[0], GREEDY, false);
    assert_ptr_equal(fair_queue_light(&q), &items[0]);
    assert_ptr_equal(fair_queue_light(&q), &items[2]);
    assert_ptr_equal(fair_queue_heavy(&q), &items[3]);
    fair_queue_put_back(&q, &items[3], GREEDY, true);
    assert_ptr_equal(fair_queue_heavy(&q), &items[3]);
    fair_queue_remove(&q, &items[5], GREEDY);
    assert_false(fair_queue_has_light(&q));
    assert_false(fair_queue_has_heavy(&q));
    assert_null(fair_queue_heavy(&q));
    fair_queue_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modest_work_waits_for_one_piece_of_a_greedy_accounts_heap),
        cmocka_unit_test(who_works_all_the_time_delays_others_for_a_burst_and_then_for_a_piece),
        cmocka_unit_test(heavy_work_is_done_one_account_after_the_other),
        cmocka_unit_test(who_keeps_within_the_share_is_never_heavy),
        cmocka_unit_test(a_debt_is_bounded_and_passes),
        cmocka_unit_test(greedy_accounts_are_known_among_thousands_of_modest_ones),
        cmocka_unit_test(nobodys_work_is_never_heavy),
        cmocka_unit_test(many_accounts_are_not_many_budgets_of_one_sender),
        cmocka_unit_test(an_ipv6_network_is_one_sender_and_no_address_is_an_account),
        cmocka_unit_test(what_is_put_back_or_taken_out_leaves_the_others_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
