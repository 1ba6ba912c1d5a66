#include "mime_test.h"

static void a_plain_message_is_one_part_with_header_and_body(void **state)
{
    PARSED(p, "From: a@b.example\r\nSubject: hello\r\n\r\none\r\ntwo\r\n");
    assert_int_equal(p.email->n_parts, 1);
    assert_slice(header_of(&p, 0), "From: a@b.example\r\nSubject: hello\r\n\r\n");
    assert_slice(body_of(&p, 0), "one\r\ntwo\r\n");
    assert_int_equal(p.email->parts[0]->lines, 2);
    assert_pb(p.email->parts[0]->type, "text");
    assert_pb(p.email->parts[0]->subtype, "plain");
    assert_pb(p.email->parts[0]->encoding, "7bit");
    assert_int_equal(p.email->broken, 0);
    assert_int_equal(p.email->n_fields, 2);
    assert_pb(p.email->fields[1]->name, "Subject");
    assert_int_equal(p.email->fields[1]->offset, 19);
    assert_int_equal(p.email->fields[1]->length, 16);
    assert_true(p.email->parts[0]->text_is_body);
    assert_pb(p.email->preview, "one two");
}

static void a_folded_field_is_one_with_its_last_line_end(void **state)
{
    PARSED(p, "Subject: a\r\n b\r\nX: y\r\n\r\n");
    assert_int_equal(p.email->fields[0]->length, 16);
    assert_pb(p.email->envelope->subject, "a b");
    assert_int_equal(p.email->fields[1]->offset, 16);
}

static void an_empty_message_has_one_empty_part(void **state)
{
    PARSED(p, "");
    assert_int_equal(p.email->n_parts, 1);
    assert_int_equal(p.email->parts[0]->end_offset, 0);
}

static const char multipart[] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
                                "preamble\r\n"
                                "--b\r\n\r\none\r\n"
                                "--b  \r\nContent-Type: text/html\r\n\r\n<p>two\r\n\r\n"
                                "--b--\r\nepilogue\r\n";

static void the_line_end_before_a_delimiter_is_the_delimiters(void **state)
{
    PARSED(p, multipart);
    assert_int_equal(p.email->n_parts, 3);
    assert_slice(header_of(&p, 1), "\r\n");
    assert_slice(body_of(&p, 1), "one");
    assert_int_equal(p.email->parts[1]->lines, 0);
    assert_slice(header_of(&p, 2), "Content-Type: text/html\r\n\r\n");
    assert_slice(body_of(&p, 2), "<p>two\r\n");
    assert_int_equal(p.email->parts[2]->lines, 1);
    assert_true(p.email->parts[0]->multipart);
    assert_int_equal(p.email->broken, 0);
}

static void an_embedded_message_has_its_envelope_and_parts(void **state)
{
    PARSED(p, "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n"
              "Subject: inner\r\nFrom: x@y.example\r\n\r\ninner body\r\n\r\n--b--\r\n");
    assert_int_equal(p.email->n_parts, 3);
    assert_true(p.email->parts[1]->message);
    assert_pb(p.email->parts[1]->envelope->subject, "inner");
    assert_int_equal(p.email->parts[2]->parent, 1);
    assert_slice(header_of(&p, 2), "Subject: inner\r\nFrom: x@y.example\r\n\r\n");
    assert_slice(body_of(&p, 2), "inner body\r\n");
    assert_int_equal(p.email->parts[1]->lines, 4);
}

static void an_encoded_message_is_not_taken_apart(void **state)
{
    PARSED(p, "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdA==\n");
    assert_int_equal(p.email->n_parts, 1);
    assert_false(p.email->parts[0]->message);
}

static void a_boundary_is_not_taken_for_one_that_begins_like_it(void **state)
{
    PARSED(p, "Content-Type: multipart/mixed; boundary=a\n\n--a\n"
              "Content-Type: multipart/mixed; boundary=ab\n\n--ab\n\ninner\n--ab--\n"
              "--a\n\nouter\n--a--\n");
    assert_int_equal(p.email->n_parts, 4);
    assert_slice(body_of(&p, 2), "inner");
    assert_int_equal(p.email->parts[2]->parent, 1);
    assert_slice(body_of(&p, 3), "outer");
    assert_int_equal(p.email->parts[3]->parent, 0);
}

static void an_outer_delimiter_ends_inner_multiparts_without_end(void **state)
{
    PARSED(p, "Content-Type: multipart/mixed; boundary=o\n\n--o\n"
              "Content-Type: multipart/mixed; boundary=i\n\n--i\n\ninner\n--o\n\nouter\n");
    assert_int_equal(p.email->n_parts, 4);
    assert_slice(body_of(&p, 2), "inner");
    assert_slice(body_of(&p, 3), "outer\n");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__NO_END_BOUNDARY));
}

static void a_multipart_without_delimiters_shows_its_body(void **state)
{
    PARSED(p, "Content-Type: multipart/mixed; boundary=b\n\nplain words\n");
    assert_int_equal(p.email->n_parts, 2);
    assert_slice(body_of(&p, 1), "plain words\n");
    assert_pb(p.email->preview, "plain words");
    PARSED(q, "Content-Type: multipart/mixed\n\nplain words\n");
    assert_int_equal(q.email->n_parts, 2);
}

static void a_delimiter_inside_a_part_header_ends_it(void **state)
{
    PARSED(p, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
              "text/html\r\n--b\r\n\r\nx\r\n--b--");
    assert_int_equal(p.email->n_parts, 3);
    assert_slice(header_of(&p, 1), "Content-Type: text/html");
    assert_slice(body_of(&p, 1), "");
}

static void delimiters_in_a_row_make_empty_parts_inside_their_parent(void **state)
{
    PARSED(p, "Content-Type: multipart/mixed; boundary=o\n\n--o\n"
              "Content-Type: multipart/mixed; boundary=i\n\n--i\n--o\n--o\n--o--\n");
    assert_int_equal(p.email->n_parts, 5);
    assert_int_equal(p.email->parts[1]->lines, 1);
}

static void bare_line_feeds_work_and_are_noted(void **state)
{
    PARSED(p, "Subject: x\n\nbody\n");
    assert_slice(body_of(&p, 0), "body\n");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__BARE_LF));
}

static void nul_bytes_stay_and_are_noted(void **state)
{
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, STR("Subject: a\0b\r\n\r\nc\0d\r\n"), &mime_limits_default);
    assert_int_equal(p.email->parts[0]->end_offset, 21);
    assert_pb(p.email->envelope->subject, "a b");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__NUL_BYTE));
}

static void lines_that_are_no_fields_are_skipped_in_a_header(void **state)
{
    PARSED(p, "From x@y Mon Jan  1 00:00:00 2024\nSubject: s\nnonsense\nTo: a@b\n\nbody\n");
    assert_pb(p.email->envelope->subject, "s");
    assert_int_equal(p.email->envelope->n_to, 1);
    assert_int_equal(p.email->n_fields, 2);
    assert_slice(body_of(&p, 0), "body\n");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__BAD_HEADER_LINE));
}

static void text_without_any_header_is_a_body(void **state)
{
    PARSED(p, "just words\nand more\n");
    assert_slice(body_of(&p, 0), "just words\nand more\n");
    assert_int_equal(p.email->parts[0]->lines, 2);
}

static void eight_bit_headers_are_noted_unless_utf8(void **state)
{
    PARSED(p, "Subject: caf\xe9\n\n");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__HEADER_8BIT));
    assert_pb(p.email->envelope->subject, "caf\xe9");
    assert_pb(p.email->envelope->subject_text, "caf\xc3\xa9");
    PARSED(q, "Subject: caf\xc3\xa9\n\n");
    assert_false(is_broken(&q, THURN__EMAIL__BROKEN__HEADER_8BIT));
}

static void fields_that_need_decoding_have_their_text(void **state)
{
    PARSED(p, "From: =?utf-8?q?J=C3=B6rg?=\n =?utf-8?b?w6k=?= <j@x>\nTo: plain <p@x>\n"
              "X-Raw: caf\xe9\nX-Utf8: caf\xc3\xa9\nX-None: a=?b\n\n");
    static const char *const texts[] = {"J\xc3\xb6rg\xc3\xa9 <j@x>", "", "caf\xc3\xa9", "", ""};
    assert_int_equal(p.email->n_fields, ARRAY_LEN(texts));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_pb(p.email->fields[i]->text, texts[i]);
    assert_pb(p.email->envelope->from[0]->name_text, "J\xc3\xb6rg\xc3\xa9");
    assert_pb(p.email->envelope->to[0]->name_text, "");
    struct mime_limits limits = mime_limits_default;
    limits.field_text = 10;
    struct parsed q CLEANUP(parsed_free) = {0};
    parse_within(&q, STR("A: =?utf-8?q?1234567?=\nB: =?utf-8?q?890?=\nC: =?utf-8?q?x?=\n\n"),
                 &limits);
    assert_pb(q.email->fields[1]->text, "890");
    assert_pb(q.email->fields[2]->text, ""); /* no more room */
    assert_true(is_broken(&q, THURN__EMAIL__BROKEN__LIMIT_REACHED));
}

static void the_header_of_an_embedded_message_can_be_searched(void **state)
{
    PARSED(p, "Content-Type: message/rfc822\n\nSubject: =?utf-8?q?=C3=A9?=\nX-A: plain\n"
              "From: =?utf-8?q?=C3=B6?= <a@b>\n\nbody\n");
    const Thurn__Part *message = p.email->parts[0];
    assert_true(message->message);
    assert_slice(str_sub(p.result.text, message->text_offset,
                         (size_t)message->text_offset + message->text_length),
                 "\xc3\xa9\n\xc3\xb6 <a@b>\n");
}

/* ---------------------------------------------------------------------------------------- limits
 */

static struct str repeat(struct buf *b, const char *what, size_t times)
{
    for (size_t i = 0; i < times; i++)
        buf_put(b, str_c(what));
    return buf_str(b);
}

static void ten_thousand_levels_of_multiparts_are_flat_below_the_limit(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    for (unsigned i = 0; i < 10000; i++)
        buf_printf(&b, "Content-Type: multipart/mixed; boundary=b%05u\n\n--b%05u\n", i, i);
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, buf_str(&b), &mime_limits_default);
    assert_int_equal(p.email->n_parts, 101);
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__LIMIT_REACHED));
}

static void ten_thousand_levels_of_messages_are_flat_below_the_limit(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, repeat(&b, "Content-Type: message/rfc822\n\n", 10000), &mime_limits_default);
    assert_int_equal(p.email->n_parts, 101);
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__LIMIT_REACHED));
}

static void three_hundred_thousand_parts_end_at_the_limit(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    buf_put(&b, STR("Content-Type: multipart/mixed; boundary=b\n\n"));
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, repeat(&b, "--b\n\nx\n", 300000), &mime_limits_default);
    assert_int_equal(p.email->n_parts, 10000);
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__LIMIT_REACHED));
}

static void a_gigantic_header_is_cut_and_the_rest_is_body(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    struct parsed p CLEANUP(parsed_free) = {0};
    buf_put(&b, STR("Subject: x\r\nX-Long: "));
    parse_within(&p, repeat(&b, "yyyyyyyyy\r\n ", 300000), &mime_limits_default);
    assert_int_equal(p.email->parts[0]->body_offset, mime_limits_default.header_bytes);
    assert_pb(p.email->envelope->subject, "x");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__LIMIT_REACHED));
}

static void fields_and_addresses_beyond_the_limit_are_left_out(void **state)
{
    const struct mime_limits limits = {
        .depth = 10, .parts = 10, .fields = 2, .header_bytes = 1000, .addresses = 2, .text = 1000};
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, STR("To: a@b, g: c@d, e@f;\nX: 1\nY: 2\n\nbody"), &limits);
    assert_int_equal(p.email->n_fields, 2);
    assert_int_equal(p.email->envelope->n_to, 3); /* the group is ended all the same */
    assert_slice(body_of(&p, 0), "body");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__LIMIT_REACHED));
}

static void a_small_arena_is_an_error_and_not_a_crash(void **state)
{
    for (size_t budget = 0; budget < 8000; budget += 7) {
        struct arena a;
        struct mime_result r = {0};
        arena_init(&a, budget);
        struct err e = mime_parse(str_c(multipart), &mime_limits_default, &a, &r);
        assert_true(e.code == E_OK || e.code == E_LIMIT);
        assert_true((e.code == E_OK) == (r.email != NULL));
        arena_free(&a);
    }
}

/* Each prefix in memory of its own, so that a sanitizer sees a read beyond it. */
static void every_prefix_of_a_message_parses(void **state)
{
    static const char *const messages[] = {
        multipart,
        "From: =?utf-8?q?J=C3=BC?= (c \\) \"x) <@a,@b:\"q\\\"x\"@[1.2.3.4]>, g:a@b;\r\n"
        "Date: Fri, 7 Oct 1994 16:15:05 -0700 (PDT)\r\n"
        "Content-Type: text/plain; charset=iso-2022-jp; name*0*=utf-8''%41; name*1=\"b\\\"c\"\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n=1B$B$\"=1B(B =\r\n=4\r\n",
        "Content-Type: message/rfc822\r\n\r\nSubject: x\r\nContent-Type: multipart/a; boundary=q"
        "\r\n\r\n--q\r\nContent-Type: text/html; charset=koi8-r\r\nContent-Transfer-Encoding: "
        "base64\r\n\r\nwcLD&amp;\r\n--q--\r\n",
    };
    for (size_t m = 0; m < ARRAY_LEN(messages); m++) {
        struct str whole = str_c(messages[m]);
        for (size_t n = 0; n <= whole.n; n++) {
            uint8_t *copy = malloc(n ? n : 1);
            assert_non_null(copy);
            memcpy(copy, whole.p, n);
            struct parsed p CLEANUP(parsed_free) = {0};
            parse_within(&p, str_of(copy, n), &mime_limits_default);
            free(copy);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_message_is_one_part_with_header_and_body),
        cmocka_unit_test(a_folded_field_is_one_with_its_last_line_end),
        cmocka_unit_test(an_empty_message_has_one_empty_part),
        cmocka_unit_test(the_line_end_before_a_delimiter_is_the_delimiters),
        cmocka_unit_test(an_embedded_message_has_its_envelope_and_parts),
        cmocka_unit_test(an_encoded_message_is_not_taken_apart),
        cmocka_unit_test(a_boundary_is_not_taken_for_one_that_begins_like_it),
        cmocka_unit_test(an_outer_delimiter_ends_inner_multiparts_without_end),
        cmocka_unit_test(a_multipart_without_delimiters_shows_its_body),
        cmocka_unit_test(a_delimiter_inside_a_part_header_ends_it),
        cmocka_unit_test(delimiters_in_a_row_make_empty_parts_inside_their_parent),
        cmocka_unit_test(bare_line_feeds_work_and_are_noted),
        cmocka_unit_test(nul_bytes_stay_and_are_noted),
        cmocka_unit_test(lines_that_are_no_fields_are_skipped_in_a_header),
        cmocka_unit_test(text_without_any_header_is_a_body),
        cmocka_unit_test(fields_that_need_decoding_have_their_text),
        cmocka_unit_test(the_header_of_an_embedded_message_can_be_searched),
        cmocka_unit_test(eight_bit_headers_are_noted_unless_utf8),
        cmocka_unit_test(ten_thousand_levels_of_multiparts_are_flat_below_the_limit),
        cmocka_unit_test(ten_thousand_levels_of_messages_are_flat_below_the_limit),
        cmocka_unit_test(three_hundred_thousand_parts_end_at_the_limit),
        cmocka_unit_test(a_gigantic_header_is_cut_and_the_rest_is_body),
        cmocka_unit_test(fields_and_addresses_beyond_the_limit_are_left_out),
        cmocka_unit_test(a_small_arena_is_an_error_and_not_a_crash),
        cmocka_unit_test(every_prefix_of_a_message_parses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
