#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is accepted must encode to exactly the same text again: there is one way to write it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf plain CLEANUP(buf_free) = {0}, text CLEANUP(buf_free) = {0};
    struct str in = str_of(data, n);
    if (base64_decode(&plain, in).code == E_OK) {
        base64_encode(&text, buf_str(&plain));
        check(str_eq(buf_str(&text), in));
    } else {
        check(plain.n == 0);
    }
    buf_clear(&plain);
    buf_clear(&text);
    base64_encode(&text, in);
    check(base64_decode(&plain, buf_str(&text)).code == E_OK);
    check(str_eq(buf_str(&plain), in));
    return 0;
}
