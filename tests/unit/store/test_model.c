#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_house.h"
#include "store/layout.h"

/* What a reader sees of one message now. */
static struct err look(struct house *h, mailbox_id m, msg_uid uid, struct entry *out)
{
    struct snap *s;
    assert_ok(snap_open(h->alice, &s));
    struct err e = snap_entry(s, m, uid, out);
    snap_close(s);
    return e;
}

static Thurn__Mailbox *look_mailbox(struct house *h, const char *name, struct arena *a)
{
    struct snap *s;
    Thurn__Mailbox *m;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_mailbox_named(s, str_c(name), a, &m));
    snap_close(s);
    return m;
}

static bool mailbox_exists(struct house *h, const char *name)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct snap *s;
    Thurn__Mailbox *m;
    assert_ok(snap_open(h->alice, &s));
    struct err e = snap_mailbox_named(s, str_c(name), &a, &m);
    snap_close(s);
    arena_free(&a);
    return e.code == E_OK;
}

static void content_is(struct house *h, mailbox_id m, msg_uid uid, const char *text)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct snap *s;
    struct entry e;
    Thurn__StoredEmail *email;
    uint8_t bytes[256];
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_entry(s, m, uid, &e));
    assert_ok(snap_email(s, e.email, &a, &email));
    assert_int_equal(e.size, strlen(text));
    assert_int_equal(email->size, strlen(text));
    assert_ok(snap_content(s, email, 0, bytes, e.size));
    assert_memory_equal(bytes, text, e.size);
    snap_close(s);
    arena_free(&a);
}

/* ------------------------------------------------------------------------- deliveries */

static void a_delivered_message_can_be_read_again_after_a_restart(void **state)
{
    struct house *h = *state;
    msg_uid uid = deliver(h, INBOX, "Subject: hello\r\n\r\nworld\r\n");
    assert_int_equal(uid.v, 1);
    content_is(h, INBOX, uid, "Subject: hello\r\n\r\nworld\r\n");
    house_reopen(h);
    content_is(h, INBOX, uid, "Subject: hello\r\n\r\nworld\r\n");
    house_reopen_from_log(h);
    content_is(h, INBOX, uid, "Subject: hello\r\n\r\nworld\r\n");
}

static void an_empty_message_can_be_kept(void **state)
{
    struct house *h = *state;
    msg_uid uid = deliver(h, INBOX, "");
    content_is(h, INBOX, uid, "");
}

static void a_generated_head_stands_before_the_message(void **state)
{
    struct house *h = *state;
    struct txn *t;
    struct body *body = body_new(STR("Subject: x\r\n\r\n"));
    struct buf record CLEANUP(buf_free) = {0};
    email_record_flat(14, &record);
    struct new_email e = {.head = STR("Return-Path: <>\r\n"),
                          .body = body,
                          .record = buf_str(&record),
                          .text = STR("decoded")};
    email_id id;
    msg_uid uid;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_email_add(t, &e, &id));
    assert_ok(txn_entry_add(t, INBOX, id, 0, 0, 1, &uid));
    assert_ok(txn_commit(t));
    body_unref(body);
    content_is(h, INBOX, uid, "Return-Path: <>\r\nSubject: x\r\n\r\n");
    struct arena a;
    arena_init(&a, 1 << 20);
    struct snap *s;
    Thurn__StoredEmail *email;
    uint8_t part[8];
    struct str text;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_email(s, id, &a, &email));
    assert_ok(snap_content(s, email, 15, part, 8));
    assert_memory_equal(part, "\r\nSubjec", 8);
    assert_err(snap_content(s, email, 30, part, 2), E_INVALID);
    assert_ok(snap_email_text(s, id, &a, &text));
    assert_true(str_eq(text, STR("decoded")));
    snap_close(s);
    arena_free(&a);
}

static void one_message_reaches_several_accounts(void **state)
{
    struct house *h = *state;
    assert_ok(store_account_create(h->store, BOB, NULL, 0));
    struct account *bob;
    assert_ok(account_open(h->store, BOB, &bob));
    struct body *body = body_new(STR("for both"));
    struct buf record CLEANUP(buf_free) = {0};
    email_record_flat(8, &record);
    struct new_email e = {.body = body, .record = buf_str(&record)};
    struct account *to[] = {h->alice, bob};
    for (size_t i = 0; i < 2; i++) {
        struct txn *t;
        email_id id;
        msg_uid uid;
        assert_ok(txn_begin(to[i], &t));
        assert_ok(txn_email_add(t, &e, &id));
        assert_ok(txn_entry_add(t, INBOX, id, 0, 0, 1, &uid));
        assert_ok(txn_commit(t));
    }
    body_unref(body);
    account_close(bob);
    content_is(h, INBOX, (msg_uid){1}, "for both");
    assert_ok(store_account_erase(h->store, BOB));
    assert_err(account_open(h->store, BOB, &bob), E_NOTFOUND);
    content_is(h, INBOX, (msg_uid){1}, "for both");
    house_reopen_from_log(h);
    assert_err(account_open(h->store, BOB, &bob), E_NOTFOUND);
    content_is(h, INBOX, (msg_uid){1}, "for both");
}

static void a_transaction_finds_mailboxes_as_it_has_made_them(void **state)
{
    struct house *h = *state;
    mailbox_id other = create_mailbox(h, "Other"), made, found;
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_find(t, STR("inbox"), &found));
    assert_int_equal(found.v, INBOX.v);
    assert_ok(txn_mailbox_create(t, STR("New"), 0, &made));
    assert_ok(txn_mailbox_rename(t, other, STR("Renamed")));
    assert_ok(txn_mailbox_find(t, STR("New"), &found));
    assert_int_equal(found.v, made.v);
    assert_ok(txn_mailbox_find(t, STR("Renamed"), &found));
    assert_int_equal(found.v, other.v);
    assert_err(txn_mailbox_find(t, STR("Other"), &found), E_NOTFOUND);
    assert_err(txn_mailbox_find(t, STR("/not/a/name"), &found), E_NOTFOUND);
    txn_abort(t);
}

static void a_repeated_delivery_is_recognized(void **state)
{
    struct house *h = *state;
    change_id id = {{0, 1, 2, 255}}, other = {{0, 1, 2, 254}};
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    (void)txn_message(t, INBOX, STR("once"), 0);
    assert_ok(txn_done(t, id, STR("uid 1")));
    assert_ok(txn_commit(t));
    house_reopen(h);
    struct arena a;
    arena_init(&a, 1 << 16);
    struct str answer;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(snap_done(txn_snap(t), id, &a, &answer));
    assert_true(str_eq(answer, STR("uid 1")));
    assert_err(snap_done(txn_snap(t), other, &a, &answer), E_NOTFOUND);
    txn_abort(t);
    arena_free(&a);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct house *h = *state;
    modseq before = account_modseq(h->alice);
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    (void)txn_message(t, INBOX, STR("never"), 0);
    txn_abort(t);
    assert_int_equal(account_modseq(h->alice).v, before.v);
    assert_int_equal(deliver(h, INBOX, "first").v, 1);
}

static void an_email_that_no_mailbox_shows_is_not_kept(void **state)
{
    struct house *h = *state;
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    msg_uid uid = txn_message(t, INBOX, STR("discarded"), 0);
    assert_ok(txn_entry_expunge(t, INBOX, uid));
    assert_ok(txn_commit(t));
    struct snap *s;
    assert_ok(snap_open(h->alice, &s));
    assert_int_equal(snap_head(s)->emails, 0);
    assert_int_equal(snap_head(s)->bytes, 0);
    snap_close(s);
    struct entry e;
    assert_err(look(h, INBOX, uid, &e), E_NOTFOUND);
    assert_int_equal(deliver(h, INBOX, "next").v, uid.v + 1);
}

/* ---------------------------------------------------------------------------- flags */

static void flags_survive_reopen(void **state)
{
    struct house *h = *state;
    msg_uid uid = deliver(h, INBOX, "x");
    modseq before = account_modseq(h->alice);
    set_flags(h, INBOX, uid, 1 | 4);
    house_reopen(h);
    struct entry e;
    assert_ok(look(h, INBOX, uid, &e));
    assert_int_equal(e.flags, 5);
    assert_true(e.modseq.v > before.v);
}

static void counters_follow_flags_and_expunges(void **state)
{
    struct house *h = *state;
    for (unsigned i = 0; i < 4; i++)
        (void)deliver(h, INBOX, "12345");
    set_flags(h, INBOX, (msg_uid){1}, 1);
    set_flags(h, INBOX, (msg_uid){2}, 1 | 8);
    set_flags(h, INBOX, (msg_uid){3}, 8);
    expunge(h, INBOX, (msg_uid){2});
    struct arena a;
    arena_init(&a, 1 << 20);
    Thurn__Mailbox *m = look_mailbox(h, "inbox", &a);
    assert_int_equal(m->exists, 3);
    assert_int_equal(m->unseen, 2);
    assert_int_equal(m->deleted, 1);
    assert_int_equal(m->bytes, 15);
    assert_int_equal(m->uidnext, 5);
    assert_int_equal(m->highest_modseq, account_modseq(h->alice).v);
    arena_free(&a);
}

static void keywords_are_case_insensitive_and_at_most_64(void **state)
{
    struct house *h = *state;
    struct txn *t;
    unsigned bit;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_keyword(t, INBOX, STR("$Junk"), &bit));
    assert_int_equal(bit, 0);
    assert_ok(txn_keyword(t, INBOX, STR("$junk"), &bit));
    assert_int_equal(bit, 0);
    for (unsigned i = 1; i < 64; i++) {
        struct buf name CLEANUP(buf_free) = {0};
        buf_printf(&name, "k%u", i);
        assert_ok(txn_keyword(t, INBOX, buf_str(&name), &bit));
        assert_int_equal(bit, i);
    }
    assert_err(txn_keyword(t, INBOX, STR("more"), &bit), E_LIMIT);
    assert_ok(txn_commit(t));
    house_reopen(h);
    msg_uid uid = deliver(h, INBOX, "x");
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_keyword(t, INBOX, STR("K63"), &bit));
    assert_ok(txn_entry_flags(t, INBOX, uid, 0, (uint64_t)1 << bit));
    assert_ok(txn_commit(t));
    struct entry e;
    assert_ok(look(h, INBOX, uid, &e));
    assert_int_equal(e.keywords, (uint64_t)1 << 63);
}

static void flags_that_do_not_exist_are_refused(void **state)
{
    struct house *h = *state;
    msg_uid uid = deliver(h, INBOX, "x");
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_err(txn_entry_flags(t, INBOX, uid, 32, 0), E_INVALID);
    assert_err(txn_entry_flags(t, INBOX, uid, 0, 1), E_INVALID);
    assert_err(txn_entry_flags(t, INBOX, (msg_uid){77}, 0, 0), E_NOTFOUND);
    txn_abort(t);
}

/* -------------------------------------------------------------------------- expunge */

static void expunged_uid_is_never_given_again(void **state)
{
    struct house *h = *state;
    (void)deliver(h, INBOX, "a");
    msg_uid last = deliver(h, INBOX, "b");
    expunge(h, INBOX, last);
    house_reopen_from_log(h);
    assert_int_equal(deliver(h, INBOX, "c").v, last.v + 1);
    struct entry e;
    assert_err(look(h, INBOX, last, &e), E_NOTFOUND);
}

static void a_reader_goes_on_seeing_what_was_there_when_it_began(void **state)
{
    struct house *h = *state;
    msg_uid uid = deliver(h, INBOX, "a");
    struct snap *s;
    struct entry e;
    assert_ok(snap_open(h->alice, &s));
    expunge(h, INBOX, uid);
    (void)deliver(h, INBOX, "b");
    assert_ok(snap_entry(s, INBOX, uid, &e));
    assert_err(snap_entry(s, INBOX, (msg_uid){2}, &e), E_NOTFOUND);
    assert_true(snap_modseq(s).v < account_modseq(h->alice).v);
    snap_close(s);
}

static void the_change_log_tells_each_message_once(void **state)
{
    struct house *h = *state;
    modseq start = account_modseq(h->alice);
    (void)deliver(h, INBOX, "a");
    (void)deliver(h, INBOX, "b");
    (void)deliver(h, INBOX, "c");
    modseq middle = account_modseq(h->alice);
    set_flags(h, INBOX, (msg_uid){1}, 1);
    set_flags(h, INBOX, (msg_uid){1}, 5);
    expunge(h, INBOX, (msg_uid){2});
    struct change c[16];
    size_t n;
    struct snap *s;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_changes(s, INBOX, middle, c, 16, &n));
    assert_int_equal(n, 2);
    assert_int_equal(c[0].uid.v, 1);
    assert_int_equal(c[0].kind, CHANGE_FLAGS);
    assert_int_equal(c[0].modseq.v, middle.v + 2);
    assert_int_equal(c[1].uid.v, 2);
    assert_int_equal(c[1].kind, CHANGE_EXPUNGED);
    assert_ok(snap_changes(s, INBOX, start, c, 16, &n));
    assert_int_equal(n, 3);
    assert_int_equal(c[0].uid.v, 3);
    assert_int_equal(c[0].kind, CHANGE_ADDED);
    assert_int_equal(c[1].uid.v, 1);
    assert_int_equal(c[1].kind, CHANGE_ADDED);
    assert_ok(snap_changes(s, INBOX, start, c, 2, &n));
    assert_int_equal(n, 2);
    assert_ok(snap_changes(s, INBOX, snap_modseq(s), c, 16, &n));
    assert_int_equal(n, 0);
    snap_close(s);
}

/* More than fits outside the blocks, and more than one value of the change log holds. */
static void one_transaction_may_change_thousands_of_messages(void **state)
{
    enum { MANY = 6000 };
    struct house *h = *state;
    struct txn *t;
    modseq start = account_modseq(h->alice);
    assert_ok(txn_begin(h->alice, &t));
    for (unsigned i = 0; i < MANY; i++)
        (void)txn_message(t, INBOX, STR("one of many"), 0);
    assert_ok(txn_commit(t));
    modseq added = account_modseq(h->alice);
    assert_int_equal(added.v, start.v + 1);
    assert_ok(txn_begin(h->alice, &t));
    for (uint32_t uid = 1; uid <= MANY; uid++)
        assert_ok(uid % 3 ? txn_entry_flags(t, INBOX, (msg_uid){uid}, 1, 0)
                          : txn_entry_expunge(t, INBOX, (msg_uid){uid}));
    assert_ok(txn_commit(t));
    house_reopen_from_log(h);
    struct change *c = mem_alloc(MANY * sizeof *c);
    struct entry *e = mem_alloc(MANY * sizeof *e);
    size_t n;
    struct snap *s;
    assert_ok(snap_open(h->alice, &s));
    assert_err(snap_changes(s, INBOX, added, c, 1024, &n), E_LIMIT);
    assert_ok(snap_changes(s, INBOX, added, c, MANY, &n));
    assert_int_equal(n, MANY);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(c[i].uid.v, i + 1);
        assert_int_equal(c[i].modseq.v, added.v + 1);
        assert_int_equal(c[i].kind, (i + 1) % 3 ? CHANGE_FLAGS : CHANGE_EXPUNGED);
    }
    assert_ok(snap_entries(s, INBOX, (msg_uid){1}, (msg_uid){UINT32_MAX}, e, MANY, &n));
    assert_int_equal(n, MANY - MANY / 3);
    snap_close(s);
    free(c);
    free(e);
}

static void a_deleted_mailbox_is_gone_for_new_readers_only(void **state)
{
    struct house *h = *state;
    mailbox_id id = create_mailbox(h, "Short lived");
    (void)deliver(h, id, "x");
    struct snap *before, *after;
    struct entry e;
    struct txn *t;
    size_t n;
    assert_ok(snap_open(h->alice, &before));
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_delete(t, id));
    assert_err(txn_entry_expunge(t, id, (msg_uid){1}), E_NOTFOUND);
    assert_ok(txn_commit(t));
    assert_ok(snap_open(h->alice, &after));
    assert_ok(snap_entry(before, id, (msg_uid){1}, &e));
    assert_err(snap_entry(after, id, (msg_uid){1}, &e), E_NOTFOUND);
    assert_err(snap_entries(after, id, (msg_uid){1}, (msg_uid){9}, &e, 1, &n), E_NOTFOUND);
    snap_close(before);
    snap_close(after);
    assert_true(create_mailbox(h, "Short lived").v != id.v);
}

static void copying_shares_the_message(void **state)
{
    struct house *h = *state;
    msg_uid uid = deliver(h, INBOX, "shared");
    mailbox_id other = create_mailbox(h, "Other");
    struct entry e;
    assert_ok(look(h, INBOX, uid, &e));
    struct txn *t;
    msg_uid copy;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_entry_add(t, other, e.email, e.flags, 0, e.internal_date, &copy));
    assert_ok(txn_entry_expunge(t, INBOX, uid));
    assert_ok(txn_commit(t));
    content_is(h, other, copy, "shared");
    struct snap *s;
    assert_ok(snap_open(h->alice, &s));
    assert_int_equal(snap_head(s)->emails, 1);
    assert_int_equal(snap_head(s)->bytes, 6);
    snap_close(s);
}

/* ------------------------------------------------------------------------ mailboxes */

static void parents_are_made_and_deletion_spares_children(void **state)
{
    struct house *h = *state;
    mailbox_id id = create_mailbox(h, "a/b/c");
    struct arena a;
    arena_init(&a, 1 << 20);
    assert_true(look_mailbox(h, "a", &a)->no_select);
    assert_true(look_mailbox(h, "a/b", &a)->no_select);
    assert_false(look_mailbox(h, "a/b/c", &a)->no_select);
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_err(txn_mailbox_delete(t, (mailbox_id){look_mailbox(h, "a/b", &a)->id}), E_CONFLICT);
    assert_err(txn_mailbox_delete(t, INBOX), E_DENIED);
    assert_err(txn_mailbox_create(t, STR("a/b/c"), 0, &id), E_EXISTS);
    assert_err(txn_mailbox_create(t, STR("a//c"), 0, &id), E_INVALID);
    assert_err(txn_mailbox_create(t, STR("a/"), 0, &id), E_INVALID);
    assert_err(txn_mailbox_create(t, STR("/a"), 0, &id), E_INVALID);
    assert_err(txn_mailbox_create(t, STR("a\n"), 0, &id), E_INVALID);
    assert_err(txn_mailbox_create(t, STR("\xff"), 0, &id), E_INVALID);
    txn_abort(t);
    mailbox_id b = create_mailbox(h, "a/b");
    (void)deliver(h, b, "gone soon");
    uint32_t validity = look_mailbox(h, "a/b", &a)->uidvalidity;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_delete(t, b));
    assert_ok(txn_commit(t));
    assert_true(look_mailbox(h, "a/b", &a)->no_select);
    mailbox_id again = create_mailbox(h, "a/b");
    assert_true(again.v != b.v);
    assert_true(look_mailbox(h, "a/b", &a)->uidvalidity > validity);
    assert_int_equal(look_mailbox(h, "a/b", &a)->exists, 0);
    struct snap *s;
    assert_ok(snap_open(h->alice, &s));
    assert_int_equal(snap_head(s)->bytes, 0);
    snap_close(s);
    arena_free(&a);
}

static void renaming_takes_children_along_and_keeps_the_id(void **state)
{
    struct house *h = *state;
    mailbox_id child = create_mailbox(h, "a/b/c");
    mailbox_id ab = create_mailbox(h, "a/b");
    (void)create_mailbox(h, "a/bc");
    (void)deliver(h, child, "moved along");
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_err(txn_mailbox_rename(t, ab, STR("a/bc")), E_EXISTS);
    assert_err(txn_mailbox_rename(t, ab, STR("a/b/d")), E_INVALID);
    assert_ok(txn_mailbox_rename(t, ab, STR("x/y")));
    assert_ok(txn_commit(t));
    house_reopen(h);
    assert_false(mailbox_exists(h, "a/b"));
    assert_false(mailbox_exists(h, "a/b/c"));
    assert_true(mailbox_exists(h, "a/bc"));
    assert_true(mailbox_exists(h, "x"));
    struct arena a;
    arena_init(&a, 1 << 20);
    assert_int_equal(look_mailbox(h, "x/y", &a)->id, ab.v);
    assert_int_equal(look_mailbox(h, "x/y/c", &a)->id, child.v);
    content_is(h, child, (msg_uid){1}, "moved along");
    arena_free(&a);
}

static void renaming_inbox_moves_its_messages(void **state)
{
    struct house *h = *state;
    (void)deliver(h, INBOX, "old");
    struct arena a;
    arena_init(&a, 1 << 20);
    uint32_t validity = look_mailbox(h, "INBOX", &a)->uidvalidity;
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_rename(t, INBOX, STR("archive/2026")));
    assert_ok(txn_commit(t));
    house_reopen(h);
    assert_int_equal(look_mailbox(h, "iNbOx", &a)->exists, 0);
    assert_true(look_mailbox(h, "INBOX", &a)->uidvalidity > validity);
    assert_int_equal(look_mailbox(h, "archive/2026", &a)->exists, 1);
    (void)deliver(h, (mailbox_id){look_mailbox(h, "INBOX", &a)->id}, "new");
    assert_int_equal(look_mailbox(h, "INBOX", &a)->exists, 1);
    arena_free(&a);
}

static void mailboxes_are_listed_in_the_order_of_their_names(void **state)
{
    struct house *h = *state;
    (void)create_mailbox(h, "zebra");
    (void)create_mailbox(h, "Apple");
    struct arena a;
    arena_init(&a, 1 << 20);
    struct snap *s;
    Thurn__Mailbox **list;
    size_t n;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_mailboxes(s, &a, &list, &n));
    assert_int_equal(n, 3);
    assert_memory_equal(list[0]->name.data, "Apple", 5);
    assert_memory_equal(list[1]->name.data, "INBOX", 5);
    assert_memory_equal(list[2]->name.data, "zebra", 5);
    snap_close(s);
    arena_free(&a);
}

static void subscriptions_outlive_the_mailbox(void **state)
{
    struct house *h = *state;
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_subscribe(t, STR("nowhere"), true));
    assert_ok(txn_subscribe(t, STR("inbox"), true));
    assert_ok(txn_subscribe(t, STR("gone"), true));
    assert_ok(txn_subscribe(t, STR("gone"), false));
    assert_ok(txn_commit(t));
    struct arena a;
    arena_init(&a, 1 << 20);
    struct snap *s;
    struct str *names;
    size_t n;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_subscriptions(s, &a, &names, &n));
    assert_int_equal(n, 2);
    assert_true(str_eq(names[0], STR("INBOX")));
    assert_true(str_eq(names[1], STR("nowhere")));
    snap_close(s);
    arena_free(&a);
}

/* ------------------------------------------------------------------- the rest */

static bool scan_note(struct str key, struct str value, void *arg)
{
    struct buf *seen = arg;
    buf_put(seen, key);
    buf_byte(seen, '=');
    buf_put(seen, value);
    buf_byte(seen, ' ');
    return true;
}

static void the_directory_keeps_small_values_under_its_own_keys(void **state)
{
    struct house *h = *state;
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_put(t, STR("d/a"), STR("1")));
    assert_ok(txn_put(t, STR("d/b"), STR("2")));
    assert_ok(txn_put(t, STR("d/c"), STR("")));
    assert_ok(txn_put(t, STR("e/a"), STR("4")));
    assert_ok(txn_delete(t, STR("d/b")));
    assert_err(txn_put(t, STR(""), STR("4")), E_INVALID);
    assert_err(txn_put(t, STR("a\0b"), STR("4")), E_INVALID);
    assert_ok(txn_commit(t));
    house_reopen(h);
    struct arena a;
    arena_init(&a, 1 << 20);
    struct buf seen CLEANUP(buf_free) = {0};
    struct snap *s;
    struct str value;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_get(s, STR("e/a"), &a, &value));
    assert_true(str_eq(value, STR("4")));
    assert_err(snap_get(s, STR("d/b"), &a, &value), E_NOTFOUND);
    assert_ok(snap_scan(s, STR("d/"), STR(""), scan_note, &seen));
    assert_true(str_eq(buf_str(&seen), STR("d/a=1 d/c= ")));
    buf_clear(&seen);
    assert_ok(snap_scan(s, STR(""), STR("d/a"), scan_note, &seen));
    assert_true(str_eq(buf_str(&seen), STR("d/c= e/a=4 ")));
    buf_clear(&seen);
    assert_ok(snap_scan(s, STR("d/"), STR("z"), scan_note, &seen));
    assert_int_equal(seen.n, 0);
    snap_close(s);
    arena_free(&a);
}

static void new_messages_are_recent_for_one_session_only(void **state)
{
    struct house *h = *state;
    (void)deliver(h, INBOX, "a");
    assert_int_equal(account_first_recent(h->alice, INBOX).v, 1);
    assert_int_equal(account_claim_recent(h->alice, INBOX, (msg_uid){2}).v, 1);
    assert_int_equal(account_claim_recent(h->alice, INBOX, (msg_uid){2}).v, 2);
    (void)deliver(h, INBOX, "b");
    assert_int_equal(account_first_recent(h->alice, INBOX).v, 2);
    house_reopen(h);
    assert_int_equal(account_claim_recent(h->alice, INBOX, (msg_uid){3}).v, 2);
}

static void the_same_account_is_not_made_twice(void **state)
{
    struct house *h = *state;
    assert_err(store_account_create(h->store, ALICE, NULL, 0), E_EXISTS);
    assert_ok(store_account_create(h->store, ACCOUNT_SYSTEM, NULL, 0));
    assert_err(store_account_erase(h->store, BOB), E_NOTFOUND);
}

static void maintenance_ends_when_the_mailbox_that_wanted_it_is_gone(void **state)
{
    struct house *h = *state;
    mailbox_id list = create_mailbox(h, "List");
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    for (unsigned i = 0; i < OVERLAY_FOLD + 1; i++)
        (void)txn_message(t, list, STR("x"), 0);
    assert_ok(txn_commit(t));
    assert_true(account_wants_maintenance(h->alice));
    assert_ok(txn_begin(h->alice, &t));
    assert_ok(txn_mailbox_delete(t, list));
    assert_ok(txn_commit(t));
    modseq before = account_modseq(h->alice);
    assert_ok(account_maintain(h->alice));
    assert_false(account_wants_maintenance(h->alice));
    assert_int_equal(account_modseq(h->alice).v, before.v);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        T(a_delivered_message_can_be_read_again_after_a_restart),
        T(an_empty_message_can_be_kept),
        T(a_generated_head_stands_before_the_message),
        T(one_message_reaches_several_accounts),
        T(a_transaction_finds_mailboxes_as_it_has_made_them),
        T(a_repeated_delivery_is_recognized),
        T(an_aborted_transaction_leaves_nothing),
        T(an_email_that_no_mailbox_shows_is_not_kept),
        T(flags_survive_reopen),
        T(counters_follow_flags_and_expunges),
        T(keywords_are_case_insensitive_and_at_most_64),
        T(flags_that_do_not_exist_are_refused),
        T(expunged_uid_is_never_given_again),
        T(a_reader_goes_on_seeing_what_was_there_when_it_began),
        T(the_change_log_tells_each_message_once),
        T(one_transaction_may_change_thousands_of_messages),
        T(a_deleted_mailbox_is_gone_for_new_readers_only),
        T(copying_shares_the_message),
        T(parents_are_made_and_deletion_spares_children),
        T(renaming_takes_children_along_and_keeps_the_id),
        T(renaming_inbox_moves_its_messages),
        T(mailboxes_are_listed_in_the_order_of_their_names),
        T(subscriptions_outlive_the_mailbox),
        T(the_directory_keeps_small_values_under_its_own_keys),
        T(new_messages_are_recent_for_one_session_only),
        T(the_same_account_is_not_made_twice),
        T(maintenance_ends_when_the_mailbox_that_wanted_it_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
