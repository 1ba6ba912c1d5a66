/* What the account may hold (RFC 9208), and whether an APPEND may go on. */
#include "base/base.h"
#include "imap/service/service.h"

struct err quota_limits(struct imap_session *s, struct directory_quota *out)
{
    *out = (struct directory_quota){0};
    struct err e = directory_quota(s->host->directory, s->account_id, out);
    return e.code == E_NOTFOUND ? OK : e; /* it is being removed: no matter */
}

struct err quota_room(struct snap *snap, const struct directory_quota *q, uint64_t bytes,
                      uint64_t messages)
{
    const Thurn__AccountHead *head = snap_head(snap);
    uint64_t all;
    if (q->bytes && (__builtin_add_overflow(head->bytes, bytes, &all) || all > q->bytes))
        return err_make(E_QUOTA, "more bytes than the account may hold");
    if (q->messages &&
        (__builtin_add_overflow(head->messages, messages, &all) || all > q->messages))
        return err_make(E_QUOTA, "more messages than the account may hold");
    return OK;
}

/* ---------------------------------------------------------------------------------- the commands
 */

static struct err append_check(struct imap_session *s, struct command *c)
{
    const Thurn__ImapAppendCheck *m = (const void *)c->frame->message;
    struct snap *snap;
    struct directory_quota q;
    Thurn__Mailbox *target;
    TRY(command_snap(s, &snap));
    TRY(snap_mailbox_named(snap, pb_str(m->mailbox), &c->arena, &target));
    if (target->no_select)
        return err_make(E_NOTFOUND, "the target only holds other mailboxes");
    TRY(quota_limits(s, &q));
    return quota_room(snap, &q, m->size, m->messages);
}

bool append_check_run(struct imap_session *s, struct command *c)
{
    struct err e = append_check(s, c);
    if (e.code == E_NOTFOUND)
        return command_no(c, THURN__CODE__TRY_CREATE, STR("Mailbox does not exist"));
    return e.code == E_OK || command_failed(s, e);
}

static struct err quota_read(struct imap_session *s, struct command *c, Thurn__ImapQuotaUse *use)
{
    const Thurn__ImapQuota *m = (const void *)c->frame->message;
    struct snap *snap;
    struct directory_quota q;
    Thurn__Mailbox *mailbox;
    TRY(command_snap(s, &snap));
    if (m->mailbox.len)
        TRY(snap_mailbox_named(snap, pb_str(m->mailbox), &c->arena, &mailbox));
    TRY(quota_limits(s, &q));
    use->bytes = snap_head(snap)->bytes;
    use->messages = snap_head(snap)->messages;
    use->bytes_limit = q.bytes;
    use->messages_limit = q.messages;
    return OK;
}

/* There is one quota root, with the empty name; none without a limit. */
bool quota_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapQuota *m = (const void *)c->frame->message;
    Thurn__ImapQuotaUse *use = arena_new(&c->arena, Thurn__ImapQuotaUse);
    if (!use)
        return command_failed(s, err_make(E_LIMIT, "no room for an answer"));
    thurn__imap_quota_use__init(use);
    struct err e = quota_read(s, c, use);
    if (e.code != E_OK)
        return command_failed(s, e);
    bool limited = use->bytes_limit || use->messages_limit;
    if (!m->mailbox.len && (m->root.len || !limited))
        return command_no(c, THURN__CODE__NOT_FOUND, STR("There is no such quota root"));
    if (limited)
        c->done.quota = use;
    return true;
}
