/* Paths of SMTP and LMTP (RFC 5321 section 4.1.2). */
#ifndef THURN_SMTP_PATH_H
#define THURN_SMTP_PATH_H

#include "base/base.h"

struct smtp_path {
    struct str local;  /* unquoted; UTF-8 */
    struct str domain; /* lower case; a literal with its brackets; empty if there is none */
};
enum smtp_path_result {
    SMTP_PATH_OK,
    SMTP_PATH_MALFORMED,
    SMTP_PATH_TOO_LONG, /* local part or domain */
    SMTP_PATH_U_LABEL,  /* the domain is not ASCII */
    SMTP_PATH_NO_ROOM,  /* in the arena */
};
/* Takes "<...>" from the cursor, over a line that is well-formed UTF-8. "<>" gives two empty
 * slices; a path without domain is taken as well: the caller decides whether it may stand there,
 * and so it is with a local part beyond ASCII (RFC 6531). */
MUST_CHECK enum smtp_path_result smtp_path_take(struct cur *c, struct arena *a,
                                                struct smtp_path *out);

#endif
