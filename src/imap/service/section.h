/*
 * Which bytes of a message a FETCH section is (RFC 3501 section 6.4.5), from the scanner's
 * record. Offsets of the result count from the first byte of the content: the generated head,
 * then the original message.
 */
#ifndef THURN_IMAP_SERVICE_SECTION_H
#define THURN_IMAP_SERVICE_SECTION_H

#include "rpc/rpc.h"

struct section_range {
    bool nil; /* there is no such section, or nobody can decode it */
    uint64_t offset, length;
    Thurn__SectionCoding coding; /* of what is to be decoded or measured */
    uint64_t size;               /* of what is to be measured, if it needs no decoding */
};

/* Whether the record is needed at all: BODY[] is the whole content. */
bool section_needs_record(const Thurn__Section *s);
/* `record` may be NULL if it is not needed, or if there is none: then nothing but BODY[] exists.
 * The range is always inside the content of `size` bytes. */
struct section_range section_resolve(const Thurn__Section *s, const Thurn__Email *record,
                                     uint32_t head_size, uint64_t size);

#endif
