#include "roles/supervisor/private.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "roles/supervisor/identity.h"

enum { LISTEN_BACKLOG = 4096 };

static int socket_bind_once(const struct sockaddr_storage *sa, socklen_t len, bool shared)
{
    int one = 1;
    int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (shared)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (sa->ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)sa, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* Several frontends share a port, each with a socket of its own. A first try without sharing finds
 * out whether somebody else has it. */
static int socket_bind(const struct sockaddr_storage *sa, socklen_t len, bool shared)
{
    int fd = socket_bind_once(sa, len, false);
    if (fd < 0 || !shared)
        return fd;
    (void)close(fd);
    return socket_bind_once(sa, len, true);
}

static struct err sockets_bind_address(struct supervisor *s, const Thurn__ListenAddress *l,
                                       struct buf *explain)
{
    struct sockaddr_storage sa;
    socklen_t len;
    TRY(sockaddr_parse(pb_str(l->address), &sa, &len));
    bool shared = s->config->frontends > 1;
    for (uint32_t i = 0; i < s->config->frontends; i++) {
        int fd = i == 0 ? socket_bind(&sa, len, shared) : socket_bind_once(&sa, len, true);
        if (fd < 0) {
            struct err e = err_sys("bind");
            buf_printf(explain,
                       "cannot listen on %.*s: %s; stop the program that uses it, or "
                       "change \"listen\" in %s",
                       STR_FMT(pb_str(l->address)), strerror(e.sys), s->config_path);
            return e;
        }
        struct socket_bound *b = &s->sockets[s->n_sockets++];
        *b = (struct socket_bound){.kind = l->kind, .fd = fd, .frontend = i};
        (void)snprintf(b->address, sizeof b->address, "%.*s", STR_FMT(pb_str(l->address)));
    }
    return OK;
}

struct err sockets_bind(struct supervisor *s, struct buf *explain)
{
    s->sockets = mem_alloc(s->config->n_listen * s->config->frontends * sizeof *s->sockets);
    for (size_t i = 0; i < s->config->n_listen; i++)
        TRY(sockets_bind_address(s, s->config->listen[i], explain));
    return OK;
}

/* Whether somebody answers on a socket that already lies there. */
static bool socket_is_alive(const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0;
    if (fd >= 0)
        (void)close(fd);
    return alive;
}

struct err sockets_control(const char *path, int *out_fd, struct buf *explain)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if ((size_t)snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path) >= sizeof sa.sun_path) {
        buf_printf(explain, "run_dir is too long: %s has more than %zu characters", path,
                   sizeof sa.sun_path - 1);
        return err_make(E_INVALID, "control socket path");
    }
    if (socket_is_alive(&sa)) {
        buf_printf(explain,
                   "another thurn is running with the same run_dir (%s); end it first, "
                   "with Ctrl-C or \"systemctl stop thurn\"",
                   path);
        return err_make(E_EXISTS, "control socket in use");
    }
    (void)unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    (void)umask(before);
    if (!bound || listen(fd, 64) < 0) {
        struct err e = err_sys("control socket");
        buf_printf(explain, "cannot make the control socket %s: %s", path, strerror(e.sys));
        if (fd >= 0)
            (void)close(fd);
        return e;
    }
    *out_fd = fd;
    return OK;
}

/* Makes a directory with its parents; those that are there stay as they are. */
static struct err directory_make(const char *path, mode_t mode)
{
    char partial[4096];
    if ((size_t)snprintf(partial, sizeof partial, "%s", path) >= sizeof partial)
        return err_make(E_INVALID, "path too long");
    for (char *p = partial + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        (void)mkdir(partial, 0755);
        *p = '/';
    }
    return mkdir(partial, mode) == 0 || errno == EEXIST ? OK : err_sys("mkdir");
}

static struct err directory_prepare(const char *option, const char *path, mode_t mode, uid_t uid,
                                    gid_t gid, struct buf *explain)
{
    struct stat st;
    bool fresh = stat(path, &st) < 0 && errno == ENOENT;
    struct err e = directory_make(path, mode);
    if (!e.code && fresh && geteuid() == 0 && chown(path, uid, gid) < 0)
        e = err_sys("chown");
    if (!e.code && stat(path, &st) < 0)
        e = err_sys("stat");
    if (e.code) {
        buf_printf(explain, "cannot make %s %s: %s", option, path, strerror(e.sys));
        return e;
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != uid) {
        buf_printf(explain,
                   "%s %s belongs to user %u and must be a directory of user %u: choose "
                   "another, or give it to that user with chown -R",
                   option, path, (unsigned)st.st_uid, (unsigned)uid);
        return err_make(E_DENIED, "owner of directory");
    }
    return OK;
}

struct err sockets_directories(struct supervisor *s, struct buf *explain)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 16 * KB);
    char *data = str_dup_c(&a, pb_str(s->config->settings->data_dir));
    char *run = str_dup_c(&a, pb_str(s->config->run_dir));
    if (!data || !run || data[0] != '/' || run[0] != '/') {
        buf_printf(explain, "data_dir and run_dir must be absolute paths, in %s", s->config_path);
        return err_make(E_INVALID, "directories");
    }
    uid_t uid;
    gid_t gid;
    identity_of(THURN__ROLE_KIND__ROLE_BACKEND, &uid, &gid);
    TRY(directory_prepare("data_dir", data, 0700, uid, gid, explain));
    TRY(directory_prepare("run_dir", run, 0755, geteuid(), getegid(), explain));
    int a_n = snprintf(s->control_path, sizeof s->control_path, "%s/supervisor.sock", run);
    int b_n = snprintf(s->admin_path, sizeof s->admin_path, "%s/backend.sock", run);
    if (a_n < 0 || b_n < 0 || (size_t)a_n >= sizeof s->control_path) {
        buf_printf(explain, "run_dir is too long: choose one of at most 90 characters, in %s",
                   s->config_path);
        return err_make(E_INVALID, "run_dir");
    }
    return OK;
}
