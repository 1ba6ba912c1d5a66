#include "roles/supervisor/private.h"

#include <sys/stat.h>

enum { PEM_MAX = 64 * 1024 };

static void slot_send(struct slot *to, uint16_t type, const ProtobufCMessage *m, int fd)
{
    struct chan *c = to->process ? to->process->chan : NULL;
    struct err e =
        c ? chan_send(c, type, 0, m, (struct str){0}, fd) : err_make(E_CLOSED, "no such process");
    if (e.code)
        log_debug("supervisor.not-sent", LF_U64("frame", type), LF_ERR(e));
}

static void handover_listener(struct slot *slot, Thurn__ListenerKind kind, const char *address,
                              int fd)
{
    Thurn__Listener m = THURN__LISTENER__INIT;
    m.kind = kind;
    m.address = pb_bytes(str_c(address));
    slot_send(slot, RPC_LISTENER, &m.base, fd);
}

/* A whole small file; its content is passed on, not looked at. */
static struct err file_read(struct str name, struct buf *out)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%.*s", STR_FMT(name));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys("open");
    ssize_t n = 0;
    do {
        uint8_t *room = buf_room(out, 4096);
        n = room ? read(fd, room, 4096) : 0;
        if (n > 0)
            buf_added(out, (size_t)n);
    } while (n > 0);
    struct err e = n < 0 ? err_sys("read") : buf_err(out);
    (void)close(fd);
    return e;
}

static void handover_certificate(struct slot *slot, const Thurn__CertificateFiles *files)
{
    struct buf chain CLEANUP(buf_free) = {.max = PEM_MAX};
    struct buf key CLEANUP(buf_free) = {.max = PEM_MAX};
    struct err e = file_read(pb_str(files->chain_file), &chain);
    if (!e.code)
        e = file_read(pb_str(files->key_file), &key);
    if (e.code) {
        log_error("certificate.unreadable", LF_STR("chain", pb_str(files->chain_file)),
                  LF_STR("key", pb_str(files->key_file)), LF_ERR(e));
        return;
    }
    Thurn__Certificate m = THURN__CERTIFICATE__INIT;
    m.n_names = files->n_names;
    m.names = files->names;
    m.chain = pb_bytes(buf_str(&chain));
    m.key = pb_bytes(buf_str(&key));
    slot_send(slot, RPC_CERTIFICATE, &m.base, -1);
    explicit_bzero(key.p, key.cap);
}

static void handover_certificates(struct slot *slot)
{
    const Thurn__Configuration *c = slot->sup->config;
    for (size_t i = 0; i < c->n_certificates; i++)
        handover_certificate(slot, c->certificates[i]);
}

static void handover_peer(struct slot *to, const struct slot *who, int fd)
{
    Thurn__Peer m = THURN__PEER__INIT;
    m.role = who->kind;
    m.index = who->index;
    m.generation = who->process->generation;
    slot_send(to, RPC_PEER, &m.base, fd);
}

static bool slot_is_up(const struct slot *s)
{
    return s->process && s->process->chan;
}

void handover_connect(struct slot *a, struct slot *b)
{
    int pair[2];
    if (!slot_is_up(a) || !slot_is_up(b) || chan_pair(pair).code)
        return;
    handover_peer(a, b, pair[0]);
    handover_peer(b, a, pair[1]);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

void handover_announce_scanner(struct slot *scanner)
{
    struct slot *backend = slot_find(scanner->sup, THURN__ROLE_KIND__ROLE_BACKEND, 0);
    struct process *p = scanner->process;
    if (!slot_is_up(backend) || !p || !p->ready || p->peer_fd < 0)
        return;
    handover_peer(backend, scanner, p->peer_fd);
    (void)close(p->peer_fd);
    p->peer_fd = -1;
}

static void handover_frontend(struct slot *slot)
{
    struct supervisor *s = slot->sup;
    handover_certificates(slot);
    for (size_t i = 0; i < s->n_sockets; i++)
        if (s->sockets[i].frontend == slot->index)
            handover_listener(slot, s->sockets[i].kind, s->sockets[i].address, s->sockets[i].fd);
    handover_connect(slot, slot_find(s, THURN__ROLE_KIND__ROLE_BACKEND, 0));
}

/* One that is ready already served the backend before this one. */
static void handover_scanner_to_new_backend(struct slot *backend, struct slot *scanner)
{
    const struct process *p = scanner->process;
    if (!p || !p->ready)
        return;
    if (p->peer_fd >= 0)
        handover_announce_scanner(scanner);
    else
        handover_connect(backend, scanner);
}

static void handover_backend(struct slot *slot)
{
    struct supervisor *s = slot->sup;
    handover_listener(slot, THURN__LISTENER_KIND__LISTEN_ADMIN, s->admin_path, s->admin_fd);
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].kind == THURN__ROLE_KIND__ROLE_FRONTEND)
            handover_connect(slot, &s->slots[i]);
        else if (s->slots[i].kind == THURN__ROLE_KIND__ROLE_SCANNER)
            handover_scanner_to_new_backend(slot, &s->slots[i]);
}

/* A scanner has one owner for its life: it is told at once, the owner when the scanner is ready. */
static void handover_scanner(struct slot *slot)
{
    int pair[2];
    if (chan_pair(pair).code)
        return;
    Thurn__Peer m = THURN__PEER__INIT;
    m.role = THURN__ROLE_KIND__ROLE_BACKEND;
    slot_send(slot, RPC_PEER, &m.base, pair[0]);
    (void)close(pair[0]);
    slot->process->peer_fd = pair[1];
}

static uint32_t count_of(const struct slot *slot)
{
    uint32_t n = 0;
    for (size_t i = 0; i < slot->sup->n_slots; i++)
        n += slot->sup->slots[i].kind == slot->kind;
    return n;
}

void handover_start(struct slot *slot)
{
    Thurn__RoleStart start = THURN__ROLE_START__INIT;
    start.role = slot->kind;
    start.index = slot->index;
    start.count = count_of(slot);
    start.settings = slot->sup->config->settings;
    slot_send(slot, RPC_ROLE_START, &start.base, -1);
    if (slot->kind == THURN__ROLE_KIND__ROLE_FRONTEND)
        handover_frontend(slot);
    else if (slot->kind == THURN__ROLE_KIND__ROLE_BACKEND)
        handover_backend(slot);
    else
        handover_scanner(slot);
    Thurn__RoleGo go = THURN__ROLE_GO__INIT;
    slot_send(slot, RPC_ROLE_GO, &go.base, -1);
}

void handover_reload(struct supervisor *s)
{
    Thurn__RoleReload m = THURN__ROLE_RELOAD__INIT;
    m.settings = s->config->settings;
    for (size_t i = 0; i < s->n_slots; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->kind == THURN__ROLE_KIND__ROLE_FRONTEND)
            handover_certificates(slot);
        slot_send(slot, RPC_ROLE_RELOAD, &m.base, -1);
    }
}
