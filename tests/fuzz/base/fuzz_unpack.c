/*
 * Reading a message without copying it. Input: one byte chooses the type, the rest is the message.
 * What is accepted must be what protobuf-c reads in the same bytes.
 */
#include "base/base.h"

#include "rpc.pb-c.h"
#include "store.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void pack(const ProtobufCMessage *m, struct buf *out)
{
    uint8_t *room = buf_room(out, protobuf_c_message_get_packed_size(m));
    if (room)
        buf_added(out, protobuf_c_message_pack(m, room));
}

static void compare(const ProtobufCMessageDescriptor *type, struct str in)
{
    struct arena a CLEANUP(arena_free), again CLEANUP(arena_free);
    struct buf ours CLEANUP(buf_free) = {0}, theirs CLEANUP(buf_free) = {0};
    struct buf known CLEANUP(buf_free) = {0}; /* theirs, without unknown fields */
    arena_init(&a, 1 << 24);
    arena_init(&again, 1 << 24);
    ProtobufCMessage *borrowed;
    if (pb_borrow(&a, type, in, 0, &borrowed).code != E_OK)
        return;
    ProtobufCMessage *judge = protobuf_c_message_unpack(type, NULL, in.n, in.p);
    check(judge);
    pack(borrowed, &ours);
    pack(judge, &theirs);
    check(pb_borrow(&again, type, buf_str(&theirs), 0, &borrowed).code == E_OK);
    pack(borrowed, &known);
    check(str_eq(buf_str(&ours), buf_str(&known)));
    protobuf_c_message_free_unpacked(judge, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &thurn__email__descriptor,     &thurn__stored_email__descriptor,
        &thurn__mailbox__descriptor,   &thurn__body_place__descriptor,
        &thurn__imap_rows__descriptor, &thurn__imap_search__descriptor,
        &thurn__settings__descriptor,  &thurn__imap_numbers__descriptor,
    };
    if (n)
        compare(types[data[0] % ARRAY_LEN(types)], str_of(data + 1, n - 1));
    return 0;
}
