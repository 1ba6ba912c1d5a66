#include "rig.h"

static enum errc login(struct rig *r, struct str user, struct str password)
{
    struct principal p;
    return directory_authenticate(r->d, user, password, &p).code;
}

/* The only account that an address leads to. */
static struct err route(struct rig *r, struct str local, struct str domain, account_id *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    struct directory_route to;
    TRY(directory_route(r->d, local, domain, 1, &a, &to));
    assert_int_equal(to.n, 1);
    *out = to.targets[0].account;
    return OK;
}

static struct err set_password(struct rig *r, struct directory_password p)
{
    account_id id;
    return directory_account_password(r->d, STR("x@a.test"), p, &id);
}

static void accounts_get_mail_and_log_in_until_they_are_removed(void **state)
{
    struct rig *r = *state;
    account_id alice, bob, found = {0};
    assert_int_equal(directory_account_add(r->d, STR("alice@example.test"), secret, &alice).code,
                     E_NOTFOUND);
    assert_int_equal(directory_domain_add(r->d, STR("Example.TEST"), STR("")).code, E_OK);
    assert_int_equal(directory_domain_add(r->d, STR("example.test"), STR("")).code, E_EXISTS);
    alice = add(r, STR("Alice@example.test"));
    bob = add(r, STR("bob@EXAMPLE.test"));
    assert_int_not_equal(alice.v, bob.v);
    assert_true(alice.v > ACCOUNT_SYSTEM.v);

    assert_int_equal(route(r, STR("aLICE"), STR("example.test"), &found).code, E_OK);
    assert_int_equal(found.v, alice.v);
    struct err e = route(r, STR("carol"), STR("example.test"), &found);
    assert_int_equal(e.code, E_NOTFOUND);
    assert_string_equal(e.why, "no such user");
    e = route(r, STR("alice"), STR("example.org"), &found);
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
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
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
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
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
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    (void)add(r, STR("x@a.test"));
    struct directory_password plain = {STR("{PLAIN}secret"), true};
    assert_int_equal(set_password(r, plain).code, E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("secret")), E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("secret2")), E_DENIED);
    assert_int_equal(login(r, STR("x@a.test"), STR("")), E_DENIED);
    struct directory_password crypted = {
        STR("{CRYPT}$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9"), true};
    assert_int_equal(set_password(r, crypted).code, E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("secret")), E_OK);
    assert_int_equal(login(r, STR("x@a.test"), STR("wrong")), E_DENIED);
    assert_int_equal(set_password(r, secret).code, E_OK);
    struct principal p;
    assert_int_equal(directory_authenticate(r->d, STR("x@a.test"), STR("secret"), &p).code, E_OK);
    assert_int_equal(p.credential_generation, 4);
    assert_int_equal(login(r, STR("x@a.test"), str_of("sec\0ret", 7)), E_DENIED);
}

static void hashes_of_another_system_let_their_users_in(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *hash, *password;
    } imported[] = {
        /* The test vectors of the SHA-crypt specification (U. Drepper). */
        {"{CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJu"
         "esI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
         "Hello world!"},
        {"{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJu"
         "esI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
         "Hello world!"},
        {"{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
        {"{SSHA}MQCu4ULhbjN/m8GjCqCeGAPRr2ZzYWx0c2FsdA==", "Hello world!"},
        {"{SSHA256}G7PF9TUSELczltJ7gmqKH1Da1d3gpH1nIrag42quQwRzYWx0c2FsdA==", "Hello world!"},
        {"{SSHA512}e5ouc7Gp84W3s3tg+qC3yU9M5JxemWe7T7F5ACNphX45E4f4CTVbkRF1/"
         "e6TIsObPZJtBwVteHPs2dAh0FETAnNhbHRzYWx0",
         "Hello world!"},
        {"{MD5-CRYPT}$1$saltsalt$le8lFSqqnPaRFOlmAZpvH1", "Hello world!"},
        {"{blf-crypt}$2y$04$abcdefghijklmnopqrstuuyeG8laUfZvsCmc.AE6qIDYSPGM2efmK", "Hello world!"},
        {"{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$"
         "hDC0EL4KskSaaLeD0q6fT7avTs67dHDsyWZaXWQhBZQ",
         "Hello world!"},
        {"{ARGON2I}$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$yH0Y2b7XpjlmBgnZakwBna1zskyAqwSsJ/"
         "vwxAXI/T8",
         "Hello world!"},
        {"{PLAIN}Hello world!", "Hello world!"}};
    const struct directory_settings keep = {.keep_imported = true};
    directory_set(r->d, &keep);
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    (void)add(r, STR("x@a.test"));
    for (size_t i = 0; i < ARRAY_LEN(imported); i++) {
        struct err e = set_password(r, (struct directory_password){str_c(imported[i].hash), true});
        if (e.code)
            fail_msg("%s: %s", imported[i].hash, e.why);
        if (login(r, STR("x@a.test"), str_c(imported[i].password)) != E_OK)
            fail_msg("%s does not let in", imported[i].hash);
        assert_int_equal(login(r, STR("x@a.test"), STR("Hello world")), E_DENIED);
    }
}

static atomic_uint hashes_for_nothing;

int __real_argon2id_hash_raw(uint32_t passes, uint32_t kib, uint32_t lanes, const void *password,
                             size_t password_n, const void *salt, size_t salt_n, void *hash,
                             size_t hash_n);
int __wrap_argon2id_hash_raw(uint32_t passes, uint32_t kib, uint32_t lanes, const void *password,
                             size_t password_n, const void *salt, size_t salt_n, void *hash,
                             size_t hash_n);
int __wrap_argon2id_hash_raw(uint32_t passes, uint32_t kib, uint32_t lanes, const void *password,
                             size_t password_n, const void *salt, size_t salt_n, void *hash,
                             size_t hash_n)
{
    (void)atomic_fetch_add(&hashes_for_nothing, 1);
    return __real_argon2id_hash_raw(passes, kib, lanes, password, password_n, salt, salt_n, hash,
                                    hash_n);
}

static void costs_a_hash_for_nothing(struct rig *r, struct str user, struct str password)
{
    atomic_store(&hashes_for_nothing, 0);
    assert_int_equal(login(r, user, password), E_DENIED);
    assert_int_equal(atomic_load(&hashes_for_nothing), 1);
}

static void a_refusal_takes_as_long_whether_the_user_exists_or_not(void **state)
{
    struct rig *r = *state;
    static const char *const stored[] = {"{PLAIN}secret",
                                         "{SSHA}MQCu4ULhbjN/m8GjCqCeGAPRr2ZzYWx0c2FsdA==",
                                         "{MD5-CRYPT}$1$saltsalt$le8lFSqqnPaRFOlmAZpvH1"};
    static const uint8_t endless[1025] = {'x'};
    struct str x = STR("x@a.test");
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    (void)add(r, x);
    costs_a_hash_for_nothing(r, STR("nobody@a.test"), STR("wrong"));
    costs_a_hash_for_nothing(r, STR("x@elsewhere.test"), STR("wrong"));
    costs_a_hash_for_nothing(r, x, STR(""));
    costs_a_hash_for_nothing(r, x, str_of(endless, sizeof endless));
    costs_a_hash_for_nothing(r, x, str_of("sec\0ret", 7));
    for (size_t i = 0; i < ARRAY_LEN(stored); i++) {
        assert_int_equal(set_password(r, (struct directory_password){str_c(stored[i]), true}).code,
                         E_OK);
        costs_a_hash_for_nothing(r, x, STR("wrong"));
    }
}

static void nonsense_is_refused_with_a_reason(void **state)
{
    struct rig *r = *state;
    static const char *const domains[] = {
        "", ".", "a..b", "-a.test", "a-.test", "a_b.test", "b\xc3\xbc.test", "a.test.", "a b"};
    for (size_t i = 0; i < ARRAY_LEN(domains); i++) {
        struct err e = directory_domain_add(r->d, str_c(domains[i]), STR(""));
        assert_int_equal(e.code, E_INVALID);
        assert_non_null(e.why);
    }
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    static const char *const addresses[] = {"", "x", "@a.test", "x@", "x\n@a.test", "\xff@a.test"};
    account_id id;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        assert_int_equal(directory_account_add(r->d, str_c(addresses[i]), secret, &id).code,
                         E_INVALID);
    const struct directory_password hashes[] = {{STR("secret"), true},
                                                {STR("{MD5}secret"), true},
                                                {STR("{CRYPT}$9$x"), true},
                                                {STR("{ARGON2ID}x"), true},
                                                {STR("{ARGON2ID}$argon2i$v=19$m=64,t=1"), true},
                                                {STR("{ARGON2I}$argon2i$v=19$m=4000000,t=1"), true},
                                                {STR("{SHA512-CRYPT}$5$saltstring$x"), true},
                                                {STR("{SSHA}not base64!"), true},
                                                {STR("{SSHA}c2VjcmV0"), true},
                                                {STR(""), false}};
    for (size_t i = 0; i < ARRAY_LEN(hashes); i++)
        assert_int_equal(directory_account_add(r->d, STR("y@a.test"), hashes[i], &id).code,
                         E_INVALID);
}

static void lists_are_in_order_and_come_in_pages(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("b.test"), STR("")).code, E_OK);
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
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
        assert_int_equal(route(r, STR("x"), STR("a.test"), &id).code, E_OK);
        if (i % 20 == 0)
            assert_int_equal(
                set_password(r, (struct directory_password){STR("{PLAIN}secret"), true}).code,
                E_OK);
        if (i % 20 == 10)
            assert_int_equal(login(r, STR("x@a.test"), STR("secret")), E_OK);
    }
    return NULL;
}

static void many_threads_may_look_up_while_one_changes(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
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
        CASE(hashes_of_another_system_let_their_users_in),
        CASE(a_refusal_takes_as_long_whether_the_user_exists_or_not),
        CASE(nonsense_is_refused_with_a_reason),
        CASE(lists_are_in_order_and_come_in_pages),
        CASE(many_threads_may_look_up_while_one_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
