#include "base/base.h"

#include "frontend_bench.h"

#include <setjmp.h>
#include <cmocka.h>

#define LOGIN "the login of alice"

/* ------------------------------------------------------------------------------------- the backend
 */

static void answer_recipient(struct fake_session *s, const struct frame *f)
{
    const Thurn__LmtpRecipient *m = (const Thurn__LmtpRecipient *)f->message;
    bool foreign = str_eq(pb_str(m->address->domain), STR("elsewhere.test"));
    Thurn__Status status = RPC_STATUS(THURN__CODE__DONE, "");
    status.code = foreign ? THURN__CODE__NOT_FOUND : THURN__CODE__DONE;
    Thurn__LmtpRecipientAnswer a = THURN__LMTP_RECIPIENT_ANSWER__INIT;
    a.status = &status;
    a.foreign = foreign;
    assert_int_equal(
        chan_send(s->chan, RPC_LMTP_RECIPIENT_ANSWER, f->serial, &a.base, STR(""), -1).code, E_OK);
}

static void answer_login(struct fake_session *s, const struct frame *f)
{
    const Thurn__SmtpLogin *m = (const Thurn__SmtpLogin *)f->message;
    Thurn__Status status = RPC_STATUS(THURN__CODE__DENIED, "wrong password");
    if (str_eq(pb_str(m->password), STR("secret")))
        status.code = THURN__CODE__DONE;
    Thurn__SmtpLoginAnswer a = THURN__SMTP_LOGIN_ANSWER__INIT;
    a.status = &status;
    if (status.code == THURN__CODE__DONE && !str_eq(pb_str(m->user), STR("bob")))
        a.resume = pb_bytes(STR(LOGIN));
    assert_int_equal(
        chan_send(s->chan, RPC_SMTP_LOGIN_ANSWER, f->serial, &a.base, STR(""), -1).code, E_OK);
}

/* The local part says what becomes of its delivery. */
static Thurn__Code outcome(struct str local)
{
    return str_eq(local, STR("full"))      ? THURN__CODE__OVER_QUOTA
           : str_eq(local, STR("failing")) ? THURN__CODE__TEMPORARY
                                           : THURN__CODE__DONE;
}

static void answer_deliver(struct fake_session *s, const struct frame *f)
{
    const Thurn__LmtpDeliver *m = (const Thurn__LmtpDeliver *)f->message;
    Thurn__Status status[8], *list[8];
    for (size_t i = 0; i < m->n_recipients; i++) {
        status[i] = RPC_STATUS(THURN__CODE__DONE, "");
        status[i].code = outcome(pb_str(m->recipients[i]->local));
        list[i] = &status[i];
    }
    Thurn__LmtpDeliverAnswer a = THURN__LMTP_DELIVER_ANSWER__INIT;
    a.recipients = list;
    a.n_recipients = m->n_recipients;
    assert_int_equal(
        chan_send(s->chan, RPC_LMTP_DELIVER_ANSWER, f->serial, &a.base, STR(""), -1).code, E_OK);
}

static bool answers(struct fake_session *s, struct frame *f)
{
    switch (f->type->number) {
    case RPC_LMTP_RECIPIENT: answer_recipient(s, f); break;
    case RPC_SMTP_LOGIN: answer_login(s, f); break;
    default: answer_deliver(s, f); break;
    }
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

static void reborn(void *arg)
{
    struct bench *b = arg;
    bench_backend_down(b);
    b->answer = answers;
    bench_backend_up(b);
}

static bool dies_and_is_followed(struct fake_session *s, struct frame *f)
{
    loop_post(s->bench->role.loop, reborn, s->bench);
    return true;
}

static void hang_up(void *arg)
{
    bench_hang_up(arg);
}

/* As when the record is not good. */
static bool ends_the_session(struct fake_session *s, struct frame *f)
{
    loop_post(s->bench->role.loop, hang_up, s->bench);
    return true;
}

/* ----------------------------------------------------------------------------------------- fixture
 */

struct fixture {
    struct bench bench;
    struct talk talk;
};

static struct fixture *start(Thurn__ListenerKind kind)
{
    struct fixture *x = mem_alloc(sizeof *x);
    bench_start(&x->bench);
    x->bench.answer = answers;
    talk_open(&x->talk, &x->bench, kind);
    (void)talk_expect(&x->talk, "220 mx.example.test ESMTP Thurn ready\r\n");
    (void)talk_say(&x->talk, "EHLO client.test", "250 SIZE 1048576\r\n");
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

/* One message to two recipients. */
static void send_to(struct fixture *x, const char *one, const char *two, const char *want)
{
    char line[100];
    say(x, "MAIL FROM:<a@example.org>", "250");
    (void)snprintf(line, sizeof line, "RCPT TO:<%s@example.test>", one);
    say(x, line, "250");
    (void)snprintf(line, sizeof line, "RCPT TO:<%s@example.test>", two);
    say(x, line, "250");
    say(x, "DATA", "354");
    say(x, "Subject: x\r\n\r\nx\r\n.", want);
    say(x, "NOOP", "250 2.0.0 Ok");
}

/* ------------------------------------------------------------------------------------------- tests
 */

static void a_message_is_taken_only_if_every_recipient_has_it(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_SMTP);
    send_to(x, "alice", "bob", "250 2.0.0");
    send_to(x, "alice", "failing", "451 4.3.0");
    send_to(x, "alice", "full", "451 4.3.0");
    send_to(x, "full", "failing", "451 4.3.0");
    send_to(x, "full", "full", "452 4.2.2");
    end(x);
}

static void other_domains_are_not_relayed_to(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_SMTP);
    say(x, "MAIL FROM:<a@example.org>", "250");
    say(x, "RCPT TO:<a@elsewhere.test>", "550 5.7.1 Relaying denied");
    end(x);
}

static void a_backend_that_dies_is_followed_or_is_a_temporary_failure(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_SMTP);
    say(x, "MAIL FROM:<a@example.org>", "250");
    say(x, "RCPT TO:<alice@example.test>", "250");
    x->bench.answer = dies_and_is_followed;
    say(x, "BDAT 3 LAST\r\nabcNOOP", "250 2.0.0 Message taken");
    (void)talk_expect(&x->talk, "250 2.0.0 Ok\r\n");
    say(x, "MAIL FROM:<a@example.org>", "250");
    say(x, "RCPT TO:<alice@example.test>", "250");
    x->bench.answer = dies;
    x->bench.settings.request_timeout = 20;
    say(x, "BDAT 3 LAST\r\nabcNOOP", "451 4.3.0");
    (void)talk_expect(&x->talk, "250 2.0.0 Ok\r\n");
    end(x);
}

static void a_backend_that_dies_over_a_login_is_followed_or_can_be_asked_again(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_SUBMISSION);
    x->bench.settings.request_timeout = 20;
    x->bench.answer = dies;
    say(x, "AUTH PLAIN AGFsaWNlAHNlY3JldA==", "454 4.7.0");
    x->bench.settings.request_timeout = 60000;
    bench_backend_up(&x->bench);
    x->bench.answer = dies_and_is_followed;
    say(x, "AUTH PLAIN AGFsaWNlAHdyb25n", "535 5.7.8");
    say(x, "MAIL FROM:<a@example.org>", "530 5.7.0");
    x->bench.answer = dies_and_is_followed;
    say(x, "AUTH LOGIN YWxpY2U=", "334 UGFzc3dvcmQ6");
    say(x, "c2VjcmV0", "235 2.7.0");
    send_to(x, "alice", "bob", "250 2.0.0");
    end(x);
}

static void a_login_goes_on_at_the_next_backend(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_SUBMISSION);
    say(x, "AUTH PLAIN AGFsaWNlAHNlY3JldA==", "235 2.7.0");
    bench_backend_down(&x->bench);
    bench_backend_up(&x->bench);
    send_to(x, "alice", "bob", "250 2.0.0");
    assert_true(str_eq(buf_str(&x->bench.resumed), STR(LOGIN)));
    say(x, "MAIL FROM:<a@example.org>", "250");
    x->bench.answer = dies_and_is_followed;
    say(x, "RCPT TO:<alice@example.test>", "250");
    x->bench.answer = dies_and_is_followed;
    say(x, "BDAT 3 LAST\r\nabcNOOP", "250 2.0.0 Message taken");
    assert_true(str_eq(buf_str(&x->bench.resumed), STR(LOGIN)));
    end(x);
}

static void a_login_that_the_next_backend_does_not_take_ends(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_SUBMISSION);
    say(x, "AUTH PLAIN AGFsaWNlAHNlY3JldA==", "235 2.7.0");
    say(x, "MAIL FROM:<a@example.org>", "250");
    x->bench.answer = ends_the_session;
    say(x, "RCPT TO:<alice@example.test>", "421 4.3.2");
    (void)talk_expect_close(&x->talk);
    end(x);
}

/* A backend that gives no record keeps its sessions to itself. */
static void a_login_without_a_record_ends_with_its_backend(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_SUBMISSION);
    say(x, "AUTH PLAIN AGJvYgBzZWNyZXQ=", "235 2.7.0");
    bench_backend_down(&x->bench);
    (void)talk_expect(&x->talk, "421 4.3.2");
    (void)talk_expect_close(&x->talk);
    end(x);
}

static bool somebody_is_gone(void *arg)
{
    return ((const struct bench *)arg)->n_gone > 0;
}

/* The backend remembers some of whom it hears this, for a while: the mail of a busy hour is not to
 * make it forget those who left while they were logging in. */
static void only_of_those_who_may_log_in_is_it_told_that_they_have_gone(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_SUBMISSION);
    struct talk mx;
    say(x, "AUTH PLAIN AGFsaWNlAHNlY3JldA==", "235 2.7.0");
    for (unsigned i = 0; i < 3; i++) {
        talk_open(&mx, &x->bench, THURN__LISTENER_KIND__LISTEN_SMTP);
        (void)talk_expect(&mx, "220 ");
        (void)talk_say(&mx, "EHLO mx.example.org", "250 SIZE");
        (void)talk_say(&mx, "MAIL FROM:<a@example.org>", "250 2.1.0");
        (void)talk_say(&mx, "RCPT TO:<alice@example.test>", "250 2.1.5");
        (void)talk_say(&mx, "QUIT", "221 ");
        (void)talk_expect_close(&mx);
        talk_close(&mx);
    }
    say(x, "QUIT", "221 ");
    (void)talk_expect_close(&x->talk);
    bench_run(&x->bench, somebody_is_gone, &x->bench);
    assert_int_equal(x->bench.n_gone, 1);
    end(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_taken_only_if_every_recipient_has_it),
        cmocka_unit_test(other_domains_are_not_relayed_to),
        cmocka_unit_test(a_backend_that_dies_is_followed_or_is_a_temporary_failure),
        cmocka_unit_test(a_backend_that_dies_over_a_login_is_followed_or_can_be_asked_again),
        cmocka_unit_test(a_login_goes_on_at_the_next_backend),
        cmocka_unit_test(a_login_that_the_next_backend_does_not_take_ends),
        cmocka_unit_test(a_login_without_a_record_ends_with_its_backend),
        cmocka_unit_test(only_of_those_who_may_log_in_is_it_told_that_they_have_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
