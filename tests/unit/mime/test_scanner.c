/*
 * The scanner role, in a process of its own without a supervisor, asked over its channel. Built
 * with THURN_PROBE, so that messages can make it fail.
 */
#include "roles/role.h"

#include <setjmp.h>
#include <cmocka.h>
#include <sys/wait.h>

#include "mime/mime.h"

#include "../../../src/roles/scanner/scanner.c"

enum { DEADLINE_MS = 20000, ANSWERS = 8 };

static int supervisor_pipe; /* in the scanner's process: a byte for each time it was told */

void role_tell(struct role *r, uint16_t type, const ProtobufCMessage *m)
{
    check(type == RPC_SCANNER_RETIRE);
    check(write(supervisor_pipe, "r", 1) == 1);
}

void role_exit(struct role *r, int code)
{
    _exit(code);
}

/* Of the probe, which has no part in these tests. */
void probe_send_on(struct role *r, struct chan *c, uint16_t type)
{
    (void)r, (void)c, (void)type;
}

struct rig {
    struct loop *loop;
    struct chan *chan;
    struct timer *deadline;
    pid_t pid;
    int retired;
    size_t wanted, n;
    struct frame *answers[ANSWERS];
    bool closed;
    bool leaves; /* it is expected to end by itself */
};

static void rig_frame(struct chan *c, struct frame *f, void *arg)
{
    struct rig *r = arg;
    assert_true(r->n < ANSWERS);
    r->answers[r->n++] = f;
    if (r->n == r->wanted)
        loop_stop(r->loop);
}

static void rig_closed(struct chan *c, struct err why, void *arg)
{
    struct rig *r = arg;
    r->closed = true;
    loop_stop(r->loop);
}

static void rig_late(void *arg)
{
    fail_msg("the scanner did not answer");
}

/* The child: as role_run would drive it, without the sandbox. */
NORETURN static void run_scanner(int fd, int retired, Thurn__Settings *settings)
{
    struct role r = {.ops = &role_scanner, .settings = settings};
    struct buf explain CLEANUP(buf_free) = {0};
    Thurn__Peer peer = THURN__PEER__INIT;
    peer.role = THURN__ROLE_KIND__ROLE_BACKEND;
    supervisor_pipe = retired;
    check(loop_new(&r.loop).code == E_OK);
    check(role_scanner.prepare(&r, &explain).code == E_OK);
    role_scanner.peer(&r, &peer, fd);
    check(role_scanner.go(&r, &explain).code == E_OK);
    loop_run(r.loop);
    _exit(0);
}

static void rig_start(struct rig *r, uint32_t jobs)
{
    static const struct chan_rule rules[] = {{RPC_SCAN_PARSED, 1}};
    static const struct chan_ops ops = {.frame = rig_frame, .closed = rig_closed};
    Thurn__Settings settings = THURN__SETTINGS__INIT;
    settings.scanner_jobs = jobs;
    settings.scanner_lifetime = settings.scan_timeout = 60000;
    settings.scanner_memory = 1U << 30;
    int fds[2], retired[2];
    *r = (struct rig){0};
    assert_int_equal(chan_pair(fds).code, E_OK);
    assert_int_equal(pipe2(retired, O_CLOEXEC | O_NONBLOCK), 0);
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid == 0) {
        (void)close(fds[0]);
        run_scanner(fds[1], retired[1], &settings);
    }
    (void)close(fds[1]);
    (void)close(retired[1]);
    r->retired = retired[0];
    assert_int_equal(loop_new(&r->loop).code, E_OK);
    const struct chan_spec spec = {&rpc_table, rules, ARRAY_LEN(rules), &ops, r};
    assert_int_equal(chan_new(r->loop, fds[0], &spec, &r->chan).code, E_OK);
    r->deadline = timer_new(r->loop, rig_late, r);
    timer_set(r->deadline, DEADLINE_MS);
}

/* Ends the scanner; returns how it died. */
static int rig_end(struct rig *r)
{
    int status;
    chan_free(r->chan);
    for (size_t i = 0; i < r->n; i++)
        frame_free(r->answers[i]);
    timer_free(r->deadline);
    loop_free(r->loop);
    (void)close(r->retired);
    if (!r->leaves)
        (void)kill(r->pid, SIGTERM);
    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    return status;
}

/* E_CLOSED if the scanner has died. */
static struct err try_ask(struct rig *r, uint32_t serial, struct str message, bool sealed)
{
    Thurn__ScanParse m = THURN__SCAN_PARSE__INIT;
    m.size = message.n;
    struct sealed s = {.fd = -1};
    if (sealed) {
        assert_int_equal(sealed_new(&s, message.n).code, E_OK);
        assert_int_equal(sealed_put(&s, message).code, E_OK);
        assert_int_equal(sealed_finish(&s).code, E_OK);
    }
    struct str raw = sealed ? (struct str){0} : message;
    struct err e = chan_send(r->chan, RPC_SCAN_PARSE, serial, &m.base, raw, s.fd);
    sealed_free(&s);
    return e;
}

static void ask(struct rig *r, uint32_t serial, struct str message, bool sealed)
{
    assert_int_equal(try_ask(r, serial, message, sealed).code, E_OK);
}

static void wait_for(struct rig *r, size_t answers)
{
    r->wanted = answers;
    while (r->n < answers && !r->closed)
        loop_run(r->loop);
}

static const Thurn__Email *record_of(struct rig *r, size_t i)
{
    const Thurn__ScanParsed *m = (const Thurn__ScanParsed *)r->answers[i]->message;
    ProtobufCMessage *e =
        pb_unpack(&r->answers[i]->arena, &thurn__email__descriptor, pb_str(m->record));
    assert_non_null(e);
    return (const Thurn__Email *)e;
}

static void messages_are_answered_in_order_with_their_records(void **state)
{
    struct rig r;
    rig_start(&r, 0);
    ask(&r, 7, STR("Subject: one\r\n\r\nx"), false);
    ask(&r, 8, STR("Subject: two\r\n\r\nx"), true);
    wait_for(&r, 2);
    assert_int_equal(r.answers[0]->serial, 7);
    assert_int_equal(r.answers[1]->serial, 8);
    assert_true(str_eq(pb_str(record_of(&r, 1)->envelope->subject), STR("two")));
    (void)rig_end(&r);
}

static void long_text_comes_as_sealed_memory(void **state)
{
    struct rig r;
    struct buf b CLEANUP(buf_free) = {0};
    buf_put(&b, STR("Content-Type: text/plain; charset=koi8-r\n\n"));
    for (size_t i = 0; i < 100000; i++)
        buf_byte(&b, 0xC1);
    rig_start(&r, 0);
    ask(&r, 1, buf_str(&b), true);
    wait_for(&r, 1);
    const Thurn__ScanParsed *m = (const Thurn__ScanParsed *)r.answers[0]->message;
    assert_int_equal(m->text_size, 200000);
    struct str text;
    assert_int_equal(sealed_map(r.answers[0]->fd, m->text_size, &text).code, E_OK);
    assert_true(str_starts(text, STR("\xd0\xb0\xd0\xb0")));
    sealed_unmap(text);
    (void)rig_end(&r);
}

static void a_record_that_would_be_too_large_is_made_with_less(void **state)
{
    struct rig r;
    struct buf b CLEANUP(buf_free) = {0};
    buf_put(&b, STR("Content-Type: multipart/mixed; boundary=b\n\n"));
    for (size_t i = 0; i < 9000; i++)
        buf_printf(&b, "--b\nContent-Description: %01000d\n\nx\n", 7);
    rig_start(&r, 0);
    ask(&r, 1, buf_str(&b), true);
    wait_for(&r, 1);
    assert_int_equal(r.n, 1);
    assert_true(record_of(&r, 0)->broken & THURN__EMAIL__BROKEN__LIMIT_REACHED);
    assert_int_equal(record_of(&r, 0)->n_parts, 500);
    (void)rig_end(&r);
}

static void a_crash_leaves_the_answers_before_it(void **state)
{
    struct rig r;
    rig_start(&r, 0);
    ask(&r, 1, STR("Subject: good\n\n"), false);
    ask(&r, 2, STR("Subject: good\n\n"), false);
    ask(&r, 3, STR("X-Thurn-Probe: crash\n\n"), false);
    struct err late = try_ask(&r, 4, STR("Subject: good\n\n"), false);
    assert_true(late.code == E_OK || late.code == E_CLOSED);
    wait_for(&r, 4);
    assert_true(r.closed);
    assert_int_equal(r.n, 2);
    int status = rig_end(&r);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void it_says_once_that_it_has_done_its_number_and_serves_on(void **state)
{
    struct rig r;
    rig_start(&r, 2);
    for (uint32_t i = 0; i < 5; i++)
        ask(&r, i, STR("Subject: x\n\n"), false);
    wait_for(&r, 5);
    assert_int_equal(r.n, 5);
    char told[8];
    assert_int_equal(read(r.retired, told, sizeof told), 1);
    r.leaves = true;
    int status = rig_end(&r);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_message_of_another_size_ends_the_channel(void **state)
{
    struct rig r;
    rig_start(&r, 0);
    Thurn__ScanParse m = THURN__SCAN_PARSE__INIT;
    m.size = 100;
    assert_int_equal(chan_send(r.chan, RPC_SCAN_PARSE, 1, &m.base, STR("short"), -1).code, E_OK);
    wait_for(&r, 1);
    assert_true(r.closed);
    (void)rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_answered_in_order_with_their_records),
        cmocka_unit_test(long_text_comes_as_sealed_memory),
        cmocka_unit_test(a_record_that_would_be_too_large_is_made_with_less),
        cmocka_unit_test(a_crash_leaves_the_answers_before_it),
        cmocka_unit_test(it_says_once_that_it_has_done_its_number_and_serves_on),
        cmocka_unit_test(a_message_of_another_size_ends_the_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
