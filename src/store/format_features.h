/*
 * Features of the format: names that stand, one in a line, at the end of the store's `format` file.
 * A store with one that this release does not know is refused, unchanged. A release writes what a
 * feature stands for only into a store that names it, and the name comes there only when the
 * operator enables it: until then the release before can open the data.
 */
#ifndef THURN_STORE_FORMAT_FEATURES_H
#define THURN_STORE_FORMAT_FEATURES_H

#include "base/base.h"

struct feature {
    const char *name;   /* NULL ends the table */
    bool on_from_start; /* a store begun by this release has it */
};
extern const struct feature store_features[];

/* The lines of a new store. */
void features_put(struct buf *out);
/* Takes the rest as lines of features; false if one is unknown, or no line. */
bool features_known(struct cur *lines);

#endif
