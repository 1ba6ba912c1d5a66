#include "base/base.h"

#include "roles/backend/admin_request.h"

#include <sys/socket.h>

/*
 * The command line's connections: one request at a time each, run on a worker, which sends the
 * answer. Lists go page by page and wait for a slow reader without a thread.
 *
 * An account is removed in two steps: its address is taken away, then, when nobody has it open any
 * more, its mail is erased.
 */

enum { ADMIN_STATE = 1 };

/* clang-format off */
static const struct chan_rule admin_rules[] = {
    {RPC_ADMIN_DOMAIN_ADD,       ADMIN_STATE},
    {RPC_ADMIN_DOMAIN_REMOVE,    ADMIN_STATE},
    {RPC_ADMIN_DOMAIN_LIST,      ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_ADD,      ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_REMOVE,   ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_LIST,     ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_PASSWORD, ADMIN_STATE},
    {RPC_ADMIN_DOMAIN_ALIAS,     ADMIN_STATE},
    {RPC_ADMIN_DOMAIN_SET,       ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_SET,      ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_SHOW,     ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_LOCK,     ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_UNLOCK,   ADMIN_STATE},
    {RPC_ADMIN_ACCOUNT_LOGOUT,   ADMIN_STATE},
    {RPC_ADMIN_ALIAS_ADD,        ADMIN_STATE},
    {RPC_ADMIN_ALIAS_REMOVE,     ADMIN_STATE},
    {RPC_ADMIN_ALIAS_LIST,       ADMIN_STATE},
};
/* clang-format on */

/* -- answers -- */

void admin_send(struct admin *a, const Thurn__AdminAnswer *m)
{
    struct err e =
        chan_send(a->chan, RPC_ADMIN_ANSWER, a->f->serial, &m->base, (struct str){NULL, 0}, -1);
    if (e.code && e.code != E_CLOSED)
        log_error("admin.answer", LF_ERR(e));
}

void admin_finish(struct admin *a, struct err e, Thurn__AdminRow **rows, size_t n)
{
    Thurn__Status status = RPC_STATUS(rpc_code(e), "");
    if (e.code)
        status.text = pb_bytes(str_c(e.why));
    Thurn__AdminAnswer m = THURN__ADMIN_ANSWER__INIT;
    m.status = &status;
    m.n_rows = n;
    m.rows = rows;
    admin_send(a, &m);
    a->next = ADMIN_DONE;
}

static void admin_slice_ended(void *arg);

static void admin_run(struct job *j)
{
    struct admin *a = container_of(j, struct admin, job);
    if (admin_is_list(a->f)) {
        admin_list(a);
    } else {
        struct err e = admin_change(a);
        if (e.code)
            log_info("admin.refused-request", LF_C("request", a->f->type->name), LF_ERR(e));
        else
            log_info("admin.done", LF_C("request", a->f->type->name));
        if (e.code || a->next == ADMIN_DONE)
            admin_finish(a, e, NULL, 0);
    }
    loop_post(a->b->loop, admin_slice_ended, a);
}

/* -- removals -- */

static void erase(struct writer *w, struct account *none, struct err opened)
{
    (void)none, (void)opened;
    struct admin *a = container_of(w, struct admin, writer);
    struct err e = directory_account_erase(a->b->directory, a->account);
    if (e.code)
        log_error("admin.erase", LF_U64("account", a->account.v), LF_ERR(e));
    sched_write_done(a->b->sched, w);
    admin_finish(a, e, NULL, 0);
    loop_post(a->b->loop, admin_slice_ended, a);
}

/* Whether a session has the account open, or may be about to. */
static bool account_is_open(const struct backend *b, account_id account)
{
    bool open = b->listings > 0 || b->looks > 0;
    list_each (l, &b->sessions) {
        struct session *s = container_of(l, struct session, link);
        open = open || s->account.v == account.v || atomic_load(&s->logging_in);
    }
    return open;
}

void admin_removals_check(struct backend *b)
{
    list_each (l, &b->removals) {
        struct admin *a = container_of(l, struct admin, removal);
        session_drop_account(b, a->account, "the account is removed");
        if (account_is_open(b, a->account))
            continue;
        list_remove(&a->removal);
        a->writer = (struct writer){.write = erase, .no_handle = true};
        sched_write(b->sched, a->account, &a->writer);
    }
}

/* -- connections -- */

static void admin_free(struct admin *a)
{
    struct backend *b = a->b;
    list_remove(&a->link);
    chan_free(a->chan);
    frame_free(a->f);
    buf_free(&a->after);
    free(a);
    backend_check_stopped(b);
}

static void admin_submit(struct admin *a)
{
    uint16_t type = a->f->type->number;
    a->parked = false;
    a->job.run = admin_run;
    if (admin_is_list(a->f))
        a->b->listings++;
    if (type == RPC_ADMIN_ACCOUNT_ADD || type == RPC_ADMIN_ACCOUNT_PASSWORD)
        logins_run(a->b->logins, &a->job);
    else
        sched_run(a->b->sched, &a->job);
}

static void admin_frame(struct chan *c, struct frame *f, void *arg)
{
    struct admin *a = arg;
    chan_hold(c, true); /* until this one is answered */
    a->f = f;
    a->next = ADMIN_DONE;
    a->listed = 0;
    buf_clear(&a->after);
    admin_submit(a);
}

static void admin_request_ended(struct admin *a)
{
    frame_free(a->f);
    a->f = NULL;
    if (a->closed || a->b->stopping)
        admin_free(a);
    else
        chan_hold(a->chan, false);
}

static void admin_slice_ended(void *arg)
{
    struct admin *a = arg;
    struct backend *b = a->b;
    if (admin_is_list(a->f)) {
        b->listings--;
        admin_removals_check(b);
    }
    if (a->next == ADMIN_ERASE) {
        list_append(&b->removals, &a->removal);
        admin_removals_check(b);
    } else if (a->next == ADMIN_DROP) {
        session_drop_account(b, a->account,
                             "the account was locked or logged out, or has a new "
                             "password");
        admin_finish(a, OK, NULL, 0);
        admin_request_ended(a);
    } else if (a->next == ADMIN_DONE || a->closed) {
        admin_request_ended(a);
    } else if (chan_backlog(a->chan) < CHAN_HIGH) {
        admin_submit(a);
    } else {
        a->parked = true;
    }
}

static void admin_drained(struct chan *c, void *arg)
{
    struct admin *a = arg;
    if (a->parked)
        admin_submit(a);
}

static void admin_closed(struct chan *c, struct err why, void *arg)
{
    struct admin *a = arg;
    a->closed = true;
    if (!a->f || a->parked)
        admin_free(a);
}

static bool admin_may_connect(const struct backend *b, int fd)
{
    struct ucred cred;
    socklen_t n = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
        return false;
    bool may = cred.uid == 0 || cred.uid == getuid() || cred.uid == b->supervisor_uid;
    if (!may)
        log_warn("admin.refused", LF_U64("uid", cred.uid), LF_U64("pid", cred.pid));
    return may;
}

static void admin_accepted(int fd, struct ip peer, void *arg)
{
    static const struct chan_ops ops = {
        .frame = admin_frame, .drained = admin_drained, .closed = admin_closed};
    struct backend *b = arg;
    (void)peer;
    if (!admin_may_connect(b, fd)) {
        (void)close(fd);
        return;
    }
    struct admin *a = mem_alloc(sizeof *a);
    a->b = b;
    list_init(&a->removal);
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = admin_rules,
                                   .n_rules = ARRAY_LEN(admin_rules),
                                   .ops = &ops,
                                   .arg = a};
    struct err e = chan_new(b->loop, fd, &spec, &a->chan);
    if (e.code) {
        log_error("admin.channel", LF_ERR(e));
        free(a);
        return;
    }
    list_append(&b->admins, &a->link);
}

void admin_listen(struct backend *b, int fd)
{
    listener_free(b->admin_listener);
    b->admin_listener = listener_new(b->loop, fd, admin_accepted, b);
}

void admin_stop(struct backend *b)
{
    listener_free(b->admin_listener);
    b->admin_listener = NULL;
    list_each (l, &b->admins) {
        struct admin *a = container_of(l, struct admin, link);
        if (!a->f || a->parked)
            admin_free(a);
    }
}
