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
    struct directory_route to; /* without those that are locked and refuse mail, if others do not */
    bool foreign;              /* the domain is not served here */
    bool unfinished;           /* it takes more than `most` look-ups */
};
/* Whether mail for the address is taken, and by which accounts; they live in the arena. DONE, or
 * what to tell. Quotas are not looked at: see lmtp_quota. An address without domain belongs to the
 * host of that name, or to the only domain that there is (RFC 5321 section 4.1.1.3, for
 * Postmaster): for it all domains may have to be read. `most`: see directory_route. */
Thurn__Status lmtp_recipient(struct directory *d, struct str hostname,
                             const Thurn__Mailaddr *address, size_t most, struct arena *a,
                             struct lmtp_route *out);
/* Whether an account has room for mail: it may be overshot by one message. Only asked for addresses
 * that lead to one account: a message to several is not refused to all because one is full. */
Thurn__Status lmtp_quota(struct account *a, const struct directory_quota *q);

/* One account that a delivery goes to. */
struct lmtp_target {
    account_id account;
    size_t recipient;   /* the first one of the request that led here */
    struct str address; /* the account's own */
    struct str detail;  /* of the sub-address: what follows the separator (RFC 5233) */
};
/* The id under which the delivery is remembered in each of its accounts, so that it can be repeated
 * there: the delivery's own, as an account gets it once. */
change_id lmtp_change_id(const Thurn__LmtpDeliver *request);
/* Delivers to one account's INBOX, as its only writer. done(status, arg) is called once, on any
 * thread, where the account's transaction has ended; a delivery that was made before is DONE
 * without being made again. The account, the message and the target must stay until then; the
 * account is the caller's to close. */
void lmtp_deliver(struct account *a, const struct lmtp_message *m, const struct lmtp_target *to,
                  void (*done)(Thurn__Status status, void *arg), void *arg);

#endif
