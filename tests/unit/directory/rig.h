/* A directory in a store of its own, on a temporary path. */
#ifndef THURN_TEST_DIRECTORY_RIG_H
#define THURN_TEST_DIRECTORY_RIG_H

#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>

#include "directory/directory.h"

struct rig {
    char dir[64];
    struct store *store;
    struct directory *d;
};

static const struct directory_password secret = {STR_INIT("secret"), false};

static inline void rig_open(struct rig *r)
{
    struct buf explain CLEANUP(buf_free) = {0};
    const struct store_options options = {.dir = str_c(r->dir)};
    struct err e = store_open(&options, &r->store, &explain);
    if (e.code)
        fail_msg("%s: %.*s", e.why, STR_FMT(buf_str(&explain)));
    const struct directory_options cheap = {.argon2_memory_kib = 64, .argon2_passes = 1};
    assert_int_equal(directory_open(r->store, &cheap, &r->d).code, E_OK);
}

static inline void rig_close(struct rig *r)
{
    directory_close(r->d);
    store_close(r->store);
}

static inline int setup(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    (void)snprintf(r->dir, sizeof r->dir, "/tmp/thurn-directory-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    rig_open(r);
    *state = r;
    return 0;
}

static inline int rig_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline int teardown(void **state)
{
    struct rig *r = *state;
    rig_close(r);
    (void)nftw(r->dir, rig_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(r);
    return 0;
}

static inline account_id add(struct rig *r, struct str address)
{
    account_id id = {0};
    struct err e = directory_account_add(r->d, address, secret, &id);
    if (e.code)
        fail_msg("%.*s: %s", STR_FMT(address), e.why);
    return id;
}

#endif
