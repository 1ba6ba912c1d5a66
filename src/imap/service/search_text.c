/* The SEARCH keys that look into a message: its envelope, its header, its text. */
#include "base/base.h"
#include "imap/service/search.h"

enum { DAY = 86400 };

/* ------------------------------------------------------------------------------------ the envelope
 */

/* RFC 3501: "disregarding time and timezone", so the day that stands in the header. */
bool term_in_date(const struct term *t, int64_t time, int32_t zone)
{
    if (time == 0)
        return false;
    int64_t local = time + (int64_t)zone * 60;
    int64_t day = local / DAY - (local % DAY < 0);
    switch (t->op) {
    case THURN__SEARCH_OP__SEARCH_SENTBEFORE: return day < t->date;
    case THURN__SEARCH_OP__SEARCH_SENTON: return day == t->date;
    default: return day >= t->date;
    }
}

/* An address is looked at as people write it: Name <local@domain>. */
static bool in_address(struct finder *f, const struct needle *needle, const Thurn__Address *a)
{
    finder_begin(f, needle);
    if (a->kind != THURN__ADDRESS__KIND__MAILBOX)
        return finder_feed(f, pb_str(a->mailbox));
    finder_feed(f, pb_str(a->name_text.len ? a->name_text : a->name));
    finder_feed(f, STR(" <"));
    finder_feed(f, pb_str(a->mailbox));
    finder_feed(f, STR("@"));
    finder_feed(f, pb_str(a->host));
    return finder_feed(f, STR(">"));
}

static bool in_addresses(struct finder *f, const struct needle *needle, Thurn__Address **a,
                         size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (in_address(f, needle, a[i]))
            return true;
    return needle->folded.n == 0;
}

static bool in_subject(struct finder *f, const struct needle *needle, const Thurn__Envelope *e)
{
    return finder_in(f, needle, pb_str(e->subject_text.len ? e->subject_text : e->subject));
}

bool term_in_envelope(const struct term *t, struct candidate *c)
{
    const Thurn__Envelope *e = c->record->envelope;
    if (!e)
        return false;
    switch (t->op) {
    case THURN__SEARCH_OP__SEARCH_FROM:
        return in_addresses(c->finder, &t->needle, e->from, e->n_from);
    case THURN__SEARCH_OP__SEARCH_TO: return in_addresses(c->finder, &t->needle, e->to, e->n_to);
    case THURN__SEARCH_OP__SEARCH_CC: return in_addresses(c->finder, &t->needle, e->cc, e->n_cc);
    case THURN__SEARCH_OP__SEARCH_BCC: return in_addresses(c->finder, &t->needle, e->bcc, e->n_bcc);
    case THURN__SEARCH_OP__SEARCH_SUBJECT: return in_subject(c->finder, &t->needle, e);
    default: return term_in_date(t, e->date_time, e->date_zone);
    }
}

/* --------------------------------------------------------------------------- the message's own
 * bytes */

/* Feeds header bytes unfolded: a line end before white space is no text. */
struct feed {
    struct finder *finder;
    bool line_end; /* one has been seen whose meaning the next byte decides */
};

static void feed_header(struct feed *f, struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t b = s.p[i];
        if (b == '\r' || b == '\n') {
            finder_feed(f->finder, str_sub(s, from, i));
            from = i + 1;
            f->line_end |= b == '\n';
        } else if (f->line_end) {
            if (b != ' ' && b != '\t')
                finder_feed(f->finder, STR("\n"));
            f->line_end = false;
        }
    }
    finder_feed(f->finder, str_skip(s, from));
}

/* Looks for the needle in bytes of the content. */
static bool in_content(struct candidate *c, const struct needle *needle, uint64_t from, uint64_t to,
                       bool header)
{
    uint8_t *piece = c->piece;
    struct feed feed = {.finder = c->finder};
    finder_begin(c->finder, needle);
    while (from < to && !c->finder->found && c->failed.code == E_OK) {
        size_t n = (size_t)MIN(to - from, SEARCH_PIECE);
        c->failed = snap_content(c->snap, c->email, from, piece, n);
        if (c->failed.code != E_OK)
            return false;
        if (header)
            feed_header(&feed, str_of(piece, n));
        else
            finder_feed(c->finder, str_of(piece, n));
        from += n;
    }
    return c->finder->found;
}

/* The same with offsets of the record, which count from the original message. */
static bool in_original(struct candidate *c, const struct needle *needle, uint64_t from,
                        uint64_t to, bool header)
{
    uint64_t head = c->email->head_size;
    return in_content(c, needle, head + from, MIN(head + to, c->email->size), header);
}

/* ---------------------------------------------------------------------------------------- HEADER
 */

/* Fields of the generated head: its bytes are our own, "Name: value" lines with CR LF. */
static bool in_head_field(struct candidate *c, const struct term *t)
{
    size_t n = c->email->head_size;
    uint8_t *head = n ? arena_alloc(c->arena, n) : NULL;
    if (!head)
        return false;
    c->failed = snap_content(c->snap, c->email, 0, head, n);
    if (c->failed.code != E_OK)
        return false;
    struct str all = str_of(head, n);
    for (size_t at = 0; at < n;) {
        size_t end = at;
        do /* a line that begins with white space belongs to the field */
            end = MIN(str_find_byte(all, '\n', end) + 1, n);
        while (end < n && (head[end] == ' ' || head[end] == '\t'));
        struct str field = str_sub(all, at, end);
        size_t colon = str_find_byte(field, ':', 0);
        if (str_ieq(str_trim(str_sub(field, 0, colon)), t->name) &&
            in_content(c, &t->needle, at + colon + 1, end, true))
            return true;
        at = end;
    }
    return false;
}

static bool in_field_text(struct candidate *c, const struct needle *needle,
                          const Thurn__HeaderField *f)
{
    return f->text.len && finder_in(c->finder, needle, pb_str(f->text));
}

static bool in_field(struct candidate *c, const struct term *t)
{
    if (in_head_field(c, t))
        return true;
    const Thurn__Email *r = c->record;
    for (size_t i = 0; i < r->n_fields && c->failed.code == E_OK; i++) {
        const Thurn__HeaderField *f = r->fields[i];
        uint64_t end = (uint64_t)f->offset + f->length;
        uint64_t value = MIN((uint64_t)f->offset + f->name.len + 1, end);
        if (str_ieq(pb_str(f->name), t->name) &&
            (in_original(c, &t->needle, value, end, true) || in_field_text(c, &t->needle, f)))
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------ BODY, TEXT
 */

static struct str candidate_text(struct candidate *c)
{
    if (!c->have_text) {
        c->failed = snap_email_text(c->snap, c->entry.email, c->arena, &c->text);
        c->have_text = true;
    }
    return c->text;
}

static bool in_part(struct candidate *c, const struct needle *needle, const Thurn__Part *p,
                    bool embedded)
{
    if (embedded && in_original(c, needle, p->header_offset, p->body_offset, true))
        return true;
    if (p->text_is_body)
        return in_original(c, needle, p->body_offset, p->end_offset, false);
    if (p->text_length == 0)
        return false;
    struct str text = candidate_text(c);
    return finder_in(c->finder, needle,
                     str_sub(text, p->text_offset, (size_t)p->text_offset + p->text_length));
}

static bool in_body(struct candidate *c, const struct needle *needle)
{
    const Thurn__Email *r = c->record;
    for (size_t i = 0; i < r->n_parts && c->failed.code == E_OK; i++) {
        bool embedded = i > 0 && r->parts[i]->parent < i && r->parts[r->parts[i]->parent]->message;
        if (in_part(c, needle, r->parts[i], embedded))
            return true;
    }
    return needle->folded.n == 0;
}

static bool in_header(struct candidate *c, const struct needle *needle)
{
    const Thurn__Email *r = c->record;
    uint64_t body = c->email->head_size + (r->n_parts ? r->parts[0]->body_offset : 0);
    if (in_content(c, needle, 0, MIN(body, c->email->size), true))
        return true;
    for (size_t i = 0; i < r->n_fields; i++)
        if (in_field_text(c, needle, r->fields[i]))
            return true;
    return false;
}

bool term_in_content(const struct term *t, struct candidate *c)
{
    switch (t->op) {
    case THURN__SEARCH_OP__SEARCH_HEADER: return in_field(c, t);
    case THURN__SEARCH_OP__SEARCH_BODY: return in_body(c, &t->needle);
    default: return in_header(c, &t->needle) || in_body(c, &t->needle);
    }
}
