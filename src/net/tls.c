#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>

/* Every connection begins with the base context, which has no certificate: session tickets belong
 * to it, so that they outlive a change of certificates. The context of the name that the client
 * asks for, or the default one, is put in its place during the handshake. */
struct tls_server {
    atomic_uint refs; /* the owner, and every connection */
    SSL_CTX *base;
    SSL_CTX *fallback; /* certificate for everybody else; may be NULL */
    struct map named;  /* host name or "*.example.org" to SSL_CTX */
};

static SSL_CTX *tls_find(const struct tls_server *t, struct str name)
{
    uint8_t lower[256];
    if (name.n == 0 || name.n > sizeof lower)
        return t->fallback;
    for (size_t i = 0; i < name.n; i++)
        lower[i] = byte_lower(name.p[i]);
    struct str key = str_of(lower, name.n);
    SSL_CTX *ctx = map_get(&t->named, key);
    size_t dot = str_find_byte(key, '.', 0);
    if (ctx || dot == 0 || dot == key.n)
        return ctx ? ctx : t->fallback;
    lower[dot - 1] = '*';
    ctx = map_get(&t->named, str_skip(key, dot - 1));
    return ctx ? ctx : t->fallback;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    struct str name = str_c(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    SSL_CTX *ctx = tls_find(arg, name);
    if (!ctx) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_set_SSL_CTX(ssl, ctx) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *tls_context_new(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return NULL;
    static const uint8_t id[] = "thurn";
    bool ok = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
              SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") &&
              SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) &&
              SSL_CTX_set_num_tickets(ctx, 1);
    /* Buffers of an idle connection are given back; output may move between two attempts. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets only: nothing is kept */
    SSL_CTX_set_read_ahead(ctx, 1);
    if (ok)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

struct err tls_server_new(struct tls_server **out)
{
    SSL_CTX *base = tls_context_new();
    if (!base)
        return err_make(E_IO, "OpenSSL cannot be initialized");
    struct tls_server *t = mem_alloc(sizeof *t);
    atomic_store(&t->refs, 1);
    t->base = base;
    SSL_CTX_set_tlsext_servername_callback(base, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(base, t);
    *out = t;
    return OK;
}

static void context_drop(struct str key, void *ctx, void *arg)
{
    SSL_CTX_free(ctx);
}

void tls_server_free(struct tls_server *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
        return;
    map_each(&t->named, context_drop, NULL);
    map_free(&t->named);
    SSL_CTX_free(t->fallback);
    SSL_CTX_free(t->base);
    free(t);
}

static bool use_chain(SSL_CTX *ctx, BIO *pem)
{
    X509 *cert = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
    bool ok = cert && SSL_CTX_use_certificate(ctx, cert);
    X509_free(cert);
    while (ok && (cert = PEM_read_bio_X509(pem, NULL, NULL, NULL))) {
        ok = SSL_CTX_add0_chain_cert(ctx, cert);
        if (!ok)
            X509_free(cert);
    }
    /* The end of the text is an error for OpenSSL too; anything else is a broken certificate. */
    return ok && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

static bool use_key(SSL_CTX *ctx, BIO *pem)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, NULL, (void *)"");
    bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) && SSL_CTX_check_private_key(ctx);
    EVP_PKEY_free(key);
    return ok;
}

static BIO *bio_of(struct str s)
{
    return s.n <= INT_MAX ? BIO_new_mem_buf(s.n ? s.p : (const uint8_t *)"", (int)s.n) : NULL;
}

static struct err context_load(SSL_CTX *ctx, struct str chain_pem, struct str key_pem)
{
    BIO *chain = bio_of(chain_pem), *key = bio_of(key_pem);
    struct err e = OK;
    ERR_clear_error();
    if (!chain || !key)
        e = err_make(E_LIMIT, "no memory for a certificate");
    else if (!use_chain(ctx, chain))
        e = err_make(E_INVALID, "the certificate chain cannot be read");
    else if (!use_key(ctx, key))
        e = err_make(E_INVALID, "the private key cannot be read or does not fit the certificate");
    ERR_clear_error();
    BIO_free(chain);
    BIO_free(key);
    return e;
}

struct err tls_server_add(struct tls_server *t, const struct str *names, size_t n,
                          struct str chain_pem, struct str key_pem)
{
    SSL_CTX *ctx = tls_context_new();
    if (!ctx)
        return err_make(E_LIMIT, "no memory for a certificate");
    struct err e = context_load(ctx, chain_pem, key_pem);
    if (e.code != E_OK) {
        SSL_CTX_free(ctx);
        return e;
    }
    for (size_t i = 0; i < n; i++) {
        check(SSL_CTX_up_ref(ctx));
        SSL_CTX_free(map_set(&t->named, names[i], ctx));
    }
    if (n == 0) {
        SSL_CTX_free(t->fallback);
        t->fallback = ctx;
    } else {
        SSL_CTX_free(ctx);
    }
    return OK;
}

bool tls_server_has_certificate(const struct tls_server *t)
{
    return t->fallback || t->named.n > 0;
}

static void session_gone(void *parent, void *t, CRYPTO_EX_DATA *ad, int index, long argl,
                         void *argp)
{
    tls_server_free(t);
}

static int session_index;
static pthread_once_t session_index_once = PTHREAD_ONCE_INIT;

static void session_index_make(void)
{
    session_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, session_gone);
    check(session_index >= 0);
}

SSL *tls_session_new(struct tls_server *t, int fd)
{
    (void)pthread_once(&session_index_once, session_index_make);
    SSL *ssl = SSL_new(t->base);
    if (!ssl || !SSL_set_fd(ssl, fd) || !SSL_set_ex_data(ssl, session_index, t)) {
        SSL_free(ssl);
        return NULL;
    }
    (void)atomic_fetch_add(&t->refs, 1); /* until session_gone */
    SSL_set_accept_state(ssl);
    return ssl;
}

/* Many clients just close: an end without the TLS farewell is an end too. What a cut could hide
 * is a protocol's own matter: each of ours says when something is complete. */
static bool tls_was_cut(int sys)
{
    unsigned long e = ERR_peek_error();
    if (e == 0)
        return sys == 0 || sys == ECONNRESET || sys == EPIPE;
    return ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static enum tls_io tls_result(SSL *ssl, int result)
{
    int sys = errno;
    switch (result > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl, result)) {
    case SSL_ERROR_NONE: return TLS_DONE;
    case SSL_ERROR_WANT_READ: return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE: return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN: return TLS_END;
    default: return tls_was_cut(sys) ? TLS_END : TLS_FAILED;
    }
}

static void tls_forget_errors(void)
{
    ERR_clear_error();
    errno = 0;
}

enum tls_io tls_handshake(SSL *ssl)
{
    tls_forget_errors();
    return tls_result(ssl, SSL_do_handshake(ssl));
}

enum tls_io tls_read(SSL *ssl, uint8_t *p, size_t max, size_t *n)
{
    tls_forget_errors();
    return tls_result(ssl, SSL_read_ex(ssl, p, max, n));
}

enum tls_io tls_write(SSL *ssl, struct str s, size_t *n)
{
    tls_forget_errors();
    return tls_result(ssl, SSL_write_ex(ssl, s.p, s.n, n));
}
