#include "roles/backend/scan.h"

#include "store/store.h"

enum { IN_FLIGHT = 4, SCANNER_STATE = 1, TEXT_MAX = 64 * 1024 * KB };
enum {
    HEAVY_SIZE = 128 * KB, /* bytes of a message from which on it may take long */
    RECORD_HERE = 16 * KB, /* a larger record is checked on a worker */
    BYTES_PER_US = 128,    /* what scanners read, about */
};

static const struct chan_rule scanner_rules[] = {{RPC_SCAN_PARSED, SCANNER_STATE}};

struct scanner {
    struct list link;
    struct scan_pool *pool;
    struct chan *chan;
    uint32_t index;
    uint64_t generation;
    struct list jobs; /* sent, in the order of their answers */
    size_t n_jobs;
    uint32_t serial; /* of the answer to the first job */
    bool heavy;      /* the last of them is: none is sent behind it */
    bool replaced;   /* gets no new jobs */
    struct timer *timer;
};

struct scan_pool {
    struct scan_pool_options options;
    struct list scanners;
    struct fair_queue waiting; /* jobs that no scanner has room for */
    struct list ages;          /* the same, the oldest first */
    struct timer *timer;       /* of the oldest */
    bool heavy_last;           /* what was sent last was heavy */
    bool stopping;
};

static struct scan_job *job_of(struct list *l)
{
    return container_of(l, struct scan_job, link);
}

void scan_result_free(struct scan_result *r)
{
    frame_free(r->answer);
    if (r->text_map.p)
        sealed_unmap(r->text_map);
    buf_free(&r->flat);
    *r = (struct scan_result){0};
}

/* -- outcomes -- */

static void job_flat(struct scan_job *j, struct str why)
{
    log_warn("scan.flat", LF_STR("trace", j->trace), LF_U64("size", j->message.n),
             LF_STR("why", why));
    email_record_flat(j->message.n, &j->result.flat);
    j->result.record = buf_str(&j->result.flat);
    j->done(j);
}

static void job_refuse(struct scan_job *j)
{
    j->result.refused = true;
    j->done(j);
}

static void job_give_up(struct scan_pool *p, struct scan_job *j, struct str why)
{
    if (p->stopping)
        job_refuse(j);
    else
        job_flat(j, why);
}

/* -- one scanner's jobs -- */

static uint64_t left_ms(const struct scan_pool *p, const struct scan_job *j)
{
    uint64_t due = j->since + p->options.timeout_ms * (uint64_t)1000, now = clock_mono_us();
    return due > now ? (due - now) / 1000 + 1 : 1;
}

static void scanner_watch_head(struct scanner *s)
{
    bool busy = !list_empty(&s->jobs);
    timer_set(s->timer, busy ? left_ms(s->pool, job_of(s->jobs.next)) : 0);
}

static void scanner_free(struct scanner *s)
{
    list_remove(&s->link);
    timer_free(s->timer);
    chan_free(s->chan);
    free(s);
}

static struct err scanner_send(struct scanner *s, const struct scan_job *j, uint32_t serial)
{
    Thurn__ScanParse m = THURN__SCAN_PARSE__INIT;
    m.size = j->message.n;
    m.offset = j->offset;
    m.total = j->total;
    bool by_fd = j->fd >= 0;
    return chan_send(s->chan, RPC_SCAN_PARSE, serial, &m.base,
                     by_fd ? (struct str){NULL, 0} : j->message, j->fd);
}

/* -- who waits -- */

static struct scan_job *job_of_age(struct list *l)
{
    return container_of(l, struct scan_job, age);
}

static void pool_watch_waiting(struct scan_pool *p)
{
    bool any = !list_empty(&p->ages);
    timer_set(p->timer, any ? left_ms(p, job_of_age(p->ages.next)) : 0);
}

static struct fair_payers payers_of(const struct scan_job *j)
{
    return (struct fair_payers){j->account.v, j->cause};
}

static void pool_wait(struct scan_pool *p, struct scan_job *j)
{
    j->since = clock_mono_us();
    uint64_t over = fair_over(p->options.budget, payers_of(j), j->since);
    j->heavy = over || j->message.n > HEAVY_SIZE;
    j->turn = over ? over : j->account.v;
    fair_queue_add(&p->waiting, &j->link, j->turn, j->heavy);
    list_append(&p->ages, &j->age);
}

/* It has waited before. */
static void pool_wait_again(struct scan_pool *p, struct scan_job *j)
{
    j->since = clock_mono_us();
    fair_queue_put_back(&p->waiting, &j->link, j->turn, j->heavy);
    list_append(&p->ages, &j->age);
}

/* Scanners that take new jobs; those with a heavy one. */
static size_t pool_scanners(const struct scan_pool *p, size_t *out_heavy)
{
    size_t n = 0;
    *out_heavy = 0;
    list_each (l, &p->scanners) {
        const struct scanner *s = container_of(l, struct scanner, link);
        n += !s->replaced;
        *out_heavy += !s->replaced && s->heavy;
    }
    return n;
}

/* The first scanner has a higher priority than the others: small messages should go there. */
static bool scanner_is_better(const struct scanner *s, const struct scanner *than, bool heavy)
{
    if (heavy)
        return s->index > than->index;
    return s->n_jobs < than->n_jobs || (s->n_jobs == than->n_jobs && s->index < than->index);
}

static struct scanner *scanner_with_room(struct scan_pool *p, bool heavy)
{
    struct scanner *best = NULL;
    list_each (l, &p->scanners) {
        struct scanner *s = container_of(l, struct scanner, link);
        bool room = !s->replaced && !s->heavy && s->n_jobs < IN_FLIGHT;
        if (room && (!best || scanner_is_better(s, best, heavy)))
            best = s;
    }
    return best;
}

/* Heavy ones go first, so that they get their share too, but never to the last scanner; if it is
 * the only one, by turns with the others. */
static struct list *pool_next(struct scan_pool *p)
{
    size_t heavy, n = pool_scanners(p, &heavy);
    bool may = n > 1 ? heavy + 1 < n : heavy == 0 && !p->heavy_last;
    struct list *next = may ? fair_queue_heavy(&p->waiting) : NULL;
    if (!next)
        next = fair_queue_light(&p->waiting);
    if (!next && n == 1 && heavy == 0)
        next = fair_queue_heavy(&p->waiting);
    return next;
}

/* -- handing out -- */

static void scanner_take(struct scanner *s, struct scan_job *j)
{
    uint32_t serial = s->serial + (uint32_t)s->n_jobs;
    struct err e = scanner_send(s, j, serial);
    /* A broken channel says so itself, and what was sent comes back then. */
    if (e.code && e.code != E_CLOSED) {
        log_error("scan.send", LF_ERR(e));
        job_refuse(j);
        return;
    }
    list_append(&s->jobs, &j->link);
    s->heavy = s->pool->heavy_last = j->heavy;
    if (s->n_jobs++ == 0) {
        j->since = clock_mono_us();
        scanner_watch_head(s);
    }
}

/* Gives waiting jobs to scanners that have room. */
static void pool_hand_out(struct scan_pool *p)
{
    struct list *next;
    while (scanner_with_room(p, false) && (next = pool_next(p))) {
        struct scan_job *j = job_of(next);
        list_remove(&j->age);
        scanner_take(scanner_with_room(p, j->heavy), j);
    }
    while (p->stopping && list_empty(&p->scanners) && !list_empty(&p->ages)) {
        struct scan_job *j = job_of_age(list_pop(&p->ages));
        fair_queue_remove(&p->waiting, &j->link, j->turn);
        job_refuse(j);
    }
    pool_watch_waiting(p);
}

/* The scanner is at an end, whoever it was that made it fail; its jobs go to others. */
static void scanner_end(struct scanner *s, struct str why)
{
    struct scan_pool *p = s->pool;
    while (!list_empty(&s->jobs)) {
        struct scan_job *last = job_of(s->jobs.prev);
        list_remove(&last->link);
        pool_wait_again(p, last);
    }
    if (!p->stopping) {
        log_warn("scan.retire", LF_U64("scanner", s->index), LF_U64("generation", s->generation),
                 LF_STR("why", why));
        p->options.retire(s->index, s->generation, why, p->options.arg);
    }
    scanner_free(s);
}

/* Its first job made it fail, the others are innocent. */
static void scanner_fail(struct scanner *s, struct str why)
{
    struct scan_pool *p = s->pool;
    struct list *head = list_pop(&s->jobs);
    scanner_end(s, why);
    if (head)
        job_give_up(p, job_of(head), why);
    pool_hand_out(p);
}

static void scanner_late(void *arg)
{
    scanner_fail(arg, STR("a message took longer than scan_timeout"));
}

/* -- answers -- */

/* The answer's text: raw bytes or sealed memory, of exactly the size announced. */
static struct err take_text(struct scan_result *r, const Thurn__ScanParsed *m)
{
    if (m->text_size > TEXT_MAX)
        return err_make(E_LIMIT, "the text for search is too long");
    if (r->answer->fd >= 0) {
        TRY(sealed_map(r->answer->fd, m->text_size, &r->text_map));
        (void)close(r->answer->fd); /* who appends many messages keeps many texts for a while */
        r->answer->fd = -1;
        r->text = r->text_map;
        return OK;
    }
    if (r->answer->raw.n != m->text_size)
        return err_make(E_INVALID, "the text has another size than announced");
    r->text = r->answer->raw;
    return OK;
}

static struct err take_answer(struct scan_job *j, struct frame *f)
{
    const Thurn__ScanParsed *m = (const Thurn__ScanParsed *)f->message;
    j->result.answer = f;
    TRY(take_text(&j->result, m));
    j->result.record = pb_str(m->record);
    return OK;
}

static struct err record_check(const struct scan_job *j)
{
    return email_record_check(j->result.record, j->message.n, j->result.text.n);
}

/* Of what was checked elsewhere. Its scanner may be another one by now. */
static void check_ended(void *arg)
{
    struct scan_job *j = arg;
    struct scan_pool *p = j->pool;
    if (!j->checked.code) {
        j->done(j);
        return;
    }
    struct str why = str_c(j->checked.why);
    list_each (l, &p->scanners) {
        struct scanner *s = container_of(l, struct scanner, link);
        if (s->index == j->scanner && s->generation == j->generation)
            scanner_end(s, why);
    }
    scan_result_free(&j->result);
    job_give_up(p, j, why);
    pool_hand_out(p);
}

static void check_run(struct job *job)
{
    struct scan_job *j = container_of(job, struct scan_job, check);
    j->checked = record_check(j);
    loop_post(j->pool->options.loop, check_ended, j);
}

/* The scanner has done the job: the next is its head. */
static void scanner_done(struct scanner *s, struct scan_job *j)
{
    struct scan_pool *p = s->pool;
    list_remove(&j->link);
    s->n_jobs--;
    s->serial++;
    if (s->n_jobs)
        job_of(s->jobs.next)->since = clock_mono_us();
    else
        s->heavy = false;
    scanner_watch_head(s);
    fair_charge(p->options.budget, payers_of(j), j->message.n / BYTES_PER_US, clock_mono_us());
    if (s->replaced && s->n_jobs == 0)
        scanner_free(s);
}

static void scanner_frame(struct chan *c, struct frame *f, void *arg)
{
    struct scanner *s = arg;
    if (list_empty(&s->jobs) || f->serial != s->serial) {
        frame_free(f);
        scanner_fail(s, STR("an answer that nobody asked for"));
        return;
    }
    struct scan_job *j = job_of(s->jobs.next);
    struct scan_pool *p = s->pool;
    struct err e = take_answer(j, f);
    bool here = j->result.record.n <= RECORD_HERE;
    if (!e.code && here)
        e = record_check(j);
    if (e.code) {
        scan_result_free(&j->result);
        scanner_fail(s, str_c(e.why));
        return;
    }
    j->pool = p;
    j->scanner = s->index;
    j->generation = s->generation;
    scanner_done(s, j);
    if (here) {
        j->done(j);
    } else {
        j->check =
            (struct job){.run = check_run, .account = j->account, .cause = j->cause, .heavy = true};
        sched_run(p->options.sched, &j->check);
    }
    pool_hand_out(p);
}

static void scanner_closed(struct chan *c, struct err why, void *arg)
{
    struct scanner *s = arg;
    scanner_fail(s, str_c(why.why));
}

/* -- the pool -- */

static void waited_too_long(void *arg)
{
    struct scan_pool *p = arg;
    struct list *oldest = list_pop(&p->ages);
    if (oldest) {
        struct scan_job *j = job_of_age(oldest);
        fair_queue_remove(&p->waiting, &j->link, j->turn);
        job_give_up(p, j, STR("no scanner had time for it within scan_timeout"));
    }
    pool_watch_waiting(p);
}

void scan_submit(struct scan_pool *p, struct scan_job *j)
{
    j->result = (struct scan_result){0};
    pool_wait(p, j);
    pool_hand_out(p);
}

void scan_pool_add(struct scan_pool *p, uint32_t index, uint64_t generation, int fd)
{
    static const struct chan_ops ops = {.frame = scanner_frame, .closed = scanner_closed};
    list_each (l, &p->scanners) {
        struct scanner *old = container_of(l, struct scanner, link);
        if (old->index != index)
            continue;
        old->replaced = true;
        if (old->n_jobs == 0)
            scanner_free(old);
    }
    struct scanner *s = mem_alloc(sizeof *s);
    *s = (struct scanner){.pool = p, .index = index, .generation = generation};
    list_init(&s->jobs);
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = scanner_rules,
                                   .n_rules = ARRAY_LEN(scanner_rules),
                                   .ops = &ops,
                                   .arg = s};
    struct err e = chan_new(p->options.loop, fd, &spec, &s->chan);
    if (e.code) {
        log_error("scan.channel", LF_ERR(e));
        free(s);
        return;
    }
    s->timer = timer_new(p->options.loop, scanner_late, s);
    list_append(&p->scanners, &s->link);
    pool_hand_out(p);
}

void scan_pool_stop(struct scan_pool *p)
{
    p->stopping = true;
    pool_hand_out(p);
}

#ifdef THURN_PROBE
struct chan *scan_pool_channel(const struct scan_pool *p)
{
    const struct list *first = p->scanners.next;
    return first == &p->scanners ? NULL : container_of(first, struct scanner, link)->chan;
}
#endif

void scan_pool_set_timeout(struct scan_pool *p, uint32_t ms)
{
    p->options.timeout_ms = ms;
}

struct scan_pool *scan_pool_new(const struct scan_pool_options *o)
{
    struct scan_pool *p = mem_alloc(sizeof *p);
    p->options = *o;
    list_init(&p->scanners);
    fair_queue_init(&p->waiting);
    list_init(&p->ages);
    p->timer = timer_new(o->loop, waited_too_long, p);
    return p;
}

void scan_pool_free(struct scan_pool *p)
{
    list_each (l, &p->scanners)
        scanner_free(container_of(l, struct scanner, link));
    fair_queue_free(&p->waiting);
    timer_free(p->timer);
    free(p);
}
