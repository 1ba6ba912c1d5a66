/* Chunks of BDAT between commands, and line ends: any cut of the input gives the same message, and
 * the same as a slow and obvious reading. */
#include "smtp/smtp_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_put(void *arg, struct str bytes)
{
    buf_put(arg, bytes);
}

/* Commands and chunks as the frontend takes them; `seen` gets the lines and the chunks' bytes. */
static void fuzz_chunks(struct str input, size_t step, struct buf *seen)
{
    struct buf in CLEANUP(buf_free) = {0};
    struct smtp_lines lines = {0};
    struct smtp_chunk chunk = {0};
    struct str line;
    bool too_long;
    for (size_t at = 0; at < input.n; at += step) {
        buf_put(&in, str_sub(input, at, at + step));
        for (;;) {
            buf_put(seen, smtp_chunk_next(&chunk, &in));
            if (chunk.left || !smtp_line_next(&lines, &in, &line, &too_long))
                break;
            struct arena a CLEANUP(arena_free);
            arena_init(&a, 4 * KB);
            struct smtp_command c;
            struct smtp_reply bad;
            buf_printf(seen, "[%.*s]", STR_FMT(line));
            if (!too_long && smtp_parse(line, SMTP_MX, &a, &c, &bad) && c.verb == SMTP_BDAT)
                chunk.left = c.size;
        }
    }
}

static void fuzz_newlines(struct str input, size_t step, bool normalize, struct buf *out,
                          bool *bare)
{
    struct smtp_newlines n = {.normalize = normalize};
    for (size_t at = 0; at < input.n; at += step)
        smtp_newlines_feed(&n, str_sub(input, at, at + step), fuzz_put, out);
    smtp_newlines_end(&n, fuzz_put, out);
    *bare = n.bare;
}

static bool fuzz_model(struct str input, struct buf *out)
{
    struct cur c = cur_of(input);
    bool bare = false;
    while (!cur_end(&c)) {
        if (cur_accept_str(&c, STR("\r\n"))) {
            buf_put(out, STR("\r\n"));
        } else if (cur_accept(&c, '\r') || cur_accept(&c, '\n')) {
            buf_put(out, STR("\r\n"));
            bare = true;
        } else {
            buf_byte(out, cur_byte(&c));
        }
    }
    return bare;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str input = str_of(data + 1, size - 1);
    struct buf whole CLEANUP(buf_free) = {0}, model CLEANUP(buf_free) = {0};
    fuzz_chunks(input, MAX(input.n, (size_t)1), &whole);
    bool bare = fuzz_model(input, &model);
    const size_t steps[] = {MAX(input.n, (size_t)1), 1, (size_t)data[0] + 1};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct buf pieces CLEANUP(buf_free) = {0}, normal CLEANUP(buf_free) = {0},
                          same CLEANUP(buf_free) = {0};
        bool found[2];
        fuzz_chunks(input, steps[i], &pieces);
        check(str_eq(buf_str(&pieces), buf_str(&whole)));
        fuzz_newlines(input, steps[i], true, &normal, &found[0]);
        fuzz_newlines(input, steps[i], false, &same, &found[1]);
        check(found[0] == bare && found[1] == bare);
        check(str_eq(buf_str(&normal), buf_str(&model)));
        check(str_eq(buf_str(&same), input));
    }
    return 0;
}
