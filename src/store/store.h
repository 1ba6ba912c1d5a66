/*
 * store: mail on disk, safe before anyone says so.
 *
 * An append-only log of checksummed groups is the truth; an index in RocksDB is made from it and
 * may be behind it by what a restart replays. An account is the unit of ordering and atomicity:
 * one transaction changes one account, all of it or nothing.
 *
 * Threads: everything here may be called from any thread, with one rule that the caller keeps
 * (the backend's run queue per account): between txn_begin and the end of the commit there is
 * no other transaction on the same account. Readers use snapshots, at any time, without a lock.
 *
 * Calls block for disk reads; only txn_commit waits for a sync.
 */
#ifndef THURN_STORE_H
#define THURN_STORE_H

#include "base/base.h"
#include "store.pb-c.h"

struct store;
struct account;
struct snap;
struct txn;
struct store_disk; /* system calls of the log, replaceable by tests: store/disk.h */

static const account_id ACCOUNT_SYSTEM = {1}; /* holds the directory, no mailboxes */

/* ------------------------------------------------------------------------------------ the store */

struct store_options {
    struct str dir;                /* the store's directory; must exist */
    uint64_t segment_size;         /* bytes after which a new segment is begun; 0: 64 MB */
    uint64_t cache_size;           /* memory for blocks of the index; 0: 64 MB */
    const struct store_disk *disk; /* NULL: the real one */
    uint32_t history;              /* seconds that what is gone is kept; 0: 28 days */
    uint64_t rewrite_rate;  /* bytes per second that giving back the space of mostly dead segments
                               may copy; 0: it is not given back */
    int64_t (*clock)(void); /* seconds since 1970; NULL: the real one */
    /* Called after each commit, on the thread that committed: this account has changed. May be
     * NULL. It must not block. */
    void (*changed)(account_id account, modseq at, void *arg);
    void *changed_arg;
    /* Called by store_open after each group of the log that it replays, which may be many. May be
     * NULL. */
    void (*opening)(void *arg);
    void *opening_arg;
};
/* Opens, or begins in an empty directory; locks it; replays the log. E_EXISTS: in use by another
 * process; E_UNSUPPORTED: of another format, or with features that this release does not know
 * (nothing was changed); E_DENIED: another owner; E_CORRUPT, E_IO. A sentence for the operator,
 * with the remedy, is added to `explain` on failure. */
MUST_CHECK struct err store_open(const struct store_options *o, struct store **out,
                                 struct buf *explain);
/* Waits for what is being committed, flushes the index, closes. No snapshot, transaction or
 * account may be open. */
void store_close(struct store *s);

struct store_stats {
    uint64_t groups, records, synced_bytes, replayed_groups, segments;
    uint64_t freed_bytes; /* of segments that have been rewritten, with what was copied */
};
void store_stats(struct store *s, struct store_stats *out);

/* From now on nobody waits for what the calling thread commits: it goes to the disk behind what
 * others commit meanwhile, little at a time, and by the committer's thread only. For threads of a
 * low priority, which with their own would commit what others wait for. */
void store_commit_in_background(void);

/* How long expunged messages, deleted mailboxes and the change log are kept, in seconds. */
void store_set_history(struct store *s, uint32_t seconds);
/* Accounts of which history is to end, whether they are open or not: found in an index by time,
 * without looking at those that have nothing due. account_maintain then does it. Begins behind `at`
 * and moves it; at the end of what is due it goes back to {0}. Some may be named twice. */
struct history_due {
    int64_t end;
    account_id account;
};
MUST_CHECK struct err store_history_due(struct store *s, struct history_due *at, account_id *out,
                                        size_t max, size_t *out_n);

/* One finding of a check: what is wrong, where. `account` 0: the store itself. */
typedef void (*store_finding)(account_id account, struct str what, void *arg);
/* Verifies every invariant of a store that is not open and changes nothing: log groups and
 * checksums, bodies present and intact, index against log, counters against entries, blocks
 * against their directory, change log, references, format features. `progress` may be NULL and is
 * called with bytes done and in total. Returns OK if it could look at everything, whatever it
 * found. */
MUST_CHECK struct err store_check(struct str dir, store_finding found,
                                  void (*progress)(uint64_t done, uint64_t total, void *arg),
                                  void *arg, struct buf *explain);

/* A message that could not be recovered. Empty and 0: not known. */
struct salvage_lost {
    account_id account;
    struct str address, mailbox; /* of the account */
    msg_uid uid, last_uid;       /* more than one, if a whole piece of a mailbox is lost */
    struct str message_id, subject, date, why;
};
struct salvage_report {
    void (*damaged)(struct str what, void *arg);                /* in the store itself */
    void (*lost)(const struct salvage_lost *l, void *arg);      /* a message or some */
    void (*progress)(uint64_t done, uint64_t total, void *arg); /* may be NULL */
    void *arg;
};
struct salvage_counts {
    uint64_t accounts, messages; /* in the new store */
    uint64_t found;              /* of them in a mailbox "Recovered" */
    uint64_t lost;
};
/* Makes a new store in `to` (which must not be there, or be empty) of what can be read of a damaged
 * one that is not in use and is not changed. Where its index can be read, that decides: mailboxes,
 * UIDs, UIDVALIDITY, flags, modseqs and the directory are kept exactly; history is left behind.
 * Where it cannot, it is made from what is there of the log. Messages of which only the bytes are
 * left come into a mailbox "Recovered" of their account, unless it is known that they were
 * expunged. E_NOTFOUND, E_EXISTS, E_FULL, E_IO with a sentence in `explain` if it could not work.
 */
MUST_CHECK struct err store_salvage(struct str from, struct str to,
                                    const struct salvage_report *report, struct salvage_counts *out,
                                    struct buf *explain);

/* --------------------------------------------------------------------------------------- accounts
 */

/* A mailbox that a new account begins with: a name without levels, and what it is for (bits of
 * Mailbox.special_use). */
struct new_mailbox {
    struct str name;
    uint32_t special_use;
};
/* Begins an account with an INBOX and these `n` mailboxes, which are subscribed to: all in one
 * group of the log, so that a crash leaves all or nothing. The id must be new (E_EXISTS), and the
 * names good and different (E_INVALID, E_EXISTS). The system account has no mailboxes. Blocks until
 * it is durable. */
MUST_CHECK struct err store_account_create(struct store *s, account_id id,
                                           const struct new_mailbox *mailboxes, size_t n);
/* Removes it with all it holds, durably. No handle, snapshot or transaction may be open on it. */
MUST_CHECK struct err store_account_erase(struct store *s, account_id id);
/* A handle, shared by all who open the same account; E_NOTFOUND. Give back with account_close. */
MUST_CHECK struct err account_open(struct store *s, account_id id, struct account **out);
void account_close(struct account *a);
account_id account_get_id(const struct account *a);
/* The modseq of the last committed change: cheap, no lock. */
modseq account_modseq(const struct account *a);
/* Whether account_maintain has something to do (entries to fold into blocks, old records of
 * repeated requests, history that has ended): cheap. */
bool account_wants_maintenance(const struct account *a);
/* Does a bounded piece of it, as a transaction of its own (same rule: no other one meanwhile). */
MUST_CHECK struct err account_maintain(struct account *a);

/* -------------------------------------------------------------------------------------- reading */

/* What the account is at this moment, unchanged until snap_close. Used by one thread at a time. */
MUST_CHECK struct err snap_open(struct account *a, struct snap **out);
void snap_close(struct snap *s);
modseq snap_modseq(const struct snap *s);
const Thurn__AccountHead *snap_head(const struct snap *s);
/* All changes later than this one are in the change log; it and those before may have been let go
 * when their time in history had passed. */
modseq snap_history_from(const struct snap *s);

/* Mailboxes; E_NOTFOUND. What is returned lives in the arena. */
MUST_CHECK struct err snap_mailbox(struct snap *s, mailbox_id id, struct arena *a,
                                   Thurn__Mailbox **out);
/* "INBOX" in any case is INBOX (RFC 3501 section 5.1). */
MUST_CHECK struct err snap_mailbox_named(struct snap *s, struct str name, struct arena *a,
                                         Thurn__Mailbox **out);
/* All of them in the byte order of their names. */
MUST_CHECK struct err snap_mailboxes(struct snap *s, struct arena *a, Thurn__Mailbox ***out,
                                     size_t *out_n);
/* Names subscribed to, in byte order. */
MUST_CHECK struct err snap_subscriptions(struct snap *s, struct arena *a, struct str **out,
                                         size_t *out_n);

/* A message in a mailbox. */
struct entry {
    msg_uid uid;
    uint32_t flags;    /* bits of Thurn__SystemFlag without \Recent: 1 Seen 2 Answered 4 Flagged
                          8 Deleted 16 Draft */
    uint64_t keywords; /* bit i: keyword i of the mailbox */
    modseq modseq;
    int64_t internal_date; /* seconds since 1970 */
    uint64_t size;         /* bytes of the content: RFC822.SIZE */
    email_id email;
};
enum { ENTRY_BLOCK = 512 };
/* Up to `max` living entries with from <= UID <= to, ascending. `out_n` < max: there are no more;
 * else go on from the last UID + 1. */
MUST_CHECK struct err snap_entries(struct snap *s, mailbox_id m, msg_uid from, msg_uid to,
                                   struct entry *out, size_t max, size_t *out_n);
/* E_NOTFOUND if there is none (any more). */
MUST_CHECK struct err snap_entry(struct snap *s, mailbox_id m, msg_uid uid, struct entry *out);
/* All living UIDs as runs of consecutive numbers, ascending, in the arena. Much cheaper than the
 * entries: what a session's view is made from. */
struct uid_run {
    uint32_t first, count;
};
MUST_CHECK struct err snap_uids(struct snap *s, mailbox_id m, msg_uid from, struct arena *a,
                                struct uid_run **out, size_t *out_n);

/* What header SEARCH, SORT and listings need of a message stands in columns beside the entries, one
 * for each field, so that no email need be read. */
enum listing_field {
    LISTING_FROM, /* "Name <local@domain>", or a group's name; NUL between addresses */
    LISTING_TO,
    LISTING_CC,
    LISTING_BCC,
    LISTING_SUBJECT,    /* decoded */
    LISTING_MESSAGE_ID, /* the field's whole value without the space before it */
    LISTING_SENT,       /* the Date field: the only one that is no text */
};
enum { LISTING_FIELDS = LISTING_SENT + 1, LISTING_TEXT_MAX = 1000 };
/* One field of up to ENTRY_BLOCK messages. Begins as {0}, may be used again, ends with
 * listing_free.
 */
struct listing_column {
    size_t n;
    struct buf text;           /* rows one after the other, each with a NUL behind it */
    uint32_t end[ENTRY_BLOCK]; /* where a row ends, its NUL included */
    /* The row is not the whole value, but a beginning of it (perhaps empty): what else there is can
     * be read from the email's record only. */
    bool partial[ENTRY_BLOCK];
    int64_t time[ENTRY_BLOCK]; /* of LISTING_SENT: seconds since 1970; 0: no date */
    int16_t zone[ENTRY_BLOCK]; /* minutes east of UTC */
};
void listing_free(struct listing_column *l);
/* The field of the entries e[0] to e[n - 1], n <= ENTRY_BLOCK, which this snapshot has shown of
 * this mailbox, in the order of their UIDs. */
MUST_CHECK struct err snap_listing(struct snap *s, mailbox_id m, enum listing_field field,
                                   const struct entry *e, size_t n, struct listing_column *out);

/* The first living entry that is not \Seen; {0} if all are. Where a block of entries has none it is
 * passed over without being unpacked. */
MUST_CHECK struct err snap_first_unseen(struct snap *s, mailbox_id m, msg_uid *out);

/* What happened in a mailbox after a modseq, one line per UID with its latest modseq, in the
 * order of modseqs: from the change log. */
struct change {
    modseq modseq;
    msg_uid uid;
    enum { CHANGE_ADDED, CHANGE_FLAGS, CHANGE_EXPUNGED } kind;
};
/* Up to `max` of them; `out_n` < max: no more; else go on after the last modseq. The changes of one
 * modseq are never split: if the first `max` end in the midst of one it is E_LIMIT; ask with a
 * larger `max`, or compare the entries instead. E_LIMIT also, and then whatever `max` is, if there
 * were changes and `since` is before snap_history_from: only the entries can tell. */
MUST_CHECK struct err snap_changes(struct snap *s, mailbox_id m, modseq since, struct change *out,
                                   size_t max, size_t *out_n);

/* Calls `each` for what was expunged after a modseq, in the order in which it was: the entry as it
 * was before, and the modseq at which it went. Its email is there as long as this is. */
MUST_CHECK struct err snap_expunged(struct snap *s, mailbox_id m, modseq since,
                                    void (*each)(const struct entry *e, modseq at, void *arg),
                                    void *arg);

/* The email of an entry, in the arena, its record still packed. Emails that arrived one after the
 * other are found quickest in that order. */
MUST_CHECK struct err snap_email(struct snap *s, email_id id, struct arena *a,
                                 Thurn__StoredEmail **out);
/* The decoded text that the scanner made; empty if it made none. */
MUST_CHECK struct err snap_email_text(struct snap *s, email_id id, struct arena *a,
                                      struct str *out);
/* Bytes [offset, offset + n) of the content, all of which must exist, into `out`. E_CORRUPT if what
 * is stored is damaged: bodies up to 16 KB are compared with their checksum whenever a byte of them
 * is read, larger ones when they are read whole. */
MUST_CHECK struct err snap_content(struct snap *s, const Thurn__StoredEmail *e, uint64_t offset,
                                   uint8_t *out, size_t n);
/* The same for content that is read from its beginning to its end, piece by piece: if a large body
 * is damaged the last piece fails. The proof goes from call to call, also to another snapshot; it
 * begins as {0}. */
struct content_proof {
    uint64_t body, at; /* what is being read, and how far; 0: nothing */
    struct sha256_run run;
};
void content_proof_free(struct content_proof *p);
MUST_CHECK struct err snap_content_next(struct snap *s, const Thurn__StoredEmail *e,
                                        uint64_t offset, uint8_t *out, size_t n,
                                        struct content_proof *proof);

/* Small values under keys of the caller's choice, for the directory. Keys: 1 to 1024 bytes without
 * NUL. Scanning is in byte order; `each` returns false to stop. */
MUST_CHECK struct err snap_get(struct snap *s, struct str key, struct arena *a, struct str *out);
MUST_CHECK struct err snap_scan(struct snap *s, struct str prefix, struct str after,
                                bool (*each)(struct str key, struct str value, void *arg),
                                void *arg);
/* The answer of a request done before; E_NOTFOUND. */
MUST_CHECK struct err snap_done(struct snap *s, change_id id, struct arena *a, struct str *out);

/* ------------------------------------------------------------------------------------ writing */

/* Begins; nothing is written before commit. All changes of a transaction get one modseq. After
 * E_LIMIT, E_IO or E_CORRUPT from one of the calls below it may hold half of what was asked for and
 * must be aborted; after other errors it is as before the call. */
MUST_CHECK struct err txn_begin(struct account *a, struct txn **out);
/* The state before the transaction, for reading. Belongs to the transaction. */
struct snap *txn_snap(struct txn *t);
/* The modseq that its changes get. */
modseq txn_modseq(const struct txn *t);
void txn_abort(struct txn *t);
/* Makes it durable, or fails and changes nothing; ends the transaction either way. Blocks. E_FULL:
 * the disk has no room for mail; transactions that add none are taken for longer, so that users can
 * delete. */
MUST_CHECK struct err txn_commit(struct txn *t);
/* The same without waiting: done(result, arg) is called on the thread that committed (or in this
 * call, if the transaction fails before it gets there), when the transaction has ended already. It
 * must not block. */
void txn_commit_async(struct txn *t, void (*done)(struct err result, void *arg), void *arg);

/* Names: UTF-8, 1 to 1000 bytes, no control characters, levels by '/', no empty level; the caller
 * has checked more if its protocol wants it. Missing parents are made as no_select ones.
 * E_EXISTS, E_INVALID, E_LIMIT. */
MUST_CHECK struct err txn_mailbox_create(struct txn *t, struct str name, uint32_t special_use,
                                         mailbox_id *out);
/* The mailbox of this name as the transaction sees it, from memory. E_NOTFOUND. */
MUST_CHECK struct err txn_mailbox_find(struct txn *t, struct str name, mailbox_id *out);
/* With its messages. One that has children stays as no_select, unless it is that already
 * (E_CONFLICT; RFC 3501 section 6.3.4). INBOX: E_DENIED. */
MUST_CHECK struct err txn_mailbox_delete(struct txn *t, mailbox_id id);
/* Takes children along. Of INBOX: moves its messages to a new mailbox of that name (RFC 3501
 * section 6.3.5). */
MUST_CHECK struct err txn_mailbox_rename(struct txn *t, mailbox_id id, struct str to);
MUST_CHECK struct err txn_subscribe(struct txn *t, struct str name, bool on);
/* The bit of a keyword of the mailbox, given out if it is new; E_LIMIT after 64. Keywords are
 * case-insensitive (RFC 3501 section 2.3.2) and keep the case in which they came first. */
MUST_CHECK struct err txn_keyword(struct txn *t, mailbox_id id, struct str name, unsigned *out_bit);

/* Bytes of a message, shared by the transactions that deliver it to several accounts. The bytes
 * must stay until the last of them has ended. Hashes them. */
struct body;
struct body *body_new(struct str bytes);
void body_unref(struct body *b); /* transactions hold references of their own */

struct new_email {
    struct str head;   /* generated header fields before the body; may be empty */
    struct body *body; /* the message as it came */
    struct str record; /* packed Email, checked by email_record_check */
    struct str text;   /* decoded text for SEARCH; may be empty */
    struct str why;    /* "lmtp", "append" */
    struct str trace;
};
MUST_CHECK struct err txn_email_add(struct txn *t, const struct new_email *e, email_id *out);
/* Puts an email (of this transaction, or one that exists: COPY) into a mailbox. */
MUST_CHECK struct err txn_entry_add(struct txn *t, mailbox_id m, email_id e, uint32_t flags,
                                    uint64_t keywords, int64_t internal_date, msg_uid *out);
/* Sets flags and keywords of a living entry; E_NOTFOUND. */
MUST_CHECK struct err txn_entry_flags(struct txn *t, mailbox_id m, msg_uid uid, uint32_t flags,
                                      uint64_t keywords);
/* It stays as a dead entry until its time in history has passed. E_NOTFOUND. */
MUST_CHECK struct err txn_entry_expunge(struct txn *t, mailbox_id m, msg_uid uid);

MUST_CHECK struct err txn_put(struct txn *t, struct str key, struct str value);
MUST_CHECK struct err txn_delete(struct txn *t, struct str key);
/* Remembers that the request has been done. */
MUST_CHECK struct err txn_done(struct txn *t, change_id id, struct str answer);

/* UIDs below the returned one have been shown to a session before; those from it on are \Recent
 * for the caller, and for nobody later. Kept in memory (RFC 3501 section 2.3.2 allows that). */
msg_uid account_claim_recent(struct account *a, mailbox_id m, msg_uid uidnext);
/* The same without claiming, for EXAMINE and STATUS. */
msg_uid account_first_recent(struct account *a, mailbox_id m);

/* ------------------------------------------------------------------ records that come from outside
 */

/* Whether a scanner's packed record is one that may be stored for a message of `size` bytes:
 * well-formed, parents before their children and depths in step, ranges nested and inside, text
 * ranges inside `text_size`. E_INVALID. */
MUST_CHECK struct err email_record_check(struct str record, uint64_t size, uint64_t text_size);
/* A record for a message that no scanner could parse: one text part, no fields. */
void email_record_flat(uint64_t size, struct buf *out);

#endif
