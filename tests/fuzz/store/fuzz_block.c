/* Values packed by hand: blocks, directories, overlay, change log. What unpacks packs again, and
 * then unpacks to the same. */
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

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct cur c = cur_of(str_of(p, n));
    switch (cur_byte(&c) % 4) {
    case 0: fuzz_block(cur_rest(&c)); break;
    case 1: fuzz_directory(cur_rest(&c)); break;
    case 2: fuzz_over(cur_rest(&c)); break;
    default: fuzz_changes(cur_rest(&c));
    }
    return 0;
}
