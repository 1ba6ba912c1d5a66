/*
 * Arbitrary bytes as a segment of the log. The first byte chooses whether the checksums are made
 * right beforehand, as far as groups and records can be made out, so that what stands behind them
 * is reached as well.
 */
#include "store/engine_private.h"

static struct str file;

static int memory_open(const struct store_disk *d, const char *path, int flags, mode_t mode)
{
    return 3;
}

static int memory_close(const struct store_disk *d, int fd)
{
    return 0;
}

static ssize_t memory_pread(const struct store_disk *d, int fd, void *p, size_t n, uint64_t at)
{
    struct str s = at < file.n ? str_sub(file, (size_t)at, (size_t)at + n) : STR("");
    if (s.n)
        memcpy(p, s.p, s.n);
    return (ssize_t)s.n;
}

static const struct store_disk memory_disk = {
    .open = memory_open, .close = memory_close, .pread = memory_pread};

/* Sets the checksums of one group at p; its length, or 0 if none can be made out. */
static size_t repair_group(uint8_t *p, size_t n, const struct group_home *home)
{
    struct group_header g;
    struct record_header r;
    struct buf heads CLEANUP(buf_free) = {0};
    if (group_header_get(str_of(p, n), &g).code || g.length > n)
        return 0;
    size_t at = GROUP_HEADER;
    for (uint32_t i = 0; i < g.records; i++) {
        struct str rest = str_of(p + at, (size_t)g.length - at);
        if (record_header_get(rest, &r).code || r.stored > rest.n - RECORD_HEADER)
            return 0;
        sha256(str_sub(rest, RECORD_HEADER, RECORD_HEADER + (size_t)r.stored),
               p + at + RECORD_HEADER - SHA256_LEN);
        buf_put(&heads, str_sub(rest, 0, RECORD_HEADER));
        at += (size_t)MIN(record_size(r.stored), rest.n);
    }
    group_header_make(home, &g, buf_str(&heads), p);
    return (size_t)g.length;
}

static struct err use_group(struct group *g, const struct log_position *end, void *arg)
{
    struct record r;
    while (group_next(g, &r)) {
        struct cur ops = cur_of(r.payload);
        struct op op;
        check(r.offset % 8 == 0 && r.offset + record_size(r.header.stored) <= end->offset);
        while (batch_next(&ops, &op))
            check(op.key.n > 0 && op.key.n <= OP_KEY_MAX);
    }
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 + SEGMENT_HEADER)
        return 0;
    struct engine *e = mem_alloc(sizeof *e);
    e->disk = &memory_disk;
    size_t n = size - 1;
    uint8_t *copy = malloc(n);
    check(copy);
    memcpy(copy, data + 1, n);
    struct group_home home = {.segment = 1};
    if (data[0] & 1)
        for (size_t at = SEGMENT_HEADER, more; at < n; at += more)
            if ((more = repair_group(copy + at, n - at, &home)) == 0)
                break;
    file = str_of(copy, n);
    struct segment_header header;
    (void)!segment_header_get(file, &header).code;
    struct segment s = {.number = 1, .size = n, .state = SEGMENT_VALID, .in_log = true};
    s.end = data[0] & 2 ? n : UINT64_MAX;
    s.last_sequence = UINT64_MAX;
    struct log_position at = {.segment = 1, .offset = SEGMENT_HEADER};
    struct walk w = {.check_bodies = data[0] & 4, .each = use_group};
    struct err err = segment_walk(e, &s, &at, &w);
    check(at.offset >= SEGMENT_HEADER && at.offset <= n && (err.code || s.end == UINT64_MAX));
    free(copy);
    free(e);
    return 0;
}
