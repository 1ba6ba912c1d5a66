/* Asking the backend, and showing its rows. Shared by the commands on domains, accounts, aliases.
 */
#ifndef THURN_CLI_ADMIN_H
#define THURN_CLI_ADMIN_H

#include "cli/cli.h"

#include <jansson.h>

/* How the rows of an answer are shown: as an object, or as lines of text. */
struct admin_view {
    json_t *(*json)(const Thurn__AdminRow *r);
    void (*text)(const Thurn__AdminRow *r);
    bool one; /* an object, not a list */
};

/* Asks on an open connection, or on one of its own, and shows what comes (NULL: no rows come). The
 * exit status; what was wrong has been printed. */
int cli_admin_ask_on(int fd, struct cli *c, uint16_t type, const ProtobufCMessage *m,
                     const struct admin_view *view);
int cli_admin_ask(struct cli *c, uint16_t type, const ProtobufCMessage *m,
                  const struct admin_view *view);
/* The same for a change, with a sentence when it is done: `what` and what became of it; with --json
 * the object that tells of every change. */
int cli_admin_change(struct cli *c, uint16_t type, const ProtobufCMessage *m, const char *sentence,
                     struct str what);

/* Runs `line` on each line of --batch, taken apart at blanks; goes on after one that fails and says
 * which. Empty lines are passed over. */
enum { ADMIN_WORDS = 257 };
int cli_admin_batch(struct cli *c, int (*line)(int fd, struct cli *c, const struct str *words,
                                               size_t n, struct str text));

/* A string that the backend sent, as JSON; null if it is empty. */
json_t *cli_admin_json_text(ProtobufCBinaryData text);
/* A quota of its own as JSON: null: none; "none": without a limit; else a number. */
json_t *cli_admin_json_quota(uint64_t v);
/* --quota and --quota-messages, as far as they are given, and their bits of `set`: a size or
 * number, "none" (without a limit) or "default". False with a word to the user. */
MUST_CHECK bool cli_admin_quotas(const struct cli *c, uint32_t *set, uint64_t *bytes,
                                 uint64_t *messages);

#endif
