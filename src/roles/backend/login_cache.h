/*
 * Passwords that were right a short time ago, so that programs which log in every few seconds cost
 * no password hash each time. Kept is an HMAC-SHA256 of name and password, with a key made when the
 * process began; it holds as long as the account's credentials are those of then. Not thread-safe.
 */
#ifndef THURN_BACKEND_LOGIN_CACHE_H
#define THURN_BACKEND_LOGIN_CACHE_H

#include "directory/directory.h"

struct login_cache;
struct login_cache *login_cache_new(void);
void login_cache_free(struct login_cache *c);

enum { LOGIN_TAG = SHA256_LEN };
struct login_tag {
    uint8_t b[LOGIN_TAG];
};
/* From any thread. */
struct login_tag login_cache_tag(const struct login_cache *c, struct str user, struct str password);

/* The principal whose password it is, if it was put there not longer than `ms` ago; the caller asks
 * directory_may_go_on. */
bool login_cache_find(const struct login_cache *c, const struct login_tag *tag, uint32_t ms,
                      uint64_t now_us, struct principal *out);
void login_cache_put(struct login_cache *c, const struct login_tag *tag, const struct principal *p,
                     uint64_t now_us);

#endif
