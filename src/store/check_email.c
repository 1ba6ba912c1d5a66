#include "store/check.h"

struct check_email *check_email_of(const struct checker *c, uint64_t id)
{
    size_t lo = 0, hi = c->n_emails;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->emails[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < c->n_emails && c->emails[lo].id == id ? &c->emails[lo] : NULL;
}

static struct check_body *check_body_of(const struct checker *c, uint64_t id)
{
    size_t lo = 0, hi = c->n_bodies;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->bodies[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < c->n_bodies && c->bodies[lo].id == id ? &c->bodies[lo] : NULL;
}

static void check_piece(struct checker *c, const Thurn__StoredEmail *e, const Thurn__Piece *p)
{
    uint64_t end;
    if (__builtin_add_overflow(p->offset, p->length, &end))
        end = UINT64_MAX;
    if (p->body >= c->head->next_body)
        check_say(c, "email %" PRIu64 ": needs body %" PRIu64 ", an id that was never given out",
                  e->id, p->body);
    c->bodies = check_grow(c->bodies, c->n_bodies, &c->cap_bodies, sizeof *c->bodies);
    c->bodies[c->n_bodies++] = (struct check_body){.id = p->body, .end = end};
}

static uint64_t text_size(struct checker *c, uint64_t id)
{
    struct key k;
    key_of_u64(&k, c->account, KEY_TEXT, id);
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct str value, text;
    uint64_t n = 0;
    if (view_get(c->view, key_str(&k), &a, &value).code == E_OK &&
        text_unpack(value, c->account, &a, &text).code == E_OK)
        n = text.n;
    arena_free(&a);
    return n;
}

static void check_stored_email(struct checker *c, const Thurn__StoredEmail *e)
{
    uint64_t size = 0, body = 0;
    for (size_t i = 0; i < e->n_content; i++) {
        const Thurn__Piece *p = e->content[i];
        size += p->body ? p->length : p->head.len;
        body += p->body ? p->length : 0;
        if (p->body)
            check_piece(c, e, p);
    }
    if (size != e->size || e->head_size != size - body)
        check_say(c, "email %" PRIu64 ": its pieces do not add up to its size", e->id);
    if (email_record_check(row_bytes(e->record), body, text_size(c, e->id)).code != E_OK)
        check_say(c, "email %" PRIu64 ": its record contradicts itself", e->id);
}

static void check_email_row(struct checker *c, struct str rest, struct str value, void *arg)
{
    (void)arg;
    struct cur key = cur_of(rest);
    uint64_t id = key_read_u64(&key);
    struct arena a;
    arena_init(&a, ARENA_OWN);
    Thurn__StoredEmail *e;
    if (check_unpack(c, &thurn__stored_email__descriptor, value, &a, "an email", &e)) {
        if (key.bad || !cur_end(&key) || e->id != id || id >= c->head->next_email)
            check_say(c, "email %" PRIu64 ": stands under another id", e->id);
        check_stored_email(c, e);
        c->emails = check_grow(c->emails, c->n_emails, &c->cap_emails, sizeof *c->emails);
        c->emails[c->n_emails++] =
            (struct check_email){.id = id,
                                 .size = e->size,
                                 .listing = check_listing_hash(row_bytes(e->record)),
                                 .refs = e->refs};
    }
    arena_free(&a);
}

static int by_body_id(const void *a, const void *b)
{
    const struct check_body *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* One line per body, with the highest end that an email needs. */
static void check_bodies_merge(struct checker *c)
{
    size_t kept = 0;
    if (c->n_bodies)
        qsort(c->bodies, c->n_bodies, sizeof *c->bodies, by_body_id);
    for (size_t i = 0; i < c->n_bodies; i++) {
        if (kept && c->bodies[kept - 1].id == c->bodies[i].id)
            c->bodies[kept - 1].end = MAX(c->bodies[kept - 1].end, c->bodies[i].end);
        else
            c->bodies[kept++] = c->bodies[i];
    }
    c->n_bodies = kept;
}

static void check_place(struct checker *c, struct str rest, struct str value, void *arg)
{
    (void)arg;
    struct cur key = cur_of(rest);
    uint64_t id = key_read_u64(&key);
    struct arena a;
    arena_init(&a, ARENA_OWN);
    Thurn__BodyPlace *place;
    if (check_unpack(c, &thurn__body_place__descriptor, value, &a, "the place of a body", &place)) {
        struct check_body *b = key.bad || !cur_end(&key) ? NULL : check_body_of(c, id);
        struct err e = engine_body_verify(c->engine, place);
        if (!b)
            check_say(c, "body %" PRIu64 ": no email needs it", id);
        else
            b->placed = true;
        if (b && b->end > place->length)
            check_say(c, "body %" PRIu64 ": is shorter than an email needs", id);
        if (e.code)
            check_say(c, "body %" PRIu64 ": segment %" PRIu64 ", offset %" PRIu64 ": %s", id,
                      place->segment, place->offset,
                      e.code == E_IO ? "the disk cannot read it" : e.why);
    }
    arena_free(&a);
}

struct err check_emails(struct checker *c)
{
    TRY(check_kind(c, KEY_EMAIL, check_email_row, NULL));
    check_bodies_merge(c);
    TRY(check_kind(c, KEY_BODY, check_place, NULL));
    for (size_t i = 0; i < c->n_bodies; i++)
        if (!c->bodies[i].placed)
            check_say(c, "body %" PRIu64 ": an email needs it, but it is nowhere", c->bodies[i].id);
    if (c->n_emails != c->head->emails)
        check_say(c, "the account counts %" PRIu64 " emails, but has %zu", c->head->emails,
                  c->n_emails);
    return OK;
}

void check_email_refs(const struct checker *c)
{
    for (size_t i = 0; i < c->n_emails; i++)
        if (c->emails[i].refs != c->emails[i].seen)
            check_say(c, "email %" PRIu64 ": counts %u entries that show it, but there are %u",
                      c->emails[i].id, c->emails[i].refs, c->emails[i].seen);
}
