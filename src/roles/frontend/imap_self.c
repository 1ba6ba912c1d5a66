/* What the frontend answers without asking the backend. */
#include "base/base.h"

#include "roles/frontend/imap_client.h"

enum { ID_LOGGED = 1024 }; /* bytes of what a client says about itself */

void imap_capability(struct imap_client *i)
{
    struct buf *out = client_out(&i->c);
    buf_put(out, STR("* "));
    imap_put_capability(i, out);
    buf_put(out, STR("\r\n"));
    client_flush(&i->c);
    imap_finish(i, STR("OK"), STR("Completed"));
}

void imap_logout(struct imap_client *i)
{
    conn_write(i->c.conn, STR("* BYE Logging out\r\n"));
    imap_finish(i, STR("OK"), STR("Completed"));
    client_end(&i->c);
}

/* Everybody has one name space of his own (RFC 2342). */
void imap_namespace(struct imap_client *i)
{
    conn_write(i->c.conn, STR("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"));
    imap_finish(i, STR("OK"), STR("Completed"));
}

/* The first ID of a connection: more of them would fill the log. */
static void imap_log_id(struct imap_client *i)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct buf peer CLEANUP(buf_free) = {0};
    for (size_t k = 0; k < i->cmd.n_id; k++) {
        const struct imap_id_field *f = &i->cmd.id[k];
        buf_printf(&text, "%s%.*s=%.*s", k ? "; " : "", STR_FMT(f->name), STR_FMT(f->value));
    }
    log_info("imap.client", LF_STR("peer", client_peer(&i->c, &peer)),
             LF_STR("id", str_sub(buf_str(&text), 0, MIN(text.n, (size_t)ID_LOGGED))));
    i->identified = true;
}

void imap_id(struct imap_client *i)
{
    if (i->cmd.n_id && !i->identified)
        imap_log_id(i);
    conn_write(i->c.conn, STR("* ID (\"name\" \"Thurn\")\r\n"));
    imap_finish(i, STR("OK"), STR("Completed"));
}

/* RFC 4978: from behind this answer on, both directions. */
void imap_compress(struct imap_client *i)
{
    if (conn_is_compressed(i->c.conn)) {
        imap_finish(i, STR("NO [COMPRESSIONACTIVE]"), STR("The connection is compressed already"));
    } else if (!str_ieq(i->cmd.mechanism, STR("DEFLATE"))) {
        imap_finish(i, STR("NO"), STR("Only DEFLATE is known here"));
    } else {
        imap_finish(i, STR("OK"), STR("Compressed from here on"));
        conn_compress(i->c.conn);
    }
}

void imap_setquota(struct imap_client *i)
{
    imap_finish(i, STR("NO [NOPERM]"), STR("Quotas are set by the administrator"));
}
