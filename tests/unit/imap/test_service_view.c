/* The view of a mailbox, against a plain list of UIDs. */
#include "base/base.h"

#include "imap/service/resync.c" /* vanished_gaps */
#include "imap/service/set.h"

#include <setjmp.h>
#include <cmocka.h>

enum { MANY = 400 };

struct model {
    uint32_t uids[MANY * 20];
    size_t n;
};

static void same(const struct view *v, const struct model *m)
{
    assert_int_equal(v->count, m->n);
    assert_int_equal(view_last(v), m->n ? m->uids[m->n - 1] : 0);
    for (size_t i = 0; i < m->n; i++) {
        assert_int_equal(view_seq(v, (msg_uid){m->uids[i]}).v, i + 1);
        assert_int_equal(view_uid(v, (msg_seq){(uint32_t)i + 1}).v, m->uids[i]);
        if (i + 1 == m->n || m->uids[i + 1] > m->uids[i] + 1)
            assert_int_equal(view_seq(v, (msg_uid){m->uids[i] + 1}).v, 0);
    }
    assert_int_equal(view_seq(v, (msg_uid){0}).v, 0);
    assert_int_equal(view_count(v, 0, UINT32_MAX), m->n);
    if (m->n > 2)
        assert_int_equal(view_count(v, m->uids[1], m->uids[m->n - 1] - 1), m->n - 2);
}

static void numbers_stay_right_through_all_changes(void **state)
{
    (void)state;
    static struct model m;
    struct view v = {0};
    uint32_t next = 1;
    uint64_t x = 88172645463325252u;
    same(&v, &m);
    for (unsigned round = 0; round < MANY; round++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        struct uid_run runs[3];
        for (size_t i = 0; i < 3; i++) {
            next += x >> (8 * i) & 3;
            runs[i] = (struct uid_run){next, 1 + (uint32_t)(x >> (8 * i + 4) & 3)};
            for (uint32_t k = 0; k < runs[i].count; k++)
                m.uids[m.n++] = next++;
        }
        assert_int_equal(view_add(&v, runs, 3).code, E_OK);
        uint32_t gone[MANY * 20];
        size_t n_gone = 0, kept = 0;
        for (size_t i = 0; i < m.n; i++) {
            bool dies = (x >> (i % 60) & 7) == 0;
            if (dies)
                gone[n_gone++] = m.uids[i];
            else
                m.uids[kept++] = m.uids[i];
        }
        m.n = kept;
        assert_int_equal(view_remove(&v, gone, n_gone).code, E_OK);
        same(&v, &m);
    }
    assert_int_equal(view_remove(&v, m.uids, m.n).code, E_OK);
    m.n = 0;
    same(&v, &m);
    view_free(&v);
}

/* What a client that knows the UIDs of a set has to forget when the log does not tell. */
static void gaps_are_what_is_known_and_not_there(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (unsigned round = 0; round < 2000; round++) {
        struct arena a CLEANUP(arena_free);
        arena_init(&a, 1024 * 1024);
        struct view v = {0};
        bool there[65] = {0};
        for (uint32_t uid = 1; uid < 64; uid++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            there[uid] = x % 3;
            if (there[uid])
                assert_int_equal(view_add(&v, &(struct uid_run){uid, 1}, 1).code, E_OK);
        }
        Thurn__NumRange ranges[2] = {THURN__NUM_RANGE__INIT, THURN__NUM_RANGE__INIT};
        Thurn__NumRange *list[] = {&ranges[0], &ranges[1]};
        Thurn__ImapSet in = THURN__IMAP_SET__INIT;
        ranges[0].first = (uint32_t)(x >> 8) % 70 + 1,
        ranges[0].last = (uint32_t)(x >> 16) % 70 + 1;
        ranges[1].first = (uint32_t)(x >> 24) % 70 + 1, ranges[1].last = x % 5 ? 9 : UINT32_MAX;
        in.n_ranges = 2, in.ranges = list, in.uid = true;
        struct uid_set set;
        struct num_list gaps = {0};
        assert_int_equal(uid_set_below(x % 7 ? &in : NULL, 65, &a, &set).code, E_OK);
        assert_int_equal(vanished_gaps(&v, &set, &a, &gaps).code, E_OK);
        struct uid_set told = {gaps.ranges, gaps.n};
        for (uint32_t uid = 1; uid <= 70; uid++) {
            bool known = uid < 65 && uid_set_has(&set, (msg_uid){uid});
            assert_int_equal(uid_set_has(&told, (msg_uid){uid}), known && !there[uid]);
        }
        view_free(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_stay_right_through_all_changes),
                                       cmocka_unit_test(gaps_are_what_is_known_and_not_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
