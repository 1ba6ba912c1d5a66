/* FETCH: which bytes a section is, and that stopping anywhere changes nothing. */
#include "base/base.h"

#include "test_service_rig.h"

enum { UIDS = 1, FLAGS = 2, SIZE = 8, RECORD = 16 };

#define HEAD                                                                                       \
    "From: a@example.test\r\nSubject: parts\r\n"                                                   \
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
#define PART1       "Content-Type: text/plain\r\n\r\nfirst"
#define INNER_HEAD  "Subject: inner\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
#define INNER_BODY  "--c\r\n\r\ninner text\r\n--c\r\nContent-Type: text/html\r\n\r\n<p>\r\n--c--\r\n"
#define PART2_HEAD  "Content-Type: message/rfc822\r\n\r\n"
#define PART3_HEAD  "Content-Type: message/rfc822\r\n\r\n"
#define SIMPLE_HEAD "Subject: simple\r\n\r\n"
#define SIMPLE_BODY "just text"

static const struct str parts_message =
    STR_INIT(HEAD "preamble\r\n--b\r\n" PART1 "\r\n--b\r\n" PART2_HEAD INNER_HEAD INNER_BODY
                  "\r\n--b\r\n" PART3_HEAD SIMPLE_HEAD SIMPLE_BODY "\r\n--b--\r\nend\r\n");

static void sections_are_those_of_the_rfc(void **state)
{
    static const struct {
        const char *section, *bytes;
    } cases[] = {
        {"HEADER", HEAD},
        {"HEADER.FIELDS", HEAD},
        {"HEADER.FIELDS.NOT<3.4>", HEAD}, /* the fields are picked elsewhere, then cut */
        {"HEADER<6.5>", "a@exa"},
        {"1", "first"},
        {"1.MIME", "Content-Type: text/plain\r\n\r\n"},
        {"1.HEADER", "NIL"},
        {"1.TEXT", "NIL"},
        {"1.1", "NIL"},
        {"2", INNER_HEAD INNER_BODY},
        {"2.MIME", PART2_HEAD},
        {"2.HEADER", INNER_HEAD},
        {"2.HEADER.FIELDS", INNER_HEAD},
        {"2.TEXT", INNER_BODY},
        {"2.1", "inner text"},
        {"2.1.MIME", "\r\n"},
        {"2.2", "<p>"},
        {"2.2.MIME", "Content-Type: text/html\r\n\r\n"},
        {"2.3", "NIL"},
        {"2.1.1", "NIL"},
        {"3", SIMPLE_HEAD SIMPLE_BODY},
        {"3.1", SIMPLE_BODY},
        {"3.1.MIME", SIMPLE_HEAD},
        {"3.2", "NIL"},
        {"3.TEXT", SIMPLE_BODY},
        {"3.TEXT<5.100>", "text"},
        {"3.TEXT<9.1>", ""},
        {"3.TEXT<4000000000.4000000000>", ""},
        {"4", "NIL"},
        {"0", "NIL"},
        {"MIME", "NIL"},
    };
    struct client *c = client_in(*state, "INBOX");
    char expected[1024];
    ask_append(c, "INBOX", parts_message, 1);
    client_said(c);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ask_fetch(c, "1", false, 0, cases[i].section, true);
        snprintf(expected, sizeof expected, "r[1{%s}] ok", cases[i].bytes);
        assert_said(c, expected);
    }
    ask_fetch(c, "1", false, 0, "", true);
    snprintf(expected, sizeof expected, "r[1{%.*s}] ok", STR_FMT(parts_message));
    assert_said(c, expected);
    client_free(c);
}

static void simple_message_has_one_part(void **state)
{
    struct client *c = client_in(*state, "INBOX");
    ask_append(c, "INBOX", STR("Subject: x\r\n\r\nbody"), 1);
    client_said(c);
    ask_fetch(c, "1", false, 0, "1 1.MIME 1.1 2 TEXT HEADER", true);
    assert_said(c, "r[1{body}{Subject: x\r\n\r\n}{NIL}{NIL}{body}{Subject: x\r\n\r\n}] ok");
    client_free(c);
}

/* As they are stored, with how they are encoded; what is not is measured here (RFC 3516). */
static void encoded_parts_are_given_as_they_are(void **state)
{
    struct client *c = client_in(*state, "INBOX");
    ask_append(c, "INBOX",
               STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n"
                   "--b\r\nContent-Transfer-Encoding: Base64\r\n\r\naGVsbG8=\r\n"
                   "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=3D\r\n"
                   "--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n"
                   "--b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin\r\n"
                   "--b--\r\n"),
               1);
    client_said(c);
    ask_fetch(c, "1", false, 0, "1# 1~<2.1> 2#", true);
    assert_said(c, "r[1 1/0 1/0 2/0{aGVsbG8=}{aGVsbG8=}{=3D}] ok");
    ask_fetch(c, "1", false, 0, "3# 3~ 3~<1.2> 3~<9.2> 5~", true);
    assert_said(c, "r[1 0/5 0/0 0/0 0/0 0/0{}{plain}{la}{}{NIL}] ok");
    ask_fetch(c, "1", false, 0, "4# 4~ 3~", true);
    assert_said(c, "r[1 3/0 3/0 0/0{NIL}{NIL}{plain}] no(UNKNOWN_CTE)");
    ask_fetch(c, "1", false, 0, "4 3#", true);
    assert_said(c, "r[1 0/0 0/5{begin}{}] ok");
    client_free(c);
}

static void nul_bytes_come_back(void **state)
{
    struct client *c = client_in(*state, "INBOX");
    ask_append(c, "INBOX", STR("Subject: x\n\na\0b\n"), 1);
    client_said(c);
    ask_fetch(c, "1", false, SIZE, "TEXT", true);
    struct str said = buf_str(&c->said);
    assert_true(str_eq(said, STR("r[1 z16{a\0b\n}] ok")));
    client_free(c);
}

/* Adds a message with a generated head, as a delivery does. */
static void deliver(struct rig *r, struct str head, struct str body)
{
    struct account *a;
    struct txn *t;
    email_id email;
    msg_uid uid;
    struct buf record CLEANUP(buf_free) = {0};
    Thurn__Email e = THURN__EMAIL__INIT;
    Thurn__Part p = THURN__PART__INIT, *parts[] = {&p};
    p.type = pb_bytes(STR("text"));
    p.subtype = pb_bytes(STR("plain"));
    p.encoding = pb_bytes(STR("7bit"));
    p.body_offset = (uint32_t)str_find(body, STR("\r\n\r\n"), 0) + 4;
    p.end_offset = (uint32_t)body.n;
    p.text_is_body = true;
    e.parser = 1;
    e.n_parts = 1;
    e.parts = parts;
    e.size = body.n;
    pb_pack(&record, &e.base);
    struct new_email n = {.head = head, .body = body_new(body), .record = buf_str(&record)};
    assert_int_equal(account_open(r->store, r->account, &a).code, E_OK);
    assert_int_equal(txn_begin(a, &t).code, E_OK);
    assert_int_equal(txn_email_add(t, &n, &email).code, E_OK);
    Thurn__Mailbox *m;
    struct arena arena CLEANUP(arena_free);
    arena_init(&arena, 1024 * 1024);
    assert_int_equal(snap_mailbox_named(txn_snap(t), STR("INBOX"), &arena, &m).code, E_OK);
    assert_int_equal(txn_entry_add(t, (mailbox_id){m->id}, email, 0, 0, 7, &uid).code, E_OK);
    assert_int_equal(txn_commit(t).code, E_OK);
    body_unref(n.body);
    account_close(a);
}

static void generated_head_is_part_of_the_message(void **state)
{
    struct client *c = client_new(*state);
    deliver(*state, STR("Return-Path: <x@y>\r\n"), STR("Subject: x\r\n\r\nbody"));
    ask_select(c, "INBOX", false);
    client_said(c);
    ask_fetch(c, "1", false, SIZE, "", false);
    assert_said(c, "r[1 z38{Return-Path: <x@y>\r\nSubject: x\r\n\r\nbody}] ok");
    ask_fetch(c, "1", false, 0, "HEADER TEXT 1 HEADER<0.6>", false);
    assert_said(c, "r[1{Return-Path: <x@y>\r\nSubject: x\r\n\r\n}{body}{body}{Return}] ok");
    client_free(c);
}

static struct str big_message(struct buf *b, size_t n)
{
    buf_put(b, STR("Subject: big\r\n\r\n"));
    for (size_t i = 0; b->n < n; i++)
        buf_byte(b, i % 71 == 70 ? '\n' : (uint8_t)('a' + i * 7 % 26));
    return buf_str(b);
}

static void stopping_anywhere_gives_the_same_bytes(void **state)
{
    struct rig *r = *state;
    struct client *c = client_in(r, "INBOX");
    struct buf big CLEANUP(buf_free) = {0};
    struct buf whole CLEANUP(buf_free) = {0};
    static const size_t slices[] = {1, 2, 7, 100, 1500, 70000};
    ask_append(c, "INBOX", parts_message, 0);
    ask_append(c, "INBOX", big_message(&big, 3000), 0);
    ask_append(c, "INBOX", parts_message, 0);
    client_said(c);
    ask_fetch(c, "1:3", false, UIDS | RECORD, " 2.1 9 HEADER.FIELDS TEXT<3.50>", false);
    buf_put(&whole, buf_str(&c->said));
    buf_byte(&whole, 0);
    client_said(c);
    for (size_t i = 0; i < ARRAY_LEN(slices); i++) {
        r->host.slice_bytes = slices[i];
        c->yields = 0;
        ask_fetch(c, "1:3", false, UIDS | RECORD, " 2.1 9 HEADER.FIELDS TEXT<3.50>", false);
        assert_said(c, (const char *)whole.p + whole.off);
        assert_true(slices[i] > 1 || c->yields > 3000);
    }
    client_free(c);
}

static void marking_seen_goes_on_after_each_stop(void **state)
{
    struct rig *r = *state;
    struct client *c = client_in(r, "INBOX"), *other = client_in(r, "INBOX");
    for (unsigned i = 0; i < 5; i++)
        ask_append(c, "INBOX", STR("Subject: x\r\n\r\nb"), i == 2 ? 1 : 0);
    ask_noop(other);
    client_said(c), client_said(other);
    r->host.slice_bytes = 1;
    ask_fetch(c, "1:2,3:5", false, 0, "TEXT", true);
    assert_said(c, "r[1 =SR{b}] r[2 =SR{b}] r[3{b}] r[4 =SR{b}] r[5 =SR{b}] ok");
    ask_noop(c);
    assert_said(c, "ok");
    ask_noop(other);
    assert_said(other, "u[1=S 2=S 4=S 5=S] ok");
    client_free(c);
    client_free(other);
}

static void large_body_travels_in_frames(void **state)
{
    struct rig *r = *state;
    struct client *c = client_in(r, "INBOX");
    struct buf big CLEANUP(buf_free) = {0};
    struct str message = big_message(&big, 5 * 1000 * 1000);
    ask_append(c, "INBOX", message, 1);
    client_said(c);
    c->frames = 0;
    ask_fetch(c, "1", false, 0, "", true);
    assert_true(c->frames < 45);
    assert_true(c->yields >= 15);
    struct str said = buf_str(&c->said);
    assert_int_equal(said.n, message.n + strlen("r[1{}] ok"));
    assert_true(str_eq(str_sub(said, 4, 4 + message.n), message));
    client_free(c);
}

static void message_expunged_in_mid_fetch_does_not_disturb(void **state)
{
    struct rig *r = *state;
    struct client *c = client_in(r, "INBOX"), *other = client_in(r, "INBOX");
    for (unsigned i = 0; i < 3; i++)
        ask_append(c, "INBOX", STR("Subject: x\r\n\r\nbody"), 0);
    ask_noop(other);
    client_said(c), client_said(other);
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    struct frame f = {.fd = -1, .serial = ++c->serial};
    Thurn__ImapFetch m = THURN__IMAP_FETCH__INIT;
    Thurn__Section s = THURN__SECTION__INIT, *sections[] = {&s};
    s.part = THURN__SECTION_PART__SECTION_TEXT;
    m.set = set_of(&a, "1:3", false);
    m.n_sections = 1;
    m.sections = sections;
    f.message = &m.base;
    for (size_t i = 0; i < rpc_table.n; i++)
        if (rpc_table.types[i].number == RPC_IMAP_FETCH)
            f.type = &rpc_table.types[i];
    r->host.slice_bytes = 1;
    while (str_find(buf_str(&c->said), STR("r[1"), 0) == c->said.n)
        assert_int_equal(imap_session_run(c->imap, &f, NULL), IMAP_RUN_YIELD);
    ask_store(other, "1:2", false, 1, true, 8, NULL);
    ask_expunge(other, NULL);
    while (imap_session_run(c->imap, &f, NULL) == IMAP_RUN_YIELD)
        ;
    assert_said(c, "r[1{body}] r[3{body}] ok");
    ask_noop(c);
    assert_said(c, "u[x1 x1] ok");
    client_free(c);
    client_free(other);
}

/* Only a row with bytes is ever told in part; the backend goes on whatever it is asked. */
static void a_row_without_bytes_can_be_asked_for_again(void **state)
{
    struct rig *r = *state;
    struct client *c = client_in(r, "INBOX");
    ask_append(c, "INBOX", parts_message, 0);
    client_said(c);
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    Thurn__ImapFetch m = THURN__IMAP_FETCH__INIT;
    m.set = set_of(&a, "1:*", false);
    m.items = THURN__FETCH_ITEM__FETCH_UID;
    m.open = 1;
    ask(c, RPC_IMAP_FETCH, &m.base);
    assert_said(c, "r[1 u1] ok");
    client_free(c);
}

static void cancelled_fetch_leaves_nothing(void **state)
{
    struct rig *r = *state;
    struct client *c = client_in(r, "INBOX");
    ask_append(c, "INBOX", parts_message, 0);
    client_said(c);
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    struct frame f = {.fd = -1, .serial = c->serial};
    Thurn__ImapFetch m = THURN__IMAP_FETCH__INIT;
    Thurn__Section s = THURN__SECTION__INIT, *sections[] = {&s};
    m.set = set_of(&a, "1", false);
    m.n_sections = 1;
    m.sections = sections;
    f.message = &m.base;
    for (size_t i = 0; i < rpc_table.n; i++)
        if (rpc_table.types[i].number == RPC_IMAP_FETCH)
            f.type = &rpc_table.types[i];
    r->host.slice_bytes = 1;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(imap_session_run(c->imap, &f, NULL), IMAP_RUN_YIELD);
    imap_session_cancel(c->imap);
    client_free(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(sections_are_those_of_the_rfc),
        TEST(simple_message_has_one_part),
        TEST(encoded_parts_are_given_as_they_are),
        TEST(nul_bytes_come_back),
        TEST(generated_head_is_part_of_the_message),
        TEST(stopping_anywhere_gives_the_same_bytes),
        TEST(marking_seen_goes_on_after_each_stop),
        TEST(large_body_travels_in_frames),
        TEST(message_expunged_in_mid_fetch_does_not_disturb),
        TEST(a_row_without_bytes_can_be_asked_for_again),
        TEST(cancelled_fetch_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
