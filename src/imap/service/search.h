/*
 * A search program (proto/rpc.proto, SearchNode) made ready for many messages.
 *
 * It is answered for a batch of messages at once, from the entries and the listing columns, cheap
 * terms first and dear ones for those messages only that they decide about. What that leaves open
 * is asked of each message: in rounds of rising cost, of which the next takes place only if the one
 * before could not decide. The columns never say anything else than the messages would.
 */
#ifndef THURN_IMAP_SERVICE_SEARCH_H
#define THURN_IMAP_SERVICE_SEARCH_H

#include "imap/service/finder.h"
#include "imap/service/service.h"

enum search_round {
    SEARCH_ENTRY,   /* flags, numbers, dates: no read beyond the entry */
    SEARCH_RECORD,  /* the envelope */
    SEARCH_CONTENT, /* header bytes and text */
};

enum search_cost {
    COST_ENTRY,
    COST_LISTING, /* a listing column answers, for nearly all messages */
    COST_CONTENT, /* only the message itself can answer */
};

struct term {
    Thurn__SearchOp op;
    enum search_round round;  /* in which it can be answered */
    enum search_cost cost;    /* of it and its children for a batch */
    enum listing_field field; /* of COST_LISTING */
    size_t end;               /* index behind its children */
    uint64_t number;
    int32_t date;
    uint64_t keyword; /* bit in the mailbox, 0: no message has it */
    struct str name;  /* of the keyword or header field */
    struct uid_set set;
    struct needle needle;
};
struct program {
    struct term *terms;
    size_t n;
    size_t n_texts;
};

enum { SEARCH_PIECE = 64 * 1024 };

/* A message that is being asked. What is read of it is kept in the arena for the next term. */
struct candidate {
    struct imap_session *session;
    struct snap *snap;
    struct entry entry;
    struct arena *arena;
    struct finder *finder;
    uint8_t *piece; /* SEARCH_PIECE bytes to read into */
    Thurn__StoredEmail *email;
    Thurn__Email *record;
    struct str text;
    bool have_text;
    struct err failed; /* the first read that failed */
};

/* E_INVALID for a program that makes no sense, E_LIMIT for one that is too large or too deep. */
MUST_CHECK struct err program_compile(const Thurn__ImapSearch *in, const struct view *v,
                                      struct arena *a, struct program *out);
/* Finds the program's keywords in the mailbox as it is now. */
void program_set_keywords(struct program *p, const Thurn__Mailbox *m);
/* A set that every match is in; NULL if the program names none. */
const struct uid_set *program_scope(const struct program *p, const struct view *v);
/* One bit for each message of a batch. */
struct bits {
    uint64_t w[ENTRY_BLOCK / 64];
};
static inline bool bits_has(const struct bits *b, size_t i)
{
    return b->w[i / 64] >> (i % 64) & 1;
}
static inline void bits_set(struct bits *b, size_t i)
{
    b->w[i / 64] |= UINT64_C(1) << (i % 64);
}
/* Messages in the order of their UIDs. Ends with search_batch_free, also as {0}. */
struct search_batch {
    struct entry *rows;
    size_t n, cap;
    struct bits yes, no; /* what search_batch_answer found out */
    struct entry *asked;
    struct listing_column column;
    struct finder finder;
};
/* With room for `cap` messages, from 1 to ENTRY_BLOCK, in the arena. E_LIMIT. */
MUST_CHECK struct err search_batch_init(struct search_batch *b, size_t cap, struct arena *a);
void search_batch_free(struct search_batch *b);
/* Answers the program for the batch as far as entries and listing columns can. */
MUST_CHECK struct err search_batch_answer(const struct program *p, const struct imap_session *s,
                                          struct snap *snap, struct search_batch *b);
/* Whether the message matches. */
MUST_CHECK struct err program_match(const struct program *p, struct candidate *c, bool *out);

/* The terms on entries and dates. */
bool term_in_entry(const struct term *t, const struct imap_session *s, const struct entry *e);
bool term_in_date(const struct term *t, int64_t time, int32_t zone);
/* The terms on envelope and content. */
bool term_in_envelope(const struct term *t, struct candidate *c);
bool term_in_content(const struct term *t, struct candidate *c);

#endif
