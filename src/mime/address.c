/*
 * Address lists, RFC 5322 sections 3.4 and 4.4, as they occur: a token at a time, never failing.
 *
 * Words gather in `phrase` (all of them, as a display name would show) and in `run` (those without
 * white space between, as a local part or domain has them). An '@' makes the run the local part.
 */
#include "mime/mime_int.h"

struct addr {
    struct mime_job *job;
    struct lex lex;
    uint32_t *left;
    struct addr_list to;
    bool in_group;
    /* the address being read */
    struct buf phrase, run, mailbox, host, route;
    size_t name_end;  /* of the phrase: what stands before the local part */
    size_t run_start; /* of the phrase */
    uint32_t runs;
    bool at, has_host, angle, run_dot;
    struct str comment;
};

static void addr_clear(struct addr *p)
{
    buf_clear(&p->phrase);
    buf_clear(&p->run);
    buf_clear(&p->mailbox);
    buf_clear(&p->host);
    buf_clear(&p->route);
    p->name_end = p->run_start = 0;
    p->runs = 0;
    p->at = p->has_host = p->angle = p->run_dot = false;
    p->comment = (struct str){0};
}

/* Room for one more in the list, whose array doubles at each power of two. */
static bool list_grow(struct addr *p)
{
    size_t n = *p->to.n;
    if (n & (n - 1))
        return true;
    Thurn__Address **bigger = mime_job_array(p->job, Thurn__Address *, MAX(2 * n, (size_t)1));
    if (!bigger)
        return false;
    if (n)
        memcpy(bigger, *p->to.items, n * sizeof(Thurn__Address *));
    *p->to.items = bigger;
    return true;
}

static Thurn__Address *addr_add(struct addr *p, Thurn__Address__Kind kind)
{
    bool last = kind == THURN__ADDRESS__KIND__GROUP_END; /* a group that has begun also ends */
    if (*p->left == 0 && !last) {
        p->job->broken |= THURN__EMAIL__BROKEN__LIMIT_REACHED;
        return NULL;
    }
    Thurn__Address *a = mime_job_alloc(p->job, sizeof *a);
    if (!a || !list_grow(p))
        return NULL;
    *a = (Thurn__Address)THURN__ADDRESS__INIT;
    a->kind = kind;
    (*p->to.items)[(*p->to.n)++] = a;
    *p->left -= *p->left > 0;
    return a;
}

static ProtobufCBinaryData keep(struct addr *p, const struct buf *b)
{
    return mime_pb(mime_job_keep(p->job, b));
}

/* The display name: the phrase, else the comment (as in "user@host (Full Name)"). */
static ProtobufCBinaryData addr_name(struct addr *p, size_t phrase_end)
{
    struct str name = str_trim(str_sub(buf_str(&p->phrase), 0, phrase_end));
    struct buf made CLEANUP(buf_free) = {0};
    if (name.n)
        buf_put(&made, name);
    else
        lex_unquote(&made, str_trim(p->comment));
    return keep(p, &made);
}

static void buf_move(struct buf *to, struct buf *from)
{
    buf_clear(to);
    buf_put(to, buf_str(from));
    buf_clear(from);
}

/* Ends the address being read, if there is one. */
static void addr_flush(struct addr *p)
{
    if (p->at && !p->has_host)
        buf_move(&p->host, &p->run);
    bool word = !p->at && !p->angle && p->runs == 1;
    if (p->at || p->angle || p->runs || p->comment.n) {
        Thurn__Address *a = addr_add(p, THURN__ADDRESS__KIND__MAILBOX);
        if (a) {
            a->name = addr_name(p, word ? 0 : p->at && !p->angle ? p->name_end : p->phrase.n);
            a->name_text = mime_pb(mime_decoded(p->job, mime_str(a->name)));
            a->route = keep(p, &p->route);
            a->mailbox = keep(p, word ? &p->run : &p->mailbox);
            a->host = keep(p, &p->host);
        }
    }
    addr_clear(p);
}

static void group_end(struct addr *p)
{
    if (p->in_group)
        (void)addr_add(p, THURN__ADDRESS__KIND__GROUP_END);
    p->in_group = false;
}

static void group_start(struct addr *p)
{
    group_end(p);
    Thurn__Address *a = addr_add(p, THURN__ADDRESS__KIND__GROUP_START);
    if (a)
        a->mailbox = keep(p, &p->phrase);
    p->in_group = a != NULL;
    addr_clear(p);
}

static void put_token(struct buf *b, const struct lex_token *t)
{
    if (t->kind == LEX_QUOTED)
        lex_unquote(b, t->text);
    else
        buf_put(b, t->text);
}

/* Dots bind the words around them in spite of white space (RFC 5322 section 4.4, obs-local-part).
 */
static bool joins(const struct addr *p, const struct lex_token *t)
{
    bool dot = t->kind == LEX_ATOM && t->text.p[0] == '.';
    return !t->spaced || dot || p->run_dot || p->run.n == 0;
}

static void on_word(struct addr *p, const struct lex_token *t)
{
    if (!joins(p, t)) {
        if (p->at && !p->has_host) {
            buf_move(&p->host, &p->run);
            p->has_host = true;
        }
        buf_clear(&p->run);
    }
    if (t->spaced && p->phrase.n)
        buf_byte(&p->phrase, ' ');
    if (p->run.n == 0) {
        p->runs++;
        p->run_start = p->phrase.n;
    }
    put_token(&p->phrase, t);
    put_token(&p->run, t);
    p->run_dot = t->kind == LEX_ATOM && t->text.p[t->text.n - 1] == '.';
}

static void on_at(struct addr *p)
{
    if (p->has_host) { /* "a@b c@d": the comma is missing */
        struct buf run = p->run;
        p->run = (struct buf){0};
        addr_flush(p);
        buf_free(&p->run);
        p->run = run;
        buf_put(&p->phrase, buf_str(&p->run));
    }
    if (p->at) { /* "a@b@c": the last one counts */
        buf_byte(&p->mailbox, '@');
        buf_put(&p->mailbox, buf_str(&p->run));
        buf_clear(&p->run);
    } else {
        buf_move(&p->mailbox, &p->run);
        p->name_end = p->run_start;
    }
    p->at = true;
    p->run_dot = false;
    buf_byte(&p->phrase, '@');
}

/* What has been read of an angle address is a source route: "<@a,@b:user@host>". */
static void angle_route(struct addr *p, bool more)
{
    buf_byte(&p->route, '@');
    buf_put(&p->route, buf_str(&p->run));
    if (more)
        buf_byte(&p->route, ',');
    buf_clear(&p->run);
    p->at = false;
}

/* A special within an angle address; false: it ends there. */
static bool angle_special(struct addr *p, uint8_t c)
{
    bool routed = p->at && p->mailbox.n == 0;
    if (c == '@') {
        if (p->at)
            buf_byte(&p->mailbox, '@');
        buf_put(&p->mailbox, buf_str(&p->run));
        buf_clear(&p->run);
        p->at = true;
    } else if ((c == ',' || c == ':') && routed) {
        angle_route(p, c == ',');
    } else if (c == ':') {
        buf_byte(&p->run, ':');
    } else {
        return c == '<' || (c == ',' && p->route.n && p->run.n == 0);
    }
    return true;
}

/* Reads behind '<'. Leaves in `t` what ended it. */
static void on_angle(struct addr *p, struct lex_token *t)
{
    if (p->angle) /* "<a@b> <c@d>" */
        addr_flush(p);
    buf_clear(&p->run);
    buf_clear(&p->mailbox);
    buf_clear(&p->host);
    p->angle = true;
    p->at = p->has_host = false;
    for (lex_next(&p->lex, t); t->kind != LEX_END; lex_next(&p->lex, t)) {
        if (t->kind == LEX_SPECIAL) {
            if (!angle_special(p, t->special))
                break;
        } else if (t->kind != LEX_COMMENT) {
            if (t->spaced && p->run.n && !p->run_dot && t->text.n && t->text.p[0] != '.')
                buf_byte(&p->run, ' ');
            put_token(&p->run, t);
            p->run_dot = t->kind == LEX_ATOM && t->text.p[t->text.n - 1] == '.';
        }
    }
    buf_move(p->at ? &p->host : &p->mailbox, &p->run);
    p->has_host = true;
    p->at = true;
    if (t->kind == LEX_SPECIAL && t->special == '>')
        lex_next(&p->lex, t);
}

/* A special outside angle brackets, '<' excepted. */
static void on_special(struct addr *p, uint8_t c)
{
    if (c == '@' && !p->angle) {
        on_at(p);
    } else if (c == ':' && !p->at && p->phrase.n) {
        group_start(p);
    } else if (c == ',' || (c == ':' && !p->angle)) {
        addr_flush(p);
    } else if (c == ';') {
        addr_flush(p);
        group_end(p);
    }
}

static void addr_run(struct addr *p)
{
    struct lex_token t;
    lex_next(&p->lex, &t);
    while (t.kind != LEX_END && !p->job->full) {
        if (t.kind == LEX_SPECIAL && t.special == '<') {
            on_angle(p, &t);
            continue;
        }
        if (t.kind == LEX_SPECIAL)
            on_special(p, t.special);
        else if (t.kind == LEX_COMMENT)
            p->comment = t.text;
        else if (!p->angle)
            on_word(p, &t);
        lex_next(&p->lex, &t);
    }
    addr_flush(p);
    group_end(p);
}

void mime_addresses(struct mime_job *j, struct str value, uint32_t *left, struct addr_list to)
{
    struct addr p = {
        .job = j,
        .lex = {.in = cur_of(value), .specials = "<>@,;:"},
        .left = left,
        .to = to,
    };
    addr_run(&p);
    buf_free(&p.phrase);
    buf_free(&p.run);
    buf_free(&p.mailbox);
    buf_free(&p.host);
    buf_free(&p.route);
}
