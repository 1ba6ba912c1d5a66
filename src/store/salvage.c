#include "store/salvage.h"

#include <dirent.h>

/*
 * Salvage makes a new store, account by account, by what the model itself would write; so whatever
 * was damaged, what comes out is whole. What makes mail what it is for a client - ids, UIDs,
 * UIDVALIDITY, flags, modseqs - is taken over as it was. History is left behind: the new account's
 * change log begins with its modseq.
 */

enum { BATCH_BYTES = 1 << 20, UNREADABLE_ACCOUNTS = 100000 };

void salvage_note(struct map *set, const void *p, size_t n)
{
    static uint8_t in_it;
    (void)map_set(set, str_of(p, n), &in_it);
}

bool salvage_has(const struct map *set, const void *p, size_t n)
{
    return map_get(set, str_of(p, n)) != NULL;
}

struct err salvage_begin(struct salvage *s, struct txn **out)
{
    TRY(txn_begin(s->handle, out));
    (*out)->importing = true;
    (*out)->head.modseq = s->handle->head.modseq;
    return OK;
}

/* ------------------------------------------------------------------- reading what may be damaged
 */

struct rows {
    struct salvage *s;
    struct batch *batch;
    Thurn__AccountHead *head;
    struct arena arena;
    Thurn__Mailbox **boxes;
    size_t n_boxes, cap_boxes;
    bool inbox;
    struct err failed;
    size_t prefix;
};

/* Goes through the keys of a kind; what cannot be read ends it, and is said. */
static void scan_kind(struct salvage *s, enum key_kind kind, const char *what,
                      bool (*each)(struct str key, struct str value, void *arg), void *arg)
{
    struct key from, to;
    key_kind(&from, s->account, kind);
    to = from;
    key_end(&to);
    struct err err = view_scan(s->snap->view, key_str(&from), key_str(&to), each, arg);
    if (!err.code)
        return;
    s->damaged = true;
    salvage_say(s->report, "account %" PRIu64 ": not all of its %s can be read", s->account.v,
                what);
}

static struct err flush_rows(struct rows *r, bool all)
{
    if (!all && r->batch->ops.n < BATCH_BYTES)
        return OK;
    r->batch->account = r->s->account;
    struct err err = r->batch->ops.n ? batch_commit(r->s->to->engine, r->batch) : OK;
    *r->batch = (struct batch){0};
    return err;
}

/* Takes a key over as it is, if its value names the account. */
static bool copy_row(struct str key, struct str value, void *arg)
{
    struct rows *r = arg;
    struct cur c = cur_of(value);
    row_expect_account(&c, r->s->account);
    if (!c.bad)
        batch_put(r->batch, key, value);
    r->failed = flush_rows(r, false);
    return !r->failed.code;
}

/* A record of protobuf: field 1 is the account. */
static bool copy_record(struct str key, struct str value, void *arg)
{
    struct rows *r = arg;
    struct cur c = cur_of(value);
    if (cur_byte(&c) == 0x08)
        row_expect_account(&c, r->s->account);
    else
        cur_fail(&c);
    if (!c.bad)
        batch_put(r->batch, key, value);
    r->failed = flush_rows(r, false);
    return !r->failed.code;
}

static bool take_mailbox(struct str key, struct str value, void *arg)
{
    struct rows *r = arg;
    Thurn__Mailbox *pb;
    (void)key;
    if (row_unpack(&thurn__mailbox__descriptor, value, r->s->account, &r->arena, &pb).code) {
        r->s->damaged = true;
        salvage_say(r->s->report, "account %" PRIu64 ": the record of a mailbox is damaged",
                    r->s->account.v);
        return true;
    }
    if (r->n_boxes == r->cap_boxes) {
        r->cap_boxes = r->cap_boxes ? 2 * r->cap_boxes : 64;
        r->boxes = reallocarray(r->boxes, r->cap_boxes, sizeof(Thurn__Mailbox *));
        check(r->boxes != NULL);
    }
    r->boxes[r->n_boxes++] = pb;
    return true;
}

/* The last id among the keys of a kind; 0: none. */
static bool take_last(struct str key, struct str value, void *arg)
{
    struct rows *r = arg;
    (void)value;
    struct cur c = cur_of(str_skip(key, r->prefix));
    bool small = cur_left(&c) == 5;
    uint64_t id = small ? key_read_u32(&c) : key_read_u64(&c);
    uint8_t kind = key.p[r->prefix - 1];
    if (c.bad)
        return false;
    if (kind == KEY_MAILBOX || kind == KEY_DEAD_MAILBOX)
        r->head->next_mailbox = MAX(r->head->next_mailbox, (uint32_t)id + 1);
    else if (kind == KEY_EMAIL)
        r->head->next_email = MAX(r->head->next_email, id + 1);
    else
        r->head->next_body = MAX(r->head->next_body, id + 1);
    return false;
}

static void raise_ids(struct rows *r)
{
    static const enum key_kind kinds[] = {KEY_MAILBOX, KEY_DEAD_MAILBOX, KEY_EMAIL, KEY_BODY};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct key from, to;
        key_kind(&from, r->s->account, kinds[i]);
        r->prefix = from.n;
        to = from;
        key_end(&to);
        (void)!view_scan_down(r->s->snap->view, key_str(&from), key_str(&to), take_last, r).code;
    }
}

/* ---------------------------------------------------------------------------- an account's rows */

static void make_head(struct rows *r)
{
    struct salvage *s = r->s;
    struct key k;
    key_kind(&k, s->account, KEY_HEAD);
    struct err err = row_get(s->snap->view, &k, &thurn__account_head__descriptor, s->account,
                             &r->arena, &r->head);
    if (err.code) {
        s->damaged = true;
        salvage_say(s->report, "account %" PRIu64 ": its head is missing or damaged", s->account.v);
        r->head = arena_new(&r->arena, Thurn__AccountHead);
        check(r->head != NULL);
        thurn__account_head__init(r->head);
        r->head->account = s->account.v;
        r->head->modseq = r->head->next_mailbox = 1;
        r->head->next_email = r->head->next_body = 1;
        r->head->created = clock_wall_s();
        r->head->last_uidvalidity = (uint32_t)MAX(r->head->created, INT64_C(1));
    }
    raise_ids(r);
    for (size_t i = 0; i < r->n_boxes; i++) {
        const Thurn__Mailbox *pb = r->boxes[i];
        r->head->modseq = MAX(r->head->modseq, pb->highest_modseq);
        r->head->last_uidvalidity = MAX(r->head->last_uidvalidity, pb->uidvalidity);
    }
    r->head->emails = r->head->bytes = r->head->messages = 0;
    r->head->slot_end = 0;
    r->head->history_from = r->head->modseq;
}

static void put_mailbox(struct rows *r, const Thurn__Mailbox *from)
{
    struct buf scratch CLEANUP(buf_free) = {0};
    Thurn__Mailbox pb = *from;
    pb.exists = pb.unseen = pb.deleted = pb.folded = 0;
    pb.bytes = pb.overlay = 0;
    pb.overlay_generation = pb.released = 0;
    struct key k;
    key_of_u32(&k, r->s->account, KEY_MAILBOX, pb.id);
    row_put(r->batch, &k, &pb);
    mailbox_name_put(r->batch, &scratch, r->s->account, row_bytes(pb.name), (mailbox_id){pb.id});
    r->inbox = r->inbox || str_eq(row_bytes(pb.name), STR("INBOX"));
}

static void put_inbox(struct rows *r)
{
    Thurn__Mailbox pb = THURN__MAILBOX__INIT;
    pb.account = r->s->account.v;
    pb.id = r->head->next_mailbox++;
    pb.name = row_data(STR("INBOX"));
    pb.uidvalidity = ++r->head->last_uidvalidity;
    pb.uidnext = pb.first_recent = 1;
    pb.highest_modseq = pb.created_modseq = r->head->modseq;
    put_mailbox(r, &pb);
}

/* Everything but messages. */
static struct err take_rows(struct rows *r)
{
    struct salvage *s = r->s;
    scan_kind(s, KEY_MAILBOX, "mailboxes", take_mailbox, r);
    make_head(r);
    for (size_t i = 0; i < r->n_boxes; i++)
        put_mailbox(r, r->boxes[i]);
    if (!r->inbox && s->account.v != ACCOUNT_SYSTEM.v)
        put_inbox(r);
    struct key k;
    key_kind(&k, s->account, KEY_HEAD);
    row_put(r->batch, &k, r->head);
    scan_kind(s, KEY_SUBSCRIPTION, "subscriptions", copy_record, r);
    TRY(r->failed);
    scan_kind(s, KEY_FREE, "values", copy_row, r);
    TRY(r->failed);
    return flush_rows(r, true);
}

/* ------------------------------------------------------------------- what is known to be gone */

static bool note_dead(const struct log_line *l, void *arg)
{
    struct salvage *s = arg;
    if (l->kind == CHANGE_EXPUNGED)
        salvage_note(&s->emails, &l->before.email.v, sizeof l->before.email.v);
    return true;
}

static bool note_changes(struct str key, struct str value, void *arg)
{
    struct salvage *s = arg;
    (void)key;
    (void)!changes_read(value, s->account, note_dead, s).code;
    return true;
}

static bool note_dead_box(struct str key, struct str value, void *arg)
{
    struct salvage *s = arg;
    struct arena a CLEANUP(arena_free);
    struct entry entries[64];
    Thurn__Mailbox *pb;
    size_t n = ARRAY_LEN(entries);
    (void)key;
    arena_init(&a, ARENA_OWN);
    if (row_unpack(&thurn__mailbox__descriptor, value, s->account, &a, &pb).code)
        return true;
    (void)entries_known(s->snap, pb);
    for (uint32_t from = 1; n == ARRAY_LEN(entries) && from;) {
        if (snap_entries(s->snap, (mailbox_id){pb->id}, (msg_uid){from}, (msg_uid){UINT32_MAX},
                         entries, ARRAY_LEN(entries), &n)
                .code)
            return true;
        for (size_t i = 0; i < n; i++)
            salvage_note(&s->emails, &entries[i].email.v, sizeof entries[i].email.v);
        from = n ? entries[n - 1].uid.v + 1 : 0;
    }
    return true;
}

static bool note_place(struct str key, struct str value, void *arg)
{
    struct salvage *s = arg;
    struct arena a CLEANUP(arena_free);
    Thurn__BodyPlace *p;
    (void)key;
    arena_init(&a, ARENA_OWN);
    if (row_unpack(&thurn__body_place__descriptor, value, s->account, &a, &p).code)
        return true;
    const struct salvage_place place = {p->segment, p->offset};
    salvage_note(&s->places, &place, sizeof place);
    return true;
}

/* ---------------------------------------------------------------------------------- an account */

static struct err recover_messages(struct salvage *s, const struct rows *r)
{
    s->reading.head = *r->head;
    for (size_t i = 0; i < r->n_boxes; i++)
        TRY(salvage_mailbox(s, r->boxes[i]));
    if (!s->damaged && !s->src->n_bodies)
        return OK;
    /* After the living: an email that is shown somewhere counts whatever has become of its others.
     */
    scan_kind(s, KEY_CHANGES, "changes", note_changes, s);
    scan_kind(s, KEY_DEAD_MAILBOX, "deleted mailboxes", note_dead_box, s);
    scan_kind(s, KEY_BODY, "bodies", note_place, s);
    return salvage_unshown(s);
}

static struct err recover_account(struct salvage *s, account_id id)
{
    struct batch batch = {0};
    struct rows r = {.s = s, .batch = &batch};
    s->account = id;
    s->damaged = s->src->index_damaged;
    s->reading = (struct account){.store = &s->src->store, .id = id};
    s->snap = snap_open_txn(&s->reading);
    arena_init(&r.arena, SIZE_MAX);
    struct err err = take_rows(&r);
    batch_free(&batch);
    if (!err.code)
        err = account_open(s->to, id, &s->handle);
    if (!err.code && id.v != ACCOUNT_SYSTEM.v)
        err = recover_messages(s, &r);
    account_close(s->handle);
    s->handle = NULL;
    snap_close(s->snap);
    map_free(&s->emails);
    map_free(&s->lost);
    map_free(&s->places);
    map_free(&s->hashes);
    free(r.boxes);
    arena_free(&r.arena);
    s->counts->accounts += id.v != ACCOUNT_SYSTEM.v;
    return err;
}

/* ------------------------------------------------------------------------------ which accounts */

struct ids {
    account_id *v;
    size_t n, cap;
};

static void ids_add(struct ids *ids, account_id id)
{
    for (size_t i = ids->n; i-- > 0 && ids->v[i].v >= id.v;)
        if (ids->v[i].v == id.v)
            return;
    if (ids->n == ids->cap) {
        ids->cap = ids->cap ? 2 * ids->cap : 64;
        ids->v = reallocarray(ids->v, ids->cap, sizeof *ids->v);
        check(ids->v != NULL);
    }
    size_t at = ids->n++;
    for (; at && ids->v[at - 1].v > id.v; at--)
        ids->v[at] = ids->v[at - 1];
    ids->v[at] = id;
}

static bool take_id(struct str key, struct str value, void *arg)
{
    (void)value;
    struct cur c = cur_of(str_skip(key, 1));
    account_id id = {key_read_u64(&c)};
    *(account_id *)arg = c.bad ? (account_id){0} : id;
    return false;
}

/* From account to account; where the index cannot be read, to the next id. */
static void find_accounts(const struct salvage_source *src, struct view *v, struct ids *ids)
{
    struct key from, to = {.n = 0};
    key_byte(&to, KEY_SPACE + 1);
    unsigned failed = 0;
    for (account_id next = {1}; failed < UNREADABLE_ACCOUNTS;) {
        account_id found = {0};
        key_account(&from, next);
        struct err err = view_scan(v, key_str(&from), key_str(&to), take_id, &found);
        failed += err.code != E_OK;
        if (!err.code && !found.v)
            break;
        if (!err.code)
            ids_add(ids, found);
        next.v = err.code ? next.v + 1 : found.v + 1;
    }
    for (size_t i = 0; i < src->n_bodies; i++)
        if (src->bodies[i].account && !src->bodies[i].dropped) /* else it may have been erased */
            ids_add(ids, (account_id){src->bodies[i].account});
}

/* ------------------------------------------------------------------------------------ names */

static bool take_address(struct str key, struct str value, void *arg)
{
    struct salvage *s = arg;
    struct cur c = cur_of(value);
    (void)key;
    row_expect_account(&c, ACCOUNT_SYSTEM);
    struct str rest = cur_rest(&c);
    Thurn__AccountRecord *r = c.bad ? NULL : thurn__account_record__unpack(NULL, rest.n, rest.p);
    if (r && r->account > ACCOUNT_SYSTEM.v && r->address.len &&
        str_find_byte(row_bytes(r->address), '@', 0) < r->address.len) {
        struct str *name = mem_alloc(sizeof *name + r->address.len);
        memcpy(name + 1, r->address.data, r->address.len);
        *name = str_of((const uint8_t *)(name + 1), r->address.len);
        free(map_set(&s->addresses, map_key_u64(&r->account), name));
    }
    if (r)
        thurn__account_record__free_unpacked(r, NULL);
    return true;
}

static void find_addresses(struct salvage *s, struct view *v)
{
    struct key from, to;
    key_kind(&from, ACCOUNT_SYSTEM, KEY_FREE);
    to = from;
    key_end(&to);
    (void)!view_scan(v, key_str(&from), key_str(&to), take_address, s).code;
}

static void free_address(struct str key, void *value, void *arg)
{
    (void)key;
    (void)arg;
    free(value);
}

/* ------------------------------------------------------------------------------- the new store */

static struct err prepare_target(struct str to, struct buf *explain)
{
    char path[PATH_LEN];
    check(snprintf(path, sizeof path, "%.*s", (int)MIN(to.n, (size_t)PATH_LEN - 1),
                   (const char *)to.p) > 0);
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        struct err err = err_sys("mkdir");
        buf_printf(explain, "%s cannot be made: %s", path, strerror(err.sys));
        return err;
    }
    DIR *d = opendir(path);
    bool empty = d != NULL;
    for (struct dirent *entry; d && (entry = readdir(d));)
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    if (d)
        closedir(d);
    if (empty)
        return OK;
    buf_printf(explain, "%s is not an empty directory; name one that is, or that does not exist",
               path);
    return err_make(E_EXISTS, "the new store's directory is not empty");
}

/* Root works for somebody else: the new store belongs to whom the old one belongs. */
static void give_to(const char *path, const struct stat *owner)
{
    if (lchown(path, owner->st_uid, owner->st_gid) < 0)
        return;
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char inside[PATH_LEN];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int n = snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        if (n > 0 && n < PATH_LEN)
            give_to(inside, owner);
    }
    if (d)
        closedir(d);
}

static void give_to_owner_of(struct str from, struct str to)
{
    char old[PATH_LEN], new[PATH_LEN];
    struct stat st;
    int n = snprintf(old, sizeof old, "%.*s", STR_FMT(from));
    int m = snprintf(new, sizeof new, "%.*s", STR_FMT(to));
    if (geteuid() == 0 && n < PATH_LEN && m < PATH_LEN && stat(old, &st) == 0)
        give_to(new, &st);
}

static struct err recover_all(struct salvage *s)
{
    struct ids ids = {0};
    struct view *v = view_open(s->src->e);
    find_addresses(s, v);
    find_accounts(s->src, v, &ids);
    view_close(v);
    struct err err = OK;
    for (size_t i = 0; i < ids.n && !err.code; i++) {
        err = recover_account(s, ids.v[i]);
        if (s->report->progress)
            s->report->progress(ids.n + i + 1, 2 * ids.n, s->report->arg);
    }
    if (!ids.n || ids.v[0].v != ACCOUNT_SYSTEM.v)
        salvage_say(s->report, "the directory of domains and accounts is lost");
    free(ids.v);
    map_each(&s->addresses, free_address, NULL);
    map_free(&s->addresses);
    return err;
}

struct err store_salvage(struct str from, struct str to, const struct salvage_report *report,
                         struct salvage_counts *out, struct buf *explain)
{
    struct salvage_source src;
    *out = (struct salvage_counts){0};
    TRY(prepare_target(to, explain));
    TRY(salvage_open(&src, from, report, explain));
    struct salvage s = {.src = &src, .report = report, .counts = out};
    const struct store_options o = {.dir = to};
    struct err err = store_open(&o, &s.to, explain);
    if (!err.code) {
        err = recover_all(&s);
        store_close(s.to);
        give_to_owner_of(from, to);
    }
    salvage_close(&src);
    if (err.code && !explain->n)
        buf_printf(explain, "%.*s: %s", STR_FMT(to), err.why);
    return err;
}
