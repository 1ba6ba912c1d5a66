/* The parameters of MAIL and RCPT (RFC 5321 section 4.1.2, esmtp-param). Private to the wire half.
 */
#ifndef THURN_SMTP_PARAMETER_H
#define THURN_SMTP_PARAMETER_H

#include "smtp/smtp_wire.h"

/* Takes what stands behind the address, to the end. The verb in `out` is set. */
MUST_CHECK bool smtp_parameters_take(struct cur *c, enum smtp_dialect dialect,
                                     struct smtp_command *out, struct smtp_reply *bad);
/* Fills in what is to be answered; false. */
bool smtp_refuse(struct smtp_reply *bad, unsigned code, const char *enhanced, const char *text);
bool smtp_is_blank(uint8_t c);
bool smtp_is_not_blank(uint8_t c);

#endif
