#include "directory/private.h"

#include <argon2.h>
#include <crypt.h>
#include <openssl/evp.h>

enum { SALT_LEN = 16, HASH_LEN = 32, LANES = 1, PASSWORD_MAX = 1024 };
enum { CRYPT_KIB = 16384 }; /* of yescrypt with its usual cost; the others need next to nothing */

/* -- memory -- */

/* Hashes wait until there is memory for them, so that any number of log-ins at once needs no more
 * than was set. */
struct hash_memory {
    pthread_mutex_t lock;
    pthread_cond_t more;
    uint32_t all, left; /* KiB */
};

struct hash_memory *hash_memory_new(uint32_t kib)
{
    struct hash_memory *m = mem_alloc(sizeof *m);
    m->all = m->left = kib;
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_cond_init(&m->more, NULL);
    return m;
}

void hash_memory_free(struct hash_memory *m)
{
    (void)pthread_cond_destroy(&m->more);
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
}

/* What was taken; never more than there is in all. */
static uint32_t memory_take(struct hash_memory *m, uint32_t kib)
{
    kib = MIN(kib, m->all);
    (void)pthread_mutex_lock(&m->lock);
    while (m->left < kib)
        (void)pthread_cond_wait(&m->more, &m->lock);
    m->left -= kib;
    (void)pthread_mutex_unlock(&m->lock);
    return kib;
}

static void memory_give(struct hash_memory *m, uint32_t kib)
{
    (void)pthread_mutex_lock(&m->lock);
    m->left += kib;
    (void)pthread_mutex_unlock(&m->lock);
    (void)pthread_cond_broadcast(&m->more);
}

/* -- schemes -- */

enum scheme_kind { ARGON2, CRYPT, SALTED, PLAIN };

struct scheme {
    struct str name;
    enum scheme_kind kind;
    struct str begins; /* of what follows the name */
    const EVP_MD *(*digest)(void);
};

/* clang-format off */
static const struct scheme schemes[] = {
    {STR_INIT("{ARGON2ID}"),     ARGON2, STR_INIT("$argon2id$"), NULL},
    {STR_INIT("{ARGON2I}"),      ARGON2, STR_INIT("$argon2i$"),  NULL},
    {STR_INIT("{CRYPT}"),        CRYPT,  STR_INIT(""),           NULL},
    {STR_INIT("{SHA512-CRYPT}"), CRYPT,  STR_INIT("$6$"),        NULL},
    {STR_INIT("{SHA256-CRYPT}"), CRYPT,  STR_INIT("$5$"),        NULL},
    {STR_INIT("{BLF-CRYPT}"),    CRYPT,  STR_INIT("$2"),         NULL},
    {STR_INIT("{MD5-CRYPT}"),    CRYPT,  STR_INIT("$1$"),        NULL},
    {STR_INIT("{SSHA}"),         SALTED, STR_INIT(""),           EVP_sha1},
    {STR_INIT("{SSHA256}"),      SALTED, STR_INIT(""),           EVP_sha256},
    {STR_INIT("{SSHA512}"),      SALTED, STR_INIT(""),           EVP_sha512},
    {STR_INIT("{PLAIN}"),        PLAIN,  STR_INIT(""),           NULL},
};
/* clang-format on */

/* The scheme of a stored hash, and what follows its name; NULL: none that is known. */
static const struct scheme *scheme_of(struct str stored, struct str *out_rest)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (!str_istarts(stored, schemes[i].name))
            continue;
        *out_rest = str_skip(stored, schemes[i].name.n);
        return &schemes[i];
    }
    return NULL;
}

bool dir_password_is_foreign(struct str stored)
{
    struct str rest;
    const struct scheme *s = scheme_of(stored, &rest);
    return s && s != &schemes[0] && s->kind != PLAIN;
}

/* -- Argon2 -- */

static struct err argon2_make(const struct directory *d, struct str password, struct arena *a,
                              struct str *out)
{
    const struct directory_options *o = &d->options;
    uint8_t salt[SALT_LEN];
    random_bytes(salt, sizeof salt);
    struct str scheme = schemes[0].name;
    size_t room = argon2_encodedlen(o->argon2_passes, o->argon2_memory_kib, LANES, SALT_LEN,
                                    HASH_LEN, Argon2_id);
    char *text = arena_alloc(a, scheme.n + room);
    if (!text)
        return err_make(E_LIMIT, "no memory for a password");
    str_copy_to(text, scheme);
    uint32_t taken = memory_take(d->memory, o->argon2_memory_kib);
    int rc = argon2id_hash_encoded(o->argon2_passes, o->argon2_memory_kib, LANES, password.p,
                                   password.n, salt, sizeof salt, HASH_LEN, text + scheme.n, room);
    memory_give(d->memory, taken);
    if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
        return err_make(E_LIMIT, "no memory to hash a password");
    check(rc == ARGON2_OK);
    *out = str_c(text);
    return OK;
}

/* "$argon2id$v=19$m=19456,t=2,p=1$...": m in KiB; 0 if it is not there. */
static uint32_t argon2_memory(struct str hash)
{
    struct cur c = cur_of(str_skip(hash, str_find(hash, STR("$m="), 0) + 3));
    uint64_t m = cur_decimal(&c, UINT32_MAX);
    return c.bad ? 0 : (uint32_t)m;
}

static bool argon2_matches(const struct directory *d, const char *stored, struct str password)
{
    uint32_t taken = memory_take(d->memory, argon2_memory(str_c(stored)));
    bool id = str_starts(str_c(stored), STR("$argon2id$"));
    int rc = argon2_verify(stored, password.p, password.n, id ? Argon2_id : Argon2_i);
    memory_give(d->memory, taken);
    return rc == ARGON2_OK;
}

void dir_password_pretend(const struct directory *d, struct str password)
{
    static const uint8_t salt[SALT_LEN] = "0123456789abcde";
    const struct directory_options *o = &d->options;
    uint8_t hash[HASH_LEN];
    uint32_t taken = memory_take(d->memory, o->argon2_memory_kib);
    int rc = argon2id_hash_raw(o->argon2_passes, o->argon2_memory_kib, LANES, password.p,
                               MIN(password.n, (size_t)PASSWORD_MAX), salt, sizeof salt, hash,
                               sizeof hash);
    memory_give(d->memory, taken);
    (void)rc;
    explicit_bzero(hash, sizeof hash);
}

/* -- the others -- */

/* By their hashes, so that not even the length can be measured. */
static bool plain_matches(struct str stored, struct str password)
{
    uint8_t want[SHA256_LEN], got[SHA256_LEN];
    sha256(stored, want);
    sha256(password, got);
    return str_eq_secret(str_of(want, sizeof want), str_of(got, sizeof got));
}

static bool crypt_matches(const struct directory *d, const char *stored, const char *password)
{
    struct crypt_data *data = mem_alloc(sizeof *data);
    uint32_t taken = memory_take(d->memory, CRYPT_KIB);
    const char *got = crypt_r(password, stored, data);
    memory_give(d->memory, taken);
    bool same = got && got[0] != '*' && str_eq_secret(str_c(got), str_c(stored));
    explicit_bzero(data, sizeof *data);
    free(data);
    return same;
}

/* Base64 of the digest and the salt behind it (the LDAP servers' schemes): taken apart; false if it
 * is not that. */
static bool salted_split(const struct scheme *s, struct str stored, struct buf *bytes,
                         struct str *out_digest, struct str *out_salt)
{
    size_t n = (size_t)EVP_MD_get_size(s->digest());
    if (base64_decode(bytes, stored).code || bytes->n <= n)
        return false;
    *out_digest = str_sub(buf_str(bytes), 0, n);
    *out_salt = str_skip(buf_str(bytes), n);
    return true;
}

static bool salted_matches(const struct scheme *s, struct str stored, struct str password)
{
    struct buf bytes CLEANUP(buf_free) = {.max = PASSWORD_MAX};
    struct str digest, salt;
    uint8_t got[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!salted_split(s, stored, &bytes, &digest, &salt))
        return false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx && EVP_DigestInit_ex(ctx, s->digest(), NULL) == 1 &&
                EVP_DigestUpdate(ctx, password.p, password.n) == 1 &&
                EVP_DigestUpdate(ctx, salt.p, salt.n) == 1 && EVP_DigestFinal_ex(ctx, got, &n) == 1;
    EVP_MD_CTX_free(ctx);
    return done && str_eq_secret(str_of(got, n), digest);
}

/* -- all of them -- */

static struct err argon2_check(const struct directory *d, struct str hash)
{
    uint32_t kib = argon2_memory(hash);
    if (kib == 0)
        return err_make(E_INVALID, "this is not an Argon2 hash as argon2(1) prints them");
    if (kib > d->options.hash_memory_kib)
        return err_make(E_INVALID, "this hash needs more memory than login_memory permits");
    return OK;
}

/* Whether a hash is one that can ever match, so that a mistyped one is refused at once. */
static struct err hash_check(const struct directory *d, struct str hash, struct arena *a)
{
    const char *text = str_dup_c(a, hash);
    struct buf bytes CLEANUP(buf_free) = {.max = PASSWORD_MAX};
    struct str rest, digest, salt;
    if (!text || hash.n > PASSWORD_MAX)
        return err_make(E_INVALID, "the password hash is too long or holds a NUL");
    const struct scheme *s = scheme_of(hash, &rest);
    if (!s)
        return err_make(E_INVALID,
                        "a hash begins with {ARGON2ID}, {ARGON2I}, {CRYPT}, {SHA512-CRYPT}, "
                        "{SHA256-CRYPT}, {BLF-CRYPT}, {MD5-CRYPT}, {SSHA}, {SSHA256}, {SSHA512} or "
                        "{PLAIN}");
    if (!str_starts(rest, s->begins) || (rest.n == 0 && s->kind != PLAIN))
        return err_make(E_INVALID, "the hash is not of the scheme that it is said to be of");
    switch (s->kind) {
    case ARGON2: return argon2_check(d, rest);
    case CRYPT:
        if (crypt_checksalt(text + s->name.n) == CRYPT_SALT_INVALID)
            return err_make(E_INVALID, "crypt(3) does not know this kind of hash");
        return OK;
    case SALTED:
        if (!salted_split(s, rest, &bytes, &digest, &salt))
            return err_make(E_INVALID, "this is not the base64 of a digest and its salt");
        return OK;
    case PLAIN: return OK;
    }
    return OK;
}

struct err dir_password_store(const struct directory *d, struct directory_password password,
                              struct arena *a, struct str *out)
{
    if (password.is_hash) {
        TRY(hash_check(d, password.text, a));
        *out = password.text;
        return OK;
    }
    if (password.text.n == 0)
        return err_make(E_INVALID, "the password is empty");
    if (password.text.n > PASSWORD_MAX || str_find_byte(password.text, 0, 0) < password.text.n)
        return err_make(E_INVALID, "a password has at most 1024 characters and no NUL");
    return argon2_make(d, password.text, a, out);
}

static bool secret_matches(const struct directory *d, const struct scheme *s, struct str rest,
                           struct str password)
{
    if (s->kind == PLAIN)
        return plain_matches(rest, password);
    if (s->kind == SALTED)
        return salted_matches(s, rest, password);

    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4 * PASSWORD_MAX);
    char *text = str_dup_c(&a, rest), *secret = str_dup_c(&a, password);
    if (!text || !secret)
        return false;
    bool same =
        s->kind == ARGON2 ? argon2_matches(d, text, password) : crypt_matches(d, text, secret);
    explicit_bzero(secret, password.n);
    return same;
}

bool dir_password_matches(const struct directory *d, struct str stored, struct str password)
{
    struct str rest;
    const struct scheme *s = scheme_of(stored, &rest);
    bool possible = s && password.n <= PASSWORD_MAX && str_find_byte(password, 0, 0) == password.n;
    if (possible && secret_matches(d, s, rest, password))
        return true;
    if (!possible || s != &schemes[0]) /* else it has taken that long already */
        dir_password_pretend(d, password);
    return false;
}
