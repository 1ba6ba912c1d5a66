/* Secrets of the installation, made when they are first asked for. */
#include "directory/private.h"

static struct err secret_get(struct snap *s, const struct dir_key *key, struct arena *a,
                             uint8_t out[DIRECTORY_SECRET])
{
    struct str there;
    TRY(snap_get(s, dir_key_str(key), a, &there));
    if (there.n != DIRECTORY_SECRET)
        return err_make(E_CORRUPT, "a secret of the installation is damaged");
    memcpy(out, there.p, DIRECTORY_SECRET);
    return OK;
}

static struct err secret_make(struct dir_change *c, const struct dir_key *key,
                              uint8_t out[DIRECTORY_SECRET])
{
    struct err e = secret_get(c->snap, key, &c->arena, out); /* somebody was faster */
    if (e.code != E_NOTFOUND)
        return e.code == E_OK ? err_make(E_EXISTS, "there is such a secret already") : e;
    random_bytes(out, DIRECTORY_SECRET);
    return txn_put(c->txn, dir_key_str(key), str_of(out, DIRECTORY_SECRET));
}

struct err directory_secret(struct directory *d, struct str name, uint8_t out[DIRECTORY_SECRET])
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, RECORD_BUDGET);
    struct dir_key key = dir_key_secret(name);
    struct kept_snap s;
    TRY(dir_read_begin(d, &s));
    struct err e = secret_get(s.snap, &key, &a, out);
    dir_read_end(d, s);
    if (e.code != E_NOTFOUND)
        return e;
    struct dir_change c;
    TRY(dir_change_begin(d, &c));
    e = dir_change_end(d, &c, secret_make(&c, &key, out));
    return e.code == E_EXISTS ? OK : e;
}
