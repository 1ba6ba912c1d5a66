#include "roles/role.h"
#include "roles/probe.h"

#include <malloc.h>
#include <sys/prctl.h>

enum { ROLE_CONTROL_FD = 3, ROLE_STATE_ONLY = 1 };
enum { KEEP_FREE = 1 << 20 }; /* bytes at the end of a heap */

/* Exit status of a role that cannot do its work whatever is tried again: the supervisor ends. */
enum { EXIT_HOPELESS = 3 };

static const struct chan_rule role_rules[] = {
    {RPC_ROLE_START, ROLE_STATE_ONLY},  {RPC_LISTENER, ROLE_STATE_ONLY},
    {RPC_CERTIFICATE, ROLE_STATE_ONLY}, {RPC_PEER, ROLE_STATE_ONLY},
    {RPC_ROLE_GO, ROLE_STATE_ONLY},     {RPC_ROLE_RELOAD, ROLE_STATE_ONLY},
    {RPC_ROLE_STOP, ROLE_STATE_ONLY},   {RPC_PROBE, ROLE_STATE_ONLY},
    {RPC_ROLE_PING, ROLE_STATE_ONLY},
};

void role_exit(struct role *r, int code)
{
    r->exit_code = code;
    loop_stop(r->loop);
}

void role_tell(struct role *r, uint16_t type, const ProtobufCMessage *m)
{
    struct err e = chan_send(r->supervisor, type, 0, m, (struct str){0}, -1);
    if (e.code)
        log_error("role.supervisor-unreachable", LF_ERR(e));
}

static void role_alive(struct role *r)
{
    Thurn__RoleAlive m = THURN__ROLE_ALIVE__INIT;
    role_tell(r, RPC_ROLE_ALIVE, &m.base);
}

void role_getting_on(struct role *r)
{
    enum { EACH_US = 500 * 1000 };
    uint64_t now = clock_mono_us();
    if (now - r->alive_us < EACH_US)
        return;
    r->alive_us = now;
    role_alive(r);
    (void)chan_send_now(r->supervisor); /* the loop's turn has not ended */
}

/* The operator reads the sentence; the log line carries the class. */
static void role_give_up(struct role *r, struct err e, const struct buf *explain)
{
    log_error("role.cannot-start", LF_ERR(e), LF_STR("reason", buf_str(explain)));
    if (explain->n)
        (void)dprintf(STDERR_FILENO, "thurn: %.*s\n", STR_FMT(buf_str(explain)));
    role_exit(r, EXIT_HOPELESS);
}

/* Settings outlive the frame that brought them: they are packed and unpacked once more. */
static void role_keep_settings(struct role *r, const Thurn__Settings *s)
{
    struct buf packed CLEANUP(buf_free) = {0};
    pb_pack(&packed, &s->base);
    struct arena arena;
    arena_init(&arena, 1 << 20);
    ProtobufCMessage *m = pb_unpack(&arena, &thurn__settings__descriptor, buf_str(&packed));
    check(m != NULL);
    arena_free(&r->settings_arena);
    r->settings_arena = arena;
    r->settings = (Thurn__Settings *)m;
    log_set_level((enum log_level)MIN(r->settings->log_level, (uint32_t)LOG_ERROR));
}

static void role_start(struct role *r, const Thurn__RoleStart *m)
{
    if (m->role != r->ops->kind || !m->settings) {
        role_exit(r, EXIT_HOPELESS);
        return;
    }
    r->index = m->index;
    r->count = m->count;
    log_open(r->ops->name, r->index, LOG_INFO);
    role_keep_settings(r, m->settings);
    struct buf explain CLEANUP(buf_free) = {.max = 4096};
    struct err e = r->ops->prepare(r, &explain);
    if (e.code)
        role_give_up(r, e, &explain);
}

static struct err role_enter_sandbox(struct role *r, unsigned *abi)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 64 * KB);
    size_t common = 0, own = 0;
    while (sandbox_syscalls_common[common] >= 0)
        common++;
    while (r->ops->syscalls && r->ops->syscalls[own] >= 0)
        own++;
    int *calls = arena_array(&a, int, common + own);
    char *dir = str_dup_c(&a, pb_str(r->settings->data_dir));
    if (!calls || !dir)
        return err_make(E_LIMIT, "sandbox: no memory");
    memcpy(calls, sandbox_syscalls_common, common * sizeof *calls);
    if (own)
        memcpy(calls + common, r->ops->syscalls, own * sizeof *calls);
    const struct sandbox_path path = {.path = dir, .write = true};
    const struct sandbox box = {
        .syscalls = calls,
        .n_syscalls = common + own,
        .paths = &path,
        .n_paths = r->ops->uses_data_dir ? 1 : 0,
        .relaxed = r->settings->sandbox_relaxed,
    };
    return sandbox_enter(&box, abi);
}

static void role_go(struct role *r)
{
    unsigned abi = 0;
    struct buf explain CLEANUP(buf_free) = {.max = 4096};
    struct err e = role_enter_sandbox(r, &abi);
    if (e.code) {
        buf_printf(
            &explain,
            "%s cannot enter its sandbox: %s. Use a kernel with Landlock and seccomp, or set "
            "sandbox = relaxed in the configuration.",
            r->ops->name, e.why);
        role_give_up(r, e, &explain);
        return;
    }
    e = r->ops->go(r, &explain);
    if (e.code) {
        role_give_up(r, e, &explain);
        return;
    }
    r->going = true;
    Thurn__RoleReady ready = THURN__ROLE_READY__INIT;
    ready.landlock_abi = abi;
    role_tell(r, RPC_ROLE_READY, &ready.base);
    log_info("role.ready", LF_U64("pid", getpid()), LF_U64("uid", getuid()),
             LF_U64("landlock_abi", abi));
}

static int role_take_fd(struct frame *f)
{
    int fd = f->fd;
    f->fd = -1;
    return fd;
}

/* Frames that need what RoleStart brings are a supervisor's mistake before it. */
static void role_dispatch(struct role *r, struct frame *f)
{
    const struct role_ops *ops = r->ops;
    if (f->type->number == RPC_ROLE_START) {
        role_start(r, (const Thurn__RoleStart *)f->message);
        return;
    }
    check(r->settings != NULL);
    switch (f->type->number) {
    case RPC_LISTENER:
        if (ops->listener)
            ops->listener(r, (const Thurn__Listener *)f->message, role_take_fd(f));
        break;
    case RPC_CERTIFICATE:
        if (ops->certificate)
            ops->certificate(r, (const Thurn__Certificate *)f->message);
        break;
    case RPC_PEER:
        if (ops->peer)
            ops->peer(r, (const Thurn__Peer *)f->message, role_take_fd(f));
        break;
    case RPC_ROLE_GO: role_go(r); break;
    case RPC_ROLE_RELOAD:
        role_keep_settings(r, ((const Thurn__RoleReload *)f->message)->settings);
        if (ops->reload)
            ops->reload(r);
        break;
    case RPC_ROLE_STOP:
        if (ops->stop && r->going)
            ops->stop(r);
        else
            role_exit(r, 0);
        break;
    case RPC_ROLE_PING: role_alive(r); break;
    case RPC_PROBE: role_probe(r, (const Thurn__Probe *)f->message); break;
    }
}

static void role_frame(struct chan *c, struct frame *f, void *arg)
{
    role_dispatch(arg, f);
    frame_free(f);
}

/* Without its supervisor a role has no reason to live; what was acknowledged is safe. */
static void role_orphaned(struct chan *c, struct err why, void *arg)
{
    struct role *r = arg;
    log_warn("role.supervisor-gone", LF_ERR(why));
    role_exit(r, 1);
}

int role_run(const struct role_ops *ops)
{
    static const struct chan_ops chan_ops = {.frame = role_frame, .closed = role_orphaned};
    struct role r = {.ops = ops};
    log_open(ops->name, 0, LOG_INFO);
    /* Memory that is wanted again at once stays with the process. */
    (void)mallopt(M_TRIM_THRESHOLD, KEEP_FREE);
    (void)mallopt(M_MMAP_THRESHOLD, KEEP_FREE / 2);
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group; the supervisor decides */
    (void)signal(SIGHUP, SIG_IGN);
    struct err e = loop_new(&r.loop);
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = role_rules,
                                   .n_rules = ARRAY_LEN(role_rules),
                                   .ops = &chan_ops,
                                   .arg = &r};
    if (!e.code)
        e = chan_new(r.loop, ROLE_CONTROL_FD, &spec, &r.supervisor);
    if (e.code) {
        (void)dprintf(STDERR_FILENO, "thurn: roles are started by \"thurn run\", not by hand\n");
        return EXIT_HOPELESS;
    }
    loop_run(r.loop);
    /* The process ends here: its memory and descriptors go with it. */
    return r.exit_code;
}
