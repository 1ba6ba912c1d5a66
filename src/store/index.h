/*
 * The index: RocksDB without its WAL, made from the log. Private to the engine.
 *
 * Beside the model's keys it holds two kinds of its own, which begin with ENGINE_KEY:
 *
 *   01 'a'                                         `applied`: segment, offset, sequence (u64 each,
 *                                                  little-endian): the log is in here up to this
 *                                                  byte, the end of a group
 *   01 'r' segment offset account 'key of place'   reverse key of a body: finds the owners of the
 *                                                  bytes at a place in the log. Their length, as a
 *                                                  varint. An owner counts only if its place says
 *                                                  the same.
 */
#ifndef THURN_STORE_INDEX_H
#define THURN_STORE_INDEX_H

#include "store/batch.h"
#include <rocksdb/c.h>

struct applied {
    uint64_t segment, offset, sequence;
};

struct index {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read; /* of the latest state */
    rocksdb_writeoptions_t *write;
    rocksdb_writebatch_t *batch; /* being filled, by one thread at a time */
    uint64_t unflushed;          /* bytes of log since the last flush; the same thread's */
};

/* RocksDB counts this thread's comparisons of keys no more, which takes as long as comparing. */
void index_quiet(void);
/* Creates what is missing. `why` gets RocksDB's own words. */
MUST_CHECK struct err index_open(const char *path, uint64_t cache_size, struct index **out,
                                 struct buf *why);
/* Writes out what is in memory, then closes. */
void index_close(struct index *ix);

/* E_NOTFOUND in an empty index. */
MUST_CHECK struct err index_applied(struct index *ix, struct applied *out);
/* Adds the operations of a batch to what the next index_commit writes; E_CORRUPT. */
MUST_CHECK struct err index_add(struct index *ix, struct str ops);
/* Makes them visible at once, together with the mark. */
MUST_CHECK struct err index_commit(struct index *ix, const struct applied *applied);
/* Counts bytes of log that have been brought in, and after `limit` of them has what is in memory
 * written out in the background: it is what a start after a kill replays. */
void index_bound_replay(struct index *ix, uint64_t log_bytes, uint64_t limit);
/* Bytes of disk that must be free for flushes and compactions to succeed: never more than
 * INDEX_RESERVE_MAX. Any thread. */
enum { INDEX_RESERVE_MAX = 1 << 30 };
uint64_t index_reserve(struct index *ix);
/* The place under a key as of now. E_NOTFOUND, E_CORRUPT. */
MUST_CHECK struct err index_place(struct index *ix, struct str key, Thurn__BodyPlace *out);
/* Owners of bodies in a segment, from a byte of it on, in the order of offsets, as the reverse keys
 * have them; `each` returns false to stop. */
struct owner {
    uint64_t offset, account, length;
    struct str key;
};
MUST_CHECK struct err index_owners(struct index *ix, uint64_t segment, uint64_t from,
                                   bool (*each)(const struct owner *o, void *arg), void *arg);
/* Writes out what is in memory, and waits for it. */
MUST_CHECK struct err index_flush_now(struct index *ix);
/* Goes through all of it, so that what cannot be read is met. */
bool index_readable(struct index *ix, struct buf *why);
/* The first segment from a number on in which a place has an owner. E_NOTFOUND. */
MUST_CHECK struct err index_next_segment(struct index *ix, uint64_t from, uint64_t *out);
/* Whether a place in this segment has an owner. */
MUST_CHECK struct err index_segment_owned(struct index *ix, uint64_t segment, bool *out);

#endif
