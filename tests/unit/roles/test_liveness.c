/*
 * Who is taken for one that hangs, turn by turn of the supervisor. The other end of each channel is
 * played here.
 */
#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "../../../src/roles/supervisor/liveness.c"

enum { SCAN_TIMEOUT = 5000, HANG_TIMEOUT = 1000, TURN = HANG_TIMEOUT / TURNS };

static size_t kills;

const char *slot_name(const struct slot *s)
{
    return s->kind == THURN__ROLE_KIND__ROLE_SCANNER ? "scanner" : "backend";
}

void process_kill(struct process *p)
{
    p->ending = true;
    kills++;
}

static void on_frame(struct chan *c, struct frame *f, void *arg)
{
    if (f->type->number == RPC_ROLE_ALIVE)
        liveness_heard(arg);
    else
        (*(size_t *)arg)++;
    frame_free(f);
}

static void on_closed(struct chan *c, struct err why, void *arg)
{
    (void)c, (void)why, (void)arg;
    fail();
}

/* A supervisor with one role: its process here, the role's end there. */
struct house {
    Thurn__Settings settings;
    Thurn__Configuration config;
    struct supervisor s;
    struct slot slot;
    struct process p;
    struct chan *role;
    size_t pings;
};

static struct chan *channel(struct house *h, int fd, const struct chan_rule *rule, void *arg)
{
    static const struct chan_ops ops = {.frame = on_frame, .closed = on_closed};
    const struct chan_spec spec = {
        .table = &rpc_table, .rules = rule, .n_rules = 1, .ops = &ops, .arg = arg};
    struct chan *c;
    assert_int_equal(chan_new(h->s.loop, fd, &spec, &c).code, E_OK);
    return c;
}

static void house_open(struct house *h, Thurn__RoleKind kind, bool ready)
{
    static const struct chan_rule may_ping = {RPC_ROLE_PING, 1}, may_live = {RPC_ROLE_ALIVE, 1};
    int fds[2];
    *h = (struct house){.settings = THURN__SETTINGS__INIT, .config = THURN__CONFIGURATION__INIT};
    kills = 0;
    h->settings.hang_timeout = HANG_TIMEOUT;
    h->settings.scan_timeout = SCAN_TIMEOUT;
    h->config.settings = &h->settings;
    h->s.config = &h->config;
    h->s.slots = &h->slot;
    h->s.n_slots = 1;
    assert_int_equal(loop_new(&h->s.loop).code, E_OK);
    assert_int_equal(chan_pair(fds).code, E_OK);
    h->slot = (struct slot){.sup = &h->s, .kind = kind, .process = &h->p};
    h->p = (struct process){.slot = &h->slot, .ready = ready};
    h->p.chan = channel(h, fds[0], &may_live, &h->p);
    h->role = channel(h, fds[1], &may_ping, &h->pings);
}

static void house_close(struct house *h)
{
    chan_free(h->role);
    chan_free(h->p.chan);
    timer_free(h->s.liveness);
    loop_free(h->s.loop);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

/* What was said arrives. */
static void settle(struct house *h)
{
    for (size_t i = 0; i < 3; i++) {
        loop_post(h->s.loop, stop_loop, h->s.loop);
        loop_run(h->s.loop);
    }
}

static void say_alive(struct house *h)
{
    Thurn__RoleAlive m = THURN__ROLE_ALIVE__INIT;
    assert_int_equal(chan_send(h->role, RPC_ROLE_ALIVE, 0, &m.base, (struct str){0}, -1).code,
                     E_OK);
    settle(h);
}

/* Turns until it is ended, `most` if it is not. */
static size_t turns(struct house *h, size_t most)
{
    for (size_t i = 0; i < most; i++) {
        liveness_turn(&h->s);
        settle(h);
        if (kills)
            return i + 1;
    }
    return most;
}

static void one_that_answers_is_kept(void **state)
{
    struct house h;
    house_open(&h, THURN__ROLE_KIND__ROLE_BACKEND, true);
    for (size_t i = 0; i < (size_t)20 * TURNS; i++) {
        (void)turns(&h, 1);
        assert_int_equal(h.pings, i + 1);
        say_alive(&h);
    }
    assert_int_equal(kills, 0);
    house_close(&h);
}

static void one_that_does_not_answer_is_ended_once(void **state)
{
    struct house h;
    house_open(&h, THURN__ROLE_KIND__ROLE_BACKEND, true);
    assert_int_equal(turns(&h, 1000), 1 + TURNS); /* the first turn asks */
    assert_int_equal(h.pings, 1);                 /* nothing piles up */
    (void)turns(&h, 1000);
    for (size_t i = 0; i < 100; i++)
        liveness_turn(&h.s);
    assert_int_equal(kills, 1);
    house_close(&h);
}

static void an_answer_at_the_last_moment_counts(void **state)
{
    struct house h;
    house_open(&h, THURN__ROLE_KIND__ROLE_BACKEND, true);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(turns(&h, TURNS), TURNS);
        say_alive(&h);
    }
    assert_int_equal(kills, 0);
    house_close(&h);
}

/* However late the turn, it is one; what came in meanwhile is heard before the next. */
static void a_supervisor_that_stood_still_blames_nobody(void **state)
{
    struct house h;
    house_open(&h, THURN__ROLE_KIND__ROLE_BACKEND, true);
    assert_int_equal(turns(&h, TURNS - 1), TURNS - 1);
    liveness_turn(&h.s);
    assert_int_equal(kills, 0);
    say_alive(&h);
    assert_int_equal(turns(&h, TURNS), TURNS);
    house_close(&h);
}

static void a_scanner_may_be_silent_for_one_message_more(void **state)
{
    struct house h;
    house_open(&h, THURN__ROLE_KIND__ROLE_SCANNER, true);
    assert_int_equal(turns(&h, 1000), 1 + TURNS + SCAN_TIMEOUT / TURN + 1);
    house_close(&h);
}

static void a_start_may_take_long_and_for_ever_if_it_is_getting_on(void **state)
{
    struct house h;
    house_open(&h, THURN__ROLE_KIND__ROLE_BACKEND, false);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(turns(&h, TURNS * START_FACTOR - 1), TURNS * START_FACTOR - 1);
        say_alive(&h);
    }
    assert_int_equal(h.pings, 0); /* its loop does not turn yet */
    assert_int_equal(kills, 0);
    assert_int_equal(turns(&h, 1000), TURNS * START_FACTOR);
    house_close(&h);
}

static void who_is_ending_has_a_deadline_already(void **state)
{
    struct house h;
    house_open(&h, THURN__ROLE_KIND__ROLE_BACKEND, true);
    h.p.ending = true;
    assert_int_equal(turns(&h, 1000), 1000);
    house_close(&h);
}

int main(void)
{
    log_open("test", 0, LOG_ERROR + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_answers_is_kept),
        cmocka_unit_test(one_that_does_not_answer_is_ended_once),
        cmocka_unit_test(an_answer_at_the_last_moment_counts),
        cmocka_unit_test(a_supervisor_that_stood_still_blames_nobody),
        cmocka_unit_test(a_scanner_may_be_silent_for_one_message_more),
        cmocka_unit_test(a_start_may_take_long_and_for_ever_if_it_is_getting_on),
        cmocka_unit_test(who_is_ending_has_a_deadline_already),
    };
    return cmocka_run_group_tests_name("liveness", tests, NULL, NULL);
}
