/* Several accounts from several threads: one writer each, readers at any time, deliveries that
 * share their bytes and are not waited for one by one. */
#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_house.h"

enum { ACCOUNTS = 3, READERS = 2, ROUNDS = 150 };

struct street {
    struct house h;
    struct account *accounts[ACCOUNTS];
    struct body *shared;
    atomic_bool stop;
    atomic_uint pokes;
    _Atomic(const char *) wrong;
};
struct worker {
    struct street *street;
    size_t index;
    pthread_t thread;
};

/* cmocka's assertions belong to the main thread; the first thing that is wrong is told there. */
#define must(street, cond)                                                                         \
    do {                                                                                           \
        if (!(cond))                                                                               \
            atomic_store(&(street)->wrong, #cond);                                                 \
    } while (0)

struct flight {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    bool has_landed;
    struct err result;
};

static void landed(struct err result, void *arg)
{
    struct flight *f = arg;
    pthread_mutex_lock(&f->lock);
    f->result = result;
    f->has_landed = true;
    pthread_cond_signal(&f->landed);
    pthread_mutex_unlock(&f->lock);
}

static struct err commit_async_and_wait(struct txn *t)
{
    struct flight f = {.lock = PTHREAD_MUTEX_INITIALIZER, .landed = PTHREAD_COND_INITIALIZER};
    txn_commit_async(t, landed, &f);
    pthread_mutex_lock(&f.lock);
    while (!f.has_landed)
        pthread_cond_wait(&f.landed, &f.lock);
    pthread_mutex_unlock(&f.lock);
    return f.result;
}

static struct err add_shared(struct street *s, struct txn *t)
{
    struct buf record CLEANUP(buf_free) = {0};
    email_record_flat(6, &record);
    struct new_email e = {.body = s->shared, .record = buf_str(&record)};
    email_id id;
    msg_uid uid;
    TRY(txn_email_add(t, &e, &id));
    return txn_entry_add(t, INBOX, id, 0, 0, 1, &uid);
}

static void *write_thread(void *arg)
{
    struct worker *w = arg;
    struct street *s = w->street;
    struct account *a = s->accounts[w->index];
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        struct txn *t;
        must(s, txn_begin(a, &t).code == E_OK);
        for (unsigned k = 0; k < 10; k++)
            must(s, add_shared(s, t).code == E_OK);
        if (i % 3 == 0)
            must(s, txn_entry_flags(t, INBOX, (msg_uid){i}, 1, 0).code == E_OK);
        if (i % 7 == 0)
            must(s, txn_entry_expunge(t, INBOX, (msg_uid){i * 10 - 15}).code == E_OK);
        must(s, (i % 2 ? txn_commit(t) : commit_async_and_wait(t)).code == E_OK);
        if (account_wants_maintenance(a))
            must(s, account_maintain(a).code == E_OK);
        (void)account_claim_recent(a, INBOX, (msg_uid){i});
    }
    return NULL;
}

/* In every snapshot, counters, entries and runs tell the same. */
static void read_once(struct street *s, struct account *a, struct entry *list)
{
    struct snap *snap;
    struct arena arena;
    arena_init(&arena, 1 << 22);
    modseq before = account_modseq(a);
    must(s, snap_open(a, &snap).code == E_OK);
    must(s, snap_modseq(snap).v >= before.v);
    Thurn__Mailbox *m;
    must(s, snap_mailbox(snap, INBOX, &arena, &m).code == E_OK);
    size_t n = 0, n_runs = 0, in_runs = 0;
    must(s, snap_entries(snap, INBOX, (msg_uid){1}, (msg_uid){UINT32_MAX}, list, ROUNDS * 10, &n)
                    .code == E_OK);
    struct uid_run *runs;
    must(s, snap_uids(snap, INBOX, (msg_uid){1}, &arena, &runs, &n_runs).code == E_OK);
    for (size_t i = 0; i < n_runs; i++)
        in_runs += runs[i].count;
    must(s, n == m->exists);
    must(s, in_runs == n);
    must(s, m->highest_modseq == snap_modseq(snap).v);
    if (n) {
        Thurn__StoredEmail *e;
        uint8_t bytes[6];
        must(s, snap_email(snap, list[n - 1].email, &arena, &e).code == E_OK);
        must(s, snap_content(snap, e, 0, bytes, 6).code == E_OK);
        must(s, memcmp(bytes, "shared", 6) == 0);
    }
    (void)account_first_recent(a, INBOX);
    snap_close(snap);
    arena_free(&arena);
}

static void *read_thread(void *arg)
{
    struct worker *w = arg;
    struct street *s = w->street;
    struct entry *list = mem_alloc(ROUNDS * 10 * sizeof *list);
    for (size_t i = w->index; !atomic_load(&s->stop); i++) {
        struct account *a;
        must(s, account_open(s->h.store, (account_id){200 + i % ACCOUNTS}, &a).code == E_OK);
        read_once(s, a, list);
        account_close(a);
    }
    free(list);
    return NULL;
}

static void poke(account_id account, modseq at, void *arg)
{
    struct street *s = arg;
    must(s, account.v >= 200 && at.v > 1);
    atomic_fetch_add(&s->pokes, 1);
}

static void street_open(struct street *s)
{
    (void)snprintf(s->h.dir, sizeof s->h.dir, "/tmp/thurn-model-XXXXXX");
    assert_non_null(mkdtemp(s->h.dir));
    struct buf explain CLEANUP(buf_free) = {0};
    struct store_options o = {.dir = str_c(s->h.dir), .changed = poke, .changed_arg = s};
    assert_ok(store_open(&o, &s->h.store, &explain));
    for (size_t i = 0; i < ACCOUNTS; i++) {
        assert_ok(store_account_create(s->h.store, (account_id){200 + i}, NULL, 0));
        assert_ok(account_open(s->h.store, (account_id){200 + i}, &s->accounts[i]));
    }
    s->shared = body_new(STR("shared"));
}

static void complain(account_id account, struct str what, void *arg)
{
    (void)arg;
    fail_msg("%" PRIu64 ": %.*s", account.v, STR_FMT(what));
}

static void accounts_do_not_disturb_one_another_nor_their_readers(void **state)
{
    (void)state;
    struct street *s = mem_alloc(sizeof *s);
    struct worker writers[ACCOUNTS], readers[READERS];
    street_open(s);
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct worker){.street = s, .index = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_thread, &readers[i]), 0);
    }
    for (size_t i = 0; i < ACCOUNTS; i++) {
        writers[i] = (struct worker){.street = s, .index = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_thread, &writers[i]), 0);
    }
    for (size_t i = 0; i < ACCOUNTS; i++)
        pthread_join(writers[i].thread, NULL);
    atomic_store(&s->stop, true);
    for (size_t i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    if (atomic_load(&s->wrong))
        fail_msg("%s", atomic_load(&s->wrong));
    assert_int_equal(atomic_load(&s->pokes), ACCOUNTS * ROUNDS);
    for (size_t i = 0; i < ACCOUNTS; i++)
        account_close(s->accounts[i]);
    body_unref(s->shared);
    store_close(s->h.store);
    struct buf explain CLEANUP(buf_free) = {0};
    assert_ok(store_check(str_c(s->h.dir), complain, NULL, NULL, &explain));
    remove_tree(s->h.dir);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_do_not_disturb_one_another_nor_their_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
