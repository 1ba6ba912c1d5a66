/*
 * What a session that brings mail has been granted, as its frontend keeps it: a login, and each
 * recipient that was accepted. With these a delivery goes on at the next backend: nobody logs in
 * again, and no recipient is looked up again, for whom the answer might be another one by now.
 */
#ifndef THURN_BACKEND_MAIL_TICKET_H
#define THURN_BACKEND_MAIL_TICKET_H

#include "roles/backend/session.h"

/* Adds the sealed login. */
void mail_login_put(const struct session *s, const struct principal *p, struct buf *out);
/* Whose login it is. E_DENIED if it is not this session's or has expired, or if the account's
 * credentials have changed since; E_NOTFOUND if the account is gone. */
MUST_CHECK struct err mail_login_open(const struct session *s, struct str sealed,
                                      struct principal *out);

/* Adds the sealed ticket of a recipient, whose mail goes there. */
void mail_ticket_put(const struct session *s, const Thurn__Mailaddr *address,
                     const struct directory_target *to, struct buf *out);
/* Where its mail goes; false if the ticket is not this recipient's at this session, or has expired.
 * The result is in the arena, and has no quota: that was looked at when it was accepted. */
bool mail_ticket_open(const struct session *s, struct str sealed, const Thurn__Mailaddr *address,
                      struct arena *a, struct directory_target *out);

#endif
