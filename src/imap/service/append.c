/* APPEND (RFC 3501 section 6.3.11, APPENDUID of RFC 4315). */
#include "base/base.h"
#include "imap/service/service.h"

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

static struct err append_entry(struct command *c, struct txn *t, const Thurn__Mailbox *m,
                               const struct new_email *email, msg_uid *uid)
{
    const Thurn__ImapAppend *append = (const void *)c->frame->message;
    mailbox_id id = {m->id};
    email_id added;
    uint64_t keywords;
    uint32_t flags = append->flags ? append->flags->system & FLAGS_STORED : 0;
    TRY(keywords_make(t, id, append->flags, &keywords));
    TRY(txn_email_add(t, email, &added));
    return txn_entry_add(t, id, added, flags, keywords,
                         append->has_date ? append->internal_date : clock_wall_s(), uid);
}

static struct err append_answer(struct command *c, const Thurn__Mailbox *m, msg_uid uid)
{
    struct num_list uids = {0};
    TRY(num_list_add(&uids, &c->arena, uid.v));
    c->done.uidvalidity = m->uidvalidity;
    return ranges_to_answer(&uids, &c->arena, &c->done.target_uids, &c->done.n_target_uids)
               ? OK
               : err_make(E_LIMIT, "no room for an answer");
}

static struct err append_write(struct imap_session *s, const struct new_email *email)
{
    struct command *c = &s->cmd;
    const Thurn__ImapAppend *append = (const void *)c->frame->message;
    struct txn *t;
    Thurn__Mailbox *m;
    msg_uid uid;
    TRY(txn_begin(s->account, &t));
    struct err e = append_target(c, t, pb_str(append->mailbox), &m);
    if (e.code == E_OK)
        e = append_entry(c, t, m, email, &uid);
    if (e.code == E_OK)
        e = append_answer(c, m, uid);
    if (e.code == E_OK)
        return command_commit(s, t, true);
    txn_abort(t);
    return e;
}

/* Takes back what an answer would say of a change that was not made. */
static void append_no_answer(struct command *c)
{
    thurn__imap_done__init(&c->done);
}

bool append_run(struct imap_session *s, struct command *c)
{
    const struct imap_scanned *in = c->scanned;
    check(in);
    if (in->message.n > s->host->message_size_limit)
        return command_no(c, THURN__CODE__TOO_LARGE, STR("Message is too large"));
    struct buf flat CLEANUP(buf_free) = {0};
    struct new_email email = {.record = in->record, .text = in->text, .why = STR("append")};
    if (email_record_check(in->record, in->message.n, in->text.n).code != E_OK) {
        log_warn("imap.record_refused", LF_U64("account", s->account_id.v),
                 LF_U64("size", in->message.n));
        email_record_flat(in->message.n, &flat);
        email.record = buf_str(&flat);
        email.text = (struct str){0};
    }
    email.body = body_new(in->message);
    struct err e = append_write(s, &email);
    body_unref(email.body);
    if (e.code == E_OK)
        return true;
    append_no_answer(c);
    command_failed(s, e);
    if (e.code == E_NOTFOUND)
        command_no(c, THURN__CODE__TRY_CREATE, STR("Mailbox does not exist"));
    return true;
}
