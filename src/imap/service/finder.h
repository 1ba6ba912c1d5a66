/*
 * Looking for a text in bytes that arrive in pieces, without regard to case: ASCII case for a
 * needle in ASCII, Unicode case folding for others. Linear in the bytes whatever they are.
 */
#ifndef THURN_IMAP_SERVICE_FINDER_H
#define THURN_IMAP_SERVICE_FINDER_H

#include "base/base.h"

struct UCaseMap;

struct needle {
    struct str folded;
    bool unicode;
};
/* `text` is UTF-8; what is not is compared as bytes. E_LIMIT. */
MUST_CHECK struct err needle_make(struct str text, struct arena *a, struct needle *out);

struct finder {
    const struct needle *needle;
    struct buf window; /* folded bytes that a match may begin in, and those just added */
    uint8_t cut[4];    /* the beginning of a character whose end is still to come */
    size_t n_cut;
    bool found;
};
void finder_free(struct finder *f);
/* Begins a text. An empty needle is found at once. */
void finder_begin(struct finder *f, const struct needle *needle);
/* The next piece; whether the needle has been found so far. */
bool finder_feed(struct finder *f, struct str piece);
/* The same as begin and feed of one whole text. */
bool finder_in(struct finder *f, const struct needle *needle, struct str text);

#endif
