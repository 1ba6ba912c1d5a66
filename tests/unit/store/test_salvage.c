/* What can be read of a damaged store comes into a new one exactly as it was; what cannot is named.
 */
#include "flip.h"
#include "model_house.h"
#include "store/log.h"
#include "store/model.h"

enum { LETTERS = 40 };

struct told {
    struct buf text;
    unsigned damaged, lost;
};

struct yard {
    struct house h; /* the one that is damaged */
    char to[80];
    struct buf before; /* a dump */
    struct told told;
    struct salvage_counts counts;
};

static struct str letter(unsigned i)
{
    static char text[LETTERS * 2][801];
    int n = snprintf(text[i], sizeof text[i],
                     "Subject: letter %u\r\nMessage-ID: <%u@example.org>\r\n\r\n", i, i);
    memset(text[i] + n, 'a' + (int)(i % 26), sizeof text[i] - 1 - (size_t)n);
    return str_of((const uint8_t *)text[i], sizeof text[i] - 1);
}

/* Two mailboxes with flags, keywords, gaps and a copy, and something in the directory. */
static void furnish(struct house *h)
{
    mailbox_id other = create_mailbox(h, "Work/Plans");
    struct txn *t;
    unsigned bit;
    for (unsigned i = 0; i < LETTERS; i++) {
        assert_ok(txn_begin(h->alice, &t));
        (void)txn_message(t, i % 4 ? INBOX : other, letter(i), i % 32);
        assert_ok(txn_commit(t));
    }
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_keyword(t, INBOX, STR("$plan"), &bit));
    assert_ok(txn_entry_flags(t, INBOX, (msg_uid){5}, 1, UINT64_C(1) << bit));
    assert_ok(txn_subscribe(t, STR("Work/Plans"), true));
    assert_ok(txn_put(t, STR("setting"), STR("value")));
    struct entry e;
    msg_uid copy;
    assert_ok(snap_entry(txn_snap(t), INBOX, (msg_uid){7}, &e));
    assert_ok(txn_entry_add(t, other, e.email, 4, 0, 99, &copy));
    assert_ok(txn_commit(t));
    expunge(h, INBOX, (msg_uid){3});
    expunge(h, other, (msg_uid){2});
    assert_ok(store_account_create(h->store, ACCOUNT_SYSTEM, NULL, 0));
    struct account *system;
    assert_ok(account_open(h->store, ACCOUNT_SYSTEM, &system));
    assert_ok(txn_begin(system, &t));
    assert_ok(txn_put(t, STR("d/example.org"), STR("domain")));
    assert_ok(txn_commit(t));
    account_close(system);
}

static void dump_entry(struct snap *s, const struct entry *e, struct buf *out)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    Thurn__StoredEmail *email;
    assert_ok(snap_email(s, e->email, &a, &email));
    struct buf content CLEANUP(buf_free) = {0};
    uint8_t *p = buf_room(&content, (size_t)email->size);
    assert_ok(snap_content(s, email, 0, p, (size_t)email->size));
    buf_added(&content, (size_t)email->size);
    buf_printf(out, "  %u %u %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRIu64 " %.20s\n", e->uid.v,
               e->flags, e->keywords, e->modseq.v, e->internal_date, e->size,
               (const char *)content.p);
    arena_free(&a);
}

static void dump(struct store *store, struct buf *out)
{
    struct account *a;
    struct snap *s;
    struct arena arena;
    Thurn__Mailbox **boxes;
    struct str *subscribed, value;
    size_t n, n_subscribed;
    arena_init(&arena, 1 << 20);
    assert_ok(account_open(store, ALICE, &a));
    assert_ok(snap_open(a, &s));
    assert_ok(snap_mailboxes(s, &arena, &boxes, &n));
    assert_ok(snap_subscriptions(s, &arena, &subscribed, &n_subscribed));
    assert_ok(snap_get(s, STR("setting"), &arena, &value));
    buf_printf(out, "%" PRIu64 " %" PRIu64 " %zu %.*s\n", snap_modseq(s).v, snap_head(s)->bytes,
               n_subscribed, STR_FMT(value));
    for (size_t i = 0; i < n; i++) {
        const Thurn__Mailbox *m = boxes[i];
        if (str_eq(row_bytes(m->name), STR("Recovered")))
            continue;
        buf_printf(out, "%.*s %u %u %u %" PRIu64 " %u %u %zu\n", STR_FMT(row_bytes(m->name)), m->id,
                   m->uidvalidity, m->uidnext, m->highest_modseq, m->exists, m->unseen,
                   m->n_keywords);
        struct entry entries[LETTERS];
        size_t n_entries;
        assert_ok(snap_entries(s, (mailbox_id){m->id}, (msg_uid){1}, (msg_uid){UINT32_MAX}, entries,
                               ARRAY_LEN(entries), &n_entries));
        for (size_t k = 0; k < n_entries; k++)
            dump_entry(s, &entries[k], out);
    }
    snap_close(s);
    account_close(a);
    assert_ok(account_open(store, ACCOUNT_SYSTEM, &a));
    assert_ok(snap_open(a, &s));
    assert_ok(snap_get(s, STR("d/example.org"), &arena, &value));
    assert_true(str_eq(value, STR("domain")));
    snap_close(s);
    account_close(a);
    arena_free(&arena);
}

static size_t recovered(struct store *store)
{
    struct account *a;
    struct snap *s;
    struct arena arena;
    Thurn__Mailbox *m;
    arena_init(&arena, 1 << 20);
    assert_ok(account_open(store, ALICE, &a));
    assert_ok(snap_open(a, &s));
    size_t n = snap_mailbox_named(s, STR("Recovered"), &arena, &m).code ? 0 : m->exists;
    snap_close(s);
    account_close(a);
    arena_free(&arena);
    return n;
}

static int setup(void **state)
{
    struct yard *y = mem_alloc(sizeof *y);
    house_new(&y->h);
    furnish(&y->h);
    house_reopen(&y->h);
    dump(y->h.store, &y->before);
    (void)snprintf(y->to, sizeof y->to, "%s.new", y->h.dir);
    *state = y;
    return 0;
}

static int teardown(void **state)
{
    struct yard *y = *state;
    house_close(&y->h);
    remove_tree(y->h.dir);
    remove_tree(y->to);
    buf_free(&y->before);
    buf_free(&y->told.text);
    free(y);
    return 0;
}

static void damaged(struct str what, void *arg)
{
    struct yard *y = arg;
    y->told.damaged++;
    buf_printf(&y->told.text, "%.*s\n", STR_FMT(what));
}

static void lost(const struct salvage_lost *l, void *arg)
{
    struct yard *y = arg;
    y->told.lost++;
    buf_printf(&y->told.text, "lost: %.*s %u: %.*s\n", STR_FMT(l->mailbox), l->uid.v,
               STR_FMT(l->why));
}

static void path_of(const struct yard *y, const char *name, char out[200])
{
    assert_true(snprintf(out, 200, "%s/%s", y->h.dir, name) < 200);
}

/* Salvages, and opens the new store instead of the old one; its check finds nothing. */
static void salvage(struct yard *y)
{
    const struct salvage_report report = {.damaged = damaged, .lost = lost, .arg = y};
    struct buf explain CLEANUP(buf_free) = {0};
    house_close(&y->h);
    struct err e = store_salvage(str_c(y->h.dir), str_c(y->to), &report, &y->counts, &explain);
    if (e.code)
        fail_msg("%s: %.*s", e.why, STR_FMT(buf_str(&explain)));
    assert_ok(store_check(str_c(y->to), nothing_to_find, NULL, NULL, &explain));
    struct store_options o = {.dir = str_c(y->to)};
    assert_ok(store_open(&o, &y->h.store, &explain));
}

static void same(struct yard *y)
{
    struct buf now CLEANUP(buf_free) = {0};
    dump(y->h.store, &now);
    if (!str_eq(buf_str(&now), buf_str(&y->before)))
        fail_msg("before:\n%.*s\nafter:\n%.*s\nsaid:\n%.*s", STR_FMT(buf_str(&y->before)),
                 STR_FMT(buf_str(&now)), STR_FMT(buf_str(&y->told.text)));
    assert_int_equal(recovered(y->h.store), 0);
}

static void a_store_without_damage_comes_out_the_same(void **state)
{
    struct yard *y = *state;
    salvage(y);
    same(y);
    assert_int_equal(y->told.damaged + y->told.lost, 0);
    assert_int_equal(y->counts.lost, 0);
}

/* So many that the new store folds them on the way, and the old one has. */
static void a_large_mailbox_comes_out_the_same(void **state)
{
    struct yard *y = *state;
    struct txn *t;
    struct snap *s;
    struct arena a;
    struct uid_run *runs;
    size_t n_runs;
    for (unsigned i = 0; i < 11; i++) {
        assert_ok(txn_begin(y->h.alice, &t));
        for (unsigned k = 0; k < 512; k++)
            (void)txn_message(t, INBOX, letter(k % LETTERS), 0);
        assert_ok(txn_commit(t));
    }
    maintain(&y->h);
    expunge(&y->h, INBOX, (msg_uid){100});
    msg_uid last = {0};
    last.v = deliver(&y->h, INBOX, "the last").v;
    expunge(&y->h, INBOX, last); /* its UID is never given out again */
    buf_clear(&y->before);
    dump(y->h.store, &y->before);
    salvage(y);
    same(y);
    assert_ok(account_open(y->h.store, ALICE, &y->h.alice));
    assert_int_equal(deliver(&y->h, INBOX, "the next").v, last.v + 1);
    maintain(&y->h);
    arena_init(&a, 1 << 20);
    assert_ok(snap_open(y->h.alice, &s));
    assert_ok(snap_uids(s, INBOX, (msg_uid){1}, &a, &runs, &n_runs));
    uint32_t count = 0;
    for (size_t i = 0; i < n_runs; i++)
        count += runs[i].count;
    struct entry e;
    assert_ok(snap_entry(s, INBOX, (msg_uid){last.v + 1}, &e));
    snap_close(s);
    arena_free(&a);
    assert_int_equal(count, y->counts.messages + 1 - 10); /* nine and a copy are elsewhere */
}

/* What the record of a mailbox says of its blocks does not hold in the new store. */
static void a_mailbox_that_was_folded_comes_out_the_same(void **state)
{
    struct yard *y = *state;
    struct txn *t;
    assert_ok(txn_begin(y->h.alice, &t));
    for (unsigned k = 0; k < 600; k++)
        (void)txn_message(t, INBOX, letter(k % LETTERS), 0);
    assert_ok(txn_commit(t));
    maintain(&y->h);
    buf_clear(&y->before);
    dump(y->h.store, &y->before);
    salvage(y);
    same(y);
}

static void without_an_index_the_log_tells_everything(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    path_of(y, "index", path);
    remove_tree(path);
    salvage(y);
    same(y);
    assert_int_equal(y->told.lost, 0);
}

static void an_index_that_does_not_open_is_made_from_the_log(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    path_of(y, "index/CURRENT", path);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0 && write(fd, "nonsense\n", 9) == 9);
    close(fd);
    salvage(y);
    same(y);
    assert_true(y->told.damaged > 0);
}

/* A file that cannot be read: here it is none. */
static void an_index_that_cannot_be_copied_is_made_from_the_log(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    path_of(y, "index/000999.sst", path);
    assert_int_equal(mkdir(path, 0700), 0);
    salvage(y);
    same(y);
    assert_true(y->told.damaged > 0);
}

static void each_table(struct yard *y, void (*damage)(const char *path))
{
    char dir[200], path[600];
    path_of(y, "index", dir);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; d && (e = readdir(d));) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (str_ends(str_c(e->d_name), STR(".sst")))
            damage(path);
    }
    closedir(d);
}

static void flip_first_block(const char *path)
{
    flip_byte(path, 100);
}

static void an_unreadable_block_of_the_index_is_made_up_for_by_the_log(void **state)
{
    struct yard *y = *state;
    house_close(&y->h);
    each_table(y, flip_first_block);
    salvage(y);
    same(y);
    assert_true(y->told.damaged > 0);
}

/* What is left of both is not much, but whole. */
static void an_unreadable_index_and_half_a_log_give_what_they_have(void **state)
{
    struct yard *y = *state;
    char path[200];
    for (unsigned i = 0; i < 8; i++)
        deliver(&y->h, INBOX, (const char *)letter(LETTERS + i).p);
    house_close(&y->h);
    path_of(y, "log/00000001.seg", path);
    assert_int_equal(unlink(path), 0);
    each_table(y, flip_first_block);
    salvage(y);
    assert_true(y->told.damaged > 0);
}

static void a_missing_format_file_is_no_loss(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    path_of(y, "format", path);
    assert_int_equal(unlink(path), 0);
    salvage(y);
    same(y);
    assert_int_equal(y->told.lost, 0);
}

/* Where in the log the letter stands. */
static long place_of(const struct yard *y, struct str text, char path[200])
{
    for (unsigned i = 1; i < 9; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "log/%08u.seg", i);
        path_of(y, name, path);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        static uint8_t bytes[2 << 20];
        ssize_t n = read(fd, bytes, sizeof bytes);
        close(fd);
        size_t at = str_find(str_of(bytes, (size_t)n), text, 0);
        if (at < (size_t)n)
            return (long)at;
    }
    fail_msg("the letter is nowhere");
    return 0;
}

static void a_damaged_body_costs_only_its_own_message(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    flip_byte(path, place_of(y, letter(9), path) + 300);
    salvage(y);
    struct str said = buf_str(&y->told.text);
    assert_int_equal(y->told.lost, 2); /* and its copy is lost with it */
    assert_int_equal(y->counts.messages, LETTERS + 1 - 2 - 2);
    assert_true(str_find(said, STR("lost: INBOX 7: the body does not match"), 0) < said.n);
    assert_true(str_find(said, STR("lost: Work/Plans"), 0) < said.n);
    assert_int_equal(recovered(y->h.store), 0);
}

static void a_damaged_batch_does_not_matter_where_the_index_is_there(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    flip_byte(path, place_of(y, letter(9), path) + 800 + RECORD_HEADER + 20);
    salvage(y);
    same(y);
    assert_int_equal(y->told.lost, 0);
}

static void bytes_of_which_the_index_is_lost_come_into_recovered(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    flip_byte(path, place_of(y, letter(9), path) + 800 + RECORD_HEADER + 20);
    path_of(y, "index", path);
    remove_tree(path);
    salvage(y);
    assert_true(y->told.damaged > 0);
    assert_int_equal(recovered(y->h.store), 1);
}

static void an_account_that_was_erased_does_not_come_back(void **state)
{
    struct yard *y = *state;
    char path[200];
    struct account *bob;
    struct txn *t;
    assert_ok(store_account_create(y->h.store, BOB, NULL, 0));
    assert_ok(account_open(y->h.store, BOB, &bob));
    assert_ok(txn_begin(bob, &t));
    (void)txn_message(t, INBOX, STR("of somebody who has gone"), 0);
    assert_ok(txn_commit(t));
    account_close(bob);
    assert_ok(store_account_erase(y->h.store, BOB));
    house_close(&y->h);
    path_of(y, "index", path);
    remove_tree(path);
    salvage(y);
    same(y);
    assert_int_equal(y->counts.accounts, 1);
    assert_err(account_open(y->h.store, BOB, &bob), E_NOTFOUND);
}

/* -- bodies that two accounts share -- */

#define SHARED "Subject: shared\r\n\r\none letter to two people\r\n"

/* Into the INBOX, in a group of its own; the bytes are written once. */
static void deliver_to(struct account *a, struct body *body)
{
    struct buf record CLEANUP(buf_free) = {0};
    struct txn *t;
    email_id id;
    msg_uid uid;
    email_record_flat(STR(SHARED).n, &record);
    struct new_email e = {.body = body, .record = buf_str(&record), .why = STR("test")};
    assert_ok(txn_begin(a, &t));
    assert_ok(txn_email_add(t, &e, &id));
    assert_ok(txn_entry_add(t, INBOX, id, 0, 0, 1000, &uid));
    assert_ok(txn_commit(t));
}

static void deliver_to_both(struct yard *y)
{
    struct account *bob;
    struct body *body = body_new(STR(SHARED));
    assert_ok(store_account_create(y->h.store, BOB, NULL, 0));
    assert_ok(account_open(y->h.store, BOB, &bob));
    deliver_to(y->h.alice, body);
    deliver_to(bob, body);
    account_close(bob);
    body_unref(body);
}

/* A byte of the batch by which the account got the shared letter, but not of what says so. */
static void damage_delivery(struct yard *y, account_id id)
{
    static uint8_t bytes[2 << 20];
    struct record_header h;
    char path[200];
    size_t at = (size_t)place_of(y, STR(SHARED), path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, bytes, sizeof bytes);
    close(fd);
    struct str all = str_of(bytes, (size_t)MAX(n, (ssize_t)0));
    for (at &= ~(size_t)7; at < all.n; at += 8)
        if (!record_header_get(str_skip(all, at), &h).code && h.kind == RECORD_BATCH &&
            h.account == id.v)
            break;
    assert_true(at < all.n);
    flip_byte(path, (long)at + RECORD_HEADER + 4);
}

static size_t messages_of(const struct yard *y, account_id id)
{
    struct account *a;
    struct snap *s;
    if (account_open(y->h.store, id, &a).code)
        return 0;
    assert_ok(snap_open(a, &s));
    size_t n = snap_head(s)->messages;
    snap_close(s);
    account_close(a);
    return n;
}

static void without_index(struct yard *y)
{
    char path[200];
    path_of(y, "index", path);
    remove_tree(path);
}

static void a_shared_body_comes_back_to_each_of_its_accounts(void **state)
{
    struct yard *y = *state;
    deliver_to_both(y);
    house_close(&y->h);
    damage_delivery(y, BOB);
    without_index(y);
    salvage(y);
    assert_int_equal(messages_of(y, BOB), 1);
    assert_int_equal(messages_of(y, ALICE), LETTERS + 1 - 2 + 1);
}

/* The index cannot be read, the log not be replayed, but it tells whose the body is. */
static void a_shared_body_comes_back_if_there_is_half_a_log(void **state)
{
    struct yard *y = *state;
    char path[200];
    deliver_to_both(y);
    house_close(&y->h);
    path_of(y, "log/00000001.seg", path);
    assert_int_equal(unlink(path), 0);
    each_table(y, flip_first_block);
    salvage(y);
    assert_int_equal(messages_of(y, ALICE), 1);
    assert_int_equal(messages_of(y, BOB), 1);
}

static void what_one_account_gave_up_is_not_lost_to_the_other(void **state)
{
    struct yard *y = *state;
    deliver_to_both(y);
    assert_ok(store_account_erase(y->h.store, BOB));
    house_close(&y->h);
    damage_delivery(y, ALICE);
    without_index(y);
    salvage(y);
    assert_int_equal(messages_of(y, ALICE), LETTERS + 1 - 2 + 1);
    assert_int_equal(messages_of(y, BOB), 0);
}

static void a_damaged_number_of_a_group_costs_nothing_behind_it(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    flip_byte(path, place_of(y, letter(9), path) - RECORD_HEADER - GROUP_HEADER + 14);
    path_of(y, "index", path);
    remove_tree(path);
    salvage(y);
    assert_true(y->told.damaged > 0);
    same(y);
}

static void a_missing_log_segment_costs_only_its_bodies(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    path_of(y, "log/00000001.seg", path);
    assert_int_equal(unlink(path), 0);
    salvage(y);
    assert_true(y->told.lost > 0);
    assert_int_equal(y->counts.messages + y->counts.lost, LETTERS + 1 - 2);
}

static void a_torn_log_segment_gives_what_stands_before(void **state)
{
    struct yard *y = *state;
    char path[200];
    house_close(&y->h);
    long at = place_of(y, letter(20), path);
    assert_int_equal(truncate(path, at + 100), 0);
    salvage(y);
    assert_true(y->counts.lost > 0 && y->counts.lost < LETTERS / 2 + 5);
    assert_int_equal(y->counts.messages + y->counts.lost, LETTERS + 1 - 2);
}

static void a_store_in_use_is_left_alone(void **state)
{
    struct yard *y = *state;
    const struct salvage_report report = {.damaged = damaged, .lost = lost, .arg = y};
    struct buf explain CLEANUP(buf_free) = {0};
    assert_err(store_salvage(str_c(y->h.dir), str_c(y->to), &report, &y->counts, &explain),
               E_EXISTS);
    assert_true(explain.n > 0);
    assert_err(store_salvage(str_c(y->to), str_c(y->h.dir), &report, &y->counts, &explain),
               E_EXISTS); /* nor is anything put into a directory that holds something */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_store_without_damage_comes_out_the_same),
        T(a_large_mailbox_comes_out_the_same),
        T(a_mailbox_that_was_folded_comes_out_the_same),
        T(without_an_index_the_log_tells_everything),
        T(an_index_that_does_not_open_is_made_from_the_log),
        T(an_index_that_cannot_be_copied_is_made_from_the_log),
        T(an_unreadable_block_of_the_index_is_made_up_for_by_the_log),
        T(an_unreadable_index_and_half_a_log_give_what_they_have),
        T(a_missing_format_file_is_no_loss),
        T(a_damaged_body_costs_only_its_own_message),
        T(a_damaged_batch_does_not_matter_where_the_index_is_there),
        T(bytes_of_which_the_index_is_lost_come_into_recovered),
        T(an_account_that_was_erased_does_not_come_back),
        T(a_shared_body_comes_back_to_each_of_its_accounts),
        T(a_shared_body_comes_back_if_there_is_half_a_log),
        T(what_one_account_gave_up_is_not_lost_to_the_other),
        T(a_damaged_number_of_a_group_costs_nothing_behind_it),
        T(a_missing_log_segment_costs_only_its_bodies),
        T(a_torn_log_segment_gives_what_stands_before),
        T(a_store_in_use_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
