/* Sessions on one account: mailboxes, changes, and what each client is told of them. */
#include "base/base.h"

#include "imap/service/service.h"
#include "test_service_rig.h"

enum { S = 1, F = 4, D = 8 };
enum { ADD = 1, REMOVE = 2, REPLACE = 0 };
enum { UIDS = 1, FLAGS = 2, DATE = 4, SIZE = 8, RECORD = 16 };

#define MESSAGE(subject) STR("Subject: " subject "\r\n\r\nHello\r\n")

static void fill(struct client *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ask_append(c, "INBOX", MESSAGE("x"), 0);
    client_said(c);
}

static void appended_message_is_selected_and_read(void **state)
{
    struct client *c = client_new(*state);
    ask_append(c, "INBOX", MESSAGE("one"), S);
    assert_said(c, ">1:1 ok");
    ask_append(c, "INBOX", MESSAGE("two"), 0);
    assert_said(c, ">2:2 ok");
    ask_append(c, "Nowhere", MESSAGE("x"), 0);
    assert_said(c, "no(TRY_CREATE)");
    ask_name(c, RPC_IMAP_STATUS, "INBOX");
    assert_said(c, "status(e2/2 next 3 unseen 1) ok");
    ask_select(c, "inbox", false);
    assert_said(c, "selected(e2/2 next 3 unseen 2) ok");
    ask_fetch(c, "1:*", false, UIDS | FLAGS | DATE | SIZE | RECORD, "", false);
    assert_said(c, "r[1 u1 =SR d1000000000 z23 record{Subject: one\r\n\r\nHello\r\n}] "
                   "r[2 u2 =R d1000000000 z23 record{Subject: two\r\n\r\nHello\r\n}] ok");
    client_free(c);
}

static void wrong_password_is_refused(void **state)
{
    struct client *c = client_new(*state);
    imap_session_free(c->imap);
    c->imap = imap_session_new(&c->rig->host, c, true);
    Thurn__ImapLogin m = THURN__IMAP_LOGIN__INIT;
    m.user = pb_bytes(STR("alice@example.test"));
    m.password = pb_bytes(STR("wrong"));
    ask(c, RPC_IMAP_LOGIN, &m.base);
    assert_said(c, "no(DENIED)");
    assert_int_equal(imap_session_account(c->imap).v, 0);
    client_free(c);
}

static void requests_need_their_state(void **state)
{
    struct client *c = client_new(*state);
    struct frame f = {.fd = -1};
    Thurn__ImapFetch m = THURN__IMAP_FETCH__INIT;
    f.message = &m.base;
    for (size_t i = 0; i < rpc_table.n; i++)
        if (rpc_table.types[i].number == RPC_IMAP_FETCH)
            f.type = &rpc_table.types[i];
    assert_int_equal(imap_request_needs(c->imap, &f), IMAP_FORBIDDEN);
    ask_select(c, "INBOX", false);
    assert_int_equal(imap_request_needs(c->imap, &f), IMAP_NEEDS_NOTHING);
    m.set_seen = true;
    assert_int_equal(imap_request_needs(c->imap, &f), IMAP_NEEDS_WRITER);
    ask_select(c, "INBOX", true);
    assert_int_equal(imap_request_needs(c->imap, &f), IMAP_NEEDS_NOTHING);
    ask_select(c, "Nowhere", true); /* a SELECT that fails leaves nothing selected */
    assert_int_equal(imap_request_needs(c->imap, &f), IMAP_FORBIDDEN);
    client_free(c);
}

static void new_mail_is_told_once_and_recent_to_one(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    ask_append(a, "INBOX", MESSAGE("x"), 0);
    assert_said(a, "u[e1/1] >1:1 ok");
    ask_noop(b);
    assert_said(b, "u[e1/0] ok");
    ask_noop(b);
    assert_said(b, "ok");
    ask_append(b, "INBOX", MESSAGE("x"), 0);
    assert_said(b, "u[e2/1] >2:2 ok");
    ask_append(b, "INBOX", MESSAGE("x"), 0);
    assert_said(b, "u[e3/2] >3:3 ok");
    ask_noop(a);
    assert_said(a, "u[e3/1] ok");
    ask_fetch(a, "1:3", false, FLAGS, NULL, false);
    assert_said(a, "r[1 =R] r[2 =] r[3 =] ok");
    client_free(a);
    client_free(b);
}

static void flags_are_told_to_the_others(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    fill(a, 3);
    ask_noop(b);
    client_said(b);
    ask_store(a, "1,3", false, ADD, false, S, NULL);
    assert_said(a, "u[1=SR 3=SR] ok");
    ask_store(a, "2", false, ADD, true, F, NULL);
    assert_said(a, "ok");
    ask_noop(a);
    assert_said(a, "ok");
    ask_noop(b);
    assert_said(b, "u[1=S 2=F 3=S] ok");
    ask_store(b, "1:*", false, REPLACE, true, D, NULL);
    assert_said(b, "ok");
    ask_store(a, "1", false, REMOVE, true, D, NULL);
    assert_said(a, "u[1=R] u[2=DR 3=DR] ok"); /* also what b did to message 1 */
    ask_noop(b);
    assert_said(b, "u[1=] ok");
    client_free(a);
    client_free(b);
}

static void unchanged_flags_write_nothing(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    fill(a, 2);
    ask_store(a, "1:2", false, ADD, true, S, NULL);
    ask_noop(b);
    client_said(a), client_said(b);
    struct account *account;
    assert_int_equal(account_open(a->rig->store, a->rig->account, &account).code, E_OK);
    modseq before = account_modseq(account);
    ask_store(a, "1:2", false, ADD, false, S, NULL);
    assert_said(a, "u[1=SR 2=SR] ok");
    assert_int_equal(account_modseq(account).v, before.v);
    account_close(account);
    client_free(a);
    client_free(b);
}

static void keywords_are_named_before_they_are_shown(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    fill(a, 2);
    ask_noop(b);
    client_said(b);
    ask_store(a, "1", false, ADD, false, 0, "$Forwarded");
    assert_said(a, "u[names=$Forwarded] u[1=R+1] ok");
    ask_fetch(b, "1", false, FLAGS, NULL, false);
    assert_said(b, "u[names=$Forwarded] r[1 =+1] u[1=+1] ok");
    ask_store(a, "1:2", false, REPLACE, true, 0, "$forwarded");
    assert_said(a, "ok");
    ask_store(a, "2", false, ADD, false, 0, "Other");
    assert_said(a, "u[names=$Forwarded,Other] u[2=R+3] ok");
    ask_noop(b);
    assert_said(b, "u[names=$Forwarded,Other 2=+3] ok");
    ask_store(b, "1", false, REMOVE, false, 0, "Unknown");
    assert_said(b, "u[1=+1] ok");
    client_free(a);
    client_free(b);
}

static void too_many_keywords_are_refused(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    char word[16];
    fill(a, 1);
    for (unsigned i = 0; i < 64; i++) {
        snprintf(word, sizeof word, "k%u", i);
        ask_store(a, "1", false, ADD, true, 0, word);
    }
    client_said(a);
    ask_store(a, "1", false, ADD, true, 0, "more");
    assert_said(a, "no(LIMIT_EXCEEDED)");
    client_free(a);
}

static bool keywords_are_blamed;

static void look_for_blame(struct client *c, uint16_t type, const ProtobufCMessage *m)
{
    if (type == RPC_IMAP_DONE &&
        str_eq(pb_str(((const Thurn__ImapDone *)m)->status->text), text_keywords_full))
        keywords_are_blamed = true;
}

static void a_store_for_which_memory_is_short_does_not_blame_keywords(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    unsigned refused = 0;
    fill(a, 9);
    a->heard = look_for_blame;
    for (size_t budget = 0; budget < 8192; budget += 16) {
        a->imap->cmd.arena.budget = budget;
        ask_store(a, "1:9", false, budget % 32 ? ADD : REMOVE, false, S, NULL);
        refused += strstr(client_said(a), "no(LIMIT_EXCEEDED)") != NULL;
        assert_false(keywords_are_blamed);
    }
    assert_true(refused > 3);
    client_free(a);
}

static void expunges_wait_for_a_command_that_may_tell_them(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    fill(a, 5);
    ask_noop(b);
    ask_store(a, "2,3,5", false, ADD, true, D, NULL);
    client_said(a), client_said(b);
    ask_expunge(a, NULL);
    assert_said(a, "u[x2 x2 x3] ok");
    /* b still counts five; what is gone is left out. */
    ask_append(a, "INBOX", MESSAGE("x"), 0);
    client_said(a);
    ask_fetch(b, "1:*", false, UIDS, NULL, false);
    assert_said(b, "r[1 u1] r[4 u4] u[e6/0] ok");
    ask_store(b, "4", false, ADD, false, F, NULL);
    assert_said(b, "u[4=F] ok");
    ask_store(b, "2", false, ADD, false, F, NULL);
    assert_said(b, "ok");
    ask_fetch(b, "4:6", true, UIDS | FLAGS, NULL, false); /* a UID command may tell them */
    assert_said(b, "r[4 u4 =F] r[6 u6 =] u[x2 x2 x3] ok");
    ask_fetch(b, "1:*", false, UIDS, NULL, false);
    assert_said(b, "r[1 u1] r[2 u4] r[3 u6] ok");
    ask_noop(a);
    assert_said(a, "u[2=FR] ok");
    client_free(a);
    client_free(b);
}

static void uid_expunge_takes_only_what_is_named(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    fill(a, 4);
    ask_store(a, "1:3", false, ADD, true, D, NULL);
    client_said(a);
    ask_expunge(a, "2:3,4,100:*");
    assert_said(a, "u[x2 x2] ok");
    ask_fetch(a, "1:*", false, UIDS | FLAGS, NULL, false);
    assert_said(a, "r[1 u1 =DR] r[2 u4 =R] ok");
    client_free(a);
}

static void close_expunges_without_a_word(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    fill(a, 3);
    ask_noop(b);
    ask_store(a, "1:2", false, ADD, true, D, NULL);
    client_said(a), client_said(b);
    Thurn__ImapClose m = THURN__IMAP_CLOSE__INIT;
    m.expunge = true;
    ask(a, RPC_IMAP_CLOSE, &m.base);
    assert_said(a, "ok");
    ask_noop(b);
    assert_said(b, "u[x1 x1] ok");
    ask_select(a, "INBOX", true);
    assert_said(a, "selected(e1/0 next 4 unseen 1 read-only) ok");
    client_free(a);
    client_free(b);
}

static void examined_mailbox_is_not_changed(void **state)
{
    struct client *a = client_new(*state);
    fill(a, 2);
    ask_select(a, "INBOX", true);
    assert_said(a, "selected(e2/2 next 3 unseen 1 read-only) ok");
    ask_store(a, "1", false, ADD, false, D, NULL);
    assert_said(a, "no(READ_ONLY)");
    ask_expunge(a, NULL);
    assert_said(a, "no(READ_ONLY)");
    ask_fetch(a, "1", false, 0, "TEXT", true);
    assert_said(a, "r[1{Hello\r\n}] ok");
    ask_select(a, "INBOX", false); /* EXAMINE has not claimed them */
    assert_said(a, "selected(e2/2 next 3 unseen 1) ok");
    client_free(a);
}

static void reading_a_body_marks_it_seen(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    fill(a, 3);
    ask_noop(b);
    client_said(b);
    ask_store(a, "2", false, ADD, true, S, NULL);
    client_said(a);
    ask_fetch(a, "1:2", false, 0, "TEXT", true);
    assert_said(a, "r[1 =SR{Hello\r\n}] r[2{Hello\r\n}] ok");
    ask_fetch(a, "3", false, 0, "TEXT", false);
    assert_said(a, "r[3{Hello\r\n}] ok");
    ask_noop(b);
    assert_said(b, "u[1=S 2=S] ok");
    client_free(a);
    client_free(b);
}

static void copy_shows_the_same_mail_elsewhere(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    fill(a, 4);
    ask_store(a, "2:3", false, ADD, true, F, "Work");
    ask_name(a, RPC_IMAP_CREATE, "Archive/2024/");
    client_said(a);
    ask_copy(a, "2:3,4", false, "Archive/2024");
    assert_said(a, "2:4>1:3 ok");
    ask_copy(a, "4,1,100", true, "INBOX");
    assert_said(a, "u[e6/6] 1:1,4:4>5:6 ok");
    ask_copy(a, "1", false, "Archive");
    assert_said(a, "no(TRY_CREATE)");
    ask_copy(a, "9", false, "Archive/2024");
    assert_said(a, "no(INVALID)");
    ask_copy(a, "99", true, "Archive/2024");
    assert_said(a, "ok");
    ask_select(a, "Archive/2024", false);
    assert_said(a, "selected(e3/3 next 4 unseen 1 Work) ok");
    ask_fetch(a, "*:1", false, UIDS | FLAGS | DATE, "1", false);
    assert_said(a, "r[1 u1 =FR+1 d1000000000{Hello\r\n}] r[2 u2 =FR+1 d1000000000{Hello\r\n}] "
                   "r[3 u3 =R d1000000000{Hello\r\n}] ok");
    client_free(a);
}

static void repeated_request_is_not_done_twice(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    struct arena arena CLEANUP(arena_free);
    arena_init(&arena, 1024 * 1024);
    fill(a, 2);
    Thurn__ImapCopy m = THURN__IMAP_COPY__INIT;
    m.set = set_of(&arena, "1:2", false);
    m.mailbox = pb_bytes(STR("INBOX"));
    m.change = pb_bytes(STR("0123456789abcdef"));
    ask(a, RPC_IMAP_COPY, &m.base);
    assert_said(a, "u[e4/4] 1:2>3:4 ok");
    client_resume(a);
    ask(a, RPC_IMAP_COPY, &m.base);
    assert_said(a, "1:2>3:4 ok");
    Thurn__ImapCreate create = THURN__IMAP_CREATE__INIT;
    create.mailbox = pb_bytes(STR("New"));
    create.change = pb_bytes(STR("0123456789abcdeg"));
    ask(a, RPC_IMAP_CREATE, &create.base);
    assert_said(a, "ok");
    client_resume(a);
    ask(a, RPC_IMAP_CREATE, &create.base);
    assert_said(a, "ok");
    create.change.len = 0;
    create.special_use = 1U << 30; /* one that nobody knows */
    ask(a, RPC_IMAP_CREATE, &create.base);
    assert_said(a, "no(USE_ATTR)");
    create.special_use = 0;
    ask(a, RPC_IMAP_CREATE, &create.base);
    assert_said(a, "no(ALREADY_EXISTS)");
    client_free(a);
}

static void appended_message_keeps_flags_and_keywords(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    Thurn__ImapAppend m = THURN__IMAP_APPEND__INIT;
    Thurn__AppendMessage one = THURN__APPEND_MESSAGE__INIT, *messages = &one;
    Thurn__ImapFlags flags = THURN__IMAP_FLAGS__INIT;
    ProtobufCBinaryData words[] = {pb_bytes(STR("$Junk")), pb_bytes(STR("Work"))};
    struct buf record CLEANUP(buf_free) = {0};
    struct imap_scanned_message bytes = {.message = MESSAGE("x")};
    struct imap_scanned scanned = {&bytes, 1};
    email_record_flat(bytes.message.n, &record);
    bytes.record = buf_str(&record);
    flags.system = F | 32; /* \Recent cannot be set */
    flags.n_keywords = 2;
    flags.keywords = words;
    m.mailbox = pb_bytes(STR("INBOX"));
    one.flags = &flags;
    m.messages = &messages;
    m.n_messages = 1;
    m.change = pb_bytes(STR("0123456789abcdef"));
    ask_append_as(a, &m, &scanned);
    assert_said(a, "u[e1/1 names=$Junk,Work] >1:1 ok");
    client_resume(a);
    ask_append_as(a, &m, &scanned); /* repeated: not a second message */
    assert_said(a, ">1:1 ok");
    ask_fetch(a, "1", false, FLAGS, NULL, false);
    assert_said(a, "r[1 =FR+3] ok");
    client_free(a);
}

static void record_that_does_not_fit_is_not_believed(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    Thurn__ImapAppend m = THURN__IMAP_APPEND__INIT;
    struct buf record CLEANUP(buf_free) = {0};
    Thurn__AppendMessage one = THURN__APPEND_MESSAGE__INIT, *messages = &one;
    struct imap_scanned_message bytes = {.message = MESSAGE("x")};
    struct imap_scanned scanned = {&bytes, 1};
    email_record_flat(bytes.message.n + 1000, &record);
    bytes.record = buf_str(&record);
    m.mailbox = pb_bytes(STR("INBOX"));
    m.messages = &messages;
    m.n_messages = 1;
    ask_append_as(a, &m, &scanned);
    bytes.record = STR("\xff");
    ask_append_as(a, &m, &scanned);
    client_said(a);
    ask_fetch(a, "1:2", false, 0, " 1", false);
    assert_said(a, "r[1{Subject: x\r\n\r\nHello\r\n}{Subject: x\r\n\r\nHello\r\n}] "
                   "r[2{Subject: x\r\n\r\nHello\r\n}{Subject: x\r\n\r\nHello\r\n}] ok");
    a->rig->host.message_size_limit = 10;
    ask_append_as(a, &m, &scanned);
    assert_said(a, "no(TOO_LARGE)");
    client_free(a);
}

/* RFC 3502: `n` messages, of which the last has the keyword, if it is not NULL. */
static void append_several(struct client *a, const char *mailbox, size_t n, const char *keyword,
                           const char *change)
{
    Thurn__ImapAppend m = THURN__IMAP_APPEND__INIT;
    Thurn__AppendMessage one = THURN__APPEND_MESSAGE__INIT, last = THURN__APPEND_MESSAGE__INIT;
    Thurn__ImapFlags flags = THURN__IMAP_FLAGS__INIT;
    ProtobufCBinaryData word = pb_bytes(str_c(keyword ? keyword : ""));
    struct imap_scanned_message bytes[8];
    Thurn__AppendMessage *messages[8];
    struct buf record CLEANUP(buf_free) = {0};
    struct imap_scanned scanned = {bytes, n};
    assert_true(n <= 8);
    email_record_flat(MESSAGE("x").n, &record);
    for (size_t i = 0; i < n; i++) {
        bytes[i] =
            (struct imap_scanned_message){.message = MESSAGE("x"), .record = buf_str(&record)};
        messages[i] = i == n - 1 ? &last : &one;
    }
    flags.n_keywords = 1;
    flags.keywords = &word;
    last.flags = keyword ? &flags : NULL;
    m.mailbox = pb_bytes(str_c(mailbox));
    m.messages = messages;
    m.n_messages = n;
    m.change = pb_bytes(str_c(change));
    ask_append_as(a, &m, &scanned);
}

static void many_messages_are_appended_in_one_step(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    append_several(a, "INBOX", 5, "Work", "0123456789abcdef");
    assert_said(a, "u[e5/5 names=Work] >1:5 ok");
    client_resume(a);
    append_several(a, "INBOX", 5, "Work", "0123456789abcdef"); /* repeated: nothing is added */
    assert_said(a, ">1:5 ok");
    ask_noop(b);
    assert_said(b, "u[e5/0 names=Work] ok");
    ask_fetch(a, "4:5", false, FLAGS, NULL, false);
    assert_said(a, "r[4 =R] r[5 =R+1] ok");
    append_several(a, "Nowhere", 2, NULL, "");
    assert_said(a, "no(TRY_CREATE)");
    client_free(a);
    client_free(b);
}

static void of_many_messages_none_is_appended_if_one_cannot_be(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    char name[16];
    for (size_t i = 0; i < 64; i++) { /* all keywords that there can be */
        (void)snprintf(name, sizeof name, "k%zu", i);
        append_several(a, "INBOX", 1, name, "");
    }
    client_said(a);
    append_several(a, "INBOX", 3, "one-too-many", "");
    assert_said(a, "no(LIMIT_EXCEEDED)");
    ask_noop(a);
    assert_said(a, "ok");
    append_several(a, "INBOX", 3, "K7", "");
    assert_said(a, "u[e67/67] >65:67 ok");
    client_free(a);
}

static void mailboxes_are_made_renamed_and_deleted(void **state)
{
    struct client *a = client_new(*state);
    static const char *const bad[] = {"", "/", "a//b", "/a", "a*", "%", "a\x01", "\xff"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ask_name(a, RPC_IMAP_CREATE, bad[i]);
        assert_said(a, "no(UNSUPPORTED)");
    }
    ask_name(a, RPC_IMAP_CREATE, "a/b");
    ask_name(a, RPC_IMAP_CREATE, "a/b");
    assert_said(a, "okno(ALREADY_EXISTS)");
    ask_name(a, RPC_IMAP_CREATE, "inbox");
    assert_said(a, "no(ALREADY_EXISTS)");
    ask_name(a, RPC_IMAP_DELETE, "InBox");
    assert_said(a, "no(DENIED)");
    ask_name(a, RPC_IMAP_DELETE, "nowhere");
    assert_said(a, "no(NOT_FOUND)");
    ask_select(a, "a", false);
    assert_said(a, "no(NOT_FOUND)");
    ask_name(a, RPC_IMAP_DELETE, "a");
    assert_said(a, "no(IN_USE)");
    Thurn__ImapRename m = THURN__IMAP_RENAME__INIT;
    m.from = pb_bytes(STR("a"));
    m.to = pb_bytes(STR("a/x"));
    ask(a, RPC_IMAP_RENAME, &m.base);
    assert_said(a, "no(UNSUPPORTED)");
    m.to = pb_bytes(STR("c"));
    ask(a, RPC_IMAP_RENAME, &m.base);
    assert_said(a, "ok");
    ask_list(a, "", "*", false);
    assert_said(a, "m[INBOX c(noselect)(children) c/b] ok");
    ask_name(a, RPC_IMAP_DELETE, "c/b");
    ask_name(a, RPC_IMAP_DELETE, "c");
    client_said(a);
    ask_list(a, "", "*", false);
    assert_said(a, "m[INBOX] ok");
    client_free(a);
}

static void renamed_inbox_gives_its_mail_away(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b = client_in(*state, "INBOX");
    fill(a, 3);
    ask_noop(b);
    client_said(b);
    Thurn__ImapRename m = THURN__IMAP_RENAME__INIT;
    m.from = pb_bytes(STR("INBOX"));
    m.to = pb_bytes(STR("Old"));
    ask(a, RPC_IMAP_RENAME, &m.base);
    assert_said(a, "u[x1 x1 x1] ok");
    ask_noop(b);
    assert_said(b, "u[x1 x1 x1] ok");
    ask_name(a, RPC_IMAP_STATUS, "Old");
    assert_said(a, "status(e3/0 next 4 unseen 3) ok");
    client_free(a);
    client_free(b);
}

static void mailbox_deleted_under_a_client_empties(void **state)
{
    struct client *a = client_new(*state);
    ask_name(a, RPC_IMAP_CREATE, "Temp");
    ask_append(a, "Temp", MESSAGE("x"), 0);
    client_said(a);
    struct client *b = client_in(*state, "Temp");
    ask_name(a, RPC_IMAP_DELETE, "Temp");
    ask_fetch(b, "1", false, FLAGS, "", true);
    assert_said(b, "no(NOT_FOUND)");
    ask_store(b, "1", false, ADD, false, F, NULL);
    assert_said(b, "no(NOT_FOUND)");
    ask_noop(b);
    assert_said(b, "u[x1] ok");
    ask_noop(b);
    assert_said(b, "ok");
    Thurn__ImapClose m = THURN__IMAP_CLOSE__INIT;
    m.expunge = true;
    ask(b, RPC_IMAP_CLOSE, &m.base);
    assert_said(b, "ok");
    client_free(a);
    client_free(b);
}

static void client_that_was_away_learns_of_very_many_changes(void **state)
{
    struct client *a = client_in(*state, "INBOX"), *b;
    fill(a, 5);
    for (unsigned doubled = 5; doubled < 10000; doubled *= 2)
        ask_copy(a, "1:*", false, "INBOX");
    client_said(a);
    b = client_in(*state, "INBOX");
    ask_store(a, "1:*", false, ADD, true, S, NULL);
    assert_said(a, "ok");
    ask_store(a, "4:9999,10005", false, ADD, true, D, NULL);
    ask_expunge(a, NULL);
    client_said(a);
    ask_noop(b);
    const char *said = client_said(b);
    assert_memory_equal(said, "u[x4 x4 x4 x4 ", 14);
    assert_non_null(strstr(said, "x4 x9 1=S 2=S 3=S 4=S 5=S 6=S 7=S 8=S 9=S 10=S 11=S "));
    ask_fetch(b, "3:4,8:10", false, UIDS | FLAGS, NULL, false);
    assert_said(b, "r[3 u3 =S] r[4 u10000 =S] r[8 u10004 =S] r[9 u10006 =S] r[10 u10007 =S] ok");
    client_free(a);
    client_free(b);
}

/* More than one transaction moves; each tells where its messages went. */
static void very_many_messages_are_moved(void **state)
{
    struct client *a = client_in(*state, "INBOX");
    fill(a, 5);
    ask_name(a, RPC_IMAP_CREATE, "Away");
    for (unsigned doubled = 5; doubled < 10000; doubled *= 2)
        ask_copy(a, "1:*", false, "INBOX");
    client_said(a);
    ask_move(a, "2:*", false, "Away");
    const char *said = client_said(a);
    assert_non_null(strstr(said, "u[moved 2:4097>1:4096] "));
    assert_non_null(strstr(said, "u[moved 8194:10240>8193:10239] "));
    ask_fetch(a, "1:*", false, UIDS, NULL, false);
    assert_said(a, "r[1 u1] ok");
    ask_name(a, RPC_IMAP_STATUS, "Away");
    assert_said(a, "status(e10239/10239 next 10240 unseen 10239) ok");
    client_free(a);
}

static void odd_sets_are_understood(void **state)
{
    static const struct {
        const char *set;
        bool uid;
        const char *said;
    } cases[] = {
        {"*", false, "r[4 u8] ok"},
        {"*:*", false, "r[4 u8] ok"},
        {"4:2", false, "r[2 u4] r[3 u6] r[4 u8] ok"},
        {"*:3,1,1,3:3", false, "r[1 u2] r[3 u6] r[4 u8] ok"},
        {"5", false, "no(INVALID)"},
        {"1:5", false, "no(INVALID)"},
        {"5:*", false, "no(INVALID)"},
        {"0", false, "no(INVALID)"},
        {"0:*", true, "no(INVALID)"},
        {"*", true, "r[4 u8] ok"},
        {"100:*", true, "r[4 u8] ok"},
        {"100:200", true, "ok"},
        {"3:5,7", true, "r[2 u4] ok"},
        {"4294967294:1", true, "r[1 u2] r[2 u4] r[3 u6] r[4 u8] ok"},
        {"1,3,5,7", true, "ok"},
    };
    struct client *a = client_in(*state, "INBOX");
    ask_fetch(a, "1:*", false, UIDS, NULL, false);
    assert_said(a, "ok"); /* all of none */
    ask_fetch(a, "1:2", false, UIDS, NULL, false);
    assert_said(a, "no(INVALID)"); /* an empty mailbox has no message number */
    ask_fetch(a, "1:*", true, UIDS, NULL, false);
    assert_said(a, "ok");
    fill(a, 8);
    ask_store(a, "1,3,5,7", false, ADD, true, D, NULL);
    ask_expunge(a, NULL);
    client_said(a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ask_fetch(a, cases[i].set, cases[i].uid, UIDS, NULL, false);
        assert_said(a, cases[i].said);
    }
    client_free(a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(appended_message_is_selected_and_read),
        TEST(wrong_password_is_refused),
        TEST(requests_need_their_state),
        TEST(new_mail_is_told_once_and_recent_to_one),
        TEST(flags_are_told_to_the_others),
        TEST(unchanged_flags_write_nothing),
        TEST(keywords_are_named_before_they_are_shown),
        TEST(too_many_keywords_are_refused),
        TEST(a_store_for_which_memory_is_short_does_not_blame_keywords),
        TEST(expunges_wait_for_a_command_that_may_tell_them),
        TEST(uid_expunge_takes_only_what_is_named),
        TEST(close_expunges_without_a_word),
        TEST(examined_mailbox_is_not_changed),
        TEST(reading_a_body_marks_it_seen),
        TEST(copy_shows_the_same_mail_elsewhere),
        TEST(repeated_request_is_not_done_twice),
        TEST(appended_message_keeps_flags_and_keywords),
        TEST(many_messages_are_appended_in_one_step),
        TEST(of_many_messages_none_is_appended_if_one_cannot_be),
        TEST(record_that_does_not_fit_is_not_believed),
        TEST(mailboxes_are_made_renamed_and_deleted),
        TEST(renamed_inbox_gives_its_mail_away),
        TEST(mailbox_deleted_under_a_client_empties),
        TEST(client_that_was_away_learns_of_very_many_changes),
        TEST(very_many_messages_are_moved),
        TEST(odd_sets_are_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
