/*
 * Every frame there is, said to the supervisor by each kind of role: what is not in its table ends
 * that role's process. The processes are children that only wait.
 */
#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/prctl.h>

#include "../../../src/roles/supervisor/slot.c"

static int role_fd; /* the end of the process started last */
static size_t probes;

struct err process_spawn(Thurn__RoleKind role, uint32_t index, pid_t *out_pid, int *out_fd)
{
    (void)role, (void)index;
    int fds[2];
    assert_int_equal(chan_pair(fds).code, E_OK);
    *out_pid = fork();
    if (*out_pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            (void)pause();
    }
    role_fd = fds[0];
    *out_fd = fds[1];
    return OK;
}

void handover_start(struct slot *slot)
{
    (void)slot;
}

void handover_announce_scanner(struct slot *scanner)
{
    (void)scanner;
}

void control_probe_result(struct supervisor *s, const Thurn__ProbeResult *result)
{
    (void)s, (void)result;
    probes++;
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

/* Long enough for what the socket holds to be read. */
static void some_turns(struct loop *l)
{
    for (size_t i = 0; i < 3; i++) {
        loop_post(l, stop_loop, l);
        loop_run(l);
    }
}

static void say(int fd, uint16_t type)
{
    uint8_t head[FRAME_HEAD] = {0};
    head[8] = (uint8_t)type;
    head[9] = (uint8_t)(type >> 8);
    assert_int_equal(write(fd, head, sizeof head), sizeof head);
}

/* Whether the process is killed for it; its end is taken note of. */
static bool is_killed_for(struct slot *slot, uint16_t type)
{
    struct process *p = slot->process;
    pid_t pid = p->pid;
    say(role_fd, type);
    some_turns(slot->sup->loop);
    bool hung_up = p->chan == NULL;
    if (!hung_up)
        (void)kill(pid, SIGTERM);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), hung_up ? SIGKILL : SIGTERM);
    process_free(p);
    slot->process = NULL;
    (void)close(role_fd);
    return hung_up;
}

static bool may_say(uint16_t type)
{
    return type == RPC_ROLE_READY || type == RPC_SCANNER_RETIRE || type == RPC_PROBE_RESULT ||
           type == RPC_ROLE_ALIVE;
}

static void a_role_that_says_what_it_may_not_is_killed(void **state)
{
    static const Thurn__RoleKind kinds[] = {THURN__ROLE_KIND__ROLE_FRONTEND,
                                            THURN__ROLE_KIND__ROLE_BACKEND};
    (void)state;
    struct supervisor s = {.announced = true};
    assert_int_equal(loop_new(&s.loop).code, E_OK);
    list_init(&s.processes);
    struct slot slots[ARRAY_LEN(kinds)];
    s.slots = slots;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        slots_add(&s, kinds[k], 1);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        for (size_t i = 0; i < rpc_table.n; i++) {
            uint16_t type = rpc_table.types[i].number;
            slot_start(&slots[k]);
            if (is_killed_for(&slots[k], type) == may_say(type))
                fail_msg("%s of a %s", rpc_table.types[i].name, slot_name(&slots[k]));
        }
    assert_int_equal(probes, ARRAY_LEN(kinds));
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        timer_free(slots[k].timer);
    loop_free(s.loop);
}

/* Deaths one after the other, each after so many milliseconds of service (none: it was never
 * ready), and the pause before the next start. */
static void the_next_start_is_put_off_only_for_one_that_cannot_stay_up(void **state)
{
    enum { DEATHS = 12, NONE = UINT32_MAX };
    static const struct {
        Thurn__RoleKind kind;
        size_t n;
        uint32_t served[DEATHS], pauses[DEATHS];
    } cases[] = {
        {THURN__ROLE_KIND__ROLE_BACKEND, 3, {9000000, 9000000, 9000000}, {0, 0, 0}},
        {THURN__ROLE_KIND__ROLE_BACKEND, 4, {500, 600, 500, 700}, {0, 0, 0, 0}},
        {THURN__ROLE_KIND__ROLE_FRONTEND, 5, {0, 10, 400, 2000, 0}, {0, 400, 800, 0, 400}},
        {THURN__ROLE_KIND__ROLE_BACKEND, 4, {NONE, NONE, 999, 6000}, {0, 400, 400, 0}},
        {THURN__ROLE_KIND__ROLE_SCANNER, 4, {0, 0, 0, 0}, {0, 100, 0, 100}},
        {THURN__ROLE_KIND__ROLE_SCANNER, 3, {NONE, NONE, NONE}, {0, 400, 800}},
        {THURN__ROLE_KIND__ROLE_BACKEND,
         12,
         {0},
         {0, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000, 30000}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slot slot = {.kind = cases[i].kind};
        for (size_t k = 0; k < cases[i].n; k++) {
            uint32_t served = cases[i].served[k];
            const struct process p = {.slot = &slot, .ready = served != NONE, .ready_us = 1000};
            uint32_t ms = slot_pause(&slot, &p, 1000 + (uint64_t)served * 1000);
            if (ms != cases[i].pauses[k])
                fail_msg("case %zu, death %zu: %u ms", i, k, ms);
        }
    }
}

int main(void)
{
    log_open("test", 0, LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_role_that_says_what_it_may_not_is_killed),
        cmocka_unit_test(the_next_start_is_put_off_only_for_one_that_cannot_stay_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
