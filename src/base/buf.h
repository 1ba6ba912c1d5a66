/*
 * A growing byte buffer with an upper bound. Its error sticks: what does not fit sets `bad`
 * and is not added. Slices of its content are valid until the next change.
 */
#ifndef THURN_BASE_BUF_H
#define THURN_BASE_BUF_H

static const size_t BUF_MAX_DEFAULT = (size_t)1 << 30;

struct buf {
    uint8_t *p; /* content begins at p + off */
    size_t off; /* consumed */
    size_t n;   /* length of the content */
    size_t cap; /* allocated */
    size_t max; /* the most the content may become; 0 means 1 GB */
    bool bad;   /* something did not fit */
};

/* For CLEANUP(buf_free). */
void buf_free(struct buf *b);
/* Empty, error cleared, memory kept. */
void buf_clear(struct buf *b);
/* Empty, memory given back if there is more of it than `keep` bytes. */
void buf_reset(struct buf *b, size_t keep);
static inline struct str buf_str(const struct buf *b)
{
    return b->n ? (struct str){b->p + b->off, b->n} : (struct str){NULL, 0};
}
/* Takes `n` bytes (at most b->n) from the front. */
void buf_consume(struct buf *b, size_t n);
/* Room for `n` more bytes at the returned place, to be added by buf_added; NULL if too many. */
MUST_CHECK uint8_t *buf_room(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);
/* Shortens the content to its first `n` bytes. */
void buf_cut(struct buf *b, size_t n);
/* E_LIMIT if something did not fit. */
MUST_CHECK struct err buf_err(const struct buf *b);

void buf_put_slow(struct buf *b, struct str s);
/* How many bytes can be added without a look at the memory. */
static inline size_t buf_ready(const struct buf *b)
{
    size_t max = b->max ? b->max : BUF_MAX_DEFAULT;
    return b->bad || b->n > max ? 0 : MIN(b->cap - b->off - b->n, max - b->n);
}
static inline void buf_put(struct buf *b, struct str s)
{
    if (s.n > buf_ready(b)) {
        buf_put_slow(b, s);
    } else if (s.n) {
        /* where there is room there is memory, which the analyzer cannot know */
        memcpy(b->p + b->off + b->n, s.p, s.n); // NOLINT(clang-analyzer-core.NonNullParamChecker)
        b->n += s.n;
    }
}
static inline void buf_byte(struct buf *b, uint8_t c)
{
    buf_put(b, str_of(&c, 1));
}
void buf_u16le(struct buf *b, uint16_t v);
void buf_u32le(struct buf *b, uint32_t v);
void buf_u64le(struct buf *b, uint64_t v);
void buf_varint(struct buf *b, uint64_t v);
void buf_decimal(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);

#endif
