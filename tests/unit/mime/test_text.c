#include "mime_test.h"

static void assert_text(const char *header, const char *body, const char *want)
{
    struct buf message CLEANUP(buf_free) = {0};
    buf_printf(&message, "%s\n\n%s", header, body);
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, buf_str(&message), &mime_limits_default);
    assert_slice(text_of(&p, 0), want);
}

static void quoted_printable_bodies(void **state)
{
    const char *h = "Content-Transfer-Encoding: quoted-printable";
    assert_text(h, "a=3Db=\n c  \nd=  \ne", "a=b c\nde");
    assert_text(h, "caf=C3=A9", "caf\xc3\xa9");
    assert_text(h, "caf=e9", "caf\xc3\xa9");
    assert_text(h, "bad =XY = z=", "bad =XY = z");
}

static void base64_bodies(void **state)
{
    const char *h = "Content-Transfer-Encoding: base64";
    assert_text(h, "aGVs\r\nbG8=\r\n", "hello");
    assert_text(h, "aGVsbG8", "hello");
    assert_text(h, "aGk=aGk=", "hihi");
    assert_text(h, "a!G#k=", "hi");
    assert_text(h, "a", "");
}

static void bodies_in_other_charsets(void **state)
{
    assert_text("Content-Type: text/plain; charset=iso-8859-1", "\xe9", "\xc3\xa9");
    assert_text("Content-Type: text/plain; charset=\"ISO-8859-15\"", "\xa4", "\xe2\x82\xac");
    assert_text("Content-Type: text/plain; charset=gb2312", "\xc4\xe3", "\xe4\xbd\xa0");
    assert_text("Content-Type: text/plain; charset=iso-2022-jp", "\x1b$B$\"\x1b(B", "\xe3\x81\x82");
    assert_text("Content-Type: text/plain; charset=utf-7", "+AOk-", "\xc3\xa9");
    assert_text("Content-Type: text/plain", "\xe9", "\xc3\xa9");
    assert_text("Content-Type: text/plain; charset=x-none", "\xe9", "\xc3\xa9");
}

static void charsets_outside_the_basic_plane(void **state)
{
    assert_text("Content-Type: text/plain; charset=utf-16be\nContent-Transfer-Encoding: base64",
                "2D3eAA==", "\xf0\x9f\x98\x80");
}

static void text_that_is_its_body_is_not_copied(void **state)
{
    PARSED(p, "Content-Type: text/plain; charset=iso-8859-1\n\ncaf\xc3\xa9\n");
    assert_true(p.email->parts[0]->text_is_body);
    PARSED(q, "Content-Type: text/plain; charset=koi8-r\n\nascii\n");
    assert_true(q.email->parts[0]->text_is_body);
    PARSED(r, "Content-Type: text/plain; charset=koi8-r\n\n\xc1\n");
    assert_false(r.email->parts[0]->text_is_body);
    assert_slice(text_of(&r, 0), "\xd0\xb0\n");
}

static void what_does_not_decode_is_noted(void **state)
{
    PARSED(p, "Content-Transfer-Encoding: quoted-printable\n\n=XX");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__BAD_ENCODING));
    PARSED(q, "Content-Transfer-Encoding: base64\n\n????");
    assert_true(is_broken(&q, THURN__EMAIL__BROKEN__BAD_ENCODING));
    PARSED(r, "Content-Type: text/plain; charset=x-none\n\n\xe9");
    assert_true(is_broken(&r, THURN__EMAIL__BROKEN__UNKNOWN_CHARSET));
    PARSED(s, "Content-Transfer-Encoding: x-unheard-of\n\ntext");
    assert_false(s.email->parts[0]->text_is_body);
    assert_int_equal(s.email->parts[0]->text_length, 0);
}

static void attachments_are_not_decoded(void **state)
{
    PARSED(p, "Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\n"
              "Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n"
              "--b--\n");
    assert_int_equal(p.result.text.n, 0);
    assert_true(p.email->has_attachment);
}

static void text_ends_at_the_limit_between_characters(void **state)
{
    struct mime_limits limits = mime_limits_default;
    limits.text = 5;
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, STR("Content-Type: text/plain; charset=koi8-r\n\n\xc1\xc1\xc1\xc1"), &limits);
    assert_slice(text_of(&p, 0), "\xd0\xb0\xd0\xb0");
    assert_true(is_broken(&p, THURN__EMAIL__BROKEN__LIMIT_REACHED));
    struct parsed q CLEANUP(parsed_free) = {0};
    parse_within(&q, STR("Content-Transfer-Encoding: quoted-printable\n\n=C3=A9=C3=A9=C3=A9=C3=A9"),
                 &limits);
    assert_slice(text_of(&q, 0), "\xc3\xa9\xc3\xa9");
}

static void assert_preview(const char *message, const char *want)
{
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, str_c(message), &mime_limits_default);
    assert_pb(p.email->preview, want);
}

static void previews_are_readable(void **state)
{
    assert_preview("\n  a \r\n\r\n b\t", "a b");
    assert_preview("Content-Type: text/html\n\n<style>p{}</style><p class=\"x\">a &amp;&#233;&lt;"
                   "<!-- <b> -->b&nbsp;c",
                   "a &\xc3\xa9< b c");
    assert_preview("Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: "
                   "text/html\n\n<p>html\n--b\n\nplain\n--b--",
                   "plain");
    assert_preview("Content-Type: text/html\n\n<p", "");
}

static void a_long_preview_is_cut_between_characters(void **state)
{
    struct buf b CLEANUP(buf_free) = {0};
    buf_put(&b, STR("\nx"));
    for (int i = 0; i < 300; i++)
        buf_put(&b, STR("\xc3\xa9"));
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, buf_str(&b), &mime_limits_default);
    assert_int_equal(p.email->preview.len, 255);
}

static bool has_attachment(const char *part_header)
{
    struct buf b CLEANUP(buf_free) = {0};
    buf_printf(&b,
               "Content-Type: multipart/related; boundary=b\n\n--b\n\ntext\n--b\n%s\n\nx\n--b--\n",
               part_header);
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, buf_str(&b), &mime_limits_default);
    return p.email->has_attachment;
}

/* Decodes pieces of so many bytes. */
static void decode_pieces(enum mime_coding coding, struct str in, size_t piece, struct buf *out)
{
    struct mime_decoder d = {0};
    buf_clear(out);
    mime_decoder_begin(&d, coding);
    for (; in.n; in = str_skip(in, MIN(piece, in.n))) {
        struct buf own CLEANUP(buf_free) = {0}; /* so that reading beyond it is noticed */
        buf_put(&own, str_sub(in, 0, piece));
        mime_decoder_put(&d, buf_str(&own), out);
    }
    mime_decoder_end(&d, out);
    mime_decoder_free(&d);
}

static void assert_pieces(enum mime_coding coding, struct str in, struct str expected)
{
    struct buf out CLEANUP(buf_free) = {0};
    for (size_t piece = 1; piece <= 9; piece++) {
        decode_pieces(coding, in, piece, &out);
        assert_true(str_eq(buf_str(&out), expected));
    }
    decode_pieces(coding, in, in.n + 1, &out);
    assert_true(str_eq(buf_str(&out), expected));
}

static void bodies_are_decoded_in_pieces_of_any_size(void **state)
{
    assert_pieces(MIME_IDENTITY, STR("a\0=3D\r\n"), STR("a\0=3D\r\n"));
    assert_pieces(MIME_IDENTITY, STR(""), STR(""));
    assert_pieces(MIME_BASE64, STR("AAEC\r\nAwQFBg==\r\n"), STR("\0\1\2\3\4\5\6"));
    assert_pieces(MIME_BASE64, STR("aGVs bG8=aGVsbG8\r\n"), STR("hellohello"));
    assert_pieces(MIME_BASE64, STR("aGV!s-b-G8"), STR("hello"));
    assert_pieces(MIME_BASE64, STR("a"), STR(""));
    assert_pieces(MIME_QUOTED_PRINTABLE, STR("a=3Db=\r\nc \t\r\nd=  \r\ne  f=00\r\n"),
                  STR("a=bc\r\nde  f\0\r\n"));
    assert_pieces(MIME_QUOTED_PRINTABLE, STR("=X =4 ==3D=\n=C3=A9= x  "),
                  STR("=X =4 ==\xC3\xA9= x"));
    assert_pieces(MIME_QUOTED_PRINTABLE, STR("a\nb\r=\r\nc=\r"), STR("a\nb\rc"));
}

static void a_long_line_is_decoded_as_it_comes(void **state)
{
    struct buf in CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    struct buf expected CLEANUP(buf_free) = {0};
    static const struct str words[] = {STR_INIT("=3D"), STR_INIT("a b"), STR_INIT("  \t"),
                                       STR_INIT("=C3=A9")};
    static const struct str plain[] = {STR_INIT("="), STR_INIT("a b"), STR_INIT("  \t"),
                                       STR_INIT("\xC3\xA9")};
    for (size_t i = 0; i < 20000; i++) {
        buf_put(&in, words[i * i % 7 % 4]);
        buf_put(&expected, plain[i * i % 7 % 4]);
    }
    buf_put(&in, STR("."));
    buf_put(&expected, STR("."));
    for (size_t piece = 1; piece < 100000; piece = piece * 5 + 1) {
        decode_pieces(MIME_QUOTED_PRINTABLE, buf_str(&in), piece, &out);
        assert_true(str_eq(buf_str(&out), buf_str(&expected)));
    }
}

static void attachments_are_what_a_reader_would_call_so(void **state)
{
    assert_true(has_attachment("Content-Type: application/pdf"));
    assert_true(has_attachment("Content-Type: text/plain; name=a.txt"));
    assert_true(has_attachment("Content-Disposition: attachment"));
    assert_true(has_attachment("Content-Type: message/rfc822"));
    assert_false(has_attachment("Content-Type: text/html"));
    assert_false(has_attachment("Content-Type: image/png\nContent-ID: <a>"));
    assert_false(has_attachment("Content-Type: image/png\nContent-Disposition: inline"));
    assert_false(has_attachment("Content-Type: application/pgp-signature; name=s.asc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoted_printable_bodies),
        cmocka_unit_test(base64_bodies),
        cmocka_unit_test(bodies_are_decoded_in_pieces_of_any_size),
        cmocka_unit_test(a_long_line_is_decoded_as_it_comes),
        cmocka_unit_test(bodies_in_other_charsets),
        cmocka_unit_test(charsets_outside_the_basic_plane),
        cmocka_unit_test(text_that_is_its_body_is_not_copied),
        cmocka_unit_test(what_does_not_decode_is_noted),
        cmocka_unit_test(attachments_are_not_decoded),
        cmocka_unit_test(text_ends_at_the_limit_between_characters),
        cmocka_unit_test(previews_are_readable),
        cmocka_unit_test(a_long_preview_is_cut_between_characters),
        cmocka_unit_test(attachments_are_what_a_reader_would_call_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
