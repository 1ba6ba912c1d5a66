/* Encoded words: the result is UTF-8, and decoding what is plain text changes nothing. */
#include "mime/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    arena_init(&a, 64 << 20);
    struct str out = mime_decode_words(str_of(data, size), &a);
    check(size == 0 || out.p != NULL);
    check(str_is_utf8(out));
    if (str_find(out, STR("=?"), 0) == out.n)
        check(str_eq(mime_decode_words(out, &a), out));
    arena_free(&a);
    return 0;
}
