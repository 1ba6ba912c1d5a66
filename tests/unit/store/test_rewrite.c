/* Segments that are mostly dead: their space comes back, and nobody's mail is lost by it. */
#include "engine_rig.h"
#include "store/engine_private.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { SEGMENT = 256 << 10, BODIES = 64, BYTES = 16 << 10, BIG = BODY_BIG + 1000 };

static void assert_ok(struct err err)
{
    if (err.code)
        print_error("%s: %s\n", errc_name(err.code), err.why);
    assert_int_equal(err.code, E_OK);
}

static int setup(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    rig_init(r);
    r->options.segment_size = SEGMENT;
    assert_ok(rig_open(r));
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig_end(*state);
    free(*state);
    return 0;
}

static struct str key_n(uint32_t n)
{
    static struct key k;
    k.n = 0;
    key_u32(&k, n);
    return key_str(&k);
}

static struct str bytes_n(uint32_t n, size_t size)
{
    static uint8_t bytes[BIG];
    memset(bytes, (int)(n % 251), size);
    memcpy(bytes, &n, sizeof n);
    return str_of(bytes, size);
}

static void add(struct rig *r, uint32_t n, size_t size)
{
    struct body *b = body_new(bytes_n(n, size));
    assert_ok(commit_body(r->e, key_n(n), b));
    body_unref(b);
}

static void drop_at(struct rig *r, uint32_t n, const Thurn__BodyPlace *place)
{
    struct wait_commit w;
    wait_init(&w);
    batch_body_drop(&w.c.batch, key_n(n), place);
    wait_submit(r->e, &w);
    assert_ok(wait_end(&w));
}

static void drop(struct rig *r, uint32_t n)
{
    struct arena a CLEANUP(arena_free);
    Thurn__BodyPlace *place;
    arena_init(&a, 4096);
    assert_ok(place_now(r->e, key_n(n), &a, &place));
    drop_at(r, n, place);
    thurn__body_place__free_unpacked(place, NULL);
}

static bool there(struct rig *r, uint32_t n)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    return get_now(r->e, key_n(n), &a).p != NULL;
}

/* Until there is nothing to do any more. */
static void rewrite(struct rig *r)
{
    bool worked = true;
    for (unsigned i = 0; worked; i++) {
        assert_true(i < 10000);
        assert_ok(engine_rewrite(r->e, &worked));
    }
}

static uint64_t segments(struct rig *r)
{
    struct store_stats s;
    engine_stats(r->e, &s);
    return s.segments;
}

static void no_finding(account_id account, struct str what, void *arg)
{
    (void)account;
    (void)arg;
    fail_msg("%.*s", STR_FMT(what));
}

static void reopen(struct rig *r)
{
    rig_close(r);
    assert_ok(rig_open(r));
}

/* Fills some segments; of each one message in eight stays. */
static void fill_and_drop(struct rig *r)
{
    for (uint32_t n = 0; n < BODIES; n++)
        add(r, n, BYTES);
    add(r, 1000, BYTES); /* keeps the last segment open */
    for (uint32_t n = 0; n < BODIES; n++)
        if (n % 8)
            drop(r, n);
}

static void look(struct rig *r)
{
    for (uint32_t n = 0; n < BODIES; n++)
        if (n % 8)
            assert_false(there(r, n));
        else
            assert_true(body_is(r->e, key_n(n), bytes_n(n, BYTES)));
    assert_true(body_is(r->e, key_n(1000), bytes_n(1000, BYTES)));
    assert_ok(engine_log_verify(r->e, no_finding, NULL, NULL));
}

static void space_of_what_is_dead_comes_back(void **state)
{
    struct rig *r = *state;
    fill_and_drop(r);
    uint64_t before = segments(r);
    assert_true(before >= 4);
    rewrite(r);
    assert_true(segments(r) <= 2);
    look(r);
    reopen(r);
    look(r);
    rewrite(r);
    look(r);
}

static void what_was_left_by_an_earlier_life_is_found(void **state)
{
    struct rig *r = *state;
    fill_and_drop(r);
    reopen(r);
    rewrite(r);
    assert_true(segments(r) <= 2);
    look(r);
}

static void what_is_mostly_alive_stays_where_it_is(void **state)
{
    struct rig *r = *state;
    for (uint32_t n = 0; n < BODIES; n++)
        add(r, n, BYTES);
    for (uint32_t n = 0; n < BODIES; n += 4)
        drop(r, n);
    uint64_t before = segments(r);
    rewrite(r);
    assert_int_equal(segments(r), before);
}

static void a_big_body_takes_its_segment_along(void **state)
{
    struct rig *r = *state;
    add(r, 1, BIG);
    add(r, 2, BIG);
    uint64_t before = segments(r);
    drop(r, 1);
    rewrite(r);
    assert_int_equal(segments(r), before - 1);
    assert_true(body_is(r->e, key_n(2), bytes_n(2, BIG)));
    reopen(r);
    assert_true(body_is(r->e, key_n(2), bytes_n(2, BIG)));
}

static void who_began_to_read_before_can_go_on_reading(void **state)
{
    struct rig *r = *state;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    fill_and_drop(r);
    struct view *v = view_open(r->e);
    struct str packed;
    uint64_t before = segments(r);
    rewrite(r);
    assert_true(segments(r) >= before);
    assert_ok(view_get(v, key_n(8), &a, &packed));
    Thurn__BodyPlace *place = thurn__body_place__unpack(NULL, packed.n, packed.p);
    assert_non_null(place);
    assert_ok(engine_body_verify(r->e, place));
    view_close(v);
    rewrite(r);
    assert_true(segments(r) <= 2);
    uint8_t byte, hash[SHA256_LEN];
    assert_int_equal(engine_body_read(r->e, place, 0, &byte, 1, hash).code, E_CORRUPT);
    thurn__body_place__free_unpacked(place, NULL);
    look(r);
}

static void all_owners_of_a_body_move_together(void **state)
{
    struct rig *r = *state;
    struct body *b = body_new(bytes_n(0, BYTES));
    for (uint32_t n = 2000; n < 2010; n++)
        assert_ok(commit_body(r->e, key_n(n), b));
    body_unref(b);
    fill_and_drop(r);
    drop(r, 2003);
    rewrite(r);
    struct store_stats s;
    engine_stats(r->e, &s);
    for (uint32_t n = 2000; n < 2010; n++)
        if (n != 2003)
            assert_true(body_is(r->e, key_n(n), bytes_n(0, BYTES)));
    assert_false(there(r, 2003));
    look(r);
}

static void a_place_that_was_read_before_the_move_still_drops_the_body(void **state)
{
    struct rig *r = *state;
    struct arena a CLEANUP(arena_free);
    Thurn__BodyPlace *place;
    arena_init(&a, 4096);
    fill_and_drop(r);
    assert_ok(place_now(r->e, key_n(8), &a, &place));
    rewrite(r);
    drop_at(r, 8, place);
    thurn__body_place__free_unpacked(place, NULL);
    assert_false(there(r, 8));
    for (uint32_t n = 0; n < BODIES; n += 8)
        if (n != 8)
            drop(r, n);
    drop(r, 1000);
    add(r, 3000, BYTES);
    reopen(r);
    add(r, 3001, BYTES);
    rewrite(r);
    assert_true(segments(r) <= 2); /* no reverse key holds anything */
}

static void a_message_in_memory_is_written_again_where_its_segment_is_gone(void **state)
{
    struct rig *r = *state;
    static uint8_t small[BYTES], large[BIG];
    memset(small, 's', sizeof small);
    memset(large, 'l', sizeof large);
    struct body *b = body_new(str_of(small, sizeof small));
    struct body *big = body_new(str_of(large, sizeof large));
    assert_ok(commit_body(r->e, key_n(5000), b));
    assert_ok(commit_body(r->e, key_n(5001), big));
    fill_and_drop(r);
    drop(r, 5000);
    drop(r, 5001);
    rewrite(r);
    assert_ok(commit_body(r->e, key_n(5002), b));
    assert_true(body_is(r->e, key_n(5002), str_of(small, sizeof small)));
    assert_ok(commit_body(r->e, key_n(5003), big));
    assert_true(body_is(r->e, key_n(5003), str_of(large, sizeof large)));
    body_unref(b);
    body_unref(big);
    reopen(r);
    look(r);
}

static void what_is_damaged_is_not_copied_and_stays(void **state)
{
    struct rig *r = *state;
    struct arena a CLEANUP(arena_free);
    Thurn__BodyPlace *place;
    arena_init(&a, 4096);
    fill_and_drop(r);
    assert_ok(place_now(r->e, key_n(8), &a, &place));
    flip_in_segment(r, (unsigned)place->segment, (long)place->offset + RECORD_HEADER + 100);
    bool worked = true;
    while (worked)
        (void)!engine_rewrite(r->e, &worked).code;
    uint8_t byte, hash[SHA256_LEN];
    assert_ok(engine_body_read(r->e, place, 0, &byte, 1,
                               hash)); /* it is all there, for who can mend it */
    thurn__body_place__free_unpacked(place, NULL);
    for (uint32_t n = 16; n < BODIES; n += 8)
        assert_true(body_is(r->e, key_n(n), bytes_n(n, BYTES)));
}

/* A place whose bytes are whole, but of another message: it stays as it is, is not copied again and
 * again, and the others go on. */
static void a_place_of_the_wrong_bytes_is_left_alone(void **state)
{
    struct rig *r = *state;
    struct arena a CLEANUP(arena_free);
    Thurn__BodyPlace *place;
    struct wait_commit w;
    arena_init(&a, 4096);
    fill_and_drop(r);
    assert_ok(place_now(r->e, key_n(8), &a, &place));
    place->hash++;
    uint8_t wrong[64];
    assert_true(thurn__body_place__get_packed_size(place) <= sizeof wrong);
    size_t n_wrong = thurn__body_place__pack(place, wrong);
    wait_init(&w);
    batch_put(&w.c.batch, key_n(8), str_of(wrong, n_wrong));
    wait_submit(r->e, &w);
    assert_ok(wait_end(&w));
    rewrite(r);
    assert_true(there(r, 8));
    thurn__body_place__free_unpacked(place, NULL);
    for (uint32_t n = 16; n < BODIES; n += 8)
        assert_true(body_is(r->e, key_n(n), bytes_n(n, BYTES)));
}

/* A disk with a bad sector. */
struct bad_disk {
    struct store_disk ops; /* first member */
    char segment[20];      /* ending of the path */
    uint64_t at;
};

static ssize_t bad_pread(const struct store_disk *d, int fd, void *p, size_t n, uint64_t at)
{
    const struct bad_disk *b = (const void *)d;
    char link[40], path[400];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    if (at <= b->at && b->at - at < n &&
        str_ends(str_of((const uint8_t *)path, (size_t)MAX(length, 0)), str_c(b->segment))) {
        errno = EIO;
        return -1;
    }
    return store_disk_real.pread(&store_disk_real, fd, p, n, at);
}

/* Of the record of one body. */
static void cannot_read(struct rig *r, uint64_t byte)
{
    struct arena a CLEANUP(arena_free);
    static struct bad_disk disk;
    Thurn__BodyPlace *place;
    arena_init(&a, 4096);
    fill_and_drop(r);
    assert_ok(place_now(r->e, key_n(8), &a, &place));
    disk.ops = store_disk_real;
    uint64_t before = segments(r), bad = place->segment;
    snprintf(disk.segment, sizeof disk.segment, "/%08u.seg", (unsigned)bad);
    disk.at = place->offset + byte;
    thurn__body_place__free_unpacked(place, NULL);
    disk.ops.pread = bad_pread;
    r->options.disk = &disk.ops;
    reopen(r);
    bool worked = true;
    for (unsigned i = 0; worked; i++) {
        assert_true(i < 1000);
        (void)!engine_rewrite(r->e, &worked).code;
    }
    assert_true(segments(r) <= before - 2);
    r->options.disk = NULL; /* perhaps it can be read once more */
    reopen(r);
    look(r);
}

static void
a_body_that_the_disk_cannot_read_does_not_keep_other_segments_from_being_rewritten(void **state)
{
    cannot_read(*state, RECORD_HEADER + 100);
}

static void a_header_that_the_disk_cannot_read_does_not_either(void **state)
{
    cannot_read(*state, 10);
}

static void an_index_that_is_lost_after_rewriting_is_not_made_anew_from_half_a_log(void **state)
{
    struct rig *r = *state;
    char index[400];
    fill_and_drop(r);
    rewrite(r);
    rig_close(r);
    snprintf(index, sizeof index, "%s/index", r->store);
    remove_tree(index);
    assert_int_equal(rig_open(r).code, E_CORRUPT);
    struct str why = buf_str(&r->explain);
    assert_true(str_find(why, STR("thurn store salvage"), 0) < why.n);
}

static void a_segment_that_is_missing_does_not_keep_the_others_from_being_served(void **state)
{
    struct rig *r = *state;
    char path[400];
    for (uint32_t n = 0; n < BODIES; n++)
        add(r, n, BYTES);
    rig_close(r);
    snprintf(path, sizeof path, "%s/log/%08u.seg", r->store, 2);
    assert_int_equal(unlink(path), 0);
    assert_ok(rig_open(r));
    unsigned lost = 0;
    for (uint32_t n = 0; n < BODIES; n++)
        lost += !body_is(r->e, key_n(n), bytes_n(n, BYTES));
    assert_true(lost > 0 && lost < BODIES / 2);
    reopen(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(space_of_what_is_dead_comes_back),
        T(what_was_left_by_an_earlier_life_is_found),
        T(what_is_mostly_alive_stays_where_it_is),
        T(a_big_body_takes_its_segment_along),
        T(who_began_to_read_before_can_go_on_reading),
        T(all_owners_of_a_body_move_together),
        T(a_place_that_was_read_before_the_move_still_drops_the_body),
        T(a_message_in_memory_is_written_again_where_its_segment_is_gone),
        T(what_is_damaged_is_not_copied_and_stays),
        T(a_place_of_the_wrong_bytes_is_left_alone),
        T(a_body_that_the_disk_cannot_read_does_not_keep_other_segments_from_being_rewritten),
        T(a_header_that_the_disk_cannot_read_does_not_either),
        T(an_index_that_is_lost_after_rewriting_is_not_made_anew_from_half_a_log),
        T(a_segment_that_is_missing_does_not_keep_the_others_from_being_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
