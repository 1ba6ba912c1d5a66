#include "store/model.h"

/* Listing fields: made from an email's record, and read from the columns. */

/* ------------------------------------------------------------------------- from a record */

/* A text that is cut where it becomes too long, or where it would look like its own end. */
struct listing_text {
    uint8_t b[LISTING_TEXT_MAX];
    size_t n;
    bool partial;
};

static void text_put(struct listing_text *t, struct str s)
{
    struct str whole = str_sub(s, 0, str_find_byte(s, 0, 0));
    size_t n = t->partial ? 0 : MIN(whole.n, sizeof t->b - t->n);
    str_copy_to(t->b + t->n, str_sub(whole, 0, n));
    t->n += n;
    t->partial = t->partial || n < s.n;
}

static void text_next(struct listing_text *t)
{
    if (t->n == sizeof t->b)
        t->partial = true;
    else if (!t->partial)
        t->b[t->n++] = 0;
}

/* As people write it, and as SEARCH compares it. */
static void text_address(struct listing_text *t, const Thurn__Address *a)
{
    if (a->kind != THURN__ADDRESS__KIND__MAILBOX) {
        text_put(t, row_bytes(a->mailbox));
        return;
    }
    text_put(t, row_bytes(a->name_text.len ? a->name_text : a->name));
    text_put(t, STR(" <"));
    text_put(t, row_bytes(a->mailbox));
    text_put(t, STR("@"));
    text_put(t, row_bytes(a->host));
    text_put(t, STR(">"));
}

static void text_addresses(struct listing_text *t, Thurn__Address *const *list, size_t n)
{
    for (size_t i = 0; i < n && !t->partial; i++) {
        if (i)
            text_next(t);
        text_address(t, list[i]);
    }
}

/* A field of a packed protobuf message. */
struct pb_field {
    uint64_t number;
    struct str bytes; /* of a length-delimited one */
    uint64_t value;   /* of a varint */
};

/* Takes the next field; false at the end and on bytes that are none. */
static bool pb_next(struct cur *in, struct pb_field *out)
{
    *out = (struct pb_field){0};
    if (cur_end(in))
        return false;
    uint64_t tag = cur_varint(in);
    out->number = tag >> 3;
    switch (tag & 7) {
    case 0: out->value = cur_varint(in); break;
    case 1: cur_skip(in, 8); break;
    case 2: out->bytes = cur_take(in, (size_t)cur_varint(in)); break;
    case 5: cur_skip(in, 4); break;
    default: cur_fail(in);
    }
    return !in->bad;
}

/* Numbers of proto/store.proto. */
enum { EMAIL_ENVELOPE = 3, EMAIL_FIELDS = 4, FIELD_NAME = 1, FIELD_LENGTH = 3 };

/* What there is of Message-ID fields in the header. */
struct id_fields {
    size_t n;
    uint64_t value_length; /* of the last one: behind the colon, with the line end */
};

static void id_fields_add(struct id_fields *ids, struct str field)
{
    struct cur in = cur_of(field);
    struct str name = {0};
    uint64_t length = 0;
    for (struct pb_field f; pb_next(&in, &f);) {
        if (f.number == FIELD_NAME)
            name = f.bytes;
        if (f.number == FIELD_LENGTH)
            length = f.value;
    }
    if (!str_ieq(name, STR("message-id")))
        return;
    ids->n++;
    ids->value_length = length - name.n - 1;
}

/* The value that the envelope has is the field's whole value only if that is the usual space, the
 * id and CR LF: nothing that was unfolded or left out. */
static void text_message_id(struct listing_text *t, struct str id, const struct id_fields *ids)
{
    bool plain = ids->n == 1 && id.n && ids->value_length == id.n + 3;
    for (size_t i = 0; i < id.n && plain; i++)
        plain = id.p[i] > ' ';
    if (plain)
        text_put(t, id);
    else
        t->partial = ids->n > 0;
}

static struct listing_row text_row(struct listing_text *t)
{
    return (struct listing_row){.text = str_of(t->b, t->n), .partial = t->partial};
}

static void listing_of_envelope(const Thurn__Envelope *e, const struct id_fields *ids,
                                struct buf *out)
{
    struct listing_text text[LISTING_SENT];
    struct listing_row fields[LISTING_FIELDS] = {0};
    for (size_t f = 0; f < LISTING_SENT; f++) {
        text[f].n = 0;
        text[f].partial = e == NULL;
    }
    if (e) {
        text_addresses(&text[LISTING_FROM], e->from, e->n_from);
        text_addresses(&text[LISTING_TO], e->to, e->n_to);
        text_addresses(&text[LISTING_CC], e->cc, e->n_cc);
        text_addresses(&text[LISTING_BCC], e->bcc, e->n_bcc);
        text_put(&text[LISTING_SUBJECT],
                 row_bytes(e->subject_text.len ? e->subject_text : e->subject));
        text_message_id(&text[LISTING_MESSAGE_ID], row_bytes(e->message_id), ids);
        fields[LISTING_SENT] =
            (struct listing_row){.time = e->date_time, .zone = (int16_t)e->date_zone};
    }
    for (size_t f = 0; f < LISTING_SENT; f++)
        fields[f] = text_row(&text[f]);
    listing_row_pack(out, fields);
}

/* Reads the two fields of the record that matter, not the whole of it. */
void listing_of_record(struct str record, struct buf *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, ARENA_OWN);
    struct cur in = cur_of(record);
    struct id_fields ids = {0};
    Thurn__Envelope *e = NULL;
    for (struct pb_field f; pb_next(&in, &f);) {
        if (f.number == EMAIL_FIELDS)
            id_fields_add(&ids, f.bytes);
        if (f.number == EMAIL_ENVELOPE)
            (void)row_unpack_any(&thurn__envelope__descriptor, f.bytes, &a, &e).code;
    }
    listing_of_envelope(e, &ids, out);
}

/* ------------------------------------------------------------------------------- reading */

struct listing_reading {
    struct snap *s;
    struct entries *e;
    enum listing_field first; /* of so many fields, each with its column in `out` */
    size_t n_fields;
    const struct entry *rows;
    size_t n, at; /* at: the first that `out` does not have yet */
    const struct listing_pending *pending;
    struct listing_column *out;
    struct err failed;
};

/* What no column has can be read from the record. */
static const struct listing_row listing_unknown = {.partial = true};

/* Copies `n` rows from the column. */
static void listing_copy(struct listing_column *out, const struct listing_column *from, size_t at,
                         size_t n)
{
    size_t begin = at ? from->end[at - 1] : 0, base = out->text.n;
    if (from->text.n)
        buf_put(&out->text, str_sub(buf_str(&from->text), begin, from->end[at + n - 1]));
    for (size_t i = 0; i < n; i++) {
        out->end[out->n] = (uint32_t)(base + from->end[at + i] - begin);
        out->partial[out->n] = from->partial[at + i];
        out->time[out->n] = from->time[at + i];
        out->zone[out->n] = from->zone[at + i];
        out->n++;
    }
}

/* The rows of one block, as far as they are wanted. */
static void reading_merge(struct listing_reading *r, const struct block_column *c, uint32_t last,
                          struct listing_column *out)
{
    size_t i = 0;
    while (r->at < r->n && r->rows[r->at].uid.v <= last) {
        while (i < c->l.n && c->uids[i] < r->rows[r->at].uid.v)
            i++;
        size_t run = 0;
        while (r->at + run < r->n && i + run < c->l.n &&
               c->uids[i + run] == r->rows[r->at + run].uid.v)
            run++;
        if (run)
            listing_copy(out, &c->l, i, run);
        else
            listing_add(out, &listing_unknown);
        r->at += MAX(run, (size_t)1);
    }
}

/* The records say the same: so this costs time, not messages. */
static void tell_damaged(const struct listing_reading *r, uint32_t uid, struct err e)
{
    log_error("store.listing.damaged", LF_U64("account", r->s->account->id.v),
              LF_U64("mailbox", r->e->id.v), LF_U64("uid", uid), LF_ERR(e));
}

static struct err column_load(struct listing_reading *r, enum listing_field field, uint32_t base,
                              struct block_column *c)
{
    if (c->base == base)
        return OK;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, ARENA_OWN);
    account_id account = r->s->account->id;
    struct key k;
    key_of_listing(&k, account, r->e->id, (uint32_t)field + 1, base);
    struct str packed;
    struct err e = view_get(r->s->view, key_str(&k), &a, &packed);
    listing_clear(&c->l);
    c->base = 0;
    if (e.code == E_OK)
        e = listing_unpack(packed, account, r->e->id, field, c->uids, &c->l);
    if (e.code == E_OK)
        c->base = base;
    if (e.code == E_CORRUPT) {
        tell_damaged(r, base, e);
        listing_clear(&c->l);
    }
    return e.code == E_NOTFOUND || e.code == E_CORRUPT ? OK : e;
}

static struct block_column *column_of(struct entries *e, enum listing_field field)
{
    if (!e->columns[field])
        e->columns[field] = mem_alloc(sizeof(struct block_column));
    return e->columns[field];
}

/* What is in blocks, of one field. */
static struct err reading_blocks(struct listing_reading *r, enum listing_field field,
                                 struct listing_column *out)
{
    struct block_column *c = column_of(r->e, field);
    for (r->at = 0; r->at < r->n && r->rows[r->at].uid.v <= r->e->dir.folded;) {
        size_t at = entries_block_of(r->e, r->rows[r->at].uid.v);
        if (at == r->e->dir.n)
            return err_make(E_CORRUPT, "an entry is in no block");
        TRY(column_load(r, field, r->e->dir.refs[at].base, c));
        reading_merge(r, c, r->e->dir.refs[at].last, out);
    }
    return OK;
}

/* The row at r->at, of all fields; NULL: not known. */
static void reading_add(struct listing_reading *r, const struct listing_row *fields)
{
    for (size_t i = 0; i < r->n_fields; i++)
        listing_add(&r->out[i], fields ? &fields[r->first + i] : &listing_unknown);
    r->at++;
}

static struct err reading_pending(struct listing_reading *r)
{
    struct str row;
    struct listing_row fields[LISTING_FIELDS];
    if (!r->pending || !r->pending->find(r->rows[r->at].uid, &row, r->pending->arg)) {
        reading_add(r, NULL);
        return OK;
    }
    TRY(listing_row_unpack(row, fields));
    reading_add(r, fields);
    return OK;
}

static bool reading_value(struct str key, struct str value, void *arg)
{
    struct listing_reading *r = arg;
    struct cur c = cur_of(key);
    struct key prefix;
    key_of_column(&prefix, r->s->account->id, r->e->id, 0);
    cur_skip(&c, prefix.n);
    uint32_t uid = key_read_u32(&c);
    while (r->at < r->n && r->rows[r->at].uid.v < uid && r->failed.code == E_OK)
        r->failed = reading_pending(r);
    struct listing_row fields[LISTING_FIELDS];
    if (r->failed.code == E_OK && r->at < r->n && r->rows[r->at].uid.v == uid) {
        struct err e = listing_value_unpack(value, r->s->account->id, fields);
        if (e.code)
            tell_damaged(r, uid, e);
        reading_add(r, e.code ? NULL : fields);
    }
    return r->failed.code == E_OK && r->at < r->n;
}

/* What is in no block yet. */
static struct err reading_rows(struct listing_reading *r)
{
    if (r->at == r->n)
        return OK;
    struct key from, to;
    key_of_column(&to, r->s->account->id, r->e->id, 0);
    key_end(&to);
    key_of_listing(&from, r->s->account->id, r->e->id, 0, r->rows[r->at].uid.v);
    TRY(view_scan(r->s->view, key_str(&from), key_str(&to), reading_value, r));
    while (r->at < r->n && r->failed.code == E_OK)
        r->failed = reading_pending(r);
    return r->failed;
}

struct err listing_read(struct snap *s, struct entries *e, enum listing_field first,
                        size_t n_fields, const struct entry *rows, size_t n,
                        const struct listing_pending *pending, struct listing_column *out)
{
    check(n <= ENTRY_BLOCK && first + n_fields <= LISTING_FIELDS);
    struct listing_reading r = {.s = s,
                                .e = e,
                                .first = first,
                                .n_fields = n_fields,
                                .rows = rows,
                                .n = n,
                                .pending = pending,
                                .out = out};
    TRY(entries_directory(s, e));
    for (size_t i = 0; i < n_fields; i++) {
        listing_clear(&out[i]);
        TRY(reading_blocks(&r, (enum listing_field)(first + i), &out[i]));
    }
    TRY(reading_rows(&r));
    for (size_t i = 0; i < n_fields; i++)
        TRY(buf_err(&out[i].text));
    return OK;
}

struct err snap_listing(struct snap *s, mailbox_id m, enum listing_field field,
                        const struct entry *e, size_t n, struct listing_column *out)
{
    struct entries *entries;
    TRY(entries_of(s, m, &entries));
    return listing_read(s, entries, field, 1, e, n, NULL, out);
}
