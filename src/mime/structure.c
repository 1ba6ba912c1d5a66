/*
 * The structure of a message, RFC 2045 and 2046: one walk over its lines, with a stack of the
 * multiparts and messages that are open. The stack is as deep as the limit; nothing recurses.
 */
#include "mime/mime_int.h"

/* An open multipart or message/rfc822. */
struct frame {
    struct mime_node *node;
    struct str boundary; /* empty: a message, or a multipart whose closing delimiter has come */
    uint64_t head, mask; /* the boundary's first eight bytes, and which of them there are */
    bool closed;
};

struct walk {
    struct mime_job *job;
    struct str msg;
    size_t at;
    uint64_t lines; /* line ends before `at` */
    struct frame *frames;
    size_t n_frames;
    size_t n_open;          /* frames with a boundary to look for */
    struct mime_node *leaf; /* the part whose body is being walked; NULL in what is no part */
};

/* A delimiter line. */
struct hit {
    size_t frame, start, next;
    uint64_t lines; /* line ends before it */
    bool closing;
};

/* ------------------------------------------------------------------------------------ the list */

static struct mime_node *node_new(struct walk *w, struct mime_node *parent)
{
    struct mime_job *j = w->job;
    struct mime_node *n = mime_job_alloc(j, sizeof *n);
    if (!n)
        return NULL;
    n->part = (Thurn__Part)THURN__PART__INIT;
    n->part.header_offset = n->part.body_offset = n->part.end_offset = (uint32_t)w->at;
    n->part.type = mime_pb(STR("text"));
    n->part.subtype = mime_pb(STR("plain"));
    n->part.encoding = mime_pb(STR("7bit"));
    n->parent = parent;
    n->index = j->n_parts++;
    if (parent) {
        n->part.parent = parent->index;
        n->part.depth = parent->part.depth + 1;
        parent->has_child = true;
        j->last->next = n;
    } else {
        j->first = n;
    }
    j->last = n;
    return n;
}

/* Sets where the part ends, at least behind its beginning: the line end before a delimiter is the
 * delimiter's, even if it is also the one that ends the part's header. Returns that place. */
static size_t node_end(struct mime_node *n, size_t end, uint64_t lines)
{
    Thurn__Part *p = &n->part;
    if (n->header_cut && end < p->body_offset)
        p->body_offset = (uint32_t)MAX(end, (size_t)p->header_offset);
    p->end_offset = (uint32_t)MAX(end, (size_t)p->body_offset);
    p->lines = p->end_offset > p->body_offset ? (uint32_t)(lines - n->body_lines) : 0;
    return p->end_offset;
}

/* ---------------------------------------------------------------------------------------- lines */

/* Goes to `to`, counting the line ends. */
static void walk_over(struct walk *w, size_t to)
{
    while (w->at < to) {
        const uint8_t *lf = memchr(w->msg.p + w->at, '\n', to - w->at);
        if (!lf)
            break;
        if (lf == w->msg.p || lf[-1] != '\r')
            w->job->broken |= THURN__EMAIL__BROKEN__BARE_LF;
        w->lines++;
        w->at = (size_t)(lf - w->msg.p) + 1;
    }
    w->at = to;
}

static size_t line_end(const struct walk *w, size_t at)
{
    size_t lf = str_find_byte(w->msg, '\n', at);
    return lf < w->msg.n ? lf + 1 : w->msg.n;
}

/* Where the line begins whose first byte is at `at`, less the line end before it. */
static size_t before_line_end(const struct walk *w, size_t at)
{
    if (at == 0 || w->msg.p[at - 1] != '\n')
        return at;
    return at >= 2 && w->msg.p[at - 2] == '\r' ? at - 2 : at - 1;
}

/* ---------------------------------------------------------------------------------- delimiters */

static uint64_t first_eight(struct str s)
{
    uint64_t v = 0;
    if (s.n)
        memcpy(&v, s.p, MIN(s.n, sizeof v));
    return v;
}

/*
 * The open frame whose boundary stands at the beginning of `line`; n_frames if there is none. What
 * follows it on the line does not matter (RFC 2046 section 5.1.1). Of several the longest is
 * meant, so that "ab" is not taken for "a"; of equal ones the innermost. Boundaries hold no line
 * end, so none reaches beyond the line.
 */
static size_t find_frame(const struct walk *w, struct str line)
{
    uint64_t head = first_eight(line);
    size_t best = w->n_frames, best_n = 0;
    for (size_t i = w->n_frames; i-- > 0;) {
        const struct frame *f = &w->frames[i];
        size_t n = f->boundary.n;
        if (n > best_n && (head & f->mask) == f->head && n <= line.n &&
            memcmp(line.p, f->boundary.p, n) == 0) {
            best = i;
            best_n = n;
        }
    }
    return best;
}

/* Whether the line at w->at, which has not been counted yet, is a delimiter of an open frame. */
static bool is_delimiter(struct walk *w, struct hit *hit)
{
    size_t at = w->at;
    const uint8_t *p = w->msg.p;
    if (w->n_open == 0 || w->msg.n - at < 2 || p[at] != '-' || p[at + 1] != '-' ||
        (at > 0 && p[at - 1] != '\n'))
        return false;
    struct str line = str_skip(w->msg, at + 2);
    size_t frame = find_frame(w, line);
    if (frame == w->n_frames)
        return false;
    struct str behind = str_skip(line, w->frames[frame].boundary.n);
    *hit = (struct hit){.frame = frame,
                        .start = at,
                        .next = line_end(w, at),
                        .lines = w->lines,
                        .closing = str_starts(behind, STR("--"))};
    return true;
}

static void walk_line(struct walk *w)
{
    const uint8_t *lf = memchr(w->msg.p + w->at, '\n', w->msg.n - w->at);
    if (!lf) {
        w->at = w->msg.n;
        return;
    }
    if (lf == w->msg.p || lf[-1] != '\r')
        w->job->broken |= THURN__EMAIL__BROKEN__BARE_LF;
    w->lines++;
    w->at = (size_t)(lf - w->msg.p) + 1;
}

/* Walks to the next delimiter of an open frame; false at the end of the message. */
static bool walk_to_delimiter(struct walk *w, struct hit *hit)
{
    while (w->at < w->msg.n && w->n_open) {
        if (is_delimiter(w, hit))
            return true;
        walk_line(w);
    }
    walk_over(w, w->msg.n);
    return false;
}

/* --------------------------------------------------------------------------------------- frames */

static bool is_type(const Thurn__Part *p, struct str type, struct str subtype)
{
    return str_eq(mime_str(p->type), type) && str_eq(mime_str(p->subtype), subtype);
}

/* An encoding that hides lines cannot stand on what has parts (RFC 2045 section 6.4): a message
 * that is encoded all the same is opaque; on multiparts it is nearly always a lie. */
static bool is_encoded(const Thurn__Part *p)
{
    struct str e = mime_str(p->encoding);
    return str_eq(e, STR("base64")) || str_eq(e, STR("quoted-printable"));
}

static bool is_message(const Thurn__Part *p)
{
    return (is_type(p, STR("message"), STR("rfc822")) ||
            is_type(p, STR("message"), STR("global"))) &&
           !is_encoded(p);
}

static bool has_room(struct walk *w, const struct mime_node *n)
{
    if (n->part.depth < w->job->limits->depth && w->job->n_parts < w->job->limits->parts)
        return true;
    w->job->broken |= THURN__EMAIL__BROKEN__LIMIT_REACHED;
    return false;
}

static void frame_push(struct walk *w, struct mime_node *n, struct str boundary)
{
    struct frame *f = &w->frames[w->n_frames++];
    *f = (struct frame){.node = n, .boundary = boundary, .head = first_eight(boundary)};
    memset(&f->mask, 0xFF, MIN(boundary.n, sizeof f->mask));
    w->n_open += boundary.n > 0;
}

/* A multipart without any part shows its body as one, so that it has the part that every multipart
 * has (RFC 3501 section 9, body-type-mpart) and what was written can be read. */
static void add_implied_part(struct walk *w, struct mime_node *multipart)
{
    struct mime_node *n = node_new(w, multipart);
    if (!n)
        return;
    n->part.header_offset = n->part.body_offset = multipart->part.body_offset;
    n->part.end_offset = multipart->part.end_offset;
    n->part.lines = multipart->part.lines;
}

/* Ends everything inside the first `keep` frames at `end`, before which there are `lines` line
 * ends. A part that begins with a delimiter line cannot end before it: that line end is counted,
 * then, for those it stands in. */
static void frames_pop(struct walk *w, size_t keep, size_t end, uint64_t lines)
{
    size_t limit = end;
    if (w->leaf)
        end = node_end(w->leaf, end, lines);
    w->leaf = NULL;
    while (w->n_frames > keep) {
        struct frame *f = &w->frames[--w->n_frames];
        end = node_end(f->node, end, lines + (end > limit));
        w->n_open -= f->boundary.n > 0;
        if (!f->node->part.multipart)
            continue;
        if (!f->closed)
            w->job->broken |= THURN__EMAIL__BROKEN__NO_END_BOUNDARY;
        if (!f->node->has_child)
            add_implied_part(w, f->node);
    }
}

/* -------------------------------------------------------------------------------------- header */

/* What SEARCH compares instead of the value's bytes. */
static struct str field_text(struct mime_job *j, struct str value)
{
    if (!mime_needs_decoding(value))
        return (struct str){0};
    struct str text = mime_decoded(j, mime_unfold(j, value));
    if (text.n > j->limits->field_text - j->field_text) {
        j->broken |= THURN__EMAIL__BROKEN__LIMIT_REACHED;
        return (struct str){0};
    }
    j->field_text += (uint32_t)text.n;
    return text;
}

static void add_field(struct mime_job *j, const struct mime_field *f, size_t offset)
{
    struct mime_field_node *n = mime_job_alloc(j, sizeof *n);
    if (!n)
        return;
    n->field = (Thurn__HeaderField)THURN__HEADER_FIELD__INIT;
    n->field.name = mime_pb(f->name);
    n->field.offset = (uint32_t)offset;
    n->field.length = (uint32_t)f->whole.n;
    n->field.text = mime_pb(field_text(j, f->value));
    if (j->last_field)
        j->last_field->next = n;
    else
        j->fields = n;
    j->last_field = n;
    j->n_fields++;
}

/* Walks over the fields; returns how many there are. Ends before the empty line, a delimiter, or
 * where the limit cuts. */
static uint32_t walk_fields(struct walk *w, struct mime_header *h, bool top)
{
    const struct mime_limits *limits = w->job->limits;
    size_t cut = w->msg.n - w->at > limits->header_bytes ? w->at + limits->header_bytes : w->msg.n;
    struct cur in = {.s = str_sub(w->msg, 0, cut), .at = w->at};
    struct mime_field f;
    struct hit hit;
    uint32_t n = 0, lines = 0;
    while (!is_delimiter(w, &hit) && mime_field_next(&in, &f)) {
        size_t offset = w->at;
        walk_over(w, in.at);
        if (lines++ == limits->fields)
            w->job->broken |= THURN__EMAIL__BROKEN__LIMIT_REACHED;
        if (lines > limits->fields)
            continue;
        mime_header_take(h, &f);
        n += f.name.n > 0;
        if (top && f.name.n)
            add_field(w->job, &f, offset);
    }
    if (w->at == cut && cut < w->msg.n)
        w->job->broken |= THURN__EMAIL__BROKEN__LIMIT_REACHED;
    return n;
}

/* Takes the empty line that ends a header, if it is there. */
static bool walk_empty_line(struct walk *w)
{
    size_t n = w->msg.n - w->at;
    const uint8_t *p = w->msg.p + w->at;
    if (n >= 1 && p[0] == '\n')
        walk_over(w, w->at + 1);
    else if (n >= 2 && p[0] == '\r' && p[1] == '\n')
        walk_over(w, w->at + 2);
    else
        return false;
    return true;
}

/* The envelope that the part's header fills in: the message's, or that of the message/rfc822 it
 * stands in; NULL for a part that is no message. */
static Thurn__Envelope *envelope_of(struct walk *w, struct mime_node *n)
{
    if (n->parent && !n->parent->part.message)
        return NULL;
    Thurn__Envelope *e = mime_job_alloc(w->job, sizeof *e);
    if (!e)
        return NULL;
    *e = (Thurn__Envelope)THURN__ENVELOPE__INIT;
    if (n->parent)
        n->parent->part.envelope = e;
    else
        w->job->envelope = e;
    return e;
}

static void walk_header(struct walk *w, struct mime_node *n)
{
    if (n->parent && n->parent->part.multipart &&
        str_eq(mime_str(n->parent->part.subtype), STR("digest"))) { /* RFC 2046 section 5.1.5 */
        n->part.type = mime_pb(STR("message"));
        n->part.subtype = mime_pb(STR("rfc822"));
    }
    struct mime_header h = {.job = w->job,
                            .part = &n->part,
                            .boundary = &n->boundary,
                            .envelope = envelope_of(w, n),
                            .addresses_left = w->job->limits->addresses};
    size_t start = w->at;
    uint64_t lines = w->lines;
    uint32_t fields = walk_fields(w, &h, n->parent == NULL);
    if (fields == 0 && w->at > start) { /* lines, but none of them a field: it is the body */
        w->at = start;
        w->lines = lines;
    } else {
        n->header_cut = !walk_empty_line(w);
    }
    n->part.body_offset = (uint32_t)w->at;
    n->body_lines = w->lines;
}

/* ------------------------------------------------------------------------------------- the walk */

/* Goes into parts from the one that begins here to the first that is no message. What comes next
 * is a body. */
static void walk_into(struct walk *w, struct mime_node *parent)
{
    struct mime_node *n = node_new(w, parent);
    for (; n; n = node_new(w, n)) {
        walk_header(w, n);
        bool message = is_message(&n->part);
        bool multipart = str_eq(mime_str(n->part.type), STR("multipart"));
        if ((!message && !multipart) || !has_room(w, n)) {
            w->leaf = n;
            return;
        }
        n->part.message = message;
        n->part.multipart = multipart;
        frame_push(w, n, multipart ? n->boundary : (struct str){0});
        if (multipart)
            return;
    }
}

static void on_delimiter(struct walk *w, const struct hit *hit)
{
    bool stripped = before_line_end(w, hit->start) < hit->start;
    frames_pop(w, hit->frame + 1, before_line_end(w, hit->start), hit->lines - stripped);
    walk_over(w, hit->next);
    struct frame *f = &w->frames[hit->frame];
    if (hit->closing) {
        f->closed = true;
        f->boundary = (struct str){0};
        w->n_open--;
    } else if (w->at < w->msg.n) { /* a delimiter at the very end begins nothing */
        if (w->job->n_parts < w->job->limits->parts)
            walk_into(w, f->node);
        else
            w->job->broken |= THURN__EMAIL__BROKEN__LIMIT_REACHED;
    }
}

void mime_walk(struct mime_job *j)
{
    struct walk w = {.job = j, .msg = j->msg};
    w.frames = mime_job_alloc(j, ((size_t)j->limits->depth + 1) * sizeof *w.frames);
    if (!w.frames)
        return;
    walk_into(&w, NULL);
    struct hit hit;
    while (!j->full && walk_to_delimiter(&w, &hit))
        on_delimiter(&w, &hit);
    frames_pop(&w, 0, j->msg.n, w.lines);
}
