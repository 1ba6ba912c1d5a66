/*
 * SMTP and LMTP, the service half: recipients and deliveries on the store. Used by the backend, on
 * its worker threads.
 */
#ifndef THURN_LMTP_SERVICE_H
#define THURN_LMTP_SERVICE_H

#include "base/base.h"
#include "directory/directory.h"
#include "rpc/rpc.h"
#include "store/store.h"

/* A message that a scanner has seen (or failed on), on its way into one or several accounts. */
struct lmtp_message {
    const Thurn__LmtpDeliver *request;
    struct body *body;
    struct str record, text; /* checked */
    struct str peer;         /* address of the client, printable, for Received */
    struct str hostname;     /* ours */
    struct str why;          /* "lmtp", "smtp", "submission": how it came */
    bool tls, authenticated; /* for Received */
    int64_t now;             /* seconds since 1970 */
};

/* Who takes the mail for an address. */
struct lmtp_route {
    account_id account;
    bool foreign; /* the domain is not served here */
};
/* Whether mail for the address is taken, and by which account. DONE, or what to tell. An address
 * without domain belongs to the host of that name, or to the only domain that there is (RFC 5321
 * section 4.1.1.3, for Postmaster). */
Thurn__Status lmtp_recipient(struct directory *d, struct str hostname,
                             const Thurn__Mailaddr *address, struct lmtp_route *out);
/* The id under which the delivery to one recipient is remembered: of the delivery's id and the
 * recipient's number, so that each can be repeated by itself. */
change_id lmtp_change_id(const Thurn__LmtpDeliver *request, size_t recipient);
/* Delivers to one account's INBOX, as its only writer. done(status, arg) is called once, on any
 * thread, where the account's transaction has ended; a delivery that was made before is DONE
 * without being made again. The account and the message must stay until then; the account is the
 * caller's to close. */
void lmtp_deliver(struct account *a, const struct lmtp_message *m, size_t recipient,
                  void (*done)(Thurn__Status status, void *arg), void *arg);

#endif
