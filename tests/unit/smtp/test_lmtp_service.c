#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>

#include "smtp/lmtp_head.h"
#include "smtp/lmtp_service.h"

/* -- generated head -- */

static Thurn__Mailaddr address(struct str local, struct str domain)
{
    Thurn__Mailaddr a = THURN__MAILADDR__INIT;
    a.local = pb_bytes(local);
    a.domain = pb_bytes(domain);
    return a;
}

struct letter {
    Thurn__Mailaddr sender, recipient;
    Thurn__Mailaddr *recipients[1];
    Thurn__LmtpDeliver request;
    struct lmtp_message m;
    struct lmtp_target to;
};

static void letter_make(struct letter *l)
{
    l->sender = address(STR("sender"), STR("example.org"));
    l->recipient = address(STR("alice"), STR("example.test"));
    l->recipients[0] = &l->recipient;
    l->request = (Thurn__LmtpDeliver)THURN__LMTP_DELIVER__INIT;
    l->request.delivery = pb_bytes(STR("0123456789abcdef"));
    l->request.sender = &l->sender;
    l->request.recipients = l->recipients;
    l->request.n_recipients = 1;
    l->request.helo = pb_bytes(STR("client.example.org"));
    l->request.trace = pb_bytes(STR("abc123"));
    l->to = (struct lmtp_target){.account = {2}};
    l->m = (struct lmtp_message){.request = &l->request,
                                 .peer = STR("192.0.2.1"),
                                 .hostname = STR("mail.example.test"),
                                 .now = 1795700000};
}

static void head_is(const struct letter *l, const char *want)
{
    struct buf head CLEANUP(buf_free) = {0};
    lmtp_head(&l->m, &l->to, &head);
    buf_byte(&head, 0);
    assert_string_equal((const char *)head.p, want);
}

static void a_delivered_message_shows_its_way(void **state)
{
    (void)state;
    struct letter l;
    letter_make(&l);
    head_is(&l, "Return-Path: <sender@example.org>\r\n"
                "Delivered-To: alice@example.test\r\n"
                "Received: from client.example.org ([192.0.2.1])\r\n"
                "\tby mail.example.test with LMTP id abc123\r\n"
                "\tfor <alice@example.test>; Thu, 26 Nov 2026 13:33:20 +0000\r\n");
    l.sender = address(STR(""), STR(""));
    l.recipient = address(STR("al \"ice\\"), STR("example.test"));
    l.m.peer = STR("2001:db8::1");
    l.request.helo = pb_bytes(STR(""));
    l.m.now = 951782400;
    head_is(&l, "Return-Path: <>\r\n"
                "Delivered-To: \"al \\\"ice\\\\\"@example.test\r\n"
                "Received: from unknown ([IPv6:2001:db8::1])\r\n"
                "\tby mail.example.test with LMTP id abc123\r\n"
                "\tfor <\"al \\\"ice\\\\\"@example.test>; Tue, 29 Feb 2000 00:00:00 +0000\r\n");
}

static void protocol_is(struct letter *l, Thurn__MailProtocol protocol, bool utf8, bool tls,
                        bool authenticated, const char *want)
{
    l->request.protocol = protocol;
    l->request.smtputf8 = utf8;
    l->m.tls = tls;
    l->m.authenticated = authenticated;
    struct buf head CLEANUP(buf_free) = {0};
    lmtp_head(&l->m, &l->to, &head);
    assert_true(str_find(buf_str(&head), str_c(want), 0) < head.n);
}

static void received_names_the_protocol_by_the_book(void **state)
{
    (void)state;
    struct letter l;
    letter_make(&l);
    const Thurn__MailProtocol esmtp = THURN__MAIL_PROTOCOL__MAIL_ESMTP;
    protocol_is(&l, THURN__MAIL_PROTOCOL__MAIL_SMTP, false, false, false, " with SMTP id ");
    protocol_is(&l, esmtp, false, false, false, " with ESMTP id ");
    protocol_is(&l, esmtp, false, false, true, " with ESMTPA id ");
    protocol_is(&l, esmtp, true, false, false, " with UTF8SMTP id ");
    l.request.tls = pb_bytes(STR("TLSv1.3 TLS_AES_256_GCM_SHA384"));
    protocol_is(&l, esmtp, false, true, false, " with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id ");
    protocol_is(&l, esmtp, true, true, true, " with UTF8SMTPSA (TLSv1.3 ");
    l.request.tls = pb_bytes(STR("a)\r\nX: b c\n"));
    protocol_is(&l, esmtp, false, true, false, " with ESMTPS (a???X: b?c?) id ");
    l.sender = address(STR("gr\xc3\xbc\xc3\x9f"), STR("example.org"));
    protocol_is(&l, esmtp, true, false, false, "<gr\xc3\xbc\xc3\x9f@example.org>");
    protocol_is(&l, esmtp, false, false, false, "<\"gr????\"@example.org>");
    l.sender = address(STR("gr\xc3"), STR("example.org"));
    protocol_is(&l, esmtp, true, false, false, "<\"gr?\"@example.org>");
}

/* Whatever a client says of itself, the head is three fields in printable ASCII. */
static void no_client_can_add_a_header_line(void **state)
{
    (void)state;
    static const struct str evil = STR_INIT("a\r\nX-Evil: yes\r\n\r\n\0\xff\x7f(><)\"\\;,");
    struct letter l;
    letter_make(&l);
    l.sender = address(evil, evil);
    l.recipient = address(evil, evil);
    l.request.helo = l.request.trace = pb_bytes(evil);
    l.m.hostname = l.m.peer = evil;
    struct buf head CLEANUP(buf_free) = {0};
    lmtp_head(&l.m, &l.to, &head);
    struct cur c = cur_of(buf_str(&head));
    static const struct str begins[] = {STR_INIT("Return-Path: <"), STR_INIT("Delivered-To: "),
                                        STR_INIT("Received: from "), STR_INIT("\tby "),
                                        STR_INIT("\tfor <")};
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        struct str line = cur_until(&c, '\n');
        assert_true(str_starts(line, begins[i]));
        assert_true(str_ends(line, STR("\r")));
        for (size_t k = 1; k + 1 < line.n; k++)
            assert_in_range(line.p[k], ' ', '~');
    }
    assert_true(cur_end(&c) && !c.bad);
}

/* -- deliveries -- */

struct rig {
    char dir[64];
    struct store *store;
    struct directory *d;
    account_id alice;
    pthread_mutex_t lock;
    pthread_cond_t told;
    unsigned done;
    Thurn__Status status;
};

static int setup(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    (void)snprintf(r->dir, sizeof r->dir, "/tmp/thurn-lmtp-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    (void)pthread_mutex_init(&r->lock, NULL);
    (void)pthread_cond_init(&r->told, NULL);
    struct buf explain CLEANUP(buf_free) = {0};
    const struct store_options options = {.dir = str_c(r->dir)};
    assert_int_equal(store_open(&options, &r->store, &explain).code, E_OK);
    const struct directory_options cheap = {.argon2_memory_kib = 64, .argon2_passes = 1};
    assert_int_equal(directory_open(r->store, &cheap, &r->d).code, E_OK);
    assert_int_equal(directory_domain_add(r->d, STR("example.test"), STR("")).code, E_OK);
    const struct directory_password secret = {STR("secret"), false};
    assert_int_equal(directory_account_add(r->d, STR("alice@example.test"), secret, &r->alice).code,
                     E_OK);
    *state = r;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct rig *r = *state;
    directory_close(r->d);
    store_close(r->store);
    (void)nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(r);
    return 0;
}

static void told(Thurn__Status status, void *arg)
{
    struct rig *r = arg;
    (void)pthread_mutex_lock(&r->lock);
    r->status = status;
    r->done++;
    (void)pthread_cond_signal(&r->told);
    (void)pthread_mutex_unlock(&r->lock);
}

static Thurn__Code deliver(struct rig *r, struct account *a, const struct lmtp_message *m)
{
    (void)pthread_mutex_lock(&r->lock);
    unsigned before = r->done;
    (void)pthread_mutex_unlock(&r->lock);
    const struct lmtp_target to = {.account = account_get_id(a)};
    lmtp_deliver(a, m, &to, told, r);
    (void)pthread_mutex_lock(&r->lock);
    while (r->done == before)
        (void)pthread_cond_wait(&r->told, &r->lock);
    (void)pthread_mutex_unlock(&r->lock);
    return r->status.code;
}

static void content_is(struct snap *s, email_id id, struct str tail)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__StoredEmail *e;
    assert_int_equal(snap_email(s, id, &a, &e).code, E_OK);
    uint8_t *bytes = arena_alloc(&a, e->size);
    assert_non_null(bytes);
    assert_int_equal(snap_content(s, e, 0, bytes, e->size).code, E_OK);
    struct str all = str_of(bytes, e->size);
    assert_true(str_starts(all, STR("Return-Path: <sender@example.org>\r\n")));
    assert_true(str_ends(all, tail));
    assert_int_equal(e->head_size, all.n - tail.n);
}

static void route_is(struct rig *r, const char *host, const char *local, const char *domain,
                     Thurn__Code code, bool foreign)
{
    Thurn__Mailaddr to = address(str_c(local), str_c(domain));
    struct lmtp_route route;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    assert_int_equal(lmtp_recipient(r->d, str_c(host), &to, DIRECTORY_LOOK_UPS, &a, &route).code,
                     code);
    assert_int_equal(route.foreign, foreign);
    assert_int_equal(route.to.n, code == THURN__CODE__DONE);
    if (route.to.n)
        assert_int_equal(route.to.targets[0].account.v, r->alice.v);
}

static void a_recipient_is_told_from_a_stranger(void **state)
{
    struct rig *r = *state;
    route_is(r, "mx.test", "alice", "example.test", THURN__CODE__DONE, false);
    route_is(r, "mx.test", "nobody", "example.test", THURN__CODE__NOT_FOUND, false);
    route_is(r, "mx.test", "alice", "elsewhere.test", THURN__CODE__NOT_FOUND, true);
    route_is(r, "mx.test", "alice", "[192.0.2.1]", THURN__CODE__NOT_FOUND, true);
    /* Without domain: the only one, then the host's own, then nobody's. */
    route_is(r, "mx.test", "alice", "", THURN__CODE__DONE, false);
    assert_int_equal(directory_domain_add(r->d, STR("other.test"), STR("")).code, E_OK);
    route_is(r, "mx.test", "alice", "", THURN__CODE__NOT_FOUND, false);
    route_is(r, "example.test", "alice", "", THURN__CODE__DONE, false);
    route_is(r, "other.test", "alice", "", THURN__CODE__NOT_FOUND, false);
    assert_int_equal(directory_domain_remove(r->d, STR("other.test")).code, E_OK);
}

static void a_repeated_delivery_is_in_the_mailbox_once(void **state)
{
    struct rig *r = *state;
    static const struct str text = STR_INIT("Subject: hello\r\n\r\nA letter.\r\n");
    struct letter l;
    letter_make(&l);
    struct buf record CLEANUP(buf_free) = {0};
    email_record_flat(text.n, &record);
    l.m.record = buf_str(&record);
    l.m.body = body_new(text);

    struct account *a;
    assert_int_equal(account_open(r->store, r->alice, &a).code, E_OK);
    assert_int_equal(deliver(r, a, &l.m), THURN__CODE__DONE);
    assert_int_equal(deliver(r, a, &l.m), THURN__CODE__DONE);
    body_unref(l.m.body);

    struct snap *s;
    assert_int_equal(snap_open(a, &s).code, E_OK);
    struct arena arena CLEANUP(arena_free);
    arena_init(&arena, 1 << 20);
    Thurn__Mailbox *inbox;
    assert_int_equal(snap_mailbox_named(s, STR("INBOX"), &arena, &inbox).code, E_OK);
    assert_int_equal(inbox->exists, 1);
    struct entry e;
    assert_int_equal(snap_entry(s, (mailbox_id){inbox->id}, (msg_uid){1}, &e).code, E_OK);
    assert_int_equal(e.internal_date, l.m.now);
    assert_int_equal(e.flags, 0);
    content_is(s, e.email, text);
    snap_close(s);
    account_close(a);
}

static void mail_to_another_address_shows_both(void **state)
{
    (void)state;
    struct letter l;
    letter_make(&l);
    l.recipient = address(STR("alice+Lists"), STR("example.test"));
    l.to.address = STR("alice@example.test");
    struct buf head CLEANUP(buf_free) = {0};
    lmtp_head(&l.m, &l.to, &head);
    assert_true(str_starts(buf_str(&head), STR("Return-Path: <sender@example.org>\r\n"
                                               "Delivered-To: alice@example.test\r\n"
                                               "Delivered-To: alice+Lists@example.test\r\n"
                                               "Received: ")));
    l.recipient = address(STR("Alice"), STR("example.test"));
    buf_clear(&head);
    lmtp_head(&l.m, &l.to, &head);
    assert_true(str_starts(buf_str(&head), STR("Return-Path: <sender@example.org>\r\n"
                                               "Delivered-To: Alice@example.test\r\n"
                                               "Received: ")));
    l.recipient = address(STR("postmaster"), STR(""));
    l.to.address = STR("postmaster@example.test");
    buf_clear(&head);
    lmtp_head(&l.m, &l.to, &head);
    assert_true(str_starts(buf_str(&head), STR("Return-Path: <sender@example.org>\r\n"
                                               "Delivered-To: postmaster\r\n"
                                               "Received: ")));
}

int main(void)
{
    log_open("test", 0, LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delivered_message_shows_its_way),
        cmocka_unit_test(received_names_the_protocol_by_the_book),
        cmocka_unit_test(no_client_can_add_a_header_line),
        cmocka_unit_test_setup_teardown(a_recipient_is_told_from_a_stranger, setup, teardown),
        cmocka_unit_test_setup_teardown(a_repeated_delivery_is_in_the_mailbox_once, setup,
                                        teardown),
        cmocka_unit_test(mail_to_another_address_shows_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
