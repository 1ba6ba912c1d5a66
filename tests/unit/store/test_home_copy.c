/*
 * The copy of the index for the check and for salvage: where tables cannot be shared by hard links,
 * and the disk cannot read all of them.
 */
#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#define link  test_link
#define pread test_pread
static int test_link(const char *from, const char *to);
static ssize_t test_pread(int fd, void *p, size_t n, off_t at);
#include "../../../src/store/home_copy.c"
#undef link
#undef pread

enum { SIZE = 300000 };

static bool no_links;
static off_t bad_from, bad_to; /* bytes that no file can be read at */
static int bad_error;

static int test_link(const char *from, const char *to)
{
    errno = EXDEV;
    return no_links ? -1 : link(from, to);
}

static ssize_t test_pread(int fd, void *p, size_t n, off_t at)
{
    if (at < bad_to && at + (off_t)n > bad_from) {
        errno = bad_error;
        return -1;
    }
    return pread(fd, p, n, at);
}

struct yard {
    char dir[64];
    struct engine e;
    struct buf explain;
    uint8_t bytes[SIZE];
};

static void put_file(const struct yard *y, const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/store/index/%s", y->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, y->bytes, SIZE), SIZE);
    close(fd);
}

static void yard_open(struct yard *y)
{
    *y = (struct yard){.dir = "/tmp/thurn-copy-XXXXXX", .explain = {.max = 4096}};
    no_links = true;
    bad_from = bad_to = 0;
    bad_error = EIO;
    assert_non_null(mkdtemp(y->dir));
    (void)snprintf(y->e.dir, PATH_LEN, "%s/store", y->dir);
    (void)snprintf(y->e.index_dir, PATH_LEN, "%s/store/index", y->dir);
    assert_int_equal(mkdir(y->e.dir, 0700), 0);
    assert_int_equal(mkdir(y->e.index_dir, 0700), 0);
    for (size_t i = 0; i < SIZE; i++)
        y->bytes[i] = (uint8_t)(1 + i % 251);
    put_file(y, "000001.sst");
    put_file(y, "MANIFEST-000002");
    put_file(y, "LOCK");
}

static void yard_close(struct yard *y)
{
    home_remove_copy(&y->e);
    assert_int_equal(access(y->e.index_dir, F_OK), -1);
    (void)snprintf(y->e.index_dir, PATH_LEN, "%s/store/index", y->dir);
    home_empty_copy(&y->e);
    rmdir(y->e.index_dir);
    rmdir(y->e.dir);
    assert_int_equal(rmdir(y->dir), 0);
    buf_free(&y->explain);
}

/* The copy has these bytes, but for what lies from..to: that is zero. */
static void copied(const struct yard *y, const char *name, size_t from, size_t to)
{
    char path[PATH_LEN + 32];
    static uint8_t got[SIZE + 1];
    (void)snprintf(path, sizeof path, "%s/%s", y->e.index_dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, got, sizeof got), SIZE);
    close(fd);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(got[i], i >= from && i < to ? 0 : y->bytes[i]);
}

static void without_links_everything_is_copied(void **state)
{
    struct yard y;
    yard_open(&y);
    assert_int_equal(home_copy_index(&y.e, &y.explain).code, E_OK);
    copied(&y, "000001.sst", 0, 0);
    copied(&y, "MANIFEST-000002", 0, 0);
    yard_close(&y);
}

static void what_cannot_be_read_is_left_out_and_nothing_else(void **state)
{
    static const off_t bad[][4] = {
        {70000, 70001, 69632, 73728},       /* one place */
        {0, 1, 0, 4096},                    /* the beginning */
        {65536, 131072, 65536, 131072},     /* exactly what is copied at a time */
        {SIZE - 1, SIZE, SIZE - 992, SIZE}, /* the end, within a smaller piece */
        {0, SIZE, 0, SIZE},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct yard y;
        yard_open(&y);
        bad_from = bad[i][0];
        bad_to = bad[i][1];
        assert_int_equal(home_copy_index(&y.e, &y.explain).code, E_CORRUPT);
        assert_true(y.explain.n > 0);
        copied(&y, "000001.sst", (size_t)bad[i][2], (size_t)bad[i][3]);
        copied(&y, "MANIFEST-000002", (size_t)bad[i][2], (size_t)bad[i][3]);
        yard_close(&y);
    }
}

static void another_failure_is_told_as_it_is(void **state)
{
    struct yard y;
    yard_open(&y);
    bad_to = SIZE;
    bad_error = EISDIR;
    assert_int_equal(home_copy_index(&y.e, &y.explain).code, E_IO);
    assert_true(str_ends(buf_str(&y.explain), str_c(strerror(EISDIR))));
    yard_close(&y);
}

/* Nobody reads them for that. */
static void with_links_tables_are_shared(void **state)
{
    struct yard y;
    char path[PATH_LEN + 32];
    struct stat st;
    yard_open(&y);
    no_links = false;
    assert_int_equal(home_copy_index(&y.e, &y.explain).code, E_OK);
    (void)snprintf(path, sizeof path, "%s/000001.sst", y.e.index_dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 2);
    (void)snprintf(path, sizeof path, "%s/MANIFEST-000002", y.e.index_dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 1);
    (void)snprintf(path, sizeof path, "%s/LOCK", y.e.index_dir);
    assert_int_equal(stat(path, &st), -1);
    yard_close(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_links_everything_is_copied),
        cmocka_unit_test(what_cannot_be_read_is_left_out_and_nothing_else),
        cmocka_unit_test(another_failure_is_told_as_it_is),
        cmocka_unit_test(with_links_tables_are_shared),
    };
    return cmocka_run_group_tests_name("home_copy", tests, NULL, NULL);
}
