/* What is expunged or deleted stays until its time in history has passed, and then goes with all
 * that belonged to it: the check finds what is left over, the head counts emails. */
#include "model_house.h"

static void in_order(struct house *h)
{
    struct buf explain CLEANUP(buf_free) = {0};
    house_close(h);
    assert_ok(store_check(str_c(h->dir), nothing_to_find, NULL, NULL, &explain));
    house_reopen(h);
}

static uint64_t emails(struct house *h)
{
    struct snap *s;
    assert_ok(snap_open(h->alice, &s));
    uint64_t n = snap_head(s)->emails;
    snap_close(s);
    return n;
}

static struct err changes_since(struct house *h, mailbox_id m, uint64_t since, size_t *n)
{
    struct snap *s;
    struct change c[64];
    assert_ok(snap_open(h->alice, &s));
    struct err e = snap_changes(s, m, (modseq){since}, c, ARRAY_LEN(c), n);
    snap_close(s);
    return e;
}

static void time_passes(struct house *h, int64_t seconds)
{
    house_ahead += seconds;
    maintain(h);
}

static void an_expunged_message_goes_when_its_time_has_passed(void **state)
{
    struct house *h = *state;
    msg_uid one = deliver(h, INBOX, "one"), two = deliver(h, INBOX, "two");
    expunge(h, INBOX, one);
    time_passes(h, HISTORY - 3600);
    assert_int_equal(emails(h), 2);
    time_passes(h, 3600 + 86400);
    assert_int_equal(emails(h), 1);
    struct snap *s;
    struct entry e;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_entry(s, INBOX, two, &e));
    assert_err(snap_entry(s, INBOX, one, &e), E_NOTFOUND);
    snap_close(s);
    in_order(h);
    house_reopen_from_log(h);
    assert_int_equal(emails(h), 1);
    in_order(h);
}

static void an_email_stays_as_long_as_some_entry_shows_it(void **state)
{
    struct house *h = *state;
    mailbox_id other = create_mailbox(h, "Other");
    msg_uid uid = deliver(h, INBOX, "one"), copy;
    struct txn *t;
    struct entry e;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(snap_entry(txn_snap(t), INBOX, uid, &e));
    assert_ok(txn_entry_add(t, other, e.email, 0, 0, 7, &copy));
    assert_ok(txn_commit(t));
    expunge(h, INBOX, uid);
    time_passes(h, HISTORY + 86400);
    assert_int_equal(emails(h), 1);
    in_order(h);
    expunge(h, other, copy);
    time_passes(h, HISTORY + 86400);
    assert_int_equal(emails(h), 0);
    in_order(h);
}

static void what_the_change_log_has_forgotten_is_not_passed_over(void **state)
{
    struct house *h = *state;
    size_t n;
    msg_uid one = deliver(h, INBOX, "one");
    modseq before = account_modseq(h->alice);
    expunge(h, INBOX, one);
    time_passes(h, HISTORY + 86400);
    assert_err(changes_since(h, INBOX, before.v, &n), E_LIMIT);
    modseq now = account_modseq(h->alice);
    assert_ok(changes_since(h, INBOX, now.v, &n));
    assert_int_equal(n, 0);
    deliver(h, INBOX, "two");
    assert_ok(changes_since(h, INBOX, now.v, &n));
    assert_int_equal(n, 1);
    assert_err(changes_since(h, INBOX, before.v, &n), E_LIMIT);
}

static void only_what_is_old_enough_goes(void **state)
{
    struct house *h = *state;
    size_t n;
    expunge(h, INBOX, deliver(h, INBOX, "old"));
    house_ahead += 3 * 86400;
    modseq between = account_modseq(h->alice);
    expunge(h, INBOX, deliver(h, INBOX, "new"));
    time_passes(h, HISTORY - 86400);
    assert_int_equal(emails(h), 1);
    assert_ok(changes_since(h, INBOX, between.v, &n));
    assert_int_equal(n, 1);
    in_order(h);
    time_passes(h, 3 * 86400);
    assert_int_equal(emails(h), 0);
    assert_false(account_wants_maintenance(h->alice));
    in_order(h);
}

static void fill(struct house *h, mailbox_id m, unsigned n)
{
    static char text[4000][24];
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(text[i], sizeof text[i], "message %u", i);
        (void)txn_message(t, m, str_c(text[i]), 0);
    }
    assert_ok(txn_commit(t));
}

static void a_deleted_mailbox_goes_in_pieces(void **state)
{
    struct house *h = *state;
    mailbox_id m = create_mailbox(h, "Large");
    fill(h, m, 3000);
    expunge(h, m, (msg_uid){1500});
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_delete(t, m));
    assert_ok(txn_commit(t));
    deliver(h, INBOX, "stays");
    house_ahead += HISTORY + 86400;
    uint64_t left = emails(h);
    unsigned pieces = 0;
    for (; account_wants_maintenance(h->alice); pieces++) {
        assert_ok(account_maintain(h->alice));
        uint64_t now = emails(h);
        assert_true(left - now <= 1024);
        left = now;
        in_order(h); /* and so after a crash at any of these moments */
    }
    assert_true(pieces > 5);
    assert_int_equal(left, 1);
}

static unsigned told;
static void tell(account_id account, modseq at, void *arg)
{
    (void)account;
    (void)at;
    (void)arg;
    told++;
}

static void the_end_of_history_is_no_change_for_clients(void **state)
{
    struct house *h = *state;
    h->changed = tell;
    house_reopen(h);
    expunge(h, INBOX, deliver(h, INBOX, "one"));
    modseq before = account_modseq(h->alice);
    told = 0;
    time_passes(h, HISTORY + 86400);
    assert_int_equal(emails(h), 0);
    assert_int_equal(account_modseq(h->alice).v, before.v);
    assert_int_equal(told, 0);
}

static size_t due(struct house *h, account_id *out)
{
    struct history_due at = {0};
    size_t n;
    assert_ok(store_history_due(h->store, &at, out, 8, &n));
    assert_int_equal(at.end, 0);
    return n;
}

static void accounts_with_something_due_are_found_without_opening_them(void **state)
{
    struct house *h = *state;
    account_id ids[8];
    assert_ok(store_account_create(h->store, BOB, NULL, 0));
    expunge(h, INBOX, deliver(h, INBOX, "one"));
    assert_int_equal(due(h, ids), 0);
    house_ahead += HISTORY + 86400;
    assert_int_equal(due(h, ids), 1);
    assert_int_equal(ids[0].v, ALICE.v);
    maintain(h);
    assert_int_equal(due(h, ids), 0);
    deliver(h, INBOX, "two");
    account_close(h->alice);
    h->alice = NULL;
    assert_ok(store_account_erase(h->store, ALICE));
    house_ahead += HISTORY + 86400;
    assert_int_equal(due(h, ids), 0);
    assert_ok(store_account_create(h->store, ALICE, NULL, 0));
    in_order(h);
}

static void a_shorter_history_holds_for_what_is_there(void **state)
{
    struct house *h = *state;
    expunge(h, INBOX, deliver(h, INBOX, "one"));
    time_passes(h, 2 * 86400);
    assert_int_equal(emails(h), 1);
    store_set_history(h->store, 3600);
    maintain(h);
    assert_int_equal(emails(h), 0);
    in_order(h);
}

static void a_clock_that_goes_back_loses_nothing_and_leaves_nothing(void **state)
{
    struct house *h = *state;
    expunge(h, INBOX, deliver(h, INBOX, "one"));
    time_passes(h, HISTORY + 86400);
    house_ahead -= HISTORY + 3 * 86400;
    expunge(h, INBOX, deliver(h, INBOX, "two"));
    maintain(h);
    assert_int_equal(emails(h), 1);
    in_order(h);
    time_passes(h, 2 * HISTORY + 6 * 86400);
    assert_int_equal(emails(h), 0);
    in_order(h);
}

/* What happens meanwhile is part of the slot that is being let go. */
static void a_clock_that_goes_back_between_two_pieces_leaves_nothing_either(void **state)
{
    struct house *h = *state;
    mailbox_id large = create_mailbox(h, "Large"), other = create_mailbox(h, "Other");
    struct txn *t;
    fill(h, large, 3000);
    fill(h, other, 2);
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_delete(t, large));
    assert_ok(txn_commit(t));
    maintain(h);
    uint64_t before = emails(h);
    house_ahead += HISTORY + 86400;
    while (emails(h) == before)
        assert_ok(account_maintain(h->alice));
    assert_true(account_wants_maintenance(h->alice));
    house_ahead -= HISTORY + 2 * 86400;
    expunge(h, other, (msg_uid){1});
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_delete(t, other));
    assert_ok(txn_commit(t));
    time_passes(h, 2 * HISTORY + 6 * 86400);
    assert_int_equal(emails(h), 0);
    in_order(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_expunged_message_goes_when_its_time_has_passed,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(an_email_stays_as_long_as_some_entry_shows_it, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(what_the_change_log_has_forgotten_is_not_passed_over,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(only_what_is_old_enough_goes, house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(a_deleted_mailbox_goes_in_pieces, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(the_end_of_history_is_no_change_for_clients, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(accounts_with_something_due_are_found_without_opening_them,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(a_shorter_history_holds_for_what_is_there, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_goes_back_loses_nothing_and_leaves_nothing,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(
            a_clock_that_goes_back_between_two_pieces_leaves_nothing_either, house_setup,
            house_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
