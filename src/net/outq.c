#include "net/outq.h"

#include <sys/uio.h>

/* The first chunk is as large as malloc has at hand without a search. */
enum { CHUNK_SMALL = 1024, CHUNK_LARGE = 32 * 1024, OUTQ_IOV = 16 };

struct chunk {
    struct list link;
    size_t off, n, cap; /* bytes [off, n) wait */
    int fd;             /* goes with byte 0; -1: none, or gone already */
    uint8_t bytes[];
};

static struct chunk *chunk_of(struct list *link)
{
    return container_of(link, struct chunk, link);
}

void outq_init(struct outq *q)
{
    *q = (struct outq){0};
    list_init(&q->chunks);
}

static void chunk_drop(struct chunk *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    list_remove(&c->link);
    free(c);
}

void outq_clear(struct outq *q)
{
    while (!list_empty(&q->chunks))
        chunk_drop(chunk_of(q->chunks.next));
    q->n = 0;
}

static struct chunk *chunk_add(struct outq *q, size_t n, int fd)
{
    size_t usual = MIN(MAX((size_t)CHUNK_SMALL, 4 * q->n), (size_t)CHUNK_LARGE);
    size_t cap = MAX(n, usual - sizeof(struct chunk));
    struct chunk *c = malloc(sizeof *c + cap);
    check(c != NULL);
    *c = (struct chunk){.cap = cap, .fd = fd};
    list_append(&q->chunks, &c->link);
    return c;
}

uint8_t *outq_add(struct outq *q, size_t n, int fd)
{
    struct chunk *c = list_empty(&q->chunks) ? NULL : chunk_of(q->chunks.prev);
    if (!c || fd >= 0 || c->cap - c->n < n)
        c = chunk_add(q, n, fd);
    uint8_t *room = c->bytes + c->n;
    c->n += n;
    q->n += n;
    return room;
}

/* A descriptor travels with the first byte of one sendmsg: a chunk that has one begins a new
 * call. `fd` is that of the first chunk. */
static size_t gather(const struct outq *q, struct str tail, struct iovec *iov, int *fd)
{
    size_t n = 0;
    *fd = -1;
    list_each (link, &q->chunks) {
        struct chunk *c = chunk_of(link);
        if (n == OUTQ_IOV - 1 || (n > 0 && c->fd >= 0))
            return n;
        if (n == 0)
            *fd = c->fd;
        iov[n++] = (struct iovec){c->bytes + c->off, c->n - c->off};
    }
    if (tail.n)
        iov[n++] = (struct iovec){(void *)(uintptr_t)tail.p, tail.n};
    return n;
}

static ssize_t send_once(int socket, struct iovec *iov, size_t n, int fd)
{
    union {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
    if (fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control;
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/* Takes `sent` bytes from the queue; returns how many of them were the tail's. */
static size_t outq_sent(struct outq *q, size_t sent)
{
    while (sent && !list_empty(&q->chunks)) {
        struct chunk *c = chunk_of(q->chunks.next);
        size_t n = MIN(sent, c->n - c->off);
        if (c->fd >= 0) {
            (void)close(c->fd);
            c->fd = -1;
        }
        c->off += n;
        q->n -= n;
        sent -= n;
        if (c->off == c->n)
            chunk_drop(c);
    }
    return sent;
}

struct err outq_send(struct outq *q, int socket, struct str *tail)
{
    q->blocked = false;
    while (q->n || tail->n) {
        struct iovec iov[OUTQ_IOV];
        int fd;
        size_t n = gather(q, *tail, iov, &fd);
        ssize_t sent = send_once(socket, iov, n, fd);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            q->blocked = true;
            return OK;
        }
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return err_make(E_CLOSED, "the other side is gone");
        if (sent < 0)
            return err_sys("sendmsg");
        *tail = str_skip(*tail, outq_sent(q, (size_t)sent));
    }
    return OK;
}
