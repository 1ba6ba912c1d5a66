/* The values of header fields, each as every kind of field. */
#include "mime/mime_int.h"

#include "../../unit/mime/record_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_date(struct str value)
{
    int64_t seconds;
    int32_t zone;
    if (mime_date(value, &seconds, &zone))
        check(zone > -24 * 60 && zone < 24 * 60);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"To",      "Content-Type",     "Content-Disposition",
                                        "Subject", "Content-Language", "Content-Transfer-Encoding"};
    struct str value = str_of(data, size);
    check_date(value);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct buf message CLEANUP(buf_free) = {0};
        buf_printf(&message, "%s:", names[i]);
        buf_put(&message, value);
        struct arena a;
        struct mime_result r;
        arena_init(&a, 64 << 20);
        struct err e = mime_parse(buf_str(&message), &mime_limits_default, &a, &r);
        check(e.code == E_OK);
        record_check(&r, buf_str(&message));
        arena_free(&a);
    }
    return 0;
}
