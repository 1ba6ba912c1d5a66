#include "cli/cli.h"

#include <jansson.h>

#include "roles/role.h"
#include "roles/supervisor/config.h"
#include "roles/supervisor/supervisor.h"

int cli_run(struct cli *c)
{
    return supervisor_run(c->config, c->note);
}

static const struct {
    const char *name;
    Thurn__RoleKind kind;
    const struct role_ops *ops;
} cli_roles[] = {
    {"frontend", THURN__ROLE_KIND__ROLE_FRONTEND, &role_frontend},
    {"backend", THURN__ROLE_KIND__ROLE_BACKEND, &role_backend},
    {"scanner", THURN__ROLE_KIND__ROLE_SCANNER, &role_scanner},
};

/* Index into cli_roles; -1, with a word to the user, for anything else. */
static int role_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(cli_roles); i++)
        if (str_eq(str_c(name), str_c(cli_roles[i].name)))
            return (int)i;
    fprintf(stderr, "thurn: \"%s\" is no role; there are frontend, backend and scanner\n", name);
    return -1;
}

int cli_role(struct cli *c)
{
    int i = role_named(c->words[0]);
    return i < 0 ? CLI_USAGE : role_run(cli_roles[i].ops);
}

int cli_config_check(struct cli *c)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Configuration config;
    if (!cli_config(c, &a, &config))
        return CLI_FAILED;
    (void)printf("%s is right\n", c->config);
    return CLI_OK;
}

int cli_config_defaults(struct cli *c)
{
    config_print_defaults(stdout);
    return CLI_OK;
}

struct control_wait {
    struct cli *cli;
    int status;
    void (*print)(struct cli *c, const Thurn__ControlAnswer *a);
};

static bool control_each(struct frame *f, void *arg)
{
    struct control_wait *w = arg;
    if (f->type->number != RPC_CONTROL_ANSWER)
        return false;
    const Thurn__ControlAnswer *a = (const Thurn__ControlAnswer *)f->message;
    bool done = a->status && a->status->code == THURN__CODE__DONE;
    if (done && w->print) {
        w->print(w->cli, a);
        w->status = CLI_OK;
    } else {
        w->status = cli_status(w->cli, a->status);
    }
    return true;
}

static int control_ask(struct cli *c, uint16_t type, const ProtobufCMessage *m,
                       void (*print)(struct cli *c, const Thurn__ControlAnswer *a))
{
    struct control_wait w = {.cli = c, .status = CLI_FAILED, .print = print};
    int fd = cli_connect(c, CLI_SUPERVISOR);
    if (fd < 0)
        return CLI_FAILED;
    int asked = cli_ask(fd, type, m, control_each, &w);
    (void)close(fd);
    return asked ? asked : w.status;
}

int cli_reload(struct cli *c)
{
    Thurn__ControlReload m = THURN__CONTROL_RELOAD__INIT;
    return control_ask(c, RPC_CONTROL_RELOAD, &m.base, NULL);
}

int cli_restart(struct cli *c)
{
    int i = role_named(c->words[0]);
    if (i < 0)
        return CLI_USAGE;
    Thurn__ControlRestart m = THURN__CONTROL_RESTART__INIT;
    m.role = cli_roles[i].kind;
    return control_ask(c, RPC_CONTROL_RESTART, &m.base, NULL);
}

static const char *role_name(Thurn__RoleKind kind)
{
    for (size_t i = 0; i < ARRAY_LEN(cli_roles); i++)
        if (cli_roles[i].kind == kind)
            return cli_roles[i].name;
    return "unknown";
}

static const char *state_name(Thurn__RoleState state)
{
    switch (state) {
    case THURN__ROLE_STATE__STATE_READY: return "ready";
    case THURN__ROLE_STATE__STATE_STARTING: return "starting";
    case THURN__ROLE_STATE__STATE_ENDING: return "ending";
    default: return "restarting";
    }
}

static void status_json(const Thurn__ControlAnswer *a)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < a->n_roles; i++) {
        const Thurn__RoleStatus *r = a->roles[i];
        json_t *pid = r->pid ? json_integer(r->pid) : json_null();
        (void)json_array_append_new(
            rows, json_pack("{s:s, s:I, s:o, s:I, s:I, s:s, s:f, s:b}", "role", role_name(r->role),
                            "index", (json_int_t)r->index, "pid", pid, "generation",
                            (json_int_t)r->generation, "restarts", (json_int_t)r->restarts, "state",
                            state_name(r->state), "seconds", (double)r->since / 1e3, "ready",
                            (int)(r->state == THURN__ROLE_STATE__STATE_READY)));
    }
    (void)json_dumpf(rows, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    (void)printf("\n");
    json_decref(rows);
}

/* "3 d 4 h", "5 m 20 s": the two largest units. */
static void duration_print(uint64_t s)
{
    static const struct {
        uint64_t s;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(units) && s < units[i].s)
        i++;
    (void)printf("%" PRIu64 " %s", s / units[i].s, units[i].name);
    if (i + 1 < ARRAY_LEN(units))
        (void)printf(" %" PRIu64 " %s", s % units[i].s / units[i + 1].s, units[i + 1].name);
}

static void status_print(struct cli *c, const Thurn__ControlAnswer *a)
{
    if (c->json) {
        status_json(a);
        return;
    }
    (void)printf("%-12s %8s %9s  %-10s  %s\n", "role", "pid", "restarts", "state", "for");
    for (size_t i = 0; i < a->n_roles; i++) {
        const Thurn__RoleStatus *r = a->roles[i];
        char pid[16] = "-";
        if (r->pid)
            (void)snprintf(pid, sizeof pid, "%u", r->pid);
        (void)printf("%-9s %2u %8s %9u  %-10s  ", role_name(r->role), r->index, pid, r->restarts,
                     state_name(r->state));
        duration_print(r->since / 1000);
        (void)printf("\n");
    }
}

int cli_show_status(struct cli *c)
{
    Thurn__ControlStatus m = THURN__CONTROL_STATUS__INIT;
    return control_ask(c, RPC_CONTROL_STATUS, &m.base, status_print);
}

#ifdef THURN_PROBE
static void probe_print(struct cli *c, const Thurn__ControlAnswer *a)
{
    (void)printf("%s %.*s\n", a->probe && a->probe->succeeded ? "succeeded" : "refused",
                 STR_FMT(a->probe ? pb_str(a->probe->detail) : STR("")));
}

int cli_probe(struct cli *c)
{
    int i = role_named(c->words[0]);
    uint64_t index = 0;
    if (i < 0 || str_to_u64(str_c(c->words[1]), &index).code)
        return CLI_USAGE;
    Thurn__Probe probe = THURN__PROBE__INIT;
    probe.attempt = pb_bytes(str_c(c->words[2]));
    probe.target = pb_bytes(str_c(c->n_words > 3 ? c->words[3] : ""));
    Thurn__ControlProbe m = THURN__CONTROL_PROBE__INIT;
    m.role = cli_roles[i].kind;
    m.index = (uint32_t)index;
    m.probe = &probe;
    return control_ask(c, RPC_CONTROL_PROBE, &m.base, probe_print);
}
#endif
