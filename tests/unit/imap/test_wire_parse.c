#include "base/base.h"

#include <setjmp.h>
#include <cmocka.h>

#include "wire_dump.h"

static const struct imap_limits limits = {
    .line = 2000, .literal = 1000, .command = 4000, .message = 100000};

struct parse_case {
    enum imap_state state;
    struct str input;
    const char *expected;
};

static const enum imap_state NOT = IMAP_NOT_AUTHENTICATED, AUTH = IMAP_AUTHENTICATED,
                             SEL = IMAP_SELECTED;
/* Inputs may hold NUL. */
#define CASE(state, input, expected)                                                               \
    {                                                                                              \
        IMAP_##state, STR_INIT(input), expected                                                    \
    }

static const struct parse_case good[] = {
    CASE(NOT_AUTHENTICATED, "a1 CAPABILITY\r\n", "a1 CAPABILITY\n"),
    CASE(NOT_AUTHENTICATED, "a1 capability\n", "a1 CAPABILITY\n"),
    CASE(SELECTED, "a1 NOOP\r\n", "a1 NOOP {}\n"),
    CASE(NOT_AUTHENTICATED, "A.1 logout\r\n", "A.1 LOGOUT\n"),
    CASE(NOT_AUTHENTICATED, "a STARTTLS\r\n", "a STARTTLS\n"),
    CASE(NOT_AUTHENTICATED, "a AUTHENTICATE PLAIN\r\n", "a AUTHENTICATE PLAIN\n"),
    CASE(NOT_AUTHENTICATED, "a authenticate plain dGVzdAB0ZXN0AHRlc3Q=\r\n",
         "a AUTHENTICATE plain initial=dGVzdAB0ZXN0AHRlc3Q=\n"),
    CASE(NOT_AUTHENTICATED, "a AUTHENTICATE EXTERNAL =\r\n", "a AUTHENTICATE EXTERNAL initial=\n"),
    CASE(NOT_AUTHENTICATED, "a001 LOGIN SMITH SESAME\r\n",
         "a001 LOGIN {user=SMITH password=SESAME}\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN \"sm\\\"i\\\\th\" \"\"\r\n", "a LOGIN {user=sm\"i\\th}\n"),
    CASE(NOT_AUTHENTICATED, "A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man\r\n",
         "+ 11\n+ 7\nA001 LOGIN {user=FRED FOOBAR password=fat man}\n"),
    CASE(NOT_AUTHENTICATED, "A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man\r\n",
         "A001 LOGIN {user=FRED FOOBAR password=fat man}\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN {0}\r\n {3}\r\n{5}\r\n", "+ 0\n+ 3\na LOGIN {password={5}}\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN u]x {6+}\r\n{9+}\r\n\r\n",
         "a LOGIN {user=u]x password={9+}\r\n}\n"),
    CASE(AUTHENTICATED, "A142 SELECT INBOX\r\n", "A142 SELECT {mailbox=INBOX}\n"),
    CASE(AUTHENTICATED, "A142 SELECT \"inBox\"\r\n", "A142 SELECT {mailbox=INBOX}\n"),
    CASE(SELECTED, "A932 EXAMINE blurdybloop\r\n",
         "A932 EXAMINE {mailbox=blurdybloop examine=1}\n"),
    CASE(AUTHENTICATED, "a SELECT \"Entw&APw-rfe &- mehr\"\r\n",
         "a SELECT {mailbox=Entw\xC3\xBCrfe & mehr}\n"),
    CASE(AUTHENTICATED, "a SELECT inbox/sub\r\n", "a SELECT {mailbox=inbox/sub}\n"),
    CASE(AUTHENTICATED, "A003 CREATE owatagusiam/\r\n", "A003 CREATE {mailbox=owatagusiam}\n"),
    CASE(AUTHENTICATED, "t1 CREATE MySent (USE (\\Drafts \\Sent))\r\n",
         "t1 CREATE {mailbox=MySent special_use=36}\n"),
    CASE(AUTHENTICATED, "A682 DELETE foo\r\n", "A682 DELETE {mailbox=foo}\n"),
    CASE(AUTHENTICATED, "A683 RENAME blurdybloop \"sar cast\"\r\n",
         "A683 RENAME {from=blurdybloop to=sar cast}\n"),
    CASE(AUTHENTICATED, "A002 SUBSCRIBE #news.comp.mail.mime\r\n",
         "A002 SUBSCRIBE {mailbox=#news.comp.mail.mime on=1}\n"),
    CASE(AUTHENTICATED, "A002 UNSUBSCRIBE x\r\n", "A002 UNSUBSCRIBE {mailbox=x}\n"),
    CASE(AUTHENTICATED, "A101 LIST \"\" \"\"\r\n", "A101 LIST {patterns=[]}\n"),
    CASE(AUTHENTICATED, "A202 LIST ~/Mail/ %\r\n", "A202 LIST {reference=~/Mail/ patterns=[%]}\n"),
    CASE(AUTHENTICATED, "A LIST \"\" inbox\r\n", "A LIST {patterns=[INBOX]}\n"),
    CASE(AUTHENTICATED, "A LIST \"\" *&APw-*\r\n", "A LIST {patterns=[*\xC3\xBC*]}\n"),
    CASE(AUTHENTICATED, "t1 LIST \"\" \"%\" RETURN (SPECIAL-USE)\r\n",
         "t1 LIST options=4 {patterns=[%]}\n"),
    CASE(AUTHENTICATED, "t1 LIST \"\" (a \"b c\") RETURN (CHILDREN SPECIAL-USE)\r\n",
         "t1 LIST options=4 {patterns=[a,b c]}\n"),
    CASE(AUTHENTICATED, "t2 LIST (SPECIAL-USE) \"\" \"*\"\r\n",
         "t2 LIST options=4 {patterns=[*] select=4}\n"),
    CASE(AUTHENTICATED, "t2 LIST () \"\" * RETURN ()\r\n", "t2 LIST options=4 {patterns=[*]}\n"),
    CASE(AUTHENTICATED, "a LIST (SUBSCRIBED REMOTE RECURSIVEMATCH) \"\" %\r\n",
         "a LIST options=12 {patterns=[%] select=3}\n"),
    CASE(AUTHENTICATED, "a LIST \"\" * RETURN (SUBSCRIBED STATUS (MESSAGES HIGHESTMODSEQ))\r\n",
         "a LIST options=12 {patterns=[*] status_items=33}\n"),
    CASE(AUTHENTICATED, "a XLIST \"\" *\r\n", "a XLIST options=2 {patterns=[*]}\n"),
    CASE(AUTHENTICATED, "a ENABLE CONDSTORE X-OTHER\r\n", "a ENABLE {extensions=1}\n"),
    CASE(NOT_AUTHENTICATED, "a ID NIL\r\n", "a ID\n"),
    CASE(NOT_AUTHENTICATED, "a ID (\"name\" \"x y\" \"os\" NIL)\r\n", "a ID name=x y os=\n"),
    CASE(AUTHENTICATED, "a NAMESPACE\r\n", "a NAMESPACE\n"),
    CASE(AUTHENTICATED, "a GETQUOTA \"\"\r\n", "a GETQUOTA {}\n"),
    CASE(AUTHENTICATED, "a GETQUOTA other\r\n", "a GETQUOTA {root=other}\n"),
    CASE(AUTHENTICATED, "a GETQUOTAROOT inbox\r\n", "a GETQUOTAROOT {mailbox=INBOX}\n"),
    CASE(AUTHENTICATED, "a SETQUOTA \"\" (STORAGE 512)\r\n", "a SETQUOTA\n"),
    CASE(AUTHENTICATED, "a STATUS x (DELETED DELETED-STORAGE)\r\n",
         "a STATUS {mailbox=x items=768}\n"),
    CASE(SELECTED, "a compress deflate\r\n", "a COMPRESS deflate\n"),
    CASE(AUTHENTICATED, "a SELECT x (CONDSTORE)\r\n", "a SELECT {mailbox=x condstore=1}\n"),
    CASE(AUTHENTICATED,
         "a SELECT x (QRESYNC (67890007 20050715194045000 41,43:211 (1,5 41,45)))\r\n",
         "a SELECT {mailbox=x condstore=1 resync={uidvalidity=67890007 modseq=20050715194045000 "
         "known=uid 41,43:211}}\n"),
    CASE(AUTHENTICATED, "a EXAMINE x (CONDSTORE QRESYNC (1 2))\r\n",
         "a EXAMINE {mailbox=x examine=1 condstore=1 resync={uidvalidity=1 modseq=2}}\n"),
    CASE(AUTHENTICATED, "a SELECT x (QRESYNC (1 2 (1 5)))\r\n",
         "a SELECT {mailbox=x condstore=1 resync={uidvalidity=1 modseq=2}}\n"),
    CASE(AUTHENTICATED, "a ENABLE QRESYNC CONDSTORE\r\n", "a ENABLE {extensions=3}\n"),
    CASE(SELECTED, "a UID FETCH 1:9 (FLAGS) (CHANGEDSINCE 7 VANISHED)\r\n",
         "a UID FETCH {set=uid 1:9 items=35 changed_since=7 vanished=1} print 0 7 1\n"),
    CASE(SELECTED, "a FETCH 1 (BINARY[1.2]<0.9> BINARY.SIZE[3])\r\n",
         "a FETCH {set=1 sections=[{path=[1,2] use=2},{path=[1,2] partial=1 length=9 "
         "use=1},{path=[3] "
         "use=2}] set_seen=1} print  BINARY[1.2]<0> BINARY.SIZE[3]\n"),
    CASE(SELECTED, "a FETCH 1 BINARY.PEEK[]\r\n",
         "a FETCH {set=1 sections=[{use=2},{use=1}]} print  BINARY[]\n"),
    CASE(SELECTED, "a UNSELECT\r\n", "a UNSELECT {}\n"),
    CASE(SELECTED, "a UID MOVE 1:3 x\r\n", "a UID MOVE {set=uid 1:3 mailbox=x move=1}\n"),
    CASE(SELECTED, "a FETCH 1 (UID MODSEQ) (CHANGEDSINCE 12345678901)\r\n",
         "a FETCH {set=1 items=33 changed_since=12345678901} print 1 7\n"),
    CASE(SELECTED, "a STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\\Seen)\r\n",
         "a STORE {set=1 mode=1 silent=1 flags={system=1} conditional=1}\n"),
    CASE(SELECTED, "a SEARCH RETURN (MIN COUNT) MODSEQ \"/flags/\\\\draft\" all 9\r\n",
         "a SEARCH {nodes=[{op=1 children=1},{op=25 number=9}] returns=5}\n"),
    CASE(SELECTED, "a UID SEARCH RETURN () ALL\r\n",
         "a UID SEARCH {nodes=[{op=1 children=1},{}] uid=1 returns=8}\n"),
    CASE(AUTHENTICATED, "A002 LSUB \"#news.\" \"comp.mail.*\"\r\n",
         "A002 LSUB options=1 {reference=#news. patterns=[comp.mail.*] lsub=1}\n"),
    CASE(AUTHENTICATED, "A042 STATUS blurdybloop (UIDNEXT MESSAGES)\r\n",
         "A042 STATUS {mailbox=blurdybloop items=5}\n"),
    CASE(AUTHENTICATED, "A STATUS x (messages recent uidnext uidvalidity unseen)\r\n",
         "A STATUS {mailbox=x items=31}\n"),
    CASE(AUTHENTICATED, "A003 APPEND saved-messages (\\Seen) {4}\r\nxx\r\n\r\n",
         "message 4 A003 APPEND {mailbox=saved-messages messages=[{flags={system=1} size=4}]}\n"
         "tail ok\n"),
    CASE(AUTHENTICATED, "A APPEND INBOX {3+}\r\n\0\0\0\n",
         "message 3+ A APPEND {mailbox=INBOX messages=[{size=3}]}\ntail ok\n"),
    CASE(AUTHENTICATED,
         "A APPEND {5}\r\nINBOX (\\Flagged Work \\Draft) \"17-Jul-1996 02:44:25 -0700\" "
         "{2}\r\n{3\r\nb NOOP\r\n",
         "+ 5\nmessage 2 A APPEND {mailbox=INBOX messages=[{flags={system=20 keywords=[Work]} "
         "internal_date=837596665 has_date=1 size=2}]}\ntail ok\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "A APPEND {5+}\r\nINBOX () \" 1-Jan-1970 00:00:01 +0000\" {0+}\r\n\r\n",
         "message 0+ A APPEND {mailbox=INBOX messages=[{flags={} internal_date=1 has_date=1}]}\n"
         "tail ok\n"),
    CASE(
        AUTHENTICATED,
        "A APPEND x {2+}\r\nab (\\Seen) {1}\r\nc \"01-Jan-1970 00:00:09 +0000\" ~{3+}\r\n\0\r\n\r\n"
        "b NOOP\r\n",
        "message 2+ A APPEND {mailbox=x messages=[{size=2}]}\n"
        "message 1 A APPEND {mailbox=x messages=[{size=2},{flags={system=1} size=1}]}\n"
        "message 3+ A APPEND {mailbox=x messages=[{size=2},{flags={system=1} size=1},"
        "{internal_date=9 has_date=1 size=3}]}\ntail ok\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "A APPEND x (Work) ~{1}\r\n\0\r\n",
         "message 1 A APPEND {mailbox=x messages=[{flags={keywords=[Work]} size=1}]}\ntail ok\n"),
    CASE(SELECTED, "FXXZ CHECK\r\n", "FXXZ CHECK {check=1}\n"),
    CASE(SELECTED, "A341 CLOSE\r\n", "A341 CLOSE {expunge=1}\n"),
    CASE(SELECTED, "A202 EXPUNGE\r\n", "A202 EXPUNGE {}\n"),
    CASE(SELECTED, "A101 UID EXPUNGE 3000:3002\r\n", "A101 UID EXPUNGE {set=uid 3000:3002}\n"),
    CASE(SELECTED, "A003 STORE 2:4 +FLAGS (\\Deleted)\r\n",
         "A003 STORE {set=2:4 mode=1 flags={system=8}}\n"),
    CASE(SELECTED, "A STORE 1 FLAGS.SILENT ()\r\n", "A STORE {set=1 silent=1 flags={}}\n"),
    CASE(SELECTED, "A UID STORE *:5 -flags \\Seen $Junk\r\n",
         "A UID STORE {set=uid 4294967295:5 mode=2 flags={system=1 keywords=[$Junk]}}\n"),
    CASE(SELECTED, "A003 COPY 2:4 MEETING\r\n", "A003 COPY {set=2:4 mailbox=MEETING}\n"),
    CASE(SELECTED, "A UID COPY 1,2,3,7,9:10,11 x\r\n",
         "A UID COPY {set=uid 1:3,7,9:11 mailbox=x}\n"),
    CASE(SELECTED, "A COPY 4,3,2,*,4294967294,* x\r\n",
         "A COPY {set=4,3,2,4294967295,4294967294,4294967295 mailbox=x}\n"),
    CASE(AUTHENTICATED, "A IDLE\r\n", "A IDLE {}\n"),

    CASE(SELECTED, "a SEARCH ALL\r\n", "a SEARCH {nodes=[{op=1 children=1},{}]}\n"),
    CASE(SELECTED, "A282 SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"\r\n",
         "A282 SEARCH {nodes=[{op=1 children=3},{op=4 number=4},{op=11 date=8797},"
         "{op=3 children=1},{op=15 text=Smith}]}\n"),
    CASE(SELECTED, "A283 SEARCH TEXT \"string not in mailbox\"\r\n",
         "A283 SEARCH {nodes=[{op=1 children=1},{op=22 text=string not in mailbox}]}\n"),
    CASE(SELECTED, "A284 SEARCH CHARSET UTF-8 TEXT {6}\r\n\xD0\x96\xD0\x96\xD0\x96\r\n",
         "+ 6\nA284 SEARCH {nodes=[{op=1 children=1},{op=22 text=\xD0\x96\xD0\x96\xD0\x96}]}\n"),
    CASE(SELECTED, "A UID SEARCH charset us-ascii 1:4,9 UID 5:*\r\n",
         "A UID SEARCH {nodes=[{op=1 children=2},{op=6 set=1:4,9},{op=6 set=uid 5:4294967295}] "
         "uid=1}\n"),
    CASE(SELECTED, "A SEARCH CHARSET KLINGON TEXT \"\xC1\xC2\"\r\n", "A SEARCH bad-charset\n"),
    CASE(SELECTED, "A SEARCH CHARSET KOI8-R TEXT \"\xC1\xC2\" HEADER Subject {1+}\r\n\xD6\r\n",
         "A SEARCH {nodes=[{op=1 children=2},{op=22 text=\xD0\xB0\xD0\xB1},{op=20 text=\xD0\xB6 "
         "header=Subject}]}\n"),
    CASE(SELECTED, "A SEARCH CHARSET \"iso-8859-1\" OR FROM {2}\r\n\xFCx TO b\r\n",
         "+ 2\nA SEARCH {nodes=[{op=1 children=1},{op=2 children=2},{op=15 text=\xC3\xBCx},{op=16 "
         "text=b}]}\n"),
    CASE(SELECTED, "A SEARCH CHARSET ISO-2022-JP SUBJECT {8+}\r\n\x1B$B$\"\x1B(B\r\n",
         "A SEARCH {nodes=[{op=1 children=1},{op=19 text=\xE3\x81\x82}]}\n"),
    CASE(SELECTED, "A SEARCH CHARSET UTF-8 SUBJECT \"\" HEADER X-Y {0+}\r\n\r\n",
         "A SEARCH {nodes=[{op=1 children=2},{op=19},{op=20 header=X-Y}]}\n"),
    CASE(SELECTED, "A SEARCH OR NOT SEEN (DELETED OR 1 2) KEYWORD k UNKEYWORD k\r\n",
         "A SEARCH {nodes=[{op=1 children=3},{op=2 children=2},{op=3 children=1},{op=4 number=1},"
         "{op=1 children=2},{op=4 number=8},{op=2 children=2},{op=6 set=1},{op=6 set=2},"
         "{op=5 text=k},{op=3 children=1},{op=5 text=k}]}\n"),
    CASE(SELECTED, "A SEARCH ((ALL))\r\n",
         "A SEARCH {nodes=[{op=1 children=1},{op=1 children=1},{op=1 children=1},{}]}\n"),
    CASE(SELECTED,
         "A SEARCH ANSWERED DRAFT RECENT UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNSEEN NEW OLD\r\n",
         "A SEARCH {nodes=[{op=1 children=10},{op=4 number=2},{op=4 number=16},{op=4 number=32},"
         "{op=3 children=1},{op=4 number=2},{op=3 children=1},{op=4 number=8},{op=3 children=1},"
         "{op=4 number=16},{op=3 children=1},{op=4 number=4},{op=3 children=1},{op=4 number=1},"
         "{op=23},{op=24}]}\n"),
    CASE(SELECTED,
         "A SEARCH BEFORE 1-Jan-1970 ON \"2-Jan-1970\" SENTBEFORE 31-Dec-1969 SENTON 29-Feb-2000 "
         "SENTSINCE 1-mar-2000\r\n",
         "A SEARCH {nodes=[{op=1 children=5},{op=9},{op=10 date=1},{op=12 date=-1},{op=13 "
         "date=11016},"
         "{op=14 date=11017}]}\n"),
    CASE(SELECTED,
         "A SEARCH LARGER 4096 SMALLER 5000000000 HEADER X-Spam \"\" SUBJECT s TO t CC c BCC b "
         "BODY x\r\n",
         "A SEARCH {nodes=[{op=1 children=8},{op=7 number=4096},{op=8 number=5000000000},"
         "{op=20 header=X-Spam},{op=19 text=s},{op=16 text=t},{op=17 text=c},{op=18 text=b},"
         "{op=21 text=x}]}\n"),

    CASE(SELECTED, "A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])\r\n",
         "A654 FETCH {set=2:4 items=2 sections=[{part=2}] set_seen=1} print 0 BODY[HEADER.FIELDS "
         "(DATE FROM)]/pick2\n"),
    CASE(SELECTED, "A FETCH 1 ALL\r\n", "A FETCH {set=1 items=30} print 0 2 3 4\n"),
    CASE(SELECTED, "A FETCH 1 fast\r\n", "A FETCH {set=1 items=14} print 0 2 3\n"),
    CASE(SELECTED, "A FETCH 1 FULL\r\n", "A FETCH {set=1 items=30} print 0 2 3 4 5\n"),
    CASE(SELECTED, "A UID FETCH 1:* (UID BODYSTRUCTURE ENVELOPE FLAGS FLAGS)\r\n",
         "A UID FETCH {set=uid 1:4294967295 items=19} print 1 6 4 0\n"),
    CASE(SELECTED, "A UID FETCH 1 FLAGS\r\n", "A UID FETCH {set=uid 1 items=3} print 0 1\n"),
    CASE(SELECTED, "A FETCH 1 BODY\r\n", "A FETCH {set=1 items=16} print 5\n"),
    CASE(SELECTED, "A FETCH 1 BODY[]\r\n",
         "A FETCH {set=1 sections=[{}] set_seen=1} print BODY[]\n"),
    CASE(
        SELECTED, "A FETCH 1 body.peek[text]<10.20>\r\n",
        "A FETCH {set=1 sections=[{part=4 partial=1 offset=10 length=20}]} print BODY[TEXT]<10>\n"),
    CASE(SELECTED, "A FETCH 1 (RFC822 RFC822.HEADER RFC822.SIZE RFC822.TEXT)\r\n",
         "A FETCH {set=1 items=8 sections=[{},{part=1},{part=4}] set_seen=1} print 3 RFC822 "
         "RFC822.HEADER RFC822.TEXT\n"),
    CASE(SELECTED, "A FETCH 1 RFC822.HEADER\r\n",
         "A FETCH {set=1 sections=[{part=1}]} print RFC822.HEADER\n"),
    CASE(SELECTED,
         "A FETCH 1 (BODY.PEEK[1] BODY.PEEK[1.2.mime] BODY.PEEK[3.HEADER] "
         "BODY.PEEK[4.2.TEXT]<0.1>)\r\n",
         "A FETCH {set=1 sections=[{path=[1]},{path=[1,2] part=5},{path=[3] part=1},"
         "{path=[4,2] part=4 partial=1 length=1}]} print BODY[1] BODY[1.2.MIME] BODY[3.HEADER] "
         "BODY[4.2.TEXT]<0>\n"),
    CASE(SELECTED, "A FETCH 1 BODY.PEEK[2.HEADER.FIELDS.NOT (\"X-A\" {3}\r\nx(y)]<5.6>\r\n",
         "+ 3\nA FETCH {set=1 sections=[{path=[2] part=3 partial=1 offset=5 length=6}]} "
         "print BODY[2.HEADER.FIELDS.NOT (X-A \"x(y\")]<5>/not2\n"),
};

static const struct parse_case bad[] = {
    CASE(NOT_AUTHENTICATED, "\r\n", "* BAD A command begins with a tag\n"),
    CASE(NOT_AUTHENTICATED, " NOOP\r\n", "* BAD A command begins with a tag\n"),
    CASE(NOT_AUTHENTICATED, "+a NOOP\r\n", "* BAD A command begins with a tag\n"),
    CASE(NOT_AUTHENTICATED, "a(b NOOP\r\n", "* BAD A command begins with a tag\n"),
    CASE(NOT_AUTHENTICATED, "a\r\n", "a BAD A command name must follow the tag\n"),
    CASE(NOT_AUTHENTICATED, "a \r\n", "a BAD Unknown command\n"),
    CASE(NOT_AUTHENTICATED, "a FROB\r\n", "a BAD Unknown command\n"),
    CASE(SELECTED, "a UID NOOP\r\n", "a BAD Unknown command\n"),
    CASE(SELECTED, "a UID\r\n", "a BAD Unknown command\n"),
    CASE(NOT_AUTHENTICATED, "a NOOP x\r\n",
         "a BAD There is more behind the command than belongs to it\n"),
    CASE(NOT_AUTHENTICATED, "a NOOP \r\n",
         "a BAD There is more behind the command than belongs to it\n"),
    CASE(NOT_AUTHENTICATED, "a SELECT INBOX\r\n", "a BAD Log in first\n"),
    CASE(AUTHENTICATED, "a LOGIN x y\r\n", "a BAD You are logged in already\n"),
    CASE(AUTHENTICATED, "a FETCH 1 FLAGS\r\n", "a BAD Select a mailbox first\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN x\r\n", "a BAD Arguments are missing\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN\r\n", "a BAD Arguments are missing\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN  x y\r\n", "a BAD A string is missing\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN \"x\r\n", "a BAD A quoted string is not ended\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN \"x\\y\" z\r\n",
         "a BAD In a quoted string only \" and \\ may follow a \\\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN {1+}\r\n\0 y\r\n",
         "a BAD A literal that is no message may not hold NUL\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN x {}\r\n", "a BAD A literal is malformed\n"),
    CASE(NOT_AUTHENTICATED, "a LOGIN \"{3}\r\nabc\r\n",
         "+ 3\na BAD A quoted string is not ended\n"),
    CASE(NOT_AUTHENTICATED, "a FROB {3}\r\nb NOOP\r\n", "a BAD Unknown command\nb NOOP {}\n"),
    CASE(NOT_AUTHENTICATED, "a FROB {3+}\r\nx\r\n {2+}\r\nyy\r\nb NOOP\r\n",
         "a BAD Unknown command\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "a SELECT \"\"\r\n", "a BAD A mailbox name is empty\n"),
    CASE(AUTHENTICATED, "a SELECT &AOk\r\n", "a BAD A mailbox name is not in modified UTF-7\n"),
    CASE(AUTHENTICATED, "a SELECT \"\xC3\xBC\"\r\n",
         "a BAD A mailbox name is not in modified UTF-7\n"),
    CASE(AUTHENTICATED, "a SELECT &AAE-\r\n", "a BAD A mailbox name has a control character\n"),
    CASE(AUTHENTICATED, "a SELECT &AIU-\r\n", "a BAD A mailbox name has a control character\n"),
    CASE(AUTHENTICATED, "a CREATE x (USE (\\Nothing))\r\n",
         "a CREATE {mailbox=x special_use=1073741824}\n"),
    CASE(AUTHENTICATED, "a CREATE x (USE (Sent))\r\n", "a BAD A special use begins with \\\n"),
    CASE(SELECTED, "a SEARCH ON 29-Feb-2023\r\n", "a BAD A date has no such day\n"),
    CASE(SELECTED, "a SEARCH ON 29-Feb-2100\r\n", "a BAD A date has no such day\n"),
    CASE(SELECTED, "a SEARCH ON 29-Feb-2000\r\n",
         "a SEARCH {nodes=[{op=1 children=1},{op=10 date=11016}]}\n"),
    CASE(AUTHENTICATED, "a STATUS x ()\r\n", "a BAD An atom is missing\n"),
    CASE(AUTHENTICATED, "a STATUS x (SIZE)\r\n", "a BAD There is no such status item\n"),
    CASE(AUTHENTICATED, "a LIST \"\" * RETURN (STATUS)\r\n", "a BAD A space is missing\n"),
    CASE(AUTHENTICATED, "a LIST \"\" * RETURN (MYRIGHTS)\r\n",
         "a BAD There is no such return option of LIST\n"),
    CASE(AUTHENTICATED, "a LIST (RECURSIVEMATCH) \"\" *\r\n",
         "a BAD RECURSIVEMATCH needs SUBSCRIBED\n"),
    CASE(AUTHENTICATED, "a SELECT x (QUICK)\r\n", "a BAD There is no such parameter of SELECT\n"),
    CASE(AUTHENTICATED, "a SELECT x (QRESYNC (1 2 3 4))\r\n",
         "a BAD QRESYNC has a list of values\n"),
    CASE(AUTHENTICATED, "a SELECT x (QRESYNC (0 2))\r\n", "a BAD A number may not be 0 here\n"),
    CASE(SELECTED, "a FETCH 1 UID (CHANGEDSINCE 5 VANISHED)\r\n",
         "a BAD VANISHED needs UID FETCH and CHANGEDSINCE\n"),
    CASE(SELECTED, "a FETCH 1 UID (CHANGEDSINCE 0)\r\n", "a BAD A modseq may not be 0 here\n"),
    CASE(SELECTED, "a STORE 1 (UNCHANGEDSINCE x) FLAGS ()\r\n",
         "a BAD A modseq is missing or too large\n"),
    CASE(SELECTED, "a SEARCH RETURN (SAVE) ALL\r\n",
         "a BAD SEARCH returns MIN, MAX, COUNT and ALL\n"),
    CASE(NOT_AUTHENTICATED, "a ID (\"123456789012345678901234567890x\" \"\")\r\n",
         "a BAD A field of ID is too long\n"),
    CASE(AUTHENTICATED, "a LSUB \"\" (a b)\r\n", "a BAD A mailbox pattern is missing\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX\r\n", "a BAD Arguments are missing\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX (\\Seen) x\r\n",
         "a BAD A literal with the message must follow\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX (\\Recent) {3}\r\nb NOOP\r\n",
         "a BAD There is no such system flag, or it cannot be set\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX x {3+}\r\nb X\r\nb NOOP\r\n",
         "a BAD There is more behind the command than belongs to it\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX~{3+}\r\nb X\r\nb NOOP\r\n",
         "a BAD Arguments are missing\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "a APPEND ~{5+}\r\nINBOX {3+}\r\nb X\r\nb NOOP\r\n",
         "a BAD A string is missing\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX \"32-Jan-2020 00:00:00 +0000\" {3}\r\n",
         "a BAD A date has no such day\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX {2+}\r\nxx (\\Seen)\r\nb NOOP\r\n",
         "message 2+ a APPEND {mailbox=INBOX messages=[{size=2}]}\n"
         "tail Behind a message the command ends or another one follows\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX {2+}\r\nxx (\\Recent) {3}\r\nb NOOP\r\n",
         "message 2+ a APPEND {mailbox=INBOX messages=[{size=2}]}\n"
         "tail There is no such system flag, or it cannot be set\nb NOOP {}\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX {2+}\r\nxx\rx{3+}\r\nyyy\r\nb NOOP\r\n",
         "message 2+ a APPEND {mailbox=INBOX messages=[{size=2}]}\ntail A space is missing\n"
         "b NOOP {}\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX {2+}\r\nxx {100001+}\r\n",
         "message 2+ a APPEND {mailbox=INBOX messages=[{size=2}]}\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX {2+}\r\nxx () {1}x\r\n",
         "message 2+ a APPEND {mailbox=INBOX messages=[{size=2}]}\n"
         "tail Behind a message the command ends or another one follows\n"),
    CASE(AUTHENTICATED, "a APPEND INBOX {2+}\r\nxx {100001}\r\nb NOOP\r\n",
         "message 2+ a APPEND {mailbox=INBOX messages=[{size=2}]}\n"
         "tail TOOBIG: The message is too large\nb NOOP {}\n"),
    CASE(NOT_AUTHENTICATED, "a COMPRESS DEFLATE\r\n", "a BAD Log in first\n"),
    CASE(AUTHENTICATED, "a COMPRESS\r\n", "a BAD Arguments are missing\n"),
    CASE(NOT_AUTHENTICATED, "a APPEND INBOX {3}\r\n", "a BAD Log in first\n"),
    CASE(SELECTED, "a FETCH 1 BINARY[1.MIME]\r\n", "a BAD BINARY takes the numbers of a part\n"),
    CASE(SELECTED, "a FETCH 1 BINARY[TEXT]\r\n", "a BAD BINARY takes the numbers of a part\n"),
    CASE(SELECTED, "a FETCH 1 BINARY.SIZE[1]<0.1>\r\n",
         "a BAD There is more behind the command than belongs to it\n"),
    CASE(SELECTED, "a FETCH 1 BINARY[0]\r\n", "a BAD A number may not be 0 here\n"),
    CASE(SELECTED, "a FETCH 1 BINARY\r\n", "a BAD Unknown FETCH item\n"),
    CASE(SELECTED, "a FETCH 1 RFC822[1]\r\n", "a BAD Unknown FETCH item\n"),
    CASE(SELECTED, "a STORE 1 FLAGS (\\*)\r\n", "a BAD An atom is missing\n"),
    CASE(SELECTED, "a STORE 0 FLAGS ()\r\n", "a BAD A number may not be 0 here\n"),
    CASE(SELECTED, "a STORE 1, FLAGS ()\r\n", "a BAD A number is missing or too large\n"),
    CASE(SELECTED, "a STORE 4294967296 FLAGS ()\r\n", "a BAD A number is missing or too large\n"),
    CASE(SELECTED, "a STORE 1 FLAG ()\r\n", "a BAD STORE changes FLAGS, +FLAGS or -FLAGS\n"),
    CASE(SELECTED, "a STORE 1 FLAGS (\\Seen\r\n", "a BAD A list of flags is not ended\n"),
    CASE(SELECTED, "a UID EXPUNGE\r\n", "a BAD Arguments are missing\n"),
    CASE(SELECTED, "a SEARCH\r\n", "a BAD Arguments are missing\n"),
    CASE(SELECTED, "a SEARCH ALL \r\n", "a BAD An atom is missing\n"),
    CASE(SELECTED, "a SEARCH FROB\r\n", "a BAD Unknown search key\n"),
    CASE(SELECTED, "a SEARCH (ALL\r\n", "a BAD The search ends too early\n"),
    CASE(SELECTED, "a SEARCH ()\r\n", "a BAD An atom is missing\n"),
    CASE(SELECTED, "a SEARCH ALL)\r\n", "a BAD A ) has no (\n"),
    CASE(SELECTED, "a SEARCH OR ALL\r\n", "a BAD The search ends too early\n"),
    CASE(SELECTED, "a SEARCH (OR ALL)\r\n", "a BAD A search key is missing\n"),
    CASE(SELECTED, "a SEARCH NOT\r\n", "a BAD Arguments are missing\n"),
    CASE(SELECTED, "a SEARCH SINCE 31-Foo-2000\r\n", "a BAD A date has no such month\n"),
    CASE(SELECTED, "a SEARCH TEXT {2+}\r\n\xFF\xFE\r\n", "a BAD A search text is not in UTF-8\n"),
    CASE(SELECTED, "a SEARCH LARGER x\r\n",
         "a BAD A search key's number is missing or too large\n"),
    CASE(SELECTED, "a FETCH 1 (ALL)\r\n", "a BAD Unknown FETCH item\n"),
    CASE(SELECTED, "a FETCH 1 ()\r\n", "a BAD Unknown FETCH item\n"),
    CASE(SELECTED, "a FETCH 1 (FLAGS\r\n", "a BAD The list of FETCH items is not ended\n"),
    CASE(SELECTED, "a FETCH 1 BODY[MIME]\r\n", "a BAD There is no such section\n"),
    CASE(SELECTED, "a FETCH 1 BODY[0]\r\n", "a BAD A number may not be 0 here\n"),
    CASE(SELECTED, "a FETCH 1 BODY[1.]\r\n", "a BAD An atom is missing\n"),
    CASE(SELECTED, "a FETCH 1 BODY[HEADER.FIELDS]\r\n", "a BAD A space is missing\n"),
    CASE(SELECTED, "a FETCH 1 BODY[HEADER.FIELDS ()]\r\n", "a BAD A string is missing\n"),
    CASE(SELECTED, "a FETCH 1 BODY[HEADER.FIELDS (\"a:b\")]\r\n",
         "a BAD A field name is missing or malformed\n"),
    CASE(SELECTED, "a FETCH 1 BODY[]<1.0>\r\n", "a BAD A number may not be 0 here\n"),
    CASE(SELECTED, "a FETCH 1 BODY[\r\n", "a BAD An atom is missing\n"),
};

static void assert_stream(const struct parse_case *c, size_t piece)
{
    struct buf out = {0};
    dump_stream(&out, c->state, &limits, c->input, piece);
    buf_byte(&out, 0);
    if (strcmp((const char *)out.p, c->expected) != 0)
        print_error("in pieces of %zu: %.*s", piece, STR_FMT(c->input));
    assert_string_equal((const char *)out.p, c->expected);
    buf_free(&out);
}

static void commands_of_rfc_3501_are_understood(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_stream(&good[i], SIZE_MAX / 2);
}

static void commands_are_the_same_however_the_network_cuts_them(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 7, 19};
    for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
        for (size_t i = 0; i < ARRAY_LEN(good); i++)
            assert_stream(&good[i], pieces[p]);
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
            assert_stream(&bad[i], pieces[p]);
    }
}

static void every_command_of_the_table_is_tested(void **state)
{
    for (size_t v = 0; v < IMAP_VERBS; v++) {
        bool seen = false;
        for (size_t i = 0; i < ARRAY_LEN(good); i++)
            seen |= strcasestr((const char *)good[i].input.p,
                               (const char *)wire_commands[v].name.p) != NULL;
        assert_true(seen);
    }
}

static void a_command_that_has_not_ended_waits_for_more(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct str whole = good[i].input;
        for (size_t n = 0; n < whole.n; n++) {
            struct buf out = {0};
            dump_stream(&out, good[i].state, &limits, str_sub(whole, 0, n), 5);
            assert_true(str_find(buf_str(&out), STR("BAD"), 0) == out.n);
            assert_true(str_find(buf_str(&out), STR("LONG"), 0) == out.n);
            buf_free(&out);
        }
    }
}

static void a_wrong_command_is_answered_with_its_tag_and_the_reason(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_stream(&bad[i], SIZE_MAX / 2);
}

static void a_session_goes_on_after_a_wrong_command(void **state)
{
    static const struct parse_case c =
        CASE(NOT_AUTHENTICATED, "x FROB\r\nb LOGIN \"u\r\nc LOGIN {2+}\r\n\0\0 y\r\nd NOOP\r\n",
             "x BAD Unknown command\nb BAD A quoted string is not ended\n"
             "c BAD A literal that is no message may not hold NUL\nd NOOP {}\n");
    assert_stream(&c, 1);
    assert_stream(&c, 1000);
}

/* --------------------------------------------------------------------------------------- limits */

static struct str repeat(struct buf *b, const char *head, const char *what, size_t n,
                         const char *tail)
{
    buf_clear(b);
    buf_put(b, str_c(head));
    for (size_t i = 0; i < n; i++)
        buf_put(b, str_c(what));
    buf_put(b, str_c(tail));
    return buf_str(b);
}

static void assert_dump(enum imap_state state, struct str input, const char *expected)
{
    static const size_t pieces[] = {1, 13, 700, SIZE_MAX / 2};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct buf out = {0};
        dump_stream(&out, state, &limits, input, pieces[i]);
        buf_byte(&out, 0);
        assert_string_equal((const char *)out.p, expected);
        buf_free(&out);
    }
}

static void an_over_long_line_is_refused_and_the_session_goes_on(void **state)
{
    struct buf b = {0};
    assert_dump(NOT, repeat(&b, "tag LOGIN ", "x", 5000, "\r\nb NOOP\r\n"),
                "tag LONG The command line is too long\nb NOOP {}\n");
    assert_dump(NOT, repeat(&b, "", "x", 5000, "\r\nb NOOP\r\n"),
                "* LONG The command line is too long\nb NOOP {}\n");
    /* Its literal is dropped with it. */
    assert_dump(NOT, repeat(&b, "tag LOGIN ", "x", 5000, "{10+}\r\nc NOOP\r\n\r\n\r\nb NOOP\r\n"),
                "tag LONG The command line is too long\nb NOOP {}\n");
    assert_dump(NOT, repeat(&b, "tag LOGIN ", "x", 5000, "{9}\r\nb NOOP\r\n"),
                "tag LONG The command line is too long\nb NOOP {}\n");
    buf_free(&b);
}

static void the_announcement_of_a_literal_is_seen_where_the_line_gets_too_long(void **state)
{
    struct buf b = {0};
    for (size_t n = 1980; n < 2002; n++)
        assert_dump(NOT, repeat(&b, "t LOGIN ", "x", n - 8, "{3+}\r\n\r\n\r\r\nb NOOP\r\n"),
                    n + 6 <= 2000 ? "t BAD A space is missing\nb NOOP {}\n"
                                  : "t LONG The command line is too long\nb NOOP {}\n");
    buf_free(&b);
}

static void a_long_announcement_is_seen_wherever_the_line_gets_too_long(void **state)
{
    struct buf b = {0};
#define TWENTY "00000000000000000000"
    for (size_t n = 1910; n < 2002; n++)
        assert_dump(NOT,
                    repeat(&b, "t LOGIN ", "x", n,
                           "{" TWENTY TWENTY TWENTY TWENTY "3+}\r\n\r\n\r\r\nb NOOP\r\n"),
                    "t LONG The command line is too long\nb NOOP {}\n");
    buf_free(&b);
}

static void a_line_without_end_is_fatal(void **state)
{
    struct buf b = {0};
    assert_dump(NOT, repeat(&b, "tag LOGIN ", "xxxxxxxxxx", 50000, ""),
                "tag LONG The command line is too long (fatal)\n");
    buf_free(&b);
}

static void a_literal_over_the_limit_is_refused(void **state)
{
    struct buf b = {0};
    assert_dump(NOT, STR("a LOGIN {1001}\r\nb NOOP\r\n"),
                "a LONG The literal is too large\nb NOOP {}\n");
    assert_dump(NOT, STR("a LOGIN {99999999999999999999999}\r\nb NOOP\r\n"),
                "a LONG The literal is too large\nb NOOP {}\n");
    assert_dump(NOT, repeat(&b, "a LOGIN {1001+}\r\n", "\n", 1001, " {2+}\r\n\r\n\r\nb NOOP\r\n"),
                "a LONG The literal is too large\nb NOOP {}\n");
    assert_dump(NOT, STR("a LOGIN {99999999999999999999999+}\r\nb NOOP\r\n"),
                "a LONG The literal is too large (fatal)\n");
    buf_free(&b);
}

static void a_command_of_many_literals_is_refused_at_its_limit(void **state)
{
    struct buf b = {0}, literal = {0};
    (void)repeat(&literal, "{1000+}\r\n", "x", 1000, " ");
    buf_byte(&literal, 0);
    assert_dump(SEL, repeat(&b, "a SEARCH TEXT ", (const char *)literal.p, 6, "\r\nb NOOP\r\n"),
                "a LONG The literal is too large\nb NOOP {}\n");
    buf_free(&b);
    buf_free(&literal);
}

static void a_message_over_the_limit_is_refused_as_such(void **state)
{
    struct buf b = {0};
    assert_dump(AUTH, STR("a APPEND INBOX {100001}\r\nb NOOP\r\n"),
                "a LONG The message is too large (message)\nb NOOP {}\n");
    assert_dump(AUTH,
                repeat(&b, "a APPEND INBOX {100010+}\r\n", "xxxxx\r\n{3+", 10001, "\r\nb NOOP\r\n"),
                "a LONG The message is too large (message)\nb NOOP {}\n");
    assert_dump(AUTH, STR("a APPEND INBOX {10000000+}\r\n"),
                "a LONG The message is too large (message) (fatal)\n");
    buf_free(&b);
}

/* "a APPEND x {n+}" and so many messages. */
static struct str append_many(struct buf *b, size_t times, size_t size)
{
    buf_clear(b);
    buf_put(b, STR("a APPEND x"));
    for (size_t i = 0; i < times; i++) {
        buf_printf(b, " {%zu+}\r\n", size);
        for (size_t k = 0; k < size; k++)
            buf_byte(b, 'x');
    }
    buf_put(b, STR("\r\nb NOOP\r\n"));
    return buf_str(b);
}

static void messages_of_one_append_are_bounded_in_number_and_size(void **state)
{
    struct buf b = {0}, out = {0};
    for (size_t piece = 1; piece <= 100000; piece += 99999) {
        buf_clear(&out);
        dump_stream(&out, AUTH, &limits, append_many(&b, 1000, 1), piece);
        assert_true(str_ends(buf_str(&out), STR("tail ok\nb NOOP {}\n")));
        buf_clear(&out);
        dump_stream(&out, AUTH, &limits, append_many(&b, 1002, 1), piece);
        assert_true(str_ends(buf_str(&out),
                             STR("tail LIMIT: At most 1000 messages in one APPEND\nb NOOP {}\n")));
    }
    dump_stream(&out, AUTH, &limits, append_many(&b, 2, 100000), 7777);
    assert_true(str_ends(buf_str(&out), STR("tail ok\nb NOOP {}\n")));
    dump_stream(&out, AUTH, &limits, append_many(&b, 3, 70000), 7777);
    assert_true(str_ends(buf_str(&out), STR("tail TOOBIG: The messages of the command are too "
                                            "large together\nb NOOP {}\n")));
    buf_free(&b);
    buf_free(&out);
}

static void charsets_that_are_announced_are_known(void **state)
{
    struct buf b = {0}, out = {0};
    for (struct cur names = cur_of(imap_charsets); !cur_end(&names); cur_accept(&names, ' ')) {
        size_t end = str_find_byte(names.s, ' ', names.at);
        struct str name = cur_take(&names, end - names.at);
        buf_clear(&b);
        buf_clear(&out);
        buf_printf(&b, "a SEARCH CHARSET %.*s TEXT abc\r\n", STR_FMT(name));
        dump_stream(&out, SEL, &limits, buf_str(&b), b.n);
        assert_true(
            str_eq(buf_str(&out), STR("a SEARCH {nodes=[{op=1 children=1},{op=22 text=abc}]}\n")));
    }
    buf_free(&b);
    buf_free(&out);
}

static void searches_are_bounded_in_depth_and_size(void **state)
{
    struct buf b = {0};
    assert_dump(SEL, repeat(&b, "a SEARCH ", "(", 200, "\r\n"),
                "a BAD The search is nested too deeply\n");
    assert_dump(SEL, repeat(&b, "a SEARCH ", "NOT ", 200, "ALL\r\n"),
                "a BAD The search is nested too deeply\n");
    assert_dump(SEL, repeat(&b, "a SEARCH ", "OR ALL ", 200, "ALL\r\n"),
                "a BAD The search is nested too deeply\n");

    struct imap_limits wide = {.line = 65536, .literal = 10, .command = 65536, .message = 10};
    struct buf out = {0};
    dump_stream(&out, SEL, &wide, repeat(&b, "a SEARCH ", "OLD ", 2100, "OLD\r\n"), 5000);
    assert_true(str_eq(buf_str(&out), STR("a BAD The search has too many keys\n")));
    buf_free(&out);
    buf_free(&b);
}

static void a_request_that_would_not_fit_its_frame_is_refused(void **state)
{
    struct imap_limits wide = {.line = 65536, .literal = 10, .command = 65536, .message = 10};
    struct buf b = {0}, out = {0};
    dump_stream(&out, SEL, &wide, repeat(&b, "a COPY ", "9,", 30000, "1 x\r\n"), 5000);
    assert_true(str_eq(buf_str(&out), STR("a BAD The command is too large\n")));
    buf_free(&b);
    buf_free(&out);
}

static void more_sections_than_a_row_can_answer_are_refused(void **state)
{
    struct buf b = {0};
    assert_dump(SEL, repeat(&b, "a FETCH 1 (", "BODY[] ", 65, "FLAGS)\r\n"),
                "a BAD FETCH asks for too many sections\n");
    buf_free(&b);
}

static void an_idle_parser_holds_no_memory(void **state)
{
    struct imap_parser p;
    struct imap_parsed r;
    struct arena a;
    struct buf in = {0};
    imap_parser_init(&p, &limits);
    arena_init(&a, 100000);
    buf_put(&in, STR("a LOGIN {3+}\r\nabc {3+}\r\nabc\r\n"));
    imap_parse(&p, &in, NOT, &a, &r);
    assert_int_equal(r.what, IMAP_PARSE_COMMAND);
    assert_null(p.line.p);
    assert_int_equal(in.n, 0);
    buf_free(&in);
    arena_free(&a);
    imap_parser_free(&p);
}

static void a_command_without_room_in_its_arena_is_refused(void **state)
{
    for (size_t budget = 0; budget < 3000; budget += 7) {
        struct imap_parser p;
        struct imap_parsed r;
        struct arena a;
        struct buf in = {0};
        imap_parser_init(&p, &limits);
        arena_init(&a, budget);
        buf_put(&in, STR("a FETCH 1 (FLAGS ENVELOPE BODY[HEADER.FIELDS (a b)])\r\n"));
        imap_parse(&p, &in, SEL, &a, &r);
        assert_true(r.what == IMAP_PARSE_COMMAND || r.error);
        assert_int_equal(in.n, 0);
        buf_free(&in);
        arena_free(&a);
        imap_parser_free(&p);
    }
}

/* --------------------------------------------------------------------------- continuation lines */

static enum imap_parse feed_done(const char *text, size_t piece)
{
    struct imap_parser p;
    struct imap_parsed r = {0};
    struct buf in = {0};
    imap_parser_init(&p, &limits);
    for (size_t at = 0; at < strlen(text); at += piece) {
        buf_put(&in, str_sub(str_c(text), at, at + piece));
        imap_parse_done(&p, &in, &r);
        if (r.what != IMAP_PARSE_MORE)
            break;
    }
    buf_free(&in);
    imap_parser_free(&p);
    return r.what;
}

static void idle_ends_with_done(void **state)
{
    for (size_t piece = 1; piece < 10; piece++) {
        assert_int_equal(feed_done("DONE\r\n", piece), IMAP_PARSE_COMMAND);
        assert_int_equal(feed_done("done\n", piece), IMAP_PARSE_COMMAND);
        assert_int_equal(feed_done("DONE", piece), IMAP_PARSE_MORE);
        assert_int_equal(feed_done("a NOOP\r\n", piece), IMAP_PARSE_BAD);
    }
}

static void a_continuation_line_comes_without_its_end(void **state)
{
    struct imap_parser p;
    struct imap_parsed r = {0};
    struct arena a;
    struct buf in = {0};
    imap_parser_init(&p, &limits);
    arena_init(&a, 10000);
    buf_put(&in, STR("dGVz"));
    imap_parse_line(&p, &in, &a, &r);
    assert_int_equal(r.what, IMAP_PARSE_MORE);
    buf_put(&in, STR("dA==\r\n*\r\n"));
    imap_parse_line(&p, &in, &a, &r);
    assert_int_equal(r.what, IMAP_PARSE_COMMAND);
    assert_true(str_eq(r.line, STR("dGVzdA==")));
    imap_parse_line(&p, &in, &a, &r);
    assert_true(str_eq(r.line, STR("*")));
    struct buf b = {0};
    buf_put(&in, repeat(&b, "", "x", 3000, "\r\nz\r\n"));
    imap_parse_line(&p, &in, &a, &r);
    assert_int_equal(r.what, IMAP_PARSE_TOO_LONG);
    assert_false(r.fatal);
    imap_parse_line(&p, &in, &a, &r);
    assert_true(str_eq(r.line, STR("z")));
    buf_free(&b);
    buf_free(&in);
    arena_free(&a);
    imap_parser_free(&p);
}

static enum errc plain(struct str message, struct str user, struct str password)
{
    struct arena a;
    arena_init(&a, 10000);
    struct buf b = {0};
    base64_encode(&b, message);
    Thurn__ImapLogin *login = NULL;
    struct err e = imap_parse_plain(buf_str(&b), &a, &login);
    if (e.code == E_OK) {
        assert_true(str_eq(pb_str(login->user), user));
        assert_true(str_eq(pb_str(login->password), password));
    }
    buf_free(&b);
    arena_free(&a);
    return e.code;
}

static void sasl_plain_gives_user_and_password(void **state)
{
    assert_int_equal(plain(STR("\0tim\0tanstaaf"), STR("tim"), STR("tanstaaf")), E_OK);
    assert_int_equal(plain(STR("tim\0tim\0p\0"), STR(""), STR("")), E_INVALID);
    assert_int_equal(plain(STR("tim\0tim\0p"), STR("tim"), STR("p")), E_OK);
    assert_int_equal(plain(STR("Ursel\0Kurt\0xipj3plmq"), STR(""), STR("")), E_DENIED);
    assert_int_equal(plain(STR("\0\0p"), STR(""), STR("")), E_INVALID);
    assert_int_equal(plain(STR("a\0b"), STR(""), STR("")), E_INVALID);
    assert_int_equal(plain(STR(""), STR(""), STR("")), E_INVALID);
    Thurn__ImapLogin *login;
    struct arena a;
    arena_init(&a, 10000);
    assert_int_equal(imap_parse_plain(STR("!!!!"), &a, &login).code, E_INVALID);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_of_rfc_3501_are_understood),
        cmocka_unit_test(commands_are_the_same_however_the_network_cuts_them),
        cmocka_unit_test(every_command_of_the_table_is_tested),
        cmocka_unit_test(a_command_that_has_not_ended_waits_for_more),
        cmocka_unit_test(a_wrong_command_is_answered_with_its_tag_and_the_reason),
        cmocka_unit_test(a_session_goes_on_after_a_wrong_command),
        cmocka_unit_test(an_over_long_line_is_refused_and_the_session_goes_on),
        cmocka_unit_test(the_announcement_of_a_literal_is_seen_where_the_line_gets_too_long),
        cmocka_unit_test(a_long_announcement_is_seen_wherever_the_line_gets_too_long),
        cmocka_unit_test(a_line_without_end_is_fatal),
        cmocka_unit_test(a_literal_over_the_limit_is_refused),
        cmocka_unit_test(a_command_of_many_literals_is_refused_at_its_limit),
        cmocka_unit_test(a_message_over_the_limit_is_refused_as_such),
        cmocka_unit_test(charsets_that_are_announced_are_known),
        cmocka_unit_test(messages_of_one_append_are_bounded_in_number_and_size),
        cmocka_unit_test(searches_are_bounded_in_depth_and_size),
        cmocka_unit_test(a_request_that_would_not_fit_its_frame_is_refused),
        cmocka_unit_test(more_sections_than_a_row_can_answer_are_refused),
        cmocka_unit_test(an_idle_parser_holds_no_memory),
        cmocka_unit_test(a_command_without_room_in_its_arena_is_refused),
        cmocka_unit_test(idle_ends_with_done),
        cmocka_unit_test(a_continuation_line_comes_without_its_end),
        cmocka_unit_test(sasl_plain_gives_user_and_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
