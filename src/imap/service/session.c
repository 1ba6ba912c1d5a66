/* A session, the table of its requests, and how a request runs in slices. */
#include "base/base.h"
#include "imap/service/service.h"

/* What a single request may use of memory: listings of very many mailboxes, large sets. */
enum { COMMAND_BUDGET = 64 * 1024 * 1024 };

/* ------------------------------------------------------------------------------ what requests need
 */

static enum imap_needs needs_nothing(const struct imap_session *s, const ProtobufCMessage *m)
{
    (void)s, (void)m;
    return IMAP_NEEDS_NOTHING;
}

static enum imap_needs needs_writer(const struct imap_session *s, const ProtobufCMessage *m)
{
    (void)s, (void)m;
    return IMAP_NEEDS_WRITER;
}

static enum imap_needs needs_scan(const struct imap_session *s, const ProtobufCMessage *m)
{
    (void)s, (void)m;
    return IMAP_NEEDS_SCAN;
}

static enum imap_needs needs_hashing(const struct imap_session *s, const ProtobufCMessage *m)
{
    (void)s, (void)m;
    return IMAP_NEEDS_HASHING;
}

static enum imap_needs needs_writer_unless_read_only(const struct imap_session *s,
                                                     const ProtobufCMessage *m)
{
    (void)m;
    return s->at.read_only ? IMAP_NEEDS_NOTHING : IMAP_NEEDS_WRITER;
}

static enum imap_needs needs_of_close(const struct imap_session *s, const ProtobufCMessage *m)
{
    const Thurn__ImapClose *close = (const void *)m;
    return close->expunge ? needs_writer_unless_read_only(s, m) : IMAP_NEEDS_NOTHING;
}

static enum imap_needs needs_of_fetch(const struct imap_session *s, const ProtobufCMessage *m)
{
    const Thurn__ImapFetch *fetch = (const void *)m;
    return fetch->set_seen ? needs_writer_unless_read_only(s, m) : IMAP_NEEDS_NOTHING;
}

/* clang-format off */
#define IMAP_REQUESTS(X)                                                                           \
    X(LOGIN,     NOT_AUTHENTICATED, needs_hashing, TELLS_NOTHING, login,     "RFC 3501 6.2.3")     \
    X(SELECT,    LOGGED_IN, needs_nothing,         TELLS_NOTHING, select,    "RFC 3501 6.3.1")     \
    X(CLOSE,     SELECTED,  needs_of_close,        TELLS_NOTHING, close,     "RFC 3501 6.4.2")     \
    X(CREATE,    LOGGED_IN, needs_writer,          TELLS_ALL,     create,    "RFC 3501 6.3.3")     \
    X(DELETE,    LOGGED_IN, needs_writer,          TELLS_ALL,     delete,    "RFC 3501 6.3.4")     \
    X(RENAME,    LOGGED_IN, needs_writer,          TELLS_ALL,     rename,    "RFC 3501 6.3.5")     \
    X(SUBSCRIBE, LOGGED_IN, needs_writer,          TELLS_ALL,     subscribe, "RFC 3501 6.3.6")     \
    X(LIST,      LOGGED_IN, needs_nothing,         TELLS_ALL,     list,      "RFC 3501 6.3.8")     \
    X(STATUS,    LOGGED_IN, needs_nothing,         TELLS_ALL,     status,    "RFC 3501 6.3.10")    \
    X(APPEND,    LOGGED_IN, needs_scan,            TELLS_ALL,     append,    "RFC 3501 6.3.11")    \
    X(NOOP,      ANY_STATE, needs_nothing,         TELLS_ALL,     noop,      "RFC 3501 6.1.2")     \
    X(EXPUNGE,   SELECTED,  needs_writer_unless_read_only, TELLS_ALL, expunge, "RFC 3501 6.4.3")   \
    X(SEARCH,    SELECTED,  needs_nothing, TELLS_UNLESS_BY_SEQ,   search,    "RFC 3501 6.4.4")     \
    X(FETCH,     SELECTED,  needs_of_fetch, TELLS_UNLESS_BY_SEQ,  fetch,     "RFC 3501 6.4.5")     \
    X(STORE,     SELECTED,  needs_writer_unless_read_only, TELLS_UNLESS_BY_SEQ, store,             \
                                                                             "RFC 3501 6.4.6")     \
    X(COPY,      SELECTED,  needs_writer,          TELLS_ALL,     copy,      "RFC 3501 6.4.7")     \
    X(ENABLE,    LOGGED_IN, needs_nothing,         TELLS_ALL,     enable,    "RFC 5161")             \
    X(QUOTA,     LOGGED_IN, needs_nothing,         TELLS_ALL,     quota,     "RFC 9208")             \
    X(APPEND_CHECK, LOGGED_IN, needs_nothing,      TELLS_NOTHING, append_check, "RFC 3501 6.3.11")
/* clang-format on */

#define IMAP_REQUEST_ROW(NAME, states_, needs_, tells_, name, rfc_)                                \
    {.frame = RPC_IMAP_##NAME,                                                                     \
     .states = (states_),                                                                          \
     .needs = (needs_),                                                                            \
     .tells = (tells_),                                                                            \
     .run = name##_run,                                                                            \
     .rfc = (rfc_)},
static const struct request requests[] = {IMAP_REQUESTS(IMAP_REQUEST_ROW)};

/* The row of a frame that is allowed now; NULL if it is not. */
static const struct request *request_allowed(const struct imap_session *s, const struct frame *f)
{
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        if (requests[i].frame == f->type->number)
            return requests[i].states & s->state ? &requests[i] : NULL;
    return NULL;
}

/* ----------------------------------------------------------------------------------- the session
 */

struct imap_session *imap_session_new(const struct imap_host *host, void *host_session,
                                      bool may_authenticate)
{
    struct imap_session *s = mem_alloc(sizeof *s);
    s->host = host;
    s->host_session = host_session;
    s->may_authenticate = may_authenticate;
    s->state = NOT_AUTHENTICATED;
    arena_init(&s->cmd.arena, COMMAND_BUDGET);
    return s;
}

void imap_session_free(struct imap_session *s)
{
    check(!s->cmd.request);
    session_unselect(s);
    if (s->account)
        account_close(s->account);
    buf_free(&s->record);
    buf_free(&s->sealed);
    free(s);
}

account_id imap_session_account(const struct imap_session *s)
{
    return s->account_id;
}

void session_unselect(struct imap_session *s)
{
    view_free(&s->view);
    view_free(&s->recent);
    s->at = (struct imap_resume){0};
    s->keywords_told = 0;
    if (s->state == SELECTED)
        s->state = AUTHENTICATED;
}

/* ----------------------------------------------------------------------------------- the command
 */

enum imap_needs imap_request_needs(const struct imap_session *s, const struct frame *f)
{
    const struct request *r = request_allowed(s, f);
    return r ? r->needs(s, f->message) : IMAP_FORBIDDEN;
}

/* What the slice before has left, if nothing has changed since. */
static void command_snap_renew(struct imap_session *s)
{
    if (s->cmd.snap && snap_modseq(s->cmd.snap).v != account_modseq(s->account).v)
        command_snap_drop(&s->cmd);
}

struct err command_snap(struct imap_session *s, struct snap **out)
{
    if (!s->cmd.snap)
        TRY(snap_open(s->account, &s->cmd.snap));
    *out = s->cmd.snap;
    return OK;
}

void command_snap_drop(struct command *c)
{
    if (c->snap)
        snap_close(c->snap);
    c->snap = NULL;
}

bool command_must_yield(const struct imap_session *s)
{
    return s->cmd.slice_sent >= s->host->slice_bytes || clock_mono_us() >= s->cmd.slice_end ||
           !s->host->room(s->host_session);
}

bool command_send(struct imap_session *s, uint16_t type, const ProtobufCMessage *m, struct str raw,
                  size_t bytes)
{
    s->cmd.slice_sent += bytes;
    struct err e = s->host->send(s->host_session, type, s->cmd.frame->serial, m, raw);
    if (e.code != E_OK)
        s->cmd.broken = true;
    return !s->cmd.broken;
}

bool command_no(struct command *c, Thurn__Code code, struct str text)
{
    thurn__status__init(&c->status);
    c->status.code = code;
    c->status.text = pb_bytes(text);
    return true;
}

static struct str err_sentence(struct err e)
{
    switch (e.code) {
    case E_NOTFOUND: return STR("Mailbox does not exist");
    case E_EXISTS: return STR("Mailbox already exists");
    case E_DENIED: return STR("Not permitted");
    case E_INVALID: return STR("The request makes no sense");
    case E_LIMIT: return STR("A limit of this server has been reached");
    case E_CONFLICT: return STR("In use by another request, try again");
    case E_UNSUPPORTED: return STR("Not supported");
    case E_QUOTA: return STR("Your quota is used up: delete something, or ask for more");
    case E_FULL: return STR("The server's storage is full, try again later");
    case E_CORRUPT: return STR("Stored data is damaged, please tell the administrator");
    default: return STR("Temporary failure, try again later");
    }
}

bool command_failed(struct imap_session *s, struct err e)
{
    check(e.code != E_OK);
    if (e.code == E_IO || e.code == E_CORRUPT || e.code == E_FULL)
        log_error("imap.request_failed", LF_U64("account", s->account_id.v),
                  LF_U64("mailbox", s->at.mailbox.v), LF_C("request", s->cmd.frame->type->name),
                  LF_ERR(e));
    return command_no(&s->cmd, rpc_code(e), err_sentence(e));
}

struct err command_own(struct command *c, modseq m)
{
    struct modseq_list *l = &c->own;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        modseq *more = arena_array(&c->arena, modseq, cap);
        if (!more)
            return err_make(E_LIMIT, "no room for a list of changes");
        if (l->n)
            memcpy(more, l->items, l->n * sizeof *more);
        l->items = more;
        l->cap = cap;
    }
    l->items[l->n++] = m;
    return OK;
}

bool command_owns(const struct command *c, modseq m)
{
    size_t lo = 0, hi = c->own.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->own.items[mid].v < m.v)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < c->own.n && c->own.items[lo].v == m.v;
}

static void command_begin(struct imap_session *s, const struct request *r, struct frame *f)
{
    struct command *c = &s->cmd;
    c->request = r;
    c->frame = f;
    thurn__imap_done__init(&c->done);
    thurn__status__init(&c->status);
}

/* Forgets the request. */
static void command_reset(struct command *c)
{
    command_snap_drop(c);
    if (c->release)
        c->release(c->state);
    struct arena arena = c->arena;
    arena_free(&arena);
    *c = (struct command){.arena = arena};
}

static bool counts_by_seq(const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *type = m->descriptor;
    if (type == &thurn__imap_search__descriptor)
        return !((const Thurn__ImapSearch *)(const void *)m)->uid;
    const Thurn__ImapSet *set = NULL;
    if (type == &thurn__imap_fetch__descriptor)
        set = ((const Thurn__ImapFetch *)(const void *)m)->set;
    else if (type == &thurn__imap_store__descriptor)
        set = ((const Thurn__ImapStore *)(const void *)m)->set;
    return !set || !set->uid;
}

/* Updates, then the end of the answer. */
static void command_finish(struct imap_session *s)
{
    struct command *c = &s->cmd;
    command_snap_drop(c);
    if (c->broken)
        return;
    enum tells tells = c->request->tells;
    if (tells != TELLS_NOTHING) {
        bool expunges = tells == TELLS_ALL || !counts_by_seq(c->frame->message);
        struct err e = session_tell(s, c->frame->serial, expunges);
        if (e.code != E_OK && e.code != E_CLOSED)
            log_warn("imap.updates_failed", LF_U64("account", s->account_id.v),
                     LF_U64("mailbox", s->at.mailbox.v), LF_ERR(e));
    }
    if (s->qresync && c->expunged) /* it has been told all up to there */
        c->done.highest_modseq = s->at.expunged_at.v;
    c->done.status = &c->status;
    if (s->account)
        c->done.resume = session_record(s, &s->at, s->view.count);
    command_send(s, RPC_IMAP_DONE, &c->done.base, (struct str){0}, 0);
}

/* The session has ended: its record no longer holds, or the account is not to be used. */
static void command_bye(struct imap_session *s, struct frame *f, struct err why)
{
    Thurn__Status status = THURN__STATUS__INIT;
    Thurn__ImapBye bye = THURN__IMAP_BYE__INIT;
    status.code = rpc_code(why);
    bool told = why.code == E_DENIED || why.code == E_NOTFOUND || why.code == E_CONFLICT;
    status.text = pb_bytes(told ? str_c(why.why) : err_sentence(why));
    bye.status = &status;
    log_info("imap.session_not_resumed", LF_U64("account", s->account_id.v),
             LF_U64("mailbox", s->at.mailbox.v), LF_ERR(why));
    (void)s->host->send(s->host_session, RPC_IMAP_BYE, f->serial, &bye.base, (struct str){0});
}

enum imap_run imap_session_run(struct imap_session *s, struct frame *f,
                               const struct imap_scanned *scanned)
{
    struct command *c = &s->cmd;
    bool fresh = !c->request;
    struct err restored = s->restoring ? session_restore(s) : OK;
    if (restored.code != E_OK) {
        command_bye(s, f, restored);
        return IMAP_RUN_DONE;
    }
    if (fresh) {
        const struct request *r = request_allowed(s, f);
        check(r);
        command_begin(s, r, f);
    }
    check(c->frame == f);
    c->scanned = scanned;
    c->slice_sent = 0;
    c->slice_end = clock_mono_us() + s->host->slice_us;
    command_snap_renew(s);
    bool done = (fresh && command_repeat(s)) || c->request->run(s, c);
    if (!done && !c->broken)
        return IMAP_RUN_YIELD;
    command_finish(s);
    command_reset(c);
    return IMAP_RUN_DONE;
}

void imap_session_rest(struct imap_session *s)
{
    command_snap_drop(&s->cmd);
}

void imap_session_cancel(struct imap_session *s)
{
    if (s->cmd.request)
        command_reset(&s->cmd);
}

/* ------------------------------------------------------------------------------ simple requests */

bool login_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapLogin *login = (const void *)c->frame->message;
    struct principal who;
    if (!s->may_authenticate)
        return command_no(c, THURN__CODE__DENIED, STR("Passwords are accepted under TLS only"));
    struct err e =
        s->host->authenticate(s->host_session, pb_str(login->user), pb_str(login->password), &who);
    if (e.code == E_OK)
        e = account_open(s->host->store, who.account, &s->account);
    if (e.code == E_DENIED || e.code == E_NOTFOUND || e.code == E_INVALID)
        return command_no(c, THURN__CODE__DENIED, STR("User name or password is wrong"));
    if (e.code != E_OK)
        return command_failed(s, e);
    s->account_id = who.account;
    s->credential_generation = who.credential_generation;
    s->state = AUTHENTICATED;
    return true;
}

bool noop_run(struct imap_session *s, struct command *c)
{
    (void)s, (void)c;
    return true;
}

void session_enable_condstore(struct imap_session *s)
{
    if (s->condstore)
        return;
    s->condstore = true;
    if (s->state != SELECTED)
        return;
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    u.highest_modseq = s->at.expunged_at.v;
    (void)command_send(s, RPC_IMAP_UPDATES, &u.base, (struct str){0}, 16);
}

bool enable_run(struct imap_session *s, struct command *c)
{
    const Thurn__ImapEnable *enable = (const void *)c->frame->message;
    if (enable->extensions & THURN__EXTENSION__EXTENSION_CONDSTORE)
        session_enable_condstore(s);
    if (enable->extensions & THURN__EXTENSION__EXTENSION_QRESYNC)
        session_enable_qresync(s);
    return true;
}
