/* Records from a scanner: what the check takes must hold what it promises. */
#include "base/base.h"
#include "store/store.h"

/* Walks the record the way that those who serve messages do, without looking twice. */
static void serve(const Thurn__Email *e, uint64_t size, uint64_t text_size)
{
    check(e->n_parts > 0 && e->envelope);
    for (size_t i = 0; i < e->n_parts; i++) {
        const Thurn__Part *p = e->parts[i];
        const Thurn__Part *q = e->parts[p->parent];
        check(p->header_offset <= p->body_offset && p->body_offset <= p->end_offset);
        check(p->end_offset <= size && p->end_offset <= q->end_offset);
        check((uint64_t)p->text_offset + p->text_length <= text_size);
        check(i == 0 || (p->parent < i && p->depth == q->depth + 1));
        check(i == 0 || p->header_offset >= q->body_offset);
        check(!p->message || p->envelope);
    }
    uint64_t end = 0;
    for (size_t i = 0; i < e->n_fields; i++) {
        check(e->fields[i]->offset >= end);
        end = (uint64_t)e->fields[i]->offset + e->fields[i]->length;
        check(end <= e->parts[0]->body_offset);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct cur c = cur_of(str_of(p, n));
    uint64_t size = cur_u16le(&c), text_size = cur_byte(&c);
    struct str record = cur_rest(&c);
    if (c.bad || email_record_check(record, size, text_size).code != E_OK)
        return 0;
    Thurn__Email *e = thurn__email__unpack(NULL, record.n, record.p);
    check(e != NULL);
    serve(e, size, text_size);
    thurn__email__free_unpacked(e, NULL);
    return 0;
}
