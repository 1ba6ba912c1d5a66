/* What lets an IMAP session outlive its channel and its backend: its record, which the backend has
 * sealed, and repeating the command that was under way. A changing command has a name of its own,
 * by which the backend knows it again; of an answer that was told in part the rest is asked for, or
 * comes again and is left out here. A command that no backend survives is given up. */
#include "base/base.h"

#include "roles/frontend/imap_client.h"

struct str imap_record(const struct client *c)
{
    return container_of(c, const struct imap_client, c)->record;
}

void imap_keep_record(struct imap_client *i, ProtobufCBinaryData sealed)
{
    if (sealed.len == 0)
        return;
    if (sealed.len != i->record.n) {
        free((void *)(uintptr_t)i->record.p);
        i->record = str_of(mem_alloc(sealed.len), sealed.len);
    }
    memcpy((void *)(uintptr_t)i->record.p, sealed.data, sealed.len);
}

/* Asks only for what the client has not been told. */
static void imap_shorten(struct imap_client *i)
{
    if (i->printer) {
        Thurn__ImapFetch *fetch = (Thurn__ImapFetch *)i->cmd.request;
        imap_fetch_printer_again(i->printer, &fetch->after, &fetch->open);
    }
    if (i->selected_told)
        ((Thurn__ImapSelect *)i->cmd.request)->go_on = true;
    imap_numbers_again(&i->numbers);
}

void imap_repeat(struct client *c)
{
    struct imap_client *i = imap_client(c);
    if (imap_is_idle(i)) {
        imap_idle_ask(i);
        return;
    }
    if (i->append_asking) {
        imap_append_ask(i);
        return;
    }
    imap_shorten(i);
    imap_ask(i);
}

/* Whether client and record agree on where the session stands. SELECT may have left the mailbox
 * before, and IDLE ends when the client says so. */
static bool imap_may_go_on(const struct imap_client *i)
{
    bool selects = i->cmd.verb == IMAP_SELECT || i->cmd.verb == IMAP_EXAMINE;
    bool inside = i->printer && !imap_fetch_printer_complete(i->printer);
    return !inside && !imap_is_idle(i) &&
           !(selects && (i->state == IMAP_SELECTED || i->selected_told));
}

void imap_give_up(struct client *c)
{
    struct imap_client *i = imap_client(c);
    if (!imap_may_go_on(i)) {
        imap_lost(c);
        return;
    }
    imap_end_numbers(&i->numbers, client_out(c));
    client_flush(c);
    imap_finish(i, STR("NO [UNAVAILABLE]"),
                imap_change(i)
                    ? STR("The mail store has failed at this several times; what was to be changed "
                          "may have been changed or not. Look before you try again")
                    : STR("The mail store has failed at this several times; the administrator "
                          "finds more in the log"));
}
