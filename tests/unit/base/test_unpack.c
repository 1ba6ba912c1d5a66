#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "rpc.pb-c.h"
#include "store.pb-c.h"

/* protobuf-c is the judge: whatever pb_borrow accepts, protobuf-c reads the same way. */

static const ProtobufCMessageDescriptor *const types[] = {
    &thurn__email__descriptor,        &thurn__stored_email__descriptor,
    &thurn__mailbox__descriptor,      &thurn__body_place__descriptor,
    &thurn__imap_rows__descriptor,    &thurn__imap_search__descriptor,
    &thurn__imap_updates__descriptor, &thurn__configuration__descriptor,
    &thurn__settings__descriptor,     &thurn__imap_numbers__descriptor,
};

static uint32_t seed = 1;
static uint32_t below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

/* Bytes of a random message of the type: fields in any order, known or not, sometimes several
 * times; one in `errors` is wrong. 0: none is. */
static void random_message(const ProtobufCMessageDescriptor *type, unsigned depth, uint32_t errors,
                           struct buf *out);

static void random_value(const ProtobufCFieldDescriptor *f, unsigned depth, uint32_t errors,
                         struct buf *out)
{
    struct buf inner CLEANUP(buf_free) = {0};
    if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_BYTES) {
        buf_varint(out, (uint64_t)f->id << 3 | 2);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            random_message(f->descriptor, depth + 1, errors, &inner);
        else
            for (uint32_t n = below(12); n; n--)
                buf_byte(&inner, (uint8_t)below(256));
        buf_varint(out, inner.n);
        buf_put(out, buf_str(&inner));
    } else if (f->type == PROTOBUF_C_TYPE_FIXED64) {
        buf_varint(out, (uint64_t)f->id << 3 | 1);
        buf_u64le(out, seed);
    } else if (f->label == PROTOBUF_C_LABEL_REPEATED && below(2)) {
        for (uint32_t n = below(20); n; n--)
            buf_varint(&inner, below(2) ? below(100) : (uint64_t)seed << below(32));
        buf_varint(out, (uint64_t)f->id << 3 | 2);
        buf_varint(out, inner.n);
        buf_put(out, buf_str(&inner));
    } else {
        buf_varint(out, (uint64_t)f->id << 3);
        buf_varint(out, below(2) ? below(100) : (uint64_t)seed << below(40));
    }
}

static void random_message(const ProtobufCMessageDescriptor *type, unsigned depth, uint32_t errors,
                           struct buf *out)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        bool once = f->label != PROTOBUF_C_LABEL_REPEATED && f->type == PROTOBUF_C_TYPE_MESSAGE;
        for (uint32_t n = below(once ? 2 : 3) * (depth < 4); n; n--)
            random_value(f, depth, errors, out);
        if (errors && below(errors) == 0)
            buf_byte(out, (uint8_t)below(256));
    }
}

static struct err borrow(struct arena *a, const ProtobufCMessageDescriptor *type, struct str packed,
                         ProtobufCMessage **out)
{
    return pb_borrow(a, type, packed, 0, out);
}

static void pack(const ProtobufCMessage *m, struct buf *out)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *room = buf_room(out, n);
    assert_non_null(room);
    buf_added(out, protobuf_c_message_pack(m, room));
}

/* Whether it was accepted. */
static bool compare(const ProtobufCMessageDescriptor *type, struct str packed)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 24);
    ProtobufCMessage *borrowed;
    struct buf ours CLEANUP(buf_free) = {0}, theirs CLEANUP(buf_free) = {0};
    if (borrow(&a, type, packed, &borrowed).code != E_OK)
        return false;
    ProtobufCMessage *judge = protobuf_c_message_unpack(type, NULL, packed.n, packed.p);
    assert_non_null(judge);
    pack(borrowed, &ours);
    pack(judge, &theirs);
    protobuf_c_message_free_unpacked(judge, NULL);
    assert_int_equal(borrow(&a, type, buf_str(&theirs), &borrowed).code, E_OK);
    struct buf known CLEANUP(buf_free) = {0}; /* of theirs, without the fields that nobody knows */
    pack(borrowed, &known);
    assert_true(str_eq(buf_str(&ours), buf_str(&known)));
    return true;
}

static void it_reads_what_protobuf_c_reads(void **state)
{
    for (unsigned round = 0; round < 2000; round++) {
        const ProtobufCMessageDescriptor *type = types[round % ARRAY_LEN(types)];
        struct buf packed CLEANUP(buf_free) = {0};
        random_message(type, 0, 0, &packed);
        assert_true(compare(type, buf_str(&packed)));
    }
}

static void what_is_cut_or_wrong_is_refused_or_read_alike(void **state)
{
    unsigned refused = 0;
    for (unsigned round = 0; round < 1000; round++) {
        const ProtobufCMessageDescriptor *type = types[round % ARRAY_LEN(types)];
        struct buf packed CLEANUP(buf_free) = {0};
        random_message(type, 0, 30, &packed);
        struct str all = buf_str(&packed);
        /* Copies of just that size, so that a read beyond the end is seen. */
        size_t n = all.n ? below((uint32_t)all.n + 1) : 0;
        uint8_t *copy = mem_alloc(n);
        str_copy_to(copy, str_sub(all, 0, n));
        refused += !compare(type, str_of(copy, n));
        free(copy);
    }
    assert_in_range(refused, 300, 999);
}

static void bytes_point_into_the_packed_message(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    Thurn__Param in = THURN__PARAM__INIT, *out;
    in.name = (ProtobufCBinaryData){5, (uint8_t *)"aname"};
    uint8_t packed[32];
    size_t n = thurn__param__pack(&in, packed);
    assert_int_equal(pb_borrow(&a, &thurn__param__descriptor, str_of(packed, n), 0, &out).code,
                     E_OK);
    assert_ptr_equal(out->name.data, packed + 2);
    assert_int_equal(out->name.len, 5);
    assert_null(out->value.data);
}

static void skipped_fields_are_not_read(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    static const uint8_t packed[] = {0x22, 1, 0xFF, 0x28, 3}; /* fields: malformed; broken: 3 */
    Thurn__Email *e;
    struct str s = str_of(packed, sizeof packed);
    assert_int_equal(pb_borrow(&a, &thurn__email__descriptor, s, 0, &e).code, E_INVALID);
    assert_int_equal(pb_borrow(&a, &thurn__email__descriptor, s, PB_FIELD(4), &e).code, E_OK);
    assert_int_equal(e->n_fields, 0);
    assert_int_equal(e->broken, 3);
}

static void a_message_that_comes_twice_is_refused(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    static const uint8_t twice[] = {0x1A, 0, 0x1A, 0}; /* protobuf would merge the envelopes */
    Thurn__Email *e;
    assert_int_equal(pb_borrow(&a, &thurn__email__descriptor, str_of(twice, 2), 0, &e).code, E_OK);
    assert_int_equal(pb_borrow(&a, &thurn__email__descriptor, str_of(twice, 4), 0, &e).code,
                     E_INVALID);
}

static void tags_and_lengths_have_five_bytes_at_most(void **state)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    static const uint8_t tag[] = {0x9A, 0x80, 0x80, 0x80, 0x80, 0, 0};       /* 0x1A */
    static const uint8_t length[] = {0x1A, 0x80, 0x80, 0x80, 0x80, 0x80, 0}; /* 0 */
    static const uint8_t five[] = {0x1A, 0x80, 0x80, 0x80, 0x80, 0};
    const ProtobufCMessageDescriptor *type = &thurn__email__descriptor;
    Thurn__Email *e;
    assert_int_equal(pb_borrow(&a, type, str_of(tag, sizeof tag), 0, &e).code, E_INVALID);
    assert_int_equal(pb_borrow(&a, type, str_of(length, sizeof length), 0, &e).code, E_INVALID);
    assert_int_equal(pb_borrow(&a, type, str_of(five, sizeof five), 0, &e).code, E_OK);
}

static void the_budget_is_kept(void **state)
{
    struct arena a CLEANUP(arena_free);
    uint8_t packed[2000];
    for (size_t i = 0; i < sizeof packed; i += 2) {
        packed[i] = 0x12; /* an empty part */
        packed[i + 1] = 0;
    }
    Thurn__Email *e;
    arena_init(&a, 100 * 1000);
    assert_int_equal(
        pb_borrow(&a, &thurn__email__descriptor, str_of(packed, sizeof packed), 0, &e).code,
        E_LIMIT);
    assert_true(a.used <= a.budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_what_protobuf_c_reads),
        cmocka_unit_test(what_is_cut_or_wrong_is_refused_or_read_alike),
        cmocka_unit_test(bytes_point_into_the_packed_message),
        cmocka_unit_test(skipped_fields_are_not_read),
        cmocka_unit_test(a_message_that_comes_twice_is_refused),
        cmocka_unit_test(tags_and_lengths_have_five_bytes_at_most),
        cmocka_unit_test(the_budget_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
