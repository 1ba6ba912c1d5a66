/* Many threads commit, share bodies, read and scan at the same time. */
#include "engine_rig.h"
#include "store/engine_private.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <semaphore.h>

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

/* -- commits of the background -- */

enum { HEAP = 8, LARGE = 900 << 10 };

/* Commits that are submitted while another one is held up, and the order in which they end. */
struct crowd {
    struct rig rig;
    sem_t held_up, go_on;
    struct body *body;
    atomic_uint ended;
    struct one {
        struct commit c;
        struct crowd *crowd;
        unsigned place; /* in the order of the ends; 0: not ended */
        struct err result;
    } gate, heap[HEAP], urgent;
};

static void one_ended(struct commit *c, struct err result)
{
    struct one *o = container_of(c, struct one, c);
    o->result = result;
    o->place = atomic_fetch_add(&o->crowd->ended, 1) + 1;
}

static void gate_prepare(struct commit *c)
{
    struct crowd *w = container_of(c, struct one, c)->crowd;
    assert_int_equal(sem_post(&w->held_up), 0);
    assert_int_equal(sem_wait(&w->go_on), 0);
    batch_put(&c->batch, STR("gate"), STR("x"));
}

static void one_init(struct crowd *w, struct one *o)
{
    *o = (struct one){.c.done = one_ended, .crowd = w};
}

static void *gate_submit(void *arg)
{
    struct crowd *w = arg;
    w->gate.c.prepare = gate_prepare;
    engine_submit(w->rig.e, &w->gate.c);
    return NULL;
}

static void *heap_submit(void *arg)
{
    struct crowd *w = arg;
    store_commit_in_background();
    for (uint32_t i = 0; i < HEAP; i++) {
        struct key k;
        key_of(&k, 1, i);
        batch_body(&w->heap[i].c.batch, key_str(&k), (account_id){7}, w->body);
        engine_submit(w->rig.e, &w->heap[i].c);
    }
    return NULL;
}

static void a_heap_in_the_background_is_not_waited_for(void **state)
{
    struct crowd w = {.ended = 0};
    pthread_t gate, heap;
    uint8_t *bytes = mem_alloc(LARGE);
    rig_init(&w.rig);
    assert_int_equal(rig_open(&w.rig).code, E_OK);
    assert_int_equal(sem_init(&w.held_up, 0, 0) | sem_init(&w.go_on, 0, 0), 0);
    random_bytes(bytes, LARGE);
    w.body = body_new(str_of(bytes, LARGE));
    one_init(&w, &w.gate);
    one_init(&w, &w.urgent);
    for (size_t i = 0; i < HEAP; i++)
        one_init(&w, &w.heap[i]);
    assert_int_equal(pthread_create(&gate, NULL, gate_submit, &w), 0);
    assert_int_equal(sem_wait(&w.held_up), 0);
    assert_int_equal(pthread_create(&heap, NULL, heap_submit, &w), 0);
    assert_int_equal(pthread_join(heap, NULL), 0);
    batch_put(&w.urgent.c.batch, STR("urgent"), STR("x"));
    engine_submit(w.rig.e, &w.urgent.c);
    assert_int_equal(sem_post(&w.go_on), 0);
    assert_int_equal(pthread_join(gate, NULL), 0);
    rig_close(&w.rig); /* when all has been done */
    assert_int_equal(w.ended, HEAP + 2);
    assert_int_equal(w.gate.place, 1);
    assert_true(w.urgent.place <= 4); /* behind one group of the heap at most */
    assert_int_equal(rig_open(&w.rig).code, E_OK);
    for (uint32_t i = 0; i < HEAP; i++) {
        struct key k;
        key_of(&k, 1, i);
        assert_int_equal(w.heap[i].result.code, E_OK);
        assert_true(i == 0 || w.heap[i].place > w.heap[i - 1].place);
        assert_true(body_is(w.rig.e, key_str(&k), str_of(bytes, LARGE)));
        batch_free(&w.heap[i].c.batch);
    }
    batch_free(&w.gate.c.batch);
    batch_free(&w.urgent.c.batch);
    body_unref(w.body);
    free(bytes);
    rig_end(&w.rig);
}

enum { BIG = 8 << 20, PIECES = 32, URGENT = 10 };

static atomic_size_t most_written, syncs;

static ssize_t measured_pwritev(const struct store_disk *d, int fd, const struct iovec *v, int n,
                                uint64_t at)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += v[i].iov_len;
    if (bytes > atomic_load(&most_written))
        atomic_store(&most_written, bytes);
    return store_disk_real.pwritev(d, fd, v, n, at);
}

static int counted_fdatasync(const struct store_disk *d, int fd)
{
    (void)atomic_fetch_add(&syncs, 1);
    return store_disk_real.fdatasync(d, fd);
}

static void *big_submit(void *arg)
{
    struct crowd *w = arg;
    store_commit_in_background();
    for (uint32_t i = 0; i < 2; i++) { /* the second one finds the body written */
        struct key k;
        key_of(&k, 1, i);
        batch_body(&w->heap[i].c.batch, key_str(&k), (account_id){7}, w->body);
        engine_submit(w->rig.e, &w->heap[i].c);
    }
    return NULL;
}

/* No sync of others has to wait for all of it. */
static void a_big_body_in_the_background_is_written_piece_by_piece(void **state)
{
    struct crowd w = {.ended = 0};
    struct store_disk disk = store_disk_real;
    pthread_t thread;
    uint8_t *bytes = mem_alloc(BIG);
    disk.pwritev = measured_pwritev;
    disk.fdatasync = counted_fdatasync;
    rig_init(&w.rig);
    w.rig.options.disk = &disk;
    assert_int_equal(rig_open(&w.rig).code, E_OK);
    random_bytes(bytes, BIG);
    w.body = body_new(str_of(bytes, BIG));
    one_init(&w, &w.heap[0]);
    one_init(&w, &w.heap[1]);
    atomic_store(&most_written, 0);
    atomic_store(&syncs, 0);
    assert_int_equal(pthread_create(&thread, NULL, big_submit, &w), 0);
    for (uint32_t i = 0; i < URGENT; i++)
        assert_int_equal(commit_put(w.rig.e, STR("urgent"), STR("x")).code, E_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    rig_close(&w.rig); /* when all has been done */
    assert_true(atomic_load(&most_written) < BIG);
    assert_true(atomic_load(&syncs) >= PIECES + URGENT);
    assert_int_equal(rig_open(&w.rig).code, E_OK);
    for (uint32_t i = 0; i < 2; i++) {
        struct key k;
        key_of(&k, 1, i);
        assert_int_equal(w.heap[i].result.code, E_OK);
        assert_true(body_is(w.rig.e, key_str(&k), str_of(bytes, BIG)));
        batch_free(&w.heap[i].c.batch);
    }
    body_unref(w.body);
    free(bytes);
    rig_end(&w.rig);
}

/* Parts of the time that a group takes: how often it is met, and how long it is waited for. */
static void who_meets_the_background_waits_little_on_average(void **state)
{
    static const uint64_t took[] = {1, 100, 300, 1000, 3000, 10000, 30000};
    for (size_t i = 0; i < ARRAY_LEN(took); i++)
        for (size_t j = 0; j < ARRAY_LEN(took); j++) {
            uint64_t usual = took[j], period = took[i] + background_pause(took[i], usual);
            assert_true(period >= 5 * took[i]);
            if (period < 1000000) /* no pause is longer than a second */
                assert_true(took[i] * took[i] / (2 * period) <= usual / 10 + 1);
        }
    assert_true(background_pause(5000000, 1) <= 1000000);
    assert_int_equal(background_pause(100, 0), background_pause(100, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_meets_the_background_waits_little_on_average),
        cmocka_unit_test(a_heap_in_the_background_is_not_waited_for),
        cmocka_unit_test(a_big_body_in_the_background_is_written_piece_by_piece),
        cmocka_unit_test(commits_of_many_threads_are_all_there),
        cmocka_unit_test(bodies_stay_readable_while_segments_are_rewritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
