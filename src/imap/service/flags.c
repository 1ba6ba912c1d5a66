/* STORE, EXPUNGE and CLOSE (RFC 3501 sections 6.4.2, 6.4.3, 6.4.6): changes of the selected
 * mailbox, in transactions of limited size. */
#include "base/base.h"
#include "imap/service/service.h"

enum {
    CHANGE_BATCH = 4096,
    MODIFIED_RANGES = 16000, /* what an answer of at most 512 KB can say */
};

/* ---------------------------------------------------------------------------------------- STORE */

struct stored_row {
    struct entry entry;
    bool quiet; /* the modseq only */
};

struct storing {
    struct uid_set set;
    struct cursor cursor;
    struct stored_row *rows; /* to be told of this batch, as they are after it */
    size_t n_rows, rows_cap;
    uint64_t keywords;        /* of the request, in this mailbox */
    struct num_list modified; /* that UNCHANGEDSINCE left alone, as the request counts */
    bool more, changed;
    bool keywords_full;
};

static bool storing_begin(struct imap_session *s, const Thurn__ImapStore *store)
{
    struct command *c = &s->cmd;
    if (store->conditional)
        session_enable_condstore(s);
    c->own_keywords = store->flags && store->flags->n_keywords;
    struct storing *st = arena_new(&c->arena, struct storing);
    if (st && !command_set(s, store->set, &st->set))
        return false;
    struct err e = err_make(E_LIMIT, "no room for STORE");
    if (st) {
        st->rows_cap = MIN(uid_set_count(&st->set, &s->view, CHANGE_BATCH), CHANGE_BATCH);
        st->rows = arena_array(&c->arena, struct stored_row, st->rows_cap + 1);
    }
    if (st && st->rows)
        e = cursor_init(&st->cursor, &st->set, &s->view, &c->arena);
    if (e.code != E_OK) {
        command_failed(s, e);
        return false;
    }
    if (c->before) { /* what was done before the backend died */
        e = ranges_from(&st->modified, &c->arena, c->before->modified, c->before->n_modified);
        st->cursor.next = c->before->upto + 1;
    }
    if (e.code != E_OK) {
        command_failed(s, e);
        return false;
    }
    c->state = st;
    return true;
}

static void flags_apply(const Thurn__ImapStore *store, uint64_t keywords, struct entry *e)
{
    uint32_t system = store->flags ? store->flags->system & FLAGS_STORED : 0;
    switch (store->mode) {
    case THURN__IMAP_STORE__MODE__ADD:
        e->flags |= system;
        e->keywords |= keywords;
        break;
    case THURN__IMAP_STORE__MODE__REMOVE:
        e->flags &= ~system;
        e->keywords &= ~keywords;
        break;
    default:
        e->flags = system;
        e->keywords = keywords;
        break;
    }
}

static struct err storing_entry(struct imap_session *s, struct txn *t, struct storing *st,
                                struct entry e)
{
    const Thurn__ImapStore *store = (const void *)s->cmd.frame->message;
    struct entry was = e;
    if (store->conditional && e.modseq.v > store->unchanged_since)
        return num_list_add(&st->modified, &s->cmd.arena,
                            store->set->uid ? e.uid.v : view_seq(&s->view, e.uid).v);
    flags_apply(store, st->keywords, &e);
    if (e.flags != was.flags || e.keywords != was.keywords) {
        TRY(txn_entry_flags(t, s->at.mailbox, e.uid, e.flags, e.keywords));
        e.modseq = txn_modseq(t);
        st->changed = true;
    }
    /* What another session changed unknown to this client is told even if silence was asked for:
     * nobody else will tell it now. */
    bool unknown = was.modseq.v > s->at.flags_at.v && !command_owns(&s->cmd, was.modseq);
    bool quiet = store->silent && !unknown;
    if (!quiet || (s->condstore && e.modseq.v != was.modseq.v))
        st->rows[st->n_rows++] = (struct stored_row){e, quiet};
    return OK;
}

static struct err storing_batch(struct imap_session *s, struct txn *t, struct storing *st)
{
    const Thurn__ImapStore *store = (const void *)s->cmd.frame->message;
    Thurn__Mailbox *m;
    st->n_rows = 0;
    st->changed = false;
    cursor_rest(&st->cursor);
    TRY(session_mailbox(s, txn_snap(t), &s->cmd.arena, &m));
    if (store->mode == THURN__IMAP_STORE__MODE__REMOVE) {
        st->keywords = keywords_find(m, store->flags);
    } else {
        struct err e = keywords_make(t, s->at.mailbox, store->flags, &st->keywords);
        st->keywords_full = e.code == E_LIMIT;
        TRY(e);
    }
    for (size_t i = 0; i < st->rows_cap; i++) {
        struct entry e;
        TRY(cursor_next(&st->cursor, txn_snap(t), s->at.mailbox, &s->view, &e, &st->more));
        if (!st->more)
            return OK;
        TRY(storing_entry(s, t, st, e));
    }
    st->more = st->rows_cap == CHANGE_BATCH;
    return OK;
}

/* What is remembered with this transaction: the answer with the last one, else how far it came. */
static struct err storing_remember(struct command *c, const struct storing *st, struct arena *a,
                                   Thurn__ImapRemembered *r)
{
    bool fits = st->modified.n <= MODIFIED_RANGES;
    r->upto = st->more ? st->cursor.next - 1 : 0;
    if (fits && st->more)
        fits = ranges_to_answer(&st->modified, a, &r->modified, &r->n_modified);
    else if (fits)
        fits = ranges_to_answer(&st->modified, &c->arena, &c->done.modified, &c->done.n_modified);
    return fits ? OK : err_make(E_LIMIT, "no room for an answer");
}

/* One transaction; nothing is written if nothing changes. */
static struct err storing_commit(struct imap_session *s, struct storing *st)
{
    struct txn *t;
    Thurn__ImapRemembered r = THURN__IMAP_REMEMBERED__INIT;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 8 * 1024 * 1024);
    TRY(txn_begin(s->account, &t));
    struct err e = storing_batch(s, t, st);
    if (e.code == E_OK)
        e = storing_remember(&s->cmd, st, &a, &r);
    if (e.code != E_OK || !st->changed) {
        txn_abort(t);
        return e;
    }
    modseq at = txn_modseq(t);
    TRY(command_commit(s, t, &r));
    return command_own(&s->cmd, at);
}

static struct err storing_answer(struct imap_session *s, struct storing *st, struct arena *a)
{
    struct snap *snap;
    Thurn__Mailbox *m;
    if (st->n_rows == 0)
        return OK;
    TRY(command_snap(s, &snap));
    TRY(session_mailbox(s, snap, a, &m));
    TRY(session_tell_names(s, s->cmd.frame->serial, m));
    Thurn__FetchRow *rows = arena_array(a, Thurn__FetchRow, st->n_rows);
    Thurn__FetchRow **pointers = arena_array(a, Thurn__FetchRow *, st->n_rows);
    if (!rows || !pointers)
        return err_make(E_LIMIT, "no room for rows");
    for (size_t i = 0; i < st->n_rows; i++) {
        thurn__fetch_row__init(&rows[i]);
        row_set_flags(s, &st->rows[i].entry, &rows[i]);
        if (st->rows[i].quiet)
            rows[i].items &= ~(uint32_t)THURN__FETCH_ITEM__FETCH_FLAGS;
        pointers[i] = &rows[i];
    }
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    u.with_uids = s->qresync;
    u.n_flags = st->n_rows;
    u.flags = pointers;
    bool sent = command_send(s, RPC_IMAP_UPDATES, &u.base, (struct str){0}, st->n_rows * 24);
    return sent ? OK : err_make(E_CLOSED, "the client's channel is gone");
}

bool store_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapStore *store = (const void *)c->frame->message;
    if (!command_may_write(s) || (!c->state && !storing_begin(s, store)))
        return true;
    struct storing *st = c->state;
    check(st);
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 8 * 1024 * 1024);
    struct err e = storing_commit(s, st);
    if (e.code == E_OK)
        e = storing_answer(s, st, &a);
    if (st->keywords_full)
        return command_no(c, THURN__CODE__LIMIT_EXCEEDED, text_keywords_full);
    if (e.code != E_OK)
        return command_failed(s, e);
    return !st->more;
}

/* --------------------------------------------------------------------------------- EXPUNGE, CLOSE
 */

struct expunging {
    struct uid_set set;
    struct cursor cursor;
    bool more;
};

/* Without a set: all that the client knows of. */
static bool expunging_begin(struct imap_session *s, const Thurn__ImapSet *set)
{
    struct command *c = &s->cmd;
    struct expunging *ex = arena_new(&c->arena, struct expunging);
    struct err e = ex ? OK : err_make(E_LIMIT, "no room for EXPUNGE");
    if (ex && set && !command_set(s, set, &ex->set))
        return false;
    if (e.code == E_OK && !set)
        e = uid_set_all(&s->view, &c->arena, &ex->set);
    if (e.code == E_OK)
        e = cursor_init(&ex->cursor, &ex->set, &s->view, &c->arena);
    if (e.code != E_OK) {
        command_failed(s, e);
        return false;
    }
    if (c->before)
        ex->cursor.next = c->before->upto + 1;
    c->state = ex;
    return true;
}

static struct err expunging_batch(struct imap_session *s, struct txn *t, struct expunging *ex,
                                  size_t *expunged)
{
    Thurn__Mailbox *m;
    *expunged = 0;
    cursor_rest(&ex->cursor);
    TRY(session_mailbox(s, txn_snap(t), &s->cmd.arena, &m));
    ex->more = m->deleted > 0;
    while (ex->more && *expunged < CHANGE_BATCH) {
        struct entry e;
        TRY(cursor_next(&ex->cursor, txn_snap(t), s->at.mailbox, &s->view, &e, &ex->more));
        if (!ex->more || !(e.flags & THURN__SYSTEM_FLAG__FLAG_DELETED))
            continue;
        TRY(txn_entry_expunge(t, s->at.mailbox, e.uid));
        ++*expunged;
    }
    return OK;
}

static struct err expunging_commit(struct imap_session *s, struct expunging *ex)
{
    struct txn *t;
    size_t expunged;
    TRY(txn_begin(s->account, &t));
    struct err e = expunging_batch(s, t, ex, &expunged);
    if (e.code == E_OK && expunged) {
        Thurn__ImapRemembered r = THURN__IMAP_REMEMBERED__INIT;
        r.upto = ex->more ? ex->cursor.next - 1 : 0;
        r.expunged = s->cmd.expunged = true;
        return command_commit(s, t, &r);
    }
    txn_abort(t);
    return e;
}

static bool expunge_some(struct imap_session *s, const Thurn__ImapSet *set)
{
    struct command *c = &s->cmd;
    if (!c->state && !expunging_begin(s, set))
        return true;
    struct expunging *ex = c->state;
    check(ex);
    struct err e = expunging_commit(s, ex);
    return e.code == E_OK ? !ex->more : command_failed(s, e);
}

bool expunge_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapExpunge *expunge = (const void *)c->frame->message;
    return !command_may_write(s) || expunge_some(s, expunge->set);
}

/* Expunges without telling, then unselects. If that fails the mailbox stays selected, as the client
 * then believes; unless it is not there any more. */
bool close_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapClose *close = (const void *)c->frame->message;
    if (close->expunge && !s->at.read_only && !expunge_some(s, NULL))
        return false;
    if (c->status.code == THURN__CODE__NOT_FOUND)
        command_no(c, THURN__CODE__DONE, STR(""));
    if (c->status.code == THURN__CODE__DONE)
        session_unselect(s);
    return true;
}
