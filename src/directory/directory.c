#include "directory/private.h"

#include <protobuf-c/protobuf-c.h>

enum {
    SNAPS_KEPT = 8,        /* about as many as there are threads that read */
    SNAP_AGE_US = 1000000, /* an older one would keep the index from dropping old values */
    RECORD_BUDGET = 64 * 1024,
    FIRST_ACCOUNT = 2, /* 1 is the system account */
};

/*
 * Look-ups read the store; nothing is cached but a few open snapshots, each used by one thread at a
 * time and thrown away once the directory has changed.
 */
struct kept_snap {
    struct snap *snap;
    uint64_t opened_us;
};

struct directory {
    struct store *store;
    struct account *system;
    struct directory_options options;
    pthread_mutex_t write; /* one change at a time: the system account has one transaction */
    pthread_mutex_t mutex; /* of what follows */
    struct kept_snap kept[SNAPS_KEPT];
    size_t n_kept;
};

/* -- reading -- */

static struct err read_begin(struct directory *d, struct kept_snap *out)
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

static void read_end(struct directory *d, struct kept_snap s)
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

static struct err get_account(struct snap *s, const struct dir_address *address, struct arena *a,
                              Thurn__AccountRecord **out)
{
    struct dir_key key = dir_key_account(address);
    struct str packed;
    TRY(snap_get(s, dir_key_str(&key), a, &packed));
    return dir_record_unpack(a, &thurn__account_record__descriptor, packed, out);
}

static struct err need_domain(struct snap *s, const struct dir_domain *domain, struct arena *a)
{
    struct dir_key key = dir_key_domain(domain);
    struct str packed;
    struct err e = snap_get(s, dir_key_str(&key), a, &packed);
    return e.code == E_NOTFOUND ? err_make(E_NOTFOUND, "no such domain") : e;
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

static struct err list(struct directory *d, struct str prefix, struct str after, struct rows *r)
{
    struct kept_snap s;
    TRY(read_begin(d, &s));
    struct err e = snap_scan(s.snap, prefix, after, rows_add, r);
    read_end(d, s);
    TRY(e);
    return r->e;
}

struct err directory_domains(struct directory *d, struct arena *a, Thurn__Domain ***out,
                             size_t *out_n)
{
    struct rows r = {.a = a, .type = &thurn__domain__descriptor, .max = SIZE_MAX};
    TRY(list(d, STR("d"), (struct str){NULL, 0}, &r));
    *out = (Thurn__Domain **)(void *)r.rows;
    *out_n = r.n;
    return OK;
}

struct err directory_accounts(struct directory *d, struct str domain, struct str after, size_t max,
                              struct arena *a, Thurn__AccountRecord ***out, size_t *out_n)
{
    struct dir_domain name;
    struct dir_address last;
    if (domain.n)
        TRY(dir_domain_of(domain, &name));
    struct dir_key prefix = dir_key_accounts(domain.n ? &name : NULL), from = {.n = 0};
    if (after.n) {
        TRY(dir_address_parse(after, &last));
        from = dir_key_account(&last);
    }
    struct rows r = {.a = a, .type = &thurn__account_record__descriptor, .max = max};
    TRY(list(d, dir_key_str(&prefix), dir_key_str(&from), &r));
    *out = (Thurn__AccountRecord **)(void *)r.rows;
    *out_n = r.n;
    return OK;
}

static struct err route(struct snap *s, const struct dir_address *address, account_id *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    Thurn__AccountRecord *record;
    struct err e = get_account(s, address, &a, &record);
    if (e.code == E_NOTFOUND) {
        TRY(need_domain(s, &address->domain, &a));
        return err_make(E_NOTFOUND, "no such user");
    }
    TRY(e);
    out->v = record->account;
    return OK;
}

struct err directory_route(struct directory *d, struct str local, struct str domain,
                           account_id *out)
{
    struct dir_address address;
    TRY(dir_address_of(local, domain, &address));
    struct kept_snap s;
    TRY(read_begin(d, &s));
    struct err e = route(s.snap, &address, out);
    read_end(d, s);
    return e;
}

struct err directory_domain_is_ours(struct directory *d, struct str name)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct dir_domain domain;
    if (dir_domain_of(name, &domain).code)
        return err_make(E_NOTFOUND, "no such domain"); /* an address literal, for one */
    struct kept_snap s;
    TRY(read_begin(d, &s));
    struct err e = need_domain(s.snap, &domain, &a);
    read_end(d, s);
    return e;
}

/* -- authentication -- */

struct only_domain {
    size_t n;
    struct dir_domain name;
};

static bool only_domain_add(struct str key, struct str value, void *arg)
{
    (void)value;
    struct only_domain *only = arg;
    struct err e = dir_domain_of(str_skip(key, 1), &only->name);
    return e.code == E_OK && ++only->n < 2;
}

/* A name without '@' is completed by the domain if there is only one. */
static struct err user_address(struct snap *s, struct str user, struct dir_address *out)
{
    if (str_find_byte(user, '@', 0) < user.n)
        return dir_address_parse(user, out);
    struct only_domain only = {0};
    TRY(snap_scan(s, STR("d"), (struct str){NULL, 0}, only_domain_add, &only));
    if (only.n != 1)
        return err_make(E_INVALID, "a log-in name needs its domain");
    return dir_address_of(user, str_of(only.name.b, only.name.n), out);
}

static struct err find_user(struct directory *d, struct str user, struct arena *a,
                            Thurn__AccountRecord **out)
{
    struct kept_snap s;
    struct dir_address address;
    TRY(read_begin(d, &s));
    struct err e = user_address(s.snap, user, &address);
    if (e.code == E_OK)
        e = get_account(s.snap, &address, a, out);
    read_end(d, s);
    return e;
}

struct err directory_authenticate(struct directory *d, struct str user, struct str password,
                                  struct principal *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    Thurn__AccountRecord *record = NULL;
    struct err e = find_user(d, user, &a, &record);
    bool known = e.code == E_OK && record->password.len > 0 && password.n > 0;
    if (e.code != E_OK && e.code != E_NOTFOUND && e.code != E_INVALID)
        return e;
    if (!known) {
        dir_password_pretend(&d->options, password);
        return err_make(E_DENIED, "unknown user, or no password");
    }
    if (!dir_password_matches(str_of(record->password.data, record->password.len), password))
        return err_make(E_DENIED, "wrong password");
    *out = (struct principal){.account = {record->account},
                              .credential_generation = record->credential_generation};
    return OK;
}

/* -- changing -- */

/* One change of the directory: a transaction, and memory for what it reads. */
struct change_txn {
    struct txn *txn;
    struct arena arena;
};

static void unlock(pthread_mutex_t **m)
{
    (void)pthread_mutex_unlock(*m);
}

/* Held until the end of the block. */
#define DIRECTORY_WRITER(d)                                                                        \
    pthread_mutex_t *writer_lock CLEANUP(unlock) = &(d)->write;                                    \
    (void)pthread_mutex_lock(writer_lock)

static struct err change_begin(struct directory *d, struct change_txn *c)
{
    arena_init(&c->arena, RECORD_BUDGET);
    return txn_begin(d->system, &c->txn);
}

/* Commits if `e` is OK, else throws the change away. */
static struct err change_end(struct change_txn *c, struct err e)
{
    if (e.code == E_OK)
        e = txn_commit(c->txn);
    else
        txn_abort(c->txn);
    arena_free(&c->arena);
    return e;
}

static struct err put_record(struct txn *t, const struct dir_key *key, const ProtobufCMessage *m)
{
    struct buf packed CLEANUP(buf_free) = {.max = RECORD_BUDGET};
    dir_record_pack(&packed, m);
    TRY(buf_err(&packed));
    return txn_put(t, dir_key_str(key), buf_str(&packed));
}

static struct err domain_add(struct change_txn *c, const struct dir_domain *domain)
{
    struct err e = need_domain(txn_snap(c->txn), domain, &c->arena);
    if (e.code == E_OK)
        return err_make(E_EXISTS, "there is such a domain already");
    if (e.code != E_NOTFOUND)
        return e;
    Thurn__Domain record = THURN__DOMAIN__INIT;
    record.name = (ProtobufCBinaryData){domain->n, (uint8_t *)(uintptr_t)domain->b};
    record.created = clock_wall_s();
    struct dir_key key = dir_key_domain(domain);
    return put_record(c->txn, &key, &record.base);
}

struct err directory_domain_add(struct directory *d, struct str name)
{
    struct dir_domain domain;
    TRY(dir_domain_of(name, &domain));
    DIRECTORY_WRITER(d);
    struct change_txn c;
    TRY(change_begin(d, &c));
    return change_end(&c, domain_add(&c, &domain));
}

static bool any(struct str key, struct str value, void *arg)
{
    (void)key, (void)value;
    *(bool *)arg = true;
    return false;
}

static struct err domain_remove(struct change_txn *c, const struct dir_domain *domain)
{
    TRY(need_domain(txn_snap(c->txn), domain, &c->arena));
    struct dir_key key = dir_key_domain(domain), accounts = dir_key_accounts(domain);
    bool used = false;
    TRY(snap_scan(txn_snap(c->txn), dir_key_str(&accounts), (struct str){NULL, 0}, any, &used));
    if (used)
        return err_make(E_CONFLICT, "the domain still has accounts");
    return txn_delete(c->txn, dir_key_str(&key));
}

struct err directory_domain_remove(struct directory *d, struct str name)
{
    struct dir_domain domain;
    TRY(dir_domain_of(name, &domain));
    DIRECTORY_WRITER(d);
    struct change_txn c;
    TRY(change_begin(d, &c));
    return change_end(&c, domain_remove(&c, &domain));
}

/* Takes the next account id and remembers that its account is being made. */
static struct err account_reserve(struct change_txn *c, const struct dir_address *address,
                                  account_id *out)
{
    struct snap *s = txn_snap(c->txn);
    TRY(need_domain(s, &address->domain, &c->arena));
    Thurn__AccountRecord *there;
    struct err e = get_account(s, address, &c->arena, &there);
    if (e.code == E_OK)
        return err_make(E_EXISTS, "there is such an account already");
    if (e.code != E_NOTFOUND)
        return e;
    struct dir_key next = dir_key_next();
    struct str text;
    uint64_t id = FIRST_ACCOUNT;
    e = snap_get(s, dir_key_str(&next), &c->arena, &text);
    if (e.code == E_OK)
        TRY(str_to_u64(text, &id));
    else if (e.code != E_NOTFOUND)
        return e;
    char after[24];
    (void)snprintf(after, sizeof after, "%" PRIu64, id + 1);
    TRY(txn_put(c->txn, dir_key_str(&next), str_c(after)));
    struct dir_key pending = dir_key_pending((account_id){id});
    TRY(txn_put(c->txn, dir_key_str(&pending), STR("making")));
    out->v = id;
    return OK;
}

static struct err account_enter(struct change_txn *c, const struct dir_address *address,
                                account_id id, struct str password)
{
    uint8_t text[LOCAL_MAX + 1 + DOMAIN_MAX];
    memcpy(text, address->local, address->local_n);
    text[address->local_n] = '@';
    memcpy(text + address->local_n + 1, address->domain.b, address->domain.n);
    Thurn__AccountRecord record = THURN__ACCOUNT_RECORD__INIT;
    record.account = id.v;
    record.address =
        (ProtobufCBinaryData){.len = address->local_n + 1 + address->domain.n, .data = text};
    record.password = (ProtobufCBinaryData){password.n, (uint8_t *)(uintptr_t)password.p};
    record.created = clock_wall_s();
    record.credential_generation = 1;
    struct dir_key key = dir_key_account(address), pending = dir_key_pending(id);
    TRY(put_record(c->txn, &key, &record.base));
    return txn_delete(c->txn, dir_key_str(&pending));
}

struct err directory_account_add(struct directory *d, struct str address,
                                 struct directory_password password, account_id *out)
{
    struct dir_address name;
    TRY(dir_address_parse(address, &name));
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct str stored;
    TRY(dir_password_store(&d->options, password, &a, &stored));

    DIRECTORY_WRITER(d);
    struct change_txn c;
    account_id id;
    TRY(change_begin(d, &c));
    TRY(change_end(&c, account_reserve(&c, &name, &id)));
    TRY(store_account_create(d->store, id));
    TRY(change_begin(d, &c));
    TRY(change_end(&c, account_enter(&c, &name, id, stored)));
    *out = id;
    return OK;
}

static struct err account_detach(struct change_txn *c, const struct dir_address *address,
                                 account_id *out)
{
    Thurn__AccountRecord *record;
    struct err e = get_account(txn_snap(c->txn), address, &c->arena, &record);
    if (e.code == E_NOTFOUND)
        return err_make(E_NOTFOUND, "no such account");
    TRY(e);
    struct dir_key key = dir_key_account(address),
                   pending = dir_key_pending((account_id){record->account});
    TRY(txn_delete(c->txn, dir_key_str(&key)));
    TRY(txn_put(c->txn, dir_key_str(&pending), STR("removing")));
    out->v = record->account;
    return OK;
}

struct err directory_account_detach(struct directory *d, struct str address, account_id *out)
{
    struct dir_address name;
    TRY(dir_address_parse(address, &name));
    DIRECTORY_WRITER(d);
    struct change_txn c;
    TRY(change_begin(d, &c));
    return change_end(&c, account_detach(&c, &name, out));
}

/* One that was never made, or is gone already, is fine. */
static struct err erase(struct directory *d, account_id id)
{
    struct err e = store_account_erase(d->store, id);
    if (e.code != E_OK && e.code != E_NOTFOUND)
        return e;
    struct change_txn c;
    struct dir_key pending = dir_key_pending(id);
    TRY(change_begin(d, &c));
    return change_end(&c, txn_delete(c.txn, dir_key_str(&pending)));
}

struct err directory_account_erase(struct directory *d, account_id id)
{
    DIRECTORY_WRITER(d);
    return erase(d, id);
}

struct err directory_account_remove(struct directory *d, struct str address)
{
    account_id id;
    TRY(directory_account_detach(d, address, &id));
    return directory_account_erase(d, id);
}

static struct err password_change(struct change_txn *c, const struct dir_address *address,
                                  struct str stored)
{
    Thurn__AccountRecord *record;
    struct err e = get_account(txn_snap(c->txn), address, &c->arena, &record);
    if (e.code == E_NOTFOUND)
        return err_make(E_NOTFOUND, "no such account");
    TRY(e);
    record->password = (ProtobufCBinaryData){stored.n, (uint8_t *)(uintptr_t)stored.p};
    record->credential_generation++;
    struct dir_key key = dir_key_account(address);
    return put_record(c->txn, &key, &record->base);
}

struct err directory_account_password(struct directory *d, struct str address,
                                      struct directory_password password)
{
    struct dir_address name;
    TRY(dir_address_parse(address, &name));
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct str stored;
    TRY(dir_password_store(&d->options, password, &a, &stored));
    DIRECTORY_WRITER(d);
    struct change_txn c;
    TRY(change_begin(d, &c));
    return change_end(&c, password_change(&c, &name, stored));
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
        TRY(read_begin(d, &s));
        struct err e = snap_scan(s.snap, STR("p"), (struct str){NULL, 0}, pending_add, &p);
        read_end(d, s);
        TRY(e);
        for (size_t i = 0; i < p.n; i++)
            TRY(erase(d, p.ids[i]));
        if (p.n < PENDING_AT_ONCE)
            return OK;
    }
}

static struct err open_system(struct store *s, struct account **out)
{
    struct err e = account_open(s, ACCOUNT_SYSTEM, out);
    if (e.code != E_NOTFOUND)
        return e;
    TRY(store_account_create(s, ACCOUNT_SYSTEM));
    return account_open(s, ACCOUNT_SYSTEM, out);
}

struct err directory_open(struct store *s, const struct directory_options *o,
                          struct directory **out)
{
    struct account *system;
    TRY(open_system(s, &system));
    struct directory *d = mem_alloc(sizeof *d);
    *d = (struct directory){.store = s, .system = system, .options = *o};
    if (d->options.argon2_memory_kib == 0)
        d->options.argon2_memory_kib = 19456;
    d->options.argon2_memory_kib = MAX(d->options.argon2_memory_kib, 8u);
    if (d->options.argon2_passes == 0)
        d->options.argon2_passes = 2;
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
    (void)pthread_mutex_destroy(&d->write);
    (void)pthread_mutex_destroy(&d->mutex);
    free(d);
}
