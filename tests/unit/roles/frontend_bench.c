#include "base/base.h"

#include "roles/probe.h"

#include "frontend_bench.h"

#include <setjmp.h>
#include <cmocka.h>

enum { BENCH_DEADLINE_MS = 20000 };

/* The role's frame, which here has no process around it. */
void role_exit(struct role *r, int code)
{
    struct bench *b = container_of(r, struct bench, role);
    assert_int_equal(code, 0);
    b->exited = true;
    loop_stop(r->loop);
}

#ifdef THURN_PROBE
/* Named in the role's table, not called here. */
void frontend_probe_send(struct role *r, struct str channel, uint16_t type)
{
    (void)r, (void)channel, (void)type;
}
#endif

/* ------------------------------------------------------------------------------------- the backend
 */

static const struct chan_rule control_rules[] = {
    {RPC_SESSION_OPEN, 1}, {RPC_SESSION_WATCH, 1}, {RPC_SESSION_UNWATCH, 1}};
static const struct chan_rule session_rules[] = {
    {RPC_LMTP_RECIPIENT, 1},    {RPC_LMTP_DELIVER, 1}, {RPC_SMTP_LOGIN, 1},
    {RPC_IMAP_LOGIN, 1},        {RPC_IMAP_SELECT, 1},  {RPC_IMAP_CLOSE, 1},
    {RPC_IMAP_CREATE, 1},       {RPC_IMAP_DELETE, 1},  {RPC_IMAP_RENAME, 1},
    {RPC_IMAP_SUBSCRIBE, 1},    {RPC_IMAP_LIST, 1},    {RPC_IMAP_STATUS, 1},
    {RPC_IMAP_APPEND, 1},       {RPC_IMAP_NOOP, 1},    {RPC_IMAP_EXPUNGE, 1},
    {RPC_IMAP_SEARCH, 1},       {RPC_IMAP_FETCH, 1},   {RPC_IMAP_STORE, 1},
    {RPC_IMAP_COPY, 1},         {RPC_IMAP_ENABLE, 1},  {RPC_IMAP_QUOTA, 1},
    {RPC_IMAP_APPEND_CHECK, 1},
};

static void session_free(struct fake_session *s)
{
    list_remove(&s->link);
    s->bench->n_sessions--;
    chan_free(s->chan);
    free(s);
}

/* A message as it came, inside the frame or sealed. */
static void session_take_message(struct fake_session *s, struct frame *f, uint64_t size)
{
    struct bench *b = s->bench;
    struct str map = {0};
    buf_clear(&b->message);
    b->was_sealed = f->fd >= 0;
    if (b->was_sealed)
        assert_int_equal(sealed_map(f->fd, size, &map).code, E_OK);
    buf_put(&b->message, b->was_sealed ? map : f->raw);
    sealed_unmap(map);
    assert_int_equal(b->message.n, size);
}

static uint64_t append_size(const Thurn__ImapAppend *m)
{
    uint64_t size = 0;
    for (size_t i = 0; i < m->n_messages; i++)
        size += m->messages[i]->size;
    return size;
}

static void session_frame(struct chan *c, struct frame *f, void *arg)
{
    struct fake_session *s = arg;
    if (f->type->number == RPC_LMTP_DELIVER)
        session_take_message(s, f, ((const Thurn__LmtpDeliver *)f->message)->size);
    if (f->type->number == RPC_IMAP_APPEND)
        session_take_message(s, f, append_size((const Thurn__ImapAppend *)f->message));
    check(s->bench->answer(s, f));
    frame_free(f);
}

static void session_closed(struct chan *c, struct err why, void *arg)
{
    session_free(arg);
}

static void watched(struct bench *b, const Thurn__SessionWatch *m)
{
    for (size_t i = 0; i < m->n_items; i++) {
        b->n_watched++;
        b->last_watched = m->items[i]->session;
        buf_clear(&b->watched);
        buf_put(&b->watched, pb_str(m->items[i]->resume));
    }
}

static void control_frame(struct chan *c, struct frame *f, void *arg)
{
    static const struct chan_ops ops = {.frame = session_frame, .closed = session_closed};
    struct bench *b = arg;
    if (f->type->number != RPC_SESSION_OPEN) {
        if (f->type->number == RPC_SESSION_WATCH) {
            watched(b, (const Thurn__SessionWatch *)f->message);
        } else {
            b->n_unwatched += ((const Thurn__SessionUnwatch *)f->message)->n_sessions;
            b->n_gone += ((const Thurn__SessionUnwatch *)f->message)->n_gone;
        }
        frame_free(f);
        return;
    }
    const Thurn__SessionOpen *open = (const Thurn__SessionOpen *)f->message;
    struct fake_session *s = mem_alloc(sizeof *s);
    s->bench = b;
    s->kind = open->kind;
    s->session = open->session;
    s->may_authenticate = open->may_authenticate;
    buf_clear(&b->resumed);
    buf_put(&b->resumed, pb_str(open->resume));
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = session_rules,
                                   .n_rules = ARRAY_LEN(session_rules),
                                   .ops = &ops,
                                   .arg = s};
    assert_int_not_equal(open->session, 0);
    assert_int_equal(open->peer_ip.len, 4);
    assert_int_equal(chan_new(b->role.loop, f->fd, &spec, &s->chan).code, E_OK);
    f->fd = -1;
    list_append(&b->sessions, &s->link);
    b->n_sessions++;
    frame_free(f);
}

static void control_closed(struct chan *c, struct err why, void *arg)
{
    struct bench *b = arg;
    chan_free(c);
    b->control = NULL;
}

void bench_backend_serves(struct bench *b)
{
    Thurn__BackendServes m = THURN__BACKEND_SERVES__INIT;
    assert_int_equal(chan_send(b->control, RPC_BACKEND_SERVES, 0, &m.base, STR(""), -1).code, E_OK);
}

void bench_backend_up(struct bench *b)
{
    static const struct chan_ops ops = {.frame = control_frame, .closed = control_closed};
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = control_rules,
                                   .n_rules = ARRAY_LEN(control_rules),
                                   .ops = &ops,
                                   .arg = b};
    int fds[2];
    assert_int_equal(chan_pair(fds).code, E_OK);
    assert_int_equal(chan_new(b->role.loop, fds[0], &spec, &b->control).code, E_OK);
    Thurn__Peer peer = THURN__PEER__INIT;
    peer.role = THURN__ROLE_KIND__ROLE_BACKEND;
    role_frontend.peer(&b->role, &peer, fds[1]);
    if (!b->starts_only)
        bench_backend_serves(b);
}

void bench_hang_up(struct bench *b)
{
    list_each (l, &b->sessions) {
        session_free(container_of(l, struct fake_session, link));
    }
}

void bench_backend_down(struct bench *b)
{
    bench_hang_up(b);
    if (b->control)
        chan_free(b->control);
    b->control = NULL;
}

void bench_poke(struct bench *b)
{
    Thurn__SessionPoke m = THURN__SESSION_POKE__INIT;
    m.sessions = &b->last_watched;
    m.n_sessions = 1;
    assert_int_equal(chan_send(b->control, RPC_SESSION_POKE, 0, &m.base, STR(""), -1).code, E_OK);
}

/* ------------------------------------------------------------------------------------------- bench
 */

static void on_deadline(void *arg)
{
    struct bench *b = arg;
    b->late = true;
    loop_stop(b->role.loop);
}

void bench_start(struct bench *b)
{
    static ProtobufCBinaryData nets[1];
    nets[0] = pb_bytes(STR("127.0.0.0/8"));
    *b = (struct bench){.role = {.ops = &role_frontend, .settings = &b->settings, .going = true}};
    b->settings = (Thurn__Settings)THURN__SETTINGS__INIT;
    b->settings.hostname = pb_bytes(STR("mx.example.test"));
    b->settings.message_size_limit = 1024 * KB;
    b->settings.imap_idle_timeout = b->settings.lmtp_timeout = 60000;
    b->settings.smtp_timeout = 60000;
    b->settings.login_timeout = b->settings.write_timeout = b->settings.request_timeout = 60000;
    b->settings.max_bad_commands = 5;
    b->settings.max_connections = 10;
    b->settings.max_recipients = 3;
    b->settings.cleartext_login_from = nets;
    b->settings.n_cleartext_login_from = 1;
    list_init(&b->sessions);
    log_open("frontend", 0, LOG_ERROR);
    assert_int_equal(loop_new(&b->role.loop).code, E_OK);
    struct buf explain CLEANUP(buf_free) = {0};
    assert_int_equal(role_frontend.prepare(&b->role, &explain).code, E_OK);
    b->fe = b->role.self;
    b->deadline = timer_new(b->role.loop, on_deadline, b);
    bench_backend_up(b);
}

static bool bench_is_exited(void *arg)
{
    return ((struct bench *)arg)->exited;
}

/* The clients have gone by then, so that the role ends at once. */
void bench_end(struct bench *b)
{
    role_frontend.stop(&b->role);
    bench_run(b, bench_is_exited, b);
    bench_backend_down(b);
    if (b->fe->backend)
        chan_free(b->fe->backend);
    if (b->fe->starting)
        chan_free(b->fe->starting);
    timer_free(b->fe->stop_timer);
    tls_server_free(b->fe->tls);
    waiting_free(b->fe->waiting);
    ip_nets_free(&b->fe->cleartext);
    buf_free(&b->fe->out);
    free(b->fe);
    buf_free(&b->message);
    buf_free(&b->note);
    buf_free(&b->watched);
    buf_free(&b->resumed);
    timer_free(b->deadline);
    loop_free(b->role.loop);
}

struct bench_wait {
    struct bench *bench;
    bool (*until)(void *arg);
    void *arg;
    struct timer *look;
};

static void on_look(void *arg)
{
    struct bench_wait *w = arg;
    if (w->until(w->arg))
        loop_stop(w->bench->role.loop);
    else
        timer_set(w->look, 1);
}

void bench_run(struct bench *b, bool (*until)(void *arg), void *arg)
{
    if (until(arg))
        return;
    struct bench_wait w = {b, until, arg, NULL};
    w.look = timer_new(b->role.loop, on_look, &w);
    timer_set(w.look, 1);
    timer_set(b->deadline, BENCH_DEADLINE_MS);
    while (!until(arg) && !b->late)
        loop_run(b->role.loop);
    timer_set(b->deadline, 0);
    timer_free(w.look);
    assert_false(b->late);
}

/* -------------------------------------------------------------------------------------------- wire
 */

static bool talk_has(void *arg)
{
    struct talk *w = arg;
    if (w->want_close)
        return w->closed;
    struct str got = buf_str(&w->got);
    return w->closed || str_find(got, str_c(w->want), 0) < got.n;
}

static void on_wire(int fd, void *arg)
{
    struct talk *w = arg;
    uint8_t *room = buf_room(&w->got, 64 * KB);
    assert_non_null(room);
    ssize_t n = recv(fd, room, 64 * KB, MSG_DONTWAIT);
    if (n > 0)
        buf_added(&w->got, (size_t)n);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        w->closed = true;
        watch_free(w->watch);
        w->watch = NULL;
    }
    if ((w->want || w->want_close) && talk_has(w))
        loop_stop(w->bench->role.loop);
}

void talk_read(struct talk *w, bool on)
{
    if (on && !w->watch)
        w->watch = watch_new(w->bench->role.loop, w->fd, on_wire, w);
    if (!on && w->watch) {
        watch_free(w->watch);
        w->watch = NULL;
    }
}

void talk_open(struct talk *w, struct bench *b, Thurn__ListenerKind kind)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *w = (struct talk){.bench = b, .fd = fds[0]};
    talk_read(w, true);
    frontend_take(b->fe, kind, fds[1], (struct ip){.b = {127, 0, 0, 1}, .n = 4});
}

struct talk_count {
    struct bench *bench;
    size_t n;
};

static bool fewer_clients(void *arg)
{
    const struct talk_count *c = arg;
    return c->bench->fe->n_clients < c->n || c->bench->exited;
}

/* Until the frontend has noticed. */
void talk_close(struct talk *w)
{
    struct talk_count count = {w->bench, w->bench->fe->n_clients};
    talk_read(w, false);
    (void)close(w->fd);
    buf_free(&w->got);
    if (count.n)
        bench_run(w->bench, fewer_clients, &count);
}

void talk_send(struct talk *w, struct str s)
{
    while (s.n) {
        ssize_t n = send(w->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            s = str_skip(s, (size_t)n);
            continue;
        }
        assert_true(errno == EAGAIN);
        loop_post(w->bench->role.loop, (void (*)(void *))loop_stop, w->bench->role.loop);
        loop_run(w->bench->role.loop);
    }
}

struct str talk_expect(struct talk *w, const char *want)
{
    static struct buf said;
    w->want = want;
    bench_run(w->bench, talk_has, w);
    w->want = NULL;
    struct str got = buf_str(&w->got);
    size_t at = str_find(got, str_c(want), 0);
    if (at == got.n)
        fail_msg("closed before \"%s\", got \"%.*s\"", want, STR_FMT(got));
    buf_reset(&said, 0);
    buf_put(&said, str_sub(got, 0, at + strlen(want)));
    buf_consume(&w->got, at + strlen(want));
    return buf_str(&said);
}

struct str talk_expect_close(struct talk *w)
{
    w->want_close = true;
    bench_run(w->bench, talk_has, w);
    w->want_close = false;
    return buf_str(&w->got);
}

struct str talk_say(struct talk *w, const char *line, const char *want)
{
    struct buf b CLEANUP(buf_free) = {0};
    buf_put(&b, str_c(line));
    buf_put(&b, STR("\r\n"));
    talk_send(w, buf_str(&b));
    return talk_expect(w, want);
}
