#include "base/base.h"

#include "frontend_bench.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <cmocka.h>

/* ------------------------------------------------------------------------------------- certificate
 */

static void pem_take(BIO *bio, struct buf *out)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    assert_true(n > 0);
    buf_put(out, str_of(p, (size_t)n));
    BIO_free(bio);
}

static void make_certificate(struct buf *chain, struct buf *key)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_non_null(pkey);
    assert_non_null(x);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"mx.example.test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, pkey);
    assert_true(X509_sign(x, pkey, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x);
    pem_take(bio, chain);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    pem_take(bio, key);
    X509_free(x);
    EVP_PKEY_free(pkey);
}

static void give_certificate(struct bench *b)
{
    struct buf chain CLEANUP(buf_free) = {0}, key CLEANUP(buf_free) = {0};
    make_certificate(&chain, &key);
    Thurn__Certificate m = THURN__CERTIFICATE__INIT;
    m.chain = pb_bytes(buf_str(&chain));
    m.key = pb_bytes(buf_str(&key));
    role_frontend.certificate(&b->role, &m);
    assert_true(tls_server_has_certificate(b->fe->tls));
}

/* ------------------------------------------------------------------------------------------ client
 */

static bool logs_in(struct fake_session *s, struct frame *f)
{
    Thurn__Status status = THURN__STATUS__INIT;
    Thurn__ImapDone d = THURN__IMAP_DONE__INIT;
    d.status = &status;
    assert_true(s->may_authenticate);
    assert_int_equal(chan_send(s->chan, RPC_IMAP_DONE, f->serial, &d.base, STR(""), -1).code, E_OK);
    return true;
}

struct fixture {
    struct bench bench;
    struct talk talk;
    SSL_CTX *ctx;
    SSL *ssl;
    struct buf got;
};

static struct fixture *start(Thurn__ListenerKind kind)
{
    struct fixture *x = mem_alloc(sizeof *x);
    bench_start(&x->bench);
    x->bench.answer = logs_in;
    x->bench.settings.n_cleartext_login_from = 0;
    role_frontend.reload(&x->bench.role);
    give_certificate(&x->bench);
    talk_open(&x->talk, &x->bench, kind);
    return x;
}

static void end(struct fixture *x)
{
    SSL_free(x->ssl);
    SSL_CTX_free(x->ctx);
    talk_close(&x->talk);
    bench_end(&x->bench);
    buf_free(&x->got);
    free(x);
}

static void turn(struct fixture *x)
{
    loop_post(x->bench.role.loop, (void (*)(void *))loop_stop, x->bench.role.loop);
    loop_run(x->bench.role.loop);
}

static void handshake(struct fixture *x)
{
    talk_read(&x->talk, false);
    x->ctx = SSL_CTX_new(TLS_client_method());
    x->ssl = SSL_new(x->ctx);
    SSL_set_fd(x->ssl, x->talk.fd);
    int r = -1;
    for (int i = 0; i < 100000 && r != 1; i++) {
        r = SSL_connect(x->ssl);
        turn(x);
    }
    assert_int_equal(r, 1);
}

static struct str expect(struct fixture *x, const char *want)
{
    for (int i = 0; i < 100000; i++) {
        struct str got = buf_str(&x->got);
        if (str_find(got, str_c(want), 0) < got.n)
            return got;
        uint8_t *room = buf_room(&x->got, 4096);
        int n = SSL_read(x->ssl, room, 4096);
        if (n > 0)
            buf_added(&x->got, (size_t)n);
        turn(x);
    }
    fail_msg("no \"%s\" in \"%.*s\"", want, STR_FMT(buf_str(&x->got)));
    return STR("");
}

static struct str say(struct fixture *x, const char *line, const char *want)
{
    buf_clear(&x->got);
    assert_int_equal(SSL_write(x->ssl, line, (int)strlen(line)), (int)strlen(line));
    return expect(x, want);
}

static bool has(struct str s, const char *what)
{
    return str_find(s, str_c(what), 0) < s.n;
}

/* ------------------------------------------------------------------------------------------- tests
 */

static void imaps_greets_behind_the_handshake(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_IMAPS);
    handshake(x);
    struct str greeting = expect(x, "Thurn ready\r\n");
    assert_true(str_starts(greeting, STR("* OK [CAPABILITY ")));
    assert_true(has(greeting, "AUTH=PLAIN"));
    assert_false(has(greeting, "STARTTLS"));
    assert_false(has(greeting, "LOGINDISABLED"));
    (void)say(x, "a LOGIN u p\r\n", "a OK ");
    (void)say(x, "b LOGOUT\r\n", "b OK ");
    end(x);
}

static void nothing_pipelined_before_starttls_survives_it(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_IMAP);
    struct str greeting = talk_expect(&x->talk, "Thurn ready\r\n");
    assert_true(has(greeting, "STARTTLS") && has(greeting, "LOGINDISABLED"));
    (void)talk_say(&x->talk, "a LOGIN u p", "a NO [PRIVACYREQUIRED]");
    (void)talk_say(&x->talk, "b STARTTLS\r\nc NOOP\r\nd LOGIN u p", "b OK Begin TLS now\r\n");
    handshake(x);
    struct str got = say(x, "e CAPABILITY\r\n", "e OK ");
    assert_false(has(got, "c OK") || has(got, "d OK"));
    assert_false(has(got, "STARTTLS") || has(got, "LOGINDISABLED"));
    (void)say(x, "f STARTTLS\r\n", "f BAD ");
    (void)say(x, "g LOGIN u p\r\n", "g OK ");
    end(x);
}

static void who_speaks_no_tls_is_cut_off(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_IMAPS);
    talk_send(&x->talk, STR("a LOGIN u p\r\nb LOGOUT\r\n"));
    struct str got = talk_expect_close(&x->talk);
    assert_false(has(got, "OK"));
    end(x);
}

static void stopping_ends_a_handshake(void **state)
{
    struct fixture *x = start(THURN__LISTENER_KIND__LISTEN_IMAPS);
    role_frontend.stop(&x->bench.role);
    (void)talk_expect_close(&x->talk);
    end(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imaps_greets_behind_the_handshake),
        cmocka_unit_test(nothing_pipelined_before_starttls_survives_it),
        cmocka_unit_test(who_speaks_no_tls_is_cut_off),
        cmocka_unit_test(stopping_ends_a_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
