/*
 * layout: every key of the model, and what stands under it. Private to the store.
 *
 * A key is `A`, the account (64 bits), a letter for the kind, and the rest as in the table.
 * Integers are written as engine.h says, so that keys are in the order of their numbers and hold
 * no NUL. All keys of an account stand together; so do those of a mailbox within a kind.
 *
 *  kind  rest                      value
 *  b     mailbox, base             a block: up to 512 entries in columns (entry_block.c)
 *  c     mailbox, modseq, chunk    change log: what one change did and replaced (history.c)
 *  d     mailbox                   block directory: bases, UID ranges, counts (entry_block.c)
 *  e     email                     StoredEmail
 *  f     the caller's key          account, the caller's value
 *  g     mailbox                   Mailbox as it was when it was deleted; its blocks, overlay and
 *                                  change log stay for history
 *  h                               AccountHead
 *  i     end (64-bit)              a slot of history that is still kept: account, first modseq
 *  l     mailbox, column, base     a listing column of a block (listing_block.c)
 *  l     mailbox, 0, UID           the listing fields of a message that no block has yet
 *  m     mailbox                   Mailbox
 *  n     name                      account, mailbox: the index of names
 *  o     mailbox, generation, UID  overlay: an entry that is new or changed, or a tombstone
 *  p     body                      BodyPlace
 *  q     day, id (two 64-bit)      Done; days since 1970, so that old ones go as a range
 *  s     name                      Subscription
 *  t     email                     account, codec, decoded text (text.c)
 *
 * Beside the accounts, under DUE_SPACE: end of a slot (64-bit), account (64-bit); without value.
 * Which accounts have history that is to end is found there.
 *
 * "account" in a value that is no protobuf message is a varint at its beginning. Every value names
 * its account and is checked against its key's when it is read.
 *
 * Entries. The overlay is what stands under the mailbox's overlay_generation. Each folding
 * begins a new one, so that readers do not have to pass over keys that the index has deleted but
 * not yet forgotten.
 *
 * A UID up to the directory's `folded` is in a block if it is alive; an overlay value of
 * such a UID replaces it (or, as a tombstone, removes it). A living UID above is in the overlay
 * only. An expunged entry lives on, whole, as the before-image in the change log: that line is
 * the dead entry.
 *
 * History. The first change behind the end of a slot begins the next one. When the end of a slot is
 * longer ago than history is kept, everything that changed below the first modseq of the next slot
 * (if there is none: up to the head's) is let go in pieces, and then the slot's own keys.
 *
 * Listing. A block's columns have its base. They may have rows that the block has no more: they are
 * written anew only when messages come in, or when most of their rows are of no use.
 */
#ifndef THURN_STORE_LAYOUT_H
#define THURN_STORE_LAYOUT_H

#include "store/engine.h"

enum key_kind {
    KEY_BLOCK = 'b',
    KEY_CHANGES = 'c',
    KEY_DIRECTORY = 'd',
    KEY_EMAIL = 'e',
    KEY_FREE = 'f',
    KEY_DEAD_MAILBOX = 'g',
    KEY_HEAD = 'h',
    KEY_SLOT = 'i',
    KEY_LISTING = 'l',
    KEY_MAILBOX = 'm',
    KEY_NAME = 'n',
    KEY_OVERLAY = 'o',
    KEY_BODY = 'p',
    KEY_DONE = 'q',
    KEY_SUBSCRIPTION = 's',
    KEY_TEXT = 't',
};
enum { KEY_SPACE = 'A', DUE_SPACE = 'D' };

enum {
    KEYWORDS_MAX = 64,
    MAILBOXES_MAX = 10000,   /* of one account */
    MAILBOX_NAME_MAX = 1000, /* bytes */
    FREE_KEY_MAX = 1024,
    OVERLAY_FOLD = 512,  /* entries outside the blocks from which on folding is worth it */
    LISTING_FOLD = 256,  /* new messages from which on it is, as their listing fields stand apart */
    OVERLAY_MAX = 4096,  /* beyond this a commit folds by itself, so that readers stay quick */
    FOLD_BLOCKS = 64,    /* old blocks that one piece of maintenance rewrites at most */
    CHANGES_CHUNK = 1024 /* lines in one value of the change log */
};

/* Bits of an entry's flags: Thurn__SystemFlag without \Recent. */
enum { FLAG_SEEN = 1, FLAG_DELETED = 8, FLAGS_ALL = 31 };

/* The beginning of all keys of an account, of all of one kind, of one mailbox within a kind. */
static inline void key_account(struct key *k, account_id a)
{
    k->n = 0;
    key_byte(k, KEY_SPACE);
    key_u64(k, a.v);
}
static inline void key_kind(struct key *k, account_id a, enum key_kind kind)
{
    key_account(k, a);
    key_byte(k, (uint8_t)kind);
}
static inline void key_of_u32(struct key *k, account_id a, enum key_kind kind, uint32_t id)
{
    key_kind(k, a, kind);
    key_u32(k, id);
}
static inline void key_of_u64(struct key *k, account_id a, enum key_kind kind, uint64_t id)
{
    key_kind(k, a, kind);
    key_u64(k, id);
}
static inline void key_of_block(struct key *k, account_id a, mailbox_id m, uint32_t base)
{
    key_of_u32(k, a, KEY_BLOCK, m.v);
    key_u32(k, base);
}
/* A column: its field + 1; 0: rows outside the blocks, under their UIDs. */
static inline void key_of_column(struct key *k, account_id a, mailbox_id m, uint32_t column)
{
    key_of_u32(k, a, KEY_LISTING, m.v);
    key_u32(k, column);
}
static inline void key_of_listing(struct key *k, account_id a, mailbox_id m, uint32_t column,
                                  uint32_t base)
{
    key_of_column(k, a, m, column);
    key_u32(k, base);
}
/* The beginning of all keys of an overlay. */
static inline void key_of_overlay(struct key *k, account_id a, mailbox_id m, uint32_t generation)
{
    key_of_u32(k, a, KEY_OVERLAY, m.v);
    key_u32(k, generation);
}
static inline void key_of_over(struct key *k, account_id a, mailbox_id m, uint32_t generation,
                               msg_uid uid)
{
    key_of_overlay(k, a, m, generation);
    key_u32(k, uid.v);
}
static inline void key_of_bytes(struct key *k, account_id a, enum key_kind kind, struct str rest)
{
    key_kind(k, a, kind);
    key_bytes(k, rest);
}
static inline void key_of_changes(struct key *k, account_id a, mailbox_id m, modseq at,
                                  uint32_t chunk)
{
    key_of_u32(k, a, KEY_CHANGES, m.v);
    key_u64(k, at.v);
    key_u32(k, chunk);
}
static inline void key_of_done(struct key *k, account_id a, uint32_t day, change_id id)
{
    key_of_u32(k, a, KEY_DONE, day);
    for (unsigned half = 0; half < 2; half++) {
        uint64_t v = 0;
        for (unsigned i = 0; i < 8; i++)
            v = v << 8 | id.b[half * 8 + i];
        key_u64(k, v);
    }
}
/* Slots of history. Times before 1970 do not occur. */
static inline void key_of_slot(struct key *k, account_id a, int64_t end)
{
    key_of_u64(k, a, KEY_SLOT, (uint64_t)end);
}
static inline void key_of_due(struct key *k, int64_t end, account_id a)
{
    k->n = 0;
    key_byte(k, DUE_SPACE);
    key_u64(k, (uint64_t)end);
    key_u64(k, a.v);
}
/* Turns a key into one that is above all keys that begin with it, and below all others that are
 * above it. */
static inline void key_end(struct key *k)
{
    while (k->n && k->b[k->n - 1] == 0xFF)
        k->n--;
    check(k->n > 0);
    k->b[k->n - 1]++;
}

#endif
