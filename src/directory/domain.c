/* Domains and their other names. */
#include "directory/private.h"

struct err directory_domains(struct directory *d, struct arena *a, Thurn__Domain ***out,
                             size_t *out_n)
{
    return dir_list(d, &thurn__domain__descriptor, STR("d"), (struct str){NULL, 0}, SIZE_MAX, a,
                    out, out_n);
}

struct err directory_domain_is_ours(struct directory *d, struct str name)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct dir_domain domain;
    Thurn__Domain *record;
    if (dir_domain_of(name, &domain).code)
        return err_make(E_NOTFOUND, "no such domain"); /* an address literal, for one */
    struct kept_snap s;
    TRY(dir_read_begin(d, &s));
    struct err e = dir_get_domain(s.snap, &domain, &a, &record);
    dir_read_end(d, s);
    return e;
}

static struct err domain_new(struct dir_change *c, const struct dir_domain *domain,
                             Thurn__Domain *record)
{
    Thurn__Domain *there;
    struct err e = dir_get_domain(c->snap, domain, &c->arena, &there);
    if (e.code == E_OK)
        return err_make(E_EXISTS, "there is such a domain already");
    if (e.code != E_NOTFOUND)
        return e;
    record->name = dir_bytes(str_of(domain->b, domain->n));
    record->created = clock_wall_s();
    struct dir_key key = dir_key_domain(domain);
    return dir_put(c, &key, &record->base);
}

struct err directory_domain_add(struct directory *d, struct str name, struct str language)
{
    struct dir_domain domain;
    struct str kept = language;
    TRY(dir_domain_of(name, &domain));
    if (language.n)
        TRY(dir_language(language, &kept));
    Thurn__Domain record = THURN__DOMAIN__INIT;
    record.language = dir_bytes(kept);
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, domain_new(&c, &domain, &record));
}

static struct err domain_alias(struct dir_change *c, const struct dir_domain *name,
                               const struct dir_domain *of)
{
    Thurn__Domain *target, record = THURN__DOMAIN__INIT;
    TRY(dir_get_domain(c->snap, of, &c->arena, &target));
    if (target->alias_of.len)
        return err_make(E_CONFLICT, "that domain is only another name itself; name the domain "
                                    "that has the accounts");
    record.alias_of = target->name;
    return domain_new(c, name, &record);
}

struct err directory_domain_alias(struct directory *d, struct str name, struct str of)
{
    struct dir_domain alias, target;
    TRY(dir_domain_of(name, &alias));
    TRY(dir_domain_of(of, &target));
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, domain_alias(&c, &alias, &target));
}

/* Whether a domain is another name of this one: the domains are few beside the accounts. */
struct other_names {
    struct str of;
    bool found;
    struct err e;
};

static bool other_name(struct str key, struct str value, void *arg)
{
    (void)key;
    struct other_names *o = arg;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    Thurn__Domain *record;
    o->e = dir_record_unpack(&a, &thurn__domain__descriptor, value, &record);
    o->found = o->e.code == E_OK && str_eq(dir_str(record->alias_of), o->of);
    return o->e.code == E_OK && !o->found;
}

static struct err domain_remove(struct dir_change *c, const struct dir_domain *domain)
{
    Thurn__Domain *record;
    bool accounts, aliases;
    TRY(dir_get_domain(c->snap, domain, &c->arena, &record));
    struct dir_key key = dir_key_accounts(domain);
    TRY(dir_any(c->snap, &key, &accounts));
    key = dir_key_aliases(domain);
    TRY(dir_any(c->snap, &key, &aliases));
    if (accounts || aliases)
        return err_make(E_CONFLICT, accounts ? "the domain still has accounts"
                                             : "the domain still has aliases");
    struct other_names o = {.of = str_of(domain->b, domain->n)};
    TRY(snap_scan(c->snap, STR("d"), (struct str){NULL, 0}, other_name, &o));
    TRY(o.e);
    if (o.found)
        return err_make(E_CONFLICT, "the domain still has other names: remove those first");
    key = dir_key_domain(domain);
    return txn_delete(c->txn, dir_key_str(&key));
}

struct err directory_domain_remove(struct directory *d, struct str name)
{
    struct dir_domain domain;
    TRY(dir_domain_of(name, &domain));
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, domain_remove(&c, &domain));
}

static struct err catch_all_change(struct dir_change *c, uint8_t separator, struct str address,
                                   Thurn__Domain *record)
{
    struct dir_address to;
    uint8_t text[ADDRESS_MAX];
    record->catch_all = dir_bytes((struct str){NULL, 0});
    if (!address.n)
        return OK;
    TRY(dir_address_parse(address, &to));
    TRY(dir_reaches(c->snap, separator, &to, NULL));
    struct str kept = str_dup(&c->arena, dir_address_text(&to, text));
    record->catch_all = dir_bytes(kept);
    return kept.p ? OK : err_make(E_LIMIT, "no memory for an address");
}

static struct err domain_change(struct dir_change *c, uint8_t separator,
                                const struct dir_domain *domain, const struct directory_change *to)
{
    Thurn__Domain *record;
    TRY(dir_get_domain(c->snap, domain, &c->arena, &record));
    if (record->alias_of.len)
        return err_make(E_CONFLICT, "the domain is only another name; set it at the domain that "
                                    "has the accounts");
    if (to->set & DIRECTORY_LANGUAGE) {
        struct str language = to->language;
        if (language.n)
            TRY(dir_language(to->language, &language));
        record->language = dir_bytes(language);
    }
    if (to->set & DIRECTORY_CATCH_ALL)
        TRY(catch_all_change(c, separator, to->catch_all, record));
    record->quota = dir_quota_change(record->quota, to, &c->arena);
    struct dir_key key = dir_key_domain(domain);
    return dir_put(c, &key, &record->base);
}

struct err directory_domain_change(struct directory *d, struct str name,
                                   const struct directory_change *to)
{
    struct dir_domain domain;
    TRY(dir_domain_of(name, &domain));
    struct directory_settings settings = dir_settings(d);
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, domain_change(&c, settings.separator, &domain, to));
}
