/* Log-ins that wait for a thread. */
#include "test_backend_rig.h"

#include "roles/backend/login.h"

enum { STRANGERS = 600 };

/* One thread, which the test keeps busy. */
struct queue {
    struct logins *l;
    pthread_mutex_t busy;
    struct job job;
    atomic_size_t over;
};

struct attempt {
    struct login login;
    struct queue *q;
    struct principal who;
    struct err answer;
};

static void keep_busy(struct job *j)
{
    struct queue *q = container_of(j, struct queue, job);
    (void)pthread_mutex_lock(&q->busy);
    (void)pthread_mutex_unlock(&q->busy);
}

static void run(struct login *login)
{
    struct attempt *a = container_of(login, struct attempt, login);
    a->answer = login->verdict; /* of strangers no password is looked at: that takes its time */
    if (!a->answer.code && login->password.n)
        a->answer = login_check(login, &a->who);
    (void)atomic_fetch_add(&a->q->over, 1);
}

static void begin(struct queue *q, struct attempt *a, uint32_t from, struct str password)
{
    *a = (struct attempt){.q = q};
    a->login = (struct login){
        .peer = {.n = 4, .b = {10, 0, (uint8_t)(from >> 8), (uint8_t)from}},
        .id = {{from}, 0},
        .user = STR("alice@example.test"),
        .password = password,
        .protocol = "test",
        .run = run,
    };
    login_submit(q->l, &a->login);
}

struct expected {
    struct queue *q;
    size_t n;
};

static bool are_over(void *arg)
{
    const struct expected *e = arg;
    return atomic_load(&e->q->over) == e->n;
}

static void wait_over(struct rig *r, struct queue *q, size_t n)
{
    struct expected e = {q, n};
    rig_run(r, are_over, &e);
}

static void strangers_in_whatever_number_do_not_keep_a_user_out(void **state)
{
    struct rig *r = *state;
    const struct login_settings settings = {.policy = {.free_failures = 5, .delay_max_ms = 15000}};
    struct attempt *strangers = mem_alloc(STRANGERS * sizeof *strangers), alice;
    struct queue q = {.l = logins_new(r->b.loop, r->b.directory, 1), .job.run = keep_busy};
    logins_set(q.l, &settings);
    (void)pthread_mutex_init(&q.busy, NULL);
    (void)rig_account(r, STR("alice@example.test"));
    begin(&q, &alice, 1, STR("secret"));
    wait_over(r, &q, 1);
    assert_int_equal(alice.answer.code, E_OK);

    (void)pthread_mutex_lock(&q.busy);
    logins_run(q.l, &q.job);
    for (uint32_t i = 0; i < STRANGERS; i++)
        begin(&q, &strangers[i], 1000 + i, (struct str){NULL, 0});
    begin(&q, &alice, 1, STR("secret"));
    (void)pthread_mutex_unlock(&q.busy);
    wait_over(r, &q, 1 + STRANGERS + 1);
    size_t refused = 0;
    for (size_t i = 0; i < STRANGERS; i++)
        refused += strangers[i].answer.code == E_LIMIT;
    assert_int_equal(refused, STRANGERS - 256);
    assert_int_equal(alice.answer.code, E_OK);

    logins_free(q.l);
    (void)pthread_mutex_destroy(&q.busy);
    free(strangers);
}

static int setup(void **state)
{
    *state = rig_new();
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(strangers_in_whatever_number_do_not_keep_a_user_out, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
