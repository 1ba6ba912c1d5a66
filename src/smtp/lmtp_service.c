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
                        struct lmtp_route *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, READ_BUDGET);
    struct str domain = pb_str(address->domain);
    if (!domain.n)
        TRY(own_domain(d, hostname, &a, &domain));
    struct err e = directory_route(d, pb_str(address->local), domain, &out->account);
    if (e.code == E_NOTFOUND || e.code == E_INVALID)
        out->foreign = directory_domain_is_ours(d, domain).code == E_NOTFOUND;
    return e;
}

Thurn__Status lmtp_recipient(struct directory *d, struct str hostname,
                             const Thurn__Mailaddr *address, struct lmtp_route *out)
{
    *out = (struct lmtp_route){0};
    struct err e = route(d, hostname, address, out);
    switch (e.code) {
    case E_OK: return RPC_STATUS(THURN__CODE__DONE, "");
    case E_NOTFOUND:
    case E_INVALID: {
        Thurn__Status s = RPC_STATUS(THURN__CODE__NOT_FOUND, "");
        s.text = pb_bytes(str_c(e.why));
        return s;
    }
    default:
        log_error("lmtp.recipient", LF_ERR(e));
        return RPC_STATUS(THURN__CODE__TEMPORARY, "the directory cannot be read");
    }
}

change_id lmtp_change_id(const Thurn__LmtpDeliver *request, size_t recipient)
{
    uint8_t hash[SHA256_LEN];
    struct buf both CLEANUP(buf_free) = {0};
    buf_put(&both, pb_str(request->delivery));
    buf_u64le(&both, recipient);
    sha256(buf_str(&both), hash);
    change_id id;
    memcpy(id.b, hash, sizeof id.b);
    return id;
}

/* A delivery to one account, from the transaction's begin to its end. */
struct delivering {
    struct arena arena; /* holds this too */
    const struct lmtp_message *m;
    size_t recipient;
    account_id account;
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
    const Thurn__Mailaddr *to = r->recipients[d->recipient];
    const char *event = e.code ? "lmtp.failed" : again ? "lmtp.repeated" : "lmtp.delivered";
    struct log_field what = e.code ? LF_ERR(e) : LF_U64("uid", d->uid.v);
    log_write(e.code ? LOG_ERROR : LOG_INFO, event,
              LOG_FIELDS(LF_STR("trace", pb_str(r->trace)), LF_STR("local", pb_str(to->local)),
                         LF_STR("domain", pb_str(to->domain)), LF_U64("account", d->account.v),
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
    lmtp_head(m, m->request->recipients[d->recipient], &head);
    TRY(buf_err(&head));
    Thurn__Mailbox *inbox;
    TRY(snap_mailbox_named(txn_snap(t), STR("INBOX"), &d->arena, &inbox));
    const struct new_email email = {
        .head = buf_str(&head),
        .body = m->body,
        .record = m->record,
        .text = m->text,
        .why = m->why,
        .trace = pb_str(m->request->trace),
    };
    TRY(txn_email_add(t, &email, &d->email));
    TRY(txn_entry_add(t, (mailbox_id){inbox->id}, d->email, 0, 0, m->now, &d->uid));
    return txn_done(t, id, (struct str){NULL, 0});
}

void lmtp_deliver(struct account *a, const struct lmtp_message *m, size_t recipient,
                  void (*done)(Thurn__Status status, void *arg), void *arg)
{
    struct arena arena;
    arena_init(&arena, READ_BUDGET);
    struct delivering *d = arena_new(&arena, struct delivering);
    check(d != NULL);
    *d = (struct delivering){.m = m,
                             .recipient = recipient,
                             .account = account_get_id(a),
                             .done = done,
                             .arg = arg,
                             .arena = arena};
    struct txn *t;
    struct err e = txn_begin(a, &t);
    if (e.code) {
        delivering_end(d, e, false);
        return;
    }
    change_id id = lmtp_change_id(m->request, recipient);
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
