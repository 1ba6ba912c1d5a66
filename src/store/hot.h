/*
 * hot: values of the index that are asked for again and again - heads of accounts, records of
 * mailboxes, accounts of the directory - kept in memory beside it. Private to the engine.
 *
 * What stands here is always the newest value of its key, and the group that brought it or was
 * the newest when it was read. A view sees it if it was opened after that group; else it asks the
 * index. So that this holds, the one who commits tells of a group's changes before the index shows
 * any of them, and a view notes the newest group that is shown before it takes its snapshot.
 *
 * The table has a fixed number of places, one for each hash: a key takes the place of another.
 * Any thread.
 */
#ifndef THURN_STORE_HOT_H
#define THURN_STORE_HOT_H

#include "store/engine.h"

struct hot;

/* `shown`: the newest group that the index shows. */
struct hot *hot_new(uint64_t shown);
void hot_free(struct hot *h); /* NULL is fine */

/* The newest group whose changes the index shows for certain. */
uint64_t hot_moment(const struct hot *h);
/* What a view of that moment sees under the key, if it is here: false, or the value in the arena,
 * with p NULL if there was no room for it. */
bool hot_find(struct hot *h, uint64_t moment, struct str key, struct arena *a, struct str *out);
/* A view of that moment has read this from the index. It is kept if it is neither empty nor large,
 * and no later group has changed the key (or another that belongs to its place). */
void hot_keep(struct hot *h, uint64_t moment, struct str key, struct str value);

/* The committer's: the changes of each batch of a group that the index is about to show; it shows
 * all of it. */
void hot_change(struct hot *h, uint64_t group, struct str ops);
void hot_shown(struct hot *h, uint64_t group);

#endif
