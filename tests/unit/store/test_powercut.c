/*
 * The power fails at any moment, again and again on one store. Each life is a process of its own:
 * it opens the store, compares it with what was acknowledged before, goes on committing, and ends
 * in a cut. The index, which is behind the log by design, is left as it is, put back to an earlier
 * state, or removed; or, in every other round, mostly dead segments are rewritten meanwhile.
 *
 * THURN_POWERCUT_ROUNDS=n and THURN_POWERCUT_SEED=n choose what is run; with THURN_POWERCUT_KEEP
 * set the directory of a failed round is kept.
 */
#include "engine_rig.h"
#include "cut_disk.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/wait.h>

/* ThreadSanitizer would wait a second at the end of every life. */
const char *__tsan_default_options(void); /* NOLINT(bugprone-reserved-identifier) */
const char *__tsan_default_options(void)  /* NOLINT(bugprone-reserved-identifier) */
{
    return "atexit_sleep_ms=0";
}

enum { LIVES = 8, COMMITS = 4096, IN_FLIGHT = 8, HOT = 7, BODY_MAX = BODY_BIG + (64 << 10) };
enum fate { UNUSED_NUMBER, IN_DOUBT, ACKNOWLEDGED, FAILED };

/* What the store should hold: outlives the processes. */
struct promise {
    atomic_uint fate;
    uint32_t bytes_of; /* the commit whose bytes its body has; 0: no body */
    uint32_t dropped_by;
    uint32_t drops;
};
struct ledger {
    uint64_t seed;
    uint32_t next;
    bool rewriting; /* then the index may not be older than the log that is left */
    struct promise commits[COMMITS];
};

struct life {
    struct ledger *ledger;
    struct rig rig;
    struct random random;
    struct cut_disk *disk;
    struct body *last_body;
    uint8_t *last_bytes;
    uint32_t last_n;
};

static void key_of(struct key *k, char kind, uint32_t n)
{
    k->n = 0;
    key_byte(k, (uint8_t)kind);
    key_u32(k, n);
}

static struct random random_of(const struct ledger *l, uint32_t n)
{
    return (struct random){.state = l->seed * 1000003 + n};
}

static size_t body_size(struct random *r)
{
    uint64_t kind = random_below(r, 100);
    if (kind < 4)
        return BODY_BIG + 1 + (size_t)random_below(r, BODY_MAX - BODY_BIG);
    if (kind < 15)
        return (size_t)random_below(r, 60000);
    return (size_t)random_below(r, 4000);
}

/* The bytes of commit n's own body; to be freed. */
static struct str bytes_of(const struct ledger *l, uint32_t n)
{
    struct random r = random_of(l, n);
    size_t size = body_size(&r);
    uint8_t *p = mem_alloc(size + 8);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t v = random_next(&r);
        memcpy(p + i, &v, sizeof v);
    }
    return str_of(p, size);
}

/* ------------------------------------------------------------------------------ looking */

static void wrong(const struct life *l, uint32_t n, const char *what)
{
    fprintf(stderr, "seed %" PRIu64 ", commit %u: %s\n", l->ledger->seed, n, what);
    _exit(1);
}

static bool has(struct life *l, char kind, uint32_t n)
{
    struct arena a CLEANUP(arena_free);
    struct key k;
    arena_init(&a, 64 << 10);
    key_of(&k, kind, n);
    return get_now(l->rig.e, key_str(&k), &a).p != NULL;
}

static bool body_intact(struct life *l, uint32_t n)
{
    struct key k;
    key_of(&k, 'b', n);
    struct str bytes = bytes_of(l->ledger, l->ledger->commits[n].bytes_of);
    bool same = body_is(l->rig.e, key_str(&k), bytes);
    free((void *)(uintptr_t)bytes.p);
    return same;
}

/* Every part of the commit is there, or none. */
static bool is_there(struct life *l, uint32_t n)
{
    const struct promise *p = &l->ledger->commits[n];
    bool value = has(l, 'v', n), body = has(l, 'b', n);
    if (has(l, 'w', n) != value || body != (value && p->bytes_of))
        wrong(l, n, "half of it is there");
    if (body && !body_intact(l, n))
        wrong(l, n, "its body is damaged");
    return value;
}

static bool mark_is_there(struct life *l, uint32_t n)
{
    return has(l, 'm', n);
}

static void look_at_hot_keys(struct life *l)
{
    for (uint32_t hot = 0; hot < HOT; hot++) {
        struct arena a CLEANUP(arena_free);
        struct key k;
        uint64_t last = 0, got = 0;
        arena_init(&a, 1024);
        for (uint32_t n = 1; n < l->ledger->next; n++)
            if (n % HOT == hot && atomic_load(&l->ledger->commits[n].fate) == ACKNOWLEDGED)
                last = n;
        key_of(&k, 'h', hot);
        struct str s = get_now(l->rig.e, key_str(&k), &a);
        if (s.p && str_to_u64(s, &got).code)
            got = UINT64_MAX;
        if (got != last)
            wrong(l, (uint32_t)last, "a later commit's value was overwritten by an earlier one's");
    }
}

static void no_finding(account_id account, struct str what, void *arg)
{
    fprintf(stderr, "%.*s\n", STR_FMT(what));
    wrong(arg, 0, "the log does not verify");
}

/* Settles what was in doubt, and compares everything with the ledger. */
static void look(struct life *l)
{
    bool missing = false;
    for (uint32_t n = 1; n < l->ledger->next; n++) {
        struct promise *p = &l->ledger->commits[n];
        unsigned fate = atomic_load(&p->fate);
        bool there = mark_is_there(l, n);
        if (fate == ACKNOWLEDGED && !there)
            wrong(l, n, "was acknowledged and is lost");
        if (fate == FAILED && there)
            wrong(l, n, "was reported as failed and is there");
        if (fate == IN_DOUBT) {
            if (there && missing)
                wrong(l, n, "is there without one submitted before it");
            missing = !there;
            atomic_store(&p->fate, there ? ACKNOWLEDGED : FAILED);
        }
    }
    for (uint32_t n = 1; n < l->ledger->next; n++) {
        struct promise *p = &l->ledger->commits[n];
        bool dropped = p->dropped_by && mark_is_there(l, p->dropped_by);
        if (is_there(l, n) != (atomic_load(&p->fate) == ACKNOWLEDGED && !dropped))
            wrong(l, n, dropped ? "was deleted and is there" : "is not as it was acknowledged");
        if (p->dropped_by && !dropped)
            p->dropped_by = 0;
    }
    look_at_hot_keys(l);
    if (engine_log_verify(l->rig.e, no_finding, NULL, l).code)
        wrong(l, 0, "the log cannot be verified");
}

/* -------------------------------------------------------------------------------- living */

struct flight {
    struct wait_commit w;
    uint32_t n;
    struct ledger *ledger;
    void (*inner)(struct commit *c, struct err result);
};

static void landed(struct commit *c, struct err result)
{
    struct flight *f = container_of(c, struct flight, w.c);
    atomic_store(&f->ledger->commits[f->n].fate, result.code ? FAILED : ACKNOWLEDGED);
    f->inner(c, result);
}

static void choose_body(struct life *l, struct flight *f, struct random *r)
{
    struct promise *p = &l->ledger->commits[f->n];
    struct key k;
    uint64_t kind = random_below(r, 100);
    if (kind < 10)
        return;
    if (kind < 70 || !l->last_body) { /* the bytes of the last one stay: it is in no flight now */
        struct str s = bytes_of(l->ledger, f->n);
        l->last_body = body_new(s);
        l->last_n = f->n;
    }
    p->bytes_of = l->last_n;
    key_of(&k, 'b', f->n);
    batch_body(&f->w.c.batch, key_str(&k), (account_id){f->n}, l->last_body);
}

static void drop_one(struct life *l, struct flight *f, struct random *r)
{
    uint32_t n = 1 + (uint32_t)random_below(r, f->n);
    struct promise *p = &l->ledger->commits[n];
    if (n >= f->n || atomic_load(&p->fate) != ACKNOWLEDGED || p->dropped_by)
        return;
    struct arena a CLEANUP(arena_free);
    struct key k;
    arena_init(&a, 1024);
    key_of(&k, 'b', n);
    if (p->bytes_of) {
        Thurn__BodyPlace *place;
        if (place_now(l->rig.e, key_str(&k), &a, &place).code)
            wrong(l, n, "has no place of its body");
        batch_body_drop(&f->w.c.batch, key_str(&k), place);
        thurn__body_place__free_unpacked(place, NULL);
    }
    key_of(&k, 'v', n);
    batch_delete(&f->w.c.batch, key_str(&k));
    struct key to;
    key_of(&k, 'w', n);
    key_of(&to, 'w', n + 1);
    batch_delete_range(&f->w.c.batch, key_str(&k), key_str(&to));
    p->dropped_by = f->n;
    l->ledger->commits[f->n].drops = n;
}

static void put(struct flight *f, char kind, uint32_t n, struct str value)
{
    struct key k;
    key_of(&k, kind, n);
    batch_put(&f->w.c.batch, key_str(&k), value);
}

static void take_off(struct life *l, struct flight *f)
{
    struct buf number CLEANUP(buf_free) = {0};
    f->ledger = l->ledger;
    f->n = l->ledger->next++;
    struct random r = random_of(l->ledger, f->n + COMMITS);
    wait_init(&f->w);
    f->inner = f->w.c.done;
    f->w.c.done = landed;
    buf_decimal(&number, f->n);
    put(f, 'v', f->n, buf_str(&number));
    put(f, 'w', f->n, STR(""));
    put(f, 'm', f->n, STR("m"));
    put(f, 'h', f->n % HOT, buf_str(&number));
    choose_body(l, f, &r);
    if (random_chance(&r, l->ledger->rewriting ? 60 : 15))
        drop_one(l, f, &r);
    atomic_store(&l->ledger->commits[f->n].fate, IN_DOUBT);
    wait_submit(l->rig.e, &f->w);
}

static void land(struct life *l, struct flight *f)
{
    struct promise *p = &l->ledger->commits[f->n];
    if (wait_end(&f->w).code && p->drops)
        l->ledger->commits[p->drops].dropped_by = 0;
    if (atomic_load(&p->fate) == ACKNOWLEDGED && p->bytes_of && !p->dropped_by &&
        !body_intact(l, f->n))
        wrong(l, f->n, "its body is damaged right after the commit");
}

/* Some steps while commits are under way. Disk calls may be made to fail. */
static void rewrite_some(struct life *l)
{
    bool worked = true;
    for (uint64_t n = random_below(&l->random, 12); n && worked; n--)
        (void)!engine_rewrite(l->rig.e, &worked).code;
}

static void commit_some(struct life *l)
{
    static struct flight flights[IN_FLIGHT];
    size_t n = 1 + (size_t)random_below(&l->random, IN_FLIGHT);
    for (size_t i = 0; i < n; i++)
        take_off(l, &flights[i]);
    if (l->ledger->rewriting)
        rewrite_some(l);
    for (size_t i = 0; i < n; i++)
        land(l, &flights[i]);
}

static void open_again(struct life *l)
{
    struct err err = rig_open(&l->rig);
    if (!err.code)
        return;
    if (err.code == E_IO || err.code == E_FULL) /* one of the calls that were made to fail */
        cut_disk_cut(l->disk);
    fprintf(stderr, "%s: %.*s\n", l->rig.dir, STR_FMT(buf_str(&l->rig.explain)));
    wrong(l, 0, "the store does not open after the cut");
}

static struct cut_disk *disk_of_this_life;

/* The engine gives up if it cannot make sure that a failed group stays away. The signal comes from
 * its abort(), which holds no lock of the disk. */
static void gave_up(int signal)
{
    cut_disk_cut(disk_of_this_life); /* NOLINT(bugprone-signal-handler) */
}

static void live(struct life *l)
{
    char log_dir[300];
    snprintf(log_dir, sizeof log_dir, "%s/log", l->rig.store);
    open_again(l);
    look(l);
    rig_close(&l->rig);
    struct cut_options o = {
        .log_dir = log_dir,
        .seed = random_next(&l->random),
        .calls = 3 + random_below(&l->random, 150),
        .fault_permille = random_chance(&l->random, 40) ? 40 : 0,
        .break_down = random_chance(&l->random, 20),
    };
    l->disk = disk_of_this_life = cut_disk_new(&o);
    if (o.break_down || o.fault_permille)
        signal(SIGABRT, gave_up);
    l->rig.options.disk = cut_disk_ops(l->disk);
    l->rig.options.segment_size = 200 << 10;
    open_again(l);
    look(l);
    while (l->ledger->next + IN_FLIGHT < COMMITS) {
        commit_some(l);
        if (random_chance(&l->random, 3)) {
            rig_close(&l->rig);
            open_again(l);
        }
    }
    cut_disk_cut(l->disk);
}

/* ------------------------------------------------------------------------------- the rounds */

static void change_index(struct life *l)
{
    char index[300], earlier[300];
    snprintf(index, sizeof index, "%s/index", l->rig.store);
    snprintf(earlier, sizeof earlier, "%s/earlier", l->rig.dir);
    uint64_t kind = random_below(&l->random, 4);
    if (kind == 0) {
        remove_tree(index);
    } else if (kind == 1 && access(earlier, F_OK) == 0) {
        remove_tree(index);
        copy_tree(earlier, index);
    }
    if (random_chance(&l->random, 30) && access(index, F_OK) == 0) {
        remove_tree(earlier);
        copy_tree(index, earlier);
    }
}

/* Runs `what` in a process of its own; whether it ended well. */
static bool in_child(struct life *l, void (*what)(struct life *l))
{
    fflush(NULL);
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        what(l);
        _exit(0);
    }
    int status;
    check(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void last_look(struct life *l)
{
    open_again(l);
    look(l);
    rig_close(&l->rig);
    l->rig.options.read_only = true;
    open_again(l);
    look(l);
    rig_close(&l->rig);
}

static bool round_survives(uint64_t seed)
{
    struct ledger *ledger =
        mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(ledger != MAP_FAILED);
    ledger->seed = seed;
    ledger->next = 1;
    ledger->rewriting = seed % 2;
    struct life l = {.ledger = ledger, .random.state = seed};
    /* The disk is simulated, so the real one need not be slow. */
    if (access("/dev/shm", W_OK) == 0)
        rig_init_in(&l.rig, "/dev/shm");
    else
        rig_init(&l.rig);
    bool well = true;
    for (int i = 0; i < LIVES && well; i++) {
        (void)!random_next(&l.random);
        well = in_child(&l, live);
        if (well && !ledger->rewriting && access(l.rig.store, F_OK) == 0)
            change_index(&l);
    }
    well = well && in_child(&l, last_look);
    if (!well)
        print_error("seed %" PRIu64 ": not everything survived (%u commits)\n", seed,
                    ledger->next - 1);
    if (well || !getenv("THURN_POWERCUT_KEEP"))
        rig_end(&l.rig);
    munmap(ledger, sizeof *ledger);
    return well;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    uint64_t v;
    return str_to_u64(str_c(getenv(name)), &v).code ? otherwise : v;
}

static void acknowledged_mail_survives_power_cuts(void **state)
{
    uint64_t seed = from_environment("THURN_POWERCUT_SEED", random_u64() >> 32);
    uint64_t rounds = from_environment("THURN_POWERCUT_ROUNDS", 10);
    print_message("THURN_POWERCUT_SEED=%" PRIu64 ", %" PRIu64 " rounds\n", seed, rounds);
    for (uint64_t i = 0; i < rounds; i++)
        assert_true(round_survives(seed + i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(acknowledged_mail_survives_power_cuts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
