/*
 * Roles that hang: alive for the kernel, but of no use, and holding what a successor needs. The
 * supervisor asks each role in charge for a sign of life, which its loop gives; one that has given
 * none for hang_timeout is ended, and replaced as if it had crashed.
 *
 * The time is counted in turns of this loop, never by the clock. While the supervisor did not run
 * itself - the machine was suspended, the processes were stopped together - it has had no turns,
 * and what it cannot have heard is nobody's fault.
 */
#include "roles/supervisor/private.h"

enum {
    TURNS = 5, /* in hang_timeout */
    TURN_LEAST_MS = 100,
    START_FACTOR = 10, /* a start may be silent for so much longer: see patience */
};

static uint64_t turn_ms(const struct supervisor *s)
{
    return MAX((uint64_t)s->config->settings->hang_timeout / TURNS, (uint64_t)TURN_LEAST_MS);
}

/* For how many turns a process may be silent. A start that reads its log says that it is getting
 * on; opening a large index on a slow disk cannot, and ending it would only make it begin anew. A
 * scanner is silent while it works on a message; for that it has scan_timeout, which its owner
 * watches. */
static uint64_t patience(const struct process *p)
{
    const struct supervisor *s = p->slot->sup;
    if (!p->ready)
        return (uint64_t)TURNS * START_FACTOR;
    if (p->slot->kind == THURN__ROLE_KIND__ROLE_SCANNER)
        return TURNS + s->config->settings->scan_timeout / turn_ms(s) + 1;
    return TURNS;
}

static void process_hangs(struct process *p)
{
    log_error("role.hung", LF_C("of", slot_name(p->slot)), LF_U64("number", p->slot->index),
              LF_U64("pid", p->pid), LF_U64("silent_ms", p->silent * turn_ms(p->slot->sup)));
    process_kill(p); /* no SIGABRT: roles are not dumpable, there would be no core */
}

static void process_ask(struct process *p)
{
    Thurn__RolePing m = THURN__ROLE_PING__INIT;
    p->asked = true;
    struct err e = chan_send(p->chan, RPC_ROLE_PING, 0, &m.base, (struct str){0}, -1);
    if (e.code)
        log_debug("role.not-asked", LF_ERR(e));
}

/* One that ends, or has hung up, has a deadline already. It is asked again when it has answered, so
 * that no pings wait for one that is stopped. */
static void process_turn(struct process *p)
{
    if (p->ending || !p->chan)
        return;
    if ((p->asked || !p->ready) && ++p->silent >= patience(p))
        process_hangs(p);
    else if (p->ready && !p->asked)
        process_ask(p);
}

static void liveness_turn(void *arg)
{
    struct supervisor *s = arg;
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].process)
            process_turn(s->slots[i].process);
    liveness_set(s);
}

void liveness_heard(struct process *p)
{
    p->asked = false;
    p->silent = 0;
}

void liveness_set(struct supervisor *s)
{
    if (!s->liveness)
        s->liveness = timer_new(s->loop, liveness_turn, s);
    timer_set(s->liveness, s->config->settings->hang_timeout ? turn_ms(s) : 0);
}
