#include "base/base.h"
#include "imap/service/section.h"

static const struct section_range nil_section = {.nil = true};

bool section_needs_record(const Thurn__Section *s)
{
    return s->n_path > 0 || s->part != THURN__SECTION_PART__SECTION_ALL;
}

static bool is_header(Thurn__SectionPart part)
{
    return part == THURN__SECTION_PART__SECTION_HEADER ||
           part == THURN__SECTION_PART__SECTION_HEADER_FIELDS ||
           part == THURN__SECTION_PART__SECTION_HEADER_FIELDS_NOT;
}

/* The n-th child of a multipart; false if it has none. */
static bool part_child(const Thurn__Email *r, size_t parent, uint32_t n, size_t *out)
{
    for (size_t i = parent + 1; i < r->n_parts && r->parts[i]->depth > r->parts[parent]->depth; i++)
        if (r->parts[i]->parent == parent && --n == 0) {
            *out = i;
            return true;
        }
    return false;
}

/* The first part of the message that a message/rfc822 part holds. */
static bool part_embedded(const Thurn__Email *r, size_t at, size_t *out)
{
    if (!r->parts[at]->message || at + 1 >= r->n_parts || r->parts[at + 1]->parent != at)
        return false;
    *out = at + 1;
    return true;
}

/* Follows part numbers. A message that is no multipart has one part, number 1: its body. */
static bool part_find(const Thurn__Email *r, const uint32_t *path, size_t n, size_t *out)
{
    size_t at = 0;
    bool whole_message = true;
    for (size_t i = 0; i < n; i++) {
        if (path[i] == 0)
            return false;
        if (!whole_message)
            whole_message = part_embedded(r, at, &at);
        if (r->parts[at]->multipart) {
            if (!part_child(r, at, path[i], &at))
                return false;
        } else if (!whole_message || path[i] != 1) {
            return false;
        }
        whole_message = false;
    }
    *out = at;
    return true;
}

/* RFC 2045 section 6, with spellings that are seen. A part that holds others is never encoded. */
static Thurn__SectionCoding coding_of(const Thurn__Part *p)
{
    static const struct {
        struct str name;
        Thurn__SectionCoding coding;
    } codings[] = {
        {STR_INIT("7bit"), THURN__SECTION_CODING__CODING_NONE},
        {STR_INIT("8bit"), THURN__SECTION_CODING__CODING_NONE},
        {STR_INIT("binary"), THURN__SECTION_CODING__CODING_NONE},
        {STR_INIT("7-bit"), THURN__SECTION_CODING__CODING_NONE},
        {STR_INIT("8-bit"), THURN__SECTION_CODING__CODING_NONE},
        {STR_INIT("base64"), THURN__SECTION_CODING__CODING_BASE64},
        {STR_INIT("quoted-printable"), THURN__SECTION_CODING__CODING_QUOTED_PRINTABLE},
    };
    if (p->multipart || p->message)
        return THURN__SECTION_CODING__CODING_NONE;
    for (size_t i = 0; i < ARRAY_LEN(codings); i++)
        if (str_ieq(pb_str(p->encoding), codings[i].name))
            return codings[i].coding;
    return THURN__SECTION_CODING__CODING_UNKNOWN;
}

static struct section_range range_between(uint64_t from, uint64_t to)
{
    return (struct section_range){.offset = from, .length = to > from ? to - from : 0};
}

/* The message itself: all behind its header is text, whatever its structure. */
static struct section_range message_section(const Thurn__Section *s, const Thurn__Email *r,
                                            uint32_t head_size, uint64_t size)
{
    if (s->part == THURN__SECTION_PART__SECTION_ALL)
        return range_between(0, size);
    if (!r || r->n_parts == 0)
        return nil_section;
    uint64_t body = (uint64_t)head_size + r->parts[0]->body_offset;
    if (is_header(s->part))
        return range_between(0, body);
    return s->part == THURN__SECTION_PART__SECTION_TEXT ? range_between(body, size) : nil_section;
}

static struct section_range part_section(const Thurn__Section *s, const Thurn__Email *r,
                                         uint32_t head_size)
{
    size_t at;
    if (!r || r->n_parts == 0 || !part_find(r, s->path, s->n_path, &at))
        return nil_section;
    bool embedded = is_header(s->part) || s->part == THURN__SECTION_PART__SECTION_TEXT;
    if (embedded && !part_embedded(r, at, &at))
        return nil_section;
    const Thurn__Part *p = r->parts[at];
    uint64_t header = (uint64_t)head_size + p->header_offset;
    uint64_t body = (uint64_t)head_size + p->body_offset;
    uint64_t end = (uint64_t)head_size + p->end_offset;
    if (is_header(s->part) || s->part == THURN__SECTION_PART__SECTION_MIME)
        return range_between(header, body);
    struct section_range whole = range_between(body, end);
    if (s->use != THURN__SECTION_USE__USE_BYTES)
        whole.coding = coding_of(p);
    return whole;
}

static struct section_range range_inside(struct section_range r, uint64_t size)
{
    r.offset = MIN(r.offset, size);
    r.length = MIN(r.length, size - r.offset);
    return r;
}

static struct section_range range_partial(struct section_range r, const Thurn__Section *s)
{
    uint64_t skip = MIN((uint64_t)s->offset, r.length);
    r.offset += skip;
    r.length = MIN((uint64_t)s->length, r.length - skip);
    return r;
}

/* A part that is not encoded need not be sent to be measured. */
static struct section_range range_measured(struct section_range r)
{
    if (r.coding != THURN__SECTION_CODING__CODING_NONE)
        return r;
    r.size = r.length;
    r.length = 0;
    return r;
}

struct section_range section_resolve(const Thurn__Section *s, const Thurn__Email *record,
                                     uint32_t head_size, uint64_t size)
{
    struct section_range r = s->n_path ? part_section(s, record, head_size)
                                       : message_section(s, record, head_size, size);
    if (r.nil)
        return r;
    if (r.coding == THURN__SECTION_CODING__CODING_UNKNOWN)
        return (struct section_range){.nil = true, .coding = r.coding};
    r = range_inside(r, size);
    if (s->use == THURN__SECTION_USE__USE_MEASURED)
        return range_measured(r);
    bool fields = is_header(s->part) && s->part != THURN__SECTION_PART__SECTION_HEADER;
    bool encoded = r.coding != THURN__SECTION_CODING__CODING_NONE;
    return s->partial && !fields && !encoded ? range_partial(r, s) : r;
}
