#include "store/model.h"

/* Takes an entry out of the counters of its mailbox, or puts it in. */
static void box_count(struct txn *t, struct txn_box *b, const struct entry *e, int by)
{
    uint32_t one = (uint32_t)by;
    b->pb.exists += one;
    b->pb.unseen += e->flags & FLAG_SEEN ? 0 : one;
    b->pb.deleted += e->flags & FLAG_DELETED ? one : 0;
    b->pb.bytes += (uint64_t)(int64_t)by * e->size;
    t->head.bytes += (uint64_t)(int64_t)by * e->size;
    t->head.messages += (uint64_t)(int64_t)by;
    b->pb.highest_modseq = t->head.modseq;
}

static size_t pending_at(const struct txn_box *b, uint32_t uid)
{
    /* Commands go through UIDs upwards, so it is mostly the end. */
    if (!b->n || b->pending[b->n - 1].after.uid.v < uid)
        return b->n;
    size_t lo = 0, hi = b->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (b->pending[mid].after.uid.v < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct pending *pending_insert(struct txn_box *b, size_t at)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 4;
        b->pending = reallocarray(b->pending, b->cap, sizeof *b->pending);
        check(b->pending != NULL);
    }
    memmove(b->pending + at + 1, b->pending + at, (b->n - at) * sizeof *b->pending);
    b->n++;
    b->pending[at] = (struct pending){0};
    return &b->pending[at];
}

/* What the transaction knows of a living entry; read from the store when first touched. */
static struct err pending_get(struct txn *t, struct txn_box *b, msg_uid uid, struct pending **out)
{
    size_t at = pending_at(b, uid.v);
    if (at < b->n && b->pending[at].after.uid.v == uid.v) {
        if (!b->pending[at].alive)
            return err_make(E_NOTFOUND, "no such message");
        *out = &b->pending[at];
        return OK;
    }
    if (!account_box(t->account, (mailbox_id){b->pb.id}))
        return err_make(E_NOTFOUND, "no such message"); /* a mailbox of this transaction */
    struct found f;
    TRY(entries_find(txn_snap(t), (mailbox_id){b->pb.id}, uid, &f));
    struct pending *p = pending_insert(b, at);
    *p = (struct pending){.before = f.e,
                          .after = f.e,
                          .had_before = true,
                          .alive = true,
                          .in_block = f.in_block,
                          .in_overlay = f.in_overlay};
    *out = p;
    return OK;
}

static bool flags_are_valid(const struct txn_box *b, uint32_t flags, uint64_t keywords)
{
    size_t n = b->pb.n_keywords;
    return flags <= FLAGS_ALL && (n >= KEYWORDS_MAX || keywords >> n == 0);
}

struct err txn_entry_add(struct txn *t, mailbox_id m, email_id email, uint32_t flags,
                         uint64_t keywords, int64_t internal_date, msg_uid *out)
{
    struct txn_box *b;
    TRY(txn_box_select(t, m, &b));
    if (!flags_are_valid(b, flags, keywords))
        return err_make(E_INVALID, "no such flags");
    if (b->pb.uidnext == UINT32_MAX)
        return err_make(E_LIMIT, "the mailbox has used up its UIDs");
    struct txn_email *e;
    TRY(txn_email_get(t, email, &e));
    e->pb->refs++;
    struct pending *p = pending_insert(b, b->n);
    p->alive = true;
    p->email = e;
    p->after = (struct entry){.uid = {b->pb.uidnext++},
                              .flags = flags,
                              .keywords = keywords,
                              .modseq = txn_modseq(t),
                              .internal_date = internal_date,
                              .size = e->pb->size,
                              .email = email};
    box_count(t, b, &p->after, 1);
    *out = p->after.uid;
    return OK;
}

struct err txn_entry_flags(struct txn *t, mailbox_id m, msg_uid uid, uint32_t flags,
                           uint64_t keywords)
{
    struct txn_box *b;
    TRY(txn_box_select(t, m, &b));
    if (!flags_are_valid(b, flags, keywords))
        return err_make(E_INVALID, "no such flags");
    struct pending *p;
    TRY(pending_get(t, b, uid, &p));
    box_count(t, b, &p->after, -1);
    p->after.flags = flags;
    p->after.keywords = keywords;
    p->after.modseq = txn_modseq(t);
    box_count(t, b, &p->after, 1);
    return OK;
}

struct err txn_entry_expunge(struct txn *t, mailbox_id m, msg_uid uid)
{
    struct txn_box *b;
    TRY(txn_box_select(t, m, &b));
    struct pending *p;
    TRY(pending_get(t, b, uid, &p));
    if (!p->had_before) { /* added by this transaction: leaves no dead entry */
        struct txn_email *e;
        TRY(txn_email_get(t, p->after.email, &e));
        e->pb->refs--;
    }
    box_count(t, b, &p->after, -1);
    p->alive = false;
    return OK;
}

static struct over over_of(const struct pending *p)
{
    return (struct over){.e = p->after, .dead = !p->alive};
}

/* The listing fields of a message that comes go beside the overlay; those of one that goes while it
 * is in no block go with it. */
static struct err listing_write(struct txn *t, struct txn_box *b, const struct pending *p)
{
    struct key k;
    if (p->email ? !p->alive : p->alive || p->in_block)
        return OK;
    key_of_listing(&k, t->account->id, (mailbox_id){b->pb.id}, 0, p->after.uid.v);
    if (!p->email) {
        batch_delete(&t->commit.batch, key_str(&k));
        return OK;
    }
    struct str row;
    TRY(txn_email_listing(t, p->email, &row));
    buf_clear(&t->scratch);
    buf_varint(&t->scratch, t->account->id.v);
    buf_put(&t->scratch, row);
    batch_put(&t->commit.batch, key_str(&k), buf_str(&t->scratch));
    return OK;
}

struct err txn_entries_write(struct txn *t, struct txn_box *b)
{
    if (b->pb.overlay + b->n > OVERLAY_MAX)
        return txn_fold(t, b, SIZE_MAX);
    for (size_t i = 0; i < b->n; i++) {
        const struct pending *p = &b->pending[i];
        struct key k;
        key_of_over(&k, t->account->id, (mailbox_id){b->pb.id}, b->pb.overlay_generation,
                    p->after.uid);
        if (p->alive || p->in_block) {
            struct over o = over_of(p);
            buf_clear(&t->scratch);
            over_pack(&t->scratch, t->account->id, &o);
            batch_put(&t->commit.batch, key_str(&k), buf_str(&t->scratch));
            b->pb.overlay += !p->in_overlay;
        } else if (p->in_overlay) {
            batch_delete(&t->commit.batch, key_str(&k));
            b->pb.overlay--;
        }
        TRY(listing_write(t, b, p));
    }
    return OK;
}
