/*
 * A search program (proto/rpc.proto, SearchNode) made ready for many messages, and its answer for
 * one message. A message is asked in three rounds of rising cost, and the next round takes place
 * only if the one before could not decide.
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

struct term {
    Thurn__SearchOp op;
    enum search_round round; /* in which it can be answered */
    size_t end;              /* index behind its children */
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
    bool recent;
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
/* Whether the message matches. */
MUST_CHECK struct err program_match(const struct program *p, struct candidate *c, bool *out);

/* The terms on envelope and content. */
bool term_in_envelope(const struct term *t, struct candidate *c);
bool term_in_content(const struct term *t, struct candidate *c);

#endif
