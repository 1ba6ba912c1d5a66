#include "smtp/lmtp_service.h"

#include "smtp/lmtp_head.h"

enum { READ_BUDGET = 1 << 20, HEAD_MAX = 8192 };

/* The domain of an address that has none. */
static struct err own_domain(struct directory *d, struct str hostname, struct arena *a,
                             struct str *out)
{
    Thurn__Domain **domains;
    size_t n;
    struct err e = directory_domain_is_ours(d, hostname);
    if (e.code == E_OK)
        *out = hostname;
    if (e.code != E_NOTFOUND)
        return e;
    TRY(directory_domains(d, a, &domains, &n));
    if (n != 1)
        return err_make(E_NOTFOUND, "no domain is that of the host");
    *out = pb_str(domains[0]->name);
    return OK;
}

static struct err route(struct directory *d, struct str hostname, const Thurn__Mailaddr *address,
                        size_t most, struct arena *a, struct lmtp_route *out)
{
    struct str domain = pb_str(address->domain);
    if (!domain.n)
        TRY(own_domain(d, hostname, a, &domain));
    struct err e = directory_route(d, pb_str(address->local), domain, most, a, &out->to);
    if (e.code == E_NOTFOUND || e.code == E_INVALID)
        out->foreign = directory_domain_is_ours(d, domain).code == E_NOTFOUND;
    return e;
}

/* Leaves those that take mail. If none does, it says why not. */
static Thurn__Status take_willing(struct directory_route *to)
{
    size_t n = 0, for_now = 0;
    for (size_t i = 0; i < to->n; i++) {
        Thurn__RefuseMail refuse = to->targets[i].refuse;
        for_now += refuse == THURN__REFUSE_MAIL__REFUSE_FOR_NOW;
        if (refuse == THURN__REFUSE_MAIL__REFUSE_NOTHING)
            to->targets[n++] = to->targets[i];
    }
    to->n = n;
    if (n)
        return RPC_STATUS(THURN__CODE__DONE, "");
    return for_now ? RPC_STATUS(THURN__CODE__IN_USE, "the account is locked for now")
                   : RPC_STATUS(THURN__CODE__DISABLED, "the account is locked");
}

Thurn__Status lmtp_recipient(struct directory *d, struct str hostname,
                             const Thurn__Mailaddr *address, size_t most, struct arena *a,
                             struct lmtp_route *out)
{
    *out = (struct lmtp_route){0};
    struct err e = route(d, hostname, address, most, a, out);
    switch (e.code) {
    case E_OK: return take_willing(&out->to);
    case E_NOTFOUND:
    case E_INVALID: {
        Thurn__Status s = RPC_STATUS(THURN__CODE__NOT_FOUND, "");
        s.text = pb_bytes(str_c(e.why));
        return s;
    }
    case E_AGAIN: out->unfinished = true; return RPC_STATUS(THURN__CODE__TEMPORARY, "");
    default:
        log_error("lmtp.recipient", LF_ERR(e));
        return RPC_STATUS(THURN__CODE__TEMPORARY, "the directory cannot be read");
    }
}

Thurn__Status lmtp_quota(struct account *a, const struct directory_quota *q)
{
    struct snap *s;
    struct err e = snap_open(a, &s);
    if (e.code)
        return RPC_STATUS(THURN__CODE__TEMPORARY, "the mailbox cannot be opened now");
    const Thurn__AccountHead *head = snap_head(s);
    bool full =
        (q->bytes && head->bytes >= q->bytes) || (q->messages && head->messages >= q->messages);
    snap_close(s);
    return full ? RPC_STATUS(THURN__CODE__OVER_QUOTA, "the mailbox is full")
                : RPC_STATUS(THURN__CODE__DONE, "");
}

change_id lmtp_change_id(const Thurn__LmtpDeliver *request)
{
    change_id id;
    check(request->delivery.len == sizeof id.b);
    memcpy(id.b, request->delivery.data, sizeof id.b);
    return id;
}

/* A delivery to one account, from the transaction's begin to its end. */
struct delivering {
    struct arena arena; /* holds this too */
    const struct lmtp_message *m;
    const struct lmtp_target *to;
    msg_uid uid;
    email_id email;
    void (*done)(Thurn__Status status, void *arg);
    void *arg;
};

static Thurn__Status failure(struct err e)
{
    switch (e.code) {
    case E_FULL: return RPC_STATUS(THURN__CODE__STORE_FULL, "no space left for mail");
    case E_NOTFOUND: return RPC_STATUS(THURN__CODE__NOT_FOUND, "no such user");
    case E_LIMIT: return RPC_STATUS(THURN__CODE__LIMIT_EXCEEDED, "the mailbox can take no more");
    default: return RPC_STATUS(THURN__CODE__TEMPORARY, "the mailbox cannot be written now");
    }
}

static void delivering_end(struct delivering *d, struct err e, bool again)
{
    const Thurn__LmtpDeliver *r = d->m->request;
    const Thurn__Mailaddr *to = r->recipients[d->to->recipient];
    const char *event = e.code ? "lmtp.failed" : again ? "lmtp.repeated" : "lmtp.delivered";
    struct log_field what = e.code ? LF_ERR(e) : LF_U64("uid", d->uid.v);
    log_write(e.code ? LOG_ERROR : LOG_INFO, event,
              LOG_FIELDS(LF_STR("trace", pb_str(r->trace)), LF_STR("local", pb_str(to->local)),
                         LF_STR("domain", pb_str(to->domain)), LF_U64("account", d->to->account.v),
                         what, LF_U64("email", d->email.v), LF_U64("size", r->size)));
    Thurn__Status status = e.code ? failure(e) : RPC_STATUS(THURN__CODE__DONE, "");
    void (*done)(Thurn__Status, void *) = d->done;
    void *arg = d->arg;
    struct arena arena = d->arena;
    arena_free(&arena); /* and with it d */
    done(status, arg);
}

static void committed(struct err result, void *arg)
{
    delivering_end(arg, result, false);
}

/* Everything of the delivery into the transaction. */
static struct err deliver(struct delivering *d, struct txn *t, change_id id)
{
    const struct lmtp_message *m = d->m;
    struct buf head CLEANUP(buf_free) = {.max = HEAD_MAX};
    lmtp_head(m, d->to, &head);
    TRY(buf_err(&head));
    mailbox_id inbox;
    TRY(txn_mailbox_find(t, STR("INBOX"), &inbox));
    const struct new_email email = {
        .head = buf_str(&head),
        .body = m->body,
        .record = m->record,
        .text = m->text,
        .why = m->why,
        .trace = pb_str(m->request->trace),
    };
    TRY(txn_email_add(t, &email, &d->email));
    TRY(txn_entry_add(t, inbox, d->email, 0, 0, m->now, &d->uid));
    return txn_done(t, id, (struct str){NULL, 0});
}

void lmtp_deliver(struct account *a, const struct lmtp_message *m, const struct lmtp_target *to,
                  void (*done)(Thurn__Status status, void *arg), void *arg)
{
    struct arena arena;
    arena_init(&arena, READ_BUDGET);
    struct delivering *d = arena_new(&arena, struct delivering);
    check(d != NULL);
    *d = (struct delivering){.m = m, .to = to, .done = done, .arg = arg, .arena = arena};
    struct txn *t;
    struct err e = txn_begin(a, &t);
    if (e.code) {
        delivering_end(d, e, false);
        return;
    }
    change_id id = lmtp_change_id(m->request);
    struct str answer;
    e = snap_done(txn_snap(t), id, &d->arena, &answer);
    bool again = e.code == E_OK;
    if (e.code == E_NOTFOUND)
        e = deliver(d, t, id);
    if (again || e.code) {
        txn_abort(t);
        delivering_end(d, e, again);
        return;
    }
    txn_commit_async(t, committed, d);
}
