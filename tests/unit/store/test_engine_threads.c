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

/* -- with segments being rewritten all the while -- */

enum { KEPT = 3, CHURN = 250, CHURN_BYTES = 6000 };

/* What a reader does: the view stays open while it reads. */
static bool intact(struct engine *e, const struct key *k, struct str bytes)
{
    struct arena a CLEANUP(arena_free);
    struct str packed;
    arena_init(&a, 4096);
    struct view *v = view_open(e);
    bool same = view_get(v, key_str(k), &a, &packed).code == E_OK;
    Thurn__BodyPlace *place = same ? thurn__body_place__unpack(NULL, packed.n, packed.p) : NULL;
    struct buf body CLEANUP(buf_free) = {0};
    same = place && engine_body_load(e, place, &body).code == E_OK && str_eq(buf_str(&body), bytes);
    if (place)
        thurn__body_place__free_unpacked(place, NULL);
    view_close(v);
    return same;
}

static void drop(struct shared *s, const struct key *k)
{
    struct arena a CLEANUP(arena_free);
    Thurn__BodyPlace *place;
    struct wait_commit w;
    arena_init(&a, 4096);
    if (place_now(s->rig.e, key_str(k), &a, &place).code) {
        expect(s, false);
        return;
    }
    wait_init(&w);
    batch_body_drop(&w.c.batch, key_str(k), place);
    thurn__body_place__free_unpacked(place, NULL);
    wait_submit(s->rig.e, &w);
    expect(s, wait_end(&w).code == E_OK);
}

static void churn_bytes(uint32_t writer, uint32_t n, uint8_t out[CHURN_BYTES])
{
    memset(out, (int)(writer * 16 + n % 16), CHURN_BYTES);
    memcpy(out, &n, sizeof n);
}

/* Keeps every tenth body and the last few. */
static void *churner(void *arg)
{
    struct worker *w = arg;
    struct shared *s = w->s;
    uint8_t bytes[CHURN_BYTES];
    for (uint32_t n = 0; n < CHURN; n++) {
        struct key k, old;
        key_of(&k, w->n, n);
        churn_bytes(w->n, n, bytes);
        struct body *b = body_new(str_of(bytes, sizeof bytes));
        expect(s, commit_body(s->rig.e, key_str(&k), b).code == E_OK);
        body_unref(b);
        expect(s, intact(s->rig.e, &k, str_of(bytes, sizeof bytes)));
        key_of(&old, w->n, n - KEPT);
        if (n >= KEPT && (n - KEPT) % 10)
            drop(s, &old);
        key_of(&old, w->n, n / 20 * 10);
        churn_bytes(w->n, n / 20 * 10, bytes);
        expect(s, intact(s->rig.e, &old, str_of(bytes, sizeof bytes)));
    }
    atomic_fetch_add(&s->committed, 1);
    return NULL;
}

static void *rewriter(void *arg)
{
    struct worker *w = arg;
    bool worked = true;
    while (worked || atomic_load(&w->s->committed) < WRITERS)
        expect(w->s, engine_rewrite(w->s->rig.e, &worked).code == E_OK);
    return NULL;
}

static void bodies_stay_readable_while_segments_are_rewritten(void **state)
{
    struct shared s = {.committed = 0};
    struct worker workers[WRITERS + 1];
    rig_init(&s.rig);
    s.rig.options.segment_size = 128 << 10;
    assert_int_equal(rig_open(&s.rig).code, E_OK);
    for (uint32_t i = 0; i < ARRAY_LEN(workers); i++) {
        workers[i] = (struct worker){.s = &s, .n = i};
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, i < WRITERS ? churner : rewriter, &workers[i]),
            0);
    }
    for (size_t i = 0; i < ARRAY_LEN(workers); i++)
        pthread_join(workers[i].thread, NULL);
    assert_false(s.wrong);
    struct store_stats stats;
    engine_stats(s.rig.e, &stats);
    assert_true(stats.freed_bytes > 0);
    rig_end(&s.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_of_many_threads_are_all_there),
        cmocka_unit_test(bodies_stay_readable_while_segments_are_rewritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
