/* Quick resynchronization (RFC 7162 section 3.2): a client that knows a mailbox from an earlier
 * session is told which UIDs have vanished since then and which messages have changed. */
#include "base/base.h"
#include "imap/service/service.h"

enum {
    VANISHED_CHANGES = 65536, /* read from the change log; with more of them, gaps tell as well */
    VANISHED_RANGES = 16000,  /* in one frame of at most 512 KB */
    VANISHED_BUDGET = 256 * 1024 * 1024,
    RESYNC_ROWS = 1024, /* in one frame */
};

/* ------------------------------------------------------------------------------------ what is gone
 */

/* What of the set is not there: right whatever the log has kept, but longer to tell. */
static struct err vanished_gaps(const struct view *v, const struct uid_set *set, struct arena *a,
                                struct num_list *out)
{
    size_t run = 0;
    for (size_t i = 0; i < set->n; i++) {
        uint32_t at = set->ranges[i].first, last = set->ranges[i].last;
        while (at <= last) {
            while (run < v->n && v->runs[run].first + v->runs[run].count <= at)
                run++;
            uint32_t next = run < v->n ? v->runs[run].first : UINT32_MAX;
            if (next <= at) {
                at = next + v->runs[run].count;
                continue;
            }
            TRY(num_list_add(out, a, at));
            at = out->ranges[out->n - 1].last = MIN(last, next - 1);
            at++;
        }
    }
    return OK;
}

static struct err vanished_read(struct imap_session *s, struct snap *snap, modseq since,
                                const struct uid_set *set, struct arena *a, struct num_list *out)
{
    size_t n = 0, n_uids = 0;
    struct change *changes = arena_array(a, struct change, VANISHED_CHANGES);
    uint32_t *uids = arena_array(a, uint32_t, VANISHED_CHANGES);
    if (!changes || !uids)
        return err_make(E_LIMIT, "no room for changes");
    struct err e = snap_changes(snap, s->at.mailbox, since, changes, VANISHED_CHANGES, &n);
    if (e.code == E_LIMIT || (e.code == E_OK && n == VANISHED_CHANGES))
        return vanished_gaps(&s->view, set, a, out);
    TRY(e);
    for (size_t i = 0; i < n; i++)
        if (changes[i].kind == CHANGE_EXPUNGED && uid_set_has(set, changes[i].uid) &&
            !view_seq(&s->view, changes[i].uid).v)
            uids[n_uids++] = changes[i].uid.v;
    qsort(uids, n_uids, sizeof *uids, uid_cmp);
    for (size_t i = 0; i < n_uids; i++)
        TRY(num_list_add(out, a, uids[i]));
    return OK;
}

static struct err vanished_send(struct imap_session *s, const struct num_list *l, struct arena *a)
{
    for (size_t at = 0; at < l->n; at += VANISHED_RANGES) {
        struct num_list some = {.ranges = l->ranges + at, .n = MIN(l->n - at, VANISHED_RANGES)};
        Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
        u.earlier = true;
        if (!ranges_to_answer(&some, a, &u.vanished, &u.n_vanished))
            return err_make(E_LIMIT, "no room for an answer");
        if (!command_send(s, RPC_IMAP_UPDATES, &u.base, (struct str){0}, some.n * 16))
            return err_make(E_CLOSED, "the client's channel is gone");
    }
    return OK;
}

struct err session_tell_vanished(struct imap_session *s, modseq since, const Thurn__ImapSet *in)
{
    struct snap *snap;
    struct uid_set set;
    struct num_list vanished = {0};
    struct arena a CLEANUP(arena_free);
    arena_init(&a, VANISHED_BUDGET);
    TRY(command_snap(s, &snap));
    TRY(uid_set_below(in, s->at.uidnext, &a, &set));
    TRY(vanished_read(s, snap, since, &set, &a, &vanished));
    return vanished_send(s, &vanished, &a);
}

/* -------------------------------------------------------------------------------- what has changed
 */

struct resyncing {
    modseq since;
    struct uid_set set;
    struct cursor cursor;
    Thurn__FetchRow rows[RESYNC_ROWS];
    Thurn__FetchRow *pointers[RESYNC_ROWS];
    size_t n_rows;
};

static struct err selected_send(struct imap_session *s, const Thurn__ImapSelected *selected)
{
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    Thurn__ImapSelected told = *selected;
    u.selected = &told;
    u.resume = session_record(s, &s->at, s->view.count);
    bool sent = command_send(s, RPC_IMAP_UPDATES, &u.base, (struct str){0}, 1024);
    return sent ? OK : err_make(E_CLOSED, "the client's channel is gone");
}

struct err resync_begin(struct imap_session *s, const Thurn__ImapResync *resync,
                        const Thurn__ImapSelected *selected)
{
    struct command *c = &s->cmd;
    struct resyncing *r = arena_new(&c->arena, struct resyncing);
    if (!r)
        return err_make(E_LIMIT, "no room for QRESYNC");
    r->since.v = resync->modseq;
    TRY(uid_set_below(resync->known, s->at.uidnext, &c->arena, &r->set));
    TRY(cursor_init(&r->cursor, &r->set, &s->view, &c->arena));
    if (selected)
        TRY(selected_send(s, selected));
    TRY(session_tell_vanished(s, r->since, resync->known));
    c->state = r;
    return OK;
}

static struct err resync_send(struct imap_session *s, struct resyncing *r)
{
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    if (r->n_rows == 0)
        return OK;
    u.with_uids = true;
    u.n_flags = r->n_rows;
    u.flags = r->pointers;
    r->n_rows = 0;
    bool sent = command_send(s, RPC_IMAP_UPDATES, &u.base, (struct str){0}, u.n_flags * 32);
    return sent ? OK : err_make(E_CLOSED, "the client's channel is gone");
}

static struct err resync_slice(struct imap_session *s, struct resyncing *r, bool *more)
{
    struct snap *snap;
    Thurn__Mailbox *m;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    TRY(command_snap(s, &snap));
    TRY(session_mailbox(s, snap, &a, &m));
    TRY(session_tell_names(s, s->cmd.frame->serial, m));
    cursor_rest(&r->cursor);
    do {
        struct entry e;
        TRY(cursor_next(&r->cursor, snap, s->at.mailbox, &s->view, &e, more));
        if (*more && e.modseq.v > r->since.v) {
            Thurn__FetchRow *row = &r->rows[r->n_rows];
            thurn__fetch_row__init(row);
            row_set_flags(s, &e, row);
            r->pointers[r->n_rows++] = row;
        }
        if (r->n_rows == RESYNC_ROWS)
            TRY(resync_send(s, r));
    } while (*more && !command_must_yield(s));
    return resync_send(s, r);
}

bool resync_run(struct imap_session *s, struct command *c)
{
    bool more = false;
    struct resyncing *r = c->state;
    check(r);
    struct err e = resync_slice(s, r, &more);
    if (e.code == E_OK)
        return !more;
    session_unselect(s);
    c->done.selected = NULL;
    return command_failed(s, e);
}

void session_enable_qresync(struct imap_session *s)
{
    session_enable_condstore(s);
    s->qresync = true;
}
