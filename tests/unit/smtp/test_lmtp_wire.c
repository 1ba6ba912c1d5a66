#include "smtp/smtp_wire.h"

#include <setjmp.h>
#include <cmocka.h>

/* ------------------------------------------------------------------------------------- commands */

struct parsed {
    struct arena arena;
    struct smtp_command command;
    struct smtp_reply bad;
    bool ok;
};

static void parsed_free(struct parsed *p)
{
    arena_free(&p->arena);
}

static struct parsed parse(const char *line)
{
    struct parsed p = {0};
    arena_init(&p.arena, 16 * KB);
    p.ok = smtp_parse(str_c(line), SMTP_LMTP, &p.arena, &p.command, &p.bad);
    return p;
}

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_c(want)))
        fail_msg("got \"%.*s\", want \"%s\"", STR_FMT(got), want);
}

static void assert_address(const char *line, const char *local, const char *domain)
{
    struct parsed p CLEANUP(parsed_free) = parse(line);
    if (!p.ok)
        fail_msg("%s: refused: %u %s", line, p.bad.code, p.bad.text);
    assert_str(p.command.local, local);
    assert_str(p.command.address_domain, domain);
}

static void assert_refused(const char *line, unsigned code)
{
    struct parsed p CLEANUP(parsed_free) = parse(line);
    if (p.ok || p.bad.code != code)
        fail_msg("%s: %s %u, want %u", line, p.ok ? "accepted" : "refused", p.bad.code, code);
    assert_non_null(p.bad.enhanced);
    assert_non_null(p.bad.text);
}

static void every_command_is_known_in_any_case(void **state)
{
    static const struct {
        const char *line;
        enum smtp_verb verb;
    } cases[] = {
        {"LHLO mx.example.org", SMTP_LHLO},
        {"lhlo [192.0.2.1]", SMTP_LHLO},
        {"Mail From:<a@b>", SMTP_MAIL},
        {"rcpt to:<a@b>", SMTP_RCPT},
        {"DATA", SMTP_DATA},
        {"data ", SMTP_DATA},
        {"RSET", SMTP_RSET},
        {"NOOP", SMTP_NOOP},
        {"NOOP anything at all", SMTP_NOOP},
        {"VRFY somebody", SMTP_VRFY},
        {"HELP", SMTP_HELP},
        {"HELP me", SMTP_HELP},
        {"quit", SMTP_QUIT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct parsed p CLEANUP(parsed_free) = parse(cases[i].line);
        assert_true(p.ok);
        assert_int_equal(p.command.verb, cases[i].verb);
    }
}

static void lhlo_keeps_the_name_as_given(void **state)
{
    struct parsed p CLEANUP(parsed_free) = parse("LHLO MX_1.Example.ORG");
    assert_true(p.ok);
    assert_str(p.command.domain, "MX_1.Example.ORG");
}

static void addresses_are_taken_apart(void **state)
{
    assert_address("MAIL FROM:<>", "", "");
    assert_address("MAIL FROM:<Alice@Example.TEST>", "Alice", "example.test");
    assert_address("MAIL FROM: <alice@example.test>", "alice", "example.test");
    assert_address("RCPT TO:<\"a b\"@example.test>", "a b", "example.test");
    assert_address("RCPT TO:<\"a\\\"\\\\b@c\"@example.test>", "a\"\\b@c", "example.test");
    assert_address("RCPT TO:<@one.test,@two.test:bob@three.test>", "bob", "three.test");
    assert_address("RCPT TO:<bob@[192.0.2.1]>", "bob", "[192.0.2.1]");
    assert_address("RCPT TO:<bob@[IPv6:2001:DB8::1]>", "bob", "[ipv6:2001:db8::1]");
    assert_address("RCPT TO:<Postmaster>", "Postmaster", "");
    assert_address("RCPT TO:<a..b.@example.test>", "a..b.", "example.test");
    assert_address("RCPT TO:<a+tag=x/y!{z}@localhost>", "a+tag=x/y!{z}", "localhost");
    assert_address("MAIL FROM:<\"\"@example.test>", "", "example.test");
}

static void malformed_addresses_are_refused(void **state)
{
    static const char *const paths[] = {
        "a@b",        "<a@b",     "a@b>",       "<a@>",     "<@b>",         "<a b@c>",
        "<a@b c>",    "<a@b..c>", "<a@.b>",     "<a@b.>",   "<a@-b>",       "<a@b->",
        "<a@b-.c>",   "<\"a@b>",  "<\"a\"b@c>", "<a@[]>",   "<a@[1.2.3.4>", "<a@b>x",
        "<a@b><c@d>", "<@a:>",    "<@a,b:c@d>", "<a\\b@c>", "<a@b@c>",      "",
    };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char line[128];
        (void)snprintf(line, sizeof line, "MAIL FROM:%s", paths[i]);
        assert_refused(line, 501);
        (void)snprintf(line, sizeof line, "RCPT TO:%s", paths[i]);
        assert_refused(line, 501);
    }
    assert_refused("RCPT TO:<>", 501);
    assert_refused("RCPT TO:<bob>", 501);
    assert_refused("MAIL FROM:<bob>", 501);
    assert_refused("MAIL TO:<a@b>", 501);
    assert_refused("RCPT FROM:<a@b>", 501);
}

static void long_addresses_are_refused(void **state)
{
    char line[1024], local[300];
    memset(local, 'x', sizeof local);
    (void)snprintf(line, sizeof line, "RCPT TO:<%.*s@b>", SMTP_LOCAL_MAX, local);
    struct parsed p CLEANUP(parsed_free) = parse(line);
    assert_true(p.ok);
    (void)snprintf(line, sizeof line, "RCPT TO:<%.*s@b>", SMTP_LOCAL_MAX + 1, local);
    assert_refused(line, 501);
    (void)snprintf(line, sizeof line, "RCPT TO:<a@%.*s>", SMTP_DOMAIN_MAX + 1, local);
    assert_refused(line, 501);
}

static void mail_parameters_are_read(void **state)
{
    struct parsed p CLEANUP(parsed_free) = parse("MAIL FROM:<a@b> size=1234 BODY=8bitmime ");
    assert_true(p.ok);
    assert_int_equal(p.command.size, 1234);
    assert_int_equal(p.command.body, SMTP_8BITMIME);
    struct parsed q CLEANUP(parsed_free) = parse("MAIL FROM:<a@b> BODY=7BIT");
    assert_true(q.ok);
    assert_int_equal(q.command.size, 0);
    assert_int_equal(q.command.body, SMTP_7BIT);
}

static void wrong_parameters_are_refused(void **state)
{
    assert_refused("MAIL FROM:<a@b> SIZE=", 501);
    assert_refused("MAIL FROM:<a@b> SIZE=-1", 501);
    assert_refused("MAIL FROM:<a@b> SIZE=99999999999999999999999", 501);
    assert_refused("MAIL FROM:<a@b> SIZE=1 SIZE=2", 501);
    assert_refused("MAIL FROM:<a@b> BODY=BINARYMIME", 501);
    assert_refused("MAIL FROM:<a@b> =", 501);
    assert_refused("MAIL FROM:<a@b> SMTPUTF8", 555);
    assert_refused("MAIL FROM:<a@b> RET=FULL", 555);
    assert_refused("RCPT TO:<a@b> NOTIFY=NEVER", 555);
    assert_refused("RCPT TO:<a@b> SIZE=1", 555);
}

static void other_lines_are_refused_with_the_right_code(void **state)
{
    assert_refused("", 500);
    assert_refused("   ", 500);
    assert_refused("HELO there", 500);
    assert_refused("EHLO there", 500);
    assert_refused("MAILFROM:<a@b>", 500);
    assert_refused("GET / HTTP/1.1", 500);
    assert_refused("LHLO", 501);
    assert_refused("LHLO one two", 501);
    assert_refused("DATA now", 501);
    assert_refused("VRFY", 501);
    assert_refused("RCPT TO:<b\xc3\xbc@c>", 553);
    assert_refused("NOOP \x01", 500);
    struct parsed p CLEANUP(parsed_free) = {0};
    arena_init(&p.arena, KB);
    assert_false(smtp_parse(STR("NOOP a\0b"), SMTP_LMTP, &p.arena, &p.command, &p.bad));
    assert_int_equal(p.bad.code, 500);
}

static void a_full_arena_is_a_temporary_refusal(void **state)
{
    struct parsed p CLEANUP(parsed_free) = {0};
    arena_init(&p.arena, 4);
    assert_false(smtp_parse(STR("RCPT TO:<somebody@example.test>"), SMTP_LMTP, &p.arena, &p.command,
                            &p.bad));
    assert_int_equal(p.bad.code, 452);
}

/* ---------------------------------------------------------------------------------------- lines */

/* The lines found when the input comes in pieces of `step` bytes, joined by '|'. */
static void split(struct str input, size_t step, struct buf *out)
{
    struct buf in CLEANUP(buf_free) = {0};
    struct smtp_lines lines = {0};
    for (size_t at = 0; at < input.n; at += step) {
        buf_put(&in, str_sub(input, at, at + step));
        struct str line;
        bool too_long;
        while (smtp_line_next(&lines, &in, &line, &too_long)) {
            buf_put(out, too_long ? STR("TOO LONG") : line);
            buf_byte(out, '|');
        }
        assert_true(in.n <= SMTP_LINE_MAX);
    }
}

static void lines_are_found_however_they_are_cut(void **state)
{
    struct buf input CLEANUP(buf_free) = {0};
    buf_put(&input, STR("NOOP\r\nRSET\n\r\n\nA\rB\r\n"));
    for (int i = 0; i < 3 * SMTP_LINE_MAX; i++)
        buf_byte(&input, 'x');
    buf_put(&input, STR("\r\nQUIT\r\nrest"));
    for (size_t step = 1; step < 40; step++) {
        struct buf out CLEANUP(buf_free) = {0};
        split(buf_str(&input), step, &out);
        assert_str(buf_str(&out), "NOOP|RSET|||A\rB|TOO LONG|QUIT|");
    }
}

static void a_line_of_the_largest_size_is_taken(void **state)
{
    for (size_t n = SMTP_LINE_MAX - 1; n <= SMTP_LINE_MAX + 1; n++) {
        struct buf in CLEANUP(buf_free) = {0};
        while (in.n < n - 2)
            buf_byte(&in, 'x');
        buf_put(&in, STR("\r\n"));
        struct smtp_lines lines = {0};
        struct str line;
        bool too_long;
        assert_true(smtp_line_next(&lines, &in, &line, &too_long));
        assert_int_equal(too_long, n > SMTP_LINE_MAX);
        assert_int_equal(line.n, too_long ? 0 : n - 2);
        assert_int_equal(in.n, 0);
    }
}

/* ----------------------------------------------------------------------------------------- data */

struct collected {
    struct buf message;
    size_t runs;
};

static void collect(void *arg, struct str bytes)
{
    struct collected *c = arg;
    assert_true(bytes.n > 0);
    buf_put(&c->message, bytes);
    c->runs++;
}

static void assert_message(struct collected *c, const char *wire, struct str want, size_t used,
                           size_t wire_n)
{
    if (!str_eq(buf_str(&c->message), want))
        fail_msg("\"%s\" gives \"%.*s\"", wire, STR_FMT(buf_str(&c->message)));
    assert_int_equal(used, wire_n);
}

/* The end of data is the end of `wire`; "QUIT" follows and is left alone. */
static void assert_data(const char *wire, const char *want)
{
    struct buf in CLEANUP(buf_free) = {0};
    buf_put(&in, str_c(wire));
    size_t wire_n = in.n;
    buf_put(&in, STR("QUIT\r\n"));
    struct str all = buf_str(&in);
    for (size_t cut = 0; cut <= wire_n; cut++) {
        struct collected c = {0};
        struct smtp_data d = {0};
        bool ended = false;
        size_t used = smtp_data_feed(&d, str_sub(all, 0, cut), collect, &c, &ended);
        assert_int_equal(ended, cut == wire_n);
        assert_int_equal(used, cut);
        if (!ended)
            used += smtp_data_feed(&d, str_skip(all, cut), collect, &c, &ended);
        assert_true(ended);
        assert_message(&c, wire, str_c(want), used, wire_n);
        buf_free(&c.message);
    }
    struct collected c = {0};
    struct smtp_data d = {0};
    bool ended = false;
    size_t at = 0;
    while (!ended)
        at += smtp_data_feed(&d, str_sub(all, at, at + 1), collect, &c, &ended);
    assert_message(&c, wire, str_c(want), at, wire_n);
    buf_free(&c.message);
}

static void only_crlf_dot_crlf_ends_the_message(void **state)
{
    assert_data(".\r\n", "");
    assert_data("a\r\n.\r\n", "a\r\n");
    assert_data("\r\n.\r\n", "\r\n");
    assert_data("a\n.\nb\r\n.\r\n", "a\n.\nb\r\n");
    assert_data("a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n");
    assert_data("a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n");
    assert_data("a\r.\rb\r\n.\r\n", "a\r.\rb\r\n");
    assert_data("a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n");
    assert_data("a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n");
    assert_data("a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\r\nb\r\n");
    assert_data("a\r\r\n.\r\n", "a\r\r\n");
    assert_data("\n.\r\n\r\n.\r\n", "\n.\r\n\r\n");
}

static void one_dot_is_taken_from_stuffed_lines(void **state)
{
    assert_data("..\r\n.\r\n", ".\r\n");
    assert_data("...\r\n.\r\n", "..\r\n");
    assert_data("a\r\n..\r\n.b\r\n..c\r\n.\r\n", "a\r\n.\r\nb\r\n.c\r\n");
    assert_data("a.\r\n.\r\n", "a.\r\n");
    assert_data("a\n..b\r\n.\r\n", "a\n..b\r\n");
}

/* What is found by several bytes at a time is what is found by one. */
static void a_message_is_the_same_however_it_comes(void **state)
{
    for (uint64_t round = 0, n = 1; round < 100000; round++) {
        uint8_t text[48];
        for (size_t i = 0; i < sizeof text; i++) {
            n = n * 6364136223846793005u + 1442695040888963407u;
            text[i] = (uint8_t) "\r\n..\r\nxy"[n >> 61];
        }
        struct str in = str_of(text, sizeof text);
        struct collected whole = {0}, pieces = {0};
        struct smtp_data d = {0}, e = {0};
        bool ended = false, ended_too = false;
        size_t used = smtp_data_feed(&d, in, collect, &whole, &ended), at = 0;
        while (at < in.n && !ended_too)
            at += smtp_data_feed(&e, str_sub(in, at, at + 1), collect, &pieces, &ended_too);
        assert_int_equal(ended, ended_too);
        assert_int_equal(used, at);
        assert_true(str_eq(buf_str(&whole.message), buf_str(&pieces.message)));
        buf_free(&whole.message);
        buf_free(&pieces.message);
    }
}

static void nul_bytes_come_through(void **state)
{
    struct collected c = {0};
    struct smtp_data d = {0};
    bool ended;
    struct str in = STR("a\0\r\n\0.\r\n.\0\r\n.\r\n");
    assert_int_equal(smtp_data_feed(&d, in, collect, &c, &ended), in.n);
    assert_true(ended);
    assert_true(str_eq(buf_str(&c.message), STR("a\0\r\n\0.\r\n\0\r\n")));
    buf_free(&c.message);
}

static void a_message_without_dots_is_passed_on_in_one_piece(void **state)
{
    struct buf in CLEANUP(buf_free) = {0};
    for (int i = 0; i < 1300; i++)
        buf_put(
            &in,
            STR("The quick brown fox jumps over the lazy dog, and then does it once more.\r\n"));
    size_t n = in.n;
    buf_put(&in, STR(".\r\n"));
    struct collected c = {0};
    struct smtp_data d = {0};
    bool ended;
    assert_int_equal(smtp_data_feed(&d, buf_str(&in), collect, &c, &ended), in.n);
    assert_true(ended);
    assert_int_equal(c.runs, 1);
    assert_int_equal(c.message.n, n);
    buf_free(&c.message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_known_in_any_case),
        cmocka_unit_test(lhlo_keeps_the_name_as_given),
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(malformed_addresses_are_refused),
        cmocka_unit_test(long_addresses_are_refused),
        cmocka_unit_test(mail_parameters_are_read),
        cmocka_unit_test(wrong_parameters_are_refused),
        cmocka_unit_test(other_lines_are_refused_with_the_right_code),
        cmocka_unit_test(a_full_arena_is_a_temporary_refusal),
        cmocka_unit_test(lines_are_found_however_they_are_cut),
        cmocka_unit_test(a_line_of_the_largest_size_is_taken),
        cmocka_unit_test(only_crlf_dot_crlf_ends_the_message),
        cmocka_unit_test(one_dot_is_taken_from_stuffed_lines),
        cmocka_unit_test(a_message_is_the_same_however_it_comes),
        cmocka_unit_test(nul_bytes_come_through),
        cmocka_unit_test(a_message_without_dots_is_passed_on_in_one_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
