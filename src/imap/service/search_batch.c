/* The answer of a search program for many messages at once. */
#include "base/base.h"
#include "imap/service/search.h"

enum { WORDS = ENTRY_BLOCK / 64 };

/* Of the messages that were asked about; those in neither are undecided. */
struct answers {
    struct bits yes, no;
};

struct asking {
    const struct program *p;
    const struct imap_session *s;
    struct snap *snap;
    struct search_batch *b;
    struct err failed;
};

struct err search_batch_init(struct search_batch *b, size_t cap, struct arena *a)
{
    *b = (struct search_batch){.rows = arena_array(a, struct entry, cap),
                               .cap = cap,
                               .asked = arena_array(a, struct entry, cap)};
    return b->rows && b->asked ? OK : err_make(E_LIMIT, "no room for a batch of entries");
}

void search_batch_free(struct search_batch *b)
{
    listing_free(&b->column);
    finder_free(&b->finder);
}

/* -------------------------------------------------------------------------- text in columns */

static bool has_high_byte(struct str s)
{
    uint8_t all = 0;
    for (size_t i = 0; i < s.n; i++)
        all |= s.p[i];
    return all >= 0x80;
}

static bool in_bytes(struct str text, struct str what)
{
    return text.n >= what.n && memmem(text.p, text.n, what.p, what.n) != NULL;
}

/* A row with characters that fold in other ways than ASCII: each of its parts for itself. */
static bool in_parts(struct finder *f, const struct needle *needle, struct str row)
{
    for (size_t at = 0, end; at < row.n; at = end + 1) {
        end = str_find_byte(row, 0, at);
        if (finder_in(f, needle, str_sub(row, at, end)))
            return true;
    }
    return false;
}

static void rows_find_unicode(struct search_batch *b, const struct needle *needle,
                              struct bits *hits)
{
    struct str text = buf_str(&b->column.text);
    for (size_t i = 0, from = 0; i < b->column.n; from = b->column.end[i++]) {
        struct str row = str_sub(text, from, b->column.end[i]);
        if (has_high_byte(row) ? in_parts(&b->finder, needle, row) : in_bytes(row, needle->folded))
            bits_set(hits, i);
    }
}

/* One pass over all rows: between them, and between the parts of a row, stands a NUL, which the
 * needle does not have. */
static void rows_find(struct search_batch *b, struct str what, struct bits *hits)
{
    struct str text = buf_str(&b->column.text);
    for (size_t at = 0, row = 0; at < text.n; at = b->column.end[row++]) {
        const uint8_t *hit = memmem(text.p + at, text.n - at, what.p, what.n);
        if (!hit)
            return;
        while (b->column.end[row] <= (size_t)(hit - text.p))
            row++;
        bits_set(hits, row);
    }
}

static void column_lower(struct listing_column *c)
{
    uint8_t *p = c->text.p + c->text.off;
    for (size_t i = 0; i < c->text.n; i++)
        p[i] = byte_lower(p[i]);
}

/* An empty text is found in everything that is there (RFC 3501: in every field that exists). */
static void rows_find_nothing(struct search_batch *b, enum listing_field field, struct bits *hits)
{
    for (size_t i = 0, from = 0; i < b->column.n; from = b->column.end[i++])
        if (field != LISTING_MESSAGE_ID || b->column.end[i] - from > 1)
            bits_set(hits, i);
}

static void column_find(struct search_batch *b, const struct term *t, struct bits *hits)
{
    struct str what = t->needle.folded;
    if (what.n == 0) {
        rows_find_nothing(b, t->field, hits);
    } else if (str_find_byte(what, 0, 0) == what.n) {
        column_lower(&b->column);
        if (t->needle.unicode)
            rows_find_unicode(b, &t->needle, hits);
        else
            rows_find(b, what, hits);
    }
}

static void column_dates(struct search_batch *b, const struct term *t, struct bits *hits)
{
    for (size_t i = 0; i < b->column.n; i++)
        if (!b->column.partial[i] && term_in_date(t, b->column.time[i], b->column.zone[i]))
            bits_set(hits, i);
}

/* ---------------------------------------------------------------------------------- terms */

static struct answers ask_listing(struct asking *k, const struct term *t, const struct bits *want)
{
    struct search_batch *b = k->b;
    struct answers a = {0};
    struct bits hits = {0};
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (bits_has(want, i))
            b->asked[n++] = b->rows[i];
    if (n == 0)
        return a;
    k->failed = snap_listing(k->snap, k->s->at.mailbox, t->field, b->asked, n, &b->column);
    if (k->failed.code != E_OK)
        return a;
    if (t->field == LISTING_SENT)
        column_dates(b, t, &hits);
    else
        column_find(b, t, &hits);
    for (size_t i = 0, asked = 0; i < b->n; i++) {
        if (!bits_has(want, i))
            continue;
        if (bits_has(&hits, asked))
            bits_set(&a.yes, i);
        else if (!b->column.partial[asked])
            bits_set(&a.no, i);
        asked++;
    }
    return a;
}

static struct answers ask_entries(const struct asking *k, const struct term *t,
                                  const struct bits *want)
{
    struct answers a = {0};
    for (size_t i = 0; i < k->b->n; i++)
        if (bits_has(want, i))
            bits_set(term_in_entry(t, k->s, &k->b->rows[i]) ? &a.yes : &a.no, i);
    return a;
}

static struct answers ask_term(struct asking *k, size_t at, const struct bits *want);

/* Terms joined by AND or, with yes and no exchanged, by OR: the cheap ones decide first, and what
 * they have decided the others are not asked about. */
static struct answers ask_terms(struct asking *k, size_t from, size_t end, bool any,
                                const struct bits *want)
{
    struct bits all = *want, open = *want, decided = {0};
    for (enum search_cost cost = COST_ENTRY; cost <= COST_CONTENT; cost++) {
        for (size_t at = from; at < end; at = k->p->terms[at].end) {
            if (k->p->terms[at].cost != cost || k->failed.code != E_OK)
                continue;
            struct answers one = ask_term(k, at, &open);
            for (size_t i = 0; i < WORDS; i++) {
                all.w[i] &= (any ? one.no.w[i] : one.yes.w[i]) | ~open.w[i];
                decided.w[i] |= any ? one.yes.w[i] : one.no.w[i];
                open.w[i] &= ~decided.w[i];
            }
        }
    }
    for (size_t i = 0; i < WORDS; i++)
        all.w[i] &= ~decided.w[i];
    return any ? (struct answers){.yes = decided, .no = all}
               : (struct answers){.yes = all, .no = decided};
}

static struct answers ask_term(struct asking *k, size_t at, const struct bits *want)
{
    const struct term *t = &k->p->terms[at];
    struct answers a = {0};
    switch (t->op) {
    case THURN__SEARCH_OP__SEARCH_AND: return ask_terms(k, at + 1, t->end, false, want);
    case THURN__SEARCH_OP__SEARCH_OR: return ask_terms(k, at + 1, t->end, true, want);
    case THURN__SEARCH_OP__SEARCH_NOT:
        a = ask_term(k, at + 1, want);
        return (struct answers){.yes = a.no, .no = a.yes};
    default: break;
    }
    switch (t->cost) {
    case COST_ENTRY: return ask_entries(k, t, want);
    case COST_LISTING: return ask_listing(k, t, want);
    case COST_CONTENT: break;
    }
    return a;
}

struct err search_batch_answer(const struct program *p, const struct imap_session *s,
                               struct snap *snap, struct search_batch *b)
{
    struct asking k = {.p = p, .s = s, .snap = snap, .b = b};
    struct bits want = {0};
    for (size_t i = 0; i < b->n; i++)
        bits_set(&want, i);
    struct answers a = ask_terms(&k, 0, p->n, false, &want);
    b->yes = a.yes;
    b->no = a.no;
    return k.failed;
}
