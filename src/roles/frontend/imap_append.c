#include "base/base.h"

#include "roles/frontend/imap_client.h"

/* Behind the literal only the line end may stand. */
static bool imap_step_append_tail(struct client *c)
{
    struct imap_client *i = imap_client(c);
    struct imap_parsed p;
    imap_parse_tail(&i->parser, conn_in(c->conn), &p);
    if (p.what == IMAP_PARSE_MORE)
        return false;
    client_progress(c);
    struct str raw;
    int fd;
    if (p.what != IMAP_PARSE_COMMAND) {
        imap_finish_refused(i, &p);
    } else if (i->body.failed || body_finish(&i->body, &raw, &fd).code != E_OK) {
        imap_finish(i, STR("NO [UNAVAILABLE]"), STR("No memory for the message, try again later"));
    } else {
        imap_forward(i, raw, fd);
        body_free(&i->body); /* the channel has it now */
    }
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

void imap_append(struct imap_client *i, const struct imap_parsed *p)
{
    body_init(&i->body, p->literal, &i->c.fe->bodies); /* the parser has checked the limit */
    i->append_left = p->literal;
    if (!p->non_sync)
        conn_write(i->c.conn, STR("+ OK\r\n"));
    i->c.step = imap_step_append;
}
