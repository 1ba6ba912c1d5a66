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

struct work {
    struct list link;
    account_id account;
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
    *k = (struct work){.account = {account}, .us = us, .since = w->now};
    fair_queue_add(&w->queue, &k->link, k->account,
                   heavy || fair_is_heavy(w->budget, k->account, w->now));
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
    uint64_t who = k->account.v;
    w->waited[who] = MAX(w->waited[who], w->now - k->since);
    w->done[who]++;
    w->now += k->us;
    fair_charge(w->budget, k->account, k->us, w->now);
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
        fair_charge(b, (account_id){MODEST}, 1000, now);
        assert_false(fair_is_heavy(b, (account_id){MODEST}, now));
        now += (uint64_t)1000 * FAIR_SHARE;
    }
    fair_charge(b, (account_id){MODEST}, FAIR_BURST_US - 1000, now);
    assert_false(fair_is_heavy(b, (account_id){MODEST}, now));
    fair_charge(b, (account_id){MODEST}, 2000, now);
    assert_true(fair_is_heavy(b, (account_id){MODEST}, now));
    fair_budget_free(b);
}

static void a_debt_is_bounded_and_passes(void **state)
{
    struct fair_budget *b = fair_budget_new();
    for (size_t i = 0; i < 1000; i++)
        fair_charge(b, (account_id){GREEDY}, 3600000000, 1);
    assert_true(fair_is_heavy(b, (account_id){GREEDY}, 1));
    uint64_t later = 1 + (uint64_t)(FAIR_DEBT_US - FAIR_BURST_US) * FAIR_SHARE;
    assert_true(fair_is_heavy(b, (account_id){GREEDY}, later - 1));
    assert_false(fair_is_heavy(b, (account_id){GREEDY}, later));
    fair_budget_free(b);
}

static void greedy_accounts_are_known_among_thousands_of_modest_ones(void **state)
{
    struct fair_budget *b = fair_budget_new();
    for (uint64_t i = 0; i < 10000; i++) {
        fair_charge(b, (account_id){5000}, 5000, i);
        fair_charge(b, (account_id){1000000 + i}, 100, i);
    }
    assert_true(fair_is_heavy(b, (account_id){5000}, 10000));
    for (uint64_t i = 0; i < 10000; i++)
        assert_false(fair_is_heavy(b, (account_id){1000000 + i}, 10000));
    fair_budget_free(b);
}

static void nobodys_work_is_never_heavy(void **state)
{
    struct fair_budget *b = fair_budget_new();
    fair_charge(b, (account_id){0}, 3600000000, 1);
    assert_false(fair_is_heavy(b, (account_id){0}, 1));
    fair_budget_free(b);
}

static void what_is_put_back_or_taken_out_leaves_the_others_in_order(void **state)
{
    struct fair_queue q;
    struct list items[6];
    fair_queue_init(&q);
    for (size_t i = 0; i < 6; i++)
        fair_queue_add(&q, &items[i], (account_id){GREEDY}, i >= 3);
    fair_queue_remove(&q, &items[1], (account_id){GREEDY});
    fair_queue_remove(&q, &items[4], (account_id){GREEDY});
    assert_ptr_equal(fair_queue_light(&q), &items[0]);
    fair_queue_put_back(&q, &items[0], (account_id){GREEDY}, false);
    assert_ptr_equal(fair_queue_light(&q), &items[0]);
    assert_ptr_equal(fair_queue_light(&q), &items[2]);
    assert_ptr_equal(fair_queue_heavy(&q), &items[3]);
    fair_queue_put_back(&q, &items[3], (account_id){GREEDY}, true);
    assert_ptr_equal(fair_queue_heavy(&q), &items[3]);
    fair_queue_remove(&q, &items[5], (account_id){GREEDY});
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
        cmocka_unit_test(what_is_put_back_or_taken_out_leaves_the_others_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
