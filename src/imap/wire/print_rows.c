/* FETCH answers: rows with raw bytes that may go on in later frames. */
#include "imap/wire/wire.h"
#include "mime/mime.h"

enum {
    DECODED_PIECE = 16 * 1024,        /* encoded bytes decoded at a time */
    RECORD_BUDGET = 16 * 1024 * 1024, /* of an unpacked record; packed it fits into a frame */
    HEADER_MAX = 1024 * 1024,
};

struct imap_fetch_printer {
    struct imap_fetch_print *print;
    const struct imap_view_names *names;
    /* The row whose sections have not all come. */
    bool open;
    bool any; /* something stands in its parentheses */
    uint32_t seq;
    uint64_t nil;
    uint64_t left; /* bytes of the current section still to come */
    size_t section;
    uint32_t uid;   /* of the last row */
    uint32_t after; /* and of the last one that was complete */
    uint64_t fed;   /* bytes that the open row has got */
    bool again;     /* it comes again from its beginning */
    uint64_t known; /* bytes of it that have been dealt with and come again */
    uint64_t lengths[WIRE_SECTIONS_MAX];
    struct buf header; /* of the section, if fields are picked from it */
    /* BINARY: how sections are encoded, and what is known of the one that is being decoded. */
    uint8_t codings[WIRE_SECTIONS_MAX];
    uint64_t sizes[WIRE_SECTIONS_MAX];
    struct mime_decoder decoder;
    struct buf decoded; /* scratch */
    uint64_t measured;
    uint64_t skip, show; /* decoded bytes before the partial, and of it, still to come */
    bool broken;         /* its end was not where it had been measured */
    struct arena record; /* of the row whose items are printed */
};

struct imap_fetch_printer *imap_fetch_printer_new(struct imap_fetch_print *print,
                                                  const struct imap_view_names *names)
{
    struct imap_fetch_printer *f = mem_alloc(sizeof *f);
    f->print = print;
    f->names = names;
    arena_init(&f->record, RECORD_BUDGET);
    return f;
}

void imap_fetch_printer_free(struct imap_fetch_printer *f)
{
    if (!f)
        return;
    buf_free(&f->header);
    buf_free(&f->decoded);
    mime_decoder_free(&f->decoder);
    arena_free(&f->record);
    free(f);
}

bool imap_fetch_printer_complete(const struct imap_fetch_printer *f)
{
    return !f->open;
}

/* ---------------------------------------------------------------------------------- fixed items */

static const uint32_t item_bits[ITEMS] = {
    [ITEM_FLAGS] = THURN__FETCH_ITEM__FETCH_FLAGS,
    [ITEM_UID] = THURN__FETCH_ITEM__FETCH_UID,
    [ITEM_INTERNALDATE] = THURN__FETCH_ITEM__FETCH_INTERNALDATE,
    [ITEM_SIZE] = THURN__FETCH_ITEM__FETCH_SIZE,
    [ITEM_ENVELOPE] = THURN__FETCH_ITEM__FETCH_RECORD,
    [ITEM_BODY] = THURN__FETCH_ITEM__FETCH_RECORD,
    [ITEM_BODYSTRUCTURE] = THURN__FETCH_ITEM__FETCH_RECORD,
    [ITEM_MODSEQ] = THURN__FETCH_ITEM__FETCH_MODSEQ,
};

/* Before an item: a row that brings nothing is no answer. */
static void separate(struct imap_fetch_printer *f, struct buf *out)
{
    if (f->any)
        buf_byte(out, ' ');
    else
        wire_print_row_head(out, f->seq);
    f->any = true;
}

static void end_row(struct imap_fetch_printer *f, struct buf *out)
{
    if (f->any)
        buf_put(out, STR(")\r\n"));
    f->open = false;
    f->after = f->uid;
}

static void print_from_record(struct buf *out, enum wire_item item, const Thurn__FetchRow *row,
                              const Thurn__Email *email)
{
    static const struct str names[ITEMS] = {
        [ITEM_ENVELOPE] = STR_INIT("ENVELOPE "),
        [ITEM_BODY] = STR_INIT("BODY "),
        [ITEM_BODYSTRUCTURE] = STR_INIT("BODYSTRUCTURE "),
    };
    buf_put(out, names[item]);
    wire_print_record(out, item, email, row->size);
}

static void print_item(struct imap_fetch_printer *f, struct buf *out, enum wire_item item,
                       const Thurn__FetchRow *row, const Thurn__Email *email)
{
    separate(f, out);
    switch (item) {
    case ITEM_FLAGS:
        buf_put(out, STR("FLAGS "));
        wire_print_flags(out, row->system, row->keywords, f->names);
        break;
    case ITEM_UID:
        buf_put(out, STR("UID "));
        buf_decimal(out, row->uid);
        break;
    case ITEM_INTERNALDATE:
        buf_put(out, STR("INTERNALDATE "));
        wire_print_date_time(out, row->internal_date);
        break;
    case ITEM_SIZE:
        buf_put(out, STR("RFC822.SIZE "));
        buf_decimal(out, row->size);
        break;
    case ITEM_MODSEQ:
        buf_put(out, STR("MODSEQ ("));
        buf_decimal(out, row->modseq);
        buf_byte(out, ')');
        break;
    default: print_from_record(out, item, row, email); break;
    }
}

static void print_items(struct imap_fetch_printer *f, struct buf *out, const Thurn__FetchRow *row)
{
    const Thurn__Email *email = NULL;
    uint32_t shown = 0;
    for (size_t i = 0; i < f->print->n_items; i++) {
        enum wire_item item = f->print->items[i];
        if (!(row->items & item_bits[item]))
            continue;
        if (item_bits[item] == THURN__FETCH_ITEM__FETCH_RECORD && !email &&
            pb_borrow(&f->record, &thurn__email__descriptor, pb_str(row->record),
                      PB_FIELD(EMAIL_FIELDS), &email)
                    .code != E_OK)
            email = NULL; /* shown as one part */
        print_item(f, out, item, row, email);
        shown |= item_bits[item];
    }
    /* Changed in passing (\Seen), or known anyway. */
    static const enum wire_item known[] = {ITEM_FLAGS, ITEM_UID, ITEM_MODSEQ};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (row->items & item_bits[known[i]] & ~shown)
            print_item(f, out, known[i], row, NULL);
    arena_clear(&f->record);
}

/* ------------------------------------------------------------------------------------- sections */

static bool is_nil(const struct imap_fetch_printer *f)
{
    return f->nil >> f->section & 1;
}

static void print_literal(struct buf *out, const char *begin, uint64_t n)
{
    buf_put(out, str_c(begin));
    buf_decimal(out, n);
    buf_put(out, STR("}\r\n"));
}

/* How much of what has been measured the client will see; as a literal8, for it may hold NUL. */
static void binary_begin(struct imap_fetch_printer *f, struct buf *out,
                         const struct wire_section *s)
{
    f->skip = 0;
    f->show = f->left; /* not encoded: the partial has been applied */
    if (f->codings[f->section] != THURN__SECTION_CODING__CODING_NONE) {
        f->show = f->measured;
        if (s->partial) {
            f->skip = MIN((uint64_t)s->offset, f->measured);
            f->show = MIN((uint64_t)s->length, f->measured - f->skip);
        }
    }
    print_literal(out, " ~{", f->show);
}

static void decoder_begin(struct imap_fetch_printer *f)
{
    static const enum mime_coding codings[] = {
        [THURN__SECTION_CODING__CODING_NONE] = MIME_IDENTITY,
        [THURN__SECTION_CODING__CODING_BASE64] = MIME_BASE64,
        [THURN__SECTION_CODING__CODING_QUOTED_PRINTABLE] = MIME_QUOTED_PRINTABLE,
        [THURN__SECTION_CODING__CODING_UNKNOWN] = MIME_IDENTITY, /* it is NIL */
    };
    mime_decoder_begin(&f->decoder, codings[f->codings[f->section]]);
}

static void section_begin(struct imap_fetch_printer *f, struct buf *out)
{
    const struct wire_section *s = &f->print->sections[f->section];
    f->left = f->lengths[f->section];
    if (s->kind != SECTION_BYTES)
        decoder_begin(f);
    if (s->kind == SECTION_MEASURED || s->kind == SECTION_SIZE) {
        f->measured = f->sizes[f->section];
        return;
    }
    separate(f, out);
    buf_put(out, s->label);
    if (is_nil(f))
        buf_put(out, STR(" NIL"));
    else if (s->kind == SECTION_BINARY)
        binary_begin(f, out, s);
    else if (s->pick)
        buf_clear(&f->header);
    else
        print_literal(out, " {", f->left);
}

/* What the decoder has given is counted, or shown. */
static void decoded_take(struct imap_fetch_printer *f, struct buf *out)
{
    struct str bytes = buf_str(&f->decoded);
    if (f->print->sections[f->section].kind != SECTION_BINARY) {
        f->measured += bytes.n;
    } else {
        size_t skip = (size_t)MIN(f->skip, (uint64_t)bytes.n);
        size_t show = (size_t)MIN(f->show, (uint64_t)(bytes.n - skip));
        buf_put(out, str_sub(bytes, skip, skip + show));
        f->skip -= skip;
        f->show -= show;
    }
    f->broken |= f->decoded.bad;
    buf_clear(&f->decoded);
}

static void section_decode(struct imap_fetch_printer *f, struct buf *out, struct str bytes)
{
    while (bytes.n) {
        mime_decoder_put(&f->decoder, str_sub(bytes, 0, DECODED_PIECE), &f->decoded);
        decoded_take(f, out);
        bytes = str_skip(bytes, MIN(bytes.n, (size_t)DECODED_PIECE));
    }
}

static void section_bytes(struct imap_fetch_printer *f, struct buf *out, struct str bytes)
{
    const struct wire_section *s = &f->print->sections[f->section];
    f->left -= bytes.n;
    if (s->kind != SECTION_BYTES)
        section_decode(f, out, bytes);
    else if (s->pick)
        buf_put(&f->header, str_sub(bytes, 0, HEADER_MAX - MIN(f->header.n, (size_t)HEADER_MAX)));
    else
        buf_put(out, bytes);
}

static void decode_end(struct imap_fetch_printer *f, struct buf *out)
{
    const struct wire_section *s = &f->print->sections[f->section];
    mime_decoder_end(&f->decoder, &f->decoded);
    decoded_take(f, out);
    if (s->kind == SECTION_BINARY && f->show && !is_nil(f))
        f->broken = true;
    if (s->kind != SECTION_SIZE || is_nil(f))
        return;
    separate(f, out);
    buf_put(out, s->label);
    buf_byte(out, ' ');
    buf_decimal(out, f->measured);
}

static void print_picked(struct imap_fetch_printer *f, struct buf *out)
{
    const struct wire_section *s = &f->print->sections[f->section];
    CLEANUP(buf_free) struct buf fields = {0};
    wire_pick_fields(s, buf_str(&f->header), &fields);
    struct str text = buf_str(&fields);
    if (s->partial)
        text = str_sub(text, s->offset, (size_t)s->offset + s->length);
    print_literal(out, " {", text.n);
    buf_put(out, text);
    buf_reset(&f->header, 0);
}

/* All its bytes have come. */
static void section_end(struct imap_fetch_printer *f, struct buf *out)
{
    const struct wire_section *s = &f->print->sections[f->section];
    if (s->kind != SECTION_BYTES)
        decode_end(f, out);
    else if (s->pick && !is_nil(f))
        print_picked(f, out);
    f->section++;
    if (f->section < f->print->n_sections)
        section_begin(f, out);
    else
        end_row(f, out);
}

/* Gives the open row what is there of its bytes. */
static void row_feed(struct imap_fetch_printer *f, struct buf *out, struct str *raw)
{
    size_t known = (size_t)MIN(f->known, (uint64_t)raw->n);
    *raw = str_skip(*raw, known);
    f->known -= known;
    while (f->open && !f->again) {
        size_t n = (size_t)MIN(f->left, (uint64_t)raw->n);
        section_bytes(f, out, str_sub(*raw, 0, n));
        *raw = str_skip(*raw, n);
        f->fed += n;
        if (f->left)
            return;
        section_end(f, out);
    }
}

/* ----------------------------------------------------------------------------------------- rows */

/* Whether its lengths are those of the sections asked for; a row may also bring none. */
static bool row_fits(const struct imap_fetch_printer *f, const Thurn__FetchRow *row)
{
    if (row->n_lengths != 0 && row->n_lengths != f->print->n_sections)
        return false;
    bool codings = row->n_codings || row->n_sizes;
    if (codings && (row->n_codings != row->n_lengths || row->n_sizes != row->n_lengths))
        return false;
    for (size_t i = 0; i < row->n_lengths; i++) {
        if ((row->nil >> i & 1) && row->lengths[i])
            return false;
        if (codings && row->codings[i] > THURN__SECTION_CODING__CODING_UNKNOWN)
            return false;
    }
    return true;
}

static void row_sections(struct imap_fetch_printer *f, const Thurn__FetchRow *row)
{
    for (size_t i = 0; i < row->n_lengths; i++) {
        f->lengths[i] = row->lengths[i];
        f->codings[i] = row->n_codings ? (uint8_t)row->codings[i] : 0;
        f->sizes[i] = row->n_sizes ? row->sizes[i] : 0;
    }
    f->nil = row->nil;
    f->section = 0;
    f->fed = 0;
    f->open = true;
}

/* Whether this is the open row, once more. */
static bool row_is_again(const struct imap_fetch_printer *f, const Thurn__FetchRow *row)
{
    return row->uid == f->uid && row->n_lengths == f->print->n_sections && row->nil == f->nil &&
           memcmp(row->lengths, f->lengths, row->n_lengths * sizeof row->lengths[0]) == 0;
}

void imap_fetch_printer_again(struct imap_fetch_printer *f, uint32_t *out_after, uint32_t *out_open)
{
    f->again = f->open;
    f->known = 0;
    *out_after = f->after;
    *out_open = f->open ? f->uid : 0;
}

static struct err row_again(struct imap_fetch_printer *f, const Thurn__FetchRow *row)
{
    if (!row_is_again(f, row))
        return err_make(E_INVALID, "a row that is not the one it should go on");
    f->again = false;
    f->known = f->fed;
    return OK;
}

static void row_begin(struct imap_fetch_printer *f, struct buf *out, const Thurn__FetchRow *row)
{
    f->any = false;
    f->seq = row->seq;
    f->uid = row->uid;
    print_items(f, out, row);
    if (row->n_lengths) {
        row_sections(f, row);
        section_begin(f, out);
    } else {
        end_row(f, out);
    }
}

static struct err print_columns(struct imap_fetch_printer *f, struct buf *out,
                                const Thurn__ImapRows *rows)
{
    struct columns_reader reader;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    TRY(columns_begin(&reader, pb_str(rows->columns), rows->column_items, rows->column_rows));
    while (reader.left) {
        TRY(columns_next(&reader, &row));
        row_begin(f, out, &row);
    }
    return OK;
}

struct err imap_fetch_print_rows(struct imap_fetch_printer *f, struct buf *out,
                                 const Thurn__ImapRows *rows, struct str raw)
{
    row_feed(f, out, &raw);
    for (size_t i = 0; rows && i < rows->n_rows; i++) {
        if (f->again) {
            TRY(row_again(f, rows->rows[i]));
        } else if (f->open || !row_fits(f, rows->rows[i])) {
            return err_make(E_INVALID, "FETCH rows that do not fit together");
        } else {
            row_begin(f, out, rows->rows[i]);
        }
        row_feed(f, out, &raw);
    }
    if (rows && rows->column_rows) {
        if (f->open)
            return err_make(E_INVALID, "columns inside a row");
        TRY(print_columns(f, out, rows));
    }
    if (raw.n)
        return err_make(E_INVALID, "FETCH rows with more bytes than they announce");
    if (f->broken)
        return err_make(E_INVALID, "a part that is not as long as it was measured");
    return buf_err(out);
}
