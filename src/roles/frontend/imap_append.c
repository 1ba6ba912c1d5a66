#include "base/base.h"

#include "roles/frontend/imap_client.h"

static void imap_append_message(struct imap_client *i, const struct imap_parsed *p);

/* All messages have come; the body holds them one behind the other. */
static void imap_append_ended(struct imap_client *i)
{
    struct str raw;
    int fd;
    if (i->append_cancelled) {
        imap_finish(i, STR("NO"), STR("An empty message cancels the command, nothing was added"));
    } else if (i->body.too_large) { /* the limit has been lowered meanwhile */
        imap_finish(i, STR("NO [TOOBIG]"), STR("The messages are too large"));
    } else if (i->body.failed || body_finish(&i->body, &raw, &fd).code != E_OK) {
        imap_finish(i, STR("NO [UNAVAILABLE]"), STR("No memory for the message, try again later"));
    } else {
        imap_forward(i, raw, fd); /* the body stays, to be repeated */
    }
}

/* Behind a literal the line ends, or another message is announced. */
static bool imap_step_append_tail(struct client *c)
{
    struct imap_client *i = imap_client(c);
    struct imap_parsed p;
    imap_parse_tail(&i->parser, conn_in(c->conn), &i->arena, &i->cmd, &p);
    if (p.what == IMAP_PARSE_MORE)
        return false;
    client_progress(c);
    if (p.what == IMAP_PARSE_MESSAGE)
        imap_append_message(i, &p);
    else if (p.what == IMAP_PARSE_COMMAND)
        imap_append_ended(i);
    else
        imap_finish_refused(i, &p);
    return true;
}

static bool imap_step_append(struct client *c)
{
    struct imap_client *i = imap_client(c);
    struct buf *in = conn_in(c->conn);
    size_t n = (size_t)MIN((uint64_t)in->n, i->append_left);
    body_put(&i->body, str_sub(buf_str(in), 0, n));
    buf_consume(in, n);
    i->append_left -= n;
    client_progress_bytes(c, n);
    if (i->append_left)
        return false;
    c->step = imap_step_append_tail;
    return true;
}

void imap_append_ask(struct imap_client *i)
{
    i->append_asking = true;
    i->c.step = client_step_wait;
    struct err e =
        client_ask(&i->c, ASKS_UPDATES, RPC_IMAP_APPEND_CHECK, &i->append_check.base, STR(""), -1);
    if (e.code == E_OK)
        return;
    log_warn("imap.cannot-ask", LF_ERR(e));
    client_drop_channel(&i->c);
    imap_lost(&i->c);
}

void imap_append_permitted(struct imap_client *i)
{
    i->append_asking = false;
    conn_write(i->c.conn, STR("+ OK\r\n"));
    i->c.step = imap_step_append;
}

static void imap_append_message(struct imap_client *i, const struct imap_parsed *p)
{
    i->append_cancelled |= p->literal == 0; /* RFC 3502 section 6.3.11 */
    i->append_left = p->literal;
    i->append_check.size += p->literal;
    i->append_check.messages++;
    if (p->non_sync)
        i->c.step = imap_step_append; /* it comes anyhow; the backend refuses the command */
    else
        imap_append_ask(i);
}

void imap_append(struct imap_client *i, const struct imap_parsed *p)
{
    /* The parser has compared the sizes with the limits. */
    body_init(&i->body, rpc_append_limit(frontend_settings(i->c.fe)->message_size_limit),
              &i->c.fe->bodies);
    i->append_cancelled = false;
    i->append_check = (Thurn__ImapAppendCheck)THURN__IMAP_APPEND_CHECK__INIT;
    i->append_check.mailbox = ((const Thurn__ImapAppend *)i->cmd.request)->mailbox;
    imap_append_message(i, p);
}
