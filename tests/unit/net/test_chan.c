#include "base/base.h"

#include "pair.h"
#include "net/frame.h"

#include <sys/uio.h>

/* One side of a channel under test, and what has come to it. */
struct side {
    struct loop *loop;
    struct chan *chan;
    size_t frames, drained, bytes;
    struct frame *last;
    bool closed, hold_each, free_in_frame;
    struct err why;
    size_t want; /* what side_has waits for */
    uint32_t last_serial[3];
    bool out_of_order;
};

static void side_frame(struct chan *c, struct frame *f, void *arg)
{
    struct side *s = arg;
    s->frames++;
    s->bytes += f->raw.n;
    uint32_t thread = f->serial >> 24, number = f->serial & 0xFFFFFF;
    if (thread < 3) {
        s->out_of_order |= number != s->last_serial[thread] + 1;
        s->last_serial[thread] = number;
    }
    frame_free(s->last);
    s->last = f;
    if (s->hold_each)
        chan_hold(c, true);
    if (s->free_in_frame) {
        chan_free(c);
        s->chan = NULL;
    }
}

static void side_drained(struct chan *c, void *arg)
{
    struct side *s = arg;
    s->drained++;
}

static void side_closed(struct chan *c, struct err why, void *arg)
{
    struct side *s = arg;
    assert_false(s->closed);
    s->closed = true;
    s->why = why;
}

static const struct chan_ops side_ops = {side_frame, side_drained, side_closed};
enum { STATE_ANY = 0xFFFF };
static const struct chan_rule rules[] = {
    {RPC_PROBE, STATE_ANY},        {RPC_SCAN_PARSE, STATE_ANY}, {RPC_IMAP_BYTES, STATE_ANY},
    {RPC_SESSION_OPEN, STATE_ANY}, {RPC_IMAP_LOGIN, 1},         {RPC_IMAP_SELECT, 2},
};

static void side_open(struct side *s, struct loop *l, int fd)
{
    *s = (struct side){.loop = l};
    struct chan_spec spec = {&rpc_table, rules, ARRAY_LEN(rules), &side_ops, s};
    assert_int_equal(chan_new(l, fd, &spec, &s->chan).code, E_OK);
}

static void side_shut(struct side *s)
{
    chan_free(s->chan);
    frame_free(s->last);
}

static bool side_has(void *arg)
{
    struct side *s = arg;
    return s->frames >= s->want || s->closed;
}

static bool side_is_closed(void *arg)
{
    return ((struct side *)arg)->closed;
}

static bool side_has_drained(void *arg)
{
    return ((struct side *)arg)->drained > 0;
}

static void await(struct side *s, size_t frames)
{
    s->want = frames;
    run_until(s->loop, side_has, s);
    assert_false(s->closed);
    assert_int_equal(s->frames, frames);
}

static void await_closed(struct side *s, enum errc code)
{
    run_until(s->loop, side_is_closed, s);
    assert_int_equal(s->why.code, code);
}

static Thurn__Probe probe(struct str attempt)
{
    Thurn__Probe p = THURN__PROBE__INIT;
    p.attempt = pb_bytes(attempt);
    return p;
}

/* The bytes of a frame as another process might send them. */
static void put_frame(struct buf *out, uint16_t type, uint32_t serial, const ProtobufCMessage *m,
                      struct str raw, bool fd)
{
    buf_u32le(out, m ? (uint32_t)protobuf_c_message_get_packed_size(m) : 0);
    buf_u32le(out, (uint32_t)raw.n);
    buf_u16le(out, type);
    buf_u16le(out, fd);
    buf_u32le(out, serial);
    if (m)
        pb_pack(out, m);
    buf_put(out, raw);
}

static void write_raw(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        assert_true(n > 0);
        bytes = str_skip(bytes, (size_t)n);
    }
}

/* Sends bytes with descriptors attached. */
static void write_fds(int socket, struct str bytes, const int *fds, size_t n)
{
    union {
        struct cmsghdr head;
        uint8_t b[CMSG_SPACE(16 * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes.p, bytes.n};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(&control.head), fds, n * sizeof(int));
    assert_int_equal(sendmsg(socket, &msg, 0), (ssize_t)bytes.n);
}

static size_t open_fds(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

struct world {
    struct loop *loop;
    int fds[2];
    struct side b;
};

static int setup(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    assert_int_equal(loop_new(&w->loop).code, E_OK);
    assert_int_equal(chan_pair(w->fds).code, E_OK);
    side_open(&w->b, w->loop, w->fds[1]);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    side_shut(&w->b);
    if (w->fds[0] >= 0)
        (void)close(w->fds[0]);
    loop_free(w->loop);
    free(w);
    return 0;
}

static void a_frame_arrives_as_it_was_sent(void **state)
{
    struct world *w = *state;
    struct side a;
    side_open(&a, w->loop, w->fds[0]);
    w->fds[0] = -1;
    Thurn__Probe m = probe(STR("open"));
    assert_int_equal(chan_send(a.chan, RPC_PROBE, 7, &m.base, (struct str){0}, -1).code, E_OK);
    await(&w->b, 1);
    assert_int_equal(w->b.last->type->number, RPC_PROBE);
    assert_int_equal(w->b.last->serial, 7);
    assert_true(str_eq(pb_str(((Thurn__Probe *)w->b.last->message)->attempt), STR("open")));
    assert_int_equal(w->b.last->raw.n, 0);
    assert_int_equal(w->b.last->fd, -1);
    side_shut(&a);
}

static void frames_fed_one_byte_at_a_time_arrive_whole(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    Thurn__ScanParse m = THURN__SCAN_PARSE__INIT;
    m.size = 5;
    put_frame(&bytes, RPC_SCAN_PARSE, 1, &m.base, STR("hello"), false);
    put_frame(&bytes, RPC_IMAP_BYTES, 2, NULL, STR("world"), false);
    for (size_t i = 0; i < bytes.n; i++) {
        write_raw(w->fds[0], str_sub(buf_str(&bytes), i, i + 1));
        size_t before = w->b.frames;
        if (i + 1 == bytes.n - FRAME_HEAD - 5)
            await(&w->b, before + 1);
        else if (i + 1 < bytes.n)
            assert_int_equal(before, i + 1 < bytes.n - FRAME_HEAD - 5 ? 0 : 1);
        /* One turn, so that each byte is read by itself. */
        w->b.want = w->b.frames;
        if (i + 1 < bytes.n)
            run_until(w->loop, side_has, &w->b);
    }
    await(&w->b, 2);
    assert_true(str_eq(w->b.last->raw, STR("world")));
    assert_int_equal(w->b.last->serial, 2);
}

static void many_frames_in_one_read_come_in_order(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    for (uint32_t i = 1; i <= 1000; i++)
        put_frame(&bytes, RPC_IMAP_BYTES, i, NULL, STR("x"), false);
    write_raw(w->fds[0], buf_str(&bytes));
    await(&w->b, 1000);
    assert_false(w->b.out_of_order);
}

static void a_descriptor_comes_with_its_frame(void **state)
{
    struct world *w = *state;
    struct side a;
    side_open(&a, w->loop, w->fds[0]);
    w->fds[0] = -1;
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    Thurn__SessionOpen m = THURN__SESSION_OPEN__INIT;
    assert_int_equal(chan_send(a.chan, RPC_PROBE, 1, NULL, (struct str){0}, -1).code, E_OK);
    assert_int_equal(chan_send(a.chan, RPC_SESSION_OPEN, 2, &m.base, (struct str){0}, p[1]).code,
                     E_OK);
    assert_int_equal(chan_send(a.chan, RPC_PROBE, 3, NULL, (struct str){0}, -1).code, E_OK);
    assert_int_equal(chan_send(a.chan, RPC_SESSION_OPEN, 4, &m.base, (struct str){0}, p[1]).code,
                     E_OK);
    (void)close(p[1]);
    await(&w->b, 4);
    assert_int_equal(w->b.last->serial, 4);
    assert_true(w->b.last->fd >= 0);
    assert_true(fcntl(w->b.last->fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(w->b.last->fd, "!", 1), 1);
    char c;
    assert_int_equal(read(p[0], &c, 1), 1);
    (void)close(p[0]);
    side_shut(&a);
}

static void a_claimed_descriptor_that_did_not_come_breaks_the_channel(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    put_frame(&bytes, RPC_SESSION_OPEN, 1, NULL, (struct str){0}, true);
    write_raw(w->fds[0], buf_str(&bytes));
    await_closed(&w->b, E_INVALID);
    assert_int_equal(w->b.frames, 0);
}

static void surplus_descriptors_break_the_channel_and_are_closed(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    put_frame(&bytes, RPC_PROBE, 1, NULL, (struct str){0}, false);
    size_t before = open_fds();
    write_fds(w->fds[0], buf_str(&bytes), (int[]){0}, 1);
    await_closed(&w->b, E_INVALID);
    assert_int_equal(open_fds(), before);
}

static void too_many_descriptors_break_the_channel_and_are_closed(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    put_frame(&bytes, RPC_SESSION_OPEN, 1, NULL, (struct str){0}, true);
    size_t before = open_fds();
    int fds[16] = {0};
    write_fds(w->fds[0], buf_str(&bytes), fds, 16);
    await_closed(&w->b, E_INVALID);
    assert_int_equal(open_fds(), before);
    assert_int_equal(w->b.frames, 0);
}

static void a_frame_that_the_state_forbids_ends_the_channel(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    put_frame(&bytes, RPC_IMAP_LOGIN, 1, NULL, (struct str){0}, false);
    put_frame(&bytes, RPC_IMAP_SELECT, 2, NULL, (struct str){0}, false);
    write_raw(w->fds[0], buf_str(&bytes));
    await_closed(&w->b, E_DENIED);
    assert_int_equal(w->b.frames, 1);
}

static void a_changed_state_allows_what_belongs_to_it(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    chan_set_state(w->b.chan, 2);
    put_frame(&bytes, RPC_IMAP_SELECT, 2, NULL, (struct str){0}, false);
    write_raw(w->fds[0], buf_str(&bytes));
    await(&w->b, 1);
}

static void a_frame_without_a_rule_ends_the_channel(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    put_frame(&bytes, RPC_ROLE_STOP, 1, NULL, (struct str){0}, false);
    write_raw(w->fds[0], buf_str(&bytes));
    await_closed(&w->b, E_DENIED);
}

static void an_oversized_head_ends_the_channel(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    buf_u32le(&bytes, 5 * 1024);
    buf_u32le(&bytes, 0);
    buf_u16le(&bytes, RPC_PROBE);
    buf_u16le(&bytes, 0);
    buf_u32le(&bytes, 1);
    write_raw(w->fds[0], buf_str(&bytes));
    await_closed(&w->b, E_LIMIT);
}

/* Without its first byte having come, and without memory for it. */
static void a_forbidden_frame_ends_the_channel_at_its_head(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    buf_u32le(&bytes, 4096 * KB);
    buf_u32le(&bytes, 0);
    buf_u16le(&bytes, RPC_SCAN_PARSED);
    buf_u16le(&bytes, 0);
    buf_u32le(&bytes, 1);
    write_raw(w->fds[0], buf_str(&bytes));
    await_closed(&w->b, E_DENIED);
}

static void an_unknown_type_ends_the_channel(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    buf_u64le(&bytes, 0);
    buf_u32le(&bytes, 9999);
    buf_u32le(&bytes, 1);
    write_raw(w->fds[0], buf_str(&bytes));
    await_closed(&w->b, E_INVALID);
}

static void a_malformed_typed_part_ends_the_channel(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    buf_u32le(&bytes, 2);
    buf_u32le(&bytes, 0);
    buf_u16le(&bytes, RPC_PROBE);
    buf_u16le(&bytes, 0);
    buf_u32le(&bytes, 1);
    buf_put(&bytes, STR("\x0a\x7f"));
    write_raw(w->fds[0], buf_str(&bytes));
    await_closed(&w->b, E_INVALID);
}

static void the_end_of_the_other_side_is_told_after_its_last_frame(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    put_frame(&bytes, RPC_PROBE, 1, NULL, (struct str){0}, false);
    write_raw(w->fds[0], buf_str(&bytes));
    (void)close(w->fds[0]);
    w->fds[0] = -1;
    struct err e = chan_send(w->b.chan, RPC_PROBE, 1, NULL, (struct str){0}, -1);
    assert_int_equal(e.code, E_CLOSED);
    await_closed(&w->b, E_CLOSED);
    assert_int_equal(w->b.frames, 1);
    assert_int_equal(chan_send(w->b.chan, RPC_PROBE, 1, NULL, (struct str){0}, -1).code, E_CLOSED);
}

static void a_held_channel_delivers_nothing_and_loses_nothing(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    for (uint32_t i = 1; i <= 5; i++)
        put_frame(&bytes, RPC_IMAP_BYTES, i, NULL, STR("abc"), false);
    write_raw(w->fds[0], buf_str(&bytes));
    w->b.hold_each = true;
    for (size_t i = 1; i <= 5; i++) {
        await(&w->b, i);
        w->b.want = i;
        run_until(w->loop, side_has, &w->b); /* some more turns: still held */
        assert_int_equal(w->b.frames, i);
        chan_hold(w->b.chan, false);
    }
    assert_false(w->b.out_of_order);
}

static void a_channel_may_be_freed_while_it_delivers(void **state)
{
    struct world *w = *state;
    struct buf bytes CLEANUP(buf_free) = {0};
    for (uint32_t i = 1; i <= 5; i++)
        put_frame(&bytes, RPC_IMAP_BYTES, i, NULL, STR("abc"), false);
    write_raw(w->fds[0], buf_str(&bytes));
    w->b.free_in_frame = true;
    await(&w->b, 1);
    assert_null(w->b.chan);
}

static void a_full_socket_queues_and_tells_when_it_drains(void **state)
{
    struct world *w = *state;
    struct side a;
    side_open(&a, w->loop, w->fds[0]);
    w->fds[0] = -1;
    chan_hold(w->b.chan, true);
    uint8_t *raw = mem_alloc(FRAME_RAW_MAX);
    size_t sent = 0;
    for (uint32_t i = 1; i <= 40; i++, sent++) {
        memset(raw, (int)i, FRAME_RAW_MAX);
        assert_int_equal(
            chan_send(a.chan, RPC_IMAP_BYTES, i, NULL, str_of(raw, FRAME_RAW_MAX), -1).code, E_OK);
    }
    assert_true(chan_backlog(a.chan) > CHAN_HIGH);
    chan_hold(w->b.chan, false);
    await(&w->b, sent);
    run_until(w->loop, side_has_drained, &a);
    assert_int_equal(chan_backlog(a.chan), 0);
    assert_int_equal(a.drained, 1);
    assert_false(w->b.out_of_order);
    assert_int_equal(w->b.bytes, sent * FRAME_RAW_MAX);
    for (size_t i = 0; i < FRAME_RAW_MAX; i++)
        assert_int_equal(w->b.last->raw.p[i], 40);
    free(raw);
    side_shut(&a);
}

static void a_descriptor_that_had_to_wait_still_comes_with_its_frame(void **state)
{
    struct world *w = *state;
    struct side a;
    side_open(&a, w->loop, w->fds[0]);
    w->fds[0] = -1;
    chan_hold(w->b.chan, true);
    uint8_t *raw = mem_alloc(FRAME_RAW_MAX);
    for (uint32_t i = 1; i <= 10; i++)
        assert_int_equal(
            chan_send(a.chan, RPC_IMAP_BYTES, 0x3000000, NULL, str_of(raw, FRAME_RAW_MAX), -1).code,
            E_OK);
    assert_true(chan_backlog(a.chan) > 0);
    size_t before = open_fds();
    for (uint32_t i = 1; i <= 3; i++)
        assert_int_equal(chan_send(a.chan, RPC_SESSION_OPEN, i, NULL, (struct str){0}, 0).code,
                         E_OK);
    chan_hold(w->b.chan, false);
    await(&w->b, 13);
    assert_true(w->b.last->fd >= 0);
    frame_free(w->b.last);
    w->b.last = NULL;
    assert_int_equal(open_fds(), before);
    free(raw);
    side_shut(&a);
}

enum { PER_THREAD = 20000 };
struct sender {
    pthread_t thread;
    struct chan *chan;
    uint32_t number;
};

static void *send_many(void *arg)
{
    struct sender *s = arg;
    static const uint8_t zeros[4096];
    for (uint32_t i = 1; i <= PER_THREAD; i++) {
        struct str raw = str_of(zeros, i % 100 == 0 ? 4096 : i % 50);
        struct err e = chan_send(s->chan, RPC_IMAP_BYTES, s->number << 24 | i, NULL, raw, -1);
        check(e.code == E_OK);
    }
    return NULL;
}

static void frames_of_two_threads_keep_their_order(void **state)
{
    struct world *w = *state;
    struct side a;
    side_open(&a, w->loop, w->fds[0]);
    w->fds[0] = -1;
    struct sender senders[2] = {{.chan = a.chan, .number = 1}, {.chan = a.chan, .number = 2}};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]), 0);
    await(&w->b, (size_t)2 * PER_THREAD);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
    assert_false(w->b.out_of_order);
    side_shut(&a);
}

static void collected_frames_leave_together(void **state)
{
    struct world *w = *state;
    struct side a;
    int peer = w->fds[0];
    struct chan *c = w->b.chan;
    uint8_t byte;
    chan_collect(c, true);
    for (uint32_t i = 1; i <= 3; i++)
        assert_int_equal(chan_send(c, RPC_PROBE, i, NULL, (struct str){0}, -1).code, E_OK);
    assert_int_equal(recv(peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    chan_collect(c, false);
    assert_int_equal(chan_backlog(c), 0);
    side_open(&a, w->loop, peer);
    w->fds[0] = -1;
    await(&a, 3);
    assert_false(a.out_of_order);
    side_shut(&a);
}

static void what_is_to_be_sent_now_does_not_wait_for_the_rest(void **state)
{
    static const uint8_t raw[FRAME_RAW_MAX];
    struct world *w = *state;
    struct chan *c = w->b.chan;
    uint8_t byte;
    chan_collect(c, true);
    assert_int_equal(chan_send(c, RPC_PROBE, 1, NULL, (struct str){0}, -1).code, E_OK);
    assert_int_equal(recv(w->fds[0], &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    assert_true(chan_send_now(c));
    assert_int_equal(recv(w->fds[0], &byte, 1, MSG_PEEK | MSG_DONTWAIT), 1);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(chan_send(c, RPC_IMAP_BYTES, i, NULL, str_of(raw, sizeof raw), -1).code,
                         E_OK);
    assert_false(chan_send_now(c)); /* nobody reads */
}

/* As a worker does it that answers with more than the socket takes. */
static void *send_collected(void *arg)
{
    struct sender *s = arg;
    chan_collect(s->chan, true);
    (void)send_many(s);
    chan_collect(s->chan, false);
    return NULL;
}

static void collected_frames_that_do_not_fit_follow(void **state)
{
    struct world *w = *state;
    struct side a;
    side_open(&a, w->loop, w->fds[0]);
    w->fds[0] = -1;
    struct sender s = {.chan = a.chan, .number = 1};
    assert_int_equal(pthread_create(&s.thread, NULL, send_collected, &s), 0);
    assert_int_equal(pthread_join(s.thread, NULL), 0); /* nobody has read yet */
    assert_true(chan_backlog(a.chan) > 0);
    await(&w->b, PER_THREAD);
    assert_false(w->b.out_of_order);
    run_until(w->loop, side_has_drained, &a);
    assert_int_equal(chan_backlog(a.chan), 0);
    side_shut(&a);
}

struct asked {
    int fd;
    size_t answers;
};

static void *answer(void *arg)
{
    struct asked *q = arg;
    struct buf out CLEANUP(buf_free) = {0};
    uint8_t head[FRAME_HEAD];
    check(recv(q->fd, head, sizeof head, MSG_WAITALL) == FRAME_HEAD);
    for (size_t i = 0; i < 3; i++)
        put_frame(&out, RPC_ADMIN_ANSWER, 1, NULL, (struct str){0}, false);
    for (size_t i = 0; i < out.n; i += 7)
        check(send(q->fd, out.p + i, MIN((size_t)7, out.n - i), 0) > 0);
    return NULL;
}

static bool third(struct frame *f, void *arg)
{
    struct asked *q = arg;
    return ++q->answers == 3;
}

static void a_question_gets_all_its_answers(void **state)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct asked q = {.fd = fds[1]};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, answer, &q), 0);
    struct err e = chan_ask(fds[0], &rpc_table, RPC_ADMIN_DOMAIN_LIST, NULL, 20000, third, &q);
    assert_int_equal(e.code, E_OK);
    assert_int_equal(q.answers, 3);
    assert_int_equal(pthread_join(t, NULL), 0);
    e = chan_ask(fds[0], &rpc_table, RPC_ADMIN_DOMAIN_LIST, NULL, 20, third, &q);
    assert_int_equal(e.code, E_TIMEOUT);
    (void)close(fds[1]);
    e = chan_ask(fds[0], &rpc_table, RPC_ADMIN_DOMAIN_LIST, NULL, 20, third, &q);
    assert_int_equal(e.code, E_CLOSED);
    (void)close(fds[0]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_frame_arrives_as_it_was_sent),
        T(frames_fed_one_byte_at_a_time_arrive_whole),
        T(many_frames_in_one_read_come_in_order),
        T(a_descriptor_comes_with_its_frame),
        T(a_claimed_descriptor_that_did_not_come_breaks_the_channel),
        T(surplus_descriptors_break_the_channel_and_are_closed),
        T(too_many_descriptors_break_the_channel_and_are_closed),
        T(a_frame_that_the_state_forbids_ends_the_channel),
        T(a_changed_state_allows_what_belongs_to_it),
        T(a_frame_without_a_rule_ends_the_channel),
        T(an_oversized_head_ends_the_channel),
        T(a_forbidden_frame_ends_the_channel_at_its_head),
        T(an_unknown_type_ends_the_channel),
        T(a_malformed_typed_part_ends_the_channel),
        T(the_end_of_the_other_side_is_told_after_its_last_frame),
        T(a_held_channel_delivers_nothing_and_loses_nothing),
        T(a_channel_may_be_freed_while_it_delivers),
        T(a_full_socket_queues_and_tells_when_it_drains),
        T(a_descriptor_that_had_to_wait_still_comes_with_its_frame),
        T(frames_of_two_threads_keep_their_order),
        T(collected_frames_leave_together),
        T(what_is_to_be_sent_now_does_not_wait_for_the_rest),
        T(collected_frames_that_do_not_fit_follow),
        T(a_question_gets_all_its_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
