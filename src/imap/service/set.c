#include "base/base.h"
#include "imap/service/set.h"

/* Ranges as near to each other as this are read in one go. */
enum { CURSOR_GAP = 64 };

static int range_cmp(const void *a, const void *b)
{
    const struct uid_range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Brings ranges into order and joins those that touch. */
static void ranges_settle(struct uid_set *s)
{
    if (s->n == 0)
        return;
    qsort(s->ranges, s->n, sizeof *s->ranges, range_cmp);
    size_t n = 1;
    for (size_t i = 1; i < s->n; i++) {
        struct uid_range *last = &s->ranges[n - 1];
        if (s->ranges[i].first > last->last && s->ranges[i].first - last->last > 1)
            s->ranges[n++] = s->ranges[i];
        else
            last->last = MAX(last->last, s->ranges[i].last);
    }
    s->n = n;
}

/* One range of a request on numbers from 1 to `max`, the end that "*" means. `*some` is false if
 * nothing of it exists. */
static struct uid_range range_clip(const Thurn__NumRange *in, uint32_t max, bool *some)
{
    uint32_t a = in->first == UINT32_MAX ? max : in->first;
    uint32_t b = in->last == UINT32_MAX ? max : in->last;
    struct uid_range r = {MIN(a, b), MAX(a, b)};
    *some = max > 0 && r.first <= max;
    r.last = MIN(r.last, max);
    return r;
}

/* "1:*" means all messages, also where there are none: clients ask so without looking. */
static bool range_is_all(const Thurn__NumRange *in)
{
    return MIN(in->first, in->last) == 1 && MAX(in->first, in->last) == UINT32_MAX;
}

static bool range_beyond(const Thurn__NumRange *in, uint32_t max)
{
    if (range_is_all(in))
        return false;
    return max == 0 || (in->first > max && in->first != UINT32_MAX) ||
           (in->last > max && in->last != UINT32_MAX);
}

struct err uid_set_compile(const Thurn__ImapSet *in, const struct view *v, bool lenient,
                           struct arena *a, struct uid_set *out)
{
    if (!in || in->n_ranges == 0)
        return err_make(E_INVALID, "a set without members");
    struct uid_set set = {.ranges = arena_array(a, struct uid_range, in->n_ranges)};
    if (!set.ranges)
        return err_make(E_LIMIT, "no room for a set");
    uint32_t max = in->uid ? view_last(v) : v->count;
    for (size_t i = 0; i < in->n_ranges; i++) {
        const Thurn__NumRange *r = in->ranges[i];
        if (r->first == 0 || r->last == 0)
            return err_make(E_INVALID, "a message number is 0");
        if (!in->uid && !lenient && range_beyond(r, max))
            return err_make(E_INVALID, "no such message number");
        bool some;
        struct uid_range clipped = range_clip(r, max, &some);
        if (!some)
            continue;
        if (!in->uid)
            clipped = (struct uid_range){view_uid(v, (msg_seq){clipped.first}).v,
                                         view_uid(v, (msg_seq){clipped.last}).v};
        set.ranges[set.n++] = clipped;
    }
    ranges_settle(&set);
    *out = set;
    return OK;
}

struct err uid_set_below(const Thurn__ImapSet *in, uint32_t uidnext, struct arena *a,
                         struct uid_set *out)
{
    static Thurn__NumRange all = {PROTOBUF_C_MESSAGE_INIT(&thurn__num_range__descriptor), 1,
                                  UINT32_MAX};
    size_t n = in ? in->n_ranges : 1;
    struct uid_set set = {.ranges = arena_array(a, struct uid_range, n + 1)};
    if (!set.ranges)
        return err_make(E_LIMIT, "no room for a set");
    for (size_t i = 0; i < n; i++) {
        bool some;
        struct uid_range clipped = range_clip(in ? in->ranges[i] : &all, uidnext - 1, &some);
        if (some && clipped.first)
            set.ranges[set.n++] = clipped;
    }
    ranges_settle(&set);
    *out = set;
    return OK;
}

struct err uid_set_all(const struct view *v, struct arena *a, struct uid_set *out)
{
    struct uid_range *range = arena_new(a, struct uid_range);
    if (!range)
        return err_make(E_LIMIT, "no room for a set");
    *range = (struct uid_range){1, view_last(v)};
    *out = (struct uid_set){.ranges = range, .n = v->count ? 1 : 0};
    return OK;
}

bool uid_set_has(const struct uid_set *s, msg_uid uid)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->ranges[mid].last < uid.v)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->n && s->ranges[lo].first <= uid.v;
}

uint32_t uid_set_count(const struct uid_set *s, const struct view *v, uint32_t max)
{
    uint32_t count = 0;
    for (size_t i = 0; i < s->n && count < max; i++)
        count += view_count(v, s->ranges[i].first, s->ranges[i].last);
    return count;
}

struct err num_list_add(struct num_list *l, struct arena *a, uint32_t number)
{
    if (l->n && l->ranges[l->n - 1].last + 1 == number) {
        l->ranges[l->n - 1].last = number;
        return OK;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct uid_range *more = arena_array(a, struct uid_range, cap);
        if (!more)
            return err_make(E_LIMIT, "no room for a list of numbers");
        if (l->n)
            memcpy(more, l->ranges, l->n * sizeof *more);
        l->ranges = more;
        l->cap = cap;
    }
    l->ranges[l->n++] = (struct uid_range){number, number};
    return OK;
}

struct num_mark num_list_mark(const struct num_list *l)
{
    return (struct num_mark){l->n, l->n ? l->ranges[l->n - 1] : (struct uid_range){0, 0}};
}

void num_list_back(struct num_list *l, struct num_mark mark)
{
    l->n = mark.n;
    if (l->n)
        l->ranges[l->n - 1] = mark.last;
}

struct err num_list_since(const struct num_list *l, struct num_mark mark, struct arena *a,
                          struct num_list *out)
{
    size_t whole = l->n - mark.n;
    bool longer = mark.n && l->ranges[mark.n - 1].last != mark.last.last;
    *out = (struct num_list){.ranges = arena_array(a, struct uid_range, whole + 1)};
    if (!out->ranges)
        return err_make(E_LIMIT, "no room for a list of numbers");
    if (longer)
        out->ranges[out->n++] = (struct uid_range){mark.last.last + 1, l->ranges[mark.n - 1].last};
    for (size_t i = mark.n; i < l->n; i++)
        out->ranges[out->n++] = l->ranges[i];
    return OK;
}

struct err cursor_init(struct cursor *c, const struct uid_set *set, const struct view *v,
                       struct arena *a)
{
    /* One more than needed, so that a batch that is not full shows the end. */
    size_t cap = MIN(uid_set_count(set, v, ENTRY_BLOCK), ENTRY_BLOCK) + 1;
    *c = (struct cursor){.set = set, .cap = cap, .batch = arena_array(a, struct entry, cap)};
    return c->batch ? OK : err_make(E_LIMIT, "no room for a batch of entries");
}

void cursor_rest(struct cursor *c)
{
    c->have = c->at = 0;
    c->window_last = 0;
    c->short_batch = false;
}

/* Reads what follows from `next` on; *more is false if the set is behind. */
static struct err cursor_fill(struct cursor *c, struct snap *snap, mailbox_id mailbox, bool *more)
{
    if (c->short_batch)
        c->next = c->window_last + 1;
    const struct uid_set *s = c->set;
    while (c->range < s->n && s->ranges[c->range].last < c->next)
        c->range++;
    *more = c->range < s->n;
    if (!*more)
        return OK;
    uint32_t first = MAX(c->next, s->ranges[c->range].first), last = s->ranges[c->range].last;
    for (size_t i = c->range + 1; i < s->n && s->ranges[i].first - last <= CURSOR_GAP; i++)
        last = s->ranges[i].last;
    c->at = c->have = 0;
    TRY(snap_entries(snap, mailbox, (msg_uid){first}, (msg_uid){last}, c->batch, c->cap, &c->have));
    c->window_last = last;
    c->short_batch = c->have < c->cap;
    return OK;
}

struct err cursor_next(struct cursor *c, struct snap *snap, mailbox_id mailbox,
                       const struct view *v, struct entry *out, bool *found)
{
    for (;;) {
        while (c->at < c->have) {
            const struct entry *e = &c->batch[c->at++];
            c->next = e->uid.v + 1;
            if (uid_set_has(c->set, e->uid) && view_seq(v, e->uid).v) {
                *out = *e;
                *found = true;
                return OK;
            }
        }
        TRY(cursor_fill(c, snap, mailbox, found));
        if (!*found)
            return OK;
    }
}

void cursor_back(struct cursor *c, msg_uid uid)
{
    cursor_rest(c);
    c->range = 0;
    c->next = uid.v + 1;
}

struct err cursor_take(struct cursor *c, struct snap *snap, mailbox_id mailbox,
                       const struct view *v, struct entry *out, size_t max, size_t *out_n)
{
    bool found = true;
    size_t n = 0;
    while (n < max) {
        TRY(cursor_next(c, snap, mailbox, v, &out[n], &found));
        if (!found)
            break;
        n++;
    }
    *out_n = n;
    return OK;
}
