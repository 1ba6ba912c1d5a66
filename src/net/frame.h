/* Frames as bytes: pure, without I/O. */
#ifndef THURN_NET_FRAME_H
#define THURN_NET_FRAME_H

#include "net/net.h"

struct frame_head {
    const struct frame_type *type;
    uint32_t typed, raw, serial;
    bool fd;
};

/* NULL if there is none. */
const struct frame_type *frame_type_find(const struct frame_table *t, uint16_t number);
void frame_head_write(const struct frame_head *h, uint8_t out[FRAME_HEAD]);
/* Reads FRAME_HEAD bytes. E_INVALID for an unknown type or a descriptor that may not be there,
 * E_LIMIT for a length beyond the type's. */
MUST_CHECK struct err frame_head_read(const struct frame_table *t, struct str bytes,
                                      struct frame_head *out);

/* What may be allocated to unpack a typed part of `typed` bytes, and for the request's other
 * needs. protobuf-c makes from one element of a repeated message, which may be two bytes on the
 * wire, a structure, a pointer and a note of some 40 bytes in a table that doubles: our own
 * frames (rows of eight bytes) need 25 times their packed length. */
static inline size_t frame_budget(uint32_t typed)
{
    return MIN((size_t)64 * 1024 + (size_t)32 * typed, (size_t)64 * 1024 * 1024);
}

/*
 * Cuts a stream of bytes into frames. A frame that lies whole in the bytes given is not copied;
 * one that comes in pieces is assembled in memory of its own, allocated when its head has passed
 * all limits.
 */
struct frame_parser {
    const struct frame_table *table;
    /* Whether a frame may come now; else it ends with E_DENIED at its head, before memory is
     * given to it. NULL: all may. */
    bool (*permits)(const struct frame_type *type, void *arg);
    void *permits_arg;
    uint8_t head_bytes[FRAME_HEAD];
    size_t head_n;   /* of a head that comes in pieces */
    bool assembling; /* the head is complete, the rest is not */
    struct frame_head head;
    uint8_t *body; /* typed and raw part while assembling; malloc */
    size_t body_n; /* of them, bytes that are there */
};
/* A whole frame, still packed; valid until the next call. */
struct frame_parts {
    struct frame_head head;
    struct str typed, raw;
    uint8_t *body; /* the assembled bytes in which they lie, or NULL: in the input */
};

void frame_parser_init(struct frame_parser *p, const struct frame_table *table);
void frame_parser_free(struct frame_parser *p);
/* Takes bytes from the front of `in`, at most one frame. `complete`: it is in `out`; else all of
 * `in` has been taken. After an error the parser is of no more use. */
MUST_CHECK struct err frame_parser_next(struct frame_parser *p, struct str *in,
                                        struct frame_parts *out, bool *complete);
/* Where the next bytes of a frame being assembled belong; n = 0 if there is none. What has been
 * read to that place is told by frame_parser_filled, before the next frame_parser_next. */
uint8_t *frame_parser_room(struct frame_parser *p, size_t *n);
void frame_parser_filled(struct frame_parser *p, size_t n);
/* Unpacks; takes over `parts->body`, whatever the result. `fd` goes into the frame on success.
 * E_INVALID if the typed part is malformed or beyond its budget. */
MUST_CHECK struct err frame_unpack(struct frame_parts *parts, int fd, struct frame **out);

#endif
