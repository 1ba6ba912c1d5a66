#include "roles/supervisor/private.h"

#include <sys/socket.h>
#include <sys/un.h>

/* sd_notify(3): one datagram per change of state. The variable is taken out of the environment,
 * so that it is no role's. */
void notify_open(struct supervisor *s)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    s->notify_fd = -1;
    if (!path || (path[0] != '/' && path[0] != '@'))
        return;
    int n = snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    (void)unsetenv("NOTIFY_SOCKET");
    if (n < 2 || (size_t)n >= sizeof sa.sun_path)
        return;
    if (sa.sun_path[0] == '@') /* an abstract address: not a file */
        sa.sun_path[0] = 0;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&sa, len) == 0) {
        s->notify_fd = fd;
        return;
    }
    log_warn("notify.unreachable", LF_ERR(err_sys("connect to NOTIFY_SOCKET")));
    if (fd >= 0)
        (void)close(fd);
}

void notify_state(const struct supervisor *s, struct str state)
{
    if (s->notify_fd >= 0 && send(s->notify_fd, state.p, state.n, MSG_NOSIGNAL) < 0)
        log_warn("notify.not-sent", LF_STR("state", state), LF_ERR(err_sys("send")));
}
