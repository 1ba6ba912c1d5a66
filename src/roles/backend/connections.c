#include "roles/backend/connections.h"

enum { GONE = 4096 }; /* sessions that are remembered to have ended */

/* A session that is counted. */
struct connection {
    account_id account;
    struct ip peer;
};

struct connections {
    pthread_mutex_t lock;
    struct map accounts, addresses; /* the value is the number itself */
    struct map sessions;            /* to struct connection */
    struct map gone;                /* the value is nothing */
    struct connection_key {
        uint8_t b[12];
    } gone_ring[GONE];
    size_t gone_at;
};

struct connections *connections_new(void)
{
    struct connections *c = mem_alloc(sizeof *c);
    (void)pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void connection_free(struct str key, void *value, void *arg)
{
    (void)key, (void)arg;
    free(value);
}

void connections_free(struct connections *c)
{
    map_each(&c->sessions, connection_free, NULL);
    map_free(&c->sessions);
    map_free(&c->gone);
    map_free(&c->accounts);
    map_free(&c->addresses);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct connection_key key_of(struct connection_id id)
{
    struct connection_key k;
    memcpy(k.b, &id.session.v, sizeof id.session.v);
    memcpy(k.b + sizeof id.session.v, &id.frontend, sizeof id.frontend);
    return k;
}

static struct str key_str(const struct connection_key *k)
{
    return str_of(k->b, sizeof k->b);
}

static struct str network_of(const struct ip *ip)
{
    return ip->n ? str_of(ip->b, MIN(ip->n, (uint8_t)8)) : STR("-");
}

static uintptr_t number(const struct map *m, struct str key)
{
    return (uintptr_t)map_get(m, key);
}

static void number_set(struct map *m, struct str key, uintptr_t n)
{
    if (n)
        (void)map_set(m, key, (void *)n);
    else
        (void)map_remove(m, key);
}

/* With the lock, as what follows. */
static void count(struct connections *c, const struct connection *one, int by)
{
    struct str id = map_key_u64(&one->account.v), network = network_of(&one->peer);
    uintptr_t step = (uintptr_t)(intptr_t)by;
    number_set(&c->accounts, id, number(&c->accounts, id) + step);
    number_set(&c->addresses, network, number(&c->addresses, network) + step);
}

static struct err limits_check(struct connections *c, const struct connection_limits *limits,
                               const struct connection *one)
{
    uintptr_t of_account = number(&c->accounts, map_key_u64(&one->account.v)),
              of_address = number(&c->addresses, network_of(&one->peer));
    if (limits->account && of_account >= limits->account)
        return err_make(E_LIMIT, "too many connections of the account");
    if (limits->address && of_address >= limits->address)
        return err_make(E_LIMIT, "too many connections from the address");
    return OK;
}

/* A session that was asleep when it was counted, or logs in again behind STARTTLS, perhaps to
 * another account. */
static struct err add_again(struct connections *c, const struct connection_limits *limits,
                            struct connection *there, const struct connection *one)
{
    const struct connection now = {one->account, one->peer.n ? one->peer : there->peer};
    count(c, there, -1);
    struct err e = now.account.v == there->account.v ? OK : limits_check(c, limits, &now);
    if (!e.code)
        *there = now;
    count(c, there, 1);
    return e;
}

static struct err add(struct connections *c, const struct connection_limits *limits,
                      const struct connection_key *key, const struct connection *one)
{
    struct connection *there = map_get(&c->sessions, key_str(key));
    if (there)
        return add_again(c, limits, there, one);
    TRY(limits_check(c, limits, one));
    if (map_get(&c->gone, key_str(key)))
        return OK; /* its answer will find nobody */
    struct connection *kept = mem_alloc(sizeof *kept);
    *kept = *one;
    (void)map_set(&c->sessions, key_str(key), kept);
    count(c, one, 1);
    return OK;
}

struct err connections_add(struct connections *c, const struct connection_limits *limits,
                           struct connection_id id, account_id account, struct ip peer)
{
    const struct connection one = {account, peer};
    struct connection_key key = key_of(id);
    (void)pthread_mutex_lock(&c->lock);
    struct err e = add(c, limits, &key, &one);
    (void)pthread_mutex_unlock(&c->lock);
    return e;
}

void connections_add_always(struct connections *c, struct connection_id id, account_id account,
                            struct ip peer)
{
    static const struct connection_limits none = {0, 0};
    struct err e = connections_add(c, &none, id, account, peer);
    check(e.code == E_OK);
}

static void remember_gone(struct connections *c, const struct connection_key *key)
{
    struct connection_key *place = &c->gone_ring[c->gone_at++ % GONE];
    (void)map_remove(&c->gone, key_str(place));
    *place = *key;
    (void)map_set(&c->gone, key_str(key), c);
}

static void remove_one(struct connections *c, struct connection_id id, bool gone)
{
    struct connection_key key = key_of(id);
    (void)pthread_mutex_lock(&c->lock);
    struct connection *one = map_remove(&c->sessions, key_str(&key));
    if (one)
        count(c, one, -1);
    if (gone)
        remember_gone(c, &key);
    (void)pthread_mutex_unlock(&c->lock);
    free(one);
}

void connections_remove(struct connections *c, struct connection_id id)
{
    remove_one(c, id, false);
}

void connections_gone(struct connections *c, struct connection_id id)
{
    remove_one(c, id, true);
}

/* Sessions of one frontend, as they are found. */
struct of_frontend {
    uint32_t frontend;
    struct connection_id *ids;
    size_t n;
};

static void of_frontend_add(struct str key, void *value, void *arg)
{
    (void)value;
    struct of_frontend *f = arg;
    struct connection_id id;
    memcpy(&id.session.v, key.p, sizeof id.session.v);
    memcpy(&id.frontend, key.p + sizeof id.session.v, sizeof id.frontend);
    if (id.frontend == f->frontend)
        f->ids[f->n++] = id;
}

void connections_forget(struct connections *c, uint32_t frontend)
{
    struct of_frontend f = {.frontend = frontend};
    (void)pthread_mutex_lock(&c->lock);
    f.ids = mem_alloc((c->sessions.n + 1) * sizeof *f.ids);
    map_each(&c->sessions, of_frontend_add, &f);
    (void)pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < f.n; i++)
        connections_gone(c, f.ids[i]);
    free(f.ids);
}

uint32_t connections_of(struct connections *c, account_id account)
{
    (void)pthread_mutex_lock(&c->lock);
    uintptr_t n = number(&c->accounts, map_key_u64(&account.v));
    (void)pthread_mutex_unlock(&c->lock);
    return (uint32_t)n;
}
