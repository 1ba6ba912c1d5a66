#include "roles/backend/login_cache.h"

enum { PLACES = 4096, KEY = 32 };

struct known {
    struct login_tag tag;
    struct principal who;
    uint64_t at; /* 0: free */
};

struct login_cache {
    uint8_t key[KEY];
    struct known places[PLACES]; /* by the tag: one makes room for the other */
};

struct login_cache *login_cache_new(void)
{
    struct login_cache *c = mem_alloc(sizeof *c);
    random_bytes(c->key, sizeof c->key);
    return c;
}

void login_cache_free(struct login_cache *c)
{
    if (c)
        explicit_bzero(c, sizeof *c);
    free(c);
}

struct login_tag login_cache_tag(const struct login_cache *c, struct str user, struct str password)
{
    struct login_tag tag;
    struct buf text CLEANUP(buf_free) = {0};
    buf_u64le(&text, user.n);
    buf_put(&text, user);
    buf_put(&text, password);
    hmac_sha256(str_of(c->key, KEY), buf_str(&text), tag.b);
    explicit_bzero(text.p, text.cap);
    return tag;
}

static size_t place_of(const struct login_tag *tag)
{
    struct cur c = cur_of(str_of(tag->b, LOGIN_TAG));
    return cur_u64le(&c) % PLACES;
}

bool login_cache_find(const struct login_cache *c, const struct login_tag *tag, uint32_t ms,
                      uint64_t now_us, struct principal *out)
{
    const struct known *k = &c->places[place_of(tag)];
    if (!k->at || now_us - k->at >= (uint64_t)ms * 1000 ||
        !str_eq_secret(str_of(k->tag.b, LOGIN_TAG), str_of(tag->b, LOGIN_TAG)))
        return false;
    *out = k->who;
    return true;
}

void login_cache_put(struct login_cache *c, const struct login_tag *tag, const struct principal *p,
                     uint64_t now_us)
{
    c->places[place_of(tag)] = (struct known){*tag, *p, MAX(now_us, (uint64_t)1)};
}
