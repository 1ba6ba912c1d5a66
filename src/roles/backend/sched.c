#include "roles/backend/sched.h"

#include <sys/prctl.h>

enum { SHARDS = 64, WORKERS_MIN = 2, WORKERS_MAX = 256 };
enum { WAKING = 2 };      /* workers of a crew that are on their way at a time */
enum { HEAVY_NICE = 10 }; /* of who does heavy work, for the kernel */
enum { HURRY_US = 50000 };
enum { WARM = 32 }; /* accounts per shard that stay open although nobody writes */

/* Accounts that have a writer, or had one lately, by id. */
struct shard {
    pthread_mutex_t lock;
    struct map queues;
    struct list warm; /* queues without a writer, the longest unused first */
    size_t n_warm;
};

struct account_queue {
    account_id id;
    struct shard *shard;
    struct account *handle; /* used by the current writer only */
    struct list waiting;    /* writers; with the shard's lock, as what follows */
    struct list warm_link;
    bool warm;
    struct writer maintain;
    struct sched *sched;
    /* The current writer's: maintenance is in the queue; it failed, not again for now. */
    bool maintain_waits, maintain_failed;
};

/* A worker without a job, on its own stack. */
struct idle_worker {
    struct idle_worker *below;
    struct wait_once wanted;
};

/* Workers that take one kind of work. */
struct crew {
    struct sched *s;
    bool heavy;
    struct idle_worker *idle; /* the last to have worked first: what it needs is in the caches */
    unsigned waking;          /* have been woken and have not yet looked */
    size_t n;
    pthread_t *workers;
};

struct sched {
    struct store *store;
    struct fair_budget *budget;
    pthread_mutex_t lock; /* of the queue and what belongs to it */
    struct fair_queue ready;
    bool ending;
    size_t writers; /* submitted and not done */
    size_t jobs;    /* in the queue or running */
    /* The last job that was not heavy, and when another account had one before. */
    account_id last_account;
    uint64_t last_ended, other_ended;
    struct crew light, heavy;
    struct shard shards[SHARDS];
};

/* -- workers -- */

static bool sched_is_over(const struct sched *s)
{
    return s->ending && s->writers == 0 && s->jobs == 0;
}

static bool crew_has_work(const struct crew *c)
{
    return c->heavy ? fair_queue_has_heavy(&c->s->ready) : fair_queue_has_light(&c->s->ready);
}

/* Only few workers are on their way at a time, and each wakes the next: those that are awake take
 * most jobs before others would have got there. The one to be woken now, or NULL. With the lock. */
static struct idle_worker *crew_next(struct crew *c)
{
    struct idle_worker *w = c->waking >= WAKING || !crew_has_work(c) ? NULL : c->idle;
    if (w) {
        c->waking++;
        c->idle = w->below;
    }
    return w;
}

/* Without the lock: who is woken wants it. NULL is fine. */
static void worker_wake(struct idle_worker *w)
{
    if (w)
        wait_once_tell(&w->wanted);
}

/* With the lock, which it gives up meanwhile. */
static void worker_wait(struct crew *c)
{
    struct idle_worker me = {.below = c->idle};
    wait_once_init(&me.wanted);
    c->idle = &me;
    (void)pthread_mutex_unlock(&c->s->lock);
    wait_once_end(&me.wanted);
    (void)pthread_mutex_lock(&c->s->lock);
    c->waking--;
}

static void crew_wake_all(struct crew *c)
{
    for (struct idle_worker *w; (w = c->idle);) {
        c->idle = w->below;
        c->waking++;
        worker_wake(w);
    }
}

/* If it is over, they end. With the lock. */
static void sched_check_over(struct sched *s)
{
    if (!sched_is_over(s))
        return;
    crew_wake_all(&s->light);
    crew_wake_all(&s->heavy);
}

/* The next job, or NULL at the end. With the lock. */
static struct job *crew_take(struct crew *c)
{
    struct fair_queue *q = &c->s->ready;
    for (;;) {
        struct list *l = c->heavy ? fair_queue_heavy(q) : fair_queue_light(q);
        if (l)
            return container_of(l, struct job, link);
        if (sched_is_over(c->s))
            return NULL;
        worker_wait(c);
    }
}

static uint64_t thread_cpu_us(void)
{
    struct timespec t;
    check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* What jobs use of a thread. Asking for its processor time is a system call, so of short jobs only
 * one in some is measured; the others are taken to have used all the time that they took. */
struct meter {
    uint64_t cpu; /* so far */
    unsigned guessed;
};
enum { SHORT_US = 50, GUESSED_MAX = 15 };

static uint64_t meter_job(struct meter *m, uint64_t took)
{
    uint64_t used = took;
    if (took > SHORT_US || m->guessed == GUESSED_MAX) {
        uint64_t cpu = thread_cpu_us();
        used = cpu - MIN(m->cpu, cpu);
        m->cpu = cpu;
        m->guessed = 0;
    } else {
        m->cpu += took;
        m->guessed++;
    }
    return used;
}

/* With the lock. */
static void note_light(struct sched *s, account_id account, uint64_t ended)
{
    if (account.v != s->last_account.v)
        s->other_ended = s->last_ended;
    s->last_account = account;
    s->last_ended = ended;
}

static void *worker_main(void *arg)
{
    struct crew *c = arg;
    struct sched *s = c->s;
    (void)prctl(PR_SET_NAME, c->heavy ? "heavy" : "worker");
    if (c->heavy) {
        thread_step_back(HEAVY_NICE);
        store_commit_in_background();
    }
    struct meter meter = {.cpu = thread_cpu_us()};
    (void)pthread_mutex_lock(&s->lock);
    for (struct job *j; (j = crew_take(c));) {
        struct idle_worker *next = crew_next(c);
        (void)pthread_mutex_unlock(&s->lock);
        worker_wake(next);
        struct fair_payers who = {j->account.v, j->cause};
        uint64_t begin = clock_mono_us();
        j->run(j); /* may free it */
        uint64_t end = clock_mono_us();
        fair_charge(s->budget, who, meter_job(&meter, end - begin), end);
        (void)pthread_mutex_lock(&s->lock);
        s->jobs--;
        if (!c->heavy)
            note_light(s, (account_id){who.account}, end);
    }
    sched_check_over(s); /* for the others too */
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

void sched_run(struct sched *s, struct job *j)
{
    struct fair_payers who = {j->account.v, j->cause};
    uint64_t over = fair_over(s->budget, who, clock_mono_us());
    bool heavy = j->heavy || over;
    (void)pthread_mutex_lock(&s->lock);
    s->jobs++;
    fair_queue_add(&s->ready, &j->link, over ? over : who.account, heavy);
    struct idle_worker *next = crew_next(heavy ? &s->heavy : &s->light);
    (void)pthread_mutex_unlock(&s->lock);
    worker_wake(next);
}

bool sched_others_hurry(struct sched *s, account_id account)
{
    uint64_t now = clock_mono_us();
    (void)pthread_mutex_lock(&s->lock);
    uint64_t ended = s->last_account.v == account.v ? s->other_ended : s->last_ended;
    (void)pthread_mutex_unlock(&s->lock);
    return now - ended < HURRY_US;
}

/* -- queues of accounts -- */

static void writers_add(struct sched *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->writers++;
    (void)pthread_mutex_unlock(&s->lock);
}

static void writers_sub(struct sched *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->writers--;
    sched_check_over(s);
    (void)pthread_mutex_unlock(&s->lock);
}

static struct shard *shard_of(struct sched *s, account_id id)
{
    return &s->shards[id.v % SHARDS];
}

/* Opens the account for the first writer; later ones find the handle there. */
static void writer_run(struct job *j)
{
    struct writer *w = container_of(j, struct writer, job);
    struct account_queue *q = w->queue;
    struct err e = OK;
    if (w->no_handle && q->handle) {
        account_close(q->handle);
        q->handle = NULL;
    } else if (!w->no_handle && !q->handle) {
        e = account_open(q->sched->store, q->id, &q->handle);
    }
    w->write(w, q->handle, e);
}

static void maintain(struct writer *w, struct account *a, struct err opened)
{
    struct account_queue *q = w->queue;
    struct err e = opened.code ? opened : account_maintain(a);
    if (e.code && e.code != E_NOTFOUND) /* it has been removed meanwhile */
        log_error("store.maintenance", LF_U64("account", q->id.v), LF_ERR(e));
    q->maintain_failed = e.code != E_OK;
    q->maintain_waits = false;
    sched_write_done(q->sched, w);
}

static void queue_free(struct account_queue *q)
{
    if (q->handle)
        account_close(q->handle);
    free(q);
}

static struct account_queue *queue_new(struct sched *s, struct shard *shard, account_id id)
{
    struct account_queue *q = mem_alloc(sizeof *q);
    *q = (struct account_queue){.id = id, .shard = shard, .sched = s};
    list_init(&q->waiting);
    list_init(&q->warm_link);
    q->maintain =
        (struct writer){.job = {.run = writer_run, .account = id}, .queue = q, .write = maintain};
    return q;
}

/* With the shard's lock. */
static void queue_cool(struct account_queue *q)
{
    q->warm = false;
    list_remove(&q->warm_link);
    q->shard->n_warm--;
}

/* Whether the account was free: then the caller runs or submits it, else it waits. */
static bool queue_enter(struct sched *s, account_id id, struct writer *w)
{
    struct shard *shard = shard_of(s, id);
    w->job.run = writer_run;
    w->job.account = id;
    writers_add(s);
    (void)pthread_mutex_lock(&shard->lock);
    struct account_queue *q = map_get(&shard->queues, map_key_u64(&id.v));
    bool idle = !q || q->warm;
    if (!q) {
        q = queue_new(s, shard, id);
        (void)map_set(&shard->queues, map_key_u64(&id.v), q);
    } else if (q->warm) {
        queue_cool(q);
    } else {
        list_append(&q->waiting, &w->job.link);
    }
    w->queue = q;
    (void)pthread_mutex_unlock(&shard->lock);
    return idle;
}

void sched_write(struct sched *s, account_id id, struct writer *w)
{
    if (queue_enter(s, id, w))
        sched_run(s, &w->job);
}

void sched_write_here(struct sched *s, account_id id, struct writer *w)
{
    if (queue_enter(s, id, w))
        w->job.run(&w->job);
}

/* Nobody waits: the account stays open for a while, at the cost of the one that has been unused for
 * longest. Returns a queue to be freed, which is in the table no more; NULL: none. With the shard's
 * lock. */
static struct account_queue *queue_rest(struct account_queue *q)
{
    struct shard *shard = q->shard;
    struct account_queue *out = q;
    if (q->handle) {
        q->warm = true;
        q->maintain_failed = false;
        list_append(&shard->warm, &q->warm_link);
        if (++shard->n_warm <= WARM)
            return NULL;
        out = container_of(shard->warm.next, struct account_queue, warm_link);
        queue_cool(out);
    }
    (void)map_remove(&shard->queues, map_key_u64(&out->id.v));
    return out;
}

/* The next writer; NULL if there is none, and then `q` belongs to the table. */
static struct job *queue_next(struct account_queue *q, bool wants_maintenance,
                              struct account_queue **out_free)
{
    struct shard *shard = q->shard;
    (void)pthread_mutex_lock(&shard->lock);
    if (wants_maintenance && !q->maintain_waits) {
        q->maintain_waits = true;
        writers_add(q->sched);
        list_append(&q->waiting, &q->maintain.job.link);
    }
    struct list *next = list_pop(&q->waiting);
    if (!next)
        *out_free = queue_rest(q);
    (void)pthread_mutex_unlock(&shard->lock);
    return next ? container_of(next, struct job, link) : NULL;
}

void sched_write_done(struct sched *s, struct writer *w)
{
    struct account_queue *q = w->queue, *unused = NULL;
    bool wants = q->handle && !q->maintain_failed && account_wants_maintenance(q->handle);
    struct job *next = queue_next(q, wants, &unused);
    if (next)
        sched_run(s, next);
    if (unused)
        queue_free(unused);
    writers_sub(s);
}

/* -- life -- */

static void crew_start(struct crew *c, struct sched *s, bool heavy, size_t n)
{
    *c = (struct crew){.s = s, .heavy = heavy, .n = n};
    c->workers = mem_alloc(n * sizeof *c->workers);
    for (size_t i = 0; i < n; i++)
        check(pthread_create(&c->workers[i], NULL, worker_main, c) == 0);
}

static void crew_join(struct crew *c)
{
    for (size_t i = 0; i < c->n; i++)
        (void)pthread_join(c->workers[i], NULL);
    free(c->workers);
}

struct sched *sched_new(unsigned workers, struct store *store, struct fair_budget *budget)
{
    struct sched *s = mem_alloc(sizeof *s);
    s->store = store;
    s->budget = budget;
    (void)pthread_mutex_init(&s->lock, NULL);
    fair_queue_init(&s->ready);
    for (size_t i = 0; i < SHARDS; i++) {
        (void)pthread_mutex_init(&s->shards[i].lock, NULL);
        list_init(&s->shards[i].warm);
    }
    size_t n = MIN(MAX(workers, (unsigned)WORKERS_MIN), (unsigned)WORKERS_MAX);
    crew_start(&s->light, s, false, n);
    crew_start(&s->heavy, s, true, n / 2);
    return s;
}

static void shard_free(struct shard *shard)
{
    check(shard->queues.n == shard->n_warm);
    list_each (l, &shard->warm)
        queue_free(container_of(l, struct account_queue, warm_link));
    map_free(&shard->queues);
    (void)pthread_mutex_destroy(&shard->lock);
}

void sched_free(struct sched *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->ending = true;
    sched_check_over(s);
    (void)pthread_mutex_unlock(&s->lock);
    crew_join(&s->light);
    crew_join(&s->heavy);
    for (size_t i = 0; i < SHARDS; i++)
        shard_free(&s->shards[i]);
    fair_queue_free(&s->ready);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}
