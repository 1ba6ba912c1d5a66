#include "directory/private.h"

enum {
    KEY_DOMAIN = 'd',
    KEY_ACCOUNT = 'a',
    KEY_ID = 'i',
    KEY_ALIAS = 'l',
    KEY_NEXT = 'n',
    KEY_PENDING = 'p',
    KEY_SECRET = 's',
    KEY_SEPARATOR = 1,
};

static void key_add(struct dir_key *k, const void *p, size_t n)
{
    check(n <= sizeof k->b - k->n);
    memcpy(k->b + k->n, p, n);
    k->n += n;
}

static struct dir_key key_begin(uint8_t kind)
{
    struct dir_key k = {.n = 0};
    key_add(&k, &kind, 1);
    return k;
}

struct dir_key dir_key_domain(const struct dir_domain *d)
{
    struct dir_key k = key_begin(KEY_DOMAIN);
    key_add(&k, d->b, d->n);
    return k;
}

static struct dir_key key_addresses(uint8_t kind, const struct dir_domain *d)
{
    struct dir_key k = key_begin(kind);
    if (d) {
        key_add(&k, d->b, d->n);
        key_add(&k, &(uint8_t){KEY_SEPARATOR}, 1);
    }
    return k;
}

struct dir_key dir_key_accounts(const struct dir_domain *d)
{
    return key_addresses(KEY_ACCOUNT, d);
}

struct dir_key dir_key_aliases(const struct dir_domain *d)
{
    return key_addresses(KEY_ALIAS, d);
}

static struct dir_key key_address(uint8_t kind, const struct dir_address *a)
{
    struct dir_key k = key_addresses(kind, &a->domain);
    key_add(&k, a->local, a->local_n);
    return k;
}

struct dir_key dir_key_account(const struct dir_address *a)
{
    return key_address(KEY_ACCOUNT, a);
}

struct dir_key dir_key_alias(const struct dir_address *a)
{
    return key_address(KEY_ALIAS, a);
}

struct dir_key dir_key_secret(struct str name)
{
    struct dir_key k = key_begin(KEY_SECRET);
    key_add(&k, name.p, name.n);
    return k;
}

struct dir_key dir_key_next(void)
{
    return key_begin(KEY_NEXT);
}

static struct dir_key key_of_id(uint8_t kind, account_id id)
{
    struct dir_key k = key_begin(kind);
    char text[24];
    int n = snprintf(text, sizeof text, "%016" PRIx64, id.v);
    key_add(&k, text, (size_t)n);
    return k;
}

struct dir_key dir_key_id(account_id id)
{
    return key_of_id(KEY_ID, id);
}

struct dir_key dir_key_pending(account_id id)
{
    return key_of_id(KEY_PENDING, id);
}

static void *record_alloc(void *arena, size_t n)
{
    return arena_alloc(arena, n);
}

static void record_free(void *arena, void *p)
{
    (void)arena, (void)p; /* goes with the arena */
}

struct err dir_record_unpack(struct arena *a, const ProtobufCMessageDescriptor *type,
                             struct str packed, void *out)
{
    ProtobufCAllocator allocator = {record_alloc, record_free, a};
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, packed.n, packed.p);
    if (!m)
        return err_make(E_CORRUPT, "a record of the directory cannot be read");
    *(ProtobufCMessage **)out = m;
    return OK;
}

void dir_record_pack(struct buf *out, const ProtobufCMessage *m)
{
    uint8_t *room = buf_room(out, protobuf_c_message_get_packed_size(m));
    if (room)
        buf_added(out, protobuf_c_message_pack(m, room));
}
