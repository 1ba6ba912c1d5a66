#include "mime_test.h"

/* ------------------------------------------------------------------------------------- addresses
 */

/* The list as "name|route|mailbox|host", one after the other; groups as "[name" and "]". */
static void assert_addresses(const char *value, const char *want)
{
    struct buf message CLEANUP(buf_free) = {0}, have CLEANUP(buf_free) = {0};
    buf_printf(&message, "To: %s\r\n\r\n", value);
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, buf_str(&message), &mime_limits_default);
    for (size_t i = 0; i < p.email->envelope->n_to; i++) {
        const Thurn__Address *a = p.email->envelope->to[i];
        if (i)
            buf_byte(&have, ' ');
        if (a->kind == THURN__ADDRESS__KIND__GROUP_START)
            buf_printf(&have, "[%.*s", STR_FMT(mime_str(a->mailbox)));
        else if (a->kind == THURN__ADDRESS__KIND__GROUP_END)
            buf_byte(&have, ']');
        else
            buf_printf(&have, "%.*s|%.*s|%.*s|%.*s", STR_FMT(mime_str(a->name)),
                       STR_FMT(mime_str(a->route)), STR_FMT(mime_str(a->mailbox)),
                       STR_FMT(mime_str(a->host)));
    }
    assert_slice(buf_str(&have), want);
}

static void ordinary_addresses(void **state)
{
    assert_addresses("a@b.example", "||a|b.example");
    assert_addresses("A B <a@b>, c@d", "A B||a|b ||c|d");
    assert_addresses("\"Doe, John\" <j@d>", "Doe, John||j|d");
    assert_addresses("\"a\\\"b\" <j@d>", "a\"b||j|d");
    assert_addresses("John Q. Public <j@d>", "John Q. Public||j|d");
    assert_addresses("=?utf-8?q?J=C3=BC?= <j@d>", "=?utf-8?q?J=C3=BC?=||j|d");
    assert_addresses("A\r\n B\r\n <a@b>", "A B||a|b");
    assert_addresses("", "");
}

static void comments_stand_for_missing_names(void **state)
{
    assert_addresses("a@b (Full (nested) Name)", "Full (nested) Name||a|b");
    assert_addresses("N (c) <a(c)@(c)b>", "N||a|b");
    assert_addresses("(only a comment)", "only a comment|||");
}

static void quoted_and_literal_addresses(void **state)
{
    assert_addresses("\"john doe\"@d", "||john doe|d");
    assert_addresses("<\"a@b\"@c>", "||a@b|c");
    assert_addresses("a@[192.0.2.1]", "||a|[192.0.2.1]");
    assert_addresses("X <a@[IPv6:2001:db8::1]>", "X||a|[IPv6:2001:db8::1]");
}

static void obsolete_addresses(void **state)
{
    assert_addresses("<@r1,@r2:a@b>", "|@r1,@r2|a|b");
    assert_addresses("a . b @ c . d", "||a.b|c.d");
    assert_addresses("a@b,,c@d,", "||a|b ||c|d");
}

static void groups(void **state)
{
    assert_addresses("undisclosed-recipients:;", "[undisclosed-recipients ]");
    assert_addresses("A Group: X <x@y>, z@w; v@u", "[A Group X||x|y ||z|w ] ||v|u");
    assert_addresses("open: a@b", "[open ||a|b ]");
    assert_addresses("A:B:c@d;", "[A ] [B ||c|d ]");
}

static void broken_addresses_give_what_is_there(void **state)
{
    assert_addresses("user@host <user@host>", "user@host||user|host");
    assert_addresses("a@b; c@d", "||a|b ||c|d");
    assert_addresses("a@b c@d", "||a|b ||c|d");
    assert_addresses("Name a@b", "Name||a|b");
    assert_addresses("local", "||local|");
    assert_addresses("two words", "two words|||");
    assert_addresses("N <a@b", "N||a|b");
    assert_addresses("N <a@b, c@d", "N||a|b ||c|d");
    assert_addresses("N <>", "N|||");
    assert_addresses("a@b@c", "||a@b|c");
    assert_addresses("\"open <a@b>", "\"open||a|b");
    assert_addresses("O\"Brien <a@b>", "O\"Brien||a|b");
    assert_addresses("<a@b> <c@d>", "||a|b ||c|d");
    assert_addresses("J\xfcrgen <a@b>", "J\xfcrgen||a|b");
}

static void two_to_fields_are_both_meant(void **state)
{
    PARSED(p, "To: a@b\nTO : c@d\n\n");
    assert_int_equal(p.email->envelope->n_to, 2);
    assert_pb(p.email->envelope->to[1]->mailbox, "c");
}

static void the_envelope_has_what_listings_show(void **state)
{
    PARSED(p, "Date: Mon, 1 Jan 2024 00:00:00 +0130\nSubject:  =?iso-8859-1?q?caf=E9?=\n"
              "From: f@x\nSender: s@x\nReply-To: r@x\nCc: c@x\nBcc: b@x\n"
              "In-Reply-To: <1@x>\nMessage-ID: <2@x>\nReferences: <0@x>\n <1@x>\n\n");
    const Thurn__Envelope *e = p.email->envelope;
    assert_pb(e->date, "Mon, 1 Jan 2024 00:00:00 +0130");
    assert_int_equal(e->date_time, 1704067200 - 5400);
    assert_int_equal(e->date_zone, 90);
    assert_pb(e->subject, "=?iso-8859-1?q?caf=E9?=");
    assert_pb(e->subject_text, "caf\xc3\xa9");
    assert_pb(e->from[0]->mailbox, "f");
    assert_pb(e->sender[0]->mailbox, "s");
    assert_pb(e->reply_to[0]->mailbox, "r");
    assert_pb(e->cc[0]->mailbox, "c");
    assert_pb(e->bcc[0]->mailbox, "b");
    assert_pb(e->in_reply_to, "<1@x>");
    assert_pb(e->message_id, "<2@x>");
    assert_pb(e->references, "<0@x> <1@x>");
}

/* ----------------------------------------------------------------------------------------- dates
 */

static void assert_date(const char *value, int64_t want, int32_t want_zone)
{
    int64_t seconds = -1;
    int32_t zone = -1;
    assert_true(mime_date(str_c(value), &seconds, &zone));
    assert_int_equal(seconds, want);
    assert_int_equal(zone, want_zone);
}

static void dates_in_all_their_forms(void **state)
{
    assert_date("Fri, 07 Oct 1994 16:15:05 -0700 (PDT)", 781571705, -420);
    assert_date("7 Oct 1994 23:15 +0000", 781571700, 0);
    assert_date("Fri, 7 Oct 94 16:15:05 PDT", 781571705, -420);
    assert_date("Fri, 7-Oct-1994 16:15:05 -0700", 781571705, -420);
    assert_date("Fri Oct  7 23:15:05 1994", 781571705, 0);
    assert_date("Thu, 1 Jan 1970 00:00:00 GMT", 0, 0);
    assert_date("(c) Thu,\r\n 29 Feb (leap) 2024 12:00:00 +0100", 1709204400, 60);
    assert_date("1 Mar 2000 00:00:00 GMT+0200", 951861600, 120);
    assert_date("31 Dec 1969 23:59:59 Z", -1, 0);
}

static void dates_that_cannot_be_understood(void **state)
{
    static const char *const bad[] = {"",
                                      "yesterday",
                                      "Mon, 13 Aug 1998 l8:14:23 +1000",
                                      "7 Oct 1994",
                                      "77 Oct 1994 16:15:05",
                                      "7 Oct 1994 25:00:00",
                                      "7 Oct",
                                      "99999999999999999999",
                                      "7 Oct 0001 00:00:00 +0000"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t seconds;
        int32_t zone;
        assert_false(mime_date(str_c(bad[i]), &seconds, &zone));
    }
}

/* ------------------------------------------------------------------------------------ parameters
 */

/* Type and parameters as "type/subtype;name=value". */
static void assert_type(const char *value, const char *want)
{
    struct buf message CLEANUP(buf_free) = {0}, have CLEANUP(buf_free) = {0};
    buf_printf(&message, "Content-Type: %s\r\n\r\n", value);
    struct parsed p CLEANUP(parsed_free) = {0};
    parse_within(&p, buf_str(&message), &mime_limits_default);
    const Thurn__Part *part = p.email->parts[0];
    buf_printf(&have, "%.*s/%.*s", STR_FMT(mime_str(part->type)), STR_FMT(mime_str(part->subtype)));
    for (size_t i = 0; i < part->n_params; i++)
        buf_printf(&have, ";%.*s=%.*s", STR_FMT(mime_str(part->params[i]->name)),
                   STR_FMT(mime_str(part->params[i]->value)));
    assert_slice(buf_str(&have), want);
}

static void content_types(void **state)
{
    assert_type("Text/HTML; Charset=UTF-8", "text/html;charset=UTF-8");
    assert_type("text/plain (c) ; charset=us-ascii (Plain text)", "text/plain;charset=us-ascii");
    assert_type("image/png;\r\n name=\"a \\\"b\\\".png\"", "image/png;name=a \"b\".png");
    assert_type("application/x; name=my file.pdf; size=3", "application/x;name=my file.pdf;size=3");
    assert_type("a/b; x=\"1\" y=\"2\"", "a/b;x=1;y=2");
    assert_type("a/b; x", "a/b");
    assert_type("a/b; x=; =y;;; z=1", "a/b;x=;z=1");
    assert_type("a/b; x=\"open; y=2", "a/b;x=open;y=2");
    assert_type("text", "text/plain");
    assert_type("nonsense", "text/plain");
    assert_type("/", "text/plain");
    assert_type("a/b; x=1; x=2", "a/b;x=1");
}

static void encoded_and_continued_parameters(void **state)
{
    assert_type("a/b; name*=utf-8'en'caf%C3%A9", "a/b;name=caf\xc3\xa9");
    assert_type("a/b; name*=iso-8859-1''caf%E9", "a/b;name=caf\xc3\xa9");
    assert_type("a/b; name*0=ab; name*1=\"cd\"", "a/b;name=abcd");
    assert_type("a/b; name*1=cd; name*0=ab", "a/b;name=abcd");
    assert_type("a/b; name*0*=utf-8''caf%C3; name*1*=%A9; name*2=.txt", "a/b;name=caf\xc3\xa9.txt");
    assert_type("a/b; name=plain; name*=utf-8''better", "a/b;name=better");
    assert_type("a/b; name=\"=?utf-8?b?w6k=?=\"", "a/b;name=\xc3\xa9");
    assert_type("a/b; name*=broken%", "a/b;name=broken%");
    assert_type("a/b; name*=utf-8''a%0D%0Ab", "a/b;name=a  b");
}

static void the_fields_of_a_part(void **state)
{
    PARSED(p, "Content-Type: application/pdf\nContent-Transfer-Encoding:  BASE64 (c)\n"
              "Content-ID: <i@x>\nContent-Description: a\n b\nContent-MD5: abc==\n"
              "Content-Location: http://x/\nContent-Language: en, de-AT\n"
              "Content-Disposition: ATTACHMENT; filename=\"f.pdf\"\n\nAAAA\n");
    const Thurn__Part *part = p.email->parts[0];
    assert_pb(part->encoding, "base64");
    assert_pb(part->content_id, "<i@x>");
    assert_pb(part->description, "a b");
    assert_pb(part->md5, "abc==");
    assert_pb(part->location, "http://x/");
    assert_int_equal(part->n_language, 2);
    assert_pb(part->language[1], "de-AT");
    assert_pb(part->disposition, "attachment");
    assert_pb(part->disposition_params[0]->value, "f.pdf");
    assert_true(p.email->has_attachment);
    assert_int_equal(part->text_length, 0);
}

static void of_two_content_types_the_first_counts(void **state)
{
    PARSED(p, "Content-Type: text/html\nContent-Type: text/plain\n\n");
    assert_pb(p.email->parts[0]->subtype, "html");
}

/* ----------------------------------------------------------------------------------------- words
 */

static void assert_words(const char *value, const char *want)
{
    struct arena a CLEANUP(arena_free);
    arena_init(&a, 1 << 16);
    assert_slice(mime_decode_words(str_c(value), &a), want);
}

static void encoded_words(void **state)
{
    assert_words("plain", "plain");
    assert_words("=?us-ascii?Q?a_b=5Fc?=", "a b_c");
    assert_words("x =?utf-8?B?w6k=?= y", "x \xc3\xa9 y");
    assert_words("=?utf-8?q?a?= \r\n =?utf-8?q?b?=", "ab");
    assert_words("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c");
    assert_words("=?iso-8859-1*de?q?=FC?=", "\xc3\xbc");
    assert_words("=?koi8-r?B?8NLJ18XU?=", "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82");
    assert_words("=?iso-2022-jp?B?GyRCJCIbKEI=?=", "\xe3\x81\x82");
    assert_words("=?windows-1252?q?=80=99?=", "\xe2\x82\xac\xe2\x84\xa2");
    assert_words("=?utf-8?q?" "?=", "");
    assert_words("a=?utf-8?q?b?=c", "abc");
}

static void characters_split_between_words_are_joined(void **state)
{
    assert_words("=?utf-8?B?w6nD?= =?UTF-8?B?qQ==?=", "\xc3\xa9\xc3\xa9");
    assert_words("=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "\xc3\xa9");
}

static void what_is_no_word_stays(void **state)
{
    assert_words("=?utf-8?q?open", "=?utf-8?q?open");
    assert_words("=?utf-8?x?a?=", "=?utf-8?x?a?=");
    assert_words("=??q?a?=", "=??q?a?=");
    assert_words("=?=?utf-8?q?a?=", "=?a");
    assert_words("a =? b ?q?x?=", "a =? b ?q?x?=");
}

static void bytes_outside_words_are_utf8_or_latin(void **state)
{
    assert_words("caf\xe9", "caf\xc3\xa9");
    assert_words("caf\xc3\xa9", "caf\xc3\xa9");
    assert_words("=?utf-8?q?=C3=A9?= \xe9", "\xc3\xa9 \xc3\xa9");
}

static void words_bring_no_line_ends(void **state)
{
    assert_words("=?utf-8?q?a=0D=0ABcc:_x?=", "a  Bcc: x");
    assert_words("=?utf-8?b?YQBi?=", "a b");
}

static void unknown_and_lying_charsets(void **state)
{
    assert_words("=?x-none?q?caf=C3=A9?=", "caf\xc3\xa9");
    assert_words("=?x-none?q?caf=E9?=", "caf\xc3\xa9");
    assert_words("=?us-ascii?q?caf=C3=A9?=", "caf\xc3\xa9");
    assert_words("=?utf-8?q?caf=E9!?=", "caf\xef\xbf\xbd!");
    assert_words("=?../../etc/passwd?q?a?=", "a");
}

/* --------------------------------------------------------------------------------------- fields */

static void fields_one_after_the_other(void **state)
{
    struct cur c = cur_of(STR("A: 1\r\nB :2\n\t3\nbad line\n\r\nbody"));
    struct mime_field f;
    assert_true(mime_field_next(&c, &f));
    assert_slice(f.name, "A");
    assert_slice(f.value, " 1\r\n");
    assert_true(mime_field_next(&c, &f));
    assert_slice(f.name, "B");
    assert_slice(f.whole, "B :2\n\t3\n");
    assert_true(mime_field_next(&c, &f));
    assert_slice(f.name, "");
    assert_slice(f.whole, "bad line\n");
    assert_false(mime_field_next(&c, &f));
    assert_slice(cur_rest(&c), "\r\nbody");
    assert_false(mime_field_next(&c, &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_addresses),
        cmocka_unit_test(comments_stand_for_missing_names),
        cmocka_unit_test(quoted_and_literal_addresses),
        cmocka_unit_test(obsolete_addresses),
        cmocka_unit_test(groups),
        cmocka_unit_test(broken_addresses_give_what_is_there),
        cmocka_unit_test(two_to_fields_are_both_meant),
        cmocka_unit_test(the_envelope_has_what_listings_show),
        cmocka_unit_test(dates_in_all_their_forms),
        cmocka_unit_test(dates_that_cannot_be_understood),
        cmocka_unit_test(content_types),
        cmocka_unit_test(encoded_and_continued_parameters),
        cmocka_unit_test(the_fields_of_a_part),
        cmocka_unit_test(of_two_content_types_the_first_counts),
        cmocka_unit_test(encoded_words),
        cmocka_unit_test(characters_split_between_words_are_joined),
        cmocka_unit_test(what_is_no_word_stays),
        cmocka_unit_test(bytes_outside_words_are_utf8_or_latin),
        cmocka_unit_test(words_bring_no_line_ends),
        cmocka_unit_test(unknown_and_lying_charsets),
        cmocka_unit_test(fields_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
