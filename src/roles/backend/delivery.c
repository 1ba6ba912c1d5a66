#include "base/base.h"

#include "roles/backend/lmtp_session.h"
#include "roles/backend/message.h"
#include "roles/probe.h"

/*
 * A delivery goes from the loop's thread to a scanner, back to the loop's thread, to a worker - to
 * several, if it has several accounts - and ends on the thread that committed, which sends the
 * answer. Each account gets the message once, however many recipients lead to it; a recipient's
 * answer is made of those of its accounts.
 */

enum { TRACE_MAX = 64 };
enum { DELIVERY_TRIES = 3 }; /* of one that has reached some of its accounts */
/* Recipients that lead to several accounts are looked up when the message is there. */
enum { DELIVERY_TARGETS = 16384, DELIVERY_BUDGET = 64 * 1024 * KB, FIND_SLICE_US = 5000 };

struct delivery;

/* An account that it goes to. */
struct delivery_target {
    struct writer writer;
    struct delivery *d;
    struct lmtp_target to;
    Thurn__Status status;
};

/* That a recipient leads to an account. */
struct delivery_way {
    size_t recipient, target;
};

struct delivery_recipient {
    account_id account;         /* {0}: several, to be looked up */
    struct str address, detail; /* of the account; in the arena */
    Thurn__Status status;       /* without any way: the answer */
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
    atomic_size_t left; /* accounts that are not done */
    unsigned tries;
    struct arena arena; /* of what follows */
    struct map by_account;
    struct delivery_target **targets;
    struct delivery_way *ways;
    size_t n_targets, cap_targets, n_ways, cap_ways;
    size_t found; /* recipients whose accounts have been looked up */
    size_t n;
    struct delivery_recipient recipients[];
};

/* -- the end -- */

/* A recipient's answer gets to know of one more of its accounts: it is DONE if all are, apart from
 * those that are gone, if any is; else what the last failure was. */
static void status_merge(Thurn__Status *all, bool first, Thurn__Status one)
{
    bool gone = one.code == THURN__CODE__NOT_FOUND, all_gone = all->code == THURN__CODE__NOT_FOUND;
    bool done = one.code == THURN__CODE__DONE, all_done = all->code == THURN__CODE__DONE;
    if (first || (all_gone && !gone) || (all_done && !done && !gone))
        *all = one;
}

static void statuses_gather(struct delivery *d)
{
    size_t before = SIZE_MAX;
    for (size_t i = 0; i < d->n_ways; i++) { /* those of one recipient stand together */
        const struct delivery_way *w = &d->ways[i];
        status_merge(&d->recipients[w->recipient].status, w->recipient != before,
                     d->targets[w->target]->status);
        before = w->recipient;
    }
}

/* Sends the answer and lets go of everything. Any thread. */
static void delivery_end(struct delivery *d)
{
    struct session *s = &d->l->s;
    Thurn__LmtpDeliverAnswer answer = THURN__LMTP_DELIVER_ANSWER__INIT;
    Thurn__Status **status = mem_alloc(d->n * sizeof(void *));
    statuses_gather(d);
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
    map_free(&d->by_account);
    arena_free(&d->arena);
    free(d);
    session_end(s);
}

static void delivery_refuse(struct delivery *d, Thurn__Status status)
{
    d->n_ways = 0;
    for (size_t i = 0; i < d->n; i++)
        d->recipients[i].status = status;
    delivery_end(d);
}

/* Whether some would get the message twice if the client sent it again: with SMTP all recipients
 * share one answer, and with LMTP the accounts of a recipient do. */
static bool answers_are_shared(const struct delivery *d)
{
    return d->l->s.kind != &session_lmtp || d->n_targets > d->n;
}

/* So the others are tried again first; true if that has begun. */
static bool delivery_again(struct delivery *d)
{
    size_t done = 0, failed = 0;
    for (size_t i = 0; i < d->n_targets; i++) {
        done += d->targets[i]->status.code == THURN__CODE__DONE;
        failed += d->targets[i]->status.code == THURN__CODE__TEMPORARY;
    }
    if (!answers_are_shared(d) || !done || !failed || ++d->tries >= DELIVERY_TRIES)
        return false;
    struct sched *sched = d->l->s.b->sched;
    atomic_store(&d->left, failed);
    for (struct delivery_target **t = d->targets; failed; t++) {
        if ((*t)->status.code != THURN__CODE__TEMPORARY)
            continue;
        failed--; /* after the last one `d` may be gone */
        sched_write(sched, (*t)->to.account, &(*t)->writer);
    }
    return true;
}

/* -- accounts -- */

static void target_done(Thurn__Status status, void *arg)
{
    struct delivery_target *t = arg;
    struct delivery *d = t->d;
    probe_point("delivery-committed");
    t->status = status;
    sched_write_done(d->l->s.b->sched, &t->writer);
    if (atomic_fetch_sub(&d->left, 1) == 1 && !delivery_again(d))
        delivery_end(d);
}

static void target_write(struct writer *w, struct account *a, struct err opened)
{
    struct delivery_target *t = container_of(w, struct delivery_target, writer);
    if (!opened.code) {
        lmtp_deliver(a, &t->d->m, &t->to, target_done, t);
    } else if (opened.code == E_NOTFOUND) {
        target_done(RPC_STATUS(THURN__CODE__NOT_FOUND, "no such user"), t);
    } else {
        log_error("lmtp.account", LF_U64("account", t->to.account.v), LF_ERR(opened));
        target_done(RPC_STATUS(THURN__CODE__TEMPORARY, "the mailbox cannot be opened now"), t);
    }
}

static void *grown(struct arena *a, void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return items;
    size_t wider = MAX(*cap * 2, (size_t)4);
    void *out = arena_alloc(a, wider * size);
    if (out && n)
        memcpy(out, items, n * size);
    if (out)
        *cap = wider;
    return out;
}

static struct err target_make(struct delivery *d, size_t recipient, account_id account,
                              struct str address, struct str detail)
{
    struct delivery_target **targets =
        grown(&d->arena, d->targets, d->n_targets, &d->cap_targets, sizeof(void *));
    struct delivery_target *t = targets ? arena_new(&d->arena, struct delivery_target) : NULL;
    if (!t || d->n_targets == DELIVERY_TARGETS)
        return err_make(E_LIMIT, "the recipients lead to too many accounts");
    *t = (struct delivery_target){
        .writer = {.write = target_write, .job = {.heavy = d->job.heavy, .cause = d->job.cause}},
        .d = d,
        .to = {account, recipient, str_dup(&d->arena, address), str_dup(&d->arena, detail)},
        .status = RPC_STATUS(THURN__CODE__TEMPORARY, "not tried")};
    if (t->to.address.n != address.n || t->to.detail.n != detail.n)
        return err_make(E_LIMIT, "no memory for an address");
    d->targets = targets;
    d->targets[d->n_targets++] = t;
    (void)map_set(&d->by_account, map_key_u64(&account.v), (void *)(uintptr_t)d->n_targets);
    return OK;
}

/* The recipient leads to the account, which may be on the list already. */
static struct err way_add(struct delivery *d, size_t recipient, account_id account,
                          struct str address, struct str detail)
{
    struct delivery_way *ways = grown(&d->arena, d->ways, d->n_ways, &d->cap_ways, sizeof *ways);
    if (!ways)
        return err_make(E_LIMIT, "the recipients lead to too many accounts");
    d->ways = ways;
    if (!map_get(&d->by_account, map_key_u64(&account.v)))
        TRY(target_make(d, recipient, account, address, detail));
    size_t at = (size_t)(uintptr_t)map_get(&d->by_account, map_key_u64(&account.v)) - 1;
    d->ways[d->n_ways++] = (struct delivery_way){recipient, at};
    return OK;
}

/* -- fanning out -- */

/* Looks up a recipient that leads to several accounts. */
static struct err several_find(struct delivery *d, size_t recipient, Thurn__Status *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, DELIVERY_BUDGET);
    struct lmtp_route route;
    *out = lmtp_recipient(d->l->s.b->directory, d->m.hostname, d->request->recipients[recipient],
                          DIRECTORY_LOOK_UPS, &a, &route);
    for (size_t i = 0; out->code == THURN__CODE__DONE && i < route.to.n; i++) {
        const struct directory_target *t = &route.to.targets[i];
        TRY(way_add(d, recipient, t->account, t->address, t->detail));
    }
    return OK;
}

static void recipient_find(struct delivery *d, size_t i)
{
    struct delivery_recipient *r = &d->recipients[i];
    size_t ways = d->n_ways, targets = d->n_targets;
    struct err e = r->account.v ? way_add(d, i, r->account, r->address, r->detail)
                                : several_find(d, i, &r->status);
    if (!e.code)
        return;
    d->n_ways = ways; /* nobody of it gets the message, unless by another recipient */
    while (d->n_targets > targets)
        (void)map_remove(&d->by_account, map_key_u64(&d->targets[--d->n_targets]->to.account.v));
    r->status = RPC_STATUS(THURN__CODE__TEMPORARY, "too many accounts for one message");
    log_warn("lmtp.too-many-accounts", LF_U64("accounts", d->n_targets), LF_ERR(e));
}

/* On a worker: the bytes are hashed once, then every account gets its writer. If the look-ups take
 * long, others come in between. */
static void delivery_fan_out(struct job *j)
{
    struct delivery *d = container_of(j, struct delivery, job);
    struct sched *sched = d->l->s.b->sched;
    uint64_t until = clock_mono_us() + FIND_SLICE_US;
    while (d->found < d->n && clock_mono_us() < until)
        recipient_find(d, d->found++);
    if (d->found < d->n) {
        sched_run(sched, j);
        return;
    }
    if (d->n_targets == 0) {
        delivery_end(d);
        return;
    }
    d->m.body = body_new(d->bytes.bytes);
    atomic_store(&d->left, d->n_targets);
    size_t last = d->n_targets - 1; /* after the last one is submitted `d` may be gone */
    for (size_t i = 0; i < last; i++)
        sched_write(sched, d->targets[i]->to.account, &d->targets[i]->writer);
    sched_write_here(sched, d->targets[last]->to.account, &d->targets[last]->writer);
}

static void delivery_scanned(struct scan_job *j)
{
    struct delivery *d = container_of(j, struct delivery, scan);
    probe_point("delivery-scanned");
    if (j->result.refused) {
        delivery_refuse(d,
                        RPC_STATUS(THURN__CODE__TEMPORARY, "the message cannot be looked at now"));
        return;
    }
    d->m.record = j->result.record;
    d->m.text = j->result.text;
    d->job.heavy = j->heavy;
    sched_run(d->l->s.b->sched, &d->job);
}

/* -- the beginning -- */

/* Who pays for a delivery beside its recipients: the user that sends it, or the address that it
 * comes from; not an address that many send from, nor the server that speaks LMTP. */
static uint64_t delivery_cause(const struct lmtp_session *l)
{
    if (l->logged_in)
        return l->s.account.v;
    if (l->s.kind == &session_lmtp || logins_is_shared(l->s.b->logins, l->s.peer))
        return 0;
    return fair_address(l->s.peer);
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
                                 .authenticated = d->l->logged_in,
                                 .now = clock_wall_s()};
    d->job = (struct job){.run = delivery_fan_out,
                          .account = d->recipients[0].account,
                          .cause = delivery_cause(d->l)};
    d->scan.account = d->job.account;
    d->scan.cause = d->job.cause;
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
        if (!accepted_find(l, m->recipients[i]))
            return "a delivery to a recipient that was not accepted";
    return NULL;
}

/* What was found when the recipient was accepted. */
static void recipient_take(struct delivery *d, size_t i)
{
    const struct accepted *a = accepted_find(d->l, d->request->recipients[i]);
    const uint8_t *own = a->text + a->local_n + a->domain_n;
    struct delivery_recipient *r = &d->recipients[i];
    r->account = a->account;
    r->address = str_dup(&d->arena, str_of(own, a->own_n));
    r->detail = str_dup(&d->arena, str_of(own + a->own_n, a->detail_n));
    /* The budget has room for every recipient that is allowed. */
    check(r->address.n == a->own_n && r->detail.n == a->detail_n);
}

static struct delivery *delivery_new(struct lmtp_session *l, struct frame *f, struct message bytes)
{
    const Thurn__LmtpDeliver *m = (const Thurn__LmtpDeliver *)f->message;
    struct delivery *d = mem_alloc(sizeof *d + m->n_recipients * sizeof d->recipients[0]);
    *d = (struct delivery){.l = l, .f = f, .request = m, .bytes = bytes, .n = m->n_recipients};
    arena_init(&d->arena, DELIVERY_BUDGET);
    for (size_t i = 0; i < d->n; i++)
        recipient_take(d, i);
    accepted_forget(l);
    return d;
}

void delivery_begin(struct lmtp_session *l, struct frame *f)
{
    const Thurn__LmtpDeliver *m = (const Thurn__LmtpDeliver *)f->message;
    struct message bytes;
    probe_point("delivery-asked");
    accepted_elsewhere(l, m);
    const char *fault = delivery_fault(l, f);
    if (!fault && message_take(f, m->size, l->s.b->limits.message_size, &bytes).code)
        fault = "a message of another size than announced";
    if (fault) {
        session_drop(&l->s, fault);
        frame_free(f);
        session_end(&l->s);
        return;
    }
    struct delivery *d = delivery_new(l, f, bytes);
    if (bytes.too_large) {
        delivery_refuse(d, RPC_STATUS(THURN__CODE__TOO_LARGE, "the message is too large"));
        return;
    }
    delivery_describe(d);
    scan_submit(l->s.b->scan, &d->scan);
}
