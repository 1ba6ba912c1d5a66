#include "store/model.h"

/*
 * Folding moves what stands in the overlay into the blocks, together with the changes of the
 * transaction that it is part of. As everything is in one batch, a crash leaves either the old
 * picture or the new one.
 */

/* A change on its way into a block. */
struct fold_item {
    struct over o;
    bool stored;             /* there is an overlay value to be deleted */
    bool folded;             /* it is in a block now */
    struct pending *pending; /* or it is the transaction's, or both */
};

struct fold {
    struct txn *t;
    mailbox_id id;
    struct entries *entries;
    struct fold_item *items; /* ascending UIDs */
    size_t n_items;
    struct directory dir; /* as it will be */
    size_t cap_refs;
    struct entry *rows; /* the block that is being made, and the tail behind it */
    size_t n_rows, cap_rows;
    /* All rows are of this one block of before: its listing columns have them. */
    const struct block_ref *only;
    struct listing_column *listing; /* LISTING_FIELDS; NULL until it is needed */
};

static void fold_free(struct fold *f)
{
    free(f->items);
    free(f->dir.refs);
    free(f->rows);
    for (size_t i = 0; f->listing && i < LISTING_FIELDS; i++)
        listing_free(&f->listing[i]);
    free(f->listing);
}

/* The stored overlay and the pending changes as one list; of both for a UID, the pending one. */
static void fold_collect(struct fold *f, struct txn_box *b)
{
    const struct entries *e = f->entries;
    f->items = mem_alloc((e->n_over + b->n) * sizeof *f->items);
    for (size_t o = 0, p = 0; o < e->n_over || p < b->n;) {
        struct fold_item *item = &f->items[f->n_items++];
        uint64_t over_uid = o < e->n_over ? e->over[o].e.uid.v : UINT64_MAX;
        uint64_t pending_uid = p < b->n ? b->pending[p].after.uid.v : UINT64_MAX;
        if (over_uid <= pending_uid) {
            item->o = e->over[o++];
            item->stored = true;
        }
        if (pending_uid <= over_uid) {
            item->pending = &b->pending[p++];
            item->o = (struct over){.e = item->pending->after, .dead = !item->pending->alive};
        }
    }
}

static void fold_row(struct fold *f, const struct entry *e)
{
    if (f->n_rows == f->cap_rows) {
        f->cap_rows = f->cap_rows ? f->cap_rows * 2 : ENTRY_BLOCK * 2;
        f->rows = reallocarray(f->rows, f->cap_rows, sizeof *f->rows);
        check(f->rows != NULL);
    }
    f->rows[f->n_rows++] = *e;
}

static void fold_ref(struct fold *f, struct block_ref r)
{
    if (f->dir.n == f->cap_refs) {
        f->cap_refs = f->cap_refs ? f->cap_refs * 2 : 64;
        f->dir.refs = reallocarray(f->dir.refs, f->cap_refs, sizeof *f->dir.refs);
        check(f->dir.refs != NULL);
    }
    f->dir.refs[f->dir.n++] = r;
}

static void fold_drop(struct fold *f, uint32_t base)
{
    struct key k;
    key_of_block(&k, f->t->account->id, f->id, base);
    batch_delete(&f->t->commit.batch, key_str(&k));
    for (uint32_t field = 0; field < LISTING_FIELDS; field++) {
        key_of_listing(&k, f->t->account->id, f->id, field + 1, base);
        batch_delete(&f->t->commit.batch, key_str(&k));
    }
}

/* The listing fields of a message that the transaction adds. */
static bool fold_pending_row(msg_uid uid, struct str *out_row, void *arg)
{
    struct fold *f = arg;
    size_t lo = 0, hi = f->n_items;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (f->items[mid].o.e.uid.v < uid.v)
            lo = mid + 1;
        else
            hi = mid;
    }
    const struct pending *p =
        lo < f->n_items && f->items[lo].o.e.uid.v == uid.v ? f->items[lo].pending : NULL;
    return p && p->email && txn_email_listing(f->t, p->email, out_row).code == E_OK;
}

/* The listing columns of a block. */
static struct err fold_columns(struct fold *f, const struct entry *rows, size_t n, uint32_t base)
{
    const struct listing_pending pending = {.find = fold_pending_row, .arg = f};
    account_id account = f->t->account->id;
    uint32_t uids[ENTRY_BLOCK];
    struct buf column CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < n; i++)
        uids[i] = rows[i].uid.v;
    if (!f->listing)
        f->listing = mem_alloc(LISTING_FIELDS * sizeof *f->listing);
    TRY(listing_read(f->t->snap, f->entries, 0, LISTING_FIELDS, rows, n, &pending, f->listing));
    for (uint32_t i = 0; i < LISTING_FIELDS; i++) {
        buf_clear(&column);
        listing_pack(&column, account, f->id, (enum listing_field)i, uids, &f->listing[i]);
        struct key k;
        key_of_listing(&k, account, f->id, i + 1, base);
        batch_put(&f->t->commit.batch, key_str(&k), buf_str(&column));
    }
    return buf_err(&column);
}

/* Whether the columns of the block that the rows come from still serve it well. */
static bool fold_keeps_columns(const struct fold *f, uint32_t base)
{
    return f->only && f->only->base == base && f->only->listed <= 2 * f->n_rows;
}

/* Writes the rows as blocks; the first keeps the base of the block that it replaces (0: none). */
static struct err fold_flush(struct fold *f, uint32_t base)
{
    struct batch *batch = &f->t->commit.batch;
    account_id account = f->t->account->id;
    struct key k;
    if (base && !f->n_rows)
        fold_drop(f, base);
    for (size_t i = 0; i < f->n_rows; i += ENTRY_BLOCK) {
        const struct entry *rows = f->rows + i;
        size_t n = MIN(f->n_rows - i, (size_t)ENTRY_BLOCK);
        struct block_ref r = {.base = i == 0 && base ? base : rows[0].uid.v,
                              .first = rows[0].uid.v,
                              .last = rows[n - 1].uid.v,
                              .count = (uint32_t)n,
                              .listed = (uint32_t)n};
        if (fold_keeps_columns(f, r.base))
            r.listed = f->only->listed;
        else
            TRY(fold_columns(f, rows, n, r.base));
        buf_clear(&f->t->scratch);
        block_pack(&f->t->scratch, account, f->id, rows, n);
        key_of_block(&k, account, f->id, r.base);
        batch_put(batch, key_str(&k), buf_str(&f->t->scratch));
        fold_ref(f, r);
    }
    f->n_rows = 0;
    f->only = NULL;
    return OK;
}

/* Makes the rows of an old block, with the items up to its last UID laid over them. */
static struct err fold_block(struct fold *f, size_t at, size_t first, size_t end)
{
    TRY(entries_block(f->t->snap, f->entries, at));
    const struct entries *e = f->entries;
    size_t row = 0;
    f->only = f->n_rows ? NULL : &e->dir.refs[at];
    for (size_t i = first; i < end; i++) {
        struct fold_item *item = &f->items[i];
        uint32_t uid = item->o.e.uid.v;
        while (row < e->n_block && e->block[row].uid.v < uid)
            fold_row(f, &e->block[row++]);
        if (row == e->n_block || e->block[row].uid.v != uid)
            return err_make(E_CORRUPT, "the overlay changes an entry that no block has");
        row++;
        if (!item->o.dead)
            fold_row(f, &item->o.e);
        item->folded = true;
    }
    while (row < e->n_block)
        fold_row(f, &e->block[row++]);
    return OK;
}

/* The items that change old blocks: the first `tail` of them. Rows that the tail will join are left
 * unwritten; *base is then their block's. */
static struct err fold_old(struct fold *f, size_t tail, size_t max_blocks, uint32_t *base)
{
    const struct directory *old = &f->entries->dir;
    size_t i = 0, rewritten = 0;
    for (size_t at = 0; at < old->n; at++) {
        struct block_ref r = old->refs[at];
        bool last = at + 1 == old->n;
        size_t end = i;
        while (end < tail && f->items[end].o.e.uid.v <= r.last)
            end++;
        bool extend = last && tail < f->n_items && r.count < ENTRY_BLOCK;
        bool rewrite = end > i && rewritten < max_blocks;
        if (!rewrite && !extend && !*base) {
            fold_ref(f, r);
            i = end;
            continue;
        }
        TRY(fold_block(f, at, i, rewrite ? end : i));
        rewritten += rewrite;
        i = end;
        if (*base)
            fold_drop(f, r.base);
        else
            *base = r.base;
        /* Blocks that have become small become one. */
        bool join = !last && f->n_rows + old->refs[at + 1].count <= ENTRY_BLOCK / 2;
        if (extend || join)
            continue;
        TRY(fold_flush(f, *base));
        *base = 0;
    }
    return i < tail ? err_make(E_CORRUPT, "the overlay changes an entry that no block has") : OK;
}

static struct err fold_all(struct fold *f, const struct txn_box *b, size_t max_blocks)
{
    size_t tail = 0; /* what is behind the blocks */
    while (tail < f->n_items && f->items[tail].o.e.uid.v <= f->entries->dir.folded)
        tail++;
    uint32_t base = 0;
    TRY(fold_old(f, tail, max_blocks, &base));
    for (size_t i = tail; i < f->n_items; i++) {
        struct fold_item *item = &f->items[i];
        f->only = NULL;
        if (!item->o.dead)
            fold_row(f, &item->o.e);
        item->folded = true;
    }
    f->dir.folded = b->pb.uidnext - 1;
    return fold_flush(f, base);
}

static struct err fold_begin(struct fold *f, struct txn_box *b)
{
    struct snap *s = txn_snap(f->t);
    f->entries = entries_known(s, &b->pb);
    TRY(entries_directory(s, f->entries));
    TRY(entries_overlay(s, f->entries));
    fold_collect(f, b);
    f->dir.folded = f->entries->dir.folded;
    return OK;
}

/* What has been folded is deleted with its generation of the overlay; what has not begins the next,
 * so that readers need not pass over what the index has deleted but not yet forgotten. */
static void fold_overlay(struct fold *f, struct txn_box *b)
{
    account_id account = f->t->account->id;
    struct batch *batch = &f->t->commit.batch;
    struct key k, to;
    key_of_overlay(&k, account, f->id, b->pb.overlay_generation++);
    to = k;
    key_end(&to);
    batch_delete_range(batch, key_str(&k), key_str(&to));
    b->pb.overlay = 0;
    for (size_t i = 0; i < f->n_items; i++) {
        const struct fold_item *item = &f->items[i];
        if (!item->stored || item->folded)
            continue;
        key_of_over(&k, account, f->id, b->pb.overlay_generation, item->o.e.uid);
        buf_clear(&f->t->scratch);
        over_pack(&f->t->scratch, account, &item->o);
        batch_put(batch, key_str(&k), buf_str(&f->t->scratch));
        b->pb.overlay++;
    }
}

/* The listing fields of what came into blocks stand in their columns now. */
static void fold_listing_rows(struct fold *f, struct txn_box *b)
{
    struct key from, to;
    key_of_listing(&from, f->t->account->id, f->id, 0, f->entries->dir.folded + 1);
    key_of_listing(&to, f->t->account->id, f->id, 0, f->dir.folded + 1);
    if (f->dir.folded > f->entries->dir.folded)
        batch_delete_range(&f->t->commit.batch, key_str(&from), key_str(&to));
    b->pb.folded = f->dir.folded;
}

static void fold_directory(struct fold *f)
{
    buf_clear(&f->t->scratch);
    directory_pack(&f->t->scratch, f->t->account->id, f->id, &f->dir);
    struct key k;
    key_of_u32(&k, f->t->account->id, KEY_DIRECTORY, f->id.v);
    batch_put(&f->t->commit.batch, key_str(&k), buf_str(&f->t->scratch));
}

struct err txn_fold(struct txn *t, struct txn_box *b, size_t max_blocks)
{
    check(b->n == 0 || max_blocks == SIZE_MAX); /* pending changes have nowhere else to go */
    struct fold f = {.t = t, .id = {b->pb.id}};
    struct err result = fold_begin(&f, b);
    if (result.code == E_OK)
        result = fold_all(&f, b, max_blocks);
    if (result.code == E_OK) {
        fold_overlay(&f, b);
        fold_listing_rows(&f, b);
        fold_directory(&f);
        b->changed = b->folded = true;
    }
    fold_free(&f);
    return result;
}
