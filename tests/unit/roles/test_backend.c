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

/* -- LMTP -- */

static void a_message_reaches_all_its_recipients(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    account_id bob = rig_account(r, STR("bob@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    assert_int_equal(ask_recipient(lmtp, "alice"), THURN__CODE__DONE);
    assert_int_equal(ask_recipient(lmtp, "nobody"), THURN__CODE__NOT_FOUND);
    assert_int_equal(ask_recipient(lmtp, "bob"), THURN__CODE__DONE);
    static const char *const both[] = {"alice", "bob"};
    send_delivery(lmtp, both, 2, letter, -1);
    assert_int_equal(delivered(lmtp, 2), THURN__CODE__DONE);
    size_t flat;
    assert_int_equal(rig_inbox(r, alice, &flat), 1);
    assert_int_equal(flat, 0);
    assert_int_equal(rig_inbox(r, bob, NULL), 1);
}

static void a_large_message_comes_as_sealed_memory(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    size_t n = 300 * KB;
    uint8_t *bytes = mem_alloc(n);
    memset(bytes, 'x', n);
    struct sealed s;
    assert_int_equal(sealed_new(&s, n).code, E_OK);
    assert_int_equal(sealed_put(&s, str_of(bytes, n)).code, E_OK);
    assert_int_equal(sealed_finish(&s).code, E_OK);
    assert_int_equal(ask_recipient(lmtp, "alice"), THURN__CODE__DONE);
    send_delivery(lmtp, alice_only, 1, str_of(bytes, n), s.fd);
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__DONE);
    assert_int_equal(rig_inbox(r, alice, NULL), 1);

    assert_int_equal(ask_recipient(lmtp, "alice"), THURN__CODE__DONE);
    send_delivery(lmtp, alice_only, 1, str_of(bytes, 2048 * KB), s.fd);
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__TOO_LARGE);

    assert_int_equal(ask_recipient(lmtp, "alice"), THURN__CODE__DONE);
    send_delivery(lmtp, alice_only, 1, str_of(bytes, n - 1), s.fd); /* not its size */
    rig_expect_closed(lmtp);
    assert_int_equal(rig_inbox(r, alice, NULL), 1);
    sealed_free(&s);
    free(bytes);
}

static void an_empty_message_is_mail_too(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    assert_int_equal(ask_recipient(lmtp, "alice"), THURN__CODE__DONE);
    send_delivery(lmtp, alice_only, 1, none, -1);
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__DONE);
    assert_int_equal(rig_inbox(r, alice, NULL), 1);
}

static void who_was_not_accepted_gets_no_mail(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_delivery(lmtp, alice_only, 1, letter, -1);
    rig_expect_closed(lmtp);
    struct end *second = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_to_alice(second);
    assert_int_equal(delivered(second, 1), THURN__CODE__DONE);
    send_delivery(second, alice_only, 1, letter, -1); /* that was the transaction before */
    rig_expect_closed(second);
    assert_int_equal(rig_inbox(r, alice, NULL), 1);
}

static void a_frontend_cannot_store_what_it_likes_as_a_trace_id(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    uint8_t endless[65] = {0};
    trace = str_of(endless, sizeof endless);
    send_to_alice(lmtp);
    rig_expect_closed(lmtp);
    trace = none;
    assert_int_equal(rig_inbox(r, alice, NULL), 0);
}

/* -- submission -- */

static Thurn__Code submission_login(struct end *client, const char *password)
{
    Thurn__SmtpLogin m = THURN__SMTP_LOGIN__INIT;
    m.user = pb_bytes(STR("alice@example.test"));
    m.password = pb_bytes(str_c(password));
    rig_send(client, RPC_SMTP_LOGIN, &m, none, -1);
    struct frame *f = rig_expect(client, RPC_SMTP_LOGIN_ANSWER);
    Thurn__Code code = ((const Thurn__SmtpLoginAnswer *)f->message)->status->code;
    frame_free(f);
    return code;
}

static void submission_takes_no_mail_before_login(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    Thurn__Mailaddr a = mailaddr("alice");
    Thurn__LmtpRecipient m = THURN__LMTP_RECIPIENT__INIT;
    m.address = &a;
    struct end *early = rig_session(r, THURN__SESSION_KIND__SESSION_SUBMISSION);
    rig_send(early, RPC_LMTP_RECIPIENT, &m, none, -1);
    rig_expect_closed(early);
    struct end *wrong = rig_session(r, THURN__SESSION_KIND__SESSION_SUBMISSION);
    assert_int_equal(submission_login(wrong, "guess"), THURN__CODE__DENIED);
    rig_send(wrong, RPC_LMTP_RECIPIENT, &m, none, -1);
    rig_expect_closed(wrong);
    struct end *right = rig_session(r, THURN__SESSION_KIND__SESSION_SUBMISSION);
    assert_int_equal(submission_login(right, "guess"), THURN__CODE__DENIED);
    assert_int_equal(submission_login(right, "secret"), THURN__CODE__DONE);
    send_to_alice(right);
    assert_int_equal(delivered(right, 1), THURN__CODE__DONE);
    assert_int_equal(rig_inbox(r, alice, NULL), 1);
    struct end *mx = rig_session(r, THURN__SESSION_KIND__SESSION_SMTP);
    Thurn__SmtpLogin login = THURN__SMTP_LOGIN__INIT;
    rig_send(mx, RPC_SMTP_LOGIN, &login, none, -1);
    rig_expect_closed(mx);
}

static void many_deliveries_to_one_account_all_arrive(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    rig_scanner(r, 1, 1, SCAN_WELL);
    struct end *lmtp[16];
    for (size_t i = 0; i < ARRAY_LEN(lmtp); i++)
        lmtp[i] = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    enum { ROUNDS = 40 }; /* so many that the store wants maintenance meanwhile */
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < ARRAY_LEN(lmtp); i++)
            send_to_alice(lmtp[i]);
        for (size_t i = 0; i < ARRAY_LEN(lmtp); i++)
            assert_int_equal(delivered(lmtp[i], 1), THURN__CODE__DONE);
    }
    assert_int_equal(rig_inbox(r, alice, NULL), ROUNDS * ARRAY_LEN(lmtp));
}

/* -- IMAP -- */

static Thurn__Code imap_done(struct end *imap)
{
    struct frame *f = rig_expect(imap, RPC_IMAP_DONE);
    Thurn__Code code = ((const Thurn__ImapDone *)f->message)->status->code;
    frame_free(f);
    return code;
}

static Thurn__Code login(struct end *imap, const char *user, const char *password)
{
    Thurn__ImapLogin m = THURN__IMAP_LOGIN__INIT;
    m.user = pb_bytes(str_c(user));
    m.password = pb_bytes(str_c(password));
    rig_send(imap, RPC_IMAP_LOGIN, &m, none, -1);
    return imap_done(imap);
}

static Thurn__Code select_inbox(struct end *imap)
{
    Thurn__ImapSelect m = THURN__IMAP_SELECT__INIT;
    m.mailbox = pb_bytes(STR("INBOX"));
    rig_send(imap, RPC_IMAP_SELECT, &m, none, -1);
    return imap_done(imap);
}

static Thurn__Code append(struct end *imap, struct str text)
{
    Thurn__ImapFlags flags = THURN__IMAP_FLAGS__INIT;
    Thurn__ImapAppend m = THURN__IMAP_APPEND__INIT;
    Thurn__AppendMessage one = THURN__APPEND_MESSAGE__INIT, *messages = &one;
    one.flags = &flags;
    one.size = text.n;
    m.mailbox = pb_bytes(STR("INBOX"));
    m.messages = &messages;
    m.n_messages = 1;
    rig_send(imap, RPC_IMAP_APPEND, &m, text, -1);
    return imap_done(imap);
}

static void nothing_but_login_is_done_before_login(void **state)
{
    struct rig *r = *state;
    (void)rig_account(r, STR("alice@example.test"));
    struct end *imap = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(imap, "alice", "wrong"), THURN__CODE__DENIED);
    Thurn__ImapSelect m = THURN__IMAP_SELECT__INIT;
    m.mailbox = pb_bytes(STR("INBOX"));
    rig_send(imap, RPC_IMAP_SELECT, &m, none, -1);
    rig_expect_closed(imap);

    struct end *second = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(second, "alice", "secret"), THURN__CODE__DONE);
    Thurn__ImapSearch search = THURN__IMAP_SEARCH__INIT;
    rig_send(second, RPC_IMAP_SEARCH, &search, none, -1); /* nothing is selected */
    rig_expect_closed(second);

    struct end *third = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    send_delivery(third, alice_only, 1, letter, -1);
    rig_expect_closed(third);
}

/* `n` messages in one APPEND, as raw bytes or as sealed memory; each `size` bytes, of which the
 * request says `said`. */
static void send_append(struct end *imap, size_t n, size_t size, size_t said)
{
    enum { MOST = 40 };
    Thurn__ImapAppend m = THURN__IMAP_APPEND__INIT;
    Thurn__AppendMessage one = THURN__APPEND_MESSAGE__INIT, *messages[MOST];
    struct buf all CLEANUP(buf_free) = {0};
    struct sealed s CLEANUP(sealed_free);
    s = (struct sealed){.fd = -1};
    assert_true(n <= MOST);
    one.size = said;
    m.mailbox = pb_bytes(STR("INBOX"));
    m.messages = messages;
    m.n_messages = n;
    for (size_t i = 0; i < n; i++)
        messages[i] = &one;
    while (all.n < n * size)
        buf_byte(&all, 'x');
    if (all.n > 64 * KB) {
        assert_int_equal(sealed_new(&s, all.n).code, E_OK);
        assert_int_equal(sealed_put(&s, buf_str(&all)).code, E_OK);
        assert_int_equal(sealed_finish(&s).code, E_OK);
        buf_clear(&all);
    }
    rig_send(imap, RPC_IMAP_APPEND, &m, buf_str(&all), s.fd);
}

static void many_messages_are_scanned_and_appended(void **state)
{
    struct rig *r = *state;
    (void)rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *imap = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(imap, "alice@example.test", "secret"), THURN__CODE__DONE);
    static const struct {
        size_t n, size;
    } tries[] = {{3, 100}, {40, 5000}, {3, 70000}};
    uint32_t uid = 1;
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        send_append(imap, tries[i].n, tries[i].size, tries[i].size);
        struct frame *f = rig_expect(imap, RPC_IMAP_DONE);
        const Thurn__ImapDone *done = (const Thurn__ImapDone *)f->message;
        assert_int_equal(done->status->code, THURN__CODE__DONE);
        assert_int_equal(done->n_target_uids, 1);
        assert_int_equal(done->target_uids[0]->first, uid);
        assert_int_equal(done->target_uids[0]->last, uid + tries[i].n - 1);
        uid += (uint32_t)tries[i].n;
        frame_free(f);
    }
    assert_int_equal(r->scanners[0].seen, uid - 1);
    send_append(imap, 2, 100, 101); /* the sizes do not fit the bytes */
    rig_expect_closed(imap);
}

static void requests_sent_in_one_go_are_done_in_order(void **state)
{
    struct rig *r = *state;
    (void)rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *imap = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(imap, "alice", "secret"), THURN__CODE__DONE);
    Thurn__ImapNoop noop = THURN__IMAP_NOOP__INIT;
    Thurn__ImapSelect m = THURN__IMAP_SELECT__INIT;
    m.mailbox = pb_bytes(STR("INBOX"));
    Thurn__ImapFlags flags = THURN__IMAP_FLAGS__INIT;
    Thurn__ImapAppend put = THURN__IMAP_APPEND__INIT;
    Thurn__AppendMessage one = THURN__APPEND_MESSAGE__INIT, *messages = &one;
    one.flags = &flags;
    one.size = letter.n;
    put.mailbox = pb_bytes(STR("INBOX"));
    put.messages = &messages;
    put.n_messages = 1;
    enum { TIMES = 20 };
    for (size_t i = 0; i < TIMES; i++) {
        rig_send(imap, RPC_IMAP_NOOP, &noop, none, -1);
        rig_send(imap, RPC_IMAP_APPEND, &put, letter, -1);
        rig_send(imap, RPC_IMAP_SELECT, &m, none, -1);
    }
    for (size_t i = 0; i < TIMES; i++) {
        assert_int_equal(imap_done(imap), THURN__CODE__DONE);
        assert_int_equal(imap_done(imap), THURN__CODE__DONE);
        struct frame *f = rig_expect(imap, RPC_IMAP_DONE);
        const Thurn__ImapDone *done = (const Thurn__ImapDone *)f->message;
        assert_non_null(done->selected);
        assert_int_equal(done->selected->exists, i + 1);
        frame_free(f);
    }
}

static void a_frontend_has_no_more_sessions_than_connections(void **state)
{
    struct rig *r = *state;
    (void)rig_account(r, STR("alice@example.test"));
    struct end *last = NULL;
    for (size_t i = 0; i < r->settings.max_connections; i++)
        last = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    assert_int_equal(ask_recipient(last, "alice"), THURN__CODE__DONE);
    rig_expect_closed(rig_session(r, THURN__SESSION_KIND__SESSION_IMAP));
    assert_int_equal(ask_recipient(last, "alice"), THURN__CODE__DONE);
}

static void fetch_everything(struct end *imap)
{
    Thurn__NumRange all = THURN__NUM_RANGE__INIT;
    all.first = 1;
    all.last = UINT32_MAX;
    Thurn__NumRange *ranges[] = {&all};
    Thurn__ImapSet set = THURN__IMAP_SET__INIT;
    set.ranges = ranges;
    set.n_ranges = 1;
    Thurn__Section whole = THURN__SECTION__INIT, *sections[] = {&whole};
    Thurn__ImapFetch m = THURN__IMAP_FETCH__INIT;
    m.set = &set;
    m.sections = sections;
    m.n_sections = 1;
    m.set_seen = true; /* a writer */
    rig_send(imap, RPC_IMAP_FETCH, &m, none, -1);
}

/* How many bytes came, and in how many frames. */
static size_t bytes_until_done(struct end *imap, size_t *out_frames)
{
    size_t n = 0;
    *out_frames = 0;
    for (bool done = false; !done;) {
        struct frame *f = rig_expect_any(imap);
        done = f->type->number == RPC_IMAP_DONE;
        if (done)
            assert_int_equal(((const Thurn__ImapDone *)f->message)->status->code,
                             THURN__CODE__DONE);
        n += f->raw.n;
        ++*out_frames;
        frame_free(f);
    }
    return n;
}

static void a_long_answer_comes_in_small_pieces_while_others_are_served(void **state)
{
    enum { MESSAGES = 16, SIZE = 60 * KB, TRIES = 100 };
    struct rig *r = *state;
    (void)rig_account(r, STR("alice@example.test"));
    (void)rig_account(r, STR("bob@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *large = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    struct end *other = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(other, "bob", "secret"), THURN__CODE__DONE);
    assert_int_equal(login(large, "alice", "secret"), THURN__CODE__DONE);
    uint8_t *bytes = mem_alloc(SIZE);
    memset(bytes, 'x', SIZE);
    for (size_t i = 0; i < MESSAGES; i++)
        assert_int_equal(append(large, str_of(bytes, SIZE)), THURN__CODE__DONE);
    assert_int_equal(select_inbox(large), THURN__CODE__DONE);
    free(bytes);
    size_t frames = 0, tries = 0;
    fetch_everything(large);
    assert_true(bytes_until_done(large, &frames) >= (size_t)MESSAGES * SIZE);
    do { /* the other one's commands must be the last thing that was light */
        assert_int_equal(select_inbox(other), THURN__CODE__DONE);
        fetch_everything(large);
        assert_true(bytes_until_done(large, &frames) >= (size_t)MESSAGES * SIZE);
    } while (frames < 24 && tries++ < TRIES);
    assert_true(tries < TRIES);
}

static void a_client_that_does_not_read_keeps_nobody_waiting(void **state)
{
    enum { MESSAGES = 40, SIZE = 60 * KB, SLOW = 6 };
    struct rig *r = *state;
    (void)rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *slow[SLOW];
    size_t frames;
    uint8_t *bytes = mem_alloc(SIZE);
    memset(bytes, 'x', SIZE);
    for (size_t i = 0; i < SLOW; i++) { /* more than there are workers */
        slow[i] = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
        assert_int_equal(login(slow[i], "alice", "secret"), THURN__CODE__DONE);
    }
    for (size_t i = 0; i < MESSAGES; i++)
        assert_int_equal(append(slow[0], str_of(bytes, SIZE)), THURN__CODE__DONE);
    for (size_t i = 0; i < SLOW; i++) {
        assert_int_equal(select_inbox(slow[i]), THURN__CODE__DONE);
        fetch_everything(slow[i]);
        chan_hold(slow[i]->chan, true);
    }
    struct end *other = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(other, "alice", "secret"), THURN__CODE__DONE);
    assert_int_equal(append(other, letter), THURN__CODE__DONE);
    assert_int_equal(select_inbox(other), THURN__CODE__DONE);
    chan_free(slow[0]->chan); /* gone in the middle of it */
    slow[0]->chan = NULL;
    for (size_t i = 1; i < SLOW; i++) {
        chan_hold(slow[i]->chan, false);
        assert_true(bytes_until_done(slow[i], &frames) >= (size_t)MESSAGES * SIZE);
    }
    free(bytes);
}

/* -- control socket -- */

static Thurn__Code admin_ask(struct end *admin, uint16_t type, const void *m, size_t *out_rows)
{
    size_t rows = 0;
    rig_send(admin, type, m, none, -1);
    for (;;) {
        struct frame *f = rig_expect(admin, RPC_ADMIN_ANSWER);
        const Thurn__AdminAnswer *answer = (const Thurn__AdminAnswer *)f->message;
        rows += answer->n_rows;
        bool more = answer->more;
        Thurn__Code code = more ? THURN__CODE__DONE : answer->status->code;
        frame_free(f);
        if (!more) {
            if (out_rows)
                *out_rows = rows;
            return code;
        }
    }
}

static Thurn__Code admin_add(struct end *admin, const char *address)
{
    Thurn__AdminAccountAdd m = THURN__ADMIN_ACCOUNT_ADD__INIT;
    m.address = pb_bytes(str_c(address));
    m.password = pb_bytes(STR("secret"));
    return admin_ask(admin, RPC_ADMIN_ACCOUNT_ADD, &m, NULL);
}

static void the_command_line_manages_domains_and_accounts(void **state)
{
    struct rig *r = *state;
    struct end *admin = rig_admin(r);
    Thurn__AdminDomainAdd domain = THURN__ADMIN_DOMAIN_ADD__INIT;
    domain.name = pb_bytes(STR("example.org"));
    assert_int_equal(admin_ask(admin, RPC_ADMIN_DOMAIN_ADD, &domain, NULL), THURN__CODE__DONE);
    assert_int_equal(admin_ask(admin, RPC_ADMIN_DOMAIN_ADD, &domain, NULL),
                     THURN__CODE__ALREADY_EXISTS);
    Thurn__AdminDomainList domains = THURN__ADMIN_DOMAIN_LIST__INIT;
    size_t n;
    assert_int_equal(admin_ask(admin, RPC_ADMIN_DOMAIN_LIST, &domains, &n), THURN__CODE__DONE);
    assert_int_equal(n, 2);

    enum { ACCOUNTS = 300 };
    char address[64];
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        (void)snprintf(address, sizeof address, "{PLAIN}u%u@example.org", i);
        (void)rig_account(r, str_c(address + 7));
    }
    assert_int_equal(admin_add(admin, "alice@example.org"), THURN__CODE__DONE);
    assert_int_equal(admin_add(admin, "alice@example.net"), THURN__CODE__NOT_FOUND);
    assert_int_equal(admin_add(admin, "alice"), THURN__CODE__INVALID);
    Thurn__AdminAccountList accounts = THURN__ADMIN_ACCOUNT_LIST__INIT;
    assert_int_equal(admin_ask(admin, RPC_ADMIN_ACCOUNT_LIST, &accounts, &n), THURN__CODE__DONE);
    assert_int_equal(n, ACCOUNTS + 1);

    struct end *imap = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(imap, "alice@example.org", "secret"), THURN__CODE__DONE);
    Thurn__AdminAccountPassword password = THURN__ADMIN_ACCOUNT_PASSWORD__INIT;
    password.address = pb_bytes(STR("alice@example.org"));
    password.password = pb_bytes(STR("changed"));
    assert_int_equal(admin_ask(admin, RPC_ADMIN_ACCOUNT_PASSWORD, &password, NULL),
                     THURN__CODE__DONE);
    imap = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(imap, "alice@example.org", "secret"), THURN__CODE__DENIED);
}

static void removing_an_account_ends_its_sessions(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    (void)rig_account(r, STR("bob@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *admin = rig_admin(r);
    struct end *imap = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    struct end *other = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    assert_int_equal(login(imap, "alice", "secret"), THURN__CODE__DONE);
    assert_int_equal(login(other, "bob", "secret"), THURN__CODE__DONE);
    assert_int_equal(select_inbox(imap), THURN__CODE__DONE);
    assert_int_equal(ask_recipient(lmtp, "alice"), THURN__CODE__DONE);

    Thurn__AdminAccountRemove m = THURN__ADMIN_ACCOUNT_REMOVE__INIT;
    m.address = pb_bytes(STR("alice@example.test"));
    assert_int_equal(admin_ask(admin, RPC_ADMIN_ACCOUNT_REMOVE, &m, NULL), THURN__CODE__DONE);
    rig_expect_closed(imap);
    struct account *a;
    assert_int_equal(account_open(r->b.store, alice, &a).code, E_NOTFOUND);
    send_delivery(lmtp, alice_only, 1, letter, -1);
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__NOT_FOUND);
    assert_int_equal(select_inbox(other), THURN__CODE__DONE);
    assert_int_equal(admin_ask(admin, RPC_ADMIN_ACCOUNT_REMOVE, &m, NULL), THURN__CODE__NOT_FOUND);
}

/* -- stopping -- */

static void what_is_in_flight_is_finished_before_the_end(void **state)
{
    struct rig *r = *state;
    (void)rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_NEVER);
    struct end *imap = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    assert_int_equal(login(imap, "alice", "secret"), THURN__CODE__DONE);
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_to_alice(lmtp);
    rig_run(r, one_seen, r);
    backend_stop(&r->b);
    rig_expect_closed(imap);
    assert_false(r->stopped);
    rig_scanner_answer(&r->scanners[0]);
    rig_stop(r);
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__DONE);
}

static void without_a_scanner_the_client_is_asked_to_come_again(void **state)
{
    struct rig *r = *state;
    (void)rig_account(r, STR("alice@example.test"));
    struct end *lmtp = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_to_alice(lmtp);
    assert_int_equal(ask_recipient(rig_session(r, THURN__SESSION_KIND__SESSION_LMTP), "alice"),
                     THURN__CODE__DONE); /* by now the backend has the delivery */
    rig_stop(r);
    assert_int_equal(delivered(lmtp, 1), THURN__CODE__TEMPORARY);
}

enum { ALIASES = 12, HELD = 8 };

static struct held_worker {
    struct job job;
    pthread_mutex_t *until;
} held[HELD];

static void wait_for_release(struct job *j)
{
    pthread_mutex_t *until = container_of(j, struct held_worker, job)->until;
    (void)pthread_mutex_lock(until);
    (void)pthread_mutex_unlock(until);
}

static bool has_answer(void *arg)
{
    const struct end *e = arg;
    return e->n > e->taken;
}

/* "all" leads to some aliases, each of which leads to alice. */
static void make_aliases(struct rig *r)
{
    char text[ALIASES][40];
    struct str to = STR("alice@example.test"), targets[ALIASES];
    for (size_t i = 0; i < ALIASES; i++) {
        (void)snprintf(text[i], sizeof text[i], "a%zu@example.test", i);
        targets[i] = str_c(text[i]);
        assert_int_equal(directory_alias_add(r->b.directory, targets[i], &to, 1).code, E_OK);
    }
    assert_int_equal(
        directory_alias_add(r->b.directory, STR("all@example.test"), targets, ALIASES).code, E_OK);
}

/* The workers do it, when they come to it; the others are answered meanwhile. */
static void an_address_that_leads_to_many_keeps_nobody_waiting(void **state)
{
    struct rig *r = *state;
    account_id alice = rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    make_aliases(r);
    static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&busy);
    for (size_t i = 0; i < HELD; i++) {
        held[i] = (struct held_worker){{.run = wait_for_release}, &busy};
        sched_run(r->b.sched, &held[i].job);
    }
    struct end *many = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP),
               *one = rig_session(r, THURN__SESSION_KIND__SESSION_LMTP);
    send_recipient(many, "all");
    Thurn__Code code = ask_recipient(one, "a3");
    bool many_first = has_answer(many);
    (void)pthread_mutex_unlock(&busy);
    assert_int_equal(code, THURN__CODE__DONE);
    assert_false(many_first);
    frame_free(rig_expect(many, RPC_LMTP_RECIPIENT_ANSWER));
    send_delivery(many, (const char *const[]){"all"}, 1, STR("Subject: x\r\n\r\nx\r\n"), -1);
    assert_int_equal(delivered(many, 1), THURN__CODE__DONE);
    assert_int_equal(rig_inbox(r, alice, NULL), 1);
}

int main(void)
{
    log_open("test", 0, LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_message_reaches_all_its_recipients),
        CASE(a_large_message_comes_as_sealed_memory),
        CASE(an_empty_message_is_mail_too),
        CASE(who_was_not_accepted_gets_no_mail),
        CASE(submission_takes_no_mail_before_login),
        CASE(a_frontend_cannot_store_what_it_likes_as_a_trace_id),
        CASE(many_deliveries_to_one_account_all_arrive),
        CASE(nothing_but_login_is_done_before_login),
        CASE(many_messages_are_scanned_and_appended),
        CASE(a_frontend_has_no_more_sessions_than_connections),
        CASE(a_long_answer_comes_in_small_pieces_while_others_are_served),
        CASE(a_client_that_does_not_read_keeps_nobody_waiting),
        CASE(requests_sent_in_one_go_are_done_in_order),
        CASE(the_command_line_manages_domains_and_accounts),
        CASE(removing_an_account_ends_its_sessions),
        CASE(what_is_in_flight_is_finished_before_the_end),
        CASE(without_a_scanner_the_client_is_asked_to_come_again),
        CASE(an_address_that_leads_to_many_keeps_nobody_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
