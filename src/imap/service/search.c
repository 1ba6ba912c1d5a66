/* SEARCH (RFC 3501 section 6.4.4): the program, and its run over the mailbox. */
#include "base/base.h"
#include "imap/service/search.h"

enum {
    SEARCH_DEPTH = 64,
    SEARCH_TEXTS = 64, /* terms that read text */
    SEARCH_NUMBERS = 4096,
    MESSAGE_BUDGET = 256 * 1024 * 1024, /* record and text of one message */
    DAY = 86400,
};

/* ------------------------------------------------------------------------------------ the program
 */

static enum search_round round_of(Thurn__SearchOp op)
{
    switch (op) {
    case THURN__SEARCH_OP__SEARCH_SENTBEFORE:
    case THURN__SEARCH_OP__SEARCH_SENTON:
    case THURN__SEARCH_OP__SEARCH_SENTSINCE:
    case THURN__SEARCH_OP__SEARCH_FROM:
    case THURN__SEARCH_OP__SEARCH_TO:
    case THURN__SEARCH_OP__SEARCH_CC:
    case THURN__SEARCH_OP__SEARCH_BCC:
    case THURN__SEARCH_OP__SEARCH_SUBJECT: return SEARCH_RECORD;
    case THURN__SEARCH_OP__SEARCH_HEADER:
    case THURN__SEARCH_OP__SEARCH_BODY:
    case THURN__SEARCH_OP__SEARCH_TEXT: return SEARCH_CONTENT;
    default: return SEARCH_ENTRY;
    }
}

/* Which column answers a term; false if none does. */
static bool listing_field_of(const struct term *t, enum listing_field *out)
{
    switch (t->op) {
    case THURN__SEARCH_OP__SEARCH_FROM: *out = LISTING_FROM; return true;
    case THURN__SEARCH_OP__SEARCH_TO: *out = LISTING_TO; return true;
    case THURN__SEARCH_OP__SEARCH_CC: *out = LISTING_CC; return true;
    case THURN__SEARCH_OP__SEARCH_BCC: *out = LISTING_BCC; return true;
    case THURN__SEARCH_OP__SEARCH_SUBJECT: *out = LISTING_SUBJECT; return true;
    case THURN__SEARCH_OP__SEARCH_SENTBEFORE:
    case THURN__SEARCH_OP__SEARCH_SENTON:
    case THURN__SEARCH_OP__SEARCH_SENTSINCE: *out = LISTING_SENT; return true;
    case THURN__SEARCH_OP__SEARCH_HEADER: break;
    default: return false;
    }
    /* The column has the id without the white space around it. */
    *out = LISTING_MESSAGE_ID;
    for (size_t i = 0; i < t->needle.folded.n; i++)
        if (t->needle.folded.p[i] <= ' ')
            return false;
    return str_ieq(t->name, STR("message-id"));
}

static struct err term_compile(const Thurn__SearchNode *n, const struct view *v, struct arena *a,
                               struct program *p, struct term *t)
{
    *t = (struct term){.op = n->op,
                       .round = round_of(n->op),
                       .number = n->number,
                       .date = n->date,
                       .name =
                           pb_str(n->op == THURN__SEARCH_OP__SEARCH_KEYWORD ? n->text : n->header)};
    if (n->op == THURN__SEARCH_OP__SEARCH_SET)
        return uid_set_compile(n->set, v, true, a, &t->set);
    if (t->round == SEARCH_ENTRY)
        return OK;
    if (t->round == SEARCH_CONTENT && ++p->n_texts > SEARCH_TEXTS)
        return err_make(E_LIMIT, "too many search texts");
    TRY(needle_make(pb_str(n->text), a, &t->needle));
    t->cost = listing_field_of(t, &t->field) ? COST_LISTING : COST_CONTENT;
    return OK;
}

static uint32_t children_of(const Thurn__SearchNode *n)
{
    switch (n->op) {
    case THURN__SEARCH_OP__SEARCH_AND:
    case THURN__SEARCH_OP__SEARCH_OR: return n->children;
    case THURN__SEARCH_OP__SEARCH_NOT: return 1;
    default: return 0;
    }
}

/* Compiles the node at p->n and those below it. */
static struct err node_compile(const Thurn__ImapSearch *in, const struct view *v, struct arena *a,
                               unsigned depth, struct program *p)
{
    if (p->n == in->n_nodes)
        return err_make(E_INVALID, "a search program ends too early");
    if (depth == SEARCH_DEPTH)
        return err_make(E_LIMIT, "a search program is too deep");
    const Thurn__SearchNode *n = in->nodes[p->n];
    struct term *t = &p->terms[p->n++];
    TRY(term_compile(n, v, a, p, t));
    for (uint32_t i = children_of(n); i > 0; i--) {
        size_t child = p->n;
        TRY(node_compile(in, v, a, depth + 1, p));
        t->cost = MAX(t->cost, p->terms[child].cost);
    }
    t->end = p->n;
    return OK;
}

struct err program_compile(const Thurn__ImapSearch *in, const struct view *v, struct arena *a,
                           struct program *out)
{
    struct program p = {.terms = arena_array(a, struct term, in->n_nodes)};
    if (in->n_nodes == 0)
        return err_make(E_INVALID, "an empty search program");
    if (!p.terms)
        return err_make(E_LIMIT, "no room for a search program");
    while (p.n < in->n_nodes)
        TRY(node_compile(in, v, a, 0, &p));
    *out = p;
    return OK;
}

void program_set_keywords(struct program *p, const Thurn__Mailbox *m)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->terms[i].op == THURN__SEARCH_OP__SEARCH_KEYWORD)
            p->terms[i].keyword = keyword_find(m, p->terms[i].name);
}

const struct uid_set *program_scope(const struct program *p, const struct view *v)
{
    const struct uid_set *best = NULL;
    uint32_t best_count = UINT32_MAX;
    /* Roots must all match, and so must what stands in them as long as it is AND. */
    for (size_t i = 0; i < p->n;) {
        const struct term *t = &p->terms[i];
        if (t->op == THURN__SEARCH_OP__SEARCH_SET) {
            uint32_t count = uid_set_count(&t->set, v, best_count);
            best = count < best_count ? &t->set : best;
            best_count = MIN(count, best_count);
        }
        i = t->op == THURN__SEARCH_OP__SEARCH_AND ? i + 1 : t->end;
    }
    return best;
}

/* ------------------------------------------------------------------------------------ the answer
 */

enum answer { NO, YES, UNKNOWN };

static int64_t day_of(int64_t seconds)
{
    return seconds / DAY - (seconds % DAY < 0);
}

static bool is_recent(const struct imap_session *s, const struct entry *e)
{
    return view_seq(&s->recent, e->uid).v != 0;
}

bool term_in_entry(const struct term *t, const struct imap_session *s, const struct entry *e)
{
    int64_t day = day_of(e->internal_date);
    switch (t->op) {
    case THURN__SEARCH_OP__SEARCH_FLAG:
        return t->number == THURN__SYSTEM_FLAG__FLAG_RECENT ? is_recent(s, e)
                                                            : (e->flags & t->number) != 0;
    case THURN__SEARCH_OP__SEARCH_KEYWORD: return (e->keywords & t->keyword) != 0;
    case THURN__SEARCH_OP__SEARCH_SET: return uid_set_has(&t->set, e->uid);
    case THURN__SEARCH_OP__SEARCH_LARGER: return e->size > t->number;
    case THURN__SEARCH_OP__SEARCH_SMALLER: return e->size < t->number;
    case THURN__SEARCH_OP__SEARCH_BEFORE: return day < t->date;
    case THURN__SEARCH_OP__SEARCH_ON: return day == t->date;
    case THURN__SEARCH_OP__SEARCH_SINCE: return day >= t->date;
    case THURN__SEARCH_OP__SEARCH_NEW:
        return is_recent(s, e) && !(e->flags & THURN__SYSTEM_FLAG__FLAG_SEEN);
    case THURN__SEARCH_OP__SEARCH_OLD: return !is_recent(s, e);
    case THURN__SEARCH_OP__SEARCH_MODSEQ: return e->modseq.v >= t->number;
    default: return t->op == THURN__SEARCH_OP__SEARCH_ALL;
    }
}

static enum answer term_eval(const struct program *p, size_t at, struct candidate *c,
                             enum search_round round);

/* Terms from `at` to `end`, joined by AND or OR: `decides` is the answer that needs no other. */
static enum answer terms_eval(const struct program *p, size_t at, size_t end, enum answer decides,
                              struct candidate *c, enum search_round round)
{
    enum answer all = decides == NO ? YES : NO;
    for (; at < end; at = p->terms[at].end) {
        enum answer one = term_eval(p, at, c, round);
        if (one == decides)
            return one;
        if (one == UNKNOWN)
            all = UNKNOWN;
    }
    return all;
}

static enum answer term_eval(const struct program *p, size_t at, struct candidate *c,
                             enum search_round round)
{
    const struct term *t = &p->terms[at];
    enum answer one;
    switch (t->op) {
    case THURN__SEARCH_OP__SEARCH_AND: return terms_eval(p, at + 1, t->end, NO, c, round);
    case THURN__SEARCH_OP__SEARCH_OR: return terms_eval(p, at + 1, t->end, YES, c, round);
    case THURN__SEARCH_OP__SEARCH_NOT:
        one = term_eval(p, at + 1, c, round);
        return one == UNKNOWN ? UNKNOWN : one == YES ? NO : YES;
    default: break;
    }
    if (t->round > round)
        return UNKNOWN;
    bool yes = t->round == SEARCH_ENTRY    ? term_in_entry(t, c->session, &c->entry)
               : t->round == SEARCH_RECORD ? term_in_envelope(t, c)
                                           : term_in_content(t, c);
    return yes ? YES : NO;
}

static struct err candidate_load(struct candidate *c)
{
    TRY(snap_email(c->snap, c->entry.email, c->arena, &c->email));
    c->record = (void *)pb_unpack(c->arena, &thurn__email__descriptor, pb_str(c->email->record));
    return c->record ? OK : err_make(E_CORRUPT, "a record cannot be unpacked");
}

struct err program_match(const struct program *p, struct candidate *c, bool *out)
{
    for (enum search_round round = SEARCH_ENTRY; round <= SEARCH_CONTENT; round++) {
        enum answer a = terms_eval(p, 0, p->n, NO, c, round);
        TRY(c->failed);
        if (a != UNKNOWN) {
            *out = a == YES;
            return OK;
        }
        if (round == SEARCH_ENTRY)
            TRY(candidate_load(c));
    }
    return err_make(E_INVALID, "a search program without answer");
}

/* ------------------------------------------------------------------------------------ the request
 */

/* All matches so far, in the order of their numbers. */
struct found {
    uint32_t count, min, max;
    uint64_t modseq, min_modseq, max_modseq;
};

struct searching {
    struct program program;
    struct uid_set all;
    struct cursor cursor;
    struct search_batch batch;
    struct finder finder;
    struct arena message;
    uint32_t *numbers;
    size_t n_numbers, numbers_max;
    uint8_t *piece; /* NULL: no message has been asked yet */
    bool damaged;
    struct found found;
};

static void searching_release(void *state)
{
    struct searching *se = state;
    search_batch_free(&se->batch);
    finder_free(&se->finder);
    arena_free(&se->message);
    free(se->piece);
}

static bool program_asks_modseq(const struct program *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->terms[i].op == THURN__SEARCH_OP__SEARCH_MODSEQ)
            return true;
    return false;
}

static struct err searching_begin(struct imap_session *s, const Thurn__ImapSearch *search)
{
    struct command *c = &s->cmd;
    struct searching *se = arena_new(&c->arena, struct searching);
    if (!se)
        return err_make(E_LIMIT, "no room for SEARCH");
    arena_init(&se->message, MESSAGE_BUDGET);
    TRY(program_compile(search, &s->view, &c->arena, &se->program));
    if (program_asks_modseq(&se->program))
        session_enable_condstore(s);
    const struct uid_set *scope = program_scope(&se->program, &s->view);
    if (!scope) {
        TRY(uid_set_all(&s->view, &c->arena, &se->all));
        scope = &se->all;
    }
    TRY(cursor_init(&se->cursor, scope, &s->view, &c->arena));
    uint32_t most = uid_set_count(scope, &s->view, SEARCH_NUMBERS) + 1;
    TRY(search_batch_init(&se->batch, MIN(most, (uint32_t)ENTRY_BLOCK), &c->arena));
    se->numbers_max = MIN(most, (uint32_t)SEARCH_NUMBERS);
    se->numbers = arena_array(&c->arena, uint32_t, se->numbers_max);
    if (!se->numbers)
        return err_make(E_LIMIT, "no room for SEARCH");
    c->state = se;
    c->release = searching_release;
    return OK;
}

/* RFC 4731 section 3.2: of the messages that the answer names. */
static uint64_t found_modseq(const struct found *f, uint32_t returns)
{
    bool min = returns & THURN__SEARCH_RETURN__RETURN_MIN;
    bool max = returns & THURN__SEARCH_RETURN__RETURN_MAX;
    if (returns == 0 ||
        returns & (THURN__SEARCH_RETURN__RETURN_ALL | THURN__SEARCH_RETURN__RETURN_COUNT))
        return f->modseq;
    return MAX(min ? f->min_modseq : 0, max ? f->max_modseq : 0);
}

static void found_add(struct found *f, uint32_t number, modseq at)
{
    if (f->count++ == 0) {
        f->min = number;
        f->min_modseq = at.v;
    }
    f->max = number;
    f->max_modseq = at.v;
    f->modseq = MAX(f->modseq, at.v);
}

static bool numbers_send(struct imap_session *s, struct searching *se, bool last)
{
    const Thurn__ImapSearch *search = (const void *)s->cmd.frame->message;
    Thurn__ImapNumbers m = THURN__IMAP_NUMBERS__INIT;
    m.n_numbers = se->n_numbers;
    m.numbers = se->numbers;
    se->n_numbers = 0;
    bool asks_modseq = program_asks_modseq(&se->program);
    if (last && (search->returns || asks_modseq)) {
        m.last = true;
        m.min = se->found.min;
        m.max = se->found.max;
        m.count = se->found.count;
        m.modseq = asks_modseq ? found_modseq(&se->found, search->returns) : 0;
    }
    return (m.n_numbers == 0 && !m.last) ||
           command_send(s, RPC_IMAP_NUMBERS, &m.base, (struct str){0}, m.n_numbers * 4);
}

static void search_found(struct imap_session *s, struct searching *se, const struct entry *e)
{
    const Thurn__ImapSearch *search = (const void *)s->cmd.frame->message;
    uint32_t number = search->uid ? e->uid.v : view_seq(&s->view, e->uid).v;
    found_add(&se->found, number, e->modseq);
    if (!search->returns || search->returns & THURN__SEARCH_RETURN__RETURN_ALL)
        se->numbers[se->n_numbers++] = number;
}

/* Asks the message itself. */
static bool search_message(struct imap_session *s, struct searching *se, struct snap *snap,
                           const struct entry *e)
{
    bool match = false;
    if (!se->piece)
        se->piece = mem_alloc(SEARCH_PIECE);
    struct candidate c = {.session = s,
                          .snap = snap,
                          .entry = *e,
                          .arena = &se->message,
                          .finder = &se->finder,
                          .piece = se->piece};
    struct err failed = program_match(&se->program, &c, &match);
    if (c.email)
        arena_free(&se->message);
    if (failed.code == E_OK)
        return match;
    se->damaged = true;
    log_error("imap.message_unreadable", LF_U64("account", s->account_id.v),
              LF_U64("mailbox", s->at.mailbox.v), LF_U64("uid", e->uid.v), LF_ERR(failed));
    return false;
}

/* What is left of a batch when the slice is used up is read again. */
static struct err searching_batch(struct imap_session *s, struct searching *se, struct snap *snap,
                                  bool *more)
{
    const Thurn__ImapSearch *search = (const void *)s->cmd.frame->message;
    struct search_batch *b = &se->batch;
    TRY(cursor_take(&se->cursor, snap, s->at.mailbox, &s->view, b->rows, b->cap, &b->n));
    TRY(search_batch_answer(&se->program, s, snap, b));
    *more = b->n > 0;
    bool full = false;
    for (size_t i = 0; i < b->n && *more && !full; i++) {
        bool open = !bits_has(&b->yes, i) && !bits_has(&b->no, i);
        if (open ? search_message(s, se, snap, &b->rows[i]) : bits_has(&b->yes, i))
            search_found(s, se, &b->rows[i]);
        if (search->returns == THURN__SEARCH_RETURN__RETURN_MIN && se->found.count)
            *more = false;
        full = se->n_numbers == se->numbers_max || (open && command_must_yield(s));
        if (full)
            cursor_back(&se->cursor, b->rows[i].uid);
    }
    return OK;
}

static struct err searching_slice(struct imap_session *s, struct searching *se, bool *more)
{
    check(se);
    struct snap *snap;
    Thurn__Mailbox *m;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    TRY(command_snap(s, &snap));
    TRY(session_mailbox(s, snap, &a, &m));
    program_set_keywords(&se->program, m);
    cursor_rest(&se->cursor);
    do {
        TRY(searching_batch(s, se, snap, more));
        if ((!*more || se->n_numbers == se->numbers_max) && !numbers_send(s, se, !*more))
            return err_make(E_CLOSED, "the client's channel is gone");
    } while (*more && !command_must_yield(s));
    return OK;
}

bool search_run(struct imap_session *s, struct command *c)
{
    struct err e = c->state ? OK : searching_begin(s, (const void *)c->frame->message);
    if (e.code == E_INVALID)
        return command_no(c, THURN__CODE__INVALID, STR("The search makes no sense"));
    if (e.code == E_LIMIT)
        return command_no(c, THURN__CODE__LIMIT_EXCEEDED, STR("The search is too complex"));
    bool more = false;
    if (e.code == E_OK)
        e = searching_slice(s, c->state, &more);
    if (e.code != E_OK)
        return command_failed(s, e);
    const struct searching *se = c->state;
    check(se);
    if (!more && se->damaged)
        command_no(c, THURN__CODE__CORRUPT,
                   STR("Some messages could not be read, please tell the administrator"));
    return !more;
}
