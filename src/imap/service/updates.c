/* What the client is told of changes that it did not ask for (RFC 3501 sections 5.2 and 7.4). */
#include "base/base.h"
#include "imap/service/service.h"

enum {
    NEWS_BUDGET = 256 * 1024 * 1024,
    /* Lines of the change log read at a time; more of them if a single change has more. */
    NEWS_CHANGES = 512,
    NEWS_CHANGES_MAX = 65536,
    /* What goes into one frame of at most 512 KB. */
    FRAME_EXPUNGES = 50000,
    FRAME_VANISHED = 16000,
    FRAME_ROWS = 4096,
};

/* What has changed in a mailbox since the client was last told, up to a modseq. */
struct news {
    modseq at;
    bool more;               /* there are later changes */
    Thurn__Mailbox *mailbox; /* NULL: it has been deleted */
    uint32_t *gone;          /* UIDs of the view, ascending */
    uint32_t *gone_seqs;     /* their numbers, each after those before it are gone */
    size_t n_gone;
    struct entry *flags; /* messages of the view with new flags, ascending */
    size_t n_flags;
    struct uid_run *added;
    size_t n_added;
};

struct err session_mailbox(struct imap_session *s, struct snap *snap, struct arena *a,
                           Thurn__Mailbox **out)
{
    Thurn__Mailbox *m;
    TRY(snap_mailbox(snap, s->at.mailbox, a, &m));
    bool renamed = s->at.inbox && !str_eq(pb_str(m->name), STR("INBOX"));
    if (m->no_select || m->uidvalidity != s->at.uidvalidity || renamed)
        return err_make(E_NOTFOUND, "the selected mailbox is gone");
    *out = m;
    return OK;
}

static int entry_cmp(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->uid.v < y->uid.v ? -1 : x->uid.v > y->uid.v;
}

/* Whether the client has yet to learn flags as of this modseq. */
static bool flags_are_news(const struct imap_session *s, modseq m)
{
    return m.v > s->at.flags_at.v && !command_owns(&s->cmd, m);
}

static struct err news_from_changes(struct imap_session *s, struct snap *snap,
                                    const struct change *changes, size_t n, struct arena *a,
                                    struct news *news)
{
    news->gone = arena_array(a, uint32_t, n + 1);
    news->flags = arena_array(a, struct entry, n + 1);
    if (!news->gone || !news->flags)
        return err_make(E_LIMIT, "no room for changes");
    for (size_t i = 0; i < n; i++) {
        const struct change *c = &changes[i];
        if (!view_seq(&s->view, c->uid).v)
            continue;
        if (c->kind == CHANGE_EXPUNGED) {
            news->gone[news->n_gone++] = c->uid.v;
        } else if (flags_are_news(s, c->modseq)) {
            TRY(snap_entry(snap, s->at.mailbox, c->uid, &news->flags[news->n_flags]));
            news->n_flags++;
        }
    }
    qsort(news->gone, news->n_gone, sizeof *news->gone, uid_cmp);
    qsort(news->flags, news->n_flags, sizeof *news->flags, entry_cmp);
    return OK;
}

/* Notes UIDs of the view in [from, to) as gone. */
static void gone_between(const struct imap_session *s, uint32_t from, uint32_t to,
                         struct news *news)
{
    const struct view *v = &s->view;
    if (from >= to)
        return;
    uint32_t n = view_count(v, from, to - 1);
    uint32_t before = from ? view_count(v, 0, from - 1) : 0;
    for (uint32_t i = 1; i <= n; i++)
        news->gone[news->n_gone++] = view_uid(v, (msg_seq){before + i}).v;
}

static struct err news_flags_add(struct news *news, size_t *cap, struct arena *a,
                                 const struct entry *e)
{
    if (news->n_flags == *cap) {
        size_t more = *cap ? *cap * 2 : ENTRY_BLOCK;
        struct entry *flags = arena_array(a, struct entry, more);
        if (!flags)
            return err_make(E_LIMIT, "no room for changes");
        if (news->n_flags)
            memcpy(flags, news->flags, news->n_flags * sizeof *flags);
        news->flags = flags;
        *cap = more;
    }
    news->flags[news->n_flags++] = *e;
    return OK;
}

/* Compares the view with the whole mailbox: for a single change that is too large for the log to
 * be read in pieces. */
static struct err news_from_entries(struct imap_session *s, struct snap *snap, struct arena *a,
                                    struct news *news)
{
    enum { BATCH = ENTRY_BLOCK };
    struct entry *batch = arena_array(a, struct entry, BATCH);
    news->gone = arena_array(a, uint32_t, (size_t)s->view.count + 1);
    size_t cap = 0;
    if (!batch || !news->gone)
        return err_make(E_LIMIT, "no room for changes");
    uint32_t from = 1, last = view_last(&s->view);
    size_t have = BATCH;
    while (have == BATCH && from <= last) {
        TRY(snap_entries(snap, s->at.mailbox, (msg_uid){from}, (msg_uid){last}, batch, BATCH,
                         &have));
        for (size_t i = 0; i < have; i++) {
            gone_between(s, from, batch[i].uid.v, news);
            if (flags_are_news(s, batch[i].modseq) && view_seq(&s->view, batch[i].uid).v)
                TRY(news_flags_add(news, &cap, a, &batch[i]));
            from = batch[i].uid.v + 1;
        }
    }
    gone_between(s, from, last + 1, news);
    return OK;
}

/* What had been told in part is told to its end before anything else. */
static void news_end_partial(const struct imap_session *s, const struct change *changes, size_t *n,
                             struct news *news)
{
    modseq at = s->at.partial_at;
    if (at.v <= s->at.expunged_at.v || at.v >= news->at.v)
        return;
    while (*n && changes[*n - 1].modseq.v > at.v)
        --*n;
    news->at = at;
    news->more = true;
}

static struct err news_from_log(struct imap_session *s, struct snap *snap, modseq since,
                                struct arena *a, struct news *news)
{
    for (size_t max = NEWS_CHANGES;; max = NEWS_CHANGES_MAX) {
        struct change *changes = arena_array(a, struct change, max);
        size_t n;
        if (!changes)
            return err_make(E_LIMIT, "no room for changes");
        struct err e = snap_changes(snap, s->at.mailbox, since, changes, max, &n);
        if (e.code == E_LIMIT && max == NEWS_CHANGES_MAX)
            return news_from_entries(s, snap, a, news);
        if (e.code == E_LIMIT)
            continue;
        TRY(e);
        news->more = n == max;
        if (news->more)
            news->at = changes[n - 1].modseq;
        news_end_partial(s, changes, &n, news);
        return news_from_changes(s, snap, changes, n, a, news);
    }
}

static struct err news_read(struct imap_session *s, struct snap *snap, modseq since,
                            struct arena *a, struct news *news)
{
    *news = (struct news){.at = snap_modseq(snap)};
    struct err e = session_mailbox(s, snap, a, &news->mailbox);
    if (e.code == E_NOTFOUND) {
        news->gone = arena_array(a, uint32_t, (size_t)s->view.count + 1);
        if (!news->gone)
            return err_make(E_LIMIT, "no room for changes");
        gone_between(s, 1, view_last(&s->view) + 1, news);
        return OK;
    }
    TRY(e);
    if (news->mailbox->highest_modseq > since.v)
        TRY(news_from_log(s, snap, since, a, news));
    if (news->mailbox->uidnext > s->at.uidnext && !news->more)
        TRY(snap_uids(snap, s->at.mailbox, (msg_uid){s->at.uidnext}, a, &news->added,
                      &news->n_added));
    return OK;
}

void row_set_flags(const struct imap_session *s, const struct entry *e, Thurn__FetchRow *row)
{
    row->seq = view_seq(&s->view, e->uid).v;
    row->uid = e->uid.v;
    row->items |= THURN__FETCH_ITEM__FETCH_FLAGS | THURN__FETCH_ITEM__FETCH_UID;
    row->modseq = e->modseq.v;
    if (s->condstore)
        row->items |= THURN__FETCH_ITEM__FETCH_MODSEQ;
    row->system = e->flags;
    if (view_seq(&s->recent, e->uid).v)
        row->system |= THURN__SYSTEM_FLAG__FLAG_RECENT;
    row->keywords = e->keywords;
}

static uint32_t recent_count(const struct imap_session *s)
{
    uint32_t count = 0;
    for (size_t i = 0; i < s->recent.n; i++) {
        const struct view_run *r = &s->recent.runs[i];
        count += view_count(&s->view, r->first, r->first + r->count - 1);
    }
    return count;
}

struct err session_claim_recent(struct imap_session *s, uint32_t uidnext)
{
    msg_uid from = s->at.read_only
                       ? account_first_recent(s->account, s->at.mailbox)
                       : account_claim_recent(s->account, s->at.mailbox, (msg_uid){uidnext});
    uint32_t first = MAX(MAX(from.v, s->at.uidnext), view_last(&s->recent) + 1);
    if (first < uidnext)
        TRY(view_add(&s->recent, &(struct uid_run){first, uidnext - first}, 1));
    s->at.uidnext = uidnext;
    return OK;
}

static void updates_set_names(Thurn__ImapUpdates *u, const Thurn__Mailbox *m)
{
    u->has_flag_names = true;
    u->n_keywords = m->n_keywords;
    u->keywords = m->keywords;
}

static struct err updates_send(struct imap_session *s, uint32_t serial, const Thurn__ImapUpdates *u)
{
    return s->host->send(s->host_session, RPC_IMAP_UPDATES, serial, &u->base, (struct str){0});
}

struct err session_tell_names(struct imap_session *s, uint32_t serial, const Thurn__Mailbox *m)
{
    if (m->n_keywords <= s->keywords_told)
        return OK;
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    updates_set_names(&u, m);
    s->keywords_told = m->n_keywords;
    return updates_send(s, serial, &u);
}

/* Whether all UIDs that have been given out since the client was last told of new ones live. */
static bool added_without_holes(const struct imap_session *s, const struct news *news)
{
    const struct uid_run *run = news->added;
    return news->n_added == 1 && run->first == s->at.uidnext &&
           run->count == news->mailbox->uidnext - s->at.uidnext;
}

/* `all_gone_told`: nothing has died unknown to the client, up to news->at. Else a UID that has come
 * and gone would, in the record, look like one that the client knows: those after it wait. */
static struct err news_apply_added(struct imap_session *s, struct news *news, bool all_gone_told)
{
    if (!news->mailbox || news->more || news->mailbox->uidnext <= s->at.uidnext)
        return OK;
    if (!all_gone_told && !added_without_holes(s, news)) {
        news->n_added = 0;
        return OK;
    }
    struct err e = view_add(&s->view, news->added, news->n_added);
    if (e.code == E_OK)
        e = session_claim_recent(s, news->mailbox->uidnext);
    if (e.code != E_OK)
        news->n_added = 0;
    return e;
}

/* Brings the view up to date. What cannot be done for want of memory is told another time: the
 * client's view and ours stay the same. */
static struct err news_apply(struct imap_session *s, struct news *news, struct arena *a,
                             bool expunges)
{
    uint32_t *seqs = arena_array(a, uint32_t, news->n_gone + 1);
    struct err e = seqs ? OK : err_make(E_LIMIT, "no room for changes");
    for (size_t i = 0; seqs && i < news->n_gone; i++)
        seqs[i] = view_seq(&s->view, (msg_uid){news->gone[i]}).v - (uint32_t)i;
    bool none_gone = news->n_gone == 0;
    if (!expunges || !seqs)
        news->n_gone = 0;
    struct err removed = view_remove(&s->view, news->gone, news->n_gone);
    if (removed.code != E_OK) {
        news->n_gone = 0;
        e = removed;
    }
    news->gone_seqs = seqs;
    /* Without expunges only what came after flags_at has been read: that none are due can be said
     * only if none were due then. */
    bool in_step = expunges || s->at.expunged_at.v == s->at.flags_at.v;
    bool all_gone_told = news->n_gone || (none_gone && in_step);
    if (all_gone_told) {
        s->at.expunged_at = news->at;
        s->at.partial_at.v = s->at.partial_uid = 0;
    }
    struct err added = news_apply_added(s, news, all_gone_told);
    s->at.flags_at.v = MAX(s->at.flags_at.v, news->at.v);
    return added.code != E_OK ? added : e;
}

/* Those that are gone: as numbers, or as UIDs for a client with QRESYNC. */
static struct err updates_set_gone(const struct imap_session *s, Thurn__ImapUpdates *u,
                                   struct news *news, struct arena *a)
{
    size_t n = MIN(news->n_gone, s->qresync ? (size_t)FRAME_VANISHED : (size_t)FRAME_EXPUNGES);
    struct num_list uids = {0};
    if (n == 0)
        return OK;
    for (size_t i = 0; s->qresync && i < n; i++)
        TRY(num_list_add(&uids, a, news->gone[i]));
    if (s->qresync && !ranges_to_answer(&uids, a, &u->vanished, &u->n_vanished))
        return err_make(E_LIMIT, "no room for changes");
    if (!s->qresync) {
        u->n_expunged = n;
        u->expunged = news->gone_seqs;
    }
    news->gone += n;
    news->gone_seqs += n;
    news->n_gone -= n;
    return OK;
}

/* What the client knows when the frame has been passed on, with the rest of the news to come. */
static ProtobufCBinaryData news_record(struct imap_session *s, const struct news *news,
                                       const struct imap_resume *was)
{
    if (!news->n_gone && !news->n_flags)
        return session_record(s, &s->at, s->view.count);
    struct imap_resume at = *was;
    if (news->mailbox && !news->n_gone && !news->n_added)
        at.uidnext = s->at.uidnext;
    uint32_t told = news->n_gone ? news->gone[-1] : UINT32_MAX;
    if (s->at.expunged_at.v > was->expunged_at.v) {
        at.partial_at = s->at.expunged_at;
        at.partial_uid = told;
    }
    uint32_t exists = s->view.count + (uint32_t)news->n_gone;
    for (size_t i = 0; at.uidnext == was->uidnext && i < news->n_added; i++)
        exists -= news->added[i].count;
    return session_record(s, &at, exists);
}

/* One frame: what of the expunges fits, and behind the last of them EXISTS and flags. */
static struct err news_send_some(struct imap_session *s, uint32_t serial, struct news *news,
                                 Thurn__FetchRow *rows, Thurn__FetchRow **row_pointers,
                                 struct arena *a, const struct imap_resume *was)
{
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    u.with_uids = s->qresync;
    TRY(updates_set_gone(s, &u, news, a));
    if (news->n_gone) {
        u.resume = news_record(s, news, was);
        return updates_send(s, serial, &u);
    }
    if (news->n_added) {
        u.has_exists = true;
        u.exists = s->view.count;
        u.recent = recent_count(s);
        news->n_added = 0;
    }
    if (news->mailbox && news->mailbox->n_keywords > s->keywords_told) {
        updates_set_names(&u, news->mailbox);
        s->keywords_told = news->mailbox->n_keywords;
    }
    for (; u.n_flags < FRAME_ROWS && news->n_flags; news->flags++, news->n_flags--) {
        Thurn__FetchRow *row = &rows[u.n_flags];
        thurn__fetch_row__init(row);
        row_set_flags(s, news->flags, row);
        row_pointers[u.n_flags] = row;
        u.n_flags += row->seq != 0;
    }
    u.flags = row_pointers;
    u.resume = news_record(s, news, was);
    return updates_send(s, serial, &u);
}

static bool news_left(const struct imap_session *s, const struct news *news)
{
    return news->n_gone || news->n_added || news->n_flags ||
           (news->mailbox && news->mailbox->n_keywords > s->keywords_told);
}

static struct err news_send(struct imap_session *s, uint32_t serial, struct news *news,
                            struct arena *a, const struct imap_resume *was)
{
    size_t n = MIN(news->n_flags, FRAME_ROWS) + 1;
    Thurn__FetchRow *rows = arena_array(a, Thurn__FetchRow, n);
    Thurn__FetchRow **row_pointers = arena_array(a, Thurn__FetchRow *, n);
    if (!rows || !row_pointers)
        return err_make(E_LIMIT, "no room for changes");
    while (news_left(s, news))
        TRY(news_send_some(s, serial, news, rows, row_pointers, a, was));
    return OK;
}

/* Tells what one reading of the change log brought; *more if there is more to read. */
static struct err tell_some(struct imap_session *s, uint32_t serial, struct snap *snap,
                            bool expunges, bool *more)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, NEWS_BUDGET);
    struct news news;
    *more = false;
    TRY(news_read(s, snap, expunges ? s->at.expunged_at : s->at.flags_at, &a, &news));
    *more = news.more;
    const struct imap_resume was = s->at;
    struct err e = news_apply(s, &news, &a, expunges);
    TRY(news_send(s, serial, &news, &a, &was));
    return e;
}

/* Whether all that has happened since the client was last told was changes of flags by this very
 * command, which has told them. Then it is up to date without a look at the mailbox. */
static bool tell_only_own(struct imap_session *s)
{
    const struct modseq_list *own = &s->cmd.own;
    uint64_t told = s->at.flags_at.v, now = told + own->n;
    if (own->n == 0 || s->cmd.own_keywords || s->at.expunged_at.v != told ||
        own->items[0].v != told + 1 || own->items[own->n - 1].v != now ||
        account_modseq(s->account).v != now)
        return false;
    s->at.flags_at.v = s->at.expunged_at.v = now;
    return true;
}

struct err session_tell(struct imap_session *s, uint32_t serial, bool expunges)
{
    if (s->state != SELECTED || (account_modseq(s->account).v <= s->at.flags_at.v &&
                                 !(expunges && s->at.expunged_at.v < s->at.flags_at.v)))
        return OK;
    if (tell_only_own(s))
        return OK;
    struct snap *snap;
    TRY(snap_open(s->account, &snap));
    bool more;
    struct err e;
    do /* a client that takes nothing hears the rest with its next command, or its next poke */
        e = tell_some(s, serial, snap, expunges, &more);
    while (e.code == E_OK && more && s->host->room(s->host_session));
    snap_close(snap);
    return e;
}
