#include "rpc/rpc.h"

/*
 * Each column is its length and its bytes, all of them varints. Numbers and UIDs are runs of
 * (how many are left out before it, how many follow one another), flags and keywords runs of
 * (value, how often); dates and modseqs are differences from the row before, zigzag.
 */

enum column { COL_SEQ, COL_UID, COL_SYSTEM, COL_KEYWORDS, COL_DATE, COL_SIZE, COL_MODSEQ };
enum { SYSTEM_FLAGS = 63 };

static const uint32_t column_items[COLUMNS] = {
    [COL_SYSTEM] = THURN__FETCH_ITEM__FETCH_FLAGS,
    [COL_KEYWORDS] = THURN__FETCH_ITEM__FETCH_FLAGS,
    [COL_DATE] = THURN__FETCH_ITEM__FETCH_INTERNALDATE,
    [COL_SIZE] = THURN__FETCH_ITEM__FETCH_SIZE,
    [COL_MODSEQ] = THURN__FETCH_ITEM__FETCH_MODSEQ,
};

/* Numbers and UIDs tell which row it is: they are always there. */
static bool column_is_there(unsigned c, uint32_t items)
{
    return c == COL_SEQ || c == COL_UID || items & column_items[c];
}

/* -- writing -- */

static void run_end(struct column_writer *c)
{
    if (c->count) {
        buf_varint(&c->bytes, c->value);
        buf_varint(&c->bytes, c->count);
    }
    c->count = 0;
}

static void put_number(struct column_writer *c, uint32_t v)
{
    check(v > c->last); /* rows ascend */
    if (c->count == 0 || v != c->last + 1) {
        run_end(c);
        c->value = v - c->last - 1;
    }
    c->count++;
    c->last = v;
}

static void put_value(struct column_writer *c, uint64_t v)
{
    if (c->count == 0 || v != c->value) {
        run_end(c);
        c->value = v;
    }
    c->count++;
}

static void put_difference(struct column_writer *c, uint64_t v)
{
    uint64_t difference = v - c->last;
    buf_varint(&c->bytes, difference << 1 ^ (0 - (difference >> 63)));
    c->last = v;
}

void columns_add(struct columns_writer *w, const Thurn__FetchRow *row)
{
    put_number(&w->columns[COL_SEQ], row->seq);
    put_number(&w->columns[COL_UID], row->uid);
    if (w->items & THURN__FETCH_ITEM__FETCH_FLAGS) {
        put_value(&w->columns[COL_SYSTEM], row->system);
        put_value(&w->columns[COL_KEYWORDS], row->keywords);
    }
    if (w->items & THURN__FETCH_ITEM__FETCH_INTERNALDATE)
        put_difference(&w->columns[COL_DATE], (uint64_t)row->internal_date);
    if (w->items & THURN__FETCH_ITEM__FETCH_SIZE)
        buf_varint(&w->columns[COL_SIZE].bytes, row->size);
    if (w->items & THURN__FETCH_ITEM__FETCH_MODSEQ)
        put_difference(&w->columns[COL_MODSEQ], row->modseq);
    w->rows++;
}

void columns_take(struct columns_writer *w, struct buf *out)
{
    for (unsigned c = 0; c < COLUMNS; c++) {
        struct column_writer *column = &w->columns[c];
        run_end(column);
        if (column_is_there(c, w->items)) {
            buf_varint(out, column->bytes.n);
            buf_put(out, buf_str(&column->bytes));
        }
        buf_clear(&column->bytes);
        *column = (struct column_writer){.bytes = column->bytes};
    }
    w->rows = 0;
}

void columns_writer_free(struct columns_writer *w)
{
    for (unsigned c = 0; c < COLUMNS; c++)
        buf_free(&w->columns[c].bytes);
}

/* -- reading -- */

struct err columns_begin(struct columns_reader *r, struct str packed, uint32_t items, uint32_t rows)
{
    *r = (struct columns_reader){.items = items, .left = rows};
    struct cur all = cur_of(packed);
    for (unsigned c = 0; c < COLUMNS; c++)
        if (column_is_there(c, items))
            r->columns[c].c = cur_of(cur_take(&all, (size_t)cur_varint(&all)));
    if (all.bad || !cur_end(&all) || rows > COLUMNS_ROWS || items & ~(uint32_t)COLUMNS_ITEMS)
        return err_make(E_INVALID, "malformed columns");
    return OK;
}

/* The next run, if this one is used up; false at a malformed one. */
static bool run_next(struct column_reader *c, uint64_t *value)
{
    *value = cur_varint(&c->c);
    c->left = cur_varint(&c->c);
    return !c->c.bad && c->left > 0;
}

static uint32_t take_number(struct column_reader *c)
{
    uint64_t gap = 0;
    if (c->left == 0 && (!run_next(c, &gap) || gap > UINT32_MAX))
        (void)cur_fail(&c->c);
    c->last += gap + 1;
    if (c->last > UINT32_MAX)
        (void)cur_fail(&c->c);
    c->left--;
    return (uint32_t)c->last;
}

static uint64_t take_value(struct column_reader *c)
{
    if (c->left == 0 && !run_next(c, &c->last))
        (void)cur_fail(&c->c);
    c->left--;
    return c->last;
}

static uint64_t take_difference(struct column_reader *c)
{
    uint64_t v = cur_varint(&c->c);
    return c->last += v >> 1 ^ (0 - (v & 1));
}

/* Whether all was well-formed so far, and at the end everything has been used. */
static bool columns_are_sound(const struct columns_reader *r)
{
    for (unsigned c = 0; c < COLUMNS; c++) {
        const struct column_reader *column = &r->columns[c];
        if (column->c.bad || (r->left == 0 && (!cur_end(&column->c) || column->left)))
            return false;
    }
    return true;
}

struct err columns_next(struct columns_reader *r, Thurn__FetchRow *row)
{
    check(r->left > 0);
    r->left--;
    row->items = r->items;
    row->seq = take_number(&r->columns[COL_SEQ]);
    row->uid = take_number(&r->columns[COL_UID]);
    if (r->items & THURN__FETCH_ITEM__FETCH_FLAGS) {
        uint64_t system = take_value(&r->columns[COL_SYSTEM]);
        if (system > SYSTEM_FLAGS)
            (void)cur_fail(&r->columns[COL_SYSTEM].c);
        row->system = (uint32_t)system & SYSTEM_FLAGS;
        row->keywords = take_value(&r->columns[COL_KEYWORDS]);
    }
    if (r->items & THURN__FETCH_ITEM__FETCH_INTERNALDATE)
        row->internal_date = (int64_t)take_difference(&r->columns[COL_DATE]);
    if (r->items & THURN__FETCH_ITEM__FETCH_SIZE)
        row->size = cur_varint(&r->columns[COL_SIZE].c);
    if (r->items & THURN__FETCH_ITEM__FETCH_MODSEQ)
        row->modseq = take_difference(&r->columns[COL_MODSEQ]);
    return columns_are_sound(r) ? OK : err_make(E_INVALID, "malformed columns");
}
