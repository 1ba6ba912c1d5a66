#include "store/model.h"

/*
 * The change log. A value is account, number of lines, and for each line a varint of the UID's
 * distance from the line before (in the lowest two bits: what happened), then what was replaced:
 *
 *   added       nothing
 *   flags       flags, keywords, modseq
 *   expunged    the same, then internal date (zigzag), size, email id: the dead entry
 *
 * Lines are in the order of their UIDs; a change of more than CHANGES_CHUNK lines goes on in the
 * next chunk.
 */
enum { LINE_KINDS = 3 };

void changes_begin(struct buf *out, account_id a, size_t n_lines)
{
    buf_varint(out, a.v);
    buf_varint(out, n_lines);
}

void changes_line(struct buf *out, uint32_t *last_uid, const struct log_line *l)
{
    const struct entry *e = &l->before;
    buf_varint(out, (uint64_t)(e->uid.v - *last_uid) << 2 | l->kind);
    *last_uid = e->uid.v;
    if (l->kind == CHANGE_ADDED)
        return;
    buf_varint(out, e->flags);
    buf_varint(out, e->keywords);
    buf_varint(out, e->modseq.v);
    if (l->kind == CHANGE_FLAGS)
        return;
    buf_varint(out, (uint64_t)e->internal_date << 1 ^ (0 - ((uint64_t)e->internal_date >> 63)));
    buf_varint(out, e->size);
    buf_varint(out, e->email.v);
}

static struct log_line changes_read_line(struct cur *c, uint32_t last_uid)
{
    uint64_t v = cur_varint(c);
    struct log_line l = {.kind = (unsigned)(v & 3)};
    uint64_t uid = last_uid + (v >> 2);
    if (l.kind >= LINE_KINDS || uid <= last_uid || uid > UINT32_MAX)
        cur_fail(c);
    l.before.uid.v = (uint32_t)uid;
    if (l.kind == CHANGE_ADDED)
        return l;
    uint64_t flags = cur_varint(c);
    if (flags > FLAGS_ALL)
        cur_fail(c);
    l.before.flags = (uint32_t)flags;
    l.before.keywords = cur_varint(c);
    l.before.modseq.v = cur_varint(c);
    if (l.kind == CHANGE_FLAGS)
        return l;
    uint64_t date = cur_varint(c);
    l.before.internal_date = (int64_t)(date >> 1 ^ (0 - (date & 1)));
    l.before.size = cur_varint(c);
    l.before.email.v = cur_varint(c);
    return l;
}

struct err changes_read(struct str packed, account_id a,
                        bool (*each)(const struct log_line *l, void *arg), void *arg)
{
    struct cur c = cur_of(packed);
    row_expect_account(&c, a);
    uint64_t n = cur_varint(&c);
    if (n == 0 || n > CHANGES_CHUNK)
        cur_fail(&c);
    uint32_t last = 0;
    bool more = true;
    for (uint64_t i = 0; i < n && !c.bad && more; i++) {
        struct log_line l = changes_read_line(&c, last);
        last = l.before.uid.v;
        if (!c.bad)
            more = each(&l, arg);
    }
    if (c.bad || (more && !cur_end(&c)))
        return err_make(E_CORRUPT, "a value of the change log is damaged");
    return OK;
}

static struct log_line line_of(const struct pending *p)
{
    struct log_line l = {.kind = !p->had_before ? CHANGE_ADDED
                                 : p->alive     ? CHANGE_FLAGS
                                                : CHANGE_EXPUNGED,
                         .before = p->had_before ? p->before : p->after};
    return l;
}

void txn_changes_write(struct txn *t, struct txn_box *b)
{
    uint32_t chunk = 0;
    for (size_t i = 0; i < b->n;) {
        struct buf lines CLEANUP(buf_free) = {0};
        uint32_t last_uid = 0;
        size_t n = 0;
        for (; i < b->n && n < CHANGES_CHUNK; i++) {
            if (!b->pending[i].had_before && !b->pending[i].alive)
                continue; /* came and went within the transaction */
            struct log_line l = line_of(&b->pending[i]);
            changes_line(&lines, &last_uid, &l);
            n++;
        }
        if (n == 0)
            return;
        buf_clear(&t->scratch);
        changes_begin(&t->scratch, t->account->id, n);
        buf_put(&t->scratch, buf_str(&lines));
        struct key k;
        key_of_changes(&k, t->account->id, (mailbox_id){b->pb.id}, txn_modseq(t), chunk++);
        batch_put(&t->commit.batch, key_str(&k), buf_str(&t->scratch));
    }
}

/* ------------------------------------------------------------------------------- reading */

/* A walk over the change log of a mailbox. */
struct walk {
    account_id account;
    size_t prefix;
    modseq at; /* of the value being read */
    bool (*each)(const struct log_line *l, void *arg);
    void *arg;
    struct err failed;
};

static bool walk_value(struct str key, struct str value, void *arg)
{
    struct walk *w = arg;
    struct cur c = cur_of(str_skip(key, w->prefix));
    w->at.v = key_read_u64(&c);
    (void)key_read_u32(&c);
    w->failed = c.bad || !cur_end(&c) ? err_make(E_CORRUPT, "a key of the change log is damaged")
                                      : changes_read(value, w->account, w->each, w->arg);
    return w->failed.code == E_OK;
}

/* So many modseqs are looked up one by one; of more than that, those of the mailbox are searched.
 */
enum { FEW = 4 };

static struct err walk_one(struct walk *w, struct snap *s, mailbox_id m, modseq at)
{
    struct str value = {0};
    w->at = at;
    /* Only behind a full chunk there may be another; each line has a byte at least. */
    for (uint32_t chunk = 0; chunk == 0 || value.n > CHANGES_CHUNK; chunk++) {
        struct key k;
        key_of_changes(&k, w->account, m, at, chunk);
        arena_clear(&s->scratch);
        struct err e = view_get(s->view, key_str(&k), &s->scratch, &value);
        if (e.code == E_NOTFOUND)
            return OK; /* the change was of another mailbox */
        TRY(e);
        TRY(changes_read(value, w->account, w->each, w->arg));
    }
    return OK;
}

/* What happened after a modseq. `each` finds its modseq in `w`. */
static struct err walk_since(struct walk *w, struct snap *s, mailbox_id m, modseq since)
{
    struct entries *e;
    TRY(entries_of(s, m, &e)); /* the mailbox must exist */
    if (since.v >= e->state.modseq)
        return OK;
    if (since.v < s->head->history_from)
        return err_make(E_LIMIT, "the change log does not reach back that far");
    w->account = s->account->id;
    if (e->state.modseq - since.v <= FEW) {
        for (uint64_t at = since.v + 1; at <= e->state.modseq; at++)
            TRY(walk_one(w, s, m, (modseq){at}));
        return OK;
    }
    struct key from, to;
    key_of_u32(&to, s->account->id, KEY_CHANGES, m.v);
    w->prefix = to.n;
    key_end(&to);
    key_of_changes(&from, s->account->id, m, (modseq){since.v + 1}, 0);
    TRY(view_scan(s->view, key_str(&from), key_str(&to), walk_value, w));
    return w->failed;
}

struct changes {
    struct walk walk;
    struct change *c; /* malloc'd */
    size_t n, cap;
};

static bool changes_add(const struct log_line *l, void *arg)
{
    struct changes *s = arg;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->c = reallocarray(s->c, s->cap, sizeof *s->c);
        check(s->c != NULL);
    }
    s->c[s->n++] = (struct change){.modseq = s->walk.at, .uid = l->before.uid, .kind = l->kind};
    return true;
}

static int by_uid_modseq(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (x->uid.v != y->uid.v)
        return x->uid.v < y->uid.v ? -1 : 1;
    return x->modseq.v < y->modseq.v ? -1 : x->modseq.v > y->modseq.v;
}

static int by_modseq_uid(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (x->modseq.v != y->modseq.v)
        return x->modseq.v < y->modseq.v ? -1 : 1;
    return x->uid.v < y->uid.v ? -1 : x->uid.v > y->uid.v;
}

/* One line per UID, the latest; but what was added and then flagged is still added. */
static size_t changes_merge(struct change *c, size_t n)
{
    qsort(c, n, sizeof *c, by_uid_modseq);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct change *last = kept ? &c[kept - 1] : NULL;
        if (!last || last->uid.v != c[i].uid.v) {
            c[kept++] = c[i];
            continue;
        }
        bool added = last->kind == CHANGE_ADDED && c[i].kind == CHANGE_FLAGS;
        *last = c[i];
        if (added)
            last->kind = CHANGE_ADDED;
    }
    qsort(c, kept, sizeof *c, by_modseq_uid);
    return kept;
}

struct err snap_changes(struct snap *s, mailbox_id m, modseq since, struct change *out, size_t max,
                        size_t *out_n)
{
    struct changes c = {.walk = {.each = changes_add, .arg = &c}};
    struct err result = walk_since(&c.walk, s, m, since);
    size_t n = result.code == E_OK && c.n ? changes_merge(c.c, c.n) : 0;
    size_t page = MIN(n, max);
    if (n > max && (max == 0 || c.c[max - 1].modseq.v == c.c[max].modseq.v))
        result = err_make(E_LIMIT, "the changes of one modseq cannot be split");
    if (result.code == E_OK) {
        if (page)
            memcpy(out, c.c, page * sizeof *out);
        *out_n = page;
    }
    free(c.c);
    return result;
}

struct expunged {
    struct walk walk;
    void (*each)(const struct entry *e, modseq at, void *arg);
    void *arg;
};

static bool expunged_line(const struct log_line *l, void *arg)
{
    const struct expunged *x = arg;
    if (l->kind == CHANGE_EXPUNGED)
        x->each(&l->before, x->walk.at, x->arg);
    return true;
}

struct err snap_expunged(struct snap *s, mailbox_id m, modseq since,
                         void (*each)(const struct entry *e, modseq at, void *arg), void *arg)
{
    struct expunged x = {.walk = {.each = expunged_line, .arg = &x}, .each = each, .arg = arg};
    return walk_since(&x.walk, s, m, since);
}
