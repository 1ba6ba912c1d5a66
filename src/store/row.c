#include "store/model.h"

/* protobuf-c allocates from the arena; what it frees stays there until the arena goes. */
struct row_memory {
    struct arena *arena;
    bool full;
};

static void *row_alloc(void *data, size_t n)
{
    struct row_memory *m = data;
    void *p = arena_alloc(m->arena, n);
    m->full = m->full || !p;
    return p;
}

static void row_free(void *data, void *p)
{
    (void)data;
    (void)p;
}

/* In every record, field 1 is the account. */
static uint64_t row_account(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *m)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(type, 1);
    check(f && f->type == PROTOBUF_C_TYPE_UINT64);
    uint64_t v;
    memcpy(&v, (const uint8_t *)m + f->offset, sizeof v);
    return v;
}

struct err row_unpack_any(const ProtobufCMessageDescriptor *type, struct str packed,
                          struct arena *a, void *out_message)
{
    struct row_memory memory = {.arena = a};
    ProtobufCAllocator allocator = {
        .alloc = row_alloc, .free = row_free, .allocator_data = &memory};
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, packed.n, packed.p);
    if (!m)
        return memory.full ? err_make(E_LIMIT, "a record exceeds the memory for it")
                           : err_make(E_CORRUPT, "a stored record cannot be unpacked");
    *(ProtobufCMessage **)out_message = m;
    return OK;
}

struct err row_unpack(const ProtobufCMessageDescriptor *type, struct str packed, account_id account,
                      struct arena *a, void *out_message)
{
    ProtobufCMessage *m;
    TRY(row_unpack_any(type, packed, a, &m));
    if (row_account(type, m) != account.v)
        return err_make(E_CORRUPT, "a stored record belongs to another account");
    *(ProtobufCMessage **)out_message = m;
    return OK;
}

struct err row_borrow(const ProtobufCMessageDescriptor *type, struct str packed, account_id account,
                      struct arena *a, void *out_message)
{
    ProtobufCMessage *m;
    struct err e = pb_borrow(a, type, packed, 0, &m);
    if (e.code == E_INVALID)
        return err_make(E_CORRUPT, "a stored record cannot be unpacked");
    TRY(e);
    if (row_account(type, m) != account.v)
        return err_make(E_CORRUPT, "a stored record belongs to another account");
    *(ProtobufCMessage **)out_message = m;
    return OK;
}

void row_pack(struct buf *out, const void *message)
{
    const ProtobufCMessage *m = message;
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *room = buf_room(out, n);
    if (!room)
        return;
    buf_added(out, protobuf_c_message_pack(m, room));
}

void row_put(struct batch *b, const struct key *k, const void *message)
{
    uint8_t small[512];
    size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t *p = n <= sizeof small ? small : mem_alloc(n);
    batch_put(b, key_str(k), str_of(p, protobuf_c_message_pack(message, p)));
    if (p != small)
        free(p);
}

void row_expect_account(struct cur *c, account_id account)
{
    if (cur_varint(c) != account.v)
        cur_fail(c);
}

struct err row_get(struct view *v, const struct key *k, const ProtobufCMessageDescriptor *type,
                   account_id account, struct arena *a, void *out_message)
{
    struct str packed;
    TRY(view_get(v, key_str(k), a, &packed));
    return row_unpack(type, packed, account, a, out_message);
}

struct err row_get_often(struct view *v, const struct key *k,
                         const ProtobufCMessageDescriptor *type, account_id account,
                         struct arena *a, void *out_message)
{
    struct str packed;
    TRY(view_get_often(v, key_str(k), a, &packed));
    return row_unpack(type, packed, account, a, out_message);
}

struct str row_bytes(ProtobufCBinaryData d)
{
    return str_of(d.data, d.len);
}

ProtobufCBinaryData row_data(struct str s)
{
    return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)(uintptr_t)s.p};
}
