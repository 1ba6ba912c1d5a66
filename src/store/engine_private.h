/* The engine's parts and what they share. Private to the engine. */
#ifndef THURN_STORE_ENGINE_PRIVATE_H
#define THURN_STORE_ENGINE_PRIVATE_H

#include "store/body.h"
#include "store/index.h"
#include "store/log.h"

enum { PATH_LEN = 4096, OPEN_SEGMENTS = 256 };

/* Where the committer writes: its thread's alone. */
struct log_writer {
    int fd;           /* -1: the next group begins a new segment */
    uint64_t segment; /* of the last group; 0 in an empty log */
    uint64_t end;     /* of the last group */
    uint64_t ready;   /* up to here the file has been filled with zeros */
    uint64_t sequence;
};

/* An open segment, for reading. */
struct segment_file {
    atomic_uint refs;
    uint64_t number;
    int fd;
};
struct segment_slot {
    pthread_mutex_t lock;
    struct segment_file *file;
};

struct engine {
    const struct store_disk *disk;
    char dir[PATH_LEN], log_dir[PATH_LEN], index_dir[PATH_LEN];
    int lock_fd;
    bool read_only, index_copied;
    uint64_t id; /* random; names this opening of the store */
    uint64_t segment_size, flush_after;
    uint8_t uuid[UUID_LEN];
    struct index *index;
    struct segment_slot slots[OPEN_SEGMENTS]; /* segment modulo their number */
    atomic_uint_fast64_t next_segment;
    struct log_writer writer;
    struct group_builder *builder;

    pthread_t committer;
    bool running;
    pthread_mutex_t lock; /* for the four below */
    pthread_cond_t wake;
    struct list waiting;
    bool sleeping, committing, stop;

    atomic_uint_fast64_t promised; /* bytes of big bodies that are being written */
    atomic_bool full;              /* mail is refused, which has been logged */

    atomic_uint_fast64_t groups, records, synced_bytes, replayed_groups, segments;
};

/* -- home.c: the directory -- */

/* Finds out whether the directory is a store of ours, or empty and writable; takes the lock;
 * reads or makes `format`. Fills e->uuid and e->lock_fd. */
MUST_CHECK struct err home_open(struct engine *e, struct buf *explain);
/* For reading only: a copy of the index's files in a new directory, whose path replaces
 * e->index_dir; removed by home_remove_copy. */
MUST_CHECK struct err home_copy_index(struct engine *e, struct buf *explain);
void home_remove_copy(struct engine *e);

/* -- log_segment.c -- */

void segment_path(const struct engine *e, uint64_t number, char out[PATH_LEN]);
/* A new file, its name durable; nothing in it yet. */
MUST_CHECK struct err segment_create(struct engine *e, uint64_t *out_number, int *out_fd);
/* Takes it away again; failure means that it may come back. */
MUST_CHECK struct err segment_remove(struct engine *e, uint64_t number);

struct segment {
    uint64_t number, size;
    enum { SEGMENT_UNUSED, SEGMENT_DAMAGED, SEGMENT_VALID } state;
    struct segment_header header; /* of a valid one */
    bool in_log;                  /* part of the chain */
    uint64_t end;                 /* where its groups end, if a later one of the chain says it; else
                                     UINT64_MAX */
    uint64_t last_sequence;       /* of its last group; the same */
};
struct segments {
    struct segment *v; /* by number */
    size_t n;
};
void segments_free(struct segments *s);
/* What is there, and which of it is the log. E_CORRUPT if the chain is broken. */
MUST_CHECK struct err segments_find(struct engine *e, struct segments *out, struct buf *explain);

/* -- replay.c -- */

struct log_position {
    uint64_t segment, offset, sequence;
};
/* Goes through the groups of a segment from `at` on. `each` may be NULL. On success `at` is
 * behind the last group that counts. */
struct walk {
    bool check_bodies;
    struct err (*each)(struct group *g, const struct log_position *end, void *arg);
    void *arg;
};
MUST_CHECK struct err segment_walk(struct engine *e, const struct segment *s,
                                   struct log_position *at, const struct walk *w);
/* Whether a segment without a valid header holds something all the same: whole groups, or a body
 * that the index names. */
MUST_CHECK struct err segment_lost(struct engine *e, const struct segment *s, bool *out);
/* Brings the index up to the end of the log and prepares the writer. */
MUST_CHECK struct err log_replay(struct engine *e, struct buf *explain);

/* -- log_write.c -- */

struct group_builder *group_builder_new(void);
void group_builder_free(struct group_builder *b);
/* Begins a group at the writer's end, or in a segment of its own if `estimate` more bytes would
 * not fit or there is none. Nothing is written before group_write. */
MUST_CHECK struct err group_begin(struct engine *e, uint64_t estimate);
/* Adds a commit: bodies that stand nowhere yet, then the batch with their places filled in. */
void group_add(struct engine *e, struct batch *batch);
/* Makes it durable. On failure it is made sure that it never comes back (if that is impossible,
 * the process ends), and its bodies stand nowhere again. */
MUST_CHECK struct err group_write(struct engine *e, struct applied *out);
/* An upper bound of what a batch takes. */
uint64_t group_estimate(const struct batch *batch);
/* Writes a big body to a segment of its own, unless it stands somewhere already. Any thread. */
MUST_CHECK struct err big_body_write(struct engine *e, struct body *body, uint64_t account);
/* -- room.c -- */

enum room_for { ROOM_FOR_MAIL, ROOM_FOR_CHANGES };
/* E_FULL if the disk has no room for so many bytes of this kind. */
MUST_CHECK struct err disk_has_room(struct engine *e, enum room_for what, uint64_t bytes);

/* -- committer.c -- */

void committer_start(struct engine *e);
void committer_stop(struct engine *e);

/* -- log_read.c -- */

void segment_slots_init(struct engine *e);
void segment_slots_close(struct engine *e);

#endif
