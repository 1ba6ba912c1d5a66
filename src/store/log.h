/*
 * The log on disk. Private to the engine. All numbers are little-endian.
 *
 * Files log/NNNNNNNN.seg (number in decimal, at least 8 digits, never given out twice while an
 * older file of that number exists). A segment begins with its header:
 *
 *     0   8  magic "THURNSEG"
 *     8   2  format version, 1
 *    10   2  kind: 1 groups, 2 one big body
 *    12   4  zero
 *    16  16  uuid of the store
 *    32   8  number of this segment
 *    40   8  number of the segment before it in the log; 0 for the first
 *    48   8  the byte at which that one ends
 *    56   8  sequence number of the last group before this segment
 *    64  32  SHA-256 of bytes 0 to 63
 *    96  32  zero
 *   128      groups, or the record of a big body
 *
 * A group is what one sync made durable:
 *
 *     0   4  magic "THGR"
 *     4   2  format version, 1
 *     6   2  zero
 *     8   8  sequence number: one more than that of the group before, across segments
 *    16   8  total length with this header, a multiple of 8
 *    24   4  number of records
 *    28   4  zero
 *    32  32  SHA-256 of: uuid of the store, segment number (u64), bytes 0 to 31, and the headers of
 *            all records in order. The uuid is random, so no message can contain a group.
 *    64      records
 *
 * A record is a header, the payload, and zeros up to a multiple of 8:
 *
 *     0   4  magic "THRC"
 *     4   1  kind: 1 BODY, 2 BATCH
 *     5   1  format of the payload, 1
 *     6   1  codec: 0 none
 *     7   1  zero
 *     8   8  id of the key that it is encrypted with; 0 none
 *    16   8  account; 0 if there is none
 *    24   8  plain length of the payload
 *    32   8  stored length of the payload
 *    40   8  zero
 *    48  32  SHA-256 of the payload as stored
 *    80      payload: the bytes of a body, or the operations of a batch (batch.h)
 *
 * Where the log ends. A group counts if its sequence number follows, its checksum and those of
 * its payloads are right. Groups of one segment are written one after the other, each synced
 * before the next, so the first that does not count ends its segment. If writing or syncing a
 * group fails, its bytes may reach the disk all the same; so before the failure is reported, a
 * new segment is begun whose header, synced, says where the one before ends: in front of the
 * failed group. The log is therefore read backwards from the segment with the highest number and
 * a valid header: only the segments that its chain names count, each up to the byte named. In the
 * last one it goes on until a group does not count.
 *
 * What may be missing. A segment that is mostly dead is rewritten (rewrite.c): what is alive of it
 * is copied into later groups, and its file removed when the index on disk has passed that. So the
 * chain may end before the first segment, where the file of the one named is not there, and older
 * segments may stand beyond the gap: they hold bodies that the index names, and batches that nobody
 * needs, as long as the index is there. From the segment on that `applied` (index.h) names nothing
 * may be missing. A segment of one big body is removed likewise when nobody owns the body.
 *
 * Behind the last group a segment may hold zeros, written ahead so that a sync need not change
 * the file's size. A segment of zeros only was never used.
 */
#ifndef THURN_STORE_LOG_H
#define THURN_STORE_LOG_H

#include "store/batch.h"
#include "store/disk.h"

enum {
    LOG_FORMAT = 1,
    SEGMENT_HEADER = 128,
    GROUP_HEADER = 64,
    RECORD_HEADER = 80,
    UUID_LEN = 16,
};
enum segment_kind { SEGMENT_GROUPS = 1, SEGMENT_BIG_BODY = 2 };
enum record_kind { RECORD_BODY = 1, RECORD_BATCH = 2 };

struct segment_header {
    uint16_t kind;
    uint8_t uuid[UUID_LEN];
    uint64_t number, before, before_end, sequence;
};
struct group_header {
    uint64_t sequence, length;
    uint32_t records;
    uint8_t hash[SHA256_LEN];
};
struct record_header {
    uint8_t kind, format, codec;
    uint64_t key_id, account, plain, stored;
    uint8_t hash[SHA256_LEN];
};

void segment_header_put(struct buf *out, const struct segment_header *h);
/* E_INVALID: not one (or of another format). */
MUST_CHECK struct err segment_header_get(struct str bytes, struct segment_header *out);
void record_header_put(struct buf *out, const struct record_header *h);
MUST_CHECK struct err record_header_get(struct str bytes, struct record_header *out);
/* Bytes that a payload takes with its header and padding. */
static inline uint64_t record_size(uint64_t stored)
{
    return RECORD_HEADER + ((stored + 7) & ~(uint64_t)7);
}

/* Which store and segment a group belongs to. */
struct group_home {
    uint8_t uuid[UUID_LEN];
    uint64_t segment;
};
/* Writes the header of a group at `out` (GROUP_HEADER bytes), given the headers of its records
 * one after the other. */
void group_header_make(const struct group_home *home, const struct group_header *h,
                       struct str record_headers, uint8_t out[GROUP_HEADER]);
/* The first look at a group: its length and sequence. E_INVALID: none begins here. */
MUST_CHECK struct err group_header_get(struct str bytes, struct group_header *out);

/* A group in memory whose checksum is right. Records are then taken with group_next. */
struct group {
    struct group_header header;
    struct cur records;
    uint64_t offset; /* of the next record in the segment */
};
struct record {
    struct record_header header;
    uint64_t offset;
    struct str payload;
};
/* Checks the whole group at `offset` of its segment; the payloads of bodies only if
 * `check_bodies`. E_INVALID: does not count. The group points into `bytes`. */
MUST_CHECK struct err group_open(struct str bytes, const struct group_home *home, uint64_t offset,
                                 bool check_bodies, struct group *out);
bool group_next(struct group *g, struct record *out);

#endif
