/*
 * A client whose backend dies. A whole conversation is had as often as the backend sends frames,
 * and each time the backend dies instead of sending another one of them: what the client hears must
 * be what it hears from one that lives. And a client that idles, asleep.
 */
#include "base/base.h"

#include "frontend_bench.h"

#include <setjmp.h>
#include <cmocka.h>

enum { BODY_N = 100 * KB, PIECE = 30 * KB, MESSAGES = 4, APPENDED = 80 * KB };
#define RECORD "the record of this session"

/* ------------------------------------------------------------------------------------- the backend
 */

static struct {
    size_t frames, dies_at; /* sent; instead of which it dies, 0: never */
    bool dead;
    size_t deaths;
    uint32_t exists;
    /* The name of the last changing request, and how many different ones there were. */
    uint8_t name[16];
    size_t changes;
    size_t appended; /* bytes of the last message */
    bool told_exists;
    struct fake_session *silent; /* got the last NOOP, if it answers none */
    bool says_nothing;
    uint16_t dies_of;      /* a frame, whenever it comes */
    bool dies_at_each_row; /* having sent one */
    struct timer *rebirth;
    struct timer *slow; /* if there is one: NOOP is answered when it is due */
    struct {
        struct fake_session *session;
        uint32_t serial;
    } slowly[16];
    size_t n_slowly;
} backend;

static void reborn(void *arg)
{
    struct bench *b = arg;
    bench_backend_down(b);
    bench_backend_up(b);
    backend.dead = false;
}

/* Not all at once: its control channel is the last to close. */
static void hang_up(void *arg)
{
    bench_hang_up(arg);
    timer_set(backend.rebirth, 2);
}

static void die(struct fake_session *s)
{
    if (backend.dead)
        return;
    backend.dead = true;
    backend.n_slowly = 0;
    backend.deaths++;
    loop_post(s->bench->role.loop, hang_up, s->bench);
}

static void reply(struct fake_session *s, const struct frame *f, uint16_t type,
                  const ProtobufCMessage *m, struct str raw)
{
    if (backend.dead)
        return;
    if (++backend.frames == backend.dies_at) {
        die(s);
        return;
    }
    assert_int_equal(chan_send(s->chan, type, f->serial, m, raw, -1).code, E_OK);
}

static void done_with(struct fake_session *s, const struct frame *f, Thurn__ImapSelected *selected)
{
    Thurn__Status status = THURN__STATUS__INIT;
    Thurn__ImapDone d = THURN__IMAP_DONE__INIT;
    d.status = &status;
    d.selected = selected;
    d.resume = pb_bytes(STR(RECORD));
    reply(s, f, RPC_IMAP_DONE, &d.base, STR(""));
}

static void done(struct fake_session *s, const struct frame *f)
{
    done_with(s, f, NULL);
}

static void selected(struct fake_session *s, const struct frame *f)
{
    Thurn__ImapSelected m = THURN__IMAP_SELECTED__INIT;
    m.exists = MESSAGES;
    m.uidvalidity = 7;
    m.uidnext = MESSAGES + 1;
    done_with(s, f, &m);
}

static uint8_t body_byte(uint32_t uid, size_t at)
{
    return (uint8_t)('a' + (uid * 7 + at / 3) % 26);
}

static void row_head(struct fake_session *s, const struct frame *f, uint32_t uid, struct str raw)
{
    uint64_t lengths[] = {BODY_N, 10};
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT, *rows[] = {&row};
    Thurn__ImapRows m = THURN__IMAP_ROWS__INIT;
    row.seq = row.uid = uid;
    row.lengths = lengths;
    row.n_lengths = 2;
    m.rows = rows;
    m.n_rows = 1;
    reply(s, f, RPC_IMAP_ROWS, &m.base, raw);
}

/* A row with two sections, in frames of which none ends where a section does. */
static void row(struct fake_session *s, const struct frame *f, uint32_t uid)
{
    static uint8_t body[BODY_N + 10];
    Thurn__ImapBytes more = THURN__IMAP_BYTES__INIT;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = body_byte(uid, i);
    struct str rest = str_of(body, sizeof body);
    row_head(s, f, uid, str_sub(rest, 0, PIECE));
    while ((rest = str_skip(rest, PIECE)).n)
        reply(s, f, RPC_IMAP_BYTES, &more.base, str_sub(rest, 0, PIECE));
}

static void fetch(struct fake_session *s, const struct frame *f)
{
    const Thurn__ImapFetch *m = (const Thurn__ImapFetch *)f->message;
    assert_true(!m->open || m->open > m->after);
    for (uint32_t uid = m->after + 1; uid <= MESSAGES; uid++) {
        row(s, f, uid);
        if (backend.dies_at_each_row) {
            die(s);
            return;
        }
    }
    done(s, f);
}

static void search(struct fake_session *s, const struct frame *f)
{
    for (uint32_t i = 1; i < 8; i += 2) {
        uint32_t numbers[] = {i, i + 1};
        Thurn__ImapNumbers n = THURN__IMAP_NUMBERS__INIT;
        n.numbers = numbers;
        n.n_numbers = 2;
        reply(s, f, RPC_IMAP_NUMBERS, &n.base, STR(""));
    }
    done(s, f);
}

static void list(struct fake_session *s, const struct frame *f)
{
    static const char *const names[] = {"Archive", "INBOX", "Junk", "Work"};
    for (size_t i = 0; i < ARRAY_LEN(names); i += 2) {
        Thurn__ImapMailboxRow some[2], *rows[] = {&some[0], &some[1]};
        Thurn__ImapMailboxes m = THURN__IMAP_MAILBOXES__INIT;
        for (size_t k = 0; k < 2; k++) {
            thurn__imap_mailbox_row__init(&some[k]);
            some[k].name = pb_bytes(str_c(names[i + k]));
        }
        m.rows = rows;
        m.n_rows = 2;
        reply(s, f, RPC_IMAP_MAILBOXES, &m.base, STR(""));
    }
    done(s, f);
}

static void slow_is_due(void *arg)
{
    for (size_t i = 0; i < backend.n_slowly; i++)
        done(backend.slowly[i].session, &(struct frame){.serial = backend.slowly[i].serial});
    backend.n_slowly = 0;
}

/* What is new since the client was told, once. */
static void news(struct fake_session *s, const struct frame *f)
{
    backend.silent = backend.says_nothing ? s : NULL;
    if (backend.says_nothing || backend.dead)
        return;
    if (backend.slow) {
        backend.slowly[backend.n_slowly].session = s;
        backend.slowly[backend.n_slowly++].serial = f->serial;
        timer_set(backend.slow, 5);
        return;
    }
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    u.has_exists = true;
    u.exists = MESSAGES + 1;
    u.resume = pb_bytes(STR(RECORD));
    if (backend.exists == MESSAGES + 1 && !backend.told_exists)
        reply(s, f, RPC_IMAP_UPDATES, &u.base, STR(""));
    backend.told_exists = backend.exists == MESSAGES + 1 && !backend.dead;
    done(s, f);
}

static void change(struct fake_session *s, const struct frame *f, ProtobufCBinaryData name)
{
    assert_int_equal(name.len, sizeof backend.name);
    backend.changes += memcmp(name.data, backend.name, name.len) != 0;
    memcpy(backend.name, name.data, name.len);
    done(s, f);
}

static void takes_recipient(struct fake_session *s, const struct frame *f)
{
    Thurn__Status status = THURN__STATUS__INIT;
    Thurn__LmtpRecipientAnswer m = THURN__LMTP_RECIPIENT_ANSWER__INIT;
    m.status = &status;
    m.ticket = pb_bytes(STR("ticket"));
    reply(s, f, RPC_LMTP_RECIPIENT_ANSWER, &m.base, STR(""));
}

static bool answers(struct fake_session *s, struct frame *f)
{
    if (f->type->number == backend.dies_of) {
        die(s);
        return true;
    }
    if (f->type->number != RPC_IMAP_LOGIN)
        assert_true(backend.deaths == 0 || s->bench->resumed.n == 0 ||
                    str_eq(buf_str(&s->bench->resumed), STR(RECORD)));
    switch (f->type->number) {
    case RPC_IMAP_SELECT: selected(s, f); break;
    case RPC_IMAP_FETCH: fetch(s, f); break;
    case RPC_IMAP_SEARCH: search(s, f); break;
    case RPC_IMAP_LIST: list(s, f); break;
    case RPC_IMAP_NOOP: news(s, f); break;
    case RPC_LMTP_RECIPIENT: takes_recipient(s, f); break;
    case RPC_IMAP_STORE: change(s, f, ((const Thurn__ImapStore *)f->message)->change); break;
    case RPC_IMAP_APPEND:
        backend.appended = s->bench->message.n;
        change(s, f, ((const Thurn__ImapAppend *)f->message)->change);
        break;
    default: done(s, f); break;
    }
    return true;
}

/* ----------------------------------------------------------------------------------------- fixture
 */

struct fixture {
    struct bench bench;
    struct talk talk;
    struct buf heard;
};

static struct fixture *start(size_t dies_at)
{
    struct fixture *x = mem_alloc(sizeof *x);
    memset(&backend, 0, sizeof backend);
    backend.dies_at = dies_at;
    bench_start(&x->bench);
    backend.rebirth = timer_new(x->bench.role.loop, reborn, &x->bench);
    x->bench.answer = answers;
    talk_open(&x->talk, &x->bench, THURN__LISTENER_KIND__LISTEN_IMAP);
    (void)talk_expect(&x->talk, "Thurn ready\r\n");
    return x;
}

static void end(struct fixture *x)
{
    talk_close(&x->talk);
    timer_free(backend.rebirth);
    bench_end(&x->bench);
    buf_free(&x->heard);
    free(x);
}

static void hears(struct fixture *x, const char *line, const char *want)
{
    buf_put(&x->heard, talk_say(&x->talk, line, want));
}

static void converse(struct fixture *x)
{
    static uint8_t message[APPENDED];
    memset(message, 'm', sizeof message);
    hears(x, "a LOGIN alice@example.test secret", "Logged in\r\n");
    hears(x, "b LIST \"\" *", "b OK Completed\r\n");
    hears(x, "c SELECT INBOX", "c OK [READ-WRITE] Completed\r\n");
    hears(x, "d UID SEARCH ALL", "d OK Completed\r\n");
    hears(x, "e FETCH 1:* (BODY[] BODY[TEXT]<0.10>)", "e OK Completed\r\n");
    hears(x, "f STORE 1 +FLAGS (\\Seen)", "f OK Completed\r\n");
    talk_send(&x->talk, STR("g APPEND INBOX {81920+}\r\n"));
    talk_send(&x->talk, str_of(message, sizeof message));
    hears(x, "", "g OK Completed\r\n");
    backend.exists = MESSAGES + 1;
    hears(x, "h NOOP", "h OK Completed\r\n");
    hears(x, "i LOGOUT", "i OK Completed\r\n");
}

/* ------------------------------------------------------------------------------------------- tests
 */

static void the_client_hears_the_same_wherever_the_backend_dies(void **state)
{
    struct fixture *x = start(0);
    converse(x);
    struct buf undisturbed CLEANUP(buf_free) = {0};
    buf_put(&undisturbed, buf_str(&x->heard));
    size_t frames = backend.frames;
    end(x);
    assert_true(frames > 30 && undisturbed.n > MESSAGES * BODY_N);
    for (size_t at = 1; at <= frames; at++) {
        x = start(at);
        converse(x);
        assert_int_equal(backend.deaths, 1);
        if (!str_eq(buf_str(&x->heard), buf_str(&undisturbed)))
            fail_msg("another answer after the death at frame %zu", at);
        assert_int_equal(backend.changes, 2); /* STORE and APPEND, each under one name */
        assert_int_equal(backend.appended, APPENDED);
        end(x);
    }
}

static bool is_watched(void *arg)
{
    const struct bench *b = arg;
    return b->n_watched > 0 && b->n_sessions == 0;
}

static bool is_watched_again(void *arg)
{
    const struct bench *b = arg;
    return b->n_watched > 1 && b->n_sessions == 0;
}

static bool is_unwatched(void *arg)
{
    return ((struct bench *)arg)->n_unwatched > 0;
}

static struct fixture *start_idle(void)
{
    struct fixture *x = start(0);
    hears(x, "a LOGIN alice@example.test secret", "Logged in\r\n");
    hears(x, "b SELECT INBOX", "b OK [READ-WRITE] Completed\r\n");
    hears(x, "c IDLE", "+ idling\r\n");
    bench_run(&x->bench, is_watched, &x->bench);
    assert_true(str_eq(buf_str(&x->bench.watched), STR(RECORD)));
    return x;
}

static void an_idle_client_sleeps_and_is_woken_by_news(void **state)
{
    struct fixture *x = start_idle();
    backend.exists = MESSAGES + 1;
    bench_poke(&x->bench);
    (void)talk_expect(&x->talk, "* 5 EXISTS\r\n");
    bench_run(&x->bench, is_watched_again, &x->bench);
    hears(x, "DONE", "c OK Completed\r\n"); /* nobody is asked */
    assert_int_equal(x->bench.n_sessions, 0);
    bench_run(&x->bench, is_unwatched, &x->bench);
    bench_poke(&x->bench); /* one that was on its way */
    hears(x, "d NOOP", "d OK Completed\r\n");
    end(x);
}

static void an_idle_client_sleeps_through_the_death_of_its_backend(void **state)
{
    struct fixture *x = start_idle();
    bench_backend_down(&x->bench);
    bench_backend_up(&x->bench);
    bench_run(&x->bench, is_watched_again, &x->bench);
    backend.exists = MESSAGES + 1;
    bench_poke(&x->bench);
    (void)talk_expect(&x->talk, "* 5 EXISTS\r\n");
    hears(x, "DONE", "c OK Completed\r\n");
    end(x);
}

static void done_is_answered_while_there_is_no_backend(void **state)
{
    struct fixture *x = start_idle();
    bench_backend_down(&x->bench);
    hears(x, "DONE", "c OK Completed\r\n");
    talk_send(&x->talk, STR("d NOOP\r\n"));
    bench_backend_up(&x->bench);
    (void)talk_expect(&x->talk, "d OK Completed\r\n");
    end(x);
}

static void what_does_not_end_idle_is_bad(void **state)
{
    struct fixture *x = start_idle();
    hears(x, "d NOOP", "c BAD ");
    hears(x, "e NOOP", "e OK ");
    end(x);
}

static bool says_bye(struct fake_session *s, struct frame *f)
{
    Thurn__Status status = THURN__STATUS__INIT;
    Thurn__ImapBye bye = THURN__IMAP_BYE__INIT;
    status.code = THURN__CODE__DENIED;
    status.text = pb_bytes(STR("You have been logged out"));
    bye.status = &status;
    reply(s, f, RPC_IMAP_BYE, &bye.base, STR(""));
    return true;
}

static void a_client_whose_session_cannot_go_on_is_told_why(void **state)
{
    struct fixture *x = start_idle();
    x->bench.answer = says_bye;
    bench_poke(&x->bench);
    (void)talk_expect(&x->talk, "* BYE You have been logged out\r\n");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void a_backend_that_stays_away_ends_the_command_in_time(void **state)
{
    struct fixture *x = start_idle();
    x->bench.settings.request_timeout = 30;
    bench_backend_down(&x->bench);
    hears(x, "DONE", "c OK Completed\r\n");
    (void)talk_say(&x->talk, "d NOOP", "* BYE [UNAVAILABLE]");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static bool is_asked(void *arg)
{
    (void)arg;
    return backend.silent != NULL;
}

static bool waits_away(void *arg)
{
    const struct bench *b = arg;
    return container_of(b->fe->clients.prev, struct client, link)->waits == WAITS_AWAY;
}

/* The session that gets the client's NOOP, which is not answered. */
static struct fake_session *unanswered(struct bench *b, struct talk *w)
{
    (void)talk_say(w, "a LOGIN alice@example.test secret", "Logged in\r\n");
    backend.silent = NULL;
    talk_send(w, STR("b NOOP\r\n"));
    bench_run(b, is_asked, NULL);
    return backend.silent;
}

/* The death of a backend is seen late where its channel is not read, by a client that takes
 * nothing. */
static void
who_waits_for_the_next_backend_does_not_wait_behind_one_whom_this_one_has_dropped(void **state)
{
    struct fixture *x = start(0);
    struct bench *b = &x->bench;
    struct talk dropped;
    backend.says_nothing = true;
    struct fake_session *late = unanswered(b, &x->talk);
    list_remove(&late->link); /* its channel stays */
    bench_backend_down(b);
    bench_backend_up(b);
    talk_open(&dropped, b, THURN__LISTENER_KIND__LISTEN_IMAP);
    (void)talk_expect(&dropped, "Thurn ready\r\n");
    struct fake_session *other = unanswered(b, &dropped);
    chan_free(other->chan);
    other->chan = NULL;
    bench_run(b, waits_away, b);
    backend.says_nothing = false;
    chan_free(late->chan);
    late->chan = NULL;
    list_append(&b->sessions, &late->link);
    (void)talk_expect(&x->talk, "b OK Completed\r\n");
    talk_close(&dropped);
    end(x);
}

/* The next backend is there before the end of the dead one's channel has been seen. */
static void a_request_on_the_channel_of_a_dead_backend_is_asked_of_the_next_one(void **state)
{
    struct fixture *x = start(0);
    struct bench *b = &x->bench;
    hears(x, "a LOGIN alice@example.test secret", "Logged in\r\n");
    struct fake_session *late = container_of(b->sessions.next, struct fake_session, link);
    list_remove(&late->link); /* its channel stays */
    bench_backend_down(b);
    bench_backend_up(b);
    backend.says_nothing = true;
    talk_send(&x->talk, STR("b NOOP\r\n"));
    bench_run(b, is_asked, NULL);
    assert_ptr_equal(backend.silent, late);
    backend.says_nothing = false;
    chan_free(late->chan);
    late->chan = NULL;
    list_append(&b->sessions, &late->link);
    (void)talk_expect(&x->talk, "b OK Completed\r\n");
    end(x);
}

/* ------------------------------------------------------------- requests that no backend survives
 */

/* From now on. A tenth of request_timeout passes until a client is told. */
static void dies_of(struct fixture *x, uint16_t frame)
{
    backend.dies_of = frame;
    x->bench.settings.request_timeout = 3000;
}

static struct fixture *start_in_inbox(uint16_t frame)
{
    struct fixture *x = start(0);
    hears(x, "a LOGIN alice@example.test secret", "Logged in\r\n");
    hears(x, "b SELECT INBOX", "b OK [READ-WRITE] Completed\r\n");
    dies_of(x, frame);
    return x;
}

static void a_command_that_kills_three_backends_is_refused_and_the_session_lives_on(void **state)
{
    struct fixture *x = start_in_inbox(RPC_IMAP_FETCH);
    hears(x, "c FETCH 1 FLAGS", "c NO [UNAVAILABLE] ");
    assert_int_equal(backend.deaths, 3);
    hears(x, "d NOOP", "d OK Completed\r\n");
    hears(x, "e UID SEARCH ALL", "e OK Completed\r\n");
    end(x);
}

static void a_session_that_has_killed_backends_is_not_given_three_more(void **state)
{
    struct fixture *x = start_in_inbox(RPC_IMAP_FETCH);
    hears(x, "c FETCH 1 FLAGS", "c NO [UNAVAILABLE] ");
    hears(x, "d NOOP", "d OK Completed\r\n");
    for (size_t i = 4; i < 7; i++) {
        hears(x, "e FETCH 2 FLAGS", "e NO [UNAVAILABLE] ");
        assert_int_equal(backend.deaths, i);
    }
    hears(x, "f NOOP", "f OK Completed\r\n");
    end(x);
}

static void of_a_change_that_is_given_up_nobody_says_that_it_was_not_made(void **state)
{
    struct fixture *x = start_in_inbox(RPC_IMAP_STORE);
    hears(x, "c STORE 1 +FLAGS (\\Seen)", "c NO [UNAVAILABLE] ");
    (void)talk_expect(&x->talk, "may have been changed or not");
    assert_int_equal(backend.deaths, 3);
    hears(x, "d NOOP", "d OK Completed\r\n");
    end(x);
}

static void an_append_that_is_given_up_before_its_message_came_needs_no_message(void **state)
{
    struct fixture *x = start_in_inbox(RPC_IMAP_APPEND_CHECK);
    hears(x, "c APPEND INBOX {10}", "c NO [UNAVAILABLE] ");
    hears(x, "d NOOP", "d OK Completed\r\n");
    end(x);
}

static void a_login_that_kills_three_backends_is_refused(void **state)
{
    struct fixture *x = start(0);
    dies_of(x, RPC_IMAP_LOGIN);
    hears(x, "a LOGIN alice@example.test secret", "a NO [UNAVAILABLE] ");
    assert_int_equal(backend.deaths, 3);
    backend.dies_of = 0;
    hears(x, "b LOGIN alice@example.test secret", "b OK ");
    end(x);
}

/* Which mailbox is selected then, nobody knows. */
static void a_select_that_is_given_up_with_a_mailbox_selected_ends_the_session(void **state)
{
    struct fixture *x = start_in_inbox(RPC_IMAP_SELECT);
    hears(x, "c SELECT Work", "* BYE [UNAVAILABLE]");
    assert_int_equal(backend.deaths, 3);
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void a_first_select_that_is_given_up_leaves_no_mailbox_selected(void **state)
{
    struct fixture *x = start(0);
    hears(x, "a LOGIN alice@example.test secret", "Logged in\r\n");
    dies_of(x, RPC_IMAP_SELECT);
    hears(x, "b SELECT INBOX", "b NO [UNAVAILABLE] ");
    hears(x, "c FETCH 1 FLAGS", "c BAD ");
    hears(x, "d LIST \"\" *", "d OK Completed\r\n");
    end(x);
}

static void a_fetch_that_gets_on_outlives_any_number_of_backends(void **state)
{
    struct fixture *x = start_in_inbox(0);
    backend.dies_at_each_row = true;
    hears(x, "c FETCH 1:* (BODY[] BODY[TEXT]<0.10>)", "c OK Completed\r\n");
    assert_int_equal(backend.deaths, MESSAGES);
    end(x);
}

static void a_backend_that_does_not_come_up_has_not_died_of_a_request(void **state)
{
    struct fixture *x = start_in_inbox(0);
    struct bench *b = &x->bench;
    bench_backend_down(b);
    b->starts_only = true;
    talk_send(&x->talk, STR("c NOOP\r\n"));
    bench_run(b, waits_away, b);
    for (int i = 0; i < 5; i++) {
        bench_backend_up(b);
        bench_backend_down(b);
    }
    assert_int_equal(b->n_sessions, 0);
    bench_backend_up(b);
    bench_backend_serves(b);
    (void)talk_expect(&x->talk, "c OK Completed\r\n");
    end(x);
}

/* Their commands take their time, and are in flight whenever a backend dies. */
static void who_waits_beside_a_command_that_kills_is_answered(void **state)
{
    struct fixture *x = start_in_inbox(RPC_IMAP_FETCH);
    struct talk others[6];
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        talk_open(&others[i], &x->bench, THURN__LISTENER_KIND__LISTEN_IMAP);
        (void)talk_expect(&others[i], "Thurn ready\r\n");
        (void)talk_say(&others[i], "a LOGIN alice@example.test secret", "Logged in\r\n");
    }
    backend.slow = timer_new(x->bench.role.loop, slow_is_due, NULL);
    talk_send(&x->talk, STR("c FETCH 1 FLAGS\r\n"));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        talk_send(&others[i], STR("b NOOP\r\n"));
    (void)talk_expect(&x->talk, "c NO [UNAVAILABLE] ");
    assert_int_equal(backend.deaths, 3);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        (void)talk_expect(&others[i], "b OK Completed\r\n");
        talk_close(&others[i]);
    }
    timer_free(backend.slow);
    end(x);
}

/* They take turns. */
static void one_frontend_of_many_finds_the_command_that_kills_too(void **state)
{
    struct fixture *x = start_in_inbox(RPC_IMAP_FETCH);
    x->bench.role.index = 2;
    x->bench.role.count = 3;
    hears(x, "c FETCH 1 FLAGS", "c NO [UNAVAILABLE] ");
    hears(x, "d NOOP", "d OK Completed\r\n");
    hears(x, "e FETCH 2 FLAGS", "e NO [UNAVAILABLE] ");
    assert_int_equal(backend.deaths, 4);
    end(x);
}

static void a_message_that_kills_three_backends_is_put_off_and_the_session_lives_on(void **state)
{
    struct fixture *x = start(0);
    struct talk lmtp;
    talk_open(&lmtp, &x->bench, THURN__LISTENER_KIND__LISTEN_LMTP);
    (void)talk_expect(&lmtp, "ready\r\n");
    (void)talk_say(&lmtp, "LHLO mta.example.test", "250 SIZE");
    (void)talk_say(&lmtp, "MAIL FROM:<a@example.org>", "250 ");
    (void)talk_say(&lmtp, "RCPT TO:<alice@example.test>", "250 ");
    (void)talk_say(&lmtp, "DATA", "354 ");
    dies_of(x, RPC_LMTP_DELIVER);
    (void)talk_say(&lmtp, "Subject: x\r\n\r\nx\r\n.", "451 4.3.0 ");
    assert_int_equal(backend.deaths, 3);
    (void)talk_say(&lmtp, "MAIL FROM:<a@example.org>", "250 ");
    (void)talk_say(&lmtp, "RCPT TO:<alice@example.test>", "250 ");
    dies_of(x, RPC_LMTP_RECIPIENT);
    (void)talk_say(&lmtp, "RCPT TO:<bob@example.test>", "451 4.3.0 ");
    assert_int_equal(backend.deaths, 4);
    (void)talk_say(&lmtp, "QUIT", "221 ");
    talk_close(&lmtp);
    end(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_hears_the_same_wherever_the_backend_dies),
        cmocka_unit_test(an_idle_client_sleeps_and_is_woken_by_news),
        cmocka_unit_test(an_idle_client_sleeps_through_the_death_of_its_backend),
        cmocka_unit_test(done_is_answered_while_there_is_no_backend),
        cmocka_unit_test(what_does_not_end_idle_is_bad),
        cmocka_unit_test(a_client_whose_session_cannot_go_on_is_told_why),
        cmocka_unit_test(a_backend_that_stays_away_ends_the_command_in_time),
        cmocka_unit_test(
            who_waits_for_the_next_backend_does_not_wait_behind_one_whom_this_one_has_dropped),
        cmocka_unit_test(a_request_on_the_channel_of_a_dead_backend_is_asked_of_the_next_one),
        cmocka_unit_test(a_command_that_kills_three_backends_is_refused_and_the_session_lives_on),
        cmocka_unit_test(a_session_that_has_killed_backends_is_not_given_three_more),
        cmocka_unit_test(of_a_change_that_is_given_up_nobody_says_that_it_was_not_made),
        cmocka_unit_test(an_append_that_is_given_up_before_its_message_came_needs_no_message),
        cmocka_unit_test(a_login_that_kills_three_backends_is_refused),
        cmocka_unit_test(a_select_that_is_given_up_with_a_mailbox_selected_ends_the_session),
        cmocka_unit_test(a_first_select_that_is_given_up_leaves_no_mailbox_selected),
        cmocka_unit_test(a_fetch_that_gets_on_outlives_any_number_of_backends),
        cmocka_unit_test(a_backend_that_does_not_come_up_has_not_died_of_a_request),
        cmocka_unit_test(who_waits_beside_a_command_that_kills_is_answered),
        cmocka_unit_test(one_frontend_of_many_finds_the_command_that_kills_too),
        cmocka_unit_test(a_message_that_kills_three_backends_is_put_off_and_the_session_lives_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
