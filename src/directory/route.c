/* From an address to accounts: directory.h has the order of look-ups. */
#include "directory/private.h"

enum { DEPTH = 8 }; /* aliases that lead to aliases */

struct routing {
    struct snap *snap;
    uint8_t separator;
    struct arena *a;
    const struct dir_address *not_through;     /* NULL: anything */
    const struct directory_settings *settings; /* NULL: only whether there is an account */
    struct directory_target *targets;
    size_t n;
    size_t looked_up, most;
};

/* -- quota -- */

static uint64_t quota_of(uint64_t own, uint64_t domain, uint64_t server)
{
    uint64_t q = own ? own : domain ? domain : server;
    return q == DIRECTORY_UNLIMITED ? 0 : q;
}

struct err dir_quota(struct snap *s, const struct directory_settings *settings,
                     const Thurn__AccountRecord *record, const struct dir_domain *domain,
                     struct arena *a, struct directory_quota *out)
{
    static const Thurn__Quota none = THURN__QUOTA__INIT;
    const Thurn__Quota *own = record->quota ? record->quota : &none, *of_domain = &none;
    Thurn__Domain *d;
    if (!own->bytes || !own->messages) {
        TRY(dir_get_domain(s, domain, a, &d));
        of_domain = d->quota ? d->quota : &none;
    }
    out->bytes = quota_of(own->bytes, of_domain->bytes, settings->quota_bytes);
    out->messages = quota_of(own->messages, of_domain->messages, settings->quota_messages);
    return OK;
}

Thurn__Quota *dir_quota_change(Thurn__Quota *was, const struct directory_change *c, struct arena *a)
{
    Thurn__Quota *q = was;
    if (!(c->set & (DIRECTORY_QUOTA_BYTES | DIRECTORY_QUOTA_MESSAGES)))
        return was;
    if (!q) {
        q = arena_new(a, Thurn__Quota);
        check(q != NULL); /* of a budget that has room for every record */
        *q = (Thurn__Quota)THURN__QUOTA__INIT;
    }
    if (c->set & DIRECTORY_QUOTA_BYTES)
        q->bytes = c->quota_bytes;
    if (c->set & DIRECTORY_QUOTA_MESSAGES)
        q->messages = c->quota_messages;
    return q;
}

struct err directory_quota(struct directory *d, account_id id, struct directory_quota *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct directory_settings settings = dir_settings(d);
    struct dir_address address;
    Thurn__AccountRecord *record;
    struct kept_snap s;
    TRY(dir_read_begin(d, &s));
    struct err e = dir_get_account_by_id(s.snap, id, &a, &address, &record);
    if (e.code == E_OK)
        e = dir_quota(s.snap, &settings, record, &address.domain, &a, out);
    dir_read_end(d, s);
    return e;
}

/* -- targets -- */

static struct err target_add(struct routing *r, const struct dir_domain *domain,
                             const Thurn__AccountRecord *record, struct str detail)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->targets[i].account.v == record->account)
            return OK; /* it gets the message once */
    if (r->n == DIRECTORY_TARGETS)
        return err_make(E_LIMIT, "the address stands for too many accounts");
    struct directory_target *t = &r->targets[r->n];
    *t = (struct directory_target){
        .account = {record->account}, .address = dir_str(record->address), .detail = detail};
    if (record->locked)
        t->refuse = record->refuse_mail;
    if (r->settings)
        TRY(dir_quota(r->snap, r->settings, record, domain, r->a, &t->quota));
    r->n++;
    return OK;
}

static bool address_eq(const struct dir_address *a, const struct dir_address *b)
{
    return str_eq(str_of(a->local, a->local_n), str_of(b->local, b->local_n)) &&
           str_eq(str_of(a->domain.b, a->domain.n), str_of(b->domain.b, b->domain.n));
}

static struct err find_local(struct routing *r, const struct dir_address *address,
                             struct str spelled, struct str detail, unsigned depth);

/* What an alias stands for. Targets that lead nowhere any more are passed over. */
static struct err alias_follow(struct routing *r, const Thurn__Alias *alias, struct str detail,
                               unsigned depth)
{
    bool found = false;
    if (depth == DEPTH)
        return err_make(E_LIMIT, "the address leads through too many aliases");
    for (size_t i = 0; i < alias->n_targets; i++) {
        struct dir_address to;
        TRY(dir_address_parse(dir_str(alias->targets[i]), &to));
        struct str text = dir_str(alias->targets[i]);
        struct err e = find_local(r, &to, str_sub(text, 0, to.local_n), detail, depth + 1);
        if (e.code != E_NOTFOUND)
            TRY(e);
        found = found || e.code == E_OK;
    }
    return found ? OK : err_make(E_NOTFOUND, "no such user");
}

/* An account or an alias of exactly this address. */
static struct err find_exact(struct routing *r, const struct dir_address *address,
                             struct str detail, unsigned depth)
{
    Thurn__AccountRecord *record;
    Thurn__Alias *alias;
    if (++r->looked_up > DIRECTORY_LOOK_UPS)
        return err_make(E_LIMIT, "the address leads to too many others");
    if (r->looked_up > r->most)
        return err_make(E_AGAIN, "the address leads to many others");
    if (r->not_through && address_eq(address, r->not_through))
        return err_make(E_CONFLICT, "the alias would lead to itself");
    struct err e = dir_get_account(r->snap, address, r->a, &record);
    if (e.code == E_OK)
        return target_add(r, &address->domain, record, detail);
    if (e.code != E_NOTFOUND)
        return e;
    TRY(dir_get_alias(r->snap, address, r->a, &alias));
    return alias_follow(r, alias, detail, depth);
}

/* The same, or else for the part before the separator. */
static struct err find_at(struct routing *r, const struct dir_address *address, struct str spelled,
                          struct str detail, unsigned depth)
{
    struct err e = find_exact(r, address, detail, depth);
    struct str local = str_of(address->local, address->local_n);
    size_t at = r->separator ? str_find_byte(local, r->separator, 0) : local.n;
    if (e.code != E_NOTFOUND || at == 0 || at == local.n)
        return e;
    struct dir_address base = *address;
    base.local_n = at;
    return find_exact(r, &base, str_skip(spelled, at + 1), depth);
}

/* At the domain, or the one that it is another name of. `spelled` is the local part in its own
 * case of letters, for the detail. */
static struct err find_local(struct routing *r, const struct dir_address *address,
                             struct str spelled, struct str detail, unsigned depth)
{
    Thurn__Domain *domain;
    struct err e = find_at(r, address, spelled, detail, depth);
    if (e.code != E_NOTFOUND)
        return e;
    TRY(dir_get_domain(r->snap, &address->domain, r->a, &domain));
    if (!domain->alias_of.len)
        return err_make(E_NOTFOUND, "no such user");
    struct dir_address there = *address;
    TRY(dir_domain_of(dir_str(domain->alias_of), &there.domain));
    e = find_at(r, &there, spelled, detail, depth);
    return e.code == E_NOTFOUND ? err_make(E_NOTFOUND, "no such user") : e;
}

/* The catch-all of the domain, or of the one that it is another name of. */
static struct err find_catch_all(struct routing *r, const struct dir_domain *name)
{
    Thurn__Domain *domain;
    struct dir_domain of;
    struct dir_address to;
    TRY(dir_get_domain(r->snap, name, r->a, &domain));
    if (domain->alias_of.len) {
        TRY(dir_domain_of(dir_str(domain->alias_of), &of));
        TRY(dir_get_domain(r->snap, &of, r->a, &domain));
    }
    if (!domain->catch_all.len)
        return err_make(E_NOTFOUND, "no such user");
    TRY(dir_address_parse(dir_str(domain->catch_all), &to));
    return find_local(r, &to, str_of(to.local, to.local_n), (struct str){NULL, 0}, 0);
}

static struct err routing_begin(struct routing *r)
{
    r->targets = arena_array(r->a, struct directory_target, DIRECTORY_TARGETS);
    return r->targets ? OK : err_make(E_LIMIT, "no memory for an address");
}

struct err directory_route(struct directory *d, struct str local, struct str domain, size_t most,
                           struct arena *a, struct directory_route *out)
{
    struct dir_address address;
    struct directory_settings settings = dir_settings(d);
    struct routing r = {
        .separator = settings.separator, .settings = &settings, .a = a, .most = most};
    TRY(dir_address_of(local, domain, &address));
    TRY(routing_begin(&r));
    struct kept_snap s;
    TRY(dir_read_begin(d, &s));
    r.snap = s.snap;
    struct err e = find_local(&r, &address, local, (struct str){NULL, 0}, 0);
    if (e.code == E_NOTFOUND)
        e = find_catch_all(&r, &address.domain);
    dir_read_end(d, s);
    TRY(e);
    *out = (struct directory_route){r.targets, r.n};
    return OK;
}

struct err dir_reaches(struct snap *s, uint8_t separator, const struct dir_address *address,
                       const struct dir_address *not_through)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, (size_t)4 * RECORD_BUDGET);
    struct routing r = {.snap = s,
                        .separator = separator,
                        .a = &a,
                        .not_through = not_through,
                        .most = DIRECTORY_LOOK_UPS};
    TRY(routing_begin(&r));
    struct str local = str_of(address->local, address->local_n);
    return find_local(&r, address, local, (struct str){NULL, 0}, 0);
}
