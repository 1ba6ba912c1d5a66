/* Accounts: made, changed, removed. */
#include "directory/private.h"

enum { FIRST_ACCOUNT = 2 }; /* 1 is the system account */

struct err directory_accounts(struct directory *d, struct str domain, struct str after, size_t max,
                              struct arena *a, Thurn__AccountRecord ***out, size_t *out_n)
{
    return dir_list_addresses(d, &thurn__account_record__descriptor, dir_key_accounts,
                              dir_key_account, domain, after, max, a, out, out_n);
}

struct err directory_account_show(struct directory *d, struct str address, struct arena *a,
                                  Thurn__AccountRecord **out)
{
    struct dir_address name;
    struct kept_snap s;
    TRY(dir_address_parse(address, &name));
    TRY(dir_read_begin(d, &s));
    struct err e = dir_get_account(s.snap, &name, a, out);
    dir_read_end(d, s);
    return e;
}

/* -- making -- */

static struct err next_id(struct dir_change *c, account_id *out)
{
    struct dir_key next = dir_key_next();
    struct str text;
    uint64_t id = FIRST_ACCOUNT;
    struct err e = snap_get(c->snap, dir_key_str(&next), &c->arena, &text);
    if (e.code == E_OK)
        TRY(str_to_u64(text, &id));
    else if (e.code != E_NOTFOUND)
        return e;
    char after[24];
    (void)snprintf(after, sizeof after, "%" PRIu64, id + 1);
    out->v = id;
    return txn_put(c->txn, dir_key_str(&next), str_c(after));
}

static struct err address_is_free(struct dir_change *c, const struct dir_address *address)
{
    Thurn__AccountRecord *account;
    Thurn__Alias *alias;
    struct err e = dir_get_account(c->snap, address, &c->arena, &account);
    if (e.code == E_OK)
        return err_make(E_EXISTS, "there is such an account already");
    if (e.code == E_NOTFOUND)
        e = dir_get_alias(c->snap, address, &c->arena, &alias);
    if (e.code == E_OK)
        return err_make(E_EXISTS, "this address is an alias: remove that first");
    return e.code == E_NOTFOUND ? OK : e;
}

/* Whether an account may be made there; the domain's record. */
static struct err account_place(struct dir_change *c, const struct dir_address *address,
                                Thurn__Domain **out)
{
    TRY(dir_get_domain(c->snap, &address->domain, &c->arena, out));
    if ((*out)->alias_of.len)
        return err_make(E_CONFLICT, "the domain is only another name; make the account at the "
                                    "domain itself");
    return address_is_free(c, address);
}

/* Takes the next account id and remembers that its account is being made. */
static struct err account_reserve(struct dir_change *c, const struct dir_address *address,
                                  struct new_mailbox folders[FOLDERS], account_id *out)
{
    Thurn__Domain *domain;
    account_id id;
    TRY(account_place(c, address, &domain));
    TRY(next_id(c, &id));
    struct dir_key pending = dir_key_pending(id);
    TRY(txn_put(c->txn, dir_key_str(&pending), STR("making")));
    dir_folders(dir_str(domain->language), folders);
    *out = id;
    return OK;
}

static struct err account_enter(struct dir_change *c, const struct dir_address *address,
                                account_id id, struct str password)
{
    Thurn__Domain *domain;
    uint8_t text[ADDRESS_MAX];
    TRY(account_place(c, address, &domain)); /* it may have changed meanwhile */
    struct str name = dir_address_text(address, text);
    Thurn__AccountRecord record = THURN__ACCOUNT_RECORD__INIT;
    record.account = id.v;
    record.address = dir_bytes(name);
    record.password = dir_bytes(password);
    record.created = clock_wall_s();
    record.credential_generation = 1;
    struct dir_key key = dir_key_account(address), by_id = dir_key_id(id),
                   pending = dir_key_pending(id);
    TRY(dir_put(c, &key, &record.base));
    TRY(txn_put(c->txn, dir_key_str(&by_id), name));
    return txn_delete(c->txn, dir_key_str(&pending));
}

static struct err account_make(struct directory *d, const struct dir_address *name,
                               struct str stored, account_id *out)
{
    struct new_mailbox folders[FOLDERS];
    struct dir_change c;
    account_id id = {0};
    TRY(dir_change_begin(d, &c));
    TRY(dir_change_end(d, &c, account_reserve(&c, name, folders, &id)));
    size_t n = dir_settings(d).no_special_folders ? 0 : FOLDERS;
    TRY(store_account_create(d->store, id, folders, n));
    TRY(dir_change_begin(d, &c));
    struct err e = dir_change_end(d, &c, account_enter(&c, name, id, stored));
    if (e.code == E_OK)
        *out = id;
    else if (directory_account_erase(d, id).code)
        log_warn("directory.not-erased", LF_U64("account", id.v)); /* the next start does it */
    return e;
}

struct err directory_account_add(struct directory *d, struct str address,
                                 struct directory_password password, account_id *out)
{
    struct dir_address name;
    TRY(dir_address_parse(address, &name));
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct str stored;
    TRY(dir_password_store(d, password, &a, &stored));
    return account_make(d, &name, stored, out);
}

/* -- removing -- */

static struct err account_detach(struct dir_change *c, const struct dir_address *address,
                                 account_id *out)
{
    Thurn__AccountRecord *record;
    TRY(dir_get_account(c->snap, address, &c->arena, &record));
    account_id id = {record->account};
    struct dir_key key = dir_key_account(address), by_id = dir_key_id(id),
                   pending = dir_key_pending(id);
    TRY(txn_delete(c->txn, dir_key_str(&key)));
    TRY(txn_delete(c->txn, dir_key_str(&by_id)));
    TRY(txn_put(c->txn, dir_key_str(&pending), STR("removing")));
    *out = id;
    return OK;
}

struct err directory_account_detach(struct directory *d, struct str address, account_id *out)
{
    struct dir_address name;
    TRY(dir_address_parse(address, &name));
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, account_detach(&c, &name, out));
}

/* One that was never made, or is gone already, is fine. */
struct err directory_account_erase(struct directory *d, account_id id)
{
    struct err e = store_account_erase(d->store, id);
    if (e.code != E_OK && e.code != E_NOTFOUND)
        return e;
    struct dir_change c;
    struct dir_key pending = dir_key_pending(id);
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, txn_delete(c.txn, dir_key_str(&pending)));
}

struct err directory_account_remove(struct directory *d, struct str address)
{
    account_id id = {0};
    TRY(directory_account_detach(d, address, &id));
    return directory_account_erase(d, id);
}

/* -- changing -- */

/* What a change makes of an account's record. */
typedef void record_change(Thurn__AccountRecord *record, void *arg, struct arena *a);

static struct err record_edit(struct dir_change *c, const struct dir_address *address,
                              record_change *change, void *arg, account_id *out)
{
    Thurn__AccountRecord *record;
    TRY(dir_get_account(c->snap, address, &c->arena, &record));
    change(record, arg, &c->arena);
    struct dir_key key = dir_key_account(address);
    out->v = record->account;
    return dir_put(c, &key, &record->base);
}

static struct err account_edit(struct directory *d, struct str address, record_change *change,
                               void *arg, account_id *out)
{
    struct dir_address name;
    TRY(dir_address_parse(address, &name));
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, record_edit(&c, &name, change, arg, out));
}

static void change_password(Thurn__AccountRecord *record, void *arg, struct arena *a)
{
    (void)a;
    record->password = dir_bytes(*(const struct str *)arg);
    record->credential_generation++;
}

struct err directory_account_password(struct directory *d, struct str address,
                                      struct directory_password password, account_id *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct str stored;
    TRY(dir_password_store(d, password, &a, &stored));
    return account_edit(d, address, change_password, &stored, out);
}

static void change_generation(Thurn__AccountRecord *record, void *arg, struct arena *a)
{
    (void)arg, (void)a;
    record->credential_generation++;
}

struct err directory_account_logout(struct directory *d, struct str address, account_id *out)
{
    return account_edit(d, address, change_generation, NULL, out);
}

struct locking {
    struct str reason;
    Thurn__RefuseMail refuse;
};

static void change_lock(Thurn__AccountRecord *record, void *arg, struct arena *a)
{
    (void)a;
    const struct locking *l = arg;
    record->locked = true;
    record->lock_reason = dir_bytes(l->reason);
    record->refuse_mail = l->refuse;
    record->credential_generation++;
}

struct err directory_account_lock(struct directory *d, struct str address, struct str reason,
                                  Thurn__RefuseMail refuse, account_id *out)
{
    struct locking l = {reason, refuse};
    if (reason.n > 1000 || !str_is_utf8(reason))
        return err_make(E_INVALID, "a reason is at most 1000 bytes of UTF-8");
    return account_edit(d, address, change_lock, &l, out);
}

static void change_unlock(Thurn__AccountRecord *record, void *arg, struct arena *a)
{
    (void)arg, (void)a;
    record->locked = false;
    record->lock_reason = dir_bytes((struct str){NULL, 0});
    record->refuse_mail = THURN__REFUSE_MAIL__REFUSE_NOTHING;
}

struct err directory_account_unlock(struct directory *d, struct str address)
{
    account_id id;
    return account_edit(d, address, change_unlock, NULL, &id);
}

static void change_quota(Thurn__AccountRecord *record, void *arg, struct arena *a)
{
    record->quota = dir_quota_change(record->quota, arg, a);
}

struct err directory_account_change(struct directory *d, struct str address,
                                    const struct directory_change *to)
{
    account_id id;
    struct directory_change copy = *to;
    return account_edit(d, address, change_quota, &copy, &id);
}
