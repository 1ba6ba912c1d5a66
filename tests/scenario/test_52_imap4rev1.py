"""RFC 3501, command by command: what is answered, and what is told untagged."""

import re

LETTER = b"From: Carol <carol@example.org>\r\nSubject: one\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\n\r\nbody\r\n"


def session(thurn, letters=0, select=b"SELECT INBOX"):
    r = thurn.raw()
    r.login()
    for _ in range(letters):
        assert b" OK " in r.append(LETTER)
    if select:
        r.command(select)
    return r


def ok(lines):
    return lines[-1].startswith(b"x OK")


def test_any_state(thurn):
    r = thurn.raw()
    assert r.line().startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    for text in (b"CAPABILITY", b"NOOP", b"ID NIL"):
        assert ok(r.command(text))
    for text in (b"SELECT INBOX", b"LIST \"\" *", b"FETCH 1 FLAGS", b"IDLE", b"ENABLE CONDSTORE"):
        assert r.command(text)[-1] == b"x BAD Log in first\r\n"
    assert r.command(b"AUTHENTICATE CRAM-MD5")[-1].startswith(b"x NO")
    r.send(b"x AUTHENTICATE PLAIN\r\n")
    assert r.line() == b"+ \r\n"
    r.send(b"*\r\n")
    assert r.line().startswith(b"x BAD")
    assert ok(r.command(b"AUTHENTICATE PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ="))
    for text in (b"LOGIN a b", b"AUTHENTICATE PLAIN", b"STARTTLS", b"FETCH 1 FLAGS", b"CLOSE"):
        assert r.command(text)[-1].startswith(b"x BAD"), text
    lines = r.command(b"LOGOUT")
    assert lines[0].startswith(b"* BYE") and ok(lines) and r.line() == b""
    r.close()


def test_select_tells_all_that_a_client_must_know(thurn):
    r = session(thurn, letters=2, select=None)
    r.command(b"SELECT INBOX")
    r.command(b"STORE 1 +FLAGS.SILENT (\\Seen Work)")
    lines = r.command(b"SELECT INBOX")
    assert b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work)\r\n" in lines
    assert b"* 2 EXISTS\r\n" in lines and b"* 0 RECENT\r\n" in lines
    codes = b"".join(line for line in lines if line.startswith(b"* OK ["))
    for code in (rb"\[UNSEEN 2\]", rb"\[UIDNEXT 3\]", rb"\[UIDVALIDITY [1-9]\d*\]",
                 rb"\[PERMANENTFLAGS \([^)]*\\Deleted [^)]*Work \\\*\)\]"):
        assert re.search(code, codes), code
    assert lines[-1].startswith(b"x OK [READ-WRITE]")
    lines = r.command(b"EXAMINE INBOX")
    assert lines[-1].startswith(b"x OK [READ-ONLY]")
    assert any(b"[PERMANENTFLAGS ()]" in line for line in lines)
    for text in (b"STORE 1 +FLAGS (\\Seen)", b"EXPUNGE", b"MOVE 1 Trash"):
        assert r.command(text)[-1].startswith(b"x NO"), text
    assert b"\\Seen" not in r.command(b"FETCH 2 (FLAGS BODY[])")[0]
    # A failed SELECT leaves nothing selected.
    assert r.command(b"SELECT nowhere")[-1].startswith(b"x NO [NONEXISTENT]")
    assert r.command(b"FETCH 1 FLAGS")[-1].startswith(b"x BAD")
    r.close()


def test_recent_is_told_to_one_session_only(thurn):
    first = session(thurn)
    thurn.deliver(LETTER)
    lines = first.command(b"NOOP")
    assert b"* 1 EXISTS\r\n" in lines and b"* 1 RECENT\r\n" in lines
    assert b"\\Recent" in first.command(b"FETCH 1 FLAGS")[0]
    second = session(thurn)
    assert b"\\Recent" not in second.command(b"FETCH 1 FLAGS")[0]
    assert first.command(b"SEARCH NEW")[0] == b"* SEARCH 1\r\n"
    assert second.command(b"SEARCH NEW")[0] == b"* SEARCH\r\n"
    assert second.command(b"SEARCH OLD")[0] == b"* SEARCH 1\r\n"
    first.close()
    second.close()


def test_mailboxes(thurn):
    r = session(thurn, letters=2)
    other = session(thurn)
    for text, answer in (
            (b"CREATE INBOX", b"NO [ALREADYEXISTS]"), (b"CREATE a/b/c", b"OK"), (b"CREATE a/", b"OK"),
            (b"CREATE deep/", b"OK"), (b"DELETE INBOX", b"NO"), (b"DELETE nowhere", b"NO [NONEXISTENT]"),
            (b"RENAME nowhere x", b"NO [NONEXISTENT]"), (b"RENAME a INBOX", b"NO [ALREADYEXISTS]"),
            (b"RENAME a a/x", b"NO"), (b"SUBSCRIBE nowhere", b"OK"), (b"SUBSCRIBE a/b/c", b"OK"),
            (b"APPEND nowhere {3+}\r\nabc", b"NO [TRYCREATE]"), (b"COPY 1 nowhere", b"NO [TRYCREATE]"),
            (b"UID MOVE 1 nowhere", b"NO [TRYCREATE]"), (b"STATUS nowhere (MESSAGES)", b"NO [NONEXISTENT]"),
            (b"CREATE x (USE (\\Nothing))", b"NO [USEATTR]")):
        assert r.command(text)[-1].startswith(b"x " + answer), text
    # "%" of LSUB tells of what is below (6.3.9).
    assert b'* LSUB (\\Noselect \\HasChildren) "/" a\r\n' in r.command(b'LSUB "" %')
    assert any(line.endswith(b'"/" nowhere\r\n') for line in r.command(b'LSUB "" *'))
    assert r.command(b'LIST "" ""')[0] == b'* LIST (\\Noselect) "/" ""\r\n'
    assert r.command(b'LIST a/ %')[0].endswith(b'"/" a/b\r\n')
    # INBOX gives its messages away and stays (6.3.5); who has it open is told.
    assert [line for line in r.command(b"RENAME INBOX old") if b"EXPUNGE" in line] == [b"* 1 EXPUNGE\r\n"] * 2
    assert [line for line in other.command(b"NOOP") if b"EXPUNGE" in line] == [b"* 1 EXPUNGE\r\n"] * 2
    assert r.command(b"STATUS old (MESSAGES UNSEEN)")[0] == b"* STATUS old (MESSAGES 2 UNSEEN 2)\r\n"
    assert r.command(b"STATUS INBOX (MESSAGES)")[0] == b"* STATUS INBOX (MESSAGES 0)\r\n"
    # A name with others below it stays as a name; one that somebody has open may go.
    other.command(b"SELECT a/b/c")
    assert ok(r.command(b"DELETE a/b/c")) and ok(other.command(b"NOOP"))
    assert not ok(other.command(b"FETCH 1 FLAGS"))
    r.close()
    other.close()


def test_fetch_items(thurn):
    r = session(thurn, letters=1)
    size = b"RFC822.SIZE %d" % len(LETTER)
    for macro, items in ((b"FAST", (b"FLAGS", b"INTERNALDATE", size)),
                         (b"ALL", (b"FLAGS", b"INTERNALDATE", size, b"ENVELOPE (")),
                         (b"FULL", (b"FLAGS", b"INTERNALDATE", size, b"ENVELOPE (", b"BODY (\"TEXT\" \"PLAIN\""))):
        answer = r.command(b"FETCH 1 " + macro)[0]
        assert all(item in answer for item in items), macro
        assert r.command(b"FETCH 1 (" + macro + b")")[-1].startswith(b"x BAD")
    for item, text in ((b"BODY.PEEK[HEADER.FIELDS (SUBJECT X-NONE)]", b"Subject: one\r\n\r\n"),
                       (b"BODY.PEEK[HEADER.FIELDS.NOT (FROM DATE)]", b"Subject: one\r\n\r\n"),
                       (b"BODY.PEEK[1]", b"body\r\n"), (b"BODY.PEEK[TEXT]<1.2>", b"od"),
                       (b"BODY.PEEK[]<100000.5>", b""), (b"BODY.PEEK[]<0.4>", b"From"),
                       (b"BODY.PEEK[1.MIME]", LETTER[:-6])):
        lines = r.command(b"FETCH 1 " + item)
        assert lines[0].endswith(b"{%d}\r\n" % len(text)), item
        assert b"".join(lines[1:]).startswith(text + b")\r\n"), item
    assert r.command(b"FETCH 1 BODY.PEEK[2]")[0] == b"* 1 FETCH (BODY[2] NIL)\r\n"
    assert b"\\Seen" not in r.command(b"FETCH 1 (FLAGS RFC822.HEADER)")[0]
    assert b"FLAGS (\\Seen" in r.command(b"FETCH 1 RFC822.TEXT")[0]
    # "*" and numbers that are not there.
    assert r.command(b"FETCH * UID")[0] == b"* 1 FETCH (UID 1)\r\n"
    assert b"UID 1" in r.command(b"UID FETCH 9:* FLAGS")[0]
    assert r.command(b"UID FETCH 9 FLAGS") == [b"x OK Completed\r\n"]
    for text in (b"FETCH 2 FLAGS", b"FETCH 0 FLAGS", b"FETCH 1 ()", b"FETCH 1 BODY[]<0.0>", b"UID NOOP"):
        assert r.command(text)[-1].startswith(b"x BAD"), text
    r.close()


def test_store_and_what_others_see(thurn):
    r, other = session(thurn, letters=2), session(thurn)
    assert r.command(b"STORE 1:2 FLAGS \\Flagged")[0].startswith(b"* 1 FETCH (FLAGS (\\Flagged")
    assert r.command(b"STORE 1 +FLAGS.SILENT (Work)")[-1:] == [b"x OK Completed\r\n"]
    assert b"UID 2" in r.command(b"UID STORE 2 -FLAGS (\\Flagged)")[0]
    seen = b"".join(other.command(b"NOOP"))
    assert b"* 1 FETCH (FLAGS (\\Flagged Work" in seen and b"* 2 FETCH (FLAGS (" in seen
    assert b"* FLAGS (" in seen and seen.index(b"* FLAGS (") < seen.index(b"* 1 FETCH")
    # Expunged messages keep their numbers until the other session may be told.
    r.command(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert r.command(b"EXPUNGE")[0] == b"* 1 EXPUNGE\r\n"
    for text in (b"FETCH 2 UID", b"STORE 2 +FLAGS (\\Seen)", b"SEARCH 2"):
        lines = other.command(text)
        assert ok(lines) and not any(b"EXPUNGE" in line for line in lines), text
    assert b"* 1 EXPUNGE\r\n" in other.command(b"NOOP")
    assert other.command(b"FETCH 1 UID")[0] == b"* 1 FETCH (UID 2)\r\n"
    r.close()
    other.close()


def test_a_mailbox_has_64_keywords(thurn):
    r = session(thurn, letters=1)
    assert ok(r.command(b"STORE 1 +FLAGS.SILENT (" + b" ".join(b"k%d" % n for n in range(64)) + b")"))
    for text in (b"STORE 1 +FLAGS (more)", b"APPEND INBOX (more) {3+}\r\nabc"):
        answer = r.command(text)[-1]
        assert answer.startswith(b"x NO [LIMIT]") and b"64 different keywords" in answer
    assert ok(r.command(b"STORE 1 FLAGS (K7)"))
    assert b"k7" in r.command(b"FETCH 1 FLAGS")[0]
    flags = next(line for line in r.command(b"SELECT INBOX") if b"PERMANENTFLAGS" in line)
    assert b"\\*" not in flags
    assert r.command(b"SEARCH KEYWORD k7 UNKEYWORD more")[0] == b"* SEARCH 1\r\n"
    r.close()


def test_every_search_key(thurn):
    r = session(thurn, letters=1)
    r.append(b"Subject: two\r\nTo: Bob <bob@example.org>\r\nCc: dan@example.org\r\nBcc: eve@example.org\r\n"
             b"X-Own: value\r\nX-Empty:\r\n\r\nother text\r\n",
             b'(\\Seen \\Answered \\Draft \\Flagged \\Deleted Work) "17-Jul-1996 02:44:25 +0000" ')
    r.command(b"NOOP")
    for key, found in {
            b"ALL": b" 1 2", b"ANSWERED": b" 2", b"UNANSWERED": b" 1", b"DELETED": b" 2", b"UNDELETED": b" 1",
            b"DRAFT": b" 2", b"UNDRAFT": b" 1", b"FLAGGED": b" 2", b"UNFLAGGED": b" 1", b"SEEN": b" 2",
            b"UNSEEN": b" 1", b"KEYWORD work": b" 2", b"UNKEYWORD Work": b" 1", b"KEYWORD none": b"",
            b"UNKEYWORD none": b" 1 2", b"RECENT": b" 1 2", b"NEW": b" 1", b"OLD": b"", b"NOT OLD": b" 1 2",
            b"BCC eve": b" 2", b"CC DAN@": b" 2", b"TO bob": b" 2", b"FROM carol": b" 1", b"SUBJECT TWO": b" 2",
            b'SUBJECT ""': b" 1 2", b"BODY other": b" 2", b"TEXT carol": b" 1", b"TEXT x-own": b" 2",
            b"HEADER X-Own val": b" 2", b'HEADER X-Own ""': b" 2", b'HEADER X-Empty ""': b" 2",
            b'HEADER X-None ""': b"", b"BEFORE 18-Jul-1996": b" 2", b"BEFORE 17-Jul-1996": b"",
            b"ON 17-Jul-1996": b" 2", b'SINCE "18-Jul-1996"': b" 1", b"SENTON 7-Feb-1994": b" 1",
            b"SENTBEFORE 8-Feb-1994": b" 1", b"SENTSINCE 7-Feb-1994": b" 1", b"SENTSINCE 8-Feb-1994": b"",
            b"LARGER 10": b" 1 2", b"SMALLER 10": b"", b"UID 2": b" 2", b"UID 2:*": b" 2", b"1": b" 1",
            b"*": b" 2", b"1:*": b" 1 2", b"7": b"", b"NOT 1": b" 2", b"NOT NOT 1": b" 1",
            b"OR 1 DELETED": b" 1 2", b"OR (1 DELETED) (2 UNDELETED)": b"", b"(OR 1 2) NOT (SEEN)": b" 1",
            b"SUBJECT {3+}\r\ntwo TO {3+}\r\nbob": b" 2"}.items():
        assert r.command(b"SEARCH " + key)[0] == b"* SEARCH" + found + b"\r\n", key
        assert r.command(b"UID SEARCH " + key)[0] == b"* SEARCH" + found + b"\r\n", key
    for key in (b"", b"()", b"(ALL", b"ALL)", b"OR ALL", b"NOT", b"FLY", b"ON 30-Feb-2000", b"LARGER x", b"UID x",
                b"HEADER Subject", b"0"):
        assert r.command(b"SEARCH " + key)[-1].startswith(b"x BAD"), key
    r.close()
