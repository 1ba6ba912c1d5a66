/*
 * Sets of messages as a request names them (RFC 3501 section 9, sequence-set), brought to UIDs:
 * ascending ranges without overlap; and the cursor that walks the messages of such a set.
 */
#ifndef THURN_IMAP_SERVICE_SET_H
#define THURN_IMAP_SERVICE_SET_H

#include "imap/service/view.h"
#include "rpc/rpc.h"

struct uid_range {
    uint32_t first, last;
};
struct uid_set {
    struct uid_range *ranges; /* ascending, first <= last, never overlapping */
    size_t n;
};

/* Both ends may be "*", in any order. UIDs beyond the view are left out. A sequence number that
 * does not exist is E_INVALID, or left out if `lenient` (SEARCH: it matches nothing). */
MUST_CHECK struct err uid_set_compile(const Thurn__ImapSet *in, const struct view *v, bool lenient,
                                      struct arena *a, struct uid_set *out);
/* A set of UIDs as it stands, whether they exist or not, below uidnext; NULL: all of those. */
MUST_CHECK struct err uid_set_below(const Thurn__ImapSet *in, uint32_t uidnext, struct arena *a,
                                    struct uid_set *out);
/* All that is in the view. */
MUST_CHECK struct err uid_set_all(const struct view *v, struct arena *a, struct uid_set *out);
bool uid_set_has(const struct uid_set *s, msg_uid uid);
/* How many messages of the view are in it; counting stops at `max` or a little later. */
uint32_t uid_set_count(const struct uid_set *s, const struct view *v, uint32_t max);

/* Collects UIDs that come in any order as ranges in the order given, as COPYUID wants them. */
struct num_list {
    struct uid_range *ranges;
    size_t n, cap;
};
MUST_CHECK struct err num_list_add(struct num_list *l, struct arena *a, uint32_t number);
/* Takes back what was added since the mark. */
struct num_mark {
    size_t n;
    struct uid_range last;
};
struct num_mark num_list_mark(const struct num_list *l);
void num_list_back(struct num_list *l, struct num_mark mark);
/* What was added since the mark. E_LIMIT. */
MUST_CHECK struct err num_list_since(const struct num_list *l, struct num_mark mark,
                                     struct arena *a, struct num_list *out);

/* Walks the messages that are in the set, in the view and alive. Between two slices the snapshot
 * may be another one: cursor_rest drops what was read ahead. */
struct cursor {
    const struct uid_set *set;
    size_t range;  /* the first one not yet behind */
    uint32_t next; /* UID to go on from */
    struct entry *batch;
    size_t cap, have, at;
    uint32_t window_last; /* what the batch was read up to */
    bool short_batch;     /* there is nothing more up to window_last */
};
MUST_CHECK struct err cursor_init(struct cursor *c, const struct uid_set *set, const struct view *v,
                                  struct arena *a);
void cursor_rest(struct cursor *c);
/* Goes on behind this UID, which the cursor has been beyond. */
void cursor_back(struct cursor *c, msg_uid uid);
/* Up to `max` messages; none at the end. */
MUST_CHECK struct err cursor_take(struct cursor *c, struct snap *snap, mailbox_id mailbox,
                                  const struct view *v, struct entry *out, size_t max,
                                  size_t *out_n);
/* The next message; false at the end. */
MUST_CHECK struct err cursor_next(struct cursor *c, struct snap *snap, mailbox_id mailbox,
                                  const struct view *v, struct entry *out, bool *found);

#endif
