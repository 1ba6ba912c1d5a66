#include "base/base.h"

#include "frontend_bench.h"

#include <setjmp.h>
#include <cmocka.h>

/* ------------------------------------------------------------------------------------- the backend
 */

enum { BODY_N = 100 * KB, FLOOD_ROWS = 200 };

static void reply(struct fake_session *s, uint32_t serial, uint16_t type, const ProtobufCMessage *m,
                  struct str raw)
{
    assert_int_equal(chan_send(s->chan, type, serial, m, raw, -1).code, E_OK);
}

static void done(struct fake_session *s, const struct frame *f, Thurn__Code code, const char *text)
{
    Thurn__Status status = THURN__STATUS__INIT;
    status.code = code;
    status.text = pb_bytes(str_c(text));
    Thurn__ImapDone d = THURN__IMAP_DONE__INIT;
    d.status = &status;
    reply(s, f->serial, RPC_IMAP_DONE, &d.base, STR(""));
}

static void answer_login(struct fake_session *s, const struct frame *f)
{
    const Thurn__ImapLogin *m = (const Thurn__ImapLogin *)f->message;
    bool ok = str_eq(pb_str(m->user), STR("alice@example.test")) &&
              str_eq(pb_str(m->password), STR("secret"));
    done(s, f, ok ? THURN__CODE__DONE : THURN__CODE__DENIED, "who is that");
}

static void answer_select(struct fake_session *s, const struct frame *f)
{
    const Thurn__ImapSelect *m = (const Thurn__ImapSelect *)f->message;
    if (!str_eq(pb_str(m->mailbox), STR("INBOX"))) {
        done(s, f, THURN__CODE__NOT_FOUND, "There is no such mailbox");
        return;
    }
    Thurn__Status status = THURN__STATUS__INIT;
    Thurn__ImapSelected selected = THURN__IMAP_SELECTED__INIT;
    selected.exists = 3;
    selected.uidvalidity = 7;
    selected.uidnext = 4;
    selected.read_only = m->examine;
    Thurn__ImapDone d = THURN__IMAP_DONE__INIT;
    d.status = &status;
    d.selected = &selected;
    reply(s, f->serial, RPC_IMAP_DONE, &d.base, STR(""));
}

static void answer_updates(struct fake_session *s, uint32_t serial, uint32_t exists)
{
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    u.has_exists = true;
    u.exists = exists;
    reply(s, serial, RPC_IMAP_UPDATES, &u.base, STR(""));
}

static void answer_search(struct fake_session *s, const struct frame *f)
{
    uint32_t numbers[] = {1, 2, 3};
    Thurn__ImapNumbers n = THURN__IMAP_NUMBERS__INIT;
    n.numbers = numbers;
    n.n_numbers = 2;
    reply(s, f->serial, RPC_IMAP_NUMBERS, &n.base, STR(""));
    n.numbers = numbers + 2;
    n.n_numbers = 1;
    reply(s, f->serial, RPC_IMAP_NUMBERS, &n.base, STR(""));
    answer_updates(s, f->serial, 5);
    done(s, f, THURN__CODE__DONE, "");
}

/* One row with a body of BODY_N bytes, cut in two frames. */
static void answer_row(struct fake_session *s, const struct frame *f, uint32_t seq)
{
    static uint8_t body[BODY_N];
    memset(body, 'x', sizeof body);
    uint64_t length = BODY_N;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT, *rows[] = {&row};
    row.seq = row.uid = seq;
    row.lengths = &length;
    row.n_lengths = 1;
    Thurn__ImapRows m = THURN__IMAP_ROWS__INIT;
    m.rows = rows;
    m.n_rows = 1;
    Thurn__ImapBytes more = THURN__IMAP_BYTES__INIT;
    reply(s, f->serial, RPC_IMAP_ROWS, &m.base, str_of(body, 1000));
    reply(s, f->serial, RPC_IMAP_BYTES, &more.base, str_of(body, BODY_N - 1000));
}

static void answer_fetch(struct fake_session *s, const struct frame *f, uint32_t rows)
{
    for (uint32_t i = 1; i <= rows; i++)
        answer_row(s, f, i);
    done(s, f, THURN__CODE__DONE, "");
}

static void answer_append(struct fake_session *s, const struct frame *f)
{
    const Thurn__ImapAppend *m = (const Thurn__ImapAppend *)f->message;
    bool ok = str_eq(pb_str(m->mailbox), STR("INBOX"));
    done(s, f, ok ? THURN__CODE__DONE : THURN__CODE__TRY_CREATE, "There is no such mailbox");
}

static void answer_append_check(struct fake_session *s, const struct frame *f)
{
    const Thurn__ImapAppendCheck *m = (const Thurn__ImapAppendCheck *)f->message;
    bool there = str_eq(pb_str(m->mailbox), STR("INBOX"));
    done(s, f,
         !there              ? THURN__CODE__TRY_CREATE
         : m->size > 1000000 ? THURN__CODE__OVER_QUOTA
                             : THURN__CODE__DONE,
         "No");
}

static void answer_quota(struct fake_session *s, const struct frame *f)
{
    Thurn__ImapDone d = THURN__IMAP_DONE__INIT;
    Thurn__Status status = RPC_STATUS(THURN__CODE__DONE, "");
    Thurn__ImapQuotaUse q = THURN__IMAP_QUOTA_USE__INIT;
    q.bytes = 2048;
    q.bytes_limit = 4096;
    d.status = &status;
    d.quota = &q;
    reply(s, f->serial, RPC_IMAP_DONE, &d.base, STR(""));
}

static bool answers(struct fake_session *s, struct frame *f)
{
    switch (f->type->number) {
    case RPC_IMAP_LOGIN: answer_login(s, f); break;
    case RPC_IMAP_SELECT: answer_select(s, f); break;
    case RPC_IMAP_SEARCH: answer_search(s, f); break;
    case RPC_IMAP_FETCH: answer_fetch(s, f, 3); break;
    case RPC_IMAP_APPEND: answer_append(s, f); break;
    case RPC_IMAP_APPEND_CHECK: answer_append_check(s, f); break;
    case RPC_IMAP_QUOTA: answer_quota(s, f); break;
    case RPC_IMAP_CREATE: done(s, f, THURN__CODE__ALREADY_EXISTS, "It exists\r\n* forged"); break;
    case RPC_IMAP_STORE: done(s, f, THURN__CODE__INVALID, "No such message"); break;
    default: done(s, f, THURN__CODE__DONE, ""); break;
    }
    return true;
}

static bool floods(struct fake_session *s, struct frame *f)
{
    if (f->type->number == RPC_IMAP_FETCH)
        answer_fetch(s, f, FLOOD_ROWS);
    else
        (void)answers(s, f);
    return true;
}

static void gone(void *arg)
{
    bench_backend_down(arg);
}

static bool dies(struct fake_session *s, struct frame *f)
{
    loop_post(s->bench->role.loop, gone, s->bench);
    return true;
}

static bool dies_inside_a_body(struct fake_session *s, struct frame *f)
{
    if (f->type->number != RPC_IMAP_FETCH)
        return answers(s, f);
    uint64_t length = 1000;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT, *rows[] = {&row};
    row.seq = 1;
    row.lengths = &length;
    row.n_lengths = 1;
    Thurn__ImapRows m = THURN__IMAP_ROWS__INIT;
    m.rows = rows;
    m.n_rows = 1;
    reply(s, f->serial, RPC_IMAP_ROWS, &m.base, STR("abc"));
    return dies(s, f);
}

static bool is_silent(struct fake_session *s, struct frame *f)
{
    return true;
}

/* What was not asked for. */
static bool answers_wrongly(struct fake_session *s, struct frame *f)
{
    if (f->type->number == RPC_IMAP_LOGIN)
        return answers(s, f);
    Thurn__ImapMailboxes m = THURN__IMAP_MAILBOXES__INIT;
    reply(s, f->serial, RPC_IMAP_MAILBOXES, &m.base, STR(""));
    return true;
}

/* ----------------------------------------------------------------------------------------- fixture
 */

struct fixture {
    struct bench bench;
    struct talk talk;
};

static struct fixture *start(fake_answer *answer)
{
    struct fixture *x = mem_alloc(sizeof *x);
    bench_start(&x->bench);
    x->bench.answer = answer;
    talk_open(&x->talk, &x->bench, THURN__LISTENER_KIND__LISTEN_IMAP);
    struct str greeting = talk_expect(&x->talk, "Thurn ready\r\n");
    assert_true(str_starts(greeting, STR("* OK [CAPABILITY IMAP4rev1 ")));
    return x;
}

static struct fixture *start_logged_in(fake_answer *answer)
{
    struct fixture *x = start(answer);
    (void)talk_say(&x->talk, "a LOGIN alice@example.test secret", "a OK [CAPABILITY ");
    (void)talk_expect(&x->talk, "\r\n");
    return x;
}

static struct fixture *start_selected(fake_answer *answer)
{
    struct fixture *x = start_logged_in(answer);
    (void)talk_say(&x->talk, "s SELECT INBOX", "s OK [READ-WRITE] Completed\r\n");
    return x;
}

static void end(struct fixture *x)
{
    talk_close(&x->talk);
    bench_end(&x->bench);
    free(x);
}

/* Expects `want` as the last line; returns all. */
static struct str say(struct fixture *x, const char *line, const char *want)
{
    return talk_say(&x->talk, line, want);
}

static bool has(struct str s, const char *what)
{
    return str_find(s, str_c(what), 0) < s.n;
}

static struct client *the_client(struct fixture *x)
{
    return container_of(x->bench.fe->clients.next, struct client, link);
}

/* ------------------------------------------------------------------------------------------- tests
 */

static void login_takes_the_right_password_only(void **state)
{
    struct fixture *x = start(answers);
    (void)say(x, "a LOGIN alice@example.test wrong", "a NO [AUTHENTICATIONFAILED] ");
    (void)talk_expect(&x->talk, "\r\n");
    struct str got = say(x, "b LOGIN alice@example.test {6}", "+ OK\r\n");
    got = say(x, "secret", "Logged in\r\n");
    assert_true(str_starts(got, STR("b OK [CAPABILITY IMAP4rev1")));
    assert_int_equal(x->bench.n_sessions, 1);
    (void)say(x, "c LOGIN alice@example.test secret", "c BAD ");
    end(x);
}

static void authenticate_plain_works_with_and_without_initial_response(void **state)
{
    static const char plain[] = "AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=";
    struct fixture *x = start(answers);
    (void)say(x, "a AUTHENTICATE PLAIN", "+ \r\n");
    (void)say(x, "*", "a BAD ");
    (void)talk_expect(&x->talk, "\r\n");
    (void)say(x, "b AUTHENTICATE PLAIN", "+ \r\n");
    (void)say(x, "not base64!", "b BAD ");
    (void)talk_expect(&x->talk, "\r\n");
    (void)say(x, "c AUTHENTICATE NTLM", "c NO ");
    (void)talk_expect(&x->talk, "\r\n");
    /* bob acts for alice */
    (void)say(x, "d AUTHENTICATE PLAIN YWxpY2UAYm9iAHNlY3JldA==", "d NO [AUTHORIZATIONFAILED]");
    (void)talk_expect(&x->talk, "\r\n");
    (void)say(x, "e AUTHENTICATE PLAIN", "+ \r\n");
    (void)say(x, plain, "e OK [CAPABILITY ");
    end(x);
    x = start(answers);
    char line[100];
    (void)snprintf(line, sizeof line, "a AUTHENTICATE PLAIN %s", plain);
    (void)say(x, line, "a OK [CAPABILITY ");
    end(x);
}

static void without_tls_no_password_is_taken_from_elsewhere(void **state)
{
    struct fixture *x = start(answers);
    x->bench.settings.n_cleartext_login_from = 0;
    role_frontend.reload(&x->bench.role);
    struct str got = say(x, "a CAPABILITY", "a OK Completed\r\n");
    assert_true(has(got, "LOGINDISABLED"));
    assert_false(has(got, "AUTH=PLAIN"));
    (void)say(x, "b LOGIN alice@example.test secret", "b NO [PRIVACYREQUIRED]");
    (void)say(x, "c AUTHENTICATE PLAIN", "c NO [PRIVACYREQUIRED]");
    assert_int_equal(x->bench.n_sessions, 0);
    end(x);
}

static void the_state_decides_which_commands_are_known(void **state)
{
    struct fixture *x = start(answers);
    x->bench.settings.max_bad_commands = 0;
    (void)say(x, "a SELECT INBOX", "a BAD ");
    (void)say(x, "b NOOP", "b OK Completed\r\n");
    (void)say(x, "c STARTTLS", "c BAD ");
    (void)say(x, "d LOGIN alice@example.test secret", "d OK [");
    (void)say(x, "e FETCH 1 FLAGS", "e BAD ");
    struct str got = say(x, "f SELECT INBOX", "f OK [READ-WRITE] Completed\r\n");
    assert_true(has(got, "* 3 EXISTS\r\n"));
    (void)say(x, "g CLOSE", "g OK Completed\r\n");
    (void)say(x, "h CLOSE", "h BAD ");
    (void)say(x, "i EXAMINE INBOX", "i OK [READ-ONLY] Completed\r\n");
    (void)say(x, "j SELECT nowhere", "j NO [NONEXISTENT] There is no such mailbox\r\n");
    (void)say(x, "k FETCH 1 FLAGS", "k BAD ");
    end(x);
}

static void failures_say_why(void **state)
{
    struct fixture *x = start_selected(answers);
    (void)say(x, "a CREATE x", "a NO [ALREADYEXISTS] Failed\r\n"); /* the text had a line end */
    (void)say(x, "b STORE 9 +FLAGS (\\Seen)", "b BAD No such message\r\n");
    (void)say(x, "c SEARCH CHARSET KLINGON ALL",
              "c NO [BADCHARSET (US-ASCII UTF-8 UTF-7 ISO-8859-1 ");
    (void)say(x, "d APPEND nowhere {3+}\r\nabc", "d NO [TRYCREATE]");
    end(x);
}

static void search_results_are_one_line(void **state)
{
    struct fixture *x = start_selected(answers);
    struct str got = say(x, "a SEARCH ALL", "a OK Completed\r\n");
    assert_true(
        str_eq(got, STR("* SEARCH 1 2 3\r\n* 5 EXISTS\r\n* 0 RECENT\r\na OK Completed\r\n")));
    end(x);
}

static void fetch_gives_bodies_that_come_in_several_frames(void **state)
{
    struct fixture *x = start_selected(answers);
    struct str got = say(x, "a FETCH 1:3 BODY.PEEK[]", "a OK Completed\r\n");
    assert_true(got.n > 3 * BODY_N && got.n < 3 * BODY_N + 300);
    assert_true(str_starts(got, STR("* 1 FETCH (BODY[] {102400}\r\nxxx")));
    end(x);
}

static void pipelined_commands_are_answered_in_order(void **state)
{
    struct fixture *x = start(answers);
    talk_send(&x->talk, STR("a LOGIN alice@example.test secret\r\nb SELECT INBOX\r\nc NOOP\r\n"
                            "d FETCH 1 BODY[]\r\ne LOGOUT\r\nf NOOP\r\n"));
    static const char *const order[] = {"a OK ", "b OK ", "c OK ", "d OK ", "* BYE ", "e OK "};
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        (void)talk_expect(&x->talk, order[i]);
    struct str rest = talk_expect_close(&x->talk);
    assert_false(has(rest, "f "));
    end(x);
}

static void a_session_works_one_byte_at_a_time(void **state)
{
    struct fixture *x = start(answers);
    struct str all = STR("a LOGIN alice@example.test secret\r\nb SELECT INBOX\r\n"
                         "c APPEND INBOX (\\Seen) {5+}\r\nhello\r\nd LOGOUT\r\n");
    for (size_t i = 0; i < all.n; i++) {
        talk_send(&x->talk, str_sub(all, i, i + 1));
        loop_post(x->bench.role.loop, (void (*)(void *))loop_stop, x->bench.role.loop);
        loop_run(x->bench.role.loop);
    }
    (void)talk_expect(&x->talk, "c OK ");
    (void)talk_expect(&x->talk, "d OK ");
    assert_true(str_eq(buf_str(&x->bench.message), STR("hello")));
    end(x);
}

static void append_takes_messages_small_large_and_none_too_large(void **state)
{
    struct fixture *x = start_logged_in(answers);
    (void)say(x, "a APPEND INBOX {5}", "+ OK\r\n");
    talk_send(&x->talk, STR("a\0b\r\n"));
    (void)say(x, "", "a OK ");
    assert_true(str_eq(buf_str(&x->bench.message), STR("a\0b\r\n")));
    assert_false(x->bench.was_sealed);
    struct buf text CLEANUP(buf_free) = {0};
    while (text.n < 200000)
        buf_put(&text, STR("0123456789"));
    (void)say(x, "b APPEND INBOX {200000+}", "");
    talk_send(&x->talk, buf_str(&text));
    (void)say(x, "", "b OK ");
    assert_true(x->bench.was_sealed);
    assert_true(str_eq(buf_str(&x->bench.message), buf_str(&text)));
    (void)say(x, "c APPEND INBOX {1048577}", "c NO [TOOBIG]");
    (void)say(x, "d APPEND INBOX {3}", "+ OK\r\n");
    (void)say(x, "abc junk", "d BAD ");
    (void)say(x, "e NOOP", "e OK ");
    end(x);
}

static void append_is_refused_before_the_message_where_the_client_waits(void **state)
{
    struct fixture *x = start_logged_in(answers);
    (void)say(x, "a APPEND INBOX {1000001}", "a NO [OVERQUOTA]");
    (void)say(x, "b APPEND nowhere {3}", "b NO [TRYCREATE]");
    (void)say(x, "c APPEND INBOX {600000+}", "");
    struct buf text CLEANUP(buf_free) = {0};
    while (text.n < 600000)
        buf_put(&text, STR("0123456789"));
    talk_send(&x->talk, buf_str(&text));
    (void)say(x, " {600000}", "c NO [OVERQUOTA]"); /* with the one before it */
    (void)say(x, "d APPEND INBOX {3}", "+ OK\r\n");
    (void)say(x, "abc", "d OK ");
    assert_true(str_eq(buf_str(&x->bench.message), STR("abc")));
    end(x);
}

static void quotas_are_shown_and_not_set(void **state)
{
    struct fixture *x = start_logged_in(answers);
    (void)say(x, "a GETQUOTAROOT INBOX",
              "* QUOTAROOT INBOX \"\"\r\n* QUOTA \"\" (STORAGE 2 4)\r\na OK ");
    (void)say(x, "b GETQUOTA \"\"", "* QUOTA \"\" (STORAGE 2 4)\r\nb OK ");
    (void)say(x, "c SETQUOTA \"\" (STORAGE 10)", "c NO [NOPERM]");
    end(x);
}

static void append_takes_many_messages_as_one_request(void **state)
{
    struct fixture *x = start_logged_in(answers);
    (void)say(x, "a APPEND INBOX {3+}\r\nabc (\\Seen) {2}", "+ OK\r\n");
    (void)say(x, "de ~{1+}\r\nf", "a OK ");
    assert_true(str_eq(buf_str(&x->bench.message), STR("abcdef")));
    struct buf text CLEANUP(buf_free) = {0};
    buf_put(&text, STR("b APPEND INBOX"));
    for (size_t i = 0; i < 100; i++) {
        buf_put(&text, STR(" {1000+}\r\n"));
        for (size_t k = 0; k < 1000; k++)
            buf_byte(&text, (uint8_t)('a' + i % 26));
    }
    talk_send(&x->talk, buf_str(&text));
    (void)say(x, "", "b OK ");
    assert_true(x->bench.was_sealed);
    assert_int_equal(x->bench.message.n, 100000);
    (void)say(x, "c APPEND INBOX {1048576+}\r\n", "");
    buf_reset(&text, 0);
    while (text.n < 1048576)
        buf_put(&text, STR("0123456789abcdef"));
    talk_send(&x->talk, buf_str(&text));
    (void)say(x, " {1048577}", "c NO [TOOBIG]");
    /* An empty message cancels the others (RFC 3502). */
    (void)say(x, "d APPEND INBOX {3+}\r\nabc {0+}\r\n {1+}\r\nx", "d NO An empty message");
    (void)say(x, "e NOOP", "e OK ");
    end(x);
}

static void the_request_timeout_does_not_end_idle(void **state)
{
    struct fixture *x = start_selected(answers);
    x->bench.settings.request_timeout = 20;
    x->bench.settings.imap_idle_timeout = 60;
    (void)say(x, "a IDLE", "+ idling\r\n");
    struct str got = talk_expect_close(&x->talk); /* not by the first, but by the second */
    assert_true(has(got, "* BYE Nothing heard"));
    end(x);
}

static void a_slow_reader_does_not_fill_the_frontend(void **state)
{
    struct fixture *x = start_selected(floods);
    struct client *c = the_client(x);
    talk_read(&x->talk, false);
    talk_send(&x->talk, STR("a FETCH 1:* BODY[]\r\n"));
    for (int i = 0; i < 3000; i++) {
        loop_post(x->bench.role.loop, (void (*)(void *))loop_stop, x->bench.role.loop);
        loop_run(x->bench.role.loop);
        assert_true(conn_backlog(c->conn) < 600 * KB);
    }
    assert_true(conn_backlog(c->conn) > 128 * KB);
    talk_read(&x->talk, true);
    struct str got = talk_expect(&x->talk, "a OK Completed\r\n");
    assert_true(got.n > (size_t)FLOOD_ROWS * BODY_N);
    end(x);
}

static void a_reader_that_takes_nothing_is_cut_off(void **state)
{
    struct fixture *x = start(floods);
    talk_close(&x->talk);
    x->bench.settings.write_timeout = 50;
    talk_open(&x->talk, &x->bench, THURN__LISTENER_KIND__LISTEN_IMAP);
    (void)say(x, "a LOGIN alice@example.test secret", "a OK");
    (void)say(x, "b SELECT INBOX", "b OK");
    talk_read(&x->talk, false);
    talk_send(&x->talk, STR("c FETCH 1:* BODY[]\r\n"));
    talk_close(&x->talk);
    end(x);
}

static void without_a_backend_login_is_put_off(void **state)
{
    struct fixture *x = start(answers);
    bench_backend_down(&x->bench);
    x->bench.settings.request_timeout = 30;
    (void)say(x, "a LOGIN alice@example.test secret", "a NO [UNAVAILABLE]");
    (void)talk_expect(&x->talk, "\r\n");
    bench_backend_up(&x->bench);
    x->bench.settings.request_timeout = 60000;
    (void)say(x, "b LOGIN alice@example.test secret", "b OK ");
    end(x);
}

static void a_backend_that_stays_away_ends_its_sessions(void **state)
{
    struct fixture *x = start(dies);
    x->bench.settings.request_timeout = 30;
    (void)say(x, "a LOGIN alice@example.test secret", "a NO [UNAVAILABLE]");
    bench_backend_up(&x->bench);
    x->bench.answer = answers;
    x->bench.settings.request_timeout = 60000;
    (void)say(x, "b LOGIN alice@example.test secret", "b OK ");
    (void)talk_expect(&x->talk, "\r\n");
    x->bench.settings.request_timeout = 30;
    bench_backend_down(&x->bench);
    (void)say(x, "c NOOP", "* BYE [UNAVAILABLE]");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void no_goodbye_is_written_into_a_body(void **state)
{
    struct fixture *x = start_selected(dies_inside_a_body);
    x->bench.settings.request_timeout = 30;
    (void)say(x, "a FETCH 1 BODY[]", "* 1 FETCH (BODY[] {1000}\r\n");
    assert_true(str_eq(talk_expect_close(&x->talk), STR("abc")));
    end(x);
}

static void a_silent_backend_ends_the_session_in_time(void **state)
{
    struct fixture *x = start_logged_in(answers);
    x->bench.settings.request_timeout = 20;
    x->bench.answer = is_silent;
    (void)say(x, "a SELECT INBOX", "* BYE [UNAVAILABLE]");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void an_answer_that_was_not_asked_for_ends_the_session(void **state)
{
    struct fixture *x = start_logged_in(answers_wrongly);
    (void)say(x, "a SELECT INBOX", "* BYE [UNAVAILABLE]");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void bad_commands_are_counted(void **state)
{
    struct fixture *x = start(answers);
    for (int i = 0; i < 5; i++)
        (void)say(x, "a NONSENSE", "a BAD ");
    (void)say(x, "a NONSENSE", "* BYE Too many bad commands\r\n");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void who_does_not_log_in_is_told_goodbye(void **state)
{
    struct fixture *x = start(answers);
    talk_close(&x->talk);
    x->bench.settings.login_timeout = 100;
    talk_open(&x->talk, &x->bench, THURN__LISTENER_KIND__LISTEN_IMAP);
    uint64_t until = clock_mono_us() + 100 * 1000;
    for (int late = 0; !has(say(x, "a NOOP", "\r\n"), "* BYE"); late += clock_mono_us() > until)
        assert_true(late < 3); /* talking does not help, however quickly */
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void stopping_waits_for_the_command_in_flight(void **state)
{
    struct fixture *x = start_selected(answers);
    talk_send(&x->talk, STR("a SEARCH ALL\r\n"));
    loop_post(x->bench.role.loop, (void (*)(void *))loop_stop, x->bench.role.loop);
    loop_run(x->bench.role.loop);
    role_frontend.stop(&x->bench.role);
    struct str got = talk_expect_close(&x->talk);
    assert_true(has(got, "* BYE The server is going down"));
    end(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(login_takes_the_right_password_only),
        cmocka_unit_test(authenticate_plain_works_with_and_without_initial_response),
        cmocka_unit_test(without_tls_no_password_is_taken_from_elsewhere),
        cmocka_unit_test(the_state_decides_which_commands_are_known),
        cmocka_unit_test(failures_say_why),
        cmocka_unit_test(search_results_are_one_line),
        cmocka_unit_test(fetch_gives_bodies_that_come_in_several_frames),
        cmocka_unit_test(pipelined_commands_are_answered_in_order),
        cmocka_unit_test(a_session_works_one_byte_at_a_time),
        cmocka_unit_test(append_takes_messages_small_large_and_none_too_large),
        cmocka_unit_test(append_takes_many_messages_as_one_request),
        cmocka_unit_test(append_is_refused_before_the_message_where_the_client_waits),
        cmocka_unit_test(quotas_are_shown_and_not_set),
        cmocka_unit_test(the_request_timeout_does_not_end_idle),
        cmocka_unit_test(a_slow_reader_does_not_fill_the_frontend),
        cmocka_unit_test(a_reader_that_takes_nothing_is_cut_off),
        cmocka_unit_test(without_a_backend_login_is_put_off),
        cmocka_unit_test(a_backend_that_stays_away_ends_its_sessions),
        cmocka_unit_test(no_goodbye_is_written_into_a_body),
        cmocka_unit_test(a_silent_backend_ends_the_session_in_time),
        cmocka_unit_test(an_answer_that_was_not_asked_for_ends_the_session),
        cmocka_unit_test(bad_commands_are_counted),
        cmocka_unit_test(who_does_not_log_in_is_told_goodbye),
        cmocka_unit_test(stopping_waits_for_the_command_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
