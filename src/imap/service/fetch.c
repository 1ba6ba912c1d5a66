/* FETCH (RFC 3501 section 6.4.5): rows and bodies as a cursor that can stop anywhere, also in the
 * middle of a body, and goes on there. */
#include "base/base.h"
#include "imap/service/section.h"
#include "imap/service/service.h"

enum {
    FETCH_FRAME = 64 * 1024,   /* a frame is sent when it has grown to this */
    FETCH_ROWS = 256,          /* rows in one frame */
    FETCH_AT_ONCE = 64,        /* rows of columns between two looks at the clock */
    FETCH_SECTIONS = 64,       /* bits of FetchRow.nil */
    FETCH_RECORD = 384 * 1024, /* the largest record that fits a frame */
    FETCH_SEEN = 256,          /* messages marked \Seen in one transaction */
    FETCH_BUDGET = 64 * 1024 * 1024,
    RECORD_BUDGET = 128 * 1024 * 1024, /* for a record of 4 MB, unpacked */
};

struct fetching {
    struct uid_set set;
    struct cursor cursor;
    bool slice_checked; /* the mailbox has been looked at in this slice */
    bool damaged;       /* a message could not be read and was left out */
    bool unknown_cte;   /* a part is in an encoding that nobody knows */
    uint32_t open;      /* the row that the client has begun to get from a backend that died */
    /* The frame being made. */
    struct arena arena; /* what its rows point to */
    Thurn__FetchRow *rows, **row_pointers;
    size_t n_rows, rows_cap, typed;
    /* If only entries are asked for they go as columns, without `rows`. */
    bool as_columns;
    struct columns_writer columns;
    struct buf packed;
    struct buf raw;
    /* The row that is not complete yet; NULL: none. Its email lives in `arena`. */
    Thurn__StoredEmail *email;
    bool row_sent;  /* in a frame before this one */
    size_t row_raw; /* else: where its bytes begin in `raw` */
    struct section_range sections[FETCH_SECTIONS];
    size_t n_sections, section;
    uint64_t section_at;
    struct content_proof proof;
    /* Messages up to this UID have been marked; those that were not \Seen before are in `seen`. */
    bool mark_seen;
    uint32_t marked_upto;
    uint32_t seen[FETCH_SEEN];
    size_t n_seen;
};

static const Thurn__ImapFetch *fetch_request(const struct imap_session *s)
{
    return (const void *)s->cmd.frame->message;
}

static void fetching_release(void *state)
{
    struct fetching *f = state;
    content_proof_free(&f->proof);
    columns_writer_free(&f->columns);
    buf_free(&f->packed);
    buf_free(&f->raw);
    arena_free(&f->arena);
}

/* ------------------------------------------------------------------------------------ the frame */

/* So that tests with tiny slices see every place where it can stop. */
static size_t frame_size(const struct imap_session *s, size_t usual)
{
    return MAX(MIN(usual, s->host->slice_bytes), 1);
}

static struct err frame_send(struct imap_session *s, struct fetching *f)
{
    struct str raw = buf_str(&f->raw);
    size_t bytes = raw.n + f->typed + FRAME_HEAD;
    Thurn__ImapRows rows = THURN__IMAP_ROWS__INIT;
    Thurn__ImapBytes more = THURN__IMAP_BYTES__INIT;
    if (f->n_rows == 0 && raw.n == 0)
        return OK;
    if (f->as_columns) {
        rows.column_rows = f->columns.rows;
        rows.column_items = f->columns.items;
        columns_take(&f->columns, &f->packed);
        TRY(buf_err(&f->packed));
        rows.columns = pb_bytes(buf_str(&f->packed));
    } else {
        rows.n_rows = f->n_rows;
        rows.rows = f->row_pointers;
    }
    bool sent = f->n_rows ? command_send(s, RPC_IMAP_ROWS, &rows.base, raw, bytes)
                          : command_send(s, RPC_IMAP_BYTES, &more.base, raw, bytes);
    f->row_sent = true;
    f->n_rows = f->typed = 0;
    buf_clear(&f->raw);
    buf_clear(&f->packed);
    return sent ? OK : err_make(E_CLOSED, "the client's channel is gone");
}

static bool frame_is_full(const struct imap_session *s, const struct fetching *f)
{
    return f->n_rows == f->rows_cap || f->typed + f->raw.n >= frame_size(s, FETCH_FRAME);
}

/* --------------------------------------------------------------------------------------- a row */

/* A record that is too large for a frame goes without its table of header fields, which a client
 * is not shown; if that does not help, as one part without structure. */
static struct err row_record(struct fetching *f, Thurn__FetchRow *row)
{
    row->items |= THURN__FETCH_ITEM__FETCH_RECORD;
    row->record = f->email->record;
    if (row->record.len <= FETCH_RECORD)
        return OK;
    struct buf packed CLEANUP(buf_free) = {.max = FETCH_RECORD};
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    Thurn__Email *record;
    struct err e = pb_borrow(&a, &thurn__email__descriptor, pb_str(f->email->record),
                             PB_FIELD(EMAIL_FIELDS), &record);
    if (e.code == E_OK)
        pb_pack(&packed, &record->base);
    if (e.code != E_OK || packed.bad) {
        buf_clear(&packed);
        email_record_flat(f->email->size - f->email->head_size, &packed);
    }
    struct str copy = str_dup(&f->arena, buf_str(&packed));
    row->record = pb_bytes(copy);
    return copy.n ? OK : err_make(E_LIMIT, "no room for a record");
}

static bool fetch_reads_record(const Thurn__ImapFetch *fetch)
{
    for (size_t i = 0; i < fetch->n_sections; i++)
        if (section_needs_record(fetch->sections[i]))
            return true;
    return false;
}

static bool fetch_decodes(const Thurn__ImapFetch *fetch)
{
    for (size_t i = 0; i < fetch->n_sections; i++)
        if (fetch->sections[i]->use != THURN__SECTION_USE__USE_BYTES)
            return true;
    return false;
}

static struct err row_codings(struct fetching *f, Thurn__FetchRow *row)
{
    row->codings = arena_array(&f->arena, uint32_t, f->n_sections);
    row->sizes = arena_array(&f->arena, uint64_t, f->n_sections);
    if (!row->codings || !row->sizes)
        return err_make(E_LIMIT, "no room for a row");
    row->n_codings = row->n_sizes = f->n_sections;
    for (size_t i = 0; i < f->n_sections; i++) {
        row->codings[i] = f->sections[i].coding;
        row->sizes[i] = f->sections[i].size;
        f->unknown_cte |= f->sections[i].coding == THURN__SECTION_CODING__CODING_UNKNOWN;
    }
    return OK;
}

static struct err row_sections(struct imap_session *s, struct fetching *f, Thurn__FetchRow *row)
{
    const Thurn__ImapFetch *fetch = fetch_request(s);
    Thurn__Email *record = NULL;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    if (fetch_reads_record(fetch) &&
        pb_borrow(&a, &thurn__email__descriptor, pb_str(f->email->record), PB_FIELD(EMAIL_FIELDS),
                  &record)
                .code != E_OK)
        record = NULL;
    row->lengths = arena_array(&f->arena, uint64_t, fetch->n_sections);
    if (!row->lengths)
        return err_make(E_LIMIT, "no room for a row");
    row->n_lengths = f->n_sections = fetch->n_sections;
    for (size_t i = 0; i < fetch->n_sections; i++) {
        f->sections[i] =
            section_resolve(fetch->sections[i], record, f->email->head_size, f->email->size);
        row->lengths[i] = f->sections[i].length;
        if (f->sections[i].nil)
            row->nil |= UINT64_C(1) << i;
    }
    return fetch_decodes(fetch) ? row_codings(f, row) : OK;
}

/* What only the email can answer. */
static struct err row_email(struct imap_session *s, struct fetching *f, struct snap *snap,
                            email_id id, Thurn__FetchRow *row)
{
    const Thurn__ImapFetch *fetch = fetch_request(s);
    f->n_sections = f->section = 0;
    f->section_at = 0;
    f->row_sent = false;
    f->row_raw = f->raw.n;
    TRY(snap_email(snap, id, &f->arena, &f->email));
    row->head_size = f->email->head_size;
    if (fetch->items & THURN__FETCH_ITEM__FETCH_RECORD)
        TRY(row_record(f, row));
    return fetch->n_sections ? row_sections(s, f, row) : OK;
}

static bool seen_now(const struct fetching *f, msg_uid uid)
{
    for (size_t i = 0; i < f->n_seen; i++)
        if (f->seen[i] == uid.v)
            return true;
    return false;
}

static void row_entry(struct imap_session *s, const struct fetching *f, const struct entry *e,
                      Thurn__FetchRow *row)
{
    row_set_flags(s, e, row);
    row->items = fetch_request(s)->items & COLUMNS_ITEMS;
    if (seen_now(f, e->uid))
        row->items |= THURN__FETCH_ITEM__FETCH_FLAGS |
                      (s->qresync ? (uint32_t)THURN__FETCH_ITEM__FETCH_UID : 0);
    if (s->condstore && row->items & THURN__FETCH_ITEM__FETCH_FLAGS)
        row->items |= THURN__FETCH_ITEM__FETCH_MODSEQ;
    row->internal_date = e->internal_date;
    row->size = e->size;
}

static void message_left_out(struct imap_session *s, struct fetching *f, uint32_t uid, struct err e)
{
    f->damaged = true;
    log_error("imap.message_unreadable", LF_U64("account", s->account_id.v),
              LF_U64("mailbox", s->at.mailbox.v), LF_U64("uid", uid), LF_ERR(e));
}

/* All rows bring the same items, for nothing is marked \Seen in passing. */
static void columns_row(struct imap_session *s, struct fetching *f, const struct entry *e)
{
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    row_entry(s, f, e, &row);
    f->columns.items = row.items;
    columns_add(&f->columns, &row);
    f->n_rows++;
    f->typed += 48; /* what its text needs, about */
}

static struct err row_add(struct imap_session *s, struct fetching *f, struct snap *snap,
                          const struct entry *e)
{
    const Thurn__ImapFetch *fetch = fetch_request(s);
    Thurn__FetchRow *row = &f->rows[f->n_rows];
    if (f->n_rows == 0)
        arena_free(&f->arena); /* nothing points there any more */
    thurn__fetch_row__init(row);
    row_entry(s, f, e, row);
    if (fetch->n_sections || fetch->items & THURN__FETCH_ITEM__FETCH_RECORD) {
        struct err failed = row_email(s, f, snap, e->email, row);
        if (failed.code != E_OK) {
            f->email = NULL;
            message_left_out(s, f, e->uid.v, failed);
            return OK;
        }
    }
    f->row_pointers[f->n_rows++] = row;
    /* The record counts even if it is not shown: it is in memory as long as the frame. */
    f->typed +=
        48 + (f->email ? f->email->record.len : 0) + 10 * row->n_lengths + 11 * row->n_codings;
    return OK;
}

/* Bytes of the incomplete row, as many as the frame takes. If the first of them cannot be read
 * the row is left out; later the client has been promised what cannot be given, and the
 * frontend, seeing the answer end in the middle, ends the connection. */
static struct err row_bytes(struct imap_session *s, struct fetching *f, struct snap *snap)
{
    size_t max = frame_size(s, FRAME_RAW_MAX);
    while (f->section < f->n_sections && f->raw.n < max) {
        const struct section_range *r = &f->sections[f->section];
        size_t n = (size_t)MIN(r->length - f->section_at, max - f->raw.n);
        if (n) {
            uint8_t *p = buf_room(&f->raw, n);
            struct err e =
                p ? snap_content_next(snap, f->email, r->offset + f->section_at, p, n, &f->proof)
                  : err_make(E_LIMIT, "no room for a body");
            if (e.code != E_OK && f->row_sent)
                return e;
            if (e.code != E_OK) {
                buf_cut(&f->raw, f->row_raw);
                f->email = NULL;
                message_left_out(s, f, f->rows[--f->n_rows].uid, e);
                return OK;
            }
            buf_added(&f->raw, n);
            f->section_at += n;
        }
        if (f->section_at == r->length) {
            f->section++;
            f->section_at = 0;
        }
    }
    if (f->section == f->n_sections)
        f->email = NULL;
    return OK;
}

/* ---------------------------------------------------------------------------------------- \Seen */

/* By CHANGEDSINCE (RFC 7162 section 3.1.4.1). */
static bool is_asked_for(const struct imap_session *s, const struct entry *e)
{
    return e->modseq.v > fetch_request(s)->changed_since;
}

static struct err mark_batch(struct imap_session *s, struct fetching *f, struct txn *t)
{
    struct cursor ahead = f->cursor;
    uint64_t bytes = 0;
    f->n_seen = 0;
    cursor_rest(&ahead);
    for (size_t i = 0; i < FETCH_SEEN && bytes < s->host->slice_bytes; i++) {
        struct entry e;
        bool found;
        TRY(cursor_next(&ahead, txn_snap(t), s->at.mailbox, &s->view, &e, &found));
        if (!found) {
            f->marked_upto = UINT32_MAX;
            return OK;
        }
        if (!(e.flags & THURN__SYSTEM_FLAG__FLAG_SEEN) && is_asked_for(s, &e)) {
            TRY(txn_entry_flags(t, s->at.mailbox, e.uid, e.flags | THURN__SYSTEM_FLAG__FLAG_SEEN,
                                e.keywords));
            f->seen[f->n_seen++] = e.uid.v;
        }
        f->marked_upto = e.uid.v;
        bytes += e.size;
    }
    return OK;
}

/* Marks what comes next, about as much as one slice can send. */
static struct err mark_some(struct imap_session *s, struct fetching *f)
{
    struct txn *t;
    TRY(txn_begin(s->account, &t));
    struct err e = mark_batch(s, f, t);
    cursor_rest(&f->cursor);
    if (e.code != E_OK || f->n_seen == 0) {
        txn_abort(t);
        return e;
    }
    modseq at = txn_modseq(t);
    TRY(command_commit_unnamed(s, t));
    return command_own(&s->cmd, at);
}

/* Mail can be read even if it cannot be marked: on a full disk above all. */
static void mark_or_go_on(struct imap_session *s, struct fetching *f)
{
    struct err e = mark_some(s, f);
    if (e.code == E_OK)
        return;
    f->mark_seen = false;
    f->n_seen = 0;
    log_warn("imap.seen_not_set", LF_U64("account", s->account_id.v),
             LF_U64("mailbox", s->at.mailbox.v), LF_ERR(e));
}

/* ------------------------------------------------------------------------------------ the request
 */

static struct err slice_check(struct imap_session *s, struct fetching *f)
{
    struct snap *snap;
    Thurn__Mailbox *m;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    TRY(command_snap(s, &snap));
    TRY(session_mailbox(s, snap, &a, &m));
    TRY(frame_send(s, f)); /* nothing may come between a row and its bytes */
    TRY(session_tell_names(s, s->cmd.frame->serial, m));
    f->slice_checked = true;
    return OK;
}

static void open_found(const struct entry *e, modseq gone_at, void *arg)
{
    struct entry *open = arg;
    (void)gone_at;
    if (e->uid.v == open->uid.v)
        *open = *e;
}

/* The row again of which the client has a part, though its message may be gone by now. Nothing can
 * come before it; without it the answer ends, and with it the connection. */
static struct err fetch_open(struct imap_session *s, struct fetching *f, struct snap *snap)
{
    struct entry e;
    msg_uid uid = {f->open};
    f->open = 0;
    struct err found = snap_entry(snap, s->at.mailbox, uid, &e);
    if (found.code == E_NOTFOUND) {
        e = (struct entry){.uid = uid};
        TRY(snap_expunged(snap, s->at.mailbox, s->at.expunged_at, open_found, &e));
        found = e.email.v ? OK : found;
    }
    TRY(found);
    TRY(row_add(s, f, snap, &e));
    return f->damaged ? err_make(E_CORRUPT, "a message that has been shown in part") : OK;
}

/* Begins the row of the next message; *more is false at the end. */
static struct err fetch_next(struct imap_session *s, struct fetching *f, bool *more)
{
    struct snap *snap;
    struct entry e;
    if (!f->slice_checked)
        TRY(slice_check(s, f));
    TRY(command_snap(s, &snap));
    TRY(cursor_next(&f->cursor, snap, s->at.mailbox, &s->view, &e, more));
    if (!*more || !is_asked_for(s, &e))
        return OK;
    if (f->mark_seen && e.uid.v > f->marked_upto) {
        f->cursor.next = e.uid.v;
        mark_or_go_on(s, f);
        cursor_rest(&f->cursor);
        return OK;
    }
    if (!f->as_columns)
        return row_add(s, f, snap, &e);
    columns_row(s, f, &e);
    return OK;
}

static struct err fetch_rows(struct imap_session *s, struct fetching *f, bool *more)
{
    size_t n = f->as_columns ? FETCH_AT_ONCE : 1;
    do
        TRY(fetch_next(s, f, more));
    while (--n && *more && !frame_is_full(s, f));
    return OK;
}

static struct err fetch_slice(struct imap_session *s, struct fetching *f, bool *more)
{
    if (!s->cmd.snap) { /* what follows may look different */
        f->slice_checked = false;
        cursor_rest(&f->cursor);
    }
    *more = true;
    do {
        struct snap *snap;
        TRY(command_snap(s, &snap));
        if (f->email)
            TRY(row_bytes(s, f, snap));
        else if (f->open)
            TRY(fetch_open(s, f, snap));
        else
            TRY(fetch_rows(s, f, more));
        if (f->email ? f->raw.n >= frame_size(s, FRAME_RAW_MAX) : frame_is_full(s, f))
            TRY(frame_send(s, f));
    } while (*more && !command_must_yield(s));
    return frame_send(s, f);
}

static bool fetch_begin(struct imap_session *s, const Thurn__ImapFetch *fetch)
{
    struct command *c = &s->cmd;
    if (fetch->n_sections > FETCH_SECTIONS) {
        command_no(c, THURN__CODE__LIMIT_EXCEEDED, STR("At most 64 sections in one FETCH"));
        return false;
    }
    if (fetch->changed_since || fetch->items & THURN__FETCH_ITEM__FETCH_MODSEQ)
        session_enable_condstore(s);
    if (fetch->vanished && !s->qresync) {
        command_no(c, THURN__CODE__INVALID, STR("ENABLE QRESYNC first"));
        return false;
    }
    if (MAX(fetch->after, fetch->open) == UINT32_MAX) {
        command_no(c, THURN__CODE__INVALID, STR("There is no such message"));
        return false;
    }
    struct err e = err_make(E_LIMIT, "no room for FETCH");
    struct fetching *f = arena_new(&c->arena, struct fetching);
    if (f && !command_set(s, fetch->set, &f->set))
        return false;
    if (f) {
        arena_init(&f->arena, FETCH_BUDGET);
        f->mark_seen = fetch->set_seen && !s->at.read_only;
        f->as_columns = fetch->n_sections == 0 && !fetch->open && /* a row that comes again */
                        !(fetch->items & ~(uint32_t)COLUMNS_ITEMS);
        f->rows_cap = f->as_columns ? COLUMNS_ROWS : FETCH_ROWS;
    }
    if (f && !f->as_columns) {
        f->rows_cap = MIN(uid_set_count(&f->set, &s->view, FETCH_ROWS), FETCH_ROWS) + 1;
        f->rows = arena_array(&c->arena, Thurn__FetchRow, f->rows_cap);
        f->row_pointers = arena_array(&c->arena, Thurn__FetchRow *, f->rows_cap);
    }
    if (f && (f->as_columns || (f->rows && f->row_pointers)))
        e = cursor_init(&f->cursor, &f->set, &s->view, &c->arena);
    if (e.code == E_OK && fetch->vanished && !fetch->after && !fetch->open)
        e = session_tell_vanished(s, (modseq){fetch->changed_since}, fetch->set);
    if (e.code != E_OK) {
        command_failed(s, e);
        return false;
    }
    f->open = fetch->open;
    f->cursor.next = MAX(fetch->after, fetch->open) + 1;
    c->state = f;
    c->release = fetching_release;
    return true;
}

bool fetch_run(struct imap_session *s, struct command *c)
{
    if (!c->state && !fetch_begin(s, fetch_request(s)))
        return true;
    struct fetching *f = c->state;
    check(f);
    bool more;
    struct err e = fetch_slice(s, f, &more);
    if (e.code != E_OK)
        return command_failed(s, e);
    if (!more && f->unknown_cte)
        command_no(c, THURN__CODE__UNKNOWN_CTE, STR("Some parts are encoded in an unknown way"));
    if (!more && f->damaged)
        command_no(c, THURN__CODE__CORRUPT,
                   STR("Some messages could not be read, please tell the administrator"));
    return !more;
}
