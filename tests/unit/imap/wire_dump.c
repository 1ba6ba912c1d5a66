#include "wire_dump.h"

static void dump_set(struct buf *out, const Thurn__ImapSet *set)
{
    buf_put(out, set->uid ? STR("uid ") : STR(""));
    wire_print_ranges(out, set->ranges, set->n_ranges);
}

static void dump_value(struct buf *out, const ProtobufCFieldDescriptor *f, const void *value)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *b = value;
        buf_put(out, pb_str(*b));
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *const *m = value;
        dump_message(out, *m);
        break;
    }
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64: {
        const int64_t *v = value;
        buf_printf(out, "%" PRId64, *v);
        break;
    }
    case PROTOBUF_C_TYPE_BOOL: {
        const protobuf_c_boolean *v = value;
        buf_printf(out, "%d", *v);
        break;
    }
    default: {
        const int32_t *v = value;
        buf_printf(out, "%" PRId32, *v);
        break;
    }
    }
}

static size_t value_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64: return 8;
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    default: return 4;
    }
}

static bool is_set(const ProtobufCFieldDescriptor *f, const void *value)
{
    if (f->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)value)->len > 0;
    static const uint8_t zero[16];
    return memcmp(value, zero, value_size(f)) != 0;
}

static void dump_field(struct buf *out, const ProtobufCFieldDescriptor *f, const void *m)
{
    const uint8_t *at = (const uint8_t *)m + f->offset;
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        if (is_set(f, at)) {
            buf_printf(out, " %s=", f->name);
            dump_value(out, f, at);
        }
        return;
    }
    size_t n = *(const size_t *)((const uint8_t *)m + f->quantifier_offset);
    const uint8_t *const *list = (const uint8_t *const *)at;
    if (n)
        buf_printf(out, " %s=", f->name);
    for (size_t i = 0; i < n; i++) {
        buf_put(out, i ? STR(",") : STR("["));
        dump_value(out, f, *list + i * value_size(f));
    }
    if (n)
        buf_byte(out, ']');
}

void dump_message(struct buf *out, const ProtobufCMessage *m)
{
    if (m->descriptor == &thurn__imap_set__descriptor) {
        dump_set(out, (const Thurn__ImapSet *)m);
        return;
    }
    struct buf fields = {0};
    for (unsigned i = 0; i < m->descriptor->n_fields; i++)
        dump_field(&fields, &m->descriptor->fields[i], m);
    buf_byte(out, '{');
    buf_put(out, str_skip(buf_str(&fields), 1));
    buf_byte(out, '}');
    buf_free(&fields);
}

static void dump_print(struct buf *out, const struct imap_fetch_print *print)
{
    buf_put(out, STR(" print"));
    for (size_t i = 0; i < print->n_items; i++)
        buf_printf(out, " %u", print->items[i]);
    for (size_t i = 0; i < print->n_sections; i++) {
        const struct wire_section *s = &print->sections[i];
        buf_printf(out, " %.*s", STR_FMT(s->label));
        if (s->pick)
            buf_printf(out, s->pick_not ? "/not%u" : "/pick%u", (unsigned)s->n_names);
    }
}

static void dump_command(struct buf *out, const struct imap_command *c)
{
    buf_printf(out, "%.*s ", STR_FMT(c->tag));
    if (c->uid)
        buf_put(out, STR("UID "));
    buf_put(out, wire_commands[c->verb].name);
    if (c->mechanism.n)
        buf_printf(out, " %.*s", STR_FMT(c->mechanism));
    if (c->has_initial)
        buf_printf(out, " initial=%.*s", STR_FMT(c->initial));
    if (c->bad_charset)
        buf_put(out, STR(" bad-charset"));
    if (c->list_options)
        buf_printf(out, " options=%u", c->list_options);
    for (size_t i = 0; i < c->n_id; i++)
        buf_printf(out, " %.*s=%.*s", STR_FMT(c->id[i].name), STR_FMT(c->id[i].value));
    if (c->request) {
        check(c->frame != 0);
        buf_byte(out, ' ');
        dump_message(out, c->request);
    }
    if (c->print)
        dump_print(out, c->print);
    buf_byte(out, '\n');
}

static void dump_result(struct buf *out, const struct imap_parsed *r)
{
    switch (r->what) {
    case IMAP_PARSE_MORE: break;
    case IMAP_PARSE_LITERAL: buf_printf(out, "+ %" PRIu64 "\n", r->literal); break;
    case IMAP_PARSE_MESSAGE:
        buf_printf(out, "message %" PRIu64 "%s ", r->literal, r->non_sync ? "+" : "");
        dump_command(out, &r->command);
        break;
    case IMAP_PARSE_COMMAND: dump_command(out, &r->command); break;
    case IMAP_PARSE_BAD: buf_printf(out, "%.*s BAD %s\n", STR_FMT(r->command.tag), r->error); break;
    case IMAP_PARSE_TOO_LONG:
        buf_printf(out, "%.*s LONG %s%s%s\n", STR_FMT(r->command.tag), r->error,
                   r->no ? " (message)" : "", r->fatal ? " (fatal)" : "");
        break;
    }
}

struct client {
    struct imap_parser parser;
    struct buf in;
    enum imap_state state;
    struct arena arena;      /* of the APPEND that is going on */
    struct imap_command cmd; /* the same */
    uint64_t message_left;
    bool in_tail, over;
};

/* One step of a connection's loop. False: more bytes are needed. */
static bool step(struct client *c, struct buf *out)
{
    struct imap_parsed r = {0};
    if (c->message_left) {
        size_t n = (size_t)MIN(c->message_left, (uint64_t)c->in.n);
        buf_consume(&c->in, n);
        c->message_left -= n;
        return c->message_left == 0;
    }
    if (c->in_tail) {
        imap_parse_tail(&c->parser, &c->in, &c->arena, &c->cmd, &r);
        if (r.what == IMAP_PARSE_MORE)
            return false;
        if (r.what == IMAP_PARSE_MESSAGE) {
            r.command = c->cmd;
            dump_result(out, &r);
        } else {
            buf_printf(out, "tail %s%s%s\n", r.no ? r.no : "", r.no ? ": " : "",
                       r.what == IMAP_PARSE_COMMAND ? "ok" : r.error);
        }
    } else {
        arena_free(&c->arena);
        imap_parse(&c->parser, &c->in, c->state, &c->arena, &r);
        dump_result(out, &r);
        c->cmd = r.command;
    }
    c->in_tail = r.what == IMAP_PARSE_MESSAGE;
    c->message_left = c->in_tail ? r.literal : 0;
    c->over = r.fatal;
    return r.what != IMAP_PARSE_MORE && !r.fatal;
}

void dump_stream(struct buf *out, enum imap_state state, const struct imap_limits *limits,
                 struct str input, size_t piece)
{
    struct client c = {.state = state};
    arena_init(&c.arena, 1024 * 1024);
    imap_parser_init(&c.parser, limits);
    for (size_t at = 0; at < input.n && !c.over; at += piece) {
        /* A buffer of its own size each time, so that reading beyond it is noticed. */
        struct buf fresh = {0};
        buf_put(&fresh, buf_str(&c.in));
        buf_put(&fresh, str_sub(input, at, at + MIN(piece, input.n - at)));
        buf_free(&c.in);
        c.in = fresh;
        while (step(&c, out))
            ;
    }
    buf_free(&c.in);
    arena_free(&c.arena);
    imap_parser_free(&c.parser);
}
