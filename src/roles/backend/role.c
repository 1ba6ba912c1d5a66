#include "roles/backend/admin.h"
#include "roles/backend/backend.h"
#include "roles/probe.h"

#include <sys/socket.h>
#include <sys/syscall.h>

/*
 * The backend as a role. The store is opened in `go`, inside the sandbox: Landlock permits the data
 * directory, and so no thread of RocksDB or of the committer ever runs outside. What the
 * supervisor hands over before that waits here.
 */

enum { SUPERVISOR_FD = 3 };

struct handed {
    struct handed *next;
    Thurn__RoleKind kind; /* NONE: the control socket */
    uint32_t index;
    uint64_t generation;
    int fd;
};

struct backend_role {
    struct backend b;
    struct role *role;
    struct handed *first, **last;
    bool open;
};

static void tell_retire(struct backend *b, const Thurn__ScannerRetire *m)
{
    struct backend_role *self = container_of(b, struct backend_role, b);
    role_tell(self->role, RPC_SCANNER_RETIRE, &m->base);
}

static void tell_stopped(struct backend *b)
{
    struct backend_role *self = container_of(b, struct backend_role, b);
    self->open = false;
    role_exit(self->role, 0);
}

static void tell_getting_on(struct backend *b)
{
    role_getting_on(container_of(b, struct backend_role, b)->role);
}

static struct err prepare(struct role *r, struct buf *explain)
{
    struct backend_role *self = mem_alloc(sizeof *self);
    self->role = r;
    self->last = &self->first;
    struct ucred supervisor = {.uid = 0};
    socklen_t n = sizeof supervisor;
    if (getsockopt(SUPERVISOR_FD, SOL_SOCKET, SO_PEERCRED, &supervisor, &n) < 0) {
        buf_put(explain, STR("the supervisor's channel is not a Unix socket"));
        return err_sys("getsockopt");
    }
    self->b.loop = r->loop;
    self->b.supervisor_uid = supervisor.uid;
    self->b.retire = tell_retire;
    self->b.stopped = tell_stopped;
    self->b.getting_on = tell_getting_on;
    r->self = self;
    return OK;
}

static void take(struct backend_role *self, const struct handed *h)
{
    if (h->kind == THURN__ROLE_KIND__ROLE_NONE)
        admin_listen(&self->b, h->fd);
    else
        backend_peer(&self->b, h->kind, h->index, h->generation, h->fd);
}

static void take_or_keep(struct role *r, struct handed h)
{
    struct backend_role *self = r->self;
    if (self->b.stopping) {
        (void)close(h.fd);
    } else if (self->open) {
        take(self, &h);
    } else {
        struct handed *kept = mem_alloc(sizeof *kept);
        *kept = h;
        *self->last = kept;
        self->last = &kept->next;
    }
}

static void listener(struct role *r, const Thurn__Listener *l, int fd)
{
    if (l->kind == THURN__LISTENER_KIND__LISTEN_ADMIN)
        take_or_keep(r, (struct handed){.kind = THURN__ROLE_KIND__ROLE_NONE, .fd = fd});
    else
        (void)close(fd);
}

static void peer(struct role *r, const Thurn__Peer *p, int fd)
{
    take_or_keep(r, (struct handed){
                        .kind = p->role, .index = p->index, .generation = p->generation, .fd = fd});
}

static struct err go(struct role *r, struct buf *explain)
{
    struct backend_role *self = r->self;
    TRY(backend_open(&self->b, r->settings, explain));
    self->open = true;
    for (struct handed *h = self->first, *next; h; h = next) {
        next = h->next;
        take(self, h);
        free(h);
    }
    self->first = NULL;
    return OK;
}

static void reload(struct role *r)
{
    struct backend_role *self = r->self;
    if (self->open)
        backend_settings(&self->b, r->settings);
}

static void stop(struct role *r)
{
    struct backend_role *self = r->self;
    backend_stop(&self->b);
}

/* Beyond the common ones: files in the data directory, for the store and RocksDB, and the control
 * socket. */
/* clang-format off */
static const int syscalls[] = {
    SYS_access, SYS_faccessat, SYS_faccessat2, SYS_fadvise64, SYS_fallocate, SYS_fdatasync,
    SYS_flock, SYS_fstatfs, SYS_fsync, SYS_getcwd, SYS_getdents64, SYS_link, SYS_linkat, SYS_lstat,
    SYS_mkdir, SYS_mkdirat, SYS_openat, SYS_readahead, SYS_readlink, SYS_rename, SYS_renameat,
    SYS_renameat2, SYS_rmdir, SYS_stat, SYS_statfs, SYS_statx, SYS_sync_file_range, SYS_unlink,
    SYS_unlinkat,
    SYS_accept4, SYS_getsockopt, SYS_sched_getattr, SYS_sched_setattr,
    -1,
};
/* clang-format on */

const struct role_ops role_backend = {
    .name = "backend",
    .kind = THURN__ROLE_KIND__ROLE_BACKEND,
    .prepare = prepare,
    .listener = listener,
    .peer = peer,
    .go = go,
    .reload = reload,
    .stop = stop,
    .syscalls = syscalls,
    .uses_data_dir = true,
#ifdef THURN_PROBE
    .probe_send = backend_probe_send,
#endif
};
