#include "net/frame.h"
#include "net/loop.h"
#include "net/outq.h"

#include <sys/uio.h>

enum {
    CHAN_COLLECT = 64 * 1024, /* bytes collected before they are sent within the turn */
    CHAN_FDS = 8,             /* descriptors received and not yet claimed */
    CHAN_BULK = 32 * 1024,    /* received at once: more is expected, to be received with time */
};

struct chan {
    struct loop *loop;
    struct chan_spec spec;
    int fd;
    uint32_t state;
    unsigned busy; /* calls into the owner that are going on: the memory must stay */
    bool freed, closed, held;
    ev_io readable, writable;
    struct chore turn_end; /* on the loop's thread */
    struct chore slow;     /* receives, when there is time */
    bool slowly; /* next time when there is time: the last one brought much, or others hurry */
    struct chore kick; /* from other threads */

    struct frame_parser parser;
    struct buf rest; /* received but not parsed, while held */
    int fds[CHAN_FDS];
    size_t n_fds;

    pthread_mutex_t lock; /* of what follows */
    struct outq out;
    bool broken; /* nothing can be sent any more */
    bool above;  /* the backlog has been at CHAN_LOW or more */
    bool collecting;
    struct err send_err;
    atomic_size_t backlog; /* out.n, for reading without the lock */
};

static void chan_enter(struct chan *c)
{
    c->busy++;
}

/* False if the owner has freed it meanwhile. */
static bool chan_leave(struct chan *c)
{
    if (--c->busy == 0 && c->freed) {
        free(c);
        return false;
    }
    return !c->freed;
}

static void chan_close_fds(struct chan *c)
{
    for (size_t i = 0; i < c->n_fds; i++)
        (void)close(c->fds[i]);
    c->n_fds = 0;
}

/* Stops everything except the descriptor. */
static void chan_stop(struct chan *c)
{
    ev_io_stop(c->loop->ev, &c->readable);
    ev_io_stop(c->loop->ev, &c->writable);
    loop_forget(&c->turn_end);
    loop_forget(&c->slow);
    loop_unkick(c->loop, &c->kick);
    frame_parser_free(&c->parser);
    buf_free(&c->rest);
    chan_close_fds(c);
}

/* Called between chan_enter and chan_leave. */
static void chan_break(struct chan *c, struct err why)
{
    if (c->closed || c->freed)
        return;
    c->closed = true;
    chan_stop(c);
    (void)pthread_mutex_lock(&c->lock);
    c->broken = true;
    outq_clear(&c->out);
    atomic_store(&c->backlog, 0);
    (void)pthread_mutex_unlock(&c->lock);
    (void)shutdown(c->fd, SHUT_RDWR);
    c->spec.ops->closed(c, why, c->spec.arg);
}

/* ------------------------------------------------------------------------------------ receiving */

static bool chan_allows(const struct frame_type *type, void *arg)
{
    const struct chan *c = arg;
    for (size_t i = 0; i < c->spec.n_rules; i++)
        if (c->spec.rules[i].type == type->number && (c->spec.rules[i].states & c->state))
            return true;
    log_warn("chan.denied", LF_C("frame", type->name), LF_U64("state", c->state));
    return false;
}

static int chan_take_fd(struct chan *c)
{
    int fd = c->fds[0];
    c->n_fds--;
    memmove(c->fds, c->fds + 1, c->n_fds * sizeof c->fds[0]);
    return fd;
}

static struct err chan_frame(struct chan *c, struct frame_parts *parts)
{
    const struct frame_head *h = &parts->head;
    if (!chan_allows(h->type, c)) { /* the state may be another than when its head came */
        free(parts->body);
        return err_make(E_DENIED, "a frame that the state does not allow");
    }
    if (h->fd && c->n_fds == 0) {
        free(parts->body);
        return err_make(E_INVALID, "a frame without its descriptor");
    }
    struct frame *f;
    TRY(frame_unpack(parts, -1, &f));
    if (h->fd)
        f->fd = chan_take_fd(c);
    c->spec.ops->frame(c, f, c->spec.arg);
    return OK;
}

/* Descriptors come with the first byte of their frame: more than that frame's one is wrong. */
static struct err chan_check_fds(const struct chan *c)
{
    const struct frame_parser *p = &c->parser;
    size_t due = p->assembling ? p->head.fd : p->head_n > 0;
    return c->n_fds > due ? err_make(E_INVALID, "a descriptor without its frame") : OK;
}

static bool chan_may_deliver(const struct chan *c)
{
    return !c->freed && !c->closed && !c->held;
}

static struct err chan_deliver(struct chan *c, struct str in)
{
    while (chan_may_deliver(c)) {
        struct frame_parts parts;
        bool complete;
        TRY(frame_parser_next(&c->parser, &in, &parts, &complete));
        if (!complete)
            return chan_check_fds(c);
        TRY(chan_frame(c, &parts));
    }
    if (!c->freed && !c->closed)
        buf_put(&c->rest, in);
    return OK;
}

static struct err chan_deliver_rest(struct chan *c)
{
    struct buf rest CLEANUP(buf_free) = c->rest;
    c->rest = (struct buf){0};
    return chan_deliver(c, buf_str(&rest));
}

/* Keeps the descriptors that came; closes all of them if there are too many. */
static struct err chan_keep_fds(struct chan *c, struct msghdr *msg)
{
    bool too_many = msg->msg_flags & MSG_CTRUNC;
    for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
        if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(m) + i * sizeof fd, sizeof fd);
            if (c->n_fds < CHAN_FDS) {
                c->fds[c->n_fds++] = fd;
            } else {
                (void)close(fd);
                too_many = true;
            }
        }
    }
    return too_many ? err_make(E_INVALID, "too many descriptors") : OK;
}

/* Reads once: first what completes the frame being assembled, straight to its place, then into
 * the scratch buffer. */
static struct err chan_receive(struct chan *c)
{
    union {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    size_t direct;
    uint8_t *room = frame_parser_room(&c->parser, &direct);
    struct iovec iov[2] = {{room, direct}, {c->loop->scratch, LOOP_SCRATCH}};
    struct msghdr msg = {.msg_iov = direct ? iov : iov + 1,
                         .msg_iovlen = direct ? 2 : 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t got = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            return OK;
        return errno == ECONNRESET ? err_make(E_CLOSED, "the other side is gone")
                                   : err_sys("recvmsg");
    }
    c->slowly = got >= CHAN_BULK;
    TRY(chan_keep_fds(c, &msg));
    if (got == 0)
        return err_make(E_CLOSED, "the other side is gone");
    size_t placed = MIN((size_t)got, direct);
    if (placed)
        frame_parser_filled(&c->parser, placed);
    return chan_deliver(c, str_of(c->loop->scratch, (size_t)got - placed));
}

static void chan_read(struct chan *c)
{
    chan_enter(c);
    struct err e = c->rest.n ? chan_deliver_rest(c) : chan_receive(c);
    if (e.code != E_OK)
        chan_break(c, e);
    (void)chan_leave(c);
}

static void on_readable(struct ev_loop *ev, ev_io *w, int events)
{
    struct chan *c = w->data;
    if (!c->slowly) {
        chan_read(c);
        return;
    }
    ev_io_stop(ev, &c->readable);
    loop_with_time(c->loop, &c->slow);
}

static void on_time(struct chore *chore)
{
    struct chan *c = container_of(chore, struct chan, slow);
    if (c->held)
        return;
    ev_io_start(c->loop->ev, &c->readable);
    chan_read(c);
}

/* -------------------------------------------------------------------------------------- sending */

/* With the lock. */
static struct err chan_push(struct chan *c, struct str *raw)
{
    struct err e = outq_send(&c->out, c->fd, raw);
    if (e.code != E_OK) {
        c->broken = true;
        c->send_err = e;
        outq_clear(&c->out);
        *raw = (struct str){0};
    }
    atomic_store(&c->backlog, c->out.n);
    return e;
}

/* Whether the owner is to be told that there is room again. With the lock. */
static bool chan_has_drained(struct chan *c)
{
    bool drained = c->above && !c->broken && c->out.n < CHAN_LOW;
    if (drained)
        c->above = false;
    return drained;
}

/* On the loop's thread: sends what waits, and looks at what other threads have left behind. */
static void chan_flush(struct chan *c)
{
    struct str none = {0};
    (void)pthread_mutex_lock(&c->lock);
    if (c->out.n && !c->broken)
        (void)chan_push(c, &none); /* its error is in send_err */
    bool blocked = c->out.blocked && !c->broken;
    bool drained = chan_has_drained(c);
    struct err e = c->send_err;
    (void)pthread_mutex_unlock(&c->lock);
    if (blocked)
        ev_io_start(c->loop->ev, &c->writable);
    else
        ev_io_stop(c->loop->ev, &c->writable);
    if (drained && c->spec.ops->drained)
        c->spec.ops->drained(c, c->spec.arg);
    /* If the other side is gone, what it said last is read before the end of input tells so. */
    if (e.code != E_OK && e.code != E_CLOSED)
        chan_break(c, e);
}

static void on_writable(struct ev_loop *ev, ev_io *w, int events)
{
    struct chan *c = w->data;
    chan_enter(c);
    chan_flush(c);
    (void)chan_leave(c);
}

static void on_kick(struct chore *chore)
{
    struct chan *c = container_of(chore, struct chan, kick);
    chan_enter(c);
    chan_flush(c);
    (void)chan_leave(c);
}

static void on_turn_end(struct chore *chore)
{
    struct chan *c = container_of(chore, struct chan, turn_end);
    chan_enter(c);
    struct err e = c->rest.n && !c->held ? chan_deliver_rest(c) : OK;
    if (e.code != E_OK)
        chan_break(c, e);
    if (!c->freed && !c->closed)
        chan_flush(c);
    (void)chan_leave(c);
}

/* Puts head and typed part at the end of the queue. With the lock. */
static void chan_put(struct chan *c, const struct frame_head *h, const ProtobufCMessage *message,
                     int fd)
{
    uint8_t *room = outq_add(&c->out, FRAME_HEAD + (size_t)h->typed, fd);
    frame_head_write(h, room);
    if (message)
        check(protobuf_c_message_pack(message, room + FRAME_HEAD) == h->typed);
}

/* With the lock. `kick`: the loop's thread has something to do about it. */
static struct err chan_send_locked(struct chan *c, const struct frame_head *h,
                                   const ProtobufCMessage *message, struct str raw, int fd,
                                   bool *kick)
{
    bool collect = loop_is_current(c->loop) || c->collecting;
    bool was_blocked = c->out.blocked;
    chan_put(c, h, message, fd);
    struct err e = OK;
    if (!was_blocked && (!collect || c->out.n + raw.n >= CHAN_COLLECT))
        e = chan_push(c, &raw);
    if (raw.n)
        memcpy(outq_add(&c->out, raw.n, -1), raw.p, raw.n);
    atomic_store(&c->backlog, c->out.n);
    if (c->out.n >= CHAN_LOW)
        c->above = true;
    *kick = e.code != E_OK || (c->out.n > 0 && !was_blocked && (!c->collecting || c->out.blocked));
    return e;
}

struct err chan_send(struct chan *c, uint16_t type, uint32_t serial,
                     const ProtobufCMessage *message, struct str raw, int fd)
{
    const struct frame_type *t = frame_type_find(c->spec.table, type);
    check(t != NULL && (!message || message->descriptor == t->message));
    size_t typed = message ? protobuf_c_message_get_packed_size(message) : 0;
    if (typed > t->max_typed || raw.n > MIN(t->max_raw, (uint32_t)FRAME_RAW_MAX))
        return err_make(E_LIMIT, "frame larger than its type allows");
    check(fd < 0 || t->fd);
    int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0 && own < 0)
        return err_sys("dup");
    struct frame_head h = {.type = t,
                           .typed = (uint32_t)typed,
                           .raw = (uint32_t)raw.n,
                           .serial = serial,
                           .fd = fd >= 0};
    bool kick = false;
    (void)pthread_mutex_lock(&c->lock);
    struct err e = err_make(E_CLOSED, "the channel is closed");
    if (!c->broken)
        e = chan_send_locked(c, &h, message, raw, own, &kick);
    else if (own >= 0)
        (void)close(own);
    (void)pthread_mutex_unlock(&c->lock);
    if (kick && loop_is_current(c->loop))
        loop_at_turn_end(c->loop, &c->turn_end);
    else if (kick)
        loop_kick(c->loop, &c->kick);
    return e;
}

void chan_collect(struct chan *c, bool on)
{
    struct str none = {0};
    bool kick = false;
    (void)pthread_mutex_lock(&c->lock);
    c->collecting = on;
    if (!on && c->out.n && !c->out.blocked && !c->broken)
        kick = chan_push(c, &none).code != E_OK || c->out.n > 0;
    (void)pthread_mutex_unlock(&c->lock);
    if (kick)
        loop_kick(c->loop, &c->kick);
}

bool chan_send_now(struct chan *c)
{
    struct str none = {0};
    (void)pthread_mutex_lock(&c->lock);
    if (c->out.n && !c->out.blocked && !c->broken)
        (void)chan_push(c, &none); /* the turn's end tells of its error */
    bool all = c->out.n == 0;
    (void)pthread_mutex_unlock(&c->lock);
    return all;
}

size_t chan_backlog(const struct chan *c)
{
    return atomic_load(&c->backlog);
}

/* ----------------------------------------------------------------------------------------- life */

struct err chan_new(struct loop *l, int fd, const struct chan_spec *spec, struct chan **out)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        struct err e = err_sys("fcntl");
        (void)close(fd);
        return e;
    }
    struct chan *c = mem_alloc(sizeof *c);
    c->loop = l;
    c->spec = *spec;
    c->fd = fd;
    c->state = 1;
    frame_parser_init(&c->parser, spec->table);
    c->parser.permits = chan_allows;
    c->parser.permits_arg = c;
    outq_init(&c->out);
    check(pthread_mutex_init(&c->lock, NULL) == 0);
    chore_init(&c->turn_end, on_turn_end);
    chore_init(&c->slow, on_time);
    chore_init(&c->kick, on_kick);
    ev_io_init(&c->readable, on_readable, fd, EV_READ);
    ev_io_init(&c->writable, on_writable, fd, EV_WRITE);
    c->readable.data = c->writable.data = c;
    ev_io_start(l->ev, &c->readable);
    *out = c;
    return OK;
}

void chan_free(struct chan *c)
{
    if (!c)
        return;
    check(!c->freed);
    struct str none = {0};
    if (!c->broken)
        (void)chan_push(c, &none); /* what was collected and fits */
    chan_stop(c);
    outq_clear(&c->out);
    (void)close(c->fd);
    (void)pthread_mutex_destroy(&c->lock);
    c->freed = true;
    if (c->busy == 0)
        free(c);
}

void chan_set_state(struct chan *c, uint32_t state)
{
    check(__builtin_popcount(state) == 1);
    c->state = state;
}

void chan_hold(struct chan *c, bool held)
{
    if (c->held == held || c->closed)
        return;
    c->held = held;
    if (held) {
        ev_io_stop(c->loop->ev, &c->readable);
        return;
    }
    ev_io_start(c->loop->ev, &c->readable);
    if (c->rest.n)
        loop_at_turn_end(c->loop, &c->turn_end);
}

void chan_no_hurry(struct chan *c)
{
    c->slowly = true;
}

struct err chan_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return err_sys("socketpair");
    return OK;
}
