#include "store/model.h"

/*
 * The end of history. What is older than history is kept goes slot by slot (layout.h), the oldest
 * first, in transactions of bounded size which use up no modseq: nobody's view of the account
 * changes. First the lines of the change log, each with the dead entry that it may be, then deleted
 * mailboxes. A crash between two pieces costs nothing: the next one begins anew and finds less.
 */

enum {
    PURGE_STEPS = 512,    /* lines, entries and mailboxes looked at in one piece */
    SLOTS = 32,           /* that history is divided into, */
    SLOT_MAX = 24 * 3600, /* each of at most a day, */
    SLOT_MIN = 1          /* in seconds */
};

int64_t store_now(const struct store *s)
{
    return s->clock ? s->clock() : clock_wall_s();
}

/* ---------------------------------------------------------------------------------- slots */

struct slots {
    account_id account;
    size_t prefix;
    struct slot *out;
    size_t n, max;
    bool bad;
};

static bool slots_add(struct str key, struct str value, void *arg)
{
    struct slots *s = arg;
    struct cur k = cur_of(str_skip(key, s->prefix)), c = cur_of(value);
    row_expect_account(&c, s->account);
    uint64_t end = key_read_u64(&k);
    struct slot slot = {.end = (int64_t)end, .first = cur_varint(&c)};
    s->bad = k.bad || !cur_end(&k) || c.bad || !cur_end(&c) || slot.end <= 0;
    if (!s->bad)
        s->out[s->n++] = slot;
    return !s->bad && s->n < s->max;
}

struct err slots_oldest(struct view *v, account_id a, struct slot *out, size_t max, size_t *out_n)
{
    struct key from, to;
    key_kind(&from, a, KEY_SLOT);
    struct slots s = {.account = a, .prefix = from.n, .out = out, .max = max};
    to = from;
    key_end(&to);
    TRY(view_scan(v, key_str(&from), key_str(&to), slots_add, &s));
    if (s.bad)
        return err_make(E_CORRUPT, "a slot of history is damaged");
    *out_n = s.n;
    return OK;
}

bool account_history_ended(const struct account *a)
{
    int64_t end = atomic_load(&a->oldest_slot);
    return end != 0 && end + atomic_load(&a->store->history) <= store_now(a->store);
}

void txn_slot(struct txn *t)
{
    const struct store *s = t->account->store;
    int64_t now = MAX(store_now(s), INT64_C(1));
    /* If the clock has gone back, the newest slot may have been let go. */
    if (now < t->head.slot_end && atomic_load(&t->account->oldest_slot))
        return;
    int64_t span = (int64_t)(atomic_load(&s->history) / SLOTS);
    span = MAX(MIN(span, (int64_t)SLOT_MAX), (int64_t)SLOT_MIN);
    t->head.slot_end = t->slot_begun = MAX(now + span, t->head.slot_end + 1);
    struct key k;
    buf_clear(&t->scratch);
    buf_varint(&t->scratch, t->account->id.v);
    buf_varint(&t->scratch, txn_modseq(t).v);
    key_of_slot(&k, t->account->id, t->slot_begun);
    batch_put(&t->commit.batch, key_str(&k), buf_str(&t->scratch));
    key_of_due(&k, t->slot_begun, t->account->id);
    batch_put(&t->commit.batch, key_str(&k), STR(""));
}

/* -------------------------------------------------------------------------- what has to go */

struct purge {
    struct txn *t;
    uint64_t through; /* the last modseq of the slot */
    size_t steps;     /* left in this piece */
    size_t prefix;    /* of the keys that are being read */
    struct arena arena;
    struct err failed;
    uint32_t found; /* a mailbox; 0: none */
    Thurn__Mailbox *dead;
};

static bool purge_line(const struct log_line *l, void *arg)
{
    struct purge *p = arg;
    if (l->kind == CHANGE_EXPUNGED)
        p->failed = txn_email_release(p->t, l->before.email);
    p->steps -= MIN(p->steps, (size_t)1);
    return !p->failed.code;
}

/* A value of the change log. It may be longer than the steps that are left. */
static bool purge_value(struct str key, struct str value, void *arg)
{
    struct purge *p = arg;
    struct err err = changes_read(value, p->t->account->id, purge_line, p);
    if (!p->failed.code)
        p->failed = err;
    if (!p->failed.code)
        batch_delete(&p->t->commit.batch, key);
    return !p->failed.code && p->steps;
}

static bool purge_first(struct str key, struct str value, void *arg)
{
    (void)value;
    struct purge *p = arg;
    struct cur c = cur_of(str_skip(key, p->prefix));
    p->found = key_read_u32(&c);
    if (c.bad || !p->found)
        p->failed = err_make(E_CORRUPT, "a key of the change log is damaged");
    return false;
}

/* The first mailbox from an id on that has keys of a kind. */
static struct err purge_next(struct purge *p, enum key_kind kind, uint32_t from_id,
                             bool (*each)(struct str, struct str, void *))
{
    struct key from, to;
    key_kind(&to, p->t->account->id, kind);
    p->prefix = to.n;
    key_end(&to);
    key_of_u32(&from, p->t->account->id, kind, from_id);
    p->found = 0;
    TRY(view_scan(txn_snap(p->t)->view, key_str(&from), key_str(&to), each, p));
    return p->failed;
}

static struct err purge_lines(struct purge *p)
{
    struct purge_at *at = &p->t->purge_at;
    account_id account = p->t->account->id;
    while (p->steps && !at->lines_done) {
        TRY(purge_next(p, KEY_CHANGES, at->mailbox, purge_first));
        if (!p->found) {
            *at = (struct purge_at){.through = p->through, .lines_done = true};
            break;
        }
        struct key from, to;
        key_of_u32(&from, account, KEY_CHANGES, p->found);
        key_of_changes(&to, account, (mailbox_id){p->found}, (modseq){p->through + 1}, 0);
        p->steps--;
        if (p->steps)
            TRY(view_scan(txn_snap(p->t)->view, key_str(&from), key_str(&to), purge_value, p));
        TRY(p->failed);
        at->mailbox = p->found + (p->steps ? 1 : 0);
    }
    return OK;
}

/* ---------------------------------------------------------------------- deleted mailboxes */

static bool purge_dead_first(struct str key, struct str value, void *arg)
{
    struct purge *p = arg;
    (void)purge_first(key, value, arg);
    if (!p->failed.code)
        p->failed =
            row_unpack(&thurn__mailbox__descriptor, value, p->t->account->id, &p->arena, &p->dead);
    if (!p->failed.code && p->dead->id != p->found)
        p->failed = err_make(E_CORRUPT, "a mailbox record stands under another id");
    return false;
}

static void purge_keys_of(struct purge *p, uint32_t mailbox)
{
    static const enum key_kind kinds[] = {KEY_BLOCK, KEY_CHANGES, KEY_DIRECTORY, KEY_OVERLAY,
                                          KEY_LISTING};
    struct key from, to;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        key_of_u32(&from, p->t->account->id, kinds[i], mailbox);
        to = from;
        key_end(&to);
        batch_delete_range(&p->t->commit.batch, key_str(&from), key_str(&to));
    }
}

/* Lets go of the emails of its entries; its keys stay until the last of them has been. */
static struct err purge_dead(struct purge *p, bool *out_gone)
{
    struct entry entries[ENTRY_BLOCK];
    struct snap *s = txn_snap(p->t);
    mailbox_id id = {p->dead->id};
    (void)entries_known(s, p->dead);
    size_t max = MIN(p->steps, ARRAY_LEN(entries)), n;
    if (p->dead->released < UINT32_MAX) {
        TRY(snap_entries(s, id, (msg_uid){p->dead->released + 1}, (msg_uid){UINT32_MAX}, entries,
                         max, &n));
        for (size_t i = 0; i < n; i++)
            TRY(txn_email_release(p->t, entries[i].email));
        p->steps -= n;
        p->dead->released = n < max ? UINT32_MAX : entries[n - 1].uid.v;
    }
    struct key k;
    key_of_u32(&k, p->t->account->id, KEY_DEAD_MAILBOX, id.v);
    *out_gone = p->dead->released == UINT32_MAX;
    if (!*out_gone) {
        row_put(&p->t->commit.batch, &k, p->dead);
        return OK;
    }
    purge_keys_of(p, id.v);
    batch_delete(&p->t->commit.batch, key_str(&k));
    return OK;
}

static struct err purge_mailboxes(struct purge *p, bool *out_done)
{
    struct purge_at *at = &p->t->purge_at;
    *out_done = false;
    while (p->steps) {
        TRY(purge_next(p, KEY_DEAD_MAILBOX, at->mailbox, purge_dead_first));
        *out_done = !p->found;
        if (!p->found)
            return OK;
        p->steps--;
        bool gone = p->dead->highest_modseq > p->through; /* another time */
        if (!gone && p->steps)
            TRY(purge_dead(p, &gone));
        at->mailbox = p->found + (gone ? 1 : 0);
        /* What one piece has begun with a mailbox is not in its own snapshot. */
        if (!gone)
            return OK;
    }
    return OK;
}

/* ---------------------------------------------------------------------------------- a piece */

static struct err purge_piece(struct purge *p, const struct slot *slots, size_t n)
{
    struct txn *t = p->t;
    bool done;
    t->purge_at = t->account->purge_at;
    if (t->purge_at.through != p->through) /* lines have come to a slot that was nearly gone */
        t->purge_at = (struct purge_at){.through = p->through};
    t->head_touched = true;
    t->head.history_from = MAX(t->head.history_from, p->through);
    TRY(purge_lines(p));
    TRY(purge_mailboxes(p, &done));
    if (!done)
        return OK;
    struct key k;
    key_of_slot(&k, t->account->id, slots[0].end);
    batch_delete(&t->commit.batch, key_str(&k));
    key_of_due(&k, slots[0].end, t->account->id);
    batch_delete(&t->commit.batch, key_str(&k));
    log_debug("store.history-ended", LF_U64("account", t->account->id.v),
              LF_U64("modseq", p->through));
    t->slot_ended = slots[0].end;
    t->slot_oldest = n > 1 ? slots[1].end : 0;
    t->purge_at = (struct purge_at){0};
    return OK;
}

struct err txn_purge(struct txn *t)
{
    struct slot slots[2];
    size_t n = 0;
    TRY(slots_oldest(txn_snap(t)->view, t->account->id, slots, ARRAY_LEN(slots), &n));
    if (n == 0)
        return err_make(E_CORRUPT, "a slot of history is missing");
    struct purge p = {.t = t, .steps = PURGE_STEPS};
    p.through = n > 1 ? slots[1].first - 1 : t->account->head.modseq;
    arena_init(&p.arena, ARENA_OWN);
    struct err err = purge_piece(&p, slots, n);
    arena_free(&p.arena);
    return err;
}

/* ------------------------------------------------------------------------------ who is due */

struct due {
    struct history_due *at;
    account_id *out;
    size_t n, max;
    bool bad;
};

static bool due_add(struct str key, struct str value, void *arg)
{
    (void)value;
    struct due *d = arg;
    struct cur c = cur_of(str_skip(key, 1));
    d->at->end = (int64_t)key_read_u64(&c);
    d->at->account.v = key_read_u64(&c);
    d->bad = c.bad || !cur_end(&c);
    if (!d->bad)
        d->out[d->n++] = d->at->account;
    return !d->bad && d->n < d->max;
}

struct err store_history_due(struct store *s, struct history_due *at, account_id *out, size_t max,
                             size_t *out_n)
{
    struct history_due next = *at;
    struct due d = {.at = &next, .out = out, .max = max};
    int64_t until = store_now(s) - (int64_t)atomic_load(&s->history);
    struct key from, to;
    key_of_due(&from, at->end, (account_id){at->account.v + 1});
    key_of_due(&to, MAX(until, INT64_C(0)), (account_id){UINT64_MAX});
    struct err err = OK;
    if (max && str_cmp(key_str(&from), key_str(&to)) < 0) {
        struct view *v = view_open(s->engine);
        err = view_scan(v, key_str(&from), key_str(&to), due_add, &d);
        view_close(v);
    }
    TRY(err);
    if (d.bad)
        return err_make(E_CORRUPT, "the index of history that is to end is damaged");
    *at = d.n < max ? (struct history_due){0} : next;
    *out_n = d.n;
    return OK;
}

void store_set_history(struct store *s, uint32_t seconds)
{
    enum { DEFAULT_HISTORY = 28 * 24 * 3600 };
    atomic_store(&s->history, seconds ? seconds : (uint32_t)DEFAULT_HISTORY);
}
