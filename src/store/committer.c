#include "store/engine_private.h"

/* Bounds of one group. */
enum { GROUP_COMMITS = 1024, GROUP_BYTES = 16 << 20 };
/* What is in no hurry has groups of its own, of this size, and pauses after each as long as others
 * have committed something lately. */
enum { BACKGROUND_BYTES = 1 << 20, BUSY_US = 200000 };

static struct commit *commit_of(struct list *l)
{
    return container_of(l, struct commit, link);
}

/* Moves what may stand in one group from a queue to `out`. With the lock. */
static void take_group(struct list *queue, uint64_t most, struct list *out, uint64_t *out_estimate)
{
    uint64_t bytes = GROUP_HEADER;
    for (size_t n = 0; n < GROUP_COMMITS && !list_empty(queue); n++) {
        struct commit *c = commit_of(queue->next);
        uint64_t more = c->early.code ? 0 : group_estimate(&c->batch);
        if (n && (c->prepare || bytes + more > most))
            break;
        bytes += more;
        list_append(out, list_pop(queue));
        if (c->prepare)
            break;
    }
    *out_estimate = bytes;
}

/* Everything before it is in the index now, and nobody else commits. */
static void prepare_group(struct list *group, uint64_t *estimate)
{
    struct commit *c = list_empty(group) ? NULL : commit_of(group->next);
    if (!c || !c->prepare || c->early.code)
        return;
    c->prepare(c);
    c->early = buf_err(&c->batch.ops);
    *estimate = GROUP_HEADER + (c->early.code ? 0 : group_estimate(&c->batch));
}

/* A big body's segment may have been retired since it was written. */
static void refuse_lost_bodies(struct engine *e, struct list *group)
{
    list_each (l, group) {
        struct commit *c = commit_of(l);
        for (size_t i = 0; i < c->batch.n_bodies && !c->early.code; i++) {
            const struct body *b = c->batch.bodies[i];
            if (body_is_big(b) && !segment_takes_owners(e, b->segment))
                c->early = err_make(E_IO, "the body was let go meanwhile; try again");
        }
    }
}

/* What is durable but cannot be shown is repaired by replaying it in a new process. */
static void apply(struct engine *e, struct list *group, const struct applied *applied)
{
    list_each (l, group) {
        struct commit *c = commit_of(l);
        if (c->early.code)
            continue;
        hot_change(e->hot, applied->sequence, buf_str(&c->batch.ops));
        check(index_add(e->index, buf_str(&c->batch.ops)).code == E_OK);
    }
    if (index_commit(e->index, applied).code)
        abort();
    hot_shown(e->hot, applied->sequence);
}

static bool brings_mail(const struct commit *c)
{
    return c->batch.n_bodies && !c->prepare && !c->early.code; /* not what is rewritten */
}

/* At the end of the disk new mail gives way to changes without any, among them those that delete.
 */
static struct err fit_group(struct engine *e, struct list *group, uint64_t *estimate)
{
    bool mail = false;
    list_each (l, group)
        mail = mail || brings_mail(commit_of(l));
    struct err full = disk_has_room(e, mail ? ROOM_FOR_MAIL : ROOM_FOR_CHANGES, *estimate);
    if (full.code != E_FULL || !mail)
        return full;
    *estimate = GROUP_HEADER;
    list_each (l, group) {
        struct commit *c = commit_of(l);
        if (brings_mail(c))
            c->early = full;
        if (!c->early.code)
            *estimate += group_estimate(&c->batch);
    }
    return *estimate > GROUP_HEADER ? disk_has_room(e, ROOM_FOR_CHANGES, *estimate) : full;
}

static struct err commit_group(struct engine *e, struct list *group, uint64_t estimate)
{
    struct applied applied;
    refuse_lost_bodies(e, group);
    TRY(fit_group(e, group, &estimate));
    TRY(group_begin(e, estimate));
    list_each (l, group) {
        struct commit *c = commit_of(l);
        if (!c->early.code)
            group_add(e, &c->batch);
    }
    TRY(group_write(e, &applied));
    apply(e, group, &applied);
    return OK;
}

/* Writes a group, and answers. */
static void commit_taken(struct engine *e, struct list *group, uint64_t estimate)
{
    prepare_group(group, &estimate);
    struct err result = estimate > GROUP_HEADER ? commit_group(e, group, estimate) : OK;
    for (struct list *l; (l = list_pop(group));) {
        struct commit *c = commit_of(l);
        c->done(c, c->early.code ? c->early : result);
    }
    if (!result.code)
        index_bound_replay(e->index, estimate, e->flush_after);
}

/* A mean over the last ones; the first counts whole. */
static uint64_t mean_with(uint64_t mean, uint64_t value)
{
    return mean ? (7 * mean + value) / 8 : value;
}

/*
 * A commit that comes at any moment finds the group under way with the probability took / period,
 * and then waits for half of it. The period is such that this is a tenth of what its own group
 * takes, and at least PERIOD_PARTS groups long.
 */
uint64_t background_pause(uint64_t took, uint64_t usual)
{
    enum { PERIOD_PARTS = 5, LONGEST_US = 1000000 };
    uint64_t period = took * PERIOD_PARTS * MAX(took, usual) / MAX(usual, (uint64_t)1);
    return MIN(period - took, (uint64_t)LONGEST_US);
}

uint64_t background_rest(const struct engine *e, uint64_t took, uint64_t now)
{
    bool busy = !list_empty(&e->waiting) || now - e->hurried_at < BUSY_US;
    return busy ? background_pause(took, e->usual_us) : 0;
}

/* Commits one group of a queue, as the one who has set `committing`. The lock is given up
 * meanwhile. */
static void commit_some(struct engine *e, struct list *queue, uint64_t most)
{
    struct list group;
    uint64_t estimate, begin = clock_mono_us();
    list_init(&group);
    take_group(queue, most, &group, &estimate);
    pthread_mutex_unlock(&e->lock);
    commit_taken(e, &group, estimate);
    pthread_mutex_lock(&e->lock);
    uint64_t end = clock_mono_us();
    e->committing = false;
    if (queue == &e->waiting) {
        e->usual_us = mean_with(e->usual_us, end - begin);
        e->hurried_at = end;
        return;
    }
    e->background_from = end + background_rest(e, end - begin, end);
}

static void commit_waiting(struct engine *e)
{
    commit_some(e, &e->waiting, GROUP_BYTES);
}

static void commit_background(struct engine *e)
{
    commit_some(e, &e->background, BACKGROUND_BYTES);
}

static bool nobody_waits(const struct engine *e)
{
    return list_empty(&e->waiting) && list_empty(&e->background);
}

/* Whether the committer's thread has to be woken for what is waiting. With the lock. */
static bool committer_must_wake(struct engine *e)
{
    bool wake = e->sleeping && !e->committing && (e->stop || !nobody_waits(e));
    if (wake)
        e->sleeping = false;
    return wake;
}

static _Thread_local bool in_background;

void store_commit_in_background(void)
{
    in_background = true;
}

/*
 * Who finds nobody committing does it for itself: a lone commit costs no change of threads. It
 * does so for one group; what has come meanwhile is the committer's thread's, and so is everything
 * as long as it is busy.
 */
void committer_add(struct engine *e, struct commit *c, bool background)
{
    pthread_mutex_lock(&e->lock);
    list_append(background ? &e->background : &e->waiting, &c->link);
    if (!e->committing && e->sleeping && !background) {
        e->committing = true;
        commit_waiting(e);
    }
    bool wake = committer_must_wake(e);
    pthread_mutex_unlock(&e->lock);
    if (wake)
        pthread_cond_signal(&e->wake);
}

static bool has_big_body(const struct batch *batch)
{
    bool big = false;
    for (size_t i = 0; i < batch->n_bodies; i++)
        big = big || body_is_big(batch->bodies[i]);
    return big;
}

/* Bodies that get a segment of their own are written before the commit can join a group. */
void engine_submit(struct engine *e, struct commit *c)
{
    check(e->running);
    c->early = buf_err(&c->batch.ops);
    bool big = !c->early.code && has_big_body(&c->batch);
    if (big && in_background) {
        bulk_submit(e, c);
        return;
    }
    if (big)
        c->early = batch_write_big(e, &c->batch, false);
    committer_add(e, c, in_background);
}

static bool background_is_due(const struct engine *e)
{
    if (list_empty(&e->background))
        return false;
    return e->stop ? list_empty(&e->waiting) : clock_mono_us() >= e->background_from;
}

/* Until something comes, or the background's pause is over. With the lock. */
static void committer_sleep(struct engine *e)
{
    e->sleeping = true;
    if (e->committing || list_empty(&e->background)) {
        pthread_cond_wait(&e->wake, &e->lock);
    } else {
        const struct timespec until = {.tv_sec = (time_t)(e->background_from / 1000000),
                                       .tv_nsec = (long)(e->background_from % 1000000 * 1000)};
        (void)pthread_cond_clockwait(&e->wake, &e->lock, CLOCK_MONOTONIC, &until);
    }
    e->sleeping = false;
}

static void *committer_main(void *arg)
{
    struct engine *e = arg;
    pthread_mutex_lock(&e->lock);
    while (!e->stop || e->committing || !nobody_waits(e)) {
        bool background = background_is_due(e);
        if (e->committing || (list_empty(&e->waiting) && !background)) {
            committer_sleep(e);
            continue;
        }
        e->committing = true;
        if (background)
            commit_background(e);
        else
            commit_waiting(e);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

void committer_start(struct engine *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    check(pthread_create(&e->committer, NULL, committer_main, e) == 0);
    bulk_start(e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    e->running = true;
}

void committer_stop(struct engine *e)
{
    if (!e->running)
        return;
    bulk_stop(e);
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_mutex_unlock(&e->lock);
    pthread_cond_broadcast(&e->wake);
    pthread_join(e->committer, NULL);
    e->running = false;
}
