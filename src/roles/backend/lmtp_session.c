#include "roles/backend/message.h"
#include "roles/backend/session.h"
#include "smtp/lmtp_service.h"

/*
 * A delivery goes from the loop's thread to a scanner, back to the loop's thread, to a worker - to
 * several, if it has several recipients - and ends on the committer's thread, which sends the
 * answer.
 */

enum { LMTP_STATE = 1, TRACE_MAX = 64 };

static const struct chan_rule lmtp_rules[] = {
    {RPC_LMTP_RECIPIENT, LMTP_STATE},
    {RPC_LMTP_DELIVER, LMTP_STATE},
};

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
    memcpy(a->text, local.p, local.n);
    memcpy(a->text + local.n, domain.p, domain.n);
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
        account_id account;
        Thurn__Status status = lmtp_recipient(l->s.b->directory, m->address, &account);
        if (status.code == THURN__CODE__DONE)
            accepted_add(l, m->address, account);
        Thurn__LmtpRecipientAnswer answer = THURN__LMTP_RECIPIENT_ANSWER__INIT;
        answer.status = &status;
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

static void recipient_done(Thurn__Status status, void *arg)
{
    struct delivery_recipient *r = arg;
    struct delivery *d = r->d;
    r->status = status;
    sched_write_done(d->l->s.b->sched, &r->writer);
    if (atomic_fetch_sub(&d->left, 1) == 1)
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

/* -- the kind -- */

static struct session *lmtp_make(void)
{
    struct lmtp_session *l = mem_alloc(sizeof *l);
    list_init(&l->accepted);
    return &l->s;
}

static void lmtp_begin(struct session *s)
{
    chan_set_state(s->chan, LMTP_STATE);
}

static void lmtp_request(struct session *s, struct frame *f)
{
    if (f->type->number == RPC_LMTP_RECIPIENT)
        recipient(lmtp_of(s), f);
    else
        deliver(lmtp_of(s), f);
}

static void lmtp_end(struct session *s)
{
    accepted_forget(lmtp_of(s));
}

const struct session_kind session_lmtp = {
    .name = "lmtp",
    .rules = lmtp_rules,
    .n_rules = ARRAY_LEN(lmtp_rules),
    .make = lmtp_make,
    .begin = lmtp_begin,
    .request = lmtp_request,
    .end = lmtp_end,
};
