#include "store/model.h"

struct err txn_begin(struct account *a, struct txn **out)
{
    check(!atomic_exchange(&a->busy, true)); /* one at a time: the caller's rule */
    struct err result = account_load_boxes(a);
    if (result.code != E_OK) {
        atomic_store(&a->busy, false);
        return result;
    }
    struct txn *t = mem_alloc(sizeof *t);
    t->account = a;
    t->head = a->head;
    t->head.modseq++;
    t->commit.batch.account = a->id;
    arena_init(&t->arena, ARENA_OWN);
    *out = t;
    return OK;
}

modseq txn_modseq(const struct txn *t)
{
    return (modseq){t->head.modseq};
}

struct snap *txn_snap(struct txn *t)
{
    if (!t->snap)
        t->snap = snap_open_txn(t->account);
    return t->snap;
}

/* ------------------------------------------------------------------------ mailboxes in it */

struct txn_box *txn_box_new(struct txn *t, mailbox_id id)
{
    if (t->n_boxes == t->cap_boxes) {
        t->cap_boxes = t->cap_boxes ? t->cap_boxes * 2 : 4;
        t->boxes = reallocarray(t->boxes, t->cap_boxes, sizeof(struct txn_box *));
        check(t->boxes != NULL);
    }
    struct txn_box *b = t->boxes[t->n_boxes++] = mem_alloc(sizeof *b);
    thurn__mailbox__init(&b->pb);
    b->pb.account = t->account->id.v;
    b->pb.id = id.v;
    b->exists = true;
    return b;
}

static struct txn_box *txn_box_known(struct txn *t, uint32_t id)
{
    for (size_t i = 0; i < t->n_boxes; i++)
        if (t->boxes[i]->pb.id == id)
            return t->boxes[i];
    return NULL;
}

struct txn_box *txn_box(struct txn *t, mailbox_id id)
{
    struct txn_box *b = txn_box_known(t, id.v);
    if (b)
        return b->exists ? b : NULL;
    const struct box *committed = account_box(t->account, id);
    if (!committed)
        return NULL;
    b = txn_box_new(t, id);
    b->pb = committed->pb;
    return b;
}

struct err txn_box_select(struct txn *t, mailbox_id id, struct txn_box **out)
{
    struct txn_box *b = txn_box(t, id);
    if (!b)
        return err_make(E_NOTFOUND, "no such mailbox");
    if (b->pb.no_select)
        return err_make(E_DENIED, "the mailbox cannot hold messages");
    *out = b;
    return OK;
}

mailbox_id txn_box_named(struct txn *t, struct str name)
{
    for (size_t i = 0; i < t->n_boxes; i++)
        if (t->boxes[i]->exists && str_eq(row_bytes(t->boxes[i]->pb.name), name))
            return (mailbox_id){t->boxes[i]->pb.id};
    for (size_t i = 0; i < t->account->n_boxes; i++) {
        const Thurn__Mailbox *pb = &t->account->boxes[i]->pb;
        if (str_eq(row_bytes(pb->name), name) && !txn_box_known(t, pb->id))
            return (mailbox_id){pb->id};
    }
    return (mailbox_id){0};
}

/* ---------------------------------------------------------------------------- small things */

static void txn_key_value(struct txn *t, const struct key *k, struct str value)
{
    buf_clear(&t->scratch);
    buf_varint(&t->scratch, t->account->id.v);
    buf_put(&t->scratch, value);
    batch_put(&t->commit.batch, key_str(k), buf_str(&t->scratch));
    t->head_changed = true;
}

static bool key_is_valid(struct str key)
{
    return key.n > 0 && key.n <= FREE_KEY_MAX && str_find_byte(key, 0, 0) == key.n;
}

struct err txn_put(struct txn *t, struct str key, struct str value)
{
    if (!key_is_valid(key))
        return err_make(E_INVALID, "not a key");
    struct key k;
    key_of_bytes(&k, t->account->id, KEY_FREE, key);
    txn_key_value(t, &k, value);
    return OK;
}

struct err txn_delete(struct txn *t, struct str key)
{
    if (!key_is_valid(key))
        return err_make(E_INVALID, "not a key");
    struct key k;
    key_of_bytes(&k, t->account->id, KEY_FREE, key);
    batch_delete(&t->commit.batch, key_str(&k));
    t->head_changed = true;
    return OK;
}

struct err txn_done(struct txn *t, change_id id, struct str answer)
{
    Thurn__Done done = THURN__DONE__INIT;
    done.account = t->account->id.v;
    done.time = clock_wall_s();
    done.answer = row_data(answer);
    /* Never under a day before the newest one: look-ups begin there. */
    t->done_day = MAX((uint32_t)(done.time / 86400), atomic_load(&t->account->done_newest));
    struct key k;
    key_of_done(&k, t->account->id, t->done_day, id);
    row_put(&t->commit.batch, &k, &done);
    t->head_changed = true;
    return OK;
}

/* -------------------------------------------------------------------------------- the end */

static void txn_free_email(struct str key, void *value, void *arg)
{
    (void)key;
    (void)arg;
    struct txn_email *e = value;
    body_unref(e->body);
}

static void txn_free(struct txn *t)
{
    for (size_t i = 0; i < t->n_boxes; i++) {
        free(t->boxes[i]->pending);
        free(t->boxes[i]);
    }
    free(t->boxes);
    map_each(&t->emails, txn_free_email, NULL);
    map_free(&t->emails);
    snap_close(t->snap);
    buf_free(&t->scratch);
    batch_free(&t->commit.batch);
    arena_free(&t->arena);
    free(t);
}

void txn_abort(struct txn *t)
{
    if (!t)
        return;
    struct account *a = t->account;
    txn_free(t);
    atomic_store(&a->busy, false);
}

static struct err txn_box_write(struct txn *t, struct txn_box *b)
{
    struct batch *batch = &t->commit.batch;
    if (b->n) {
        if (!t->importing)
            txn_changes_write(t, b);
        TRY(txn_entries_write(t, b));
    }
    if (!b->changed && !b->n)
        return OK;
    uint32_t mark = account_recent_mark(t->account, (mailbox_id){b->pb.id});
    b->pb.first_recent = MAX(mark, b->pb.first_recent);
    buf_clear(&t->scratch);
    row_pack(&t->scratch, &b->pb);
    TRY(buf_err(&t->scratch));
    struct key k;
    key_of_u32(&k, t->account->id, b->deleted ? KEY_DEAD_MAILBOX : KEY_MAILBOX, b->pb.id);
    batch_put(batch, key_str(&k), buf_str(&t->scratch));
    if (b->deleted) {
        key_of_u32(&k, t->account->id, KEY_MAILBOX, b->pb.id);
        batch_delete(batch, key_str(&k));
    }
    if (b->deep && !b->deleted) {
        b->packed = str_dup(&t->arena, buf_str(&t->scratch));
        check(b->packed.p != NULL);
    }
    return OK;
}

/* Everything that the batch needs from the state before. */
static struct err txn_write(struct txn *t)
{
    bool history = false; /* something that is to end one day */
    for (size_t i = 0; i < t->n_boxes; i++) {
        history = history || t->boxes[i]->n || t->boxes[i]->deleted;
        t->head_changed = t->head_changed || history || t->boxes[i]->deep;
        TRY(txn_box_write(t, t->boxes[i]));
    }
    txn_emails_write(t);
    if (t->head_changed && history && !t->importing)
        txn_slot(t);
    if (t->importing || (!t->head_changed && t->head_touched))
        t->head.modseq = t->account->head.modseq;
    if (t->head_changed || t->head_touched) {
        struct key k;
        key_kind(&k, t->account->id, KEY_HEAD);
        row_put(&t->commit.batch, &k, &t->head);
    }
    return buf_err(&t->commit.batch.ops);
}

/* The entries of a mailbox as readers keep them in memory. */
static void txn_publish_entries(struct txn *t, const struct txn_box *b)
{
    struct images *all = t->account->store->images;
    mailbox_id id = {b->pb.id};
    const struct box *before = account_box(t->account, id);
    if (b->deleted || b->folded || !before)
        image_drop(all, t->account->id, id);
    else if (b->n)
        image_commit(all, t->account->id, id, image_state_of(&before->pb), image_state_of(&b->pb),
                     b->pending, b->n);
}

/* Makes what is committed the account's state in memory. */
static void txn_publish(struct txn *t)
{
    struct account *a = t->account;
    for (size_t i = 0; i < t->n_boxes; i++) {
        struct txn_box *b = t->boxes[i];
        txn_publish_entries(t, b);
        if (b->deleted)
            account_box_drop(a, (mailbox_id){b->pb.id});
        else if (b->changed || b->n)
            account_box_put(a, &b->pb, b->packed, b->deep);
        if (!b->deleted && box_wants_fold(&b->pb))
            atomic_store(&a->wants, true);
    }
    if (t->done_expired)
        atomic_store(&a->done_oldest,
                     atomic_load(&a->done_newest) < t->done_expired ? 0 : t->done_expired);
    if (t->done_day) {
        atomic_store(&a->done_newest, t->done_day);
        uint32_t none = 0;
        atomic_compare_exchange_strong(&a->done_oldest, &none, t->done_day);
    }
    if (t->slot_begun) {
        int64_t none = 0;
        atomic_compare_exchange_strong(&a->oldest_slot, &none, t->slot_begun);
    }
    if (t->slot_ended)
        atomic_store(&a->oldest_slot, t->slot_oldest);
    if (t->head_touched) {
        a->head = t->head;
        a->purge_at = t->purge_at;
    }
    if (t->head_changed) {
        a->head = t->head;
        atomic_store_explicit(&a->modseq, t->head.modseq, memory_order_release);
    }
}

/* On the thread that committed, or where the transaction failed before it got there. */
static void txn_end(struct txn *t, struct err result)
{
    struct account *a = t->account;
    struct store *s = a->store;
    account_id id = a->id;
    modseq at = txn_modseq(t);
    bool changed = t->head_changed && result.code == E_OK;
    void (*done)(struct err, void *) = t->done;
    void *arg = t->done_arg;
    if (result.code == E_OK)
        txn_publish(t);
    txn_free(t);
    atomic_store(&a->busy, false);
    if (changed && s->changed)
        s->changed(id, at, s->changed_arg);
    done(result, arg);
}

static void txn_committed(struct commit *c, struct err result)
{
    txn_end(container_of(c, struct txn, commit), result);
}

void txn_commit_async(struct txn *t, void (*done)(struct err result, void *arg), void *arg)
{
    t->done = done;
    t->done_arg = arg;
    struct err result = txn_write(t);
    if (result.code != E_OK) {
        txn_end(t, result);
        return;
    }
    /* The snapshot has served; who commits need not close it. */
    snap_close(t->snap);
    t->snap = NULL;
    t->commit.done = txn_committed;
    engine_submit(t->account->store->engine, &t->commit);
}

struct txn_waiter {
    struct wait_once ended;
    struct err result;
};

static void txn_wake(struct err result, void *arg)
{
    struct txn_waiter *w = arg;
    w->result = result;
    wait_once_tell(&w->ended);
}

struct err txn_commit(struct txn *t)
{
    struct txn_waiter w;
    wait_once_init(&w.ended);
    txn_commit_async(t, txn_wake, &w);
    wait_once_end(&w.ended);
    return w.result;
}
