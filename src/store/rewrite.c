#include "store/engine_private.h"

/*
 * Gives back the space of what nobody owns any more. A segment of which less than half of the
 * bytes of its bodies are alive is rewritten: the living ones are copied, verified, into the log
 * as it goes on, a piece at a time, each with a batch that moves their places. Then the segment is
 * retired: from that moment, which lies between two groups, no body gets an owner in it. Its file
 * is removed after the index on disk has passed that moment (so a start needs neither the bodies
 * there nor the batches), and after the last reader is gone who may know an old place.
 *
 * A crash at any moment leaves the segment, or what was moved out of it twice, which the next
 * start finds as space that is not alive.
 *
 * Moves and drops of the same body cannot meet: both find out where it lies in the moment of the
 * commit, one after the other on the thread that commits.
 */

enum {
    PIECE_BYTES = 1 << 20,
    PIECE_BODIES = 256,
    LIVE_PERCENT = 50,      /* of the bytes of its bodies, below which a segment is rewritten, */
    LIVE_PERCENT_FULL = 85, /* and when mail is refused for want of space */
    GAIN_PART = 16,         /* a segment that gives back less than this part of a full one stays */
    LOOK_PART = 8,          /* this part of a full one has been dropped: it is counted again */
};

/* ------------------------------------------------------------------------------ counting */

struct counting {
    uint64_t last, live;
};

static bool count_owner(const struct owner *o, void *arg)
{
    struct counting *c = arg;
    if (o->offset != c->last) /* owners of the same bytes follow each other */
        c->live += record_size(o->length);
    c->last = o->offset;
    return true;
}

/* Never looked at, or much has changed. */
static bool to_look_at(const struct known_segment *s, const struct known_segment *than, void *arg)
{
    const struct engine *e = arg;
    uint64_t enough = s->big ? 1 : MAX(e->segment_size / LOOK_PART, (uint64_t)1);
    return !than && (!s->looked_at || s->dropped - s->seen >= enough);
}

/* Reads the headers of groups and records one after the other; what cannot be read ends it. */
static struct err count_bodies(struct engine *e, uint64_t number, uint64_t size, uint64_t *out)
{
    uint8_t bytes[RECORD_HEADER];
    struct segment_file *f;
    TRY(segment_file_get(e, number, &f));
    uint64_t at = SEGMENT_HEADER, bodies = 0;
    while (at < size && size - at >= GROUP_HEADER) {
        struct group_header g;
        struct record_header r;
        size_t n = (size_t)MIN(size - at, (uint64_t)sizeof bytes);
        if (disk_read(e->disk, f->fd, bytes, n, at).code)
            break;
        if (!group_header_get(str_of(bytes, n), &g).code) {
            at += GROUP_HEADER;
        } else if (!record_header_get(str_of(bytes, n), &r).code && r.stored < size - at) {
            bodies += r.kind == RECORD_BODY ? record_size(r.stored) : 0;
            at += record_size(r.stored);
        } else {
            break;
        }
    }
    segment_file_put(e, f);
    *out = bodies;
    return OK;
}

static struct err look_at(struct engine *e, struct known_segment *s)
{
    char path[PATH_LEN];
    struct counting c = {.last = 0};
    s->seen = s->dropped; /* what is dropped from here on counts for the next time */
    segment_path(e, s->number, path);
    int fd = e->disk->open(e->disk, path, O_RDONLY, 0);
    if (fd < 0)
        return err_sys("opening a log segment");
    struct err err =
        e->disk->file_size(e->disk, fd, &s->size) < 0 ? err_sys("looking at a log segment") : OK;
    e->disk->close(e->disk, fd);
    TRY(err);
    TRY(index_owners(e->index, s->number, 0, count_owner, &c));
    s->live = c.live;
    if (!s->big && s->bodies == UINT64_MAX && s->live < s->size / 2)
        TRY(count_bodies(e, s->number, s->size, &s->bodies));
    s->looked_at = true;
    segment_table_change(e, s);
    return OK;
}

/* ------------------------------------------------------------------------------ choosing */

static bool worth_it(const struct engine *e, const struct known_segment *s)
{
    bool full = atomic_load(&e->full);
    uint64_t bodies = full ? MIN(s->bodies, s->size) : s->bodies;
    if (!s->looked_at)
        return false;
    if (s->big || s->live == 0)
        return s->live == 0 && (s->big || s->size >= e->segment_size / GAIN_PART);
    return bodies != UINT64_MAX && s->live < s->size &&
           s->size - s->live >= e->segment_size / GAIN_PART &&
           s->live / (full ? LIVE_PERCENT_FULL : LIVE_PERCENT) < bodies / 100;
}

/* The cheapest first: it gives back the most for its copy, and on a full disk it is the one that
 * can be made. */
static bool to_rewrite(const struct known_segment *s, const struct known_segment *than, void *arg)
{
    return worth_it(arg, s) && (!than || s->live < than->live);
}

/* -------------------------------------------------------------------------------- moving */

struct moving {
    struct body *body;
    struct buf bytes;
    uint64_t offset, length;
};
struct moving_owner {
    size_t body; /* index */
    uint64_t account;
    size_t key_at, key_n;
};
struct piece {
    struct engine *e;
    struct commit commit;
    struct wait_once ended;
    struct err result;
    uint64_t segment, bytes;
    struct moving m[PIECE_BODIES];
    size_t n;
    struct moving_owner *owners;
    size_t n_owners, cap_owners;
    struct buf keys;
    bool damaged; /* a body cannot be read, or is not the one that is meant */
    bool owned;   /* retiring: somebody owns something there */
};

static bool collect_owner(const struct owner *o, void *arg)
{
    struct piece *p = arg;
    if (p->n == 0 || p->m[p->n - 1].offset != o->offset) {
        if (p->n == PIECE_BODIES || (p->n && p->bytes + o->length > PIECE_BYTES))
            return false;
        p->m[p->n++] = (struct moving){.offset = o->offset, .length = o->length};
        p->bytes += o->length;
    }
    if (p->n_owners == p->cap_owners) {
        p->cap_owners = p->cap_owners ? 2 * p->cap_owners : PIECE_BODIES;
        p->owners = reallocarray(p->owners, p->cap_owners, sizeof *p->owners);
        check(p->owners != NULL);
    }
    p->owners[p->n_owners++] = (struct moving_owner){
        .body = p->n - 1, .account = o->account, .key_at = p->keys.n, .key_n = o->key.n};
    buf_put(&p->keys, o->key);
    return true;
}

static struct err read_bodies(struct piece *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct moving *m = &p->m[i];
        struct err err = segment_body_load(p->e, p->segment, m->offset, m->length, &m->bytes);
        p->damaged = err.code == E_CORRUPT || err.sys == EIO;
        if (p->damaged)
            log_error("store.body.damaged", LF_U64("segment", p->segment),
                      LF_U64("offset", m->offset), LF_ERR(err));
        TRY(err);
        m->body = body_new(buf_str(&m->bytes));
    }
    return OK;
}

/* Whether the owner's place is still the one that was read. */
static bool still_there(struct piece *p, const struct owner *o, Thurn__BodyPlace *out)
{
    return index_place(p->e->index, o->key, out).code == E_OK && out->segment == p->segment &&
           out->offset == o->offset && out->account == o->account;
}

static void prepare_move(struct commit *c)
{
    struct piece *p = container_of(c, struct piece, commit);
    for (size_t i = 0; i < p->n_owners; i++) {
        const struct moving_owner *o = &p->owners[i];
        const struct moving *m = &p->m[o->body];
        struct owner owner = {.offset = m->offset,
                              .account = o->account,
                              .key = str_sub(buf_str(&p->keys), o->key_at, o->key_at + o->key_n)};
        Thurn__BodyPlace place;
        if (!still_there(p, &owner, &place))
            continue;
        if (place.hash != body_short_hash(m->body->hash)) { /* whole, but of something else */
            p->damaged = true;
            log_error("store.body.damaged", LF_U64("segment", p->segment),
                      LF_U64("offset", m->offset), LF_C("why", "not the body that is meant"));
            continue;
        }
        batch_body_drop(&c->batch, owner.key, &place);
        batch_body(&c->batch, owner.key, (account_id){o->account}, m->body);
    }
}

static bool find_owner(const struct owner *o, void *arg)
{
    struct piece *p = arg;
    Thurn__BodyPlace place;
    p->owned = still_there(p, o, &place);
    return !p->owned;
}

static void prepare_retire(struct commit *c)
{
    struct piece *p = container_of(c, struct piece, commit);
    if (index_owners(p->e->index, p->segment, 0, find_owner, p).code)
        p->owned = true;
    if (!p->owned)
        segment_table_retire(p->e, p->segment);
}

static void piece_ended(struct commit *c, struct err result)
{
    struct piece *p = container_of(c, struct piece, commit);
    p->result = result;
    wait_once_tell(&p->ended);
}

static struct err piece_commit(struct piece *p, void (*prepare)(struct commit *c))
{
    p->commit = (struct commit){.prepare = prepare, .done = piece_ended};
    wait_once_init(&p->ended);
    engine_submit(p->e, &p->commit);
    wait_once_end(&p->ended);
    batch_free(&p->commit.batch);
    return p->result;
}

static void piece_free(struct piece *p)
{
    for (size_t i = 0; i < p->n; i++) {
        body_unref(p->m[i].body);
        buf_free(&p->m[i].bytes);
    }
    buf_free(&p->keys);
    free(p->owners);
    free(p);
}

/* Moves what is alive from a byte on, as much as one piece holds; *next: behind it. */
static struct err move_piece(struct piece *p, uint64_t *next)
{
    TRY(index_owners(p->e->index, p->segment, *next, collect_owner, p));
    TRY(buf_err(&p->keys));
    if (p->n == 0)
        return OK;
    *next = p->m[p->n - 1].offset + 1;
    TRY(read_bodies(p));
    return piece_commit(p, prepare_move);
}

/* ------------------------------------------------------------------------------ removing */

static struct err retire(struct engine *e, struct known_segment *s)
{
    struct piece *p = mem_alloc(sizeof *p);
    p->e = e;
    p->segment = s->number;
    struct err err = piece_commit(p, prepare_retire);
    bool owned = p->owned; /* by copies of bodies that nobody owned when the piece was made */
    piece_free(p);
    if (!err.code && !owned)
        err = index_flush_now(e->index);
    if (err.code || owned) { /* another time */
        s->looked_at = false;
        segment_table_change(e, s);
        return err;
    }
    s->retired = true;
    s->retired_at = atomic_load(&e->epoch);
    segment_table_change(e, s);
    atomic_fetch_add(&e->to_remove, 1);
    return OK;
}

/* Readers count themselves under the parity of the epoch in which they began. It goes on when
 * nobody is left of the one before; two steps on, nobody is left who began before the retirement.
 */
static bool next_epoch(struct engine *e)
{
    uint64_t epoch = atomic_load(&e->epoch);
    if (atomic_load(&e->readers[(epoch + 1) % 2]))
        return false;
    atomic_store(&e->epoch, epoch + 1);
    return true;
}

static bool removable(struct engine *e, struct known_segment *out)
{
    struct segment_table *t = &e->known;
    bool found = false;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->n && !found; i++) {
        found = t->v[i].retired && t->v[i].retired_at != UINT64_MAX &&
                atomic_load(&e->epoch) >= t->v[i].retired_at + 2;
        if (found)
            *out = t->v[i];
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

static struct err remove_retired(struct engine *e, bool *worked)
{
    struct known_segment s;
    if (atomic_load(&e->to_remove) == 0)
        return OK;
    for (unsigned i = 0; i < 2 && next_epoch(e); i++)
        continue;
    while (removable(e, &s)) {
        segment_file_forget(e, s.number);
        TRY(segment_remove(e, s.number));
        segment_table_remove(e, s.number);
        atomic_fetch_sub(&e->to_remove, 1);
        atomic_fetch_add(&e->freed_bytes, s.size);
        log_info("store.segment.rewritten", LF_U64("segment", s.number),
                 LF_U64("freed", s.size - MIN(s.size, s.live)), LF_U64("copied", s.live));
        *worked = true;
    }
    return OK;
}

/* --------------------------------------------------------------------------------- steps */

/* Another piece of the segment that is being rewritten. */
static struct err rewrite_piece(struct engine *e, uint64_t *out_copied)
{
    struct rewriting *r = &e->rewriting;
    struct piece *p = mem_alloc(sizeof *p);
    p->e = e;
    p->segment = r->segment.number;
    struct err err = move_piece(p, &r->next);
    bool last = p->n == 0, damaged = p->damaged;
    *out_copied = p->bytes;
    piece_free(p);
    if (damaged) { /* stays, with what is damaged and what is not */
        r->segment.damaged = true;
        segment_table_change(e, &r->segment);
    }
    if (err.code || last || damaged)
        r->active = false;
    TRY(err);
    return last ? retire(e, &r->segment) : OK;
}

static struct err begin(struct engine *e, const struct known_segment *s)
{
    if (s->live)
        TRY(disk_has_room(e, ROOM_FOR_CHANGES, s->live));
    e->rewriting = (struct rewriting){.active = true, .segment = *s};
    return OK;
}

static struct err step(struct engine *e, bool *worked, uint64_t *copied)
{
    struct known_segment s;
    TRY(remove_retired(e, worked));
    if (e->rewriting.active) {
        *worked = true;
        return rewrite_piece(e, copied);
    }
    if (segment_table_pick(e, to_look_at, e, &s)) {
        *worked = true;
        return look_at(e, &s);
    }
    if (segment_table_pick(e, to_rewrite, e, &s)) {
        *worked = true;
        return begin(e, &s);
    }
    return OK;
}

struct err engine_rewrite(struct engine *e, bool *out_worked)
{
    uint64_t copied = 0;
    *out_worked = false;
    return step(e, out_worked, &copied);
}

/* ------------------------------------------------------------------------- in the background */

enum { IDLE_MS = 1000, LOOKED_MS = 20, FAILED_MS = 30000 };

static uint64_t pause_after(struct engine *e)
{
    bool worked = false;
    uint64_t copied = 0;
    struct err err = step(e, &worked, &copied);
    if (err.code) {
        log_warn("store.segment.not-rewritten", LF_U64("segment", e->rewriting.segment.number),
                 LF_ERR(err));
        e->rewriting.active = false;
        return FAILED_MS;
    }
    if (!worked)
        return IDLE_MS;
    return copied ? copied * 1000 / e->rewrite_rate : LOOKED_MS;
}

static void *rewriter_main(void *arg)
{
    struct engine *e = arg;
    store_commit_in_background();
    pthread_mutex_lock(&e->rewriter_lock);
    while (!e->rewriter_stop) {
        pthread_mutex_unlock(&e->rewriter_lock);
        uint64_t ms = pause_after(e);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + ms % 1000 * 1000000;
        until.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        pthread_mutex_lock(&e->rewriter_lock);
        if (!e->rewriter_stop && ms)
            pthread_cond_timedwait(&e->rewriter_wake, &e->rewriter_lock, &until);
    }
    pthread_mutex_unlock(&e->rewriter_lock);
    return NULL;
}

void rewriter_start(struct engine *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    check(pthread_create(&e->rewriter, NULL, rewriter_main, e) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    e->rewriter_runs = true;
}

void rewriter_stop(struct engine *e)
{
    if (!e->rewriter_runs)
        return;
    pthread_mutex_lock(&e->rewriter_lock);
    e->rewriter_stop = true;
    pthread_mutex_unlock(&e->rewriter_lock);
    pthread_cond_signal(&e->rewriter_wake);
    pthread_join(e->rewriter, NULL);
    e->rewriter_runs = false;
}
