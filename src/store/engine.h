/*
 * The engine below the model: a log that is the truth, and the index made from it. It knows
 * keys, values and bodies, but neither accounts nor mailboxes. Private to the store.
 *
 * A commit is a batch of index changes and the bodies that they name. The committer (a thread, or
 * the submitter while that one sleeps) collects what is waiting into one group, appends it to the
 * log, syncs once, applies the batches to RocksDB (without a WAL of its own) together with the
 * mark `applied`, and answers. Groups keep the order of engine_submit; what threads submit that are
 * in the background (store_commit_in_background) has smaller groups of its own, with pauses
 * between them while others commit.
 */
#ifndef THURN_STORE_ENGINE_H
#define THURN_STORE_ENGINE_H

#include "base/base.h"
#include "store/store.h"

struct engine;

struct engine_options {
    struct str dir;
    uint64_t segment_size, cache_size;
    uint64_t flush_after; /* bytes of log after which the index is flushed; 0: 128 MB */
    const struct store_disk *disk;
    uint64_t rewrite_rate; /* bytes of bodies per second that the background rewriting of mostly
                              dead segments copies; 0: nothing is rewritten */
    void (*opening)(void *arg); /* see store_options */
    void *opening_arg;
    bool read_only; /* for the check: works on a hard-linked copy of the index, replays into that
                       copy, changes nothing in the store */
};
/* See store_open for errors and `explain`. */
MUST_CHECK struct err engine_open(const struct engine_options *o, struct engine **out,
                                  struct buf *explain);
void engine_close(struct engine *e);
void engine_stats(struct engine *e, struct store_stats *out);

/* -- changes -- */

/* Index changes in the form in which they stand in the log. Starts as {0}; sticky error in
 * ops.bad. Keys and values are copied. */
struct batch {
    struct buf ops;
    struct body **bodies; /* referenced; the n-th body of the batch */
    size_t n_bodies, cap_bodies;
    account_id account; /* stands in the record's header, for readers of the log; may be 0 */
};
/* Keys are not empty and do not begin with the byte 0x01: such keys are the engine's own. */
void batch_put(struct batch *b, struct str key, struct str value);
void batch_delete(struct batch *b, struct str key);
/* Deletes all keys from <= key < to. */
void batch_delete_range(struct batch *b, struct str from, struct str to);
/* Puts a packed Thurn__BodyPlace of the body under `key`: the committer fills in where the body
 * lies. The first commit that carries the body writes it, later ones point to the same bytes. */
void batch_body(struct batch *b, struct str key, account_id account, struct body *body);
/* Deletes the place of a body under `key`, which was read as `place`, and with it the engine's
 * reverse key: what keeps the bytes from being freed. If the body has been moved meanwhile, its
 * place of the moment of the commit goes. */
void batch_body_drop(struct batch *b, struct str key, const Thurn__BodyPlace *place);
void batch_free(struct batch *b);

/* One commit on its way. Allocated by the caller, who frees it in or after `done`. */
struct commit {
    struct list link;
    struct err early; /* the engine's: failed before it reached the committer */
    struct batch batch;
    /* If set, the commit stands in a group of its own, and its batch is filled by this, on the
     * thread that commits, when the index shows everything before it and nothing behind. */
    void (*prepare)(struct commit *c);
    /* On the thread that committed it (the submitter's within engine_submit, if nobody else was
     * committing), after the index shows the change (or it has failed: then nothing of it is
     * there, in this process and after any restart). Must not block. */
    void (*done)(struct commit *c, struct err result);
};
/* Any thread. Returns at once, except that bodies above 1 MB are written and synced here, on the
 * caller's thread, so that small commits of others need not wait for them; those of the background
 * are written by a thread of the engine (bulk.c), and the commit joins its queue after that.
 * E_FULL: the disk has no room for new mail; commits that bring no body are taken for longer, until
 * what is left is what the index needs to go on. */
void engine_submit(struct engine *e, struct commit *c);

/* -- reading -- */

/* The index at one moment. Any thread, one at a time. */
struct view;
struct view *view_open(struct engine *e);
/* The same for who reads no bodies, and may keep it for as long as he likes: it does not keep the
 * segments of bodies that were moved meanwhile. */
struct view *view_open_keys(struct engine *e);
/* The same for who knows that nobody changes meanwhile what he reads: it is the index as it is at
 * each look-up, and costs no snapshot. */
struct view *view_open_newest(struct engine *e);
void view_close(struct view *v);
/* E_NOTFOUND; the value is in the arena. */
MUST_CHECK struct err view_get(struct view *v, struct str key, struct arena *a, struct str *out);
/* The same for what is asked for again and again: it is kept in memory. */
MUST_CHECK struct err view_get_often(struct view *v, struct str key, struct arena *a,
                                     struct str *out);
/* Calls `each` in byte order for the keys from <= key < to, until it returns false. Slices are
 * valid during the call. */
MUST_CHECK struct err view_scan(struct view *v, struct str from, struct str to,
                                bool (*each)(struct str key, struct str value, void *arg),
                                void *arg);
/* The same downwards: from the last key < to, as long as it is >= from. */
MUST_CHECK struct err view_scan_down(struct view *v, struct str from, struct str to,
                                     bool (*each)(struct str key, struct str value, void *arg),
                                     void *arg);

/* Single keys that mostly follow one another: each is found from where the one before stands. A
 * walk must be freed before its view. */
struct key_walk;
struct key_walk *view_walk(struct view *v);
void key_walk_free(struct key_walk *w); /* NULL is fine */
/* E_NOTFOUND; the value is valid until the next call. */
MUST_CHECK struct err key_walk_get(struct key_walk *w, struct str key, struct str *out);

/* Bytes of a body from the log, and the hash that all its bytes have. E_CORRUPT if the record there
 * is not the one meant; the bytes themselves are not looked at. */
MUST_CHECK struct err engine_body_read(struct engine *e, const Thurn__BodyPlace *place,
                                       uint64_t offset, uint8_t *out, size_t n,
                                       uint8_t out_hash[SHA256_LEN]);
/* The whole body as the content of the buffer, in one read; E_CORRUPT also if it does not match its
 * hash. */
MUST_CHECK struct err engine_body_load(struct engine *e, const Thurn__BodyPlace *place,
                                       struct buf *out);
/* Logs where the damaged body lies, if the error says that it is damaged; returns the error. The
 * two above do so themselves. */
MUST_CHECK struct err engine_body_tell(const Thurn__BodyPlace *place, struct err err);
/* Reads the whole body and compares its hash: for the check. */
MUST_CHECK struct err engine_body_verify(struct engine *e, const Thurn__BodyPlace *place);
/* One step of rewriting segments that are mostly dead, which otherwise happens in the background:
 * for tests. *out_worked: there was something to do. */
MUST_CHECK struct err engine_rewrite(struct engine *e, bool *out_worked);
/* Goes through the whole log from its first segment: verifies group and record checksums and
 * sequence. For the check. */
MUST_CHECK struct err engine_log_verify(struct engine *e, store_finding found,
                                        void (*progress)(uint64_t, uint64_t, void *), void *arg);

/* -- keys (key.c) -- */

/* Keys are order-preserving and hold no NUL: integers are written big-endian in 7-bit groups with
 * the high bit set, fixed width (32 bits: 5 bytes, 64 bits: 10 bytes). */
struct key {
    uint8_t b[64 + 1024];
    size_t n;
};
void key_byte(struct key *k, uint8_t c);
void key_u32(struct key *k, uint32_t v);
void key_u64(struct key *k, uint64_t v);
void key_bytes(struct key *k, struct str s);
static inline struct str key_str(const struct key *k)
{
    return str_of(k->b, k->n);
}
uint32_t key_read_u32(struct cur *c); /* fails on bytes without the high bit */
uint64_t key_read_u64(struct cur *c);

#endif
