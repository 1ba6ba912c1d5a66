#include "base/base.h"

#include "roles/frontend/smtp_client.h"

enum {
    /* Addresses of one transaction. Each costs more here than in the frame of LmtpDeliver, whose
     * limit this is therefore below. */
    SMTP_ENVELOPE_MAX = 448 * KB,
    SMTP_LOGIN_MAX = 32 * KB, /* credentials, and what decoding them takes */
};

void smtp_reset(struct smtp_client *s)
{
    arena_free(&s->tx.arena);
    s->tx = (struct smtp_transaction){0};
    arena_init(&s->tx.arena, SMTP_ENVELOPE_MAX);
    body_free(&s->body);
    client_trace_end(&s->c);
}

/* ------------------------------------------------------------------------------ asking the backend
 */

static void smtp_lost(struct client *c);

void smtp_ask(struct smtp_client *s, const struct smtp_request *r)
{
    s->request = r;
    s->c.step = client_step_wait;
    /* Replies that are there already are to commands behind which the client has sent others: it
     * gets them together (RFC 2920 section 3.2). */
    conn_collect(s->c.conn, true);
    struct err e = r->ask(s);
    if (e.code == E_OK)
        return;
    log_error("smtp.cannot-ask", LF_ERR(e));
    client_drop_channel(&s->c);
    smtp_lost(&s->c);
}

static void smtp_repeat(struct client *c)
{
    struct smtp_client *s = smtp_client(c);
    smtp_ask(s, s->request);
}

/* The request is over, without an answer. */
static void smtp_give_up(struct client *c)
{
    struct smtp_client *s = smtp_client(c);
    const struct smtp_request *r = s->request;
    s->request = NULL;
    conn_collect(c->conn, false);
    if (!r)
        return;
    c->step = smtp_step_command;
    r->lost(s);
}

/* Between commands and in DATA nothing is lost with a backend: the next one takes the tickets. */
static void smtp_lost(struct client *c)
{
    struct smtp_client *s = smtp_client(c);
    if (!s->logged_in) {
        smtp_give_up(c);
        return;
    }
    /* Its login was not taken, or there is nobody to take it: 421 is the answer. */
    s->request = NULL;
    conn_collect(c->conn, false);
    client_goodbye(c, GOODBYE_BACKEND);
}

static struct str smtp_record(const struct client *c)
{
    return container_of(c, const struct smtp_client, c)->record;
}

void smtp_log_out(struct smtp_client *s)
{
    free((void *)(uintptr_t)s->record.p);
    s->record = (struct str){0};
    s->logged_in = false;
}

static void smtp_answer(struct client *c, const struct frame *f)
{
    struct smtp_client *s = smtp_client(c);
    client_answered(c);
    s->request = NULL;
    conn_collect(c->conn, false);
    switch (f->type->number) {
    case RPC_LMTP_RECIPIENT_ANSWER:
        smtp_recipient_answer(s, (const Thurn__LmtpRecipientAnswer *)f->message);
        break;
    case RPC_SMTP_LOGIN_ANSWER:
        smtp_auth_answer(s, (const Thurn__SmtpLoginAnswer *)f->message);
        break;
    default: smtp_data_delivered(s, (const Thurn__LmtpDeliverAnswer *)f->message); break;
    }
}

/* ------------------------------------------------------------------------------------------ life
 */

static struct client *smtp_make(const struct smtp_face *face)
{
    struct smtp_client *s = mem_alloc(sizeof *s);
    s->face = face;
    arena_init(&s->tx.arena, SMTP_ENVELOPE_MAX);
    arena_init(&s->login.arena, SMTP_LOGIN_MAX);
    body_init(&s->body, 0, NULL);
    return &s->c;
}

static void smtp_greet(struct client *c)
{
    buf_printf(client_out(c), "220 %.*s %s Thurn ready\r\n",
               STR_FMT(pb_str(frontend_settings(c->fe)->hostname)), smtp_client(c)->face->greeting);
    client_flush(c);
    c->step = smtp_step_command;
}

static uint64_t lmtp_patience(const struct client *c)
{
    return client_deadline(clock_mono_us(), frontend_settings(c->fe)->lmtp_timeout);
}

static uint64_t smtp_patience(const struct client *c)
{
    return client_deadline(clock_mono_us(), frontend_settings(c->fe)->smtp_timeout);
}

static void smtp_release(struct client *c)
{
    struct smtp_client *s = smtp_client(c);
    arena_free(&s->tx.arena);
    arena_free(&s->login.arena);
    body_free(&s->body);
    smtp_log_out(s);
    free(s);
}

static const struct chan_rule smtp_rules[] = {
    {RPC_LMTP_RECIPIENT_ANSWER, ASKS_RECIPIENT},
    {RPC_LMTP_DELIVER_ANSWER, ASKS_DELIVER},
    {RPC_SMTP_LOGIN_ANSWER, ASKS_STATUS},
};

static const struct str smtp_goodbyes[GOODBYES] = {
    [GOODBYE_TIMEOUT] = STR_INIT("421 4.4.2 Nothing heard for too long, goodbye\r\n"),
    [GOODBYE_SHUTDOWN] = STR_INIT("421 4.3.2 The server is going down, come back later\r\n"),
    [GOODBYE_LOST] = STR_INIT("421 4.5.0 What you send cannot be followed any further\r\n"),
    [GOODBYE_BAD] = STR_INIT("421 4.7.0 Too many bad commands, goodbye\r\n"),
    [GOODBYE_BACKEND] = STR_INIT("421 4.3.2 The mail store is not available, come back later\r\n"),
    [GOODBYE_CROWD] = STR_INIT("421 4.3.2 Too many connections, come back later\r\n"),
};

/* ----------------------------------------------------------------------------------------- faces
 */

static struct client *lmtp_make(void)
{
    static const struct smtp_face face = {
        .dialect = SMTP_LMTP, .greeting = "LMTP", .reply_each = true};
    return smtp_make(&face);
}

static struct client *mx_make(void)
{
    static const struct smtp_face face = {
        .dialect = SMTP_MX, .greeting = "ESMTP", .lines_strict = true};
    return smtp_make(&face);
}

static struct client *submission_make(void)
{
    static const struct smtp_face face = {
        .dialect = SMTP_SUBMISSION, .greeting = "ESMTP", .lines_strict = true};
    return smtp_make(&face);
}

/* Only who logs in can go on elsewhere, and is a connection until the client has gone. */
#define SMTP_CLIENT_OPS(name, session_kind, make_, record_, patience_)                             \
    {                                                                                              \
        .protocol = (name), .kind = (session_kind), .rules = smtp_rules,                           \
        .n_rules = ARRAY_LEN(smtp_rules), .goodbyes = smtp_goodbyes, .make = (make_),              \
        .greet = smtp_greet, .answer = smtp_answer, .lost = smtp_lost, .repeat = smtp_repeat,      \
        .give_up = smtp_give_up, .record = (record_), .patience = (patience_),                     \
        .release = smtp_release                                                                    \
    }

const struct client_ops lmtp_client_ops =
    SMTP_CLIENT_OPS("lmtp", THURN__SESSION_KIND__SESSION_LMTP, lmtp_make, NULL, lmtp_patience);
const struct client_ops smtp_client_ops =
    SMTP_CLIENT_OPS("smtp", THURN__SESSION_KIND__SESSION_SMTP, mx_make, NULL, smtp_patience);
const struct client_ops submission_client_ops =
    SMTP_CLIENT_OPS("submission", THURN__SESSION_KIND__SESSION_SUBMISSION, submission_make,
                    smtp_record, smtp_patience);
