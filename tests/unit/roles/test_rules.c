/*
 * Every frame there is, sent to the backend with an empty message on every kind of channel and in
 * every state: what the state does not permit ends that channel, and nothing else.
 */
#include "test_backend_rig.h"

enum { SESSIONS = 1024 };

static const struct str none = {NULL, 0};

/* -- the channels, by state -- */

static struct end *lmtp(struct rig *r)
{
    return rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
}

static struct end *imap(struct rig *r)
{
    return rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
}

static void imap_ask(struct end *e, uint16_t type, const void *m)
{
    rig_send(e, type, m, none, -1);
    struct frame *f = rig_expect(e, RPC_IMAP_DONE);
    assert_int_equal(((const Thurn__ImapDone *)f->message)->status->code, THURN__CODE__DONE);
    frame_free(f);
}

static struct end *imap_logged_in(struct rig *r)
{
    struct end *e = imap(r);
    Thurn__ImapLogin m = THURN__IMAP_LOGIN__INIT;
    m.user = pb_bytes(STR("alice@example.test"));
    m.password = pb_bytes(STR("secret"));
    imap_ask(e, RPC_IMAP_LOGIN, &m);
    return e;
}

static struct end *imap_selected(struct rig *r)
{
    struct end *e = imap_logged_in(r);
    Thurn__ImapSelect m = THURN__IMAP_SELECT__INIT;
    m.mailbox = pb_bytes(STR("INBOX"));
    imap_ask(e, RPC_IMAP_SELECT, &m);
    return e;
}

/* What is answered, if only by a refusal; zeros fill up. All else ends the channel. (LMTP's
 * requests are permitted, but must not be empty.) */
enum { ANSWERED_MAX = 24 };
static const struct {
    struct end *(*open)(struct rig *r);
    uint16_t answered[ANSWERED_MAX];
} states[] = {
    {lmtp, {0}},
    {imap, {RPC_IMAP_LOGIN, RPC_IMAP_NOOP}},
    {imap_logged_in,
     {RPC_IMAP_SELECT, RPC_IMAP_CREATE, RPC_IMAP_DELETE, RPC_IMAP_RENAME, RPC_IMAP_SUBSCRIBE,
      RPC_IMAP_LIST, RPC_IMAP_STATUS, RPC_IMAP_APPEND, RPC_IMAP_NOOP, RPC_IMAP_ENABLE,
      RPC_IMAP_QUOTA, RPC_IMAP_APPEND_CHECK}},
    {imap_selected,
     {RPC_IMAP_SELECT, RPC_IMAP_CREATE, RPC_IMAP_DELETE, RPC_IMAP_RENAME, RPC_IMAP_SUBSCRIBE,
      RPC_IMAP_LIST, RPC_IMAP_STATUS, RPC_IMAP_APPEND, RPC_IMAP_NOOP, RPC_IMAP_CLOSE,
      RPC_IMAP_EXPUNGE, RPC_IMAP_SEARCH, RPC_IMAP_FETCH, RPC_IMAP_STORE, RPC_IMAP_COPY,
      RPC_IMAP_ENABLE, RPC_IMAP_QUOTA, RPC_IMAP_APPEND_CHECK}},
    {rig_admin,
     {RPC_ADMIN_DOMAIN_ADD, RPC_ADMIN_DOMAIN_REMOVE, RPC_ADMIN_DOMAIN_LIST, RPC_ADMIN_ACCOUNT_ADD,
      RPC_ADMIN_ACCOUNT_REMOVE, RPC_ADMIN_ACCOUNT_LIST, RPC_ADMIN_ACCOUNT_PASSWORD,
      RPC_ADMIN_DOMAIN_ALIAS, RPC_ADMIN_DOMAIN_SET, RPC_ADMIN_ACCOUNT_SET, RPC_ADMIN_ACCOUNT_SHOW,
      RPC_ADMIN_ACCOUNT_LOCK, RPC_ADMIN_ACCOUNT_UNLOCK, RPC_ADMIN_ACCOUNT_LOGOUT,
      RPC_ADMIN_ALIAS_ADD, RPC_ADMIN_ALIAS_REMOVE, RPC_ADMIN_ALIAS_LIST}},
};

/* -- what becomes of it -- */

static bool is_over(void *arg)
{
    const struct end *e = arg;
    return e->closed || e->n > e->taken;
}

static bool is_answered(const uint16_t *answered, uint16_t type)
{
    for (size_t i = 0; i < ANSWERED_MAX && answered[i]; i++)
        if (answered[i] == type)
            return true;
    return false;
}

static void send_empty(struct end *e, const struct frame_type *type)
{
    rig_send(e, type->number, NULL, none, -1);
}

static void hang_up(struct end *e)
{
    chan_free(e->chan);
    e->chan = NULL;
}

/* Mail is delivered and read by others as before. */
static void assert_serves(struct rig *r)
{
    struct end *e = lmtp(r);
    Thurn__Mailaddr alice = THURN__MAILADDR__INIT;
    alice.local = pb_bytes(STR("alice"));
    alice.domain = pb_bytes(STR("example.test"));
    Thurn__LmtpRecipient m = THURN__LMTP_RECIPIENT__INIT;
    m.address = &alice;
    rig_send(e, RPC_LMTP_RECIPIENT, &m, none, -1);
    frame_free(rig_expect(e, RPC_LMTP_RECIPIENT_ANSWER));
    Thurn__Mailaddr *to = &alice;
    Thurn__LmtpDeliver d = THURN__LMTP_DELIVER__INIT;
    d.delivery = pb_bytes(STR("0123456789abcdef"));
    d.n_recipients = 1;
    d.recipients = &to;
    d.size = 8;
    rig_send(e, RPC_LMTP_DELIVER, &d, STR("A: b\r\n\r\n"), -1);
    struct frame *f = rig_expect(e, RPC_LMTP_DELIVER_ANSWER);
    const Thurn__LmtpDeliverAnswer *a = (const Thurn__LmtpDeliverAnswer *)f->message;
    assert_int_equal(a->recipients[0]->code, THURN__CODE__DONE);
    frame_free(f);
    hang_up(e);
    hang_up(imap_selected(r));
}

/* -- tests -- */

static void a_session_is_ended_by_what_its_state_does_not_permit(void **state)
{
    struct rig *r = *state;
    for (size_t s = 0; s < ARRAY_LEN(states); s++)
        for (size_t i = 0; i < rpc_table.n; i++) {
            const struct frame_type *type = &rpc_table.types[i];
            struct end *e = states[s].open(r);
            send_empty(e, type);
            rig_run(r, is_over, e);
            if (e->closed == is_answered(states[s].answered, type->number))
                fail_msg("state %zu, %s: %s", s, type->name, e->closed ? "ended" : "answered");
            if (!e->closed)
                hang_up(e);
        }
    assert_serves(r);
    assert_int_equal(r->retired, 0);
}

static const uint16_t frontend_says[ANSWERED_MAX] = {RPC_SESSION_OPEN, RPC_SESSION_WATCH,
                                                     RPC_SESSION_UNWATCH};

static void a_frontend_is_ended_by_what_it_may_not_say(void **state)
{
    struct rig *r = *state;
    for (size_t i = 0; i < rpc_table.n; i++) {
        if (is_answered(frontend_says, rpc_table.types[i].number))
            continue;
        size_t retired = r->retired;
        send_empty(r->frontend, &rpc_table.types[i]);
        rig_expect_closed(r->frontend);
        assert_int_equal(r->retired, retired + 1);
        assert_int_equal(r->last_retired_role, THURN__ROLE_KIND__ROLE_FRONTEND);
        rig_frontend(r);
    }
    rig_send(r->frontend, RPC_SESSION_OPEN, NULL, none, -1); /* without a channel: it opens none */
    assert_serves(r);
}

static void a_scanner_is_ended_by_what_it_may_not_say(void **state)
{
    struct rig *r = *state;
    for (size_t i = 0; i < rpc_table.n; i++) {
        size_t retired = r->retired;
        send_empty(r->scanners[0].end, &rpc_table.types[i]);
        rig_expect_closed(r->scanners[0].end);
        assert_int_equal(r->retired, retired + 1);
        assert_int_equal(r->last_retired_role, THURN__ROLE_KIND__ROLE_NONE);
        rig_scanner(r, 0, 1, SCAN_WELL);
    }
    assert_serves(r);
}

static int setup(void **state)
{
    struct rig *r = rig_new();
    r->b.limits.sessions = SESSIONS;
    (void)rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

int main(void)
{
    log_open("test", 0, LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_session_is_ended_by_what_its_state_does_not_permit),
        CASE(a_frontend_is_ended_by_what_it_may_not_say),
        CASE(a_scanner_is_ended_by_what_it_may_not_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
