#include "roles/backend/session.h"

#include "roles/backend/admin.h"

/* -- coming and going -- */

static struct connection_id session_connection(const struct session *s)
{
    return (struct connection_id){s->id, s->frontend};
}

static void session_free(void *arg)
{
    struct session *s = arg;
    struct backend *b = s->b;
    s->kind->end(s);
    if (!s->kind->wake && s->account.v) /* of others the frontend says when the client has gone */
        connections_gone(logins_connections(b->logins), session_connection(s));
    list_remove(&s->link);
    b->n_sessions--;
    chan_free(s->chan);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
    admin_removals_check(b);
    backend_check_stopped(b);
}

/* From any thread; the memory goes on the loop's. */
static void session_unref(struct session *s)
{
    if (atomic_fetch_sub(&s->refs, 1) == 1)
        loop_post(s->b->loop, session_free, s);
}

/* The channel is over: what is parked gets its chance to end, what is running ends by itself. */
static void session_leave(struct session *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool was_gone = s->gone, parked = s->parked;
    struct frame *next = s->next;
    s->gone = true;
    s->parked = false;
    s->next = NULL;
    (void)pthread_mutex_unlock(&s->lock);
    if (was_gone)
        return;
    frame_free(next);
    if (parked)
        s->kind->resume(s);
    session_unref(s);
}

void session_drop(struct session *s, const char *why)
{
    log_warn("session.ended", LF_C("kind", s->kind->name), LF_C("why", why));
    chan_hold(s->chan, true);
    session_leave(s);
}

void session_drop_account(struct backend *b, account_id account, const char *why)
{
    b->drops++;
    watches_changed(b->watches, account); /* those that sleep are to find out */
    list_each (l, &b->sessions) {
        struct session *s = container_of(l, struct session, link);
        if (s->account.v != account.v || session_is_gone(s))
            continue;
        if (s->kind->bye)
            s->kind->bye(s);
        session_drop(s, why);
    }
}

void session_stop_all(struct backend *b)
{
    list_each (l, &b->sessions) {
        struct session *s = container_of(l, struct session, link);
        chan_hold(s->chan, true);
        session_leave(s);
    }
}

static void session_closed(struct chan *c, struct err why, void *arg)
{
    struct session *s = arg;
    if (why.code != E_CLOSED)
        log_warn("session.channel", LF_C("kind", s->kind->name), LF_ERR(why));
    session_leave(s);
}

bool session_is_gone(struct session *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool gone = s->gone;
    (void)pthread_mutex_unlock(&s->lock);
    return gone;
}

/* -- log-in -- */

struct session_login {
    struct login attempt;
    struct session *s;
    void (*run)(struct session *s);
    uint64_t drops_seen; /* b->drops when it began */
};

static void login_run(struct login *attempt)
{
    const struct session_login *l = container_of(attempt, struct session_login, attempt);
    log_context(l->s->id, (struct str){NULL, 0});
    l->run(l->s); /* may be the end of both */
    log_context((session_id){0}, (struct str){NULL, 0});
}

void session_log_in(struct session *s, struct str user, struct str password,
                    void (*run)(struct session *s))
{
    struct session_login *l = mem_alloc(sizeof *l);
    *l = (struct session_login){.attempt = {.peer = s->peer,
                                            .id = session_connection(s),
                                            .user = user,
                                            .password = password,
                                            .protocol = s->kind->name,
                                            .tls = s->tls,
                                            .run = login_run},
                                .s = s,
                                .run = run,
                                .drops_seen = s->b->drops};
    s->login = l;
    chan_hold(s->chan, true); /* until it is known what the next state permits */
    login_submit(s->b->logins, &l->attempt);
}

void session_count(struct session *s, account_id account)
{
    connections_add_always(logins_connections(s->b->logins), session_connection(s), account,
                           s->peer);
}

struct err session_authenticate(struct session *s, struct principal *out)
{
    /* Whoever erases an account has made sure before that it cannot be found any more. */
    atomic_store(&s->logging_in, true);
    TRY(login_check(&s->login->attempt, out));
    s->principal = *out;
    return OK;
}

void session_logged_in(struct session *s, bool logged_in)
{
    struct err e = OK;
    atomic_store(&s->logging_in, false);
    if (!logged_in && s->principal.account.v) {
        connections_remove(logins_connections(s->b->logins), session_connection(s));
    } else if (logged_in) {
        s->account = s->principal.account;
        if (s->login->drops_seen !=
            s->b->drops) /* perhaps of this account: seldom, so it may read */
            e = directory_may_go_on(s->b->directory, &s->principal);
    }
    timer_free(s->login->attempt.timer);
    free(s->login);
    s->login = NULL;
    if (e.code)
        session_drop(s, e.why);
    else
        chan_hold(s->chan, false);
}

/* -- requests -- */

static void session_frame(struct chan *c, struct frame *f, void *arg)
{
    struct session *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    bool busy = s->busy, gone = s->gone;
    if (busy && !gone) {
        check(s->next == NULL);
        s->next = f;
    }
    s->busy = true;
    (void)pthread_mutex_unlock(&s->lock);
    if (gone) {
        frame_free(f);
    } else if (busy) {
        chan_hold(c, true);
    } else {
        (void)atomic_fetch_add(&s->refs, 1);
        s->kind->request(s, f);
    }
}

/* Goes on with the frame that came meanwhile. */
static void session_next(void *arg)
{
    struct session *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    struct frame *f = s->next;
    s->next = NULL;
    (void)pthread_mutex_unlock(&s->lock);
    if (!f) { /* it went with the channel */
        session_end(s);
        return;
    }
    chan_hold(s->chan, false);
    s->kind->request(s, f);
}

void session_end(struct session *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool next = s->next;
    s->busy = next;
    (void)pthread_mutex_unlock(&s->lock);
    if (next)
        loop_post(s->b->loop, session_next, s);
    else
        session_unref(s);
}

bool session_park(struct session *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool gone = s->gone;
    s->parked = !gone;
    (void)pthread_mutex_unlock(&s->lock);
    if (gone)
        return false;
    if (chan_backlog(s->chan) >= CHAN_LOW)
        return true; /* session_drained comes, or session_leave */
    (void)pthread_mutex_lock(&s->lock);
    bool still = s->parked; /* else it has been resumed already */
    s->parked = false;
    (void)pthread_mutex_unlock(&s->lock);
    return !still;
}

static void session_drained(struct chan *c, void *arg)
{
    struct session *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    bool parked = s->parked;
    s->parked = false;
    (void)pthread_mutex_unlock(&s->lock);
    if (parked)
        s->kind->resume(s);
}

/* -- opening -- */

static const struct session_kind *session_kind_of(Thurn__SessionKind kind)
{
    switch (kind) {
    case THURN__SESSION_KIND__SESSION_LMTP: return &session_lmtp;
    case THURN__SESSION_KIND__SESSION_IMAP: return &session_imap;
    case THURN__SESSION_KIND__SESSION_SMTP: return &session_smtp;
    case THURN__SESSION_KIND__SESSION_SUBMISSION: return &session_submission;
    default: return NULL;
    }
}

void session_open(struct backend *b, uint32_t frontend, const Thurn__SessionOpen *m, int fd)
{
    static const struct chan_ops ops = {
        .frame = session_frame, .drained = session_drained, .closed = session_closed};
    const struct session_kind *kind = session_kind_of(m->kind);
    bool ip_ok = m->peer_ip.len == 0 || m->peer_ip.len == 4 || m->peer_ip.len == 16;
    bool room = b->n_sessions < (size_t)b->limits.sessions * b->n_frontends;
    if (!kind || !ip_ok || !room || fd < 0) {
        log_warn("session.refused", LF_U64("kind", m->kind), LF_U64("sessions", b->n_sessions));
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    struct session *s = kind->make();
    s->b = b;
    s->kind = kind;
    s->id.v = m->session;
    s->frontend = frontend;
    s->peer.n = (uint8_t)m->peer_ip.len;
    if (s->peer.n)
        memcpy(s->peer.b, m->peer_ip.data, s->peer.n);
    s->tls = m->tls;
    s->may_authenticate = m->may_authenticate;
    atomic_init(&s->refs, 1);
    (void)pthread_mutex_init(&s->lock, NULL);
    const struct chan_spec spec = {
        .table = &rpc_table, .rules = kind->rules, .n_rules = kind->n_rules, .ops = &ops, .arg = s};
    struct err e = chan_new(b->loop, fd, &spec, &s->chan);
    if (e.code) {
        log_error("session.channel", LF_ERR(e));
        (void)pthread_mutex_destroy(&s->lock);
        free(s);
        return;
    }
    list_append(&b->sessions, &s->link);
    b->n_sessions++;
    kind->begin(s);
    if (m->resume.len && kind->wake) {
        chan_no_hurry(s->chan); /* one change can bring very many */
        kind->wake(s, pb_str(m->resume));
    }
}
