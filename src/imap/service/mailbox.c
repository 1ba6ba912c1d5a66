/* Requests about mailboxes as a whole (RFC 3501 section 6.3), and their keywords. */
#include "base/base.h"
#include "imap/service/service.h"

enum {
    MAILBOX_NAME_MAX = 1000,
    SPECIAL_USES = 127, /* bits of Mailbox.special_use */
};

const struct str text_keywords_full =
    STR_INIT("A mailbox has room for 64 different keywords, and this one has them");
static const struct str text_unselectable =
    STR_INIT("Mailbox only holds other mailboxes and cannot be selected");

/* ------------------------------------------------------------------------------ SELECT, EXAMINE */

/* The sequence number of the first message that is not \Seen; 0: all are. */
static struct err first_unseen(struct imap_session *s, struct snap *snap, const Thurn__Mailbox *m,
                               uint32_t *out)
{
    msg_uid uid = {0};
    if (m->unseen)
        TRY(snap_first_unseen(snap, s->at.mailbox, &uid));
    *out = uid.v ? view_seq(&s->view, uid).v : 0;
    return OK;
}

/* Begins the view of a mailbox as the snapshot shows it. */
static struct err select_open(struct imap_session *s, struct snap *snap, const Thurn__Mailbox *m,
                              bool examine, Thurn__ImapSelected *answer)
{
    struct command *c = &s->cmd;
    struct uid_run *runs;
    size_t n;
    s->state = SELECTED;
    s->at.mailbox = (mailbox_id){m->id};
    s->at.uidvalidity = m->uidvalidity;
    s->at.read_only = examine;
    s->at.inbox = str_eq(pb_str(m->name), STR("INBOX"));
    s->at.flags_at = s->at.expunged_at = snap_modseq(snap);
    TRY(snap_uids(snap, s->at.mailbox, (msg_uid){1}, &c->arena, &runs, &n));
    TRY(view_add(&s->view, runs, n));
    TRY(session_claim_recent(s, m->uidnext));
    TRY(first_unseen(s, snap, m, &answer->first_unseen));
    answer->exists = s->view.count;
    for (size_t i = 0; i < s->recent.n; i++)
        answer->recent += view_count(&s->view, s->recent.runs[i].first,
                                     s->recent.runs[i].first + s->recent.runs[i].count - 1);
    answer->uidvalidity = m->uidvalidity;
    answer->uidnext = m->uidnext;
    answer->n_keywords = s->keywords_told = m->n_keywords;
    answer->keywords = m->keywords;
    answer->read_only = examine;
    answer->highest_modseq = m->highest_modseq;
    return OK;
}

/* The rest of an answer whose beginning the client has from a backend that has died. */
static bool select_go_on(struct imap_session *s, struct command *c)
{
    const Thurn__ImapSelect *select = (const void *)c->frame->message;
    Thurn__ImapSelected *answer = arena_new(&c->arena, Thurn__ImapSelected);
    struct err e = err_make(E_LIMIT, "no room for an answer");
    if (answer) {
        thurn__imap_selected__init(answer);
        answer->read_only = s->at.read_only;
        e = resync_begin(s, select->resync, NULL);
    }
    if (e.code != E_OK) {
        session_unselect(s);
        return command_failed(s, e);
    }
    c->done.selected = answer;
    return resync_run(s, c);
}

bool select_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapSelect *select = (const void *)c->frame->message;
    if (c->state)
        return resync_run(s, c);
    if (select->go_on && select->resync && s->state == SELECTED)
        return select_go_on(s, c);
    session_unselect(s);
    if (select->resync && !s->qresync)
        return command_no(c, THURN__CODE__INVALID, STR("ENABLE QRESYNC first"));
    if (select->condstore)
        session_enable_condstore(s);
    struct snap *snap;
    Thurn__Mailbox *m;
    struct err e = command_snap(s, &snap);
    if (e.code == E_OK)
        e = snap_mailbox_named(snap, pb_str(select->mailbox), &c->arena, &m);
    if (e.code != E_OK)
        return command_failed(s, e);
    if (m->no_select)
        return command_no(c, THURN__CODE__NOT_FOUND, text_unselectable);
    Thurn__ImapSelected *answer = arena_new(&c->arena, Thurn__ImapSelected);
    if (!answer)
        return command_failed(s, err_make(E_LIMIT, "no room for an answer"));
    thurn__imap_selected__init(answer);
    e = select_open(s, snap, m, select->examine, answer);
    bool resync = select->resync && select->resync->uidvalidity == m->uidvalidity;
    if (e.code == E_OK && resync)
        e = resync_begin(s, select->resync, answer);
    if (e.code != E_OK) {
        session_unselect(s);
        return command_failed(s, e);
    }
    c->done.selected = answer;
    return !resync || resync_run(s, c);
}

/* --------------------------------------------------------------- CREATE, DELETE, RENAME, SUBSCRIBE
 */

/* RFC 3501 section 6.3.3: a trailing separator only says that there will be children. */
static struct str name_without_separator(struct str name)
{
    return name.n > 1 && name.p[name.n - 1] == '/' ? str_sub(name, 0, name.n - 1) : name;
}

/* Whether a new mailbox may have this name: one that every client can list and show. */
static bool name_is_good(struct str name)
{
    if (name.n == 0 || name.n > MAILBOX_NAME_MAX || !str_is_utf8(name))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < 0x20 || name.p[i] == 0x7F || name.p[i] == '*' || name.p[i] == '%')
            return false;
    return name.p[0] != '/' && name.p[name.n - 1] != '/' && str_find(name, STR("//"), 0) == name.n;
}

static bool name_refused(struct command *c)
{
    return command_no(c, THURN__CODE__UNSUPPORTED,
                      STR("Mailbox names are up to 1000 bytes of UTF-8, without *, %, control "
                          "characters or empty levels"));
}

/* Runs one transaction and remembers it. */
static bool change_run(struct imap_session *s, struct err (*change)(struct command *, struct txn *))
{
    struct txn *t;
    struct err e = txn_begin(s->account, &t);
    if (e.code != E_OK)
        return command_failed(s, e);
    e = change(&s->cmd, t);
    if (e.code == E_OK)
        e = command_commit(s, t, NULL);
    else
        txn_abort(t);
    return e.code == E_OK || command_failed(s, e);
}

static struct err create_change(struct command *c, struct txn *t)
{
    const Thurn__ImapCreate *create = (const void *)c->frame->message;
    mailbox_id id;
    return txn_mailbox_create(t, name_without_separator(pb_str(create->mailbox)),
                              create->special_use, &id);
}

bool create_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapCreate *create = (const void *)c->frame->message;
    if (!name_is_good(name_without_separator(pb_str(create->mailbox))))
        return name_refused(c);
    if (create->special_use & ~(uint32_t)SPECIAL_USES)
        return command_no(c, THURN__CODE__USE_ATTR, STR("There is no such special use"));
    return change_run(s, create_change);
}

static struct err mailbox_to_change(struct command *c, struct txn *t, struct str name,
                                    mailbox_id *out)
{
    Thurn__Mailbox *m;
    TRY(snap_mailbox_named(txn_snap(t), name, &c->arena, &m));
    *out = (mailbox_id){m->id};
    return OK;
}

static struct err delete_change(struct command *c, struct txn *t)
{
    const Thurn__ImapDelete *del = (const void *)c->frame->message;
    mailbox_id id;
    TRY(mailbox_to_change(c, t, pb_str(del->mailbox), &id));
    return txn_mailbox_delete(t, id);
}

bool delete_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapDelete *del = (const void *)c->frame->message;
    if (str_ieq(pb_str(del->mailbox), STR("INBOX")))
        return command_no(c, THURN__CODE__DENIED, STR("INBOX cannot be deleted"));
    change_run(s, delete_change);
    if (c->status.code == THURN__CODE__IN_USE)
        command_no(c, THURN__CODE__IN_USE, STR("Mailbox holds other mailboxes, delete them first"));
    return true;
}

static struct err rename_change(struct command *c, struct txn *t)
{
    const Thurn__ImapRename *rename = (const void *)c->frame->message;
    mailbox_id id;
    TRY(mailbox_to_change(c, t, pb_str(rename->from), &id));
    return txn_mailbox_rename(t, id, name_without_separator(pb_str(rename->to)));
}

bool rename_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapRename *rename = (const void *)c->frame->message;
    struct str from = pb_str(rename->from);
    struct str to = name_without_separator(pb_str(rename->to));
    if (!name_is_good(to))
        return name_refused(c);
    if (to.n > from.n && str_starts(to, from) && to.p[from.n] == '/' &&
        !str_ieq(from, STR("INBOX")))
        return command_no(c, THURN__CODE__UNSUPPORTED,
                          STR("A mailbox cannot be moved into itself"));
    return change_run(s, rename_change);
}

static struct err subscribe_change(struct command *c, struct txn *t)
{
    const Thurn__ImapSubscribe *subscribe = (const void *)c->frame->message;
    return txn_subscribe(t, name_without_separator(pb_str(subscribe->mailbox)), subscribe->on);
}

/* The name need not exist (RFC 3501 section 6.3.6). */
bool subscribe_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapSubscribe *subscribe = (const void *)c->frame->message;
    if (subscribe->on && !name_is_good(name_without_separator(pb_str(subscribe->mailbox))))
        return name_refused(c);
    change_run(s, subscribe_change);
    if (c->status.code == THURN__CODE__NOT_FOUND)
        command_no(c, THURN__CODE__NOT_FOUND, STR("There is no such subscription"));
    return true;
}

/* --------------------------------------------------------------------------------------- STATUS */

enum { STATUS_RECENT = 2, STATUS_HIGHESTMODSEQ = 32, STATUS_DELETED_STORAGE = 512 };
enum { STATUS_BUDGET = 64 * 1024 * 1024 };

/* Bytes of the messages that are \Deleted: the block directory counts them, not their sizes. */
static struct err deleted_bytes(struct snap *snap, const Thurn__Mailbox *m, struct arena *a,
                                uint64_t *out)
{
    struct entry *batch = arena_array(a, struct entry, ENTRY_BLOCK);
    uint32_t from = 1, left = m->deleted;
    size_t n = ENTRY_BLOCK;
    if (!batch)
        return err_make(E_LIMIT, "no room for entries");
    while (left && n == ENTRY_BLOCK) {
        TRY(snap_entries(snap, (mailbox_id){m->id}, (msg_uid){from}, (msg_uid){UINT32_MAX}, batch,
                         ENTRY_BLOCK, &n));
        for (size_t i = 0; i < n; i++) {
            bool deleted = batch[i].flags & THURN__SYSTEM_FLAG__FLAG_DELETED;
            *out += deleted ? batch[i].size : 0;
            left -= deleted;
            from = batch[i].uid.v + 1;
        }
    }
    return OK;
}

struct err status_fill(struct imap_session *s, struct snap *snap, const Thurn__Mailbox *m,
                       uint32_t items, Thurn__ImapStatusRow *row)
{
    msg_uid first = account_first_recent(s->account, (mailbox_id){m->id});
    struct uid_run *runs;
    size_t n = 0;
    struct arena a CLEANUP(arena_free); /* LIST may ask for thousands of mailboxes */
    arena_init(&a, STATUS_BUDGET);
    if (items & STATUS_HIGHESTMODSEQ)
        session_enable_condstore(s);
    if (items & STATUS_RECENT && first.v < m->uidnext)
        TRY(snap_uids(snap, (mailbox_id){m->id}, first, &a, &runs, &n));
    for (size_t i = 0; i < n; i++)
        row->recent += runs[i].count;
    if (items & STATUS_DELETED_STORAGE)
        TRY(deleted_bytes(snap, m, &a, &row->deleted_bytes));
    row->deleted = m->deleted;
    row->messages = m->exists;
    row->uidnext = m->uidnext;
    row->uidvalidity = m->uidvalidity;
    row->unseen = m->unseen;
    row->highest_modseq = m->highest_modseq;
    return OK;
}

static struct err status_read(struct imap_session *s, Thurn__ImapStatusRow *row)
{
    struct command *c = &s->cmd;
    const Thurn__ImapStatus *status = (const void *)c->frame->message;
    struct snap *snap;
    Thurn__Mailbox *m;
    TRY(command_snap(s, &snap));
    TRY(snap_mailbox_named(snap, pb_str(status->mailbox), &c->arena, &m));
    if (m->no_select)
        return err_make(E_NOTFOUND, "STATUS of a mailbox that only holds others");
    return status_fill(s, snap, m, status->items, row);
}

bool status_run(struct imap_session *s, struct command *c)
{
    Thurn__ImapStatusRow *row = arena_new(&c->arena, Thurn__ImapStatusRow);
    if (!row)
        return command_failed(s, err_make(E_LIMIT, "no room for an answer"));
    thurn__imap_status_row__init(row);
    struct err e = status_read(s, row);
    if (e.code != E_OK)
        return command_failed(s, e);
    c->done.mailbox_status = row;
    return true;
}

/* -------------------------------------------------------------------- the selected mailbox,
 * keywords */

bool command_set(struct imap_session *s, const Thurn__ImapSet *in, struct uid_set *out)
{
    struct err e = uid_set_compile(in, &s->view, false, &s->cmd.arena, out);
    if (e.code == E_INVALID)
        command_no(&s->cmd, THURN__CODE__INVALID, STR("There is no message with such a number"));
    else if (e.code != E_OK)
        command_failed(s, e);
    return e.code == E_OK;
}

bool command_may_write(struct imap_session *s)
{
    if (s->at.read_only)
        command_no(&s->cmd, THURN__CODE__READ_ONLY, STR("Mailbox is open for reading only"));
    return !s->at.read_only;
}

uint64_t keyword_find(const Thurn__Mailbox *m, struct str name)
{
    for (size_t i = 0; i < m->n_keywords && i < 64; i++)
        if (str_ieq(pb_str(m->keywords[i]), name))
            return UINT64_C(1) << i;
    return 0;
}

uint64_t keywords_find(const Thurn__Mailbox *m, const Thurn__ImapFlags *flags)
{
    uint64_t bits = 0;
    for (size_t i = 0; flags && i < flags->n_keywords; i++)
        bits |= keyword_find(m, pb_str(flags->keywords[i]));
    return bits;
}

struct err keywords_make(struct txn *t, mailbox_id m, const Thurn__ImapFlags *flags, uint64_t *out)
{
    uint64_t bits = 0;
    for (size_t i = 0; flags && i < flags->n_keywords; i++) {
        unsigned bit;
        TRY(txn_keyword(t, m, pb_str(flags->keywords[i]), &bit));
        check(bit < 64);
        bits |= UINT64_C(1) << bit;
    }
    *out = bits;
    return OK;
}

struct err ranges_from(struct num_list *l, struct arena *a, Thurn__NumRange **ranges, size_t n)
{
    *l = (struct num_list){.ranges = arena_array(a, struct uid_range, n + 1), .n = n, .cap = n};
    if (!l->ranges)
        return err_make(E_LIMIT, "no room for a list of numbers");
    for (size_t i = 0; i < n; i++)
        l->ranges[i] = (struct uid_range){ranges[i]->first, ranges[i]->last};
    return OK;
}

bool ranges_to_answer(const struct num_list *l, struct arena *a, Thurn__NumRange ***out,
                      size_t *out_n)
{
    Thurn__NumRange *ranges = arena_array(a, Thurn__NumRange, l->n + 1);
    Thurn__NumRange **pointers = arena_array(a, Thurn__NumRange *, l->n + 1);
    if (!ranges || !pointers)
        return false;
    for (size_t i = 0; i < l->n; i++) {
        thurn__num_range__init(&ranges[i]);
        ranges[i].first = l->ranges[i].first;
        ranges[i].last = l->ranges[i].last;
        pointers[i] = &ranges[i];
    }
    *out = pointers;
    *out_n = l->n;
    return true;
}
