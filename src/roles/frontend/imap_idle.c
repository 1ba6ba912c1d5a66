/* IDLE (RFC 2177). The client is told the news and sleeps: it has no channel, the backend has its
 * record and pokes when there is more. Then the session is there for a moment, tells, and sleeps
 * again. */
#include "base/base.h"

#include "roles/frontend/imap_client.h"

static void imap_idle_end(struct imap_client *i)
{
    client_wait_no_more(&i->c);
    i->cmd.tag = i->idle_tag;
    if (i->idle_bad)
        imap_finish_bad(i, "IDLE ends with DONE");
    else
        imap_finish(i, STR("OK"), STR("Completed"));
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
    i->idle_over = true;
    if (p.what == IMAP_PARSE_TOO_LONG && p.fatal)
        client_goodbye(c, GOODBYE_LOST);
    else if (c->asked)
        c->step = client_step_wait; /* for the news that are on their way */
    else
        imap_idle_end(i);
    return true;
}

void imap_idle_ask(struct imap_client *i)
{
    Thurn__ImapNoop noop = THURN__IMAP_NOOP__INIT;
    struct err e = client_ask(&i->c, ASKS_UPDATES, RPC_IMAP_NOOP, &noop.base, STR(""), -1);
    if (e.code == E_OK)
        return;
    log_warn("imap.cannot-ask", LF_ERR(e));
    client_drop_channel(&i->c);
    imap_lost(&i->c);
}

void imap_idle_told(struct imap_client *i)
{
    if (i->idle_over) {
        imap_idle_end(i);
        return;
    }
    client_drop_channel(&i->c);
    client_sleep(&i->c);
}

void imap_woken(struct client *c)
{
    imap_idle_ask(imap_client(c));
}

void imap_idle(struct imap_client *i)
{
    i->idle_tag = str_of(mem_alloc(i->cmd.tag.n), i->cmd.tag.n);
    memcpy((void *)(uintptr_t)i->idle_tag.p, i->cmd.tag.p, i->cmd.tag.n);
    i->idle_since = clock_mono_us();
    arena_free(&i->arena);
    i->cmd = (struct imap_command){.verb = IMAP_IDLE};
    conn_write(i->c.conn, STR("+ idling\r\n"));
    i->c.step = imap_step_idle;
    imap_idle_ask(i);
}
