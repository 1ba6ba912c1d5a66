#include "store/model.h"

/*
 * Listing fields in columns. A column is
 *
 *   format, account, mailbox, field, count, then runs of UIDs until all have been named: distance
 * of the first from the end of the run before, and length; then of a text: for each row its length
 * with the NUL behind it, times 2, plus 1 if it is partial; then the bytes of all rows of the date:
 * for each row the difference of its time from the one before (zigzag), and its zone (zigzag)
 *
 * A row outside the blocks has the fields one after the other: of a text its length without the
 * NUL, times 2, plus 1 if it is partial, and the bytes; of the date time and zone (zigzag).
 */

enum { LISTING_FORMAT = 1, ZONE_MAX = 24 * 60 };

static uint64_t zigzag(uint64_t v)
{
    return v << 1 ^ (0 - (v >> 63));
}

static uint64_t unzigzag(uint64_t v)
{
    return v >> 1 ^ (0 - (v & 1));
}

void listing_free(struct listing_column *l)
{
    buf_free(&l->text);
}

void listing_clear(struct listing_column *l)
{
    l->n = 0;
    buf_clear(&l->text);
}

void listing_add(struct listing_column *l, const struct listing_row *row)
{
    size_t i = l->n++;
    check(i < ENTRY_BLOCK);
    buf_put(&l->text, row->text);
    buf_byte(&l->text, 0);
    l->end[i] = (uint32_t)l->text.n;
    l->partial[i] = row->partial;
    l->time[i] = row->time;
    l->zone[i] = row->zone;
}

struct listing_row listing_at(const struct listing_column *l, size_t i)
{
    size_t from = i ? l->end[i - 1] : 0;
    return (struct listing_row){.text = str_sub(buf_str(&l->text), from, l->end[i] - 1),
                                .partial = l->partial[i],
                                .time = l->time[i],
                                .zone = l->zone[i]};
}

/* ------------------------------------------------------------------------------- columns */

static void uids_pack(struct buf *out, const uint32_t *uids, size_t n)
{
    uint32_t end = 0;
    for (size_t i = 0; i < n;) {
        size_t run = 1;
        while (i + run < n && uids[i + run] == uids[i] + run)
            run++;
        buf_varint(out, uids[i] - end);
        buf_varint(out, run);
        end = uids[i] + (uint32_t)run;
        i += run;
    }
}

static void uids_unpack(struct cur *in, uint32_t *uids, size_t n)
{
    uint64_t next = 0;
    for (size_t i = 0; i < n && !in->bad;) {
        uint64_t gap = cur_varint(in), run = cur_varint(in);
        bool joins = gap == 0; /* would be one run with the one before, or begin at 0 */
        if (joins || gap > UINT32_MAX || run == 0 || run > n - i || next + gap + run > UINT32_MAX) {
            cur_fail(in);
            return;
        }
        next += gap;
        for (; run; run--)
            uids[i++] = (uint32_t)next++;
    }
}

static void texts_pack(struct buf *out, const struct listing_column *l)
{
    for (size_t i = 0, from = 0; i < l->n; from = l->end[i++])
        buf_varint(out, (uint64_t)(l->end[i] - from) << 1 | l->partial[i]);
    buf_put(out, buf_str(&l->text));
}

static void texts_unpack(struct cur *in, struct listing_column *out)
{
    uint64_t end = 0;
    for (size_t i = 0; i < out->n && !in->bad; i++) {
        uint64_t v = cur_varint(in), length = v >> 1;
        if (length == 0 || length > LISTING_TEXT_MAX + 1)
            cur_fail(in);
        end += length;
        out->end[i] = (uint32_t)end;
        out->partial[i] = v & 1;
    }
    struct str text = cur_rest(in);
    if (text.n != end)
        cur_fail(in);
    for (size_t i = 0; i < out->n && !in->bad; i++)
        if (text.p[out->end[i] - 1] != 0)
            cur_fail(in);
    if (!in->bad)
        buf_put(&out->text, text);
}

static void time_pack(struct buf *out, int64_t difference, int16_t zone)
{
    buf_varint(out, zigzag((uint64_t)difference));
    buf_varint(out, zigzag((uint64_t)(int64_t)zone));
}

static int16_t zone_unpack(struct cur *in)
{
    int64_t zone = (int64_t)unzigzag(cur_varint(in));
    if (zone <= -ZONE_MAX || zone >= ZONE_MAX)
        cur_fail(in);
    return in->bad ? 0 : (int16_t)zone;
}

static void times_pack(struct buf *out, const struct listing_column *l)
{
    uint64_t last = 0;
    for (size_t i = 0; i < l->n; i++) {
        time_pack(out, (int64_t)((uint64_t)l->time[i] - last), l->zone[i]);
        last = (uint64_t)l->time[i];
    }
}

static void times_unpack(struct cur *in, struct listing_column *out)
{
    uint64_t time = 0;
    for (size_t i = 0; i < out->n && !in->bad; i++) {
        time += unzigzag(cur_varint(in));
        out->time[i] = (int64_t)time;
        out->zone[i] = zone_unpack(in);
    }
}

void listing_pack(struct buf *out, account_id a, mailbox_id m, enum listing_field field,
                  const uint32_t *uids, const struct listing_column *l)
{
    check(l->n > 0 && l->n <= ENTRY_BLOCK);
    buf_varint(out, LISTING_FORMAT);
    buf_varint(out, a.v);
    buf_varint(out, m.v);
    buf_varint(out, field);
    buf_varint(out, l->n);
    uids_pack(out, uids, l->n);
    if (field == LISTING_SENT)
        times_pack(out, l);
    else
        texts_pack(out, l);
}

struct err listing_unpack(struct str packed, account_id a, mailbox_id m, enum listing_field field,
                          uint32_t *uids, struct listing_column *out)
{
    struct cur in = cur_of(packed);
    listing_clear(out);
    if (cur_varint(&in) != LISTING_FORMAT)
        cur_fail(&in);
    row_expect_account(&in, a);
    if (cur_varint(&in) != m.v || cur_varint(&in) != field)
        cur_fail(&in);
    uint64_t n = cur_varint(&in);
    if (n == 0 || n > ENTRY_BLOCK)
        cur_fail(&in);
    out->n = in.bad ? 0 : (size_t)n;
    uids_unpack(&in, uids, out->n);
    if (field == LISTING_SENT)
        times_unpack(&in, out);
    else
        texts_unpack(&in, out);
    if (in.bad || !cur_end(&in))
        return err_make(E_CORRUPT, "a listing column is damaged");
    return buf_err(&out->text);
}

/* ---------------------------------------------------------------------------------- rows */

void listing_row_pack(struct buf *out, const struct listing_row fields[LISTING_FIELDS])
{
    for (size_t f = 0; f < LISTING_FIELDS; f++) {
        const struct listing_row *r = &fields[f];
        if (f == LISTING_SENT) {
            time_pack(out, r->time, r->zone);
            continue;
        }
        check(r->text.n <= LISTING_TEXT_MAX);
        buf_varint(out, (uint64_t)r->text.n << 1 | r->partial);
        buf_put(out, r->text);
    }
}

static struct err row_unpack_fields(struct cur *in, struct listing_row out[LISTING_FIELDS])
{
    for (size_t f = 0; f < LISTING_FIELDS; f++) {
        uint64_t v = cur_varint(in);
        out[f] = (struct listing_row){0};
        if (f == LISTING_SENT) {
            out[f].time = (int64_t)unzigzag(v);
            out[f].zone = zone_unpack(in);
            continue;
        }
        if (v >> 1 > LISTING_TEXT_MAX)
            cur_fail(in);
        out[f].text = cur_take(in, in->bad ? 0 : (size_t)(v >> 1));
        out[f].partial = v & 1;
    }
    return in->bad || !cur_end(in) ? err_make(E_CORRUPT, "listing fields are damaged") : OK;
}

struct err listing_row_unpack(struct str row, struct listing_row out[LISTING_FIELDS])
{
    struct cur in = cur_of(row);
    return row_unpack_fields(&in, out);
}

struct err listing_value_unpack(struct str value, account_id a,
                                struct listing_row out[LISTING_FIELDS])
{
    struct cur in = cur_of(value);
    row_expect_account(&in, a);
    return row_unpack_fields(&in, out);
}
