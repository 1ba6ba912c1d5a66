/* Deliveries and logins that go on at another channel, as after the death of a backend. */
#include "test_backend_rig.h"

static const struct str none = {NULL, 0};
static const struct str letter = STR_INIT("Subject: x\r\n\r\nHello\r\n");

static struct rig *rig;
static account_id alice, bob;

static int begin(void **state)
{
    (void)state;
    rig = rig_new();
    rig_scanner(rig, 0, 1, SCAN_WELL);
    alice = rig_account(rig, STR("alice@example.test"));
    bob = rig_account(rig, STR("bob@example.test"));
    return 0;
}

static int end(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

static Thurn__Mailaddr address_of(const char *local)
{
    Thurn__Mailaddr a = THURN__MAILADDR__INIT;
    a.local = pb_bytes(str_c(local));
    a.domain = pb_bytes(STR("example.test"));
    return a;
}

/* The ticket of a recipient that was accepted. */
static struct buf ticket_of(struct end *e, const char *local)
{
    Thurn__Mailaddr address = address_of(local);
    Thurn__LmtpRecipient m = THURN__LMTP_RECIPIENT__INIT;
    m.address = &address;
    rig_send(e, RPC_LMTP_RECIPIENT, &m, none, -1);
    struct frame *f = rig_expect(e, RPC_LMTP_RECIPIENT_ANSWER);
    const Thurn__LmtpRecipientAnswer *answer = (const Thurn__LmtpRecipientAnswer *)f->message;
    assert_int_equal(answer->status->code, THURN__CODE__DONE);
    assert_true(answer->ticket.len > 0);
    struct buf ticket = {0};
    buf_put(&ticket, pb_str(answer->ticket));
    frame_free(f);
    return ticket;
}

static void deliver(struct end *e, const char *local, struct str ticket)
{
    Thurn__Mailaddr address = address_of(local), *to[] = {&address}, sender = THURN__MAILADDR__INIT;
    ProtobufCBinaryData tickets[] = {pb_bytes(ticket)};
    Thurn__LmtpDeliver m = THURN__LMTP_DELIVER__INIT;
    m.delivery = pb_bytes(STR("0123456789abcdef"));
    m.sender = &sender;
    m.recipients = to;
    m.n_recipients = 1;
    m.tickets = tickets;
    m.n_tickets = ticket.n > 0;
    m.size = letter.n;
    rig_send(e, RPC_LMTP_DELIVER, &m, letter, -1);
}

static void assert_delivered(struct end *e)
{
    struct frame *f = rig_expect(e, RPC_LMTP_DELIVER_ANSWER);
    const Thurn__LmtpDeliverAnswer *answer = (const Thurn__LmtpDeliverAnswer *)f->message;
    assert_int_equal(answer->n_recipients, 1);
    assert_int_equal(answer->recipients[0]->code, THURN__CODE__DONE);
    frame_free(f);
}

static struct end *again(Thurn__SessionKind kind, uint64_t id, struct str record)
{
    return rig_session_as(rig, kind, id, record);
}

static void a_delivery_that_is_repeated_elsewhere_is_made_once(void **state)
{
    (void)state;
    struct end *first = rig_session(rig, THURN__SESSION_KIND__SESSION_SMTP);
    uint64_t id = rig->last_session;
    struct buf ticket CLEANUP(buf_free) = ticket_of(first, "alice");
    deliver(first, "alice", buf_str(&ticket));
    assert_delivered(first);
    for (int i = 0; i < 3; i++) {
        struct end *next = again(THURN__SESSION_KIND__SESSION_SMTP, id, none);
        deliver(next, "alice", buf_str(&ticket));
        assert_delivered(next);
    }
    assert_int_equal(rig_inbox(rig, alice, NULL), 1);
}

static void a_ticket_is_good_for_its_recipient_and_session_only(void **state)
{
    (void)state;
    struct end *first = rig_session(rig, THURN__SESSION_KIND__SESSION_SMTP);
    uint64_t id = rig->last_session;
    struct buf ticket CLEANUP(buf_free) = ticket_of(first, "alice");

    struct end *other_recipient = again(THURN__SESSION_KIND__SESSION_SMTP, id, none);
    deliver(other_recipient, "bob", buf_str(&ticket));
    rig_expect_closed(other_recipient);

    struct end *other_session = again(THURN__SESSION_KIND__SESSION_SMTP, id + 1, none);
    deliver(other_session, "alice", buf_str(&ticket));
    rig_expect_closed(other_session);

    struct end *without = again(THURN__SESSION_KIND__SESSION_SMTP, id, none);
    deliver(without, "alice", none);
    rig_expect_closed(without);

    for (size_t i = 0; i < ticket.n; i += 7) {
        struct buf forged CLEANUP(buf_free) = {0};
        buf_put(&forged, buf_str(&ticket));
        forged.p[forged.off + i] ^= 1;
        struct end *e = again(THURN__SESSION_KIND__SESSION_SMTP, id, none);
        deliver(e, "alice", buf_str(&forged));
        rig_expect_closed(e);
    }
    assert_int_equal(rig_inbox(rig, alice, NULL), 0);
    assert_int_equal(rig_inbox(rig, bob, NULL), 0);
}

/* The record of a login that has succeeded. */
static struct buf log_in(struct end *e)
{
    Thurn__SmtpLogin m = THURN__SMTP_LOGIN__INIT;
    m.user = pb_bytes(STR("alice@example.test"));
    m.password = pb_bytes(STR("secret"));
    rig_send(e, RPC_SMTP_LOGIN, &m, none, -1);
    struct frame *f = rig_expect(e, RPC_SMTP_LOGIN_ANSWER);
    const Thurn__SmtpLoginAnswer *answer = (const Thurn__SmtpLoginAnswer *)f->message;
    assert_int_equal(answer->status->code, THURN__CODE__DONE);
    struct buf record = {0};
    buf_put(&record, pb_str(answer->resume));
    frame_free(f);
    assert_true(record.n > 0);
    return record;
}

static void assert_sends_nothing(struct end *e)
{
    Thurn__Mailaddr address = address_of("bob");
    Thurn__LmtpRecipient m = THURN__LMTP_RECIPIENT__INIT;
    m.address = &address;
    rig_send(e, RPC_LMTP_RECIPIENT, &m, none, -1);
    rig_expect_closed(e);
}

static void a_login_goes_on_with_its_record_and_with_no_other(void **state)
{
    (void)state;
    struct end *first = rig_session(rig, THURN__SESSION_KIND__SESSION_SUBMISSION);
    uint64_t id = rig->last_session;
    struct buf record CLEANUP(buf_free) = log_in(first);
    struct buf ticket CLEANUP(buf_free) = ticket_of(first, "bob");

    struct end *next = again(THURN__SESSION_KIND__SESSION_SUBMISSION, id, buf_str(&record));
    deliver(next, "bob", buf_str(&ticket));
    assert_delivered(next);
    assert_int_equal(rig_inbox(rig, bob, NULL), 1);

    assert_sends_nothing(again(THURN__SESSION_KIND__SESSION_SUBMISSION, id, none));
    assert_sends_nothing(again(THURN__SESSION_KIND__SESSION_SUBMISSION, id + 1, buf_str(&record)));
    /* A recipient's ticket is no login, although the same key has sealed it. */
    assert_sends_nothing(again(THURN__SESSION_KIND__SESSION_SUBMISSION, id, buf_str(&ticket)));
}

static void a_login_does_not_outlive_its_password(void **state)
{
    (void)state;
    struct end *first = rig_session(rig, THURN__SESSION_KIND__SESSION_SUBMISSION);
    uint64_t id = rig->last_session;
    struct buf record CLEANUP(buf_free) = log_in(first);
    struct directory_password other = {.text = STR("another")};
    account_id changed;
    assert_int_equal(
        directory_account_password(rig->b.directory, STR("alice@example.test"), other, &changed)
            .code,
        E_OK);
    assert_sends_nothing(again(THURN__SESSION_KIND__SESSION_SUBMISSION, id, buf_str(&record)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_delivery_that_is_repeated_elsewhere_is_made_once, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_ticket_is_good_for_its_recipient_and_session_only, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_login_goes_on_with_its_record_and_with_no_other, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_login_does_not_outlive_its_password, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
