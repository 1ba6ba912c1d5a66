#include "store/model.h"

#include <zstd.h>

/*
 * The decoded text of an email: account, codec, then
 *
 *   0   the text
 *   1   its length, and the text as one frame of zstd (RFC 8878)
 *
 * Short ones stand as they are: compressing them costs more than it gives.
 */
enum { CODEC_NONE = 0, CODEC_ZSTD = 1 };
enum { TEXT_SHORT = 8 << 10, LEVEL = 1, GAIN_PART = 8 };

/* Whether it has become smaller by enough to be worth the unpacking. */
static bool put_compressed(struct buf *out, struct str text)
{
    size_t before = out->n, enough = text.n - text.n / GAIN_PART;
    buf_byte(out, CODEC_ZSTD);
    buf_varint(out, text.n);
    uint8_t *room = buf_room(out, enough);
    size_t n = room ? ZSTD_compress(room, enough, text.p, text.n, LEVEL) : 0;
    if (room && !ZSTD_isError(n)) {
        buf_added(out, n);
        return true;
    }
    buf_cut(out, before);
    return false;
}

void text_pack(struct buf *out, account_id a, struct str text)
{
    buf_varint(out, a.v);
    if (text.n > TEXT_SHORT && put_compressed(out, text))
        return;
    buf_byte(out, CODEC_NONE);
    buf_put(out, text);
}

struct err text_unpack(struct str value, account_id a, struct arena *arena, struct str *out)
{
    struct err damaged = err_make(E_CORRUPT, "the text of an email is damaged");
    struct cur c = cur_of(value);
    row_expect_account(&c, a);
    uint8_t codec = cur_byte(&c);
    uint64_t n = codec == CODEC_ZSTD ? cur_varint(&c) : 0;
    struct str rest = cur_rest(&c);
    if (c.bad || codec > CODEC_ZSTD)
        return damaged;
    if (codec == CODEC_NONE) {
        *out = rest;
        return OK;
    }
    if (ZSTD_getFrameContentSize(rest.p, rest.n) != n)
        return damaged;
    uint8_t *p = arena_alloc(arena, (size_t)n);
    if (!p)
        return err_make(E_LIMIT, "no room for the text of an email");
    if (ZSTD_decompress(p, (size_t)n, rest.p, rest.n) != n)
        return damaged;
    *out = str_of(p, (size_t)n);
    return OK;
}
