#include "base/base.h"

#include "rpc/rpc.h"
#include "all_messages.h"

#include <setjmp.h>
#include <cmocka.h>

enum { MESSAGE_DEPTH = 32 };

/* Walks everything that a message contains; `path` is the way down to it. */
static void walk(const ProtobufCMessageDescriptor **path, size_t depth)
{
    const ProtobufCMessageDescriptor *m = path[depth];
    for (size_t i = 0; i < depth; i++) {
        if (path[i] == m)
            fail_msg("%s contains itself", m->name);
    }
    assert_true(depth + 1 < MESSAGE_DEPTH);
    for (unsigned i = 0; i < m->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->fields[i];
        /* C strings: what comes out of mail may hold NUL and is not always UTF-8. */
        if (f->type == PROTOBUF_C_TYPE_STRING)
            fail_msg("%s.%s is a string, not bytes", m->name, f->name);
        if (f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        path[depth + 1] = f->descriptor;
        walk(path, depth + 1);
    }
}

static void walk_from(const ProtobufCMessageDescriptor *m)
{
    const ProtobufCMessageDescriptor *path[MESSAGE_DEPTH] = {m};
    walk(path, 0);
}

static void no_message_contains_itself(void **state)
{
    for (size_t i = 0; i < rpc_table.n; i++)
        walk_from(rpc_table.types[i].message);
#define WALK(descriptor) walk_from(&descriptor);
    ALL_MESSAGES(WALK)
#undef WALK
}

static void frame_numbers_are_sorted_and_unique(void **state)
{
    for (size_t i = 1; i < rpc_table.n; i++)
        assert_true(rpc_table.types[i - 1].number < rpc_table.types[i].number);
}

static void each_frame_type_has_its_own_message(void **state)
{
    for (size_t i = 0; i < rpc_table.n; i++)
        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(rpc_table.types[i].message, rpc_table.types[k].message);
}

static void no_frame_type_exceeds_the_raw_limit(void **state)
{
    for (size_t i = 0; i < rpc_table.n; i++)
        assert_true(rpc_table.types[i].max_raw <= FRAME_RAW_MAX);
}

static void a_message_survives_packing(void **state)
{
    struct buf packed CLEANUP(buf_free) = {0};
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    Thurn__ImapLogin m = THURN__IMAP_LOGIN__INIT;
    m.user = pb_bytes(STR("ali\0ce"));
    pb_pack(&packed, &m.base);
    Thurn__ImapLogin *back =
        (Thurn__ImapLogin *)pb_unpack(&a, &thurn__imap_login__descriptor, buf_str(&packed));
    assert_non_null(back);
    assert_true(str_eq(pb_str(back->user), STR("ali\0ce")));
    assert_int_equal(pb_str(back->password).n, 0);
}

static void a_message_beyond_the_budget_is_refused(void **state)
{
    struct buf packed CLEANUP(buf_free) = {0};
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    for (size_t i = 0; i < 1000; i++)
        buf_put(&packed, STR("\x0a\x00")); /* an empty row */
    assert_null(pb_unpack(&a, &thurn__imap_rows__descriptor, buf_str(&packed)));
}

static void every_error_has_a_code_for_the_client(void **state)
{
    assert_int_equal(rpc_code(OK), THURN__CODE__DONE);
    for (int e = E_OK + 1; e <= E_CORRUPT; e++)
        assert_int_not_equal(rpc_code(err_make((enum errc)e, "test")), THURN__CODE__DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_message_contains_itself),
        cmocka_unit_test(frame_numbers_are_sorted_and_unique),
        cmocka_unit_test(each_frame_type_has_its_own_message),
        cmocka_unit_test(no_frame_type_exceeds_the_raw_limit),
        cmocka_unit_test(a_message_survives_packing),
        cmocka_unit_test(a_message_beyond_the_budget_is_refused),
        cmocka_unit_test(every_error_has_a_code_for_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
