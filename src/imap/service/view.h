/*
 * What a client has been told of the selected mailbox: which UIDs, in which order. Kept as runs
 * of consecutive UIDs, so that a million messages cost little and both directions, sequence
 * number to UID and back, are a binary search.
 */
#ifndef THURN_IMAP_SERVICE_VIEW_H
#define THURN_IMAP_SERVICE_VIEW_H

#include "store/store.h"

struct view_run {
    uint32_t first, count;
    uint32_t before; /* messages in the runs before it */
};
struct view {
    struct view_run *runs; /* ascending, never adjacent */
    size_t n, cap;
    uint32_t count; /* messages: what EXISTS said */
};

void view_free(struct view *v);
/* Adds runs at the end, ascending and above all that are there. E_LIMIT without memory. */
MUST_CHECK struct err view_add(struct view *v, const struct uid_run *runs, size_t n);
/* Takes out UIDs, ascending, all of them in the view. E_LIMIT without memory. */
MUST_CHECK struct err view_remove(struct view *v, const uint32_t *uids, size_t n);
/* For qsort of UIDs. */
int uid_cmp(const void *a, const void *b);
/* The sequence number of a UID; 0 if it is not in the view. */
msg_seq view_seq(const struct view *v, msg_uid uid);
/* The UID of a sequence number from 1 to count. */
msg_uid view_uid(const struct view *v, msg_seq seq);
/* How many messages have first <= UID <= last. */
uint32_t view_count(const struct view *v, uint32_t first, uint32_t last);
/* The highest UID; 0 if it is empty. */
uint32_t view_last(const struct view *v);

#endif
