#include "base/base.h"
#include "imap/service/view.h"

void view_free(struct view *v)
{
    free(v->runs);
    *v = (struct view){0};
}

static struct err view_room(struct view *v, size_t more)
{
    size_t cap;
    if (__builtin_add_overflow(v->n, more, &cap))
        return err_make(E_LIMIT, "a mailbox view is too large");
    if (cap <= v->cap)
        return OK;
    cap = MAX(cap, v->cap + v->cap / 2);
    struct view_run *runs = reallocarray(v->runs, cap, sizeof *runs);
    if (!runs)
        return err_make(E_LIMIT, "no memory for a mailbox view");
    v->runs = runs;
    v->cap = cap;
    return OK;
}

/* The room is there. */
static void view_push(struct view *v, uint32_t first, uint32_t count)
{
    check(v->runs && v->n < v->cap);
    struct view_run *last = v->n ? &v->runs[v->n - 1] : NULL;
    if (last && last->first + last->count == first)
        last->count += count;
    else
        v->runs[v->n++] = (struct view_run){.first = first, .count = count, .before = v->count};
    v->count += count;
}

struct err view_add(struct view *v, const struct uid_run *runs, size_t n)
{
    TRY(view_room(v, n));
    for (size_t i = 0; i < n; i++) {
        check(runs[i].count > 0 && runs[i].first > view_last(v));
        view_push(v, runs[i].first, runs[i].count);
    }
    return OK;
}

struct err view_remove(struct view *v, const uint32_t *uids, size_t n)
{
    if (n == 0)
        return OK;
    struct view rest = {0};
    TRY(view_room(&rest, v->n + n));
    size_t taken = 0;
    for (size_t i = 0; i < v->n; i++) {
        uint32_t at = v->runs[i].first, end = at + v->runs[i].count;
        for (; taken < n && uids[taken] < end; taken++) {
            check(uids[taken] >= at);
            if (uids[taken] > at)
                view_push(&rest, at, uids[taken] - at);
            at = uids[taken] + 1;
        }
        if (at < end)
            view_push(&rest, at, end - at);
    }
    check(taken == n);
    view_free(v);
    *v = rest;
    return OK;
}

int uid_cmp(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* How many runs begin at or below the UID. */
static size_t view_runs_from(const struct view *v, uint32_t uid)
{
    size_t lo = 0, hi = v->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->runs[mid].first <= uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

msg_seq view_seq(const struct view *v, msg_uid uid)
{
    size_t i = view_runs_from(v, uid.v);
    if (i == 0)
        return (msg_seq){0};
    const struct view_run *r = &v->runs[i - 1];
    uint32_t at = uid.v - r->first;
    return (msg_seq){at < r->count ? r->before + at + 1 : 0};
}

msg_uid view_uid(const struct view *v, msg_seq seq)
{
    check(seq.v >= 1 && seq.v <= v->count);
    size_t lo = 0, hi = v->n;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->runs[mid].before < seq.v)
            lo = mid;
        else
            hi = mid;
    }
    return (msg_uid){v->runs[lo].first + (seq.v - 1 - v->runs[lo].before)};
}

/* How many messages have a UID at or below this one. */
static uint32_t view_upto(const struct view *v, uint32_t uid)
{
    size_t i = view_runs_from(v, uid);
    if (i == 0)
        return 0;
    const struct view_run *r = &v->runs[i - 1];
    return r->before + MIN(uid - r->first + 1, r->count);
}

uint32_t view_count(const struct view *v, uint32_t first, uint32_t last)
{
    if (first > last)
        return 0;
    return view_upto(v, last) - (first ? view_upto(v, first - 1) : 0);
}

uint32_t view_last(const struct view *v)
{
    return v->n ? v->runs[v->n - 1].first + v->runs[v->n - 1].count - 1 : 0;
}
