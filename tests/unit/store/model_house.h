/* A store in a directory of its own, for the tests of the model. */
#ifndef THURN_TESTS_MODEL_HOUSE_H
#define THURN_TESTS_MODEL_HOUSE_H

#include "base/base.h"
#include "store/store.h"

#include <dirent.h>
#include <setjmp.h>
#include <cmocka.h>

#define assert_ok(expr)                                                                            \
    do {                                                                                           \
        struct err assert_err_ = (expr);                                                           \
        if (assert_err_.code != E_OK)                                                              \
            fail_msg("%s: %s (%s)", #expr, errc_name(assert_err_.code),                            \
                     assert_err_.why ? assert_err_.why : "");                                      \
    } while (0)
#define assert_err(expr, errc) assert_string_equal(errc_name((expr).code), errc_name(errc))

static const account_id ALICE UNUSED = {100}, BOB UNUSED = {101};
static const mailbox_id INBOX UNUSED = {1};

struct house {
    char dir[64];
    struct store *store;
    struct account *alice;
    void (*changed)(account_id account, modseq at, void *arg);
};

enum { HISTORY = 28 * 86400 };

/* The clock of the stores of these tests: seconds that are added to the real one. */
static int64_t house_ahead UNUSED;
static UNUSED int64_t house_clock(void)
{
    return clock_wall_s() + house_ahead;
}

static UNUSED void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (str_eq(str_c(e->d_name), STR(".")) || str_eq(str_c(e->d_name), STR("..")))
            continue;
        char inside[1024];
        assert_true(snprintf(inside, sizeof inside, "%s/%s", path, e->d_name) < 1024);
        if (unlink(inside) < 0)
            remove_tree(inside);
    }
    if (d)
        closedir(d);
    (void)rmdir(path);
}

static UNUSED void house_open(struct house *h)
{
    struct buf explain CLEANUP(buf_free) = {0};
    struct store_options o = {.dir = str_c(h->dir),
                              .segment_size = 1 << 20,
                              .cache_size = 1 << 20,
                              .clock = house_clock,
                              .changed = h->changed,
                              .changed_arg = h};
    struct err e = store_open(&o, &h->store, &explain);
    if (e.code != E_OK)
        fail_msg("store_open: %s %.*s", e.why, STR_FMT(buf_str(&explain)));
}

static UNUSED void house_close(struct house *h)
{
    if (!h->store)
        return;
    account_close(h->alice);
    h->alice = NULL;
    store_close(h->store);
    h->store = NULL;
}

static UNUSED void house_reopen(struct house *h)
{
    house_close(h);
    house_open(h);
    assert_ok(account_open(h->store, ALICE, &h->alice));
}

/* The index is made from the log: without it everything must be there again. */
static UNUSED void house_reopen_from_log(struct house *h)
{
    house_close(h);
    char index[128];
    assert_true(snprintf(index, sizeof index, "%s/index", h->dir) < 128);
    remove_tree(index);
    house_open(h);
    assert_ok(account_open(h->store, ALICE, &h->alice));
}

static UNUSED void house_new(struct house *h)
{
    *h = (struct house){0};
    (void)snprintf(h->dir, sizeof h->dir, "/tmp/thurn-model-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    house_open(h);
    assert_ok(store_account_create(h->store, ALICE, NULL, 0));
    assert_ok(account_open(h->store, ALICE, &h->alice));
}

static UNUSED int house_setup(void **state)
{
    struct house *h = mem_alloc(sizeof *h);
    house_new(h);
    *state = h;
    return 0;
}

static UNUSED int house_teardown(void **state)
{
    struct house *h = *state;
    house_close(h);
    remove_tree(h->dir);
    free(h);
    return 0;
}

/* A record of which listings show something: the bytes are the subject as well. */
static UNUSED void listed_record(struct str bytes, struct buf *out)
{
    struct buf flat CLEANUP(buf_free) = {0};
    email_record_flat(bytes.n, &flat);
    Thurn__Email *e = thurn__email__unpack(NULL, flat.n, buf_str(&flat).p);
    assert_non_null(e);
    Thurn__Address from = THURN__ADDRESS__INIT, *list[] = {&from};
    from.mailbox =
        (ProtobufCBinaryData){.len = MIN(bytes.n, 8), .data = (uint8_t *)(uintptr_t)bytes.p};
    e->envelope->from = list;
    e->envelope->n_from = 1;
    e->envelope->subject =
        (ProtobufCBinaryData){.len = bytes.n, .data = (uint8_t *)(uintptr_t)bytes.p};
    e->envelope->date_time = (int64_t)bytes.n * 1000;
    e->envelope->date_zone = -60;
    buf_added(out, thurn__email__pack(e, buf_room(out, thurn__email__get_packed_size(e))));
    e->envelope->n_from = 0;
    e->envelope->from = NULL;
    e->envelope->subject = (ProtobufCBinaryData){0};
    thurn__email__free_unpacked(e, NULL);
}

/* Adds a message with these bytes to a mailbox, in this transaction. */
static UNUSED msg_uid txn_message(struct txn *t, mailbox_id m, struct str bytes, uint32_t flags)
{
    struct buf record CLEANUP(buf_free) = {0};
    listed_record(bytes, &record);
    struct body *body = body_new(bytes);
    struct new_email e = {.body = body, .record = buf_str(&record), .why = STR("test")};
    email_id id;
    msg_uid uid;
    assert_ok(txn_email_add(t, &e, &id));
    assert_ok(txn_entry_add(t, m, id, flags, 0, 1000, &uid));
    body_unref(body);
    return uid;
}

static UNUSED msg_uid deliver(struct house *h, mailbox_id m, const char *text)
{
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    msg_uid uid = txn_message(t, m, str_c(text), 0);
    assert_ok(txn_commit(t));
    return uid;
}

/* Everything there is to do. */
static UNUSED void maintain(struct house *h)
{
    for (unsigned i = 0; account_wants_maintenance(h->alice); i++) {
        assert_true(i < 100000);
        assert_ok(account_maintain(h->alice));
    }
}

static UNUSED void nothing_to_find(account_id account, struct str what, void *arg)
{
    (void)arg;
    fail_msg("%" PRIu64 ": %.*s", account.v, STR_FMT(what));
}

static UNUSED void set_flags(struct house *h, mailbox_id m, msg_uid uid, uint32_t flags)
{
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_entry_flags(t, m, uid, flags, 0));
    assert_ok(txn_commit(t));
}

static UNUSED void expunge(struct house *h, mailbox_id m, msg_uid uid)
{
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_entry_expunge(t, m, uid));
    assert_ok(txn_commit(t));
}

static UNUSED mailbox_id create_mailbox(struct house *h, const char *name)
{
    struct txn *t;
    mailbox_id id;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_create(t, str_c(name), 0, &id));
    assert_ok(txn_commit(t));
    return id;
}

#endif
