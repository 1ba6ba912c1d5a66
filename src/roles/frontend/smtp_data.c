#include "base/base.h"

#include "roles/frontend/smtp_client.h"

/* --------------------------------------------------------------------------------------- replies
 */

static void smtp_put_address(struct buf *out, const Thurn__Mailaddr *a)
{
    buf_put(out, pb_str(a->local));
    if (a->domain.len)
        buf_byte(out, '@');
    buf_put(out, pb_str(a->domain));
}

/* The line in the log about one recipient. */
static void smtp_log_outcome(struct smtp_client *s, const Thurn__Mailaddr *to, Thurn__Code code,
                             struct str reason)
{
    struct buf address CLEANUP(buf_free) = {0};
    smtp_put_address(&address, to);
    bool lmtp = s->face->dialect == SMTP_LMTP;
    if (code == THURN__CODE__DONE) {
        log_info(lmtp ? "lmtp.delivered" : "smtp.delivered", LF_STR("rcpt", buf_str(&address)),
                 LF_U64("size", s->body.size));
        return;
    }
    struct smtp_reply r = smtp_reply_of(code);
    log_info(lmtp ? "lmtp.not-delivered" : "smtp.not-delivered", LF_STR("rcpt", buf_str(&address)),
             LF_U64("reply", r.code), LF_C("status", r.enhanced), LF_STR("reason", reason));
}

/* One reply for one recipient (RFC 2033 section 4.2). */
static void smtp_reply_recipient(struct smtp_client *s, const Thurn__Mailaddr *to, Thurn__Code code)
{
    struct smtp_reply r = {250, "2.0.0", "delivered"};
    if (code != THURN__CODE__DONE)
        r = smtp_reply_of(code);
    struct buf *out = client_out(&s->c);
    buf_printf(out, "%u %s <", r.code, r.enhanced);
    smtp_put_address(out, to);
    buf_printf(out, "> %s\r\n", r.text);
    client_flush(&s->c);
}

/* One reply for the whole message. */
static void smtp_reply_message(struct smtp_client *s, Thurn__Code code)
{
    struct smtp_reply r = {250, "2.0.0", "Message taken"};
    if (code != THURN__CODE__DONE)
        r = smtp_reply_of(code);
    buf_printf(client_out(&s->c), "%u %s %s, id %.*s\r\n", r.code, r.enhanced, r.text,
               STR_FMT(client_trace(&s->c)));
    client_flush(&s->c);
}

static void smtp_data_finished(struct smtp_client *s)
{
    smtp_reset(s);
    s->c.step = smtp_step_command;
}

/* The same for all recipients. */
static void smtp_data_refuse(struct smtp_client *s, Thurn__Code code, struct str reason)
{
    for (size_t i = 0; i < s->tx.n; i++) {
        smtp_log_outcome(s, s->tx.recipients[i], code, reason);
        if (s->face->reply_each)
            smtp_reply_recipient(s, s->tx.recipients[i], code);
    }
    if (!s->face->reply_each)
        smtp_reply_message(s, code);
    smtp_data_finished(s);
}

/* What an SMTP client is told about all its recipients: that the message is taken only if it is in
 * every mailbox. Where they differ it is to come again, although some have it already: twice is
 * better than never. */
static Thurn__Code smtp_verdict(const Thurn__LmtpDeliverAnswer *answer)
{
    Thurn__Code code = answer->recipients[0]->code;
    for (size_t i = 1; i < answer->n_recipients; i++)
        if (answer->recipients[i]->code != code)
            return THURN__CODE__TEMPORARY;
    return code;
}

static void smtp_delivery_lost(struct smtp_client *s)
{
    smtp_data_refuse(s, THURN__CODE__TEMPORARY, STR("the backend did not answer"));
}

void smtp_data_delivered(struct smtp_client *s, const Thurn__LmtpDeliverAnswer *answer)
{
    if (answer->n_recipients != s->tx.n) {
        log_error("backend.wrong-answer", LF_U64("recipients", s->tx.n),
                  LF_U64("answers", answer->n_recipients));
        client_drop_channel(&s->c);
        smtp_delivery_lost(s);
        return;
    }
    for (size_t i = 0; i < s->tx.n; i++) {
        const Thurn__Status *status = answer->recipients[i];
        smtp_log_outcome(s, s->tx.recipients[i], status->code, pb_str(status->text));
        if (s->face->reply_each)
            smtp_reply_recipient(s, s->tx.recipients[i], status->code);
    }
    if (!s->face->reply_each)
        smtp_reply_message(s, smtp_verdict(answer));
    smtp_data_finished(s);
}

/* -------------------------------------------------------------------------------------- delivery
 */

static Thurn__MailProtocol smtp_protocol(const struct smtp_client *s)
{
    if (s->face->dialect == SMTP_LMTP)
        return THURN__MAIL_PROTOCOL__MAIL_LMTP;
    return s->greeted == SMTP_EXTENDED ? THURN__MAIL_PROTOCOL__MAIL_ESMTP
                                       : THURN__MAIL_PROTOCOL__MAIL_SMTP;
}

static struct err smtp_delivery_ask(struct smtp_client *s)
{
    struct buf tls CLEANUP(buf_free) = {0};
    conn_tls_describe(s->c.conn, &tls);
    Thurn__LmtpDeliver m = THURN__LMTP_DELIVER__INIT;
    m.delivery = pb_bytes(str_of(s->tx.delivery, sizeof s->tx.delivery));
    m.sender = &s->tx.sender;
    m.n_recipients = s->tx.n;
    m.recipients = s->tx.recipients;
    m.n_tickets = s->tx.n;
    m.tickets = s->tx.tickets;
    m.size = s->body.size;
    m.helo = pb_bytes(str_of(s->helo, s->n_helo));
    m.trace = pb_bytes(client_trace(&s->c));
    m.protocol = smtp_protocol(s);
    m.smtputf8 = s->tx.smtputf8;
    m.tls = pb_bytes(buf_str(&tls));
    struct str raw;
    int fd;
    TRY(body_finish(&s->body, &raw, &fd));
    return client_ask(&s->c, ASKS_DELIVER, RPC_LMTP_DELIVER, &m.base, raw, fd);
}

const struct smtp_request smtp_request_delivery = {smtp_delivery_ask, smtp_delivery_lost};

/* A message that holds a bare CR or LF, where that is not taken; true if that was said. */
static bool smtp_data_is_bare(struct smtp_client *s)
{
    if (!s->newlines.bare ||
        frontend_settings(s->c.fe)->smtp_bare_newline != THURN__BARE_NEWLINE__BARE_REFUSE)
        return false;
    struct buf peer CLEANUP(buf_free) = {0};
    log_info("smtp.bare-newline", LF_STR("peer", client_peer(&s->c, &peer)),
             LF_U64("size", s->body.size));
    smtp_say(s, 550, "5.6.0", "The message holds a CR or LF alone: lines end with both");
    smtp_data_finished(s);
    return true;
}

/* The whole message has come, or what makes its end of no interest. */
static void smtp_data_end(struct smtp_client *s)
{
    if (s->body.too_large) {
        smtp_data_refuse(s, THURN__CODE__TOO_LARGE, STR("larger than message_size_limit"));
    } else if (s->body.failed) {
        smtp_data_refuse(s, THURN__CODE__STORE_FULL, STR("no memory for the message"));
    } else if (smtp_data_is_bare(s)) {
        /* it has been told */
    } else {
        random_bytes(s->tx.delivery, sizeof s->tx.delivery);
        smtp_ask(s, &smtp_request_delivery);
    }
}

/* ------------------------------------------------------------------------------------------ DATA
 */

static void smtp_keep(void *arg, struct str bytes)
{
    body_put(arg, bytes);
}

static void smtp_data_put(void *arg, struct str bytes)
{
    struct smtp_client *s = arg;
    if (s->face->lines_strict)
        smtp_newlines_feed(&s->newlines, bytes, smtp_keep, &s->body);
    else
        body_put(&s->body, bytes);
}

static bool smtp_step_data(struct client *c)
{
    struct smtp_client *s = smtp_client(c);
    struct buf *in = conn_in(c->conn);
    if (!in->n)
        return false;
    bool ended;
    size_t taken = smtp_data_feed(&s->data, buf_str(in), smtp_data_put, s, &ended);
    buf_consume(in, taken);
    client_progress_bytes(c, taken);
    if (!ended)
        return false;
    client_progress(c);
    smtp_newlines_end(&s->newlines, smtp_keep, &s->body);
    smtp_data_end(s);
    return true;
}

static void smtp_message_begin(struct smtp_client *s)
{
    const Thurn__Settings *set = frontend_settings(s->c.fe);
    body_init(&s->body, set->message_size_limit, &s->c.fe->bodies);
    s->newlines = (struct smtp_newlines){.normalize = set->smtp_bare_newline ==
                                                      THURN__BARE_NEWLINE__BARE_NORMALIZE};
}

void smtp_data_begin(struct smtp_client *s)
{
    smtp_message_begin(s);
    s->data = (struct smtp_data){0};
    s->c.step = smtp_step_data;
}

/* ------------------------------------------------------------------------------------------ BDAT
 */

static void smtp_bdat_end(struct smtp_client *s)
{
    s->c.step = smtp_step_command;
    if (s->bdat.refused) {
        smtp_wrong_order(s, s->bdat.refused);
        return;
    }
    if (s->bdat.last || s->body.too_large || s->body.failed) {
        smtp_data_end(s);
        return;
    }
    buf_printf(client_out(&s->c), "250 2.0.0 %" PRIu64 " bytes taken\r\n", s->bdat.size);
    client_flush(&s->c);
}

/* The bytes of a chunk are taken off the wire whatever becomes of them (RFC 3030 section 2). */
static bool smtp_step_bdat(struct client *c)
{
    struct smtp_client *s = smtp_client(c);
    struct str bytes = smtp_chunk_next(&s->bdat.chunk, conn_in(c->conn));
    client_progress_bytes(c, bytes.n);
    if (!s->bdat.refused)
        body_put(&s->body, bytes);
    if (s->bdat.chunk.left)
        return false;
    smtp_bdat_end(s);
    return true;
}

void smtp_bdat_begin(struct smtp_client *s, const struct smtp_command *cmd, const char *refused)
{
    s->bdat = (struct smtp_bdat){
        .chunk = {cmd->size}, .size = cmd->size, .last = cmd->last, .refused = refused};
    if (!refused && !s->tx.chunked) {
        smtp_message_begin(s);
        s->tx.chunked = true;
    }
    s->c.step = smtp_step_bdat;
}
