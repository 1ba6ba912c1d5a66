/* The model's own structures: accounts, snapshots and transactions in memory. Private to the
 * store's upper floor. */
#ifndef THURN_STORE_MODEL_H
#define THURN_STORE_MODEL_H

#include "base/base.h"
#include "store/engine.h"
#include "store/layout.h"
#include "store/store.h"

struct store {
    struct engine *engine;
    struct images *images;
    void (*changed)(account_id account, modseq at, void *arg);
    void *changed_arg;
    int64_t (*clock)(void);
    _Atomic uint32_t history; /* seconds */
    pthread_mutex_t lock;     /* accounts and their refs */
    struct map accounts;      /* open ones, by id */
};

/* A mailbox as it was last committed. */
struct box {
    struct arena arena; /* holds what pb points to */
    Thurn__Mailbox pb;
};

struct recent {
    mailbox_id id;
    msg_uid first; /* not shown to a session yet */
};

/* A slot of history. */
struct slot {
    int64_t end;
    uint64_t first; /* modseq */
};
/* Where the next piece of a purge goes on; {0}: from the beginning. */
struct purge_at {
    uint64_t through; /* the last modseq of the slot when the piece before was made */
    bool lines_done;  /* of the change log; dead mailboxes are next */
    uint32_t mailbox;
};

struct account {
    struct store *store;
    account_id id;
    unsigned refs;
    _Atomic uint64_t modseq;
    atomic_bool busy;  /* a transaction is open */
    atomic_bool wants; /* some overlay is worth folding */
    /* Days with records of repeated requests; 0: none seen. */
    _Atomic uint32_t done_oldest, done_newest;
    _Atomic int64_t oldest_slot; /* of history: its end; 0: there is none */
    /* What follows belongs to the open transaction, and to the committer while it ends. */
    struct arena arena; /* holds what head points to */
    Thurn__AccountHead head;
    bool boxes_loaded;
    struct box **boxes; /* ascending ids */
    size_t n_boxes, cap_boxes;
    struct purge_at purge_at; /* how far the end of the oldest slot has got */

    pthread_mutex_t recent_lock;
    struct recent *recent;
    size_t n_recent;
};
/* Commits and waits; frees the batch in any case. */
MUST_CHECK struct err batch_commit(struct engine *e, struct batch *b);
struct err account_load_boxes(struct account *a);
struct box *account_box(struct account *a, mailbox_id id); /* or NULL */
void account_box_put(struct account *a, const Thurn__Mailbox *pb, struct str packed, bool deep);
void account_box_drop(struct account *a, mailbox_id id);
void account_look_at_overlays(struct account *a);
/* Whether entries outside the blocks are worth being moved into them. */
bool box_wants_fold(const Thurn__Mailbox *pb);
/* The mark for a mailbox record about to be written; 0 if no session has looked yet. */
uint32_t account_recent_mark(struct account *a, mailbox_id m);

/* -- rows (row.c) -- */

/* Unpacks a record into the arena and compares its account. E_CORRUPT; E_LIMIT: arena too small. */
MUST_CHECK struct err row_unpack(const ProtobufCMessageDescriptor *type, struct str packed,
                                 account_id account, struct arena *a, void *out_message);
/* The same for a message that names no account. */
MUST_CHECK struct err row_unpack_any(const ProtobufCMessageDescriptor *type, struct str packed,
                                     struct arena *a, void *out_message);
/* The same without a copy: valid as long as `packed` is, unknown fields are dropped. */
MUST_CHECK struct err row_borrow(const ProtobufCMessageDescriptor *type, struct str packed,
                                 account_id account, struct arena *a, void *out_message);
void row_pack(struct buf *out, const void *message);
/* Packs under the key. */
void row_put(struct batch *b, const struct key *k, const void *message);
/* Takes the account at the beginning of a hand-packed value; fails the cursor if it is another. */
void row_expect_account(struct cur *c, account_id account);
/* view_get and row_unpack. E_NOTFOUND. */
MUST_CHECK struct err row_get(struct view *v, const struct key *k,
                              const ProtobufCMessageDescriptor *type, account_id account,
                              struct arena *a, void *out_message);
/* The same by view_get_often. */
MUST_CHECK struct err row_get_often(struct view *v, const struct key *k,
                                    const ProtobufCMessageDescriptor *type, account_id account,
                                    struct arena *a, void *out_message);
struct str row_bytes(ProtobufCBinaryData d);
ProtobufCBinaryData row_data(struct str s);

struct entries;
struct images;
struct pending;

/* What names a state of the entries of a mailbox: both grow. */
struct image_state {
    uint64_t modseq; /* HIGHESTMODSEQ */
    uint32_t generation;
};
static inline struct image_state image_state_of(const Thurn__Mailbox *pb)
{
    return (struct image_state){pb->highest_modseq, pb->overlay_generation};
}

/* -- the text of an email (text.c) -- */

void text_pack(struct buf *out, account_id a, struct str text);
/* In the arena, or in `value`. E_CORRUPT, E_LIMIT. */
MUST_CHECK struct err text_unpack(struct str value, account_id a, struct arena *arena,
                                  struct str *out);

/* -- snapshots -- */

/* Keys of one kind that may be asked for in order: from the second neighbour on they are walked. */
struct near_keys {
    uint64_t last;
    struct key_walk *walk;
};
struct snap {
    struct account *account;
    struct view *view;
    struct arena arena; /* the head */
    const Thurn__AccountHead *head;
    struct entries *entries; /* of the mailbox that was read last */
    mailbox_id box_seen;     /* whose record was read last, and what it says of its entries */
    struct image_state box_state;
    struct near_keys emails, bodies;
    uint64_t place_body; /* 0: none */
    Thurn__BodyPlace place;
    struct buf body;      /* bytes of place_body, if it is small and has been read */
    struct arena scratch; /* of one call */
};
struct snap *snap_open_txn(struct account *a);
/* With its unknown fields, to be written again. */
MUST_CHECK struct err snap_email_whole(struct snap *s, email_id id, struct arena *a,
                                       Thurn__StoredEmail **out);

/* -- entries in columns (entry_block.c): pure functions on bytes -- */

struct block_ref {
    uint32_t base; /* in the block's key; never above `first`, and above the block before */
    uint32_t first, last, count;
    uint32_t listed; /* rows of its listing columns: at least `count` */
};
struct directory {
    uint32_t folded; /* living UIDs up to here are in blocks */
    struct block_ref *refs;
    size_t n;
};
void block_pack(struct buf *out, account_id a, mailbox_id m, const struct entry *e, size_t n);
/* E_CORRUPT unless everything in it is as block_pack writes it. `out` has room for ENTRY_BLOCK. */
MUST_CHECK struct err block_unpack(struct str packed, account_id a, mailbox_id m, struct entry *out,
                                   size_t *out_n);
/* The UIDs alone. */
MUST_CHECK struct err block_unpack_uids(struct str packed, account_id a, mailbox_id m,
                                        uint32_t *out, size_t *out_n);
/* Whether one of its rows is not \Seen: from its flags alone. */
MUST_CHECK struct err block_unpack_unseen(struct str packed, account_id a, mailbox_id m, bool *out);
void directory_pack(struct buf *out, account_id a, mailbox_id m, const struct directory *d);
/* refs are malloc'd. */
MUST_CHECK struct err directory_unpack(struct str packed, account_id a, mailbox_id m,
                                       struct directory *out);

/* An entry outside the blocks. */
struct over {
    struct entry e; /* of a tombstone only the UID */
    bool dead;
};
void over_pack(struct buf *out, account_id a, const struct over *o);
/* The UID comes from the key. */
MUST_CHECK struct err over_unpack(struct str packed, account_id a, msg_uid uid, struct over *out);

/* -- listing fields (listing_block.c): pure functions on bytes -- */

/* One field of one message. */
struct listing_row {
    struct str text; /* with NULs between its parts */
    bool partial;
    int64_t time;
    int16_t zone;
};
void listing_add(struct listing_column *l, const struct listing_row *row);
/* Its text is valid until the listing changes. */
struct listing_row listing_at(const struct listing_column *l, size_t i);
void listing_clear(struct listing_column *l);

/* A column: the rows of a listing with their UIDs, which ascend. */
void listing_pack(struct buf *out, account_id a, mailbox_id m, enum listing_field field,
                  const uint32_t *uids, const struct listing_column *l);
/* E_CORRUPT unless everything in it is as listing_pack writes it. `uids` has room for ENTRY_BLOCK.
 */
MUST_CHECK struct err listing_unpack(struct str packed, account_id a, mailbox_id m,
                                     enum listing_field field, uint32_t *uids,
                                     struct listing_column *out);
/* A message outside the blocks: all its fields one after the other. A value is the account, and
 * then the row. */
void listing_row_pack(struct buf *out, const struct listing_row fields[LISTING_FIELDS]);
MUST_CHECK struct err listing_row_unpack(struct str row, struct listing_row out[LISTING_FIELDS]);
MUST_CHECK struct err listing_value_unpack(struct str value, account_id a,
                                           struct listing_row out[LISTING_FIELDS]);

/* -- listing fields of messages (listing.c) -- */

/* The row of an email with this record. */
void listing_of_record(struct str record, struct buf *out);
/* Rows that a transaction has not written yet. */
struct listing_pending {
    bool (*find)(msg_uid uid, struct str *out_row, void *arg);
    void *arg;
};
/* As snap_listing, of `n_fields` fields from `first` on, each into its own column; `pending` may be
 * NULL and is asked for UIDs that the snapshot does not have. */
MUST_CHECK struct err listing_read(struct snap *s, struct entries *e, enum listing_field first,
                                   size_t n_fields, const struct entry *rows, size_t n,
                                   const struct listing_pending *pending,
                                   struct listing_column *out);

/* -- reading entries (entry.c) -- */

/* A listing column of one block. */
struct block_column {
    uint32_t base; /* of the block; 0: none */
    uint32_t uids[ENTRY_BLOCK];
    struct listing_column l;
};

struct entries {
    mailbox_id id;
    struct image_state state;
    struct image *image; /* or NULL; if there is one, it owns directory and overlay */
    struct directory dir;
    bool dir_loaded;
    struct over *over; /* all overlay values, if over_loaded */
    size_t n_over, cap_over;
    bool over_loaded;
    unsigned singles; /* look-ups of single entries so far */
    /* The block that was decoded last. */
    size_t block_at; /* index in dir; SIZE_MAX: none */
    const struct entry *block;
    struct entry *unpacked; /* what the image does not keep */
    size_t n_block;
    struct block_column *columns[LISTING_FIELDS]; /* read last, or NULL */
};
void entries_free(struct entries *e);
/* Ready for reading this mailbox, which must exist; E_NOTFOUND. */
MUST_CHECK struct err entries_of(struct snap *s, mailbox_id m, struct entries **out);
/* The same for a mailbox whose record has been read. */
struct entries *entries_known(struct snap *s, const Thurn__Mailbox *pb);
MUST_CHECK struct err entries_directory(struct snap *s, struct entries *e);
MUST_CHECK struct err entries_overlay(struct snap *s, struct entries *e);
MUST_CHECK struct err entries_block(struct snap *s, struct entries *e, size_t at);
/* The first block whose last UID is not below this one; e->dir.n if there is none. */
size_t entries_block_of(const struct entries *e, uint32_t uid);

/* Where an entry stands. */
struct found {
    struct entry e;
    bool in_block, in_overlay;
};
MUST_CHECK struct err entries_find(struct snap *s, mailbox_id m, msg_uid uid, struct found *out);

/* -- images: entries in memory (image.c) -- */

enum { IMAGE_SHARDS = 16 };

struct image_id {
    uint64_t account, mailbox;
};
/* Directory and decoded blocks: shared by the images of states between which nothing was folded. */
struct image_blocks {
    atomic_uint refs;
    struct directory dir;
    _Atomic(struct entry *)
        *decoded; /* by index in dir, as far as readers have come; may be NULL */
};
struct image {
    atomic_uint refs;
    struct image_id id;
    struct image_state state;
    struct image_blocks *blocks;
    struct over *over; /* changed by image_commit only, and only if nobody else has a reference */
    size_t n_over, cap_over;
    struct list link;
    size_t counted; /* bytes, in its shard */
};
struct images *images_new(void);
void images_free(struct images *all);
/* Takes over what directory and overlay point to. */
struct image *image_new(account_id account, mailbox_id mailbox, struct image_state state,
                        struct directory dir, struct over *over, size_t n_over);
void image_unref(struct image *im);
/* A reference to the image of this state; NULL if there is none. */
struct image *image_find(struct images *all, account_id account, mailbox_id mailbox,
                         struct image_state state);
/* Keeps it for others, unless there is a newer one. */
void image_offer(struct images *all, struct image *im);
void image_drop(struct images *all, account_id account, mailbox_id mailbox);
/* Brings the image up to date with what a transaction has committed. */
void image_commit(struct images *all, account_id account, mailbox_id mailbox,
                  struct image_state before, struct image_state after, const struct pending *p,
                  size_t n);
/* A block that has been decoded before; NULL if not. */
const struct entry *image_decoded(struct image *im, size_t at);
/* Whether decoded blocks may be kept. */
bool image_keeps_decoded(const struct image *im);
/* Keeps the rows, malloc'd, of a block; returns what to use. */
const struct entry *image_keep_decoded(struct image *im, size_t at, struct entry *rows);

/* -- transactions -- */

/* What a transaction does to one UID. */
struct pending {
    struct entry before, after;
    bool had_before, alive;
    bool in_block, in_overlay; /* where `before` stands */
    struct txn_email *email;   /* of an entry that this transaction adds */
};
struct txn_box {
    Thurn__Mailbox pb;
    bool exists;  /* before or by this transaction, and not deleted since */
    bool deleted; /* by this transaction */
    bool deep;    /* name or keywords have changed */
    bool folded;  /* entries have gone into blocks */
    bool changed;
    struct str packed;       /* for the account's memory, if deep */
    struct pending *pending; /* ascending UIDs */
    size_t n, cap;
};
struct txn_email {
    Thurn__StoredEmail *pb;
    struct str text;
    struct str listing; /* packed row; empty: not made yet */
    struct body *body;
    bool fresh;
};
struct txn {
    struct account *account;
    struct snap *snap; /* opened when first needed */
    struct arena arena;
    Thurn__AccountHead head;
    bool head_changed;              /* else no modseq is used up: maintenance */
    bool head_touched;              /* the head is written all the same */
    bool importing;                 /* salvage: no history, and the account's modseq stays */
    int64_t slot_begun, slot_ended; /* ends of slots of history; 0: none */
    int64_t slot_oldest;            /* if slot_ended: the next one */
    struct purge_at purge_at;
    struct txn_box **boxes;
    size_t n_boxes, cap_boxes;
    struct map emails;     /* by id: struct txn_email */
    uint32_t done_day;     /* 0: no request remembered */
    uint32_t done_expired; /* days before this one have been dropped; 0: none */
    struct buf scratch;
    struct commit commit;
    void (*done)(struct err result, void *arg);
    void *done_arg;
};
/* The transaction's copy of a mailbox; NULL if there is none. */
struct txn_box *txn_box(struct txn *t, mailbox_id id);
/* The same for one that can hold messages. E_NOTFOUND, E_DENIED. */
MUST_CHECK struct err txn_box_select(struct txn *t, mailbox_id id, struct txn_box **out);
struct txn_box *txn_box_new(struct txn *t, mailbox_id id);
/* The mailbox with this canonical name as the transaction sees it; {0}: none. */
mailbox_id txn_box_named(struct txn *t, struct str name);
MUST_CHECK struct err txn_email_get(struct txn *t, email_id id, struct txn_email **out);
/* Puts in an email as it was in another store, under its own id, not shown by anything yet. Copies
 * the record and the text; the body may be empty. E_LIMIT. */
MUST_CHECK struct err txn_email_import(struct txn *t, const Thurn__StoredEmail *pb, struct str text,
                                       struct body *body);
/* One dead entry that showed it is gone for good; with the last of them the email goes, its text
 * and its bodies. E_CORRUPT. */
MUST_CHECK struct err txn_email_release(struct txn *t, email_id id);
/* The packed listing fields of an email. E_LIMIT. */
MUST_CHECK struct err txn_email_listing(struct txn *t, struct txn_email *e, struct str *out);
void txn_emails_write(struct txn *t);
void txn_changes_write(struct txn *t, struct txn_box *b);
/* Puts pending changes into the overlay, or into blocks if the overlay would become too long. */
MUST_CHECK struct err txn_entries_write(struct txn *t, struct txn_box *b);
/* Moves up to `max_blocks` blocks' worth of overlay, with the pending changes, into blocks. */
MUST_CHECK struct err txn_fold(struct txn *t, struct txn_box *b, size_t max_blocks);

/* -- mailbox names (mailbox.c) -- */

/* E_INVALID unless it is a name as store.h describes; INBOX as first level in capitals. */
MUST_CHECK struct err mailbox_name_canonical(struct str name, struct arena *a, struct str *out);
/* Subscribes to a name in its canonical form. */
void subscription_put(struct batch *b, account_id a, struct str name);
void mailbox_name_put(struct batch *b, struct buf *scratch, account_id a, struct str name,
                      mailbox_id id);
MUST_CHECK struct err mailbox_name_get(struct view *v, account_id a, struct str name,
                                       mailbox_id *out);

/* -- history (history.c): pure functions on bytes -- */

/* One line of the change log. `before` is whole for EXPUNGED, has flags, keywords and modseq for
 * FLAGS, nothing for ADDED. */
struct log_line {
    unsigned kind;
    struct entry before; /* its UID always */
};
void changes_begin(struct buf *out, account_id a, size_t n_lines);
void changes_line(struct buf *out, uint32_t *last_uid, const struct log_line *l);
/* Goes through a value; `each` returns false to stop. E_CORRUPT. */
MUST_CHECK struct err changes_read(struct str packed, account_id a,
                                   bool (*each)(const struct log_line *l, void *arg), void *arg);

/* -- the end of history (purge.c) -- */

int64_t store_now(const struct store *s);
/* The ends of the oldest slots, at most `max`. */
MUST_CHECK struct err slots_oldest(struct view *v, account_id a, struct slot *out, size_t max,
                                   size_t *out_n);
bool account_history_ended(const struct account *a);
/* Begins a slot if the transaction's changes are behind the end of the newest. */
void txn_slot(struct txn *t);
/* A bounded piece of what has to go. */
MUST_CHECK struct err txn_purge(struct txn *t);

/* Budget of arenas for what the model itself has written. */
enum { ARENA_OWN = 1 << 30 };

#endif
