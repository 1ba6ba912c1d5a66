#include "directory/private.h"

static bool label_ok(struct str label)
{
    if (label.n < 1 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!byte_is_alpha(label.p[i]) && !byte_is_digit(label.p[i]) && label.p[i] != '-')
            return false;
    return true;
}

struct err dir_domain_of(struct str name, struct dir_domain *out)
{
    if (name.n == 0)
        return err_make(E_INVALID, "the domain is missing");
    if (name.n > DOMAIN_MAX)
        return err_make(E_INVALID, "a domain has at most 253 characters");
    for (size_t at = 0; at <= name.n;) {
        size_t dot = str_find_byte(name, '.', at);
        if (!label_ok(str_sub(name, at, dot)))
            return err_make(E_INVALID, "a domain is made of letters, digits and '-', in parts of 1 "
                                       "to 63 characters (others as A-labels: xn--...)");
        at = dot + 1;
    }
    for (size_t i = 0; i < name.n; i++)
        out->b[i] = byte_lower(name.p[i]);
    out->n = name.n;
    return OK;
}

struct err dir_address_of(struct str local, struct str domain, struct dir_address *out)
{
    if (local.n == 0)
        return err_make(E_INVALID, "the part before the '@' is missing");
    if (local.n > LOCAL_MAX)
        return err_make(E_INVALID, "the part before the '@' has at most 64 characters");
    for (size_t i = 0; i < local.n; i++)
        if (local.p[i] < ' ' || local.p[i] == 0x7F)
            return err_make(E_INVALID, "an address holds no control characters");
    if (!str_is_utf8(local))
        return err_make(E_INVALID, "an address is UTF-8");
    TRY(dir_domain_of(domain, &out->domain));
    for (size_t i = 0; i < local.n; i++)
        out->local[i] = byte_lower(local.p[i]);
    out->local_n = local.n;
    return OK;
}

struct str dir_address_text(const struct dir_address *a, uint8_t out[ADDRESS_MAX])
{
    memcpy(out, a->local, a->local_n);
    out[a->local_n] = '@';
    memcpy(out + a->local_n + 1, a->domain.b, a->domain.n);
    return str_of(out, a->local_n + 1 + a->domain.n);
}

struct err dir_address_parse(struct str address, struct dir_address *out)
{
    size_t at = address.n;
    while (at > 0 && address.p[at - 1] != '@')
        at--;
    if (at == 0)
        return err_make(E_INVALID, "an address looks like name@example.org");
    return dir_address_of(str_sub(address, 0, at - 1), str_skip(address, at), out);
}
