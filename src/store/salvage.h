/* Salvage, in pieces: reading what is left of a store, and making a new one of it. Private to it.
 */
#ifndef THURN_STORE_SALVAGE_H
#define THURN_STORE_SALVAGE_H

#include "store/engine_private.h"
#include "store/model.h"

/* A body that stands in the log, seen while it was read: once for each account that got it. */
struct found_body {
    uint64_t account, segment, offset, length;
    uint8_t hash[SHA256_LEN];
    bool dropped; /* a change by which the account gave it up was seen */
};
struct body_marks {
    struct body_mark *v;
    size_t n, cap;
};

/* A damaged store, with an index made of what can be read. */
struct salvage_source {
    struct engine *e;          /* for views and bodies; nothing in its directory is changed */
    struct store store;        /* around it, for handles of accounts */
    bool rebuilt;              /* there was no index: made from the log */
    bool index_damaged;        /* some blocks of it cannot be read */
    bool log_damaged;          /* some groups are missing */
    struct found_body *bodies; /* all of the log, if the index may not know all; by place */
    size_t n_bodies, cap_bodies;
    struct body_marks owners, dropped; /* as long as the log is read */
    const struct salvage_report *report;
};
/* E_EXISTS: in use; E_NOTFOUND: nothing there that could be a store. */
MUST_CHECK struct err salvage_open(struct salvage_source *s, struct str dir,
                                   const struct salvage_report *report, struct buf *explain);
void salvage_close(struct salvage_source *s);
/* Something that is damaged, not a message of its own. */
PRINTF(2, 3) void salvage_say(const struct salvage_report *r, const char *fmt, ...);

/* One account on its way into the new store. */
struct salvage {
    struct salvage_source *src;
    struct store *to;
    const struct salvage_report *report;
    struct salvage_counts *counts;
    struct map addresses; /* of accounts: struct salvage_name, by id */
    account_id account;
    struct account reading; /* of the damaged store */
    struct snap *snap;
    struct account *handle; /* of the new one */
    bool damaged;           /* something of this account could not be read */
    struct map emails;      /* put into the new store, or known to be expunged: by id */
    struct map lost;        /* shown by an entry, but not readable: by id */
    struct map places;      /* of bodies that somebody has or had: by segment and offset */
    struct map hashes;      /* of bodies that are in the new account */
};
/* A key for a set of places. */
struct salvage_place {
    uint64_t segment, offset;
};
void salvage_note(struct map *set, const void *p, size_t n);
bool salvage_has(const struct map *set, const void *p, size_t n);
MUST_CHECK struct err salvage_begin(struct salvage *s, struct txn **out);

/* -- salvage_mailbox.c -- */

/* Messages of a mailbox, of which the record is in the new store already. */
MUST_CHECK struct err salvage_mailbox(struct salvage *s, const Thurn__Mailbox *pb);
/* What no entry shows, though it was not expunged as far as is known. */
MUST_CHECK struct err salvage_unshown(struct salvage *s);

/* -- salvage_bodies.c -- */

/* In the order of the log. */
void salvage_body_seen(struct salvage_source *s, uint64_t segment, const struct record *rec);
void salvage_batch_seen(struct salvage_source *s, struct str ops);
/* Of an account's batch, bytes that are not all right. */
void salvage_batch_damaged(struct salvage_source *s, uint64_t account, struct str bytes);
/* The log has been read: whose all bodies are, and were. */
void salvage_bodies_settle(struct salvage_source *s);

/* -- salvage_log.c -- */

/* Goes through the log as far as it can be read; brings what is later than `applied` into the
 * index, and notes bodies if `collect`. */
MUST_CHECK struct err salvage_log_read(struct salvage_source *s, const struct segments *all,
                                       const struct applied *applied, bool collect);

#endif
