/* What the listing columns answer is what the messages themselves would: random messages, random
 * searches. */
#include "base/base.h"

#include "imap/service/search.h"
#include "test_service_rig.h"

#define OP(name) THURN__SEARCH_OP__SEARCH_##name

enum { MESSAGES = 400, SEARCHES = 1500, NODES = 24 };

/* xorshift64*: the same for the same seed everywhere. */
static uint64_t rng;

static uint32_t below(uint32_t n)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return (uint32_t)((rng * 0x2545F4914F6CDD1DULL) >> 33) % n;
}

/* Words that fold, do not fold, fold to something longer, are no UTF-8, are encoded, end a row. */
static const struct str words[] = {
    STR_INIT("report"),
    STR_INIT("REPORT"),
    STR_INIT("Kelvin"),
    STR_INIT("\342\204\252elvin"), /* the Kelvin sign folds to k */
    STR_INIT("Gr\303\274\303\237e"),
    STR_INIT("GR\303\234SSE"),
    STR_INIT("\377\376"),
    STR_INIT("\303"),
    STR_INIT("=?utf-8?q?=C3=9Cber?="),
    STR_INIT("=?iso-8859-1?q?=FCber?="),
    STR_INIT("a"),
    STR_INIT("aaaaaaaaaaaaaaaa"),
    STR_INIT("<x@y>"),
    STR_INIT("nul\0here"),
    STR_INIT("\342\202\254"),
    STR_INIT("strasse"),
};

static void put_words(struct buf *b, unsigned n)
{
    for (; n; n--) {
        buf_put(b, words[below(ARRAY_LEN(words))]);
        buf_byte(b, ' ');
    }
}

static void put_addresses(struct buf *b, const char *field)
{
    static const unsigned counts[] = {0, 1, 1, 1, 2, 3, 40};
    unsigned n = counts[below(ARRAY_LEN(counts))];
    if (n == 0)
        return;
    buf_printf(b, "%s: ", field);
    for (unsigned i = 0; i < n; i++) {
        buf_put(b, i ? STR(", ") : STR(""));
        switch (below(4)) {
        case 0: buf_put(b, STR("Friends: a@b.test, Kelvin <k@c.test>;")); break;
        case 1: buf_printf(b, "user%u@host%u.test", below(5), below(5)); break;
        default: put_words(b, below(3)); buf_printf(b, "<user%u@Host%u.test>", below(5), below(5));
        }
    }
    buf_put(b, STR("\r\n"));
}

static void put_message_id(struct buf *b)
{
    unsigned id = below(9);
    switch (below(18)) {
    case 0: break;
    case 6: buf_put(b, STR("Message-ID: \r\n")); break;
    case 7: buf_put(b, STR("Message-ID:\r\n")); break;
    case 8: buf_put(b, STR("Message-ID:    \n")); break;
    case 9: buf_printf(b, "Message-ID: <id%u@x>y\n", id); break;
    case 10: buf_printf(b, "Message-ID:x<id%u@x>\r\r\n", id); break;
    case 11: buf_printf(b, "Message-ID : <id%u@x>\r\n", id); break;
    case 12: buf_printf(b, "Message-ID:<id%u\001@x>\r\n", id); break;
    case 13: buf_printf(b, "Message-ID:<id%u@x\377>\v\r\n", id); break;
    case 14: buf_put(b, STR("Message-ID:<id\0001@x>\r\n")); break;
    case 1: buf_printf(b, "Message-ID:\r\n <id%u@x>\r\n", id); break;
    case 2: buf_printf(b, "message-id:<id%u@x>\r\n", id); break;
    case 3: buf_printf(b, "Message-ID: <id%u@x>\r\nMessage-ID: <id%u@y>\r\n", id, below(9)); break;
    case 4: buf_printf(b, "Message-ID: <id%u@x> (comment)\r\n", id); break;
    case 5: buf_printf(b, "Message-ID: \t<id%u@x>\r\n", id); break;
    default: buf_printf(b, "Message-ID: <ID%u@x>\r\n", id);
    }
}

static void put_message(struct buf *b)
{
    put_addresses(b, "From");
    put_addresses(b, "To");
    put_addresses(b, "Cc");
    put_addresses(b, "Bcc");
    if (below(8)) {
        buf_put(b, STR("Subject: "));
        put_words(b, below(16) ? below(6) : 200);
        buf_put(b, STR("\r\n"));
    }
    put_message_id(b);
    if (below(6))
        buf_printf(b, "Date: %u Feb 2024 %02u:30:00 %c%02u00\r\n", 1 + below(9), below(24),
                   below(2) ? '+' : '-', below(12));
    buf_put(b, STR("\r\n"));
    put_words(b, 3);
}

/* Messages in blocks, behind the blocks, changed and expunged after they came into blocks. */
static struct client *furnish(struct rig *r)
{
    struct client *c = client_in(r, "INBOX");
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct buf b CLEANUP(buf_free) = {0};
        put_message(&b);
        ask_append(c, "INBOX", buf_str(&b), below(32));
        if (i == MESSAGES * 3 / 4)
            while (account_wants_maintenance(c->imap->account))
                assert_int_equal(account_maintain(c->imap->account).code, E_OK);
    }
    ask_store(c, "3:9", false, 1, true, 8, "");
    ask_expunge(c, "5:8");
    ask_copy(c, "20:30", false, "INBOX");
    ask_noop(c);
    return c;
}

static struct str random_needle(struct arena *a)
{
    struct buf b CLEANUP(buf_free) = {0};
    switch (below(8)) {
    case 0: break;
    case 1: buf_printf(&b, "user%u@host%u.TEST", below(5), below(5)); break;
    case 2: buf_printf(&b, "id%u@", below(9)); break;
    case 3: buf_printf(&b, "<ID%u@x>", below(9)); break;
    case 4: buf_put(&b, STR("\303\274ber")); break;
    default: put_words(&b, 1 + below(2)); break;
    }
    size_t from = b.n ? below((uint32_t)b.n) * (below(3) == 0) : 0;
    return str_dup(a, str_sub(buf_str(&b), from, b.n - (b.n > from + 1 && below(2))));
}

static void random_leaf(Thurn__SearchNode *n, struct arena *a)
{
    static const Thurn__SearchOp ops[] = {
        OP(ALL),  OP(FLAG),    OP(FLAG),   OP(FROM),       OP(TO),     OP(CC),        OP(BCC),
        OP(TEXT), OP(SUBJECT), OP(HEADER), OP(SENTBEFORE), OP(SENTON), OP(SENTSINCE), OP(LARGER)};
    static const struct str headers[] = {STR_INIT("Message-ID"), STR_INIT("message-id"),
                                         STR_INIT("Subject"), STR_INIT("From")};
    n->op = ops[below(ARRAY_LEN(ops))];
    n->number = n->op == OP(FLAG) ? UINT64_C(1) << below(5) : 200 + below(400);
    n->date = 19754 + (int32_t)below(9); /* 1 February 2024 */
    n->header = pb_bytes(headers[below(ARRAY_LEN(headers))]);
    n->text = pb_bytes(random_needle(a));
}

static void random_node(Thurn__ImapSearch *m, struct arena *a, unsigned depth)
{
    Thurn__SearchNode *n = arena_new(a, Thurn__SearchNode);
    thurn__search_node__init(n);
    m->nodes[m->n_nodes++] = n;
    random_leaf(n, a);
    if (depth == 0 || m->n_nodes + 4 > NODES || below(2))
        return;
    static const Thurn__SearchOp joins[] = {OP(AND), OP(OR), OP(NOT)};
    n->op = joins[below(ARRAY_LEN(joins))];
    n->children = n->op == OP(NOT) ? 1 : 2;
    for (unsigned i = 0; i < n->children; i++)
        random_node(m, a, depth - 1);
}

static bool asked_one_by_one(struct client *c, const struct program *p, struct snap *snap,
                             const struct entry *e)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 24);
    struct finder f = {0};
    static uint8_t piece[SEARCH_PIECE];
    struct candidate one = {
        .session = c->imap, .snap = snap, .entry = *e, .arena = &a, .finder = &f, .piece = piece};
    bool match;
    assert_int_equal(program_match(p, &one, &match).code, E_OK);
    finder_free(&f);
    return match;
}

/* How many of the answers came from columns and entries alone. */
static size_t compare(struct client *c, const struct program *p, struct search_batch *b)
{
    struct snap *snap;
    size_t answered = 0;
    assert_int_equal(snap_open(c->imap->account, &snap).code, E_OK);
    assert_int_equal(snap_entries(snap, c->imap->at.mailbox, (msg_uid){1 + below(50)},
                                  (msg_uid){UINT32_MAX}, b->rows, b->cap, &b->n)
                         .code,
                     E_OK);
    assert_int_equal(search_batch_answer(p, c->imap, snap, b).code, E_OK);
    for (size_t i = 0; i < b->n; i++) {
        bool yes = bits_has(&b->yes, i), no = bits_has(&b->no, i);
        assert_false(yes && no);
        answered += yes || no;
        if (yes || no)
            assert_int_equal(asked_one_by_one(c, p, snap, &b->rows[i]), yes);
    }
    snap_close(snap);
    return answered;
}

static void columns_answer_as_the_messages_would(void **state)
{
    const char *given = getenv("SEED");
    uint64_t seed = random_u64() | 1;
    if (given)
        assert_int_equal(str_to_u64(str_c(given), &seed).code, E_OK);
    print_message("SEED=%" PRIu64 "\n", seed);
    rng = seed;
    struct client *c = furnish(*state);
    struct arena room CLEANUP(arena_free);
    struct search_batch b;
    size_t answered = 0;
    arena_init(&room, 1 << 20);
    assert_int_equal(search_batch_init(&b, ENTRY_BLOCK, &room).code, E_OK);
    for (unsigned i = 0; i < SEARCHES; i++) {
        struct arena a CLEANUP(arena_free);
        arena_init(&a, 1 << 20);
        Thurn__SearchNode *nodes[NODES];
        Thurn__ImapSearch m = THURN__IMAP_SEARCH__INIT;
        m.nodes = nodes;
        random_node(&m, &a, 3);
        struct program p;
        assert_int_equal(program_compile(&m, &c->imap->view, &a, &p).code, E_OK);
        answered += compare(c, &p, &b);
    }
    assert_true(answered > (size_t)SEARCHES * 100); /* else nothing has been compared */
    search_batch_free(&b);
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(columns_answer_as_the_messages_would, rig_setup,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
