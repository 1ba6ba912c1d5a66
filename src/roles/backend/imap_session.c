#include "imap/imap_service.h"
#include "roles/backend/admin.h"
#include "roles/backend/append.h"
#include "roles/backend/session.h"

enum { SLICE_US = 5000, RECORD_BUDGET = 16 * KB };
/* Of answers; the latter while others are served, who wait for a piece of it at the frontend. */
enum { SLICE_BYTES = 256 * KB, SLICE_SHARED = 32 * KB };

/* States of the channel. What a selected mailbox permits is in the service's own table. */
enum { NOT_LOGGED_IN = 1, LOGGED_IN = 2 };

/* clang-format off */
static const struct chan_rule imap_rules[] = {
    {RPC_IMAP_LOGIN,     NOT_LOGGED_IN},
    {RPC_IMAP_NOOP,      NOT_LOGGED_IN | LOGGED_IN},
    {RPC_IMAP_SELECT,    LOGGED_IN},
    {RPC_IMAP_CLOSE,     LOGGED_IN},
    {RPC_IMAP_CREATE,    LOGGED_IN},
    {RPC_IMAP_DELETE,    LOGGED_IN},
    {RPC_IMAP_RENAME,    LOGGED_IN},
    {RPC_IMAP_SUBSCRIBE, LOGGED_IN},
    {RPC_IMAP_LIST,      LOGGED_IN},
    {RPC_IMAP_STATUS,    LOGGED_IN},
    {RPC_IMAP_APPEND,    LOGGED_IN},
    {RPC_IMAP_EXPUNGE,   LOGGED_IN},
    {RPC_IMAP_SEARCH,    LOGGED_IN},
    {RPC_IMAP_FETCH,     LOGGED_IN},
    {RPC_IMAP_STORE,     LOGGED_IN},
    {RPC_IMAP_COPY,      LOGGED_IN},
    {RPC_IMAP_ENABLE,    LOGGED_IN},
    {RPC_IMAP_QUOTA,     LOGGED_IN},
    {RPC_IMAP_APPEND_CHECK, LOGGED_IN},
};
/* clang-format on */

/* One request at a time: its job, its place in the account's run queue, its scan. */
struct imap_client {
    struct session s;
    struct imap_host host;
    struct imap_session *imap;
    uint64_t records; /* sealed so far */
    bool refused;     /* its record is not good: the first request is told so */
    struct frame *f;
    enum imap_needs needs;
    struct job job;
    struct writer writer;
    struct append append;
};

static struct imap_client *client_of(struct session *s)
{
    return container_of(s, struct imap_client, s);
}

/* -- the service's host -- */

static struct err host_send(void *host_session, uint16_t type, uint32_t serial,
                            const ProtobufCMessage *m, struct str raw)
{
    struct imap_client *c = host_session;
    return chan_send(c->s.chan, type, serial, m, raw, -1);
}

static void host_seal(void *host_session, Thurn__ImapResume *record, struct buf *out)
{
    struct imap_client *c = host_session;
    record->session = c->s.id.v;
    record->frontend = c->s.frontend;
    record->counter = ++c->records;
    seal_put(&c->s.b->seal, record, out);
}

static bool host_room(void *host_session)
{
    const struct imap_client *c = host_session;
    return chan_backlog(c->s.chan) < CHAN_HIGH;
}

static struct err host_authenticate(void *host_session, struct str user, struct str password,
                                    struct principal *out)
{
    struct imap_client *c = host_session;
    (void)user, (void)password; /* they were taken from the same request */
    return session_authenticate(&c->s, out);
}

/* -- running requests -- */

static void request_go_on(struct imap_client *c);

/* On the loop's thread: from now on the channel takes what the new state permits. */
static void login_ended(void *arg)
{
    struct imap_client *c = arg;
    bool logged_in = imap_session_account(c->imap).v != 0;
    if (logged_in)
        chan_set_state(c->s.chan, LOGGED_IN);
    session_logged_in(&c->s, logged_in);
    session_end(&c->s);
    admin_removals_check(c->s.b);
}

static void request_end(struct imap_client *c)
{
    frame_free(c->f);
    c->f = NULL;
    append_free(&c->append);
    if (c->needs == IMAP_NEEDS_HASHING)
        loop_post(c->s.b->loop, login_ended, c);
    else
        session_end(&c->s);
}

/* One slice. */
static enum imap_run request_slice(struct imap_client *c)
{
    if (session_is_gone(&c->s)) {
        imap_session_cancel(c->imap);
        return IMAP_RUN_DONE;
    }
    const struct imap_scanned scanned = append_result(&c->append);
    log_context(c->s.id, (struct str){NULL, 0});
    bool shared = c->job.heavy && sched_others_hurry(c->s.b->sched, imap_session_account(c->imap));
    c->host.slice_bytes = shared ? SLICE_SHARED : SLICE_BYTES;
    chan_collect(c->s.chan, true);
    enum imap_run ran =
        imap_session_run(c->imap, c->f, c->needs == IMAP_NEEDS_SCAN ? &scanned : NULL);
    chan_collect(c->s.chan, false);
    log_context((session_id){0}, (struct str){NULL, 0});
    return ran;
}

static void request_after(struct imap_client *c, enum imap_run ran)
{
    if (ran == IMAP_RUN_DONE) {
        request_end(c);
        return;
    }
    bool room = chan_backlog(c->s.chan) < CHAN_LOW;
    if (!room)
        imap_session_rest(c->imap);
    c->job.heavy = c->writer.job.heavy = true; /* more than a slice */
    if (room || !session_park(&c->s))
        request_go_on(c);
}

static void request_run(struct job *j)
{
    struct imap_client *c = container_of(j, struct imap_client, job);
    request_after(c, request_slice(c));
}

/* Between slices the account is left to others: a slow reader keeps nobody waiting. */
static void request_write(struct writer *w, struct account *a, struct err opened)
{
    (void)a, (void)opened; /* the service has a handle of its own, and says what is wrong */
    struct imap_client *c = container_of(w, struct imap_client, writer);
    enum imap_run ran = request_slice(c);
    sched_write_done(c->s.b->sched, w);
    request_after(c, ran);
}

/* To the end of the queue that the request belongs to. */
static void request_go_on(struct imap_client *c)
{
    struct sched *sched = c->s.b->sched;
    switch (c->needs) {
    case IMAP_NEEDS_WRITER:
    case IMAP_NEEDS_SCAN: sched_write(sched, imap_session_account(c->imap), &c->writer); break;
    case IMAP_NEEDS_NOTHING:
    case IMAP_NEEDS_HASHING: /* done in one slice */
    case IMAP_FORBIDDEN: sched_run(sched, &c->job); break;
    }
}

/* -- APPEND -- */

static void append_answer(struct imap_client *c, Thurn__Status status)
{
    Thurn__ImapDone done = THURN__IMAP_DONE__INIT;
    done.status = &status;
    struct err e = host_send(c, RPC_IMAP_DONE, c->f->serial, &done.base, (struct str){NULL, 0});
    if (e.code && e.code != E_CLOSED)
        log_error("imap.answer", LF_ERR(e));
    request_end(c);
}

static void append_ready(struct append *a)
{
    struct imap_client *c = container_of(a, struct imap_client, append);
    if (a->status.code != THURN__CODE__DONE)
        append_answer(c, a->status);
    else
        request_go_on(c);
}

static void append_begin(struct imap_client *c)
{
    struct err e =
        append_start(&c->append, c->s.b->scan, c->job.account, c->f, c->s.b->limits.message_size);
    if (e.code) {
        session_drop(&c->s, e.why);
        request_end(c);
    }
}

/* -- the kind -- */

static struct session *imap_make(void)
{
    struct imap_client *c = mem_alloc(sizeof *c);
    return &c->s;
}

static void imap_begin(struct session *s)
{
    struct imap_client *c = client_of(s);
    c->host = (struct imap_host){.store = s->b->store,
                                 .directory = s->b->directory,
                                 .message_size_limit = s->b->limits.message_size,
                                 .slice_us = SLICE_US,
                                 .slice_bytes = SLICE_BYTES,
                                 .authenticate = host_authenticate,
                                 .send = host_send,
                                 .room = host_room,
                                 .seal = host_seal};
    c->imap = imap_session_new(&c->host, c, s->may_authenticate);
    c->writer.write = request_write;
    c->append.done = append_ready;
    chan_set_state(s->chan, NOT_LOGGED_IN);
}

static struct err wake(struct imap_client *c, struct str sealed, struct arena *a)
{
    struct session *s = &c->s;
    Thurn__ImapResume *r;
    TRY(seal_open(&s->b->seal, sealed, a, &r));
    TRY(seal_check(r, s->id, s->frontend, clock_wall_s()));
    TRY(imap_session_resume(c->imap, r));
    c->records = r->counter;
    s->account.v = r->account;
    session_count(s, s->account);
    return OK;
}

/* Whether its account is there, and may still be used, is found out on a worker. */
static void imap_wake(struct session *s, struct str sealed)
{
    struct imap_client *c = client_of(s);
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct err e = wake(c, sealed, &a);
    c->refused = e.code != E_OK;
    if (c->refused)
        log_warn("session.record-refused", LF_U64("session", s->id.v), LF_ERR(e));
    chan_set_state(s->chan, LOGGED_IN);
}

/* Serial 0: no request is answered. */
static void imap_say_bye(struct imap_client *c, uint32_t serial)
{
    Thurn__Status status =
        RPC_STATUS(THURN__CODE__DENIED, "You have been logged out, log in again");
    Thurn__ImapBye bye = THURN__IMAP_BYE__INIT;
    bye.status = &status;
    struct err e = host_send(c, RPC_IMAP_BYE, serial, &bye.base, (struct str){NULL, 0});
    if (e.code && e.code != E_CLOSED)
        log_error("imap.answer", LF_ERR(e));
}

static void imap_bye(struct session *s)
{
    imap_say_bye(client_of(s), 0);
}

static void request_refuse(struct imap_client *c)
{
    imap_say_bye(c, c->f->serial);
    session_drop(&c->s, "its record is not good");
    request_end(c);
}

static void login_run(struct session *s)
{
    request_run(&client_of(s)->job);
}

static void login_begin(struct imap_client *c)
{
    const Thurn__ImapLogin *m = (const Thurn__ImapLogin *)c->f->message;
    session_log_in(&c->s, pb_str(m->user), pb_str(m->password), login_run);
}

static void imap_request(struct session *s, struct frame *f)
{
    struct imap_client *c = client_of(s);
    c->f = f;
    if (c->refused) {
        request_refuse(c);
        return;
    }
    c->job = (struct job){.run = request_run, .account = imap_session_account(c->imap)};
    c->writer.job.heavy = false;
    c->needs = imap_request_needs(c->imap, f);
    switch (c->needs) {
    case IMAP_FORBIDDEN:
        session_drop(s, "a request that the state does not permit");
        request_end(c);
        break;
    case IMAP_NEEDS_SCAN: append_begin(c); break;
    case IMAP_NEEDS_HASHING: login_begin(c); break;
    case IMAP_NEEDS_NOTHING:
    case IMAP_NEEDS_WRITER: request_go_on(c); break;
    }
}

static void imap_resume_parked(struct session *s)
{
    struct imap_client *c = client_of(s);
    request_go_on(c);
}

static void imap_end(struct session *s)
{
    struct imap_client *c = client_of(s);
    imap_session_free(c->imap);
}

const struct session_kind session_imap = {
    .name = "imap",
    .rules = imap_rules,
    .n_rules = ARRAY_LEN(imap_rules),
    .make = imap_make,
    .begin = imap_begin,
    .wake = imap_wake,
    .bye = imap_bye,
    .request = imap_request,
    .resume = imap_resume_parked,
    .end = imap_end,
};
