/* Where the mail of an address goes. */
#include "rig.h"

static const struct str none = {NULL, 0};

/* The accounts that an address leads to, by their addresses and details: "alice@a.test+lists". */
static void leads_to(struct rig *r, const char *local, const char *domain, const char *want)
{
    struct arena a CLEANUP(arena_free);
    struct buf got CLEANUP(buf_free) = {0};
    arena_init(&a, 1 << 22);
    struct directory_route to;
    struct err e = directory_route(r->d, str_c(local), str_c(domain), DIRECTORY_LOOK_UPS, &a, &to);
    if (e.code)
        buf_printf(&got, "%s", e.why);
    for (size_t i = 0; !e.code && i < to.n; i++) {
        buf_printf(&got, "%s%.*s", i ? " " : "", STR_FMT(to.targets[i].address));
        if (to.targets[i].detail.n)
            buf_printf(&got, "+%.*s", STR_FMT(to.targets[i].detail));
    }
    buf_byte(&got, 0);
    assert_string_equal((const char *)got.p, want);
}

static struct err alias(struct rig *r, const char *address, const char *target)
{
    struct str to = str_c(target);
    return directory_alias_add(r->d, str_c(address), &to, 1);
}

static void aliased(struct rig *r, const char *address, const char *target)
{
    struct err e = alias(r, address, target);
    if (e.code)
        fail_msg("%s -> %s: %s", address, target, e.why);
}

static void begin(struct rig *r)
{
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    (void)add(r, STR("alice@a.test"));
    (void)add(r, STR("bob@a.test"));
}

static void an_alias_leads_to_each_account_once(void **state)
{
    struct rig *r = *state;
    begin(r);
    aliased(r, "sales@a.test", "alice@a.test");
    aliased(r, "sales@a.test", "bob@a.test");
    aliased(r, "Info@A.test", "sales@a.test");
    aliased(r, "info@a.test", "bob@a.test");
    leads_to(r, "INFO", "a.test", "alice@a.test bob@a.test");
    assert_int_equal(alias(r, "info@a.test", "bob@a.test").code, E_EXISTS);
    const struct str bob = STR("bob@a.test");
    assert_int_equal(directory_alias_remove(r->d, STR("sales@a.test"), &bob, 1).code, E_OK);
    assert_int_equal(directory_alias_remove(r->d, STR("sales@a.test"), &bob, 1).code, E_NOTFOUND);
    leads_to(r, "sales", "a.test", "alice@a.test");
    assert_int_equal(directory_alias_remove(r->d, STR("info@a.test"), &none, 0).code, E_OK);
    leads_to(r, "info", "a.test", "no such user");
    assert_int_equal(directory_alias_remove(r->d, STR("info@a.test"), &none, 0).code, E_NOTFOUND);
}

static void an_alias_that_leads_nowhere_or_to_itself_is_refused(void **state)
{
    struct rig *r = *state;
    begin(r);
    assert_int_equal(alias(r, "x@a.test", "nobody@a.test").code, E_NOTFOUND);
    assert_int_equal(alias(r, "x@elsewhere.test", "alice@a.test").code, E_NOTFOUND);
    struct err e = alias(r, "x@a.test", "somebody@elsewhere.test");
    assert_int_equal(e.code, E_UNSUPPORTED);
    assert_non_null(strstr(e.why, "other servers"));
    assert_int_equal(alias(r, "alice@a.test", "bob@a.test").code, E_EXISTS);
    aliased(r, "one@a.test", "alice@a.test");
    aliased(r, "two@a.test", "one@a.test");
    aliased(r, "three@a.test", "two+detail@a.test");
    assert_int_equal(alias(r, "one@a.test", "one@a.test").code, E_CONFLICT);
    assert_int_equal(alias(r, "one@a.test", "three@a.test").code, E_CONFLICT);
    assert_int_equal(alias(r, "one@a.test", "three+again@a.test").code, E_CONFLICT);
    account_id id;
    assert_int_equal(directory_account_add(r->d, STR("one@a.test"), secret, &id).code, E_EXISTS);
    leads_to(r, "three", "a.test", "alice@a.test+detail");
}

static void aliases_of_aliases_come_to_an_end(void **state)
{
    struct rig *r = *state;
    begin(r);
    aliased(r, "n0@a.test", "alice@a.test");
    char from[32], to[32];
    struct err e = OK;
    for (unsigned i = 1; i < 20 && !e.code; i++) {
        (void)snprintf(from, sizeof from, "n%u@a.test", i);
        (void)snprintf(to, sizeof to, "n%u@a.test", i - 1);
        e = alias(r, from, to);
    }
    assert_int_equal(e.code, E_LIMIT);
    leads_to(r, "n5", "a.test", "alice@a.test");
}

static void an_alias_outlives_its_accounts_but_leads_nowhere_then(void **state)
{
    struct rig *r = *state;
    begin(r);
    aliased(r, "both@a.test", "alice@a.test");
    aliased(r, "both@a.test", "bob@a.test");
    assert_int_equal(directory_account_remove(r->d, STR("alice@a.test")).code, E_OK);
    leads_to(r, "both", "a.test", "bob@a.test");
    assert_int_equal(directory_account_remove(r->d, STR("bob@a.test")).code, E_OK);
    leads_to(r, "both", "a.test", "no such user");
    assert_int_equal(directory_domain_remove(r->d, STR("a.test")).code, E_CONFLICT);
}

static void a_sub_address_is_its_account_with_a_detail(void **state)
{
    struct rig *r = *state;
    begin(r);
    leads_to(r, "alice+Lists", "a.test", "alice@a.test+Lists");
    leads_to(r, "alice+a+b", "a.test", "alice@a.test+a+b");
    leads_to(r, "+alice", "a.test", "no such user");
    leads_to(r, "alice+", "a.test", "alice@a.test");
    (void)add(r, STR("alice+own@a.test"));
    leads_to(r, "alice+own", "a.test", "alice+own@a.test");
    aliased(r, "team@a.test", "alice@a.test");
    aliased(r, "team@a.test", "bob+teamwork@a.test");
    leads_to(r, "team+x", "a.test", "alice@a.test+x bob@a.test+teamwork");
    const struct directory_settings dash = {.separator = '-'}, off = {.separator = 0};
    directory_set(r->d, &dash);
    leads_to(r, "alice-x", "a.test", "alice@a.test+x");
    leads_to(r, "alice+x", "a.test", "no such user");
    directory_set(r->d, &off);
    leads_to(r, "alice-x", "a.test", "no such user");
}

static void another_name_of_a_domain_has_all_its_addresses(void **state)
{
    struct rig *r = *state;
    begin(r);
    aliased(r, "sales@a.test", "alice@a.test");
    assert_int_equal(directory_domain_alias(r->d, STR("b.test"), STR("nowhere.test")).code,
                     E_NOTFOUND);
    assert_int_equal(directory_domain_alias(r->d, STR("B.test"), STR("a.test")).code, E_OK);
    assert_int_equal(directory_domain_alias(r->d, STR("a.test"), STR("b.test")).code, E_CONFLICT);
    assert_int_equal(directory_domain_alias(r->d, STR("c.test"), STR("b.test")).code, E_CONFLICT);
    leads_to(r, "alice", "b.test", "alice@a.test");
    leads_to(r, "sales+x", "b.test", "alice@a.test+x");
    leads_to(r, "nobody", "b.test", "no such user");
    struct principal p;
    assert_int_equal(directory_authenticate(r->d, STR("alice@b.test"), STR("secret"), &p).code,
                     E_OK);
    account_id id;
    assert_int_equal(directory_account_add(r->d, STR("carol@b.test"), secret, &id).code,
                     E_CONFLICT);
    assert_int_equal(alias(r, "carol@b.test", "alice@a.test").code, E_CONFLICT);
    aliased(r, "carol@a.test", "alice@b.test");
    leads_to(r, "carol", "a.test", "alice@a.test");
    assert_int_equal(alias(r, "loop@a.test", "loop@b.test").code, E_CONFLICT);
    assert_int_equal(directory_domain_remove(r->d, STR("b.test")).code, E_OK);
    leads_to(r, "alice", "b.test", "no such domain");
}

static void a_catch_all_takes_what_nobody_else_takes(void **state)
{
    struct rig *r = *state;
    begin(r);
    struct directory_change c = {.set = DIRECTORY_CATCH_ALL, .catch_all = STR("nobody@a.test")};
    assert_int_equal(directory_domain_change(r->d, STR("a.test"), &c).code, E_NOTFOUND);
    c.catch_all = STR("Bob@a.test");
    assert_int_equal(directory_domain_change(r->d, STR("a.test"), &c).code, E_OK);
    assert_int_equal(directory_domain_alias(r->d, STR("b.test"), STR("a.test")).code, E_OK);
    leads_to(r, "anybody", "a.test", "bob@a.test");
    leads_to(r, "anybody", "b.test", "bob@a.test");
    leads_to(r, "alice", "a.test", "alice@a.test");
    leads_to(r, "alice+x", "a.test", "alice@a.test+x");
    /* It is no account, to which an alias could lead. */
    assert_int_equal(alias(r, "x@a.test", "anybody@a.test").code, E_NOTFOUND);
    c.catch_all = STR("");
    assert_int_equal(directory_domain_change(r->d, STR("a.test"), &c).code, E_OK);
    leads_to(r, "anybody", "a.test", "no such user");
}

static void an_alias_has_a_bounded_number_of_targets(void **state)
{
    struct rig *r = *state;
    begin(r);
    char text[DIRECTORY_TARGETS + 1][32];
    struct str targets[DIRECTORY_TARGETS + 1];
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        (void)snprintf(text[i], sizeof text[i], "alice+%zu@a.test", i);
        targets[i] = str_c(text[i]);
    }
    struct str all = STR("all@a.test");
    assert_int_equal(directory_alias_add(r->d, all, targets, DIRECTORY_TARGETS).code, E_OK);
    assert_int_equal(directory_alias_add(r->d, all, &targets[DIRECTORY_TARGETS], 1).code, E_LIMIT);
    leads_to(r, "all", "a.test", "alice@a.test+0");
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Alias **aliases;
    size_t n;
    assert_int_equal(directory_aliases(r->d, STR("a.test"), none, 9, &a, &aliases, &n).code, E_OK);
    assert_int_equal(n, 1);
    assert_int_equal(aliases[0]->n_targets, DIRECTORY_TARGETS);
}

int main(void)
{
    log_open("test", 0, LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_alias_leads_to_each_account_once),
        CASE(an_alias_that_leads_nowhere_or_to_itself_is_refused),
        CASE(aliases_of_aliases_come_to_an_end),
        CASE(an_alias_outlives_its_accounts_but_leads_nowhere_then),
        CASE(a_sub_address_is_its_account_with_a_detail),
        CASE(another_name_of_a_domain_has_all_its_addresses),
        CASE(a_catch_all_takes_what_nobody_else_takes),
        CASE(an_alias_has_a_bounded_number_of_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
