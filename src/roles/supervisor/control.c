#include "roles/supervisor/private.h"

#include <sys/socket.h>

/* One connection of the command line: asks once, is answered, and goes. */
struct control_client {
    struct supervisor *sup;
    struct chan *chan;
    uint32_t serial;
};

enum { STATE_ONLY = 1 };
static const struct chan_rule control_rules[] = {
    {RPC_CONTROL_RELOAD, STATE_ONLY},
    {RPC_CONTROL_RESTART, STATE_ONLY},
    {RPC_CONTROL_STATUS, STATE_ONLY},
    {RPC_CONTROL_PROBE, STATE_ONLY},
};

static void control_answer(struct control_client *c, Thurn__ControlAnswer *answer)
{
    struct err e =
        chan_send(c->chan, RPC_CONTROL_ANSWER, c->serial, &answer->base, (struct str){0}, -1);
    if (e.code)
        log_debug("control.gone", LF_ERR(e));
}

static void control_say(struct control_client *c, Thurn__Code code, struct str text)
{
    Thurn__ControlAnswer answer = THURN__CONTROL_ANSWER__INIT;
    Thurn__Status status = THURN__STATUS__INIT;
    status.code = code;
    status.text = pb_bytes(text);
    answer.status = &status;
    control_answer(c, &answer);
}

static void control_reload(struct control_client *c)
{
    struct supervisor *s = c->sup;
    struct arena fresh;
    arena_init(&fresh, 4 << 20);
    Thurn__Configuration *config;
    struct buf explain CLEANUP(buf_free) = {.max = 4096};
    struct err e = config_read(s->config_path, &fresh, &config, &explain);
    if (e.code) {
        log_error("config.refused", LF_STR("reason", buf_str(&explain)));
        control_say(c, THURN__CODE__INVALID, buf_str(&explain));
        arena_free(&fresh);
        return;
    }
    control_say(c, THURN__CODE__DONE, supervisor_take_configuration(s, &fresh, config));
}

static void control_restart(struct control_client *c, const Thurn__ControlRestart *m)
{
    enum { RESTART_MS = 8000 };
    size_t n = 0;
    for (size_t i = 0; i < c->sup->n_slots; i++) {
        struct slot *slot = &c->sup->slots[i];
        if (slot->kind != m->role || !slot->process)
            continue;
        slot->wanted_restart = true;
        process_stop(slot->process, RESTART_MS);
        n++;
    }
    control_say(c, n ? THURN__CODE__DONE : THURN__CODE__NOT_FOUND,
                n ? STR("restarting") : STR("no such role is running"));
}

static void control_status(struct control_client *c)
{
    struct supervisor *s = c->sup;
    Thurn__ControlAnswer answer = THURN__CONTROL_ANSWER__INIT;
    Thurn__Status status = THURN__STATUS__INIT;
    Thurn__RoleStatus *rows = mem_alloc(s->n_slots * sizeof *rows);
    Thurn__RoleStatus **refs = mem_alloc(s->n_slots * sizeof(void *));
    for (size_t i = 0; i < s->n_slots; i++) {
        const struct slot *slot = &s->slots[i];
        thurn__role_status__init(&rows[i]);
        rows[i].role = slot->kind;
        rows[i].index = slot->index;
        rows[i].pid = slot->process ? (uint32_t)slot->process->pid : 0;
        rows[i].generation = slot->generation;
        rows[i].restarts = slot->restarts;
        rows[i].state = slot->state;
        rows[i].since = (clock_mono_us() - slot->since_us) / 1000;
        refs[i] = &rows[i];
    }
    answer.status = &status;
    answer.n_roles = s->n_slots;
    answer.roles = refs;
    control_answer(c, &answer);
    free(refs);
    free(rows);
}

/* Passed on to the role; its answer comes back through control_probe_result. */
static void control_probe(struct control_client *c, const Thurn__ControlProbe *m)
{
    struct slot *slot = slot_find(c->sup, m->role, m->index);
    struct chan *to = slot && slot->process ? slot->process->chan : NULL;
    if (!to || !m->probe || c->sup->probe_asker ||
        chan_send(to, RPC_PROBE, 0, &m->probe->base, (struct str){0}, -1).code) {
        control_say(c, THURN__CODE__NOT_FOUND, STR("no such role is running, or one is asked"));
        return;
    }
    c->sup->probe_asker = c;
    c->sup->probe_pid = slot->process->pid;
}

void control_probe_result(struct supervisor *s, const Thurn__ProbeResult *result)
{
    struct control_client *c = s->probe_asker;
    s->probe_asker = NULL;
    if (!c)
        return;
    if (!result) {
        control_say(c, THURN__CODE__TEMPORARY, STR("the role ended"));
        return;
    }
    Thurn__ControlAnswer answer = THURN__CONTROL_ANSWER__INIT;
    Thurn__Status status = THURN__STATUS__INIT;
    Thurn__ProbeResult copy = *result;
    answer.status = &status;
    answer.probe = &copy;
    control_answer(c, &answer);
}

static void control_frame(struct chan *chan, struct frame *f, void *arg)
{
    struct control_client *c = arg;
    c->serial = f->serial;
    switch (f->type->number) {
    case RPC_CONTROL_RELOAD: control_reload(c); break;
    case RPC_CONTROL_RESTART: control_restart(c, (const Thurn__ControlRestart *)f->message); break;
    case RPC_CONTROL_STATUS: control_status(c); break;
    case RPC_CONTROL_PROBE: control_probe(c, (const Thurn__ControlProbe *)f->message); break;
    }
    frame_free(f);
}

static void control_closed(struct chan *chan, struct err why, void *arg)
{
    struct control_client *c = arg;
    if (c->sup->probe_asker == c)
        c->sup->probe_asker = NULL;
    chan_free(chan);
    free(c);
}

/* Root, or the user whom the supervisor runs as. */
static bool control_may(int fd)
{
    struct ucred who;
    socklen_t n = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

void control_accept(int fd, struct ip peer, void *arg)
{
    static const struct chan_ops ops = {.frame = control_frame, .closed = control_closed};
    struct control_client *c = mem_alloc(sizeof *c);
    c->sup = arg;
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = control_rules,
                                   .n_rules = ARRAY_LEN(control_rules),
                                   .ops = &ops,
                                   .arg = c};
    if (!control_may(fd)) {
        log_warn("control.refused");
        (void)close(fd);
        free(c);
    } else if (chan_new(c->sup->loop, fd, &spec, &c->chan).code) {
        free(c);
    }
}
