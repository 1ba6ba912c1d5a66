#include "store/model.h"

struct err store_open(const struct store_options *o, struct store **out, struct buf *explain)
{
    struct engine_options eo = {.dir = o->dir,
                                .segment_size = o->segment_size,
                                .cache_size = o->cache_size,
                                .rewrite_rate = o->rewrite_rate,
                                .opening = o->opening,
                                .opening_arg = o->opening_arg,
                                .disk = o->disk};
    struct engine *engine;
    TRY(engine_open(&eo, &engine, explain));
    struct store *s = mem_alloc(sizeof *s);
    s->engine = engine;
    s->images = images_new();
    s->clock = o->clock;
    store_set_history(s, o->history);
    s->changed = o->changed;
    s->changed_arg = o->changed_arg;
    check(pthread_mutex_init(&s->lock, NULL) == 0);
    *out = s;
    return OK;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    check(s->accounts.n == 0);
    engine_close(s->engine);
    images_free(s->images);
    map_free(&s->accounts);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void store_stats(struct store *s, struct store_stats *out)
{
    engine_stats(s->engine, out);
}

/* A commit that its maker waits for. */
struct waiting {
    struct commit commit;
    struct wait_once ended;
    struct err result;
};

static void waiting_done(struct commit *c, struct err result)
{
    struct waiting *w = container_of(c, struct waiting, commit);
    w->result = result;
    wait_once_tell(&w->ended);
}

struct err batch_commit(struct engine *e, struct batch *b)
{
    if (b->ops.bad) {
        batch_free(b);
        return err_make(E_LIMIT, "too much for one change");
    }
    struct waiting w = {.commit = {.batch = *b, .done = waiting_done}};
    *b = (struct batch){0};
    wait_once_init(&w.ended);
    engine_submit(e, &w.commit);
    wait_once_end(&w.ended);
    batch_free(&w.commit.batch);
    return w.result;
}

static struct err account_absent(struct engine *e, account_id id)
{
    struct view *v = view_open(e);
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct key k;
    struct str head;
    key_kind(&k, id, KEY_HEAD);
    struct err result = view_get(v, key_str(&k), &a, &head);
    arena_free(&a);
    view_close(v);
    if (result.code == E_OK)
        return err_make(E_EXISTS, "there is an account with this id");
    return result.code == E_NOTFOUND ? OK : result;
}

/* A mailbox of an account that begins; the head counts it. */
static void account_begin_mailbox(struct batch *b, Thurn__AccountHead *head,
                                  const struct new_mailbox *m)
{
    account_id id = {head->account};
    Thurn__Mailbox box = THURN__MAILBOX__INIT;
    box.account = id.v;
    box.id = head->next_mailbox++;
    box.name = row_data(m->name);
    box.uidvalidity = ++head->last_uidvalidity;
    box.uidnext = 1;
    box.highest_modseq = box.created_modseq = 1;
    box.first_recent = 1;
    box.special_use = m->special_use;
    struct key k;
    key_of_u32(&k, id, KEY_MAILBOX, box.id);
    row_put(b, &k, &box);
    struct buf scratch CLEANUP(buf_free) = {0};
    mailbox_name_put(b, &scratch, id, m->name, (mailbox_id){box.id});
}

static struct err account_begin_mailboxes(struct batch *b, Thurn__AccountHead *head,
                                          const struct new_mailbox *mailboxes, size_t n)
{
    static const struct new_mailbox inbox = {.name = STR_INIT("INBOX")};
    head->last_uidvalidity = (uint32_t)MAX(head->created, 1) - 1;
    account_begin_mailbox(b, head, &inbox);
    struct arena a CLEANUP(arena_free);
    arena_init(&a, ARENA_OWN);
    for (size_t i = 0; i < n; i++) {
        struct str name;
        TRY(mailbox_name_canonical(mailboxes[i].name, &a, &name));
        for (size_t k = 0; k < i; k++)
            if (str_eq(name, mailboxes[k].name))
                return err_make(E_EXISTS, "two mailboxes of one name");
        if (str_find_byte(name, '/', 0) < name.n || str_eq(name, STR("INBOX")))
            return err_make(E_INVALID, "not a name for a mailbox of a new account");
        account_begin_mailbox(b, head, &mailboxes[i]);
        subscription_put(b, (account_id){head->account}, name);
    }
    return OK;
}

struct err store_account_create(struct store *s, account_id id, const struct new_mailbox *mailboxes,
                                size_t n)
{
    if (id.v == 0)
        return err_make(E_INVALID, "0 is no account");
    TRY(account_absent(s->engine, id));
    struct batch b = {.account = id};
    Thurn__AccountHead head = THURN__ACCOUNT_HEAD__INIT;
    head.account = id.v;
    head.modseq = 1;
    head.next_mailbox = 1;
    head.next_email = head.next_body = 1;
    head.created = clock_wall_s();
    struct err e = OK;
    if (id.v != ACCOUNT_SYSTEM.v)
        e = account_begin_mailboxes(&b, &head, mailboxes, n);
    if (e.code != E_OK) {
        batch_free(&b);
        return e;
    }
    struct key k;
    key_kind(&k, id, KEY_HEAD);
    row_put(&b, &k, &head);
    return batch_commit(s->engine, &b);
}

struct erase {
    struct batch *batch;
    struct err failed;
    account_id id;
};

static bool erase_body(struct str key, struct str value, void *arg)
{
    struct erase *e = arg;
    struct arena a;
    arena_init(&a, ARENA_OWN);
    Thurn__BodyPlace *place;
    e->failed = row_unpack(&thurn__body_place__descriptor, value, e->id, &a, &place);
    if (e->failed.code == E_OK)
        batch_body_drop(e->batch, key, place);
    arena_free(&a);
    return e->failed.code == E_OK;
}

/* What of the account stands outside its own range. */
static bool erase_slot(struct str key, struct str value, void *arg)
{
    (void)value;
    struct erase *e = arg;
    struct key prefix, due;
    key_kind(&prefix, e->id, KEY_SLOT);
    struct cur c = cur_of(str_skip(key, prefix.n));
    key_of_due(&due, (int64_t)key_read_u64(&c), e->id);
    batch_delete(e->batch, key_str(&due));
    return true;
}

/* What a range alone cannot take away. */
static struct err erase_singly(struct engine *engine, struct erase *e)
{
    struct view *v = view_open(engine);
    struct key from, to;
    key_kind(&from, e->id, KEY_BODY);
    to = from;
    key_end(&to);
    struct err result = view_scan(v, key_str(&from), key_str(&to), erase_body, e);
    key_kind(&from, e->id, KEY_SLOT);
    to = from;
    key_end(&to);
    if (!result.code)
        result = view_scan(v, key_str(&from), key_str(&to), erase_slot, e);
    view_close(v);
    return result.code ? result : e->failed;
}

struct err store_account_erase(struct store *s, account_id id)
{
    check(pthread_mutex_lock(&s->lock) == 0);
    bool open = map_get(&s->accounts, map_key_u64(&id.v)) != NULL;
    check(pthread_mutex_unlock(&s->lock) == 0);
    check(!open);
    struct err absent = account_absent(s->engine, id);
    if (absent.code != E_EXISTS)
        return absent.code == E_OK ? err_make(E_NOTFOUND, "no such account") : absent;
    struct batch b = {.account = id};
    struct erase e = {.batch = &b, .id = id};
    struct err result = erase_singly(s->engine, &e);
    if (result.code != E_OK) {
        batch_free(&b);
        return result;
    }
    struct key from, to;
    key_account(&from, id);
    to = from;
    key_end(&to);
    batch_delete_range(&b, key_str(&from), key_str(&to));
    return batch_commit(s->engine, &b);
}
