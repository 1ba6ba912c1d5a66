/*
 * One thread waits for one event that another one tells it. For an object on the waiter's stack: it
 * may be gone as soon as wait_once_end has returned. Cheaper than a condition variable, whose mutex
 * the woken thread must take from the one that wakes it.
 */
#ifndef THURN_BASE_WAIT_ONCE_H
#define THURN_BASE_WAIT_ONCE_H

#include "base/check.h"

#include <errno.h>
#include <semaphore.h>

struct wait_once {
    sem_t happened;
};

static inline void wait_once_init(struct wait_once *w)
{
    check(sem_init(&w->happened, 0, 0) == 0);
}

/* It has happened; what was written before is seen by the waiter. Once. */
static inline void wait_once_tell(struct wait_once *w)
{
    check(sem_post(&w->happened) == 0);
}

/* Waits for it; ends the object. */
static inline void wait_once_end(struct wait_once *w)
{
    while (sem_wait(&w->happened) < 0)
        check(errno == EINTR);
    check(sem_destroy(&w->happened) == 0);
}

#endif
