#include "mime/mime_int.h"

static bool is_space(uint8_t c)
{
    return c <= ' ' || c == 127;
}

/* The index of the byte that ends what was opened before `at`; n if there is none. Backslashes
 * escape; with `open` the delimiters nest. */
static size_t find_close(struct str s, size_t at, uint8_t open, uint8_t close)
{
    size_t depth = 1;
    for (size_t i = at; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c == '\\')
            i++;
        else if (c == close && --depth == 0)
            return i;
        else if (open && c == open)
            depth++;
    }
    return s.n;
}

/* Takes `"..."`, `(...)` or `[...]`; false if it is not closed, so that it is text. */
static bool take_enclosed(struct lex *l, uint8_t nesting, uint8_t close, bool *dead,
                          struct str *out)
{
    if (*dead)
        return false;
    size_t at = l->in.at + 1, end = find_close(l->in.s, at, nesting, close);
    if (end == l->in.s.n) {
        *dead = true;
        return false;
    }
    *out = str_sub(l->in.s, at, end);
    cur_skip(&l->in, end + 1 - l->in.at);
    return true;
}

static bool is_special(const struct lex *l, uint8_t c)
{
    return c != 0 && strchr(l->specials, c) != NULL;
}

static bool ends_atom(const struct lex *l, uint8_t c)
{
    return is_space(c) || is_special(l, c) || (c == '"' && !l->no_quote) ||
           (c == '(' && !l->no_comment);
}

void lex_next(struct lex *l, struct lex_token *out)
{
    *out = (struct lex_token){.kind = LEX_END};
    while (!cur_end(&l->in) && is_space((uint8_t)cur_peek(&l->in))) {
        cur_skip(&l->in, 1);
        out->spaced = true;
    }
    if (cur_end(&l->in))
        return;
    uint8_t c = (uint8_t)cur_peek(&l->in);
    size_t start = l->in.at;
    if (c == '"' && take_enclosed(l, 0, '"', &l->no_quote, &out->text)) {
        out->kind = LEX_QUOTED;
    } else if (c == '(' && take_enclosed(l, '(', ')', &l->no_comment, &out->text)) {
        out->kind = LEX_COMMENT;
    } else if (c == '[' && take_enclosed(l, 0, ']', &l->no_literal, &out->text)) {
        out->kind = LEX_LITERAL;
        out->text = str_sub(l->in.s, start, l->in.at);
    } else if (is_special(l, c)) {
        cur_skip(&l->in, 1);
        out->kind = LEX_SPECIAL;
        out->special = c;
    } else {
        do
            cur_skip(&l->in, 1);
        while (!cur_end(&l->in) && !ends_atom(l, (uint8_t)cur_peek(&l->in)));
        out->kind = LEX_ATOM;
        out->text = str_sub(l->in.s, start, l->in.at);
    }
}

void lex_unquote(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\' && i + 1 < text.n)
            i++;
        uint8_t c = text.p[i];
        if (c != '\r' && c != '\n')
            buf_byte(out, c ? c : ' ');
    }
}
