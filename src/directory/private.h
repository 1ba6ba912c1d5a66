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
/* "local@domain" into `out`. */
enum { ADDRESS_MAX = LOCAL_MAX + 1 + DOMAIN_MAX };
struct str dir_address_text(const struct dir_address *a, uint8_t out[ADDRESS_MAX]);
/* Splits at the last '@'. */
MUST_CHECK struct err dir_address_parse(struct str address, struct dir_address *out);

/* -- keys and records (record.c) --
 *
 *   d domain                 Thurn__Domain
 *   a domain \x01 local       Thurn__AccountRecord: in byte order of domain and local part
 *   i id                     local@domain: the address of the account with this id
 *   l domain \x01 local       Thurn__Alias
 *   n                        the next account id, decimal
 *   p id                     an account whose making or removal has begun, to be erased if that
 *                            is all that is left of it
 *   s name                   a secret of the installation
 */
struct dir_key {
    uint8_t b[2 + DOMAIN_MAX + 1 + LOCAL_MAX];
    size_t n;
};
struct dir_key dir_key_domain(const struct dir_domain *d);
struct dir_key dir_key_account(const struct dir_address *a);
struct dir_key dir_key_alias(const struct dir_address *a);
/* What the keys of all accounts (of a domain; NULL: of all) begin with; and those of aliases. */
struct dir_key dir_key_accounts(const struct dir_domain *d);
struct dir_key dir_key_aliases(const struct dir_domain *d);
struct dir_key dir_key_id(account_id id);
struct dir_key dir_key_secret(struct str name);
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
static inline ProtobufCBinaryData dir_bytes(struct str s)
{
    return (ProtobufCBinaryData){s.n, (uint8_t *)(uintptr_t)s.p};
}
static inline struct str dir_str(ProtobufCBinaryData b)
{
    return str_of(b.data, b.len);
}

/* -- the directory itself (directory.c) -- */

enum { SNAPS_KEPT = 8, RECORD_BUDGET = 256 * 1024 };

/*
 * Look-ups read the store; nothing is cached but a few open snapshots, each used by one thread at a
 * time and thrown away once the directory has changed.
 */
struct kept_snap {
    struct snap *snap;
    uint64_t opened_us;
};

struct directory {
    struct store *store;
    struct account *system;
    struct directory_options options;
    struct hash_memory *memory;
    pthread_mutex_t write; /* one change at a time: the system account has one transaction */
    pthread_mutex_t mutex; /* of what follows */
    struct kept_snap kept[SNAPS_KEPT];
    size_t n_kept;
    struct directory_settings settings;
};

MUST_CHECK struct err dir_read_begin(struct directory *d, struct kept_snap *out);
void dir_read_end(struct directory *d, struct kept_snap s);
struct directory_settings dir_settings(struct directory *d);

/* E_NOTFOUND says what there is none of. */
MUST_CHECK struct err dir_get_domain(struct snap *s, const struct dir_domain *domain,
                                     struct arena *a, Thurn__Domain **out);
MUST_CHECK struct err dir_get_account(struct snap *s, const struct dir_address *address,
                                      struct arena *a, Thurn__AccountRecord **out);
MUST_CHECK struct err dir_get_account_by_id(struct snap *s, account_id id, struct arena *a,
                                            struct dir_address *out_address,
                                            Thurn__AccountRecord **out);
MUST_CHECK struct err dir_get_alias(struct snap *s, const struct dir_address *address,
                                    struct arena *a, Thurn__Alias **out);
/* Whether any key begins so. */
MUST_CHECK struct err dir_any(struct snap *s, const struct dir_key *prefix, bool *out);
/* Up to `max` records of one type below a prefix, behind `after`, in the arena. */
MUST_CHECK struct err dir_list(struct directory *d, const ProtobufCMessageDescriptor *type,
                               struct str prefix, struct str after, size_t max, struct arena *a,
                               void *out_rows, size_t *out_n);

/* The same for what stands under addresses: of a domain (empty: of all), behind an address (empty:
 * from the first). */
MUST_CHECK struct err dir_list_addresses(struct directory *d,
                                         const ProtobufCMessageDescriptor *type,
                                         struct dir_key (*prefix)(const struct dir_domain *d),
                                         struct dir_key (*key)(const struct dir_address *a),
                                         struct str domain, struct str after, size_t max,
                                         struct arena *a, void *out_rows, size_t *out_n);

/* One change of the directory: a transaction, and memory for what it reads. */
struct dir_change {
    struct txn *txn;
    struct snap *snap; /* before it */
    struct arena arena;
};
/* Holds the directory's writers off until dir_change_end. */
MUST_CHECK struct err dir_change_begin(struct directory *d, struct dir_change *c);
/* Commits if `e` is OK, else throws the change away. */
MUST_CHECK struct err dir_change_end(struct directory *d, struct dir_change *c, struct err e);
MUST_CHECK struct err dir_put(struct dir_change *c, const struct dir_key *key,
                              const ProtobufCMessage *m);

/* -- routing (route.c) -- */

/* Whether the address reaches an account, and never passes through `not_through` (NULL: anything);
 * E_NOTFOUND, E_CONFLICT, E_LIMIT. */
MUST_CHECK struct err dir_reaches(struct snap *s, uint8_t separator,
                                  const struct dir_address *address,
                                  const struct dir_address *not_through);
/* The quota that holds for an account of that domain. */
MUST_CHECK struct err dir_quota(struct snap *s, const struct directory_settings *settings,
                                const Thurn__AccountRecord *record, const struct dir_domain *domain,
                                struct arena *a, struct directory_quota *out);
/* Changes what is asked for; NULL stays NULL if that is nothing. */
Thurn__Quota *dir_quota_change(Thurn__Quota *was, const struct directory_change *c,
                               struct arena *a);

/* -- special folders (folders.c) -- */

enum { FOLDERS = 5 };
/* The language as it is kept: the most fitting one that there are names in. E_INVALID. */
MUST_CHECK struct err dir_language(struct str asked, struct str *out);
/* The special folders in a language that is kept, or in English. */
void dir_folders(struct str language, struct new_mailbox out[FOLDERS]);

/* -- passwords (password.c) -- */

struct hash_memory;
struct hash_memory *hash_memory_new(uint32_t kib);
void hash_memory_free(struct hash_memory *m);

/* What is stored for a password: {SCHEME}hash in the arena. E_INVALID with a reason. */
MUST_CHECK struct err dir_password_store(const struct directory *d,
                                         struct directory_password password, struct arena *a,
                                         struct str *out);
/* Whether the password is the stored one. If not, that takes no less time than
 * dir_password_pretend: it does not show who exists. */
bool dir_password_matches(const struct directory *d, struct str stored, struct str password);
/* Whether the stored hash is of another scheme, which Argon2id should replace. */
bool dir_password_is_foreign(struct str stored);
/* Does the work of comparing with a hash of the default scheme, for nothing. */
void dir_password_pretend(const struct directory *d, struct str password);

#endif
