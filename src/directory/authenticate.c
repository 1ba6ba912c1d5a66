/* Who somebody is, and whether they still are. */
#include "directory/private.h"

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

/* From another name of a domain to the domain itself; whether it was one. */
static struct err main_domain(struct snap *s, struct dir_domain *name, struct arena *a, bool *out)
{
    Thurn__Domain *domain;
    TRY(dir_get_domain(s, name, a, &domain));
    *out = domain->alias_of.len > 0;
    return *out ? dir_domain_of(dir_str(domain->alias_of), name) : OK;
}

/* The account of this name, at the domain or at the one that it is another name of. */
static struct err user_account(struct snap *s, struct dir_address *address, struct arena *a,
                               Thurn__AccountRecord **out)
{
    struct err e = dir_get_account(s, address, a, out);
    bool elsewhere;
    if (e.code != E_NOTFOUND)
        return e;
    TRY(main_domain(s, &address->domain, a, &elsewhere));
    return elsewhere ? dir_get_account(s, address, a, out) : e;
}

static struct err find_user(struct directory *d, struct str user, struct arena *a,
                            struct dir_address *out_address, Thurn__AccountRecord **out)
{
    struct kept_snap s;
    TRY(dir_read_begin(d, &s));
    struct err e = user_address(s.snap, user, out_address);
    if (e.code == E_OK)
        e = user_account(s.snap, out_address, a, out);
    dir_read_end(d, s);
    return e;
}

static struct err login_name(struct directory *d, struct str user, struct dir_address *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct kept_snap s;
    bool elsewhere;
    TRY(dir_read_begin(d, &s));
    struct err e = user_address(s.snap, user, out);
    if (e.code == E_OK) {
        struct err known = main_domain(s.snap, &out->domain, &a, &elsewhere);
        if (known.code != E_NOTFOUND) /* nobody's domain is a name too */
            e = known;
    }
    dir_read_end(d, s);
    return e;
}

void directory_login_name(struct directory *d, struct str user, struct buf *out)
{
    struct dir_address address;
    uint8_t text[ADDRESS_MAX];
    struct err e = login_name(d, user, &address);
    buf_put(out, e.code == E_OK ? dir_address_text(&address, text) : user);
}

/* Replaces an imported hash by one of our own, unless the record has changed meanwhile. */
static struct err upgrade_record(struct dir_change *c, const struct dir_address *address,
                                 const Thurn__AccountRecord *seen, struct str stored)
{
    Thurn__AccountRecord *record;
    TRY(dir_get_account(c->snap, address, &c->arena, &record));
    if (!str_eq(dir_str(record->password), dir_str(seen->password)))
        return err_make(E_CONFLICT, "the password has been changed meanwhile");
    record->password = dir_bytes(stored);
    struct dir_key key = dir_key_account(address);
    return dir_put(c, &key, &record->base);
}

/* A failure costs nothing but the upgrade: the next log-in tries again. */
static void upgrade(struct directory *d, const struct dir_address *address,
                    const Thurn__AccountRecord *seen, struct str password)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct str stored;
    struct dir_change c;
    struct err e = dir_password_store(d, (struct directory_password){password, false}, &a, &stored);
    if (e.code == E_OK)
        e = dir_change_begin(d, &c);
    if (e.code == E_OK)
        e = dir_change_end(d, &c, upgrade_record(&c, address, seen, stored));
    if (e.code == E_OK)
        log_info("directory.hash-replaced", LF_U64("account", seen->account));
    else
        log_warn("directory.hash-not-replaced", LF_U64("account", seen->account), LF_ERR(e));
}

struct err directory_authenticate(struct directory *d, struct str user, struct str password,
                                  struct principal *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct dir_address address;
    Thurn__AccountRecord *record = NULL;
    struct err e = find_user(d, user, &a, &address, &record);
    if (e.code != E_OK && e.code != E_NOTFOUND && e.code != E_INVALID)
        return e;
    if (e.code != E_OK || record->password.len == 0 || password.n == 0) {
        dir_password_pretend(d, password);
        return err_make(E_DENIED, e.code != E_OK ? "unknown user" : "no password");
    }
    struct str stored = dir_str(record->password);
    if (!dir_password_matches(d, stored, password))
        return err_make(E_DENIED, "wrong password");
    if (record->locked)
        return err_make(E_DENIED, "the account is locked");
    if (dir_password_is_foreign(stored) && !dir_settings(d).keep_imported)
        upgrade(d, &address, record, password);
    *out = (struct principal){.account = {record->account},
                              .credential_generation = record->credential_generation};
    return OK;
}

struct err directory_may_go_on(struct directory *d, const struct principal *p)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct dir_address address;
    Thurn__AccountRecord *record;
    struct kept_snap s;
    TRY(dir_read_begin(d, &s));
    struct err e = dir_get_account_by_id(s.snap, p->account, &a, &address, &record);
    dir_read_end(d, s);
    TRY(e);
    if (record->locked)
        return err_make(E_DENIED, "the account is locked");
    if (record->credential_generation != p->credential_generation)
        return err_make(E_DENIED, "the account was logged out everywhere, or has a new password");
    return OK;
}
