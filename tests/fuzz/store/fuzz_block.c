/* Values packed by hand: blocks, directories, overlay, change log, listing columns. What unpacks
 * packs again, and then unpacks to the same. */
#include "store/model.h"

static const account_id account = {1};
static const mailbox_id mailbox = {1};

static void fuzz_block(struct str in)
{
    struct entry e[ENTRY_BLOCK], again[ENTRY_BLOCK];
    uint32_t uids[ENTRY_BLOCK];
    size_t n, n_again;
    if (block_unpack(in, account, mailbox, e, &n).code)
        return;
    struct buf out CLEANUP(buf_free) = {0};
    block_pack(&out, account, mailbox, e, n);
    check(block_unpack(buf_str(&out), account, mailbox, again, &n_again).code == E_OK);
    check(n == n_again);
    for (size_t i = 0; i < n; i++) {
        check(e[i].uid.v == again[i].uid.v && e[i].flags == again[i].flags);
        check(e[i].keywords == again[i].keywords && e[i].modseq.v == again[i].modseq.v);
        check(e[i].internal_date == again[i].internal_date && e[i].size == again[i].size);
        check(e[i].email.v == again[i].email.v);
        check(i == 0 || e[i - 1].uid.v < e[i].uid.v);
    }
    check(block_unpack_uids(in, account, mailbox, uids, &n_again).code == E_OK && n == n_again);
    for (size_t i = 0; i < n; i++)
        check(uids[i] == e[i].uid.v);
}

static void fuzz_directory(struct str in)
{
    struct directory d, again;
    if (directory_unpack(in, account, mailbox, &d).code)
        return;
    struct buf out CLEANUP(buf_free) = {0};
    directory_pack(&out, account, mailbox, &d);
    check(directory_unpack(buf_str(&out), account, mailbox, &again).code == E_OK);
    check(again.n == d.n && again.folded == d.folded);
    uint32_t last = 0;
    for (size_t i = 0; i < d.n; i++) {
        const struct block_ref *r = &d.refs[i], *q = &again.refs[i];
        check(r->base > last && r->first >= r->base && r->last >= r->first);
        check(r->base == q->base && r->first == q->first && r->last == q->last);
        check(r->count == q->count && r->count > 0 && r->count <= ENTRY_BLOCK);
        check(r->listed == q->listed && r->listed >= r->count && r->listed <= ENTRY_BLOCK);
        last = r->last;
    }
    free(d.refs);
    free(again.refs);
}

static void fuzz_over(struct str in)
{
    struct over o, again;
    if (over_unpack(in, account, (msg_uid){7}, &o).code)
        return;
    struct buf out CLEANUP(buf_free) = {0};
    over_pack(&out, account, &o);
    check(over_unpack(buf_str(&out), account, (msg_uid){7}, &again).code == E_OK);
    check(o.dead == again.dead && o.e.internal_date == again.e.internal_date);
    check(o.e.email.v == again.e.email.v && o.e.flags == again.e.flags);
}

static bool pack_line(const struct log_line *l, void *arg)
{
    struct buf *out = arg;
    uint32_t last = 0;
    changes_line(out, &last, l);
    check(last == l->before.uid.v);
    return true;
}

static void fuzz_changes(struct str in)
{
    struct buf lines CLEANUP(buf_free) = {0};
    (void)changes_read(in, account, pack_line, &lines).code;
}

static void same_row(const struct listing_row *a, const struct listing_row *b)
{
    check(str_eq(a->text, b->text) && a->partial == b->partial);
    check(a->time == b->time && a->zone == b->zone);
}

static void fuzz_column(struct str in, enum listing_field field)
{
    static struct listing_column l, again; /* large; their buffers are used again */
    uint32_t uids[ENTRY_BLOCK], uids_again[ENTRY_BLOCK];
    if (listing_unpack(in, account, mailbox, field, uids, &l).code)
        return;
    struct buf out CLEANUP(buf_free) = {0};
    listing_pack(&out, account, mailbox, field, uids, &l);
    check(listing_unpack(buf_str(&out), account, mailbox, field, uids_again, &again).code == E_OK);
    check(l.n == again.n);
    for (size_t i = 0; i < l.n; i++) {
        check(uids[i] == uids_again[i] && uids[i] > (i ? uids[i - 1] : 0));
        if (field == LISTING_SENT) {
            check(l.time[i] == again.time[i] && l.zone[i] == again.zone[i]);
            continue;
        }
        struct listing_row row = listing_at(&l, i), row_again = listing_at(&again, i);
        check(row.text.n <= LISTING_TEXT_MAX);
        row.time = row_again.time = row.zone = row_again.zone = 0; /* a text has none */
        same_row(&row, &row_again);
    }
}

static void fuzz_listing_row(struct str in)
{
    struct listing_row fields[LISTING_FIELDS], again[LISTING_FIELDS];
    if (listing_row_unpack(in, fields).code)
        return;
    struct buf out CLEANUP(buf_free) = {0};
    listing_row_pack(&out, fields);
    check(listing_row_unpack(buf_str(&out), again).code == E_OK);
    for (size_t i = 0; i < LISTING_FIELDS; i++)
        same_row(&fields[i], &again[i]);
}

/* Whatever the record, its listing fields can be read again. */
static void fuzz_listing_of_record(struct str in)
{
    struct listing_row fields[LISTING_FIELDS];
    struct buf out CLEANUP(buf_free) = {0};
    listing_of_record(in, &out);
    check(listing_row_unpack(buf_str(&out), fields).code == E_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct cur c = cur_of(str_of(p, n));
    uint8_t kind = cur_byte(&c);
    switch (kind % 8) {
    case 0: fuzz_block(cur_rest(&c)); break;
    case 1: fuzz_directory(cur_rest(&c)); break;
    case 2: fuzz_over(cur_rest(&c)); break;
    case 3: fuzz_changes(cur_rest(&c)); break;
    case 4: fuzz_column(cur_rest(&c), LISTING_SENT); break;
    case 5: fuzz_column(cur_rest(&c), (enum listing_field)(kind / 8 % LISTING_SENT)); break;
    case 6: fuzz_listing_row(cur_rest(&c)); break;
    default: fuzz_listing_of_record(cur_rest(&c));
    }
    return 0;
}
