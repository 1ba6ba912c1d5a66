#include "store/model.h"

/*
 * Entries in columns. A block is
 *
 *   format, account, mailbox, count, then for each column: its number, its length, its bytes
 *
 * Everything but the bytes of the columns is a varint. Columns of UIDs, modseqs, dates and email
 * ids hold differences from the row before (the UIDs' are never 0; of the others zigzag, as they
 * may go down); flags and keywords are runs of (value, how often).
 */

enum { BLOCK_FORMAT = 1, DIRECTORY_FORMAT = 2 };
enum column { COL_UID = 1, COL_FLAGS, COL_KEYWORDS, COL_MODSEQ, COL_DATE, COL_SIZE, COL_EMAIL };

static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (0 - (difference >> 63));
}

static uint64_t unzigzag(uint64_t v)
{
    return v >> 1 ^ (0 - (v & 1));
}

static uint64_t column_get(const struct entry *e, enum column c)
{
    switch (c) {
    case COL_UID: return e->uid.v;
    case COL_FLAGS: return e->flags;
    case COL_KEYWORDS: return e->keywords;
    case COL_MODSEQ: return e->modseq.v;
    case COL_DATE: return (uint64_t)e->internal_date;
    case COL_SIZE: return e->size;
    case COL_EMAIL: return e->email.v;
    }
    return 0;
}

static bool column_set(struct entry *e, enum column c, uint64_t v)
{
    switch (c) {
    case COL_UID: e->uid.v = (uint32_t)v; return v > 0 && v <= UINT32_MAX;
    case COL_FLAGS: e->flags = (uint32_t)v; return v <= FLAGS_ALL;
    case COL_KEYWORDS: e->keywords = v; return true;
    case COL_MODSEQ: e->modseq.v = v; return v > 0;
    case COL_DATE: e->internal_date = (int64_t)v; return true;
    case COL_SIZE: e->size = v; return true;
    case COL_EMAIL: e->email.v = v; return v > 0;
    }
    return false;
}

static bool column_is_runs(enum column c)
{
    return c == COL_FLAGS || c == COL_KEYWORDS;
}

static void column_pack(struct buf *out, enum column c, const struct entry *e, size_t n)
{
    uint64_t last = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = column_get(&e[i], c);
        if (column_is_runs(c)) {
            size_t run = 1;
            while (i + run < n && column_get(&e[i + run], c) == v)
                run++;
            buf_varint(out, v);
            buf_varint(out, run);
            i += run - 1;
        } else if (c == COL_UID) {
            buf_varint(out, v - last);
        } else {
            buf_varint(out, c == COL_SIZE ? v : zigzag(v - last));
        }
        last = v;
    }
}

/* Nearly all values take one byte. */
static inline uint64_t column_varint(struct cur *in)
{
    int b = cur_peek(in);
    if (b < 0 || b >= 0x80)
        return cur_varint(in);
    in->at++;
    return (uint64_t)b;
}

static void column_unpack_runs(struct cur *in, enum column c, struct entry *e, size_t n)
{
    for (size_t i = 0; i < n && !in->bad;) {
        uint64_t v = cur_varint(in), run = cur_varint(in);
        if (run == 0 || run > n - i) {
            cur_fail(in);
            return;
        }
        for (; run; run--, i++)
            if (!column_set(&e[i], c, v))
                cur_fail(in);
    }
}

static void column_unpack(struct cur *in, enum column c, struct entry *e, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n && !in->bad; i++) {
        uint64_t x = column_varint(in);
        uint64_t last = v;
        v = c == COL_SIZE ? x : c == COL_UID ? last + x : last + unzigzag(x);
        if (!column_set(&e[i], c, v) || (c == COL_UID && v <= last))
            cur_fail(in);
    }
}

void block_pack(struct buf *out, account_id a, mailbox_id m, const struct entry *e, size_t n)
{
    check(n > 0 && n <= ENTRY_BLOCK);
    buf_varint(out, BLOCK_FORMAT);
    buf_varint(out, a.v);
    buf_varint(out, m.v);
    buf_varint(out, n);
    struct buf column CLEANUP(buf_free) = {0};
    for (enum column c = COL_UID; c <= COL_EMAIL; c++) {
        buf_clear(&column);
        column_pack(&column, c, e, n);
        buf_varint(out, c);
        buf_varint(out, column.n);
        buf_put(out, buf_str(&column));
    }
}

static size_t block_unpack_head(struct cur *in, account_id a, mailbox_id m)
{
    if (cur_varint(in) != BLOCK_FORMAT)
        cur_fail(in);
    row_expect_account(in, a);
    if (cur_varint(in) != m.v)
        cur_fail(in);
    uint64_t n = cur_varint(in);
    if (n == 0 || n > ENTRY_BLOCK)
        cur_fail(in);
    return in->bad ? 0 : (size_t)n;
}

/* The cursor on the bytes of the next column, which must be this one. */
static struct cur block_column(struct cur *in, enum column c)
{
    if (cur_varint(in) != c)
        cur_fail(in);
    uint64_t n = cur_varint(in);
    struct cur column = cur_of(cur_take(in, n > SIZE_MAX ? SIZE_MAX : (size_t)n));
    column.bad = in->bad;
    return column;
}

struct err block_unpack(struct str packed, account_id a, mailbox_id m, struct entry *out,
                        size_t *out_n)
{
    struct cur in = cur_of(packed);
    size_t n = block_unpack_head(&in, a, m);
    for (enum column c = COL_UID; c <= COL_EMAIL && !in.bad; c++) {
        struct cur column = block_column(&in, c);
        if (column_is_runs(c))
            column_unpack_runs(&column, c, out, n);
        else
            column_unpack(&column, c, out, n);
        if (column.bad || !cur_end(&column))
            cur_fail(&in);
    }
    if (in.bad || !cur_end(&in))
        return err_make(E_CORRUPT, "a block of entries is damaged");
    *out_n = n;
    return OK;
}

struct err block_unpack_uids(struct str packed, account_id a, mailbox_id m, uint32_t *out,
                             size_t *out_n)
{
    struct cur in = cur_of(packed);
    size_t n = block_unpack_head(&in, a, m);
    struct cur column = block_column(&in, COL_UID);
    uint64_t uid = 0;
    for (size_t i = 0; i < n && !column.bad; i++) {
        uint64_t last = uid;
        uid += cur_varint(&column);
        if (uid <= last || uid > UINT32_MAX)
            cur_fail(&column);
        out[i] = (uint32_t)uid;
    }
    if (in.bad || column.bad || !cur_end(&column))
        return err_make(E_CORRUPT, "a block of entries is damaged");
    *out_n = n;
    return OK;
}

struct err block_unpack_unseen(struct str packed, account_id a, mailbox_id m, bool *out)
{
    struct cur in = cur_of(packed);
    size_t n = block_unpack_head(&in, a, m), rows = 0;
    (void)block_column(&in, COL_UID);
    struct cur column = block_column(&in, COL_FLAGS);
    bool unseen = false;
    while (!cur_end(&column)) {
        unseen |= !(cur_varint(&column) & FLAG_SEEN);
        rows += (size_t)cur_varint(&column);
    }
    if (in.bad || column.bad || rows != n)
        return err_make(E_CORRUPT, "a block of entries is damaged");
    *out = unseen;
    return OK;
}

/* A directory is format, account, mailbox, folded, count, and for each block the distances base
 * from the last of the block before, first from base, last from first, the count, and how many rows
 * more its listing columns have. */
void directory_pack(struct buf *out, account_id a, mailbox_id m, const struct directory *d)
{
    buf_varint(out, DIRECTORY_FORMAT);
    buf_varint(out, a.v);
    buf_varint(out, m.v);
    buf_varint(out, d->folded);
    buf_varint(out, d->n);
    uint32_t last = 0;
    for (size_t i = 0; i < d->n; i++) {
        const struct block_ref *r = &d->refs[i];
        buf_varint(out, r->base - last);
        buf_varint(out, r->first - r->base);
        buf_varint(out, r->last - r->first);
        buf_varint(out, r->count);
        buf_varint(out, r->listed - r->count);
        last = r->last;
    }
}

static struct block_ref block_ref_unpack(struct cur *in, uint32_t after)
{
    uint64_t base = cur_varint(in), first = cur_varint(in), last = cur_varint(in);
    uint64_t count = cur_varint(in), more = cur_varint(in);
    if (base == 0 || base > UINT32_MAX || first > UINT32_MAX || last > UINT32_MAX)
        cur_fail(in);
    base += after;
    first += base;
    last += first;
    if (last > UINT32_MAX || count == 0 || count > ENTRY_BLOCK || count > last - first + 1 ||
        more > ENTRY_BLOCK - count)
        cur_fail(in);
    return (struct block_ref){.base = (uint32_t)base,
                              .first = (uint32_t)first,
                              .last = (uint32_t)last,
                              .count = (uint32_t)count,
                              .listed = (uint32_t)(count + more)};
}

struct err directory_unpack(struct str packed, account_id a, mailbox_id m, struct directory *out)
{
    struct cur in = cur_of(packed);
    if (cur_varint(&in) != DIRECTORY_FORMAT)
        cur_fail(&in);
    row_expect_account(&in, a);
    if (cur_varint(&in) != m.v)
        cur_fail(&in);
    uint64_t folded = cur_varint(&in), n = cur_varint(&in);
    if (folded > UINT32_MAX || n > cur_left(&in) / 5)
        cur_fail(&in);
    struct directory d = {.folded = (uint32_t)folded, .n = in.bad ? 0 : (size_t)n};
    d.refs = mem_alloc(d.n * sizeof *d.refs);
    uint32_t last = 0;
    for (size_t i = 0; i < d.n && !in.bad; i++) {
        d.refs[i] = block_ref_unpack(&in, last);
        last = d.refs[i].last;
    }
    if (in.bad || !cur_end(&in) || last > d.folded) {
        free(d.refs);
        return err_make(E_CORRUPT, "a directory of blocks is damaged");
    }
    *out = d;
    return OK;
}

/* An overlay value is the account, 0 for a tombstone or 1, and the columns without the UID. */
void over_pack(struct buf *out, account_id a, const struct over *o)
{
    buf_varint(out, a.v);
    buf_byte(out, o->dead ? 0 : 1);
    for (enum column c = COL_FLAGS; c <= COL_EMAIL && !o->dead; c++)
        buf_varint(out, c == COL_DATE ? zigzag(column_get(&o->e, c)) : column_get(&o->e, c));
}

struct err over_unpack(struct str packed, account_id a, msg_uid uid, struct over *out)
{
    struct cur in = cur_of(packed);
    row_expect_account(&in, a);
    uint8_t alive = cur_byte(&in);
    if (alive > 1)
        cur_fail(&in);
    struct over o = {.dead = alive == 0, .e.uid = uid};
    for (enum column c = COL_FLAGS; c <= COL_EMAIL && !o.dead && !in.bad; c++) {
        uint64_t v = cur_varint(&in);
        if (!column_set(&o.e, c, c == COL_DATE ? unzigzag(v) : v))
            cur_fail(&in);
    }
    if (in.bad || !cur_end(&in) || uid.v == 0)
        return err_make(E_CORRUPT, "an entry outside the blocks is damaged");
    *out = o;
    return OK;
}
