#include "base/base.h"

#include "conn_rig.h"

#include <arpa/inet.h>

struct accepting {
    struct listener *listener;
    size_t n, want;
    struct ip peer;
    bool close_at_once;
};

static void on_accept(int fd, struct ip peer, void *arg)
{
    struct accepting *a = arg;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    a->peer = peer;
    a->n++;
    (void)close(fd);
    if (a->close_at_once) {
        listener_free(a->listener);
        a->listener = NULL;
    }
}

static bool has_accepted(void *arg)
{
    struct accepting *a = arg;
    return a->n >= a->want;
}

static void a_listener_hands_over_each_connection(void **state)
{
    struct world *w = *state;
    struct sockaddr_storage sa;
    socklen_t len;
    assert_int_equal(sockaddr_parse(STR("127.0.0.1:0"), &sa, &len).code, E_OK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    struct accepting a = {.want = 3};
    a.listener = listener_new(w->s.loop, fd, on_accept, &a);
    int clients[5];
    for (size_t i = 0; i < 5; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&sa, len), 0);
        if (i == 2)
            run_until(w->s.loop, has_accepted, &a);
        a.close_at_once = i >= 2;
    }
    a.want = 4;
    run_until(w->s.loop, has_accepted, &a);
    assert_int_equal(a.n, 4); /* freed in the callback: the fifth is refused */
    struct buf text CLEANUP(buf_free) = {0};
    ip_format(&text, a.peer);
    assert_true(str_eq(buf_str(&text), STR("127.0.0.1")));
    for (size_t i = 0; i < 5; i++)
        (void)close(clients[i]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_listener_hands_over_each_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
