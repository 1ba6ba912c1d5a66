/* IDLE (RFC 2177): updates are printed as they come, until the client says DONE. */
#include "base/base.h"

#include "roles/frontend/imap_client.h"

static void imap_idle_off(struct imap_client *i)
{
    Thurn__ImapIdle off = THURN__IMAP_IDLE__INIT;
    struct err e = client_ask(&i->c, ASKS_UPDATES, RPC_IMAP_IDLE, &off.base, STR(""), -1);
    if (e.code != E_OK) {
        client_drop_channel(&i->c);
        imap_lost(&i->c);
        return;
    }
    i->c.step = client_step_wait;
}

static bool imap_step_idle(struct client *c)
{
    struct imap_client *i = imap_client(c);
    struct imap_parsed p;
    imap_parse_done(&i->parser, conn_in(c->conn), &p);
    if (p.what == IMAP_PARSE_MORE)
        return false;
    client_progress(c);
    i->idle_bad = p.what != IMAP_PARSE_COMMAND;
    if (p.what == IMAP_PARSE_TOO_LONG && p.fatal)
        client_goodbye(c, GOODBYE_LOST);
    else
        imap_idle_off(i);
    return true;
}

void imap_idle(struct imap_client *i)
{
    struct err e = client_ask(&i->c, ASKS_IDLE, RPC_IMAP_IDLE, i->cmd.request, STR(""), -1);
    if (e.code != E_OK) {
        client_drop_channel(&i->c);
        imap_lost(&i->c);
        return;
    }
    conn_write(i->c.conn, STR("+ idling\r\n"));
    i->c.step = imap_step_idle;
}
