/* COPY (RFC 3501 section 6.4.7, COPYUID of RFC 4315): new entries that show the same emails; and
 * MOVE (RFC 6851), which takes the old ones away in the same transaction. */
#include "base/base.h"
#include "imap/service/service.h"

enum {
    COPY_BATCH = 4096, /* messages in one transaction */
    /* What COPYUID may say in an answer of at most 512 KB; beyond it is left out. */
    COPY_ANSWER_RANGES = 16000,
};

struct copying {
    bool move;
    struct uid_set set;
    struct cursor cursor;
    mailbox_id target;
    uint32_t uidvalidity;
    uint32_t upto; /* the last one that was copied */
    struct num_list from, to;
    bool untold;       /* `from` is not all of it */
    uint64_t bits[64]; /* of the target, for each keyword of the source; 0: not asked for yet */
    bool more;
    struct directory_quota quota; /* none for MOVE, which adds nothing */
};

static bool copy_is_too_much(const struct copying *copying)
{
    return copying->untold || copying->from.n + copying->to.n > 2 * (size_t)COPY_ANSWER_RANGES;
}

/* A message's keywords as bits of the target; those for which it has no room are left behind. */
static uint64_t copy_keywords(struct txn *t, struct copying *copying, const Thurn__Mailbox *source,
                              uint64_t keywords)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < source->n_keywords && i < 64; i++) {
        unsigned bit;
        if (!(keywords >> i & 1))
            continue;
        if (!copying->bits[i] &&
            txn_keyword(t, copying->target, pb_str(source->keywords[i]), &bit).code == E_OK)
            copying->bits[i] = UINT64_C(1) << bit;
        bits |= copying->bits[i];
    }
    return bits;
}

static struct err copy_batch(struct imap_session *s, struct txn *t, struct copying *copying)
{
    struct command *c = &s->cmd;
    Thurn__Mailbox *source;
    memset(copying->bits, 0, sizeof copying->bits);
    cursor_rest(&copying->cursor);
    TRY(session_mailbox(s, txn_snap(t), &c->arena, &source));
    uint64_t bytes = 0;
    for (size_t i = 0; i < COPY_BATCH; i++) {
        struct entry e;
        msg_uid uid;
        TRY(cursor_next(&copying->cursor, txn_snap(t), s->at.mailbox, &s->view, &e,
                        &copying->more));
        if (!copying->more)
            return OK;
        bytes += e.size;
        TRY(quota_room(txn_snap(t), &copying->quota, bytes, i + 1));
        TRY(txn_entry_add(t, copying->target, e.email, e.flags,
                          copy_keywords(t, copying, source, e.keywords), e.internal_date, &uid));
        if (copying->move)
            TRY(txn_entry_expunge(t, s->at.mailbox, e.uid));
        copying->upto = e.uid.v;
        TRY(num_list_add(&copying->from, &c->arena, e.uid.v));
        TRY(num_list_add(&copying->to, &c->arena, uid.v));
    }
    return OK;
}

static struct err copy_answer(struct command *c, const struct copying *copying)
{
    if (copying->to.n == 0 || copy_is_too_much(copying))
        return OK;
    c->done.uidvalidity = copying->uidvalidity;
    bool ok =
        ranges_to_answer(&copying->from, &c->arena, &c->done.source_uids, &c->done.n_source_uids) &&
        ranges_to_answer(&copying->to, &c->arena, &c->done.target_uids, &c->done.n_target_uids);
    return ok ? OK : err_make(E_LIMIT, "no room for an answer");
}

/* With what a repetition needs to go on behind this transaction. Of a MOVE also at its end: it may
 * not have been told yet. */
static struct err copy_commit(struct imap_session *s, struct txn *t, struct copying *copying)
{
    Thurn__ImapRemembered r = THURN__IMAP_REMEMBERED__INIT;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 8 * 1024 * 1024);
    bool ok = true;
    r.upto = copying->more ? copying->upto : 0;
    r.expunged = copying->move;
    r.target_uidvalidity = copying->uidvalidity;
    if ((copying->more || copying->move) && !copy_is_too_much(copying))
        ok = ranges_to_answer(&copying->from, &a, &r.from, &r.n_from);
    if (copying->more || copying->move)
        ok = ok && ranges_to_answer(&copying->to, &a, &r.to, &r.n_to);
    if (ok)
        return command_commit(s, t, &r);
    txn_abort(t);
    return err_make(E_LIMIT, "no room for an answer");
}

/* One transaction. */
static struct err copy_some(struct imap_session *s, struct copying *copying)
{
    struct txn *t;
    TRY(txn_begin(s->account, &t));
    struct err e = copy_batch(s, t, copying);
    if (e.code == E_OK && !copying->more && !copying->move)
        e = copy_answer(&s->cmd, copying);
    if (e.code == E_OK)
        return copy_commit(s, t, copying);
    txn_abort(t);
    return e;
}

/* What has been moved, told before the messages are told to be gone. */
static struct err move_tell(struct imap_session *s, uint32_t uidvalidity,
                            const struct num_list *from, const struct num_list *to)
{
    struct command *c = &s->cmd;
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    if (from->n == 0)
        return OK;
    u.moved_uidvalidity = uidvalidity;
    bool ok = ranges_to_answer(from, &c->arena, &u.moved_from, &u.n_moved_from) &&
              ranges_to_answer(to, &c->arena, &u.moved_to, &u.n_moved_to);
    if (!ok)
        return err_make(E_LIMIT, "no room for an answer");
    c->expunged = true;
    size_t bytes = (u.n_moved_from + u.n_moved_to) * 16;
    bool sent = command_send(s, RPC_IMAP_UPDATES, &u.base, (struct str){0}, bytes);
    return sent ? OK : err_make(E_CLOSED, "the client's channel is gone");
}

struct err move_tell_again(struct imap_session *s, const Thurn__ImapRemembered *r)
{
    struct num_list from, to;
    TRY(ranges_from(&from, &s->cmd.arena, r->from, r->n_from));
    TRY(ranges_from(&to, &s->cmd.arena, r->to, r->n_to));
    return move_tell(s, r->target_uidvalidity, &from, &to);
}

/* Each transaction moves some, all of it or nothing: what has been moved when one fails stays
 * moved (RFC 6851 section 3.3). */
static bool move_run(struct imap_session *s, struct copying *copying)
{
    struct num_mark from = num_list_mark(&copying->from), to = num_list_mark(&copying->to);
    struct num_list new_from, new_to;
    struct arena *a = &s->cmd.arena;
    struct err e = copy_some(s, copying);
    if (e.code == E_OK)
        e = num_list_since(&copying->from, from, a, &new_from);
    if (e.code == E_OK)
        e = num_list_since(&copying->to, to, a, &new_to);
    if (e.code == E_OK)
        e = move_tell(s, copying->uidvalidity, &new_from, &new_to);
    return e.code == E_OK ? !copying->more : command_failed(s, e);
}

/* All or nothing (section 6.4.7): takes the batches back that were made before one failed. */
static void copy_undo(struct imap_session *s, const struct copying *copying)
{
    struct txn *t;
    if (copying->to.n == 0 || txn_begin(s->account, &t).code != E_OK)
        return;
    check(copying->to.ranges);
    for (size_t i = 0; i < copying->to.n; i++)
        for (uint32_t uid = copying->to.ranges[i].first; uid <= copying->to.ranges[i].last; uid++) {
            struct err e = txn_entry_expunge(t, copying->target, (msg_uid){uid});
            if (e.code != E_OK && e.code != E_NOTFOUND) {
                txn_abort(t);
                return;
            }
        }
    struct err e = command_commit(s, t, NULL); /* a repetition is not to go on with it */
    if (e.code != E_OK)
        log_error("imap.copy_not_undone", LF_U64("account", s->account_id.v),
                  LF_U64("mailbox", copying->target.v), LF_ERR(e));
}

/* Behind what was done before the backend died. */
static struct err copy_go_on(struct imap_session *s, struct copying *copying)
{
    struct command *c = &s->cmd;
    const Thurn__ImapRemembered *r = c->before;
    TRY(ranges_from(&copying->from, &c->arena, r->from, r->n_from));
    TRY(ranges_from(&copying->to, &c->arena, r->to, r->n_to));
    copying->untold = r->n_to && !r->n_from;
    copying->upto = r->upto;
    copying->cursor.next = r->upto + 1;
    return copying->move ? move_tell_again(s, r) : OK;
}

/* Finds the target; false with the status set. */
static bool copy_begin(struct imap_session *s, const Thurn__ImapCopy *copy)
{
    struct command *c = &s->cmd;
    struct copying *copying = arena_new(&c->arena, struct copying);
    struct snap *snap;
    Thurn__Mailbox *m;
    struct err e = copying ? OK : err_make(E_LIMIT, "no room for COPY");
    if (e.code == E_OK)
        e = command_snap(s, &snap);
    if (e.code == E_OK)
        e = snap_mailbox_named(snap, pb_str(copy->mailbox), &c->arena, &m);
    if (e.code == E_NOTFOUND || (e.code == E_OK && m->no_select)) {
        command_no(c, THURN__CODE__TRY_CREATE, STR("Mailbox does not exist"));
        return false;
    }
    if (e.code == E_OK) {
        copying->move = copy->move;
        copying->target = (mailbox_id){m->id};
        copying->uidvalidity = m->uidvalidity;
        if (!command_set(s, copy->set, &copying->set))
            return false;
        if (!copy->move)
            e = quota_limits(s, &copying->quota);
    }
    if (e.code == E_OK) {
        e = cursor_init(&copying->cursor, &copying->set, &s->view, &c->arena);
    }
    if (e.code == E_OK && c->before)
        e = copy_go_on(s, copying);
    if (e.code != E_OK) {
        command_failed(s, e);
        return false;
    }
    c->state = copying;
    return true;
}

bool copy_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapCopy *copy = (const void *)c->frame->message;
    if ((copy->move && !command_may_write(s)) || (!c->state && !copy_begin(s, copy)))
        return true;
    struct copying *copying = c->state;
    check(copying);
    if (copying->move)
        return move_run(s, copying);
    struct num_mark from = num_list_mark(&copying->from), to = num_list_mark(&copying->to);
    struct err e = copy_some(s, copying);
    if (e.code == E_OK)
        return !copying->more;
    num_list_back(&copying->from, from);
    num_list_back(&copying->to, to);
    thurn__imap_done__init(&c->done);
    command_failed(s, e);
    copy_undo(s, copying);
    return true;
}
