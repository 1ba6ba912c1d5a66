#include "store/check.h"

/* What the change log says of a UID, and what the entries say. */
struct check_line {
    uint32_t uid;
    unsigned kind;
    uint64_t modseq;
};

struct check_entries {
    const struct check_box *box;
    struct directory dir;
    size_t at;             /* blocks seen */
    struct entry *entries; /* as the blocks have them, ascending */
    size_t n, cap;
    struct over *over;
    size_t n_over, cap_over;
    struct check_listing listing;
    struct check_line *lines;
    size_t n_lines, cap_lines;
    uint64_t modseq; /* of the value of the change log that is being read */
    struct checker *c;
    bool damaged; /* something could not be read: no counting */
};

static void say_box(struct check_entries *s, const char *what)
{
    check_say(s->c, "mailbox %u \"%.*s\": %s", s->box->pb->id,
              (int)MIN(s->box->pb->name.len, (size_t)200), (const char *)s->box->pb->name.data,
              what);
}

static void say_uid(struct check_entries *s, uint32_t uid, const char *what)
{
    char text[160];
    (void)snprintf(text, sizeof text, "UID %u: %s", uid, what);
    say_box(s, text);
}

/* -------------------------------------------------------------------------------- reading */

static void check_directory(struct checker *c, struct str rest, struct str value, void *arg)
{
    struct check_entries *s = arg;
    if (rest.n || directory_unpack(value, c->account, (mailbox_id){s->box->pb->id}, &s->dir).code) {
        say_box(s, "the directory of its blocks is damaged");
        s->damaged = true;
    }
}

static void check_block(struct checker *c, struct str rest, struct str value, void *arg)
{
    struct check_entries *s = arg;
    struct cur key = cur_of(rest);
    uint32_t base = key_read_u32(&key);
    struct entry rows[ENTRY_BLOCK];
    size_t n;
    if (key.bad || !cur_end(&key) ||
        block_unpack(value, c->account, (mailbox_id){s->box->pb->id}, rows, &n).code) {
        say_box(s, "a block of entries is damaged");
        s->damaged = true;
        s->at++;
        return;
    }
    const struct block_ref *r = s->at < s->dir.n ? &s->dir.refs[s->at] : NULL;
    if (!r || r->base != base || r->first != rows[0].uid.v || r->last != rows[n - 1].uid.v ||
        r->count != n) {
        say_uid(s, base, "the block that begins there differs from the directory");
        s->damaged = true;
    }
    s->at++;
    for (size_t i = 0; i < n; i++) {
        s->entries = check_grow(s->entries, s->n, &s->cap, sizeof *s->entries);
        s->entries[s->n++] = rows[i];
    }
}

static void check_over(struct checker *c, struct str rest, struct str value, void *arg)
{
    struct check_entries *s = arg;
    struct cur key = cur_of(rest);
    uint32_t generation = key_read_u32(&key);
    msg_uid uid = {key_read_u32(&key)};
    if (generation != s->box->pb->overlay_generation) {
        say_uid(s, uid.v, "the entry is of another generation of the overlay");
        return;
    }
    s->over = check_grow(s->over, s->n_over, &s->cap_over, sizeof *s->over);
    if (key.bad || !cur_end(&key) ||
        over_unpack(value, c->account, uid, &s->over[s->n_over]).code) {
        say_uid(s, uid.v, "the entry is damaged");
        s->damaged = true;
    } else {
        s->n_over++;
    }
}

static void check_listing(struct checker *c, struct str rest, struct str value, void *arg)
{
    struct check_entries *s = arg;
    const char *wrong = check_listing_value(&s->listing, c->account, rest, value);
    if (wrong)
        say_box(s, wrong);
}

static bool check_line(const struct log_line *l, void *arg)
{
    struct check_entries *s = arg;
    s->lines = check_grow(s->lines, s->n_lines, &s->cap_lines, sizeof *s->lines);
    s->lines[s->n_lines++] = (struct check_line){l->before.uid.v, l->kind, s->modseq};
    if (l->kind == CHANGE_EXPUNGED) {
        struct check_email *e = check_email_of(s->c, l->before.email.v);
        if (e)
            e->seen++;
        else
            say_uid(s, l->before.uid.v, "the email of an expunged entry is missing");
    }
    return true;
}

static void check_changes(struct checker *c, struct str rest, struct str value, void *arg)
{
    struct check_entries *s = arg;
    struct cur key = cur_of(rest);
    s->modseq = key_read_u64(&key);
    (void)key_read_u32(&key);
    if (key.bad || !cur_end(&key) || changes_read(value, c->account, check_line, s).code) {
        say_box(s, "a value of the change log is damaged");
        s->damaged = true;
    }
    if (s->modseq < s->c->oldest)
        say_box(s, "the change log has a change that history would never let go");
    if (s->modseq > s->box->pb->highest_modseq)
        say_box(s, "the change log is ahead of HIGHESTMODSEQ");
}

/* ------------------------------------------------------------------------------- comparing */

static int by_uid(const void *a, const void *b)
{
    const struct check_line *x = a, *y = b;
    if (x->uid != y->uid)
        return x->uid < y->uid ? -1 : 1;
    return x->modseq < y->modseq ? -1 : x->modseq > y->modseq;
}

/* What is wrong with a living entry, and with its last line in the change log, if there is one. */
static void check_living(struct check_entries *s, const struct entry *e,
                         const struct check_line *last)
{
    const Thurn__Mailbox *pb = s->box->pb;
    struct check_email *email = check_email_of(s->c, e->email.v);
    if (e->uid.v >= pb->uidnext)
        say_uid(s, e->uid.v, "is not below UIDNEXT");
    if (e->modseq.v > pb->highest_modseq)
        say_uid(s, e->uid.v, "has a modseq above HIGHESTMODSEQ");
    if (pb->n_keywords < KEYWORDS_MAX && e->keywords >> pb->n_keywords)
        say_uid(s, e->uid.v, "has keywords that the mailbox does not have");
    const char *wrong = check_listing_entry(&s->listing, e->uid.v, email ? email->listing : 0);
    if (s->box->dead && e->uid.v <= pb->released)
        return;
    if (!email)
        say_uid(s, e->uid.v, "its email is missing");
    else if (email->size != e->size)
        say_uid(s, e->uid.v, "has another size than its email");
    if (email && wrong)
        say_uid(s, e->uid.v, wrong);
    if (email)
        email->seen++;
    if (last && last->kind == CHANGE_EXPUNGED)
        say_uid(s, e->uid.v, "was expunged, but is there");
    else if (last && last->modseq != e->modseq.v)
        say_uid(s, e->uid.v, "has another modseq than its last change");
}

/* Living entries one after the other: blocks with the overlay laid over them. */
struct check_walk {
    size_t row, over;
};

static const struct entry *check_next(struct check_entries *s, struct check_walk *w)
{
    while (w->row < s->n || w->over < s->n_over) {
        const struct entry *row = w->row < s->n ? &s->entries[w->row] : NULL;
        const struct over *o = w->over < s->n_over ? &s->over[w->over] : NULL;
        if (!o || (row && row->uid.v < o->e.uid.v)) {
            w->row++;
            return row;
        }
        bool replaces = row && row->uid.v == o->e.uid.v;
        w->row += replaces;
        w->over++;
        if (!replaces && (o->dead || o->e.uid.v <= s->dir.folded))
            say_uid(s, o->e.uid.v, "changes an entry that no block has");
        if (!o->dead)
            return &o->e;
    }
    return NULL;
}

/* The last line of a UID; `*at` goes on behind it. Lines of UIDs below are of dead entries. */
static const struct check_line *check_last_line(struct check_entries *s, size_t *at, uint64_t uid)
{
    const struct check_line *last = NULL;
    for (; *at < s->n_lines && s->lines[*at].uid <= uid; ++*at) {
        const struct check_line *l = &s->lines[*at];
        bool newest = *at + 1 == s->n_lines || s->lines[*at + 1].uid != l->uid;
        if (newest && l->uid == uid)
            last = l;
        else if (newest && l->kind != CHANGE_EXPUNGED)
            say_uid(s, l->uid, "is missing, though nothing expunged it");
    }
    return last;
}

static void check_counter(struct check_entries *s, const char *name, uint64_t says, uint64_t is)
{
    char text[120];
    (void)snprintf(text, sizeof text, "counts %" PRIu64 " %s, but there are %" PRIu64, says, name,
                   is);
    if (says != is)
        say_box(s, text);
}

static void check_compare(struct check_entries *s)
{
    const Thurn__Mailbox *pb = s->box->pb;
    struct check_walk w = {0};
    size_t line = 0;
    uint64_t exists = 0, unseen = 0, deleted = 0, bytes = 0;
    if (s->n_lines)
        qsort(s->lines, s->n_lines, sizeof *s->lines, by_uid);
    for (const struct entry *e; (e = check_next(s, &w));) {
        check_living(s, e, check_last_line(s, &line, e->uid.v));
        exists++;
        unseen += !(e->flags & FLAG_SEEN);
        deleted += (e->flags & FLAG_DELETED) != 0;
        bytes += e->size;
    }
    (void)check_last_line(s, &line, UINT64_MAX);
    uint32_t stray;
    if (check_listing_stray(&s->listing, &stray))
        say_uid(s, stray, "has listing fields outside the blocks, but is not there");
    if (pb->folded != s->dir.folded)
        say_box(s, "counts other UIDs as folded than the directory of its blocks");
    check_counter(s, "messages", pb->exists, exists);
    check_counter(s, "unseen messages", pb->unseen, unseen);
    check_counter(s, "deleted messages", pb->deleted, deleted);
    check_counter(s, "bytes", pb->bytes, bytes);
    check_counter(s, "entries outside the blocks", pb->overlay, s->n_over);
}

static struct err check_read(struct check_entries *s)
{
    mailbox_id id = {s->box->pb->id};
    TRY(check_mailbox_kind(s->c, KEY_DIRECTORY, id, check_directory, s));
    TRY(check_mailbox_kind(s->c, KEY_BLOCK, id, check_block, s));
    TRY(check_mailbox_kind(s->c, KEY_OVERLAY, id, check_over, s));
    s->listing = (struct check_listing){.mailbox = id, .dir = &s->dir};
    TRY(check_mailbox_kind(s->c, KEY_LISTING, id, check_listing, s));
    return check_mailbox_kind(s->c, KEY_CHANGES, id, check_changes, s);
}

struct err check_mailbox(struct checker *c, const struct check_box *box)
{
    struct check_entries s = {.box = box, .c = c};
    const Thurn__Mailbox *pb = box->pb;
    if (pb->uidvalidity == 0 || pb->uidvalidity > c->head->last_uidvalidity)
        say_box(&s, "has a UIDVALIDITY that was never given out");
    if (pb->highest_modseq > c->head->modseq)
        say_box(&s, "has a HIGHESTMODSEQ above the account's");
    if (box->dead && pb->highest_modseq < c->oldest)
        say_box(&s, "is deleted, but history would never let it go");
    if (pb->n_keywords > KEYWORDS_MAX)
        say_box(&s, "has too many keywords");
    struct err e = check_read(&s);
    if (e.code == E_OK && s.at != s.dir.n)
        say_box(&s, "has not the blocks that its directory names");
    if (e.code == E_OK && !s.damaged)
        check_compare(&s);
    free(s.dir.refs);
    free(s.entries);
    free(s.over);
    free(s.listing.v);
    free(s.lines);
    return e;
}
