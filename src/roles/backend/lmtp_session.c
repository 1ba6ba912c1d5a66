#include "roles/backend/admin.h"
#include "roles/backend/message.h"
#include "roles/backend/session.h"
#include "smtp/lmtp_service.h"

/*
 * Sessions that bring mail: of LMTP, of SMTP, and of submission, which begins with a login. They
 * differ in their states only, and in what becomes of a delivery that fails in part.
 *
 * A delivery goes from the loop's thread to a scanner, back to the loop's thread, to a worker - to
 * several, if it has several recipients - and ends on the thread that committed, which sends the
 * answer.
 */

enum { MAIL_STATE = 1, LOGIN_STATE = 2, TRACE_MAX = 64 };

static const struct chan_rule lmtp_rules[] = {
    {RPC_LMTP_RECIPIENT, MAIL_STATE},
    {RPC_LMTP_DELIVER, MAIL_STATE},
};

static const struct chan_rule submission_rules[] = {
    {RPC_SMTP_LOGIN, LOGIN_STATE},
    {RPC_LMTP_RECIPIENT, MAIL_STATE},
    {RPC_LMTP_DELIVER, MAIL_STATE},
};

/* Times that a delivery is tried which has reached some of its recipients. */
enum { DELIVERY_TRIES = 3 };

/* A recipient that was accepted. */
struct accepted {
    struct list link;
    account_id account;
    size_t local_n, domain_n;
    uint8_t text[]; /* local part, domain */
};

struct lmtp_session {
    struct session s;
    struct list accepted; /* since the last delivery, oldest first */
    size_t n_accepted;
    struct job login;
    struct frame *login_request;
    struct principal principal; /* whoever has logged in */
};

struct delivery;

struct delivery_recipient {
    struct writer writer;
    struct delivery *d;
    account_id account;
    Thurn__Status status;
};

struct delivery {
    struct lmtp_session *l;
    struct frame *f;
    const Thurn__LmtpDeliver *request;
    struct message bytes;
    struct lmtp_message m;
    struct scan_job scan;
    struct job job;
    struct buf peer;
    char hostname[256];
    atomic_size_t left; /* recipients that are not done */
    unsigned tries;
    size_t n;
    struct delivery_recipient recipients[];
};

static struct lmtp_session *lmtp_of(struct session *s)
{
    return container_of(s, struct lmtp_session, s);
}

/* -- recipients -- */

static void accepted_drop(struct lmtp_session *l, struct accepted *a)
{
    list_remove(&a->link);
    l->n_accepted--;
    free(a);
}

static void accepted_forget(struct lmtp_session *l)
{
    list_each (link, &l->accepted)
        accepted_drop(l, container_of(link, struct accepted, link));
}

/* Only as many as a transaction may have are kept: the latest. */
static void accepted_add(struct lmtp_session *l, const Thurn__Mailaddr *address, account_id account)
{
    struct str local = pb_str(address->local), domain = pb_str(address->domain);
    struct accepted *a = mem_alloc(sizeof *a + local.n + domain.n);
    a->account = account;
    a->local_n = local.n;
    a->domain_n = domain.n;
    str_copy_to(a->text, local);
    str_copy_to(a->text + local.n, domain);
    list_append(&l->accepted, &a->link);
    if (++l->n_accepted > l->s.b->limits.recipients)
        accepted_drop(l, container_of(l->accepted.next, struct accepted, link));
}

/* The account of an accepted recipient; {0} if it was not accepted. */
static account_id accepted_find(const struct lmtp_session *l, const Thurn__Mailaddr *address)
{
    list_each (link, &l->accepted) {
        const struct accepted *a = container_of(link, struct accepted, link);
        if (str_eq(str_of(a->text, a->local_n), pb_str(address->local)) &&
            str_eq(str_of(a->text + a->local_n, a->domain_n), pb_str(address->domain)))
            return a->account;
    }
    return (account_id){0};
}

static void lmtp_answer(struct session *s, uint16_t type, uint32_t serial,
                        const ProtobufCMessage *m)
{
    struct err e = chan_send(s->chan, type, serial, m, (struct str){NULL, 0}, -1);
    if (e.code && e.code != E_CLOSED)
        log_error("lmtp.answer", LF_ERR(e));
}

static void recipient(struct lmtp_session *l, struct frame *f)
{
    const Thurn__LmtpRecipient *m = (const Thurn__LmtpRecipient *)f->message;
    if (!m->address) {
        session_drop(&l->s, "a recipient without an address");
    } else {
        struct lmtp_route route;
        Thurn__Status status =
            lmtp_recipient(l->s.b->directory, str_c(l->s.b->hostname), m->address, &route);
        if (status.code == THURN__CODE__DONE)
            accepted_add(l, m->address, route.account);
        Thurn__LmtpRecipientAnswer answer = THURN__LMTP_RECIPIENT_ANSWER__INIT;
        answer.status = &status;
        answer.foreign = route.foreign;
        lmtp_answer(&l->s, RPC_LMTP_RECIPIENT_ANSWER, f->serial, &answer.base);
    }
    frame_free(f);
    session_end(&l->s);
}

/* -- deliveries -- */

/* Sends the answer and lets go of everything. Any thread. */
static void delivery_end(struct delivery *d)
{
    struct session *s = &d->l->s;
    Thurn__LmtpDeliverAnswer answer = THURN__LMTP_DELIVER_ANSWER__INIT;
    Thurn__Status **status = mem_alloc(d->n * sizeof(void *));
    for (size_t i = 0; i < d->n; i++)
        status[i] = &d->recipients[i].status;
    answer.n_recipients = d->n;
    answer.recipients = status;
    lmtp_answer(s, RPC_LMTP_DELIVER_ANSWER, d->f->serial, &answer.base);
    free(status);
    if (d->m.body)
        body_unref(d->m.body);
    scan_result_free(&d->scan.result);
    message_free(&d->bytes);
    buf_free(&d->peer);
    frame_free(d->f);
    free(d);
    session_end(s);
}

static void delivery_refuse(struct delivery *d, Thurn__Status status)
{
    for (size_t i = 0; i < d->n; i++)
        d->recipients[i].status = status;
    delivery_end(d);
}

/* With SMTP all recipients share one answer: if only some have the message the client must send it
 * again, and those get it twice. So the others are tried again first; true if that has begun. */
static bool delivery_again(struct delivery *d)
{
    size_t done = 0, failed = 0;
    for (size_t i = 0; i < d->n; i++) {
        done += d->recipients[i].status.code == THURN__CODE__DONE;
        failed += d->recipients[i].status.code == THURN__CODE__TEMPORARY;
    }
    if (d->l->s.kind == &session_lmtp || !done || !failed || ++d->tries >= DELIVERY_TRIES)
        return false;
    struct sched *sched = d->l->s.b->sched;
    atomic_store(&d->left, failed);
    for (struct delivery_recipient *r = d->recipients; failed; r++) {
        if (r->status.code != THURN__CODE__TEMPORARY)
            continue;
        failed--;
        sched_write(sched, r->account, &r->writer); /* after the last one `d` may be gone */
    }
    return true;
}

static void recipient_done(Thurn__Status status, void *arg)
{
    struct delivery_recipient *r = arg;
    struct delivery *d = r->d;
    r->status = status;
    sched_write_done(d->l->s.b->sched, &r->writer);
    if (atomic_fetch_sub(&d->left, 1) == 1 && !delivery_again(d))
        delivery_end(d);
}

static void recipient_write(struct writer *w, struct account *a, struct err opened)
{
    struct delivery_recipient *r = container_of(w, struct delivery_recipient, writer);
    if (!opened.code) {
        lmtp_deliver(a, &r->d->m, (size_t)(r - r->d->recipients), recipient_done, r);
    } else if (opened.code == E_NOTFOUND) {
        recipient_done(RPC_STATUS(THURN__CODE__NOT_FOUND, "no such user"), r);
    } else {
        log_error("lmtp.account", LF_U64("account", r->account.v), LF_ERR(opened));
        recipient_done(RPC_STATUS(THURN__CODE__TEMPORARY, "the mailbox cannot be opened now"), r);
    }
}

/* On a worker: the bytes are hashed once, then every recipient's account gets its writer. */
static void delivery_fan_out(struct job *j)
{
    struct delivery *d = container_of(j, struct delivery, job);
    struct sched *sched = d->l->s.b->sched;
    d->m.body = body_new(d->bytes.bytes);
    size_t last = d->n - 1; /* after the last one is submitted `d` may be gone */
    for (size_t i = 0; i < last; i++)
        sched_write(sched, d->recipients[i].account, &d->recipients[i].writer);
    sched_write_here(sched, d->recipients[last].account, &d->recipients[last].writer);
}

static void delivery_scanned(struct scan_job *j)
{
    struct delivery *d = container_of(j, struct delivery, scan);
    if (j->result.refused) {
        delivery_refuse(d,
                        RPC_STATUS(THURN__CODE__TEMPORARY, "the message cannot be looked at now"));
        return;
    }
    d->m.record = j->result.record;
    d->m.text = j->result.text;
    sched_run(d->l->s.b->sched, &d->job);
}

/* Fills in what the service half wants to know. */
static void delivery_describe(struct delivery *d)
{
    const struct backend *b = d->l->s.b;
    ip_format(&d->peer, d->l->s.peer);
    (void)snprintf(d->hostname, sizeof d->hostname, "%s", b->hostname);
    d->m = (struct lmtp_message){.request = d->request,
                                 .peer = buf_str(&d->peer),
                                 .hostname = str_c(d->hostname),
                                 .why = str_c(d->l->s.kind->name),
                                 .tls = d->l->s.tls,
                                 .authenticated = d->l->principal.account.v != 0,
                                 .now = clock_wall_s()};
    d->job.run = delivery_fan_out;
    d->scan.message = d->bytes.bytes;
    d->scan.fd = d->f->fd;
    d->scan.trace = pb_str(d->request->trace);
    d->scan.done = delivery_scanned;
}

/* Why the request cannot come from a frontend that keeps the rules; NULL if it can. */
static const char *delivery_fault(const struct lmtp_session *l, const struct frame *f)
{
    const Thurn__LmtpDeliver *m = (const Thurn__LmtpDeliver *)f->message;
    if (m->delivery.len != 16 || m->n_recipients == 0)
        return "a delivery without id or recipients";
    if (m->n_recipients > l->s.b->limits.recipients)
        return "a delivery to more recipients than allowed";
    if (m->trace.len > TRACE_MAX) /* it is kept with each recipient's email */
        return "a delivery with a trace id that is too long";
    for (size_t i = 0; i < m->n_recipients; i++)
        if (accepted_find(l, m->recipients[i]).v == 0)
            return "a delivery to a recipient that was not accepted";
    return NULL;
}

static void deliver(struct lmtp_session *l, struct frame *f)
{
    const Thurn__LmtpDeliver *m = (const Thurn__LmtpDeliver *)f->message;
    struct message bytes;
    const char *fault = delivery_fault(l, f);
    if (!fault && message_take(f, m->size, l->s.b->limits.message_size, &bytes).code)
        fault = "a message of another size than announced";
    if (fault) {
        session_drop(&l->s, fault);
        frame_free(f);
        session_end(&l->s);
        return;
    }
    struct delivery *d = mem_alloc(sizeof *d + m->n_recipients * sizeof d->recipients[0]);
    *d = (struct delivery){.l = l, .f = f, .request = m, .bytes = bytes, .n = m->n_recipients};
    atomic_init(&d->left, d->n);
    for (size_t i = 0; i < d->n; i++) {
        struct delivery_recipient *r = &d->recipients[i];
        *r = (struct delivery_recipient){.writer.write = recipient_write, .d = d};
        r->account = accepted_find(l, m->recipients[i]);
    }
    accepted_forget(l);
    if (bytes.too_large) {
        delivery_refuse(d, RPC_STATUS(THURN__CODE__TOO_LARGE, "the message is too large"));
        return;
    }
    delivery_describe(d);
    scan_submit(l->s.b->scan, &d->scan);
}

/* -- submission: login -- */

/* On the loop's thread: from now on the table permits mail. */
static void login_ended(void *arg)
{
    struct lmtp_session *l = arg;
    l->s.logging_in = false;
    l->s.account = l->principal.account;
    if (l->s.account.v)
        chan_set_state(l->s.chan, MAIL_STATE);
    chan_hold(l->s.chan, false);
    session_end(&l->s);
    admin_removals_check(l->s.b);
}

static Thurn__Status login_try(struct lmtp_session *l)
{
    const Thurn__SmtpLogin *m = (const Thurn__SmtpLogin *)l->login_request->message;
    if (!l->s.may_authenticate)
        return RPC_STATUS(THURN__CODE__DENIED, "passwords are not taken on this connection");
    struct err e = directory_authenticate(l->s.b->directory, pb_str(m->user), pb_str(m->password),
                                          &l->principal);
    Thurn__Status status = RPC_STATUS(THURN__CODE__DONE, "");
    if (e.code) {
        status.code = rpc_code(e);
        status.text = pb_bytes(str_c(e.why));
    }
    return status;
}

/* In the queue of password hashes. */
static void login_run(struct job *j)
{
    struct lmtp_session *l = container_of(j, struct lmtp_session, login);
    Thurn__Status status = login_try(l);
    Thurn__SmtpLoginAnswer answer = THURN__SMTP_LOGIN_ANSWER__INIT;
    answer.status = &status;
    lmtp_answer(&l->s, RPC_SMTP_LOGIN_ANSWER, l->login_request->serial, &answer.base);
    frame_free(l->login_request);
    l->login_request = NULL;
    loop_post(l->s.b->loop, login_ended, l);
}

static void login(struct lmtp_session *l, struct frame *f)
{
    l->login_request = f;
    l->login.run = login_run;
    l->s.logging_in = true;
    chan_hold(l->s.chan, true); /* until it is known what the next state permits */
    sched_run_hashing(l->s.b->sched, &l->login);
}

/* -- the kinds -- */

static struct session *lmtp_make(void)
{
    struct lmtp_session *l = mem_alloc(sizeof *l);
    list_init(&l->accepted);
    return &l->s;
}

static void lmtp_begin(struct session *s)
{
    chan_set_state(s->chan, MAIL_STATE);
}

static void submission_begin(struct session *s)
{
    chan_set_state(s->chan, LOGIN_STATE);
}

static void lmtp_request(struct session *s, struct frame *f)
{
    switch (f->type->number) {
    case RPC_LMTP_RECIPIENT: recipient(lmtp_of(s), f); break;
    case RPC_SMTP_LOGIN: login(lmtp_of(s), f); break;
    default: deliver(lmtp_of(s), f); break;
    }
}

static void lmtp_end(struct session *s)
{
    accepted_forget(lmtp_of(s));
}

#define MAIL_SESSION(name_, rules_, begin_)                                                        \
    {                                                                                              \
        .name = (name_), .rules = (rules_), .n_rules = ARRAY_LEN(rules_), .make = lmtp_make,       \
        .begin = (begin_), .request = lmtp_request, .end = lmtp_end                                \
    }

const struct session_kind session_lmtp = MAIL_SESSION("lmtp", lmtp_rules, lmtp_begin);
const struct session_kind session_smtp = MAIL_SESSION("smtp", lmtp_rules, lmtp_begin);
const struct session_kind session_submission =
    MAIL_SESSION("submission", submission_rules, submission_begin);
