#include "base/base.h"

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum {
    REPEATED_FIRST = 4,
    SHORT_MAX = 5, /* bytes of the varint of a tag or a length, as protobuf-c has it */
};

struct value {
    enum wire wire;
    uint64_t number; /* of a varint or fixed field */
    struct str bytes;
};

static struct err malformed(void)
{
    return err_make(E_INVALID, "malformed message");
}

static struct err no_room(void)
{
    return err_make(E_LIMIT, "a message exceeds the memory for it");
}

static uint64_t short_varint(struct cur *c)
{
    size_t begin = c->at;
    uint64_t v = cur_varint(c);
    if (c->at - begin > SHORT_MAX)
        (void)cur_fail(c);
    return v;
}

static void value_read(struct cur *c, unsigned wire, struct value *out)
{
    *out = (struct value){.wire = (enum wire)wire};
    switch (out->wire) {
    case WIRE_VARINT: out->number = cur_varint(c); return;
    case WIRE_64: out->number = cur_u64le(c); return;
    case WIRE_32: out->number = cur_u32le(c); return;
    case WIRE_BYTES:
        out->number = short_varint(c);
        out->bytes = cur_take(c, (size_t)out->number);
        return;
    }
    (void)cur_fail(c);
}

/* Fields stand in the order of their numbers, in the type and mostly in the bytes: `hint` is where
 * the one before was. NULL: unknown. */
static const ProtobufCFieldDescriptor *field_find(const ProtobufCMessageDescriptor *type,
                                                  uint64_t number, unsigned *hint)
{
    unsigned lo = 0, hi = type->n_fields;
    for (unsigned i = *hint; i < hi && i < *hint + 2; i++)
        if (type->fields[i].id == number)
            return &type->fields[*hint = i];
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        if (type->fields[mid].id < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == type->n_fields || type->fields[lo].id != number)
        return NULL;
    *hint = lo;
    return &type->fields[lo];
}

static uint64_t unzigzag(uint64_t v)
{
    return v >> 1 ^ (0 - (v & 1));
}

/* What the wire has for a number of this type. */
static enum wire wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
    case PROTOBUF_C_TYPE_FIXED64: return WIRE_64;
    case PROTOBUF_C_TYPE_FIXED32: return WIRE_32;
    default: return WIRE_VARINT;
    }
}

static size_t number_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_FIXED64: return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_ENUM: return sizeof(uint32_t);
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    default: break;
    }
    check(false); /* proto/ uses no other types */
    return 0;
}

static void number_set(ProtobufCType type, uint64_t v, void *at)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BOOL: v = v != 0; break;
    case PROTOBUF_C_TYPE_SINT32: v = unzigzag((uint32_t)v); break;
    case PROTOBUF_C_TYPE_SINT64: v = unzigzag(v); break;
    default: break;
    }
    if (number_size(type) == sizeof(uint64_t)) {
        memcpy(at, &v, sizeof v);
    } else {
        uint32_t small = (uint32_t)v;
        memcpy(at, &small, sizeof small);
    }
}

static struct err message_read(struct arena *a, const ProtobufCMessageDescriptor *type,
                               struct str packed, uint64_t skip, ProtobufCMessage **out);

static struct err value_set(struct arena *a, const ProtobufCFieldDescriptor *f,
                            const struct value *v, void *at)
{
    if (v->wire != wire_of(f->type))
        return malformed();
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        ProtobufCMessage *m;
        TRY(message_read(a, f->descriptor, v->bytes, 0, &m));
        memcpy(at, &m, sizeof(void *));
    } else if (f->type == PROTOBUF_C_TYPE_BYTES) {
        ProtobufCBinaryData d = {.len = v->bytes.n};
        if (d.len)
            d.data = (uint8_t *)(uintptr_t)v->bytes.p;
        memcpy(at, &d, sizeof d);
    } else {
        number_set(f->type, v->number, at);
    }
    return OK;
}

static size_t element_size(ProtobufCType type)
{
    return type == PROTOBUF_C_TYPE_BYTES     ? sizeof(ProtobufCBinaryData)
           : type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(void *)
                                             : number_size(type);
}

/* One more element; the array's room is REPEATED_FIRST, and doubles whenever it is full. */
static struct err repeated_add(struct arena *a, const ProtobufCFieldDescriptor *f,
                               const struct value *v, uint8_t *m)
{
    size_t n, size = element_size(f->type);
    uint8_t *items;
    memcpy(&n, m + f->quantifier_offset, sizeof n);
    memcpy(&items, m + f->offset, sizeof items);
    if (n == 0 || (n >= REPEATED_FIRST && (n & (n - 1)) == 0)) {
        uint8_t *more = arena_calloc(a, n ? n * 2 : REPEATED_FIRST, size);
        if (!more)
            return no_room();
        if (n)
            memcpy(more, items, n * size);
        items = more;
        memcpy(m + f->offset, &items, sizeof items);
    }
    TRY(value_set(a, f, v, items + n * size));
    n++;
    memcpy(m + f->quantifier_offset, &n, sizeof n);
    return OK;
}

static struct err packed_add(struct arena *a, const ProtobufCFieldDescriptor *f,
                             const struct value *all, uint8_t *m)
{
    enum wire wire = wire_of(f->type);
    for (struct cur c = cur_of(all->bytes); !cur_end(&c);) {
        struct value v;
        value_read(&c, wire, &v);
        if (c.bad)
            return malformed();
        TRY(repeated_add(a, f, &v, m));
    }
    return OK;
}

static struct err field_set(struct arena *a, const ProtobufCFieldDescriptor *f,
                            const struct value *v, uint8_t *m)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return v->wire == WIRE_BYTES && wire_of(f->type) != WIRE_BYTES ? packed_add(a, f, v, m)
                                                                       : repeated_add(a, f, v, m);
    check(f->label == PROTOBUF_C_LABEL_NONE); /* proto/ has neither optional nor oneof */
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        void *there;
        memcpy(&there, m + f->offset, sizeof there);
        if (there)
            return malformed();
    }
    return value_set(a, f, v, m + f->offset);
}

static struct err message_read(struct arena *a, const ProtobufCMessageDescriptor *type,
                               struct str packed, uint64_t skip, ProtobufCMessage **out)
{
    ProtobufCMessage *m = arena_alloc(a, type->sizeof_message);
    if (!m)
        return no_room();
    m->descriptor = type; /* all else begins as zero in proto3 */
    unsigned hint = 0;
    for (struct cur c = cur_of(packed); !cur_end(&c);) {
        uint64_t tag = short_varint(&c), number = tag >> 3;
        struct value v;
        value_read(&c, tag & 7, &v);
        if (c.bad || number == 0 || number >= 1 << 29)
            return malformed();
        if (number < 64 && skip >> number & 1)
            continue;
        const ProtobufCFieldDescriptor *f = field_find(type, number, &hint);
        if (f)
            TRY(field_set(a, f, &v, (uint8_t *)m));
    }
    *out = m;
    return OK;
}

struct err pb_borrow(struct arena *a, const ProtobufCMessageDescriptor *type, struct str packed,
                     uint64_t skip, void *out_message)
{
    ProtobufCMessage *m;
    TRY(message_read(a, type, packed, skip, &m));
    *(ProtobufCMessage **)out_message = m;
    return OK;
}
