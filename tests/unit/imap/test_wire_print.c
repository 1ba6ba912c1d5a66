#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "imap/wire/wire.h"

/* Compares what was printed and empties the buffer. */
static void assert_printed(struct buf *out, const char *expected)
{
    buf_byte(out, 0);
    assert_string_equal((const char *)out->p + out->off, expected);
    buf_free(out);
}

static ProtobufCBinaryData bytes(const char *s)
{
    return pb_bytes(str_c(s));
}

/* --------------------------------------------------------------------------------- capabilities */

#define MORE                                                                                       \
    "CREATE-SPECIAL-USE LIST-EXTENDED UIDPLUS IDLE UNSELECT NAMESPACE ID ENABLE MOVE XLIST "       \
    "QUOTA LITERAL+ QUOTA=RES-STORAGE QUOTA=RES-MESSAGE MULTIAPPEND BINARY"
#define REST " CHILDREN SPECIAL-USE LIST-STATUS ESEARCH CONDSTORE QRESYNC"

static void capabilities_are_those_of_the_situation(void **state)
{
    struct buf out = {0};
    imap_print_capability(
        &out, &(struct imap_situation){IMAP_NOT_AUTHENTICATED, .starttls = true, .compress = true});
    assert_printed(&out, "CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED " MORE " SASL-IR" REST);
    imap_print_capability(&out, &(struct imap_situation){IMAP_NOT_AUTHENTICATED, .login = true});
    assert_printed(&out, "CAPABILITY IMAP4rev1 AUTH=PLAIN " MORE " SASL-IR" REST);
    imap_print_capability(&out,
                          &(struct imap_situation){IMAP_SELECTED, .starttls = true, .login = true});
    assert_printed(&out, "CAPABILITY IMAP4rev1 " MORE REST);
    imap_print_capability(&out, &(struct imap_situation){IMAP_AUTHENTICATED, .compress = true});
    assert_true(str_find(buf_str(&out), STR(" XLIST COMPRESS=DEFLATE QUOTA LITERAL+ "), 0) < out.n);
    buf_free(&out);
}

static void a_quota_is_shown_for_what_has_a_limit(void **state)
{
    struct buf out = {0};
    Thurn__ImapQuotaUse q = THURN__IMAP_QUOTA_USE__INIT;
    q.bytes = 1025;
    q.bytes_limit = 10 * KB;
    q.messages = 7;
    imap_print_quota(&out, &q);
    assert_printed(&out, "* QUOTA \"\" (STORAGE 2 10)\r\n");
    q.messages_limit = 100;
    imap_print_quota_root(&out, STR("Entw\xC3\xBCrfe"), &q);
    assert_printed(&out, "* QUOTAROOT Entw&APw-rfe \"\"\r\n"
                         "* QUOTA \"\" (STORAGE 2 10 MESSAGE 7 100)\r\n");
    q.bytes_limit = 0;
    imap_print_quota(&out, &q);
    assert_printed(&out, "* QUOTA \"\" (MESSAGE 7 100)\r\n");
    imap_print_quota_root(&out, STR("INBOX"), NULL);
    assert_printed(&out, "* QUOTAROOT INBOX\r\n");
}

static void what_is_announced_is_what_the_table_has(void **state)
{
    for (size_t i = 0; i < IMAP_VERBS; i++) {
        const struct wire_command *c = &wire_commands[i];
        assert_int_equal(c->verb, i);
        assert_non_null(c->parse);
        assert_int_equal(c->when == SHOW_NEVER, c->capability[0] == 0);
    }
}

/* --------------------------------------------------------------------------------------- values */

/* As RFC 3501's grammar has it, a byte at a time. */
static void reference_string(struct buf *out, struct str s)
{
    bool quoted = true;
    for (size_t i = 0; i < s.n; i++)
        quoted = quoted && s.p[i] && s.p[i] < 0x80 && s.p[i] != '\r' && s.p[i] != '\n';
    if (!quoted)
        buf_printf(out, "{%zu}\r\n", s.n);
    for (size_t i = 0; i < s.n + 2 * quoted; i++) {
        bool mark = quoted && (i == 0 || i == s.n + 1);
        uint8_t c = mark ? '"' : s.p[i - quoted];
        if (quoted && !mark && (c == '"' || c == '\\'))
            buf_byte(out, '\\');
        buf_byte(out, c);
    }
}

static void any_string_is_printed_as_the_grammar_has_it(void **state)
{
    static const char bytes[] = "ab\"\\ \t\x7f\r\n\x80\xff";
    uint32_t seed = 7;
    for (unsigned round = 0; round < 5000; round++) {
        uint8_t text[40];
        size_t n = 0, kinds = round % 3 == 0 ? sizeof bytes : 7;
        for (seed = seed * 1664525 + 1013904223; n < (seed >> 8) % 40; n++)
            text[n] = (uint8_t)bytes[((seed >> 4) * (n + 1) * 31 >> 7) % kinds];
        struct buf out CLEANUP(buf_free) = {0}, expected CLEANUP(buf_free) = {0};
        wire_print_string(&out, str_of(text, n));
        reference_string(&expected, str_of(text, n));
        assert_true(str_eq(buf_str(&out), buf_str(&expected)));
    }
}

static void strings_are_quoted_where_rfc_3501_allows_it(void **state)
{
    struct buf out = {0};
    wire_print_string(&out, STR(""));
    wire_print_string(&out, STR("a b"));
    wire_print_string(&out, STR("\"\\\""));
    wire_print_string(&out, STR("\x01\x7f\t"));
    assert_printed(&out, "\"\"\"a b\"\"\\\"\\\\\\\"\"\"\x01\x7f\t\"");
    wire_print_string(&out, STR("\xC3\xBC"));
    wire_print_string(&out, STR("a\r\nb"));
    assert_printed(&out, "{2}\r\n\xC3\xBC{4}\r\na\r\nb");
    wire_print_string(&out, STR("a\0b"));
    assert_true(str_eq(buf_str(&out), STR("{3}\r\na\0b")));
    buf_free(&out);
    wire_print_astring(&out, STR("a]b"));
    wire_print_astring(&out, STR("nil"));
    wire_print_astring(&out, STR(""));
    wire_print_nstring(&out, STR(""));
    assert_printed(&out, "a]b\"nil\"\"\"NIL");
}

static void assert_date(int64_t seconds, const char *expected)
{
    struct buf out = {0};
    wire_print_date_time(&out, seconds);
    assert_printed(&out, expected);
}

static void dates_are_right_in_every_century(void **state)
{
    assert_date(0, "\" 1-Jan-1970 00:00:00 +0000\"");
    assert_date(837596665, "\"17-Jul-1996 09:44:25 +0000\"");
    assert_date(951782400, "\"29-Feb-2000 00:00:00 +0000\"");
    assert_date(951868800, "\" 1-Mar-2000 00:00:00 +0000\"");
    assert_date(1709251199, "\"29-Feb-2024 23:59:59 +0000\"");
    assert_date(4107542400, "\" 1-Mar-2100 00:00:00 +0000\"");
    assert_date(-1, "\"31-Dec-1969 23:59:59 +0000\"");
    assert_date(253402300799, "\"31-Dec-9999 23:59:59 +0000\"");
    assert_date(INT64_MAX, "\"31-Dec-9999 23:59:59 +0000\"");
    assert_date(INT64_MIN, "\" 1-Mar-0000 00:00:00 +0000\"");
}

/* Each day of 400 years, against the calendar of libc. */
static void dates_agree_with_the_calendar(void **state)
{
    for (int64_t day = -30000; day < 120000; day++) {
        time_t t = day * 86400 + 3661;
        struct tm tm;
        char expected[64];
        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(expected, sizeof expected, "\"%e-%b-%Y %H:%M:%S +0000\"", &tm) > 0);
        assert_date(t, expected);
    }
}

/* -------------------------------------------------------------------------------------- updates */

static void updates_are_told_in_the_order_that_keeps_numbers_right(void **state)
{
    struct imap_view_names names = {0};
    uint32_t expunged[] = {44, 3};
    ProtobufCBinaryData keywords[] = {bytes("Work"), bytes("$Junk")};
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    Thurn__FetchRow *rows[] = {&row};
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    row.seq = 23, row.uid = 4827313, row.system = 1, row.keywords = 3;
    u.n_expunged = 2, u.expunged = expunged;
    u.has_exists = true, u.exists = 23, u.recent = 5;
    u.has_flag_names = true, u.n_keywords = 2, u.keywords = keywords;
    u.n_flags = 1, u.flags = rows;
    struct buf out = {0};
    imap_print_updates(&out, &u, &names, true);
    assert_printed(&out, "* 44 EXPUNGE\r\n* 3 EXPUNGE\r\n* 23 EXISTS\r\n* 5 RECENT\r\n"
                         "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work $Junk)\r\n"
                         "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work "
                         "$Junk \\*)] Flags permitted\r\n"
                         "* 23 FETCH (FLAGS (\\Seen Work $Junk) UID 4827313)\r\n");
    Thurn__ImapUpdates flags_only = THURN__IMAP_UPDATES__INIT;
    flags_only.n_flags = 1, flags_only.flags = rows;
    row.system = 0, row.keywords = 2;
    imap_print_updates(&out, &flags_only, &names, false);
    assert_printed(&out, "* 23 FETCH (FLAGS ($Junk))\r\n");
    row.keywords = UINT64_MAX << 2; /* of which this side has not been told */
    imap_print_updates(&out, &flags_only, &names, false);
    assert_printed(&out, "* 23 FETCH (FLAGS ())\r\n");
    imap_names_free(&names);
}

/* ------------------------------------------------------------------------------------ mailboxes */

static void mailboxes_are_listed_with_their_attributes(void **state)
{
    Thurn__ImapMailboxRow inbox = THURN__IMAP_MAILBOX_ROW__INIT, gone = inbox, sent = inbox,
                          root = inbox;
    inbox.name = bytes("INBOX");
    inbox.has_children = true;
    gone.name = bytes("Entw\xC3\xBCrfe & mehr");
    gone.no_exist = true;
    sent.name = bytes("a\"b");
    sent.special_use = 32 | 2;
    root.no_select = true;
    Thurn__ImapMailboxRow *rows[] = {&inbox, &gone, &sent, &root};
    Thurn__ImapMailboxes m = THURN__IMAP_MAILBOXES__INIT;
    m.n_rows = 4, m.rows = rows;
    struct buf out = {0};
    imap_print_mailboxes(&out, &m, 0, 0);
    assert_printed(&out, "* LIST (\\HasChildren) \"/\" INBOX\r\n"
                         "* LIST (\\Noselect \\HasNoChildren) \"/\" \"Entw&APw-rfe &- mehr\"\r\n"
                         "* LIST (\\HasNoChildren \\Archive \\Sent) \"/\" \"a\\\"b\"\r\n"
                         "* LIST (\\Noselect) \"/\" \"\"\r\n");
    m.n_rows = 1;
    imap_print_mailboxes(&out, &m, IMAP_LIST_LSUB, 0);
    assert_printed(&out, "* LSUB (\\HasChildren) \"/\" INBOX\r\n");
}

static void status_shows_what_was_asked(void **state)
{
    Thurn__ImapStatusRow row = THURN__IMAP_STATUS_ROW__INIT;
    row.messages = 231, row.uidnext = 44292, row.recent = 1, row.uidvalidity = 2, row.unseen = 3;
    struct buf out = {0};
    imap_print_status(&out, STR("blurdybloop"), 5, &row);
    assert_printed(&out, "* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n");
    imap_print_status(&out, STR("\xC3\xA9"), 31, &row);
    assert_printed(&out, "* STATUS &AOk- (MESSAGES 231 RECENT 1 UIDNEXT 44292 UIDVALIDITY 2 "
                         "UNSEEN 3)\r\n");
}

static void a_selected_mailbox_is_described(void **state)
{
    ProtobufCBinaryData keywords[] = {bytes("Work")};
    Thurn__ImapSelected s = THURN__IMAP_SELECTED__INIT;
    s.exists = 172, s.recent = 1, s.first_unseen = 12, s.uidvalidity = 3857529045, s.uidnext = 4392;
    s.n_keywords = 1, s.keywords = keywords;
    struct buf out = {0};
    imap_print_selected(&out, &s);
    assert_printed(&out, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work)\r\n"
                         "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work "
                         "\\*)] Flags permitted\r\n"
                         "* 172 EXISTS\r\n* 1 RECENT\r\n"
                         "* OK [UNSEEN 12] First unseen message\r\n"
                         "* OK [UIDVALIDITY 3857529045] UIDs valid\r\n"
                         "* OK [UIDNEXT 4392] Predicted next UID\r\n");
    Thurn__ImapSelected empty = THURN__IMAP_SELECTED__INIT;
    empty.read_only = true, empty.uidnext = 1, empty.uidvalidity = 1;
    imap_print_selected(&out, &empty);
    assert_printed(&out, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
                         "* OK [PERMANENTFLAGS ()] No permanent flags permitted\r\n"
                         "* 0 EXISTS\r\n* 0 RECENT\r\n"
                         "* OK [UIDVALIDITY 1] UIDs valid\r\n"
                         "* OK [UIDNEXT 1] Predicted next UID\r\n");
}

static void search_results_are_one_line(void **state)
{
    uint32_t numbers[] = {2, 84, 882};
    Thurn__ImapNumbers n = THURN__IMAP_NUMBERS__INIT;
    n.n_numbers = 3, n.numbers = numbers;
    struct buf out = {0};
    struct imap_command cmd = {.tag = STR("A1")};
    struct imap_numbers line = {0}, empty = {0};
    imap_print_numbers(&line, &out, &cmd, &n);
    imap_print_numbers(&line, &out, &cmd, &n);
    imap_end_numbers(&line, &out);
    assert_printed(&out, "* SEARCH 2 84 882 2 84 882\r\n");
    n.n_numbers = 0;
    imap_print_numbers(&empty, &out, &cmd, &n);
    imap_end_numbers(&empty, &out);
    imap_end_numbers(&empty, &out);
    assert_printed(&out, "* SEARCH\r\n");
}

/* RFC 4731: ranges grow across frames; the summary comes with the last one. */
static void extended_search_results_are_ranges_and_a_summary(void **state)
{
    uint32_t first[] = {1, 2, 5}, second[] = {6, 7, 9};
    Thurn__ImapSearch search = THURN__IMAP_SEARCH__INIT;
    search.returns = THURN__SEARCH_RETURN__RETURN_ALL | THURN__SEARCH_RETURN__RETURN_COUNT;
    struct imap_command cmd = {.tag = STR("A\"1"), .uid = true, .request = &search.base};
    Thurn__ImapNumbers n = THURN__IMAP_NUMBERS__INIT;
    struct imap_numbers line = {0}, none = {0};
    struct buf out = {0};
    n.n_numbers = 3, n.numbers = first;
    imap_print_numbers(&line, &out, &cmd, &n);
    n.numbers = second;
    n.last = true, n.min = 1, n.max = 9, n.count = 6, n.modseq = 77;
    imap_print_numbers(&line, &out, &cmd, &n);
    imap_end_numbers(&line, &out);
    assert_printed(&out, "* ESEARCH (TAG \"A\\\"1\") UID ALL 1:2,5:7,9 COUNT 6 MODSEQ 77\r\n");
    search.returns = THURN__SEARCH_RETURN__RETURN_MIN | THURN__SEARCH_RETURN__RETURN_MAX;
    n = (Thurn__ImapNumbers)THURN__IMAP_NUMBERS__INIT;
    n.last = true;
    imap_print_numbers(&none, &out, &cmd, &n);
    assert_printed(&out, "* ESEARCH (TAG \"A\\\"1\") UID\r\n");
}

static void changes_are_told_with_modseqs_to_those_who_want_them(void **state)
{
    Thurn__FetchRow row = THURN__FETCH_ROW__INIT;
    Thurn__FetchRow *rows[] = {&row};
    Thurn__NumRange from = THURN__NUM_RANGE__INIT, to = from;
    Thurn__NumRange *moved_from[] = {&from}, *moved_to[] = {&to};
    Thurn__ImapUpdates u = THURN__IMAP_UPDATES__INIT;
    struct imap_view_names names = {0};
    struct buf out = {0};
    row.seq = 2, row.uid = 7, row.system = 1, row.modseq = 91;
    row.items = THURN__FETCH_ITEM__FETCH_FLAGS | THURN__FETCH_ITEM__FETCH_MODSEQ;
    u.n_flags = 1, u.flags = rows, u.highest_modseq = 90;
    imap_print_updates(&out, &u, &names, false);
    assert_printed(&out, "* OK [HIGHESTMODSEQ 90] Changes are told with modseqs\r\n"
                         "* 2 FETCH (FLAGS (\\Seen) MODSEQ (91))\r\n");
    row.items = THURN__FETCH_ITEM__FETCH_MODSEQ;
    u.highest_modseq = 0;
    imap_print_updates(&out, &u, &names, true);
    assert_printed(&out, "* 2 FETCH (UID 7 MODSEQ (91))\r\n");
    uint32_t gone[] = {3};
    u.n_flags = 0, u.n_expunged = 1, u.expunged = gone;
    from.first = 3, from.last = 4, to.first = 8, to.last = 9;
    u.moved_uidvalidity = 5, u.n_moved_from = u.n_moved_to = 1;
    u.moved_from = moved_from, u.moved_to = moved_to;
    imap_print_updates(&out, &u, &names, false);
    assert_printed(&out, "* OK [COPYUID 5 3:4 8:9] Moved\r\n* 3 EXPUNGE\r\n");
}

static void extended_lists_show_more(void **state)
{
    Thurn__ImapStatusRow status = THURN__IMAP_STATUS_ROW__INIT;
    Thurn__ImapMailboxRow inbox = THURN__IMAP_MAILBOX_ROW__INIT, gone = inbox, junk = inbox;
    Thurn__ImapMailboxRow *rows[] = {&inbox, &gone, &junk};
    Thurn__ImapMailboxes m = THURN__IMAP_MAILBOXES__INIT;
    struct buf out = {0};
    inbox.name = bytes("INBOX"), inbox.subscribed = true, inbox.mailbox_status = &status;
    status.messages = 3, status.highest_modseq = 9;
    gone.name = bytes("gone"), gone.no_exist = true, gone.child_info = true;
    junk.name = bytes("Spam"), junk.special_use = 16;
    m.n_rows = 3, m.rows = rows;
    imap_print_mailboxes(&out, &m, IMAP_LIST_EXTENDED | IMAP_LIST_SUBSCRIBED, 33);
    assert_printed(&out, "* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX\r\n"
                         "* STATUS INBOX (MESSAGES 3 HIGHESTMODSEQ 9)\r\n"
                         "* LIST (\\NonExistent \\HasNoChildren) \"/\" gone "
                         "(CHILDINFO (\"SUBSCRIBED\"))\r\n"
                         "* LIST (\\HasNoChildren \\Junk) \"/\" Spam\r\n");
    inbox.mailbox_status = NULL;
    rows[1] = &junk, m.n_rows = 2;
    imap_print_mailboxes(&out, &m, IMAP_LIST_XLIST, 0);
    assert_printed(&out, "* XLIST (\\HasNoChildren \\Inbox) \"/\" INBOX\r\n"
                         "* XLIST (\\HasNoChildren \\Spam) \"/\" Spam\r\n");
}

static void answers_carry_the_codes_of_uidplus_and_of_failures(void **state)
{
    Thurn__NumRange one = THURN__NUM_RANGE__INIT, two = one, three = one;
    one.first = one.last = 304;
    two.first = 319, two.last = 320;
    three.first = 3956, three.last = 3958;
    Thurn__NumRange *source[] = {&one, &two}, *target[] = {&three}, *single[] = {&one};
    Thurn__ImapSelected selected = THURN__IMAP_SELECTED__INIT;
    Thurn__ImapDone d = THURN__IMAP_DONE__INIT;
    struct buf out = {0};
    d.uidvalidity = 38505;
    d.n_source_uids = 2, d.source_uids = source, d.n_target_uids = 1, d.target_uids = target;
    imap_print_done_code(&out, IMAP_COPY, &d);
    assert_printed(&out, "[COPYUID 38505 304,319:320 3956:3958] ");
    d.n_source_uids = 0, d.target_uids = single;
    imap_print_done_code(&out, IMAP_APPEND, &d);
    assert_printed(&out, "[APPENDUID 38505 304] ");
    imap_print_done_code(&out, IMAP_STORE, &d);
    d.n_target_uids = 0;
    imap_print_done_code(&out, IMAP_COPY, &d);
    imap_print_done_code(&out, IMAP_SELECT, &d);
    assert_printed(&out, "");
    d.selected = &selected;
    imap_print_done_code(&out, IMAP_SELECT, &d);
    selected.read_only = true;
    imap_print_done_code(&out, IMAP_EXAMINE, &d);
    assert_printed(&out, "[READ-WRITE] [READ-ONLY] ");
    Thurn__Status status = RPC_STATUS(THURN__CODE__TRY_CREATE, "");
    d.status = &status;
    imap_print_done_code(&out, IMAP_COPY, &d);
    status.code = THURN__CODE__DENIED;
    imap_print_done_code(&out, IMAP_LOGIN, &d);
    status.code = THURN__CODE__OVER_QUOTA;
    imap_print_done_code(&out, IMAP_APPEND, &d);
    assert_printed(&out, "[TRYCREATE] [AUTHENTICATIONFAILED] [OVERQUOTA] ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capabilities_are_those_of_the_situation),
        cmocka_unit_test(a_quota_is_shown_for_what_has_a_limit),
        cmocka_unit_test(what_is_announced_is_what_the_table_has),
        cmocka_unit_test(any_string_is_printed_as_the_grammar_has_it),
        cmocka_unit_test(strings_are_quoted_where_rfc_3501_allows_it),
        cmocka_unit_test(dates_are_right_in_every_century),
        cmocka_unit_test(dates_agree_with_the_calendar),
        cmocka_unit_test(updates_are_told_in_the_order_that_keeps_numbers_right),
        cmocka_unit_test(mailboxes_are_listed_with_their_attributes),
        cmocka_unit_test(status_shows_what_was_asked),
        cmocka_unit_test(a_selected_mailbox_is_described),
        cmocka_unit_test(search_results_are_one_line),
        cmocka_unit_test(extended_search_results_are_ranges_and_a_summary),
        cmocka_unit_test(changes_are_told_with_modseqs_to_those_who_want_them),
        cmocka_unit_test(extended_lists_show_more),
        cmocka_unit_test(answers_carry_the_codes_of_uidplus_and_of_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
