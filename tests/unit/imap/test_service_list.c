/* LIST and LSUB: patterns, children, subscriptions. */
#include "base/base.h"

#include "imap/service/list.h"
#include "test_service_rig.h"

/* Matching as the RFC tells it, by trying all ways. */
static bool slow_match(struct str p, struct str name)
{
    if (p.n == 0)
        return name.n == 0;
    if (p.p[0] == '*' || p.p[0] == '%') {
        if (slow_match(str_skip(p, 1), name))
            return true;
        return name.n && (p.p[0] == '*' || name.p[0] != '/') && slow_match(p, str_skip(name, 1));
    }
    return name.n && p.p[0] == name.p[0] && slow_match(str_skip(p, 1), str_skip(name, 1));
}

static void patterns_match_as_if_all_ways_were_tried(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (unsigned round = 0; round < 50000; round++) {
        uint8_t pattern[8], name[10];
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t n = x % 8, m = x / 8 % 10;
        for (size_t i = 0; i < n; i++)
            pattern[i] = (uint8_t) "ab/*%"[(x >> (8 + 5 * i)) % 5];
        for (size_t i = 0; i < m; i++)
            name[i] = (uint8_t) "ab/"[(x >> (3 * i)) % 3];
        struct arena a CLEANUP(arena_free);
        arena_init(&a, 64 * 1024);
        struct pattern p;
        size_t parent, expected_parent = 0;
        struct str ps = str_of(pattern, n), ns = str_of(name, m);
        assert_int_equal(pattern_compile(STR(""), ps, &a, &p).code, E_OK);
        assert_int_equal(pattern_match(&p, ns, &parent), slow_match(ps, ns));
        for (size_t i = 0; i < m; i++)
            if (name[i] == '/' && slow_match(ps, str_sub(ns, 0, i)))
                expected_parent = i;
        if (slow_match(ps, ns))
            assert_int_equal(parent, expected_parent);
    }
}

static void hostile_patterns_end_soon(void **state)
{
    struct client *c = client_new(*state);
    char name[1001] = {0}, pattern[3001] = {0};
    for (unsigned i = 0; i < 20; i++) {
        memset(name, 'a', 998);
        snprintf(name + 990, 9, "%u", i);
        ask_name(c, RPC_IMAP_CREATE, name);
    }
    client_said(c);
    for (size_t i = 0; i + 1 < sizeof pattern; i++)
        pattern[i] = "a*%"[i % 3];
    pattern[1500] = 'b';
    ask_list(c, "", pattern, false);
    assert_said(c, "ok");
    memset(pattern, '*', 3000);
    pattern[2999] = '%';
    ask_list(c, "", pattern, false);
    assert_non_null(strstr(client_said(c), "INBOX"));
    memset(pattern, 'a', 3000);
    ask_list(c, "", pattern, false);
    assert_said(c, "ok");
    for (size_t i = 0; i < 2000; i++)
        pattern[i] = "a%"[i % 2];
    pattern[2000] = 0;
    ask_list(c, "", pattern, false);
    assert_said(c, "ok");
    client_free(c);
}

/* The reference stands before each pattern. */
static void hostile_patterns_let_others_in_between(void **state)
{
    enum { PATTERNS = 64, NAME = 900, REFERENCE = 1600 };
    struct client *c = client_new(*state);
    char name[NAME + 1] = {0}, reference[REFERENCE + 1] = {0};
    ProtobufCBinaryData patterns[PATTERNS];
    Thurn__ImapList m = THURN__IMAP_LIST__INIT;
    memset(name, 'a', NAME);
    ask_name(c, RPC_IMAP_CREATE, name);
    client_said(c);
    for (size_t i = 0; i < REFERENCE; i++)
        reference[i] = "a*"[i % 2];
    for (size_t i = 0; i < PATTERNS; i++)
        patterns[i] = pb_bytes(i + 1 < PATTERNS ? STR("b") : STR("a"));
    m.reference = pb_bytes(str_c(reference));
    m.patterns = patterns;
    m.n_patterns = PATTERNS;
    ((struct rig *)*state)->host.slice_us = 0;
    c->yields = 0;
    ask(c, RPC_IMAP_LIST, &m.base);
    assert_true(c->yields > PATTERNS / 2);
    assert_int_equal(strncmp(client_said(c), "m[aaaa", 6), 0);
    client_free(c);
}

static void make(struct client *c, const char *const *names)
{
    for (; *names; names++)
        ask_name(c, RPC_IMAP_CREATE, *names);
    client_said(c);
}

static void listing_shows_levels_children_and_separator(void **state)
{
    struct client *c = client_new(*state);
    make(c, (const char *const[]){"Work", "Work-2", "Work/a", "Work/a/deep", "z/only", NULL});
    ask_list(c, "", "", false);
    assert_said(c, "m[(noselect)] ok");
    ask_list(c, "", "%", false);
    assert_said(c, "m[INBOX Work(children) Work-2 z(noselect)(children)] ok");
    ask_list(c, "", "inb%", false);
    assert_said(c, "m[INBOX] ok");
    ask_list(c, "Work/", "%", false);
    assert_said(c, "m[Work/a(children)] ok");
    ask_list(c, "", "%/%", false);
    assert_said(c, "m[Work/a(children) z/only] ok");
    ask_list(c, "", "*y", false);
    assert_said(c, "m[z/only] ok");
    ask_list(c, "", "work", false);
    assert_said(c, "ok");
    ((struct rig *)*state)->host.slice_bytes = 1;
    ask_list(c, "", "Work*", false);
    assert_said(c, "m[Work(children) Work-2 Work/a(children) Work/a/deep] ok");
    client_free(c);
}

static void special_use_is_kept(void **state)
{
    struct client *c = client_new(*state);
    Thurn__ImapCreate m = THURN__IMAP_CREATE__INIT;
    m.mailbox = pb_bytes(STR("Sent"));
    m.special_use = 32;
    ask(c, RPC_IMAP_CREATE, &m.base);
    ask_list(c, "", "S%", false);
    assert_said(c, "okm[Sent(use 32)] ok");
    client_free(c);
}

static void subscriptions_are_listed_with_their_parents(void **state)
{
    struct client *c = client_new(*state);
    static const char *const names[] = {"INBOX",    "foo/bar", "foo/baz", "foo-x",
                                        "gone/x/y", "p",       "p/q",     NULL};
    make(c, (const char *const[]){"foo/bar", "p/q", NULL});
    for (size_t i = 0; names[i]; i++)
        ask_name(c, RPC_IMAP_SUBSCRIBE, names[i]);
    client_said(c);
    ask_list(c, "", "*", true);
    assert_said(c, "m[INBOX(subscribed) foo-x(nonexistent)(subscribed) foo/bar(subscribed) "
                   "foo/baz(nonexistent)(subscribed) gone/x/y(nonexistent)(subscribed) "
                   "p(noselect)(children)(subscribed) p/q(subscribed)] ok");
    /* RFC 3501 section 6.3.9: foo stands for foo/bar, and is \Noselect. */
    ask_list(c, "", "%", true);
    assert_said(c, "m[INBOX(subscribed) foo-x(nonexistent)(subscribed) foo(noselect)(children) "
                   "gone(noselect)(nonexistent)(children) p(noselect)(children)(subscribed)] ok");
    ask_list(c, "", "foo/%", true);
    assert_said(c, "m[foo/bar(subscribed) foo/baz(nonexistent)(subscribed)] ok");
    ask_list(c, "", "gone/%", true);
    assert_said(c, "m[gone/x(noselect)(nonexistent)(children)] ok");
    ask_list(c, "", "foo%", false);
    assert_said(c, "m[foo(noselect)(children)] ok");
    client_free(c);
}

enum { MANY = 2900 };
static size_t with_status;

static void count_status(struct client *c, uint16_t type, const ProtobufCMessage *m)
{
    (void)c;
    const Thurn__ImapMailboxes *mailboxes = (const void *)m;
    for (size_t i = 0; type == RPC_IMAP_MAILBOXES && i < mailboxes->n_rows; i++)
        with_status += mailboxes->rows[i]->mailbox_status != NULL;
}

static void each_of_thousands_of_mailboxes_is_listed_with_its_status(void **state)
{
    struct rig *r = *state;
    struct account *account;
    struct txn *t;
    char name[32];
    mailbox_id id;
    assert_int_equal(account_open(r->store, r->account, &account).code, E_OK);
    assert_int_equal(txn_begin(account, &t).code, E_OK);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "many/%u", i);
        assert_int_equal(txn_mailbox_create(t, str_c(name), 0, &id).code, E_OK);
    }
    assert_int_equal(txn_commit(t).code, E_OK);
    account_close(account);
    struct client *c = client_new(r);
    c->heard = count_status;
    with_status = 0;
    Thurn__ImapList m = THURN__IMAP_LIST__INIT;
    ProtobufCBinaryData pattern = pb_bytes(STR("many/%"));
    m.patterns = &pattern;
    m.n_patterns = 1;
    m.status_items = 512; /* DELETED-STORAGE */
    ask(c, RPC_IMAP_LIST, &m.base);
    assert_int_equal(with_status, MANY);
    client_free(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_if_all_ways_were_tried),
        TEST(hostile_patterns_end_soon),
        TEST(hostile_patterns_let_others_in_between),
        TEST(listing_shows_levels_children_and_separator),
        TEST(special_use_is_kept),
        TEST(subscriptions_are_listed_with_their_parents),
        TEST(each_of_thousands_of_mailboxes_is_listed_with_its_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
