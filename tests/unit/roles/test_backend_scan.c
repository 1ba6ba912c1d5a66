/* Scanners of the backend that fail, lie, never answer, or are kept busy. */
#include "backend_letters.h"

static int setup(void **state)
{
    *state = rig_new();
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static void a_message_that_kills_its_scanner_is_delivered_flat(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_DIE);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_to_alice(lmtp);
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__DONE);
    size_t flat;
    assert_int_equal(rig_inbox(r, alice, &flat), 1);
    assert_int_equal(flat, 1);
    assert_int_equal(r->retired, 1);
}

static void a_scanner_that_answers_nonsense_is_retired(void **state)
{
    static const enum scanner_mode modes[] = {SCAN_BADLY, SCAN_BADLY_AT_LENGTH, SCAN_UNASKED};
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        rig_scanner(r, 1, 1 + i, modes[i]);
        send_to_alice(lmtp);
        assert_int_equal(delivered(lmtp, 1), THURN__CODE__DONE);
        size_t flat;
        assert_int_equal(rig_inbox(r, alice, &flat), i + 1);
        assert_int_equal(flat, i + 1);
        assert_int_equal(r->retired, i + 1);
        assert_int_equal(r->last_retired, 1);
        rig_expect_closed(r->scanners[1 + i].end);
    }
}

static bool two_seen(void *arg)
{
    const struct rig *r = arg;
    return r->scanners[0].seen == 2;
}

static void a_scanner_takes_only_its_first_message_with_it(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_NEVER);
    struct end *first = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    struct end *second = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_to_alice(first);
    send_to_alice(second);
    rig_run(r, two_seen, r);
    rig_scanner(r, 1, 1, SCAN_WELL);
    struct end *third = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_to_alice(third); /* the other scanner's */
    assert_int_equal(delivered(third, 1), THURN__CODE__DONE);
    chan_free(r->scanners[0].end->chan); /* it ends with two of them */
    r->scanners[0].end->chan = NULL;
    assert_int_equal(delivered(first, 1), THURN__CODE__DONE);
    assert_int_equal(delivered(second, 1), THURN__CODE__DONE);
    size_t flat;
    assert_int_equal(rig_inbox(r, alice, &flat), 3);
    assert_int_equal(flat, 1);
}

static void a_scanner_that_never_answers_is_given_up(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    r->settings.scan_timeout = 30;
    backend_settings(&r->b, &r->settings);
    rig_scanner(r, 0, 1, SCAN_NEVER);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_to_alice(lmtp);
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__DONE);
    assert_int_equal(r->retired, 1);
    send_to_alice(lmtp); /* now there is none at all */
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__DONE);
    size_t flat;
    assert_int_equal(rig_inbox(r, alice, &flat), 2);
    assert_int_equal(flat, 2);
}

static bool two_seen_in_all(void *arg)
{
    const struct rig *r = arg;
    return r->scanners[0].seen + r->scanners[1].seen == 2;
}

static void send_large(struct end *lmtp, size_t n)
{
    struct buf text CLEANUP(buf_free) = {0};
    uint8_t *bytes = buf_room(&text, n);
    memset(bytes, 'x', n);
    buf_added(&text, n);
    struct sealed s;
    assert_int_equal(sealed_new(&s, n).code, E_OK);
    assert_int_equal(sealed_put(&s, buf_str(&text)).code, E_OK);
    assert_int_equal(sealed_finish(&s).code, E_OK);
    assert_int_equal(ask_recipient(lmtp, "alice"), THURN__CODE__DONE);
    send_delivery(lmtp, alice_only, 1, buf_str(&text), s.fd);
    sealed_free(&s);
}

static void many_large_messages_leave_a_scanner_to_small_ones(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    account_id bob = rig_account(r, STR("bob@example.test"));
    rig_scanner(r, 0, 1, SCAN_NEVER);
    rig_scanner(r, 1, 1, SCAN_NEVER);
    struct end *large[8];
    for (size_t i = 0; i < ARRAY_LEN(large); i++)
        send_large(large[i] = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP), 300 * KB);
    struct end *small = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    static const char *const bob_only[] = {"bob"};
    assert_int_equal(ask_recipient(small, "bob"), THURN__CODE__DONE);
    send_delivery(small, bob_only, 1, letter, -1);
    rig_run(r, two_seen_in_all, r);
    assert_int_equal(r->scanners[0].seen, 1);
    for (size_t i = 0; i < 2; i++)
        r->scanners[i].mode = SCAN_WELL;
    rig_scanner_answer(&r->scanners[0]); /* has the small one */
    assert_int_equal(delivered(small, 1), THURN__CODE__DONE);
    assert_int_equal(rig_inbox(r, bob, NULL), 1);
    rig_scanner_answer(&r->scanners[1]);
    for (size_t i = 0; i < ARRAY_LEN(large); i++)
        assert_int_equal(delivered(large[i], 1), THURN__CODE__DONE);
    assert_int_equal(rig_inbox(r, alice, NULL), ARRAY_LEN(large));
}

static void a_replaced_scanner_finishes_what_it_has(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_NEVER);
    struct end *first = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    struct end *second = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_to_alice(first);
    rig_run(r, one_seen, r);
    rig_scanner(r, 0, 2, SCAN_WELL);
    send_to_alice(second);
    assert_int_equal(delivered(second, 1), THURN__CODE__DONE);
    assert_int_equal(r->scanners[1].seen, 1);
    rig_scanner_answer(&r->scanners[0]);
    assert_int_equal(delivered(first, 1), THURN__CODE__DONE);
    rig_expect_closed(r->scanners[0].end);
    size_t flat;
    assert_int_equal(rig_inbox(r, alice, &flat), 2);
    assert_int_equal(flat, 0);
    assert_int_equal(r->retired, 0);
}

int main(void)
{
    log_open("test", 0, LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_message_that_kills_its_scanner_is_delivered_flat),
        CASE(a_scanner_that_answers_nonsense_is_retired),
        CASE(a_scanner_takes_only_its_first_message_with_it),
        CASE(a_scanner_that_never_answers_is_given_up),
        CASE(many_large_messages_leave_a_scanner_to_small_ones),
        CASE(a_replaced_scanner_finishes_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
