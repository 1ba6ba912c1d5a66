/*
 * IMAP, the service half: typed requests on the store. Used by the backend, on its worker
 * threads. One session is worked on by one thread at a time.
 */
#ifndef THURN_IMAP_SERVICE_H
#define THURN_IMAP_SERVICE_H

#include "base/base.h"
#include "directory/directory.h"
#include "rpc/rpc.h"
#include "store/store.h"

struct imap_session;

/* Where answers go, and how far a command may run before it yields. */
struct imap_host {
    struct store *store;
    struct directory *directory;
    uint64_t message_size_limit;
    uint32_t slice_us;  /* 5000 */
    size_t slice_bytes; /* 256 KB */
    /* Who logs in: as directory_authenticate, which it may be; `session` as with send. */
    struct err (*authenticate)(void *host_session, struct str user, struct str password,
                               struct principal *out);
    /* Sends one frame to the frontend; `session` is the one given to imap_session_new. */
    struct err (*send)(void *host_session, uint16_t type, uint32_t serial,
                       const ProtobufCMessage *m, struct str raw);
    /* Whether the frontend has taken enough of what was sent for more to be made. */
    bool (*room)(void *host_session);
    /* Adds the record, sealed, to the buffer: at most RPC_RESUME_MAX bytes. The host fills in whose
     * session it is. NULL: the session cannot go on elsewhere. */
    void (*seal)(void *host_session, Thurn__ImapResume *record, struct buf *out);
};

struct imap_session *imap_session_new(const struct imap_host *host, void *host_session,
                                      bool may_authenticate);
/* Goes on with a session that has just been made, from a record that the host has found to be its
 * own work. Its requests are known from now on; the view is made again when the first of them runs,
 * and if that cannot be, or the account's credentials are others by now, it is answered by ImapBye:
 * the session has ended. E_INVALID. */
MUST_CHECK struct err imap_session_resume(struct imap_session *s, const Thurn__ImapResume *record);
/* What sleeps with such a record has nothing to hear of before the account's modseq grows
 * beyond this; 0: no mailbox is selected. */
static inline modseq imap_resume_knows(const Thurn__ImapResume *record)
{
    return (modseq){record->mailbox ? MIN(record->flags_at, record->expunged_at) : 0};
}
/* No request may be running. */
void imap_session_free(struct imap_session *s);
/* The account once logged in, else {0}; constant from then on. */
account_id imap_session_account(const struct imap_session *s);

/* How a request is to be run, from the table of requests: by frame type and content. */
enum imap_needs {
    IMAP_NEEDS_NOTHING, /* any time */
    IMAP_NEEDS_WRITER,  /* as the only writer of its account */
    IMAP_NEEDS_SCAN,    /* APPEND: parsed by a scanner first, then as the only writer */
    IMAP_NEEDS_HASHING, /* LOGIN: computes a password hash */
    IMAP_FORBIDDEN,     /* not in this state: end the channel */
};
enum imap_needs imap_request_needs(const struct imap_session *s, const struct frame *f);

/* What the scanner made of the messages to be appended, one for each of the request's. */
struct imap_scanned_message {
    struct str message, record, text;
};
struct imap_scanned {
    const struct imap_scanned_message *messages;
    size_t n;
};
enum imap_run {
    IMAP_RUN_DONE,  /* answered, with its ImapDone sent */
    IMAP_RUN_YIELD, /* call again with the same frame when there is room and others had their turn
                     */
};
/* Runs a request, or goes on with it. The frame stays the caller's and must stay until DONE.
 * `scanned` for APPEND only; its bytes must stay as well. Blocks for reads and, as writer, for the
 * commit. A request that names itself (`change`) and was done before is answered from what was
 * remembered; one that was done in part goes on behind that part. Frames that change what the
 * client knows carry the session's new record, which holds once that frame has been passed on. If a
 * body cannot be read to its end, ImapDone comes while a row is incomplete: the client has been
 * promised those bytes, so its connection must be ended. */
enum imap_run imap_session_run(struct imap_session *s, struct frame *f,
                               const struct imap_scanned *scanned);
/* After IMAP_RUN_YIELD, if the request has to wait for its client: it keeps no snapshot meanwhile.
 */
void imap_session_rest(struct imap_session *s);
/* Drops what an unfinished request holds (the connection is gone). */
void imap_session_cancel(struct imap_session *s);

#endif
