#include "base/base.h"

#include "frontend_bench.h"

#include <setjmp.h>
#include <cmocka.h>

/* ------------------------------------------------------------------------------------- the backend
 */

static Thurn__Code code_of(struct str local, bool delivery)
{
    if (str_eq(local, STR("nobody")))
        return THURN__CODE__NOT_FOUND;
    if (str_eq(local, STR("full")) || (delivery && str_eq(local, STR("nearly-full"))))
        return THURN__CODE__OVER_QUOTA;
    if (delivery && str_eq(local, STR("disk")))
        return THURN__CODE__STORE_FULL;
    return THURN__CODE__DONE;
}

static void answer_recipient(struct fake_session *s, struct frame *f)
{
    const Thurn__LmtpRecipient *m = (const Thurn__LmtpRecipient *)f->message;
    Thurn__Status status = THURN__STATUS__INIT;
    status.code = code_of(pb_str(m->address->local), false);
    Thurn__LmtpRecipientAnswer a = THURN__LMTP_RECIPIENT_ANSWER__INIT;
    a.status = &status;
    a.ticket = m->address->local; /* the fake's seal */
    assert_int_equal(
        chan_send(s->chan, RPC_LMTP_RECIPIENT_ANSWER, f->serial, &a.base, STR(""), -1).code, E_OK);
}

static void answer_deliver(struct fake_session *s, struct frame *f, size_t missing)
{
    const Thurn__LmtpDeliver *m = (const Thurn__LmtpDeliver *)f->message;
    Thurn__Status status[8], *list[8];
    for (size_t i = 0; i < m->n_recipients; i++) {
        status[i] = (Thurn__Status)THURN__STATUS__INIT;
        status[i].code = code_of(pb_str(m->recipients[i]->local), true);
        list[i] = &status[i];
        assert_true(str_eq(pb_str(m->tickets[i]), pb_str(m->recipients[i]->local)));
    }
    assert_int_equal(m->n_tickets, m->n_recipients);
    buf_clear(&s->bench->note);
    buf_printf(&s->bench->note, "from %.*s@%.*s helo %.*s id %zu trace %zu",
               STR_FMT(pb_str(m->sender->local)), STR_FMT(pb_str(m->sender->domain)),
               STR_FMT(pb_str(m->helo)), m->delivery.len, m->trace.len);
    Thurn__LmtpDeliverAnswer a = THURN__LMTP_DELIVER_ANSWER__INIT;
    a.recipients = list;
    a.n_recipients = m->n_recipients - missing;
    assert_int_equal(
        chan_send(s->chan, RPC_LMTP_DELIVER_ANSWER, f->serial, &a.base, STR(""), -1).code, E_OK);
}

static bool answers(struct fake_session *s, struct frame *f)
{
    if (f->type->number == RPC_LMTP_RECIPIENT)
        answer_recipient(s, f);
    else
        answer_deliver(s, f, 0);
    return true;
}

static void gone(void *arg)
{
    bench_backend_down(arg);
}

static void reborn(void *arg)
{
    struct bench *b = arg;
    bench_backend_down(b);
    b->answer = answers;
    bench_backend_up(b);
}

static uint8_t died_over[16]; /* the delivery's id */

static bool dies_over_delivery(struct fake_session *s, struct frame *f, void (*end)(void *arg))
{
    if (f->type->number == RPC_LMTP_RECIPIENT) {
        answer_recipient(s, f);
        return true;
    }
    const Thurn__LmtpDeliver *m = (const Thurn__LmtpDeliver *)f->message;
    assert_int_equal(m->delivery.len, sizeof died_over);
    memcpy(died_over, m->delivery.data, sizeof died_over);
    loop_post(s->bench->role.loop, end, s->bench);
    return true;
}

/* Dies with the delivery in hand, and nobody follows. */
static bool dies(struct fake_session *s, struct frame *f)
{
    return dies_over_delivery(s, f, gone);
}

static bool dies_and_is_followed(struct fake_session *s, struct frame *f)
{
    return dies_over_delivery(s, f, reborn);
}

static bool dies_at_recipient(struct fake_session *s, struct frame *f)
{
    loop_post(s->bench->role.loop, gone, s->bench);
    return true;
}

static bool dies_at_recipient_and_is_followed(struct fake_session *s, struct frame *f)
{
    loop_post(s->bench->role.loop, reborn, s->bench);
    return true;
}

/* Only that which the one before has died over. */
static bool answers_the_same(struct fake_session *s, struct frame *f)
{
    const Thurn__LmtpDeliver *m = (const Thurn__LmtpDeliver *)f->message;
    if (f->type->number == RPC_LMTP_DELIVER)
        assert_memory_equal(m->delivery.data, died_over, sizeof died_over);
    return answers(s, f);
}

static bool is_silent(struct fake_session *s, struct frame *f)
{
    return true;
}

static bool forgets_a_recipient(struct fake_session *s, struct frame *f)
{
    if (f->type->number == RPC_LMTP_RECIPIENT)
        answer_recipient(s, f);
    else
        answer_deliver(s, f, 1);
    return true;
}

/* An answer that is not due. */
static bool answers_wrongly(struct fake_session *s, struct frame *f)
{
    f->serial++;
    answer_recipient(s, f);
    return true;
}

static bool sends_what_was_not_asked(struct fake_session *s, struct frame *f)
{
    Thurn__ImapDone d = THURN__IMAP_DONE__INIT;
    (void)chan_send(s->chan, RPC_IMAP_DONE, f->serial, &d.base, STR(""), -1).code;
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
    talk_open(&x->talk, &x->bench, THURN__LISTENER_KIND__LISTEN_LMTP);
    (void)talk_expect(&x->talk, "220 mx.example.test LMTP Thurn ready\r\n");
    return x;
}

static struct fixture *start_greeted(fake_answer *answer)
{
    struct fixture *x = start(answer);
    (void)talk_say(&x->talk, "LHLO client.test", "250 SIZE 1048576\r\n");
    return x;
}

static void end(struct fixture *x)
{
    talk_close(&x->talk);
    bench_end(&x->bench);
    free(x);
}

static void say(struct fixture *x, const char *line, const char *want)
{
    struct str got = talk_say(&x->talk, line, "\r\n");
    if (!str_starts(got, str_c(want)))
        fail_msg("%s: got %.*s, want %s", line, STR_FMT(got), want);
}

static void mail_to(struct fixture *x, const char *local)
{
    char line[100];
    say(x, "MAIL FROM:<alice@example.test>", "250 2.1.0");
    (void)snprintf(line, sizeof line, "RCPT TO:<%s@example.test>", local);
    say(x, line, "250 2.1.5");
}

static void assert_message(struct fixture *x, struct str want)
{
    assert_true(str_eq(buf_str(&x->bench.message), want));
}

/* ------------------------------------------------------------------------------------------- tests
 */

static void the_capabilities_are_those_of_the_design(void **state)
{
    struct fixture *x = start(answers);
    struct str got = talk_say(&x->talk, "LHLO client.test", "250 SIZE 1048576\r\n");
    assert_true(str_eq(got, STR("250-mx.example.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
                                "250-ENHANCEDSTATUSCODES\r\n250 SIZE 1048576\r\n")));
    end(x);
}

static void a_message_is_delivered_with_one_answer_for_each_recipient(void **state)
{
    struct fixture *x = start_greeted(answers);
    mail_to(x, "bob");
    say(x, "RCPT TO:<nobody@example.test>", "550 5.1.1");
    say(x, "RCPT TO:<full@example.test>", "452 4.2.2");
    say(x, "RCPT TO:<nearly-full@example.test>", "250 2.1.5");
    say(x, "RCPT TO:<disk@example.test>", "250 2.1.5");
    say(x, "RCPT TO:<carol@example.test>", "452 4.5.3");
    say(x, "DATA", "354");
    talk_send(&x->talk, STR("Subject: x\r\n\r\n..\r\na\n.\nb\r\n.\r\n"));
    struct str got = talk_expect(&x->talk, "4.3.1 <disk@example.test>");
    assert_true(str_starts(got, STR("250 2.0.0 <bob@example.test> delivered\r\n"
                                    "452 4.2.2 <nearly-full@example.test>")));
    (void)talk_expect(&x->talk, "\r\n");
    assert_message(x, STR("Subject: x\r\n\r\n.\r\na\n.\nb\r\n"));
    assert_false(x->bench.was_sealed);
    assert_true(str_eq(buf_str(&x->bench.note),
                       STR("from alice@example.test helo client.test id 16 trace 16")));
    say(x, "QUIT", "221 2.0.0");
    assert_int_equal(talk_expect_close(&x->talk).n, 0);
    end(x);
}

static void a_pipelined_transaction_is_answered_in_order(void **state)
{
    struct fixture *x = start_greeted(answers);
    talk_send(&x->talk,
              STR("MAIL FROM:<>\r\nRCPT TO:<bob@a.test>\r\nRCPT TO:<nobody@a.test>\r\n"
                  "RCPT TO:<carol@a.test>\r\nDATA\r\nhello\r\n.\r\nNOOP\r\n"
                  "MAIL FROM:<x@y.test>\r\nRCPT TO:<bob@a.test>\r\nDATA\r\n.\r\nQUIT\r\n"));
    struct str got = talk_expect_close(&x->talk);
    static const char *const order[] = {"250 2.1.0",
                                        "250 2.1.5",
                                        "550 5.1.1",
                                        "250 2.1.5",
                                        "354",
                                        "250 2.0.0 <bob@a.test>",
                                        "250 2.0.0 <carol@a.test>",
                                        "250 2.0.0",
                                        "250 2.1.0",
                                        "250 2.1.5",
                                        "354",
                                        "250 2.0.0 <bob",
                                        "221"};
    struct cur c = cur_of(got);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        struct str line = cur_until(&c, '\n');
        if (!str_starts(line, str_c(order[i])))
            fail_msg("line %zu: %.*s, want %s", i, STR_FMT(line), order[i]);
    }
    assert_true(cur_end(&c));
    assert_int_equal(x->bench.message.n, 0);
    end(x);
}

static void replies_to_pipelined_commands_come_together(void **state)
{
    struct fixture *x = start_greeted(answers);
    talk_send(&x->talk, STR("MAIL FROM:<>\r\nRCPT TO:<bob@a.test>\r\nRCPT TO:<nobody@a.test>\r\n"
                            "DATA\r\n"));
    (void)talk_expect(&x->talk, "250 2.1.0");
    struct str rest = buf_str(&x->talk.got); /* of what one look at the socket has brought */
    assert_true(str_find(rest, STR("354 "), 0) < rest.n);
    end(x);
}

static void replies_from_before_a_backend_was_lost_are_not_lost_with_it(void **state)
{
    struct fixture *x = start_greeted(dies_at_recipient);
    x->bench.settings.request_timeout = 1;
    talk_send(&x->talk, STR("MAIL FROM:<>\r\nRCPT TO:<bob@a.test>\r\n"));
    struct str got = talk_expect(&x->talk, "451 4.3.0");
    assert_true(str_starts(got, STR("250 2.1.0 Sender taken\r\n")));
    end(x);
}

static void a_session_works_one_byte_at_a_time(void **state)
{
    struct fixture *x = start_greeted(answers);
    struct str all = STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<bob@a.test>\r\nDATA\r\n.hello\r\n..\r\n"
                         ".\r\nQUIT\r\n");
    static const char *const replies[] = {"250 2.1.0", "250 2.1.5", "354"};
    size_t lines = 0;
    for (size_t i = 0; i < all.n; i++) {
        talk_send(&x->talk, str_sub(all, i, i + 1));
        if (all.p[i] == '\n' && lines < ARRAY_LEN(replies))
            (void)talk_expect(&x->talk, replies[lines++]);
        else
            talk_send(&x->talk, STR(""));
    }
    (void)talk_expect(&x->talk, "250 2.0.0 <bob@a.test>");
    (void)talk_expect(&x->talk, "221");
    assert_message(x, STR("hello\r\n.\r\n"));
    end(x);
}

static void a_large_message_travels_in_sealed_memory(void **state)
{
    struct fixture *x = start_greeted(answers);
    struct buf text CLEANUP(buf_free) = {0};
    while (text.n < 300 * KB)
        buf_printf(&text, "%zu: the same line, again and again, with a NUL %c\r\n", text.n, 0);
    mail_to(x, "bob");
    say(x, "DATA", "354");
    talk_send(&x->talk, buf_str(&text));
    say(x, ".", "250 2.0.0");
    assert_true(x->bench.was_sealed);
    assert_message(x, buf_str(&text));
    end(x);
}

static void a_message_beyond_the_limit_is_refused_and_the_session_goes_on(void **state)
{
    struct fixture *x = start_greeted(answers);
    say(x, "MAIL FROM:<a@b.test> SIZE=1048577", "552 5.3.4");
    mail_to(x, "bob");
    say(x, "RCPT TO:<carol@example.test>", "250");
    say(x, "DATA", "354");
    struct buf text CLEANUP(buf_free) = {0};
    while (text.n <= 1024 * KB)
        buf_put(&text, STR("0123456789012345678901234567890123456789012345678901234567890\r\n"));
    talk_send(&x->talk, buf_str(&text));
    say(x, ".", "552 5.3.4 <bob@example.test>");
    (void)talk_expect(&x->talk, "552 5.3.4 <carol@example.test>");
    (void)talk_expect(&x->talk, "\r\n");
    mail_to(x, "bob");
    end(x);
}

static void commands_out_of_order_are_refused(void **state)
{
    struct fixture *x = start(answers);
    x->bench.settings.max_bad_commands = 0;
    say(x, "MAIL FROM:<a@b.test>", "503 5.5.1");
    say(x, "EHLO x", "500 5.5.1");
    (void)talk_say(&x->talk, "LHLO x", "250 SIZE");
    (void)talk_expect(&x->talk, "\r\n");
    say(x, "RCPT TO:<a@b.test>", "503 5.5.1");
    say(x, "DATA", "503 5.5.1");
    say(x, "MAIL FROM:<a@b.test>", "250");
    say(x, "MAIL FROM:<a@b.test>", "503 5.5.1");
    say(x, "DATA", "503 5.5.1");
    say(x, "RCPT TO:<nobody@b.test>", "550");
    say(x, "DATA", "503 5.5.1");
    say(x, "RSET", "250 2.0.0");
    say(x, "RCPT TO:<bob@b.test>", "503 5.5.1");
    say(x, "VRFY bob", "252 2.5.2");
    say(x, "HELP", "214 2.0.0");
    end(x);
}

static void too_many_bad_commands_end_the_session(void **state)
{
    struct fixture *x = start_greeted(answers);
    for (int i = 0; i < 5; i++)
        say(x, "NONSENSE", "500 5.5.1");
    (void)talk_say(&x->talk, "NONSENSE", "421 4.7.0");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void an_overlong_line_is_refused_once(void **state)
{
    struct fixture *x = start_greeted(answers);
    struct buf line CLEANUP(buf_free) = {0};
    while (line.n < 100 * KB)
        buf_put(&line, STR("NOOP xxxxxxxxxxxxxxxxxxxxx"));
    talk_send(&x->talk, buf_str(&line));
    say(x, "", "500 5.5.2");
    say(x, "NOOP", "250 2.0.0");
    end(x);
}

static void without_a_backend_recipients_wait_for_one(void **state)
{
    struct fixture *x = start_greeted(answers);
    bench_backend_down(&x->bench);
    say(x, "MAIL FROM:<a@b.test>", "250");
    talk_send(&x->talk, STR("RCPT TO:<bob@b.test>\r\n"));
    bench_backend_up(&x->bench);
    (void)talk_expect(&x->talk, "250 2.1.5");
    bench_backend_down(&x->bench);
    x->bench.settings.request_timeout = 20;
    (void)talk_expect(&x->talk, "\r\n");
    say(x, "RCPT TO:<carol@b.test>", "451 4.3.0");
    end(x);
}

static void deliver_large(struct fixture *x, const char *want)
{
    struct buf text CLEANUP(buf_free) = {0};
    while (text.n < 200 * KB)
        buf_put(&text, STR("0123456789abcdef\r\n"));
    say(x, "DATA", "354");
    talk_send(&x->talk, buf_str(&text));
    say(x, ".", want);
    if (want[0] == '2')
        assert_message(x, buf_str(&text));
}

static void a_backend_that_dies_while_delivering_is_followed_without_a_word(void **state)
{
    struct fixture *x = start_greeted(dies_and_is_followed);
    mail_to(x, "bob");
    say(x, "RCPT TO:<carol@example.test>", "250");
    say(x, "DATA", "354");
    talk_send(&x->talk, STR("x\r\n.\r\n"));
    (void)talk_expect(&x->talk, "250 2.0.0 <bob@example.test>");
    (void)talk_expect(&x->talk, "250 2.0.0 <carol@example.test>");
    (void)talk_expect(&x->talk, "\r\n");
    assert_message(x, STR("x\r\n"));
    x->bench.answer = dies_and_is_followed;
    mail_to(x, "bob");
    deliver_large(x, "250 2.0.0");
    say(x, "NOOP", "250 2.0.0 Ok");
    end(x);
}

static void a_backend_that_dies_while_delivering_is_a_temporary_failure_in_time(void **state)
{
    struct fixture *x = start_greeted(dies);
    x->bench.settings.request_timeout = 20;
    mail_to(x, "bob");
    say(x, "RCPT TO:<carol@example.test>", "250");
    say(x, "DATA", "354");
    talk_send(&x->talk, STR("x\r\n.\r\n"));
    (void)talk_expect(&x->talk, "451 4.3.0 <bob@example.test>");
    (void)talk_expect(&x->talk, "451 4.3.0 <carol@example.test>");
    (void)talk_expect(&x->talk, "\r\n");
    bench_backend_up(&x->bench);
    x->bench.answer = answers;
    mail_to(x, "bob");
    say(x, "DATA", "354");
    say(x, ".", "250 2.0.0");
    end(x);
}

static bool is_down(void *arg)
{
    return !((struct bench *)arg)->control;
}

static void a_delivery_is_repeated_under_its_id(void **state)
{
    struct fixture *x = start_greeted(dies);
    mail_to(x, "bob");
    say(x, "DATA", "354");
    talk_send(&x->talk, STR("x\r\n.\r\n"));
    bench_run(&x->bench, is_down, &x->bench);
    x->bench.answer = answers_the_same;
    bench_backend_up(&x->bench);
    (void)talk_expect(&x->talk, "250 2.0.0 <bob@example.test>");
    end(x);
}

static void a_backend_that_dies_between_commands_is_not_noticed(void **state)
{
    struct fixture *x = start_greeted(answers);
    mail_to(x, "bob");
    bench_backend_down(&x->bench);
    bench_backend_up(&x->bench);
    say(x, "NOOP", "250");
    say(x, "RCPT TO:<carol@example.test>", "250 2.1.5");
    say(x, "DATA", "354");
    talk_send(&x->talk, STR("half"));
    bench_backend_down(&x->bench);
    bench_backend_up(&x->bench);
    talk_send(&x->talk, STR("\r\n.\r\n"));
    (void)talk_expect(&x->talk, "250 2.0.0 <bob@example.test>");
    (void)talk_expect(&x->talk, "250 2.0.0 <carol@example.test>");
    end(x);
}

static void a_backend_that_dies_over_a_recipient_is_followed_too(void **state)
{
    struct fixture *x = start_greeted(dies_at_recipient_and_is_followed);
    say(x, "MAIL FROM:<a@b.test>", "250");
    say(x, "RCPT TO:<bob@b.test>", "250 2.1.5");
    x->bench.answer = dies_at_recipient;
    x->bench.settings.request_timeout = 20;
    say(x, "RCPT TO:<carol@b.test>", "451 4.3.0");
    end(x);
}

static void a_silent_backend_is_a_temporary_failure_in_time(void **state)
{
    struct fixture *x = start_greeted(is_silent);
    x->bench.settings.request_timeout = 20;
    say(x, "MAIL FROM:<a@b.test>", "250");
    say(x, "RCPT TO:<bob@b.test>", "451 4.3.0");
    end(x);
}

static void an_answer_that_does_not_fit_is_not_believed(void **state)
{
    struct fixture *x = start_greeted(answers_wrongly);
    say(x, "MAIL FROM:<a@b.test>", "250");
    say(x, "RCPT TO:<bob@b.test>", "451 4.3.0");
    x->bench.answer = sends_what_was_not_asked;
    say(x, "RCPT TO:<bob@b.test>", "451 4.3.0");
    x->bench.answer = forgets_a_recipient;
    say(x, "RCPT TO:<bob@b.test>", "250");
    say(x, "DATA", "354");
    say(x, ".", "451 4.3.0");
    say(x, "NOOP", "250");
    end(x);
}

static void a_silent_client_is_told_goodbye(void **state)
{
    struct fixture *x = start(answers);
    x->bench.settings.lmtp_timeout = 20;
    say(x, "NOOP", "250");
    (void)talk_expect(&x->talk, "421 4.4.2");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void a_connection_too_many_is_told_so(void **state)
{
    struct fixture *x = start(answers);
    x->bench.settings.max_connections = 1;
    struct talk more;
    talk_open(&more, &x->bench, THURN__LISTENER_KIND__LISTEN_LMTP);
    assert_true(str_starts(talk_expect_close(&more), STR("421 4.3.2")));
    (void)close(more.fd);
    buf_free(&more.got);
    say(x, "NOOP", "250");
    end(x);
}

static void stopping_says_goodbye(void **state)
{
    struct fixture *x = start_greeted(answers);
    role_frontend.stop(&x->bench.role);
    (void)talk_expect(&x->talk, "421 4.3.2");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static void one_who_reads_nothing_is_not_answered_for_ever(void **state)
{
    struct fixture *x = start_greeted(answers);
    talk_read(&x->talk, false);
    struct buf many CLEANUP(buf_free) = {0};
    while (many.n < 32 * KB)
        buf_put(&many, STR("HELP\r\n"));
    struct client *c = container_of(x->bench.fe->clients.next, struct client, link);
    size_t sent = 0;
    for (int i = 0; i < 2000; i++) {
        ssize_t n = send(x->talk.fd, many.p, many.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n - (size_t)n % 6 : 0;
        if (n > 0 && n % 6)
            talk_send(&x->talk, str_of(many.p + n % 6, 6 - (size_t)n % 6)), sent += 6;
        loop_post(x->bench.role.loop, (void (*)(void *))loop_stop, x->bench.role.loop);
        loop_run(x->bench.role.loop);
        assert_true(conn_backlog(c->conn) < 512 * KB);
    }
    assert_true(conn_backlog(c->conn) > 64 * KB);
    talk_read(&x->talk, true);
    for (size_t i = 0; i < sent / 6; i++)
        (void)talk_expect(&x->talk, "QUIT\r\n");
    say(x, "NOOP", "250");
    end(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_capabilities_are_those_of_the_design),
        cmocka_unit_test(a_message_is_delivered_with_one_answer_for_each_recipient),
        cmocka_unit_test(a_pipelined_transaction_is_answered_in_order),
        cmocka_unit_test(replies_to_pipelined_commands_come_together),
        cmocka_unit_test(replies_from_before_a_backend_was_lost_are_not_lost_with_it),
        cmocka_unit_test(a_session_works_one_byte_at_a_time),
        cmocka_unit_test(a_large_message_travels_in_sealed_memory),
        cmocka_unit_test(a_message_beyond_the_limit_is_refused_and_the_session_goes_on),
        cmocka_unit_test(commands_out_of_order_are_refused),
        cmocka_unit_test(too_many_bad_commands_end_the_session),
        cmocka_unit_test(an_overlong_line_is_refused_once),
        cmocka_unit_test(without_a_backend_recipients_wait_for_one),
        cmocka_unit_test(a_backend_that_dies_while_delivering_is_followed_without_a_word),
        cmocka_unit_test(a_delivery_is_repeated_under_its_id),
        cmocka_unit_test(a_backend_that_dies_while_delivering_is_a_temporary_failure_in_time),
        cmocka_unit_test(a_backend_that_dies_between_commands_is_not_noticed),
        cmocka_unit_test(a_backend_that_dies_over_a_recipient_is_followed_too),
        cmocka_unit_test(a_silent_backend_is_a_temporary_failure_in_time),
        cmocka_unit_test(an_answer_that_does_not_fit_is_not_believed),
        cmocka_unit_test(a_silent_client_is_told_goodbye),
        cmocka_unit_test(a_connection_too_many_is_told_so),
        cmocka_unit_test(stopping_says_goodbye),
        cmocka_unit_test(one_who_reads_nothing_is_not_answered_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
