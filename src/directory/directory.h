/*
 * directory: domains, accounts, aliases, passwords, quotas. The records are kept in the system
 * account of the store, each under a key of its own: everything is looked up by key, however many
 * accounts there are. Every change is one transaction (making and removing an account: a few, which
 * the next start finishes), and durable when the call returns. From any thread.
 *
 * How an address finds its accounts:
 *   1. an account or an alias of exactly this address;
 *   2. if the local part holds the separator ("alice+lists"): an account or an alias of what stands
 *      before the first one; the rest is the detail, which is handed on;
 *   3. if the domain is another name of a domain: 1 and 2 there;
 *   4. the catch-all of the domain.
 * Targets of an alias, and a catch-all, are looked up the same way, without 4.
 * Local parts are compared without regard to ASCII case.
 */
#ifndef THURN_DIRECTORY_H
#define THURN_DIRECTORY_H

#include "base/base.h"
#include "store/store.h"

struct directory;

struct directory_options {
    uint32_t argon2_memory_kib; /* at least 8; 0: 19456 (OWASP's second choice) */
    uint32_t argon2_passes;     /* 0: 2 */
    /* What all password hashes that are computed at the same time may use; 0: 131072. At least
     * argon2_memory_kib. */
    uint32_t hash_memory_kib;
};
/* The store must outlive it, and no account be open yet. Makes the system account if there is none,
 * and ends what a crash left half done: accounts without an address are erased. */
MUST_CHECK struct err directory_open(struct store *s, const struct directory_options *o,
                                     struct directory **out);
void directory_close(struct directory *d);

/* What may be changed while it is open. */
struct directory_settings {
    uint8_t separator;       /* of sub-addresses; 0: none */
    bool no_special_folders; /* new accounts have an INBOX only */
    bool keep_imported;      /* hashes of other schemes are not replaced at log-in */
    uint64_t quota_bytes;    /* of accounts for which nothing else is said; 0: no limit */
    uint64_t quota_messages;
};
void directory_set(struct directory *d, const struct directory_settings *s);

/* ------------------------------------------------------------------------------------- domains */

/* Names are checked and brought to lower case; a domain is letters, digits, '-' and '.' in labels
 * of 1 to 63 bytes (A-labels for others), at most 253; a local part is a dot-atom or a quoted
 * string's content of at most 64 bytes without control characters. E_INVALID with a reason that
 * is fit for people in err.why. */

/* `language`: of the names of special folders in accounts that will be made: "de", "pt-BR",
 * "de_AT.UTF-8"; empty: English. E_INVALID if there are no names in it; E_EXISTS. */
MUST_CHECK struct err directory_domain_add(struct directory *d, struct str name,
                                           struct str language);
/* Makes `name` another name of the domain `of`. E_NOTFOUND, E_EXISTS, E_CONFLICT if `of` is only
 * another name itself. */
MUST_CHECK struct err directory_domain_alias(struct directory *d, struct str name, struct str of);
/* E_NOTFOUND; E_CONFLICT while it has accounts, aliases or other names. */
MUST_CHECK struct err directory_domain_remove(struct directory *d, struct str name);
MUST_CHECK struct err directory_domains(struct directory *d, struct arena *a, Thurn__Domain ***out,
                                        size_t *out_n);
/* Whether mail for the domain is ours to take; E_NOTFOUND if not. */
MUST_CHECK struct err directory_domain_is_ours(struct directory *d, struct str name);

/* What is to be changed: bits of `set`. */
enum {
    DIRECTORY_LANGUAGE = 1,
    DIRECTORY_CATCH_ALL = 2,
    DIRECTORY_QUOTA_BYTES = 4,
    DIRECTORY_QUOTA_MESSAGES = 8,
};
/* A quota of this many is without limit; 0 is none of its own. */
#define DIRECTORY_UNLIMITED UINT64_MAX
struct directory_change {
    uint32_t set;
    struct str language;  /* as with directory_domain_add */
    struct str catch_all; /* an address of this server; empty: none */
    uint64_t quota_bytes, quota_messages;
};
/* E_NOTFOUND (the domain, or the address of the catch-all), E_INVALID, E_CONFLICT: it is only
 * another name of a domain. */
MUST_CHECK struct err directory_domain_change(struct directory *d, struct str name,
                                              const struct directory_change *c);

/* ------------------------------------------------------------------------------------ accounts */

/* A password as the administrator gives it: clear text, to be hashed with Argon2id, or a hash
 * with its scheme in front, in any case of letters: {ARGON2ID}, {ARGON2I}, {CRYPT} (what crypt(3)
 * knows), {SHA512-CRYPT}, {SHA256-CRYPT}, {BLF-CRYPT}, {MD5-CRYPT}, {SSHA}, {SSHA256}, {SSHA512},
 * {PLAIN}. */
struct directory_password {
    struct str text;
    bool is_hash;
};
/* Makes the account with its INBOX and special folders (RFC 6154), named in the language of the
 * domain. E_EXISTS, E_NOTFOUND (no such domain), E_CONFLICT (the domain is only another name),
 * E_INVALID. */
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
/* Ends what was logged in with the old one: see directory_may_go_on. */
MUST_CHECK struct err directory_account_password(struct directory *d, struct str address,
                                                 struct directory_password password,
                                                 account_id *out);
/* Nobody logs in until it is unlocked, nor goes on. Mail is taken all the same, unless `refuse`
 * says otherwise. The reason is for the administrator. */
MUST_CHECK struct err directory_account_lock(struct directory *d, struct str address,
                                             struct str reason, Thurn__RefuseMail refuse,
                                             account_id *out);
MUST_CHECK struct err directory_account_unlock(struct directory *d, struct str address);
/* Ends whatever is logged in, and changes nothing else. */
MUST_CHECK struct err directory_account_logout(struct directory *d, struct str address,
                                               account_id *out);
/* The quota; E_NOTFOUND. */
MUST_CHECK struct err directory_account_change(struct directory *d, struct str address,
                                               const struct directory_change *c);
/* The record of one account, in the arena. E_NOTFOUND. */
MUST_CHECK struct err directory_account_show(struct directory *d, struct str address,
                                             struct arena *a, Thurn__AccountRecord **out);
/* Up to `max` accounts of the domain (empty: all) behind the address `after` (empty: from the
 * first), in byte order of domain and local part. */
MUST_CHECK struct err directory_accounts(struct directory *d, struct str domain, struct str after,
                                         size_t max, struct arena *a, Thurn__AccountRecord ***out,
                                         size_t *out_n);

/* What an account may hold; 0: no limit. */
struct directory_quota {
    uint64_t bytes, messages;
};
/* What holds for an account: its own, its domain's, the server's. E_NOTFOUND. */
MUST_CHECK struct err directory_quota(struct directory *d, account_id id,
                                      struct directory_quota *out);

/* ------------------------------------------------------------------------------------- aliases */

enum { DIRECTORY_TARGETS = 256 }; /* of an alias, and the accounts that one address can reach */

/* Adds targets to an alias, which is made if there is none. Each must be an address of this server
 * (E_UNSUPPORTED for others: there is no mail out yet) that reaches an account (E_NOTFOUND) and not
 * the alias itself (E_CONFLICT). E_EXISTS: the address is an account's, or all are there already.
 * E_LIMIT. */
MUST_CHECK struct err directory_alias_add(struct directory *d, struct str address,
                                          const struct str *targets, size_t n);
/* Takes targets away, or, with `n` 0, the alias; it goes with its last one. E_NOTFOUND. */
MUST_CHECK struct err directory_alias_remove(struct directory *d, struct str address,
                                             const struct str *targets, size_t n);
/* As directory_accounts. */
MUST_CHECK struct err directory_aliases(struct directory *d, struct str domain, struct str after,
                                        size_t max, struct arena *a, Thurn__Alias ***out,
                                        size_t *out_n);

/* -------------------------------------------------------------------------------------- routing */

/* An account that takes mail for an address. */
struct directory_target {
    account_id account;
    struct str address; /* the account's own */
    struct str detail;  /* of the sub-address that led here: what follows the separator */
    struct directory_quota quota;
    Thurn__RefuseMail refuse; /* it is locked, and takes no mail */
};
struct directory_route {
    struct directory_target *targets; /* each account once; in the arena */
    size_t n;                         /* at least 1 */
};
/* Addresses that are looked up for one, in all. */
enum { DIRECTORY_LOOK_UPS = 2048 };
/* The accounts that take mail for an address; E_NOTFOUND (err.why tells the domain's absence from
 * the user's); E_LIMIT: it reaches more than DIRECTORY_TARGETS, or through too many aliases.
 * E_AGAIN: it takes more than `most` look-ups (up to DIRECTORY_LOOK_UPS), each of which is some
 * reads of the index. */
MUST_CHECK struct err directory_route(struct directory *d, struct str local, struct str domain,
                                      size_t most, struct arena *a, struct directory_route *out);

/* --------------------------------------------------------------------------------------- log-in */

/* Somebody who has proved who they are. */
struct principal {
    account_id account;
    uint64_t credential_generation;
};
/* `user` is a full address, or a local part if there is exactly one domain. E_DENIED for a wrong
 * password, a locked account and an unknown user alike, after the same work; err.why tells them
 * apart, for the log only. Computes a password hash: may take 50 ms and the configured memory, and
 * waits while all of that is in use. An imported hash is replaced by one of Argon2id, {PLAIN}
 * excepted: whoever imports that wants it. */
MUST_CHECK struct err directory_authenticate(struct directory *d, struct str user,
                                             struct str password, struct principal *out);
/* The one name of an account, of those that it can be called by at log-in: its address at the
 * domain itself. What can be no address stays as it is. At most three reads of the index; whether
 * there is such an account is not looked at. */
void directory_login_name(struct directory *d, struct str user, struct buf *out);
/* Whether what this principal has begun may go on: a session that wakes. OK; E_DENIED: the account
 * is locked, or its password or generation has changed since; E_NOTFOUND: it is gone. Two reads of
 * the index, no hash. */
MUST_CHECK struct err directory_may_go_on(struct directory *d, const struct principal *p);

/* A random secret of the installation's own, made when it is first asked for and durable from then
 * on. `name`: up to 100 bytes without NUL. */
enum { DIRECTORY_SECRET = 32 };
MUST_CHECK struct err directory_secret(struct directory *d, struct str name,
                                       uint8_t out[DIRECTORY_SECRET]);

#endif
