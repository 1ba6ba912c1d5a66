#include "base/base.h"

#include <openssl/rand.h>

static uint64_t clock_us(clockid_t id)
{
    struct timespec t;
    check(clock_gettime(id, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t clock_wall_s(void)
{
    return (int64_t)(clock_wall_us() / 1000000);
}

static void random_draw(void *p, size_t n)
{
    check(n <= INT_MAX && RAND_bytes(p, (int)n) == 1);
}

/* Ids are short, and drawing takes as long for them as for a store of them: two calls to the system
 * among other things. What is handed out is wiped. No process uses any after a fork. */
void random_bytes(void *p, size_t n)
{
    enum { STORE = 256, SHORT = 32 };
    static _Thread_local struct {
        uint8_t b[STORE];
        size_t left;
    } store;
    if (n > SHORT) {
        random_draw(p, n);
        return;
    }
    if (store.left < n) {
        random_draw(store.b, STORE);
        store.left = STORE;
    }
    store.left -= n;
    memcpy(p, store.b + store.left, n);
    explicit_bzero(store.b + store.left, n);
}

uint64_t random_u64(void)
{
    uint64_t v;
    random_bytes(&v, sizeof v);
    return v;
}
