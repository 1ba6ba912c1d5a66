/* Connections without TLS: input, output, deadlines, ends. */
#include "base/base.h"

#include "conn_rig.h"

static void bytes_arrive_and_answers_leave(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    open_pair(w, &usual);
    say(w->client, STR("hello"));
    await_bytes(&w->s, 5);
    assert_true(str_eq(buf_str(&w->s.got), STR("hello")));
    conn_write(w->s.conn, STR("good "));
    conn_write(w->s.conn, STR("day"));
    assert_int_equal(conn_backlog(w->s.conn), 8);
    assert_false(hear(w, &heard, 8));
    assert_true(str_eq(buf_str(&heard), STR("good day")));
    assert_int_equal(conn_backlog(w->s.conn), 0);
}

static void what_is_collected_leaves_together(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    open_pair(w, &usual);
    conn_collect(w->s.conn, true);
    conn_write(w->s.conn, STR("good "));
    some_turns(&w->s);
    assert_int_equal(conn_backlog(w->s.conn), 5);
    conn_write(w->s.conn, STR("day"));
    conn_collect(w->s.conn, false);
    assert_false(hear(w, &heard, 8));
    conn_collect(w->s.conn, true);
    conn_write(w->s.conn, STR(", bye"));
    conn_finish(w->s.conn);
    assert_false(hear(w, &heard, 13));
    assert_true(str_eq(buf_str(&heard), STR("good day, bye")));
}

static void lines_fed_one_byte_at_a_time_are_kept_until_whole(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    w->s.keep_line = true;
    struct str text = STR("one\ntwo\n");
    for (size_t i = 0; i < text.n; i++) {
        say(w->client, str_sub(text, i, i + 1));
        await_calls(&w->s, i + 1);
        assert_int_equal(w->s.got.n, i < 3 ? 0 : i < 7 ? 4 : 8);
    }
    assert_null(conn_in(w->s.conn)->p); /* nothing is kept while idle */
}

static void reading_pauses_when_the_input_is_full_and_goes_on_when_there_is_room(void **state)
{
    struct world *w = *state;
    open_pair(w, &(struct conn_limits){.in_max = 10});
    w->s.leave = true;
    say(w->client, STR("0123456789abcdef"));
    await_calls(&w->s, 1);
    some_turns(&w->s);
    assert_int_equal(w->s.calls, 1);
    assert_int_equal(conn_in(w->s.conn)->n, 10);
    buf_consume(conn_in(w->s.conn), 10);
    w->s.leave = false;
    await_bytes(&w->s, 6);
    assert_true(str_eq(buf_str(&w->s.got), STR("abcdef")));
}

static void a_held_connection_is_not_read(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    w->s.hold_in_read = w->s.leave = true;
    say(w->client, STR("one"));
    await_calls(&w->s, 1);
    say(w->client, STR("two"));
    some_turns(&w->s);
    assert_int_equal(w->s.calls, 1);
    w->s.hold_in_read = w->s.leave = false;
    conn_hold(w->s.conn, false);
    await_bytes(&w->s, 6);
    assert_true(str_eq(buf_str(&w->s.got), STR("onetwo")));
}

static void a_connection_may_be_freed_while_it_is_read(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    w->s.free_in_read = true;
    say(w->client, STR("x"));
    run_until(w->s.loop, is_closed, &w->s);
    assert_null(w->s.conn);
}

static void the_peers_end_is_told_after_its_last_bytes(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    say(w->client, STR("bye"));
    (void)close(w->client);
    w->client = -1;
    await_closed(&w->s, E_CLOSED);
    assert_true(str_eq(buf_str(&w->s.got), STR("bye")));
}

static void finishing_sends_everything_first(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    open_pair(w, &usual);
    struct buf much CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < 100000; i++)
        buf_printf(&much, "%zu\n", i);
    conn_write(w->s.conn, buf_str(&much));
    conn_finish(w->s.conn);
    say(w->client, STR("too late"));
    assert_true(hear(w, &heard, SIZE_MAX / 2));
    assert_true(str_eq(buf_str(&heard), buf_str(&much)));
    assert_int_equal(w->s.got.n, 0);
    (void)close(w->client);
    w->client = -1;
    await_closed(&w->s, E_CLOSED);
}

static void finishing_does_not_wait_for_a_peer_that_stays(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    conn_finish(w->s.conn);
    await_closed(&w->s, E_CLOSED);
}

static void much_output_is_told_to_have_drained(void **state)
{
    struct world *w = *state;
    struct buf heard CLEANUP(buf_free) = {0};
    open_pair(w, &usual);
    uint8_t *block = mem_alloc(100000);
    for (size_t i = 0; i < 30; i++) {
        memset(block, 'a' + (int)i, 100000);
        conn_write(w->s.conn, str_of(block, 100000));
    }
    assert_true(conn_backlog(w->s.conn) > 1000000);
    some_turns(&w->s);
    assert_int_equal(w->s.drained, 0);
    assert_false(hear(w, &heard, 3000000));
    some_turns(&w->s);
    assert_int_equal(w->s.drained, 1);
    for (size_t i = 0; i < 3000000; i++)
        assert_int_equal(heard.p[i], 'a' + i / 100000);
    free(block);
}

static void a_peer_that_sends_nothing_is_dropped_at_the_deadline(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    conn_deadline(w->s.conn, 60000);
    conn_deadline(w->s.conn, 10);
    await_closed(&w->s, E_TIMEOUT);
}

static void a_deadline_can_be_moved_and_removed(void **state)
{
    struct world *w = *state;
    open_pair(w, &usual);
    conn_deadline(w->s.conn, 1);
    conn_deadline(w->s.conn, 60000);
    some_turns(&w->s);
    assert_false(w->s.closed);
    conn_deadline(w->s.conn, 1);
    conn_deadline(w->s.conn, 0);
    some_turns(&w->s);
    assert_false(w->s.closed);
}

static void a_peer_that_takes_no_output_is_dropped(void **state)
{
    struct world *w = *state;
    open_pair(w, &(struct conn_limits){.in_max = 1000, .out_low = 1000, .write_ms = 20});
    uint8_t *block = mem_alloc(3000000);
    conn_write(w->s.conn, str_of(block, 3000000));
    free(block);
    await_closed(&w->s, E_TIMEOUT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_arrive_and_answers_leave),
        T(what_is_collected_leaves_together),
        T(lines_fed_one_byte_at_a_time_are_kept_until_whole),
        T(reading_pauses_when_the_input_is_full_and_goes_on_when_there_is_room),
        T(a_held_connection_is_not_read),
        T(a_connection_may_be_freed_while_it_is_read),
        T(the_peers_end_is_told_after_its_last_bytes),
        T(finishing_sends_everything_first),
        T(finishing_does_not_wait_for_a_peer_that_stays),
        T(much_output_is_told_to_have_drained),
        T(a_peer_that_sends_nothing_is_dropped_at_the_deadline),
        T(a_deadline_can_be_moved_and_removed),
        T(a_peer_that_takes_no_output_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
