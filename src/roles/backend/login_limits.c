#include "roles/backend/login_limits.h"

enum { WAYS = 8, SETS = 2048, GOOD_SETS = 2048, ADDRESS_SHARE = 4, NAME_SHARE = 20 };
enum { HALF_LIFE_US = 600000000, ONE = 1024 /* failure, as scores count */ };

/* Failures of one key. */
struct failures {
    uint64_t key;  /* 0: free */
    uint64_t at;   /* when `score` was right */
    uint64_t next; /* the first turn that is free */
    uint64_t score;
};

/* An address from which a name has logged in. */
struct good {
    uint64_t key; /* 0: free */
    uint64_t at;
};

struct login_limits {
    uint8_t secret[16]; /* nobody can choose keys that fall together */
    struct failures addresses[SETS][WAYS], pairs[SETS][WAYS], names[SETS][WAYS];
    struct good good[GOOD_SETS][WAYS];
};

struct login_limits *login_limits_new(void)
{
    struct login_limits *l = mem_alloc(sizeof *l);
    random_bytes(l->secret, sizeof l->secret);
    return l;
}

void login_limits_free(struct login_limits *l)
{
    free(l);
}

/* -- keys -- */

/* IPv4 whole, of IPv6 the network that a customer gets. */
static struct str network_of(const struct ip *ip)
{
    return str_of(ip->b, MIN(ip->n, (uint8_t)8));
}

static uint64_t key_of(const struct login_limits *l, char kind, struct str a, struct str b)
{
    struct buf text CLEANUP(buf_free) = {0};
    uint8_t hash[SHA256_LEN];
    buf_put(&text, str_of(l->secret, sizeof l->secret));
    buf_byte(&text, (uint8_t)kind);
    buf_byte(&text, (uint8_t)a.n);
    buf_put(&text, a);
    for (size_t i = 0; i < b.n; i++)
        buf_byte(&text, byte_lower(b.p[i]));
    sha256(buf_str(&text), hash);
    struct cur c = cur_of(str_of(hash, sizeof hash));
    return cur_u64le(&c) | 1; /* 0 is a free place */
}

struct login_keys login_limits_keys(const struct login_limits *l, struct ip peer, bool shared,
                                    struct str user)
{
    static const struct str none = {NULL, 0};
    struct str network = network_of(&peer), name = str_sub(user, 0, 512);
    struct login_keys k = {.from = key_of(l, 'a', network, none),
                           .pair = key_of(l, 'p', network, name),
                           .name = key_of(l, 'n', none, name)};
    k.address = shared ? k.pair : k.from;
    return k;
}

/* -- counts -- */

/* Halved every ten minutes, on a straight line between. */
static uint64_t score_now(const struct failures *f, uint64_t now)
{
    uint64_t passed = now > f->at ? now - f->at : 0, halves = passed / HALF_LIFE_US;
    if (halves >= 32)
        return 0;
    uint64_t score = f->score >> halves;
    return score - score / 2 * (passed % HALF_LIFE_US) / HALF_LIFE_US;
}

static struct failures *failures_find(struct failures table[SETS][WAYS], uint64_t key)
{
    struct failures *set = table[(key >> 1) % SETS];
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].key == key)
            return &set[i];
    return NULL;
}

/* The place of a key, which may be one that makes room; NULL: all others have failed more often. */
static struct failures *failures_place(struct failures table[SETS][WAYS], uint64_t key,
                                       uint64_t now)
{
    struct failures *set = table[(key >> 1) % SETS], *least = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (score_now(&set[i], now) < score_now(least, now))
            least = &set[i];
    }
    uint64_t score = score_now(least, now);
    if (least->key &&
        score > ONE) { /* one of its failures for this one: who goes on gets a place */
        least->score = score - ONE;
        least->at = now;
        return NULL;
    }
    *least = (struct failures){.key = key, .at = now};
    return least;
}

/* The delay that failures cost beyond those that are free. */
static uint64_t delay_of(const struct failures *f, uint64_t free_failures,
                         const struct login_policy *p, uint64_t now)
{
    uint64_t failures = f ? (score_now(f, now) + ONE / 2) / ONE : 0;
    if (failures == 0 || failures < free_failures)
        return 0;
    uint64_t beyond = MIN(failures - free_failures, (uint64_t)20);
    return MIN(UINT64_C(1000) << beyond, (uint64_t)p->delay_max_ms);
}

static void failures_add(struct failures table[SETS][WAYS], uint64_t key, uint64_t free_failures,
                         const struct login_policy *p, uint64_t now)
{
    struct failures *f = failures_place(table, key, now);
    if (!f)
        return;
    f->score = score_now(f, now) + ONE;
    f->at = now;
    f->next = MAX(f->next, now + 1000 * delay_of(f, free_failures, p, now));
}

/* Milliseconds until this one's turn, if it must take one. */
static uint64_t turn(const struct failures *f, uint64_t free_failures, const struct login_policy *p,
                     uint64_t now)
{
    uint64_t delay = delay_of(f, free_failures, p, now);
    if (!delay)
        return 0;
    return f->next > now ? (f->next - now + 999) / 1000 : 1;
}

static void turn_take(struct failures *f, uint64_t free_failures, const struct login_policy *p,
                      uint64_t begins)
{
    uint64_t delay = delay_of(f, free_failures, p, begins);
    if (delay)
        f->next = begins + 1000 * delay;
}

/* -- known-good addresses -- */

static struct good *good_set(struct login_limits *l, const struct login_keys *k)
{
    return l->good[(k->name >> 1) % GOOD_SETS];
}

bool login_limits_known_good(const struct login_limits *l, const struct login_keys *k)
{
    const struct good *set = l->good[(k->name >> 1) % GOOD_SETS];
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].key == k->pair)
            return true;
    return false;
}

static void good_add(struct login_limits *l, const struct login_keys *k, uint64_t now)
{
    struct good *set = good_set(l, k), *oldest = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == k->pair) {
            oldest = &set[i];
            break;
        }
        if (set[i].at < oldest->at)
            oldest = &set[i];
    }
    *oldest = (struct good){k->pair, now};
}

/* -- decisions -- */

uint64_t login_limits_wait(struct login_limits *l, const struct login_policy *p,
                           const struct login_keys *k, uint64_t now)
{
    if (!p->delay_max_ms)
        return 0;
    struct failures *address = failures_find(l->addresses, k->address),
                    *pair = failures_find(l->pairs, k->pair);
    uint64_t free_address = (uint64_t)ADDRESS_SHARE * p->free_failures;
    uint64_t wait = MAX(turn(address, free_address, p, now), turn(pair, p->free_failures, p, now));
    if (wait > p->delay_max_ms)
        return LOGIN_REFUSED;
    if (wait) {
        turn_take(address, free_address, p, now + 1000 * wait);
        turn_take(pair, p->free_failures, p, now + 1000 * wait);
    }
    if (!login_limits_known_good(l, k))
        wait = MAX(wait, delay_of(failures_find(l->names, k->name),
                                  (uint64_t)NAME_SHARE * p->free_failures, p, now));
    return wait;
}

bool login_limits_slowed(struct login_limits *l, const struct login_policy *p,
                         const struct login_keys *k, uint64_t now)
{
    if (!p->delay_max_ms)
        return false;
    struct failures *address = failures_find(l->addresses, k->address),
                    *pair = failures_find(l->pairs, k->pair);
    return delay_of(address, (uint64_t)ADDRESS_SHARE * p->free_failures, p, now) ||
           delay_of(pair, p->free_failures, p, now);
}

void login_limits_failed(struct login_limits *l, const struct login_policy *p,
                         const struct login_keys *k, uint64_t now)
{
    failures_add(l->addresses, k->address, (uint64_t)ADDRESS_SHARE * p->free_failures, p, now);
    failures_add(l->pairs, k->pair, p->free_failures, p, now);
    failures_add(l->names, k->name, (uint64_t)NAME_SHARE * p->free_failures, p, now);
}

void login_limits_passed(struct login_limits *l, const struct login_keys *k, uint64_t now)
{
    struct failures *f = failures_find(l->pairs, k->pair);
    if (f)
        *f = (struct failures){0};
    good_add(l, k, now);
}
