/* Records of sessions, and sessions that sleep and go on. */
#include "test_backend_rig.h"

#include "roles/backend/seal.h"
#include "roles/backend/session.h"

static const struct str none = {NULL, 0};
static const struct str letter = STR_INIT("Subject: x\r\n\r\nHello\r\n");

/* -- the seal -- */

static const struct seal_key key = {{1, 2, 3}};

static struct err opens(struct str sealed, const struct seal_key *with)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 16 * 1024);
    Thurn__ImapResume *r;
    struct err e = seal_open(with, sealed, &a, &r);
    if (e.code == E_OK)
        e = seal_check(r, (session_id){7}, 2, 1000);
    return e;
}

static struct buf sealed_record(uint64_t session, uint32_t frontend, int64_t expires)
{
    struct buf sealed = {0};
    Thurn__ImapResume r = THURN__IMAP_RESUME__INIT;
    r.session = session;
    r.frontend = frontend;
    r.expires = expires;
    r.account = 5;
    r.uidnext = 77;
    seal_put(&key, &r, &sealed);
    assert_true(sealed.n > 32 && sealed.n <= RPC_RESUME_MAX);
    return sealed;
}

static void a_record_is_good_for_its_session_and_time_only(void **state)
{
    struct buf good CLEANUP(buf_free) = sealed_record(7, 2, 1001);
    struct buf foreign CLEANUP(buf_free) = sealed_record(8, 2, 1001);
    struct buf elsewhere CLEANUP(buf_free) = sealed_record(7, 3, 1001);
    struct buf late CLEANUP(buf_free) = sealed_record(7, 2, 1000);
    (void)state;
    assert_int_equal(opens(buf_str(&good), &key).code, E_OK);
    assert_int_equal(opens(buf_str(&foreign), &key).code, E_DENIED);
    assert_int_equal(opens(buf_str(&elsewhere), &key).code, E_DENIED);
    assert_int_equal(opens(buf_str(&late), &key).code, E_DENIED);
}

static void a_record_that_was_changed_anywhere_is_refused(void **state)
{
    struct buf good CLEANUP(buf_free) = sealed_record(7, 2, 1001);
    static const struct seal_key other = {{1, 2, 4}};
    (void)state;
    assert_int_equal(opens(buf_str(&good), &other).code, E_DENIED);
    for (size_t i = 0; i < good.n; i++) {
        assert_int_equal(opens(str_sub(buf_str(&good), 0, i), &key).code, E_DENIED);
        for (unsigned bit = 0; bit < 8; bit++) {
            good.p[good.off + i] ^= (uint8_t)(1 << bit);
            assert_int_equal(opens(buf_str(&good), &key).code, E_DENIED);
            good.p[good.off + i] ^= (uint8_t)(1 << bit);
        }
    }
    buf_byte(&good, 0);
    assert_int_equal(opens(buf_str(&good), &key).code, E_DENIED);
}

/* -- sessions -- */

static void keep(struct buf *record, ProtobufCBinaryData told)
{
    if (told.len == 0)
        return;
    buf_clear(record);
    buf_put(record, pb_str(told));
}

/* The end of the answer, and the record that it leaves. */
static Thurn__Code done(struct end *e, struct buf *record)
{
    struct frame *f = rig_expect(e, RPC_IMAP_DONE);
    const Thurn__ImapDone *d = (const Thurn__ImapDone *)f->message;
    Thurn__Code code = d->status->code;
    keep(record, d->resume);
    frame_free(f);
    return code;
}

/* A session of alice in INBOX; its record. */
static struct end *in_inbox(struct rig *r, struct buf *record)
{
    struct end *e = rig_session(r, THURN__SESSION_KIND__SESSION_IMAP);
    Thurn__ImapLogin login = THURN__IMAP_LOGIN__INIT;
    login.user = pb_bytes(STR("alice@example.test"));
    login.password = pb_bytes(STR("secret"));
    rig_send(e, RPC_IMAP_LOGIN, &login, none, -1);
    assert_int_equal(done(e, record), THURN__CODE__DONE);
    assert_true(record->n > 0);
    Thurn__ImapSelect select = THURN__IMAP_SELECT__INIT;
    select.mailbox = pb_bytes(STR("INBOX"));
    rig_send(e, RPC_IMAP_SELECT, &select, none, -1);
    assert_int_equal(done(e, record), THURN__CODE__DONE);
    return e;
}

static void append(struct end *e)
{
    struct buf unused CLEANUP(buf_free) = {0};
    Thurn__ImapAppend m = THURN__IMAP_APPEND__INIT;
    m.mailbox = pb_bytes(STR("INBOX"));
    Thurn__AppendMessage one = THURN__APPEND_MESSAGE__INIT, *messages[] = {&one};
    one.size = letter.n;
    m.messages = messages;
    m.n_messages = 1;
    rig_send(e, RPC_IMAP_APPEND, &m, letter, -1);
    assert_int_equal(done(e, &unused), THURN__CODE__DONE);
}

static void hang_up(struct end *e)
{
    chan_free(e->chan);
    e->chan = NULL;
}

static void watch(struct rig *r, uint64_t session, struct str record)
{
    Thurn__SessionWatchItem item = THURN__SESSION_WATCH_ITEM__INIT, *items[] = {&item};
    Thurn__SessionWatch m = THURN__SESSION_WATCH__INIT;
    item.session = session;
    item.resume = pb_bytes(record);
    m.items = items;
    m.n_items = 1;
    rig_send(r->frontend, RPC_SESSION_WATCH, &m, none, -1);
}

static void unwatch(struct rig *r, uint64_t session)
{
    Thurn__SessionUnwatch m = THURN__SESSION_UNWATCH__INIT;
    m.sessions = &session;
    m.n_sessions = 1;
    rig_send(r->frontend, RPC_SESSION_UNWATCH, &m, none, -1);
}

struct wanted {
    const struct backend *b;
    size_t watches;
};

static bool has_watches(void *arg)
{
    const struct wanted *w = arg;
    return watches_count(w->b->watches) == w->watches && w->b->looks == 0;
}

/* Until so many sessions are watched. */
static void watches_are(struct rig *r, size_t n)
{
    struct wanted w = {&r->b, n};
    rig_run(r, has_watches, &w);
}

static void expect_poke(struct rig *r, uint64_t session)
{
    struct frame *f = rig_expect(r->frontend, RPC_SESSION_POKE);
    const Thurn__SessionPoke *m = (const Thurn__SessionPoke *)f->message;
    assert_int_equal(m->n_sessions, 1);
    assert_int_equal(m->sessions[0], session);
    frame_free(f);
}

static void expect_exists(struct end *e, uint32_t n, struct buf *record)
{
    struct frame *f = rig_expect(e, RPC_IMAP_UPDATES);
    const Thurn__ImapUpdates *m = (const Thurn__ImapUpdates *)f->message;
    assert_int_equal(m->exists, n);
    keep(record, m->resume);
    frame_free(f);
}

static void noop(struct end *e)
{
    Thurn__ImapNoop m = THURN__IMAP_NOOP__INIT;
    rig_send(e, RPC_IMAP_NOOP, &m, none, -1);
}

static void a_sleeping_session_is_poked_and_told_of_new_mail(void **state)
{
    struct rig *r = *state;
    struct buf record CLEANUP(buf_free) = {0}, other CLEANUP(buf_free) = {0};
    (void)rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    struct end *sleeper = in_inbox(r, &record);
    uint64_t session = r->last_session;
    struct end *writer = in_inbox(r, &other);
    hang_up(sleeper);
    for (uint32_t n = 1; n < 4; n++) {
        watch(r, session, buf_str(&record));
        watches_are(r, 1);
        append(writer);
        expect_poke(r, session);
        sleeper = rig_session_again(r, session, buf_str(&record));
        noop(sleeper);
        expect_exists(sleeper, n, &record);
        assert_int_equal(done(sleeper, &record), THURN__CODE__DONE);
        hang_up(sleeper);
    }
}

static void what_happened_before_the_watch_pokes_at_once(void **state)
{
    struct rig *r = *state;
    struct buf record CLEANUP(buf_free) = {0}, other CLEANUP(buf_free) = {0};
    (void)rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    (void)in_inbox(r, &record);
    uint64_t session = r->last_session;
    append(in_inbox(r, &other));
    watch(r, session, buf_str(&record));
    expect_poke(r, session);
}

static void a_session_that_is_not_watched_any_more_is_not_poked(void **state)
{
    struct rig *r = *state;
    struct buf record CLEANUP(buf_free) = {0}, other CLEANUP(buf_free) = {0};
    (void)rig_account(r, STR("alice@example.test"));
    rig_scanner(r, 0, 1, SCAN_WELL);
    (void)in_inbox(r, &record);
    uint64_t first = r->last_session;
    struct end *writer = in_inbox(r, &other);
    uint64_t second = r->last_session;
    watch(r, first, buf_str(&record));
    watch(r, second, buf_str(&other));
    watches_are(r, 2);
    unwatch(r, first);
    watches_are(r, 1);
    append(writer);
    expect_poke(r, second); /* and no other */
}

static void a_session_of_a_removed_account_finds_out(void **state)
{
    struct rig *r = *state;
    struct buf record CLEANUP(buf_free) = {0};
    (void)rig_account(r, STR("alice@example.test"));
    hang_up(in_inbox(r, &record));
    uint64_t session = r->last_session;
    watch(r, session, buf_str(&record));
    watches_are(r, 1);
    Thurn__AdminAccountRemove m = THURN__ADMIN_ACCOUNT_REMOVE__INIT;
    m.address = pb_bytes(STR("alice@example.test"));
    struct end *admin = rig_admin(r);
    rig_send(admin, RPC_ADMIN_ACCOUNT_REMOVE, &m, none, -1);
    expect_poke(r, session);
    frame_free(rig_expect(admin, RPC_ADMIN_ANSWER));
    struct end *again = rig_session_again(r, session, buf_str(&record));
    noop(again);
    frame_free(rig_expect(again, RPC_IMAP_BYE));
}

static void a_record_of_another_session_is_refused(void **state)
{
    struct rig *r = *state;
    struct buf record CLEANUP(buf_free) = {0};
    (void)rig_account(r, STR("alice@example.test"));
    hang_up(in_inbox(r, &record));
    struct end *again = rig_session_again(r, r->last_session + 1, buf_str(&record));
    noop(again);
    frame_free(rig_expect(again, RPC_IMAP_BYE));
    rig_expect_closed(again);
    watch(r, r->last_session + 1, buf_str(&record)); /* sleeps as badly */
    expect_poke(r, r->last_session + 1);
}

static void the_watches_of_a_frontend_go_with_it(void **state)
{
    struct rig *r = *state;
    struct buf record CLEANUP(buf_free) = {0};
    (void)rig_account(r, STR("alice@example.test"));
    hang_up(in_inbox(r, &record));
    watch(r, r->last_session, buf_str(&record));
    watches_are(r, 1);
    watch(r, r->last_session, buf_str(&record)); /* and one that is being looked at */
    rig_frontend(r);
    rig_stop(r); /* which checks that nobody waits */
}

/* A worker registers it while the loop's thread takes it away. */
static void a_session_may_be_unwatched_while_it_is_looked_at(void **state)
{
    struct rig *r = *state;
    struct buf record CLEANUP(buf_free) = {0}, other CLEANUP(buf_free) = {0};
    (void)rig_account(r, STR("alice@example.test"));
    hang_up(in_inbox(r, &record));
    uint64_t session = r->last_session;
    hang_up(in_inbox(r, &other));
    for (size_t i = 0; i < 500; i++) {
        watch(r, session, buf_str(&record));
        watch(r, r->last_session, buf_str(&other));
        unwatch(r, session);
    }
    watches_are(r, 1);
    unwatch(r, r->last_session);
    watches_are(r, 0);
}

static bool all_looked_at(void *arg)
{
    const struct wanted *w = arg;
    assert_true(w->b->looks <= 32);
    return has_watches(arg);
}

static void a_frontend_that_watches_faster_than_we_look_is_not_listened_to_meanwhile(void **state)
{
    struct rig *r = *state;
    struct buf record CLEANUP(buf_free) = {0};
    (void)rig_account(r, STR("alice@example.test"));
    hang_up(in_inbox(r, &record));
    for (size_t i = 0; i < 1000; i++)
        watch(r, r->last_session, buf_str(&record));
    unwatch(r, r->last_session);
    struct wanted w = {&r->b, 0};
    rig_run(r, all_looked_at, &w);
}

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

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_good_for_its_session_and_time_only),
        cmocka_unit_test(a_record_that_was_changed_anywhere_is_refused),
        CASE(a_sleeping_session_is_poked_and_told_of_new_mail),
        CASE(what_happened_before_the_watch_pokes_at_once),
        CASE(a_session_that_is_not_watched_any_more_is_not_poked),
        CASE(a_session_of_a_removed_account_finds_out),
        CASE(a_record_of_another_session_is_refused),
        CASE(the_watches_of_a_frontend_go_with_it),
        CASE(a_session_may_be_unwatched_while_it_is_looked_at),
        CASE(a_frontend_that_watches_faster_than_we_look_is_not_listened_to_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
