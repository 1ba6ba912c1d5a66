/* Connections with TLS: both ways, certificates, STARTTLS. */
#include "base/base.h"

#include "conn_rig.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct pem {
    struct buf cert, key;
};

static void put_bio(struct buf *out, BIO *bio)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    buf_put(out, str_of(p, (size_t)n));
    BIO_free(bio);
}

static struct pem make_certificate(const char *name)
{
    struct pem pem = {0};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_true(key && x);
    (void)X509_set_version(x, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(x), -60);
    (void)X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    (void)X509_set_pubkey(x, key);
    X509_NAME *n = X509_get_subject_name(x);
    (void)X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    (void)X509_set_issuer_name(x, n);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    BIO *cert = BIO_new(BIO_s_mem()), *bio_key = BIO_new(BIO_s_mem());
    assert_true(PEM_write_bio_X509(cert, x));
    assert_true(PEM_write_bio_PrivateKey(bio_key, key, NULL, NULL, 0, NULL, NULL));
    put_bio(&pem.cert, cert);
    put_bio(&pem.key, bio_key);
    X509_free(x);
    EVP_PKEY_free(key);
    return pem;
}

static void pem_free(struct pem *p)
{
    buf_free(&p->cert);
    buf_free(&p->key);
}

static void add_certificate(struct tls_server *t, const char *name, bool is_default)
{
    struct pem pem CLEANUP(pem_free) = make_certificate(name);
    struct str s = str_c(name);
    struct err e = tls_server_add(t, &s, is_default ? 0 : 1, buf_str(&pem.cert), buf_str(&pem.key));
    assert_int_equal(e.code, E_OK);
}

/* A client, driven by the loop: says `say` once it is connected, hears what comes. */
struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    struct str say;
    size_t said;
    struct buf heard;
    size_t want;
    bool connected, failed, end;
};

static void client_open(struct client *c, int fd, const char *sni)
{
    c->ctx = c->ctx ? c->ctx : SSL_CTX_new(TLS_client_method());
    c->ssl = SSL_new(c->ctx);
    assert_non_null(c->ssl);
    assert_true(SSL_set_fd(c->ssl, fd));
    if (sni)
        assert_true(SSL_set_tlsext_host_name(c->ssl, sni));
    SSL_set_connect_state(c->ssl);
}

static void client_free(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    buf_free(&c->heard);
}

static bool client_retry(struct client *c, int result)
{
    int e = SSL_get_error(c->ssl, result);
    c->end |= e == SSL_ERROR_ZERO_RETURN;
    c->failed |= e == SSL_ERROR_SSL || e == SSL_ERROR_SYSCALL;
    ERR_clear_error();
    return false;
}

static bool client_step(struct client *c)
{
    int r;
    if (!c->connected) {
        r = SSL_do_handshake(c->ssl);
        c->connected = r == 1;
        return c->connected || client_retry(c, r);
    }
    if (c->said < c->say.n) {
        size_t n = 0;
        r = SSL_write_ex(c->ssl, c->say.p + c->said, c->say.n - c->said, &n);
        c->said += n;
        if (r == 1)
            return true;
    }
    uint8_t block[4096];
    size_t n = 0;
    r = SSL_read_ex(c->ssl, block, sizeof block, &n);
    buf_put(&c->heard, str_of(block, n));
    return r == 1 || client_retry(c, r);
}

static bool client_done(void *arg)
{
    struct client *c = arg;
    for (unsigned i = 0; i < 100 && !c->failed && !c->end && client_step(c); i++)
        continue;
    return c->failed || c->end || (c->connected && c->said == c->say.n && c->heard.n >= c->want);
}

static void run_client(struct world *w, struct client *c)
{
    run_until(w->s.loop, client_done, c);
}

static struct tls_server *new_tls(const char *default_name)
{
    struct tls_server *t;
    assert_int_equal(tls_server_new(&t).code, E_OK);
    assert_false(tls_server_has_certificate(t));
    if (default_name)
        add_certificate(t, default_name, true);
    return t;
}

static void tls_carries_both_ways(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("mail.example.test");
    struct client c CLEANUP(client_free) = {0};
    struct buf much CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < 40000; i++)
        buf_printf(&much, "%zu\n", i);
    open_pair(w, &(struct conn_limits){.in_max = 1 << 20, .out_low = 4096, .write_ms = 10000});
    assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
    assert_true(conn_is_tls(w->s.conn));
    conn_write(w->s.conn, buf_str(&much));
    client_open(&c, w->client, NULL);
    c.say = buf_str(&much);
    c.want = much.n;
    run_client(w, &c);
    assert_false(c.failed);
    assert_true(w->s.secured);
    await_bytes(&w->s, much.n);
    assert_true(str_eq(buf_str(&w->s.got), buf_str(&much)));
    assert_true(str_eq(buf_str(&c.heard), buf_str(&much)));
    conn_finish(w->s.conn);
    c.want = SIZE_MAX;
    run_client(w, &c);
    assert_true(c.end);
    assert_false(c.failed);
    tls_server_free(t);
}

static void tls_input_beyond_the_limit_waits_and_is_not_lost(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("mail.example.test");
    struct client c CLEANUP(client_free) = {.say = STR("0123456789abcdef")};
    open_pair(w, &(struct conn_limits){.in_max = 10});
    w->s.leave = true;
    assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
    tls_server_free(t); /* the connection keeps what it needs */
    client_open(&c, w->client, NULL);
    run_client(w, &c);
    await_calls(&w->s, 1);
    assert_int_equal(conn_in(w->s.conn)->n, 10);
    buf_consume(conn_in(w->s.conn), 10);
    w->s.leave = false;
    await_bytes(&w->s, 6);
    assert_true(str_eq(buf_str(&w->s.got), STR("abcdef")));
}

static void assert_peer_name(SSL *ssl, const char *name)
{
    X509 *x = SSL_get1_peer_certificate(ssl);
    assert_non_null(x);
    char cn[100] = "";
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof cn);
    assert_string_equal(cn, name);
    X509_free(x);
}

static void the_certificate_is_that_of_the_name_asked_for(void **state)
{
    static const struct {
        const char *asks, *shown;
    } cases[] = {
        {NULL, "default.test"},         {"unknown.test", "default.test"},
        {"one.test", "one.test"},       {"ONE.test", "one.test"},
        {"a.wild.test", "*.wild.test"}, {"a.b.wild.test", "default.test"},
        {"wild.test", "default.test"},
    };
    struct world *w = *state;
    struct tls_server *t = new_tls("default.test");
    add_certificate(t, "one.test", false);
    add_certificate(t, "*.wild.test", false);
    add_certificate(t, "one.test", false); /* replaced */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c CLEANUP(client_free) = {0};
        open_pair(w, &usual);
        assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
        client_open(&c, w->client, cases[i].asks);
        run_client(w, &c);
        assert_false(c.failed);
        assert_peer_name(c.ssl, cases[i].shown);
        conn_free(w->s.conn);
        w->s.conn = NULL;
        (void)close(w->client);
        w->client = -1;
    }
    tls_server_free(t);
}

static SSL_SESSION *ticket;
static int keep_ticket(SSL *ssl, SSL_SESSION *s)
{
    SSL_SESSION_free(ticket);
    ticket = s;
    return 1;
}

static void a_session_ticket_shortens_the_next_handshake(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("default.test");
    struct client c CLEANUP(client_free) = {.ctx = SSL_CTX_new(TLS_client_method())};
    (void)SSL_CTX_set_session_cache_mode(c.ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(c.ctx, keep_ticket);
    for (int round = 0; round < 2; round++) {
        open_pair(w, &usual);
        assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
        conn_write(w->s.conn, STR("hi"));
        client_open(&c, w->client, NULL);
        if (ticket)
            assert_true(SSL_set_session(c.ssl, ticket));
        c.connected = false;
        c.want = c.heard.n + 2;
        run_client(w, &c);
        assert_false(c.failed);
        assert_int_equal(SSL_session_reused(c.ssl), round);
        (void)SSL_shutdown(c.ssl); /* else it forgets the ticket */
        conn_free(w->s.conn);
        w->s.conn = NULL;
        (void)close(w->client);
        w->client = -1;
        SSL_free(c.ssl);
        c.ssl = NULL;
    }
    SSL_SESSION_free(ticket);
    ticket = NULL;
    tls_server_free(t);
}

static void old_tls_versions_are_refused(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("default.test");
    struct client c CLEANUP(client_free) = {.ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_security_level(c.ctx, 0);
    assert_true(SSL_CTX_set_min_proto_version(c.ctx, TLS1_VERSION));
    assert_true(SSL_CTX_set_max_proto_version(c.ctx, TLS1_1_VERSION));
    open_pair(w, &usual);
    assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
    client_open(&c, w->client, NULL);
    run_client(w, &c);
    assert_true(c.failed);
    await_closed(&w->s, E_INVALID);
    tls_server_free(t);
}

static void what_was_pipelined_before_starttls_is_thrown_away(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    struct client c CLEANUP(client_free) = {.say = STR("AFTER\n")};
    w->s.keep_line = true;
    w->s.starttls = new_tls("default.test");
    open_pair(w, &usual);
    say(w->client, STR("STARTTLS\nINJECTED\nINJECTED TOO"));
    assert_false(hear(w, &heard, 3));
    assert_true(str_eq(buf_str(&heard), STR("GO\n")));
    client_open(&c, w->client, NULL);
    run_client(w, &c);
    assert_false(c.failed);
    await_bytes(&w->s, 15);
    assert_true(str_eq(buf_str(&w->s.got), STR("STARTTLS\nAFTER\n")));
    tls_server_free(w->s.starttls);
}

static void plaintext_after_starttls_ends_the_connection(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    w->s.keep_line = true;
    w->s.starttls = new_tls("default.test");
    open_pair(w, &usual);
    say(w->client, STR("STARTTLS\n"));
    assert_false(hear(w, &heard, 3));
    say(w->client, STR("INJECTED plaintext that is no handshake\n"));
    await_closed(&w->s, E_INVALID);
    assert_true(str_eq(buf_str(&w->s.got), STR("STARTTLS\n")));
    tls_server_free(w->s.starttls);
}

static void a_handshake_that_never_ends_is_dropped(void **state)
{
    struct world *w = *state;
    struct tls_server *t = new_tls("default.test");
    open_pair(w, &(struct conn_limits){.in_max = 1000, .write_ms = 20});
    assert_int_equal(conn_start_tls(w->s.conn, t).code, E_OK);
    await_closed(&w->s, E_TIMEOUT);
    tls_server_free(t);
}

static void bad_certificates_are_refused(void **state)
{
    struct tls_server *t = new_tls(NULL);
    struct pem one CLEANUP(pem_free) = make_certificate("one.test");
    struct pem two CLEANUP(pem_free) = make_certificate("two.test");
    struct str cert = buf_str(&one.cert);
    const struct {
        struct str cert, key;
    } bad[] = {
        {cert, buf_str(&two.key)},
        {cert, STR("garbage")},
        {STR("garbage"), buf_str(&one.key)},
        {{0}, {0}},
        {str_sub(cert, 0, cert.n / 2), buf_str(&one.key)},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(tls_server_add(t, NULL, 0, bad[i].cert, bad[i].key).code, E_INVALID);
    assert_false(tls_server_has_certificate(t));
    struct buf chain CLEANUP(buf_free) = {0};
    buf_put(&chain, cert);
    buf_put(&chain, buf_str(&two.cert));
    assert_int_equal(tls_server_add(t, NULL, 0, buf_str(&chain), buf_str(&one.key)).code, E_OK);
    buf_put(&chain, STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    assert_int_equal(tls_server_add(t, NULL, 0, buf_str(&chain), buf_str(&one.key)).code,
                     E_INVALID);
    tls_server_free(t);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(tls_carries_both_ways),
        T(tls_input_beyond_the_limit_waits_and_is_not_lost),
        T(the_certificate_is_that_of_the_name_asked_for),
        T(a_session_ticket_shortens_the_next_handshake),
        T(old_tls_versions_are_refused),
        T(what_was_pipelined_before_starttls_is_thrown_away),
        T(plaintext_after_starttls_ends_the_connection),
        T(a_handshake_that_never_ends_is_dropped),
        T(bad_certificates_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
