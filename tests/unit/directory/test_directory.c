#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>

#include "directory/directory.h"

struct rig {
    char dir[64];
    struct store *store;
    struct directory *d;
};

static void rig_open(struct rig *r)
{
    struct buf explain CLEANUP(buf_free) = {0};
    const struct store_options options = {.dir = str_c(r->dir)};
    struct err e = store_open(&options, &r->store, &explain);
    if (e.code)
        fail_msg("%s: %.*s", e.why, STR_FMT(buf_str(&explain)));
    const struct directory_options cheap = {.argon2_memory_kib = 64, .argon2_passes = 1};
    assert_int_equal(directory_open(r->store, &cheap, &r->d).code, E_OK);
}

static void rig_close(struct rig *r)
{
    directory_close(r->d);
    store_close(r->store);
}

static int setup(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    (void)snprintf(r->dir, sizeof r->dir, "/tmp/thurn-directory-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    rig_open(r);
    *state = r;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct rig *r = *state;
    rig_close(r);
    (void)nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(r);
    return 0;
}

static const struct directory_password secret = {STR_INIT("secret"), false};

static account_id add(struct rig *r, struct str address)
{
    account_id id = {0};
    struct err e = directory_account_add(r->d, address, secret, &id);
    if (e.code)
        fail_msg("%.*s: %s", STR_FMT(address), e.why);
    return id;
}

static enum errc login(struct rig *r, struct str user, struct str password)
{
    struct principal p;
    return directory_authenticate(r->d, user, password, &p).code;
}

static void accounts_get_mail_and_log_in_until_they_are_removed(void **state)
{
    struct rig *r = *state;
    account_id alice, bob, found = {0};
    assert_int_equal(directory_account_add(r->d, STR("alice@example.test"), secret, &alice).code,
                     E_NOTFOUND);
    assert_int_equal(directory_domain_add(r->d, STR("Example.TEST")).code, E_OK);
    assert_int_equal(directory_domain_add(r->d, STR("example.test")).code, E_EXISTS);
    alice = add(r, STR("Alice@example.test"));
    bob = add(r, STR("bob@EXAMPLE.test"));
    assert_int_not_equal(alice.v, bob.v);
    assert_true(alice.v > ACCOUNT_SYSTEM.v);

    assert_int_equal(directory_route(r->d, STR("aLICE"), STR("example.test"), &found).code, E_OK);
    assert_int_equal(found.v, alice.v);
    struct err e = directory_route(r->d, STR("carol"), STR("example.test"), &found);
    assert_int_equal(e.code, E_NOTFOUND);
    assert_string_equal(e.why, "no such user");
    e = directory_route(r->d, STR("alice"), STR("example.org"), &found);
    assert_int_equal(e.code, E_NOTFOUND);
    assert_string_equal(e.why, "no such domain");

    struct principal p;
    assert_int_equal(
        directory_authenticate(r->d, STR("alice@example.test"), STR("secret"), &p).code, E_OK);
    assert_int_equal(p.account.v, alice.v);
    assert_int_equal(p.credential_generation, 1);
    assert_int_equal(login(r, STR("BOB"), STR("secret")), E_OK); /* the only domain */
    assert_int_equal(login(r, STR("bob"), STR("Secret")), E_DENIED);
    assert_int_equal(login(r, STR("nobody"), STR("secret")), E_DENIED);
    assert_int_equal(login(r, STR("bob"), STR("")), E_DENIED);
    assert_int_equal(login(r, STR("@"), STR("secret")), E_DENIED);

    assert_int_equal(directory_domain_remove(r->d, STR("example.test")).code, E_CONFLICT);
    assert_int_equal(directory_account_remove(r->d, STR("alice@example.test")).code, E_OK);
    assert_int_equal(directory_account_remove(r->d, STR("alice@example.test")).code, E_NOTFOUND);
    assert_int_equal(login(r, STR("alice"), STR("secret")), E_DENIED);
    struct account *handle;
    assert_int_equal(account_open(r->store, alice, &handle).code, E_NOTFOUND);
    assert_int_equal(directory_account_remove(r->d, STR("bob@example.test")).code, E_OK);
    assert_int_equal(directory_domain_remove(r->d, STR("example.test")).code, E_OK);
    assert_int_equal(directory_domain_remove(r->d, STR("example.test")).code, E_NOTFOUND);
}

static void an_id_is_never_given_twice_even_after_a_restart(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("a.test")).code, E_OK);
    account_id first = add(r, STR("x@a.test"));
    assert_int_equal(directory_account_remove(r->d, STR("x@a.test")).code, E_OK);
    rig_close(r);
    rig_open(r);
    account_id second = add(r, STR("x@a.test"));
    assert_true(second.v > first.v);
}

static void a_removal_cut_short_is_finished_at_the_next_start(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("a.test")).code, E_OK);
    account_id id = add(r, STR("x@a.test")), detached;
    assert_int_equal(directory_account_detach(r->d, STR("x@a.test"), &detached).code, E_OK);
    assert_int_equal(detached.v, id.v);
    assert_int_equal(login(r, STR("x@a.test"), STR("secret")), E_DENIED);
    struct account *handle;
    assert_int_equal(account_open(r->store, id, &handle).code, E_OK); /* the mail is there still */
    account_close(handle);
    rig_close(r);
    rig_open(r);
    assert_int_equal(account_open(r->store, id, &handle).code, E_NOTFOUND);
}

static void every_password_scheme_works(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("a.test")).code, E_OK);
    (void)add(r, STR("x@a.test"));
    struct directory_password plain = {STR("{PLAIN}secret"), true};
    assert_int_equal(directory_account_password(r->d, STR("x@a.test"), plain).code, E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("secret")), E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("secret2")), E_DENIED);
    assert_int_equal(login(r, STR("x@a.test"), STR("")), E_DENIED);
    struct directory_password crypted = {
        STR("{CRYPT}$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9"), true};
    assert_int_equal(directory_account_password(r->d, STR("x@a.test"), crypted).code, E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("secret")), E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("wrong")), E_DENIED);
    assert_int_equal(directory_account_password(r->d, STR("x@a.test"), secret).code, E_OK);
    struct principal p;
    assert_int_equal(directory_authenticate(r->d, STR("x@a.test"), STR("secret"), &p).code, E_OK);
    assert_int_equal(p.credential_generation, 4);
    assert_int_equal(login(r, STR("x@a.test"), str_of("sec\0ret", 7)), E_DENIED);
}

static void a_crypt_hash_of_another_system_lets_its_user_in(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("a.test")).code, E_OK);
    /* The test vector of the SHA-crypt specification (U. Drepper). */
    const struct directory_password p = {
        STR("{CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJu"
            "esI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
        true};
    account_id id;
    assert_int_equal(directory_account_add(r->d, STR("x@a.test"), p, &id).code, E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("Hello world!")), E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("Hello world")), E_DENIED);
}

static void nonsense_is_refused_with_a_reason(void **state)
{
    struct rig *r = *state;
    static const char *const domains[] = {
        "", ".", "a..b", "-a.test", "a-.test", "a_b.test", "b\xc3\xbc.test", "a.test.", "a b"};
    for (size_t i = 0; i < ARRAY_LEN(domains); i++) {
        struct err e = directory_domain_add(r->d, str_c(domains[i]));
        assert_int_equal(e.code, E_INVALID);
        assert_non_null(e.why);
    }
    assert_int_equal(directory_domain_add(r->d, STR("a.test")).code, E_OK);
    static const char *const addresses[] = {"", "x", "@a.test", "x@", "x\n@a.test", "\xff@a.test"};
    account_id id;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        assert_int_equal(directory_account_add(r->d, str_c(addresses[i]), secret, &id).code,
                         E_INVALID);
    const struct directory_password hashes[] = {{STR("secret"), true},
                                                {STR("{MD5}secret"), true},
                                                {STR("{CRYPT}$9$x"), true},
                                                {STR("{ARGON2ID}x"), true},
                                                {STR(""), false}};
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++)
        assert_int_equal(directory_account_add(r->d, STR("y@a.test"), hashes[i], &id).code,
                         E_INVALID);
}

static void lists_are_in_order_and_come_in_pages(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("b.test")).code, E_OK);
    assert_int_equal(directory_domain_add(r->d, STR("a.test")).code, E_OK);
    (void)add(r, STR("y@b.test"));
    (void)add(r, STR("z@a.test"));
    (void)add(r, STR("x@a.test"));
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Domain **domains;
    Thurn__AccountRecord **accounts;
    size_t n;
    assert_int_equal(directory_domains(r->d, &a, &domains, &n).code, E_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(domains[0]->name.data, "a.test", 6);
    struct str none = {NULL, 0};
    assert_int_equal(directory_accounts(r->d, none, none, 2, &a, &accounts, &n).code, E_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(accounts[0]->address.data, "x@a.test", 8);
    assert_memory_equal(accounts[1]->address.data, "z@a.test", 8);
    assert_int_equal(directory_accounts(r->d, none, STR("z@a.test"), 2, &a, &accounts, &n).code,
                     E_OK);
    assert_int_equal(n, 1);
    assert_memory_equal(accounts[0]->address.data, "y@b.test", 8);
    assert_int_equal(directory_accounts(r->d, STR("a.test"), none, 9, &a, &accounts, &n).code,
                     E_OK);
    assert_int_equal(n, 2);
}

static void *look_up_and_change(void *arg)
{
    struct rig *r = arg;
    account_id id;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(directory_route(r->d, STR("x"), STR("a.test"), &id).code, E_OK);
        if (i % 20 == 0)
            assert_int_equal(
                directory_account_password(r->d, STR("x@a.test"),
                                           (struct directory_password){STR("{PLAIN}secret"), true})
                    .code,
                E_OK);
        if (i % 20 == 10)
            assert_int_equal(login(r, STR("x@a.test"), STR("secret")), E_OK);
    }
    return NULL;
}

static void many_threads_may_look_up_while_one_changes(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("a.test")).code, E_OK);
    (void)add(r, STR("x@a.test"));
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_up_and_change, r), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void)
{
    log_open("test", 0, LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(accounts_get_mail_and_log_in_until_they_are_removed),
        CASE(an_id_is_never_given_twice_even_after_a_restart),
        CASE(a_removal_cut_short_is_finished_at_the_next_start),
        CASE(every_password_scheme_works),
        CASE(a_crypt_hash_of_another_system_lets_its_user_in),
        CASE(nonsense_is_refused_with_a_reason),
        CASE(lists_are_in_order_and_come_in_pages),
        CASE(many_threads_may_look_up_while_one_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
