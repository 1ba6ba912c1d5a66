/* What decodes is UTF-8 and encodes to what it was; any UTF-8 survives the way there and back. */
#include "base/base.h"

#include "imap/imap_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_of(data, size);
    struct buf a = {0}, b = {0};
    if (imap_utf7_decode(input, &a).code == E_OK) {
        check(str_is_utf8(buf_str(&a)));
        imap_utf7_encode(buf_str(&a), &b);
        check(str_eq(buf_str(&b), input));
    }
    buf_clear(&a);
    buf_clear(&b);
    imap_utf7_encode(input, &a);
    struct err e = imap_utf7_decode(buf_str(&a), &b);
    check(e.code == E_OK);
    check(!str_is_utf8(input) || str_eq(buf_str(&b), input));
    buf_free(&a);
    buf_free(&b);
    return 0;
}
