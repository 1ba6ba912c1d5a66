/* Log-ins that wait for a thread. */
#include "test_backend_rig.h"

#include "roles/backend/login.h"

enum { STRANGERS = 600, USERS = 400 };

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

static struct ip address(uint32_t n)
{
    return (struct ip){.n = 4, .b = {10, 0, (uint8_t)(n >> 8), (uint8_t)n}};
}

static void begin_as(struct queue *q, struct attempt *a, uint64_t id, struct ip peer,
                     struct str user, struct str password)
{
    *a = (struct attempt){.q = q};
    a->login = (struct login){
        .peer = peer,
        .id = {{id}, 0},
        .user = user,
        .password = password,
        .protocol = "test",
        .run = run,
    };
    login_submit(q->l, &a->login);
}

static void begin(struct queue *q, struct attempt *a, uint32_t from, struct str password)
{
    begin_as(q, a, from, address(from), STR("alice@example.test"), password);
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

static void queue_begin(struct queue *q, struct rig *r, const struct login_settings *s)
{
    *q = (struct queue){.l = logins_new(r->b.loop, r->b.directory, 1), .job.run = keep_busy};
    logins_set(q->l, s);
    (void)pthread_mutex_init(&q->busy, NULL);
    (void)rig_account(r, STR("alice@example.test"));
}

static void queue_end(struct queue *q)
{
    logins_free(q->l);
    (void)pthread_mutex_destroy(&q->busy);
}

static void strangers_in_whatever_number_do_not_keep_a_user_out(void **state)
{
    struct rig *r = *state;
    const struct login_settings settings = {.policy = {.free_failures = 5, .delay_max_ms = 15000}};
    struct attempt *strangers = mem_alloc(STRANGERS * sizeof *strangers), alice;
    struct queue q;
    queue_begin(&q, r, &settings);
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

    queue_end(&q);
    free(strangers);
}

/* A webmail on this machine, and one at an address that is configured. */
static void users_of_a_webmail_do_not_share_the_limits_of_an_address(void **state)
{
    struct rig *r = *state;
    const struct ip webmails[] = {{.n = 4, .b = {127, 0, 0, 1}}, address(7)};
    ProtobufCBinaryData configured = pb_bytes(STR("10.0.0.7"));
    struct login_settings settings = {.policy = {.free_failures = 5, .delay_max_ms = 15000},
                                      .connections = {.address = 1}};
    ip_nets_set(&settings.shared, "shared_addresses", &configured, 1);
    struct attempt *users = mem_alloc(USERS * sizeof *users), alice[2];
    char names[USERS][32];
    struct queue q;
    queue_begin(&q, r, &settings);
    size_t over = 0;
    for (size_t k = 0; k < ARRAY_LEN(webmails); k++) {
        (void)pthread_mutex_lock(&q.busy);
        logins_run(q.l, &q.job);
        for (size_t i = 0; i < USERS; i++) {
            (void)snprintf(names[i], sizeof names[i], "user%zu@example.test", i);
            begin_as(&q, &users[i], i, webmails[k], str_c(names[i]), STR(""));
        }
        for (size_t i = 0; i < ARRAY_LEN(alice); i++)
            begin_as(&q, &alice[i], 10000 + 10 * k + i, webmails[k], STR("alice@example.test"),
                     STR("secret"));
        (void)pthread_mutex_unlock(&q.busy);
        over += USERS + ARRAY_LEN(alice);
        wait_over(r, &q, over);
        for (size_t i = 0; i < USERS; i++)
            assert_int_equal(users[i].answer.code, E_OK);
        for (size_t i = 0; i < ARRAY_LEN(alice); i++)
            assert_int_equal(alice[i].answer.code, E_OK);
    }
    queue_end(&q);
    free(users);
}

/* The third name is the same account's too, and has used up what is free. */
static void all_names_of_an_account_are_counted_as_one(void **state)
{
    struct rig *r = *state;
    const struct login_settings settings = {.policy = {.free_failures = 2, .delay_max_ms = 500}};
    static const struct str names[] = {STR_INIT("alice"), STR_INIT("Alice@other.test"),
                                       STR_INIT("alice@EXAMPLE.test"), STR_INIT("alice@a.test")};
    struct attempt a[ARRAY_LEN(names)];
    struct queue q;
    queue_begin(&q, r, &settings);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        begin_as(&q, &a[i], i, address(1), names[i], STR("wrong"));
        wait_over(r, &q, i + 1);
        if (i == 0)
            assert_int_equal(
                directory_domain_alias(r->b.directory, STR("other.test"), STR("example.test")).code,
                E_OK);
        assert_true((a[i].login.timer != NULL) == (i == 2));
    }
    timer_free(a[2].login.timer);
    queue_end(&q);
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
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(strangers_in_whatever_number_do_not_keep_a_user_out),
        CASE(users_of_a_webmail_do_not_share_the_limits_of_an_address),
        CASE(all_names_of_an_account_are_counted_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
