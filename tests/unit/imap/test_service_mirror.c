/*
 * Clients that do as they like with one mailbox, each keeping a mirror of it from what it is told
 * alone, as mail programs do. After every few steps each mirror must be what the mailbox is.
 */
#include "base/base.h"

#include "test_service_rig.h"

enum { CLIENTS = 3, MESSAGES = 400, UIDS = 1, FLAGS = 2, MODSEQS = 32 };

struct mirror_message {
    uint32_t uid;   /* 0: not known yet */
    uint32_t flags; /* without \Recent */
    uint64_t keywords;
    uint64_t modseq; /* known by clients with CONDSTORE */
};
struct mirror {
    struct client *client;
    struct mirror_message messages[MESSAGES];
    uint32_t n;
    bool condstore;
    bool no_expunge; /* a command by sequence number runs */
};
static struct mirror mirrors[CLIENTS + 1];

static void hear_row(struct mirror *m, const Thurn__FetchRow *r)
{
    assert_true(r->seq >= 1 && r->seq <= m->n);
    struct mirror_message *message = &m->messages[r->seq - 1];
    if (r->items & UIDS) {
        assert_true(message->uid == 0 || message->uid == r->uid);
        message->uid = r->uid;
    }
    /* Whoever wants modseqs is told no flags without. */
    assert_true(!m->condstore || !(r->items & FLAGS) || r->items & MODSEQS);
    if (r->items & MODSEQS) {
        assert_true(r->modseq >= message->modseq);
        message->modseq = r->modseq;
    }
    if (r->items & FLAGS) {
        message->flags = r->system & 31;
        message->keywords = r->keywords;
    }
}

static void hear(struct client *c, uint16_t type, const ProtobufCMessage *frame)
{
    struct mirror *m = mirrors;
    while (m->client != c)
        m++;
    if (type == RPC_IMAP_ROWS) {
        const Thurn__ImapRows *rows = (const void *)frame;
        for (size_t i = 0; i < rows->n_rows; i++)
            hear_row(m, rows->rows[i]);
    } else if (type == RPC_IMAP_UPDATES) {
        const Thurn__ImapUpdates *u = (const void *)frame;
        assert_true(u->n_expunged == 0 || !m->no_expunge);
        for (size_t i = 0; i < u->n_expunged; i++) {
            uint32_t seq = u->expunged[i];
            assert_true(seq >= 1 && seq <= m->n);
            memmove(&m->messages[seq - 1], &m->messages[seq], (m->n - seq) * sizeof m->messages[0]);
            m->n--;
        }
        if (u->has_exists) {
            assert_true(u->exists >= m->n && u->exists <= MESSAGES);
            memset(&m->messages[m->n], 0, (u->exists - m->n) * sizeof m->messages[0]);
            m->n = u->exists;
        }
        for (size_t i = 0; i < u->n_flags; i++)
            hear_row(m, u->flags[i]);
    } else if (type == RPC_IMAP_DONE && ((const Thurn__ImapDone *)(const void *)frame)->selected) {
        m->n = ((const Thurn__ImapDone *)(const void *)frame)->selected->exists;
        memset(m->messages, 0, sizeof m->messages);
    }
}

static void catch_up(struct mirror *m)
{
    ask_noop(m->client);
    ask_fetch(m->client, "1:*", true, UIDS | FLAGS, NULL, false);
    client_said(m->client);
}

/* As a client that asks for nothing but what it does not know. */
static void look_at_new_ones(struct mirror *m)
{
    char seq[16];
    ask_noop(m->client);
    for (uint32_t i = 0; i < m->n; i++)
        if (m->messages[i].uid == 0) {
            snprintf(seq, sizeof seq, "%u", i + 1);
            m->no_expunge = true;
            ask_fetch(m->client, seq, false, UIDS | FLAGS, NULL, false);
            m->no_expunge = false;
        }
    ask_noop(m->client);
    client_said(m->client);
}

static void step(struct mirror *m, uint64_t x)
{
    struct client *c = m->client;
    char seq[32], uid[32];
    uint32_t a = m->n ? (uint32_t)(x >> 8) % m->n + 1 : 1,
             b = m->n ? (uint32_t)(x >> 20) % m->n + 1 : 1;
    snprintf(seq, sizeof seq, "%u:%u", a, b);
    snprintf(uid, sizeof uid, "%u:%u", (uint32_t)(x >> 32) % 64 + 1, (uint32_t)(x >> 38) % 64 + 1);
    uint32_t flags = (uint32_t)(x >> 44) & 31;
    int mode = (int)(x >> 50) % 3;
    const char *keyword = x >> 54 & 1 ? "one" : x >> 55 & 1 ? "two" : NULL;
    switch (x % 12) {
    case 10: ask_move(c, uid, true, x >> 60 & 1 ? "INBOX" : "Away"); break;
    case 11: ask_move(c, seq, false, x >> 60 & 1 ? "INBOX" : "Away"); break;
    case 0:
    case 1:
        if (m->n < 40)
            ask_append(c, "INBOX", STR("Subject: x\r\n\r\nb"), flags);
        break;
    case 2:
        if (m->n < 40)
            ask_copy(c, uid, true, "INBOX");
        break;
    case 3: ask_expunge(c, NULL); break;
    case 4: ask_expunge(c, uid); break;
    case 5: ask_store(c, uid, true, mode, m->condstore && x >> 61 & 1, flags, keyword); break;
    case 6:
        m->no_expunge = true;
        ask_store(c, seq, false, mode, false, flags, keyword);
        m->no_expunge = false;
        break;
    case 7: ask_noop(c); break;
    default:
        m->no_expunge = true;
        ask_fetch(c, seq, false, 0, "TEXT", x >> 60 & 1);
        m->no_expunge = false;
        break;
    }
    client_said(c);
}

/* A silent STORE tells the modseq, and the client knows what it has asked for: here it looks. */
static void look_at_flags(struct mirror *m)
{
    if (m->condstore)
        ask_fetch(m->client, "1:*", true, FLAGS, NULL, false);
    client_said(m->client);
}

/* Before anything is asked for again: what was told is all that there is to know. */
static void same_modseqs(const struct mirror *a, const struct mirror *truth)
{
    assert_int_equal(a->n, truth->n);
    for (uint32_t i = 0; a->condstore && i < a->n; i++)
        assert_int_equal(a->messages[i].modseq, truth->messages[i].modseq);
}

static void same(const struct mirror *a, const struct mirror *b)
{
    assert_int_equal(a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        assert_int_equal(a->messages[i].uid, b->messages[i].uid);
        assert_int_equal(a->messages[i].flags, b->messages[i].flags);
        assert_int_equal(a->messages[i].keywords, b->messages[i].keywords);
    }
}

static void mirror_open(struct mirror *m, struct rig *r, bool examine, bool condstore)
{
    m->client = client_new(r);
    m->client->heard = hear;
    m->condstore = condstore;
    if (condstore)
        ask_condstore(m->client);
    ask_select(m->client, "INBOX", examine);
    catch_up(m);
}

static void rounds(struct rig *r, uint64_t seed, size_t slice_bytes)
{
    uint64_t x = seed;
    memset(mirrors, 0, sizeof mirrors);
    print_message("seed %" PRIu64 "\n", seed);
    struct client *first = client_new(r); /* fills in the host */
    ask_name(first, RPC_IMAP_CREATE, "Away");
    client_free(first);
    r->host.slice_bytes = slice_bytes;
    for (size_t i = 0; i < CLIENTS; i++)
        mirror_open(&mirrors[i], r, false, i > 0);
    for (unsigned round = 0; round < 150; round++) {
        for (unsigned i = 0; i < 12; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            step(&mirrors[x / 1009 % CLIENTS], x);
        }
        struct mirror *truth = &mirrors[CLIENTS];
        mirror_open(truth, r, true, true);
        for (size_t i = 0; i < CLIENTS; i++) {
            look_at_new_ones(&mirrors[i]);
            same_modseqs(&mirrors[i], truth);
            look_at_flags(&mirrors[i]);
            same(&mirrors[i], truth);
        }
        client_free(truth->client);
        truth->client = NULL;
    }
    for (size_t i = 0; i < CLIENTS; i++)
        client_free(mirrors[i].client);
}

static void mirrors_agree_whatever_the_order(void **state)
{
    rounds(*state, 88172645463325252u, 256 * 1024);
}

static void mirrors_agree_with_stops_everywhere(void **state)
{
    rounds(*state, 362436069521288629u, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(mirrors_agree_whatever_the_order),
        TEST(mirrors_agree_with_stops_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
