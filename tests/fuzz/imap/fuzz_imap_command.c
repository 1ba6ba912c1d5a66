/* A client's stream, cut where the input says: first byte the state, then pieces, each begun by
 * its length. Whatever comes, each result is well-formed, and cutting changes nothing. */
#include "base/base.h"

#include "imap/imap_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct client {
    struct imap_parser parser;
    struct buf in, seen;
    enum imap_state state;
    struct arena arena;      /* of the APPEND that is going on */
    struct imap_command cmd; /* the same */
    uint64_t message_left;
    bool in_tail, over;
};

static void note(struct client *c, const struct imap_parsed *r)
{
    buf_byte(&c->seen, (uint8_t)r->what);
    if (r->what == IMAP_PARSE_LITERAL)
        return;
    check(r->command.tag.n > 0);
    buf_put(&c->seen, r->command.tag);
    if (r->what == IMAP_PARSE_BAD || r->what == IMAP_PARSE_TOO_LONG) {
        check(r->error != NULL);
        buf_put(&c->seen, str_c(r->error));
    } else if (r->command.request) {
        check(r->command.frame != 0);
        pb_pack(&c->seen, r->command.request);
    }
}

/* False: more bytes are needed. */
static bool step(struct client *c)
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
        r.command = c->cmd;
    } else {
        arena_free(&c->arena);
        imap_parse(&c->parser, &c->in, c->state, &c->arena, &r);
        c->cmd = r.command;
    }
    if (r.what == IMAP_PARSE_MORE)
        check(c->in.n == 0);
    else
        note(c, &r);
    c->in_tail = r.what == IMAP_PARSE_MESSAGE;
    c->message_left = c->in_tail ? r.literal : 0;
    c->over = r.fatal;
    return r.what != IMAP_PARSE_MORE && !r.fatal;
}

static void feed(struct client *c, struct str piece)
{
    buf_put(&c->in, piece);
    while (!c->over && step(c))
        ;
}

static void client_init(struct client *c, uint8_t state)
{
    static const struct imap_limits limits = {
        .line = 512, .literal = 64, .command = 1024, .message = 4096};
    *c = (struct client){.state = (enum imap_state)(1U << state % 3)};
    arena_init(&c->arena, 1024 * 1024);
    imap_parser_init(&c->parser, &limits);
}

static void client_free(struct client *c)
{
    imap_parser_free(&c->parser);
    arena_free(&c->arena);
    buf_free(&c->in);
    buf_free(&c->seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur input = cur_of(str_of(data, size));
    uint8_t state = cur_byte(&input);
    struct client cut, whole;
    struct buf stream = {0};
    client_init(&cut, state);
    client_init(&whole, state);
    while (!cur_end(&input)) {
        size_t n = MIN((size_t)cur_byte(&input), cur_left(&input));
        struct str piece = cur_take(&input, n);
        buf_put(&stream, piece);
        feed(&cut, piece);
    }
    feed(&whole, buf_str(&stream));
    check(str_eq(buf_str(&cut.seen), buf_str(&whole.seen)));
    client_free(&cut);
    client_free(&whole);
    buf_free(&stream);
    return 0;
}
