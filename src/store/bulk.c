#include "store/engine_private.h"

/*
 * Big bodies of commits that are in no hurry. A thread of its own writes them, one after the other,
 * so that no worker waits: piece by piece, each synced, with pauses between as long as others
 * commit, so that their syncs do not wait for a whole body. As an account has one transaction at a
 * time, the accounts have their turns.
 */

/* Sleeps until it may go on; at the end of the engine, and if nobody commits, at once. */
void bulk_wait(struct engine *e)
{
    struct bulk *b = &e->bulk;
    pthread_mutex_lock(&e->lock);
    while (!b->stop && clock_mono_us() < b->from) {
        const struct timespec until = {.tv_sec = (time_t)(b->from / 1000000),
                                       .tv_nsec = (long)(b->from % 1000000 * 1000)};
        (void)pthread_cond_clockwait(&b->wake, &e->lock, CLOCK_MONOTONIC, &until);
    }
    pthread_mutex_unlock(&e->lock);
}

void bulk_written(struct engine *e, uint64_t took)
{
    pthread_mutex_lock(&e->lock);
    uint64_t now = clock_mono_us();
    e->bulk.from = now + background_rest(e, took, now);
    pthread_mutex_unlock(&e->lock);
}

static void *bulk_main(void *arg)
{
    struct engine *e = arg;
    struct bulk *b = &e->bulk;
    thread_step_back(0);
    pthread_mutex_lock(&e->lock);
    while (!b->stop || !list_empty(&b->waiting)) {
        struct list *next = list_pop(&b->waiting);
        if (!next) {
            pthread_cond_wait(&b->wake, &e->lock);
            continue;
        }
        pthread_mutex_unlock(&e->lock);
        struct commit *c = container_of(next, struct commit, link);
        c->early = batch_write_big(e, &c->batch, true);
        committer_add(e, c, true);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

void bulk_submit(struct engine *e, struct commit *c)
{
    pthread_mutex_lock(&e->lock);
    list_append(&e->bulk.waiting, &c->link);
    pthread_mutex_unlock(&e->lock);
    pthread_cond_signal(&e->bulk.wake);
}

void bulk_start(struct engine *e)
{
    list_init(&e->bulk.waiting);
    check(pthread_cond_init(&e->bulk.wake, NULL) == 0);
    check(pthread_create(&e->bulk.thread, NULL, bulk_main, e) == 0);
}

void bulk_stop(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->bulk.stop = true;
    pthread_mutex_unlock(&e->lock);
    pthread_cond_signal(&e->bulk.wake);
    (void)pthread_join(e->bulk.thread, NULL);
    (void)pthread_cond_destroy(&e->bulk.wake);
}
