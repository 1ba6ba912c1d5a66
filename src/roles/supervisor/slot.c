#include "roles/supervisor/private.h"

#include <sys/wait.h>

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MOST_MS = 30000,
    AMENDS_US = 500000, /* of service make up for one death: several times what a start costs */
    STOP_MS = 8000,
    STATE_ONLY = 1,
    EXIT_HOPELESS = 3, /* a role's word that trying again is of no use: roles/role.c */
};

const char *slot_name(const struct slot *s)
{
    return s->kind == THURN__ROLE_KIND__ROLE_FRONTEND  ? "frontend"
           : s->kind == THURN__ROLE_KIND__ROLE_BACKEND ? "backend"
                                                       : "scanner";
}

static void slot_enter(struct slot *s, Thurn__RoleState state)
{
    s->state = state;
    s->since_us = clock_mono_us();
}

struct slot *slot_find(struct supervisor *s, Thurn__RoleKind kind, uint32_t index)
{
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].kind == kind && s->slots[i].index == index)
            return &s->slots[i];
    return NULL;
}

static void slot_begin_again(void *arg)
{
    slot_start(arg);
}

static void slots_add(struct supervisor *s, Thurn__RoleKind kind, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct slot *slot = &s->slots[s->n_slots++];
        *slot = (struct slot){.sup = s, .kind = kind, .index = i};
        slot_enter(slot, THURN__ROLE_STATE__STATE_RESTARTING);
        slot->timer = timer_new(s->loop, slot_begin_again, slot);
    }
}

void slots_make(struct supervisor *s)
{
    const Thurn__Configuration *c = s->config;
    s->slots = mem_alloc((1 + c->frontends + c->settings->scanners) * sizeof *s->slots);
    slots_add(s, THURN__ROLE_KIND__ROLE_BACKEND, 1);
    slots_add(s, THURN__ROLE_KIND__ROLE_SCANNER, c->settings->scanners);
    slots_add(s, THURN__ROLE_KIND__ROLE_FRONTEND, c->frontends);
}

/* ------------------------------------------------------------------------- what a role may say */

static const struct chan_rule supervisor_rules[] = {
    {RPC_ROLE_READY, STATE_ONLY},
    {RPC_SCANNER_RETIRE, STATE_ONLY},
    {RPC_PROBE_RESULT, STATE_ONLY},
    {RPC_ROLE_ALIVE, STATE_ONLY},
};

static void process_ends(struct process *p)
{
    if (!p->ending && p->slot->process == p)
        slot_enter(p->slot, THURN__ROLE_STATE__STATE_ENDING);
    p->ending = true;
}

void process_kill(struct process *p)
{
    process_ends(p);
    (void)kill(p->pid, SIGKILL);
}

static void process_late(void *arg)
{
    struct process *p = arg;
    log_warn("role.killed", LF_C("of", slot_name(p->slot)), LF_U64("pid", p->pid));
    process_kill(p);
}

void process_stop(struct process *p, uint32_t ms)
{
    Thurn__RoleStop m = THURN__ROLE_STOP__INIT;
    if (!p->chan || chan_send(p->chan, RPC_ROLE_STOP, 0, &m.base, (struct str){0}, -1).code)
        ms = 1;
    process_ends(p);
    timer_set(p->deadline, ms);
}

static void announce_when_all_ready(struct supervisor *s)
{
    for (size_t i = 0; i < s->n_slots; i++)
        if (!s->slots[i].process || !s->slots[i].process->ready)
            return;
    if (s->announced)
        return;
    s->announced = true;
    log_info("thurn.ready", LF_C("config", s->config_path));
    notify_state(s, STR("READY=1"));
    if (s->note) {
        (void)printf("thurn is ready\n");
        (void)fflush(stdout);
    }
}

static void process_ready(struct process *p)
{
    p->ready = true;
    p->ready_us = clock_mono_us();
    liveness_heard(p);
    if (p->slot->process == p && !p->ending)
        slot_enter(p->slot, THURN__ROLE_STATE__STATE_READY);
    if (p->slot->kind == THURN__ROLE_KIND__ROLE_SCANNER)
        handover_announce_scanner(p->slot);
    announce_when_all_ready(p->slot->sup);
}

/* Only a new process gets new channels: one that is left without would serve nobody. */
static void frontend_retire(struct supervisor *s, const Thurn__ScannerRetire *m)
{
    struct slot *slot = slot_find(s, THURN__ROLE_KIND__ROLE_FRONTEND, m->index);
    struct process *p = slot ? slot->process : NULL;
    if (!p || p->generation != m->generation)
        return;
    log_error("role.broke-a-rule", LF_C("of", slot_name(slot)), LF_U64("pid", p->pid),
              LF_STR("why", pb_str(m->reason)));
    process_kill(p);
}

/* The backend names a faulty scanner, a scanner its own end: the successor is started at once; the
 * old one finishes its jobs, or is killed. */
static void scanner_retire(struct process *from, const Thurn__ScannerRetire *m)
{
    bool own = from->slot->kind == THURN__ROLE_KIND__ROLE_SCANNER;
    if (!own && from->slot->kind != THURN__ROLE_KIND__ROLE_BACKEND)
        return;
    struct slot *slot =
        own ? from->slot : slot_find(from->slot->sup, THURN__ROLE_KIND__ROLE_SCANNER, m->index);
    struct process *p = slot ? slot->process : NULL;
    if (!p || p->generation != (own ? from->generation : m->generation))
        return;
    slot->process = NULL;
    if (own) {
        timer_set(p->deadline, slot->sup->config->settings->scan_timeout + STOP_MS);
        log_debug("scanner.replaced", LF_U64("number", slot->index),
                  LF_STR("reason", pb_str(m->reason)));
    } else {
        log_warn("scanner.ended", LF_U64("number", slot->index), LF_U64("pid", p->pid),
                 LF_STR("reason", pb_str(m->reason)));
        process_kill(p);
        slot->restarts++;
    }
    slot_start(slot);
}

static void process_retire(struct process *from, const Thurn__ScannerRetire *m)
{
    bool backend = from->slot->kind == THURN__ROLE_KIND__ROLE_BACKEND;
    if (backend && m->role == THURN__ROLE_KIND__ROLE_FRONTEND)
        frontend_retire(from->slot->sup, m);
    else
        scanner_retire(from, m);
}

static void process_frame(struct chan *c, struct frame *f, void *arg)
{
    struct process *p = arg;
    if (f->type->number == RPC_ROLE_READY)
        process_ready(p);
    else if (f->type->number == RPC_SCANNER_RETIRE)
        process_retire(p, (const Thurn__ScannerRetire *)f->message);
    else if (f->type->number == RPC_ROLE_ALIVE)
        liveness_heard(p);
    else
        control_probe_result(p->slot->sup, (const Thurn__ProbeResult *)f->message);
    frame_free(f);
}

/* A role that hung up is about to end; one that broke a rule is ended. */
static void process_hung_up(struct chan *c, struct err why, void *arg)
{
    struct process *p = arg;
    chan_free(c);
    p->chan = NULL;
    if (why.code != E_CLOSED) {
        log_error("role.broke-a-rule", LF_C("of", slot_name(p->slot)), LF_U64("pid", p->pid),
                  LF_ERR(why));
        process_kill(p);
    }
    process_ends(p);
    timer_set(p->deadline, STOP_MS);
}

/* ------------------------------------------------------------------------------ start and end */

static uint32_t pause_after(uint32_t failures)
{
    return MIN((uint32_t)BACKOFF_FIRST_MS << MIN(failures, 10U), (uint32_t)BACKOFF_MOST_MS);
}

/* How long the successor of one that died has to wait, in milliseconds. Pauses are for those that
 * cannot stay up: each death in short order makes the next pause longer. For one that had served
 * for a while a pause would only cost its users more than its start does. */
static uint32_t slot_pause(struct slot *slot, const struct process *p, uint64_t now_us)
{
    uint64_t served = p->ready ? now_us - p->ready_us : 0;
    slot->failures -= (uint32_t)MIN((uint64_t)slot->failures, served / AMENDS_US);
    if (slot->failures++ == 0)
        return 0;
    /* A scanner that had come up has died of a message. Others wait for its successor, and each
     * such message costs its sender a delivery: no growing pauses. */
    if (p->ready && slot->kind == THURN__ROLE_KIND__ROLE_SCANNER)
        slot->failures = 0;
    return pause_after(slot->failures);
}

static void slot_start_in(struct slot *slot, uint32_t ms)
{
    if (ms)
        timer_set(slot->timer, ms);
    else
        slot_start(slot);
}

void slot_start(struct slot *slot)
{
    static const struct chan_ops ops = {.frame = process_frame, .closed = process_hung_up};
    struct supervisor *s = slot->sup;
    int fd = -1;
    if (slot->process || s->stopping)
        return;
    timer_set(slot->timer, 0);
    struct process *p = mem_alloc(sizeof *p);
    *p = (struct process){.slot = slot, .peer_fd = -1};
    struct err e = process_spawn(slot->kind, slot->index, &p->pid, &fd);
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = supervisor_rules,
                                   .n_rules = ARRAY_LEN(supervisor_rules),
                                   .ops = &ops,
                                   .arg = p};
    if (!e.code)
        e = chan_new(s->loop, fd, &spec, &p->chan);
    if (e.code) {
        log_error("role.not-started", LF_C("of", slot_name(slot)), LF_ERR(e));
        free(p);
        slot_start_in(slot, pause_after(++slot->failures));
        return;
    }
    p->generation = ++slot->generation;
    p->deadline = timer_new(s->loop, process_late, p);
    list_append(&s->processes, &p->link);
    slot->process = p;
    slot_enter(slot, THURN__ROLE_STATE__STATE_STARTING);
    handover_start(slot);
}

static void process_free(struct process *p)
{
    list_remove(&p->link);
    timer_free(p->deadline);
    if (p->chan)
        chan_free(p->chan);
    if (p->peer_fd >= 0)
        (void)close(p->peer_fd);
    free(p);
}

static void log_death(const struct process *p, int status)
{
    bool killed = WIFSIGNALED(status);
    log_write(status == 0 ? LOG_DEBUG : LOG_WARN, "role.ended",
              LOG_FIELDS(LF_C("of", slot_name(p->slot)), LF_U64("number", p->slot->index),
                         LF_U64("pid", p->pid),
                         LF_U64(killed ? "signal" : "status",
                                killed ? WTERMSIG(status) : WEXITSTATUS(status))));
}

/* The one in charge has ended: a place to be filled again. */
static void slot_vacant(struct slot *slot, const struct process *p, int status)
{
    struct supervisor *s = slot->sup;
    slot->process = NULL;
    slot_enter(slot, THURN__ROLE_STATE__STATE_RESTARTING);
    bool hopeless = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_HOPELESS;
    if (s->stopping)
        return;
    if (hopeless && !s->announced) {
        supervisor_stop(s, 1);
        return;
    }
    slot->restarts++;
    bool clean = status == 0 || slot->wanted_restart;
    slot->wanted_restart = false;
    slot_start_in(slot, clean ? 0 : slot_pause(slot, p, clock_mono_us()));
}

static struct process *process_of_pid(struct supervisor *s, pid_t pid)
{
    list_each (l, &s->processes) {
        struct process *p = container_of(l, struct process, link);
        if (p->pid == pid)
            return p;
    }
    return NULL;
}

/* While stopping: the backend follows when the last frontend has gone, the loop ends when all have.
 */
static void stop_next(struct supervisor *s)
{
    bool frontends = false;
    list_each (l, &s->processes)
        frontends |=
            container_of(l, struct process, link)->slot->kind == THURN__ROLE_KIND__ROLE_FRONTEND;
    if (list_empty(&s->processes)) {
        loop_stop(s->loop);
        return;
    }
    if (frontends || s->backend_stopping)
        return;
    s->backend_stopping = true;
    list_each (l, &s->processes)
        process_stop(container_of(l, struct process, link), STOP_MS);
}

void slots_reap(struct supervisor *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        struct process *p = process_of_pid(s, pid);
        if (!p)
            continue;
        log_death(p, status);
        struct slot *slot = p->slot;
        struct process ended = *p;
        bool in_charge = slot->process == p;
        if (s->probe_asker && s->probe_pid == pid)
            control_probe_result(s, NULL);
        process_free(p);
        if (in_charge)
            slot_vacant(slot, &ended, status);
    }
    if (s->stopping)
        stop_next(s);
}

void supervisor_stop(struct supervisor *s, int exit_code)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->exit_code = exit_code;
    log_info("thurn.stopping");
    notify_state(s, STR("STOPPING=1"));
    list_each (l, &s->processes) {
        struct process *p = container_of(l, struct process, link);
        if (p->slot->kind == THURN__ROLE_KIND__ROLE_FRONTEND)
            process_stop(p, STOP_MS);
    }
    stop_next(s);
}
