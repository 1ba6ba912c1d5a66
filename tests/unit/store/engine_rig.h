/* What the tests of the engine share: a directory of their own, and commits that are waited for. */
#ifndef THURN_TESTS_ENGINE_RIG_H
#define THURN_TESTS_ENGINE_RIG_H

#include "base/base.h"
#include "store/body.h"
#include "store/disk.h"
#include "store/engine.h"

struct rig {
    char dir[256]; /* holds `store`, the engine's directory */
    char store[280];
    struct engine *e;
    struct engine_options options;
    struct buf explain;
};
/* An empty directory, no engine yet. */
void rig_init(struct rig *r);
void rig_init_in(struct rig *r, const char *parent);
struct err rig_open(struct rig *r);
void rig_close(struct rig *r);
/* Closes and removes everything. */
void rig_end(struct rig *r);
void remove_tree(const char *path);
void copy_tree(const char *from, const char *to);
/* Changes one bit of a segment's file. */
void flip_in_segment(const struct rig *r, unsigned segment, long at);

/* A commit whose end can be waited for. */
struct wait_commit {
    struct commit c;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool ended;
    struct err result;
};
void wait_init(struct wait_commit *w);
void wait_submit(struct engine *e, struct wait_commit *w);
/* The result; frees the batch. */
struct err wait_end(struct wait_commit *w);

struct err commit_put(struct engine *e, struct str key, struct str value);
/* Commits `bytes` as a body whose place stands under `key`. */
struct err commit_body(struct engine *e, struct str key, struct body *body);
/* The value under the key in a view of the moment; {NULL, 0} if there is none. */
struct str get_now(struct engine *e, struct str key, struct arena *a);
/* Whether the place under `key` leads to just these bytes. */
bool body_is(struct engine *e, struct str key, struct str bytes);
struct err place_now(struct engine *e, struct str key, struct arena *a, Thurn__BodyPlace **out);

#endif
