#include "test_backend_rig.h"

#include <ftw.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "roles/backend/admin.h"

enum { DEADLINE_MS = 20000 };

/* -- waiting -- */

struct waiting {
    struct rig *r;
    bool (*until)(void *arg);
    void *arg;
    struct timer *poll, *deadline;
    bool late;
};

static void waiting_look(void *arg)
{
    struct waiting *w = arg;
    if (w->until(w->arg))
        loop_stop(w->r->loop);
    else
        timer_set(w->poll, 1);
}

static void waiting_late(void *arg)
{
    struct waiting *w = arg;
    w->late = true;
    loop_stop(w->r->loop);
}

void rig_run(struct rig *r, bool (*until)(void *arg), void *arg)
{
    struct waiting w = {.r = r, .until = until, .arg = arg};
    w.poll = timer_new(r->loop, waiting_look, &w);
    w.deadline = timer_new(r->loop, waiting_late, &w);
    timer_set(w.poll, 1);
    timer_set(w.deadline, DEADLINE_MS);
    loop_run(r->loop);
    timer_free(w.poll);
    timer_free(w.deadline);
    assert_false(w.late);
}

/* -- ends -- */

static void end_frame(struct chan *c, struct frame *f, void *arg)
{
    struct end *e = arg;
    (void)c;
    check(e->n < RIG_FRAMES);
    e->frames[e->n++] = f;
}

static void end_closed(struct chan *c, struct err why, void *arg)
{
    struct end *e = arg;
    (void)why;
    chan_free(c);
    e->chan = NULL;
    e->closed = true;
}

/* The test may be sent anything. */
static struct chan_rule all_rules[128];
static size_t n_all_rules;

static struct end *end_new(struct rig *r, int fd, const struct chan_ops *ops, void *arg)
{
    for (; n_all_rules < rpc_table.n; n_all_rules++)
        all_rules[n_all_rules] = (struct chan_rule){rpc_table.types[n_all_rules].number, 1};
    struct end *e = mem_alloc(sizeof *e);
    e->r = r;
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = all_rules,
                                   .n_rules = n_all_rules,
                                   .ops = ops,
                                   .arg = arg ? arg : e};
    assert_int_equal(chan_new(r->loop, fd, &spec, &e->chan).code, E_OK);
    check(r->n_ends < RIG_ENDS);
    r->ends[r->n_ends++] = e;
    return e;
}

static const struct chan_ops end_ops = {.frame = end_frame, .closed = end_closed};

void rig_send(struct end *e, uint16_t type, const void *message, struct str raw, int fd)
{
    static uint32_t serial;
    assert_non_null(e->chan);
    assert_int_equal(chan_send(e->chan, type, ++serial, message, raw, fd).code, E_OK);
}

struct expecting {
    struct end *e;
    uint16_t type;
};

static bool has_come(void *arg)
{
    const struct expecting *x = arg;
    struct end *e = x->e;
    while (e->taken < e->n && e->frames[e->taken]->type->number != x->type)
        frame_free(e->frames[e->taken++]);
    return e->taken < e->n;
}

struct frame *rig_expect(struct end *e, uint16_t type)
{
    struct expecting x = {e, type};
    rig_run(e->r, has_come, &x);
    return e->frames[e->taken++];
}

static bool has_any(void *arg)
{
    const struct end *e = arg;
    return e->taken < e->n;
}

struct frame *rig_expect_any(struct end *e)
{
    rig_run(e->r, has_any, e);
    return e->frames[e->taken++];
}

static bool is_closed(void *arg)
{
    return ((const struct end *)arg)->closed;
}

void rig_expect_closed(struct end *e)
{
    rig_run(e->r, is_closed, e);
}

/* -- scanners -- */

static void scanner_answer(struct fake_scanner *s, uint32_t serial, uint64_t size)
{
    struct buf record CLEANUP(buf_free) = {0};
    static const uint8_t padding[64 * KB]; /* no field begins with a zero */
    email_record_flat(size + (s->mode == SCAN_BADLY), &record);
    if (s->mode == SCAN_BADLY_AT_LENGTH)
        buf_put(&record, str_of(padding, sizeof padding));
    Thurn__ScanParsed m = THURN__SCAN_PARSED__INIT;
    m.record = pb_bytes(buf_str(&record));
    m.text_size = 4;
    struct err e = chan_send(s->end->chan, RPC_SCAN_PARSED, serial + (s->mode == SCAN_UNASKED),
                             &m.base, STR("text"), -1);
    assert_int_equal(e.code, E_OK);
}

static void scanner_frame(struct chan *c, struct frame *f, void *arg)
{
    struct fake_scanner *s = arg;
    const Thurn__ScanParse *m = (const Thurn__ScanParse *)f->message;
    assert_int_equal(f->type->number, RPC_SCAN_PARSE);
    struct str map = {NULL, 0};
    if (f->fd >= 0)
        assert_int_equal(
            sealed_map_part(f->fd, m->total ? m->total : m->size, m->offset, m->size, &map).code,
            E_OK);
    else
        assert_int_equal(f->raw.n, m->size);
    if (map.p)
        sealed_unmap(map);
    s->seen++;
    if (s->mode == SCAN_NEVER) {
        end_frame(c, f, s->end);
        return;
    }
    if (s->mode == SCAN_DIE) {
        chan_free(c);
        s->end->chan = NULL;
    } else {
        scanner_answer(s, f->serial, m->size);
    }
    frame_free(f);
}

static void scanner_closed(struct chan *c, struct err why, void *arg)
{
    struct fake_scanner *s = arg;
    end_closed(c, why, s->end);
}

void rig_scanner(struct rig *r, uint32_t index, uint64_t generation, enum scanner_mode mode)
{
    static const struct chan_ops ops = {.frame = scanner_frame, .closed = scanner_closed};
    int fds[2];
    assert_int_equal(chan_pair(fds).code, E_OK);
    struct fake_scanner *s = &r->scanners[index + generation - 1];
    s->mode = mode;
    s->end = end_new(r, fds[0], &ops, s);
    backend_peer(&r->b, THURN__ROLE_KIND__ROLE_SCANNER, index, generation, fds[1]);
}

void rig_scanner_answer(struct fake_scanner *s)
{
    s->mode = SCAN_WELL;
    for (struct end *e = s->end; e->taken < e->n; e->taken++) {
        struct frame *f = e->frames[e->taken];
        scanner_answer(s, f->serial, ((const Thurn__ScanParse *)f->message)->size);
        frame_free(f);
    }
}

/* -- frontend, sessions -- */

void rig_frontend(struct rig *r)
{
    int fds[2];
    assert_int_equal(chan_pair(fds).code, E_OK);
    r->frontend = end_new(r, fds[0], &end_ops, NULL);
    backend_peer(&r->b, THURN__ROLE_KIND__ROLE_FRONTEND, 0, 1, fds[1]);
    frame_free(rig_expect(r->frontend, RPC_BACKEND_SERVES));
}

static struct end *session(struct rig *r, Thurn__SessionKind kind, uint64_t id, struct str record)
{
    int fds[2];
    assert_int_equal(chan_pair(fds).code, E_OK);
    Thurn__SessionOpen m = THURN__SESSION_OPEN__INIT;
    m.kind = kind;
    m.session = id;
    m.peer_ip = pb_bytes(STR("\x7f\0\0\1"));
    m.may_authenticate = true;
    m.resume = pb_bytes(record);
    rig_send(r->frontend, RPC_SESSION_OPEN, &m, (struct str){NULL, 0}, fds[1]);
    (void)close(fds[1]);
    return end_new(r, fds[0], &end_ops, NULL);
}

struct end *rig_session(struct rig *r, Thurn__SessionKind kind)
{
    return session(r, kind, ++r->last_session, (struct str){NULL, 0});
}

struct end *rig_session_again(struct rig *r, uint64_t id, struct str record)
{
    return session(r, THURN__SESSION_KIND__SESSION_IMAP, id, record);
}

struct end *rig_session_as(struct rig *r, Thurn__SessionKind kind, uint64_t id, struct str record)
{
    return session(r, kind, id, record);
}

struct end *rig_admin(struct rig *r)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/admin", r->dir);
    if (!r->b.admin_listener) {
        int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(listening, (struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(listen(listening, 8), 0);
        admin_listen(&r->b, listening);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return end_new(r, fd, &end_ops, NULL);
}

#ifdef THURN_PROBE
/* There is no process to be ended. */
void probe_point(const char *name)
{
    (void)name;
}
#endif

/* -- the rig -- */

static void retire(struct backend *b, const Thurn__ScannerRetire *m)
{
    struct rig *r = container_of(b, struct rig, b);
    r->retired++;
    r->last_retired = m->index;
    r->last_retired_role = m->role;
}

static void stopped(struct backend *b)
{
    container_of(b, struct rig, b)->stopped = true;
}

struct rig *rig_new(void)
{
    struct rig *r = mem_alloc(sizeof *r);
    (void)snprintf(r->dir, sizeof r->dir, "/tmp/thurn-backend-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(loop_new(&r->loop).code, E_OK);
    r->settings = (Thurn__Settings)THURN__SETTINGS__INIT;
    r->settings.hostname = pb_bytes(STR("mail.example.test"));
    r->settings.data_dir = pb_bytes(str_c(r->dir));
    r->settings.workers = 4;
    r->settings.message_size_limit = 1024 * KB;
    r->settings.max_recipients = 4;
    r->settings.max_connections = 32;
    r->settings.scan_timeout = 10000;
    r->settings.argon2_memory_kib = 64;
    r->settings.argon2_passes = 1;
    r->b.loop = r->loop;
    r->b.supervisor_uid = getuid();
    r->b.retire = retire;
    r->b.stopped = stopped;
    struct buf explain CLEANUP(buf_free) = {0};
    struct err e = backend_open(&r->b, &r->settings, &explain);
    if (e.code)
        fail_msg("%s: %.*s", e.why, STR_FMT(buf_str(&explain)));
    assert_int_equal(directory_domain_add(r->b.directory, STR("example.test"), STR("")).code, E_OK);
    rig_frontend(r);
    return r;
}

static bool has_stopped(void *arg)
{
    return ((const struct rig *)arg)->stopped;
}

void rig_stop(struct rig *r)
{
    backend_stop(&r->b);
    rig_run(r, has_stopped, r);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void rig_free(struct rig *r)
{
    if (!r->stopped)
        rig_stop(r);
    for (size_t i = 0; i < r->n_ends; i++) {
        struct end *e = r->ends[i];
        while (e->taken < e->n)
            frame_free(e->frames[e->taken++]);
        chan_free(e->chan);
        free(e);
    }
    loop_free(r->loop);
    (void)nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(r);
}

/* -- accounts -- */

account_id rig_account(struct rig *r, struct str address)
{
    const struct directory_password secret = {STR("{PLAIN}secret"), true};
    account_id id;
    assert_int_equal(directory_account_add(r->b.directory, address, secret, &id).code, E_OK);
    return id;
}

static bool is_flat(struct snap *s, email_id id)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__StoredEmail *e;
    struct str text;
    assert_int_equal(snap_email(s, id, &a, &e).code, E_OK);
    assert_int_equal(snap_email_text(s, id, &a, &text).code, E_OK);
    return text.n == 0; /* the test's scanners make some text */
}

size_t rig_inbox(struct rig *r, account_id id, size_t *out_flat)
{
    struct account *account;
    struct snap *s;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 20);
    Thurn__Mailbox *inbox;
    struct entry entries[RIG_FRAMES];
    size_t n, flat = 0;
    assert_int_equal(account_open(r->b.store, id, &account).code, E_OK);
    assert_int_equal(snap_open(account, &s).code, E_OK);
    assert_int_equal(snap_mailbox_named(s, STR("INBOX"), &a, &inbox).code, E_OK);
    assert_int_equal(snap_entries(s, (mailbox_id){inbox->id}, (msg_uid){1}, (msg_uid){UINT32_MAX},
                                  entries, RIG_FRAMES, &n)
                         .code,
                     E_OK);
    for (size_t i = 0; i < n; i++)
        flat += is_flat(s, entries[i].email);
    snap_close(s);
    account_close(account);
    if (out_flat)
        *out_flat = flat;
    return n;
}
