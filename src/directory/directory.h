/*
 * directory: domains, accounts, passwords. The records are kept in the system account of the
 * store; every change is durable when the call returns. From any thread.
 */
#ifndef THURN_DIRECTORY_H
#define THURN_DIRECTORY_H

#include "base/base.h"
#include "store/store.h"

struct directory;

struct directory_options {
    uint32_t argon2_memory_kib; /* at least 8; 0: 19456 (OWASP's second choice) */
    uint32_t argon2_passes;     /* 0: 2 */
};
/* The store must outlive it, and no account be open yet. Makes the system account if there is none,
 * and ends what a crash left half done: accounts without an address are erased. */
MUST_CHECK struct err directory_open(struct store *s, const struct directory_options *o,
                                     struct directory **out);
void directory_close(struct directory *d);

/* Names are checked and brought to lower case; a domain is letters, digits, '-' and '.' in labels
 * of 1 to 63 bytes (A-labels for others), at most 253; a local part is a dot-atom or a quoted
 * string's content of at most 64 bytes without control characters. E_INVALID with a reason that
 * is fit for people in err.why. */
MUST_CHECK struct err directory_domain_add(struct directory *d, struct str name); /* E_EXISTS */
/* E_NOTFOUND; E_CONFLICT while it has accounts. */
MUST_CHECK struct err directory_domain_remove(struct directory *d, struct str name);
MUST_CHECK struct err directory_domains(struct directory *d, struct arena *a, Thurn__Domain ***out,
                                        size_t *out_n);

/* A password as the administrator gives it: clear text, to be hashed with Argon2id, or a hash
 * with its scheme in front: {ARGON2ID}, {CRYPT} (what crypt(3) knows), {PLAIN}. */
struct directory_password {
    struct str text;
    bool is_hash;
};
/* Makes the account with its INBOX. E_EXISTS, E_NOTFOUND (no such domain), E_INVALID. */
MUST_CHECK struct err directory_account_add(struct directory *d, struct str address,
                                            struct directory_password password, account_id *out);
/* Removes the account and all its mail: the two that follow, one after the other. */
MUST_CHECK struct err directory_account_remove(struct directory *d, struct str address);
/* Takes the address away: from now on nobody logs in or gets mail there. The mail stays until
 * directory_account_erase (or the next directory_open), so that whoever still has the account open
 * can be asked to leave. E_NOTFOUND. */
MUST_CHECK struct err directory_account_detach(struct directory *d, struct str address,
                                               account_id *out);
/* Erases what was detached; nobody may have the account open. */
MUST_CHECK struct err directory_account_erase(struct directory *d, account_id id);
MUST_CHECK struct err directory_account_password(struct directory *d, struct str address,
                                                 struct directory_password password);
/* Up to `max` accounts of the domain (empty: all) behind the address `after` (empty: from the
 * first), in byte order of domain and local part. */
MUST_CHECK struct err directory_accounts(struct directory *d, struct str domain, struct str after,
                                         size_t max, struct arena *a, Thurn__AccountRecord ***out,
                                         size_t *out_n);

/* The account that takes mail for an address; E_NOTFOUND (err.why tells the domain's absence from
 * the user's). Local parts are compared without regard to ASCII case. */
MUST_CHECK struct err directory_route(struct directory *d, struct str local, struct str domain,
                                      account_id *out);

/* Whether mail for the domain is ours to take; E_NOTFOUND if not. */
MUST_CHECK struct err directory_domain_is_ours(struct directory *d, struct str name);

/* Somebody who has proved who they are. */
struct principal {
    account_id account;
    uint64_t credential_generation;
};
/* `user` is a full address, or a local part if there is exactly one domain. E_DENIED for a wrong
 * password and for an unknown user alike, after the same work. Computes a password hash: may
 * take 50 ms and the configured memory. */
MUST_CHECK struct err directory_authenticate(struct directory *d, struct str user,
                                             struct str password, struct principal *out);

#endif
