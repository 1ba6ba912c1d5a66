/* A compressed stream in pieces, with little room at a time. Input: lengths of piece and room, then
 * the stream. Where it is cut changes nothing. */
#include "base/base.h"

#include "net/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 20 };

/* What comes out up to the first failure, which is returned. */
static enum errc inflate_all(struct str in, size_t piece, size_t room, struct buf *out)
{
    struct zip *z = zip_new();
    struct unzip u = {0};
    struct err e = OK;
    while (in.n && e.code == E_OK && out->n < MOST) {
        struct str s = str_sub(in, 0, piece);
        in = str_skip(in, s.n);
        size_t n = room;
        while (e.code == E_OK && out->n < MOST && (s.n || n == room)) {
            uint8_t *p = buf_room(out, room);
            check(p != NULL);
            n = 0;
            e = unzip_some(z, &u, &s, p, room, &n);
            buf_added(out, e.code == E_OK ? n : 0);
        }
    }
    unzip_free(&u);
    zip_free(z);
    return e.code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur c = cur_of(str_of(data, size));
    size_t piece = (size_t)cur_byte(&c) + 1, room = ((size_t)cur_byte(&c) + 1) * 16;
    struct str in = cur_rest(&c);
    struct buf cut = {0}, whole = {0};
    enum errc a = inflate_all(in, piece, room, &cut), b = inflate_all(in, in.n + 1, MOST, &whole);
    if (a == E_OK && b == E_OK) {
        size_t n = MIN(MIN(cut.n, whole.n), (size_t)MOST);
        check(n == MOST || cut.n == whole.n);
        check(str_eq(str_sub(buf_str(&cut), 0, n), str_sub(buf_str(&whole), 0, n)));
    }
    buf_free(&cut);
    buf_free(&whole);
    return 0;
}
