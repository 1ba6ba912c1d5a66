/*
 * A growing byte buffer with an upper bound. Its error sticks: what does not fit sets `bad`
 * and is not added. Slices of its content are valid until the next change.
 */
#ifndef THURN_BASE_BUF_H
#define THURN_BASE_BUF_H

struct buf {
    uint8_t *p;  /* content begins at p + off */
    size_t off;  /* consumed */
    size_t n;    /* length of the content */
    size_t cap;  /* allocated */
    size_t max;  /* the most the content may become; 0 means 1 GB */
    bool bad;    /* something did not fit */
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

void buf_put(struct buf *b, struct str s);
void buf_byte(struct buf *b, uint8_t c);
void buf_u16le(struct buf *b, uint16_t v);
void buf_u32le(struct buf *b, uint32_t v);
void buf_u64le(struct buf *b, uint64_t v);
void buf_varint(struct buf *b, uint64_t v);
void buf_decimal(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);

#endif
