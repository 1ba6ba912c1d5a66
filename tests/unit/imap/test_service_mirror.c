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
    bool condstore, qresync;
    bool resyncing; /* rows are of the mailbox as it will be at the end of SELECT */
    uint32_t uidvalidity, exists;
    uint64_t modseq; /* the highest it has been told */
    bool no_expunge; /* a command by sequence number runs */
    unsigned deaths;
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
        m->modseq = MAX(m->modseq, r->modseq);
    }
    if (r->items & FLAGS) {
        message->flags = r->system & 31;
        message->keywords = r->keywords;
    }
}

static void remove_at(struct mirror *m, uint32_t at)
{
    assert_true(at < m->n);
    m->n--;
    memmove(&m->messages[at], &m->messages[at + 1], (m->n - at) * sizeof m->messages[0]);
}

/* If it does not know the UID: one of the messages whose UID it has not asked for, between those
 * with lower and those with higher UIDs. */
static void hear_vanished(struct mirror *m, uint32_t uid, bool earlier)
{
    uint32_t unknown = m->n;
    for (uint32_t i = 0; i < m->n && m->messages[i].uid <= uid; i++) {
        if (m->messages[i].uid == uid) {
            assert_true(!earlier || m->resyncing);
            remove_at(m, i);
            return;
        }
        unknown = m->messages[i].uid ? m->n : i;
    }
    if (!earlier)
        remove_at(m, unknown);
}

/* After an earlier session: the cache is brought up to date by UID. */
static void hear_resync_row(struct mirror *m, const Thurn__FetchRow *r)
{
    uint32_t at = 0;
    while (at < m->n && m->messages[at].uid < r->uid)
        at++;
    if (at == m->n || m->messages[at].uid != r->uid) {
        assert_true(m->n < MESSAGES);
        memmove(&m->messages[at + 1], &m->messages[at], (m->n - at) * sizeof m->messages[0]);
        m->n++;
    }
    m->messages[at] = (struct mirror_message){r->uid, r->system & 31, r->keywords, r->modseq};
    m->modseq = MAX(m->modseq, r->modseq);
}

static void hear_selected(struct mirror *m, const Thurn__ImapSelected *s)
{
    m->uidvalidity = s->uidvalidity;
    m->exists = s->exists;
    if (m->resyncing)
        return;
    m->modseq = s->highest_modseq;
    m->n = s->exists;
    memset(m->messages, 0, sizeof m->messages);
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
        struct columns_reader r;
        Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
        if (rows->column_rows)
            assert_int_equal(
                columns_begin(&r, pb_str(rows->columns), rows->column_items, rows->column_rows)
                    .code,
                E_OK);
        for (uint32_t i = 0; i < rows->column_rows; i++) {
            assert_int_equal(columns_next(&r, &row).code, E_OK);
            hear_row(m, &row);
        }
    } else if (type == RPC_IMAP_UPDATES) {
        const Thurn__ImapUpdates *u = (const void *)frame;
        assert_true((u->n_expunged == 0 && u->n_vanished == 0) || !m->no_expunge);
        assert_true(m->qresync ? u->n_expunged == 0 : u->n_vanished == 0);
        for (size_t i = 0; i < u->n_vanished; i++)
            for (uint32_t uid = u->vanished[i]->first; uid <= u->vanished[i]->last; uid++)
                hear_vanished(m, uid, u->earlier);
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
            m->resyncing ? hear_resync_row(m, u->flags[i]) : hear_row(m, u->flags[i]);
    } else if (type == RPC_IMAP_DONE && ((const Thurn__ImapDone *)(const void *)frame)->selected) {
        hear_selected(m, ((const Thurn__ImapDone *)(const void *)frame)->selected);
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

static void mirror_open(struct mirror *m, struct rig *r, bool examine, uint32_t extensions)
{
    m->client = client_new(r);
    m->client->heard = hear;
    m->condstore = extensions != 0;
    m->qresync = extensions & THURN__EXTENSION__EXTENSION_QRESYNC;
    ask_enable(m->client, extensions);
    ask_select(m->client, "INBOX", examine);
    catch_up(m);
}

/* Goes away, and comes back after others have done something. */
static void mirror_close(struct mirror *m)
{
    ask_noop(m->client);
    client_free(m->client);
    m->client = NULL;
}

static void mirror_reopen(struct mirror *m, struct rig *r)
{
    m->client = client_new(r);
    m->client->heard = hear;
    ask_enable(m->client, THURN__EXTENSION__EXTENSION_QRESYNC);
    m->resyncing = true;
    ask_resync(m->client, "INBOX", m->uidvalidity, m->modseq);
    m->resyncing = false;
    client_said(m->client);
    assert_int_equal(m->n, m->exists);
}

static void some_steps(uint64_t *x, unsigned n, unsigned clients)
{
    for (unsigned i = 0; i < n; i++) {
        *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
        step(&mirrors[*x / 1009 % clients], *x);
    }
}

/* THURN_TEST_SEED=n takes another course. */
static uint64_t seed_wanted(uint64_t usual)
{
    uint64_t seed = 0;
    const char *text = getenv("THURN_TEST_SEED");
    return text && str_to_u64(str_c(text), &seed).code == E_OK && seed ? seed : usual;
}

/* The backend of one of them dies after some frames of a command. */
static void somebody_dies(uint64_t x, bool deaths)
{
    struct client *c = mirrors[x / 7919 % CLIENTS].client;
    if (deaths && !c->dies_in)
        c->dies_in = (unsigned)(x >> 33) % 4 + 1;
    if (deaths && x >> 40 & 1)
        client_resume(mirrors[x / 104729 % CLIENTS].client);
}

static void rounds(struct rig *r, uint64_t usual_seed, size_t slice_bytes, bool deaths)
{
    uint64_t seed = seed_wanted(usual_seed);
    uint64_t x = seed;
    memset(mirrors, 0, sizeof mirrors);
    print_message("seed %" PRIu64 "\n", seed);
    struct client *first = client_new(r); /* fills in the host */
    ask_name(first, RPC_IMAP_CREATE, "Away");
    client_free(first);
    r->host.slice_bytes = slice_bytes;
    for (size_t i = 0; i < CLIENTS; i++)
        mirror_open(&mirrors[i], r, false, (uint32_t)i);
    for (unsigned round = 0; round < 150; round++) {
        for (unsigned i = 0; i < 12; i++) {
            some_steps(&x, 1, CLIENTS);
            somebody_dies(x, deaths);
        }
        if (round % 5 == 4) {
            look_at_new_ones(&mirrors[CLIENTS - 1]);
            look_at_flags(&mirrors[CLIENTS - 1]);
            mirror_close(&mirrors[CLIENTS - 1]);
            some_steps(&x, 12, CLIENTS - 1);
            mirror_reopen(&mirrors[CLIENTS - 1], r);
        }
        struct mirror *truth = &mirrors[CLIENTS];
        mirror_open(truth, r, true, THURN__EXTENSION__EXTENSION_CONDSTORE);
        for (size_t i = 0; i < CLIENTS; i++) {
            look_at_new_ones(&mirrors[i]);
            same_modseqs(&mirrors[i], truth);
            look_at_flags(&mirrors[i]);
            same(&mirrors[i], truth);
        }
        client_free(truth->client);
        truth->client = NULL;
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        mirrors[i].deaths = mirrors[i].client->deaths;
        client_free(mirrors[i].client);
    }
}

static void mirrors_agree_whatever_the_order(void **state)
{
    rounds(*state, 88172645463325252u, 256 * 1024, false);
}

static void mirrors_agree_with_stops_everywhere(void **state)
{
    rounds(*state, 362436069521288629u, 1, false);
}

static unsigned all_deaths(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < CLIENTS; i++)
        n += mirrors[i].deaths;
    return n;
}

static void mirrors_agree_though_backends_die(void **state)
{
    rounds(*state, 521288629546311u, 256 * 1024, true);
    assert_true(all_deaths() > 50);
}

static void mirrors_agree_though_backends_die_between_any_two_frames(void **state)
{
    rounds(*state, 6364136223846793005u, 1, true);
    assert_true(all_deaths() > 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(mirrors_agree_whatever_the_order),
        TEST(mirrors_agree_with_stops_everywhere),
        TEST(mirrors_agree_though_backends_die),
        TEST(mirrors_agree_though_backends_die_between_any_two_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
