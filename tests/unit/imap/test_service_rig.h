/*
 * For the tests of the IMAP service: a real store in a temporary directory, clients whose host
 * collects frames, and what they were told as one line of text.
 *
 * The text: "u[...]" updates (x3 expunged, e5/1 exists and recent, names=a,b, 2=SF flags of
 * message 2), "r[1 u7 =S+1 d100 z200 {bytes}{NIL}]" a row of FETCH, "m[a b(noselect)]" mailboxes,
 * "n[1 2]" numbers, "ok" or "no(code)" at the end. Flags: S A F D T(draft) R, +hex keywords.
 */
#ifndef TEST_SERVICE_RIG_H
#define TEST_SERVICE_RIG_H

#include "imap/imap_service.h"

#include <setjmp.h>
#include <cmocka.h>

struct rig {
    char dir[64];
    struct store *store;
    struct directory *directory;
    struct imap_host host;
    account_id account; /* alice@example.test, password "secret" */
    struct list clients;
};
int rig_setup(void **state);
int rig_teardown(void **state);

struct client {
    struct list link; /* so that a test that fails leaves nothing open */
    struct rig *rig;
    struct imap_session *imap;
    struct buf said;  /* what it was told since it was last asked */
    struct buf bytes; /* of the row that is not complete */
    uint64_t lengths[64];
    size_t n_lengths, section;
    uint64_t nil, left;
    bool row_open;
    uint32_t serial;
    unsigned yields;
    size_t frames;
    bool no_room; /* the host says so after each frame, once */
    void (*heard)(struct client *c, uint16_t type, const ProtobufCMessage *m); /* may be NULL */
    struct buf record; /* of the session, as last told */
    /* After so many further frames the backend is dead: what it sends is lost, and the request is
     * repeated in a new session that goes on from the record. 0: it lives. */
    unsigned dies_in;
    bool dead;
    unsigned deaths;
};
struct client *client_new(struct rig *r); /* logged in */
struct client *client_in(struct rig *r, const char *mailbox);
void client_free(struct client *c);
/* The session is thrown away, and goes on from its record. */
void client_resume(struct client *c);
/* What it was told, as text; valid until the next call. */
const char *client_said(struct client *c);
#define assert_said(c, text) assert_string_equal(client_said(c), text)

/* Runs a request to its end. */
void ask(struct client *c, uint16_t type, ProtobufCMessage *m);
/* The requests, from text: sets as IMAP writes them. */
void ask_select(struct client *c, const char *mailbox, bool examine);
void ask_noop(struct client *c);
void ask_append(struct client *c, const char *mailbox, struct str message, uint32_t flags);
void ask_append_as(struct client *c, Thurn__ImapAppend *m, const struct imap_scanned *scanned);
void ask_store(struct client *c, const char *set, bool uid, int mode, bool silent, uint32_t flags,
               const char *keyword);
/* Sections: "", "HEADER", "1.2.MIME", "TEXT<5.10>", several by ' '. */
void ask_fetch(struct client *c, const char *set, bool uid, uint32_t items, const char *sections,
               bool seen);
void ask_expunge(struct client *c, const char *uids);
void ask_copy(struct client *c, const char *set, bool uid, const char *mailbox);
void ask_move(struct client *c, const char *set, bool uid, const char *mailbox);
/* Bits of Extension. */
void ask_enable(struct client *c, uint32_t extensions);
void ask_resync(struct client *c, const char *mailbox, uint32_t uidvalidity, uint64_t known);
void ask_name(struct client *c, uint16_t type, const char *mailbox);
void ask_list(struct client *c, const char *reference, const char *pattern, bool lsub);

Thurn__ImapSet *set_of(struct arena *a, const char *text, bool uid);

#endif
