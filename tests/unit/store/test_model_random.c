/* Thousands of random operations, compared with a reference so simple that it is obviously right;
 * closed and opened again, and made anew from the log, at random moments. */
#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_house.h"
#include "store/model.h"

enum { BOXES = 3, UIDS_MAX = 40000, STEPS = 1200, LOG_MAX = 400000 };

struct ref_entry {
    bool alive;
    uint32_t flags, text; /* the message is "text <number>" */
    uint64_t keywords, modseq;
    int64_t date;
    uint32_t size;
};
struct ref_change {
    uint64_t modseq;
    uint32_t uid;
    int kind;
};
struct ref_box {
    mailbox_id id;
    uint32_t uidnext;
    struct ref_entry *e; /* by UID */
    struct ref_change *log;
    size_t n_log;
};
struct ref {
    struct house h;
    struct ref_box box[BOXES];
    uint64_t rng;
    char text[BOXES * UIDS_MAX][16];
    uint32_t texts;
    bool rewriting; /* mostly dead segments; then there is no index to be made from the log */
    change_id done[4096];
    size_t n_done;
};

/* xorshift64*: the same for the same seed everywhere. */
static uint64_t roll(struct ref *r)
{
    r->rng ^= r->rng >> 12;
    r->rng ^= r->rng << 25;
    r->rng ^= r->rng >> 27;
    return r->rng * 0x2545F4914F6CDD1DULL;
}

static uint32_t below(struct ref *r, uint32_t n)
{
    return (uint32_t)(roll(r) >> 33) % n;
}

static void ref_log(struct ref_box *b, uint64_t at, uint32_t uid, int kind)
{
    assert_true(b->n_log < LOG_MAX);
    b->log[b->n_log++] = (struct ref_change){at, uid, kind};
}

static void ref_begin(struct ref *r)
{
    static const char *names[BOXES] = {"INBOX", "Archive", "Lists/thurn"};
    house_new(&r->h);
    for (size_t i = 0; i < BOXES; i++) {
        r->box[i].id = i ? create_mailbox(&r->h, names[i]) : INBOX;
        r->box[i].uidnext = 1;
        r->box[i].e = mem_alloc(UIDS_MAX * sizeof(struct ref_entry));
        r->box[i].log = mem_alloc(LOG_MAX * sizeof(struct ref_change));
    }
    struct txn *t;
    assert_ok(txn_begin(r->h.alice, &t));
    for (size_t i = 0; i < BOXES; i++)
        for (unsigned k = 0; k < 5; k++) {
            unsigned bit;
            assert_ok(txn_keyword(t, r->box[i].id, str_of(&"abcde"[k], 1), &bit));
        }
    assert_ok(txn_commit(t));
}

static void ref_end(struct ref *r)
{
    house_close(&r->h);
    remove_tree(r->h.dir);
    for (size_t i = 0; i < BOXES; i++) {
        free(r->box[i].e);
        free(r->box[i].log);
    }
}

/* --------------------------------------------------------------------------- operations */

static void add(struct ref *r, struct txn *t, struct ref_box *b)
{
    uint32_t flags = below(r, 32), number = r->texts++;
    char *text = r->text[number]; /* must stay until the commit */
    (void)snprintf(text, sizeof r->text[0], "text %u", number);
    msg_uid uid = txn_message(t, b->id, str_c(text), flags);
    assert_int_equal(uid.v, b->uidnext);
    b->e[b->uidnext++] = (struct ref_entry){.alive = true,
                                            .flags = flags,
                                            .text = number,
                                            .modseq = txn_modseq(t).v,
                                            .date = 1000,
                                            .size = (uint32_t)strlen(text)};
    ref_log(b, txn_modseq(t).v, uid.v, CHANGE_ADDED);
}

static void op_add(struct ref *r, uint32_t n)
{
    struct ref_box *b = &r->box[below(r, BOXES)];
    struct txn *t;
    if (b->uidnext + n >= UIDS_MAX)
        return;
    assert_ok(txn_begin(r->h.alice, &t));
    for (uint32_t i = 0; i < n; i++)
        add(r, t, b);
    if (r->n_done < ARRAY_LEN(r->done)) {
        change_id id;
        for (size_t i = 0; i < 16; i++)
            id.b[i] = (uint8_t)roll(r);
        assert_ok(txn_done(t, id, STR("ok")));
        r->done[r->n_done++] = id;
    }
    assert_ok(txn_commit(t));
}

static void ref_flags(struct txn *t, struct ref_box *b, uint32_t uid, uint32_t flags,
                      uint64_t keywords)
{
    struct ref_entry *e = &b->e[uid];
    struct err err = txn_entry_flags(t, b->id, (msg_uid){uid}, flags, keywords);
    if (!e->alive) {
        assert_err(err, E_NOTFOUND);
        return;
    }
    assert_ok(err);
    e->flags = flags;
    e->keywords = keywords;
    e->modseq = txn_modseq(t).v;
    ref_log(b, e->modseq, uid, CHANGE_FLAGS);
}

static void ref_expunge(struct txn *t, struct ref_box *b, uint32_t uid)
{
    struct err err = txn_entry_expunge(t, b->id, (msg_uid){uid});
    if (!b->e[uid].alive) {
        assert_err(err, E_NOTFOUND);
        return;
    }
    assert_ok(err);
    b->e[uid].alive = false;
    ref_log(b, txn_modseq(t).v, uid, CHANGE_EXPUNGED);
}

/* A run of UIDs, every UID or a few of them, flagged or expunged. */
static void op_change(struct ref *r, uint32_t length)
{
    struct ref_box *b = &r->box[below(r, BOXES)];
    if (b->uidnext == 1)
        return;
    uint32_t from = 1 + below(r, b->uidnext - 1), step = 1 + below(r, 3);
    uint32_t kill = below(r, 4) == 0 ? 2 : 0, flags = below(r, 32);
    struct txn *t;
    assert_ok(txn_begin(r->h.alice, &t));
    for (uint32_t uid = from; uid < b->uidnext && uid < from + length; uid += step) {
        if (kill && below(r, 4) < kill)
            ref_expunge(t, b, uid);
        else
            ref_flags(t, b, uid, flags, below(r, 32));
    }
    /* Out of order, and again within the transaction. */
    if (below(r, 4) == 0)
        ref_flags(t, b, 1 + below(r, b->uidnext - 1), 1, 0);
    if (below(r, 8) == 0)
        ref_expunge(t, b, 1 + below(r, b->uidnext - 1));
    assert_ok(txn_commit(t));
}

static void op_copy(struct ref *r)
{
    struct ref_box *from = &r->box[below(r, BOXES)], *to = &r->box[below(r, BOXES)];
    if (from->uidnext == 1 || to->uidnext + 20 >= UIDS_MAX)
        return;
    struct txn *t;
    assert_ok(txn_begin(r->h.alice, &t));
    uint32_t end = from->uidnext;
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t uid = 1 + below(r, end - 1);
        struct entry e;
        if (!from->e[uid].alive)
            continue;
        assert_ok(snap_entry(txn_snap(t), from->id, (msg_uid){uid}, &e));
        msg_uid copy;
        assert_ok(txn_entry_add(t, to->id, e.email, 1, 0, 77, &copy));
        assert_int_equal(copy.v, to->uidnext);
        to->e[to->uidnext] = from->e[uid];
        to->e[to->uidnext].flags = 1;
        to->e[to->uidnext].keywords = 0;
        to->e[to->uidnext].date = 77;
        to->e[to->uidnext].modseq = txn_modseq(t).v;
        ref_log(to, txn_modseq(t).v, to->uidnext++, CHANGE_ADDED);
    }
    assert_ok(txn_commit(t));
}

/* Nearly all messages go, as when somebody cleans up. */
static void op_clean(struct ref *r)
{
    struct ref_box *b = &r->box[below(r, BOXES)];
    struct txn *t;
    assert_ok(txn_begin(r->h.alice, &t));
    for (uint32_t uid = 1; uid < b->uidnext; uid++)
        if (below(r, 100))
            ref_expunge(t, b, uid);
    assert_ok(txn_commit(t));
}

static void op_rewrite(struct ref *r)
{
    bool worked = r->rewriting;
    while (worked)
        assert_ok(engine_rewrite(r->h.store->engine, &worked));
}

static void reopen_somehow(struct ref *r)
{
    if (r->rewriting)
        house_reopen(&r->h);
    else
        house_reopen_from_log(&r->h);
}

/* Time passes: a few hours, or so much that history ends for everything there is. */
static void op_time(struct ref *r)
{
    house_ahead += below(r, 4) ? (int64_t)below(r, 2 * 86400) : HISTORY + 86400;
    if (below(r, 2))
        maintain(&r->h);
}

/* -------------------------------------------------------------------------- comparing */

static void same_entry(const struct ref_box *b, const struct entry *e)
{
    const struct ref_entry *x = &b->e[e->uid.v];
    assert_true(x->alive);
    assert_int_equal(e->flags, x->flags);
    assert_int_equal(e->keywords, x->keywords);
    assert_int_equal(e->modseq.v, x->modseq);
    assert_int_equal(e->internal_date, x->date);
    assert_int_equal(e->size, x->size);
}

static void same_counters(struct snap *s, const struct ref_box *b)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    Thurn__Mailbox *m;
    uint32_t exists = 0, unseen = 0, deleted = 0;
    uint64_t bytes = 0;
    for (uint32_t uid = 1; uid < b->uidnext; uid++) {
        const struct ref_entry *e = &b->e[uid];
        if (!e->alive)
            continue;
        exists++;
        unseen += !(e->flags & 1);
        deleted += (e->flags & 8) != 0;
        bytes += e->size;
    }
    assert_ok(snap_mailbox(s, b->id, &a, &m));
    assert_int_equal(m->uidnext, b->uidnext);
    assert_int_equal(m->exists, exists);
    assert_int_equal(m->unseen, unseen);
    assert_int_equal(m->deleted, deleted);
    assert_int_equal(m->bytes, bytes);
    arena_free(&a);
}

/* The columns say what the messages do. */
static void same_listing(const struct ref *r, struct snap *s, const struct ref_box *b,
                         const struct entry *list, size_t n)
{
    struct listing_column *subject = mem_alloc(sizeof *subject), *sent = mem_alloc(sizeof *sent);
    for (size_t at = 0; at < n; at += ENTRY_BLOCK) {
        size_t some = MIN(n - at, (size_t)ENTRY_BLOCK);
        assert_ok(snap_listing(s, b->id, LISTING_SUBJECT, list + at, some, subject));
        assert_ok(snap_listing(s, b->id, LISTING_SENT, list + at, some, sent));
        assert_int_equal(subject->n, some);
        for (size_t i = 0, from = 0; i < some; from = subject->end[i++]) {
            struct str text = str_c(r->text[b->e[list[at + i].uid.v].text]);
            assert_false(subject->partial[i] || sent->partial[i]);
            assert_true(str_eq(str_sub(buf_str(&subject->text), from, subject->end[i] - 1), text));
            assert_int_equal(sent->time[i], text.n * 1000);
            assert_int_equal(sent->zone[i], -60);
        }
    }
    listing_free(subject);
    listing_free(sent);
    free(subject);
    free(sent);
}

static void same_list(struct ref *r, struct snap *s, const struct ref_box *b, uint32_t from,
                      uint32_t to, size_t max)
{
    struct entry *list = mem_alloc(max * sizeof *list);
    uint32_t uid = from;
    for (size_t n = max; n == max;) {
        assert_ok(snap_entries(s, b->id, (msg_uid){uid}, (msg_uid){to}, list, max, &n));
        for (size_t i = 0; i < n; i++) {
            for (; uid < list[i].uid.v; uid++)
                assert_false(b->e[uid].alive);
            same_entry(b, &list[i]);
            uid++;
        }
        same_listing(r, s, b, list, n);
    }
    for (; uid < b->uidnext && uid <= to; uid++)
        assert_false(b->e[uid].alive);
    free(list);
    for (unsigned i = 0; i < 8 && b->uidnext > 1; i++) {
        struct entry e;
        uint32_t one = 1 + below(r, b->uidnext - 1);
        struct err err = snap_entry(s, b->id, (msg_uid){one}, &e);
        if (b->e[one].alive) {
            assert_ok(err);
            same_entry(b, &e);
        } else {
            assert_err(err, E_NOTFOUND);
        }
    }
}

static void same_uids(struct snap *s, const struct ref_box *b, uint32_t from)
{
    struct arena a;
    arena_init(&a, 1 << 24);
    struct uid_run *runs;
    size_t n;
    assert_ok(snap_uids(s, b->id, (msg_uid){from}, &a, &runs, &n));
    uint32_t uid = from;
    for (size_t i = 0; i < n; i++) {
        for (; uid < runs[i].first; uid++)
            assert_false(b->e[uid].alive);
        for (; uid < runs[i].first + runs[i].count; uid++)
            assert_true(b->e[uid].alive);
        assert_true(uid >= b->uidnext || !b->e[uid].alive); /* runs are as long as they can be */
    }
    for (; uid < b->uidnext; uid++)
        assert_false(b->e[uid].alive);
    arena_free(&a);
}

static void same_first_unseen(struct snap *s, const struct ref_box *b)
{
    msg_uid uid;
    uint32_t first = 1;
    while (first < b->uidnext && (!b->e[first].alive || b->e[first].flags & 1))
        first++;
    assert_ok(snap_first_unseen(s, b->id, &uid));
    assert_int_equal(uid.v, first < b->uidnext ? first : 0);
}

static void same_changes(struct snap *s, const struct ref_box *b, uint64_t since)
{
    struct change *c = mem_alloc(LOG_MAX * sizeof *c);
    uint64_t *latest = mem_alloc(UIDS_MAX * sizeof *latest);
    int *kind = mem_alloc(UIDS_MAX * sizeof *kind);
    size_t n = 0, expected = 0;
    uint64_t highest = b->n_log ? b->log[b->n_log - 1].modseq : 0;
    struct err err = snap_changes(s, b->id, (modseq){since}, c, LOG_MAX, &n);
    if (since < highest && since < snap_history_from(s).v) {
        assert_err(err, E_LIMIT);
        since = highest;
    } else {
        assert_ok(err);
    }
    for (size_t i = 0; i < b->n_log; i++) {
        const struct ref_change *l = &b->log[i];
        if (l->modseq <= since)
            continue;
        expected += latest[l->uid] == 0;
        kind[l->uid] = latest[l->uid] && kind[l->uid] == CHANGE_ADDED && l->kind == CHANGE_FLAGS
                           ? CHANGE_ADDED
                           : l->kind;
        latest[l->uid] = l->modseq;
    }
    assert_int_equal(n, expected);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(c[i].modseq.v, latest[c[i].uid.v]);
        assert_int_equal(c[i].kind, kind[c[i].uid.v]);
        assert_true(i == 0 || c[i - 1].modseq.v <= c[i].modseq.v);
    }
    free(c);
    free(latest);
    free(kind);
}

static void compare(struct ref *r, bool all)
{
    struct snap *s;
    assert_ok(snap_open(r->h.alice, &s));
    for (size_t i = 0; i < BOXES; i++) {
        const struct ref_box *b = &r->box[i];
        same_counters(s, b);
        uint32_t from = all ? 1 : 1 + below(r, b->uidnext);
        uint32_t to = all ? UINT32_MAX : from + below(r, 900);
        same_list(r, s, b, from, to, all ? 512 : 1 + below(r, 600));
        same_uids(s, b, from);
        same_first_unseen(s, b);
        if (all)
            same_changes(s, b, below(r, (uint32_t)snap_modseq(s).v + 1));
    }
    struct arena a;
    arena_init(&a, 1 << 16);
    struct str answer;
    if (r->n_done)
        assert_ok(snap_done(s, r->done[below(r, (uint32_t)r->n_done)], &a, &answer));
    arena_free(&a);
    snap_close(s);
}

static void step(struct ref *r)
{
    switch (below(r, 64)) {
    case 0: op_add(r, 600 + below(r, 1500)); break;
    case 1: op_change(r, 2000); break;
    case 2: house_reopen(&r->h); break;
    case 3:
        if (below(r, 8) == 0)
            reopen_somehow(r);
        break;
    case 4: op_add(r, 5000 * (below(r, 16) == 0)); break;
    case 5: op_change(r, 20000 * (below(r, 8) == 0) + 1); break;
    case 6:
        if (below(r, 6) == 0)
            op_clean(r);
        break;
    case 7:
    case 8: op_copy(r); break;
    case 9:
    case 10: assert_ok(account_maintain(r->h.alice)); break;
    case 11:
    case 12: compare(r, false); break;
    case 13: op_time(r); break;
    case 14: op_rewrite(r); break;
    default:
        if (below(r, 2))
            op_add(r, 1 + below(r, 30));
        else
            op_change(r, 1 + below(r, 40));
    }
}

static void the_store_does_what_a_simple_table_would_do(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    uint64_t seed = random_u64() | 1;
    if (given)
        assert_ok(str_to_u64(str_c(given), &seed));
    print_message("SEED=%" PRIu64 "\n", seed);
    struct ref *r = mem_alloc(sizeof *r);
    r->rng = seed;
    r->rewriting = seed % 4 == 1;
    ref_begin(r);
    for (unsigned i = 0; i < STEPS; i++) {
        step(r);
        if (i % 200 == 199)
            compare(r, true);
    }
    compare(r, true);
    reopen_somehow(r);
    compare(r, true);
    house_close(&r->h);
    struct buf explain CLEANUP(buf_free) = {0};
    assert_ok(store_check(str_c(r->h.dir), nothing_to_find, NULL, NULL, &explain));
    ref_end(r);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_store_does_what_a_simple_table_would_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
