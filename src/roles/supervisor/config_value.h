/* Values of the configuration file: text with units into numbers. */
#ifndef THURN_CONFIG_VALUE_H
#define THURN_CONFIG_VALUE_H

#include "rpc/rpc.h"

enum config_kind {
    CONFIG_TEXT,  /* `most` is its longest length */
    CONFIG_COUNT, /* a plain number */
    CONFIG_SIZE,  /* "64 KB", "50MB", "1 GB": bytes, units of 1024 */
    CONFIG_KIB,   /* the same, kept in units of 1024 bytes */
    CONFIG_TIME,  /* "500 ms", "30 s", "5 m", "2 h", "1 d": milliseconds */
    CONFIG_LEVEL, /* debug info warn error */
    CONFIG_RELAX, /* strict relaxed */
    CONFIG_BARE,  /* refuse normalize accept */
    CONFIG_YES,   /* no yes */
};
struct config_scalar {
    const char *name;
    enum config_kind kind;
    size_t offset, size; /* of the field in Thurn__Settings */
    const char *fallback;
    double least, most;
    const char *meaning;
};
/* The number that a text stands for; false with a reason if it is none, or out of range. */
MUST_CHECK bool config_value(const struct config_scalar *s, struct str text, uint64_t *out,
                             char *why, size_t why_n);
/* Stores it into its field. */
void config_store(const struct config_scalar *s, Thurn__Settings *to, uint64_t v);

#endif
