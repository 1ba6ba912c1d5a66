#include "base/base.h"

#include "roles/frontend/smtp_client.h"

/* -----------------------------------------------------------------------------------------
 * greeting
 */

static bool smtp_is_extended(const struct smtp_client *s)
{
    return s->face->dialect != SMTP_LMTP;
}

/* What EHLO and LHLO announce, before SIZE. */
static const struct {
    const char *line;
    bool (*when)(const struct smtp_client *s); /* NULL: always */
} smtp_extensions[] = {
    {"PIPELINING", NULL},
    {"8BITMIME", NULL},
    {"ENHANCEDSTATUSCODES", NULL},
    {"STARTTLS", smtp_may_starttls},
    {"AUTH PLAIN LOGIN", smtp_may_login},
    {"SMTPUTF8", smtp_is_extended},
    {"CHUNKING", smtp_is_extended},
    {"BINARYMIME", smtp_is_extended},
    {"DSN", smtp_is_extended},
};

static void smtp_hello(struct smtp_client *s, const struct smtp_command *cmd)
{
    const Thurn__Settings *set = frontend_settings(s->c.fe);
    smtp_reset(s);
    s->greeted = cmd->verb == SMTP_HELO ? SMTP_GREETED : SMTP_EXTENDED;
    s->n_helo = cmd->domain.n;
    str_copy_to(s->helo, cmd->domain);
    struct buf *out = client_out(&s->c);
    buf_printf(out, "250%c%.*s\r\n", s->greeted == SMTP_GREETED ? ' ' : '-',
               STR_FMT(pb_str(set->hostname)));
    for (size_t i = 0; i < ARRAY_LEN(smtp_extensions) && s->greeted == SMTP_EXTENDED; i++)
        if (!smtp_extensions[i].when || smtp_extensions[i].when(s))
            buf_printf(out, "250-%s\r\n", smtp_extensions[i].line);
    if (s->greeted == SMTP_EXTENDED)
        buf_printf(out, "250 SIZE %" PRIu64 "\r\n", set->message_size_limit);
    client_flush(&s->c);
}

/* -------------------------------------------------------------------------------------- envelope
 */

static Thurn__Mailaddr smtp_mailaddr(const struct smtp_command *cmd)
{
    Thurn__Mailaddr m = THURN__MAILADDR__INIT;
    m.local = pb_bytes(cmd->local);
    m.domain = pb_bytes(cmd->address_domain);
    return m;
}

static bool smtp_needs_login(const struct smtp_client *s)
{
    return s->face->dialect == SMTP_SUBMISSION && !s->logged_in;
}

static void smtp_mail(struct smtp_client *s, const struct smtp_command *cmd)
{
    static const struct smtp_reply login_first = {530, "5.7.0", "Authentication required"};
    if (!s->greeted) {
        smtp_wrong_order(s, smtp_is_extended(s) ? "Say EHLO first" : "Say LHLO first");
    } else if (smtp_needs_login(s)) {
        smtp_say_bad(s, &login_first);
    } else if (s->tx.open) {
        smtp_wrong_order(s, "There is a sender already");
    } else if (cmd->size > frontend_settings(s->c.fe)->message_size_limit) {
        smtp_say(s, 552, "5.3.4", "The message is too large");
    } else {
        s->tx.open = true;
        s->tx.binary = cmd->body == SMTP_BINARYMIME;
        s->tx.smtputf8 = cmd->smtputf8;
        s->tx.sender = smtp_mailaddr(cmd);
        client_trace_begin(&s->c);
        smtp_say(s, 250, "2.1.0", "Sender taken");
    }
}

/* Room for one more recipient; doubles, and leaves the arrays before to the arena. */
static bool smtp_recipients_grow(struct smtp_transaction *tx)
{
    if (tx->n < tx->cap)
        return true;
    size_t cap = MAX(tx->cap * 2, (size_t)8);
    Thurn__Mailaddr **recipients = arena_array(&tx->arena, Thurn__Mailaddr *, cap);
    ProtobufCBinaryData *tickets = arena_array(&tx->arena, ProtobufCBinaryData, cap);
    if (!recipients || !tickets)
        return false;
    for (size_t i = 0; i < tx->n; i++) {
        recipients[i] = tx->recipients[i];
        tickets[i] = tx->tickets[i];
    }
    tx->recipients = recipients;
    tx->tickets = tickets;
    tx->cap = cap;
    return true;
}

/* Not now, whoever the recipient is; true if it was said. */
static bool smtp_rcpt_not_now(struct smtp_client *s)
{
    uint32_t max = frontend_settings(s->c.fe)->max_recipients;
    if (max && s->tx.n >= max)
        smtp_say(s, 452, "4.5.3", "Too many recipients");
    else
        return false;
    return true;
}

static struct err smtp_recipient_ask(struct smtp_client *s)
{
    Thurn__LmtpRecipient m = THURN__LMTP_RECIPIENT__INIT;
    m.address = s->tx.pending;
    return client_ask(&s->c, ASKS_RECIPIENT, RPC_LMTP_RECIPIENT, &m.base, STR(""), -1);
}

/* The answer for a recipient that is not taken, and its line in the log. */
static void smtp_refuse_recipient(struct smtp_client *s, const Thurn__Mailaddr *asked,
                                  struct smtp_reply r, struct str reason)
{
    log_info(smtp_is_extended(s) ? "smtp.recipient-refused" : "lmtp.recipient-refused",
             LF_STR("local", pb_str(asked->local)), LF_STR("domain", pb_str(asked->domain)),
             LF_U64("reply", r.code), LF_STR("reason", reason));
    smtp_say(s, r.code, r.enhanced, r.text);
}

static void smtp_recipient_lost(struct smtp_client *s)
{
    const Thurn__Mailaddr *asked = s->tx.pending;
    s->tx.pending = NULL;
    smtp_refuse_recipient(s, asked, smtp_reply_of(THURN__CODE__TEMPORARY),
                          STR("the backend did not answer"));
}

const struct smtp_request smtp_request_recipient = {smtp_recipient_ask, smtp_recipient_lost};

static void smtp_rcpt_ask(struct smtp_client *s, const struct smtp_command *cmd)
{
    s->tx.pending = arena_new(&s->tx.arena, Thurn__Mailaddr);
    if (!s->tx.pending || !smtp_recipients_grow(&s->tx)) {
        s->tx.pending = NULL;
        smtp_say(s, 452, "4.5.3", "Too many recipients in one transaction");
        return;
    }
    *s->tx.pending = smtp_mailaddr(cmd);
    smtp_ask(s, &smtp_request_recipient);
}

static void smtp_rcpt(struct smtp_client *s, const struct smtp_command *cmd)
{
    static const struct smtp_reply utf8 = {553, "5.6.7",
                                           "This address needs SMTPUTF8 at MAIL (RFC 6531)"};
    if (!s->tx.open)
        smtp_wrong_order(s, "Say MAIL first");
    else if (s->tx.chunked)
        smtp_wrong_order(s, "The message has begun");
    else if (cmd->address_utf8 && !s->tx.smtputf8)
        smtp_say_bad(s, &utf8);
    else if (!smtp_rcpt_not_now(s))
        smtp_rcpt_ask(s, cmd);
}

void smtp_recipient_answer(struct smtp_client *s, const Thurn__LmtpRecipientAnswer *answer)
{
    Thurn__Status unsaid = RPC_STATUS(THURN__CODE__TEMPORARY, "no status");
    const Thurn__Status *status = answer->status ? answer->status : &unsaid;
    Thurn__Mailaddr *asked = s->tx.pending;
    s->tx.pending = NULL;
    s->c.step = smtp_step_command;
    if (status->code == THURN__CODE__DONE) {
        s->tx.tickets[s->tx.n] = pb_bytes(str_dup(&s->tx.arena, pb_str(answer->ticket)));
        s->tx.recipients[s->tx.n++] = asked;
        smtp_say(s, 250, "2.1.5", "Recipient taken");
        return;
    }
    struct smtp_reply r = smtp_reply_of(status->code);
    if (answer->foreign && smtp_is_extended(s))
        r = (struct smtp_reply){550, "5.7.1", "Relaying denied: the domain is not served here"};
    smtp_refuse_recipient(s, asked, r, pb_str(status->text));
}

/* --------------------------------------------------------------------------------------- message
 */

/* Why no message can come now; NULL if it can. */
static const char *smtp_message_not_now(const struct smtp_client *s)
{
    return !s->tx.open ? "Say MAIL first" : !s->tx.n ? "There is no recipient" : NULL;
}

static void smtp_data(struct smtp_client *s, const struct smtp_command *cmd)
{
    const char *fault = smtp_message_not_now(s);   /* for LMTP: RFC 2033 section 4.2 */
    if (!fault && (s->tx.chunked || s->tx.binary)) /* RFC 3030 sections 2 and 3 */
        fault = "Send the message with BDAT";
    if (fault) {
        smtp_wrong_order(s, fault);
        return;
    }
    conn_write(s->c.conn, STR("354 Send the message, end with a dot on its own line\r\n"));
    smtp_data_begin(s);
}

static void smtp_bdat(struct smtp_client *s, const struct smtp_command *cmd)
{
    smtp_bdat_begin(s, cmd, smtp_message_not_now(s));
}

/* ---------------------------------------------------------------------------------------- others
 */

static void smtp_rset(struct smtp_client *s, const struct smtp_command *cmd)
{
    smtp_reset(s);
    smtp_say(s, 250, "2.0.0", "Forgotten");
}

static void smtp_noop(struct smtp_client *s, const struct smtp_command *cmd)
{
    smtp_say(s, 250, "2.0.0", "Ok");
}

static void smtp_vrfy(struct smtp_client *s, const struct smtp_command *cmd)
{
    smtp_say(s, 252, "2.5.2", "Send some mail and see");
}

static void smtp_help(struct smtp_client *s, const struct smtp_command *cmd)
{
    static const struct {
        enum smtp_dialect dialect;
        const char *text;
    } helps[] = {
        {SMTP_LMTP, "LHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT"},
        {SMTP_MX, "EHLO HELO STARTTLS MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT"},
        {SMTP_SUBMISSION, "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(helps); i++)
        if (helps[i].dialect == s->face->dialect)
            smtp_say(s, 214, "2.0.0", helps[i].text);
}

static void smtp_quit(struct smtp_client *s, const struct smtp_command *cmd)
{
    smtp_say(s, 221, "2.0.0", "Goodbye");
    client_end(&s->c);
}

static void (*const smtp_runs[SMTP_VERBS])(struct smtp_client *s,
                                           const struct smtp_command *cmd) = {
    [SMTP_LHLO] = smtp_hello,        [SMTP_HELO] = smtp_hello, [SMTP_EHLO] = smtp_hello,
    [SMTP_STARTTLS] = smtp_starttls, [SMTP_AUTH] = smtp_auth,  [SMTP_MAIL] = smtp_mail,
    [SMTP_RCPT] = smtp_rcpt,         [SMTP_DATA] = smtp_data,  [SMTP_BDAT] = smtp_bdat,
    [SMTP_RSET] = smtp_rset,         [SMTP_NOOP] = smtp_noop,  [SMTP_VRFY] = smtp_vrfy,
    [SMTP_HELP] = smtp_help,         [SMTP_QUIT] = smtp_quit,
};

bool smtp_step_command(struct client *c)
{
    struct smtp_client *s = smtp_client(c);
    struct str line;
    bool too_long;
    if (!smtp_line_next(&s->lines, conn_in(c->conn), &line, &too_long))
        return false;
    client_progress(c);
    struct smtp_command cmd;
    struct smtp_reply bad = {500, "5.5.2", "The line is too long"};
    if (!too_long && smtp_parse(line, s->face->dialect, &s->tx.arena, &cmd, &bad))
        smtp_runs[cmd.verb](s, &cmd);
    else
        smtp_say_bad(s, &bad);
    if (!s->tx.open)
        arena_free(&s->tx.arena); /* a refused MAIL has left its address there */
    return true;
}
