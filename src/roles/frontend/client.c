#include "base/base.h"

#include "roles/frontend/frontend.h"

enum {
    CLIENT_IN_MAX = 64 * 1024,    /* input that waits for its turn */
    CLIENT_OUT_LOW = 64 * 1024,   /* the backend goes on below */
    CLIENT_OUT_HIGH = 256 * 1024, /* and is held above */
    CLIENT_FAREWELL_MS = 10000,   /* for the last bytes on their way */
    CLIENT_REST_MS = 10000,       /* of silence, and the session's channel is given up */
    /* A backend that dies takes its control channel along: one that is still there so long after it
     * has closed a session's channel has done it on purpose. */
    CLIENT_DYING_MS = 1000,
    CLIENT_DEATHS = 3, /* so many backends may die with a request: it may be what they die of */
    CLIENT_TOLD_AFTER = 10, /* such a part of request_timeout passes until its client is told */
};

/* ------------------------------------------------------------------------------------ each event
 */

static void client_enter(struct client *c)
{
    log_context(c->session, client_trace(c));
    c->progress = false;
}

/* Nothing may touch the client after this: ending the connection may free it. */
static void client_finish(struct client *c)
{
    c->finished = true;
    client_wait_no_more(c);
    client_drop_channel(c);
    timer_set(c->timer, CLIENT_FAREWELL_MS);
    conn_finish(c->conn);
}

/* Whether the session can go on at another channel. */
static bool client_may_rest(const struct client *c)
{
    return c->ops->record && c->ops->record(c).n > 0;
}

/* A request that may be what the backends have died of, or a session that has had one. */
static bool client_is_suspect(const struct client *c)
{
    return c->deaths >= CLIENT_DEATHS - 1;
}

/* What comes is not to blame for the deaths so far; of a session that killed, one is enough. */
static void client_trust(struct client *c)
{
    c->deaths = c->suspect ? CLIENT_DEATHS - 1 : 0;
}

/* No request is with the backend, or waits for one. */
static void client_over(struct client *c)
{
    c->asked = false;
    c->away_until = 0;
    client_trust(c);
    client_progress(c);
}

/* How much of a deadline is left, in milliseconds, rounded up; 0: it has passed. */
static uint64_t ms_left(uint64_t until)
{
    uint64_t now = clock_mono_us();
    return until > now ? (until - now + 999) / 1000 : 0;
}

static void client_timeout(struct client *c)
{
    log_info("client.timeout", LF_C("protocol", c->ops->protocol));
    client_goodbye(c, GOODBYE_TIMEOUT);
}

/* It has been heard. Its deadline may be another one now, or the same, which what it says does not
 * put off; on the way to it the channel is given up. */
static void client_be_patient(struct client *c)
{
    c->patient_until = c->ops->patience(c);
    uint64_t left = ms_left(c->patient_until);
    if (c->patient_until && !left) {
        client_timeout(c);
        return;
    }
    bool rest = c->chan && client_may_rest(c) && (!left || left > CLIENT_REST_MS);
    timer_set(c->timer, rest ? (uint64_t)CLIENT_REST_MS : left);
}

static void client_leave(struct client *c)
{
    if (!c->asked)
        waiting_tried(c);
    /* One who sends commands and reads no answers is not answered further. */
    while (!c->ending && conn_backlog(c->conn) <= CLIENT_OUT_HIGH && c->step && c->step(c))
        ;
    if (c->fe->stopping && !c->asked && !c->ending)
        client_goodbye(c, GOODBYE_SHUTDOWN);
    if (!c->ending && !c->asked && c->progress)
        client_be_patient(c);
    log_context((session_id){0}, STR(""));
    if (c->ending && !c->finished)
        client_finish(c);
}

void client_stop(struct client *c)
{
    client_enter(c);
    client_leave(c);
}

static void client_free(struct client *c)
{
    struct frontend *fe = c->fe;
    client_wait_no_more(c);
    client_drop_channel(c);
    if (c->announced && c->ops->record)
        client_gone(c);
    timer_free(c->timer);
    conn_free(c->conn);
    list_remove(&c->link);
    free((void *)(uintptr_t)c->user.p);
    c->ops->release(c);
    frontend_client_gone(fe);
}

/* Nobody is asked any longer. */
static void client_let_go(struct client *c)
{
    client_drop_channel(c);
    client_wait_no_more(c);
    client_over(c);
}

static void client_lost(struct client *c, const char *event, struct err why)
{
    log_warn(event, LF_C("protocol", c->ops->protocol), LF_ERR(why));
    client_let_go(c);
    c->ops->lost(c);
}

/* The request waits for the next backend, until its deadline, which began with the loss. */
static void client_go_away(struct client *c)
{
    bool dying = c->fe->backend && c->asked_of == c->fe->backends;
    client_drop_channel(c);
    c->asked = true;
    if (!c->away_until)
        c->away_until =
            clock_mono_us() + (uint64_t)frontend_settings(c->fe)->request_timeout * 1000;
    uint64_t left = MAX(ms_left(c->away_until), (uint64_t)1);
    timer_set(c->timer, dying ? MIN(left, (uint64_t)CLIENT_DYING_MS) : left);
    client_wait_away(c, client_is_suspect(c));
}

/* The next backend would die of it too, and everybody be without one again. The client hears so
 * after a while only: one that tries again at once is not to keep the next backend from serving. */
static void client_give_up(struct client *c)
{
    log_error("client.given-up", LF_C("protocol", c->ops->protocol), LF_STR("user", c->user),
              LF_C("request", c->asks),
              LF_C("reason", c->suspect ? "the backend has died with it, and others before it with "
                                          "another request of this session"
                                        : "three backends have died with it"));
    c->suspect = c->giving_up = true;
    client_drop_channel(c);
    waiting_tried(c);
    timer_set(c->timer, MAX(frontend_settings(c->fe)->request_timeout / CLIENT_TOLD_AFTER, 1U));
}

static void client_given_up(struct client *c)
{
    c->giving_up = false;
    client_let_go(c);
    c->ops->give_up(c);
}

/* The channel has closed under a request. A backend that is asked something more while it dies dies
 * once. */
static void client_died(struct client *c)
{
    c->deaths += c->died_with != c->asked_of;
    c->died_with = c->asked_of;
    if (c->asked_of == c->fe->backends)
        waiting_backend_dies(c->fe, CLIENT_DYING_MS);
    if (c->deaths < CLIENT_DEATHS)
        client_go_away(c);
    else
        client_give_up(c);
}

static void client_away_timer(struct client *c)
{
    uint64_t left = ms_left(c->away_until);
    bool dropped = c->fe->backend && c->asked_of == c->fe->backends;
    if (left && !dropped)
        timer_set(c->timer, left);
    else
        client_lost(c, "backend.lost",
                    dropped ? err_make(E_CLOSED, "the backend has ended the session")
                            : err_make(E_TIMEOUT, "no backend within request_timeout"));
}

void client_repeat(struct client *c)
{
    client_enter(c);
    log_info("client.repeats", LF_C("protocol", c->ops->protocol));
    c->ops->repeat(c);
    client_leave(c);
}

void client_wake(struct client *c)
{
    client_enter(c);
    c->woken = true;
    c->ops->woken(c);
    c->woken = false;
    client_leave(c);
}

static void on_readable(struct conn *conn, void *arg)
{
    struct client *c = arg;
    client_enter(c);
    client_leave(c);
}

/* The client has taken enough: the backend may go on, and so may its own commands. */
static void on_drained(struct conn *conn, void *arg)
{
    struct client *c = arg;
    client_enter(c);
    if (c->held && c->chan) {
        c->held = false;
        chan_hold(c->chan, false);
        if (c->asked)
            timer_set(c->timer, frontend_settings(c->fe)->request_timeout);
    }
    client_leave(c);
}

static void on_closed(struct conn *conn, struct err why, void *arg)
{
    struct client *c = arg;
    log_context(c->session, client_trace(c));
    if (!c->ending || why.code == E_INVALID || why.code == E_TIMEOUT)
        log_write(why.code == E_TIMEOUT ? LOG_INFO : LOG_DEBUG, "client.closed",
                  LOG_FIELDS(LF_C("protocol", c->ops->protocol), LF_ERR(why)));
    client_free(c);
    log_context((session_id){0}, STR(""));
}

static void on_secured(struct conn *conn, void *arg)
{
    struct client *c = arg;
    client_enter(c);
    if (!c->step) { /* TLS from the first byte: the greeting has waited for it */
        c->ops->greet(c);
        client_progress(c);
    }
    client_leave(c);
}

static void on_timer(void *arg)
{
    struct client *c = arg;
    if (c->finished) {
        client_free(c);
        return;
    }
    client_enter(c);
    if (c->giving_up) {
        client_given_up(c);
    } else if (c->waits == WAITS_AWAY || c->waits == WAITS_ALONE) {
        client_away_timer(c);
    } else if (!c->asked && (c->patient_until == 0 || ms_left(c->patient_until))) {
        if (client_may_rest(c))
            client_drop_channel(c);
        timer_set(c->timer, ms_left(c->patient_until));
    } else if (c->asked) {
        client_lost(c, "backend.late", err_make(E_TIMEOUT, "no answer within request_timeout"));
    } else {
        client_timeout(c);
    }
    client_leave(c);
}

/* ------------------------------------------------------------------------------ session's channel
 */

/* A reader that is slow holds the backend, not our memory. */
static void client_pace(struct client *c)
{
    if (c->ending || !c->chan)
        return; /* nothing comes */
    if (conn_backlog(c->conn) > CLIENT_OUT_HIGH && !c->held) {
        c->held = true;
        chan_hold(c->chan, true);
    }
    if (c->asked)
        timer_set(c->timer, c->held ? 0 : frontend_settings(c->fe)->request_timeout);
}

static void on_answer(struct chan *chan, struct frame *f, void *arg)
{
    struct client *c = arg;
    client_enter(c);
    /* An answer to a request that is no longer of interest cannot come: one is asked at a time, and
     * giving up on it closes the channel. A goodbye answers no request. */
    if (f->serial != c->serial && f->type->number != RPC_IMAP_BYE)
        client_lost(c, "backend.wrong-answer", err_make(E_DENIED, "answer to another request"));
    else
        c->ops->answer(c, f);
    frame_free(f);
    client_pace(c);
    client_leave(c);
}

static void on_channel_closed(struct chan *chan, struct err why, void *arg)
{
    struct client *c = arg;
    client_enter(c);
    if (c->asked && c->ops->repeat && why.code == E_CLOSED && !c->ending)
        client_died(c);
    else if (!c->asked && why.code == E_CLOSED && client_may_rest(c))
        client_drop_channel(c);
    else
        client_lost(c, "backend.lost", why);
    client_leave(c);
}

void client_drop_channel(struct client *c)
{
    if (c->chan)
        chan_free(c->chan);
    c->chan = NULL;
    c->held = false;
}

static struct err client_announce(struct client *c, int fd)
{
    Thurn__SessionOpen open = THURN__SESSION_OPEN__INIT;
    open.kind = c->ops->kind;
    open.session = c->session.v;
    open.peer_ip = pb_bytes(str_of(c->peer.b, c->peer.n));
    open.tls = c->tls;
    open.may_authenticate = frontend_may_login(c->fe, c->peer, c->tls);
    if (c->ops->record)
        open.resume = pb_bytes(c->ops->record(c));
    c->announced = true;
    return chan_send(c->fe->backend, RPC_SESSION_OPEN, 0, &open.base, (struct str){0}, fd);
}

static struct err client_open_channel(struct client *c)
{
    static const struct chan_ops ops = {.frame = on_answer, .closed = on_channel_closed};
    c->asked_of = c->fe->backend ? c->fe->backends : 0;
    if (!c->fe->backend)
        return err_make(E_CLOSED, "there is no backend");
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = c->ops->rules,
                                   .n_rules = c->ops->n_rules,
                                   .ops = &ops,
                                   .arg = c};
    int fds[2];
    TRY(chan_pair(fds));
    struct err e = client_announce(c, fds[1]);
    (void)close(fds[1]);
    if (e.code != E_OK) {
        (void)close(fds[0]);
        return e;
    }
    TRY(chan_new(c->fe->role->loop, fds[0], &spec, &c->chan));
    if (c->woken)
        chan_no_hurry(c->chan);
    return OK;
}

static struct err client_send(struct client *c, uint16_t type, const ProtobufCMessage *m,
                              struct str raw, int fd)
{
    if (!c->chan)
        TRY(client_open_channel(c));
    return chan_send(c->chan, type, ++c->serial, m, raw, fd);
}

struct err client_ask(struct client *c, enum client_asks asks, uint16_t type,
                      const ProtobufCMessage *m, struct str raw, int fd)
{
    c->asks = m->descriptor->short_name;
    if (client_is_suspect(c) && !waiting_may_try(c)) {
        c->asked_of = 0;
        client_go_away(c);
        return OK;
    }
    struct err e = client_send(c, type, m, raw, fd);
    if (e.code == E_CLOSED && c->ops->repeat) {
        client_go_away(c);
        return OK;
    }
    TRY(e);
    chan_set_state(c->chan, (uint32_t)asks);
    c->asked = true;
    timer_set(c->timer, frontend_settings(c->fe)->request_timeout);
    return OK;
}

void client_answered(struct client *c)
{
    if (c->chan)
        chan_set_state(c->chan, ASKS_NOTHING);
    client_over(c);
}

void client_told(struct client *c)
{
    c->away_until = 0;
    client_trust(c);
    waiting_tried(c);
}

/* --------------------------------------------------------------------------------------- helpers
 */

bool client_step_wait(struct client *c)
{
    return false;
}

struct buf *client_out(struct client *c)
{
    buf_reset(&c->fe->out, CLIENT_OUT_HIGH);
    return &c->fe->out;
}

void client_flush(struct client *c)
{
    if (buf_err(&c->fe->out).code != E_OK) { /* memory is short: the answer would have a hole */
        client_end(c);
        return;
    }
    conn_write(c->conn, buf_str(&c->fe->out));
}

void client_end(struct client *c)
{
    c->ending = true;
}

void client_goodbye(struct client *c, enum client_goodbye why)
{
    if (c->step) /* else it waits for TLS: there is nothing that it could read */
        conn_write(c->conn, c->ops->goodbyes[why]);
    client_end(c);
}

void client_keep_user(struct client *c, struct str user)
{
    free((void *)(uintptr_t)c->user.p);
    c->user = str_of(mem_alloc(user.n), user.n);
    str_copy_to((void *)(uintptr_t)c->user.p, user);
}

void client_bad(struct client *c)
{
    uint32_t max = frontend_settings(c->fe)->max_bad_commands;
    if (++c->bad_commands <= max || !max)
        return;
    log_info("client.too-many-bad-commands", LF_C("protocol", c->ops->protocol));
    client_goodbye(c, GOODBYE_BAD);
}

void client_trace_begin(struct client *c)
{
    static const char digits[] =
        "0123456789abcdefghjkmnpqrstvwxyz"; /* no i, l, o, u: to be read out */
    uint8_t random[CLIENT_TRACE];
    random_bytes(random, sizeof random);
    for (size_t i = 0; i < CLIENT_TRACE; i++)
        c->trace[i] = (uint8_t)digits[random[i] & 31];
    c->n_trace = CLIENT_TRACE;
    log_context(c->session, client_trace(c));
}

void client_trace_end(struct client *c)
{
    c->n_trace = 0;
    log_context(c->session, STR(""));
}

struct str client_peer(const struct client *c, struct buf *b)
{
    buf_clear(b);
    ip_format(b, c->peer);
    return buf_str(b);
}

/* ------------------------------------------------------------------------------------------ life
 */

static struct err client_begin(struct client *c, bool tls_now)
{
    if (tls_now) {
        c->tls = true;
        return conn_start_tls(c->conn, c->fe->tls);
    }
    c->ops->greet(c);
    return OK;
}

struct err client_new(struct frontend *fe, const struct client_ops *ops, int fd, struct ip peer,
                      bool tls_now)
{
    static const struct conn_ops conn_ops = {
        .readable = on_readable, .drained = on_drained, .closed = on_closed, .secured = on_secured};
    const struct conn_limits limits = {.in_max = CLIENT_IN_MAX,
                                       .out_low = CLIENT_OUT_LOW,
                                       .write_ms = frontend_settings(fe)->write_timeout};
    struct client *c = ops->make();
    list_init(&c->link);
    list_init(&c->waiting);
    c->fe = fe;
    c->ops = ops;
    c->peer = peer;
    c->since = clock_mono_us();
    while (!c->session.v)
        c->session.v = random_u64();
    struct err e = conn_new(fe->role->loop, fd, &limits, &conn_ops, c, &c->conn);
    if (e.code != E_OK) {
        ops->release(c);
        return e;
    }
    c->timer = timer_new(fe->role->loop, on_timer, c);
    list_append(&fe->clients, &c->link);
    fe->n_clients++;
    client_enter(c);
    e = client_begin(c, tls_now);
    if (e.code != E_OK)
        client_end(c);
    client_progress(c);
    client_leave(c);
    return OK;
}
