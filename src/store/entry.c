#include "store/model.h"

/* Reading entries: the blocks, with the overlay laid over them. */

void entries_free(struct entries *e)
{
    if (!e)
        return;
    if (!e->image) {
        free(e->dir.refs);
        free(e->over);
    }
    image_unref(e->image);
    free(e->unpacked);
    for (size_t i = 0; i < LISTING_FIELDS; i++) {
        if (e->columns[i])
            listing_free(&e->columns[i]->l);
        free(e->columns[i]);
    }
    free(e);
}

/* From now on the image has the directory and the overlay. */
static void entries_use(struct entries *e, struct image *im)
{
    e->image = im;
    e->dir = im->blocks->dir;
    e->over = im->over;
    e->n_over = im->n_over;
    e->dir_loaded = e->over_loaded = true;
}

static struct entries *entries_in(struct snap *s, mailbox_id m, struct image_state state)
{
    if (s->entries && s->entries->id.v == m.v)
        return s->entries;
    entries_free(s->entries);
    struct entries *e = s->entries = mem_alloc(sizeof *e);
    e->id = m;
    e->state = state;
    e->block_at = SIZE_MAX;
    struct image *im = image_find(s->account->store->images, s->account->id, m, state);
    if (im)
        entries_use(e, im);
    return e;
}

struct entries *entries_known(struct snap *s, const Thurn__Mailbox *pb)
{
    return entries_in(s, (mailbox_id){pb->id}, image_state_of(pb));
}

/* Keeps what has been read for other readers. */
static void entries_offer(struct snap *s, struct entries *e)
{
    if (e->image || !e->dir_loaded || !e->over_loaded)
        return;
    struct image *im = image_new(s->account->id, e->id, e->state, e->dir, e->over, e->n_over);
    image_offer(s->account->store->images, im);
    entries_use(e, im);
}

struct err entries_of(struct snap *s, mailbox_id m, struct entries **out)
{
    if (s->entries && s->entries->id.v == m.v) {
        *out = s->entries;
        return OK;
    }
    struct arena a;
    arena_init(&a, ARENA_OWN);
    Thurn__Mailbox *pb;
    struct err result = s->box_seen.v == m.v ? OK : snap_mailbox(s, m, &a, &pb);
    if (result.code == E_OK)
        *out = entries_in(s, m, s->box_state);
    arena_free(&a);
    return result;
}

/* ------------------------------------------------------------------------------ loading */

struct err entries_directory(struct snap *s, struct entries *e)
{
    if (e->dir_loaded)
        return OK;
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct key k;
    key_of_u32(&k, s->account->id, KEY_DIRECTORY, e->id.v);
    struct str packed;
    struct err result = view_get(s->view, key_str(&k), &a, &packed);
    if (result.code == E_OK)
        result = directory_unpack(packed, s->account->id, e->id, &e->dir);
    else if (result.code == E_NOTFOUND)
        result = OK; /* nothing was folded yet */
    arena_free(&a);
    e->dir_loaded = result.code == E_OK;
    entries_offer(s, e);
    return result;
}

struct load_over {
    account_id account;
    struct entries *e;
    size_t prefix;
    struct err failed;
};

static bool entries_load_over(struct str key, struct str value, void *arg)
{
    struct load_over *l = arg;
    struct entries *e = l->e;
    struct cur c = cur_of(str_skip(key, l->prefix));
    msg_uid uid = {key_read_u32(&c)};
    if (c.bad || !cur_end(&c)) {
        l->failed = err_make(E_CORRUPT, "a key of the overlay is damaged");
        return false;
    }
    if (e->n_over == e->cap_over) {
        e->cap_over = e->cap_over ? e->cap_over * 2 : 64;
        e->over = reallocarray(e->over, e->cap_over, sizeof *e->over);
        check(e->over != NULL);
    }
    l->failed = over_unpack(value, l->account, uid, &e->over[e->n_over]);
    if (l->failed.code != E_OK)
        return false;
    e->n_over++;
    return true;
}

struct err entries_overlay(struct snap *s, struct entries *e)
{
    if (e->over_loaded)
        return OK;
    e->n_over = 0;
    struct key k, to;
    key_of_overlay(&k, s->account->id, e->id, e->state.generation);
    struct load_over l = {.account = s->account->id, .e = e, .prefix = k.n};
    to = k;
    key_end(&to);
    TRY(view_scan(s->view, key_str(&k), key_str(&to), entries_load_over, &l));
    TRY(l.failed);
    e->over_loaded = true;
    entries_offer(s, e);
    return OK;
}

static struct err entries_block_bytes(struct snap *s, struct entries *e, size_t at, struct arena *a,
                                      struct str *out)
{
    struct key k;
    key_of_block(&k, s->account->id, e->id, e->dir.refs[at].base);
    struct err result = view_get(s->view, key_str(&k), a, out);
    return result.code == E_NOTFOUND ? err_make(E_CORRUPT, "a block of entries is missing")
                                     : result;
}

/* Decodes a block, for the image if that keeps it. */
static struct err entries_unpack(struct snap *s, struct entries *e, size_t at)
{
    if (!e->unpacked)
        e->unpacked = mem_alloc(ENTRY_BLOCK * sizeof *e->unpacked);
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct str packed;
    size_t n = 0;
    struct err result = entries_block_bytes(s, e, at, &a, &packed);
    if (result.code == E_OK)
        result = block_unpack(packed, s->account->id, e->id, e->unpacked, &n);
    arena_free(&a);
    TRY(result);
    const struct block_ref *r = &e->dir.refs[at];
    if (n != r->count || e->unpacked[0].uid.v != r->first || e->unpacked[n - 1].uid.v != r->last)
        return err_make(E_CORRUPT, "a block of entries differs from its directory");
    e->block = e->unpacked;
    if (e->image && image_keeps_decoded(e->image)) {
        e->block = image_keep_decoded(e->image, at, e->unpacked);
        e->unpacked = NULL;
    }
    return OK;
}

struct err entries_block(struct snap *s, struct entries *e, size_t at)
{
    if (e->block_at == at)
        return OK;
    e->block_at = SIZE_MAX;
    e->n_block = e->dir.refs[at].count;
    e->block = e->image ? image_decoded(e->image, at) : NULL;
    if (!e->block)
        TRY(entries_unpack(s, e, at));
    e->block_at = at;
    return OK;
}
/* ---------------------------------------------------------------------------- searching */

size_t entries_block_of(const struct entries *e, uint32_t uid)
{
    size_t lo = 0, hi = e->dir.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (e->dir.refs[mid].last < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t entries_over_at(const struct entries *e, uint32_t uid)
{
    size_t lo = 0, hi = e->n_over;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (e->over[mid].e.uid.v < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t entries_row_at(const struct entries *e, uint32_t uid)
{
    size_t lo = 0, hi = e->n_block;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (e->block[mid].uid.v < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* A few single look-ups read single values; after that it is cheaper to have all of them. */
enum { SINGLES = 16 };

static struct err entries_find_over(struct snap *s, struct entries *e, msg_uid uid,
                                    struct over *out, bool *found)
{
    if (!e->over_loaded && e->singles++ < SINGLES) {
        struct arena a;
        arena_init(&a, ARENA_OWN);
        struct key k;
        key_of_over(&k, s->account->id, e->id, e->state.generation, uid);
        struct str packed;
        struct err result = view_get(s->view, key_str(&k), &a, &packed);
        *found = result.code == E_OK;
        if (result.code == E_OK)
            result = over_unpack(packed, s->account->id, uid, out);
        arena_free(&a);
        return result.code == E_NOTFOUND ? OK : result;
    }
    TRY(entries_overlay(s, e));
    size_t at = entries_over_at(e, uid.v);
    *found = at < e->n_over && e->over[at].e.uid.v == uid.v;
    if (*found)
        *out = e->over[at];
    return OK;
}

/* The entry as the blocks have it. */
static struct err entries_find_row(struct snap *s, struct entries *e, msg_uid uid,
                                   const struct entry **out)
{
    *out = NULL;
    TRY(entries_directory(s, e));
    size_t at = entries_block_of(e, uid.v);
    if (at == e->dir.n || e->dir.refs[at].first > uid.v)
        return OK;
    TRY(entries_block(s, e, at));
    size_t row = entries_row_at(e, uid.v);
    if (row < e->n_block && e->block[row].uid.v == uid.v)
        *out = &e->block[row];
    return OK;
}

struct err entries_find(struct snap *s, mailbox_id m, msg_uid uid, struct found *out)
{
    struct entries *e;
    TRY(entries_of(s, m, &e));
    struct over over = {0};
    bool in_overlay = false;
    TRY(entries_directory(s, e));
    TRY(entries_find_over(s, e, uid, &over, &in_overlay));
    const struct entry *row = in_overlay && !over.dead ? &over.e : NULL;
    if (!in_overlay)
        TRY(entries_find_row(s, e, uid, &row));
    if (!row)
        return err_make(E_NOTFOUND, "no such message");
    *out = (struct found){.e = *row, .in_block = uid.v <= e->dir.folded, .in_overlay = in_overlay};
    return OK;
}

struct err snap_entry(struct snap *s, mailbox_id m, msg_uid uid, struct entry *out)
{
    struct entries *e;
    TRY(entries_of(s, m, &e));
    struct over over;
    bool found;
    TRY(entries_find_over(s, e, uid, &over, &found));
    const struct entry *row = NULL;
    if (found && !over.dead)
        row = &over.e;
    else if (!found)
        TRY(entries_find_row(s, e, uid, &row));
    if (!row)
        return err_make(E_NOTFOUND, "no such message");
    *out = *row;
    return OK;
}

/* ------------------------------------------------------------------------------- listing */

/* The rows of the blocks in order. */
struct rows {
    size_t block, row;
};

static struct err rows_begin(struct snap *s, struct entries *e, uint32_t from, struct rows *out)
{
    out->block = entries_block_of(e, from);
    out->row = 0;
    if (out->block == e->dir.n)
        return OK;
    TRY(entries_block(s, e, out->block));
    out->row = entries_row_at(e, from);
    return OK;
}

/* The next row without taking it; NULL at the end. */
static struct err rows_peek(struct snap *s, struct entries *e, struct rows *r,
                            const struct entry **out)
{
    *out = NULL;
    if (r->block == e->dir.n)
        return OK;
    TRY(entries_block(s, e, r->block));
    if (r->row == e->n_block) {
        r->row = 0;
        if (++r->block == e->dir.n)
            return OK;
        TRY(entries_block(s, e, r->block));
    }
    *out = &e->block[r->row];
    return OK;
}

struct err snap_entries(struct snap *s, mailbox_id m, msg_uid from, msg_uid to, struct entry *out,
                        size_t max, size_t *out_n)
{
    struct entries *e;
    TRY(entries_of(s, m, &e));
    TRY(entries_directory(s, e));
    TRY(entries_overlay(s, e));
    struct rows rows;
    TRY(rows_begin(s, e, from.v, &rows));
    size_t over = entries_over_at(e, from.v), n = 0;
    while (n < max) {
        const struct entry *row;
        TRY(rows_peek(s, e, &rows, &row));
        const struct over *o = over < e->n_over ? &e->over[over] : NULL;
        if (!row && !o)
            break;
        bool take_over = o && (!row || o->e.uid.v <= row->uid.v);
        rows.row += row && (!take_over || o->e.uid.v == row->uid.v);
        const struct entry *next = take_over ? &o->e : row;
        if (next->uid.v > to.v)
            break;
        if (!take_over || !o->dead)
            out[n++] = *next;
        over += take_over;
    }
    *out_n = n;
    return OK;
}

/* ------------------------------------------------------------------------------ UID runs */

struct runs {
    const struct entries *e;
    size_t over;          /* tombstones before it have been used */
    struct uid_run *runs; /* malloc'd */
    size_t n, cap;
};

/* UIDs from <= UID <= to, of which none is dead. */
static void runs_add(struct runs *r, uint64_t from, uint64_t to)
{
    if (from > to)
        return;
    uint32_t count = (uint32_t)(to - from + 1);
    if (r->n && (uint64_t)r->runs[r->n - 1].first + r->runs[r->n - 1].count == from) {
        r->runs[r->n - 1].count += count;
        return;
    }
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->runs = reallocarray(r->runs, r->cap, sizeof *r->runs);
        check(r->runs != NULL);
    }
    r->runs[r->n++] = (struct uid_run){(uint32_t)from, count};
}

/* UIDs of which the overlay may have tombstones. */
static void runs_add_rows(struct runs *r, uint64_t from, uint64_t to)
{
    const struct entries *e = r->e;
    for (; r->over < e->n_over && e->over[r->over].e.uid.v <= to; r->over++) {
        uint32_t uid = e->over[r->over].e.uid.v;
        if (uid < from || !e->over[r->over].dead)
            continue;
        runs_add(r, from, (uint64_t)uid - 1);
        from = (uint64_t)uid + 1;
    }
    runs_add(r, from, to);
}

/* A block without gaps need not be read. */
static struct err runs_add_block(struct snap *s, struct entries *e, size_t at, uint32_t from,
                                 struct runs *r)
{
    const struct block_ref *b = &e->dir.refs[at];
    if (b->last - b->first + 1 == b->count) {
        runs_add_rows(r, MAX(b->first, from), b->last);
        return OK;
    }
    const struct entry *rows = e->image ? image_decoded(e->image, at) : NULL;
    for (size_t i = 0; rows && i < b->count; i++)
        if (rows[i].uid.v >= from)
            runs_add_rows(r, rows[i].uid.v, rows[i].uid.v);
    if (rows)
        return OK;
    struct arena a;
    arena_init(&a, ARENA_OWN);
    struct str packed;
    uint32_t uids[ENTRY_BLOCK];
    size_t n = 0;
    struct err result = entries_block_bytes(s, e, at, &a, &packed);
    if (result.code == E_OK)
        result = block_unpack_uids(packed, s->account->id, e->id, uids, &n);
    arena_free(&a);
    for (size_t i = 0; i < n; i++)
        if (uids[i] >= from)
            runs_add_rows(r, uids[i], uids[i]);
    return result;
}

struct err snap_uids(struct snap *s, mailbox_id m, msg_uid from, struct arena *a,
                     struct uid_run **out, size_t *out_n)
{
    struct entries *e;
    TRY(entries_of(s, m, &e));
    TRY(entries_directory(s, e));
    TRY(entries_overlay(s, e));
    struct runs r = {.e = e, .over = entries_over_at(e, from.v)};
    struct err result = OK;
    for (size_t at = entries_block_of(e, from.v); at < e->dir.n && result.code == E_OK; at++)
        result = runs_add_block(s, e, at, from.v, &r);
    for (; r.over < e->n_over; r.over++) /* what is behind the blocks */
        if (!e->over[r.over].dead && e->over[r.over].e.uid.v > e->dir.folded)
            runs_add(&r, e->over[r.over].e.uid.v, e->over[r.over].e.uid.v);
    struct uid_run *runs = arena_array(a, struct uid_run, r.n);
    if (result.code == E_OK && !runs)
        result = err_make(E_LIMIT, "too many messages for the memory of this request");
    if (result.code == E_OK) {
        if (r.n)
            memcpy(runs, r.runs, r.n * sizeof *runs);
        *out = runs;
        *out_n = r.n;
    }
    free(r.runs);
    return result;
}

/* ------------------------------------------------------------------------------ first unseen */

static bool entry_is_unseen(const struct entry *e)
{
    return !(e->flags & FLAG_SEEN);
}

/* Of a block, the rows that the overlay does not replace. */
static struct err block_first_unseen(struct snap *s, struct entries *e, size_t at, uint32_t *out)
{
    TRY(entries_block(s, e, at));
    for (size_t i = 0; i < e->n_block; i++) {
        uint32_t uid = e->block[i].uid.v;
        size_t over = entries_over_at(e, uid);
        bool replaced = over < e->n_over && e->over[over].e.uid.v == uid;
        if (!replaced && entry_is_unseen(&e->block[i])) {
            *out = uid;
            return OK;
        }
    }
    return OK;
}

/* Of the blocks, as long as they may hold a lower UID than *out. */
static struct err blocks_first_unseen(struct snap *s, struct entries *e, struct key_walk *walk,
                                      uint32_t *out)
{
    uint32_t known = *out;
    for (size_t at = 0; at < e->dir.n && e->dir.refs[at].first < known && *out == known; at++) {
        struct key k;
        struct str packed;
        bool unseen;
        key_of_block(&k, s->account->id, e->id, e->dir.refs[at].base);
        struct err result = key_walk_get(walk, key_str(&k), &packed);
        if (result.code == E_NOTFOUND)
            return err_make(E_CORRUPT, "a block of entries is missing");
        TRY(result);
        TRY(block_unpack_unseen(packed, s->account->id, e->id, &unseen));
        if (!unseen)
            continue;
        uint32_t found = UINT32_MAX;
        TRY(block_first_unseen(s, e, at, &found));
        *out = MIN(*out, found);
    }
    return OK;
}

struct err snap_first_unseen(struct snap *s, mailbox_id m, msg_uid *out)
{
    struct entries *e;
    TRY(entries_of(s, m, &e));
    TRY(entries_directory(s, e));
    TRY(entries_overlay(s, e));
    uint32_t uid = UINT32_MAX; /* none has it: UIDs end below */
    for (size_t i = 0; i < e->n_over && uid == UINT32_MAX; i++)
        if (!e->over[i].dead && entry_is_unseen(&e->over[i].e))
            uid = e->over[i].e.uid.v;
    struct key_walk *walk = view_walk(s->view);
    struct err result = blocks_first_unseen(s, e, walk, &uid);
    key_walk_free(walk);
    TRY(result);
    *out = (msg_uid){uid == UINT32_MAX ? 0 : uid};
    return OK;
}
