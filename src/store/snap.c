#include "store/model.h"

static struct snap *snap_new(struct account *a, struct view *view)
{
    struct snap *s = mem_alloc(sizeof *s);
    s->account = a;
    s->view = view;
    arena_init(&s->arena, ARENA_OWN);
    arena_init(&s->scratch, ARENA_OWN);
    return s;
}

/* Within a transaction the head in memory is the one on disk, and nobody else changes the account:
 * nothing need be read, and nothing be held. */
struct snap *snap_open_txn(struct account *a)
{
    struct snap *s = snap_new(a, view_open_newest(a->store->engine));
    s->head = &a->head;
    return s;
}

struct err snap_open(struct account *a, struct snap **out)
{
    /* The directory has no bodies, and keeps its snapshots for long. */
    struct engine *e = a->store->engine;
    struct snap *s = snap_new(a, a->id.v == ACCOUNT_SYSTEM.v ? view_open_keys(e) : view_open(e));
    struct key k;
    key_kind(&k, a->id, KEY_HEAD);
    struct err result =
        row_get_often(s->view, &k, &thurn__account_head__descriptor, a->id, &s->arena, &s->head);
    if (result.code != E_OK) {
        snap_close(s);
        return result;
    }
    *out = s;
    return OK;
}

void snap_close(struct snap *s)
{
    if (!s)
        return;
    entries_free(s->entries);
    key_walk_free(s->emails.walk);
    key_walk_free(s->bodies.walk);
    buf_free(&s->body);
    arena_free(&s->scratch);
    view_close(s->view);
    arena_free(&s->arena);
    free(s);
}

modseq snap_modseq(const struct snap *s)
{
    return (modseq){s->head->modseq};
}

const Thurn__AccountHead *snap_head(const struct snap *s)
{
    return s->head;
}

modseq snap_history_from(const struct snap *s)
{
    return (modseq){s->head->history_from};
}

/* ------------------------------------------------------------------------- mailboxes */

struct err snap_mailbox(struct snap *s, mailbox_id id, struct arena *a, Thurn__Mailbox **out)
{
    struct key k;
    key_of_u32(&k, s->account->id, KEY_MAILBOX, id.v);
    Thurn__Mailbox *m;
    TRY(row_get_often(s->view, &k, &thurn__mailbox__descriptor, s->account->id, a, &m));
    if (m->id != id.v)
        return err_make(E_CORRUPT, "a mailbox record stands under another id");
    s->box_seen = id;
    s->box_state = image_state_of(m);
    *out = m;
    return OK;
}

struct err snap_mailbox_named(struct snap *s, struct str name, struct arena *a,
                              Thurn__Mailbox **out)
{
    struct str canonical;
    struct err result = mailbox_name_canonical(name, a, &canonical);
    if (result.code == E_INVALID)
        return err_make(E_NOTFOUND, "no mailbox can have this name");
    TRY(result);
    mailbox_id id;
    TRY(mailbox_name_get(s->view, s->account->id, canonical, &id));
    result = snap_mailbox(s, id, a, out);
    if (result.code == E_NOTFOUND)
        return err_make(E_CORRUPT, "a name leads to no mailbox");
    return result;
}

/* What a scan collects into an arena. */
struct collect {
    struct snap *s;
    struct arena *a;
    struct err failed;
    void **items; /* malloc'd */
    size_t n, cap;
};

static void collect_add(struct collect *c, void *item)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 32;
        c->items = reallocarray(c->items, c->cap, sizeof *c->items);
        check(c->items != NULL);
    }
    c->items[c->n++] = item;
}

static bool collect_mailbox(struct str key, struct str value, void *arg)
{
    (void)key;
    struct collect *c = arg;
    Thurn__Mailbox *m;
    c->failed = row_unpack(&thurn__mailbox__descriptor, value, c->s->account->id, c->a, &m);
    if (c->failed.code == E_OK)
        collect_add(c, m);
    return c->failed.code == E_OK;
}

static bool collect_subscription(struct str key, struct str value, void *arg)
{
    (void)key;
    struct collect *c = arg;
    Thurn__Subscription *m;
    c->failed = row_unpack(&thurn__subscription__descriptor, value, c->s->account->id, c->a, &m);
    if (c->failed.code == E_OK)
        collect_add(c, m);
    return c->failed.code == E_OK;
}

static struct err collect_kind(struct collect *c, enum key_kind kind,
                               bool (*each)(struct str, struct str, void *))
{
    struct key from, to;
    key_kind(&from, c->s->account->id, kind);
    to = from;
    key_end(&to);
    TRY(view_scan(c->s->view, key_str(&from), key_str(&to), each, c));
    return c->failed;
}

static int by_mailbox_name(const void *a, const void *b)
{
    const Thurn__Mailbox *const *x = a, *const *y = b;
    return str_cmp(row_bytes((*x)->name), row_bytes((*y)->name));
}

struct err snap_mailboxes(struct snap *s, struct arena *a, Thurn__Mailbox ***out, size_t *out_n)
{
    struct collect c = {.s = s, .a = a};
    struct err result = collect_kind(&c, KEY_MAILBOX, collect_mailbox);
    Thurn__Mailbox **list = arena_array(a, Thurn__Mailbox *, c.n);
    if (result.code == E_OK && !list)
        result = err_make(E_LIMIT, "too many mailboxes for the memory of this request");
    if (result.code == E_OK) {
        if (c.n) {
            memcpy(list, c.items, c.n * sizeof(Thurn__Mailbox *));
            qsort(list, c.n, sizeof(Thurn__Mailbox *), by_mailbox_name);
        }
        *out = list;
        *out_n = c.n;
    }
    free(c.items);
    return result;
}

struct err snap_subscriptions(struct snap *s, struct arena *a, struct str **out, size_t *out_n)
{
    struct collect c = {.s = s, .a = a};
    struct err result = collect_kind(&c, KEY_SUBSCRIPTION, collect_subscription);
    struct str *names = arena_array(a, struct str, c.n);
    if (result.code == E_OK && !names)
        result = err_make(E_LIMIT, "too many subscriptions for the memory of this request");
    if (result.code == E_OK) {
        for (size_t i = 0; i < c.n; i++)
            names[i] = row_bytes(((Thurn__Subscription *)c.items[i])->name);
        *out = names;
        *out_n = c.n;
    }
    free(c.items);
    return result;
}

/* ---------------------------------------------------------------------------- emails */

/* As many ids further on a key is still near: expunged emails leave gaps. */
enum { NEAR = 8 };

/* The value of a key of a kind that is numbered, in the arena. */
static struct err near_get(struct snap *s, struct near_keys *near, enum key_kind kind, uint64_t id,
                           struct arena *a, struct str *out)
{
    struct key k;
    key_of_u64(&k, s->account->id, kind, id);
    bool walks = near->last && id > near->last && id - near->last <= NEAR;
    near->last = id;
    if (!walks && !near->walk)
        return view_get(s->view, key_str(&k), a, out);
    if (!near->walk)
        near->walk = view_walk(s->view);
    struct str value;
    TRY(key_walk_get(near->walk, key_str(&k), &value));
    *out = str_dup(a, value);
    return value.n && !out->p ? err_make(E_LIMIT, "no room for a value of the index") : OK;
}

static struct err email_check_id(const Thurn__StoredEmail *e, email_id id)
{
    return e->id == id.v ? OK : err_make(E_CORRUPT, "an email stands under another id");
}

struct err snap_email(struct snap *s, email_id id, struct arena *a, Thurn__StoredEmail **out)
{
    struct str packed;
    Thurn__StoredEmail *e;
    TRY(near_get(s, &s->emails, KEY_EMAIL, id.v, a, &packed));
    TRY(row_borrow(&thurn__stored_email__descriptor, packed, s->account->id, a, &e));
    TRY(email_check_id(e, id));
    *out = e;
    return OK;
}

struct err snap_email_whole(struct snap *s, email_id id, struct arena *a, Thurn__StoredEmail **out)
{
    struct key k;
    key_of_u64(&k, s->account->id, KEY_EMAIL, id.v);
    Thurn__StoredEmail *e;
    TRY(row_get(s->view, &k, &thurn__stored_email__descriptor, s->account->id, a, &e));
    TRY(email_check_id(e, id));
    *out = e;
    return OK;
}

struct err snap_email_text(struct snap *s, email_id id, struct arena *a, struct str *out)
{
    struct key k;
    key_of_u64(&k, s->account->id, KEY_TEXT, id.v);
    struct str value;
    struct err result = view_get(s->view, key_str(&k), a, &value);
    if (result.code == E_NOTFOUND) {
        *out = (struct str){0};
        return OK;
    }
    TRY(result);
    return text_unpack(value, s->account->id, a, out);
}

enum { BODY_SMALL = 16 * 1024 };

/* Where the body lies; the last one is remembered, for a client that fetches piece by piece. */
static struct err snap_place(struct snap *s, uint64_t body)
{
    if (s->place_body == body)
        return OK;
    struct str packed;
    Thurn__BodyPlace *place;
    arena_clear(&s->scratch);
    struct err result = near_get(s, &s->bodies, KEY_BODY, body, &s->scratch, &packed);
    if (result.code == E_NOTFOUND)
        return err_make(E_CORRUPT, "the body of an email is missing");
    TRY(result);
    TRY(row_borrow(&thurn__body_place__descriptor, packed, s->account->id, &s->scratch, &place));
    s->place = *place;
    s->place_body = body;
    buf_clear(&s->body);
    return OK;
}

void content_proof_free(struct content_proof *p)
{
    sha256_free(&p->run);
    *p = (struct content_proof){0};
}

/* Takes account of what has been read of a large body; at its end all of it must have been what was
 * stored. */
static struct err proof_add(struct content_proof *p, const struct snap *s, uint64_t offset,
                            struct str bytes, const uint8_t expected[SHA256_LEN])
{
    if (offset == 0) {
        content_proof_free(p);
        p->body = s->place_body;
    } else if (p->body != s->place_body || p->at != offset) {
        p->body = 0; /* it is not read from end to end */
        return OK;
    }
    sha256_add(&p->run, bytes);
    p->at = offset + bytes.n;
    if (p->at < s->place.length)
        return OK;
    uint8_t hash[SHA256_LEN];
    sha256_end(&p->run, hash);
    p->body = 0;
    return memcmp(hash, expected, sizeof hash) == 0
               ? OK
               : err_make(E_CORRUPT, "the body does not match its checksum");
}

static struct err snap_body(struct snap *s, uint64_t offset, uint8_t *out, size_t n,
                            struct content_proof *proof)
{
    struct engine *engine = s->account->store->engine;
    if (s->place.length > BODY_SMALL) {
        uint8_t hash[SHA256_LEN];
        TRY(engine_body_read(engine, &s->place, offset, out, n, hash));
        return engine_body_tell(&s->place, proof_add(proof, s, offset, str_of(out, n), hash));
    }
    if (s->body.n == 0) {
        struct err result = engine_body_load(engine, &s->place, &s->body);
        if (result.code != E_OK) {
            buf_clear(&s->body);
            return result;
        }
    }
    str_copy_to(out, str_sub(buf_str(&s->body), (size_t)offset, (size_t)offset + n));
    return OK;
}

static struct err snap_piece(struct snap *s, const Thurn__Piece *p, uint64_t offset, uint8_t *out,
                             size_t n, struct content_proof *proof)
{
    if (!p->body) {
        memcpy(out, p->head.data + offset, n);
        return OK;
    }
    TRY(snap_place(s, p->body));
    uint64_t end;
    if (__builtin_add_overflow(p->offset, p->length, &end) || end > s->place.length)
        return err_make(E_CORRUPT, "an email reaches beyond its body");
    return snap_body(s, p->offset + offset, out, n, proof);
}

struct err snap_content_next(struct snap *s, const Thurn__StoredEmail *e, uint64_t offset,
                             uint8_t *out, size_t n, struct content_proof *proof)
{
    for (size_t i = 0; i < e->n_content && n; i++) {
        const Thurn__Piece *p = e->content[i];
        uint64_t length = p->body ? p->length : p->head.len;
        if (offset >= length) {
            offset -= length;
            continue;
        }
        size_t here = (size_t)MIN((uint64_t)n, length - offset);
        TRY(snap_piece(s, p, offset, out, here, proof));
        out += here;
        n -= here;
        offset = 0;
    }
    return n ? err_make(E_INVALID, "beyond the end of the email") : OK;
}

struct err snap_content(struct snap *s, const Thurn__StoredEmail *e, uint64_t offset, uint8_t *out,
                        size_t n)
{
    struct content_proof proof = {0};
    struct err result = snap_content_next(s, e, offset, out, n, &proof);
    content_proof_free(&proof);
    return result;
}

/* ------------------------------------------------------------- free keys, done requests */

static bool free_key_ok(struct str key)
{
    return key.n > 0 && key.n <= FREE_KEY_MAX && str_find_byte(key, 0, 0) == key.n;
}

struct err snap_get(struct snap *s, struct str key, struct arena *a, struct str *out)
{
    if (!free_key_ok(key))
        return err_make(E_INVALID, "not a key");
    struct key k;
    key_of_bytes(&k, s->account->id, KEY_FREE, key);
    struct str value;
    TRY(view_get_often(s->view, key_str(&k), a, &value));
    struct cur c = cur_of(value);
    row_expect_account(&c, s->account->id);
    if (c.bad)
        return err_make(E_CORRUPT, "a value belongs to another account");
    *out = cur_rest(&c);
    return OK;
}

struct scan {
    account_id account;
    size_t prefix;
    bool (*each)(struct str key, struct str value, void *arg);
    void *arg;
    bool corrupt;
};

static bool scan_free(struct str key, struct str value, void *arg)
{
    struct scan *scan = arg;
    struct cur c = cur_of(value);
    row_expect_account(&c, scan->account);
    scan->corrupt = c.bad;
    return !c.bad && scan->each(str_skip(key, scan->prefix), cur_rest(&c), scan->arg);
}

struct err snap_scan(struct snap *s, struct str prefix, struct str after,
                     bool (*each)(struct str key, struct str value, void *arg), void *arg)
{
    if ((prefix.n && !free_key_ok(prefix)) || (after.n && !free_key_ok(after)))
        return err_make(E_INVALID, "not a key");
    struct key from, to;
    key_of_bytes(&to, s->account->id, KEY_FREE, prefix);
    key_end(&to);
    bool later = after.n && str_cmp(after, prefix) >= 0;
    key_of_bytes(&from, s->account->id, KEY_FREE, later ? after : prefix);
    if (later)
        key_byte(&from, 1); /* the next key: there is no NUL in keys */
    if (str_cmp(key_str(&from), key_str(&to)) >= 0)
        return OK;
    struct scan scan = {.account = s->account->id, .each = each, .arg = arg};
    struct key kind;
    key_kind(&kind, s->account->id, KEY_FREE);
    scan.prefix = kind.n;
    TRY(view_scan(s->view, key_str(&from), key_str(&to), scan_free, &scan));
    return scan.corrupt ? err_make(E_CORRUPT, "a value belongs to another account") : OK;
}

struct err snap_done(struct snap *s, change_id id, struct arena *a, struct str *out)
{
    uint32_t newest = atomic_load(&s->account->done_newest);
    uint32_t oldest = atomic_load(&s->account->done_oldest);
    for (uint32_t day = newest; day && day >= oldest && day + 2 > newest; day--) {
        struct key k;
        key_of_done(&k, s->account->id, day, id);
        Thurn__Done *done;
        struct err result =
            row_get(s->view, &k, &thurn__done__descriptor, s->account->id, a, &done);
        if (result.code == E_OK)
            *out = row_bytes(done->answer);
        if (result.code != E_NOTFOUND)
            return result;
    }
    return err_make(E_NOTFOUND, "not done before");
}
