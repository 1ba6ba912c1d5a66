#include "base/base.h"

#include "mime/mime.h"
#include "roles/frontend/frontend.h"
#include "roles/probe.h"

#include <sys/syscall.h>

enum { FRONTEND_STOP_MS = 3000, FRONTEND_LOOK_MS = 50 };

/* ------------------------------------------------------------------------------------- entrances
 */

struct entrance {
    struct list link;
    struct frontend *fe;
    Thurn__ListenerKind kind;
    int fd; /* until it is opened */
    struct listener *listener;
};

/* What is spoken at a kind of listener. */
struct protocol {
    Thurn__ListenerKind kind;
    const struct client_ops *ops;
    bool tls_now; /* from the first byte */
};

static const struct protocol frontend_protocols[] = {
    {THURN__LISTENER_KIND__LISTEN_LMTP, &lmtp_client_ops, false},
    {THURN__LISTENER_KIND__LISTEN_IMAP, &imap_client_ops, false},
    {THURN__LISTENER_KIND__LISTEN_IMAPS, &imap_client_ops, true},
    {THURN__LISTENER_KIND__LISTEN_SMTP, &smtp_client_ops, false},
    {THURN__LISTENER_KIND__LISTEN_SUBMISSION, &submission_client_ops, false},
    {THURN__LISTENER_KIND__LISTEN_SUBMISSIONS, &submission_client_ops, true},
};

/* NULL for one that is not known. */
static const struct protocol *frontend_protocol(Thurn__ListenerKind kind)
{
    for (size_t i = 0; i < ARRAY_LEN(frontend_protocols); i++)
        if (frontend_protocols[i].kind == kind)
            return &frontend_protocols[i];
    return NULL;
}

static void on_accepted(int fd, struct ip peer, void *arg)
{
    struct entrance *e = arg;
    frontend_take(e->fe, e->kind, fd, peer);
}

static void entrance_open(struct entrance *e)
{
    e->listener = listener_new(e->fe->role->loop, e->fd, on_accepted, e);
    e->fd = -1;
}

static void frontend_listener(struct role *r, const Thurn__Listener *l, int fd)
{
    struct frontend *fe = r->self;
    const struct protocol *p = frontend_protocol(l->kind);
    if (!p) {
        log_error("frontend.unknown-listener", LF_U64("kind", l->kind));
        (void)close(fd);
        return;
    }
    struct entrance *e = mem_alloc(sizeof *e);
    e->fe = fe;
    e->kind = l->kind;
    e->fd = fd;
    list_append(&fe->entrances, &e->link);
    log_info("frontend.listening", LF_C("protocol", p->ops->protocol),
             LF_STR("address", pb_str(l->address)));
    if (r->going)
        entrance_open(e);
}

static void frontend_close_entrances(struct frontend *fe)
{
    list_each (l, &fe->entrances) {
        struct entrance *e = container_of(l, struct entrance, link);
        listener_free(e->listener);
        free(e);
    }
    list_init(&fe->entrances);
}

/* --------------------------------------------------------------------------------------- clients
 */

/* Without a client of its own, so that a crowd costs nothing. */
static void frontend_turn_away(const struct protocol *p, int fd)
{
    struct str line = p->ops->goodbyes[GOODBYE_CROWD];
    if (!p->tls_now)
        (void)send(fd, line.p, line.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)close(fd);
}

void frontend_take(struct frontend *fe, Thurn__ListenerKind kind, int fd, struct ip peer)
{
    uint32_t max = frontend_settings(fe)->max_connections;
    const struct protocol *p = frontend_protocol(kind);
    check(p != NULL);
    if (max && fe->n_clients >= max) {
        log_warn("frontend.too-many-connections", LF_U64("max", max));
        frontend_turn_away(p, fd);
        return;
    }
    if (p->tls_now && !tls_server_has_certificate(fe->tls)) {
        log_warn("frontend.no-certificate", LF_C("protocol", p->ops->protocol),
                 LF_C("remedy", "configure a certificate"));
        (void)close(fd);
        return;
    }
    struct err e = client_new(fe, p->ops, fd, peer, p->tls_now);
    if (e.code != E_OK)
        log_error("frontend.connection-refused", LF_ERR(e));
}

void frontend_client_gone(struct frontend *fe)
{
    fe->n_clients--;
    if (fe->stopping && fe->n_clients == 0)
        role_exit(fe->role, 0);
}

bool frontend_may_login(const struct frontend *fe, struct ip peer, bool tls)
{
    return tls || ip_nets_have(&fe->cleartext, peer);
}

/* --------------------------------------------------------------------------------------- backend
 */

enum backend_state { BACKEND_STARTS = 1, BACKEND_ANSWERS = 2 };

static void backend_serves(struct frontend *fe)
{
    chan_set_state(fe->starting, BACKEND_ANSWERS);
    fe->backend = fe->starting;
    fe->starting = NULL;
    fe->backends++;
    waiting_backend_up(fe);
}

static void on_backend_frame(struct chan *c, struct frame *f, void *arg)
{
    if (f->type->number == RPC_BACKEND_SERVES)
        backend_serves(arg);
    else
        waiting_poked(arg, (const Thurn__SessionPoke *)f->message);
    frame_free(f);
}

static void backend_drop(struct frontend *fe)
{
    if (fe->backend)
        chan_free(fe->backend);
    if (fe->starting)
        chan_free(fe->starting);
    fe->backend = fe->starting = NULL;
    waiting_backend_down(fe);
}

static void on_backend_closed(struct chan *c, struct err why, void *arg)
{
    struct frontend *fe = arg;
    log_warn("frontend.backend-gone", LF_ERR(why));
    backend_drop(fe);
    if (why.code != E_CLOSED) /* it is there still, but only a new process gets a channel to it */
        role_exit(fe->role, 1);
}

/* The channels of the backend before it end by themselves. */
static void frontend_peer(struct role *r, const Thurn__Peer *p, int fd)
{
    static const struct chan_ops ops = {.frame = on_backend_frame, .closed = on_backend_closed};
    static const struct chan_rule rules[] = {{RPC_BACKEND_SERVES, BACKEND_STARTS},
                                             {RPC_SESSION_POKE, BACKEND_ANSWERS}};
    struct frontend *fe = r->self;
    if (p->role != THURN__ROLE_KIND__ROLE_BACKEND) {
        (void)close(fd);
        return;
    }
    backend_drop(fe);
    const struct chan_spec spec = {
        .table = &rpc_table, .rules = rules, .n_rules = ARRAY_LEN(rules), .ops = &ops, .arg = fe};
    struct err e = chan_new(r->loop, fd, &spec, &fe->starting);
    if (e.code != E_OK)
        log_error("frontend.backend-channel", LF_ERR(e));
    else
        log_info("frontend.backend", LF_U64("generation", p->generation));
}

/* ---------------------------------------------------------------------------------- life of a role
 */

static void frontend_read_settings(struct frontend *fe)
{
    const Thurn__Settings *s = frontend_settings(fe);
    /* One message at least can always come in. */
    fe->bodies.most = MAX(s->receive_memory, s->message_size_limit);
    ip_nets_set(&fe->cleartext, "cleartext_login_from", s->cleartext_login_from,
                s->n_cleartext_login_from);
}

static struct err frontend_prepare(struct role *r, struct buf *explain)
{
    struct frontend *fe = mem_alloc(sizeof *fe);
    fe->role = r;
    list_init(&fe->entrances);
    list_init(&fe->clients);
    fe->waiting = waiting_new(fe);
    r->self = fe;
    frontend_read_settings(fe);
    struct err e = tls_server_new(&fe->tls);
    if (e.code != E_OK) {
        buf_printf(explain, "the frontend cannot set up TLS: %s", e.why);
        return e;
    }
    e = mime_charsets_load(); /* for SEARCH */
    if (e.code != E_OK)
        buf_put(explain, STR("ICU cannot load its converters; is libicu's data installed?"));
    return e;
}

static void frontend_certificate(struct role *r, const Thurn__Certificate *c)
{
    struct frontend *fe = r->self;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 64 * KB);
    struct str *names = arena_array(&a, struct str, c->n_names);
    if (!names) {
        log_error("frontend.certificate", LF_C("reason", "too many names"));
        return;
    }
    for (size_t i = 0; i < c->n_names; i++)
        names[i] = pb_str(c->names[i]);
    struct err e = tls_server_add(fe->tls, names, c->n_names, pb_str(c->chain), pb_str(c->key));
    struct str first = c->n_names ? names[0] : STR("default");
    if (e.code != E_OK)
        log_error("frontend.certificate", LF_STR("name", first), LF_ERR(e));
    else
        log_info("frontend.certificate", LF_STR("name", first));
}

static struct err frontend_go(struct role *r, struct buf *explain)
{
    struct frontend *fe = r->self;
    list_each (l, &fe->entrances) {
        entrance_open(container_of(l, struct entrance, link));
    }
    return OK;
}

static void frontend_reload(struct role *r)
{
    frontend_read_settings(r->self);
}

/* Goodbyes that are sent need not be waited for until each client has closed. */
static size_t frontend_unserved(const struct frontend *fe)
{
    size_t n = 0;
    list_each (l, &fe->clients) {
        const struct client *c = container_of(l, struct client, link);
        n += !c->finished || conn_backlog(c->conn) > 0;
    }
    return n;
}

static void on_stop_look(void *arg)
{
    struct frontend *fe = arg;
    size_t unserved = frontend_unserved(fe);
    if (unserved && clock_mono_us() < fe->stop_by) {
        timer_set(fe->stop_timer, FRONTEND_LOOK_MS);
        return;
    }
    if (unserved)
        log_warn("frontend.stopped-with-clients", LF_U64("clients", unserved));
    role_exit(fe->role, 0);
}

static void frontend_stop(struct role *r)
{
    struct frontend *fe = r->self;
    if (fe->stopping)
        return;
    fe->stopping = true;
    frontend_close_entrances(fe);
    if (fe->n_clients == 0) {
        role_exit(r, 0);
        return;
    }
    fe->stop_by = clock_mono_us() + FRONTEND_STOP_MS * UINT64_C(1000);
    fe->stop_timer = timer_new(r->loop, on_stop_look, fe);
    timer_set(fe->stop_timer, FRONTEND_LOOK_MS);
    list_each (l, &fe->clients) {
        client_stop(container_of(l, struct client, link));
    }
}

static const int frontend_syscalls[] = {SYS_accept4, SYS_socketpair, SYS_setsockopt, -1};

const struct role_ops role_frontend = {
    .name = "frontend",
    .kind = THURN__ROLE_KIND__ROLE_FRONTEND,
    .prepare = frontend_prepare,
    .listener = frontend_listener,
    .certificate = frontend_certificate,
    .peer = frontend_peer,
    .go = frontend_go,
    .reload = frontend_reload,
    .stop = frontend_stop,
    .syscalls = frontend_syscalls,
#ifdef THURN_PROBE
    .probe_send = frontend_probe_send,
#endif
};
