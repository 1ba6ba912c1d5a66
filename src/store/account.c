#include "store/model.h"

/* ------------------------------------------------------------------------------- handles */

static void account_free(struct account *a)
{
    for (size_t i = 0; i < a->n_boxes; i++) {
        arena_free(&a->boxes[i]->arena);
        free(a->boxes[i]);
    }
    free(a->boxes);
    free(a->recent);
    arena_free(&a->arena);
    pthread_mutex_destroy(&a->recent_lock);
    free(a);
}

static bool day_of_key(struct str key, struct str value, void *arg)
{
    (void)value;
    struct key prefix;
    key_kind(&prefix, (account_id){0}, KEY_DONE);
    struct cur c = cur_of(str_skip(key, prefix.n));
    *(uint32_t *)arg = key_read_u32(&c);
    return false;
}

/* The days of which there are records of repeated requests: the first key and the last. */
static struct err account_load_days(struct account *a, struct view *v)
{
    struct key from, to;
    key_kind(&from, a->id, KEY_DONE);
    to = from;
    key_end(&to);
    uint32_t oldest = 0, newest = 0;
    TRY(view_scan(v, key_str(&from), key_str(&to), day_of_key, &oldest));
    TRY(view_scan_down(v, key_str(&from), key_str(&to), day_of_key, &newest));
    atomic_store(&a->done_oldest, oldest);
    atomic_store(&a->done_newest, newest);
    return OK;
}

static struct err account_load_slots(struct account *a, struct view *v)
{
    struct slot oldest = {0};
    size_t n;
    TRY(slots_oldest(v, a->id, &oldest, 1, &n));
    atomic_store(&a->oldest_slot, oldest.end);
    return OK;
}

static struct err account_load(struct account *a)
{
    struct view *v = view_open(a->store->engine);
    struct key k;
    key_kind(&k, a->id, KEY_HEAD);
    Thurn__AccountHead *head;
    struct err result = row_get(v, &k, &thurn__account_head__descriptor, a->id, &a->arena, &head);
    if (result.code == E_OK) {
        a->head = *head;
        atomic_store(&a->modseq, head->modseq);
        result = account_load_days(a, v);
    }
    if (result.code == E_OK)
        result = account_load_slots(a, v);
    view_close(v);
    return result;
}

/* The open handle, with one more reference; NULL if there is none. */
static struct account *account_shared(struct store *s, account_id id)
{
    check(pthread_mutex_lock(&s->lock) == 0);
    struct account *a = map_get(&s->accounts, map_key_u64(&id.v));
    if (a)
        a->refs++;
    check(pthread_mutex_unlock(&s->lock) == 0);
    return a;
}

struct err account_open(struct store *s, account_id id, struct account **out)
{
    struct account *a = account_shared(s, id);
    if (a) {
        *out = a;
        return OK;
    }
    /* Read without the lock, which all accounts share. */
    a = mem_alloc(sizeof *a);
    a->store = s;
    a->id = id;
    a->refs = 1;
    arena_init(&a->arena, ARENA_OWN);
    check(pthread_mutex_init(&a->recent_lock, NULL) == 0);
    struct err result = account_load(a);
    if (result.code != E_OK) {
        account_free(a);
        return result.code == E_NOTFOUND ? err_make(E_NOTFOUND, "no such account") : result;
    }
    check(pthread_mutex_lock(&s->lock) == 0);
    struct account *other = map_get(&s->accounts, map_key_u64(&id.v));
    if (other)
        other->refs++;
    else
        map_set(&s->accounts, map_key_u64(&id.v), a);
    check(pthread_mutex_unlock(&s->lock) == 0);
    if (other)
        account_free(a);
    *out = other ? other : a;
    return OK;
}

void account_close(struct account *a)
{
    if (!a)
        return;
    struct store *s = a->store;
    check(pthread_mutex_lock(&s->lock) == 0);
    bool last = --a->refs == 0;
    if (last)
        map_remove(&s->accounts, map_key_u64(&a->id.v));
    check(pthread_mutex_unlock(&s->lock) == 0);
    if (!last)
        return;
    check(!atomic_load(&a->busy));
    account_free(a);
}

account_id account_get_id(const struct account *a)
{
    return a->id;
}

modseq account_modseq(const struct account *a)
{
    return (modseq){atomic_load_explicit(&a->modseq, memory_order_acquire)};
}

/* ------------------------------------------------------------------ mailboxes in memory */

/* Where the mailbox is, or belongs. */
static size_t account_box_at(const struct account *a, uint32_t id)
{
    size_t lo = 0, hi = a->n_boxes;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (a->boxes[mid]->pb.id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct box *account_box(struct account *a, mailbox_id id)
{
    size_t at = account_box_at(a, id.v);
    return at < a->n_boxes && a->boxes[at]->pb.id == id.v ? a->boxes[at] : NULL;
}

static void account_box_insert(struct account *a, struct box *b)
{
    if (a->n_boxes == a->cap_boxes) {
        a->cap_boxes = a->cap_boxes ? a->cap_boxes * 2 : 16;
        a->boxes = reallocarray(a->boxes, a->cap_boxes, sizeof(struct box *));
        check(a->boxes != NULL);
    }
    size_t at = account_box_at(a, b->pb.id);
    memmove(a->boxes + at + 1, a->boxes + at, (a->n_boxes - at) * sizeof(struct box *));
    a->boxes[at] = b;
    a->n_boxes++;
}

static struct err box_new(account_id account, struct str packed, struct box **out)
{
    struct box *b = mem_alloc(sizeof *b);
    arena_init(&b->arena, ARENA_OWN);
    Thurn__Mailbox *pb;
    struct err result = row_unpack(&thurn__mailbox__descriptor, packed, account, &b->arena, &pb);
    if (result.code != E_OK) {
        arena_free(&b->arena);
        free(b);
        return result;
    }
    b->pb = *pb;
    *out = b;
    return OK;
}

void account_box_drop(struct account *a, mailbox_id id)
{
    size_t at = account_box_at(a, id.v);
    if (at == a->n_boxes || a->boxes[at]->pb.id != id.v)
        return;
    arena_free(&a->boxes[at]->arena);
    free(a->boxes[at]);
    a->n_boxes--;
    memmove(a->boxes + at, a->boxes + at + 1, (a->n_boxes - at) * sizeof(struct box *));
}

void account_box_put(struct account *a, const Thurn__Mailbox *pb, struct str packed, bool deep)
{
    struct box *b = account_box(a, (mailbox_id){pb->id});
    if (b && !deep) {
        b->pb = *pb;
        return;
    }
    account_box_drop(a, (mailbox_id){pb->id});
    check(box_new(a->id, packed, &b).code == E_OK); /* packed by ourselves just now */
    account_box_insert(a, b);
}

struct load_boxes {
    struct account *a;
    struct err failed;
};

static bool account_load_box(struct str key, struct str value, void *arg)
{
    (void)key;
    struct load_boxes *l = arg;
    struct box *b;
    l->failed = box_new(l->a->id, value, &b);
    if (l->failed.code == E_OK)
        account_box_insert(l->a, b);
    return l->failed.code == E_OK;
}

struct err account_load_boxes(struct account *a)
{
    if (a->boxes_loaded)
        return OK;
    while (a->n_boxes)
        account_box_drop(a, (mailbox_id){a->boxes[a->n_boxes - 1]->pb.id});
    struct key from, to;
    key_kind(&from, a->id, KEY_MAILBOX);
    to = from;
    key_end(&to);
    struct load_boxes l = {.a = a};
    struct view *v = view_open(a->store->engine);
    struct err result = view_scan(v, key_str(&from), key_str(&to), account_load_box, &l);
    view_close(v);
    TRY(result);
    TRY(l.failed);
    a->boxes_loaded = true;
    account_look_at_overlays(a);
    return OK;
}

/* ---------------------------------------------------------------------------- \Recent */

static struct recent *recent_find(struct account *a, mailbox_id m)
{
    for (size_t i = 0; i < a->n_recent; i++)
        if (a->recent[i].id.v == m.v)
            return &a->recent[i];
    return NULL;
}

uint32_t account_recent_mark(struct account *a, mailbox_id m)
{
    check(pthread_mutex_lock(&a->recent_lock) == 0);
    struct recent *r = recent_find(a, m);
    uint32_t mark = r ? r->first.v : 0;
    check(pthread_mutex_unlock(&a->recent_lock) == 0);
    return mark;
}

/* What the mailbox's record says, from before a restart; all is old if it cannot be read. */
static uint32_t recent_stored(struct account *a, mailbox_id m)
{
    struct arena arena;
    arena_init(&arena, ARENA_OWN);
    struct view *v = view_open(a->store->engine);
    struct key k;
    key_of_u32(&k, a->id, KEY_MAILBOX, m.v);
    Thurn__Mailbox *pb;
    uint32_t first = UINT32_MAX;
    if (row_get(v, &k, &thurn__mailbox__descriptor, a->id, &arena, &pb).code == E_OK)
        first = MAX(pb->first_recent, 1u);
    view_close(v);
    arena_free(&arena);
    return first;
}

/* Returns the mark and raises it to `uidnext`. */
static msg_uid recent_mark(struct account *a, mailbox_id m, uint32_t uidnext)
{
    uint32_t stored = account_recent_mark(a, m) ? 0 : recent_stored(a, m);
    if (stored == UINT32_MAX)
        return (msg_uid){stored};
    check(pthread_mutex_lock(&a->recent_lock) == 0);
    struct recent *r = recent_find(a, m);
    if (!r) {
        a->recent = reallocarray(a->recent, a->n_recent + 1, sizeof *a->recent);
        check(a->recent != NULL);
        r = &a->recent[a->n_recent++];
        *r = (struct recent){.id = m, .first = {stored}};
    }
    msg_uid first = r->first;
    r->first.v = MAX(first.v, uidnext);
    check(pthread_mutex_unlock(&a->recent_lock) == 0);
    return first;
}

msg_uid account_claim_recent(struct account *a, mailbox_id m, msg_uid uidnext)
{
    return recent_mark(a, m, uidnext.v);
}

msg_uid account_first_recent(struct account *a, mailbox_id m)
{
    return recent_mark(a, m, 0);
}

/* ------------------------------------------------------------------------- maintenance */

static uint32_t today(void)
{
    return (uint32_t)(clock_wall_s() / 86400);
}

/* Records of yesterday are kept: every one lives for 24 hours at least. */
static bool account_has_old_days(const struct account *a)
{
    uint32_t oldest = atomic_load(&a->done_oldest);
    return oldest != 0 && oldest + 1 < today();
}

bool box_wants_fold(const Thurn__Mailbox *pb)
{
    bool many_new = pb->uidnext - 1 - pb->folded > LISTING_FOLD && pb->overlay > LISTING_FOLD;
    return many_new || pb->overlay > OVERLAY_FOLD;
}

void account_look_at_overlays(struct account *a)
{
    bool wants = false;
    for (size_t i = 0; i < a->n_boxes && !wants; i++)
        wants = box_wants_fold(&a->boxes[i]->pb);
    atomic_store(&a->wants, wants);
}

bool account_wants_maintenance(const struct account *a)
{
    return atomic_load(&a->wants) || account_has_old_days(a) || account_history_ended(a);
}

static void account_expire_done(struct txn *t)
{
    struct key from, to;
    key_kind(&from, t->account->id, KEY_DONE);
    t->done_expired = today() - 1;
    key_of_u32(&to, t->account->id, KEY_DONE, t->done_expired);
    batch_delete_range(&t->commit.batch, key_str(&from), key_str(&to));
}

/* The first mailbox that is worth it. New messages go behind the blocks; changes wait until there
 * are enough of them to write old blocks anew. */
static struct err account_fold_one(struct txn *t)
{
    struct account *a = t->account;
    for (size_t i = 0; i < a->n_boxes; i++) {
        const Thurn__Mailbox *pb = &a->boxes[i]->pb;
        size_t old_blocks = pb->overlay > OVERLAY_FOLD ? FOLD_BLOCKS : 0;
        if (box_wants_fold(pb))
            return txn_fold(t, txn_box(t, (mailbox_id){pb->id}), old_blocks);
    }
    return OK;
}

struct err account_maintain(struct account *a)
{
    struct txn *t;
    TRY(txn_begin(a, &t));
    if (account_has_old_days(a))
        account_expire_done(t);
    struct err result = account_fold_one(t);
    if (result.code == E_OK && !t->commit.batch.ops.n && account_history_ended(a))
        result = txn_purge(t);
    if (result.code == E_OK && (t->commit.batch.ops.n || t->head_touched))
        result = txn_commit(t);
    else
        txn_abort(t);
    if (result.code != E_OK)
        a->purge_at = (struct purge_at){0};
    /* Also if there was nothing to do: the mailbox that was worth it may be gone. */
    if (result.code == E_OK)
        account_look_at_overlays(a);
    return result;
}
