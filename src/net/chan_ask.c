#include "net/frame.h"

#include <poll.h>

enum { ASK_READ = 64 * 1024 };

static struct err wait_for(int fd, short events, uint32_t ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n;
    do {
        n = poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return err_make(E_TIMEOUT, "no answer in time");
    return n < 0 ? err_sys("poll") : OK;
}

static struct err send_all(int fd, struct str s, uint32_t ms)
{
    while (s.n) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            s = str_skip(s, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            TRY(wait_for(fd, POLLOUT, ms));
        else if (errno == EPIPE || errno == ECONNRESET)
            return err_make(E_CLOSED, "the other side is gone");
        else if (errno != EINTR)
            return err_sys("send");
    }
    return OK;
}

static struct err send_request(int fd, const struct frame_table *table, uint16_t type,
                               const ProtobufCMessage *message, uint32_t ms)
{
    struct frame_head h = {.type = frame_type_find(table, type), .serial = 1};
    check(h.type != NULL && (!message || message->descriptor == h.type->message));
    size_t n = message ? protobuf_c_message_get_packed_size(message) : 0;
    if (n > h.type->max_typed)
        return err_make(E_LIMIT, "request larger than its type allows");
    h.typed = (uint32_t)n;
    struct buf out CLEANUP(buf_free) = {0};
    uint8_t *room = buf_room(&out, FRAME_HEAD + n);
    TRY(buf_err(&out));
    frame_head_write(&h, room);
    if (message)
        check(protobuf_c_message_pack(message, room + FRAME_HEAD) == n);
    buf_added(&out, FRAME_HEAD + n);
    return send_all(fd, buf_str(&out), ms);
}

/* Hands out the frames in `in`; `done` once one was the last. */
static struct err answer_frames(struct frame_parser *p, struct str in,
                                bool (*each)(struct frame *f, void *arg), void *arg, bool *done)
{
    while (!*done) {
        struct frame_parts parts;
        bool complete;
        TRY(frame_parser_next(p, &in, &parts, &complete));
        if (!complete)
            return OK;
        if (parts.head.fd) {
            free(parts.body);
            return err_make(E_INVALID, "an answer with a descriptor");
        }
        struct frame *f;
        TRY(frame_unpack(&parts, -1, &f));
        *done = each(f, arg);
        frame_free(f);
    }
    return OK;
}

static struct err receive_answer(int fd, struct frame_parser *p, uint8_t *bytes, uint32_t ms,
                                 bool (*each)(struct frame *f, void *arg), void *arg)
{
    for (bool done = false; !done;) {
        ssize_t n = recv(fd, bytes, ASK_READ, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return err_make(E_CLOSED, "the other side is gone");
        if (n > 0)
            TRY(answer_frames(p, str_of(bytes, (size_t)n), each, arg, &done));
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            TRY(wait_for(fd, POLLIN, ms));
        else if (errno != EINTR)
            return err_sys("recv");
    }
    return OK;
}

struct err chan_ask(int fd, const struct frame_table *table, uint16_t type,
                    const ProtobufCMessage *message, uint32_t ms,
                    bool (*each)(struct frame *f, void *arg), void *arg)
{
    TRY(send_request(fd, table, type, message, ms));
    struct frame_parser p;
    frame_parser_init(&p, table);
    uint8_t *bytes = mem_alloc(ASK_READ);
    struct err e = receive_answer(fd, &p, bytes, ms, each, arg);
    frame_parser_free(&p);
    free(bytes);
    return e;
}
