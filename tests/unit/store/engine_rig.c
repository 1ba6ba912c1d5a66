#include "engine_rig.h"
#include "flip.h"

#include <ftw.h>
#include <dirent.h>

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    return remove(path);
}

void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void copy_file(const char *from, const char *to)
{
    uint8_t block[64 << 10];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, block, sizeof block)) > 0;)
        check(write(out, block, (size_t)n) == n);
    close(in);
    close(out);
}

void copy_tree(const char *from, const char *to)
{
    DIR *d = opendir(from);
    check(d && (mkdir(to, 0700) == 0 || errno == EEXIST));
    for (struct dirent *entry; (entry = readdir(d));) {
        char a[512], b[512];
        struct stat st;
        if (entry->d_name[0] == '.')
            continue;
        check(snprintf(a, sizeof a, "%s/%s", from, entry->d_name) < (int)sizeof a);
        check(snprintf(b, sizeof b, "%s/%s", to, entry->d_name) < (int)sizeof b);
        check(stat(a, &st) == 0);
        if (S_ISDIR(st.st_mode))
            copy_tree(a, b);
        else
            copy_file(a, b);
    }
    closedir(d);
}

void rig_init(struct rig *r)
{
    const char *tmp = getenv("TMPDIR");
    rig_init_in(r, tmp ? tmp : "/tmp");
}

void rig_init_in(struct rig *r, const char *parent)
{
    *r = (struct rig){0};
    snprintf(r->dir, sizeof r->dir, "%s/thurn-engine-XXXXXX", parent);
    check(mkdtemp(r->dir));
    snprintf(r->store, sizeof r->store, "%s/store", r->dir);
    check(mkdir(r->store, 0700) == 0);
    r->options = (struct engine_options){.dir = str_c(r->store), .cache_size = 4 << 20};
}

struct err rig_open(struct rig *r)
{
    buf_clear(&r->explain);
    return engine_open(&r->options, &r->e, &r->explain);
}

void rig_close(struct rig *r)
{
    engine_close(r->e);
    r->e = NULL;
}

void rig_end(struct rig *r)
{
    rig_close(r);
    buf_free(&r->explain);
    remove_tree(r->dir);
}

static void ended(struct commit *c, struct err result)
{
    struct wait_commit *w = container_of(c, struct wait_commit, c);
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    w->result = result;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

void wait_init(struct wait_commit *w)
{
    *w = (struct wait_commit){.c.done = ended};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
}

void wait_submit(struct engine *e, struct wait_commit *w)
{
    engine_submit(e, &w->c);
}

struct err wait_end(struct wait_commit *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->ended)
        pthread_cond_wait(&w->cond, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->cond);
    batch_free(&w->c.batch);
    return w->result;
}

struct err commit_put(struct engine *e, struct str key, struct str value)
{
    struct wait_commit w;
    wait_init(&w);
    batch_put(&w.c.batch, key, value);
    wait_submit(e, &w);
    return wait_end(&w);
}

struct err commit_body(struct engine *e, struct str key, struct body *body)
{
    struct wait_commit w;
    wait_init(&w);
    batch_body(&w.c.batch, key, (account_id){7}, body);
    wait_submit(e, &w);
    return wait_end(&w);
}

struct str get_now(struct engine *e, struct str key, struct arena *a)
{
    struct view *v = view_open(e);
    struct str out = {0};
    struct err err = view_get(v, key, a, &out);
    check(err.code == E_OK || err.code == E_NOTFOUND);
    view_close(v);
    return err.code ? (struct str){0} : out.n ? out : STR("");
}

struct err place_now(struct engine *e, struct str key, struct arena *a, Thurn__BodyPlace **out)
{
    struct str packed = get_now(e, key, a);
    if (!packed.p)
        return err_make(E_NOTFOUND, "no place");
    *out = thurn__body_place__unpack(NULL, packed.n, packed.p);
    return *out ? OK : err_make(E_CORRUPT, "malformed place");
}

bool body_is(struct engine *e, struct str key, struct str bytes)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 64 << 10);
    Thurn__BodyPlace *place;
    if (place_now(e, key, &a, &place).code)
        return false;
    uint8_t *got = mem_alloc(bytes.n + 1), hash[SHA256_LEN];
    bool same = place->length == bytes.n &&
                engine_body_read(e, place, 0, got, bytes.n, hash).code == E_OK &&
                str_eq(str_of(got, bytes.n), bytes) && engine_body_verify(e, place).code == E_OK;
    free(got);
    thurn__body_place__free_unpacked(place, NULL);
    return same;
}

void flip_in_segment(const struct rig *r, unsigned segment, long at)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/log/%08u.seg", r->store, segment);
    flip_byte(path, at);
}
