/* What the files of the directory share. */
#ifndef THURN_DIRECTORY_PRIVATE_H
#define THURN_DIRECTORY_PRIVATE_H

#include "directory/directory.h"

/* -- names (name.c) -- */

enum { LOCAL_MAX = 64, DOMAIN_MAX = 253 };

/* A checked name in lower case. */
struct dir_domain {
    uint8_t b[DOMAIN_MAX];
    size_t n;
};
struct dir_address {
    uint8_t local[LOCAL_MAX];
    size_t local_n;
    struct dir_domain domain;
};
MUST_CHECK struct err dir_domain_of(struct str name, struct dir_domain *out);
MUST_CHECK struct err dir_address_of(struct str local, struct str domain, struct dir_address *out);
/* Splits at the last '@'. */
MUST_CHECK struct err dir_address_parse(struct str address, struct dir_address *out);

/* -- keys and records (record.c) --
 *
 *   d domain                 Thurn__Domain
 *   a domain \x01 local       Thurn__AccountRecord: in byte order of domain and local part
 *   n                        the next account id, decimal
 *   p id                     an account whose making or removal has begun, to be erased if that
 *                            is all that is left of it
 */
struct dir_key {
    uint8_t b[2 + DOMAIN_MAX + 1 + LOCAL_MAX];
    size_t n;
};
struct dir_key dir_key_domain(const struct dir_domain *d);
struct dir_key dir_key_account(const struct dir_address *a);
/* What the keys of all accounts (of a domain) begin with. */
struct dir_key dir_key_accounts(const struct dir_domain *d);
struct dir_key dir_key_next(void);
struct dir_key dir_key_pending(account_id id);
static inline struct str dir_key_str(const struct dir_key *k)
{
    return str_of(k->b, k->n);
}
/* E_CORRUPT if it is not of that type, E_LIMIT without room. The record lives in the arena. */
MUST_CHECK struct err dir_record_unpack(struct arena *a, const ProtobufCMessageDescriptor *type,
                                        struct str packed, void *out);
void dir_record_pack(struct buf *out, const ProtobufCMessage *m);

/* -- passwords (password.c) -- */

/* What is stored for a password: {SCHEME}hash in the arena. E_INVALID with a reason. */
MUST_CHECK struct err dir_password_store(const struct directory_options *o,
                                         struct directory_password password, struct arena *a,
                                         struct str *out);
/* Whether the password is the stored one. */
bool dir_password_matches(struct str stored, struct str password);
/* Does the work of comparing with a hash of the default scheme, for nothing. */
void dir_password_pretend(const struct directory_options *o, struct str password);

#endif
