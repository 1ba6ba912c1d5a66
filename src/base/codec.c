#include "base/base.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct str in)
{
    for (size_t i = 0; i < in.n; i += 3) {
        struct str g = str_sub(in, i, i + 3);
        uint32_t v =
            (uint32_t)g.p[0] << 16 | (g.n > 1 ? (uint32_t)g.p[1] << 8 : 0) | (g.n > 2 ? g.p[2] : 0);
        uint8_t q[4] = {(uint8_t)base64_digits[v >> 18], (uint8_t)base64_digits[v >> 12 & 63],
                        (uint8_t)(g.n > 1 ? base64_digits[v >> 6 & 63] : '='),
                        (uint8_t)(g.n > 2 ? base64_digits[v & 63] : '=')};
        buf_put(out, str_of(q, 4));
    }
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static struct err base64_decode_groups(struct buf *out, struct str in)
{
    const struct err bad = err_make(E_INVALID, "not base64");
    if (in.n % 4)
        return bad;
    size_t pad = in.n == 0 ? 0 : in.p[in.n - 1] != '=' ? 0 : in.p[in.n - 2] != '=' ? 1 : 2;
    for (size_t i = 0; i < in.n; i += 4) {
        size_t digits = i + 4 == in.n ? 4 - pad : 4;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k < digits ? base64_value(in.p[i + k]) : 0;
            if (d < 0)
                return bad;
            v = v << 6 | (uint32_t)d;
        }
        if (digits < 4 && (v & (digits == 3 ? 0xFF : 0xFFFF)))
            return bad; /* bits beyond the last byte */
        uint8_t bytes[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        buf_put(out, str_of(bytes, digits - 1));
    }
    return buf_err(out);
}

struct err base64_decode(struct buf *out, struct str in)
{
    size_t before = out->n;
    struct err e = base64_decode_groups(out, in);
    if (e.code != E_OK)
        buf_cut(out, before);
    return e;
}

void hex_encode(struct buf *out, struct str in)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.n; i++) {
        buf_byte(out, (uint8_t)digits[in.p[i] >> 4]);
        buf_byte(out, (uint8_t)digits[in.p[i] & 15]);
    }
}

/* The one-shot function of OpenSSL 3 looks the algorithm up by name, under a lock, at each call. */
static const EVP_MD *sha256_md(void)
{
    static _Atomic(EVP_MD *) shared; /* for the life of the process */
    EVP_MD *md = atomic_load_explicit(&shared, memory_order_acquire), *made;
    if (md)
        return md;
    made = EVP_MD_fetch(NULL, "SHA256", NULL);
    check(made != NULL);
    if (atomic_compare_exchange_strong(&shared, &md, made))
        return made;
    EVP_MD_free(made);
    return md;
}

void sha256(struct str in, uint8_t out[SHA256_LEN])
{
    check(EVP_Digest(in.n ? in.p : (const uint8_t *)"", in.n, out, NULL, sha256_md(), NULL) == 1);
}

void sha256_add(struct sha256_run *r, struct str piece)
{
    if (!r->state) {
        r->state = EVP_MD_CTX_new();
        check(r->state && EVP_DigestInit_ex(r->state, sha256_md(), NULL) == 1);
    }
    check(EVP_DigestUpdate(r->state, piece.p, piece.n) == 1);
}

void sha256_end(struct sha256_run *r, uint8_t out[SHA256_LEN])
{
    sha256_add(r, STR(""));
    check(EVP_DigestFinal_ex(r->state, out, NULL) == 1);
    sha256_free(r);
}

void sha256_free(struct sha256_run *r)
{
    EVP_MD_CTX_free(r->state);
    r->state = NULL;
}

/* Each thread has a context of its own for as long as it lives: finding the two algorithms by name,
 * or copying a context, takes longer than the rest. */
static pthread_key_t hmac_of_thread;
static pthread_once_t hmac_once = PTHREAD_ONCE_INIT;

static void hmac_free(void *context)
{
    EVP_MAC_CTX_free(context);
}

static void hmac_prepare(void)
{
    check(pthread_key_create(&hmac_of_thread, hmac_free) == 0);
}

static EVP_MAC_CTX *hmac_context(void)
{
    (void)pthread_once(&hmac_once, hmac_prepare);
    EVP_MAC_CTX *context = pthread_getspecific(hmac_of_thread);
    if (context)
        return context;
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    context = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    check(context && EVP_MAC_CTX_set_params(context, params) == 1);
    check(pthread_setspecific(hmac_of_thread, context) == 0);
    return context;
}

void hmac_sha256(struct str key, struct str in, uint8_t out[SHA256_LEN])
{
    EVP_MAC_CTX *context = hmac_context();
    check(key.n && EVP_MAC_init(context, key.p, key.n, NULL) == 1);
    check(EVP_MAC_update(context, in.p, in.n) == 1);
    check(EVP_MAC_final(context, out, NULL, SHA256_LEN) == 1);
}

bool same_secret(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}
