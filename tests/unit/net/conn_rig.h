/* A connection, its owner, and a peer that the test plays, for the tests of connections. */
#ifndef THURN_TESTS_CONN_RIG_H
#define THURN_TESTS_CONN_RIG_H

#include "base/base.h"

#include "pair.h"

/* The owner of the connection, on the server's side. */
struct server {
    struct loop *loop;
    struct conn *conn;
    struct buf got; /* all input, if `keep` */
    size_t calls, drained;
    bool closed, secured;
    bool keep_line;    /* consume whole lines only */
    bool leave;        /* consume nothing */
    bool free_in_read; /* frees the connection in the callback */
    bool hold_in_read;
    struct tls_server *starttls; /* a line "STARTTLS" begins TLS */
    struct err why;
    size_t want;
};

static UNUSED void line_came(struct server *s, struct str line)
{
    buf_put(&s->got, line);
    if (s->starttls && str_eq(line, STR("STARTTLS\n"))) {
        conn_write(s->conn, STR("GO\n"));
        assert_int_equal(conn_start_tls(s->conn, s->starttls).code, E_OK);
    }
}

static UNUSED void server_readable(struct conn *c, void *arg)
{
    struct server *s = arg;
    s->calls++;
    if (s->free_in_read) {
        conn_free(c);
        s->conn = NULL;
        s->closed = true;
        return;
    }
    if (s->hold_in_read)
        conn_hold(c, true);
    struct buf *in = conn_in(c);
    while (!s->leave && in->n) {
        size_t n = s->keep_line ? str_find_byte(buf_str(in), '\n', 0) + 1 : in->n;
        if (n > in->n)
            return;
        struct str line = str_sub(buf_str(in), 0, n);
        line_came(s, line);
        if (in->n) /* STARTTLS throws the rest away */
            buf_consume(in, n);
    }
}

static UNUSED void server_drained(struct conn *c, void *arg)
{
    ((struct server *)arg)->drained++;
}

static UNUSED void server_closed(struct conn *c, struct err why, void *arg)
{
    struct server *s = arg;
    assert_false(s->closed);
    s->closed = true;
    s->why = why;
}

static UNUSED void server_secured(struct conn *c, void *arg)
{
    ((struct server *)arg)->secured = true;
}

static const struct conn_ops ops UNUSED = {server_readable, server_drained, server_closed,
                                           server_secured};

struct world {
    struct server s;
    int client;
};

static UNUSED void open_pair(struct world *w, const struct conn_limits *limits)
{
    int fds[2];
    assert_int_equal(chan_pair(fds).code, E_OK);
    w->client = fds[0];
    assert_int_equal(conn_new(w->s.loop, fds[1], limits, &ops, &w->s, &w->s.conn).code, E_OK);
}

static const struct conn_limits usual UNUSED = {
    .in_max = 65536, .out_low = 4096, .write_ms = 10000};

static UNUSED int setup(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    assert_int_equal(loop_new(&w->s.loop).code, E_OK);
    w->client = -1;
    *state = w;
    return 0;
}

static UNUSED int teardown(void **state)
{
    struct world *w = *state;
    conn_free(w->s.conn);
    buf_free(&w->s.got);
    if (w->client >= 0)
        (void)close(w->client);
    loop_free(w->s.loop);
    free(w);
    return 0;
}

static UNUSED bool has_bytes(void *arg)
{
    struct server *s = arg;
    return s->got.n >= s->want || s->closed;
}

static UNUSED bool is_closed(void *arg)
{
    return ((struct server *)arg)->closed;
}

static UNUSED bool has_calls(void *arg)
{
    struct server *s = arg;
    return s->calls >= s->want || s->closed;
}

static UNUSED void await_bytes(struct server *s, size_t n)
{
    s->want = n;
    run_until(s->loop, has_bytes, s);
    assert_false(s->closed);
}

static UNUSED void await_calls(struct server *s, size_t n)
{
    s->want = n;
    run_until(s->loop, has_calls, s);
    assert_false(s->closed);
}

static UNUSED void await_closed(struct server *s, enum errc code)
{
    run_until(s->loop, is_closed, s);
    assert_int_equal(s->why.code, code);
}

/* Gives the loop a turn or two. */
static UNUSED bool at_once(void *arg)
{
    return true;
}
static UNUSED void some_turns(struct server *s)
{
    run_until(s->loop, at_once, NULL);
    run_until(s->loop, at_once, NULL);
}

static UNUSED void say(int fd, struct str s)
{
    assert_int_equal(send(fd, s.p, s.n, MSG_NOSIGNAL), (ssize_t)s.n);
}

/* Reads up to `n` bytes while the loop runs; stops at the end of the stream. */
struct hearing {
    int fd;
    struct buf *out;
    size_t n;
    bool end;
};
static UNUSED bool hear_some(void *arg)
{
    struct hearing *h = arg;
    while (!h->end && h->out->n < h->n) {
        uint8_t *room = buf_room(h->out, 65536);
        check(room != NULL);
        ssize_t got = recv(h->fd, room, MIN((size_t)65536, h->n - h->out->n), MSG_DONTWAIT);
        if (got < 0)
            break;
        h->end = got == 0;
        buf_added(h->out, (size_t)got);
    }
    return h->end || h->out->n >= h->n;
}
static UNUSED bool hear(struct world *w, struct buf *out, size_t n)
{
    struct hearing h = {.fd = w->client, .out = out, .n = n};
    run_until(w->s.loop, hear_some, &h);
    return h.end;
}

#endif
