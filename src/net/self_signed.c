#include "net/net.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

/* A day back, for clients whose clock is behind. */
enum { DAY_S = 86400, BACKDATED_S = DAY_S };

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_certificate(X509 **cert)
{
    X509_free(*cert);
}

static bool set_serial(X509 *cert)
{
    BIGNUM *random = BN_new();
    bool ok = random && BN_rand(random, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
              BN_to_ASN1_INTEGER(random, X509_get_serialNumber(cert));
    BN_free(random);
    return ok;
}

static bool set_subject(X509 *cert, struct str name)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    /* A common name has at most 64 characters (RFC 5280); the names that count stand in the
     * subjectAltName. */
    struct str cn = name.n <= 64 ? name : STR("mail server");
    return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, cn.p, (int)cn.n, -1, 0) &&
           X509_set_issuer_name(cert, subject);
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return ok;
}

static bool add_name(GENERAL_NAMES *all, struct str name)
{
    GENERAL_NAME *general = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    bool ok = general && text && ASN1_STRING_set(text, name.p, (int)name.n);
    if (ok) {
        GENERAL_NAME_set0_value(general, GEN_DNS, text);
        text = NULL;
        ok = sk_GENERAL_NAME_push(all, general) > 0;
    }
    if (!ok)
        GENERAL_NAME_free(general);
    ASN1_IA5STRING_free(text);
    return ok;
}

static bool add_names(X509 *cert, const struct str *names, size_t n)
{
    GENERAL_NAMES *all = GENERAL_NAMES_new();
    bool ok = all != NULL;
    for (size_t i = 0; i < n && ok; i++)
        ok = add_name(all, names[i]);
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(all);
    return ok;
}

static bool certificate_fill(X509 *cert, EVP_PKEY *key, const struct str *names, size_t n,
                             unsigned days)
{
    return X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -(long)BACKDATED_S) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * DAY_S) &&
           set_subject(cert, names[0]) && X509_set_pubkey(cert, key) &&
           add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth") && add_names(cert, names, n) &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

/* The certificate, or else the key, in PEM at the end of the buffer. */
static bool pem_out(X509 *cert, EVP_PKEY *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    bool ok = bio && (cert ? PEM_write_bio_X509(bio, cert)
                           : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    char *text = NULL;
    long len = ok ? BIO_get_mem_data(bio, &text) : 0;
    if (len > 0)
        buf_put(out, str_of(text, (size_t)len));
    BIO_free(bio);
    return len > 0 && !out->bad;
}

struct err tls_make_self_signed(const struct str *names, size_t n, unsigned days,
                                struct buf *chain_pem, struct buf *key_pem)
{
    check(n > 0);
    EVP_PKEY *key CLEANUP(free_key) = EVP_EC_gen("P-256");
    X509 *cert CLEANUP(free_certificate) = X509_new();
    struct buf pem CLEANUP(buf_free) = {0};
    if (!key || !cert || !certificate_fill(cert, key, names, n, days) ||
        !pem_out(cert, NULL, &pem) || !pem_out(NULL, key, key_pem)) {
        ERR_clear_error();
        return err_make(E_IO, "OpenSSL makes no certificate");
    }
    buf_put(chain_pem, buf_str(&pem));
    return buf_err(chain_pem);
}
