/* Message data: any cut gives the same message, and the same as a slow and obvious parser. */
#include "smtp/smtp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_put(void *arg, struct str bytes)
{
    check(bytes.n > 0);
    buf_put(arg, bytes);
}

static size_t fuzz_feed(struct str input, size_t step, struct buf *message, bool *ended)
{
    struct smtp_data d = {0};
    size_t used = 0;
    *ended = false;
    while (used < input.n && !*ended) {
        struct str piece = str_sub(input, used, used + step);
        size_t n = smtp_data_feed(&d, piece, fuzz_put, message, ended);
        check(n == piece.n || *ended);
        used += n;
    }
    return used;
}

/* Goes by lines that end with CR LF; what is behind the last one counts only if it is not a dot or
 * a dot and CR, which nobody can judge yet. */
static size_t fuzz_model(struct str input, struct buf *message, bool *ended)
{
    *ended = false;
    for (size_t at = 0; at < input.n;) {
        size_t end = str_find(input, STR("\r\n"), at);
        bool whole = end < input.n;
        struct str line = str_sub(input, at, end);
        at = whole ? end + 2 : input.n;
        if (whole && str_eq(line, STR("."))) {
            *ended = true;
            return at;
        }
        if (!whole && str_eq(line, STR(".\r")))
            return at;
        buf_put(message, str_skip(line, str_starts(line, STR(".")) ? 1 : 0));
        if (whole)
            buf_put(message, STR("\r\n"));
    }
    return input.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str input = str_of(data + 1, size - 1);
    struct buf model CLEANUP(buf_free) = {0};
    bool ended;
    size_t used = fuzz_model(input, &model, &ended);
    const size_t steps[] = {MAX(input.n, (size_t)1), 1, (size_t)data[0] + 1};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct buf message CLEANUP(buf_free) = {0};
        bool also_ended;
        check(fuzz_feed(input, steps[i], &message, &also_ended) == used);
        check(also_ended == ended);
        check(str_eq(buf_str(&message), buf_str(&model)));
    }
    return 0;
}
