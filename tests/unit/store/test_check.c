#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_house.h"
#include "store/layout.h"

/* Everything that the check finds, one in a line. */
static void note(account_id account, struct str what, void *arg)
{
    struct buf *found = arg;
    buf_printf(found, "%" PRIu64 ": %.*s\n", account.v, STR_FMT(what));
}

static void run_check(struct house *h, struct buf *found)
{
    struct buf explain CLEANUP(buf_free) = {0};
    struct err e = store_check(str_c(h->dir), note, NULL, found, &explain);
    if (e.code != E_OK)
        fail_msg("store_check: %s: %.*s", e.why, STR_FMT(buf_str(&explain)));
}

static void finds(struct house *h, const char *what)
{
    struct buf found CLEANUP(buf_free) = {0};
    run_check(h, &found);
    if (str_find(buf_str(&found), str_c(what), 0) == found.n)
        fail_msg("no \"%s\" in:\n%.*s", what, STR_FMT(buf_str(&found)));
}

static void finds_nothing(struct house *h)
{
    struct buf found CLEANUP(buf_free) = {0};
    run_check(h, &found);
    if (found.n)
        fail_msg("%.*s", STR_FMT(buf_str(&found)));
}

/* An account with something of everything: folded blocks, an overlay over them, dead entries, a
 * deleted mailbox, keywords, texts, subscriptions, records of requests. */
static void furnish(struct house *h)
{
    struct txn *t;
    mailbox_id other = create_mailbox(h, "Other/Deeper"), gone = create_mailbox(h, "Gone");
    assert_ok(txn_begin(h->alice, &t));
    for (unsigned i = 0; i < 700; i++)
        (void)txn_message(t, INBOX, STR("From: a\r\n\r\nsome words\r\n"), i % 32);
    (void)txn_message(t, other, STR("x"), 8);
    (void)txn_message(t, gone, STR("y"), 0);
    assert_ok(txn_subscribe(t, STR("Other"), true));
    assert_ok(txn_done(t, (change_id){{9}}, STR("answer")));
    assert_ok(txn_put(t, STR("key"), STR("value")));
    assert_ok(txn_commit(t));
    assert_true(account_wants_maintenance(h->alice));
    assert_ok(account_maintain(h->alice));
    assert_false(account_wants_maintenance(h->alice));
    set_flags(h, INBOX, (msg_uid){5}, 1);
    expunge(h, INBOX, (msg_uid){7});
    (void)deliver(h, INBOX, "after the fold");
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_delete(t, gone));
    assert_ok(txn_commit(t));
    house_close(h);
}

static pthread_mutex_t done_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_cond = PTHREAD_COND_INITIALIZER;
static bool done;

static void submitted(struct commit *c, struct err result)
{
    assert_ok(result);
    pthread_mutex_lock(&done_lock);
    done = true;
    pthread_cond_signal(&done_cond);
    pthread_mutex_unlock(&done_lock);
}

static void submit_and_wait(struct engine *e, struct commit *c)
{
    done = false;
    c->done = submitted;
    engine_submit(e, c);
    pthread_mutex_lock(&done_lock);
    while (!done)
        pthread_cond_wait(&done_cond, &done_lock);
    pthread_mutex_unlock(&done_lock);
    batch_free(&c->batch);
}

/* Changes the index behind the model's back. */
static void plant(struct house *h, void (*damage)(struct batch *b, struct view *v))
{
    struct engine_options o = {.dir = str_c(h->dir), .cache_size = 1 << 20};
    struct buf explain CLEANUP(buf_free) = {0};
    struct engine *e;
    struct commit c = {0};
    assert_ok(engine_open(&o, &e, &explain));
    struct view *v = view_open(e);
    damage(&c.batch, v);
    view_close(v);
    assert_true(c.batch.ops.n > 0);
    submit_and_wait(e, &c);
    engine_close(e);
}

/* --------------------------------------------------------------------------------- tests */

static void a_healthy_store_has_no_findings(void **state)
{
    struct house *h = *state;
    furnish(h);
    finds_nothing(h);
}

static void a_store_that_is_open_is_not_checked(void **state)
{
    struct house *h = *state;
    struct buf found CLEANUP(buf_free) = {0}, explain CLEANUP(buf_free) = {0};
    assert_err(store_check(str_c(h->dir), note, NULL, &found, &explain), E_EXISTS);
    assert_true(explain.n > 0);
}

static void hash_tree(const char *path, uint8_t sum[SHA256_LEN])
{
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        char inside[1024];
        assert_true(snprintf(inside, sizeof inside, "%s/%s", path, e->d_name) < 1024);
        struct stat st;
        assert_int_equal(lstat(inside, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            hash_tree(inside, sum);
            continue;
        }
        struct buf all CLEANUP(buf_free) = {0};
        buf_printf(&all, "%s %lld %lld %lld", inside, (long long)st.st_size,
                   (long long)st.st_mtim.tv_sec, (long long)st.st_mtim.tv_nsec);
        int fd = open(inside, O_RDONLY);
        assert_true(fd >= 0);
        for (;;) {
            uint8_t *room = buf_room(&all, 65536);
            assert_non_null(room);
            ssize_t n = read(fd, room, 65536);
            assert_true(n >= 0);
            if (n == 0)
                break;
            buf_added(&all, (size_t)n);
        }
        close(fd);
        uint8_t one[SHA256_LEN];
        sha256(buf_str(&all), one);
        for (size_t i = 0; i < SHA256_LEN; i++)
            sum[i] ^= one[i]; /* whatever the order of the names */
    }
    closedir(d);
}

static void the_check_changes_nothing(void **state)
{
    struct house *h = *state;
    furnish(h);
    uint8_t before[SHA256_LEN] = {0}, after[SHA256_LEN] = {0};
    hash_tree(h->dir, before);
    finds_nothing(h);
    hash_tree(h->dir, after);
    assert_memory_equal(before, after, SHA256_LEN);
}

static void damage_overlay(struct batch *b, struct view *v)
{
    (void)v;
    struct key k;
    key_of_over(&k, ALICE, INBOX, 1, (msg_uid){701}); /* furnish() has folded once */
    batch_delete(b, key_str(&k));
}

static void a_lost_entry_is_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_overlay);
    finds(h, "UID 701: is missing, though nothing expunged it");
    finds(h, "counts 700 messages, but there are 699");
}

static struct arena damage_arena;

static struct str value_of(struct view *v, const struct key *k)
{
    struct str value;
    arena_init(&damage_arena, 1 << 24);
    assert_ok(view_get(v, key_str(k), &damage_arena, &value));
    return value;
}

static void damage_counter(struct batch *b, struct view *v)
{
    struct key k;
    key_of_u32(&k, ALICE, KEY_MAILBOX, INBOX.v);
    struct str value = value_of(v, &k);
    Thurn__Mailbox *m = thurn__mailbox__unpack(NULL, value.n, value.p);
    assert_non_null(m);
    m->unseen++;
    uint8_t packed[512];
    batch_put(b, key_str(&k), str_of(packed, thurn__mailbox__pack(m, packed)));
    thurn__mailbox__free_unpacked(m, NULL);
    arena_free(&damage_arena);
}

static void a_wrong_counter_is_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_counter);
    finds(h, "unseen messages, but there are");
}

static void damage_orphan(struct batch *b, struct view *v)
{
    struct key k;
    key_of_u64(&k, ALICE, KEY_BODY, 1);
    struct str value = value_of(v, &k);
    key_of_u64(&k, ALICE, KEY_BODY, 9999);
    batch_put(b, key_str(&k), value);
    arena_free(&damage_arena);
}

static void a_body_that_nobody_needs_is_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_orphan);
    finds(h, "body 9999: no email needs it");
}

static void damage_body_key(struct batch *b, struct view *v)
{
    (void)v;
    struct key k;
    key_of_u64(&k, ALICE, KEY_BODY, 3);
    batch_delete(b, key_str(&k));
}

static void a_body_that_is_nowhere_is_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_body_key);
    finds(h, "body 3: an email needs it, but it is nowhere");
}

/* furnish() has one block of 512 rows from UID 1 on, and another. */
static void damage_column(struct batch *b, struct view *v)
{
    struct key k;
    key_of_listing(&k, ALICE, INBOX, LISTING_SUBJECT + 1, 1);
    struct str value = value_of(v, &k);
    uint8_t *changed = mem_alloc(value.n);
    memcpy(changed, value.p, value.n);
    changed[value.n - 2] ^= 1;
    batch_put(b, key_str(&k), str_of(changed, value.n));
    free(changed);
    arena_free(&damage_arena);
}

static void a_column_that_says_something_else_is_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_column);
    finds(h, "UID 512: has listing fields that its email does not have");
}

static void damage_lost_column(struct batch *b, struct view *v)
{
    (void)v;
    struct key k;
    key_of_listing(&k, ALICE, INBOX, LISTING_FROM + 1, 1);
    batch_delete(b, key_str(&k));
}

static void a_lost_column_is_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_lost_column);
    finds(h, "the listing columns of a block do not have the same rows");
    finds(h, "UID 1: has no listing fields");
}

static void damage_last_column(struct batch *b, struct view *v)
{
    (void)v;
    struct key k;
    key_of_listing(&k, ALICE, INBOX, LISTING_FROM + 1, 513);
    batch_put(b, key_str(&k), STR("no column"));
}

/* It only says what the records say as well. */
static void a_damaged_column_does_not_keep_messages_from_coming(void **state)
{
    struct house *h = *state;
    struct txn *t;
    struct snap *s;
    struct entry e;
    static struct listing_column column;
    furnish(h);
    plant(h, damage_last_column);
    house_reopen(h);
    assert_ok(txn_begin(h->alice, &t));
    for (unsigned i = 0; i < 400; i++)
        (void)txn_message(t, INBOX, STR("new"), 0);
    assert_ok(txn_commit(t));
    maintain(h);
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_entry(s, INBOX, (msg_uid){600}, &e));
    assert_ok(snap_listing(s, INBOX, LISTING_FROM, &e, 1, &column));
    assert_true(column.partial[0]); /* the message is to be asked */
    assert_ok(snap_entry(s, INBOX, (msg_uid){900}, &e));
    assert_ok(snap_listing(s, INBOX, LISTING_FROM, &e, 1, &column));
    assert_false(column.partial[0]);
    listing_free(&column);
    snap_close(s);
}

static void damage_listing_rows(struct batch *b, struct view *v)
{
    struct key k;
    key_of_listing(&k, ALICE, INBOX, 0, 701);
    struct str value = value_of(v, &k);
    batch_delete(b, key_str(&k));
    key_of_listing(&k, ALICE, INBOX, 0, 999);
    batch_put(b, key_str(&k), value);
    arena_free(&damage_arena);
}

static void listing_fields_of_the_wrong_message_are_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_listing_rows);
    finds(h, "UID 701: has no listing fields");
    finds(h, "UID 999: has listing fields outside the blocks, but is not there");
}

static void damage_block(struct batch *b, struct view *v)
{
    struct key k;
    key_of_block(&k, ALICE, INBOX, 1);
    struct str value = value_of(v, &k);
    uint8_t *copy = arena_alloc(&damage_arena, value.n);
    memcpy(copy, value.p, value.n);
    copy[20] ^= 0x40;
    batch_put(b, key_str(&k), str_of(copy, value.n));
    arena_free(&damage_arena);
}

static void a_damaged_block_is_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_block);
    finds(h, "block");
}

static void damage_account(struct batch *b, struct view *v)
{
    struct key k;
    key_of_u64(&k, ALICE, KEY_EMAIL, 2);
    struct str value = value_of(v, &k);
    Thurn__StoredEmail *e = thurn__stored_email__unpack(NULL, value.n, value.p);
    e->account = BOB.v;
    uint8_t packed[1024];
    batch_put(b, key_str(&k), str_of(packed, thurn__stored_email__pack(e, packed)));
    thurn__stored_email__free_unpacked(e, NULL);
    arena_free(&damage_arena);
}

static void a_record_of_another_account_is_found_and_not_served(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_account);
    finds(h, "an email: a stored record belongs to another account");
    house_open(h);
    assert_ok(account_open(h->store, ALICE, &h->alice));
    struct snap *s;
    struct arena a;
    Thurn__StoredEmail *e;
    arena_init(&a, 1 << 20);
    assert_ok(snap_open(h->alice, &s));
    assert_err(snap_email(s, (email_id){2}, &a, &e), E_CORRUPT);
    snap_close(s);
    arena_free(&a);
}

static void damage_stray(struct batch *b, struct view *v)
{
    (void)v;
    struct key k;
    batch_put(b, STR("stray"), STR("1"));
    key_of_over(&k, ALICE, (mailbox_id){77}, 0, (msg_uid){1});
    batch_put(b, key_str(&k), STR("1"));
    key_of_u32(&k, ALICE, 'z', 1);
    batch_put(b, key_str(&k), STR("1"));
}

static void keys_that_belong_to_nothing_are_found(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_stray);
    finds(h, "0: there is a key that belongs to no account");
    finds(h, "mailbox 77: there is an entry, but no such mailbox");
    finds(h, "a kind that this release does not know");
}

static void damage_done(struct batch *b, struct view *v)
{
    (void)v;
    Thurn__Done d = THURN__DONE__INIT;
    uint8_t packed[64];
    struct key k;
    d.account = ALICE.v;
    key_of_done(&k, ALICE, 12345, (change_id){{7}});
    batch_put(b, key_str(&k), str_of(packed, thurn__done__pack(&d, packed)));
}

static void old_records_of_requests_are_dropped(void **state)
{
    struct house *h = *state;
    furnish(h);
    plant(h, damage_done);
    finds_nothing(h);
    house_open(h);
    assert_ok(account_open(h->store, ALICE, &h->alice));
    assert_true(account_wants_maintenance(h->alice));
    modseq before = account_modseq(h->alice);
    assert_ok(account_maintain(h->alice));
    assert_false(account_wants_maintenance(h->alice));
    assert_int_equal(account_modseq(h->alice).v, before.v); /* nothing that a client sees */
    house_reopen(h);
    assert_false(account_wants_maintenance(h->alice));
    struct arena a;
    struct str answer;
    struct snap *s;
    arena_init(&a, 1 << 16);
    assert_ok(snap_open(h->alice, &s));
    assert_err(snap_done(s, (change_id){{7}}, &a, &answer), E_NOTFOUND);
    assert_ok(snap_done(s, (change_id){{9}}, &a, &answer));
    snap_close(s);
    arena_free(&a);
}

static void a_store_with_a_feature_of_a_later_release_is_refused(void **state)
{
    struct house *h = *state;
    house_close(h);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/format", h->dir);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "from-the-future\n", 16), 16);
    close(fd);
    uint8_t before[SHA256_LEN] = {0}, after[SHA256_LEN] = {0};
    hash_tree(h->dir, before);
    struct store_options o = {.dir = str_c(h->dir)};
    struct buf explain CLEANUP(buf_free) = {0}, found CLEANUP(buf_free) = {0};
    assert_err(store_open(&o, &h->store, &explain), E_UNSUPPORTED);
    assert_true(explain.n > 0);
    assert_err(store_check(str_c(h->dir), note, NULL, &found, &explain), E_UNSUPPORTED);
    hash_tree(h->dir, after);
    assert_memory_equal(before, after, SHA256_LEN);
    h->store = NULL;
}

/* In the segment that holds it. */
static bool flip_in(const char *path, struct str what)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    struct buf all CLEANUP(buf_free) = {0};
    for (ssize_t n = 1; n > 0;) {
        uint8_t *room = buf_room(&all, 65536);
        assert_non_null(room);
        n = read(fd, room, 65536);
        assert_true(n >= 0);
        buf_added(&all, (size_t)n);
    }
    size_t at = str_find(buf_str(&all), what, 0);
    bool found = at < all.n;
    uint8_t flipped = found ? (uint8_t)(what.p[0] ^ 1) : 0;
    if (found)
        assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
    close(fd);
    return found;
}

static void a_flipped_byte_in_a_body_is_found(void **state)
{
    struct house *h = *state;
    (void)deliver(h, INBOX, "needle in the haystack");
    furnish(h);
    char log[128];
    (void)snprintf(log, sizeof log, "%s/log", h->dir);
    DIR *d = opendir(log);
    assert_non_null(d);
    bool flipped = false;
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", log, e->d_name);
        if (e->d_name[0] != '.')
            flipped = flip_in(path, STR("needle in the haystack")) || flipped;
    }
    closedir(d);
    assert_true(flipped);
    finds(h, "body 1: segment");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        T(a_healthy_store_has_no_findings),
        T(a_store_that_is_open_is_not_checked),
        T(the_check_changes_nothing),
        T(a_lost_entry_is_found),
        T(a_column_that_says_something_else_is_found),
        T(a_lost_column_is_found),
        T(a_damaged_column_does_not_keep_messages_from_coming),
        T(listing_fields_of_the_wrong_message_are_found),
        T(a_wrong_counter_is_found),
        T(a_body_that_nobody_needs_is_found),
        T(a_body_that_is_nowhere_is_found),
        T(a_damaged_block_is_found),
        T(a_record_of_another_account_is_found_and_not_served),
        T(keys_that_belong_to_nothing_are_found),
        T(old_records_of_requests_are_dropped),
        T(a_store_with_a_feature_of_a_later_release_is_refused),
        T(a_flipped_byte_in_a_body_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
