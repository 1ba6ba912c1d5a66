#include "directory/private.h"

#include <argon2.h>
#include <crypt.h>

enum { SALT_LEN = 16, HASH_LEN = 32, LANES = 1, PASSWORD_MAX = 1024 };

static struct err argon2_make(const struct directory_options *o, struct str password,
                              struct arena *a, struct str *out)
{
    uint8_t salt[SALT_LEN];
    random_bytes(salt, sizeof salt);
    static const struct str scheme = STR_INIT("{ARGON2ID}");
    size_t room = argon2_encodedlen(o->argon2_passes, o->argon2_memory_kib, LANES, SALT_LEN,
                                    HASH_LEN, Argon2_id);
    char *text = arena_alloc(a, scheme.n + room);
    if (!text)
        return err_make(E_LIMIT, "no memory for a password");
    str_copy_to(text, scheme);
    int rc = argon2id_hash_encoded(o->argon2_passes, o->argon2_memory_kib, LANES, password.p,
                                   password.n, salt, sizeof salt, HASH_LEN, text + scheme.n, room);
    if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
        return err_make(E_LIMIT, "no memory to hash a password");
    check(rc == ARGON2_OK);
    *out = str_c(text);
    return OK;
}

/* Whether a hash is one that can ever match, so that a mistyped one is refused at once. */
static struct err hash_check(struct str hash, struct arena *a)
{
    const char *text = str_dup_c(a, hash);
    if (!text || hash.n > PASSWORD_MAX)
        return err_make(E_INVALID, "the password hash is too long or holds a NUL");
    if (str_starts(hash, STR("{PLAIN}")))
        return OK;
    if (str_starts(hash, STR("{ARGON2ID}$argon2id$")))
        return OK;
    if (str_starts(hash, STR("{CRYPT}"))) {
        int salt = crypt_checksalt(text + STR("{CRYPT}").n);
        return salt == CRYPT_SALT_INVALID
                   ? err_make(E_INVALID, "crypt(3) does not know this kind of hash")
                   : OK;
    }
    return err_make(E_INVALID, "a hash begins with {ARGON2ID}$argon2id$, {CRYPT} or {PLAIN}");
}

struct err dir_password_store(const struct directory_options *o, struct directory_password password,
                              struct arena *a, struct str *out)
{
    if (password.is_hash) {
        TRY(hash_check(password.text, a));
        *out = password.text;
        return OK;
    }
    if (password.text.n == 0)
        return err_make(E_INVALID, "the password is empty");
    if (password.text.n > PASSWORD_MAX || str_find_byte(password.text, 0, 0) < password.text.n)
        return err_make(E_INVALID, "a password has at most 1024 characters and no NUL");
    return argon2_make(o, password.text, a, out);
}

/* By their hashes, so that not even the length can be measured. */
static bool plain_matches(struct str stored, struct str password)
{
    uint8_t want[SHA256_LEN], got[SHA256_LEN];
    sha256(stored, want);
    sha256(password, got);
    return str_eq_secret(str_of(want, sizeof want), str_of(got, sizeof got));
}

static bool crypt_matches(const char *stored, const char *password)
{
    struct crypt_data *data = mem_alloc(sizeof *data);
    const char *got = crypt_r(password, stored, data);
    bool same = got && got[0] != '*' && str_eq_secret(str_c(got), str_c(stored));
    explicit_bzero(data, sizeof *data);
    free(data);
    return same;
}

bool dir_password_matches(struct str stored, struct str password)
{
    if (password.n > PASSWORD_MAX || str_find_byte(password, 0, 0) < password.n)
        return false;
    if (str_starts(stored, STR("{PLAIN}")))
        return plain_matches(str_skip(stored, STR("{PLAIN}").n), password);

    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4 * PASSWORD_MAX);
    bool same = false;
    char *text = str_dup_c(&a, stored), *secret = str_dup_c(&a, password);
    if (!text || !secret)
        return false;
    if (str_starts(stored, STR("{ARGON2ID}")))
        same = argon2id_verify(text + STR("{ARGON2ID}").n, password.p, password.n) == ARGON2_OK;
    else if (str_starts(stored, STR("{CRYPT}")))
        same = crypt_matches(text + STR("{CRYPT}").n, secret);
    explicit_bzero(secret, password.n);
    return same;
}

void dir_password_pretend(const struct directory_options *o, struct str password)
{
    static const uint8_t salt[SALT_LEN] = "0123456789abcde";
    uint8_t hash[HASH_LEN];
    int rc = argon2id_hash_raw(o->argon2_passes, o->argon2_memory_kib, LANES, password.p,
                               MIN(password.n, (size_t)PASSWORD_MAX), salt, sizeof salt, hash,
                               sizeof hash);
    (void)rc;
    explicit_bzero(hash, sizeof hash);
}
