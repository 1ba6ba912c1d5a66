/*
 * Listing rows as columns. Input: items, number of rows in units of four, then the columns. Rows
 * that are given ascend, and written again they read the same.
 */
#include "base/base.h"

#include "rpc/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_all(struct str packed, uint32_t items, uint32_t rows, struct columns_writer *w)
{
    struct columns_reader r;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    if (columns_begin(&r, packed, items, rows).code != E_OK)
        return false;
    for (uint32_t seq = 0, uid = 0; r.left; seq = row.seq, uid = row.uid) {
        if (columns_next(&r, &row).code != E_OK)
            return false;
        check(row.seq > seq && row.uid > uid && row.system < 64);
        columns_add(w, &row);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur c = cur_of(str_of(data, size));
    uint32_t items = cur_byte(&c), rows = cur_byte(&c) * 4u;
    struct columns_writer first = {.items = items}, second = {.items = items};
    struct buf once CLEANUP(buf_free) = {0}, twice CLEANUP(buf_free) = {0};
    if (read_all(cur_rest(&c), items, rows, &first)) {
        columns_take(&first, &once);
        check(read_all(buf_str(&once), items, rows, &second));
        columns_take(&second, &twice);
        check(str_eq(buf_str(&once), buf_str(&twice)));
    }
    columns_writer_free(&first);
    columns_writer_free(&second);
    return 0;
}
