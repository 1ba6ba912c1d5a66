#include "net/net.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

static X509 *certificate_of(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(cert);
    return cert;
}

static void a_made_certificate_serves_its_names_and_no_other(void **state)
{
    const struct str names[] = {STR("mail.example.org"), STR("example.org")};
    struct buf chain CLEANUP(buf_free) = {0};
    struct buf key CLEANUP(buf_free) = {0};
    assert_int_equal(tls_make_self_signed(names, 2, 30, &chain, &key).code, E_OK);
    X509 *cert = certificate_of(buf_str(&chain));
    assert_int_equal(X509_check_host(cert, "mail.example.org", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "example.org", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "www.example.org", 0, 0, NULL), 0);
    assert_int_equal(X509_verify(cert, X509_get0_pubkey(cert)), 1);
    assert_int_equal(X509_cmp_current_time(X509_get0_notBefore(cert)), -1);
    assert_int_equal(X509_cmp_current_time(X509_get0_notAfter(cert)), 1);
    X509_free(cert);
}

static void a_made_certificate_is_accepted_by_the_server(void **state)
{
    /* Longer than a common name may be. */
    const struct str name =
        STR("a-rather-long-host-name-of-a-mail-server.in-a-rather-long-department.example.org");
    struct buf chain CLEANUP(buf_free) = {0};
    struct buf key CLEANUP(buf_free) = {0};
    assert_int_equal(tls_make_self_signed(&name, 1, 30, &chain, &key).code, E_OK);
    struct tls_server *server;
    assert_int_equal(tls_server_new(&server).code, E_OK);
    assert_int_equal(tls_server_add(server, NULL, 0, buf_str(&chain), buf_str(&key)).code, E_OK);
    assert_true(tls_server_has_certificate(server));
    tls_server_free(server);
}

static void two_certificates_have_different_keys_and_serials(void **state)
{
    const struct str name = STR("mail.example.org");
    struct buf chain[2] = {0};
    struct buf key[2] = {0};
    X509 *cert[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tls_make_self_signed(&name, 1, 30, &chain[i], &key[i]).code, E_OK);
        cert[i] = certificate_of(buf_str(&chain[i]));
    }
    assert_false(str_eq(buf_str(&key[0]), buf_str(&key[1])));
    assert_int_not_equal(
        ASN1_INTEGER_cmp(X509_get0_serialNumber(cert[0]), X509_get0_serialNumber(cert[1])), 0);
    for (int i = 0; i < 2; i++) {
        X509_free(cert[i]);
        buf_free(&chain[i]);
        buf_free(&key[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_made_certificate_serves_its_names_and_no_other),
        cmocka_unit_test(a_made_certificate_is_accepted_by_the_server),
        cmocka_unit_test(two_certificates_have_different_keys_and_serials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
