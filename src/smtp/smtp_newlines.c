#include "smtp/smtp_wire.h"

/* The rest of a line from `at` on has no CR or LF before `*to`, where one stands or the input ends.
 * `lf` remembers where the next LF is, so that a row of CRs is not searched again and again. */
static size_t newlines_next(struct str in, size_t at, size_t *lf)
{
    if (*lf < at)
        *lf = str_find_byte(in, '\n', at);
    struct str before = str_sub(in, at, *lf);
    size_t cr = str_find_byte(before, '\r', 0);
    return at + cr;
}

/* A bare CR or LF: the bytes before it are passed on, and CR LF instead of it. */
static void newlines_replace(struct smtp_newlines *n, struct str before,
                             void (*put)(void *arg, struct str bytes), void *arg)
{
    n->bare = true;
    if (!n->normalize)
        return;
    if (before.n)
        put(arg, before);
    put(arg, STR("\r\n"));
}

/* The usual case, in which nothing is to be done: found out at once, however short the lines are.
 */
static bool newlines_all_good(struct smtp_newlines *n, struct str in,
                              void (*put)(void *arg, struct str bytes), void *arg)
{
    if (n->bare && !n->normalize) { /* what else is in it does not matter */
        n->cr = false;
        put(arg, in);
        return true;
    }
    size_t begin = n->cr && in.p[0] == '\n';
    bool cr = in.n > begin && in.p[in.n - 1] == '\r';
    if ((n->cr && !begin) || !str_pairs_only(str_sub(in, begin, in.n - cr), '\r', '\n'))
        return false;
    if (n->cr && n->normalize)
        put(arg, STR("\r"));
    n->cr = cr;
    struct str known = str_sub(in, 0, in.n - (cr && n->normalize));
    if (known.n)
        put(arg, known);
    return true;
}

void smtp_newlines_feed(struct smtp_newlines *n, struct str in,
                        void (*put)(void *arg, struct str bytes), void *arg)
{
    size_t from = 0, lf = 0; /* what is before `from` has been passed on */
    if (!in.n || newlines_all_good(n, in, put, arg))
        return;
    lf = str_find_byte(in, '\n', 0);
    for (size_t at = 0; at < in.n;) {
        if (n->cr) { /* the byte before `at` */
            n->cr = false;
            if (in.p[at] == '\n') {
                if (n->normalize && at == 0)
                    put(arg, STR("\r"));
                at++;
                continue;
            }
            newlines_replace(n, str_sub(in, from, at ? at - 1 : 0), put, arg);
            from = n->normalize ? at : from;
        }
        at = newlines_next(in, at, &lf);
        if (at == in.n)
            break;
        n->cr = in.p[at] == '\r';
        if (!n->cr) {
            newlines_replace(n, str_sub(in, from, at), put, arg);
            from = n->normalize ? at + 1 : from;
        }
        at++;
    }
    size_t to = in.n - (n->cr && n->normalize);
    if (to > from)
        put(arg, str_sub(in, from, to));
}

void smtp_newlines_end(struct smtp_newlines *n, void (*put)(void *arg, struct str bytes), void *arg)
{
    if (n->cr)
        newlines_replace(n, (struct str){0}, put, arg);
    n->cr = false;
}
