/* Reading emails: in order, with gaps, and where what is stored has been damaged. */
#include "base/base.h"

#include "model_house.h"

enum { SMALL = 5000, LARGE = 100000 };

/* A message of `n` bytes that can be told from others. */
static msg_uid deliver_sized(struct house *h, size_t n, unsigned number)
{
    struct buf text CLEANUP(buf_free) = {0};
    buf_printf(&text, "Subject: message %u\r\n\r\n", number);
    while (text.n < n)
        buf_byte(&text, 'x');
    buf_byte(&text, 0);
    return deliver(h, INBOX, (const char *)buf_str(&text).p);
}

/* Changes one byte of the log behind the first place where the text stands. */
static void damage_log(struct house *h, const char *text, size_t behind)
{
    char path[128];
    assert_true(snprintf(path, sizeof path, "%s/log/%08u.seg", h->dir, 1) < 128);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *all = mem_alloc((size_t)st.st_size);
    assert_int_equal(pread(fd, all, (size_t)st.st_size, 0), st.st_size);
    size_t at = str_find(str_of(all, (size_t)st.st_size), str_c(text), 0) + behind;
    assert_true(at < (size_t)st.st_size);
    all[at] ^= 0x40;
    assert_int_equal(pwrite(fd, all + at, 1, (off_t)at), 1);
    (void)close(fd);
    free(all);
}

/* The content of a message, read in pieces of that size. */
static struct err read_in_pieces(struct house *h, msg_uid uid, size_t piece, struct buf *out)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    struct snap *s;
    struct entry e;
    Thurn__StoredEmail *email;
    struct content_proof proof = {0};
    struct err result = OK;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_entry(s, INBOX, uid, &e));
    assert_ok(snap_email(s, e.email, &a, &email));
    for (uint64_t at = 0; at < e.size && result.code == E_OK; at += piece) {
        size_t n = (size_t)MIN((uint64_t)piece, e.size - at);
        uint8_t *room = buf_room(out, n);
        assert_non_null(room);
        result = snap_content_next(s, email, at, room, n, &proof);
        if (result.code == E_OK)
            buf_added(out, n);
    }
    content_proof_free(&proof);
    snap_close(s);
    return result;
}

static struct err read_part(struct house *h, msg_uid uid, uint64_t offset, size_t n)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    struct snap *s;
    struct entry e;
    Thurn__StoredEmail *email;
    uint8_t *out = arena_alloc(&a, n);
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_entry(s, INBOX, uid, &e));
    assert_ok(snap_email(s, e.email, &a, &email));
    struct err result = snap_content(s, email, offset, out, n);
    snap_close(s);
    return result;
}

static void emails_are_found_in_any_order(void **state)
{
    struct house *h = *state;
    enum { N = 60 };
    struct snap *s;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 22);
    email_id ids[N];
    for (unsigned i = 0; i < N; i++)
        (void)deliver_sized(h, 50, i);
    assert_ok(snap_open(h->alice, &s));
    for (unsigned i = 0; i < N; i++) {
        struct entry e;
        assert_ok(snap_entry(s, INBOX, (msg_uid){i + 1}, &e));
        ids[i] = e.email;
    }
    static const unsigned steps[] = {1, 2, 5, 59, 7, 11};
    for (size_t k = 0; k < ARRAY_LEN(steps); k++)
        for (unsigned i = 0, at = 0; i < N; i++, at = (at + steps[k]) % N) {
            Thurn__StoredEmail *email;
            char expected[64], got[64] = {0};
            assert_ok(snap_email(s, ids[at], &a, &email));
            int n = snprintf(expected, sizeof expected, "Subject: message %u\r\n", at);
            assert_ok(snap_content(s, email, 0, (uint8_t *)got, (size_t)n));
            assert_string_equal(got, expected);
        }
    Thurn__StoredEmail *none;
    assert_err(snap_email(s, (email_id){ids[N - 1].v + 1}, &a, &none), E_NOTFOUND);
    assert_ok(snap_email(s, ids[3], &a, &none));
    snap_close(s);
}

static void gaps_between_emails_are_passed_over(void **state)
{
    struct house *h = *state;
    enum { N = 40 };
    for (unsigned i = 0; i < N; i++)
        (void)deliver_sized(h, 50, i);
    struct snap *s;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 22);
    assert_ok(snap_open(h->alice, &s));
    struct entry e;
    assert_ok(snap_entry(s, INBOX, (msg_uid){1}, &e));
    /* Ids that are none lie between those that are asked for. */
    uint64_t first = e.email.v;
    for (unsigned i = 0; i < 3 * N; i += 3) {
        Thurn__StoredEmail *email;
        struct err r = snap_email(s, (email_id){first + i}, &a, &email);
        assert_int_equal(r.code, i < N ? E_OK : E_NOTFOUND);
        if (r.code == E_OK)
            assert_int_equal(email->id, first + i);
    }
    snap_close(s);
}

static void a_small_damaged_body_is_noticed_at_any_byte(void **state)
{
    struct house *h = *state;
    msg_uid good = deliver_sized(h, SMALL, 1), bad = deliver_sized(h, SMALL, 2);
    damage_log(h, "Subject: message 2", 4000);
    struct buf text CLEANUP(buf_free) = {0};
    assert_ok(read_in_pieces(h, good, 1000, &text));
    assert_int_equal(text.n, SMALL);
    buf_clear(&text);
    assert_err(read_in_pieces(h, bad, 1000, &text), E_CORRUPT);
    assert_int_equal(text.n, 0); /* before anything of it is given away */
    assert_err(read_part(h, bad, 10, 10), E_CORRUPT);
}

static void a_large_damaged_body_fails_with_its_last_piece(void **state)
{
    struct house *h = *state;
    msg_uid good = deliver_sized(h, LARGE, 1), bad = deliver_sized(h, LARGE, 2);
    damage_log(h, "Subject: message 2", 50);
    static const size_t pieces[] = {1000, 33333, LARGE};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct buf text CLEANUP(buf_free) = {0};
        assert_ok(read_in_pieces(h, good, pieces[i], &text));
        assert_int_equal(text.n, LARGE);
        buf_clear(&text);
        assert_err(read_in_pieces(h, bad, pieces[i], &text), E_CORRUPT);
        assert_true(text.n < LARGE);
    }
    assert_err(read_part(h, bad, 0, LARGE), E_CORRUPT);
}

/* ------------------------------------------------------------------------------ first unseen */

enum { SEEN = 1 };

static uint32_t first_unseen(struct house *h)
{
    struct snap *s;
    msg_uid uid;
    assert_ok(snap_open(h->alice, &s));
    assert_ok(snap_first_unseen(s, INBOX, &uid));
    snap_close(s);
    return uid.v;
}

static void mark(struct house *h, uint32_t from, uint32_t to, uint32_t flags)
{
    struct txn *t;
    assert_ok(txn_begin(h->alice, &t));
    for (uint32_t uid = from; uid <= to; uid++)
        assert_ok(txn_entry_flags(t, INBOX, (msg_uid){uid}, flags, 0));
    assert_ok(txn_commit(t));
}

static void fold(struct house *h)
{
    while (account_wants_maintenance(h->alice))
        assert_ok(account_maintain(h->alice));
}

static void the_first_unseen_is_found_in_blocks_and_in_what_is_new(void **state)
{
    struct house *h = *state;
    enum { N = 1300 };
    assert_int_equal(first_unseen(h), 0);
    for (unsigned i = 0; i < N; i++)
        (void)deliver(h, INBOX, "x");
    assert_int_equal(first_unseen(h), 1);
    fold(h);
    assert_int_equal(first_unseen(h), 1);
    mark(h, 1, 600, SEEN);
    assert_int_equal(first_unseen(h), 601);
    mark(h, 601, N, SEEN);
    assert_int_equal(first_unseen(h), 0);
    fold(h);
    assert_int_equal(first_unseen(h), 0);
    mark(h, 1100, 1100, 0);
    assert_int_equal(first_unseen(h), 1100);
    mark(h, 700, 1250, 0);
    fold(h);
    assert_int_equal(first_unseen(h), 700);
    mark(h, 700, 1250, SEEN); /* in blocks they are not */
    (void)deliver(h, INBOX, "y");
    assert_int_equal(first_unseen(h), N + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(emails_are_found_in_any_order, house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(gaps_between_emails_are_passed_over, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(a_small_damaged_body_is_noticed_at_any_byte, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(the_first_unseen_is_found_in_blocks_and_in_what_is_new,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(a_large_damaged_body_fails_with_its_last_piece, house_setup,
                                        house_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
