/* LIST and LSUB (RFC 3501 sections 6.3.8 and 6.3.9, RFC 5258, RFC 5819, RFC 6154). */
#include "base/base.h"
#include "imap/service/list.h"
#include "imap/service/service.h"

enum { LIST_FRAME = 32 * 1024, LIST_PATTERNS = 64, LIST_ROWS = 512 };
enum { LIST_STEPS = 1024 * 1024 }; /* of matching, between two looks at the clock: a millisecond */

/* ------------------------------------------------------------------------------------- patterns */

static bool is_wildcard(uint8_t c)
{
    return c == '*' || c == '%';
}

struct err pattern_compile(struct str reference, struct str pattern, struct arena *a,
                           struct pattern *out)
{
    uint8_t *text = arena_alloc(a, PATTERN_MAX);
    if (!text)
        return err_make(E_LIMIT, "no room for a pattern");
    size_t n = 0;
    struct str both[] = {reference, pattern};
    *out = (struct pattern){0};
    for (size_t part = 0; part < ARRAY_LEN(both); part++) {
        for (size_t i = 0; i < both[part].n; i++) {
            uint8_t c = both[part].p[i];
            if (n && is_wildcard(c) && is_wildcard(text[n - 1])) {
                text[n - 1] = c == '*' ? '*' : text[n - 1];
                continue;
            }
            if (n == PATTERN_MAX) {
                out->never = true;
                return OK;
            }
            text[n++] = c;
        }
    }
    out->text = str_of(text, n);
    return OK;
}

/* Which lengths of the pattern can have been used up; `hi` is one past the highest. */
struct ways {
    bool at[PATTERN_MAX + 1];
    size_t lo, hi;
};

static void way_open(struct ways *w, struct str p, size_t at)
{
    for (; !w->at[at]; at++) {
        w->at[at] = true;
        w->lo = MIN(w->lo, at);
        w->hi = MAX(w->hi, at + 1);
        if (at == p.n || !is_wildcard(p.p[at])) /* a wildcard may stand for nothing */
            break;
    }
}

static void ways_step(const struct ways *from, struct ways *to, struct str p, uint8_t c, bool fold)
{
    if (to->hi > to->lo)
        memset(to->at + to->lo, 0, to->hi - to->lo);
    to->lo = PATTERN_MAX + 1;
    to->hi = 0;
    for (size_t i = from->lo; i < from->hi; i++) {
        if (!from->at[i] || i == p.n)
            continue;
        if (p.p[i] == '*' || (p.p[i] == '%' && c != '/'))
            way_open(to, p, i);
        else if (p.p[i] == c || (fold && byte_upper(p.p[i]) == byte_upper(c)))
            way_open(to, p, i + 1);
    }
}

bool pattern_match(const struct pattern *p, struct str name, size_t *out_parent)
{
    *out_parent = 0;
    if (p->never)
        return false;
    size_t fold = str_istarts(name, STR("INBOX")) && (name.n == 5 || name.p[5] == '/') ? 5 : 0;
    struct ways both[2];
    memset(both, 0, sizeof both);
    struct ways *now = &both[0], *next = &both[1];
    now->lo = PATTERN_MAX + 1;
    way_open(now, p->text, 0);
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '/' && now->at[p->text.n])
            *out_parent = i;
        ways_step(now, next, p->text, name.p[i], i < fold);
        struct ways *swap = now;
        now = next;
        next = swap;
        if (now->hi == 0)
            return false;
    }
    return now->at[p->text.n];
}

/* --------------------------------------------------------------------------------------- listing
 */

struct listing {
    struct pattern patterns[LIST_PATTERNS];
    size_t n_patterns;
    Thurn__Mailbox **mailboxes; /* in the byte order of their names */
    size_t n_mailboxes;
    struct str *subscribed; /* in byte order */
    size_t n_subscribed;
    size_t next;            /* name to look at */
    size_t pattern;         /* of which this one is the next to try */
    size_t best_parent;     /* that one before it has found */
    struct str last_parent; /* LSUB: told last for one of its children */
    Thurn__ImapMailboxRow rows[LIST_ROWS];
    Thurn__ImapMailboxRow *row_pointers[LIST_ROWS];
    Thurn__ImapStatusRow status[LIST_ROWS];
    size_t n_rows, bytes;
    /* What is looked at: mailboxes, subscriptions, or those and what is above them. */
    struct str *names;
    size_t n_names;
};

/* The first mailbox whose name is not below this one. */
static size_t mailbox_from(const struct listing *l, struct str name)
{
    size_t lo = 0, hi = l->n_mailboxes;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (str_cmp(pb_str(l->mailboxes[mid]->name), name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static const Thurn__Mailbox *mailbox_named(const struct listing *l, struct str name)
{
    size_t i = mailbox_from(l, name);
    return i < l->n_mailboxes && str_eq(pb_str(l->mailboxes[i]->name), name) ? l->mailboxes[i]
                                                                             : NULL;
}

/* The first subscription whose name is not below this one. */
static size_t subscription_from(const struct listing *l, struct str name)
{
    size_t lo = 0, hi = l->n_subscribed;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (str_cmp(l->subscribed[mid], name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* "name/", with which all names below it begin; empty without room. */
static struct str children_prefix(struct str name, struct arena *a)
{
    uint8_t *prefix = arena_alloc(a, name.n + 1);
    if (!prefix)
        return (struct str){NULL, 0};
    str_copy_to(prefix, name);
    prefix[name.n] = '/';
    return str_of(prefix, name.n + 1);
}

static bool has_children(const struct listing *l, struct str name, struct arena *a)
{
    struct str below = children_prefix(name, a);
    size_t i = mailbox_from(l, below);
    return below.n && i < l->n_mailboxes && str_starts(pb_str(l->mailboxes[i]->name), below);
}

static bool has_subscribed_below(const struct listing *l, struct str name, struct arena *a)
{
    struct str below = children_prefix(name, a);
    size_t i = subscription_from(l, below);
    return below.n && i < l->n_subscribed && str_starts(l->subscribed[i], below);
}

static bool is_subscribed(const struct listing *l, struct str name)
{
    size_t i = subscription_from(l, name);
    return i < l->n_subscribed && str_eq(l->subscribed[i], name);
}

/* False: the channel is gone. */
static bool listing_flush(struct imap_session *s, struct listing *l)
{
    if (l->n_rows == 0)
        return true;
    Thurn__ImapMailboxes m = THURN__IMAP_MAILBOXES__INIT;
    m.n_rows = l->n_rows;
    m.rows = l->row_pointers;
    size_t bytes = l->bytes;
    l->n_rows = l->bytes = 0;
    return command_send(s, RPC_IMAP_MAILBOXES, &m.base, (struct str){0}, bytes);
}

static Thurn__ImapMailboxRow *listing_row(struct listing *l, struct str name)
{
    Thurn__ImapMailboxRow *row = &l->rows[l->n_rows];
    l->row_pointers[l->n_rows++] = row;
    l->bytes += name.n + 16;
    thurn__imap_mailbox_row__init(row);
    row->name = pb_bytes(name);
    return row;
}

/* One that has gone since the listing began is listed without. */
static void row_add_status(struct imap_session *s, struct listing *l, const Thurn__Mailbox *m,
                           uint32_t items, Thurn__ImapMailboxRow *row)
{
    struct snap *snap;
    Thurn__ImapStatusRow *status = &l->status[l->n_rows - 1];
    thurn__imap_status_row__init(status);
    if (command_snap(s, &snap).code == E_OK && status_fill(s, snap, m, items, status).code == E_OK)
        row->mailbox_status = status;
    l->bytes += sizeof *status;
}

/* A mailbox that exists, a name subscribed to, or one above it. */
static void listing_add(struct imap_session *s, struct listing *l, const Thurn__ImapList *list,
                        struct str name)
{
    const Thurn__Mailbox *m = mailbox_named(l, name);
    if (list->select & THURN__LIST_SELECT__LIST_SPECIAL_USE && !(m && m->special_use))
        return;
    Thurn__ImapMailboxRow *row = listing_row(l, name);
    row->subscribed = is_subscribed(l, name);
    row->no_exist = !m;
    row->special_use = m ? m->special_use : 0;
    row->no_select = m && m->no_select;
    row->has_children = has_children(l, name, &s->cmd.arena);
    if (list->select & THURN__LIST_SELECT__LIST_RECURSIVEMATCH)
        row->child_info = has_subscribed_below(l, name, &s->cmd.arena);
    bool selected = row->subscribed || !(list->select & THURN__LIST_SELECT__LIST_SUBSCRIBED);
    if (list->status_items && selected && m && !m->no_select)
        row_add_status(s, l, m, list->status_items, row);
}

/* RFC 3501 section 6.3.9: with "%" a parent that is not subscribed stands for its children, and
 * is \Noselect even if it exists. */
static void listing_add_parent(struct listing *l, struct str parent)
{
    if (is_subscribed(l, parent) || str_eq(parent, l->last_parent))
        return;
    l->last_parent = parent;
    Thurn__ImapMailboxRow *row = listing_row(l, parent);
    row->no_select = true;
    row->no_exist = !mailbox_named(l, parent);
    row->has_children = true;
}

/* At the next name, or as many patterns as there is time for. */
static void listing_look(struct imap_session *s, struct listing *l, const Thurn__ImapList *list)
{
    struct str name = l->names[l->next];
    bool found = false;
    for (size_t steps = 0; l->pattern < l->n_patterns && !found; l->pattern++) {
        const struct pattern *p = &l->patterns[l->pattern];
        size_t parent;
        if (steps > LIST_STEPS)
            return;
        steps += p->text.n * name.n;
        found = pattern_match(p, name, &parent);
        l->best_parent = MAX(l->best_parent, parent);
    }
    if (found)
        listing_add(s, l, list, name);
    else if (list->lsub && l->best_parent)
        listing_add_parent(l, str_sub(name, 0, l->best_parent));
    l->next++;
    l->pattern = l->best_parent = 0;
}

static int name_cmp(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    return str_cmp(*x, *y);
}

/* Subscriptions and all names above them, each once. */
static struct err names_recursive(struct listing *l, struct arena *a)
{
    size_t room = 0, n = 0;
    for (size_t i = 0; i < l->n_subscribed; i++)
        for (size_t at = 0; at < l->subscribed[i].n; at++)
            room += at == 0 || l->subscribed[i].p[at] == '/';
    l->names = arena_array(a, struct str, room + 1);
    if (!l->names)
        return err_make(E_LIMIT, "no room for a listing");
    for (size_t i = 0; i < l->n_subscribed; i++) {
        struct str name = l->subscribed[i];
        for (size_t at = 1; at < name.n; at++)
            if (name.p[at] == '/')
                l->names[n++] = str_sub(name, 0, at);
        l->names[n++] = name;
    }
    if (n)
        qsort(l->names, n, sizeof *l->names, name_cmp);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !str_eq(l->names[i], l->names[l->n_names - 1]))
            l->names[l->n_names++] = l->names[i];
    return OK;
}

static struct err listing_names(struct listing *l, const Thurn__ImapList *list, struct arena *a)
{
    if (list->select & THURN__LIST_SELECT__LIST_RECURSIVEMATCH)
        return names_recursive(l, a);
    if (list->lsub || list->select & THURN__LIST_SELECT__LIST_SUBSCRIBED) {
        l->names = l->subscribed;
        l->n_names = l->n_subscribed;
        return OK;
    }
    l->names = arena_array(a, struct str, l->n_mailboxes + 1);
    if (!l->names)
        return err_make(E_LIMIT, "no room for a listing");
    for (size_t i = 0; i < l->n_mailboxes; i++)
        l->names[l->n_names++] = pb_str(l->mailboxes[i]->name);
    return OK;
}

static struct err listing_begin(struct imap_session *s, const Thurn__ImapList *list,
                                struct listing **out)
{
    struct arena *a = &s->cmd.arena;
    struct listing *l = arena_new(a, struct listing);
    if (!l || list->n_patterns > LIST_PATTERNS)
        return err_make(E_LIMIT, "too many patterns");
    struct snap *snap;
    TRY(command_snap(s, &snap));
    TRY(snap_mailboxes(snap, a, &l->mailboxes, &l->n_mailboxes));
    TRY(snap_subscriptions(snap, a, &l->subscribed, &l->n_subscribed));
    TRY(listing_names(l, list, a));
    for (size_t i = 0; i < list->n_patterns; i++)
        TRY(pattern_compile(pb_str(list->reference), pb_str(list->patterns[i]), a,
                            &l->patterns[l->n_patterns++]));
    *out = l;
    return OK;
}

/* LIST "" "" asks for the separator and the root of the name space. */
static bool asks_for_separator(const Thurn__ImapList *list)
{
    return list->n_patterns == 1 && list->patterns[0].len == 0;
}

bool list_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapList *list = (const void *)c->frame->message;
    if (!c->state) {
        struct listing *l;
        struct err e = listing_begin(s, list, &l);
        if (e.code != E_OK)
            return command_failed(s, e);
        c->state = l;
        if (asks_for_separator(list)) {
            listing_row(l, STR(""))->no_select = true;
            listing_flush(s, l);
            return true;
        }
    }
    struct listing *l = c->state;
    while (l->next < l->n_names) {
        listing_look(s, l, list);
        if (l->n_rows == LIST_ROWS || l->bytes >= LIST_FRAME || command_must_yield(s)) {
            if (!listing_flush(s, l))
                return true;
            if (command_must_yield(s))
                return l->next == l->n_names;
        }
    }
    listing_flush(s, l);
    return true;
}
