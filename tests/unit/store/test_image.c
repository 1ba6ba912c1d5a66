/*
 * Images of entries in memory: what readers get with them is what the index says without, whatever
 * is committed meanwhile; and they take no more memory than they may.
 */
#include "base/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model_house.h"

#include "../../../src/store/image.c"

enum { BOXES = 3, ENTRIES = 8000, STEPS = 900, LARGE = 5000, READERS = 3 };

/* ------------------------------------------------------------------- readers and the index alike
 */

/* Everything that is read of the entries of a mailbox. */
struct seen {
    struct entry *list;
    size_t n;
    struct uid_run *runs;
    size_t n_runs;
    msg_uid unseen;
    struct arena arena;
    bool from_image;
};

static struct err seen_read(struct seen *v, struct snap *s, mailbox_id m)
{
    v->list = arena_array(&v->arena, struct entry, ENTRIES);
    TRY(snap_uids(s, m, (msg_uid){1}, &v->arena, &v->runs, &v->n_runs));
    TRY(snap_entries(s, m, (msg_uid){1}, (msg_uid){UINT32_MAX}, v->list, ENTRIES, &v->n));
    TRY(snap_first_unseen(s, m, &v->unseen));
    v->from_image = s->entries && s->entries->image;
    return OK;
}

static bool entry_is(const struct entry *a, const struct entry *b)
{
    return a->uid.v == b->uid.v && a->flags == b->flags && a->keywords == b->keywords &&
           a->modseq.v == b->modseq.v && a->internal_date == b->internal_date &&
           a->size == b->size && a->email.v == b->email.v;
}

static bool seen_is(const struct seen *a, const struct seen *b)
{
    bool same = a->n == b->n && a->n_runs == b->n_runs && a->unseen.v == b->unseen.v;
    for (size_t i = 0; same && i < a->n; i++)
        same = entry_is(&a->list[i], &b->list[i]);
    for (size_t i = 0; same && i < a->n_runs; i++)
        same = a->runs[i].first == b->runs[i].first && a->runs[i].count == b->runs[i].count;
    return same;
}

/* The same snapshot read in a store that has no images. */
static struct err seen_read_index(struct seen *v, struct snap *s, mailbox_id m)
{
    struct account *real = s->account, bare = *real;
    struct store empty = *real->store;
    empty.images = images_new();
    bare.store = &empty;
    entries_free(s->entries);
    s->entries = NULL;
    s->account = &bare;
    struct err e = seen_read(v, s, m);
    entries_free(s->entries);
    s->entries = NULL;
    s->account = real;
    images_free(empty.images);
    return e;
}

/* Whether a reader and the index say the same of a mailbox. E_NOTFOUND: it has been deleted. */
static struct err look(struct account *a, mailbox_id m, bool *out_same, bool *out_image)
{
    struct seen with = {0}, without = {0};
    struct snap *s;
    TRY(snap_open(a, &s));
    arena_init(&with.arena, 8 << 20);
    arena_init(&without.arena, 8 << 20);
    struct err e = seen_read(&with, s, m);
    if (!e.code)
        e = seen_read_index(&without, s, m);
    *out_same = !e.code && seen_is(&with, &without);
    *out_image = with.from_image;
    arena_free(&with.arena);
    arena_free(&without.arena);
    snap_close(s);
    return e;
}

/* ------------------------------------------------------------------------------------ a writer */

struct writer {
    struct house *h;
    uint64_t rng;
    mailbox_id boxes[BOXES]; /* the last one is large, and one is made anew now and then */
    uint32_t uidnext[BOXES];
    uint32_t serial;
};

static uint32_t below(struct writer *w, uint32_t n)
{
    w->rng ^= w->rng >> 12;
    w->rng ^= w->rng << 25;
    w->rng ^= w->rng >> 27;
    return (uint32_t)((w->rng * 0x2545F4914F6CDD1DULL) >> 33) % n;
}

static void box_new(struct writer *w, struct txn *t, size_t box)
{
    char name[32];
    (void)snprintf(name, sizeof name, "box %u", w->serial++);
    assert_ok(txn_mailbox_create(t, str_c(name), 0, &w->boxes[box]));
    w->uidnext[box] = 1;
}

static void add(struct writer *w, struct txn *t, size_t box, uint32_t n)
{
    char text[32];
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text, "text %u", w->serial++);
        msg_uid uid = txn_message(t, w->boxes[box], str_c(text), below(w, 8));
        w->uidnext[box] = uid.v + 1;
    }
}

/* Flags of some, or the end of some; more at a time than an image takes, now and then. */
static void change(struct writer *w, struct txn *t, size_t box)
{
    uint32_t n = below(w, 20) ? 1 + below(w, 3) : APPLIED_MAX + 20;
    bool expunge = below(w, 3) == 0;
    for (uint32_t i = 0; i < n && w->uidnext[box] > 1; i++) {
        msg_uid uid = {1 + below(w, w->uidnext[box] - 1)};
        struct err e = expunge ? txn_entry_expunge(t, w->boxes[box], uid)
                               : txn_entry_flags(t, w->boxes[box], uid, below(w, 32), 0);
        assert_true(e.code == E_OK || e.code == E_NOTFOUND);
    }
}

static void step(struct writer *w)
{
    struct txn *t;
    size_t box = below(w, BOXES);
    assert_ok(txn_begin(w->h->alice, &t));
    switch (below(w, 8)) {
    case 0:
    case 1:
    case 2: add(w, t, box, 1 + below(w, 4)); break;
    case 3:
        if (box == 0 && below(w, 8) == 0) {
            assert_ok(txn_mailbox_delete(t, w->boxes[box]));
            box_new(w, t, box);
        }
        add(w, t, (box + 1) % BOXES, 1);
        change(w, t, box);
        break;
    default: change(w, t, box); break;
    }
    if (below(w, 16) == 0)
        txn_abort(t);
    else
        assert_ok(txn_commit(t));
    if (below(w, 4) == 0 && account_wants_maintenance(w->h->alice))
        assert_ok(account_maintain(w->h->alice));
}

static void writer_start(struct writer *w, struct house *h)
{
    struct txn *t;
    *w = (struct writer){.h = h, .rng = 88172645463325252ULL};
    assert_ok(txn_begin(h->alice, &t));
    for (size_t i = 0; i < BOXES; i++)
        box_new(w, t, i);
    assert_ok(txn_commit(t));
    for (uint32_t n = 0; n < LARGE; n += 500) {
        assert_ok(txn_begin(h->alice, &t));
        add(w, t, BOXES - 1, 500);
        assert_ok(txn_commit(t));
    }
    maintain(h);
}

static void what_readers_get_is_what_the_index_says_after_each_commit(void **state)
{
    struct house *h = *state;
    struct writer w;
    size_t used = 0;
    writer_start(&w, h);
    for (unsigned i = 0; i < STEPS; i++) {
        bool same = false, image = false;
        step(&w);
        size_t box = below(&w, BOXES * 2) % BOXES;
        assert_ok(look(h->alice, w.boxes[box], &same, &image));
        assert_true(same);
        used += image;
    }
    assert_true(used > STEPS / 2); /* it was about images */
}

struct crowd {
    struct house *h;
    _Atomic uint32_t boxes[BOXES];
    atomic_bool stop, wrong;
    atomic_size_t looks, images;
};

static void *reader(void *arg)
{
    struct crowd *c = arg;
    for (unsigned i = 0; !atomic_load(&c->stop); i++) {
        bool same = false, image = false;
        mailbox_id m = {atomic_load(&c->boxes[i % BOXES])};
        struct err e = look(c->h->alice, m, &same, &image);
        if (e.code == E_NOTFOUND)
            continue;
        if (e.code || !same)
            atomic_store(&c->wrong, true);
        (void)atomic_fetch_add(&c->looks, 1);
        (void)atomic_fetch_add(&c->images, image);
    }
    return NULL;
}

static void many_readers_get_what_the_index_says_while_it_is_written(void **state)
{
    struct crowd c = {.h = *state};
    struct writer w;
    pthread_t threads[READERS];
    writer_start(&w, c.h);
    for (size_t i = 0; i < BOXES; i++)
        atomic_store(&c.boxes[i], w.boxes[i].v);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &c), 0);
    for (unsigned i = 0; i < STEPS || atomic_load(&c.looks) < 100; i++) {
        step(&w);
        for (size_t k = 0; k < BOXES; k++)
            atomic_store(&c.boxes[k], w.boxes[k].v);
    }
    atomic_store(&c.stop, true);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_false(atomic_load(&c.wrong));
    assert_true(atomic_load(&c.images) > 0);
}

/* ---------------------------------------------------------------------------- images by themselves
 */

static struct image *make(uint64_t account, uint64_t at, size_t blocks, size_t over)
{
    struct directory dir = {.n = blocks, .refs = mem_alloc((blocks + 1) * sizeof *dir.refs)};
    for (size_t i = 0; i < blocks; i++)
        dir.refs[i] = (struct block_ref){.count = ENTRY_BLOCK};
    struct over *o = mem_alloc((over + 1) * sizeof *o);
    for (size_t i = 0; i < over; i++)
        o[i].e.uid.v = (uint32_t)(2 * i + 2);
    return image_new((account_id){account}, (mailbox_id){1}, (struct image_state){at, 1}, dir, o,
                     over);
}

static void put(struct images *all, uint64_t account, uint64_t at, size_t blocks, size_t over)
{
    struct image *im = make(account, at, blocks, over);
    image_offer(all, im);
    image_unref(im);
}

static bool is_there(struct images *all, uint64_t account, uint64_t at)
{
    struct image *im =
        image_find(all, (account_id){account}, (mailbox_id){1}, (struct image_state){at, 1});
    image_unref(im);
    return im;
}

/* Every shard counts what it has, and that is within its bound. */
static size_t count(struct images *all)
{
    size_t sum = 0;
    for (size_t i = 0; i < IMAGE_SHARDS; i++) {
        struct image_shard *s = &all->shards[i];
        size_t bytes = 0, n = 0;
        list_each (l, &s->unused) {
            const struct image *im = container_of(l, struct image, link);
            assert_true(im->counted >= image_size(im));
            bytes += image_size(im);
            n++;
        }
        assert_int_equal(bytes, s->bytes);
        assert_true(bytes <= SHARD_BYTES);
        assert_int_equal(n, s->images.n);
        sum += bytes;
    }
    return sum;
}

static void they_take_no_more_memory_than_they_may(void **state)
{
    static const struct {
        size_t blocks, over;
    } sizes[] = {{0, 0}, {0, 3}, {1, 20}, {8, 1000}, {9, 20}, {2000, 5000}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct images *all = images_new();
        for (uint64_t a = 1; a <= 4000; a++)
            put(all, a, 1, sizes[i].blocks, sizes[i].over);
        assert_true(count(all) > 0);
        images_free(all);
    }
}

static void one_that_grows_by_commits_stays_within_the_bound(void **state)
{
    (void)state;
    struct images *all = images_new();
    struct pending p = {.alive = true};
    put(all, 1, 1, 0, 0);
    put(all, 1 + IMAGE_SHARDS, 1, 0, 0); /* in the same shard */
    uint64_t at = 1;
    for (; is_there(all, 1, at); at++) {
        p.after.uid.v = (uint32_t)at;
        image_commit(all, (account_id){1}, (mailbox_id){1}, (struct image_state){at, 1},
                     (struct image_state){at + 1, 1}, &p, 1);
        if (at % 1000 == 0)
            (void)count(all);
    }
    assert_true(at > SHARD_BYTES / sizeof(struct over) - 2 * APPLIED_MAX);
    assert_int_equal(count(all), 0); /* the other one had gone before it */
    images_free(all);
}

static void the_longest_unused_goes_first(void **state)
{
    (void)state;
    struct images *all = images_new();
    size_t one = SHARD_BYTES / 3 / sizeof(struct over); /* two have room, three have not */
    for (uint64_t a = 0; a < 2; a++)
        put(all, 1 + a * IMAGE_SHARDS, 1, 0, one);
    assert_true(is_there(all, 1, 1)); /* and is used by that */
    put(all, 1 + 2 * IMAGE_SHARDS, 1, 0, one);
    assert_true(is_there(all, 1, 1));
    assert_false(is_there(all, 1 + IMAGE_SHARDS, 1));
    assert_true(is_there(all, 1 + 2 * IMAGE_SHARDS, 1));
    (void)count(all);
    images_free(all);
}

static void an_older_state_neither_replaces_a_newer_one_nor_passes_for_it(void **state)
{
    (void)state;
    struct images *all = images_new();
    put(all, 1, 5, 1, 1);
    put(all, 1, 4, 1, 2);
    assert_true(is_there(all, 1, 5));
    assert_false(is_there(all, 1, 4));
    put(all, 1, 6, 1, 3);
    assert_false(is_there(all, 1, 5));
    assert_true(is_there(all, 1, 6));
    image_drop(all, (account_id){1}, (mailbox_id){1});
    assert_false(is_there(all, 1, 6));
    assert_int_equal(count(all), 0);
    images_free(all);
}

static void commit_one(struct images *all, uint64_t at, const struct pending *p, size_t n)
{
    image_commit(all, (account_id){1}, (mailbox_id){1}, (struct image_state){at, 1},
                 (struct image_state){at + 1, 1}, p, n);
}

static void a_reader_keeps_what_it_has(void **state)
{
    (void)state;
    struct images *all = images_new();
    put(all, 1, 1, 1, 3); /* UIDs 2, 4, 6 */
    struct image *mine =
        image_find(all, (account_id){1}, (mailbox_id){1}, (struct image_state){1, 1});
    assert_non_null(mine);
    const struct pending p[] = {
        {.after.uid.v = 4, .after.flags = 9, .alive = true, .in_overlay = true},
        {.after.uid.v = 2, .in_overlay = true},               /* gone, was nowhere else */
        {.after.uid.v = 3, .alive = false, .in_block = true}, /* gone from a block */
        {.after.uid.v = 9, .alive = true},
    };
    commit_one(all, 1, p, ARRAY_LEN(p));
    image_drop(all, (account_id){2}, (mailbox_id){1}); /* somebody else's */
    assert_int_equal(mine->n_over, 3);
    assert_int_equal(mine->over[0].e.uid.v, 2);
    assert_int_equal(mine->over[1].e.flags, 0);
    image_unref(mine);
    struct image *next =
        image_find(all, (account_id){1}, (mailbox_id){1}, (struct image_state){2, 1});
    assert_non_null(next);
    static const struct {
        uint32_t uid, flags;
        bool dead;
    } expected[] = {{3, 0, true}, {4, 9, false}, {6, 0, false}, {9, 0, false}};
    assert_int_equal(next->n_over, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(next->over[i].e.uid.v, expected[i].uid);
        assert_int_equal(next->over[i].e.flags, expected[i].flags);
        assert_int_equal(next->over[i].dead, expected[i].dead);
    }
    image_unref(next);
    (void)count(all);
    images_free(all);
}

/* A commit that it does not follow, or that changes too much. */
static void one_that_cannot_be_brought_up_to_date_goes(void **state)
{
    (void)state;
    struct images *all = images_new();
    struct pending many[APPLIED_MAX + 1] = {{.alive = true}};
    put(all, 1, 1, 1, 3);
    commit_one(all, 2, many, 1);
    assert_false(is_there(all, 1, 1) || is_there(all, 1, 3));
    put(all, 1, 1, 1, 3);
    commit_one(all, 1, many, ARRAY_LEN(many));
    assert_false(is_there(all, 1, 1) || is_there(all, 1, 2));
    put(all, 1, 2, 1, 3); /* a reader was quicker than the commit's end */
    commit_one(all, 1, many, 1);
    assert_true(is_there(all, 1, 2));
    images_free(all);
}

static void a_decoded_block_is_kept_once_and_for_small_mailboxes_only(void **state)
{
    (void)state;
    struct image *small = make(1, 1, DECODED_BLOCKS, 0), *large = make(1, 1, DECODED_BLOCKS + 1, 0);
    assert_true(image_keeps_decoded(small));
    assert_false(image_keeps_decoded(large));
    assert_null(image_decoded(large, 0));
    struct entry *first = mem_alloc(sizeof *first), *second = mem_alloc(sizeof *second);
    assert_null(image_decoded(small, 3));
    assert_ptr_equal(image_keep_decoded(small, 3, first), first);
    assert_ptr_equal(image_keep_decoded(small, 3, second), first);
    assert_ptr_equal(image_decoded(small, 3), first);
    image_unref(small);
    image_unref(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_readers_get_is_what_the_index_says_after_each_commit,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(many_readers_get_what_the_index_says_while_it_is_written,
                                        house_setup, house_teardown),
        cmocka_unit_test(they_take_no_more_memory_than_they_may),
        cmocka_unit_test(one_that_grows_by_commits_stays_within_the_bound),
        cmocka_unit_test(the_longest_unused_goes_first),
        cmocka_unit_test(an_older_state_neither_replaces_a_newer_one_nor_passes_for_it),
        cmocka_unit_test(a_reader_keeps_what_it_has),
        cmocka_unit_test(one_that_cannot_be_brought_up_to_date_goes),
        cmocka_unit_test(a_decoded_block_is_kept_once_and_for_small_mailboxes_only),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
