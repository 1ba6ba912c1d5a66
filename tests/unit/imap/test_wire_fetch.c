#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "imap/wire/wire.h"

enum { ITEMS_ALL = 31 };

/* A FETCH that has been asked, and its printer. */
struct asked {
    struct arena arena;
    struct imap_fetch_print *print;
    struct imap_fetch_printer *printer;
    struct imap_view_names names;
    struct buf out;
};

static void ask(struct asked *q, const char *items)
{
    static const struct imap_limits limits = {
        .line = 8000, .literal = 1000, .command = 9000, .message = 1000};
    struct imap_parser parser;
    struct imap_parsed parsed;
    struct buf in = {0};
    *q = (struct asked){0};
    arena_init(&q->arena, 100000);
    imap_parser_init(&parser, &limits);
    buf_put(&in, STR("a FETCH 1:* "));
    buf_put(&in, str_c(items));
    buf_put(&in, STR("\r\n"));
    imap_parse(&parser, &in, IMAP_SELECTED, &q->arena, &parsed);
    assert_int_equal(parsed.what, IMAP_PARSE_COMMAND);
    q->print = parsed.command.print;
    q->printer = imap_fetch_printer_new(q->print, &q->names);
    buf_free(&in);
    imap_parser_free(&parser);
}

static void asked_free(struct asked *q)
{
    imap_fetch_printer_free(q->printer);
    imap_names_free(&q->names);
    buf_free(&q->out);
    arena_free(&q->arena);
}

static struct err print_rows(struct asked *q, Thurn__FetchRow *row, size_t n, struct str raw)
{
    Thurn__FetchRow *list[] = {row, n > 1 ? row + 1 : NULL};
    Thurn__ImapRows rows = THURN__IMAP_ROWS__INIT;
    rows.n_rows = n;
    rows.rows = list;
    return imap_fetch_print_rows(q->printer, &q->out, n ? &rows : NULL, raw);
}

static struct err print_columns(struct asked *q, const Thurn__FetchRow *row, size_t n)
{
    Thurn__ImapRows rows = THURN__IMAP_ROWS__INIT;
    struct columns_writer w = {.items = row->items};
    struct buf packed CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < n; i++)
        columns_add(&w, &row[i]);
    columns_take(&w, &packed);
    columns_writer_free(&w);
    rows.columns = pb_bytes(buf_str(&packed));
    rows.column_rows = (uint32_t)n;
    rows.column_items = row->items;
    return imap_fetch_print_rows(q->printer, &q->out, &rows, STR(""));
}

static void assert_output(struct asked *q, const char *expected)
{
    buf_byte(&q->out, 0);
    assert_string_equal((const char *)q->out.p, expected);
    buf_free(&q->out);
}

static void assert_answer(const char *items, const Thurn__Email *email, const char *expected)
{
    struct asked q;
    ask(&q, items);
    struct buf record = {0};
    if (email)
        pb_pack(&record, &email->base);
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    row.seq = 12, row.uid = 99, row.system = 1, row.internal_date = 837596665, row.size = 4286;
    row.items = THURN__FETCH_ITEM__FETCH_RECORD;
    for (size_t i = 0; i < q.print->n_items; i++)
        if (q.print->items[i] <= ITEM_SIZE)
            row.items |= 1U << (q.print->items[i] == ITEM_FLAGS ? 1
                                : q.print->items[i] == ITEM_UID ? 0
                                                                : q.print->items[i]);
    row.record = pb_bytes(buf_str(&record));
    assert_int_equal(print_rows(&q, &row, 1, STR("")).code, E_OK);
    assert_true(imap_fetch_printer_complete(q.printer));
    buf_free(&record);
    assert_output(&q, expected);
    asked_free(&q);
}

/* --------------------------------------------------------------------------------- building
 * records */

static ProtobufCBinaryData bytes(const char *s)
{
    return pb_bytes(str_c(s));
}

static Thurn__Part part(uint32_t parent, const char *type, const char *subtype,
                        const char *encoding, uint32_t octets, uint32_t lines)
{
    Thurn__Part p = THURN__PART__INIT;
    p.parent = parent;
    p.type = bytes(type);
    p.subtype = bytes(subtype);
    p.encoding = bytes(encoding);
    p.body_offset = 100;
    p.end_offset = 100 + octets;
    p.lines = lines;
    p.multipart = strcmp(type, "multipart") == 0;
    p.message = strcmp(type, "message") == 0;
    return p;
}

static Thurn__Address address(const char *name, const char *mailbox, const char *host)
{
    Thurn__Address a = THURN__ADDRESS__INIT;
    a.name = bytes(name);
    a.mailbox = bytes(mailbox);
    a.host = bytes(host);
    return a;
}

static void assert_structure(const char *item, Thurn__Part *parts, size_t n, const char *expected)
{
    Thurn__Part *list[16];
    Thurn__Email email = THURN__EMAIL__INIT;
    for (size_t i = 0; i < n; i++)
        list[i] = &parts[i];
    email.n_parts = n;
    email.parts = list;
    struct buf whole = {0};
    buf_printf(&whole, "* 12 FETCH (%s %s)\r\n%c", item, expected, 0);
    assert_answer(item, &email, (const char *)whole.p);
    buf_free(&whole);
}

/* ---------------------------------------------------------------------------------- fixed items */

static void the_example_of_rfc_3501_is_answered_as_it_stands_there(void **state)
{
    Thurn__Address terry = address("Terry Gray", "gray", "cac.washington.edu");
    Thurn__Address imap = address("", "imap", "cac.washington.edu");
    Thurn__Address minutes = address("", "minutes", "CNRI.Reston.VA.US");
    Thurn__Address john = address("John Klensin", "KLENSIN", "MIT.EDU");
    Thurn__Address *from[] = {&terry}, *to[] = {&imap}, *cc[] = {&minutes, &john};
    Thurn__Envelope e = THURN__ENVELOPE__INIT;
    e.date = bytes("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)");
    e.subject = bytes("IMAP4rev1 WG mtg summary and minutes");
    e.from = from, e.n_from = 1, e.to = to, e.n_to = 1, e.cc = cc, e.n_cc = 2;
    e.message_id = bytes("<B27397-0100000@cac.washington.edu>");
    Thurn__Param charset = THURN__PARAM__INIT;
    charset.name = bytes("charset");
    charset.value = bytes("US-ASCII");
    Thurn__Param *params[] = {&charset};
    Thurn__Part text = part(0, "text", "plain", "7bit", 3028, 92), *parts[] = {&text};
    text.params = params, text.n_params = 1;
    Thurn__Email email = THURN__EMAIL__INIT;
    email.envelope = &e;
    email.parts = parts, email.n_parts = 1;
    assert_answer("full", &email,
                  "* 12 FETCH (FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" "
                  "RFC822.SIZE 4286 ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" "
                  "\"IMAP4rev1 WG mtg summary and minutes\" "
                  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
                  "((NIL NIL \"imap\" \"cac.washington.edu\")) "
                  "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")"
                  "(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL "
                  "\"<B27397-0100000@cac.washington.edu>\") "
                  "BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 "
                  "92))\r\n");
}

static void groups_and_broken_addresses_are_told_apart(void **state)
{
    Thurn__Address start = address("", "undisclosed", ""), end = address("", "", ""),
                   broken = address("", "root", ""), text8 = address("J\xC3\xBCrgen", "j", "x");
    start.kind = THURN__ADDRESS__KIND__GROUP_START;
    end.kind = THURN__ADDRESS__KIND__GROUP_END;
    Thurn__Address *to[] = {&start, &end, &broken, &text8};
    Thurn__Envelope e = THURN__ENVELOPE__INIT;
    e.to = to, e.n_to = 4;
    Thurn__Email email = THURN__EMAIL__INIT;
    email.envelope = &e;
    assert_answer("ENVELOPE", &email,
                  "* 12 FETCH (ENVELOPE (NIL NIL NIL NIL NIL ((NIL NIL \"undisclosed\" NIL)"
                  "(NIL NIL NIL NIL)(NIL NIL \"root\" \"\")({7}\r\nJ\xC3\xBCrgen NIL \"j\" \"x\")) "
                  "NIL NIL NIL NIL))\r\n");
}

static void items_come_in_the_order_asked(void **state)
{
    assert_answer("(UID RFC822.SIZE FLAGS)", NULL,
                  "* 12 FETCH (UID 99 RFC822.SIZE 4286 FLAGS (\\Seen))\r\n");
}

static void flags_changed_in_passing_are_told(void **state)
{
    struct asked q;
    ask(&q, "(UID BODY[])");
    uint64_t length = 2;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    row.seq = 1, row.uid = 7, row.system = 1, row.items = 3;
    row.n_lengths = 1, row.lengths = &length;
    assert_int_equal(print_rows(&q, &row, 1, STR("hi")).code, E_OK);
    assert_output(&q, "* 1 FETCH (UID 7 FLAGS (\\Seen) BODY[] {2}\r\nhi)\r\n");
    row.items = 0, row.n_lengths = 0;
    assert_int_equal(print_rows(&q, &row, 1, STR("")).code, E_OK);
    assert_output(&q, "");
    asked_free(&q);
}

/* -------------------------------------------------------------------------------- BODYSTRUCTURE */

static void a_multipart_is_nested_as_its_parts_are(void **state)
{
    Thurn__Param boundary = THURN__PARAM__INIT, name = boundary;
    boundary.name = bytes("boundary"), boundary.value = bytes("x\"y");
    name.name = bytes("filename"), name.value = bytes("a.pdf");
    Thurn__Param *params[] = {&boundary}, *names[] = {&name};
    ProtobufCBinaryData languages[] = {bytes("de"), bytes("en")};
    Thurn__Part parts[] = {
        part(0, "multipart", "mixed", "7bit", 900, 9),
        part(0, "multipart", "alternative", "7bit", 500, 5),
        part(1, "text", "plain", "quoted-printable", 10, 1),
        part(1, "text", "html", "8bit", 20, 2),
        part(0, "application", "pdf", "base64", 300, 3),
    };
    parts[0].params = params, parts[0].n_params = 1;
    parts[1].language = languages, parts[1].n_language = 2;
    parts[2].language = languages, parts[2].n_language = 1;
    parts[2].location = bytes("http://x/");
    parts[4].disposition = bytes("attachment");
    parts[4].disposition_params = names, parts[4].n_disposition_params = 1;
    parts[4].md5 = bytes("Q2hlY2s=");
    parts[4].content_id = bytes("<1@x>");
    parts[4].description = bytes("the file");
    assert_structure("BODY", parts, 5,
                     "(((\"TEXT\" \"PLAIN\" NIL NIL NIL \"QUOTED-PRINTABLE\" 10 1)"
                     "(\"TEXT\" \"HTML\" NIL NIL NIL \"8BIT\" 20 2) \"ALTERNATIVE\")"
                     "(\"APPLICATION\" \"PDF\" NIL \"<1@x>\" \"the file\" \"BASE64\" 300)"
                     " \"MIXED\")");
    assert_structure(
        "BODYSTRUCTURE", parts, 5,
        "(((\"TEXT\" \"PLAIN\" NIL NIL NIL \"QUOTED-PRINTABLE\" 10 1 NIL NIL \"de\" \"http://x/\")"
        "(\"TEXT\" \"HTML\" NIL NIL NIL \"8BIT\" 20 2 NIL NIL NIL NIL)"
        " \"ALTERNATIVE\" NIL NIL (\"de\" \"en\") NIL)"
        "(\"APPLICATION\" \"PDF\" NIL \"<1@x>\" \"the file\" \"BASE64\" 300 \"Q2hlY2s=\""
        " (\"ATTACHMENT\" (\"FILENAME\" \"a.pdf\")) NIL NIL)"
        " \"MIXED\" (\"BOUNDARY\" \"x\\\"y\") NIL NIL NIL)");
}

static void a_message_in_a_message_has_envelope_and_structure(void **state)
{
    Thurn__Envelope e = THURN__ENVELOPE__INIT;
    e.subject = bytes("inner");
    Thurn__Part parts[] = {
        part(0, "message", "rfc822", "7bit", 500, 20),
        part(0, "multipart", "mixed", "7bit", 400, 9),
        part(1, "message", "rfc822", "7bit", 200, 8),
        part(2, "text", "plain", "7bit", 10, 1),
        part(1, "image", "png", "base64", 30, 3),
    };
    parts[0].envelope = &e;
    assert_structure("BODY", parts, 5,
                     "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 500"
                     " (NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL)"
                     " ((\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 200"
                     " (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
                     " (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 10 1) 8)"
                     "(\"IMAGE\" \"PNG\" NIL NIL NIL \"BASE64\" 30) \"MIXED\") 20)");
}

static void a_part_that_the_grammar_wants_is_made_up(void **state)
{
    Thurn__Part empty = part(0, "multipart", "mixed", "", 5, 1);
    assert_structure("BODY", &empty, 1,
                     "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0) \"MIXED\")");
    assert_structure("BODYSTRUCTURE", &empty, 1,
                     "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL) \"MIXED\" "
                     "NIL NIL NIL NIL)");
    Thurn__Part closed = part(0, "message", "rfc822", "7bit", 5, 1);
    closed.message = false; /* the parser's limits */
    assert_structure("BODY", &closed, 1,
                     "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 5"
                     " (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
                     " (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0) 1)");
}

/* RFC 3501 gives envelope and body to MESSAGE RFC822 only. */
static void a_message_global_is_a_leaf(void **state)
{
    Thurn__Part parts[] = {
        part(0, "multipart", "mixed", "7bit", 500, 20), part(0, "message", "global", "8bit", 40, 4),
        part(1, "multipart", "mixed", "7bit", 30, 3),   part(2, "text", "plain", "7bit", 10, 1),
        part(0, "text", "plain", "7bit", 9, 1),
    };
    assert_structure("BODY", parts, 5,
                     "((\"MESSAGE\" \"GLOBAL\" NIL NIL NIL \"8BIT\" 40)"
                     "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 9 1) \"MIXED\")");
}

static void a_record_that_makes_no_sense_is_one_text_part(void **state)
{
    const char *flat = "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 4286 0)";
    Thurn__Part parts[] = {part(0, "multipart", "mixed", "", 9, 9),
                           part(0, "text", "plain", "", 1, 1), part(1, "text", "plain", "", 1, 1)};
    assert_structure("BODY", parts, 3, flat); /* a child of a text */
    parts[2].parent = 7;
    assert_structure("BODY", parts, 3, flat);
    parts[2].parent = 2;
    assert_structure("BODY", parts, 3, flat);
    Thurn__Part message[] = {part(0, "message", "rfc822", "", 9, 9),
                             part(0, "text", "plain", "", 1, 1),
                             part(0, "text", "plain", "", 1, 1)};
    assert_structure("BODY", message, 3, flat);
    assert_structure("BODY", parts, 0, flat);
    assert_answer("BODY", NULL,
                  "* 12 FETCH (BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 4286 0))\r\n");
}

static void ten_thousand_levels_cost_no_stack(void **state)
{
    enum { LEVELS = 10000 };
    Thurn__Part *parts = mem_alloc(sizeof *parts * LEVELS);
    Thurn__Part **list = mem_alloc(sizeof *list * LEVELS);
    for (uint32_t i = 0; i < LEVELS; i++) {
        parts[i] = part(i ? i - 1 : 0, "multipart", "m", "", 0, 0);
        list[i] = &parts[i];
    }
    Thurn__Email email = THURN__EMAIL__INIT;
    email.parts = list, email.n_parts = LEVELS;
    struct buf out = {0};
    wire_print_record(&out, ITEM_BODY, &email, 0);
    assert_int_equal(out.p[LEVELS - 1], '(');
    assert_true(str_ends(buf_str(&out), STR(" \"M\") \"M\")")));
    buf_free(&out);
    free(list);
    free(parts);
}

/* ------------------------------------------------------------------------------------- sections */

static void sections_are_literals_that_may_hold_anything(void **state)
{
    struct asked q;
    ask(&q, "(BODY[1] FLAGS BODY.PEEK[2.MIME] RFC822.TEXT BODY[]<5.10>)");
    uint64_t lengths[] = {3, 0, 0, 2};
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    row.seq = 1, row.items = 2, row.nil = 2;
    row.n_lengths = 4, row.lengths = lengths;
    assert_int_equal(print_rows(&q, &row, 1, STR("\0\r\nzz")).code, E_OK);
    assert_true(
        str_eq(buf_str(&q.out), STR("* 1 FETCH (FLAGS () BODY[1] {3}\r\n\0\r\n BODY[2.MIME] NIL "
                                    "RFC822.TEXT {0}\r\n BODY[]<5> {2}\r\nzz)\r\n")));
    asked_free(&q);
}

static void long_bodies_come_in_pieces(void **state)
{
    struct asked q;
    ask(&q, "(BODY[1] BODY[2])");
    uint64_t lengths[] = {4, 3};
    Thurn__FetchRow rows[2] = {THURN__FETCH_ROW__INIT, THURN__FETCH_ROW__INIT};
    rows[0].seq = 1, rows[1].seq = 2;
    rows[0].n_lengths = rows[1].n_lengths = 2;
    rows[0].lengths = rows[1].lengths = lengths;
    assert_int_equal(print_rows(&q, rows, 2, STR("abcdefgAB")).code, E_OK);
    assert_false(imap_fetch_printer_complete(q.printer));
    assert_int_equal(print_rows(&q, NULL, 0, STR("C")).code, E_OK);
    assert_int_equal(print_rows(&q, NULL, 0, STR("")).code, E_OK);
    assert_int_equal(print_rows(&q, NULL, 0, STR("DEF")).code, E_OK);
    assert_false(imap_fetch_printer_complete(q.printer));
    assert_int_equal(print_rows(&q, rows, 1, STR("Gabcdefg")).code, E_OK);
    assert_true(imap_fetch_printer_complete(q.printer));
    assert_output(&q, "* 1 FETCH (BODY[1] {4}\r\nabcd BODY[2] {3}\r\nefg)\r\n"
                      "* 2 FETCH (BODY[1] {4}\r\nABCD BODY[2] {3}\r\nEFG)\r\n"
                      "* 1 FETCH (BODY[1] {4}\r\nabcd BODY[2] {3}\r\nefg)\r\n");
    asked_free(&q);
}

static void answers_that_do_not_fit_together_are_noticed(void **state)
{
    struct asked q;
    ask(&q, "BODY[1]");
    uint64_t lengths[] = {4, 3};
    Thurn__FetchRow rows[2] = {THURN__FETCH_ROW__INIT, THURN__FETCH_ROW__INIT};
    rows[0].n_lengths = rows[1].n_lengths = 1;
    rows[0].lengths = rows[1].lengths = lengths;
    assert_int_equal(print_rows(&q, NULL, 0, STR("x")).code, E_INVALID);
    assert_int_equal(print_rows(&q, rows, 1, STR("abcde")).code, E_INVALID);
    assert_int_equal(print_rows(&q, rows, 2, STR("ab")).code, E_INVALID);
    rows[0].n_lengths = 2;
    asked_free(&q);
    ask(&q, "BODY[1]");
    assert_int_equal(print_rows(&q, rows, 1, STR("abcdefg")).code, E_INVALID);
    rows[0].n_lengths = 1;
    rows[0].nil = 1;
    assert_int_equal(print_rows(&q, rows, 1, STR("abcd")).code, E_INVALID);
    asked_free(&q);
}

static const char header[] = "Date: d\r\nFrom: f\r\n folded\r\nX-A: 1\r\nDATE: again\r\n\r\n";

static void assert_fields(const char *items, const char *expected)
{
    struct asked q;
    ask(&q, items);
    uint64_t length = sizeof header - 1;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    row.seq = 1, row.n_lengths = 1, row.lengths = &length;
    struct str h = str_c(header);
    assert_int_equal(print_rows(&q, &row, 1, str_sub(h, 0, 11)).code, E_OK);
    assert_int_equal(print_rows(&q, NULL, 0, str_skip(h, 11)).code, E_OK);
    assert_true(imap_fetch_printer_complete(q.printer));
    assert_output(&q, expected);
    asked_free(&q);
}

static void header_fields_are_picked_by_name(void **state)
{
    assert_fields("BODY[HEADER.FIELDS (date Subject)]",
                  "* 1 FETCH (BODY[HEADER.FIELDS (date Subject)] {24}\r\nDate: d\r\nDATE: "
                  "again\r\n\r\n)\r\n");
    assert_fields("BODY.PEEK[1.HEADER.FIELDS.NOT (DATE X-A)]",
                  "* 1 FETCH (BODY[1.HEADER.FIELDS.NOT (DATE X-A)] {20}\r\nFrom: f\r\n "
                  "folded\r\n\r\n)\r\n");
    assert_fields("BODY[HEADER.FIELDS (To)]",
                  "* 1 FETCH (BODY[HEADER.FIELDS (To)] {2}\r\n\r\n)\r\n");
    assert_fields("BODY[HEADER.FIELDS (X-A)]<3.4>",
                  "* 1 FETCH (BODY[HEADER.FIELDS (X-A)]<3> {4}\r\n: 1\r)\r\n");
    assert_fields("BODY[HEADER.FIELDS (X-A)]<300.4>",
                  "* 1 FETCH (BODY[HEADER.FIELDS (X-A)]<300> {0}\r\n)\r\n");
}

static void fields_of_a_part_that_does_not_exist_are_nil(void **state)
{
    struct asked q;
    ask(&q, "BODY[7.HEADER.FIELDS (A)]");
    uint64_t length = 0;
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    row.seq = 1, row.n_lengths = 1, row.lengths = &length, row.nil = 1;
    assert_int_equal(print_rows(&q, &row, 1, STR("")).code, E_OK);
    assert_output(&q, "* 1 FETCH (BODY[7.HEADER.FIELDS (A)] NIL)\r\n");
    asked_free(&q);
}

/* --------------------------------------------------------------------------------------- BINARY */

/* A row with one message's BINARY sections, each measured first: their codings, and their bytes. */
static void binary_row(Thurn__FetchRow *row, uint32_t *codings, uint64_t *lengths, uint64_t *sizes,
                       size_t n)
{
    *row = (Thurn__FetchRow)THURN__FETCH_ROW__INIT;
    row->seq = 3;
    row->n_codings = row->n_lengths = row->n_sizes = n;
    row->codings = codings;
    row->lengths = lengths;
    row->sizes = sizes;
}

static void assert_binary(const char *items, uint32_t coding, struct str raw, uint64_t size,
                          const char *expected)
{
    for (size_t piece = 1; piece <= 2 * raw.n; piece++) {
        struct asked q;
        ask(&q, items);
        bool twice = q.print->n_sections == 2;
        bool encoded = coding == 1 || coding == 2;
        uint32_t codings[] = {coding, coding};
        uint64_t lengths[] = {twice && !encoded ? 0 : raw.n, raw.n}, sizes[] = {size, 0};
        Thurn__FetchRow row;
        struct buf all = {0};
        binary_row(&row, codings, lengths, sizes, q.print->n_sections);
        if (coding == 3)
            row.nil = 3;
        for (size_t i = 0; i < row.n_lengths; i++)
            buf_put(&all, str_sub(raw, 0, (size_t)lengths[i]));
        assert_int_equal(print_rows(&q, &row, 1, str_sub(buf_str(&all), 0, piece)).code, E_OK);
        for (size_t at = piece; at < all.n; at += piece)
            assert_int_equal(print_rows(&q, NULL, 0, str_sub(buf_str(&all), at, at + piece)).code,
                             E_OK);
        assert_true(imap_fetch_printer_complete(q.printer));
        assert_output(&q, expected);
        buf_free(&all);
        asked_free(&q);
        if (!raw.n)
            break;
    }
}

static void binary_is_decoded_and_its_length_told_first(void **state)
{
    assert_binary("BINARY.PEEK[1]", 1, STR("aGVs\r\nbG8="), 0,
                  "* 3 FETCH (BINARY[1] ~{5}\r\nhello)\r\n");
    assert_binary("binary[1.2]", 2, STR("a=3Db=\r\nc \r\n"), 0,
                  "* 3 FETCH (BINARY[1.2] ~{6}\r\na=bc\r\n)\r\n");
    assert_binary("BINARY[]", 0, STR("as it is"), 8, "* 3 FETCH (BINARY[] ~{8}\r\nas it is)\r\n");
    assert_binary("BINARY[2]<1.3>", 1, STR("aGVsbG8="), 0,
                  "* 3 FETCH (BINARY[2]<1> ~{3}\r\nell)\r\n");
    assert_binary("BINARY[2]<4.10>", 1, STR("aGVsbG8="), 0,
                  "* 3 FETCH (BINARY[2]<4> ~{1}\r\no)\r\n");
    assert_binary("BINARY[2]<9.10>", 1, STR("aGVsbG8="), 0,
                  "* 3 FETCH (BINARY[2]<9> ~{0}\r\n)\r\n");
    assert_binary("BINARY.SIZE[1]", 1, STR("aGVsbG8="), 0, "* 3 FETCH (BINARY.SIZE[1] 5)\r\n");
    assert_binary("BINARY.SIZE[1]", 2, STR("=00=\n"), 0, "* 3 FETCH (BINARY.SIZE[1] 1)\r\n");
    assert_binary("BINARY.SIZE[1]", 0, STR(""), 77, "* 3 FETCH (BINARY.SIZE[1] 77)\r\n");
    assert_binary("BINARY.PEEK[1]", 3, STR(""), 0, "* 3 FETCH (BINARY[1] NIL)\r\n");
    assert_binary("BINARY.SIZE[1]", 3, STR(""), 0, ""); /* nothing to be told */
}

static void a_part_that_is_not_as_long_as_measured_ends_the_connection(void **state)
{
    struct asked q;
    uint32_t codings[] = {1, 1};
    uint64_t lengths[] = {8, 4}, sizes[] = {0, 0};
    Thurn__FetchRow row;
    ask(&q, "BINARY[1]");
    binary_row(&row, codings, lengths, sizes, 2);
    assert_int_equal(print_rows(&q, &row, 1, STR("aGVsbG8=aGVs")).code, E_INVALID);
    asked_free(&q);
    ask(&q, "BINARY[1]");
    binary_row(&row, codings, lengths, sizes, 2);
    codings[1] = 4;
    assert_int_equal(print_rows(&q, &row, 1, STR("")).code, E_INVALID);
    asked_free(&q);
    ask(&q, "BINARY[1]");
    binary_row(&row, codings, lengths, sizes, 2);
    row.n_codings = 1;
    assert_int_equal(print_rows(&q, &row, 1, STR("")).code, E_INVALID);
    asked_free(&q);
}

/* ------------------------------------------------------------------------------------- columns */

static void columns_are_printed_as_the_same_rows_are(void **state)
{
    static const char *const lists[] = {
        "FLAGS", "(UID FLAGS)", "(FLAGS UID RFC822.SIZE INTERNALDATE MODSEQ)", "ALL", "(MODSEQ)",
    };
    uint32_t seed = 5;
    for (unsigned round = 0; round < 200; round++) {
        struct asked as_rows, as_columns;
        ask(&as_rows, lists[round % ARRAY_LEN(lists)]);
        ask(&as_columns, lists[round % ARRAY_LEN(lists)]);
        ProtobufCBinaryData keywords[] = {pb_bytes(STR("Work")), pb_bytes(STR("$Junk"))};
        imap_names_set(&as_rows.names, keywords, ARRAY_LEN(keywords));
        imap_names_set(&as_columns.names, keywords, ARRAY_LEN(keywords));
        Thurn__FetchRow rows[2];
        for (size_t i = 0; i < 2; i++) {
            seed = seed * 1664525 + 1013904223;
            thurn__fetch_row__init(&rows[i]);
            rows[i].items = round & COLUMNS_ITEMS;
            rows[i].seq = (uint32_t)i * 7 + 1 + (seed >> 30);
            rows[i].uid = (uint32_t)i * 100000 + 1 + (seed >> 16);
            rows[i].system = seed >> 8 & 63;
            rows[i].keywords = seed >> 5 & 3;
            rows[i].internal_date = (int64_t)seed;
            rows[i].size = seed >> 3;
            rows[i].modseq = seed;
        }
        assert_int_equal(print_rows(&as_rows, rows, 2, STR("")).code, E_OK);
        assert_int_equal(print_columns(&as_columns, rows, 2).code, E_OK);
        assert_true(str_eq(buf_str(&as_rows.out), buf_str(&as_columns.out)));
        asked_free(&as_rows);
        asked_free(&as_columns);
    }
}

static void malformed_columns_are_an_error_not_an_answer(void **state)
{
    struct asked q;
    ask(&q, "(UID FLAGS)");
    Thurn__ImapRows rows = THURN__IMAP_ROWS__INIT;
    rows.columns = pb_bytes(str_of("\2\0\2\2\0\1", 6)); /* two numbers, one UID */
    rows.column_rows = 2;
    assert_int_equal(imap_fetch_print_rows(q.printer, &q.out, &rows, STR("")).code, E_INVALID);
    rows.column_rows = COLUMNS_ROWS + 1;
    assert_int_equal(imap_fetch_print_rows(q.printer, &q.out, &rows, STR("")).code, E_INVALID);
    asked_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_printed_as_the_same_rows_are),
        cmocka_unit_test(malformed_columns_are_an_error_not_an_answer),
        cmocka_unit_test(the_example_of_rfc_3501_is_answered_as_it_stands_there),
        cmocka_unit_test(groups_and_broken_addresses_are_told_apart),
        cmocka_unit_test(items_come_in_the_order_asked),
        cmocka_unit_test(flags_changed_in_passing_are_told),
        cmocka_unit_test(a_multipart_is_nested_as_its_parts_are),
        cmocka_unit_test(a_message_in_a_message_has_envelope_and_structure),
        cmocka_unit_test(a_part_that_the_grammar_wants_is_made_up),
        cmocka_unit_test(a_message_global_is_a_leaf),
        cmocka_unit_test(a_record_that_makes_no_sense_is_one_text_part),
        cmocka_unit_test(ten_thousand_levels_cost_no_stack),
        cmocka_unit_test(sections_are_literals_that_may_hold_anything),
        cmocka_unit_test(long_bodies_come_in_pieces),
        cmocka_unit_test(answers_that_do_not_fit_together_are_noticed),
        cmocka_unit_test(header_fields_are_picked_by_name),
        cmocka_unit_test(fields_of_a_part_that_does_not_exist_are_nil),
        cmocka_unit_test(binary_is_decoded_and_its_length_told_first),
        cmocka_unit_test(a_part_that_is_not_as_long_as_measured_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
