#include "net/frame.h"

const struct frame_type *frame_type_find(const struct frame_table *t, uint16_t number)
{
    size_t from = 0, to = t->n;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (t->types[mid].number == number)
            return &t->types[mid];
        if (t->types[mid].number < number)
            from = mid + 1;
        else
            to = mid;
    }
    return NULL;
}

static void put_le(uint8_t *out, uint32_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

void frame_head_write(const struct frame_head *h, uint8_t out[FRAME_HEAD])
{
    put_le(out, h->typed, 4);
    put_le(out + 4, h->raw, 4);
    put_le(out + 8, h->type->number, 2);
    put_le(out + 10, h->fd, 2);
    put_le(out + 12, h->serial, 4);
}

struct err frame_head_read(const struct frame_table *t, struct str bytes, struct frame_head *out)
{
    struct cur c = cur_of(bytes);
    struct frame_head h = {.typed = cur_u32le(&c), .raw = cur_u32le(&c)};
    uint16_t number = cur_u16le(&c), descriptors = cur_u16le(&c);
    h.serial = cur_u32le(&c);
    TRY(cur_err(&c));
    h.type = frame_type_find(t, number);
    if (!h.type)
        return err_make(E_INVALID, "unknown frame type");
    if (h.typed > h.type->max_typed || h.raw > MIN(h.type->max_raw, (uint32_t)FRAME_RAW_MAX))
        return err_make(E_LIMIT, "frame larger than its type allows");
    if (descriptors > 1 || (descriptors && !h.type->fd))
        return err_make(E_INVALID, "descriptor with a frame that takes none");
    h.fd = descriptors == 1;
    *out = h;
    return OK;
}

void frame_parser_init(struct frame_parser *p, const struct frame_table *table)
{
    *p = (struct frame_parser){.table = table};
}

void frame_parser_free(struct frame_parser *p)
{
    free(p->body);
    p->body = NULL;
    p->head_n = p->body_n = 0;
    p->assembling = false;
}

static size_t body_size(const struct frame_head *h)
{
    return (size_t)h->typed + h->raw;
}

static void parts_of(const struct frame_head *h, struct str body, struct frame_parts *out)
{
    *out = (struct frame_parts){
        .head = *h, .typed = str_sub(body, 0, h->typed), .raw = str_skip(body, h->typed)};
}

/* Completes the head; false if bytes are missing. */
static bool take_head(struct frame_parser *p, struct str *in, struct str *head)
{
    if (p->head_n == 0 && in->n >= FRAME_HEAD) {
        *head = str_sub(*in, 0, FRAME_HEAD);
        *in = str_skip(*in, FRAME_HEAD);
        return true;
    }
    size_t n = MIN(in->n, FRAME_HEAD - p->head_n);
    if (n)
        memcpy(p->head_bytes + p->head_n, in->p, n);
    p->head_n += n;
    *in = str_skip(*in, n);
    if (p->head_n < FRAME_HEAD)
        return false;
    p->head_n = 0;
    *head = str_of(p->head_bytes, FRAME_HEAD);
    return true;
}

/* Goes on with a frame that comes in pieces. */
static bool assemble(struct frame_parser *p, struct str *in, struct frame_parts *out)
{
    size_t n = MIN(in->n, body_size(&p->head) - p->body_n);
    if (n)
        memcpy(p->body + p->body_n, in->p, n);
    p->body_n += n;
    *in = str_skip(*in, n);
    if (p->body_n < body_size(&p->head))
        return false;
    parts_of(&p->head, str_of(p->body, p->body_n), out);
    out->body = p->body;
    p->body = NULL;
    p->body_n = 0;
    p->assembling = false;
    return true;
}

struct err frame_parser_next(struct frame_parser *p, struct str *in, struct frame_parts *out,
                             bool *complete)
{
    *complete = false;
    if (!p->assembling) {
        struct str head;
        if (!take_head(p, in, &head))
            return OK;
        TRY(frame_head_read(p->table, head, &p->head));
        if (p->permits && !p->permits(p->head.type, p->permits_arg))
            return err_make(E_DENIED, "a frame that the state does not allow");
        size_t n = body_size(&p->head);
        if (in->n >= n) {
            parts_of(&p->head, str_sub(*in, 0, n), out);
            *in = str_skip(*in, n);
            *complete = true;
            return OK;
        }
        p->body = malloc(n);
        if (!p->body)
            return err_make(E_LIMIT, "no memory for a frame");
        p->assembling = true;
    }
    *complete = assemble(p, in, out);
    return OK;
}

uint8_t *frame_parser_room(struct frame_parser *p, size_t *n)
{
    *n = p->assembling ? body_size(&p->head) - p->body_n : 0;
    return p->assembling ? p->body + p->body_n : NULL;
}

void frame_parser_filled(struct frame_parser *p, size_t n)
{
    check(p->assembling && n <= body_size(&p->head) - p->body_n);
    p->body_n += n;
}

static void *unpack_alloc(void *arena, size_t n)
{
    return arena_alloc(arena, n);
}

static void unpack_free(void *arena, void *p)
{
    (void)arena, (void)p; /* goes with the arena */
}

struct err frame_unpack(struct frame_parts *parts, int fd, struct frame **out)
{
    const struct frame_head *h = &parts->head;
    struct frame *f = mem_alloc(sizeof *f);
    *f = (struct frame){.type = h->type, .serial = h->serial, .fd = -1, .body = parts->body};
    parts->body = NULL;
    arena_init(&f->arena, frame_budget(h->typed));
    ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &f->arena};
    f->message =
        protobuf_c_message_unpack(h->type->message, &allocator, parts->typed.n, parts->typed.p);
    f->raw = parts->raw;
    if (f->message && !f->body && parts->raw.n) {
        f->body = malloc(parts->raw.n);
        check(f->body != NULL);
        memcpy(f->body, parts->raw.p, parts->raw.n);
        f->raw = str_of(f->body, parts->raw.n);
    }
    if (!f->message) {
        frame_free(f);
        return err_make(E_INVALID, "malformed typed part");
    }
    f->fd = fd;
    *out = f;
    return OK;
}

void frame_free(struct frame *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        (void)close(f->fd);
    arena_free(&f->arena);
    free(f->body);
    free(f);
}
