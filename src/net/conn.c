#include "net/loop.h"
#include "net/tls.h"

#include <netinet/tcp.h>

enum {
    CONN_DIRECT = 16 * 1024,    /* output from which on waiting for the turn's end gains nothing */
    CONN_READ_LEAST = 4 * 1024, /* room for one read */
    CONN_BULK = 16 * 1024,      /* a read from which on more is expected, to be read with time */
    CONN_LINGER_MS = 2000,
    ZIP_OUT = 64 * 1024, /* compressed at a time, then others have their turn */
    ZIP_IN = 16 * 1024,  /* read, and inflated, at a time */
};

enum conn_step {
    CONN_OPEN,    /* plain or TLS: data flows */
    CONN_TLS_DUE, /* the plaintext output goes out before the handshake */
    CONN_HANDSHAKE,
    CONN_LINGER, /* everything is said; the peer's input is dropped until it closes */
};

enum io { IO_DONE, IO_WAIT, IO_END, IO_FAILED };

/* Of a compressed connection. `out` and `in` are what the owner writes and reads, in clear. */
struct zipped {
    size_t clear_left;  /* bytes of the connection's `out` from before it began */
    struct buf out, in; /* on their way; read and not yet inflated */
    struct unzip unzip;
    bool more; /* it may give more without further input */
};

struct conn {
    struct loop *loop;
    const struct conn_ops *ops;
    void *arg;
    struct conn_limits limits;
    ev_io io;
    ev_timer timer;
    uint64_t timer_at;          /* when the timer fires, 0: it does not run */
    uint64_t read_by, write_by; /* deadlines, ms of clock_mono; 0: none */
    struct chore turn_end;
    struct chore slow; /* a read, or a step of the handshake, that may take long */
    struct buf in, out;
    SSL *ssl;
    size_t plain_left;  /* CONN_TLS_DUE: bytes of `out` that go unprotected */
    struct zipped *zip; /* NULL: not compressed */
    struct err fail;    /* of a write inside a callback of the owner, told at the turn's end */
    enum conn_step step;
    uint8_t busy; /* calls into the owner that are going on: the memory must stay */
    bool freed, closed;
    bool held, finishing;
    bool collecting;
    bool lent;    /* `in` lies in the loop's scratch buffer, for the length of one callback */
    bool again;   /* readable is to be called for input that is there */
    bool bulk;    /* the last read brought much */
    bool more;    /* OpenSSL may hold input that no event of the socket will announce */
    bool blocked; /* the socket takes no output, or TLS needs to write first */
    bool above;   /* output has been at out_low or more */
};

static uint64_t now_ms(void)
{
    return clock_mono_us() / 1000;
}

static void conn_enter(struct conn *c)
{
    c->busy++;
}

static void conn_leave(struct conn *c)
{
    if (--c->busy == 0 && c->freed)
        free(c);
}

static bool conn_lives(const struct conn *c)
{
    return !c->freed && !c->closed;
}

/* Called between conn_enter and conn_leave. */
static void conn_break(struct conn *c, struct err why)
{
    if (!conn_lives(c))
        return;
    c->closed = true;
    ev_io_stop(c->loop->ev, &c->io);
    ev_timer_stop(c->loop->ev, &c->timer);
    loop_forget(&c->turn_end);
    loop_forget(&c->slow);
    c->ops->closed(c, why, c->arg);
}

/* ------------------------------------------------------------------------------- what to wait for
 */

static bool conn_is_full(const struct conn *c)
{
    return c->in.n >= c->limits.in_max;
}

static bool conn_may_read(const struct conn *c)
{
    return c->step == CONN_OPEN && !c->held && !c->finishing && !conn_is_full(c);
}

static void conn_watch(struct conn *c)
{
    if (!conn_lives(c))
        return;
    bool read =
        conn_may_read(c) || c->step == CONN_LINGER || (c->step == CONN_HANDSHAKE && !c->blocked);
    read = read && list_empty(&c->slow.link);
    int events = (read ? EV_READ : 0) | (c->blocked ? EV_WRITE : 0);
    if (ev_is_active(&c->io) ? (c->io.events & (EV_READ | EV_WRITE)) == events : events == 0)
        return;
    ev_io_stop(c->loop->ev, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    if (events)
        ev_io_start(c->loop->ev, &c->io);
}

/* The timer is left alone when a deadline moves away, as it does with every command: it looks
 * when it fires. */
static void conn_arm(struct conn *c)
{
    uint64_t at = c->read_by;
    if (c->write_by && (!at || c->write_by < at))
        at = c->write_by;
    if (!at || !conn_lives(c) || (c->timer_at && c->timer_at <= at))
        return;
    uint64_t now = now_ms();
    ev_timer_stop(c->loop->ev, &c->timer);
    ev_now_update(c->loop->ev);
    ev_timer_set(&c->timer, at > now ? (double)(at - now) / 1e3 : 0., 0.);
    ev_timer_start(c->loop->ev, &c->timer);
    c->timer_at = at;
}

static void conn_expect_write(struct conn *c, bool waiting)
{
    c->write_by = waiting && c->limits.write_ms ? now_ms() + c->limits.write_ms : 0;
    conn_arm(c);
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int events)
{
    struct conn *c = w->data;
    uint64_t now = now_ms();
    c->timer_at = 0;
    conn_enter(c);
    if (c->read_by && c->read_by <= now)
        conn_break(c, c->step == CONN_LINGER ? err_make(E_CLOSED, "finished")
                                             : err_make(E_TIMEOUT, "the peer sent nothing"));
    else if (c->write_by && c->write_by <= now)
        conn_break(c, err_make(E_TIMEOUT, "the peer takes no output"));
    else
        conn_arm(c);
    conn_leave(c);
}

/* ---------------------------------------------------------------------------------------- output
 */

static enum io conn_put(struct conn *c, struct str s, bool plain, size_t *n)
{
    if (c->ssl && !plain) {
        switch (tls_write(c->ssl, s, n)) {
        case TLS_DONE: return IO_DONE;
        case TLS_WANT_READ:
        case TLS_WANT_WRITE: return IO_WAIT;
        case TLS_END: return IO_END;
        case TLS_FAILED: return IO_FAILED;
        }
    }
    ssize_t sent = send(c->io.fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        *n = (size_t)sent;
        return IO_DONE;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return IO_WAIT;
    return errno == EPIPE || errno == ECONNRESET ? IO_END : IO_FAILED;
}

/* Sends from the front of `s` what the peer takes; returns how much. Sets blocked, or fail. */
static size_t conn_push(struct conn *c, struct str s, bool plain)
{
    size_t done = 0;
    enum io io = IO_DONE;
    while (done < s.n && io == IO_DONE) {
        size_t n = 0;
        io = conn_put(c, str_skip(s, done), plain, &n);
        done += io == IO_DONE ? n : 0;
    }
    bool was_blocked = c->blocked;
    c->blocked = io == IO_WAIT;
    if (io == IO_END)
        c->fail = err_make(E_CLOSED, "the peer has closed");
    else if (io == IO_FAILED)
        c->fail = c->ssl && !plain ? err_make(E_INVALID, "TLS failure") : err_sys("send");
    if (c->blocked ? done || !was_blocked : c->write_by != 0)
        conn_expect_write(c, c->blocked);
    return done;
}

/* Compresses the next run of output, if the one before has been sent, and sends of it what the peer
 * takes. One run for each turn of the loop. */
static void conn_push_zipped(struct conn *c)
{
    if (c->zip->out.n == 0 && c->out.n) {
        struct str run = str_sub(buf_str(&c->out), 0, ZIP_OUT);
        c->fail = zip_run(c->loop->zip, run, &c->zip->out);
        if (c->fail.code != E_OK)
            return;
        buf_consume(&c->out, run.n);
    }
    buf_consume(&c->zip->out, conn_push(c, buf_str(&c->zip->out), false));
    if (c->zip->out.n == 0)
        buf_reset(&c->zip->out, 0);
    if (c->zip->out.n == 0 && c->out.n)
        loop_at_turn_end(c->loop, &c->turn_end);
}

static void conn_push_clear(struct conn *c)
{
    bool plain = c->step == CONN_TLS_DUE;
    struct str s = buf_str(&c->out);
    if (plain)
        s = str_sub(s, 0, c->plain_left);
    if (c->zip)
        s = str_sub(s, 0, c->zip->clear_left);
    size_t done = conn_push(c, s, plain);
    if (plain)
        c->plain_left -= done;
    if (c->zip)
        c->zip->clear_left -= done;
    buf_consume(&c->out, done);
}

/* Sends what is collected, as far as the step allows. */
static void conn_push_out(struct conn *c)
{
    if (c->fail.code != E_OK || c->step == CONN_HANDSHAKE || c->step == CONN_LINGER)
        return;
    if (!c->zip || c->zip->clear_left)
        conn_push_clear(c);
    if (c->zip && !c->zip->clear_left && c->fail.code == E_OK)
        conn_push_zipped(c);
    if (c->out.n == 0)
        buf_reset(&c->out, 0);
}

static void conn_tell_drained(struct conn *c)
{
    if (!c->above || conn_backlog(c) >= MAX(c->limits.out_low, (size_t)1))
        return;
    c->above = false;
    if (c->ops->drained)
        c->ops->drained(c, c->arg);
}

void conn_write(struct conn *c, struct str s)
{
    if (!conn_lives(c) || c->finishing || c->fail.code != E_OK || s.n == 0)
        return;
    if (c->step == CONN_OPEN && !c->blocked && !c->zip && c->out.n + s.n >= CONN_DIRECT) {
        conn_push_out(c);
        if (c->out.n == 0 && c->fail.code == E_OK)
            s = str_skip(s, conn_push(c, s, false));
    }
    buf_put(&c->out, s);
    if (c->out.bad)
        c->fail = err_make(E_LIMIT, "no memory for output");
    if (c->out.n >= c->limits.out_low)
        c->above = true;
    loop_at_turn_end(c->loop, &c->turn_end);
}

void conn_collect(struct conn *c, bool on)
{
    c->collecting = on;
    if (!on && c->out.n)
        loop_at_turn_end(c->loop, &c->turn_end);
}

size_t conn_backlog(const struct conn *c)
{
    return c->out.n + (c->zip ? c->zip->out.n : 0);
}

/* ----------------------------------------------------------------------------------------- input
 */

static enum io conn_get(struct conn *c, uint8_t *p, size_t max, size_t *n)
{
    if (!c->ssl) {
        ssize_t got = recv(c->io.fd, p, max, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return IO_WAIT;
        if (got < 0)
            return errno == ECONNRESET || errno == EPIPE ? IO_END : IO_FAILED;
        *n = (size_t)got;
        return got ? IO_WAIT : IO_END; /* the socket announces what is left */
    }
    for (;;) { /* a read gives one TLS record at most */
        size_t got = 0;
        enum tls_io io = *n < max ? tls_read(c->ssl, p + *n, max - *n, &got) : TLS_DONE;
        *n += got;
        c->more = io == TLS_DONE;
        if (io == TLS_WANT_WRITE)
            c->blocked = true;
        if (io == TLS_WANT_READ || io == TLS_WANT_WRITE || (io == TLS_DONE && *n == max))
            return IO_WAIT;
        if (io != TLS_DONE)
            return io == TLS_END ? IO_END : IO_FAILED;
    }
}

static struct err conn_read_error(const struct conn *c, enum io io)
{
    if (io == IO_END)
        return err_make(E_CLOSED, "the peer has closed");
    if (io != IO_FAILED)
        return OK;
    return c->ssl ? err_make(E_INVALID, "TLS failure") : err_sys("recv");
}

/* Reads to the scratch buffer and lends it to the owner: who consumes everything at once, as for
 * most commands, costs no memory of its own. */
static void conn_deliver_lent(struct conn *c, size_t n)
{
    buf_free(&c->in);
    c->in =
        (struct buf){.p = c->loop->scratch, .n = n, .cap = LOOP_SCRATCH, .max = c->limits.in_max};
    c->lent = true;
    c->ops->readable(c, c->arg);
    if (c->freed)
        return;
    struct str left = buf_str(&c->in);
    c->in = (struct buf){.max = c->limits.in_max};
    c->lent = false;
    buf_put(&c->in, left);
}

static void conn_deliver(struct conn *c)
{
    c->again = false;
    c->ops->readable(c, c->arg);
    if (!c->freed && c->in.n == 0)
        buf_reset(&c->in, 0);
}

/* What has been read is inflated as far as there is room for it; the rest is kept as it came. */
static struct err conn_inflate(struct conn *c, struct str fresh, size_t *n)
{
    struct str in = c->zip->in.n ? buf_str(&c->zip->in) : fresh;
    size_t room = MIN(c->limits.in_max - c->in.n, (size_t)ZIP_IN), all = in.n;
    uint8_t *p = buf_room(&c->in, room);
    if (!p)
        return err_make(E_LIMIT, "no memory for input");
    TRY(unzip_some(c->loop->zip, &c->zip->unzip, &in, p, room, n));
    buf_added(&c->in, *n);
    if (c->zip->in.n)
        buf_consume(&c->zip->in, all - in.n);
    else
        buf_put(&c->zip->in, in);
    if (c->zip->in.n == 0)
        buf_reset(&c->zip->in, 0);
    c->zip->more = *n == room || c->zip->in.n;
    return buf_err(&c->zip->in);
}

static void conn_read_zipped(struct conn *c)
{
    size_t raw = 0, n = 0;
    enum io io = IO_WAIT;
    if (!c->zip->more)
        io = conn_get(c, c->loop->scratch, ZIP_IN, &raw);
    c->bulk = raw == ZIP_IN || c->zip->more;
    struct err e = raw || c->zip->more ? conn_inflate(c, str_of(c->loop->scratch, raw), &n) : OK;
    if (e.code == E_OK)
        e = conn_read_error(c, io);
    if (n)
        conn_deliver(c);
    else if (c->in.n == 0)
        buf_reset(&c->in, 0);
    if (e.code != E_OK)
        conn_break(c, e);
    else if (conn_lives(c) && (c->more || c->zip->more) && conn_may_read(c))
        loop_at_turn_end(c->loop, &c->turn_end);
}

static void conn_read(struct conn *c)
{
    if (c->zip) {
        conn_read_zipped(c);
        return;
    }
    bool lend = c->in.n == 0;
    size_t room = c->limits.in_max - c->in.n;
    size_t max = MIN(room, lend ? (size_t)LOOP_SCRATCH
                                : MIN(MAX(c->in.n, (size_t)CONN_READ_LEAST), (size_t)LOOP_SCRATCH));
    uint8_t *p = lend ? c->loop->scratch : buf_room(&c->in, max);
    if (!p) {
        conn_break(c, err_make(E_LIMIT, "no memory for input"));
        return;
    }
    size_t n = 0;
    struct err e = conn_read_error(c, conn_get(c, p, max, &n));
    c->bulk = n >= CONN_BULK;
    if (n && lend) {
        conn_deliver_lent(c, n);
    } else if (n) {
        buf_added(&c->in, n);
        conn_deliver(c);
    }
    if (e.code != E_OK)
        conn_break(c, e);
    else if (conn_lives(c) && c->more && conn_may_read(c))
        loop_at_turn_end(c->loop, &c->turn_end);
}

/* One that has much to say waits until there is time for it. */
static void conn_read_in_turn(struct conn *c)
{
    if (c->bulk)
        loop_with_time(c->loop, &c->slow);
    else
        conn_read(c);
}

/* After a close with input unread the kernel would reset the connection, and the peer might lose
 * our last words. */
static void conn_discard(struct conn *c)
{
    ssize_t n = recv(c->io.fd, c->loop->scratch, LOOP_SCRATCH, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        conn_break(c, err_make(E_CLOSED, "finished"));
}

struct buf *conn_in(struct conn *c)
{
    /* The owner may be about to make room outside of a callback. */
    if (conn_is_full(c) && conn_lives(c) && !c->lent)
        loop_at_turn_end(c->loop, &c->turn_end);
    return &c->in;
}

void conn_hold(struct conn *c, bool held)
{
    if (c->held == held || !conn_lives(c))
        return;
    c->held = held;
    if (!held) {
        c->again = true;
        loop_at_turn_end(c->loop, &c->turn_end);
    }
}

/* ------------------------------------------------------------------------------------------- TLS
 */

static void conn_handshake(struct conn *c)
{
    enum tls_io io = tls_handshake(c->ssl);
    c->blocked = io == TLS_WANT_WRITE;
    switch (io) {
    case TLS_WANT_READ:
    case TLS_WANT_WRITE: return;
    case TLS_END: conn_break(c, err_make(E_CLOSED, "the peer has closed")); return;
    case TLS_FAILED: conn_break(c, err_make(E_INVALID, "TLS handshake failed")); return;
    case TLS_DONE: break;
    }
    c->step = CONN_OPEN;
    c->more = true; /* commands may have come with the end of the handshake */
    conn_expect_write(c, false);
    loop_at_turn_end(c->loop, &c->turn_end);
    if (c->ops->secured)
        c->ops->secured(c, c->arg);
}

struct err conn_start_tls(struct conn *c, struct tls_server *tls)
{
    check(!c->ssl && !c->zip && c->step == CONN_OPEN && !c->finishing);
    if (!tls_server_has_certificate(tls))
        return err_make(E_UNSUPPORTED, "no certificate");
    SSL *ssl = tls_session_new(tls, c->io.fd);
    if (!ssl)
        return err_make(E_LIMIT, "no memory for TLS");
    c->ssl = ssl;
    c->step = CONN_TLS_DUE;
    c->plain_left = c->out.n;
    c->again = false;
    buf_consume(&c->in, c->in.n);
    conn_expect_write(c, true);
    loop_at_turn_end(c->loop, &c->turn_end);
    return OK;
}

bool conn_is_tls(const struct conn *c)
{
    return c->ssl != NULL;
}

void conn_tls_describe(const struct conn *c, struct buf *out)
{
    if (c->ssl)
        buf_printf(out, "%s %s", SSL_get_version(c->ssl), SSL_get_cipher_name(c->ssl));
}

/* ----------------------------------------------------------------------------------- compression
 */

void conn_compress(struct conn *c)
{
    check(!c->zip && c->step == CONN_OPEN);
    if (!c->loop->zip)
        c->loop->zip = zip_new();
    c->zip = mem_alloc(sizeof *c->zip);
    c->zip->clear_left = c->out.n;
    buf_put(&c->zip->in, buf_str(&c->in));
    buf_consume(&c->in, c->in.n);
    c->zip->more = c->zip->in.n > 0;
    if (c->zip->in.bad)
        c->fail = err_make(E_LIMIT, "no memory for input");
    loop_at_turn_end(c->loop, &c->turn_end);
}

bool conn_is_compressed(const struct conn *c)
{
    return c->zip != NULL;
}

/* ----------------------------------------------------------------------------------------- events
 */

static void conn_say_farewell(struct conn *c)
{
    if (c->ssl)
        (void)SSL_shutdown(c->ssl);
    (void)shutdown(c->io.fd, SHUT_WR);
    c->step = CONN_LINGER;
    c->blocked = false;
    c->write_by = 0;
    c->read_by = now_ms() + CONN_LINGER_MS;
    conn_arm(c);
}

/* Sends, and goes on to what was waiting for the output to be sent. */
static void conn_flush(struct conn *c)
{
    if (c->step == CONN_LINGER)
        return;
    conn_push_out(c);
    if (c->fail.code != E_OK)
        conn_break(c, c->fail);
    else if (c->step == CONN_TLS_DUE && c->plain_left == 0) {
        c->step = CONN_HANDSHAKE;
        conn_expect_write(c, true);
        conn_handshake(c);
    } else if (c->finishing && c->step == CONN_OPEN && conn_backlog(c) == 0)
        conn_say_farewell(c);
    if (conn_lives(c) && c->step == CONN_OPEN && !c->finishing)
        conn_tell_drained(c);
}

static void on_io(struct ev_loop *ev, ev_io *w, int events)
{
    struct conn *c = w->data;
    conn_enter(c);
    if (c->step == CONN_HANDSHAKE) {
        loop_with_time(c->loop, &c->slow);
    } else if (c->step == CONN_LINGER) {
        conn_discard(c);
    } else {
        bool retry = events & EV_WRITE;
        if (retry)
            conn_flush(c);
        if (conn_lives(c) && conn_may_read(c) && (events & EV_READ || (retry && c->ssl)))
            conn_read_in_turn(c);
    }
    conn_watch(c);
    conn_leave(c);
}

static void on_time(struct chore *chore)
{
    struct conn *c = container_of(chore, struct conn, slow);
    conn_enter(c);
    if (c->step == CONN_HANDSHAKE)
        conn_handshake(c);
    else if (conn_may_read(c))
        conn_read(c);
    conn_watch(c);
    conn_leave(c);
}

static void on_turn_end(struct chore *chore)
{
    struct conn *c = container_of(chore, struct conn, turn_end);
    conn_enter(c);
    if (c->again && c->in.n && c->step == CONN_OPEN && !c->held && !c->finishing)
        conn_deliver(c);
    bool more = c->more || (c->zip && c->zip->more);
    if (conn_lives(c) && more && conn_may_read(c))
        conn_read_in_turn(c);
    if (conn_lives(c) && (!c->collecting || c->finishing))
        conn_flush(c);
    conn_watch(c);
    conn_leave(c);
}

/* ------------------------------------------------------------------------------------------ life
 */

struct err conn_new(struct loop *l, int fd, const struct conn_limits *limits,
                    const struct conn_ops *ops, void *arg, struct conn **out)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c) {
        (void)close(fd);
        return err_make(E_LIMIT, "no memory for a connection");
    }
    c->loop = l;
    c->ops = ops;
    c->arg = arg;
    c->limits = *limits;
    c->in.max = limits->in_max;
    chore_init(&c->turn_end, on_turn_end);
    chore_init(&c->slow, on_time);
    ev_io_init(&c->io, on_io, fd, EV_READ);
    ev_timer_init(&c->timer, on_timer, 0., 0.);
    c->io.data = c->timer.data = c;
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* not for a Unix socket */
    ev_io_start(l->ev, &c->io);
    *out = c;
    return OK;
}

static void zipped_free(struct zipped *z)
{
    if (!z)
        return;
    buf_free(&z->in);
    buf_free(&z->out);
    unzip_free(&z->unzip);
    free(z);
}

void conn_free(struct conn *c)
{
    if (!c)
        return;
    check(!c->freed);
    c->freed = true;
    ev_io_stop(c->loop->ev, &c->io);
    ev_timer_stop(c->loop->ev, &c->timer);
    loop_forget(&c->turn_end);
    loop_forget(&c->slow);
    SSL_free(c->ssl);
    (void)close(c->io.fd);
    if (!c->lent)
        buf_free(&c->in);
    buf_free(&c->out);
    zipped_free(c->zip);
    c->zip = NULL;
    if (c->busy == 0)
        free(c);
}

void conn_finish(struct conn *c)
{
    if (!conn_lives(c) || c->finishing)
        return;
    c->finishing = true;
    c->read_by = 0;
    if (c->step == CONN_HANDSHAKE || c->step == CONN_TLS_DUE)
        c->fail = err_make(E_CLOSED, "finished");
    loop_at_turn_end(c->loop, &c->turn_end);
}

void conn_deadline(struct conn *c, uint32_t ms)
{
    if (!conn_lives(c) || c->finishing)
        return;
    c->read_by = ms ? now_ms() + ms : 0;
    conn_arm(c);
}
