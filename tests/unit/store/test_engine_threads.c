/* Many threads commit, share bodies, read and scan at the same time. */
#include "engine_rig.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { WRITERS = 6, READERS = 2, COMMITS = 120, BODIES = 10 };

struct shared {
    struct rig rig;
    struct body *bodies[BODIES];
    struct str bytes[BODIES];
    atomic_uint committed; /* commits that have been answered */
    atomic_bool wrong;
};
struct worker {
    struct shared *s;
    uint32_t n;
    pthread_t thread;
};

static void key_of(struct key *k, uint32_t writer, uint32_t n)
{
    k->n = 0;
    key_byte(k, 'w');
    key_u32(k, writer);
    key_u32(k, n);
}

static void expect(struct shared *s, bool right)
{
    if (!right)
        atomic_store(&s->wrong, true);
}

static void *writer(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->s;
    for (uint32_t n = 0; n < COMMITS; n++) {
        struct key k;
        size_t i = (n + w->n) % BODIES;
        key_of(&k, w->n, n);
        expect(s, commit_body(s->rig.e, key_str(&k), s->bodies[i]).code == E_OK);
        expect(s, body_is(s->rig.e, key_str(&k), s->bytes[i]));
        atomic_fetch_add(&s->committed, 1);
    }
    return NULL;
}

static bool count(struct str key, struct str value, void *arg)
{
    ++*(unsigned *)arg;
    return true;
}

static void *reader(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->s;
    for (unsigned before = 0; before < WRITERS * COMMITS;) {
        unsigned seen = 0, again = 0;
        before = atomic_load(&s->committed);
        struct view *v = view_open(s->rig.e);
        expect(s, view_scan(v, STR("w"), STR("x"), count, &seen).code == E_OK);
        expect(s, view_scan_down(v, STR("w"), STR("x"), count, &again).code == E_OK);
        view_close(v);
        expect(s, seen >= before && seen == again);
    }
    return NULL;
}

static void commits_of_many_threads_are_all_there(void **state)
{
    struct shared s = {.committed = 0};
    struct worker workers[WRITERS + READERS];
    rig_init(&s.rig);
    s.rig.options.segment_size = 256 << 10;
    assert_int_equal(rig_open(&s.rig).code, E_OK);
    for (size_t i = 0; i < BODIES; i++) {
        size_t n = i == 0 ? BODY_BIG + 1 : i * 900;
        uint8_t *p = mem_alloc(n + 1);
        random_bytes(p, n);
        s.bytes[i] = str_of(p, n);
        s.bodies[i] = body_new(s.bytes[i]);
    }
    for (uint32_t i = 0; i < ARRAY_LEN(workers); i++) {
        workers[i] = (struct worker){.s = &s, .n = i};
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, i < WRITERS ? writer : reader, &workers[i]),
            0);
    }
    for (size_t i = 0; i < ARRAY_LEN(workers); i++)
        pthread_join(workers[i].thread, NULL);
    assert_false(s.wrong);
    rig_close(&s.rig);
    assert_int_equal(rig_open(&s.rig).code, E_OK);
    for (uint32_t i = 0; i < WRITERS; i++) {
        struct key k;
        key_of(&k, i, COMMITS - 1);
        assert_true(body_is(s.rig.e, key_str(&k), s.bytes[(COMMITS - 1 + i) % BODIES]));
    }
    for (size_t i = 0; i < BODIES; i++) {
        body_unref(s.bodies[i]);
        free((void *)(uintptr_t)s.bytes[i].p);
    }
    rig_end(&s.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(commits_of_many_threads_are_all_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
