#include "roles/backend/lmtp_session.h"

#include "roles/backend/admin.h"
#include "roles/backend/mail_ticket.h"
#include "roles/probe.h"

/*
 * Sessions that bring mail: of LMTP, of SMTP, and of submission, which begins with a login. They
 * differ in their states only, and in what becomes of a delivery that fails in part (delivery.c).
 */

enum { MAIL_STATE = 1, LOGIN_STATE = 2 };
enum { ROUTE_BUDGET = 4 * 1024 * KB }; /* an address that leads to as many accounts as it may */
enum { ROUTE_FEW = 8 };                /* addresses looked up on the loop's thread */
enum { TICKET_BUDGET = 16 * KB };

static const struct chan_rule lmtp_rules[] = {
    {RPC_LMTP_RECIPIENT, MAIL_STATE},
    {RPC_LMTP_DELIVER, MAIL_STATE},
};

static const struct chan_rule submission_rules[] = {
    {RPC_SMTP_LOGIN, LOGIN_STATE},
    {RPC_LMTP_RECIPIENT, MAIL_STATE},
    {RPC_LMTP_DELIVER, MAIL_STATE},
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

void accepted_forget(struct lmtp_session *l)
{
    list_each (link, &l->accepted)
        accepted_drop(l, container_of(link, struct accepted, link));
}

/* Only as many as a transaction may have are kept: the latest. */
static void accepted_add(struct lmtp_session *l, const Thurn__Mailaddr *address,
                         const struct directory_target *to)
{
    struct str local = pb_str(address->local), domain = pb_str(address->domain);
    struct accepted *a = mem_alloc(sizeof *a + local.n + domain.n + to->address.n + to->detail.n);
    *a = (struct accepted){.account = to->account,
                           .local_n = local.n,
                           .domain_n = domain.n,
                           .own_n = to->address.n,
                           .detail_n = to->detail.n};
    uint8_t *text = a->text;
    str_copy_to(text, local);
    str_copy_to(text += local.n, domain);
    str_copy_to(text += domain.n, to->address);
    str_copy_to(text + to->address.n, to->detail);
    list_append(&l->accepted, &a->link);
    if (++l->n_accepted > l->s.b->limits.recipients)
        accepted_drop(l, container_of(l->accepted.next, struct accepted, link));
}

const struct accepted *accepted_find(const struct lmtp_session *l, const Thurn__Mailaddr *address)
{
    list_each (link, &l->accepted) {
        const struct accepted *a = container_of(link, struct accepted, link);
        if (str_eq(str_of(a->text, a->local_n), pb_str(address->local)) &&
            str_eq(str_of(a->text + a->local_n, a->domain_n), pb_str(address->domain)))
            return a;
    }
    return NULL;
}

void accepted_elsewhere(struct lmtp_session *l, const Thurn__LmtpDeliver *m)
{
    for (size_t i = 0; i < m->n_recipients && i < m->n_tickets; i++) {
        struct arena a CLEANUP(arena_free);
        arena_init(&a, TICKET_BUDGET);
        struct directory_target to;
        if (!accepted_find(l, m->recipients[i]) &&
            mail_ticket_open(&l->s, pb_str(m->tickets[i]), m->recipients[i], &a, &to))
            accepted_add(l, m->recipients[i], &to);
    }
}

void lmtp_answer(struct session *s, uint16_t type, uint32_t serial, const ProtobufCMessage *m)
{
    struct err e = chan_send(s->chan, type, serial, m, (struct str){NULL, 0}, -1);
    if (e.code && e.code != E_CLOSED)
        log_error("lmtp.answer", LF_ERR(e));
}

/* It is known what becomes of the recipient. Loop's thread. */
static void recipient_answer(void *arg)
{
    static const struct directory_target several = {.account = {0}};
    struct lmtp_session *l = arg;
    struct frame *f = l->asking;
    const Thurn__LmtpRecipient *m = (const Thurn__LmtpRecipient *)f->message;
    struct buf ticket CLEANUP(buf_free) = {0};
    if (l->asked_status.code == THURN__CODE__DONE) {
        const struct directory_target *to = l->asked.to.n == 1 ? &l->asked.to.targets[0] : &several;
        accepted_add(l, m->address, to);
        mail_ticket_put(&l->s, m->address, to, &ticket);
    }
    Thurn__LmtpRecipientAnswer answer = THURN__LMTP_RECIPIENT_ANSWER__INIT;
    answer.status = &l->asked_status;
    answer.foreign = l->asked.foreign;
    answer.ticket = pb_bytes(buf_str(&ticket));
    lmtp_answer(&l->s, RPC_LMTP_RECIPIENT_ANSWER, f->serial, &answer.base);
    l->asking = NULL;
    frame_free(f);
    arena_free(&l->asking_arena);
    session_end(&l->s);
}

/* In the account's run queue, where it is open or is opened, and nobody erases it meanwhile. */
static void recipient_quota(struct writer *w, struct account *a, struct err opened)
{
    struct lmtp_session *l = container_of(w, struct lmtp_session, asking_quota);
    l->asked_status = opened.code
                          ? RPC_STATUS(THURN__CODE__TEMPORARY, "the mailbox cannot be opened now")
                          : lmtp_quota(a, &l->asked.to.targets[0].quota);
    struct loop *loop = l->s.b->loop;
    sched_write_done(l->s.b->sched, w);
    loop_post(loop, recipient_answer, l);
}

static void recipient_look_up(struct lmtp_session *l, size_t most)
{
    const Thurn__LmtpRecipient *m = (const Thurn__LmtpRecipient *)l->asking->message;
    arena_init(&l->asking_arena, ROUTE_BUDGET);
    l->asked_status = lmtp_recipient(l->s.b->directory, str_c(l->s.b->hostname), m->address, most,
                                     &l->asking_arena, &l->asked);
}

/* It is known where the recipient leads. Loop's thread. */
static void recipient_routed(void *arg)
{
    struct lmtp_session *l = arg;
    const struct directory_target *to = l->asked.to.targets;
    if (l->asked_status.code == THURN__CODE__DONE && l->asked.to.n == 1 &&
        (to->quota.bytes || to->quota.messages)) {
        l->asking_quota = (struct writer){.write = recipient_quota};
        sched_write(l->s.b->sched, to->account, &l->asking_quota);
    } else {
        recipient_answer(l);
    }
}

/* On a worker. */
static void recipient_route_long(struct job *j)
{
    struct lmtp_session *l = container_of(j, struct lmtp_session, asking_route);
    recipient_look_up(l, DIRECTORY_LOOK_UPS);
    loop_post(l->s.b->loop, recipient_routed, l);
}

/* Takes the frame. What needs few look-ups, as nearly all do, needs no worker. */
static void recipient_route(struct lmtp_session *l, struct frame *f)
{
    const Thurn__LmtpRecipient *m = (const Thurn__LmtpRecipient *)f->message;
    l->asking = f;
    l->asked.unfinished = true;
    if (m->address->domain.len)
        recipient_look_up(l, ROUTE_FEW);
    if (l->asked.unfinished) {
        arena_free(&l->asking_arena);
        l->asking_route.run = recipient_route_long;
        sched_run(l->s.b->sched, &l->asking_route);
    } else {
        recipient_routed(l);
    }
}

static void recipient(struct lmtp_session *l, struct frame *f)
{
    const Thurn__LmtpRecipient *m = (const Thurn__LmtpRecipient *)f->message;
    probe_point("recipient-asked");
    if (m->address) {
        recipient_route(l, f);
    } else {
        session_drop(&l->s, "a recipient without an address");
        frame_free(f);
        session_end(&l->s);
    }
}

/* -- submission: login -- */

/* On the loop's thread: from now on the table permits mail. */
static void login_ended(void *arg)
{
    struct lmtp_session *l = arg;
    if (l->logged_in)
        chan_set_state(l->s.chan, MAIL_STATE);
    session_logged_in(&l->s, l->logged_in);
    session_end(&l->s);
    admin_removals_check(l->s.b);
}

static Thurn__Status login_try(struct lmtp_session *l)
{
    struct principal who;
    if (!l->s.may_authenticate)
        return RPC_STATUS(THURN__CODE__DENIED, "passwords are not taken on this connection");
    struct err e = session_authenticate(&l->s, &who);
    l->logged_in = e.code == E_OK;
    Thurn__Status status = RPC_STATUS(THURN__CODE__DONE, "");
    status.code = rpc_code(e);
    return status;
}

/* On a thread for password hashes. */
static void login_run(struct session *s)
{
    struct lmtp_session *l = lmtp_of(s);
    Thurn__Status status = RPC_STATUS(THURN__CODE__TEMPORARY, "");
    if (!session_is_gone(s))
        status = login_try(l);
    probe_point("login-checked");
    Thurn__SmtpLoginAnswer answer = THURN__SMTP_LOGIN_ANSWER__INIT;
    answer.status = &status;
    struct buf resume CLEANUP(buf_free) = {0};
    if (l->logged_in)
        mail_login_put(s, &s->principal, &resume);
    answer.resume = pb_bytes(buf_str(&resume));
    lmtp_answer(s, RPC_SMTP_LOGIN_ANSWER, l->login_request->serial, &answer.base);
    frame_free(l->login_request);
    l->login_request = NULL;
    loop_post(s->b->loop, login_ended, l);
}

static void login(struct lmtp_session *l, struct frame *f)
{
    const Thurn__SmtpLogin *m = (const Thurn__SmtpLogin *)f->message;
    l->login_request = f;
    session_log_in(&l->s, pb_str(m->user), pb_str(m->password), login_run);
}

/* Of a session that had logged in at the backend before this one. If it cannot go on, the first
 * thing that it asks is not permitted. */
static void submission_wake(struct session *s, struct str sealed)
{
    struct lmtp_session *l = lmtp_of(s);
    struct principal who;
    struct err e = mail_login_open(s, sealed, &who);
    if (e.code) {
        log_warn("session.record-refused", LF_U64("session", s->id.v), LF_ERR(e));
        return;
    }
    l->logged_in = true;
    s->principal = who;
    s->account = who.account;
    session_count(s, who.account);
    chan_set_state(s->chan, MAIL_STATE);
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
    default: delivery_begin(lmtp_of(s), f); break;
    }
}

static void lmtp_end(struct session *s)
{
    accepted_forget(lmtp_of(s));
}

#define MAIL_SESSION(name_, rules_, begin_, wake_)                                                 \
    {                                                                                              \
        .name = (name_), .rules = (rules_), .n_rules = ARRAY_LEN(rules_), .make = lmtp_make,       \
        .begin = (begin_), .wake = (wake_), .request = lmtp_request, .end = lmtp_end               \
    }

const struct session_kind session_lmtp = MAIL_SESSION("lmtp", lmtp_rules, lmtp_begin, NULL);
const struct session_kind session_smtp = MAIL_SESSION("smtp", lmtp_rules, lmtp_begin, NULL);
const struct session_kind session_submission =
    MAIL_SESSION("submission", submission_rules, submission_begin, submission_wake);
