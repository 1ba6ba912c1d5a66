/* Bodies decoded in pieces. Input: the coding, the length of the pieces, then the body. Where it is
 * cut changes nothing, and nothing grows but base64's last group. */
#include "mime/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(enum mime_coding coding, struct str in, size_t piece, struct buf *out)
{
    struct mime_decoder d = {0};
    mime_decoder_begin(&d, coding);
    for (; in.n; in = str_skip(in, MIN(piece, in.n)))
        mime_decoder_put(&d, str_sub(in, 0, piece), out);
    mime_decoder_end(&d, out);
    mime_decoder_free(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur c = cur_of(str_of(data, size));
    enum mime_coding coding = (enum mime_coding)(cur_byte(&c) % 3);
    size_t piece = (size_t)cur_byte(&c) + 1;
    struct str body = cur_rest(&c);
    struct buf cut = {0}, whole = {0};
    decode(coding, body, piece, &cut);
    decode(coding, body, body.n + 1, &whole);
    check(str_eq(buf_str(&cut), buf_str(&whole)));
    check(whole.n <= body.n);
    buf_free(&cut);
    buf_free(&whole);
    return 0;
}
