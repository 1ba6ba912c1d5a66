#include "roles/backend/connections.h"

struct connections {
    pthread_mutex_t lock;
    struct map accounts, addresses; /* the value is the number itself */
};

struct connections *connections_new(void)
{
    struct connections *c = mem_alloc(sizeof *c);
    (void)pthread_mutex_init(&c->lock, NULL);
    return c;
}

void connections_free(struct connections *c)
{
    map_free(&c->accounts);
    map_free(&c->addresses);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct str network_of(const struct ip *ip)
{
    return ip->n ? str_of(ip->b, MIN(ip->n, (uint8_t)8)) : STR("-");
}

static bool is_own(const struct ip *ip)
{
    static const uint8_t loopback[16] = {[15] = 1};
    return ip->n == 0 || (ip->n == 4 && ip->b[0] == 127) ||
           (ip->n == 16 && memcmp(ip->b, loopback, 16) == 0);
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

struct err connections_add(struct connections *c, const struct connection_limits *limits,
                           account_id account, struct ip peer)
{
    struct str id = map_key_u64(&account.v), network = network_of(&peer);
    (void)pthread_mutex_lock(&c->lock);
    uintptr_t of_account = number(&c->accounts, id), of_address = number(&c->addresses, network);
    struct err e = OK;
    if (limits->account && of_account >= limits->account)
        e = err_make(E_LIMIT, "too many connections of the account");
    else if (limits->address && of_address >= limits->address && !is_own(&peer))
        e = err_make(E_LIMIT, "too many connections from the address");
    if (!e.code) {
        number_set(&c->accounts, id, of_account + 1);
        number_set(&c->addresses, network, of_address + 1);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return e;
}

void connections_add_always(struct connections *c, account_id account, struct ip peer)
{
    static const struct connection_limits none = {0, 0};
    struct err e = connections_add(c, &none, account, peer);
    check(e.code == E_OK);
}

void connections_remove(struct connections *c, account_id account, struct ip peer)
{
    struct str id = map_key_u64(&account.v), network = network_of(&peer);
    (void)pthread_mutex_lock(&c->lock);
    uintptr_t of_account = number(&c->accounts, id), of_address = number(&c->addresses, network);
    check(of_account && of_address);
    number_set(&c->accounts, id, of_account - 1);
    number_set(&c->addresses, network, of_address - 1);
    (void)pthread_mutex_unlock(&c->lock);
}

uint32_t connections_of(struct connections *c, account_id account)
{
    (void)pthread_mutex_lock(&c->lock);
    uintptr_t n = number(&c->accounts, map_key_u64(&account.v));
    (void)pthread_mutex_unlock(&c->lock);
    return (uint32_t)n;
}
