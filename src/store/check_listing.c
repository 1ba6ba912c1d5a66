#include "store/check.h"

/* Listing columns against the records that they were made from. */

/* FNV-1a: what is compared was made by the same code, nobody chooses it to collide. */
static uint64_t hash_bytes(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        /* all bytes are set. NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
        h = (h ^ s.p[i]) * UINT64_C(0x100000001B3);
    return h;
}

static uint64_t hash_row(uint64_t h, const struct listing_row *r)
{
    uint64_t numbers[] = {r->text.n, r->partial, (uint64_t)r->time, (uint64_t)r->zone};
    return hash_bytes(hash_bytes(h, r->text), str_of(numbers, sizeof numbers));
}

static const uint64_t hash_begin = UINT64_C(0xCBF29CE484222325);

static uint64_t hash_fields(const struct listing_row fields[LISTING_FIELDS])
{
    uint64_t h = hash_begin;
    for (size_t f = 0; f < LISTING_FIELDS; f++)
        h = hash_row(h, &fields[f]);
    return h;
}

uint64_t check_listing_hash(struct str record)
{
    struct buf row CLEANUP(buf_free) = {0};
    struct listing_row fields[LISTING_FIELDS];
    listing_of_record(record, &row);
    return listing_row_unpack(buf_str(&row), fields).code ? 0 : hash_fields(fields);
}

static struct check_listed *listed_add(struct check_listing *l, uint32_t uid, bool in_block)
{
    l->v = check_grow(l->v, l->n, &l->cap, sizeof *l->v);
    l->v[l->n] = (struct check_listed){.uid = uid, .in_block = in_block, .hash = hash_begin};
    return &l->v[l->n++];
}

static const char *column_add(struct check_listing *l, uint32_t field, const uint32_t *uids,
                              const struct listing_column *column)
{
    if (field != l->field)
        l->at = l->rows; /* the next column begins with the same rows */
    l->field = field;
    for (size_t i = 0; i < column->n; i++) {
        if (field == 0)
            (void)listed_add(l, uids[i], true);
        struct check_listed *row = field == 0     ? &l->v[l->n - 1]
                                   : l->at < l->n ? &l->v[l->at]
                                                  : NULL;
        if (!row || row->uid != uids[i] || row->fields != field)
            return "the listing columns of a block do not have the same rows";
        const struct listing_row r = listing_at(column, i);
        row->hash = hash_row(row->hash, &r);
        row->fields++;
        l->at++;
    }
    return NULL;
}

static const struct block_ref *ref_of(const struct directory *d, uint32_t base)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->refs[i].base == base)
            return &d->refs[i];
    return NULL;
}

/* What is wrong with a column; NULL if nothing is. */
static const char *check_column(struct check_listing *l, account_id account, uint32_t field,
                                uint32_t base, struct str value)
{
    struct listing_column column = {0};
    uint32_t uids[ENTRY_BLOCK];
    const struct block_ref *r = ref_of(l->dir, base);
    const char *wrong = NULL;
    if (field >= LISTING_FIELDS || !r)
        wrong = "there is a listing column of no block";
    else if (listing_unpack(value, account, l->mailbox, (enum listing_field)field, uids, &column)
                 .code)
        wrong = "a listing column is damaged";
    else if (column.n != r->listed)
        wrong = "a listing column has not the rows that the directory of the blocks says";
    else
        wrong = column_add(l, field, uids, &column);
    listing_free(&column);
    return wrong;
}

static const char *check_row(struct check_listing *l, account_id account, uint32_t uid,
                             struct str value)
{
    struct listing_row fields[LISTING_FIELDS];
    if (listing_value_unpack(value, account, fields).code)
        return "the listing fields of a message are damaged";
    struct check_listed *row = listed_add(l, uid, false);
    row->fields = LISTING_FIELDS;
    row->hash = hash_fields(fields);
    l->rows = l->at = l->n;
    return NULL;
}

const char *check_listing_value(struct check_listing *l, account_id account, struct str rest,
                                struct str value)
{
    struct cur key = cur_of(rest);
    uint32_t column = key_read_u32(&key), base = key_read_u32(&key);
    if (key.bad || !cur_end(&key))
        return "the key of a listing column is damaged";
    return column ? check_column(l, account, column - 1, base, value)
                  : check_row(l, account, base, value);
}

const char *check_listing_entry(struct check_listing *l, uint32_t uid, uint64_t hash)
{
    bool in_block = uid <= l->dir->folded;
    size_t lo = in_block ? l->rows : 0, hi = in_block ? l->n : l->rows;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->v[mid].uid < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == l->n || l->v[lo].uid != uid || l->v[lo].in_block != in_block ||
        l->v[lo].fields != LISTING_FIELDS)
        return "has no listing fields";
    l->v[lo].used = true;
    return l->v[lo].hash == hash ? NULL : "has listing fields that its email does not have";
}

bool check_listing_stray(const struct check_listing *l, uint32_t *out_uid)
{
    for (size_t i = 0; i < l->rows; i++) {
        *out_uid = l->v[i].uid;
        if (!l->v[i].used)
            return true;
    }
    return false;
}
