#include "store/store.h"

/*
 * The scanner that made a record may have been taken over by the message that it read. What is
 * accepted here is relied on by everything that serves messages: the shape of the tree, and that
 * every range lies within the message and within its parent. It is read the way in which those who
 * serve it read it, so that nobody can see something else in the same bytes.
 */

enum {
    RECORD_MAX = 8 << 20,  /* bytes packed */
    MEMORY_MAX = 64 << 20, /* unpacked: an empty part takes two bytes packed and 400 unpacked */
    DEPTH_MAX = 256,
    PARTS_MAX = 20000,
    FIELDS_MAX = 50000,
    PREVIEW_MAX = 1024,
};
static const int64_t DATE_MAX = INT64_C(1) << 40; /* so that zones can be added */

static bool addresses_ok(Thurn__Address *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned)list[i]->kind > THURN__ADDRESS__KIND__GROUP_END)
            return false;
    return true;
}

static bool envelope_ok(const Thurn__Envelope *e)
{
    return e && e->date_time > -DATE_MAX && e->date_time < DATE_MAX && e->date_zone > -24 * 60 &&
           e->date_zone < 24 * 60 && addresses_ok(e->from, e->n_from) &&
           addresses_ok(e->sender, e->n_sender) && addresses_ok(e->reply_to, e->n_reply_to) &&
           addresses_ok(e->to, e->n_to) && addresses_ok(e->cc, e->n_cc) &&
           addresses_ok(e->bcc, e->n_bcc);
}

/* Parts in the order of their appearance, taken in one by one. */
struct tree {
    const Thurn__Email *email;
    uint64_t text_size;
    uint32_t path[DEPTH_MAX + 1]; /* the part taken last and its parents, by depth */
    uint32_t end[DEPTH_MAX + 1];  /* where the children of path[i] end so far */
    uint32_t depth;               /* of the part taken last */
};

static bool part_text_ok(const struct tree *t, const Thurn__Part *p)
{
    return (uint64_t)p->text_offset + p->text_length <= t->text_size;
}

/* What holds for each part for itself. */
static bool part_ok(const struct tree *t, const Thurn__Part *p)
{
    return p->type.len > 0 && p->subtype.len > 0 && p->header_offset <= p->body_offset &&
           p->body_offset <= p->end_offset && p->end_offset <= t->email->size &&
           p->lines <= p->end_offset - p->body_offset && !(p->multipart && p->message) &&
           (!p->message || envelope_ok(p->envelope)) &&
           (!p->envelope || envelope_ok(p->envelope)) && part_text_ok(t, p);
}

/* Under its parent, which must be on the path to the part before: behind the children that the
 * parent has, and inside it. An embedded message has one child. */
static bool part_place_ok(const struct tree *t, uint32_t index)
{
    const Thurn__Part *p = t->email->parts[index];
    if (p->depth == 0 || p->depth > DEPTH_MAX || p->depth > t->depth + 1)
        return false;
    uint32_t parent = t->path[p->depth - 1];
    const Thurn__Part *q = t->email->parts[parent];
    return p->parent == parent && (q->multipart || (q->message && index == parent + 1)) &&
           p->header_offset >= t->end[p->depth - 1] && p->end_offset <= q->end_offset;
}

static void part_take(struct tree *t, uint32_t index)
{
    const Thurn__Part *p = t->email->parts[index];
    t->depth = p->depth;
    t->path[p->depth] = index;
    t->end[p->depth] = p->body_offset;
    if (p->depth)
        t->end[p->depth - 1] = p->end_offset;
}

static bool parts_ok(const Thurn__Email *e, uint64_t text_size)
{
    if (e->n_parts == 0 || e->n_parts > PARTS_MAX)
        return false;
    struct tree t = {.email = e, .text_size = text_size};
    const Thurn__Part *first = e->parts[0];
    if (!part_ok(&t, first) || first->parent != 0 || first->depth != 0 ||
        first->header_offset != 0 || first->end_offset != e->size)
        return false;
    part_take(&t, 0);
    for (uint32_t i = 1; i < e->n_parts; i++) {
        if (!part_ok(&t, e->parts[i]) || !part_place_ok(&t, i))
            return false;
        part_take(&t, i);
    }
    return true;
}

static bool field_name_ok(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] == ':' || name.p[i] == 0x7F)
            return false;
    return name.n > 0;
}

static bool fields_ok(const Thurn__Email *e)
{
    uint64_t end = 0;
    if (e->n_fields > FIELDS_MAX)
        return false;
    for (size_t i = 0; i < e->n_fields; i++) {
        const Thurn__HeaderField *f = e->fields[i];
        if (!field_name_ok(str_of(f->name.data, f->name.len)) || f->offset < end ||
            f->length <= f->name.len)
            return false;
        end = (uint64_t)f->offset + f->length;
        if (end > e->parts[0]->body_offset)
            return false;
    }
    return true;
}

static bool email_ok(const Thurn__Email *e, uint64_t size, uint64_t text_size)
{
    return e->size == size && size <= UINT32_MAX && parts_ok(e, text_size) &&
           envelope_ok(e->envelope) && fields_ok(e) && e->preview.len <= PREVIEW_MAX &&
           str_is_utf8(str_of(e->preview.data, e->preview.len));
}

struct err email_record_check(struct str record, uint64_t size, uint64_t text_size)
{
    if (record.n > RECORD_MAX)
        return err_make(E_INVALID, "the record of a message is too large");
    struct arena a;
    arena_init(&a, MEMORY_MAX);
    const Thurn__Email *e;
    bool ok = pb_borrow(&a, &thurn__email__descriptor, record, 0, &e).code == E_OK &&
              email_ok(e, size, text_size);
    arena_free(&a);
    return ok ? OK : err_make(E_INVALID, "the record of a message contradicts itself");
}

static ProtobufCBinaryData literal(struct str s)
{
    return (ProtobufCBinaryData){.len = s.n, .data = (uint8_t *)(uintptr_t)s.p};
}

void email_record_flat(uint64_t size, struct buf *out)
{
    Thurn__Param charset = THURN__PARAM__INIT;
    charset.name = literal(STR("charset"));
    charset.value = literal(STR("us-ascii"));
    Thurn__Param *params[] = {&charset};
    Thurn__Part part = THURN__PART__INIT;
    part.type = literal(STR("text"));
    part.subtype = literal(STR("plain"));
    part.encoding = literal(STR("7bit"));
    part.n_params = 1;
    part.params = params;
    part.end_offset = (uint32_t)MIN(size, UINT32_MAX);
    Thurn__Part *parts[] = {&part};
    Thurn__Envelope envelope = THURN__ENVELOPE__INIT;
    Thurn__Email email = THURN__EMAIL__INIT;
    email.n_parts = 1;
    email.parts = parts;
    email.envelope = &envelope;
    email.broken = THURN__EMAIL__BROKEN__FLAT;
    email.size = size;
    uint8_t *room = buf_room(out, thurn__email__get_packed_size(&email));
    if (room)
        buf_added(out, thurn__email__pack(&email, room));
}
