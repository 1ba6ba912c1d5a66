/* What lets an IMAP session outlive its channel and its backend: its record, which the backend has
 * sealed, and repeating the command that was under way. A changing command has a name of its own,
 * by which the backend knows it again; of an answer that was told in part the rest is asked for, or
 * comes again and is left out here. */
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
