#include "store/model.h"

/* --------------------------------------------------------------------------------- names */

static bool name_byte_is_bad(uint8_t c)
{
    return c < 0x20 || c == 0x7F;
}

struct err mailbox_name_canonical(struct str name, struct arena *a, struct str *out)
{
    struct err bad = err_make(E_INVALID, "not a name for a mailbox");
    if (name.n == 0 || name.n > MAILBOX_NAME_MAX || !str_is_utf8(name))
        return bad;
    bool level = false; /* it has begun */
    for (size_t i = 0; i < name.n; i++) {
        if (name_byte_is_bad(name.p[i]) || (name.p[i] == '/' && !level))
            return bad;
        level = name.p[i] != '/';
    }
    if (!level)
        return bad;
    struct str first = str_sub(name, 0, str_find_byte(name, '/', 0));
    *out = name;
    if (!str_ieq(first, STR("INBOX")) || str_eq(first, STR("INBOX")))
        return OK;
    uint8_t *copy = arena_alloc(a, name.n);
    if (!copy)
        return err_make(E_LIMIT, "no room for a name");
    str_copy_to(copy, name);
    memcpy(copy, "INBOX", first.n);
    *out = str_of(copy, name.n);
    return OK;
}

void mailbox_name_put(struct batch *b, struct buf *scratch, account_id a, struct str name,
                      mailbox_id id)
{
    buf_clear(scratch);
    buf_varint(scratch, a.v);
    buf_varint(scratch, id.v);
    struct key k;
    key_of_bytes(&k, a, KEY_NAME, name);
    batch_put(b, key_str(&k), buf_str(scratch));
}

struct err mailbox_name_get(struct view *v, account_id a, struct str name, mailbox_id *out)
{
    struct key k;
    key_of_bytes(&k, a, KEY_NAME, name);
    struct arena arena;
    arena_init(&arena, ARENA_OWN);
    struct str value;
    struct err result = view_get_often(v, key_str(&k), &arena, &value);
    uint64_t id = 0;
    if (result.code == E_OK) {
        struct cur c = cur_of(value);
        row_expect_account(&c, a);
        id = cur_varint(&c);
        if (c.bad || !cur_end(&c) || id == 0 || id > UINT32_MAX)
            result = err_make(E_CORRUPT, "the index of mailbox names is damaged");
    }
    arena_free(&arena);
    TRY(result);
    out->v = (uint32_t)id;
    return OK;
}

/* `name` is `parent`/something. */
static bool name_is_below(struct str name, struct str parent)
{
    return name.n > parent.n && str_starts(name, parent) && name.p[parent.n] == '/';
}

/* ------------------------------------------------------------------------------- helpers */

/* A copy that lives as long as the transaction. */
static struct err txn_keep(struct txn *t, struct str s, struct str *out)
{
    *out = str_dup(&t->arena, s);
    return s.n && !out->p ? err_make(E_LIMIT, "the transaction is too large") : OK;
}

static void name_delete(struct txn *t, struct str name)
{
    struct key k;
    key_of_bytes(&k, t->account->id, KEY_NAME, name);
    batch_delete(&t->commit.batch, key_str(&k));
}

/* Gives a mailbox its name, in the index too. `name` stays as long as the transaction. */
static void txn_box_name(struct txn *t, struct txn_box *b, struct str name)
{
    if (b->pb.name.len)
        name_delete(t, row_bytes(b->pb.name));
    b->pb.name = row_data(name);
    b->deep = b->changed = true;
    mailbox_name_put(&t->commit.batch, &t->scratch, t->account->id, name, (mailbox_id){b->pb.id});
}

static void txn_box_uidvalidity(struct txn *t, struct txn_box *b)
{
    int64_t now = clock_wall_s();
    uint32_t clock = now > 0 && now < UINT32_MAX ? (uint32_t)now : 1;
    check_unhandled(t->head.last_uidvalidity < UINT32_MAX);
    t->head.last_uidvalidity = MAX(clock, t->head.last_uidvalidity + 1);
    b->pb.uidvalidity = t->head.last_uidvalidity;
    b->pb.highest_modseq = t->head.modseq;
    b->changed = b->deep = true;
}

static struct err txn_mailbox_new(struct txn *t, struct str name, bool no_select,
                                  struct txn_box **out)
{
    if (t->account->n_boxes + t->n_boxes >= MAILBOXES_MAX)
        return err_make(E_LIMIT, "too many mailboxes");
    if (t->head.next_mailbox == UINT32_MAX)
        return err_make(E_LIMIT, "the account has used up its mailbox ids");
    struct str kept;
    TRY(txn_keep(t, name, &kept));
    struct txn_box *b = txn_box_new(t, (mailbox_id){t->head.next_mailbox++});
    b->pb.uidnext = 1;
    b->pb.first_recent = 1;
    b->pb.created_modseq = t->head.modseq;
    b->pb.no_select = no_select;
    txn_box_uidvalidity(t, b);
    txn_box_name(t, b, kept);
    *out = b;
    return OK;
}

static struct err txn_make_parents(struct txn *t, struct str name)
{
    for (size_t at = str_find_byte(name, '/', 0); at < name.n;
         at = str_find_byte(name, '/', at + 1)) {
        struct str parent = str_sub(name, 0, at);
        struct txn_box *b;
        if (!txn_box_named(t, parent).v)
            TRY(txn_mailbox_new(t, parent, true, &b));
    }
    return OK;
}

/* Calls `each` for every mailbox below `name`, as the transaction sees it. */
static struct err txn_each_below(struct txn *t, struct str name,
                                 struct err (*each)(struct txn *t, struct txn_box *b, void *arg),
                                 void *arg)
{
    for (size_t i = 0; i < t->account->n_boxes; i++) {
        const Thurn__Mailbox *pb = &t->account->boxes[i]->pb;
        if (name_is_below(row_bytes(pb->name), name))
            (void)txn_box(t, (mailbox_id){pb->id}); /* makes it one of the transaction's */
    }
    for (size_t i = 0, n = t->n_boxes; i < n; i++) {
        struct txn_box *b = t->boxes[i];
        if (b->exists && name_is_below(row_bytes(b->pb.name), name))
            TRY(each(t, b, arg));
    }
    return OK;
}

/* ------------------------------------------------------------------------------ operations */

struct err txn_mailbox_find(struct txn *t, struct str name, mailbox_id *out)
{
    struct str canonical;
    struct err e = mailbox_name_canonical(name, &t->arena, &canonical);
    mailbox_id id = {0};
    if (e.code == E_OK)
        id = txn_box_named(t, canonical);
    else if (e.code != E_INVALID)
        return e;
    if (!id.v)
        return err_make(E_NOTFOUND, "no such mailbox");
    *out = id;
    return OK;
}

struct err txn_mailbox_create(struct txn *t, struct str name, uint32_t special_use, mailbox_id *out)
{
    struct str canonical;
    TRY(mailbox_name_canonical(name, &t->arena, &canonical));
    struct txn_box *b;
    mailbox_id there = txn_box_named(t, canonical);
    if (there.v) {
        b = txn_box(t, there);
        if (!b->pb.no_select)
            return err_make(E_EXISTS, "there is a mailbox with this name");
        b->pb.no_select = false;
        txn_box_uidvalidity(t, b);
    } else {
        TRY(txn_make_parents(t, canonical));
        TRY(txn_mailbox_new(t, canonical, false, &b));
    }
    b->pb.special_use = special_use;
    *out = (mailbox_id){b->pb.id};
    return OK;
}

static struct err txn_has_child(struct txn *t, struct txn_box *b, void *arg)
{
    (void)t;
    (void)b;
    *(bool *)arg = true;
    return OK;
}

/* The record goes to the dead ones, and with it blocks, overlay and change log, which stay. */
struct err txn_mailbox_delete(struct txn *t, mailbox_id id)
{
    struct txn_box *b = txn_box(t, id);
    if (!b)
        return err_make(E_NOTFOUND, "no such mailbox");
    struct str name = row_bytes(b->pb.name);
    if (str_eq(name, STR("INBOX")))
        return err_make(E_DENIED, "INBOX cannot be deleted");
    bool children = false;
    TRY(txn_each_below(t, name, txn_has_child, &children));
    if (children && b->pb.no_select)
        return err_make(E_CONFLICT, "it is only there for its children");
    struct txn_box *placeholder;
    if (children)
        TRY(txn_mailbox_new(t, name, true, &placeholder)); /* takes the name over */
    else
        name_delete(t, name);
    t->head.bytes -= b->pb.bytes;
    t->head.messages -= b->pb.exists;
    b->pb.highest_modseq = t->head.modseq;
    b->exists = false;
    b->deleted = b->changed = true;
    return OK;
}

struct renaming {
    size_t old_n;
    struct str to;
};

static struct err txn_check_child(struct txn *t, struct txn_box *b, void *arg)
{
    (void)t;
    const struct renaming *r = arg;
    if (b->pb.name.len - r->old_n + r->to.n > MAILBOX_NAME_MAX)
        return err_make(E_LIMIT, "the name of a child would become too long");
    return OK;
}

static struct err txn_rename_child(struct txn *t, struct txn_box *b, void *arg)
{
    const struct renaming *r = arg;
    struct str rest = str_skip(row_bytes(b->pb.name), r->old_n);
    uint8_t *name = arena_alloc(&t->arena, r->to.n + rest.n);
    if (!name)
        return err_make(E_LIMIT, "the transaction is too large");
    str_copy_to(name, r->to);
    str_copy_to(name + r->to.n, rest);
    txn_box_name(t, b, str_of(name, r->to.n + rest.n));
    return OK;
}

struct err txn_mailbox_rename(struct txn *t, mailbox_id id, struct str to)
{
    struct txn_box *b = txn_box(t, id);
    if (!b)
        return err_make(E_NOTFOUND, "no such mailbox");
    struct str canonical, name = row_bytes(b->pb.name);
    TRY(mailbox_name_canonical(to, &t->arena, &canonical));
    if (txn_box_named(t, canonical).v)
        return err_make(E_EXISTS, "there is a mailbox with this name");
    bool inbox = str_eq(name, STR("INBOX"));
    if (!inbox && name_is_below(canonical, name))
        return err_make(E_INVALID, "a mailbox cannot become its own child");
    struct renaming r = {.old_n = name.n};
    TRY(txn_keep(t, canonical, &r.to));
    if (!inbox)
        TRY(txn_each_below(t, name, txn_check_child, &r));
    TRY(txn_make_parents(t, r.to));
    txn_box_name(t, b, r.to);
    if (!inbox)
        return txn_each_below(t, name, txn_rename_child, &r);
    /* The messages move with the mailbox that they are in; INBOX begins anew. */
    struct txn_box *fresh;
    return txn_mailbox_new(t, STR("INBOX"), false, &fresh);
}

void subscription_put(struct batch *b, account_id a, struct str name)
{
    struct key k;
    key_of_bytes(&k, a, KEY_SUBSCRIPTION, name);
    Thurn__Subscription s = THURN__SUBSCRIPTION__INIT;
    s.account = a.v;
    s.name = row_data(name);
    row_put(b, &k, &s);
}

struct err txn_subscribe(struct txn *t, struct str name, bool on)
{
    struct str canonical;
    TRY(mailbox_name_canonical(name, &t->arena, &canonical));
    struct key k;
    key_of_bytes(&k, t->account->id, KEY_SUBSCRIPTION, canonical);
    if (on)
        subscription_put(&t->commit.batch, t->account->id, canonical);
    else
        batch_delete(&t->commit.batch, key_str(&k));
    t->head_changed = true;
    return OK;
}

struct err txn_keyword(struct txn *t, mailbox_id id, struct str name, unsigned *out_bit)
{
    struct txn_box *b;
    TRY(txn_box_select(t, id, &b));
    size_t n = b->pb.n_keywords;
    for (size_t i = 0; i < n; i++) {
        if (str_ieq(row_bytes(b->pb.keywords[i]), name)) {
            *out_bit = (unsigned)i;
            return OK;
        }
    }
    if (name.n == 0 || name.n > 255)
        return err_make(E_INVALID, "not a name for a keyword");
    if (n >= KEYWORDS_MAX)
        return err_make(E_LIMIT, "the mailbox has all the keywords it can have");
    struct str kept;
    TRY(txn_keep(t, name, &kept));
    ProtobufCBinaryData *list = arena_array(&t->arena, ProtobufCBinaryData, n + 1);
    if (!list)
        return err_make(E_LIMIT, "the transaction is too large");
    if (n)
        memcpy(list, b->pb.keywords, n * sizeof *list);
    list[n] = row_data(kept);
    b->pb.keywords = list;
    b->pb.n_keywords = n + 1;
    b->deep = b->changed = true;
    *out_bit = (unsigned)n;
    return OK;
}
