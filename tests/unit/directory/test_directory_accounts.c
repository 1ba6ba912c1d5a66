/* What accounts begin with, what they may hold, and who may use them. */
#include "rig.h"

/* -- special folders -- */

static bool is_subscribed(struct snap *s, struct arena *a, struct str name)
{
    struct str *names;
    size_t n;
    assert_int_equal(snap_subscriptions(s, a, &names, &n).code, E_OK);
    for (size_t i = 0; i < n; i++)
        if (str_eq(names[i], name))
            return true;
    return false;
}

/* The name of the account's mailbox for a use; empty: it has none. */
static void folder_is(struct rig *r, account_id id, uint32_t use, const char *want)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    struct account *account;
    struct snap *s;
    Thurn__Mailbox **boxes;
    size_t n;
    struct str found = STR("");
    assert_int_equal(account_open(r->store, id, &account).code, E_OK);
    assert_int_equal(snap_open(account, &s).code, E_OK);
    assert_int_equal(snap_mailboxes(s, &a, &boxes, &n).code, E_OK);
    for (size_t i = 0; i < n; i++)
        if (boxes[i]->special_use == use && use)
            found = str_of(boxes[i]->name.data, boxes[i]->name.len);
    assert_true(str_eq(found, str_c(want)));
    assert_int_equal(is_subscribed(s, &a, found), found.n > 0);
    snap_close(s);
    account_close(account);
}

static void folders_are_named_in_the_language_of_the_domain(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *asked, *drafts, *trash;
    } languages[] = {{"", "Drafts", "Trash"},
                     {"de", "Entwürfe", "Papierkorb"},
                     {"de_AT.UTF-8", "Entwürfe", "Papierkorb"},
                     {"fr-CA", "Brouillons", "Corbeille"},
                     {"pt", "Rascunhos", "Lixo"},
                     {"PT-br", "Rascunhos", "Lixeira"},
                     {"ja_JP", "下書き", "ごみ箱"},
                     {"zh-CN", "草稿", "已删除"},
                     {"zh_TW", "草稿", "垃圾桶"}};
    char domain[32], address[32];
    for (size_t i = 0; i < ARRAY_LEN(languages); i++) {
        (void)snprintf(domain, sizeof domain, "d%zu.test", i);
        (void)snprintf(address, sizeof address, "x@d%zu.test", i);
        struct err e = directory_domain_add(r->d, str_c(domain), str_c(languages[i].asked));
        if (e.code)
            fail_msg("%s: %s", languages[i].asked, e.why);
        account_id id = add(r, str_c(address));
        folder_is(r, id, 4, languages[i].drafts);
        folder_is(r, id, 64, languages[i].trash);
    }
}

static void a_language_without_names_is_refused(void **state)
{
    struct rig *r = *state;
    static const char *const wrong[] = {"x", "xx", "tlh", "deutsch", "d3", "-", "e", "C.UTF-8"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(directory_domain_add(r->d, STR("a.test"), str_c(wrong[i])).code,
                         E_INVALID);
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    const struct directory_change c = {.set = DIRECTORY_LANGUAGE, .language = STR("xx")};
    assert_int_equal(directory_domain_change(r->d, STR("a.test"), &c).code, E_INVALID);
}

static void a_new_language_is_for_accounts_made_from_then_on(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    account_id before = add(r, STR("before@a.test"));
    const struct directory_change c = {.set = DIRECTORY_LANGUAGE, .language = STR("it")};
    assert_int_equal(directory_domain_change(r->d, STR("a.test"), &c).code, E_OK);
    account_id after = add(r, STR("after@a.test"));
    folder_is(r, before, 32, "Sent");
    folder_is(r, after, 32, "Posta inviata");
    const struct directory_settings bare = {.no_special_folders = true};
    directory_set(r->d, &bare);
    folder_is(r, add(r, STR("bare@a.test")), 32, "");
}

/* -- quota -- */

static void quota_is(struct rig *r, account_id id, uint64_t bytes, uint64_t messages)
{
    struct directory_quota q;
    assert_int_equal(directory_quota(r->d, id, &q).code, E_OK);
    assert_int_equal(q.bytes, bytes);
    assert_int_equal(q.messages, messages);
}

static void the_nearest_quota_holds(void **state)
{
    struct rig *r = *state;
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    account_id id = add(r, STR("x@a.test"));
    quota_is(r, id, 0, 0);
    const struct directory_settings server = {.quota_bytes = 1000, .quota_messages = 10};
    directory_set(r->d, &server);
    quota_is(r, id, 1000, 10);
    struct directory_change c = {.set = DIRECTORY_QUOTA_BYTES, .quota_bytes = 2000};
    assert_int_equal(directory_domain_change(r->d, STR("a.test"), &c).code, E_OK);
    quota_is(r, id, 2000, 10);
    c = (struct directory_change){.set = DIRECTORY_QUOTA_MESSAGES,
                                  .quota_messages = DIRECTORY_UNLIMITED};
    assert_int_equal(directory_account_change(r->d, STR("x@a.test"), &c).code, E_OK);
    quota_is(r, id, 2000, 0);
    c = (struct directory_change){.set = DIRECTORY_QUOTA_BYTES, .quota_bytes = 3000};
    assert_int_equal(directory_account_change(r->d, STR("X@a.test"), &c).code, E_OK);
    quota_is(r, id, 3000, 0);
    c.quota_bytes = 0;
    assert_int_equal(directory_account_change(r->d, STR("x@a.test"), &c).code, E_OK);
    quota_is(r, id, 2000, 0);
    assert_int_equal(directory_account_change(r->d, STR("y@a.test"), &c).code, E_NOTFOUND);
}

/* -- who may go on -- */

static struct principal logged_in(struct rig *r)
{
    struct principal p;
    assert_int_equal(directory_authenticate(r->d, STR("x@a.test"), STR("secret"), &p).code, E_OK);
    return p;
}

static void what_was_logged_in_may_go_on_until_it_is_told_otherwise(void **state)
{
    struct rig *r = *state;
    account_id id;
    struct principal p, wrong;
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    (void)add(r, STR("x@a.test"));
    p = logged_in(r);
    assert_int_equal(directory_may_go_on(r->d, &p).code, E_OK);

    assert_int_equal(directory_account_logout(r->d, STR("x@a.test"), &id).code, E_OK);
    assert_int_equal(id.v, p.account.v);
    assert_int_equal(directory_may_go_on(r->d, &p).code, E_DENIED);
    p = logged_in(r);
    assert_int_equal(directory_account_password(r->d, STR("x@a.test"), secret, &id).code, E_OK);
    assert_int_equal(directory_may_go_on(r->d, &p).code, E_DENIED);

    p = logged_in(r);
    assert_int_equal(directory_account_lock(r->d, STR("x@a.test"), STR("spam"),
                                            THURN__REFUSE_MAIL__REFUSE_FOR_NOW, &id)
                         .code,
                     E_OK);
    assert_int_equal(directory_may_go_on(r->d, &p).code, E_DENIED);
    struct err e = directory_authenticate(r->d, STR("x@a.test"), STR("secret"), &wrong);
    assert_int_equal(e.code, E_DENIED);
    assert_string_equal(e.why, "the account is locked");
    e = directory_authenticate(r->d, STR("x@a.test"), STR("other"), &wrong);
    assert_string_equal(e.why, "wrong password");
    assert_int_equal(directory_account_unlock(r->d, STR("x@a.test")).code, E_OK);
    assert_int_equal(directory_may_go_on(r->d, &p).code, E_DENIED); /* not what was before */

    p = logged_in(r);
    assert_int_equal(directory_account_remove(r->d, STR("x@a.test")).code, E_OK);
    assert_int_equal(directory_may_go_on(r->d, &p).code, E_NOTFOUND);
}

static void stored_password_is(struct rig *r, const char *scheme)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__AccountRecord *record;
    assert_int_equal(directory_account_show(r->d, STR("x@a.test"), &a, &record).code, E_OK);
    assert_true(str_starts(str_of(record->password.data, record->password.len), str_c(scheme)));
}

static void set_hash(struct rig *r, struct str hash)
{
    account_id id;
    assert_int_equal(directory_account_password(r->d, STR("x@a.test"),
                                                (struct directory_password){hash, true}, &id)
                         .code,
                     E_OK);
}

static void an_imported_hash_is_replaced_at_the_next_log_in(void **state)
{
    struct rig *r = *state;
    static const struct str old =
        STR_INIT("{CRYPT}$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9");
    assert_int_equal(directory_domain_add(r->d, STR("a.test"), STR("")).code, E_OK);
    (void)add(r, STR("x@a.test"));
    set_hash(r, old);
    struct principal p, again;
    assert_int_equal(directory_authenticate(r->d, STR("x@a.test"), STR("wrong"), &p).code,
                     E_DENIED);
    stored_password_is(r, "{CRYPT}");
    p = logged_in(r);
    stored_password_is(r, "{ARGON2ID}$argon2id$");
    again = logged_in(r);
    assert_int_equal(p.credential_generation, again.credential_generation);
    assert_int_equal(directory_may_go_on(r->d, &p).code, E_OK);

    set_hash(r, STR("{PLAIN}secret")); /* on purpose */
    (void)logged_in(r);
    stored_password_is(r, "{PLAIN}");

    const struct directory_settings keep = {.keep_imported = true};
    directory_set(r->d, &keep);
    set_hash(r, old);
    (void)logged_in(r);
    stored_password_is(r, "{CRYPT}");
}

int main(void)
{
    log_open("test", 0, LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(folders_are_named_in_the_language_of_the_domain),
        CASE(a_language_without_names_is_refused),
        CASE(a_new_language_is_for_accounts_made_from_then_on),
        CASE(the_nearest_quota_holds),
        CASE(what_was_logged_in_may_go_on_until_it_is_told_otherwise),
        CASE(an_imported_hash_is_replaced_at_the_next_log_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
