#include "store/layout.h"

/* Format 1 is the log and layout.h as they were first written; it has no feature beyond itself.
 * One that is added stands here, known to this release, for at least a release before a store
 * begins to use it. */
const struct feature store_features[] = {
    {NULL, false},
};

bool store_feature_known(struct str name)
{
    for (const struct feature *f = store_features; f->name; f++)
        if (str_eq(name, str_c(f->name)))
            return true;
    return false;
}
