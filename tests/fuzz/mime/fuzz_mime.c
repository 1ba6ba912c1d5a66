/* Whole messages. The first bytes choose the limits, so that small inputs reach them. */
#include "mime/mime.h"

#include "../../unit/mime/record_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct str message, const struct mime_limits *limits, size_t budget)
{
    struct arena a;
    struct mime_result r;
    arena_init(&a, budget);
    struct err e = mime_parse(message, limits, &a, &r);
    check(e.code == E_OK || e.code == E_LIMIT);
    check(e.code == E_OK || budget < 1 << 20);
    if (e.code == E_OK)
        record_check(&r, message);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(str_of(data, size));
    uint8_t mode = cur_byte(&in);
    struct str message = cur_rest(&in);
    static const struct mime_limits tight = {.depth = 3,
                                             .parts = 5,
                                             .fields = 4,
                                             .header_bytes = 100,
                                             .field_text = 10,
                                             .addresses = 3,
                                             .text = 20};
    parse(message, mode & 1 ? &tight : &mime_limits_default, 64 << 20);
    if (mode & 2)
        parse(message, &mime_limits_default, (size_t)mode * 64);
    return 0;
}
