#include "smtp/smtp_wire.h"

bool smtp_line_next(struct smtp_lines *l, struct buf *in, struct str *out, bool *too_long)
{
    struct str have = buf_str(in);
    size_t end = str_find_byte(have, '\n', 0);
    if (end == have.n) {
        if (l->dropping || have.n >= SMTP_LINE_MAX) {
            l->dropping = true;
            buf_consume(in, have.n);
        }
        return false;
    }
    *too_long = l->dropping || end + 1 > SMTP_LINE_MAX;
    l->dropping = false;
    struct str line = str_sub(have, 0, *too_long ? 0 : end);
    *out = str_sub(line, 0, line.n - str_ends(line, STR("\r")));
    buf_consume(in, end + 1);
    return true;
}

/* What the byte before the next one was. */
enum {
    DATA_LINE_START, /* CR LF, or nothing yet */
    DATA_TEXT,
    DATA_CR,     /* a CR that was passed on */
    DATA_DOT,    /* the dot at the start of a line, not passed on */
    DATA_DOT_CR, /* that dot and a CR, neither passed on */
};

struct data_run {
    struct str in;
    size_t from; /* first byte not passed on */
    void (*put)(void *arg, struct str bytes);
    void *arg;
};

static void data_put(struct data_run *r, size_t to)
{
    if (to > r->from)
        r->put(r->arg, str_sub(r->in, r->from, to));
    r->from = to;
}

/* From within a line to the next that begins with a dot, or to the end of the input: however short
 * the lines are, what is between costs the same. */
static size_t data_skip_text(struct smtp_data *d, struct str in, size_t at)
{
    size_t begin = at;
    while ((at = str_find_pair(in, '\n', '.', at)) < in.n) {
        if (at++ > begin && in.p[at - 2] == '\r') {
            d->state = DATA_LINE_START;
            return at;
        }
    }
    struct str text = str_skip(in, begin);
    d->state = str_ends(text, STR("\r\n")) ? DATA_LINE_START
               : str_ends(text, STR("\r")) ? DATA_CR
                                           : DATA_TEXT;
    return in.n;
}

/* Behind a dot and CR. True at the end of the message; else the CR was text after all. */
static bool data_after_dot_cr(struct smtp_data *d, struct data_run *r, size_t at)
{
    if (r->in.p[at] == '\n') {
        d->state = DATA_LINE_START;
        return true;
    }
    r->put(r->arg, STR("\r"));
    r->from = at;
    d->state = DATA_CR;
    return false;
}

size_t smtp_data_feed(struct smtp_data *d, struct str in, void (*put)(void *arg, struct str bytes),
                      void *arg, bool *ended)
{
    struct data_run r = {.in = in, .put = put, .arg = arg};
    *ended = false;
    for (size_t at = 0; at < in.n;) {
        uint8_t c = in.p[at];
        switch (d->state) {
        case DATA_LINE_START:
            if (c == '.') {
                data_put(&r, at);
                r.from = ++at;
                d->state = DATA_DOT;
            } else {
                at = data_skip_text(d, in, at);
            }
            break;
        case DATA_CR:
            if (c == '\n') {
                at++;
                d->state = DATA_LINE_START;
            } else {
                at = data_skip_text(d, in, at);
            }
            break;
        case DATA_DOT:
            if (c == '\r') {
                r.from = ++at;
                d->state = DATA_DOT_CR;
            } else {
                at = data_skip_text(d, in, at);
            }
            break;
        case DATA_DOT_CR:
            if (data_after_dot_cr(d, &r, at)) {
                *ended = true;
                return at + 1;
            }
            break;
        default: at = data_skip_text(d, in, at); break;
        }
    }
    data_put(&r, in.n);
    return in.n;
}

struct str smtp_chunk_next(struct smtp_chunk *c, struct buf *in)
{
    size_t n = (size_t)MIN((uint64_t)in->n, c->left);
    struct str bytes = str_sub(buf_str(in), 0, n);
    buf_consume(in, n);
    c->left -= n;
    return bytes;
}
