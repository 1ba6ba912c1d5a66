/* Addresses that stand for others. */
#include "directory/private.h"

struct err directory_aliases(struct directory *d, struct str domain, struct str after, size_t max,
                             struct arena *a, Thurn__Alias ***out, size_t *out_n)
{
    return dir_list_addresses(d, &thurn__alias__descriptor, dir_key_aliases, dir_key_alias, domain,
                              after, max, a, out, out_n);
}

/* Where in the alias a target is; n_targets: it is not. */
static size_t target_at(const Thurn__Alias *alias, struct str target)
{
    size_t i = 0;
    while (i < alias->n_targets && !str_eq(dir_str(alias->targets[i]), target))
        i++;
    return i;
}

/* A target as it is kept; checked for what it leads to. */
static struct err target_check(struct dir_change *c, uint8_t separator,
                               const struct dir_address *alias, struct str target, struct str *out)
{
    struct dir_address to;
    uint8_t text[ADDRESS_MAX];
    Thurn__Domain *domain;
    TRY(dir_address_parse(target, &to));
    struct err e = dir_get_domain(c->snap, &to.domain, &c->arena, &domain);
    if (e.code == E_NOTFOUND)
        return err_make(E_UNSUPPORTED, "a target is an address of this server: mail cannot be sent "
                                       "to other servers yet");
    TRY(e);
    e = dir_reaches(c->snap, separator, &to, alias);
    if (e.code == E_NOTFOUND)
        return err_make(E_NOTFOUND, "there is no account at the target");
    TRY(e);
    *out = str_dup(&c->arena, dir_address_text(&to, text));
    return out->p ? OK : err_make(E_LIMIT, "no memory for an alias");
}

/* The alias as it is, or an empty one, with room for `more` targets. */
static struct err alias_open(struct dir_change *c, const struct dir_address *address, size_t more,
                             Thurn__Alias **out)
{
    uint8_t text[ADDRESS_MAX];
    Thurn__AccountRecord *account;
    Thurn__Alias *alias;
    struct err e = dir_get_account(c->snap, address, &c->arena, &account);
    if (e.code == E_OK)
        return err_make(E_EXISTS, "there is an account of this address");
    if (e.code != E_NOTFOUND)
        return e;
    e = dir_get_alias(c->snap, address, &c->arena, &alias);
    if (e.code == E_NOTFOUND) {
        alias = arena_new(&c->arena, Thurn__Alias);
        if (!alias)
            return err_make(E_LIMIT, "no memory for an alias");
        *alias = (Thurn__Alias)THURN__ALIAS__INIT;
        alias->address = dir_bytes(str_dup(&c->arena, dir_address_text(address, text)));
        alias->created = clock_wall_s();
    } else {
        TRY(e);
    }
    ProtobufCBinaryData *wider =
        arena_array(&c->arena, ProtobufCBinaryData, alias->n_targets + more);
    if (!wider || !alias->address.data)
        return err_make(E_LIMIT, "no memory for an alias");
    if (alias->n_targets)
        memcpy(wider, alias->targets, alias->n_targets * sizeof *wider);
    alias->targets = wider;
    *out = alias;
    return OK;
}

static struct err alias_add(struct dir_change *c, uint8_t separator,
                            const struct dir_address *address, const struct str *targets, size_t n)
{
    Thurn__Domain *domain;
    Thurn__Alias *alias;
    TRY(dir_get_domain(c->snap, &address->domain, &c->arena, &domain));
    if (domain->alias_of.len)
        return err_make(E_CONFLICT, "the domain is only another name; make the alias at the domain "
                                    "itself");
    TRY(alias_open(c, address, n, &alias));
    size_t before = alias->n_targets;
    for (size_t i = 0; i < n; i++) {
        struct str kept;
        TRY(target_check(c, separator, address, targets[i], &kept));
        if (target_at(alias, kept) == alias->n_targets)
            alias->targets[alias->n_targets++] = dir_bytes(kept);
    }
    if (alias->n_targets == before)
        return err_make(E_EXISTS, "the alias leads there already");
    if (alias->n_targets > DIRECTORY_TARGETS)
        return err_make(E_LIMIT, "an alias has at most 256 targets");
    struct dir_key key = dir_key_alias(address);
    return dir_put(c, &key, &alias->base);
}

struct err directory_alias_add(struct directory *d, struct str address, const struct str *targets,
                               size_t n)
{
    struct dir_address name;
    TRY(dir_address_parse(address, &name));
    if (n == 0 || n > DIRECTORY_TARGETS)
        return err_make(E_INVALID, "an alias has 1 to 256 targets");
    uint8_t separator = dir_settings(d).separator;
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, alias_add(&c, separator, &name, targets, n));
}

static struct err target_remove(Thurn__Alias *alias, struct str target)
{
    struct dir_address to;
    uint8_t text[ADDRESS_MAX];
    TRY(dir_address_parse(target, &to));
    size_t at = target_at(alias, dir_address_text(&to, text));
    if (at == alias->n_targets)
        return err_make(E_NOTFOUND, "the alias does not lead there");
    alias->n_targets--;
    memmove(alias->targets + at, alias->targets + at + 1,
            (alias->n_targets - at) * sizeof *alias->targets);
    return OK;
}

static struct err alias_remove(struct dir_change *c, const struct dir_address *address,
                               const struct str *targets, size_t n)
{
    Thurn__Alias *alias;
    struct dir_key key = dir_key_alias(address);
    TRY(dir_get_alias(c->snap, address, &c->arena, &alias));
    for (size_t i = 0; i < n; i++)
        TRY(target_remove(alias, targets[i]));
    if (n == 0 || alias->n_targets == 0)
        return txn_delete(c->txn, dir_key_str(&key));
    return dir_put(c, &key, &alias->base);
}

struct err directory_alias_remove(struct directory *d, struct str address,
                                  const struct str *targets, size_t n)
{
    struct dir_address name;
    TRY(dir_address_parse(address, &name));
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    return dir_change_end(d, &c, alias_remove(&c, &name, targets, n));
}
