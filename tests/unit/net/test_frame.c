#include "base/base.h"

#include "net/frame.h"
#include "rpc/rpc.h"

#include <setjmp.h>
#include <cmocka.h>

static void put_head(struct buf *out, uint32_t typed, uint32_t raw, uint16_t type, uint16_t fds)
{
    buf_u32le(out, typed);
    buf_u32le(out, raw);
    buf_u16le(out, type);
    buf_u16le(out, fds);
    buf_u32le(out, 77);
}

static enum errc head_error(uint32_t typed, uint32_t raw, uint16_t type, uint16_t fds)
{
    struct buf b CLEANUP(buf_free) = {0};
    struct frame_head h;
    put_head(&b, typed, raw, type, fds);
    return frame_head_read(&rpc_table, buf_str(&b), &h).code;
}

static void a_heads_limits_are_those_of_its_type(void **state)
{
    assert_int_equal(head_error(0, 0, RPC_PROBE, 0), E_OK);
    assert_int_equal(head_error(4096, 0, RPC_PROBE, 0), E_OK);
    assert_int_equal(head_error(4097, 0, RPC_PROBE, 0), E_LIMIT);
    assert_int_equal(head_error(0, 1, RPC_PROBE, 0), E_LIMIT);
    assert_int_equal(head_error(UINT32_MAX, UINT32_MAX, RPC_PROBE, 0), E_LIMIT);
    assert_int_equal(head_error(0, FRAME_RAW_MAX, RPC_IMAP_BYTES, 0), E_OK);
    assert_int_equal(head_error(0, FRAME_RAW_MAX + 1, RPC_IMAP_BYTES, 0), E_LIMIT);
    assert_int_equal(head_error(0, 0, RPC_PROBE, 1), E_INVALID);
    assert_int_equal(head_error(0, 0, RPC_SESSION_OPEN, 1), E_OK);
    assert_int_equal(head_error(0, 0, RPC_SESSION_OPEN, 2), E_INVALID);
    assert_int_equal(head_error(0, 0, 0, 0), E_INVALID);
    assert_int_equal(head_error(0, 0, UINT16_MAX, 0), E_INVALID);
}

static void a_head_reads_as_it_was_written(void **state)
{
    struct frame_head h = {.type = frame_type_find(&rpc_table, RPC_SCAN_PARSE),
                           .typed = 513,
                           .raw = 65535,
                           .serial = 0xA1B2C3D4,
                           .fd = true};
    struct frame_head back;
    uint8_t bytes[FRAME_HEAD];
    frame_head_write(&h, bytes);
    assert_int_equal(frame_head_read(&rpc_table, str_of(bytes, sizeof bytes), &back).code, E_OK);
    assert_ptr_equal(back.type, h.type);
    assert_int_equal(back.typed, h.typed);
    assert_int_equal(back.raw, h.raw);
    assert_int_equal(back.serial, h.serial);
    assert_true(back.fd);
}

/* Three frames, cut into pieces of `step` bytes; every other time the second half of a piece is
 * put straight into the frame being assembled. */
static void feed(struct str all, size_t step, bool straight)
{
    struct frame_parser p;
    frame_parser_init(&p, &rpc_table);
    size_t n = 0;
    for (size_t at = 0; at < all.n; at += step) {
        struct str in = str_sub(all, at, at + step);
        size_t room;
        uint8_t *place = frame_parser_room(&p, &room);
        if (straight && room) {
            size_t placed = MIN(room, in.n);
            memcpy(place, in.p, placed);
            frame_parser_filled(&p, placed);
            in = str_skip(in, placed);
        }
        for (bool complete = true; complete;) {
            struct frame_parts parts;
            assert_int_equal(frame_parser_next(&p, &in, &parts, &complete).code, E_OK);
            if (!complete)
                break;
            struct frame *f;
            assert_int_equal(frame_unpack(&parts, -1, &f).code, E_OK);
            n++;
            assert_true(str_eq(f->raw, n == 2 ? STR("raw bytes") : (struct str){0}));
            frame_free(f);
        }
        assert_int_equal(in.n, 0);
    }
    assert_int_equal(n, 3);
    frame_parser_free(&p);
}

static void frames_may_be_cut_anywhere(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    put_head(&b, 6, 0, RPC_PROBE, 0);
    buf_put(&b, STR("\x0a\x04open"));
    put_head(&b, 2, 9, RPC_SCAN_PARSE, 0);
    buf_put(&b, STR("\x08\x09raw bytes"));
    put_head(&b, 0, 0, RPC_ROLE_GO, 0);
    for (size_t step = 1; step <= b.n; step++) {
        feed(buf_str(&b), step, false);
        feed(buf_str(&b), step, true);
    }
}

static enum errc unpack_error(uint16_t type, struct str typed)
{
    struct frame_parts parts = {
        .head = {.type = frame_type_find(&rpc_table, type), .typed = (uint32_t)typed.n},
        .typed = typed};
    struct frame *f;
    struct err e = frame_unpack(&parts, -1, &f);
    if (e.code == E_OK)
        frame_free(f);
    return e.code;
}

static void a_full_frame_of_small_rows_fits_its_budget(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    const struct frame_type *t = frame_type_find(&rpc_table, RPC_IMAP_ROWS);
    while (b.n + 10 <= t->max_typed) /* sequence number, UID, items */
        buf_put(&b, STR("\x0a\x08\x08\x81\x01\x10\x81\x01\x50\x01"));
    assert_int_equal(unpack_error(RPC_IMAP_ROWS, buf_str(&b)), E_OK);
}

static void a_frame_of_empty_rows_is_refused_for_its_size_in_memory(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < 100000; i++)
        buf_put(&b, STR("\x0a\x00"));
    assert_int_equal(unpack_error(RPC_IMAP_ROWS, buf_str(&b)), E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_heads_limits_are_those_of_its_type),
        cmocka_unit_test(a_head_reads_as_it_was_written),
        cmocka_unit_test(frames_may_be_cut_anywhere),
        cmocka_unit_test(a_full_frame_of_small_rows_fits_its_budget),
        cmocka_unit_test(a_frame_of_empty_rows_is_refused_for_its_size_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
