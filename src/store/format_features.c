#include "store/format_features.h"

/* Format 1 is the log and layout.h as they were first written; it has no feature beyond itself.
 * One that is added stands here, known to this release, for at least a release before stores begin
 * with it. */
const struct feature store_features[] = {
    {NULL, false},
};

void features_put(struct buf *out)
{
    for (const struct feature *f = store_features; f->name; f++)
        if (f->on_from_start)
            buf_printf(out, "%s\n", f->name);
}

static bool feature_known(struct str name)
{
    for (const struct feature *f = store_features; f->name; f++)
        if (str_eq(name, str_c(f->name)))
            return true;
    return false;
}

bool features_known(struct cur *lines)
{
    while (!cur_end(lines))
        if (!feature_known(cur_until(lines, '\n')))
            return false;
    return !lines->bad;
}
