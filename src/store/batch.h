/* Index changes as they stand in a batch, and so in the log. Private to the engine. */
#ifndef THURN_STORE_BATCH_H
#define THURN_STORE_BATCH_H

#include "store/engine.h"

/*
 * A batch is a row of operations. Lengths are LEB128 varints, other numbers little-endian.
 *
 *   'P' key length, value length, key, value             put
 *   'D' key length, key                                   delete
 *   'R' from length, to length, from, to                  delete all keys from <= key < to
 *   'B' account u64, segment u64, offset u64, length u64, hash u64, key length, key
 *                                                         put the place of a body
 *   'X' the same fields                                   delete the place of a body
 *
 * B and X keep the reverse key as well (index.h). Before the committer has placed the body,
 * segment and offset of a B are zero.
 */
enum { OP_PUT = 'P', OP_DELETE = 'D', OP_RANGE = 'R', OP_BODY = 'B', OP_DROP = 'X' };
struct op {
    uint8_t kind;
    struct str key, value; /* value: of a put; upper end of a range */
    Thurn__BodyPlace place;
    size_t place_at; /* where the place begins in the batch: five u64 */
};
/* Takes the next operation; false at the end, and (with ops->bad set) on malformed bytes. */
bool batch_next(struct cur *ops, struct op *out);
/* Fills in the place of a B: `at` is its place_at. */
void batch_patch(struct batch *b, size_t at, const Thurn__BodyPlace *place);

/* Keys that begin with this byte are the engine's own; the others have a greatest length, which
 * leaves room in a struct key for a reverse key. */
enum { ENGINE_KEY = 0x01, OP_KEY_MAX = 1024 + 32 };

#endif
