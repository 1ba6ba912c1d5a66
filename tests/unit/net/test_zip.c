/* Compressed connections: what comes out is what went in, however it is cut, and what a hostile
 * stream can cost. */
#include "base/base.h"

#include "net/loop.h"
#include "pair.h"

#include <zlib.h>

/* --------------------------------------------------------------------------------- a peer's side
 */

struct peer {
    z_stream deflater, inflater;
};

static void peer_begin(struct peer *p)
{
    *p = (struct peer){0};
    assert_int_equal(deflateInit2(&p->deflater, 6, Z_DEFLATED, -15, 8, 0), Z_OK);
    assert_int_equal(inflateInit2(&p->inflater, -15), Z_OK);
}

static void peer_end(struct peer *p)
{
    (void)deflateEnd(&p->deflater);
    (void)inflateEnd(&p->inflater);
}

static void peer_deflate(struct peer *p, struct str in, int flush, struct buf *out)
{
    p->deflater.next_in = (Bytef *)(uintptr_t)in.p;
    p->deflater.avail_in = (uInt)in.n;
    do {
        p->deflater.next_out = buf_room(out, 1000);
        p->deflater.avail_out = 1000;
        (void)deflate(&p->deflater, flush);
        buf_added(out, 1000 - p->deflater.avail_out);
    } while (p->deflater.avail_out == 0);
}

static void peer_inflate(struct peer *p, struct str in, struct buf *out)
{
    p->inflater.next_in = (Bytef *)(uintptr_t)in.p;
    p->inflater.avail_in = (uInt)in.n;
    do {
        p->inflater.next_out = buf_room(out, 1000);
        p->inflater.avail_out = 1000;
        int result = inflate(&p->inflater, Z_SYNC_FLUSH);
        assert_true(result == Z_OK || result == Z_BUF_ERROR);
        buf_added(out, 1000 - p->inflater.avail_out);
    } while (p->inflater.avail_out == 0);
}

/* Text that compresses, and does not repeat itself. */
static void put_text(struct buf *b, size_t n)
{
    for (size_t i = b->n; b->n < n; i++)
        buf_printf(b, "a%zu FETCH %zu:* (FLAGS)\r\n", i, i * i % 1000);
    buf_cut(b, n);
}

/* ----------------------------------------------------------------------------------- the streams
 */

static void runs_are_one_stream_to_the_peer(void **state)
{
    struct peer p;
    struct zip *z = zip_new();
    struct buf all CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    struct buf got CLEANUP(buf_free) = {0};
    peer_begin(&p);
    static const size_t sizes[] = {1, 0, 100, 65536, 3, 200000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t from = all.n;
        put_text(&all, from + sizes[i]);
        buf_clear(&out);
        assert_int_equal(zip_run(z, str_skip(buf_str(&all), from), &out).code, E_OK);
        peer_inflate(&p, buf_str(&out), &got); /* complete at each run's end */
        assert_true(str_eq(buf_str(&got), buf_str(&all)));
    }
    assert_true(out.n < 200000 / 3);
    peer_end(&p);
    zip_free(z);
}

/* Inflates pieces of so many bytes, with room for so many at a time. */
static void inflate_pieces(struct zip *z, struct unzip *u, struct str in, size_t piece, size_t room,
                           struct buf *out)
{
    while (in.n) {
        struct str s = str_sub(in, 0, piece);
        in = str_skip(in, s.n);
        size_t n;
        do {
            uint8_t *p = buf_room(out, room);
            assert_int_equal(unzip_some(z, u, &s, p, room, &n).code, E_OK);
            buf_added(out, n);
        } while (n == room || s.n);
    }
}

static void input_may_be_cut_anywhere(void **state)
{
    struct buf all CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    struct buf zipped CLEANUP(buf_free) = {0};
    struct peer p;
    peer_begin(&p);
    static const size_t lines[] = {10, 30, 0, 5000, 100000, 7};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        size_t from = all.n;
        put_text(&all, from + lines[i]);
        peer_deflate(&p, str_skip(buf_str(&all), from), i % 2 ? Z_SYNC_FLUSH : Z_PARTIAL_FLUSH,
                     &zipped);
    }
    peer_end(&p);
    for (size_t piece = 1; piece < 100000; piece = piece * 7 + 1)
        for (size_t room = 1; room < 100000; room = room * 40 + 1) {
            struct zip *z = zip_new();
            struct unzip u = {0};
            buf_clear(&out);
            inflate_pieces(z, &u, buf_str(&zipped), piece, room, &out);
            assert_true(str_eq(buf_str(&out), buf_str(&all)));
            unzip_free(&u);
            zip_free(z);
        }
}

static void between_commands_only_what_was_said_is_kept(void **state)
{
    enum { MANY = 20 };
    struct zip *z = zip_new();
    struct peer p[MANY];
    struct unzip u[MANY] = {0};
    struct buf said[MANY] = {0}, got[MANY] = {0}, zipped = {0};
    for (size_t i = 0; i < MANY; i++)
        peer_begin(&p[i]);
    for (size_t round = 0; round < 50; round++) /* each refers to what it has said before */
        for (size_t i = 0; i < MANY; i++) {
            size_t from = said[i].n;
            put_text(&said[i], from + 20 + i * round);
            buf_clear(&zipped);
            peer_deflate(&p[i], str_skip(buf_str(&said[i]), from), Z_SYNC_FLUSH, &zipped);
            inflate_pieces(z, &u[i], buf_str(&zipped), zipped.n, 4096, &got[i]);
            assert_true(str_eq(buf_str(&got[i]), buf_str(&said[i])));
            assert_null(u[i].stream);
            assert_true(u[i].n_past <= MIN(said[i].n, (size_t)32768));
        }
    for (size_t i = 0; i < MANY; i++) {
        peer_end(&p[i]);
        unzip_free(&u[i]);
        buf_free(&said[i]);
        buf_free(&got[i]);
    }
    buf_free(&zipped);
    zip_free(z);
}

static void what_is_not_deflate_is_refused(void **state)
{
    struct zip *z = zip_new();
    static const struct str bad[] = {STR_INIT("a NOOP\r\n"), STR_INIT("\xff\xff\xff\xff"),
                                     STR_INIT("\x78\x9c\x4b\x04\x00"),
                                     STR_INIT("\x03\x00") /* an empty last block */};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct unzip u = {0};
        struct str in = bad[i];
        uint8_t room[100];
        size_t n;
        assert_int_equal(unzip_some(z, &u, &in, room, sizeof room, &n).code, E_INVALID);
        unzip_free(&u);
    }
    zip_free(z);
}

/* -------------------------------------------------------------------------------- the connection
 */

struct world {
    struct loop *loop;
    struct conn *conn;
    int client;
    struct peer peer;
    struct buf got;
    size_t calls, most, want;
    bool leave, closed;
    struct err why;
};

static void on_readable(struct conn *c, void *arg)
{
    struct world *w = arg;
    struct buf *in = conn_in(c);
    w->calls++;
    w->most = MAX(w->most, in->n);
    if (w->leave)
        return;
    buf_put(&w->got, buf_str(in));
    buf_consume(in, in->n);
}

static void on_closed(struct conn *c, struct err why, void *arg)
{
    struct world *w = arg;
    w->closed = true;
    w->why = why;
}

static int setup(void **state)
{
    static const struct conn_ops ops = {.readable = on_readable, .closed = on_closed};
    static const struct conn_limits limits = {.in_max = 65536, .out_low = 4096, .write_ms = 10000};
    struct world *w = mem_alloc(sizeof *w);
    int fds[2];
    assert_int_equal(loop_new(&w->loop).code, E_OK);
    assert_int_equal(chan_pair(fds).code, E_OK);
    w->client = fds[0];
    assert_int_equal(conn_new(w->loop, fds[1], &limits, &ops, w, &w->conn).code, E_OK);
    peer_begin(&w->peer);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    conn_free(w->conn);
    peer_end(&w->peer);
    buf_free(&w->got);
    (void)close(w->client);
    loop_free(w->loop);
    free(w);
    return 0;
}

static bool has_got(void *arg)
{
    struct world *w = arg;
    return w->got.n >= w->want || w->closed;
}

static bool is_closed(void *arg)
{
    return ((struct world *)arg)->closed;
}

static bool was_called(void *arg)
{
    return ((struct world *)arg)->calls > 0;
}

static bool is_full(void *arg)
{
    struct world *w = arg;
    return w->most >= 65536 || w->closed;
}

static void say(struct world *w, struct str clear)
{
    struct buf zipped CLEANUP(buf_free) = {0};
    peer_deflate(&w->peer, clear, Z_SYNC_FLUSH, &zipped);
    assert_int_equal(send(w->client, zipped.p, zipped.n, MSG_NOSIGNAL), zipped.n);
}

struct hearing {
    struct world *w;
    struct buf raw, clear;
    size_t want;
};

static bool has_heard(void *arg)
{
    struct hearing *h = arg;
    uint8_t bytes[65536];
    ssize_t n = recv(h->w->client, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        peer_inflate(&h->w->peer, str_of(bytes, (size_t)n), &h->clear);
    return h->clear.n >= h->want || h->w->closed;
}

static void a_connection_is_compressed_in_both_directions(void **state)
{
    struct world *w = *state;
    struct hearing h = {.w = w};
    struct buf big CLEANUP(buf_free) = {0};
    char first[16];
    conn_write(w->conn, STR("a OK\r\n"));
    conn_compress(w->conn);
    put_text(&big, 1000000);
    conn_write(w->conn, STR("hello"));
    conn_write(w->conn, buf_str(&big));
    say(w, STR("one "));
    w->want = 4;
    run_until(w->loop, has_got, w);
    assert_int_equal(recv(w->client, first, 6, 0), 6); /* what was said before is in clear */
    assert_memory_equal(first, "a OK\r\n", 6);
    h.want = 5 + big.n;
    run_until(w->loop, has_heard, &h);
    assert_true(str_eq(str_skip(buf_str(&h.clear), 5), buf_str(&big)));
    assert_int_equal(conn_backlog(w->conn), 0);
    for (size_t i = 0; i < 100; i++)
        say(w, STR("more"));
    w->want = 404;
    run_until(w->loop, has_got, w);
    assert_true(str_starts(buf_str(&w->got), STR("one moremore")));
    buf_free(&h.clear);
}

static void input_that_came_before_is_taken_as_compressed(void **state)
{
    struct world *w = *state;
    w->leave = true;
    say(w, STR("early"));
    run_until(w->loop, was_called, w);
    w->leave = false;
    conn_compress(w->conn);
    w->want = 5;
    run_until(w->loop, has_got, w);
    assert_true(str_eq(buf_str(&w->got), STR("early")));
}

static void a_bomb_is_inflated_as_it_is_consumed(void **state)
{
    struct world *w = *state;
    struct buf zeros CLEANUP(buf_free) = {0};
    conn_compress(w->conn);
    w->leave = true;
    for (size_t i = 0; i < 20 << 20; i++)
        buf_byte(&zeros, 0);
    say(w, buf_str(&zeros)); /* 20 KB, for 20 MB */
    run_until(w->loop, is_full, w);
    assert_int_equal(w->most, 65536);
    w->leave = false;
    on_readable(w->conn, w);
    w->want = zeros.n;
    run_until(w->loop, has_got, w);
    assert_true(str_eq(buf_str(&w->got), buf_str(&zeros)));
    assert_int_equal(w->most, 65536);
    assert_true(w->calls > 20 * 16); /* between which others had their turn */
}

static void nonsense_ends_the_connection(void **state)
{
    struct world *w = *state;
    conn_compress(w->conn);
    assert_int_equal(send(w->client, "b NOOP\r\n", 8, MSG_NOSIGNAL), 8);
    run_until(w->loop, is_closed, w);
    assert_int_equal(w->why.code, E_INVALID);
}

static void the_last_words_are_compressed_too(void **state)
{
    struct world *w = *state;
    struct hearing h = {.w = w, .want = 3};
    conn_compress(w->conn);
    conn_write(w->conn, STR("bye"));
    conn_finish(w->conn);
    run_until(w->loop, has_heard, &h);
    assert_true(str_eq(buf_str(&h.clear), STR("bye")));
    buf_free(&h.clear);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_one_stream_to_the_peer),
        cmocka_unit_test(input_may_be_cut_anywhere),
        cmocka_unit_test(between_commands_only_what_was_said_is_kept),
        cmocka_unit_test(what_is_not_deflate_is_refused),
        CASE(a_connection_is_compressed_in_both_directions),
        CASE(input_that_came_before_is_taken_as_compressed),
        CASE(a_bomb_is_inflated_as_it_is_consumed),
        CASE(nonsense_ends_the_connection),
        CASE(the_last_words_are_compressed_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
