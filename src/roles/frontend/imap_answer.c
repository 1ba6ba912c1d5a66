/* What the backend answers, as text. */
#include "base/base.h"

#include "roles/frontend/imap_client.h"

/* The mailbox selected before is left (RFC 7162 section 3.2.11). */
#define CLOSED_LINE "* OK [CLOSED] Previous mailbox is closed\r\n"

/* The backend's sentence, unless it has none or one that does not belong on a line. */
static struct str imap_done_text(const Thurn__Status *status)
{
    struct str text = pb_str(status->text);
    if (status->code == THURN__CODE__DONE)
        return STR("Completed");
    bool plain = text.n > 0 && text.n <= 400 && str_cmp(str_sub(text, 0, 1), STR("[")) != 0;
    for (struct cur c = cur_of(text); plain && !cur_end(&c);) {
        uint8_t b = cur_byte(&c);
        plain = b >= ' ' && b < 127;
    }
    return plain ? text : STR("Failed");
}

static void imap_answer_broken(struct imap_client *i, struct err why)
{
    log_error("backend.wrong-answer", LF_ERR(why));
    client_drop_channel(&i->c);
    i->c.asked = false;
    imap_lost(&i->c);
}

/* The session cannot go on. */
static void imap_answer_bye(struct imap_client *i, const Thurn__ImapBye *bye)
{
    log_info("imap.session-ended",
             LF_STR("reason", bye->status ? pb_str(bye->status->text) : STR("")));
    client_end(&i->c);
    if (i->printer && !imap_fetch_printer_complete(i->printer))
        return; /* inside a literal */
    struct buf *out = client_out(&i->c);
    imap_end_numbers(&i->numbers, out);
    buf_put(out, STR("* BYE "));
    buf_put(out, bye->status ? imap_done_text(bye->status) : STR("Log in again"));
    buf_put(out, STR("\r\n"));
    client_flush(&i->c);
}

static void imap_answer_rows(struct imap_client *i, const Thurn__ImapRows *rows, struct str raw)
{
    struct buf *out = client_out(&i->c);
    struct err e = imap_fetch_print_rows(i->printer, out, rows, raw);
    if (out->n) /* else it was told before, by a backend that died */
        client_told(&i->c);
    client_flush(&i->c);
    if (e.code != E_OK) {
        log_error("backend.wrong-answer", LF_ERR(e));
        client_end(&i->c); /* no goodbye: the client may be inside a literal */
    }
}

static void imap_answer_updates(struct imap_client *i, const Thurn__ImapUpdates *u)
{
    if (i->printer && !imap_fetch_printer_complete(i->printer)) {
        imap_answer_broken(i, err_make(E_INVALID, "updates inside a row"));
        return;
    }
    struct buf *out = client_out(&i->c);
    imap_end_numbers(&i->numbers, out);
    if (u->selected && i->state == IMAP_SELECTED)
        buf_put(out, STR(CLOSED_LINE));
    i->selected_told |= u->selected != NULL;
    imap_print_updates(out, u, &i->names, i->cmd.uid);
    client_flush(&i->c);
    imap_keep_record(i, u->resume);
}

static void imap_answer_mailboxes(struct imap_client *i, const Thurn__ImapMailboxes *m)
{
    const Thurn__ImapList *asked = (const Thurn__ImapList *)i->cmd.request;
    Thurn__ImapMailboxes fresh = *m;
    fresh.n_rows = 0;
    for (size_t k = 0; k < m->n_rows; k++) /* the others have been told before the backend died */
        if (!map_set(&i->listed, pb_str(m->rows[k]->name), i))
            m->rows[fresh.n_rows++] = m->rows[k];
    imap_print_mailboxes(client_out(&i->c), &fresh, i->cmd.list_options, asked->status_items);
    client_flush(&i->c);
}

static void imap_answer_numbers(struct imap_client *i, const Thurn__ImapNumbers *n)
{
    imap_print_numbers(&i->numbers, client_out(&i->c), &i->cmd, n);
    client_flush(&i->c);
}

/* ----------------------------------------------------------------------------- end of the command
 */

static void imap_done_select(struct imap_client *i, const Thurn__ImapDone *d, struct buf *out)
{
    bool ok = d->status->code == THURN__CODE__DONE && d->selected;
    bool told = ok && i->selected_told;
    if (i->state == IMAP_SELECTED && !i->selected_told)
        buf_put(out, STR(CLOSED_LINE));
    if (told) {
        i->state = IMAP_SELECTED;
        return;
    }
    imap_names_set(&i->names, ok ? d->selected->keywords : NULL, ok ? d->selected->n_keywords : 0);
    i->names.read_only = ok && d->selected->read_only;
    /* A SELECT that fails leaves no mailbox selected (RFC 3501 section 6.3.1). */
    i->state = ok ? IMAP_SELECTED : IMAP_AUTHENTICATED;
    if (ok)
        imap_print_selected(out, d->selected);
}

static void imap_done_status(struct imap_client *i, const Thurn__ImapDone *d, struct buf *out)
{
    const Thurn__ImapStatus *asked = (const Thurn__ImapStatus *)i->cmd.request;
    if (d->mailbox_status)
        imap_print_status(out, pb_str(asked->mailbox), asked->items, d->mailbox_status);
}

/* What a command shows at its end, and what it makes of the connection's state. */
static void imap_done_effects(struct imap_client *i, const Thurn__ImapDone *d, struct buf *out)
{
    static const Thurn__ImapNumbers nothing_found = THURN__IMAP_NUMBERS__INIT;
    bool ok = d->status->code == THURN__CODE__DONE;
    switch (i->cmd.verb) {
    case IMAP_SELECT:
    case IMAP_EXAMINE: imap_done_select(i, d, out); break;
    case IMAP_CLOSE:
    case IMAP_UNSELECT:
        if (ok)
            i->state = IMAP_AUTHENTICATED;
        break;
    case IMAP_STATUS: imap_done_status(i, d, out); break;
    case IMAP_SEARCH:
        if (ok)
            imap_print_numbers(&i->numbers, out, &i->cmd, &nothing_found);
        imap_end_numbers(&i->numbers, out);
        break;
    case IMAP_ENABLE:
        if (ok)
            imap_print_enabled(out, ((const Thurn__ImapEnable *)i->cmd.request)->extensions);
        break;
    case IMAP_GETQUOTA:
        if (ok && d->quota)
            imap_print_quota(out, d->quota);
        break;
    case IMAP_GETQUOTAROOT:
        if (ok)
            imap_print_quota_root(out, pb_str(((const Thurn__ImapQuota *)i->cmd.request)->mailbox),
                                  d->quota);
        break;
    default: break;
    }
}

static void imap_done_tagged(struct imap_client *i, const Thurn__ImapDone *d)
{
    bool ok = d->status->code == THURN__CODE__DONE, bad = d->status->code == THURN__CODE__INVALID;
    struct buf word CLEANUP(buf_free) = {0};
    buf_put(&word, ok ? STR("OK ") : bad ? STR("BAD ") : STR("NO "));
    if (!bad)
        imap_print_done_code(&word, i->cmd.verb, d);
    imap_finish(i, str_trim(buf_str(&word)), imap_done_text(d->status));
    if (bad)
        client_bad(&i->c);
}

static void imap_answer_done(struct imap_client *i, const Thurn__ImapDone *d)
{
    if (!d->status || (i->printer && !imap_fetch_printer_complete(i->printer))) {
        imap_answer_broken(i, err_make(E_INVALID, "an end without status, or inside a row"));
        return;
    }
    client_answered(&i->c);
    imap_keep_record(i, d->resume);
    if (imap_is_idle(i)) {
        imap_idle_told(i);
        return;
    }
    if (i->state == IMAP_NOT_AUTHENTICATED) {
        imap_login_done(i, d);
        return;
    }
    if (i->append_asking && d->status->code == THURN__CODE__DONE) {
        imap_append_permitted(i);
        return;
    }
    struct buf *out = client_out(&i->c);
    imap_done_effects(i, d, out);
    client_flush(&i->c);
    imap_done_tagged(i, d);
}

void imap_answer(struct client *c, const struct frame *f)
{
    struct imap_client *i = imap_client(c);
    switch (f->type->number) {
    case RPC_IMAP_ROWS: imap_answer_rows(i, (const void *)f->message, f->raw); break;
    case RPC_IMAP_BYTES: imap_answer_rows(i, NULL, f->raw); break;
    case RPC_IMAP_UPDATES: imap_answer_updates(i, (const void *)f->message); break;
    case RPC_IMAP_MAILBOXES: imap_answer_mailboxes(i, (const void *)f->message); break;
    case RPC_IMAP_NUMBERS: imap_answer_numbers(i, (const void *)f->message); break;
    case RPC_IMAP_DONE: imap_answer_done(i, (const void *)f->message); break;
    case RPC_IMAP_BYE: imap_answer_bye(i, (const void *)f->message); break;
    }
}
