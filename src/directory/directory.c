#include "directory/private.h"

#include <protobuf-c/protobuf-c.h>

enum { SNAP_AGE_US = 1000000 }; /* an older one would keep the index from dropping old values */

/* -- reading -- */

struct err dir_read_begin(struct directory *d, struct kept_snap *out)
{
    struct kept_snap s = {0};
    (void)pthread_mutex_lock(&d->mutex);
    if (d->n_kept)
        s = d->kept[--d->n_kept];
    (void)pthread_mutex_unlock(&d->mutex);
    uint64_t now = clock_mono_us();
    if (s.snap && snap_modseq(s.snap).v == account_modseq(d->system).v &&
        now - s.opened_us < SNAP_AGE_US) {
        *out = s;
        return OK;
    }
    if (s.snap)
        snap_close(s.snap);
    s = (struct kept_snap){.opened_us = now};
    TRY(snap_open(d->system, &s.snap));
    *out = s;
    return OK;
}

void dir_read_end(struct directory *d, struct kept_snap s)
{
    bool keep = snap_modseq(s.snap).v == account_modseq(d->system).v;
    (void)pthread_mutex_lock(&d->mutex);
    keep = keep && d->n_kept < SNAPS_KEPT;
    if (keep)
        d->kept[d->n_kept++] = s;
    (void)pthread_mutex_unlock(&d->mutex);
    if (!keep)
        snap_close(s.snap);
}

static struct err get_record(struct snap *s, const struct dir_key *key,
                             const ProtobufCMessageDescriptor *type, const char *none,
                             struct arena *a, void *out)
{
    struct str packed;
    struct err e = snap_get(s, dir_key_str(key), a, &packed);
    if (e.code == E_NOTFOUND)
        return err_make(E_NOTFOUND, none);
    TRY(e);
    return dir_record_unpack(a, type, packed, out);
}

struct err dir_get_domain(struct snap *s, const struct dir_domain *domain, struct arena *a,
                          Thurn__Domain **out)
{
    struct dir_key key = dir_key_domain(domain);
    return get_record(s, &key, &thurn__domain__descriptor, "no such domain", a, out);
}

struct err dir_get_account(struct snap *s, const struct dir_address *address, struct arena *a,
                           Thurn__AccountRecord **out)
{
    struct dir_key key = dir_key_account(address);
    return get_record(s, &key, &thurn__account_record__descriptor, "no such account", a, out);
}

struct err dir_get_alias(struct snap *s, const struct dir_address *address, struct arena *a,
                         Thurn__Alias **out)
{
    struct dir_key key = dir_key_alias(address);
    return get_record(s, &key, &thurn__alias__descriptor, "no such alias", a, out);
}

struct err dir_get_account_by_id(struct snap *s, account_id id, struct arena *a,
                                 struct dir_address *out_address, Thurn__AccountRecord **out)
{
    struct dir_key key = dir_key_id(id);
    struct str text;
    struct err e = snap_get(s, dir_key_str(&key), a, &text);
    if (e.code == E_NOTFOUND)
        return err_make(E_NOTFOUND, "no such account");
    TRY(e);
    if (dir_address_parse(text, out_address).code)
        return err_make(E_CORRUPT, "the directory of account ids is damaged");
    return dir_get_account(s, out_address, a, out);
}

static bool any(struct str key, struct str value, void *arg)
{
    (void)key, (void)value;
    *(bool *)arg = true;
    return false;
}

struct err dir_any(struct snap *s, const struct dir_key *prefix, bool *out)
{
    *out = false;
    return snap_scan(s, dir_key_str(prefix), (struct str){NULL, 0}, any, out);
}

/* Rows of one type below a prefix, unpacked into the arena. */
struct rows {
    struct arena *a;
    const ProtobufCMessageDescriptor *type;
    size_t max;
    void **rows;
    size_t n, cap;
    struct err e;
};

static bool rows_add(struct str key, struct str value, void *arg)
{
    (void)key;
    struct rows *r = arg;
    if (r->n == r->max)
        return false;
    if (r->n == r->cap) {
        size_t cap = MAX(r->cap * 2, (size_t)64);
        void **wider = arena_array(r->a, void *, cap);
        if (!wider) {
            r->e = err_make(E_LIMIT, "the list is too long");
            return false;
        }
        if (r->n)
            memcpy(wider, r->rows, r->n * sizeof *wider);
        r->rows = wider;
        r->cap = cap;
    }
    r->e = dir_record_unpack(r->a, r->type, value, &r->rows[r->n]);
    if (r->e.code)
        return false;
    r->n++;
    return true;
}

struct err dir_list(struct directory *d, const ProtobufCMessageDescriptor *type, struct str prefix,
                    struct str after, size_t max, struct arena *a, void *out_rows, size_t *out_n)
{
    struct rows r = {.a = a, .type = type, .max = max};
    struct kept_snap s;
    TRY(dir_read_begin(d, &s));
    struct err e = snap_scan(s.snap, prefix, after, rows_add, &r);
    dir_read_end(d, s);
    TRY(e);
    TRY(r.e);
    *(void ***)out_rows = r.rows;
    *out_n = r.n;
    return OK;
}

struct err dir_list_addresses(struct directory *d, const ProtobufCMessageDescriptor *type,
                              struct dir_key (*prefix)(const struct dir_domain *d),
                              struct dir_key (*key)(const struct dir_address *a), struct str domain,
                              struct str after, size_t max, struct arena *a, void *out_rows,
                              size_t *out_n)
{
    struct dir_domain name;
    struct dir_address last;
    if (domain.n)
        TRY(dir_domain_of(domain, &name));
    struct dir_key all = prefix(domain.n ? &name : NULL), from = {.n = 0};
    if (after.n) {
        TRY(dir_address_parse(after, &last));
        from = key(&last);
    }
    return dir_list(d, type, dir_key_str(&all), dir_key_str(&from), max, a, out_rows, out_n);
}

/* -- changing -- */

struct err dir_change_begin(struct directory *d, struct dir_change *c)
{
    (void)pthread_mutex_lock(&d->write);
    struct err e = txn_begin(d->system, &c->txn);
    if (e.code) {
        (void)pthread_mutex_unlock(&d->write);
        return e;
    }
    arena_init(&c->arena, RECORD_BUDGET);
    c->snap = txn_snap(c->txn);
    return OK;
}

struct err dir_change_end(struct directory *d, struct dir_change *c, struct err e)
{
    if (e.code == E_OK)
        e = txn_commit(c->txn);
    else
        txn_abort(c->txn);
    arena_free(&c->arena);
    (void)pthread_mutex_unlock(&d->write);
    return e;
}

struct err dir_put(struct dir_change *c, const struct dir_key *key, const ProtobufCMessage *m)
{
    struct buf packed CLEANUP(buf_free) = {.max = RECORD_BUDGET};
    dir_record_pack(&packed, m);
    TRY(buf_err(&packed));
    return txn_put(c->txn, dir_key_str(key), buf_str(&packed));
}

/* -- settings -- */

void directory_set(struct directory *d, const struct directory_settings *s)
{
    (void)pthread_mutex_lock(&d->mutex);
    d->settings = *s;
    (void)pthread_mutex_unlock(&d->mutex);
}

struct directory_settings dir_settings(struct directory *d)
{
    (void)pthread_mutex_lock(&d->mutex);
    struct directory_settings s = d->settings;
    (void)pthread_mutex_unlock(&d->mutex);
    return s;
}

/* -- opening and closing -- */

enum { PENDING_AT_ONCE = 64 };
struct pending {
    account_id ids[PENDING_AT_ONCE];
    size_t n;
};

static bool pending_add(struct str key, struct str value, void *arg)
{
    (void)value;
    struct pending *p = arg;
    struct str hex = str_skip(key, 1);
    uint64_t id = 0;
    for (size_t i = 0; i < hex.n; i++) {
        uint8_t c = hex.p[i];
        id = id << 4 | (uint64_t)(byte_is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    p->ids[p->n++].v = id;
    return p->n < PENDING_AT_ONCE;
}

/* Erases the accounts whose making or removal was cut short. */
static struct err finish_pending(struct directory *d)
{
    for (;;) {
        struct pending p = {.n = 0};
        struct kept_snap s;
        TRY(dir_read_begin(d, &s));
        struct err e = snap_scan(s.snap, STR("p"), (struct str){NULL, 0}, pending_add, &p);
        dir_read_end(d, s);
        TRY(e);
        for (size_t i = 0; i < p.n; i++)
            TRY(directory_account_erase(d, p.ids[i]));
        if (p.n < PENDING_AT_ONCE)
            return OK;
    }
}

static struct err open_system(struct store *s, struct account **out)
{
    struct err e = account_open(s, ACCOUNT_SYSTEM, out);
    if (e.code != E_NOTFOUND)
        return e;
    TRY(store_account_create(s, ACCOUNT_SYSTEM, NULL, 0));
    return account_open(s, ACCOUNT_SYSTEM, out);
}

static struct directory_options with_defaults(struct directory_options o)
{
    if (o.argon2_memory_kib == 0)
        o.argon2_memory_kib = 19456;
    o.argon2_memory_kib = MAX(o.argon2_memory_kib, 8u);
    if (o.argon2_passes == 0)
        o.argon2_passes = 2;
    if (o.hash_memory_kib == 0)
        o.hash_memory_kib = 131072;
    o.hash_memory_kib = MAX(o.hash_memory_kib, o.argon2_memory_kib);
    return o;
}

struct err directory_open(struct store *s, const struct directory_options *o,
                          struct directory **out)
{
    struct account *system;
    TRY(open_system(s, &system));
    struct directory *d = mem_alloc(sizeof *d);
    *d = (struct directory){.store = s, .system = system, .options = with_defaults(*o)};
    d->memory = hash_memory_new(d->options.hash_memory_kib);
    d->settings.separator = '+';
    (void)pthread_mutex_init(&d->write, NULL);
    (void)pthread_mutex_init(&d->mutex, NULL);
    struct err e = finish_pending(d);
    if (e.code) {
        directory_close(d);
        return e;
    }
    *out = d;
    return OK;
}

void directory_close(struct directory *d)
{
    for (size_t i = 0; i < d->n_kept; i++)
        snap_close(d->kept[i].snap);
    account_close(d->system);
    hash_memory_free(d->memory);
    (void)pthread_mutex_destroy(&d->write);
    (void)pthread_mutex_destroy(&d->mutex);
    free(d);
}
