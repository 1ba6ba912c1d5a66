/*
 * How fast passwords may be tried. Failures are counted for
 *   - an address (IPv4; IPv6 by /64),
 *   - an account's name from one address,
 *   - an account's name from anywhere,
 * and fade away by half every ten minutes. Some are free; then each doubles the delay before the
 * next password is looked at, from a second up to a maximum, and attempts behind one another wait
 * for their turn. Who would have to wait for longer than the maximum is refused without a look.
 *
 * A stranger cannot lock a user out. The first two counts slow down only the address that failed.
 * The third grows by what others do: it delays, but never puts attempts in a row or refuses one,
 * and does not hold for addresses from which the account has logged in before ("known-good").
 *
 * The tables have a fixed size. Each key has eight places; if all are taken, the lowest count makes
 * room, and only for one that is no lower: new addresses in whatever number do not wash out the
 * count of one that has failed more often. What finds no place takes one failure off the lowest, so
 * that whoever goes on failing is counted soon, however many others have failed. An account has a
 * set of places of its own in the table of known-good addresses.
 *
 * Not thread-safe. Times are microseconds of the monotonic clock.
 */
#ifndef THURN_BACKEND_LOGIN_LIMITS_H
#define THURN_BACKEND_LOGIN_LIMITS_H

#include "net/net.h"

struct login_limits;
struct login_limits *login_limits_new(void);
void login_limits_free(struct login_limits *l);

struct login_policy {
    uint32_t free_failures; /* of an account's name from one address; an address has four times as
                               many, a name from anywhere twenty times */
    uint32_t delay_max_ms;  /* 0: no limits */
};

/* Who tries: made once for an attempt. */
struct login_keys {
    uint64_t from; /* the address */
    uint64_t address, pair, name;
};
/* `user`: directory_login_name; its case does not matter. `shared`: many users come from this
 * address, which is not counted as one then: each name from there is. */
struct login_keys login_limits_keys(const struct login_limits *l, struct ip peer, bool shared,
                                    struct str user);

#define LOGIN_REFUSED UINT64_MAX
/* Milliseconds until the password may be looked at; 0: now; LOGIN_REFUSED: not at all. A wait takes
 * a turn, which is not given back. */
uint64_t login_limits_wait(struct login_limits *l, const struct login_policy *p,
                           const struct login_keys *k, uint64_t now);
/* Whether it would have to wait now: its address has failed since it was let through. Takes no
 * turn. */
bool login_limits_slowed(struct login_limits *l, const struct login_policy *p,
                         const struct login_keys *k, uint64_t now);
void login_limits_failed(struct login_limits *l, const struct login_policy *p,
                         const struct login_keys *k, uint64_t now);
/* Whether the account of this name has logged in from there before. */
bool login_limits_known_good(const struct login_limits *l, const struct login_keys *k);
/* The right password: the name's failures from there are forgotten, the address is known-good. */
void login_limits_passed(struct login_limits *l, const struct login_keys *k, uint64_t now);

#endif
