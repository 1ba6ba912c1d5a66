/* The engine's parts and what they share. Private to the engine. */
#ifndef THURN_STORE_ENGINE_PRIVATE_H
#define THURN_STORE_ENGINE_PRIVATE_H

#include "store/body.h"
#include "store/hot.h"
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

/* What is known of a segment while the store is open. */
struct known_segment {
    uint64_t number;
    bool big;            /* holds one big body */
    bool damaged;        /* a body there cannot be read: left as it is */
    bool retired;        /* no body gets an owner there any more */
    uint64_t retired_at; /* epoch in which the index on disk had passed that; UINT64_MAX: not yet */
    uint64_t dropped;    /* bytes of owners' bodies that have been dropped since the start */
    /* As it was when it was last looked at. */
    bool looked_at;
    uint64_t seen;       /* of `dropped` */
    uint64_t size, live; /* bytes of the file; of bodies with an owner, with their headers */
    uint64_t bodies;     /* of all its bodies; UINT64_MAX: not known */
};
struct segment_table {
    pthread_mutex_t lock;
    struct known_segment *v; /* by number */
    size_t n, cap;
};
/* What is being rewritten: the rewriter's alone. */
struct rewriting {
    bool active;
    struct known_segment segment;
    uint64_t next; /* byte from which on bodies have not been moved */
};

struct engine {
    const struct store_disk *disk;
    char dir[PATH_LEN], log_dir[PATH_LEN], index_dir[PATH_LEN];
    int lock_fd;
    bool read_only, index_copied;
    uint64_t id; /* random; names this opening of the store */
    uint64_t segment_size, flush_after;
    void (*opening)(void *arg);
    void *opening_arg;
    uint8_t uuid[UUID_LEN];
    struct index *index;
    struct hot *hot; /* NULL while nobody commits: then the index is changed without telling it */
    struct segment_slot slots[OPEN_SEGMENTS]; /* segment modulo their number */
    atomic_uint_fast64_t next_segment;
    struct log_writer writer;
    struct group_builder *builder;

    pthread_t committer;
    bool running;
    pthread_mutex_t lock; /* for what follows, up to `stop` */
    pthread_cond_t wake;
    struct list waiting, background; /* commits; the latter of threads that are in no hurry */
    uint64_t background_from;        /* when the background may go on; 0: at once */
    uint64_t hurried_at, usual_us;   /* when others last had a group done; what one takes */
    struct bulk {
        struct list waiting; /* commits of the background whose big bodies are to be written */
        uint64_t from;       /* when the next piece may be written; 0: at once */
        bool stop;
        pthread_cond_t wake;
        pthread_t thread;
    } bulk;
    bool sleeping, committing, stop;

    atomic_uint_fast64_t promised;     /* bytes of big bodies that are being written */
    atomic_bool full;                  /* mail is refused, which has been logged */
    atomic_uint_fast64_t plenty_until; /* monotonic us: the disk need not be asked before */

    struct segment_table known;
    atomic_uint_fast64_t current_segment; /* that groups are added to; 0: none yet */
    struct rewriting rewriting;
    uint64_t rewrite_rate;
    pthread_t rewriter;
    bool rewriter_runs, rewriter_stop;
    pthread_mutex_t rewriter_lock;
    pthread_cond_t rewriter_wake;
    /* Views, by the parity of the epoch in which they were opened. */
    atomic_uint_fast64_t epoch, readers[2];
    atomic_uint to_remove; /* retired segments whose files are still there */

    atomic_uint_fast64_t freed_bytes;
    atomic_uint_fast64_t groups, records, synced_bytes, replayed_groups, segments;
};

/* -- engine.c -- */

/* Without anything opened yet; E_INVALID: no path. */
MUST_CHECK struct err engine_new(const struct engine_options *o, struct engine **out,
                                 struct buf *explain);

/* -- home.c: the directory -- */

/* Finds out whether the directory is a store of ours, or empty and writable; takes the lock;
 * reads or makes `format`. Fills e->uuid and e->lock_fd. */
MUST_CHECK struct err home_open(struct engine *e, struct buf *explain);
/* For reading only: a copy of the index's files in a new directory, whose path replaces
 * e->index_dir; removed by home_remove_copy. */
MUST_CHECK struct err home_copy_index(struct engine *e, struct buf *explain);
void home_remove_copy(struct engine *e);
/* Empties it. */
void home_empty_copy(struct engine *e);
/* For salvage, which changes nothing: makes sure that no process has it open, if there is a lock
 * file; reads `format` and fills in e->uuid (E_NOTFOUND, E_UNSUPPORTED). */
MUST_CHECK struct err home_lock_to_look(struct engine *e, struct buf *explain);
MUST_CHECK struct err home_read_format(struct engine *e, struct buf *explain);

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
    bool whole; /* the log is there from its first segment on */
};
void segments_free(struct segments *s);
/* What is there, and which of it is the end of the log: without a gap, but perhaps not from the
 * beginning. */
MUST_CHECK struct err segments_find(struct engine *e, struct segments *out);

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
/* Writes the big bodies of a batch, each to a segment of its own, unless it stands somewhere
 * already. Any thread. `slowly`: piece by piece, with pauses; only bulk.c's thread. */
MUST_CHECK struct err batch_write_big(struct engine *e, struct batch *batch, bool slowly);

/* -- bulk.c -- */

void bulk_start(struct engine *e);
/* All that waits is written first. */
void bulk_stop(struct engine *e);
/* The commit joins the background once its big bodies have been written. */
void bulk_submit(struct engine *e, struct commit *c);
/* Around the writing of a piece. */
void bulk_wait(struct engine *e);
void bulk_written(struct engine *e, uint64_t took);

/* -- room.c -- */

enum room_for { ROOM_FOR_MAIL, ROOM_FOR_CHANGES };
/* E_FULL if the disk has no room for so many bytes of this kind. */
MUST_CHECK struct err disk_has_room(struct engine *e, enum room_for what, uint64_t bytes);

/* -- segment_table.c -- */

void segment_table_add(struct engine *e, const struct known_segment *s);
void segment_table_remove(struct engine *e, uint64_t number);
/* Replaces what is known, except `dropped`. */
void segment_table_change(struct engine *e, const struct known_segment *s);
void segment_table_dropped(struct engine *e, uint64_t number, uint64_t bytes);
void segment_table_retire(struct engine *e, uint64_t number);
/* Whether a body that stands there may get another owner. */
bool segment_takes_owners(struct engine *e, uint64_t number);
/* The best of those that groups are not added to, of which `better` compares any with the best so
 * far (NULL: none); false if there is none. */
bool segment_table_pick(struct engine *e,
                        bool (*better)(const struct known_segment *s,
                                       const struct known_segment *than, void *arg),
                        void *arg, struct known_segment *out);
void segment_table_free(struct engine *e);

/* -- rewrite.c -- */

void rewriter_start(struct engine *e);
void rewriter_stop(struct engine *e);

/* -- committer.c -- */

/* How long the background pauses after a group that took so long, if one of others usually takes
 * `usual`: microseconds. */
uint64_t background_pause(uint64_t took, uint64_t usual);

/* The same as things are now: 0 if nobody else commits. With the lock. */
uint64_t background_rest(const struct engine *e, uint64_t took, uint64_t now);

/* What is to be committed joins a queue. */
void committer_add(struct engine *e, struct commit *c, bool background);
void committer_start(struct engine *e);
void committer_stop(struct engine *e);

/* -- log_read.c -- */

void segment_slots_init(struct engine *e);
void segment_slots_close(struct engine *e);
/* An open segment with a reference for the caller. */
MUST_CHECK struct err segment_file_get(struct engine *e, uint64_t number,
                                       struct segment_file **out);
void segment_file_put(struct engine *e, struct segment_file *f); /* NULL is fine */
/* Closes it when nobody reads it any more, before its file is removed. */
void segment_file_forget(struct engine *e, uint64_t number);
/* The bytes of the body whose record stands there, which has this length; verified. E_CORRUPT. */
MUST_CHECK struct err segment_body_load(struct engine *e, uint64_t segment, uint64_t offset,
                                        uint64_t length, struct buf *out);

#endif
