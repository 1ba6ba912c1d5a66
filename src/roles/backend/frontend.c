#include "roles/backend/frontend.h"

#include "roles/backend/session.h"

enum { FRONTEND_STATE = 1 };

static const struct chan_rule frontend_rules[] = {
    {RPC_SESSION_OPEN, FRONTEND_STATE},
    {RPC_SESSION_WATCH, FRONTEND_STATE},
    {RPC_SESSION_UNWATCH, FRONTEND_STATE},
};

struct frontend {
    struct list link;
    struct backend *b;
    struct chan *chan;
    struct sleepers *sleepers;
    uint32_t index;
    uint64_t generation;
};

static struct frontend *frontend_of(struct list *l)
{
    return container_of(l, struct frontend, link);
}

static void frontend_free(struct frontend *f)
{
    list_remove(&f->link);
    f->b->n_frontends--;
    connections_forget(logins_connections(f->b->logins), f->index);
    sleepers_free(f->sleepers);
    chan_free(f->chan);
    free(f);
}

/* One that breaks the rules is not to be trusted with clients any longer. */
static void frontend_retire(const struct frontend *f, struct str reason)
{
    Thurn__ScannerRetire m = THURN__SCANNER_RETIRE__INIT;
    m.role = THURN__ROLE_KIND__ROLE_FRONTEND;
    m.index = f->index;
    m.generation = f->generation;
    m.reason = pb_bytes(reason);
    f->b->retire(f->b, &m);
}

static void clients_gone(const struct frontend *f, const Thurn__SessionUnwatch *m)
{
    for (size_t i = 0; i < m->n_gone; i++)
        connections_gone(logins_connections(f->b->logins),
                         (struct connection_id){{m->gone[i]}, f->index});
}

static void frontend_frame(struct chan *c, struct frame *frame, void *arg)
{
    struct frontend *f = arg;
    int fd = frame->fd;
    frame->fd = -1;
    switch (frame->type->number) {
    case RPC_SESSION_WATCH:
        if (!sleepers_watch(f->sleepers, frame))
            frontend_retire(f, STR("watches more sessions than it may have"));
        return;
    case RPC_SESSION_UNWATCH:
        sleepers_unwatch(f->sleepers, (const Thurn__SessionUnwatch *)frame->message);
        clients_gone(f, (const Thurn__SessionUnwatch *)frame->message);
        break;
    default: session_open(f->b, f->index, (const Thurn__SessionOpen *)frame->message, fd); break;
    }
    frame_free(frame);
}

/* Its sessions have channels of their own and end with them. */
static void frontend_closed(struct chan *c, struct err why, void *arg)
{
    struct frontend *f = arg;
    log_warn("frontend.gone", LF_U64("frontend", f->index), LF_U64("generation", f->generation),
             LF_ERR(why));
    if (why.code != E_CLOSED)
        frontend_retire(f, str_c(why.why));
    frontend_free(f);
}

static void frontend_tell_serving(const struct frontend *f)
{
    Thurn__BackendServes m = THURN__BACKEND_SERVES__INIT;
    struct err e = chan_send(f->chan, RPC_BACKEND_SERVES, 0, &m.base, (struct str){NULL, 0}, -1);
    if (e.code != E_OK && e.code != E_CLOSED) /* closed: it is gone, which is heard at once */
        log_error("frontend.channel", LF_ERR(e));
}

void frontend_add(struct backend *b, uint32_t index, uint64_t generation, int fd)
{
    static const struct chan_ops ops = {.frame = frontend_frame, .closed = frontend_closed};
    list_each (l, &b->frontends)
        if (frontend_of(l)->index == index)
            frontend_free(frontend_of(l));
    struct frontend *f = mem_alloc(sizeof *f);
    *f = (struct frontend){.b = b, .index = index, .generation = generation};
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = frontend_rules,
                                   .n_rules = ARRAY_LEN(frontend_rules),
                                   .ops = &ops,
                                   .arg = f};
    struct err e = chan_new(b->loop, fd, &spec, &f->chan);
    if (e.code) {
        log_error("frontend.channel", LF_ERR(e));
        free(f);
        return;
    }
    f->sleepers = sleepers_new(b, index, f->chan);
    list_append(&b->frontends, &f->link);
    b->n_frontends++;
    frontend_tell_serving(f);
}

void frontends_each(struct backend *b, void (*each)(struct sleepers *s))
{
    list_each (l, &b->frontends)
        each(frontend_of(l)->sleepers);
}

void frontends_free(struct backend *b)
{
    list_each (l, &b->frontends)
        frontend_free(frontend_of(l));
}

#ifdef THURN_PROBE
struct chan *frontends_channel(const struct backend *b)
{
    struct list *first = b->frontends.next;
    return first == &b->frontends ? NULL : frontend_of(first)->chan;
}
#endif
