#include "store/model.h"

/*
 * Images: what readers have found out about the entries of a mailbox - directory of the blocks,
 * overlay, blocks of small mailboxes decoded - kept in memory for the next reader and brought up to
 * date by commits. They are derived and may be dropped at any time. An image is of one state of the
 * entries, which the mailbox's record names by HIGHESTMODSEQ and generation of the overlay; a
 * reader whose snapshot shows another state does without.
 *
 * They stand in shards, each with a lock that is held for moments and a bound on its memory, beyond
 * which the longest unused goes.
 */

enum {
    SHARD_BYTES = 2 << 20,
    DECODED_BLOCKS = 8, /* a mailbox with more blocks decodes them as it reads */
    APPLIED_MAX = 64    /* a larger change drops the image */
};

struct image_shard {
    pthread_mutex_t lock;
    struct map images;
    struct list unused; /* the longest unused first */
    size_t bytes;
};

struct images {
    struct image_shard shards[IMAGE_SHARDS];
};

struct images *images_new(void)
{
    struct images *im = mem_alloc(sizeof *im);
    for (size_t i = 0; i < IMAGE_SHARDS; i++) {
        (void)pthread_mutex_init(&im->shards[i].lock, NULL);
        list_init(&im->shards[i].unused);
    }
    return im;
}

static void blocks_unref(struct image_blocks *b)
{
    if (!b || atomic_fetch_sub(&b->refs, 1) != 1)
        return;
    for (size_t i = 0; b->decoded && i < b->dir.n; i++)
        free(atomic_load(&b->decoded[i]));
    free(b->decoded);
    free(b->dir.refs);
    free(b);
}

void image_unref(struct image *im)
{
    if (!im || atomic_fetch_sub(&im->refs, 1) != 1)
        return;
    blocks_unref(im->blocks);
    free(im->over);
    free(im);
}

struct image *image_new(account_id account, mailbox_id mailbox, struct image_state state,
                        struct directory dir, struct over *over, size_t n_over)
{
    struct image *im = mem_alloc(sizeof *im);
    atomic_init(&im->refs, 1);
    list_init(&im->link);
    im->id = (struct image_id){account.v, mailbox.v};
    im->state = state;
    im->over = over;
    im->n_over = im->cap_over = n_over;
    im->blocks = mem_alloc(sizeof *im->blocks);
    atomic_init(&im->blocks->refs, 1);
    im->blocks->dir = dir;
    if (dir.n && dir.n <= DECODED_BLOCKS)
        im->blocks->decoded = mem_alloc(dir.n * sizeof *im->blocks->decoded);
    return im;
}

/* As if all blocks had been decoded that may be. */
static size_t image_size(const struct image *im)
{
    const struct directory *d = &im->blocks->dir;
    size_t n =
        sizeof *im + sizeof *im->blocks + im->cap_over * sizeof *im->over + d->n * sizeof *d->refs;
    for (size_t i = 0; im->blocks->decoded && i < d->n; i++)
        n += d->refs[i].count * sizeof(struct entry);
    return n;
}

const struct entry *image_decoded(struct image *im, size_t at)
{
    return im->blocks->decoded ? atomic_load(&im->blocks->decoded[at]) : NULL;
}

bool image_keeps_decoded(const struct image *im)
{
    return im->blocks->decoded != NULL;
}

const struct entry *image_keep_decoded(struct image *im, size_t at, struct entry *rows)
{
    struct entry *none = NULL;
    if (atomic_compare_exchange_strong(&im->blocks->decoded[at], &none, rows))
        return rows;
    free(rows); /* another reader was quicker */
    return none;
}

/* ------------------------------------------------------------------------------- the shards */

static struct image_shard *shard_of(struct images *all, struct image_id id)
{
    return &all->shards[(id.account * 31 + id.mailbox) % IMAGE_SHARDS];
}

static struct str image_key(const struct image_id *id)
{
    return str_of(id, sizeof *id);
}

/* With the lock. */
static void shard_remove(struct image_shard *s, struct image *im)
{
    (void)map_remove(&s->images, image_key(&im->id));
    list_remove(&im->link);
    s->bytes -= im->counted;
    image_unref(im);
}

static void shard_add(struct image_shard *s, struct image *im)
{
    im->counted = image_size(im);
    s->bytes += im->counted;
    (void)map_set(&s->images, image_key(&im->id), im);
    list_append(&s->unused, &im->link);
    while (s->bytes > SHARD_BYTES)
        shard_remove(s, container_of(s->unused.next, struct image, link));
}

void images_free(struct images *all)
{
    for (size_t i = 0; i < IMAGE_SHARDS; i++) {
        struct image_shard *s = &all->shards[i];
        while (!list_empty(&s->unused))
            shard_remove(s, container_of(s->unused.next, struct image, link));
        map_free(&s->images);
        (void)pthread_mutex_destroy(&s->lock);
    }
    free(all);
}

static bool state_is(struct image_state a, struct image_state b)
{
    return a.modseq == b.modseq && a.generation == b.generation;
}

struct image *image_find(struct images *all, account_id account, mailbox_id mailbox,
                         struct image_state state)
{
    struct image_id id = {account.v, mailbox.v};
    struct image_shard *s = shard_of(all, id);
    (void)pthread_mutex_lock(&s->lock);
    struct image *im = map_get(&s->images, image_key(&id));
    if (im && !state_is(im->state, state))
        im = NULL;
    if (im) {
        (void)atomic_fetch_add(&im->refs, 1);
        list_remove(&im->link);
        list_append(&s->unused, &im->link);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return im;
}

void image_offer(struct images *all, struct image *im)
{
    struct image_shard *s = shard_of(all, im->id);
    (void)pthread_mutex_lock(&s->lock);
    struct image *old = map_get(&s->images, image_key(&im->id));
    bool newer =
        !old || old->state.modseq < im->state.modseq ||
        (old->state.modseq == im->state.modseq && old->state.generation < im->state.generation);
    if (old && newer)
        shard_remove(s, old);
    if (newer) {
        (void)atomic_fetch_add(&im->refs, 1);
        shard_add(s, im);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void image_drop(struct images *all, account_id account, mailbox_id mailbox)
{
    struct image_id id = {account.v, mailbox.v};
    struct image_shard *s = shard_of(all, id);
    (void)pthread_mutex_lock(&s->lock);
    struct image *im = map_get(&s->images, image_key(&id));
    if (im)
        shard_remove(s, im);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---------------------------------------------------------------------------------- commits */

/* A copy for the cache's sole use. */
static struct image *image_copy(const struct image *im)
{
    struct image *copy = mem_alloc(sizeof *copy);
    *copy = (struct image){.id = im->id, .state = im->state, .blocks = im->blocks};
    atomic_init(&copy->refs, 1);
    list_init(&copy->link);
    (void)atomic_fetch_add(&im->blocks->refs, 1);
    copy->n_over = im->n_over;
    copy->cap_over = im->n_over + APPLIED_MAX;
    copy->over = mem_alloc(copy->cap_over * sizeof *copy->over);
    if (im->n_over)
        memcpy(copy->over, im->over, im->n_over * sizeof *im->over);
    return copy;
}

static size_t over_at(const struct image *im, uint32_t uid)
{
    if (!im->n_over || im->over[im->n_over - 1].e.uid.v < uid)
        return im->n_over; /* a new message */
    size_t lo = 0, hi = im->n_over;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (im->over[mid].e.uid.v < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* What txn_entries_write does to the overlay. */
static void image_apply(struct image *im, const struct pending *p)
{
    size_t at = over_at(im, p->after.uid.v);
    bool there = at < im->n_over && im->over[at].e.uid.v == p->after.uid.v;
    size_t behind = im->n_over - at;
    if (!p->alive && !p->in_block) {
        if (there) {
            memmove(&im->over[at], &im->over[at + 1], (behind - 1) * sizeof *im->over);
            im->n_over--;
        }
        return;
    }
    if (!there) {
        if (im->n_over == im->cap_over) {
            im->cap_over += APPLIED_MAX;
            im->over = reallocarray(im->over, im->cap_over, sizeof *im->over);
            check(im->over != NULL);
        }
        memmove(&im->over[at + 1], &im->over[at], behind * sizeof *im->over);
        im->n_over++;
    }
    im->over[at] = (struct over){.e = p->after, .dead = !p->alive};
}

void image_commit(struct images *all, account_id account, mailbox_id mailbox,
                  struct image_state before, struct image_state after, const struct pending *p,
                  size_t n)
{
    struct image_id id = {account.v, mailbox.v};
    struct image_shard *s = shard_of(all, id);
    (void)pthread_mutex_lock(&s->lock);
    struct image *im = map_get(&s->images, image_key(&id));
    bool ours = im && state_is(im->state, before) && n <= APPLIED_MAX;
    if (ours) {
        /* Readers keep what they have. */
        struct image *next = atomic_load(&im->refs) == 1 ? im : image_copy(im);
        if (next == im)
            (void)atomic_fetch_add(&im->refs, 1);
        shard_remove(s, im);
        for (size_t i = 0; i < n; i++)
            image_apply(next, &p[i]);
        next->state = after;
        shard_add(s, next);
    } else if (im && !state_is(im->state, after)) {
        shard_remove(s, im);
    }
    (void)pthread_mutex_unlock(&s->lock);
}
