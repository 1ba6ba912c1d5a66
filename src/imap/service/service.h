/*
 * Inside the IMAP service: a session, and the request that runs in it.
 *
 * A request runs in slices. Its state lives in the command's arena from the first slice to the
 * last. A snapshot lives as long as slices follow one another and nothing changes: not while the
 * request waits for its client.
 */
#ifndef THURN_IMAP_SERVICE_SERVICE_H
#define THURN_IMAP_SERVICE_SERVICE_H

#include "imap/imap_service.h"
#include "imap/service/set.h"
#include "imap/service/view.h"

/* RFC 3501 section 3. */
enum session_state {
    NOT_AUTHENTICATED = 1,
    AUTHENTICATED = 2,
    SELECTED = 4,
    LOGGED_IN = AUTHENTICATED | SELECTED,
    ANY_STATE = 7,
};

/* What the client knows of the selected mailbox. With it and the history in the store the view can
 * be made again, in another process: what lives below uidnext, and what died after expunged_at, up
 * to partial_at above partial_uid only. It holds for that reason that UIDs are added to the view
 * only when everything expunged so far is told as well. */
struct imap_resume {
    mailbox_id mailbox;
    uint32_t uidvalidity;
    uint32_t uidnext;   /* the client knows of the messages below it */
    modseq flags_at;    /* up to which it knows flags */
    modseq expunged_at; /* up to which it knows what is gone; never beyond flags_at */
    modseq partial_at;  /* up to which it has been told what is gone up to partial_uid */
    uint32_t partial_uid;
    bool read_only;
    bool inbox; /* RENAME takes INBOX's messages away from under this client */
};

struct modseq_list {
    modseq *items;
    size_t n, cap;
};

struct request;
struct command {
    const struct request *request; /* NULL: none is running */
    struct frame *frame;
    const struct imap_scanned *scanned;
    struct arena arena;
    void *state;                  /* the run function's own, NULL at its first slice */
    void (*release)(void *state); /* frees what `state` holds outside the arena; may be NULL */
    struct snap *snap;
    uint64_t slice_end; /* clock_mono_us */
    size_t slice_sent;  /* bytes */
    /* Transactions of this request whose flag changes the client knows already. */
    struct modseq_list own;
    bool own_keywords; /* which may have come with keywords that the mailbox did not have */
    Thurn__Status status;
    Thurn__ImapDone done;
    /* What was done of it before the backend died; NULL: nothing. */
    const Thurn__ImapRemembered *before;
    bool expunged; /* at least one message, by this request */
    bool broken;   /* the channel is gone */
};

struct imap_session {
    const struct imap_host *host;
    void *host_session;
    bool may_authenticate;
    enum session_state state;
    account_id account_id;
    uint64_t credential_generation;
    struct account *account;
    struct buf record; /* as last sent, before it was sealed */
    struct buf sealed;
    bool restoring;  /* the view is to be made again */
    bool may_repeat; /* the next request may be one that was done before */
    uint32_t restoring_exists;
    /* The selected mailbox. */
    struct imap_resume at;
    struct view view;
    struct view recent; /* UIDs that are \Recent here; they need not be in the view any more */
    size_t keywords_told;
    bool condstore; /* rows with flags bring modseqs (RFC 7162) */
    bool qresync;   /* it is told UIDs that vanished instead of numbers expunged */
    struct command cmd;
};

/* A row of the table of requests. */
enum tells {
    TELLS_NOTHING,
    TELLS_ALL,
    TELLS_UNLESS_BY_SEQ, /* no expunges while the client counts in sequence numbers (7.4.1) */
};
struct request {
    uint16_t frame;
    unsigned states;
    enum imap_needs (*needs)(const struct imap_session *s, const ProtobufCMessage *m);
    enum tells tells;
    /* Runs one slice; false: there is more. What it leaves in cmd.done and cmd.status is sent. */
    bool (*run)(struct imap_session *s, struct command *c);
    const char *rfc;
};

bool login_run(struct imap_session *s, struct command *c);
bool select_run(struct imap_session *s, struct command *c);
bool close_run(struct imap_session *s, struct command *c);
bool create_run(struct imap_session *s, struct command *c);
bool delete_run(struct imap_session *s, struct command *c);
bool rename_run(struct imap_session *s, struct command *c);
bool subscribe_run(struct imap_session *s, struct command *c);
bool list_run(struct imap_session *s, struct command *c);
bool status_run(struct imap_session *s, struct command *c);
bool append_run(struct imap_session *s, struct command *c);
bool noop_run(struct imap_session *s, struct command *c);
bool expunge_run(struct imap_session *s, struct command *c);
bool search_run(struct imap_session *s, struct command *c);
bool fetch_run(struct imap_session *s, struct command *c);
bool store_run(struct imap_session *s, struct command *c);
bool copy_run(struct imap_session *s, struct command *c);
bool enable_run(struct imap_session *s, struct command *c);
bool quota_run(struct imap_session *s, struct command *c);
bool append_check_run(struct imap_session *s, struct command *c);

/* Tells a client what a MOVE that is repeated has moved: it may not have heard. */
MUST_CHECK struct err move_tell_again(struct imap_session *s, const Thurn__ImapRemembered *r);

/* ------------------------------------------------------------------------------- the command */

/* The snapshot of this slice. If s->cmd.snap is there when a slice begins, it is that of the slice
 * before. */
MUST_CHECK struct err command_snap(struct imap_session *s, struct snap **out);
/* After a commit: the next command_snap shows what is there now. */
void command_snap_drop(struct command *c);
/* Whether the slice is used up: bytes, time, or the client's room. */
bool command_must_yield(const struct imap_session *s);
/* Sends a frame of the answer; `bytes` is what it counts for in the slice. False: the channel is
 * gone, which c->broken keeps, and the request ends. */
bool command_send(struct imap_session *s, uint16_t type, const ProtobufCMessage *m, struct str raw,
                  size_t bytes);
/* Sets the status of a failed request; both return true, for `return command_no(...)`. The
 * second form logs what the operator should know and finds a sentence for the error. */
bool command_no(struct command *c, Thurn__Code code, struct str text);
bool command_failed(struct imap_session *s, struct err e);
/* Commits, and remembers the request, if it has a name: `done` NULL: as done, with the answer as it
 * stands in c->done; else what has been done of it so far. The transaction is ended in any case. */
MUST_CHECK struct err command_commit(struct imap_session *s, struct txn *t,
                                     Thurn__ImapRemembered *so_far);
/* Commits a transaction that a repetition of the request may make again. */
MUST_CHECK struct err command_commit_unnamed(struct imap_session *s, struct txn *t);
/* What was remembered of the request, if it is a repetition: true if it has been done, and the
 * answer stands in c->done and c->status. Else c->before is what was done of it. */
bool command_repeat(struct imap_session *s);
/* Flag changes with this modseq need not be told to this client. E_LIMIT. */
MUST_CHECK struct err command_own(struct command *c, modseq m);
bool command_owns(const struct command *c, modseq m);
/* What names a request, so that its repetition is recognized; false if it has no name. */
bool request_change(const ProtobufCMessage *m, change_id *out);

/* ------------------------------------------------------------------------------------ the record
 */

/* The record of a client that knows `at` and `exists` messages, for the frame that tells it so;
 * empty if that is the one last sent. Valid until the next call. */
ProtobufCBinaryData session_record(struct imap_session *s, const struct imap_resume *at,
                                   uint32_t exists);
/* Opens the account and makes the view again, of a session that goes on. E_DENIED: the account may
 * not be used (any more); E_NOTFOUND: the mailbox is gone, and the client cannot be told how;
 * E_CONFLICT: the history does not reach. Then `why` is for the client. */
MUST_CHECK struct err session_restore(struct imap_session *s);

/* ----------------------------------------------------------------------------- the selected
 * mailbox */

/* Forgets the selected mailbox. */
void session_unselect(struct imap_session *s);
/* The selected mailbox in a snapshot; E_NOTFOUND if it is not there any more. */
MUST_CHECK struct err session_mailbox(struct imap_session *s, struct snap *snap, struct arena *a,
                                      Thurn__Mailbox **out);
/* Tells the client what has changed since it was last told: ImapUpdates, if there is anything. */
MUST_CHECK struct err session_tell(struct imap_session *s, uint32_t serial, bool expunges);
/* Tells new keywords before rows that use them. */
MUST_CHECK struct err session_tell_names(struct imap_session *s, uint32_t serial,
                                         const Thurn__Mailbox *m);
/* The client wants modseqs from now on; of a selected mailbox it is told which it knows already
 * (RFC 7162 section 3.1). */
void session_enable_condstore(struct imap_session *s);
/* Tells the UIDs of the set that were expunged after the modseq and are not in the view (RFC 7162,
 * VANISHED (EARLIER)); perhaps also some that were expunged before. */
MUST_CHECK struct err session_tell_vanished(struct imap_session *s, modseq since,
                                            const Thurn__ImapSet *in);
/* What SELECT (QRESYNC ...) brings after the mailbox has been selected: begins it, and runs one
 * slice of it; true at its end. `selected` NULL: it has been told already. */
MUST_CHECK struct err resync_begin(struct imap_session *s, const Thurn__ImapResync *resync,
                                   const Thurn__ImapSelected *selected);
bool resync_run(struct imap_session *s, struct command *c);
/* Begins to tell UIDs that vanished instead of numbers; with all that CONDSTORE brings. */
void session_enable_qresync(struct imap_session *s);
/* What STATUS says of a mailbox of the snapshot; `items` as in the request. */
MUST_CHECK struct err status_fill(struct imap_session *s, struct snap *snap,
                                  const Thurn__Mailbox *m, uint32_t items,
                                  Thurn__ImapStatusRow *row);
/* Takes note that the client is told of all UIDs below uidnext; which of them are \Recent. */
MUST_CHECK struct err session_claim_recent(struct imap_session *s, uint32_t uidnext);
/* Fills what a row says about flags. */
void row_set_flags(const struct imap_session *s, const struct entry *e, Thurn__FetchRow *row);
/* Compiles the set of a request on the selected mailbox; sets the status and returns false if it
 * cannot be. */
MUST_CHECK bool command_set(struct imap_session *s, const Thurn__ImapSet *in, struct uid_set *out);
/* What the session's account may hold. */
MUST_CHECK struct err quota_limits(struct imap_session *s, struct directory_quota *out);
/* Whether there is room for so much more; E_QUOTA. */
MUST_CHECK struct err quota_room(struct snap *snap, const struct directory_quota *q, uint64_t bytes,
                                 uint64_t messages);
/* Whether the selected mailbox may be changed; sets the status if not. */
MUST_CHECK bool command_may_write(struct imap_session *s);

/* Flags that may be stored, of those in a request. */
enum { FLAGS_STORED = 31 };
extern const struct str text_keywords_full;
/* The bits of a request's keywords in a mailbox, made if they are new. E_LIMIT. */
MUST_CHECK struct err keywords_make(struct txn *t, mailbox_id m, const Thurn__ImapFlags *flags,
                                    uint64_t *out);
/* The bits of those that exist. */
uint64_t keywords_find(const Thurn__Mailbox *m, const Thurn__ImapFlags *flags);
uint64_t keyword_find(const Thurn__Mailbox *m, struct str name);
/* A request's or a record's ranges as a list. E_LIMIT. */
MUST_CHECK struct err ranges_from(struct num_list *l, struct arena *a, Thurn__NumRange **ranges,
                                  size_t n);
/* A range list as the answer's. False without room. */
MUST_CHECK bool ranges_to_answer(const struct num_list *l, struct arena *a, Thurn__NumRange ***out,
                                 size_t *out_n);

#endif
