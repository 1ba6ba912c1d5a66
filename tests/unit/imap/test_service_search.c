/* SEARCH: each key, their combination, and texts in every case and encoding. */
#include "base/base.h"

#include "imap/service/finder.h"
#include "test_service_rig.h"

enum { S = 1, F = 4, D = 8 };

#define OP(name) THURN__SEARCH_OP__SEARCH_##name

/* A program under construction. */
struct search {
    struct arena a;
    Thurn__ImapSearch m;
    Thurn__SearchNode *nodes[512];
};

static void search_begin(struct search *s, bool uid)
{
    memset(s, 0, sizeof *s);
    arena_init(&s->a, 1024 * 1024);
    thurn__imap_search__init(&s->m);
    s->m.nodes = s->nodes;
    s->m.uid = uid;
}

static Thurn__SearchNode *node(struct search *s, Thurn__SearchOp op, uint32_t children)
{
    Thurn__SearchNode *n = arena_new(&s->a, Thurn__SearchNode);
    thurn__search_node__init(n);
    n->op = op;
    n->children = children;
    s->nodes[s->m.n_nodes++] = n;
    return n;
}

static void node_text(struct search *s, Thurn__SearchOp op, const char *header, const char *text)
{
    Thurn__SearchNode *n = node(s, op, 0);
    n->header = pb_bytes(str_c(header));
    n->text = pb_bytes(str_c(text));
}

static void search_end(struct search *s, struct client *c, const char *said)
{
    ask(c, RPC_IMAP_SEARCH, &s->m.base);
    arena_free(&s->a);
    assert_said(c, said);
}

static void one_text(struct client *c, Thurn__SearchOp op, const char *header, const char *text,
                     const char *said)
{
    struct search s;
    search_begin(&s, false);
    node_text(&s, op, header, text);
    search_end(&s, c, said);
}

static struct client *house(struct rig *r)
{
    struct client *c = client_in(r, "INBOX");
    ask_append(c, "INBOX",
               STR("From: Fred Foobar <foobar@Blurdybloop.example>\r\nTo: a@b.test, Bob <b@c>\r\n"
                   "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus Wien\r\n"
                   "Date: Mon, 7 Feb 1994 23:52:25 -0800\r\nX-Long: one\r\n two\r\n\r\n"
                   "Plain body with needle inside\r\n"),
               S);
    ask_append(
        c, "INBOX",
        STR("From: =?iso-8859-1?q?J=F6rg?= <x@y>\r\nCc: c@c\r\nBcc: hidden@z\r\nSubject: second\r\n"
            "Date: Tue, 8 Feb 1994 00:52:25 +0100\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n"
            "w4RwZmVsIHVuZCBTVFJBU1NFCg==\r\n"), /* "Aepfel und STRASSE" with umlaut */
        F);
    ask_append(
        c, "INBOX",
        STR("Subject: third\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            "Content-Type: message/rfc822\r\n\r\nSubject: innermost =?utf-8?q?=C3=A9?=\r\n\r\n"
            "deep text\r\n"
            "--b--\r\n"),
        S | D);
    client_said(c);
    return c;
}

static void texts_are_found_where_they_stand(void **state)
{
    struct client *c = house(*state);
    one_text(c, OP(FROM), "", "foobar", "n[1] ok");
    one_text(c, OP(FROM), "", "fred FOOBAR <foobar@blurdy", "n[1] ok");
    one_text(c, OP(FROM), "", "J\303\226RG <x", "n[2] ok"); /* what people see */
    one_text(c, OP(FROM), "", "iso-8859", "ok");
    one_text(c, OP(TO), "", "bob", "n[1] ok");
    one_text(c, OP(CC), "", "C@C", "n[2] ok");
    one_text(c, OP(BCC), "", "hidden", "n[2] ok");
    one_text(c, OP(SUBJECT), "", "GR\303\234", "n[1] ok");
    one_text(c, OP(SUBJECT), "", "gr\303\274sse", "n[1] ok"); /* sharp s folds to ss */
    one_text(c, OP(SUBJECT), "", "aus wien", "n[1] ok");
    one_text(c, OP(SUBJECT), "", "ir", "n[3] ok");
    one_text(c, OP(HEADER), "x-long", "one two", "n[1] ok");
    one_text(c, OP(HEADER), "X-LONG", "", "n[1] ok");
    one_text(c, OP(HEADER), "Date", "+0100", "n[2] ok");
    one_text(c, OP(HEADER), "Subject", "WIEN", "n[1] ok");
    one_text(c, OP(HEADER), "Subjec", "WIEN", "ok");
    one_text(c, OP(HEADER), "Subject", "gr\303\274\303\237e", "n[1] ok");
    one_text(c, OP(HEADER), "from", "j\303\266rg", "n[2] ok");
    one_text(c, OP(HEADER), "from", "=?ISO-8859-1?q?", "n[2] ok"); /* and what stands there */
    one_text(c, OP(BODY), "", "NEEDLE", "n[1] ok");
    one_text(c, OP(BODY), "", "\303\244pfel", "n[2] ok");
    one_text(c, OP(BODY), "", "stra\303\237e", "n[2] ok");
    one_text(c, OP(BODY), "", "deep", "n[3] ok");
    one_text(c, OP(BODY), "", "innermost", "n[3] ok");
    one_text(c, OP(BODY), "", "innermost \303\251", "n[3] ok");
    one_text(c, OP(BODY), "", "third", "ok");
    one_text(c, OP(BODY), "", "j\303\266rg", "ok");
    one_text(c, OP(TEXT), "", "j\303\266rg", "n[2] ok");
    one_text(c, OP(TEXT), "", "third", "n[3] ok");
    one_text(c, OP(TEXT), "", "needle", "n[1] ok");
    one_text(c, OP(TEXT), "", "", "n[1 2 3] ok");
    one_text(c, OP(TEXT), "", "\377", "ok");
    client_free(c);
}

static void flags_dates_and_sizes_select(void **state)
{
    struct client *c = house(*state);
    static const struct {
        Thurn__SearchOp op;
        int32_t date;
        uint64_t number;
        const char *said;
    } cases[] = {
        {OP(ALL), 0, 0, "n[1 2 3] ok"},
        {OP(FLAG), 0, S, "n[1 3] ok"},
        {OP(FLAG), 0, D, "n[3] ok"},
        {OP(FLAG), 0, 32, "n[1 2 3] ok"},
        {OP(NEW), 0, 0, "n[2] ok"},
        {OP(OLD), 0, 0, "ok"},
        {OP(LARGER), 0, 223, "n[2] ok"},
        {OP(LARGER), 0, 10, "n[1 2 3] ok"},
        {OP(SMALLER), 0, 158, "n[3] ok"},
        {OP(BEFORE), 11574, 0, "ok"}, /* 1,000,000,000 s is in day 11574 */
        {OP(BEFORE), 11575, 0, "n[1 2 3] ok"},
        {OP(ON), 11574, 0, "n[1 2 3] ok"},
        {OP(SINCE), 11575, 0, "ok"},
        {OP(SENTON), 8803, 0, "n[1] ok"}, /* 7 February 1994, whatever it was in UTC */
        {OP(SENTBEFORE), 8804, 0, "n[1] ok"},
        {OP(SENTSINCE), 8804, 0, "n[2] ok"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct search s;
        search_begin(&s, false);
        Thurn__SearchNode *n = node(&s, cases[i].op, 0);
        n->number = cases[i].number;
        n->date = cases[i].date;
        search_end(&s, c, cases[i].said);
    }
    client_free(c);
}

static void keys_combine(void **state)
{
    struct client *c = house(*state);
    struct search s;
    ask_store(c, "2", false, 1, true, 0, "Work");
    client_said(c);
    search_begin(&s, false); /* OR (AND SEEN (NOT DELETED)) KEYWORD work */
    node(&s, OP(OR), 2);
    node(&s, OP(AND), 2);
    node(&s, OP(FLAG), 0)->number = S;
    node(&s, OP(NOT), 0);
    node(&s, OP(FLAG), 0)->number = D;
    node_text(&s, OP(KEYWORD), "", "work");
    search_end(&s, c, "n[1 2] ok");
    search_begin(&s, true); /* NOT KEYWORD unknown, TEXT e, 2:9 */
    node(&s, OP(AND), 3);
    node(&s, OP(NOT), 0);
    node_text(&s, OP(KEYWORD), "", "unknown");
    node_text(&s, OP(TEXT), "", "e");
    node(&s, OP(SET), 0)->set = set_of(&s.a, "2:9", false);
    search_end(&s, c, "n[2 3] ok");
    search_begin(&s, false); /* several roots are joined as by AND */
    node(&s, OP(SET), 0)->set = set_of(&s.a, "3,1,2,17:*", true);
    node(&s, OP(NOT), 0);
    node(&s, OP(SET), 0)->set = set_of(&s.a, "*", false);
    search_end(&s, c, "n[1 2] ok");
    client_free(c);
}

static void programs_that_make_no_sense_are_refused(void **state)
{
    struct client *c = house(*state);
    struct search s;
    search_begin(&s, false);
    search_end(&s, c, "no(INVALID)");
    search_begin(&s, false);
    node(&s, OP(AND), 2);
    node(&s, OP(ALL), 0);
    search_end(&s, c, "no(INVALID)");
    search_begin(&s, false);
    for (unsigned i = 0; i < 500; i++)
        node(&s, OP(NOT), 0);
    node(&s, OP(ALL), 0);
    search_end(&s, c, "no(LIMIT_EXCEEDED)");
    search_begin(&s, false);
    node(&s, OP(AND), 200);
    for (unsigned i = 0; i < 200; i++)
        node_text(&s, OP(BODY), "", "x");
    search_end(&s, c, "no(LIMIT_EXCEEDED)");
    client_free(c);
}

static void results_stop_and_go_on(void **state)
{
    struct rig *r = *state;
    struct client *c = house(r);
    for (unsigned n = 3; n < 5000; n *= 2)
        ask_copy(c, "1:*", false, "INBOX");
    client_said(c);
    r->host.slice_us = 0;
    struct search s;
    search_begin(&s, false);
    node_text(&s, OP(SUBJECT), "", "second");
    ask(c, RPC_IMAP_SEARCH, &s.m.base);
    arena_free(&s.a);
    assert_true(c->yields > 10); /* the columns answer for many messages at once */
    const char *said = client_said(c);
    assert_memory_equal(said, "n[2 5 8 11 14 ", 14);
    assert_non_null(strstr(said, " 6143] ok"));
    search_begin(&s, false);
    node_text(&s, OP(HEADER), "subject", "second");
    c->yields = 0;
    ask(c, RPC_IMAP_SEARCH, &s.m.base);
    arena_free(&s.a);
    assert_true(c->yields > 5000); /* each message is asked */
    said = client_said(c);
    assert_memory_equal(said, "n[2 5 8 11 14 ", 14);
    assert_non_null(strstr(said, " 6143] ok"));
    client_free(c);
}

static void text_is_found_across_pieces(void **state)
{
    (void)state;
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1024 * 1024);
    static const char *const needles[] = {"needle", "\303\234ber", "e", "\342\202\254x"};
    static const char *const texts[] = {"a nEEdlE b", "f\303\274BER", "xxE", "1\342\202\254X"};
    struct finder f = {0};
    for (size_t i = 0; i < ARRAY_LEN(needles); i++) {
        struct needle n;
        assert_int_equal(needle_make(str_c(needles[i]), &a, &n).code, E_OK);
        for (size_t j = 0; j < ARRAY_LEN(texts); j++) {
            struct str text = str_c(texts[j]);
            bool whole = finder_in(&f, &n, text);
            finder_begin(&f, &n);
            for (size_t k = 0; k < text.n; k++)
                finder_feed(&f, str_sub(text, k, k + 1));
            assert_int_equal(f.found, whole);
            assert_int_equal(whole, i == j || (i == 2 && j == 0) || (i == 2 && j == 1));
        }
    }
    finder_free(&f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(texts_are_found_where_they_stand),
        TEST(flags_dates_and_sizes_select),
        TEST(keys_combine),
        TEST(programs_that_make_no_sense_are_refused),
        TEST(results_stop_and_go_on),
        cmocka_unit_test(text_is_found_across_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
