#include "base/base.h"

#include "net/loop.h"
#include "pair.h"

static int setup(void **state)
{
    struct loop *l;
    assert_int_equal(loop_new(&l).code, E_OK);
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    loop_free(*state);
    return 0;
}

enum { POSTS = 10000 };
struct poster {
    struct loop *loop;
    struct tally *tally;
    unsigned number;
};
struct post {
    struct tally *tally;
    unsigned poster;
    uint32_t serial;
};
struct tally {
    uint32_t last[2];
    size_t n;
    bool out_of_order;
};

static void posted(void *arg)
{
    struct post *p = arg;
    p->tally->out_of_order |= p->serial != p->tally->last[p->poster] + 1;
    p->tally->last[p->poster] = p->serial;
    p->tally->n++;
    free(p);
}

static void *post_many(void *arg)
{
    struct poster *p = arg;
    for (uint32_t i = 1; i <= POSTS; i++) {
        struct post *post = mem_alloc(sizeof *post);
        *post = (struct post){p->tally, p->number, i};
        loop_post(p->loop, posted, post);
    }
    return NULL;
}

static bool all_posted(void *arg)
{
    return ((struct tally *)arg)->n == (size_t)2 * POSTS;
}

static void posts_of_two_threads_arrive_in_order(void **state)
{
    struct tally tally = {0};
    struct poster posters[2] = {{*state, &tally, 0}, {*state, &tally, 1}};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    run_until(*state, all_posted, &tally);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_false(tally.out_of_order);
}

struct once {
    struct loop *loop;
    size_t n;
    struct timer *timer;
    struct watch *watch;
};

static void stop(void *arg)
{
    loop_stop(arg);
}

static void stopping_before_running_is_not_forgotten(void **state)
{
    loop_stop(*state);
    loop_run(*state);
    loop_post(*state, stop, *state);
    loop_run(*state);
}

static void fire_and_free(void *arg)
{
    struct once *o = arg;
    o->n++;
    timer_free(o->timer);
    loop_stop(o->loop);
}

static void a_timer_may_free_itself(void **state)
{
    struct once o = {.loop = *state};
    o.timer = timer_new(*state, fire_and_free, &o);
    timer_set(o.timer, 60000);
    timer_set(o.timer, 1);
    loop_run(*state);
    assert_int_equal(o.n, 1);
}

static void fire(void *arg)
{
    ((struct once *)arg)->n++;
}

static bool never_mind(void *arg)
{
    return true;
}

static void a_stopped_timer_does_not_fire(void **state)
{
    struct once o = {.loop = *state};
    o.timer = timer_new(*state, fire, &o);
    timer_set(o.timer, 1);
    timer_set(o.timer, 0);
    run_until(*state, never_mind, NULL);
    timer_free(o.timer);
    timer_free(NULL);
    assert_int_equal(o.n, 0);
}

static void watched(int fd, void *arg)
{
    struct once *o = arg;
    char c;
    assert_int_equal(read(fd, &c, 1), 1);
    if (++o->n < 2)
        return;
    watch_free(o->watch);
    loop_stop(o->loop);
}

static void a_watch_reports_until_it_is_freed(void **state)
{
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(write(p[1], "abc", 3), 3);
    struct once o = {.loop = *state};
    o.watch = watch_new(*state, p[0], watched, &o);
    loop_run(*state);
    run_until(*state, never_mind, NULL);
    assert_int_equal(o.n, 2);
    (void)close(p[0]);
    (void)close(p[1]);
}

static void signalled(int signo, void *arg)
{
    struct once *o = arg;
    assert_int_equal(signo, SIGUSR1);
    o->n++;
    loop_stop(o->loop);
}

static void a_signal_reaches_the_loop(void **state)
{
    struct once o = {.loop = *state};
    loop_signal(*state, SIGUSR1, signalled, &o);
    assert_int_equal(raise(SIGUSR1), 0);
    loop_run(*state);
    assert_int_equal(o.n, 1);
}

/* Ten things that take a millisecond each, and one that comes up while the first is done. */
enum { LONG = 10 };
struct long_work {
    struct chore chores[LONG];
    struct loop *loop;
    size_t done, done_before_post;
    bool in_order;
};

static void long_posted(void *arg)
{
    struct long_work *w = arg;
    w->done_before_post = w->done;
}

static struct long_work *long_work; /* of the one test */

static void long_piece(struct chore *c)
{
    struct long_work *w = long_work;
    uint64_t until = clock_mono_us() + 1000;
    w->in_order = w->in_order && c == &w->chores[w->done];
    if (w->done++ == 0)
        loop_post(w->loop, long_posted, w);
    while (clock_mono_us() < until)
        ;
}

static bool long_is_over(void *arg)
{
    return ((struct long_work *)arg)->done == LONG;
}

static void what_takes_long_does_not_keep_others_waiting(void **state)
{
    struct long_work w = {.loop = *state, .in_order = true};
    long_work = &w;
    for (size_t i = 0; i < LONG; i++) {
        chore_init(&w.chores[i], long_piece);
        loop_with_time(w.loop, &w.chores[i]);
        loop_with_time(w.loop, &w.chores[i]); /* it waits once */
    }
    run_until(w.loop, long_is_over, &w);
    assert_int_equal(w.done_before_post, 1);
    assert_true(w.in_order);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(posts_of_two_threads_arrive_in_order),
        T(stopping_before_running_is_not_forgotten),
        T(a_timer_may_free_itself),
        T(a_stopped_timer_does_not_fire),
        T(a_watch_reports_until_it_is_freed),
        T(a_signal_reaches_the_loop),
        T(what_takes_long_does_not_keep_others_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
