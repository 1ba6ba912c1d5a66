#include "base/base.h"

#include "roles/frontend/lmtp_client.h"

static void lmtp_data_put(void *arg, struct str bytes)
{
    body_put(arg, bytes);
}

static void lmtp_log_address(struct buf *out, const Thurn__Mailaddr *a)
{
    buf_clear(out);
    buf_put(out, pb_str(a->local));
    buf_byte(out, '@');
    buf_put(out, pb_str(a->domain));
}

/* One reply for one recipient (RFC 2033 section 4.2), and its line in the log. */
static void lmtp_data_reply(struct lmtp_client *l, const Thurn__Mailaddr *to, Thurn__Code code,
                            struct str reason)
{
    struct buf address CLEANUP(buf_free) = {0};
    lmtp_log_address(&address, to);
    struct buf *out = client_out(&l->c);
    if (code == THURN__CODE__DONE) {
        log_info("lmtp.delivered", LF_STR("rcpt", buf_str(&address)), LF_U64("size", l->body.size));
        buf_printf(out, "250 2.0.0 <%.*s> delivered\r\n", STR_FMT(buf_str(&address)));
    } else {
        struct smtp_reply r = lmtp_reply_of(code);
        log_info("lmtp.not-delivered", LF_STR("rcpt", buf_str(&address)), LF_U64("reply", r.code),
                 LF_C("status", r.enhanced), LF_STR("reason", reason));
        buf_printf(out, "%u %s <%.*s> %s\r\n", r.code, r.enhanced, STR_FMT(buf_str(&address)),
                   r.text);
    }
    client_flush(&l->c);
}

static void lmtp_data_finished(struct lmtp_client *l)
{
    lmtp_reset(l);
    l->c.step = lmtp_step_command;
}

static void lmtp_data_reply_all(struct lmtp_client *l, Thurn__Code code, struct str reason)
{
    for (size_t i = 0; i < l->tx.n; i++)
        lmtp_data_reply(l, l->tx.recipients[i], code, reason);
    lmtp_data_finished(l);
}

void lmtp_data_delivered(struct lmtp_client *l, const Thurn__LmtpDeliverAnswer *answer)
{
    for (size_t i = 0; i < l->tx.n; i++) {
        const Thurn__Status *s = answer->recipients[i];
        lmtp_data_reply(l, l->tx.recipients[i], s->code, pb_str(s->text));
    }
    lmtp_data_finished(l);
}

void lmtp_data_lost(struct lmtp_client *l)
{
    lmtp_data_reply_all(l, THURN__CODE__TEMPORARY, STR("the backend did not answer"));
}

static struct err lmtp_data_ask(struct lmtp_client *l)
{
    uint8_t id[16];
    random_bytes(id, sizeof id);
    Thurn__LmtpDeliver m = THURN__LMTP_DELIVER__INIT;
    m.delivery = pb_bytes(str_of(id, sizeof id));
    m.sender = &l->tx.sender;
    m.n_recipients = l->tx.n;
    m.recipients = l->tx.recipients;
    m.size = l->body.size;
    m.helo = pb_bytes(str_of(l->helo, l->n_helo));
    m.trace = pb_bytes(client_trace(&l->c));
    struct str raw;
    int fd;
    TRY(body_finish(&l->body, &raw, &fd));
    TRY(client_ask(&l->c, ASKS_DELIVER, RPC_LMTP_DELIVER, &m.base, raw, fd));
    uint64_t size = l->body.size;
    body_free(&l->body); /* the channel has it now */
    l->body.size = size;
    return OK;
}

/* The whole message has come. */
static void lmtp_data_end(struct lmtp_client *l)
{
    if (l->body.too_large) {
        lmtp_data_reply_all(l, THURN__CODE__TOO_LARGE, STR("larger than message_size_limit"));
        return;
    }
    if (l->body.failed) {
        lmtp_data_reply_all(l, THURN__CODE__STORE_FULL, STR("no memory for the message"));
        return;
    }
    if (l->tx.broken) {
        lmtp_data_lost(l);
        return;
    }
    struct err e = lmtp_data_ask(l);
    if (e.code != E_OK) {
        log_error("lmtp.cannot-deliver", LF_ERR(e));
        client_drop_channel(&l->c);
        lmtp_data_lost(l);
        return;
    }
    l->c.step = client_step_wait;
}

static bool lmtp_step_data(struct client *c)
{
    struct lmtp_client *l = lmtp_client(c);
    struct buf *in = conn_in(c->conn);
    if (!in->n)
        return false;
    bool ended;
    buf_consume(in, smtp_data_feed(&l->data, buf_str(in), lmtp_data_put, &l->body, &ended));
    client_progress(c);
    if (ended)
        lmtp_data_end(l);
    return ended;
}

void lmtp_data_begin(struct lmtp_client *l)
{
    body_init(&l->body, frontend_settings(l->c.fe)->message_size_limit);
    l->data = (struct smtp_data){0};
    l->c.step = lmtp_step_data;
}
