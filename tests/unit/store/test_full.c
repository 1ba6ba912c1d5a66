/* A store on a file system of its own that becomes full. Needs the right to mount one. */
#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "model_house.h"

enum { BATCH = 20, BODY_MAX = 64 << 10 };

static int mount_small(void **state)
{
    struct house *h = mem_alloc(sizeof *h);
    (void)snprintf(h->dir, sizeof h->dir, "/tmp/thurn-full-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    if (mount("tmpfs", h->dir, "tmpfs", 0, "size=256m,mode=700") < 0) {
        (void)rmdir(h->dir);
        free(h);
        h = NULL;
    }
    *state = h;
    return 0;
}

static int unmount_small(void **state)
{
    struct house *h = *state;
    if (!h)
        return 0;
    house_close(h);
    assert_int_equal(umount2(h->dir, MNT_DETACH), 0);
    assert_int_equal(rmdir(h->dir), 0);
    free(h);
    return 0;
}

/* The bytes of message `i`, which do not compress. */
static struct str noise(uint8_t *out, size_t n, uint32_t i)
{
    uint64_t x = i * 2654435761u + 88172645463325252u;
    for (size_t at = 0; at < n; at++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out[at] = (uint8_t)x;
    }
    return str_of(out, n);
}

static struct err add_message(struct txn *t, uint32_t i, size_t body_size, size_t text_size)
{
    static uint8_t bodies[BATCH][BODY_MAX], text[BODY_MAX]; /* bodies stay until the commit */
    struct buf record CLEANUP(buf_free) = {0};
    email_record_flat(body_size, &record);
    struct body *body = body_new(noise(bodies[i % BATCH], body_size, i));
    struct new_email e = {.body = body,
                          .record = buf_str(&record),
                          .text = noise(text, text_size, ~i),
                          .why = STR("test")};
    email_id id;
    msg_uid uid;
    struct err result = txn_email_add(t, &e, &id);
    if (result.code == E_OK)
        result = txn_entry_add(t, INBOX, id, 0, 0, 1000, &uid);
    if (result.code == E_OK)
        assert_int_equal(uid.v, i);
    body_unref(body);
    return result;
}

/* Delivers behind the first `acknowledged` messages until there is no room; returns how many there
 * are then. */
static uint32_t fill(struct house *h, uint32_t acknowledged, size_t body_size, size_t text_size)
{
    for (;;) {
        struct txn *t;
        struct err result = OK;
        assert_ok(txn_begin(h->alice, &t));
        for (uint32_t i = 1; i <= BATCH && result.code == E_OK; i++)
            result = add_message(t, acknowledged + i, body_size, text_size);
        if (result.code == E_OK)
            result = txn_commit(t);
        else
            txn_abort(t);
        if (result.code != E_OK) {
            assert_err(result, E_FULL);
            return acknowledged;
        }
        acknowledged += BATCH;
    }
}

static struct err flag_all(struct house *h, uint32_t n, uint32_t flags)
{
    struct txn *t;
    TRY(txn_begin(h->alice, &t));
    for (uint32_t uid = 1; uid <= n; uid++)
        assert_ok(txn_entry_flags(t, INBOX, (msg_uid){uid}, flags, 0));
    return txn_commit(t);
}

static void expects_message(struct snap *s, uint32_t uid, size_t body_size)
{
    static uint8_t bytes[BODY_MAX], expected[BODY_MAX];
    struct arena a;
    struct entry e;
    Thurn__StoredEmail *email;
    arena_init(&a, 1 << 20);
    assert_ok(snap_entry(s, INBOX, (msg_uid){uid}, &e));
    assert_ok(snap_email(s, e.email, &a, &email));
    assert_int_equal(email->size, body_size);
    assert_ok(snap_content(s, email, 0, bytes, body_size));
    (void)noise(expected, body_size, uid);
    assert_memory_equal(bytes, expected, body_size);
    arena_free(&a);
}

static void expects_messages(struct house *h, uint32_t from, uint32_t to, size_t body_size)
{
    struct snap *s;
    assert_ok(snap_open(h->alice, &s));
    for (uint32_t uid = from; uid <= to; uid++)
        expects_message(s, uid, body_size);
    snap_close(s);
}

static void without_room_for_mail_users_still_delete(void **state)
{
    struct house *h = *state;
    if (!h)
        skip();
    house_open(h);
    assert_ok(store_account_create(h->store, ALICE, NULL, 0));
    assert_ok(account_open(h->store, ALICE, &h->alice));
    mailbox_id other = create_mailbox(h, "Other");
    uint32_t n = fill(h, 0, BODY_MAX, 100);
    assert_true(n > 500); /* most of the disk serves mail */
    for (int round = 0; round < 2; round++) {
        assert_ok(flag_all(h, n, 1u << round));
        house_reopen(h);
        n = fill(h, n, BODY_MAX, 100); /* a restart tidies up and so may make some room */
    }
    for (uint32_t uid = 1; uid <= 100; uid++)
        expunge(h, INBOX, (msg_uid){uid});
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_delete(t, other));
    assert_ok(txn_commit(t));
    house_reopen(h);
    expects_messages(h, 101, n, BODY_MAX);
    house_reopen_from_log(h);
    expects_messages(h, 101, n, BODY_MAX);
}

/* In a process of its own that ends without a word: mail until that is refused, then changes until
 * those are refused too. */
static void fill_up_and_die(struct house *h, uint32_t *acknowledged)
{
    if (fork() == 0) {
        house_open(h);
        assert_ok(store_account_create(h->store, ALICE, NULL, 0));
        assert_ok(account_open(h->store, ALICE, &h->alice));
        *acknowledged = fill(h, 0, 300, 6000);
        struct err result = OK;
        for (uint32_t flags = 0; result.code == E_OK; flags ^= 1)
            result = flag_all(h, *acknowledged, flags);
        _exit(result.code == E_FULL ? 0 : 1);
    }
    int status;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
}

static void the_index_gets_by_with_what_is_kept_for_it(void **state)
{
    struct house *h = *state;
    if (!h)
        skip();
    uint32_t *acknowledged =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(acknowledged != MAP_FAILED);
    fill_up_and_die(h, acknowledged);
    uint32_t n = *acknowledged;
    assert_true(n > 1000);
    house_open(h); /* replays, and writes files of the index */
    assert_ok(account_open(h->store, ALICE, &h->alice));
    for (int round = 0; round < 3; round++) {
        n = fill(h, n, 300, 6000);
        expects_messages(h, 1, n, 300);
        house_reopen(h);
    }
    (void)munmap(acknowledged, 4096);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, mount_small, unmount_small)
    const struct CMUnitTest tests[] = {
        /* First, as it forks: RocksDB's threads do not come along. */
        T(the_index_gets_by_with_what_is_kept_for_it),
        T(without_room_for_mail_users_still_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
