/*
 * The patterns of LIST and LSUB (RFC 3501 section 6.3.8): "*" is any run of characters, "%" one
 * without the separator. Matched by following all ways at once, in time proportional to name and
 * pattern whatever stands in them.
 */
#ifndef THURN_IMAP_SERVICE_LIST_H
#define THURN_IMAP_SERVICE_LIST_H

#include "base/base.h"

enum { PATTERN_MAX = 2048 };

struct pattern {
    struct str text; /* reference and pattern joined, runs of wildcards made one */
    bool never;      /* longer than any name can be */
};
MUST_CHECK struct err pattern_compile(struct str reference, struct str pattern, struct arena *a,
                                      struct pattern *out);
/* Whether the name matches. "INBOX" as first level is compared without regard to case.
 * `out_parent` is the length of the longest parent of the name that matches; 0: none does. */
bool pattern_match(const struct pattern *p, struct str name, size_t *out_parent);

#endif
