#include "store/salvage.h"

/*
 * Which bodies stand in the log, and whose they are. The record of a body names its first owner.
 * Others who got the same bytes stand in their batches only; of one that is damaged, what names a
 * body so exactly that it can be nothing else counts all the same.
 */

/* That an account got, or gave up, a body. */
struct body_mark {
    uint64_t account, segment, offset, length, hash;
};

static void *one_more(void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return items;
    *cap = *cap ? 2 * *cap : 1024;
    items = reallocarray(items, *cap, size);
    check(items != NULL);
    return items;
}

static void mark(struct body_marks *m, const Thurn__BodyPlace *p)
{
    m->v = one_more(m->v, m->n, &m->cap, sizeof *m->v);
    m->v[m->n++] = (struct body_mark){p->account, p->segment, p->offset, p->length, p->hash};
}

static int by_place(const struct found_body *b, uint64_t segment, uint64_t offset, uint64_t account)
{
    if (b->segment != segment)
        return b->segment < segment ? -1 : 1;
    if (b->offset != offset)
        return b->offset < offset ? -1 : 1;
    return b->account < account ? -1 : b->account > account;
}

/* The first of some, in order, that does not stand before this one. */
static size_t first_from(const struct found_body *v, size_t n, const struct body_mark *m,
                         uint64_t account)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (by_place(&v[mid], m->segment, m->offset, account) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct found_body *found_at(struct salvage_source *s, size_t n, const struct body_mark *m)
{
    size_t i = first_from(s->bodies, n, m, 0);
    struct found_body *b = &s->bodies[i];
    return i < n && b->segment == m->segment && b->offset == m->offset ? b : NULL;
}

void salvage_body_seen(struct salvage_source *s, uint64_t segment, const struct record *rec)
{
    struct found_body b = {.account = rec->header.account,
                           .segment = segment,
                           .offset = rec->offset,
                           .length = rec->header.plain};
    memcpy(b.hash, rec->header.hash, sizeof b.hash);
    s->bodies = one_more(s->bodies, s->n_bodies, &s->cap_bodies, sizeof *s->bodies);
    s->bodies[s->n_bodies++] = b; /* segments and offsets ascend */
}

void salvage_batch_seen(struct salvage_source *s, struct str ops)
{
    struct cur c = cur_of(ops);
    struct op op;
    while (batch_next(&c, &op)) {
        const struct body_mark m = {.segment = op.place.segment, .offset = op.place.offset};
        if (op.kind == OP_DROP) {
            mark(&s->dropped, &op.place);
        } else if (op.kind == OP_BODY) {
            const struct found_body *b = found_at(s, s->n_bodies, &m);
            if (!b || b->account != op.place.account) /* seldom */
                mark(&s->owners, &op.place);
        }
    }
}

void salvage_batch_damaged(struct salvage_source *s, uint64_t account, struct str bytes)
{
    for (size_t i = 0; account && i < bytes.n; i++) {
        struct cur c = cur_of(str_skip(bytes, i));
        Thurn__BodyPlace p = THURN__BODY_PLACE__INIT;
        if (cur_byte(&c) != OP_BODY || (p.account = cur_u64le(&c)) != account)
            continue;
        p.segment = cur_u64le(&c);
        p.offset = cur_u64le(&c);
        p.length = cur_u64le(&c);
        p.hash = cur_u64le(&c);
        if (!c.bad)
            mark(&s->owners, &p);
    }
}

static int compare(const void *a, const void *b)
{
    const struct found_body *x = a, *y = b;
    return by_place(x, y->segment, y->offset, y->account);
}

/* Those who own a body besides the first owner, each once. */
static void add_owners(struct salvage_source *s)
{
    size_t n = s->n_bodies, kept = 0;
    for (size_t i = 0; i < s->owners.n; i++) {
        const struct body_mark *m = &s->owners.v[i];
        const struct found_body *b = found_at(s, n, m);
        if (!b || b->length != m->length || body_short_hash(b->hash) != m->hash)
            continue;
        struct found_body other = *b;
        other.account = m->account;
        s->bodies = one_more(s->bodies, s->n_bodies, &s->cap_bodies, sizeof *s->bodies);
        s->bodies[s->n_bodies++] = other;
    }
    if (s->n_bodies > n)
        qsort(s->bodies, s->n_bodies, sizeof *s->bodies, compare);
    for (size_t i = 0; i < s->n_bodies; i++)
        if (i == 0 || compare(&s->bodies[kept - 1], &s->bodies[i]) != 0)
            s->bodies[kept++] = s->bodies[i];
    s->n_bodies = kept;
}

void salvage_bodies_settle(struct salvage_source *s)
{
    add_owners(s);
    for (size_t i = 0; i < s->dropped.n; i++) {
        const struct body_mark *m = &s->dropped.v[i];
        size_t at = first_from(s->bodies, s->n_bodies, m, m->account);
        if (at < s->n_bodies && by_place(&s->bodies[at], m->segment, m->offset, m->account) == 0)
            s->bodies[at].dropped = true;
    }
    free(s->owners.v);
    free(s->dropped.v);
    s->owners = s->dropped = (struct body_marks){0};
}
