/* The check of a store, in pieces. Private to the check. */
#ifndef THURN_STORE_CHECK_H
#define THURN_STORE_CHECK_H

#include "store/model.h"

/* An email record, and how often entries were seen that show it. */
struct check_email {
    uint64_t id, size;
    uint64_t listing; /* check_listing_hash of its record */
    uint32_t refs, seen;
};
/* A body that emails need, up to this byte. */
struct check_body {
    uint64_t id, end;
    bool placed;
};
struct check_box {
    Thurn__Mailbox *pb;
    bool dead;  /* deleted, kept for history */
    bool named; /* the index of names leads to it */
};

struct checker {
    struct engine *engine;
    struct view *view;
    store_finding found;
    void *arg;
    /* The account that is being looked at. */
    account_id account;
    struct arena arena; /* records of mailboxes */
    Thurn__AccountHead *head;
    struct check_box *boxes;
    size_t n_boxes, cap_boxes;
    uint64_t oldest;            /* modseq of the first change that history has; UINT64_MAX: none */
    size_t last_box;            /* that was asked for: keys of one mailbox stand together */
    struct check_email *emails; /* ascending ids */
    size_t n_emails, cap_emails;
    struct check_body *bodies; /* ascending ids */
    size_t n_bodies, cap_bodies;
};

void check_say(const struct checker *c, const char *fmt, ...) PRINTF(2, 3);
/* Calls `each` for the keys of a kind of the account; `rest` is the key behind the kind. */
typedef void (*check_each)(struct checker *c, struct str rest, struct str value, void *arg);
MUST_CHECK struct err check_kind(struct checker *c, enum key_kind kind, check_each each, void *arg);
/* The same within a mailbox; `rest` is behind the mailbox. */
MUST_CHECK struct err check_mailbox_kind(struct checker *c, enum key_kind kind, mailbox_id m,
                                         check_each each, void *arg);
/* Unpacks a record of this account; says what is wrong with `what` and returns false. */
bool check_unpack(const struct checker *c, const ProtobufCMessageDescriptor *type, struct str value,
                  struct arena *a, const char *what, void *out_message);
struct check_box *check_box_of(struct checker *c, uint32_t id);
struct check_email *check_email_of(const struct checker *c, uint64_t id);
/* Makes room for one more element of an array. */
void *check_grow(void *array, size_t n, size_t *cap, size_t size);

MUST_CHECK struct err check_slots(struct checker *c); /* check_history.c */
/* The index of what is to end; its keys lie beside the accounts. */
MUST_CHECK struct err check_due(struct checker *c);
MUST_CHECK struct err check_emails(struct checker *c); /* check_email.c */
void check_email_refs(const struct checker *c);        /* after the mailboxes */
MUST_CHECK struct err check_mailbox(struct checker *c, const struct check_box *box);

/* -- listing fields of a mailbox (check_listing.c) -- */

struct check_listed {
    uint32_t uid;
    uint32_t fields; /* seen so far */
    uint64_t hash;
    bool in_block, used;
};
struct check_listing {
    mailbox_id mailbox;
    const struct directory *dir;
    struct check_listed
        *v; /* first the rows outside the blocks, then the columns'; ascending UIDs */
    size_t n, cap;
    size_t rows, at; /* how many are outside the blocks; the next row of the column */
    uint32_t field;
};
/* What the columns should say of an email with this record. */
uint64_t check_listing_hash(struct str record);
/* Takes in a key of KEY_LISTING, in their order; what is wrong with it, or NULL. */
const char *check_listing_value(struct check_listing *l, account_id account, struct str rest,
                                struct str value);
/* Compares a living entry's; what is wrong, or NULL. */
const char *check_listing_entry(struct check_listing *l, uint32_t uid, uint64_t hash);
/* Whether there are fields of a message that is not outside the blocks; after all living entries.
 */
bool check_listing_stray(const struct check_listing *l, uint32_t *out_uid);

#endif
