#include "engine_rig.h"
#include "store/engine_private.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <sys/wait.h>

static int setup(void **state)
{
    struct rig *r = mem_alloc(sizeof *r);
    rig_init(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig_end(*state);
    free(*state);
    return 0;
}

static void assert_ok(struct err err)
{
    if (err.code)
        print_error("%s: %s\n", errc_name(err.code), err.why);
    assert_int_equal(err.code, E_OK);
}

static void assert_value(struct rig *r, struct str key, const char *value)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    struct str got = get_now(r->e, key, &a);
    if (!value) {
        assert_null(got.p);
        return;
    }
    assert_true(got.p && str_eq(got, str_c(value)));
}

static void what_was_committed_is_there_after_reopening(void **state)
{
    struct rig *r = *state;
    assert_ok(rig_open(r));
    assert_ok(commit_put(r->e, STR("k1"), STR("one")));
    assert_ok(commit_put(r->e, STR("k2"), STR("")));
    struct body *b = body_new(STR("From: x\r\n\r\nhello\r\n"));
    assert_ok(commit_body(r->e, STR("b1"), b));
    body_unref(b);
    assert_value(r, STR("k1"), "one");
    for (int i = 0; i < 3; i++) {
        rig_close(r);
        assert_ok(rig_open(r));
        assert_value(r, STR("k1"), "one");
        assert_value(r, STR("k2"), "");
        assert_true(body_is(r->e, STR("b1"), STR("From: x\r\n\r\nhello\r\n")));
        assert_ok(commit_put(r->e, STR("k3"), STR("x")));
    }
}

static void an_index_that_was_removed_is_made_again_from_the_log(void **state)
{
    struct rig *r = *state;
    char index[300];
    assert_ok(rig_open(r));
    struct body *b = body_new(STR("bytes"));
    assert_ok(commit_body(r->e, STR("b"), b));
    assert_ok(commit_put(r->e, STR("k"), STR("v")));
    rig_close(r);
    assert_ok(rig_open(r));
    assert_ok(commit_body(r->e, STR("c"), b));
    body_unref(b);
    rig_close(r);
    snprintf(index, sizeof index, "%s/index", r->store);
    remove_tree(index);
    assert_ok(rig_open(r));
    struct store_stats st;
    engine_stats(r->e, &st);
    assert_int_equal(st.replayed_groups, 3);
    assert_value(r, STR("k"), "v");
    assert_true(body_is(r->e, STR("b"), STR("bytes")));
    assert_true(body_is(r->e, STR("c"), STR("bytes")));
}

/* ---------------------------------------------------------------------------------- keys */

static void keys_keep_the_order_of_numbers_and_hold_no_nul(void **state)
{
    static const uint64_t v[] = {0, 1, 127, 128, 255, 1 << 14, UINT32_MAX, 1ULL << 40, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct key a = {.n = 0}, b = {.n = 0};
        key_u64(&a, v[i]);
        assert_int_equal(a.n, 10);
        assert_null(memchr(a.b, 0, a.n));
        struct cur c = cur_of(key_str(&a));
        assert_true(key_read_u64(&c) == v[i] && !c.bad && cur_end(&c));
        if (i == 0)
            continue;
        key_u64(&b, v[i - 1]);
        assert_true(str_cmp(key_str(&b), key_str(&a)) < 0);
    }
    struct key k = {.n = 0};
    key_u32(&k, UINT32_MAX);
    struct cur c = cur_of(key_str(&k));
    assert_true(k.n == 5 && key_read_u32(&c) == UINT32_MAX && !c.bad);
    c = cur_of(STR("\xff\xff\xff\xff\xff"));
    assert_int_equal(key_read_u32(&c), 0);
    assert_true(c.bad);
}

/* ----------------------------------------------------------------------------- the directory */

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* Names, sizes and contents of everything below. */
static void fingerprint(const char *path, struct buf *out)
{
    struct buf command CLEANUP(buf_free) = {0};
    uint8_t block[4096];
    buf_printf(&command, "cd '%s' && find . | sort && find . -type f | sort | xargs sha256sum",
               path);
    buf_byte(&command, 0);
    FILE *p = popen((const char *)buf_str(&command).p, "r");
    assert_non_null(p);
    for (size_t n; (n = fread(block, 1, sizeof block, p)) > 0;)
        buf_put(out, str_of(block, n));
    assert_int_equal(pclose(p), 0);
}

static void assert_refused(struct rig *r, enum errc code, const char *word)
{
    struct buf before CLEANUP(buf_free) = {0}, after CLEANUP(buf_free) = {0};
    fingerprint(r->dir, &before);
    assert_int_equal(rig_open(r).code, code);
    fingerprint(r->dir, &after);
    assert_true(str_eq(buf_str(&before), buf_str(&after)));
    struct str why = buf_str(&r->explain);
    assert_true(str_find(why, str_c(word), 0) < why.n);
    assert_true(str_find(why, str_c(r->store), 0) < why.n);
}

static void a_directory_of_something_else_is_refused_and_left_alone(void **state)
{
    struct rig *r = *state;
    write_text(r->store, "precious", "data");
    assert_refused(r, E_UNSUPPORTED, "empty directory");
    write_text(r->store, "format", "maildir\n");
    assert_refused(r, E_UNSUPPORTED, "not a store of Thurn");
    write_text(r->store, "format", "thurn store\nformat 2\n");
    assert_refused(r, E_UNSUPPORTED, "this release does not know");
}

static void a_missing_directory_is_named(void **state)
{
    struct rig *r = *state;
    rmdir(r->store);
    assert_refused(r, E_IO, "create the directory");
    write_text(r->dir, "store", "a file");
    assert_refused(r, E_UNSUPPORTED, "not a directory");
}

static void a_second_process_is_told_that_the_store_is_in_use(void **state)
{
    struct rig *r = *state;
    assert_ok(rig_open(r));
    struct rig second = *r;
    second.explain = (struct buf){0};
    assert_int_equal(rig_open(&second).code, E_EXISTS);
    assert_true(str_find(buf_str(&second.explain), STR("in use"), 0) < second.explain.n);
    buf_free(&second.explain);
    assert_ok(commit_put(r->e, STR("k"), STR("v")));
}

static void a_beginning_that_was_interrupted_is_begun_again(void **state)
{
    struct rig *r = *state;
    char path[400];
    write_text(r->store, "lock", "");
    write_text(r->store, "format.new", "thurn st");
    snprintf(path, sizeof path, "%s/log", r->store);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_ok(rig_open(r));
    assert_ok(commit_put(r->e, STR("k"), STR("v")));
}

static void looking_at_a_store_leaves_it_byte_for_byte(void **state)
{
    struct rig *r = *state;
    struct buf before CLEANUP(buf_free) = {0}, after CLEANUP(buf_free) = {0};
    assert_ok(rig_open(r));
    assert_ok(commit_put(r->e, STR("k1"), STR("v1")));
    rig_close(r);
    /* What the index does not hold yet is replayed into the copy only. */
    char index[400], kept[400];
    snprintf(index, sizeof index, "%s/index", r->store);
    snprintf(kept, sizeof kept, "%s/kept", r->dir);
    copy_tree(index, kept);
    assert_ok(rig_open(r));
    assert_ok(commit_put(r->e, STR("k2"), STR("v2")));
    rig_close(r);
    remove_tree(index);
    copy_tree(kept, index);
    fingerprint(r->dir, &before);
    r->options.read_only = true;
    assert_ok(rig_open(r));
    assert_value(r, STR("k1"), "v1");
    assert_value(r, STR("k2"), "v2");
    rig_close(r);
    fingerprint(r->dir, &after);
    assert_true(str_eq(buf_str(&before), buf_str(&after)));
}

/* ------------------------------------------------------------------------------------ faults */

/* The real disk, with one fault at a time. */
static struct {
    struct store_disk ops;
    int failing_syncs, failing_writes;
    bool full;
} faulty;

static int faulty_fdatasync(const struct store_disk *d, int fd)
{
    if (faulty.failing_syncs > 0) {
        faulty.failing_syncs--;
        errno = EIO;
        return -1;
    }
    return store_disk_real.fdatasync(d, fd);
}

static ssize_t faulty_pwritev(const struct store_disk *d, int fd, const struct iovec *v, int n,
                              uint64_t at)
{
    if (faulty.failing_writes > 0) {
        faulty.failing_writes--;
        errno = ENOSPC;
        return -1;
    }
    return store_disk_real.pwritev(d, fd, v, n, at);
}

static int faulty_space(const struct store_disk *d, const char *path, uint64_t *out_free,
                        uint64_t *out_total)
{
    *out_total = (uint64_t)1 << 40;
    *out_free = faulty.full ? 1000 : (uint64_t)2 << 30; /* little enough to be asked each time */
    return 0;
}

static void use_faulty_disk(struct rig *r)
{
    memset(&faulty, 0, sizeof faulty);
    faulty.ops = store_disk_real;
    faulty.ops.fdatasync = faulty_fdatasync;
    faulty.ops.pwritev = faulty_pwritev;
    faulty.ops.space = faulty_space;
    r->options.disk = &faulty.ops;
}

static void a_commit_whose_sync_failed_never_comes_back_and_can_be_repeated(void **state)
{
    struct rig *r = *state;
    use_faulty_disk(r);
    assert_ok(rig_open(r));
    assert_ok(commit_put(r->e, STR("k1"), STR("v")));
    struct body *b = body_new(STR("a message"));
    faulty.failing_syncs = 1;
    assert_int_equal(commit_body(r->e, STR("failed"), b).code, E_IO);
    assert_value(r, STR("failed"), NULL);
    assert_ok(commit_body(r->e, STR("again"), b));
    body_unref(b);
    for (int i = 0; i < 2; i++) {
        assert_true(body_is(r->e, STR("again"), STR("a message")));
        rig_close(r);
        assert_ok(rig_open(r));
        assert_value(r, STR("failed"), NULL);
        assert_value(r, STR("k1"), "v");
    }
}

static void a_failure_of_the_very_first_write_leaves_an_empty_store(void **state)
{
    struct rig *r = *state;
    use_faulty_disk(r);
    assert_ok(rig_open(r));
    faulty.failing_syncs = 2; /* also the segment that was to seal it off */
    assert_int_equal(commit_put(r->e, STR("failed"), STR("v")).code, E_IO);
    rig_close(r);
    assert_ok(rig_open(r));
    assert_value(r, STR("failed"), NULL);
    assert_ok(commit_put(r->e, STR("k"), STR("v")));
    assert_value(r, STR("k"), "v");
}

static void a_full_disk_is_refused_until_there_is_room(void **state)
{
    struct rig *r = *state;
    use_faulty_disk(r);
    assert_ok(rig_open(r));
    assert_ok(commit_put(r->e, STR("k1"), STR("v")));
    faulty.full = true;
    assert_int_equal(commit_put(r->e, STR("k2"), STR("v")).code, E_FULL);
    faulty.full = false;
    faulty.failing_writes = 2; /* the group, and the segment that seals it off */
    assert_int_equal(commit_put(r->e, STR("k3"), STR("v")).code, E_FULL);
    assert_ok(commit_put(r->e, STR("k4"), STR("v")));
    rig_close(r);
    assert_ok(rig_open(r));
    assert_value(r, STR("k1"), "v");
    assert_value(r, STR("k2"), NULL);
    assert_value(r, STR("k3"), NULL);
    assert_value(r, STR("k4"), "v");
}

/* ------------------------------------------------------------------------------------- bodies */

static size_t segment_files(const struct rig *r)
{
    struct store_stats st;
    engine_stats(r->e, &st);
    return st.segments;
}

static void a_body_shared_by_several_commits_is_written_once(void **state)
{
    struct rig *r = *state;
    assert_ok(rig_open(r));
    struct body *b = body_new(STR("shared bytes"));
    struct wait_commit w[3];
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        struct key k = {.n = 0};
        wait_init(&w[i]);
        key_byte(&k, 'b');
        key_u32(&k, (uint32_t)i);
        batch_body(&w[i].c.batch, key_str(&k), (account_id){i + 1}, b);
        key_byte(&k, 'x');
        batch_body(&w[i].c.batch, key_str(&k), (account_id){i + 1}, b);
        wait_submit(r->e, &w[i]);
    }
    body_unref(b);
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        assert_ok(wait_end(&w[i]));
    struct store_stats st;
    engine_stats(r->e, &st);
    assert_int_equal(st.records, 1 + ARRAY_LEN(w));
    for (uint32_t i = 0; i < ARRAY_LEN(w); i++) {
        struct key k = {.n = 0};
        key_byte(&k, 'b');
        key_u32(&k, i);
        assert_true(body_is(r->e, key_str(&k), STR("shared bytes")));
    }
}

static void a_big_body_gets_a_segment_which_goes_with_its_last_owner(void **state)
{
    struct rig *r = *state;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    struct str bytes = str_of(mem_alloc(BODY_BIG + 5), BODY_BIG + 5);
    assert_ok(rig_open(r));
    struct body *b = body_new(bytes);
    assert_ok(commit_body(r->e, STR("b1"), b));
    assert_ok(commit_body(r->e, STR("b2"), b));
    body_unref(b);
    assert_int_equal(segment_files(r), 2);
    for (int i = 0; i < 2; i++) {
        struct str key = i ? STR("b2") : STR("b1");
        Thurn__BodyPlace *place;
        struct wait_commit w;
        rig_close(r);
        assert_ok(rig_open(r));
        assert_true(body_is(r->e, STR("b2"), bytes));
        assert_ok(place_now(r->e, key, &a, &place));
        wait_init(&w);
        batch_body_drop(&w.c.batch, key, place);
        thurn__body_place__free_unpacked(place, NULL);
        wait_submit(r->e, &w);
        assert_ok(wait_end(&w));
        assert_value(r, key, NULL);
    }
    size_t before = segment_files(r);
    rig_close(r);
    assert_ok(rig_open(r));
    assert_int_equal(segment_files(r), before - 1);
    free((void *)(uintptr_t)bytes.p);
}

static void a_place_that_is_wrong_is_noticed(void **state)
{
    struct rig *r = *state;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    uint8_t out[16], hash[SHA256_LEN];
    Thurn__BodyPlace *place;
    assert_ok(rig_open(r));
    struct body *b = body_new(STR("0123456789"));
    assert_ok(commit_body(r->e, STR("b"), b));
    body_unref(b);
    assert_ok(place_now(r->e, STR("b"), &a, &place));
    assert_ok(engine_body_read(r->e, place, 4, out, 3, hash));
    assert_memory_equal(out, "456", 3);
    assert_int_equal(engine_body_read(r->e, place, 4, out, 7, hash).code, E_INVALID);
    Thurn__BodyPlace bad = *place;
    bad.hash++;
    assert_int_equal(engine_body_read(r->e, &bad, 0, out, 1, hash).code, E_CORRUPT);
    bad = *place;
    bad.offset += 8;
    assert_int_equal(engine_body_read(r->e, &bad, 0, out, 1, hash).code, E_CORRUPT);
    bad = *place;
    bad.length++;
    assert_int_equal(engine_body_read(r->e, &bad, 0, out, 1, hash).code, E_CORRUPT);
    bad = *place;
    bad.segment = 99;
    assert_int_equal(engine_body_read(r->e, &bad, 0, out, 1, hash).code, E_CORRUPT);
    thurn__body_place__free_unpacked(place, NULL);
}

/* ------------------------------------------------------------------------------------- damage */

static void count_finding(account_id account, struct str what, void *arg)
{
    ++*(int *)arg;
}

static void a_damaged_body_is_found_by_the_check(void **state)
{
    struct rig *r = *state;
    int findings = 0;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    Thurn__BodyPlace *place;
    assert_ok(rig_open(r));
    struct body *b = body_new(STR("0123456789"));
    assert_ok(commit_body(r->e, STR("b"), b));
    body_unref(b);
    assert_ok(engine_log_verify(r->e, count_finding, NULL, &findings));
    assert_int_equal(findings, 0);
    rig_close(r);
    assert_ok(rig_open(r));
    assert_ok(commit_put(r->e, STR("k"), STR("v"))); /* in a segment of its own */
    assert_ok(place_now(r->e, STR("b"), &a, &place));
    flip_in_segment(r, 1, (long)place->offset + RECORD_HEADER + 2);
    assert_int_equal(engine_body_verify(r->e, place).code, E_CORRUPT);
    assert_ok(engine_log_verify(r->e, count_finding, NULL, &findings));
    assert_int_equal(findings, 1);
    thurn__body_place__free_unpacked(place, NULL);
}

/* One group each in segments 1 and 2, then two in segment 3; the index is gone. */
static void make_log(struct rig *r)
{
    char index[400];
    for (int i = 0; i < 3; i++) {
        assert_ok(rig_open(r));
        assert_ok(commit_put(r->e, STR("k"), STR("v")));
        if (i == 2)
            assert_ok(commit_put(r->e, STR("l"), STR("v")));
        rig_close(r);
    }
    snprintf(index, sizeof index, "%s/index", r->store);
    remove_tree(index);
}

static void damage_in_the_middle_of_the_log_is_not_passed_over(void **state)
{
    struct rig *r = *state;
    static const struct {
        unsigned segment;
        long at;
    } spots[] = {{1, 5}, {1, 150}, {1, 250}, {2, 60}, {2, 130}, {3, 150}, {3, 250}, {3, 50}};
    for (size_t i = 0; i < ARRAY_LEN(spots); i++) {
        make_log(r);
        flip_in_segment(r, spots[i].segment, spots[i].at);
        assert_int_equal(rig_open(r).code, E_CORRUPT);
        struct str why = buf_str(&r->explain);
        assert_true(str_find(why, STR("segment 0000000"), 0) < why.n);
        remove_tree(r->store);
        assert_int_equal(mkdir(r->store, 0700), 0);
    }
}

static void many_small_segments_hold_what_was_put_into_them(void **state)
{
    enum { COMMITS = 300 };
    struct rig *r = *state;
    static uint8_t bytes[COMMITS];
    r->options.segment_size = 4096;
    assert_ok(rig_open(r));
    for (uint32_t i = 0; i < COMMITS; i++) {
        struct key k = {.n = 0};
        key_u32(&k, i);
        memset(bytes, (int)i, i);
        struct body *b = body_new(str_of(bytes, i));
        assert_ok(commit_body(r->e, key_str(&k), b));
        body_unref(b);
    }
    assert_true(segment_files(r) > 20);
    rig_close(r);
    assert_ok(rig_open(r));
    for (uint32_t i = 0; i < COMMITS; i++) {
        struct key k = {.n = 0};
        key_u32(&k, i);
        memset(bytes, (int)i, i);
        assert_true(body_is(r->e, key_str(&k), str_of(bytes, i)));
    }
}

/* -------------------------------------------------------------------------------------- views */

struct listing {
    struct view *v;
    struct buf text;
    size_t max, n;
};

static bool list_key(struct str key, struct str value, void *arg)
{
    struct listing *l = arg;
    buf_put(&l->text, key);
    buf_byte(&l->text, ' ');
    return ++l->n < l->max;
}

static bool list_inside(struct str key, struct str value, void *arg)
{
    struct listing *l = arg;
    list_key(key, value, l);
    size_t n = l->n;
    assert_ok(view_scan(l->v, STR("d"), STR("e"), list_key, l));
    l->n = n;
    return true;
}

static void assert_listing(struct listing *l, struct err err, const char *expected)
{
    assert_ok(err);
    if (!str_eq(buf_str(&l->text), str_c(expected)))
        print_error("got %.*s\n", STR_FMT(buf_str(&l->text)));
    assert_true(str_eq(buf_str(&l->text), str_c(expected)));
    buf_clear(&l->text);
    l->n = 0;
}

static void a_view_lists_in_order_both_ways_and_does_not_change(void **state)
{
    struct rig *r = *state;
    assert_ok(rig_open(r));
    const struct str keys[] = {STR("d"), STR("a"), STR("c"), STR("b")};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_ok(commit_put(r->e, keys[i], STR("v")));
    struct listing l = {.v = view_open(r->e), .max = 100};
    struct wait_commit w;
    wait_init(&w);
    batch_delete_range(&w.c.batch, STR("b"), STR("d"));
    batch_delete(&w.c.batch, STR("a"));
    batch_put(&w.c.batch, STR("e"), STR("v"));
    wait_submit(r->e, &w);
    assert_ok(wait_end(&w));
    assert_listing(&l, view_scan(l.v, STR("a"), STR("d"), list_key, &l), "a b c ");
    assert_listing(&l, view_scan(l.v, STR("aa"), STR("z"), list_key, &l), "b c d ");
    assert_listing(&l, view_scan_down(l.v, STR("b"), STR("d"), list_key, &l), "c b ");
    assert_listing(&l, view_scan_down(l.v, STR("a"), STR("z"), list_key, &l), "d c b a ");
    assert_listing(&l, view_scan(l.v, STR("a"), STR("c"), list_inside, &l), "a d b d ");
    l.max = 1;
    assert_listing(&l, view_scan(l.v, STR("b"), STR("z"), list_key, &l), "b ");
    l.max = 100;
    view_close(l.v);
    l.v = view_open(r->e);
    assert_listing(&l, view_scan(l.v, STR("a"), STR("z"), list_key, &l), "d e ");
    view_close(l.v);
    buf_free(&l.text);
}

static void no_reverse_key_outlives_its_place(void **state)
{
    struct rig *r = *state;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 4096);
    Thurn__BodyPlace *place;
    assert_ok(rig_open(r));
    struct body *b = body_new(STR("bytes"));
    assert_ok(commit_body(r->e, STR("b"), b));
    body_unref(b);
    struct listing l = {.v = view_open(r->e), .max = 100};
    assert_ok(view_scan(l.v, STR("\x01r"), STR("\x01s"), list_key, &l));
    assert_int_equal(l.n, 1);
    l.n = 0;
    view_close(l.v);
    assert_ok(place_now(r->e, STR("b"), &a, &place));
    struct wait_commit w;
    wait_init(&w);
    batch_body_drop(&w.c.batch, STR("b"), place);
    thurn__body_place__free_unpacked(place, NULL);
    wait_submit(r->e, &w);
    assert_ok(wait_end(&w));
    l.v = view_open(r->e);
    assert_ok(view_scan(l.v, STR("\x01r"), STR("\x01s"), list_key, &l));
    assert_int_equal(l.n, 0);
    view_close(l.v);
    buf_free(&l.text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Waits until nothing is being written out. */
static void wait_for_flush(struct rig *r)
{
    uint64_t writing = 1, deadline = clock_mono_us() + 60000000u;
    while (writing && clock_mono_us() < deadline) {
        (void)sched_yield();
        check(rocksdb_property_int(r->e->index->db, "rocksdb.num-immutable-mem-table", &writing) ==
              0);
    }
    check(!writing);
}

/* Commits of 64 KB; the process ends without closing. */
static void commit_and_die(struct rig *r, int commits)
{
    if (fork() == 0) {
        check(rig_open(r).code == E_OK);
        uint8_t *bytes = mem_alloc(64 << 10);
        for (int i = 0; i < commits; i++) {
            struct body *b = body_new(str_of(bytes, 64 << 10));
            check(commit_body(r->e, STR("b"), b).code == E_OK);
            body_unref(b);
            wait_for_flush(r);
        }
        _exit(0);
    }
    int status;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
}

static void a_start_after_a_kill_replays_the_end_of_the_log_only(void **state)
{
    struct rig *r = *state;
    struct store_stats st;
    r->options.flush_after = 640 << 10;
    commit_and_die(r, 100);
    assert_ok(rig_open(r));
    engine_stats(r->e, &st);
    assert_true(st.replayed_groups <= 25); /* one flush may not be finished, one not be due */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, as it forks: RocksDB's threads do not come along. */
        TEST(a_start_after_a_kill_replays_the_end_of_the_log_only),
        TEST(what_was_committed_is_there_after_reopening),
        TEST(an_index_that_was_removed_is_made_again_from_the_log),
        TEST(keys_keep_the_order_of_numbers_and_hold_no_nul),
        TEST(a_directory_of_something_else_is_refused_and_left_alone),
        TEST(a_missing_directory_is_named),
        TEST(a_second_process_is_told_that_the_store_is_in_use),
        TEST(a_beginning_that_was_interrupted_is_begun_again),
        TEST(looking_at_a_store_leaves_it_byte_for_byte),
        TEST(a_commit_whose_sync_failed_never_comes_back_and_can_be_repeated),
        TEST(a_failure_of_the_very_first_write_leaves_an_empty_store),
        TEST(a_full_disk_is_refused_until_there_is_room),
        TEST(a_body_shared_by_several_commits_is_written_once),
        TEST(a_big_body_gets_a_segment_which_goes_with_its_last_owner),
        TEST(a_place_that_is_wrong_is_noticed),
        TEST(a_damaged_body_is_found_by_the_check),
        TEST(damage_in_the_middle_of_the_log_is_not_passed_over),
        TEST(many_small_segments_hold_what_was_put_into_them),
        TEST(a_view_lists_in_order_both_ways_and_does_not_change),
        TEST(no_reverse_key_outlives_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
