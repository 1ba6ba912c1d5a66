#include "rpc/rpc.h"

#define RPC_TYPE(number_, NAME, message_, typed, raw_, fd_)                                        \
    {.number = (number_),                                                                          \
     .name = #message_,                                                                            \
     .message = &thurn__##message_##__descriptor,                                                  \
     .max_typed = (typed),                                                                         \
     .max_raw = (raw_),                                                                            \
     .fd = (fd_)},

static const struct frame_type rpc_types[] = {RPC_FRAMES(RPC_TYPE)};

const struct frame_table rpc_table = {.types = rpc_types, .n = ARRAY_LEN(rpc_types)};

void pb_pack(struct buf *out, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *room = buf_room(out, n);
    if (room)
        buf_added(out, protobuf_c_message_pack(m, room));
}

static void *pb_arena_alloc(void *arena, size_t n)
{
    return arena_alloc(arena, n);
}

static void pb_arena_free(void *arena, void *p)
{
    (void)arena, (void)p; /* goes with the arena */
}

ProtobufCMessage *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *type,
                            struct str packed)
{
    ProtobufCAllocator allocator = {pb_arena_alloc, pb_arena_free, a};
    return protobuf_c_message_unpack(type, &allocator, packed.n, packed.p);
}

Thurn__Code rpc_code(struct err e)
{
    switch (e.code) {
    case E_OK: return THURN__CODE__DONE;
    case E_NOTFOUND: return THURN__CODE__NOT_FOUND;
    case E_EXISTS: return THURN__CODE__ALREADY_EXISTS;
    case E_DENIED: return THURN__CODE__DENIED;
    case E_INVALID: return THURN__CODE__INVALID;
    case E_LIMIT: return THURN__CODE__LIMIT_EXCEEDED;
    case E_CONFLICT: return THURN__CODE__IN_USE;
    case E_UNSUPPORTED: return THURN__CODE__UNSUPPORTED;
    case E_QUOTA: return THURN__CODE__OVER_QUOTA;
    case E_FULL: return THURN__CODE__STORE_FULL;
    case E_CORRUPT: return THURN__CODE__CORRUPT;
    case E_AGAIN:
    case E_CLOSED:
    case E_TIMEOUT:
    case E_IO: return THURN__CODE__TEMPORARY;
    }
    return THURN__CODE__TEMPORARY;
}
