#include "roles/probe.h"

#include "roles/frontend/frontend.h"

/* A session of no client, opened to see what the backend makes of its first frame. */
struct attempt {
    struct role *role;
    struct chan *chan;
    struct chan_rule *rules; /* every answer is of interest */
};

static void attempt_over(struct attempt *a, bool succeeded, struct str detail)
{
    probe_tell(a->role, succeeded, detail);
    if (a->chan)
        chan_free(a->chan);
    free(a->rules);
    free(a);
}

static void attempt_frame(struct chan *c, struct frame *f, void *arg)
{
    frame_free(f);
    attempt_over(arg, true, STR("answered"));
}

static void attempt_closed(struct chan *c, struct err why, void *arg)
{
    attempt_over(arg, false, STR("ended"));
}

static struct err attempt_open(struct attempt *a, Thurn__SessionKind kind)
{
    static const struct chan_ops ops = {.frame = attempt_frame, .closed = attempt_closed};
    const struct frontend *fe = a->role->self;
    if (!fe->backend)
        return err_make(E_CLOSED, "there is no backend");
    a->rules = mem_alloc(rpc_table.n * sizeof *a->rules);
    for (size_t i = 0; i < rpc_table.n; i++)
        a->rules[i] = (struct chan_rule){rpc_table.types[i].number, 1};
    const struct chan_spec spec = {
        .table = &rpc_table, .rules = a->rules, .n_rules = rpc_table.n, .ops = &ops, .arg = a};
    int fds[2];
    TRY(chan_pair(fds));
    Thurn__SessionOpen open = THURN__SESSION_OPEN__INIT;
    open.kind = kind;
    open.session = random_u64();
    struct err e = chan_send(fe->backend, RPC_SESSION_OPEN, 0, &open.base, (struct str){0}, fds[1]);
    (void)close(fds[1]);
    if (e.code) {
        (void)close(fds[0]);
        return e;
    }
    return chan_new(a->role->loop, fds[0], &spec, &a->chan);
}

static void attempt_session(struct role *r, Thurn__SessionKind kind, uint16_t type)
{
    struct attempt *a = mem_alloc(sizeof *a);
    a->role = r;
    struct err e = attempt_open(a, kind);
    if (!e.code)
        e = chan_send(a->chan, type, 1, NULL, (struct str){0}, -1);
    if (e.code)
        attempt_over(a, false, str_c(e.why));
}

void frontend_probe_send(struct role *r, struct str channel, uint16_t type)
{
    const struct frontend *fe = r->self;
    if (str_eq(channel, STR("imap")))
        attempt_session(r, THURN__SESSION_KIND__SESSION_IMAP, type);
    else if (str_eq(channel, STR("lmtp")))
        attempt_session(r, THURN__SESSION_KIND__SESSION_LMTP, type);
    else
        probe_send_on(r, str_eq(channel, STR("backend")) ? fe->backend : NULL, type);
}
