/* APPEND (RFC 3501 section 6.3.11), also of many messages (RFC 3502); APPENDUID of RFC 4315. */
#include "base/base.h"
#include "imap/service/service.h"

/* Messages are hashed one by one, as long as the slice lasts; then one transaction adds them all.
 */
struct appending {
    struct new_email *emails;
    struct buf *flat; /* records for messages whose own cannot be used */
    size_t n, next;   /* all, and those that are ready */
    bool keywords_full;
    struct directory_quota quota;
};

static void appending_release(void *state)
{
    struct appending *ap = state;
    for (size_t i = 0; i < ap->next; i++) {
        body_unref(ap->emails[i].body);
        buf_free(&ap->flat[i]);
    }
}

/* The mailbox that messages are to be put into; E_NOTFOUND also for one that only holds others:
 * it can be made one that holds messages. */
static struct err append_target(struct command *c, struct txn *t, struct str name,
                                Thurn__Mailbox **out)
{
    Thurn__Mailbox *m;
    TRY(snap_mailbox_named(txn_snap(t), name, &c->arena, &m));
    if (m->no_select)
        return err_make(E_NOTFOUND, "the target only holds other mailboxes");
    *out = m;
    return OK;
}

static struct err append_entry(struct txn *t, mailbox_id id, const Thurn__AppendMessage *message,
                               const struct new_email *email, uint64_t keywords, msg_uid *uid)
{
    email_id added;
    uint32_t flags = message->flags ? message->flags->system & FLAGS_STORED : 0;
    TRY(txn_email_add(t, email, &added));
    return txn_entry_add(t, id, added, flags, keywords,
                         message->has_date ? message->internal_date : clock_wall_s(), uid);
}

/* All of them, or none. */
static struct err append_quota(struct imap_session *s, struct txn *t, const struct appending *ap)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < ap->n; i++)
        bytes += s->cmd.scanned->messages[i].message.n;
    return quota_room(txn_snap(t), &ap->quota, bytes, ap->n);
}

static struct err append_entries(struct imap_session *s, struct txn *t, struct appending *ap)
{
    struct command *c = &s->cmd;
    const Thurn__ImapAppend *append = (const void *)c->frame->message;
    struct num_list uids = {0};
    Thurn__Mailbox *m;
    TRY(append_target(c, t, pb_str(append->mailbox), &m));
    TRY(append_quota(s, t, ap));
    for (size_t i = 0; i < ap->n; i++) {
        const Thurn__AppendMessage *message = append->messages[i];
        mailbox_id id = {m->id};
        uint64_t keywords;
        msg_uid uid;
        struct err e = keywords_make(t, id, message->flags, &keywords);
        ap->keywords_full = e.code == E_LIMIT;
        TRY(e);
        TRY(append_entry(t, id, message, &ap->emails[i], keywords, &uid));
        TRY(num_list_add(&uids, &c->arena, uid.v));
    }
    c->done.uidvalidity = m->uidvalidity;
    return ranges_to_answer(&uids, &c->arena, &c->done.target_uids, &c->done.n_target_uids)
               ? OK
               : err_make(E_LIMIT, "no room for an answer");
}

/* All or nothing. */
static struct err append_write(struct imap_session *s, struct appending *ap)
{
    struct txn *t;
    TRY(txn_begin(s->account, &t));
    struct err e = append_entries(s, t, ap);
    if (e.code == E_OK)
        return command_commit(s, t, NULL);
    txn_abort(t);
    return e;
}

/* Takes back what an answer would say of a change that was not made. */
static void append_no_answer(struct command *c)
{
    thurn__imap_done__init(&c->done);
}

static void append_take(struct imap_session *s, struct appending *ap,
                        const struct imap_scanned_message *in)
{
    struct new_email *email = &ap->emails[ap->next];
    struct buf *flat = &ap->flat[ap->next++];
    *email = (struct new_email){.record = in->record, .text = in->text, .why = STR("append")};
    if (email_record_check(in->record, in->message.n, in->text.n).code != E_OK) {
        log_warn("imap.record_refused", LF_U64("account", s->account_id.v),
                 LF_U64("size", in->message.n));
        email_record_flat(in->message.n, flat);
        email->record = buf_str(flat);
        email->text = (struct str){0};
    }
    email->body = body_new(in->message);
}

/* True: there is something to go on with; false: the status says why not. */
static bool append_begin(struct imap_session *s, struct command *c)
{
    const Thurn__ImapAppend *append = (const void *)c->frame->message;
    const struct imap_scanned *in = c->scanned;
    check(in && in->n == append->n_messages);
    for (size_t i = 0; i < in->n; i++)
        if (in->messages[i].message.n > s->host->message_size_limit) {
            command_no(c, THURN__CODE__TOO_LARGE, STR("Message is too large"));
            return false;
        }
    struct appending *ap = arena_new(&c->arena, struct appending);
    if (ap) {
        ap->n = in->n;
        ap->emails = arena_array(&c->arena, struct new_email, in->n);
        ap->flat = arena_array(&c->arena, struct buf, in->n);
    }
    if (!ap || !ap->emails || !ap->flat) {
        command_failed(s, err_make(E_LIMIT, "no room for APPEND"));
        return false;
    }
    struct err e = quota_limits(s, &ap->quota);
    if (e.code != E_OK) {
        command_failed(s, e);
        return false;
    }
    c->state = ap;
    c->release = appending_release;
    return true;
}

bool append_run(struct imap_session *s, struct command *c)
{
    if (!c->state && !append_begin(s, c))
        return true;
    struct appending *ap = c->state;
    while (ap->next < ap->n) {
        append_take(s, ap, &c->scanned->messages[ap->next]);
        if (ap->next < ap->n && command_must_yield(s))
            return false;
    }
    struct err e = append_write(s, ap);
    if (e.code == E_OK)
        return true;
    append_no_answer(c);
    command_failed(s, e);
    if (ap->keywords_full)
        command_no(c, THURN__CODE__LIMIT_EXCEEDED, text_keywords_full);
    if (e.code == E_NOTFOUND)
        command_no(c, THURN__CODE__TRY_CREATE, STR("Mailbox does not exist"));
    return true;
}
