/*
 * The scanner: looks inside messages. It holds nothing but the message at hand, has no file and no
 * socket but its channels, and limits on memory and processor time; a message that makes it fail
 * takes down this process only.
 *
 * One message is answered before the next is looked at, so that who asked knows which one it was.
 */
#include "roles/probe.h"

#include <sys/resource.h>

#include "mime/mime.h"

enum {
    SCANNER_PEERS = 4,        /* channels at a time: a new one comes before the old one goes */
    SCANNER_ARENA = 48 << 20, /* for one record: less than its reader has for unpacking it */
    SCANNER_FILES = 64,
    SCANNER_TURN_US = 100000,    /* that messages take of one turn of the loop, about */
    SCANNER_NICE = 5,            /* lower in priority than those who wait for an answer */
    RECORD_MAX = 4096 * KB - 64, /* what fits into the frame beside the other fields */
};

static const struct chan_rule scanner_rules[] = {{RPC_SCAN_PARSE, 1}};

struct scanner {
    struct role *role;
    struct peer {
        struct scanner *scanner;
        struct chan *chan;
        uint32_t jobs; /* answers whose turn has not ended */
        bool used;
    } peers[SCANNER_PEERS];
    struct timer *age;
    uint64_t jobs;
    bool open;     /* in the sandbox: messages may be read */
    bool retiring; /* has been said */
};

/* ------------------------------------------------------------------------------------- retiring */

static void scanner_retire(struct scanner *s, struct str reason)
{
    if (s->retiring)
        return;
    s->retiring = true;
    Thurn__ScannerRetire m = THURN__SCANNER_RETIRE__INIT;
    m.index = s->role->index;
    m.reason = pb_bytes(reason);
    role_tell(s->role, RPC_SCANNER_RETIRE, &m.base);
}

static void scanner_aged(void *arg)
{
    scanner_retire(arg, STR("scanner_lifetime has passed"));
}

static void scanner_count(struct scanner *s)
{
    uint32_t most = s->role->settings->scanner_jobs;
    if (++s->jobs >= most && most > 0)
        scanner_retire(s, STR("scanner_jobs messages are done"));
}

/* ----------------------------------------------------------------------------------- a message */

#ifdef THURN_PROBE
/* Test builds: a message can make its scanner fail, as one day one will. */
static void scanner_probe(struct str message)
{
    struct cur in = cur_of(message);
    struct mime_field f;
    while (mime_field_next(&in, &f)) {
        if (!str_ieq(f.name, STR("X-Thurn-Probe")))
            continue;
        if (str_eq(str_trim(f.value), STR("crash")))
            abort();
        for (volatile bool stall = str_eq(str_trim(f.value), STR("stall")); stall;)
            ;
    }
}
#else
static void scanner_probe(struct str message)
{
    (void)message;
}
#endif

/* From what mail needs to what always fits: a record that becomes too large is made anew with the
 * next row. The last one cannot. */
static const struct mime_limits tighter[] = {
    {.depth = 30,
     .parts = 500,
     .fields = 500,
     .header_bytes = 64 * KB,
     .field_text = 64 * KB,
     .addresses = 500,
     .text = 2048 * KB},
    {.depth = 8,
     .parts = 30,
     .fields = 100,
     .header_bytes = 16 * KB,
     .field_text = 16 * KB,
     .addresses = 50,
     .text = 512 * KB},
    {.depth = 0,
     .parts = 1,
     .fields = 50,
     .header_bytes = 4 * KB,
     .field_text = 4 * KB,
     .addresses = 10,
     .text = 64 * KB},
};

static struct err parse_within(struct str message, const struct mime_limits *limits,
                               uint32_t broken, struct arena *a, struct str *out_text,
                               struct buf *out_record)
{
    struct mime_result result;
    arena_free(a);
    buf_clear(out_record);
    TRY(mime_parse(message, limits, a, &result));
    result.email->broken |= broken;
    pb_pack(out_record, &result.email->base);
    *out_text = result.text;
    return buf_err(out_record);
}

/* The packed record, and the text in the arena. */
static struct err parse(struct str message, struct arena *a, struct str *out_text,
                        struct buf *out_record)
{
    struct err e = parse_within(message, &mime_limits_default, 0, a, out_text, out_record);
    for (size_t i = 0; e.code && i < ARRAY_LEN(tighter); i++) {
        log_info("scanner.tighter", LF_U64("size", message.n), LF_ERR(e));
        e = parse_within(message, &tighter[i], THURN__EMAIL__BROKEN__LIMIT_REACHED, a, out_text,
                         out_record);
    }
    return e;
}

static struct err send_text(struct chan *c, uint32_t serial, const Thurn__ScanParsed *m,
                            struct str text)
{
    struct sealed s = {.fd = -1};
    if (text.n <= FRAME_RAW_MAX)
        return chan_send(c, RPC_SCAN_PARSED, serial, &m->base, text, -1);
    struct err e = sealed_new(&s, text.n);
    if (!e.code)
        e = sealed_put(&s, text);
    if (!e.code)
        e = sealed_finish(&s);
    if (!e.code)
        e = chan_send(c, RPC_SCAN_PARSED, serial, &m->base, (struct str){0}, s.fd);
    sealed_free(&s);
    return e;
}

static struct err scan(struct peer *p, uint32_t serial, struct str message)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, SCANNER_ARENA);
    struct buf record CLEANUP(buf_free) = {.max = RECORD_MAX};
    struct str text;
    scanner_probe(message);
    TRY(parse(message, &a, &text, &record));
    Thurn__ScanParsed m = THURN__SCAN_PARSED__INIT;
    m.record = pb_bytes(buf_str(&record));
    m.text_size = text.n;
    return send_text(p->chan, serial, &m, text);
}

/* The message: the frame's raw bytes, or the sealed memory that came with it. */
static struct err scan_frame(struct peer *p, const struct frame *f)
{
    const Thurn__ScanParse *m = (const Thurn__ScanParse *)f->message;
    if (f->fd < 0)
        return f->raw.n == m->size ? scan(p, f->serial, f->raw)
                                   : err_make(E_INVALID, "a message of another size");
    struct str map;
    size_t total = (size_t)(m->total ? m->total : m->size);
    TRY(sealed_map_part(f->fd, total, (size_t)m->offset, (size_t)m->size, &map));
    struct err e = scan(p, f->serial, map);
    sealed_unmap(map);
    return e;
}

/* ------------------------------------------------------------------------------------ channels */

static bool scanner_has_peers(const struct scanner *s)
{
    for (size_t i = 0; i < SCANNER_PEERS; i++) {
        if (s->peers[i].chan)
            return true;
    }
    return false;
}

static void peer_close(struct peer *p)
{
    chan_free(p->chan);
    p->chan = NULL;
    p->used = p->jobs > 0; /* until what is posted has come back */
    if (p->scanner->retiring && !scanner_has_peers(p->scanner))
        role_exit(p->scanner->role, 0);
}

static void peer_closed(struct chan *c, struct err why, void *arg)
{
    log_debug("scanner.peer-gone", LF_ERR(why));
    peer_close(arg);
}

static void peer_resume(void *arg)
{
    struct peer *p = arg;
    p->jobs--;
    if (p->chan)
        chan_hold(p->chan, false);
    else
        p->used = p->jobs > 0;
}

/* The next message is looked at when the answer to this one is with the kernel: at once, or, if
 * there is no room for it, in a later turn of the loop. So it is if this one took long, for whoever
 * wants to know whether this loop turns has allowed for one message. */
static void peer_frame(struct chan *c, struct frame *f, void *arg)
{
    struct peer *p = arg;
    uint64_t slow_us = clock_mono_us() + SCANNER_TURN_US;
    struct err e = scan_frame(p, f);
    frame_free(f);
    if (e.code) {
        log_error("scanner.failed", LF_ERR(e));
        peer_close(p);
        return;
    }
    scanner_count(p->scanner);
    if (chan_send_now(c) && clock_mono_us() < slow_us)
        return;
    chan_hold(c, true);
    p->jobs++;
    loop_post(p->scanner->role->loop, peer_resume, p);
}

static void scanner_peer(struct role *r, const Thurn__Peer *m, int fd)
{
    static const struct chan_ops ops = {.frame = peer_frame, .closed = peer_closed};
    struct scanner *s = r->self;
    struct peer *p = NULL;
    for (size_t i = 0; i < SCANNER_PEERS && !p; i++)
        p = s->peers[i].used ? NULL : &s->peers[i];
    if (!p || m->role != THURN__ROLE_KIND__ROLE_BACKEND) {
        log_error("scanner.peer-refused", LF_U64("role", m->role));
        (void)close(fd);
        return;
    }
    const struct chan_spec spec = {.table = &rpc_table,
                                   .rules = scanner_rules,
                                   .n_rules = ARRAY_LEN(scanner_rules),
                                   .ops = &ops,
                                   .arg = p};
    *p = (struct peer){.scanner = s};
    struct err e = chan_new(r->loop, fd, &spec, &p->chan);
    if (e.code) {
        log_error("scanner.channel", LF_ERR(e));
        return;
    }
    p->used = true;
    chan_hold(p->chan, !s->open);
}

/* ------------------------------------------------------------------------------------ the role */

static struct err limit(int what, uint64_t most)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now) < 0)
        return err_sys("getrlimit");
    rlim_t to = MIN((rlim_t)most, now.rlim_max);
    const struct rlimit both = {to, to};
    return setrlimit((__rlimit_resource_t)what, &both) < 0 ? err_sys("setrlimit") : OK;
}

#ifdef __has_feature
#define HAS_FEATURE(f) __has_feature(f)
#else
#define HAS_FEATURE(f) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
enum { ADDRESS_SPACE_IS_OURS = 0 }; /* the sanitizer reserves terabytes */
#else
enum { ADDRESS_SPACE_IS_OURS = 1 };
#endif

/* Processor time is for what hangs although nobody ends it: who asks watches each message. */
static struct err set_limits(const Thurn__Settings *s)
{
    uint64_t cpu = ((uint64_t)s->scanner_lifetime + s->scan_timeout) / 1000 * 2 + 10;
    TRY(limit(RLIMIT_CORE, 0));
    TRY(limit(RLIMIT_NOFILE, SCANNER_FILES));
    if (s->scanner_lifetime)
        TRY(limit(RLIMIT_CPU, cpu));
    if (s->scanner_memory && ADDRESS_SPACE_IS_OURS)
        TRY(limit(RLIMIT_AS, s->scanner_memory));
    return OK;
}

static struct err scanner_prepare(struct role *r, struct buf *explain)
{
    struct scanner *s = mem_alloc(sizeof *s);
    s->role = r;
    r->self = s;
    if (r->index > 0)
        thread_step_back(SCANNER_NICE);
    struct err e = set_limits(r->settings);
    if (e.code) {
        buf_put(explain, STR("the scanner cannot limit itself; check scanner_memory"));
        return e;
    }
    e = mime_charsets_load();
    if (e.code)
        buf_put(explain, STR("ICU cannot load its converters; is libicu's data installed?"));
    return e;
}

static struct err scanner_go(struct role *r, struct buf *explain)
{
    struct scanner *s = r->self;
    s->open = true;
    s->age = timer_new(r->loop, scanner_aged, s);
    timer_set(s->age, r->settings->scanner_lifetime);
    for (size_t i = 0; i < SCANNER_PEERS; i++) {
        if (s->peers[i].chan)
            chan_hold(s->peers[i].chan, false);
    }
    return OK;
}

#ifdef THURN_PROBE
void scanner_probe_send(struct role *r, struct str channel, uint16_t type)
{
    struct scanner *s = r->self;
    struct chan *to = NULL;
    for (size_t i = 0; i < SCANNER_PEERS && str_eq(channel, STR("backend")); i++)
        to = s->peers[i].chan ? s->peers[i].chan : to;
    probe_send_on(r, to, type);
}
#endif

/* A channel that closes with a message in it looks as if the message had been the cause. So the
 * successor comes first, and the backend ends the channels when they are empty. */
static void scanner_stop(struct role *r)
{
    struct scanner *s = r->self;
    if (scanner_has_peers(s))
        scanner_retire(s, STR("told to stop"));
    else
        role_exit(r, 0);
}

const struct role_ops role_scanner = {
    .name = "scanner",
    .kind = THURN__ROLE_KIND__ROLE_SCANNER,
    .prepare = scanner_prepare,
    .peer = scanner_peer,
    .go = scanner_go,
    .stop = scanner_stop,
#ifdef THURN_PROBE
    .probe_send = scanner_probe_send,
#endif
};
