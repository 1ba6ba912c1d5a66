/* The command line's changes of the directory. */
#include "base/base.h"

#include "roles/backend/admin_request.h"

_Static_assert(THURN__ADMIN_SET__ADMIN_SET_LANGUAGE == (int)DIRECTORY_LANGUAGE &&
                   THURN__ADMIN_SET__ADMIN_SET_CATCH_ALL == (int)DIRECTORY_CATCH_ALL &&
                   THURN__ADMIN_SET__ADMIN_SET_QUOTA == (int)DIRECTORY_QUOTA_BYTES &&
                   THURN__ADMIN_SET__ADMIN_SET_QUOTA_MESSAGES == (int)DIRECTORY_QUOTA_MESSAGES,
               "the directory takes the bits as they come");

typedef struct err change_fn(struct admin *a, const void *message);

static struct err domain_add(struct admin *a, const void *message)
{
    const Thurn__AdminDomainAdd *m = message;
    return directory_domain_add(a->b->directory, pb_str(m->name), pb_str(m->language));
}

static struct err domain_alias(struct admin *a, const void *message)
{
    const Thurn__AdminDomainAlias *m = message;
    return directory_domain_alias(a->b->directory, pb_str(m->name), pb_str(m->of));
}

static struct err domain_set(struct admin *a, const void *message)
{
    const Thurn__AdminDomainSet *m = message;
    const struct directory_change c = {.set = m->set,
                                       .language = pb_str(m->language),
                                       .catch_all = pb_str(m->catch_all),
                                       .quota_bytes = m->quota,
                                       .quota_messages = m->quota_messages};
    return directory_domain_change(a->b->directory, pb_str(m->name), &c);
}

static struct err domain_remove(struct admin *a, const void *message)
{
    const Thurn__AdminDomainRemove *m = message;
    return directory_domain_remove(a->b->directory, pb_str(m->name));
}

static struct err account_add(struct admin *a, const void *message)
{
    const Thurn__AdminAccountAdd *m = message;
    const struct directory_password p = {pb_str(m->password), m->is_hash};
    return directory_account_add(a->b->directory, pb_str(m->address), p, &a->account);
}

/* `next` if it was done. */
static struct err and_then(struct admin *a, struct err e, enum admin_next next)
{
    if (!e.code)
        a->next = next;
    return e;
}

static struct err account_remove(struct admin *a, const void *message)
{
    const Thurn__AdminAccountRemove *m = message;
    struct err e = directory_account_detach(a->b->directory, pb_str(m->address), &a->account);
    return and_then(a, e, ADMIN_ERASE);
}

static struct err account_password(struct admin *a, const void *message)
{
    const Thurn__AdminAccountPassword *m = message;
    const struct directory_password p = {pb_str(m->password), m->is_hash};
    struct err e = directory_account_password(a->b->directory, pb_str(m->address), p, &a->account);
    return and_then(a, e, ADMIN_DROP);
}

static struct err account_set(struct admin *a, const void *message)
{
    const Thurn__AdminAccountSet *m = message;
    const struct directory_change c = {
        .set = m->set, .quota_bytes = m->quota, .quota_messages = m->quota_messages};
    return directory_account_change(a->b->directory, pb_str(m->address), &c);
}

static struct err account_lock(struct admin *a, const void *message)
{
    const Thurn__AdminAccountLock *m = message;
    if (m->refuse_mail > THURN__REFUSE_MAIL__REFUSE_FOR_GOOD)
        return err_make(E_INVALID, "there is no such way to refuse mail");
    struct err e = directory_account_lock(a->b->directory, pb_str(m->address), pb_str(m->reason),
                                          (Thurn__RefuseMail)m->refuse_mail, &a->account);
    return and_then(a, e, ADMIN_DROP);
}

static struct err account_unlock(struct admin *a, const void *message)
{
    const Thurn__AdminAccountUnlock *m = message;
    return directory_account_unlock(a->b->directory, pb_str(m->address));
}

static struct err account_logout(struct admin *a, const void *message)
{
    const Thurn__AdminAccountLogout *m = message;
    struct err e = directory_account_logout(a->b->directory, pb_str(m->address), &a->account);
    return and_then(a, e, ADMIN_DROP);
}

typedef struct err alias_fn(struct directory *d, struct str address, const struct str *targets,
                            size_t n);

static struct err alias_change(struct admin *a, alias_fn *change, ProtobufCBinaryData address,
                               const ProtobufCBinaryData *targets, size_t n)
{
    struct str slices[DIRECTORY_TARGETS];
    if (n > DIRECTORY_TARGETS)
        return err_make(E_LIMIT, "an alias has at most 256 targets");
    for (size_t i = 0; i < n; i++)
        slices[i] = pb_str(targets[i]);
    return change(a->b->directory, pb_str(address), slices, n);
}

static struct err alias_add(struct admin *a, const void *message)
{
    const Thurn__AdminAliasAdd *m = message;
    return alias_change(a, directory_alias_add, m->address, m->targets, m->n_targets);
}

static struct err alias_remove(struct admin *a, const void *message)
{
    const Thurn__AdminAliasRemove *m = message;
    return alias_change(a, directory_alias_remove, m->address, m->targets, m->n_targets);
}

static const struct {
    uint16_t frame;
    change_fn *change;
} changes[] = {
    {RPC_ADMIN_DOMAIN_ADD, domain_add},
    {RPC_ADMIN_DOMAIN_REMOVE, domain_remove},
    {RPC_ADMIN_DOMAIN_ALIAS, domain_alias},
    {RPC_ADMIN_DOMAIN_SET, domain_set},
    {RPC_ADMIN_ACCOUNT_ADD, account_add},
    {RPC_ADMIN_ACCOUNT_REMOVE, account_remove},
    {RPC_ADMIN_ACCOUNT_PASSWORD, account_password},
    {RPC_ADMIN_ACCOUNT_SET, account_set},
    {RPC_ADMIN_ACCOUNT_LOCK, account_lock},
    {RPC_ADMIN_ACCOUNT_UNLOCK, account_unlock},
    {RPC_ADMIN_ACCOUNT_LOGOUT, account_logout},
    {RPC_ADMIN_ALIAS_ADD, alias_add},
    {RPC_ADMIN_ALIAS_REMOVE, alias_remove},
};

struct err admin_change(struct admin *a)
{
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        if (changes[i].frame == a->f->type->number)
            return changes[i].change(a, a->f->message);
    return err_make(E_UNSUPPORTED, "no such request");
}
