/*
 * How fast the store's engine commits: bodies of 4 KB and 100 KB, each with some 600 bytes of
 * index changes, from 1 and 16 threads that wait for every commit.
 *
 *     store_bench DIRECTORY [seconds per line]
 *
 * Prints commits/s, the median and 99th percentile of the wait, and processor time per commit.
 */
#include "base/base.h"
#include "store/engine.h"

#include <semaphore.h>
#include <sys/resource.h>

enum { THREADS = 16, SAMPLES = 1 << 16, ROWS = 4, ROW = 120 };

struct bench {
    struct engine *e;
    size_t size;
    uint64_t until;
    atomic_uint_fast64_t commits;
    uint32_t *samples; /* microseconds */
};

struct waiter {
    struct commit c;
    sem_t ended;
};

static void ended(struct commit *c, struct err result)
{
    struct waiter *w = container_of(c, struct waiter, c);
    check(result.code == E_OK);
    sem_post(&w->ended);
}

static void commit_one(struct bench *b, uint64_t account, uint64_t n, const uint8_t *bytes)
{
    struct waiter w = {.c.done = ended};
    check(sem_init(&w.ended, 0, 0) == 0);
    struct body *body = body_new(str_of(bytes, b->size));
    for (uint64_t row = 0; row < ROWS; row++) {
        static const uint8_t value[ROW] = "a row of the index";
        struct key k = {.n = 0};
        key_byte(&k, 'a');
        key_u64(&k, account);
        key_u64(&k, n * (ROWS + 1) + row);
        if (row == 0)
            batch_body(&w.c.batch, key_str(&k), (account_id){account}, body);
        key_byte(&k, 'x');
        batch_put(&w.c.batch, key_str(&k), str_of(value, sizeof value));
    }
    engine_submit(b->e, &w.c);
    while (sem_wait(&w.ended) < 0)
        continue;
    sem_destroy(&w.ended);
    batch_free(&w.c.batch);
    body_unref(body);
}

static void *client(void *arg)
{
    struct bench *b = arg;
    uint64_t account = random_u64();
    uint8_t *bytes = mem_alloc(b->size);
    random_bytes(bytes, b->size);
    for (uint64_t n = 0, now = clock_mono_us(); now < b->until; n++) {
        commit_one(b, account, n, bytes);
        uint64_t then = now;
        now = clock_mono_us();
        uint64_t i = atomic_fetch_add(&b->commits, 1);
        if (i < SAMPLES)
            b->samples[i] = (uint32_t)(now - then);
    }
    free(bytes);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void line(struct engine *e, size_t threads, size_t size, uint64_t seconds)
{
    pthread_t t[THREADS];
    struct store_stats before, after;
    struct bench b = {.e = e, .size = size, .samples = mem_alloc(SAMPLES * sizeof(uint32_t))};
    engine_stats(e, &before);
    uint64_t start = clock_mono_us(), cpu = cpu_us();
    b.until = start + seconds * 1000000;
    for (size_t i = 0; i < threads; i++)
        check(pthread_create(&t[i], NULL, client, &b) == 0);
    for (size_t i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    uint64_t took = clock_mono_us() - start, n = MAX(b.commits, (uint64_t)1);
    cpu = cpu_us() - cpu;
    engine_stats(e, &after);
    size_t samples = (size_t)MIN(n, (uint64_t)SAMPLES);
    qsort(b.samples, samples, sizeof *b.samples, compare);
    uint32_t p50 = b.samples[samples / 2], p99 = b.samples[samples * 99 / 100];
    printf("%2zu threads %3zu KB: %7.0f commits/s  p50 %5.2f ms  p99 %5.2f ms  cpu %5.1f us  "
           "%4.1f commits/sync\n",
           threads, size >> 10, (double)n * 1e6 / (double)took, p50 / 1e3, p99 / 1e3,
           (double)cpu / (double)n,
           (double)n / (double)MAX(after.groups - before.groups, (uint64_t)1));
    free(b.samples);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: store_bench EMPTY-DIRECTORY [seconds per line]\n");
        return 2;
    }
    uint64_t seconds = 3;
    if (argc > 2 && str_to_u64(str_c(argv[2]), &seconds).code)
        return 2;
    struct engine_options o = {.dir = str_c(argv[1])};
    struct engine *e;
    struct buf explain CLEANUP(buf_free) = {0};
    if (engine_open(&o, &e, &explain).code) {
        fprintf(stderr, "%.*s\n", STR_FMT(buf_str(&explain)));
        return 1;
    }
    for (int i = 0; i < 4; i++)
        line(e, i % 2 ? THREADS : 1, i < 2 ? 4 << 10 : 100 << 10, seconds);
    engine_close(e);
    return 0;
}
