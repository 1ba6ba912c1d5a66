#include "net/loop.h"

enum {
    LISTENER_BATCH = 4,      /* connections accepted before others have their turn */
    LISTENER_PAUSE_MS = 100, /* without descriptors or memory */
};

struct listener {
    struct loop *loop;
    int fd;
    void (*accepted)(int fd, struct ip peer, void *arg);
    void *arg;
    ev_io readable;
    struct timer *pause;
    bool accepting, freed;
};

static void listener_resume(void *arg)
{
    struct listener *l = arg;
    ev_io_start(l->loop->ev, &l->readable);
}

static bool is_out_of_resources(int e)
{
    return e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM;
}

/* False when there is nothing more to accept now. */
static bool listener_accept(struct listener *l)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        l->accepted(fd, ip_of_sockaddr(&sa), l->arg);
        return !l->freed;
    }
    if (is_out_of_resources(errno)) {
        log_warn("listener.pause", LF_ERR(err_sys("accept")));
        ev_io_stop(l->loop->ev, &l->readable);
        timer_set(l->pause, LISTENER_PAUSE_MS);
        return false;
    }
    /* Other errors are of the one connection that was about to be accepted. */
    return errno != EAGAIN && errno != EWOULDBLOCK;
}

static void on_connection(struct ev_loop *ev, ev_io *w, int events)
{
    struct listener *l = w->data;
    l->accepting = true;
    for (unsigned i = 0; i < LISTENER_BATCH && listener_accept(l); i++)
        continue;
    l->accepting = false;
    if (l->freed)
        free(l);
}

struct listener *listener_new(struct loop *loop, int fd,
                              void (*accepted)(int fd, struct ip peer, void *arg), void *arg)
{
    struct listener *l = mem_alloc(sizeof *l);
    l->loop = loop;
    l->fd = fd;
    l->accepted = accepted;
    l->arg = arg;
    l->pause = timer_new(loop, listener_resume, l);
    int flags = fcntl(fd, F_GETFL);
    check(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    ev_io_init(&l->readable, on_connection, fd, EV_READ);
    l->readable.data = l;
    ev_io_start(loop->ev, &l->readable);
    return l;
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    ev_io_stop(l->loop->ev, &l->readable);
    timer_free(l->pause);
    (void)close(l->fd);
    l->freed = true;
    if (!l->accepting)
        free(l);
}
