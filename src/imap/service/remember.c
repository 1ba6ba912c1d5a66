/* Requests that name themselves: what is remembered of them with the change that they make, and
 * what a repetition finds (after a backend has died, nobody knows how far it came). */
#include "base/base.h"
#include "imap/service/service.h"

bool request_change(const ProtobufCMessage *m, change_id *out)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "change");
    if (!field)
        return false;
    const ProtobufCBinaryData *change = (const void *)((const char *)m + field->offset);
    if (change->len != sizeof out->b)
        return false;
    memcpy(out->b, change->data, sizeof out->b);
    return true;
}

struct err command_commit_unnamed(struct imap_session *s, struct txn *t)
{
    command_snap_drop(&s->cmd);
    return txn_commit(t);
}

struct err command_commit(struct imap_session *s, struct txn *t, Thurn__ImapRemembered *so_far)
{
    struct command *c = &s->cmd;
    change_id id;
    Thurn__ImapRemembered all = THURN__IMAP_REMEMBERED__INIT;
    if (!request_change(c->frame->message, &id))
        return command_commit_unnamed(s, t);
    if (!so_far)
        so_far = &all;
    if (so_far == &all || so_far->upto == 0) {
        c->done.status = &c->status;
        so_far->done = &c->done;
    }
    struct buf packed CLEANUP(buf_free) = {0};
    pb_pack(&packed, &so_far->base);
    struct err e = buf_err(&packed);
    if (e.code == E_OK)
        e = txn_done(t, id, buf_str(&packed));
    if (e.code == E_OK)
        return command_commit_unnamed(s, t);
    txn_abort(t);
    return e;
}

/* The answer of a request that has been done. CLOSE has told nobody, but it must unselect. */
static bool answer_again(struct imap_session *s, const Thurn__ImapRemembered *r)
{
    struct command *c = &s->cmd;
    if (!r->done->status)
        return command_failed(s, err_make(E_CORRUPT, "the answer of a request done before"));
    c->done = *r->done;
    c->status = *r->done->status;
    c->expunged = r->expunged;
    if (c->request->run == close_run)
        session_unselect(s);
    if (r->n_from) {
        struct err e = move_tell_again(s, r);
        if (e.code != E_OK)
            log_warn("imap.moves_not_told", LF_U64("account", s->account_id.v), LF_ERR(e));
    }
    return true;
}

bool command_repeat(struct imap_session *s)
{
    struct command *c = &s->cmd;
    change_id id;
    struct snap *snap;
    struct str packed;
    bool may = s->may_repeat;
    s->may_repeat = false;
    if (!may || !request_change(c->frame->message, &id) || command_snap(s, &snap).code != E_OK ||
        snap_done(snap, id, &c->arena, &packed).code != E_OK)
        return false;
    const Thurn__ImapRemembered *r =
        (void *)pb_unpack(&c->arena, &thurn__imap_remembered__descriptor, packed);
    if (!r)
        return command_failed(s, err_make(E_CORRUPT, "the answer of a request done before"));
    if (r->done)
        return answer_again(s, r);
    c->before = r;
    c->expunged = r->expunged;
    return false;
}
