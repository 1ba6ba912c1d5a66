#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "rpc/rpc.h"

enum { ROWS = 300 };

static uint32_t seed = 1;
static uint32_t below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

/* Rows as mailboxes have them: mostly without gaps, flags that mostly stay the same. */
static void random_rows(Thurn__FetchRow *rows, size_t n)
{
    uint32_t seq = below(3), uid = below(1000);
    for (size_t i = 0; i < n; i++) {
        Thurn__FetchRow *r = &rows[i];
        *r = i ? rows[i - 1] : (Thurn__FetchRow)THURN__FETCH_ROW__INIT;
        r->seq = seq += 1 + (below(5) ? 0 : below(100));
        r->uid = uid += 1 + (below(5) ? 0 : below(100000));
        if (below(4) == 0)
            r->system = below(64);
        if (below(8) == 0)
            r->keywords = (uint64_t)below(1 << 20) << below(44);
        r->internal_date = below(2) ? (int64_t)below(1 << 24) << 8 : -(int64_t)below(100);
        r->size = below(3) ? below(100000) : (uint64_t)below(1 << 24) << 30;
        r->modseq = 1 + below(1 << 20);
    }
}

static void write_rows(const Thurn__FetchRow *rows, size_t n, uint32_t items, struct buf *out)
{
    struct columns_writer w = {.items = items};
    for (size_t i = 0; i < n; i++)
        columns_add(&w, &rows[i]);
    columns_take(&w, out);
    assert_int_equal(w.rows, 0);
    columns_writer_free(&w);
}

static void rows_come_back_as_they_were(void **state)
{
    static Thurn__FetchRow rows[ROWS];
    for (uint32_t items = 0; items <= COLUMNS_ITEMS; items++) {
        if (items & ~(uint32_t)COLUMNS_ITEMS)
            continue;
        size_t n = below(ROWS + 1);
        struct buf packed CLEANUP(buf_free) = {0};
        struct columns_reader r;
        random_rows(rows, n);
        write_rows(rows, n, items, &packed);
        assert_int_equal(columns_begin(&r, buf_str(&packed), items, (uint32_t)n).code, E_OK);
        for (size_t i = 0; i < n; i++) {
            Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
            assert_int_equal(columns_next(&r, &row).code, E_OK);
            assert_int_equal(row.items, items);
            assert_int_equal(row.seq, rows[i].seq);
            assert_int_equal(row.uid, rows[i].uid);
            bool flags = items & THURN__FETCH_ITEM__FETCH_FLAGS;
            assert_int_equal(row.system, flags ? rows[i].system : 0);
            assert_int_equal(row.keywords, flags ? rows[i].keywords : 0);
            assert_int_equal(row.internal_date, items & THURN__FETCH_ITEM__FETCH_INTERNALDATE
                                                    ? rows[i].internal_date
                                                    : 0);
            assert_int_equal(row.size, items & THURN__FETCH_ITEM__FETCH_SIZE ? rows[i].size : 0);
            assert_int_equal(row.modseq,
                             items & THURN__FETCH_ITEM__FETCH_MODSEQ ? rows[i].modseq : 0);
        }
        assert_int_equal(r.left, 0);
    }
}

static struct err read_all(struct str packed, uint32_t items, uint32_t rows)
{
    struct columns_reader r;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    struct err e = columns_begin(&r, packed, items, rows);
    for (uint32_t seq = 0, uid = 0; e.code == E_OK && r.left; seq = row.seq, uid = row.uid) {
        e = columns_next(&r, &row);
        assert_true(e.code != E_OK || (row.seq > seq && row.uid > uid && row.system < 64));
    }
    return e;
}

static void a_listing_without_gaps_takes_a_few_bytes(void **state)
{
    struct buf packed CLEANUP(buf_free) = {0};
    struct columns_writer w = {.items = THURN__FETCH_ITEM__FETCH_FLAGS};
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    for (uint32_t i = 1; i <= COLUMNS_ROWS; i++) {
        row.seq = row.uid = i;
        columns_add(&w, &row);
    }
    columns_take(&w, &packed);
    columns_writer_free(&w);
    assert_in_range(packed.n, 1, 20);
    assert_int_equal(read_all(buf_str(&packed), THURN__FETCH_ITEM__FETCH_FLAGS, COLUMNS_ROWS).code,
                     E_OK);
}

static void what_is_cut_or_has_too_much_is_refused(void **state)
{
    static Thurn__FetchRow rows[50];
    struct buf packed CLEANUP(buf_free) = {0};
    random_rows(rows, 50);
    write_rows(rows, 50, COLUMNS_ITEMS, &packed);
    struct str all = buf_str(&packed);
    assert_int_equal(read_all(all, COLUMNS_ITEMS, 50).code, E_OK);
    for (size_t n = 0; n < all.n; n++) {
        uint8_t *copy = mem_alloc(n); /* of just that size */
        str_copy_to(copy, str_sub(all, 0, n));
        assert_int_equal(read_all(str_of(copy, n), COLUMNS_ITEMS, 50).code, E_INVALID);
        free(copy);
    }
    assert_int_equal(read_all(all, COLUMNS_ITEMS, 49).code, E_INVALID);
    assert_int_equal(read_all(all, COLUMNS_ITEMS, 51).code, E_INVALID);
    buf_byte(&packed, 0);
    assert_int_equal(read_all(buf_str(&packed), COLUMNS_ITEMS, 50).code, E_INVALID);
}

static void what_no_writer_makes_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        uint32_t items, rows;
    } cases[] = {
        {"\2\0\2\2\0\2", 6, 0, COLUMNS_ROWS + 1},                /* too many rows */
        {"\2\0\1\2\0\1", 6, THURN__FETCH_ITEM__FETCH_RECORD, 1}, /* an item that has no column */
        {"\2\0\0\2\0\1", 6, 0, 1},                               /* a run of nothing */
        {"\6\xFF\xFF\xFF\xFF\x0F\1\2\0\1", 10, 0, 1},            /* a number beyond 32 bits */
        {"\2\0\1\2\0\1\2\x40\1\2\0\1", 12, THURN__FETCH_ITEM__FETCH_FLAGS, 1}, /* no such flag */
        {"\2\0\2\2\0\1", 6, 0, 1}, /* a run beyond the rows */
    };
    assert_int_equal(read_all(str_of("\2\0\1\2\0\1", 6), 0, 1).code, E_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(
            read_all(str_of(cases[i].bytes, cases[i].n), cases[i].items, cases[i].rows).code,
            E_INVALID);
}

static void changed_bytes_never_give_rows_out_of_order(void **state)
{
    static Thurn__FetchRow rows[100];
    for (unsigned round = 0; round < 3000; round++) {
        struct buf packed CLEANUP(buf_free) = {0};
        random_rows(rows, 100);
        write_rows(rows, 100, COLUMNS_ITEMS, &packed);
        for (uint32_t k = 1 + below(4); k; k--)
            packed.p[packed.off + below((uint32_t)packed.n)] = (uint8_t)below(256);
        (void)read_all(buf_str(&packed), COLUMNS_ITEMS, 100).code;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_as_they_were),
        cmocka_unit_test(a_listing_without_gaps_takes_a_few_bytes),
        cmocka_unit_test(what_is_cut_or_has_too_much_is_refused),
        cmocka_unit_test(what_no_writer_makes_is_refused),
        cmocka_unit_test(changed_bytes_never_give_rows_out_of_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
