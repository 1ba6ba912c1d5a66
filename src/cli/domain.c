/* thurn domain ... */
#include "base/base.h"

#include "cli/admin.h"

static json_t *domain_json(const Thurn__AdminRow *r)
{
    return json_pack(
        "{s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "domain", cli_admin_json_text(r->name), "created",
        (json_int_t)r->created, "language", cli_admin_json_text(r->language), "alias_of",
        cli_admin_json_text(r->alias_of), "catch_all", cli_admin_json_text(r->catch_all), "quota",
        cli_admin_json_quota(r->quota), "quota_messages", cli_admin_json_quota(r->quota_messages));
}

static void domain_text(const Thurn__AdminRow *r)
{
    (void)printf("%.*s", STR_FMT(pb_str(r->name)));
    if (r->alias_of.len)
        (void)printf("  (is %.*s)", STR_FMT(pb_str(r->alias_of)));
    if (r->catch_all.len)
        (void)printf("  (all else to %.*s)", STR_FMT(pb_str(r->catch_all)));
    (void)printf("\n");
}

int cli_domain_add(struct cli *c)
{
    Thurn__AdminDomainAdd m = THURN__ADMIN_DOMAIN_ADD__INIT;
    m.name = pb_bytes(str_c(c->words[0]));
    m.language = pb_bytes(str_c(c->language));
    return cli_admin_change(c, RPC_ADMIN_DOMAIN_ADD, &m.base, "takes mail now.", pb_str(m.name));
}

int cli_domain_remove(struct cli *c)
{
    Thurn__AdminDomainRemove m = THURN__ADMIN_DOMAIN_REMOVE__INIT;
    m.name = pb_bytes(str_c(c->words[0]));
    return cli_admin_change(c, RPC_ADMIN_DOMAIN_REMOVE, &m.base, "is removed.", pb_str(m.name));
}

int cli_domain_list(struct cli *c)
{
    static const struct admin_view view = {.json = domain_json, .text = domain_text};
    Thurn__AdminDomainList m = THURN__ADMIN_DOMAIN_LIST__INIT;
    return cli_admin_ask(c, RPC_ADMIN_DOMAIN_LIST, &m.base, &view);
}

int cli_domain_alias(struct cli *c)
{
    Thurn__AdminDomainAlias m = THURN__ADMIN_DOMAIN_ALIAS__INIT;
    m.name = pb_bytes(str_c(c->words[0]));
    m.of = pb_bytes(str_c(c->words[1]));
    return cli_admin_change(c, RPC_ADMIN_DOMAIN_ALIAS, &m.base,
                            "is another name of that domain now.", pb_str(m.name));
}

int cli_domain_set(struct cli *c)
{
    Thurn__AdminDomainSet m = THURN__ADMIN_DOMAIN_SET__INIT;
    m.name = pb_bytes(str_c(c->words[0]));
    if (c->language) {
        m.set |= THURN__ADMIN_SET__ADMIN_SET_LANGUAGE;
        m.language = pb_bytes(str_c(c->language));
    }
    if (c->catch_all) {
        struct str to = str_c(c->catch_all);
        m.set |= THURN__ADMIN_SET__ADMIN_SET_CATCH_ALL;
        m.catch_all = pb_bytes(str_eq(to, STR("none")) ? STR("") : to);
    }
    if (!cli_admin_quotas(c, &m.set, &m.quota, &m.quota_messages))
        return CLI_USAGE;
    if (!m.set) {
        fprintf(stderr, "thurn: say what to set: --language, --catch-all, --quota or "
                        "--quota-messages\n");
        return CLI_USAGE;
    }
    return cli_admin_change(c, RPC_ADMIN_DOMAIN_SET, &m.base, "is changed.", pb_str(m.name));
}
