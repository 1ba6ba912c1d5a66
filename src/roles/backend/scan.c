#include "roles/backend/scan.h"

#include "store/store.h"

enum { IN_FLIGHT = 4, SCANNER_STATE = 1, TEXT_MAX = 64 * 1024 * KB };

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
    bool replaced;   /* gets no new jobs */
    struct timer *timer;
};

struct scan_pool {
    struct scan_pool_options options;
    struct list scanners;
    struct list waiting; /* jobs that no scanner has room for */
    struct timer *timer; /* of the first one waiting */
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

static struct scanner *scanner_with_room(struct scan_pool *p)
{
    struct scanner *best = NULL;
    list_each (l, &p->scanners) {
        struct scanner *s = container_of(l, struct scanner, link);
        if (!s->replaced && s->n_jobs < IN_FLIGHT && (!best || s->n_jobs < best->n_jobs))
            best = s;
    }
    return best;
}

static void pool_watch_waiting(struct scan_pool *p)
{
    bool any = !list_empty(&p->waiting);
    timer_set(p->timer, any ? left_ms(p, job_of(p->waiting.next)) : 0);
}

/* Gives waiting jobs to scanners that have room. */
static void pool_hand_out(struct scan_pool *p)
{
    struct scanner *s;
    while (!list_empty(&p->waiting) && (s = scanner_with_room(p))) {
        struct scan_job *j = job_of(list_pop(&p->waiting));
        uint32_t serial = s->serial + (uint32_t)s->n_jobs;
        struct err e = scanner_send(s, j, serial);
        /* A broken channel says so itself, and what was sent comes back then. */
        if (e.code && e.code != E_CLOSED) {
            log_error("scan.send", LF_ERR(e));
            job_refuse(j);
            continue;
        }
        list_append(&s->jobs, &j->link);
        if (s->n_jobs++ == 0) {
            j->since = clock_mono_us();
            scanner_watch_head(s);
        }
    }
    while (p->stopping && list_empty(&p->scanners) && !list_empty(&p->waiting))
        job_refuse(job_of(list_pop(&p->waiting)));
    pool_watch_waiting(p);
}

/* The scanner is at an end: its first job made it fail, the others are innocent. */
static void scanner_fail(struct scanner *s, struct str why)
{
    struct scan_pool *p = s->pool;
    struct list *head = list_pop(&s->jobs);
    while (!list_empty(&s->jobs)) {
        struct list *last = s->jobs.prev;
        list_remove(last);
        list_prepend(&p->waiting, last);
        job_of(last)->since = clock_mono_us();
    }
    if (!p->stopping) {
        log_warn("scan.retire", LF_U64("scanner", s->index), LF_U64("generation", s->generation),
                 LF_STR("why", why));
        p->options.retire(s->index, s->generation, why, p->options.arg);
    }
    scanner_free(s);
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
    return email_record_check(j->result.record, j->message.n, m->text_size);
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
    struct err e = take_answer(j, f);
    if (e.code) {
        scan_result_free(&j->result);
        scanner_fail(s, str_c(e.why));
        return;
    }
    list_remove(&j->link);
    s->n_jobs--;
    s->serial++;
    if (s->n_jobs)
        job_of(s->jobs.next)->since = clock_mono_us();
    scanner_watch_head(s);
    struct scan_pool *p = s->pool;
    if (s->replaced && s->n_jobs == 0)
        scanner_free(s);
    j->done(j);
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
    struct list *head = list_pop(&p->waiting);
    if (head)
        job_give_up(p, job_of(head), STR("no scanner had time for it within scan_timeout"));
    pool_watch_waiting(p);
}

void scan_submit(struct scan_pool *p, struct scan_job *j)
{
    j->since = clock_mono_us();
    j->result = (struct scan_result){0};
    list_append(&p->waiting, &j->link);
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
    list_init(&p->waiting);
    p->timer = timer_new(o->loop, waited_too_long, p);
    return p;
}

void scan_pool_free(struct scan_pool *p)
{
    list_each (l, &p->scanners)
        scanner_free(container_of(l, struct scanner, link));
    check(list_empty(&p->waiting));
    timer_free(p->timer);
    free(p);
}
