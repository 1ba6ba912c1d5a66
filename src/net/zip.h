/*
 * DEFLATE (RFC 1951, without zlib's header) for connections, made so that an idle one costs nothing
 * but what its peer's compressor may still refer to.
 *
 * Output: each run is compressed by itself, by the one compressor of the loop. So no connection has
 * a compressor of its own (256 KB), and two runs never share a dictionary: what one answer says
 * cannot be guessed from how well the next one compresses. Listings and bodies lose some 3 % by it
 * (64 KB at a time), answers of one line gain nothing from being compressed.
 *
 * Input: an inflater (7 KB, and 32 KB for what it may refer to) is lent for the length of a read
 * and goes back where the peer's blocks end at a byte, which they do when it has flushed; what
 * stays is the text that the peer may refer to, at most the last 32 KB.
 */
#ifndef THURN_NET_ZIP_H
#define THURN_NET_ZIP_H

#include "net/net.h"

/* What all connections of a loop share. */
struct zip;
struct zip *zip_new(void);
void zip_free(struct zip *z); /* NULL is fine */

/* Adds `in` to `out` as whole blocks that end at a byte. E_LIMIT without memory. */
MUST_CHECK struct err zip_run(struct zip *z, struct str in, struct buf *out);

/* The input of one connection. Zeroed, it is at the stream's begin. */
struct unzip {
    struct z_stream_s *stream; /* while inside a block; else NULL */
    uint8_t *past;             /* what the peer may refer to */
    unsigned n_past;
};
/* Inflates from the front of `in`, which is shortened by what has been used, to `p`, at most `max`
 * bytes; `n` is how many there are. If that is `max`, there may be more without further input.
 * E_INVALID for what is not DEFLATE, and at the stream's end, which the other side may not
 * announce; E_LIMIT without memory. */
MUST_CHECK struct err unzip_some(struct zip *z, struct unzip *u, struct str *in, uint8_t *p,
                                 size_t max, size_t *n);
void unzip_free(struct unzip *u);

#endif
