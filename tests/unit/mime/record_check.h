/* What must hold for every record, whatever the message: shared by unit tests and fuzz targets. */
#ifndef THURN_TEST_RECORD_CHECK_H
#define THURN_TEST_RECORD_CHECK_H

#include "base/base.h"

#include "mime/mime.h"

static inline void record_check_part(const Thurn__Email *e, struct str text, uint32_t i)
{
    const Thurn__Part *p = e->parts[i];
    check(p->type.len && p->subtype.len && p->encoding.len);
    check(p->header_offset <= p->body_offset && p->body_offset <= p->end_offset);
    check(p->end_offset <= e->size && p->lines <= p->end_offset - p->body_offset);
    check((uint64_t)p->text_offset + p->text_length <= text.n);
    check(!p->text_is_body || p->text_length == 0);
    check(!(p->multipart && p->message));
    check(p->message == (p->envelope != NULL));
    check(str_is_utf8(str_sub(text, p->text_offset, p->text_offset + p->text_length)));
}

/* Inside its parent, behind the parts before it. */
static inline void record_check_place(const Thurn__Email *e, uint32_t i)
{
    const Thurn__Part *p = e->parts[i], *q = e->parts[p->parent];
    check(p->parent < i && p->depth == q->depth + 1 && (q->multipart || q->message));
    check(p->header_offset >= q->body_offset && p->end_offset <= q->end_offset);
    check(!q->message || (p->parent == i - 1 && p->header_offset == q->body_offset));
    const Thurn__Part *before = e->parts[i - 1];
    check(p->depth <= before->depth + 1);
    for (uint32_t k = i - 1; k > p->parent; k = e->parts[k]->parent)
        before = e->parts[k];
    check(before == q || (before->parent == p->parent && before->end_offset <= p->header_offset) ||
          p->parent == i - 1);
}

static inline void record_check(const struct mime_result *r, struct str message)
{
    const Thurn__Email *e = r->email;
    check(e->n_parts >= 1 && e->size == message.n && e->envelope != NULL);
    check(e->parts[0]->end_offset == message.n && e->parts[0]->depth == 0);
    uint64_t end = 0;
    for (size_t i = 0; i < e->n_fields; i++) {
        const Thurn__HeaderField *f = e->fields[i];
        check(f->offset >= end && f->name.len > 0 && f->length > f->name.len);
        end = (uint64_t)f->offset + f->length;
        check(end <= e->parts[0]->body_offset);
        check(memcmp(message.p + f->offset, f->name.data, f->name.len) == 0);
    }
    for (uint32_t i = 0; i < e->n_parts; i++) {
        record_check_part(e, r->text, i);
        bool parent = e->parts[i]->multipart || e->parts[i]->message;
        check(!parent || (i + 1 < e->n_parts && e->parts[i + 1]->parent == i));
        if (i > 0)
            record_check_place(e, i);
    }
    check(e->preview.len <= 256 && str_is_utf8(str_of(e->preview.data, e->preview.len)));
    check(str_is_utf8(r->text));
}

#endif
