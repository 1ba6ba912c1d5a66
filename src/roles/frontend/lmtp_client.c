#include "base/base.h"

#include "roles/frontend/lmtp_client.h"

/* Addresses of one transaction. Each costs more here than in the frame of LmtpDeliver, whose limit
 * this is therefore below. */
enum { LMTP_ENVELOPE_MAX = 448 * KB };

/* ---------------------------------------------------------------------------------- transactions
 */

void lmtp_reset(struct lmtp_client *l)
{
    arena_free(&l->tx.arena);
    l->tx = (struct lmtp_transaction){0};
    arena_init(&l->tx.arena, LMTP_ENVELOPE_MAX);
    body_free(&l->body);
    client_trace_end(&l->c);
}

static Thurn__Mailaddr lmtp_mailaddr(struct str local, struct str domain)
{
    Thurn__Mailaddr m = THURN__MAILADDR__INIT;
    m.local = pb_bytes(local);
    m.domain = pb_bytes(domain);
    return m;
}

/* Room for one more recipient; doubles, and leaves the array before to the arena. */
static bool lmtp_recipients_grow(struct lmtp_transaction *tx)
{
    if (tx->n < tx->cap)
        return true;
    size_t cap = MAX(tx->cap * 2, (size_t)8);
    Thurn__Mailaddr **grown = arena_array(&tx->arena, Thurn__Mailaddr *, cap);
    if (!grown)
        return false;
    for (size_t i = 0; i < tx->n; i++)
        grown[i] = tx->recipients[i];
    tx->recipients = grown;
    tx->cap = cap;
    return true;
}

/* -------------------------------------------------------------------------------------- commands
 */

static void lmtp_bad(struct lmtp_client *l, const struct smtp_reply *r)
{
    lmtp_reply(l, r->code, r->enhanced, r->text);
    if (r->code >= 500)
        client_bad(&l->c);
}

static void lmtp_wrong_order(struct lmtp_client *l, const char *text)
{
    lmtp_bad(l, &(struct smtp_reply){503, "5.5.1", text});
}

static void lmtp_lhlo(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    const Thurn__Settings *s = frontend_settings(l->c.fe);
    lmtp_reset(l);
    l->greeted = true;
    l->n_helo = cmd->domain.n;
    memcpy(l->helo, cmd->domain.p, cmd->domain.n);
    struct buf *out = client_out(&l->c);
    buf_printf(out, "250-%.*s\r\n", STR_FMT(pb_str(s->hostname)));
    buf_put(out, STR("250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"));
    buf_printf(out, "250 SIZE %" PRIu64 "\r\n", s->message_size_limit);
    client_flush(&l->c);
}

static void lmtp_mail(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    if (!l->greeted) {
        lmtp_wrong_order(l, "Say LHLO first");
        return;
    }
    if (l->tx.open) {
        lmtp_wrong_order(l, "There is a sender already");
        return;
    }
    if (cmd->size > frontend_settings(l->c.fe)->message_size_limit) {
        lmtp_reply(l, 552, "5.3.4", "The message is too large");
        return;
    }
    l->tx.open = true;
    l->tx.sender = lmtp_mailaddr(cmd->local, cmd->address_domain);
    client_trace_begin(&l->c);
    lmtp_reply(l, 250, "2.1.0", "Sender taken");
}

/* Not now, whoever the recipient is; true if it was said. */
static bool lmtp_rcpt_not_now(struct lmtp_client *l)
{
    uint32_t max = frontend_settings(l->c.fe)->max_recipients;
    if (max && l->tx.n >= max)
        lmtp_reply(l, 452, "4.5.3", "Too many recipients");
    else if (!l->c.fe->backend && !l->c.chan)
        lmtp_reply(l, 451, "4.3.2", "The mail store is not available, try again later");
    else if (l->tx.broken)
        lmtp_reply(l, 451, "4.3.0", "Temporary failure, try again later");
    else
        return false;
    return true;
}

/* <Postmaster> without a domain is ours (RFC 5321 section 4.5.1). */
static struct str lmtp_rcpt_domain(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    return cmd->address_domain.n
               ? cmd->address_domain
               : str_dup(&l->tx.arena, pb_str(frontend_settings(l->c.fe)->hostname));
}

static void lmtp_rcpt(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    if (!l->tx.open) {
        lmtp_wrong_order(l, "Say MAIL first");
        return;
    }
    if (lmtp_rcpt_not_now(l))
        return;
    l->tx.pending = arena_new(&l->tx.arena, Thurn__Mailaddr);
    if (!l->tx.pending || !lmtp_recipients_grow(&l->tx)) {
        lmtp_reply(l, 452, "4.5.3", "Too many recipients in one transaction");
        return;
    }
    *l->tx.pending = lmtp_mailaddr(cmd->local, lmtp_rcpt_domain(l, cmd));
    Thurn__LmtpRecipient m = THURN__LMTP_RECIPIENT__INIT;
    m.address = l->tx.pending;
    struct err e = client_ask(&l->c, ASKS_RECIPIENT, RPC_LMTP_RECIPIENT, &m.base, STR(""), -1);
    if (e.code != E_OK) {
        log_error("lmtp.cannot-ask", LF_ERR(e));
        client_drop_channel(&l->c);
        l->c.ops->lost(&l->c);
        return;
    }
    l->c.step = client_step_wait;
}

static void lmtp_data(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    if (!l->tx.open || !l->tx.n) {
        lmtp_wrong_order(l, "There is no recipient"); /* RFC 2033 section 4.2 */
        return;
    }
    if (l->tx.broken) {
        lmtp_reply(l, 451, "4.3.0", "Temporary failure, try again later");
        lmtp_reset(l);
        return;
    }
    conn_write(l->c.conn, STR("354 Send the message, end with a dot on its own line\r\n"));
    lmtp_data_begin(l);
}

static void lmtp_rset(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    lmtp_reset(l);
    lmtp_reply(l, 250, "2.0.0", "Forgotten");
}

static void lmtp_noop(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    lmtp_reply(l, 250, "2.0.0", "Ok");
}

static void lmtp_vrfy(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    lmtp_reply(l, 252, "2.5.2", "Send some mail and see");
}

static void lmtp_help(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    lmtp_reply(l, 214, "2.0.0", "LHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT");
}

static void lmtp_quit(struct lmtp_client *l, const struct lmtp_command *cmd)
{
    lmtp_reply(l, 221, "2.0.0", "Goodbye");
    client_end(&l->c);
}

static void (*const lmtp_runs[LMTP_VERBS])(struct lmtp_client *l,
                                           const struct lmtp_command *cmd) = {
    [LMTP_LHLO] = lmtp_lhlo, [LMTP_MAIL] = lmtp_mail, [LMTP_RCPT] = lmtp_rcpt,
    [LMTP_DATA] = lmtp_data, [LMTP_RSET] = lmtp_rset, [LMTP_NOOP] = lmtp_noop,
    [LMTP_VRFY] = lmtp_vrfy, [LMTP_HELP] = lmtp_help, [LMTP_QUIT] = lmtp_quit,
};

bool lmtp_step_command(struct client *c)
{
    struct lmtp_client *l = lmtp_client(c);
    struct str line;
    bool too_long;
    if (!smtp_line_next(&l->lines, conn_in(c->conn), &line, &too_long))
        return false;
    client_progress(c);
    struct lmtp_command cmd;
    struct smtp_reply bad = {500, "5.5.2", "The line is too long"};
    if (!too_long && lmtp_parse(line, &l->tx.arena, &cmd, &bad))
        lmtp_runs[cmd.verb](l, &cmd);
    else
        lmtp_bad(l, &bad);
    if (!l->tx.open)
        arena_free(&l->tx.arena); /* a refused MAIL has left its address there */
    return true;
}

/* --------------------------------------------------------------------------------------- answers
 */

static void lmtp_recipient_answer(struct lmtp_client *l, const Thurn__Status *status)
{
    client_answered(&l->c);
    l->c.step = lmtp_step_command;
    if (status->code == THURN__CODE__DONE) {
        l->tx.recipients[l->tx.n++] = l->tx.pending;
        lmtp_reply(l, 250, "2.1.5", "Recipient taken");
        return;
    }
    struct smtp_reply r = lmtp_reply_of(status->code);
    log_info("lmtp.recipient-refused", LF_STR("local", pb_str(l->tx.pending->local)),
             LF_STR("domain", pb_str(l->tx.pending->domain)), LF_U64("reply", r.code),
             LF_STR("reason", pb_str(status->text)));
    lmtp_reply(l, r.code, r.enhanced, r.text);
}

/* The state of a delivery is that of its step: waiting for the answer about a recipient has one
 * pending, waiting for a delivery has none. */
static void lmtp_lost(struct client *c)
{
    struct lmtp_client *l = lmtp_client(c);
    if (c->step == client_step_wait && !l->tx.pending) {
        lmtp_data_lost(l);
        return;
    }
    l->tx.broken = l->tx.n > 0;
    if (!l->tx.pending)
        return; /* between commands or in DATA: the end of the transaction tells */
    l->tx.pending = NULL;
    c->step = lmtp_step_command;
    lmtp_reply(l, 451, "4.3.0", "Temporary failure, try again later");
}

static void lmtp_answer(struct client *c, const struct frame *f)
{
    struct lmtp_client *l = lmtp_client(c);
    if (f->type->number == RPC_LMTP_RECIPIENT_ANSWER) {
        const Thurn__LmtpRecipientAnswer *m = (const Thurn__LmtpRecipientAnswer *)f->message;
        Thurn__Status unsaid = RPC_STATUS(THURN__CODE__TEMPORARY, "no status");
        lmtp_recipient_answer(l, m->status ? m->status : &unsaid);
        l->tx.pending = NULL;
        return;
    }
    const Thurn__LmtpDeliverAnswer *m = (const Thurn__LmtpDeliverAnswer *)f->message;
    client_answered(c);
    if (m->n_recipients != l->tx.n) {
        log_error("backend.wrong-answer", LF_U64("recipients", l->tx.n),
                  LF_U64("answers", m->n_recipients));
        client_drop_channel(c);
        lmtp_data_lost(l);
        return;
    }
    lmtp_data_delivered(l, m);
}

/* ------------------------------------------------------------------------------------------ life
 */

static struct client *lmtp_make(void)
{
    struct lmtp_client *l = mem_alloc(sizeof *l);
    arena_init(&l->tx.arena, LMTP_ENVELOPE_MAX);
    body_init(&l->body, 0);
    return &l->c;
}

static void lmtp_greet(struct client *c)
{
    buf_printf(client_out(c), "220 %.*s LMTP Thurn ready\r\n",
               STR_FMT(pb_str(frontend_settings(c->fe)->hostname)));
    client_flush(c);
    c->step = lmtp_step_command;
}

static uint64_t lmtp_patience(const struct client *c)
{
    return frontend_settings(c->fe)->lmtp_timeout;
}

static void lmtp_release(struct client *c)
{
    struct lmtp_client *l = lmtp_client(c);
    arena_free(&l->tx.arena);
    body_free(&l->body);
    free(l);
}

static const struct chan_rule lmtp_rules[] = {
    {RPC_LMTP_RECIPIENT_ANSWER, ASKS_RECIPIENT},
    {RPC_LMTP_DELIVER_ANSWER, ASKS_DELIVER},
};

static const struct str lmtp_goodbyes[GOODBYES] = {
    [GOODBYE_TIMEOUT] = STR_INIT("421 4.4.2 Nothing heard for too long, goodbye\r\n"),
    [GOODBYE_SHUTDOWN] = STR_INIT("421 4.3.2 The server is going down, come back later\r\n"),
    [GOODBYE_LOST] = STR_INIT("421 4.5.0 What you send cannot be followed any further\r\n"),
    [GOODBYE_BAD] = STR_INIT("421 4.7.0 Too many bad commands, goodbye\r\n"),
    [GOODBYE_BACKEND] = STR_INIT("421 4.3.2 The mail store is not available, come back later\r\n"),
    [GOODBYE_CROWD] = STR_INIT("421 4.3.2 Too many connections, come back later\r\n"),
};

const struct client_ops lmtp_client_ops = {
    .protocol = "lmtp",
    .kind = THURN__SESSION_KIND__SESSION_LMTP,
    .rules = lmtp_rules,
    .n_rules = ARRAY_LEN(lmtp_rules),
    .goodbyes = lmtp_goodbyes,
    .make = lmtp_make,
    .greet = lmtp_greet,
    .answer = lmtp_answer,
    .lost = lmtp_lost,
    .patience = lmtp_patience,
    .release = lmtp_release,
};
