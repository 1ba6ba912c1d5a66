#include "store/batch.h"
#include "store/body.h"

static void check_key(struct str key)
{
    check(key.n > 0 && key.n <= OP_KEY_MAX && key.p[0] != ENGINE_KEY);
}

static void put_two(struct batch *b, uint8_t kind, struct str first, struct str second)
{
    buf_byte(&b->ops, kind);
    buf_varint(&b->ops, first.n);
    buf_varint(&b->ops, second.n);
    buf_put(&b->ops, first);
    buf_put(&b->ops, second);
}

void batch_put(struct batch *b, struct str key, struct str value)
{
    check_key(key);
    put_two(b, OP_PUT, key, value);
}

void batch_delete(struct batch *b, struct str key)
{
    check_key(key);
    buf_byte(&b->ops, OP_DELETE);
    buf_varint(&b->ops, key.n);
    buf_put(&b->ops, key);
}

void batch_delete_range(struct batch *b, struct str from, struct str to)
{
    check_key(from);
    put_two(b, OP_RANGE, from, to);
}

static void put_place(struct batch *b, uint8_t kind, struct str key, const Thurn__BodyPlace *p)
{
    check_key(key);
    buf_byte(&b->ops, kind);
    buf_u64le(&b->ops, p->account);
    buf_u64le(&b->ops, p->segment);
    buf_u64le(&b->ops, p->offset);
    buf_u64le(&b->ops, p->length);
    buf_u64le(&b->ops, p->hash);
    buf_varint(&b->ops, key.n);
    buf_put(&b->ops, key);
}

void batch_body(struct batch *b, struct str key, account_id account, struct body *body)
{
    if (b->n_bodies == b->cap_bodies) {
        size_t cap = b->cap_bodies ? 2 * b->cap_bodies : 4;
        struct body **bodies = mem_alloc(cap * sizeof(struct body *));
        if (b->n_bodies)
            memcpy(bodies, b->bodies, b->n_bodies * sizeof(struct body *));
        free(b->bodies);
        b->bodies = bodies;
        b->cap_bodies = cap;
    }
    Thurn__BodyPlace place = THURN__BODY_PLACE__INIT;
    place.account = account.v;
    place.length = body->bytes.n;
    place.hash = body_short_hash(body->hash);
    put_place(b, OP_BODY, key, &place);
    if (!b->ops.bad)
        b->bodies[b->n_bodies++] = body_ref(body);
}

void batch_body_drop(struct batch *b, struct str key, const Thurn__BodyPlace *place)
{
    put_place(b, OP_DROP, key, place);
}

void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->n_bodies; i++)
        body_unref(b->bodies[i]);
    free(b->bodies);
    buf_free(&b->ops);
    *b = (struct batch){0};
}

void batch_patch(struct batch *b, size_t at, const Thurn__BodyPlace *place)
{
    const uint64_t fields[] = {place->account, place->segment, place->offset, place->length,
                               place->hash};
    check(at <= b->ops.n && sizeof fields <= b->ops.n - at);
    uint8_t *p = b->ops.p + b->ops.off + at;
    for (size_t i = 0; i < sizeof fields; i++)
        p[i] = (uint8_t)(fields[i / 8] >> (8 * (i % 8)));
}

static struct str take_counted(struct cur *c, uint64_t n)
{
    if (n > cur_left(c))
        cur_fail(c);
    return cur_take(c, (size_t)n);
}

static void read_two(struct cur *ops, struct op *op)
{
    uint64_t key = cur_varint(ops), value = cur_varint(ops);
    op->key = take_counted(ops, key);
    op->value = take_counted(ops, value);
}

static void read_place(struct cur *ops, struct op *op)
{
    op->place_at = ops->at;
    thurn__body_place__init(&op->place);
    op->place.account = cur_u64le(ops);
    op->place.segment = cur_u64le(ops);
    op->place.offset = cur_u64le(ops);
    op->place.length = cur_u64le(ops);
    op->place.hash = cur_u64le(ops);
    op->key = take_counted(ops, cur_varint(ops));
}

bool batch_next(struct cur *ops, struct op *out)
{
    if (cur_end(ops))
        return false;
    struct op op = {.kind = cur_byte(ops)};
    switch (op.kind) {
    case OP_PUT:
    case OP_RANGE: read_two(ops, &op); break;
    case OP_DELETE: op.key = take_counted(ops, cur_varint(ops)); break;
    case OP_BODY:
    case OP_DROP: read_place(ops, &op); break;
    default: cur_fail(ops);
    }
    if (!ops->bad && (op.key.n == 0 || op.key.n > OP_KEY_MAX || op.key.p[0] == ENGINE_KEY))
        cur_fail(ops);
    if (ops->bad)
        return false;
    *out = op;
    return true;
}
