#include "base/base.h"

#include "imap/imap_wire.h" /* SASL PLAIN is the same there */
#include "roles/frontend/smtp_client.h"

bool smtp_may_login(const struct smtp_client *s)
{
    return s->face->dialect == SMTP_SUBMISSION && !s->logged_in &&
           frontend_may_login(s->c.fe, s->c.peer, s->c.tls);
}

bool smtp_may_starttls(const struct smtp_client *s)
{
    return s->face->dialect != SMTP_LMTP && !s->c.tls && tls_server_has_certificate(s->c.fe->tls);
}

/* -------------------------------------------------------------------------------------- STARTTLS
 */

/* RFC 3207: what was said before is forgotten, and what was pipelined behind it too. */
void smtp_starttls(struct smtp_client *s, const struct smtp_command *cmd)
{
    if (s->c.tls || s->tx.open) {
        smtp_wrong_order(s, s->c.tls ? "TLS is in force already" : "There is a sender already");
        return;
    }
    if (!smtp_may_starttls(s)) {
        smtp_say(s, 454, "4.7.0", "TLS is not available");
        return;
    }
    smtp_say(s, 220, "2.0.0", "Begin TLS now");
    smtp_reset(s);
    s->greeted = SMTP_SILENT;
    s->n_helo = 0;
    client_drop_channel(&s->c); /* it was opened for a connection without TLS */
    smtp_log_out(s);
    struct err e = conn_start_tls(s->c.conn, s->c.fe->tls);
    if (e.code != E_OK) {
        log_error("smtp.starttls", LF_ERR(e));
        client_end(&s->c);
        return;
    }
    s->c.tls = true;
}

/* ------------------------------------------------------------------------------------------ AUTH
 */

static void smtp_auth_end(struct smtp_client *s, const struct smtp_reply *r)
{
    arena_free(&s->login.arena);
    s->login.user = s->login.password = (struct str){0};
    s->login.wants_password = false;
    s->c.step = smtp_step_command;
    smtp_say_bad(s, r);
}

static void smtp_auth_malformed(struct smtp_client *s)
{
    smtp_auth_end(s, &(struct smtp_reply){501, "5.5.2", "This is not a response of the mechanism"});
}

static struct err smtp_login_ask(struct smtp_client *s)
{
    Thurn__SmtpLogin m = THURN__SMTP_LOGIN__INIT;
    m.user = pb_bytes(s->login.user);
    m.password = pb_bytes(s->login.password);
    return client_ask(&s->c, ASKS_STATUS, RPC_SMTP_LOGIN, &m.base, STR(""), -1);
}

static void smtp_auth_ask(struct smtp_client *s, struct str user, struct str password)
{
    s->login.user = user;
    s->login.password = password;
    client_keep_user(&s->c, user);
    smtp_ask(s, &smtp_request_login);
}

static void smtp_auth_plain(struct smtp_client *s, struct str base64)
{
    Thurn__ImapLogin *login;
    struct err e = imap_parse_plain(base64, &s->login.arena, &login);
    if (e.code == E_DENIED)
        smtp_auth_end(
            s, &(struct smtp_reply){535, "5.7.8", "Acting for another user is not done here"});
    else if (e.code != E_OK)
        smtp_auth_malformed(s);
    else
        smtp_auth_ask(s, pb_str(login->user), pb_str(login->password));
}

/* One answer of AUTH LOGIN, which is nothing but the user's name, then the password. */
static void smtp_auth_login(struct smtp_client *s, struct str base64)
{
    struct buf text CLEANUP(buf_free) = {0};
    bool good = base64_decode(&text, base64).code == E_OK && text.n > 0;
    struct str kept = str_dup(&s->login.arena, buf_str(&text));
    if (text.p)
        explicit_bzero(text.p, text.cap);
    if (!good || kept.n != text.n) {
        smtp_auth_malformed(s);
    } else if (s->login.wants_password) {
        smtp_auth_ask(s, s->login.user, kept);
    } else {
        s->login.user = kept;
        s->login.wants_password = true;
        conn_write(s->c.conn, STR("334 UGFzc3dvcmQ6\r\n")); /* "Password:" */
    }
}

static bool smtp_auth_step(struct client *c, void (*take)(struct smtp_client *s, struct str base64))
{
    struct smtp_client *s = smtp_client(c);
    struct str line;
    bool too_long;
    if (!smtp_line_next(&s->lines, conn_in(c->conn), &line, &too_long))
        return false;
    client_progress(c);
    if (too_long)
        smtp_auth_end(s, &(struct smtp_reply){500, "5.5.6", "The response is too long"});
    else if (str_eq(line, STR("*")))
        smtp_auth_end(s, &(struct smtp_reply){501, "5.7.0", "Cancelled"});
    else
        take(s, line);
    return true;
}

static bool smtp_step_plain(struct client *c)
{
    return smtp_auth_step(c, smtp_auth_plain);
}

static bool smtp_step_login(struct client *c)
{
    return smtp_auth_step(c, smtp_auth_login);
}

static const struct {
    struct str name;
    void (*take)(struct smtp_client *s, struct str base64);
    client_step *step;
    struct str challenge;
} smtp_mechanisms[] = {
    {STR_INIT("PLAIN"), smtp_auth_plain, smtp_step_plain, STR_INIT("334 \r\n")},
    {STR_INIT("LOGIN"), smtp_auth_login, smtp_step_login, STR_INIT("334 VXNlcm5hbWU6\r\n")},
};

static const struct smtp_reply no_tls = {538, "5.7.11", "Passwords are taken under TLS only"};

/* Why nobody can log in now; false if they can. */
static bool smtp_auth_not_now(const struct smtp_client *s, struct smtp_reply *bad)
{
    if (s->greeted != SMTP_EXTENDED)
        *bad = (struct smtp_reply){503, "5.5.1", "Say EHLO first"};
    else if (s->logged_in)
        *bad = (struct smtp_reply){503, "5.5.1", "You are logged in already"};
    else if (s->tx.open) /* RFC 4954 section 4 */
        *bad = (struct smtp_reply){503, "5.5.1", "There is a sender already"};
    else if (!smtp_may_login(s))
        *bad = no_tls;
    else
        return false;
    return true;
}

void smtp_auth(struct smtp_client *s, const struct smtp_command *cmd)
{
    struct buf peer CLEANUP(buf_free) = {0};
    struct smtp_reply bad = {504, "5.5.4", "This mechanism is not known here"};
    if (smtp_auth_not_now(s, &bad)) {
        if (bad.code == no_tls.code)
            log_info("login.refused", LF_STR("peer", client_peer(&s->c, &peer)),
                     LF_C("protocol", "submission"), LF_C("reason", "no TLS"));
        smtp_say_bad(s, &bad);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(smtp_mechanisms); i++) {
        if (!str_ieq(cmd->mechanism, smtp_mechanisms[i].name))
            continue;
        s->c.step = smtp_mechanisms[i].step;
        if (cmd->has_initial)
            smtp_mechanisms[i].take(s, cmd->initial);
        else
            conn_write(s->c.conn, smtp_mechanisms[i].challenge);
        return;
    }
    smtp_say_bad(s, &bad);
}

/* NULL: there is no answer. */
static void smtp_auth_outcome(struct smtp_client *s, const Thurn__Status *status)
{
    struct buf peer CLEANUP(buf_free) = {0};
    struct smtp_reply r = {235, "2.7.0", "Logged in"};
    Thurn__Code code = status ? status->code : THURN__CODE__TEMPORARY;
    s->logged_in = code == THURN__CODE__DONE;
    if (s->logged_in)
        log_info("smtp.login", LF_STR("user", s->login.user),
                 LF_STR("peer", client_peer(&s->c, &peer)), LF_U64("tls", s->c.tls));
    if (code == THURN__CODE__DENIED || code == THURN__CODE__NOT_FOUND)
        r = (struct smtp_reply){535, "5.7.8", "User or password is wrong"};
    else if (code == THURN__CODE__LIMIT_EXCEEDED)
        r = (struct smtp_reply){454, "4.7.0", "Too many connections or attempts, try again later"};
    else if (!s->logged_in)
        r = (struct smtp_reply){454, "4.7.0", "Temporary failure, try again later"};
    smtp_auth_end(s, &r);
}

void smtp_auth_answer(struct smtp_client *s, const Thurn__SmtpLoginAnswer *answer)
{
    struct str resume = pb_str(answer->resume);
    if (resume.n) {
        s->record = str_of(mem_alloc(resume.n), resume.n);
        memcpy((void *)(uintptr_t)s->record.p, resume.p, resume.n);
    }
    smtp_auth_outcome(s, answer->status);
}

static void smtp_login_lost(struct smtp_client *s)
{
    smtp_auth_outcome(s, NULL);
}

const struct smtp_request smtp_request_login = {smtp_login_ask, smtp_login_lost};
