#include "base/base.h"
#include "imap/service/finder.h"

#include <unicode/ucasemap.h>

enum { PIECE = 32 * 1024 };

static UCaseMap *case_map(void)
{
    static _Atomic(UCaseMap *) shared; /* immutable once made, for the life of the process */
    UCaseMap *map = atomic_load(&shared);
    if (map)
        return map;
    UErrorCode status = U_ZERO_ERROR;
    UCaseMap *made = ucasemap_open("", U_FOLD_CASE_DEFAULT, &status);
    if (U_FAILURE(status))
        return NULL;
    if (atomic_compare_exchange_strong(&shared, &map, made))
        return made;
    ucasemap_close(made);
    return map;
}

/* Appends the folded text; at most PIECE bytes and some. */
static bool fold_into(struct buf *out, struct str text)
{
    UCaseMap *map = case_map();
    int32_t room = (int32_t)text.n * 4 + 16; /* folding makes three characters of one at most */
    uint8_t *p = map ? buf_room(out, (size_t)room) : NULL;
    if (!p)
        return false;
    UErrorCode status = U_ZERO_ERROR;
    int32_t n =
        ucasemap_utf8FoldCase(map, (char *)p, room, (const char *)text.p, (int32_t)text.n, &status);
    if (U_FAILURE(status) || n > room)
        return false;
    buf_added(out, (size_t)n);
    return true;
}

static void lower_into(struct buf *out, struct str text)
{
    uint8_t *p = buf_room(out, text.n);
    if (!p)
        return;
    for (size_t i = 0; i < text.n; i++)
        p[i] = byte_lower(text.p[i]);
    buf_added(out, text.n);
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 0x80)
            return false;
    return true;
}

struct err needle_make(struct str text, struct arena *a, struct needle *out)
{
    struct buf folded CLEANUP(buf_free) = {0};
    bool unicode = !is_ascii(text) && str_is_utf8(text);
    if (!unicode)
        lower_into(&folded, text);
    else
        for (struct str rest = text; rest.n; rest = str_skip(rest, MIN(rest.n, PIECE)))
            if (!fold_into(&folded, str_sub(rest, 0, PIECE)))
                return err_make(E_LIMIT, "a search text cannot be folded");
    struct str copy = str_dup(a, buf_str(&folded));
    if (folded.bad || copy.n != folded.n)
        return err_make(E_LIMIT, "no room for a search text");
    *out = (struct needle){.folded = copy, .unicode = unicode};
    return OK;
}

void finder_free(struct finder *f)
{
    buf_free(&f->window);
}

void finder_begin(struct finder *f, const struct needle *needle)
{
    f->needle = needle;
    f->n_cut = 0;
    f->found = needle->folded.n == 0;
    buf_clear(&f->window);
}

/* How many bytes at the end begin a character that is not complete. */
static size_t cut_bytes(struct str s)
{
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        uint8_t c = s.p[s.n - back];
        if (c < 0x80)
            return 0;
        if (c >= 0xC0) {
            size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
            return length > back ? back : 0;
        }
    }
    return 0;
}

static void feed_unicode(struct finder *f, struct str piece)
{
    uint8_t joined[PIECE + sizeof f->cut];
    memcpy(joined, f->cut, f->n_cut);
    str_copy_to(joined + f->n_cut, piece);
    struct str all = str_of(joined, f->n_cut + piece.n);
    f->n_cut = cut_bytes(all);
    struct str whole = str_sub(all, 0, all.n - f->n_cut);
    memcpy(f->cut, all.p + whole.n, f->n_cut);
    if (!fold_into(&f->window, whole))
        f->window.bad = true;
}

static void finder_piece(struct finder *f, struct str piece)
{
    if (f->needle->unicode)
        feed_unicode(f, piece);
    else
        lower_into(&f->window, piece);
    struct str window = buf_str(&f->window), what = f->needle->folded;
    f->found = window.p && memmem(window.p, window.n, what.p, what.n);
    if (window.n >= what.n)
        buf_consume(&f->window, window.n - (what.n - 1));
}

bool finder_feed(struct finder *f, struct str piece)
{
    while (piece.n && !f->found) {
        finder_piece(f, str_sub(piece, 0, PIECE));
        piece = str_skip(piece, PIECE);
    }
    return f->found;
}

bool finder_in(struct finder *f, const struct needle *needle, struct str text)
{
    finder_begin(f, needle);
    return finder_feed(f, text);
}
