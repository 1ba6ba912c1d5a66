/*
 * Rows of a listing as packed columns: what FETCH answers if nothing but the entries is asked for
 * (FLAGS, INTERNALDATE, RFC822.SIZE, MODSEQ), in some two bytes for a row instead of thirty.
 */
#ifndef THURN_RPC_COLUMNS_H
#define THURN_RPC_COLUMNS_H

#include "rpc.pb-c.h"

enum { COLUMNS = 7, COLUMNS_ROWS = 1024 /* in one frame at most */ };
/* The items that columns can hold. */
enum {
    COLUMNS_ITEMS = THURN__FETCH_ITEM__FETCH_UID | THURN__FETCH_ITEM__FETCH_FLAGS |
                    THURN__FETCH_ITEM__FETCH_INTERNALDATE | THURN__FETCH_ITEM__FETCH_SIZE |
                    THURN__FETCH_ITEM__FETCH_MODSEQ,
};

struct column_writer {
    struct buf bytes;
    uint64_t value, count; /* of the run that has not ended */
    uint64_t last;
};
/* Begins as {.items}. */
struct columns_writer {
    uint32_t items; /* FetchItem bits of all rows */
    uint32_t rows;
    struct column_writer columns[COLUMNS];
};
/* Adds a row; numbers and UIDs ascend. */
void columns_add(struct columns_writer *w, const Thurn__FetchRow *row);
/* Puts what was added at the end of the buffer, and begins anew. */
void columns_take(struct columns_writer *w, struct buf *out);
void columns_writer_free(struct columns_writer *w);

struct column_reader {
    struct cur c;
    uint64_t last, left;
};
struct columns_reader {
    uint32_t items, left; /* rows still to come */
    struct column_reader columns[COLUMNS];
};
/* Columns that may be anything. E_INVALID. The bytes must stay while rows are taken. */
MUST_CHECK struct err columns_begin(struct columns_reader *r, struct str packed, uint32_t items,
                                    uint32_t rows);
/* Fills what the items name of the next row, its number and its UID; there must be one left.
 * E_INVALID for a row that is malformed, and for the last one if bytes are left: a row that is
 * given has ascending numbers, and flags that exist. */
MUST_CHECK struct err columns_next(struct columns_reader *r, Thurn__FetchRow *row);

#endif
