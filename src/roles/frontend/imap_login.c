#include "base/base.h"

#include "roles/frontend/imap_client.h"

/* Without TLS a password is neither asked for nor taken; true if that was said. */
static bool imap_refuse_cleartext(struct imap_client *i)
{
    struct buf peer CLEANUP(buf_free) = {0};
    if (imap_may_login(i))
        return false;
    log_info("login.refused", LF_STR("peer", client_peer(&i->c, &peer)), LF_C("protocol", "imap"),
             LF_C("reason", "no TLS"));
    imap_finish(i, STR("NO [PRIVACYREQUIRED]"), STR("Passwords are taken under TLS only"));
    client_bad(&i->c);
    return true;
}

static void imap_login_ask(struct imap_client *i)
{
    client_keep_user(&i->c, pb_str(((const Thurn__ImapLogin *)i->cmd.request)->user));
    imap_forward(i, STR(""), -1);
}

void imap_login(struct imap_client *i)
{
    if (!imap_refuse_cleartext(i))
        imap_login_ask(i);
}

/* The base64 of SASL PLAIN (RFC 4616). */
static void imap_plain(struct imap_client *i, struct str base64)
{
    Thurn__ImapLogin *login;
    struct err e = imap_parse_plain(base64, &i->arena, &login);
    if (e.code == E_DENIED) {
        imap_finish(i, STR("NO [AUTHORIZATIONFAILED]"),
                    STR("Acting for another user is not done here"));
        client_bad(&i->c);
    } else if (e.code != E_OK) {
        imap_finish_bad(i, "This is not a response of SASL PLAIN");
    } else {
        i->cmd.request = &login->base;
        i->cmd.frame = RPC_IMAP_LOGIN;
        imap_login_ask(i);
    }
}

static bool imap_step_sasl(struct client *c)
{
    struct imap_client *i = imap_client(c);
    struct imap_parsed p;
    imap_parse_line(&i->parser, conn_in(c->conn), &i->arena, &p);
    if (p.what == IMAP_PARSE_MORE)
        return false;
    client_progress(c);
    if (p.what != IMAP_PARSE_COMMAND) {
        imap_finish_refused(i, &p);
    } else if (str_eq(p.line, STR("*"))) { /* RFC 3501 section 6.2.2 */
        imap_finish_bad(i, "Cancelled");
    } else {
        imap_plain(i, p.line);
    }
    return true;
}

void imap_authenticate(struct imap_client *i)
{
    if (!str_ieq(i->cmd.mechanism, STR("PLAIN"))) {
        imap_finish(i, STR("NO [CANNOT]"), STR("This mechanism is not known here"));
        client_bad(&i->c);
        return;
    }
    if (imap_refuse_cleartext(i))
        return;
    if (i->cmd.has_initial) {
        imap_plain(i, i->cmd.initial);
        return;
    }
    conn_write(i->c.conn, STR("+ \r\n"));
    i->c.step = imap_step_sasl;
}

void imap_starttls(struct imap_client *i)
{
    if (i->c.tls || !tls_server_has_certificate(i->c.fe->tls)) {
        imap_finish_bad(i, i->c.tls ? "TLS is in force already" : "There is no certificate");
        return;
    }
    imap_finish(i, STR("OK"), STR("Begin TLS now"));
    client_drop_channel(&i->c); /* it was opened for a connection without TLS */
    struct err e = conn_start_tls(i->c.conn, i->c.fe->tls);
    if (e.code != E_OK) {
        log_error("imap.starttls", LF_ERR(e));
        client_end(&i->c);
        return;
    }
    i->c.tls = true;
}

static void imap_login_refused(struct imap_client *i, const Thurn__Status *status)
{
    switch (status->code) {
    case THURN__CODE__TEMPORARY:
    case THURN__CODE__STORE_FULL:
    case THURN__CODE__CORRUPT:
        imap_finish(i, STR("NO [UNAVAILABLE]"), STR("Temporary failure, try again later"));
        break;
    case THURN__CODE__LIMIT_EXCEEDED:
        imap_finish(i, STR("NO [LIMIT]"), STR("Too many connections or attempts, try again later"));
        client_bad(&i->c);
        break;
    default:
        imap_finish(i, STR("NO [AUTHENTICATIONFAILED]"), STR("User or password is wrong"));
        client_bad(&i->c);
        break;
    }
}

void imap_login_done(struct imap_client *i, const Thurn__ImapDone *d)
{
    const Thurn__ImapLogin *login = (const Thurn__ImapLogin *)i->cmd.request;
    struct buf peer CLEANUP(buf_free) = {0};
    if (d->status->code != THURN__CODE__DONE) { /* the backend has logged the reason */
        imap_login_refused(i, d->status);
        return;
    }
    log_info("imap.login", LF_STR("user", pb_str(login->user)),
             LF_STR("peer", client_peer(&i->c, &peer)), LF_U64("tls", i->c.tls));
    i->state = IMAP_AUTHENTICATED;
    struct buf word CLEANUP(buf_free) = {0};
    buf_put(&word, STR("OK ["));
    imap_put_capability(i, &word);
    buf_put(&word, STR("]"));
    imap_finish(i, buf_str(&word), STR("Logged in"));
}
