/* The record of a session, from which it goes on after it has slept or its backend has died. */
#include "base/base.h"
#include "imap/service/service.h"

enum {
    RESUME_RECENT = 16,      /* ranges of \Recent messages; who has more forgets the oldest ones */
    RESUME_HOURS = 7 * 24,   /* that a record holds */
    RESUME_BUDGET = 1 << 30, /* for a view and its history */
};

/* ------------------------------------------------------------------------------------- making it
 */

static size_t resume_recent(const struct imap_session *s, Thurn__NumRange *ranges,
                            Thurn__NumRange **pointers)
{
    const struct view *v = &s->recent;
    size_t n = MIN(v->n, (size_t)RESUME_RECENT);
    for (size_t i = 0; i < n; i++) {
        const struct view_run *run = &v->runs[v->n - n + i];
        thurn__num_range__init(&ranges[i]);
        ranges[i].first = run->first;
        ranges[i].last = run->first + run->count - 1;
        pointers[i] = &ranges[i];
    }
    return n;
}

static void resume_selected(const struct imap_session *s, const struct imap_resume *at,
                            Thurn__ImapResume *r)
{
    r->mailbox = at->mailbox.v;
    r->uidvalidity = at->uidvalidity;
    r->uidnext = at->uidnext;
    r->flags_at = at->flags_at.v;
    r->expunged_at = at->expunged_at.v;
    r->partial_at = at->partial_at.v;
    r->partial_uid = at->partial_uid;
    r->read_only = at->read_only;
    r->inbox = at->inbox;
    r->keywords_told = (uint32_t)s->keywords_told;
}

ProtobufCBinaryData session_record(struct imap_session *s, const struct imap_resume *at,
                                   uint32_t exists)
{
    static const ProtobufCBinaryData unchanged = {0};
    Thurn__NumRange ranges[RESUME_RECENT], *pointers[RESUME_RECENT];
    Thurn__ImapResume r = THURN__IMAP_RESUME__INIT;
    if (!s->host->seal)
        return unchanged;
    r.account = s->account_id.v;
    r.credential_generation = s->credential_generation;
    r.expires = (clock_wall_s() / 3600 + RESUME_HOURS) * 3600;
    r.condstore = s->condstore;
    r.qresync = s->qresync;
    if (s->state == SELECTED) {
        resume_selected(s, at, &r);
        r.exists = exists;
        r.recent = pointers;
        r.n_recent = resume_recent(s, ranges, pointers);
    }
    struct buf packed CLEANUP(buf_free) = {0};
    pb_pack(&packed, &r.base);
    if (str_eq(buf_str(&packed), buf_str(&s->record)))
        return unchanged;
    buf_clear(&s->record);
    buf_put(&s->record, buf_str(&packed));
    buf_clear(&s->sealed);
    s->host->seal(s->host_session, &r, &s->sealed);
    return pb_bytes(buf_str(&s->sealed));
}

/* ------------------------------------------------------------------------------------- taking it
 */

static bool resume_is_sound(const Thurn__ImapResume *r)
{
    if (r->account == 0)
        return false;
    if (r->mailbox == 0)
        return r->n_recent == 0;
    uint32_t behind = 0; /* ranges of \Recent ones ascend */
    for (size_t i = 0; i < r->n_recent; i++) {
        if (r->recent[i]->first <= behind || r->recent[i]->last < r->recent[i]->first)
            return false;
        behind = r->recent[i]->last;
    }
    return r->uidnext > 0 && r->expunged_at <= r->flags_at && r->exists < r->uidnext &&
           behind < UINT32_MAX;
}

struct err imap_session_resume(struct imap_session *s, const Thurn__ImapResume *r)
{
    check(s->state == NOT_AUTHENTICATED && !s->account);
    if (!resume_is_sound(r))
        return err_make(E_INVALID, "a session's record makes no sense");
    s->account_id.v = r->account;
    s->credential_generation = r->credential_generation;
    s->condstore = r->condstore;
    s->qresync = r->qresync;
    s->state = r->mailbox ? SELECTED : AUTHENTICATED;
    s->at = (struct imap_resume){.mailbox = {r->mailbox},
                                 .uidvalidity = r->uidvalidity,
                                 .uidnext = r->uidnext,
                                 .flags_at = {r->flags_at},
                                 .expunged_at = {r->expunged_at},
                                 .partial_at = {r->partial_at},
                                 .partial_uid = r->partial_uid,
                                 .read_only = r->read_only,
                                 .inbox = r->inbox};
    s->keywords_told = r->keywords_told;
    s->restoring_exists = r->exists;
    for (size_t i = 0; i < r->n_recent; i++) {
        const Thurn__NumRange *of = r->recent[i];
        TRY(view_add(&s->recent, &(struct uid_run){of->first, of->last - of->first + 1}, 1));
    }
    s->restoring = s->may_repeat = true;
    return OK;
}

/* ------------------------------------------------------------------------------------ the view */

/* UIDs of the view that have died since. */
struct dead {
    const struct imap_resume *at;
    struct arena *a;
    uint32_t *uids;
    size_t n, cap;
    bool full;
};

static void dead_add(const struct entry *e, modseq gone_at, void *arg)
{
    struct dead *d = arg;
    bool told = gone_at.v <= d->at->partial_at.v && e->uid.v <= d->at->partial_uid;
    if (told || e->uid.v >= d->at->uidnext || d->full)
        return;
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 64;
        uint32_t *uids = arena_array(d->a, uint32_t, cap);
        d->full = !uids;
        if (!uids)
            return;
        if (d->n)
            memcpy(uids, d->uids, d->n * sizeof *uids);
        d->uids = uids;
        d->cap = cap;
    }
    d->uids[d->n++] = e->uid.v;
}

/* Both in the order of their UIDs; what is not below uidnext is left out. */
static struct err view_merge(struct view *v, const struct uid_run *alive, size_t n,
                             const struct dead *d)
{
    size_t dead = 0;
    for (size_t i = 0; i <= n; i++) {
        uint32_t end = d->at->uidnext;
        uint32_t first = i < n ? MIN(alive[i].first, end) : end;
        for (; dead < d->n && d->uids[dead] < first; dead++)
            TRY(view_add(v, &(struct uid_run){d->uids[dead], 1}, 1));
        if (first < end)
            TRY(view_add(v, &(struct uid_run){first, MIN(alive[i].count, end - first)}, 1));
    }
    return OK;
}

static struct err view_restore(struct imap_session *s, struct snap *snap, struct arena *a)
{
    struct uid_run *runs;
    size_t n;
    struct dead dead = {.at = &s->at, .a = a};
    TRY(snap_uids(snap, s->at.mailbox, (msg_uid){1}, a, &runs, &n));
    TRY(snap_expunged(snap, s->at.mailbox, s->at.expunged_at, dead_add, &dead));
    if (dead.full)
        return err_make(E_LIMIT, "no room for the history of a mailbox");
    if (dead.n)
        qsort(dead.uids, dead.n, sizeof *dead.uids, uid_cmp);
    return view_merge(&s->view, runs, n, &dead);
}

/* The mailbox has been deleted, and with it all that it held: what the client is still to be told
 * is how many messages are gone. With UIDs that cannot be said. */
static struct err view_of_deleted(struct imap_session *s)
{
    if (s->qresync)
        return err_make(E_NOTFOUND, "The selected mailbox has been deleted");
    view_free(&s->recent);
    return s->restoring_exists ? view_add(&s->view, &(struct uid_run){1, s->restoring_exists}, 1)
                               : OK;
}

static struct err selected_restore(struct imap_session *s)
{
    struct snap *snap;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RESUME_BUDGET);
    TRY(snap_open(s->account, &snap));
    struct err e = s->restoring_exists ? view_restore(s, snap, &a) : OK;
    snap_close(snap);
    if (e.code == E_NOTFOUND)
        e = view_of_deleted(s);
    if (e.code == E_OK && s->view.count != s->restoring_exists) {
        log_error("imap.view_differs", LF_U64("account", s->account_id.v),
                  LF_U64("mailbox", s->at.mailbox.v), LF_U64("told", s->restoring_exists),
                  LF_U64("found", s->view.count));
        e = err_make(E_CONFLICT, "The mailbox has changed too much, select it again");
    }
    return e;
}

struct err session_restore(struct imap_session *s)
{
    const struct principal who = {s->account_id, s->credential_generation};
    if (s->account)
        return err_make(E_CONFLICT, "The session has ended");
    struct err e = directory_may_go_on(s->host->directory, &who);
    if (e.code == E_NOTFOUND || e.code == E_DENIED)
        return err_make(E_DENIED, "You have been logged out, log in again");
    TRY(e);
    TRY(account_open(s->host->store, s->account_id, &s->account));
    if (s->state == SELECTED)
        TRY(selected_restore(s));
    s->restoring = false;
    return OK;
}
