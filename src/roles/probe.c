#include "roles/probe.h"

#ifndef THURN_PROBE

void role_probe(struct role *r, const Thurn__Probe *p)
{
    (void)p;
    Thurn__ProbeResult result = THURN__PROBE_RESULT__INIT;
    result.detail = pb_bytes(STR("not a test build"));
    role_tell(r, RPC_PROBE_RESULT, &result.base);
}

#else

#include <arpa/inet.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

/* Each attempt returns 0 or more if it succeeded; errno says why not. The target is a path, an
 * address "ip:port" or a process id, as a C string. */
static int try_open(const char *target)
{
    return open(target, O_RDONLY | O_CLOEXEC);
}

static int try_create(const char *target)
{
    return open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static int try_connect(const char *target)
{
    struct sockaddr_storage sa;
    socklen_t len;
    if (sockaddr_parse(str_c(target), &sa, &len).code)
        return -1;
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? fd : connect(fd, (struct sockaddr *)&sa, len);
}

static int try_unix(const char *target)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    (void)snprintf(sa.sun_path, sizeof sa.sun_path, "%s", target);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? fd : connect(fd, (struct sockaddr *)&sa, sizeof sa);
}

static int try_socket(const char *target)
{
    (void)target;
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* Past the filter the kernel would find something else to complain about. */
static int try_datagram(const char *target)
{
    (void)target;
    int fds[2];
    return socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0 || errno != EPERM ? 0 : -1;
}

static int try_fastopen(const char *target)
{
    struct sockaddr_storage to;
    socklen_t n;
    if (sockaddr_parse(str_c(target), &to, &n).code)
        return -1;
    ssize_t sent =
        sendto(STDERR_FILENO, "", 1, MSG_FASTOPEN | MSG_DONTWAIT, (struct sockaddr *)&to, n);
    return sent >= 0 || errno != EPERM ? 0 : -1;
}

/* A success would replace the role, which shows as well: no result comes. */
static int try_exec(const char *target)
{
    return execl(target, target, (char *)NULL);
}

static pid_t probe_pid(const char *target)
{
    uint64_t v = 0;
    return str_to_u64(str_c(target), &v).code ? -1 : (pid_t)v;
}

static int try_ptrace(const char *target)
{
    return (int)ptrace(PTRACE_ATTACH, probe_pid(target), NULL, NULL);
}

static int try_kill(const char *target)
{
    return kill(probe_pid(target), 0);
}

static int try_fork(const char *target)
{
    (void)target;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid;
}

static char die_at[32];
static atomic_bool die_armed;

static int try_die_at(const char *target)
{
    (void)snprintf(die_at, sizeof die_at, "%s", target);
    atomic_store(&die_armed, true);
    return 0;
}

void probe_point(const char *name)
{
    if (atomic_load(&die_armed) && str_eq(str_c(die_at), str_c(name)))
        _exit(EXIT_FAILURE);
}

static const struct {
    const char *name;
    int (*run)(const char *target);
} attempts[] = {
    {"open", try_open},         {"create", try_create},     {"connect", try_connect},
    {"unix", try_unix},         {"socket", try_socket},     {"exec", try_exec},
    {"ptrace", try_ptrace},     {"kill", try_kill},         {"fork", try_fork},
    {"datagram", try_datagram}, {"fastopen", try_fastopen}, {"die-at", try_die_at},
};

void probe_tell(struct role *r, bool succeeded, struct str detail)
{
    Thurn__ProbeResult result = THURN__PROBE_RESULT__INIT;
    result.succeeded = succeeded;
    result.detail = pb_bytes(detail);
    role_tell(r, RPC_PROBE_RESULT, &result.base);
}

void probe_send_on(struct role *r, struct chan *c, uint16_t type)
{
    bool sent = c && !chan_send(c, type, 0, NULL, (struct str){0}, -1).code;
    probe_tell(r, sent, sent ? STR("sent") : STR("no such channel"));
}

/* "frame:NUMBER" sends an empty frame of that type: to the supervisor, which ends the role if it
 * may not say so, or on the channel that the target names. */
static bool probe_frame(struct role *r, struct str attempt, struct str channel)
{
    uint64_t type = 0;
    if (!str_starts(attempt, STR("frame:")) || str_to_u64(str_skip(attempt, 6), &type).code)
        return false;
    if (channel.n) {
        r->ops->probe_send(r, channel, (uint16_t)type);
        return true;
    }
    struct err e = chan_send(r->supervisor, (uint16_t)type, 0, NULL, (struct str){0}, -1);
    (void)e;
    return true;
}

void role_probe(struct role *r, const Thurn__Probe *p)
{
    char target[256], detail[128] = "unknown attempt";
    bool succeeded = false;
    struct str attempt = pb_str(p->attempt);
    (void)snprintf(target, sizeof target, "%.*s", STR_FMT(pb_str(p->target)));
    if (probe_frame(r, attempt, pb_str(p->target)))
        return;
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        if (!str_eq(attempt, str_c(attempts[i].name)))
            continue;
        errno = 0;
        int got = attempts[i].run(target);
        succeeded = got >= 0;
        (void)snprintf(detail, sizeof detail, "%s",
                       got >= 0 ? "succeeded" : strerrorname_np(errno));
    }
    probe_tell(r, succeeded, str_c(detail));
}

#endif
