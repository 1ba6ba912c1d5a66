#include "store/check.h"

void check_say(const struct checker *c, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    check(n >= 0);
    c->found(c->account, str_of(text, MIN((size_t)n, sizeof text - 1)), c->arg);
}

void *check_grow(void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return array;
    *cap = *cap ? *cap * 2 : 64;
    array = reallocarray(array, *cap, size);
    check(array != NULL);
    return array;
}

/* ------------------------------------------------------------------------------ scanning */

struct check_scan {
    struct checker *c;
    size_t prefix;
    check_each each;
    void *arg;
};

static bool check_scanned(struct str key, struct str value, void *arg)
{
    const struct check_scan *s = arg;
    s->each(s->c, str_skip(key, s->prefix), value, s->arg);
    return true;
}

static struct err check_prefix(struct checker *c, const struct key *prefix, check_each each,
                               void *arg)
{
    struct key to = *prefix;
    key_end(&to);
    struct check_scan s = {.c = c, .prefix = prefix->n, .each = each, .arg = arg};
    return view_scan(c->view, key_str(prefix), key_str(&to), check_scanned, &s);
}

struct err check_kind(struct checker *c, enum key_kind kind, check_each each, void *arg)
{
    struct key prefix;
    key_kind(&prefix, c->account, kind);
    return check_prefix(c, &prefix, each, arg);
}

struct err check_mailbox_kind(struct checker *c, enum key_kind kind, mailbox_id m, check_each each,
                              void *arg)
{
    struct key prefix;
    key_of_u32(&prefix, c->account, kind, m.v);
    return check_prefix(c, &prefix, each, arg);
}

bool check_unpack(const struct checker *c, const ProtobufCMessageDescriptor *type, struct str value,
                  struct arena *a, const char *what, void *out_message)
{
    struct err e = row_unpack(type, value, c->account, a, out_message);
    if (e.code != E_OK)
        check_say(c, "%s: %s", what, e.why);
    return e.code == E_OK;
}

struct check_box *check_box_of(struct checker *c, uint32_t id)
{
    for (size_t i = 0; i < c->n_boxes; i++) {
        size_t at = (c->last_box + i) % c->n_boxes;
        if (c->boxes[at].pb->id == id) {
            c->last_box = at;
            return &c->boxes[at];
        }
    }
    return NULL;
}

/* ----------------------------------------------------------------------------- mailboxes */

static void check_box_record(struct checker *c, struct str rest, struct str value, void *arg)
{
    const bool *dead = arg;
    struct cur key = cur_of(rest);
    uint32_t id = key_read_u32(&key);
    Thurn__Mailbox *pb;
    if (!check_unpack(c, &thurn__mailbox__descriptor, value, &c->arena, "a mailbox record", &pb))
        return;
    if (key.bad || !cur_end(&key) || pb->id != id)
        check_say(c, "mailbox %u: its record stands under another id", pb->id);
    else if (check_box_of(c, id))
        check_say(c, "mailbox %u: is there and deleted at once", id);
    else if (id == 0 || id >= c->head->next_mailbox)
        check_say(c, "mailbox %u: has an id that was never given out", id);
    else {
        c->boxes = check_grow(c->boxes, c->n_boxes, &c->cap_boxes, sizeof *c->boxes);
        c->boxes[c->n_boxes++] = (struct check_box){.pb = pb, .dead = *dead};
    }
}

static void check_name(struct checker *c, struct str rest, struct str value, void *arg)
{
    (void)arg;
    struct cur in = cur_of(value);
    row_expect_account(&in, c->account);
    uint64_t id = cur_varint(&in);
    struct check_box *box =
        in.bad || !cur_end(&in) || id > UINT32_MAX ? NULL : check_box_of(c, (uint32_t)id);
    if (!box || box->dead || !str_eq(row_bytes(box->pb->name), rest))
        check_say(c, "the index of names leads \"%.*s\" to no mailbox of that name", STR_FMT(rest));
    else
        box->named = true;
}

static void check_subscription(struct checker *c, struct str rest, struct str value, void *arg)
{
    (void)arg;
    struct arena a;
    arena_init(&a, ARENA_OWN);
    Thurn__Subscription *s;
    if (check_unpack(c, &thurn__subscription__descriptor, value, &a, "a subscription", &s) &&
        !str_eq(row_bytes(s->name), rest))
        check_say(c, "a subscription stands under another name");
    arena_free(&a);
}

static struct err check_boxes(struct checker *c)
{
    bool dead = false;
    TRY(check_kind(c, KEY_MAILBOX, check_box_record, &dead));
    dead = true;
    TRY(check_kind(c, KEY_DEAD_MAILBOX, check_box_record, &dead));
    TRY(check_kind(c, KEY_NAME, check_name, NULL));
    TRY(check_kind(c, KEY_SUBSCRIPTION, check_subscription, NULL));
    uint64_t bytes = 0, messages = 0;
    for (size_t i = 0; i < c->n_boxes; i++) {
        const struct check_box *b = &c->boxes[i];
        bytes += b->dead ? 0 : b->pb->bytes;
        messages += b->dead ? 0 : b->pb->exists;
        if (!b->dead && !b->named)
            check_say(c, "mailbox %u: the index of names does not lead to it", b->pb->id);
        TRY(check_mailbox(c, b));
    }
    if (bytes != c->head->bytes)
        check_say(c, "the account counts %" PRIu64 " bytes, its mailboxes %" PRIu64, c->head->bytes,
                  bytes);
    if (messages != c->head->messages)
        check_say(c, "the account counts %" PRIu64 " messages, its mailboxes %" PRIu64,
                  c->head->messages, messages);
    return OK;
}

/* ------------------------------------------------------------------- keys of all other kinds */

static void check_done(struct checker *c, struct str rest, struct str value)
{
    struct cur key = cur_of(rest);
    (void)key_read_u32(&key);
    (void)key_read_u64(&key);
    (void)key_read_u64(&key);
    struct arena a;
    arena_init(&a, ARENA_OWN);
    Thurn__Done *d;
    (void)check_unpack(c, &thurn__done__descriptor, value, &a, "a record of a request", &d);
    if (key.bad || !cur_end(&key))
        check_say(c, "the key of a record of a request is damaged");
    arena_free(&a);
}

static void check_free(struct checker *c, struct str value)
{
    struct cur in = cur_of(value);
    row_expect_account(&in, c->account);
    if (in.bad)
        check_say(c, "a value of the directory belongs to another account");
}

static void check_text(struct checker *c, struct str rest, struct str value)
{
    struct cur key = cur_of(rest);
    uint64_t id = key_read_u64(&key);
    struct arena a;
    struct str text;
    arena_init(&a, ARENA_OWN);
    if (key.bad || !cur_end(&key) || text_unpack(value, c->account, &a, &text).code)
        check_say(c, "email %" PRIu64 ": its text is damaged", id);
    else if (!check_email_of(c, id))
        check_say(c, "email %" PRIu64 ": there is a text, but no such email", id);
    arena_free(&a);
}

/* What belongs to a mailbox must belong to one that there is. */
static void check_owner(struct checker *c, struct str rest, const char *what)
{
    struct cur key = cur_of(rest);
    uint32_t id = key_read_u32(&key);
    if (key.bad || !check_box_of(c, id))
        check_say(c, "mailbox %u: there is %s, but no such mailbox", id, what);
}

/* Every key of the account once: is it of a kind, and does it belong to something? */
static void check_any(struct checker *c, struct str rest, struct str value, void *arg)
{
    (void)arg;
    struct str behind = str_skip(rest, 1);
    switch (rest.n ? rest.p[0] : 0) {
    case KEY_BLOCK: check_owner(c, behind, "a block of entries"); break;
    case KEY_CHANGES: check_owner(c, behind, "a change"); break;
    case KEY_DIRECTORY: check_owner(c, behind, "a directory of blocks"); break;
    case KEY_OVERLAY: check_owner(c, behind, "an entry"); break;
    case KEY_LISTING: check_owner(c, behind, "a listing column"); break;
    case KEY_DONE: check_done(c, behind, value); break;
    case KEY_FREE: check_free(c, value); break;
    case KEY_TEXT: check_text(c, behind, value); break;
    case KEY_BODY:
    case KEY_DEAD_MAILBOX:
    case KEY_EMAIL:
    case KEY_HEAD:
    case KEY_MAILBOX:
    case KEY_NAME:
    case KEY_SLOT:
    case KEY_SUBSCRIPTION: break;
    default: check_say(c, "there is a key of a kind that this release does not know"); break;
    }
}

/* ------------------------------------------------------------------------------- accounts */

static struct err check_account_parts(struct checker *c)
{
    struct key k;
    key_kind(&k, c->account, KEY_HEAD);
    struct err e =
        row_get(c->view, &k, &thurn__account_head__descriptor, c->account, &c->arena, &c->head);
    if (e.code == E_NOTFOUND || e.code == E_CORRUPT) {
        check_say(c, "the head of the account is %s; nothing else of it was looked at",
                  e.code == E_NOTFOUND ? "missing" : "damaged");
        return OK;
    }
    TRY(e);
    TRY(check_slots(c));
    TRY(check_emails(c));
    TRY(check_boxes(c));
    check_email_refs(c);
    key_account(&k, c->account);
    return check_prefix(c, &k, check_any, NULL);
}

static struct err check_account(struct checker *c, account_id account)
{
    c->account = account;
    arena_init(&c->arena, SIZE_MAX);
    struct err e = check_account_parts(c);
    if (e.code == E_IO) { /* a damaged part of the index: the others can be looked at */
        check_say(c, "not all of it can be looked at: %s", e.why);
        e = OK;
    }
    arena_free(&c->arena);
    free(c->boxes);
    free(c->emails);
    free(c->bodies);
    *c = (struct checker){.engine = c->engine, .view = c->view, .found = c->found, .arg = c->arg};
    return e;
}

static bool check_first_key(struct str key, struct str value, void *arg)
{
    (void)value;
    struct key *first = arg;
    first->n = 0;
    key_bytes(first, key);
    return false;
}

/* Goes from account to account; keys that are of none are findings of the store itself. */
enum { UNREADABLE_ACCOUNTS = 100000 }; /* ids that are tried where the index cannot be read */

static struct err check_accounts(struct checker *c)
{
    struct key from = {.n = 0}, to = {.n = 0};
    key_byte(&from, 2); /* what is below is the engine's own */
    key_byte(&to, 0xFF);
    account_id next = {1};
    for (unsigned failed = 0;;) {
        struct key first = {.n = 0};
        struct err e = view_scan(c->view, key_str(&from), key_str(&to), check_first_key, &first);
        if (e.code == E_IO && failed++ < UNREADABLE_ACCOUNTS) {
            if (failed == 1)
                check_say(c, "a part of the index cannot be read; an account may be missing");
            key_account(&from, next);
            next.v++;
            continue;
        }
        TRY(e);
        if (!first.n)
            return OK;
        struct cur key = cur_of(key_str(&first));
        if (first.b[0] == DUE_SPACE) {
            TRY(check_due(c));
            from = (struct key){.n = 0};
            key_byte(&from, DUE_SPACE + 1);
            continue;
        }
        bool space = cur_byte(&key) == KEY_SPACE;
        account_id account = {key_read_u64(&key)};
        if (!space || key.bad || account.v == 0) {
            check_say(c, "there is a key that belongs to no account");
            from = first;
            key_byte(&from, 1);
            continue;
        }
        TRY(check_account(c, account));
        next.v = account.v + 1;
        key_account(&from, account);
        key_end(&from);
    }
}

struct err store_check(struct str dir, store_finding found,
                       void (*progress)(uint64_t done, uint64_t total, void *arg), void *arg,
                       struct buf *explain)
{
    struct engine_options o = {.dir = dir, .read_only = true};
    struct engine *engine;
    TRY(engine_open(&o, &engine, explain));
    struct err e = engine_log_verify(engine, found, progress, arg);
    if (e.code == E_OK) {
        struct checker c = {
            .engine = engine, .view = view_open(engine), .found = found, .arg = arg};
        e = check_accounts(&c);
        view_close(c.view);
    }
    engine_close(engine);
    return e;
}
